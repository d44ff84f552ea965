/*
 * Debug logging by item (-d, -D): for developers, off by default.
 *
 * Items are bits of one mask; a disabled item costs a load and a predictable branch. Lines may be
 * written from any thread.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdio.h>

#include "base/compiler.h"
#include "base/error.h"

typedef enum LogItem {
    LOG_OUT_ASM = 1u << 0,
    LOG_IN_ASM = 1u << 1,
    LOG_INT = 1u << 2,
    LOG_EXEC = 1u << 3,
    LOG_CPU = 1u << 4,
    LOG_MMU = 1u << 5,
    LOG_PCALL = 1u << 6,
    LOG_CPU_RESET = 1u << 7,
    LOG_UNIMP = 1u << 8,
    LOG_GUEST_ERRORS = 1u << 9,
    LOG_PAGE = 1u << 10,
    LOG_NOCHAIN = 1u << 11,
    LOG_VHOST_USER = 1u << 12,
    LOG_ERRORS = 1u << 13, /* every Error with the file and line that made it */
} LogItem;

typedef struct LogItemInfo {
    unsigned mask;
    const char *name;
    const char *help;
} LogItemInfo;

/* All items, in the order `-d help` lists them; ends with a NULL name. */
extern const LogItemInfo log_items[];

extern unsigned log_mask; /* atomic, written by log_set_mask() only */

static inline bool log_enabled(unsigned items)
{
    return UNLIKELY(__atomic_load_n(&log_mask, __ATOMIC_RELAXED) & items);
}

/* Parse "int,guest_errors" or "all"; false with an error that suggests the nearest item. */
MUST_CHECK bool log_parse_items(const char *text, unsigned *mask, Error **errp);
void log_set_mask(unsigned mask);
/* Told after each change of the mask, by its thread; NULL: nobody. One listener: the accelerator,
 * whose code logs or doesn't. */
void log_set_listener(void (*fn)(void *opaque), void *opaque);
/*
 * Only about guest addresses of these ranges (-dfilter): "START..END", "START+LENGTH",
 * "START-LENGTH", separated by commas. For items about places in the guest's code. Before threads
 * log; NULL: about all.
 */
MUST_CHECK bool log_set_filter(const char *ranges, Error **errp);
bool log_wants_address(uint64_t addr);
/* Write to a file ("%d" becomes the pid) from now on; NULL goes back to stderr. */
MUST_CHECK bool log_set_file(const char *path, Error **errp);
void log_finish(void);

#define log_item(items, ...)         \
    do {                             \
        if (log_enabled(items)) {    \
            log_printf(__VA_ARGS__); \
        }                            \
    } while (0)
/* What a guest did wrong (-d guest_errors). One line, with newline. */
#define log_guest_error(...) log_item(LOG_GUEST_ERRORS, __VA_ARGS__)
#define log_unimp(...)       log_item(LOG_UNIMP, __VA_ARGS__)

/* Unconditional; the text carries its own newline. */
void log_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
