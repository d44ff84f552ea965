/*
 * Far jumps, calls and returns, IRET. SDM volume 2 (JMP, CALL, RET, IRET) and volume 3 section 5.8.
 * Compiled for general registers only.
 *
 * Each transfer reads and checks everything before it changes a register, so that a fault on the
 * way leaves the instruction as if it had not begun (but for accessed bits).
 */
#include "cpu/x86/segment-internal.h"

#include <inttypes.h>

#include "base/log.h"
#include "cpu/x86/system.h"

static bool is_protected(const X86State *s)
{
    return (s->mode & (X86_MODE_PE | X86_MODE_VM86)) == X86_MODE_PE;
}

/* -d pcall. The selector and offset where the transfer goes, for returns those of where it is. */
static void log_transfer(X86Cpu *cpu, const char *what, uint16_t selector, uint64_t offset)
{
    const X86State *s = &cpu->state;
    if (log_enabled(LOG_PCALL) && is_protected(s)) {
        x86_park_fpu(cpu);
        log_printf("pcall: cpu %d %s %04x:%016" PRIx64 " cpl=%u IP=%04x:%016" PRIx64
                   " SP=%04x:%016" PRIx64 "\n",
                   cpu->parent.index, what, selector, offset, x86_cpl(s), s->seg[X86_CS].selector,
                   s->rip, s->seg[X86_SS].selector, s->gpr[X86_RSP]);
    }
}

static uint64_t to_opsize(uint64_t value, unsigned opsize)
{
    return opsize == 2 ? (uint16_t)value : opsize == 4 ? (uint32_t)value : value;
}

NORETURN static void fault_selector(X86Cpu *cpu, unsigned vector, uint16_t selector)
{
    x86_raise_error(cpu, vector, x86_selector_error(&cpu->state, selector));
}

/* The new instruction pointer against the code segment it will be used with: #GP(0). */
static void check_target(X86Cpu *cpu, const X86Descriptor *d, uint64_t rip)
{
    const X86State *s = &cpu->state;
    bool ok = (s->mode & X86_MODE_LMA) && x86_desc_is_long(d) ? x86_is_canonical(s, rip)
                                                              : rip <= x86_desc_limit(d);
    if (!ok) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(s));
    }
}

/* In long mode a code segment can't be both 64-bit and 32-bit. */
static void check_code_size(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d)
{
    if ((cpu->state.mode & X86_MODE_LMA) && x86_desc_is_long(d) && x86_desc_is_big(d)) {
        fault_selector(cpu, X86_EXC_GP, selector);
    }
}

static void check_present(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d)
{
    if (!x86_desc_present(d)) {
        fault_selector(cpu, X86_EXC_NP, selector);
    }
}

/* --- Real and virtual-8086 mode --- */

static void check_real_target(X86Cpu *cpu, uint64_t offset)
{
    if (offset > cpu->state.seg[X86_CS].limit) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

static void set_real_cs(X86Cpu *cpu, uint16_t selector, uint64_t offset)
{
    X86State *s = &cpu->state;
    if (s->mode & X86_MODE_VM86) {
        x86_segment_set_v86(s, X86_CS, selector);
    } else {
        x86_segment_set_real(s, X86_CS, selector);
    }
    s->rip = offset;
    x86_update_mode(cpu);
}

/* --- Gates --- */

/* A call or task gate: privilege (#GP) and presence (#NP), with the gate's selector. */
static void check_gate(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d)
{
    unsigned dpl = x86_desc_dpl(d);
    if (dpl < x86_cpl(&cpu->state) || dpl < (selector & X86_SELECTOR_RPL)) {
        fault_selector(cpu, X86_EXC_GP, selector);
    }
    check_present(cpu, selector, d);
}

typedef struct CallGate {
    uint16_t selector;
    uint64_t offset;
    unsigned params; /* words or doublewords to copy */
    unsigned size;   /* bytes of what is pushed */
    X86Descriptor code;
} CallGate;

/* Read the gate's contents and the code segment it leads to; a jump may not change privilege. */
static void read_call_gate(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d, bool is_jump,
                           CallGate *g)
{
    const X86State *s = &cpu->state;
    bool long_mode = s->mode & X86_MODE_LMA;

    check_gate(cpu, selector, d);
    g->selector = d->low >> 16;
    g->offset = d->low & 0xffff;
    g->params = d->high & 0x1f;
    g->size = x86_desc_type(d) == X86_SYS_CALL_GATE16 ? 2 : 4;
    if (g->size == 4) {
        g->offset |= d->high & 0xffff0000u;
    }
    if (long_mode) {
        g->offset |= (uint64_t)x86_desc_read_high(cpu, selector, d) << 32;
        g->size = 8;
        g->params = 0;
    }
    if (x86_selector_is_null(g->selector)) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(s));
    }
    x86_desc_read_or_raise(cpu, g->selector, &g->code, X86_EXC_GP);
    unsigned dpl = x86_desc_dpl(&g->code), cpl = x86_cpl(s);
    bool same_level_only = is_jump && !x86_desc_is_conforming(&g->code);
    if (!x86_desc_is_code(&g->code) || (same_level_only ? dpl != cpl : dpl > cpl)) {
        fault_selector(cpu, X86_EXC_GP, g->selector);
    }
    if (long_mode && (!x86_desc_is_long(&g->code) || x86_desc_is_big(&g->code))) {
        fault_selector(cpu, X86_EXC_GP, g->selector);
    }
    check_present(cpu, g->selector, &g->code);
}

