#include "main/control.h"

#include <glib.h>

#include "base/log.h"
#include "base/report.h"
#include "event/loop.h"
#include "machine/machine.h"
#include "object/lifecycle.h"
#include "object/runstate.h"
#include "vhost/vhost.h"

/* The policy and the outcome of this process; set back by control_init(). */
static struct {
    RebootAction reboot;
    ShutdownAction shutdown;
    PanicAction panic;
    WatchdogAction watchdog;
    bool autostart;
    bool resetting; /* the back ends are still to let go of guest memory */
    ShutdownCause reset_cause;
    int exit_status;
} control;

/* --- What requests lead to --- */

static void control_end(int exit_status)
{
    control.exit_status = exit_status;
    event_loop_quit(event_loop_main());
}

/* The user's word counts against -no-shutdown; a guest's does not. */
static bool control_stays(ShutdownCause cause)
{
    return control.shutdown == SHUTDOWN_ACTION_PAUSE && cause != SHUTDOWN_CAUSE_HOST_QMP_QUIT &&
           cause != SHUTDOWN_CAUSE_HOST_SIGNAL;
}

static void control_shutdown(ShutdownCause cause, int exit_status)
{
    qmp_event_shutdown(shutdown_cause_is_guest(cause), cause);
    if (control_stays(cause)) {
        if (!run_state_is(RUN_STATE_SHUTDOWN)) {
            vm_stop(RUN_STATE_SHUTDOWN);
        }
        return;
    }
    control_end(exit_status);
}

static void control_finish_reset(void *opaque);

static void control_reset(ShutdownCause cause)
{
    if (cause == SHUTDOWN_CAUSE_GUEST_RESET && control.reboot == REBOOT_ACTION_SHUTDOWN) {
        control_shutdown(cause, 0);
        return;
    }
    if (control.resetting) {
        return; /* that one will do for both */
    }
    control.resetting = true;
    control.reset_cause = cause;
    vm_pause_vcpus();
    vhost_hold_all(control_finish_reset, NULL);
}

/* Nobody but us writes to guest memory any more. */
static void control_finish_reset(void *opaque)
{
    Machine *machine = machine_current();
    ShutdownCause cause = control.reset_cause;
    vm_pause_vcpus(); /* again: somebody may have started them meanwhile */
    if (machine) {
        machine_reset(machine, RESET_COLD);
    }
    control.resetting = false;
    vhost_release_all();
    qmp_event_reset(shutdown_cause_is_guest(cause), cause);
    if (run_state_needs_reset() || run_state_is(RUN_STATE_GUEST_PANICKED)) {
        run_state_set(run_state_is(RUN_STATE_INTERNAL_ERROR) ? RUN_STATE_PAUSED
                                                             : RUN_STATE_PRELAUNCH);
    }
    vm_resume_vcpus();
}

static void control_powerdown(void)
{
    qmp_event_powerdown();
}

static void control_suspend(void)
{
    vm_stop(RUN_STATE_SUSPENDED);
    qmp_event_suspend();
}

static void control_wakeup(void)
{
    Machine *machine = machine_current();
    MachineClass *mc = machine ? machine_class_of(machine) : NULL;
    if (mc && mc->wakeup) {
        mc->wakeup(machine);
    }
    vm_start();
    qmp_event_wakeup();
}

static void control_panic(GuestPanic kind)
{
    GuestPanicAction done = control.panic == PANIC_ACTION_PAUSE  ? GUEST_PANIC_ACTION_PAUSE
                            : control.panic == PANIC_ACTION_NONE ? GUEST_PANIC_ACTION_RUN
                                                                 : GUEST_PANIC_ACTION_POWEROFF;
    log_guest_error("guest panicked\n");
    if (kind == GUEST_PANIC_CRASHLOADED) {
        qmp_event_guest_crashloaded(GUEST_PANIC_ACTION_RUN);
        return;
    }
    qmp_event_guest_panicked(done);
    switch (control.panic) {
    case PANIC_ACTION_PAUSE:
        vm_stop(RUN_STATE_GUEST_PANICKED);
        break;
    case PANIC_ACTION_SHUTDOWN:
        vm_stop(RUN_STATE_GUEST_PANICKED);
        lifecycle_request_shutdown(SHUTDOWN_CAUSE_GUEST_PANIC);
        break;
    case PANIC_ACTION_EXIT_FAILURE:
        vm_stop(RUN_STATE_GUEST_PANICKED);
        lifecycle_request_exit(SHUTDOWN_CAUSE_GUEST_PANIC, 1);
        break;
    default:
        break;
    }
}

