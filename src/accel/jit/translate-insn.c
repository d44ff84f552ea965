/*
 * One guest instruction re-emitted as itself: registers renamed, the memory operand replaced by a
 * checked host address.
 *
 * Until the instruction itself runs, nothing the guest can see has changed: a fault in the check,
 * or a host signal at the instruction, finds the state in front of it. Guest registers that live in
 * JitCpu are loaded before and stored behind.
 */
#include "accel/jit/translate-internal.h"

/* A register operand on its way into the host instruction. */
typedef struct RegUse {
    int guest;
    int host;      /* register number to encode */
    bool slot;     /* lives in JitCpu: host is a scratch register */
    bool high;     /* AH, CH, DH, BH */
    bool via_byte; /* the high byte was brought into a scratch register's low byte */
    bool written;
    uint8_t encoding;
} RegUse;

typedef struct Uses {
    RegUse r[4];
    unsigned n;
    bool rax_in, rax_out; /* implicit accumulator */
} Uses;

static void collect(const JitInsn *in, Uses *u)
{
    memset(u, 0, sizeof(*u));
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        const ZydisDecodedOperand *o = &in->o[n];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) {
            continue;
        }
        int g = jit_gpr_number(o->reg.value);
        if (g < 0) {
            continue;
        }
        bool written = (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
        if (o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
            (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ||
             o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
             o->encoding == ZYDIS_OPERAND_ENCODING_OPCODE ||
             o->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)) {
            assert(u->n < ARRAY_LEN(u->r));
            u->r[u->n++] = (RegUse){ .guest = g,
                                     .host = jit_host_reg[g],
                                     .slot = jit_host_reg[g] == NOREG,
                                     .high = jit_gpr_is_high(o->reg.value),
                                     .written = written,
                                     .encoding = (uint8_t)o->encoding };
        } else if (g == X86_RAX) {
            u->rax_in = true;
            u->rax_out |= written;
        }
    }
}

/* Number of a register operand of any class for an encoding; -1 if the field isn't one. */
static int operand_number(const JitInsn *in, ZydisOperandEncoding enc)
{
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        const ZydisDecodedOperand *o = &in->o[n];
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->encoding == enc &&
            o->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            return ZydisRegisterGetId(o->reg.value);
        }
    }
    return -1;
}

static bool has_vector_operand(const JitInsn *in)
{
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        if (in->o[n].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            switch (ZydisRegisterGetClass(in->o[n].reg.value)) {
            case ZYDIS_REGCLASS_MMX:
            case ZYDIS_REGCLASS_XMM:
            case ZYDIS_REGCLASS_YMM:
                return true;
            default:
                break;
            }
        }
    }
    return false;
}

/* Prefixes, opcode and immediate of the guest instruction; registers are filled in by the caller.
 */
