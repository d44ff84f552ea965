/* State descriptions read and written: every kind of field, versions, subsections, bad bytes. */
#include <glib.h>
#include <string.h>

#include "base/compiler.h"
#include "event/clock.h"
#include "event/lock.h"
#include "event/loop.h"
#include "migration/state.h"

typedef struct Inner {
    uint16_t x;
    uint8_t added; /* since version 2 */
} Inner;

typedef struct Outer {
    uint8_t a;
    int64_t b;
    bool flag;
    uint8_t bytes[3];
    uint32_t words[2];
    uint8_t n;
    uint16_t *list; /* n of at most 4 */
    Inner inner[2];
    Timer *timer;
    uint32_t extra, optional;
    bool want_extra, has_optional;
    unsigned pre_saved, post_saved, pre_loaded, post_loaded;
    bool refuse;
} Outer;

static const VmState inner_vmstate = {
    .name = "inner",
    .version = 2,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT16(x, Inner),
                                      VMSTATE_UINT8(added, Inner, .version = 2),
                                      {} },
};

static bool extra_needed(void *opaque)
{
    return ((Outer *)opaque)->want_extra;
}

static const VmState extra_vmstate = {
    .name = "outer/extra",
    .version = 1,
    .minimum_version = 1,
    .needed = extra_needed,
    .fields = (const VmStateField[]){ VMSTATE_UINT32(extra, Outer), {} },
};

static bool optional_exists(void *opaque, int version)
{
    return ((Outer *)opaque)->has_optional;
}

static bool pre_save(void *opaque, Error **errp)
{
    ((Outer *)opaque)->pre_saved++;
    return true;
}

static void post_save(void *opaque)
{
    ((Outer *)opaque)->post_saved++;
}

static bool pre_load(void *opaque, Error **errp)
{
    ((Outer *)opaque)->pre_loaded++;
    return true;
}

static bool post_load(void *opaque, int version, Error **errp)
{
    Outer *o = opaque;

    o->post_loaded = (unsigned)version;
    if (o->refuse) {
        error_set(errp, "refused");
    }
    return !o->refuse;
}

static const VmState outer_vmstate = {
    .name = "outer",
    .version = 3,
    .minimum_version = 3,
    .pre_save = pre_save,
    .post_save = post_save,
    .pre_load = pre_load,
    .post_load = post_load,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(a, Outer),
                                      VMSTATE_INT64(b, Outer),
                                      VMSTATE_BOOL(flag, Outer),
                                      VMSTATE_BUFFER(bytes, Outer),
                                      VMSTATE_UINT_ARRAY(words, Outer),
                                      VMSTATE_UINT8(n, Outer),
                                      { .name = "list",
                                        .kind = VMSTATE_KIND_UINT,
                                        .offset = offsetof(Outer, list),
                                        .size = 2,
                                        .count = 4,
                                        .count_offset = offsetof(Outer, n),
                                        .count_size = 1,
                                        .pointer = true },
                                      VMSTATE_STRUCT_ARRAY(inner, Outer, inner_vmstate),
                                      VMSTATE_TIMER(timer, Outer),
                                      VMSTATE_UINT32(optional, Outer, .present = optional_exists),
                                      {} },
    .subsections = (const VmState *const[]){ &extra_vmstate, NULL },
};

static const uint8_t expected[] = {
    0x11,                                           /* a */
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, /* b */
    1,                                              /* flag */
    'a',  'b',  'c',                                /* bytes */
    1,    2,    3,    4,    5,    6,    7,    8,    /* words */
    2,    0xca, 0xfe, 0xba, 0xbe,                   /* n, list */
    0,    0,    0,    2,                            /* version of inner */
    0x12, 0x34, 5,    0,                            /* inner[0], its subsections */
    0x56, 0x78, 6,    0,                            /* inner[1] */
    0,    0,    0,    0,    0,    0,    3,    0xe8, /* timer */
    0,                                              /* subsections */
};
enum { AT_FLAG = 9, AT_N = 21, AT_INNER_VERSION = 26, AT_TIMER = 38, AT_SUBSECTIONS = 46 };

static void nothing(void *opaque)
{
}

static void outer_init(Outer *o, uint16_t list[4])
{
    *o = (Outer){ .a = 0x11,
                  .b = -2,
                  .flag = true,
                  .bytes = { 'a', 'b', 'c' },
                  .words = { 0x01020304, 0x05060708 },
                  .n = 2,
                  .list = list,
                  .inner = { { 0x1234, 5 }, { 0x5678, 6 } },
                  .extra = 0xeeeeeeee };
    o->timer = timer_new(event_loop_main(), CLK_VIRTUAL, nothing, NULL);
    timer_set(o->timer, 1000);
}

