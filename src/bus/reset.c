#include "bus/reset.h"

#include <glib.h>

/* --- Phases over the tree --- */

typedef enum ResetPhase { PHASE_ENTER, PHASE_HOLD, PHASE_EXIT } ResetPhase;

static void reset_call(Object *obj, ResetPhase phase, ResetType type)
{
    ResettableClass *klass = resettable_class_of(obj);
    void (*fn)(Object *, ResetType) = phase == PHASE_ENTER  ? klass->enter
                                      : phase == PHASE_HOLD ? klass->hold
                                                            : klass->exit;
    if (fn) {
        fn(obj, type);
    }
}

static void reset_walk_bus(Bus *bus, ResetPhase phase, ResetType type);

static void reset_walk_device(Device *dev, ResetPhase phase, ResetType type)
{
    if (!dev->realized) {
        return;
    }
    dev->resetting = phase != PHASE_EXIT;
    dev->reset_count += phase == PHASE_ENTER;
    for (guint i = 0; i < dev->child_buses->len; i++) {
        reset_walk_bus(dev->child_buses->pdata[i], phase, type);
    }
    reset_call(&dev->parent, phase, type);
}

typedef struct ResetStep {
    ResetPhase phase;
    ResetType type;
} ResetStep;

static bool reset_visit_device(Device *dev, void *opaque)
{
    const ResetStep *step = opaque;
    reset_walk_device(dev, step->phase, step->type);
    return true;
}

static void reset_walk_bus(Bus *bus, ResetPhase phase, ResetType type)
{
    ResetStep step = { phase, type };
    bus->resetting = phase != PHASE_EXIT;
    bus->reset_count += phase == PHASE_ENTER;
    bus_foreach_device(bus, reset_visit_device, &step);
    reset_call(&bus->parent, phase, type);
}

void device_reset(Device *dev)
{
    for (ResetPhase phase = PHASE_ENTER; phase <= PHASE_EXIT; phase++) {
        reset_walk_device(dev, phase, RESET_COLD);
    }
}

void bus_reset(Bus *bus)
{
    for (ResetPhase phase = PHASE_ENTER; phase <= PHASE_EXIT; phase++) {
        reset_walk_bus(bus, phase, RESET_COLD);
    }
}

/* --- The machine's reset --- */

typedef struct ResetEntry {
    ResetFn *fn;
    void *opaque;
} ResetEntry;

/* Of this process's machine; entries go with what registered them. Machine lock. */
static GArray *reset_entries;

void reset_register(ResetFn *fn, void *opaque)
{
    ResetEntry entry = { fn, opaque };
    if (!reset_entries) {
        reset_entries = g_array_new(false, false, sizeof(ResetEntry));
    }
    g_array_append_val(reset_entries, entry);
}

void reset_unregister(ResetFn *fn, void *opaque)
{
    for (guint i = 0; reset_entries && i < reset_entries->len; i++) {
        const ResetEntry *e = &g_array_index(reset_entries, ResetEntry, i);
        if (e->fn == fn && e->opaque == opaque) {
            g_array_remove_index(reset_entries, i);
            break;
        }
    }
    if (reset_entries && !reset_entries->len) {
        g_clear_pointer(&reset_entries, g_array_unref);
    }
}

void machine_reset_all(ResetType type)
{
    for (ResetPhase phase = PHASE_ENTER; phase <= PHASE_EXIT; phase++) {
        reset_walk_bus(bus_system(), phase, type);
        if (phase != PHASE_HOLD || !reset_entries) {
            continue;
        }
        g_autoptr(GArray) copy = g_array_copy(reset_entries);
        for (guint i = 0; i < copy->len; i++) {
            const ResetEntry *e = &g_array_index(copy, ResetEntry, i);
            e->fn(e->opaque);
        }
    }
}

static const TypeInfo resettable_type = {
    .name = TYPE_RESETTABLE,
    .parent = TYPE_INTERFACE,
    .class_size = sizeof(ResettableClass),
    .abstract = true,
};
OBJECT_TYPE(resettable, resettable_type)
