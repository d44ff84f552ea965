/*
 * Code that is written while it runs: the architecture makes it right without any fence. The
 * routines lie on pages of their own in the spare area.
 */
#include "kernel.h"

#define SPARE 0x800000ull

typedef uint64_t Fn(uint64_t);

static volatile uint8_t *at(uint64_t offset)
{
    return (volatile uint8_t *)(SPARE + offset);
}

static void put(uint64_t offset, const uint8_t *code, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        at(offset)[i] = code[i];
    }
}

static Fn *fn(uint64_t offset)
{
    return (Fn *)(SPARE + offset);
}

/* mov $imm32, %eax; ret */
static void put_constant(uint64_t offset, uint32_t value)
{
    const uint8_t code[] = {
        0xb8, (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24),
        0xc3
    };
    put(offset, code, sizeof(code));
}

static void patched_operand(void)
{
    bool good = true;
    put_constant(0, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        *(volatile uint32_t *)at(1) = i * 3;
        good &= fn(0)(0) == i * 3;
    }
    ok(good, "an operand changes between calls");
}

static void partly_patched(void)
{
    put_constant(0, 0x11111111);
    fn(0)(0);
    at(2)[0] = 0x22;
    equal(fn(0)(0), 0x11112211, "one byte of an operand");
    put_constant(0, 5);
    equal(fn(0)(0), 5, "the whole instruction");
}

/* The very next instruction: movb $n, target(%rip); target: mov $0, %eax; ret */
static void next_instruction(void)
{
    static const uint8_t code[] = {
        0x40, 0x88, 0x3d, 0x01, 0, 0, 0, /* mov %dil, 1(%rip): the operand below */
        0xb8, 0,    0,    0,    0,       /* mov $0, %eax */
        0xc3,
    };
    bool good = true;
    put(0x1000, code, sizeof(code));
    for (unsigned i = 0; i < 200; i++) {
        good &= fn(0x1000)(i) == i;
    }
    ok(good, "the next instruction of the same block");
}

/* A loop that patches its own body each time round: adds 1, 2, 3, ... */
static void own_loop(void)
{
    static const uint8_t code[] = {
        0x31, 0xc0,                         /* xor %eax, %eax */
        0x05, 1,    0,    0,    0,          /* 1: add $1, %eax */
        0xfe, 0x05, 0xf6, 0xff, 0xff, 0xff, /* incb operand */
        0xff, 0xcf,                         /* dec %edi */
        0x75, 0xf1,                         /* jnz 1b */
        0xc3,
    };
    put(0x2000, code, sizeof(code));
    equal(fn(0x2000)(10), 55, "a loop that changes its own body");
}

static void across_pages(void)
{
    /* mov $imm32, %eax whose operand crosses a page */
    put_constant(0x4000 - 3, 0x01020304);
    equal(fn(0x4000 - 3)(0), 0x01020304, "an instruction across pages");
    at(0x4000)[0] = 0x55;
    equal(fn(0x4000 - 3)(0), 0x01550304, "... its second page changes");
    at(0x4000 - 1)[0] = 0x66;
    equal(fn(0x4000 - 3)(0), 0x01556604, "... its first");
}

static void by_string(void)
{
    static const uint8_t one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, two[] = { 0xb8, 2, 0, 0, 0, 0xc3 };
    bool good = true;
    for (unsigned i = 0; i < 50; i++) {
        const uint8_t *from = i & 1 ? two : one;
        void *to = (void *)at(0x5000);
        uint64_t count = sizeof(one);
        __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory");
        good &= fn(0x5000)(0) == (i & 1 ? 2 : 1);
    }
    ok(good, "REP MOVSB over code");
}

static void by_other_instructions(void)
{
    put_constant(0x6000, 1);
    fn(0x6000)(0);
    __asm__ volatile("lock addl $4, (%0)" ::"r"(SPARE + 0x6001) : "memory");
    equal(fn(0x6000)(0), 5, "LOCK ADD on code");
    uint32_t v = 9;
    __asm__ volatile("xchgl %0, (%1)" : "+r"(v) : "r"(SPARE + 0x6001) : "memory");
    equal(fn(0x6000)(0), 9, "XCHG on code");
    static const uint32_t words[4] __attribute__((aligned(16))) = { 0x000007b8, 0xc300, 0, 0 };
    __asm__ volatile("movaps (%0), %%xmm0; movups %%xmm0, (%1)" ::"r"(words), "r"(SPARE + 0x6000)
                     : "memory");
    equal(fn(0x6000)(0), 7, "an SSE store on code");
    __asm__ volatile(
        "mov %%rsp, %%rcx; lea 9(%0), %%rsp; push %1; mov %%rcx, %%rsp" ::"r"(SPARE + 0x6000),
        "r"(0xc30000000bull)
        : "rcx", "memory");
    equal(fn(0x6000)(0), 11, "PUSH on code");
}

/* The same frame under another address. */
static void by_alias(void)
{
    put_constant(0x7000, 3);
    fn(0x7000)(0);
    *pte(SPARE + 0x8000) = (SPARE + 0x7000) | 3;
    invlpg(SPARE + 0x8000);
    *(volatile uint32_t *)at(0x8001) = 44;
    equal(fn(0x7000)(0), 44, "a store through another mapping");
    *pte(SPARE + 0x8000) = (SPARE + 0x8000) | 3;
    invlpg(SPARE + 0x8000);
}

/* Code and data that share a page must get on, and the data be right. */
static void shared_page(void)
{
    /* incl 0x20(%rip)-ish: inc of a counter in the same page, a thousand times */
    static const uint8_t code[] = {
        0xff, 0x05, 0xfa, 0x07, 0, 0, /* 1: incl 0x9800 */
        0xff, 0xcf,                   /* dec %edi */
        0x75, 0xf6,                   /* jnz 1b */
        0x8b, 0x05, 0xf0, 0x07, 0, 0, /* mov 0x9800, %eax */
        0xc3,
    };
    put(0x9000, code, sizeof(code));
    *(volatile uint32_t *)at(0x9800) = 0;
    equal(fn(0x9000)(20000), 20000, "a counter in the page of its code");
}

static void freed_and_reused(void)
{
    bool good = true;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t where = 0xa000 + (i * 37 % 4000);
        put_constant(where, i);
        good &= fn(where)(0) == i;
    }
    ok(good, "code at ever new places of a page");
}

void test_main(void)
{
    patched_operand();
    partly_patched();
    next_instruction();
    own_loop();
    across_pages();
    by_string();
    by_other_instructions();
    by_alias();
    shared_page();
    freed_and_reused();
    done();
}
