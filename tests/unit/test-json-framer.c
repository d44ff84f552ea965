/* Cutting the monitor's byte stream into JSON values. */
#include <glib.h>
#include <jansson.h>
#include <string.h>

#include "monitor/json-framer.h"

typedef struct Log {
    GString *text; /* "V:<value>;" and "E;" in order */
} Log;

static void on_value(void *opaque, const char *text, size_t len)
{
    Log *log = opaque;
    g_assert_cmpuint(strlen(text), ==, len);
    g_string_append_printf(log->text, "V:%s;", text);
}

static void on_error(void *opaque, const char *message)
{
    Log *log = opaque;
    g_assert_nonnull(message);
    g_string_append(log->text, "E;");
}

static char *run(const char *input, size_t len, size_t split)
{
    Log log = { g_string_new(NULL) };
    JsonFramer framer = { .value = on_value, .error = on_error, .opaque = &log };
    json_framer_init(&framer);
    json_framer_feed(&framer, input, split);
    json_framer_feed(&framer, input + split, len - split);
    json_framer_finish(&framer);
    return g_string_free(log.text, FALSE);
}

typedef struct Case {
    const char *name, *input, *expected;
} Case;

static const Case cases[] = {
    { "one", "{\"a\":1}", "V:{\"a\":1};" },
    { "pipelined", "{}{} {}\r\n{}", "V:{};V:{};V:{};V:{};" },
    { "nested", "{\"a\":[{\"b\":{}}]}\n", "V:{\"a\":[{\"b\":{}}]};" },
    { "brackets in strings", "{\"a\":\"}]\\\"}\"}", "V:{\"a\":\"}]\\\"}\"};" },
    { "escaped backslash", "{\"a\":\"\\\\\"}{}", "V:{\"a\":\"\\\\\"};V:{};" },
    { "single quotes", "{'a':'b\"c\\'d'}", "V:{\"a\":\"b\\\"c'd\"};" },
    { "scalars", "12 true\"x\" ", "V:12;V:true;V:\"x\";" },
    { "scalar before object", "12{}", "V:12;V:{};" },
    { "stray close", "}\n{}", "E;V:{};" },
    { "mismatch", "{\"a\":[}\n{}", "E;V:{};" },
    { "mismatch, no line end", "{\"a\":[}}{}", "E;V:{};" },
    { "garbage line", "%$# what? }]\n{}", "E;V:{};" },
    { "garbage then object", "@@{\"a\":1}", "E;V:{\"a\":1};" },
    { "stray byte in object", "{\"a\":@}{}", "E;V:{};" },
    { "stray byte, never closed", "{\"a\":@\n{}", "E;V:{};" },
    { "line end in string", "{\"a\":\"x\n{}", "E;V:{};" },
    { "control character in string", "{\"a\":\"\x01x\"}\n{}", "E;V:{};" },
    { "reset idle", "\xff{}", "V:{};" },
    { "reset in value", "{\"a\":\xff{}", "E;V:{};" },
    { "reset in string", "{\"a\":\"b\xff{}", "E;V:{};" },
    { "utf-8", "{\"\xc3\xa4\":\"\xe2\x82\xac\"}", "V:{\"\xc3\xa4\":\"\xe2\x82\xac\"};" },
};

/* The result must not depend on where the stream is cut into pieces. */
static void test_every_split(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        size_t len = strlen(cases[i].input);
        for (size_t split = 0; split <= len; split++) {
            g_autofree char *got = run(cases[i].input, len, split);
            if (strcmp(got, cases[i].expected)) {
                g_test_message("case '%s' cut at %zu", cases[i].name, split);
                g_assert_cmpstr(got, ==, cases[i].expected);
            }
        }
    }
}

static void test_zero_byte(void)
{
    static const char input[] = "{\"a\":\0}\n\0\n{}";
    for (size_t split = 0; split < sizeof(input); split++) {
        g_autofree char *got = run(input, sizeof(input) - 1, split);
        g_assert_cmpstr(got, ==, "E;E;V:{};");
    }
}

static void test_deep_nesting(void)
{
    GString *input = g_string_new(NULL);
    for (int i = 0; i < JSON_FRAMER_MAX_DEPTH; i++) {
        g_string_append_c(input, '[');
    }
    for (int i = 0; i < JSON_FRAMER_MAX_DEPTH; i++) {
        g_string_append_c(input, ']');
    }
    g_autofree char *fits = run(input->str, input->len, 0);
    g_assert_true(g_str_has_prefix(fits, "V:[["));

    g_string_prepend_c(input, '[');
    g_string_append(input, "]\n{}");
    g_autofree char *deep = run(input->str, input->len, 7);
    g_assert_cmpstr(deep, ==, "E;V:{};");
    g_string_free(input, TRUE);
}

