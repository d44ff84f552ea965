/*
 * What time it is for the guest's real-time clock (-rtc base=, clock=, driftfix=).
 *
 * One configuration a process, set by start-up before devices exist.
 */
#ifndef DEVICES_TIMER_RTC_BASE_H
#define DEVICES_TIMER_RTC_BASE_H

#include "base/error.h"
#include "event/clock.h"

typedef struct RtcConfig {
    const char *base;     /* "utc", "localtime", a date "2006-06-17[T16:01:21]"; NULL: utc */
    const char *clock;    /* "host", "rt", "vm"; NULL: host */
    const char *driftfix; /* "none", "slew"; NULL: none */
} RtcConfig;

MUST_CHECK bool rtc_configure(const RtcConfig *config, Error **errp);
/* Back to the defaults (tests). */
void rtc_configure_reset(void);

/* The clock the guest's RTC and its timers run on. */
ClockId rtc_clock(void);
/* Seconds since 1970 that a correct guest clock shows when rtc_clock() is at `clock_ns`: UTC, or
 * local time with base=localtime. */
int64_t rtc_reference_seconds(int64_t clock_ns);
bool rtc_driftfix_slew(void);

#endif
