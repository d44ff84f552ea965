/*
 * The accelerator kvm from its interface: registers, memory slots, dirty logs, doorbells,
 * interrupts from notifiers, two CPUs, errors; the same programs run under the JIT where it offers
 * the same.
 *
 * Each case runs in a process of its own with a board that has RAM, CPUs and a few logging ports.
 * Where /dev/kvm can't be had, or lacks what a case is about, it is skipped with the reason.
 */
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accel/accel.h"
#include "base/bits.h"
#include "base/fault.h"
#include "base/module.h"
#include "bus/device.h"
#include "bus/reset.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpu.h"
#include "cpu/x86/system.h"
#include "devices/intc/ioapic.h"
#include "event/clock.h"
#include "event/lock.h"
#include "event/loop.h"
#include "memory/memory.h"
#include "migration/state.h"
#include "object/lifecycle.h"
#include "object/runstate.h"

#define RAM_BYTES     (16 * MiB)
#define LOAD_ADDRESS  0x1000
#define COUNTER       0x3000
#define LIMIT_SECONDS 40
#define SKIPPED       77

#define PAYLOAD(name) extern const uint8_t payload_##name[], payload_##name##_end[]
PAYLOAD(loop);
PAYLOAD(count);
PAYLOAD(watch);
PAYLOAD(dirty);
PAYLOAD(doorbell);
PAYLOAD(coalesced);
PAYLOAD(interrupts);
PAYLOAD(smp);
PAYLOAD(smp_other);
PAYLOAD(triple);
PAYLOAD(nowhere);
extern const uint8_t payload_interrupts_idt[];

/* --- The board --- */

typedef struct Case {
    const char *accel, *irqchip;
    unsigned ring;
    unsigned cpus;
} Case;

static MemoryRegion ram, report_io, doorbell_io, doorbell_memory, queue_memory;
static X86Cpu *cpus[2];
static GArray *reports;   /* uint32_t: what came to port 0x601 */
static GString *accesses; /* what devices saw, in order */
static unsigned wanted_reports, ready, resets;

static void skip(const char *why)
{
    printf("# SKIP %s\n", why);
    fflush(stdout);
    _exit(SKIPPED);
}

static void report_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    if (addr == 1) {
        ready++;
        event_loop_quit(event_loop_main());
        return;
    }
    uint32_t v = (uint32_t)value;
    g_array_append_val(reports, v);
    g_string_append_printf(accesses, "r%u ", v);
    if (reports->len >= wanted_reports) {
        event_loop_quit(event_loop_main());
    }
}

static uint64_t report_read(void *opaque, hwaddr addr, unsigned size)
{
    g_string_append(accesses, "in ");
    return 1;
}

static void log_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    g_string_append_printf(accesses, "%s%" PRIu64 " ", (const char *)opaque, value);
}