static GByteArray *save(Outer *o)
{
    GByteArray *out = g_byte_array_new();

    g_assert_true(state_save(&outer_vmstate, o, out, &error_abort));
    return out;
}

static void test_layout(void)
{
    uint16_t list[4] = { 0xcafe, 0xbabe }, list_2[4] = { 0 };
    Outer o, p = { .list = list_2 };

    outer_init(&o, list);
    p.timer = timer_new(event_loop_main(), CLK_VIRTUAL, nothing, NULL);
    g_autoptr(GByteArray) out = save(&o);
    g_assert_cmpmem(out->data, out->len, expected, sizeof(expected));
    g_assert_cmpuint(o.pre_saved, ==, 1);
    g_assert_cmpuint(o.post_saved, ==, 1);
    g_assert_true(state_load(&outer_vmstate, &p, 3, out->data, out->len, &error_abort));
    g_assert_cmpint(p.b, ==, -2);
    g_assert_cmpuint(p.inner[1].added, ==, 6);
    g_assert_cmpuint(list_2[1], ==, 0xbabe);
    g_assert_cmpint(timer_deadline(p.timer), ==, 1000);
    g_assert_cmpuint(p.pre_loaded, ==, 1);
    g_assert_cmpuint(p.post_loaded, ==, 3);
    g_assert_cmpuint(p.extra, ==, 0);
    timer_cancel(o.timer);
    g_autoptr(GByteArray) idle = save(&o);
    g_assert_true(state_load(&outer_vmstate, &p, 3, idle->data, idle->len, &error_abort));
    g_assert_false(timer_pending(p.timer));
    timer_free(o.timer);
    timer_free(p.timer);
}

static void refuse(Outer *o, const void *data, size_t len, int version, const char *why)
{
    Error *err = NULL;

    g_assert_false(state_load(&outer_vmstate, o, version, data, len, &err));
    if (!strstr(error_message(err), why)) {
        g_error("'%s' doesn't say '%s'", error_message(err), why);
    }
    error_free(err);
}

static void refuse_byte(Outer *o, unsigned at, uint8_t value, const char *why)
{
    uint8_t bad[sizeof(expected)];

    memcpy(bad, expected, sizeof(bad));
    bad[at] = value;
    refuse(o, bad, sizeof(bad), 3, why);
}

static void test_bad_bytes(void)
{
    uint16_t list[4] = { 0xcafe, 0xbabe };
    uint8_t longer[sizeof(expected) + 1] = { 0 };
    Outer o;

    outer_init(&o, list);
    memcpy(longer, expected, sizeof(expected));
    for (size_t len = 0; len < sizeof(expected); len++) {
        refuse(&o, expected, len, 3, "early");
    }
    refuse(&o, longer, sizeof(longer), 3, "1 bytes of saved state are left over");
    refuse(&o, expected, sizeof(expected), 2, "versions 3 to 3");
    refuse(&o, expected, sizeof(expected), 4, "versions 3 to 3");
    refuse_byte(&o, AT_FLAG, 2, "field 'flag': 2 is neither true nor false");
    refuse_byte(&o, AT_N, 5, "field 'list': 5 elements, where 4 are possible");
    refuse_byte(&o, AT_INNER_VERSION + 3, 3, "field 'inner': 'inner' was saved as version 3");
    refuse_byte(&o, AT_INNER_VERSION + 3, 0, "versions 1 to 2");
    refuse_byte(&o, AT_TIMER, 0x80, "field 'timer'");
    refuse_byte(&o, AT_SUBSECTIONS, 1, "early");
    o.refuse = true;
    refuse(&o, expected, sizeof(expected), 3, "refused");
    timer_free(o.timer);
    o.timer = NULL;
    o.refuse = false;
    refuse(&o, expected, sizeof(expected), 3, "where there is none");
}

