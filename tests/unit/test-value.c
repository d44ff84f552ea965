/* The value engine (base/value.h): tables in, typed values out. */
#include <glib.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/json.h"
#include "base/value.h"

/* --- A schema with one of everything --- */

typedef enum Color { COLOR_RED, COLOR_HOLE, COLOR_GREEN, COLOR_COUNT } Color;
static const char *const color_names[] = { "red", NULL, "green" };
static const EnumDesc enum_color = { .name = "Color", .names = color_names, .count = COLOR_COUNT };
static const ValueType type_color = {
    .kind = VALUE_ENUM, .name = "Color", .size = sizeof(int), .enumeration = &enum_color
};

typedef struct Point {
    int64_t x;
    uint8_t y;
} Point;
static const Field point_fields[] = {
    { .name = "x", .type = &value_type_int, .offset = offsetof(Point, x) },
    { .name = "y",
      .type = &value_type_uint8,
      .offset = offsetof(Point, y),
      .flags = FIELD_DEFAULT,
      .def.u = 7 },
    {}
};
static const ValueType type_point = {
    .kind = VALUE_RECORD, .name = "Point", .size = sizeof(Point), .record.fields = point_fields
};
static const ValueType type_point_list = {
    .kind = VALUE_LIST, .name = "PointList", .size = sizeof(ValueList), .element = &type_point
};
static const ValueType type_int_list = {
    .kind = VALUE_LIST, .name = "intList", .size = sizeof(ValueList), .element = &value_type_uint16
};

/* alternate: a color, or a point */
typedef struct Spot {
    int kind;
    union {
        int color;
        Point point;
    } u;
} Spot;
static const AlternateBranch spot_branches[] = { { "point", &type_point },
                                                 { "color", &type_color } };
static const ValueType type_spot = { .kind = VALUE_ALTERNATE,
                                     .name = "Spot",
                                     .size = sizeof(Spot),
                                     .alternate = { spot_branches, 2, offsetof(Spot, u) } };

/* union: shape selects */
typedef enum ShapeKind { SHAPE_DOT, SHAPE_LABEL, SHAPE_VOID, SHAPE_COUNT } ShapeKind;
static const char *const shape_names[] = { "dot", "label", "void" };
static const EnumDesc enum_shape = { .name = "ShapeKind",
                                     .names = shape_names,
                                     .count = SHAPE_COUNT };
static const ValueType type_shape_kind = {
    .kind = VALUE_ENUM, .name = "ShapeKind", .size = sizeof(int), .enumeration = &enum_shape
};
typedef struct Label {
    char *text;
    bool bold;
} Label;
static const Field label_fields[] = {
    { .name = "text", .type = &value_type_str, .offset = offsetof(Label, text) },
    { .name = "bold",
      .type = &value_type_bool,
      .offset = offsetof(Label, bold),
      .flags = FIELD_DEFAULT,
      .def.u = 1 },
    {}
};
static const ValueType type_label = {
    .kind = VALUE_RECORD, .name = "Label", .size = sizeof(Label), .record.fields = label_fields
};
typedef struct Shape {
    char *id;
    int type;
    union {
        Point dot;
        Label label;
    } u;
} Shape;
static const Field shape_fields[] = {
    { .name = "id",
      .type = &value_type_str,
      .offset = offsetof(Shape, id),
      .flags = FIELD_OPTIONAL },
    { .name = "type", .type = &type_shape_kind, .offset = offsetof(Shape, type) },
    {}
};
static const ValueType *const shape_variants[] = { &type_point, &type_label, NULL };
static const ValueType type_shape = { .kind = VALUE_UNION,
                                      .name = "Shape",
                                      .size = sizeof(Shape),
                                      .record = { .fields = shape_fields,
                                                  .discriminator = &shape_fields[1],
                                                  .variants = shape_variants,
                                                  .variant_offset = offsetof(Shape, u) } };

typedef struct All {
    bool flag;
    int64_t level;
    bool has_level;
    uint16_t port;
    uint64_t mem;
    double ratio;
    char *name;
    int color;
    Point at;
    Point *maybe;
    Shape *shape;
    Spot spot;
    struct {
        size_t len;
        Point *items;
    } points;
    ValueList numbers;
    json_t *extra;
    uint32_t bits;
    json_t *rest;
} All;
#define F(n, t, ...)                                                      \
    {                                                                     \
        .name = #n, .type = &(t), .offset = offsetof(All, n), __VA_ARGS__ \
    }