static uint64_t read_zero(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static const MemoryRegionOps report_ops = { .read = report_read,
                                            .write = report_write,
                                            .valid = { .min = 1, .max = 4, .unaligned = true },
                                            .impl = { .min = 1, .max = 4, .unaligned = true } };
static const MemoryRegionOps log_ops = { .read = read_zero, .write = log_write };

static void on_reset(ShutdownCause cause)
{
    resets++;
    event_loop_quit(event_loop_main());
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
    s->rip = entry;
    x86_update_mode(cpu);
}

static X86Cpu *make_cpu(unsigned count)
{
    g_autofree char *type = NULL;
    json_t *properties = NULL;
    g_assert_true(x86_cpu_parse_option("qemu64,check=off", &type, &properties, &error_abort));
    Device *dev = device_new(type);
    X86Cpu *cpu = x86_cpu_cast(dev);
    cpu->topology = (X86Topology){ 1, 1, count, 1 };
    g_assert_true(object_set_all(&dev->parent, properties, VALUE_MODE_TEXT, &error_abort));
    g_assert_true(device_realize(dev, NULL, &error_abort));
    json_decref(properties);
    cpu_class_of(cpu)->reset(&cpu->parent);
    return cpu;
}

static bool try_accel(const Case *c, Error **errp)
{
    json_t *properties = json_object();
    if (c->irqchip) {
        json_object_set_new(properties, "kernel-irqchip", json_string(c->irqchip));
    }
    if (c->ring) {
        json_object_set_new(properties, "dirty-ring-size", json_sprintf("%u", c->ring));
    }
    bool ok =
        accel_start(accel_type_for_name(c->accel), properties, object_container("/machine"), errp);
    json_decref(properties);
    return ok;
}

static void make_board(const Case *c)
{
    static const LifecycleHooks hooks = { .reset = on_reset };
    Error *err = NULL;

    lifecycle_set_hooks(&hooks);
    memory_init();
    reports = g_array_new(false, false, sizeof(uint32_t));
    accesses = g_string_new(NULL);
    if (!try_accel(c, &err)) {
        skip(error_message(err));
    }
    g_assert_true(memory_region_init_ram(&ram, NULL, "ram", RAM_BYTES, &error_abort));
    memory_region_add(memory_root(), 0, &ram);
    memory_region_init_io(&report_io, NULL, &report_ops, NULL, "report", 2);
    memory_region_add(io_root(), 0x601, &report_io);
    memory_region_init_io(&doorbell_io, NULL, &log_ops, (void *)(uintptr_t) "p", "doorbell", 1);
    memory_region_add(io_root(), 0x610, &doorbell_io);
    memory_region_init_io(&doorbell_memory, NULL, &log_ops, (void *)(uintptr_t) "m", "doorbell",
                          4096);
    memory_region_add(memory_root(), 0xd0000000u, &doorbell_memory);
    memory_region_init_io(&queue_memory, NULL, &log_ops, (void *)(uintptr_t) "q", "queue", 4096);
    memory_region_add(memory_root(), 0xd0001000u, &queue_memory);
    for (unsigned i = 0; i < MAX_OF(c->cpus, 1u); i++) {
        cpus[i] = make_cpu(MAX_OF(c->cpus, 1u));
    }
    start_at(cpus[0], LOAD_ADDRESS);
}

static uint8_t *host_at(hwaddr addr)
{
    return memory_region_ram_ptr(&ram) + addr;
}

/* As a loader does it: a translator hears of it. */
static void load(hwaddr addr, const uint8_t *start, const uint8_t *end)
{
    g_assert_cmpint(
        address_space_write_rom(address_space_memory(), addr, start, (uint64_t)(end - start)), ==,
        MEMTX_OK);
}
#define LOAD(name) load(LOAD_ADDRESS, payload_##name, payload_##name##_end)

/* The loop until so many reports have come. */
static void run_until(unsigned count)
{
    wanted_reports = count;
    while (reports->len < count) {
        event_loop_run(event_loop_main());
    }
}

static uint32_t report_at(unsigned i)
{
    return g_array_index(reports, uint32_t, i);
}

static void quit_loop(void *opaque)
{
    event_loop_quit(event_loop_main());
}

static void run_for_ms(int64_t ms)
{
    Timer *t = timer_new(event_loop_main(), CLK_REALTIME, quit_loop, NULL);
    timer_set(t, clock_now(CLK_REALTIME) + ms * NS_PER_MS);
    event_loop_run(event_loop_main());
    timer_free(t);
}

/* --- Each case in a process --- */

typedef void CaseFn(const Case *c);

typedef struct Test {
    CaseFn *fn;
    Case c;
} Test;

static void run_case(gconstpointer data)
{
    const Test *t = data;
    int fds[2], status;
    char text[1024] = "";

    g_assert_cmpint(pipe(fds), ==, 0);
    pid_t child = fork();
    if (!child) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        alarm(LIMIT_SECONDS);
        g_assert_true(event_loop_main_init(&error_abort));
        machine_lock();
        t->fn(&t->c);
        fflush(stdout);
        _exit(0);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    text[MAX_OF(n, 0)] = 0;
    close(fds[0]);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
        g_autofree char *why = g_strstrip(g_strdup(text + MIN_OF(strlen(text), strlen("# SKIP "))));
        g_test_skip(why);
        return;
    }
    if (WIFSIGNALED(status)) {
        g_test_message("ended by signal %d", WTERMSIG(status));
    }
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

/* --- Registers: what is put is what comes back, after the CPU has run --- */

static const uint32_t msrs[] = {
    0x174, 0x175, 0x176, 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102,
};

static void test_registers(const Case *c)
{
    make_board(c);
    LOAD(loop);
    X86Cpu *cpu = cpus[0];
    X86State *s = &cpu->state;

    for (unsigned i = 0; i < 8; i++) {
        s->gpr[i] = 0x11111111u * (i + 1);
    }
    s->rflags = 2 | X86_CF | X86_OF | X86_DFL | X86_AC;
    s->seg[X86_FS] =
        (X86Segment){ .base = 0x12340, .limit = 0x4321, .access = 0x93, .selector = 0x18 };
    s->gdtr = (X86TableRegister){ 0x5000, 0x7f };
    s->idtr = (X86TableRegister){ 0x6000, 0x7ff };
    s->cr2 = 0xabcd0123;
    s->cr4 = X86_CR4_OSFXSR | X86_CR4_DE;
    s->dr[0] = 0x7777000;
    s->dr[3] = 0x8888000;
    s->pat = 0x0007010600070106;
    for (unsigned i = 0; i < ARRAY_LEN(msrs); i++) {
        x86_msr_load(cpu, msrs[i], 0x4000 + i);
    }
    s->mtrr_fixed[0] = 0x0606060606060606;
    s->mtrr_var[1] = (X86Mtrr){ 0x80000006, 0xff00000800 };
    memset(s->xsave + 160, 0x5a, 16 * 8); /* XMM 0-7: SDM volume 1 table 10-2 */
    s->xsave[512] |= 3;
    cpu->tsc_at_stop = UINT64_C(1) << 40; /* where it goes on */
    x86_update_mode(cpu);
    X86State *before = g_memdup2(s, sizeof(*s));

    vm_start();
    run_for_ms(30);
    vm_stop(RUN_STATE_PAUSED);
    cpu_synchronize_state(&cpu->parent);

    g_assert_cmpmem(s->gpr, sizeof(s->gpr), before->gpr, sizeof(s->gpr));
    g_assert_cmphex(s->rip, ==, LOAD_ADDRESS);
    g_assert_cmphex(s->rflags & ~(uint64_t)X86_RF, ==, before->rflags);
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        g_assert_cmphex(s->seg[i].base, ==, before->seg[i].base);
        g_assert_cmphex(s->seg[i].limit, ==, before->seg[i].limit);
        g_assert_cmphex(s->seg[i].selector, ==, before->seg[i].selector);
        g_assert_cmphex(s->seg[i].access | 1, ==, before->seg[i].access | 1);
    }
    g_assert_cmphex(s->gdtr.base, ==, before->gdtr.base);
    g_assert_cmphex(s->idtr.limit, ==, before->idtr.limit);
    g_assert_cmphex(s->cr0, ==, before->cr0);
    g_assert_cmphex(s->cr2, ==, before->cr2);
    g_assert_cmphex(s->cr4, ==, before->cr4);
    g_assert_cmpmem(s->dr, sizeof(s->dr[0]) * 4, before->dr, sizeof(s->dr[0]) * 4);
    g_assert_cmphex(s->pat, ==, before->pat);
    for (unsigned i = 0; i < ARRAY_LEN(msrs); i++) {
        uint64_t value = 0;
        if (x86_msr_get(cpu, msrs[i], &value)) {
            g_assert_cmphex(value, ==, 0x4000 + i);
        }
    }
    g_assert_cmphex(s->mtrr_fixed[0], ==, before->mtrr_fixed[0]);
    g_assert_cmphex(s->mtrr_var[1].base, ==, before->mtrr_var[1].base);
    g_assert_cmpmem(s->xsave + 160, 16 * 8, before->xsave + 160, 16 * 8);
    /* It went on from there; or the host can't, and it is the host's. */
    uint64_t tsc = cpu->tsc_at_stop, slack = cpu->tsc_hz * LIMIT_SECONDS;
    bool went_on = tsc - (UINT64_C(1) << 40) < slack;
    g_assert_true(went_on || __builtin_ia32_rdtsc() - tsc < slack);

    /* And a reset is one, whatever the kernel had. */
    cpu_class_of(cpu)->reset(&cpu->parent);
    g_assert_cmphex(cpu_class_of(cpu)->get_pc(&cpu->parent), ==, 0xfffffff0);
    g_assert_cmphex(s->cr2, ==, 0);
}

