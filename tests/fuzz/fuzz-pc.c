/*
 * A whole PC, a fresh one for each input, and a guest that does what the bytes say with the devices
 * of its board: PIC, I/O APIC, timers, RTC, keyboard controller, serial port, ACPI, fw_cfg, SMBus,
 * IDE or AHCI, VGA, PCI configuration, hot plug. The first byte chooses the board.
 */
#include <string.h>

#include "accel/accel.h"
#include "block/block.h"
#include "bus/device.h"
#include "bus/pci/host.h"
#include "event/clock.h"
#include "event/lock.h"
#include "event/loop.h"
#include "fuzz.h"
#include "machine/machine.h"
#include "memory/memory.h"
#include "migration/state.h"
#include "object/property.h"
#include "object/runstate.h"

#define STEPS_MAX  1500
#define RAM_BASE   0x10000u /* where descriptors, rings and FISes lie */
#define RAM_SIZE   0x2000u
#define ABAR       0xe0000000u
#define VGA_MMIO   0xe1000000u
#define BM_PORT    0xc000u
#define SMBUS_PORT 0xc100u
#define PM_PORT    0x600u

typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

static uint64_t take(Input *in, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n && in->left; i++, in->left--) {
        v |= (uint64_t)*in->data++ << (8 * i);
    }
    return v;
}

/* Blocks of registers, each driven with all widths. */
static const struct {
    uint64_t base;
    uint16_t size;
    bool io;
} blocks[] = {
    { 0x20, 2, true },
    { 0xa0, 2, true },
    { 0x4d0, 2, true },
    { 0x40, 4, true },
    { 0x61, 1, true },
    { 0x60, 1, true },
    { 0x64, 1, true },
    { 0x70, 2, true },
    { 0x92, 1, true },
    { 0xb2, 2, true },
    { 0x3f8, 8, true },
    { 0x510, 12, true },
    { 0x1f0, 8, true },
    { 0x3f6, 1, true },
    { 0x170, 8, true },
    { 0x1ce, 4, true },
    { 0x3b0, 0x30, true },
    { 0xcf8, 8, true },
    { 0xae00, 0x18, true },
    { 0xafe0, 4, true },
    { BM_PORT, 32, true },
    { SMBUS_PORT, 32, true },
    { PM_PORT, 0x80, true },
    { 0xfec00000, 0x40, false },
    { 0xfed00000, 0x400, false },
    { 0xfee00000, 0x400, false },
    { 0xa0000, 0x2000, false },
    { 0xb8000, 0x1000, false },
    { ABAR, 0x400, false },
    { VGA_MMIO, 0x700, false },
    { 0xb0000000, 0x8000, false },
};

static void touch(Input *in)
{
    unsigned n = take(in, 1) % ARRAY_LEN(blocks), size = 1u << take(in, 1) % 3;
    uint64_t at = blocks[n].base + take(in, 2) % blocks[n].size, value;
    AddressSpace *as = blocks[n].io ? address_space_io() : address_space_memory();

    if (take(in, 1) & 1) {
        address_space_load(as, at, size, MEMTXATTRS_UNSPECIFIED, &value);
    } else {
        address_space_store(as, at, size, MEMTXATTRS_UNSPECIFIED, take(in, size));
    }
}

static void config(Input *in)
{
    uint32_t devfn = take(in, 1), reg = take(in, 1) & 0xfc;

    address_space_store(address_space_io(), 0xcf8, 4, MEMTXATTRS_UNSPECIFIED,
                        0x80000000u | devfn << 8 | reg);
    address_space_store(address_space_io(), 0xcfc, 4, MEMTXATTRS_UNSPECIFIED, take(in, 4));
}

static void set_config(uint32_t devfn, uint32_t reg, uint32_t value)
{
    address_space_store(address_space_io(), 0xcf8, 4, MEMTXATTRS_UNSPECIFIED,
                        0x80000000u | devfn << 8 | reg);
    address_space_store(address_space_io(), 0xcfc, 4, MEMTXATTRS_UNSPECIFIED, value);
}

