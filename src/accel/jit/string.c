/*
 * String instructions: a page at a time at the host's speed where source and destination are plain
 * memory, element by element otherwise (devices, page ends, backwards, segments that aren't flat).
 *
 * Registers are brought up to date after every piece, so that a fault in the middle is exact and a
 * kick can be answered between pieces. Compiled for general registers only.
 */
#include "accel/jit/decode.h"
#include "accel/jit/jit-internal.h"

#include "cpu/x86/segment.h"
#include "cpu/x86/system.h"

enum { STR_MOVS, STR_STOS, STR_LODS, STR_SCAS, STR_CMPS, STR_INS, STR_OUTS };

/* The state of one instruction, with addresses cut to the address size. */
typedef struct Str {
    JitCpu *j;
    const JitOp *op;
    X86State *s;
    unsigned size;
    uint64_t amask;
    int64_t step;
    bool flat; /* linear = offset + base */
    uint64_t src_base;
} Str;

static void bump(Str *c, unsigned reg, int64_t by)
{
    uint64_t v = c->s->gpr[reg] + (uint64_t)by;
    c->s->gpr[reg] =
        c->amask == UINT16_MAX ? (c->s->gpr[reg] & ~c->amask) | (v & c->amask) : v & c->amask;
}

static uint64_t source(const Str *c)
{
    return c->s->gpr[X86_RSI] & c->amask;
}

static uint64_t destination(const Str *c)
{
    return c->s->gpr[X86_RDI] & c->amask;
}

static uint64_t linear_source(const Str *c)
{
    if (c->flat) {
        return source(c) + c->src_base;
    }
    return x86_linear_address(c->j->cpu, c->op->seg, source(c), c->size, X86_ACCESS_READ);
}

static uint64_t linear_destination(const Str *c, unsigned access)
{
    if (c->flat) {
        return destination(c);
    }
    return x86_linear_address(c->j->cpu, X86_ES, destination(c), c->size, access);
}

static uint64_t load_source(const Str *c)
{
    return x86_linear_load(c->j->cpu, linear_source(c), c->size, x86_access_cpl(c->s));
}

static uint64_t load_destination(const Str *c)
{
    return x86_linear_load(c->j->cpu, linear_destination(c, X86_ACCESS_READ), c->size,
                           x86_access_cpl(c->s));
}

static void store_destination(const Str *c, uint64_t v)
{
    x86_linear_store(c->j->cpu, linear_destination(c, X86_ACCESS_WRITE), v, c->size,
                     X86_ACCESS_WRITE | x86_access_cpl(c->s));
}

/* a - b's flags for this element size, into RFLAGS. */
static void compare(const Str *c, uint64_t a, uint64_t b)
{
    uint64_t rax;
    unsigned shift = 64 - 8 * c->size;
    uint64_t half = a - b;
    /* AF comes from the low bits, the rest from the operands at the top of the register */
    __asm__("cmp %2, %1\n\tlahf\n\tseto %%al" : "=a"(rax) : "r"(a << shift), "r"(b << shift));
    jit_merge_flags(c->j, rax, JIT_FLAGS_ALL);
    uint64_t low = X86_AF | X86_PF;
    uint64_t v =
        ((a ^ b ^ half) & 0x10 ? X86_AF : 0) | (__builtin_popcount((uint8_t)half) & 1 ? 0 : X86_PF);
    c->s->rflags = (c->s->rflags & ~low) | v;
}

static uint64_t accumulator(const Str *c)
{
    return c->size == 8 ? c->s->gpr[X86_RAX]
                        : c->s->gpr[X86_RAX] & ((UINT64_C(1) << (8 * c->size)) - 1);
}

static void set_accumulator(const Str *c, uint64_t v)
{
    uint64_t *g = &c->s->gpr[X86_RAX];
    if (c->size >= 4) {
        *g = v;
    } else {
        uint64_t m = (UINT64_C(1) << (8 * c->size)) - 1;
        *g = (*g & ~m) | (v & m);
    }
}

