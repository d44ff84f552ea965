/*
 * The 8254 in the kernel (kernel-irqchip=on): "kvm-pit", the model of i8254.c with its state kept
 * by KVM, port 61h included. It raises GSI 0 by itself.
 *
 * KVM_CREATE_PIT2, KVM_GET_PIT2, KVM_SET_PIT2: Documentation/virt/kvm/api.rst of the Linux sources.
 */
#include <linux/kvm.h>
#include <string.h>
#include <time.h>

#include "accel/kvm/kvm.h"
#include "base/fault.h"
#include "base/report.h"
#include "devices/timer/i8254-internal.h"

/* read_state, write_state: which byte comes next. */
enum { STATE_LOW = 1, STATE_HIGH = 2, STATE_WORD_LOW = 3, STATE_WORD_HIGH = 4 };

/* What is added to the kernel's time to get CLK_VIRTUAL, ns. */
static int64_t time_offset(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return clock_now(CLK_VIRTUAL) - (now.tv_sec * NS_PER_SECOND + now.tv_nsec);
}

static void fetch(I8254 *s)
{
    struct kvm_pit_state2 k = { 0 };
    int64_t offset = time_offset();
    int r = kvm_machine_ioctl(KVM_GET_PIT2, &k);

    if (r < 0) {
        report_error("kvm-pit: KVM_GET_PIT2: %s", strerror(-r));
        return;
    }
    for (int i = 0; i < 3; i++) {
        const struct kvm_pit_channel_state *p = &k.channels[i];
        PitCounter *c = &s->counters[i];
        c->reload = p->count ? MIN_OF(p->count, 0x10000u) : 0x10000;
        c->mode = MIN_OF(p->mode, 5);
        c->access = p->rw_mode & 3;
        c->bcd = p->bcd;
        c->gate = p->gate;
        c->loaded = true;
        c->write_high = p->write_state == STATE_WORD_HIGH;
        c->read_high = p->read_state == STATE_WORD_HIGH;
        c->status_latched = p->status_latched;
        c->status = p->status;
        c->write_low = p->write_latch;
        c->count_latched = p->count_latched == STATE_WORD_LOW ? 2 : p->count_latched ? 1 : 0;
        c->latch = p->latched_count;
        c->start = p->count_load_time + offset;
    }
    s->irq_cut = k.flags & KVM_PIT_FLAGS_HPET_LEGACY;
}

static uint8_t byte_state(const PitCounter *c, bool high)
{
    return c->access == ACCESS_WORD   ? (high ? STATE_WORD_HIGH : STATE_WORD_LOW)
           : c->access == ACCESS_HIGH ? STATE_HIGH
                                      : STATE_LOW;
}

static void fill(const I8254 *s, struct kvm_pit_state2 *k)
{
    int64_t offset = time_offset();

    for (int i = 0; i < 3; i++) {
        const PitCounter *c = &s->counters[i];
        k->channels[i] = (struct kvm_pit_channel_state){
            .count = c->reload,
            .latched_count = c->latch,
            .count_latched = c->count_latched ? byte_state(c, c->count_latched == 1) : 0,
            .status_latched = c->status_latched,
            .status = c->status,
            .read_state = byte_state(c, c->read_high),
            .write_state = byte_state(c, c->write_high),
            .write_latch = c->write_low,
            .rw_mode = c->access,
            .mode = c->mode,
            .bcd = c->bcd,
            .gate = c->gate,
            .count_load_time = MAX_OF(c->start, 0) - offset,
        };
    }
}

static void store(I8254 *s, bool cut_only)
{
    struct kvm_pit_state2 k = { 0 };
    int r = kvm_machine_ioctl(KVM_GET_PIT2, &k);

    if (!cut_only) {
        fill(s, &k);
    }
    k.flags = s->irq_cut ? k.flags | KVM_PIT_FLAGS_HPET_LEGACY
                         : k.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY;
    r = r < 0 ? r : kvm_machine_ioctl(KVM_SET_PIT2, &k);
    if (r < 0) {
        report_error("kvm-pit: KVM_SET_PIT2: %s", strerror(-r));
    }
}

static bool kvm_pit_realize(Device *dev, Error **errp)
{
    struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };
    int r;

    if (FAULT("KVM interval timer", errp)) {
        return false;
    }
    r = kvm_machine_ioctl(KVM_CREATE_PIT2, &config);
    if (r < 0) {
        error_set_errno(errp, -r, "the kernel makes no interval timer; use kernel-irqchip=split");
        return false;
    }
    return true;
}

static void kvm_pit_unrealize(Device *dev)
{
}

static void kvm_pit_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    I8254Class *pc = i8254_class_cast(klass);

    dc->realize = kvm_pit_realize;
    dc->unrealize = kvm_pit_unrealize;
    pc->fetch = fetch;
    pc->store = store;
}

static const TypeInfo kvm_pit_info = {
    .name = TYPE_KVM_PIT,
    .parent = TYPE_I8254,
    .help = "8254 interval timer and speaker port in the kernel",
    .class_init = kvm_pit_class_init,
};
OBJECT_TYPE(kvm_pit, kvm_pit_info)
