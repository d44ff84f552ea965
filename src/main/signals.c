/* SIGINT, SIGTERM, SIGHUP: the handler only takes a note; the main loop acts. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <glib.h>

#include "base/report.h"
#include "event/notifier.h"
#include "main/control.h"
#include "object/lifecycle.h"

static const int signals_caught[] = { SIGINT, SIGTERM, SIGHUP };

/* A signal handler has no argument to carry these. Written by it, read by the main loop. */
static EventNotifier signals_notifier = { .fd = -1 };
static volatile sig_atomic_t signals_number, signals_sender;

static void signals_note(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    signals_number = number;
    signals_sender = info->si_pid;
    event_notifier_set(&signals_notifier);
    errno = saved;
}

/* 0 if the signal came from the kernel (a terminal). */
static void signals_report(int number, pid_t sender)
{
    if (number == SIGINT || !sender) {
        return;
    }
    g_autofree char *file = g_strdup_printf("/proc/%d/comm", (int)sender);
    g_autofree char *name = NULL;
    if (g_file_get_contents(file, &name, NULL, NULL)) {
        g_strchomp(name);
    }
    report_info("terminating on signal %d from pid %d (%s)", number, (int)sender,
                name ?: "unknown process");
}

static void signals_act(EventNotifier *n)
{
    event_notifier_test_and_clear(n);
    signals_report(signals_number, signals_sender);
    lifecycle_request_shutdown(SHUTDOWN_CAUSE_HOST_SIGNAL);
}

bool control_catch_signals(Error **errp)
{
    if (!event_notifier_init(&signals_notifier, false, errp)) {
        return false;
    }
    event_notifier_watch(&signals_notifier, event_loop_main(), signals_act);
    struct sigaction action = { .sa_sigaction = signals_note, .sa_flags = SA_SIGINFO };
    for (size_t i = 0; i < ARRAY_LEN(signals_caught); i++) {
        sigaction(signals_caught[i], &action, NULL);
    }
    /* Writing to a socket whose other end is gone is an error code, not the end. */
    signal(SIGPIPE, SIG_IGN);
    return true;
}

void control_release_signals(void)
{
    if (signals_notifier.fd < 0) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(signals_caught); i++) {
        signal(signals_caught[i], SIG_DFL);
    }
    event_notifier_finish(&signals_notifier);
}
