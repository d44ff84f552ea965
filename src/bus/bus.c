/* Buses. */
#include <string.h>

#include "base/text.h"
#include "bus/device-internal.h"
#include "bus/device.h"
#include "bus/reset.h"
#include "memory/memory.h"
#include "object/property.h"

#define SYSTEM_BUS_PATH  "/machine/unattached"
#define SYSTEM_BUS_CHILD "sysbus"
#define SYSTEM_BUS_NAME  "main-system-bus"

static char *bus_automatic_name(Bus *bus, Device *owner)
{
    if (owner && owner->id) {
        return g_strdup_printf("%s.%u", owner->id, owner->child_buses->len);
    }
    BusClass *klass = bus_class_of(bus);
    g_autofree char *type = g_ascii_strdown(object_type_name(&bus->parent), -1);
    return g_strdup_printf("%s.%u", type, klass->automatic_ids++);
}

static void bus_attach(Bus *bus, Device *owner, const char *name)
{
    bus->name = name ? g_strdup(name) : bus_automatic_name(bus, owner);
    bus->owner = owner;
    if (owner) {
        g_ptr_array_add(owner->child_buses, bus);
        if (!object_add_child(&owner->parent, bus->name, &bus->parent, &error_abort)) {
            return;
        }
        object_unref(&bus->parent); /* the tree has it */
    }
}

void bus_init(Bus *bus, const char *type_name, Device *owner, const char *name)
{
    object_init_in_place(bus, type_instance_size_of(type_name), type_name);
    bus_attach(bus, owner, name);
}

Bus *bus_new(const char *type_name, Device *owner, const char *name)
{
    Bus *bus = bus_cast(object_new(type_name));
    bus_attach(bus, owner, name);
    return bus;
}

bool bus_realize(Bus *bus, Error **errp)
{
    BusClass *klass = bus_class_of(bus);
    if (bus->realized) {
        return true;
    }
    if (klass->realize && !klass->realize(bus, errp)) {
        return false;
    }
    bus->realized = true;
    return true;
}

void bus_unrealize(Bus *bus)
{
    BusClass *klass = bus_class_of(bus);
    while (bus->devices->len) {
        device_destroy(bus->devices->pdata[bus->devices->len - 1]);
    }
    if (bus->realized && klass->unrealize) {
        klass->unrealize(bus);
    }
    bus->realized = false;
}

void bus_finish(Bus *bus)
{
    if (!bus->parent.klass) {
        return; /* never initialised */
    }
    object_ref(&bus->parent);
    bus_unrealize(bus);
    if (bus->owner) {
        g_ptr_array_remove(bus->owner->child_buses, bus);
        bus->owner = NULL;
        object_unparent(&bus->parent);
    } else {
        object_unref(&bus->parent);
    }
    object_unref(&bus->parent);
}

void bus_set_hotplug_handler(Bus *bus, Object *handler)
{
    bus->hotplug_handler = handler;
}

bool bus_foreach_device(Bus *bus, BusDeviceVisitor *visit, void *opaque)
{
    g_autoptr(GPtrArray) copy = g_ptr_array_copy(bus->devices, NULL, NULL);
    for (guint i = 0; i < copy->len; i++) {
        if (g_ptr_array_find(bus->devices, copy->pdata[i], NULL) &&
            !visit(copy->pdata[i], opaque)) {
            return false;
        }
    }
    return true;
}

/* --- Finding --- */

Bus *bus_system(void)
{
    Object *container = object_container(SYSTEM_BUS_PATH);
    Object *found = object_child(container, SYSTEM_BUS_CHILD);
    if (found) {
        return bus_cast(found);
    }
    Bus *bus = bus_cast(object_new(TYPE_SYSTEM_BUS));
    bus->name = g_strdup(SYSTEM_BUS_NAME);
    bus->realized = true;
    if (!object_add_child(container, SYSTEM_BUS_CHILD, &bus->parent, &error_abort)) {
        return NULL;
    }
    object_unref(&bus->parent);
    return bus;
}

typedef bool BusVisitor(Bus *bus, void *opaque);

