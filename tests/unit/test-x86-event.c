/*
 * Exceptions and interrupts: the frames in every mode, error codes, what becomes of faults during
 * delivery, debug events. SDM volume 3 chapters 6 and 17.
 */
#include "cpu/x86/segment.h"
#include "cpu/x86/system.h"
#include "x86-harness.h"

/* Where things lie in RAM. */
enum {
    GDT = 0x1000,
    IDT = 0x2000,
    TSS = 0x3000,
    STACK0 = 0x8000, /* top of the ring-0 stack */
    STACK3 = 0xa000,
    IST1 = 0xc000,
    TABLES = 0x10000,
};

/* Selectors in GDT. */
enum {
    CODE0 = 0x08,
    DATA0 = 0x10,
    CODE3 = 0x18 | 3,
    DATA3 = 0x20 | 3,
    TSS_SEL = 0x28,
    TSS2_SEL = 0x38,
    CODE16 = 0x40,
    CONFORMING = 0x48,
    ABSENT = 0x50,
};

static void set_segment(unsigned seg, uint16_t selector, unsigned access, unsigned flags)
{
    harness.s->seg[seg] =
        (X86Segment){ .limit = 0xffffffffu, .access = access | flags << 12, .selector = selector };
}

static void make_gdt(bool long_mode)
{
    unsigned code_flags = long_mode ? 0xa : 0xc; /* G, L or D */
    harness_descriptor(GDT, CODE0 / 8, 0, 0xfffff, 0x9b, code_flags);
    harness_descriptor(GDT, DATA0 / 8, 0, 0xfffff, 0x93, 0xc);
    harness_descriptor(GDT, CODE3 / 8, 0, 0xfffff, 0xfb, code_flags);
    harness_descriptor(GDT, DATA3 / 8, 0, 0xfffff, 0xf3, 0xc);
    harness_descriptor(GDT, TSS_SEL / 8, TSS, 0x67, 0x8b, 0);
    harness_put(GDT + TSS_SEL + 8, 0, 8);
    harness_descriptor(GDT, TSS2_SEL / 8, TSS + 0x100, 0x67, 0x89, 0);
    harness_descriptor(GDT, CODE16 / 8, 0, 0xffff, 0x9b, 0);
    harness_descriptor(GDT, CONFORMING / 8, 0, 0xfffff, 0x9f, code_flags);
    harness_descriptor(GDT, ABSENT / 8, 0, 0xfffff, 0x1b, code_flags);
    harness.s->gdtr = (X86TableRegister){ .base = GDT, .limit = 0xff };
    harness.s->idtr = (X86TableRegister){ .base = IDT, .limit = 0x1fff };
    harness.s->tr = (X86Segment){ .base = TSS, .limit = 0x67, .access = 0x8b, .selector = TSS_SEL };
}

static void enter_level(unsigned cpl, bool long_mode)
{
    X86State *s = harness.s;
    set_segment(X86_CS, cpl ? CODE3 : CODE0, cpl ? 0xfb : 0x9b, long_mode ? 0xa : 0xc);
    set_segment(X86_SS, cpl ? DATA3 : DATA0, cpl ? 0xf3 : 0x93, 0xc);
    for (unsigned i = X86_DS; i <= X86_GS; i++) {
        set_segment(i, cpl ? DATA3 : DATA0, cpl ? 0xf3 : 0x93, 0xc);
    }
    set_segment(X86_ES, cpl ? DATA3 : DATA0, cpl ? 0xf3 : 0x93, 0xc);
    s->gpr[X86_RSP] = cpl ? STACK3 : STACK0;
    s->rip = 0x1234;
    s->rflags = 0x202;
    x86_update_mode(harness.cpu);
}

static void start_protected(unsigned cpl)
{
    harness_start();
    X86State *s = harness.s;
    make_gdt(false);
    s->cr0 = X86_CR0_PE;
    harness_put(TSS + 4, STACK0, 4);
    harness_put(TSS + 8, DATA0, 4);
    enter_level(cpl, false);
}

