/* block: nodes, drivers, engines, locking, drives. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "block/backend.h"
#include "event/lock.h"
#include "event/loop.h"

static char *dir, *image;

static BlockNode *add(const char *json, Error **errp)
{
    json_t *j = json_loads(json, 0, NULL);
    g_assert_nonnull(j);
    BlockdevOptions o = { 0 };
    BlockNode *node = NULL;
    if (value_parse(&value_type_blockdev_options, &o, j, VALUE_MODE_TYPED, errp)) {
        node = block_node_add(&o, errp);
        value_release(&value_type_blockdev_options, &o);
    }
    json_decref(j);
    return node;
}

static BlockNode *add_ok(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *json = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    Error *err = NULL;
    BlockNode *n = add(json, &err);
    if (!n) {
        g_error("%s: %s", json, error_message(err));
    }
    return n;
}

static void add_fails(const char *why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *json = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    ERROR_AUTO err = NULL;
    g_assert_null(add(json, &err));
    if (!strstr(error_message(err), why)) {
        g_error("%s: '%s' lacks '%s'", json, error_message(err), why);
    }
}

typedef struct Io {
    BlockRequest req;
    bool done;
    int error;
} Io;

static void io_done(BlockRequest *req, int error)
{
    Io *io = CONTAINER_OF(req, Io, req);
    io->done = true;
    io->error = error;
}

static int do_io(BlockNode *n, BlockEngine *e, BlockOp op, uint64_t offset, void *buf, size_t len,
                 unsigned flags)
{
    /* Two pieces, so that scatter lists are taken seriously. */
    struct iovec iov[2] = { { buf, len / 3 }, { (char *)buf + len / 3, len - len / 3 } };
    Io io = { .req = { .op = op,
                       .flags = flags,
                       .offset = offset,
                       .len = len,
                       .iov = iov,
                       .iov_count = 2,
                       .done = io_done } };
    block_submit(n, e, &io.req);
    int64_t end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (!io.done) {
        event_loop_iterate(event_loop_main(), false);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    return io.error;
}

static BlockEngine *engine(void)
{
    BlockEngine *e = block_engine_new(event_loop_main(), NULL);
    g_assert_nonnull(e);
    return e;
}

static void write_image(size_t size)
{
    g_autofree uint8_t *data = g_malloc(size);
    for (size_t i = 0; i < size; i++) {
        data[i] = i / 512 + i;
    }
    g_assert_true(g_file_set_contents(image, (char *)data, size, NULL));
}

static void check_file(BlockNode *n, BlockEngine *e)
{
    uint8_t buf[8192], want[8192];
    for (unsigned i = 0; i < sizeof(want); i++) {
        want[i] = (i + 512) / 512 + i + 512;
    }
    g_assert_cmpint(do_io(n, e, BLOCK_READ, 512, buf, sizeof(buf), 0), ==, 0);
    g_assert_cmpmem(buf, sizeof(buf), want, sizeof(want));
    memset(buf, 0xa5, sizeof(buf));
    g_assert_cmpint(do_io(n, e, BLOCK_WRITE, 1024, buf, 1024, BLOCK_FUA), ==, 0);
    g_assert_cmpint(do_io(n, e, BLOCK_FLUSH, 0, NULL, 0, 0), ==, 0);
    memset(want + 512, 0xa5, 1024);
    g_assert_cmpint(do_io(n, e, BLOCK_READ, 512, buf, sizeof(buf), 0), ==, 0);
    g_assert_cmpmem(buf, sizeof(buf), want, sizeof(want));
    g_assert_cmpint(do_io(n, e, BLOCK_WRITE_ZEROES, 1024, buf, 512, 0), ==, 0);
    g_assert_cmpint(do_io(n, e, BLOCK_DISCARD, 2048, buf, 512, 0), ==, 0);
    memset(want + 512, 0, 512);
    memset(want + 1536, n->discard ? 0 : want[1536], n->discard ? 512 : 0);
    g_assert_cmpint(do_io(n, e, BLOCK_READ, 512, buf, sizeof(buf), 0), ==, 0);
    g_assert_cmpmem(buf, sizeof(buf), want, sizeof(want));
    /* Outside the disk, and over its end. */
    g_assert_cmpint(do_io(n, e, BLOCK_READ, 1 << 20, buf, 512, 0), ==, EIO);
    g_assert_cmpint(do_io(n, e, BLOCK_WRITE, (1 << 20) - 512, buf, 1024, 0), ==, EIO);
    g_assert_cmpint(do_io(n, e, BLOCK_READ, UINT64_MAX - 100, buf, 512, 0), ==, EIO);
}