static const Field all_fields[] = {
    F(flag, value_type_bool, .flags = FIELD_DEFAULT),
    F(level, value_type_int, .flags = FIELD_OPTIONAL | FIELD_RANGE,
      .has_offset = offsetof(All, has_level), .min = -3, .max = 8),
    F(port, value_type_uint16, .flags = FIELD_DEFAULT, .def.u = 80),
    F(mem, value_type_size, .flags = FIELD_DEFAULT | FIELD_RANGE, .def.u = MiB, .min = KiB,
      .max = GiB),
    F(ratio, value_type_number, .flags = FIELD_DEFAULT, .def.d = 0.5),
    F(name, value_type_str, .flags = FIELD_DEFAULT | FIELD_RANGE, .def.s = "none", .min = 1,
      .max = 5),
    F(color, type_color, .flags = FIELD_DEFAULT, .def.i = COLOR_GREEN),
    F(at, type_point),
    F(maybe, type_point, .flags = FIELD_OPTIONAL | FIELD_POINTER),
    F(shape, type_shape, .flags = FIELD_OPTIONAL | FIELD_POINTER),
    F(spot, type_spot),
    F(points, type_point_list, .flags = FIELD_OPTIONAL),
    F(numbers, type_int_list, .flags = FIELD_OPTIONAL | FIELD_RANGE, .max = 100),
    F(extra, value_type_any, .flags = FIELD_OPTIONAL),
    { .name = "bit3",
      .type = &value_type_bool,
      .offset = offsetof(All, bits),
      .bit = 3,
      .width = 4,
      .flags = FIELD_DEFAULT | FIELD_BIT,
      .def.u = 1 },
    {}
};
static const ValueType type_all = {
    .kind = VALUE_RECORD, .name = "All", .size = sizeof(All), .record.fields = all_fields
};
static const ValueType type_open = { .kind = VALUE_RECORD,
                                     .name = "Open",
                                     .size = sizeof(All),
                                     .record = { .fields = all_fields,
                                                 .rest_offset = offsetof(All, rest) } };

static json_t *load(const char *text)
{
    json_error_t err;
    json_t *json = json_loads(text, JSON_DECODE_ANY, &err);
    if (!json) {
        g_error("%s: %s", text, err.text);
    }
    return json;
}

static bool is_zero(const void *p, size_t size)
{
    const char *c = p;
    for (size_t i = 0; i < size; i++) {
        if (c[i]) {
            return false;
        }
    }
    return true;
}

/* Parse; the message if it fails (g_free), NULL if not. */
static char *parse_message(const ValueType *type, const char *text, ValueMode mode)
{
    g_autofree char *slot = g_malloc0(type->size);
    json_t *json = load(text);
    ERROR_AUTO err = NULL;
    char *message = NULL;

    if (value_parse(type, slot, json, mode, &err)) {
        g_assert_null(err);
        value_release(type, slot);
    } else {
        message = g_strdup(error_message(err));
    }
    g_assert_true(is_zero(slot, type->size));
    json_decref(json);
    return message;
}

static void assert_fails(const ValueType *type, const char *text, ValueMode mode,
                         const char *expected)
{
    g_autofree char *message = parse_message(type, text, mode);
    g_assert_cmpstr(message, ==, expected);
}

static void assert_parses(const ValueType *type, const char *text, ValueMode mode)
{
    assert_fails(type, text, mode, NULL);
}

static void parse(const ValueType *type, void *slot, const char *text, ValueMode mode)
{
    json_t *json = load(text);
    g_assert_true(value_parse(type, slot, json, mode, &error_abort));
    json_decref(json);
}

static void assert_prints(const ValueType *type, const void *slot, const char *expected)
{
    json_t *json = value_print(type, slot);
    json_t *want = load(expected);
    g_autofree char *text = json_dumps(json, JSON_ENCODE_ANY);
    if (!json_equal(json, want)) {
        g_error("printed %s instead of %s", text, expected);
    }
    json_decref(json);
    json_decref(want);
}

