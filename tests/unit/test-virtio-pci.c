/* virtio over PCI: each device through each way a driver can use it. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio-driver.h"

#include "base/fdset.h"
#include "block/backend.h"
#include "chardev/chardev.h"
#include "devices/virtio/balloon/balloon.h"
#include "net/netdev.h"
#include "object/runstate.h"
#include "object/user-creatable.h"
#include "schema/balloon.h"
#include "schema/chardev.h"

#define EVENT    BIT64(VIRTIO_F_EVENT_IDX)
#define INDIRECT BIT64(VIRTIO_F_INDIRECT_DESC)

static const VdMode modes[] = {
    { "legacy-pin", "disable-legacy=off,disable-modern=on,vectors=0", false, false, false, 0 },
    { "legacy-msix", "disable-modern=on,vectors=4", false, false, true, EVENT },
    { "modern-pin", "disable-legacy=on,vectors=0", true, false, false, 0 },
    { "modern-msix", "vectors=4", true, false, true, EVENT },
    { "modern-no-ioeventfd", "vectors=4,ioeventfd=off", true, false, true, 0 },
    { "modern-page-per-vq", "vectors=4,page-per-vq=on,modern-pio-notify=on", true, false, true, 0 },
    { "packed-msix", "vectors=4,packed=on,disable-legacy=on", true, true, true, 0 },
    { "packed-event-data", "vectors=4,packed=on,notification_data=on,in_order=on", true, true, true,
      EVENT | BIT64(VIRTIO_F_NOTIFICATION_DATA) | BIT64(VIRTIO_F_IN_ORDER) },
};

typedef struct Fix {
    World w;
    Vd d;
} Fix;

static void set_up(Fix *f, gconstpointer mode)
{
    world_up(&f->w, NULL);
    vm_start();
}

static void tear_down(Fix *f, gconstpointer mode)
{
    vm_stop(RUN_STATE_PAUSED);
    vd_down(&f->d);
    net_finish_all();
    block_finish_all();
    chardev_finish_all();
    run_state_reset();
    world_down(&f->w, NULL);
}

/* --- block --- */

static char *image;

static void make_disk(const char *more)
{
    g_autofree char *data = g_malloc(1 << 20);
    for (unsigned i = 0; i < 1 << 20; i++) {
        data[i] = (char)(i / 512 * 3);
    }
    g_assert_true(g_file_set_contents(image, data, 1 << 20, NULL));
    g_autofree char *json = g_strdup_printf(
        "{\"driver\":\"file\",\"node-name\":\"disk\",\"filename\":\"%s\"%s}", image, more);
    json_t *j = json_loads(json, 0, NULL);
    BlockdevOptions o = { 0 };
    g_assert_true(value_parse(&value_type_blockdev_options, &o, j, VALUE_MODE_TYPED, &error_abort));
    g_assert_nonnull(block_node_add(&o, &error_abort));
    value_release(&value_type_blockdev_options, &o);
    json_decref(j);
}

/* One request; returns its status. */
static uint8_t blk(Vd *d, VdQueue *q, uint32_t type, uint64_t sector, uint32_t len, bool to_guest)
{
    uint64_t header = VD_DATA, status = VD_DATA + 0x100, data = VD_DATA + 0x1000;
    st32_le(vd_at(d, header), type);
    st32_le(vd_at(d, header + 4), 0);
    st64_le(vd_at(d, header + 8), sector);
    *vd_at(d, status) = 0xee;
    VdSeg segs[3] = { { header, 16, false }, { data, len, to_guest }, { status, 1, true } };
    unsigned n = 3;
    if (!len) {
        segs[1] = segs[2];
        n = 2;
    }
    vd_add(d, q, segs, n);
    vd_kick(d, q);
    uint32_t used = vd_wait(d, q, n);
    g_assert_cmpuint(used, ==, to_guest && !*vd_at(d, status) ? len + 1 : 1);
    vd_expect_interrupt(d, q);
    return *vd_at(d, status);
}

