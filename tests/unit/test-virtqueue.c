/* virtio core: both ring formats against a small driver, broken rings, negotiation, reset. */
#include <glib.h>
#include <string.h>

#include "devices/virtio/transport.h"
#include "event/lock.h"
#include "vhost/guest.h"
#include "devices/virtio/virtio-vhost.h"

/* --- A transport that only counts, and a device that hands out what it pops --- */

#define TYPE_TEST_BUS    "test-virtio-bus"
#define TYPE_TEST_DEVICE "test-virtio-device"
#define TYPE_TEST_PROXY  "test-virtio-proxy"

typedef struct TestDevice {
    VirtioDevice parent;
    Virtqueue *vq;
    unsigned kicks;
} TestDevice;

static unsigned interrupts;

static void test_bus_notify(Device *proxy, uint16_t vector)
{
    VirtioDevice *vdev = virtio_bus_device(g_ptr_array_index(proxy->child_buses, 0));
    if (vdev && vdev->isr) {
        interrupts++;
    }
}

static void test_bus_class_init(ObjectClass *klass, const void *data)
{
    virtio_bus_class_cast(klass)->notify = test_bus_notify;
}

static const TypeInfo test_bus_info = {
    .name = TYPE_TEST_BUS,
    .parent = TYPE_VIRTIO_BUS,
    .class_init = test_bus_class_init,
};
OBJECT_TYPE(test_bus, test_bus_info)

static const TypeInfo test_proxy_info = { .name = TYPE_TEST_PROXY, .parent = TYPE_DEVICE };
OBJECT_TYPE(test_proxy, test_proxy_info)

static void test_handle(VirtioDevice *vdev, Virtqueue *vq)
{
    ((TestDevice *)vdev)->kicks++;
}

static bool test_realize(VirtioDevice *vdev, Error **errp)
{
    virtio_init(vdev, "virtio-test", 42, 8);
    ((TestDevice *)vdev)->vq = virtio_add_queue(vdev, 256, test_handle);
    return true;
}

static void test_set_config(VirtioDevice *vdev, const uint8_t *config)
{
}

static const Field test_properties[] = { VIRTIO_COMMON_PROPERTIES(TestDevice), {} };

static void test_device_class_init(ObjectClass *klass, const void *data)
{
    VirtioDeviceClass *k = virtio_device_class_cast(klass);
    k->realize = test_realize;
    k->unrealize = virtio_finish;
    k->set_config = test_set_config;
}

static const TypeInfo test_device_info = {
    .name = TYPE_TEST_DEVICE,
    .parent = TYPE_VIRTIO_DEVICE,
    .instance_size = sizeof(TestDevice),
    .properties = test_properties,
    .class_init = test_device_class_init,
};
OBJECT_TYPE(test_device, test_device_info)

/* --- The driver's side --- */

enum {
    RAM_SIZE = 1 << 20,
    DESC_AT = 0x1000,
    DRIVER_AT = 0x8000,
    DEVICE_AT = 0x9000,
    TABLE_AT = 0xa000,
    DATA_AT = 0x10000
};

typedef struct Seg {
    uint64_t addr;
    uint32_t len;
    bool write;
} Seg;

typedef struct Fixture {
    MemoryRegion ram;
    Device *proxy;
    Bus *bus;
    TestDevice *dev;
    VirtioDevice *vdev;
    uint8_t *mem;
    bool packed;
    unsigned size;
    /* driver state */
    uint16_t avail, used;
    bool avail_wrap, used_wrap;
    unsigned next_desc; /* split: descriptors are taken in a circle */
} Fixture;

typedef struct Setup {
    uint64_t features;
    unsigned size;
} Setup;

