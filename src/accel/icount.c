#include "accel/icount.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/report.h"
#include "event/clock.h"
#include "event/lock.h"
#include "object/lifecycle.h"
#include "object/runstate.h"

/* Longest turn: how old the time is that other threads see. With several vCPUs they wait for each
 * other in loops, so their turns are short. */
#define TURN_ALONE   (UINT64_C(1) << 20)
#define TURN_SEVERAL 20000

/* shift=auto begins here, looks this often, and tolerates this much difference. */
#define AUTO_SHIFT  3
#define AUTO_PERIOD (100 * NS_PER_MS)
#define AUTO_WOBBLE (100 * NS_PER_MS)

/* align: how far the guest may be ahead; how late it may be without a word, said this often. */
#define ALIGN_AHEAD (3 * NS_PER_MS)
#define ALIGN_LATE  (100 * NS_PER_MS)
#define ALIGN_SAY   (2 * NS_PER_SECOND)

/* Timers that arm themselves for the past again have so many turns before an instruction is run. */
#define TIMER_ROUNDS 1000

/* The machine's; machine lock, but for what is atomic. */
static struct {
    bool enabled; /* atomic */
    IcountConfig config;
    IcountHooks hooks;
    uint64_t executed; /* atomic: by turns that have ended */
    int64_t bias;      /* ns; atomic */
    unsigned shift;    /* atomic */
    Cpu *holder;       /* whose turn it is; atomic */
    int last;          /* index of the one before */
    GCond turn;        /* signalled when that changes */
    Timer *warp;       /* armed: all halt until warp_deadline */
    int64_t warp_deadline, warp_start;
    int64_t auto_next, auto_delta;
    int64_t real_offset; /* host time - guest time at the first instruction */
    bool began;
    int64_t late_said;
} icount;

bool icount_enabled(void)
{
    return __atomic_load_n(&icount.enabled, __ATOMIC_RELAXED);
}

static int64_t now(void *opaque)
{
    uint64_t n = __atomic_load_n(&icount.executed, __ATOMIC_ACQUIRE);
    Cpu *cpu = cpu_current();
    if (cpu && cpu == __atomic_load_n(&icount.holder, __ATOMIC_RELAXED) && icount.hooks.in_flight) {
        n += icount.hooks.in_flight(cpu);
    }
    return __atomic_load_n(&icount.bias, __ATOMIC_RELAXED) +
           (int64_t)(n << __atomic_load_n(&icount.shift, __ATOMIC_RELAXED));
}

static void add_bias(int64_t ns)
{
    __atomic_store_n(&icount.bias, icount.bias + ns, __ATOMIC_RELAXED);
}

/* Instructions until the clock says `deadline`, at least one. */
static uint64_t instructions_until(int64_t deadline)
{
    int64_t left = deadline - now(NULL);
    return left <= 0 ? 1 : ((uint64_t)left + (UINT64_C(1) << icount.shift) - 1) >> icount.shift;
}

static void run_timers(void)
{
    for (unsigned i = 0; i < TIMER_ROUNDS; i++) {
        int64_t deadline = clock_deadline(CLK_VIRTUAL);
        if (deadline < 0 || deadline > now(NULL) || !vm_is_running()) {
            return;
        }
        clock_run_timers(CLK_VIRTUAL);
    }
}

/* --- All halted --- */

static bool is_runnable(Cpu *cpu)
{
    CpuClass *klass = cpu_class_of(cpu);
    return cpu->created && !cpu->stop && !cpu->unplug &&
           (!__atomic_load_n(&cpu->halted, __ATOMIC_SEQ_CST) || klass->has_work(cpu));
}

static bool all_idle(void)
{
    Cpu *cpu;
    CPU_FOREACH(cpu)
    {
        if (is_runnable(cpu)) {
            return false;
        }
    }
    return icount.holder == NULL && vm_is_running();
}

static void stop_warp(void)
{
    if (icount.warp_deadline >= 0) {
        icount.warp_deadline = -1;
        timer_cancel(icount.warp);
    }
}