static void describe(const JitInsn *in, Enc *c)
{
    const ZydisDecodedInstruction *i = &in->i;
    unsigned end = i->raw.modrm.offset + 1u;

    memset(c, 0, sizeof(*c));
    c->op = i->opcode;
    c->has_modrm = (i->attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    switch (i->opcode_map) {
    case ZYDIS_OPCODE_MAP_0F:
        c->map = 1;
        break;
    case ZYDIS_OPCODE_MAP_0F38:
        c->map = 2;
        break;
    case ZYDIS_OPCODE_MAP_0F3A:
        c->map = 3;
        break;
    default:
        break;
    }
    if (i->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        c->vex = true;
        c->vex_pp = i->raw.vex.pp;
        c->vex_l = i->raw.vex.L;
        c->w = i->raw.vex.W;
        int v = operand_number(in, ZYDIS_OPERAND_ENCODING_NDSNDD);
        c->vvvv = v < 0 ? 0 : (uint8_t)v;
    } else {
        bool mandatory66 = false;
        for (unsigned n = 0; n < i->raw.prefix_count; n++) {
            uint8_t v = i->raw.prefixes[n].value;
            ZydisPrefixType type = i->raw.prefixes[n].type;
            if (v == 0xf0 && (i->attributes & ZYDIS_ATTRIB_HAS_LOCK)) {
                c->lock = 1;
            } else if ((v == 0xf2 || v == 0xf3) && type != ZYDIS_PREFIX_TYPE_IGNORED) {
                c->rep = v;
            } else if (v == 0x66 && type == ZYDIS_PREFIX_TYPE_MANDATORY) {
                mandatory66 = true;
            }
        }
        c->pfx66 = mandatory66 || (i->operand_width == 16 && !has_vector_operand(in));
        /* XACQUIRE and XRELEASE are hints */
        if (c->lock) {
            c->rep = 0;
        }
        c->w = (i->attributes & ZYDIS_ATTRIB_HAS_REX) && i->raw.rex.W;
        if (c->w && !mandatory66) {
            c->pfx66 = 0;
        }
    }
    if (c->has_modrm) {
        end += i->raw.sib.offset ? 1 : 0;
        end += i->raw.disp.size / 8;
        c->imm = in->bytes + end;
        c->imm_len = (uint8_t)(i->length - end);
        c->reg = i->raw.modrm.reg;
        c->rm = i->raw.modrm.rm;
    } else if (i->raw.imm[0].size) {
        c->imm = in->bytes + i->raw.imm[0].offset;
        c->imm_len = (uint8_t)(i->length - i->raw.imm[0].offset);
    }
}

/* Forms with an implied accumulator or a register in the opcode become ModRM forms. */
static void to_modrm(const JitInsn *in, Enc *c)
{
    if (c->has_modrm || c->vex) {
        return;
    }
    if (c->map == 0 && (c->op & 0xc6) == 0x04 && c->op < 0x40) {
        /* ADD ... CMP accumulator, imm */
        c->reg = c->op >> 3;
        c->rm = RBX;
        c->op = c->op & 1 ? 0x81 : 0x80;
        c->has_modrm = true;
    } else if (c->map == 0 && (c->op == 0xa8 || c->op == 0xa9)) {
        c->reg = 0;
        c->rm = RBX;
        c->op = c->op & 1 ? 0xf7 : 0xf6;
        c->has_modrm = true;
    }
}

static bool is_byte_class(ZydisRegister r)
{
    return ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_GPR8;
}

static void load_high(Emit *e, const RegUse *r)
{
    emit_store(e, 8, JIT_FIELD(tmp), jit_host_reg[r->guest]);
    Mem m = JIT_FIELD(tmp);
    m.disp++;
    emit_rm_0f(e, 4, 0xb6, r->host, m);
}

static void store_high(Emit *e, const RegUse *r)
{
    Mem m = JIT_FIELD(tmp);
    emit_store(e, 8, m, jit_host_reg[r->guest]);
    m.disp++;
    emit_store(e, 1, m, r->host);
    m.disp--;
    emit_load(e, 8, jit_host_reg[r->guest], m);
}

/* A high byte gets a scratch register; the same byte twice (XADD BH, BH) the same one. */
static void bring_over(Uses *u, unsigned n, const int8_t *scratch, unsigned *next)
{
    RegUse *r = &u->r[n];
    r->via_byte = true;
    for (unsigned k = 0; k < u->n; k++) {
        if (k != n && u->r[k].via_byte && u->r[k].guest == r->guest) {
            r->host = u->r[k].host;
            return;
        }
    }
    assert(*next < 3);
    r->host = scratch[(*next)++];
}

/* Give every register operand its host register; scratch[] lists what is free. */
static void assign(Emit *e, Uses *u, const int8_t *scratch, unsigned n_scratch, bool need_rex)
{
    unsigned next = 0;
    for (unsigned n = 0; n < u->n; n++) {
        RegUse *r = &u->r[n];
        need_rex |= !r->high && (r->slot || r->host >= 8 || (r->host >= 4 && r->guest >= 4));
    }
    for (unsigned n = 0; n < u->n; n++) {
        RegUse *r = &u->r[n];
        if (r->high && !need_rex && r->guest != X86_RBX) {
            r->host = jit_host_reg[r->guest] + 4; /* BH, CH, DH */
        } else if (r->high) {
            bring_over(u, n, scratch, &next);
            need_rex |= r->host >= 8;
        } else if (r->slot) {
            unsigned same = 0;
            while (same < n && !(u->r[same].slot && u->r[same].guest == r->guest)) {
                same++;
            }
            if (same < n) {
                r->host = u->r[same].host;
                u->r[same].written |= r->written;
                r->written = false;
                continue;
            }
            assert(next < n_scratch);
            r->host = scratch[next++];
        }
    }
    /* a high byte given its own number before something forced REX: bring it over too */
    for (unsigned n = 0; n < u->n; n++) {
        RegUse *r = &u->r[n];
        if (r->high && !r->via_byte && need_rex) {
            bring_over(u, n, scratch, &next);
        }
    }
    for (unsigned n = 0; n < u->n; n++) {
        RegUse *r = &u->r[n];
        if (r->via_byte) {
            load_high(e, r);
        } else if (r->slot) {
            bool first = true;
            for (unsigned k = 0; k < n; k++) {
                first &= !(u->r[k].slot && u->r[k].host == r->host);
            }
            if (first) {
                emit_load(e, 8, r->host, jit_slot((unsigned)r->guest));
            }
        }
    }
}

static void write_back(Emit *e, const Uses *u)
{
    for (unsigned n = 0; n < u->n; n++) {
        const RegUse *r = &u->r[n];
        if (!r->written) {
            continue;
        }
        if (r->via_byte) {
            store_high(e, r);
        } else if (r->slot) {
            emit_store(e, 8, jit_slot((unsigned)r->guest), r->host);
        }
    }
}

/* CMPXCHG8B and CMPXCHG16B want RBX, which is guest RAX. */
static void emit_cmpxchg_pair(JitTranslator *t, JitInsn *in)
{
    Enc c;
    Emit *e = &t->hot;
    describe(in, &c);
    unsigned size = in->i.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B ? 16 : 8;
    Access a = { .in = in,
                 .ea = jit_ea_of(t, in, &in->o[in->mem]),
                 .size = size,
                 .read = true,
                 .write = true,
                 .rax_in_use = true };
    c.mem = true;
    c.m = mem_at(jit_emit_access(t, &a), 0);
    if (size == 16) {
        /* #GP for a misaligned operand must come while RBX is still guest RAX: a helper raises it
         */
        unsigned form = jit_flags_form(in->live_in);
        Emit *cold = &t->cold;
        JitOp *op = jit_arena_alloc(t->jit, sizeof(*op), 8);
        *op = (JitOp){ .fn = jit_op_misaligned,
                       .offset = in->offset,
                       .length = in->i.length,
                       .ends = true,
                       .flags_form = (uint8_t)form };
        jit_emit_flags_save(e, form);
        emit_rr(e, 4, 0xf7, 0, T2); /* test r11d, 15 */
        emit32(e, 15);
        uint8_t *bad = emit_jcc(e, CC_NE);
        jit_emit_flags_restore(e, form);
        emit_patch(e, bad, emit_here(cold));
        emit_mov_ri(cold, T1, (uintptr_t)op);
        emit_jmp_to(cold, t->jit->stubs.op);
    }
    emit_mov_rr(e, 8, RAX, RBX);
    emit_mov_rr(e, 8, RBX, R14);
    emit_enc(e, &c);
    emit_mov_rr(e, 8, RBX, RAX);
    jit_emit_commit(t);
}

/* The operation of the BT family on memory with the index in a register. */
static void emit_bit_string(JitTranslator *t, JitInsn *in)
{
    Enc c;
    Emit *e = &t->hot;
    describe(in, &c);
    unsigned size = in->i.operand_width / 8;
    int g = jit_gpr_number(in->o[1].reg.value);
    Access a = { .in = in,
                 .ea = jit_ea_of(t, in, &in->o[0]),
                 .size = size,
                 .read = true,
                 .write = in->i.mnemonic != ZYDIS_MNEMONIC_BT,
                 .keep_flags = in->live_in != 0,
                 .rax_in_use = true };
    a.ea.bit_reg = (int8_t)g;
    a.ea.bit_size = (uint8_t)size;
    c.mem = true;
    c.m = mem_at(jit_emit_access(t, &a), 0);
    int r = jit_use_reg(e, (unsigned)g, T1);
    if (r != T1) {
        emit_mov_rr(e, 4, T1, r);
    }
    emit_alu_ri(e, 4, 4, T1, (int32_t)(8 * size - 1));
    if (a.keep_flags) {
        jit_emit_flags_restore(e, JIT_FLAGS_ALL);
    }
    c.reg = T1;
    emit_enc(e, &c);
    jit_emit_commit(t);
}

void jit_emit_generic(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    Uses u;
    Enc c;
    bool wrote_memory = false;

    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
        emit_cmpxchg_pair(t, in);
        return;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (in->mem >= 0 && in->o[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
            emit_bit_string(t, in);
            return;
        }
        break;
    default:
        break;
    }

    collect(in, &u);
    describe(in, &c);
    bool rax = u.rax_in || u.rax_out;
    if (!c.has_modrm && !c.vex) {
        to_modrm(in, &c);
        if (c.has_modrm) {
            rax = u.rax_in = u.rax_out = false;
        }
    }
    int8_t scratch[3];
    unsigned n_scratch = 0;
    scratch[n_scratch++] = T1;
    bool need_rex = c.w;
    if (in->mem >= 0) {
        const ZydisDecodedOperand *o = &in->o[in->mem];
        Access a = { .in = in,
                     .ea = jit_ea_of(t, in, o),
                     .size = o->size / 8,
                     .read = (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0,
                     .write = (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0,
                     .rax_in_use = rax };
        if (a.size == 0) {
            a.size = 1;
        }
        if (!a.read && !a.write) {
            a.read = true;
        }
        int p = jit_emit_access(t, &a);
        wrote_memory = a.write;
        c.mem = true;
        c.m = mem_at(p, t->access_disp);
        need_rex |= p >= 8;
        if (p != T2) {
            scratch[n_scratch++] = T2;
        } else if (!rax) {
            scratch[n_scratch++] = RAX;
        }
    } else {
        scratch[n_scratch++] = T2;
        if (!rax) {
            scratch[n_scratch++] = RAX;
        }
    }
    assign(e, &u, scratch, n_scratch, need_rex);
    if (rax) {
        emit_mov_rr(e, 8, RAX, RBX);
    }
    if (c.has_modrm) {
        int reg = operand_number(in, ZYDIS_OPERAND_ENCODING_MODRM_REG);
        int rm = operand_number(in, ZYDIS_OPERAND_ENCODING_MODRM_RM);
        if (reg >= 0) {
            c.reg = (uint8_t)reg;
        }
        if (rm >= 0 && !c.mem) {
            c.rm = (uint8_t)rm;
        }
    }
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        const ZydisDecodedOperand *o = &in->o[n];
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT && is_byte_class(o->reg.value) &&
            !jit_gpr_is_high(o->reg.value)) {
            c.byte_reg |= o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
            c.byte_rm |= o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
        }
    }
    for (unsigned n = 0; n < u.n; n++) {
        const RegUse *r = &u.r[n];
        switch (r->encoding) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG:
            c.reg = (uint8_t)r->host;
            c.byte_reg |= r->via_byte;
            break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM:
            c.rm = (uint8_t)r->host;
            c.byte_rm |= r->via_byte;
            break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD:
            c.vvvv = (uint8_t)r->host;
            break;
        default: /* in the opcode: BSWAP, MOV imm */
            c.op = (uint8_t)((c.op & 0xf8) | (r->host & 7));
            c.rm = (uint8_t)r->host;
            c.byte_rm |= is_byte_class(in->o[0].reg.value) &&
                         (!jit_gpr_is_high(in->o[0].reg.value) || r->via_byte);
            break;
        }
    }
    emit_enc(e, &c);
    bool same_acc =
        in->i.mnemonic == ZYDIS_MNEMONIC_CMPXCHG && u.n && u.r[0].guest == X86_RAX && in->mem < 0;
    if (u.rax_out && !same_acc) {
        emit_mov_rr(e, 8, RBX, RAX);
    }
    write_back(e, &u);
    if (wrote_memory) {
        jit_emit_commit(t);
    }
}

