/* The value engine: types, defaults, printing, copying, releasing. Parsing is in value-parse.c. */
#include "base/value.h"

#include <string.h>

#include <glib.h>

#include "base/bits.h"
#include "base/text.h"
#include "base/value-internal.h"

#define SCALAR(ident, k, tname, bytes) \
    const ValueType value_type_##ident = { .kind = (k), .name = (tname), .size = (bytes) }

SCALAR(bool, VALUE_BOOL, "bool", sizeof(bool));
SCALAR(str, VALUE_STR, "str", sizeof(char *));
SCALAR(any, VALUE_ANY, "any", sizeof(json_t *));
SCALAR(null, VALUE_NULL, "null", sizeof(bool));
SCALAR(number, VALUE_NUMBER, "number", sizeof(double));
SCALAR(size, VALUE_SIZE, "size", sizeof(uint64_t));
SCALAR(int, VALUE_INT, "int", sizeof(int64_t));
SCALAR(int8, VALUE_INT, "int8", 1);
SCALAR(int16, VALUE_INT, "int16", 2);
SCALAR(int32, VALUE_INT, "int32", 4);
SCALAR(int64, VALUE_INT, "int64", 8);
SCALAR(uint8, VALUE_UINT, "uint8", 1);
SCALAR(uint16, VALUE_UINT, "uint16", 2);
SCALAR(uint32, VALUE_UINT, "uint32", 4);
SCALAR(uint64, VALUE_UINT, "uint64", 8);

const ValueType value_type_size_mib = {
    .kind = VALUE_SIZE, .name = "size", .size = sizeof(uint64_t), .unit = MiB
};

#define LIST(ident, lname)                                                   \
    const ValueType value_type_##ident##_list = { .kind = VALUE_LIST,        \
                                                  .name = (lname),           \
                                                  .size = sizeof(ValueList), \
                                                  .element = &value_type_##ident }

LIST(bool, "boolList");
LIST(str, "strList");
LIST(any, "anyList");
LIST(number, "numberList");
LIST(size, "sizeList");
LIST(int, "intList");
LIST(int8, "int8List");
LIST(int16, "int16List");
LIST(int32, "int32List");
LIST(int64, "int64List");
LIST(uint8, "uint8List");
LIST(uint16, "uint16List");
LIST(uint32, "uint32List");
LIST(uint64, "uint64List");

static const char *const on_off_auto_names[] = { "auto", "on", "off" };
const EnumDesc enum_on_off_auto = { .name = "OnOffAuto", .names = on_off_auto_names, .count = 3 };
const ValueType value_type_on_off_auto = {
    .kind = VALUE_ENUM, .name = "OnOffAuto", .size = sizeof(int), .enumeration = &enum_on_off_auto
};

int enum_parse(const EnumDesc *desc, const char *name)
{
    for (int i = 0; i < desc->count; i++) {
        if (desc->names[i] && g_str_equal(desc->names[i], name)) {
            return i;
        }
    }
    return -1;
}

const char *enum_name(const EnumDesc *desc, int value)
{
    return value >= 0 && value < desc->count ? desc->names[value] : NULL;
}

const Field *field_find(const Field *fields, const char *name)
{
    for (const Field *f = fields; f && f->name; f++) {
        if (g_str_equal(f->name, name)) {
            return f;
        }
    }
    return NULL;
}

int64_t value_load_int(const void *slot, size_t size)
{
    switch (size) {
    case 1:
        return *(const int8_t *)slot;
    case 2:
        return *(const int16_t *)slot;
    case 4:
        return *(const int32_t *)slot;
    default:
        return *(const int64_t *)slot;
    }
}

uint64_t value_load_uint(const void *slot, size_t size)
{
    switch (size) {
    case 1:
        return *(const uint8_t *)slot;
    case 2:
        return *(const uint16_t *)slot;
    case 4:
        return *(const uint32_t *)slot;
    default:
        return *(const uint64_t *)slot;
    }
}

void value_store_int(void *slot, size_t size, uint64_t value)
{
    switch (size) {
    case 1:
        *(uint8_t *)slot = (uint8_t)value;
        break;
    case 2:
        *(uint16_t *)slot = (uint16_t)value;
        break;
    case 4:
        *(uint32_t *)slot = (uint32_t)value;
        break;
    default:
        *(uint64_t *)slot = value;
        break;
    }
}

