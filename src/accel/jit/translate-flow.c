/*
 * Stack instructions and control transfers.
 *
 * Code knows its place only as an offset in its page: blocks are shared by all linear addresses
 * that map the page. rip = JitCpu.rip_base + offset. A jump within the page is chained directly;
 * one that leaves it, and every indirect one, goes through the jump cache, which is keyed by linear
 * address and address space.
 */
#include "accel/jit/translate-internal.h"

static unsigned stack_opsize(const JitTranslator *t, const JitInsn *in)
{
    if (t->code64) {
        return in->i.operand_width == 16 ? 2 : 8;
    }
    return in->i.operand_width / 8;
}

/* Near branches are 64-bit in 64-bit mode whatever the prefixes say. */
static unsigned branch_opsize(const JitTranslator *t, const JitInsn *in)
{
    return t->code64 ? 8 : in->i.operand_width == 16 ? 2 : 4;
}

/* guest RSP += n, in the stack's width; flags stay. */
static void add_rsp(JitTranslator *t, int32_t n)
{
    Emit *e = &t->hot;
    if (t->code64) {
        emit_lea(e, 8, R15, mem_at(R15, n));
    } else if (t->mode & X86_MODE_SS32) {
        emit_lea(e, 4, R15, mem_at(R15, n));
    } else {
        emit_lea(e, 4, T1, mem_at(R15, n));
        emit_mov_rr(e, 2, R15, T1);
    }
}

static void truncate_rip(const JitTranslator *t, Emit *e, int r, unsigned opsize)
{
    if (opsize == 2) {
        emit_movzx_rr16(e, r, r);
    } else if (opsize == 4) {
        emit_mov_rr(e, 4, r, r);
    }
}

/* r = rip_base + offset */
static void load_rip(const JitTranslator *t, Emit *e, int r, int64_t offset, unsigned opsize)
{
    emit_load(e, 8, r, JIT_FIELD(rip_base));
    emit_lea(e, opsize == 8 ? 8 : 4, r, mem_at(r, (int32_t)offset));
    if (opsize == 2) {
        emit_movzx_rr16(e, r, r);
    }
}

void jit_emit_indirect(JitTranslator *t)
{
    Emit *e = &t->hot;
    if (!jit_mode_flat_code(t->mode)) {
        emit_jmp_to(e, t->jit->stubs.dispatch);
        return;
    }
    Mem tag = { .base = RSP, .index = T1, .disp = (int32_t)offsetof(JitCpu, jumps[0].tag) };
    Mem code = { .base = RSP, .index = T1, .disp = (int32_t)offsetof(JitCpu, jumps[0].code) };
    emit_rr(e, 4, 0x69, T1, T2); /* imul r10d, r11d, imm32 */
    emit32(e, JIT_JUMP_HASH);
    emit_shift_ri(e, 4, 5, T1, 32 - JIT_JUMP_BITS - 4);
    emit_alu_ri(e, 4, 4, T1, (JIT_JUMP_SIZE - 1) << 4);
    /* kept in memory: another thread may poison the key at any time, so it is read only once */
    emit_store(e, 8, JIT_FIELD(jump_rip), T2);
    emit_rm(e, 8, 0x33, T2, JIT_FIELD(jump_key));
    emit_rm(e, 8, 0x3b, T2, tag);
    uint8_t *miss = emit_jcc(e, CC_NE);
    emit_load(e, 8, T2, JIT_FIELD(jump_rip));
    emit_alu_ri(e, 8, 4, T2, -4096);
    emit_store(e, 8, JIT_FIELD(rip_base), T2);
    emit_jmp_mem(e, code);
    Emit *c = &t->cold;
    emit_patch(e, miss, emit_here(c));
    emit_load(c, 8, T2, JIT_FIELD(jump_rip));
    emit_jmp_to(c, t->jit->stubs.dispatch);
}