/* A TSS descriptor as the target of a far transfer itself. */
static void check_direct_task(X86Cpu *cpu, uint16_t selector, X86Descriptor *d)
{
    unsigned dpl = x86_desc_dpl(d);
    if (dpl < x86_cpl(&cpu->state) || dpl < (selector & X86_SELECTOR_RPL)) {
        fault_selector(cpu, X86_EXC_GP, selector);
    }
    x86_task_check(cpu, selector, d, X86_EXC_GP);
}

/* Transfers through a system descriptor that are task switches. True if it was one. */
static bool transfer_to_task(X86Cpu *cpu, uint16_t selector, X86Descriptor *d, X86TaskSource source,
                             uint64_t next_rip)
{
    if (cpu->state.mode & X86_MODE_LMA) {
        return false;
    }
    uint16_t task = selector;
    switch (x86_desc_type(d)) {
    case X86_SYS_TASK_GATE:
        check_gate(cpu, selector, d);
        task = d->low >> 16;
        x86_task_check(cpu, task, d, X86_EXC_GP);
        break;
    case X86_SYS_TSS:
    case X86_SYS_TSS16:
        check_direct_task(cpu, selector, d);
        break;
    default:
        return false;
    }
    x86_task_switch(cpu, task, d, source, next_rip);
    return true;
}

static bool is_call_gate(const X86State *s, const X86Descriptor *d)
{
    unsigned type = x86_desc_type(d);
    return type == X86_SYS_CALL_GATE || (type == X86_SYS_CALL_GATE16 && !(s->mode & X86_MODE_LMA));
}

/* A code segment named directly by JMP or CALL. */
static void check_direct_code(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d)
{
    unsigned cpl = x86_cpl(&cpu->state), dpl = x86_desc_dpl(d);
    bool ok =
        x86_desc_is_conforming(d) ? dpl <= cpl : (selector & X86_SELECTOR_RPL) <= cpl && dpl == cpl;
    if (!ok) {
        fault_selector(cpu, X86_EXC_GP, selector);
    }
    check_code_size(cpu, selector, d);
    check_present(cpu, selector, d);
}

static void read_transfer_target(X86Cpu *cpu, uint16_t selector, X86Descriptor *d)
{
    if (x86_selector_is_null(selector)) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(&cpu->state));
    }
    x86_desc_read_or_raise(cpu, selector, d, X86_EXC_GP);
}

/* --- JMP --- */

void x86_far_jmp(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize,
                 uint64_t next_rip)
{
    X86State *s = &cpu->state;
    X86Descriptor d;

    offset = to_opsize(offset, opsize);
    log_transfer(cpu, "ljmp", selector, offset);
    if (!is_protected(s)) {
        check_real_target(cpu, offset);
        set_real_cs(cpu, selector, offset);
        return;
    }
    read_transfer_target(cpu, selector, &d);
    if (x86_desc_is_code(&d)) {
        check_direct_code(cpu, selector, &d);
        check_target(cpu, &d, offset);
        x86_segment_set_cs(cpu, selector, &d, x86_cpl(s));
        s->rip = offset;
    } else if (x86_desc_is_system(&d) && is_call_gate(s, &d)) {
        CallGate g;
        read_call_gate(cpu, selector, &d, true, &g);
        check_target(cpu, &g.code, g.offset);
        x86_segment_set_cs(cpu, g.selector, &g.code, x86_cpl(s));
        s->rip = g.offset;
    } else if (!x86_desc_is_system(&d) ||
               !transfer_to_task(cpu, selector, &d, X86_TASK_JMP, next_rip)) {
        fault_selector(cpu, X86_EXC_GP, selector);
    }
    x86_update_mode(cpu);
}

