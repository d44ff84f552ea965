/*
 * The value engine: from JSON to typed values. Here are the values made of others; the scalars are
 * in value-scalar.c.
 */
#include "base/value.h"

#include <string.h>

#include <glib.h>

#include "base/text.h"
#include "base/value-internal.h"

/* Unknown keys: so many known ones are listed. */
#define LISTED_MAX 10

/* "cpus=0-1023" is about as many as a range means; more is a typing error. */
#define RANGE_ITEMS_MAX 65536

static bool parse_value(Parser *p, const ValueType *type, void *slot, json_t *json, Place at);
static bool parse_field(Parser *p, void *owner, const Field *field, json_t *json,
                        const Step *outer);

/* --- Records and unions --- */

typedef struct FieldCandidates {
    const Field *next[2]; /* base fields, variant's fields; NULL: none */
} FieldCandidates;

static const char *next_field_name(void *opaque)
{
    FieldCandidates *c = opaque;

    for (int i = 0; i < 2; i++) {
        if (c->next[i] && c->next[i]->name) {
            return (c->next[i]++)->name;
        }
    }
    return NULL;
}

/* "; did you mean 'addr'?", or all there are if they are few, or nothing; g_free */
static char *hint_for_key(const char *key, const Field *base, const Field *more)
{
    FieldCandidates candidates = { .next = { base, more } };
    const char *near = text_nearest(key, next_field_name, &candidates);

    if (near) {
        return g_strdup_printf("; did you mean '%s'?", near);
    }
    FieldCandidates all = { .next = { base, more } };
    GString *names = g_string_new(NULL);
    int count = 0;
    for (const char *name = next_field_name(&all); name; name = next_field_name(&all)) {
        g_string_append_printf(names, "%s%s", count++ ? ", " : "; there are ", name);
    }
    if (count > LISTED_MAX) {
        g_string_truncate(names, 0);
    }
    return g_string_free(names, false);
}

static bool fail_unknown(Parser *p, const ValueType *type, const ValueType *variant,
                         const void *slot, const char *key, const Step *outer)
{
    Step step = { .outer = outer, .name = key };
    g_autofree char *hint =
        hint_for_key(key, type->record.fields, variant ? variant->record.fields : NULL);
    g_autofree char *with = NULL;
    GString *path = g_string_new(NULL);

    value_append_path(path, &step);
    g_autofree char *shown = value_quote(path->str);
    g_string_free(path, true);
    if (type->kind == VALUE_UNION) {
        const Field *d = type->record.discriminator;
        int value = *(const int *)field_slot(slot, d);
        with = g_strdup_printf(" for %s '%s'", d->name, enum_name(d->type->enumeration, value));
    }
    error_set(p->errp, "Unknown parameter %s%s%s", shown, with ? with : "", hint);
    return false;
}

/* Keys that no field has: collected where the record is open, an error elsewhere. */
static bool take_unknown_keys(Parser *p, const ValueType *type, const ValueType *variant,
                              void *slot, json_t *json, const Step *step)
{
    const char *key;
    json_t *value;

    json_object_foreach(json, key, value)
    {
        if (field_find(type->record.fields, key) ||
            (variant && field_find(variant->record.fields, key))) {
            continue;
        }
        if (!type->record.rest_offset) {
            return fail_unknown(p, type, variant, slot, key, step);
        }
        json_t **rest = value_at(slot, type->record.rest_offset);
        if (!*rest) {
            *rest = json_object();
        }
        json_object_set(*rest, key, value);
    }
    return true;
}

static bool parse_fields(Parser *p, const Field *fields, const Field *done, void *owner,
                         json_t *json, const Step *step)
{
    for (const Field *f = fields; f->name; f++) {
        json_t *value = json_object_get(json, f->name);

        if (f == done) {
            continue;
        }
        if (value) {
            if (!parse_field(p, owner, f, value, step)) {
                return false;
            }
        } else if (!(f->flags & (FIELD_OPTIONAL | FIELD_DEFAULT))) {
            Step missing = { .outer = step, .name = f->name };
            g_autofree char *who = value_subject(&missing, f->type);
            error_set(p->errp, "%s is missing", who);
            return false;
        }
    }
    return true;
}

