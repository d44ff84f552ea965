/*
 * The I/O APIC in the kernel (kernel-irqchip=on): "kvm-ioapic", the model of ioapic.c with its
 * state kept by KVM. Its registers are not decoded here; lines go to the kernel as GSIs.
 *
 * KVM_GET_IRQCHIP, KVM_SET_IRQCHIP: Documentation/virt/kvm/api.rst of the Linux sources.
 */
#include <linux/kvm.h>
#include <string.h>

#include "accel/kvm/kvm.h"
#include "base/report.h"
#include "devices/intc/ioapic-internal.h"

#define TIMER_PIN 2 /* which GSI 0 is wired to */

static void fetch(IoApic *s)
{
    struct kvm_irqchip k = { .chip_id = KVM_IRQCHIP_IOAPIC };
    const struct kvm_ioapic_state *p = &k.chip.ioapic;
    int r = kvm_machine_ioctl(KVM_GET_IRQCHIP, &k);

    if (r < 0) {
        report_error("kvm-ioapic: KVM_GET_IRQCHIP: %s", strerror(-r));
        return;
    }
    s->id = (uint8_t)p->id;
    s->select = (uint8_t)p->ioregsel;
    s->irr = p->irr;
    for (int pin = 0; pin < IOAPIC_PINS; pin++) {
        s->redir[pin] = p->redirtbl[pin].bits;
    }
}

static void store(IoApic *s)
{
    struct kvm_irqchip k = {
        .chip_id = KVM_IRQCHIP_IOAPIC,
        .chip.ioapic = {
            .base_address = IOAPIC_DEFAULT_BASE,
            .id = s->id,
            .ioregsel = s->select,
            .irr = s->irr,
        },
    };
    for (int pin = 0; pin < IOAPIC_PINS; pin++) {
        k.chip.ioapic.redirtbl[pin].bits = s->redir[pin];
    }
    int r = kvm_machine_ioctl(KVM_SET_IRQCHIP, &k);
    if (r < 0) {
        report_error("kvm-ioapic: KVM_SET_IRQCHIP: %s", strerror(-r));
    }
}

static void set_line(IoApic *s, int pin, int level)
{
    s->lines = level ? s->lines | 1u << pin : s->lines & ~(1u << pin);
    kvm_machine_set_irq(pin == TIMER_PIN ? 0 : pin, level);
}

/* The registers are the kernel's, EOIs too. */
static bool kvm_ioapic_realize(Device *dev, Error **errp)
{
    return true;
}

static void kvm_ioapic_unrealize(Device *dev)
{
}

static void kvm_ioapic_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    IoApicClass *ic = ioapic_class_cast(klass);

    dc->realize = kvm_ioapic_realize;
    dc->unrealize = kvm_ioapic_unrealize;
    ic->fetch = fetch;
    ic->store = store;
    ic->set_line = set_line;
}

static const TypeInfo kvm_ioapic_info = {
    .name = TYPE_KVM_IOAPIC,
    .parent = TYPE_IOAPIC,
    .help = "I/O APIC in the kernel",
    .class_init = kvm_ioapic_class_init,
};
OBJECT_TYPE(kvm_ioapic, kvm_ioapic_info)
