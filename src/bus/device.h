/*
 * Devices and buses (qdev): what -device makes.
 *
 * A device is made, its properties are set, it is realized (has effects; may fail, and then leaves
 * nothing behind), lives, is unrealized and freed. A realized device sits on a bus (unless its
 * class needs none) and may offer child buses. Resets walk the tree of buses and devices in three
 * phases (bus/reset.h). Machine lock held throughout.
 */
#ifndef BUS_DEVICE_H
#define BUS_DEVICE_H

#include "bus/irq.h"
#include "object/object.h"
#include "object/vmstate.h"

#define TYPE_DEVICE          "device"
#define TYPE_BUS             "bus"
#define TYPE_HOTPLUG_HANDLER "hotplug-handler"
/* The bus of chipset devices that no other bus addresses: bus_system(). */
#define TYPE_SYSTEM_BUS "System"

typedef struct Bus Bus;
typedef struct Device Device;
typedef struct HotplugHandler HotplugHandler; /* an Object that implements the interface */

/* For help texts: what the device is. */
typedef enum DeviceCategory {
    DEVICE_CATEGORY_MISC,
    DEVICE_CATEGORY_BRIDGE,
    DEVICE_CATEGORY_USB,
    DEVICE_CATEGORY_STORAGE,
    DEVICE_CATEGORY_NETWORK,
    DEVICE_CATEGORY_INPUT,
    DEVICE_CATEGORY_DISPLAY,
    DEVICE_CATEGORY_SOUND,
    DEVICE_CATEGORY_CPU,
    DEVICE_CATEGORY_WATCHDOG,
    DEVICE_CATEGORY_COUNT,
} DeviceCategory;

/* A named array of lines; name NULL is the unnamed one. */
typedef struct DeviceLines {
    char *name;
    Irq *in; /* array of n_in */
    int n_in;
    Irq ***out; /* n_out pointers to the device's own Irq * members */
    int n_out;
    struct DeviceLines *next;
} DeviceLines;

struct Device {
    Object parent;
    char *id;        /* the user's, unique; NULL if not given */
    Bus *parent_bus; /* reference */
    bool realized;
    bool hotplugged;     /* after machine-ready */
    bool unplug_pending; /* device_del asked, guest has not answered */
    bool user_created;   /* by -device or device_add: global and hotplug rules */
    bool resetting;      /* between enter and exit of a reset */
    unsigned reset_count;
    GPtrArray *child_buses; /* Bus, owned through the tree */
    DeviceLines *lines;
    int instance_alias;  /* for state sections; -1 none */
    json_t *options;     /* as given by the user, for later queries; NULL allowed */
    Error *global_error; /* a global property could not be set: realize fails with it */
};

typedef struct DeviceClass {
    ObjectClass parent;
    DeviceCategory category;
    const char *desc;     /* one line for `-device help`; NULL falls back to TypeInfo.help */
    const char *bus_type; /* TYPE_… of the bus it must sit on; NULL: none */
    bool user_creatable;  /* default true */
    bool hotpluggable;    /* default true */
    bool (*realize)(Device *dev, Error **errp);
    void (*unrealize)(Device *dev);
    /* A simple reset: the hold phase (bus/reset.h for the three). */
    void (*reset)(Device *dev);
    const VmState *vmstate;         /* NULL: nothing to save */
    const char *unplug_blocked_why; /* set: device_del is refused with it */
} DeviceClass;

struct Bus {
    Object parent;
    char *name;         /* unique among buses of the machine: "pcie.0", "scsi0.0" */
    Device *owner;      /* NULL: the main system bus */
    GPtrArray *devices; /* Device, references, in order of plugging */
    bool realized;
    bool full;
    Object *hotplug_handler; /* borrowed; NULL: no hot plug */
    unsigned next_number;    /* for automatic addresses */
    bool resetting;
    unsigned reset_count;
};

typedef struct BusClass {
    ObjectClass parent;
    /* "01.0": where the device sits, for paths and messages; owned by the caller */
    char *(*device_path)(Device *dev);
    char *(*device_fw_path)(Device *dev);
    void (*print_device)(Device *dev, GString *out, int indent); /* info qtree */
    /* May dev sit here? Called before realize; sets addresses. NULL: yes. */
    bool (*check_address)(Bus *bus, Device *dev, Error **errp);
    bool (*realize)(Bus *bus, Error **errp);
    void (*unrealize)(Bus *bus);
    void (*reset)(Bus *bus);
    unsigned max_devices;   /* 0: no limit */
    unsigned automatic_ids; /* private: numbers given to unnamed buses */
} BusClass;

typedef struct HotplugHandlerClass {
    ObjectClass parent;
    bool (*pre_plug)(Object *handler, Device *dev, Error **errp);
    bool (*plug)(Object *handler, Device *dev, Error **errp);
    bool (*unplug_request)(Object *handler, Device *dev, Error **errp); /* asks the guest */
    bool (*unplug)(Object *handler, Device *dev, Error **errp);
} HotplugHandlerClass;