/*
 * The XSAVE family runs on the host's own state, with the components cut to the guest's XCR0. The
 * supervisor forms are the compacted ones: there are no supervisor components. XSAVEOPT becomes
 * XSAVE, which may always write more.
 */
typedef struct XsaveForm {
    uint16_t mnemonic;
    uint8_t op, reg;
    bool w, write, supervisor, compact;
} XsaveForm;

static const XsaveForm xsave_forms[] = {
    { ZYDIS_MNEMONIC_XSAVE, 0xae, 4, .write = true },
    { ZYDIS_MNEMONIC_XSAVE64, 0xae, 4, .w = true, .write = true },
    { ZYDIS_MNEMONIC_XSAVEOPT, 0xae, 4, .write = true },
    { ZYDIS_MNEMONIC_XSAVEOPT64, 0xae, 4, .w = true, .write = true },
    { ZYDIS_MNEMONIC_XSAVEC, 0xc7, 4, .write = true, .compact = true },
    { ZYDIS_MNEMONIC_XSAVEC64, 0xc7, 4, .w = true, .write = true, .compact = true },
    { ZYDIS_MNEMONIC_XSAVES, 0xc7, 4, .write = true, .supervisor = true, .compact = true },
    { ZYDIS_MNEMONIC_XSAVES64, 0xc7, 4, .w = true, .write = true, .supervisor = true,
      .compact = true },
    { ZYDIS_MNEMONIC_XRSTOR, 0xae, 5 },
    { ZYDIS_MNEMONIC_XRSTOR64, 0xae, 5, .w = true },
    { ZYDIS_MNEMONIC_XRSTORS, 0xae, 5, .supervisor = true, .compact = true },
    { ZYDIS_MNEMONIC_XRSTORS64, 0xae, 5, .w = true, .supervisor = true, .compact = true },
};

