/*
 * Run states of the machine and who is told when it starts and stops.
 *
 * Transitions are checked against one table; one that isn't in it is a programming error. Machine
 * lock held throughout.
 */
#ifndef OBJECT_RUNSTATE_H
#define OBJECT_RUNSTATE_H

#include "base/compiler.h"
#include "schema/run-state.h"

const char *run_state_name(RunState state);
RunState run_state_get(void);
bool run_state_is(RunState state);
bool run_state_needs_reset(void); /* cont is refused until a reset */
void run_state_set(RunState state);
bool run_state_transition_valid(RunState from, RunState to);
/* Back to PRELAUNCH, handlers kept (another machine in one process: tests). */
void run_state_reset(void);

/* running: vCPUs and virtual time go. Called in order of priority when starting (lower first), in
 * reverse when stopping. */
typedef void VmStateChangeFn(void *opaque, bool running, RunState state);
typedef struct VmStateHandler VmStateHandler;
VmStateHandler *vm_state_handler_add(VmStateChangeFn *fn, int priority, void *opaque);
void vm_state_handler_del(VmStateHandler *handler); /* NULL allowed */

/* Start and stop the machine: clocks, handlers, vCPUs (through vm_set_vcpu_hooks), events. Stopping
 * a stopped machine only changes the state. */
void vm_start(void);
void vm_stop(RunState state);
bool vm_is_running(void);
/* The accelerator's part: resume or pause all vCPUs; pause returns when none runs guest code. */
typedef struct VmVcpuHooks {
    void (*resume_all)(void);
    void (*pause_all)(void);
} VmVcpuHooks;
/* For a while, without a change of state (resets). */
void vm_pause_vcpus(void);
void vm_resume_vcpus(void);
void vm_set_vcpu_hooks(const VmVcpuHooks *hooks);

#endif
