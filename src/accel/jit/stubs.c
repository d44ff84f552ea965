/*
 * The runtime's own code: how C enters translated code, and how translated code reaches C.
 *
 * In translated code RSP points to JitCpu and the guest's registers are in host registers
 * (jit_host_reg) or at the start of JitCpu. Every way to C stores all sixteen into X86State.gpr, so
 * that helpers see the exact state and can leave by a long jump.
 */
#include "accel/jit/jit-internal.h"

/* RBX, R14 and R15 stand for guest RAX, RBX and RSP, because RAX is the scratch register that LAHF,
 * CMPXCHG and return values want, and host RSP is taken. */
const int8_t jit_host_reg[16] = { RBX, RCX, RDX,   R14,   R15, RBP, RSI,   RDI,
                                  R8,  R9,  NOREG, NOREG, R12, R13, NOREG, NOREG };

Mem jit_slot(unsigned guest_reg)
{
    switch (guest_reg) {
    case 10:
        return JIT_FIELD(r10);
    case 11:
        return JIT_FIELD(r11);
    case 14:
        return JIT_FIELD(r14);
    default:
        return JIT_FIELD(r15);
    }
}

static Mem slot_at(unsigned guest_reg, int32_t depth)
{
    Mem m = jit_slot(guest_reg);
    m.disp += depth;
    return m;
}

static Mem gpr_in_state(unsigned guest_reg)
{
    return mem_at(R10, (int32_t)(offsetof(X86State, gpr) + 8 * guest_reg));
}

/* depth: how far RSP is below JitCpu. Uses R10 and RAX. */
static void save_all(Emit *e, int32_t depth)
{
    emit_load(e, 8, R10, mem_at(RSP, (int32_t)offsetof(JitCpu, state) + depth));
    for (unsigned g = 0; g < 16; g++) {
        if (jit_host_reg[g] == NOREG) {
            emit_load(e, 8, RAX, slot_at(g, depth));
            emit_store(e, 8, gpr_in_state(g), RAX);
        } else {
            emit_store(e, 8, gpr_in_state(g), jit_host_reg[g]);
        }
    }
}

/* RSP at JitCpu. Uses R10 and RAX. */
static void load_all(Emit *e)
{
    emit_load(e, 8, R10, JIT_FIELD(state));
    for (unsigned g = 0; g < 16; g++) {
        if (jit_host_reg[g] == NOREG) {
            emit_load(e, 8, RAX, gpr_in_state(g));
            emit_store(e, 8, jit_slot(g), RAX);
        } else {
            emit_load(e, 8, jit_host_reg[g], gpr_in_state(g));
        }
    }
    emit_load(e, 8, RAX, mem_at(R10, (int32_t)offsetof(X86State, seg[X86_FS].base)));
    emit_store(e, 8, JIT_FIELD(fs_base), RAX);
    emit_load(e, 8, RAX, mem_at(R10, (int32_t)offsetof(X86State, seg[X86_GS].base)));
    emit_store(e, 8, JIT_FIELD(gs_base), RAX);
}

static void call_c(Emit *e, uintptr_t fn)
{
    emit_mov_ri(e, RAX, fn);
    emit_rr(e, 4, 0xff, 2, RAX);
}

static void push(Emit *e, int r)
{
    if (r >= 8) {
        emit8(e, 0x41);
    }
    emit8(e, (uint8_t)(0x50 | (r & 7)));
}

static void pop(Emit *e, int r)
{
    if (r >= 8) {
        emit8(e, 0x41);
    }
    emit8(e, (uint8_t)(0x58 | (r & 7)));
}

static const int8_t callee_saved[] = { RBX, RBP, R12, R13, R14, R15 };

static void make_enter(Jit *jit, Emit *e)
{
    jit->stubs.enter = emit_here(e);
    for (unsigned i = 0; i < ARRAY_LEN(callee_saved); i++) {
        push(e, callee_saved[i]);
    }
    emit_store(e, 8, mem_at(RDI, (int32_t)offsetof(JitCpu, host_stack)), RSP);
    emit_mov_rr(e, 8, RSP, RDI);
    emit_mov_rr(e, 8, R11, RSI);
    emit_store(e, 8, JIT_FIELD(tmp), RDX);
    /* falls into resume's tail */
    load_all(e);
    emit_load(e, 8, RAX, JIT_FIELD(tmp));
    emit_jmp_reg(e, R11);
}

static void make_leave(Jit *jit, Emit *e)
{
    jit->stubs.leave = emit_here(e);
    emit_load(e, 8, RSP, JIT_FIELD(host_stack));
    for (unsigned i = ARRAY_LEN(callee_saved); i-- > 0;) {
        pop(e, callee_saved[i]);
    }
    emit8(e, 0xc3);
    /* state.rip is set; the flags are in the host's: kept in tmp2 for the loop */
    jit->stubs.exit = emit_here(e);
    emit8(e, 0x9f); /* lahf */
    emit8(e, 0x0f); /* seto al */
    emit8(e, 0x90);
    emit8(e, 0xc0);
    emit_store(e, 8, JIT_FIELD(tmp2), RAX);
    save_all(e, 0);
    emit_jmp_to(e, jit->stubs.leave);
}

