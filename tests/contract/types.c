/*
 * What every registered type promises, whatever it is: its properties can be listed, an instance
 * can be made and destroyed without effects, every property takes what is inside its range and
 * refuses what is outside, and a realize that fails at any step leaves nothing behind.
 */
#include <dirent.h>
#include <glib.h>
#include <string.h>

#include "accel/accel.h"
#include "base/fault.h"
#include "bus/device.h"
#include "event/lock.h"
#include "event/loop.h"
#include "machine/machine.h"
#include "memory/memory.h"
#include "object/property.h"
#include "schema/qom.h"

/* What a device could leave behind in the process. */
typedef struct Remains {
    unsigned descriptors, objects, devices;
} Remains;

static bool count_object(Object *obj, void *opaque)
{
    (*(unsigned *)opaque)++;
    return true;
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

static Remains remains_now(void)
{
    Remains r = { .descriptors = count_descriptors(), .devices = bus_system()->devices->len };
    object_foreach_descendant(object_root(), count_object, &r.objects);
    return r;
}

static void assert_nothing_left(const Remains *before, const char *what)
{
    Remains now = remains_now();
    if (now.descriptors != before->descriptors || now.objects != before->objects ||
        now.devices != before->devices) {
        g_error("%s left something behind: descriptors %u → %u, objects %u → %u, devices %u → %u",
                what, before->descriptors, now.descriptors, before->objects, now.objects,
                before->devices, now.devices);
    }
}

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

static bool try_value(Object *obj, const Field *row, json_t *value)
{
    Error *err = NULL;
    bool ok = object_set(obj, row->name, value, VALUE_MODE_TYPED, &err);
    if (!ok) {
        /* An error names what it is about. */
        g_assert_nonnull(strstr(error_message(err), row->name));
        error_free(err);
    }
    json_decref(value);
    return ok;
}

static void try_range(Object *obj, const Field *row)
{
    g_assert_true(try_value(obj, row, json_integer(row->min)));
    g_assert_true(try_value(obj, row, json_integer(row->max)));
    if (row->min > INT64_MIN) {
        g_assert_false(try_value(obj, row, json_integer(row->min - 1)));
    }
    if (row->max < INT64_MAX) {
        g_assert_false(try_value(obj, row, json_integer(row->max + 1)));
    }
}

static void try_width(Object *obj, const Field *row)
{
    unsigned bits = 8 * row->type->size;
    bool is_signed = row->type->kind == VALUE_INT;
    if (bits >= 64) {
        return;
    }
    int64_t lo = is_signed ? -(INT64_C(1) << (bits - 1)) : 0;
    int64_t hi = is_signed ? (INT64_C(1) << (bits - 1)) - 1 : (INT64_C(1) << bits) - 1;
    g_assert_true(try_value(obj, row, json_integer(lo)));
    g_assert_true(try_value(obj, row, json_integer(hi)));
    g_assert_false(try_value(obj, row, json_integer(lo - 1)));
    g_assert_false(try_value(obj, row, json_integer(hi + 1)));
}

static void try_enum(Object *obj, const Field *row)
{
    const EnumDesc *desc = row->type->enumeration;
    for (int i = 0; i < desc->count; i++) {
        if (desc->names[i]) {
            g_assert_true(try_value(obj, row, json_string(desc->names[i])));
        }
    }
    g_assert_false(try_value(obj, row, json_string("no-such-value")));
}

static void try_property(const Field *row, const ObjectClass *definer, void *opaque)
{
    Object *obj = opaque;
    g_assert_nonnull(row->help); /* users read it */
    if (row->flags & FIELD_READONLY) {
        g_assert_false(try_value(obj, row, json_string("x")));
        return;
    }
    /* The wrong JSON type is refused everywhere. */
    g_assert_false(try_value(obj, row, json_pack("{s:i}", "no", 1)));
    switch (row->type->kind) {
    case VALUE_BOOL:
        g_assert_true(try_value(obj, row, json_true()));
        g_assert_true(try_value(obj, row, json_false()));
        g_assert_false(try_value(obj, row, json_integer(2)));
        break;
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_SIZE:
        if (row->flags & FIELD_RANGE) {
            try_range(obj, row);
        } else {
            try_width(obj, row);
        }
        break;
    case VALUE_ENUM:
        try_enum(obj, row);
        break;
    case VALUE_STR:
        g_assert_true(try_value(obj, row, json_string("text")));
        g_assert_false(try_value(obj, row, json_integer(1)));
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

/* --- Every device --- */

/* Fail the first step, the second, … until it works or refuses for a reason of its own. */
static void test_realize_fails(gconstpointer name)
{
    Remains before = remains_now();
    DeviceClass *klass = device_class_cast(class_by_name(name));
    Bus *bus = klass->bus_type ? bus_find_for_type(klass->bus_type) : NULL;
    if (klass->bus_type && !bus) {
        g_test_skip("no bus for it on this machine");
        return;
    }
    for (int step = 1; step < 1000; step++) {
        Error *err = NULL;
        Device *dev = device_new(name);
        fault_inject(step);
        bool ok = device_realize(dev, bus, &err);
        bool fired = fault_inject(0) <= 0;
        if (ok) {
            g_assert_null(err);
            device_destroy(dev);
        } else {
            g_assert_nonnull(err);
            error_free(err);
        }
        object_unref(&dev->parent);
        assert_nothing_left(&before, name);
        if (!fired) {
            return;
        }
    }
    g_error("%s: realize never ends", (const char *)name);
}

/* --- Enrolment --- */

static void enrol(ObjectClass *klass, void *opaque)
{
    const char *name = class_name(klass);
    g_autofree char *list = g_strdup_printf("/contract/list/%s", name);
    g_test_add_data_func(list, name, test_list);
    if (type_is_abstract(name) || class_dynamic_cast(klass, TYPE_MACHINE)) {
        return;
    }
    g_autofree char *create = g_strdup_printf("/contract/create/%s", name);
    g_autofree char *properties = g_strdup_printf("/contract/properties/%s", name);
    g_autofree char *realize = g_strdup_printf("/contract/realize-fails/%s", name);
    g_test_add_data_func(create, name, test_create);
    g_test_add_data_func(properties, name, test_properties);
    if (class_dynamic_cast(klass, TYPE_DEVICE) && device_class_cast(klass)->user_creatable) {
        g_test_add_data_func(realize, name, test_realize_fails);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
    memory_init();
    Machine *machine = machine_create(machine_class_find("q35", &error_abort), &error_abort);
    ok = machine_set_memory(machine, &(MachineMemoryConfig){ 0 }, &error_abort) &&
         machine_set_smp(machine, &(MachineSmpConfig){ 0 }, &error_abort) &&
         accel_start("qtest-accel", NULL, &machine->parent, &error_abort) &&
         machine_complete(machine, &error_abort) && machine_init_board(machine, &error_abort);
    g_assert_true(ok);
    class_foreach(TYPE_OBJECT, true, enrol, NULL);
    int status = g_test_run();
    machine_destroy(machine);
    object_root_reset();
    memory_finish();
    machine_unlock();
    event_loop_main_finish();
    return status;
}
