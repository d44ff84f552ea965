/*
 * The x86-64 encoder: one description of an instruction (Enc), one function that writes it, and
 * short forms for the sequences that the translator makes itself.
 *
 * Code is written through the writable alias; addresses in it are those of the executable one
 * (Emit.rx). Registers are the hardware's numbers.
 */
#ifndef ACCEL_JIT_EMIT_H
#define ACCEL_JIT_EMIT_H

#include <string.h>

#include "base/compiler.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NOREG = -1 };

/* Condition codes as in Jcc's opcode. */
enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS };

typedef struct Emit {
    uint8_t *p;     /* writable alias */
    uint8_t *limit; /* of the writable alias */
    intptr_t rx;    /* executable address - writable address */
} Emit;

typedef struct Mem {
    int8_t base, index; /* NOREG: none */
    uint8_t shift;      /* index << shift */
    bool gs;            /* relative to GS: the software TLB */
    int32_t disp;
} Mem;

typedef struct Enc {
    uint8_t pfx66, rep, lock; /* 66; F2 or F3; F0 */
    uint8_t map;              /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
    uint8_t op;
    uint8_t reg;   /* register or opcode extension */
    uint8_t rm;    /* register when !mem */
    bool w;        /* REX.W or VEX.W */
    bool byte_reg; /* reg is a byte register with a low-byte meaning: REX for 4..7 */
    bool byte_rm;
    bool has_modrm;
    bool vex;
    uint8_t vex_pp, vex_l, vvvv;
    bool mem;
    Mem m;
    const uint8_t *imm; /* bytes behind */
    uint8_t imm_len;
} Enc;

static inline void emit8(Emit *e, uint8_t v)
{
    *e->p++ = v;
}
static inline void emit16(Emit *e, uint16_t v)
{
    memcpy(e->p, &v, 2);
    e->p += 2;
}
static inline void emit32(Emit *e, uint32_t v)
{
    memcpy(e->p, &v, 4);
    e->p += 4;
}
static inline void emit64(Emit *e, uint64_t v)
{
    memcpy(e->p, &v, 8);
    e->p += 8;
}
static inline uint8_t *emit_here(const Emit *e)
{
    return e->p + e->rx;
}

void emit_enc(Emit *e, const Enc *c);

/* --- Operands --- */

static inline Mem mem_at(int base, int32_t disp)
{
    return (Mem){ .base = (int8_t)base, .index = NOREG, .disp = disp };
}

/* --- op reg, rm and its relatives. size: 1, 2, 4, 8 --- */

static inline void emit_rr(Emit *e, unsigned size, uint8_t op, int reg, int rm)
{
    emit_enc(e, &(Enc){ .pfx66 = size == 2,
                        .op = op,
                        .reg = (uint8_t)reg,
                        .rm = (uint8_t)rm,
                        .w = size == 8,
                        .has_modrm = true,
                        .byte_reg = size == 1,
                        .byte_rm = size == 1 });
}
static inline void emit_rm(Emit *e, unsigned size, uint8_t op, int reg, Mem m)
{
    emit_enc(e, &(Enc){ .pfx66 = size == 2,
                        .op = op,
                        .reg = (uint8_t)reg,
                        .w = size == 8,
                        .has_modrm = true,
                        .byte_reg = size == 1,
                        .mem = true,
                        .m = m });
}
/* Two-byte opcodes 0F xx. */
static inline void emit_rr_0f(Emit *e, unsigned size, uint8_t op, int reg, int rm)
{
    emit_enc(e, &(Enc){ .map = 1,
                        .op = op,
                        .reg = (uint8_t)reg,
                        .rm = (uint8_t)rm,
                        .w = size == 8,
                        .has_modrm = true });
}
static inline void emit_rm_0f(Emit *e, unsigned size, uint8_t op, int reg, Mem m)
{
    emit_enc(e, &(Enc){ .map = 1,
                        .op = op,
                        .reg = (uint8_t)reg,
                        .w = size == 8,
                        .has_modrm = true,
                        .mem = true,
                        .m = m });
}

