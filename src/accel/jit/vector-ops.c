/*
 * Vector instructions with more than one address, or an implicit one: gathers and MASKMOV. They
 * work on the parked XSAVE image, element by element, so that a fault in the middle leaves what the
 * architecture says: SDM volume 2, VGATHERDPS and its relatives, MASKMOVDQU.
 *
 * Compiled for general registers only.
 */
#include "accel/jit/decode.h"
#include "accel/jit/jit-internal.h"

#include "base/bits.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/system.h"

/* XSAVE image, standard format: SDM volume 1 section 13.4. */
#define XMM_OFFSET 160
#define MMX_OFFSET 32
#define XSTATE_BV  512
#define YMM_OFFSET 576
#define BV_SSE_AVX 6u

/* JitOp.imm of a gather. */
#define GATHER_INDEX_SHIFT 32 /* vector register */
#define GATHER_MASK_SHIFT  40 /* vector register */
#define GATHER_SCALE_SHIFT 48 /* log2 */

enum { GATHER_WIDE_INDEX = 1, GATHER_WIDE_ELEMENT = 2, GATHER_256 = 4 };

static uint8_t *vector_byte(X86State *s, unsigned reg, unsigned byte)
{
    return s->xsave + (byte < 16 ? XMM_OFFSET : YMM_OFFSET - 16) + 16 * reg + byte;
}

static uint64_t get_element(X86State *s, unsigned reg, unsigned n, unsigned size)
{
    return ldn_le(vector_byte(s, reg, n * size), size);
}

static void put_element(X86State *s, unsigned reg, unsigned n, unsigned size, uint64_t v)
{
    stn_le(vector_byte(s, reg, n * size), size, v);
}

static uint64_t linear(JitCpu *j, const JitOp *op, uint64_t offset, unsigned size, unsigned access)
{
    if (!(j->state->mode & X86_MODE_CS64)) {
        offset = (uint32_t)offset;
    }
    return x86_linear_address(j->cpu, op->seg, offset, size, access);
}

static uint64_t load_element(JitCpu *j, uint64_t at, unsigned size)
{
    if ((at & 4095) + size <= 4096) {
        const uint8_t *host = jit_span(j, at, false, size);
        if (host) {
            return ldn_le(host, size);
        }
    }
    return x86_linear_load(j->cpu, at, size, x86_access_cpl(j->state));
}

static void own_vectors(JitCpu *j)
{
    x86_park_fpu(j->cpu);
    uint64_t bv = ld64_le(j->state->xsave + XSTATE_BV);
    if ((bv & BV_SSE_AVX) != BV_SSE_AVX) {
        for (unsigned r = 0; r < 16; r++) {
            for (unsigned b = 0; b < 32; b++) {
                if (!(bv & (b < 16 ? 2 : 4))) {
                    *vector_byte(j->state, r, b) = 0;
                }
            }
        }
        st64_le(j->state->xsave + XSTATE_BV, bv | BV_SSE_AVX);
    }
}

static void op_gather(JitCpu *j, const JitOp *op, uint64_t ea)
{
    X86State *s = j->state;
    unsigned isize = op->kind & GATHER_WIDE_INDEX ? 8 : 4;
    unsigned esize = op->kind & GATHER_WIDE_ELEMENT ? 8 : 4;
    unsigned vl = op->kind & GATHER_256 ? 32 : 16;
    unsigned count = vl / (isize > esize ? isize : esize);
    unsigned index = op->imm >> GATHER_INDEX_SHIFT & 15, mask = op->imm >> GATHER_MASK_SHIFT & 15;
    unsigned scale = op->imm >> GATHER_SCALE_SHIFT & 3;
    uint64_t amask = op->addrsize == 8 ? UINT64_MAX : UINT32_MAX;
    uint64_t base = op->rm_is_mem ? s->gpr[op->rm] : 0; /* rm_is_mem: there is a base */

    if (op->reg == index || op->reg == mask || index == mask) {
        x86_raise(j->cpu, X86_EXC_UD);
    }
    x86_check_fpu(j->cpu, X86_FPU_AVX);
    own_vectors(j);
    for (unsigned n = 0; n < count; n++) {
        if (!(get_element(s, mask, n, esize) >> (8 * esize - 1))) {
            continue;
        }
        uint64_t i = get_element(s, index, n, isize);
        if (isize == 4) {
            i = (uint64_t)(int64_t)(int32_t)i;
        }
        uint64_t at = (base + (i << scale) + (uint64_t)(int64_t)(int32_t)op->imm) & amask;
        uint64_t v = load_element(j, linear(j, op, at, esize, X86_ACCESS_READ), esize);
        put_element(s, op->reg, n, esize, v);
        put_element(s, mask, n, esize, 0);
    }
    for (unsigned b = 0; b < 32; b++) {
        *vector_byte(s, mask, b) = 0;
        if (b >= count * esize) {
            *vector_byte(s, op->reg, b) = 0;
        }
    }
}