/* Go to the next timer. */
static void warp_now(void)
{
    int64_t deadline = clock_deadline(CLK_VIRTUAL);
    if (deadline >= 0) {
        add_bias(MAX(deadline - now(NULL), 0));
        run_timers();
    }
}

static void arm_warp(void)
{
    int64_t deadline = clock_deadline(CLK_VIRTUAL);
    if (deadline < 0) {
        stop_warp();
        return;
    }
    if (icount.warp_deadline != deadline) {
        icount.warp_deadline = deadline;
        icount.warp_start = clock_now(CLK_REALTIME);
        int64_t wait = icount.config.sleep ? MAX(deadline - now(NULL), 0) : 0;
        timer_set(icount.warp, icount.warp_start + wait);
    }
}

/* Main thread: the halt has lasted long enough. The clock goes to the timer's time exactly, however
 * late this is. */
static void warp_over(void *opaque)
{
    icount.warp_deadline = -1;
    if (all_idle()) {
        warp_now();
        if (all_idle()) {
            arm_warp();
        }
    }
}

void icount_idle(Cpu *cpu)
{
    g_cond_broadcast(&icount.turn);
    if (all_idle()) {
        arm_warp();
    }
}

static void deadline_changed(void *opaque)
{
    Cpu *cpu = cpu_current();
    if (cpu && cpu == __atomic_load_n(&icount.holder, __ATOMIC_RELAXED)) {
        int64_t deadline = clock_deadline(CLK_VIRTUAL);
        if (deadline >= 0 && icount.hooks.shorten) {
            icount.hooks.shorten(cpu, instructions_until(deadline));
        }
    } else if (machine_locked() && icount.warp_deadline >= 0) {
        arm_warp();
    }
}

/* --- Keeping up with the host --- */

static int64_t real_now(void)
{
    return clock_now(CLK_REALTIME) - icount.real_offset;
}

/* Virtual time ahead of the host's for two looks in a row, and not coming back: instructions take
 * less from now on; behind: more. */
static void adjust_shift(void)
{
    int64_t real = real_now(), delta;
    unsigned shift = icount.shift;
    if (real < icount.auto_next) {
        return;
    }
    icount.auto_next = real + AUTO_PERIOD;
    delta = now(NULL) - real;
    if (delta > AUTO_WOBBLE && delta >= icount.auto_delta && shift > 0) {
        shift--;
    } else if (delta < -AUTO_WOBBLE && delta <= icount.auto_delta && shift < ICOUNT_SHIFT_MAX) {
        shift++;
    }
    icount.auto_delta = delta;
    if (shift != icount.shift) {
        int64_t before = now(NULL);
        __atomic_store_n(&icount.shift, shift, __ATOMIC_RELAXED);
        add_bias(before - now(NULL));
    }
}

static void align(void)
{
    int64_t ahead = now(NULL) - real_now();
    if (ahead > ALIGN_AHEAD) {
        struct timespec wait = { .tv_sec = ahead / NS_PER_SECOND,
                                 .tv_nsec = ahead % NS_PER_SECOND };
        machine_unlock();
        nanosleep(&wait, NULL);
        machine_lock();
    } else if (-ahead > ALIGN_LATE && real_now() > icount.late_said + ALIGN_SAY) {
        icount.late_said = real_now();
        report_warning("-icount: the guest is late by %" PRId64
                       " ms; a larger shift lets it keep up",
                       -ahead / NS_PER_MS);
    }
}

/* --- Turns --- */

static bool is_my_turn(const Cpu *cpu)
{
    unsigned count = cpu_count();
    if (icount.holder) {
        return false;
    }
    for (unsigned i = 1; i <= count; i++) {
        Cpu *c = cpu_by_index(((unsigned)icount.last + i) % count);
        if (is_runnable(c)) {
            return c == cpu;
        }
    }
    return false;
}

/* A reset or a power-off: nothing runs behind the instruction that asked for it. */
static void on_request(void)
{
    Cpu *cpu = cpu_current();
    if (cpu && cpu == __atomic_load_n(&icount.holder, __ATOMIC_RELAXED) && icount.hooks.shorten) {
        icount.hooks.shorten(cpu, 1);
    }
}