/* 2 MiB pages, identity. */
static void start_long(unsigned cpl)
{
    harness_start();
    X86State *s = harness.s;
    make_gdt(true);
    harness_put(TABLES, (TABLES + 0x1000) | 7, 8);
    harness_put(TABLES + 0x1000, (TABLES + 0x2000) | 7, 8);
    for (unsigned i = 0; i < 8; i++) {
        harness_put(TABLES + 0x2000 + 8 * i, (uint64_t)i << 21 | 0xe7, 8);
    }
    s->cr0 = X86_CR0_PE | X86_CR0_PG;
    s->cr4 = X86_CR4_PAE;
    s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE;
    s->cr3 = TABLES;
    harness_put(TSS + 4, STACK0, 8);
    harness_put(TSS + 0x24, IST1, 8);
    enter_level(cpl, true);
}

/* type: 14 interrupt, 15 trap, 6 and 7 their 16-bit forms, 5 task. */
static void gate(unsigned vector, uint16_t selector, uint32_t offset, unsigned type, unsigned dpl)
{
    uint64_t g = (offset & 0xffff) | (uint64_t)selector << 16 |
                 (uint64_t)(0x80 | dpl << 5 | type) << 40 | (uint64_t)(offset >> 16) << 48;
    harness_put(IDT + 8 * vector, g, 8);
}

static void gate64(unsigned vector, uint16_t selector, uint64_t offset, unsigned type, unsigned dpl,
                   unsigned ist)
{
    uint64_t g = (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)ist << 32 |
                 (uint64_t)(0x80 | dpl << 5 | type) << 40 | (offset >> 16 & 0xffff) << 48;
    harness_put(IDT + 16 * vector, g, 8);
    harness_put(IDT + 16 * vector + 8, offset >> 32, 8);
}

static void raise_and_deliver(unsigned vector, bool has_error, uint32_t error)
{
    x86_record_exception(harness.cpu, vector, has_error, error);
    ASSERT_RUNS(harness.s->exception_pending = (int)vector, x86_deliver_pending(harness.cpu));
}

/* --- Frames --- */

static void test_real(void)
{
    harness_start();
    X86State *s = harness.s;
    s->idtr = (X86TableRegister){ .base = 0, .limit = 0x3ff };
    harness_put(0x21 * 4, 0x12345678, 4);
    s->seg[X86_SS].base = 0x5000;
    s->gpr[X86_RSP] = 0xffff0100;
    s->rflags = 0x302;
    s->rip = 0x11;
    x86_update_mode(harness.cpu);
    ASSERT_RUNS(x86_int_n(harness.cpu, 0x21, 0x13));
    g_assert_cmphex(s->rip, ==, 0x5678);
    g_assert_cmphex(s->seg[X86_CS].selector, ==, 0x1234);
    g_assert_cmphex(s->seg[X86_CS].base, ==, 0x12340);
    g_assert_cmphex(s->gpr[X86_RSP], ==, 0xffff00fa); /* only SP moves */
    g_assert_cmphex(harness_get(0x50fa, 2), ==, 0x13);
    g_assert_cmphex(harness_get(0x50fc, 2), ==, 0xf000);
    g_assert_cmphex(harness_get(0x50fe, 2), ==, 0x302);
    g_assert_cmphex(s->rflags, ==, 2);
    ASSERT_RUNS(x86_iret(harness.cpu, 2, 0));
    g_assert_cmphex(s->rip, ==, 0x13);
    g_assert_cmphex(s->rflags, ==, 0x302);
    g_assert_cmphex(s->gpr[X86_RSP], ==, 0xffff0100);
    harness_stop();
}

