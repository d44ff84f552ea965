/*
 * System instructions: control registers, MSRs, flags, segment loads, far calls, system calls,
 * ports, the XSAVE family against the host's own.
 */
#include <cpuid.h>

#include "cpu/x86/segment.h"
#include "cpu/x86/system.h"
#include "cpu/x86/xsave.h"
#include "x86-harness.h"

enum { GDT = 0x1000, LDT = 0x1800, TSS = 0x3000, STACK0 = 0x8000, STACK3 = 0xa000, AREA = 0x20000 };

static void set_level(unsigned cpl)
{
    X86State *s = harness.s;
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        s->seg[i] = (X86Segment){ .limit = 0xffffffffu,
                                  .access = 0xc093 | cpl << 5,
                                  .selector = (cpl ? 0x20 : 0x10) | cpl };
    }
    s->seg[X86_CS].access = 0xc09b | cpl << 5;
    s->seg[X86_CS].selector = (cpl ? 0x18 : 0x08) | cpl;
    s->gpr[X86_RSP] = cpl ? STACK3 : STACK0;
    x86_update_mode(harness.cpu);
}

/* 08 code, 10 data, 18 and 20 those of ring 3, 28 TSS, 30 call gate, 38 expand-down, 40 code that
 * can't be read, 48 conforming, 50 absent data, 58 LDT, 60 data of ring 1 */
static void start(unsigned cpl)
{
    harness_start();
    X86State *s = harness.s;
    harness_descriptor(GDT, 1, 0, 0xfffff, 0x9b, 0xc);
    harness_descriptor(GDT, 2, 0, 0xfffff, 0x93, 0xc);
    harness_descriptor(GDT, 3, 0, 0xfffff, 0xfb, 0xc);
    harness_descriptor(GDT, 4, 0, 0xfffff, 0xf3, 0xc);
    harness_descriptor(GDT, 5, TSS, 0x80, 0x89, 0);
    harness_descriptor(GDT, 7, 0, 0xfff, 0x96, 0x4);
    harness_descriptor(GDT, 8, 0, 0xfffff, 0x99, 0xc);
    harness_descriptor(GDT, 9, 0, 0xfffff, 0x9f, 0xc);
    harness_descriptor(GDT, 10, 0, 0xfffff, 0x13, 0xc);
    harness_descriptor(GDT, 11, LDT, 0x1f, 0x82, 0);
    harness_descriptor(GDT, 12, 0, 0xfffff, 0xb3, 0xc);
    harness_descriptor(LDT, 1, 0x5000, 0x10, 0xf2, 0x4);
    s->gdtr = (X86TableRegister){ .base = GDT, .limit = 0x6f };
    s->tr = (X86Segment){ .base = TSS, .limit = 0x80, .access = 0x8b, .selector = 0x28 };
    s->ldtr = (X86Segment){ .unusable = true };
    harness_put(TSS + 4, STACK0, 4);
    harness_put(TSS + 8, 0x10, 4);
    s->cr0 = X86_CR0_PE;
    set_level(cpl);
}

/* --- Segment registers --- */

static void test_load_segment(void)
{
    start(0);
    X86Cpu *cpu = harness.cpu;
    static const struct {
        uint16_t selector;
        int data, stack; /* vectors; -1: fine */
    } rows[] = {
        { 0x00, -1, X86_EXC_GP },         { 0x10, -1, -1 },
        { 0x11, X86_EXC_GP, X86_EXC_GP }, { 0x08, -1, X86_EXC_GP },
        { 0x28, X86_EXC_GP, X86_EXC_GP }, { 0x38, -1, -1 },
        { 0x40, X86_EXC_GP, X86_EXC_GP }, { 0x48, -1, X86_EXC_GP },
        { 0x50, X86_EXC_NP, X86_EXC_SS }, { 0x70, X86_EXC_GP, X86_EXC_GP },
        { 0x14, X86_EXC_GP, X86_EXC_GP }, { 0x23, -1, X86_EXC_GP },
        { 0x60, -1, X86_EXC_GP },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        uint16_t sel = rows[i].selector;
        if (rows[i].data < 0) {
            ASSERT_RUNS(x86_load_segment(cpu, X86_DS, sel));
            g_assert_cmphex(harness.s->seg[X86_DS].selector, ==, sel);
        } else {
            ASSERT_RAISES(rows[i].data, sel & 0xfffc, x86_load_segment(cpu, X86_DS, sel));
        }
        if (rows[i].stack < 0) {
            ASSERT_RUNS(x86_load_segment(cpu, X86_SS, sel));
            g_assert_cmpuint(harness.s->interrupt_shadow, ==, 2);
        } else {
            ASSERT_RAISES(rows[i].stack, sel & 0xfffc, x86_load_segment(cpu, X86_SS, sel));
        }
    }
    harness_stop();
}

