/*
 * What every registered type promises, whatever it is: its properties can be listed, an instance
 * can be made and destroyed without effects, and every property takes what is inside its range and
 * refuses what is outside. The argument is the type of the machine beside which that is tried.
 */
#include <glib.h>
#include <string.h>

#include "event/lock.h"
#include "event/loop.h"
#include "contract/remains.h"
#include "memory/memory.h"
#include "object/property.h"
#include "schema/qom.h"

/* --- Every type --- */

static void test_list(gconstpointer data)
{
    QomListPropertiesArgs args = { .typename = (char *)data };
    ObjectPropertyInfoList list = { 0 };
    bool ok = qmp_qom_list_properties(&args, &list, &error_abort);
    g_assert_true(ok);
    for (size_t i = 0; i < list.len; i++) {
        g_assert_nonnull(list.items[i].name);
        g_assert_nonnull(list.items[i].type);
    }
    value_release(&value_type_object_property_info_list, &list);
}

static void test_create(gconstpointer name)
{
    Remains before = remains_now();
    for (int i = 0; i < 2; i++) {
        Object *obj = object_new(name);
        g_assert_cmpint(obj->refcount, ==, 1);
        object_unref(obj);
    }
    assert_nothing_left(&before, name);
}

/* --- Every property --- */

static bool try_value(Object *obj, const Field *row, json_t *value, ValueMode mode)
{
    Error *err = NULL;
    bool ok = object_set(obj, row->name, value, mode, &err);
    if (!ok) {
        /* An error names what it is about. */
        g_assert_nonnull(strstr(error_message(err), row->name));
        error_free(err);
    }
    json_decref(value);
    return ok;
}

/* Both ends of the range and what is just beyond them, as JSON where that can say the number, and
 * as text. 128 bits have room for everything. */
typedef __int128 Wide;

static char *wide_text(Wide n)
{
    if (n < 0) {
        g_autofree char *digits = wide_text(-n);
        return g_strconcat("-", digits, NULL);
    }
    g_autofree char *head = n >= 10 ? wide_text(n / 10) : g_strdup("");
    return g_strdup_printf("%s%d", head, (int)(n % 10));
}

static void try_number(Object *obj, const Field *row, Wide n, bool good)
{
    g_autofree char *text = wide_text(n);
    /* JSON's negative numbers stand for the upper half of 64 bits without sign. */
    bool wraps = n < 0 && row->type->kind == VALUE_UINT && row->type->size == sizeof(uint64_t) &&
                 !(row->flags & FIELD_RANGE);
    if (n >= INT64_MIN && n <= INT64_MAX && !wraps &&
        try_value(obj, row, json_integer(n), VALUE_MODE_TYPED) != good) {
        g_error("%s.%s: %s is %s", object_type_name(obj), row->name, text,
                good ? "refused" : "taken");
    }
    if (try_value(obj, row, json_string(text), VALUE_MODE_TEXT) != good) {
        g_error("%s.%s: '%s' is %s", object_type_name(obj), row->name, text,
                good ? "refused" : "taken");
    }
}

static void try_range(Object *obj, const Field *row)
{
    unsigned bits = 8 * (row->flags & FIELD_BIT ? sizeof(uint64_t) : row->type->size);
    bool is_signed = row->type->kind == VALUE_INT;
    Wide lo = is_signed ? -((Wide)1 << (bits - 1)) : 0;
    Wide hi = ((Wide)1 << (bits - is_signed)) - 1;
    if (row->flags & FIELD_RANGE) {
        lo = row->min;
        hi = row->max;
    }
    try_number(obj, row, lo, true);
    try_number(obj, row, hi, true);
    try_number(obj, row, lo - 1, false);
    try_number(obj, row, hi + 1, false);
}

static void try_length(Object *obj, const Field *row, int64_t len, bool good)
{
    if (len >= 0) {
        g_autofree char *text = g_strnfill((gsize)len, 'x');
        g_assert_cmpint(try_value(obj, row, json_string(text), VALUE_MODE_TYPED), ==, good);
    }
}

static void try_lengths(Object *obj, const Field *row)
{
    try_length(obj, row, row->min, true);
    try_length(obj, row, row->max, true);
    try_length(obj, row, row->min - 1, false);
    try_length(obj, row, row->max + 1, false);
}

static void try_enum(Object *obj, const Field *row)
{
    const EnumDesc *desc = row->type->enumeration;
    for (int i = 0; i < desc->count; i++) {
        if (desc->names[i]) {
            g_assert_true(try_value(obj, row, json_string(desc->names[i]), VALUE_MODE_TYPED));
        }
    }
    g_assert_false(try_value(obj, row, json_string("no-such-value"), VALUE_MODE_TYPED));
}

static void try_property(const Field *row, const ObjectClass *definer, void *opaque)
{
    Object *obj = opaque;
    g_assert_nonnull(row->help); /* users read it */
    if (row->flags & FIELD_READONLY) {
        g_assert_false(try_value(obj, row, json_string("x"), VALUE_MODE_TYPED));
        return;
    }
    /* The wrong JSON type is refused everywhere. */
    g_assert_false(try_value(obj, row, json_pack("{s:i}", "no", 1), VALUE_MODE_TYPED));
    switch (row->type->kind) {
    case VALUE_BOOL:
        g_assert_true(try_value(obj, row, json_true(), VALUE_MODE_TYPED));
        g_assert_true(try_value(obj, row, json_false(), VALUE_MODE_TYPED));
        g_assert_false(try_value(obj, row, json_integer(2), VALUE_MODE_TYPED));
        break;
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_SIZE:
        try_range(obj, row);
        break;
    case VALUE_ENUM:
        try_enum(obj, row);
        break;
    case VALUE_STR:
        if (row->flags & FIELD_RANGE) {
            try_lengths(obj, row);
        } else {
            g_assert_true(try_value(obj, row, json_string("text"), VALUE_MODE_TYPED));
        }
        g_assert_false(try_value(obj, row, json_integer(1), VALUE_MODE_TYPED));
        break;
    default:
        break;
    }
    /* What was set can be read. */
    Error *err = NULL;
    json_t *value = object_get(obj, row->name, &err);
    g_assert_true(value || err);
    json_decref(value);
    error_free(err);
}

static void test_properties(gconstpointer name)
{
    Remains before = remains_now();
    Object *obj = object_new(name);
    class_foreach_property(object_class(obj), try_property, obj);
    object_unref(obj);
    assert_nothing_left(&before, name);
}

/* --- Enrolment --- */

static void enrol(ObjectClass *klass, void *opaque)
{
    const char *name = class_name(klass);
    g_autofree char *list = g_strdup_printf("/contract/list/%s", name);
    g_test_add_data_func(list, name, test_list);
    if (type_is_abstract(name)) {
        return;
    }
    g_autofree char *create = g_strdup_printf("/contract/create/%s", name);
    g_autofree char *properties = g_strdup_printf("/contract/properties/%s", name);
    g_test_add_data_func(create, name, test_create);
    g_test_add_data_func(properties, name, test_properties);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
    memory_init();
    const char *type = argc > 1 ? argv[1] : "q35";
    Machine *machine = contract_machine_new(type, &error_abort);
    class_foreach(TYPE_OBJECT, true, enrol, NULL);
    int status = g_test_run();
    contract_machine_free(machine);
    memory_finish();
    machine_unlock();
    event_loop_main_finish();
    return status;
}