static void test_protected_same_level(void)
{
    start_protected(0);
    X86State *s = harness.s;
    gate(13, CODE0, 0x5000, 14, 0);
    raise_and_deliver(X86_EXC_GP, true, 0x48);
    g_assert_cmphex(s->rip, ==, 0x5000);
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK0 - 16);
    g_assert_cmphex(harness_get(STACK0 - 16, 4), ==, 0x48);
    g_assert_cmphex(harness_get(STACK0 - 12, 4), ==, 0x1234);
    g_assert_cmphex(harness_get(STACK0 - 8, 4), ==, CODE0);
    g_assert_cmphex(harness_get(STACK0 - 4, 4), ==, 0x10202); /* RF in a fault's frame */
    g_assert_cmphex(s->rflags, ==, 2);
    harness_stop();
}

static void test_protected_inner(void)
{
    start_protected(3);
    X86State *s = harness.s;
    gate(0x80, CODE0, 0x6000, 15, 3);
    ASSERT_RUNS(x86_int_n(harness.cpu, 0x80, 0x1236));
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK0 - 20);
    g_assert_cmphex(harness_get(STACK0 - 4, 4), ==, DATA3);
    g_assert_cmphex(harness_get(STACK0 - 8, 4), ==, STACK3);
    g_assert_cmphex(harness_get(STACK0 - 12, 4), ==, 0x202);
    g_assert_cmphex(harness_get(STACK0 - 20, 4), ==, 0x1236);
    g_assert_cmphex(s->seg[X86_SS].selector, ==, DATA0);
    g_assert_cmpuint(x86_cpl(s), ==, 0);
    g_assert_cmphex(s->rflags & X86_IF, ==, X86_IF); /* trap gate */
    set_segment(X86_DS, DATA0, 0x93, 0xc);
    ASSERT_RUNS(x86_iret(harness.cpu, 4, 0));
    g_assert_cmpuint(x86_cpl(s), ==, 3);
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK3);
    g_assert_cmphex(s->rip, ==, 0x1236);
    g_assert_cmphex(s->seg[X86_DS].selector, ==, 0); /* privileged data dropped */
    g_assert_cmphex(s->seg[X86_ES].selector, ==, DATA3);
    harness_stop();
}

static void test_gate_errors(void)
{
    start_protected(3);
    X86Cpu *cpu = harness.cpu;
    gate(0x80, CODE0, 0x6000, 15, 0);
    ASSERT_RAISES(X86_EXC_GP, 0x80 * 8 + 2, x86_int_n(cpu, 0x80, 0));
    gate(0x80, CODE0, 0x6000, 9, 3); /* not a gate */
    ASSERT_RAISES(X86_EXC_GP, 0x80 * 8 + 2, x86_int_n(cpu, 0x80, 0));
    gate(0x80, 0, 0x6000, 15, 3);
    ASSERT_RAISES(X86_EXC_GP, 0, x86_int_n(cpu, 0x80, 0));
    gate(0x80, DATA0, 0x6000, 15, 3);
    ASSERT_RAISES(X86_EXC_GP, DATA0, x86_int_n(cpu, 0x80, 0));
    gate(0x80, ABSENT, 0x6000, 15, 3);
    ASSERT_RAISES(X86_EXC_NP, ABSENT, x86_int_n(cpu, 0x80, 0));
    gate(0x80, CODE0, 0x6000, 15, 3);
    harness_put(IDT + 0x80 * 8 + 5, 0x6f, 1);
    ASSERT_RAISES(X86_EXC_NP, 0x80 * 8 + 2, x86_int_n(cpu, 0x80, 0));
    harness.s->idtr.limit = 0x80 * 8 + 6;
    ASSERT_RAISES(X86_EXC_GP, 0x80 * 8 + 2, x86_int_n(cpu, 0x80, 0));
    harness.s->idtr.limit = 0x7ff;
    /* an external event: EXT */
    ASSERT_RAISES(X86_EXC_NP, 0x80 * 8 + 3, x86_deliver_interrupt(cpu, 0x80, false));
    /* stacks in the TSS */
    gate(0x80, CODE0, 0x6000, 15, 3);
    harness_put(TSS + 8, 0, 4);
    ASSERT_RAISES(X86_EXC_TS, 0, x86_int_n(cpu, 0x80, 0));
    harness_put(TSS + 8, DATA3, 4);
    ASSERT_RAISES(X86_EXC_TS, DATA3 & ~3, x86_int_n(cpu, 0x80, 0));
    harness.s->tr.limit = 8;
    ASSERT_RAISES(X86_EXC_TS, TSS_SEL, x86_int_n(cpu, 0x80, 0));
    g_assert_cmphex(harness.s->rip, ==, 0x1234);
    g_assert_cmphex(harness.s->gpr[X86_RSP], ==, STACK3);
    harness_stop();
}

