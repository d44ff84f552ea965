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
#include "object/property.h"
#include "schema/stats.h"

#define TYPE_ACCEL "accel"

typedef struct Accel {
    Object parent;
    bool has_next; /* another one is tried if this can't be had: one that would crawl says no */
} Accel;

/* Which interrupt controllers the accelerator itself has. */
typedef enum AccelIrqchip {
    ACCEL_IRQCHIP_OFF,   /* none: the devices' models do it all */
    ACCEL_IRQCHIP_SPLIT, /* the local APICs */
    ACCEL_IRQCHIP_ON,    /* local APICs, I/O APIC, 8259s and 8254 */
} AccelIrqchip;

/* What users say of it ("kernel-irqchip"): an int property. */
typedef enum AccelIrqchipWish {
    ACCEL_IRQCHIP_WISH_AUTO,
    ACCEL_IRQCHIP_WISH_ON,
    ACCEL_IRQCHIP_WISH_OFF,
    ACCEL_IRQCHIP_WISH_SPLIT,
} AccelIrqchipWish;
extern const ValueType accel_value_type_irqchip;

/*
 * Interrupts without the device's model: who has the descriptor (an I/O thread, a vhost back end)
 * rings it, and the interrupt is there. A route is a number (GSI) that stands for a message; lines
 * of the interrupt controllers have their own. Machine lock held.
 */
typedef struct AccelIrqOps {
    /* A route for a message; -1 with an error. drop: no notifier uses it any more. */
    int (*route_add)(Accel *accel, uint64_t address, uint32_t data, Error **errp);
    bool (*route_change)(Accel *accel, int gsi, uint64_t address, uint32_t data, Error **errp);
    void (*route_drop)(Accel *accel, int gsi);
    /* Ringing the notifier raises the GSI. resample (NULL: an edge): the GSI is a level that stays
     * until the guest's EOI, when resample rings and the level falls; ring again if it is still
     * wanted. The notifiers are the caller's and live until the removal. */
    bool (*notifier_add)(Accel *accel, int gsi, EventNotifier *n, EventNotifier *resample,
                         Error **errp);
    void (*notifier_del)(Accel *accel, int gsi, EventNotifier *n);
} AccelIrqOps;

/* A statistic as query-stats-schemas describes it, and its values (one, or a histogram's). Borrowed
 * for the call. */
typedef void AccelStatFn(const StatsSchemaValue *what, const uint64_t *values, size_t count,
                         void *opaque);

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
    /*
     * Make the architectural state in Cpu current, and Cpu its owner: until the vCPU runs again,
     * what is written there counts. Through cpu_synchronize_state(). NULL where Cpu is the only
     * copy.
     */
    void (*synchronize_state)(Accel *accel, Cpu *cpu);
    /* As above without looking at the accelerator's: all of it is about to be written. */
    void (*discard_state)(Accel *accel, Cpu *cpu);
    /* Somebody outside the accelerator has changed the state. */
    void (*state_changed)(Accel *accel, Cpu *cpu);
    /* The debugger's wishes changed (break- and watchpoints, single step; cpu/debug.h). vCPU
     * stopped. When one comes true the accelerator fills Cpu.debug_stop in, with the program
     * counter at a breakpoint's instruction or behind the one that stepped or hit a watchpoint, and
     * calls cpu_debug_report(). NULL: breakpoints can't be had. */
    void (*update_debug)(Accel *accel, Cpu *cpu);
    /* Which interrupt controllers are its own; NULL: none. Constant from init_machine on. */
    AccelIrqchip (*irqchip)(Accel *accel);
    /* NULL, or refused at run time: interrupts from notifiers are made by watching them. */
    const AccelIrqOps *irq;
    /* Each statistic of a vCPU, or with NULL of the machine. Machine lock held. NULL: counts none.
     */
    bool (*stats)(Accel *accel, Cpu *cpu, AccelStatFn *fn, void *opaque, Error **errp);
    StatsProvider stats_provider;
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
/* The same for one after which another will be tried. */
MUST_CHECK bool accel_start_or_next(const char *type_name, json_t *properties, Object *machine,
                                    Error **errp);
void accel_stop(void);
AccelIrqchip accel_irqchip(void);
/* Interrupts from notifiers, if the present accelerator can; NULL: watch them. */
const AccelIrqOps *accel_irq_ops(void);
/* Is the machine's accelerator the one of this -accel name? */
bool accel_is(const char *name);
/* -accel help */
void accel_print_list(GString *out);

#endif
