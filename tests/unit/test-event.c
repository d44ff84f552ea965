/* event: loops, bottom halves, watches, clocks and timers. */
#include <glib.h>
#include <unistd.h>

#include "base/fault.h"
#include "event/clock.h"
#include "event/lock.h"
#include "event/loop.h"
#include "event/notifier.h"

/* A virtual clock that tests set by hand. */
static int64_t fake_now;

static int64_t fake_clock_now(void *opaque)
{
    return fake_now;
}

static const ClockSource fake_clock = { .now = fake_clock_now };

static void setup(void)
{
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
}

static void teardown(void)
{
    machine_unlock();
    event_loop_main_finish();
}

static void drain(void)
{
    while (event_loop_iterate(event_loop_main(), false)) {
    }
}

static void count(void *opaque)
{
    (*(int *)opaque)++;
}

static void test_bh(void)
{
    setup();
    int runs = 0;
    BottomHalf *bh = bh_new(event_loop_main(), count, &runs);
    bh_schedule(bh);
    bh_schedule(bh);
    drain();
    g_assert_cmpint(runs, ==, 1);
    bh_schedule(bh);
    bh_cancel(bh);
    drain();
    g_assert_cmpint(runs, ==, 1);
    bh_schedule(bh);
    bh_free(bh);
    drain();
    g_assert_cmpint(runs, ==, 1);
    bh_run_once(event_loop_main(), count, &runs);
    drain();
    g_assert_cmpint(runs, ==, 2);
    /* Left pending at the end: freed with the loop, not run. */
    bh_run_once(event_loop_main(), count, &runs);
    teardown();
    g_assert_cmpint(runs, ==, 2);
}

typedef struct SelfFree {
    BottomHalf *bh;
    int runs;
} SelfFree;

static void free_self(void *opaque)
{
    SelfFree *s = opaque;
    s->runs++;
    bh_schedule(s->bh);
    bh_free(s->bh);
}

static void test_bh_frees_itself(void)
{
    setup();
    SelfFree s = { 0 };
    s.bh = bh_new(event_loop_main(), free_self, &s);
    bh_schedule(s.bh);
    drain();
    g_assert_cmpint(s.runs, ==, 1);
    teardown();
}

static gpointer schedule_often(gpointer bh)
{
    for (int i = 0; i < 10000; i++) {
        bh_schedule(bh);
    }
    return NULL;
}

static void test_bh_threads(void)
{
    setup();
    int runs = 0;
    BottomHalf *bh = bh_new(event_loop_main(), count, &runs);
    GThread *threads[3];
    for (int i = 0; i < 3; i++) {
        threads[i] = g_thread_new("t", schedule_often, bh);
    }
    for (int i = 0; i < 3; i++) {
        g_thread_join(threads[i]);
    }
    drain();
    g_assert_cmpint(runs, >, 0);
    int before = runs;
    schedule_often(bh);
    drain();
    g_assert_cmpint(runs, ==, before + 1);
    bh_free(bh);
    teardown();
}

static void test_timer_order(void)
{
    setup();
    fake_now = 1000;
    clock_virtual_set_source(&fake_clock);
    clock_virtual_set_running(true);
    int a = 0, b = 0;
    Timer *ta = timer_new(event_loop_main(), CLK_VIRTUAL, count, &a);
    Timer *tb = timer_new(event_loop_main(), CLK_VIRTUAL, count, &b);
    g_assert_cmpint(clock_deadline(CLK_VIRTUAL), ==, -1);
    timer_set(ta, 3000);
    timer_set(tb, 2000);
    g_assert_cmpint(clock_deadline(CLK_VIRTUAL), ==, 2000);
    fake_now = 2000;
    drain();
    g_assert_cmpint(b, ==, 1);
    g_assert_cmpint(a, ==, 0);
    g_assert_false(timer_pending(tb));
    timer_set(ta, 5000); /* moved */
    fake_now = 4999;
    drain();
    g_assert_cmpint(a, ==, 0);

    /* A stopped machine's timers wait. */
    clock_virtual_set_running(false);
    fake_now = 6000;
    drain();
    g_assert_cmpint(a, ==, 0);
    clock_virtual_set_running(true);
    drain();
    g_assert_cmpint(a, ==, 1);
    timer_set(tb, 9000);
    timer_cancel(tb);
    g_assert_cmpint(timer_deadline(tb), ==, -1);
    timer_free(ta);
    timer_free(tb);
    clock_virtual_set_source(NULL);
    clock_virtual_set_running(false);
    teardown();
}