static void test_conforming(void)
{
    start_protected(3);
    gate(0x80, CONFORMING, 0x6000, 14, 3);
    ASSERT_RUNS(x86_int_n(harness.cpu, 0x80, 0x1236));
    g_assert_cmpuint(x86_cpl(harness.s), ==, 3);
    g_assert_cmphex(harness.s->gpr[X86_RSP], ==, STACK3 - 12);
    harness_stop();
}

static void test_gate16(void)
{
    start_protected(0);
    gate(0x20, CODE0, 0x15000, 6, 0);
    ASSERT_RUNS(x86_deliver_interrupt(harness.cpu, 0x20, false));
    g_assert_cmphex(harness.s->rip, ==, 0x5000);
    g_assert_cmphex(harness.s->gpr[X86_RSP], ==, STACK0 - 6);
    g_assert_cmphex(harness_get(STACK0 - 6, 2), ==, 0x1234);
    harness_stop();
}

static void test_long(void)
{
    start_long(3);
    X86State *s = harness.s;
    s->gpr[X86_RSP] = STACK3 - 4;
    gate64(14, CODE0, UINT64_C(0xffff800000001000), 14, 0, 0);
    raise_and_deliver(X86_EXC_PF, true, 6);
    g_assert_cmphex(s->rip, ==, UINT64_C(0xffff800000001000));
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK0 - 48);
    static const uint64_t frame[] = { 6, 0x1234, CODE3, 0x10202, STACK3 - 4, DATA3 };
    for (unsigned i = 0; i < ARRAY_LEN(frame); i++) {
        g_assert_cmphex(harness_get(STACK0 - 48 + 8 * i, 8), ==, frame[i]);
    }
    g_assert_cmphex(s->seg[X86_SS].selector, ==, 0);
    g_assert_true(s->seg[X86_SS].unusable);
    s->gpr[X86_RSP] += 8;
    ASSERT_RUNS(x86_iret(harness.cpu, 8, 0));
    g_assert_cmphex(s->rip, ==, 0x1234);
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK3 - 4);
    g_assert_cmpuint(x86_cpl(s), ==, 3);
    harness_stop();
}

static void test_ist_and_alignment(void)
{
    start_long(0);
    X86State *s = harness.s;
    s->gpr[X86_RSP] = STACK0 - 3;
    gate64(2, CODE0, 0x7000, 14, 0, 1);
    ASSERT_RUNS(x86_deliver_interrupt(harness.cpu, 2, true));
    g_assert_cmphex(s->gpr[X86_RSP], ==, IST1 - 40);
    g_assert_cmphex(s->seg[X86_SS].selector, ==, DATA0); /* same level: SS stays */
    g_assert_true(s->nmi_blocked);
    ASSERT_RUNS(x86_iret(harness.cpu, 8, 0));
    g_assert_false(s->nmi_blocked);
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK0 - 3);
    gate64(3, CODE0, 0x7000, 14, 0, 0);
    ASSERT_RUNS(x86_int3(harness.cpu, 0x1235));
    g_assert_cmphex(s->gpr[X86_RSP], ==, ((STACK0 - 3) & ~15) - 40);
    harness_stop();
}