static void check_blk(Vd *d)
{
    VdQueue *q = vd_queue(d, 0);
    vd_ready(d);
    g_assert_cmpuint(vd_config(d, 0, 8), ==, 2048);
    uint8_t *data = vd_at(d, VD_DATA + 0x1000);
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpint(blk(d, q, 0, i * 7, 1024, true), ==, 0);
        g_assert_cmpint(data[0], ==, (uint8_t)(i * 7 * 3));
        g_assert_cmpint(data[1023], ==, (uint8_t)((i * 7 + 1) * 3));
    }
    memset(data, 0x5a, 4096);
    g_assert_cmpint(blk(d, q, 1, 8, 4096, false), ==, 0);
    g_assert_cmpint(blk(d, q, 4, 0, 0, false), ==, 0); /* flush */
    memset(data, 0, 4096);
    g_assert_cmpint(blk(d, q, 0, 8, 4096, true), ==, 0);
    g_assert_cmpint(data[4095], ==, 0x5a);
    g_autofree char *file = NULL;
    g_assert_true(g_file_get_contents(image, &file, NULL, NULL));
    g_assert_cmpint(file[8 * 512 + 4095], ==, 0x5a);
    /* Past the end, odd lengths, unknown types. */
    g_assert_cmpint(blk(d, q, 0, 2047, 1024, true), ==, 1);
    g_assert_cmpint(blk(d, q, 0, UINT64_MAX, 512, true), ==, 1);
    g_assert_cmpint(blk(d, q, 0, 0, 100, true), ==, 1);
    g_assert_cmpint(blk(d, q, 77, 0, 512, true), ==, 2);
    g_assert_cmpint(blk(d, q, 8, 0, 20, true), ==, 0);
    g_assert_cmpstr((char *)data, ==, "serial-7");
}

static void test_blk(Fix *f, gconstpointer mode)
{
    make_disk("");
    vd_up(&f->d, &f->w, mode, "virtio-blk-pci", "drive=disk,serial=serial-7", 0);
    check_blk(&f->d);
}

static void test_blk_iothread(Fix *f, gconstpointer mode)
{
    make_disk("");
    g_assert_nonnull(user_creatable_add("iothread", "io0", NULL, VALUE_MODE_TEXT, &error_abort));
    vd_up(&f->d, &f->w, mode, "virtio-blk-pci", "drive=disk,serial=serial-7,iothread=io0", 0);
    check_blk(&f->d);
    /* A stop and a start in between, then a reset: the queues come back each time. */
    vm_stop(RUN_STATE_PAUSED);
    vm_start();
    VdQueue *q = &f->d.queues[0];
    g_assert_cmpint(blk(&f->d, q, 0, 0, 512, true), ==, 0);
    vd_set_status(&f->d, 0);
    vd_down(&f->d);
    machine_unlock();
    rcu_drain(); /* the device goes with its last reader, and lets go of the thread */
    machine_lock();
    g_assert_true(user_creatable_del("io0", &error_abort));
    vd_up(&f->d, &f->w, mode, "virtio-blk-pci", "drive=disk", 0);
}

static void test_blk_ranges(Fix *f, gconstpointer mode)
{
    make_disk(",\"discard\":\"unmap\"");
    vd_up(&f->d, &f->w, mode, "virtio-blk-pci", "drive=disk", BIT64(13) | BIT64(14));
    VdQueue *q = vd_queue(&f->d, 0);
    vd_ready(&f->d);
    uint8_t *data = vd_at(&f->d, VD_DATA + 0x1000);
    st64_le(data, 16);
    st32_le(data + 8, 8);
    st32_le(data + 12, 0);
    g_assert_cmpint(blk(&f->d, q, 13, 0, 16, false), ==, 0); /* write zeroes */
    st64_le(data, 32);
    g_assert_cmpint(blk(&f->d, q, 11, 0, 16, false), ==, 0); /* discard */
    st32_le(data + 12, 4);
    g_assert_cmpint(blk(&f->d, q, 11, 0, 16, false), ==, 2); /* unknown flag */
    st32_le(data + 12, 0);
    st64_le(data, 2047);
    g_assert_cmpint(blk(&f->d, q, 11, 0, 16, false), ==, 1); /* past the end */
    g_assert_cmpint(blk(&f->d, q, 0, 16, 512, true), ==, 0);
    g_assert_cmpint(data[0], ==, 0);
    g_assert_cmpint(blk(&f->d, q, 0, 15, 512, true), ==, 0);
    g_assert_cmpint(data[0], ==, 45);
}

static void fail_submit(BlockNode *node, BlockRequest *req)
{
    block_request_done(req, EIO);
}

