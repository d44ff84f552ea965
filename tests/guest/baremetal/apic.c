/*
 * The local APIC as its CPU sees it: timer, priorities, IPIs to itself, NMI, x2APIC; interrupts and
 * HLT, shadows.
 */
#include "kernel.h"

static void cli(void)
{
    __asm__ volatile("cli" ::: "memory");
}

static void sti(void)
{
    __asm__ volatile("sti; nop" ::: "memory");
}

static void self_ipi(uint32_t vector)
{
    apic_write(0x300, 0x44000 | vector);
}

static unsigned wait_for(unsigned vector, unsigned count)
{
    /* bounded: a lost interrupt must fail the test, not hang it */
    uint64_t end = rdtsc() + 4000000000ull;
    while (irq_count[vector] < count && rdtsc() < end) {
        __asm__ volatile("pause");
    }
    return irq_count[vector];
}

static void self_ipis(void)
{
    cli();
    self_ipi(0x40);
    equal(irq_count[0x40], 0, "IF clear: nothing comes");
    equal(apic_read(0x220) & 1, 1, "... it waits in IRR");
    sti();
    equal(irq_count[0x40], 1, "IF set: it comes");
    equal(apic_read(0x220) & 1, 0, "... and has left IRR");
    cli();
    self_ipi(0x41);
    self_ipi(0x41);
    sti();
    equal(irq_count[0x41], 1, "twice before it is taken is once");
    apic_write(0x80, 0x50);
    self_ipi(0x42);
    equal(irq_count[0x42], 0, "TPR holds it back");
    self_ipi(0x62);
    equal(irq_count[0x62], 1, "... not one of a higher class");
    WRITE_CR(8, 0);
    equal(irq_count[0x42], 1, "CR8 lets it through");
    WRITE_CR(8, 7);
    equal(apic_read(0x80), 0x70, "CR8 is TPR");
    WRITE_CR(8, 0);
}

static volatile unsigned order[4], taken;

static void note_order(Frame *f)
{
    order[taken++] = (unsigned)f->vector;
    if (f->vector == 0x43) {
        /* nest: a higher one may come in, a lower one may not */
        self_ipi(0x53);
        self_ipi(0x33);
        sti();
        cli();
    }
    apic_write(0xb0, 0);
}

static void nesting(void)
{
    set_handler(0x33, note_order);
    set_handler(0x43, note_order);
    set_handler(0x53, note_order);
    taken = 0;
    cli();
    self_ipi(0x43);
    sti();
    equal(taken, 3, "three interrupts nest");
    equal(order[0] << 16 | order[1] << 8 | order[2], 0x435333, "... by priority");
    set_handler(0x33, 0);
    set_handler(0x43, 0);
    set_handler(0x53, 0);
}

static volatile uint64_t interrupted_rip;

static void note_rip(Frame *f)
{
    interrupted_rip = f->rip;
    irq_count[f->vector]++;
    apic_write(0xb0, 0);
}

static void shadows(void)
{
    uint64_t after;
    set_handler(0x44, note_rip);
    cli();
    self_ipi(0x44);
    /* not between STI and the instruction behind it */
    __asm__ volatile("sti; nop; 1: lea 1b(%%rip), %0; nop" : "=r"(after)::"memory");
    equal(interrupted_rip, after, "one instruction after STI");
    cli();
    self_ipi(0x44);
    __asm__ volatile("mov %%ss, %%eax; sti; nop; nop" ::: "eax", "memory");
    equal(irq_count[0x44], 2, "and it came");
    cli();
    self_ipi(0x44);
    __asm__ volatile("sti; cli" ::: "memory");
    equal(irq_count[0x44], 2, "STI; CLI opens nothing");
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    equal(irq_count[0x44], 3, "STI; HLT doesn't sleep through it");
    set_handler(0x44, 0);
    sti();
}

static void one_shot(void)
{
    apic_write(0x3e0, 0xb);
    apic_write(0x320, 0x45);
    apic_write(0x380, 20000);
    ok(apic_read(0x390) <= 20000 && apic_read(0x380) == 20000, "timer counts down");
    equal(wait_for(0x45, 1), 1, "one-shot timer");
    equal(apic_read(0x390), 0, "... stands at zero");
    cli();
    apic_write(0x380, 100000);
    __asm__ volatile("sti; hlt");
    equal(irq_count[0x45], 2, "HLT waits for the timer");
    apic_write(0x320, 0x10045);
    apic_write(0x380, 100);
    uint64_t end = rdtsc() + 10000000;
    while (rdtsc() < end) {
    }
    equal(irq_count[0x45], 2, "masked timer");
}

