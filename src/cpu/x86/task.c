/*
 * Hardware task switches. SDM volume 3 chapter 7. Compiled for general registers only.
 *
 * Order of section 7.3: checks of the new TSS, busy flags, save of the old task, load of the new
 * one; from there on faults belong to the new task.
 */
#include "cpu/x86/segment-internal.h"

#include "cpu/x86/system.h"

/* Offsets in the 32-bit TSS (figure 7-2) and the 16-bit TSS (figure 7-10). */
enum {
    TSS_LINK = 0,
    TSS32_CR3 = 0x1c,
    TSS32_EIP = 0x20,
    TSS32_EFLAGS = 0x24,
    TSS32_GPR = 0x28,
    TSS32_SEG = 0x48,
    TSS32_LDT = 0x60,
    TSS32_TRAP = 0x64,
    TSS32_MIN_LIMIT = 0x67,
    TSS16_IP = 0x0e,
    TSS16_FLAGS = 0x10,
    TSS16_GPR = 0x12,
    TSS16_SEG = 0x22,
    TSS16_LDT = 0x2a,
    TSS16_MIN_LIMIT = 0x2b,
};

#define DESC_BUSY 2u

/* What a TSS holds of a task, in either format. */
typedef struct TaskImage {
    uint32_t cr3, eip, eflags, gpr[8];
    uint16_t seg[X86_SEG_COUNT], ldt;
    bool trap;
} TaskImage;

static uint32_t tss_load(X86Cpu *cpu, uint64_t base, unsigned offset, unsigned size)
{
    return (uint32_t)x86_linear_load(cpu, base + offset, size, X86_ACCESS_IMPLICIT);
}

static void tss_store(X86Cpu *cpu, uint64_t base, unsigned offset, uint32_t value, unsigned size)
{
    x86_linear_store(cpu, base + offset, value, size, X86_ACCESS_IMPLICIT);
}

void x86_task_check(X86Cpu *cpu, uint16_t selector, X86Descriptor *d, unsigned vector)
{
    const X86State *s = &cpu->state;
    uint32_t error = x86_selector_error(s, selector);
    if (x86_selector_is_null(selector) || (selector & X86_SELECTOR_TI)) {
        x86_raise_error(cpu, vector, error);
    }
    x86_desc_read_or_raise(cpu, selector, d, vector);
    unsigned type = x86_desc_type(d);
    if (!x86_desc_is_system(d) || (type != X86_SYS_TSS && type != X86_SYS_TSS16)) {
        x86_raise_error(cpu, vector, error);
    }
    if (!x86_desc_present(d)) {
        x86_raise_error(cpu, X86_EXC_NP, error);
    }
}

static void read_image(X86Cpu *cpu, uint64_t base, bool big, TaskImage *t)
{
    if (big) {
        t->cr3 = tss_load(cpu, base, TSS32_CR3, 4);
        t->eip = tss_load(cpu, base, TSS32_EIP, 4);
        t->eflags = tss_load(cpu, base, TSS32_EFLAGS, 4);
        t->trap = tss_load(cpu, base, TSS32_TRAP, 2) & 1;
        t->ldt = (uint16_t)tss_load(cpu, base, TSS32_LDT, 2);
    } else {
        t->cr3 = (uint32_t)cpu->state.cr3;
        t->eip = tss_load(cpu, base, TSS16_IP, 2);
        t->eflags = tss_load(cpu, base, TSS16_FLAGS, 2);
        t->trap = false;
        t->ldt = (uint16_t)tss_load(cpu, base, TSS16_LDT, 2);
    }
    for (unsigned i = 0; i < 8; i++) {
        t->gpr[i] = big ? tss_load(cpu, base, TSS32_GPR + 4 * i, 4)
                        : 0xffff0000u | tss_load(cpu, base, TSS16_GPR + 2 * i, 2);
    }
    /* ES, CS, SS, DS in both; FS and GS only in the larger. */
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        t->seg[i] = big     ? (uint16_t)tss_load(cpu, base, TSS32_SEG + 4 * i, 2)
                    : i < 4 ? (uint16_t)tss_load(cpu, base, TSS16_SEG + 2 * i, 2)
                            : 0;
    }
}