static void test_file(gconstpointer extra)
{
    write_image(1 << 20);
    BlockNode *n = add_ok("{\"driver\":\"file\",\"node-name\":\"n\",\"filename\":\"%s\"%s}", image,
                          (const char *)extra);
    BlockEngine *e = engine();
    check_file(n, e);
    block_engine_free(e);
    block_finish_all();
}

/* The host has no io_uring. */
static void test_no_uring(void)
{
    write_image(1 << 20);
    BlockNode *n = add_ok("{\"driver\":\"file\",\"node-name\":\"n\",\"filename\":\"%s\"}", image);
    fault_inject(2); /* 1: the notifier */
    BlockEngine *e = engine();
    g_assert_cmpint(fault_inject(0), ==, 0);
    g_assert_false(block_engine_has_uring(e));
    check_file(n, e);
    block_engine_free(e);
    block_finish_all();
}

/* Many at once, more than the ring holds, then a drain without the loop. */
static void test_many(void)
{
    enum { N = 1000 };
    write_image(1 << 20);
    BlockNode *n = add_ok("{\"driver\":\"file\",\"node-name\":\"n\",\"filename\":\"%s\"}", image);
    BlockEngine *e = engine();
    Io *io = g_new0(Io, N);
    uint8_t(*buf)[512] = g_malloc0(N * 512);
    struct iovec *iov = g_new(struct iovec, N);
    block_engine_plug(e);
    for (unsigned i = 0; i < N; i++) {
        iov[i] = (struct iovec){ buf[i], 512 };
        io[i].req = (BlockRequest){ .op = BLOCK_READ,
                                    .offset = i * 512,
                                    .len = 512,
                                    .iov = &iov[i],
                                    .iov_count = 1,
                                    .done = io_done };
        block_submit(n, e, &io[i].req);
    }
    block_engine_unplug(e);
    block_engine_drain(e);
    g_assert_cmpuint(block_engine_in_flight(e), ==, 0);
    for (unsigned i = 0; i < N; i++) {
        g_assert_true(io[i].done);
        g_assert_cmpint(io[i].error, ==, 0);
        g_assert_cmpint(buf[i][3], ==, (uint8_t)(i + i * 512 + 3));
    }
    g_free(io);
    g_free(buf);
    g_free(iov);
    block_engine_free(e);
    block_finish_all();
}

/* A file that doesn't end at a sector reads zeros after its end. */
static void test_odd_size(void)
{
    write_image(1000);
    BlockNode *n = add_ok("{\"driver\":\"file\",\"node-name\":\"n\",\"filename\":\"%s\"}", image);
    BlockEngine *e = engine();
    uint8_t buf[1024];
    memset(buf, 0xff, sizeof(buf));
    g_assert_cmpint(do_io(n, e, BLOCK_READ, 0, buf, 1024, 0), ==, 0);
    g_assert_cmpint(buf[999], ==, (uint8_t)(1 + 999));
    for (unsigned i = 1000; i < 1024; i++) {
        g_assert_cmpint(buf[i], ==, 0);
    }
    block_engine_free(e);
    block_finish_all();
}

