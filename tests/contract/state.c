/*
 * What every state description promises: a device that is saved, driven on by a guest and restored
 * is what it was: saving it again gives the same bytes, and each of its registers reads as it did.
 * What is not a saved state is refused, and never more than that.
 *
 * Each machine is built with one of every device that users can add. A device that is neither saved
 * nor listed here as having nothing to save fails.
 */
#include <glib.h>
#include <string.h>

#include "accel/accel.h"
#include "block/block.h"
#include "bus/device.h"
#include "bus/pci/host.h"
#include "cpu/cpu.h"
#include "devices/timer/rtc-base.h"
#include "event/lock.h"
#include "event/loop.h"
#include "machine/machine.h"
#include "memory/memory.h"
#include "migration/state.h"
#include "object/property.h"
#include "object/runstate.h"

#define ROUNDS       6
#define POKES        40
#define WINDOW       0x800 /* bytes of a region that are driven and watched */
#define BAR_MEMORY   0xe0000000u
#define BAR_IO       0x5000u
#define MUTATIONS    400
#define MACHINE_POKE 8

/* --- The guest's view of a device: its regions, and PCI configuration --- */

typedef struct Window {
    MemoryRegion *mr;
    hwaddr offset, size;
    bool io;
} Window;

typedef struct View {
    Object *owner;
    PciDevice *pci;  /* NULL: none */
    GArray *windows; /* Window */
} View;

static bool add_window(const MemorySection *s, void *opaque)
{
    View *v = opaque;
    Window w = { s->mr, s->offset_in_region, MIN_OF(s->size, WINDOW), s->as == address_space_io() };

    /* The task file is the drives', which are saved by themselves. */
    if (memory_region_owner(s->mr) == v->owner && !memory_region_is_ram(s->mr) &&
        strcmp(memory_region_name(s->mr), "ide-command") &&
        strcmp(memory_region_name(s->mr), "ide-control")) {
        g_array_append_val(v->windows, w);
    }
    return true;
}

static View view_of(const VmStateEntry *entry)
{
    Object *obj = entry->opaque;
    View v = { .windows = g_array_new(false, false, sizeof(Window)) };

    v.owner = obj;
    v.pci = (PciDevice *)object_dynamic_cast(obj, TYPE_PCI_DEVICE);
    address_space_foreach_section(address_space_memory(), add_window, &v);
    address_space_foreach_section(address_space_io(), add_window, &v);
    return v;
}

static void poke_window(GRand *rand, const Window *w)
{
    unsigned size = 1u << g_rand_int_range(rand, 0, 3);
    hwaddr at = ALIGN_DOWN((hwaddr)g_rand_int_range(rand, 0, (int)w->size), size);
    uint64_t value;

    if (at + size > w->size) {
        return;
    }
    /* What ejects slots would take devices away from under the test. */
    bool ejects = !strcmp(memory_region_name(w->mr), "acpi-pci-hotplug");
    if (g_rand_boolean(rand) && !ejects) {
        memory_region_dispatch_write(w->mr, w->offset + at,
                                     g_rand_int(rand) >> g_rand_int(rand) % 32, size,
                                     MEMTXATTRS_UNSPECIFIED);
    } else {
        memory_region_dispatch_read(w->mr, w->offset + at, &value, size, MEMTXATTRS_UNSPECIFIED);
    }
}

static void poke_config(GRand *rand, PciDevice *dev)
{
    uint32_t at = g_rand_int_range(rand, 0, 64) * 4;
    PciDeviceClass *k = pci_device_class_of(dev);

    (k->config_write ?: pci_default_config_write)(dev, at, g_rand_int(rand), 4);
}

static void poke(GRand *rand, const View *v, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        if (v->pci && g_rand_int_range(rand, 0, 8) == 0) {
            poke_config(rand, v->pci);
        } else if (v->windows->len) {
            poke_window(rand, &g_array_index(v->windows, Window,
                                             g_rand_int_range(rand, 0, (int)v->windows->len)));
        }
    }
}

