/*
 * CPU features: what the kernel supports is what CPU models are filtered by (x86_features_source),
 * and each vCPU gets the leaves of its model. SDM volume 2 (CPUID); the kernel's own leaves:
 * Documentation/virt/kvm/x86/cpuid.rst.
 */
#include <asm/kvm_para.h>
#include <string.h>

#include "accel/kvm/kvm-internal.h"
#include "base/fault.h"
#include "cpu/x86/features.h"
#include "cpu/x86/models.h"
#include "cpu/x86/system.h"

#define CPUID_MAX    512 /* entries; the kernel has some 50 */
#define HYPERVISOR   0x40000000u
#define FEATURE_LEAF 0x40000001u
#define EXTENDED     0x80000000u

enum { EAX, EBX, ECX, EDX };

/* Which register of which leaf is which word. */
static const struct {
    uint32_t leaf, subleaf;
    uint8_t reg;
} word_places[X86_CPUID_WORDS] = {
    [X86_CPUID_1_EDX] = { 1, 0, EDX },
    [X86_CPUID_1_ECX] = { 1, 0, ECX },
    [X86_CPUID_7_0_EBX] = { 7, 0, EBX },
    [X86_CPUID_7_0_ECX] = { 7, 0, ECX },
    [X86_CPUID_7_0_EDX] = { 7, 0, EDX },
    [X86_CPUID_7_1_EAX] = { 7, 1, EAX },
    [X86_CPUID_D_1_EAX] = { 0xd, 1, EAX },
    [X86_CPUID_80000001_EDX] = { 0x80000001, 0, EDX },
    [X86_CPUID_80000001_ECX] = { 0x80000001, 0, ECX },
    [X86_CPUID_80000007_EDX] = { 0x80000007, 0, EDX },
    [X86_CPUID_80000008_EBX] = { 0x80000008, 0, EBX },
    [X86_CPUID_6_EAX] = { 6, 0, EAX },
    [X86_CPUID_ARCH_CAPS] = { 0, 0, 0xff },
};

#define MSR_ARCH_CAPABILITIES 0x10au

/* Features that aren't a matter of the processor but of what is around it. */
#define F1_ECX_MONITOR      (1u << 3)
#define F1_ECX_VMX          (1u << 5)
#define F1_ECX_X2APIC       (1u << 21)
#define F1_ECX_TSC_DEADLINE (1u << 24)
#define F1_ECX_HYPERVISOR   (1u << 31)
#define F1_EDX_APIC         (1u << 9)
#define F1_EDX_HTT          (1u << 28)
#define F6_EAX_ARAT         (1u << 2)
#define F81_ECX_SVM         (1u << 2)

/* Paravirtual features that are saved and restored (kvm-msr.c). */
#define KVM_FEATURES_KEPT                                                                       \
    (1u << KVM_FEATURE_CLOCKSOURCE | 1u << KVM_FEATURE_NOP_IO_DELAY |                           \
     1u << KVM_FEATURE_CLOCKSOURCE2 | 1u << KVM_FEATURE_STEAL_TIME | 1u << KVM_FEATURE_PV_EOI | \
     1u << KVM_FEATURE_PV_UNHALT | 1u << KVM_FEATURE_PV_TLB_FLUSH |                             \
     1u << KVM_FEATURE_PV_SEND_IPI | 1u << KVM_FEATURE_POLL_CONTROL |                           \
     1u << KVM_FEATURE_PV_SCHED_YIELD | 1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT)
/* Those that need the local APIC in the kernel. */
#define KVM_FEATURES_LAPIC                                                                    \
    (1u << KVM_FEATURE_PV_EOI | 1u << KVM_FEATURE_PV_UNHALT | 1u << KVM_FEATURE_PV_SEND_IPI | \
     1u << KVM_FEATURE_PV_TLB_FLUSH | 1u << KVM_FEATURE_PV_SCHED_YIELD)

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub)
{
    for (unsigned i = 0; i < c->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &c->entries[i];
        if (e->function == leaf &&
            (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == sub)) {
            return e;
        }
    }
    return NULL;
}

