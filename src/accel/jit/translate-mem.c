/*
 * Operand addresses and the software TLB check.
 *
 * A check in the fast variant, for 8 bytes at [rdi+16] while no flags are wanted:
 *
 *     lea   rax, [rdi+16]
 *     rorx  r10, rax, 7              ; page number to bits 5..
 *     and   r10d, 0x3fe0             ; offset of the entry
 *     xor   rax, gs:[r10+table]      ; offset in the page, if the tag is right
 *     cmp   rax, 4096-8              ; also catches the page's end
 *     ja    cold
 *     add   rax, gs:[r10+table+16]   ; host address
 *
 * The cold way computes the address again and calls the resolve stub, which fills the TLB, or
 * reads a device into the bounce buffer, or doesn't come back.
 */
#include "accel/jit/translate-internal.h"

static void stub_check_room(const JitTranslator *t)
{
    assert(t->hot.p < t->hot.limit && t->cold.p < t->cold.limit);
}

int jit_use_reg(Emit *e, unsigned guest, int scratch)
{
    if (jit_host_reg[guest] != NOREG) {
        return jit_host_reg[guest];
    }
    emit_load(e, 8, scratch, jit_slot(guest));
    return scratch;
}

Ea jit_ea_of(const JitTranslator *t, const JitInsn *in, const ZydisDecodedOperand *o)
{
    Ea ea = { .base = -1, .index = -1, .bit_reg = -1, .addr = in->i.address_width / 8 };
    ea.disp = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
    if (o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP) {
        ea.rip = true;
        ea.disp += jit_next_offset(in);
    } else {
        ea.base = (int8_t)jit_gpr_number(o->mem.base);
    }
    ea.index = (int8_t)jit_gpr_number(o->mem.index);
    ea.shift = (uint8_t)(o->mem.scale ? __builtin_ctz(o->mem.scale) : 0);
    int seg = jit_seg_number(o->mem.segment);
    ea.seg = (uint8_t)(seg < 0 ? X86_DS : seg);
    return ea;
}

Ea jit_ea_stack(const JitTranslator *t, int64_t disp)
{
    return (Ea){ .base = X86_RSP,
                 .index = -1,
                 .bit_reg = -1,
                 .seg = X86_SS,
                 .addr = t->code64                 ? 8
                         : t->mode & X86_MODE_SS32 ? 4
                                                   : 2,
                 .disp = disp };
}

void jit_emit_offset(JitTranslator *t, Emit *e, const Ea *ea, int dst)
{
    unsigned width = ea->addr == 8 ? 8 : 4;
    if (ea->rip) {
        emit_load(e, 8, dst, JIT_FIELD(rip_base));
        emit_lea(e, width, dst, mem_at(dst, (int32_t)ea->disp));
    } else if (ea->disp != (int32_t)ea->disp && ea->base < 0 && ea->index < 0 && width == 8) {
        emit_mov_ri(e, dst, (uint64_t)ea->disp); /* MOV with a 64-bit address */
    } else {
        Mem m = { .base = NOREG, .index = NOREG, .shift = ea->shift, .disp = (int32_t)ea->disp };
        if (ea->index >= 0) {
            m.index = (int8_t)jit_use_reg(e, (unsigned)ea->index, T1);
        }
        if (ea->base >= 0) {
            m.base = (int8_t)jit_use_reg(e, (unsigned)ea->base, dst);
        }
        if (m.base != NOREG && m.index == NOREG && m.disp == 0) {
            if (m.base != dst || width == 4) {
                emit_mov_rr(e, width, dst, m.base);
            }
        } else if (m.base == NOREG && m.index == NOREG) {
            emit_mov_ri(e, dst, width == 4 ? (uint32_t)m.disp : (uint64_t)(int64_t)m.disp);
        } else {
            emit_lea(e, width, dst, m);
        }
    }
    if (ea->addr == 2) {
        emit_movzx_rr16(e, dst, dst);
    }
    if (ea->bit_reg >= 0) {
        /* the bit string's element: + (index >> log2(bits)) * bytes, index signed */
        int r = jit_use_reg(e, (unsigned)ea->bit_reg, T1);
        if (ea->bit_size == 8) {
            if (r != T1) {
                emit_mov_rr(e, 8, T1, r);
            }
        } else if (ea->bit_size == 4) {
            emit_rr(e, 8, 0x63, T1, r); /* movsxd */
        } else {
            emit_rr_0f(e, 8, 0xbf, T1, r); /* movsx */
        }
        unsigned log = (unsigned)__builtin_ctz(ea->bit_size);
        emit_shift_ri(e, 8, 7, T1, (uint8_t)(3 + log));
        emit_lea(e, width, dst, (Mem){ .base = (int8_t)dst, .index = T1, .shift = (uint8_t)log });
        if (ea->addr == 2) {
            emit_movzx_rr16(e, dst, dst);
        }
    }
}

