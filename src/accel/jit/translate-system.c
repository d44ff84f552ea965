/*
 * System instructions that kernels run all the time, emitted in place where the mode says that they
 * can't fault: CLI, STI, SWAPGS, PUSHF, RDTSC, MOV from a segment register. Everything else of
 * their kind goes through helpers (ops.c).
 */
#include "accel/jit/translate-internal.h"

#include "cpu/x86/system.h"

static Mem in_state(int32_t offset)
{
    return mem_at(T1, offset);
}
#define STATE(f) in_state((int32_t)offsetof(X86State, f))

/* RFLAGS bits 8..15: IF is bit 1 of the second byte. */
static Mem flags_byte1(void)
{
    return in_state((int32_t)offsetof(X86State, rflags) + 1);
}
#define IF_IN_BYTE1 (X86_IF >> 8)

static bool supervisor(const JitTranslator *t)
{
    return (t->mode & X86_MODE_PE) && (t->mode & (X86_MODE_CPL | X86_MODE_VM86)) == 0;
}

/* Segment register read to a register: its number in *seg. */
static bool is_seg_read(const JitInsn *in, int *seg)
{
    if (in->i.mnemonic != ZYDIS_MNEMONIC_MOV || in->o[0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
        in->o[1].type != ZYDIS_OPERAND_TYPE_REGISTER || in->i.operand_width == 16) {
        return false;
    }
    *seg = jit_seg_number(in->o[1].reg.value);
    return *seg >= 0 && jit_gpr_number(in->o[0].reg.value) >= 0;
}

static bool is_wide_pushf(const JitInsn *in)
{
    return in->i.mnemonic == ZYDIS_MNEMONIC_PUSHFQ || in->i.mnemonic == ZYDIS_MNEMONIC_PUSHFD;
}

bool jit_is_inline_system(const JitTranslator *t, const JitInsn *in)
{
    int seg;
    if (t->variant != JIT_VARIANT_FAST || (t->mode & (X86_MODE_TF | X86_MODE_DEBUG))) {
        return false;
    }
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
        return supervisor(t);
    case ZYDIS_MNEMONIC_STI:
        /* not as the last of a page: its shadow reaches over the next instruction */
        return supervisor(t) && jit_next_offset(in) < 4096 - ZYDIS_MAX_INSTRUCTION_LENGTH &&
               t->n + 2 < JIT_BLOCK_INSNS;
    case ZYDIS_MNEMONIC_SWAPGS:
        return supervisor(t) && t->code64;
    case ZYDIS_MNEMONIC_RDTSC:
        return supervisor(t) && x86_tsc_is_native(t->j->cpu);
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_PUSHFD:
        return !(t->mode & X86_MODE_VM86);
    default:
        return is_seg_read(in, &seg);
    }
}

static void emit_cli(JitTranslator *t, const JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned form = jit_flags_form(in->live_in);
    jit_emit_flags_save(e, form);
    emit_load(e, 8, T1, JIT_FIELD(state));
    emit_rm(e, 1, 0x80, 4, flags_byte1()); /* and byte */
    emit8(e, (uint8_t)~IF_IN_BYTE1);
    jit_emit_flags_restore(e, form);
}

/* If nothing is waiting, an interrupt that comes later is taken at the block's end: behind the next
 * instruction. Otherwise the helper does it all. */
static void emit_sti(JitTranslator *t, const JitInsn *in)
{
    Emit *e = &t->hot, *c = &t->cold;
    unsigned form = jit_flags_form(in->live_in);
    int32_t requests =
        (int32_t)offsetof(X86Cpu, parent.requests) - (int32_t)offsetof(X86Cpu, state);
    JitOp *op = jit_arena_alloc(t->jit, sizeof(*op), 8);
    JitOp model = { 0 };

    model.fn = jit_op_for(in, &model);
    *op = model;
    op->offset = in->offset;
    op->length = in->i.length;
    op->flags_form = (uint8_t)form;
    jit_emit_flags_save(e, form);
    emit_load(e, 8, T1, JIT_FIELD(state));
    emit_alu_mi(e, 4, 7, in_state(requests), 0);
    uint8_t *waiting = emit_jcc(e, CC_NE);
    emit_rm(e, 1, 0x80, 1, flags_byte1()); /* or byte */
    emit8(e, IF_IN_BYTE1);
    jit_emit_flags_restore(e, form);
    emit_patch(e, waiting, emit_here(c));
    emit_mov_ri(c, T1, (uintptr_t)op);
    emit_jmp_to(c, t->jit->stubs.op);
}

static void emit_swapgs(JitTranslator *t)
{
    Emit *e = &t->hot;
    emit_load(e, 8, T1, JIT_FIELD(state));
    emit_load(e, 8, T2, JIT_FIELD(gs_base));
    emit_load(e, 8, RAX, STATE(kernel_gs_base));
    emit_store(e, 8, STATE(kernel_gs_base), T2);
    emit_store(e, 8, JIT_FIELD(gs_base), RAX);
    emit_store(e, 8, STATE(seg[X86_GS].base), RAX);
}

static void emit_rdtsc(JitTranslator *t, const JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned form = jit_flags_form(in->live_in);
    jit_emit_flags_save(e, form);
    emit_mov_rr(e, 8, T2, RAX);
    emit8(e, 0x0f);
    emit8(e, 0x31);
    emit_load(e, 8, T1, JIT_FIELD(state));
    emit_shift_ri(e, 8, 4, RDX, 32);
    emit_rr(e, 8, 0x0b, RDX, RAX); /* or rdx, rax */
    emit_rm(e, 8, 0x03, RDX, STATE(tsc_offset));
    emit_mov_rr(e, 4, RBX, RDX);
    emit_shift_ri(e, 8, 5, RDX, 32);
    emit_mov_rr(e, 8, RAX, T2);
    jit_emit_flags_restore(e, form);
}

static void emit_seg_read(JitTranslator *t, const JitInsn *in, int seg)
{
    Emit *e = &t->hot;
    unsigned g = (unsigned)jit_gpr_number(in->o[0].reg.value);
    int d = jit_host_reg[g] == NOREG ? T2 : jit_host_reg[g];
    emit_load(e, 8, T1, JIT_FIELD(state));
    emit_rm_0f(e, 4, 0xb7, d,
               in_state((int32_t)(offsetof(X86State, seg) + (size_t)seg * sizeof(X86Segment) +
                                  offsetof(X86Segment, selector))));
    if (d == T2) {
        emit_store(e, 8, jit_slot(g), T2);
    }
}

bool jit_emit_inline_system(JitTranslator *t, JitInsn *in)
{
    int seg;
    if (!jit_is_inline_system(t, in)) {
        return false;
    }
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
        emit_cli(t, in);
        return true;
    case ZYDIS_MNEMONIC_STI:
        emit_sti(t, in);
        return true;
    case ZYDIS_MNEMONIC_SWAPGS:
        emit_swapgs(t);
        return true;
    case ZYDIS_MNEMONIC_RDTSC:
        emit_rdtsc(t, in);
        return true;
    default:
        if (is_wide_pushf(in)) {
            jit_emit_pushf(t, in);
            return true;
        }
        if (is_seg_read(in, &seg)) {
            emit_seg_read(t, in, seg);
            return true;
        }
        return false;
    }
}