static void test_defaults(void)
{
    All all = {};
    parse(&type_all, &all, "{\"at\": {\"x\": 1}, \"spot\": \"red\"}", VALUE_MODE_TYPED);
    g_assert_false(all.flag);
    g_assert_false(all.has_level);
    g_assert_cmpint(all.port, ==, 80);
    g_assert_cmpint(all.mem, ==, MiB);
    g_assert_cmpfloat(all.ratio, ==, 0.5);
    g_assert_cmpstr(all.name, ==, "none");
    g_assert_cmpint(all.color, ==, COLOR_GREEN);
    g_assert_cmpint(all.at.x, ==, 1);
    g_assert_cmpint(all.at.y, ==, 7);
    g_assert_null(all.maybe);
    g_assert_cmpint(all.spot.kind, ==, 1);
    g_assert_cmpint(all.bits, ==, 8);
    assert_prints(&type_all, &all,
                  "{\"flag\": false, \"port\": 80, \"mem\": 1048576, \"ratio\": 0.5,"
                  " \"name\": \"none\", \"color\": \"green\", \"at\": {\"x\": 1, \"y\": 7},"
                  " \"spot\": \"red\", \"bit3\": true}");
    value_release(&type_all, &all);
    g_assert_true(is_zero(&all, sizeof(all)));
}

static const char full[] =
    "{\"flag\": true, \"level\": -3, \"port\": 65535, \"mem\": 4096, \"ratio\": 2.0,"
    " \"name\": \"five5\", \"color\": \"red\", \"at\": {\"x\": -9, \"y\": 255},"
    " \"maybe\": {\"x\": 2, \"y\": 3},"
    " \"shape\": {\"id\": \"s\", \"type\": \"label\", \"text\": \"hi\", \"bold\": false},"
    " \"spot\": {\"x\": 4, \"y\": 5}, \"points\": [{\"x\": 6, \"y\": 6}, {\"x\": 7, \"y\": 7}],"
    " \"numbers\": [], \"extra\": {\"any\": [null, 1]}, \"bit3\": false}";

static void test_round_trip(void)
{
    All all = {}, copy = {};
    parse(&type_all, &all, full, VALUE_MODE_TYPED);
    assert_prints(&type_all, &all, full);
    g_assert_cmpstr(all.shape->u.label.text, ==, "hi");
    g_assert_cmpint(all.points.items[1].x, ==, 7);

    value_copy(&type_all, &copy, &all);
    value_release(&type_all, &all);
    assert_prints(&type_all, &copy, full);
    value_release(&type_all, &copy);
    g_assert_true(is_zero(&copy, sizeof(copy)));
    value_release(&type_all, &copy); /* a zeroed value may be released again */
}

static void test_text_mode(void)
{
    All all = {};
    parse(&type_all, &all,
          "{\"flag\": \"on\", \"level\": \"0x8\", \"mem\": \"1.5M\", \"ratio\": \"3\","
          " \"name\": 12, \"at\": {\"x\": \"-1\"}, \"spot\": {\"x\": 1}, \"numbers\": \"4-7\","
          " \"points\": {\"x\": 1}, \"bit3\": \"no\"}",
          VALUE_MODE_TEXT);
    g_assert_true(all.flag);
    g_assert_cmpint(all.level, ==, 8);
    g_assert_cmpint(all.mem, ==, 3 * MiB / 2);
    g_assert_cmpstr(all.name, ==, "12");
    g_assert_cmpint(all.numbers.len, ==, 4);
    g_assert_cmpint(((uint16_t *)all.numbers.items)[3], ==, 7);
    g_assert_cmpint(all.points.len, ==, 1);
    g_assert_cmpint(all.bits, ==, 0);
    value_release(&type_all, &all);

    ValueList list = {};
    parse(&type_int_list, &list, "[\"1\", \"3-4\", 9]", VALUE_MODE_TEXT);
    g_assert_cmpint(list.len, ==, 4);
    value_release(&type_int_list, &list);
    assert_fails(&type_int_list, "\"4-1\"", VALUE_MODE_TEXT,
                 "Parameter '0' expects an integer between 0 and 65535, got '4-1'");
    assert_fails(&type_int_list, "\"0-99999999\"", VALUE_MODE_TEXT,
                 "Parameter '0' expects an integer between 0 and 65535, got '0-99999999'");
}

