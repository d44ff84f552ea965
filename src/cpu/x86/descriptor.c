/*
 * Descriptors, segment registers' hidden parts, and the stacks of far transfers. SDM volume 3
 * sections 3.4, 5.8.5 and 7.2. Compiled for general registers only.
 */
#include "cpu/x86/segment-internal.h"

bool x86_desc_read(X86Cpu *cpu, uint16_t selector, X86Descriptor *d)
{
    const X86State *s = &cpu->state;
    uint32_t offset = selector & 0xfff8u;
    uint64_t base;
    uint32_t limit;

    if (selector & X86_SELECTOR_TI) {
        if (s->ldtr.unusable) {
            return false;
        }
        base = s->ldtr.base;
        limit = s->ldtr.limit;
    } else {
        if (!offset) {
            return false;
        }
        base = s->gdtr.base;
        limit = s->gdtr.limit;
    }
    if (offset + 7 > limit) {
        return false;
    }
    d->addr = base + offset;
    uint64_t raw = x86_linear_load(cpu, d->addr, 8, X86_ACCESS_IMPLICIT);
    d->low = (uint32_t)raw;
    d->high = (uint32_t)(raw >> 32);
    return true;
}

void x86_desc_read_or_raise(X86Cpu *cpu, uint16_t selector, X86Descriptor *d, unsigned vector)
{
    if (!x86_desc_read(cpu, selector, d)) {
        x86_raise_error(cpu, vector, x86_selector_error(&cpu->state, selector));
    }
}

uint32_t x86_desc_read_high(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d)
{
    const X86State *s = &cpu->state;
    uint32_t limit = selector & X86_SELECTOR_TI ? s->ldtr.limit : s->gdtr.limit;
    if ((selector & 0xfff8u) + 15 > limit) {
        x86_raise_error(cpu, X86_EXC_GP, x86_selector_error(s, selector));
    }
    uint64_t raw = x86_linear_load(cpu, d->addr + 8, 8, X86_ACCESS_IMPLICIT);
    if (raw >> 40 & 0x1f) {
        x86_raise_error(cpu, X86_EXC_GP, x86_selector_error(s, selector));
    }
    return (uint32_t)raw;
}

void x86_desc_set_accessed(X86Cpu *cpu, X86Descriptor *d)
{
    if (!(d->high & X86_TYPE_ACCESSED << 8)) {
        x86_linear_set_bits(cpu, d->addr + 5, X86_TYPE_ACCESSED, 0);
        d->high |= X86_TYPE_ACCESSED << 8;
    }
}

void x86_segment_from_desc(X86Segment *seg, uint16_t selector, const X86Descriptor *d)
{
    *seg = (X86Segment){ .base = x86_desc_base(d),
                         .limit = x86_desc_limit(d),
                         .access = x86_desc_access(d),
                         .selector = selector };
}

void x86_segment_set_real(X86State *s, unsigned seg, uint16_t selector)
{
    s->seg[seg].selector = selector;
    s->seg[seg].base = (uint64_t)selector << 4;
    s->seg[seg].unusable = false;
    /* Limit and attributes stay (big real mode). CS becomes writable data-like code again at the
     * first far jump: SDM volume 3 section 20.1.1 leaves the hidden part alone. */
    if (!(s->seg[seg].access & X86_SEG_P)) {
        s->seg[seg].access = X86_SEG_P | X86_SEG_S | X86_TYPE_WRITABLE | X86_TYPE_ACCESSED;
        s->seg[seg].limit = 0xffff;
    }
}

void x86_segment_set_v86(X86State *s, unsigned seg, uint16_t selector)
{
    s->seg[seg] = (X86Segment){
        .base = (uint64_t)selector << 4,
        .limit = 0xffff,
        .access = X86_SEG_P | X86_SEG_S | X86_SEG_DPL | X86_TYPE_WRITABLE | X86_TYPE_ACCESSED,
        .selector = selector,
    };
}

void x86_segment_set_null(X86State *s, unsigned seg, uint16_t selector, unsigned dpl)
{
    /* Base, limit and attributes are zero but for SS's DPL, which holds the CPL, and its B flag,
     * which has no meaning until the segment is loaded again. */
    s->seg[seg] = (X86Segment){
        .selector = selector,
        .access = seg == X86_SS ? dpl << 5 : 0,
        .unusable = true,
    };
}

void x86_segment_set_cs(X86Cpu *cpu, uint16_t selector, X86Descriptor *d, unsigned cpl)
{
    x86_desc_set_accessed(cpu, d);
    x86_segment_from_desc(&cpu->state.seg[X86_CS], (selector & ~X86_SELECTOR_RPL) | cpl, d);
}

/* --- Stacks --- */

static uint64_t stack_mask(const X86State *s, uint32_t ss_access)
{
    return s->mode & X86_MODE_CS64 ? ~UINT64_C(0) : ss_access & X86_SEG_DB ? 0xffffffffu : 0xffffu;
}

void x86_stack_current(X86Cpu *cpu, X86Stack *st)
{
    const X86State *s = &cpu->state;
    st->seg = s->seg[X86_SS];
    st->mask = stack_mask(s, st->seg.access);
    st->sp = s->gpr[X86_RSP];
    st->access = x86_access_cpl(s);
    st->error = x86_ext(s);
    st->long_mode = (s->mode & X86_MODE_CS64) != 0;
}