static void save_image(X86Cpu *cpu, uint64_t eflags, uint64_t eip)
{
    const X86State *s = &cpu->state;
    uint64_t base = s->tr.base;
    bool big = s->tr.access & 8;

    if (big) {
        tss_store(cpu, base, TSS32_EIP, (uint32_t)eip, 4);
        tss_store(cpu, base, TSS32_EFLAGS, (uint32_t)eflags, 4);
    } else {
        tss_store(cpu, base, TSS16_IP, (uint32_t)eip, 2);
        tss_store(cpu, base, TSS16_FLAGS, (uint32_t)eflags, 2);
    }
    for (unsigned i = 0; i < 8; i++) {
        tss_store(cpu, base, big ? TSS32_GPR + 4 * i : TSS16_GPR + 2 * i, (uint32_t)s->gpr[i],
                  big ? 4 : 2);
    }
    for (unsigned i = 0; i < (big ? X86_SEG_COUNT : 4); i++) {
        tss_store(cpu, base, big ? TSS32_SEG + 4 * i : TSS16_SEG + 2 * i, s->seg[i].selector, 2);
    }
}

/* Set or clear the busy flag of a TSS descriptor in the GDT. */
static void set_busy(X86Cpu *cpu, uint16_t selector, bool busy)
{
    uint64_t addr = cpu->state.gdtr.base + (selector & 0xfff8u) + 5;
    x86_linear_set_bits(cpu, addr, busy ? DESC_BUSY : 0, busy ? 0 : DESC_BUSY);
}

/* A segment register of the new task: the checks of table 7-1, all as #TS but for absence. */
static void load_task_segment(X86Cpu *cpu, unsigned seg, uint16_t selector, unsigned cpl)
{
    X86State *s = &cpu->state;
    uint32_t error = x86_selector_error(s, selector);
    X86Descriptor d;

    if (x86_selector_is_null(selector)) {
        if (seg == X86_CS || seg == X86_SS) {
            x86_raise_error(cpu, X86_EXC_TS, error);
        }
        x86_segment_set_null(s, seg, selector, cpl);
        return;
    }
    x86_desc_read_or_raise(cpu, selector, &d, X86_EXC_TS);
    unsigned dpl = x86_desc_dpl(&d), rpl = selector & X86_SELECTOR_RPL;
    bool ok;
    if (seg == X86_CS) {
        ok = x86_desc_is_code(&d) && (x86_desc_is_conforming(&d) ? dpl <= rpl : dpl == rpl);
    } else if (seg == X86_SS) {
        ok = x86_desc_is_writable_data(&d) && dpl == cpl && rpl == cpl;
    } else {
        unsigned type = x86_desc_type(&d);
        ok = !x86_desc_is_system(&d) && (!(type & X86_TYPE_CODE) || (type & X86_TYPE_READABLE)) &&
             (x86_desc_is_conforming(&d) || (dpl >= cpl && dpl >= rpl));
    }
    if (!ok) {
        x86_raise_error(cpu, X86_EXC_TS, error);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_error(cpu, seg == X86_SS ? X86_EXC_SS : X86_EXC_NP, error);
    }
    x86_desc_set_accessed(cpu, &d);
    x86_segment_from_desc(&s->seg[seg], selector, &d);
}

static void load_task_ldt(X86Cpu *cpu, uint16_t selector)
{
    X86State *s = &cpu->state;
    uint32_t error = x86_selector_error(s, selector);
    X86Descriptor d;

    s->ldtr = (X86Segment){ .selector = selector, .unusable = true };
    if (x86_selector_is_null(selector)) {
        return;
    }
    if ((selector & X86_SELECTOR_TI) || !x86_desc_read(cpu, selector, &d) ||
        !x86_desc_is_system(&d) || x86_desc_type(&d) != X86_SYS_LDT || !x86_desc_present(&d)) {
        x86_raise_error(cpu, X86_EXC_TS, error);
    }
    x86_segment_from_desc(&s->ldtr, selector, &d);
}

