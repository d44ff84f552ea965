/* Under -icount shift=0 with a TSC of 1 GHz a tick is an instruction: RDTSC shows whether each is
 * counted, once. */
#include "kernel.h"

#define PAGE 4096

/* Named in assembly below. */
uint8_t page_pair[2 * PAGE] __attribute__((aligned(4096)));
uint8_t page_buffer[2 * PAGE];

/* Ticks from one RDTSC to the next with `body` in between: its instructions, and the first RDTSC
 * with the two moves that keep what it gave. */
#define TICKS(body)                                                                               \
    ({                                                                                            \
        uint32_t a_, b_;                                                                          \
        __asm__ volatile("rdtsc; movl %%eax, %%r8d; nop\n\t" body "\n\trdtsc\n\t"                 \
                         "movl %%r8d, %0; movl %%eax, %1"                                         \
                         : "=r"(a_), "=r"(b_)                                                     \
                         :                                                                        \
                         : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "memory", "cc"); \
        b_ - a_ - 3;                                                                              \
    })

static void on_fault(Frame *f)
{
    volatile uint64_t *entry = pte((uint64_t)page_pair);
    *entry |= 1;
    invlpg((uint64_t)page_pair);
}

static void straight(void)
{
    equal(TICKS(""), 0, "nothing");
    equal(TICKS("nop; nop; nop; nop"), 4, "four instructions");
    equal(TICKS(".rept 300; addl $1, %%ecx; .endr"), 300, "more than a block");
    equal(TICKS("jmp 1f; .balign 4096; .skip 4093, 0x90; 1: movl $1, %%ecx; nop"), 3,
          "an instruction in two pages");
}

static void loops(void)
{
    equal(TICKS("movl $1000, %%ecx; 1: decl %%ecx; jnz 1b"), 2001, "a loop");
    equal(TICKS("movl $77, %%ecx; 1: loop 1b"), 78, "LOOP");
    equal(TICKS("movl $50, %%ecx; 1: call 2f; decl %%ecx; jnz 1b; jmp 3f; 2: ret; 3:"),
          1 + 50 * 4 + 1, "calls and returns");
    equal(TICKS("jmp 1f; ud2; 1: jecxz 2f; 2: nop"), 3, "jumps");
}

static void strings(void)
{
    equal(TICKS("leaq page_buffer(%%rip), %%rdi; movl $5000, %%ecx; xorl %%eax, %%eax; rep stosb"),
          4, "a repeated instruction is one");
    equal(TICKS("xorl %%ecx, %%ecx; rep movsb"), 2, "... also with nothing to do");
}

static void system_instructions(void)
{
    equal(TICKS("movl %%eax, %%r9d; xorl %%ecx, %%ecx; cpuid; movl $0x10, %%ecx; rdmsr"), 5,
          "helpers");
    equal(TICKS("cli; pushfq; popfq; movq %%cr3, %%rax; movq %%rax, %%cr3"), 5, "flushes");
    equal(TICKS("movl $0x80, %%edx; inb %%dx, %%al; outb %%al, %%dx"), 3, "ports");
}

static void faults(void)
{
    volatile uint64_t *entry = pte((uint64_t)page_pair);
    uint64_t first, second;
    set_handler(14, on_fault);
    page_pair[0] = 1;
    *entry &= ~1ull;
    invlpg((uint64_t)page_pair);
    first = TICKS("leaq page_pair(%%rip), %%rsi; movb (%%rsi), %%cl; nop");
    *entry &= ~1ull;
    invlpg((uint64_t)page_pair);
    second = TICKS("leaq page_pair(%%rip), %%rsi; movb (%%rsi), %%cl; nop");
    equal(first, second, "a fault and its handler, twice the same");
    ok(first > 10, "... are counted");
    uint64_t third = TICKS("leaq page_pair(%%rip), %%rsi; movb (%%rsi), %%cl; nop");
    equal(third, 3, "... and without the fault");
    set_handler(14, NULL);
}

/* SDM volume 3 section 10.5.4: a one-shot timer by the APIC's clock interrupts at its time exactly,
 * so that the same code is interrupted at the same instruction. */
static volatile uint64_t interrupted_at[2];
static volatile unsigned interrupts;

static void on_timer(Frame *f)
{
    interrupted_at[interrupts++ & 1] = f->rcx;
    apic_write(0xb0, 0);
}

static void timers(void)
{
    outb(0x21, 0xff); /* the PIC has no vectors yet */
    outb(0xa1, 0xff);
    map_apic();
    apic_write(0xf0, 0x1ff);
    apic_write(0x3e0, 0xb); /* divide by one */
    apic_write(0x320, 0x40);
    set_handler(0x40, on_timer);
    for (unsigned i = 0; i < 2; i++) {
        unsigned before = interrupts;
        __asm__ volatile("cli" ::: "memory");
        apic_write(0x380, 240); /* 10 us at 24 MHz: 10,000 instructions */
        __asm__ volatile("sti; movl $1000000, %%ecx; 1: cmpl %1, %0; jne 2f; decl %%ecx; jnz 1b; 2:"
                         :
                         : "m"(interrupts), "r"(before)
                         : "rcx", "memory", "cc");
    }
    equal(interrupts, 2, "timer interrupts come");
    equal(interrupted_at[0], interrupted_at[1], "... at the same instruction");
    ok(interrupted_at[0] < 1000000 && interrupted_at[0] > 1000000 - 10000 / 4 - 10,
       "... which is the timer's");
    uint64_t start = rdtsc();
    apic_write(0x380, 24000); /* 1 ms */
    __asm__ volatile("sti; hlt" ::: "memory");
    uint64_t halted = rdtsc() - start;
    ok(halted >= 1000000 && halted < 1001000, "a halt lasts until the timer");
}

void test_main(void)
{
    straight();
    loops();
    strings();
    system_instructions();
    faults();
    timers();
    done();
}