/* Limit check of a stack access; the linear address. */
static uint64_t stack_address(X86Cpu *cpu, const X86Stack *st, uint64_t offset, unsigned size)
{
    if (st->long_mode) {
        if (!x86_is_canonical(&cpu->state, offset) ||
            !x86_is_canonical(&cpu->state, offset + size - 1)) {
            x86_raise_error(cpu, X86_EXC_SS, st->error);
        }
        return offset;
    }
    uint64_t last = offset + size - 1;
    bool expand_down = (st->seg.access & (X86_TYPE_CODE | X86_TYPE_EXPAND)) == X86_TYPE_EXPAND;
    uint64_t top = st->seg.access & X86_SEG_DB ? 0xffffffffu : 0xffffu;
    if (st->seg.unusable ||
        (expand_down ? offset <= st->seg.limit || last > top : last > st->seg.limit)) {
        x86_raise_error(cpu, X86_EXC_SS, st->error);
    }
    return (uint32_t)(st->seg.base + offset);
}

void x86_stack_push(X86Cpu *cpu, X86Stack *st, uint64_t value, unsigned size)
{
    uint64_t sp = (st->sp - size) & st->mask;
    x86_linear_store(cpu, stack_address(cpu, st, sp, size), value, size, st->access);
    st->sp = (st->sp & ~st->mask) | sp;
}

uint64_t x86_stack_peek(X86Cpu *cpu, X86Stack *st, unsigned offset, unsigned size)
{
    uint64_t at = (st->sp + offset) & st->mask;
    return x86_linear_load(cpu, stack_address(cpu, st, at, size), size, st->access);
}

uint64_t x86_stack_pop(X86Cpu *cpu, X86Stack *st, unsigned size)
{
    uint64_t value = x86_stack_peek(cpu, st, 0, size);
    st->sp = (st->sp & ~st->mask) | ((st->sp + size) & st->mask);
    return value;
}

void x86_stack_commit_sp(X86Cpu *cpu, const X86Stack *st)
{
    uint64_t *rsp = &cpu->state.gpr[X86_RSP];
    /* A 32-bit result clears the upper half, as every 32-bit register write does. */
    *rsp = st->mask == 0xffffu ? (*rsp & ~st->mask) | (st->sp & st->mask) : st->sp & st->mask;
}

void x86_push(X86Cpu *cpu, uint64_t value, unsigned opsize)
{
    X86Stack st;
    x86_stack_current(cpu, &st);
    x86_stack_push(cpu, &st, value, opsize);
    x86_stack_commit_sp(cpu, &st);
}

uint64_t x86_pop(X86Cpu *cpu, unsigned opsize)
{
    X86Stack st;
    x86_stack_current(cpu, &st);
    uint64_t value = x86_stack_pop(cpu, &st, opsize);
    x86_stack_commit_sp(cpu, &st);
    return value;
}

void x86_stack_from_tss(X86Cpu *cpu, unsigned level, X86Stack *st, uint16_t *selector,
                        X86Descriptor *d)
{
    const X86State *s = &cpu->state;
    bool big = s->tr.access & 8; /* 32-bit TSS */
    unsigned offset = big ? 4 + 8 * level : 2 + 4 * level;

    if (offset + (big ? 5 : 3) > s->tr.limit) {
        x86_raise_error(cpu, X86_EXC_TS, x86_selector_error(s, s->tr.selector));
    }
    uint64_t at = s->tr.base + offset;
    uint64_t sp = x86_linear_load(cpu, at, big ? 4 : 2, X86_ACCESS_IMPLICIT);
    uint16_t ss = (uint16_t)x86_linear_load(cpu, at + (big ? 4 : 2), 2, X86_ACCESS_IMPLICIT);

    uint32_t error = x86_selector_error(s, ss);
    if (x86_selector_is_null(ss)) {
        x86_raise_error(cpu, X86_EXC_TS, x86_ext(s));
    }
    x86_desc_read_or_raise(cpu, ss, d, X86_EXC_TS);
    if ((ss & X86_SELECTOR_RPL) != level || x86_desc_dpl(d) != level ||
        !x86_desc_is_writable_data(d)) {
        x86_raise_error(cpu, X86_EXC_TS, error);
    }
    if (!x86_desc_present(d)) {
        x86_raise_error(cpu, X86_EXC_SS, error);
    }
    x86_segment_from_desc(&st->seg, ss, d);
    st->mask = x86_desc_is_big(d) ? 0xffffffffu : 0xffffu;
    st->sp = sp;
    /* The privilege of the new stack; implicit, because mode is still that of the old one. */
    st->access = X86_ACCESS_IMPLICIT;
    st->error = error;
    st->long_mode = false;
    *selector = ss;
}

uint64_t x86_stack_from_tss64(X86Cpu *cpu, unsigned index)
{
    const X86State *s = &cpu->state;
    unsigned offset = 4 + 8 * index;

    if (offset + 7 > s->tr.limit) {
        x86_raise_error(cpu, X86_EXC_TS, x86_selector_error(s, s->tr.selector));
    }
    uint64_t rsp = x86_linear_load(cpu, s->tr.base + offset, 8, X86_ACCESS_IMPLICIT);
    if (!x86_is_canonical(s, rsp)) {
        x86_raise_error(cpu, X86_EXC_SS, x86_ext(s));
    }
    return rsp;
}
