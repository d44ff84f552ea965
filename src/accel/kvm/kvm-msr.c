/*
 * MSRs, both ways: those that the kernel lists and X86State has, by number. One that the kernel
 * refuses is named once and left alone from then on. And kvmclock, which is the VM's.
 */
#include <asm/kvm_para.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "accel/kvm/kvm-internal.h"
#include "base/fault.h"
#include "base/report.h"
#include "cpu/x86/system.h"
#include "object/runstate.h"
#include "object/vmstate.h"

#define MSR_TSC          0x10u
#define MSR_TSC_ADJUST   0x3bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_FS_BASE      0xc0000100u
#define MSR_GS_BASE      0xc0000101u

#define BATCH 128

#define TSC_SLACK_SECONDS 10 /* between a write of the TSC and a read */

/* The kernel's own MSRs: Documentation/virt/kvm/x86/msr.rst. Kept in X86State.kvm_msrs. */
static const struct {
    uint32_t index;
    uint8_t feature; /* bit of CPUID 0x40000001 EAX that brings it */
} paravirtual[X86_KVM_MSRS] = {
    { MSR_KVM_WALL_CLOCK_NEW, KVM_FEATURE_CLOCKSOURCE2 },
    { MSR_KVM_SYSTEM_TIME_NEW, KVM_FEATURE_CLOCKSOURCE2 },
    { MSR_KVM_STEAL_TIME, KVM_FEATURE_STEAL_TIME },
    { MSR_KVM_PV_EOI_EN, KVM_FEATURE_PV_EOI },
    { MSR_KVM_POLL_CONTROL, KVM_FEATURE_POLL_CONTROL },
};

/* Ranges that are worth moving; each register only if the kernel lists it, or lists none of its
 * range (it leaves ranges that belong together out of its list). In the order of writing. */
static const struct {
    uint32_t first, count;
    bool unlisted;
} ranges[] = {
    { 0x34, 1, false },       /* SMI_COUNT */
    { 0x3a, 1, false },       /* FEATURE_CONTROL */
    { 0x48, 1, false },       /* SPEC_CTRL */
    { 0x174, 3, false },      /* SYSENTER */
    { 0x1a0, 1, false },      /* MISC_ENABLE */
    { 0x277, 1, true },       /* PAT */
    { 0x200, 16, true },      /* MTRRs: */
    { 0x250, 1, true },       /* 64 KiB */
    { 0x258, 2, true },       /* 16 KiB */
    { 0x268, 8, true },       /* 4 KiB */
    { 0x2ff, 1, true },       /* default */
    { 0x17a, 2, true },       /* MCG */
    { 0x400, 40, true },      /* machine check banks */
    { 0xda0, 1, false },      /* XSS */
    { 0xc0000081, 4, false }, /* STAR, LSTAR, CSTAR, FMASK */
    { 0xc0000102, 2, false }, /* KERNEL_GS_BASE, TSC_AUX */
    { 0xc0010015, 1, true },  /* HWCR */
    { MSR_TSC_ADJUST, 1, false },
};

typedef struct Batch {
    struct kvm_msrs head;
    struct kvm_msr_entry entries[BATCH];
} Batch;

/* --- What may be asked for --- */

bool kvm_msr_init(Kvm *kvm, Error **errp)
{
    struct kvm_msr_list none = { 0 };
    int r = kvm_ioctl(kvm, KVM_GET_MSR_INDEX_LIST, &none);
    if (r < 0 && r != -E2BIG) {
        error_set_errno(errp, -r, "the kernel doesn't list its MSRs");
        return false;
    }
    struct kvm_msr_list *list = g_malloc0(sizeof(none) + none.nmsrs * sizeof(uint32_t));
    list->nmsrs = none.nmsrs;
    r = FAULT("KVM MSR list", NULL) ? -ENOMEM : kvm_ioctl(kvm, KVM_GET_MSR_INDEX_LIST, list);
    if (r < 0) {
        g_free(list);
        error_set_errno(errp, -r, "the kernel doesn't list its MSRs");
        return false;
    }
    kvm->msr_count = list->nmsrs;
    kvm->msr_list = g_memdup2(list->indices, list->nmsrs * sizeof(uint32_t));
    kvm->refused_msrs = g_hash_table_new(NULL, NULL);
    g_free(list);
    return true;
}

void kvm_msr_finish(Kvm *kvm)
{
    g_clear_pointer(&kvm->msr_list, g_free);
    if (kvm->refused_msrs) {
        g_hash_table_destroy(kvm->refused_msrs);
        kvm->refused_msrs = NULL;
    }
}