static const LifecycleHooks control_hooks = {
    .reset = control_reset,
    .shutdown = control_shutdown,
    .powerdown = control_powerdown,
    .suspend = control_suspend,
    .wakeup = control_wakeup,
    .panic = control_panic,
};

void control_init(void)
{
    control.reboot = REBOOT_ACTION_RESET;
    control.shutdown = SHUTDOWN_ACTION_POWEROFF;
    control.panic = PANIC_ACTION_SHUTDOWN;
    control.watchdog = WATCHDOG_ACTION_RESET;
    control.autostart = true;
    control.exit_status = 0;
    control.resetting = false;
    lifecycle_set_hooks(&control_hooks);
}

void control_finish(void)
{
    vhost_forget_idle(control_finish_reset, NULL);
    lifecycle_reset();
}

void control_set_actions(const ActionOptions *actions)
{
    control.reboot = actions->has_reboot ? actions->reboot : control.reboot;
    control.shutdown = actions->has_shutdown ? actions->shutdown : control.shutdown;
    control.panic = actions->has_panic ? actions->panic : control.panic;
    control.watchdog = actions->has_watchdog ? actions->watchdog : control.watchdog;
}

void control_set_autostart(bool autostart)
{
    control.autostart = autostart;
}

bool control_autostart(void)
{
    return control.autostart;
}

int control_exit_status(void)
{
    return control.exit_status;
}

/* --- QMP --- */

bool qmp_query_status(StatusInfo *ret, Error **errp)
{
    *ret = (StatusInfo){ .running = vm_is_running(), .status = run_state_get() };
    return true;
}

bool qmp_stop(Error **errp)
{
    if (run_state_is(RUN_STATE_INMIGRATE)) {
        control.autostart = false;
    } else if (vm_is_running()) {
        vm_stop(RUN_STATE_PAUSED);
    }
    return true;
}

bool qmp_cont(Error **errp)
{
    if (run_state_needs_reset()) {
        error_set(errp, "Resetting the Virtual Machine is required");
        return false;
    }
    if (run_state_is(RUN_STATE_SUSPENDED)) {
        return true;
    }
    if (run_state_is(RUN_STATE_FINISH_MIGRATE)) {
        error_set(errp, "Migration is not finalized yet");
        return false;
    }
    if (run_state_is(RUN_STATE_INMIGRATE)) {
        control.autostart = true;
    } else {
        vm_start();
    }
    return true;
}

bool qmp_system_reset(Error **errp)
{
    lifecycle_request_reset(SHUTDOWN_CAUSE_HOST_QMP_SYSTEM_RESET);
    return true;
}

bool qmp_system_powerdown(Error **errp)
{
    lifecycle_request_powerdown();
    return true;
}

bool qmp_system_wakeup(Error **errp)
{
    if (!run_state_is(RUN_STATE_SUSPENDED)) {
        error_set(errp, "Unable to wake up: guest is not in suspended state");
        return false;
    }
    lifecycle_request_wakeup();
    return true;
}

bool qmp_quit(Error **errp)
{
    lifecycle_request_shutdown(SHUTDOWN_CAUSE_HOST_QMP_QUIT);
    return true;
}

bool qmp_set_action(const ActionOptions *args, Error **errp)
{
    control_set_actions(args);
    return true;
}

bool qmp_query_current_machine(CurrentMachineParams *ret, Error **errp)
{
    Machine *machine = machine_current();
    ret->wakeup_suspend_support = machine && machine_class_of(machine)->wakeup;
    return true;
}