static void make_resume(Jit *jit, Emit *e)
{
    jit->stubs.resume = emit_here(e);
    emit_mov_rr(e, 8, R11, RAX);
    load_all(e);
    emit_load(e, 8, RAX, JIT_FIELD(tmp));
    emit_jmp_reg(e, R11);
}

static const uint8_t *make_resolve(Emit *e, uintptr_t fn)
{
    const uint8_t *start = emit_here(e);
    push(e, R10);
    push(e, RAX);
    save_all(e, 24);
    emit_lea(e, 8, RDI, mem_at(RSP, 24));
    emit_mov_rr(e, 8, RSI, R11);
    emit_load(e, 8, RDX, mem_at(RSP, 8));
    emit_load(e, 8, RCX, mem_at(RSP, 0));
    emit_alu_ri(e, 8, 5, RSP, 8);
    call_c(e, fn);
    emit_alu_ri(e, 8, 0, RSP, 8);
    emit_mov_rr(e, 8, R11, RAX);
    emit_load(e, 8, R10, mem_at(RSP, (int32_t)offsetof(JitCpu, state) + 24));
    for (unsigned g = 0; g < 16; g++) {
        int r = jit_host_reg[g];
        if (r == RCX || r == RDX || r == RSI || r == RDI || r == R8 || r == R9) {
            emit_load(e, 8, r, gpr_in_state(g));
        }
    }
    pop(e, RAX);
    pop(e, R10);
    emit8(e, 0xc3);
    return start;
}

static void make_commit(Jit *jit, Emit *e)
{
    jit->stubs.commit = emit_here(e);
    push(e, RAX);
    emit8(e, 0x9c); /* pushfq */
    save_all(e, 24);
    emit_lea(e, 8, RDI, mem_at(RSP, 24));
    emit_load(e, 8, RSI, mem_at(RSP, 0));
    emit_alu_ri(e, 8, 5, RSP, 8);
    call_c(e, (uintptr_t)jit_commit_entry);
    emit_alu_ri(e, 8, 0, RSP, 8);
    emit_load(e, 8, R10, mem_at(RSP, (int32_t)offsetof(JitCpu, state) + 24));
    for (unsigned g = 0; g < 16; g++) {
        int r = jit_host_reg[g];
        if (r == RCX || r == RDX || r == RSI || r == RDI || r == R8 || r == R9) {
            emit_load(e, 8, r, gpr_in_state(g));
        }
    }
    emit8(e, 0x9d); /* popfq */
    pop(e, RAX);
    emit8(e, 0xc3);
}

/* R10 and R11 as arguments two and three, RAX as four; goes on where the C function says. */
static const uint8_t *make_op(Jit *jit, Emit *e, uintptr_t fn, bool with_r11)
{
    const uint8_t *start = emit_here(e);
    push(e, R10);
    push(e, RAX);
    save_all(e, 16);
    pop(e, with_r11 ? RCX : RDX);
    pop(e, RSI);
    emit_mov_rr(e, 8, RDI, RSP);
    if (with_r11) {
        emit_mov_rr(e, 8, RDX, R11);
    }
    call_c(e, fn);
    emit_jmp_to(e, jit->stubs.resume);
    return start;
}

/* R11 and RAX as arguments two and three. */
static const uint8_t *make_dispatch(Jit *jit, Emit *e, uintptr_t fn)
{
    const uint8_t *start = emit_here(e);
    emit_mov_rr(e, 8, R10, R11);
    push(e, R10);
    push(e, RAX);
    save_all(e, 16);
    pop(e, RDX);
    pop(e, RSI);
    emit_mov_rr(e, 8, RDI, RSP);
    call_c(e, fn);
    emit_jmp_to(e, jit->stubs.resume);
    return start;
}

void jit_make_stubs(Jit *jit)
{
    Emit e = { .p = jit->hot, .limit = jit->hot_end, .rx = jit->rx - jit->rw };
    make_enter(jit, &e);
    make_leave(jit, &e);
    make_resume(jit, &e);
    jit->stubs.resolve = make_resolve(&e, (uintptr_t)jit_resolve_entry);
    jit->stubs.resolve_seg = make_resolve(&e, (uintptr_t)jit_resolve_seg_entry);
    make_commit(jit, &e);
    jit->stubs.op = make_op(jit, &e, (uintptr_t)jit_op_entry, true);
    jit->stubs.chain = make_op(jit, &e, (uintptr_t)jit_chain_entry, false);
    jit->stubs.dispatch = make_dispatch(jit, &e, (uintptr_t)jit_dispatch_entry);
    jit->stubs.turn_over = make_dispatch(jit, &e, (uintptr_t)jit_turn_over_entry);
    jit->hot = jit->hot_start = e.p;
}