#define XSAVE_AREA_AVX 832 /* legacy 512, header 64, AVX 256: SDM volume 1 chapter 13 */

static const XsaveForm *xsave_form(const JitTranslator *t, const JitInsn *in)
{
    if (!(t->mode & X86_MODE_AVX) || (t->mode & (X86_MODE_FPU_TRAP | X86_MODE_AVX512))) {
        return NULL;
    }
    for (unsigned n = 0; n < ARRAY_LEN(xsave_forms); n++) {
        const XsaveForm *f = &xsave_forms[n];
        if (f->mnemonic == in->i.mnemonic) {
            bool ok = (!f->supervisor || (t->mode & X86_MODE_CPL) == 0) &&
                      (!f->compact || t->jit->host_xsavec);
            return ok ? f : NULL;
        }
    }
    return NULL;
}

bool jit_is_native_xsave(const JitTranslator *t, const JitInsn *in)
{
    return xsave_form(t, in) != NULL;
}

static bool emit_xsave(JitTranslator *t, JitInsn *in)
{
    const XsaveForm *f = xsave_form(t, in);
    Emit *e = &t->hot;
    if (!f) {
        return false;
    }
    Access a = { .in = in,
                 .ea = jit_ea_of(t, in, &in->o[in->mem]),
                 .size = XSAVE_AREA_AVX,
                 .read = !f->write,
                 .write = f->write,
                 .keep_flags = true };
    int p = jit_emit_access(t, &a);
    emit_load(e, 8, T1, JIT_FIELD(state));
    emit_load(e, 4, T1, mem_at(T1, (int32_t)offsetof(X86State, xcr0)));
    emit_rr(e, 4, 0x23, T1, RBX);
    jit_emit_flags_restore(e, JIT_FLAGS_ALL);
    emit_mov_rr(e, 4, RAX, T1);
    emit_enc(e, &(Enc){ .map = 1,
                        .op = f->op,
                        .reg = f->reg,
                        .w = f->w,
                        .has_modrm = true,
                        .mem = true,
                        .m = mem_at(p, t->access_disp) });
    if (f->write) {
        jit_emit_commit(t);
    }
    return true;
}

