/*
 * Running: the loop of a vCPU, the ways from translated code back into C, kicks, host signals, and
 * the vector state's going in and out of host registers.
 *
 * Compiled for general registers only, like everything that translated code calls.
 */
#define _GNU_SOURCE 1
#include "accel/jit/jit-internal.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/fault.h"
#include "base/log.h"
#include "cpu/debug.h"
#include "cpu/x86/exception.h"

/* Where a kicked CPU's poll reads: page 0 is never mapped. */
#define POLL_NOWHERE ((const void *)16)

__thread JitCpu *jit_this_cpu;

/* --- Vector state --- */

void jit_park_fpu(X86Cpu *cpu)
{
    JitCpu *j = cpu->parent.accel;
    static const uint32_t mxcsr = 0x1f80; /* the C environment's: all masked */
    if (!j->fpu_live) {
        return;
    }
    uint64_t mask = j->jit->xsave_mask;
    __asm__ volatile("xsave64 %0\n\tfninit\n\tldmxcsr %1"
                     : "+m"(j->state->xsave)
                     : "m"(mxcsr), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
                     : "memory");
    j->fpu_live = false;
    j->counters.fpu_parks++;
}

void jit_unpark(JitCpu *j)
{
    if (j->fpu_live) {
        return;
    }
    uint64_t mask = j->jit->xsave_mask;
    __asm__ volatile("xrstor64 %0" ::"m"(j->state->xsave), "a"((uint32_t)mask),
                     "d"((uint32_t)(mask >> 32))
                     : "memory");
    j->fpu_live = true;
}

/* --- Flags: as LAHF and SETO leave them in RAX --- */

uint64_t jit_flags_rax(const X86State *s)
{
    return (s->rflags & 0xff) << 8 | (s->rflags >> 11 & 1);
}

void jit_merge_flags(JitCpu *j, uint64_t rax, unsigned form)
{
    const uint64_t low = X86_SF | X86_ZF | X86_AF | X86_PF | X86_CF;
    X86State *s = j->state;
    if (form == JIT_FLAGS_ALL || form == JIT_FLAGS_LAHF) {
        s->rflags = (s->rflags & ~low) | (rax >> 8 & low);
    }
    if (form == JIT_FLAGS_ALL) {
        s->rflags = (s->rflags & ~(uint64_t)X86_OF) | (rax & 1 ? X86_OF : 0);
    }
    if (form == JIT_FLAGS_CARRY) {
        s->rflags = (s->rflags & ~(uint64_t)X86_CF) | (rax & 1);
    }
}

static void set_rip(JitCpu *j, uint64_t rip)
{
    X86State *s = j->state;
    s->rip = s->mode & X86_MODE_CS64 ? rip : (uint32_t)rip;
}

/* --- Leaving --- */

NORETURN void jit_raise_hook(X86Cpu *cpu)
{
    JitCpu *j = cpu->parent.accel;
    __builtin_longjmp(j->loop_env, 1);
}

/* Run the instruction at state.rip again, alone. */
NORETURN void jit_leave_careful(JitCpu *j)
{
    j->counters.exits_careful++;
    j->careful_next = true;
    __builtin_longjmp(j->loop_env, 1);
}

NORETURN void jit_leave_for_debugger(JitCpu *j)
{
    __builtin_longjmp(j->loop_env, 1);
}

/* In front of an instruction where some CPU has a breakpoint, in some page. */
void jit_op_breakpoint(JitCpu *j, const JitOp *op, uint64_t ea)
{
    Cpu *cpu = &j->cpu->parent;
    const CpuBreakpoint *b = cpu_breakpoint_find(cpu, jit_linear_rip(j->state), 1, CPU_BREAK_KINDS);
    if (b && !cpu->single_step) {
        cpu->debug_stop.reason = CPU_STOP_BREAKPOINT;
        cpu->debug_stop.kind = b->kind;
        cpu->debug_stop.addr = b->addr;
        jit_leave_for_debugger(j);
    }
}

