#include "object/lifecycle.h"

#include <glib.h>

#include "event/lock.h"
#include "event/loop.h"

typedef struct PowerdownNotifier {
    LifecycleFn *fn;
    void *opaque;
} PowerdownNotifier;

/* The requests and who acts on them: one of each a process, like the machine itself; emptied by
 * lifecycle_reset(). */
static const LifecycleHooks *hooks;
static GArray *powerdown_notifiers; /* machine lock */
static void (*request_fn)(void);    /* atomic; of the accelerator */

/* Pending requests; atomic. */
static int pending_reset;    /* ShutdownCause */
static int pending_shutdown; /* ShutdownCause */
static int pending_exit_status;
static int pending_powerdown, pending_suspend, pending_wakeup;
static int pending_panic; /* GuestPanic + 1 */

bool shutdown_cause_is_guest(ShutdownCause cause)
{
    return cause == SHUTDOWN_CAUSE_GUEST_SHUTDOWN || cause == SHUTDOWN_CAUSE_GUEST_RESET ||
           cause == SHUTDOWN_CAUSE_GUEST_PANIC;
}

void lifecycle_set_hooks(const LifecycleHooks *new_hooks)
{
    __atomic_store_n(&hooks, new_hooks, __ATOMIC_RELEASE);
}

static void tell_powerdown_notifiers(void)
{
    for (guint i = 0; powerdown_notifiers && i < powerdown_notifiers->len; i++) {
        PowerdownNotifier *n = &g_array_index(powerdown_notifiers, PowerdownNotifier, i);
        n->fn(n->opaque);
    }
}

/* Order: what ends the machine first; a reset that came together with a shutdown is moot. */
static void act(void *opaque)
{
    const LifecycleHooks *h = __atomic_load_n(&hooks, __ATOMIC_ACQUIRE);
    int panic = __atomic_exchange_n(&pending_panic, 0, __ATOMIC_ACQ_REL);
    int shutdown = __atomic_exchange_n(&pending_shutdown, 0, __ATOMIC_ACQ_REL);
    int status = __atomic_exchange_n(&pending_exit_status, 0, __ATOMIC_ACQ_REL);
    int reset = __atomic_exchange_n(&pending_reset, 0, __ATOMIC_ACQ_REL);
    bool suspend = __atomic_exchange_n(&pending_suspend, 0, __ATOMIC_ACQ_REL);
    bool wakeup = __atomic_exchange_n(&pending_wakeup, 0, __ATOMIC_ACQ_REL);
    bool powerdown = __atomic_exchange_n(&pending_powerdown, 0, __ATOMIC_ACQ_REL);

    if (!h) {
        return;
    }
    if (panic && h->panic) {
        h->panic(panic - 1);
    }
    if (shutdown) {
        if (h->shutdown) {
            h->shutdown(shutdown, status);
        }
        return;
    }
    if (suspend && h->suspend) {
        h->suspend();
    }
    if (reset && h->reset) {
        h->reset(reset);
    }
    if (wakeup && h->wakeup) {
        h->wakeup();
    }
    if (powerdown) {
        tell_powerdown_notifiers();
        if (h->powerdown) {
            h->powerdown();
        }
    }
}

bool lifecycle_pending(void)
{
    const int *const flags[] = { &pending_reset,   &pending_shutdown, &pending_powerdown,
                                 &pending_suspend, &pending_wakeup,   &pending_panic };
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
        if (__atomic_load_n(flags[i], __ATOMIC_ACQUIRE)) {
            return true;
        }
    }
    return false;
}

void lifecycle_set_request_fn(void (*fn)(void))
{
    __atomic_store_n(&request_fn, fn, __ATOMIC_RELEASE);
}

static void request(int *flag, int value)
{
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
    void (*fn)(void) = __atomic_load_n(&request_fn, __ATOMIC_ACQUIRE);
    if (fn) {
        fn();
    }
    bh_run_once(event_loop_main(), act, NULL);
}

void lifecycle_request_reset(ShutdownCause cause)
{
    request(&pending_reset, cause);
}

void lifecycle_request_shutdown(ShutdownCause cause)
{
    request(&pending_shutdown, cause);
}

void lifecycle_request_exit(ShutdownCause cause, int exit_status)
{
    __atomic_store_n(&pending_exit_status, exit_status, __ATOMIC_RELEASE);
    request(&pending_shutdown, cause);
}

void lifecycle_request_powerdown(void)
{
    request(&pending_powerdown, 1);
}

void lifecycle_request_suspend(void)
{
    request(&pending_suspend, 1);
}

void lifecycle_request_wakeup(void)
{
    request(&pending_wakeup, 1);
}

void lifecycle_report_panic(GuestPanic kind)
{
    request(&pending_panic, (int)kind + 1);
}

void lifecycle_add_powerdown_notifier(LifecycleFn *fn, void *opaque)
{
    if (!powerdown_notifiers) {
        powerdown_notifiers = g_array_new(false, false, sizeof(PowerdownNotifier));
    }
    PowerdownNotifier n = { fn, opaque };
    g_array_append_val(powerdown_notifiers, n);
}

void lifecycle_del_powerdown_notifier(LifecycleFn *fn, void *opaque)
{
    for (guint i = 0; powerdown_notifiers && i < powerdown_notifiers->len; i++) {
        PowerdownNotifier *n = &g_array_index(powerdown_notifiers, PowerdownNotifier, i);
        if (n->fn == fn && n->opaque == opaque) {
            g_array_remove_index(powerdown_notifiers, i);
            break;
        }
    }
    if (powerdown_notifiers && powerdown_notifiers->len == 0) {
        g_array_free(powerdown_notifiers, true);
        powerdown_notifiers = NULL;
    }
}

void lifecycle_reset(void)
{
    hooks = NULL;
    pending_reset = pending_shutdown = pending_exit_status = 0;
    pending_powerdown = pending_suspend = pending_wakeup = pending_panic = 0;
    if (powerdown_notifiers) {
        g_array_free(powerdown_notifiers, true);
        powerdown_notifiers = NULL;
    }
}
