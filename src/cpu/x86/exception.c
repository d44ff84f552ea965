/*
 * Exceptions and interrupts: raising, combining, delivering. SDM volume 3 chapters 6 and 20.
 * Compiled for general registers only.
 */
#include "cpu/x86/exception.h"

#include <inttypes.h>

#include "base/log.h"
#include "cpu/x86/segment-internal.h"
#include "cpu/x86/system.h"

/* --- Raising --- */

/* Table 6-5: the classes that double faults are made of. */
static bool is_contributory(int vector)
{
    return vector == X86_EXC_DE || (vector >= X86_EXC_TS && vector <= X86_EXC_GP);
}

static bool has_error_code(unsigned vector)
{
    return vector == X86_EXC_DF || (vector >= X86_EXC_TS && vector <= X86_EXC_PF) ||
           vector == X86_EXC_AC;
}

/* What becomes of `second` when it is raised during the delivery of `first` (-1: of nothing). */
static int combine(int first, int second)
{
    if (first == X86_EXC_DF) {
        return X86_TRIPLE_FAULT;
    }
    if ((is_contributory(first) && is_contributory(second)) ||
        (first == X86_EXC_PF && (is_contributory(second) || second == X86_EXC_PF))) {
        return X86_EXC_DF;
    }
    return second;
}

void x86_record_exception(X86Cpu *cpu, unsigned vector, bool has_error, uint32_t error)
{
    X86State *s = &cpu->state;
    int combined = combine(s->exception_delivering, (int)vector);

    s->exception_delivering = -1;
    s->exception_pending = combined;
    s->exception_has_error = has_error;
    s->exception_error = error;
    s->exception_trap = false;
    if (combined != (int)vector) {
        s->exception_has_error = true;
        s->exception_error = 0;
    }
}

void x86_raise_error(X86Cpu *cpu, unsigned vector, uint32_t error)
{
    x86_record_exception(cpu, vector, true, error);
    cpu->raise(cpu);
}

void x86_raise(X86Cpu *cpu, unsigned vector)
{
    x86_record_exception(cpu, vector, has_error_code(vector), 0);
    cpu->raise(cpu);
}

void x86_raise_page_fault(X86Cpu *cpu, uint64_t linear, uint32_t error)
{
    cpu->state.cr2 = linear;
    x86_raise_error(cpu, X86_EXC_PF, error);
}

void x86_raise_debug(X86Cpu *cpu, uint64_t dr6_bits, bool fault)
{
    X86State *s = &cpu->state;
    /* The condition bits are those of this exception; BD, BS, BT accumulate until cleared. */
    s->dr[6] = (s->dr[6] & ~UINT64_C(0xf)) | dr6_bits;
    s->dr[7] &= ~UINT64_C(0x2000); /* GD */
    s->dr6_pending = 0;
    x86_record_exception(cpu, X86_EXC_DB, false, 0);
    s->exception_trap = !fault;
    cpu->raise(cpu);
}

/* --- Delivering --- */

typedef enum EventKind {
    EVENT_EXCEPTION,  /* a fault, trap or abort of the processor */
    EVENT_INTERRUPT,  /* external, NMI */
    EVENT_SOFTWARE,   /* INT n: gate DPL and v86 rules apply */
    EVENT_BREAKPOINT, /* INT3, INTO: gate DPL applies */
    EVENT_INT1,
} EventKind;

typedef struct Event {
    uint8_t vector;
    EventKind kind;
    bool has_error;
    bool set_rf; /* in the pushed flags */
    uint32_t error;
    uint64_t return_rip;
} Event;

static bool is_software(const Event *e)
{
    return e->kind == EVENT_SOFTWARE || e->kind == EVENT_BREAKPOINT;
}

/* The error code of a fault that an IDT entry causes. */
static uint32_t idt_error(const X86State *s, const Event *e)
{
    return e->vector * 8u | 2u | x86_ext(s);
}

static void clear_flags(X86State *s, uint64_t flags)
{
    s->rflags &= ~flags;
}