/* A request that fails on the host: the machine stops, and it is done again when it goes on. */
static void test_blk_stop(Fix *f, gconstpointer mode)
{
    make_disk("");
    vd_up(&f->d, &f->w, mode, "virtio-blk-pci", "drive=disk,rerror=stop", 0);
    VdQueue *q = vd_queue(&f->d, 0);
    vd_ready(&f->d);
    BlockNode *node = block_node_find("disk");
    const BlockDriver *real = node->driver;
    BlockDriver broken = *real;
    node->driver = &broken;
    broken.submit = fail_submit;
    st32_le(vd_at(&f->d, VD_DATA), 0);
    st64_le(vd_at(&f->d, VD_DATA + 8), 3);
    VdSeg segs[3] = { { VD_DATA, 16, false },
                      { VD_DATA + 0x1000, 512, true },
                      { VD_DATA + 0x100, 1, true } };
    vd_add(&f->d, q, segs, 3);
    vd_kick(&f->d, q);
    int64_t end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    while (!run_state_is(RUN_STATE_IO_ERROR)) {
        vd_turn();
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    uint32_t len;
    g_assert_false(vd_used(&f->d, q, 3, &len));
    node->driver = real;
    vm_start();
    g_assert_cmpuint(vd_wait(&f->d, q, 3), ==, 513);
    g_assert_cmpint(*vd_at(&f->d, VD_DATA + 0x1000), ==, 9);
}

/* --- network --- */

static int net_fd;

static void make_net(void)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), ==, 0);
    fd_named_put("net", pair[0]);
    net_fd = pair[1];
    json_t *j = json_loads("{\"type\":\"dgram\",\"id\":\"n\",\"local\":"
                           "{\"type\":\"fd\",\"str\":\"net\"}}",
                           0, NULL);
    Netdev record = { 0 };
    g_assert_true(value_parse(&value_type_netdev, &record, j, VALUE_MODE_TYPED, &error_abort));
    g_assert_true(netdev_add(&record, &error_abort));
    value_release(&value_type_netdev, &record);
    json_decref(j);
}

static unsigned net_header(const Vd *d)
{
    return d->mode->modern || d->features & BIT64(15) ? 12 : 10;
}

static void net_give(Vd *d, VdQueue *rx, unsigned first, unsigned count, uint32_t len)
{
    for (unsigned i = first; i < first + count; i++) {
        VdSeg s = { VD_DATA + 0x10000 + i * 0x1000, len, true };
        vd_add(d, rx, &s, 1);
    }
    vd_kick(d, rx);
}

static void net_give_buffers(Vd *d, VdQueue *rx, unsigned count, uint32_t len)
{
    net_give(d, rx, 0, count, len);
}

static void test_net(Fix *f, gconstpointer mode)
{
    Vd *d = &f->d;
    make_net();
    vd_up(d, &f->w, mode, "virtio-net-pci", "netdev=n,mac=52:54:00:11:22:33", BIT64(16));
    VdQueue *rx = vd_queue(d, 0), *tx = vd_queue(d, 1);
    vd_ready(d);
    g_assert_cmphex(vd_config(d, 0, 4), ==, 0x11005452);
    g_assert_cmpint(vd_config(d, 6, 2) & 1, ==, 1);
    unsigned h = net_header(d);
    uint8_t frame[1514], got[2000];
    for (unsigned i = 0; i < 200; i++) {
        size_t len = 60 + i * 7;
        memset(frame, i, sizeof(frame));
        /* out: header and frame in two descriptors */
        memset(vd_at(d, VD_DATA), 0, h);
        memcpy(vd_at(d, VD_DATA + 0x1000), frame, len);
        VdSeg out[2] = { { VD_DATA, h, false }, { VD_DATA + 0x1000, len, false } };
        vd_add(d, tx, out, 2);
        vd_kick(d, tx);
        vd_wait(d, tx, 2);
        g_assert_cmpint(recv(net_fd, got, sizeof(got), 0), ==, len);
        g_assert_cmpmem(got, len, frame, len);
        /* in */
        net_give_buffers(d, rx, 1, 1600);
        g_assert_cmpint(send(net_fd, frame, len, 0), ==, len);
        g_assert_cmpuint(vd_wait(d, rx, 1), ==, len + h);
        g_assert_cmpmem(vd_at(d, VD_DATA + 0x10000 + h), len, frame, len);
        if (h == 12) {
            g_assert_cmpuint(ld16_le(vd_at(d, VD_DATA + 0x10000 + 10)), ==, 1);
        }
        vd_expect_interrupt(d, rx);
    }
    /* Frames that came while there was no buffer wait. */
    g_assert_cmpint(send(net_fd, frame, 100, 0), ==, 100);
    for (unsigned i = 0; i < 10; i++) {
        vd_turn();
    }
    uint32_t len;
    g_assert_false(vd_used(d, rx, 1, &len));
    net_give_buffers(d, rx, 1, 1600);
    g_assert_cmpuint(vd_wait(d, rx, 1), ==, 100 + h);
    /* The cable. */
    SetLinkArgs args = { .name = (char *)"n", .up = false };
    g_assert_true(qmp_set_link(&args, &error_abort));
    g_assert_cmpint(vd_config(d, 6, 2) & 1, ==, 0);
    close(net_fd);
}

