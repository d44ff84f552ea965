#include "base/error.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct Error {
    char *message;
    char *hint; /* NULL: none */
    ErrorClass klass;
    int errnum;
    const char *file; /* string literals of error_set() */
    int line;
};

/* Only the address matters: error_set_at() recognises it. */
Error *error_abort;

static void error_check_abort(Error **errp, const Error *err)
{
    if (errp != &error_abort) {
        return;
    }
    fprintf(stderr, "%s:%d: unexpected error: %s\n", err->file, err->line, err->message);
    if (err->hint) {
        fprintf(stderr, "%s\n", err->hint);
    }
    abort();
}

static void error_store(Error **errp, Error *err)
{
    error_check_abort(errp, err);
    log_item(LOG_ERRORS, "%s:%d: %s\n", err->file, err->line, err->message);
    if (!errp) {
        error_free(err);
        return;
    }
    assert(!*errp);
    *errp = err;
}

static Error *error_new_v(const char *file, int line, ErrorClass klass, const char *fmt, va_list ap)
{
    Error *err = g_new0(Error, 1);
    err->message = g_strdup_vprintf(fmt, ap);
    err->klass = klass;
    err->file = file;
    err->line = line;
    return err;
}

void error_set_at(Error **errp, const char *file, int line, ErrorClass klass, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    Error *err = error_new_v(file, line, klass, fmt, ap);
    va_end(ap);
    error_store(errp, err);
    errno = saved;
}

void error_set_errno_at(Error **errp, const char *file, int line, int errnum, const char *fmt, ...)
{
    int saved = errno;
    va_list ap;
    va_start(ap, fmt);
    Error *err = error_new_v(file, line, ERROR_CLASS_GENERIC, fmt, ap);
    va_end(ap);
    char *text = err->message;
    err->message = g_strdup_printf("%s: %s", text, g_strerror(errnum));
    err->errnum = errnum;
    g_free(text);
    error_store(errp, err);
    errno = saved;
}

void error_prepend(Error **errp, const char *fmt, ...)
{
    if (!errp || !*errp) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *front = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    char *message = g_strconcat(front, (*errp)->message, NULL);
    g_free((*errp)->message);
    (*errp)->message = message;
}

void error_add_hint(Error **errp, const char *fmt, ...)
{
    if (!errp || !*errp) {
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *more = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    char *hint = (*errp)->hint ? g_strconcat((*errp)->hint, "\n", more, NULL) : g_strdup(more);
    g_free((*errp)->hint);
    (*errp)->hint = hint;
}

void error_propagate(Error **dst, Error *err)
{
    if (!err) {
        return;
    }
    error_check_abort(dst, err);
    if (dst && !*dst) {
        *dst = err;
    } else {
        error_free(err);
    }
}

const char *error_message(const Error *err)
{
    return err->message;
}

const char *error_hint(const Error *err)
{
    return err->hint;
}

ErrorClass error_class(const Error *err)
{
    return err->klass;
}

const char *error_class_name(ErrorClass klass)
{
    static const char *const names[] = {
        [ERROR_CLASS_GENERIC] = "GenericError",
        [ERROR_CLASS_COMMAND_NOT_FOUND] = "CommandNotFound",
        [ERROR_CLASS_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [ERROR_CLASS_DEVICE_NOT_FOUND] = "DeviceNotFound",
        [ERROR_CLASS_KVM_MISSING_CAP] = "KVMMissingCap",
    };
    return names[klass];
}

int error_errno(const Error *err)
{
    return err->errnum;
}

Error *error_copy(const Error *err)
{
    Error *copy = g_memdup2(err, sizeof(*err));
    copy->message = g_strdup(err->message);
    copy->hint = g_strdup(err->hint);
    return copy;
}

void error_free(Error *err)
{
    if (!err) {
        return;
    }
    g_free(err->message);
    g_free(err->hint);
    g_free(err);
}
