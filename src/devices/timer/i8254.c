/*
 * 8254 programmable interval timer with the PC's port 61h: counter 0 is the system timer, counter
 * 1 once refreshed memory, counter 2 is gated by port 61h and drives the speaker.
 *
 * Intel 8254 data sheet (order number 231164); port 61h: ICH9 section 13.7.1. Time is computed from
 * CLK_VIRTUAL whenever a register is read; only counter 0's output has a timer. A new count written
 * in mid-period in modes 2 and 3 takes effect at once instead of at the end of the period.
 */
#include "devices/timer/i8254.h"

#include "base/log.h"
#include "bus/isa.h"
#include "devices/timer/i8254-internal.h"

#define PIT_PORT     0x40
#define SPEAKER_PORT 0x61

/* Control word, data sheet figure 7. */
#define CW_BCD           0x01u
#define CW_MODE_SHIFT    1
#define CW_ACCESS_SHIFT  4
#define CW_COUNTER_SHIFT 6
#define CW_READ_BACK     3
#define RB_NO_COUNT      0x20u
#define RB_NO_STATUS     0x10u
#define STATUS_OUT       0x80u
#define STATUS_NULL      0x40u

#define SPK_GATE    0x01u /* counter 2's gate */
#define SPK_DATA    0x02u /* speaker on */
#define SPK_REFRESH 0x10u /* toggles with each refresh request */
#define SPK_OUT2    0x20u /* counter 2's output */
#define REFRESH_NS  15085 /* a refresh request about each 15 us */

/* Edges that are made up come this far apart: closer together they would be one interrupt to a
 * guest that hasn't taken the first yet. */
#define CATCH_UP_NS (100 * NS_PER_US)

static I8254 *i8254_cast(void *obj)
{
    return (I8254 *)object_cast((Object *)obj, TYPE_I8254);
}

static uint64_t ticks_since(const PitCounter *c, int64_t now)
{
    return (unsigned __int128)(now - c->start) * PIT_HZ / NS_PER_SECOND;
}

/* The first ns at which that many ticks have passed. */
static int64_t ticks_to_time(const PitCounter *c, uint64_t ticks)
{
    return c->start + (int64_t)(((unsigned __int128)ticks * NS_PER_SECOND + PIT_HZ - 1) / PIT_HZ);
}

static bool periodic(const PitCounter *c)
{
    return c->mode == 2 || c->mode == 3;
}

static bool counting(const PitCounter *c)
{
    return c->loaded && c->start >= 0;
}

/* Level of the OUT pin after t ticks. */
static bool output_after(const PitCounter *c, uint64_t t)
{
    switch (c->mode) {
    case 0:
    case 1:
        return t >= c->reload;
    case 2:
        return t % c->reload != c->reload - 1;
    case 3:
        return t % c->reload < (c->reload + 1) / 2;
    default: /* 4, 5: low for one tick */
        return t != c->reload;
    }
}

static bool counter_output(const PitCounter *c, int64_t now)
{
    if (!counting(c)) {
        return c->mode != 0;
    }
    if (periodic(c) && !c->gate) {
        return true;
    }
    return output_after(c, ticks_since(c, now));
}

/* Ticks at which the output changes next, after t; UINT64_MAX if never. */
static uint64_t next_change(const PitCounter *c, uint64_t t)
{
    uint64_t in = t % c->reload, period = t - in, half = (c->reload + 1) / 2;

    switch (c->mode) {
    case 0:
    case 1:
        return t < c->reload ? c->reload : UINT64_MAX;
    case 2:
        return in < c->reload - 1 ? period + c->reload - 1 : period + c->reload;
    case 3:
        return in < half ? period + half : period + c->reload;
    default:
        return t < c->reload ? c->reload : t == c->reload ? c->reload + 1 : UINT64_MAX;
    }
}