static bool is_listed(const Kvm *kvm, uint32_t index)
{
    for (unsigned i = 0; i < kvm->msr_count; i++) {
        if (kvm->msr_list[i] == index) {
            return true;
        }
    }
    return false;
}

static bool is_refused(Kvm *kvm, uint32_t index)
{
    pthread_mutex_lock(&kvm->run_lock);
    bool refused = g_hash_table_contains(kvm->refused_msrs, GUINT_TO_POINTER(index));
    pthread_mutex_unlock(&kvm->run_lock);
    return refused;
}

/* The one warning. */
static void refuse(Kvm *kvm, uint32_t index, bool write, uint64_t value)
{
    pthread_mutex_lock(&kvm->run_lock);
    bool fresh = g_hash_table_add(kvm->refused_msrs, GUINT_TO_POINTER(index));
    pthread_mutex_unlock(&kvm->run_lock);
    if (fresh && write) {
        report_warning("accelerator 'kvm': the kernel refuses MSR 0x%x (%s) = 0x%" PRIx64
                       "; it keeps its own value",
                       index, x86_msr_name(index) ?: "KVM's", value);
    } else if (fresh) {
        report_warning("accelerator 'kvm': the kernel doesn't give MSR 0x%x (%s)", index,
                       x86_msr_name(index) ?: "KVM's");
    }
}

static bool may_move(Kvm *kvm, uint32_t index, bool unlisted)
{
    return (unlisted || is_listed(kvm, index)) && !is_refused(kvm, index);
}

/* --- Reading --- */

static uint64_t *own_slot(X86Cpu *cpu, uint32_t index)
{
    for (unsigned i = 0; i < ARRAY_LEN(paravirtual); i++) {
        if (paravirtual[i].index == index) {
            return &cpu->state.kvm_msrs[i];
        }
    }
    return NULL;
}

/* Fill a batch with the indices to be read. */
static void collect(KvmCpu *k, Batch *b)
{
    uint64_t value;

    b->head.nmsrs = 0;
    for (unsigned r = 0; r < ARRAY_LEN(ranges); r++) {
        for (uint32_t i = 0; i < ranges[r].count; i++) {
            uint32_t index = ranges[r].first + i;
            if (may_move(k->kvm, index, ranges[r].unlisted) && x86_msr_get(k->cpu, index, &value)) {
                b->entries[b->head.nmsrs++] = (struct kvm_msr_entry){ .index = index };
            }
        }
    }
    uint32_t features = kvm_cpuid_features(k);
    for (unsigned i = 0; i < ARRAY_LEN(paravirtual); i++) {
        if ((features >> paravirtual[i].feature & 1) &&
            may_move(k->kvm, paravirtual[i].index, false)) {
            b->entries[b->head.nmsrs++] = (struct kvm_msr_entry){ .index = paravirtual[i].index };
        }
    }
    b->entries[b->head.nmsrs++] = (struct kvm_msr_entry){ .index = MSR_TSC };
    assert(b->head.nmsrs <= BATCH);
}

/* The kernel does them in order and stops at the first it doesn't like. */
static bool transfer(KvmCpu *k, Batch *b, bool write)
{
    unsigned done = 0, total = b->head.nmsrs;
    Batch part;

    while (done < total) {
        part.head.nmsrs = total - done;
        memcpy(part.entries, b->entries + done, (total - done) * sizeof(b->entries[0]));
        int r = kvm_vcpu_ioctl(k, write ? KVM_SET_MSRS : KVM_GET_MSRS, &part);
        if (r < 0) {
            report_error("accelerator 'kvm': CPU %d: MSRs: %s", k->cpu->parent.index, strerror(-r));
            return false;
        }
        memcpy(b->entries + done, part.entries, (unsigned)r * sizeof(b->entries[0]));
        done += (unsigned)r;
        if (done < total) {
            refuse(k->kvm, b->entries[done].index, write, b->entries[done].data);
            b->entries[done].reserved = 1; /* not moved */
            done++;
        }
    }
    return true;
}

bool kvm_get_msrs(KvmCpu *k)
{
    Batch b;
    X86Cpu *cpu = k->cpu;

    collect(k, &b);
    if (!transfer(k, &b, false)) {
        return false;
    }
    for (unsigned i = 0; i < b.head.nmsrs; i++) {
        const struct kvm_msr_entry *e = &b.entries[i];
        uint64_t *slot = own_slot(cpu, e->index);
        if (e->reserved) {
            continue;
        }
        if (slot) {
            *slot = e->data;
        } else if (e->index == MSR_TSC) {
            x86_tsc_set(cpu, e->data);
            k->tsc_offset = cpu->state.tsc_offset;
        } else {
            x86_msr_load(cpu, e->index, e->data);
        }
    }
    return true;
}

