/*
 * High precision event timers.
 *
 * IA-PC HPET specification 1.0a. The main counter runs at 100 MHz, derived from CLK_VIRTUAL when
 * read; each comparator has a timer of the main loop.
 */
#include "devices/timer/hpet.h"

#include "base/log.h"
#include "event/clock.h"
#include "object/property.h"

/* Register offsets, section 2.3.1. */
#define HPET_ID      0x000
#define HPET_CFG     0x010
#define HPET_STATUS  0x020
#define HPET_COUNTER 0x0f0
#define HPET_TIMER0  0x100 /* 0x20 apart */
#define TN_CFG       0x00
#define TN_CMP       0x08
#define TN_ROUTE     0x10 /* FSB interrupt: value, then address */

#define ID_64BIT    BIT64(13)
#define ID_LEGACY   BIT64(15)
#define ID_VENDOR   (UINT64_C(0x8086) << 16)
#define ID_REVISION UINT64_C(1)
#define PERIOD_NS   10
#define FS_PER_NS   UINT64_C(1000000)

#define CFG_ENABLE   BIT64(0)
#define CFG_LEGACY   BIT64(1)
#define CFG_WRITABLE (CFG_ENABLE | CFG_LEGACY)

/* Timer configuration, section 2.3.8. */
#define TN_LEVEL        BIT64(1)
#define TN_ENABLE       BIT64(2)
#define TN_PERIODIC     BIT64(3)
#define TN_PERIODIC_OK  BIT64(4)
#define TN_SIZE_64      BIT64(5)
#define TN_SET_VALUE    BIT64(6)
#define TN_32BIT        BIT64(8)
#define TN_ROUTE_SHIFT  9
#define TN_ROUTE_MASK   0x1fu
#define TN_FSB          BIT64(14)
#define TN_FSB_OK       BIT64(15)
#define TN_INTCAP_SHIFT 32
#define TN_WRITABLE     UINT64_C(0x7f4e)

#define HPET_MIN_TIMERS 3
#define HPET_MAX_TIMERS 32
/* A comparator further away than this (58 years) is not waited for. */
#define FAR_TICKS (UINT64_C(1) << 57)
/* Interrupts that a late host owes: at most so many, so far apart that a CPU takes each. */
#define MISSED_MAX      256
#define MAKE_UP_PACE_NS (200 * NS_PER_US)

typedef struct HpetTimer {
    uint64_t config, comparator, period, route;
    Timer *timer;
    Timer *make_up;  /* while interrupts are missed */
    unsigned missed; /* the host's lateness: no state of the guest's */
    struct Hpet *hpet;
    uint8_t n;
} HpetTimer;

typedef struct Hpet {
    Device parent;
    uint64_t config, status;
    uint64_t counter; /* value while it stands still; else at started */
    int64_t started;  /* ns of CLK_VIRTUAL */
    HpetTimer timers[HPET_MAX_TIMERS];
    bool rtc_level;

    uint8_t num_timers;
    uint32_t intcap;
    bool msi;
    Irq *out[HPET_ROUTES];
    Irq *pit_cut;
    MemoryRegion mmio;
} Hpet;

static Hpet *hpet_cast(void *obj)
{
    return (Hpet *)object_cast((Object *)obj, TYPE_HPET);
}

static bool running(const Hpet *s)
{
    return s->config & CFG_ENABLE;
}

static uint64_t counter_at(const Hpet *s, int64_t now)
{
    return running(s) ? s->counter + (now - s->started) / PERIOD_NS : s->counter;
}

static bool is_32bit(const HpetTimer *t)
{
    return t->config & TN_32BIT;
}

static bool is_periodic(const HpetTimer *t)
{
    return t->config & TN_PERIODIC;
}

/* System interrupt of a timer. */
static unsigned route_of(const HpetTimer *t)
{
    if ((t->hpet->config & CFG_LEGACY) && t->n <= 1) {
        return t->n == 0 ? 0 : 8;
    }
    return t->config >> TN_ROUTE_SHIFT & TN_ROUTE_MASK;
}

static void set_route(Hpet *s, unsigned route, int level)
{
    if (route < HPET_ROUTES) {
        irq_set(s->out[route], level);
    }
}

static void fire(HpetTimer *t)
{
    Hpet *s = t->hpet;

    if (t->config & TN_LEVEL) {
        s->status |= BIT64(t->n);
    }
    if (!(t->config & TN_ENABLE)) {
        return;
    }
    if ((t->config & TN_FSB) && s->msi) {
        address_space_store(address_space_memory(), t->route >> 32, 4, MEMTXATTRS_UNSPECIFIED,
                            (uint32_t)t->route);
    } else if (t->config & TN_LEVEL) {
        set_route(s, route_of(t), 1);
    } else {
        set_route(s, route_of(t), 1);
        set_route(s, route_of(t), 0);
    }
}

