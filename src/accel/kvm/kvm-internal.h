/*
 * The accelerator "kvm": what its files share. docs/kvm.md describes the data and who owns it.
 *
 *   kvm-accel.c    the object, its properties, set-up and teardown of the VM
 *   kvm-probe.c    can this host run a guest? A few instructions in each mode
 *   kvm-vcpu.c     vCPU threads: kicks, the run loop, what guest code exits for
 *   kvm-cpuid.c    CPU features and CPUID
 *   kvm-state.c    registers, both ways; kvm-msr.c MSRs; kvm-lapic.c the local APIC in the kernel
 *   kvm-memory.c   memory slots, coalesced writes, ioeventfds; kvm-dirty.c dirty logs
 *   kvm-irq.c      interrupt controllers in the kernel, routes, messages, irqfds
 *   kvm-debug.c    break- and watchpoints, single step
 *   kvm-stats.c    the kernel's binary statistics
 */
#ifndef ACCEL_KVM_KVM_INTERNAL_H
#define ACCEL_KVM_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>

#include "accel/accel.h"
#include "accel/kvm/kvm.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/cpu.h"
#include "memory/memory.h"

#define TYPE_KVM_ACCEL "kvm-accel"

/* Slots are asked for 4 KiB pages; so are the dirty logs. */
#define KVM_PAGE_BITS DIRTY_PAGE_BITS
#define KVM_PAGE_SIZE (UINT64_C(1) << KVM_PAGE_BITS)

/* Interrupts of the I/O APIC; further GSIs are for message routes. */
#define KVM_IOAPIC_GSIS IOAPIC_GSIS
#define IOAPIC_GSIS     24
#define KVM_MAX_GSIS    1024

/* Sent to a vCPU's thread to end KVM_RUN. */
#define KVM_KICK_SIGNAL SIGUSR1

typedef struct Kvm Kvm;
typedef struct KvmCpu KvmCpu;
typedef struct KvmAccel KvmAccel;

/* A range of guest-physical addresses that shows RAM. */
typedef struct KvmSlot {
    uint64_t gpa, size; /* bytes */
    uint8_t *host;
    RamBlock *block;     /* reference */
    uint64_t ram_offset; /* of host in block, bytes */
    bool readonly, log;
    int id;                  /* of the kernel's slot; -1: not made yet */
    unsigned long *reported; /* owned; log_lock: kvm-dirty.c */
} KvmSlot;

/* What KVM_CHECK_EXTENSION said, where it is looked at more than once. Constant after set-up. */
typedef struct KvmCaps {
    int memory_slots;
    int max_vcpus, max_vcpu_id;
    int coalesced_page; /* of the vCPU's mapping; 0: no coalescing */
    bool coalesced_pio;
    bool readonly_memory;
    bool ioeventfd, ioeventfd_any_length;
    bool irqfd, irqfd_resample, irq_routing, signal_msi;
    bool manual_protect, initially_set;
    bool sregs2, tsc_control, kvmclock, stats, adjust_clock, kvmclock_ctrl;
    bool triple_fault_event, guest_debug;
    int max_gsis;
} KvmCaps;

/* The virtual machine. */
struct Kvm {
    int fd, vm;    /* /dev/kvm, the VM */
    int run_bytes; /* of a vCPU's mapping */
    KvmCaps caps;
    AccelIrqchip irqchip;
    uint32_t ring_entries; /* of the dirty ring of a vCPU; 0: bitmaps */
    GPtrArray *cpus;       /* KvmCpu, borrowed; machine lock */

    /* Memory: machine lock; the list of slots is changed with log_lock held too. */
    MemoryListener memory_listener, io_listener;
    bool listening;
    GArray *slots;     /* KvmSlot, by rising address */
    GArray *next;      /* being collected between begin and commit */
    uint8_t *slot_ids; /* 1: in use */
    int slots_used;
    bool out_of_slots;        /* reported */
    uint64_t total_slots;     /* made so far */
    pthread_mutex_t log_lock; /* kvm-dirty.c */
    uint64_t ring_reaped;     /* entries so far; log_lock */
    bool flushing;            /* the coalesced queue is being emptied */

