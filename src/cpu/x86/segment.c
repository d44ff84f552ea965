/*
 * Segment registers and the instructions about descriptors. SDM volume 3 chapters 3 and 5, volume 2
 * for each instruction's checks and their order. Compiled for general registers only.
 */
#include "cpu/x86/segment.h"

#include "cpu/x86/segment-internal.h"
#include "cpu/x86/system.h"

static bool is_protected(const X86State *s)
{
    return (s->mode & (X86_MODE_PE | X86_MODE_VM86)) == X86_MODE_PE;
}

/* --- Loads of data segment registers --- */

static void load_null(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    X86State *s = &cpu->state;
    unsigned cpl = x86_cpl(s);
    if (seg == X86_SS && (!(s->mode & X86_MODE_CS64) || cpl == 3 || (selector & 3) != cpl)) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(s));
    }
    uint64_t base = s->seg[seg].base;
    x86_segment_set_null(s, seg, selector, cpl);
    /* A null selector leaves the bases of FS and GS alone in 64-bit mode on AMD, clears them on
     * Intel; software may rely on neither. */
    if ((s->mode & X86_MODE_CS64) && (seg == X86_FS || seg == X86_GS) && cpu->is_amd) {
        s->seg[seg].base = base;
    }
}

static void load_stack_segment(X86Cpu *cpu, uint16_t selector)
{
    X86State *s = &cpu->state;
    uint32_t error = x86_selector_error(s, selector);
    unsigned cpl = x86_cpl(s);
    X86Descriptor d;

    x86_desc_read_or_raise(cpu, selector, &d, X86_EXC_GP);
    if ((selector & X86_SELECTOR_RPL) != cpl || !x86_desc_is_writable_data(&d) ||
        x86_desc_dpl(&d) != cpl) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_error(cpu, X86_EXC_SS, error);
    }
    x86_desc_set_accessed(cpu, &d);
    x86_segment_from_desc(&s->seg[X86_SS], selector, &d);
}

static void load_data_segment(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    X86State *s = &cpu->state;
    uint32_t error = x86_selector_error(s, selector);
    X86Descriptor d;

    x86_desc_read_or_raise(cpu, selector, &d, X86_EXC_GP);
    unsigned type = x86_desc_type(&d);
    if (x86_desc_is_system(&d) || ((type & X86_TYPE_CODE) && !(type & X86_TYPE_READABLE))) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    unsigned dpl = x86_desc_dpl(&d);
    if (!x86_desc_is_conforming(&d) && ((selector & X86_SELECTOR_RPL) > dpl || x86_cpl(s) > dpl)) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_error(cpu, X86_EXC_NP, error);
    }
    x86_desc_set_accessed(cpu, &d);
    x86_segment_from_desc(&s->seg[seg], selector, &d);
}

void x86_load_segment(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    X86State *s = &cpu->state;

    if (s->mode & X86_MODE_VM86) {
        x86_segment_set_v86(s, seg, selector);
    } else if (!(s->mode & X86_MODE_PE)) {
        x86_segment_set_real(s, seg, selector);
    } else if (x86_selector_is_null(selector)) {
        load_null(cpu, seg, selector);
    } else if (seg == X86_SS) {
        load_stack_segment(cpu, selector);
    } else {
        load_data_segment(cpu, seg, selector);
    }
    if (seg == X86_SS) {
        s->interrupt_shadow = 2;
    }
    x86_update_mode(cpu);
}

/* --- Addresses --- */

static bool access_allowed(const X86State *s, const X86Segment *seg, unsigned access)
{
    if (seg->unusable) {
        return false;
    }
    if (!is_protected(s)) {
        return true; /* limits only */
    }
    unsigned type = seg->access & X86_SEG_TYPE;
    if (type & X86_TYPE_CODE) {
        return (access & X86_ACCESS_FETCH) ||
               (!(access & X86_ACCESS_WRITE) && (type & X86_TYPE_READABLE));
    }
    return !(access & X86_ACCESS_WRITE) || (type & X86_TYPE_WRITABLE);
}

uint64_t x86_linear_address(X86Cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
                            unsigned access)
{
    const X86State *s = &cpu->state;
    const X86Segment *r = &s->seg[seg];
    unsigned vector = seg == X86_SS ? X86_EXC_SS : X86_EXC_GP;

    if (s->mode & X86_MODE_CS64) {
        uint64_t linear = offset + (seg == X86_FS || seg == X86_GS ? r->base : 0);
        if (!x86_is_canonical(s, linear) || !x86_is_canonical(s, linear + size - 1)) {
            x86_raise_error(cpu, vector, 0);
        }
        return linear;
    }
    uint64_t last = offset + size - 1;
    bool in_limit;
    if ((r->access & (X86_TYPE_CODE | X86_TYPE_EXPAND)) == X86_TYPE_EXPAND && is_protected(s)) {
        uint64_t top = r->access & X86_SEG_DB ? 0xffffffffu : 0xffffu;
        in_limit = offset > r->limit && last <= top;
    } else {
        /* A 4 GiB segment has no end to run over: offsets wrap. */
        in_limit = last <= r->limit || r->limit == 0xffffffffu;
    }
    if (!in_limit || !access_allowed(s, r, access)) {
        x86_raise_error(cpu, vector, 0);
    }
    return (uint32_t)(r->base + offset);
}