static void test_privilege_of_data(void)
{
    start(3);
    X86Cpu *cpu = harness.cpu;
    ASSERT_RAISES(X86_EXC_GP, 0x10, x86_load_segment(cpu, X86_DS, 0x10));
    ASSERT_RUNS(x86_load_segment(cpu, X86_DS, 0x20));
    ASSERT_RUNS(x86_load_segment(cpu, X86_ES, 0x48)); /* conforming: no check */
    ASSERT_RUNS(x86_load_segment(cpu, X86_ES, 0));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_linear_address(cpu, X86_ES, 0, 1, 0));
    harness_stop();
}

static void test_limits(void)
{
    start(0);
    X86Cpu *cpu = harness.cpu;
    ASSERT_RUNS(x86_lldt(cpu, 0x58));
    ASSERT_RUNS(x86_load_segment(cpu, X86_DS, 0x0c));
    g_assert_cmphex(harness.s->seg[X86_DS].base, ==, 0x5000);
    uint64_t linear = 0;
    ASSERT_RUNS(linear = x86_linear_address(cpu, X86_DS, 0x0d, 4, X86_ACCESS_WRITE));
    g_assert_cmphex(linear, ==, 0x500d);
    ASSERT_RAISES(X86_EXC_GP, 0, x86_linear_address(cpu, X86_DS, 0x0e, 4, 0));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_linear_address(cpu, X86_DS, 0xffffffff, 4, 0));
    /* expand-down: above the limit is inside */
    ASSERT_RUNS(x86_load_segment(cpu, X86_SS, 0x38));
    ASSERT_RAISES(X86_EXC_SS, 0, x86_linear_address(cpu, X86_SS, 0xfff, 1, 0));
    ASSERT_RUNS(x86_linear_address(cpu, X86_SS, 0x1000, 4, 0));
    /* code can't be written, and here not be read */
    ASSERT_RUNS(x86_load_segment(cpu, X86_DS, 0x08));
    ASSERT_RUNS(x86_linear_address(cpu, X86_DS, 0, 1, 0));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_linear_address(cpu, X86_DS, 0, 1, X86_ACCESS_WRITE));
    harness_stop();
}

static void test_descriptor_queries(void)
{
    start(3);
    X86Cpu *cpu = harness.cpu;
    uint32_t v = 0;
    ASSERT_RUNS(x86_lar(cpu, 0x20, &v));
    g_assert_cmphex(v, ==, 0x00c0f300);
    g_assert_true(harness.s->rflags & X86_ZF);
    g_assert_false(x86_lar(cpu, 0x10, &v)); /* ring 0's */
    g_assert_false(harness.s->rflags & X86_ZF);
    g_assert_true(x86_lsl(cpu, 0x20, &v));
    g_assert_cmphex(v, ==, 0xffffffff);
    g_assert_true(x86_verr(cpu, 0x20) && x86_verw(cpu, 0x20));
    g_assert_true(x86_verr(cpu, 0x48) && !x86_verw(cpu, 0x48));
    g_assert_false(x86_verr(cpu, 0x28));
    g_assert_cmphex(x86_arpl(cpu, 0x10, 0x23), ==, 0x13);
    g_assert_true(harness.s->rflags & X86_ZF);
    g_assert_cmphex(x86_arpl(cpu, 0x13, 0x20), ==, 0x13);
    g_assert_false(harness.s->rflags & X86_ZF);
    harness.s->cr0 = 0;
    x86_update_mode(cpu);
    ASSERT_RAISES(X86_EXC_UD, 0, x86_verr(cpu, 0x20));
    harness_stop();
}

