/* The option grammar, with every option's type: the first byte chooses the option. */
#include <glib.h>

#include "base/module.h"
#include "config/config.h"
#include "config/keyval.h"
#include "fuzz.h"

static void collect(const OptionInfo *option, void *opaque)
{
    /* readconfig opens files, and sugar only leads to others */
    if (option->value && !option->sugar && !(option->flags & OPTION_NOFILE)) {
        g_ptr_array_add(opaque, (void *)option);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static GPtrArray *options; /* for the life of the process, like the tables it points to */

    if (!options) {
        module_call(MODULE_TYPES);
        module_call(MODULE_OPTIONS);
        options = g_ptr_array_new();
        option_foreach(collect, options);
    }
    if (!size) {
        return 0;
    }
    const OptionInfo *option = options->pdata[data[0] % options->len];
    g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
    Config *config = config_new();
    ConfigOrigin origin = { .name = option->name, .text = text };
    ERROR_AUTO err = NULL;
    if (config_add_text(config, option, text, &origin, &err)) {
        /* what was understood can be said again, unless it needs JSON */
        for (size_t i = 0; i < config_lookup_count(config, option); i++) {
            json_t *json = config_lookup_item(config, option, i)->json;
            if (json_is_object(json)) {
                ERROR_AUTO unsayable = NULL;
                g_free(keyval_format(json, &unsayable));
            }
        }
    }
    config_free(config);
    return 0;
}
