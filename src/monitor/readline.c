#include "monitor/readline.h"

#include <stdio.h>
#include <string.h>

#define KEY_CTRL(c) ((c)&0x1f)
#define KEY_ESCAPE  0x1b
#define KEY_DELETE  0x7f

struct Readline {
    const ReadlineHooks *hooks;
    void *opaque;
    char prompt[64];
    GString *line;
    size_t cursor;      /* bytes; between characters */
    GPtrArray *history; /* lines, oldest first */
    unsigned at;        /* of history while walking in it; history->len: the new line */
    char *new_line;     /* the line being typed, kept while walking in the history */
    enum { PLAIN, ESCAPE, CSI, SS3 } state;
    unsigned parameter; /* number in a CSI sequence */
    bool last_was_cr;
};

Readline *readline_new(const ReadlineHooks *hooks, void *opaque)
{
    Readline *rl = g_new0(Readline, 1);
    rl->hooks = hooks;
    rl->opaque = opaque;
    rl->line = g_string_new(NULL);
    rl->history = g_ptr_array_new_with_free_func(g_free);
    return rl;
}

void readline_free(Readline *rl)
{
    if (rl) {
        g_string_free(rl->line, TRUE);
        g_ptr_array_unref(rl->history);
        g_free(rl->new_line);
        g_free(rl);
    }
}

/* --- Display --- */

static void print(Readline *rl, const char *text)
{
    rl->hooks->print(rl->opaque, text);
}

/* UTF-8: bytes that continue a character take no room of their own. */
static size_t columns(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += ((uint8_t)text[i] & 0xc0) != 0x80;
    }
    return n;
}

static void draw(Readline *rl)
{
    GString *out = g_string_new("\r");
    g_string_append(out, rl->prompt);
    g_string_append_len(out, rl->line->str, rl->line->len);
    g_string_append(out, "\033[K");
    size_t back = columns(rl->line->str + rl->cursor, rl->line->len - rl->cursor);
    if (back) {
        g_string_append_printf(out, "\033[%zuD", back);
    }
    print(rl, out->str);
    g_string_free(out, TRUE);
}

void readline_redraw(Readline *rl)
{
    draw(rl);
}

void readline_start(Readline *rl, const char *prompt)
{
    g_strlcpy(rl->prompt, prompt, sizeof(rl->prompt));
    g_string_truncate(rl->line, 0);
    rl->cursor = 0;
    rl->at = rl->history->len;
    g_clear_pointer(&rl->new_line, g_free);
    print(rl, rl->prompt);
}

void readline_reset(Readline *rl)
{
    g_string_truncate(rl->line, 0);
    rl->cursor = 0;
    rl->at = rl->history->len;
    g_clear_pointer(&rl->new_line, g_free);
    rl->state = PLAIN;
    rl->last_was_cr = false;
}

/* --- Editing --- */

static bool continues_character(char c)
{
    return ((uint8_t)c & 0xc0) == 0x80;
}

static size_t left_of(const Readline *rl, size_t at)
{
    while (at > 0 && continues_character(rl->line->str[--at])) {
    }
    return at;
}

static size_t right_of(const Readline *rl, size_t at)
{
    if (at < rl->line->len) {
        at++;
    }
    while (at < rl->line->len && continues_character(rl->line->str[at])) {
        at++;
    }
    return at;
}

static size_t word_left(const Readline *rl)
{
    size_t at = rl->cursor;
    while (at > 0 && rl->line->str[at - 1] == ' ') {
        at--;
    }
    while (at > 0 && rl->line->str[at - 1] != ' ') {
        at--;
    }
    return at;
}

static size_t word_right(const Readline *rl)
{
    size_t at = rl->cursor;
    while (at < rl->line->len && rl->line->str[at] == ' ') {
        at++;
    }
    while (at < rl->line->len && rl->line->str[at] != ' ') {
        at++;
    }
    return at;
}

static void move_to(Readline *rl, size_t at)
{
    if (at != rl->cursor) {
        rl->cursor = at;
        draw(rl);
    }
}

static void erase(Readline *rl, size_t from, size_t to)
{
    if (from < to) {
        g_string_erase(rl->line, from, to - from);
        rl->cursor = from;
        draw(rl);
    }
}

