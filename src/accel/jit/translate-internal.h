/*
 * The translator's working state, and what its files offer each other.
 *
 *   translate.c       a block: decoding, flags liveness, ends, exits
 *   translate-mem.c   operand addresses and the software TLB check
 *   translate-insn.c  one instruction re-emitted with its registers renamed
 *   translate-flow.c  stack and control transfers
 *   translate-system.c  system instructions in place
 */
#ifndef ACCEL_JIT_TRANSLATE_INTERNAL_H
#define ACCEL_JIT_TRANSLATE_INTERNAL_H

#include "accel/jit/decode.h"
#include "accel/jit/jit-internal.h"

/* Accesses that share a check. Offsets count from the register's value when it was last written. */
typedef struct JitGroup {
    const JitInsn *first; /* whose access makes the check */
    unsigned which;       /* JitInsn.group's index there */
    int64_t min, max, moved;
    bool write;
    unsigned count;
} JitGroup;

typedef struct JitTranslator {
    Jit *jit;
    JitCpu *j;
    Emit hot, cold;
    uint32_t mode;
    uint8_t variant;
    bool code64, flat;
    unsigned n;
    JitInsn insns[JIT_BLOCK_INSNS];
    JitOp ops[JIT_BLOCK_INSNS]; /* fn NULL: re-emitted */
    bool needs_second;          /* translation failed because the next page's bytes are wanted */
    JitInsn look;
    const uint8_t *page; /* host address of the page's first byte */
    uint8_t joined[32];  /* bytes of an instruction that lies in two pages */
    unsigned n_exits, n_map;
    JitExit exits[4];
    JitMapEntry map[JIT_BLOCK_INSNS + 4];
    unsigned n_look;
    uint16_t look_start[2], look_end[2];
    unsigned n_groups;
    JitGroup groups[JIT_GROUPS];
    int32_t access_disp; /* of the last access: from the register that jit_emit_access() returned */
    uint8_t *charge_block, *charge_count; /* icount: imm64 and imm32 to be filled in; NULL */
    bool ended; /* the last instruction emitted has left the block on every way */
} JitTranslator;

/* A memory operand as the guest means it. Registers are the guest's. */
typedef struct Ea {
    int8_t base, index; /* -1: none */
    uint8_t shift;
    bool rip;         /* relative to the next instruction; disp is an offset in the page */
    int8_t bit_reg;   /* BT family: the bit index register; -1 none */
    uint8_t bit_size; /* bytes */
    uint8_t seg;
    uint8_t addr; /* bytes: 2, 4, 8 */
    int64_t disp;
} Ea;

/* --- translate-mem.c --- */

Ea jit_ea_of(const JitTranslator *t, const JitInsn *in, const ZydisDecodedOperand *o);
/* guest RSP + disp through SS */
Ea jit_ea_stack(const JitTranslator *t, int64_t disp);
/* dst: T2, RAX or a host register not used by the address. Uses T1; changes flags if it must add a
 * segment base. */
void jit_emit_ea(JitTranslator *t, Emit *e, const Ea *ea, int dst);
/* The offset alone, without segment: LEA. */
void jit_emit_offset(JitTranslator *t, Emit *e, const Ea *ea, int dst);

typedef struct Access {
    const JitInsn *in;
    Ea ea;
    unsigned size;
    bool read, write;
    bool keep_flags; /* leave the guest's flags in RAX, all of them; restored by the caller */
    bool stack;      /* the stack access of PUSH, POP, CALL, RET */
    bool rax_in_use; /* RAX holds something: not where flags are live */
} Access;
/* Check the access; returns the register that holds the host address, RAX or T2, to which
 * t->access_disp is to be added. */
int jit_emit_access(JitTranslator *t, const Access *a);
void jit_find_groups(JitTranslator *t);
/* Behind a write. */
void jit_emit_commit(JitTranslator *t);

unsigned jit_flags_form(unsigned live);
void jit_emit_flags_save(Emit *e, unsigned form);
void jit_emit_flags_restore(Emit *e, unsigned form);

/* The guest register's host register, loaded into scratch if it has none. */
int jit_use_reg(Emit *e, unsigned guest, int scratch);

/* --- translate-insn.c --- */

void jit_emit_generic(JitTranslator *t, JitInsn *in);
/* MOV, LEA and others with forms of their own; false: generic. */
bool jit_emit_special(JitTranslator *t, JitInsn *in);
bool jit_is_native_xsave(const JitTranslator *t, const JitInsn *in);
void jit_emit_op(JitTranslator *t, JitInsn *in, const JitOp *model, const Ea *ea);

/* --- translate-system.c --- */

/* System instructions that need no helper here. */
bool jit_is_inline_system(const JitTranslator *t, const JitInsn *in);
bool jit_emit_inline_system(JitTranslator *t, JitInsn *in);

/* --- translate-flow.c --- */

void jit_emit_pushf(JitTranslator *t, JitInsn *in);

/* Stack instructions, jumps, calls, returns; false: not one of them. */
bool jit_emit_flow(JitTranslator *t, JitInsn *in);
/* Does it end the block? */
bool jit_is_block_end(const JitInsn *in);
/* Go to the instruction at a page offset (of this page if 0..4095). flags: in host flags. */
void jit_emit_exit(JitTranslator *t, int64_t offset, const JitInsn *in);
/* rip in T2, flags in RAX. */
void jit_emit_indirect(JitTranslator *t);

static inline uint16_t jit_next_offset(const JitInsn *in)
{
    return (uint16_t)(in->offset + in->i.length);
}

#endif
