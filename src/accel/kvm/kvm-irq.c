/*
 * Interrupts that the kernel delivers: lines of its interrupt controllers, messages, and notifiers
 * (irqfds). What a GSI stands for is the routing table, of which the kernel always gets the whole.
 *
 *   kernel-irqchip=on     GSIs 0-15 are inputs of the 8259s and of the I/O APIC, 16-23 of the
 * latter kernel-irqchip=split  GSIs 0-23 stand for the messages that our I/O APIC's entries would
 * send, so that the kernel knows which vectors' EOIs to tell us both                  further GSIs
 * are messages (MSI) that notifiers raise
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "accel/kvm/kvm-internal.h"
#include "base/report.h"
#include "event/lock.h"

#define PIC_PINS     8
#define IOAPIC_TIMER 2 /* the input that GSI 0 is wired to */

static Kvm *kvm_of(Accel *accel)
{
    return ((KvmAccel *)accel)->kvm;
}

/* --- The table. irq_lock held --- */

static struct kvm_irq_routing_entry *new_entry(Kvm *kvm, uint32_t gsi, uint32_t type)
{
    if (kvm->route_count == kvm->route_room) {
        kvm->route_room = MAX_OF(kvm->route_room * 2, 64u);
        kvm->routes = g_renew(struct kvm_irq_routing_entry, kvm->routes, kvm->route_room);
    }
    struct kvm_irq_routing_entry *e = &kvm->routes[kvm->route_count++];
    *e = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = type };
    return e;
}

static void add_pin(Kvm *kvm, uint32_t gsi, uint32_t chip, uint32_t pin)
{
    struct kvm_irq_routing_entry *e = new_entry(kvm, gsi, KVM_IRQ_ROUTING_IRQCHIP);
    e->u.irqchip.irqchip = chip;
    e->u.irqchip.pin = pin;
}

static struct kvm_irq_routing_entry *find_message(Kvm *kvm, uint32_t gsi)
{
    for (unsigned i = 0; i < kvm->route_count; i++) {
        if (kvm->routes[i].gsi == gsi && kvm->routes[i].type == KVM_IRQ_ROUTING_MSI) {
            return &kvm->routes[i];
        }
    }
    return NULL;
}

static void set_message(struct kvm_irq_routing_entry *e, uint64_t address, uint32_t data)
{
    e->u.msi.address_lo = (uint32_t)address;
    e->u.msi.address_hi = (uint32_t)(address >> 32);
    e->u.msi.data = data;
}

static int commit(Kvm *kvm)
{
    size_t bytes = sizeof(struct kvm_irq_routing) + kvm->route_count * sizeof(kvm->routes[0]);
    g_autofree struct kvm_irq_routing *table = g_malloc0(bytes);
    table->nr = kvm->route_count;
    memcpy(table->entries, kvm->routes, kvm->route_count * sizeof(kvm->routes[0]));
    return kvm_vm_ioctl(kvm, KVM_SET_GSI_ROUTING, table);
}

/* --- Messages without a route --- */

static void send_message(void *opaque, uint64_t address, uint32_t data)
{
    Kvm *kvm = opaque;
    struct kvm_msi msi = {
        .address_lo = (uint32_t)address,
        .address_hi = (uint32_t)(address >> 32),
        .data = data,
    };
    int r = kvm_vm_ioctl(kvm, KVM_SIGNAL_MSI, &msi);
    if (r < 0) {
        report_warning_once("accelerator 'kvm': KVM_SIGNAL_MSI is refused for address 0x%" PRIx64
                            ", data 0x%x: %s",
                            address, data, strerror(-r));
    }
}