/* Where an exit's jump goes while it isn't chained. */
static JitExit *new_exit(JitTranslator *t, uint16_t offset)
{
    assert(t->n_exits < ARRAY_LEN(t->exits));
    JitExit *x = &t->exits[t->n_exits++];
    *x = (JitExit){ .offset = offset, .stub = emit_here(&t->cold) };
    Emit *c = &t->cold;
    jit_emit_flags_save(c, JIT_FLAGS_ALL);
    /* the address of the exit is known when the block is finished: patched there */
    emit8(c, 0x49);
    emit8(c, 0xba); /* mov r10, imm64 */
    emit64(c, 0);
    emit_jmp_to(c, t->jit->stubs.chain);
    return x;
}

static bool chainable(const JitTranslator *t, int64_t offset)
{
    return offset >= 0 && offset < 4096 && t->variant == JIT_VARIANT_FAST;
}

static void exit_far(JitTranslator *t, int64_t offset, const JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned size = t->code64 ? 8 : t->mode & X86_MODE_CS32 ? 4 : 2;
    if (jit_is_block_end(in)) {
        size = branch_opsize(t, in);
    }
    jit_emit_flags_save(e, JIT_FLAGS_ALL);
    load_rip(t, e, T2, offset, size);
    jit_emit_indirect(t);
}

void jit_emit_exit(JitTranslator *t, int64_t offset, const JitInsn *in)
{
    Emit *e = &t->hot;
    if (!chainable(t, offset)) {
        exit_far(t, offset, in);
        return;
    }
    JitExit *x = new_exit(t, (uint16_t)offset);
    emit_align_rel32(e, 1);
    x->rel = emit_jmp(e);
    emit_patch(e, x->rel, x->stub);
}

/* Make a kicked CPU notice: a load that faults then. The signal finds the state in front of the
 * instruction. Changes RAX only. */
static void emit_poll(JitTranslator *t)
{
    emit_load(&t->hot, 8, RAX, JIT_FIELD(poll));
    emit_load(&t->hot, 4, RAX, mem_at(RAX, 0));
}

static int64_t branch_target(const JitInsn *in)
{
    return (int64_t)jit_next_offset(in) + in->o[0].imm.value.s;
}

static void emit_jcc_insn(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned cc = in->i.opcode & 15;
    int64_t target = branch_target(in);
    if (target <= in->offset && chainable(t, target)) {
        emit_poll(t);
    }
    if (chainable(t, target)) {
        JitExit *x = new_exit(t, (uint16_t)target);
        emit_align_rel32(e, 2);
        x->rel = emit_jcc(e, cc);
        emit_patch(e, x->rel, x->stub);
    } else {
        uint8_t *skip = emit_jcc8(e, cc ^ 1);
        exit_far(t, target, in);
        emit_patch8(e, skip);
    }
    jit_emit_exit(t, jit_next_offset(in), in);
    t->ended = true;
}

/* LOOP, LOOPE, LOOPNE, JCXZ: none changes flags. */
static void emit_loop(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned addr = in->i.address_width / 8;
    int64_t target = branch_target(in);
    bool jcxz = in->i.opcode == 0xe3;
    uint8_t *out[2] = { NULL, NULL };

    if (target <= in->offset && chainable(t, target)) {
        emit_poll(t);
    }
    if (!jcxz) {
        if (addr == 2) {
            emit_lea(e, 4, T1, mem_at(RCX, -1));
            emit_mov_rr(e, 2, RCX, T1);
        } else {
            emit_lea(e, addr, RCX, mem_at(RCX, -1));
        }
    }
    /* JRCXZ over RCX cut to size */
    if (addr == 2) {
        emit_mov_rr(e, 8, T1, RCX);
        emit_movzx_rr16(e, RCX, RCX);
    } else if (addr == 4) {
        emit8(e, 0x67);
    }
    emit8(e, 0xe3);
    emit8(e, 0);
    uint8_t *zero = e->p - 1;
    /* not zero */
    if (addr == 2) {
        emit_mov_rr(e, 8, RCX, T1);
    }
    if (!jcxz && in->i.opcode != 0xe2) {
        out[0] = emit_jcc8(e, in->i.opcode == 0xe1 ? CC_NE : CC_E);
    }
    if (jcxz) {
        uint8_t *over = e->p + 1;
        emit8(e, 0xeb);
        emit8(e, 0);
        emit_patch8(e, zero);
        if (addr == 2) {
            emit_mov_rr(e, 8, RCX, T1);
        }
        jit_emit_exit(t, target, in);
        emit_patch8(e, over);
        jit_emit_exit(t, jit_next_offset(in), in);
    } else {
        jit_emit_exit(t, target, in);
        emit_patch8(e, zero);
        if (addr == 2) {
            emit_mov_rr(e, 8, RCX, T1);
        }
        if (out[0]) {
            emit_patch8(e, out[0]);
        }
        jit_emit_exit(t, jit_next_offset(in), in);
    }
    t->ended = true;
}

