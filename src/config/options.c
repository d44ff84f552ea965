/* What the options of schema/config, schema/run and schema/hardware need beyond their records. */
#include <string.h>

#include <glib.h>

#include "base/log.h"
#include "base/module.h"
#include "base/text.h"
#include "config/config.h"
#include "config/keyval.h"
#include "config/rtc-base.h"
#include "schema/config.h"
#include "schema/hardware.h"
#include "schema/run.h"

/* --- -d help, -module help --- */

static bool print_log_items(json_t *given, FILE *out)
{
    fprintf(out, "Log items (comma separated):\n");
    for (const LogItemInfo *item = log_items; item->name; item++) {
        fprintf(out, "%-15s %s\n", item->name, item->help);
    }
    return true;
}

static void print_module(ModuleKind kind, const char *name, void *opaque)
{
    fprintf(opaque, "%-10s %s\n", module_kind_name(kind), name);
}

static bool print_modules(json_t *given, FILE *out)
{
    module_foreach(print_module, out);
    return true;
}

/* --- -global TYPE.PROPERTY=VALUE --- */

/* The value goes to the end of the text, commas and all. */
static json_t *parse_global(const char *text, Error **errp)
{
    const char *equals = strchr(text, '=');
    const char *dot = strchr(text, '.');
    json_t *json;

    /* the long form has keys only */
    if (g_str_has_prefix(text, "driver=")) {
        bool help = false;
        return keyval_parse(text, &value_type_global_options, &help, errp);
    }
    if (!equals || !dot || dot > equals || dot == text || dot + 1 == equals) {
        error_set(errp, "expected TYPE.PROPERTY=VALUE");
        return NULL;
    }
    json = json_pack("{s:s%, s:s%, s:s}", "driver", text, (size_t)(dot - text), "property", dot + 1,
                     (size_t)(equals - dot - 1), "value", equals + 1);
    if (!json) {
        error_set(errp, "the argument is not UTF-8");
    }
    return json;
}

/* --- Rewriting and checks --- */

/* The machine's record without one of its keys. */
static bool drop_machine_key(Config *config, const char *key, Error **errp)
{
    const ConfigItem *item = config_item(config, machine, 0);
    json_t *json = json_deep_copy(item->json);
    g_autofree char *name = g_strdup(item->name);
    g_autofree char *text = g_strdup(item->text);
    g_autofree char *file = g_strdup(item->file);
    ConfigOrigin origin = { .name = name, .text = text, .file = file, .line = item->line };
    ValueMode mode = item->mode;

    config_remove(config, &option_machine);
    json_object_del(json, key);
    bool ok = config_add(config, &option_machine, json, mode, &origin, errp);
    json_decref(json);
    return ok;
}

/* -machine accel=a:b is -accel a -accel b. */
static bool rewrite_machine_accel(Config *config, Error **errp)
{
    const MachineOptions *machine = config_get(config, machine);

    if (!machine || !machine->accel) {
        return true;
    }
    if (config_count(config, accel)) {
        error_set(errp, "-machine accel=%s and -accel exclude each other; use -accel only",
                  machine->accel);
        return false;
    }
    g_autofree char *text = g_strconcat("accel=", machine->accel, NULL);
    ConfigOrigin origin = { .name = "-machine", .text = text };
    g_auto(GStrv) names = g_strsplit(machine->accel, ":", -1);
    for (char **name = names; *name; name++) {
        json_t *json = json_pack("{s:s}", "accel", *name);
        bool ok = config_add(config, &option_accel, json, VALUE_MODE_TEXT, &origin, errp);
        json_decref(json);
        if (!ok) {
            return false;
        }
    }
    return drop_machine_key(config, "accel", errp);
}

/* A group of the machine's keys that is an option of its own. */
typedef struct MachineGroup {
    const char *key;
    const OptionInfo *option;
    /* the option's name of one of the keys; NULL: none is other */
    const char *key_there, *key_here;
} MachineGroup;

/* -machine smp.cpus=4,memory.max-size=8G is -smp cpus=4 -m maxmem=8G. */
static bool rewrite_machine_groups(Config *config, Error **errp)
{
    static const MachineGroup groups[] = {
        { "smp", &option_smp, NULL, NULL },
        { "memory", &option_m, "max-size", "maxmem" },
    };
    const MachineOptions *machine = config_get(config, machine);

    for (size_t i = 0; machine && i < ARRAY_LEN(groups); i++) {
        const MachineGroup *g = &groups[i];
        const ConfigItem *item = config_item(config, machine, 0);
        json_t *group = json_object_get(item->json, g->key);
        ConfigOrigin origin = {
            .name = item->name, .text = item->text, .file = item->file, .line = item->line
        };
        if (!json_is_object(group)) {
            continue;
        }
        json_t *json = json_deep_copy(group);
        if (g->key_there && json_object_get(json, g->key_there)) {
            json_object_set(json, g->key_here, json_object_get(json, g->key_there));
            json_object_del(json, g->key_there);
        }
        bool ok = config_add(config, g->option, json, item->mode, &origin, errp);
        json_decref(json);
        if (!ok || !drop_machine_key(config, g->key, errp)) {
            return false;
        }
    }
    return true;
}

static bool check_values(const Config *config, Error **errp)
{
    const option_type_uuid *uuid = config_get(config, uuid);
    const RtcOptions *rtc = config_get(config, rtc);
    uint8_t bytes[16];
    RtcBase base;

    if (uuid && !text_to_uuid(*uuid, bytes)) {
        error_set(errp, "a UUID is written xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in hexadecimal");
        config_item_prepend(config_item(config, uuid, 0), errp);
        return false;
    }
    if (rtc && !rtc_base_parse(rtc->base, &base, errp)) {
        config_item_prepend(config_item(config, rtc, 0), errp);
        return false;
    }
    return true;
}

static void options_register(void)
{
    static OptionHooks debug = { .option = &option_d, .help = print_log_items };
    static OptionHooks module = { .option = &option_module, .help = print_modules };
    static OptionHooks global = { .option = &option_global, .parse = parse_global };
    static ConfigStep accel = { .name = "machine-accel", .rewrite = rewrite_machine_accel };
    static ConfigStep groups = { .name = "machine-groups", .rewrite = rewrite_machine_groups };
    static ConfigStep values = { .name = "values", .check = check_values };

    option_hooks_append(&debug);
    option_hooks_append(&module);
    option_hooks_append(&global);
    config_step_append(&accel);
    config_step_append(&groups);
    config_step_append(&values);
}
MODULE_INIT(MODULE_OPTIONS, options_register)
