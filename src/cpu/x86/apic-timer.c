/*
 * The APIC timer: one-shot, periodic, TSC deadline. SDM volume 3 section 10.5.4.
 *
 * It runs on a timer of the main loop in virtual time; what the main loop and the vCPU share is
 * under timer_lock.
 */
#include "cpu/x86/apic-internal.h"
#include "cpu/x86/system.h"

/* A period shorter than this would keep the host busy with nothing else. */
#define MIN_PERIOD_NS (20 * NS_PER_US)

static uint32_t mode_of(const X86Apic *apic)
{
    return x86_apic_get(&apic->lvt[X86_LVT_TIMER]) & X86_LVT_TIMER_MODE;
}

/* The divide configuration register's three bits: 2, 4, ... 128, and 1. */
static unsigned divisor_shift(uint32_t divide)
{
    unsigned v = (divide & 3) | (divide >> 1 & 4);
    return (v + 1) & 7;
}

static int64_t ticks_to_ns(const X86Apic *apic, uint64_t ticks)
{
    return (int64_t)((unsigned __int128)(ticks << divisor_shift(apic->divide)) * NS_PER_SECOND /
                     X86_APIC_TIMER_HZ);
}

static uint64_t ns_to_ticks(const X86Apic *apic, int64_t ns)
{
    return (uint64_t)((unsigned __int128)(uint64_t)ns * X86_APIC_TIMER_HZ / NS_PER_SECOND) >>
           divisor_shift(apic->divide);
}

static int64_t period_ns(const X86Apic *apic)
{
    return MAX_OF(ticks_to_ns(apic, apic->initial_count), MIN_PERIOD_NS);
}

/* ns until the TSC gets there; 0 if it has. */
static int64_t tsc_distance_ns(X86Apic *apic, uint64_t tsc)
{
    uint64_t now = x86_tsc_now(apic->cpu);
    if (tsc <= now) {
        return 0;
    }
    unsigned __int128 ns = (unsigned __int128)(tsc - now) * NS_PER_SECOND / apic->cpu->tsc_hz;
    return ns > INT64_MAX / 2 ? INT64_MAX / 2 : (int64_t)ns + 1;
}

static void interrupt(X86Apic *apic)
{
    uint32_t lvt = x86_apic_get(&apic->lvt[X86_LVT_TIMER]);
    if (!(lvt & X86_LVT_MASKED)) {
        x86_apic_post(apic, lvt & X86_LVT_VECTOR, false);
    }
}

/* The timer's deadline has come: returns whether the guest's has, and arms the next. */
static bool expire_locked(X86Apic *apic)
{
    int64_t now = clock_now(CLK_VIRTUAL);

    switch (mode_of(apic)) {
    case X86_TIMER_DEADLINE: {
        if (!apic->tsc_deadline) {
            return false;
        }
        /* The two clocks' rates are not exactly what we think they are. */
        int64_t left = tsc_distance_ns(apic, apic->tsc_deadline);
        if (left > NS_PER_US) {
            timer_set(apic->timer, now + left);
            return false;
        }
        apic->tsc_deadline = 0;
        return true;
    }
    case X86_TIMER_PERIODIC: {
        if (!apic->initial_count) {
            return false;
        }
        int64_t period = period_ns(apic);
        apic->count_start += period;
        if (apic->count_start + period <= now) {
            apic->count_start = now; /* too late to catch up */
        }
        timer_set(apic->timer, apic->count_start + period);
        return true;
    }
    default:
        return apic->initial_count != 0;
    }
}

void x86_apic_timer_fired(void *opaque)
{
    X86Apic *apic = opaque;
    pthread_mutex_lock(&apic->timer_lock);
    bool due = expire_locked(apic);
    pthread_mutex_unlock(&apic->timer_lock);
    if (due) {
        interrupt(apic);
    }
}