/* Ticks until the comparator matches next, after `count`. */
static uint64_t distance(const HpetTimer *t, uint64_t count)
{
    if (is_32bit(t)) {
        uint32_t d = (uint32_t)t->comparator - (uint32_t)count;
        return d ? d : UINT64_C(1) << 32;
    }
    return t->comparator - count;
}

static void arm(HpetTimer *t)
{
    Hpet *s = t->hpet;
    uint64_t d;

    if (!running(s) || (is_periodic(t) && !t->period)) {
        timer_cancel(t->timer);
        return;
    }
    d = distance(t, counter_at(s, clock_now(CLK_VIRTUAL)));
    /* A guest that lost its CPU between reading the counter and setting up a periodic timer is
     * behind it already: it is not to wait until the counter comes round. */
    if (is_periodic(t) && (is_32bit(t) ? (int32_t)(uint32_t)d <= 0 : (int64_t)d <= 0)) {
        timer_set(t->timer, clock_now(CLK_VIRTUAL));
        return;
    }
    if (d == 0 || d > FAR_TICKS) {
        timer_cancel(t->timer);
        return;
    }
    /* From the counter's own origin, so that periods don't drift by the host's lateness. */
    uint64_t at = counter_at(s, clock_now(CLK_VIRTUAL)) + d - s->counter;
    timer_set(t->timer, s->started + (int64_t)at * PERIOD_NS);
}

/* The comparator of a periodic timer that has fired: the next multiple after now. Returns the
 * periods that are over without an interrupt: the host was late. */
static uint64_t advance(HpetTimer *t, uint64_t count)
{
    if (is_32bit(t)) {
        uint32_t behind = (uint32_t)count - (uint32_t)t->comparator;
        uint32_t period = t->period;
        t->comparator = (uint32_t)(t->comparator + (behind / period + 1) * period);
        return behind / period;
    }
    uint64_t periods = (count - t->comparator) / t->period;
    t->comparator += (periods + 1) * t->period;
    return periods;
}

static void make_up(void *opaque);

/* Interrupts of a loaded host are made up for, one after the other: a guest that counts ticks, as
 * Linux does while it looks for its timer, gets them all. */
static void note_missed(HpetTimer *t, uint64_t periods)
{
    t->missed = MIN_OF(t->missed + periods, MISSED_MAX);
    if (t->missed) {
        timer_set(t->make_up, clock_now(CLK_VIRTUAL) + MAKE_UP_PACE_NS);
    }
}

static void make_up(void *opaque)
{
    HpetTimer *t = opaque;

    if (t->missed && running(t->hpet) && is_periodic(t)) {
        t->missed--;
        fire(t);
        note_missed(t, 0);
    }
}

static void hpet_timer_fn(void *opaque)
{
    HpetTimer *t = opaque;

    if (is_periodic(t) && t->period && (!is_32bit(t) || (uint32_t)t->period)) {
        note_missed(t, advance(t, counter_at(t->hpet, clock_now(CLK_VIRTUAL))));
    }
    fire(t);
    arm(t);
}

/* --- Guest --- */

static uint64_t capabilities(const Hpet *s)
{
    return (PERIOD_NS * FS_PER_NS) << 32 | ID_VENDOR | ID_LEGACY | ID_64BIT |
           (uint64_t)(s->num_timers - 1) << 8 | ID_REVISION;
}

uint32_t hpet_block_id(Device *hpet)
{
    return capabilities(hpet_cast(hpet));
}

static uint64_t read_register(Hpet *s, hwaddr reg)
{
    if (reg >= HPET_TIMER0) {
        unsigned n = (reg - HPET_TIMER0) / 0x20;
        if (n >= s->num_timers) {
            return 0;
        }
        switch (reg & 0x1f) {
        case TN_CFG:
            return s->timers[n].config;
        case TN_CMP:
            return s->timers[n].comparator;
        case TN_ROUTE:
            return s->timers[n].route;
        default:
            return 0;
        }
    }
    switch (reg) {
    case HPET_ID:
        return capabilities(s);
    case HPET_CFG:
        return s->config;
    case HPET_STATUS:
        return s->status;
    case HPET_COUNTER:
        return counter_at(s, clock_now(CLK_VIRTUAL));
    default:
        return 0;
    }
}

static void update_legacy(Hpet *s, bool on)
{
    irq_set(s->pit_cut, on);
    if (!on) {
        set_route(s, 8, s->rtc_level);
    } else {
        set_route(s, 8, 0);
    }
}

