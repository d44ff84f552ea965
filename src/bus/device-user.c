/* -device and device_add: devices as users describe them, and what they are told about them. */
#include <string.h>

#include "base/report.h"
#include "base/text.h"
#include "bus/device-internal.h"
#include "bus/device.h"
#include "config/absent.h"
#include "object/property.h"
#include "object/runstate.h"

/* Set once the machine is ready: further devices are hot-plugged. Of this process's machine. */
static bool device_machine_ready;

#define PERIPHERAL_PATH      "/machine/peripheral"
#define PERIPHERAL_ANON_PATH "/machine/peripheral-anon"

/* Other names of device types. */
static const struct {
    const char *alias, *type;
} device_aliases[] = {
    { "ahci", "ich9-ahci" },
    { "virtio-9p", "virtio-9p-pci" },
    { "virtio-balloon", "virtio-balloon-pci" },
    { "virtio-blk", "virtio-blk-pci" },
    { "virtio-gpu", "virtio-gpu-pci" },
    { "virtio-input-host", "virtio-input-host-pci" },
    { "virtio-keyboard", "virtio-keyboard-pci" },
    { "virtio-mouse", "virtio-mouse-pci" },
    { "virtio-net", "virtio-net-pci" },
    { "virtio-rng", "virtio-rng-pci" },
    { "virtio-scsi", "virtio-scsi-pci" },
    { "virtio-serial", "virtio-serial-pci" },
    { "virtio-tablet", "virtio-tablet-pci" },
    { "vhost-user-blk", "vhost-user-blk-pci" },
    { "vhost-user-fs", "vhost-user-fs-pci" },
    { "vhost-user-scsi", "vhost-user-scsi-pci" },
    { "vhost-user-vsock", "vhost-user-vsock-pci" },
    { "vhost-vsock", "vhost-vsock-pci" },
};

void device_set_machine_ready(bool ready)
{
    device_machine_ready = ready;
}

bool device_machine_is_ready(void)
{
    return device_machine_ready;
}

static const char *device_type_for_alias(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(device_aliases); i++) {
        if (!strcmp(device_aliases[i].alias, name) && type_find(device_aliases[i].type)) {
            return device_aliases[i].type;
        }
    }
    return name;
}

static const char *device_alias_of(const char *type)
{
    for (size_t i = 0; i < ARRAY_LEN(device_aliases); i++) {
        if (!strcmp(device_aliases[i].type, type)) {
            return device_aliases[i].alias;
        }
    }
    return NULL;
}

/* --- Adding --- */

ObjectClass *device_model_class(const char *model, Error **errp)
{
    const char *type = device_type_for_alias(model);
    ObjectClass *klass = class_by_name(type);
    if (klass && class_dynamic_cast(klass, TYPE_DEVICE)) {
        return klass;
    }
    const char *near = type_nearest(type, TYPE_DEVICE),
               *absent = absent_reason(ABSENT_DEVICE, model);
    if (absent) {
        error_set(errp, "'%s': %s", model, absent);
    } else if (near) {
        error_set(errp, "'%s' is not a valid device model name; did you mean '%s'?", model, near);
    } else {
        error_set(errp, "'%s' is not a valid device model name", model);
    }
    return NULL;
}

static DeviceClass *device_user_class(const char *driver, Error **errp)
{
    ObjectClass *klass = device_model_class(driver, errp);
    if (!klass) {
        return NULL;
    }
    const char *type = class_name(klass);
    DeviceClass *dc = device_class_cast(klass);
    if (type_is_abstract(type) || !dc->user_creatable) {
        error_set(errp, "Parameter 'driver' expects a pluggable device type, but '%s' %s", driver,
                  type_is_abstract(type) ? "is abstract" : "is part of a machine");
        return NULL;
    }
    if (device_machine_ready && !dc->hotpluggable) {
        error_set(errp, "Device '%s' can't be hot-plugged: add it with -device at start", driver);
        return NULL;
    }
    return dc;
}

/* On success *bus is NULL for a device that needs none. */
static bool device_user_bus(DeviceClass *dc, const char *driver, const char *wanted, Bus **bus,
                            Error **errp)
{
    *bus = NULL;
    if (wanted) {
        *bus = bus_find(wanted, errp);
        return *bus != NULL;
    }
    if (!dc->bus_type) {
        return true;
    }
    *bus = bus_find_for_type(dc->bus_type);
    if (!*bus) {
        error_set(errp, "No '%s' bus found for device '%s'", dc->bus_type, driver);
        return false;
    }
    return true;
}