static void set_up(Fixture *f, gconstpointer data)
{
    const Setup *s = data;
    uint64_t features = s->features | BIT64(VIRTIO_F_VERSION_1);
    machine_lock();
    memory_init();
    g_assert_true(memory_region_init_ram(&f->ram, NULL, "ram", RAM_SIZE, NULL));
    memory_region_add(memory_root(), 0, &f->ram);
    f->mem = memory_region_ram_ptr(&f->ram);
    f->proxy = device_new(TYPE_TEST_PROXY);
    f->bus = bus_new(TYPE_TEST_BUS, f->proxy, "vbus");
    Error *err = NULL;
    if (!device_realize(f->proxy, NULL, &err)) {
        g_error("%s", error_message(err));
    }
    Device *dev = device_new(TYPE_TEST_DEVICE);
    f->vdev = virtio_device_cast(dev);
    f->dev = (TestDevice *)dev;
    f->vdev->host_features |= features;
    if (!device_realize(dev, f->bus, &err)) {
        g_error("%s", error_message(err));
    }
    f->vdev->vm_running = true;
    f->packed = features & BIT64(VIRTIO_F_RING_PACKED);
    f->size = s->size;
    f->avail = f->used = 0;
    f->avail_wrap = f->used_wrap = true;
    f->next_desc = 0;
    interrupts = 0;

    virtio_set_status(f->vdev, 1);
    virtio_set_status(f->vdev, 3);
    g_assert_true(virtio_set_features(f->vdev, features));
    virtio_set_status(f->vdev, 11);
    g_assert_cmpint(virtio_status(f->vdev), ==, 11);
    virtio_queue_set_size(f->vdev, 0, s->size);
    virtio_queue_set_rings(f->vdev, 0, DESC_AT, DRIVER_AT, DEVICE_AT);
    virtio_queue_enable(f->vdev, 0);
    virtio_set_status(f->vdev, 15);
    g_assert_true(virtqueue_is_ready(f->dev->vq));
}

static void tear_down(Fixture *f, gconstpointer data)
{
    Device *dev = &f->vdev->parent;
    device_destroy(dev);
    object_unref(&dev->parent);
    device_destroy(f->proxy);
    object_unref(&f->proxy->parent);
    memory_region_del(memory_root(), &f->ram);
    memory_region_finish(&f->ram);
    object_root_reset();
    memory_finish();
    machine_unlock();
    rcu_drain(); /* the RAM block goes with its last reader */
}

static void put_desc(uint8_t *at, uint64_t addr, uint32_t len, uint16_t c, uint16_t d)
{
    st64_le(at, addr);
    st32_le(at + 8, len);
    st16_le(at + 12, c);
    st16_le(at + 14, d);
}

/* Write a chain; returns its head or id. flags are added to each descriptor's. */
static uint16_t add_chain(Fixture *f, const Seg *segs, unsigned n, uint16_t id, bool indirect)
{
    if (indirect) {
        for (unsigned i = 0; i < n; i++) {
            uint16_t flags = segs[i].write ? VIRTQ_DESC_F_WRITE : 0;
            uint8_t *at = f->mem + TABLE_AT + 16 * i;
            if (f->packed) {
                put_desc(at, segs[i].addr, segs[i].len, 0, flags);
            } else {
                put_desc(at, segs[i].addr, segs[i].len, flags | (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0),
                         i + 1);
            }
        }
    }
    Seg table = { TABLE_AT, n * 16, false };
    const Seg *top = indirect ? &table : segs;
    unsigned count = indirect ? 1 : n;
    if (!f->packed) {
        uint16_t head = f->next_desc;
        for (unsigned i = 0; i < count; i++) {
            unsigned at = f->next_desc;
            f->next_desc = (f->next_desc + 1) % f->size;
            uint16_t flags = (indirect ? VIRTQ_DESC_F_INDIRECT : 0) |
                             (top[i].write ? VIRTQ_DESC_F_WRITE : 0) |
                             (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0);
            put_desc(f->mem + DESC_AT + 16 * at, top[i].addr, top[i].len, flags, f->next_desc);
        }
        st16_le(f->mem + DRIVER_AT + 4 + 2 * (f->avail % f->size), head);
        st16_le(f->mem + DRIVER_AT + 2, ++f->avail);
        return head;
    }
    for (unsigned i = 0; i < count; i++) {
        uint16_t flags = (indirect ? VIRTQ_DESC_F_INDIRECT : 0) |
                         (top[i].write ? VIRTQ_DESC_F_WRITE : 0) |
                         (i + 1 < count ? VIRTQ_DESC_F_NEXT : 0) |
                         (f->avail_wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED);
        put_desc(f->mem + DESC_AT + 16 * f->avail, top[i].addr, top[i].len, id, flags);
        if (++f->avail == f->size) {
            f->avail = 0;
            f->avail_wrap = !f->avail_wrap;
        }
    }
    return id;
}

