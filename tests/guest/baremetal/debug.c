/* What gdb is tried on (tests/guest/test_gdb.py): two CPUs in loops that never end, memory that is
 * read and written at known places, an exception, a string instruction, 32-bit code. */
#include "kernel.h"

extern const uint8_t ap_blob[], ap_blob_end[];
void ap_main(unsigned id);

volatile uint64_t written, only_read = 4711, turns, other_turns, ap_here;
volatile uint8_t from[64], to[64];
volatile uint32_t straddling[2048] __attribute__((aligned(4096)));

uint64_t bump(uint64_t n);
uint64_t trap_and_return(uint64_t n);
void copy(void);
void other_work(uint64_t n);

__attribute__((noinline)) uint64_t bump(uint64_t n)
{
    written = n;
    return n + only_read;
}

__attribute__((noinline)) void copy(void)
{
    const volatile void *source = from;
    volatile void *target = to;
    uint64_t count = sizeof(from);
    __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(count)::"memory");
}

static void on_breakpoint(Frame *f)
{
    ap_here |= 2;
}

__attribute__((noinline)) uint64_t trap_and_return(uint64_t n)
{
    __asm__ volatile("int3; nop; nop" ::: "memory");
    return n + 1;
}

__attribute__((noinline)) void other_work(uint64_t n)
{
    other_turns = n;
}

void ap_main(unsigned id)
{
    ap_here |= 1;
    for (uint64_t n = 0;; n++) {
        other_work(n);
    }
}

void test_main(void)
{
    volatile uint8_t *low = (volatile uint8_t *)0x8000;
    for (unsigned i = 0; i < (unsigned)(ap_blob_end - ap_blob); i++) {
        low[i] = ap_blob[i];
    }
    set_handler(3, on_breakpoint);
    map_apic();
    apic_write(0xf0, 0x1ff);
    apic_write(0x300, 0xc4500);
    apic_write(0x300, 0xc4608);
    for (uint64_t n = 1;; n++) {
        turns = n + (bump(n) & 0);
        straddling[1023] = (uint32_t)n; /* the last of a page */
        copy();
        trap_and_return(n);
    }
}
