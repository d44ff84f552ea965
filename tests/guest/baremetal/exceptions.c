/* Exceptions of 64-bit code: vectors, error codes, frames. */
#include "kernel.h"

static void divide(uint64_t by)
{
    uint64_t a = 1, d = 0;
    __asm__ volatile("divq %2" : "+a"(a), "+d"(d) : "r"(by));
}

static void undefined(uint64_t arg)
{
    __asm__ volatile("ud2");
}

static void breakpoint(uint64_t arg)
{
    __asm__ volatile("int3");
}

static void software(uint64_t arg)
{
    __asm__ volatile("int $0x0d");
}

static void load_ds(uint64_t selector)
{
    __asm__ volatile("mov %w0, %%ds" ::"r"(selector));
}

static void load_ss(uint64_t selector)
{
    __asm__ volatile("mov %w0, %%ss" ::"r"(selector));
}

static void read_at(uint64_t address)
{
    (void)*(volatile uint8_t *)address;
}

static void write_at(uint64_t address)
{
    *(volatile uint8_t *)address = 1;
}

static void call_at(uint64_t address)
{
    ((void (*)(void))address)();
}

static void stack_at(uint64_t address)
{
    __asm__ volatile("mov %%rsp, %%rcx; mov %0, %%rsp; pop %%rax; mov %%rcx, %%rsp" ::"r"(address)
                     : "rax", "rcx");
}

static void write_cr0(uint64_t value)
{
    WRITE_CR(0, value);
}

static void write_cr4(uint64_t value)
{
    WRITE_CR(4, value);
}

static void write_cr3(uint64_t value)
{
    WRITE_CR(3, value);
}

static void read_msr(uint64_t index)
{
    rdmsr((uint32_t)index);
}

static void efer_without_lme(uint64_t arg)
{
    wrmsr(0xc0000080, 1);
}

static void x87(uint64_t arg)
{
    __asm__ volatile("fninit");
}

static void wait_x87(uint64_t arg)
{
    __asm__ volatile("fwait");
}

static void sse(uint64_t arg)
{
    __asm__ volatile("xorps %xmm0, %xmm0");
}

static void sse_exception(uint64_t arg)
{
    uint32_t unmasked = 0x1f80 & ~0x200u;
    __asm__ volatile("ldmxcsr %0; pxor %%xmm1, %%xmm1; pcmpeqd %%xmm0, %%xmm0; psrld $25, %%xmm0;"
                     "pslld $23, %%xmm0; divss %%xmm1, %%xmm0" ::"m"(unmasked));
}

static void x87_exception(uint64_t arg)
{
    uint16_t cw = 0x37b; /* division by zero unmasked */
    __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" ::"m"(cw));
}

static void misaligned(uint64_t arg)
{
    __asm__ volatile("movaps 1(%%rsp), %%xmm0" ::);
}

static USER_TEXT void user_hlt(uint64_t arg)
{
    __asm__ volatile("hlt");
}

static USER_TEXT void user_cli(uint64_t arg)
{
    __asm__ volatile("cli");
}

static USER_TEXT void user_read(uint64_t address)
{
    (void)*(volatile uint8_t *)address;
    leave_user();
}

static USER_TEXT void user_int(uint64_t arg)
{
    __asm__ volatile("int $0x20");
}

static USER_TEXT void user_out(uint64_t arg)
{
    __asm__ volatile("outb %al, $0x80");
    leave_user();
}

static volatile uint64_t steps;

static void count_step(Frame *f)
{
    steps++;
}

static void selectors(void)
{
    equal(attempt(load_ds, 0x7f8), 13, "selector beyond the GDT is #GP");
    equal(trap.error, 0x7f8, "... with the selector");
    equal(attempt(load_ds, 0x08 | 4), 13, "selector in an absent LDT is #GP");
    gdt[11] = 0x00cf13000000ffff; /* data, not present */
    equal(attempt(load_ds, 0x58), 11, "absent data segment is #NP");
    equal(trap.error, 0x58, "... with the selector");
    equal(attempt(load_ss, 0x58), 12, "absent stack segment is #SS");
    equal(attempt(load_ss, 0x23), 13, "stack segment of another ring is #GP");
    equal(attempt(load_ss, 0), NO_TRAP, "null stack segment in ring 0");
    equal(attempt(load_ss, 3), 13, "null stack segment with RPL 3 is #GP");
    equal(attempt(load_ss, 0x10), NO_TRAP, "good stack segment");
}

static void floating_point(void)
{
    uint64_t cr0 = READ_CR(0);
    WRITE_CR(0, cr0 | 8);
    equal(attempt(x87, 0), 7, "x87 with CR0.TS is #NM");
    equal(attempt(wait_x87, 0), 7, "FWAIT with TS and MP is #NM");
    equal(attempt(sse, 0), 7, "SSE with CR0.TS is #NM");
    WRITE_CR(0, (cr0 | 8) & ~2ull);
    equal(attempt(wait_x87, 0), NO_TRAP, "FWAIT with TS without MP");
    WRITE_CR(0, cr0 | 4);
    equal(attempt(sse, 0), 6, "SSE with CR0.EM is #UD");
    __asm__ volatile("clts");
    WRITE_CR(0, cr0);
    equal(attempt(sse, 0), NO_TRAP, "SSE");
    equal(attempt(sse_exception, 0), 19, "SSE division by zero is #XM");
    uint32_t masked = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(masked));
    equal(attempt(x87_exception, 0), 16, "x87 division by zero is #MF");
    __asm__ volatile("fninit");
    uint64_t cr4 = READ_CR(4);
    WRITE_CR(4, cr4 & ~0x200ull);
    equal(attempt(sse, 0), 6, "SSE without OSFXSR is #UD");
    WRITE_CR(4, cr4);
}

