#include "cpu/debug.h"

#include "accel/accel.h"
#include "event/lock.h"

/* Watchpoints longer than a page would make every access slow. */
#define WATCH_BYTES_MAX 4096

/* The debugger of this process's machine. Machine lock. */
static CpuDebugFn *debug_fn;
static void *debug_opaque;

static void changed(Cpu *cpu)
{
    Accel *accel = accel_current();
    cpu->watching = cpu_breakpoint_find(cpu, 0, UINT64_MAX, CPU_WATCH_KINDS) != NULL;
    if (accel && accel_class_of(accel)->update_debug) {
        accel_class_of(accel)->update_debug(accel, cpu);
    }
}

bool cpu_breakpoint_insert(Cpu *cpu, CpuBreakpointKind kind, uint64_t addr, uint64_t len,
                           Error **errp)
{
    ASSERT_MACHINE_LOCKED();
    bool watch = 1u << kind & CPU_WATCH_KINDS;
    if (watch && (len == 0 || len > WATCH_BYTES_MAX)) {
        error_set(errp, "a watchpoint covers 1 to %d bytes", WATCH_BYTES_MAX);
        return false;
    }
    if (cpu->breakpoints->len == CPU_BREAKPOINTS_MAX) {
        error_set(errp, "CPU %d: more than %d breakpoints can't be had", cpu->index,
                  CPU_BREAKPOINTS_MAX);
        return false;
    }
    CpuBreakpoint *b = g_new(CpuBreakpoint, 1);
    *b = (CpuBreakpoint){ .kind = kind, .addr = addr, .len = watch ? len : 1 };
    g_ptr_array_add(cpu->breakpoints, b);
    changed(cpu);
    return true;
}

bool cpu_breakpoint_remove(Cpu *cpu, CpuBreakpointKind kind, uint64_t addr, uint64_t len)
{
    ASSERT_MACHINE_LOCKED();
    bool watch = 1u << kind & CPU_WATCH_KINDS;
    for (unsigned i = 0; i < cpu->breakpoints->len; i++) {
        const CpuBreakpoint *b = cpu->breakpoints->pdata[i];
        if (b->kind == kind && b->addr == addr && (!watch || b->len == len)) {
            g_ptr_array_remove_index_fast(cpu->breakpoints, i);
            changed(cpu);
            return true;
        }
    }
    return false;
}

void cpu_breakpoints_clear(Cpu *cpu)
{
    ASSERT_MACHINE_LOCKED();
    if (cpu->breakpoints->len) {
        g_ptr_array_set_size(cpu->breakpoints, 0);
        changed(cpu);
    }
}

void cpu_set_single_step(Cpu *cpu, bool on, bool no_irq)
{
    ASSERT_MACHINE_LOCKED();
    if (cpu->single_step != on || cpu->single_step_no_irq != no_irq) {
        cpu->single_step = on;
        cpu->single_step_no_irq = no_irq;
        changed(cpu);
    }
}

void cpu_set_held(Cpu *cpu, bool held)
{
    ASSERT_MACHINE_LOCKED();
    cpu->held = held;
}

void cpu_state_changed(Cpu *cpu)
{
    Accel *accel = accel_current();
    if (accel && accel_class_of(accel)->state_changed) {
        accel_class_of(accel)->state_changed(accel, cpu);
    }
}

void cpu_debug_report(Cpu *cpu)
{
    ASSERT_MACHINE_LOCKED();
    if (!debug_fn) {
        cpu->debug_stop.reason = CPU_STOP_NONE;
        return;
    }
    cpu->stop = true;
    debug_fn(cpu, debug_opaque);
}

void cpu_set_debug_fn(CpuDebugFn *fn, void *opaque)
{
    ASSERT_MACHINE_LOCKED();
    debug_fn = fn;
    debug_opaque = opaque;
}