/* One frame over several small buffers. */
static void test_net_mergeable(Fix *f, gconstpointer mode)
{
    Vd *d = &f->d;
    make_net();
    vd_up(d, &f->w, mode, "virtio-net-pci", "netdev=n", BIT64(15));
    VdQueue *rx = vd_queue(d, 0);
    (void)vd_queue(d, 1);
    vd_ready(d);
    uint8_t frame[1000];
    for (unsigned i = 0; i < sizeof(frame); i++) {
        frame[i] = i;
    }
    net_give_buffers(d, rx, 3, 256);
    send(net_fd, frame, sizeof(frame), 0);
    for (unsigned i = 0; i < 20; i++) {
        vd_turn();
    }
    uint32_t len;
    g_assert_false(vd_used(d, rx, 1, &len)); /* three are not enough, and none is taken */
    net_give(d, rx, 3, 8, 256);
    size_t at = 0;
    unsigned count = 0;
    for (unsigned i = 0; at < sizeof(frame); i++) {
        const uint8_t *p = vd_at(d, VD_DATA + 0x10000 + i * 0x1000);
        len = vd_wait(d, rx, 1);
        if (i == 0) {
            count = ld16_le(p + 10);
            p += 12;
            len -= 12;
        }
        g_assert_cmpmem(p, len, frame + at, len);
        at += len;
    }
    g_assert_cmpuint(at, ==, sizeof(frame));
    g_assert_cmpuint(count, ==, 4);
    close(net_fd);
}

static uint8_t net_ctrl(Vd *d, VdQueue *q, uint8_t klass, uint8_t command, const void *data,
                        size_t len)
{
    uint8_t *p = vd_at(d, VD_DATA + 0x2000);
    p[0] = klass;
    p[1] = command;
    memcpy(vd_at(d, VD_DATA + 0x3000), data, len);
    *vd_at(d, VD_DATA + 0x4000) = 0xee;
    VdSeg segs[3] = { { VD_DATA + 0x2000, 2, false },
                      { VD_DATA + 0x3000, len, false },
                      { VD_DATA + 0x4000, 1, true } };
    vd_add(d, q, segs, 3);
    vd_kick(d, q);
    vd_wait(d, q, 3);
    return *vd_at(d, VD_DATA + 0x4000);
}

static bool net_arrives(Vd *d, VdQueue *rx, const uint8_t mac[6], int vlan)
{
    uint8_t frame[64] = { 0 };
    uint32_t len;
    memcpy(frame, mac, 6);
    if (vlan >= 0) {
        st16_be(frame + 12, 0x8100);
        st16_be(frame + 14, vlan);
    }
    send(net_fd, frame, sizeof(frame), 0);
    for (unsigned i = 0; i < 10; i++) {
        vd_turn();
    }
    if (!vd_used(d, rx, 1, &len)) {
        return false;
    }
    net_give_buffers(d, rx, 1, 256);
    return true;
}