static void insert(Readline *rl, const char *text, size_t len)
{
    if (rl->line->len + len > READLINE_MAX_LINE) {
        print(rl, "\a");
        return;
    }
    bool at_end = rl->cursor == rl->line->len;
    g_string_insert_len(rl->line, rl->cursor, text, len);
    rl->cursor += len;
    if (at_end) {
        print(rl, rl->line->str + rl->cursor - len);
    } else {
        draw(rl);
    }
}

/* --- History --- */

static void remember(Readline *rl)
{
    if (!rl->line->len) {
        return;
    }
    for (unsigned i = 0; i < rl->history->len; i++) {
        if (strcmp(rl->history->pdata[i], rl->line->str) == 0) {
            g_ptr_array_remove_index(rl->history, i);
            break;
        }
    }
    if (rl->history->len == READLINE_MAX_HISTORY) {
        g_ptr_array_remove_index(rl->history, 0);
    }
    g_ptr_array_add(rl->history, g_strdup(rl->line->str));
}

static void walk_history(Readline *rl, int step)
{
    if ((step < 0 && rl->at == 0) || (step > 0 && rl->at >= rl->history->len)) {
        return;
    }
    if (rl->at == rl->history->len) {
        g_free(rl->new_line);
        rl->new_line = g_strdup(rl->line->str);
    }
    rl->at += step;
    const char *text = rl->at < rl->history->len ? rl->history->pdata[rl->at]
                       : rl->new_line            ? rl->new_line
                                                 : "";
    g_string_assign(rl->line, text);
    rl->cursor = rl->line->len;
    draw(rl);
}

void readline_print_history(const Readline *rl, GString *out)
{
    for (unsigned i = 0; i < rl->history->len; i++) {
        g_string_append_printf(out, "%u: '%s'\n", i, (char *)rl->history->pdata[i]);
    }
}

/* --- Completion --- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t common_prefix(const GPtrArray *words)
{
    const char *first = words->pdata[0];
    size_t n = strlen(first);
    for (unsigned i = 1; i < words->len; i++) {
        const char *word = words->pdata[i];
        size_t same = 0;
        while (same < n && word[same] == first[same]) {
            same++;
        }
        n = same;
    }
    return n;
}

static void show_candidates(Readline *rl, const GPtrArray *words)
{
    size_t width = 1;
    for (unsigned i = 0; i < words->len; i++) {
        width = MAX(width, strlen(words->pdata[i]) + 2);
    }
    unsigned per_line = MAX(1, 79 / width);
    GString *out = g_string_new("\r\n");
    for (unsigned i = 0; i < words->len; i++) {
        bool end = (i + 1) % per_line == 0 || i + 1 == words->len;
        g_string_append_printf(out, "%-*s%s", end ? 0 : (int)width, (char *)words->pdata[i],
                               end ? "\r\n" : "");
    }
    print(rl, out->str);
    g_string_free(out, TRUE);
    draw(rl);
}

static void complete(Readline *rl)
{
    if (!rl->hooks->complete) {
        return;
    }
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *before = g_strndup(rl->line->str, rl->cursor);
    size_t start = rl->cursor;
    rl->hooks->complete(rl->opaque, before, words, &start);
    if (!words->len) {
        return;
    }
    g_ptr_array_sort(words, compare_strings);
    for (unsigned i = words->len - 1; i > 0; i--) {
        if (strcmp(words->pdata[i], words->pdata[i - 1]) == 0) {
            g_ptr_array_remove_index(words, i);
        }
    }
    size_t have = rl->cursor - start;
    size_t common = common_prefix(words);
    if (common > have) {
        insert(rl, (char *)words->pdata[0] + have, common - have);
    } else if (words->len > 1) {
        show_candidates(rl, words);
    }
    if (words->len == 1 && (!rl->line->len || rl->line->str[rl->cursor - 1] != ' ')) {
        const char *word = words->pdata[0];
        if (!g_str_has_suffix(word, "/") && !g_str_has_suffix(word, "=")) {
            insert(rl, " ", 1);
        }
    }
}

/* --- Keys --- */

static void end_line(Readline *rl)
{
    g_autofree char *line = g_strdup(rl->line->str);
    print(rl, "\r\n");
    remember(rl);
    readline_reset(rl);
    rl->hooks->line(rl->opaque, line);
}