/* --- Writing --- */

/* Some hosts take the TSC's new value and don't mind it: the guest's is the host's. */
static void check_tsc(KvmCpu *k, uint64_t written)
{
    Batch b = { .head.nmsrs = 1, .entries[0].index = MSR_TSC };

    if (kvm_vcpu_ioctl(k, KVM_GET_MSRS, &b) == 1 &&
        b.entries[0].data - written > k->cpu->tsc_hz * TSC_SLACK_SECONDS) {
        refuse(k->kvm, MSR_TSC, true, written);
    }
}

bool kvm_put_msrs(KvmCpu *k)
{
    Batch b;
    X86Cpu *cpu = k->cpu;
    uint64_t tsc = 0;

    collect(k, &b);
    unsigned n = 0;
    for (unsigned i = 0; i < b.head.nmsrs; i++) {
        struct kvm_msr_entry e = b.entries[i];
        const uint64_t *slot = own_slot(cpu, e.index);
        uint64_t value = 0;
        if (slot) {
            value = *slot;
        } else if (e.index == MSR_TSC) {
            /* Left alone unless somebody here moved it: every write is a little off. */
            if ((cpu->state.tsc_offset == k->tsc_offset && k->tsc_written) ||
                is_refused(k->kvm, MSR_TSC)) {
                continue;
            }
            value = tsc = x86_tsc_now(cpu);
        } else if (!x86_msr_get(cpu, e.index, &value)) {
            continue;
        }
        e.data = value;
        b.entries[n++] = e;
    }
    b.head.nmsrs = n;
    k->tsc_offset = cpu->state.tsc_offset;
    k->tsc_written = true;
    if (!transfer(k, &b, true)) {
        return false;
    }
    if (tsc) {
        check_tsc(k, tsc);
    }
    return true;
}

/* --- kvmclock --- */

/* The guest's clock stands while the machine does; its value is part of the machine's state. */
static void read_clock(Kvm *kvm)
{
    struct kvm_clock_data data = { 0 };
    int r = kvm_vm_ioctl(kvm, KVM_GET_CLOCK, &data);
    kvm->clock_valid = r >= 0;
    kvm->clock = data.clock;
    if (r < 0) {
        report_warning_once(
            "accelerator 'kvm': KVM_GET_CLOCK is refused (%s); guests' clocks go on "
            "while the machine stands",
            strerror(-r));
    }
}

static void write_clock(Kvm *kvm)
{
    struct kvm_clock_data data = { .clock = kvm->clock };
    if (!kvm->clock_valid) {
        return;
    }
    int r = kvm_vm_ioctl(kvm, KVM_SET_CLOCK, &data);
    if (r < 0) {
        report_warning_once("accelerator 'kvm': KVM_SET_CLOCK is refused: %s", strerror(-r));
    }
    kvm->clock_valid = false;
    /* Watchdogs in the guest are told that it stood. */
    for (unsigned i = 0; kvm->caps.kvmclock_ctrl && i < kvm->cpus->len; i++) {
        (void)kvm_vcpu_ioctl(g_ptr_array_index(kvm->cpus, i), KVM_KVMCLOCK_CTRL, NULL);
    }
}

static void clock_state_changed(void *opaque, bool running, RunState state)
{
    Kvm *kvm = opaque;
    if (running) {
        kvm_put_lapics(kvm);
        write_clock(kvm);
    } else if (!kvm->clock_valid) {
        read_clock(kvm);
    }
}

static bool clock_post_load(void *opaque, int version, Error **errp)
{
    ((Kvm *)opaque)->clock_valid = true;
    return true;
}

static bool clock_pre_save(void *opaque, Error **errp)
{
    Kvm *kvm = opaque;
    if (!kvm->clock_valid) { /* never stopped */
        read_clock(kvm);
        kvm->clock_valid = false;
    }
    return true;
}

static const VmState clock_vmstate = {
    .name = "kvmclock",
    .version = 1,
    .minimum_version = 1,
    .pre_save = clock_pre_save,
    .post_load = clock_post_load,
    .fields = (const VmStateField[]){ VMSTATE_UINT64(clock, Kvm), {} },
};

void kvm_clock_init(Kvm *kvm)
{
    if (kvm->caps.adjust_clock) {
        kvm->clock_handler = vm_state_handler_add(clock_state_changed, 0, kvm);
        vmstate_register("kvmclock", 0, &clock_vmstate, kvm);
    }
}

void kvm_clock_finish(Kvm *kvm)
{
    if (kvm->clock_handler) {
        vmstate_unregister(&clock_vmstate, kvm);
        vm_state_handler_del(kvm->clock_handler);
        kvm->clock_handler = NULL;
    }
}