static void write_config(Hpet *s, uint64_t value)
{
    uint64_t old = s->config;
    int64_t now = clock_now(CLK_VIRTUAL);

    value &= CFG_WRITABLE;
    if (!(old & CFG_ENABLE) && (value & CFG_ENABLE)) {
        s->started = now;
    } else if ((old & CFG_ENABLE) && !(value & CFG_ENABLE)) {
        s->counter = counter_at(s, now);
    }
    s->config = value;
    if ((old ^ value) & CFG_LEGACY) {
        update_legacy(s, value & CFG_LEGACY);
    }
    for (unsigned i = 0; i < s->num_timers; i++) {
        arm(&s->timers[i]);
    }
}

static void clear_status(Hpet *s, uint64_t value)
{
    uint64_t cleared = s->status & value;

    s->status &= ~value;
    for (unsigned i = 0; i < s->num_timers; i++) {
        if (cleared & BIT64(i)) {
            set_route(s, route_of(&s->timers[i]), 0);
        }
    }
}

static void write_timer_config(HpetTimer *t, uint64_t value)
{
    Hpet *s = t->hpet;
    uint64_t writable = TN_WRITABLE;
    unsigned route;

    if (!s->msi) {
        writable &= ~TN_FSB;
    }
    /* Lower what the old settings hold up. */
    if ((t->config & TN_LEVEL) && (s->status & BIT64(t->n)) && !(value & TN_LEVEL)) {
        set_route(s, route_of(t), 0);
        s->status &= ~BIT64(t->n);
    }
    t->config = (t->config & ~writable) | (value & writable);
    route = t->config >> TN_ROUTE_SHIFT & TN_ROUTE_MASK;
    if (route && !(s->intcap & BIT32(route))) {
        log_guest_error("hpet: timer %u can't be routed to interrupt %u\n", t->n, route);
    }
    if (is_32bit(t)) {
        t->comparator = (uint32_t)t->comparator;
        t->period = (uint32_t)t->period;
    }
    arm(t);
}

static void write_comparator(HpetTimer *t, uint64_t value, uint64_t mask)
{
    if (is_32bit(t)) {
        value = (uint32_t)value;
    }
    /* Section 2.3.9.2.2: in periodic mode a write is the period, and the comparator too if
     * TN_SET_VALUE is set, which is used up by it. */
    if (!is_periodic(t) || (t->config & TN_SET_VALUE)) {
        t->comparator = (t->comparator & ~mask) | (value & mask);
    }
    if (is_periodic(t)) {
        t->period = (t->period & ~mask) | (value & mask);
    }
    t->config &= ~TN_SET_VALUE;
    arm(t);
}

static void write_timer(HpetTimer *t, unsigned reg, uint64_t value, uint64_t mask)
{
    switch (reg) {
    case TN_CFG:
        write_timer_config(t, (t->config & ~mask) | (value & mask));
        break;
    case TN_CMP:
        write_comparator(t, value, mask);
        break;
    case TN_ROUTE:
        t->route = (t->route & ~mask) | (value & mask);
        break;
    default:
        break;
    }
}

/* value and mask are placed in the register's 64 bits. */
static void write_register(Hpet *s, hwaddr reg, uint64_t value, uint64_t mask)
{
    if (reg >= HPET_TIMER0) {
        unsigned n = (reg - HPET_TIMER0) / 0x20;
        if (n < s->num_timers) {
            write_timer(&s->timers[n], reg & 0x1f, value, mask);
        }
        return;
    }
    switch (reg) {
    case HPET_CFG:
        write_config(s, (s->config & ~mask) | (value & mask));
        break;
    case HPET_STATUS:
        clear_status(s, value & mask);
        break;
    case HPET_COUNTER:
        if (running(s)) {
            log_guest_error("hpet: counter written while it runs\n");
        }
        s->counter = (s->counter & ~mask) | (value & mask);
        s->started = clock_now(CLK_VIRTUAL);
        break;
    default:
        break;
    }
}

static uint64_t hpet_read(void *opaque, hwaddr addr, unsigned size)
{
    return read_register(opaque, addr & ~7ull) >> ((addr & 4) * 8);
}

static void hpet_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    unsigned shift = (addr & 4) * 8;
    uint64_t mask = size == 8 ? UINT64_MAX : UINT64_C(0xffffffff) << shift;

    write_register(opaque, addr & ~7ull, value << shift, mask);
}

static const MemoryRegionOps hpet_ops = {
    .read = hpet_read,
    .write = hpet_write,
    .valid = { .min = 4, .max = 8 },
    .impl = { .min = 4, .max = 8 },
};

/* --- Host --- */

static void hpet_set_rtc(void *opaque, int n, int level)
{
    Hpet *s = opaque;

    s->rtc_level = level;
    if (!(s->config & CFG_LEGACY)) {
        set_route(s, 8, level);
    }
}