static void check_too_big(const char *before, const char *after)
{
    Log log = { g_string_new(NULL) };
    JsonFramer framer = { .value = on_value, .error = on_error, .opaque = &log };
    char chunk[4096];
    memset(chunk, 'x', sizeof(chunk));
    json_framer_init(&framer);
    framer.max_size = 256 * 1024;
    json_framer_feed(&framer, before, strlen(before));
    for (int i = 0; i < 1024; i++) {
        json_framer_feed(&framer, chunk, sizeof(chunk));
        g_assert_cmpuint(framer.text->allocated_len, <=, 4 * framer.max_size);
    }
    json_framer_feed(&framer, after, strlen(after));
    g_assert_cmpstr(log.text->str, ==, "E;V:{};");
    json_framer_finish(&framer);
    g_string_free(log.text, TRUE);
}

static void test_too_big(void)
{
    check_too_big("{\"a\":\"", "\"}{}");
    check_too_big("{\"a\":\"", "\n{}");
    check_too_big("{\"a\":", "}{}");
    check_too_big("", "\n{}");
}

/* Whatever comes in, a line end and a reset byte lead back to working order. */
static void test_random_recovery(void)
{
    static const char alphabet[] = "{}[]\"'\\,:a1 \n\t\x01\xc3";
    for (int round = 0; round < 2000; round++) {
        GString *input = g_string_new(NULL);
        int len = g_test_rand_int_range(0, 60);
        for (int i = 0; i < len; i++) {
            g_string_append_c(input, alphabet[g_test_rand_int_range(0, sizeof(alphabet) - 1)]);
        }
        g_string_append(input, "\xff{\"end\":1}");
        g_autofree char *got = run(input->str, input->len, len / 2);
        g_assert_true(g_str_has_suffix(got, "V:{\"end\":1};"));
        g_string_free(input, TRUE);
    }
}

/* Every value that is well-formed JSON comes out as it went in. */
static void test_agrees_with_jansson(void)
{
    static const char alphabet[] = "{}[]\"\\,:1ae ";
    int valid = 0;
    for (int round = 0; round < 200000; round++) {
        char text[8];
        int len = g_test_rand_int_range(2, sizeof(text) - 1);
        for (int i = 0; i < len; i++) {
            text[i] = alphabet[g_test_rand_int_range(0, sizeof(alphabet) - 1)];
        }
        text[len] = 0;
        json_t *json = text[0] == '{' || text[0] == '[' ? json_loads(text, 0, NULL) : NULL;
        if (json) {
            g_autofree char *got = run(text, len, len / 2);
            g_strchomp(text);
            g_autofree char *expected = g_strdup_printf("V:%s;", text);
            g_assert_cmpstr(got, ==, expected);
            json_decref(json);
            valid++;
        }
    }
    g_assert_cmpint(valid, >, 100);
}

static void test_one_at_a_time(void)
{
    Log log = { g_string_new(NULL) };
    JsonFramer framer = { .value = on_value, .error = on_error, .opaque = &log };
    const char *input = "{}12 {";
    json_framer_init(&framer);
    g_assert_cmpuint(json_framer_feed_one(&framer, input, 6), ==, 2);
    g_assert_cmpuint(json_framer_feed_one(&framer, input + 2, 4), ==, 2);
    g_assert_cmpstr(log.text->str, ==, "V:{};V:12;");
    g_assert_cmpuint(json_framer_feed_one(&framer, input + 4, 2), ==, 2);
    json_framer_finish(&framer);
    g_string_free(log.text, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json-framer/every-split", test_every_split);
    g_test_add_func("/json-framer/zero-byte", test_zero_byte);
    g_test_add_func("/json-framer/deep-nesting", test_deep_nesting);
    g_test_add_func("/json-framer/too-big", test_too_big);
    g_test_add_func("/json-framer/random-recovery", test_random_recovery);
    g_test_add_func("/json-framer/agrees-with-jansson", test_agrees_with_jansson);
    g_test_add_func("/json-framer/one-at-a-time", test_one_at_a_time);
    return g_test_run();
}
