/*
 * Clocks and timers, in nanoseconds.
 *
 *   CLK_REALTIME    monotonic host time; runs always
 *   CLK_VIRTUAL     guest time; stands still while the machine is stopped. The accelerator owns it:
 *                   host time since the machine ran, the instruction count under -icount, the
 *                   test's steps under qtest
 *   CLK_HOST        the host's wall clock; may jump
 *   CLK_VIRTUAL_RT  as CLK_VIRTUAL, but never slowed down or stepped by -icount
 */
#ifndef EVENT_CLOCK_H
#define EVENT_CLOCK_H

#include "base/compiler.h"
#include "event/loop.h"

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS     INT64_C(1000000)
#define NS_PER_US     INT64_C(1000)

typedef enum ClockId { CLK_REALTIME, CLK_VIRTUAL, CLK_HOST, CLK_VIRTUAL_RT, CLK_COUNT } ClockId;

typedef struct Timer Timer;

int64_t clock_now(ClockId clock); /* ns; any thread */

/* Virtual time runs or stands. Machine lock held. */
void clock_virtual_set_running(bool running);
/*
 * Take over CLK_VIRTUAL (qtest, icount, tests' fake clock): now() gives its value in ns from then
 * on; deadline_changed() is told whenever the earliest deadline of a CLK_VIRTUAL timer may have
 * changed. Called before timers exist; NULL goes back to host time.
 */
typedef struct ClockSource {
    int64_t (*now)(void *opaque);
    void (*deadline_changed)(void *opaque); /* optional; may be called from any thread */
    void *opaque;
} ClockSource;
void clock_virtual_set_source(const ClockSource *source);
/* Restore the virtual clock (migration, reset of a test): the offset is set so that now is `ns`.
 */
void clock_virtual_set_now(int64_t ns);
/* Earliest deadline of all timers on a clock, over all loops; -1 if none. */
int64_t clock_deadline(ClockId clock);
/* Run the timers of a clock in every loop that are due at its current time (qtest's clock_step).
 * Main thread. */
void clock_run_timers(ClockId clock);
/* Something made time jump or stopped it: look at all deadlines again. Any thread. */
void clock_notify(ClockId clock);

/* One-shot timers: fn runs in the loop's thread once now >= deadline. */
Timer *timer_new(EventLoop *loop, ClockId clock, EventFn *fn, void *opaque);
void timer_free(Timer *timer); /* disarms; NULL allowed */
/* Thread-safe. An armed timer is moved. */
void timer_set(Timer *timer, int64_t deadline_ns);
void timer_cancel(Timer *timer);
bool timer_pending(const Timer *timer);
int64_t timer_deadline(const Timer *timer); /* ns; -1 when not armed */

#endif
