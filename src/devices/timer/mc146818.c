/*
 * MC146818A real-time clock with battery-backed memory.
 *
 * Motorola MC146818A data sheet; ICH9 section 13.6. The time is a number of seconds and the moment
 * of rtc_clock() at which it was right; registers are computed when read. Flags of register C that
 * cause no interrupt have no timer either: they are computed when C is read.
 */
#include "devices/timer/mc146818.h"

#include <time.h>

#include "base/log.h"
#include "bus/isa.h"
#include "devices/timer/rtc-base.h"
#include "event/clock.h"
#include "object/lifecycle.h"
#include "schema/rtc.h"
#include "object/property.h"

#define RTC_PORT 0x70

enum {
    REG_SECONDS,
    REG_SECONDS_ALARM,
    REG_MINUTES,
    REG_MINUTES_ALARM,
    REG_HOURS,
    REG_HOURS_ALARM,
    REG_WEEKDAY,
    REG_DAY,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
};

#define A_UIP          0x80u
#define A_DIVIDER      0x70u
#define A_DIVIDER_RUN  0x20u /* 32.768 kHz time base */
#define A_DIVIDER_STOP 0x60u /* 110, 111: held in reset */
#define A_RATE         0x0fu
#define B_SET          0x80u
#define B_PIE          0x40u
#define B_AIE          0x20u
#define B_UIE          0x10u
#define B_SQWE         0x08u
#define B_BINARY       0x04u
#define B_24H          0x02u
#define C_IRQF         0x80u
#define C_PF           0x40u
#define C_AF           0x20u
#define C_UF           0x10u
#define D_VRT          0x80u
#define HOUR_PM        0x80u
#define ALARM_ANY      0xc0u /* both bits: matches always */

#define RTC_HZ 32768
/* Update-in-progress comes this long before the registers change (data sheet, figure 15). */
#define UIP_NS (244 * NS_PER_US)
/* An update follows half a second after the divider is let go. */
#define DIVIDER_START_NS (500 * NS_PER_MS)
/* Interrupts made up for at most, with lost_tick_policy=slew. */
#define REINJECT_MAX 1000

typedef enum LostTickPolicy { LOST_TICK_DISCARD, LOST_TICK_DELAY, LOST_TICK_SLEW } LostTickPolicy;

typedef struct Mc146818 {
    Device parent;
    uint8_t cmos[128];
    uint8_t index;
    int64_t base_ns;       /* guest time in ns since 1970 ... */
    int64_t base_clock;    /* ... when rtc_clock() was here (ns) */
    int64_t checked;       /* guest seconds up to which UF and AF are in C */
    int64_t next_periodic; /* ns of rtc_clock(); -1: no rate */
    uint32_t lost_ticks;

    Timer *periodic_timer, *second_timer;
    Irq *irq;
    void (*alarm_fn)(void *opaque);
    void *alarm_opaque;
    MemoryRegion io;
    int32_t base_year;
    int lost_tick_policy; /* LostTickPolicy */
} Mc146818;

static Mc146818 *mc146818_cast(void *obj)
{
    return (Mc146818 *)object_cast((Object *)obj, TYPE_MC146818);
}

/* --- Time --- */

static bool clock_stopped(const Mc146818 *s)
{
    return (s->cmos[REG_B] & B_SET) || (s->cmos[REG_A] & A_DIVIDER_STOP) == A_DIVIDER_STOP;
}

static int64_t guest_ns(const Mc146818 *s)
{
    if (clock_stopped(s)) {
        return s->base_ns;
    }
    return s->base_ns + clock_now(rtc_clock()) - s->base_clock;
}

static int64_t guest_seconds(const Mc146818 *s)
{
    return guest_ns(s) / NS_PER_SECOND;
}

static void set_guest_ns(Mc146818 *s, int64_t ns)
{
    s->base_ns = ns;
    s->base_clock = clock_now(rtc_clock());
    s->checked = ns / NS_PER_SECOND;
}

static uint8_t encode(const Mc146818 *s, int v)
{
    return s->cmos[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10;
}

static int decode(const Mc146818 *s, uint8_t v)
{
    return s->cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 0xf);
}

