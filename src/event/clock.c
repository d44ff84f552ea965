/* Clocks and timers. Deadlines are kept per loop and clock, in order. */
#include "event/clock.h"

#include <time.h>

#include "event/loop-internal.h"

struct Timer {
    EventLoop *loop;
    ClockId clock;
    EventFn *fn;
    void *opaque;
    int64_t deadline; /* ns; -1 not armed; guarded by the list's lock */
    Timer *next;
};

/* All loops, for questions about all timers. */
static GMutex clock_loops_lock;
static EventLoop *clock_loops;

/*
 * The virtual clock when it follows host time: now = host + offset while running, `frozen` while
 * not. Written with the machine lock held, read by any thread: a sequence counter tells readers
 * that they read a mixture.
 */
static struct {
    unsigned sequence; /* odd while being written */
    bool running;
    int64_t offset, frozen;
    ClockSource source;
} clock_virtual;

static int64_t clock_host_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * NS_PER_SECOND + ts.tv_nsec;
}

static int64_t clock_virtual_now(void)
{
    int64_t now;
    unsigned before, after;
    do {
        before = __atomic_load_n(&clock_virtual.sequence, __ATOMIC_ACQUIRE);
        bool running = __atomic_load_n(&clock_virtual.running, __ATOMIC_RELAXED);
        int64_t offset = __atomic_load_n(&clock_virtual.offset, __ATOMIC_RELAXED);
        int64_t frozen = __atomic_load_n(&clock_virtual.frozen, __ATOMIC_RELAXED);
        now = running ? clock_host_ns(CLOCK_MONOTONIC) + offset : frozen;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        after = __atomic_load_n(&clock_virtual.sequence, __ATOMIC_RELAXED);
    } while (before != after || (before & 1));
    return now;
}

int64_t clock_now(ClockId clock)
{
    switch (clock) {
    case CLK_REALTIME:
        return clock_host_ns(CLOCK_MONOTONIC);
    case CLK_HOST:
        return clock_host_ns(CLOCK_REALTIME);
    case CLK_VIRTUAL:
        if (clock_virtual.source.now) {
            return clock_virtual.source.now(clock_virtual.source.opaque);
        }
        return clock_virtual_now();
    default:
        return clock_virtual_now();
    }
}

static void clock_virtual_write(bool running, int64_t now)
{
    int64_t offset = now - clock_host_ns(CLOCK_MONOTONIC);
    __atomic_add_fetch(&clock_virtual.sequence, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&clock_virtual.offset, offset, __ATOMIC_RELAXED);
    __atomic_store_n(&clock_virtual.frozen, now, __ATOMIC_RELAXED);
    __atomic_store_n(&clock_virtual.running, running, __ATOMIC_RELAXED);
    __atomic_add_fetch(&clock_virtual.sequence, 1, __ATOMIC_RELEASE);
    clock_notify(CLK_VIRTUAL);
}

void clock_virtual_set_running(bool running)
{
    if (running != clock_virtual.running) {
        clock_virtual_write(running, clock_virtual_now());
    }
}

void clock_virtual_set_now(int64_t ns)
{
    clock_virtual_write(clock_virtual.running, ns);
}

void clock_virtual_set_source(const ClockSource *source)
{
    clock_virtual.source = source ? *source : (ClockSource){ 0 };
    clock_notify(CLK_VIRTUAL);
}

/* Guest timers don't fire while the machine is stopped. */
static bool clock_is_running(ClockId clock)
{
    return (clock != CLK_VIRTUAL && clock != CLK_VIRTUAL_RT) ||
           __atomic_load_n(&clock_virtual.running, __ATOMIC_RELAXED);
}

/* Does the clock advance with host time, so that waiting makes sense? */
static bool clock_runs_by_itself(ClockId clock)
{
    return clock_is_running(clock) && !(clock == CLK_VIRTUAL && clock_virtual.source.now);
}

void clock_register_loop(EventLoop *loop)
{
    g_mutex_lock(&clock_loops_lock);
    loop->next = clock_loops;
    clock_loops = loop;
    g_mutex_unlock(&clock_loops_lock);
}

void clock_unregister_loop(EventLoop *loop)
{
    g_mutex_lock(&clock_loops_lock);
    EventLoop **link = &clock_loops;
    while (*link != loop) {
        link = &(*link)->next;
    }
    *link = loop->next;
    g_mutex_unlock(&clock_loops_lock);
}

static int64_t clock_loop_deadline(EventLoop *loop, ClockId clock)
{
    TimerList *list = &loop->timers[clock];
    if (!__atomic_load_n(&list->first, __ATOMIC_RELAXED)) {
        return -1;
    }
    g_mutex_lock(&list->lock);
    int64_t deadline = list->first ? list->first->deadline : -1;
    g_mutex_unlock(&list->lock);
    return deadline;
}

int64_t clock_deadline(ClockId clock)
{
    int64_t earliest = -1;
    g_mutex_lock(&clock_loops_lock);
    for (EventLoop *loop = clock_loops; loop; loop = loop->next) {
        int64_t deadline = clock_loop_deadline(loop, clock);
        if (deadline >= 0 && (earliest < 0 || deadline < earliest)) {
            earliest = deadline;
        }
    }
    g_mutex_unlock(&clock_loops_lock);
    return earliest;
}