/* --- Pausing --- */

static void test_pause(const Case *c)
{
    make_board(c);
    LOAD(count);
    const volatile uint32_t *counter = (const void *)host_at(COUNTER);

    for (unsigned i = 0; i < 5; i++) {
        uint32_t before = *counter;
        vm_start();
        while (*counter == before) {
            run_for_ms(5);
        }
        vm_stop(RUN_STATE_PAUSED);
        before = *counter;
        run_for_ms(20);
        g_assert_cmpuint(*counter, ==, before);
        g_assert_cmphex(cpu_class_of(cpus[0])->get_pc(&cpus[0]->parent) & ~UINT64_C(15), ==,
                        LOAD_ADDRESS);
    }
}

/* --- State: what is saved is the kernel's, and what is loaded gets there --- */

static void test_save_and_load(const Case *c)
{
    make_board(c);
    LOAD(count);
    volatile uint32_t *counter = (void *)host_at(COUNTER);
    X86Cpu *cpu = cpus[0];
    g_autoptr(GByteArray) saved = g_byte_array_new();

    cpu->state.gpr[X86_RSI] = 0x600d;
    vm_start();
    while (!*counter) {
        run_for_ms(5);
    }
    vm_stop(RUN_STATE_PAUSED);
    g_assert_true(state_save_machine(saved, &error_abort));
    uint64_t pc = cpu_class_of(cpu)->get_pc(&cpu->parent);

    /* Somebody else's run, and the kernel's registers with it. */
    cpu->state.gpr[X86_RSI] = 0xbad;
    vm_start();
    run_for_ms(20);
    vm_stop(RUN_STATE_PAUSED);
    cpu_class_of(cpu)->reset(&cpu->parent);
    g_assert_cmphex(cpu->state.gpr[X86_RSI], ==, 0);

    g_assert_true(state_load_machine(saved->data, saved->len, &error_abort));
    g_assert_cmphex(cpu->state.gpr[X86_RSI], ==, 0x600d);
    g_assert_cmphex(cpu_class_of(cpu)->get_pc(&cpu->parent), ==, pc);
    uint32_t before = *counter;
    vm_start();
    while (*counter == before) {
        run_for_ms(5);
    }
    vm_stop(RUN_STATE_PAUSED);
    cpu_synchronize_state(&cpu->parent);
    g_assert_cmphex(cpu->state.gpr[X86_RSI], ==, 0x600d);
}