bool field_present(const void *owner, const Field *field)
{
    const void *slot = field_slot(owner, field);

    if (field->flags & FIELD_POINTER) {
        return *(void *const *)slot;
    }
    if (field->type->kind == VALUE_STR || field->type->kind == VALUE_ANY) {
        return *(void *const *)slot;
    }
    if (field->type->kind == VALUE_LIST && (field->flags & FIELD_OPTIONAL)) {
        return ((const ValueList *)slot)->items;
    }
    return !field->has_offset || *(const bool *)value_at(owner, field->has_offset);
}

const ValueType *union_variant(const ValueType *type, const void *slot)
{
    const Field *d = type->record.discriminator;
    int value = *(const int *)value_at(slot, d->offset);

    return enum_name(d->type->enumeration, value) ? type->record.variants[value] : NULL;
}

/* --- Defaults --- */

void field_set_default(void *owner, const Field *field)
{
    void *slot = field_slot(owner, field);

    field_release(owner, field);
    if (!(field->flags & FIELD_DEFAULT)) {
        bool embedded = !(field->flags & FIELD_OPTIONAL);
        if (embedded && field->type->kind == VALUE_RECORD) {
            value_set_defaults(field->type, slot);
        }
        return;
    }
    if (field->flags & FIELD_BIT) {
        uint64_t word = value_load_uint(slot, field->width);
        word =
            field->def.u ? word | (UINT64_C(1) << field->bit) : word & ~(UINT64_C(1) << field->bit);
        value_store_int(slot, field->width, word);
        return;
    }
    switch (field->type->kind) {
    case VALUE_BOOL:
        *(bool *)slot = field->def.u;
        break;
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_SIZE:
        value_store_int(slot, field->type->size, field->def.u);
        break;
    case VALUE_ENUM:
        *(int *)slot = (int)field->def.i;
        break;
    case VALUE_NUMBER:
        *(double *)slot = field->def.d;
        break;
    case VALUE_STR:
        *(char **)slot = g_strdup(field->def.s);
        break;
    case VALUE_CUSTOM:
        if (field->def.s) {
            json_t *json = json_string(field->def.s);
            bool ok = field_parse(owner, field, json, VALUE_MODE_TEXT, &error_abort);
            g_assert(ok);
            json_decref(json);
        }
        break;
    case VALUE_RECORD:
    case VALUE_UNION:
    case VALUE_ALTERNATE:
    case VALUE_LIST:
    case VALUE_ANY:
    case VALUE_NULL:
        g_assert_not_reached();
    }
}

static void set_field_defaults(const Field *fields, void *owner)
{
    for (const Field *f = fields; f->name; f++) {
        field_set_default(owner, f);
    }
}

void value_set_defaults(const ValueType *type, void *slot)
{
    g_assert(type->kind == VALUE_RECORD || type->kind == VALUE_UNION);
    set_field_defaults(type->record.fields, slot);
    if (type->kind == VALUE_UNION && (type->record.discriminator->flags & FIELD_DEFAULT)) {
        const ValueType *variant = union_variant(type, slot);
        if (variant) {
            value_set_defaults(variant, value_at(slot, type->record.variant_offset));
        }
    }
}

/* --- Release --- */

static void release_fields(const Field *fields, void *owner)
{
    for (const Field *f = fields; f->name; f++) {
        field_release(owner, f);
    }
}

static void release_record(const ValueType *type, void *slot)
{
    if (type->kind == VALUE_UNION) {
        /* the discriminator is a base field: it must be read before those are zeroed */
        const ValueType *variant = union_variant(type, slot);
        if (variant) {
            release_record(variant, value_at(slot, type->record.variant_offset));
        }
    }
    release_fields(type->record.fields, slot);
    if (type->record.rest_offset) {
        json_decref(*(json_t **)value_at(slot, type->record.rest_offset));
    }
    memset(slot, 0, type->size);
}

void value_release_in(const ValueType *type, void *owner, const Field *field, void *slot)
{
    switch (type->kind) {
    case VALUE_STR:
        g_free(*(char **)slot);
        break;
    case VALUE_ANY:
        json_decref(*(json_t **)slot);
        break;
    case VALUE_RECORD:
    case VALUE_UNION:
        release_record(type, slot);
        break;
    case VALUE_ALTERNATE: {
        int kind = *(int *)slot;
        value_release_in(type->alternate.branches[kind].type, owner, field,
                         value_at(slot, type->alternate.value_offset));
        break;
    }
    case VALUE_LIST: {
        ValueList *list = slot;
        for (size_t i = 0; i < list->len; i++) {
            value_release_in(type->element, owner, field,
                             value_at(list->items, i * type->element->size));
        }
        g_free(list->items);
        break;
    }
    case VALUE_CUSTOM:
        if (type->custom->release) {
            type->custom->release(owner, field, slot);
        }
        return; /* zeroed by the type itself, which knows what lies there */
    default:
        break;
    }
    memset(slot, 0, type->size);
}

