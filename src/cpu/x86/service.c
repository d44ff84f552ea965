/*
 * Between instructions: interrupts, NMI, INIT and SIPI; and what halts or ends a CPU. SDM volume 3
 * sections 6.8, 6.9 and 8.4.
 */
#include <sched.h>
#include <time.h>

#include "base/log.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/system.h"
#include "event/clock.h"
#include "object/lifecycle.h"

static uint32_t requests(const X86Cpu *cpu)
{
    return __atomic_load_n(&cpu->parent.requests, __ATOMIC_SEQ_CST);
}

static bool is_halted(const X86Cpu *cpu)
{
    return __atomic_load_n(&cpu->parent.halted, __ATOMIC_SEQ_CST);
}

static void set_halted(X86Cpu *cpu, bool halted)
{
    __atomic_store_n(&cpu->parent.halted, halted, __ATOMIC_SEQ_CST);
}

static bool interrupts_open(const X86State *s)
{
    return (s->rflags & X86_IF) && !s->interrupt_shadow;
}

/* INIT: registers to their reset values; application processors then wait for a SIPI. */
static void take_init(X86Cpu *cpu)
{
    /* A SIPI that came right behind stays. */
    cpu_clear_request(&cpu->parent, CPU_REQUEST_INIT | CPU_REQUEST_NMI);
    x86_reset_state(cpu, true);
    if (cpu->apic) {
        x86_apic_init_reset(cpu->apic);
    }
    cpu->state.wait_for_sipi = !x86_cpu_is_bsp(cpu);
    set_halted(cpu, cpu->state.wait_for_sipi);
}

/* Start at vector << 12 in real mode. */
static void take_sipi(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    cpu_clear_request(&cpu->parent, CPU_REQUEST_SIPI);
    if (!s->wait_for_sipi) {
        return;
    }
    uint8_t vector = __atomic_load_n(&s->sipi_vector, __ATOMIC_SEQ_CST);
    s->wait_for_sipi = false;
    s->seg[X86_CS].selector = (uint16_t)(vector << 8);
    s->seg[X86_CS].base = (uint64_t)vector << 12;
    s->rip = 0;
    set_halted(cpu, false);
    x86_update_mode(cpu);
}

/* HARD is cleared before looking, so that one that comes meanwhile sets it again. */
int x86_take_interrupt(X86Cpu *cpu)
{
    int vector = -1;

    cpu_clear_request(&cpu->parent, CPU_REQUEST_HARD);
    if (cpu->apic) {
        vector = x86_apic_acknowledge(cpu->apic);
    }
    if (vector < 0 && x86_apic_extint_pending(cpu)) {
        vector = x86_apic_extint_acknowledge(cpu);
    }
    /* More may be waiting. */
    if ((cpu->apic && x86_apic_pending(cpu->apic) >= 0) || x86_apic_extint_pending(cpu)) {
        __atomic_or_fetch(&cpu->parent.requests, CPU_REQUEST_HARD, __ATOMIC_SEQ_CST);
    }
    return vector;
}

void x86_take_resets(X86Cpu *cpu)
{
    uint32_t r = requests(cpu);
    if (r & CPU_REQUEST_INIT) {
        take_init(cpu);
    } else if (r & CPU_REQUEST_SIPI) {
        take_sipi(cpu);
    }
}

bool x86_service_requests(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    uint32_t r = requests(cpu);
    bool changed = false;

    x86_park_fpu(cpu);
    if (r & (CPU_REQUEST_POLL | CPU_REQUEST_SMI)) {
        /* There is no system management mode: an SMI has nobody to handle it. */
        if (r & CPU_REQUEST_SMI) {
            log_unimp("CPU %d: SMI: there is no system management mode\n", cpu->parent.index);
        }
        cpu_clear_request(&cpu->parent, CPU_REQUEST_POLL | CPU_REQUEST_SMI);
    }
    if (r & CPU_REQUEST_INIT) {
        take_init(cpu);
        return true;
    }
    if (r & CPU_REQUEST_SIPI) {
        take_sipi(cpu);
        changed = true;
    }
    if (s->wait_for_sipi) {
        return changed;
    }
    if ((r & CPU_REQUEST_NMI) && !s->nmi_blocked && s->interrupt_shadow != 2) {
        cpu_clear_request(&cpu->parent, CPU_REQUEST_NMI);
        set_halted(cpu, false);
        x86_deliver_interrupt(cpu, X86_EXC_NMI, true);
        return true;
    }
    if ((r & CPU_REQUEST_HARD) && interrupts_open(s)) {
        int vector = x86_take_interrupt(cpu);
        if (vector >= 0) {
            set_halted(cpu, false);
            x86_deliver_interrupt(cpu, (unsigned)vector, false);
            return true;
        }
    }
    return changed;
}

bool x86_has_work(X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    uint32_t r = requests(cpu);

    if (cpu->waits_in_accel) {
        return true;
    }
    if (r & CPU_REQUEST_INIT) {
        return true;
    }
    if (s->wait_for_sipi) {
        return r & CPU_REQUEST_SIPI;
    }
    if ((r & CPU_REQUEST_NMI) && !s->nmi_blocked) {
        return true;
    }
    return (r & CPU_REQUEST_HARD) && interrupts_open(s) &&
           ((cpu->apic && x86_apic_pending(cpu->apic) >= 0) || x86_apic_extint_pending(cpu));
}

void x86_triple_fault(X86Cpu *cpu)
{
    x86_park_fpu(cpu);
    log_item(LOG_CPU_RESET, "Triple fault on CPU %d\n", cpu->parent.index);
    set_halted(cpu, true);
    lifecycle_request_reset(SHUTDOWN_CAUSE_GUEST_RESET);
}

/* How long MWAIT gives way; a store to the monitored line is noticed this late at the worst. */
#define YIELD_NS (20 * NS_PER_US)

void x86_yield(X86Cpu *cpu)
{
    x86_park_fpu(cpu);
    if (!requests(cpu) && !is_halted(cpu)) {
        struct timespec wait = { .tv_nsec = YIELD_NS };
        nanosleep(&wait, NULL);
    }
}

uint64_t x86_tsc_from_clock(X86Cpu *cpu)
{
    x86_park_fpu(cpu);
    return (uint64_t)((unsigned __int128)clock_now(CLK_VIRTUAL) * cpu->tsc_hz / NS_PER_SECOND);
}

void x86_tsc_set(X86Cpu *cpu, uint64_t tsc)
{
    cpu->state.tsc_offset += tsc - x86_tsc_now(cpu);
}