static void plain_key(Readline *rl, uint8_t c)
{
    switch (c) {
    case '\r':
    case '\n':
        end_line(rl);
        break;
    case KEY_ESCAPE:
        rl->state = ESCAPE;
        break;
    case '\t':
        complete(rl);
        break;
    case KEY_CTRL('a'):
        move_to(rl, 0);
        break;
    case KEY_CTRL('e'):
        move_to(rl, rl->line->len);
        break;
    case KEY_CTRL('b'):
        move_to(rl, left_of(rl, rl->cursor));
        break;
    case KEY_CTRL('f'):
        move_to(rl, right_of(rl, rl->cursor));
        break;
    case KEY_CTRL('h'):
    case KEY_DELETE:
        erase(rl, left_of(rl, rl->cursor), rl->cursor);
        break;
    case KEY_CTRL('d'):
        erase(rl, rl->cursor, right_of(rl, rl->cursor));
        break;
    case KEY_CTRL('k'):
        erase(rl, rl->cursor, rl->line->len);
        break;
    case KEY_CTRL('u'):
        erase(rl, 0, rl->cursor);
        break;
    case KEY_CTRL('w'):
        erase(rl, word_left(rl), rl->cursor);
        break;
    case KEY_CTRL('p'):
        walk_history(rl, -1);
        break;
    case KEY_CTRL('n'):
        walk_history(rl, 1);
        break;
    case KEY_CTRL('l'):
        print(rl, "\033[2J\033[1;1H");
        draw(rl);
        break;
    case KEY_CTRL('c'):
        print(rl, "^C\r\n");
        readline_reset(rl);
        print(rl, rl->prompt);
        break;
    default:
        if (c >= ' ') {
            insert(rl, (char *)&c, 1);
        }
        break;
    }
}

/* The letter of a cursor key, of "ESC [ A" and of "ESC O A" alike. */
static void cursor_key(Readline *rl, uint8_t c)
{
    switch (c) {
    case 'A':
        walk_history(rl, -1);
        break;
    case 'B':
        walk_history(rl, 1);
        break;
    case 'C':
        move_to(rl, rl->parameter > 1 ? word_right(rl) : right_of(rl, rl->cursor));
        break;
    case 'D':
        move_to(rl, rl->parameter > 1 ? word_left(rl) : left_of(rl, rl->cursor));
        break;
    case 'H':
        move_to(rl, 0);
        break;
    case 'F':
        move_to(rl, rl->line->len);
        break;
    case '~':
        if (rl->parameter == 1 || rl->parameter == 7) {
            move_to(rl, 0);
        } else if (rl->parameter == 4 || rl->parameter == 8) {
            move_to(rl, rl->line->len);
        } else if (rl->parameter == 3) {
            erase(rl, rl->cursor, right_of(rl, rl->cursor));
        }
        break;
    default:
        break;
    }
}

static void escaped_key(Readline *rl, uint8_t c)
{
    switch (c) {
    case '[':
        rl->state = CSI;
        rl->parameter = 0;
        return;
    case 'O':
        rl->state = SS3;
        rl->parameter = 0;
        return;
    case 'b':
        move_to(rl, word_left(rl));
        break;
    case 'f':
        move_to(rl, word_right(rl));
        break;
    case 'd':
        erase(rl, rl->cursor, word_right(rl));
        break;
    case KEY_DELETE:
    case KEY_CTRL('h'):
        erase(rl, word_left(rl), rl->cursor);
        break;
    default:
        break;
    }
    rl->state = PLAIN;
}

void readline_byte(Readline *rl, uint8_t c)
{
    bool after_cr = rl->last_was_cr;
    bool is_cr = rl->state == PLAIN && c == '\r';
    rl->last_was_cr = false;
    if (after_cr && (c == '\n' || c == 0)) {
        return; /* the rest of a line end of two bytes */
    }
    switch (rl->state) {
    case PLAIN:
        plain_key(rl, c);
        break;
    case ESCAPE:
        escaped_key(rl, c);
        break;
    case CSI:
        if (g_ascii_isdigit(c)) {
            rl->parameter = MIN(rl->parameter * 10 + (c - '0'), 1000u);
        } else if (c == ';') {
            rl->parameter = 0; /* the last parameter is the modifier */
        } else if (c >= 0x40 && c <= 0x7e) {
            rl->state = PLAIN;
            cursor_key(rl, c);
        } else if (c < ' ') {
            rl->state = PLAIN;
        }
        break;
    case SS3:
        rl->state = PLAIN;
        cursor_key(rl, c);
        break;
    }
    rl->last_was_cr = is_cr;
}
