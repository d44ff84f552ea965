/*
 * Blocks: from guest bytes to host code.
 *
 *   1. decode up to the first control transfer, the page's end, or JIT_BLOCK_INSNS
 *   2. walk backwards: which arithmetic flags are wanted behind each instruction. At direct jumps
 *      within the page the code behind is looked at too; elsewhere all are
 *   3. emit forwards, hot code and cold code side by side
 *   4. write down what signals and invalidation need
 */
#include "accel/jit/translate-internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/system.h"

struct JitTranslator *jit_translator_new(void)
{
    return g_new0(JitTranslator, 1);
}

void jit_translator_free(struct JitTranslator *t)
{
    g_free(t);
}

/* --- 1. decode --- */

static void op_undefined(JitCpu *j, const JitOp *op, uint64_t ea)
{
    if (log_enabled(LOG_UNIMP | LOG_GUEST_ERRORS)) {
        x86_park_fpu(j->cpu);
        log_printf("CPU %d: no such instruction at %04x:%016" PRIx64 "\n", j->cpu->parent.index,
                   j->state->seg[X86_CS].selector, j->state->rip);
    }
    x86_raise(j->cpu, X86_EXC_UD);
}

static bool decode_first(JitTranslator *t, const uint8_t *source, unsigned avail,
                         const uint8_t *source2, JitInsn *in)
{
    bool truncated;
    if (jit_decode(t->mode, source, avail, in, &truncated)) {
        return true;
    }
    if (!truncated || avail >= ZYDIS_MAX_INSTRUCTION_LENGTH) {
        return false;
    }
    if (!source2) {
        t->needs_second = true;
        return false;
    }
    memcpy(t->joined, source, avail);
    memcpy(t->joined + avail, source2, ZYDIS_MAX_INSTRUCTION_LENGTH);
    return jit_decode(t->mode, t->joined, avail + ZYDIS_MAX_INSTRUCTION_LENGTH, in, &truncated);
}

static void classify(JitTranslator *t, unsigned n)
{
    JitInsn *in = &t->insns[n];
    JitOp *op = &t->ops[n];
    memset(op, 0, sizeof(*op));
    if (jit_is_native_xsave(t, in)) {
        return;
    }
    if (t->jit->icount &&
        (in->i.mnemonic == ZYDIS_MNEMONIC_RDRAND || in->i.mnemonic == ZYDIS_MNEMONIC_RDSEED)) {
        *op = (JitOp){ .fn = jit_op_random,
                       .reg = (uint8_t)jit_gpr_number(in->o[0].reg.value),
                       .opsize = in->i.operand_width / 8 };
        in->flags_read = 0;
        in->flags_written = X86_ARITH_FLAGS;
        return;
    }
    if (jit_is_inline_system(t, in)) {
        if (in->i.mnemonic == ZYDIS_MNEMONIC_PUSHFQ || in->i.mnemonic == ZYDIS_MNEMONIC_PUSHFD) {
            in->flags_read = X86_ARITH_FLAGS;
        } else {
            in->flags_read = 0;
        }
        in->flags_written = 0;
        return;
    }
    op->fn = jit_op_for(in, op);
    if (op->fn) {
        in->flags_read = X86_ARITH_FLAGS;
        in->flags_written = 0;
    }
}

static void decode_block(JitTranslator *t, const uint8_t *source, const uint8_t *source2,
                         unsigned max)
{
    unsigned offset = (unsigned)((uintptr_t)source & 4095);
    t->n = 0;
    while (t->n < max && offset < 4096) {
        JitInsn *in = &t->insns[t->n];
        unsigned avail = 4096 - offset;
        bool truncated;
        bool ok;
        if (t->n == 0) {
            ok = decode_first(t, source, avail, source2, in);
            if (t->needs_second) {
                return;
            }
        } else {
            ok = jit_decode(t->mode, t->page + offset, avail, in, &truncated);
        }
        if (!ok) {
            if (t->n == 0) {
                memset(in, 0, sizeof(*in));
                in->offset = (uint16_t)offset;
                in->mem = -1;
                in->i.length = 1;
                in->group[0] = in->group[1] = -1;
                t->ops[0] = (JitOp){ .fn = op_undefined, .ends = true };
                t->n = 1;
            }
            return;
        }
        in->offset = (uint16_t)offset;
        classify(t, t->n);
        if (jit_offset_has_break(t->jit, offset)) {
            in->flags_read = X86_ARITH_FLAGS; /* the debugger looks at them */
        }
        offset += in->i.length;
        t->n++;
        if (t->ops[t->n - 1].fn ? t->ops[t->n - 1].ends : jit_is_block_end(in)) {
            return;
        }
    }
}

/* --- 2. liveness --- */

