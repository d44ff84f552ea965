/*
 * Model-specific registers, as rows. SDM volume 4, APM volume 2 appendix A.
 *
 * A row says where a range of registers lives in X86State and which bits can be written, or names
 * functions for those with effects. What no row knows raises #GP.
 */
#include <inttypes.h>

#include "base/log.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/system.h"

typedef struct MsrRow MsrRow;
struct MsrRow {
    uint32_t first, count;
    const char *name;
    size_t offset; /* in X86State of the first; a further one lies stride bytes on */
    size_t stride;
    uint64_t writable; /* other bits must be zero: #GP */
    uint64_t ignored;  /* bits that may be written as anything and read as they were */
    bool (*get)(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value);
    bool (*set)(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value);
    /* Feature that brings it; word X86_CPUID_WORDS: always there. */
    uint8_t word, bit;
    bool amd_only;
};

#define ALWAYS .word = X86_CPUID_WORDS
#define ANY    (~UINT64_C(0))

/* --- Registers with effects --- */

static bool get_constant(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value)
{
    *value = row->offset; /* the row's constant */
    return true;
}

static bool set_refused(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    return false;
}

static bool set_dropped(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    return true;
}

static bool get_tsc(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value)
{
    *value = x86_tsc_now(cpu);
    return true;
}

/* Writes of either register move the other: SDM volume 3 section 17.17.3. */
static bool set_tsc(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    uint64_t delta = value - x86_tsc_now(cpu);
    cpu->state.tsc_offset += delta;
    cpu->state.tsc_adjust += delta;
    return true;
}

static bool set_tsc_adjust(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    cpu->state.tsc_offset += value - cpu->state.tsc_adjust;
    cpu->state.tsc_adjust = value;
    return true;
}

static bool get_apic_base(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value)
{
    if (!cpu->apic) {
        return false;
    }
    *value = x86_apic_get_base(cpu->apic);
    return true;
}

static bool set_apic_base(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    return cpu->apic && x86_apic_set_base(cpu->apic, value);
}

static bool get_tsc_deadline(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value)
{
    if (!cpu->apic) {
        return false;
    }
    *value = x86_apic_get_tsc_deadline(cpu->apic);
    return true;
}

static bool set_tsc_deadline(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    if (!cpu->apic) {
        return false;
    }
    x86_apic_set_tsc_deadline(cpu->apic, value);
    return true;
}

static bool get_x2apic(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value)
{
    return cpu->apic && x86_apic_msr_read(cpu->apic, index, value);
}

static bool set_x2apic(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    return cpu->apic && x86_apic_msr_write(cpu->apic, index, value);
}

/* Eight memory types of a byte each; 2 and 3 and above 7 are reserved. */
static bool set_pat(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        unsigned type = value >> (8 * i) & 0xff;
        if (type > 7 || type == 2 || type == 3) {
            return false;
        }
    }
    cpu->state.pat = value;
    return true;
}

static bool set_canonical(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    if (!x86_is_canonical(&cpu->state, value)) {
        return false;
    }
    *(uint64_t *)((uint8_t *)&cpu->state + row->offset) = value;
    return true;
}

static bool set_efer(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    X86State *s = &cpu->state;
    uint64_t known = X86_EFER_LMA;
    known |= x86_has_feature(cpu, X86_CPUID_80000001_EDX, 11) ? X86_EFER_SCE : 0;
    known |= x86_has_feature(cpu, X86_CPUID_80000001_EDX, 29) ? X86_EFER_LME : 0;
    known |= x86_has_feature(cpu, X86_CPUID_80000001_EDX, 20) ? X86_EFER_NXE : 0;
    known |= x86_has_feature(cpu, X86_CPUID_80000001_EDX, 25) ? X86_EFER_FFXSR : 0;

    if ((value & ~known) || (((s->efer ^ value) & X86_EFER_LME) && (s->cr0 & X86_CR0_PG))) {
        return false;
    }
    uint64_t changed = s->efer ^ value;
    s->efer = (value & ~(uint64_t)X86_EFER_LMA) | (s->efer & X86_EFER_LMA);
    x86_update_mode(cpu);
    if ((changed & X86_EFER_NXE) && cpu->tlb.flush_all) {
        cpu->tlb.flush_all(cpu, true);
    }
    return true;
}

