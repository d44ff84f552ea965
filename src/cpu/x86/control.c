/*
 * Control and debug registers, system flags. SDM volume 2 (MOV CR, MOV DR, LMSW, POPF, ...) and
 * volume 3 sections 2.5, 4.10.4, 17.2. Compiled for general registers only.
 */
#include "cpu/x86/apic.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/system.h"

static void require_cpl0(X86Cpu *cpu)
{
    if (x86_cpl(&cpu->state)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

NORETURN static void general_protection(X86Cpu *cpu)
{
    x86_raise_error(cpu, X86_EXC_GP, 0);
}

static void flush_all(X86Cpu *cpu, bool global_too)
{
    if (cpu->tlb.flush_all) {
        cpu->tlb.flush_all(cpu, global_too);
    }
}

/* --- CR0 --- */

/* Paging goes on or off: the checks, long mode, and the PAE entries. */
static void check_paging_change(X86Cpu *cpu, uint64_t value)
{
    X86State *s = &cpu->state;
    bool cs_long = s->seg[X86_CS].access & X86_SEG_L;

    if (value & X86_CR0_PG) {
        if (s->efer & X86_EFER_LME) {
            bool tss16 = !s->tr.unusable && (s->tr.access & X86_SEG_TYPE) == 3;
            if (!(s->cr4 & X86_CR4_PAE) || cs_long || tss16) {
                general_protection(cpu);
            }
        } else if ((s->cr4 & X86_CR4_PAE) && !x86_load_pdptes(cpu, s->cr3)) {
            general_protection(cpu);
        }
    } else if ((s->cr4 & X86_CR4_PCIDE) || (s->mode & X86_MODE_CS64)) {
        general_protection(cpu);
    }
}

static void write_cr0(X86Cpu *cpu, uint64_t value)
{
    X86State *s = &cpu->state;
    const uint64_t known = X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE |
                           X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG;
    if (value >> 32) {
        general_protection(cpu);
    }
    value = (value & known) | X86_CR0_ET;
    if (((value & X86_CR0_PG) && !(value & X86_CR0_PE)) ||
        ((value & X86_CR0_NW) && !(value & X86_CR0_CD))) {
        general_protection(cpu);
    }
    uint64_t changed = s->cr0 ^ value;
    if (changed & X86_CR0_PG) {
        check_paging_change(cpu, value);
        if (s->efer & X86_EFER_LME) {
            s->efer =
                value & X86_CR0_PG ? s->efer | X86_EFER_LMA : s->efer & ~(uint64_t)X86_EFER_LMA;
        }
    }
    s->cr0 = value;
    x86_update_mode(cpu);
    if (changed & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE)) {
        flush_all(cpu, true);
    }
}

/* --- CR3 --- */

#define CR3_NOFLUSH (UINT64_C(1) << 63)
#define CR3_PCID    0xfffu

static void write_cr3(X86Cpu *cpu, uint64_t value)
{
    X86State *s = &cpu->state;
    bool pcid = s->cr4 & X86_CR4_PCIDE;
    bool keep = pcid && (value & CR3_NOFLUSH);

    if (s->mode & X86_MODE_LMA) {
        if (pcid) {
            value &= ~CR3_NOFLUSH;
        }
        if (value >> cpu->phys_bits) {
            general_protection(cpu);
        }
    } else {
        value = (uint32_t)value;
        if ((s->cr4 & X86_CR4_PAE) && (s->cr0 & X86_CR0_PG) && !x86_load_pdptes(cpu, value)) {
            general_protection(cpu);
        }
    }
    s->cr3 = value;
    if (!keep) {
        if (pcid && cpu->tlb.flush_pcid) {
            cpu->tlb.flush_pcid(cpu, value & CR3_PCID);
        } else {
            flush_all(cpu, false);
        }
    }
    if (cpu->tlb.switch_space) {
        cpu->tlb.switch_space(cpu);
    }
}

/* --- CR4 --- */

/* Which feature a bit of CR4 belongs to; without the feature the bit is reserved. */
static const struct {
    uint32_t bit;
    uint8_t word, feature;
} cr4_features[] = {
    { X86_CR4_VME | X86_CR4_PVI, X86_CPUID_1_EDX, 1 },
    { X86_CR4_TSD, X86_CPUID_1_EDX, 4 },
    { X86_CR4_DE, X86_CPUID_1_EDX, 2 },
    { X86_CR4_PSE, X86_CPUID_1_EDX, 3 },
    { X86_CR4_PAE, X86_CPUID_1_EDX, 6 },
    { X86_CR4_MCE, X86_CPUID_1_EDX, 7 },
    { X86_CR4_PGE, X86_CPUID_1_EDX, 13 },
    { X86_CR4_OSFXSR, X86_CPUID_1_EDX, 24 },
    { X86_CR4_OSXMMEXCPT, X86_CPUID_1_EDX, 25 },
    { X86_CR4_UMIP, X86_CPUID_7_0_ECX, 2 },
    { X86_CR4_FSGSBASE, X86_CPUID_7_0_EBX, 0 },
    { X86_CR4_PCIDE, X86_CPUID_1_ECX, 17 },
    { X86_CR4_OSXSAVE, X86_CPUID_1_ECX, 26 },
    { X86_CR4_SMEP, X86_CPUID_7_0_EBX, 7 },
    { X86_CR4_SMAP, X86_CPUID_7_0_EBX, 20 },
    { X86_CR4_PKE, X86_CPUID_7_0_ECX, 3 },
};

static uint64_t cr4_known(const X86Cpu *cpu)
{
    uint64_t known = X86_CR4_PCE;
    for (unsigned i = 0; i < ARRAY_LEN(cr4_features); i++) {
        if (x86_has_feature(cpu, cr4_features[i].word, cr4_features[i].feature)) {
            known |= cr4_features[i].bit;
        }
    }
    return known;
}

static void write_cr4(X86Cpu *cpu, uint64_t value)
{
    X86State *s = &cpu->state;
    uint64_t changed = s->cr4 ^ value;

    if (value & ~cr4_known(cpu)) {
        general_protection(cpu);
    }
    if (s->mode & X86_MODE_LMA) {
        if (!(value & X86_CR4_PAE)) {
            general_protection(cpu);
        }
    } else if (value & X86_CR4_PCIDE) {
        general_protection(cpu);
    }
    if ((changed & value & X86_CR4_PCIDE) && (s->cr3 & CR3_PCID)) {
        general_protection(cpu);
    }
    /* SDM volume 3 section 4.4.1: these changes load the PAE entries again. */
    if ((changed & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP)) &&
        (value & X86_CR4_PAE) && (s->cr0 & X86_CR0_PG) && !(s->mode & X86_MODE_LMA) &&
        !x86_load_pdptes(cpu, s->cr3)) {
        general_protection(cpu);
    }
    s->cr4 = value;
    x86_update_mode(cpu);
    if (changed & (X86_CR4_PGE | X86_CR4_PAE | X86_CR4_PSE | X86_CR4_PCIDE | X86_CR4_SMEP |
                   X86_CR4_SMAP | X86_CR4_PKE)) {
        flush_all(cpu, true);
        if (cpu->tlb.switch_space) {
            cpu->tlb.switch_space(cpu);
        }
    }
}