/* --- CALL --- */

static void push_return(X86Cpu *cpu, X86Stack *st, unsigned size, uint64_t next_rip)
{
    x86_stack_push(cpu, st, cpu->state.seg[X86_CS].selector, size);
    x86_stack_push(cpu, st, next_rip, size);
}

/* Through a gate to a more privileged level. */
static void call_inner(X86Cpu *cpu, CallGate *g, uint64_t next_rip)
{
    X86State *s = &cpu->state;
    unsigned level = x86_desc_dpl(&g->code);
    bool long_mode = s->mode & X86_MODE_LMA;
    uint16_t old_ss = s->seg[X86_SS].selector, new_ss = level;
    X86Stack outer, st;
    X86Descriptor ss_desc = { 0 };

    x86_stack_current(cpu, &outer);
    if (long_mode) {
        st = (X86Stack){ .sp = x86_stack_from_tss64(cpu, level),
                         .mask = ~UINT64_C(0),
                         .access = X86_ACCESS_IMPLICIT,
                         .error = x86_ext(s),
                         .long_mode = true };
    } else {
        x86_stack_from_tss(cpu, level, &st, &new_ss, &ss_desc);
    }
    x86_stack_push(cpu, &st, old_ss, g->size);
    x86_stack_push(cpu, &st, s->gpr[X86_RSP], g->size);
    for (unsigned i = g->params; i-- > 0;) {
        x86_stack_push(cpu, &st, x86_stack_peek(cpu, &outer, i * g->size, g->size), g->size);
    }
    push_return(cpu, &st, g->size, next_rip);
    check_target(cpu, &g->code, g->offset);

    if (long_mode) {
        x86_segment_set_null(s, X86_SS, new_ss, level);
    } else {
        x86_desc_set_accessed(cpu, &ss_desc);
        x86_segment_from_desc(&s->seg[X86_SS], new_ss, &ss_desc);
    }
    x86_segment_set_cs(cpu, g->selector, &g->code, level);
    x86_stack_commit_sp(cpu, &st);
    s->rip = g->offset;
}

static void call_gate(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d, uint64_t next_rip)
{
    X86State *s = &cpu->state;
    CallGate g;

    read_call_gate(cpu, selector, d, false, &g);
    if (!x86_desc_is_conforming(&g.code) && x86_desc_dpl(&g.code) < x86_cpl(s)) {
        call_inner(cpu, &g, next_rip);
        return;
    }
    X86Stack st;
    x86_stack_current(cpu, &st);
    push_return(cpu, &st, g.size, next_rip);
    check_target(cpu, &g.code, g.offset);
    x86_segment_set_cs(cpu, g.selector, &g.code, x86_cpl(s));
    x86_stack_commit_sp(cpu, &st);
    s->rip = g.offset;
}

void x86_far_call(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize,
                  uint64_t next_rip)
{
    X86State *s = &cpu->state;
    X86Descriptor d;
    X86Stack st;

    offset = to_opsize(offset, opsize);
    log_transfer(cpu, "lcall", selector, offset);
    x86_stack_current(cpu, &st);
    if (!is_protected(s)) {
        push_return(cpu, &st, opsize, next_rip);
        check_real_target(cpu, offset);
        x86_stack_commit_sp(cpu, &st);
        set_real_cs(cpu, selector, offset);
        return;
    }
    read_transfer_target(cpu, selector, &d);
    if (x86_desc_is_code(&d)) {
        check_direct_code(cpu, selector, &d);
        push_return(cpu, &st, opsize, next_rip);
        check_target(cpu, &d, offset);
        x86_segment_set_cs(cpu, selector, &d, x86_cpl(s));
        x86_stack_commit_sp(cpu, &st);
        s->rip = offset;
    } else if (x86_desc_is_system(&d) && is_call_gate(s, &d)) {
        call_gate(cpu, selector, &d, next_rip);
    } else if (!x86_desc_is_system(&d) ||
               !transfer_to_task(cpu, selector, &d, X86_TASK_CALL, next_rip)) {
        fault_selector(cpu, X86_EXC_GP, selector);
    }
    x86_update_mode(cpu);
}