/* Base frequency in units of 100 MHz, bits 15:8. */
static bool get_platform_info(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value)
{
    *value = MIN_OF(cpu->tsc_hz / 100000000, 0xff) << 8;
    return true;
}

static bool get_microcode(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value)
{
    *value = cpu->is_amd ? 0x01000065 : UINT64_C(0x100000000);
    return true;
}

/* A memory type in an MTRR. */
static bool is_mtrr_type(unsigned type)
{
    return type == 0 || type == 1 || type == 4 || type == 5 || type == 6;
}

static bool set_mtrr_fixed(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        if (!is_mtrr_type(value >> (8 * i) & 0xff)) {
            return false;
        }
    }
    uint64_t *slot = (uint64_t *)((uint8_t *)&cpu->state + row->offset);
    slot[index - row->first] = value;
    return true;
}

static bool set_mtrr_def_type(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    if ((value & ~UINT64_C(0xcff)) || !is_mtrr_type(value & 0xff)) {
        return false;
    }
    cpu->state.mtrr_def_type = value;
    return true;
}

static bool set_mtrr_variable(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    uint64_t address = ((UINT64_C(1) << cpu->phys_bits) - 1) & ~UINT64_C(0xfff);
    unsigned n = (index - row->first) / 2;
    if (index & 1) {
        if (value & ~(address | 0x800)) {
            return false;
        }
        cpu->state.mtrr_var[n].mask = value;
    } else {
        if ((value & ~(address | 0xff)) || !is_mtrr_type(value & 0xff)) {
            return false;
        }
        cpu->state.mtrr_var[n].base = value;
    }
    return true;
}

static bool get_mtrr_variable(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t *value)
{
    unsigned n = (index - row->first) / 2;
    *value = index & 1 ? cpu->state.mtrr_var[n].mask : cpu->state.mtrr_var[n].base;
    return true;
}

/* Locked at reset with everything off: there is no VMX to enable. */
static bool set_feature_control(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    if (cpu->state.feature_control & 1) {
        return false;
    }
    cpu->state.feature_control = value;
    return true;
}

/* CTL may be anything that is all zeroes or all ones; STATUS, ADDR and MISC only cleared. */
static bool set_mc_bank(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    unsigned n = index - row->first;
    bool is_ctl = n % 4 == 0;
    if (is_ctl ? value != 0 && value != ANY : value != 0) {
        return false;
    }
    cpu->state.mc_banks[n] = value;
    return true;
}

/* Bit 0, IBPB: nothing to do. Predictors are the host's, which separates processes by itself. */
static bool set_pred_cmd(X86Cpu *cpu, const MsrRow *row, uint32_t index, uint64_t value)
{
    return !(value & ~UINT64_C(1));
}

/* --- The rows, by number --- */

#define STATE(member) .offset = offsetof(X86State, member), .stride = 8
#define CONSTANT(v)   .offset = (v), .get = get_constant
#define HAS(w, b)     .word = (w), .bit = (b)