/* An entry of our I/O APIC changed (split). */
static void route_changed(void *opaque, unsigned pin, bool masked, uint64_t address, uint32_t data)
{
    Kvm *kvm = opaque;

    pthread_mutex_lock(&kvm->irq_lock);
    struct kvm_irq_routing_entry *e = find_message(kvm, pin);
    bool change = e && (e->u.msi.data != data || e->u.msi.address_lo != (uint32_t)address ||
                        e->u.msi.address_hi != address >> 32);
    /* Masked entries stay as they are: nobody sends them, and an EOI may still be due. */
    if (change && !masked) {
        set_message(e, address, data);
        int r = commit(kvm);
        if (r < 0) {
            report_warning_once("accelerator 'kvm': KVM_SET_GSI_ROUTING: %s", strerror(-r));
        }
    }
    pthread_mutex_unlock(&kvm->irq_lock);
}

static const X86ApicRemote remote = { .send_msi = send_message, .route_changed = route_changed };

/* --- AccelIrqOps --- */

static int route_add(Accel *accel, uint64_t address, uint32_t data, Error **errp)
{
    Kvm *kvm = kvm_of(accel);
    int gsi = -1;

    if (!kvm->caps.irq_routing) {
        error_set(errp, "the host's kernel has no interrupt routes");
        return -1;
    }
    pthread_mutex_lock(&kvm->irq_lock);
    for (int i = KVM_IOAPIC_GSIS; i < kvm->caps.max_gsis && gsi < 0; i++) {
        if (!(kvm->gsi_used[i / 64] >> (i % 64) & 1)) {
            gsi = i;
        }
    }
    if (gsi < 0) {
        error_set(errp, "all %d interrupt routes of the kernel are in use", kvm->caps.max_gsis);
    } else {
        kvm->gsi_used[gsi / 64] |= BIT64(gsi % 64);
        set_message(new_entry(kvm, (uint32_t)gsi, KVM_IRQ_ROUTING_MSI), address, data);
        int r = commit(kvm);
        if (r < 0) {
            kvm->route_count--;
            kvm->gsi_used[gsi / 64] &= ~BIT64(gsi % 64);
            error_set_errno(errp, -r, "the kernel refuses an interrupt route");
            gsi = -1;
        }
    }
    pthread_mutex_unlock(&kvm->irq_lock);
    return gsi;
}

static bool route_change(Accel *accel, int gsi, uint64_t address, uint32_t data, Error **errp)
{
    Kvm *kvm = kvm_of(accel);

    pthread_mutex_lock(&kvm->irq_lock);
    struct kvm_irq_routing_entry *e = find_message(kvm, (uint32_t)gsi);
    assert(e); /* from route_add() */
    set_message(e, address, data);
    int r = commit(kvm);
    pthread_mutex_unlock(&kvm->irq_lock);
    if (r < 0) {
        error_set_errno(errp, -r, "the kernel refuses an interrupt route");
        return false;
    }
    return true;
}

static void route_drop(Accel *accel, int gsi)
{
    Kvm *kvm = kvm_of(accel);

    pthread_mutex_lock(&kvm->irq_lock);
    struct kvm_irq_routing_entry *e = find_message(kvm, (uint32_t)gsi);
    assert(e && gsi >= KVM_IOAPIC_GSIS);
    *e = kvm->routes[--kvm->route_count];
    kvm->gsi_used[gsi / 64] &= ~BIT64(gsi % 64);
    (void)commit(kvm); /* one less can't be too many */
    pthread_mutex_unlock(&kvm->irq_lock);
}

static bool notifier_add(Accel *accel, int gsi, EventNotifier *n, EventNotifier *resample,
                         Error **errp)
{
    Kvm *kvm = kvm_of(accel);
    struct kvm_irqfd irqfd = { .fd = (uint32_t)n->fd, .gsi = (uint32_t)gsi };

    if (!kvm->caps.irqfd || (resample && !kvm->caps.irqfd_resample)) {
        error_set(errp, "the host's kernel has no irqfd%s", resample ? " with resampling" : "s");
        return false;
    }
    if (resample && kvm->irqchip != ACCEL_IRQCHIP_ON) {
        error_set(errp, "irqfds with resampling need the I/O APIC in the kernel; use "
                        "kernel-irqchip=on");
        return false;
    }
    if (resample) {
        irqfd.flags |= KVM_IRQFD_FLAG_RESAMPLE;
        irqfd.resamplefd = (uint32_t)resample->fd;
    }
    int r = kvm_vm_ioctl(kvm, KVM_IRQFD, &irqfd);
    if (r < 0) {
        error_set_errno(errp, -r, "the kernel refuses an irqfd");
        return false;
    }
    return true;
}