/* Flags that code at a page offset reads before it writes them. */
static uint16_t flags_wanted_at(JitTranslator *t, int64_t offset)
{
    uint16_t pending = X86_ARITH_FLAGS, wanted = 0;
    if (offset < 0 || offset >= 4096 || t->variant != JIT_VARIANT_FAST) {
        return X86_ARITH_FLAGS;
    }
    unsigned at = (unsigned)offset;
    for (unsigned n = 0; n < JIT_LOOKAHEAD_INSNS && pending && at < 4096; n++) {
        bool truncated;
        JitOp op = { 0 };
        if (jit_offset_has_break(t->jit, at) ||
            !jit_decode(t->mode, t->page + at, 4096 - at, &t->look, &truncated)) {
            break;
        }
        at += t->look.i.length;
        if (jit_op_for(&t->look, &op)) {
            break;
        }
        wanted |= t->look.flags_read & pending;
        pending &= (uint16_t)~t->look.flags_written;
        if (jit_is_block_end(&t->look)) {
            break;
        }
    }
    if (t->n_look < ARRAY_LEN(t->look_start)) {
        t->look_start[t->n_look] = (uint16_t)offset;
        /* a breakpoint at the next one would have been seen too */
        t->look_end[t->n_look] = (uint16_t)MIN_OF(at + 1, 4096u);
        t->n_look++;
    }
    return wanted | pending;
}

static uint16_t flags_wanted_behind(JitTranslator *t)
{
    JitInsn *last = &t->insns[t->n - 1];
    if (t->ops[t->n - 1].fn) {
        return X86_ARITH_FLAGS;
    }
    if (!jit_is_block_end(last)) {
        return flags_wanted_at(t, jit_next_offset(last));
    }
    if (last->o[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !last->o[0].imm.is_relative) {
        return X86_ARITH_FLAGS;
    }
    int64_t target = (int64_t)jit_next_offset(last) + last->o[0].imm.value.s;
    uint16_t wanted = flags_wanted_at(t, target);
    if (last->i.meta.category == ZYDIS_CATEGORY_COND_BR && wanted != X86_ARITH_FLAGS) {
        wanted |= flags_wanted_at(t, jit_next_offset(last));
    }
    return wanted;
}

static void liveness(JitTranslator *t)
{
    uint16_t live = flags_wanted_behind(t);
    for (unsigned n = t->n; n-- > 0;) {
        JitInsn *in = &t->insns[n];
        in->live_out = live;
        live = (uint16_t)((live & ~in->flags_written) | in->flags_read);
        in->live_in = live;
    }
}

/* --- 3. emit --- */

static bool needs_fpu_check(const JitTranslator *t, const JitInsn *in, X86FpuKind *kind)
{
    bool vector = false, mmx = false;
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        const ZydisDecodedOperand *o = &in->o[n];
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            ZydisRegisterClass c = ZydisRegisterGetClass(o->reg.value);
            vector |= c == ZYDIS_REGCLASS_XMM || c == ZYDIS_REGCLASS_YMM;
            mmx |= c == ZYDIS_REGCLASS_MMX;
        }
    }
    vector |= in->i.mnemonic == ZYDIS_MNEMONIC_LDMXCSR || in->i.mnemonic == ZYDIS_MNEMONIC_STMXCSR;
    bool vex =
        in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
        (vector || in->i.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ||
         in->i.mnemonic == ZYDIS_MNEMONIC_VZEROALL || in->i.mnemonic == ZYDIS_MNEMONIC_VLDMXCSR ||
         in->i.mnemonic == ZYDIS_MNEMONIC_VSTMXCSR);
    bool x87 =
        in->i.meta.isa_ext == ZYDIS_ISA_EXT_X87 || mmx || in->i.mnemonic == ZYDIS_MNEMONIC_EMMS ||
        in->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE || in->i.mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ||
        in->i.mnemonic == ZYDIS_MNEMONIC_FXRSTOR || in->i.mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
    if (vex) {
        *kind = X86_FPU_AVX;
        return (t->mode & X86_MODE_FPU_TRAP) || !(t->mode & X86_MODE_AVX);
    }
    if (vector) {
        *kind = X86_FPU_SSE;
        return (t->mode & X86_MODE_FPU_TRAP) || !(t->mode & X86_MODE_OSFXSR);
    }
    if (x87) {
        *kind = in->i.mnemonic == ZYDIS_MNEMONIC_FWAIT ? X86_FPU_WAIT : X86_FPU_X87;
        return (t->mode & X86_MODE_FPU_TRAP) != 0;
    }
    return false;
}

static void op_check_fpu(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_check_fpu(j->cpu, (X86FpuKind)op->kind);
}