static void test_call_gate(void)
{
    start(3);
    X86Cpu *cpu = harness.cpu;
    X86State *s = harness.s;
    /* to 08:5000 with two parameters, for ring 3 */
    harness_put(GDT + 0x30, UINT64_C(0x0000ec0200085000), 8);
    s->gpr[X86_RSP] = STACK3 - 8;
    harness_put(STACK3 - 8, 0x11111111, 4);
    harness_put(STACK3 - 4, 0x22222222, 4);
    ASSERT_RUNS(x86_far_call(cpu, 0x33, 0xdead, 4, 0x1237));
    g_assert_cmphex(s->rip, ==, 0x5000);
    g_assert_cmpuint(x86_cpl(s), ==, 0);
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK0 - 24);
    static const uint32_t frame[] = { 0x1237, 0x1b, 0x11111111, 0x22222222, STACK3 - 8, 0x23 };
    for (unsigned i = 0; i < ARRAY_LEN(frame); i++) {
        g_assert_cmphex(harness_get(STACK0 - 24 + 4 * i, 4), ==, frame[i]);
    }
    ASSERT_RUNS(x86_far_ret(cpu, 4, 8));
    g_assert_cmpuint(x86_cpl(s), ==, 3);
    g_assert_cmphex(s->rip, ==, 0x1237);
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK3); /* parameters released here too */
    /* a jump may not change the ring */
    ASSERT_RAISES(X86_EXC_GP, 0x08, x86_far_jmp(cpu, 0x33, 0, 4, 0));
    /* the gate's own privilege */
    harness_put(GDT + 0x30, UINT64_C(0x00008c0200085000), 8);
    ASSERT_RAISES(X86_EXC_GP, 0x30, x86_far_call(cpu, 0x33, 0, 4, 0));
    harness_stop();
}

static void test_far_errors(void)
{
    start(0);
    X86Cpu *cpu = harness.cpu;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_far_jmp(cpu, 0, 0, 4, 0));
    ASSERT_RAISES(X86_EXC_GP, 0x70, x86_far_jmp(cpu, 0x70, 0, 4, 0));
    ASSERT_RAISES(X86_EXC_GP, 0x10, x86_far_jmp(cpu, 0x10, 0, 4, 0));
    ASSERT_RAISES(X86_EXC_GP, 0x18, x86_far_jmp(cpu, 0x1b, 0, 4, 0));
    ASSERT_RUNS(x86_far_jmp(cpu, 0x48, 0x777, 4, 0));
    g_assert_cmphex(harness.s->seg[X86_CS].selector, ==, 0x48);
    /* a call that can't push leaves CS alone */
    harness.s->seg[X86_SS].limit = 0x10;
    ASSERT_RAISES(X86_EXC_SS, 0, x86_far_call(cpu, 0x08, 0, 4, 0));
    g_assert_cmphex(harness.s->seg[X86_CS].selector, ==, 0x48);
    harness_stop();
}

/* --- Control registers --- */

static void test_control_registers(void)
{
    start(0);
    X86Cpu *cpu = harness.cpu;
    X86State *s = harness.s;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_write_cr(cpu, 0, X86_CR0_PG));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_write_cr(cpu, 0, X86_CR0_PE | X86_CR0_NW));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_write_cr(cpu, 4, X86_CR4_PCIDE));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_write_cr(cpu, 4, 1u << 31));
    ASSERT_RAISES(X86_EXC_UD, 0, x86_read_cr(cpu, 1));
    /* long mode: LME, PAE, PG; then the ways that are closed */
    ASSERT_RUNS(x86_write_cr(cpu, 4, X86_CR4_PAE));
    g_assert_true(x86_msr_set(cpu, 0xc0000080, X86_EFER_LME | X86_EFER_NXE));
    ASSERT_RUNS(x86_write_cr(cpu, 0, X86_CR0_PE | X86_CR0_PG));
    g_assert_true(s->efer & X86_EFER_LMA);
    g_assert_true(s->mode & X86_MODE_LMA);
    ASSERT_RAISES(X86_EXC_GP, 0, x86_write_cr(cpu, 4, 0));
    g_assert_false(x86_msr_set(cpu, 0xc0000080, 0));
    s->cr3 = 0x5003;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_write_cr(cpu, 4, X86_CR4_PAE | X86_CR4_PCIDE));
    s->cr3 = 0x5000;
    ASSERT_RUNS(x86_write_cr(cpu, 4, X86_CR4_PAE | X86_CR4_PCIDE));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_write_cr(cpu, 0, X86_CR0_PE));
    /* CR3: PCID loads flush one context, bit 63 none */
    harness.flushes_pcid = harness.flushes_all = 0;
    ASSERT_RUNS(x86_write_cr(cpu, 3, 0x6001));
    g_assert_cmpuint(harness.flushes_pcid, ==, 1);
    ASSERT_RUNS(x86_write_cr(cpu, 3, UINT64_C(1) << 63 | 0x7002));
    g_assert_cmpuint(harness.flushes_pcid + harness.flushes_all, ==, 1);
    g_assert_cmphex(s->cr3, ==, 0x7002);
    ASSERT_RAISES(X86_EXC_GP, 0, x86_write_cr(cpu, 3, UINT64_C(1) << 50));
    ASSERT_RUNS(x86_write_cr(cpu, 4, X86_CR4_PAE));
    ASSERT_RUNS(x86_write_cr(cpu, 0, X86_CR0_PE));
    g_assert_false(s->efer & X86_EFER_LMA);
    set_level(3);
    ASSERT_RAISES(X86_EXC_GP, 0, x86_read_cr(cpu, 0));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_clts(cpu));
    harness_stop();
}