typedef struct Again {
    Timer *timer;
    int runs;
} Again;

static void arm_again(void *opaque)
{
    Again *a = opaque;
    a->runs++;
    timer_set(a->timer, 0);
}

/* A timer that is always due doesn't keep others from their turn. */
static void test_timer_again(void)
{
    setup();
    Again a = { 0 };
    int other = 0;
    a.timer = timer_new(event_loop_main(), CLK_REALTIME, arm_again, &a);
    timer_set(a.timer, 0);
    bh_run_once(event_loop_main(), count, &other);
    for (int i = 0; i < 3; i++) {
        event_loop_iterate(event_loop_main(), false);
    }
    g_assert_cmpint(a.runs, ==, 3);
    g_assert_cmpint(other, ==, 1);
    timer_free(a.timer);
    teardown();
}

static void test_virtual_clock(void)
{
    clock_virtual_set_running(false);
    clock_virtual_set_now(5000);
    int64_t t0 = clock_now(CLK_VIRTUAL);
    g_usleep(1000);
    g_assert_cmpint(clock_now(CLK_VIRTUAL), ==, t0);
    g_assert_cmpint(t0, ==, 5000);
    clock_virtual_set_running(true);
    g_usleep(1000);
    int64_t t1 = clock_now(CLK_VIRTUAL);
    g_assert_cmpint(t1, >=, t0 + NS_PER_MS);
    clock_virtual_set_running(false);
    g_assert_cmpint(clock_now(CLK_VIRTUAL), >=, t1);
}

static void test_timer_real(void)
{
    setup();
    int runs = 0;
    Timer *t = timer_new(event_loop_main(), CLK_REALTIME, count, &runs);
    int64_t start = clock_now(CLK_REALTIME);
    timer_set(t, start + 300 * NS_PER_US);
    while (!runs) {
        event_loop_iterate(event_loop_main(), true);
    }
    int64_t took = clock_now(CLK_REALTIME) - start;
    g_assert_cmpint(took, >=, 300 * NS_PER_US);
    timer_free(t);
    teardown();
}

/* A timer that comes due while the time to wait is worked out is run, not waited for for ever: with
 * deadlines this near one turn in a hundred meets that moment. */
static void test_timer_due_while_asked(void)
{
    setup();
    int runs = 0;
    Timer *t = timer_new(event_loop_main(), CLK_REALTIME, count, &runs);
    alarm(20); /* ends a loop that sleeps */
    for (int i = 0; i < 5000; i++) {
        timer_set(t, clock_now(CLK_REALTIME) + i % 2500);
        while (runs == i) {
            event_loop_iterate(event_loop_main(), true);
        }
    }
    alarm(0);
    timer_free(t);
    teardown();
}

static void *lock_probe(void *opaque)
{
    machine_lock();
    (*(int *)opaque)++;
    machine_unlock();
    return NULL;
}

/* The main loop gives the lock up while it waits. */
static void test_lock_dropped_in_poll(void)
{
    setup();
    int runs = 0, wake = 0;
    GThread *thread = g_thread_new("probe", lock_probe, &runs);
    Timer *t = timer_new(event_loop_main(), CLK_REALTIME, count, &wake);
    int64_t limit = clock_now(CLK_REALTIME) + 5 * NS_PER_SECOND;
    while (!__atomic_load_n(&runs, __ATOMIC_SEQ_CST) && clock_now(CLK_REALTIME) < limit) {
        timer_set(t, clock_now(CLK_REALTIME) + NS_PER_MS);
        event_loop_iterate(event_loop_main(), true);
        g_assert_true(machine_locked());
    }
    g_thread_join(thread);
    g_assert_cmpint(runs, ==, 1);
    timer_free(t);
    teardown();
}

static void notified(EventNotifier *n)
{
    g_assert_true(event_notifier_test_and_clear(n));
    event_loop_quit(event_loop_main());
}

static gpointer ring(gpointer n)
{
    event_notifier_set(n);
    return NULL;
}