/* One element, any memory. */
static void element(Str *c)
{
    uint64_t a, b;
    switch (c->op->kind) {
    case STR_MOVS:
        store_destination(c, load_source(c));
        bump(c, X86_RSI, c->step);
        bump(c, X86_RDI, c->step);
        break;
    case STR_STOS:
        store_destination(c, accumulator(c));
        bump(c, X86_RDI, c->step);
        break;
    case STR_LODS:
        a = load_source(c);
        set_accumulator(c, a);
        bump(c, X86_RSI, c->step);
        break;
    case STR_SCAS:
        compare(c, accumulator(c), load_destination(c));
        bump(c, X86_RDI, c->step);
        break;
    case STR_CMPS:
        a = load_source(c);
        b = load_destination(c);
        compare(c, a, b);
        bump(c, X86_RSI, c->step);
        bump(c, X86_RDI, c->step);
        break;
    case STR_INS:
        x86_check_io(c->j->cpu, (uint16_t)c->s->gpr[X86_RDX], c->size);
        x86_linear_check(c->j->cpu, linear_destination(c, X86_ACCESS_WRITE), c->size,
                         X86_ACCESS_WRITE | x86_access_cpl(c->s));
        store_destination(c, x86_in(c->j->cpu, (uint16_t)c->s->gpr[X86_RDX], c->size));
        bump(c, X86_RDI, c->step);
        break;
    default:
        x86_check_io(c->j->cpu, (uint16_t)c->s->gpr[X86_RDX], c->size);
        x86_out(c->j->cpu, (uint16_t)c->s->gpr[X86_RDX], c->size, (uint32_t)load_source(c));
        bump(c, X86_RSI, c->step);
        break;
    }
}

static uint64_t room_in_page(uint64_t linear, unsigned size)
{
    return (4096 - (linear & 4095)) / size;
}

#define REP_BY_SIZE(prefix, insn, ...)                 \
    switch (c->size) {                                 \
    case 1:                                            \
        __asm__ volatile(prefix insn "b" __VA_ARGS__); \
        break;                                         \
    case 2:                                            \
        __asm__ volatile(prefix insn "w" __VA_ARGS__); \
        break;                                         \
    case 4:                                            \
        __asm__ volatile(prefix insn "l" __VA_ARGS__); \
        break;                                         \
    default:                                           \
        __asm__ volatile(prefix insn "q" __VA_ARGS__); \
        break;                                         \
    }

/* Up to `count` elements forwards within the pages; returns how many were done, 0: none can be. */
static uint64_t piece(Str *c, uint64_t count)
{
    uint8_t *d = NULL;
    const uint8_t *s = NULL;
    uint64_t n = count, left, rax;
    unsigned kind = c->op->kind;
    bool uses_src = kind == STR_MOVS || kind == STR_CMPS;

    uint64_t dl = destination(c), sl = source(c) + c->src_base;
    n = MIN_OF(n, room_in_page(dl, c->size));
    if (uses_src) {
        n = MIN_OF(n, room_in_page(sl, c->size));
    }
    if (!n) {
        return 0;
    }
    if (uses_src) {
        s = jit_span(c->j, sl, false, (unsigned)(n * c->size));
        if (!s) {
            return 0;
        }
    }
    d = jit_span(c->j, dl, kind == STR_MOVS || kind == STR_STOS, (unsigned)(n * c->size));
    if (!d) {
        return 0;
    }
    left = n;
    switch (kind) {
    case STR_MOVS:
        REP_BY_SIZE("rep ", "movs", : "+S"(s), "+D"(d), "+c"(left)::"memory")
        break;
    case STR_STOS:
        rax = c->s->gpr[X86_RAX];
        REP_BY_SIZE("rep ", "stos", : "+D"(d), "+c"(left) : "a"(rax) : "memory")
        break;
    case STR_SCAS:
        rax = c->s->gpr[X86_RAX];
        if (c->op->rep == 0xf2) {
            REP_BY_SIZE("repne ", "scas", "\n\tlahf\n\tseto %%al"
                        : "+D"(d), "+c"(left), "+a"(rax)::"memory")
        } else {
            REP_BY_SIZE("repe ", "scas", "\n\tlahf\n\tseto %%al"
                        : "+D"(d), "+c"(left), "+a"(rax)::"memory")
        }
        jit_merge_flags(c->j, rax, JIT_FLAGS_ALL);
        break;
    default:
        if (c->op->rep == 0xf2) {
            REP_BY_SIZE("repne ", "cmps", "\n\tlahf\n\tseto %%al"
                        : "+S"(s), "+D"(d), "+c"(left), "=a"(rax)::"memory")
        } else {
            REP_BY_SIZE("repe ", "cmps", "\n\tlahf\n\tseto %%al"
                        : "+S"(s), "+D"(d), "+c"(left), "=a"(rax)::"memory")
        }
        jit_merge_flags(c->j, rax, JIT_FLAGS_ALL);
        break;
    }
    n -= left;
    bump(c, X86_RDI, (int64_t)(n * c->size));
    if (uses_src) {
        bump(c, X86_RSI, (int64_t)(n * c->size));
    }
    return n;
}