/* CR3 of the new task; a switch always flushes what isn't global. */
static void load_task_cr3(X86Cpu *cpu, uint32_t cr3)
{
    X86State *s = &cpu->state;
    if (!(s->cr0 & X86_CR0_PG)) {
        return;
    }
    if ((s->cr4 & X86_CR4_PAE) && !x86_load_pdptes(cpu, cr3)) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(s));
    }
    s->cr3 = cr3;
    if (cpu->tlb.flush_all) {
        cpu->tlb.flush_all(cpu, false);
    }
    if (cpu->tlb.switch_space) {
        cpu->tlb.switch_space(cpu);
    }
}

void x86_task_switch(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d, X86TaskSource source,
                     uint64_t next_rip)
{
    X86State *s = &cpu->state;
    bool big = x86_desc_type(d) & 8;
    bool old_big = s->tr.access & 8;
    uint64_t base = x86_desc_base(d);
    uint16_t old_selector = s->tr.selector;
    uint64_t old_flags = s->rflags;
    TaskImage t;

    if (x86_desc_limit(d) < (big ? TSS32_MIN_LIMIT : TSS16_MIN_LIMIT)) {
        x86_raise_error(cpu, X86_EXC_TS, x86_selector_error(s, selector));
    }
    /* Page faults must come before anything changes: both TSSs and the descriptors. */
    x86_linear_check(cpu, s->tr.base, old_big ? TSS32_MIN_LIMIT + 1 : TSS16_MIN_LIMIT + 1,
                     X86_ACCESS_IMPLICIT | X86_ACCESS_WRITE);
    x86_linear_check(cpu, base, big ? TSS32_MIN_LIMIT + 1 : TSS16_MIN_LIMIT + 1,
                     X86_ACCESS_IMPLICIT | (source == X86_TASK_CALL ? X86_ACCESS_WRITE : 0));
    read_image(cpu, base, big, &t);

    if (source != X86_TASK_CALL) {
        set_busy(cpu, old_selector, false);
    }
    if (source == X86_TASK_IRET) {
        old_flags &= ~(uint64_t)X86_NT;
    }
    save_image(cpu, old_flags, next_rip);
    if (source == X86_TASK_CALL) {
        tss_store(cpu, base, TSS_LINK, old_selector, 2);
        t.eflags |= X86_NT;
    }
    if (source != X86_TASK_IRET) {
        set_busy(cpu, selector, true);
    }

    x86_segment_from_desc(&s->tr, selector, d);
    s->tr.access |= DESC_BUSY;
    s->cr0 |= X86_CR0_TS;
    load_task_cr3(cpu, t.cr3);
    s->rip = t.eip;
    s->rflags = (t.eflags & X86_ALL_FLAGS) | 2;
    for (unsigned i = 0; i < 8; i++) {
        s->gpr[i] = t.gpr[i];
    }
    s->dr[7] &= ~UINT64_C(0x155); /* local breakpoints: section 17.2.4 */
    s->interrupt_shadow = 0;

    /* Until each is loaded, the segment registers hold the new selectors and nothing usable. */
    unsigned cpl = t.seg[X86_CS] & X86_SELECTOR_RPL;
    bool v86 = big && (t.eflags & X86_VM);
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        if (v86) {
            x86_segment_set_v86(s, i, t.seg[i]);
        } else {
            x86_segment_set_null(s, i, t.seg[i], cpl);
        }
    }
    x86_update_mode(cpu);
    load_task_ldt(cpu, t.ldt);
    if (!v86) {
        static const uint8_t order[] = { X86_CS, X86_SS, X86_DS, X86_ES, X86_FS, X86_GS };
        for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
            load_task_segment(cpu, order[i], t.seg[order[i]], cpl);
            x86_update_mode(cpu);
        }
    }
    if (s->rip > s->seg[X86_CS].limit) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(s));
    }
    if (t.trap) {
        x86_raise_debug(cpu, UINT64_C(1) << 15, false);
    }
}
