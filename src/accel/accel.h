/*
 * Accelerators: what runs guest code. The types are called "jit-accel" (also "tcg-accel"),
 * "kvm-accel" and "qtest-accel"; `-accel a -accel b` and `accel=a:b` try them in order.
 */
#ifndef ACCEL_ACCEL_H
#define ACCEL_ACCEL_H

#include "cpu/cpu.h"
#include "event/notifier.h"
#include "memory/memory.h"
#include "object/object.h"

#define TYPE_ACCEL "accel"

typedef struct Accel {
    Object parent;
} Accel;

typedef struct AccelClass {
    ObjectClass parent;
    const char *name; /* "jit": what -accel takes */
    /* Can it run here? false with one line why; leaves nothing behind. */
    bool (*probe)(Accel *accel, Error **errp);
    /* Make it the machine's accelerator. The machine object exists; no CPU does. */
    bool (*init_machine)(Accel *accel, Object *machine, Error **errp);
    void (*finish_machine)(Accel *accel);
    /* From a CPU's realize and unrealize. After create its thread exists and waits. */
    bool (*create_vcpu)(Accel *accel, Cpu *cpu, Error **errp);
    void (*destroy_vcpu)(Accel *accel, Cpu *cpu);
    /* Make a vCPU leave guest code soon and look at its requests. Any thread. */
    void (*kick_vcpu)(Accel *accel, Cpu *cpu);
    /* Architectural state in Cpu is made current / is newer than the accelerator's. vCPU stopped,
     * or its own thread. NULL where Cpu is the only copy. */
    void (*synchronize_state)(Accel *accel, Cpu *cpu);
    void (*state_changed)(Accel *accel, Cpu *cpu);
    /* The debugger's wishes changed (break- and watchpoints, single step; cpu/debug.h). vCPU
     * stopped. When one comes true the accelerator fills Cpu.debug_stop in, with the program
     * counter at a breakpoint's instruction or behind the one that stepped or hit a watchpoint, and
     * calls cpu_debug_report(). NULL: breakpoints can't be had. */
    void (*update_debug)(Accel *accel, Cpu *cpu);
    /* False: ioeventfds and irqfds are emulated by watching the notifier / by the memory core. */
    bool has_irqfd;
    bool runs_guest_code;     /* false: qtest */
    bool wants_virtual_clock; /* takes over CLK_VIRTUAL itself */
} AccelClass;

OBJECT_DECLARE_CLASS(AccelClass, accel, TYPE_ACCEL)

/* The machine's accelerator; NULL before ACCEL_CREATED. */
Accel *accel_current(void);
/* The type of an -accel name; NULL if there is none. Borrowed for ever. */
const char *accel_type_for_name(const char *name);
/* Probe it and make it the machine's; on failure nothing is left behind. properties are borrowed.
 */
MUST_CHECK bool accel_start(const char *type_name, json_t *properties, Object *machine,
                            Error **errp);
void accel_stop(void);
/* Is the machine's accelerator the one of this -accel name? */
bool accel_is(const char *name);
/* -accel help */
void accel_print_list(GString *out);

#endif
