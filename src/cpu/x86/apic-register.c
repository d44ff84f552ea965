/*
 * The local APIC's registers, as memory (xAPIC) and as MSRs (x2APIC). SDM volume 3 tables 10-1 and
 * 10-6.
 *
 * Registers are numbered as in both: offset >> 4, which is also the MSR's index - 0x800.
 */
#include "base/log.h"
#include "cpu/x86/apic-internal.h"
#include "cpu/x86/exception.h"

enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_RRD = 0x0c,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_CMCI = 0x2f,
    REG_ICR = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT = 0x32,
    REG_LVT_END = 0x38,
    REG_INITIAL_COUNT = 0x38,
    REG_CURRENT_COUNT = 0x39,
    REG_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};

/* Version 0x14, six LVT entries, EOI broadcasts can be suppressed. */
#define VERSION 0x01050014u

#define ICR_WRITABLE 0xcdfffu /* bit 12, delivery status, reads as idle */

/* What can be written of each LVT entry. */
static const uint32_t lvt_writable[X86_LVT_COUNT] = {
    [X86_LVT_TIMER] = 0x700ff, [X86_LVT_THERMAL] = 0x107ff, [X86_LVT_PERF] = 0x107ff,
    [X86_LVT_LINT0] = 0x1a7ff, [X86_LVT_LINT1] = 0x1a7ff,   [X86_LVT_ERROR] = 0x100ff,
};

static uint32_t x2apic_ldr(const X86Apic *apic)
{
    return apic->id >> 4 << 16 | 1u << (apic->id & 15);
}

/* --- Reading --- */

/* False: there is no such register. */
static bool read_register(X86Apic *apic, unsigned reg, uint32_t *value)
{
    bool x2 = x86_apic_is_x2apic(apic);

    if (reg >= REG_ISR && reg < REG_ISR + X86_APIC_WORDS) {
        *value = apic->isr[reg - REG_ISR];
        return true;
    }
    if (reg >= REG_TMR && reg < REG_TMR + X86_APIC_WORDS) {
        *value = x86_apic_get(&apic->tmr[reg - REG_TMR]);
        return true;
    }
    if (reg >= REG_IRR && reg < REG_IRR + X86_APIC_WORDS) {
        *value = x86_apic_get(&apic->irr[reg - REG_IRR]);
        return true;
    }
    if (reg >= REG_LVT && reg < REG_LVT_END) {
        *value = x86_apic_get(&apic->lvt[reg - REG_LVT]);
        return true;
    }
    switch (reg) {
    case REG_ID:
        *value = x2 ? apic->id : apic->id << 24;
        return true;
    case REG_VERSION:
        *value = VERSION;
        return true;
    case REG_TPR:
        *value = x86_apic_get(&apic->tpr);
        return true;
    case REG_APR:
    case REG_RRD:
        *value = 0;
        return !x2;
    case REG_PPR:
        *value = x86_apic_ppr(apic);
        return true;
    case REG_LDR:
        *value = x2 ? x2apic_ldr(apic) : x86_apic_get(&apic->ldr);
        return true;
    case REG_DFR:
        *value = x86_apic_get(&apic->dfr);
        return !x2;
    case REG_SVR:
        *value = x86_apic_get(&apic->svr);
        return true;
    case REG_ESR:
        *value = apic->esr;
        return true;
    case REG_ICR:
        *value = (uint32_t)apic->icr;
        return true;
    case REG_ICR_HIGH:
        *value = (uint32_t)(apic->icr >> 32);
        return !x2;
    case REG_INITIAL_COUNT:
        *value = apic->initial_count;
        return true;
    case REG_CURRENT_COUNT:
        *value = x86_apic_timer_get_count(apic);
        return true;
    case REG_DIVIDE:
        *value = apic->divide;
        return true;
    default:
        return false;
    }
}

/* --- Writing --- */

static void write_svr(X86Apic *apic, uint32_t value)
{
    value &= 0xff | X86_APIC_SVR_ENABLE | X86_APIC_SVR_FOCUS | X86_APIC_SVR_SUPPRESS_EOI;
    x86_apic_put(&apic->svr, value);
    if (!(value & X86_APIC_SVR_ENABLE)) {
        /* Section 10.4.7.2: software-disabled, all entries are masked. */
        for (unsigned i = 0; i < X86_LVT_COUNT; i++) {
            x86_apic_put(&apic->lvt[i], x86_apic_get(&apic->lvt[i]) | X86_LVT_MASKED);
        }
    }
}

static void write_lvt(X86Apic *apic, unsigned entry, uint32_t value)
{
    value &= lvt_writable[entry];
    if (!(x86_apic_get(&apic->svr) & X86_APIC_SVR_ENABLE)) {
        value |= X86_LVT_MASKED;
    }
    if (entry == X86_LVT_TIMER) {
        /* Mode 3 is reserved, deadline mode a feature. */
        bool has_deadline = x86_has_feature(apic->cpu, X86_CPUID_1_ECX, 24);
        if (!has_deadline || (value & X86_LVT_TIMER_MODE) == X86_LVT_TIMER_MODE) {
            value &= ~(uint32_t)X86_TIMER_DEADLINE;
        }
        x86_apic_timer_set_lvt(apic, value);
        return;
    }
    x86_apic_put(&apic->lvt[entry], value);
    if (entry == X86_LVT_LINT0) {
        x86_apic_recheck_lint0(apic);
    }
}

