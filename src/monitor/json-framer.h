/*
 * Cutting a stream of bytes into JSON values.
 *
 * A client sends JSON values one after the other, with any white space or none between them, in
 * pieces of any size. The framer finds where each value ends by following brackets and strings; it
 * does not judge what lies between (jansson does), but it notices at once what can't become a
 * value, and finds its way back:
 *   - a byte that can't stand in JSON, a closing bracket without its opening one, or a line end in
 *     a string: an error; input is skipped to the end of the line, or to where the brackets close;
 *   - more than max_size bytes or max_depth brackets: an error; skipped to where the brackets
 * close;
 *   - the byte 0xFF (never part of UTF-8): drops an unfinished value, from wherever the stream is.
 * One error for each such place. Memory is bounded by max_size.
 *
 * Strings in single quotes, which some clients send, come out in double quotes.
 */
#ifndef MONITOR_JSON_FRAMER_H
#define MONITOR_JSON_FRAMER_H

#include <glib.h>

#include "base/compiler.h"

#define JSON_FRAMER_MAX_SIZE  (16 * 1024 * 1024) /* bytes of one value */
#define JSON_FRAMER_MAX_DEPTH 1024               /* nested brackets */

typedef struct JsonFramer {
    /* One whole value, zero-terminated besides; valid during the call. */
    void (*value)(void *opaque, const char *text, size_t len);
    void (*error)(void *opaque, const char *message);
    void *opaque;
    size_t max_size;
    unsigned max_depth;

    GString *text; /* the value so far */
    char *nesting; /* stack of the closing brackets expected */
    unsigned depth;
    char quote;   /* in a string that began with it; 0: not in a string */
    bool escaped; /* the last byte of the string was a backslash */
    enum { FRAMER_BETWEEN, FRAMER_VALUE, FRAMER_SCALAR, FRAMER_SKIP_LINE, FRAMER_SKIP_VALUE } state;
} JsonFramer;

/* value, error and opaque are set by the caller before or after. */
void json_framer_init(JsonFramer *framer);
void json_framer_finish(JsonFramer *framer); /* a zeroed one is allowed */
/* Forget an unfinished value (a new connection). */
void json_framer_reset(JsonFramer *framer);
void json_framer_feed(JsonFramer *framer, const char *buf, size_t len);
/*
 * As above, but stops after a value or an error was reported; returns the bytes used. For callers
 * that take one message at a time.
 */
size_t json_framer_feed_one(JsonFramer *framer, const char *buf, size_t len);

#endif
