#include "devices/timer/rtc-base.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* One real-time clock configuration a process, as -rtc may be given once; rtc_configure_reset(). */
static struct {
    ClockId clock;
    bool localtime, slew;
    bool fixed;     /* base is a date */
    int64_t offset; /* s; reference = clock + offset for a fixed base, or a clock but host */
} config = { .clock = CLK_HOST };

static bool parse_date(const char *text, int64_t *seconds)
{
    struct tm tm = { 0 };
    int used = 0;

    if (sscanf(text, "%d-%d-%dT%d:%d:%d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &used) != 6 ||
        text[used]) {
        tm = (struct tm){ 0 };
        if (sscanf(text, "%d-%d-%d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &used) != 3 ||
            text[used]) {
            return false;
        }
    }
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 ||
        tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 59 ||
        tm.tm_year < 1970 || tm.tm_year > 9999) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *seconds = timegm(&tm);
    return true;
}

void rtc_configure_reset(void)
{
    memset(&config, 0, sizeof(config));
    config.clock = CLK_HOST;
}

bool rtc_configure(const RtcConfig *c, Error **errp)
{
    const char *base = c->base ? c->base : "utc";
    const char *clock = c->clock ? c->clock : "host";
    int64_t date = 0;

    rtc_configure_reset();
    if (!strcmp(clock, "rt")) {
        config.clock = CLK_REALTIME;
    } else if (!strcmp(clock, "vm")) {
        config.clock = CLK_VIRTUAL;
    } else if (strcmp(clock, "host")) {
        error_set(errp, "-rtc: clock '%s' is unknown; use host, rt or vm", clock);
        return false;
    }
    if (c->driftfix && !strcmp(c->driftfix, "slew")) {
        config.slew = true;
    } else if (c->driftfix && strcmp(c->driftfix, "none")) {
        error_set(errp, "-rtc: driftfix '%s' is unknown; use none or slew", c->driftfix);
        return false;
    }
    if (!strcmp(base, "localtime")) {
        config.localtime = true;
    } else if (strcmp(base, "utc")) {
        if (!parse_date(base, &date)) {
            error_set(errp,
                      "-rtc: base '%s' is not a date; use utc, localtime, 2006-06-17T16:01:21 or "
                      "2006-06-17",
                      base);
            return false;
        }
        config.fixed = true;
    }
    if (config.fixed) {
        config.offset = date - clock_now(config.clock) / NS_PER_SECOND;
    } else if (config.clock != CLK_HOST) {
        config.offset = (clock_now(CLK_HOST) - clock_now(config.clock)) / NS_PER_SECOND;
    }
    return true;
}

ClockId rtc_clock(void)
{
    return config.clock;
}

bool rtc_driftfix_slew(void)
{
    return config.slew;
}

int64_t rtc_reference_seconds(int64_t clock_ns)
{
    time_t t = clock_ns / NS_PER_SECOND + config.offset;

    if (config.localtime) {
        struct tm tm;
        localtime_r(&t, &tm);
        return t + tm.tm_gmtoff;
    }
    return t;
}
