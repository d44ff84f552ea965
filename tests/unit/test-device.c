/* bus: devices, buses, interrupt lines, resets, -device. */
#include <glib.h>
#include <string.h>

#include "base/fault.h"
#include "bus/device.h"
#include "bus/reset.h"
#include "event/lock.h"
#include "event/loop.h"
#include "object/property.h"
#include "object/runstate.h"

/* A bus with room for two, a device on it with a child bus, and a leaf. What happens is written to
 * `events`. */

#define TYPE_TEST_BUS "test-bus"
#define TYPE_NODE     "test-node"
#define TYPE_LEAF     "test-leaf"

static GString *events;

typedef struct TestDevice {
    Device parent;
    uint8_t fail_step; /* realize fails: 1 before, 2 after its effect */
    bool effect;
    Irq *out[2];
    int level;
    Bus *bus;
} TestDevice;

static void note(Device *dev, const char *what)
{
    g_string_append_printf(events, "%s:%s ", dev->id ?: "-", what);
}

static bool test_realize(Device *dev, Error **errp)
{
    TestDevice *t = (TestDevice *)dev;
    if (t->fail_step == 1) {
        error_set(errp, "too early");
        return false;
    }
    note(dev, "realize");
    t->effect = true;
    if (t->fail_step == 2) {
        t->effect = false;
        error_set(errp, "too late");
        return false;
    }
    return true;
}

static void test_unrealize(Device *dev)
{
    TestDevice *t = (TestDevice *)dev;
    g_assert_true(t->effect);
    t->effect = false;
    note(dev, "unrealize");
}

static void test_reset(Device *dev)
{
    note(dev, "reset");
}

static void test_enter(Object *obj, ResetType type)
{
    note((Device *)obj, "enter");
}

static void test_exit(Object *obj, ResetType type)
{
    note((Device *)obj, "exit");
}

static void test_line(void *opaque, int n, int level)
{
    TestDevice *t = opaque;
    t->level = n * 10 + level;
}

static void test_instance_init(Object *obj)
{
    TestDevice *t = (TestDevice *)obj;
    device_init_lines_in(&t->parent, NULL, test_line, 3);
    device_init_lines_out(&t->parent, "out", t->out, 2);
}

/* The bus is named after the device's id, which is known by then. */
static bool node_realize(Device *dev, Error **errp)
{
    TestDevice *t = (TestDevice *)dev;
    if (!test_realize(dev, errp)) {
        return false;
    }
    t->bus = bus_new(TYPE_TEST_BUS, dev, NULL);
    return true;
}

static void node_unrealize(Device *dev)
{
    bus_finish(((TestDevice *)dev)->bus);
    test_unrealize(dev);
}

static void test_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    dc->realize = test_realize;
    dc->unrealize = test_unrealize;
    dc->reset = test_reset;
    dc->bus_type = data;
    resettable_class_cast(klass)->enter = test_enter;
    resettable_class_cast(klass)->exit = test_exit;
}

static void node_class_init(ObjectClass *klass, const void *data)
{
    test_class_init(klass, data);
    device_class_cast(klass)->realize = node_realize;
    device_class_cast(klass)->unrealize = node_unrealize;
}

static void test_bus_class_init(ObjectClass *klass, const void *data)
{
    bus_class_cast(klass)->max_devices = 2;
}

static const Field test_properties[] = {
    PROP_UINT8("fail", TestDevice, fail_step, 0, PROP_RANGE(0, 2)), {}
};

static const TypeInfo test_bus_type = { .name = TYPE_TEST_BUS,
                                        .parent = TYPE_BUS,
                                        .class_init = test_bus_class_init };
static const TypeInfo leaf_type = {
    .name = TYPE_LEAF,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(TestDevice),
    .properties = test_properties,
    .instance_init = test_instance_init,
    .class_init = test_class_init,
    .class_data = TYPE_TEST_BUS,
};
static const TypeInfo node_type = {
    .name = TYPE_NODE,
    .parent = TYPE_LEAF,
    .class_init = node_class_init,
    .class_data = "System",
};
OBJECT_TYPE(test_bus, test_bus_type)
OBJECT_TYPE(leaf, leaf_type)
OBJECT_TYPE(node, node_type)

static void setup(void)
{
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
    events = g_string_new(NULL);
}

static void teardown(void)
{
    device_set_machine_ready(false);
    object_root_reset();
    g_string_free(events, true);
    machine_unlock();
    event_loop_main_finish();
}

static void assert_events(const char *expected)
{
    g_assert_cmpstr(events->str, ==, expected);
    g_string_truncate(events, 0);
}

static Device *add(const char *text, Error **errp)
{
    json_t *json = json_loads(text, 0, NULL);
    g_assert_nonnull(json);
    Device *dev = device_add_from_user(json, VALUE_MODE_TEXT, errp);
    json_decref(json);
    return dev;
}