/* Breadth first; false stops. */
static void bus_walk(BusVisitor *visit, void *opaque)
{
    g_autoptr(GPtrArray) queue = g_ptr_array_new();
    g_ptr_array_add(queue, bus_system());
    for (guint i = 0; i < queue->len; i++) {
        Bus *bus = queue->pdata[i];
        if (!visit(bus, opaque)) {
            return;
        }
        for (guint d = 0; d < bus->devices->len; d++) {
            Device *dev = bus->devices->pdata[d];
            for (guint b = 0; b < dev->child_buses->len; b++) {
                g_ptr_array_add(queue, dev->child_buses->pdata[b]);
            }
        }
    }
}

typedef struct BusSearch {
    const char *name;
    const char *type;
    Bus *found;
    GString *candidates;
} BusSearch;

static bool bus_match_name(Bus *bus, void *opaque)
{
    BusSearch *search = opaque;
    if (!strcmp(bus->name, search->name)) {
        search->found = bus;
        return false;
    }
    if (strcmp(bus->name, SYSTEM_BUS_NAME)) {
        g_string_append_printf(search->candidates, "%s'%s'", search->candidates->len ? ", " : "",
                               bus->name);
    }
    return true;
}

/* The last component of a path names the bus; names are unique. */
Bus *bus_find(const char *name, Error **errp)
{
    const char *slash = strrchr(name, '/');
    BusSearch search = { .name = slash ? slash + 1 : name, .candidates = g_string_new(NULL) };
    bus_walk(bus_match_name, &search);
    if (!search.found) {
        error_set(errp, "Bus '%s' not found%s%s", name,
                  search.candidates->len ? "; there are " : "", search.candidates->str);
    }
    g_string_free(search.candidates, true);
    return search.found;
}

static bool bus_has_room(Bus *bus)
{
    BusClass *klass = bus_class_of(bus);
    return !bus->full && (!klass->max_devices || bus->devices->len < klass->max_devices);
}

static bool bus_match_type(Bus *bus, void *opaque)
{
    BusSearch *search = opaque;
    if (!object_dynamic_cast(&bus->parent, search->type)) {
        return true;
    }
    if (!search->found || bus_has_room(bus)) {
        search->found = bus;
    }
    return !bus_has_room(bus);
}

Bus *bus_find_for_type(const char *bus_type)
{
    BusSearch search = { .type = bus_type };
    bus_walk(bus_match_type, &search);
    return search.found;
}

/* --- Types --- */

static void bus_instance_init(Object *obj)
{
    Bus *bus = (Bus *)obj;
    bus->devices = g_ptr_array_new();
}

static void bus_finalize(Object *obj)
{
    Bus *bus = (Bus *)obj;
    bus_unrealize(bus);
    g_ptr_array_unref(bus->devices);
    g_free(bus->name);
}

static void bus_hold(Object *obj, ResetType type)
{
    BusClass *klass = bus_class_of(obj);
    if (klass->reset) {
        klass->reset((Bus *)obj);
    }
}

/* Where a device's RAM belongs, for ids that are stable over migration: its place on the nearest
 * bus that has addresses. */
static char *bus_owner_path(Object *owner)
{
    Device *dev = (Device *)object_dynamic_cast(owner, TYPE_DEVICE);
    while (dev && dev->parent_bus) {
        BusClass *klass = bus_class_of(dev->parent_bus);
        char *path = klass->device_path ? klass->device_path(dev) : NULL;
        if (path) {
            return path;
        }
        dev = dev->parent_bus->owner;
    }
    return NULL;
}

static void bus_class_init(ObjectClass *klass, const void *data)
{
    memory_set_owner_path(bus_owner_path);
    resettable_class_cast(klass)->hold = bus_hold;
}

static const TypeInfo bus_type = {
    .name = TYPE_BUS,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(Bus),
    .class_size = sizeof(BusClass),
    .abstract = true,
    .class_init = bus_class_init,
    .instance_init = bus_instance_init,
    .instance_finalize = bus_finalize,
    .interfaces = (const char *const[]){ TYPE_RESETTABLE, NULL },
};
static const TypeInfo system_bus_type = { .name = TYPE_SYSTEM_BUS, .parent = TYPE_BUS };
OBJECT_TYPE(bus, bus_type)
OBJECT_TYPE(system_bus, system_bus_type)