/* each error names path, value and what would be right */
static void test_errors(void)
{
    static const struct {
        const char *json;
        const char *message;
    } typed[] = {
        { "5", "All expects an object, got 5" },
        { "{}", "Parameter 'at' is missing" },
        { "{\"at\": {}}", "Parameter 'at.x' is missing" },
        { "{\"at\": {\"x\": 1}}", "Parameter 'spot' is missing" },
        { "{\"at\": {\"x\": 1, \"z\": 2}}", "Unknown parameter 'at.z'; there are x, y" },
        { "{\"flga\": true}", "Unknown parameter 'flga'; did you mean 'flag'?" },
        { "{\"frobnicate\": true}", "Unknown parameter 'frobnicate'" },
        { "{\"flag\": 1}", "Parameter 'flag' expects true or false, got 1" },
        { "{\"flag\": \"on\"}", "Parameter 'flag' expects true or false, got 'on'" },
        { "{\"level\": 9}", "Parameter 'level' expects an integer between -3 and 8, got 9" },
        { "{\"level\": -4}", "Parameter 'level' expects an integer between -3 and 8, got -4" },
        { "{\"level\": \"5\"}", "Parameter 'level' expects an integer between -3 and 8, got '5'" },
        { "{\"level\": 5.5}", "Parameter 'level' expects an integer between -3 and 8, got 5.5" },
        { "{\"port\": 65536}",
          "Parameter 'port' expects an integer between 0 and 65535, got 65536" },
        { "{\"port\": -1}", "Parameter 'port' expects an integer between 0 and 65535, got -1" },
        { "{\"mem\": 1}", "Parameter 'mem' expects a size between 1 KiB and 1 GiB, got 1" },
        { "{\"mem\": \"1M\"}", "Parameter 'mem' expects a size in bytes, got '1M'" },
        { "{\"ratio\": \"1\"}", "Parameter 'ratio' expects a number, got '1'" },
        { "{\"name\": 1}", "Parameter 'name' expects a string, got 1" },
        { "{\"name\": \"\"}", "Parameter 'name' expects a string of 1 to 5 bytes, got ''" },
        { "{\"name\": \"sixsix\"}",
          "Parameter 'name' expects a string of 1 to 5 bytes, got 'sixsix'" },
        { "{\"color\": \"gren\"}",
          "Parameter 'color' expects one of red, green, got 'gren'; did you mean 'green'?" },
        { "{\"color\": \"x\\u0001\"}",
          "Parameter 'color' expects one of red, green, got 'x\\x01'" },
        { "{\"color\": 0}", "Parameter 'color' expects one of red, green, got 0" },
        { "{\"points\": [{\"x\": 1}, {\"x\": null}], \"at\": {\"x\": 1}, \"spot\": \"red\"}",
          "Parameter 'points.1.x' expects an integer, got null" },
        { "{\"points\": {}, \"at\": {\"x\": 1}, \"spot\": \"red\"}",
          "Parameter 'points' expects an array, got an object" },
        { "{\"numbers\": [1, 101], \"at\": {\"x\": 1}, \"spot\": \"red\"}",
          "Parameter 'numbers.1' expects an integer between 0 and 100, got 101" },
        { "{\"at\": {\"x\": 1}, \"spot\": 3}", "Parameter 'spot' expects point or color, got 3" },
        { "{\"at\": {\"x\": 1}, \"spot\": {\"x\": 1, \"y\": 256}}",
          "Parameter 'spot.y' expects an integer between 0 and 255, got 256" },
        { "{\"at\": {\"x\": 1}, \"spot\": \"blue\"}",
          "Parameter 'spot' expects one of red, green, got 'blue'" },
    };
    for (size_t i = 0; i < ARRAY_LEN(typed); i++) {
        assert_fails(&type_all, typed[i].json, VALUE_MODE_TYPED, typed[i].message);
    }
    assert_fails(&type_all, "{\"flag\": \"maybe\"}", VALUE_MODE_TEXT,
                 "Parameter 'flag' expects 'on' or 'off', got 'maybe'");
    assert_fails(&value_type_size, "\"1Q\"", VALUE_MODE_TEXT,
                 "size expects a size in bytes, or with a suffix K, M, G or T, got '1Q'");
}

