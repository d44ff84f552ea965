/*
 * The local APIC in the kernel: "kvm-apic", an X86Apic whose registers are copied when they are
 * looked at. KVM_GET_LAPIC gives the register page; in x2APIC mode with 32-bit ids
 * (KVM_CAP_X2APIC_API).
 */
#include <string.h>

#include "accel/kvm/kvm-internal.h"
#include "base/report.h"

#define MSR_TSC_DEADLINE 0x6e0u

static bool failed(KvmCpu *k, const char *what, int r)
{
    report_error("accelerator 'kvm': CPU %d: %s: %s", k->cpu->parent.index, what, strerror(-r));
    return false;
}

static int move_deadline(KvmCpu *k, bool write, uint64_t *value)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msr = { .head.nmsrs = 1, .entry = { .index = MSR_TSC_DEADLINE, .data = *value } };
    int r = kvm_vcpu_ioctl(k, write ? KVM_SET_MSRS : KVM_GET_MSRS, &msr);
    *value = msr.entry.data;
    return r;
}

static bool has_deadline(const KvmCpu *k)
{
    return x86_has_feature(k->cpu, X86_CPUID_1_ECX, 24);
}

bool kvm_get_lapic(KvmCpu *k)
{
    X86Apic *a = k->cpu->apic;
    struct kvm_lapic_state l;

    if (k->kvm->irqchip == ACCEL_IRQCHIP_OFF || !a) {
        return true;
    }
    int r = kvm_vcpu_ioctl(k, KVM_GET_LAPIC, &l);
    if (r < 0) {
        return failed(k, "KVM_GET_LAPIC", r);
    }
    x86_apic_from_page(a, (const uint8_t *)l.regs);
    uint64_t deadline = 0;
    if (has_deadline(k) && move_deadline(k, false, &deadline) != 1) {
        deadline = 0;
    }
    x86_apic_load_tsc_deadline(a, deadline);
    return true;
}

bool kvm_put_lapic(KvmCpu *k)
{
    X86Apic *a = k->cpu->apic;
    struct kvm_lapic_state l = { 0 };

    if (k->kvm->irqchip == ACCEL_IRQCHIP_OFF || !a) {
        return true;
    }
    x86_apic_to_page(a, (uint8_t *)l.regs, k->kvm->x2apic_ids);
    int r = kvm_vcpu_ioctl(k, KVM_SET_LAPIC, &l);
    if (r < 0) {
        return failed(k, "KVM_SET_LAPIC", r);
    }
    uint64_t deadline = x86_apic_get_tsc_deadline(a);
    if (has_deadline(k) && deadline && move_deadline(k, true, &deadline) != 1) {
        report_warning_once("accelerator 'kvm': the kernel refuses MSR 0x%x (TSC_DEADLINE)",
                            MSR_TSC_DEADLINE);
    }
    return true;
}