static void emit_lea_insn(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    Ea ea = jit_ea_of(t, in, &in->o[1]);
    unsigned g = (unsigned)jit_gpr_number(in->o[0].reg.value);
    int d = jit_host_reg[g];
    unsigned size = in->i.operand_width / 8;
    bool plain = ea.addr == 8 && !ea.rip && size != 2 && d != NOREG &&
                 (ea.base < 0 || jit_host_reg[ea.base] != NOREG) &&
                 (ea.index < 0 || jit_host_reg[ea.index] != NOREG);
    if (plain) {
        emit_lea(e, size, d,
                 (Mem){ .base = ea.base < 0 ? NOREG : jit_host_reg[ea.base],
                        .index = ea.index < 0 ? NOREG : jit_host_reg[ea.index],
                        .shift = ea.shift,
                        .disp = (int32_t)ea.disp });
        return;
    }
    if (ea.rip && d != NOREG && size == 8) {
        emit_load(e, 8, d, JIT_FIELD(rip_base));
        emit_lea(e, ea.addr == 8 ? 8 : 4, d, mem_at(d, (int32_t)ea.disp));
        return;
    }
    jit_emit_offset(t, e, &ea, T2);
    if (size == 2) {
        d = jit_use_reg(e, g, T1);
        emit_mov_rr(e, 2, d, T2);
        if (jit_host_reg[g] == NOREG) {
            emit_store(e, 8, jit_slot(g), d);
        }
        return;
    }
    if (size == 4 && d == NOREG) {
        emit_mov_rr(e, 4, T2, T2);
    }
    if (d == NOREG) {
        emit_store(e, 8, jit_slot(g), T2);
    } else {
        emit_mov_rr(e, size, d, T2);
    }
}

