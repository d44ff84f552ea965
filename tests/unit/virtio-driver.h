/*
 * A small virtio driver over PCI, for tests in one process: legacy and modern registers, split and
 * packed rings, messages and the pin. It stands on the bench of test-pci.h and knows of devices
 * only what the specification says.
 */
#ifndef TESTS_UNIT_VIRTIO_DRIVER_H
#define TESTS_UNIT_VIRTIO_DRIVER_H

#include "test-pci.h"

#include "devices/virtio/spec.h"

enum {
    VD_BAR0 = 0xc000,     /* I/O */
    VD_BAR1 = 0xe0000000, /* MSI-X */
    VD_BAR2 = 0xd000,     /* I/O */
    VD_RAM = 0x100000,
    VD_RAM_SIZE = 0x800000,
    VD_QUEUE_BYTES = 0x20000,
    VD_DATA = 0x500000, /* in VD_RAM's region, guest-physical */
    VD_QUEUE_SIZE = 64,
};
#define VD_BAR4 UINT64_C(0xe1000000)

typedef struct VdMode {
    const char *name;
    const char *options; /* of the device */
    bool modern, packed, msix;
    uint64_t features; /* wanted besides VERSION_1 and RING_PACKED */
} VdMode;

typedef struct VdQueue {
    unsigned index, size;
    uint64_t desc, driver, device; /* guest-physical */
    uint16_t avail, used, next_desc;
    bool avail_wrap, used_wrap;
    uint64_t doorbell; /* modern: where to kick */
} VdQueue;

typedef struct Vd {
    World *w;
    PciDevice *dev;
    const VdMode *mode;
    MemoryRegion ram;
    uint8_t *mem; /* host address of VD_RAM */
    uint64_t common, isr, config, notify;
    uint32_t notify_step;
    uint64_t features;
    VdQueue queues[8];
} Vd;

typedef struct VdSeg {
    uint64_t addr;
    uint32_t len;
    bool write;
} VdSeg;

static UNUSED uint8_t *vd_at(Vd *d, uint64_t addr)
{
    return d->mem + (addr - VD_RAM);
}

/* --- registers --- */

static UNUSED void vd_set_status(Vd *d, uint8_t status)
{
    if (d->mode->modern) {
        memory_out(d->common + 20, 1, status);
    } else {
        port_out(VD_BAR0 + 18, 1, status);
    }
}

static UNUSED uint8_t vd_status(Vd *d)
{
    return d->mode->modern ? memory_in(d->common + 20, 1) : port_in(VD_BAR0 + 18, 1);
}

static UNUSED uint8_t vd_isr(Vd *d)
{
    return d->mode->modern ? memory_in(d->isr, 1) : port_in(VD_BAR0 + 19, 1);
}

static UNUSED uint64_t vd_config(Vd *d, unsigned offset, unsigned size)
{
    if (d->mode->modern) {
        return size == 8
                   ? memory_in(d->config + offset, 4) | memory_in(d->config + offset + 4, 4) << 32
                   : memory_in(d->config + offset, size);
    }
    unsigned base = VD_BAR0 + (d->mode->msix ? 24 : 20) + offset;
    return size == 8 ? port_in(base, 4) | (uint64_t)port_in(base + 4, 4) << 32
                     : port_in(base, size);
}

static UNUSED void vd_config_out(Vd *d, unsigned offset, unsigned size, uint32_t value)
{
    if (d->mode->modern) {
        memory_out(d->config + offset, size, value);
    } else {
        port_out(VD_BAR0 + (d->mode->msix ? 24 : 20) + offset, size, value);
    }
}

static UNUSED uint64_t vd_offered(Vd *d)
{
    if (!d->mode->modern) {
        return port_in(VD_BAR0, 4);
    }
    memory_out(d->common, 4, 0);
    uint64_t low = memory_in(d->common + 4, 4);
    memory_out(d->common, 4, 1);
    return low | memory_in(d->common + 4, 4) << 32;
}

