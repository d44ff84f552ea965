/*
 * The translator against the host CPU: random instruction forms with random state, run natively
 * and translated, must leave the same registers, flags, vector state and memory, or the same
 * exception at the same place.
 *
 * Guest memory lies at the same addresses in both runs. A snippet ends with UD2. RHEA_JIT_FORMS
 * says how many snippets, RHEA_JIT_SEED which.
 */
#define _GNU_SOURCE 1
#include <glib.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "accel/jit/decode.h"
#include "cpu/x86/exception.h"
#include "event/lock.h"
#include "jit-harness.h"

#define XSAVE_USED 832 /* legacy, header, AVX */
/* FOP, FIP, FDP and the kernel's software bytes aren't compared. */
#define FX_FOP        6
#define FX_FOP_END    24
#define FX_MXCSR_MASK 28
#define FX_SW         464
#define FX_END        512

typedef struct State {
    uint64_t gpr[16], rip, rflags;
    uint8_t xsave[XSAVE_USED] __attribute__((aligned(64)));
    uint8_t data[DATA_BYTES], stack[STACK_BYTES];
    int vector;
} State;

static uint64_t rng_state = 1;

static uint64_t rnd(void)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

/* --- Native --- */

static State *native;
static char native_back[sizeof(struct _libc_fpstate) + 4096] __attribute__((aligned(64)));
static greg_t native_gregs[NGREG];

static const int reg_index[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                   REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15 };

static void put_fp(ucontext_t *uc, const uint8_t *from, size_t bytes)
{
    uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    memcpy(fp, from, FX_SW);
    memcpy(fp + FX_END, from + FX_END, bytes - FX_END);
}

static void on_enter(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    memcpy(native_gregs, uc->uc_mcontext.gregs, sizeof(native_gregs));
    memcpy(native_back, uc->uc_mcontext.fpregs, XSAVE_USED);
    for (unsigned n = 0; n < 16; n++) {
        uc->uc_mcontext.gregs[reg_index[n]] = (greg_t)native->gpr[n];
    }
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)native->rip;
    uc->uc_mcontext.gregs[REG_EFL] = (greg_t)native->rflags;
    put_fp(uc, native->xsave, XSAVE_USED);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    for (unsigned n = 0; n < 16; n++) {
        native->gpr[n] = (uint64_t)uc->uc_mcontext.gregs[reg_index[n]];
    }
    native->rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    native->rflags = (uint64_t)uc->uc_mcontext.gregs[REG_EFL];
    native->vector = (int)uc->uc_mcontext.gregs[REG_TRAPNO];
    memcpy(native->xsave, uc->uc_mcontext.fpregs, XSAVE_USED);
    memcpy(uc->uc_mcontext.gregs, native_gregs, sizeof(native_gregs));
    put_fp(uc, (uint8_t *)native_back, XSAVE_USED);
}

static void run_native(State *s)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
    struct sigaction old[ARRAY_LEN(faults)];
    struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    for (unsigned n = 0; n < ARRAY_LEN(faults); n++) {
        sigaction(faults[n], &sa, &old[n]);
    }
    memcpy((void *)DATA, s->data, DATA_BYTES);
    memcpy((void *)STACK, s->stack, STACK_BYTES);
    native = s;
    raise(SIGUSR1);
    memcpy(s->data, (void *)DATA, DATA_BYTES);
    memcpy(s->stack, (void *)STACK, STACK_BYTES);
    for (unsigned n = 0; n < ARRAY_LEN(faults); n++) {
        sigaction(faults[n], &old[n], NULL);
    }
}

/* --- Translated --- */

static void run_translated(JitMachine *m, State *s)
{
    X86State *st = &m->cpu->state;
    memcpy((void *)DATA, s->data, DATA_BYTES);
    memcpy((void *)STACK, s->stack, STACK_BYTES);
    memcpy(st->gpr, s->gpr, sizeof(st->gpr));
    memcpy(st->xsave, s->xsave, XSAVE_USED);
    st->rip = s->rip;
    st->rflags = s->rflags;
    st->mode = m->mode;
    st->exception_pending = st->exception_delivering = -1;
    jit_run(m->j);
    memcpy(s->gpr, st->gpr, sizeof(st->gpr));
    memcpy(s->xsave, st->xsave, XSAVE_USED);
    s->rip = st->rip;
    s->rflags = st->rflags;
    s->vector = st->exception_pending;
    memcpy(s->data, (void *)DATA, DATA_BYTES);
    memcpy(s->stack, (void *)STACK, STACK_BYTES);
}

