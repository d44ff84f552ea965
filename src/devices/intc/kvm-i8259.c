/*
 * The 8259s in the kernel (kernel-irqchip=on): "kvm-i8259", the model of i8259.c with its state
 * kept by KVM. It decodes no ports here; lines go to the kernel as GSIs.
 *
 * KVM_GET_IRQCHIP, KVM_SET_IRQCHIP: Documentation/virt/kvm/api.rst of the Linux sources.
 */
#include <linux/kvm.h>
#include <string.h>

#include "accel/kvm/kvm.h"
#include "base/report.h"
#include "devices/intc/i8259-internal.h"

static const uint32_t chip_ids[] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE };

static void fetch(I8259 *pic)
{
    for (int i = 0; i < 2; i++) {
        struct kvm_irqchip k = { .chip_id = chip_ids[i] };
        const struct kvm_pic_state *p = &k.chip.pic;
        PicChip *c = &pic->chips[i];
        int r = kvm_machine_ioctl(KVM_GET_IRQCHIP, &k);
        if (r < 0) {
            report_error("kvm-i8259: KVM_GET_IRQCHIP: %s", strerror(-r));
            return;
        }
        c->lines = p->last_irr;
        c->irr = p->irr;
        c->imr = p->imr;
        c->isr = p->isr;
        c->lowest = (p->priority_add + 7) & 7;
        c->vector_base = p->irq_base;
        c->read_isr = p->read_reg_select;
        c->poll = p->poll;
        c->special_mask = p->special_mask;
        c->init = p->init_state;
        c->auto_eoi = p->auto_eoi;
        c->rotate_on_auto_eoi = p->rotate_on_auto_eoi;
        c->special_nested = p->special_fully_nested_mode;
        c->want_icw4 = p->init4;
        c->elcr = p->elcr;
    }
}

static void store(I8259 *pic)
{
    for (int i = 0; i < 2; i++) {
        const PicChip *c = &pic->chips[i];
        struct kvm_irqchip k = {
            .chip_id = chip_ids[i],
            .chip.pic = {
                .last_irr = c->lines,
                .irr = c->irr,
                .imr = c->imr,
                .isr = c->isr,
                .priority_add = (c->lowest + 1) & 7,
                .irq_base = c->vector_base,
                .read_reg_select = c->read_isr,
                .poll = c->poll,
                .special_mask = c->special_mask,
                .init_state = c->init,
                .auto_eoi = c->auto_eoi,
                .rotate_on_auto_eoi = c->rotate_on_auto_eoi,
                .special_fully_nested_mode = c->special_nested,
                .init4 = c->want_icw4,
                .elcr = c->elcr,
                .elcr_mask = c->elcr_mask,
            },
        };
        int r = kvm_machine_ioctl(KVM_SET_IRQCHIP, &k);
        if (r < 0) {
            report_error("kvm-i8259: KVM_SET_IRQCHIP: %s", strerror(-r));
        }
    }
}

static void set_line(I8259 *pic, int n, int level)
{
    kvm_machine_set_irq(n, level);
}

/* The ports are the kernel's. */
static bool kvm_i8259_realize(Device *dev, Error **errp)
{
    return true;
}

static void kvm_i8259_unrealize(Device *dev)
{
}

static void kvm_i8259_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    I8259Class *pc = i8259_class_cast(klass);

    dc->realize = kvm_i8259_realize;
    dc->unrealize = kvm_i8259_unrealize;
    pc->fetch = fetch;
    pc->store = store;
    pc->set_line = set_line;
}

static const TypeInfo kvm_i8259_info = {
    .name = TYPE_KVM_I8259,
    .parent = TYPE_I8259,
    .help = "8259A interrupt controllers in the kernel",
    .class_init = kvm_i8259_class_init,
};
OBJECT_TYPE(kvm_i8259, kvm_i8259_info)
