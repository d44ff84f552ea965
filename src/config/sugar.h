/* Options that stand for others ("-enable-kvm" is "-accel kvm"), as their rows in the schema say.
 */
#ifndef CONFIG_SUGAR_H
#define CONFIG_SUGAR_H

#include "config/config.h"

/* Add what the option stands for. */
MUST_CHECK bool sugar_expand(Config *config, const OptionInfo *option, const char *text,
                             const ConfigOrigin *origin, Error **errp);

/* One argument of a sugar row: "%s" is the text with its commas doubled. g_free; NULL without
 * pattern. */
char *sugar_argument(const char *pattern, const char *text);

#endif
