/*
 * The least board that the test kernels need: RAM, CPUs, port 0xe9 to write to, port 0xf4 to end.
 *
 *     board IMAGE [CPUS [MODEL]]
 *
 * BOARD_ACCEL names the accelerator ("jit"), BOARD_IRQCHIP its kernel-irqchip. With BOARD_TRACE
 * there are ports and memory that log every access (devices.S): a read gives what the address says.
 *
 * Loads a multiboot image with its addresses in the header (start.S) and starts it as the multiboot
 * specification says. The exit status is what the kernel writes to port 0xf4.
 */
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accel/accel.h"
#include "base/bits.h"
#include "base/module.h"
#include "base/log.h"
#include "bus/device.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpu.h"
#include "event/clock.h"
#include "event/lock.h"
#include "event/loop.h"
#include "memory/memory.h"
#include "object/lifecycle.h"
#include "object/runstate.h"

#define RAM_BYTES       (32 * MiB)
#define LOAD_ADDRESS    0x100000u
#define MULTIBOOT_MAGIC 0x1badb002u
#define LIMIT_SECONDS   60

static int exit_status = 99; /* until the guest says */
static MemoryRegion ram, console, end;

static uint64_t read_nothing(void *opaque, hwaddr addr, unsigned size)
{
    return 0xe9;
}

static void console_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    putchar((int)value);
    if (value == '\n') {
        fflush(stdout);
    }
}

static void end_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    exit_status = (int)value;
    event_loop_quit(event_loop_main());
}

/* --- Devices that log --- */

#define TRACE_PORT   0x500
#define TRACE_PORTS  0x40
#define TRACE_MEMORY 0xd0000000u

static MemoryRegion trace_io, trace_memory;
static const char trace_names[2][8] = { "port", "memory" };

static uint64_t trace_read(void *opaque, hwaddr addr, unsigned size)
{
    uint64_t value = (addr + 1) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - 8 * size);
    printf("# %s read %u at 0x%x: 0x%" PRIx64 "\n", (char *)opaque, size, (unsigned)addr, value);
    return value;
}

static void trace_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    printf("# %s write %u at 0x%x: 0x%" PRIx64 "\n", (char *)opaque, size, (unsigned)addr, value);
}

static const MemoryRegionOps trace_ops = {
    .read = trace_read,
    .write = trace_write,
    .valid = { .min = 1, .max = 8 },
    .impl = { .min = 1, .max = 8 },
};

static void add_trace_devices(void)
{
    memory_region_init_io(&trace_io, NULL, &trace_ops, (void *)(uintptr_t)trace_names[0], "trace",
                          TRACE_PORTS);
    memory_region_add(io_root(), TRACE_PORT, &trace_io);
    memory_region_init_io(&trace_memory, NULL, &trace_ops, (void *)(uintptr_t)trace_names[1],
                          "trace", 4096);
    memory_region_add(memory_root(), TRACE_MEMORY, &trace_memory);
}

static const MemoryRegionOps console_ops = { .read = read_nothing, .write = console_write };
static const MemoryRegionOps end_ops = { .read = read_nothing, .write = end_write };

static void reset_requested(ShutdownCause cause)
{
    printf("# the guest asked for a reset (triple fault?)\n");
    exit_status = 98;
    event_loop_quit(event_loop_main());
}

static void on_alarm(int sig)
{
    event_loop_quit(event_loop_main());
}

/* Where the image wants to begin; exits on what isn't one. */
static uint32_t load(const char *path)
{
    g_autofree char *image = NULL;
    gsize size = 0;
    if (!g_file_get_contents(path, &image, &size, NULL) || size < 32 || size > RAM_BYTES / 2 ||
        ld32_le(image) != MULTIBOOT_MAGIC) {
        fprintf(stderr, "board: '%s' is no test kernel\n", path);
        exit(2);
    }
    memcpy(memory_region_ram_ptr(&ram) + LOAD_ADDRESS, image, size);
    return ld32_le(image + 28);
}