static void test_raw(void)
{
    write_image(1 << 20);
    BlockNode *n = add_ok("{\"driver\":\"raw\",\"node-name\":\"n\",\"offset\":4096,\"size\":8192,"
                          "\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}",
                          image);
    BlockEngine *e = engine();
    uint8_t buf[512];
    g_assert_cmpuint(block_node_size(n), ==, 8192);
    g_assert_cmpint(do_io(n, e, BLOCK_READ, 512, buf, 512, 0), ==, 0);
    g_assert_cmpint(buf[7], ==, (uint8_t)(9 + 4096 + 512 + 7));
    g_assert_cmpint(do_io(n, e, BLOCK_READ, 8192, buf, 512, 0), ==, EIO);
    block_engine_free(e);
    add_fails("no node 'nil'", "{\"driver\":\"raw\",\"node-name\":\"m\",\"file\":\"nil\"}");
    add_fails("'file' is missing", "{\"driver\":\"raw\",\"node-name\":\"m\"}");
    block_finish_all();
    /* By reference: in use once, busy meanwhile. */
    add_ok("{\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"%s\"}", image);
    add_ok("{\"driver\":\"raw\",\"node-name\":\"r\",\"file\":\"f\"}");
    add_fails("in use by 'r'", "{\"driver\":\"raw\",\"node-name\":\"s\",\"file\":\"f\"}");
    add_fails("past the end", "{\"driver\":\"raw\",\"node-name\":\"s\",\"offset\":4096,\"file\":"
                              "{\"driver\":\"null-co\",\"size\":512}}");
    ERROR_AUTO err = NULL;
    g_assert_false(block_node_del("f", &err));
    g_assert_nonnull(strstr(error_message(err), "busy"));
    g_assert_true(block_node_del("r", NULL));
    g_assert_true(block_node_del("f", NULL));
    block_finish_all();
}

static void test_null(void)
{
    BlockNode *n = add_ok("{\"driver\":\"null-co\",\"node-name\":\"n\",\"size\":1048576,"
                          "\"read-zeroes\":true,\"latency-ns\":2000000}");
    BlockEngine *e = engine();
    uint8_t buf[512];
    memset(buf, 1, sizeof(buf));
    int64_t start = g_get_monotonic_time();
    g_assert_cmpint(do_io(n, e, BLOCK_READ, 0, buf, 512, 0), ==, 0);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 2000);
    g_assert_cmpint(buf[511], ==, 0);
    block_engine_free(e);
    block_finish_all();
}

static void test_locking(void)
{
    write_image(4096);
    const char *rw = "{\"driver\":\"file\",\"node-name\":\"%s\",\"filename\":\"%s\"}";
    const char *ro = "{\"driver\":\"file\",\"node-name\":\"%s\",\"filename\":\"%s\","
                     "\"read-only\":true%s}";
    add_ok(rw, "a", image);
    add_fails("in use", rw, "b", image);
    add_fails("in use", ro, "b", image, "");
    add_ok(ro, "b", image, ",\"force-share\":true");
    add_fails("read-only=on",
              "{\"driver\":\"file\",\"node-name\":\"c\",\"filename\":\"%s\","
              "\"force-share\":true}",
              image);
    block_finish_all();
    /* Readers share; a writer waits for them. */
    add_ok(ro, "a", image, "");
    add_ok(ro, "b", image, "");
    add_fails("in use", rw, "c", image);
    block_finish_all();
    add_ok(rw, "a", image);
    block_finish_all();
}

static void test_errors(void)
{
    write_image(4096);
    add_fails("/nil/x", "{\"driver\":\"file\",\"node-name\":\"n\",\"filename\":\"/nil/x\"}");
    add_fails("not a block device",
              "{\"driver\":\"host_device\",\"node-name\":\"n\",\"filename\":\"%s\"}", image);
    add_fails("not a regular file",
              "{\"driver\":\"file\",\"node-name\":\"n\",\"filename\":\"/dev/null\"}");
    add_fails("discard=unmap",
              "{\"driver\":\"file\",\"node-name\":\"n\",\"filename\":\"%s\","
              "\"detect-zeroes\":\"unmap\"}",
              image);
    add_fails("node-name", "{\"driver\":\"null-co\"}");
    add_fails("9n", "{\"driver\":\"null-co\",\"node-name\":\"9n\"}");
    BlockNode *n = add_ok("{\"driver\":\"null-co\",\"node-name\":\"n\",\"read-only\":true}");
    add_fails("already", "{\"driver\":\"null-co\",\"node-name\":\"n\"}");
    BlockEngine *e = engine();
    uint8_t buf[512] = { 0 };
    g_assert_cmpint(do_io(n, e, BLOCK_WRITE, 0, buf, 512, 0), ==, EPERM);
    block_engine_free(e);
    block_finish_all();
}