/* --- Stack --- */

/* Store register `value` (a host register, not the one that holds the address) below RSP. */
static int push_check(JitTranslator *t, JitInsn *in, unsigned size, bool keep_flags)
{
    Access a = { .in = in,
                 .ea = jit_ea_stack(t, -(int64_t)size),
                 .size = size,
                 .write = true,
                 .keep_flags = keep_flags,
                 .stack = true };
    return jit_emit_access(t, &a);
}

static void emit_push(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned size = stack_opsize(t, in);
    const ZydisDecodedOperand *o = &in->o[0];

    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        Access a = { .in = in, .ea = jit_ea_of(t, in, o), .size = size, .read = true };
        int p = jit_emit_access(t, &a);
        emit_load(e, size, T1, mem_at(p, t->access_disp));
        emit_store(e, 8, JIT_FIELD(tmp2), T1);
        p = push_check(t, in, size, false);
        emit_load(e, 8, T1, JIT_FIELD(tmp2));
        emit_store(e, size, mem_at(p, t->access_disp), T1);
    } else {
        int p = push_check(t, in, size, false);
        if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            emit_rm(e, size, 0xc7, 0, mem_at(p, t->access_disp));
            if (size == 2) {
                emit16(e, (uint16_t)o->imm.value.u);
            } else {
                emit32(e, (uint32_t)o->imm.value.u);
            }
        } else {
            int r = jit_use_reg(e, (unsigned)jit_gpr_number(o->reg.value), T1);
            emit_store(e, size, mem_at(p, t->access_disp), r);
        }
    }
    jit_emit_commit(t);
    add_rsp(t, -(int32_t)size);
}

/* PUSHF outside virtual-8086 mode: RFLAGS without RF and VM, the arithmetic flags from the host's.
 */
void jit_emit_pushf(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned size = stack_opsize(t, in);
    unsigned form = jit_flags_form(in->live_out);
    emit8(e, 0x9c); /* pushfq: below JitCpu */
    emit8(e, 0x41);
    emit8(e, 0x5b); /* pop r11 */
    jit_emit_flags_save(e, form);
    emit_alu_ri(e, 4, 4, T2, X86_ARITH_FLAGS);
    emit_load(e, 8, T1, JIT_FIELD(state));
    emit_load(e, 4, T1, mem_at(T1, (int32_t)offsetof(X86State, rflags)));
    emit_alu_ri(e, 4, 4, T1, (int32_t) ~(X86_ARITH_FLAGS | X86_RF | X86_VM));
    emit_rr(e, 4, 0x0b, T2, T1);
    emit_store(e, 8, JIT_FIELD(tmp2), T2);
    jit_emit_flags_restore(e, form);
    in->live_in =
        in->live_out; /* the flags are read already: the check keeps what is wanted behind */
    int p = push_check(t, in, size, false);
    emit_load(e, 8, T1, JIT_FIELD(tmp2));
    emit_store(e, size, mem_at(p, t->access_disp), T1);
    jit_emit_commit(t);
    add_rsp(t, -(int32_t)size);
}

