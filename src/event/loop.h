/*
 * Event loops: file descriptors, bottom halves, timers, on GLib's main contexts.
 *
 * There is the main loop (main thread, machine lock held while dispatching), and one loop in each
 * I/O thread (no lock). Loops never nest. Unless said otherwise, a function is called in the loop's
 * own thread (for the main loop: with the machine lock held).
 */
#ifndef EVENT_LOOP_H
#define EVENT_LOOP_H

#include <glib.h>

#include "base/compiler.h"
#include "base/error.h"

typedef struct EventLoop EventLoop;
typedef struct BottomHalf BottomHalf;
typedef struct FdWatch FdWatch;

/* The main loop; event_loop_main_init() comes first, once. */
MUST_CHECK bool event_loop_main_init(Error **errp);
void event_loop_main_finish(void);
EventLoop *event_loop_main(void);
/* The loop whose thread this is; the main loop for threads without one. */
EventLoop *event_loop_current(void);
GMainContext *event_loop_context(EventLoop *loop);

/* Dispatch once. block: wait until something is ready. True if anything was dispatched. */
bool event_loop_iterate(EventLoop *loop, bool block);
/* Iterate until event_loop_quit(), which may be called from any thread or a signal handler. */
void event_loop_run(EventLoop *loop);
void event_loop_quit(EventLoop *loop);

/* A thread with a loop of its own. The name is the thread's (15 bytes). */
EventLoop *event_loop_thread_create(const char *name, Error **errp);
/* Ends the loop, joins the thread, frees. Its watches, timers and bottom halves must be gone. */
void event_loop_thread_destroy(EventLoop *loop);
pid_t event_loop_thread_id(EventLoop *loop);

typedef void EventFn(void *opaque);

/* Bottom halves: run fn soon in the loop's thread. Scheduling is thread-safe, from signal handlers
 * too; scheduled twice before it runs is once. */
BottomHalf *bh_new(EventLoop *loop, EventFn *fn, void *opaque);
void bh_schedule(BottomHalf *bh);
void bh_cancel(BottomHalf *bh);
void bh_free(BottomHalf *bh); /* loop's thread; NULL allowed */
/* Run fn once; thread-safe. */
void bh_run_once(EventLoop *loop, EventFn *fn, void *opaque);

/* Watch a descriptor. Either function may be NULL. The descriptor is borrowed. */
FdWatch *fd_watch_new(EventLoop *loop, int fd, EventFn *readable, EventFn *writable, void *opaque);
/* Which of the two conditions are waited for now (both that have a function, at first). */
void fd_watch_enable(FdWatch *watch, bool readable, bool writable);
void fd_watch_free(FdWatch *watch); /* NULL allowed; safe inside its own function */

#endif