static void test_union(void)
{
    assert_parses(&type_shape, "{\"type\": \"void\"}", VALUE_MODE_TYPED);
    assert_parses(&type_shape, "{\"x\": 1, \"type\": \"dot\", \"id\": \"d\"}", VALUE_MODE_TYPED);
    assert_fails(&type_shape, "{\"x\": 1}", VALUE_MODE_TYPED, "Parameter 'type' is missing");
    assert_fails(
        &type_shape, "{\"type\": \"dto\"}", VALUE_MODE_TYPED,
        "Parameter 'type' expects one of dot, label, void, got 'dto'; did you mean 'dot'?");
    assert_fails(&type_shape, "{\"type\": \"label\", \"x\": 1}", VALUE_MODE_TYPED,
                 "Unknown parameter 'x' for type 'label'; there are id, type, text, bold");
    assert_fails(&type_shape, "{\"type\": \"label\", \"txet\": 1}", VALUE_MODE_TYPED,
                 "Unknown parameter 'txet' for type 'label'; did you mean 'text'?");
    assert_fails(&type_shape, "{\"type\": \"label\"}", VALUE_MODE_TYPED,
                 "Parameter 'text' is missing");
    /* what was parsed before the error is freed (seen under ASan) */
    assert_fails(&type_shape, "{\"id\": \"d\", \"type\": \"label\", \"text\": \"x\", \"bold\": 3}",
                 VALUE_MODE_TYPED, "Parameter 'bold' expects true or false, got 3");
}

static void test_open_record(void)
{
    All all = {}, copy = {};
    parse(&type_open, &all,
          "{\"at\": {\"x\": 1}, \"spot\": \"red\", \"one\": 1, \"two\": {\"a\": []}}",
          VALUE_MODE_TYPED);
    g_assert_cmpint(json_object_size(all.rest), ==, 2);
    value_copy(&type_open, &copy, &all);
    value_release(&type_open, &all);
    json_t *printed = value_print(&type_open, &copy);
    g_assert_cmpint(json_integer_value(json_object_get(printed, "one")), ==, 1);
    json_decref(printed);
    value_release(&type_open, &copy);
}

/* A wrong value leaves the old one in place; a right one frees it. */
static void test_field_replace(void)
{
    All all = {};
    const Field *name = field_find(all_fields, "name");
    const Field *maybe = field_find(all_fields, "maybe");
    ERROR_AUTO err = NULL;

    g_assert_null(field_find(all_fields, "nome"));
    field_set_default(&all, name);
    g_assert_cmpstr(all.name, ==, "none");
    json_t *json = json_string("toolong");
    g_assert_false(field_parse(&all, name, json, VALUE_MODE_TYPED, &err));
    g_assert_cmpstr(all.name, ==, "none");
    json_decref(json);
    json = json_string("ok");
    g_assert_true(field_parse(&all, name, json, VALUE_MODE_TYPED, &error_abort));
    g_assert_cmpstr(all.name, ==, "ok");
    json_decref(json);

    for (int i = 0; i < 2; i++) {
        json = json_pack("{s:i}", "x", i);
        g_assert_true(field_parse(&all, maybe, json, VALUE_MODE_TYPED, &error_abort));
        g_assert_cmpint(all.maybe->x, ==, i);
        json_decref(json);
    }
    json = field_print(&all, maybe, &error_abort);
    g_assert_cmpint(json_integer_value(json_object_get(json, "x")), ==, 1);
    json_decref(json);
    field_release(&all, maybe);
    g_assert_null(field_print(&all, maybe, &error_abort));
    field_release(&all, name);
}

/* The upper half of uint64 is negative in JSON, both ways; a size never is. */
static void test_uint64(void)
{
    uint64_t v = 0;
    parse(&value_type_uint64, &v, "-1", VALUE_MODE_TYPED);
    g_assert_cmpuint(v, ==, UINT64_MAX);
    assert_prints(&value_type_uint64, &v, "-1");
    assert_fails(&value_type_size, "-1", VALUE_MODE_TYPED, "size expects a size in bytes, got -1");
    assert_fails(&value_type_uint64, "\"-1\"", VALUE_MODE_TEXT,
                 "uint64 expects a non-negative integer, got '-1'");
}