static const MsrRow rows[] = {
    { 0x00, 2, "P5_MC", CONSTANT(0), .set = set_dropped, ALWAYS },
    { 0x10, 1, "TSC", .get = get_tsc, .set = set_tsc, HAS(X86_CPUID_1_EDX, 4) },
    { 0x17, 1, "PLATFORM_ID", CONSTANT(0), .set = set_refused, ALWAYS },
    { 0x1b, 1, "APIC_BASE", .get = get_apic_base, .set = set_apic_base, ALWAYS },
    { 0x2a, 1, "EBL_CR_POWERON", CONSTANT(0), .set = set_dropped, ALWAYS },
    { 0x34, 1, "SMI_COUNT", STATE(smi_count), .set = set_refused, ALWAYS },
    { 0x3a, 1, "FEATURE_CONTROL", STATE(feature_control), .set = set_feature_control, ALWAYS },
    { 0x3b, 1, "TSC_ADJUST", STATE(tsc_adjust), .set = set_tsc_adjust, HAS(X86_CPUID_7_0_EBX, 1) },
    { 0x48, 1, "SPEC_CTRL", STATE(spec_ctrl), .writable = 7, HAS(X86_CPUID_7_0_EDX, 26) },
    { 0x49, 1, "PRED_CMD", .get = NULL, .set = set_pred_cmd, HAS(X86_CPUID_7_0_EDX, 26) },
    { 0x79, 1, "BIOS_UPDT_TRIG", CONSTANT(0), .set = set_dropped, ALWAYS },
    { 0x8b, 1, "BIOS_SIGN_ID", .get = get_microcode, .set = set_dropped, ALWAYS },
    { 0xce, 1, "PLATFORM_INFO", .get = get_platform_info, .set = set_refused, ALWAYS },
    { 0xfe, 1, "MTRRcap", CONSTANT(0x508), .set = set_refused, HAS(X86_CPUID_1_EDX, 12) },
    { 0x10a, 1, "ARCH_CAPABILITIES", STATE(arch_capabilities), .set = set_refused,
      HAS(X86_CPUID_7_0_EDX, 29) },
    { 0x174, 1, "SYSENTER_CS", STATE(sysenter_cs), .writable = ANY, HAS(X86_CPUID_1_EDX, 11) },
    { 0x175, 1, "SYSENTER_ESP", STATE(sysenter_esp), .set = set_canonical,
      HAS(X86_CPUID_1_EDX, 11) },
    { 0x176, 1, "SYSENTER_EIP", STATE(sysenter_eip), .set = set_canonical,
      HAS(X86_CPUID_1_EDX, 11) },
    /* ten banks, and MCG_CTL */
    { 0x179, 1, "MCG_CAP", CONSTANT(0x10a), .set = set_refused, HAS(X86_CPUID_1_EDX, 14) },
    { 0x17a, 1, "MCG_STATUS", STATE(mcg_status), .writable = 7, HAS(X86_CPUID_1_EDX, 14) },
    { 0x17b, 1, "MCG_CTL", STATE(mcg_ctl), .writable = ANY, HAS(X86_CPUID_1_EDX, 14) },
    { 0x198, 1, "PERF_STATUS", CONSTANT(0), .set = set_refused, ALWAYS },
    { 0x199, 1, "PERF_CTL", CONSTANT(0), .set = set_dropped, ALWAYS },
    { 0x1a0, 1, "MISC_ENABLE", STATE(misc_enable), .writable = ANY, ALWAYS },
    /* No branch records and no branch stepping: the bits don't stick. */
    { 0x1d9, 1, "DEBUGCTL", STATE(debugctl), .ignored = 3, ALWAYS },
    { 0x1db, 4, "LASTBRANCH", CONSTANT(0), .set = set_refused, ALWAYS },
    { 0x200, 16, "MTRRphys", .get = get_mtrr_variable, .set = set_mtrr_variable,
      HAS(X86_CPUID_1_EDX, 12) },
    { 0x250, 1, "MTRRfix64K", STATE(mtrr_fixed[0]), .set = set_mtrr_fixed,
      HAS(X86_CPUID_1_EDX, 12) },
    { 0x258, 2, "MTRRfix16K", STATE(mtrr_fixed[1]), .set = set_mtrr_fixed,
      HAS(X86_CPUID_1_EDX, 12) },
    { 0x268, 8, "MTRRfix4K", STATE(mtrr_fixed[3]), .set = set_mtrr_fixed,
      HAS(X86_CPUID_1_EDX, 12) },
    { 0x277, 1, "PAT", STATE(pat), .set = set_pat, HAS(X86_CPUID_1_EDX, 16) },
    { 0x2ff, 1, "MTRRdefType", STATE(mtrr_def_type), .set = set_mtrr_def_type,
      HAS(X86_CPUID_1_EDX, 12) },
    { 0x400, 40, "MC", STATE(mc_banks), .set = set_mc_bank, HAS(X86_CPUID_1_EDX, 14) },
    { 0x6e0, 1, "TSC_DEADLINE", .get = get_tsc_deadline, .set = set_tsc_deadline,
      HAS(X86_CPUID_1_ECX, 24) },
    { 0x800, 0x100, "X2APIC", .get = get_x2apic, .set = set_x2apic, HAS(X86_CPUID_1_ECX, 21) },
    { 0xda0, 1, "XSS", STATE(xss), HAS(X86_CPUID_D_1_EAX, 3) }, /* no supervisor states */
    { 0xc0000080, 1, "EFER", STATE(efer), .set = set_efer, ALWAYS },
    { 0xc0000081, 1, "STAR", STATE(star), .writable = ANY, HAS(X86_CPUID_80000001_EDX, 11) },
    { 0xc0000082, 1, "LSTAR", STATE(lstar), .set = set_canonical, HAS(X86_CPUID_80000001_EDX, 29) },
    { 0xc0000083, 1, "CSTAR", STATE(cstar), .set = set_canonical, HAS(X86_CPUID_80000001_EDX, 29) },
    { 0xc0000084, 1, "FMASK", STATE(fmask), .writable = 0xffffffffu,
      HAS(X86_CPUID_80000001_EDX, 29) },
    { 0xc0000100, 1, "FS_BASE", STATE(seg[X86_FS].base), .set = set_canonical,
      HAS(X86_CPUID_80000001_EDX, 29) },
    { 0xc0000101, 1, "GS_BASE", STATE(seg[X86_GS].base), .set = set_canonical,
      HAS(X86_CPUID_80000001_EDX, 29) },
    { 0xc0000102, 1, "KERNEL_GS_BASE", STATE(kernel_gs_base), .set = set_canonical,
      HAS(X86_CPUID_80000001_EDX, 29) },
    { 0xc0000103, 1, "TSC_AUX", STATE(tsc_aux), .writable = 0xffffffffu,
      HAS(X86_CPUID_80000001_EDX, 27) },
    { 0xc0010010, 1, "SYSCFG", CONSTANT(0), .set = set_dropped, ALWAYS, .amd_only = true },
    { 0xc0010015, 1, "HWCR", STATE(hwcr), .writable = ANY, ALWAYS, .amd_only = true },
    { 0xc001001f, 1, "NB_CFG", CONSTANT(0), .set = set_dropped, ALWAYS, .amd_only = true },
    { 0xc0010055, 1, "INT_PENDING_MSG", CONSTANT(0), .set = set_dropped, ALWAYS, .amd_only = true },
    { 0xc0010058, 1, "MMIO_CONF_BASE", CONSTANT(0), .set = set_refused, ALWAYS, .amd_only = true },
    { 0xc0010111, 3, "SMM", CONSTANT(0), .set = set_refused, ALWAYS, .amd_only = true },
    /* VM_CR: SVM disabled and locked */
    { 0xc0010114, 1, "VM_CR", CONSTANT(0x18), .set = set_dropped, ALWAYS, .amd_only = true },
    { 0xc0010140, 2, "OSVW", CONSTANT(0), .set = set_refused, HAS(X86_CPUID_80000001_ECX, 9),
      .amd_only = true },
    { 0xc001100d, 1, "LOGICAL_CPUS", CONSTANT(0), .set = set_dropped, ALWAYS, .amd_only = true },
    { 0xc0011020, 4, "LS_IC_DC_CFG", CONSTANT(0), .set = set_dropped, ALWAYS, .amd_only = true },
    /* LFENCE is serializing */
    { 0xc0011029, 1, "DE_CFG", CONSTANT(2), .set = set_dropped, ALWAYS, .amd_only = true },
    { 0xc001102a, 1, "BU_CFG2", CONSTANT(0), .set = set_dropped, ALWAYS, .amd_only = true },
};