/* now: the time that is looked at; behind the clock's when an edge comes late. */
static void update_irq(I8254 *s, int64_t now)
{
    PitCounter *c = &s->counters[0];
    uint64_t change = UINT64_MAX;
    int64_t real_now = clock_now(CLK_VIRTUAL);

    if (!s->irq_cut) {
        irq_set(s->out, counter_output(c, now));
        if (counting(c) && c->gate) {
            change = next_change(c, ticks_since(c, now));
        }
    }
    if (change == UINT64_MAX) {
        s->next_edge = -1;
        timer_cancel(s->timer);
    } else {
        s->next_edge = ticks_to_time(c, change);
        bool late = real_now - now > CATCH_UP_NS;
        timer_set(s->timer, late ? MAX_OF(s->next_edge, real_now + CATCH_UP_NS) : s->next_edge);
    }
}

/* Looks at the time the edge was due, not at now: a host that is a little late loses no edges. */
static void pit_timer(void *opaque)
{
    I8254 *s = opaque;
    int64_t due = s->next_edge, now = clock_now(CLK_VIRTUAL);

    if (due < 0) {
        return;
    }
    if (now - due > NS_PER_SECOND / 4) {
        /* Far behind (a stopped host): one edge is made up, the others are lost. */
        irq_set(s->out, counter_output(&s->counters[0], due));
        due = now;
    }
    update_irq(s, due);
}

static uint16_t to_bcd(uint32_t v)
{
    return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

static uint32_t from_bcd(uint16_t v)
{
    return (v & 0xf) + (v >> 4 & 0xf) * 10 + (v >> 8 & 0xf) * 100 + (v >> 12 & 0xf) * 1000;
}

static uint16_t current_count(const PitCounter *c, int64_t now)
{
    uint32_t wrap = c->bcd ? 10000 : 0x10000;
    uint32_t count;

    if (!counting(c)) {
        count = c->reload;
    } else {
        uint64_t t = ticks_since(c, now);
        switch (c->mode) {
        case 2:
            count = c->reload - t % c->reload;
            break;
        case 3: /* counts by two, twice a period */
            count = c->reload - (t * 2) % c->reload;
            break;
        default: /* goes on below zero */
            count = (c->reload + wrap - t % wrap) % wrap;
            break;
        }
    }
    return c->bcd ? to_bcd(count % wrap) : count;
}

static void load_count(I8254 *s, int n, uint16_t value)
{
    PitCounter *c = &s->counters[n];
    int64_t now = clock_now(CLK_VIRTUAL);
    uint32_t count = c->bcd ? from_bcd(value) : value;

    if (count == 0) {
        count = c->bcd ? 10000 : 0x10000;
    }
    /* 1 is illegal in modes 2 and 3 (figures 17 and 18): the output could never go low. */
    if (count == 1 && periodic(c)) {
        log_guest_error("pit: count of 1 in mode %u of counter %d\n", c->mode, n);
        count = 2;
    }
    c->reload = count;
    c->loaded = true;
    /* Modes 1 and 5 wait for an edge on the gate. */
    if (c->mode != 1 && c->mode != 5) {
        c->start = now;
    }
    if (n == 0) {
        update_irq(s, now);
    }
}

static void set_gate(PitCounter *c, bool gate)
{
    if (gate && !c->gate && c->mode != 0 && c->mode != 4) {
        c->start = clock_now(CLK_VIRTUAL); /* a rising gate triggers */
    }
    c->gate = gate;
}

static void latch_count(PitCounter *c)
{
    if (!c->count_latched) {
        c->latch = current_count(c, clock_now(CLK_VIRTUAL));
        c->count_latched = c->access == ACCESS_WORD ? 2 : 1;
    }
}

static void latch_status(PitCounter *c)
{
    if (!c->status_latched) {
        c->status = (counter_output(c, clock_now(CLK_VIRTUAL)) ? STATUS_OUT : 0) |
                    (c->loaded ? 0 : STATUS_NULL) | c->access << CW_ACCESS_SHIFT |
                    c->mode << CW_MODE_SHIFT | c->bcd;
        c->status_latched = true;
    }
}

static void read_back(I8254 *s, uint8_t value)
{
    for (int i = 0; i < 3; i++) {
        if (value & (2u << i)) {
            if (!(value & RB_NO_COUNT)) {
                latch_count(&s->counters[i]);
            }
            if (!(value & RB_NO_STATUS)) {
                latch_status(&s->counters[i]);
            }
        }
    }
}

static void write_control(I8254 *s, uint8_t value)
{
    unsigned n = value >> CW_COUNTER_SHIFT;
    PitCounter *c;

    if (n == CW_READ_BACK) {
        read_back(s, value);
        return;
    }
    c = &s->counters[n];
    if ((value >> CW_ACCESS_SHIFT & 3) == ACCESS_LATCH) {
        latch_count(c);
        return;
    }
    c->access = value >> CW_ACCESS_SHIFT & 3;
    c->mode = value >> CW_MODE_SHIFT & 7;
    if (c->mode > 5) {
        c->mode &= 3; /* bit 2 is "don't care" in modes 2 and 3 */
    }
    c->bcd = value & CW_BCD;
    c->loaded = c->write_high = c->read_high = false;
    c->count_latched = 0;
    c->start = -1;
    if (n == 0) {
        update_irq(s, clock_now(CLK_VIRTUAL));
    }
}

static void write_counter(I8254 *s, int n, uint8_t value)
{
    PitCounter *c = &s->counters[n];

    switch (c->access) {
    case ACCESS_LOW:
        load_count(s, n, value);
        break;
    case ACCESS_HIGH:
        load_count(s, n, value << 8);
        break;
    case ACCESS_WORD:
        if (c->write_high) {
            load_count(s, n, c->write_low | value << 8);
        } else {
            c->write_low = value;
        }
        c->write_high = !c->write_high;
        break;
    default:
        break;
    }
}

static uint8_t read_counter(PitCounter *c)
{
    uint16_t count;
    bool high;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->count_latched) {
        high = c->access == ACCESS_HIGH || (c->access == ACCESS_WORD && c->count_latched == 1);
        c->count_latched--;
        return high ? c->latch >> 8 : c->latch;
    }
    count = current_count(c, clock_now(CLK_VIRTUAL));
    high = c->access == ACCESS_HIGH || (c->access == ACCESS_WORD && c->read_high);
    if (c->access == ACCESS_WORD) {
        c->read_high = !c->read_high;
    }
    return high ? count >> 8 : count;
}