/* --- LAR, LSL, VERR, VERW, ARPL --- */

static bool set_zf(X86State *s, bool zf)
{
    s->rflags = zf ? s->rflags | X86_ZF : s->rflags & ~(uint64_t)X86_ZF;
    return zf;
}

static void require_protected(X86Cpu *cpu)
{
    if (!is_protected(&cpu->state)) {
        x86_raise(cpu, X86_EXC_UD);
    }
}

/* Readable for the purpose of these instructions: in its table, and privilege allows. */
static bool probe_descriptor(X86Cpu *cpu, uint16_t selector, X86Descriptor *d)
{
    require_protected(cpu);
    if (x86_selector_is_null(selector) || !x86_desc_read(cpu, selector, d)) {
        return false;
    }
    if (x86_desc_is_conforming(d)) {
        return true;
    }
    unsigned dpl = x86_desc_dpl(d);
    return x86_cpl(&cpu->state) <= dpl && (selector & X86_SELECTOR_RPL) <= dpl;
}

/* Which system types each instruction knows: SDM volume 2 tables of LAR and LSL. */
#define TYPES_LAR_LEGACY                                                       \
    (1u << X86_SYS_TSS16 | 1u << X86_SYS_LDT | 1u << X86_SYS_TSS16_BUSY |      \
     1u << X86_SYS_CALL_GATE16 | 1u << X86_SYS_TASK_GATE | 1u << X86_SYS_TSS | \
     1u << X86_SYS_TSS_BUSY | 1u << X86_SYS_CALL_GATE)
#define TYPES_LAR_LONG \
    (1u << X86_SYS_LDT | 1u << X86_SYS_TSS | 1u << X86_SYS_TSS_BUSY | 1u << X86_SYS_CALL_GATE)
#define TYPES_LSL_LEGACY                                                                      \
    (1u << X86_SYS_TSS16 | 1u << X86_SYS_LDT | 1u << X86_SYS_TSS16_BUSY | 1u << X86_SYS_TSS | \
     1u << X86_SYS_TSS_BUSY)
#define TYPES_LSL_LONG (1u << X86_SYS_LDT | 1u << X86_SYS_TSS | 1u << X86_SYS_TSS_BUSY)

static bool type_is_known(const X86State *s, const X86Descriptor *d, unsigned legacy,
                          unsigned long_mode)
{
    unsigned known = s->mode & X86_MODE_LMA ? long_mode : legacy;
    return !x86_desc_is_system(d) || (known >> x86_desc_type(d) & 1);
}

bool x86_lar(X86Cpu *cpu, uint16_t selector, uint32_t *result)
{
    X86State *s = &cpu->state;
    X86Descriptor d;
    if (!probe_descriptor(cpu, selector, &d) ||
        !type_is_known(s, &d, TYPES_LAR_LEGACY, TYPES_LAR_LONG)) {
        return set_zf(s, false);
    }
    *result = d.high & 0x00f0ff00u;
    return set_zf(s, true);
}

bool x86_lsl(X86Cpu *cpu, uint16_t selector, uint32_t *result)
{
    X86State *s = &cpu->state;
    X86Descriptor d;
    if (!probe_descriptor(cpu, selector, &d) ||
        !type_is_known(s, &d, TYPES_LSL_LEGACY, TYPES_LSL_LONG)) {
        return set_zf(s, false);
    }
    *result = x86_desc_limit(&d);
    return set_zf(s, true);
}

bool x86_verr(X86Cpu *cpu, uint16_t selector)
{
    X86State *s = &cpu->state;
    X86Descriptor d;
    bool ok = probe_descriptor(cpu, selector, &d) && !x86_desc_is_system(&d) &&
              (!x86_desc_is_code(&d) || (x86_desc_type(&d) & X86_TYPE_READABLE));
    return set_zf(s, ok);
}

bool x86_verw(X86Cpu *cpu, uint16_t selector)
{
    X86State *s = &cpu->state;
    X86Descriptor d;
    return set_zf(s, probe_descriptor(cpu, selector, &d) && x86_desc_is_writable_data(&d));
}

uint16_t x86_arpl(X86Cpu *cpu, uint16_t destination, uint16_t source)
{
    require_protected(cpu);
    bool raise_rpl = (destination & X86_SELECTOR_RPL) < (source & X86_SELECTOR_RPL);
    set_zf(&cpu->state, raise_rpl);
    return raise_rpl ? (destination & ~X86_SELECTOR_RPL) | (source & X86_SELECTOR_RPL)
                     : destination;
}

/* --- System segment registers --- */