/* A struct saved by an older version has fewer fields. */
static void test_older_struct(void)
{
    uint16_t list[4] = { 0 };
    Outer o;
    g_autoptr(GByteArray) old = g_byte_array_new();

    outer_init(&o, list);
    g_byte_array_append(old, expected, AT_INNER_VERSION + 3);
    g_byte_array_append(old, (const uint8_t[]){ 1, 0xaa, 0xbb, 0, 0xcc, 0xdd, 0 }, 7);
    g_byte_array_append(old, expected + AT_TIMER, sizeof(expected) - AT_TIMER);
    g_assert_true(state_load(&outer_vmstate, &o, 3, old->data, old->len, &error_abort));
    g_assert_cmpuint(o.inner[0].x, ==, 0xaabb);
    g_assert_cmpuint(o.inner[0].added, ==, 5);
    timer_free(o.timer);
}

static void test_subsections(void)
{
    static const char name[] = "outer/extra";
    uint16_t list[4] = { 0xcafe, 0xbabe };
    Outer o;

    outer_init(&o, list);
    o.want_extra = true;
    g_autoptr(GByteArray) out = save(&o);
    size_t at = sizeof(expected);
    g_assert_cmpuint(out->data[AT_SUBSECTIONS], ==, 1);
    g_assert_cmpuint(out->data[at], ==, strlen(name));
    g_assert_cmpmem(out->data + at + 1, strlen(name), name, strlen(name));
    o.extra = 0;
    g_assert_true(state_load(&outer_vmstate, &o, 3, out->data, out->len, &error_abort));
    g_assert_cmpuint(o.extra, ==, 0xeeeeeeee);
    out->data[at + 1] = 'x';
    refuse(&o, out->data, out->len, 3, "unknown subsection 'xuter/extra'");
    out->data[at + 1] = 'o';
    out->data[at + 1 + strlen(name) + 3] = 9;
    refuse(&o, out->data, out->len, 3, "saved as version 9");
    out->data[at + 1 + strlen(name) + 3] = 1;
    out->data[at + 1 + strlen(name) + 4] = 0xff;
    refuse(&o, out->data, out->len, 3, "left");
    timer_free(o.timer);
}

static void test_present(void)
{
    uint16_t list[4] = { 0xcafe, 0xbabe };
    Outer o;

    outer_init(&o, list);
    o.has_optional = true;
    o.optional = 0x77777777;
    g_autoptr(GByteArray) out = save(&o);
    g_assert_cmpuint(out->len, ==, sizeof(expected) + 4);
    o.has_optional = false;
    refuse(&o, out->data, out->len, 3, "early"); /* the number is taken for one of subsections */
    timer_free(o.timer);
}

/* --- The machine --- */

static void test_machine(void)
{
    uint16_t list[2][4] = { { 1, 2 }, { 3, 4 } };
    Outer o[2];
    Error *err = NULL;

    for (int i = 0; i < 2; i++) {
        outer_init(&o[i], list[i]);
        o[i].a = 0x20 + i;
        vmstate_register("outer", -1, &outer_vmstate, &o[i]);
    }
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_assert_true(state_save_machine(out, &error_abort));
    o[0].a = o[1].a = 0;
    g_assert_true(state_load_machine(out->data, out->len, &error_abort));
    g_assert_cmpuint(o[0].a, ==, 0x20);
    g_assert_cmpuint(o[1].a, ==, 0x21);

    g_assert_false(state_load_machine(out->data, out->len / 2, &err));
    g_assert_nonnull(strstr(error_message(err), "the saved state has not"));
    error_free(g_steal_pointer(&err));
    g_autoptr(GByteArray) twice = g_byte_array_new();
    g_byte_array_append(twice, out->data, out->len);
    g_byte_array_append(twice, out->data, out->len);
    g_assert_false(state_load_machine(twice->data, twice->len, &err));
    g_assert_nonnull(strstr(error_message(err), "twice"));
    error_free(g_steal_pointer(&err));
    vmstate_unregister(&outer_vmstate, &o[1]);
    g_assert_false(state_load_machine(out->data, out->len, &err));
    g_assert_nonnull(strstr(error_message(err), "this machine has not"));
    error_free(err);
    vmstate_unregister(&outer_vmstate, &o[0]);
    timer_free(o[0].timer);
    timer_free(o[1].timer);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
    g_test_add_func("/state/layout", test_layout);
    g_test_add_func("/state/bad-bytes", test_bad_bytes);
    g_test_add_func("/state/older-struct", test_older_struct);
    g_test_add_func("/state/subsections", test_subsections);
    g_test_add_func("/state/present", test_present);
    g_test_add_func("/state/machine", test_machine);
    int status = g_test_run();
    machine_unlock();
    event_loop_main_finish();
    return status;
}