static void op_maskmov(JitCpu *j, const JitOp *op, uint64_t ea)
{
    X86State *s = j->state;
    bool mmx = op->kind != 0;
    uint64_t amask = op->addrsize == 8 ? UINT64_MAX : op->addrsize == 4 ? UINT32_MAX : UINT16_MAX;

    x86_check_fpu(j->cpu, mmx ? X86_FPU_MMX : X86_FPU_SSE);
    own_vectors(j);
    for (unsigned b = 0; b < (mmx ? 8u : 16u); b++) {
        const uint8_t *v =
            mmx ? s->xsave + MMX_OFFSET + 16 * op->reg + b : vector_byte(s, op->reg, b);
        const uint8_t *m =
            mmx ? s->xsave + MMX_OFFSET + 16 * op->rm + b : vector_byte(s, op->rm, b);
        if (*m & 0x80) {
            uint64_t at = (s->gpr[X86_RDI] + b) & amask;
            x86_linear_store(j->cpu, linear(j, op, at, 1, X86_ACCESS_WRITE), *v, 1,
                             X86_ACCESS_WRITE | x86_access_cpl(s));
        }
    }
}

static bool is_gather(const JitInsn *in)
{
    return in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
           in->i.opcode_map == ZYDIS_OPCODE_MAP_0F38 && in->i.opcode >= 0x90 &&
           in->i.opcode <= 0x93;
}

bool jit_vector_op(const JitInsn *in, JitOp *op)
{
    const ZydisDecodedOperand *mem = NULL;
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        if (in->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            mem = &in->o[n];
        }
    }
    bool maskmov = in->i.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
                   in->i.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU ||
                   in->i.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ;
    if (!mem || (!maskmov && !is_gather(in))) {
        return false;
    }
    int seg = jit_seg_number(mem->mem.segment);
    op->seg = (uint8_t)(seg < 0 ? X86_DS : seg);
    op->addrsize = in->i.address_width / 8;
    if (maskmov) {
        op->fn = op_maskmov;
        op->kind = in->i.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ;
        op->rm = (uint8_t)(in->i.raw.modrm.rm);
        if (in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
            op->rm |= (uint8_t)((in->i.raw.vex.B ^ 1) << 3);
        } else if (in->i.attributes & ZYDIS_ATTRIB_HAS_REX) {
            op->rm |= (uint8_t)(in->i.raw.rex.B << 3);
        }
        op->reg = in->i.raw.modrm.reg;
        if (in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
            op->reg |= (uint8_t)((in->i.raw.vex.R ^ 1) << 3);
        } else if (in->i.attributes & ZYDIS_ATTRIB_HAS_REX) {
            op->reg |= (uint8_t)(in->i.raw.rex.R << 3);
        }
        if (op->kind) {
            op->reg &= 7;
            op->rm &= 7;
        }
        return true;
    }
    int base = jit_gpr_number(mem->mem.base);
    op->fn = op_gather;
    op->kind = (in->i.opcode & 1 ? GATHER_WIDE_INDEX : 0) |
               (in->i.raw.vex.W ? GATHER_WIDE_ELEMENT : 0) | (in->i.raw.vex.L ? GATHER_256 : 0);
    op->reg = (uint8_t)ZydisRegisterGetId(in->o[0].reg.value);
    op->rm_is_mem = base >= 0;
    op->rm = (uint8_t)(base < 0 ? 0 : base);
    op->imm = (uint32_t)mem->mem.disp.value |
              (uint64_t)(uint8_t)ZydisRegisterGetId(mem->mem.index) << GATHER_INDEX_SHIFT |
              (uint64_t)(uint8_t)ZydisRegisterGetId(in->o[2].reg.value) << GATHER_MASK_SHIFT |
              (uint64_t)__builtin_ctz(mem->mem.scale ? mem->mem.scale : 1u) << GATHER_SCALE_SHIFT;
    return true;
}