static void test_machine_status(void)
{
    start(0);
    X86Cpu *cpu = harness.cpu;
    ASSERT_RUNS(x86_lmsw(cpu, 0xe));
    g_assert_cmphex(harness.s->cr0 & 0xf, ==, 0xf); /* PE stays */
    ASSERT_RUNS(x86_clts(cpu));
    g_assert_cmphex(x86_smsw(cpu) & 0xf, ==, 7);
    ASSERT_RUNS(x86_write_cr(cpu, 4, X86_CR4_UMIP));
    set_level(3);
    ASSERT_RAISES(X86_EXC_GP, 0, x86_smsw(cpu));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_str(cpu));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_sgdt(cpu, 0x4000, 4));
    harness_stop();
}

/* --- MSRs --- */

static void test_msrs(void)
{
    start(0);
    X86Cpu *cpu = harness.cpu;
    uint64_t v;
    static const struct {
        uint32_t index;
        uint64_t value;
        bool good;
    } rows[] = {
        { 0x277, UINT64_C(0x0007040600070406), true },
        { 0x277, 0x2, false },
        { 0x277, 0x0800, false },
        { 0xc0000082, UINT64_C(0xffff800000001000), true },
        { 0xc0000082, UINT64_C(0x1000000000000000), false },
        { 0xc0000084, 0x47700, true },
        { 0xc0000084, UINT64_C(1) << 32, false },
        { 0xc0000103, 5, true },
        { 0xc0000103, UINT64_C(1) << 33, false },
        { 0x2ff, 0xc06, true },
        { 0x2ff, 0xc02, false },
        { 0x2ff, 0x1000, false },
        { 0x200, 0xe0000006, true },
        { 0x201, UINT64_C(0xffe0000800), true },
        { 0x201, UINT64_C(1) << 60, false },
        { 0x200, 7, false },
        { 0x250, UINT64_C(0x0606060606060606), true },
        { 0x250, 0x03, false },
        { 0x3a, 1, false },
        { 0xfe, 0, false },
        { 0xc0000080, 1u << 31, false },
        { 0x400, 0, true },
        { 0x400, 1, false },
        { 0x401, 0, true },
        { 0x401, 1, false },
        { 0xda0, 1, false },
        { 0x12345, 0, false },
        { 0x175, UINT64_C(1) << 63, false },
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        g_assert_cmpint(x86_msr_set(cpu, rows[i].index, rows[i].value), ==, rows[i].good);
        if (rows[i].good) {
            g_assert_true(x86_msr_get(cpu, rows[i].index, &v));
            g_assert_cmphex(v, ==, rows[i].value);
        }
    }
    g_assert_true(x86_msr_get(cpu, 0xfe, &v));
    g_assert_cmphex(v & 0xff, ==, 8);
    /* without its feature a register isn't there */
    cpu->features[X86_CPUID_80000001_EDX] &= ~(1u << 27);
    g_assert_false(x86_msr_get(cpu, 0xc0000103, &v));
    harness.s->gpr[X86_RCX] = 0xc0000103;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_rdmsr(cpu));
    set_level(3);
    harness.s->gpr[X86_RCX] = 0x277;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_rdmsr(cpu));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_wrmsr(cpu));
    harness_stop();
}

