/*
 * The local APIC: who gets an interrupt, in which order, and the timer on a clock of the test's
 * own. SDM volume 3 chapter 10.
 */
#include "cpu/x86/apic-internal.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/system.h"
#include "event/clock.h"
#include "x86-harness.h"

#define CPUS 4

static X86Cpu *cpus[CPUS];
static int64_t fake_now; /* ns */

static int64_t fake_clock(void *opaque)
{
    return fake_now;
}

static void advance(int64_t ns)
{
    fake_now += ns;
    clock_run_timers(CLK_VIRTUAL);
}

/* Four CPUs with ids 0 to 3 whose APICs are software-enabled. */
static void start(void)
{
    static const ClockSource source = { .now = fake_clock };
    clock_virtual_set_source(&source);
    fake_now = 0;
    harness_start();
    clock_virtual_set_running(true);
    for (unsigned i = 0; i < CPUS; i++) {
        X86Cpu *cpu = i ? harness_cpu_new() : harness.cpu;
        cpus[i] = cpu;
        cpu->parent.index = (int)i;
        cpu->apic_id = i;
        cpu->apic_bus = x86_apic_bus();
        cpu->tsc_from_clock = true;
        x86_tsc_set(cpu, 0);
        X86Apic *apic = x86_apic_new(cpu);
        bool ok = device_realize(&apic->parent, NULL, &error_abort);
        g_assert_true(ok);
        cpu->apic = apic;
        x86_apic_write(apic, 0xf0, 0x1ff);
    }
}

static void stop(void)
{
    for (unsigned i = 0; i < CPUS; i++) {
        Device *dev = &cpus[i]->apic->parent;
        cpus[i]->apic = NULL;
        device_destroy(dev);
        object_unref(&dev->parent);
        if (i) {
            harness_cpu_free(cpus[i]);
        }
    }
    clock_virtual_set_running(false);
    object_root_reset();
    harness_stop();
    clock_virtual_set_source(NULL);
}

/* Which CPUs have the vector in IRR, as a mask; clears it and their requests. */
static unsigned take(unsigned vector)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < CPUS; i++) {
        uint32_t *word = &cpus[i]->apic->irr[vector / 32];
        if (*word >> (vector % 32) & 1) {
            g_assert_true(cpus[i]->parent.requests & CPU_REQUEST_HARD);
            *word &= ~(1u << (vector % 32));
            mask |= 1u << i;
        }
        cpus[i]->parent.requests = 0;
    }
    return mask;
}

static unsigned take_request(uint32_t request)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < CPUS; i++) {
        mask |= cpus[i]->parent.requests & request ? 1u << i : 0;
        cpus[i]->parent.requests = 0;
    }
    return mask;
}

static void icr(unsigned from, uint32_t destination, uint32_t low)
{
    x86_apic_write(cpus[from]->apic, 0x310, destination << 24);
    x86_apic_write(cpus[from]->apic, 0x300, low);
}

static void enable_x2apic(unsigned i)
{
    g_assert_true(x86_apic_set_base(cpus[i]->apic, cpus[i]->apic->base | X86_APIC_BASE_X2APIC));
}

/* --- Routing --- */

static void test_ipi_physical(void)
{
    start();
    for (unsigned to = 0; to < CPUS; to++) {
        icr(0, to, 0x4050);
        g_assert_cmphex(take(0x50), ==, 1u << to);
    }
    icr(0, 9, 0x4050); /* nobody */
    g_assert_cmphex(take(0x50), ==, 0);
    icr(1, 0xff, 0x4050);
    g_assert_cmphex(take(0x50), ==, 0xf);
    stop();
}

static void test_ipi_shorthands(void)
{
    start();
    icr(2, 0, 0x44051);
    g_assert_cmphex(take(0x51), ==, 4);
    icr(2, 0, 0x84051);
    g_assert_cmphex(take(0x51), ==, 0xf);
    icr(2, 0, 0xc4051);
    g_assert_cmphex(take(0x51), ==, 0xb);
    stop();
}