void field_release(void *owner, const Field *field)
{
    void *slot = field_slot(owner, field);

    if (field->flags & FIELD_BIT) {
        uint64_t word = value_load_uint(slot, field->width);
        value_store_int(slot, field->width, word & ~(UINT64_C(1) << field->bit));
    } else if (field->flags & FIELD_POINTER) {
        value_free(field->type, *(void **)slot);
        *(void **)slot = NULL;
    } else {
        value_release_in(field->type, owner, field, slot);
    }
    if (field->has_offset) {
        *(bool *)value_at(owner, field->has_offset) = false;
    }
}

void value_release(const ValueType *type, void *slot)
{
    value_release_in(type, NULL, NULL, slot);
}

void value_free(const ValueType *type, void *value)
{
    if (value) {
        value_release(type, value);
        g_free(value);
    }
}

/* --- Print --- */

static json_t *print_value(const ValueType *type, const void *owner, const Field *field,
                           const void *slot, Error **errp);

/* Prints the present fields into object; false with an error if a custom field can't be shown. */
static bool print_fields(const Field *fields, const void *owner, json_t *object, Error **errp)
{
    for (const Field *f = fields; f->name; f++) {
        ERROR_AUTO err = NULL;
        json_t *json = field_print(owner, f, &err);
        if (err) {
            error_propagate(errp, g_steal_pointer(&err));
            return false;
        }
        if (json) {
            json_object_set_new(object, f->name, json);
        }
    }
    return true;
}

static json_t *print_record(const ValueType *type, const void *slot, Error **errp)
{
    json_t *object = json_object();
    bool ok = print_fields(type->record.fields, slot, object, errp);

    if (ok && type->kind == VALUE_UNION) {
        const ValueType *variant = union_variant(type, slot);
        if (variant) {
            const void *part = value_at(slot, type->record.variant_offset);
            ok = print_fields(variant->record.fields, part, object, errp);
        }
    }
    if (ok && type->record.rest_offset) {
        json_t *rest = *(json_t *const *)value_at(slot, type->record.rest_offset);
        if (rest) {
            json_object_update(object, rest);
        }
    }
    if (!ok) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *print_list(const ValueType *type, const void *owner, const Field *field,
                          const ValueList *list, Error **errp)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->len; i++) {
        json_t *item = print_value(type->element, owner, field,
                                   value_at(list->items, i * type->element->size), errp);
        if (!item) {
            json_decref(array);
            return NULL;
        }
        json_array_append_new(array, item);
    }
    return array;
}

/* What a C string holds may not be UTF-8 (file names); the bad bytes are replaced then. */
static json_t *print_string(const char *text)
{
    json_t *json = json_string(text);

    if (!json) {
        char *valid = g_utf8_make_valid(text, -1);
        json = json_string(valid);
        g_free(valid);
    }
    return json;
}

static json_t *print_value(const ValueType *type, const void *owner, const Field *field,
                           const void *slot, Error **errp)
{
    switch (type->kind) {
    case VALUE_BOOL:
        return json_boolean(*(const bool *)slot);
    case VALUE_INT:
        return json_integer(value_load_int(slot, type->size));
    case VALUE_UINT:
    case VALUE_SIZE:
        return json_integer((json_int_t)value_load_uint(slot, type->size));
    case VALUE_NUMBER:
        return json_real(*(const double *)slot);
    case VALUE_STR: {
        const char *text = *(char *const *)slot;
        return print_string(text ? text : "");
    }
    case VALUE_ENUM: {
        const char *name = enum_name(type->enumeration, *(const int *)slot);
        g_assert(name);
        return json_string(name);
    }
    case VALUE_RECORD:
    case VALUE_UNION:
        return print_record(type, slot, errp);
    case VALUE_ALTERNATE:
        return print_value(type->alternate.branches[*(const int *)slot].type, owner, field,
                           value_at(slot, type->alternate.value_offset), errp);
    case VALUE_LIST:
        return print_list(type, owner, field, slot, errp);
    case VALUE_ANY: {
        json_t *json = *(json_t *const *)slot;
        return json ? json_incref(json) : json_null();
    }
    case VALUE_NULL:
        return json_null();
    case VALUE_CUSTOM:
        return type->custom->print(owner, field, slot, errp);
    }
    g_assert_not_reached();
}