/* The next used entry; false if there is none. slots: ring entries the chain took (packed). */
static bool get_used(Fixture *f, unsigned slots, uint32_t *id, uint32_t *len)
{
    if (!f->packed) {
        if (ld16_le(f->mem + DEVICE_AT + 2) == f->used) {
            return false;
        }
        uint8_t *e = f->mem + DEVICE_AT + 4 + 8 * (f->used++ % f->size);
        *id = ld32_le(e);
        *len = ld32_le(e + 4);
        return true;
    }
    uint8_t *d = f->mem + DESC_AT + 16 * f->used;
    uint16_t flags = ld16_le(d + 14);
    if (!!(flags & VIRTQ_DESC_F_USED) != f->used_wrap ||
        !!(flags & VIRTQ_DESC_F_AVAIL) != f->used_wrap) {
        return false;
    }
    *id = ld16_le(d + 12);
    *len = flags & VIRTQ_DESC_F_WRITE ? ld32_le(d + 8) : 0;
    f->used += slots;
    if (f->used >= f->size) {
        f->used -= f->size;
        f->used_wrap = !f->used_wrap;
    }
    return true;
}

static const Seg out_in[] = { { DATA_AT, 100, false },
                              { DATA_AT + 0x1000, 50, false },
                              { DATA_AT + 0x2000, 200, true } };

static void test_round_trips(Fixture *f, gconstpointer data)
{
    const Setup *s = data;
    bool indirect = s->features & BIT64(VIRTIO_F_INDIRECT_DESC);
    for (unsigned i = 0; i < 3 * s->size + 7; i++) {
        memset(f->mem + DATA_AT, i, 100);
        memset(f->mem + DATA_AT + 0x1000, i + 1, 50);
        uint16_t id = add_chain(f, out_in, 3, i % s->size, indirect);
        g_assert_false(virtqueue_is_empty(f->dev->vq));
        VirtqElement *e = virtqueue_pop(f->dev->vq, sizeof(*e));
        g_assert_nonnull(e);
        g_assert_cmpuint(e->out_num, ==, 2);
        g_assert_cmpuint(e->in_num, ==, 1);
        g_assert_cmpuint(e->out_size, ==, 150);
        g_assert_cmpuint(e->in_size, ==, 200);
        g_assert_cmpint(*(uint8_t *)e->out_sg[1].iov_base, ==, (uint8_t)(i + 1));
        memset(e->in_sg[0].iov_base, i + 2, 20);
        g_assert_true(virtqueue_is_empty(f->dev->vq));
        uint32_t got, len;
        g_assert_false(get_used(f, 3, &got, &len));
        virtqueue_push(f->dev->vq, e, 20);
        g_free(e);
        g_assert_true(get_used(f, indirect ? 1 : 3, &got, &len));
        g_assert_cmpuint(got, ==, id);
        g_assert_cmpuint(len, ==, 20);
        g_assert_cmpint(f->mem[DATA_AT + 0x2000], ==, (uint8_t)(i + 2));
    }
    g_assert_false(virtio_is_broken(f->vdev));
}

/* Several at once, used in another order; with IN_ORDER they come back in theirs. */
static void test_order(Fixture *f, gconstpointer data)
{
    const Setup *s = data;
    bool in_order = s->features & BIT64(VIRTIO_F_IN_ORDER);
    for (unsigned round = 0; round < 2 * s->size; round++) {
        uint16_t ids[4];
        VirtqElement *e[4];
        for (unsigned i = 0; i < 4; i++) {
            ids[i] = add_chain(f, &out_in[2], 1, i, false);
            e[i] = virtqueue_pop(f->dev->vq, sizeof(*e[i]));
            g_assert_nonnull(e[i]);
        }
        static const unsigned order[4] = { 2, 0, 3, 1 };
        for (unsigned i = 0; i < 4; i++) {
            virtqueue_push(f->dev->vq, e[order[i]], order[i] + 1);
        }
        for (unsigned i = 0; i < 4; i++) {
            uint32_t id = 0, len = 0;
            unsigned want = in_order ? i : order[i];
            g_assert_true(get_used(f, 1, &id, &len));
            g_assert_cmpuint(id, ==, ids[want]);
            g_assert_cmpuint(len, ==, want + 1);
            g_free(e[i]);
        }
    }
}