static void assert_refused(const char *text, const char *message)
{
    ERROR_AUTO err = NULL;
    g_assert_null(add(text, &err));
    g_assert_cmpstr(error_message(err), ==, message);
}

static void test_life(void)
{
    setup();
    Device *node = add("{\"driver\": \"test-node\", \"id\": \"n\"}", &error_abort);
    Device *leaf =
        add("{\"driver\": \"test-leaf\", \"id\": \"l\", \"bus\": \"n.0\"}", &error_abort);
    g_assert_true(leaf->parent_bus == ((TestDevice *)node)->bus);
    g_assert_true(leaf->realized);
    g_assert_false(leaf->hotplugged);
    g_assert_true(device_find("l") == leaf);
    g_autofree char *path = object_canonical_path(&leaf->parent);
    g_assert_cmpstr(path, ==, "/machine/peripheral/l");
    assert_events("n:realize l:realize ");

    /* A device takes what sits on its buses along. */
    device_destroy(node);
    assert_events("l:unrealize n:unrealize ");
    g_assert_null(device_find("l"));
    g_assert_null(device_find("n"));
    teardown();
}

static void test_errors(void)
{
    setup();
    assert_refused("{\"id\": \"x\"}", "Parameter 'driver' is missing");
    assert_refused("{\"driver\": \"test-leef\"}",
                   "'test-leef' is not a valid device model name; did you mean 'test-leaf'?");
    assert_refused("{\"driver\": \"test-bus\"}", "'test-bus' is not a valid device model name");
    assert_refused("{\"driver\": \"test-leaf\"}", "No 'test-bus' bus found for device 'test-leaf'");
    add("{\"driver\": \"test-node\", \"id\": \"n\"}", &error_abort);
    assert_refused("{\"driver\": \"test-node\", \"id\": \"n\"}", "Duplicate device ID 'n'");
    assert_refused("{\"driver\": \"test-node\", \"id\": \"a b\"}",
                   "Parameter 'id' expects an identifier (a letter, then letters, digits, '-', "
                   "'.', '_'), got 'a b'");
    assert_refused("{\"driver\": \"test-leaf\", \"bus\": \"m.0\"}",
                   "Bus 'm.0' not found; there are 'n.0'");
    assert_refused("{\"driver\": \"test-leaf\", \"bus\": \"main-system-bus\"}",
                   "Device 'test-leaf' can't go on System bus 'main-system-bus': it needs a bus of "
                   "type 'test-bus'");
    assert_refused("{\"driver\": \"test-leaf\", \"fai\": \"1\"}",
                   "Property 'test-leaf.fai' not found; did you mean 'fail'?");
    add("{\"driver\": \"test-leaf\"}", &error_abort);
    add("{\"driver\": \"test-leaf\"}", &error_abort);
    assert_refused("{\"driver\": \"test-leaf\"}", "Bus 'n.0' is full");
    teardown();
}

/* A realize that fails leaves no device, no id and no place on the bus taken. */
static void test_failed_realize(void)
{
    setup();
    Device *node = add("{\"driver\": \"test-node\", \"id\": \"n\"}", &error_abort);
    Bus *bus = ((TestDevice *)node)->bus;
    assert_refused("{\"driver\": \"test-leaf\", \"id\": \"l\", \"fail\": \"1\"}", "too early");
    assert_refused("{\"driver\": \"test-leaf\", \"id\": \"l\", \"fail\": \"2\"}", "too late");
    g_assert_cmpuint(bus->devices->len, ==, 0);
    g_assert_null(device_find("l"));
    g_assert_nonnull(add("{\"driver\": \"test-leaf\", \"id\": \"l\"}", &error_abort));
    teardown();
}

static void test_globals(void)
{
    setup();
    global_property_add(&(GlobalProperty){ TYPE_LEAF, "fail", "7", .user_provided = true });
    ERROR_AUTO err = NULL;
    g_assert_null(add("{\"driver\": \"test-node\"}", &err));
    g_assert_nonnull(strstr(error_message(err), "can't apply global test-leaf.fail=7: "));
    global_properties_reset();
    g_assert_nonnull(add("{\"driver\": \"test-node\"}", &error_abort));
    teardown();
}

/* --- Hot plug --- */

typedef struct TestHandler {
    Object parent;
} TestHandler;

static bool handler_plug(Object *handler, Device *dev, Error **errp)
{
    note(dev, "plug");
    return true;
}

static bool handler_unplug_request(Object *handler, Device *dev, Error **errp)
{
    note(dev, "unplug-request");
    dev->unplug_pending = true;
    return true;
}

