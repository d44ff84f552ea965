/*
 * The local APIC, xAPIC and x2APIC. SDM volume 3 chapter 10.
 *
 * Threads. Any thread may deliver an interrupt: it sets a bit of IRR (and TMR) atomically and calls
 * cpu_request(). Everything else of an APIC (TPR, ISR, LVT, ICR, timer set-up) is touched only by
 * its own vCPU's thread, or while the vCPU is stopped. IPIs, EOI and the timer need no machine
 * lock. The timer fires in the main loop and touches only IRR and what timer_lock guards.
 */
#ifndef CPU_X86_APIC_H
#define CPU_X86_APIC_H

#include "cpu/x86/cpu.h"

#define TYPE_X86_APIC "apic"
/* Its registers are copies of those in the kernel. */
#define TYPE_KVM_APIC "kvm-apic"

/* Delivery modes of ICR, LVT, IOAPIC entries and MSI data. */
enum {
    X86_APIC_FIXED = 0,
    X86_APIC_LOWEST = 1,
    X86_APIC_SMI = 2,
    X86_APIC_NMI = 4,
    X86_APIC_INIT = 5,
    X86_APIC_SIPI = 6,
    X86_APIC_EXTINT = 7,
};

#define X86_MSI_BASE 0xfee00000u
#define X86_MSI_SIZE 0x100000u

/* An interrupt on its way over the system bus: what IOAPICs and MSI writes send. */
typedef struct X86ApicMessage {
    uint32_t destination; /* APIC id or logical mask; 0xff (xAPIC) and 0xffffffff: everybody */
    uint8_t vector;
    uint8_t mode; /* X86_APIC_FIXED ... */
    bool logical;
    bool level; /* level-triggered: EOI is told to the IOAPICs */
} X86ApicMessage;

/*
 * What the machine's APICs share: the map of ids, the MSI window at X86_MSI_BASE, and the hooks.
 * One exists per machine, made at the first use, below /machine.
 */
typedef struct X86ApicBus X86ApicBus;
X86ApicBus *x86_apic_bus(void); /* machine lock held */

/* Any thread. */
void x86_apic_send(X86ApicBus *bus, const X86ApicMessage *message);
/* An MSI write: the machine's address space does it by itself; irqfds and KVM call it. */
void x86_apic_send_msi(X86ApicBus *bus, uint64_t address, uint32_t data);

/*
 * Local APICs that are not here but in the kernel (KVM): messages go there, and it is told what our
 * I/O APIC's entries stand for, as messages. NULL: they are here. Machine lock held, before there
 * are CPUs.
 */
typedef struct X86ApicRemote {
    void (*send_msi)(void *opaque, uint64_t address, uint32_t data); /* any thread */
    void (*route_changed)(void *opaque, unsigned pin, bool masked, uint64_t address, uint32_t data);
} X86ApicRemote;
void x86_apic_bus_set_remote(X86ApicBus *bus, const X86ApicRemote *remote, void *opaque);
/* An I/O APIC's entry is another. */
void x86_apic_bus_route_changed(X86ApicBus *bus, unsigned pin, bool masked,
                                const X86ApicMessage *message);

/* EOI of a level-triggered vector, on the vCPU's thread without the machine lock. Up to 8 IOAPICs.
 */
typedef void X86ApicEoiFn(void *opaque, uint8_t vector);
void x86_apic_bus_add_eoi_hook(X86ApicBus *bus, X86ApicEoiFn *fn, void *opaque);
void x86_apic_bus_del_eoi_hook(X86ApicBus *bus, X86ApicEoiFn *fn, void *opaque);

/* The hooks are called. Where the local APICs are in the kernel, the accelerator does that. */
void x86_apic_broadcast_eoi(X86ApicBus *bus, uint8_t vector);

/* The 8259's INTR output, on LINT0 of all CPUs (virtual wire mode; or straight to the bootstrap
 * processor where it has no enabled APIC). The PIC's owner calls it with the level; acknowledge()
 * is called with the machine lock held and returns the vector. */
void x86_apic_bus_set_intr(X86ApicBus *bus, int level);
void x86_apic_bus_set_pic(X86ApicBus *bus, int (*acknowledge)(void *opaque), void *opaque);
/* The NMI line, LINT1. */
void x86_apic_bus_set_nmi(X86ApicBus *bus, int level);

/* --- The CPU's side: own thread --- */

/* The highest vector that could be delivered now, or -1. Looks at IRR and PPR only. Fast. */
int x86_apic_pending(X86Apic *apic);
/* Take it: IRR to ISR. Returns the vector, or -1 if it went away. Fast. */
int x86_apic_acknowledge(X86Apic *apic);
/* Is the PIC's interrupt to be taken by this CPU? Fast. */
bool x86_apic_extint_pending(X86Cpu *cpu);
int x86_apic_extint_acknowledge(X86Cpu *cpu);
uint8_t x86_apic_get_tpr(X86Apic *apic); /* CR8 is bits 7:4. Fast. */
void x86_apic_set_tpr(X86Apic *apic, uint8_t tpr);

/* RDMSR and WRMSR 0x800-0x8ff; false: #GP. Fast for EOI, ICR, TPR, self IPI. */
MUST_CHECK bool x86_apic_msr_read(X86Apic *apic, uint32_t index, uint64_t *value);
MUST_CHECK bool x86_apic_msr_write(X86Apic *apic, uint32_t index, uint64_t value);
uint64_t x86_apic_get_base(X86Apic *apic);
MUST_CHECK bool x86_apic_set_base(X86Apic *apic, uint64_t value); /* IA32_APIC_BASE; false: #GP */
uint64_t x86_apic_get_tsc_deadline(X86Apic *apic);
void x86_apic_set_tsc_deadline(X86Apic *apic, uint64_t tsc);

/* A local APIC whose other half is in the kernel: all registers as their page has them (long_ids:
 * x2APIC ids take all of their register), base and CR8, the TSC deadline. No effects. Own thread.
 */
#define X86_APIC_PAGE_BYTES 1024
void x86_apic_from_page(X86Apic *apic, const uint8_t *page);
void x86_apic_to_page(X86Apic *apic, uint8_t *page, bool long_ids);
void x86_apic_load(X86Apic *apic, uint64_t base, uint8_t cr8);
void x86_apic_load_tsc_deadline(X86Apic *apic, uint64_t tsc);

/* INIT: all but id and base. */
void x86_apic_init_reset(X86Apic *apic);
void x86_apic_dump(X86Apic *apic, GString *out); /* info lapic */

/* Register access at an offset of the xAPIC page, as the CPU does it. */
uint32_t x86_apic_read(X86Apic *apic, uint32_t offset);
void x86_apic_write(X86Apic *apic, uint32_t offset, uint32_t value);

#endif
