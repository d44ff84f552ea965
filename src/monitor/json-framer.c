#include "monitor/json-framer.h"

#include <string.h>

#define BYTE_RESET 0xFF

void json_framer_init(JsonFramer *framer)
{
    framer->max_size = JSON_FRAMER_MAX_SIZE;
    framer->max_depth = JSON_FRAMER_MAX_DEPTH;
    framer->text = g_string_new(NULL);
    framer->nesting = g_malloc(JSON_FRAMER_MAX_DEPTH);
    framer->depth = 0;
    framer->quote = 0;
    framer->escaped = false;
    framer->state = FRAMER_BETWEEN;
}

void json_framer_finish(JsonFramer *framer)
{
    if (framer->text) {
        g_string_free(framer->text, TRUE);
    }
    g_free(framer->nesting);
    *framer = (JsonFramer){ 0 };
}

/* Keep no more than a page of memory between values. */
static void drop_text(JsonFramer *framer)
{
    if (framer->text->allocated_len > 4096) {
        g_string_free(framer->text, TRUE);
        framer->text = g_string_new(NULL);
    } else {
        g_string_truncate(framer->text, 0);
    }
}

void json_framer_reset(JsonFramer *framer)
{
    drop_text(framer);
    framer->depth = 0;
    framer->quote = 0;
    framer->escaped = false;
    framer->state = FRAMER_BETWEEN;
}

static bool fail(JsonFramer *framer, const char *message, int state)
{
    drop_text(framer);
    framer->state = state;
    framer->error(framer->opaque, message);
    return true;
}

static bool deliver(JsonFramer *framer)
{
    GString *text = framer->text;
    framer->text = g_string_new(NULL);
    json_framer_reset(framer);
    framer->value(framer->opaque, text->str, text->len);
    g_string_free(text, TRUE);
    return true;
}

static bool is_space(unsigned char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* May stand in a value outside strings and brackets: numbers, literals, separators. */
static bool is_plain(unsigned char c)
{
    return g_ascii_isalnum(c) || (c && strchr("+-.,:", c));
}

static void append_string_byte(JsonFramer *framer, unsigned char c)
{
    GString *text = framer->text;
    if (framer->quote == '\'') {
        if (framer->escaped && c == '\'') {
            /* \' is no escape in JSON */
            g_string_truncate(text, text->len - 1);
        } else if (!framer->escaped && c == '"') {
            g_string_append_c(text, '\\');
        } else if (!framer->escaped && c == '\'') {
            c = '"';
        }
    }
    g_string_append_c(text, c);
}

/* Follow strings and brackets in skipped input. True when the brackets have closed. */
static bool skip_byte(JsonFramer *framer, unsigned char c)
{
    if (framer->quote) {
        if (framer->escaped) {
            framer->escaped = false;
        } else if (c == '\\') {
            framer->escaped = true;
        } else if (c == framer->quote) {
            framer->quote = 0;
        }
        return false;
    }
    switch (c) {
    case '"':
    case '\'':
        framer->quote = c;
        return false;
    case '{':
    case '[':
        framer->depth++;
        return false;
    case '}':
    case ']':
        framer->depth -= framer->depth > 0;
        return framer->depth == 0;
    default:
        return false;
    }
}

static bool in_string(JsonFramer *framer, unsigned char c)
{
    if (c < 0x20) {
        framer->quote = 0;
        framer->escaped = false;
        if (c == '\n') {
            framer->depth = 0;
        }
        return fail(framer, "JSON parse error, control character in a string",
                    c == '\n' ? FRAMER_BETWEEN : FRAMER_SKIP_LINE);
    }
    append_string_byte(framer, c);
    if (framer->escaped) {
        framer->escaped = false;
    } else if (c == '\\') {
        framer->escaped = true;
    } else if (c == (unsigned char)framer->quote) {
        framer->quote = 0;
        if (framer->depth == 0) {
            return deliver(framer);
        }
    }
    return false;
}

static bool in_value(JsonFramer *framer, unsigned char c)
{
    if (framer->quote) {
        return in_string(framer, c);
    }
    if (c == '{' || c == '[') {
        if (framer->depth == framer->max_depth) {
            framer->depth++;
            return fail(framer, "JSON nesting depth limit exceeded", FRAMER_SKIP_VALUE);
        }
        framer->nesting[framer->depth++] = c == '{' ? '}' : ']';
    } else if (c == '}' || c == ']') {
        framer->depth--;
        if (framer->nesting[framer->depth] != (char)c) {
            return fail(framer, "JSON parse error, brackets don't match",
                        framer->depth ? FRAMER_SKIP_LINE : FRAMER_BETWEEN);
        }
    } else if (c == '"' || c == '\'') {
        framer->quote = c;
        c = '"';
    } else if (!is_plain(c) && !is_space(c)) {
        return fail(framer, "JSON parse error, stray character", FRAMER_SKIP_LINE);
    }
    g_string_append_c(framer->text, c);
    return framer->depth == 0 && !framer->quote ? deliver(framer) : false;
}

/* True when something was reported; *again: the byte is still to be looked at. */
static bool feed_byte(JsonFramer *framer, unsigned char c, bool *again)
{
    if (c == BYTE_RESET) {
        bool unfinished = framer->state == FRAMER_VALUE || framer->state == FRAMER_SCALAR;
        json_framer_reset(framer);
        return unfinished ? fail(framer, "JSON parse error, unfinished value", FRAMER_BETWEEN)
                          : false;
    }
    switch (framer->state) {
    case FRAMER_SKIP_LINE:
        if (framer->depth == 0 && c == '{') {
            json_framer_reset(framer);
            *again = true;
            return false;
        }
        if (framer->depth == 0 && c != '\n') {
            return false;
        }
        /* fall through */
    case FRAMER_SKIP_VALUE:
        if (skip_byte(framer, c) ||
            (c == '\n' && (framer->state == FRAMER_SKIP_LINE || framer->quote))) {
            json_framer_reset(framer);
        }
        return false;
    case FRAMER_SCALAR:
        if (is_plain(c)) {
            g_string_append_c(framer->text, c);
            break;
        }
        *again = true;
        return deliver(framer);
    case FRAMER_BETWEEN:
        if (is_space(c)) {
            return false;
        }
        if (is_plain(c)) {
            framer->state = FRAMER_SCALAR;
            g_string_append_c(framer->text, c);
            break;
        }
        if (!strchr("{[\"'", c) || !c) {
            return fail(framer, "JSON parse error, expecting value", FRAMER_SKIP_LINE);
        }
        framer->state = FRAMER_VALUE;
        return in_value(framer, c);
    case FRAMER_VALUE:
        if (in_value(framer, c)) {
            return true;
        }
        break;
    }
    if (framer->text->len > framer->max_size) {
        return fail(framer, "JSON value size limit exceeded",
                    framer->depth || framer->quote ? FRAMER_SKIP_VALUE : FRAMER_SKIP_LINE);
    }
    return false;
}

size_t json_framer_feed_one(JsonFramer *framer, const char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool again = false;
        if (feed_byte(framer, buf[i], &again)) {
            return again ? i : i + 1;
        }
        i -= again;
    }
    return len;
}

void json_framer_feed(JsonFramer *framer, const char *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        done += json_framer_feed_one(framer, buf + done, len - done);
    }
}