/* As firmware would: BARs in their places, decoding on. */
static void set_up(bool q35)
{
    unsigned ide = q35 ? 0xfa : 0x09;
    if (q35) {
        set_config(0, 0x60, 0xb0000001);
        set_config(0xf8, 0x40, PM_PORT | 1);
        set_config(0xf8, 0x44, 0x80);
        set_config(0xfb, 0x20, SMBUS_PORT);
        set_config(0xfb, 0x40, 1);
        set_config(0xfb, 0x04, 7);
        set_config(ide, 0x24, ABAR);
    } else {
        set_config(0x0b, 0x40, PM_PORT | 1);
        set_config(0x0b, 0x80, 1);
        set_config(0x0b, 0x90, SMBUS_PORT | 1);
        set_config(0x0b, 0xd0, 1 << 16);
        set_config(ide, 0x40, 0x80008000);
    }
    set_config(ide, 0x20, BM_PORT);
    set_config(ide, 0x04, 7);
    for (uint32_t devfn = 0x10; devfn <= 0x18; devfn += 8) { /* the VGA's slot differs */
        set_config(devfn, 0x18, VGA_MMIO);
        set_config(devfn, 0x04, 7);
    }
    set_config(0x08, q35 ? 0x18 : 0x40, q35 ? VGA_MMIO : 0);
    set_config(0x08, 0x04, 7);
}

static void hot_plug(Input *in)
{
    Error *err = NULL;

    if (take(in, 1) & 1) {
        json_t *p = json_pack("{s:s, s:s}", "driver", "edu", "id", "hot");
        if (!device_add_from_user(p, VALUE_MODE_TEXT, &err)) {
            error_free(err);
        }
        json_decref(p);
    } else if (!device_del_by_user("hot", &err)) {
        error_free(err);
    }
}

/* What was saved comes back; what was saved and then changed is taken or refused. */
static void save_and_load(Input *in)
{
    g_autoptr(GByteArray) state = g_byte_array_new();
    Error *err = NULL;

    g_assert_true(state_save_machine(state, &error_abort));
    if (take(in, 1) & 1) {
        for (unsigned n = take(in, 1) % 8; n; n--) {
            state->data[take(in, 3) % state->len] = take(in, 1);
        }
        if (!state_load_machine(state->data, state->len, &err)) {
            error_free(err);
            machine_reset(machine_current(), RESET_COLD);
        }
    } else {
        g_assert_true(state_load_machine(state->data, state->len, &error_abort));
    }
}

static void step(Input *in)
{
    uint8_t bytes[64];

    switch (take(in, 1) % 8) {
    case 0:
        config(in);
        break;
    case 1: {
        unsigned n = take(in, 1) % sizeof(bytes);
        uint64_t at = RAM_BASE + take(in, 2) % RAM_SIZE;
        for (unsigned i = 0; i < n; i++) {
            bytes[i] = take(in, 1);
        }
        address_space_write(address_space_memory(), at, MEMTXATTRS_UNSPECIFIED, bytes, n);
        break;
    }
    case 2:
        switch (take(in, 1) % 16) {
        case 0:
            hot_plug(in);
            break;
        case 1:
            save_and_load(in);
            break;
        case 2:
            machine_reset(machine_current(), RESET_COLD);
            break;
        default:
            event_loop_iterate(event_loop_main(), false);
        }
        break;
    default:
        touch(in);
    }
}

static Machine *build(const char *name)
{
    Machine *m = machine_create(machine_class_find(name, &error_abort), &error_abort);
    json_t *disk = json_pack("{s:s, s:s, s:s}", "driver", "ide-hd", "drive", "d", "bus", "ide.0");
    BlockdevOptions node = { .driver = BLOCKDEV_DRIVER_NULL_CO, .node_name = (char *)"d" };

    node.u.null_co.has_size = true;
    node.u.null_co.size = MiB;
    g_assert_nonnull(block_node_add(&node, &error_abort));
    m->defaults.vga = m->defaults.cdrom = true;
    g_assert_true(machine_set_memory(m, &(MachineMemoryConfig){ 0 }, &error_abort) &&
                  machine_set_smp(m, &(MachineSmpConfig){ 0 }, &error_abort) &&
                  accel_start("qtest-accel", NULL, &m->parent, &error_abort) &&
                  machine_complete(m, &error_abort) && machine_init_board(m, &error_abort) &&
                  device_add_from_user(disk, VALUE_MODE_TEXT, &error_abort) &&
                  machine_ready(m, &error_abort));
    json_decref(disk);
    return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started; /* types and the loop live as long as the process */
    Input in = { data + 1, size - 1 };
    bool q35;

    if (!started) {
        started = true;
        module_call(MODULE_TYPES);
        module_call(MODULE_SUBSYSTEM);
        g_assert_true(event_loop_main_init(&error_abort));
    }
    if (size < 2) {
        return 0;
    }
    q35 = data[0] & 1;
    machine_lock();
    memory_init();
    Machine *m = build(q35 ? "q35" : "pc");
    set_up(q35);
    for (unsigned steps = 0; in.left && steps < STEPS_MAX; steps++) {
        step(&in);
    }
    machine_destroy(m);
    object_root_reset();
    block_finish_all();
    run_state_reset();
    memory_finish();
    machine_unlock();
    rcu_drain(); /* the memory's name is free again */
    return 0;
}