/* Every register that can be seen, in a fixed order. Reading may change the device. */
static GByteArray *observe(const View *v)
{
    GByteArray *seen = g_byte_array_new();

    for (uint32_t at = 0; v->pci && at < v->pci->config_size; at += 4) {
        PciDeviceClass *k = pci_device_class_of(v->pci);
        uint32_t word = (k->config_read ?: pci_default_config_read)(v->pci, at, 4);
        g_byte_array_append(seen, (uint8_t *)&word, 4);
    }
    for (guint i = 0; i < v->windows->len; i++) {
        Window *w = &g_array_index(v->windows, Window, i);
        unsigned step = w->io ? 1 : 4;
        for (hwaddr at = 0; at + step <= w->size; at += step) {
            uint64_t word = 0;
            memory_region_dispatch_read(w->mr, w->offset + at, &word, step, MEMTXATTRS_UNSPECIFIED);
            g_byte_array_append(seen, (uint8_t *)&word, 4);
        }
    }
    return seen;
}

static void assert_same_bytes(const GByteArray *a, const GByteArray *b, const char *what,
                              const char *name)
{
    for (guint i = 0; i < MIN_OF(a->len, b->len); i++) {
        if (a->data[i] != b->data[i]) {
            g_error("%s: %s: byte %u is %02x, was %02x", name, what, i, b->data[i], a->data[i]);
        }
    }
    if (a->len != b->len) {
        g_error("%s: %s: %u bytes, were %u", name, what, b->len, a->len);
    }
}

/* --- One device --- */

static GByteArray *save(const VmStateEntry *e)
{
    GByteArray *out = g_byte_array_new();
    bool ok = state_save(e->state, e->opaque, out, &error_abort);

    g_assert_true(ok);
    return out;
}

static void load(const VmStateEntry *e, const uint8_t *data, size_t len)
{
    Error *err = NULL;

    if (!state_load(e->state, e->opaque, e->state->version, data, len, &err)) {
        g_error("%s: its own state is refused: %s", e->name, error_message(err));
    }
}

/* What a guest sees of a virtio device is kept by two objects: the transport and what is on it. */
typedef struct Pair {
    const VmStateEntry *entry, *behind; /* behind: NULL for all but transports */
} Pair;

static bool find_behind(const VmStateEntry *e, void *opaque)
{
    Pair *pair = opaque;
    Device *dev = (Device *)object_dynamic_cast(e->opaque, "virtio-device");

    if (dev && &dev->parent_bus->owner->parent == pair->entry->opaque) {
        pair->behind = e;
    }
    return true;
}

static GByteArray *save_pair(const Pair *p, guint *split)
{
    GByteArray *out = save(p->entry);

    *split = out->len;
    if (p->behind) {
        g_autoptr(GByteArray) behind = save(p->behind);
        g_byte_array_append(out, behind->data, behind->len);
    }
    return out;
}

static void load_pair(const Pair *p, const GByteArray *bytes, guint split)
{
    load(p->entry, bytes->data, split);
    if (p->behind) {
        load(p->behind, bytes->data + split, bytes->len - split);
    }
}

typedef struct Saved {
    GByteArray *bytes, *seen;
    guint split;
} Saved;

static Saved saved_take(const Pair *p, const View *v)
{
    Saved s;

    s.bytes = save_pair(p, &s.split);
    s.seen = observe(v);
    return s;
}

static void saved_finish(Saved *s)
{
    g_byte_array_unref(s->bytes);
    g_byte_array_unref(s->seen);
}

static void check_comes_back(const Pair *p, const View *v, const Saved *s)
{
    g_autoptr(GByteArray) again = NULL, seen = NULL;
    guint split;

    load_pair(p, s->bytes, s->split);
    again = save_pair(p, &split);
    assert_same_bytes(s->bytes, again, "saved again", p->entry->name);
    seen = observe(v);
    assert_same_bytes(s->seen, seen, "registers", p->entry->name);
}