/*
 * The kicker's three stores and what take_kick() undoes may interleave in any way: a kick that is
 * taken after the first store leaves the others behind it. So whatever stands of a kick counts as
 * one: a poll that stayed pointing to nowhere would fault for ever in front of the same jump.
 */
void jit_kick(JitCpu *j)
{
    __atomic_store_n(&j->kick, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&j->jump_key, JIT_KEY_POISON, __ATOMIC_SEQ_CST);
    __atomic_store_n(&j->poll, POLL_NOWHERE, __ATOMIC_SEQ_CST);
}

static bool is_kicked(const JitCpu *j)
{
    return __atomic_load_n(&j->kick, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&j->poll, __ATOMIC_SEQ_CST) == POLL_NOWHERE;
}

/* Let whoever wants to be exclusive have the translated world to himself. */
static void make_way(JitCpu *j)
{
    if (cpu_exclusive_wanted()) {
        x86_park_fpu(j->cpu);
        cpu_exec_end(&j->cpu->parent);
        cpu_exec_begin(&j->cpu->parent);
    }
}

static void take_kick(JitCpu *j)
{
    j->counters.kicks++;
    make_way(j);
    __atomic_store_n(&j->kick, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&j->poll, &j->poll_word, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&j->kick, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&j->poll, POLL_NOWHERE, __ATOMIC_SEQ_CST);
    }
    if (__atomic_exchange_n(&j->ram_gone, false, __ATOMIC_SEQ_CST)) {
        j->counters.flush_map++;
        jit_tlb_flush_everything(j);
        x86_mmu_forget(j->cpu);
    }
    jit_update_key(j);
}

/* Requests that would be served now. */
static bool wants_service(const JitCpu *j)
{
    uint32_t r = __atomic_load_n(&j->cpu->parent.requests, __ATOMIC_SEQ_CST);
    if (!(j->state->rflags & X86_IF)) {
        r &= ~(uint32_t)CPU_REQUEST_HARD;
    }
    return r != 0;
}

/* --- icount --- */

unsigned jit_icount_unrun(const JitCpu *j)
{
    const JitBlock *b = j->icount_block;
    unsigned run = 0, at;
    if (!b) {
        return 0;
    }
    at = (unsigned)jit_linear_rip(j->state) & 4095;
    /* an instruction that lies in two pages is alone */
    while (run < b->n_map && (b->map[run].insn < at || (b->source2 && at < b->offset))) {
        run++;
    }
    return b->n_map - run;
}

/* The block is left with state.rip in front of what wasn't run. */
static void settle(JitCpu *j)
{
    if (UNLIKELY(j->icount_block)) {
        j->icount_left += jit_icount_unrun(j);
        j->icount_block = NULL;
    }
}

/* The charged block has more instructions than the turn: it hasn't begun. */
const uint8_t *jit_turn_over_entry(JitCpu *j, uint64_t unused, uint64_t flags)
{
    const JitBlock *b = j->icount_block;
    set_rip(j, j->rip_base + b->offset);
    jit_merge_flags(j, flags, b->flags_in ? JIT_FLAGS_ALL : JIT_FLAGS_NONE);
    settle(j);
    return j->jit->stubs.leave;
}

/* --- From translated code --- */

static JitBlock *look_up(JitCpu *j, uint64_t linear, unsigned variant)
{
    const uint8_t *source = jit_fetch(j, linear);
    JitBlock *b = jit_find_block(j->jit, source, NULL, j->state->mode, (uint8_t)variant);
    if (b && b->source2) {
        const uint8_t *source2 = jit_fetch(j, (linear | 4095) + 1);
        if (b->source2 != source2) {
            pthread_mutex_lock(&j->jit->lock);
            jit_invalidate_range(j->jit, source, 1);
            pthread_mutex_unlock(&j->jit->lock);
            return NULL;
        }
    }
    return b;
}