static uint8_t encode_hour(const Mc146818 *s, int hour)
{
    if (s->cmos[REG_B] & B_24H) {
        return encode(s, hour);
    }
    return encode(s, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const Mc146818 *s, uint8_t v)
{
    if (s->cmos[REG_B] & B_24H) {
        return decode(s, v);
    }
    return decode(s, v & ~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

static void registers_from_time(Mc146818 *s)
{
    time_t t = guest_seconds(s);
    struct tm tm;

    gmtime_r(&t, &tm);
    s->cmos[REG_SECONDS] = encode(s, tm.tm_sec);
    s->cmos[REG_MINUTES] = encode(s, tm.tm_min);
    s->cmos[REG_HOURS] = encode_hour(s, tm.tm_hour);
    s->cmos[REG_WEEKDAY] = encode(s, tm.tm_wday + 1);
    s->cmos[REG_DAY] = encode(s, tm.tm_mday);
    s->cmos[REG_MONTH] = encode(s, tm.tm_mon + 1);
    int year = tm.tm_year + 1900 - s->base_year;
    s->cmos[REG_YEAR] = encode(s, ((year % 100) + 100) % 100);
    int century = (tm.tm_year + 1900) / 100;
    s->cmos[CMOS_CENTURY] = encode(s, century);
}

static void time_from_registers(Mc146818 *s)
{
    struct tm tm = {
        .tm_sec = decode(s, s->cmos[REG_SECONDS]),
        .tm_min = decode(s, s->cmos[REG_MINUTES]),
        .tm_hour = decode_hour(s, s->cmos[REG_HOURS]),
        .tm_mday = decode(s, s->cmos[REG_DAY]),
        .tm_mon = decode(s, s->cmos[REG_MONTH]) - 1,
        .tm_year = decode(s, s->cmos[REG_YEAR]) + s->base_year - 1900,
    };

    if (s->base_year == 0) {
        tm.tm_year = decode(s, s->cmos[REG_YEAR]) + decode(s, s->cmos[CMOS_CENTURY]) * 100 - 1900;
    }
    /* timegm() takes any field out of range and normalizes it. */
    set_guest_ns(s, (int64_t)timegm(&tm) * NS_PER_SECOND);
}

static void tell_change(Mc146818 *s)
{
    int64_t offset = guest_seconds(s) - rtc_reference_seconds(clock_now(rtc_clock()));
    char *path = object_canonical_path((Object *)s);
    qmp_event_rtc_change(offset, path ? path : "");
    g_free(path);
}

/* --- Alarm and flags --- */

static bool alarm_field_any(uint8_t v)
{
    return (v & ALARM_ANY) == ALARM_ANY;
}

/* The first second after `after` at which the alarm registers match, within a day; -1 never. */
static int64_t next_alarm(const Mc146818 *s, int64_t after)
{
    bool any_s = alarm_field_any(s->cmos[REG_SECONDS_ALARM]);
    bool any_m = alarm_field_any(s->cmos[REG_MINUTES_ALARM]);
    bool any_h = alarm_field_any(s->cmos[REG_HOURS_ALARM]);
    int sec = decode(s, s->cmos[REG_SECONDS_ALARM]);
    int min = decode(s, s->cmos[REG_MINUTES_ALARM]);
    int hour = decode_hour(s, s->cmos[REG_HOURS_ALARM]);
    int64_t end = after + 86400, t = after + 1;

    while (t <= end) {
        int64_t day = ((t % 86400) + 86400) % 86400;
        if (!any_h && day / 3600 != hour) {
            t += 3600 - day % 3600;
        } else if (!any_m && day / 60 % 60 != min) {
            t += 60 - day % 60;
        } else if (!any_s && day % 60 != sec) {
            t++;
        } else {
            return t;
        }
    }
    return -1;
}

static void raise_flags(Mc146818 *s, uint8_t flags)
{
    s->cmos[REG_C] |= flags;
    /* PIE, AIE, UIE stand where PF, AF, UF do. */
    if (s->cmos[REG_B] & s->cmos[REG_C] & (C_PF | C_AF | C_UF)) {
        s->cmos[REG_C] |= C_IRQF;
        irq_raise(s->irq);
    }
}

/* Bring UF and AF up to now. */
static void catch_up(Mc146818 *s)
{
    int64_t now = guest_seconds(s), alarm;
    uint8_t flags = 0;

    if (clock_stopped(s) || now <= s->checked) {
        return;
    }
    alarm = next_alarm(s, s->checked);
    if (alarm >= 0 && alarm <= now) {
        flags |= C_AF;
        if (s->alarm_fn && (s->cmos[REG_B] & B_AIE)) {
            s->alarm_fn(s->alarm_opaque);
        }
    }
    s->checked = now;
    raise_flags(s, flags | C_UF);
}

static void arm_second_timer(Mc146818 *s)
{
    int64_t wake = -1;

    if (!clock_stopped(s)) {
        if (s->cmos[REG_B] & B_AIE) {
            wake = next_alarm(s, s->checked);
        }
        if (s->cmos[REG_B] & B_UIE) {
            wake = s->checked + 1;
        }
    }
    if (wake < 0) {
        timer_cancel(s->second_timer);
    } else {
        timer_set(s->second_timer, s->base_clock + wake * NS_PER_SECOND - s->base_ns);
    }
}

static void second_tick(void *opaque)
{
    Mc146818 *s = opaque;

    catch_up(s);
    arm_second_timer(s);
}

/* --- Periodic interrupt --- */

/* ns of one period times RTC_HZ, 0: no rate. Data sheet table 5. */
static unsigned period_ticks(const Mc146818 *s)
{
    unsigned rate = s->cmos[REG_A] & A_RATE;

    if (rate == 0 || (s->cmos[REG_A] & A_DIVIDER) > A_DIVIDER_RUN) {
        return 0;
    }
    return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static void arm_periodic(Mc146818 *s, int64_t now)
{
    unsigned ticks = period_ticks(s);

    if (!ticks) {
        s->next_periodic = -1;
        timer_cancel(s->periodic_timer);
        return;
    }
    int64_t current = (unsigned __int128)now * RTC_HZ / NS_PER_SECOND;
    int64_t next = (current / ticks + 1) * ticks;
    s->next_periodic = ((unsigned __int128)next * NS_PER_SECOND + RTC_HZ - 1) / RTC_HZ;
    if (s->cmos[REG_B] & B_PIE) {
        timer_set(s->periodic_timer, s->next_periodic);
    } else {
        timer_cancel(s->periodic_timer);
    }
}

static void periodic_tick(void *opaque)
{
    Mc146818 *s = opaque;

    if (s->lost_tick_policy == LOST_TICK_SLEW && (s->cmos[REG_C] & C_PF) &&
        s->lost_ticks < REINJECT_MAX) {
        s->lost_ticks++;
    }
    raise_flags(s, C_PF);
    arm_periodic(s, clock_now(rtc_clock()));
}

void mc146818_reset_reinjection(Device *rtc)
{
    mc146818_cast(rtc)->lost_ticks = 0;
}

/* --- Guest --- */

static uint8_t read_a(Mc146818 *s)
{
    uint8_t a = s->cmos[REG_A] & ~A_UIP;

    if (!clock_stopped(s) && guest_ns(s) % NS_PER_SECOND >= NS_PER_SECOND - UIP_NS) {
        a |= A_UIP;
    }
    return a;
}

static uint8_t read_c(Mc146818 *s)
{
    int64_t now = clock_now(rtc_clock());
    uint8_t c;

    catch_up(s);
    if (s->next_periodic >= 0 && !(s->cmos[REG_B] & B_PIE) && now >= s->next_periodic) {
        raise_flags(s, C_PF);
        arm_periodic(s, now);
    }
    c = s->cmos[REG_C];
    s->cmos[REG_C] = 0;
    irq_lower(s->irq);
    arm_second_timer(s);
    if (s->lost_ticks && (s->cmos[REG_B] & B_PIE)) {
        s->lost_ticks--;
        raise_flags(s, C_PF);
    }
    return c;
}

static uint64_t rtc_read(void *opaque, hwaddr addr, unsigned size)
{
    Mc146818 *s = opaque;

    if (addr == 0) {
        return 0xff; /* the index can't be read */
    }
    switch (s->index) {
    case REG_SECONDS:
    case REG_MINUTES:
    case REG_HOURS:
    case REG_WEEKDAY:
    case REG_DAY:
    case REG_MONTH:
    case REG_YEAR:
    case CMOS_CENTURY:
        if (!clock_stopped(s)) {
            registers_from_time(s);
        }
        return s->cmos[s->index];
    case REG_A:
        return read_a(s);
    case REG_C:
        return read_c(s);
    default:
        return s->cmos[s->index];
    }
}

static void write_a(Mc146818 *s, uint8_t value)
{
    bool was = clock_stopped(s);
    int64_t now_ns = guest_ns(s);

    if (!was) {
        registers_from_time(s);
    }
    s->cmos[REG_A] = value & ~A_UIP;
    if (!was && clock_stopped(s)) {
        set_guest_ns(s, now_ns);
    } else if (was && !clock_stopped(s)) {
        time_from_registers(s);
        set_guest_ns(s, s->base_ns + NS_PER_SECOND - DIVIDER_START_NS);
    }
    arm_periodic(s, clock_now(rtc_clock()));
    arm_second_timer(s);
}

static void write_b(Mc146818 *s, uint8_t value)
{
    bool was = clock_stopped(s);
    int64_t now_ns = guest_ns(s);

    catch_up(s);
    if (!was) {
        registers_from_time(s);
    }
    if (value & B_SET) {
        value &= ~B_UIE; /* data sheet: setting SET clears UIE */
    }
    s->cmos[REG_B] = value;
    if (!was && clock_stopped(s)) {
        set_guest_ns(s, now_ns);
    } else if (was && !clock_stopped(s)) {
        /* The fraction of the second goes on: only whole seconds were written. */
        int64_t fraction = s->base_ns % NS_PER_SECOND;
        time_from_registers(s);
        set_guest_ns(s, s->base_ns + fraction);
        tell_change(s);
    }
    if (!(s->cmos[REG_B] & s->cmos[REG_C] & (C_PF | C_AF | C_UF))) {
        s->cmos[REG_C] &= ~C_IRQF;
        irq_lower(s->irq);
    } else {
        raise_flags(s, 0);
    }
    arm_periodic(s, clock_now(rtc_clock()));
    arm_second_timer(s);
}

static void write_time(Mc146818 *s, uint8_t value)
{
    if (clock_stopped(s)) {
        s->cmos[s->index] = value;
        return;
    }
    int64_t fraction = guest_ns(s) % NS_PER_SECOND;
    registers_from_time(s);
    s->cmos[s->index] = value;
    time_from_registers(s);
    set_guest_ns(s, s->base_ns + fraction);
    tell_change(s);
    arm_second_timer(s);
}

static void rtc_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Mc146818 *s = opaque;

    if (addr == 0) {
        s->index = value & 0x7f;
        return;
    }
    switch (s->index) {
    case REG_SECONDS_ALARM:
    case REG_MINUTES_ALARM:
    case REG_HOURS_ALARM:
        catch_up(s);
        s->cmos[s->index] = value;
        arm_second_timer(s);
        break;
    case REG_SECONDS:
    case REG_MINUTES:
    case REG_HOURS:
    case REG_WEEKDAY:
    case REG_DAY:
    case REG_MONTH:
    case REG_YEAR:
    case CMOS_CENTURY:
        write_time(s, value);
        break;
    case REG_A:
        write_a(s, value);
        break;
    case REG_B:
        write_b(s, value);
        break;
    case REG_C:
    case REG_D:
        break; /* read-only */
    default:
        s->cmos[s->index] = value;
        break;
    }
}

static const MemoryRegionOps rtc_ops = {
    .read = rtc_read,
    .write = rtc_write,
    .impl = { .min = 1, .max = 1 },
};

/* --- Host --- */

void mc146818_set_nvram(Device *rtc, unsigned addr, uint8_t value)
{
    Mc146818 *s = mc146818_cast(rtc);
    assert(addr < sizeof(s->cmos));
    s->cmos[addr] = value;
}

uint8_t mc146818_get_nvram(Device *rtc, unsigned addr)
{
    Mc146818 *s = mc146818_cast(rtc);
    assert(addr < sizeof(s->cmos));
    return s->cmos[addr];
}

void mc146818_set_alarm_fn(Device *rtc, void (*fn)(void *opaque), void *opaque)
{
    Mc146818 *s = mc146818_cast(rtc);
    s->alarm_fn = fn;
    s->alarm_opaque = opaque;
}

static json_t *rtc_get_date(Object *obj, const char *name, void *opaque, Error **errp)
{
    time_t t = guest_seconds(mc146818_cast(obj));
    struct tm tm;

    gmtime_r(&t, &tm);
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "tm_year", tm.tm_year, "tm_mon", tm.tm_mon,
                     "tm_mday", tm.tm_mday, "tm_hour", tm.tm_hour, "tm_min", tm.tm_min, "tm_sec",
                     tm.tm_sec);
}

static const VmState rtc_vmstate = {
    .name = "mc146818rtc",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_BUFFER(cmos, Mc146818),
            VMSTATE_UINT8(index, Mc146818),
            VMSTATE_INT64(base_ns, Mc146818),
            VMSTATE_INT64(base_clock, Mc146818),
            VMSTATE_INT64(checked, Mc146818),
            VMSTATE_INT64(next_periodic, Mc146818),
            VMSTATE_UINT32(lost_ticks, Mc146818),
            VMSTATE_TIMER(periodic_timer, Mc146818),
            VMSTATE_TIMER(second_timer, Mc146818),
            {},
        },
};

static const char *const lost_tick_names[] = { "discard", "delay", "slew" };
static const EnumDesc enum_lost_tick_policy = {
    .name = "LostTickPolicy",
    .names = lost_tick_names,
    .count = ARRAY_LEN(lost_tick_names),
};
static const ValueType value_type_lost_tick_policy = {
    .kind = VALUE_ENUM,
    .name = "LostTickPolicy",
    .size = sizeof(int),
    .enumeration = &enum_lost_tick_policy,
};

static const Field rtc_properties[] = {
    PROP_INT32("base_year", Mc146818, base_year, 0,
               .help = "year that the year register counts from; 0: the century register decides"),
    PROP_ENUM("lost_tick_policy", Mc146818, lost_tick_policy, value_type_lost_tick_policy,
              LOST_TICK_DISCARD, .help = "what becomes of periodic interrupts the guest missed"),
    {},
};

/* RESET# clears the interrupt enables and flags; time and memory live on the battery. */
static void rtc_reset(Device *dev)
{
    Mc146818 *s = mc146818_cast(dev);

    s->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
    s->cmos[REG_C] = 0;
    s->lost_ticks = 0;
    irq_lower(s->irq);
    arm_periodic(s, clock_now(rtc_clock()));
    arm_second_timer(s);
}

static bool rtc_realize(Device *dev, Error **errp)
{
    Mc146818 *s = mc146818_cast(dev);

    if (rtc_driftfix_slew()) {
        s->lost_tick_policy = LOST_TICK_SLEW;
    }
    s->cmos[REG_A] = A_DIVIDER_RUN | 6; /* 1024 Hz, as PC firmware leaves it */
    s->cmos[REG_B] = B_24H;
    s->cmos[REG_C] = 0;
    s->cmos[REG_D] = D_VRT;
    s->periodic_timer = timer_new(event_loop_main(), rtc_clock(), periodic_tick, s);
    s->second_timer = timer_new(event_loop_main(), rtc_clock(), second_tick, s);
    set_guest_ns(s, rtc_reference_seconds(clock_now(rtc_clock())) * NS_PER_SECOND +
                        clock_now(rtc_clock()) % NS_PER_SECOND);
    registers_from_time(s);
    arm_periodic(s, clock_now(rtc_clock()));
    isa_device_add_io(dev, &s->io, RTC_PORT);
    return true;
}

static void rtc_unrealize(Device *dev)
{
    Mc146818 *s = mc146818_cast(dev);

    isa_device_del_io(dev, &s->io);
    timer_free(s->periodic_timer);
    timer_free(s->second_timer);
    s->periodic_timer = s->second_timer = NULL;
}

static void rtc_init(Object *obj)
{
    static const DynamicProperty date = { .type_name = "struct tm", .get = rtc_get_date };
    Mc146818 *s = mc146818_cast(obj);

    s->next_periodic = -1;
    memory_region_init_io(&s->io, obj, &rtc_ops, s, "rtc", 2);
    device_init_lines_out(&s->parent, NULL, &s->irq, 1);
    object_add_property(obj, "date", &date);
}

static void rtc_finalize(Object *obj)
{
    memory_region_finish(&mc146818_cast(obj)->io);
}

static void rtc_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = rtc_realize;
    dc->unrealize = rtc_unrealize;
    dc->reset = rtc_reset;
    dc->vmstate = &rtc_vmstate;
    dc->user_creatable = false;
}

static const TypeInfo mc146818_info = {
    .name = TYPE_MC146818,
    .parent = TYPE_ISA_DEVICE,
    .help = "MC146818 real-time clock and CMOS memory",
    .instance_size = sizeof(Mc146818),
    .properties = rtc_properties,
    .instance_init = rtc_init,
    .instance_finalize = rtc_finalize,
    .class_init = rtc_class_init,
};
OBJECT_TYPE(mc146818, mc146818_info)
