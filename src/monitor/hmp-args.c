/* From a command's text to its arguments, as its row describes them. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "monitor/hmp-args.h"

/* --- Expressions: one function a level, weakest first --- */

typedef struct Scan {
    const char *at;
    Error **errp;
    unsigned depth; /* nested brackets and signs */
} Scan;

#define MAX_DEPTH 64

static bool parse_or(Scan *s, uint64_t *v);

static void skip_space(Scan *s)
{
    while (*s->at == ' ') {
        s->at++;
    }
}

static bool parse_number(Scan *s, uint64_t *v)
{
    char *end;
    if (*s->at == '\'' && s->at[1] && s->at[2] == '\'') {
        *v = (uint8_t)s->at[1];
        s->at += 3;
        return true;
    }
    if (!isdigit((unsigned char)*s->at)) {
        error_set(s->errp, "a number is expected at '%s'", s->at);
        return false;
    }
    errno = 0;
    *v = strtoull(s->at, &end, 0);
    if (errno) {
        error_set(s->errp, "the number at '%s' is too large", s->at);
        return false;
    }
    s->at = end;
    return true;
}

static bool parse_unary(Scan *s, uint64_t *v)
{
    bool ok;
    if (++s->depth > MAX_DEPTH) {
        error_set(s->errp, "the expression is nested too deeply");
        return false;
    }
    skip_space(s);
    switch (*s->at) {
    case '-':
        s->at++;
        ok = parse_unary(s, v);
        *v = -*v;
        break;
    case '+':
        s->at++;
        ok = parse_unary(s, v);
        break;
    case '~':
        s->at++;
        ok = parse_unary(s, v);
        *v = ~*v;
        break;
    case '(':
        s->at++;
        ok = parse_or(s, v);
        if (ok && *s->at != ')') {
            error_set(s->errp, "')' is expected at '%s'", s->at);
            ok = false;
        }
        s->at += ok;
        break;
    default:
        ok = parse_number(s, v);
        break;
    }
    s->depth--;
    skip_space(s);
    return ok;
}

static bool parse_product(Scan *s, uint64_t *v)
{
    if (!parse_unary(s, v)) {
        return false;
    }
    while (*s->at && strchr("*/%", *s->at)) {
        char op = *s->at++;
        uint64_t right;
        if (!parse_unary(s, &right)) {
            return false;
        }
        if (op != '*' && !right) {
            error_set(s->errp, "division by zero");
            return false;
        }
        *v = op == '*' ? *v * right : op == '/' ? *v / right : *v % right;
    }
    return true;
}

static bool parse_sum(Scan *s, uint64_t *v)
{
    if (!parse_product(s, v)) {
        return false;
    }
    while (*s->at && strchr("+-", *s->at)) {
        char op = *s->at++;
        uint64_t right;
        if (!parse_product(s, &right)) {
            return false;
        }
        *v = op == '+' ? *v + right : *v - right;
    }
    return true;
}

static bool parse_shift(Scan *s, uint64_t *v)
{
    if (!parse_sum(s, v)) {
        return false;
    }
    while ((*s->at == '<' || *s->at == '>') && s->at[1] == *s->at) {
        bool left = *s->at == '<';
        uint64_t right;
        s->at += 2;
        if (!parse_sum(s, &right)) {
            return false;
        }
        *v = right > 63 ? 0 : left ? *v << right : *v >> right;
    }
    return true;
}

static bool parse_or(Scan *s, uint64_t *v)
{
    if (!parse_shift(s, v)) {
        return false;
    }
    while (*s->at && strchr("&|^", *s->at)) {
        char op = *s->at++;
        uint64_t right;
        if (!parse_shift(s, &right)) {
            return false;
        }
        *v = op == '&' ? *v & right : op == '|' ? *v | right : *v ^ right;
    }
    return true;
}

bool hmp_expression(const char *text, const char **end, int64_t *value, Error **errp)
{
    Scan s = { .at = text, .errp = errp };
    uint64_t v = 0;
    if (!parse_or(&s, &v)) {
        return false;
    }
    *end = s.at;
    *value = v;
    return true;
}

/* --- Words --- */