/* XCHG with the accumulator, in its one-byte form. */
static void emit_xchg_rax(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    unsigned g = (unsigned)jit_gpr_number(in->o[0].reg.value);
    if (g == X86_RAX) {
        g = (unsigned)jit_gpr_number(in->o[1].reg.value);
    }
    unsigned size = in->i.operand_width / 8;
    int r = jit_use_reg(e, g, T1);
    emit_rr(e, size, 0x87, RBX, r);
    if (r == T1) {
        emit_store(e, 8, jit_slot(g), T1);
    }
}

/* MOV between the accumulator and an absolute address. */
static void emit_moffs(JitTranslator *t, JitInsn *in)
{
    bool store = in->i.opcode >= 0xa2;
    unsigned size = in->i.opcode & 1 ? in->i.operand_width / 8 : 1;
    Access a = { .in = in,
                 .ea = jit_ea_of(t, in, &in->o[in->mem]),
                 .size = size,
                 .read = !store,
                 .write = store };
    Mem m = mem_at(jit_emit_access(t, &a), 0);
    if (store) {
        emit_store(&t->hot, size, m, RBX);
        jit_emit_commit(t);
    } else {
        emit_load(&t->hot, size, RBX, m);
    }
}

bool jit_emit_special(JitTranslator *t, JitInsn *in)
{
    Emit *e = &t->hot;
    if (emit_xsave(t, in)) {
        return true;
    }
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_LEA:
        emit_lea_insn(t, in);
        return true;
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_ENDBR32:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
        return true; /* hints may touch nothing */
    case ZYDIS_MNEMONIC_PAUSE:
        if ((in->i.attributes & ZYDIS_ATTRIB_HAS_REX) && in->i.raw.rex.B) {
            /* with REX.B the byte is XCHG R8, RAX */
            emit_rr(e, in->i.raw.rex.W ? 8 : 4, 0x87, RBX, R8);
            return true;
        }
        if (t->jit->cpus->len > 1) {
            JitOp op = { .fn = jit_op_pause };
            uint16_t out = in->live_out;
            in->live_out = X86_ARITH_FLAGS;
            jit_emit_op(t, in, &op, NULL);
            in->live_out = out;
            return true;
        }
        emit8(e, 0xf3);
        emit8(e, 0x90);
        return true;
    case ZYDIS_MNEMONIC_XCHG:
        if (in->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in->i.opcode >= 0x90 &&
            in->i.opcode <= 0x97) {
            emit_xchg_rax(t, in);
            return true;
        }
        return false;
    case ZYDIS_MNEMONIC_MOV:
        if (in->i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in->i.opcode >= 0xa0 &&
            in->i.opcode <= 0xa3) {
            emit_moffs(t, in);
            return true;
        }
        return false;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        if (in->i.opcode >= 0x40 && in->i.opcode <= 0x4f) {
            unsigned size = in->i.operand_width / 8;
            emit_rr(e, size, 0xff, in->i.opcode >> 3 & 1, jit_host_reg[in->i.opcode & 7]);
            return true;
        }
        return false;
    default:
        return false;
    }
}

void jit_emit_op(JitTranslator *t, JitInsn *in, const JitOp *model, const Ea *ea)
{
    Emit *e = &t->hot;
    JitOp *op = jit_arena_alloc(t->jit, sizeof(*op), 8);
    *op = *model;
    op->offset = in->offset;
    op->length = in->i.length;
    op->flags_form = JIT_FLAGS_ALL;
    jit_emit_flags_save(e, JIT_FLAGS_ALL);
    if (ea) {
        jit_emit_ea(t, e, ea, T2);
    }
    emit_mov_ri(e, T1, (uintptr_t)op);
    emit_jmp_to(e, t->jit->stubs.op);
    op->resume = emit_here(e);
    if (op->ends) {
        t->ended = true;
    } else if (in->live_out) {
        jit_emit_flags_restore(e, JIT_FLAGS_ALL);
    }
}