static UNUSED void vd_accept(Vd *d, uint64_t features)
{
    d->features = features;
    if (!d->mode->modern) {
        port_out(VD_BAR0 + 4, 4, features);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        memory_out(d->common + 8, 4, i);
        memory_out(d->common + 12, 4, features >> (32 * i) & UINT32_MAX);
    }
}

/* --- finding it --- */

static UNUSED void vd_read_caps(Vd *d)
{
    const uint8_t *c = d->dev->config;
    for (uint8_t at = c[0x34]; at; at = c[at + 1]) {
        if (c[at] != PCI_CAP_ID_VENDOR) {
            continue;
        }
        g_assert_cmpuint(c[at + 2], >=, 16);
        uint64_t bar = c[at + 4] == 4 ? VD_BAR4 : 0;
        uint64_t where = bar + ld32_le(c + at + 8);
        switch (c[at + 3]) {
        case 1:
            d->common = where;
            break;
        case 2:
            if (bar) {
                d->notify = where;
                d->notify_step = ld32_le(c + at + 16);
            }
            break;
        case 3:
            d->isr = where;
            break;
        case 4:
            d->config = where;
            break;
        }
    }
    g_assert_true(d->common && d->isr && d->config && d->notify);
}

static UNUSED void vd_enable_msix(Vd *d)
{
    unsigned vectors = msix_vectors(d->dev);
    for (unsigned i = 0; i < vectors; i++) {
        memory_out(VD_BAR1 + 16 * i, 4, MSI_BASE);
        memory_out(VD_BAR1 + 16 * i + 4, 4, 0);
        memory_out(VD_BAR1 + 16 * i + 8, 4, 0x40 + i);
        memory_out(VD_BAR1 + 16 * i + 12, 4, 0);
    }
    config_out(0, d->dev->devfn, d->dev->msix_cap + 2, 2, 0x8000);
    g_assert_true(msix_enabled(d->dev));
}

/* Make the device, map it, reset it, negotiate: up to FEATURES_OK. */
static UNUSED void vd_up(Vd *d, World *w, const VdMode *mode, const char *type, const char *options,
                         uint64_t device_features)
{
    *d = (Vd){ .w = w, .mode = mode };
    g_assert_true(memory_region_init_ram(&d->ram, NULL, "more", VD_RAM_SIZE, &error_abort));
    memory_region_add(memory_root(), VD_RAM, &d->ram);
    d->mem = memory_region_ram_ptr(&d->ram);
    g_autofree char *all = g_strdup_printf("%s%s%s", mode->options, *options ? "," : "", options);
    d->dev = world_add(w->root, type, all[0] == ',' ? all + 1 : all);
    unsigned devfn = d->dev->devfn;
    config_out(0, devfn, 0x10, 4, VD_BAR0);
    config_out(0, devfn, 0x14, 4, VD_BAR1);
    config_out(0, devfn, 0x18, 4, VD_BAR2);
    config_out(0, devfn, 0x20, 4, (uint32_t)VD_BAR4);
    config_out(0, devfn, 0x24, 4, VD_BAR4 >> 32);
    config_out(0, devfn, 4, 2, 7);
    if (mode->modern) {
        vd_read_caps(d);
    }
    if (mode->msix) {
        vd_enable_msix(d);
    }
    vd_set_status(d, 0);
    g_assert_cmpint(vd_status(d), ==, 0);
    vd_set_status(d, 1);
    vd_set_status(d, 3);
    uint64_t want = device_features | mode->features;
    want |= mode->modern ? BIT64(VIRTIO_F_VERSION_1) : 0;
    want |= mode->packed ? BIT64(VIRTIO_F_RING_PACKED) : 0;
    uint64_t offered = vd_offered(d);
    g_assert_cmphex(want & ~offered, ==, 0);
    vd_accept(d, want);
    if (mode->modern) {
        vd_set_status(d, 11);
        g_assert_cmpint(vd_status(d), ==, 11);
    }
}

