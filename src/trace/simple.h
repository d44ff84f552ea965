/*
 * The binary trace file. Numbers are little-endian.
 *
 *   header   "RHEATRC1", u64 wall clock in ns since 1970, u64 monotonic clock in ns at that time
 *   records  u32 bytes of the record with this field, u32 kind, then by kind:
 *     TRACE_RECORD_EVENT_TYPE   u32 id, then strings: name, format, and for each argument a byte of
 *                               TraceArgKind and its name; before the first event of that id
 *     TRACE_RECORD_EVENT        u32 id, u32 thread id, u64 monotonic ns, then the arguments: u64
 * each, or a string TRACE_RECORD_LOST         u64 events that found the buffer full since the last
 * such record string   u32 bytes, then the bytes
 */
#ifndef TRACE_SIMPLE_H
#define TRACE_SIMPLE_H

#include "trace/event.h"

#define TRACE_FILE_MAGIC "RHEATRC1"

enum {
    TRACE_RECORD_EVENT_TYPE = 1,
    TRACE_RECORD_EVENT = 2,
    TRACE_RECORD_LOST = 3,
};

/* Longer strings are cut. */
#define TRACE_STRING_MAX 512 /* bytes */

typedef union TraceValue {
    uint64_t u;
    const char *s; /* TRACE_ARG_STRING; NULL allowed */
} TraceValue;

/* True while a file is open; generated code asks before it collects the arguments. */
extern bool trace_simple_active;

/* values: one an argument. For generated code. */
void trace_simple_emit(const TraceEvent *event, const TraceValue *values);

#endif