static void set_rip_base(JitCpu *j, uint64_t linear)
{
    j->rip_base = j->state->rip - (linear & 4095);
}

static const uint8_t *enter_at(JitCpu *j, const JitBlock *b, uint64_t linear)
{
    set_rip_base(j, linear);
    if (log_enabled(LOG_EXEC | LOG_CPU)) {
        x86_park_fpu(j->cpu);
        jit_log_entry(j, b, linear);
    }
    j->tmp = jit_flags_rax(j->state);
    jit_unpark(j);
    return b->indirect;
}

static unsigned jump_index(uint64_t rip)
{
    return (uint32_t)rip * JIT_JUMP_HASH >> (32 - JIT_JUMP_BITS);
}

/* Other threads poison the key: whoever uses it reads it once. */
static uint64_t key_now(const JitCpu *j)
{
    return __atomic_load_n(&j->jump_key, __ATOMIC_RELAXED);
}

/* Write down that the slot has the block, for its discard. */
static void note_slot(JitBlock *b, unsigned slot)
{
    uint64_t old = __atomic_load_n(&b->slots, __ATOMIC_RELAXED), new;
    do {
        if (old == JIT_SLOTS_MANY) {
            return;
        }
        new = JIT_SLOTS_MANY;
        for (unsigned shift = 0; shift < 64; shift += 16) {
            uint64_t have = old >> shift & 0xffff;
            if (have == slot + 1) {
                return;
            }
            if (!have) {
                new = old | (uint64_t)(slot + 1) << shift;
                break;
            }
        }
    } while (!__atomic_compare_exchange_n(&b->slots, &old, new, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
}

static void remember_jump(JitCpu *j, JitBlock *b)
{
    uint64_t rip = j->state->rip, key = key_now(j);
    unsigned slot = jump_index(rip);
    JitJump *jump = &j->jumps[slot];
    if (!jit_may_remember(j, rip, key)) {
        return;
    }
    note_slot(b, slot);
    jump->tag = rip ^ key;
    __atomic_store_n(&jump->code, b->indirect, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&b->valid, __ATOMIC_SEQ_CST)) {
        jit_clear_jump(j, slot);
    }
}

/* Go on at state.rip: in translated code if there is some and nothing else is wanted. */
static const uint8_t *go_on(JitCpu *j)
{
    X86State *s = j->state;
    j->block_gone = false;
    if (wants_service(j) && !j->kick) {
        jit_kick(j);
    }
    if (s->mode != j->key_mode || (j->jump_key == JIT_KEY_POISON && !j->kick)) {
        jit_update_key(j);
    }
    if (s->interrupt_shadow) {
        if (wants_service(j)) {
            return j->jit->stubs.leave; /* the loop runs the one instruction by itself */
        }
        s->interrupt_shadow = 0;
    } else if (__atomic_load_n(&j->kick, __ATOMIC_RELAXED)) {
        return j->jit->stubs.leave;
    }
    if ((s->mode & (X86_MODE_TF | X86_MODE_DEBUG)) || j->cpu->parent.halted) {
        return j->jit->stubs.leave;
    }
    uint64_t linear = jit_linear_rip(s);
    const JitJump *jump = &j->jumps[jump_index(s->rip)];
    uint64_t key = key_now(j);
    if (key != JIT_KEY_POISON && jump->tag == (s->rip ^ key)) {
        set_rip_base(j, linear);
        j->tmp = jit_flags_rax(s);
        jit_unpark(j);
        return jump->code;
    }
    JitBlock *b = look_up(j, linear, JIT_VARIANT_FAST);
    if (!b) {
        return j->jit->stubs.leave;
    }
    if (jit_mode_flat_code(s->mode)) {
        remember_jump(j, b);
    }
    return enter_at(j, b, linear);
}

const uint8_t *jit_dispatch_entry(JitCpu *j, uint64_t rip, uint64_t flags)
{
    j->counters.dispatches++;
    j->icount_block = NULL;
    set_rip(j, rip);
    jit_merge_flags(j, flags, JIT_FLAGS_ALL);
    return go_on(j);
}

const uint8_t *jit_chain_entry(JitCpu *j, JitExit *x, uint64_t flags)
{
    j->icount_block = NULL;
    set_rip(j, j->rip_base + x->offset);
    jit_merge_flags(j, flags, JIT_FLAGS_ALL);
    if (__atomic_load_n(&j->kick, __ATOMIC_RELAXED) ||
        (j->state->mode & (X86_MODE_TF | X86_MODE_DEBUG))) {
        return j->jit->stubs.leave;
    }
    uint64_t linear = jit_linear_rip(j->state);
    JitBlock *b = look_up(j, linear, JIT_VARIANT_FAST);
    if (!b) {
        return j->jit->stubs.leave;
    }
    if (LIKELY(!__atomic_load_n(&j->jit->unchained, __ATOMIC_RELAXED))) {
        pthread_mutex_lock(&j->jit->lock);
        jit_chain(j->jit, x, b);
        pthread_mutex_unlock(&j->jit->lock);
        j->counters.chains++;
    }
    return enter_at(j, b, linear);
}

const uint8_t *jit_op_entry(JitCpu *j, const JitOp *op, uint64_t ea, uint64_t flags)
{
    X86State *s = j->state;
    j->counters.ops++;
    set_rip(j, j->rip_base + op->offset);
    jit_merge_flags(j, flags, op->flags_form);
    op->fn(j, op, ea);
    jit_code_written(j);
    if (!op->sets_rip) {
        set_rip(j, s->rip + op->length);
    }
    if (op->ends || s->mode != j->key_mode || j->block_gone || j->code_gone ||
        UNLIKELY(j->cpu->parent.debug_stop.reason)) {
        if (op->ends) {
            j->icount_block = NULL;
        }
        settle(j);
        return go_on(j);
    }
    j->tmp = jit_flags_rax(s);
    jit_unpark(j);
    return op->resume;
}

/* --- The loop --- */

/* With other vCPUs about, a page may only begin to hold code while none of them runs: they may be
 * about to write to it. The cache is emptied under the same condition. */
static bool needs_exclusive(const Jit *jit, const uint8_t *source, const uint8_t *source2)
{
    if (jit_cache_full(jit)) {
        return true;
    }
    return jit->cpus->len > 1 && (!jit_page_is_protected(jit, source) ||
                                  (source2 && !jit_page_is_protected(jit, source2)));
}

static bool is_being_written(const JitCpu *j, const uint8_t *source)
{
    const uint8_t *page = (const uint8_t *)((uintptr_t)source & ~UINT64_C(4095));
    for (unsigned i = 0; i < j->jit->cpus->len; i++) {
        const JitCpu *other = g_ptr_array_index(j->jit->cpus, i);
        for (unsigned n = 0; other != j && n < ARRAY_LEN(other->code_write); n++) {
            if (__atomic_load_n(&other->code_write[n], __ATOMIC_ACQUIRE) == page) {
                return true;
            }
        }
    }
    return false;
}

/* lock held, also afterwards. The others are at most one instruction away from their write, or in
 * the loop, unless the host has taken their CPU. */
static void wait_for_writers(JitCpu *j, const uint8_t *source, const uint8_t *source2)
{
    while (is_being_written(j, source) || (source2 && is_being_written(j, source2))) {
        pthread_mutex_unlock(&j->jit->lock);
        sched_yield();
        pthread_mutex_lock(&j->jit->lock);
    }
}

static JitBlock *make_block(JitCpu *j, uint64_t linear, unsigned variant)
{
    Jit *jit = j->jit;
    const uint8_t *source = jit_fetch(j, linear);
    const uint8_t *source2 = NULL;
    Cpu *cpu = &j->cpu->parent;

    x86_park_fpu(j->cpu);
    for (;;) {
        pthread_mutex_lock(&jit->lock);
        bool alone = needs_exclusive(jit, source, source2);
        if (alone) {
            pthread_mutex_unlock(&jit->lock);
            cpu_exec_end(cpu);
            cpu_exclusive_begin();
            j->counters.alone++;
            pthread_mutex_lock(&jit->lock);
            if (jit_cache_full(jit)) {
                jit_cache_flush(jit);
                j->counters.cache_flushes++;
            }
        }
        if (!alone) {
            wait_for_writers(j, source, source2);
        }
        JitBlock *b = jit_find_block(jit, source, source2, j->state->mode, (uint8_t)variant);
        if (!b) {
            b = jit_translate(j, linear, source, source2, (uint8_t)variant);
        }
        pthread_mutex_unlock(&jit->lock);
        if (alone) {
            cpu_exclusive_end();
            cpu_exec_begin(cpu);
        }
        if (b) {
            return b;
        }
        source2 = jit_fetch(j, (linear | 4095) + 1);
    }
}

/* One block. Comes back through the stubs, or through the loop's landing. */
static void run_block(JitCpu *j)
{
    X86State *s = j->state;
    uint64_t linear = jit_linear_rip(s);
    bool alone = j->careful_next || (s->mode & (X86_MODE_TF | X86_MODE_DEBUG));
    unsigned variant = alone ? JIT_VARIANT_CAREFUL : JIT_VARIANT_FAST;

    j->careful_next = false;
    JitBlock *b = look_up(j, linear, variant);
    if (UNLIKELY(j->jit->icount) && b && b->n_map > j->icount_left) {
        /* the turn's last instructions are run one by one */
        variant = JIT_VARIANT_CAREFUL;
        b = look_up(j, linear, variant);
    }
    if (!b) {
        j->counters.exits_translate++;
        b = make_block(j, linear, variant);
    }
    if (j->key_mode != s->mode || j->jump_key == JIT_KEY_POISON) {
        jit_update_key(j);
    }
    const uint8_t *code = enter_at(j, b, linear);
    jit_enter(j, code, j->tmp);
    j->counters.exits++;
    if (j->signal_exit) {
        j->signal_exit = false;
        jit_merge_flags(j, j->tmp2, JIT_FLAGS_ALL);
    }
    settle(j);
}

static bool service(JitCpu *j)
{
    X86Cpu *cpu = j->cpu;
    uint32_t r = __atomic_load_n(&cpu->parent.requests, __ATOMIC_SEQ_CST);
    if (r & (CPU_REQUEST_EXIT | CPU_REQUEST_DEBUG)) {
        j->counters.exits_outside++;
        return false;
    }
    if (UNLIKELY(cpu->parent.single_step_no_irq) &&
        !__atomic_load_n(&cpu->parent.halted, __ATOMIC_SEQ_CST)) {
        r &= ~(uint32_t)(CPU_REQUEST_HARD | CPU_REQUEST_NMI | CPU_REQUEST_SMI);
    }
    if (r) {
        if (j->state->interrupt_shadow) {
            j->careful_next = true; /* exactly one instruction before the next look */
        } else {
            j->counters.exits_request++;
            x86_service_requests(cpu);
        }
    }
    if (__atomic_load_n(&cpu->parent.halted, __ATOMIC_SEQ_CST)) {
        j->counters.exits_halt++;
        return false;
    }
    return true;
}

/* An instruction, or the way into an exception's handler, is over. */
static void note_step(Cpu *cpu)
{
    if (UNLIKELY(cpu->single_step) && cpu->debug_stop.reason == CPU_STOP_NONE) {
        cpu->debug_stop.reason = CPU_STOP_STEP;
    }
}

void jit_run(JitCpu *j)
{
    X86Cpu *cpu = j->cpu;

    jit_this_cpu = j;
    cpu_exec_begin(&cpu->parent);
    __asm__ volatile("wrgsbase %0" ::"r"(j->space));
    /* raised exceptions and instructions to be run alone land here */
    (void)__builtin_setjmp(j->loop_env);
    j = jit_this_cpu;
    cpu = j->cpu;
    j->bounced.active = false;
    jit_forget_frames(j);
    settle(j);
    for (;;) {
        jit_code_written(j); /* or the instruction was left before its write */
        if (cpu->state.exception_pending >= 0) {
            if (j->stop_at_exception) {
                break;
            }
            j->counters.exceptions++;
            cpu->parent.debug_stop.reason = CPU_STOP_NONE; /* what it was seen to access */
            x86_deliver_pending(cpu);
            note_step(&cpu->parent);
        }
        if (UNLIKELY(cpu->parent.debug_stop.reason)) {
            break;
        }
        if (is_kicked(j)) {
            take_kick(j);
        }
        if (!service(j)) {
            break;
        }
        if (UNLIKELY(j->jit->icount) && j->icount_left <= 0) {
            break;
        }
        if (UNLIKELY(cpu->state.mode & X86_MODE_DEBUG)) {
            x86_check_code_breakpoint(cpu);
        }
        bool step = (cpu->state.mode & X86_MODE_TF) != 0;
        cpu->state.interrupt_shadow = 0;
        run_block(j);
        if (UNLIKELY(step || cpu->state.dr6_pending) && !j->careful_next &&
            cpu->state.exception_pending < 0) {
            x86_end_of_step(cpu, step);
        }
        if (!j->careful_next && cpu->state.exception_pending < 0) {
            note_step(&cpu->parent);
        }
    }
    x86_park_fpu(cpu);
    cpu_exec_end(&cpu->parent);
}

/* --- Host signals --- */

static struct sigaction old_actions[NSIG]; /* written once, before any vCPU runs */

static void on_signal(int sig, siginfo_t *info, void *context)
{
    JitCpu *j = jit_this_cpu;
    ucontext_t *uc = context;
    const uint8_t *pc = (const uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
    Jit *jit = j ? j->jit : NULL;

    if (!jit || pc < jit->rx || pc >= jit->rx + jit->bytes) {
        goto other;
    }
    pthread_mutex_lock(&jit->lock);
    JitBlock *b = jit_block_at_code(jit, pc);
    pthread_mutex_unlock(&jit->lock);
    if (!b) {
        goto other;
    }
    uint32_t at = (uint32_t)(pc - b->indirect);
    unsigned n = b->n_map;
    while (n > 1 && b->map[n - 1].host > at) {
        n--;
    }
    unsigned vector = (unsigned)uc->uc_mcontext.gregs[REG_TRAPNO];
    if (vector == X86_EXC_PF) {
        if (info->si_addr != POLL_NOWHERE) {
            goto other;
        }
    } else {
        bool error = vector == X86_EXC_GP || vector == X86_EXC_SS || vector == X86_EXC_AC;
        x86_record_exception(j->cpu, vector, error, 0);
        j->counters.signals++;
    }
    set_rip(j, j->rip_base + b->map[n - 1].insn);
    j->signal_exit = true;
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)jit->stubs.exit;
    return;
other:
    sigaction(sig, &old_actions[sig], NULL);
}

static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
static unsigned signal_users; /* accelerators that exist; machine lock */

bool jit_signals_init(Error **errp)
{
    struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };
    if (signal_users++) {
        return true;
    }
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
        sigaction(signals[i], &sa, &old_actions[signals[i]]);
    }
    return true;
}