/* The row of an index that this CPU has. The rows are in ascending order. */
static const MsrRow *find(const X86Cpu *cpu, uint32_t index)
{
    size_t low = 0, high = ARRAY_LEN(rows);
    while (low < high) {
        size_t mid = (low + high) / 2;
        const MsrRow *row = &rows[mid];
        if (index < row->first) {
            high = mid;
        } else if (index >= row->first + row->count) {
            low = mid + 1;
        } else {
            bool there =
                (row->word == X86_CPUID_WORDS || x86_has_feature(cpu, row->word, row->bit)) &&
                (!row->amd_only || cpu->is_amd);
            return there ? row : NULL;
        }
    }
    return NULL;
}

static uint64_t *slot(X86Cpu *cpu, const MsrRow *row, uint32_t index)
{
    return (uint64_t *)((uint8_t *)&cpu->state + row->offset + (index - row->first) * row->stride);
}

bool x86_msr_get(X86Cpu *cpu, uint32_t index, uint64_t *value)
{
    const MsrRow *row = find(cpu, index);
    if (!row) {
        return false;
    }
    if (row->get) {
        return row->get(cpu, row, index, value);
    }
    if (!row->stride) {
        return false; /* write-only */
    }
    *value = *slot(cpu, row, index);
    return true;
}