static void test_long_errors(void)
{
    start_long(3);
    X86Cpu *cpu = harness.cpu;
    gate64(0x80, CODE0, 0x7000, 5, 3, 0); /* no task gates */
    ASSERT_RAISES(X86_EXC_GP, 0x802 - 0x400, x86_int_n(cpu, 0x80, 0));
    gate64(0x80, CODE16, 0x7000, 14, 3, 0); /* not 64-bit code */
    ASSERT_RAISES(X86_EXC_GP, CODE16, x86_int_n(cpu, 0x80, 0));
    gate64(0x80, CODE0, 0x7000, 14, 3, 0);
    harness_put(TSS + 4, UINT64_C(0x8000000000000000), 8);
    ASSERT_RAISES(X86_EXC_SS, 0, x86_int_n(cpu, 0x80, 0));
    harness_stop();
}

/* --- Virtual-8086 mode --- */

static void start_v86(unsigned iopl)
{
    start_protected(3);
    X86State *s = harness.s;
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        s->seg[i] = (X86Segment){
            .base = 0x1000 * i, .limit = 0xffff, .access = 0xf3, .selector = 0x100 * i
        };
    }
    s->rflags = 0x202 | X86_VM | iopl << 12;
    s->gpr[X86_RSP] = 0x400;
    x86_update_mode(harness.cpu);
}

static void test_v86_to_monitor_and_back(void)
{
    start_v86(3);
    X86State *s = harness.s;
    gate(13, CODE0, 0x5000, 14, 0);
    raise_and_deliver(X86_EXC_GP, true, 0);
    g_assert_cmpuint(x86_cpl(s), ==, 0);
    g_assert_false(s->mode & X86_MODE_VM86);
    /* error, EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS */
    static const uint32_t frame[] = { 0,     0x1234, 0x100, 0x33202 | X86_RF, 0x400, 0x200, 0,
                                      0x300, 0x400,  0x500 };
    for (unsigned i = 0; i < ARRAY_LEN(frame); i++) {
        g_assert_cmphex(harness_get(STACK0 - 40 + 4 * i, 4), ==, frame[i]);
    }
    g_assert_true(s->seg[X86_DS].unusable);
    s->gpr[X86_RSP] += 4;
    ASSERT_RUNS(x86_iret(harness.cpu, 4, 0));
    g_assert_true(s->mode & X86_MODE_VM86);
    g_assert_cmphex(s->seg[X86_FS].base, ==, 0x4000);
    g_assert_cmphex(s->gpr[X86_RSP], ==, 0x400);
    harness_stop();
}

static void test_v86_iopl(void)
{
    start_v86(0);
    X86Cpu *cpu = harness.cpu;
    gate(0x21, CODE0, 0x5000, 14, 3);
    ASSERT_RAISES(X86_EXC_GP, 0, x86_int_n(cpu, 0x21, 0));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_cli(cpu));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_sti(cpu));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_pushf_image(cpu, 4));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_popf_image(cpu, 2, 4));
    ASSERT_RAISES(X86_EXC_GP, 0, x86_iret(cpu, 2, 0));
    ASSERT_RAISES(X86_EXC_UD, 0, x86_sldt(cpu));
    /* INT3 isn't subject to IOPL */
    gate(3, CODE0, 0x5000, 14, 3);
    ASSERT_RUNS(x86_int3(cpu, 0x1235));
    g_assert_cmphex(harness.s->rip, ==, 0x5000);
    harness_stop();
}

static void test_v86_extensions(void)
{
    start_v86(0);
    X86State *s = harness.s;
    s->cr4 = X86_CR4_VME;
    s->tr.limit = 0x200;
    harness_put(TSS + 0x66, 0x88, 2); /* redirection bitmap at 0x68: all zero */
    harness_put(0x21 * 4, 0x02000040, 4);
    s->rflags |= X86_VIF;
    ASSERT_RUNS(x86_int_n(harness.cpu, 0x21, 0x1236));
    g_assert_true(s->mode & X86_MODE_VM86);
    g_assert_cmphex(s->seg[X86_CS].selector, ==, 0x200);
    g_assert_cmphex(s->rip, ==, 0x40);
    g_assert_false(s->rflags & X86_VIF);
    g_assert_cmphex(harness_get(0x2400 - 2, 2), ==, 0x3202); /* VIF shown as IF, IOPL 3 */
    ASSERT_RUNS(x86_iret(harness.cpu, 2, 0));
    g_assert_true(s->rflags & X86_VIF);
    harness_stop();
}

