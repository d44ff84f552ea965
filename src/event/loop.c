/*
 * Event loops on GLib main contexts.
 *
 * One GSource a loop runs its bottom halves, one its timers; a descriptor watch is a GSource of its
 * own. The poll function is ours: it waits with nanosecond resolution for the nearest timer, and
 * drops the machine lock meanwhile in the main loop.
 */
#include "event/loop.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/rcu.h"
#include "base/thread.h"
#include "event/lock.h"
#include "event/loop-internal.h"

/* The process's main loop; between event_loop_main_init() and _finish(). */
static EventLoop *loop_main;
static __thread EventLoop *loop_of_thread;

/* --- Bottom halves --- */

enum { BH_SCHEDULED = 1, BH_LISTED = 2, BH_FREED = 4, BH_ONCE = 8 };

struct BottomHalf {
    EventLoop *loop;
    EventFn *fn;
    void *opaque;
    unsigned flags;   /* atomic */
    BottomHalf *next; /* in loop->pending while BH_LISTED */
};

static void bh_mark(BottomHalf *bh, unsigned flags)
{
    EventLoop *loop = bh->loop;
    unsigned old = __atomic_fetch_or(&bh->flags, flags | BH_LISTED, __ATOMIC_ACQ_REL);
    if (old & BH_LISTED) {
        return;
    }
    BottomHalf *head = __atomic_load_n(&loop->pending, __ATOMIC_RELAXED);
    do {
        bh->next = head;
    } while (!__atomic_compare_exchange_n(&loop->pending, &head, bh, false, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
    g_main_context_wakeup(loop->context);
}

BottomHalf *bh_new(EventLoop *loop, EventFn *fn, void *opaque)
{
    BottomHalf *bh = g_new0(BottomHalf, 1);
    *bh = (BottomHalf){ .loop = loop, .fn = fn, .opaque = opaque };
    return bh;
}

void bh_schedule(BottomHalf *bh)
{
    bh_mark(bh, BH_SCHEDULED);
}

void bh_cancel(BottomHalf *bh)
{
    __atomic_and_fetch(&bh->flags, ~BH_SCHEDULED, __ATOMIC_ACQ_REL);
}

void bh_free(BottomHalf *bh)
{
    if (!bh) {
        return;
    }
    bh_cancel(bh);
    if (__atomic_load_n(&bh->flags, __ATOMIC_ACQUIRE) & BH_LISTED) {
        bh_mark(bh, BH_FREED); /* the loop frees it when it comes by */
    } else {
        g_free(bh);
    }
}

void bh_run_once(EventLoop *loop, EventFn *fn, void *opaque)
{
    bh_mark(bh_new(loop, fn, opaque), BH_SCHEDULED | BH_ONCE);
}

static BottomHalf *bh_take_pending(EventLoop *loop)
{
    BottomHalf *bh = __atomic_exchange_n(&loop->pending, NULL, __ATOMIC_ACQUIRE);
    BottomHalf *in_order = NULL;
    while (bh) {
        BottomHalf *next = bh->next;
        bh->next = in_order;
        in_order = bh;
        bh = next;
    }
    return in_order;
}

static void bh_dispatch(BottomHalf *bh)
{
    EventFn *fn = bh->fn;
    void *opaque = bh->opaque;
    unsigned flags = __atomic_fetch_and(&bh->flags, ~(BH_LISTED | BH_SCHEDULED), __ATOMIC_ACQ_REL);
    if ((flags & BH_FREED) || ((flags & BH_ONCE) && (flags & BH_SCHEDULED))) {
        g_free(bh);
    }
    if ((flags & BH_SCHEDULED) && !(flags & BH_FREED)) {
        fn(opaque);
    }
}

static void bh_drop_all(EventLoop *loop)
{
    for (BottomHalf *bh = bh_take_pending(loop), *next; bh; bh = next) {
        next = bh->next;
        if (bh->flags & (BH_FREED | BH_ONCE)) {
            g_free(bh);
        } else {
            bh->flags &= ~(BH_LISTED | BH_SCHEDULED);
        }
    }
}

/* --- The two sources of every loop --- */

typedef struct LoopSource {
    GSource source;
    EventLoop *loop;
} LoopSource;

static gboolean bh_source_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return __atomic_load_n(&((LoopSource *)source)->loop->pending, __ATOMIC_ACQUIRE) != NULL;
}

static gboolean bh_source_check(GSource *source)
{
    gint unused;
    return bh_source_prepare(source, &unused);
}

static gboolean bh_source_dispatch(GSource *source, GSourceFunc fn, gpointer data)
{
    for (BottomHalf *bh = bh_take_pending(((LoopSource *)source)->loop), *next; bh; bh = next) {
        next = bh->next;
        bh_dispatch(bh);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean timer_source_prepare(GSource *source, gint *timeout)
{
    *timeout = -1; /* loop_poll() knows better */
    return clock_loop_due(((LoopSource *)source)->loop);
}

static gboolean timer_source_check(GSource *source)
{
    return clock_loop_due(((LoopSource *)source)->loop);
}

static gboolean timer_source_dispatch(GSource *source, GSourceFunc fn, gpointer data)
{
    clock_loop_run(((LoopSource *)source)->loop);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs bh_source_funcs = {
    .prepare = bh_source_prepare,
    .check = bh_source_check,
    .dispatch = bh_source_dispatch,
};
static GSourceFuncs timer_source_funcs = {
    .prepare = timer_source_prepare,
    .check = timer_source_check,
    .dispatch = timer_source_dispatch,
};

static GSource *loop_add_source(EventLoop *loop, GSourceFuncs *funcs, const char *name)
{
    GSource *source = g_source_new(funcs, sizeof(LoopSource));
    ((LoopSource *)source)->loop = loop;
    g_source_set_static_name(source, name);
    g_source_attach(source, loop->context);
    return source;
}

static void loop_del_source(GSource *source)
{
    g_source_destroy(source);
    g_source_unref(source);
}

/* GLib's timeout is in milliseconds and rounds up; timers want better. */
static gint loop_poll(GPollFD *fds, guint n, gint timeout_ms)
{
    EventLoop *loop = event_loop_current();
    int64_t timeout = timeout_ms < 0 ? -1 : timeout_ms * NS_PER_MS;
    if (timeout != 0) {
        int64_t timer = clock_loop_timeout(loop);
        if (timer >= 0 && (timeout < 0 || timer < timeout)) {
            timeout = timer;
        }
    }
    struct timespec ts = { timeout / NS_PER_SECOND, timeout % NS_PER_SECOND };
    bool drop_lock = loop->is_main && machine_locked();
    if (drop_lock) {
        machine_unlock();
    }
    G_STATIC_ASSERT(sizeof(GPollFD) == sizeof(struct pollfd));
    int result = ppoll((struct pollfd *)fds, n, timeout < 0 ? NULL : &ts, NULL);
    int saved = errno;
    if (drop_lock) {
        machine_lock();
    }
    errno = saved;
    return result;
}

/* --- Loops --- */

static EventLoop *loop_new(bool is_main, const char *name)
{
    EventLoop *loop = g_new0(EventLoop, 1);
    loop->is_main = is_main;
    loop->context = is_main ? g_main_context_ref(g_main_context_default()) : g_main_context_new();
    g_strlcpy(loop->name, name, sizeof(loop->name));
    g_main_context_set_poll_func(loop->context, loop_poll);
    for (int i = 0; i < CLK_COUNT; i++) {
        g_mutex_init(&loop->timers[i].lock);
    }
    loop->bh_source = loop_add_source(loop, &bh_source_funcs, "bottom-halves");
    loop->timer_source = loop_add_source(loop, &timer_source_funcs, "timers");
    clock_register_loop(loop);
    return loop;
}

static void loop_free(EventLoop *loop)
{
    clock_unregister_loop(loop);
    loop_del_source(loop->bh_source);
    loop_del_source(loop->timer_source);
    bh_drop_all(loop);
    for (int i = 0; i < CLK_COUNT; i++) {
        g_mutex_clear(&loop->timers[i].lock);
    }
    g_main_context_set_poll_func(loop->context, NULL);
    g_main_context_unref(loop->context);
    g_free(loop);
}

bool event_loop_main_init(Error **errp)
{
    assert(!loop_main);
    if (FAULT("main loop", errp)) {
        return false;
    }
    loop_main = loop_new(true, "main");
    loop_main->thread_id = gettid();
    loop_of_thread = loop_main;
    return true;
}

void event_loop_main_finish(void)
{
    if (loop_main) {
        loop_free(loop_main);
        loop_main = NULL;
        loop_of_thread = NULL;
    }
}

EventLoop *event_loop_main(void)
{
    return loop_main;
}

EventLoop *event_loop_current(void)
{
    return loop_of_thread ? loop_of_thread : loop_main;
}

bool event_loop_is_own(const EventLoop *loop)
{
    return loop == loop_of_thread;
}

GMainContext *event_loop_context(EventLoop *loop)
{
    return loop->context;
}

bool event_loop_iterate(EventLoop *loop, bool block)
{
    return g_main_context_iteration(loop->context, block);
}

void event_loop_run(EventLoop *loop)
{
    while (!__atomic_exchange_n(&loop->quit, false, __ATOMIC_ACQ_REL)) {
        event_loop_iterate(loop, true);
    }
}

void event_loop_quit(EventLoop *loop)
{
    __atomic_store_n(&loop->quit, true, __ATOMIC_RELEASE);
    g_main_context_wakeup(loop->context);
}

typedef struct LoopThreadStart {
    EventLoop *loop;
    GMutex lock;
    GCond ready;
    bool is_ready;
} LoopThreadStart;

static gpointer loop_thread(gpointer opaque)
{
    LoopThreadStart *start = opaque;
    EventLoop *loop = start->loop;
    loop_of_thread = loop;
    thread_set_name(pthread_self(), loop->name);
    g_main_context_push_thread_default(loop->context);
    g_mutex_lock(&start->lock);
    loop->thread_id = gettid();
    start->is_ready = true;
    g_cond_signal(&start->ready);
    g_mutex_unlock(&start->lock);

    event_loop_run(loop);
    g_main_context_pop_thread_default(loop->context);
    return NULL;
}

EventLoop *event_loop_thread_create(const char *name, Error **errp)
{
    if (FAULT("thread", errp)) {
        return NULL;
    }
    EventLoop *loop = loop_new(false, name);
    LoopThreadStart start = { .loop = loop };
    g_mutex_init(&start.lock);
    g_cond_init(&start.ready);
    GError *gerr = NULL;
    loop->thread = g_thread_try_new(NULL, loop_thread, &start, &gerr);
    if (loop->thread) {
        g_mutex_lock(&start.lock);
        while (!start.is_ready) {
            g_cond_wait(&start.ready, &start.lock);
        }
        g_mutex_unlock(&start.lock);
    } else {
        error_set(errp, "cannot create thread '%s': %s", name, gerr->message);
        g_error_free(gerr);
        loop_free(loop);
        loop = NULL;
    }
    g_mutex_clear(&start.lock);
    g_cond_clear(&start.ready);
    return loop;
}

void event_loop_thread_destroy(EventLoop *loop)
{
    if (!loop) {
        return;
    }
    event_loop_quit(loop);
    g_thread_join(loop->thread);
    loop_free(loop);
}

pid_t event_loop_thread_id(EventLoop *loop)
{
    return loop->thread_id;
}

/* --- Descriptor watches --- */

struct FdWatch {
    GSource source;
    gpointer tag; /* NULL while neither condition is waited for */
    int fd;
    EventFn *readable, *writable;
    void *opaque;
    bool want_read, want_write;
};

static gboolean fd_watch_check(GSource *source)
{
    FdWatch *watch = (FdWatch *)source;
    return watch->tag && g_source_query_unix_fd(source, watch->tag) != 0;
}

static gboolean fd_watch_dispatch(GSource *source, GSourceFunc fn, gpointer data)
{
    FdWatch *watch = (FdWatch *)source;
    GIOCondition seen = watch->tag ? g_source_query_unix_fd(source, watch->tag) : 0;
    const GIOCondition broken = G_IO_HUP | G_IO_ERR | G_IO_NVAL;
    if (watch->want_read && (seen & (G_IO_IN | broken))) {
        watch->readable(watch->opaque);
    }
    if (!g_source_is_destroyed(source) && watch->want_write && (seen & (G_IO_OUT | broken))) {
        watch->writable(watch->opaque);
    }
    return g_source_is_destroyed(source) ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

static GSourceFuncs fd_watch_funcs = {
    .check = fd_watch_check,
    .dispatch = fd_watch_dispatch,
};

/* A descriptor with nothing to wait for would still wake the loop by POLLHUP: then it isn't polled
 * at all. */
static void fd_watch_apply(FdWatch *watch)
{
    GIOCondition condition = (watch->want_read ? G_IO_IN : 0) | (watch->want_write ? G_IO_OUT : 0);
    if (!condition) {
        if (watch->tag) {
            g_source_remove_unix_fd(&watch->source, watch->tag);
            watch->tag = NULL;
        }
    } else if (watch->tag) {
        g_source_modify_unix_fd(&watch->source, watch->tag, condition);
    } else {
        watch->tag = g_source_add_unix_fd(&watch->source, watch->fd, condition);
    }
}

FdWatch *fd_watch_new(EventLoop *loop, int fd, EventFn *readable, EventFn *writable, void *opaque)
{
    FdWatch *watch = (FdWatch *)g_source_new(&fd_watch_funcs, sizeof(FdWatch));
    watch->readable = readable;
    watch->writable = writable;
    watch->opaque = opaque;
    watch->want_read = readable;
    watch->want_write = writable;
    watch->tag = NULL;
    watch->fd = fd;
    fd_watch_apply(watch);
    g_source_set_static_name(&watch->source, "fd-watch");
    g_source_attach(&watch->source, loop->context);
    return watch;
}

void fd_watch_enable(FdWatch *watch, bool readable, bool writable)
{
    readable = readable && watch->readable;
    writable = writable && watch->writable;
    if (watch->want_read == readable && watch->want_write == writable) {
        return;
    }
    watch->want_read = readable;
    watch->want_write = writable;
    fd_watch_apply(watch);
}

void fd_watch_free(FdWatch *watch)
{
    if (watch) {
        g_source_destroy(&watch->source);
        g_source_unref(&watch->source);
    }
}