/* Real mode, and v86 tasks that keep their own interrupt table (VME). Flags as pushed are given. */
static void deliver_real(X86Cpu *cpu, const Event *e, uint64_t flags)
{
    X86State *s = &cpu->state;
    bool v86 = s->mode & X86_MODE_VM86;
    uint64_t table = v86 ? 0 : s->idtr.base;
    X86Stack st;

    if (!v86 && e->vector * 4u + 3 > s->idtr.limit) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    uint32_t entry = (uint32_t)x86_linear_load(cpu, table + e->vector * 4u, 4,
                                               v86 ? X86_ACCESS_USER : X86_ACCESS_IMPLICIT);
    x86_stack_current(cpu, &st);
    x86_stack_push(cpu, &st, flags, 2);
    x86_stack_push(cpu, &st, s->seg[X86_CS].selector, 2);
    x86_stack_push(cpu, &st, e->return_rip, 2);
    x86_stack_commit_sp(cpu, &st);
    if (v86) {
        x86_segment_set_v86(s, X86_CS, entry >> 16);
    } else {
        x86_segment_set_real(s, X86_CS, entry >> 16);
    }
    s->rip = entry & 0xffff;
}

/* INT n in a v86 task, section 20.3: true if the task's own table took it. */
static bool deliver_v86_software(X86Cpu *cpu, const Event *e)
{
    X86State *s = &cpu->state;
    unsigned iopl = (s->rflags & X86_IOPL) >> 12;

    if (s->cr4 & X86_CR4_VME) {
        /* The redirection bitmap lies in the 32 bytes below the I/O bitmap: figure 20-5. */
        uint32_t io_map = (uint32_t)x86_linear_load(cpu, s->tr.base + 0x66, 2, X86_ACCESS_IMPLICIT);
        uint32_t at = io_map - 32 + e->vector / 8;
        if (io_map < 32 || at > s->tr.limit) {
            x86_raise_error(cpu, X86_EXC_GP, 0);
        }
        uint64_t byte = x86_linear_load(cpu, s->tr.base + at, 1, X86_ACCESS_IMPLICIT);
        if (!(byte >> (e->vector % 8) & 1)) {
            uint64_t flags = s->rflags;
            if (iopl < 3) {
                flags = (flags & ~(uint64_t)X86_IF) | X86_IOPL;
                flags |= s->rflags & X86_VIF ? X86_IF : 0;
            }
            deliver_real(cpu, e, flags);
            clear_flags(s, X86_TF | X86_AC | (iopl < 3 ? X86_VIF : X86_IF));
            return true;
        }
    }
    if (iopl < 3) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    return false;
}

/* An IDT gate, checked: section 6.12.1. */
typedef struct Gate {
    unsigned type;
    uint16_t selector;
    uint64_t offset;
    unsigned ist;
    X86Descriptor code; /* not for task gates */
    unsigned level;     /* new CPL */
} Gate;

static void read_gate(X86Cpu *cpu, const Event *e, Gate *g)
{
    const X86State *s = &cpu->state;
    bool long_mode = s->mode & X86_MODE_LMA;
    unsigned size = long_mode ? 16 : 8;
    uint32_t error = idt_error(s, e);

    if ((e->vector + 1u) * size - 1 > s->idtr.limit) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    uint64_t addr = s->idtr.base + e->vector * size;
    uint64_t raw = x86_linear_load(cpu, addr, 8, X86_ACCESS_IMPLICIT);
    uint32_t high = raw >> 32;
    g->type = high >> 8 & 0x1f; /* S included: it must be 0 */
    g->selector = (uint16_t)(raw >> 16);
    g->offset = (raw & 0xffff) | (high & 0xffff0000u);
    g->ist = 0;
    unsigned known = 1u << X86_SYS_INT_GATE | 1u << X86_SYS_TRAP_GATE;
    if (!long_mode) {
        known |= 1u << X86_SYS_TASK_GATE | 1u << X86_SYS_INT_GATE16 | 1u << X86_SYS_TRAP_GATE16;
    }
    if (g->type > 15 || !(known >> g->type & 1)) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    if (is_software(e) && (high >> 13 & 3) < x86_cpl(s)) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    if (!(high & 0x8000)) {
        x86_raise_error(cpu, X86_EXC_NP, error);
    }
    if (long_mode) {
        g->ist = high & 7;
        g->offset |= x86_linear_load(cpu, addr + 8, 4, X86_ACCESS_IMPLICIT) << 32;
    } else if (g->type == X86_SYS_INT_GATE16 || g->type == X86_SYS_TRAP_GATE16) {
        g->offset &= 0xffff;
    }
}