void hpet_map(Device *hpet, MemoryRegion *memory)
{
    memory_region_add(memory, HPET_BASE, &hpet_cast(hpet)->mmio);
}

static void hpet_reset(Device *dev)
{
    Hpet *s = hpet_cast(dev);
    bool legacy = s->config & CFG_LEGACY;

    clear_status(s, UINT64_MAX);
    s->config = 0;
    s->counter = 0;
    s->started = clock_now(CLK_VIRTUAL);
    for (unsigned i = 0; i < s->num_timers; i++) {
        HpetTimer *t = &s->timers[i];
        timer_cancel(t->timer);
        t->config = TN_PERIODIC_OK | TN_SIZE_64 | (s->msi ? TN_FSB_OK : 0) |
                    (uint64_t)s->intcap << TN_INTCAP_SHIFT;
        t->comparator = UINT64_MAX;
        t->period = 0;
        t->route = 0;
        timer_cancel(t->make_up);
        t->missed = 0;
    }
    if (legacy) {
        update_legacy(s, false);
    }
}

static const VmState hpet_timer_vmstate = {
    .name = "hpet-timer",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT64(config, HpetTimer),
            VMSTATE_UINT64(comparator, HpetTimer),
            VMSTATE_UINT64(period, HpetTimer),
            VMSTATE_UINT64(route, HpetTimer),
            VMSTATE_TIMER(timer, HpetTimer),
            {},
        },
};

static const VmState hpet_vmstate = {
    .name = "hpet",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT64(config, Hpet),
            VMSTATE_UINT64(status, Hpet),
            VMSTATE_UINT64(counter, Hpet),
            VMSTATE_INT64(started, Hpet),
            VMSTATE_BOOL(rtc_level, Hpet),
            { .name = "timers",
              .kind = VMSTATE_KIND_STRUCT,
              .offset = offsetof(Hpet, timers),
              .size = sizeof(HpetTimer),
              .count = HPET_MAX_TIMERS,
              .count_offset = offsetof(Hpet, num_timers),
              .count_size = 1,
              .state = &hpet_timer_vmstate },
            {},
        },
};

static const Field hpet_properties[] = {
    PROP_UINT8("timers", Hpet, num_timers, HPET_MIN_TIMERS,
               PROP_RANGE(HPET_MIN_TIMERS, HPET_MAX_TIMERS), .help = "number of comparators"),
    PROP_BOOL("msi", Hpet, msi, false, .help = "comparators can send message-signalled interrupts"),
    PROP_UINT32("hpet-intcap", Hpet, intcap, 0x4,
                .help = "mask of the interrupts that comparators can be routed to"),
    {},
};

static bool hpet_realize(Device *dev, Error **errp)
{
    Hpet *s = hpet_cast(dev);

    for (unsigned i = 0; i < s->num_timers; i++) {
        HpetTimer *t = &s->timers[i];
        t->hpet = s;
        t->n = i;
        t->timer = timer_new(event_loop_main(), CLK_VIRTUAL, hpet_timer_fn, t);
        t->make_up = timer_new(event_loop_main(), CLK_VIRTUAL, make_up, t);
    }
    return true;
}

static void hpet_unrealize(Device *dev)
{
    Hpet *s = hpet_cast(dev);

    if (s->mmio.container) {
        memory_region_del(s->mmio.container, &s->mmio);
    }
    for (unsigned i = 0; i < s->num_timers; i++) {
        timer_free(s->timers[i].timer);
        timer_free(s->timers[i].make_up);
        s->timers[i].timer = NULL;
    }
}

static void hpet_init(Object *obj)
{
    Hpet *s = hpet_cast(obj);

    memory_region_init_io(&s->mmio, obj, &hpet_ops, s, "hpet", HPET_SIZE);
    device_init_lines_in(&s->parent, NULL, hpet_set_rtc, 1);
    device_init_lines_out(&s->parent, NULL, s->out, HPET_ROUTES);
    device_init_lines_out(&s->parent, HPET_LINE_PIT_CUT, &s->pit_cut, 1);
}

static void hpet_finalize(Object *obj)
{
    memory_region_finish(&hpet_cast(obj)->mmio);
}

static void hpet_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = hpet_realize;
    dc->unrealize = hpet_unrealize;
    dc->reset = hpet_reset;
    dc->vmstate = &hpet_vmstate;
    dc->bus_type = TYPE_SYSTEM_BUS;
    dc->user_creatable = false;
}

static const TypeInfo hpet_info = {
    .name = TYPE_HPET,
    .parent = TYPE_DEVICE,
    .help = "High precision event timers",
    .instance_size = sizeof(Hpet),
    .properties = hpet_properties,
    .instance_init = hpet_init,
    .instance_finalize = hpet_finalize,
    .class_init = hpet_class_init,
};
OBJECT_TYPE(hpet, hpet_info)
