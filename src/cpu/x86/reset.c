/* Power-on, RESET and INIT: SDM volume 3 table 9-1. */
#include "base/log.h"
#include "cpu/x86/apic.h"
#include "cpu/x86/dump.h"
#include "cpu/x86/system.h"
#include "cpu/x86/xsave.h"

#define MISC_ENABLE_FAST_STRINGS 1u
#define PAT_RESET                UINT64_C(0x0007040600070406)
/* AMD: bit 24, the TSC counts at the P0 frequency. */
#define HWCR_RESET 0x01000000u

static void reset_segments(X86State *s)
{
    for (unsigned i = 0; i < X86_SEG_COUNT; i++) {
        /* Data, read and write, accessed. CS too: it is what real mode code runs in. */
        s->seg[i] = (X86Segment){ .limit = 0xffff, .access = X86_SEG_P | X86_SEG_S | 3 };
    }
    s->seg[X86_CS].access = X86_SEG_P | X86_SEG_S | 0xb;
    s->seg[X86_CS].selector = 0xf000;
    s->seg[X86_CS].base = 0xffff0000u;
    s->ldtr = (X86Segment){ .limit = 0xffff, .access = X86_SEG_P | 2 };
    s->tr = (X86Segment){ .limit = 0xffff, .access = X86_SEG_P | 11 };
    s->gdtr = (X86TableRegister){ .limit = 0xffff };
    s->idtr = (X86TableRegister){ .limit = 0xffff };
}

/* What RESET clears and INIT leaves alone. */
static void reset_msrs(X86Cpu *cpu)
{
    X86State *s = &cpu->state;

    s->star = s->lstar = s->cstar = s->fmask = s->kernel_gs_base = 0;
    s->sysenter_cs = s->sysenter_esp = s->sysenter_eip = 0;
    s->tsc_adjust = s->tsc_aux = 0;
    s->pat = PAT_RESET;
    s->misc_enable = MISC_ENABLE_FAST_STRINGS;
    s->debugctl = s->xss = s->smi_count = 0;
    s->mtrr_def_type = 0;
    memset(s->mtrr_fixed, 0, sizeof(s->mtrr_fixed));
    memset(s->mtrr_var, 0, sizeof(s->mtrr_var));
    s->mcg_status = 0;
    s->mcg_ctl = ~UINT64_C(0);
    memset(s->mc_banks, 0, sizeof(s->mc_banks));
    for (unsigned i = 0; i < ARRAY_LEN(s->mc_banks); i += 4) {
        s->mc_banks[i] = ~UINT64_C(0);
    }
    s->feature_control = 1; /* locked, nothing enabled */
    s->spec_ctrl = 0;
    s->hwcr = HWCR_RESET;
    memset(s->kvm_msrs, 0, sizeof(s->kvm_msrs));
    s->arch_capabilities = cpu->features[X86_CPUID_ARCH_CAPS];
    x86_xsave_reset(s);
    s->pkru = 0;
    if (cpu->tsc_hz) {
        x86_tsc_set(cpu, 0);
    }
}

/* What the CPU was doing before. */
static void log_state(X86Cpu *cpu, bool init)
{
    GString *text = g_string_new(NULL);
    x86_dump_registers(cpu, text);
    log_printf("CPU Reset (CPU %d)%s\n%s", cpu->parent.index, init ? " by INIT" : "", text->str);
    g_string_free(text, TRUE);
}

void x86_reset_state(X86Cpu *cpu, bool init)
{
    X86State *s = &cpu->state;

    x86_park_fpu(cpu);
    if (log_enabled(LOG_CPU_RESET)) {
        log_state(cpu, init);
    }
    memset(s->gpr, 0, sizeof(s->gpr));
    /* EDX is the processor's signature. */
    uint32_t leaf[4] = { 0 };
    if (cpu->vendor) {
        x86_cpuid_get(cpu, 1, 0, leaf);
    }
    s->gpr[X86_RDX] = leaf[0];
    s->rip = 0xfff0;
    s->rflags = 2;
    s->interrupt_shadow = 0;
    s->nmi_blocked = false;
    reset_segments(s);
    /* INIT keeps CD and NW. */
    uint64_t cache_bits = init ? s->cr0 & (X86_CR0_CD | X86_CR0_NW) : X86_CR0_CD | X86_CR0_NW;
    s->cr0 = X86_CR0_ET | cache_bits;
    s->cr2 = s->cr3 = s->cr4 = 0;
    memset(s->dr, 0, sizeof(s->dr));
    s->dr[6] = 0xffff0ff0;
    s->dr[7] = 0x400;
    s->efer = 0;
    memset(s->pdpte, 0, sizeof(s->pdpte));
    s->exception_pending = -1;
    s->exception_delivering = -1;
    s->interrupt_injected = -1;
    s->interrupt_soft = false;
    s->dr6_pending = 0;
    s->monitor_armed = false;
    if (!init) {
        s->xcr0 = 1;
        s->a20_mask = ~UINT64_C(0);
        s->wait_for_sipi = false;
        reset_msrs(cpu);
    }
    x86_update_mode(cpu);
    if (cpu->tlb.flush_all) {
        cpu->tlb.flush_all(cpu, true);
    }
    if (cpu->tlb.switch_space) {
        cpu->tlb.switch_space(cpu);
    }
}

#define MTRR_TYPE_UC 0x00
#define MTRR_TYPE_WP 0x05
#define MTRR_TYPE_WB 0x06
/* enabled, fixed ranges too, write-back where nothing else is said */
#define MTRR_DEF_TYPE  (0xc00 | MTRR_TYPE_WB)
#define EIGHT_OF(type) ((type)*UINT64_C(0x0101010101010101))

void x86_set_firmware_mtrrs(X86Cpu *cpu)
{
    X86State *s = &cpu->state;
    if (!x86_has_feature(cpu, X86_CPUID_1_EDX, 12)) {
        return;
    }
    /* 64 KiB ranges to 512 KiB, 16 KiB ranges to 640 KiB and over the video memory, then 4 KiB
     * ranges of what firmware leaves in the ROM area: SDM volume 3 table 11-9. */
    s->mtrr_fixed[0] = EIGHT_OF(MTRR_TYPE_WB);
    s->mtrr_fixed[1] = EIGHT_OF(MTRR_TYPE_WB);
    s->mtrr_fixed[2] = EIGHT_OF(MTRR_TYPE_UC);
    for (unsigned i = 3; i < ARRAY_LEN(s->mtrr_fixed); i++) {
        s->mtrr_fixed[i] = EIGHT_OF(MTRR_TYPE_WP);
    }
    /* The hole below 4 GiB, from where no board has RAM. */
    s->mtrr_var[0].base = 0xe0000000u | MTRR_TYPE_UC;
    s->mtrr_var[0].mask = (((UINT64_C(1) << cpu->phys_bits) - 1) & ~UINT64_C(0x1fffffff)) | 0x800;
    s->mtrr_def_type = MTRR_DEF_TYPE;
}
