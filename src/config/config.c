#include "config/config.h"

#include <string.h>

#include <glib.h>

#include "base/json.h"
#include "config/config-internal.h"
#include "config/keyval.h"
#include "config/sugar.h"

/* Longer arguments are cut in messages. */
#define SHOWN_ARGUMENT_MAX 80

/* File-scope state: registries, filled when MODULE_OPTIONS is called and constant from then on. */
static OptionHooks *option_hooks;
static ConfigStep *config_steps;

/* --- Life --- */

static void item_free(void *p)
{
    ConfigItem *item = p;

    if (item->option->value) {
        value_free(item->option->value->type, item->value);
    } else {
        g_free(item->value);
    }
    json_decref(item->json);
    g_free(item->name);
    g_free(item->text);
    g_free(item->file);
    g_free(item);
}

static void help_free(void *p)
{
    ConfigHelp *help = p;

    json_decref(help->given);
    g_free(help);
}

Config *config_new(void)
{
    Config *config = g_new0(Config, 1);

    config->items = g_ptr_array_new_with_free_func(item_free);
    config->help = g_ptr_array_new_with_free_func(help_free);
    return config;
}

void config_free(Config *config)
{
    if (config) {
        g_ptr_array_unref(config->items);
        g_ptr_array_unref(config->help);
        g_free(config);
    }
}

/* --- Reading --- */

static ConfigItem *find_item(const Config *config, const OptionInfo *option, size_t index)
{
    for (guint i = 0; i < config->items->len; i++) {
        ConfigItem *item = config->items->pdata[i];
        if (item->option == option && !index--) {
            return item;
        }
    }
    return NULL;
}

size_t config_lookup_count(const Config *config, const OptionInfo *option)
{
    size_t count = 0;

    for (guint i = 0; i < config->items->len; i++) {
        count += ((ConfigItem *)config->items->pdata[i])->option == option;
    }
    return count;
}

const ConfigItem *config_lookup_item(const Config *config, const OptionInfo *option, size_t i)
{
    ConfigItem *item = find_item(config, option, i);

    g_assert(item);
    return item;
}

const void *config_lookup(const Config *config, const OptionInfo *option)
{
    size_t count = config_lookup_count(config, option);

    return count ? config_lookup_item(config, option, count - 1)->value : NULL;
}

/* --- Where things come from --- */

/* g_free */
static char *origin_text(const ConfigOrigin *origin)
{
    if (origin->file) {
        return g_strdup_printf("%s:%d: ", origin->file, origin->line);
    }
    if (!origin->text) {
        return g_strdup_printf("%s: ", origin->name);
    }
    g_autofree char *valid = g_utf8_make_valid(origin->text, -1);
    bool cut = g_utf8_strlen(valid, -1) > SHOWN_ARGUMENT_MAX;
    g_autofree char *shown = cut ? g_utf8_substring(valid, 0, SHOWN_ARGUMENT_MAX) : NULL;
    return g_strdup_printf("%s %s%s: ", origin->name, cut ? shown : valid, cut ? "..." : "");
}

static void prepend_origin(const ConfigOrigin *origin, Error **errp)
{
    g_autofree char *text = origin_text(origin);

    error_prepend(errp, "%s", text);
}

void config_item_push_location(const ConfigItem *item, Location *loc)
{
    if (item->file) {
        location_push_file(loc, item->file, item->line);
    } else {
        location_push_option(loc, item->name, item->text);
    }
}

void config_item_prepend(const ConfigItem *item, Error **errp)
{
    ConfigOrigin origin = {
        .name = item->name, .text = item->text, .file = item->file, .line = item->line
    };

    prepend_origin(&origin, errp);
}

/* --- Adding --- */

/* The keys of more go over those of json; a new reference. Nested objects are merged, too. */
static json_t *merge_json(json_t *json, json_t *more)
{
    json_t *merged = json_deep_copy(json);

    json_object_update_recursive(merged, more);
    return merged;
}

/* Ids begin with a letter, so that they are no path or number, and name one thing of a kind. */
static bool check_id(const Config *config, const OptionInfo *option, json_t *json, Error **errp)
{
    const char *id = json_string_value(json_object_get(json, "id"));

    if (id && !text_is_id(id)) {
        g_autofree char *shown = g_strescape(id, NULL);
        error_set(errp,
                  "Parameter 'id' expects a letter, then letters, digits, '-', '.' or '_', got"
                  " '%.60s'",
                  shown);
        return false;
    }
    for (guint i = 0; id && i < config->items->len; i++) {
        const ConfigItem *item = config->items->pdata[i];
        const char *other = json_string_value(json_object_get(item->json, "id"));
        if (item->option == option && other && g_str_equal(id, other)) {
            error_set(errp, "id '%s' is already taken by an earlier -%s", id, option->name);
            return false;
        }
    }
    return true;
}

