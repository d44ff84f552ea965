#include "base/log.h"

#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

unsigned log_mask;

/* Where lines go: written by start-up and the monitor under log_file_lock, read by any thread. */
static FILE *log_file; /* NULL: stderr */
static GMutex log_file_lock;

typedef struct LogRange {
    uint64_t first, last;
} LogRange;

/* -dfilter: LogRange, NULL: all. Written at start-up, before threads log. */
static GArray *log_ranges;

/* The accelerator of this process's machine. Main thread. */
static void (*log_listener)(void *opaque);
static void *log_listener_opaque;

const LogItemInfo log_items[] = {
    { LOG_OUT_ASM, "out_asm", "show generated host assembly code for each translated block" },
    { LOG_IN_ASM, "in_asm", "show the guest assembly code of each translated block" },
    { LOG_INT, "int", "show interrupts and exceptions in short format" },
    { LOG_EXEC, "exec", "show each executed block (slow)" },
    { LOG_CPU, "cpu", "show CPU registers before each executed block (slow)" },
    { LOG_MMU, "mmu", "log memory-management activity" },
    { LOG_PCALL, "pcall", "log protected-mode far calls, returns and exceptions" },
    { LOG_CPU_RESET, "cpu_reset", "show CPU state before CPU resets" },
    { LOG_UNIMP, "unimp", "log what a guest uses and the machine does not implement" },
    { LOG_GUEST_ERRORS, "guest_errors", "log when the guest does something invalid" },
    { LOG_PAGE, "page", "log pages of translated code that are discarded" },
    { LOG_NOCHAIN, "nochain", "do not chain translated blocks, so that exec and cpu show all" },
    { LOG_VHOST_USER, "vhost_user", "log every vhost-user message, decoded" },
    { LOG_ERRORS, "errors", "log every error with the file and line that raised it" },
    { 0, NULL, NULL },
};

typedef struct LogItemCursor {
    int next;
} LogItemCursor;

static const char *log_next_name(void *opaque)
{
    LogItemCursor *cursor = opaque;
    return log_items[cursor->next].name ? log_items[cursor->next++].name : NULL;
}

static bool log_parse_item(const char *name, unsigned *mask, Error **errp)
{
    if (!strcmp(name, "all")) {
        for (const LogItemInfo *i = log_items; i->name; i++) {
            *mask |= i->mask;
        }
        *mask &= ~LOG_NOCHAIN;
        return true;
    }
    for (const LogItemInfo *i = log_items; i->name; i++) {
        if (!strcmp(name, i->name)) {
            *mask |= i->mask;
            return true;
        }
    }
    LogItemCursor cursor = { 0 };
    const char *near = text_nearest(name, log_next_name, &cursor);
    if (near) {
        error_set(errp, "unknown log item '%s'; did you mean '%s'?", name, near);
    } else {
        error_set(errp, "unknown log item '%s'; '-d help' lists the items", name);
    }
    return false;
}

bool log_parse_items(const char *text, unsigned *mask, Error **errp)
{
    g_auto(GStrv) names = g_strsplit(text, ",", -1);
    unsigned result = 0;
    for (char **name = names; *name; name++) {
        if (!log_parse_item(*name, &result, errp)) {
            return false;
        }
    }
    *mask = result;
    return true;
}

void log_set_mask(unsigned mask)
{
    __atomic_store_n(&log_mask, mask, __ATOMIC_RELAXED);
    if (log_listener) {
        log_listener(log_listener_opaque);
    }
}

void log_set_listener(void (*fn)(void *opaque), void *opaque)
{
    log_listener = fn;
    log_listener_opaque = opaque;
}

/* --- Addresses --- */

static bool log_parse_range(const char *text, LogRange *range)
{
    char *end;
    uint64_t second;
    errno = 0;
    range->first = g_ascii_strtoull(text, &end, 0);
    bool to = g_str_has_prefix(end, "..");
    char sign = *end;
    if (end == text || errno || !(to || sign == '+' || sign == '-')) {
        return false;
    }
    text = end + (to ? 2 : 1);
    second = g_ascii_strtoull(text, &end, 0);
    if (end == text || *end || errno) {
        return false;
    }
    if (to) {
        range->last = second;
    } else if (sign == '+') {
        range->last = range->first + second - 1;
    } else {
        range->last = range->first;
        range->first -= second - 1;
    }
    return (to || second) && range->first <= range->last;
}

bool log_set_filter(const char *ranges, Error **errp)
{
    GArray *list = NULL;
    if (ranges) {
        g_auto(GStrv) texts = g_strsplit(ranges, ",", -1);
        list = g_array_new(FALSE, FALSE, sizeof(LogRange));
        for (char **text = texts; *text; text++) {
            LogRange range;
            if (!log_parse_range(*text, &range)) {
                error_set(errp,
                          "'%s' is not a range of addresses: START..END, START+LENGTH or "
                          "START-LENGTH is expected",
                          *text);
                g_array_free(list, TRUE);
                return false;
            }
            g_array_append_val(list, range);
        }
    }
    if (log_ranges) {
        g_array_free(log_ranges, TRUE);
    }
    log_ranges = list;
    return true;
}

bool log_wants_address(uint64_t addr)
{
    for (guint i = 0; log_ranges && i < log_ranges->len; i++) {
        const LogRange *range = &g_array_index(log_ranges, LogRange, i);
        if (addr >= range->first && addr <= range->last) {
            return true;
        }
    }
    return !log_ranges;
}

static void log_replace_file(FILE *file)
{
    g_mutex_lock(&log_file_lock);
    FILE *old = log_file;
    log_file = file;
    g_mutex_unlock(&log_file_lock);
    if (old) {
        fclose(old);
    }
}

bool log_set_file(const char *path, Error **errp)
{
    if (!path) {
        log_replace_file(NULL);
        return true;
    }
    g_autofree char *expanded = NULL;
    const char *percent = strchr(path, '%');
    if (percent) {
        if (percent[1] != 'd' || strchr(percent + 1, '%')) {
            error_set(errp,
                      "log file '%s' may contain '%%d' (the process id) once and no other '%%'",
                      path);
            return false;
        }
        expanded =
            g_strdup_printf("%.*s%d%s", (int)(percent - path), path, (int)getpid(), percent + 2);
    }
    FILE *file = fopen(expanded ?: path, "we");
    if (!file) {
        error_set_errno(errp, errno, "cannot open log file '%s'", expanded ?: path);
        return false;
    }
    setvbuf(file, NULL, _IOLBF, 0);
    log_replace_file(file);
    return true;
}

void log_finish(void)
{
    log_set_mask(0);
    log_replace_file(NULL);
    if (log_ranges) {
        g_array_free(log_ranges, TRUE);
        log_ranges = NULL;
    }
}

void log_printf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_mutex_lock(&log_file_lock);
    vfprintf(log_file ?: stderr, fmt, ap);
    g_mutex_unlock(&log_file_lock);
    va_end(ap);
}
