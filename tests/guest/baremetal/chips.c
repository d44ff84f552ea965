/*
 * Interrupts through each of the PC's controllers: the 8254 by the 8259s and by the I/O APIC, edges
 * and levels, the local APIC's timer, IPIs to itself. On a whole machine, with the controllers in
 * the kernel, half of them, or none.
 */
#include "kernel.h"

#define PIC_BASE     0x20
#define TIMER_INPUT  2 /* of the I/O APIC */
#define VECTOR_EDGE  0x41
#define VECTOR_TIMER 0x42
#define VECTOR_SELF  0x43
#define IOAPIC       0xfec00000u
#define PATIENCE     2000000000ull /* TSC ticks */

static uint64_t io_pd[512] __attribute__((aligned(4096)));

static void map_io(void)
{
    pdpt[3] = (uint64_t)io_pd + 3;
    io_pd[0xfee00000u >> 21 & 511] = 0xfee00000u + 0x80 + 0x10 + 3;
    io_pd[IOAPIC >> 21 & 511] = 0xfec00000u + 0x80 + 0x10 + 3;
}

static void ioapic_write(unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uint64_t)IOAPIC = reg;
    *(volatile uint32_t *)(uint64_t)(IOAPIC + 0x10) = value;
}

static uint32_t ioapic_read(unsigned reg)
{
    *(volatile uint32_t *)(uint64_t)IOAPIC = reg;
    return *(volatile uint32_t *)(uint64_t)(IOAPIC + 0x10);
}

static volatile unsigned pic_count, spurious;

static void pic_timer(Frame *f)
{
    pic_count++;
    outb(0x20, 0x20);
}

static void pic_spurious(Frame *f)
{
    spurious++;
}

static void program_pic(uint8_t mask)
{
    outb(0x20, 0x11);
    outb(0xa0, 0x11);
    outb(0x21, PIC_BASE);
    outb(0xa1, PIC_BASE + 8);
    outb(0x21, 4);
    outb(0xa1, 2);
    outb(0x21, 1);
    outb(0xa1, 1);
    outb(0x21, mask);
    outb(0xa1, 0xff);
}

/* Counter 0, mode 2, some kHz. */
static void start_pit(void)
{
    outb(0x43, 0x34);
    outb(0x40, 0x00);
    outb(0x40, 0x20);
}

static void stop_pit(void)
{
    outb(0x43, 0x30); /* mode 0 and no count */
}

/* With interrupts open and the CPU halted between them. */
static bool wait_for(volatile unsigned *count, unsigned want)
{
    uint64_t end = rdtsc() + PATIENCE;
    while (*count < want && rdtsc() < end) {
        __asm__ volatile("sti; hlt; cli" ::: "memory");
    }
    return *count >= want;
}

static void nothing_comes(volatile unsigned *count, const char *name)
{
    unsigned before = *count;
    for (unsigned i = 0; i < 2000; i++) {
        __asm__ volatile("sti; nop; cli" ::: "memory");
    }
    equal(*count, before, name);
}

static void test_pic(void)
{
    program_pic(0xff);
    equal(inb(0x21), 0xff, "8259: the mask reads back");
    start_pit();
    nothing_comes(&pic_count, "8259: masked, nothing comes");
    outb(0x21, 0xfe);
    ok(wait_for(&pic_count, 3), "8259: the timer interrupts, and halted CPUs wake");
    outb(0x21, 0xff);
    stop_pit();
    outb(0x20, 0x0b);
    equal(inb(0x20), 0, "8259: nothing stays in service");
}

static void test_ioapic(void)
{
    equal(ioapic_read(1) >> 16 & 0xff, 23, "I/O APIC: 24 inputs");
    ioapic_write(0x10 + 2 * TIMER_INPUT + 1, 0);
    ioapic_write(0x10 + 2 * TIMER_INPUT, VECTOR_EDGE | 0x10000);
    start_pit();
    nothing_comes(&irq_count[VECTOR_EDGE], "I/O APIC: masked, nothing comes");
    ioapic_write(0x10 + 2 * TIMER_INPUT, VECTOR_EDGE);
    ok(wait_for(&irq_count[VECTOR_EDGE], 3), "I/O APIC: edges of the timer come");
    ioapic_write(0x10 + 2 * TIMER_INPUT, VECTOR_EDGE | 0x10000);
    stop_pit();
    equal(ioapic_read(0x10 + 2 * TIMER_INPUT) & 0x1ffff, VECTOR_EDGE | 0x10000,
          "I/O APIC: the entry reads back");
}

static void test_local(void)
{
    apic_write(0x3e0, 0xb);
    apic_write(0x320, VECTOR_TIMER);
    apic_write(0x380, 100000);
    ok(wait_for(&irq_count[VECTOR_TIMER], 1), "local APIC: one shot");
    nothing_comes(&irq_count[VECTOR_TIMER], "local APIC: ... and no second");
    apic_write(0x320, VECTOR_TIMER | 0x20000);
    apic_write(0x380, 100000);
    ok(wait_for(&irq_count[VECTOR_TIMER], 4), "local APIC: periodic");
    apic_write(0x320, VECTOR_TIMER | 0x10000);
    apic_write(0x380, 0);
    apic_write(0x300, 0x40000 | VECTOR_SELF);
    ok(wait_for(&irq_count[VECTOR_SELF], 1), "local APIC: an interrupt to itself");
    equal(irq_count[VECTOR_SELF], 1, "local APIC: once");
}

void test_main(void)
{
    map_io();
    apic_write(0xf0, 0x1ff);
    set_handler(PIC_BASE, pic_timer);
    set_handler(PIC_BASE + 7, pic_spurious);
    test_pic();
    test_ioapic();
    test_local();
    done();
}
