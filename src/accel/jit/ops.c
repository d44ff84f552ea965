/*
 * Instructions that helpers run: everything that touches system state, segments, ports, or has no
 * 64-bit form. Thin: the architecture is in cpu/x86.
 *
 * Compiled for general registers only.
 */
#include "accel/jit/decode.h"
#include "accel/jit/jit-internal.h"

#include "base/log.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/system.h"

/* --- Operands --- */

static uint64_t size_mask(unsigned size)
{
    return size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

static uint64_t linear_of(JitCpu *j, const JitOp *op, uint64_t ea, unsigned size, unsigned access)
{
    if (j->state->mode & X86_MODE_CS64) {
        return ea;
    }
    return x86_linear_address(j->cpu, op->seg, ea, size, access);
}

static uint64_t load(JitCpu *j, const JitOp *op, uint64_t ea, unsigned size)
{
    uint64_t linear = linear_of(j, op, ea, size, X86_ACCESS_READ);
    return x86_linear_load(j->cpu, linear, size, x86_access_cpl(j->state));
}

static void store(JitCpu *j, const JitOp *op, uint64_t ea, unsigned size, uint64_t v)
{
    uint64_t linear = linear_of(j, op, ea, size, X86_ACCESS_WRITE);
    x86_linear_store(j->cpu, linear, v, size, X86_ACCESS_WRITE | x86_access_cpl(j->state));
}

static void set_gpr(JitCpu *j, unsigned n, unsigned size, uint64_t v)
{
    uint64_t *g = &j->state->gpr[n];
    if (size >= 4) {
        *g = v & size_mask(size);
    } else {
        *g = (*g & ~size_mask(size)) | (v & size_mask(size));
    }
}

/* The r/m operand. */
static uint64_t get_rm(JitCpu *j, const JitOp *op, uint64_t ea, unsigned size)
{
    return op->rm_is_mem ? load(j, op, ea, size) : j->state->gpr[op->rm] & size_mask(size);
}

/* A 16-bit system value: memory gets 16 bits, a register its operand size. */
static void put_rm16(JitCpu *j, const JitOp *op, uint64_t ea, uint64_t v)
{
    if (op->rm_is_mem) {
        store(j, op, ea, 2, v);
    } else {
        set_gpr(j, op->rm, op->opsize, v);
    }
}

static uint64_t next_rip(const JitCpu *j, const JitOp *op)
{
    uint64_t rip = j->state->rip + op->length;
    return j->state->mode & X86_MODE_CS64   ? rip
           : j->state->mode & X86_MODE_CS32 ? (uint32_t)rip
                                            : (uint16_t)rip;
}

/* --- The stack --- */

static uint64_t stack_mask(const JitCpu *j)
{
    return j->state->mode & X86_MODE_CS64   ? UINT64_MAX
           : j->state->mode & X86_MODE_SS32 ? UINT32_MAX
                                            : UINT16_MAX;
}

static void set_sp(JitCpu *j, uint64_t sp)
{
    uint64_t m = stack_mask(j);
    uint64_t *g = &j->state->gpr[X86_RSP];
    *g = m == UINT16_MAX ? (*g & ~m) | (sp & m) : sp & m;
}

static uint64_t peek(JitCpu *j, uint64_t offset, unsigned size)
{
    uint64_t sp = (j->state->gpr[X86_RSP] + offset) & stack_mask(j);
    uint64_t linear = x86_linear_address(j->cpu, X86_SS, sp, size, X86_ACCESS_READ);
    return x86_linear_load(j->cpu, linear, size, x86_access_cpl(j->state));
}

/* --- Flags --- */

#define SIMPLE_OP(name, call)                                      \
    static void op_##name(JitCpu *j, const JitOp *op, uint64_t ea) \
    {                                                              \
        call(j->cpu);                                              \
    }
SIMPLE_OP(cli, x86_cli)
SIMPLE_OP(sti, x86_sti)
SIMPLE_OP(clac, x86_clac)
SIMPLE_OP(stac, x86_stac)
SIMPLE_OP(clts, x86_clts)
SIMPLE_OP(swapgs, x86_swapgs)
SIMPLE_OP(rdmsr, x86_rdmsr)
SIMPLE_OP(wrmsr, x86_wrmsr)
SIMPLE_OP(cpuid, x86_cpuid)
SIMPLE_OP(xgetbv, x86_xgetbv)
SIMPLE_OP(xsetbv, x86_xsetbv)
SIMPLE_OP(rdpkru, x86_rdpkru)
SIMPLE_OP(wrpkru, x86_wrpkru)
SIMPLE_OP(rdtsc, x86_rdtsc)
SIMPLE_OP(rdtscp, x86_rdtscp)
SIMPLE_OP(rdpmc, x86_rdpmc)
SIMPLE_OP(wbinvd, x86_wbinvd)
SIMPLE_OP(sysenter, x86_sysenter)

static void op_undefined(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_raise(j->cpu, X86_EXC_UD);
}

void jit_op_misaligned(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_raise_error(j->cpu, X86_EXC_GP, 0);
}

/* A guest that spins waits for another vCPU, which may be waiting for this host CPU. */
void jit_op_pause(JitCpu *j, const JitOp *op, uint64_t ea)
{
    __builtin_ia32_pause();
    if (UNLIKELY(j->jit->icount)) {
        /* whoever is waited for has its turn next */
        int64_t unrun = jit_icount_unrun(j);
        int64_t cut = j->icount_left + unrun - 1;
        if (cut > 0) {
            j->icount_left -= cut;
            j->icount_turn -= cut;
        }
        return;
    }
    if (++j->pauses % JIT_PAUSES_PER_YIELD == 0) {
        x86_yield(j->cpu);
    }
}

/* RDRAND and RDSEED under icount: the same numbers in every run. */
void jit_op_random(JitCpu *j, const JitOp *op, uint64_t ea)
{
    /* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) */
    uint64_t z = j->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    uint64_t *g = &j->state->gpr[op->reg];
    *g = op->opsize == 8   ? z
         : op->opsize == 4 ? (uint32_t)z
                           : (*g & ~UINT64_C(0xffff)) | (uint16_t)z;
    j->state->rflags = (j->state->rflags & ~(uint64_t)X86_ARITH_FLAGS) | X86_CF;
}

static void op_cld(JitCpu *j, const JitOp *op, uint64_t ea)
{
    j->state->rflags &= ~(uint64_t)X86_DFL;
}

static void op_std(JitCpu *j, const JitOp *op, uint64_t ea)
{
    j->state->rflags |= X86_DFL;
}

static void op_pushf(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_push(j->cpu, x86_pushf_image(j->cpu, op->opsize), op->opsize);
}

static void op_popf(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint64_t image = peek(j, 0, op->opsize);
    x86_popf_image(j->cpu, image, op->opsize);
    set_sp(j, j->state->gpr[X86_RSP] + op->opsize);
}

/* --- Control and debug registers --- */

static void op_read_cr(JitCpu *j, const JitOp *op, uint64_t ea)
{
    set_gpr(j, op->rm, op->opsize, x86_read_cr(j->cpu, op->reg));
}

static void op_write_cr(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_write_cr(j->cpu, op->reg, j->state->gpr[op->rm] & size_mask(op->opsize));
}

static void op_read_dr(JitCpu *j, const JitOp *op, uint64_t ea)
{
    set_gpr(j, op->rm, op->opsize, x86_read_dr(j->cpu, op->reg));
}

static void op_write_dr(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_write_dr(j->cpu, op->reg, j->state->gpr[op->rm] & size_mask(op->opsize));
}

static void op_lmsw(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_lmsw(j->cpu, (uint16_t)get_rm(j, op, ea, 2));
}

static void op_smsw(JitCpu *j, const JitOp *op, uint64_t ea)
{
    put_rm16(j, op, ea, x86_smsw(j->cpu));
}

/* --- Interrupts, system calls --- */

static void op_int(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_int_n(j->cpu, (unsigned)op->imm, next_rip(j, op));
}

static void op_int3(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_int3(j->cpu, next_rip(j, op));
}

static void op_into(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint64_t next = next_rip(j, op);
    if (j->state->rflags & X86_OF) {
        x86_into(j->cpu, next);
    } else {
        j->state->rip = next;
    }
}

static void op_int1(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_int1(j->cpu, next_rip(j, op));
}

static void op_iret(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_iret(j->cpu, op->opsize, next_rip(j, op));
}

static void op_syscall(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_syscall(j->cpu, next_rip(j, op));
}

static void op_sysret(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_sysret(j->cpu, op->opsize);
}

static void op_sysexit(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_sysexit(j->cpu, op->opsize);
}

static void op_hlt(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_hlt(j->cpu, next_rip(j, op));
}

static void op_monitor(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint64_t a = j->state->gpr[X86_RAX] & size_mask(op->addrsize);
    if (j->state->mode & X86_MODE_CS64) {
        a += op->seg >= X86_FS ? j->state->seg[op->seg].base : 0;
    } else {
        a = x86_linear_address(j->cpu, op->seg, a, 1, X86_ACCESS_READ);
    }
    x86_monitor(j->cpu, a);
}

static void op_mwait(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_mwait(j->cpu, next_rip(j, op));
}

/* --- Segments --- */

static void op_mov_to_seg(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_load_segment(j->cpu, op->reg, (uint16_t)get_rm(j, op, ea, 2));
}

static void op_mov_from_seg(JitCpu *j, const JitOp *op, uint64_t ea)
{
    put_rm16(j, op, ea, j->state->seg[op->reg].selector);
}

static void op_push_seg(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_push(j->cpu, j->state->seg[op->reg].selector, op->opsize);
}

static void op_pop_seg(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_load_segment(j->cpu, op->reg, (uint16_t)peek(j, 0, op->opsize));
    set_sp(j, j->state->gpr[X86_RSP] + op->opsize);
}

/* LDS, LES, LFS, LGS, LSS */
static void op_load_far(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint64_t offset = load(j, op, ea, op->opsize);
    uint16_t selector = (uint16_t)load(j, op, ea + op->opsize, 2);
    x86_load_segment(j->cpu, op->kind, selector);
    set_gpr(j, op->reg, op->opsize, offset);
}

static void far_target(JitCpu *j, const JitOp *op, uint64_t ea, uint16_t *selector,
                       uint64_t *offset)
{
    if (op->rm_is_mem) {
        *offset = load(j, op, ea, op->opsize);
        *selector = (uint16_t)load(j, op, ea + op->opsize, 2);
    } else {
        *offset = op->imm & UINT32_MAX;
        *selector = (uint16_t)(op->imm >> 32);
    }
}

static void op_far_jmp(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint16_t selector;
    uint64_t offset;
    far_target(j, op, ea, &selector, &offset);
    x86_far_jmp(j->cpu, selector, offset, op->opsize, next_rip(j, op));
}

static void op_far_call(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint16_t selector;
    uint64_t offset;
    far_target(j, op, ea, &selector, &offset);
    x86_far_call(j->cpu, selector, offset, op->opsize, next_rip(j, op));
}

static void op_far_ret(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_far_ret(j->cpu, op->opsize, (unsigned)op->imm);
}

static void op_lar(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint32_t v;
    if (x86_lar(j->cpu, (uint16_t)get_rm(j, op, ea, 2), &v)) {
        set_gpr(j, op->reg, op->opsize, v);
    }
}

static void op_lsl(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint32_t v;
    if (x86_lsl(j->cpu, (uint16_t)get_rm(j, op, ea, 2), &v)) {
        set_gpr(j, op->reg, op->opsize, v);
    }
}

static void op_verr(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_verr(j->cpu, (uint16_t)get_rm(j, op, ea, 2));
}

static void op_verw(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_verw(j->cpu, (uint16_t)get_rm(j, op, ea, 2));
}

static void op_arpl(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint16_t d = (uint16_t)get_rm(j, op, ea, 2);
    uint16_t r = x86_arpl(j->cpu, d, (uint16_t)j->state->gpr[op->reg]);
    if (op->rm_is_mem) {
        store(j, op, ea, 2, r);
    } else {
        set_gpr(j, op->rm, 2, r);
    }
}

static void op_lldt(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_lldt(j->cpu, (uint16_t)get_rm(j, op, ea, 2));
}

static void op_ltr(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_ltr(j->cpu, (uint16_t)get_rm(j, op, ea, 2));
}

static void op_sldt(JitCpu *j, const JitOp *op, uint64_t ea)
{
    put_rm16(j, op, ea, x86_sldt(j->cpu));
}

static void op_str(JitCpu *j, const JitOp *op, uint64_t ea)
{
    put_rm16(j, op, ea, x86_str(j->cpu));
}

static void op_table(JitCpu *j, const JitOp *op, uint64_t ea)
{
    static void (*const fns[4])(X86Cpu *, uint64_t, unsigned) = { x86_sgdt, x86_sidt, x86_lgdt,
                                                                  x86_lidt };
    unsigned opsize = j->state->mode & X86_MODE_CS64 ? 8 : op->opsize;
    fns[op->kind](j->cpu,
                  linear_of(j, op, ea, opsize == 8 ? 10 : 6, op->kind < 2 ? X86_ACCESS_WRITE : 0),
                  opsize);
}

static void op_rdsegbase(JitCpu *j, const JitOp *op, uint64_t ea)
{
    set_gpr(j, op->rm, op->opsize, x86_rdsegbase(j->cpu, op->kind));
}

static void op_wrsegbase(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_wrsegbase(j->cpu, op->kind, j->state->gpr[op->rm] & size_mask(op->opsize));
}

static void op_rdpid(JitCpu *j, const JitOp *op, uint64_t ea)
{
    j->state->gpr[op->rm] = x86_rdpid(j->cpu);
}

/* --- TLB --- */

static void op_invlpg(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint64_t linear = ea;
    if (!(j->state->mode & X86_MODE_CS64)) {
        linear = (uint32_t)(ea + j->state->seg[op->seg].base);
    }
    x86_invlpg(j->cpu, linear);
}

static void op_invpcid(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_invpcid(j->cpu, j->state->gpr[op->reg], linear_of(j, op, ea, 16, X86_ACCESS_READ));
}

/* --- Ports --- */

static void op_in(JitCpu *j, const JitOp *op, uint64_t ea)
{
    unsigned port = op->rm_is_mem ? 0
                    : op->kind    ? (uint16_t)j->state->gpr[X86_RDX]
                                  : (unsigned)op->imm;
    set_gpr(j, X86_RAX, op->opsize, x86_in(j->cpu, port, op->opsize));
}

static void op_out(JitCpu *j, const JitOp *op, uint64_t ea)
{
    unsigned port = op->kind ? (uint16_t)j->state->gpr[X86_RDX] : (unsigned)op->imm;
    x86_out(j->cpu, port, op->opsize, (uint32_t)(j->state->gpr[X86_RAX] & size_mask(op->opsize)));
}

/* --- XSAVE family --- */

static uint64_t edx_eax(const JitCpu *j)
{
    return (uint32_t)j->state->gpr[X86_RAX] | j->state->gpr[X86_RDX] << 32;
}

static void op_xsave(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_park_fpu(j->cpu);
    x86_xsave(j->cpu, linear_of(j, op, ea, 64, X86_ACCESS_WRITE), edx_eax(j),
              (X86XsaveForm)op->kind, op->imm != 0);
}

static void op_xrstor(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_park_fpu(j->cpu);
    x86_xrstor(j->cpu, linear_of(j, op, ea, 64, X86_ACCESS_READ), edx_eax(j), op->kind != 0,
               op->imm != 0);
}

/* --- What 64-bit mode lost, and other rarities --- */

static void op_enter(JitCpu *j, const JitOp *op, uint64_t ea)
{
    unsigned size = op->opsize, level = (unsigned)(op->imm >> 16) & 31;
    uint16_t room = (uint16_t)op->imm;
    uint64_t m = stack_mask(j);
    uint64_t bp = j->state->gpr[X86_RBP], sp = j->state->gpr[X86_RSP];
    uint64_t frame = (sp - size) & m, at = frame;
    unsigned access = X86_ACCESS_WRITE | x86_access_cpl(j->state);

    x86_linear_store(j->cpu, x86_linear_address(j->cpu, X86_SS, at, size, X86_ACCESS_WRITE), bp,
                     size, access);
    for (unsigned n = 1; n <= level; n++) {
        uint64_t v = frame;
        if (n < level) {
            uint64_t from = (bp - n * size) & m;
            v = x86_linear_load(j->cpu,
                                x86_linear_address(j->cpu, X86_SS, from, size, X86_ACCESS_READ),
                                size, x86_access_cpl(j->state));
        }
        at = (at - size) & m;
        x86_linear_store(j->cpu, x86_linear_address(j->cpu, X86_SS, at, size, X86_ACCESS_WRITE), v,
                         size, access);
    }
    /* the new top must be writable */
    x86_linear_check(j->cpu,
                     x86_linear_address(j->cpu, X86_SS, (at - room) & m, size, X86_ACCESS_WRITE), 1,
                     access);
    set_gpr(j, X86_RBP, size, frame);
    set_sp(j, at - room);
}

static void op_pusha(JitCpu *j, const JitOp *op, uint64_t ea)
{
    unsigned size = op->opsize;
    uint64_t m = stack_mask(j), sp = j->state->gpr[X86_RSP];
    for (unsigned n = 0; n < 8; n++) {
        uint64_t at = (sp - (n + 1) * size) & m;
        x86_linear_store(j->cpu, x86_linear_address(j->cpu, X86_SS, at, size, X86_ACCESS_WRITE),
                         j->state->gpr[n] & size_mask(size), size,
                         X86_ACCESS_WRITE | x86_access_cpl(j->state));
    }
    set_sp(j, sp - 8 * size);
}

static void op_popa(JitCpu *j, const JitOp *op, uint64_t ea)
{
    unsigned size = op->opsize;
    uint64_t v[8];
    for (unsigned n = 0; n < 8; n++) {
        v[7 - n] = peek(j, n * size, size);
    }
    for (unsigned n = 0; n < 8; n++) {
        if (n != X86_RSP) {
            set_gpr(j, n, size, v[n]);
        }
    }
    set_sp(j, j->state->gpr[X86_RSP] + 8 * size);
}

static void op_bound(JitCpu *j, const JitOp *op, uint64_t ea)
{
    x86_bound(j->cpu, j->state->gpr[op->reg] & size_mask(op->opsize),
              linear_of(j, op, ea, 2u * op->opsize, X86_ACCESS_READ), op->opsize);
}

static void op_xlat(JitCpu *j, const JitOp *op, uint64_t ea)
{
    X86State *s = j->state;
    uint64_t a = (s->gpr[X86_RBX] + (uint8_t)s->gpr[X86_RAX]) & size_mask(op->addrsize);
    if ((s->mode & X86_MODE_CS64) && op->seg >= X86_FS) {
        a += s->seg[op->seg].base;
    }
    set_gpr(j, X86_RAX, 1, load(j, op, a, 1));
}

static void set_flags(JitCpu *j, uint64_t mask, uint64_t v)
{
    j->state->rflags = (j->state->rflags & ~mask) | (v & mask);
}

static uint64_t flags_of_byte(uint8_t v)
{
    return (v ? 0 : X86_ZF) | (v & 0x80 ? X86_SF : 0) | (__builtin_popcount(v) & 1 ? 0 : X86_PF);
}

/* AAA and AAS; kind: 1 adds, -1 subtracts. SDM volume 2. */
static void op_aaa(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint16_t ax = (uint16_t)j->state->gpr[X86_RAX];
    bool adjust = (ax & 15) > 9 || (j->state->rflags & X86_AF);
    if (adjust) {
        ax = (uint16_t)(op->kind ? ax - 0x106 : ax + 0x106);
    }
    set_gpr(j, X86_RAX, 2, ax & 0xff0f);
    set_flags(j, X86_AF | X86_CF, adjust ? X86_AF | X86_CF : 0);
}

static void op_daa(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint8_t al = (uint8_t)j->state->gpr[X86_RAX], old = al;
    bool cf = j->state->rflags & X86_CF, carry = false, af = false;
    int sign = op->kind ? -1 : 1;
    if ((al & 15) > 9 || (j->state->rflags & X86_AF)) {
        carry = cf || (op->kind ? al < 6 : al > 0xf9);
        al = (uint8_t)(al + sign * 6);
        af = true;
    }
    if (old > 0x99 || cf) {
        al = (uint8_t)(al + sign * 0x60);
        carry = true;
    }
    set_gpr(j, X86_RAX, 1, al);
    set_flags(j, X86_AF | X86_CF | X86_ZF | X86_SF | X86_PF,
              (af ? X86_AF : 0) | (carry ? X86_CF : 0) | flags_of_byte(al));
}

static void op_aam(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint8_t al = (uint8_t)j->state->gpr[X86_RAX], base = (uint8_t)op->imm;
    if (!base) {
        x86_raise(j->cpu, X86_EXC_DE);
    }
    set_gpr(j, X86_RAX, 2, (uint64_t)(al / base) << 8 | al % base);
    set_flags(j, X86_ZF | X86_SF | X86_PF, flags_of_byte(al % base));
}

static void op_aad(JitCpu *j, const JitOp *op, uint64_t ea)
{
    uint16_t ax = (uint16_t)j->state->gpr[X86_RAX];
    uint8_t al = (uint8_t)((ax & 0xff) + (ax >> 8) * (uint8_t)op->imm);
    set_gpr(j, X86_RAX, 2, al);
    set_flags(j, X86_ZF | X86_SF | X86_PF, flags_of_byte(al));
}

static void op_salc(JitCpu *j, const JitOp *op, uint64_t ea)
{
    set_gpr(j, X86_RAX, 1, j->state->rflags & X86_CF ? 0xff : 0);
}

/* --- Which helper --- */

typedef struct OpRow {
    uint16_t mnemonic;
    JitOpFn *fn;
    bool ends, sets_rip;
    uint8_t kind;
} OpRow;

#define M(x) ZYDIS_MNEMONIC_##x
static const OpRow rows[] = {
    { M(CLI), op_cli },
    { M(STI), op_sti, .ends = true },
    { M(CLAC), op_clac, .ends = true },
    { M(STAC), op_stac, .ends = true },
    { M(CLTS), op_clts, .ends = true },
    { M(CLD), op_cld },
    { M(STD), op_std },
    { M(PUSHF), op_pushf },
    { M(PUSHFD), op_pushf },
    { M(PUSHFQ), op_pushf },
    { M(POPF), op_popf, .ends = true },
    { M(POPFD), op_popf, .ends = true },
    { M(POPFQ), op_popf, .ends = true },
    { M(INT), op_int, .ends = true, .sets_rip = true },
    { M(INT3), op_int3, .ends = true, .sets_rip = true },
    { M(INTO), op_into, .ends = true, .sets_rip = true },
    { M(INT1), op_int1, .ends = true, .sets_rip = true },
    { M(IRET), op_iret, .ends = true, .sets_rip = true },
    { M(IRETD), op_iret, .ends = true, .sets_rip = true },
    { M(IRETQ), op_iret, .ends = true, .sets_rip = true },
    { M(SYSCALL), op_syscall, .ends = true, .sets_rip = true },
    { M(SYSRET), op_sysret, .ends = true, .sets_rip = true },
    { M(SYSENTER), op_sysenter, .ends = true, .sets_rip = true },
    { M(SYSEXIT), op_sysexit, .ends = true, .sets_rip = true },
    { M(HLT), op_hlt, .ends = true, .sets_rip = true },
    { M(MONITOR), op_monitor },
    { M(MWAIT), op_mwait, .ends = true, .sets_rip = true },
    { M(SWAPGS), op_swapgs },
    { M(RDMSR), op_rdmsr },
    { M(WRMSR), op_wrmsr, .ends = true },
    { M(CPUID), op_cpuid },
    { M(XGETBV), op_xgetbv },
    { M(XSETBV), op_xsetbv, .ends = true },
    { M(RDPKRU), op_rdpkru },
    { M(WRPKRU), op_wrpkru, .ends = true },
    { M(RDTSC), op_rdtsc },
    { M(RDTSCP), op_rdtscp },
    { M(RDPMC), op_rdpmc },
    { M(WBINVD), op_wbinvd },
    { M(INVD), op_wbinvd },
    { M(LMSW), op_lmsw, .ends = true },
    { M(SMSW), op_smsw },
    { M(LAR), op_lar },
    { M(LSL), op_lsl },
    { M(VERR), op_verr },
    { M(VERW), op_verw },
    { M(ARPL), op_arpl },
    { M(LLDT), op_lldt },
    { M(LTR), op_ltr },
    { M(SLDT), op_sldt },
    { M(STR), op_str },
    { M(SGDT), op_table, .kind = 0 },
    { M(SIDT), op_table, .kind = 1 },
    { M(LGDT), op_table, .kind = 2 },
    { M(LIDT), op_table, .kind = 3 },
    { M(RDFSBASE), op_rdsegbase, .kind = X86_FS },
    { M(RDGSBASE), op_rdsegbase, .kind = X86_GS },
    { M(WRFSBASE), op_wrsegbase, .kind = X86_FS },
    { M(WRGSBASE), op_wrsegbase, .kind = X86_GS },
    { M(RDPID), op_rdpid },
    { M(INVLPG), op_invlpg, .ends = true },
    { M(INVPCID), op_invpcid, .ends = true },
    { M(IN), op_in },
    { M(OUT), op_out },
    { M(XSAVE), op_xsave, .kind = X86_XSAVE },
    { M(XSAVE64), op_xsave, .kind = X86_XSAVE },
    { M(XSAVEOPT), op_xsave, .kind = X86_XSAVEOPT },
    { M(XSAVEOPT64), op_xsave, .kind = X86_XSAVEOPT },
    { M(XSAVEC), op_xsave, .kind = X86_XSAVEC },
    { M(XSAVEC64), op_xsave, .kind = X86_XSAVEC },
    { M(XSAVES), op_xsave, .kind = X86_XSAVES },
    { M(XSAVES64), op_xsave, .kind = X86_XSAVES },
    { M(XRSTOR), op_xrstor },
    { M(XRSTOR64), op_xrstor },
    { M(XRSTORS), op_xrstor, .kind = 1 },
    { M(XRSTORS64), op_xrstor, .kind = 1 },
    { M(LDS), op_load_far, .ends = true, .kind = X86_DS },
    { M(LES), op_load_far, .ends = true, .kind = X86_ES },
    { M(LFS), op_load_far, .ends = true, .kind = X86_FS },
    { M(LGS), op_load_far, .ends = true, .kind = X86_GS },
    { M(LSS), op_load_far, .ends = true, .kind = X86_SS },
    { M(ENTER), op_enter },
    { M(PUSHA), op_pusha },
    { M(PUSHAD), op_pusha },
    { M(POPA), op_popa },
    { M(POPAD), op_popa },
    { M(BOUND), op_bound },
    { M(XLAT), op_xlat },
    { M(AAA), op_aaa, .kind = 0 },
    { M(AAS), op_aaa, .kind = 1 },
    { M(DAA), op_daa, .kind = 0 },
    { M(DAS), op_daa, .kind = 1 },
    { M(AAM), op_aam },
    { M(AAD), op_aad },
    { M(SALC), op_salc },
    { M(UD0), op_undefined, .ends = true },
    { M(UD1), op_undefined, .ends = true },
    { M(UD2), op_undefined, .ends = true },
    { M(GETSEC), op_undefined, .ends = true },
    { M(RSM), op_undefined, .ends = true },
    { M(VMCALL), op_undefined, .ends = true },
    { M(VMMCALL), op_undefined, .ends = true },
    { M(VMLAUNCH), op_undefined, .ends = true },
    { M(VMRESUME), op_undefined, .ends = true },
    { M(VMXOFF), op_undefined, .ends = true },
    { M(VMXON), op_undefined, .ends = true },
    { M(VMPTRLD), op_undefined, .ends = true },
    { M(VMPTRST), op_undefined, .ends = true },
    { M(VMCLEAR), op_undefined, .ends = true },
    { M(VMREAD), op_undefined, .ends = true },
    { M(VMWRITE), op_undefined, .ends = true },
    { M(VMFUNC), op_undefined, .ends = true },
    { M(VMRUN), op_undefined, .ends = true },
    { M(VMLOAD), op_undefined, .ends = true },
    { M(VMSAVE), op_undefined, .ends = true },
    { M(STGI), op_undefined, .ends = true },
    { M(CLGI), op_undefined, .ends = true },
    { M(SKINIT), op_undefined, .ends = true },
    { M(INVEPT), op_undefined, .ends = true },
    { M(INVVPID), op_undefined, .ends = true },
    { M(INVLPGA), op_undefined, .ends = true },
    { M(INVLPGB), op_undefined, .ends = true },
    { M(TLBSYNC), op_undefined, .ends = true },
    { M(MONITORX), op_undefined, .ends = true },
    { M(MWAITX), op_undefined, .ends = true },
    { M(RDPRU), op_undefined, .ends = true },
    { M(CLZERO), op_undefined, .ends = true },
    { M(UMONITOR), op_undefined, .ends = true },
    { M(UMWAIT), op_undefined, .ends = true },
    { M(TPAUSE), op_undefined, .ends = true },
    { M(XBEGIN), op_undefined, .ends = true },
    { M(XABORT), op_undefined, .ends = true },
    { M(XEND), op_undefined, .ends = true },
    { M(XTEST), op_undefined, .ends = true },
    { M(ENQCMD), op_undefined, .ends = true },
    { M(ENQCMDS), op_undefined, .ends = true },
    { M(PCONFIG), op_undefined, .ends = true },
    { M(ENCLS), op_undefined, .ends = true },
    { M(ENCLU), op_undefined, .ends = true },
    { M(ENCLV), op_undefined, .ends = true },
};
#undef M

/* mnemonic -> row + 1; built once under `once`, then constant */
static uint8_t row_of[ZYDIS_MNEMONIC_MAX_VALUE + 1];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void build_rows(void)
{
    for (unsigned n = 0; n < ARRAY_LEN(rows); n++) {
        row_of[rows[n].mnemonic] = (uint8_t)(n + 1);
    }
}

static void fill_operands(const JitInsn *in, JitOp *op)
{
    op->opsize = in->i.operand_width / 8;
    op->addrsize = in->i.address_width / 8;
    op->seg = X86_DS;
    if (in->i.attributes & ZYDIS_ATTRIB_HAS_MODRM) {
        unsigned r = 0, b = 0;
        if (in->i.attributes & ZYDIS_ATTRIB_HAS_REX) {
            r = in->i.raw.rex.R;
            b = in->i.raw.rex.B;
        }
        op->reg = (uint8_t)(in->i.raw.modrm.reg | r << 3);
        op->rm = (uint8_t)(in->i.raw.modrm.rm | b << 3);
        op->rm_is_mem = in->i.raw.modrm.mod != 3;
    }
    for (unsigned n = 0; n < in->i.operand_count; n++) {
        if (in->o[n].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            int s = jit_seg_number(in->o[n].mem.segment);
            op->seg = (uint8_t)(s < 0 ? X86_DS : s);
            break;
        }
    }
    if (in->i.raw.imm[0].size) {
        op->imm = in->i.raw.imm[0].value.u;
    }
    if (in->i.raw.imm[1].size) {
        op->imm |= in->i.raw.imm[1].value.u << (in->i.mnemonic == ZYDIS_MNEMONIC_ENTER ? 16 : 32);
    }
}

static unsigned stack_opsize(const JitInsn *in)
{
    return in->i.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? (in->i.operand_width == 16 ? 2 : 8)
                                                            : in->i.operand_width / 8;
}

static JitOpFn *mov_op(const JitInsn *in, JitOp *op)
{
    for (unsigned n = 0; n < 2; n++) {
        if (in->o[n].type != ZYDIS_OPERAND_TYPE_REGISTER) {
            continue;
        }
        bool write = n == 0;
        unsigned wide = in->i.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? 8 : 4;
        switch (ZydisRegisterGetClass(in->o[n].reg.value)) {
        case ZYDIS_REGCLASS_SEGMENT:
            fill_operands(in, op);
            op->ends = write;
            op->opsize = op->opsize ? op->opsize : 4;
            return write ? op_mov_to_seg : op_mov_from_seg;
        case ZYDIS_REGCLASS_CONTROL:
            fill_operands(in, op);
            op->rm_is_mem = false;
            op->opsize = (uint8_t)wide;
            op->reg = (uint8_t)(in->o[n].reg.value - ZYDIS_REGISTER_CR0);
            op->ends = write;
            return write ? op_write_cr : op_read_cr;
        case ZYDIS_REGCLASS_DEBUG:
            fill_operands(in, op);
            op->rm_is_mem = false;
            op->opsize = (uint8_t)wide;
            op->reg = (uint8_t)(in->o[n].reg.value - ZYDIS_REGISTER_DR0);
            op->ends = write;
            return write ? op_write_dr : op_read_dr;
        default:
            break;
        }
    }
    return NULL;
}

static JitOpFn *stack_seg_op(const JitInsn *in, JitOp *op)
{
    int seg =
        in->o[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? jit_seg_number(in->o[0].reg.value) : -1;
    if (seg < 0) {
        return NULL;
    }
    fill_operands(in, op);
    op->rm_is_mem = false;
    op->reg = (uint8_t)seg;
    op->opsize = (uint8_t)stack_opsize(in);
    if (in->i.mnemonic == ZYDIS_MNEMONIC_POP) {
        op->ends = true;
        return op_pop_seg;
    }
    return op_push_seg;
}

static JitOpFn *far_op(const JitInsn *in, JitOp *op)
{
    if (in->i.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR) {
        return NULL;
    }
    fill_operands(in, op);
    op->ends = op->sets_rip = true;
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP:
        if (in->o[0].type == ZYDIS_OPERAND_TYPE_POINTER) {
            op->rm_is_mem = false;
            op->imm = (uint64_t)in->o[0].ptr.segment << 32 | in->o[0].ptr.offset;
        }
        return in->i.mnemonic == ZYDIS_MNEMONIC_CALL ? op_far_call : op_far_jmp;
    default:
        return op_far_ret;
    }
}

JitOpFn *jit_op_for(const JitInsn *in, JitOp *op)
{
    pthread_once(&once, build_rows);
    if (in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
        in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
        in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW ||
        in->i.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX) {
        op->ends = true;
        return op_undefined;
    }
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        return mov_op(in, op);
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
        return stack_seg_op(in, op);
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_RET:
        return far_op(in, op);
    default:
        break;
    }
    if (jit_string_op(in, op) || jit_vector_op(in, op)) {
        return op->fn;
    }
    unsigned r = row_of[in->i.mnemonic];
    if (!r) {
        if (in->i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) {
            op->ends = true;
            return op_undefined;
        }
        return NULL;
    }
    const OpRow *row = &rows[r - 1];
    fill_operands(in, op);
    op->ends = row->ends;
    op->sets_rip = row->sets_rip;
    op->kind = row->kind;
    switch (in->i.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_ENTER:
        op->opsize = (uint8_t)stack_opsize(in);
        break;
    case ZYDIS_MNEMONIC_IN:
        op->kind = in->i.opcode >= 0xec;
        op->opsize = in->i.opcode & 1 ? (in->i.operand_width == 16 ? 2 : 4) : 1;
        break;
    case ZYDIS_MNEMONIC_OUT:
        op->kind = in->i.opcode >= 0xee;
        op->opsize = in->i.opcode & 1 ? (in->i.operand_width == 16 ? 2 : 4) : 1;
        break;
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVES64:
    case ZYDIS_MNEMONIC_XRSTOR64:
    case ZYDIS_MNEMONIC_XRSTORS64:
        op->imm = 1; /* REX.W */
        break;
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT:
        op->opsize = (in->i.attributes & ZYDIS_ATTRIB_HAS_REX) && in->i.raw.rex.W ? 8 : 4;
        break;
    case ZYDIS_MNEMONIC_IRET:
        op->opsize = 2;
        break;
    case ZYDIS_MNEMONIC_IRETD:
        op->opsize = 4;
        break;
    case ZYDIS_MNEMONIC_IRETQ:
        op->opsize = 8;
        break;
    default:
        break;
    }
    return row->fn;
}