static void check_truncated(const VmStateEntry *e, const GByteArray *saved)
{
    for (guint len = 0; len < saved->len; len += 1 + len / 16) {
        Error *err = NULL;
        g_assert_false(state_load(e->state, e->opaque, e->state->version, saved->data, len, &err));
        g_assert_nonnull(err);
        error_free(err);
    }
    load(e, saved->data, saved->len);
}

static void check_versions(const VmStateEntry *e, const GByteArray *saved)
{
    const int wrong[] = { e->state->minimum_version - 1, e->state->version + 1 };

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        Error *err = NULL;
        g_assert_false(state_load(e->state, e->opaque, wrong[i], saved->data, saved->len, &err));
        g_assert_nonnull(strstr(error_message(err), "can be loaded"));
        error_free(err);
    }
}

/* Processors and local APICs have no region of their own: change what they are made of. */
static void scramble(const VmState *state, char *opaque, GRand *rand)
{
    for (const VmStateField *f = state->fields; f && f->name; f++) {
        char *slot = f->pointer ? *(char **)(opaque + f->offset) : opaque + f->offset;
        for (size_t i = 0; i < (f->count ?: 1) * f->size; i++) {
            if (f->kind == VMSTATE_KIND_UINT || f->kind == VMSTATE_KIND_INT ||
                f->kind == VMSTATE_KIND_BUFFER) {
                slot[i] ^= g_rand_int(rand);
            }
        }
    }
}

static bool is_processor(const VmStateEntry *e)
{
    return object_dynamic_cast(e->opaque, TYPE_CPU) || strstr(e->name, "apic");
}

static void test_device(gconstpointer data)
{
    const VmStateEntry *e = data;
    Pair pair = { .entry = e };
    View v = view_of(e);
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_str_hash(e->name));
    g_autoptr(GByteArray) first = save(e);
    bool changed = false;

    vmstate_foreach(find_behind, &pair);
    for (int round = 0; round < ROUNDS; round++) {
        poke(rand, &v, POKES);
        Saved a = saved_take(&pair, &v);
        poke(rand, &v, POKES);
        if (is_processor(e) && !v.windows->len) {
            scramble(e->state, e->opaque, rand);
            changed = true;
        } else {
            Saved b = saved_take(&pair, &v);
            changed |=
                b.bytes->len != a.bytes->len || memcmp(a.bytes->data, b.bytes->data, a.bytes->len);
            check_comes_back(&pair, &v, &a);
            check_comes_back(&pair, &v, &b);
            saved_finish(&b);
        }
        check_comes_back(&pair, &v, &a);
        saved_finish(&a);
    }
    /* A host bridge's register lies under the reset control register, which hands it on. */
    if (!changed && v.windows->len && !strstr(e->name, "pcihost")) {
        g_error("%s: nothing that a guest does to its registers changes what is saved", e->name);
    }
    check_truncated(e, first);
    check_versions(e, first);
    g_array_unref(v.windows);
}

/* --- All of them --- */

static bool poke_entry(const VmStateEntry *e, void *opaque)
{
    View v = view_of(e);

    poke(opaque, &v, MACHINE_POKE);
    g_array_unref(v.windows);
    return true;
}

static GByteArray *save_all(void)
{
    GByteArray *out = g_byte_array_new();
    bool ok = state_save_machine(out, &error_abort);

    g_assert_true(ok);
    return out;
}

static bool keep_entry(const VmStateEntry *e, void *opaque)
{
    g_ptr_array_add(opaque, save(e));
    return true;
}

typedef struct Compared {
    GPtrArray *saved; /* GByteArray, in the order of the entries */
    guint next;
} Compared;

static bool compare_entry(const VmStateEntry *e, void *opaque)
{
    Compared *c = opaque;
    g_autoptr(GByteArray) now = save(e);

    assert_same_bytes(c->saved->pdata[c->next++], now, "saved again with the machine", e->name);
    return true;
}