/* Queue i with message vector i + 1. */
static UNUSED VdQueue *vd_queue(Vd *d, unsigned index)
{
    VdQueue *q = &d->queues[index];
    uint64_t base = VD_RAM + (uint64_t)index * VD_QUEUE_BYTES;
    memset(vd_at(d, base), 0, VD_QUEUE_BYTES);
    *q = (VdQueue){ .index = index, .avail_wrap = true, .used_wrap = true };
    if (d->mode->modern) {
        memory_out(d->common + 22, 2, index);
        unsigned max = memory_in(d->common + 24, 2);
        g_assert_cmpuint(max, >, 0);
        q->size = MIN_OF(max, VD_QUEUE_SIZE);
        memory_out(d->common + 24, 2, q->size);
        q->desc = base;
        q->driver = base + 0x8000;
        q->device = base + 0x10000;
        uint64_t areas[3] = { q->desc, q->driver, q->device };
        for (unsigned i = 0; i < 3; i++) {
            memory_out(d->common + 32 + 8 * i, 4, (uint32_t)areas[i]);
            memory_out(d->common + 36 + 8 * i, 4, areas[i] >> 32);
        }
        if (d->mode->msix) {
            memory_out(d->common + 26, 2, index + 1);
            g_assert_cmpuint(memory_in(d->common + 26, 2), ==, index + 1);
        }
        q->doorbell = d->notify + memory_in(d->common + 30, 2) * d->notify_step;
        memory_out(d->common + 28, 2, 1);
        g_assert_cmpuint(memory_in(d->common + 28, 2), ==, 1);
        return q;
    }
    port_out(VD_BAR0 + 14, 2, index);
    q->size = port_in(VD_BAR0 + 12, 2);
    g_assert_cmpuint(q->size, >, 0);
    if (d->mode->msix) {
        port_out(VD_BAR0 + 22, 2, index + 1);
        g_assert_cmpuint(port_in(VD_BAR0 + 22, 2), ==, index + 1);
    }
    port_out(VD_BAR0 + 8, 4, base >> 12);
    q->desc = base;
    q->driver = base + 16 * q->size;
    q->device = ALIGN_UP(q->driver + 4 + 2 * (q->size + 1), (uint64_t)4096);
    return q;
}

static UNUSED void vd_ready(Vd *d)
{
    vd_set_status(d, d->mode->modern ? 15 : 7);
}

/* --- rings --- */

static UNUSED void vd_put_desc(Vd *d, uint64_t at, uint64_t addr, uint32_t len, uint16_t c,
                               uint16_t e)
{
    uint8_t *p = vd_at(d, at);
    st64_le(p, addr);
    st32_le(p + 8, len);
    st16_le(p + 12, c);
    st16_le(p + 14, e);
}

/* With the event index: interrupt at the next used buffer. */
static UNUSED void vd_arm(Vd *d, VdQueue *q)
{
    if (!(d->features & BIT64(VIRTIO_F_EVENT_IDX))) {
        return;
    }
    if (d->mode->packed) {
        st16_le(vd_at(d, q->driver), q->used | (q->used_wrap ? 0x8000 : 0));
        st16_le(vd_at(d, q->driver + 2), VIRTQ_EVENT_DESC);
    } else {
        st16_le(vd_at(d, q->driver + 4 + 2 * q->size), q->used);
    }
}