static bool device_user_id_ok(const char *id, Error **errp)
{
    if (!id) {
        return true;
    }
    if (!text_is_id(id)) {
        error_set(errp,
                  "Parameter 'id' expects an identifier (a letter, then letters, digits, '-', "
                  "'.', '_'), got '%s'",
                  id);
        return false;
    }
    if (object_child(object_container(PERIPHERAL_PATH), id)) {
        error_set(errp, "Duplicate device ID '%s'", id);
        return false;
    }
    return true;
}

static bool device_set_user_properties(Device *dev, json_t *properties, ValueMode mode,
                                       Error **errp)
{
    const char *key;
    json_t *value;
    json_object_foreach(properties, key, value)
    {
        if (!strcmp(key, "driver") || !strcmp(key, "id") || !strcmp(key, "bus")) {
            continue;
        }
        if (!object_set(&dev->parent, key, value, mode, errp)) {
            return false;
        }
    }
    return true;
}

static bool device_user_name(Device *dev, const char *id, Error **errp)
{
    dev->id = g_strdup(id);
    return id ? object_add_child(object_container(PERIPHERAL_PATH), id, &dev->parent, errp)
              : object_add_child(object_container(PERIPHERAL_ANON_PATH), "device[*]", &dev->parent,
                                 errp);
}

static bool device_user_string(json_t *properties, const char *key, const char **value,
                               Error **errp)
{
    json_t *v = json_object_get(properties, key);
    *value = json_string_value(v);
    if (v && !*value) {
        error_set(errp, "Parameter '%s' expects a string", key);
        return false;
    }
    return true;
}

Device *device_add_from_user(json_t *properties, ValueMode mode, Error **errp)
{
    const char *driver, *id, *bus_name;
    Bus *bus;
    if (!device_user_string(properties, "driver", &driver, errp) ||
        !device_user_string(properties, "id", &id, errp) ||
        !device_user_string(properties, "bus", &bus_name, errp)) {
        return NULL;
    }
    if (!driver) {
        error_set(errp, "Parameter 'driver' is missing");
        return NULL;
    }
    DeviceClass *dc = device_user_class(driver, errp);
    if (!dc || !device_user_id_ok(id, errp) || !device_user_bus(dc, driver, bus_name, &bus, errp)) {
        return NULL;
    }
    if (device_machine_ready && bus && !bus->hotplug_handler) {
        error_set(errp, "Bus '%s' does not support hotplugging", bus->name);
        return NULL;
    }
    if (run_state_is(RUN_STATE_INMIGRATE) && device_machine_ready) {
        error_set(errp, "Device '%s' can't be added while a migration comes in", driver);
        return NULL;
    }
    Device *dev = device_try_new(class_name(&dc->parent), errp);
    if (!dev) {
        return NULL;
    }
    dev->user_created = true;
    dev->options = json_deep_copy(properties);
    if (!device_set_user_properties(dev, properties, mode, errp) ||
        !device_user_name(dev, id, errp)) {
        object_unref(&dev->parent);
        return NULL;
    }
    if (!device_realize(dev, bus, errp)) {
        object_unparent(&dev->parent);
        object_unref(&dev->parent);
        return NULL;
    }
    object_unref(&dev->parent); /* the tree has it */
    return dev;
}

/* Registered by devices that live; each leaves with its device. */
static DeviceHider *hiders;

void device_hider_add(DeviceHider *h)
{
    h->next = hiders;
    hiders = h;
}

void device_hider_del(DeviceHider *h)
{
    DeviceHider **p = &hiders;
    while (*p != h) {
        p = &(*p)->next;
    }
    *p = h->next;
}

bool device_add_by_user(json_t *properties, ValueMode mode, Error **errp)
{
    bool hidden = false;
    for (DeviceHider *h = hiders; h; h = h->next) {
        if (!h->hide(h, properties, mode, &hidden, errp)) {
            return false;
        }
    }
    return hidden || device_add_from_user(properties, mode, errp);
}

/* --- Finding and removing --- */

Device *device_find(const char *id_or_path)
{
    Object *obj = id_or_path[0] == '/'
                      ? object_resolve(id_or_path, TYPE_DEVICE, NULL)
                      : object_child(object_container(PERIPHERAL_PATH), id_or_path);
    return (Device *)object_dynamic_cast(obj, TYPE_DEVICE);
}

