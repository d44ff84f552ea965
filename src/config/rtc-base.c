#include "config/rtc-base.h"

#include <stdio.h>
#include <string.h>

#include <glib.h>

/* Two forms, and nothing behind them. */
static bool parse_date(const char *text, int64_t *seconds)
{
    int year, month, day, hour = 0, minute = 0, second = 0, used = 0;

    if (sscanf(text, "%4d-%2d-%2d%n", &year, &month, &day, &used) != 3) {
        return false;
    }
    if (text[used]) {
        int more = 0;
        if (sscanf(text + used, "T%2d:%2d:%2d%n", &hour, &minute, &second, &more) != 3 ||
            text[used + more]) {
            return false;
        }
    }
    /* also checks the ranges, days of the month included */
    g_autoptr(GDateTime) date = g_date_time_new_utc(year, month, day, hour, minute, second);
    if (!date) {
        return false;
    }
    *seconds = g_date_time_to_unix(date);
    return true;
}

bool rtc_base_parse(const char *text, RtcBase *base, Error **errp)
{
    if (g_str_equal(text, "utc")) {
        *base = (RtcBase){ .kind = RTC_BASE_UTC };
        return true;
    }
    if (g_str_equal(text, "localtime")) {
        *base = (RtcBase){ .kind = RTC_BASE_LOCALTIME };
        return true;
    }
    if (parse_date(text, &base->date)) {
        base->kind = RTC_BASE_DATE;
        return true;
    }
    error_set(errp,
              "Parameter 'base' expects utc, localtime, YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, got"
              " '%.60s'",
              text);
    return false;
}
