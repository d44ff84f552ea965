/* State description of a CPU. Its local APIC is a device with a description of its own. */
#include "cpu/x86/vmstate.h"

#include "cpu/x86/system.h"

static const VmState segment_vmstate = {
    .name = "x86-segment",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT64(base, X86Segment),
            VMSTATE_UINT32(limit, X86Segment),
            VMSTATE_UINT32(access, X86Segment),
            VMSTATE_UINT16(selector, X86Segment),
            VMSTATE_BOOL(unusable, X86Segment),
            {},
        },
};

static const VmState table_vmstate = {
    .name = "x86-table",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT64(base, X86TableRegister),
            VMSTATE_UINT16(limit, X86TableRegister),
            {},
        },
};

static const VmState mtrr_vmstate = {
    .name = "x86-mtrr",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT64(base, X86Mtrr),
            VMSTATE_UINT64(mask, X86Mtrr),
            {},
        },
};

static const VmState state_vmstate = {
    .name = "x86-state",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT_ARRAY(gpr, X86State),
            VMSTATE_UINT64(rip, X86State),
            VMSTATE_UINT64(rflags, X86State),
            VMSTATE_UINT8(interrupt_shadow, X86State),
            VMSTATE_BOOL(nmi_blocked, X86State),
            VMSTATE_STRUCT_ARRAY(seg, X86State, segment_vmstate),
            VMSTATE_STRUCT(ldtr, X86State, segment_vmstate),
            VMSTATE_STRUCT(tr, X86State, segment_vmstate),
            VMSTATE_STRUCT(gdtr, X86State, table_vmstate),
            VMSTATE_STRUCT(idtr, X86State, table_vmstate),
            VMSTATE_UINT64(cr0, X86State),
            VMSTATE_UINT64(cr2, X86State),
            VMSTATE_UINT64(cr3, X86State),
            VMSTATE_UINT64(cr4, X86State),
            VMSTATE_UINT_ARRAY(dr, X86State),
            VMSTATE_UINT64(efer, X86State),
            VMSTATE_UINT64(xcr0, X86State),
            VMSTATE_UINT32(pkru, X86State),
            VMSTATE_UINT64(a20_mask, X86State),
            VMSTATE_UINT64(star, X86State),
            VMSTATE_UINT64(lstar, X86State),
            VMSTATE_UINT64(cstar, X86State),
            VMSTATE_UINT64(fmask, X86State),
            VMSTATE_UINT64(kernel_gs_base, X86State),
            VMSTATE_UINT64(sysenter_cs, X86State),
            VMSTATE_UINT64(sysenter_esp, X86State),
            VMSTATE_UINT64(sysenter_eip, X86State),
            VMSTATE_UINT64(tsc_adjust, X86State),
            VMSTATE_UINT64(tsc_aux, X86State),
            VMSTATE_UINT64(pat, X86State),
            VMSTATE_UINT64(misc_enable, X86State),
            VMSTATE_UINT64(debugctl, X86State),
            VMSTATE_UINT64(xss, X86State),
            VMSTATE_UINT64(smi_count, X86State),
            VMSTATE_UINT64(mtrr_def_type, X86State),
            VMSTATE_UINT_ARRAY(mtrr_fixed, X86State),
            VMSTATE_STRUCT_ARRAY(mtrr_var, X86State, mtrr_vmstate),
            VMSTATE_UINT64(mcg_status, X86State),
            VMSTATE_UINT64(mcg_ctl, X86State),
            VMSTATE_UINT_ARRAY(mc_banks, X86State),
            VMSTATE_UINT64(feature_control, X86State),
            VMSTATE_UINT64(spec_ctrl, X86State),
            VMSTATE_UINT64(hwcr, X86State),
            VMSTATE_UINT64(arch_capabilities, X86State),
            VMSTATE_UINT_ARRAY(pdpte, X86State),
            VMSTATE_INT32(exception_pending, X86State),
            VMSTATE_UINT32(exception_error, X86State),
            VMSTATE_BOOL(exception_has_error, X86State),
            VMSTATE_BOOL(exception_trap, X86State),
            VMSTATE_UINT64(dr6_pending, X86State),
            VMSTATE_UINT64(monitor_addr, X86State),
            VMSTATE_BOOL(monitor_armed, X86State),
            VMSTATE_BOOL(wait_for_sipi, X86State),
            VMSTATE_UINT8(sipi_vector, X86State),
            VMSTATE_BUFFER(xsave, X86State),
            {},
        },
};