/* How long a vCPU gives way to the main thread, which acts on such requests. */
#define GIVE_WAY_US 50

uint64_t icount_begin(Cpu *cpu)
{
    if (lifecycle_pending()) {
        machine_unlock();
        g_usleep(GIVE_WAY_US);
        machine_lock();
        return 0;
    }
    while (!is_my_turn(cpu)) {
        if (!is_runnable(cpu) || cpu->work_first) {
            return 0;
        }
        machine_cond_wait(&icount.turn);
    }
    if (icount.warp_deadline >= 0) {
        /* Something from outside ended the halt early: the clock stands where the host's does. */
        int64_t slept = clock_now(CLK_REALTIME) - icount.warp_start;
        add_bias(CLAMP(slept, 0, MAX(icount.warp_deadline - now(NULL), 0)));
        stop_warp();
    }
    if (!icount.began) {
        icount.began = true;
        icount.real_offset = clock_now(CLK_REALTIME) - now(NULL);
    }
    run_timers();
    __atomic_store_n(&icount.holder, cpu, __ATOMIC_RELAXED);
    int64_t deadline = clock_deadline(CLK_VIRTUAL);
    uint64_t turn = cpu_count() > 1 ? TURN_SEVERAL : TURN_ALONE;
    return deadline < 0 ? turn : MIN(turn, instructions_until(deadline));
}

void icount_end(Cpu *cpu, uint64_t executed)
{
    cpu->instructions += executed;
    __atomic_store_n(&icount.holder, NULL, __ATOMIC_RELAXED);
    __atomic_store_n(&icount.executed, icount.executed + executed, __ATOMIC_RELEASE);
    icount.last = cpu->index;
    run_timers();
    g_cond_broadcast(&icount.turn);
    if (icount.config.automatic) {
        adjust_shift();
    }
    if (icount.config.align) {
        align();
    }
}

void icount_print(GString *out)
{
    Cpu *cpu;
    if (!icount_enabled()) {
        g_string_append(out, "icount is off\n");
        return;
    }
    g_string_append_printf(out, "instructions: %" PRIu64 "\n", icount.executed);
    CPU_FOREACH(cpu)
    {
        g_string_append_printf(out, "CPU #%d: %" PRIu64 "\n", cpu->index, cpu->instructions);
    }
    g_string_append_printf(out, "an instruction takes: %u ns%s\nguest clock: %" PRId64 " ns\n",
                           1u << icount.shift, icount.config.automatic ? " (auto)" : "", now(NULL));
    if (icount.began) {
        g_string_append_printf(out, "ahead of the host: %" PRId64 " ms\n",
                               (now(NULL) - real_now()) / NS_PER_MS);
    }
}

/* --- On and off --- */

bool icount_enable(const IcountConfig *config, Error **errp)
{
    if (config->align && !config->sleep) {
        error_set(errp, "-icount: align=on and sleep=off don't go together");
        return false;
    }
    if (config->automatic && !config->sleep) {
        error_set(errp, "-icount: shift=auto and sleep=off don't go together");
        return false;
    }
    static const ClockSource source = { .now = now, .deadline_changed = deadline_changed };
    icount.config = *config;
    icount.shift = config->automatic ? AUTO_SHIFT : config->shift;
    icount.warp_deadline = -1;
    icount.last = -1;
    icount.warp = timer_new(event_loop_main(), CLK_REALTIME, warp_over, NULL);
    __atomic_store_n(&icount.enabled, true, __ATOMIC_RELAXED);
    clock_virtual_set_source(&source);
    lifecycle_set_request_fn(on_request);
    return true;
}

void icount_set_hooks(const IcountHooks *hooks)
{
    icount.hooks = hooks ? *hooks : (IcountHooks){ 0 };
}

void icount_disable(void)
{
    if (icount_enabled()) {
        clock_virtual_set_source(NULL);
        lifecycle_set_request_fn(NULL);
        timer_free(icount.warp);
        memset(&icount, 0, sizeof(icount));
    }
}