/* The code segment a gate leads to, and with it the new privilege level. */
static void read_gate_code(X86Cpu *cpu, Gate *g)
{
    const X86State *s = &cpu->state;
    unsigned cpl = x86_cpl(s);

    if (x86_selector_is_null(g->selector)) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(s));
    }
    x86_desc_read_or_raise(cpu, g->selector, &g->code, X86_EXC_GP);
    unsigned dpl = x86_desc_dpl(&g->code);
    uint32_t error = x86_selector_error(s, g->selector);
    if (!x86_desc_is_code(&g->code) || dpl > cpl) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    if ((s->mode & X86_MODE_LMA) && (!x86_desc_is_long(&g->code) || x86_desc_is_big(&g->code))) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
    if (!x86_desc_present(&g->code)) {
        x86_raise_error(cpu, X86_EXC_NP, error);
    }
    g->level = x86_desc_is_conforming(&g->code) ? cpl : dpl;
    if ((s->mode & X86_MODE_VM86) && g->level != 0) {
        x86_raise_error(cpu, X86_EXC_GP, error);
    }
}

static uint64_t pushed_flags(const X86State *s, const Event *e)
{
    return e->set_rf ? s->rflags | X86_RF : s->rflags;
}

static void enter_handler(X86Cpu *cpu, Gate *g)
{
    X86State *s = &cpu->state;
    bool interrupt_gate = g->type == X86_SYS_INT_GATE || g->type == X86_SYS_INT_GATE16;
    x86_segment_set_cs(cpu, g->selector, &g->code, g->level);
    s->rip = g->offset;
    clear_flags(s, X86_TF | X86_NT | X86_VM | X86_RF | (interrupt_gate ? X86_IF : 0));
}

/* Section 6.14. */
static void deliver_long(X86Cpu *cpu, const Event *e, Gate *g)
{
    X86State *s = &cpu->state;
    unsigned cpl = x86_cpl(s);
    X86Stack st = { .mask = ~UINT64_C(0), .error = x86_ext(s), .long_mode = true };

    st.access = g->level < cpl ? X86_ACCESS_IMPLICIT : x86_access_cpl(s);
    if (g->ist) {
        st.sp = x86_stack_from_tss64(cpu, 3 + g->ist);
    } else if (g->level < cpl) {
        st.sp = x86_stack_from_tss64(cpu, g->level);
    } else {
        st.sp = s->gpr[X86_RSP];
    }
    st.sp &= ~UINT64_C(15);
    x86_stack_push(cpu, &st, s->seg[X86_SS].selector, 8);
    x86_stack_push(cpu, &st, s->gpr[X86_RSP], 8);
    x86_stack_push(cpu, &st, pushed_flags(s, e), 8);
    x86_stack_push(cpu, &st, s->seg[X86_CS].selector, 8);
    x86_stack_push(cpu, &st, e->return_rip, 8);
    if (e->has_error) {
        x86_stack_push(cpu, &st, e->error, 8);
    }
    if (!x86_is_canonical(s, g->offset)) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(s));
    }
    if (g->level < cpl) {
        x86_segment_set_null(s, X86_SS, g->level, g->level);
    }
    s->gpr[X86_RSP] = st.sp;
    enter_handler(cpu, g);
}

/* Flags, CS, IP and error code, in the gate's size. */
static void push_frame(X86Cpu *cpu, const Event *e, X86Stack *st, unsigned size)
{
    const X86State *s = &cpu->state;
    x86_stack_push(cpu, st, pushed_flags(s, e), size);
    x86_stack_push(cpu, st, s->seg[X86_CS].selector, size);
    x86_stack_push(cpu, st, e->return_rip, size);
    if (e->has_error) {
        x86_stack_push(cpu, st, e->error, size);
    }
}