static void signals_finish(void)
{
    if (--signal_users) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++) {
        sigaction(signals[i], &old_actions[signals[i]], NULL);
    }
}

/* --- Making and unmaking --- */

static uint64_t host_xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static uint32_t host_features(uint32_t leaf, uint32_t subleaf, uint32_t *ebx, uint32_t *ecx)
{
    uint32_t a, b, c, d;
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(subleaf));
    *ebx = b;
    *ecx = c;
    return a;
}

Jit *jit_create(Error **errp)
{
    uint32_t b1, c1, b7, c7;
    host_features(1, 0, &b1, &c1);
    host_features(7, 0, &b7, &c7);
    if (!(c1 >> 27 & 1)) {
        error_set(errp, "accelerator 'jit': the host has no XSAVE");
        return NULL;
    }
    if (!(b7 & 1)) {
        error_set(errp, "accelerator 'jit': the host has no FSGSBASE");
        return NULL;
    }
    Jit *jit = g_new0(Jit, 1);
    pthread_mutex_init(&jit->lock, NULL);
    jit->host_bmi2 = b7 >> 8 & 1;
    jit->host_xsavec = host_features(0xd, 1, &b1, &c1) >> 1 & 1;
    /* x87, SSE, AVX; AVX-512 where the host has it */
    jit->xsave_mask = host_xcr0() & 0xe7;
    jit->ram = g_new0(JitRamMap, 1);
    jit->ram_old = g_ptr_array_new_with_free_func(g_free);
    jit->cpus = g_ptr_array_new();
    if (!jit_cache_init(jit, errp)) {
        jit_destroy(jit);
        return NULL;
    }
    if (!jit_signals_init(errp)) {
        jit_destroy(jit);
        return NULL;
    }
    jit_make_stubs(jit);
    return jit;
}