static inline UNUSED Device *device_cast(void *obj)
{
    return (Device *)object_cast((Object *)obj, TYPE_DEVICE);
}
static inline UNUSED Bus *bus_cast(void *obj)
{
    return (Bus *)object_cast((Object *)obj, TYPE_BUS);
}
OBJECT_DECLARE_CLASS(DeviceClass, device, TYPE_DEVICE)
OBJECT_DECLARE_CLASS(BusClass, bus, TYPE_BUS)
OBJECT_DECLARE_CLASS(HotplugHandlerClass, hotplug_handler, TYPE_HOTPLUG_HANDLER)

/* --- Life of a device --- */

/* A new, unrealized device: one reference, owned by the caller. */
Device *device_new(const char *type_name);
Device *device_try_new(const char *type_name, Error **errp);
/* Plug into bus (NULL for a device without) and realize; on failure it is unplugged again. The
 * tree gets it below /machine/unattached unless it has a parent. */
MUST_CHECK bool device_realize(Device *dev, Bus *bus, Error **errp);
/* As above, and gives up the caller's reference also on failure. */
MUST_CHECK bool device_realize_and_unref(Device *dev, Bus *bus, Error **errp);
/* Mirror of realize, child buses first. */
void device_unrealize(Device *dev);
/* Unrealize, leave bus and tree. The DEVICE_DELETED event follows for devices with an id or path.
 */
void device_destroy(Device *dev);

/* "device 'net0'" or "device virtio-net-pci at 03.0": for messages; owned by the caller. */
char *device_describe(Device *dev);

/*
 * Where firmware finds a device: "/pci@i0cf8/ide@1,1/drive@0/disk@0" (Open Firmware's naming); NULL
 * if one of the buses on the way has no addresses for firmware. g_free.
 */
char *device_fw_path(Device *dev);

/* --- -device and device_add --- */

/*
 * Make a device as the user describes it: "driver", "id", "bus", and properties. Finds the bus,
 * checks hot-plug rules, realizes, adds to /machine/peripheral or peripheral-anon. Borrowed result.
 * properties is borrowed.
 */
Device *device_add_from_user(json_t *properties, ValueMode mode, Error **errp);
/* The same, unless somebody keeps the device away for now. */
MUST_CHECK bool device_add_by_user(json_t *properties, ValueMode mode, Error **errp);

/*
 * Who has a say before a device is made: hide() may refuse it, or set *hidden to keep it away and
 * make it later from its own copy of the properties.
 */
typedef struct DeviceHider {
    struct DeviceHider *next;
    bool (*hide)(struct DeviceHider *h, json_t *properties, ValueMode mode, bool *hidden,
                 Error **errp);
} DeviceHider;
void device_hider_add(DeviceHider *h);
void device_hider_del(DeviceHider *h);
/* Find by id or canonical path, ask the hot-plug handler to remove it. */
MUST_CHECK bool device_del_by_user(const char *id, Error **errp);
Device *device_find(const char *id_or_path);
/* -device help, -device T,help */
void device_print_list(GString *out);
/* The class of a model as people name it, aliases included; NULL with an error that says what to
 * take instead. */
ObjectClass *device_model_class(const char *model, Error **errp);
MUST_CHECK bool device_print_help(const char *type_name, GString *out, Error **errp);
void device_set_machine_ready(bool ready); /* from here on devices are hot-plugged */
bool device_machine_is_ready(void);

/* --- Buses --- */

/* In place: bus is embedded in its owner. name NULL: "<owner id>.N" or "<type>.N". */
void bus_init(Bus *bus, const char *type_name, Device *owner, const char *name);
Bus *bus_new(const char *type_name, Device *owner, const char *name);
void bus_finish(Bus *bus); /* mirror of bus_init(); devices on it must be gone */
MUST_CHECK bool bus_realize(Bus *bus, Error **errp);
/* By name or path ("/pcie.0/root1/root1.0"); NULL with an error that lists the candidates. */
Bus *bus_find(const char *name, Error **errp);
/* The first bus of a type with room, breadth first from the main system bus. */
Bus *bus_find_for_type(const char *bus_type);
Bus *bus_system(void); /* root of the machine's buses */
void bus_set_hotplug_handler(Bus *bus, Object *handler);
typedef bool BusDeviceVisitor(Device *dev, void *opaque);
bool bus_foreach_device(Bus *bus, BusDeviceVisitor *visit, void *opaque);

/* --- Lines --- */

void device_init_lines_in(Device *dev, const char *name, IrqHandler *handler, int n);
/* opaque for the handler instead of dev */
void device_init_lines_in_opaque(Device *dev, const char *name, IrqHandler *handler, void *opaque,
                                 int n);
void device_init_lines_out(Device *dev, const char *name, Irq **outs, int n);
Irq *device_line_in(Device *dev, const char *name, int n);
void device_connect_line_out(Device *dev, const char *name, int n, Irq *irq);
Irq *device_line_out_target(Device *dev, const char *name, int n);
/* Divert an output (qtest's irq_intercept_out); returns the line it went to. */
Irq *device_intercept_line_out(Device *dev, const char *name, int n, Irq *irq);

#endif
