/* What loop.c and clock.c share: the loop struct and its timers. */
#ifndef EVENT_LOOP_INTERNAL_H
#define EVENT_LOOP_INTERNAL_H

#include <sys/types.h>

#include "event/clock.h"
#include "event/loop.h"

/* Armed timers of one clock in one loop, by deadline. */
typedef struct TimerList {
    GMutex lock; /* guards first and the timers' links and deadlines */
    Timer *first;
} TimerList;

struct EventLoop {
    GMainContext *context;
    bool is_main;
    bool quit; /* atomic */
    GThread *thread;
    pid_t thread_id;
    char name[16];
    BottomHalf *pending; /* atomic stack */
    GSource *bh_source;
    GSource *timer_source;
    TimerList timers[CLK_COUNT];
    EventLoop *next; /* all loops; guarded by the lock of clock_register_loop() */
};

/* Does the calling thread run this loop? (Threads without a loop of their own run none.) */
bool event_loop_is_own(const EventLoop *loop);

/* --- clock.c, for loop.c --- */

void clock_register_loop(EventLoop *loop);
void clock_unregister_loop(EventLoop *loop);
/* Nanoseconds until a timer of this loop is due on a clock that runs by itself: 0 now, -1 never. */
int64_t clock_loop_timeout(EventLoop *loop);
bool clock_loop_due(EventLoop *loop);
/* Run what is due. True if anything was. */
bool clock_loop_run(EventLoop *loop);

#endif
