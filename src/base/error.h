/*
 * Errors: one line a user can act on, carried upwards.
 *
 * A fallible function takes `Error **errp` last and returns bool or a pointer, so that the caller
 * tests the return value. `errp` may be NULL (the caller does not care why). The receiver of an
 * Error owns it: it hands it on with error_propagate(), prints it with error_report_and_free(), or
 * frees it.
 *
 * A message names the object, the value and the remedy; a cause is chained once, with
 * error_prepend("device 'net0': "). It has neither trailing full stop nor newline.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/compiler.h"

typedef struct Error Error;

/* The classes that QMP clients may tell apart; the names on the wire come from
 * error_class_name(). */
typedef enum ErrorClass {
    ERROR_CLASS_GENERIC,
    ERROR_CLASS_COMMAND_NOT_FOUND,
    ERROR_CLASS_DEVICE_NOT_ACTIVE,
    ERROR_CLASS_DEVICE_NOT_FOUND,
    ERROR_CLASS_KVM_MISSING_CAP,
} ErrorClass;

/* Pass where failure is a programming error: the message is printed with its origin, then abort().
 */
extern Error *error_abort;

/* Set *errp, which must be NULL or point to NULL. */
#define error_set(errp, ...) \
    error_set_at((errp), __FILE__, __LINE__, ERROR_CLASS_GENERIC, __VA_ARGS__)
#define error_set_class(errp, klass, ...) \
    error_set_at((errp), __FILE__, __LINE__, (klass), __VA_ARGS__)
/* Appends ": " and strerror(errnum); errnum is positive. */
#define error_set_errno(errp, errnum, ...) \
    error_set_errno_at((errp), __FILE__, __LINE__, (errnum), __VA_ARGS__)

void error_set_at(Error **errp, const char *file, int line, ErrorClass klass, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
void error_set_errno_at(Error **errp, const char *file, int line, int errnum, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

/* Put text before the message; does nothing where errp is NULL or nothing is set. */
void error_prepend(Error **errp, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Add a remedy that people see on a further line and machines don't. */
void error_add_hint(Error **errp, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Hand err (NULL allowed) to dst; frees it when dst is NULL or already set. */
void error_propagate(Error **dst, Error *err);

const char *error_message(const Error *err);
const char *error_hint(const Error *err); /* NULL if there is none */
ErrorClass error_class(const Error *err);
const char *error_class_name(ErrorClass klass);
/* errno given to error_set_errno(), 0 otherwise */
int error_errno(const Error *err);

Error *error_copy(const Error *err);
void error_free(Error *err); /* NULL allowed */

static inline void error_cleanup(Error **err)
{
    error_free(*err);
}

/* For locals: `ERROR_AUTO err = NULL;` is freed when it goes out of scope. */
#define ERROR_AUTO __attribute__((cleanup(error_cleanup))) Error *

#endif
