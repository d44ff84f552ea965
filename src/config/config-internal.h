/* What the files of this folder share. */
#ifndef CONFIG_CONFIG_INTERNAL_H
#define CONFIG_CONFIG_INTERNAL_H

#include <glib.h>

#include "base/text.h"
#include "config/config.h"

/* "-device virtio-net-pci,help" */
typedef struct ConfigHelp {
    const OptionInfo *option;
    json_t *given; /* the argument without the request */
} ConfigHelp;

struct Config {
    GPtrArray *items; /* ConfigItem, in the order given */
    GPtrArray *help;  /* ConfigHelp */
};

/* Change an option that is there: "GROUP.ID.KEY=VALUE". */
MUST_CHECK bool config_set(Config *config, const char *text, Error **errp);

/* Whether the argument is written in the option grammar. */
bool option_is_keyed(const OptionInfo *option);
const OptionHooks *option_hooks_find(const OptionInfo *option); /* NULL: none */

#endif