static void start_at(X86Cpu *cpu, uint32_t entry)
{
    X86State *s = &cpu->state;
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        s->seg[i] = (X86Segment){ .limit = 0xffffffffu, .access = 0xc093, .selector = 0x10 };
    }
    s->seg[X86_CS].access = 0xc09b;
    s->seg[X86_CS].selector = 0x08;
    s->cr0 = X86_CR0_PE | X86_CR0_ET;
    s->gpr[X86_RAX] = 0x2badb002;
    s->rip = entry;
    x86_update_mode(cpu);
}

static X86Cpu *make_cpu(const char *model, unsigned count)
{
    g_autofree char *type = NULL;
    json_t *properties = NULL;
    if (!x86_cpu_parse_option(model, &type, &properties, &error_abort)) {
        exit(2);
    }
    Device *dev = device_new(type);
    X86Cpu *cpu = x86_cpu_cast(dev);
    cpu->topology = (X86Topology){ 1, 1, count, 1 };
    if (!object_set_all(&dev->parent, properties, VALUE_MODE_TEXT, &error_abort) ||
        !device_realize(dev, NULL, &error_abort)) {
        exit(2);
    }
    json_decref(properties);
    cpu_class_of(cpu)->reset(&cpu->parent);
    return cpu;
}

int main(int argc, char **argv)
{
    static const LifecycleHooks hooks = { .reset = reset_requested };
    unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    const char *model = argc > 3 ? argv[3] : "max";

    if (argc < 2 || !event_loop_main_init(&error_abort)) {
        return 2;
    }
    module_call(MODULE_TYPES);
    lifecycle_set_hooks(&hooks);
    signal(SIGALRM, on_alarm);
    alarm(LIMIT_SECONDS);
    machine_lock();
    memory_init();
    if (getenv("BOARD_LOG")) {
        unsigned mask = 0;
        if (!log_parse_items(getenv("BOARD_LOG"), &mask, &error_abort)) {
            return 2;
        }
        log_set_mask(mask);
    }
    json_t *properties = json_object();
    if (getenv("BOARD_IRQCHIP")) {
        json_object_set_new(properties, "kernel-irqchip", json_string(getenv("BOARD_IRQCHIP")));
    }
    const char *accel = accel_type_for_name(getenv("BOARD_ACCEL") ?: "jit");
    Error *err = NULL;
    if (!accel || !accel_start(accel, properties, object_container("/machine"), &err)) {
        printf("1..0 # SKIP %s\n", err ? error_message(err) : "no such accelerator");
        return 77;
    }
    if (!memory_region_init_ram(&ram, NULL, "ram", RAM_BYTES, &error_abort)) {
        return 2;
    }
    json_decref(properties);
    memory_region_add(memory_root(), 0, &ram);
    memory_region_init_io(&console, NULL, &console_ops, NULL, "console", 1);
    memory_region_add(io_root(), 0xe9, &console);
    memory_region_init_io(&end, NULL, &end_ops, NULL, "end", 4);
    memory_region_add(io_root(), 0xf4, &end);
    if (getenv("BOARD_TRACE")) {
        add_trace_devices();
    }

    uint32_t entry = load(argv[1]);
    X86Cpu **cpus = g_new(X86Cpu *, count);
    for (unsigned i = 0; i < count; i++) {
        cpus[i] = make_cpu(model, count);
    }
    start_at(cpus[0], entry);
    vm_start();
    event_loop_run(event_loop_main());
    fflush(stdout);

    if (exit_status == 99 || exit_status == 98) {
        vm_stop(RUN_STATE_PAUSED);
        for (unsigned i = 0; i < count; i++) {
            GString *text = g_string_new(NULL);
            cpu_class_of(cpus[i])->dump(&cpus[i]->parent, CPU_DUMP_REGISTERS, text);
            fprintf(stderr, "CPU %u\n%s", i, text->str);
            g_string_free(text, TRUE);
        }
        printf("Bail out! the test kernel did not end by itself\n");
    }
    fflush(stdout);
    _exit(exit_status);
}
