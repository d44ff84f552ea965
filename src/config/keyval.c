#include "config/keyval.h"

#include <string.h>

#include <glib.h>

#include "base/text.h"

/* Deeper or longer keys are no option of ours, and lists are dense, so input bounds memory. */
#define KEY_LENGTH_MAX 255
#define KEY_DEPTH_MAX  16
#define LIST_INDEX_MAX 65535

/* --- Names of a type --- */

static const Field *find_member(const ValueType *type, const char *name)
{
    if (!type || (type->kind != VALUE_RECORD && type->kind != VALUE_UNION)) {
        return NULL;
    }
    const Field *field = field_find(type->record.fields, name);
    if (field || type->kind != VALUE_UNION) {
        return field;
    }
    /* which variant it will be isn't known yet: any that has the name */
    const EnumDesc *kinds = type->record.discriminator->type->enumeration;
    for (int i = 0; i < kinds->count; i++) {
        const ValueType *variant = kinds->names[i] ? type->record.variants[i] : NULL;
        field = variant ? field_find(variant->record.fields, name) : NULL;
        if (field) {
            return field;
        }
    }
    return NULL;
}

static const char *implied_member(const ValueType *type)
{
    return type && (type->kind == VALUE_RECORD || type->kind == VALUE_UNION) ? type->record.implied
                                                                             : NULL;
}

static bool is_open(const ValueType *type)
{
    return type && type->kind == VALUE_RECORD && type->record.rest_offset;
}

/* --- The tree --- */

static bool valid_part(const char *part)
{
    if (!*part) {
        return false;
    }
    for (const char *c = part; *c; c++) {
        if (!g_ascii_isalnum(*c) && *c != '-' && *c != '_') {
            return false;
        }
    }
    return true;
}

static bool fail_mixed(const char *key, Error **errp)
{
    error_set(errp, "Parameter '%s' is given both as a value and as a group of values", key);
    return false;
}

/* A repeated key makes a list where the member is one. */
static bool add_again(json_t *level, const char *last, const char *key, const char *value,
                      const ValueType *type, json_t *old, Error **errp)
{
    const Field *member = find_member(type, key);

    if (!member || member->type->kind != VALUE_LIST || json_is_object(old)) {
        if (json_is_object(old)) {
            return fail_mixed(key, errp);
        }
        error_set(errp, "Parameter '%s' is given twice", key);
        return false;
    }
    if (!json_is_array(old)) {
        json_t *list = json_pack("[O]", old);
        json_object_set_new(level, last, list);
        old = list;
    }
    json_array_append_new(old, json_string(value));
    return true;
}

/* The names in a dotted key, one at least; NULL with an error. */
static char **split_key(const char *key, Error **errp)
{
    if (strlen(key) > KEY_LENGTH_MAX) {
        error_set(errp, "Parameter '%.40s...' is too long", key);
        return NULL;
    }
    char **parts = g_strsplit(key, ".", KEY_DEPTH_MAX + 1);
    bool ok = parts[0];
    for (guint i = 0; ok && parts[i]; i++) {
        ok = valid_part(parts[i]) && i < KEY_DEPTH_MAX;
    }
    if (!ok) {
        g_autofree char *shown = g_strescape(key, NULL);
        error_set(errp,
                  "Invalid parameter '%s': a key is letters, digits, '-' and '_', with '.' "
                  "between the names of nested ones",
                  shown);
        g_clear_pointer(&parts, g_strfreev);
    }
    return parts;
}

bool keyval_add(json_t *tree, const char *key, const char *value, const ValueType *type,
                Error **errp)
{
    g_auto(GStrv) parts = split_key(key, errp);
    json_t *level = tree;

    if (!parts) {
        return false;
    }
    if (!g_utf8_validate(value, -1, NULL)) {
        error_set(errp, "The value of parameter '%s' is not UTF-8", key);
        return false;
    }
    guint count = g_strv_length(parts);
    for (guint i = 0; i + 1 < count; i++) {
        json_t *next = json_object_get(level, parts[i]);
        if (!next) {
            next = json_object();
            json_object_set_new(level, parts[i], next);
        } else if (!json_is_object(next)) {
            return fail_mixed(parts[i], errp);
        }
        level = next;
    }
    const char *last = parts[count - 1];
    json_t *old = json_object_get(level, last);
    if (old) {
        return add_again(level, last, key, value, type, old, errp);
    }
    json_object_set_new(level, last, json_string(value));
    return true;
}

static bool is_index(const char *key)
{
    for (const char *c = key; *c; c++) {
        if (!g_ascii_isdigit(*c)) {
            return false;
        }
    }
    return *key;
}

/* A node whose keys are all indices as a list; NULL with an error. */
static json_t *list_of(json_t *node, const char *path, Error **errp)
{
    size_t size = json_object_size(node);
    json_t *list = json_array();

    for (size_t i = 0; i < size; i++) {
        g_autofree char *index = g_strdup_printf("%zu", i);
        json_t *value = json_object_get(node, index);
        if (!value || i > LIST_INDEX_MAX) {
            error_set(errp, "Parameter '%s.%zu' is missing: lists count from 0 without gaps", path,
                      i);
            json_decref(list);
            return NULL;
        }
        json_array_append(list, value);
    }
    return list;
}

static json_t *finish_node(json_t *node, const char *path, Error **errp);

/* Finish all below node, in place; counts the keys of node that are indices. */
static bool finish_members(json_t *node, const char *path, size_t *indices, Error **errp)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(node, next, key, value)
    {
        g_autofree char *sub = path ? g_strconcat(path, ".", key, NULL) : g_strdup(key);
        *indices += is_index(key);
        if (json_is_object(value)) {
            json_t *done = finish_node(value, sub, errp);
            if (!done) {
                return false;
            }
            json_object_set_new(node, key, done);
        }
    }
    return true;
}

