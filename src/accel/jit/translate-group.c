/*
 * Groups: accesses of a block through the same unchanged base register (or RSP, moved by pushes and
 * pops) share one TLB check for the bytes between the lowest and the highest of them. The first
 * keeps the host address in JitCpu.group[]; the others load it: no check, no flags saved.
 *
 * The check asks more than its first instruction may touch, so where it can't be had at once (a
 * page end in between, a fault, a device, code being written) nothing is raised: the instruction is
 * run by itself, exactly, and the block begins again behind it. Places where that happens often
 * stop forming groups (Jit.group_misses).
 */
#include "accel/jit/translate-internal.h"

typedef struct Walk {
    JitTranslator *t;
    int8_t open[16];   /* group of a register's present value; -1 none */
    int64_t moved[16]; /* how far a register is from its value when it was last written */
} Walk;

static void forget(Walk *w, unsigned reg)
{
    w->open[reg] = -1;
    w->moved[reg] = 0;
}

unsigned jit_group_slot(const uint8_t *insn)
{
    return (uint32_t)(uintptr_t)insn * JIT_JUMP_HASH >> (32 - JIT_GROUP_MISS_BITS);
}

static bool place_is_bad(const JitTranslator *t, const JitInsn *in)
{
    return t->jit->group_misses[jit_group_slot(t->page + in->offset)] >= JIT_GROUP_MISSES;
}

static void access_at(Walk *w, JitInsn *in, unsigned which, unsigned reg, int64_t disp,
                      unsigned size, bool write)
{
    JitTranslator *t = w->t;
    int64_t low = disp + w->moved[reg], high = low + size;
    int g = w->open[reg];

    if (g >= 0) {
        JitGroup *group = &t->groups[g];
        int64_t min = MIN_OF(group->min, low), max = MAX_OF(group->max, high);
        if (max - min <= JIT_GROUP_BYTES) {
            group->min = min;
            group->max = max;
            group->write |= write;
            group->count++;
            in->group[which] = (int8_t)g;
            in->group_offset[which] = low;
            return;
        }
    }
    if (t->n_groups == JIT_GROUPS || place_is_bad(t, in)) {
        w->open[reg] = -1;
        return;
    }
    g = (int)t->n_groups++;
    t->groups[g] = (JitGroup){ .first = in,
                               .which = which,
                               .min = low,
                               .max = high,
                               .moved = w->moved[reg],
                               .write = write,
                               .count = 1 };
    in->group[which] = (int8_t)g;
    in->group_offset[which] = low;
    w->open[reg] = (int8_t)g;
}

/* Operands that jit_emit_access() sees with base and displacement alone. */
static bool plain_operand(const JitInsn *in, const ZydisDecodedOperand *o)
{
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
    case ZYDIS_MNEMONIC_CMPXCHG8B:
    case ZYDIS_MNEMONIC_CMPXCHG16B:
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return false;
    default:
        return o->mem.type == ZYDIS_MEMOP_TYPE_MEM && o->mem.index == ZYDIS_REGISTER_NONE &&
               jit_gpr_number(o->mem.base) >= 0 && in->i.address_width == 64 && o->size >= 8 &&
               o->size <= 8 * JIT_GROUP_OPERAND && o->mem.segment != ZYDIS_REGISTER_FS &&
               o->mem.segment != ZYDIS_REGISTER_GS;
    }
}

static void operand(Walk *w, JitInsn *in)
{
    const ZydisDecodedOperand *o = in->mem >= 0 ? &in->o[in->mem] : NULL;
    if (!o || !plain_operand(in, o) || jit_is_native_xsave(w->t, in)) {
        return;
    }
    if (in->i.mnemonic == ZYDIS_MNEMONIC_POP && jit_gpr_number(o->mem.base) == X86_RSP) {
        return;
    }
    access_at(w, in, 0, (unsigned)jit_gpr_number(o->mem.base),
              o->mem.disp.has_displacement ? o->mem.disp.value : 0, o->size / 8,
              (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0);
}

/* The stack's part; returns how far RSP moves, or INT64_MIN if this isn't one of these. */
static int64_t stack(Walk *w, JitInsn *in)
{
    int64_t size = in->i.operand_width == 16 ? 2 : 8;
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
        access_at(w, in, 1, X86_RSP, -size, (unsigned)size, true);
        return -size;
    case ZYDIS_MNEMONIC_POP:
        access_at(w, in, 1, X86_RSP, 0, (unsigned)size, false);
        return size;
    case ZYDIS_MNEMONIC_CALL:
        access_at(w, in, 1, X86_RSP, -8, 8, true);
        return -8;
    case ZYDIS_MNEMONIC_RET:
        access_at(w, in, 1, X86_RSP, 0, 8, false);
        return 8;
    default:
        return INT64_MIN;
    }
}

/* reg += constant */
static bool constant_move(const JitInsn *in, unsigned reg, int64_t *by)
{
    const ZydisDecodedOperand *d = &in->o[0], *s = &in->o[1];
    if (d->type != ZYDIS_OPERAND_TYPE_REGISTER || d->size != 64 ||
        jit_gpr_number(d->reg.value) != (int)reg) {
        return false;
    }
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        if (s->type != ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            return false;
        }
        *by = in->i.mnemonic == ZYDIS_MNEMONIC_ADD ? s->imm.value.s : -s->imm.value.s;
        return true;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        *by = in->i.mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1;
        return true;
    case ZYDIS_MNEMONIC_LEA:
        if (jit_gpr_number(s->mem.base) != (int)reg || s->mem.index != ZYDIS_REGISTER_NONE ||
            in->i.address_width != 64) {
            return false;
        }
        *by = s->mem.disp.has_displacement ? s->mem.disp.value : 0;
        return true;
    default:
        return false;
    }
}

static void registers(Walk *w, const JitInsn *in, int64_t rsp_by)
{
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        const ZydisDecodedOperand *o = &in->o[n];
        int64_t by;
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER ||
            !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
            continue;
        }
        int g = jit_gpr_number(o->reg.value);
        if (g < 0) {
            continue;
        }
        bool hidden = o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
        if (g == X86_RSP && rsp_by != INT64_MIN && hidden) {
            w->moved[g] += rsp_by;
        } else if (!hidden && n == 0 && constant_move(in, (unsigned)g, &by) &&
                   w->moved[g] + by == (int32_t)(w->moved[g] + by)) {
            w->moved[g] += by;
        } else {
            forget(w, (unsigned)g);
        }
    }
}

void jit_find_groups(JitTranslator *t)
{
    Walk w = { .t = t };
    t->n_groups = 0;
    memset(w.open, -1, sizeof(w.open));
    for (unsigned n = 0; n < t->n; n++) {
        JitInsn *in = &t->insns[n];
        in->group[0] = in->group[1] = -1;
        if (!t->code64 || t->variant != JIT_VARIANT_FAST) {
            continue;
        }
        if (t->ops[n].fn) {
            for (unsigned r = 0; r < 16; r++) {
                forget(&w, r);
            }
            continue;
        }
        operand(&w, in);
        int64_t by = stack(&w, in);
        registers(&w, in, by);
        if (in->i.mnemonic == ZYDIS_MNEMONIC_POP && in->o[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            jit_gpr_number(in->o[0].reg.value) == X86_RSP) {
            forget(&w, X86_RSP);
        }
    }
    for (unsigned n = 0; n < t->n; n++) {
        for (unsigned which = 0; which < 2; which++) {
            int g = t->insns[n].group[which];
            if (g >= 0 && t->groups[g].count < 2) {
                t->insns[n].group[which] = -1;
            }
        }
    }
}
