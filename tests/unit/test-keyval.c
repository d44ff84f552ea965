/* The option grammar (config/keyval.h). */
#include <glib.h>

#include "config/keyval.h"

/* --- A type with names the grammar asks for --- */

typedef enum Kind { KIND_A, KIND_B, KIND_COUNT } Kind;
static const char *const kind_names[] = { "a", "b" };
static const EnumDesc enum_kind = { .name = "Kind", .names = kind_names, .count = KIND_COUNT };
static const ValueType type_kind = {
    .kind = VALUE_ENUM, .name = "Kind", .size = sizeof(int), .enumeration = &enum_kind
};
typedef struct B {
    bool wait;
    StrList fwd;
} B;
static const Field b_fields[] = {
    { .name = "wait", .type = &value_type_bool, .offset = offsetof(B, wait) },
    { .name = "fwd", .type = &value_type_str_list, .offset = offsetof(B, fwd) },
    {}
};
static const ValueType type_b = {
    .kind = VALUE_RECORD, .name = "B", .size = sizeof(B), .record.fields = b_fields
};
typedef struct Sample {
    int type;
    char *note;
    union {
        B b;
    } u;
} Sample;
static const Field sample_fields[] = {
    { .name = "type", .type = &type_kind, .offset = offsetof(Sample, type) },
    { .name = "note", .type = &value_type_str, .offset = offsetof(Sample, note) },
    {}
};
static const ValueType *const sample_variants[] = { NULL, &type_b };
static const ValueType type_sample = { .kind = VALUE_UNION,
                                       .name = "Sample",
                                       .size = sizeof(Sample),
                                       .record = { .fields = sample_fields,
                                                   .implied = "type",
                                                   .discriminator = &sample_fields[0],
                                                   .variants = sample_variants,
                                                   .variant_offset = offsetof(Sample, u) } };
typedef struct Open {
    char *driver;
    json_t *rest;
} Open;
static const Field open_fields[] = {
    { .name = "driver", .type = &value_type_str, .offset = offsetof(Open, driver) }, {}
};
static const ValueType type_open = {
    .kind = VALUE_RECORD,
    .name = "Open",
    .size = sizeof(Open),
    .record = { .fields = open_fields, .implied = "driver", .rest_offset = offsetof(Open, rest) }
};

