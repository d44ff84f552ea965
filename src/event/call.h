/* Run something in another loop's thread and wait for it. */
#ifndef EVENT_CALL_H
#define EVENT_CALL_H

#include "event/loop.h"

/*
 * Run fn(opaque) in the loop's thread and return when it has run; at once when called there. The
 * caller may hold the machine lock, so an I/O thread must never wait for that lock. With a NULL fn
 * it is a barrier: what the loop was running is over.
 */
void event_loop_call(EventLoop *loop, EventFn *fn, void *opaque);

#endif
