#include "accel/qtest/qtest-clock.h"

#include "event/clock.h"

static int64_t now_ns; /* atomic; CLK_VIRTUAL is one a process */
static bool taken;

static int64_t now(void *opaque)
{
    return __atomic_load_n(&now_ns, __ATOMIC_ACQUIRE);
}

void qtest_clock_take(void)
{
    static const ClockSource source = { .now = now };

    __atomic_store_n(&now_ns, 0, __ATOMIC_RELEASE);
    taken = true;
    clock_virtual_set_source(&source);
}

void qtest_clock_release(void)
{
    if (taken) {
        clock_virtual_set_source(NULL);
        taken = false;
    }
}

bool qtest_clock_taken(void)
{
    return taken;
}

int64_t qtest_clock_advance(int64_t target)
{
    while (now_ns < target) {
        int64_t deadline = clock_deadline(CLK_VIRTUAL);
        /* Timers of a stopped machine stay due: they hold nothing up. */
        bool wait = deadline > now_ns && deadline < target;
        __atomic_store_n(&now_ns, wait ? deadline : target, __ATOMIC_RELEASE);
        clock_run_timers(CLK_VIRTUAL);
    }
    clock_run_timers(CLK_VIRTUAL);
    return now_ns;
}
