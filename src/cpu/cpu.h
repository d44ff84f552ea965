/*
 * A virtual CPU as the machine and the accelerators see it: a device with a thread, a request word
 * and a debugger's wishes. The architecture derives from it (cpu/x86/cpu.h).
 */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <pthread.h>

#include "bus/device.h"
#include "memory/memory.h"
#include "object/object.h"

#define TYPE_CPU "cpu"

typedef struct Cpu Cpu;
typedef struct CpuBreakpoint CpuBreakpoint;

/* Bits of Cpu.requests: set by any thread (cpu_request), looked at by the vCPU at block boundaries.
 */
enum {
    CPU_REQUEST_EXIT = 1 << 0, /* leave guest code: work is queued, pause, or just look */
    CPU_REQUEST_HARD = 1 << 1, /* level: external interrupt pending (PIC or local APIC) */
    CPU_REQUEST_NMI = 1 << 2,
    CPU_REQUEST_SMI = 1 << 3,
    CPU_REQUEST_INIT = 1 << 4,
    CPU_REQUEST_SIPI = 1 << 5,
    CPU_REQUEST_MCE = 1 << 6,
    CPU_REQUEST_POLL = 1 << 7,  /* local APIC: look at the timer and at posted messages */
    CPU_REQUEST_FLUSH = 1 << 8, /* another CPU or the memory core asks for a TLB flush */
    CPU_REQUEST_DEBUG = 1 << 9, /* stop for the debugger */
};

typedef enum CpuBreakpointKind {
    CPU_BREAK_SOFTWARE,
    CPU_BREAK_HARDWARE,
    CPU_WATCH_READ,
    CPU_WATCH_WRITE,
    CPU_WATCH_ACCESS
} CpuBreakpointKind;

typedef enum CpuStopReason {
    CPU_STOP_NONE,
    CPU_STOP_STEP,
    CPU_STOP_BREAKPOINT,
    CPU_STOP_WATCHPOINT,
} CpuStopReason;

typedef enum CpuDump {
    CPU_DUMP_REGISTERS, /* info registers */
    CPU_DUMP_TLB,       /* info tlb */
    CPU_DUMP_MEM,       /* info mem */
    CPU_DUMP_LAPIC,     /* info lapic */
} CpuDump;

/* A function for a vCPU's thread. */
typedef struct CpuWork {
    void (*fn)(Cpu *cpu, void *opaque);
    void *opaque;
    bool exclusive; /* runs while no other vCPU runs guest code */
    bool free;      /* g_free after running */
    bool done;      /* atomic */
    struct CpuWork *next;
} CpuWork;

struct Cpu {
    Device parent;

    int index;            /* from 0, in order of creation */
    AddressSpace *memory; /* borrowed */
    AddressSpace *io;     /* borrowed */

    /* Thread. Written by its owner once; read by all. */
    pthread_t thread;
    pid_t thread_id;
    bool thread_created;

    uint32_t requests; /* atomic CPU_REQUEST_* */

    /* Guarded by the machine lock. */
    bool created;   /* the thread is ready */
    bool stop;      /* wish: pause */
    bool stopped;   /* paused */
    bool unplug;    /* wish: end */
    unsigned holds; /* cpu_hold() less cpu_release() */
    bool halted;    /* waits for an interrupt; atomic: the accelerator reads it unlocked */
    bool crashed;
    CpuWork *work_first, **work_last;

    uint32_t wake; /* atomic: changes whenever a waiting vCPU should look again (futex) */

    /* The debugger's wishes (debug.h); changed while the vCPU is stopped. */
    GPtrArray *breakpoints; /* CpuBreakpoint, owned */
    bool watching;          /* watchpoints are among them */
    bool single_step;
    bool single_step_no_irq;
    bool held; /* machine lock: stays stopped when the machine goes on */
    /* Why the vCPU stopped for the debugger: the vCPU's thread, or others while it is stopped. */
    struct {
        CpuStopReason reason;
        CpuBreakpointKind kind;
        uint64_t addr; /* of the break- or watchpoint */
    } debug_stop;

    /* icount: instructions this vCPU has run; machine lock. */
    uint64_t instructions;
    /* Called before the vCPU's thread waits because it has halted, machine lock held. May
     * be NULL. */
    void (*before_idle)(Cpu *cpu);

    void *accel;            /* of the accelerator */
    void (*kick)(Cpu *cpu); /* of the accelerator: AccelClass.kick_vcpu without the search; may be
                               NULL */
};