static void test_net_control(Fix *f, gconstpointer mode)
{
    static const uint8_t own[6] = { 0x52, 0x54, 0, 1, 2, 3 }, other[6] = { 0x52, 0x54, 0, 9, 9, 9 },
                         group[6] = { 1, 0, 0x5e, 0, 0, 1 },
                         all[6] = { 255, 255, 255, 255, 255, 255 };
    Vd *d = &f->d;
    make_net();
    vd_up(d, &f->w, mode, "virtio-net-pci", "netdev=n,mac=52:54:00:01:02:03",
          BIT64(17) | BIT64(18) | BIT64(19) | BIT64(20) | BIT64(23));
    VdQueue *rx = vd_queue(d, 0);
    (void)vd_queue(d, 1);
    VdQueue *ctrl = vd_queue(d, 2);
    vd_ready(d);
    net_give_buffers(d, rx, 4, 256);
    g_assert_true(net_arrives(d, rx, other, -1)); /* promiscuous at first */
    g_assert_cmpint(net_ctrl(d, ctrl, 0, 0, "\0", 1), ==, 0);
    g_assert_false(net_arrives(d, rx, other, -1));
    g_assert_true(net_arrives(d, rx, own, -1));
    g_assert_true(net_arrives(d, rx, all, -1));
    g_assert_false(net_arrives(d, rx, group, -1));
    /* Tables: one unicast, one multicast. */
    uint8_t table[20];
    st32_le(table, 1);
    memcpy(table + 4, other, 6);
    st32_le(table + 10, 1);
    memcpy(table + 14, group, 6);
    g_assert_cmpint(net_ctrl(d, ctrl, 1, 0, table, 20), ==, 0);
    g_assert_true(net_arrives(d, rx, other, -1));
    g_assert_true(net_arrives(d, rx, group, -1));
    st32_le(table, 1000); /* longer than the command */
    g_assert_cmpint(net_ctrl(d, ctrl, 1, 0, table, 20), ==, 1);
    g_assert_cmpint(net_ctrl(d, ctrl, 1, 1, other, 6), ==, 0); /* another own address */
    g_assert_true(net_arrives(d, rx, other, -1));
    g_assert_false(net_arrives(d, rx, own, -1));
    /* VLANs. */
    g_assert_false(net_arrives(d, rx, other, 5));
    g_assert_cmpint(net_ctrl(d, ctrl, 2, 0, "\5\0", 2), ==, 0);
    g_assert_true(net_arrives(d, rx, other, 5));
    g_assert_cmpint(net_ctrl(d, ctrl, 2, 0, "\0\x10", 2), ==, 1); /* 4096 */
    g_assert_cmpint(net_ctrl(d, ctrl, 99, 0, "\0", 1), ==, 1);
    RxFilterInfoList info = { 0 };
    QueryRxFilterArgs args = { 0 };
    g_assert_true(qmp_query_rx_filter(&args, &info, &error_abort));
    g_assert_cmpuint(info.len, ==, 1);
    g_assert_cmpstr(info.items[0].main_mac, ==, "52:54:00:09:09:09");
    g_assert_false(info.items[0].promiscuous);
    g_assert_cmpuint(info.items[0].vlan_table.len, ==, 1);
    value_release(&value_type_rx_filter_info_list, &info);
    close(net_fd);
}

/* --- entropy, balloon --- */

static void test_rng(Fix *f, gconstpointer mode)
{
    Vd *d = &f->d;
    vd_up(d, &f->w, mode, "virtio-rng-pci", "", 0);
    VdQueue *q = vd_queue(d, 0);
    vd_ready(d);
    for (unsigned i = 0; i < 50; i++) {
        VdSeg s = { VD_DATA, 64, true };
        memset(vd_at(d, VD_DATA), 0, 64);
        vd_add(d, q, &s, 1);
        vd_kick(d, q);
        g_assert_cmpuint(vd_wait(d, q, 1), ==, 64);
        unsigned zeros = 0;
        for (unsigned k = 0; k < 64; k++) {
            zeros += !*vd_at(d, VD_DATA + k);
        }
        g_assert_cmpuint(zeros, <, 16);
    }
}

