/*
 * Decoded guest instructions: Zydis' result and what the translator wants to know at a glance.
 */
#ifndef ACCEL_JIT_DECODE_H
#define ACCEL_JIT_DECODE_H

#include <Zydis/Zydis.h>

#include "base/compiler.h"

typedef struct JitInsn {
    ZydisDecodedInstruction i;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    const uint8_t *bytes;
    uint16_t offset;                    /* in the page */
    uint16_t flags_read, flags_written; /* arithmetic flags; written: for certain */
    uint16_t live_in, live_out;
    int8_t group[2]; /* of the explicit operand and of the stack access; -1 none */
    int64_t group_offset[2];
    int8_t mem; /* index of the explicit memory operand; -1 none */
} JitInsn;

/* Guest register number of an integer register, whatever its width; -1 for others. */
int jit_gpr_number(ZydisRegister r);
bool jit_gpr_is_high(ZydisRegister r);
/* X86_ES... of a segment register; -1 for others. */
int jit_seg_number(ZydisRegister r);

/* Decode at bytes. False: not an instruction (#UD), or longer than len. mode: X86_MODE_*.
 * truncated: the bytes end inside the instruction. */
bool jit_decode(uint32_t mode, const uint8_t *bytes, unsigned len, JitInsn *in, bool *truncated);

#endif