static uint32_t entry_reg(const struct kvm_cpuid_entry2 *e, unsigned reg)
{
    return reg == EAX ? e->eax : reg == EBX ? e->ebx : reg == ECX ? e->ecx : e->edx;
}

static uint32_t arch_capabilities(const Kvm *kvm)
{
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry;
    } msr = { .head.nmsrs = 1, .entry.index = MSR_ARCH_CAPABILITIES };
    if (!kvm_check(kvm, KVM_CAP_GET_MSR_FEATURES) || kvm_ioctl(kvm, KVM_GET_MSRS, &msr) != 1) {
        return 0;
    }
    return (uint32_t)msr.entry.data;
}

/* What models are filtered by. */
static void supported_features(uint32_t words[X86_CPUID_WORDS])
{
    const Kvm *kvm = kvm_current();
    bool in_kernel = kvm->irqchip != ACCEL_IRQCHIP_OFF;

    for (unsigned w = 0; w < X86_CPUID_WORDS; w++) {
        const struct kvm_cpuid_entry2 *e =
            word_places[w].reg <= EDX
                ? find(kvm->cpuid, word_places[w].leaf, word_places[w].subleaf)
                : NULL;
        words[w] = e ? entry_reg(e, word_places[w].reg) : 0;
    }
    words[X86_CPUID_ARCH_CAPS] = arch_capabilities(kvm);
    /* The local APIC is there either way; ours has no x2APIC and deadline mode under KVM, because
     * the kernel keeps their MSRs to itself. */
    words[X86_CPUID_1_EDX] |= F1_EDX_APIC | F1_EDX_HTT;
    words[X86_CPUID_1_ECX] |= F1_ECX_HYPERVISOR;
    words[X86_CPUID_1_ECX] &= ~(F1_ECX_X2APIC | F1_ECX_TSC_DEADLINE | F1_ECX_MONITOR | F1_ECX_VMX);
    words[X86_CPUID_80000001_ECX] &= ~F81_ECX_SVM; /* no nested state is kept */
    words[X86_CPUID_6_EAX] &= F6_EAX_ARAT;
    if (in_kernel) {
        words[X86_CPUID_1_ECX] |= F1_ECX_X2APIC;
        if (kvm_check(kvm, KVM_CAP_TSC_DEADLINE_TIMER)) {
            words[X86_CPUID_1_ECX] |= F1_ECX_TSC_DEADLINE;
        }
        words[X86_CPUID_6_EAX] |= F6_EAX_ARAT;
    }
}

bool kvm_cpuid_init(Kvm *kvm, Error **errp)
{
    struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + CPUID_MAX * sizeof(c->entries[0]));
    c->nent = CPUID_MAX;
    int r = FAULT("KVM CPUID", NULL) ? -ENOMEM : kvm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c);
    if (r < 0) {
        g_free(c);
        error_set_errno(errp, -r, "the kernel doesn't tell which CPU features it supports");
        return false;
    }
    kvm->cpuid = c;
    x86_features_set_source(supported_features);
    return true;
}

void kvm_cpuid_finish(Kvm *kvm)
{
    if (kvm->cpuid) {
        x86_features_set_source(NULL);
        g_clear_pointer(&kvm->cpuid, g_free);
    }
}

/* --- A vCPU's leaves --- */

/* Leaves of which a subleaf matters, and where they end. */
static bool has_subleaves(uint32_t leaf)
{
    return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x1f ||
           leaf == 0x8000001d;
}