/* The TSC is saved as its value: the offset means something on this host only. */
static bool cpu_pre_save(void *opaque, Error **errp)
{
    X86Cpu *cpu = opaque;
    cpu_synchronize_state(&cpu->parent);
    if (!cpu->tsc_stopped) {
        cpu->tsc_at_stop = x86_tsc_now(cpu);
    }
    return true;
}

static bool state_makes_sense(const X86State *s)
{
    return s->rflags & 2 && (s->interrupt_shadow <= 2) && s->exception_pending >= -1 &&
           s->exception_pending <= X86_TRIPLE_FAULT &&
           !((s->cr0 & X86_CR0_PG) && !(s->cr0 & X86_CR0_PE));
}

static bool cpu_post_load(void *opaque, int version, Error **errp)
{
    X86Cpu *cpu = opaque;
    X86State *s = &cpu->state;

    if (!state_makes_sense(s)) {
        error_set(errp, "CPU %d: the saved state can't be that of a CPU", cpu->parent.index);
        return false;
    }
    s->exception_delivering = -1;
    x86_tsc_set(cpu, cpu->tsc_at_stop);
    x86_update_mode(cpu);
    return true;
}

/* Under KVM: paravirtual MSRs, and an interrupt on its way. */
static bool kvm_needed(void *opaque)
{
    const X86State *s = &((X86Cpu *)opaque)->state;
    bool any = s->interrupt_injected >= 0;
    for (unsigned i = 0; i < X86_KVM_MSRS; i++) {
        any |= s->kvm_msrs[i] != 0;
    }
    return any;
}

static bool kvm_post_load(void *opaque, int version, Error **errp)
{
    const X86Cpu *cpu = opaque;
    if (cpu->state.interrupt_injected < -1 || cpu->state.interrupt_injected > 255) {
        error_set(errp, "CPU %d: vector %d of an interrupt can't be", cpu->parent.index,
                  cpu->state.interrupt_injected);
        return false;
    }
    return true;
}

static const VmState kvm_vmstate = {
    .name = "cpu/kvm",
    .version = 1,
    .minimum_version = 1,
    .needed = kvm_needed,
    .post_load = kvm_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT_ARRAY(state.kvm_msrs, X86Cpu),
            VMSTATE_INT32(state.interrupt_injected, X86Cpu),
            VMSTATE_BOOL(state.interrupt_soft, X86Cpu),
            {},
        },
};

static bool cpu_pre_load(void *opaque, Error **errp)
{
    X86Cpu *cpu = opaque;
    cpu_discard_state(&cpu->parent);
    cpu->state.interrupt_injected = -1;
    memset(cpu->state.kvm_msrs, 0, sizeof(cpu->state.kvm_msrs));
    return true;
}

const VmState x86_cpu_vmstate = {
    .name = "cpu",
    .version = 1,
    .minimum_version = 1,
    .pre_save = cpu_pre_save,
    .pre_load = cpu_pre_load,
    .post_load = cpu_post_load,
    .subsections = (const VmState *const[]){ &kvm_vmstate, NULL },
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT(state, X86Cpu, state_vmstate),
            VMSTATE_BOOL(parent.halted, X86Cpu),
            VMSTATE_UINT32(parent.requests, X86Cpu),
            VMSTATE_UINT64(tsc_at_stop, X86Cpu),
            {},
        },
};
