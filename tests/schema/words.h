/* Command lines for tests: words separated by spaces. */
#ifndef TESTS_SCHEMA_WORDS_H
#define TESTS_SCHEMA_WORDS_H

#include <glib.h>

#include "config/config.h"

/* Both passes; NULL with an error. */
static inline Config *parse_words(const char *line, Error **errp)
{
    g_autofree char *whole = g_strconcat("rhea", *line ? " " : "", line, NULL);
    g_auto(GStrv) argv = g_strsplit(whole, " ", -1);
    int argc = (int)g_strv_length(argv);
    Config *config = config_new();

    if (config_parse_first(config, argc, argv, errp) &&
        config_parse_second(config, argc, argv, errp)) {
        return config;
    }
    config_free(config);
    return NULL;
}

#endif