static void periodic(void)
{
    apic_write(0x320, 0x20046);
    apic_write(0x380, 10000);
    ok(wait_for(0x46, 5) >= 5, "periodic timer");
    apic_write(0x380, 0);
    cli();
    sti();
    unsigned count = irq_count[0x46];
    uint64_t end = rdtsc() + 10000000;
    while (rdtsc() < end) {
    }
    equal(irq_count[0x46], count, "... stopped");
}

static void deadline(void)
{
    apic_write(0x320, 0x40047);
    uint64_t at = rdtsc() + 3000000;
    wrmsr(0x6e0, at);
    equal(wait_for(0x47, 1), 1, "deadline timer");
    ok(rdtsc() >= at, "... not too early");
    equal(rdmsr(0x6e0), 0, "... disarmed itself");
    wrmsr(0x6e0, 1);
    equal(wait_for(0x47, 2), 2, "deadline in the past");
    unsigned count;
    do { /* again if the host took the CPU for longer than that in between */
        count = irq_count[0x47];
        at = rdtsc() + 3000000;
        wrmsr(0x6e0, at);
        wrmsr(0x6e0, 0);
    } while (rdtsc() >= at);
    uint64_t end = rdtsc() + 10000000;
    while (rdtsc() < end) {
    }
    equal(irq_count[0x47], count, "disarmed deadline");
    apic_write(0x320, 0x10047);
}

static volatile unsigned nmis, nmis_inside;

static void count_nmi(Frame *f)
{
    nmis++;
    if (nmis == 1) {
        apic_write(0x300, 0x400); /* another to itself: must wait for IRET */
        apic_read(0x300);
        nmis_inside = nmis;
    }
}

static void nmi(void)
{
    set_handler(2, count_nmi);
    apic_write(0x310, apic_read(0x20));
    cli();
    apic_write(0x300, 0x400);
    for (unsigned i = 0; i < 1000 && nmis < 2; i++) {
        __asm__ volatile("pause");
    }
    equal(nmis_inside, 1, "an NMI isn't interrupted by the next");
    equal(nmis, 2, "... which comes after IRET, IF clear or not");
    sti();
    set_handler(2, 0);
}

static void errors(void)
{
    apic_write(0x280, 0);
    apic_write(0x280, 0);
    apic_write(0x300, 0x44005);
    apic_write(0x280, 0);
    equal(apic_read(0x280), 0x20, "illegal vector is noted in ESR");
}

static void read_msr(uint64_t index)
{
    rdmsr((uint32_t)index);
}

static void x2apic(void)
{
    uint64_t base = rdmsr(0x1b);
    equal(attempt(read_msr, 0x802), 13, "x2APIC registers in xAPIC mode are #GP");
    wrmsr(0x1b, base | 0x400);
    apic_x2 = true;
    equal(rdmsr(0x802), 0, "x2APIC id");
    equal(rdmsr(0x80d), 1, "x2APIC logical id");
    cli();
    wrmsr(0x83f, 0x48);
    equal(irq_count[0x48], 0, "self IPI waits");
    sti();
    equal(irq_count[0x48], 1, "... and comes");
    wrmsr(0x830, 0x44049);
    equal(irq_count[0x49], 1, "ICR in x2APIC mode");
    equal(attempt(read_msr, 0x80e), 13, "DFR is gone");
    wrmsr(0x1b, base & ~0x800ull);
    wrmsr(0x1b, base);
    apic_x2 = false;
    equal(rdmsr(0x1b), base, "back to xAPIC over disabled");
}

void test_main(void)
{
    map_apic();
    equal(rdmsr(0x1b), 0xfee00900, "APIC base: enabled, bootstrap processor");
    equal(apic_read(0x20), 0, "id");
    equal(apic_read(0x30) & 0xff, 0x14, "version");
    apic_write(0xf0, 0x1ff);
    self_ipis();
    nesting();
    shadows();
    one_shot();
    periodic();
    deadline();
    nmi();
    errors();
    x2apic();
    done();
}
