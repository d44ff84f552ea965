/*
 * The local APIC's priorities: IRR, ISR, TPR, EOI. SDM volume 3 sections 10.8.3 to 10.8.6. Compiled
 * for general registers only.
 */
#include "cpu/x86/apic-internal.h"

int x86_apic_highest(const uint32_t *words)
{
    for (int i = X86_APIC_WORDS - 1; i >= 0; i--) {
        uint32_t word = __atomic_load_n(&words[i], __ATOMIC_SEQ_CST);
        if (word) {
            return 32 * i + 31 - __builtin_clz(word);
        }
    }
    return -1;
}

static bool test_bit(const uint32_t *words, unsigned vector)
{
    return __atomic_load_n(&words[vector / 32], __ATOMIC_SEQ_CST) >> (vector % 32) & 1;
}

static void set_bit(uint32_t *words, unsigned vector)
{
    __atomic_or_fetch(&words[vector / 32], 1u << (vector % 32), __ATOMIC_SEQ_CST);
}

static void clear_bit(uint32_t *words, unsigned vector)
{
    __atomic_and_fetch(&words[vector / 32], ~(1u << (vector % 32)), __ATOMIC_SEQ_CST);
}

void x86_apic_post(X86Apic *apic, unsigned vector, bool level)
{
    if (vector < 16) {
        x86_apic_error(apic, X86_ESR_RECEIVE_VECTOR);
        return;
    }
    if (!(x86_apic_get(&apic->svr) & X86_APIC_SVR_ENABLE) || !x86_apic_is_enabled(apic)) {
        return;
    }
    if (level) {
        set_bit(apic->tmr, vector);
    } else {
        clear_bit(apic->tmr, vector);
    }
    set_bit(apic->irr, vector);
    cpu_request(&apic->cpu->parent, CPU_REQUEST_HARD);
}

uint32_t x86_apic_ppr(const X86Apic *apic)
{
    uint32_t tpr = x86_apic_get(&apic->tpr);
    int isr = x86_apic_highest(apic->isr);
    uint32_t in_service = isr < 0 ? 0 : (uint32_t)isr & 0xf0;
    return (tpr & 0xf0) >= in_service ? tpr : in_service;
}

int x86_apic_pending(X86Apic *apic)
{
    int vector = x86_apic_highest(apic->irr);
    if (vector < 0 || !x86_apic_is_enabled(apic) ||
        !(x86_apic_get(&apic->svr) & X86_APIC_SVR_ENABLE)) {
        return -1;
    }
    return ((uint32_t)vector & 0xf0) > (x86_apic_ppr(apic) & 0xf0) ? vector : -1;
}

int x86_apic_acknowledge(X86Apic *apic)
{
    int vector = x86_apic_pending(apic);
    if (vector >= 0) {
        clear_bit(apic->irr, vector);
        set_bit(apic->isr, vector);
    }
    return vector;
}

/* Something that held interrupts back is gone. On the vCPU's own thread: no kick needed. */
static void look_again(X86Apic *apic)
{
    if (x86_apic_pending(apic) >= 0) {
        __atomic_or_fetch(&apic->cpu->parent.requests, CPU_REQUEST_HARD, __ATOMIC_SEQ_CST);
    }
}

void x86_apic_eoi(X86Apic *apic)
{
    int vector = x86_apic_highest(apic->isr);
    if (vector < 0) {
        return;
    }
    clear_bit(apic->isr, vector);
    if (test_bit(apic->tmr, vector) && !(x86_apic_get(&apic->svr) & X86_APIC_SVR_SUPPRESS_EOI)) {
        x86_park_fpu(apic->cpu);
        x86_apic_broadcast_eoi(apic->bus, (uint8_t)vector);
    }
    look_again(apic);
}

uint8_t x86_apic_get_tpr(X86Apic *apic)
{
    return (uint8_t)x86_apic_get(&apic->tpr);
}

void x86_apic_set_tpr(X86Apic *apic, uint8_t tpr)
{
    x86_apic_put(&apic->tpr, tpr);
    look_again(apic);
}

bool x86_apic_extint_pending(X86Cpu *cpu)
{
    if (!cpu->apic_bus || !__atomic_load_n(&cpu->apic_bus->intr, __ATOMIC_SEQ_CST)) {
        return false;
    }
    if (!cpu->apic || !x86_apic_is_enabled(cpu->apic) || cpu->apic_bus->remote) {
        return x86_cpu_is_bsp(cpu);
    }
    uint32_t lvt = x86_apic_get(&cpu->apic->lvt[X86_LVT_LINT0]);
    return !(lvt & X86_LVT_MASKED) && X86_LVT_MODE(lvt) == X86_APIC_EXTINT;
}

void x86_apic_error(X86Apic *apic, uint32_t esr_bit)
{
    uint32_t lvt = x86_apic_get(&apic->lvt[X86_LVT_ERROR]);
    __atomic_or_fetch(&apic->esr_pending, esr_bit, __ATOMIC_SEQ_CST);
    /* An error vector that is itself illegal would err for ever. */
    if (!(lvt & X86_LVT_MASKED) && (lvt & X86_LVT_VECTOR) >= 16) {
        x86_apic_post(apic, lvt & X86_LVT_VECTOR, false);
    }
}
