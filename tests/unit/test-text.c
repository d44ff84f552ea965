/* Numbers, sizes, identifiers, suggestions (base/text.h). */
#include <glib.h>
#include <inttypes.h>

#include "base/bits.h"
#include "base/text.h"

static void test_integers(void)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } rows[] = {
        { "0", true, 0 },
        { "-5", true, -5 },
        { "0x10", true, 16 },
        { "010", true, 8 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "", false, 0 },
        { "-", false, 0 },
        { " 1", false, 0 },
        { "+1", false, 0 },
        { "--1", false, 0 },
        { "1x", false, 0 },
        { "0x", false, 0 },
        { "1 ", false, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = 0;
        g_assert_cmpint(text_to_i64(rows[i].text, &v), ==, rows[i].ok);
        g_assert_cmpint(v, ==, rows[i].value);
    }

    uint64_t u = 0;
    g_assert_true(text_to_u64("18446744073709551615", &u));
    g_assert_cmpuint(u, ==, UINT64_MAX);
    g_assert_true(text_to_u64("0xffffffffffffffff", &u));
    g_assert_cmpuint(u, ==, UINT64_MAX);
    g_assert_false(text_to_u64("18446744073709551616", &u));
    g_assert_false(text_to_u64("-1", &u));
}

static void test_double(void)
{
    double v = 0;
    g_assert_true(text_to_double("-1.5e3", &v));
    g_assert_cmpfloat(v, ==, -1500.0);
    g_assert_false(text_to_double("inf", &v));
    g_assert_false(text_to_double("nan", &v));
    g_assert_false(text_to_double("1.5x", &v));
    g_assert_false(text_to_double("1e999", &v));
}

static void test_size(void)
{
    static const struct {
        const char *text;
        uint64_t unit;
        bool ok;
        uint64_t value;
    } rows[] = {
        { "4096", 1, true, 4096 },
        { "128", MiB, true, 128 * MiB },
        { "64k", 1, true, 64 * KiB },
        { "64K", MiB, true, 64 * KiB },
        { "1.5G", 1, true, 3 * GiB / 2 },
        { "0.5", MiB, true, 512 * KiB },
        { "2T", 1, true, 2 * TiB },
        { "1E", 1, true, BIT64(60) },
        { "15E", 1, true, 15 * BIT64(60) },
        { "16E", 1, false, 0 },
        { "512B", MiB, true, 512 },
        { "0x100000", 1, true, MiB },
        { "18446744073709551615", 1, true, UINT64_MAX },
        { "18446744073709551616", 1, false, 0 },
        { "1.5", 1, false, 0 }, /* half a byte */
        { "1.", 1, false, 0 },
        { ".5G", 1, false, 0 },
        { "1Q", 1, false, 0 },
        { "1MM", 1, false, 0 },
        { "-1", 1, false, 0 },
        { "", 1, false, 0 },
        { "G", 1, false, 0 },
        { "1.0000000000000000000G", 1, false, 0 }, /* more digits than are kept */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t v = 0;
        g_assert_cmpint(text_to_size(rows[i].text, rows[i].unit, &v), ==, rows[i].ok);
        g_assert_cmpuint(v, ==, rows[i].value);
    }
}

static void test_from_size(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        { 0, "0 B" },           { 512, "512 B" },           { KiB, "1 KiB" },
        { 64 * MiB, "64 MiB" }, { 3 * GiB / 2, "1.5 GiB" }, { UINT64_MAX, "16 EiB" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        g_autofree char *text = text_from_size(rows[i].bytes);
        g_assert_cmpstr(text, ==, rows[i].text);
    }
}

static void test_bool(void)
{
    bool v = false;
    g_assert_true(text_to_bool("on", &v));
    g_assert_true(v);
    g_assert_true(text_to_bool("n", &v));
    g_assert_false(v);
    g_assert_false(text_to_bool("ON", &v));
    g_assert_false(text_to_bool("", &v));
    g_assert_false(text_to_bool("1", &v));
}

static void test_id(void)
{
    g_assert_true(text_is_id("net0"));
    g_assert_true(text_is_id("a-b.c_d"));
    g_assert_false(text_is_id("0net"));
    g_assert_false(text_is_id(""));
    g_assert_false(text_is_id("a b"));
    g_assert_false(text_is_id("a/b"));
    g_assert_true(text_is_help("?"));
    g_assert_true(text_is_help("help"));
    g_assert_false(text_is_help("helpme"));
}

static void test_uuid(void)
{
    uint8_t uuid[16] = {};
    g_assert_true(text_to_uuid("00112233-4455-6677-8899-aAbBcCdDeEfF", uuid));
    for (int i = 0; i < 16; i++) {
        g_assert_cmpint(uuid[i], ==, i * 0x11);
    }
    g_assert_false(text_to_uuid("00112233-4455-6677-8899-aabbccddeeffa", uuid));
    g_assert_false(text_to_uuid("00112233-4455-6677-8899-aabbccddeef", uuid));
    g_assert_false(text_to_uuid("001122334-455-6677-8899-aabbccddeeff", uuid));
    g_assert_false(text_to_uuid("0011223g-4455-6677-8899-aabbccddeeff", uuid));
    g_assert_false(text_to_uuid("", uuid));
}

static const char *next_word(void *opaque)
{
    const char *const **at = opaque;
    return **at ? *(*at)++ : NULL;
}

static const char *nearest(const char *text, const char *const *words)
{
    return text_nearest(text, next_word, &words);
}

static void test_nearest(void)
{
    static const char *const words[] = { "addr", "id", "multifunction",  "romfile",
                                         "q35",  "pc", "virtio-net-pci", "virtio-blk-pci",
                                         NULL };
    static const char *const none[] = { NULL };

    g_assert_cmpstr(nearest("adrr", words), ==, "addr");
    g_assert_cmpstr(nearest("dadr", words), ==, "addr");
    g_assert_cmpstr(nearest("di", words), ==, "id");
    g_assert_cmpstr(nearest("multi_function", words), ==, "multifunction");
    g_assert_cmpstr(nearest("virtio_net_pci", words), ==, "virtio-net-pci");
    g_assert_cmpstr(nearest("q36", words), ==, "q35");
    g_assert_null(nearest("x", words));
    g_assert_null(nearest("frobnicate", words));
    g_assert_null(nearest("", words));
    g_assert_null(nearest("addr", none));
    g_autofree char *endless = g_strnfill(1 << 16, 'a');
    g_assert_null(nearest(endless, words));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/text/integers", test_integers);
    g_test_add_func("/text/double", test_double);
    g_test_add_func("/text/size", test_size);
    g_test_add_func("/text/from-size", test_from_size);
    g_test_add_func("/text/bool", test_bool);
    g_test_add_func("/text/id", test_id);
    g_test_add_func("/text/uuid", test_uuid);
    g_test_add_func("/text/nearest", test_nearest);
    return g_test_run();
}
