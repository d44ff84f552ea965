/* Devices: their life, and interrupt lines. */
#include "bus/device.h"

#include <string.h>

#include "base/fault.h"
#include "bus/device-internal.h"
#include "bus/reset.h"
#include "event/lock.h"
#include "object/property.h"
#include "schema/device.h"

#define UNATTACHED_PATH "/machine/unattached"

char *device_describe(Device *dev)
{
    if (dev->id) {
        return g_strdup_printf("device '%s'", dev->id);
    }
    BusClass *bus = dev->parent_bus ? bus_class_of(dev->parent_bus) : NULL;
    g_autofree char *path = bus && bus->device_path ? bus->device_path(dev) : NULL;
    if (path) {
        return g_strdup_printf("device %s at %s", object_type_name(&dev->parent), path);
    }
    return g_strdup_printf("device %s", object_type_name(&dev->parent));
}

char *device_fw_path(Device *dev)
{
    Bus *bus = dev->parent_bus;
    BusClass *k = bus ? bus_class_of(bus) : NULL;
    g_autofree char *own = k && k->device_fw_path ? k->device_fw_path(dev) : NULL;
    g_autofree char *above = NULL;

    if (!own) {
        return NULL;
    }
    if (!bus->owner || bus->owner->parent_bus == bus_system()) {
        return g_strdup_printf("/%s", own); /* its bus names the host bridge, too */
    }
    above = device_fw_path(bus->owner);
    return above ? g_strdup_printf("%s/%s", above, own) : NULL;
}

Device *device_new(const char *type_name)
{
    return device_cast(object_new(type_name));
}

Device *device_try_new(const char *type_name, Error **errp)
{
    return device_cast(object_try_new(type_name, TYPE_DEVICE, errp));
}

/* --- Plugging into a bus --- */

static bool device_may_plug(Device *dev, Bus *bus, Error **errp)
{
    DeviceClass *klass = device_class_of(dev);
    BusClass *bus_class = bus_class_of(bus);
    const char *name = object_type_name(&dev->parent);
    if (!klass->bus_type || !object_dynamic_cast(&bus->parent, klass->bus_type)) {
        error_set(errp, "Device '%s' can't go on %s bus '%s': it needs a bus of type '%s'", name,
                  object_type_name(&bus->parent), bus->name, klass->bus_type ?: "none");
        return false;
    }
    if (bus->full || (bus_class->max_devices && bus->devices->len >= bus_class->max_devices)) {
        error_set(errp, "Bus '%s' is full", bus->name);
        return false;
    }
    return !bus_class->check_address || bus_class->check_address(bus, dev, errp);
}

static bool device_plug(Device *dev, Bus *bus, Error **errp)
{
    if (!device_may_plug(dev, bus, errp)) {
        return false;
    }
    object_ref(&bus->parent);
    object_ref(&dev->parent);
    dev->parent_bus = bus;
    g_ptr_array_add(bus->devices, dev);
    return true;
}

static void device_unplug(Device *dev)
{
    Bus *bus = dev->parent_bus;
    if (!bus) {
        return;
    }
    dev->parent_bus = NULL;
    g_ptr_array_remove(bus->devices, dev);
    object_unref(&bus->parent);
    object_unref(&dev->parent);
}

/* --- Realize --- */

static Object *device_hotplug_handler(Device *dev)
{
    return dev->parent_bus ? dev->parent_bus->hotplug_handler : NULL;
}

static void device_child_buses_unrealize(Device *dev, guint count)
{
    while (count) {
        bus_unrealize(dev->child_buses->pdata[--count]);
    }
}

static bool device_child_buses_realize(Device *dev, Error **errp)
{
    for (guint i = 0; i < dev->child_buses->len; i++) {
        if (!bus_realize(dev->child_buses->pdata[i], errp)) {
            device_child_buses_unrealize(dev, i);
            return false;
        }
    }
    return true;
}

/* The name a device's state has in a migration stream: where it sits, and what it is. */
static char *device_state_name(Device *dev, const VmState *state)
{
    BusClass *bus = dev->parent_bus ? bus_class_of(dev->parent_bus) : NULL;
    g_autofree char *path = bus && bus->device_path ? bus->device_path(dev) : NULL;
    return path ? g_strdup_printf("%s/%s", path, state->name) : g_strdup(state->name);
}