/* --- Memory slots change while the CPU runs --- */

#define TOGGLES 40

static void test_slots(const Case *c)
{
    static MemoryRegion pages[2];
    make_board(c);
    LOAD(watch);
    for (unsigned i = 0; i < 2; i++) {
        g_assert_true(memory_region_init_ram(&pages[i], NULL, i ? "b" : "a", 4096, &error_abort));
        st32_le(memory_region_ram_ptr(&pages[i]), 100 + i);
    }
    memory_region_add_overlap(memory_root(), 0x800000, &pages[0], 1);
    vm_start();
    run_until(1);
    for (unsigned i = 1; i < TOGGLES; i++) {
        memory_begin();
        memory_region_del(memory_root(), &pages[(i + 1) % 2]);
        memory_region_add_overlap(memory_root(), 0x800000, &pages[i % 2], 1);
        memory_commit();
        run_until(i + 1);
    }
    for (unsigned i = 0; i < TOGGLES; i++) {
        g_assert_cmpuint(report_at(i), ==, 100 + i % 2);
    }
}

/* --- Dirty logs against a known pattern --- */

#define DIRTY_START UINT64_C(0x400000)
#define DIRTY_PAGES 192

static void check_pages(unsigned step)
{
    memory_global_log_sync();
    for (unsigned page = 0; page < DIRTY_PAGES; page++) {
        bool dirty =
            memory_region_get_dirty(&ram, DIRTY_START + page * 4096, 4096, DIRTY_MIGRATION);
        if (dirty != (page % step == 0)) {
            fprintf(stderr, "page %u: %s\n", page, dirty ? "dirty" : "clean");
        }
        g_assert_cmpint(dirty, ==, page % step == 0);
    }
}

