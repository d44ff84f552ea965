#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

#include "base/bits.h"

/* Longer texts are not compared: nobody mistypes them, and the comparison is quadratic. */
#define NEAREST_TEXT_MAX 48

bool text_to_i64(const char *text, int64_t *value)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    char *end;

    /* strtoll would skip white space and take a second sign */
    if (!g_ascii_isdigit(digits[0])) {
        return false;
    }
    errno = 0;
    long long v = strtoll(text, &end, 0);
    if (errno || *end) {
        return false;
    }
    *value = v;
    return true;
}

bool text_to_u64(const char *text, uint64_t *value)
{
    char *end;

    if (!g_ascii_isdigit(text[0])) {
        return false;
    }
    errno = 0;
    unsigned long long v = strtoull(text, &end, 0);
    if (errno || *end) {
        return false;
    }
    *value = v;
    return true;
}

bool text_to_double(const char *text, double *value)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    char *end;

    if (!g_ascii_isdigit(digits[0])) {
        return false;
    }
    errno = 0;
    double v = g_ascii_strtod(text, &end);
    if (errno || *end) {
        return false;
    }
    *value = v;
    return true;
}

/* 0 for a letter that is no suffix */
static uint64_t size_suffix(char letter)
{
    static const char letters[] = "bkmgtpe";
    const char *at = letter ? strchr(letters, g_ascii_tolower(letter)) : NULL;

    return at ? BIT64(10 * (at - letters)) : 0;
}

bool text_to_size(const char *text, uint64_t default_unit, uint64_t *bytes)
{
    /* 18 digits of fraction times 2^60 stay below 2^127 */
    enum { FRACTION_DIGITS_MAX = 18 };
    unsigned __int128 fraction = 0, scale = 1, total;
    uint64_t whole, unit = default_unit;
    char *end;

    if (!g_ascii_isdigit(text[0])) {
        return false;
    }
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        /* b and e are digits there, so a hexadecimal number takes no suffix */
        if (!text_to_u64(text, &whole)) {
            return false;
        }
        end = (char *)"";
    } else {
        errno = 0;
        whole = strtoull(text, &end, 10);
        if (errno) {
            return false;
        }
        if (*end == '.') {
            int digits = 0;
            for (end++; g_ascii_isdigit(*end); end++, digits++) {
                if (digits == FRACTION_DIGITS_MAX) {
                    return false;
                }
                fraction = fraction * 10 + (unsigned)(*end - '0');
                scale *= 10;
            }
            if (!digits) {
                return false;
            }
        }
        if (*end) {
            unit = size_suffix(*end++);
        }
    }
    if (*end || !unit || (fraction && unit == 1)) {
        return false;
    }
    total = (unsigned __int128)whole * unit + fraction * unit / scale;
    if (total > UINT64_MAX) {
        return false;
    }
    *bytes = (uint64_t)total;
    return true;
}

bool text_to_bool(const char *text, bool *value)
{
    static const char *const yes[] = { "on", "yes", "true", "y", NULL };
    static const char *const no[] = { "off", "no", "false", "n", NULL };

    if (g_strv_contains(yes, text)) {
        *value = true;
        return true;
    }
    if (g_strv_contains(no, text)) {
        *value = false;
        return true;
    }
    return false;
}

char *text_from_size(uint64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned unit = 0;

    while (unit + 1 < ARRAY_LEN(units) && bytes >> (10 * (unit + 1))) {
        unit++;
    }
    if (!(bytes & (BIT64(10 * unit) - 1))) {
        return g_strdup_printf("%" PRIu64 " %s", bytes >> (10 * unit), units[unit]);
    }
    return g_strdup_printf("%.3g %s", (double)bytes / (double)BIT64(10 * unit), units[unit]);
}

bool text_is_id(const char *text)
{
    if (!g_ascii_isalpha(text[0])) {
        return false;
    }
    for (const char *c = text + 1; *c; c++) {
        if (!g_ascii_isalnum(*c) && !strchr("-._", *c)) {
            return false;
        }
    }
    return true;
}

bool text_to_uuid(const char *text, uint8_t uuid[16])
{
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    unsigned digits = 0;

    if (strlen(text) != strlen(shape)) {
        return false;
    }
    for (const char *c = text, *s = shape; *s; c++, s++) {
        int digit = g_ascii_xdigit_value(*c);
        if (*s == '-' ? *c != '-' : digit < 0) {
            return false;
        }
        if (*s == 'x') {
            uuid[digits / 2] = (uint8_t)(digits % 2 ? uuid[digits / 2] | digit : digit << 4);
            digits++;
        }
    }
    return true;
}

bool text_is_help(const char *text)
{
    return g_str_equal(text, "help") || g_str_equal(text, "?");
}

/* '-' and '_' are the same key to a person, and so is case. */
static char fold(char c)
{
    return c == '_' ? '-' : g_ascii_tolower(c);
}

/* Edits (insert, delete, replace, swap neighbours) that lead from a to b; more than max is max + 1.
 */
static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len,
                              unsigned max)
{
    unsigned rows[3][NEAREST_TEXT_MAX + 1];
    unsigned *before = rows[0], *prev = rows[1], *cur = rows[2];

    for (size_t j = 0; j <= b_len; j++) {
        prev[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        unsigned best = cur[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            unsigned d = prev[j - 1] + !same;
            d = MIN_OF(d, prev[j] + 1);
            d = MIN_OF(d, cur[j - 1] + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1])) {
                d = MIN_OF(d, before[j - 2] + 1);
            }
            cur[j] = d;
            best = MIN_OF(best, d);
        }
        if (best > max) {
            return max + 1;
        }
        unsigned *oldest = before;
        before = prev;
        prev = cur;
        cur = oldest;
    }
    return prev[b_len];
}

const char *text_nearest(const char *text, TextCandidates *next, void *opaque)
{
    size_t len = strlen(text);
    /* A third of the letters wrong is no typing error any more. */
    unsigned max = len < 3 ? 1 : MIN_OF((unsigned)(len + 1) / 3, 4);
    const char *best = NULL;

    for (const char *c = next(opaque); c; c = next(opaque)) {
        size_t c_len = strlen(c);
        if (len > NEAREST_TEXT_MAX || c_len > NEAREST_TEXT_MAX || c_len > len + max ||
            len > c_len + max) {
            continue;
        }
        /* one letter of two is half of it: only a swap or a different case is near then */
        unsigned d = edit_distance(text, len, c, c_len, max);
        if (d <= max && d < MAX_OF(len, c_len)) {
            best = c;
            if (d == 0) {
                break;
            }
            max = d - 1; /* from here on only nearer ones */
        }
    }
    return best;
}