static void check_gate_target(X86Cpu *cpu, const Gate *g)
{
    if (g->offset > x86_desc_limit(&g->code)) {
        x86_raise_error(cpu, X86_EXC_GP, x86_ext(&cpu->state));
    }
}

static void deliver_inner(X86Cpu *cpu, const Event *e, Gate *g, unsigned size)
{
    X86State *s = &cpu->state;
    bool v86 = s->mode & X86_MODE_VM86;
    X86Descriptor ss_desc;
    uint16_t ss;
    X86Stack st;

    x86_stack_from_tss(cpu, g->level, &st, &ss, &ss_desc);
    if (v86) {
        static const uint8_t order[] = { X86_GS, X86_FS, X86_DS, X86_ES };
        for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
            x86_stack_push(cpu, &st, s->seg[order[i]].selector, size);
        }
    }
    x86_stack_push(cpu, &st, s->seg[X86_SS].selector, size);
    x86_stack_push(cpu, &st, s->gpr[X86_RSP], size);
    push_frame(cpu, e, &st, size);
    check_gate_target(cpu, g);

    if (v86) {
        static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };
        for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
            x86_segment_set_null(s, data[i], 0, 0);
        }
    }
    x86_desc_set_accessed(cpu, &ss_desc);
    x86_segment_from_desc(&s->seg[X86_SS], ss, &ss_desc);
    x86_stack_commit_sp(cpu, &st);
    enter_handler(cpu, g);
}

static void deliver_same_level(X86Cpu *cpu, const Event *e, Gate *g, unsigned size)
{
    X86Stack st;
    x86_stack_current(cpu, &st);
    push_frame(cpu, e, &st, size);
    check_gate_target(cpu, g);
    x86_stack_commit_sp(cpu, &st);
    enter_handler(cpu, g);
}

static void deliver_to_task(X86Cpu *cpu, const Event *e, const Gate *g)
{
    X86Descriptor d;
    x86_task_check(cpu, g->selector, &d, X86_EXC_GP);
    x86_task_switch(cpu, g->selector, &d, X86_TASK_CALL, e->return_rip);
    if (e->has_error) {
        x86_push(cpu, e->error, cpu->state.tr.access & 8 ? 4 : 2);
    }
}

static void deliver_protected(X86Cpu *cpu, const Event *e)
{
    const X86State *s = &cpu->state;
    Gate g;

    read_gate(cpu, e, &g);
    if (g.type == X86_SYS_TASK_GATE) {
        deliver_to_task(cpu, e, &g);
        return;
    }
    read_gate_code(cpu, &g);
    if (s->mode & X86_MODE_LMA) {
        deliver_long(cpu, e, &g);
        return;
    }
    unsigned size = g.type == X86_SYS_INT_GATE || g.type == X86_SYS_TRAP_GATE ? 4 : 2;
    if (g.level < x86_cpl(s)) {
        deliver_inner(cpu, e, &g, size);
    } else {
        deliver_same_level(cpu, e, &g, size);
    }
}

static void log_event(X86Cpu *cpu, const Event *e)
{
    const X86State *s = &cpu->state;
    if (!log_wants_address(s->rip)) {
        return;
    }
    x86_park_fpu(cpu);
    log_printf("int: cpu %d v=%02x e=%04x kind=%d cpl=%u IP=%04x:%016" PRIx64 " SP=%04x:%016" PRIx64
               " RAX=%016" PRIx64 " CR2=%016" PRIx64 "\n",
               cpu->parent.index, e->vector, e->error, e->kind, x86_cpl(s), s->seg[X86_CS].selector,
               s->rip, s->seg[X86_SS].selector, s->gpr[X86_RSP], s->gpr[X86_RAX], s->cr2);
}