static bool device_start(Device *dev, Error **errp)
{
    DeviceClass *klass = device_class_of(dev);
    Object *handler = device_hotplug_handler(dev);
    HotplugHandlerClass *plug = handler ? hotplug_handler_class_of(handler) : NULL;

    if (dev->global_error) {
        error_propagate(errp, error_copy(dev->global_error));
        return false;
    }
    if (plug && plug->pre_plug && !plug->pre_plug(handler, dev, errp)) {
        return false;
    }
    if (FAULT("realize", errp) || (klass->realize && !klass->realize(dev, errp))) {
        return false;
    }
    if (!device_child_buses_realize(dev, errp)) {
        goto unrealize;
    }
    if (klass->vmstate) {
        g_autofree char *name = device_state_name(dev, klass->vmstate);
        vmstate_register(name, dev->instance_alias, klass->vmstate, dev);
    }
    dev->realized = true;
    dev->parent.sealed = true;
    dev->hotplugged = device_machine_is_ready();
    if (dev->hotplugged) {
        device_reset(dev);
    }
    if (plug && plug->plug && !plug->plug(handler, dev, errp)) {
        device_unrealize(dev);
        return false;
    }
    return true;

unrealize:
    if (klass->unrealize) {
        klass->unrealize(dev);
    }
    return false;
}

bool device_realize(Device *dev, Bus *bus, Error **errp)
{
    assert(!dev->realized);
    bool adopted = !dev->parent.parent;
    if (adopted &&
        !object_add_child(object_container(UNATTACHED_PATH), "device[*]", &dev->parent, errp)) {
        return false;
    }
    if (bus && !device_plug(dev, bus, errp)) {
        goto leave_tree;
    }
    if (!device_start(dev, errp)) {
        goto unplug;
    }
    return true;

unplug:
    device_unplug(dev);
leave_tree:
    if (adopted) {
        object_unparent(&dev->parent);
    }
    return false;
}

bool device_realize_and_unref(Device *dev, Bus *bus, Error **errp)
{
    bool ok = device_realize(dev, bus, errp);
    object_unref(&dev->parent);
    return ok;
}

void device_unrealize(Device *dev)
{
    DeviceClass *klass = device_class_of(dev);
    if (!dev->realized) {
        return;
    }
    device_child_buses_unrealize(dev, dev->child_buses->len);
    if (klass->vmstate) {
        vmstate_unregister(klass->vmstate, dev);
    }
    if (klass->unrealize) {
        klass->unrealize(dev);
    }
    dev->realized = false;
    dev->parent.sealed = false;
}

void device_destroy(Device *dev)
{
    object_ref(&dev->parent);
    object_unparent(&dev->parent);
    object_unref(&dev->parent);
}

/* However a device leaves the tree, it is unrealized and leaves its bus. */
static void device_unparent(Object *obj)
{
    Device *dev = (Device *)obj;
    bool announce = dev->realized && dev->user_created;
    g_autofree char *path = announce ? object_canonical_path(obj) : NULL;
    device_unrealize(dev);
    while (dev->child_buses->len) {
        bus_finish(dev->child_buses->pdata[dev->child_buses->len - 1]);
    }
    device_unplug(dev);
    if (announce) {
        qmp_event_device_deleted(dev->id, path);
    }
}

/* --- Lines --- */

static DeviceLines *device_lines(Device *dev, const char *name)
{
    for (DeviceLines *l = dev->lines; l; l = l->next) {
        if (!g_strcmp0(l->name, name)) {
            return l;
        }
    }
    DeviceLines *l = g_new0(DeviceLines, 1);
    l->name = g_strdup(name);
    l->next = dev->lines;
    dev->lines = l;
    return l;
}

void device_init_lines_in_opaque(Device *dev, const char *name, IrqHandler *handler, void *opaque,
                                 int n)
{
    DeviceLines *l = device_lines(dev, name);
    assert(!l->in);
    l->in = irq_new_array(handler, opaque, n);
    l->n_in = n;
}

void device_init_lines_in(Device *dev, const char *name, IrqHandler *handler, int n)
{
    device_init_lines_in_opaque(dev, name, handler, dev, n);
}

void device_init_lines_out(Device *dev, const char *name, Irq **outs, int n)
{
    DeviceLines *l = device_lines(dev, name);
    l->out = g_renew(Irq **, l->out, l->n_out + n);
    for (int i = 0; i < n; i++) {
        l->out[l->n_out++] = &outs[i];
    }
}

Irq *device_line_in(Device *dev, const char *name, int n)
{
    DeviceLines *l = device_lines(dev, name);
    assert(n >= 0 && n < l->n_in);
    return &l->in[n];
}

static Irq **device_line_out_slot(Device *dev, const char *name, int n)
{
    DeviceLines *l = device_lines(dev, name);
    assert(n >= 0 && n < l->n_out);
    return l->out[n];
}

void device_connect_line_out(Device *dev, const char *name, int n, Irq *irq)
{
    *device_line_out_slot(dev, name, n) = irq;
}

Irq *device_line_out_target(Device *dev, const char *name, int n)
{
    return *device_line_out_slot(dev, name, n);
}

Irq *device_intercept_line_out(Device *dev, const char *name, int n, Irq *irq)
{
    Irq **slot = device_line_out_slot(dev, name, n);
    Irq *old = *slot;
    *slot = irq;
    return old;
}