json_t *field_print(const void *owner, const Field *field, Error **errp)
{
    const void *slot = field_slot(owner, field);

    if (field->flags & FIELD_BIT) {
        return json_boolean(value_load_uint(slot, field->width) >> field->bit & 1);
    }
    if (!field_present(owner, field)) {
        return NULL;
    }
    return print_value(field->type, owner, field,
                       field->flags & FIELD_POINTER ? *(void *const *)slot : slot, errp);
}

json_t *value_print(const ValueType *type, const void *slot)
{
    return print_value(type, NULL, NULL, slot, &error_abort);
}

/* --- Copy --- */

static void copy_value(const ValueType *type, void *dst, const void *src);

static void copy_fields(const Field *fields, void *dst, const void *src)
{
    for (const Field *f = fields; f->name; f++) {
        void *to = field_slot(dst, f);
        const void *from = field_slot(src, f);

        if (f->flags & FIELD_BIT) {
            uint64_t mask = UINT64_C(1) << f->bit;
            uint64_t word = value_load_uint(to, f->width) & ~mask;
            value_store_int(to, f->width, word | (value_load_uint(from, f->width) & mask));
        } else if (f->flags & FIELD_POINTER) {
            if (*(void *const *)from) {
                *(void **)to = g_malloc0(value_alloc_size(f->type));
                copy_value(f->type, *(void **)to, *(void *const *)from);
            }
        } else if (f->type->kind == VALUE_CUSTOM) {
            json_t *json = f->type->custom->print(src, f, from, &error_abort);
            if (json) {
                bool ok = f->type->custom->parse(dst, f, to, json, VALUE_MODE_TYPED, &error_abort);
                g_assert(ok);
                json_decref(json);
            }
        } else {
            copy_value(f->type, to, from);
        }
        if (f->has_offset) {
            *(bool *)value_at(dst, f->has_offset) = *(const bool *)value_at(src, f->has_offset);
        }
    }
}

static void copy_record(const ValueType *type, void *dst, const void *src)
{
    copy_fields(type->record.fields, dst, src);
    if (type->kind == VALUE_UNION) {
        const ValueType *variant = union_variant(type, src);
        if (variant) {
            copy_record(variant, value_at(dst, type->record.variant_offset),
                        value_at(src, type->record.variant_offset));
        }
    }
    if (type->record.rest_offset) {
        json_t *rest = *(json_t *const *)value_at(src, type->record.rest_offset);
        *(json_t **)value_at(dst, type->record.rest_offset) = json_deep_copy(rest);
    }
}

static void copy_value(const ValueType *type, void *dst, const void *src)
{
    switch (type->kind) {
    case VALUE_STR:
        *(char **)dst = g_strdup(*(char *const *)src);
        break;
    case VALUE_ANY:
        *(json_t **)dst = json_deep_copy(*(json_t *const *)src);
        break;
    case VALUE_RECORD:
    case VALUE_UNION:
        copy_record(type, dst, src);
        break;
    case VALUE_ALTERNATE:
        *(int *)dst = *(const int *)src;
        copy_value(type->alternate.branches[*(const int *)src].type,
                   value_at(dst, type->alternate.value_offset),
                   value_at(src, type->alternate.value_offset));
        break;
    case VALUE_LIST: {
        const ValueList *from = src;
        ValueList *to = dst;
        size_t size = type->element->size;
        if (!from->items) {
            break;
        }
        /* one byte more than nothing: an empty list that is present has items */
        to->items = g_malloc0(from->len * size + 1);
        to->len = from->len;
        for (size_t i = 0; i < from->len; i++) {
            copy_value(type->element, value_at(to->items, i * size),
                       value_at(from->items, i * size));
        }
        break;
    }
    case VALUE_CUSTOM:
        g_assert_not_reached(); /* only as a field */
    default:
        memcpy(dst, src, type->size);
        break;
    }
}

void value_copy(const ValueType *type, void *dst, const void *src)
{
    copy_value(type, dst, src);
}