static void test_unpop(Fixture *f, gconstpointer data)
{
    for (unsigned i = 0; i < 40; i++) {
        add_chain(f, out_in, 3, 1, false);
        add_chain(f, &out_in[2], 1, 2, false);
        VirtqElement *a = virtqueue_pop(f->dev->vq, sizeof(*a));
        VirtqElement *b = virtqueue_pop(f->dev->vq, sizeof(*b));
        g_assert_cmpuint(b->out_num, ==, 0);
        virtqueue_unpop(f->dev->vq, b);
        virtqueue_unpop(f->dev->vq, a);
        g_free(a);
        g_free(b);
        a = virtqueue_pop(f->dev->vq, sizeof(*a));
        g_assert_cmpuint(a->out_num, ==, 2);
        b = virtqueue_pop(f->dev->vq, sizeof(*b));
        virtqueue_fill(f->dev->vq, a, 1);
        virtqueue_fill(f->dev->vq, b, 2);
        uint32_t id, len;
        g_assert_false(get_used(f, 3, &id, &len)); /* a batch shows when it is flushed */
        virtqueue_flush(f->dev->vq);
        g_assert_true(get_used(f, 3, &id, &len));
        g_assert_cmpuint(len, ==, 1);
        g_assert_true(get_used(f, 1, &id, &len));
        g_assert_cmpuint(len, ==, 2);
        g_free(a);
        g_free(b);
    }
}

static void use_one(Fixture *f)
{
    add_chain(f, &out_in[2], 1, 0, false);
    VirtqElement *e = virtqueue_pop(f->dev->vq, sizeof(*e));
    virtqueue_push(f->dev->vq, e, 1);
    g_free(e);
    virtio_notify(f->vdev, f->dev->vq);
}

/* The driver asks for an interrupt after k more; it gets one there and at no other time. */
static void test_event_idx(Fixture *f, gconstpointer data)
{
    unsigned used = 0;
    use_one(f); /* the first is always told: nothing is known yet */
    used++;
    g_assert_cmpuint(interrupts, ==, 1);
    for (unsigned k = 1; k < f->size; k = k * 2 + 1) {
        unsigned target = used + k - 1;
        if (f->packed) {
            uint16_t wrap = (target / f->size) % 2 == 0 ? 0x8000 : 0;
            st16_le(f->mem + DRIVER_AT, target % f->size | wrap);
            st16_le(f->mem + DRIVER_AT + 2, VIRTQ_EVENT_DESC);
        } else {
            st16_le(f->mem + DRIVER_AT + 4 + 2 * f->size, target);
        }
        interrupts = 0;
        for (unsigned i = 0; i < k; i++) {
            g_assert_cmpuint(interrupts, ==, 0);
            use_one(f);
            used++;
        }
        g_assert_cmpuint(interrupts, ==, 1);
    }
}

static void test_no_event_idx(Fixture *f, gconstpointer data)
{
    use_one(f);
    use_one(f);
    g_assert_cmpuint(interrupts, ==, 2);
    if (f->packed) {
        st16_le(f->mem + DRIVER_AT + 2, VIRTQ_EVENT_DISABLE);
    } else {
        st16_le(f->mem + DRIVER_AT, VIRTQ_AVAIL_F_NO_INTERRUPT);
    }
    use_one(f);
    g_assert_cmpuint(interrupts, ==, 2);
    virtqueue_set_notification(f->dev->vq, false);
    g_assert_cmpuint(ld16_le(f->mem + DEVICE_AT + (f->packed ? 2 : 0)), ==, 1);
    virtqueue_set_notification(f->dev->vq, true);
    g_assert_cmpuint(ld16_le(f->mem + DEVICE_AT + (f->packed ? 2 : 0)), ==, 0);
}

/* --- rings that break the rules --- */

static void expect_broken(Fixture *f)
{
    g_assert_null(virtqueue_pop(f->dev->vq, sizeof(VirtqElement)));
    g_assert_true(virtio_is_broken(f->vdev));
    machine_unlock();
    machine_lock();
    while (!(virtio_status(f->vdev) & VIRTIO_STATUS_NEEDS_RESET)) {
        event_loop_iterate(event_loop_main(), false);
    }
    /* Nothing more comes, and a reset makes it whole. */
    g_assert_null(virtqueue_pop(f->dev->vq, sizeof(VirtqElement)));
    virtio_set_status(f->vdev, 0);
    g_assert_false(virtio_is_broken(f->vdev));
    g_assert_cmpint(virtio_status(f->vdev), ==, 0);
}