/* Devices that act on each other, all at once. */
static void test_machine(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autoptr(GPtrArray) entries =
        g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    g_autoptr(GByteArray) before = NULL;
    bool ok;

    vmstate_foreach(poke_entry, rand);
    vmstate_foreach(keep_entry, entries);
    before = save_all();
    vmstate_foreach(poke_entry, rand);
    ok = state_load_machine(before->data, before->len, &error_abort);
    g_assert_true(ok);
    vmstate_foreach(compare_entry, &(Compared){ .saved = entries });
}

static void test_bad_states(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(2);
    g_autoptr(GByteArray) good = save_all(), again = NULL;
    unsigned refused = 0;
    bool ok;

    for (int i = 0; i < MUTATIONS; i++) {
        g_autofree uint8_t *bad = g_memdup2(good->data, good->len);
        size_t len = i % 8 ? good->len : (size_t)g_rand_int_range(rand, 0, (int)good->len);
        Error *err = NULL;
        for (int n = g_rand_int_range(rand, 1, 4); n; n--) {
            bad[g_rand_int_range(rand, 0, (int)good->len)] = g_rand_int(rand);
        }
        if (!state_load_machine(bad, len, &err)) {
            g_assert_nonnull(err);
            error_free(err);
            refused++;
        }
        machine_reset(machine_current(), RESET_COLD);
    }
    g_assert_cmpuint(refused, >, MUTATIONS / 8);
    ok = state_load_machine(good->data, good->len, &error_abort);
    g_assert_true(ok);
    again = save_all();
    assert_same_bytes(good, again, "saved after bad ones", "machine");
}

/* --- The machine --- */

/* Types that have nothing that a guest could notice after a restore. */
static const char *const stateless[] = { "isa-debug-exit", "isa-debugcon", "pvpanic" };

/* What else a device needs to be made. */
static const char *const needs[][3] = {
    { "virtio-blk", "drive", "d%u" }, /* every transport */
    { "ide-hd", "drive", "d%u" },
};

typedef struct Making {
    const char *parent; /* only types below this; NULL: all but buses' owners */
    unsigned disks;
} Making;

static void give(Device *dev, Making *making)
{
    const char *type = object_type_name(&dev->parent);

    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        if (!strncmp(type, needs[i][0], strlen(needs[i][0]))) {
            g_autofree char *name = g_strdup_printf(needs[i][2], making->disks++);
            BlockdevOptions disk = { .driver = BLOCKDEV_DRIVER_NULL_CO, .node_name = name };
            disk.u.null_co.has_size = true;
            disk.u.null_co.size = MiB;
            g_assert_nonnull(block_node_add(&disk, &error_abort));
            bool ok = object_set_text(&dev->parent, needs[i][1], name, &error_abort);
            g_assert_true(ok);
        }
    }
}

static void make_type(ObjectClass *klass, void *opaque)
{
    Making *making = opaque;
    DeviceClass *dc = device_class_cast(klass);
    const char *type = class_name(klass);
    Error *err = NULL;
    Bus *bus;
    Device *dev;

    /* Processors and memory have sockets; devices of a virtio bus come with their transport. */
    if (!dc->user_creatable || !dc->bus_type || !strcmp(dc->bus_type, "virtio-bus") ||
        (bus = bus_find_for_type(dc->bus_type)) == NULL) {
        return;
    }
    /* A switch's ports stand in order below each other. */
    if (!strcmp(type, "xio3130-downstream")) {
        return;
    }
    dev = device_new(type);
    give(dev, making);
    if (!device_realize_and_unref(dev, bus, &err)) {
        /* A type for another machine's bus says so. */
        g_test_message("%s: %s", type, error_message(err));
        error_free(err);
    }
}