static void test_accepted(void)
{
    static const struct {
        const char *text;
        const ValueType *type;
        bool help;
        const char *json;
    } rows[] = {
        { "", NULL, false, "{}" },
        { "a=1", NULL, false, "{\"a\":\"1\"}" },
        { "a=1,b=2,", NULL, false, "{\"a\":\"1\",\"b\":\"2\"}" },
        { "a=", NULL, false, "{\"a\":\"\"}" },
        { "a=x=y", NULL, false, "{\"a\":\"x=y\"}" },
        { "a=1,,2,,,,3,b=4", NULL, false, "{\"a\":\"1,2,,3\",\"b\":\"4\"}" },
        { "a=,,", NULL, false, "{\"a\":\",\"}" },
        { "a.b.c=1,a.b.d=2,a.e=3", NULL, false,
          "{\"a\":{\"b\":{\"c\":\"1\",\"d\":\"2\"},\"e\":\"3\"}}" },
        { "l.1=y,l.0=x", NULL, false, "{\"l\":[\"x\",\"y\"]}" },
        { "l.0.a=x,l.1.a=y", NULL, false, "{\"l\":[{\"a\":\"x\"},{\"a\":\"y\"}]}" },
        { "help", NULL, true, "{}" },
        { "?", &type_sample, true, "{}" },
        { "a,help", &type_sample, true, "{\"type\":\"a\"}" },
        { "a,?,note=x", &type_sample, true, "{\"note\":\"x\",\"type\":\"a\"}" },
        { "a=help", NULL, false, "{\"a\":\"help\"}" },
        { "b", &type_sample, false, "{\"type\":\"b\"}" },
        { "b,wait", &type_sample, false, "{\"type\":\"b\",\"wait\":\"on\"}" },
        { "b,nowait", &type_sample, false, "{\"type\":\"b\",\"wait\":\"off\"}" },
        { "b,note", &type_sample, false, "{\"note\":\"on\",\"type\":\"b\"}" },
        { "type=b,wait=off", &type_sample, false, "{\"type\":\"b\",\"wait\":\"off\"}" },
        { "fwd=1,fwd=2,fwd=3", &type_sample, false, "{\"fwd\":[\"1\",\"2\",\"3\"]}" },
        { "net,mq", &type_open, false, "{\"driver\":\"net\",\"mq\":\"on\"}" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        bool help = false;
        json_t *json = keyval_parse(rows[i].text, rows[i].type, &help, &error_abort);
        g_autofree char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
        g_assert_cmpstr(text, ==, rows[i].json);
        g_assert_cmpint(help, ==, rows[i].help);
        json_decref(json);
    }
}

static void test_refused(void)
{
    static const struct {
        const char *text;
        const char *message;
    } rows[] = {
        { "a=1,a=2", "Parameter 'a' is given twice" },
        { "b,type=a", "Parameter 'type' is given twice" },
        { "a=1,a.b=2", "Parameter 'a' is given both as a value and as a group of values" },
        { "a.b=1,a=2", "Parameter 'a' is given both as a value and as a group of values" },
        { "a.b=1,a.b.c=2", "Parameter 'b' is given both as a value and as a group of values" },
        { "b,frob", "Expected '=' and a value behind 'frob'" },
        { "b,nofrob", "Expected '=' and a value behind 'nofrob'" },
        { "=1", "Invalid parameter '': a key is letters, digits, '-' and '_', with '.' between the"
                " names of nested ones" },
        { "a..b=1", "Invalid parameter 'a..b': a key is letters, digits, '-' and '_', with '.'"
                    " between the names of nested ones" },
        { "a b=1",
          "Invalid parameter 'a b': a key is letters, digits, '-' and '_', with '.' between"
          " the names of nested ones" },
        { "l.0=x,l.2=y", "Parameter 'l.1' is missing: lists count from 0 without gaps" },
        { "l.0=x,l.00=y", "Parameter 'l.1' is missing: lists count from 0 without gaps" },
        { "l.0=x,l.a=y", "Parameter 'l' has both list items and named values" },
        { "0=x", "A parameter can't be a number: lists are written NAME.0, NAME.1" },
        { "a=\xff", "The value of parameter 'a' is not UTF-8" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        ERROR_AUTO err = NULL;
        bool help = false;
        g_assert_null(keyval_parse(rows[i].text, &type_sample, &help, &err));
        g_assert_cmpstr(error_message(err), ==, rows[i].message);
    }
}

/* however long or deep: an error, and soon */
static void test_bounds(void)
{
    GString *deep = g_string_new("a");
    bool help = false;

    for (int i = 0; i < 20; i++) {
        g_string_append(deep, ".a");
    }
    g_string_append(deep, "=1");
    ERROR_AUTO err = NULL;
    g_assert_null(keyval_parse(deep->str, NULL, &help, &err));
    g_string_free(deep, true);

    g_autofree char *key = g_strnfill(100000, 'k');
    g_autofree char *text = g_strconcat(key, "=1", NULL);
    ERROR_AUTO long_err = NULL;
    g_assert_null(keyval_parse(text, NULL, &help, &long_err));
    g_assert_cmpint(strlen(error_message(long_err)), <, 100);
}

/* what is formatted parses to what it was */
static void test_format(void)
{
    static const char *const rows[] = { "{}", "{\"a\":\"1\"}",
                                        "{\"a\":\"x,y\",\"b\":{\"c\":[\"1\",\"2\"]}}",
                                        "{\"a\":\",\"}" };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        json_t *json = json_loads(rows[i], 0, NULL);
        g_autofree char *text = keyval_format(json, &error_abort);
        bool help = false;
        json_t *again = keyval_parse(text, NULL, &help, &error_abort);
        g_assert_true(json_equal(json, again));
        json_decref(json);
        json_decref(again);
    }
    json_t *json = json_loads("{\"b\": true, \"i\": -5}", 0, NULL);
    g_autofree char *text = keyval_format(json, &error_abort);
    g_assert_cmpstr(text, ==, "b=on,i=-5");
    json_decref(json);

    ERROR_AUTO err = NULL;
    json = json_loads("{\"a\": {\"l\": []}}", 0, NULL);
    g_assert_null(keyval_format(json, &err));
    g_assert_cmpstr(error_message(err), ==, "Parameter 'a.l' is empty, which only JSON can say");
    json_decref(json);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keyval/accepted", test_accepted);
    g_test_add_func("/keyval/refused", test_refused);
    g_test_add_func("/keyval/bounds", test_bounds);
    g_test_add_func("/keyval/format", test_format);
    return g_test_run();
}