    /* While inhibited, no vCPU enters the guest. run_lock guards it together with run_cond; read
     * without it on the way in (see kvm_run_once()). */
    bool inhibited; /* atomic */
    pthread_mutex_t run_lock;
    pthread_cond_t run_cond;

    /* Routes: irq_lock, innermost. */
    pthread_mutex_t irq_lock;
    struct kvm_irq_routing_entry *routes;
    unsigned route_count, route_room;
    uint64_t gsi_used[KVM_MAX_GSIS / 64];
    bool x2apic_ids; /* registers and messages have ids of 32 bits */

    /* kvmclock: machine lock. */
    struct VmStateHandler *clock_handler;
    uint64_t clock; /* ns, while the machine stands */
    bool clock_valid;

    GHashTable *refused_msrs; /* index; one warning each. run_lock */
    uint32_t *msr_list;
    unsigned msr_count;
    struct kvm_cpuid2 *cpuid; /* what the kernel supports */
    GArray *breakpoints;      /* KvmBreakpoint, of kvm-debug.c; vCPUs stopped or machine lock */
};

/* What one vCPU did: shown by query-stats beside the kernel's own numbers. Written by its thread.
 */
typedef struct KvmCounters {
    uint64_t exits, pio, mmio, halts, interrupts, kicks;
} KvmCounters;

struct KvmCpu {
    Kvm *kvm;
    X86Cpu *cpu;
    int fd;
    struct kvm_run *run; /* mapped */
    struct kvm_coalesced_mmio_ring *coalesced;
    struct kvm_dirty_gfn *ring; /* NULL: no dirty ring */
    uint32_t ring_next;         /* log_lock */

    /*
     * Who has the registers: true: X86Cpu.state and X86Apic are the truth, and the kernel gets them
     * before the vCPU runs next. Own thread, or machine lock while the vCPU is stopped.
     */
    bool ours;
    /* The local APIC in the kernel is to get ours: reset or loaded. Not after a mere look: an
     * interrupt that comes meanwhile would be lost. As `ours`. */
    bool lapic_ours;
    bool tsc_written;    /* the TSC's offset was changed by us: the kernel is to have it */
    uint64_t tsc_offset; /* as last taken from the kernel */

    bool kicked;  /* atomic: a signal is on its way, or was not needed */
    bool running; /* atomic: between the look at kvm->inhibited and the return of KVM_RUN */
    KvmCounters counters;
};

struct KvmAccel {
    Accel parent;
    Kvm *kvm;
    AccelIrqchipWish kernel_irqchip; /* property; AUTO: as the machine says */
    uint32_t dirty_ring_size;
    char *device;      /* property: the device node */
    pthread_t cleaner; /* of the probe; valid with has_cleaner */
    bool has_cleaner;
};

/* ioctls, repeated while interrupted; -errno where it fails. */
int kvm_ioctl(const Kvm *kvm, unsigned long request, void *arg);
int kvm_vm_ioctl(const Kvm *kvm, unsigned long request, void *arg);
int kvm_vcpu_ioctl(const KvmCpu *k, unsigned long request, void *arg);
int kvm_check(const Kvm *kvm, int cap); /* of the VM; 0: not there */
int kvm_enable_cap(const Kvm *kvm, uint32_t cap, uint64_t arg0);

/* The current machine's, NULL if the accelerator is another. */
Kvm *kvm_current(void);

/* kvm-probe.c: one line why if a guest can't run here; leaves nothing behind. device: its node.
 * mips: how fast kernel-mode code runs, in millions of instructions a second. What was made for a
 * try that went well is taken apart by a thread that the caller joins. */
MUST_CHECK bool kvm_probe(const char *device, double *mips, pthread_t *cleaner, Error **errp);
/* Below this an operating system's boot takes minutes; hardware is a thousand times faster. */
#define KVM_USEFUL_MIPS 20