/* --- Returns --- */

/* The code segment a RETF or IRET goes back to. */
static void check_return_code(X86Cpu *cpu, uint16_t selector, X86Descriptor *d)
{
    unsigned rpl = selector & X86_SELECTOR_RPL;

    read_transfer_target(cpu, selector, d);
    unsigned dpl = x86_desc_dpl(d);
    if (!x86_desc_is_code(d) || rpl < x86_cpl(&cpu->state) ||
        (x86_desc_is_conforming(d) ? dpl > rpl : dpl != rpl)) {
        fault_selector(cpu, X86_EXC_GP, selector);
    }
    check_code_size(cpu, selector, d);
    check_present(cpu, selector, d);
}

/* The stack segment popped with a return to level rpl; to_long: code there is 64-bit. */
static void check_return_stack(X86Cpu *cpu, uint16_t selector, unsigned rpl, bool to_long,
                               X86Descriptor *d)
{
    if (x86_selector_is_null(selector)) {
        /* 64-bit code below CPL 3 may run without a stack segment. */
        if (!to_long || rpl == 3 || (selector & X86_SELECTOR_RPL) != rpl) {
            x86_raise_error(cpu, X86_EXC_GP, x86_ext(&cpu->state));
        }
        return;
    }
    x86_desc_read_or_raise(cpu, selector, d, X86_EXC_GP);
    if ((selector & X86_SELECTOR_RPL) != rpl || !x86_desc_is_writable_data(d) ||
        x86_desc_dpl(d) != rpl) {
        fault_selector(cpu, X86_EXC_GP, selector);
    }
    if (!x86_desc_present(d)) {
        fault_selector(cpu, X86_EXC_SS, selector);
    }
}

/* What a less privileged level may not use must not stay in its registers. */
static void drop_privileged_segments(X86State *s, unsigned cpl)
{
    static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
        const X86Segment *seg = &s->seg[data[i]];
        bool conforming = (seg->access & (X86_TYPE_CODE | X86_TYPE_CONFORMING)) ==
                          (X86_TYPE_CODE | X86_TYPE_CONFORMING);
        if (!seg->unusable && !conforming && (seg->access >> 5 & 3) < cpl) {
            uint64_t base = seg->base;
            x86_segment_set_null(s, data[i], 0, 0);
            /* FS and GS keep their bases in 64-bit mode, where a null selector doesn't disable
             * them. */
            if ((s->mode & X86_MODE_CS64) && (data[i] == X86_FS || data[i] == X86_GS)) {
                s->seg[data[i]].base = base;
            }
        }
    }
}

/* A return that pops a stack: to the outer level, or any IRET of 64-bit code. */
typedef struct Return {
    uint16_t cs, ss;
    uint64_t rip, rsp;
    X86Descriptor code, stack;
} Return;

static void commit_return(X86Cpu *cpu, Return *r)
{
    X86State *s = &cpu->state;
    unsigned rpl = r->cs & X86_SELECTOR_RPL, cpl = x86_cpl(s);
    bool to_long = (s->mode & X86_MODE_LMA) && x86_desc_is_long(&r->code);

    if (x86_selector_is_null(r->ss)) {
        x86_segment_set_null(s, X86_SS, r->ss, rpl);
    } else {
        x86_desc_set_accessed(cpu, &r->stack);
        x86_segment_from_desc(&s->seg[X86_SS], r->ss, &r->stack);
    }
    x86_segment_set_cs(cpu, r->cs, &r->code, rpl);
    X86Stack st = { .sp = r->rsp,
                    .mask = to_long                              ? ~UINT64_C(0)
                            : s->seg[X86_SS].access & X86_SEG_DB ? 0xffffffffu
                                                                 : 0xffffu };
    x86_stack_commit_sp(cpu, &st);
    s->rip = r->rip;
    if (rpl > cpl) {
        drop_privileged_segments(s, rpl);
    }
}