static void test_enum(void)
{
    ERROR_AUTO err = NULL;
    g_assert_cmpint(enum_parse(&enum_color, "green"), ==, COLOR_GREEN);
    g_assert_cmpint(enum_parse(&enum_color, "blue"), ==, -1);
    g_assert_null(enum_name(&enum_color, COLOR_HOLE));
    g_assert_null(enum_name(&enum_color, -1));
    g_assert_null(enum_name(&enum_color, COLOR_COUNT));
    g_assert_cmpint(enum_parse_or_error(&enum_color, "tint", "rde", &err), ==, -1);
    g_assert_cmpstr(error_message(err), ==,
                    "Parameter 'tint' expects one of red, green, got 'rde'; did you mean 'red'?");
}

/* An alternate of all that JSON tells apart, null included. */
typedef struct Anything {
    int kind;
    union {
        bool null;
        bool flag;
        int8_t number;
        double real;
        StrList names;
        char *name;
    } u;
} Anything;
static const AlternateBranch anything_branches[] = {
    { "null", &value_type_null },      { "bool", &value_type_bool },
    { "int8", &value_type_int8 },      { "number", &value_type_number },
    { "names", &value_type_str_list }, { "str", &value_type_str },
};
static const ValueType type_anything = {
    .kind = VALUE_ALTERNATE,
    .name = "Anything",
    .size = sizeof(Anything),
    .alternate = { anything_branches, G_N_ELEMENTS(anything_branches), offsetof(Anything, u) }
};

