/* Running the table of phases, and taking apart in reverse what they made. */
#include "gdbstub/gdbstub.h"
#include "main/startup.h"

#include <stdlib.h>
#include <string.h>

#include "accel/accel.h"
#include "accel/icount.h"
#include "accel/qtest/qtest.h"
#include "base/fdset.h"
#include "base/log.h"
#include "base/rcu.h"
#include "chardev/chardev.h"
#include "devices/timer/rtc-base.h"
#include "event/lock.h"
#include "main/control.h"
#include "main/host-backends.h"
#include "monitor/monitor.h"
#include "object/phase.h"
#include "object/runstate.h"
#include "schema/preconfig.h"
#include "schema/trace.h"
#include "trace/control.h"
#include "trace/startup-graph.h"
#include "vhost/user/await.h"

/* Between startup_begin() and startup_finish(); only for commands, which have no other way. */
static StartUp *startup_instance;

StartUp *startup_current(void)
{
    return startup_instance;
}

void startup_begin(StartUp *s, int argc, char **argv)
{
    *s = (StartUp){ .argc = argc, .argv = argv, .daemonize = DAEMONIZE_NONE };
    startup_instance = s;
    report_set_program("rhea");
    startup_graph_begin();
}

/* --- Forward --- */

static StartUpResult startup_fail(StartUp *s, Error *err)
{
    s->status = EXIT_FAILURE;
    const option_type_startup_graph *graph =
        s->config ? config_get(s->config, startup_graph) : NULL;
    if (graph) {
        Error *why = NULL;
        if (!startup_graph_write(*graph, error_message(err), &why)) {
            error_warn_and_free(why);
        }
    }
    error_report_and_free(err);
    return STARTUP_END;
}

StartUpResult startup_advance(StartUp *s)
{
    StartUpResult result = STARTUP_RUN;
    s->in_advance = true;
    while (startup_phases[s->next].name) {
        const PhaseRow *row = &startup_phases[s->next];
        Error *err = NULL;
        startup_graph_enter(STARTUP_PHASE, row->name);
        PhaseResult r = row->run(s, &err);
        startup_graph_leave(STARTUP_PHASE, row->name);
        if (r == PHASE_FAILED) {
            result = startup_fail(s, err);
            break;
        }
        if (r == PHASE_END) {
            result = STARTUP_END;
            break;
        }
        if (r == PHASE_WAIT) {
            break;
        }
        s->next++;
    }
    s->in_advance = false;
    return result;
}

bool startup_complete(const StartUp *s)
{
    return !startup_phases[s->next].name;
}

static void startup_go_on(void *opaque)
{
    StartUp *s = opaque;
    if (startup_complete(s) || s->in_advance) {
        return;
    }
    if (startup_advance(s) == STARTUP_END) {
        event_loop_quit(event_loop_main());
    }
}

void startup_poke(void *startup)
{
    StartUp *s = startup;
    if (!startup_complete(s)) {
        bh_run_once(event_loop_main(), startup_go_on, s);
    }
}

void startup_exit_preconfig(StartUp *s)
{
    s->preconfig = false;
    startup_poke(s);
}

/* The reply says how it went: what a failing board has to say is the command's error too. */
bool qmp_x_exit_preconfig(Error **errp)
{
    StartUp *s = startup_instance;
    if (!s || phase_reached(PHASE_BOARD_INITIALIZED) || !s->preconfig) {
        error_set(errp, "The command is permitted only before machine initialization");
        return false;
    }
    startup_exit_preconfig(s);
    return true;
}

/* --- Backward --- */

static void startup_finish_machine(StartUp *s)
{
    if (vm_is_running()) {
        vm_stop(RUN_STATE_SHUTDOWN);
    }
    timer_free(s->reminder);
    s->reminder = NULL;
    qtest_server_stop();
    machine_destroy(s->machine);
    s->machine = NULL;
    vhost_user_set_await_fn(NULL, NULL);
    host_backends_finish();
    vm_set_vcpu_hooks(NULL);
}

int startup_finish(StartUp *s)
{
    if (s->loop_made) {
        int wanted = control_exit_status();
        s->status = s->status ? s->status : wanted;
        /* Its end is not news to monitors; what they were told before goes out. */
        monitor_finish_all();
        gdbstub_finish(s->status);
        startup_finish_machine(s);
        chardev_set_state_fn(NULL, NULL);
        chardev_finish_all();
        object_root_reset();
        control_release_signals();
        control_finish();
        memory_finish();
        icount_disable();
        run_state_reset();
        rtc_configure_reset();
        machine_unlock();
        rcu_drain();
        event_loop_main_finish();
    }
    object_root_reset();
    global_properties_reset();
    phase_advance(PHASE_NONE);
    daemonize_finish(&s->daemonize);
    pidfile_remove(s->pidfile);
    trace_finish();
    startup_graph_finish();
    chardev_forbid_stdio(NULL);
    config_free(s->config);
    fdset_finish();
    log_finish();
    report_set_guest_name(NULL);
    startup_instance = NULL;
    return s->status;
}