bool device_del_by_user(const char *id, Error **errp)
{
    Device *dev = device_find(id);
    if (!dev) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", id);
        return false;
    }
    DeviceClass *dc = device_class_of(dev);
    if (dc->unplug_blocked_why) {
        error_set(errp, "Device '%s' can't be removed: %s", id, dc->unplug_blocked_why);
        return false;
    }
    if (!dc->hotpluggable) {
        error_set(errp, "Device '%s' does not support hotplugging", object_type_name(&dev->parent));
        return false;
    }
    Object *handler = dev->parent_bus ? dev->parent_bus->hotplug_handler : NULL;
    if (dev->parent_bus && !handler) {
        error_set(errp, "Bus '%s' does not support hotplugging", dev->parent_bus->name);
        return false;
    }
    if (dev->unplug_pending) {
        error_set(errp, "Device '%s' is already in the process of unplug", id);
        return false;
    }
    HotplugHandlerClass *plug = handler ? hotplug_handler_class_of(handler) : NULL;
    if (plug && plug->unplug_request) {
        return plug->unplug_request(handler, dev, errp);
    }
    if (plug && plug->unplug && !plug->unplug(handler, dev, errp)) {
        return false;
    }
    device_destroy(dev);
    return true;
}

/* --- Help --- */

static const char *const device_category_titles[DEVICE_CATEGORY_COUNT] = {
    [DEVICE_CATEGORY_BRIDGE] = "Controller/Bridge/Hub",
    [DEVICE_CATEGORY_USB] = "USB",
    [DEVICE_CATEGORY_STORAGE] = "Storage",
    [DEVICE_CATEGORY_NETWORK] = "Network",
    [DEVICE_CATEGORY_INPUT] = "Input",
    [DEVICE_CATEGORY_DISPLAY] = "Display",
    [DEVICE_CATEGORY_SOUND] = "Sound",
    [DEVICE_CATEGORY_MISC] = "Misc",
    [DEVICE_CATEGORY_CPU] = "CPU",
    [DEVICE_CATEGORY_WATCHDOG] = "Watchdog",
};

typedef struct DeviceList {
    GString *out;
    DeviceCategory category;
    bool titled;
} DeviceList;

/* The shape that existing tools parse: name "virtio-net-pci", bus PCI, desc "…" */
static void device_list_row(ObjectClass *klass, void *opaque)
{
    DeviceList *list = opaque;
    DeviceClass *dc = device_class_cast(klass);
    if (!dc->user_creatable || dc->category != list->category) {
        return;
    }
    if (!list->titled) {
        list->titled = true;
        g_string_append_printf(list->out, "%s%s devices:\n", list->out->len ? "\n" : "",
                               device_category_titles[list->category]);
    }
    const char *name = class_name(klass), *alias = device_alias_of(name);
    const char *desc = dc->desc ?: type_find(name)->help;
    g_string_append_printf(list->out, "name \"%s\"", name);
    if (dc->bus_type) {
        g_string_append_printf(list->out, ", bus %s", dc->bus_type);
    }
    if (alias) {
        g_string_append_printf(list->out, ", alias \"%s\"", alias);
    }
    if (desc) {
        g_string_append_printf(list->out, ", desc \"%s\"", desc);
    }
    g_string_append_c(list->out, '\n');
}

void device_print_list(GString *out)
{
    static const DeviceCategory order[] = {
        DEVICE_CATEGORY_BRIDGE,   DEVICE_CATEGORY_USB,   DEVICE_CATEGORY_STORAGE,
        DEVICE_CATEGORY_NETWORK,  DEVICE_CATEGORY_INPUT, DEVICE_CATEGORY_DISPLAY,
        DEVICE_CATEGORY_SOUND,    DEVICE_CATEGORY_MISC,  DEVICE_CATEGORY_CPU,
        DEVICE_CATEGORY_WATCHDOG,
    };
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        DeviceList list = { .out = out, .category = order[i] };
        class_foreach(TYPE_DEVICE, false, device_list_row, &list);
    }
}

static int device_help_compare(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const Field *const *)a)->name, (*(const Field *const *)b)->name);
}

static void device_help_collect(const Field *row, const ObjectClass *definer, void *opaque)
{
    if (!(row->flags & FIELD_READONLY) && strcmp(class_name(definer), TYPE_DEVICE)) {
        g_ptr_array_add(opaque, (gpointer)row);
    }
}

bool device_print_help(const char *type_name, GString *out, Error **errp)
{
    ObjectClass *klass = device_model_class(type_name, errp);
    if (!klass) {
        return false;
    }
    const char *type = class_name(klass);
    g_autoptr(GPtrArray) rows = g_ptr_array_new();
    class_foreach_property(klass, device_help_collect, rows);
    g_ptr_array_sort(rows, device_help_compare);
    g_string_append_printf(out, rows->len ? "%s options:\n" : "There are no options for %s.\n",
                           type);
    for (guint i = 0; i < rows->len; i++) {
        property_print_help(rows->pdata[i], out);
    }
    return true;
}
