/*
 * The value engine: from JSON to typed values.
 *
 * Every error names the path to the value, so the parser carries a chain of Steps on the stack; it
 * is rendered only when something is wrong.
 */
#include "base/value.h"

#include <inttypes.h>
#include <string.h>

#include <glib.h>

#include "base/text.h"
#include "base/value-internal.h"

/* Wrong values are shown in messages up to this many characters. */
#define SHOWN_MAX 60

/* Unknown keys: so many known ones are listed. */
#define LISTED_MAX 10

/* "cpus=0-1023" is about as many as a range means; more is a typing error. */
#define RANGE_ITEMS_MAX 65536

/* Where in the value we are: a member name or, without a name, a list index. */
typedef struct Step {
    const struct Step *outer;
    const char *name;
    size_t index;
} Step;

typedef struct Parser {
    ValueMode mode;
    Error **errp;
} Parser;

/* Who owns the value being parsed: what custom types and ranges look at. */
typedef struct Place {
    void *owner;
    const Field *field; /* NULL at the top */
    const Step *step;   /* NULL at the top */
} Place;

static bool parse_value(Parser *p, const ValueType *type, void *slot, json_t *json, Place at);
static bool parse_field(Parser *p, void *owner, const Field *field, json_t *json,
                        const Step *outer);

/* --- Messages --- */

static void append_path(GString *path, const Step *step)
{
    if (!step) {
        return;
    }
    append_path(path, step->outer);
    if (path->len) {
        g_string_append_c(path, '.');
    }
    if (step->name) {
        g_string_append(path, step->name);
    } else {
        g_string_append_printf(path, "%zu", step->index);
    }
}

/* "Parameter 'backend.addr'", or the type's name at the top; g_free */
static char *subject(const Step *step, const ValueType *type)
{
    if (!step) {
        return g_strdup(type->name);
    }
    GString *path = g_string_new(NULL);
    append_path(path, step);
    char *text = g_strdup_printf("Parameter '%s'", path->str);
    g_string_free(path, true);
    return text;
}

/* A text from outside, quoted, bounded and without control characters; g_free */
static char *quote(const char *text)
{
    bool cut = g_utf8_strlen(text, -1) > SHOWN_MAX;
    char *shown = cut ? g_utf8_substring(text, 0, SHOWN_MAX) : g_strdup(text);
    GString *out = g_string_new("'");

    for (const char *c = shown; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            g_string_append_printf(out, "\\x%02x", *c);
        } else {
            g_string_append_c(out, *c);
        }
    }
    g_string_append(out, cut ? "...'" : "'");
    g_free(shown);
    return g_string_free(out, false);
}

/* What was given instead; g_free */
static char *show(json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return g_strdup("an object");
    case JSON_ARRAY:
        return g_strdup("an array");
    case JSON_STRING:
        return quote(json_string_value(json));
    case JSON_INTEGER:
        return g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(json));
    case JSON_REAL:
        return g_strdup_printf("%g", json_real_value(json));
    case JSON_TRUE:
        return g_strdup("true");
    case JSON_FALSE:
        return g_strdup("false");
    case JSON_NULL:
        return g_strdup("null");
    }
    g_assert_not_reached();
}

static bool fail_expected(Parser *p, const ValueType *type, const Place *at, json_t *json,
                          const char *what)
{
    g_autofree char *who = subject(at->step, type);
    g_autofree char *got = show(json);

    error_set(p->errp, "%s expects %s, got %s", who, what, got);
    return false;
}

typedef struct EnumCandidates {
    const EnumDesc *desc;
    int next;
} EnumCandidates;

static const char *next_enum_name(void *opaque)
{
    EnumCandidates *c = opaque;

    while (c->next < c->desc->count) {
        const char *name = c->desc->names[c->next++];
        if (name) {
            return name;
        }
    }
    return NULL;
}

/* "one of a, b, c"; g_free */
static char *enum_choices(const EnumDesc *desc)
{
    GString *out = g_string_new(NULL);

    for (int i = 0; i < desc->count; i++) {
        if (desc->names[i]) {
            g_string_append_printf(out, "%s%s", out->len ? ", " : "one of ", desc->names[i]);
        }
    }
    return g_string_free(out, false);
}