static void test_bad_outside(Fixture *f, gconstpointer data)
{
    Seg s = { RAM_SIZE - 10, 100, true };
    add_chain(f, &s, 1, 0, false);
    expect_broken(f);
}

static void test_bad_wrap_around(Fixture *f, gconstpointer data)
{
    Seg s = { UINT64_MAX - 10, 100, false };
    add_chain(f, &s, 1, 0, false);
    expect_broken(f);
}

static void test_bad_zero(Fixture *f, gconstpointer data)
{
    Seg s = { DATA_AT, 0, false };
    add_chain(f, &s, 1, 0, false);
    expect_broken(f);
}

static void test_bad_order(Fixture *f, gconstpointer data)
{
    Seg s[2] = { { DATA_AT, 10, true }, { DATA_AT, 10, false } };
    add_chain(f, s, 2, 0, false);
    expect_broken(f);
}

static void test_bad_too_long(Fixture *f, gconstpointer data)
{
    Seg s[3] = { { 0, UINT32_MAX, false }, { 0, UINT32_MAX, false }, { 0, 2, false } };
    add_chain(f, s, 3, 0, false);
    expect_broken(f);
}

static void test_bad_loop(Fixture *f, gconstpointer data)
{
    for (unsigned i = 0; i < f->size; i++) {
        uint16_t flags = VIRTQ_DESC_F_NEXT;
        if (f->packed) {
            put_desc(f->mem + DESC_AT + 16 * i, DATA_AT, 1, 0, flags | VIRTQ_DESC_F_AVAIL);
        } else {
            put_desc(f->mem + DESC_AT + 16 * i, DATA_AT, 1, flags, (i + 1) % f->size);
        }
    }
    st16_le(f->mem + DRIVER_AT + 2, f->packed ? 0 : 1);
    expect_broken(f);
}

static void test_bad_indirect(Fixture *f, gconstpointer data)
{
    Seg s = { DATA_AT, 17, false }; /* no multiple of 16 */
    if (f->packed) {
        put_desc(f->mem + DESC_AT, s.addr, s.len, 0, VIRTQ_DESC_F_INDIRECT | VIRTQ_DESC_F_AVAIL);
    } else {
        put_desc(f->mem + DESC_AT, s.addr, s.len, VIRTQ_DESC_F_INDIRECT, 0);
        st16_le(f->mem + DRIVER_AT + 2, 1);
    }
    expect_broken(f);
}

static void test_bad_index(Fixture *f, gconstpointer data)
{
    st16_le(f->mem + DRIVER_AT + 2, f->size + 1);
    expect_broken(f);
}

static void test_bad_head(Fixture *f, gconstpointer data)
{
    st16_le(f->mem + DRIVER_AT + 4, f->size);
    st16_le(f->mem + DRIVER_AT + 2, 1);
    expect_broken(f);
}

/* --- the device around the rings --- */

/* A reset with a buffer in flight: its completion goes nowhere. */
static void test_reset_in_flight(Fixture *f, gconstpointer data)
{
    add_chain(f, &out_in[2], 1, 0, false);
    VirtqElement *e = virtqueue_pop(f->dev->vq, sizeof(*e));
    virtio_set_status(f->vdev, 0);
    uint8_t before[64];
    memcpy(before, f->mem + DEVICE_AT, sizeof(before));
    virtqueue_push(f->dev->vq, e, 4);
    g_free(e);
    g_assert_cmpmem(before, sizeof(before), f->mem + DEVICE_AT, sizeof(before));
    g_assert_null(virtqueue_pop(f->dev->vq, sizeof(*e)));
}