static inline void emit_mov_rr(Emit *e, unsigned size, int dst, int src)
{
    emit_rr(e, size, size == 1 ? 0x8a : 0x8b, dst, src);
}
static inline void emit_load(Emit *e, unsigned size, int dst, Mem m)
{
    emit_rm(e, size, size == 1 ? 0x8a : 0x8b, dst, m);
}
static inline void emit_store(Emit *e, unsigned size, Mem m, int src)
{
    emit_rm(e, size, size == 1 ? 0x88 : 0x89, src, m);
}
static inline void emit_lea(Emit *e, unsigned size, int dst, Mem m)
{
    emit_rm(e, size, 0x8d, dst, m);
}
static inline void emit_movzx_rr8(Emit *e, int dst, int src)
{
    emit_enc(e, &(Enc){ .map = 1,
                        .op = 0xb6,
                        .reg = (uint8_t)dst,
                        .rm = (uint8_t)src,
                        .has_modrm = true,
                        .byte_rm = true });
}
static inline void emit_movzx_rr16(Emit *e, int dst, int src)
{
    emit_rr_0f(e, 4, 0xb7, dst, src);
}
/* Group 1 with immediate: ext 0 ADD, 1 OR, 4 AND, 5 SUB, 6 XOR, 7 CMP. */
static inline void emit_alu_ri(Emit *e, unsigned size, int ext, int rm, int32_t imm)
{
    bool small = imm == (int8_t)imm;
    emit_rr(e, size, small ? 0x83 : 0x81, ext, rm);
    if (small) {
        emit8(e, (uint8_t)imm);
    } else if (size == 2) {
        emit16(e, (uint16_t)imm);
    } else {
        emit32(e, (uint32_t)imm);
    }
}
static inline void emit_alu_mi(Emit *e, unsigned size, int ext, Mem m, int32_t imm)
{
    bool small = imm == (int8_t)imm;
    emit_rm(e, size, small ? 0x83 : 0x81, ext, m);
    if (small) {
        emit8(e, (uint8_t)imm);
    } else if (size == 2) {
        emit16(e, (uint16_t)imm);
    } else {
        emit32(e, (uint32_t)imm);
    }
}
/* ext 4 SHL, 5 SHR, 7 SAR */
static inline void emit_shift_ri(Emit *e, unsigned size, int ext, int rm, uint8_t n)
{
    emit_rr(e, size, 0xc1, ext, rm);
    emit8(e, n);
}
/* The shortest MOV of a constant. */
static inline void emit_mov_ri(Emit *e, int dst, uint64_t v)
{
    if (v <= UINT32_MAX) {
        if (dst >= 8) {
            emit8(e, 0x41);
        }
        emit8(e, (uint8_t)(0xb8 | (dst & 7)));
        emit32(e, (uint32_t)v);
    } else if ((uint64_t)(int64_t)(int32_t)v == v) {
        emit_rr(e, 8, 0xc7, 0, dst);
        emit32(e, (uint32_t)v);
    } else {
        emit8(e, (uint8_t)(0x48 | (dst >= 8)));
        emit8(e, (uint8_t)(0xb8 | (dst & 7)));
        emit64(e, v);
    }
}
/* BMI2: dst = src rotated right by n; leaves the flags alone. */
static inline void emit_rorx(Emit *e, int dst, int src, uint8_t n)
{
    emit_enc(e, &(Enc){ .vex = true,
                        .map = 3,
                        .vex_pp = 3,
                        .w = true,
                        .op = 0xf0,
                        .reg = (uint8_t)dst,
                        .rm = (uint8_t)src,
                        .has_modrm = true,
                        .imm = &n,
                        .imm_len = 1 });
}

/* --- Jumps. Targets are executable addresses; a jump emitted without one returns the writable
 * address of its rel32 for emit_patch(). --- */

static inline uint8_t *emit_jcc(Emit *e, unsigned cc)
{
    emit8(e, 0x0f);
    emit8(e, (uint8_t)(0x80 | cc));
    emit32(e, 0);
    return e->p - 4;
}
static inline uint8_t *emit_jmp(Emit *e)
{
    emit8(e, 0xe9);
    emit32(e, 0);
    return e->p - 4;
}
static inline void emit_patch(const Emit *e, uint8_t *rel, const uint8_t *target)
{
    int32_t d = (int32_t)(target - (rel + 4 + e->rx));
    memcpy(rel, &d, 4);
}
static inline void emit_jmp_to(Emit *e, const uint8_t *target)
{
    emit_patch(e, emit_jmp(e), target);
}
static inline void emit_call_to(Emit *e, const uint8_t *target)
{
    emit8(e, 0xe8);
    emit32(e, 0);
    emit_patch(e, e->p - 4, target);
}
/* Short forward jumps: patched to here. */
static inline uint8_t *emit_jcc8(Emit *e, unsigned cc)
{
    emit8(e, (uint8_t)(0x70 | cc));
    emit8(e, 0);
    return e->p - 1;
}
static inline void emit_patch8(Emit *e, uint8_t *rel)
{
    *rel = (uint8_t)(e->p - rel - 1);
}
static inline void emit_jmp_reg(Emit *e, int r)
{
    emit_rr(e, 4, 0xff, 4, r);
}
static inline void emit_jmp_mem(Emit *e, Mem m)
{
    emit_rm(e, 4, 0xff, 4, m);
}

/* n bytes of no-operations, 0..8 */
void emit_nops(Emit *e, unsigned n);
/* Pad so that the rel32 of a jump with `head` opcode bytes doesn't straddle 8 bytes: it can then
 * be replaced atomically. */
static inline void emit_align_rel32(Emit *e, unsigned head)
{
    unsigned at = (unsigned)((uintptr_t)(e->p + head) & 7);
    if (at > 4) {
        emit_nops(e, 8 - at);
    }
}

#endif