static void set_enum_error(Error **errp, const EnumDesc *desc, const char *who, const char *text)
{
    g_autofree char *choices = enum_choices(desc);
    g_autofree char *got = quote(text);
    EnumCandidates candidates = { .desc = desc };
    const char *near = text_nearest(text, next_enum_name, &candidates);

    if (near) {
        error_set(errp, "%s expects %s, got %s; did you mean '%s'?", who, choices, got, near);
    } else {
        error_set(errp, "%s expects %s, got %s", who, choices, got);
    }
}

int enum_parse_or_error(const EnumDesc *desc, const char *param, const char *text, Error **errp)
{
    int value = enum_parse(desc, text);

    if (value < 0) {
        g_autofree char *who = g_strdup_printf("Parameter '%s'", param);
        set_enum_error(errp, desc, who, text);
    }
    return value;
}

/* --- Scalars --- */

static const char *text_of(const Parser *p, json_t *json)
{
    return p->mode == VALUE_MODE_TEXT ? json_string_value(json) : NULL;
}

static bool parse_bool(Parser *p, const ValueType *type, bool *slot, json_t *json, Place at)
{
    const char *text = text_of(p, json);

    if (json_is_boolean(json)) {
        *slot = json_is_true(json);
        return true;
    }
    if (text && text_to_bool(text, slot)) {
        return true;
    }
    return fail_expected(p, type, &at, json,
                         p->mode == VALUE_MODE_TEXT ? "'on' or 'off'" : "true or false");
}

static const Field *range_of(const Place *at)
{
    return at->field && (at->field->flags & FIELD_RANGE) ? at->field : NULL;
}

static bool parse_int(Parser *p, const ValueType *type, void *slot, json_t *json, Place at)
{
    const Field *range = range_of(&at);
    unsigned spare = 64 - 8 * (unsigned)type->size;
    int64_t min = range ? range->min : INT64_MIN >> spare;
    int64_t max = range ? range->max : INT64_MAX >> spare;
    const char *text = text_of(p, json);
    int64_t v;

    bool ok = text ? text_to_i64(text, &v) : json_is_integer(json);
    if (ok && !text) {
        v = json_integer_value(json);
    }
    if (ok && v >= min && v <= max) {
        value_store_int(slot, type->size, (uint64_t)v);
        return true;
    }
    g_autofree char *what =
        range || spare ? g_strdup_printf("an integer between %" PRId64 " and %" PRId64, min, max)
                       : g_strdup("an integer");
    return fail_expected(p, type, &at, json, what);
}

static bool parse_uint(Parser *p, const ValueType *type, void *slot, json_t *json, Place at)
{
    const Field *range = range_of(&at);
    unsigned spare = 64 - 8 * (unsigned)type->size;
    uint64_t min = range ? (uint64_t)range->min : 0;
    uint64_t max = range ? (uint64_t)range->max : UINT64_MAX >> spare;
    const char *text = text_of(p, json);
    uint64_t v;

    bool ok = text ? text_to_u64(text, &v) : json_is_integer(json);
    if (ok && !text) {
        json_int_t i = json_integer_value(json);
        /* JSON integers are signed 64-bit here: the upper half of uint64 is written, as the field
         * does, as its negative two's complement */
        ok = i >= 0 || (!range && type->size == 8);
        v = (uint64_t)i;
    }
    if (ok && v >= min && v <= max) {
        value_store_int(slot, type->size, v);
        return true;
    }
    g_autofree char *what =
        range || spare ? g_strdup_printf("an integer between %" PRIu64 " and %" PRIu64, min, max)
                       : g_strdup("a non-negative integer");
    return fail_expected(p, type, &at, json, what);
}

static bool parse_size(Parser *p, const ValueType *type, uint64_t *slot, json_t *json, Place at)
{
    const Field *range = range_of(&at);
    uint64_t min = range ? (uint64_t)range->min : 0;
    uint64_t max = range ? (uint64_t)range->max : UINT64_MAX;
    const char *text = text_of(p, json);
    uint64_t v = 0;

    bool ok = text ? text_to_size(text, type->unit ? type->unit : 1, &v)
                   : json_is_integer(json) && json_integer_value(json) >= 0;
    if (ok && !text) {
        v = (uint64_t)json_integer_value(json);
    }
    if (ok && v >= min && v <= max) {
        *slot = v;
        return true;
    }
    g_autofree char *what = NULL;
    if (!ok || !range) {
        what =
            g_strdup(p->mode == VALUE_MODE_TEXT ? "a size in bytes, or with a suffix K, M, G or T"
                                                : "a size in bytes");
    } else {
        g_autofree char *low = text_from_size(min);
        g_autofree char *high = text_from_size(max);
        what = max >= INT64_MAX ? g_strdup_printf("a size of at least %s", low)
                                : g_strdup_printf("a size between %s and %s", low, high);
    }
    return fail_expected(p, type, &at, json, what);
}

