#include "object/runstate.h"

#include <glib.h>

#include "event/clock.h"
#include "event/lock.h"

/* Of this process's machine. Machine lock. */
static RunState run_state_now = RUN_STATE_PRELAUNCH;
static GPtrArray *vm_state_handlers; /* VmStateHandler, owned, by priority */
static VmVcpuHooks vm_vcpu_hooks;
static bool vm_running;

#define TO(state) (1u << RUN_STATE_##state)

/* One row a state: where it may go. */
static const unsigned run_state_transitions[RUN_STATE_COUNT] = {
    [RUN_STATE_PRELAUNCH] = TO(RUNNING) | TO(FINISH_MIGRATE) | TO(INMIGRATE) | TO(SUSPENDED) |
                            TO(PAUSED) | TO(RESTORE_VM),
    [RUN_STATE_INMIGRATE] = TO(INTERNAL_ERROR) | TO(IO_ERROR) | TO(PAUSED) | TO(RUNNING) |
                            TO(SHUTDOWN) | TO(SUSPENDED) | TO(WATCHDOG) | TO(GUEST_PANICKED) |
                            TO(FINISH_MIGRATE) | TO(PRELAUNCH) | TO(POSTMIGRATE) | TO(COLO),
    [RUN_STATE_RUNNING] = TO(DEBUG) | TO(INTERNAL_ERROR) | TO(IO_ERROR) | TO(PAUSED) |
                          TO(FINISH_MIGRATE) | TO(RESTORE_VM) | TO(SAVE_VM) | TO(SHUTDOWN) |
                          TO(WATCHDOG) | TO(GUEST_PANICKED) | TO(SUSPENDED) | TO(COLO),
    [RUN_STATE_DEBUG] =
        TO(RUNNING) | TO(FINISH_MIGRATE) | TO(PRELAUNCH) | TO(SUSPENDED) | TO(PAUSED),
    [RUN_STATE_INTERNAL_ERROR] = TO(PAUSED) | TO(FINISH_MIGRATE) | TO(PRELAUNCH),
    [RUN_STATE_IO_ERROR] = TO(RUNNING) | TO(FINISH_MIGRATE) | TO(PRELAUNCH) | TO(PAUSED),
    [RUN_STATE_PAUSED] = TO(RUNNING) | TO(FINISH_MIGRATE) | TO(POSTMIGRATE) | TO(PRELAUNCH) |
                         TO(SHUTDOWN) | TO(SUSPENDED) | TO(COLO) | TO(SAVE_VM) | TO(RESTORE_VM),
    [RUN_STATE_POSTMIGRATE] = TO(RUNNING) | TO(FINISH_MIGRATE) | TO(PRELAUNCH) | TO(PAUSED),
    [RUN_STATE_FINISH_MIGRATE] = TO(RUNNING) | TO(PAUSED) | TO(POSTMIGRATE) | TO(PRELAUNCH) |
                                 TO(COLO) | TO(INTERNAL_ERROR) | TO(IO_ERROR) | TO(SHUTDOWN) |
                                 TO(SUSPENDED) | TO(WATCHDOG) | TO(GUEST_PANICKED),
    [RUN_STATE_RESTORE_VM] = TO(RUNNING) | TO(PRELAUNCH) | TO(SUSPENDED) | TO(PAUSED),
    [RUN_STATE_SAVE_VM] = TO(RUNNING) | TO(PAUSED) | TO(SUSPENDED),
    [RUN_STATE_SHUTDOWN] = TO(PAUSED) | TO(FINISH_MIGRATE) | TO(PRELAUNCH) | TO(RUNNING),
    [RUN_STATE_SUSPENDED] = TO(RUNNING) | TO(FINISH_MIGRATE) | TO(PRELAUNCH) | TO(PAUSED) |
                            TO(SAVE_VM) | TO(RESTORE_VM) | TO(SHUTDOWN) | TO(COLO),
    [RUN_STATE_WATCHDOG] = TO(RUNNING) | TO(FINISH_MIGRATE) | TO(PRELAUNCH) | TO(PAUSED) | TO(COLO),
    [RUN_STATE_GUEST_PANICKED] = TO(RUNNING) | TO(FINISH_MIGRATE) | TO(PRELAUNCH) | TO(PAUSED),
    [RUN_STATE_COLO] = TO(RUNNING) | TO(PRELAUNCH) | TO(SHUTDOWN),
};