static void emit_pop(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned size = stack_opsize(t, in);
    const ZydisDecodedOperand *o = &in->o[0];
    Access a = { .in = in, .ea = jit_ea_stack(t, 0), .size = size, .read = true, .stack = true };
    int p = jit_emit_access(t, &a);

    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        emit_load(e, size, T1, mem_at(p, t->access_disp));
        emit_store(e, 8, JIT_FIELD(tmp2), T1);
        Access w = { .in = in, .ea = jit_ea_of(t, in, o), .size = size, .write = true };
        if (w.ea.base == X86_RSP) {
            w.ea.disp += size; /* RSP counts as already popped */
        }
        p = jit_emit_access(t, &w);
        emit_load(e, 8, T1, JIT_FIELD(tmp2));
        emit_store(e, size, mem_at(p, t->access_disp), T1);
        jit_emit_commit(t);
        add_rsp(t, (int32_t)size);
        return;
    }
    unsigned g = (unsigned)jit_gpr_number(o->reg.value);
    int r = jit_host_reg[g];
    if (g == X86_RSP) {
        emit_load(e, size, T2, mem_at(p, t->access_disp));
        add_rsp(t, (int32_t)size);
        emit_mov_rr(e, size, R15, T2);
    } else if (r != NOREG) {
        emit_load(e, size, r, mem_at(p, t->access_disp));
        add_rsp(t, (int32_t)size);
    } else if (size == 2) {
        emit_load(e, 2, T2, mem_at(p, t->access_disp));
        emit_store(e, 2, jit_slot(g), T2);
        add_rsp(t, 2);
    } else {
        emit_load(e, size, T2, mem_at(p, t->access_disp));
        emit_store(e, 8, jit_slot(g), T2);
        add_rsp(t, (int32_t)size);
    }
}

static void emit_leave(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned size = stack_opsize(t, in);
    Access a = { .in = in, .ea = jit_ea_stack(t, 0), .size = size, .read = true, .stack = true };
    a.ea.base = X86_RBP;
    int p = jit_emit_access(t, &a);
    if (t->code64) {
        emit_lea(e, 8, R15, mem_at(RBP, (int32_t)size));
    } else if (t->mode & X86_MODE_SS32) {
        emit_lea(e, 4, R15, mem_at(RBP, (int32_t)size));
    } else {
        emit_lea(e, 4, T1, mem_at(RBP, (int32_t)size));
        emit_mov_rr(e, 2, R15, T1);
    }
    emit_load(e, size, RBP, mem_at(p, t->access_disp));
}

/* --- Calls and returns --- */

static void emit_call(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned size = branch_opsize(t, in);
    const ZydisDecodedOperand *o = &in->o[0];
    bool direct = o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;

    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        Access a = { .in = in, .ea = jit_ea_of(t, in, o), .size = size, .read = true };
        int p = jit_emit_access(t, &a);
        emit_load(e, size == 2 ? 4 : size, T1, mem_at(p, t->access_disp));
        emit_store(e, 8, JIT_FIELD(tmp2), T1);
    } else if (!direct) {
        int r = jit_use_reg(e, (unsigned)jit_gpr_number(o->reg.value), T1);
        emit_store(e, 8, JIT_FIELD(tmp2), r);
    }
    bool chained = direct && chainable(t, branch_target(in));
    int p = push_check(t, in, size, !chained);
    load_rip(t, e, T1, jit_next_offset(in), size);
    emit_store(e, size, mem_at(p, t->access_disp), T1);
    jit_emit_commit(t);
    add_rsp(t, -(int32_t)size);
    if (chained) {
        jit_emit_exit(t, branch_target(in), in);
    } else {
        if (direct) {
            load_rip(t, e, T2, branch_target(in), size);
        } else {
            emit_load(e, 8, T2, JIT_FIELD(tmp2));
            truncate_rip(t, e, T2, size);
        }
        jit_emit_indirect(t);
    }
    t->ended = true;
}