static bool parse_number(Parser *p, const ValueType *type, double *slot, json_t *json, Place at)
{
    const Field *range = range_of(&at);
    const char *text = text_of(p, json);
    double v;

    bool ok = text ? text_to_double(text, &v) : json_is_number(json);
    if (ok && !text) {
        v = json_number_value(json);
    }
    if (ok && (!range || (v >= (double)range->min && v <= (double)range->max))) {
        *slot = v;
        return true;
    }
    g_autofree char *what =
        range ? g_strdup_printf("a number between %" PRId64 " and %" PRId64, range->min, range->max)
              : g_strdup("a number");
    return fail_expected(p, type, &at, json, what);
}

static bool parse_str(Parser *p, const ValueType *type, char **slot, json_t *json, Place at)
{
    const Field *range = range_of(&at);
    char *text = NULL;

    if (json_is_string(json)) {
        if (strlen(json_string_value(json)) == json_string_length(json)) {
            text = g_strdup(json_string_value(json));
        } else {
            return fail_expected(p, type, &at, json, "a string without NUL");
        }
    } else if (p->mode == VALUE_MODE_TEXT && json_is_integer(json)) {
        text = g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(json));
    } else if (p->mode == VALUE_MODE_TEXT && json_is_boolean(json)) {
        text = g_strdup(json_is_true(json) ? "on" : "off");
    }
    if (!text) {
        return fail_expected(p, type, &at, json, "a string");
    }
    if (range && (strlen(text) < (size_t)range->min || strlen(text) > (size_t)range->max)) {
        g_autofree char *what =
            g_strdup_printf("a string of %" PRId64 " to %" PRId64 " bytes", range->min, range->max);
        g_free(text);
        return fail_expected(p, type, &at, json, what);
    }
    *slot = text;
    return true;
}

static bool parse_enum(Parser *p, const ValueType *type, int *slot, json_t *json, Place at)
{
    if (!json_is_string(json)) {
        g_autofree char *choices = enum_choices(type->enumeration);
        return fail_expected(p, type, &at, json, choices);
    }
    int v = enum_parse(type->enumeration, json_string_value(json));
    if (v < 0) {
        g_autofree char *who = subject(at.step, type);
        set_enum_error(p->errp, type->enumeration, who, json_string_value(json));
        return false;
    }
    *slot = v;
    return true;
}

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

    append_path(path, &step);
    g_autofree char *shown = quote(path->str);
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
            g_autofree char *who = subject(&missing, f->type);
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
        return fail_expected(p, type, &at, json, "an object");
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
                                   : fail_expected(p, type, &at, json, "an array");

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
    fail_expected(p, type, &at, json, what->str);
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
    case VALUE_BOOL:
        return parse_bool(p, type, slot, json, at);
    case VALUE_INT:
        return parse_int(p, type, slot, json, at);
    case VALUE_UINT:
        return parse_uint(p, type, slot, json, at);
    case VALUE_SIZE:
        return parse_size(p, type, slot, json, at);
    case VALUE_NUMBER:
        return parse_number(p, type, slot, json, at);
    case VALUE_STR:
        return parse_str(p, type, slot, json, at);
    case VALUE_ENUM:
        return parse_enum(p, type, slot, json, at);
    case VALUE_RECORD:
    case VALUE_UNION:
        return parse_record(p, type, slot, json, at);
    case VALUE_ALTERNATE:
        return parse_alternate(p, type, slot, json, at);
    case VALUE_LIST:
        return parse_list(p, type, slot, json, at);
    case VALUE_ANY:
        *(json_t **)slot = json_incref(json);
        return true;
    case VALUE_NULL:
        return json_is_null(json) || fail_expected(p, type, &at, json, "null");
    case VALUE_CUSTOM:
        return parse_custom(p, type, slot, json, at);
    }
    g_assert_not_reached();
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
        if (!parse_bool(p, type, &on, json, at)) {
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
