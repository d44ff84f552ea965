/* Decoding, and which arithmetic flags an instruction reads and surely writes. See decode.h. */
#include "accel/jit/decode.h"

#include <pthread.h>

#include "cpu/x86/state.h"

static ZydisDecoder decoders[3]; /* 16, 32, 64 bit; written once under `once`, then constant */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void decoders_init(void)
{
    ZydisDecoderInit(&decoders[0], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    ZydisDecoderInit(&decoders[1], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    ZydisDecoderInit(&decoders[2], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (unsigned i = 0; i < 3; i++) {
        ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
    }
}

int jit_gpr_number(ZydisRegister r)
{
    if (r >= ZYDIS_REGISTER_RAX && r <= ZYDIS_REGISTER_R15) {
        return r - ZYDIS_REGISTER_RAX;
    }
    if (r >= ZYDIS_REGISTER_EAX && r <= ZYDIS_REGISTER_R15D) {
        return r - ZYDIS_REGISTER_EAX;
    }
    if (r >= ZYDIS_REGISTER_AX && r <= ZYDIS_REGISTER_R15W) {
        return r - ZYDIS_REGISTER_AX;
    }
    if (r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_BL) {
        return r - ZYDIS_REGISTER_AL;
    }
    if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) {
        return r - ZYDIS_REGISTER_AH;
    }
    if (r >= ZYDIS_REGISTER_SPL && r <= ZYDIS_REGISTER_R15B) {
        return r - ZYDIS_REGISTER_SPL + 4;
    }
    return -1;
}

bool jit_gpr_is_high(ZydisRegister r)
{
    return r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
}

int jit_seg_number(ZydisRegister r)
{
    return r >= ZYDIS_REGISTER_ES && r <= ZYDIS_REGISTER_GS ? (int)(r - ZYDIS_REGISTER_ES) : -1;
}

/* Shifts and rotates whose count may be zero leave all flags alone then. */
static bool flags_maybe_kept(const JitInsn *in)
{
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR: {
        const ZydisDecodedOperand *count = &in->o[in->i.operand_count_visible - 1];
        return count->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || (count->imm.value.u & 31) == 0 ||
               in->i.operand_width < 32; /* counts beyond the width */
    }
    default:
        return (in->i.attributes &
                (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
    }
}

bool jit_decode(uint32_t mode, const uint8_t *bytes, unsigned len, JitInsn *in, bool *truncated)
{
    pthread_once(&once, decoders_init);
    const ZydisDecoder *d = &decoders[mode & X86_MODE_CS64 ? 2 : mode & X86_MODE_CS32 ? 1 : 0];
    ZyanStatus status = ZydisDecoderDecodeFull(d, bytes, len, &in->i, in->o);
    *truncated = status == ZYDIS_STATUS_NO_MORE_DATA;
    if (!ZYAN_SUCCESS(status)) {
        return false;
    }
    in->bytes = bytes;
    in->mem = -1;
    for (unsigned n = 0; n < in->i.operand_count_visible; n++) {
        if (in->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            in->mem = (int8_t)n;
        }
    }
    in->flags_read = in->flags_written = 0;
    const ZydisAccessedFlags *f = in->i.cpu_flags;
    if (f) {
        in->flags_read = f->tested & X86_ARITH_FLAGS;
        in->flags_written = (f->modified | f->set_0 | f->set_1 | f->undefined) & X86_ARITH_FLAGS;
        if (flags_maybe_kept(in)) {
            in->flags_written = 0;
        }
    }
    return true;
}
