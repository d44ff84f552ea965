/* Text that people type: numbers, sizes, identifiers, suggestions. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/compiler.h"

/* The whole string must be a number: decimal, 0x hexadecimal or 0 octal… false if not, or if it
 * does not fit. */
MUST_CHECK bool text_to_i64(const char *text, int64_t *value);
MUST_CHECK bool text_to_u64(const char *text, uint64_t *value);
MUST_CHECK bool text_to_double(const char *text, double *value);
/* Bytes: "4096", "64K", "1.5G" (binary suffixes B K M G T P E); default_unit is the multiplier of a
 * number without suffix. */
MUST_CHECK bool text_to_size(const char *text, uint64_t default_unit, uint64_t *bytes);
/* "on yes true y" / "off no false n" */
MUST_CHECK bool text_to_bool(const char *text, bool *value);

/* "64 MiB": for people. The result is owned by the caller (g_free). */
char *text_from_size(uint64_t bytes);

/* Identifiers: a letter, then letters, digits, '-', '.', '_'. */
bool text_is_id(const char *text);

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" with hexadecimal digits; bytes are in the order written.
 */
MUST_CHECK bool text_to_uuid(const char *text, uint8_t uuid[16]);

/* "help" or "?" */
bool text_is_help(const char *text);

/*
 * The candidate nearest to text when it is near enough to be a likely typing error, else NULL.
 * next() yields candidates until NULL.
 */
typedef const char *TextCandidates(void *opaque);
const char *text_nearest(const char *text, TextCandidates *next, void *opaque);

#endif