/* Every BAR gets a place and is shown. */
static bool map_bars(PciDevice *dev, void *opaque)
{
    uint32_t *next = opaque;
    PciDeviceClass *k = pci_device_class_of(dev);
    void (*out)(PciDevice *, uint32_t, uint32_t, unsigned) =
        k->config_write ?: pci_default_config_write;

    for (int n = 0; n < 6; n++) {
        PciBar *bar = &dev->bars[n];
        bool io = bar->type & PCI_BASE_ADDRESS_SPACE_IO;
        uint32_t *at = &next[io];
        if (!bar->region) {
            continue;
        }
        *at = (uint32_t)ALIGN_UP((uint64_t)*at, bar->size);
        out(dev, PCI_BASE_ADDRESS_0 + 4 * n, *at, 4);
        if (bar->type & PCI_BASE_ADDRESS_MEM_TYPE_64) {
            out(dev, PCI_BASE_ADDRESS_0 + 4 * n + 4, 0, 4);
        }
        *at += (uint32_t)bar->size;
    }
    out(dev, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    return true;
}

static bool map_bus(PciBus *bus, void *opaque)
{
    return pci_bus_foreach(bus, map_bars, opaque);
}

static Machine *build(const char *name)
{
    Machine *machine = machine_create(machine_class_find(name, &error_abort), &error_abort);
    Making making = { 0 };
    uint32_t next[2] = { BAR_MEMORY, BAR_IO };
    bool ok = machine_set_memory(machine, &(MachineMemoryConfig){ 0 }, &error_abort) &&
              machine_set_smp(machine, &(MachineSmpConfig){ .has_cpus = true, .cpus = 2 },
                              &error_abort) &&
              accel_start("qtest-accel", NULL, &machine->parent, &error_abort) &&
              machine_complete(machine, &error_abort) && machine_init_board(machine, &error_abort);

    g_assert_true(ok);
    class_foreach(TYPE_DEVICE, false, make_type, &making);
    class_foreach("virtio-serial-port", false, make_type, &making);
    ok = machine_ready(machine, &error_abort);
    g_assert_true(ok);
    pci_foreach_root_bus(map_bus, next);
    return machine;
}

static bool enrol(const VmStateEntry *e, void *opaque)
{
    g_autofree char *path =
        g_strdup_printf("/state/%s/%s/%d", (char *)opaque, e->name, e->instance);

    for (char *p = path + strlen("/state/") + strlen(opaque) + 1; *p; p++) {
        *p = *p == '/' ? '-' : *p;
    }
    g_test_add_data_func(path, e, test_device);
    return true;
}

static bool check_saved(Object *obj, void *opaque)
{
    Device *dev = (Device *)object_dynamic_cast(obj, TYPE_DEVICE);
    bool exempt = false;

    for (size_t i = 0; i < ARRAY_LEN(stateless); i++) {
        exempt |= !strcmp(object_type_name(obj), stateless[i]);
    }
    if (dev && !exempt && !device_class_of(dev)->vmstate) {
        g_error("%s: has no state description", object_type_name(obj));
    }
    return true;
}

static void test_all_have_one(void)
{
    object_foreach_descendant(object_root(), check_saved, NULL);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 && argv[1][0] != '-' ? argv[1] : "q35";
    int status;
    bool ok;

    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    module_call(MODULE_SUBSYSTEM);
    ok = event_loop_main_init(&error_abort) &&
         rtc_configure(&(RtcConfig){ .base = "2006-06-17", .clock = "vm" }, &error_abort);
    g_assert_true(ok);
    machine_lock();
    memory_init();
    Machine *machine = build(name);
    vmstate_foreach(enrol, (void *)name);
    g_test_add_func("/state/all-have-one", test_all_have_one);
    g_test_add_func("/state-of-all/machine", test_machine);
    g_test_add_func("/state-of-all/bad", test_bad_states);
    status = g_test_run();
    machine_destroy(machine);
    object_root_reset();
    block_finish_all();
    memory_finish();
    machine_unlock();
    event_loop_main_finish();
    return status;
}