static void test_notifier(void)
{
    setup();
    EventNotifier n;
    bool ok = event_notifier_init(&n, true, &error_abort);
    g_assert_true(ok);
    g_assert_true(event_notifier_test_and_clear(&n));
    g_assert_false(event_notifier_test_and_clear(&n));
    event_notifier_watch(&n, event_loop_main(), notified);
    GThread *thread = g_thread_new("ring", ring, &n);
    event_loop_run(event_loop_main());
    g_thread_join(thread);
    event_notifier_finish(&n);
    event_notifier_finish(&n);
    ERROR_AUTO err = NULL;
    fault_inject(1);
    g_assert_false(event_notifier_init(&n, false, &err));
    fault_inject(0);
    event_notifier_finish(&n);
    teardown();
}

typedef struct Pipe {
    int fds[2];
    FdWatch *watch;
    int reads;
} Pipe;

static void pipe_readable(void *opaque)
{
    Pipe *p = opaque;
    char byte;
    p->reads++;
    if (read(p->fds[0], &byte, 1) == 0) {
        fd_watch_free(p->watch); /* from inside */
        p->watch = NULL;
    }
}

static void test_fd_watch(void)
{
    setup();
    Pipe p = { 0 };
    g_assert_cmpint(pipe(p.fds), ==, 0);
    p.watch = fd_watch_new(event_loop_main(), p.fds[0], pipe_readable, NULL, &p);
    drain();
    g_assert_cmpint(p.reads, ==, 0);
    g_assert_cmpint(write(p.fds[1], "ab", 2), ==, 2);
    fd_watch_enable(p.watch, false, false);
    drain();
    g_assert_cmpint(p.reads, ==, 0);
    fd_watch_enable(p.watch, true, false);
    drain();
    g_assert_cmpint(p.reads, ==, 2);
    /* A hang-up must not spin a watch that waits for nothing. */
    fd_watch_enable(p.watch, false, false);
    close(p.fds[1]);
    g_assert_false(event_loop_iterate(event_loop_main(), false));
    fd_watch_enable(p.watch, true, false);
    drain();
    g_assert_cmpint(p.reads, ==, 3);
    g_assert_null(p.watch);
    close(p.fds[0]);
    teardown();
}

typedef struct ThreadProbe {
    EventLoop *loop;
    pid_t tid;
    GMutex lock;
    GCond cond;
    bool done;
} ThreadProbe;

static void thread_probe_run(void *opaque)
{
    ThreadProbe *p = opaque;
    g_mutex_lock(&p->lock);
    p->tid = gettid();
    g_assert_true(event_loop_current() == p->loop);
    p->done = true;
    g_cond_signal(&p->cond);
    g_mutex_unlock(&p->lock);
}

static void test_thread(void)
{
    setup();
    ThreadProbe p = { .loop = event_loop_thread_create("io-test", &error_abort) };
    /* A timer armed from another thread wakes the loop. */
    Timer *t = timer_new(p.loop, CLK_REALTIME, thread_probe_run, &p);
    g_mutex_lock(&p.lock);
    timer_set(t, clock_now(CLK_REALTIME) + NS_PER_MS);
    while (!p.done) {
        g_cond_wait(&p.cond, &p.lock);
    }
    g_mutex_unlock(&p.lock);
    g_assert_cmpint(p.tid, ==, event_loop_thread_id(p.loop));
    timer_free(t);
    event_loop_thread_destroy(p.loop);
    ERROR_AUTO err = NULL;
    fault_inject(1);
    g_assert_null(event_loop_thread_create("no", &err));
    fault_inject(0);
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/event/bh/basic", test_bh);
    g_test_add_func("/event/bh/frees-itself", test_bh_frees_itself);
    g_test_add_func("/event/bh/threads", test_bh_threads);
    g_test_add_func("/event/timer/order", test_timer_order);
    g_test_add_func("/event/timer/again", test_timer_again);
    g_test_add_func("/event/timer/real", test_timer_real);
    g_test_add_func("/event/timer/due-while-asked", test_timer_due_while_asked);
    g_test_add_func("/event/clock/virtual", test_virtual_clock);
    g_test_add_func("/event/lock/poll", test_lock_dropped_in_poll);
    g_test_add_func("/event/notifier", test_notifier);
    g_test_add_func("/event/fd-watch", test_fd_watch);
    g_test_add_func("/event/thread", test_thread);
    return g_test_run();
}