void x86_far_ret(X86Cpu *cpu, unsigned opsize, unsigned release)
{
    X86State *s = &cpu->state;
    X86Stack st;
    Return r;

    x86_stack_current(cpu, &st);
    r.rip = x86_stack_pop(cpu, &st, opsize);
    r.cs = (uint16_t)x86_stack_pop(cpu, &st, opsize);
    log_transfer(cpu, "lret to", r.cs, r.rip);
    if (!is_protected(s)) {
        check_real_target(cpu, r.rip);
        st.sp += release;
        x86_stack_commit_sp(cpu, &st);
        set_real_cs(cpu, r.cs, r.rip);
        return;
    }
    check_return_code(cpu, r.cs, &r.code);
    unsigned rpl = r.cs & X86_SELECTOR_RPL;
    st.sp = (st.sp & ~st.mask) | ((st.sp + release) & st.mask);
    if (rpl == x86_cpl(s)) {
        check_target(cpu, &r.code, r.rip);
        x86_segment_set_cs(cpu, r.cs, &r.code, rpl);
        x86_stack_commit_sp(cpu, &st);
        s->rip = r.rip;
    } else {
        bool to_long = (s->mode & X86_MODE_LMA) && x86_desc_is_long(&r.code);
        r.rsp = x86_stack_pop(cpu, &st, opsize);
        r.ss = (uint16_t)x86_stack_pop(cpu, &st, opsize);
        check_return_stack(cpu, r.ss, rpl, to_long, &r.stack);
        check_target(cpu, &r.code, r.rip);
        r.rsp += release;
        commit_return(cpu, &r);
    }
    x86_update_mode(cpu);
}

/* --- IRET --- */

/* Take in popped flags under the rules of POPF and IRET at this CPL and IOPL. */
static void set_flags(X86State *s, uint64_t image, unsigned opsize, unsigned cpl, bool system)
{
    uint64_t mask = X86_ARITH_FLAGS | X86_TF | X86_DFL | X86_NT | X86_RF | X86_AC | X86_ID;
    if (cpl <= ((s->rflags & X86_IOPL) >> 12)) {
        mask |= X86_IF;
    }
    if (cpl == 0) {
        mask |= X86_IOPL;
        if (system) {
            mask |= X86_VIF | X86_VIP;
        }
    }
    if (opsize == 2) {
        mask &= 0xffff;
    }
    s->rflags = (s->rflags & ~mask) | (image & mask) | 2;
}

static void iret_real(X86Cpu *cpu, unsigned opsize)
{
    X86State *s = &cpu->state;
    X86Stack st;

    x86_stack_current(cpu, &st);
    uint64_t rip = x86_stack_pop(cpu, &st, opsize);
    uint16_t cs = (uint16_t)x86_stack_pop(cpu, &st, opsize);
    uint64_t flags = x86_stack_pop(cpu, &st, opsize);
    check_real_target(cpu, rip);
    x86_stack_commit_sp(cpu, &st);
    set_flags(s, flags, opsize, 0, false);
    set_real_cs(cpu, cs, rip);
}

static void iret_v86(X86Cpu *cpu, unsigned opsize)
{
    X86State *s = &cpu->state;
    unsigned iopl = (s->rflags & X86_IOPL) >> 12;
    bool virtual_if = iopl < 3 && (s->cr4 & X86_CR4_VME) && opsize == 2;
    X86Stack st;

    if (iopl < 3 && !virtual_if) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    x86_stack_current(cpu, &st);
    uint64_t rip = x86_stack_pop(cpu, &st, opsize);
    uint16_t cs = (uint16_t)x86_stack_pop(cpu, &st, opsize);
    uint64_t flags = x86_stack_pop(cpu, &st, opsize);
    /* SDM volume 3 section 20.3.3: the virtual interrupt flag stands in for IF. */
    if (virtual_if && ((flags & X86_TF) || ((s->rflags & X86_VIP) && (flags & X86_IF)))) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    check_real_target(cpu, rip);
    x86_stack_commit_sp(cpu, &st);
    set_flags(s, flags, opsize, 3, false);
    if (virtual_if) {
        s->rflags = flags & X86_IF ? s->rflags | X86_VIF : s->rflags & ~(uint64_t)X86_VIF;
    }
    set_real_cs(cpu, cs, rip);
}