static void test_balloon(Fix *f, gconstpointer mode)
{
    Vd *d = &f->d;
    vd_up(d, &f->w, mode, "virtio-balloon-pci", "free-page-reporting=on,deflate-on-oom=on",
          BIT64(1) | BIT64(2));
    VdQueue *inflate = vd_queue(d, 0), *deflate = vd_queue(d, 1), *stats = vd_queue(d, 2);
    vd_ready(d);
    /* A page that is given back reads as zeros. */
    uint64_t page = VD_RAM + 0x700000;
    memset(vd_at(d, page), 0x77, 4096);
    st32_le(vd_at(d, VD_DATA), page >> 12);
    VdSeg s = { VD_DATA, 4, false };
    vd_add(d, inflate, &s, 1);
    vd_kick(d, inflate);
    g_assert_cmpuint(vd_wait(d, inflate, 1), ==, 0);
    g_assert_cmpint(*vd_at(d, page), ==, 0);
    vd_add(d, deflate, &s, 1);
    vd_kick(d, deflate);
    vd_wait(d, deflate, 1);
    /* Not memory at all. */
    st32_le(vd_at(d, VD_DATA), 0xffffffff);
    vd_add(d, inflate, &s, 1);
    vd_kick(d, inflate);
    vd_wait(d, inflate, 1);
    /* Statistics: free memory. */
    uint8_t *p = vd_at(d, VD_DATA + 0x100);
    st16_le(p, 4);
    st64_le(p + 2, 123456);
    VdSeg st = { VD_DATA + 0x100, 10, false };
    vd_add(d, stats, &st, 1);
    vd_kick(d, stats);
    for (unsigned i = 0; i < 10; i++) {
        vd_turn();
    }
    json_t *j = object_get(&d->dev->parent.parent, "guest-stats", &error_abort);
    g_assert_cmpint(
        json_integer_value(json_object_get(json_object_get(j, "stats"), "stat-free-memory")), ==,
        123456);
    json_decref(j);
    uint32_t len;
    g_assert_false(vd_used(d, stats, 1, &len)); /* the device keeps it … */
    g_assert_true(
        object_set_int(&d->dev->parent.parent, "guest-stats-polling-interval", 1, &error_abort));
    vd_wait(d, stats, 1); /* … until it asks again */
    /* A second one is refused, and goes without a trace. */
    world_refuse(f->w.root, "virtio-balloon-pci", "", "*at most one*");
    vd_config_out(d, 4, 4, 16);
    BalloonInfo info;
    g_assert_true(qmp_query_balloon(&info, &error_abort));
    vd_set_status(d, 0);
}

/* A balloon whose start failed is no obstacle to the next. */
static void test_balloon_twice(Fix *f, gconstpointer mode)
{
    world_refuse(f->w.root, "virtio-balloon-pci", "disable-legacy=on,disable-modern=on",
                 "*disable-modern=off*");
    BalloonInfo info;
    ERROR_AUTO err = NULL;
    g_assert_false(qmp_query_balloon(&info, &err));
    vd_up(&f->d, &f->w, mode, "virtio-balloon-pci", "", 0);
    g_assert_true(qmp_query_balloon(&info, &error_abort));
}

/* --- serial ports --- */

static void serial_control(Vd *d, VdQueue *out, uint32_t port, uint16_t event, uint16_t value)
{
    uint8_t *p = vd_at(d, VD_DATA + 0x100);
    st32_le(p, port);
    st16_le(p + 4, event);
    st16_le(p + 6, value);
    VdSeg s = { VD_DATA + 0x100, 8, false };
    vd_add(d, out, &s, 1);
    vd_kick(d, out);
    vd_wait(d, out, 1);
}

/* The next control message is event of port. */
static const uint8_t *serial_expect(Vd *d, VdQueue *in, uint32_t port, uint16_t event)
{
    uint64_t at = VD_DATA + 0x10000 + (in->used % 16) * 0x100;
    vd_wait(d, in, 1);
    g_assert_cmpuint(ld32_le(vd_at(d, at)), ==, port);
    g_assert_cmpuint(ld16_le(vd_at(d, at + 4)), ==, event);
    return vd_at(d, at + 8);
}

static Chardev *ringbuf(const char *id)
{
    json_t *j = json_pack("{s:s, s:{}}", "type", "ringbuf", "data");
    ChardevBackend record = { 0 };
    g_assert_true(
        value_parse(&value_type_chardev_backend, &record, j, VALUE_MODE_TEXT, &error_abort));
    json_decref(j);
    Chardev *chr = chardev_new(id, &record, &error_abort);
    value_release(&value_type_chardev_backend, &record);
    return chr;
}

