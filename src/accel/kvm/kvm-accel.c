/*
 * The accelerator "kvm": its object and properties, and the virtual machine in the kernel.
 *
 * The kernel's interface is described in Documentation/virt/kvm/api.rst of the Linux sources.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "accel/kvm/kvm-internal.h"
#include "base/fault.h"
#include "base/report.h"
#include "cpu/x86/features.h"
#include "object/property.h"
#include "object/runstate.h"

#define KVM_DEVICE "/dev/kvm"

/* Where the kernel keeps pages of its own on processors that can't run real mode: below the
 * firmware, which ends at 4 GiB, in a range that e820 tables reserve. */
#define IDENTITY_MAP_ADDR UINT64_C(0xfeffc000)
#define TSS_ADDR          UINT64_C(0xfeffd000)

static KvmAccel *kvm_accel(Accel *accel)
{
    return (KvmAccel *)accel;
}

Kvm *kvm_current(void)
{
    Accel *accel = accel_current();
    Object *obj = accel ? object_dynamic_cast(&accel->parent, TYPE_KVM_ACCEL) : NULL;
    return obj ? ((KvmAccel *)obj)->kvm : NULL;
}

/* --- ioctls --- */

static int checked_ioctl(int fd, unsigned long request, void *arg)
{
    int r;
    do {
        r = ioctl(fd, request, arg);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

int kvm_ioctl(const Kvm *kvm, unsigned long request, void *arg)
{
    return checked_ioctl(kvm->fd, request, arg);
}

int kvm_vm_ioctl(const Kvm *kvm, unsigned long request, void *arg)
{
    return checked_ioctl(kvm->vm, request, arg);
}

int kvm_vcpu_ioctl(const KvmCpu *k, unsigned long request, void *arg)
{
    return checked_ioctl(k->fd, request, arg);
}

int kvm_check(const Kvm *kvm, int cap)
{
    int r = kvm_vm_ioctl(kvm, KVM_CHECK_EXTENSION, (void *)(intptr_t)cap);
    return MAX_OF(r, 0);
}

int kvm_enable_cap(const Kvm *kvm, uint32_t cap, uint64_t arg0)
{
    struct kvm_enable_cap enable = { .cap = cap, .args = { arg0 } };
    return kvm_vm_ioctl(kvm, KVM_ENABLE_CAP, &enable);
}

int kvm_machine_ioctl(unsigned long request, void *arg)
{
    return kvm_vm_ioctl(kvm_current(), request, arg);
}

/* --- Capabilities --- */

static void read_caps(Kvm *kvm)
{
    KvmCaps *c = &kvm->caps;

    c->memory_slots = kvm_check(kvm, KVM_CAP_NR_MEMSLOTS);
    if (!c->memory_slots) {
        c->memory_slots = 32; /* what kernels without the capability have */
    }
    c->max_vcpus = kvm_check(kvm, KVM_CAP_MAX_VCPUS);
    c->max_vcpus = c->max_vcpus ? c->max_vcpus : MAX_OF(kvm_check(kvm, KVM_CAP_NR_VCPUS), 4);
    c->max_vcpu_id = kvm_check(kvm, KVM_CAP_MAX_VCPU_ID);
    c->max_vcpu_id = c->max_vcpu_id ? c->max_vcpu_id : c->max_vcpus;
    c->coalesced_page = kvm_check(kvm, KVM_CAP_COALESCED_MMIO);
    c->coalesced_pio = kvm_check(kvm, KVM_CAP_COALESCED_PIO);
    c->readonly_memory = kvm_check(kvm, KVM_CAP_READONLY_MEM);
    c->ioeventfd = kvm_check(kvm, KVM_CAP_IOEVENTFD);
    c->ioeventfd_any_length = kvm_check(kvm, KVM_CAP_IOEVENTFD_ANY_LENGTH);
    c->irqfd = kvm_check(kvm, KVM_CAP_IRQFD);
    c->irqfd_resample = kvm_check(kvm, KVM_CAP_IRQFD_RESAMPLE);
    c->irq_routing = kvm_check(kvm, KVM_CAP_IRQ_ROUTING);
    c->signal_msi = kvm_check(kvm, KVM_CAP_SIGNAL_MSI);
    c->sregs2 = kvm_check(kvm, KVM_CAP_SREGS2);
    c->tsc_control = kvm_check(kvm, KVM_CAP_TSC_CONTROL);
    c->stats = kvm_check(kvm, KVM_CAP_BINARY_STATS_FD);
    c->adjust_clock = kvm_check(kvm, KVM_CAP_ADJUST_CLOCK);
    c->kvmclock_ctrl = kvm_check(kvm, KVM_CAP_KVMCLOCK_CTRL);
    c->guest_debug = kvm_check(kvm, KVM_CAP_SET_GUEST_DEBUG);
    c->max_gsis = MIN_OF(kvm_check(kvm, KVM_CAP_IRQ_ROUTING), KVM_MAX_GSIS);
#ifdef KVM_CAP_X86_TRIPLE_FAULT_EVENT
    if (kvm_check(kvm, KVM_CAP_X86_TRIPLE_FAULT_EVENT)) {
        c->triple_fault_event = kvm_enable_cap(kvm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1) >= 0;
    }
#endif
}

/* --- Interrupt controllers --- */

/* The property of the accelerator, else the machine's. */
static AccelIrqchipWish wanted_irqchip(KvmAccel *a, Object *machine)
{
    AccelIrqchipWish wish = a->kernel_irqchip;

    if (wish == ACCEL_IRQCHIP_WISH_AUTO) {
        ERROR_AUTO none = NULL; /* a test's machine may have no such property */
        g_autofree char *text = object_get_text(machine, "kernel-irqchip", &none);
        int said = text ? enum_parse(accel_value_type_irqchip.enumeration, text) : -1;
        wish = said > 0 ? (AccelIrqchipWish)said : wish;
    }
    return wish;
}

static bool make_irqchip(Kvm *kvm, AccelIrqchipWish wanted, Error **errp)
{
    bool messages = kvm->caps.signal_msi && kvm->caps.irq_routing;
    int r;

    if (wanted == ACCEL_IRQCHIP_WISH_OFF) {
        kvm->irqchip = ACCEL_IRQCHIP_OFF;
        return true;
    }
    if (wanted == ACCEL_IRQCHIP_WISH_SPLIT) {
        if (!messages || !kvm_check(kvm, KVM_CAP_SPLIT_IRQCHIP)) {
            error_set(errp,
                      "kernel-irqchip=split: the host's kernel doesn't have it; use on or off");
            return false;
        }
        r = kvm_enable_cap(kvm, KVM_CAP_SPLIT_IRQCHIP, KVM_IOAPIC_GSIS);
        if (r < 0) {
            error_set_errno(errp, -r, "kernel-irqchip=split: the kernel refuses");
            return false;
        }
        kvm->irqchip = ACCEL_IRQCHIP_SPLIT;
        return true;
    }
    r = messages && kvm_check(kvm, KVM_CAP_IRQCHIP) && kvm_check(kvm, KVM_CAP_PIT2)
            ? kvm_vm_ioctl(kvm, KVM_CREATE_IRQCHIP, NULL)
            : -ENOSYS;
    if (r >= 0) {
        kvm->irqchip = ACCEL_IRQCHIP_ON;
        return true;
    }
    if (wanted == ACCEL_IRQCHIP_WISH_ON) {
        error_set_errno(errp, -r,
                        "kernel-irqchip=on: the host's kernel has no interrupt "
                        "controllers; use off");
        return false;
    }
    report_warning("accelerator 'kvm': no interrupt controllers in the kernel (%s); they are "
                   "emulated here, which is slower",
                   strerror(-r));
    kvm->irqchip = ACCEL_IRQCHIP_OFF;
    return true;
}

/* --- The dirty ring --- */

#define RING_MIN 1024u /* entries: what the kernel reserves must fit */

static bool set_up_ring(Kvm *kvm, uint32_t entries, Error **errp)
{
    if (!entries) {
        kvm->caps.manual_protect =
            kvm_check(kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
        if (kvm->caps.manual_protect) {
            uint64_t flags = kvm_check(kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
                             (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET);
            /* Initially set: everything is dirty at first anyway, and the kernel needs not write-
             * protect it all at once. */
            int r = kvm_enable_cap(kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, flags);
            if (r < 0) {
                report_warning("accelerator 'kvm': KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is refused "
                               "(%s); dirty logs are read and cleared in one step",
                               strerror(-r));
                kvm->caps.manual_protect = false;
            }
            kvm->caps.initially_set =
                kvm->caps.manual_protect && (flags & KVM_DIRTY_LOG_INITIALLY_SET);
        }
        return true;
    }
    uint32_t cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL;
    int most = kvm_check(kvm, (int)cap);
    if (!most) {
        cap = KVM_CAP_DIRTY_LOG_RING;
        most = kvm_check(kvm, (int)cap);
    }
    uint32_t max_entries = (uint32_t)most / sizeof(struct kvm_dirty_gfn);
    if (!most) {
        error_set(errp, "dirty-ring-size=%u: the host's kernel has no dirty rings; leave it out",
                  entries);
        return false;
    }
    if ((entries & (entries - 1)) || entries < RING_MIN || entries > max_entries) {
        error_set(errp, "dirty-ring-size=%u: a power of two from %u to %u is needed", entries,
                  RING_MIN, max_entries);
        return false;
    }
    int r = kvm_enable_cap(kvm, cap, entries * sizeof(struct kvm_dirty_gfn));
    if (r < 0) {
        error_set_errno(errp, -r, "dirty-ring-size=%u: the kernel refuses", entries);
        return false;
    }
    kvm->ring_entries = entries;
    return true;
}

/* --- The machine --- */

static bool kvm_accel_probe(Accel *accel, Error **errp)
{
    KvmAccel *a = kvm_accel(accel);
    double mips = 0;
    a->has_cleaner = kvm_probe(a->device, &mips, &a->cleaner, errp);
    if (!a->has_cleaner) {
        return false;
    }
    if (mips >= KVM_USEFUL_MIPS) {
        return true;
    }
    if (accel->has_next) {
        error_set(errp,
                  "it runs a kernel's code at %.1f million instructions a second here, without the "
                  "hardware's help: too slow for an operating system",
                  mips);
        return false;
    }
    report_warning("accelerator 'kvm' runs a kernel's code at %.1f million instructions a second "
                   "here, without the hardware's help; -accel jit is faster",
                   mips);
    return true;
}

static bool open_vm(Kvm *kvm, const char *device, Error **errp)
{
    kvm->fd = open(device, O_RDWR | O_CLOEXEC);
    if (kvm->fd < 0) {
        error_set_errno(errp, errno, "can't open '%s'", device);
        return false;
    }
    if (FAULT("KVM machine", errp)) {
        return false;
    }
    kvm->vm = kvm_ioctl(kvm, KVM_CREATE_VM, NULL);
    if (kvm->vm < 0) {
        error_set_errno(errp, -kvm->vm, "the kernel makes no virtual machine");
        return false;
    }
    kvm->run_bytes = kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (kvm->run_bytes < (int)sizeof(struct kvm_run)) {
        error_set(errp, "the kernel's vCPU page has %d bytes", kvm->run_bytes);
        return false;
    }
    uint64_t identity = IDENTITY_MAP_ADDR;
    int r = 0;
    if (kvm_check(kvm, KVM_CAP_SET_IDENTITY_MAP_ADDR)) {
        r = kvm_vm_ioctl(kvm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    }
    r = r < 0 ? r : kvm_vm_ioctl(kvm, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS_ADDR);
    if (r < 0) {
        report_warning("accelerator 'kvm': the kernel refuses a place for its own pages (%s); "
                       "real mode may not work on old processors",
                       strerror(-r));
    }
    return true;
}

static void kvm_free(Kvm *kvm)
{
    kvm_irq_finish(kvm);
    kvm_memory_finish(kvm);
    kvm_msr_finish(kvm);
    kvm_cpuid_finish(kvm);
    kvm_debug_finish(kvm);
    if (kvm->vm >= 0) {
        close(kvm->vm);
    }
    if (kvm->fd >= 0) {
        close(kvm->fd);
    }
    g_ptr_array_free(kvm->cpus, TRUE);
    pthread_mutex_destroy(&kvm->run_lock);
    pthread_cond_destroy(&kvm->run_cond);
    pthread_mutex_destroy(&kvm->irq_lock);
    pthread_mutex_destroy(&kvm->log_lock);
    g_free(kvm);
}

static Kvm *kvm_new(void)
{
    Kvm *kvm = g_new0(Kvm, 1);
    kvm->fd = kvm->vm = -1;
    kvm->cpus = g_ptr_array_new();
    pthread_mutex_init(&kvm->run_lock, NULL);
    pthread_cond_init(&kvm->run_cond, NULL);
    pthread_mutex_init(&kvm->irq_lock, NULL);
    pthread_mutex_init(&kvm->log_lock, NULL);
    return kvm;
}

static bool kvm_init_machine(Accel *accel, Object *machine, Error **errp)
{
    static const VmVcpuHooks hooks = { .resume_all = cpu_resume_all, .pause_all = cpu_pause_all };
    KvmAccel *a = kvm_accel(accel);
    Kvm *kvm = kvm_new();

    if (!open_vm(kvm, a->device, errp)) {
        goto fail;
    }
    read_caps(kvm);
    kvm_memory_init(kvm);
    if (!make_irqchip(kvm, wanted_irqchip(a, machine), errp) ||
        !set_up_ring(kvm, a->dirty_ring_size, errp) || !kvm_irq_init(kvm, errp) ||
        !kvm_cpuid_init(kvm, errp) || !kvm_msr_init(kvm, errp)) {
        goto fail;
    }
    a->kvm = kvm;
    kvm_install_kick_handler();
    kvm_clock_init(kvm);
    vm_set_vcpu_hooks(&hooks);
    return true;

fail:
    kvm_free(kvm);
    return false;
}

static void kvm_finish_machine(Accel *accel)
{
    KvmAccel *a = kvm_accel(accel);
    if (a->kvm) {
        vm_set_vcpu_hooks(NULL);
        kvm_clock_finish(a->kvm);
        kvm_free(a->kvm);
        a->kvm = NULL;
    }
}

static bool kvm_create_vcpu(Accel *accel, Cpu *cpu, Error **errp)
{
    Kvm *kvm = kvm_accel(accel)->kvm;
    if (!kvm_vcpu_create(kvm, cpu, errp)) {
        error_prepend(errp, "accelerator 'kvm': CPU %d: ", cpu->index);
        return false;
    }
    return true;
}

static void kvm_destroy_vcpu(Accel *accel, Cpu *cpu)
{
    Kvm *kvm = kvm_accel(accel)->kvm;
    if (!cpu->accel) {
        return;
    }
    kvm_vcpu_destroy(kvm, cpu);
    if (!kvm->cpus->len) {
        kvm_memory_unlisten(kvm); /* the address space may go before the accelerator */
    }
}

static void kvm_kick_vcpu(Accel *accel, Cpu *cpu)
{
    kvm_kick(cpu);
}

static void kvm_synchronize_state(Accel *accel, Cpu *cpu)
{
    kvm_synchronize(cpu);
}

static void kvm_discard_state(Accel *accel, Cpu *cpu)
{
    KvmCpu *k = cpu->accel;
    if (k) {
        k->ours = k->lapic_ours = true;
        k->cpu->waits_in_accel = k->kvm->irqchip != ACCEL_IRQCHIP_OFF; /* alive again */
    }
}

static AccelIrqchip kvm_accel_irqchip(Accel *accel)
{
    Kvm *kvm = kvm_accel(accel)->kvm;
    return kvm ? kvm->irqchip : ACCEL_IRQCHIP_OFF;
}

/* --- The type --- */

static const Field kvm_accel_properties[] = {
    PROP_ENUM("kernel-irqchip", KvmAccel, kernel_irqchip, accel_value_type_irqchip,
              ACCEL_IRQCHIP_WISH_AUTO, .help = "interrupt controllers in the kernel"),
    PROP_UINT32("dirty-ring-size", KvmAccel, dirty_ring_size, 0,
                .help = "entries of each vCPU's dirty ring, a power of two; 0: bitmaps"),
    PROP_STRING("device", KvmAccel, device, KVM_DEVICE, .help = "KVM's device node"),
    {},
};

static void kvm_accel_class_init(ObjectClass *klass, const void *data)
{
    AccelClass *ac = accel_class_cast(klass);
    ac->name = "kvm";
    ac->probe = kvm_accel_probe;
    ac->init_machine = kvm_init_machine;
    ac->finish_machine = kvm_finish_machine;
    ac->create_vcpu = kvm_create_vcpu;
    ac->destroy_vcpu = kvm_destroy_vcpu;
    ac->kick_vcpu = kvm_kick_vcpu;
    ac->synchronize_state = kvm_synchronize_state;
    ac->discard_state = kvm_discard_state;
    ac->update_debug = kvm_update_debug;
    ac->irqchip = kvm_accel_irqchip;
    ac->stats = kvm_stats;
    ac->stats_provider = STATS_PROVIDER_KVM;
    ac->runs_guest_code = true;
    kvm_irq_class_init(ac);
}

static void kvm_accel_finalize(Object *obj)
{
    KvmAccel *a = (KvmAccel *)obj;
    if (a->has_cleaner) {
        pthread_join(a->cleaner, NULL);
    }
}

static const TypeInfo kvm_accel_type = {
    .name = TYPE_KVM_ACCEL,
    .parent = TYPE_ACCEL,
    .help = "the host's hardware virtualization, through /dev/kvm",
    .instance_size = sizeof(KvmAccel),
    .properties = kvm_accel_properties,
    .class_init = kvm_accel_class_init,
    .instance_finalize = kvm_accel_finalize,
};
OBJECT_TYPE(kvm_accel, kvm_accel_type)