static void handler_class_init(ObjectClass *klass, const void *data)
{
    HotplugHandlerClass *hc = hotplug_handler_class_cast(klass);
    hc->plug = handler_plug;
    hc->unplug_request = handler_unplug_request;
}

static const TypeInfo handler_type = {
    .name = "test-handler",
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(TestHandler),
    .class_init = handler_class_init,
    .interfaces = (const char *const[]){ TYPE_HOTPLUG_HANDLER, NULL },
};
OBJECT_TYPE(handler, handler_type)

static void test_hotplug(void)
{
    setup();
    Device *node = add("{\"driver\": \"test-node\", \"id\": \"n\"}", &error_abort);
    Bus *bus = ((TestDevice *)node)->bus;
    device_set_machine_ready(true);
    assert_refused("{\"driver\": \"test-leaf\"}", "Bus 'n.0' does not support hotplugging");
    Object *handler = object_new("test-handler");
    bus_set_hotplug_handler(bus, handler);
    g_string_truncate(events, 0);
    Device *leaf = add("{\"driver\": \"test-leaf\", \"id\": \"l\"}", &error_abort);
    g_assert_true(leaf->hotplugged);
    assert_events("l:realize l:enter l:reset l:exit l:plug ");
    g_assert_true(device_del_by_user("l", &error_abort));
    assert_events("l:unplug-request ");
    ERROR_AUTO err = NULL;
    g_assert_false(device_del_by_user("l", &err));
    g_assert_cmpstr(error_message(err), ==, "Device 'l' is already in the process of unplug");
    device_destroy(leaf); /* the guest let it go */
    assert_events("l:unrealize ");
    ERROR_AUTO gone = NULL;
    g_assert_false(device_del_by_user("l", &gone));
    g_assert_cmpint(error_class(gone), ==, ERROR_CLASS_DEVICE_NOT_FOUND);
    bus_set_hotplug_handler(bus, NULL);
    object_unref(handler);
    teardown();
}

/* --- Resets and lines --- */

static void note_reset_fn(void *opaque)
{
    g_string_append(events, opaque);
}

static void test_reset_order(void)
{
    setup();
    add("{\"driver\": \"test-node\", \"id\": \"n\"}", &error_abort);
    add("{\"driver\": \"test-leaf\", \"id\": \"l\"}", &error_abort);
    g_string_truncate(events, 0);
    char mark[] = "fn ";
    reset_register(note_reset_fn, mark);
    machine_reset_all(RESET_COLD);
    assert_events("l:enter n:enter l:reset n:reset fn l:exit n:exit ");
    reset_unregister(note_reset_fn, mark);
    device_reset(device_find("l"));
    assert_events("l:enter l:reset l:exit ");
    teardown();
}

static void test_lines(void)
{
    setup();
    TestDevice *a = (TestDevice *)add("{\"driver\": \"test-node\", \"id\": \"a\"}", &error_abort);
    TestDevice *b = (TestDevice *)add("{\"driver\": \"test-node\", \"id\": \"b\"}", &error_abort);
    irq_raise(a->out[0]); /* not connected: swallowed */
    device_connect_line_out(&a->parent, "out", 1, device_line_in(&b->parent, NULL, 2));
    irq_raise(a->out[1]);
    g_assert_cmpint(b->level, ==, 21);
    Irq *own = irq_new_array(test_line, a, 1);
    Irq *before = device_intercept_line_out(&a->parent, "out", 1, own);
    irq_set(a->out[1], 5);
    g_assert_cmpint(a->level, ==, 5);
    g_assert_cmpint(b->level, ==, 21);
    device_connect_line_out(&a->parent, "out", 1, before);
    irq_lower(a->out[1]);
    g_assert_cmpint(b->level, ==, 20);
    irq_free_array(own);
    teardown();
}

/* --- Help --- */

static void test_help(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    device_print_list(out);
    g_assert_nonnull(strstr(out->str, "name \"test-leaf\", bus test-bus\n"));
    g_string_truncate(out, 0);
    g_assert_true(device_print_help("test-leaf", out, &error_abort));
    g_assert_cmpstr(out->str, ==,
                    "test-leaf options:\n  fail=<uint8>           -  (0..2) (default: 0)\n");
    ERROR_AUTO err = NULL;
    g_assert_false(device_print_help("nothing-like-it", out, &err));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    g_test_add_func("/device/life", test_life);
    g_test_add_func("/device/errors", test_errors);
    g_test_add_func("/device/failed-realize", test_failed_realize);
    g_test_add_func("/device/globals", test_globals);
    g_test_add_func("/device/hotplug", test_hotplug);
    g_test_add_func("/device/reset-order", test_reset_order);
    g_test_add_func("/device/lines", test_lines);
    g_test_add_func("/device/help", test_help);
    return g_test_run();
}