struct CpuBreakpoint {
    CpuBreakpointKind kind;
    uint64_t addr; /* virtual, linear */
    uint64_t len;
};

typedef struct CpuClass {
    DeviceClass parent;
    void (*reset)(Cpu *cpu);
    uint64_t (*get_pc)(Cpu *cpu);
    void (*set_pc)(Cpu *cpu, uint64_t pc);
    /* Anything to do while halted? Called by the vCPU's thread with the machine lock held. */
    bool (*has_work)(Cpu *cpu);
    /* Virtual to physical with the CPU's present mode, for the debugger; false if not mapped. */
    bool (*debug_translate)(Cpu *cpu, uint64_t addr, hwaddr *phys);
    /* What people may ask about it; false if it has no such thing. State is current. */
    bool (*dump)(Cpu *cpu, CpuDump what, GString *out);
    /* The arch id: APIC id */
    uint64_t (*arch_id)(Cpu *cpu);
} CpuClass;

OBJECT_DECLARE_CLASS(CpuClass, cpu, TYPE_CPU)

/* All CPUs in order of index; machine lock held, or RCU. cpu_current(): this thread's, or NULL. */
unsigned cpu_count(void);
Cpu *cpu_by_index(unsigned index);
Cpu *cpu_current(void);
#define CPU_FOREACH(cpu) \
    for (unsigned cpu_i_ = 0; cpu_i_ < cpu_count() && ((cpu) = cpu_by_index(cpu_i_)); cpu_i_++)

/* Set request bits and make the vCPU look: wakes it when halted, kicks it out of guest code. Any
 * thread. */
void cpu_request(Cpu *cpu, uint32_t bits);
static inline void cpu_clear_request(Cpu *cpu, uint32_t bits)
{
    __atomic_and_fetch(&cpu->requests, ~bits, __ATOMIC_SEQ_CST);
}

/* Run fn on the vCPU's thread, between blocks, with the machine lock held. _wait returns when it
 * has run; at once when called on that thread. */
void cpu_run_on(Cpu *cpu, void (*fn)(Cpu *cpu, void *opaque), void *opaque);
void cpu_run_on_wait(Cpu *cpu, void (*fn)(Cpu *cpu, void *opaque), void *opaque);
/* As cpu_run_on(), while no other vCPU runs guest code. */
void cpu_run_exclusive(Cpu *cpu, void (*fn)(Cpu *cpu, void *opaque), void *opaque);

/* For accelerators' vCPU threads: handle work, pause, halt. Machine lock held; returns false when
 * the thread should end. */
bool cpu_wait_for_work(Cpu *cpu);
/* The thread's first and last act: makes it cpu_current(). */
void cpu_thread_enter(Cpu *cpu);
void cpu_thread_leave(Cpu *cpu);
/* Ask the thread to end; the accelerator joins it then, with the machine lock given up. */
void cpu_end_thread(Cpu *cpu);

/*
 * Exclusive sections: no other vCPU runs guest code. Guest code runs between cpu_exec_begin(),
 * which waits while somebody is exclusive, and cpu_exec_end(); a vCPU that is kicked passes through
 * both. cpu_exclusive_begin() is called outside such a bracket and without the machine lock;
 * whoever is kicked must come out without waiting for anything the caller holds.
 */
void cpu_exec_begin(Cpu *cpu);
void cpu_exec_end(Cpu *cpu);
void cpu_exclusive_begin(void);
void cpu_exclusive_end(void);
bool cpu_exclusive_wanted(void);

/* All vCPUs: pause returns when none runs guest code. Machine lock held (given up meanwhile). */
void cpu_pause_all(void);
void cpu_resume_all(void);

/* What the vCPU has just asked a device for takes its time: it runs no further guest code before
 * the release. It can be paused meanwhile. Machine lock held. */
void cpu_hold(Cpu *cpu);
void cpu_release(Cpu *cpu);

/*
 * Where the accelerator keeps the architectural state while guest code runs (KVM): make the CPU's
 * copy current, and the one that counts until the vCPU runs again; discard does the second alone,
 * for those who write all of it. Machine lock held.
 */
void cpu_synchronize_state(Cpu *cpu);
void cpu_discard_state(Cpu *cpu);

/* Virtual memory for debuggers and monitors: page by page, false at the first hole. */
MUST_CHECK bool cpu_debug_read(Cpu *cpu, uint64_t addr, void *buf, uint64_t len);
MUST_CHECK bool cpu_debug_write(Cpu *cpu, uint64_t addr, const void *buf, uint64_t len);

#endif