static void test_queue_reset(Fixture *f, gconstpointer data)
{
    add_chain(f, &out_in[2], 1, 0, false);
    virtio_queue_reset(f->vdev, 0);
    g_assert_false(virtio_queue_is_enabled(f->vdev, 0));
    g_assert_null(virtqueue_pop(f->dev->vq, sizeof(VirtqElement)));
    memset(f->mem + DESC_AT, 0, 0xa000 - DESC_AT);
    f->avail = f->used = f->next_desc = 0;
    f->avail_wrap = f->used_wrap = true;
    virtio_queue_set_size(f->vdev, 0, f->size);
    virtio_queue_set_rings(f->vdev, 0, DESC_AT, DRIVER_AT, DEVICE_AT);
    virtio_queue_enable(f->vdev, 0);
    use_one(f);
    uint32_t id, len;
    g_assert_true(get_used(f, 1, &id, &len));
}

static void test_negotiation(Fixture *f, gconstpointer data)
{
    VirtioDevice *vdev = f->vdev;
    /* After FEATURES_OK nothing changes. */
    g_assert_false(virtio_set_features(vdev, 0));
    g_assert_true(virtio_has_feature(vdev, VIRTIO_F_VERSION_1));
    virtio_set_status(vdev, 0);
    /* Not offered: FEATURES_OK does not stick. */
    g_assert_false(virtio_set_features(vdev, BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_SR_IOV)));
    virtio_set_status(vdev, 11);
    g_assert_cmpint(virtio_status(vdev), ==, 3);
    /* A modern driver must accept VERSION_1. */
    g_assert_true(virtio_set_features(vdev, 0));
    virtio_set_status(vdev, 11);
    g_assert_cmpint(virtio_status(vdev), ==, 3);
    g_assert_true(virtio_set_features(vdev, BIT64(VIRTIO_F_VERSION_1)));
    virtio_set_status(vdev, 11);
    g_assert_cmpint(virtio_status(vdev), ==, 11);
    /* Sizes: not 0, not above the maximum, a power of two. */
    virtio_queue_set_size(vdev, 0, 64);
    virtio_queue_set_size(vdev, 0, 0);
    virtio_queue_set_size(vdev, 0, 512);
    virtio_queue_set_size(vdev, 0, 100);
    g_assert_cmpuint(virtio_queue_size(vdev, 0), ==, 64);
    /* A kick before DRIVER_OK is not handled. */
    virtio_queue_set_rings(vdev, 0, DESC_AT, DRIVER_AT, DEVICE_AT);
    virtio_queue_enable(vdev, 0);
    unsigned kicks = f->dev->kicks;
    virtio_queue_kick(vdev, 0, 0);
    g_assert_cmpuint(f->dev->kicks, ==, kicks);
    virtio_set_status(vdev, 15);
    virtio_queue_kick(vdev, 0, 0);
    virtio_queue_kick(vdev, 1, 1); /* no such queue */
    g_assert_cmpuint(f->dev->kicks, ==, kicks + 1);
    /* Configuration: in range it is what was written, outside it is ones and ignored. */
    virtio_config_write(vdev, 4, 0x12345678, 4);
    g_assert_cmphex(virtio_config_read(vdev, 4, 4), ==, 0x12345678);
    g_assert_cmphex(virtio_config_read(vdev, 6, 4), ==, 0xffffffff);
    g_assert_cmphex(virtio_config_read(vdev, 8, 1), ==, 0xff);
    virtio_config_write(vdev, UINT64_MAX, 1, 4);
}

/* The rings' memory goes away and comes back. */
static void test_memory_map(Fixture *f, gconstpointer data)
{
    use_one(f);
    memory_region_set_enabled(&f->ram, false);
    g_assert_true(virtio_is_broken(f->vdev));
    g_assert_null(virtqueue_pop(f->dev->vq, sizeof(VirtqElement)));
    memory_region_set_enabled(&f->ram, true);
    virtio_set_status(f->vdev, 0);
    g_assert_false(virtio_is_broken(f->vdev));
}