static void test_ipi_logical(void)
{
    start();
    for (unsigned i = 0; i < CPUS; i++) {
        x86_apic_write(cpus[i]->apic, 0xd0, 1u << (24 + i)); /* flat */
    }
    icr(0, 0xa, 0x4852);
    g_assert_cmphex(take(0x52), ==, 0xa);
    for (unsigned i = 0; i < CPUS; i++) {
        /* clusters of two */
        x86_apic_write(cpus[i]->apic, 0xe0, 0x0fffffff);
        x86_apic_write(cpus[i]->apic, 0xd0, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    icr(0, 0x12, 0x4852);
    g_assert_cmphex(take(0x52), ==, 8);
    icr(0, 0x03, 0x4852);
    g_assert_cmphex(take(0x52), ==, 3);
    stop();
}

static void test_ipi_x2apic(void)
{
    start();
    for (unsigned i = 0; i < CPUS; i++) {
        enable_x2apic(i);
    }
    X86Apic *apic = cpus[0]->apic;
    g_assert_true(x86_apic_msr_write(apic, 0x830, UINT64_C(3) << 32 | 0x4053));
    g_assert_cmphex(take(0x53), ==, 8);
    g_assert_true(x86_apic_msr_write(apic, 0x830, UINT64_C(6) << 32 | 0x4853)); /* logical */
    g_assert_cmphex(take(0x53), ==, 6);
    g_assert_true(x86_apic_msr_write(apic, 0x830, UINT64_C(0xffffffff) << 32 | 0x4053));
    g_assert_cmphex(take(0x53), ==, 0xf);
    g_assert_true(x86_apic_msr_write(apic, 0x83f, 0x54)); /* self */
    g_assert_cmphex(take(0x54), ==, 1);
    uint64_t v;
    g_assert_true(x86_apic_msr_read(cpus[2]->apic, 0x802, &v));
    g_assert_cmphex(v, ==, 2);
    g_assert_true(x86_apic_msr_read(cpus[2]->apic, 0x80d, &v));
    g_assert_cmphex(v, ==, 4);
    /* reserved registers and bits */
    g_assert_false(x86_apic_msr_read(apic, 0x80b, &v));
    g_assert_false(x86_apic_msr_read(apic, 0x80e, &v));
    g_assert_false(x86_apic_msr_write(apic, 0x802, 1));
    g_assert_false(x86_apic_msr_write(apic, 0x80b, 1));
    g_assert_false(x86_apic_msr_write(apic, 0x808, 0x100));
    stop();
}

static void test_modes(void)
{
    start();
    icr(0, 2, 0x4400);
    g_assert_cmphex(take_request(CPU_REQUEST_NMI), ==, 4);
    icr(0, 1, 0xc500);
    g_assert_cmphex(take_request(CPU_REQUEST_INIT), ==, 2);
    icr(0, 1, 0x8500); /* de-assert: nothing */
    g_assert_cmphex(take_request(CPU_REQUEST_INIT), ==, 0);
    icr(0, 1, 0x4699);
    g_assert_cmphex(take_request(CPU_REQUEST_SIPI), ==, 2);
    g_assert_cmphex(cpus[1]->state.sipi_vector, ==, 0x99);
    stop();
}

static void test_lowest_priority(void)
{
    start();
    static const uint8_t tpr[CPUS] = { 0x40, 0x30, 0x20, 0x30 };
    for (unsigned i = 0; i < CPUS; i++) {
        x86_apic_write(cpus[i]->apic, 0x80, tpr[i]);
    }
    icr(0, 0xff, 0x4160);
    g_assert_cmphex(take(0x60), ==, 4);
    x86_apic_write(cpus[2]->apic, 0xf0, 0xff); /* disabled */
    icr(0, 0xff, 0x4160);
    g_assert_cmphex(take(0x60), ==, 2);
    stop();
}

static void test_msi(void)
{
    start();
    X86ApicBus *bus = x86_apic_bus();
    x86_apic_send_msi(bus, 0xfee02000, 0x4061);
    g_assert_cmphex(take(0x61), ==, 4);
    /* as a device's write */
    MemTxAttrs attrs = { .requester_id = 0x10 };
    g_assert_cmpint(address_space_store(address_space_memory(), 0xfee03000, 4, attrs, 0x4062), ==,
                    MEMTX_OK);
    g_assert_cmphex(take(0x62), ==, 8);
    g_assert_cmpint(address_space_store(address_space_memory(), 0xfee00000, 4, attrs, 0x4063), ==,
                    MEMTX_OK);
    g_assert_cmphex(take(0x63), ==, 1);
    stop();
}

static void test_sipi_starts_processor(void)
{
    start();
    X86Cpu *ap = cpus[1];
    icr(0, 1, 0x4500);
    icr(0, 1, 0x4609); /* right behind: must not be lost */
    g_assert_true(x86_service_requests(ap));
    g_assert_true(ap->parent.halted);
    g_assert_true(x86_has_work(ap));
    g_assert_true(x86_service_requests(ap));
    g_assert_false(ap->parent.halted);
    g_assert_cmphex(ap->state.seg[X86_CS].selector, ==, 0x900);
    g_assert_cmphex(ap->state.seg[X86_CS].base, ==, 0x9000);
    g_assert_cmphex(ap->state.rip, ==, 0);
    /* a second one does nothing */
    ap->state.rip = 0x77;
    icr(0, 1, 0x4609);
    x86_service_requests(ap);
    g_assert_cmphex(ap->state.rip, ==, 0x77);
    stop();
}

/* --- Priority --- */

static void test_priority(void)
{
    start();
    X86Apic *apic = cpus[0]->apic;
    icr(0, 0, 0x4031);
    icr(0, 0, 0x4055);
    icr(0, 0, 0x4058);
    g_assert_cmpint(x86_apic_acknowledge(apic), ==, 0x58);
    g_assert_cmpint(x86_apic_pending(apic), ==, -1); /* same class */
    g_assert_cmphex(x86_apic_read(apic, 0xa0), ==, 0x50);
    icr(0, 0, 0x4061);
    g_assert_cmpint(x86_apic_acknowledge(apic), ==, 0x61); /* nests */
    x86_apic_write(apic, 0xb0, 0);
    g_assert_cmpint(x86_apic_pending(apic), ==, -1);
    x86_apic_write(apic, 0xb0, 0);
    g_assert_cmpint(x86_apic_acknowledge(apic), ==, 0x55);
    x86_apic_write(apic, 0xb0, 0);
    x86_apic_set_tpr(apic, 0x30);
    g_assert_cmpint(x86_apic_pending(apic), ==, -1);
    cpus[0]->parent.requests = 0;
    x86_apic_set_tpr(apic, 0x20);
    g_assert_true(cpus[0]->parent.requests & CPU_REQUEST_HARD);
    g_assert_cmpint(x86_apic_pending(apic), ==, 0x31);
    stop();
}

static unsigned eois;

static void note_eoi(void *opaque, uint8_t vector)
{
    eois = eois << 8 | vector;
}

static void test_eoi_broadcast(void)
{
    start();
    X86ApicBus *bus = x86_apic_bus();
    X86Apic *apic = cpus[1]->apic;
    X86ApicMessage m = { .destination = 1, .vector = 0x71, .level = true };
    x86_apic_bus_add_eoi_hook(bus, note_eoi, NULL);
    eois = 0;
    x86_apic_send(bus, &m);
    g_assert_cmpint(x86_apic_acknowledge(apic), ==, 0x71);
    x86_apic_write(apic, 0xb0, 0);
    g_assert_cmphex(eois, ==, 0x71);
    /* edge: no broadcast */
    m.level = false;
    x86_apic_send(bus, &m);
    g_assert_cmpint(x86_apic_acknowledge(apic), ==, 0x71);
    x86_apic_write(apic, 0xb0, 0);
    g_assert_cmphex(eois, ==, 0x71);
    /* suppressed */
    x86_apic_write(apic, 0xf0, 0x11ff);
    m.level = true;
    x86_apic_send(bus, &m);
    g_assert_cmpint(x86_apic_acknowledge(apic), ==, 0x71);
    x86_apic_write(apic, 0xb0, 0);
    g_assert_cmphex(eois, ==, 0x71);
    x86_apic_bus_del_eoi_hook(bus, note_eoi, NULL);
    stop();
}

static void test_errors(void)
{
    start();
    X86Apic *apic = cpus[0]->apic;
    x86_apic_write(apic, 0x370, 0x90);
    icr(0, 1, 0x4005); /* illegal vector */
    g_assert_cmphex(take(0x90), ==, 1);
    g_assert_cmphex(x86_apic_read(apic, 0x280), ==, 0); /* until written */
    x86_apic_write(apic, 0x280, 0);
    g_assert_cmphex(x86_apic_read(apic, 0x280), ==, 0x20);
    x86_apic_write(apic, 0x280, 0);
    g_assert_cmphex(x86_apic_read(apic, 0x280), ==, 0);
    x86_apic_read(apic, 0x40);
    x86_apic_write(apic, 0x280, 0);
    g_assert_cmphex(x86_apic_read(apic, 0x280), ==, 0x80);
    stop();
}

static void test_base_msr(void)
{
    start();
    X86Apic *apic = cpus[1]->apic;
    uint64_t base = x86_apic_get_base(apic);
    g_assert_cmphex(base, ==, 0xfee00800);
    g_assert_cmphex(x86_apic_get_base(cpus[0]->apic), ==, 0xfee00900);
    g_assert_false(x86_apic_set_base(apic, base | 1));
    g_assert_false(x86_apic_set_base(apic, (base | 0x400) & ~UINT64_C(0x800)));
    g_assert_true(x86_apic_set_base(apic, base | 0x400));
    g_assert_false(x86_apic_set_base(apic, base)); /* not straight back */
    g_assert_true(x86_apic_set_base(apic, base & ~UINT64_C(0x800)));
    g_assert_false(x86_apic_set_base(apic, base | 0x400)); /* not from disabled */
    g_assert_true(x86_apic_set_base(apic, base));
    stop();
}

/* --- Lines --- */

static int acknowledge(void *opaque)
{
    return 0x22;
}

static void test_virtual_wire(void)
{
    start();
    X86ApicBus *bus = x86_apic_bus();
    X86Apic *apic = cpus[0]->apic;
    x86_apic_bus_set_pic(bus, acknowledge, NULL);
    x86_apic_write(apic, 0x350, 0x700);
    cpus[0]->parent.requests = 0;
    x86_apic_bus_set_intr(bus, 1);
    g_assert_true(cpus[0]->parent.requests & CPU_REQUEST_HARD);
    g_assert_false(cpus[1]->parent.requests & CPU_REQUEST_HARD);
    g_assert_true(x86_apic_extint_pending(cpus[0]));
    g_assert_false(x86_apic_extint_pending(cpus[1]));
    g_assert_cmpint(x86_apic_extint_acknowledge(cpus[0]), ==, 0x22);
    x86_apic_write(apic, 0x350, 0x10700);
    g_assert_false(x86_apic_extint_pending(cpus[0]));
    cpus[0]->parent.requests = 0;
    x86_apic_write(apic, 0x350, 0x700); /* unmasked while the line is up */
    g_assert_true(cpus[0]->parent.requests & CPU_REQUEST_HARD);
    x86_apic_bus_set_intr(bus, 0);
    g_assert_false(x86_apic_extint_pending(cpus[0]));
    stop();
}

/* --- Timer --- */

static void test_timer_one_shot(void)
{
    start();
    X86Apic *apic = cpus[0]->apic;
    x86_apic_write(apic, 0x3e0, 0xb); /* by 1 */
    x86_apic_write(apic, 0x320, 0x40);
    x86_apic_write(apic, 0x380, 24000); /* 1 ms */
    advance(999000);
    g_assert_cmphex(take(0x40), ==, 0);
    g_assert_cmpuint(x86_apic_read(apic, 0x390), ==, 24);
    advance(1000);
    g_assert_cmphex(take(0x40), ==, 1);
    g_assert_cmpuint(x86_apic_read(apic, 0x390), ==, 0);
    advance(10000000);
    g_assert_cmphex(take(0x40), ==, 0);
    /* divided by 16; a masked entry counts but doesn't interrupt */
    x86_apic_write(apic, 0x3e0, 0x3);
    x86_apic_write(apic, 0x320, 0x10040);
    x86_apic_write(apic, 0x380, 1500);
    advance(500000);
    g_assert_cmpuint(x86_apic_read(apic, 0x390), ==, 750);
    advance(600000);
    g_assert_cmphex(take(0x40), ==, 0);
    stop();
}

static void test_timer_periodic(void)
{
    start();
    X86Apic *apic = cpus[0]->apic;
    x86_apic_write(apic, 0x3e0, 0xb);
    x86_apic_write(apic, 0x320, 0x20041);
    x86_apic_write(apic, 0x380, 24000);
    for (unsigned i = 0; i < 5; i++) {
        advance(999999);
        g_assert_cmphex(take(0x41), ==, 0);
        advance(1);
        g_assert_cmphex(take(0x41), ==, 1);
    }
    x86_apic_write(apic, 0x380, 0);
    advance(5000000);
    g_assert_cmphex(take(0x41), ==, 0);
    stop();
}

static void test_timer_deadline(void)
{
    start();
    X86Apic *apic = cpus[0]->apic;
    x86_apic_set_tsc_deadline(apic, 5000); /* not in this mode: ignored */
    g_assert_cmphex(x86_apic_get_tsc_deadline(apic), ==, 0);
    x86_apic_write(apic, 0x320, 0x40042);
    uint64_t now = x86_tsc_now(cpus[0]);
    x86_apic_set_tsc_deadline(apic, now + 1000000); /* 1 GHz: 1 ms */
    g_assert_cmphex(x86_apic_get_tsc_deadline(apic), ==, now + 1000000);
    advance(999000);
    g_assert_cmphex(take(0x42), ==, 0);
    advance(2000);
    g_assert_cmphex(take(0x42), ==, 1);
    g_assert_cmphex(x86_apic_get_tsc_deadline(apic), ==, 0);
    /* one in the past is due at once */
    x86_apic_set_tsc_deadline(apic, 1);
    g_assert_cmphex(take(0x42), ==, 1);
    /* disarmed */
    x86_apic_set_tsc_deadline(apic, x86_tsc_now(cpus[0]) + 1000);
    x86_apic_set_tsc_deadline(apic, 0);
    advance(1000000);
    g_assert_cmphex(take(0x42), ==, 0);
    stop();
}

/* The far future must not wrap into the past. */
static void test_timer_deadline_extremes(void)
{
    start();
    X86Apic *apic = cpus[0]->apic;
    x86_apic_write(apic, 0x320, 0x40042);
    x86_apic_set_tsc_deadline(apic, UINT64_MAX);
    advance(1000000000);
    g_assert_cmphex(take(0x42), ==, 0);
    stop();
}

/* --- Taking interrupts --- */

static void test_service(void)
{
    start();
    X86Cpu *cpu = cpus[0];
    X86State *s = &cpu->state;
    s->idtr = (X86TableRegister){ .base = 0, .limit = 0x3ff };
    harness_put(0x40 * 4, 0x00007000, 4);
    s->gpr[X86_RSP] = 0x1000;
    s->rip = 0x100;
    x86_update_mode(cpu);
    icr(1, 0, 0x4040);
    cpu->parent.halted = true;
    g_assert_false(x86_has_work(cpu)); /* IF clear */
    g_assert_false(x86_service_requests(cpu));
    s->rflags |= X86_IF;
    s->interrupt_shadow = 1;
    g_assert_false(x86_service_requests(cpu));
    s->interrupt_shadow = 0;
    g_assert_true(x86_has_work(cpu));
    g_assert_true(x86_service_requests(cpu));
    g_assert_false(cpu->parent.halted);
    g_assert_cmphex(s->rip, ==, 0x7000);
    g_assert_false(cpu->parent.requests & CPU_REQUEST_HARD);
    /* NMI goes first, and only once until IRET */
    harness_put(2 * 4, 0x00007100, 4);
    icr(1, 0, 0x4400);
    g_assert_true(x86_service_requests(cpu));
    g_assert_cmphex(s->rip, ==, 0x7100);
    icr(1, 0, 0x4400);
    g_assert_false(x86_service_requests(cpu));
    g_assert_false(RAISES(x86_iret(cpu, 2, 0)));
    g_assert_true(x86_service_requests(cpu));
    stop();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    g_test_add_func("/x86/apic/physical", test_ipi_physical);
    g_test_add_func("/x86/apic/shorthands", test_ipi_shorthands);
    g_test_add_func("/x86/apic/logical", test_ipi_logical);
    g_test_add_func("/x86/apic/x2apic", test_ipi_x2apic);
    g_test_add_func("/x86/apic/modes", test_modes);
    g_test_add_func("/x86/apic/lowest", test_lowest_priority);
    g_test_add_func("/x86/apic/msi", test_msi);
    g_test_add_func("/x86/apic/sipi", test_sipi_starts_processor);
    g_test_add_func("/x86/apic/priority", test_priority);
    g_test_add_func("/x86/apic/eoi", test_eoi_broadcast);
    g_test_add_func("/x86/apic/errors", test_errors);
    g_test_add_func("/x86/apic/base", test_base_msr);
    g_test_add_func("/x86/apic/virtual-wire", test_virtual_wire);
    g_test_add_func("/x86/apic/one-shot", test_timer_one_shot);
    g_test_add_func("/x86/apic/periodic", test_timer_periodic);
    g_test_add_func("/x86/apic/deadline", test_timer_deadline);
    g_test_add_func("/x86/apic/deadline-extremes", test_timer_deadline_extremes);
    g_test_add_func("/x86/apic/service", test_service);
    return harness_run();
}
