/*
 * The register page as a whole, for a local APIC whose other half is in the kernel: SDM volume 3
 * table 10-1, each register at the start of 16 bytes.
 */
#include <string.h>

#include "base/bits.h"
#include "cpu/x86/apic-internal.h"

#define REG(n) ((n) << 4)
enum {
    REG_ID = REG(0x02),
    REG_VERSION = REG(0x03),
    REG_TPR = REG(0x08),
    REG_LDR = REG(0x0d),
    REG_DFR = REG(0x0e),
    REG_SVR = REG(0x0f),
    REG_ISR = REG(0x10),
    REG_TMR = REG(0x18),
    REG_IRR = REG(0x20),
    REG_ESR = REG(0x28),
    REG_ICR = REG(0x30),
    REG_ICR_HIGH = REG(0x31),
    REG_LVT = REG(0x32),
    REG_INITIAL_COUNT = REG(0x38),
    REG_CURRENT_COUNT = REG(0x39),
    REG_DIVIDE = REG(0x3e),
};

#define LAPIC_VERSION 0x50014u /* six LVT entries, as the kernel's */

static uint32_t load(const uint8_t *page, unsigned reg)
{
    return ld32_le(page + reg);
}

static void store(uint8_t *page, unsigned reg, uint32_t value)
{
    st32_le(page + reg, value);
}

void x86_apic_from_page(X86Apic *a, const uint8_t *page)
{
    for (unsigned i = 0; i < X86_APIC_WORDS; i++) {
        a->isr[i] = load(page, REG_ISR + 16 * i);
        x86_apic_put(&a->tmr[i], load(page, REG_TMR + 16 * i));
        x86_apic_put(&a->irr[i], load(page, REG_IRR + 16 * i));
    }
    for (unsigned i = 0; i < X86_LVT_COUNT; i++) {
        x86_apic_put(&a->lvt[i], load(page, REG_LVT + 16 * i));
    }
    x86_apic_put(&a->tpr, load(page, REG_TPR));
    x86_apic_put(&a->ldr, load(page, REG_LDR));
    x86_apic_put(&a->dfr, load(page, REG_DFR));
    x86_apic_put(&a->svr, load(page, REG_SVR));
    a->esr = load(page, REG_ESR);
    a->icr = load(page, REG_ICR) | (uint64_t)load(page, REG_ICR_HIGH) << 32;
    a->divide = load(page, REG_DIVIDE);
    a->initial_count = load(page, REG_INITIAL_COUNT);
    a->current_count = load(page, REG_CURRENT_COUNT);
}

void x86_apic_to_page(X86Apic *a, uint8_t *page, bool long_ids)
{
    memset(page, 0, X86_APIC_PAGE_BYTES);
    store(page, REG_ID, x86_apic_is_x2apic(a) && long_ids ? a->id : a->id << 24);
    store(page, REG_VERSION, LAPIC_VERSION);
    for (unsigned i = 0; i < X86_APIC_WORDS; i++) {
        store(page, REG_ISR + 16 * i, a->isr[i]);
        store(page, REG_TMR + 16 * i, a->tmr[i]);
        store(page, REG_IRR + 16 * i, a->irr[i]);
    }
    for (unsigned i = 0; i < X86_LVT_COUNT; i++) {
        store(page, REG_LVT + 16 * i, a->lvt[i]);
    }
    store(page, REG_TPR, a->tpr);
    store(page, REG_LDR, a->ldr);
    store(page, REG_DFR, a->dfr);
    store(page, REG_SVR, a->svr);
    store(page, REG_ESR, a->esr);
    store(page, REG_ICR, (uint32_t)a->icr);
    store(page, REG_ICR_HIGH, (uint32_t)(a->icr >> 32));
    store(page, REG_DIVIDE, a->divide);
    store(page, REG_INITIAL_COUNT, a->initial_count);
    store(page, REG_CURRENT_COUNT, a->current_count);
}

void x86_apic_load(X86Apic *a, uint64_t base, uint8_t cr8)
{
    __atomic_store_n(&a->base, base, __ATOMIC_SEQ_CST);
    if (x86_apic_get(&a->tpr) >> 4 != (cr8 & 15)) {
        x86_apic_put(&a->tpr, (uint32_t)cr8 << 4);
    }
}

void x86_apic_load_tsc_deadline(X86Apic *a, uint64_t tsc)
{
    a->tsc_deadline = tsc;
}