static BlockDrive *drive(const char *json, Error **errp)
{
    json_t *j = json_loads(json, 0, NULL);
    DriveOptions o = { 0 };
    BlockDrive *d = NULL;
    if (value_parse(&value_type_drive_options, &o, j, VALUE_MODE_TEXT, errp)) {
        d = block_drive_add(&o, errp);
        value_release(&value_type_drive_options, &o);
    }
    json_decref(j);
    return d;
}

static void test_drives(void)
{
    write_image(4096);
    g_autofree char *a = g_strdup_printf("{\"file\":\"%s\",\"if\":\"none\",\"id\":\"d0\","
                                         "\"cache\":\"directsync\",\"format\":\"raw\"}",
                                         image);
    ERROR_AUTO err = NULL;
    BlockDrive *d = drive(a, &err);
    if (!d) {
        g_error("%s", error_message(err));
    }
    g_assert_true(d->node->direct);
    g_assert_true(d->write_through);
    g_assert_true(block_drive_find("d0") == d);
    g_assert_null(drive(a, &err));
    g_assert_nonnull(strstr(error_message(err), "taken"));
    g_clear_pointer(&err, error_free);
    BlockDrive *cd = drive("{\"media\":\"cdrom\",\"if\":\"ide\",\"index\":\"2\"}", &err);
    g_assert_nonnull(cd);
    g_assert_cmpstr(cd->id, ==, "ide1-cd0");
    g_assert_true(block_drive_get(DRIVE_INTERFACE_IDE, 1, 0) == cd);
    g_assert_null(drive("{\"media\":\"cdrom\",\"if\":\"ide\",\"bus\":\"1\",\"unit\":\"0\"}", &err));
    g_assert_nonnull(strstr(error_message(err), "this place"));
    g_clear_pointer(&err, error_free);
    g_assert_null(drive("{\"if\":\"none\",\"format\":\"qcow2\",\"file\":\"/x\"}", &err));
    g_assert_nonnull(strstr(error_message(err), "qcow2"));
    block_finish_all();
}

static void test_resize(void)
{
    write_image(4096);
    BlockNode *r = add_ok("{\"driver\":\"raw\",\"node-name\":\"r\",\"file\":{\"driver\":\"file\","
                          "\"node-name\":\"f\",\"filename\":\"%s\"}}",
                          image);
    BlockResizeArgs args = { .node_name = (char *)"r", .size = 65536 };
    g_assert_true(qmp_block_resize(&args, NULL));
    g_assert_cmpuint(block_node_size(r), ==, 65536);
    g_assert_cmpuint(block_node_size(block_node_find("f")), ==, 65536);
    block_finish_all();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    if (!event_loop_main_init(NULL)) {
        return 1;
    }
    machine_lock();
    dir = g_dir_make_tmp("rhea-block-XXXXXX", NULL);
    image = g_build_filename(dir, "image", NULL);
    g_test_add_data_func("/block/file/default", "", test_file);
    g_test_add_data_func("/block/file/threads", ",\"aio\":\"threads\"", test_file);
    g_test_add_data_func("/block/file/discard",
                         ",\"discard\":\"unmap\",\"detect-zeroes\":\"unmap\"", test_file);
    g_test_add_data_func("/block/file/no-flush", ",\"cache\":{\"no-flush\":true}", test_file);
    g_test_add_data_func("/block/file/direct", ",\"cache\":{\"direct\":true}", test_file);
    g_test_add_func("/block/no-uring", test_no_uring);
    g_test_add_func("/block/many", test_many);
    g_test_add_func("/block/odd-size", test_odd_size);
    g_test_add_func("/block/raw", test_raw);
    g_test_add_func("/block/null", test_null);
    g_test_add_func("/block/locking", test_locking);
    g_test_add_func("/block/errors", test_errors);
    g_test_add_func("/block/drives", test_drives);
    g_test_add_func("/block/resize", test_resize);
    int r = g_test_run();
    g_unlink(image);
    g_rmdir(dir);
    g_free(image);
    g_free(dir);
    machine_unlock();
    return r;
}