static void test_tsc(void)
{
    start(0);
    X86Cpu *cpu = harness.cpu;
    uint64_t before, after;
    g_assert_true(x86_msr_set(cpu, 0x10, 1000000));
    before = x86_tsc_now(cpu);
    g_assert_cmpuint(before, >=, 1000000);
    uint64_t adjust;
    g_assert_true(x86_msr_get(cpu, 0x3b, &adjust));
    g_assert_true(x86_msr_set(cpu, 0x3b, adjust + (UINT64_C(1) << 40)));
    after = x86_tsc_now(cpu);
    g_assert_cmpuint(after - before, >=, UINT64_C(1) << 40);
    g_assert_cmpuint(after - before, <, (UINT64_C(1) << 40) + (UINT64_C(1) << 36));
    set_level(3);
    harness.s->cr4 |= X86_CR4_TSD;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_rdtsc(cpu));
    harness_stop();
}

/* --- Flags --- */

static void test_flags(void)
{
    start(3);
    X86Cpu *cpu = harness.cpu;
    X86State *s = harness.s;
    s->rflags = 0x202;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_cli(cpu));
    ASSERT_RUNS(x86_popf_image(cpu, 0x3fffff & ~X86_TF, 4));
    g_assert_cmphex(s->rflags & (X86_IF | X86_IOPL | X86_VM | X86_RF | X86_VIF), ==, X86_IF);
    g_assert_true(s->rflags & X86_NT);
    s->rflags = 0x202;
    ASSERT_RUNS(x86_popf_image(cpu, 0, 4));
    g_assert_true(s->rflags & X86_IF); /* not at IOPL 0 */
    s->rflags = 0x3202;
    ASSERT_RUNS(x86_popf_image(cpu, 0, 4));
    g_assert_cmphex(s->rflags, ==, 0x3002); /* IF, not IOPL */
    s->cr4 |= X86_CR4_PVI;
    s->rflags = 0x202;
    ASSERT_RUNS(x86_sti(cpu));
    g_assert_true(s->rflags & X86_VIF);
    s->rflags |= X86_VIP;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_sti(cpu));
    set_level(0);
    s->rflags = 2;
    ASSERT_RUNS(x86_sti(cpu));
    g_assert_cmpuint(s->interrupt_shadow, ==, 1);
    s->interrupt_shadow = 0;
    ASSERT_RUNS(x86_sti(cpu));
    g_assert_cmpuint(s->interrupt_shadow, ==, 0); /* was open already */
    harness_stop();
}

/* --- System calls --- */

static void test_sysenter(void)
{
    start(3);
    X86Cpu *cpu = harness.cpu;
    X86State *s = harness.s;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_sysenter(cpu));
    s->sysenter_cs = 0x08;
    s->sysenter_eip = 0x5000;
    s->sysenter_esp = 0x6000;
    ASSERT_RUNS(x86_sysenter(cpu));
    g_assert_cmphex(s->rip, ==, 0x5000);
    g_assert_cmphex(s->gpr[X86_RSP], ==, 0x6000);
    g_assert_cmpuint(x86_cpl(s), ==, 0);
    s->gpr[X86_RDX] = 0x7000;
    s->gpr[X86_RCX] = 0x7800;
    ASSERT_RUNS(x86_sysexit(cpu, 4));
    g_assert_cmphex(s->seg[X86_CS].selector, ==, 0x1b);
    g_assert_cmphex(s->seg[X86_SS].selector, ==, 0x23);
    g_assert_cmpuint(x86_cpl(s), ==, 3);
    ASSERT_RAISES(X86_EXC_GP, 0, x86_sysexit(cpu, 4));
    harness_stop();
}

/* --- Ports --- */