int64_t clock_loop_timeout(EventLoop *loop)
{
    int64_t timeout = -1;
    for (ClockId clock = 0; clock < CLK_COUNT; clock++) {
        int64_t deadline = clock_loop_deadline(loop, clock);
        if (deadline < 0 || !clock_runs_by_itself(clock)) {
            continue;
        }
        /* MAX() reads the clock twice: what is left by then may be less than nothing, which means
         * for ever */
        int64_t left = deadline - clock_now(clock);
        left = MAX(left, 0);
        if (timeout < 0 || left < timeout) {
            timeout = left;
        }
    }
    return timeout;
}

static bool clock_loop_clock_due(EventLoop *loop, ClockId clock)
{
    int64_t deadline = clock_loop_deadline(loop, clock);
    return deadline >= 0 && clock_is_running(clock) && deadline <= clock_now(clock);
}

bool clock_loop_due(EventLoop *loop)
{
    for (ClockId clock = 0; clock < CLK_COUNT; clock++) {
        if (clock_loop_clock_due(loop, clock)) {
            return true;
        }
    }
    return false;
}

/* Take the first due timer out of the list, with its function and argument: once the lock is gone
 * another thread may arm it again. */
static bool clock_loop_pop(EventLoop *loop, ClockId clock, int64_t now, EventFn **fn, void **opaque)
{
    TimerList *list = &loop->timers[clock];
    g_mutex_lock(&list->lock);
    Timer *timer = list->first;
    bool due = timer && timer->deadline <= now;
    if (due) {
        list->first = timer->next;
        timer->deadline = -1;
        *fn = timer->fn;
        *opaque = timer->opaque;
    }
    g_mutex_unlock(&list->lock);
    return due;
}

static unsigned clock_loop_count_due(EventLoop *loop, ClockId clock, int64_t now)
{
    TimerList *list = &loop->timers[clock];
    unsigned count = 0;
    g_mutex_lock(&list->lock);
    for (Timer *timer = list->first; timer && timer->deadline <= now; timer = timer->next) {
        count++;
    }
    g_mutex_unlock(&list->lock);
    return count;
}

/* A timer that arms itself again for a time that has passed has its next turn with the next
 * dispatch, so that everything else has one too. */
static bool clock_loop_run_clock(EventLoop *loop, ClockId clock)
{
    if (!clock_is_running(clock) || clock_loop_deadline(loop, clock) < 0) {
        return false;
    }
    int64_t now = clock_now(clock);
    unsigned due = clock_loop_count_due(loop, clock, now);
    EventFn *fn;
    void *opaque;
    for (unsigned i = 0; i < due && clock_loop_pop(loop, clock, now, &fn, &opaque); i++) {
        fn(opaque);
    }
    return due > 0;
}

bool clock_loop_run(EventLoop *loop)
{
    bool any = false;
    for (ClockId clock = 0; clock < CLK_COUNT; clock++) {
        any |= clock_loop_run_clock(loop, clock);
    }
    return any;
}

void clock_run_timers(ClockId clock)
{
    clock_loop_run_clock(event_loop_main(), clock);
    clock_notify(clock);
}

void clock_notify(ClockId clock)
{
    g_mutex_lock(&clock_loops_lock);
    for (EventLoop *loop = clock_loops; loop; loop = loop->next) {
        if (__atomic_load_n(&loop->timers[clock].first, __ATOMIC_RELAXED)) {
            g_main_context_wakeup(loop->context);
        }
    }
    g_mutex_unlock(&clock_loops_lock);
}

/* --- Timers --- */

Timer *timer_new(EventLoop *loop, ClockId clock, EventFn *fn, void *opaque)
{
    Timer *timer = g_new0(Timer, 1);
    *timer = (Timer){ .loop = loop, .clock = clock, .fn = fn, .opaque = opaque, .deadline = -1 };
    return timer;
}

void timer_free(Timer *timer)
{
    if (timer) {
        timer_cancel(timer);
        g_free(timer);
    }
}

static TimerList *timer_list(const Timer *timer)
{
    return &timer->loop->timers[timer->clock];
}

static void timer_unlink_locked(TimerList *list, Timer *timer)
{
    if (timer->deadline < 0) {
        return;
    }
    Timer **link = &list->first;
    while (*link != timer) {
        link = &(*link)->next;
    }
    *link = timer->next;
    timer->deadline = -1;
}

void timer_set(Timer *timer, int64_t deadline_ns)
{
    TimerList *list = timer_list(timer);
    deadline_ns = MAX(deadline_ns, 0);
    g_mutex_lock(&list->lock);
    timer_unlink_locked(list, timer);
    Timer **link = &list->first;
    while (*link && (*link)->deadline <= deadline_ns) {
        link = &(*link)->next;
    }
    timer->next = *link;
    timer->deadline = deadline_ns;
    __atomic_store_n(link, timer, __ATOMIC_RELEASE);
    bool now_first = list->first == timer;
    g_mutex_unlock(&list->lock);

    if (now_first) {
        if (!event_loop_is_own(timer->loop)) {
            g_main_context_wakeup(timer->loop->context);
        }
        if (timer->clock == CLK_VIRTUAL && clock_virtual.source.deadline_changed) {
            clock_virtual.source.deadline_changed(clock_virtual.source.opaque);
        }
    }
}

void timer_cancel(Timer *timer)
{
    TimerList *list = timer_list(timer);
    g_mutex_lock(&list->lock);
    timer_unlink_locked(list, timer);
    g_mutex_unlock(&list->lock);
}

bool timer_pending(const Timer *timer)
{
    return timer_deadline(timer) >= 0;
}

int64_t timer_deadline(const Timer *timer)
{
    TimerList *list = timer_list(timer);
    g_mutex_lock(&list->lock);
    int64_t deadline = timer->deadline;
    g_mutex_unlock(&list->lock);
    return deadline;
}
