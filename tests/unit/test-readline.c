/* Line editing: what is typed, what the terminal shows, what comes out. */
#include <glib.h>
#include <string.h>

#include "monitor/readline.h"

typedef struct Terminal {
    Readline *rl;
    GString *shown;
    GString *lines; /* each with a '|' behind it */
} Terminal;

static void on_print(void *opaque, const char *text)
{
    g_string_append(((Terminal *)opaque)->shown, text);
}

static void on_line(void *opaque, const char *line)
{
    Terminal *t = opaque;
    g_string_append_printf(t->lines, "%s|", line);
    readline_start(t->rl, "> ");
}

static void on_complete(void *opaque, const char *text, GPtrArray *candidates, size_t *word_start)
{
    static const char *const words[] = { "apple", "apricot", "banana", "path/" };
    const char *space = strrchr(text, ' ');
    const char *word = space ? space + 1 : text;
    *word_start = word - text;
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (g_str_has_prefix(words[i], word)) {
            g_ptr_array_add(candidates, g_strdup(words[i]));
        }
    }
}

static const ReadlineHooks hooks = { on_print, on_line, on_complete };

static void type_bytes(Terminal *t, const char *keys, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        readline_byte(t->rl, keys[i]);
    }
}

static void type(Terminal *t, const char *keys)
{
    type_bytes(t, keys, strlen(keys));
}

static Terminal terminal_new(void)
{
    Terminal t = { NULL, g_string_new(NULL), g_string_new(NULL) };
    return t;
}

static void terminal_start(Terminal *t)
{
    t->rl = readline_new(&hooks, t);
    readline_start(t->rl, "> ");
}

static void terminal_free(Terminal *t)
{
    readline_free(t->rl);
    g_string_free(t->shown, TRUE);
    g_string_free(t->lines, TRUE);
}

/* Keys, and the lines they come to. */
static const struct {
    const char *keys, *lines;
} cases[] = {
    { "abc\n", "abc|" },
    { "abc\r\ndef\r\n", "abc|def|" },
    { "\n\n", "||" },
    { "ac\x1b[Db\n", "abc|" },
    { "ac\x02"
      "b\n",
      "abc|" },
    { "bc\x01"
      "a\x05"
      "d\n",
      "abcd|" },
    { "bc\x1b[Ha\x1b[Fd\n", "abcd|" },
    { "bc\x1b[1~a\x1b[4~d\n", "abcd|" },
    { "bc\x1bOHa\x1bOFd\n", "abcd|" },
    { "abx\x7f"
      "c\n",
      "abc|" },
    { "\x7f\x7f"
      "a\n",
      "a|" },
    { "xabc\x01\x04\n", "abc|" },
    { "abxc\x1b[D\x1b[D\x1b[3~\n", "abc|" },
    { "abcdef\x1b[D\x1b[D\x1b[D\x0b\n", "abc|" },
    { "xxx\x15"
      "abc\n",
      "abc|" },
    { "one two\x17three\n", "one three|" },
    { "one two\x1b"
      "bx\n",
      "one xtwo|" },
    { "one two\x01\x1b"
      "fx\n",
      "onex two|" },
    { "one two\x1b[1;5Dx\n", "one xtwo|" },
    { "one two\x01\x1b"
      "d\n",
      " two|" },
    { "first\nsecond\n\x1b[A\x1b[A\n", "first|second|first|" },
    { "first\nsecond\n\x10\x10\x0e\n", "first|second|second|" },
    { "first\nnew\x1b[A\x1b[B\n", "first|new|" },
    { "first\n\x1b[A\x1b[A\x1b[A!\n", "first|first!|" },
    { "same\nsame\nother\n\x1b[A\x1b[A\x1b[A\n", "same|same|other|same|" },
    { "b\t\n", "banana |" },
    { "a\tp\t\n", "app"
                  "le |" },
    { "x b\t\n", "x banana |" },
    { "p\tb\n", "path/b|" },
    { "zzz\t\n", "zzz|" },
    { "junk\x03"
      "abc\n",
      "abc|" },
    { "a\xc3\xa4"
      "b\x1b[D\x7f\n",
      "ab|" },
    { "\xe2\x82\xac\x1b[D\x04x\n", "x|" },
    { "a\x1b[99;99;99~b\x1b[Zc\x1bqd\n", "abcd|" },
    { "a\x07\x0f"
      "b\n",
      "ab|" },
};

static void test_keys(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Terminal t = terminal_new();
        terminal_start(&t);
        type(&t, cases[i].keys);
        g_assert_cmpstr(t.lines->str, ==, cases[i].lines);
        terminal_free(&t);
    }
}

static void test_display(void)
{
    Terminal t = terminal_new();
    terminal_start(&t);
    type(&t, "ab");
    g_assert_cmpstr(t.shown->str, ==, "> ab");
    type(&t, "\x1b[D");
    g_assert_true(g_str_has_suffix(t.shown->str, "\r> ab\033[K\033[1D"));
    type(&t, "\xc3\xa4\x01");
    /* three characters to go back over, though four bytes */
    g_assert_true(g_str_has_suffix(t.shown->str, "\033[K\033[3D"));
    type(&t, "\x15\x05\x15"
             "a\t\t");
    g_assert_nonnull(strstr(t.shown->str, "apple    apricot\r\n"));
    terminal_free(&t);
}

static void test_limits(void)
{
    Terminal t = terminal_new();
    terminal_start(&t);
    for (int i = 0; i < READLINE_MAX_LINE + 100; i++) {
        readline_byte(t.rl, 'x');
    }
    type(&t, "\n");
    g_assert_cmpuint(t.lines->len, ==, READLINE_MAX_LINE + 1);
    for (int i = 0; i < READLINE_MAX_HISTORY + 10; i++) {
        char line[16];
        g_snprintf(line, sizeof(line), "line %d\n", i);
        type(&t, line);
    }
    GString *history = g_string_new(NULL);
    readline_print_history(t.rl, history);
    g_assert_true(g_str_has_prefix(history->str, "0: 'line 10'\n"));
    g_string_free(history, TRUE);
    terminal_free(&t);
}

static void test_random(void)
{
    Terminal t = terminal_new();
    terminal_start(&t);
    for (int i = 0; i < 200000; i++) {
        char byte = g_test_rand_int_range(0, 256);
        type_bytes(&t, &byte, 1);
        if (i % 1000 == 0) {
            g_string_truncate(t.shown, 0);
        }
    }
    terminal_free(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/readline/keys", test_keys);
    g_test_add_func("/readline/display", test_display);
    g_test_add_func("/readline/limits", test_limits);
    g_test_add_func("/readline/random", test_random);
    return g_test_run();
}