/* A helper in front of the instruction; flags stay as they are. */
static void emit_question(JitTranslator *t, JitInsn *in, JitOp *op)
{
    uint16_t out = in->live_out;
    op->sets_rip = true; /* the instruction itself is still to come */
    in->live_out = X86_ARITH_FLAGS;
    jit_emit_op(t, in, op, NULL);
    in->live_out = out;
}

static void emit_insn(JitTranslator *t, unsigned n)
{
    JitInsn *in = &t->insns[n];
    X86FpuKind kind;

    if (t->n_map < ARRAY_LEN(t->map)) {
        t->map[t->n_map++] =
            (JitMapEntry){ .host = (uint32_t)(uintptr_t)t->hot.p, .insn = in->offset };
    }
    if (jit_offset_has_break(t->jit, in->offset)) {
        JitOp op = { .fn = jit_op_breakpoint };
        emit_question(t, in, &op);
    }
    if (in->i.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ && !(t->mode & X86_MODE_FPU_TRAP)) {
        /* movd eax, mm0: what every MMX instruction does to the x87 state, #MF included */
        emit8(&t->hot, 0x0f);
        emit8(&t->hot, 0x7e);
        emit8(&t->hot, 0xc0);
    }
    if (t->ops[n].fn) {
        bool mem =
            t->ops[n].rm_is_mem && in->mem >= 0 && in->o[in->mem].mem.type != ZYDIS_MEMOP_TYPE_VSIB;
        Ea ea;
        if (mem) {
            ea = jit_ea_of(t, in, &in->o[in->mem]);
        }
        jit_emit_op(t, in, &t->ops[n], mem ? &ea : NULL);
        return;
    }
    if (needs_fpu_check(t, in, &kind)) {
        JitOp op = { .fn = op_check_fpu, .kind = (uint8_t)kind };
        emit_question(t, in, &op);
    }
    if (!jit_emit_inline_system(t, in) && !jit_emit_flow(t, in) && !jit_emit_special(t, in)) {
        jit_emit_generic(t, in);
    }
}

/* icount: the block's instructions are charged as it is entered; what is left halfway is paid back
 * (jit_icount_unrun). */
static void emit_charge(JitTranslator *t, uint16_t flags_in)
{
    Emit *e = &t->hot, *c = &t->cold;
    unsigned form = flags_in ? JIT_FLAGS_ALL : JIT_FLAGS_NONE;

    jit_emit_flags_save(e, form);
    emit8(e, 0x49); /* mov r10, imm64 */
    emit8(e, 0xba);
    emit64(e, 0);
    t->charge_block = e->p - 8;
    emit_store(e, 8, JIT_FIELD(icount_block), T1);
    emit_rm(e, 8, 0x81, 5, JIT_FIELD(icount_left)); /* sub qword, imm32 */
    emit32(e, 0);
    t->charge_count = e->p - 4;
    uint8_t *out = emit_jcc(e, CC_S);
    jit_emit_flags_restore(e, form);
    emit_patch(e, out, emit_here(c));
    emit_jmp_to(c, t->jit->stubs.turn_over);
}

/* --- 4. write down --- */

static JitBlock *finish(JitTranslator *t, const uint8_t *source, const uint8_t *source2,
                        uint8_t *start, uint8_t *code, uint16_t flags_in)
{
    Jit *jit = t->jit;
    JitInsn *last = &t->insns[t->n - 1];
    JitBlock *b = jit_arena_alloc(jit, sizeof(*b), 64);
    unsigned offset = t->insns[0].offset;
    unsigned length = (unsigned)last->offset + last->i.length - offset;

    *b = (JitBlock){ .source = source,
                     .source2 = offset + length > 4096 ? source2 : NULL,
                     .mode = t->mode,
                     .variant = t->variant,
                     .valid = true,
                     .offset = (uint16_t)offset,
                     .length = (uint16_t)length,
                     .n_exits = (uint8_t)t->n_exits,
                     .n_map = (uint8_t)t->n_map,
                     .flags_in = flags_in,
                     .indirect = start + t->hot.rx,
                     .code = code + t->hot.rx,
                     .code_bytes = (uint32_t)(t->hot.p - start) };
    for (unsigned n = 0; n < t->n_look; n++) {
        b->look_start[n] = t->look_start[n];
        b->look_end[n] = t->look_end[n];
    }
    if (t->n_exits) {
        b->exits = jit_arena_alloc(jit, t->n_exits * sizeof(JitExit), 8);
    }
    for (unsigned n = 0; n < t->n_exits; n++) {
        b->exits[n] = t->exits[n];
        b->exits[n].from = b;
        uint64_t address = (uintptr_t)&b->exits[n];
        memcpy(jit_rw(jit, b->exits[n].stub) + 6, &address, 8); /* behind lahf, seto, mov r10 */
    }
    if (t->charge_block) {
        uint64_t address = (uintptr_t)b;
        uint32_t count = t->n_map;
        memcpy(t->charge_block, &address, sizeof(address));
        memcpy(t->charge_count, &count, sizeof(count));
    }
    b->map = jit_arena_alloc(jit, t->n_map * sizeof(JitMapEntry), 8);
    for (unsigned n = 0; n < t->n_map; n++) {
        b->map[n] = (JitMapEntry){ .host = t->map[n].host - (uint32_t)(uintptr_t)start,
                                   .insn = t->map[n].insn };
    }
    jit_add_block(jit, b);
    return b;
}