/* A protected-mode kernel goes (back) to a virtual-8086 task. */
static void iret_to_v86(X86Cpu *cpu, X86Stack *st, uint16_t cs, uint64_t rip, uint64_t flags)
{
    static const uint8_t order[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    X86State *s = &cpu->state;
    uint16_t selector[X86_SEG_COUNT];

    uint64_t esp = x86_stack_pop(cpu, st, 4);
    selector[X86_SS] = (uint16_t)x86_stack_pop(cpu, st, 4);
    for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
        selector[order[i]] = (uint16_t)x86_stack_pop(cpu, st, 4);
    }
    selector[X86_CS] = cs;
    if ((uint32_t)rip > 0xffff) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    s->rflags = (flags & X86_ALL_FLAGS) | 2;
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        x86_segment_set_v86(s, i, selector[i]);
    }
    s->gpr[X86_RSP] = esp;
    s->rip = (uint16_t)rip;
}

static void iret_from_task(X86Cpu *cpu, uint64_t next_rip)
{
    X86State *s = &cpu->state;
    X86Descriptor d;

    if (s->mode & X86_MODE_LMA) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    uint16_t link = (uint16_t)x86_linear_load(cpu, s->tr.base, 2, X86_ACCESS_IMPLICIT);
    uint32_t error = x86_selector_error(s, link);
    if (x86_selector_is_null(link) || (link & X86_SELECTOR_TI)) {
        x86_raise_error(cpu, X86_EXC_TS, error);
    }
    x86_desc_read_or_raise(cpu, link, &d, X86_EXC_TS);
    unsigned type = x86_desc_type(&d);
    if (!x86_desc_is_system(&d) || (type != X86_SYS_TSS_BUSY && type != X86_SYS_TSS16_BUSY)) {
        x86_raise_error(cpu, X86_EXC_TS, error);
    }
    check_present(cpu, link, &d);
    x86_task_switch(cpu, link, &d, X86_TASK_IRET, next_rip);
}

static void iret_protected(X86Cpu *cpu, unsigned opsize)
{
    X86State *s = &cpu->state;
    unsigned cpl = x86_cpl(s);
    X86Stack st;
    Return r;

    x86_stack_current(cpu, &st);
    r.rip = x86_stack_pop(cpu, &st, opsize);
    r.cs = (uint16_t)x86_stack_pop(cpu, &st, opsize);
    uint64_t flags = x86_stack_pop(cpu, &st, opsize);
    if ((flags & X86_VM) && cpl == 0 && opsize == 4 && !(s->mode & X86_MODE_LMA)) {
        iret_to_v86(cpu, &st, r.cs, r.rip, flags);
        return;
    }
    check_return_code(cpu, r.cs, &r.code);
    unsigned rpl = r.cs & X86_SELECTOR_RPL;
    bool to_long = (s->mode & X86_MODE_LMA) && x86_desc_is_long(&r.code);
    if (rpl > cpl || (s->mode & X86_MODE_CS64)) {
        r.rsp = x86_stack_pop(cpu, &st, opsize);
        r.ss = (uint16_t)x86_stack_pop(cpu, &st, opsize);
        check_return_stack(cpu, r.ss, rpl, to_long, &r.stack);
        check_target(cpu, &r.code, r.rip);
        commit_return(cpu, &r);
    } else {
        check_target(cpu, &r.code, r.rip);
        x86_segment_set_cs(cpu, r.cs, &r.code, rpl);
        x86_stack_commit_sp(cpu, &st);
        s->rip = r.rip;
    }
    set_flags(s, flags, opsize, cpl, true);
}

void x86_iret(X86Cpu *cpu, unsigned opsize, uint64_t next_rip)
{
    X86State *s = &cpu->state;

    log_transfer(cpu, "iret before", s->seg[X86_CS].selector, s->rip);
    if (s->mode & X86_MODE_VM86) {
        iret_v86(cpu, opsize);
    } else if (!(s->mode & X86_MODE_PE)) {
        iret_real(cpu, opsize);
    } else if ((s->rflags & X86_NT) && !(s->mode & X86_MODE_CS64)) {
        iret_from_task(cpu, next_rip);
    } else if (s->rflags & X86_NT) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    } else {
        iret_protected(cpu, opsize);
    }
    s->nmi_blocked = false;
    x86_update_mode(cpu);
    if (!(s->mode & X86_MODE_DEBUG)) {
        s->rflags &= ~(uint64_t)X86_RF; /* nothing to resume past: the next instruction clears it */
    }
}