const char *run_state_name(RunState state)
{
    return enum_name(&enum_run_state, state);
}

RunState run_state_get(void)
{
    return run_state_now;
}

bool run_state_is(RunState state)
{
    return run_state_now == state;
}

bool run_state_needs_reset(void)
{
    return run_state_now == RUN_STATE_INTERNAL_ERROR || run_state_now == RUN_STATE_SHUTDOWN;
}

bool run_state_transition_valid(RunState from, RunState to)
{
    return run_state_transitions[from] & (1u << to);
}

void run_state_set(RunState state)
{
    if (state == run_state_now) {
        return;
    }
    if (!run_state_transition_valid(run_state_now, state)) {
        g_error("invalid run state transition: '%s' -> '%s'", run_state_name(run_state_now),
                run_state_name(state));
    }
    run_state_now = state;
}

void run_state_reset(void)
{
    run_state_now = RUN_STATE_PRELAUNCH;
    vm_running = false;
    vm_vcpu_hooks = (VmVcpuHooks){ 0 };
    clock_virtual_set_running(false);
}

/* --- Handlers --- */

struct VmStateHandler {
    VmStateChangeFn *fn;
    void *opaque;
    int priority;
};

VmStateHandler *vm_state_handler_add(VmStateChangeFn *fn, int priority, void *opaque)
{
    VmStateHandler *h = g_new(VmStateHandler, 1);
    *h = (VmStateHandler){ .fn = fn, .opaque = opaque, .priority = priority };
    if (!vm_state_handlers) {
        vm_state_handlers = g_ptr_array_new();
    }
    guint at = 0;
    while (at < vm_state_handlers->len &&
           ((VmStateHandler *)vm_state_handlers->pdata[at])->priority <= priority) {
        at++;
    }
    g_ptr_array_insert(vm_state_handlers, at, h);
    return h;
}

void vm_state_handler_del(VmStateHandler *handler)
{
    if (!handler) {
        return;
    }
    g_ptr_array_remove(vm_state_handlers, handler);
    g_free(handler);
    if (!vm_state_handlers->len) {
        g_clear_pointer(&vm_state_handlers, g_ptr_array_unref);
    }
}

/* A handler may delete itself or others: each is looked up again before it is called. */
static void vm_state_notify(bool running, RunState state)
{
    if (!vm_state_handlers) {
        return;
    }
    g_autoptr(GPtrArray) walk = g_ptr_array_copy(vm_state_handlers, NULL, NULL);
    for (guint i = 0; i < walk->len; i++) {
        VmStateHandler *h = walk->pdata[running ? i : walk->len - 1 - i];
        if (vm_state_handlers && g_ptr_array_find(vm_state_handlers, h, NULL)) {
            h->fn(h->opaque, running, state);
        }
    }
}

/* --- Start and stop --- */

void vm_set_vcpu_hooks(const VmVcpuHooks *hooks)
{
    vm_vcpu_hooks = hooks ? *hooks : (VmVcpuHooks){ 0 };
}

void vm_pause_vcpus(void)
{
    if (vm_running && vm_vcpu_hooks.pause_all) {
        vm_vcpu_hooks.pause_all();
    }
}

void vm_resume_vcpus(void)
{
    if (vm_running && vm_vcpu_hooks.resume_all) {
        vm_vcpu_hooks.resume_all();
    }
}

bool vm_is_running(void)
{
    return vm_running;
}

void vm_start(void)
{
    if (vm_running) {
        return;
    }
    run_state_set(RUN_STATE_RUNNING);
    vm_running = true;
    clock_virtual_set_running(true);
    vm_state_notify(true, RUN_STATE_RUNNING);
    qmp_event_resume();
    vm_resume_vcpus();
}

void vm_stop(RunState state)
{
    if (!vm_running) {
        run_state_set(state);
        return;
    }
    vm_pause_vcpus();
    vm_running = false;
    clock_virtual_set_running(false);
    run_state_set(state);
    vm_state_notify(false, state);
    qmp_event_stop();
}