/* vhost takes the queue over and hands it back further on. */
static void test_vhost(Fixture *f, gconstpointer data)
{
    use_one(f);
    VhostGuest g = virtio_vhost_guest(f->vdev);
    VhostGuestRing ring;
    g.ops->ring(g.opaque, 0, &ring);
    g_assert_true(ring.enabled);
    g_assert_cmpuint(ring.size, ==, f->size);
    g_assert_cmphex(ring.desc, ==, DESC_AT);
    g_assert_cmpuint(ring.desc_bytes, ==, 16 * f->size);
    g_assert_cmphex(g.ops->base(g.opaque, 0), ==, f->packed ? 0x80018001 : 1);
    g.ops->take(g.opaque, 0, 1);
    add_chain(f, &out_in[2], 1, 0, false);
    g_assert_null(virtqueue_pop(f->dev->vq, sizeof(VirtqElement)));
    g.ops->set_base(g.opaque, 0, f->packed ? 0x80028002 : 2);
    g.ops->release(g.opaque, 0, 1);
    g_assert_true(virtqueue_is_empty(f->dev->vq));
    add_chain(f, &out_in[2], 1, 0, false);
    VirtqElement *e = virtqueue_pop(f->dev->vq, sizeof(*e));
    g_assert_nonnull(e);
    virtqueue_detach(f->dev->vq, e);
    g_free(e);
    if (f->packed) {
        g.ops->set_base(g.opaque, 0, 0x7fff);
        g_assert_true(virtio_is_broken(f->vdev));
    }
}

#define PACKED BIT64(VIRTIO_F_RING_PACKED)
#define EVENT  BIT64(VIRTIO_F_EVENT_IDX)

static void add_both(const char *name, uint64_t features, unsigned split_size, unsigned packed_size,
                     void (*test)(Fixture *, gconstpointer))
{
    /* They outlive this function: the tests run later. */
    static Setup setups[64];
    static size_t used;
    g_assert_cmpuint(used + 2, <=, G_N_ELEMENTS(setups));
    Setup *split = &setups[used++], *packed = &setups[used++];
    *split = (Setup){ features, split_size };
    *packed = (Setup){ features | PACKED, packed_size };
    g_autofree char *a = g_strdup_printf("/virtqueue/split/%s", name);
    g_autofree char *b = g_strdup_printf("/virtqueue/packed/%s", name);
    g_test_add_vtable(a, sizeof(Fixture), split, (GTestFixtureFunc)set_up, (GTestFixtureFunc)test,
                      (GTestFixtureFunc)tear_down);
    g_test_add_vtable(b, sizeof(Fixture), packed, (GTestFixtureFunc)set_up, (GTestFixtureFunc)test,
                      (GTestFixtureFunc)tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    if (!event_loop_main_init(NULL)) {
        return 1;
    }
    const uint64_t indirect = BIT64(VIRTIO_F_INDIRECT_DESC);
    add_both("round-trips", 0, 16, 13, test_round_trips);
    add_both("round-trips-event", EVENT, 16, 256, test_round_trips);
    add_both("round-trips-indirect", EVENT | indirect, 4, 3, test_round_trips);
    add_both("order", 0, 8, 5, test_order);
    add_both("in-order", BIT64(VIRTIO_F_IN_ORDER), 8, 5, test_order);
    add_both("unpop", 0, 8, 7, test_unpop);
    add_both("unpop-in-order", BIT64(VIRTIO_F_IN_ORDER), 8, 7, test_unpop);
    add_both("event-idx", EVENT, 16, 15, test_event_idx);
    add_both("no-event-idx", 0, 16, 16, test_no_event_idx);
    add_both("bad/outside", 0, 16, 16, test_bad_outside);
    add_both("bad/wrap-around", 0, 16, 16, test_bad_wrap_around);
    add_both("bad/zero", 0, 16, 16, test_bad_zero);
    add_both("bad/order", 0, 16, 16, test_bad_order);
    add_both("bad/too-long", 0, 16, 16, test_bad_too_long);
    add_both("bad/loop", 0, 16, 16, test_bad_loop);
    add_both("bad/indirect-size", indirect, 16, 16, test_bad_indirect);
    add_both("bad/indirect-not-negotiated", 0, 16, 16, test_bad_indirect);
    add_both("reset-in-flight", 0, 16, 16, test_reset_in_flight);
    add_both("queue-reset", 0, 16, 16, test_queue_reset);
    add_both("memory-map", 0, 16, 16, test_memory_map);
    add_both("vhost", 0, 16, 16, test_vhost);
    static const Setup split = { 0, 16 };
    g_test_add("/virtqueue/split/bad/index", Fixture, &split, set_up, test_bad_index, tear_down);
    g_test_add("/virtqueue/split/bad/head", Fixture, &split, set_up, test_bad_head, tear_down);
    g_test_add("/virtio/negotiation", Fixture, &split, set_up, test_negotiation, tear_down);
    return g_test_run();
}