static void test_dirty(const Case *c)
{
    make_board(c);
    LOAD(dirty);
    g_assert_true(memory_global_log_start(&error_abort));
    memory_global_log_sync();
    (void)memory_region_test_and_clear_dirty(&ram, 0, RAM_BYTES, DIRTY_MIGRATION);
    vm_start();
    run_until(1);
    check_pages(3);
    g_assert_true(memory_region_test_and_clear_dirty(&ram, 0, RAM_BYTES, DIRTY_MIGRATION));
    memory_global_log_sync();
    g_assert_false(memory_region_get_dirty(&ram, DIRTY_START, DIRTY_PAGES * 4096, DIRTY_MIGRATION));
    st32_le(host_at(COUNTER), 1);
    run_until(2);
    check_pages(5);
    memory_global_log_stop();
}

/* --- ioeventfds --- */

static unsigned rings(EventNotifier *e)
{
    uint64_t count = 0;
    return read(e->fd, &count, sizeof(count)) == sizeof(count) ? (unsigned)count : 0;
}

static void test_doorbells(const Case *c)
{
    EventNotifier port = { .fd = -1 }, memory = { .fd = -1 };
    make_board(c);
    LOAD(doorbell);
    g_assert_true(event_notifier_init(&port, false, &error_abort));
    g_assert_true(event_notifier_init(&memory, false, &error_abort));
    memory_region_add_eventfd(&doorbell_io, 0, 1, true, 5, &port);
    memory_region_add_eventfd(&doorbell_memory, 0, 0, false, 0, &memory);
    vm_start();
    run_until(1);
    g_assert_cmpuint(rings(&port), ==, 3);
    g_assert_cmpuint(rings(&memory), ==, 2);
    g_assert_cmpstr(accesses->str, ==, "p6 r6 "); /* nothing else came this way */
}

/* --- Coalesced writes: late, but in order and before the next access --- */

static void test_coalesced(const Case *c)
{
    make_board(c);
    LOAD(coalesced);
    memory_region_set_coalescing(&queue_memory, true);
    vm_start();
    run_until(1);
    g_assert_cmpstr(accesses->str, ==, "q10 q9 q8 q7 q6 q5 q4 q3 q2 q1 in r1 ");
}

/* --- Interrupts from notifiers --- */

static void start_interrupts(const Case *c)
{
    make_board(c);
    LOAD(interrupts);
    memcpy(host_at(0x2000), payload_interrupts_idt, 16);
    if (!accel_irq_ops()) {
        skip("this accelerator makes no interrupts of notifiers");
    }
    vm_start();
    while (!ready) {
        event_loop_run(event_loop_main());
    }
}

static void test_irqfd(const Case *c)
{
    EventNotifier n = { .fd = -1 };
    start_interrupts(c);
    Accel *a = accel_current();
    const AccelIrqOps *ops = accel_irq_ops();

    g_assert_true(event_notifier_init(&n, false, &error_abort));
    int gsi = ops->route_add(a, X86_MSI_BASE, 0x50, &error_abort);
    g_assert_cmpint(gsi, >=, 24);
    g_assert_true(ops->notifier_add(a, gsi, &n, NULL, &error_abort));
    for (unsigned i = 1; i <= 5; i++) {
        event_notifier_set(&n);
        run_until(i);
        g_assert_cmphex(report_at(i - 1), ==, 0x50);
    }
    /* Another message, and none. */
    g_assert_true(ops->route_change(a, gsi, X86_MSI_BASE, 0x51, &error_abort));
    event_notifier_set(&n);
    run_until(6);
    g_assert_cmphex(report_at(5), ==, 0x51);
    ops->notifier_del(a, gsi, &n);
    event_notifier_set(&n);
    run_for_ms(30);
    g_assert_cmpuint(reports->len, ==, 6);
    ops->route_drop(a, gsi);
    /* Messages of devices go the same way. */
    x86_apic_send_msi(x86_apic_bus(), X86_MSI_BASE, 0x50);
    run_until(7);
    g_assert_cmphex(report_at(6), ==, 0x50);
}

