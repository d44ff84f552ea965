/* What the guest's real-time clock starts at (-rtc base=). */
#ifndef CONFIG_RTC_BASE_H
#define CONFIG_RTC_BASE_H

#include "base/compiler.h"
#include "base/error.h"

typedef struct RtcBase {
    enum { RTC_BASE_UTC, RTC_BASE_LOCALTIME, RTC_BASE_DATE } kind;
    int64_t date; /* RTC_BASE_DATE: seconds since 1970, read as UTC */
} RtcBase;

/* "utc", "localtime", "2006-06-17" or "2006-06-17T16:01:21" */
MUST_CHECK bool rtc_base_parse(const char *text, RtcBase *base, Error **errp);

#endif