/* --- Faults during delivery: SDM volume 3 table 6-5 --- */

typedef enum Class { BENIGN, CONTRIBUTORY, PAGE } Class;

static Class class_of(unsigned vector)
{
    return vector == 14                                    ? PAGE
           : vector == 0 || (vector >= 10 && vector <= 13) ? CONTRIBUTORY
                                                           : BENIGN;
}

static void test_nesting_matrix(void)
{
    static const uint8_t vectors[] = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19
    };
    start_protected(0);
    X86State *s = harness.s;
    for (unsigned i = 0; i < ARRAY_LEN(vectors); i++) {
        for (unsigned j = 0; j < ARRAY_LEN(vectors); j++) {
            unsigned first = vectors[i], second = vectors[j];
            int want = (int)second;
            if (first == X86_EXC_DF) {
                want = X86_TRIPLE_FAULT;
            } else if ((class_of(first) == CONTRIBUTORY && class_of(second) == CONTRIBUTORY) ||
                       (class_of(first) == PAGE && class_of(second) != BENIGN)) {
                want = X86_EXC_DF;
            }
            s->exception_delivering = (int)first;
            x86_record_exception(harness.cpu, second, true, 0x77);
            g_assert_cmpint(s->exception_pending, ==, want);
            g_assert_cmpint(s->exception_delivering, ==, -1);
            g_assert_cmphex(s->exception_error, ==, want == (int)second ? 0x77 : 0);
        }
    }
    /* an interrupt's delivery that faults is no double fault */
    s->exception_delivering = X86_EVENT_BENIGN;
    x86_record_exception(harness.cpu, X86_EXC_GP, true, 1);
    g_assert_cmpint(s->exception_pending, ==, X86_EXC_GP);
    s->exception_pending = -1;
    harness_stop();
}

/* With no IDT at all: #GP, then #DF, then shutdown. */
static void test_triple_fault(void)
{
    start_protected(0);
    X86State *s = harness.s;
    s->idtr.limit = 0;
    x86_record_exception(harness.cpu, X86_EXC_UD, false, 0);
    g_assert_true(RAISES(x86_deliver_pending(harness.cpu)));
    g_assert_cmpint(s->exception_pending, ==, X86_EXC_GP);
    g_assert_cmphex(s->exception_error, ==, 6 * 8 + 2 + 1);
    g_assert_true(RAISES(x86_deliver_pending(harness.cpu)));
    g_assert_cmpint(s->exception_pending, ==, X86_EXC_DF);
    g_assert_true(RAISES(x86_deliver_pending(harness.cpu)));
    g_assert_cmpint(s->exception_pending, ==, X86_TRIPLE_FAULT);
    g_assert_false(RAISES(x86_deliver_pending(harness.cpu)));
    g_assert_true(harness.cpu->parent.halted);
    g_assert_cmpint(s->exception_pending, ==, -1);
    harness_stop();
}

/* --- Task switches --- */