static void test_resample(const Case *c)
{
    EventNotifier n = { .fd = -1 }, again = { .fd = -1 };
    ERROR_AUTO err = NULL;
    start_interrupts(c);
    Accel *a = accel_current();
    const AccelIrqOps *ops = accel_irq_ops();

    g_assert_true(event_notifier_init(&n, false, &error_abort));
    g_assert_true(event_notifier_init(&again, false, &error_abort));
    if (!ops->notifier_add(a, 10, &n, &again, &err)) {
        skip(error_message(err));
    }
    for (unsigned i = 1; i <= 3; i++) {
        event_notifier_set(&n);
        run_until(i);
        g_assert_cmphex(report_at(i - 1), ==, 0x51);
        run_for_ms(20);
        g_assert_cmpuint(reports->len, ==, i); /* the level fell with the EOI */
        g_assert_cmpuint(rings(&again), ==, 1);
    }
    ops->notifier_del(a, 10, &n);
}

/* The I/O APIC in the kernel: its state is seen, saved, reset and loaded through its device. */
static void test_chip_state(const Case *c)
{
    start_interrupts(c);
    vm_stop(RUN_STATE_PAUSED);
    Device *ioapic = device_new(TYPE_KVM_IOAPIC);
    g_assert_true(device_realize(ioapic, bus_system(), &error_abort));
    const VmState *state = device_class_of(ioapic)->vmstate;
    g_autoptr(GByteArray) saved = g_byte_array_new();
    g_autoptr(GString) text = g_string_new(NULL);

    ioapic_print(ioapic, text);
    g_assert_nonnull(strstr(text->str, "pin 10 0x0000000000008051"));
    g_assert_true(state_save(state, ioapic, saved, &error_abort));
    device_reset(ioapic);
    g_string_truncate(text, 0);
    ioapic_print(ioapic, text);
    g_assert_null(strstr(text->str, "8051"));
    g_assert_true(
        state_load(state, ioapic, state->version, saved->data, saved->len, &error_abort));
    vm_start();
    irq_set(device_line_in(ioapic, NULL, 10), 1);
    run_until(1);
    irq_set(device_line_in(ioapic, NULL, 10), 0);
    g_assert_cmphex(report_at(0), ==, 0x51);
}

/* --- Two CPUs --- */

static void test_smp(const Case *c)
{
    make_board(c);
    LOAD(smp);
    load(0x2000, payload_smp_other, payload_smp_other_end);
    vm_start();
    run_until(1);
    g_assert_cmphex(report_at(0), ==, 0x5678);
    g_assert_cmpuint(ready, ==, 1); /* the other was at the port */
    vm_stop(RUN_STATE_PAUSED);
    /* It halts at its end: its registers say so. */
    g_assert_cmphex(cpu_class_of(cpus[1])->get_pc(&cpus[1]->parent) & ~UINT64_C(0xff), ==, 0x2000);
}

/* --- What goes wrong --- */

static void test_triple_fault(const Case *c)
{
    make_board(c);
    LOAD(triple);
    vm_start();
    while (!resets) {
        event_loop_run(event_loop_main());
    }
    /* A reset makes it run again. */
    vm_pause_vcpus();
    cpu_class_of(cpus[0])->reset(&cpus[0]->parent);
    start_at(cpus[0], LOAD_ADDRESS);
    LOAD(count);
    vm_resume_vcpus();
    while (!ld32_le(host_at(COUNTER))) {
        run_for_ms(5);
    }
}

