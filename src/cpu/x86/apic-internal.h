/* The local APIC's state, shared by apic.c, apic-bus.c, apic-register.c, apic-timer.c and
 * apic-device.c. */
#ifndef CPU_X86_APIC_INTERNAL_H
#define CPU_X86_APIC_INTERNAL_H

#include <pthread.h>

#include "bus/device.h"
#include "cpu/x86/apic.h"
#include "event/clock.h"

/* The timer counts at this rate before division; CPUID leaf 0x15 calls it the crystal's. */
#define X86_APIC_TIMER_HZ 24000000

#define X86_APIC_WORDS 8 /* 256 vectors */

#define X86_APIC_BASE_BSP    0x100u
#define X86_APIC_BASE_X2APIC 0x400u
#define X86_APIC_BASE_ENABLE 0x800u

#define X86_APIC_SVR_ENABLE       0x100u
#define X86_APIC_SVR_FOCUS        0x200u
#define X86_APIC_SVR_SUPPRESS_EOI 0x1000u

enum {
    X86_LVT_TIMER,
    X86_LVT_THERMAL,
    X86_LVT_PERF,
    X86_LVT_LINT0,
    X86_LVT_LINT1,
    X86_LVT_ERROR,
    X86_LVT_COUNT,
};
#define X86_LVT_VECTOR     0xffu
#define X86_LVT_MODE(lvt)  ((lvt) >> 8 & 7)
#define X86_LVT_LEVEL      0x8000u
#define X86_LVT_MASKED     0x10000u
#define X86_LVT_TIMER_MODE 0x60000u
enum { X86_TIMER_ONE_SHOT = 0x00000, X86_TIMER_PERIODIC = 0x20000, X86_TIMER_DEADLINE = 0x40000 };

/* ESR bits: SDM volume 3 figure 10-9. */
#define X86_ESR_SEND_VECTOR    0x20u
#define X86_ESR_RECEIVE_VECTOR 0x40u
#define X86_ESR_REGISTER       0x80u

struct X86Apic {
    Device parent;
    X86Cpu *cpu;     /* owner */
    X86ApicBus *bus; /* borrowed from the CPU */
    uint32_t id;     /* 32 bits, as x2APIC has it */

    /* Any thread, atomic. */
    uint32_t irr[X86_APIC_WORDS], tmr[X86_APIC_WORDS];
    uint32_t esr_pending; /* errors since ESR was last written */
    uint32_t lvt[X86_LVT_COUNT];
    uint32_t svr, ldr, dfr, tpr;
    uint64_t base; /* IA32_APIC_BASE */

    /* The vCPU's thread. */
    uint32_t isr[X86_APIC_WORDS];
    uint32_t esr;
    uint64_t icr;

    pthread_mutex_t timer_lock; /* guards what follows; innermost */
    Timer *timer;               /* NULL until realized */
    uint32_t initial_count, divide;
    uint32_t current_count; /* kvm-apic: as last read */
    int64_t count_start;    /* ns, CLK_VIRTUAL: when the initial count was loaded */
    uint64_t tsc_deadline;
};

#define X86_APIC_MAX_IDS   1024
#define X86_APIC_EOI_HOOKS 8

struct X86ApicBus {
    Object parent;
    /* Slots are set and cleared with the machine lock held, while no CPU that could send runs
     * (before the machine starts, or paused); read by any thread. */
    X86Apic *by_id[X86_APIC_MAX_IDS];
    uint32_t max_id;   /* highest used, plus 1 */
    MemoryRegion msi;  /* X86_MSI_BASE */
    MemoryRegion page; /* registers, above it */
    bool mapped;
    struct {
        X86ApicEoiFn *fn;
        void *opaque;
    } eoi[X86_APIC_EOI_HOOKS]; /* changed while the machine stands */
    int (*acknowledge)(void *opaque);
    void *pic;
    const X86ApicRemote *remote; /* NULL: the APICs are here. Constant while there are CPUs */
    void *remote_opaque;
    int intr, nmi; /* levels; written with the machine lock held, intr read atomically */
};

static inline uint32_t x86_apic_get(const uint32_t *field)
{
    return __atomic_load_n(field, __ATOMIC_SEQ_CST);
}

static inline void x86_apic_put(uint32_t *field, uint32_t value)
{
    __atomic_store_n(field, value, __ATOMIC_SEQ_CST);
}

static inline bool x86_apic_is_enabled(const X86Apic *apic)
{
    return __atomic_load_n(&apic->base, __ATOMIC_RELAXED) & X86_APIC_BASE_ENABLE;
}

static inline bool x86_apic_is_x2apic(const X86Apic *apic)
{
    return __atomic_load_n(&apic->base, __ATOMIC_RELAXED) & X86_APIC_BASE_X2APIC;
}

/* apic.c */
/* Put a vector into IRR and tell the CPU. Any thread; parks nothing (not for guest threads with
 * live vector state, which go through x86_apic_send()). */
void x86_apic_post(X86Apic *apic, unsigned vector, bool level);
uint32_t x86_apic_ppr(const X86Apic *apic);
void x86_apic_eoi(X86Apic *apic);
void x86_apic_error(X86Apic *apic, uint32_t esr_bit);
/* Highest vector set, -1 if none. */
int x86_apic_highest(const uint32_t *words);

/* Are the registers copies of those in the kernel? */
static inline bool x86_apic_is_remote(const X86Apic *apic)
{
    return apic->bus && apic->bus->remote;
}

/* apic-bus.c */
void x86_apic_bus_add(X86ApicBus *bus, X86Apic *apic);
void x86_apic_bus_del(X86ApicBus *bus, X86Apic *apic);
/* As an LVT entry's interrupt. */
void x86_apic_deliver_local(X86Apic *apic, unsigned entry);
void x86_apic_deliver(X86Apic *apic, const X86ApicMessage *message);
void x86_apic_send_icr(X86Apic *apic, uint64_t icr);
/* LINT0 may have to be looked at again: its LVT entry or the base changed. */
void x86_apic_recheck_lint0(X86Apic *apic);
void x86_apic_bus_move_page(X86ApicBus *bus, uint64_t address);

/* apic-device.c: unrealized, for cpu, whose bus and id are set; one reference. */
X86Apic *x86_apic_new(X86Cpu *cpu);

/* apic-timer.c */
void x86_apic_timer_fired(void *opaque);
void x86_apic_timer_set_count(X86Apic *apic, uint32_t value);
uint32_t x86_apic_timer_get_count(X86Apic *apic);
void x86_apic_timer_set_divide(X86Apic *apic, uint32_t value);
void x86_apic_timer_set_lvt(X86Apic *apic, uint32_t value);
void x86_apic_timer_stop(X86Apic *apic);

#endif