static void test_alternate(void)
{
    static const struct {
        const char *json;
        ValueMode mode;
        int kind;
        const char *printed;
    } rows[] = {
        { "null", VALUE_MODE_TYPED, 0, "null" },
        { "false", VALUE_MODE_TYPED, 1, "false" },
        { "-128", VALUE_MODE_TYPED, 2, "-128" },
        { "-129", VALUE_MODE_TYPED, 3, "-129.0" }, /* too small for the first branch that fits */
        { "0.5", VALUE_MODE_TYPED, 3, "0.5" },
        { "[\"a\", \"b\"]", VALUE_MODE_TYPED, 4, "[\"a\", \"b\"]" },
        { "\"on\"", VALUE_MODE_TYPED, 5, "\"on\"" },
        { "\"on\"", VALUE_MODE_TEXT, 1, "true" },
        { "\"12\"", VALUE_MODE_TEXT, 2, "12" },
        { "\"1.5\"", VALUE_MODE_TEXT, 3, "1.5" },
        { "\"else\"", VALUE_MODE_TEXT, 5, "\"else\"" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Anything a = {}, copy = {};
        parse(&type_anything, &a, rows[i].json, rows[i].mode);
        g_assert_cmpint(a.kind, ==, rows[i].kind);
        value_copy(&type_anything, &copy, &a);
        assert_prints(&type_anything, &copy, rows[i].printed);
        value_release(&type_anything, &a);
        value_release(&type_anything, &copy);
    }
    assert_fails(&type_anything, "{}", VALUE_MODE_TYPED,
                 "Anything expects null or bool or int8 or number or names or str, got an object");
}

/* A C string that came from the host may be no UTF-8; what is printed is. */
static void test_invalid_utf8(void)
{
    char *text = (char *)"a\xff";
    json_t *json = value_print(&value_type_str, &text);
    g_assert_cmpstr(json_string_value(json), ==, "a\xef\xbf\xbd");
    json_decref(json);
}

/* A union whose discriminator has a default has the variant's defaults, too. */
static void test_union_default(void)
{
    static const Field fields[] = { { .name = "type",
                                      .type = &type_shape_kind,
                                      .offset = offsetof(Shape, type),
                                      .flags = FIELD_DEFAULT,
                                      .def.i = SHAPE_LABEL },
                                    {} };
    static const ValueType type = { .kind = VALUE_UNION,
                                    .name = "Labelled",
                                    .size = sizeof(Shape),
                                    .record = { .fields = fields,
                                                .discriminator = &fields[0],
                                                .variants = shape_variants,
                                                .variant_offset = offsetof(Shape, u) } };
    Shape shape = {};

    value_set_defaults(&type, &shape);
    g_assert_cmpint(shape.type, ==, SHAPE_LABEL);
    g_assert_true(shape.u.label.bold);
    value_release(&type, &shape);
    parse(&type, &shape, "{\"text\": \"t\"}", VALUE_MODE_TYPED);
    g_assert_cmpstr(shape.u.label.text, ==, "t");
    value_release(&type, &shape);
}

/* A custom type: even numbers, kept halved. */
static bool even_parse(void *owner, const Field *field, void *slot, json_t *json, ValueMode mode,
                       Error **errp)
{
    int64_t v = json_is_string(json) ? g_ascii_strtoll(json_string_value(json), NULL, 10)
                                     : json_integer_value(json);
    if (v % 2) {
        error_set(errp, "Parameter '%s' expects an even number", field->name);
        return false;
    }
    g_free(*(int64_t **)slot);
    *(int64_t **)slot = g_memdup2(&v, sizeof(v));
    return true;
}

static json_t *even_print(const void *owner, const Field *field, const void *slot, Error **errp)
{
    const int64_t *v = *(int64_t *const *)slot;
    return v ? json_integer(*v) : NULL;
}

static void even_release(void *owner, const Field *field, void *slot)
{
    g_clear_pointer((int64_t **)slot, g_free);
}

static const ValueCustom even = { even_parse, even_print, even_release };
static const ValueType type_even = {
    .kind = VALUE_CUSTOM, .name = "even", .size = sizeof(void *), .custom = &even
};
typedef struct Custom {
    int64_t *even;
} Custom;
static const Field custom_fields[] = { { .name = "even",
                                         .type = &type_even,
                                         .offset = offsetof(Custom, even),
                                         .flags = FIELD_DEFAULT,
                                         .def.s = "4" },
                                       {} };
static const ValueType type_custom = {
    .kind = VALUE_RECORD, .name = "Custom", .size = sizeof(Custom), .record.fields = custom_fields
};

static void test_custom(void)
{
    Custom c = {}, copy = {};
    parse(&type_custom, &c, "{}", VALUE_MODE_TYPED);
    assert_prints(&type_custom, &c, "{\"even\": 4}");
    value_release(&type_custom, &c);
    parse(&type_custom, &c, "{\"even\": 6}", VALUE_MODE_TYPED);
    value_copy(&type_custom, &copy, &c);
    assert_prints(&type_custom, &copy, "{\"even\": 6}");
    value_release(&type_custom, &c);
    value_release(&type_custom, &copy);
    assert_fails(&type_custom, "{\"even\": 5}", VALUE_MODE_TYPED,
                 "Parameter 'even' expects an even number");
}

/* JSON text can say all of uint64 */
static void test_big_integers(void)
{
    static const struct {
        const char *text;
        const char *read; /* NULL: refused */
    } rows[] = {
        { "9223372036854775807", "9223372036854775807" },
        { "9223372036854775808", "-9223372036854775808" },
        { "[1, 18446744073709551615]", "[1,-1]" },
        { "{\"a\": 18446744073709551615, \"18446744073709551615\\\"\": 2}",
          "{\"a\":-1,\"18446744073709551615\\\"\":2}" },
        { "18446744073709551616", NULL },
        { "-9223372036854775809", NULL },
        { "[18446744073709551615, ", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_error_t why;
        json_t *json = json_load_text(rows[i].text, strlen(rows[i].text), JSON_DECODE_ANY, &why);
        char *read = json ? json_dumps(json, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        g_assert_cmpstr(read, ==, rows[i].read);
        free(read);
        json_decref(json);
    }
    json_error_t why;
    json_t *most = json_load_text("18446744073709551615", 20, JSON_DECODE_ANY, &why);
    uint64_t n = 0;
    bool ok = value_parse(&value_type_uint64, &n, most, VALUE_MODE_TYPED, &error_abort);
    g_assert_true(ok && n == UINT64_MAX);
    json_decref(most);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/value/defaults", test_defaults);
    g_test_add_func("/value/round-trip", test_round_trip);
    g_test_add_func("/value/text-mode", test_text_mode);
    g_test_add_func("/value/errors", test_errors);
    g_test_add_func("/value/union", test_union);
    g_test_add_func("/value/open-record", test_open_record);
    g_test_add_func("/value/field-replace", test_field_replace);
    g_test_add_func("/value/uint64", test_uint64);
    g_test_add_func("/value/enum", test_enum);
    g_test_add_func("/value/alternate", test_alternate);
    g_test_add_func("/value/invalid-utf8", test_invalid_utf8);
    g_test_add_func("/value/union-default", test_union_default);
    g_test_add_func("/value/custom", test_custom);
    g_test_add_func("/value/big-integers", test_big_integers);
    return g_test_run();
}