char *hmp_next_word(const char **text, Error **errp)
{
    const char *at = *text;
    GString *word = g_string_new(NULL);
    if (*at != '"') {
        while (*at && *at != ' ') {
            g_string_append_c(word, *at++);
        }
        *text = at;
        return g_string_free(word, FALSE);
    }
    for (at++; *at && *at != '"'; at++) {
        if (*at == '\\' && at[1]) {
            static const char escapes[][2] = { { 'n', '\n' }, { 'r', '\r' }, { 't', '\t' } };
            char c = *++at;
            for (size_t i = 0; i < ARRAY_LEN(escapes); i++) {
                c = c == escapes[i][0] ? escapes[i][1] : c;
            }
            g_string_append_c(word, c);
        } else {
            g_string_append_c(word, *at);
        }
    }
    if (!*at) {
        error_set(errp, "unterminated string");
        g_string_free(word, TRUE);
        return NULL;
    }
    *text = at + 1;
    return g_string_free(word, FALSE);
}

/* --- Rows --- */

typedef struct ArgSpec {
    char name[48];
    char type;
    char flag; /* letter of a flag */
    bool optional;
} ArgSpec;

/* The next "name:type" of a row; false at its end. */
static bool next_spec(const char **args, ArgSpec *spec)
{
    const char *at = *args;
    if (!at || !*at) {
        return false;
    }
    size_t n = strcspn(at, "?:");
    assert(n < sizeof(spec->name));
    memcpy(spec->name, at, n);
    spec->name[n] = 0;
    at += n;
    spec->optional = *at == '?';
    at += spec->optional;
    assert(*at == ':');
    spec->type = *++at;
    spec->flag = spec->type == '-' ? *++at : 0;
    at++;
    *args = *at == ',' ? at + 1 : at;
    return true;
}

static json_t *parse_word(const ArgSpec *spec, const char **text, Error **errp)
{
    g_autofree char *word = hmp_next_word(text, errp);
    uint64_t size;
    bool on;
    if (!word) {
        return NULL;
    }
    switch (spec->type) {
    case 'o':
        if (!text_to_size(word, 1024 * 1024, &size) || size > INT64_MAX) {
            error_set(errp, "'%s' expects a size, got '%s'", spec->name, word);
            return NULL;
        }
        return json_integer(size);
    case 'b':
        if (!text_to_bool(word, &on)) {
            error_set(errp, "'%s' expects on or off, got '%s'", spec->name, word);
            return NULL;
        }
        return json_boolean(on);
    default: {
        g_autofree char *valid = g_utf8_make_valid(word, -1);
        return json_string(valid);
    }
    }
}

static json_t *parse_one(const ArgSpec *spec, const char **text, Error **errp)
{
    if (spec->type == 'S' || spec->type == 'O') {
        g_autofree char *rest = g_utf8_make_valid(*text, -1);
        *text += strlen(*text);
        return json_string(g_strchomp(rest));
    }
    if (spec->type == 'i') {
        int64_t value;
        if (!hmp_expression(*text, text, &value, errp)) {
            error_prepend(errp, "'%s': ", spec->name);
            return NULL;
        }
        return json_integer(value);
    }
    return parse_word(spec, text, errp);
}

json_t *hmp_parse_args(const HmpCommand *row, const char *text, Error **errp)
{
    json_t *args = json_object();
    const char *specs = row->args;
    for (ArgSpec spec; next_spec(&specs, &spec);) {
        while (*text == ' ') {
            text++;
        }
        if (spec.type == '-') {
            if (text[0] == '-' && text[1] == spec.flag && (!text[2] || text[2] == ' ')) {
                json_object_set_new(args, spec.name, json_true());
                text += 2;
            }
            continue;
        }
        if (!*text || (spec.type == '/' && *text != '/')) {
            if (spec.optional) {
                continue;
            }
            error_set(errp, "'%s' is missing", spec.name);
            json_decref(args);
            return NULL;
        }
        json_t *value = parse_one(&spec, &text, errp);
        if (!value) {
            json_decref(args);
            return NULL;
        }
        json_object_set_new(args, spec.name, value);
    }
    while (*text == ' ') {
        text++;
    }
    if (*text) {
        error_set(errp, "extraneous characters at the end: '%s'", text);
        json_decref(args);
        return NULL;
    }
    return args;
}

bool hmp_row_takes_options(const HmpCommand *row)
{
    return row->args && g_str_has_suffix(row->args, ":O");
}