/* The typed value; NULL with an error. Options without argument get something to point to. */
static void *parse_value(const OptionInfo *option, json_t *json, ValueMode mode, Error **errp)
{
    const Field *field = option->value;

    if (!field) {
        return g_malloc0(1);
    }
    void *value = g_malloc0(field->type->size + 1);
    bool is_struct = field->type->kind == VALUE_RECORD || field->type->kind == VALUE_UNION;
    bool ok = is_struct ? value_parse(field->type, value, json, mode, errp)
                        : field_parse(value, field, json, mode, errp);
    if (!ok) {
        g_free(value);
        return NULL;
    }
    return value;
}

static bool add_json(Config *config, const OptionInfo *option, json_t *json, ValueMode mode,
                     const ConfigOrigin *origin, Error **errp)
{
    ConfigItem *old = option->repeat == OPTION_APPEND ? NULL : find_item(config, option, 0);
    json_t *whole = NULL;

    if (old && option->repeat == OPTION_ONCE) {
        error_set(errp, "option -%s is given a second time", option->name);
        return false;
    }
    if (old && option->repeat == OPTION_MERGE) {
        whole = merge_json(old->json, json);
        mode = old->mode == VALUE_MODE_TEXT ? VALUE_MODE_TEXT : mode;
    } else {
        whole = json_incref(json);
    }
    void *value = NULL;
    if (option->repeat != OPTION_APPEND || check_id(config, option, whole, errp)) {
        value = parse_value(option, whole, mode, errp);
    }
    if (!value) {
        json_decref(whole);
        return false;
    }
    if (old) {
        g_ptr_array_remove(config->items, old);
    }
    ConfigItem *item = g_new0(ConfigItem, 1);
    *item = (ConfigItem){ .option = option,
                          .value = value,
                          .json = whole,
                          .mode = mode,
                          .name = g_strdup(origin->name),
                          .text = g_strdup(origin->text),
                          .file = g_strdup(origin->file),
                          .line = origin->line };
    g_ptr_array_add(config->items, item);
    return true;
}

static bool warn_deprecated(const char *what, const char *name, unsigned flags, void *opaque)
{
    report_warning("%s '%s' is deprecated", what, name);
    return true;
}

static void warn_of_deprecated(const OptionInfo *option, json_t *json)
{
    json_t *copy = json_deep_copy(json);

    qmp_policy_walk(option->value->type, copy, FIELD_DEPRECATED, warn_deprecated, NULL);
    json_decref(copy);
}

bool config_add(Config *config, const OptionInfo *option, json_t *json, ValueMode mode,
                const ConfigOrigin *origin, Error **errp)
{
    if (add_json(config, option, json, mode, origin, errp)) {
        if (json) {
            warn_of_deprecated(option, json);
        }
        return true;
    }
    prepend_origin(origin, errp);
    return false;
}

/* The item whose id stands at the beginning of text, with '.' behind it; ids may have dots, so the
 * longest one. */
static ConfigItem *find_by_id(const Config *config, const OptionInfo *option, const char *text)
{
    ConfigItem *found = NULL;
    size_t longest = 0;

    for (guint i = 0; i < config->items->len; i++) {
        ConfigItem *item = config->items->pdata[i];
        const char *id = json_string_value(json_object_get(item->json, "id"));
        size_t len = id ? strlen(id) : 0;
        if (item->option == option && len > longest && g_str_has_prefix(text, id) &&
            text[len] == '.') {
            found = item;
            longest = len;
        }
    }
    return found;
}

static bool set_key(ConfigItem *item, const char *key, const char *value, Error **errp)
{
    if (item->mode != VALUE_MODE_TEXT) {
        error_set(errp, "-%s was given as JSON, which can't be changed", item->option->name);
        return false;
    }
    json_t *json = json_deep_copy(item->json);
    json_object_del(json, key);
    if (!keyval_add(json, key, value, item->option->value->type, errp)) {
        json_decref(json);
        return false;
    }
    void *typed = NULL;
    json = keyval_finish(json, errp);
    if (json) {
        typed = parse_value(item->option, json, item->mode, errp);
    }
    if (!typed) {
        json_decref(json);
        return false;
    }
    value_free(item->option->value->type, item->value);
    json_decref(item->json);
    item->value = typed;
    item->json = json;
    return true;
}