/* kvm-vcpu.c */
MUST_CHECK bool kvm_vcpu_create(Kvm *kvm, Cpu *cpu, Error **errp);
void kvm_vcpu_destroy(Kvm *kvm, Cpu *cpu);
void kvm_kick(Cpu *cpu);
/* No vCPU runs guest code from the return on, until allowed again. Machine lock held. */
void kvm_inhibit(Kvm *kvm);
void kvm_allow(Kvm *kvm);
void kvm_install_kick_handler(void);
/* Stop the machine over something that is not the guest's fault; registers go to stderr. Any
 * thread with the machine lock. */
void kvm_internal_error(KvmCpu *k, const char *what);

/* kvm-cpuid.c */
MUST_CHECK bool kvm_cpuid_init(Kvm *kvm, Error **errp);
void kvm_cpuid_finish(Kvm *kvm);
MUST_CHECK bool kvm_cpuid_set(KvmCpu *k, Error **errp);
/* KVM's own features that the guest is told of: CPUID 0x40000001 EAX. */
uint32_t kvm_cpuid_features(const KvmCpu *k);

/* kvm-state.c: whole states; own thread, or the vCPU has none yet. False: one line was reported. */
bool kvm_get_state(KvmCpu *k);
bool kvm_put_state(KvmCpu *k);
/* Before devices may interrupt: local APICs that were reset or loaded. Machine lock, vCPUs stopped.
 */
void kvm_put_lapics(Kvm *kvm);
/* The general registers and flags alone, for reports. */
void kvm_synchronize(Cpu *cpu);

/* kvm-msr.c */
MUST_CHECK bool kvm_msr_init(Kvm *kvm, Error **errp);
void kvm_msr_finish(Kvm *kvm);
bool kvm_get_msrs(KvmCpu *k);
bool kvm_put_msrs(KvmCpu *k);
void kvm_clock_init(Kvm *kvm);
void kvm_clock_finish(Kvm *kvm);

/* kvm-lapic.c */
bool kvm_get_lapic(KvmCpu *k);
bool kvm_put_lapic(KvmCpu *k);

/* kvm-memory.c */
void kvm_memory_init(Kvm *kvm);
/* From the first time on that a CPU runs: slots are made once for the finished board, and changing
 * them is slow. Machine lock held. */
void kvm_memory_listen(Kvm *kvm, Cpu *cpu);
void kvm_memory_unlisten(Kvm *kvm);
void kvm_memory_finish(Kvm *kvm);
/* Deliver what the kernel queued. Machine lock held. */
void kvm_flush_coalesced(Kvm *kvm);
/* The slot that holds a guest page; NULL: none. */
KvmSlot *kvm_slot_by_id(Kvm *kvm, unsigned id);

/* kvm-dirty.c */
void kvm_dirty_hooks(Kvm *kvm, MemoryListener *l);
/* A slot's log begins. log_lock held. */
void kvm_dirty_begin(Kvm *kvm, KvmSlot *slot);
/* Hear of cleared bits, or no longer. */
void kvm_dirty_listen(Kvm *kvm, bool on);
/* Bring a slot's log up to date before it goes. log_lock held. */
void kvm_dirty_sync_slot(Kvm *kvm, KvmSlot *slot);
/* Empty the dirty rings of all vCPUs. Machine lock held. */
void kvm_dirty_reap(Kvm *kvm);
MUST_CHECK bool kvm_dirty_ring_map(KvmCpu *k, Error **errp);

/* kvm-irq.c */
MUST_CHECK bool kvm_irq_init(Kvm *kvm, Error **errp);
void kvm_irq_finish(Kvm *kvm);
void kvm_irq_class_init(AccelClass *ac);

/* kvm-stats.c: AccelClass.stats */
bool kvm_stats(Accel *accel, Cpu *cpu, AccelStatFn *fn, void *opaque, Error **errp);

/* kvm-debug.c */
void kvm_update_debug(Accel *accel, Cpu *cpu);
/* KVM_EXIT_DEBUG; machine lock not held. True: the guest goes on. */
bool kvm_handle_debug(KvmCpu *k);
void kvm_debug_finish(Kvm *kvm);

#endif
