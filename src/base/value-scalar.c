/* The value engine: from JSON to scalars, and the messages about wrong values. */
#include "base/value.h"

#include <inttypes.h>
#include <string.h>

#include <glib.h>

#include "base/text.h"
#include "base/value-internal.h"

/* Wrong values are shown in messages up to this many characters. */
#define SHOWN_MAX 60

/* --- Messages --- */

void value_append_path(GString *path, const Step *step)
{
    if (!step) {
        return;
    }
    value_append_path(path, step->outer);
    if (path->len) {
        g_string_append_c(path, '.');
    }
    if (step->name) {
        g_string_append(path, step->name);
    } else {
        g_string_append_printf(path, "%zu", step->index);
    }
}

char *value_subject(const Step *step, const ValueType *type)
{
    if (!step) {
        return g_strdup(type->name);
    }
    GString *path = g_string_new(NULL);
    value_append_path(path, step);
    char *text = g_strdup_printf("Parameter '%s'", path->str);
    g_string_free(path, true);
    return text;
}

char *value_quote(const char *text)
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
        return value_quote(json_string_value(json));
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

bool value_fail_expected(Parser *p, const ValueType *type, const Place *at, json_t *json,
                         const char *what)
{
    g_autofree char *who = value_subject(at->step, type);
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
    g_autofree char *got = value_quote(text);
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

bool value_parse_bool(Parser *p, const ValueType *type, bool *slot, json_t *json, Place at)
{
    const char *text = text_of(p, json);

    if (json_is_boolean(json)) {
        *slot = json_is_true(json);
        return true;
    }
    if (text && text_to_bool(text, slot)) {
        return true;
    }
    return value_fail_expected(p, type, &at, json,
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
    return value_fail_expected(p, type, &at, json, what);
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
    return value_fail_expected(p, type, &at, json, what);
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
    return value_fail_expected(p, type, &at, json, what);
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
    return value_fail_expected(p, type, &at, json, what);
}

static bool parse_str(Parser *p, const ValueType *type, char **slot, json_t *json, Place at)
{
    const Field *range = range_of(&at);
    char *text = NULL;

    if (json_is_string(json)) {
        if (strlen(json_string_value(json)) == json_string_length(json)) {
            text = g_strdup(json_string_value(json));
        } else {
            return value_fail_expected(p, type, &at, json, "a string without NUL");
        }
    } else if (p->mode == VALUE_MODE_TEXT && json_is_integer(json)) {
        text = g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(json));
    } else if (p->mode == VALUE_MODE_TEXT && json_is_boolean(json)) {
        text = g_strdup(json_is_true(json) ? "on" : "off");
    }
    if (!text) {
        return value_fail_expected(p, type, &at, json, "a string");
    }
    if (range && (strlen(text) < (size_t)range->min || strlen(text) > (size_t)range->max)) {
        g_autofree char *what =
            g_strdup_printf("a string of %" PRId64 " to %" PRId64 " bytes", range->min, range->max);
        g_free(text);
        return value_fail_expected(p, type, &at, json, what);
    }
    *slot = text;
    return true;
}

static bool parse_enum(Parser *p, const ValueType *type, int *slot, json_t *json, Place at)
{
    if (!json_is_string(json)) {
        g_autofree char *choices = enum_choices(type->enumeration);
        return value_fail_expected(p, type, &at, json, choices);
    }
    int v = enum_parse(type->enumeration, json_string_value(json));
    if (v < 0) {
        g_autofree char *who = value_subject(at.step, type);
        set_enum_error(p->errp, type->enumeration, who, json_string_value(json));
        return false;
    }
    *slot = v;
    return true;
}

/* --- Any of them --- */

bool value_parse_scalar(Parser *p, const ValueType *type, void *slot, json_t *json, Place at)
{
    switch (type->kind) {
    case VALUE_BOOL:
        return value_parse_bool(p, type, slot, json, at);
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
    case VALUE_ANY:
        *(json_t **)slot = json_incref(json);
        return true;
    case VALUE_NULL:
        return json_is_null(json) || value_fail_expected(p, type, &at, json, "null");
    default:
        g_assert_not_reached();
    }
}