static void log_block(const JitTranslator *t, const JitBlock *b, uint64_t linear)
{
    if (log_enabled(LOG_IN_ASM)) {
        ZydisFormatter f;
        ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
        log_printf("IN: mode %x\n", t->mode);
        for (unsigned n = 0; n < t->n; n++) {
            char text[128] = "(bad)";
            const JitInsn *in = &t->insns[n];
            uint64_t at = linear + in->offset - t->insns[0].offset;
            if (in->i.mnemonic) {
                ZydisFormatterFormatInstruction(&f, &in->i, in->o, in->i.operand_count_visible,
                                                text, sizeof(text), at, NULL);
            }
            log_printf("0x%08" PRIx64 ":  %s\n", at, text);
        }
        log_printf("\n");
    }
    if (log_enabled(LOG_OUT_ASM)) {
        const uint8_t *p = b->indirect;
        log_printf("OUT: [size=%u]\n", b->code_bytes);
        while (p < b->indirect + b->code_bytes) {
            ZydisDisassembledInstruction d;
            if (!ZYAN_SUCCESS(
                    ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, (uintptr_t)p, p, 15, &d))) {
                break;
            }
            log_printf("%p:  %s\n", (const void *)p, d.text);
            p += d.info.length;
        }
        log_printf("\n");
    }
}

JitBlock *jit_translate(JitCpu *j, uint64_t linear, const uint8_t *source, const uint8_t *source2,
                        uint8_t variant)
{
    Jit *jit = j->jit;
    JitTranslator *t = j->translator;
    const uint8_t *page = (const uint8_t *)((uintptr_t)source & ~UINT64_C(4095));

    t->jit = jit;
    t->j = j;
    t->mode = j->state->mode;
    t->variant = variant;
    t->code64 = (t->mode & X86_MODE_CS64) != 0;
    t->flat = (t->mode & X86_MODE_FLAT) != 0;
    t->page = page;
    t->n_exits = t->n_map = t->n_look = 0;
    t->ended = t->needs_second = false;
    t->hot = (Emit){ .p = jit->hot, .limit = jit->hot_end, .rx = jit->rx - jit->rw };
    t->cold = (Emit){ .p = jit->cold, .limit = jit->cold_end, .rx = jit->rx - jit->rw };

    jit_protect_page(jit, page);
    if (source2) {
        jit_protect_page(jit, (const uint8_t *)((uintptr_t)source2 & ~UINT64_C(4095)));
    }
    decode_block(t, source, source2, variant == JIT_VARIANT_CAREFUL ? 1 : JIT_BLOCK_INSNS);
    if (t->needs_second) {
        return NULL;
    }
    liveness(t);
    jit_find_groups(t);

    emit_nops(&t->hot, (unsigned)(-(uintptr_t)t->hot.p & 7));
    uint8_t *start = t->hot.p;
    uint16_t flags_in = t->insns[0].live_in;
    if (flags_in) {
        jit_emit_flags_restore(&t->hot, JIT_FLAGS_ALL);
    }
    uint8_t *code = t->hot.p;
    t->charge_block = t->charge_count = NULL;
    if (jit->icount) {
        emit_charge(t, flags_in);
    }
    for (unsigned n = 0; n < t->n && !t->ended; n++) {
        emit_insn(t, n);
    }
    if (!t->ended) {
        JitInsn *last = &t->insns[t->n - 1];
        jit_emit_exit(t, jit_next_offset(last), last);
    }
    jit->hot = t->hot.p;
    jit->cold = t->cold.p;
    JitBlock *b = finish(t, source, source2, start, code, flags_in);
    j->counters.blocks++;
    j->counters.insns += t->n;
    j->counters.careful += variant == JIT_VARIANT_CAREFUL;
    if (log_enabled(LOG_IN_ASM | LOG_OUT_ASM) && log_wants_address(linear)) {
        log_block(t, b, linear);
    }
    if (jit->perf_file) {
        fprintf(jit->perf_file, "%" PRIxPTR " %x guest_%" PRIx64 "\n", (uintptr_t)b->indirect,
                b->code_bytes, linear);
    }
    return b;
}