static bool parse_record(Parser *p, const ValueType *type, void *slot, json_t *json, Place at)
{
    const Field *discriminator = NULL;
    const ValueType *variant = NULL;
    void *part = NULL;

    if (!json_is_object(json)) {
        if (p->mode == VALUE_MODE_TEXT && type->record.implied && json_is_string(json)) {
            json_t *whole = json_pack("{s:O}", type->record.implied, json);
            bool ok = parse_record(p, type, slot, whole, at);
            json_decref(whole);
            return ok;
        }
        return value_fail_expected(p, type, &at, json, "an object");
    }
    value_set_defaults(type, slot);
    if (type->kind == VALUE_UNION) {
        Field only[2] = { *type->record.discriminator };
        discriminator = type->record.discriminator;
        if (!parse_fields(p, only, NULL, slot, json, at.step)) {
            return false;
        }
        variant = union_variant(type, slot);
        if (variant) {
            part = value_at(slot, type->record.variant_offset);
            value_set_defaults(variant, part);
        }
    }
    /* Unknown keys first: a mistyped one says more than the missing one it was meant to be. */
    return take_unknown_keys(p, type, variant, slot, json, at.step) &&
           parse_fields(p, type->record.fields, discriminator, slot, json, at.step) &&
           (!variant || parse_fields(p, variant->record.fields, NULL, part, json, at.step));
}

/* --- Lists --- */

static bool parse_items(Parser *p, const ValueType *type, ValueList *list, json_t *array, Place at)
{
    size_t size = type->element->size;
    size_t count = json_array_size(array);

    /* one byte more than nothing: an empty list that is present has items */
    list->items = g_malloc0(count * size + 1);
    for (size_t i = 0; i < count; i++) {
        Step step = { .outer = at.step, .index = i };
        Place item = { .owner = at.owner, .field = at.field, .step = &step };
        list->len = i + 1;
        if (!parse_value(p, type->element, value_at(list->items, i * size),
                         json_array_get(array, i), item)) {
            return false;
        }
    }
    return true;
}

/* "4-7" as [4, 5, 6, 7]; NULL if the text is no such range */
static json_t *expand_range(const char *text)
{
    const char *dash = strchr(text, '-');
    uint64_t first, last;

    if (!dash) {
        return NULL;
    }
    g_autofree char *low = g_strndup(text, (size_t)(dash - text));
    if (!text_to_u64(low, &first) || !text_to_u64(dash + 1, &last) || last < first ||
        last - first >= RANGE_ITEMS_MAX || last > INT64_MAX) {
        return NULL;
    }
    json_t *array = json_array();
    for (uint64_t i = first; i <= last; i++) {
        json_array_append_new(array, json_integer((json_int_t)i));
    }
    return array;
}

/* On the command line a list of one needs no index, and integers may come as ranges: both inside a
 * list ("cpus=0-3" repeated) and in place of one. NULL: json isn't such a thing. */
static json_t *list_from_text(const Parser *p, const ValueType *type, json_t *json)
{
    ValueKind element = type->element->kind;
    bool integers = element == VALUE_INT || element == VALUE_UINT;

    if (p->mode != VALUE_MODE_TEXT) {
        return NULL;
    }
    if (json_is_array(json) && integers) {
        json_t *flat = json_array();
        json_t *item;
        size_t i;
        json_array_foreach(json, i, item)
        {
            json_t *range = json_is_string(item) ? expand_range(json_string_value(item)) : NULL;
            if (range) {
                json_array_extend(flat, range);
                json_decref(range);
            } else {
                json_array_append(flat, item);
            }
        }
        return flat;
    }
    if (json_is_array(json) || json_is_null(json)) {
        return NULL;
    }
    json_t *range = integers && json_is_string(json) ? expand_range(json_string_value(json)) : NULL;
    return range ? range : json_pack("[O]", json);
}

static bool parse_list(Parser *p, const ValueType *type, ValueList *list, json_t *json, Place at)
{
    json_t *expanded = list_from_text(p, type, json);
    json_t *array = expanded ? expanded : json;
    bool ok = json_is_array(array) ? parse_items(p, type, list, array, at)
                                   : value_fail_expected(p, type, &at, json, "an array");

    json_decref(expanded);
    return ok;
}

/* --- Alternates --- */

/* Whether a value written this way can belong to the branch at all. */
static bool branch_takes(const ValueType *type, json_t *json, ValueMode mode)
{
    if (mode == VALUE_MODE_TEXT && json_is_string(json) && type->kind <= VALUE_ENUM) {
        return true;
    }
    switch (type->kind) {
    case VALUE_BOOL:
        return json_is_boolean(json);
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_SIZE:
        return json_is_integer(json);
    case VALUE_NUMBER:
        return json_is_number(json);
    case VALUE_STR:
    case VALUE_ENUM:
        return json_is_string(json);
    case VALUE_RECORD:
    case VALUE_UNION:
        return json_is_object(json);
    case VALUE_LIST:
        return json_is_array(json);
    case VALUE_NULL:
        return json_is_null(json);
    case VALUE_ALTERNATE:
    case VALUE_ANY:
    case VALUE_CUSTOM:
        return true;
    }
    g_assert_not_reached();
}