static bool found(const Str *c)
{
    bool zf = c->s->rflags & X86_ZF;
    if (c->op->kind != STR_SCAS && c->op->kind != STR_CMPS) {
        return false;
    }
    return c->op->rep == 0xf2 ? zf : !zf;
}

static void op_string(JitCpu *j, const JitOp *op, uint64_t ea)
{
    X86State *s = j->state;
    bool code64 = s->mode & X86_MODE_CS64;
    Str c = { .j = j, .op = op, .s = s, .size = op->opsize };
    c.amask = op->addrsize == 8 ? UINT64_MAX : op->addrsize == 4 ? UINT32_MAX : UINT16_MAX;
    c.step = s->rflags & X86_DFL ? -(int64_t)c.size : c.size;
    c.flat = code64 || ((s->mode & X86_MODE_FLAT) && op->seg != X86_CS && op->seg < X86_FS);
    c.src_base = code64 && op->seg >= X86_FS ? s->seg[op->seg].base : 0;

    if (!op->rep) {
        element(&c);
        return;
    }
    bool pieces = c.flat && c.step > 0 && op->addrsize >= 4 &&
                  (op->kind == STR_MOVS || op->kind == STR_STOS || op->kind == STR_SCAS ||
                   op->kind == STR_CMPS);
    for (;;) {
        uint64_t count = s->gpr[X86_RCX] & c.amask;
        if (!count) {
            return;
        }
        uint64_t n = pieces ? piece(&c, count) : 0;
        if (!n) {
            element(&c);
            n = 1;
        }
        bump(&c, X86_RCX, -(int64_t)n);
        if (found(&c)) {
            return;
        }
        if (UNLIKELY(__atomic_load_n(&j->kick, __ATOMIC_RELAXED)) && (s->gpr[X86_RCX] & c.amask)) {
            jit_raise_hook(j->cpu); /* nothing recorded: the loop comes back to it */
        }
    }
}

bool jit_string_op(const JitInsn *in, JitOp *op)
{
    static const struct {
        uint8_t first; /* opcode of the byte form */
        uint8_t kind;
    } forms[] = { { 0xa4, STR_MOVS }, { 0xa6, STR_CMPS }, { 0xaa, STR_STOS }, { 0xac, STR_LODS },
                  { 0xae, STR_SCAS }, { 0x6c, STR_INS },  { 0x6e, STR_OUTS } };

    if (in->i.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT ||
        in->i.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
        return false;
    }
    for (unsigned n = 0; n < ARRAY_LEN(forms); n++) {
        if ((in->i.opcode & 0xfe) != forms[n].first) {
            continue;
        }
        op->fn = op_string;
        op->kind = forms[n].kind;
        op->opsize = in->i.opcode & 1 ? in->i.operand_width / 8 : 1;
        if (op->opsize == 8 && (forms[n].first == 0x6c || forms[n].first == 0x6e)) {
            op->opsize = 4;
        }
        op->addrsize = in->i.address_width / 8;
        op->seg = X86_DS;
        op->rm_is_mem = false;
        op->rep = in->i.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE) ? 0xf3
                  : in->i.attributes & ZYDIS_ATTRIB_HAS_REPNE                       ? 0xf2
                                                                                    : 0;
        for (unsigned k = 0; k < in->i.operand_count; k++) {
            const ZydisDecodedOperand *o = &in->o[k];
            if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && jit_gpr_number(o->mem.base) == X86_RSI) {
                int seg = jit_seg_number(o->mem.segment);
                op->seg = (uint8_t)(seg < 0 ? X86_DS : seg);
            }
        }
        return true;
    }
    return false;
}