static void single_step(void)
{
    set_handler(1, count_step);
    steps = 0;
    /* pushf, or, popf; then nop, nop, popf run with TF: two steps and the one after popf */
    __asm__ volatile("pushfq; pushfq; orl $0x100, (%%rsp); popfq; nop; nop; popfq; nop" ::
                         : "memory", "cc");
    equal(steps, 3, "single step counts instructions");
    set_handler(1, NULL);
}

static volatile uint64_t watched;
static volatile uint64_t hits;

static void count_hit(Frame *f)
{
    hits |= READ_DR(6) & 0xf;
    hits += 0x100;
    WRITE_DR(6, 0);
    f->rflags |= 0x10000; /* go on past an instruction breakpoint */
}

static void __attribute__((noinline)) marked_function(void)
{
    __asm__ volatile("nop");
}

static void hardware_breakpoints(void)
{
    set_handler(1, count_hit);
    hits = 0;
    WRITE_DR(0, (uint64_t)&watched);
    WRITE_DR(7, 0x1 | 0x9 << 16); /* write, 8 bytes */
    watched = 1;
    equal(hits, 0x101, "data breakpoint on a write");
    (void)watched;
    equal(hits, 0x101, "... not on a read");
    WRITE_DR(7, 0x1 | 0xb << 16);
    (void)watched;
    equal(hits, 0x201, "data breakpoint on a read");
    hits = 0;
    WRITE_DR(1, (uint64_t)marked_function);
    WRITE_DR(7, 0x4);
    marked_function();
    equal(hits, 0x102, "instruction breakpoint");
    WRITE_DR(7, 0);
    marked_function();
    equal(hits, 0x102, "... and off again");
    set_handler(1, NULL);
}

void test_main(void)
{
    equal(attempt(divide, 0), 0, "division by zero is #DE");
    equal(attempt(divide, 1), NO_TRAP, "division");
    equal(attempt(undefined, 0), 6, "UD2 is #UD");
    equal(trap.cs, 8, "... in ring 0");
    equal(attempt(breakpoint, 0), 3, "INT3 is #BP");
    equal(attempt(software, 0), 13, "INT 13 comes through gate 13");

    equal(attempt(read_at, 0x10000000), 14, "unmapped read is #PF");
    equal(trap.error, 0, "... error code 0");
    equal(trap.cr2, 0x10000000, "... and CR2");
    equal(attempt(write_at, 0x10000123), 14, "unmapped write is #PF");
    equal(trap.error, 2, "... error code 2");
    equal(attempt(read_at, 0x8000000000000000ull), 13, "non-canonical read is #GP");
    equal(attempt(stack_at, 0x8000000000000000ull), 12, "non-canonical stack is #SS");
    equal(attempt(call_at, 0x10000000), 14, "unmapped call is #PF");
    equal(trap.rip, 0x10000000, "... at the target");
    equal(attempt(call_at, 0x8000000000000000ull), 13, "non-canonical call is #GP");
    equal(attempt(misaligned, 0), 13, "misaligned SSE operand is #GP");

    equal(attempt(write_cr0, READ_CR(0) & ~1ull), 13, "paging without protection is #GP");
    equal(attempt(write_cr0, READ_CR(0) & ~0x80000000ull), 13, "no paging in 64-bit mode is #GP");
    equal(attempt(write_cr0, 1ull << 32 | READ_CR(0)), 13, "CR0 above bit 31 is #GP");
    equal(attempt(write_cr4, READ_CR(4) & ~0x20ull), 13, "no PAE in long mode is #GP");
    equal(attempt(write_cr4, READ_CR(4) | 1u << 31), 13, "reserved bit of CR4 is #GP");
    equal(attempt(write_cr3, 1ull << 60), 13, "reserved bit of CR3 is #GP");
    equal(attempt(read_msr, 0x12345678), 13, "unknown MSR is #GP");
    equal(attempt(efer_without_lme, 0), 13, "EFER.LME off in long mode is #GP");

    selectors();
    floating_point();

    equal(run_user(user_hlt, 0, 0), 13, "HLT in ring 3 is #GP");
    equal(trap.cs, 0x2b, "... from ring 3");
    equal(run_user(user_cli, 0, 0), 13, "CLI in ring 3 is #GP");
    equal(run_user(user_cli, 0, 0x3000) == 13, false, "CLI in ring 3 with IOPL 3");
    equal(run_user(user_read, (uint64_t)&watched, 0), 14, "kernel data from ring 3 is #PF");
    equal(trap.error, 5, "... error code 5");
    equal(run_user(user_read, (uint64_t)user_stack, 0), 0x80, "user data from ring 3");
    equal(run_user(user_int, 0, 0), 13, "INT to a kernel's gate is #GP");
    equal(trap.error, 0x20 * 8 + 2, "... with the gate");
    equal(run_user(user_out, 0, 0), 13, "OUT in ring 3 is #GP");
    equal(run_user(user_out, 0, 0x3000), 0x80, "OUT in ring 3 with IOPL 3");

    single_step();
    hardware_breakpoints();
    done();
}