/* Objects whose keys are indices become lists. A new reference; path names node in errors. */
static json_t *finish_node(json_t *node, const char *path, Error **errp)
{
    size_t indices = 0;

    if (!finish_members(node, path, &indices, errp)) {
        return NULL;
    }
    if (!indices) {
        return json_incref(node);
    }
    if (!path) {
        error_set(errp, "A parameter can't be a number: lists are written NAME.0, NAME.1");
        return NULL;
    }
    if (indices != json_object_size(node)) {
        error_set(errp, "Parameter '%s' has both list items and named values", path);
        return NULL;
    }
    return list_of(node, path, errp);
}

json_t *keyval_finish(json_t *tree, Error **errp)
{
    json_t *done = finish_node(tree, NULL, errp);

    json_decref(tree);
    return done;
}

/* --- The text --- */

/* Cut the item at *at off: up to a single comma, doubled ones made single. Leaves *at behind it. */
static char *next_item(const char **at)
{
    GString *item = g_string_new(NULL);
    const char *c = *at;

    for (; *c; c++) {
        if (*c == ',') {
            if (c[1] != ',') {
                break;
            }
            c++;
        }
        g_string_append_c(item, *c);
    }
    *at = *c ? c + 1 : c;
    return g_string_free(item, false);
}

/* An item without '=': the implied member's value, a flag, or nothing we know. */
static bool add_bare(json_t *tree, const char *item, bool first, const ValueType *type,
                     Error **errp)
{
    const char *implied = implied_member(type);

    if (first && implied) {
        return keyval_add(tree, implied, item, type, errp);
    }
    if (find_member(type, item)) {
        return keyval_add(tree, item, "on", type, errp);
    }
    if (g_str_has_prefix(item, "no") && find_member(type, item + 2)) {
        return keyval_add(tree, item + 2, "off", type, errp);
    }
    if (is_open(type)) {
        return keyval_add(tree, item, "on", type, errp);
    }
    g_autofree char *shown = g_strescape(item, NULL);
    error_set(errp, "Expected '=' and a value behind '%.60s'", shown);
    return false;
}

static bool add_item(json_t *tree, const char *item, bool first, const ValueType *type,
                     Error **errp)
{
    const char *equals = strchr(item, '=');

    if (!equals) {
        return add_bare(tree, item, first, type, errp);
    }
    g_autofree char *key = g_strndup(item, (gsize)(equals - item));
    return keyval_add(tree, key, equals + 1, type, errp);
}

/* "help", or "driver=help" where "driver" is the implied member */
static bool asks_for_help(const char *item, const ValueType *type)
{
    const char *implied = implied_member(type);
    const char *equals = implied ? strchr(item, '=') : NULL;

    return text_is_help(item) || (equals && strlen(implied) == (size_t)(equals - item) &&
                                  g_str_has_prefix(item, implied) && text_is_help(equals + 1));
}

json_t *keyval_parse(const char *text, const ValueType *type, bool *help, Error **errp)
{
    json_t *tree = json_object();
    const char *at = text;
    bool first = true;

    while (*at) {
        g_autofree char *item = next_item(&at);
        if (asks_for_help(item, type)) {
            *help = true;
        } else if (!add_item(tree, item, first, type, errp)) {
            json_decref(tree);
            return NULL;
        }
        first = false;
    }
    return keyval_finish(tree, errp);
}

/* --- And back --- */

char *keyval_escape(const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);

    return g_strjoinv(",,", parts);
}

static bool flatten(json_t *node, const char *path, KeyvalVisitor *visit, void *opaque,
                    Error **errp)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_object(node) && json_object_size(node)) {
        json_object_foreach(node, key, value)
        {
            g_autofree char *sub = path ? g_strconcat(path, ".", key, NULL) : g_strdup(key);
            if (!flatten(value, sub, visit, opaque, errp)) {
                return false;
            }
        }
        return true;
    }
    if (json_is_array(node) && json_array_size(node)) {
        json_array_foreach(node, i, value)
        {
            g_autofree char *sub = g_strdup_printf("%s.%zu", path, i);
            if (!flatten(value, sub, visit, opaque, errp)) {
                return false;
            }
        }
        return true;
    }
    if (json_is_string(node)) {
        return visit(path, json_string_value(node), opaque, errp);
    }
    if (json_is_boolean(node)) {
        return visit(path, json_is_true(node) ? "on" : "off", opaque, errp);
    }
    if (json_is_number(node)) {
        g_autofree char *number = json_dumps(node, JSON_ENCODE_ANY);
        return visit(path, number, opaque, errp);
    }
    error_set(errp, "Parameter '%s' is empty, which only JSON can say", path ? path : "");
    return false;
}

bool keyval_flatten(json_t *object, KeyvalVisitor *visit, void *opaque, Error **errp)
{
    return !json_object_size(object) || flatten(object, NULL, visit, opaque, errp);
}

static bool append_pair(const char *key, const char *value, void *opaque, Error **errp)
{
    GString *out = opaque;
    g_autofree char *escaped = keyval_escape(value);

    g_string_append_printf(out, "%s%s=%s", out->len ? "," : "", key, escaped);
    return true;
}

char *keyval_format(json_t *object, Error **errp)
{
    GString *out = g_string_new(NULL);

    if (!keyval_flatten(object, append_pair, out, errp)) {
        g_string_free(out, true);
        return NULL;
    }
    return g_string_free(out, false);
}