static void test_io_permission(void)
{
    start(3);
    X86Cpu *cpu = harness.cpu;
    X86State *s = harness.s;
    harness_put(TSS + 0x66, 0x68, 2);
    for (unsigned i = 0; i < 0x19; i++) {
        harness_put(TSS + 0x68 + i, 0xff, 1);
    }
    harness_put(TSS + 0x68, 0xfe, 1);     /* port 0 */
    harness_put(TSS + 0x68 + 1, 0x7f, 1); /* port 15 */
    harness_put(TSS + 0x68 + 2, 0xfe, 1); /* port 16 */
    ASSERT_RUNS(x86_check_io(cpu, 0, 1));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_check_io(cpu, 0, 2));
    ASSERT_RUNS(x86_check_io(cpu, 15, 2)); /* across bytes of the map */
    ASSERT_RAISES(X86_EXC_GP, 0, x86_check_io(cpu, 14, 2));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_check_io(cpu, 0x400, 1)); /* beyond the limit */
    s->rflags |= 3 << 12;
    x86_update_mode(cpu);
    ASSERT_RUNS(x86_check_io(cpu, 0x400, 1));
    harness_stop();
}

/* --- XSAVE: the host does the same with its own registers --- */

static bool host_has(unsigned bit)
{
    uint32_t a, b, c, d;
    return __get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a >> bit & 1);
}

static void host_xrstor(const void *area)
{
    __asm__ volatile("xrstor64 %0" ::"m"(*(const uint8_t(*)[X86_XSAVE_SIZE])area), "a"(7), "d"(0));
}

static void host_xsave(void *area, uint32_t mask, X86XsaveForm form)
{
    uint8_t(*a)[X86_XSAVE_SIZE] = area;
    if (form == X86_XSAVEC) {
        __asm__ volatile("xsavec64 %0" : "+m"(*a) : "a"(mask), "d"(0));
    } else {
        __asm__ volatile("xsave64 %0" : "+m"(*a) : "a"(mask), "d"(0));
    }
}

static void random_image(GRand *r, uint8_t *image, uint64_t components)
{
    memset(image, 0, X86_XSAVE_SIZE);
    for (unsigned i = 0; i < 832; i++) {
        image[i] = (uint8_t)g_rand_int(r);
    }
    memset(image + 512, 0, 64);
    st64_le(image + 512, components);
    st16_le(image, 0x37f);
    st16_le(image + 2, 0);
    image[5] = 0;
    st16_le(image + 6, 0);    /* FOP */
    memset(image + 8, 0, 16); /* pointers: AMD keeps them only with an exception */
    st32_le(image + 24, 0x1f80 | (g_rand_int(r) & 0x6000));
    memset(image + 416, 0, 96);
    for (unsigned i = 0; i < 8; i++) {
        memset(image + 32 + 16 * i + 10, 0, 6);
    }
}

static void test_xsave_like_host(void)
{
    GRand *r = g_rand_new_with_seed(13);
    start(0);
    X86Cpu *cpu = harness.cpu;
    X86State *s = harness.s;
    uint8_t keep[X86_XSAVE_SIZE] __attribute__((aligned(64))) = { 0 };
    uint8_t native[X86_XSAVE_SIZE] __attribute__((aligned(64)));
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(0xd, 0, &a, &b, &c, &d) || (a & 7) != 7) {
        g_test_skip("the host has no AVX state");
        goto out;
    }
    s->cr4 = X86_CR4_OSXSAVE | X86_CR4_OSFXSR;
    s->cr0 = X86_CR0_PE;
    s->xcr0 = 7;
    s->seg[X86_CS].access = X86_SEG_L | 0x9b;
    s->efer = X86_EFER_LMA;
    x86_update_mode(cpu);
    host_xsave(keep, 7, X86_XSAVE);
    for (volatile unsigned i = 0; i < 200; i++) {
        uint32_t mask = 1 + g_rand_int(r) % 7, used = g_rand_int(r) & 7;
        volatile X86XsaveForm form = (i & 1) && host_has(1) ? X86_XSAVEC : X86_XSAVE;
        random_image(r, s->xsave, used);
        memset(native, 0x55, sizeof(native));
        memset(native + 512, 0, 64);
        memcpy(harness.mem + AREA, native, sizeof(native));
        host_xrstor(s->xsave);
        host_xsave(native, mask, form);
        host_xrstor(keep);
        /* what the CPU tracks as used is its own affair; compare with what it said */
        uint64_t host_used = ld64_le(native + 512);
        ASSERT_RUNS(x86_xsave(cpu, AREA, mask, form, true));
        uint64_t ours = harness_get(AREA + 512, 8);
        g_assert_cmphex(ours & ~host_used & mask & ~used, ==, 0);
        if (ours == host_used) {
            g_assert_cmpmem(harness.mem + AREA, 464, native, 464);
            g_assert_cmpmem(harness.mem + AREA + 512, 320, native + 512, 320);
        }
        /* and back */
        uint8_t want[X86_XSAVE_SIZE];
        memcpy(want, s->xsave, sizeof(want));
        ASSERT_RUNS(x86_xrstor(cpu, AREA, mask, false, true));
        unsigned moved = used & mask;
        g_assert_cmpmem(s->xsave + 160, moved & 2 ? 256 : 0, want + 160, moved & 2 ? 256 : 0);
        g_assert_cmpmem(s->xsave + 576, moved & 4 ? 256 : 0, want + 576, moved & 4 ? 256 : 0);
        g_assert_cmpmem(s->xsave + 32, moved & 1 ? 128 : 0, want + 32, moved & 1 ? 128 : 0);
    }
