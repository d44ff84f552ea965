/*
 * Requests that end, reset or wake the machine. Devices, monitors and signal handlers ask; the main
 * loop acts, once, outside of whoever asked.
 *
 * A request is a flag with its cause and a bottom half; start-up installs what acts on them
 * (lifecycle_set_hooks). The request functions may be called from any thread and, except for the
 * powerdown notifiers, take effect after the caller has returned.
 */
#ifndef OBJECT_LIFECYCLE_H
#define OBJECT_LIFECYCLE_H

#include "base/compiler.h"
#include "schema/run-state.h"

/* Did the guest ask for it (the "guest" member of the events)? */
bool shutdown_cause_is_guest(ShutdownCause cause);

typedef enum GuestPanic { GUEST_PANIC_CRASHED, GUEST_PANIC_CRASHLOADED } GuestPanic;

/* What acts. Main thread, machine lock held. Members may be NULL. */
typedef struct LifecycleHooks {
    void (*reset)(ShutdownCause cause);
    /* The process ends with exit_status. */
    void (*shutdown)(ShutdownCause cause, int exit_status);
    /* The power button was pressed; the devices have been told. */
    void (*powerdown)(void);
    /* Suspend to RAM: the guest asked; wake-up: a device or the user did. */
    void (*suspend)(void);
    void (*wakeup)(void);
    void (*panic)(GuestPanic kind);
} LifecycleHooks;
void lifecycle_set_hooks(const LifecycleHooks *hooks); /* borrowed; NULL: requests are dropped */
/* Forget pending requests and notifiers (end of a machine). */
void lifecycle_reset(void);

/* Requests that nobody has acted on yet; any thread. */
bool lifecycle_pending(void);
/* Called with each request, by the thread that makes it; NULL: nothing. */
void lifecycle_set_request_fn(void (*fn)(void));

void lifecycle_request_reset(ShutdownCause cause);
void lifecycle_request_shutdown(ShutdownCause cause);
/* As above, and the process ends with this status (isa-debug-exit). */
void lifecycle_request_exit(ShutdownCause cause, int exit_status);
void lifecycle_request_powerdown(void);
void lifecycle_request_suspend(void);
/* False with no effect unless suspended. */
void lifecycle_request_wakeup(void);
void lifecycle_report_panic(GuestPanic kind);

/* The power button: ACPI registers itself. Machine lock held. */
typedef void LifecycleFn(void *opaque);
void lifecycle_add_powerdown_notifier(LifecycleFn *fn, void *opaque);
void lifecycle_del_powerdown_notifier(LifecycleFn *fn, void *opaque);

#endif