void jit_destroy(Jit *jit)
{
    if (jit->stubs.enter) {
        signals_finish();
    }
    jit_unwatch_memory(jit);
    jit_cache_finish(jit);
    if (jit->perf_file) {
        fclose(jit->perf_file);
    }
    g_ptr_array_free(jit->cpus, TRUE);
    g_ptr_array_free(jit->ram_old, TRUE);
    g_free(jit->ram);
    g_free(jit->ram_next);
    pthread_mutex_destroy(&jit->lock);
    g_free(jit);
}

JitCpu *jit_cpu_create(Jit *jit, X86Cpu *cpu, Error **errp)
{
    size_t bytes = JIT_STACK_BYTES + ALIGN_UP(sizeof(JitCpu), 4096);
    uint8_t *p = MAP_FAILED;
    if (!FAULT("vCPU stack", NULL)) {
        p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (p == MAP_FAILED) {
        error_set_errno(errp, errno, "accelerator 'jit': no memory for a CPU");
        return NULL;
    }
    mprotect(p, 4096, PROT_NONE); /* the stack's end */
    JitCpu *j = (JitCpu *)(p + JIT_STACK_BYTES);
    j->stack_bottom = p;
    j->mapping_bytes = bytes;
    j->jit = jit;
    j->cpu = cpu;
    j->state = &cpu->state;
    j->poll = &j->poll_word;
    j->translator = jit_translator_new();
    cpu->parent.accel = j;
    jit_tlb_init(j);
    jit_tlb_hooks(cpu);
    jit_update_key(j);
    pthread_mutex_lock(&jit->lock);
    g_ptr_array_add(jit->cpus, j);
    pthread_mutex_unlock(&jit->lock);
    return j;
}

void jit_cpu_destroy(JitCpu *j)
{
    pthread_mutex_lock(&j->jit->lock);
    g_ptr_array_remove(j->jit->cpus, j);
    pthread_mutex_unlock(&j->jit->lock);
    j->cpu->parent.accel = NULL;
    j->cpu->tlb = (X86TlbHooks){ 0 };
    j->cpu->probe = NULL;
    j->cpu->park_fpu = NULL;
    jit_translator_free(j->translator);
    munmap(j->stack_bottom, j->mapping_bytes);
}