void jit_emit_ea(JitTranslator *t, Emit *e, const Ea *ea, int dst)
{
    jit_emit_offset(t, e, ea, dst);
    if (t->code64 && ea->seg == X86_FS) {
        emit_rm(e, 8, 0x03, dst, JIT_FIELD(fs_base));
    } else if (t->code64 && ea->seg == X86_GS) {
        emit_rm(e, 8, 0x03, dst, JIT_FIELD(gs_base));
    }
}

/* Live flags: CF alone can be kept in AL; without OF, LAHF is enough. */
unsigned jit_flags_form(unsigned live)
{
    if (!live) {
        return JIT_FLAGS_NONE;
    }
    if (live == X86_CF) {
        return JIT_FLAGS_CARRY;
    }
    return live & X86_OF ? JIT_FLAGS_ALL : JIT_FLAGS_LAHF;
}

void jit_emit_flags_save(Emit *e, unsigned form)
{
    if (form == JIT_FLAGS_LAHF || form == JIT_FLAGS_ALL) {
        emit8(e, 0x9f); /* lahf */
    }
    if (form == JIT_FLAGS_CARRY || form == JIT_FLAGS_ALL) {
        emit8(e, 0x0f); /* setc al, seto al */
        emit8(e, form == JIT_FLAGS_CARRY ? 0x92 : 0x90);
        emit8(e, 0xc0);
    }
}

void jit_emit_flags_restore(Emit *e, unsigned form)
{
    if (form == JIT_FLAGS_CARRY) {
        emit8(e, 0x04); /* add al, -1: CF if AL was 1 */
        emit8(e, 0xff);
    } else if (form == JIT_FLAGS_ALL) {
        emit8(e, 0x04); /* add al, 0x7f: OF if AL was 1 */
        emit8(e, 0x7f);
    }
    if (form == JIT_FLAGS_LAHF || form == JIT_FLAGS_ALL) {
        emit8(e, 0x9e); /* sahf */
    }
}

/* Do linear addresses equal offsets (after FS and GS have been added in 64-bit mode)? */
static bool segment_is_flat(const JitTranslator *t, unsigned seg)
{
    if (t->code64) {
        return true;
    }
    return t->flat && (seg == X86_DS || seg == X86_ES || seg == X86_SS);
}

static unsigned table_offset(const JitTranslator *t)
{
    unsigned table = (t->mode & X86_MODE_CPL) == 3 ? JIT_TABLE_USER
                     : t->mode & X86_MODE_SMAP     ? JIT_TABLE_KERNEL
                                                   : JIT_TABLE_KERNEL_AC;
    return (unsigned)offsetof(JitSpace, tables[table]);
}