static unsigned last_subleaf(X86Cpu *cpu, uint32_t leaf)
{
    uint32_t out[4];
    switch (leaf) {
    case 7:
        x86_cpuid_get(cpu, 7, 0, out);
        return out[EAX];
    case 0xd:
        return 63;
    default: /* up to an entry of type 0 */
        for (unsigned i = 0; i < 16; i++) {
            x86_cpuid_get(cpu, leaf, i, out);
            bool end = leaf == 0xb || leaf == 0x1f ? !(out[ECX] & 0xff00) : !(out[EAX] & 0x1f);
            if (end) {
                return i;
            }
        }
        return 15;
    }
}

static void add(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub, bool indexed,
                const uint32_t out[4])
{
    if (c->nent < CPUID_MAX) {
        c->entries[c->nent++] = (struct kvm_cpuid_entry2){
            .function = leaf,
            .index = sub,
            .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = out[EAX],
            .ebx = out[EBX],
            .ecx = out[ECX],
            .edx = out[EDX],
        };
    }
}

static void add_leaf(struct kvm_cpuid2 *c, const KvmCpu *k, uint32_t leaf)
{
    X86Cpu *cpu = k->cpu;
    uint32_t out[4];

    if (!has_subleaves(leaf)) {
        x86_cpuid_get(cpu, leaf, 0, out);
        /* Crystal and TSC: the kernel's APIC timer doesn't count at our crystal's rate. */
        if (leaf == 0x15 && k->kvm->irqchip != ACCEL_IRQCHIP_OFF) {
            memset(out, 0, sizeof(out));
        }
        add(c, leaf, 0, false, out);
        return;
    }
    unsigned last = last_subleaf(cpu, leaf);
    for (unsigned sub = 0; sub <= last; sub++) {
        x86_cpuid_get(cpu, leaf, sub, out);
        if (leaf == 0xd && sub > 1 && !out[EAX]) {
            continue; /* a state that isn't there */
        }
        add(c, leaf, sub, true, out);
    }
}

uint32_t kvm_cpuid_features(const KvmCpu *k)
{
    const struct kvm_cpuid_entry2 *e = find(k->kvm->cpuid, FEATURE_LEAF, 0);
    uint32_t features = e ? e->eax & KVM_FEATURES_KEPT : 0;

    if (!k->cpu->kvm_visible || !x86_has_feature(k->cpu, X86_CPUID_1_ECX, 31)) {
        return 0;
    }
    return k->kvm->irqchip == ACCEL_IRQCHIP_OFF ? features & ~KVM_FEATURES_LAPIC : features;
}

/* The leaves that tell a guest it runs under KVM. */
static void add_kvm_leaves(struct kvm_cpuid2 *c, const KvmCpu *k)
{
    uint32_t out[4] = { FEATURE_LEAF };

    memcpy(&out[EBX], "KVMKVMKVM\0\0\0", 12);
    add(c, HYPERVISOR, 0, false, out);
    memset(out, 0, sizeof(out));
    out[EAX] = kvm_cpuid_features(k);
    add(c, FEATURE_LEAF, 0, false, out);
}

bool kvm_cpuid_set(KvmCpu *k, Error **errp)
{
    X86Cpu *cpu = k->cpu;
    g_autofree struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + CPUID_MAX * sizeof(c->entries[0]));

    for (uint32_t leaf = 0; leaf <= cpu->cpuid_level; leaf++) {
        add_leaf(c, k, leaf);
    }
    if (cpu->kvm_visible && x86_has_feature(cpu, X86_CPUID_1_ECX, 31)) {
        add_kvm_leaves(c, k);
    }
    for (uint32_t leaf = EXTENDED; cpu->cpuid_xlevel && leaf <= cpu->cpuid_xlevel; leaf++) {
        add_leaf(c, k, leaf);
    }
    int r = kvm_vcpu_ioctl(k, KVM_SET_CPUID2, c);
    if (r < 0) {
        error_set_errno(errp, -r, "the kernel refuses the CPUID of model '%s'", cpu->model->name);
        return false;
    }
    return true;
}