static void require_cpl0(X86Cpu *cpu)
{
    if (x86_cpl(&cpu->state)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

/* Base of a system descriptor, 16 bytes of it in long mode. */
static uint64_t system_base(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d)
{
    uint64_t base = x86_desc_base(d);
    if (cpu->state.mode & X86_MODE_LMA) {
        base |= (uint64_t)x86_desc_read_high(cpu, selector, d) << 32;
        if (!x86_is_canonical(&cpu->state, base)) {
            x86_raise_error(cpu, X86_EXC_GP, x86_selector_error(&cpu->state, selector));
        }
    }
    return base;
}

void x86_lldt(X86Cpu *cpu, uint16_t selector)
{
    X86State *s = &cpu->state;
    uint32_t error = x86_selector_error(s, selector);
    X86Descriptor d;

    require_protected(cpu);
    require_cpl0(cpu);
    if (x86_selector_is_null(selector)) {
        s->ldtr = (X86Segment){ .selector = selector, .unusable = true };
        return;
    }
    if (selector & X86_SELECTOR_TI) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    x86_desc_read_or_raise(cpu, selector, &d, X86_EXC_GP);
    if (!x86_desc_is_system(&d) || x86_desc_type(&d) != X86_SYS_LDT) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_error(cpu, X86_EXC_NP, error);
    }
    uint64_t base = system_base(cpu, selector, &d);
    x86_segment_from_desc(&s->ldtr, selector, &d);
    s->ldtr.base = base;
}

void x86_ltr(X86Cpu *cpu, uint16_t selector)
{
    X86State *s = &cpu->state;
    uint32_t error = x86_selector_error(s, selector);
    X86Descriptor d;

    require_protected(cpu);
    require_cpl0(cpu);
    if (x86_selector_is_null(selector) || (selector & X86_SELECTOR_TI)) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    x86_desc_read_or_raise(cpu, selector, &d, X86_EXC_GP);
    unsigned type = x86_desc_type(&d);
    bool available = x86_desc_is_system(&d) &&
                     (type == X86_SYS_TSS || (type == X86_SYS_TSS16 && !(s->mode & X86_MODE_LMA)));
    if (!available) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_error(cpu, X86_EXC_NP, error);
    }
    uint64_t base = system_base(cpu, selector, &d);
    x86_linear_set_bits(cpu, d.addr + 5, 2, 0); /* busy */
    d.high |= 2u << 8;
    x86_segment_from_desc(&s->tr, selector, &d);
    s->tr.base = base;
}

static void check_umip(X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    if ((s->mode & X86_MODE_UMIP) && x86_cpl(s)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

uint16_t x86_sldt(X86Cpu *cpu)
{
    require_protected(cpu);
    check_umip(cpu);
    return cpu->state.ldtr.selector;
}

uint16_t x86_str(X86Cpu *cpu)
{
    require_protected(cpu);
    check_umip(cpu);
    return cpu->state.tr.selector;
}

static void load_table_register(X86Cpu *cpu, X86TableRegister *r, uint64_t linear, unsigned opsize)
{
    unsigned access = x86_access_cpl(&cpu->state);
    require_cpl0(cpu);
    x86_linear_check(cpu, linear, opsize == 8 ? 10 : 6, access);
    uint16_t limit = (uint16_t)x86_linear_load(cpu, linear, 2, access);
    uint64_t base = x86_linear_load(cpu, linear + 2, opsize == 8 ? 8 : 4, access);
    if (opsize == 2) {
        base &= 0xffffff;
    }
    if (opsize == 8 && !x86_is_canonical(&cpu->state, base)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    *r = (X86TableRegister){ .base = base, .limit = limit };
}

static void store_table_register(X86Cpu *cpu, const X86TableRegister *r, uint64_t linear,
                                 unsigned opsize)
{
    unsigned access = x86_access_cpl(&cpu->state) | X86_ACCESS_WRITE;
    check_umip(cpu);
    /* All 32 bits of the base with a 16-bit operand size too, as every CPU since the 386 does. */
    x86_linear_check(cpu, linear, opsize == 8 ? 10 : 6, access);
    x86_linear_store(cpu, linear, r->limit, 2, access);
    x86_linear_store(cpu, linear + 2, r->base, opsize == 8 ? 8 : 4, access);
}

void x86_lgdt(X86Cpu *cpu, uint64_t linear, unsigned opsize)
{
    load_table_register(cpu, &cpu->state.gdtr, linear, opsize);
}

void x86_lidt(X86Cpu *cpu, uint64_t linear, unsigned opsize)
{
    load_table_register(cpu, &cpu->state.idtr, linear, opsize);
}

void x86_sgdt(X86Cpu *cpu, uint64_t linear, unsigned opsize)
{
    store_table_register(cpu, &cpu->state.gdtr, linear, opsize);
}

void x86_sidt(X86Cpu *cpu, uint64_t linear, unsigned opsize)
{
    store_table_register(cpu, &cpu->state.idtr, linear, opsize);
}