/* Both ways of writing; false: there is no such register, or it can't be written. */
static bool write_register(X86Apic *apic, unsigned reg, uint32_t value)
{
    if (reg >= REG_LVT && reg < REG_LVT_END) {
        write_lvt(apic, reg - REG_LVT, value);
        return true;
    }
    switch (reg) {
    case REG_TPR:
        x86_apic_set_tpr(apic, (uint8_t)value);
        return true;
    case REG_EOI:
        x86_apic_eoi(apic);
        return true;
    case REG_SVR:
        write_svr(apic, value);
        return true;
    case REG_ESR:
        /* A write makes what has been noted since the last one readable. */
        apic->esr = __atomic_exchange_n(&apic->esr_pending, 0, __ATOMIC_SEQ_CST);
        return true;
    case REG_INITIAL_COUNT:
        x86_apic_timer_set_count(apic, value);
        return true;
    case REG_DIVIDE:
        x86_apic_timer_set_divide(apic, value);
        return true;
    default:
        return false;
    }
}

/* --- xAPIC: memory --- */

uint32_t x86_apic_read(X86Apic *apic, uint32_t offset)
{
    uint32_t value = 0;
    if ((offset & 0xf) || !read_register(apic, offset >> 4 & 0xff, &value)) {
        x86_apic_error(apic, X86_ESR_REGISTER);
    }
    return value;
}

void x86_apic_write(X86Apic *apic, uint32_t offset, uint32_t value)
{
    unsigned reg = offset >> 4 & 0xff;
    if (offset & 0xf) {
        return;
    }
    switch (reg) {
    case REG_ID:
        break; /* fixed: the map of ids is the machine's */
    case REG_LDR:
        x86_apic_put(&apic->ldr, value & 0xff000000u);
        break;
    case REG_DFR:
        x86_apic_put(&apic->dfr, value | 0x0fffffffu);
        break;
    case REG_ICR_HIGH:
        apic->icr = (uint32_t)apic->icr | (uint64_t)(value & 0xff000000u) << 32;
        break;
    case REG_ICR:
        apic->icr = (apic->icr & ~UINT64_C(0xffffffff)) | (value & ICR_WRITABLE);
        x86_apic_send_icr(apic, apic->icr);
        break;
    default:
        if (!write_register(apic, reg, value)) {
            x86_apic_error(apic, X86_ESR_REGISTER);
        }
        break;
    }
}

/* --- x2APIC: MSRs --- */

bool x86_apic_msr_read(X86Apic *apic, uint32_t index, uint64_t *value)
{
    unsigned reg = index - 0x800;
    uint32_t v = 0;

    if (!x86_apic_is_x2apic(apic) || reg == REG_EOI || reg == REG_SELF_IPI) {
        return false;
    }
    if (reg == REG_ICR) {
        *value = apic->icr;
        return true;
    }
    if (!read_register(apic, reg, &v)) {
        return false;
    }
    *value = v;
    return true;
}

/* Bits of a register that may be set; others raise #GP. */
static uint64_t x2apic_writable(unsigned reg)
{
    if (reg >= REG_LVT && reg < REG_LVT_END) {
        return lvt_writable[reg - REG_LVT];
    }
    switch (reg) {
    case REG_TPR:
    case REG_SELF_IPI:
        return 0xff;
    case REG_EOI:
    case REG_ESR:
        return 0;
    case REG_SVR:
        return 0x13ff;
    case REG_ICR:
        return UINT64_C(0xffffffff00000000) | ICR_WRITABLE;
    case REG_DIVIDE:
        return 0xb;
    default:
        return 0xffffffffu;
    }
}

bool x86_apic_msr_write(X86Apic *apic, uint32_t index, uint64_t value)
{
    unsigned reg = index - 0x800;

    if (!x86_apic_is_x2apic(apic) || (value & ~x2apic_writable(reg))) {
        return false;
    }
    switch (reg) {
    case REG_ICR:
        apic->icr = value;
        x86_apic_send_icr(apic, value);
        return true;
    case REG_SELF_IPI:
        x86_apic_send_icr(apic, 0x40000 | value);
        return true;
    default:
        return write_register(apic, reg, (uint32_t)value);
    }
}

/* --- IA32_APIC_BASE --- */

uint64_t x86_apic_get_base(X86Apic *apic)
{
    return apic->base;
}

bool x86_apic_set_base(X86Apic *apic, uint64_t value)
{
    X86Cpu *cpu = apic->cpu;
    uint64_t address = ((UINT64_C(1) << cpu->phys_bits) - 1) & ~UINT64_C(0xfff);
    uint64_t known = address | X86_APIC_BASE_BSP | X86_APIC_BASE_ENABLE;
    bool had_x2 = apic->base & X86_APIC_BASE_X2APIC, x2 = value & X86_APIC_BASE_X2APIC;
    bool enable = value & X86_APIC_BASE_ENABLE;

    if (x86_has_feature(cpu, X86_CPUID_1_ECX, 21)) {
        known |= X86_APIC_BASE_X2APIC;
    }
    /* Figure 10-27: x2APIC is entered from the enabled xAPIC and left by disabling only. */
    if ((value & ~known) || (x2 && !enable) || (had_x2 && !x2 && enable) ||
        (x2 && !had_x2 && !(apic->base & X86_APIC_BASE_ENABLE))) {
        return false;
    }
    uint64_t old = apic->base;
    __atomic_store_n(&apic->base, value, __ATOMIC_SEQ_CST);
    if (x2 && !had_x2) {
        apic->icr &= 0xffffffffu;
    }
    if (!enable && (old & X86_APIC_BASE_ENABLE)) {
        x86_apic_init_reset(apic);
    }
    if ((old ^ value) & address) {
        x86_park_fpu(cpu);
        x86_apic_bus_move_page(apic->bus, value & address);
    }
    x86_apic_recheck_lint0(apic);
    return true;
}