out:
    harness_stop();
    g_rand_free(r);
}

static void test_xsave_errors(void)
{
    start(0);
    X86Cpu *cpu = harness.cpu;
    X86State *s = harness.s;
    ASSERT_RAISES(X86_EXC_UD, 0, x86_xsave(cpu, AREA, 3, X86_XSAVE, false));
    s->cr4 = X86_CR4_OSXSAVE;
    s->xcr0 = 3;
    ASSERT_RAISES(X86_EXC_GP, 0, x86_xsave(cpu, AREA + 8, 3, X86_XSAVE, false));
    s->cr0 |= X86_CR0_TS;
    ASSERT_RAISES(X86_EXC_NM, 0, x86_xsave(cpu, AREA, 3, X86_XSAVE, false));
    s->cr0 &= ~(uint64_t)X86_CR0_TS;
    ASSERT_RUNS(x86_xsave(cpu, AREA, 3, X86_XSAVE, false));
    harness_put(AREA + 512, 4, 8); /* a component that XCR0 doesn't have */
    ASSERT_RAISES(X86_EXC_GP, 0, x86_xrstor(cpu, AREA, 3, false, false));
    harness_put(AREA + 512, 3, 8);
    harness_put(AREA + 24, 0xffffffff, 4); /* MXCSR */
    ASSERT_RAISES(X86_EXC_GP, 0, x86_xrstor(cpu, AREA, 3, false, false));
    harness_put(AREA + 24, 0x1f80, 4);
    harness_put(AREA + 528, 1, 8); /* reserved in the header */
    ASSERT_RAISES(X86_EXC_GP, 0, x86_xrstor(cpu, AREA, 3, false, false));
    /* XCR0's rules */
    s->gpr[X86_RCX] = 0;
    s->gpr[X86_RDX] = 0;
    static const uint8_t bad[] = { 0, 2, 5, 0x27, 0x47 };
    for (volatile unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        s->gpr[X86_RAX] = bad[i];
        ASSERT_RAISES(X86_EXC_GP, 0, x86_xsetbv(cpu));
    }
    s->gpr[X86_RAX] = 3;
    ASSERT_RUNS(x86_xsetbv(cpu));
    harness_stop();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86/system/load-segment", test_load_segment);
    g_test_add_func("/x86/system/data-privilege", test_privilege_of_data);
    g_test_add_func("/x86/system/limits", test_limits);
    g_test_add_func("/x86/system/queries", test_descriptor_queries);
    g_test_add_func("/x86/system/call-gate", test_call_gate);
    g_test_add_func("/x86/system/far-errors", test_far_errors);
    g_test_add_func("/x86/system/control", test_control_registers);
    g_test_add_func("/x86/system/machine-status", test_machine_status);
    g_test_add_func("/x86/system/msrs", test_msrs);
    g_test_add_func("/x86/system/tsc", test_tsc);
    g_test_add_func("/x86/system/flags", test_flags);
    g_test_add_func("/x86/system/sysenter", test_sysenter);
    g_test_add_func("/x86/system/io-permission", test_io_permission);
    g_test_add_func("/x86/system/xsave", test_xsave_like_host);
    g_test_add_func("/x86/system/xsave-errors", test_xsave_errors);
    return harness_run();
}