/* The branches are tried in order, so one that takes any string comes last; the error is that of
 * the only branch that could take the value. */
static bool parse_alternate(Parser *p, const ValueType *type, void *slot, json_t *json, Place at)
{
    ERROR_AUTO first = NULL;
    int tried = 0;

    for (int i = 0; i < type->alternate.count; i++) {
        const ValueType *branch = type->alternate.branches[i].type;
        void *part = value_at(slot, type->alternate.value_offset);
        ERROR_AUTO err = NULL;
        Parser sub = { .mode = p->mode, .errp = &err };

        if (!branch_takes(branch, json, p->mode)) {
            continue;
        }
        if (parse_value(&sub, branch, part, json, at)) {
            *(int *)slot = i;
            return true;
        }
        if (!tried++) {
            first = g_steal_pointer(&err);
        }
    }
    if (tried == 1) {
        error_propagate(p->errp, g_steal_pointer(&first));
        return false;
    }
    GString *what = g_string_new(NULL);
    for (int i = 0; i < type->alternate.count; i++) {
        g_string_append_printf(what, "%s%s", i ? " or " : "", type->alternate.branches[i].name);
    }
    value_fail_expected(p, type, &at, json, what->str);
    g_string_free(what, true);
    return false;
}

/* --- Any value --- */

static bool parse_custom(Parser *p, const ValueType *type, void *slot, json_t *json, Place at)
{
    ERROR_AUTO err = NULL;

    if (type->custom->parse(at.owner, at.field, slot, json, p->mode, &err)) {
        return true;
    }
    error_propagate(p->errp, g_steal_pointer(&err));
    return false;
}

static bool parse_kind(Parser *p, const ValueType *type, void *slot, json_t *json, Place at)
{
    switch (type->kind) {
    case VALUE_RECORD:
    case VALUE_UNION:
        return parse_record(p, type, slot, json, at);
    case VALUE_ALTERNATE:
        return parse_alternate(p, type, slot, json, at);
    case VALUE_LIST:
        return parse_list(p, type, slot, json, at);
    case VALUE_CUSTOM:
        return parse_custom(p, type, slot, json, at);
    default:
        return value_parse_scalar(p, type, slot, json, at);
    }
}

/* Into a zeroed slot, which is released and zeroed again on failure. */
static bool parse_value(Parser *p, const ValueType *type, void *slot, json_t *json, Place at)
{
    if (parse_kind(p, type, slot, json, at)) {
        return true;
    }
    value_release_in(type, at.owner, at.field, slot);
    return false;
}

static bool parse_field(Parser *p, void *owner, const Field *field, json_t *json, const Step *outer)
{
    const ValueType *type = field->type;
    Step step = { .outer = outer, .name = field->name };
    Place at = { .owner = owner, .field = field, .step = &step };
    void *slot = field_slot(owner, field);

    if (type->kind == VALUE_CUSTOM) {
        if (!parse_custom(p, type, slot, json, at)) {
            return false;
        }
    } else if (field->flags & FIELD_BIT) {
        bool on;
        if (!value_parse_bool(p, type, &on, json, at)) {
            return false;
        }
        uint64_t word = value_load_uint(slot, field->width) & ~(UINT64_C(1) << field->bit);
        value_store_int(slot, field->width, word | ((uint64_t)on << field->bit));
    } else {
        /* parsed aside, so that the old value stays when the new one is wrong */
        void *fresh = g_malloc0(value_alloc_size(type));
        if (!parse_value(p, type, fresh, json, at)) {
            g_free(fresh);
            return false;
        }
        field_release(owner, field);
        if (field->flags & FIELD_POINTER) {
            *(void **)slot = fresh;
        } else {
            memcpy(slot, fresh, type->size);
            g_free(fresh);
        }
    }
    if (field->has_offset) {
        *(bool *)value_at(owner, field->has_offset) = true;
    }
    return true;
}

bool value_parse(const ValueType *type, void *slot, json_t *json, ValueMode mode, Error **errp)
{
    Parser p = { .mode = mode, .errp = errp };

    return parse_value(&p, type, slot, json, (Place){});
}

bool field_parse(void *owner, const Field *field, json_t *json, ValueMode mode, Error **errp)
{
    Parser p = { .mode = mode, .errp = errp };

    return parse_field(&p, owner, field, json, NULL);
}