/* --- Making snippets --- */

typedef struct Snippet {
    uint8_t bytes[64];
    unsigned len;
    unsigned n;
    JitInsn insn[4];
    uint64_t undefined; /* flags that may differ at the end */
} Snippet;

static bool excluded(const JitInsn *in)
{
    JitOp op = { 0 };
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_PTWRITE:
    case ZYDIS_MNEMONIC_RDSSPD:
    case ZYDIS_MNEMONIC_RDSSPQ:
    case ZYDIS_MNEMONIC_NOP:  /* some forms are undefined to some CPUs */
    case ZYDIS_MNEMONIC_XLAT: /* its address isn't steered */
        return true;
    case ZYDIS_MNEMONIC_ENTER:
        return true;
    default:
        break;
    }
    if (in->i.meta.category == ZYDIS_CATEGORY_COND_BR ||
        in->i.meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
        in->i.meta.category == ZYDIS_CATEGORY_CALL || in->i.meta.category == ZYDIS_CATEGORY_RET) {
        return true;
    }
    if (in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
        in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
        in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW) {
        return true;
    }
    if (jit_op_for(in, &op) && !jit_vector_op(in, &op)) {
        JitOp s = { 0 };
        if (!jit_string_op(in, &s) || in->i.opcode < 0xa4) {
            return true;
        }
    }
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        const ZydisDecodedOperand *o = &in->o[n];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (o->mem.segment == ZYDIS_REGISTER_FS || o->mem.segment == ZYDIS_REGISTER_GS)) {
            return true;
        }
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && jit_gpr_number(o->reg.value) == X86_RSP &&
            o->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
            (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
            return true; /* the stack would move to where memory isn't put back */
        }
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT) {
            return true;
        }
    }
    return (in->i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) != 0;
}

static bool touched_before(const Snippet *s, int gpr)
{
    for (unsigned k = 0; k < s->n; k++) {
        for (unsigned n = 0; n < s->insn[k].i.operand_count; n++) {
            const ZydisDecodedOperand *o = &s->insn[k].o[n];
            if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && jit_gpr_number(o->reg.value) == gpr) {
                return true;
            }
            if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
                (jit_gpr_number(o->mem.base) == gpr || jit_gpr_number(o->mem.index) == gpr)) {
                return true;
            }
        }
    }
    return false;
}

/* Is it the base of an earlier access, and never written? */
static bool shared_base(const Snippet *s, int gpr)
{
    bool base = false;
    for (unsigned k = 0; k < s->n; k++) {
        for (unsigned n = 0; n < s->insn[k].i.operand_count; n++) {
            const ZydisDecodedOperand *o = &s->insn[k].o[n];
            if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && jit_gpr_number(o->reg.value) == gpr &&
                (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
                return false;
            }
            base |= (int)n == s->insn[k].mem && jit_gpr_number(o->mem.base) == gpr;
        }
    }
    return base;
}

/* An address in the data area; sometimes at the end of its first page. */
static uint64_t data_address(unsigned size)
{
    if (rnd() % 16 == 0) {
        return DATA + 4096 - rnd() % (size + 1);
    }
    uint64_t a = DATA + 64 + rnd() % (DATA_BYTES - 2 * size - 1024);
    return rnd() % 2 ? a & ~UINT64_C(63) : a;
}

/* A gather: small indices everywhere, a base in the middle. */
static bool steer_gather(Snippet *s, JitInsn *in, State *st)
{
    const ZydisDecodedOperand *o = &in->o[in->mem];
    int base = jit_gpr_number(o->mem.base), index = ZydisRegisterGetId(o->mem.index);
    if (s->n || base < 0 || base == X86_RSP || in->i.address_width != 64) {
        return false;
    }
    st->gpr[base] = DATA + 4096 - (uint64_t)o->mem.disp.value;
    for (unsigned n = 0; n < 32; n += 4) {
        unsigned wide = in->i.opcode & 1;
        int32_t v = wide && n % 8 ? 0 : (int32_t)(rnd() % 256);
        memcpy(st->xsave + (n < 16 ? 160 : 576 - 16) + 16 * index + n, &v, 4);
    }
    return true;
}