static void device_free_lines(Device *dev)
{
    for (DeviceLines *l = dev->lines, *next; l; l = next) {
        next = l->next;
        irq_free_array(l->in);
        g_free(l->out);
        g_free(l->name);
        g_free(l);
    }
    dev->lines = NULL;
}

/* --- Type --- */

static json_t *device_get_parent_bus(Object *obj, const char *name, void *opaque, Error **errp)
{
    Bus *bus = ((Device *)obj)->parent_bus;
    g_autofree char *path = bus ? object_canonical_path(&bus->parent) : NULL;
    return json_string(path ?: "");
}

static void device_instance_init(Object *obj)
{
    static const DynamicProperty parent_bus = { .type_name = "link<bus>",
                                                .get = device_get_parent_bus };
    Device *dev = (Device *)obj;
    dev->child_buses = g_ptr_array_new();
    dev->instance_alias = -1;
    object_add_property(obj, "parent_bus", &parent_bus);
}

static void device_post_init(Object *obj)
{
    Device *dev = (Device *)obj;
    if (!global_properties_apply(obj, &dev->global_error)) {
        return; /* realize reports it */
    }
}

static void device_finalize(Object *obj)
{
    Device *dev = (Device *)obj;
    assert(!dev->realized);
    while (dev->child_buses->len) {
        bus_finish(dev->child_buses->pdata[dev->child_buses->len - 1]);
    }
    g_ptr_array_unref(dev->child_buses);
    device_free_lines(dev);
    json_decref(dev->options);
    error_free(dev->global_error);
    g_free(dev->id);
}

static void device_hold(Object *obj, ResetType type)
{
    DeviceClass *klass = device_class_of(obj);
    if (klass->reset) {
        klass->reset((Device *)obj);
    }
}

static void device_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = (DeviceClass *)klass;
    dc->user_creatable = true;
    dc->hotpluggable = true;
    klass->unparent = device_unparent;
    resettable_class_cast(klass)->hold = device_hold;
}

static bool device_realized_parse(void *owner, const Field *field, void *slot, json_t *json,
                                  ValueMode mode, Error **errp)
{
    Device *dev = owner;
    bool wanted = false;
    Field plain = { .name = field->name, .type = &value_type_bool };
    if (!field_parse(&wanted, &plain, json, mode, errp)) {
        return false;
    }
    if (wanted == dev->realized) {
        return true;
    }
    if (wanted) {
        return device_realize(dev, NULL, errp);
    }
    error_set(errp, "Property 'realized' can't be cleared; device_del removes a device");
    return false;
}

static json_t *device_realized_print(const void *owner, const Field *field, const void *slot,
                                     Error **errp)
{
    return json_boolean(((const Device *)owner)->realized);
}

static json_t *device_hotpluggable_print(const void *owner, const Field *field, const void *slot,
                                         Error **errp)
{
    const Device *dev = owner;
    return json_boolean(device_class_of(owner)->hotpluggable &&
                        (!dev->parent_bus || dev->parent_bus->hotplug_handler));
}

static const ValueCustom device_realized_custom = { .parse = device_realized_parse,
                                                    .print = device_realized_print };
static const ValueCustom device_hotpluggable_custom = { .print = device_hotpluggable_print };
static const ValueType device_realized_type = {
    .kind = VALUE_CUSTOM, .name = "bool", .size = sizeof(bool), .custom = &device_realized_custom
};
static const ValueType device_hotpluggable_type = { .kind = VALUE_CUSTOM,
                                                    .name = "bool",
                                                    .size = sizeof(bool),
                                                    .custom = &device_hotpluggable_custom };

static const Field device_properties[] = {
    PROP_CUSTOM("realized", Device, realized, device_realized_type, .flags = FIELD_LATE,
                .help = "whether the device has taken effect"),
    PROP_BOOL("hotplugged", Device, hotplugged, false, .flags = FIELD_READONLY,
              .help = "whether it was added to a running machine"),
    PROP_CUSTOM("hotpluggable", Device, realized, device_hotpluggable_type, .flags = FIELD_READONLY,
                .help = "whether it can be added and removed at run time"),
    {}
};

static const TypeInfo device_type = {
    .name = TYPE_DEVICE,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(Device),
    .class_size = sizeof(DeviceClass),
    .abstract = true,
    .properties = device_properties,
    .class_init = device_class_init,
    .instance_init = device_instance_init,
    .instance_post_init = device_post_init,
    .instance_finalize = device_finalize,
    .interfaces = (const char *const[]){ TYPE_RESETTABLE, NULL },
};
static const TypeInfo hotplug_handler_type = {
    .name = TYPE_HOTPLUG_HANDLER,
    .parent = TYPE_INTERFACE,
    .class_size = sizeof(HotplugHandlerClass),
    .abstract = true,
};
OBJECT_TYPE(device, device_type)
OBJECT_TYPE(hotplug_handler, hotplug_handler_type)