static void pit_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    if (addr == 3) {
        write_control(opaque, value);
    } else {
        write_counter(opaque, addr, value);
    }
}

static uint64_t pit_read(void *opaque, hwaddr addr, unsigned size)
{
    I8254 *s = opaque;
    return addr == 3 ? 0 : read_counter(&s->counters[addr]);
}

static void speaker_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    I8254 *s = opaque;

    s->speaker_data = value & SPK_DATA;
    set_gate(&s->counters[2], value & SPK_GATE);
}

static uint64_t speaker_read(void *opaque, hwaddr addr, unsigned size)
{
    I8254 *s = opaque;
    int64_t now = clock_now(CLK_VIRTUAL);

    return (s->counters[2].gate ? SPK_GATE : 0) | (s->speaker_data ? SPK_DATA : 0) |
           (now / REFRESH_NS & 1 ? SPK_REFRESH : 0) |
           (counter_output(&s->counters[2], now) ? SPK_OUT2 : 0);
}

static const MemoryRegionOps pit_ops = {
    .read = pit_read,
    .write = pit_write,
    .impl = { .min = 1, .max = 1 },
};

static const MemoryRegionOps speaker_ops = {
    .read = speaker_read,
    .write = speaker_write,
    .impl = { .min = 1, .max = 1 },
};

static void pit_set_cut(void *opaque, int n, int level)
{
    I8254 *s = opaque;

    s->irq_cut = level;
    if (i8254_class_of(s)->store) {
        i8254_class_of(s)->store(s, true);
        return;
    }
    if (level) {
        irq_lower(s->out);
    }
    update_irq(s, clock_now(CLK_VIRTUAL));
}

/* Power-on state is undefined; a counter 0 running at 18.2 Hz is what firmware leaves, and its
 * interrupt does no harm while the PIC is masked. */
static void pit_reset(Device *dev)
{
    I8254 *s = i8254_cast(dev);
    int64_t now = clock_now(CLK_VIRTUAL);

    for (int i = 0; i < 3; i++) {
        s->counters[i] = (PitCounter){
            .reload = 0x10000,
            .mode = 3,
            .access = ACCESS_WORD,
            .gate = i != 2,
            .start = now,
            .loaded = true,
        };
    }
    s->irq_cut = false;
    s->speaker_data = false;
    if (i8254_class_of(s)->store) {
        i8254_class_of(s)->store(s, false);
    } else {
        update_irq(s, now);
    }
}

