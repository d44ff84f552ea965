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