static int check(JitTranslator *t, const Access *a, uint64_t flags_in_info)
{
    unsigned form = a->keep_flags ? JIT_FLAGS_ALL : jit_flags_form(a->in->live_in);
    uint64_t info = a->in->offset | (uint64_t)a->size << JIT_INFO_SIZE_SHIFT |
                    (a->read ? JIT_INFO_READ : 0) | (a->write ? JIT_INFO_WRITE : 0) |
                    (t->variant == JIT_VARIANT_CAREFUL ? JIT_INFO_CAREFUL : 0) |
                    (uint64_t)form << JIT_INFO_FORM_SHIFT |
                    (uint64_t)(a->ea.seg ^ X86_DS) << JIT_INFO_SEG_SHIFT | flags_in_info;
    Emit *e = &t->hot;
    bool flat = segment_is_flat(t, a->ea.seg);

    stub_check_room(t);
    jit_emit_flags_save(e, form);
    if (!flat || t->variant == JIT_VARIANT_CAREFUL) {
        jit_emit_ea(t, e, &a->ea, T2);
        emit_mov_ri(e, T1, info);
        emit_call_to(e, flat ? t->jit->stubs.resolve : t->jit->stubs.resolve_seg);
        if (!a->keep_flags) {
            jit_emit_flags_restore(e, form);
        }
        return T2;
    }

    if (t->jit->count_checks) {
        /* where flags are live they have just been saved, where they aren't nobody misses them */
        emit_alu_mi(e, 8, 0, JIT_FIELD(counters.tlb_checks), 1);
    }
    int p = form == JIT_FLAGS_NONE && !a->rax_in_use ? RAX : T2;
    int32_t table = (int32_t)table_offset(t);
    jit_emit_ea(t, e, &a->ea, p);
    if (t->jit->host_bmi2) {
        emit_rorx(e, T1, p, 12 - JIT_TLB_ENTRY_BITS);
    } else {
        emit_mov_rr(e, 4, T1, p);
        emit_shift_ri(e, 4, 5, T1, 12 - JIT_TLB_ENTRY_BITS);
    }
    emit_alu_ri(e, 4, 4, T1, (JIT_TLB_SIZE - 1) << JIT_TLB_ENTRY_BITS);
    Mem tag = { .base = T1,
                .index = NOREG,
                .gs = true,
                .disp = table + (int32_t)(a->write ? offsetof(JitTlbEntry, wtag)
                                                   : offsetof(JitTlbEntry, rtag)) };
    Mem host = {
        .base = T1, .index = NOREG, .gs = true, .disp = table + (int32_t)offsetof(JitTlbEntry, host)
    };
    emit_rm(e, 8, 0x33, p, tag);
    if (p == RAX) {
        emit8(e, 0x48); /* cmp rax, imm32 */
        emit8(e, 0x3d);
        emit32(e, 4096 - a->size);
    } else {
        emit_alu_ri(e, 8, 7, p, (int32_t)(4096 - a->size));
    }
    uint8_t *miss = emit_jcc(e, CC_A);
    emit_rm(e, 8, 0x03, p, host);
    const uint8_t *back = emit_here(e);

    Emit *c = &t->cold;
    emit_patch(e, miss, emit_here(c));
    jit_emit_ea(t, c, &a->ea, T2);
    emit_mov_ri(c, T1, info);
    emit_call_to(c, t->jit->stubs.resolve);
    if (p == RAX) {
        emit_mov_rr(c, 8, RAX, T2);
    }
    emit_jmp_to(c, back);

    if (!a->keep_flags) {
        jit_emit_flags_restore(e, form);
    }
    return p;
}

int jit_emit_access(JitTranslator *t, const Access *a)
{
    int g = a->in->group[a->stack];
    t->access_disp = 0;
    if (g < 0) {
        return check(t, a, 0);
    }
    JitGroup *group = &t->groups[g];
    Mem kept = JIT_FIELD(group);
    kept.disp += 8 * g;
    t->access_disp = (int32_t)(a->in->group_offset[a->stack] - group->min);
    if (group->first != a->in || group->which != a->stack) {
        if (a->keep_flags) {
            jit_emit_flags_save(&t->hot, JIT_FLAGS_ALL);
        }
        emit_load(&t->hot, 8, T2, kept);
        return T2;
    }
    Access all = *a;
    all.ea.disp = group->min - group->moved;
    all.size = (unsigned)(group->max - group->min);
    all.read = !group->write;
    all.write = group->write;
    int p = check(t, &all, JIT_INFO_GROUP);
    emit_store(&t->hot, 8, kept, p);
    return p;
}

void jit_emit_commit(JitTranslator *t)
{
    if (t->variant == JIT_VARIANT_CAREFUL) {
        emit_call_to(&t->hot, t->jit->stubs.commit);
    }
}