uint64_t x86_read_cr(X86Cpu *cpu, unsigned n)
{
    const X86State *s = &cpu->state;
    require_cpl0(cpu);
    switch (n) {
    case 0:
        return s->cr0;
    case 2:
        return s->cr2;
    case 3:
        return s->cr3;
    case 4:
        return s->cr4;
    case 8:
        return cpu->apic ? x86_apic_get_tpr(cpu->apic) >> 4 : 0;
    default:
        x86_raise(cpu, X86_EXC_UD);
    }
}

void x86_write_cr(X86Cpu *cpu, unsigned n, uint64_t value)
{
    X86State *s = &cpu->state;
    require_cpl0(cpu);
    switch (n) {
    case 0:
        write_cr0(cpu, value);
        break;
    case 2:
        s->cr2 = value;
        break;
    case 3:
        write_cr3(cpu, value);
        break;
    case 4:
        write_cr4(cpu, value);
        break;
    case 8:
        if (value > 15) {
            general_protection(cpu);
        }
        if (cpu->apic) {
            x86_apic_set_tpr(cpu->apic, (uint8_t)(value << 4));
        }
        break;
    default:
        x86_raise(cpu, X86_EXC_UD);
    }
}

void x86_lmsw(X86Cpu *cpu, uint16_t value)
{
    uint64_t cr0 = cpu->state.cr0;
    require_cpl0(cpu);
    /* PE can be set, not cleared. */
    write_cr0(cpu, (cr0 & ~(uint64_t)(X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)) | (value & 0xf));
}

uint64_t x86_smsw(X86Cpu *cpu)
{
    const X86State *s = &cpu->state;
    if ((s->mode & X86_MODE_UMIP) && x86_cpl(s)) {
        general_protection(cpu);
    }
    return s->cr0;
}

void x86_clts(X86Cpu *cpu)
{
    require_cpl0(cpu);
    cpu->state.cr0 &= ~(uint64_t)X86_CR0_TS;
    x86_update_mode(cpu);
}

/* --- Debug registers --- */

#define DR6_FIXED_1  0xffff0ff0u
#define DR6_WRITABLE 0xe00fu
#define DR7_FIXED_1  0x400u
#define DR7_WRITABLE 0xffff23ffu
#define DR7_GD       0x2000u
#define DR6_BD       0x2000u

static unsigned check_dr(X86Cpu *cpu, unsigned n)
{
    X86State *s = &cpu->state;
    if (n > 7 || ((n == 4 || n == 5) && (s->cr4 & X86_CR4_DE))) {
        x86_raise(cpu, X86_EXC_UD);
    }
    require_cpl0(cpu);
    if (s->dr[7] & DR7_GD) {
        x86_raise_debug(cpu, DR6_BD, true);
    }
    return n == 4 || n == 5 ? n + 2 : n;
}