static void deliver(X86Cpu *cpu, const Event *e)
{
    X86State *s = &cpu->state;

    if (log_enabled(LOG_INT) || (log_enabled(LOG_PCALL) && (s->mode & X86_MODE_PE))) {
        log_event(cpu, e);
    }
    s->exception_delivering = e->kind == EVENT_EXCEPTION ? e->vector : X86_EVENT_BENIGN;
    s->exception_external = !is_software(e);
    if (!(s->mode & X86_MODE_PE)) {
        deliver_real(cpu, e, s->rflags);
        clear_flags(s, X86_IF | X86_TF | X86_AC | X86_RF);
    } else if (!((s->mode & X86_MODE_VM86) && e->kind == EVENT_SOFTWARE) ||
               !deliver_v86_software(cpu, e)) {
        deliver_protected(cpu, e);
    }
    s->exception_delivering = -1;
    s->interrupt_shadow = 0;
    x86_update_mode(cpu);
}

static void shut_down(X86Cpu *cpu)
{
    cpu->state.exception_pending = -1;
    cpu->state.exception_delivering = -1;
    x86_triple_fault(cpu);
}

void x86_deliver_pending(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    int vector = s->exception_pending;

    if (vector == X86_TRIPLE_FAULT) {
        shut_down(cpu);
        return;
    }
    s->exception_pending = -1;
    Event e = {
        .vector = (uint8_t)vector,
        .kind = EVENT_EXCEPTION,
        .has_error = s->exception_has_error && (s->mode & X86_MODE_PE),
        .error = s->exception_error,
        /* Section 17.3.1.1: set for faults, not for traps, and not for instruction breakpoints,
         * which are the only faults among the #DBs. */
        .set_rf = vector != X86_EXC_DB && vector != X86_EXC_DF && vector != X86_EXC_MC,
        .return_rip = s->rip,
    };
    deliver(cpu, &e);
}

void x86_deliver_interrupt(X86Cpu *cpu, unsigned vector, bool nmi)
{
    Event e = { .vector = (uint8_t)vector, .kind = EVENT_INTERRUPT, .return_rip = cpu->state.rip };
    if (nmi) {
        cpu->state.nmi_blocked = true;
    }
    deliver(cpu, &e);
}

/* --- Instructions --- */

void x86_int_n(X86Cpu *cpu, unsigned vector, uint64_t next_rip)
{
    Event e = { .vector = (uint8_t)vector, .kind = EVENT_SOFTWARE, .return_rip = next_rip };
    deliver(cpu, &e);
}

void x86_int3(X86Cpu *cpu, uint64_t next_rip)
{
    Event e = { .vector = X86_EXC_BP, .kind = EVENT_BREAKPOINT, .return_rip = next_rip };
    deliver(cpu, &e);
}

void x86_into(X86Cpu *cpu, uint64_t next_rip)
{
    Event e = { .vector = X86_EXC_OF, .kind = EVENT_BREAKPOINT, .return_rip = next_rip };
    if (cpu->state.mode & X86_MODE_CS64) {
        x86_raise(cpu, X86_EXC_UD);
    }
    if (cpu->state.rflags & X86_OF) {
        deliver(cpu, &e);
    } else {
        cpu->state.rip = next_rip;
    }
}

/* A #DB that isn't subject to gate privilege and leaves DR6 alone. */
void x86_int1(X86Cpu *cpu, uint64_t next_rip)
{
    Event e = { .vector = X86_EXC_DB, .kind = EVENT_INT1, .return_rip = next_rip };
    deliver(cpu, &e);
}

void x86_bound(X86Cpu *cpu, uint64_t value, uint64_t limits, unsigned size)
{
    unsigned access = x86_access_cpl(&cpu->state);
    uint64_t low = x86_linear_load(cpu, limits, size, access);
    uint64_t high = x86_linear_load(cpu, limits + size, size, access);
    bool inside = size == 2 ? (int16_t)value >= (int16_t)low && (int16_t)value <= (int16_t)high
                            : (int32_t)value >= (int32_t)low && (int32_t)value <= (int32_t)high;
    if (!inside) {
        x86_raise(cpu, X86_EXC_BR);
    }
}
