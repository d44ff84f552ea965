#include "config/sugar.h"

#include <string.h>

#include <glib.h>

#include "config/keyval.h"

char *sugar_argument(const char *pattern, const char *text)
{
    const char *hole = pattern ? strstr(pattern, "%s") : NULL;

    if (!hole || !text) {
        return g_strdup(pattern);
    }
    g_autofree char *escaped = keyval_escape(text);
    g_autofree char *before = g_strndup(pattern, (gsize)(hole - pattern));
    return g_strconcat(before, escaped, hole + 2, NULL);
}

bool sugar_expand(Config *config, const OptionInfo *option, const char *text,
                  const ConfigOrigin *origin, Error **errp)
{
    for (const OptionSugar *s = option->sugar; s->option; s++) {
        const OptionInfo *plain = option_find(s->option);
        g_autofree char *argument = sugar_argument(s->argument, text);

        g_assert(plain); /* the contract test of options looks at every row */
        if (!config_add_text(config, plain, argument, origin, errp)) {
            return false;
        }
    }
    return true;
}