uint64_t x86_read_dr(X86Cpu *cpu, unsigned n)
{
    n = check_dr(cpu, n);
    return cpu->state.dr[n];
}

/* Does DR7 arm anything that isn't an instruction breakpoint? */
static bool arms_data(uint64_t dr7)
{
    for (unsigned i = 0; i < 4; i++) {
        if ((dr7 >> (2 * i) & 3) && (dr7 >> (16 + 4 * i) & 3)) {
            return true;
        }
    }
    return false;
}

void x86_write_dr(X86Cpu *cpu, unsigned n, uint64_t value)
{
    X86State *s = &cpu->state;
    uint64_t old_dr7 = s->dr[7];

    n = check_dr(cpu, n);
    if (n >= 6 && value >> 32) {
        general_protection(cpu);
    }
    if (n == 6) {
        value = DR6_FIXED_1 | (value & DR6_WRITABLE);
    } else if (n == 7) {
        value = DR7_FIXED_1 | (value & DR7_WRITABLE);
    }
    s->dr[n] = value;
    if (n != 6) {
        x86_update_mode(cpu);
        if (arms_data(old_dr7) || arms_data(s->dr[7])) {
            flush_all(cpu, true); /* pages with breakpoints leave or join the slow way */
        }
    }
}

/* --- Flags --- */

static unsigned iopl(const X86State *s)
{
    return (s->rflags & X86_IOPL) >> 12;
}

/* Do VIF and VIP stand in for IF? SDM volume 3 sections 20.3, 20.4. */
static bool virtual_interrupts(const X86State *s)
{
    return s->mode & X86_MODE_VM86 ? (s->cr4 & X86_CR4_VME) != 0
                                   : x86_cpl(s) == 3 && (s->cr4 & X86_CR4_PVI);
}

void x86_cli(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    if (iopl(s) >= x86_cpl(s)) {
        s->rflags &= ~(uint64_t)X86_IF;
    } else if (virtual_interrupts(s)) {
        s->rflags &= ~(uint64_t)X86_VIF;
    } else {
        general_protection(cpu);
    }
}

void x86_sti(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    if (iopl(s) >= x86_cpl(s)) {
        if (!(s->rflags & X86_IF)) {
            s->interrupt_shadow = 1;
        }
        s->rflags |= X86_IF;
    } else if (virtual_interrupts(s) && !(s->rflags & X86_VIP)) {
        s->rflags |= X86_VIF;
    } else {
        general_protection(cpu);
    }
}

static void set_ac(X86Cpu *cpu, bool ac)
{
    X86State *s = &cpu->state;
    if (x86_cpl(s) || !x86_has_feature(cpu, X86_CPUID_7_0_EBX, 20)) {
        x86_raise(cpu, X86_EXC_UD);
    }
    s->rflags = ac ? s->rflags | X86_AC : s->rflags & ~(uint64_t)X86_AC;
    x86_update_mode(cpu);
}

void x86_clac(X86Cpu *cpu)
{
    set_ac(cpu, false);
}

void x86_stac(X86Cpu *cpu)
{
    set_ac(cpu, true);
}

uint64_t x86_pushf_image(X86Cpu *cpu, unsigned opsize)
{
    const X86State *s = &cpu->state;
    uint64_t image = s->rflags & ~(uint64_t)(X86_VM | X86_RF);

    if ((s->mode & X86_MODE_VM86) && iopl(s) < 3) {
        if (!(s->cr4 & X86_CR4_VME) || opsize != 2) {
            general_protection(cpu);
        }
        image = (image & ~(uint64_t)X86_IF) | X86_IOPL;
        image |= s->rflags & X86_VIF ? X86_IF : 0;
    }
    return image;
}

void x86_popf_image(X86Cpu *cpu, uint64_t image, unsigned opsize)
{
    X86State *s = &cpu->state;
    uint64_t mask = X86_ARITH_FLAGS | X86_TF | X86_DFL | X86_NT | X86_AC | X86_ID;
    unsigned cpl = x86_cpl(s);

    if ((s->mode & X86_MODE_VM86) && iopl(s) < 3) {
        if (!(s->cr4 & X86_CR4_VME) || opsize != 2 || (image & X86_TF) ||
            ((image & X86_IF) && (s->rflags & X86_VIP))) {
            general_protection(cpu);
        }
        s->rflags = image & X86_IF ? s->rflags | X86_VIF : s->rflags & ~(uint64_t)X86_VIF;
    } else if (cpl <= iopl(s)) {
        mask |= X86_IF;
        if (cpl == 0) {
            mask |= X86_IOPL;
        }
    }
    if (opsize == 2) {
        mask &= 0xffff;
    }
    s->rflags = (s->rflags & ~mask & ~(uint64_t)X86_RF) | (image & mask) | 2;
    x86_update_mode(cpu);
}