bool config_set(Config *config, const char *text, Error **errp)
{
    const char *dot = strchr(text, '.');
    const char *equals = strchr(text, '=');

    if (!dot || !equals || equals < dot) {
        error_set(errp, "expected GROUP.ID.KEY=VALUE");
        return false;
    }
    g_autofree char *group = g_strndup(text, (gsize)(dot - text));
    const OptionInfo *option = option_find_group(group);
    if (!option || !option_is_keyed(option)) {
        error_set(errp, "there is no option group '%s' with ids", group);
        return false;
    }
    ConfigItem *item = find_by_id(config, option, dot + 1);
    const char *id = item ? json_string_value(json_object_get(item->json, "id")) : NULL;
    const char *key = item ? dot + 1 + strlen(id) + 1 : NULL;
    if (!item || key >= equals) {
        error_set(errp, "there is no -%s before this with the id in '%.*s'", option->name,
                  (int)(equals - dot - 1), dot + 1);
        return false;
    }
    if (g_str_has_prefix(key, "id=")) {
        error_set(errp, "an id can't be changed");
        return false;
    }
    g_autofree char *name = g_strndup(key, (gsize)(equals - key));
    return set_key(item, name, equals + 1, errp);
}

void config_remove(Config *config, const OptionInfo *option)
{
    for (guint i = config->items->len; i--;) {
        if (((ConfigItem *)config->items->pdata[i])->option == option) {
            g_ptr_array_remove_index(config->items, i);
        }
    }
}

static void note_help(Config *config, const OptionInfo *option, json_t *given)
{
    ConfigHelp *help = g_new0(ConfigHelp, 1);

    *help = (ConfigHelp){ .option = option, .given = json_incref(given) };
    g_ptr_array_add(config->help, help);
}

static json_t *load_json(const char *text, Error **errp)
{
    json_error_t at;
    json_t *json = json_load_text(text, strlen(text), JSON_REJECT_DUPLICATES, &at);

    if (!json) {
        error_set(errp, "invalid JSON at column %d: %s", at.column, at.text);
    }
    return json;
}

/* "help", or "something,help" */
static bool asks_for_help(const char *text)
{
    const char *comma = strrchr(text, ',');

    return text_is_help(comma ? comma + 1 : text);
}

/* The argument as JSON; NULL with an error. */
static json_t *parse_argument(const OptionInfo *option, const char *text, ValueMode *mode,
                              bool *help, Error **errp)
{
    const OptionHooks *hooks = option_hooks_find(option);
    const ValueType *type = option->value->type;

    *mode = VALUE_MODE_TEXT;
    if (!option_is_keyed(option)) {
        *help = (option->flags & OPTION_HELPS) && asks_for_help(text);
        json_t *json = json_string(text);
        if (!json) {
            error_set(errp, "the argument is not UTF-8");
        }
        return json;
    }
    if (text[0] == '{') {
        *mode = VALUE_MODE_TYPED;
        return load_json(text, errp);
    }
    if (hooks && hooks->parse && !text_is_help(text)) {
        return hooks->parse(text, errp);
    }
    return keyval_parse(text, type, help, errp);
}

bool config_add_text(Config *config, const OptionInfo *option, const char *text,
                     const ConfigOrigin *origin, Error **errp)
{
    Location loc;
    bool help = false, ok = false;
    ValueMode mode = VALUE_MODE_TEXT;
    json_t *json = NULL;

    if (origin->file) {
        location_push_file(&loc, origin->file, origin->line);
    } else {
        location_push_option(&loc, origin->name, text);
    }
    if (option->flags & OPTION_DEPRECATED) {
        report_warning("this option is deprecated: %s", option->help);
    }
    if (option->sugar) {
        ok = sugar_expand(config, option, text, origin, errp);
    } else if (!option->value) {
        ok = config_add(config, option, NULL, mode, origin, errp);
    } else {
        json = parse_argument(option, text, &mode, &help, errp);
        if (!json) {
            prepend_origin(origin, errp);
        } else if (help) {
            note_help(config, option, json);
            ok = true;
        } else {
            ok = config_add(config, option, json, mode, origin, errp);
        }
    }
    location_pop(&loc);
    json_decref(json);
    return ok;
}

bool option_is_keyed(const OptionInfo *option)
{
    return option->value &&
           (option->value->type->kind == VALUE_RECORD || option->value->type->kind == VALUE_UNION);
}

/* --- Registries --- */

void option_hooks_append(OptionHooks *hooks)
{
    for (OptionHooks *h = option_hooks; h; h = h->next) {
        if (h == hooks) {
            return;
        }
    }
    hooks->next = option_hooks;
    option_hooks = hooks;
}

const OptionHooks *option_hooks_find(const OptionInfo *option)
{
    for (OptionHooks *h = option_hooks; h; h = h->next) {
        if (h->option == option) {
            return h;
        }
    }
    return NULL;
}

void config_step_append(ConfigStep *step)
{
    for (ConfigStep *s = config_steps; s; s = s->next) {
        if (s == step) {
            return;
        }
    }
    step->next = config_steps;
    config_steps = step;
}

bool config_validate(Config *config, Error **errp)
{
    for (ConfigStep *s = config_steps; s; s = s->next) {
        if (s->rewrite && !s->rewrite(config, errp)) {
            return false;
        }
    }
    for (ConfigStep *s = config_steps; s; s = s->next) {
        if (s->check && !s->check(config, errp)) {
            return false;
        }
    }
    return true;
}
