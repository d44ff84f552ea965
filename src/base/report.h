/*
 * Messages for people: stderr lines in one shape, "rhea: LOCATION: text".
 *
 * The location is a stack that names what is being read: a command-line option with its argument,
 * or a line of a config file. Thread-local; pushes and pops nest.
 */
#ifndef BASE_REPORT_H
#define BASE_REPORT_H

#include <stdio.h>

#include "base/compiler.h"
#include "base/error.h"

typedef struct Location {
    struct Location *outer;
    enum { LOCATION_OPTION, LOCATION_FILE } kind;
    const char *option;   /* "-device"; borrowed */
    const char *argument; /* as given, or NULL; borrowed */
    const char *file;     /* borrowed */
    int line;             /* from 1 */
} Location;

/* The Location lives on the caller's stack until it is popped. */
void location_push_option(Location *loc, const char *option, const char *argument);
void location_push_file(Location *loc, const char *file, int line);
void location_pop(Location *loc);

/* What to put before each message; NULL prints none. Borrowed, lives as long as the process. */
void report_set_program(const char *name);
/* ISO 8601 UTC time before each line (-msg timestamp=on). */
void report_set_timestamp(bool on);
/* Guest name before each line (-msg guest-name=on), NULL for none; copied. */
void report_set_guest_name(const char *name);
/* Divert messages (tests, the human monitor); NULL restores stderr. Thread-local. The line has no
 * newline. */
typedef void ReportSink(const char *line, void *opaque);
void report_set_sink(ReportSink *sink, void *opaque);

void report_error(const char *fmt, ...) PRINTF_LIKE(1, 2);
void report_warning(const char *fmt, ...) PRINTF_LIKE(1, 2);
void report_info(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Print message and hint, then free. Takes ownership of err, which must not be NULL. */
void error_report_and_free(Error *err);
void error_warn_and_free(Error *err);

#define report_warning_once(...)                                        \
    do {                                                                \
        static bool reported_;                                          \
        if (!__atomic_exchange_n(&reported_, true, __ATOMIC_RELAXED)) { \
            report_warning(__VA_ARGS__);                                \
        }                                                               \
    } while (0)

#endif