/* Make the memory operand hit the data area by choosing registers or the displacement. */
static bool steer(Snippet *s, JitInsn *in, State *st)
{
    if (in->i.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU || in->i.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
        in->i.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU) {
        if (touched_before(s, X86_RDI)) {
            return false;
        }
        st->gpr[X86_RDI] = DATA + rnd() % 4000;
        return in->i.address_width == 64;
    }
    if (in->mem < 0) {
        return true;
    }
    const ZydisDecodedOperand *o = &in->o[in->mem];
    if (in->i.mnemonic == ZYDIS_MNEMONIC_LEA) {
        return true;
    }
    if (o->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        return steer_gather(s, in, st);
    }
    int base = jit_gpr_number(o->mem.base), index = jit_gpr_number(o->mem.index);
    unsigned size = MAX_OF(o->size / 8u, 1u);
    uint64_t target = data_address(size);
    bool bits = in->o[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                (in->i.mnemonic == ZYDIS_MNEMONIC_BT || in->i.mnemonic == ZYDIS_MNEMONIC_BTS ||
                 in->i.mnemonic == ZYDIS_MNEMONIC_BTR || in->i.mnemonic == ZYDIS_MNEMONIC_BTC);
    if (!bits && base >= 0 && index < 0 && base != X86_RSP && in->i.address_width == 64 &&
        shared_base(s, base)) { /* accesses that may share a check */
        uint64_t at = st->gpr[base] + (uint64_t)o->mem.disp.value;
        return at >= DATA && at + size <= DATA + DATA_BYTES;
    }
    if (o->mem.base == ZYDIS_REGISTER_RIP || base < 0 || base == index || base == X86_RSP ||
        touched_before(s, base) || (index >= 0 && touched_before(s, index))) {
        return false;
    }
    if (bits) {
        int r = jit_gpr_number(in->o[1].reg.value);
        if (r == base || r == index || touched_before(s, r)) {
            return false;
        }
        st->gpr[r] = (uint64_t)(int64_t)(int16_t)(rnd() % 4096 - 2048);
        target = DATA + 2048 + rnd() % 2048;
    }
    if (index >= 0) {
        st->gpr[index] = rnd() % 4096;
        target -= st->gpr[index] * o->mem.scale;
    }
    st->gpr[base] = target - (uint64_t)o->mem.disp.value;
    if (in->i.address_width == 32) {
        st->gpr[base] = (uint32_t)st->gpr[base] | rnd() << 32;
        if (index >= 0) {
            st->gpr[index] |= rnd() << 32;
        }
    }
    return true;
}

static void string_registers(const JitInsn *in, State *st)
{
    st->gpr[X86_RSI] = DATA + rnd() % 4096;
    st->gpr[X86_RDI] = DATA + rnd() % 4096;
    if (in->i.address_width == 32) {
        st->gpr[X86_RSI] |= rnd() << 32;
        st->gpr[X86_RDI] |= rnd() << 32;
    }
    if (in->i.attributes &
        (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) {
        st->gpr[X86_RCX] = rnd() % 80;
        if (rnd() % 2) { /* something for SCAS and CMPS to find */
            memset(st->data, (int)(uint8_t)st->gpr[X86_RAX], DATA_BYTES);
            st->data[rnd() % DATA_BYTES] ^= 1;
        }
    }
}

static bool add_insn(Snippet *s, State *st)
{
    uint8_t b[ZYDIS_MAX_INSTRUCTION_LENGTH];
    JitInsn *in = &s->insn[s->n];
    JitOp op = { 0 };
    bool truncated;
    unsigned at = 0;

    for (unsigned n = 0; n < sizeof(b); n++) {
        b[n] = (uint8_t)rnd();
    }
    switch (rnd() % 8) {
    case 0:
        b[at++] = 0x66;
        break;
    case 1:
        b[at++] = rnd() % 2 ? 0xf2 : 0xf3;
        break;
    case 2:
        if (rnd() % 4 == 0) {
            b[at++] = 0xf0;
        }
        break;
    default:
        break;
    }
    switch (rnd() % 4) {
    case 0:
    case 1:
        b[at++] = (uint8_t)(0x40 | rnd() % 16);
        break;
    case 2:
        if (rnd() % 4 == 0) {
            b[at++] = rnd() % 2 ? 0xc4 : 0xc5;
        }
        break;
    default:
        break;
    }
    if (rnd() % 2 && (at == 0 || (b[at - 1] & 0xfe) != 0xc4)) {
        b[at++] = 0x0f;
        if (rnd() % 3 == 0) {
            b[at++] = rnd() % 2 ? 0x38 : 0x3a;
        }
    }
    if (rnd() % 64 == 0) { /* gathers are rare among random bytes */
        b[0] = 0xc4;
        b[1] = (uint8_t)((rnd() & 0xe0) | 2);
        b[2] = (uint8_t)((rnd() & 0xfc) | 1);
        b[3] = (uint8_t)(0x90 | rnd() % 4);
        b[4] = (uint8_t)((rnd() & 0xf8) | 4);
    }
    if (!jit_decode(X86_MODE_CS64, b, sizeof(b), in, &truncated) || excluded(in)) {
        return false;
    }
    if (!steer(s, in, st)) {
        return false;
    }
    if (jit_string_op(in, &op)) {
        if (s->n) {
            return false;
        }
        string_registers(in, st);
    }
    if (in->flags_read & s->undefined) {
        return false;
    }
    if (in->i.cpu_flags) {
        const ZydisAccessedFlags *f = in->i.cpu_flags;
        s->undefined &= ~(uint64_t)(f->modified | f->set_0 | f->set_1);
        s->undefined |= f->undefined;
        if (!in->flags_written) {
            s->undefined |= f->undefined | f->modified;
        }
    }
    memcpy(s->bytes + s->len, b, in->i.length);
    s->len += in->i.length;
    s->n++;
    return true;
}

static void random_state(State *st)
{
    for (unsigned n = 0; n < 16; n++) {
        uint64_t v = rnd();
        switch (rnd() % 4) {
        case 0:
            v = (uint64_t)(int64_t)(int8_t)v;
            break;
        case 1:
            v = (uint32_t)v;
            break;
        default:
            break;
        }
        st->gpr[n] = v;
    }
    st->gpr[X86_RSP] = STACK + 4096 + (rnd() % 4 ? rnd() % 1024 * 8 % 2048 : rnd() % 16);
    st->rflags = X86_IF | 2 | (rnd() & X86_ARITH_FLAGS);
    for (unsigned n = 0; n < DATA_BYTES; n += 8) {
        uint64_t v = rnd();
        memcpy(st->data + n, &v, 8);
        memcpy(st->stack + n, &v, 8);
    }
    memset(st->xsave, 0, sizeof(st->xsave));
    for (unsigned n = 160; n < 160 + 256; n += 8) {
        uint64_t v = rnd() % 3 ? rnd() : 0x3ff0000000000000;
        memcpy(st->xsave + n, &v, 8);
    }
    for (unsigned n = 576; n < 832; n += 8) {
        uint64_t v = rnd();
        memcpy(st->xsave + n, &v, 8);
    }
    for (unsigned n = 0; n < 8; n++) {
        long double v = (long double)(int64_t)rnd() / (1 + (long double)(rnd() % 1000));
        memcpy(st->xsave + 32 + 16 * n, &v, 10);
    }
    uint16_t fcw = rnd() % 8 ? 0x37f : 0x340;
    uint32_t mxcsr = rnd() % 8 ? 0x1f80 : 0x1000 | (uint32_t)(rnd() & 0x1f80);
    memcpy(st->xsave, &fcw, 2);
    st->xsave[4] = (uint8_t)rnd();
    memcpy(st->xsave + 24, &mxcsr, 4);
    uint64_t bv = 7;
    memcpy(st->xsave + 512, &bv, 8);
}

/* --- Comparing --- */

static void normalize(State *s, uint64_t undefined)
{
    s->rflags &= X86_ARITH_FLAGS & ~undefined;
    memset(s->xsave + FX_FOP, 0, FX_FOP_END - FX_FOP);
    memset(s->xsave + FX_MXCSR_MASK, 0, 4);
    memset(s->xsave + FX_SW, 0, FX_END - FX_SW);
    /* components in their initial state may be left out */
    uint64_t bv;
    memcpy(&bv, s->xsave + 512, 8);
    if (!(bv & 1)) {
        static const uint16_t fcw = 0x37f;
        memset(s->xsave, 0, 24);
        memset(s->xsave + 32, 0, 128);
        memcpy(s->xsave, &fcw, 2);
    }
    if (!(bv & 2)) {
        memset(s->xsave + 160, 0, 256);
    }
    if (!(bv & 4)) {
        memset(s->xsave + 576, 0, 256);
    }
    memset(s->xsave + 512, 0, 64);
}

static void describe(const Snippet *s, const State *first, const State *n, const State *t)
{
    for (unsigned k = 0, at = 0; k < s->n; k++) {
        ZydisDisassembledInstruction d;
        ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, first->rip + at, s->bytes + at,
                              s->len - at, &d);
        g_test_message("  %s", d.text);
        at += d.info.length;
    }
    for (unsigned r = 0; r < 16; r++) {
        if (n->gpr[r] != t->gpr[r]) {
            g_test_message("  r%u: %" PRIx64 " native %" PRIx64 " translated %" PRIx64, r,
                           first->gpr[r], n->gpr[r], t->gpr[r]);
        }
    }
    g_test_message("  rip %" PRIx64 " / %" PRIx64 " vector %d / %d rflags %" PRIx64 " -> %" PRIx64
                   " / %" PRIx64,
                   n->rip, t->rip, n->vector, t->vector, first->rflags, n->rflags, t->rflags);
    for (unsigned k = 0; k < XSAVE_USED; k++) {
        if (n->xsave[k] != t->xsave[k]) {
            g_test_message("  xsave[%u]: %02x / %02x", k, n->xsave[k], t->xsave[k]);
        }
    }
    for (unsigned k = 0; k < DATA_BYTES; k++) {
        if (n->data[k] != t->data[k]) {
            g_test_message("  data[%u]: %02x / %02x", k, n->data[k], t->data[k]);
        }
        if (n->stack[k] != t->stack[k]) {
            g_test_message("  stack[%u]: %02x / %02x", k, n->stack[k], t->stack[k]);
        }
    }
}

static bool equal(const State *a, const State *b)
{
    return !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip && a->rflags == b->rflags &&
           a->vector == b->vector && !memcmp(a->xsave, b->xsave, XSAVE_USED) &&
           !memcmp(a->data, b->data, DATA_BYTES) && !memcmp(a->stack, b->stack, STACK_BYTES);
}

/* Volatile, so that the compiler doesn't take the rest for unreachable and warn of what follows. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const volatile bool sanitized = true;
#else
static const volatile bool sanitized = false;
#endif

static void test_random(void)
{
    static State first, n, t;
    static uint8_t alt[64 * 1024];
    stack_t ss = { .ss_sp = alt, .ss_size = sizeof(alt) };
    struct sigaction sa = { .sa_sigaction = on_enter, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    const char *env = g_getenv("RHEA_JIT_FORMS");
    uint64_t forms = env ? g_ascii_strtoull(env, NULL, 0) : 20000;
    unsigned failures = 0, skipped = 0, faults = 0;

    if (sanitized) {
        g_test_skip("random addresses reach the sanitizer's shadow, which only native code sees");
        return;
    }
    env = g_getenv("RHEA_JIT_SEED");
    rng_state = env ? g_ascii_strtoull(env, NULL, 0) : 0x5eed;
    for (unsigned k = 0; k < 20; k++) {
        rnd();
    }
    g_assert_cmpint(sigaltstack(&ss, NULL), ==, 0);
    sigaction(SIGUSR1, &sa, NULL);
    JitMachine *m = jit_machine_new();
    uint64_t code = CODE;

    for (uint64_t f = 0; f < forms;) {
        Snippet s = { .len = 0 };
        unsigned want = 1 + (unsigned)(rnd() % 4);
        random_state(&first);
        for (unsigned tries = 0; s.n < want && tries < 200; tries++) {
            add_insn(&s, &first);
        }
        if (!s.n) {
            continue;
        }
        s.bytes[s.len] = 0x0f; /* ud2 */
        s.bytes[s.len + 1] = 0x0b;
        code += 32 + rnd() % 64;
        if (code + 128 > CODE + CODE_BYTES) {
            code = CODE;
        }
        pthread_mutex_lock(&m->jit->lock);
        jit_invalidate_range(m->jit, (uint8_t *)code, s.len + 2);
        pthread_mutex_unlock(&m->jit->lock);
        memcpy((void *)code, s.bytes, s.len + 2);
        first.rip = code;
        n = t = first;
        run_native(&n);
        if (n.vector == X86_EXC_PF || n.vector == X86_EXC_AC) {
            skipped++;
            continue;
        }
        f++;
        run_translated(m, &t);
        if (n.vector != X86_EXC_UD || n.rip != code + s.len) {
            faults++;
            s.undefined = X86_ARITH_FLAGS; /* where flags are dead, a fault shows whatever */
        }
        normalize(&n, s.undefined);
        normalize(&t, s.undefined);
        if (!equal(&n, &t)) {
            g_test_message("snippet %" G_GUINT64_FORMAT ":", f);
            describe(&s, &first, &n, &t);
            if (++failures > 20) {
                break;
            }
        }
    }
    g_test_message("%u snippets failed, %u faulted in both, %u skipped", failures, faults, skipped);
    g_assert_cmpuint(failures, ==, 0);
    jit_machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/jit/random", test_random);
    return g_test_run();
}
