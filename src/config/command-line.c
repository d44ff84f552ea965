/* The command line: words into options, twice. */
#include <string.h>

#include <glib.h>

#include "config/absent.h"
#include "config/config-internal.h"
#include "schema/config.h"

/* One option as found in argv. */
typedef struct Word {
    const OptionInfo *option;
    const char *name; /* as written */
    const char *text; /* NULL: takes no argument */
} Word;

static void find_positional(const OptionInfo *option, void *opaque)
{
    if (option->flags & OPTION_POSITIONAL) {
        *(const OptionInfo **)opaque = option;
    }
}

static bool fail_unknown(const char *word, Error **errp)
{
    const char *name = word + strspn(word, "-");
    const char *equals = strchr(name, '=');

    if (equals) {
        g_autofree char *head = g_strndup(name, (gsize)(equals - name));
        if (option_find(head)) {
            error_set(errp, "%s: write the argument as a word of its own: '-%s %s'", word, head,
                      equals + 1);
            return false;
        }
    }
    const char *near = option_nearest(name), *absent = absent_reason(ABSENT_OPTION, name);
    if (absent) {
        error_set(errp, "%s: %s", word, absent);
    } else if (near) {
        error_set(errp, "%s: unknown option; did you mean '-%s'?", word, near);
    } else {
        error_set(errp, "%s: unknown option; '-help' lists them", word);
    }
    return false;
}

/* Take the option at argv[*at], with its argument, and move behind it. */
static bool next_word(int argc, char *const *argv, int *at, Word *word, Error **errp)
{
    const char *text = argv[(*at)++];

    *word = (Word){ .name = text };
    if (text[0] != '-' || !text[1]) {
        option_foreach(find_positional, &word->option);
        if (!word->option) {
            error_set(errp, "'%s' is not an option: options begin with '-'; '-help' lists them",
                      text);
            return false;
        }
        word->text = text;
        return true;
    }
    word->option = option_find(text + (text[1] == '-' ? 2 : 1));
    if (!word->option) {
        return fail_unknown(text, errp);
    }
    if (word->option->value) {
        if (*at == argc) {
            error_set(errp, "%s: needs an argument: %s", text, word->option->metavar);
            return false;
        }
        word->text = argv[(*at)++];
    }
    return true;
}

static bool parse_pass(Config *config, int argc, char *const *argv, bool first, Error **errp)
{
    for (int at = 1; at < argc;) {
        Word word;
        if (!next_word(argc, argv, &at, &word, errp)) {
            return false;
        }
        ConfigOrigin origin = { .name = word.name, .text = word.text };
        bool early = word.option->flags & OPTION_FIRST;
        if (early == first && !config_add_text(config, word.option, word.text, &origin, errp)) {
            return false;
        }
        if (!first && word.option == &option_readconfig &&
            !config_read_file(config, word.text, errp)) {
            return false;
        }
        if (!first && word.option == &option_set && !config_set(config, word.text, errp)) {
            error_prepend(errp, "%s %s: ", word.name, word.text);
            return false;
        }
    }
    return true;
}

bool config_parse_first(Config *config, int argc, char *const *argv, Error **errp)
{
    return parse_pass(config, argc, argv, true, errp);
}

bool config_parse_second(Config *config, int argc, char *const *argv, Error **errp)
{
    return parse_pass(config, argc, argv, false, errp);
}