static UNUSED void vd_add(Vd *d, VdQueue *q, const VdSeg *segs, unsigned n)
{
    vd_arm(d, q);
    if (!d->mode->packed) {
        uint16_t head = q->next_desc;
        for (unsigned i = 0; i < n; i++) {
            unsigned at = q->next_desc;
            q->next_desc = (q->next_desc + 1) % q->size;
            vd_put_desc(d, q->desc + 16 * at, segs[i].addr, segs[i].len,
                        (segs[i].write ? VIRTQ_DESC_F_WRITE : 0) |
                            (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0),
                        q->next_desc);
        }
        st16_le(vd_at(d, q->driver + 4 + 2 * (q->avail % q->size)), head);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        st16_le(vd_at(d, q->driver + 2), ++q->avail);
        return;
    }
    uint16_t first = 0;
    uint64_t first_at = 0;
    for (unsigned i = 0; i < n; i++) {
        uint16_t flags = (segs[i].write ? VIRTQ_DESC_F_WRITE : 0) |
                         (i + 1 < n ? VIRTQ_DESC_F_NEXT : 0) |
                         (q->avail_wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED);
        uint64_t at = q->desc + 16 * q->avail;
        if (i == 0) {
            first = flags;
            first_at = at;
            flags ^= VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED; /* not yet */
        }
        vd_put_desc(d, at, segs[i].addr, segs[i].len, 1, flags);
        if (++q->avail == q->size) {
            q->avail = 0;
            q->avail_wrap = !q->avail_wrap;
        }
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    st16_le(vd_at(d, first_at + 14), first);
}

static UNUSED void vd_kick(Vd *d, VdQueue *q)
{
    if (!d->mode->modern) {
        port_out(VD_BAR0 + 16, 2, q->index);
    } else if (d->features & BIT64(VIRTIO_F_NOTIFICATION_DATA)) {
        uint32_t next = d->mode->packed ? q->avail | (q->avail_wrap ? 0x8000u : 0) : q->avail;
        memory_out(q->doorbell, 4, q->index | next << 16);
    } else {
        memory_out(q->doorbell, 2, q->index);
    }
}

/* slots: descriptors that the buffer took. */
static UNUSED bool vd_used(Vd *d, VdQueue *q, unsigned slots, uint32_t *len)
{
    if (!d->mode->packed) {
        if (ld16_le(vd_at(d, q->device + 2)) == q->used) {
            return false;
        }
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        *len = ld32_le(vd_at(d, q->device + 4 + 8 * (q->used++ % q->size) + 4));
        return true;
    }
    uint8_t *p = vd_at(d, q->desc + 16 * q->used);
    uint16_t flags = ld16_le(p + 14);
    if (!!(flags & VIRTQ_DESC_F_USED) != q->used_wrap ||
        !!(flags & VIRTQ_DESC_F_AVAIL) != q->used_wrap) {
        return false;
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *len = flags & VIRTQ_DESC_F_WRITE ? ld32_le(p + 8) : 0;
    q->used += slots;
    if (q->used >= q->size) {
        q->used -= q->size;
        q->used_wrap = !q->used_wrap;
    }
    return true;
}

static UNUSED void vd_turn(void)
{
    event_loop_iterate(event_loop_main(), false);
}

/* Run the event loop until the queue has a used buffer; returns its length. */
static UNUSED uint32_t vd_wait(Vd *d, VdQueue *q, unsigned slots)
{
    uint32_t len;
    int64_t end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (!vd_used(d, q, slots, &len)) {
        vd_turn();
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    return len;
}

/* The interrupt of a queue has come: takes it. */
static UNUSED void vd_expect_interrupt(Vd *d, VdQueue *q)
{
    int64_t end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    if (d->mode->msix) {
        g_autofree char *want = g_strdup_printf("%x=%x ", MSI_BASE - MSI_BASE, 0x40 + q->index + 1);
        while (!strstr(d->w->messages->str, want)) {
            vd_turn();
            g_assert_cmpint(g_get_monotonic_time(), <, end);
        }
        g_string_truncate(d->w->messages, 0);
        return;
    }
    int line = pci_swizzle(PCI_SLOT(d->dev->devfn), 0);
    while (!d->w->host->lines[line]) {
        vd_turn();
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    g_assert_cmpint(vd_isr(d) & 1, ==, 1);
    g_assert_cmpint(d->w->host->lines[line], ==, 0); /* reading it lowers the line */
}

static UNUSED void vd_down(Vd *d)
{
    device_destroy(&d->dev->parent);
    memory_region_finish(&d->ram);
}

#endif