static void test_serial(Fix *f, gconstpointer mode)
{
    Vd *d = &f->d;
    Chardev *con = ringbuf("con"), *port = ringbuf("port");
    vd_up(d, &f->w, mode, "virtio-serial-pci", "max_ports=4,id=vs", BIT64(1));
    Bus *bus = bus_find("vs.0", &error_abort);
    json_t *p = json_pack("{s:s, s:s}", "driver", "virtconsole", "chardev", "con");
    g_assert_nonnull(device_add_from_user(p, VALUE_MODE_TEXT, &error_abort));
    json_decref(p);
    p = json_pack("{s:s, s:s, s:s, s:s}", "driver", "virtserialport", "chardev", "port", "name",
                  "org.test.0", "id", "p1");
    g_assert_nonnull(device_add_from_user(p, VALUE_MODE_TEXT, &error_abort));
    json_decref(p);
    g_assert_cmpuint(bus->devices->len, ==, 2);
    VdQueue *q[6];
    for (unsigned i = 0; i < 6; i++) {
        q[i] = vd_queue(d, i);
    }
    vd_ready(d);
    g_assert_cmpuint(vd_config(d, 4, 4), ==, 4);
    for (unsigned i = 0; i < 16; i++) {
        VdSeg s = { VD_DATA + 0x10000 + i * 0x100, 0x100, true };
        vd_add(d, q[2], &s, 1);
    }
    vd_kick(d, q[2]);
    serial_control(d, q[3], UINT32_MAX, 0, 1); /* the driver is ready */
    serial_expect(d, q[2], 0, 1);
    serial_expect(d, q[2], 1, 1);
    serial_control(d, q[3], 0, 3, 1);
    serial_expect(d, q[2], 0, 4); /* a console */
    serial_expect(d, q[2], 0, 6); /* somebody is at the other end */
    serial_control(d, q[3], 1, 3, 1);
    g_assert_cmpmem(serial_expect(d, q[2], 1, 7), 10, "org.test.0", 10);
    serial_control(d, q[3], 77, 3, 1); /* no such port */
    serial_control(d, q[3], 1, 6, 1);  /* opened */
    /* From the guest, through both ports. */
    memcpy(vd_at(d, VD_DATA), "hello from the guest", 20);
    VdSeg out[2] = { { VD_DATA, 5, false }, { VD_DATA + 5, 15, false } };
    vd_add(d, q[1], out, 2);
    vd_kick(d, q[1]);
    vd_wait(d, q[1], 2);
    vd_add(d, q[5], out, 1);
    vd_kick(d, q[5]);
    vd_wait(d, q[5], 1);
    size_t len;
    g_autofree uint8_t *got = chardev_ringbuf_read(con, 100, &len, &error_abort);
    g_assert_cmpmem(got, len, "hello from the guest", 20);
    g_autofree uint8_t *got1 = chardev_ringbuf_read(port, 100, &len, &error_abort);
    g_assert_cmpmem(got1, len, "hello", 5);
    /* Unplugged: the driver is told, the controller goes on. */
    device_destroy(device_find("p1"));
    int64_t end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    uint64_t at = 0;
    do {
        at = VD_DATA + 0x10000 + (q[2]->used % 16) * 0x100;
        vd_wait(d, q[2], 1);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    } while (ld16_le(vd_at(d, at + 4)) != 2);
    vd_set_status(d, 0);
}

/* --- the transport itself --- */

static void test_layout(Fix *f, gconstpointer mode)
{
    Vd *d = &f->d;
    vd_up(d, &f->w, mode, "virtio-rng-pci", "", 0);
    const uint8_t *c = d->dev->config;
    g_assert_cmphex(ld16_le(c), ==, 0x1af4);
    g_assert_cmphex(ld16_le(c + 2), ==, 0x1005);
    g_assert_cmphex(ld16_le(c + 0x2e), ==, 4);
    g_assert_cmphex(d->common, ==, VD_BAR4);
    g_assert_cmphex(d->isr, ==, VD_BAR4 + 0x1000);
    g_assert_cmphex(d->config, ==, VD_BAR4 + 0x2000);
    g_assert_cmphex(d->notify, ==, VD_BAR4 + 0x3000);
    g_assert_cmpuint(d->notify_step, ==, 4);
    g_assert_cmphex(memory_region_size(d->dev->bars[4].region), ==, 0x4000);
    /* The access window in configuration space (4.1.4.9): read the status through it. */
    uint8_t at = 0;
    for (uint8_t cap = c[0x34]; cap; cap = c[cap + 1]) {
        at = c[cap] == PCI_CAP_ID_VENDOR && c[cap + 3] == 5 ? cap : at;
    }
    g_assert_true(at);
    unsigned devfn = d->dev->devfn;
    config_out(0, devfn, at + 4, 1, 4);
    config_out(0, devfn, at + 8, 4, 20);
    config_out(0, devfn, at + 12, 4, 1);
    g_assert_cmpint(config_in(0, devfn, at + 16, 1), ==, 11);
    config_out(0, devfn, at + 16, 1, 0); /* a reset */
    g_assert_cmpint(vd_status(d), ==, 0);
    config_out(0, devfn, at + 8, 4, 0xfffffff0); /* nowhere */
    (void)config_in(0, devfn, at + 16, 4);
    config_out(0, devfn, at + 12, 4, 3); /* no such width */
    (void)config_in(0, devfn, at + 16, 4);
    /* Registers of a queue that does not exist. */
    memory_out(d->common + 22, 2, 500);
    g_assert_cmpuint(memory_in(d->common + 24, 2), ==, 0);
    memory_out(d->common + 28, 2, 1);
    memory_out(d->notify + 500 * 4, 2, 500);
    /* Vectors that can't be had read back as none. */
    memory_out(d->common + 16, 2, 77);
    g_assert_cmphex(memory_in(d->common + 16, 2), ==, 0xffff);
}