static void test_task_gate(void)
{
    start_protected(0);
    X86State *s = harness.s;
    uint64_t t2 = TSS + 0x100;
    harness_put(t2 + 0x20, 0x9000, 4);
    harness_put(t2 + 0x24, 0x2, 4);
    harness_put(t2 + 0x38, STACK3, 4); /* ESP */
    harness_put(t2 + 0x28, 0xcafe, 4); /* EAX */
    harness_put(t2 + 0x48, DATA0, 4);  /* ES */
    harness_put(t2 + 0x4c, CODE0, 4);  /* CS */
    harness_put(t2 + 0x50, DATA0, 4);  /* SS */
    harness_put(t2 + 0x54, DATA0, 4);  /* DS */
    s->gpr[X86_RBX] = 0x1111;
    gate(8, TSS2_SEL, 0, 5, 0);
    raise_and_deliver(X86_EXC_DF, true, 0);
    g_assert_cmphex(s->rip, ==, 0x9000);
    g_assert_cmphex(s->gpr[X86_RAX], ==, 0xcafe);
    g_assert_cmphex(s->tr.selector, ==, TSS2_SEL);
    g_assert_cmphex(s->gpr[X86_RSP], ==, STACK3 - 4); /* error code */
    g_assert_true(s->rflags & X86_NT);
    g_assert_true(s->cr0 & X86_CR0_TS);
    g_assert_cmphex(harness_get(t2, 2), ==, TSS_SEL);        /* link */
    g_assert_cmphex(harness_get(TSS + 0x20, 4), ==, 0x1234); /* the old task */
    g_assert_cmphex(harness_get(TSS + 0x34, 4), ==, 0x1111);
    g_assert_cmphex(harness_get(GDT + TSS2_SEL + 5, 1), ==, 0x8b);
    g_assert_cmphex(harness_get(GDT + TSS_SEL + 5, 1), ==, 0x8b);
    ASSERT_RUNS(x86_iret(harness.cpu, 4, 0x9001));
    g_assert_cmphex(s->rip, ==, 0x1234);
    g_assert_cmphex(s->gpr[X86_RBX], ==, 0x1111);
    g_assert_cmphex(s->tr.selector, ==, TSS_SEL);
    g_assert_cmphex(harness_get(GDT + TSS2_SEL + 5, 1), ==, 0x89);
    g_assert_false(s->rflags & X86_NT);
    harness_stop();
}

static void test_task_errors(void)
{
    start_protected(0);
    X86Cpu *cpu = harness.cpu;
    /* busy already */
    ASSERT_RAISES(X86_EXC_GP, TSS_SEL, x86_far_jmp(cpu, TSS_SEL, 0, 4, 0));
    /* too short */
    harness_descriptor(GDT, TSS2_SEL / 8, TSS + 0x100, 0x66, 0x89, 0);
    ASSERT_RAISES(X86_EXC_TS, TSS2_SEL, x86_far_jmp(cpu, TSS2_SEL, 0, 4, 0));
    harness_descriptor(GDT, TSS2_SEL / 8, TSS + 0x100, 0x67, 0x09, 0);
    ASSERT_RAISES(X86_EXC_NP, TSS2_SEL, x86_far_jmp(cpu, TSS2_SEL, 0, 4, 0));
    g_assert_cmphex(harness.s->tr.selector, ==, TSS_SEL);
    /* the new task's CS is no code: the fault is the new task's */
    harness_descriptor(GDT, TSS2_SEL / 8, TSS + 0x100, 0x67, 0x89, 0);
    harness_put(TSS + 0x100 + 0x4c, DATA0, 4);
    ASSERT_RAISES(X86_EXC_TS, DATA0, x86_far_jmp(cpu, TSS2_SEL, 0, 4, 0));
    g_assert_cmphex(harness.s->tr.selector, ==, TSS2_SEL);
    harness_stop();
}

/* --- Debug events --- */

static void test_single_step(void)
{
    start_protected(0);
    X86State *s = harness.s;
    gate(1, CODE0, 0x5000, 14, 0);
    s->rflags |= X86_TF;
    x86_update_mode(harness.cpu);
    g_assert_true(s->mode & X86_MODE_TF);
    ASSERT_RAISES(X86_EXC_DB, 0, x86_end_of_step(harness.cpu, true));
    g_assert_cmphex(s->dr[6] & 0xe00f, ==, 0x4000);
    s->interrupt_shadow = 2;
    ASSERT_RUNS(x86_end_of_step(harness.cpu, true)); /* after MOV SS: later */
    s->interrupt_shadow = 0;
    raise_and_deliver(X86_EXC_DB, false, 0);
    g_assert_cmphex(harness_get(STACK0 - 4, 4), ==, 0x302); /* TF, no RF */
    g_assert_false(s->rflags & X86_TF);
    harness_stop();
}