static const VmState counter_vmstate = {
    .name = "i8254-counter",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT32(reload, PitCounter),
            VMSTATE_UINT8(mode, PitCounter),
            VMSTATE_UINT8(access, PitCounter),
            VMSTATE_BOOL(bcd, PitCounter),
            VMSTATE_BOOL(gate, PitCounter),
            VMSTATE_BOOL(loaded, PitCounter),
            VMSTATE_BOOL(write_high, PitCounter),
            VMSTATE_BOOL(read_high, PitCounter),
            VMSTATE_BOOL(status_latched, PitCounter),
            VMSTATE_UINT8(write_low, PitCounter),
            VMSTATE_UINT8(status, PitCounter),
            VMSTATE_UINT8(count_latched, PitCounter),
            VMSTATE_UINT16(latch, PitCounter),
            VMSTATE_INT64(start, PitCounter),
            {},
        },
};

static bool pit_post_load(void *opaque, int version, Error **errp)
{
    I8254 *s = opaque;

    for (int i = 0; i < 3; i++) {
        const PitCounter *c = &s->counters[i];
        if (c->reload < 1 || c->reload > 0x10000 || c->mode > 5 || c->access > ACCESS_WORD ||
            c->count_latched > 2 || (periodic(c) && c->reload < 2)) {
            error_set(errp, "i8254: state of counter %d is out of range", i);
            return false;
        }
    }
    if (i8254_class_of(s)->store) {
        i8254_class_of(s)->store(s, false);
    }
    return true;
}

static bool pit_pre_save(void *opaque, Error **errp)
{
    I8254 *s = opaque;
    if (i8254_class_of(s)->fetch) {
        i8254_class_of(s)->fetch(s);
    }
    return true;
}

static const VmState i8254_vmstate = {
    .name = "i8254",
    .version = 1,
    .minimum_version = 1,
    .pre_save = pit_pre_save,
    .post_load = pit_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT_ARRAY(counters, I8254, counter_vmstate),
            VMSTATE_BOOL(irq_cut, I8254),
            VMSTATE_BOOL(speaker_data, I8254),
            VMSTATE_INT64(next_edge, I8254),
            VMSTATE_TIMER(timer, I8254),
            {},
        },
};

static bool pit_realize(Device *dev, Error **errp)
{
    I8254 *s = i8254_cast(dev);

    s->timer = timer_new(event_loop_main(), CLK_VIRTUAL, pit_timer, s);
    isa_device_add_io(dev, &s->io, PIT_PORT);
    isa_device_add_io(dev, &s->speaker_io, SPEAKER_PORT);
    return true;
}

static void pit_unrealize(Device *dev)
{
    I8254 *s = i8254_cast(dev);

    isa_device_del_io(dev, &s->io);
    isa_device_del_io(dev, &s->speaker_io);
    timer_free(s->timer);
    s->timer = NULL;
}

static void pit_init(Object *obj)
{
    I8254 *s = i8254_cast(obj);

    memory_region_init_io(&s->io, obj, &pit_ops, s, "pit", 4);
    memory_region_init_io(&s->speaker_io, obj, &speaker_ops, s, "pcspk", 1);
    device_init_lines_in(&s->parent, NULL, pit_set_cut, 1);
    device_init_lines_out(&s->parent, NULL, &s->out, 1);
}

static void pit_finalize(Object *obj)
{
    I8254 *s = i8254_cast(obj);

    memory_region_finish(&s->io);
    memory_region_finish(&s->speaker_io);
}

static void pit_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = pit_realize;
    dc->unrealize = pit_unrealize;
    dc->reset = pit_reset;
    dc->vmstate = &i8254_vmstate;
    dc->user_creatable = false;
}

static const TypeInfo i8254_info = {
    .name = TYPE_I8254,
    .parent = TYPE_ISA_DEVICE,
    .help = "8254 interval timer and speaker port",
    .instance_size = sizeof(I8254),
    .class_size = sizeof(I8254Class),
    .instance_init = pit_init,
    .instance_finalize = pit_finalize,
    .class_init = pit_class_init,
};
OBJECT_TYPE(i8254, i8254_info)
