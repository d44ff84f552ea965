#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <glib.h>

/* Digits in 2^64-1. */
#define DIGITS_MAX 20

/* Behind the string whose opening quote is at `at`; `end` if it doesn't close. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        at += *at == '\\' && at + 1 < end;
    }
    return at < end ? at + 1 : end;
}

/* The run of digits at `at` as what it is to be written. */
static void add_number(GString *out, const char *at, size_t len, char behind)
{
    char digits[DIGITS_MAX + 1] = "";
    if (len <= DIGITS_MAX && !strchr(".eE", behind) && !g_str_has_suffix(out->str, "-")) {
        memcpy(digits, at, len);
        errno = 0;
        uint64_t n = g_ascii_strtoull(digits, NULL, 10);
        if (!errno && n > INT64_MAX) {
            g_string_append_printf(out, "%" PRId64, (int64_t)n);
            return;
        }
    }
    g_string_append_len(out, at, (gssize)len);
}

static GString *fold_numbers(const char *text, size_t len)
{
    GString *out = g_string_sized_new(len);
    const char *end = text + len;
    while (text < end) {
        const char *from = text;
        if (*text == '"') {
            text = skip_string(text, end);
            g_string_append_len(out, from, text - from);
        } else if (g_ascii_isdigit(*text)) {
            while (text < end && g_ascii_isdigit(*text)) {
                text++;
            }
            add_number(out, from, (size_t)(text - from), text < end ? *text : ' ');
        } else {
            g_string_append_c(out, *text++);
        }
    }
    return out;
}

json_t *json_load_text(const char *text, size_t len, size_t flags, json_error_t *why)
{
    json_t *json = json_loadb(text, len, flags, why);
    if (!json && json_error_code(why) == json_error_numeric_overflow) {
        g_autoptr(GString) folded = fold_numbers(text, len);
        json_error_t again;
        json = json_loadb(folded->str, folded->len, flags, &again);
    }
    return json;
}