void x86_apic_timer_set_count(X86Apic *apic, uint32_t value)
{
    if (mode_of(apic) == X86_TIMER_DEADLINE) {
        return;
    }
    x86_park_fpu(apic->cpu);
    pthread_mutex_lock(&apic->timer_lock);
    apic->initial_count = value;
    apic->count_start = clock_now(CLK_VIRTUAL);
    if (!value) {
        timer_cancel(apic->timer);
    } else if (mode_of(apic) == X86_TIMER_PERIODIC) {
        timer_set(apic->timer, apic->count_start + period_ns(apic));
    } else {
        timer_set(apic->timer, apic->count_start + ticks_to_ns(apic, value));
    }
    pthread_mutex_unlock(&apic->timer_lock);
}

uint32_t x86_apic_timer_get_count(X86Apic *apic)
{
    x86_park_fpu(apic->cpu);
    pthread_mutex_lock(&apic->timer_lock);
    uint32_t mode = mode_of(apic), initial = apic->initial_count, count = 0;
    if (initial && mode != X86_TIMER_DEADLINE) {
        int64_t elapsed = clock_now(CLK_VIRTUAL) - apic->count_start;
        uint64_t ticks = ns_to_ticks(apic, MAX_OF(elapsed, 0));
        if (mode == X86_TIMER_PERIODIC) {
            count = initial - (uint32_t)(ticks % initial);
        } else {
            count = ticks < initial ? initial - (uint32_t)ticks : 0;
        }
    }
    pthread_mutex_unlock(&apic->timer_lock);
    return count;
}

/* A running count goes on at the new rate from where it is. */
void x86_apic_timer_set_divide(X86Apic *apic, uint32_t value)
{
    uint32_t left = x86_apic_timer_get_count(apic);

    pthread_mutex_lock(&apic->timer_lock);
    apic->divide = value & 0xb;
    if (left && timer_pending(apic->timer)) {
        int64_t now = clock_now(CLK_VIRTUAL);
        apic->count_start = now - ticks_to_ns(apic, apic->initial_count - left);
        timer_set(apic->timer, now + ticks_to_ns(apic, left));
    }
    pthread_mutex_unlock(&apic->timer_lock);
}

/* A change to or from deadline mode disarms; between the other two the count goes on. */
void x86_apic_timer_set_lvt(X86Apic *apic, uint32_t value)
{
    x86_park_fpu(apic->cpu);
    pthread_mutex_lock(&apic->timer_lock);
    uint32_t old = x86_apic_get(&apic->lvt[X86_LVT_TIMER]);
    x86_apic_put(&apic->lvt[X86_LVT_TIMER], value);
    if ((old ^ value) & X86_TIMER_DEADLINE) {
        apic->initial_count = 0;
        apic->tsc_deadline = 0;
        timer_cancel(apic->timer);
    }
    pthread_mutex_unlock(&apic->timer_lock);
}

uint64_t x86_apic_get_tsc_deadline(X86Apic *apic)
{
    x86_park_fpu(apic->cpu);
    pthread_mutex_lock(&apic->timer_lock);
    uint64_t deadline = apic->tsc_deadline;
    pthread_mutex_unlock(&apic->timer_lock);
    return deadline;
}

void x86_apic_set_tsc_deadline(X86Apic *apic, uint64_t tsc)
{
    bool due = false;

    if (mode_of(apic) != X86_TIMER_DEADLINE) {
        return;
    }
    x86_park_fpu(apic->cpu);
    pthread_mutex_lock(&apic->timer_lock);
    int64_t left = tsc ? tsc_distance_ns(apic, tsc) : 0;
    due = tsc && !left;
    apic->tsc_deadline = due ? 0 : tsc;
    if (left) {
        timer_set(apic->timer, clock_now(CLK_VIRTUAL) + left);
    } else {
        timer_cancel(apic->timer);
    }
    pthread_mutex_unlock(&apic->timer_lock);
    if (due) {
        interrupt(apic);
    }
}

void x86_apic_timer_stop(X86Apic *apic)
{
    pthread_mutex_lock(&apic->timer_lock);
    apic->initial_count = 0;
    apic->divide = 0;
    apic->tsc_deadline = 0;
    apic->count_start = 0;
    if (apic->timer) {
        timer_cancel(apic->timer);
    }
    pthread_mutex_unlock(&apic->timer_lock);
}