static void test_types(Fix *f, gconstpointer mode)
{
    vd_up(&f->d, &f->w, mode, "virtio-rng-pci-non-transitional", "", 0);
    g_assert_cmphex(ld16_le(f->d.dev->config + 2), ==, 0x1044);
    g_assert_cmphex(f->d.dev->config[8], ==, 1);
    g_assert_null(f->d.dev->bars[0].region);
    PciDevice *t = world_add(f->w.root, "virtio-rng-pci-transitional", "");
    g_assert_cmphex(ld16_le(t->config + 2), ==, 0x1005);
    g_assert_nonnull(t->bars[0].region);
    world_refuse(f->w.root, "virtio-rng-pci", "disable-modern=on,disable-legacy=on",
                 "*disable-modern=off or disable-legacy=off*");
    world_refuse(f->w.root, "virtio-rng-pci", "iommu_platform=on", "*disable-legacy=on*");
    world_refuse(f->w.root, "virtio-net-pci", "rx_queue_size=100", "*power of two*");
    world_refuse(f->w.root, "virtio-blk-pci", "", "*drive is missing*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    module_call(MODULE_SUBSYSTEM);
    world_register_types();
    if (!event_loop_main_init(NULL)) {
        return 1;
    }
    g_autofree char *dir = g_dir_make_tmp("rhea-virtio-XXXXXX", NULL);
    image = g_build_filename(dir, "image", NULL);
    static const struct {
        const char *name;
        void (*test)(Fix *f, gconstpointer mode);
    } by_mode[] = {
        { "blk", test_blk }, { "blk-iothread", test_blk_iothread }, { "net", test_net },
        { "rng", test_rng }, { "balloon", test_balloon },
    };
    for (unsigned t = 0; t < ARRAY_LEN(by_mode); t++) {
        for (unsigned m = 0; m < ARRAY_LEN(modes); m++) {
            g_autofree char *name =
                g_strdup_printf("/virtio-pci/%s/%s", by_mode[t].name, modes[m].name);
            g_test_add(name, Fix, &modes[m], set_up, by_mode[t].test, tear_down);
        }
    }
    const VdMode *plain = &modes[3];
    g_test_add("/virtio-pci/blk-ranges", Fix, plain, set_up, test_blk_ranges, tear_down);
    g_test_add("/virtio-pci/blk-stop", Fix, plain, set_up, test_blk_stop, tear_down);
    g_test_add("/virtio-pci/net-mergeable", Fix, plain, set_up, test_net_mergeable, tear_down);
    g_test_add("/virtio-pci/net-control", Fix, plain, set_up, test_net_control, tear_down);
    g_test_add("/virtio-pci/balloon-twice", Fix, plain, set_up, test_balloon_twice, tear_down);
    g_test_add("/virtio-pci/serial", Fix, &modes[2], set_up, test_serial, tear_down);
    g_test_add("/virtio-pci/layout", Fix, plain, set_up, test_layout, tear_down);
    g_test_add("/virtio-pci/types", Fix, plain, set_up, test_types, tear_down);
    int r = g_test_run();
    g_unlink(image);
    g_rmdir(dir);
    g_free(image);
    return r;
}