static void test_internal_error(const Case *c)
{
    make_board(c);
    LOAD(nowhere);
    vm_start();
    while (!run_state_is(RUN_STATE_INTERNAL_ERROR)) {
        run_for_ms(5);
    }
    g_assert_true(cpus[0]->parent.stopped);
    g_assert_cmphex(cpu_class_of(cpus[0])->get_pc(&cpus[0]->parent), ==, 0xc0000000);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* Every step of the set-up fails once; each time one line says why, and nothing is left behind. */
static void test_failing_steps(const Case *c)
{
    Error *err = NULL;
    memory_init();
    if (!try_accel(c, &err)) {
        skip(error_message(err));
    }
    accel_stop();
    unsigned before = open_descriptors(), failed = 0;
    for (int n = 1;; n++) {
        fault_inject(n);
        bool ok = try_accel(c, &err);
        if (ok) {
            accel_stop();
        } else {
            g_assert_nonnull(err);
            g_assert_null(strchr(error_message(err), '\n'));
            error_free(err);
            err = NULL;
            failed++;
        }
        g_assert_null(accel_current());
        g_assert_cmpuint(open_descriptors(), ==, before);
        if (fault_inject(0)) { /* not reached: there are no more steps */
            break;
        }
    }
    g_assert_cmpuint(failed, >=, 4);
}

typedef struct Refusal {
    const char *property, *value, *says;
} Refusal;

/* No skip: these must work where there is no KVM at all. */
static void test_refusals(const Case *c)
{
    static const Refusal refusals[] = {
        { "device", "/nonexistent", "can't open '/nonexistent'" },
        { "device", "/dev/null", "'/dev/null' is no KVM device" },
        { "dirty-ring-size", "x", "dirty-ring-size" },
        { "kernel-irqchip", "maybe", "kernel-irqchip" },
    };
    memory_init();
    for (unsigned i = 0; i < ARRAY_LEN(refusals); i++) {
        ERROR_AUTO err = NULL;
        json_t *p = json_pack("{s:s}", refusals[i].property, refusals[i].value);
        g_assert_false(accel_start("kvm-accel", p, object_container("/machine"), &err));
        g_assert_nonnull(strstr(error_message(err), refusals[i].says));
        g_assert_null(accel_current());
        json_decref(p);
    }
}

static void test_ring_sizes(const Case *c)
{
    Error *err = NULL;
    memory_init();
    if (!try_accel(c, &err)) {
        skip(error_message(err));
    }
    accel_stop();
    Case odd = *c;
    odd.ring = 1000;
    g_assert_false(try_accel(&odd, &err));
    g_assert_nonnull(strstr(error_message(err), "dirty-ring-size=1000"));
    error_free(err);
}

/* --- The list --- */

static const Case jit = { "jit", NULL, 0, 1 };
static const Case on = { "kvm", "on", 0, 1 }, split = { "kvm", "split", 0, 1 },
                  off = { "kvm", "off", 0, 1 };

static void add(const char *name, CaseFn *fn, Case c)
{
    Test *t = g_new(Test, 1);
    *t = (Test){ fn, c };
    g_autofree char *path = g_strdup_printf("/kvm/%s/%s%s%s%s", name, c.accel, c.irqchip ? "-" : "",
                                            c.irqchip ?: "", c.ring ? "-ring" : "");
    g_test_add_data_func_full(path, t, run_case, g_free);
}

static void add_everywhere(const char *name, CaseFn *fn, unsigned n_cpus)
{
    const Case *const cases[] = { &jit, &on, &split, &off };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        Case c = *cases[i];
        c.cpus = n_cpus;
        add(name, fn, c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    Case ring = on;
    ring.ring = 4096;

    add_everywhere("registers", test_registers, 1);
    add_everywhere("pause", test_pause, 1);
    add_everywhere("save-and-load", test_save_and_load, 1);
    add_everywhere("smp", test_smp, 2);
    add("slots", test_slots, jit);
    add("slots", test_slots, on);
    add("slots", test_slots, ring);
    add("dirty", test_dirty, jit);
    add("dirty", test_dirty, on);
    add("dirty", test_dirty, ring);
    add("doorbells", test_doorbells, jit);
    add("doorbells", test_doorbells, on);
    add("coalesced", test_coalesced, jit);
    add("coalesced", test_coalesced, on);
    add("irqfd", test_irqfd, on);
    add("irqfd", test_irqfd, split);
    add("chip-state", test_chip_state, on);
    add("resample", test_resample, on);
    add("resample", test_resample, split);
    add("triple-fault", test_triple_fault, jit);
    add("triple-fault", test_triple_fault, on);
    add("triple-fault", test_triple_fault, off);
    add("internal-error", test_internal_error, on);
    add("failing-steps", test_failing_steps, on);
    add("ring-sizes", test_ring_sizes, on);
    add("refusals", test_refusals, on);
    return g_test_run();
}