static void notifier_del(Accel *accel, int gsi, EventNotifier *n)
{
    struct kvm_irqfd irqfd = {
        .fd = (uint32_t)n->fd,
        .gsi = (uint32_t)gsi,
        .flags = KVM_IRQFD_FLAG_DEASSIGN,
    };
    (void)kvm_vm_ioctl(kvm_of(accel), KVM_IRQFD, &irqfd);
}

static const AccelIrqOps irq_ops = {
    .route_add = route_add,
    .route_change = route_change,
    .route_drop = route_drop,
    .notifier_add = notifier_add,
    .notifier_del = notifier_del,
};

void kvm_irq_class_init(AccelClass *ac)
{
    ac->irq = &irq_ops;
}

/* --- Lines --- */

void kvm_machine_set_irq(int gsi, int level)
{
    struct kvm_irq_level irq = { .irq = (uint32_t)gsi, .level = (uint32_t) !!level };
    int r = kvm_machine_ioctl(KVM_IRQ_LINE, &irq);
    if (r < 0) {
        report_warning_once("accelerator 'kvm': KVM_IRQ_LINE is refused for interrupt %d: %s", gsi,
                            strerror(-r));
    }
}

/* --- Set-up --- */

static void default_routes(Kvm *kvm)
{
    for (uint32_t i = 0; i < KVM_IOAPIC_GSIS; i++) {
        kvm->gsi_used[0] |= BIT64(i);
        if (kvm->irqchip == ACCEL_IRQCHIP_SPLIT) {
            new_entry(kvm, i, KVM_IRQ_ROUTING_MSI);
            continue;
        }
        if (i < 2 * PIC_PINS && i != IOAPIC_TIMER) { /* 2 is the cascade */
            add_pin(kvm, i, i < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
                    i % PIC_PINS);
        }
        if (i == 0) {
            add_pin(kvm, i, KVM_IRQCHIP_IOAPIC, IOAPIC_TIMER);
        } else if (i != IOAPIC_TIMER) {
            add_pin(kvm, i, KVM_IRQCHIP_IOAPIC, i);
        }
    }
}

bool kvm_irq_init(Kvm *kvm, Error **errp)
{
    if (kvm->irqchip == ACCEL_IRQCHIP_OFF) {
        return true;
    }
    default_routes(kvm);
    int r = commit(kvm);
    if (r < 0) {
        error_set_errno(errp, -r,
                        "the kernel refuses the interrupt routes; use "
                        "kernel-irqchip=off");
        return false;
    }
    /* 32-bit ids in messages, and no broadcast at 0xff for x2APICs. */
    r = kvm_enable_cap(kvm, KVM_CAP_X2APIC_API,
                       KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
    kvm->x2apic_ids = r >= 0;
    if (r < 0) {
        report_warning("accelerator 'kvm': KVM_CAP_X2APIC_API is refused (%s); APIC ids end at 254",
                       strerror(-r));
    }
    x86_apic_bus_set_remote(x86_apic_bus(), &remote, kvm);
    return true;
}

void kvm_irq_finish(Kvm *kvm)
{
    if (kvm->irqchip != ACCEL_IRQCHIP_OFF && kvm->route_count) {
        x86_apic_bus_set_remote(x86_apic_bus(), NULL, NULL);
    }
    g_clear_pointer(&kvm->routes, g_free);
    kvm->route_count = 0;
}