static void emit_ret(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned size = branch_opsize(t, in);
    Access a = { .in = in,
                 .ea = jit_ea_stack(t, 0),
                 .size = size,
                 .read = true,
                 .keep_flags = true,
                 .stack = true };
    int p = jit_emit_access(t, &a);
    int32_t extra = in->o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
                            in->o[0].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT
                        ? (int32_t)in->o[0].imm.value.u
                        : 0;
    if (size == 2) {
        emit_rm_0f(e, 4, 0xb7, T2, mem_at(p, t->access_disp));
    } else {
        emit_load(e, size, T2, mem_at(p, t->access_disp));
    }
    add_rsp(t, (int32_t)size + extra);
    jit_emit_indirect(t);
    t->ended = true;
}

static void emit_jmp_insn(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned size = branch_opsize(t, in);
    const ZydisDecodedOperand *o = &in->o[0];

    if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        int64_t target = branch_target(in);
        if (target <= in->offset && chainable(t, target)) {
            emit_poll(t);
        }
        jit_emit_exit(t, target, in);
    } else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        Access a = {
            .in = in, .ea = jit_ea_of(t, in, o), .size = size, .read = true, .keep_flags = true
        };
        int p = jit_emit_access(t, &a);
        emit_load(e, size == 2 ? 4 : size, T2, mem_at(p, t->access_disp));
        truncate_rip(t, e, T2, size);
        jit_emit_indirect(t);
    } else {
        jit_emit_flags_save(e, JIT_FLAGS_ALL);
        int r = jit_use_reg(e, (unsigned)jit_gpr_number(o->reg.value), T2);
        if (r != T2) {
            emit_mov_rr(e, 8, T2, r);
        }
        truncate_rip(t, e, T2, size);
        jit_emit_indirect(t);
    }
    t->ended = true;
}

static bool is_near(const JitInsn *in)
{
    return in->i.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
}

static bool is_jcc(const JitInsn *in)
{
    return in->i.meta.category == ZYDIS_CATEGORY_COND_BR && in->i.mnemonic != ZYDIS_MNEMONIC_LOOP &&
           in->i.mnemonic != ZYDIS_MNEMONIC_LOOPE && in->i.mnemonic != ZYDIS_MNEMONIC_LOOPNE &&
           in->i.mnemonic != ZYDIS_MNEMONIC_JCXZ && in->i.mnemonic != ZYDIS_MNEMONIC_JECXZ &&
           in->i.mnemonic != ZYDIS_MNEMONIC_JRCXZ;
}

bool jit_is_block_end(const JitInsn *in)
{
    switch (in->i.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
        return true;
    default:
        return false;
    }
}

bool jit_emit_flow(JitTranslator *t, JitInsn *in)
{
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
        if (in->o[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            jit_seg_number(in->o[0].reg.value) >= 0) {
            return false;
        }
        if (in->i.mnemonic == ZYDIS_MNEMONIC_PUSH) {
            emit_push(t, in);
        } else {
            emit_pop(t, in);
        }
        return true;
    case ZYDIS_MNEMONIC_LEAVE:
        emit_leave(t, in);
        return true;
    case ZYDIS_MNEMONIC_CALL:
        if (!is_near(in)) {
            return false;
        }
        emit_call(t, in);
        return true;
    case ZYDIS_MNEMONIC_RET:
        if (!is_near(in)) {
            return false;
        }
        emit_ret(t, in);
        return true;
    case ZYDIS_MNEMONIC_JMP:
        if (!is_near(in)) {
            return false;
        }
        emit_jmp_insn(t, in);
        return true;
    case ZYDIS_MNEMONIC_LOOP:
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
        emit_loop(t, in);
        return true;
    default:
        if (is_jcc(in)) {
            emit_jcc_insn(t, in);
            return true;
        }
        return false;
    }
}