static void test_breakpoints(void)
{
    start_protected(0);
    X86Cpu *cpu = harness.cpu;
    X86State *s = harness.s;
    ASSERT_RUNS(x86_write_dr(cpu, 0, 0x1234));
    ASSERT_RUNS(x86_write_dr(cpu, 1, 0x2004));
    /* 0: execute, 1: write of 4 bytes */
    ASSERT_RUNS(x86_write_dr(cpu, 7, 0x1 | 0x4 | 0xd << 20));
    g_assert_true(s->mode & X86_MODE_DEBUG);
    ASSERT_RAISES(X86_EXC_DB, 0, x86_check_code_breakpoint(cpu));
    g_assert_cmphex(s->dr[6] & 0xf, ==, 1);
    s->rflags |= X86_RF;
    ASSERT_RUNS(x86_check_code_breakpoint(cpu));
    g_assert_true(x86_page_has_breakpoint(cpu, 0x2000));
    g_assert_false(x86_page_has_breakpoint(cpu, 0x3000));
    x86_note_data_access(cpu, 0x2007, 1, false);
    g_assert_cmphex(s->dr6_pending, ==, 0); /* a read */
    x86_note_data_access(cpu, 0x2008, 4, true);
    g_assert_cmphex(s->dr6_pending, ==, 0); /* beside it */
    x86_note_data_access(cpu, 0x2007, 1, true);
    g_assert_cmphex(s->dr6_pending, ==, 2);
    ASSERT_RAISES(X86_EXC_DB, 0, x86_end_of_step(cpu, false));
    g_assert_cmphex(s->dr[6] & 0xf, ==, 2);
    harness_stop();
}

static void test_general_detect(void)
{
    start_protected(0);
    ASSERT_RUNS(x86_write_dr(harness.cpu, 7, 0x2000));
    ASSERT_RAISES(X86_EXC_DB, 0, x86_read_dr(harness.cpu, 0));
    g_assert_cmphex(harness.s->dr[6] & 0x2000, ==, 0x2000);
    g_assert_cmphex(harness.s->dr[7] & 0x2000, ==, 0);
    ASSERT_RUNS(x86_read_dr(harness.cpu, 4)); /* alias of DR6 */
    harness.s->cr4 = X86_CR4_DE;
    ASSERT_RAISES(X86_EXC_UD, 0, x86_read_dr(harness.cpu, 4));
    harness_stop();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86/event/real", test_real);
    g_test_add_func("/x86/event/same-level", test_protected_same_level);
    g_test_add_func("/x86/event/inner", test_protected_inner);
    g_test_add_func("/x86/event/gate-errors", test_gate_errors);
    g_test_add_func("/x86/event/conforming", test_conforming);
    g_test_add_func("/x86/event/gate16", test_gate16);
    g_test_add_func("/x86/event/long", test_long);
    g_test_add_func("/x86/event/ist", test_ist_and_alignment);
    g_test_add_func("/x86/event/long-errors", test_long_errors);
    g_test_add_func("/x86/event/v86", test_v86_to_monitor_and_back);
    g_test_add_func("/x86/event/v86-iopl", test_v86_iopl);
    g_test_add_func("/x86/event/vme", test_v86_extensions);
    g_test_add_func("/x86/event/nesting", test_nesting_matrix);
    g_test_add_func("/x86/event/triple-fault", test_triple_fault);
    g_test_add_func("/x86/event/task-gate", test_task_gate);
    g_test_add_func("/x86/event/task-errors", test_task_errors);
    g_test_add_func("/x86/event/single-step", test_single_step);
    g_test_add_func("/x86/event/breakpoints", test_breakpoints);
    g_test_add_func("/x86/event/general-detect", test_general_detect);
    return harness_run();
}
