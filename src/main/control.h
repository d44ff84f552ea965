/*
 * What starts, stops and ends the machine: requests from guest, monitor and signals become resets,
 * run states, events and the end of the process, by the policy of -action.
 *
 * Main thread, machine lock held.
 */
#ifndef MAIN_CONTROL_H
#define MAIN_CONTROL_H

#include "base/compiler.h"
#include "base/error.h"
#include "schema/run-state.h"

/* Take requests from now on, until control_finish(). */
void control_init(void);
void control_finish(void);

/* -action, -no-reboot, -no-shutdown and set-action. */
void control_set_actions(const ActionOptions *actions);

/* The machine is to be started when start-up is done (not -S, not an incoming migration). */
void control_set_autostart(bool autostart);
bool control_autostart(void);

/* What the process should end with: 0 unless a guest or an error asked for another. */
int control_exit_status(void);

/* SIGINT, SIGTERM and SIGHUP end the process in order, from now on. */
MUST_CHECK bool control_catch_signals(Error **errp);
void control_release_signals(void);

#endif