bool x86_msr_set(X86Cpu *cpu, uint32_t index, uint64_t value)
{
    const MsrRow *row = find(cpu, index);
    if (!row) {
        return false;
    }
    if (row->set) {
        return row->set(cpu, row, index, value);
    }
    if (value & ~(row->writable | row->ignored)) {
        return false;
    }
    *slot(cpu, row, index) = value & row->writable;
    return true;
}

void x86_msr_load(X86Cpu *cpu, uint32_t index, uint64_t value)
{
    const MsrRow *row = find(cpu, index);
    if (!row) {
        return;
    }
    if (row->stride) {
        *slot(cpu, row, index) = value;
    } else if (row->set == set_mtrr_variable) {
        X86Mtrr *mtrr = &cpu->state.mtrr_var[(index - row->first) / 2];
        *(index & 1 ? &mtrr->mask : &mtrr->base) = value;
    }
}

static void require_cpl0(X86Cpu *cpu)
{
    if (x86_cpl(&cpu->state)) {
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

void x86_rdmsr(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    uint64_t value = 0;

    require_cpl0(cpu);
    x86_park_fpu(cpu);
    if (!x86_msr_get(cpu, (uint32_t)s->gpr[X86_RCX], &value)) {
        log_guest_error("CPU %d: RDMSR of unknown register 0x%x\n", cpu->parent.index,
                        (uint32_t)s->gpr[X86_RCX]);
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
    s->gpr[X86_RAX] = (uint32_t)value;
    s->gpr[X86_RDX] = value >> 32;
}

void x86_wrmsr_slow(X86Cpu *cpu, uint32_t index, uint64_t value)
{
    x86_park_fpu(cpu);
    if (!x86_msr_set(cpu, index, value)) {
        log_guest_error("CPU %d: WRMSR of 0x%" PRIx64 " to register 0x%x refused\n",
                        cpu->parent.index, value, index);
        x86_raise_error(cpu, X86_EXC_GP, 0);
    }
}

const char *x86_msr_name(uint32_t index)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (index >= rows[i].first && index < rows[i].first + rows[i].count) {
            return rows[i].name;
        }
    }
    return NULL;
}
