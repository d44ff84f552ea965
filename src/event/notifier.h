/*
 * Event notifiers: an eventfd as a doorbell between threads, processes and accelerators.
 *
 * set and test_and_clear are thread-safe and don't block.
 */
#ifndef EVENT_NOTIFIER_H
#define EVENT_NOTIFIER_H

#include "base/compiler.h"
#include "base/error.h"
#include "event/loop.h"

typedef struct EventNotifier {
    int fd; /* -1: not initialised */
    FdWatch *watch;
    void (*fn)(struct EventNotifier *n);
    /* Atomic, for people: how often this process set it, and the rings it took in. What passes
     * between others (the kernel, another process) isn't seen. */
    uint64_t sent, heard;
} EventNotifier;

/* A zeroed or finished notifier is made ready. active: rings at once. */
MUST_CHECK bool event_notifier_init(EventNotifier *n, bool active, Error **errp);
void event_notifier_finish(EventNotifier *n); /* also when init never happened, given fd -1 */
void event_notifier_set(EventNotifier *n);
bool event_notifier_test_and_clear(EventNotifier *n);
/* fn runs in the loop's thread whenever the notifier rings; it clears the notifier itself. NULL
 * stops. */
void event_notifier_watch(EventNotifier *n, EventLoop *loop, void (*fn)(EventNotifier *n));

#endif
