/*
 * virtio balloon device (VIRTIO 1.3 section 5.5): inflate, deflate, statistics, free page hints for
 * migration, free page reporting.
 */
#include "devices/virtio/balloon/balloon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>

#include "base/iov.h"
#include "base/log.h"
#include "devices/virtio/transport.h"
#include "event/lock.h"
#include "memory/backend.h"
#include "object/iothread.h"
#include "schema/balloon.h"

/* 5.5.3 Feature bits */
enum {
    VIRTIO_BALLOON_F_MUST_TELL_HOST = 0,
    VIRTIO_BALLOON_F_STATS_VQ = 1,
    VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2,
    VIRTIO_BALLOON_F_FREE_PAGE_HINT = 3,
    VIRTIO_BALLOON_F_PAGE_POISON = 4,
    VIRTIO_BALLOON_F_REPORTING = 5,
};

/* 5.5.4 Device configuration */
enum {
    CONFIG_NUM_PAGES = 0,
    CONFIG_ACTUAL = 4,
    CONFIG_HINT_ID = 8,
    CONFIG_POISON = 12,
    CONFIG_SIZE = 16,
};

/* 5.5.6.5 */
enum { HINT_ID_STOP = 0, HINT_ID_DONE = 1, HINT_ID_FIRST = 0x80000000u };

enum { PAGE_BITS = 12, QUEUE_SIZE = 128, STAT_SIZE = 10 };

static VirtioBalloon *virtio_balloon_cast(void *obj)
{
    return (VirtioBalloon *)object_cast((Object *)obj, TYPE_VIRTIO_BALLOON);
}

/* --- giving pages back to the host --- */

static void partial_forget(VirtioBalloon *b)
{
    if (b->partial.block) {
        ram_block_unref(b->partial.block);
        g_free(b->partial.pages);
        memset(&b->partial, 0, sizeof(b->partial));
    }
}

/* The range's content is gone afterwards; it reads as zeros. */
static void ram_discard(RamBlock *block, uint64_t offset, uint64_t len)
{
    int r;
    if (block->readonly) {
        return;
    }
    if (block->fd >= 0 && block->shared) {
        r = fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      block->fd_offset + offset, len);
    } else {
        r = madvise(block->host + offset, len, MADV_DONTNEED);
    }
    if (r) {
        log_unimp("virtio-balloon: the host keeps 0x%" G_GINT64_MODIFIER "x bytes: %s\n", len,
                  strerror(errno));
        return;
    }
    ram_block_mark_dirty(block, offset, len);
}

/* A small page of a large one: the large one goes back when all of it was given. */
static void discard_small(VirtioBalloon *b, RamBlock *block, uint64_t offset)
{
    uint64_t page = block->page_size;
    uint64_t base = ALIGN_DOWN(offset, page);
    unsigned count = page >> PAGE_BITS;
    if (b->partial.block != block || b->partial.base != base) {
        partial_forget(b);
        ram_block_ref(block);
        b->partial.block = block;
        b->partial.base = base;
        b->partial.pages = g_new0(unsigned long, (count + 63) / 64);
    }
    unsigned n = (offset - base) >> PAGE_BITS;
    b->partial.pages[n / 64] |= 1ul << n % 64;
    for (unsigned i = 0; i < count; i++) {
        if (!(b->partial.pages[i / 64] & 1ul << i % 64)) {
            return;
        }
    }
    ram_discard(block, base, page);
    partial_forget(b);
}

static void inflate_page(VirtioBalloon *b, uint64_t addr)
{
    RCU_SECTION();
    MemoryMapping m = address_space_translate(b->parent.dma_as, addr, 1 << PAGE_BITS, true,
                                              MEMTXATTRS_UNSPECIFIED);
    if (!m.host || m.length < 1 << PAGE_BITS || m.readonly) {
        log_guest_error("virtio-balloon: 0x%" G_GINT64_MODIFIER "x is not memory\n", addr);
        return;
    }
    if (m.block->page_size > 1 << PAGE_BITS) {
        discard_small(b, m.block, m.ram_offset);
    } else {
        ram_discard(m.block, m.ram_offset, 1 << PAGE_BITS);
    }
}

static void balloon_handle_pages(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    VirtqElement *e;
    while ((e = virtqueue_pop(vq, sizeof(*e)))) {
        uint8_t raw[4];
        for (size_t at = 0; iov_to_buf(e->out_sg, e->out_num, at, raw, 4) == 4; at += 4) {
            /* Given pages are taken back by touching them; there is nothing to do here. */
            if (vq == b->inflate) {
                inflate_page(b, (uint64_t)ld32_le(raw) << PAGE_BITS);
            } else {
                partial_forget(b);
                break;
            }
        }
        virtqueue_push(vq, e, 0);
        g_free(e);
        virtio_notify(vdev, vq);
    }
}

/* 5.5.6.7: free pages, as buffers the device could write. */
static void balloon_handle_report(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    VirtqElement *e;
    while ((e = virtqueue_pop(vq, sizeof(*e)))) {
        /* A poisoned page must still hold its pattern when the guest takes it again. */
        bool keep = virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_POISON) && b->poison;
        for (unsigned i = 0; i < e->in_num && !keep; i++) {
            uint64_t offset;
            RamBlock *block = ram_block_from_host(e->in_sg[i].iov_base, &offset);
            uint64_t len = e->in_sg[i].iov_len;
            if (block && !((offset | len) & (block->page_size - 1))) {
                ram_discard(block, offset, len);
            }
        }
        virtqueue_push(vq, e, 0);
        g_free(e);
        virtio_notify(vdev, vq);
    }
}

/* --- statistics --- */

static void stats_request(void *opaque)
{
    VirtioBalloon *b = opaque;
    VirtqElement *e = g_steal_pointer(&b->stats_elem);
    if (e) {
        virtqueue_push(b->stats, e, 0);
        g_free(e);
        virtio_notify(&b->parent, b->stats);
    } else if (b->stats_interval) {
        timer_set(b->stats_timer, clock_now(CLK_VIRTUAL) + b->stats_interval * NS_PER_SECOND);
    }
}

static void stats_clear(VirtioBalloon *b)
{
    memset(b->stat, 0xff, sizeof(b->stat));
}

static void balloon_handle_stats(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    VirtqElement *e = virtqueue_pop(vq, sizeof(*e));
    if (!e) {
        return;
    }
    /* The driver keeps one buffer with us; a second one means it gave up the first. */
    if (b->stats_elem) {
        virtqueue_push(vq, b->stats_elem, 0);
        g_free(b->stats_elem);
        virtio_notify(vdev, vq);
    }
    stats_clear(b);
    uint8_t raw[STAT_SIZE];
    for (size_t at = 0; iov_to_buf(e->out_sg, e->out_num, at, raw, sizeof(raw)) == sizeof(raw);
         at += sizeof(raw)) {
        uint16_t tag = ld16_le(raw);
        if (tag < BALLOON_STATS) {
            b->stat[tag] = ld64_le(raw + 2);
        }
    }
    b->stats_elem = e;
    b->stats_time = clock_now(CLK_HOST) / NS_PER_SECOND;
    if (b->stats_interval) {
        timer_set(b->stats_timer, clock_now(CLK_VIRTUAL) + b->stats_interval * NS_PER_SECOND);
    }
}

static const char *const stat_names[BALLOON_STATS] = {
    "stat-swap-in",      "stat-swap-out",     "stat-major-faults",     "stat-minor-faults",
    "stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
    "stat-htlb-pgalloc", "stat-htlb-pgfail",  "stat-oom-kills",        "stat-alloc-stalls",
    "stat-async-scans",  "stat-direct-scans", "stat-async-reclaims",   "stat-direct-reclaims",
};

static json_t *get_stats(Object *obj, const char *name, void *opaque, Error **errp)
{
    VirtioBalloon *b = virtio_balloon_cast(obj);
    json_t *stats = json_object();
    for (unsigned i = 0; i < BALLOON_STATS; i++) {
        json_object_set_new(stats, stat_names[i], json_integer(b->stat[i]));
    }
    return json_pack("{s:I, s:o}", "last-update", (json_int_t)b->stats_time, "stats", stats);
}

static json_t *get_interval(Object *obj, const char *name, void *opaque, Error **errp)
{
    return json_integer(virtio_balloon_cast(obj)->stats_interval);
}

static bool set_interval(Object *obj, const char *name, json_t *value, ValueMode mode, void *opaque,
                         Error **errp)
{
    VirtioBalloon *b = virtio_balloon_cast(obj);
    int64_t seconds;
    if (!value_parse(&value_type_int, &seconds, value, mode, errp)) {
        return false;
    }
    if (seconds < 0 || seconds > UINT32_MAX) {
        error_set(
            errp,
            "guest-stats-polling-interval must be between 0 and %u seconds, got %" G_GINT64_FORMAT,
            UINT32_MAX, seconds);
        return false;
    }
    b->stats_interval = seconds;
    if (!b->stats_timer) {
        return true; /* not realized yet */
    }
    timer_cancel(b->stats_timer);
    if (seconds) {
        stats_request(b);
    }
    return true;
}

/* --- free page hints: pages that migration needn't send --- */

static void hint_take(VirtioBalloon *b, VirtqElement *e)
{
    uint8_t raw[4];
    if (iov_to_buf(e->out_sg, e->out_num, 0, raw, 4) == 4 && e->out_num) {
        g_mutex_lock(&b->hint_lock);
        uint32_t id = ld32_le(raw);
        b->hint_active = b->hint_state == HINT_REQUESTED && id == b->hint_id;
        if (b->hint_active) {
            b->hint_state = HINT_RUNNING;
        } else if (id == HINT_ID_STOP && b->hint_state == HINT_RUNNING) {
            b->hint_state = HINT_DONE;
        }
        g_mutex_unlock(&b->hint_lock);
    }
    for (unsigned i = 0; i < e->in_num; i++) {
        uint64_t offset;
        RamBlock *block = ram_block_from_host(e->in_sg[i].iov_base, &offset);
        /* Under the lock: no hint lands while the bitmap is being collected. */
        g_mutex_lock(&b->hint_lock);
        if (block && b->hint_state == HINT_RUNNING && !b->hint_stopped) {
            uint64_t end = ALIGN_DOWN(offset + e->in_sg[i].iov_len, (uint64_t)1 << PAGE_BITS);
            uint64_t start = ALIGN_UP(offset, (uint64_t)1 << PAGE_BITS);
            if (start < end) {
                (void)ram_block_clear_dirty(block, start, end - start, DIRTY_MIGRATION);
            }
        }
        g_mutex_unlock(&b->hint_lock);
    }
}

static void balloon_handle_hint(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    VirtqElement *e;
    bool any = false;
    while ((e = virtqueue_pop(vq, sizeof(*e)))) {
        hint_take(b, e);
        virtqueue_push(vq, e, 0);
        g_free(e);
        any = true;
    }
    if (any) {
        virtio_notify(vdev, vq);
    }
}

static VirtioBalloon *balloon_of_listener(MemoryListener *l)
{
    return CONTAINER_OF(l, VirtioBalloon, hint_listener);
}

static void hint_start(VirtioBalloon *b)
{
    if (!virtio_has_feature(&b->parent, VIRTIO_BALLOON_F_FREE_PAGE_HINT) ||
        !virtio_is_running(&b->parent)) {
        return;
    }
    /* A poisoned page must arrive with its pattern. */
    if (virtio_has_feature(&b->parent, VIRTIO_BALLOON_F_PAGE_POISON) && b->poison) {
        return;
    }
    g_mutex_lock(&b->hint_lock);
    b->hint_id =
        b->hint_id == UINT32_MAX || b->hint_id < HINT_ID_FIRST ? HINT_ID_FIRST : b->hint_id + 1;
    b->hint_state = HINT_REQUESTED;
    b->hint_stopped = false;
    g_mutex_unlock(&b->hint_lock);
    virtio_notify_config(&b->parent);
}

static bool hint_log_start(MemoryListener *l, Error **errp)
{
    hint_start(balloon_of_listener(l));
    return true;
}

/* From here on a page's bit means: send it. */
static void hint_log_sync(MemoryListener *l, const MemorySection *s)
{
    VirtioBalloon *b = balloon_of_listener(l);
    g_mutex_lock(&b->hint_lock);
    b->hint_stopped = true;
    g_mutex_unlock(&b->hint_lock);
}

static void hint_log_stop(MemoryListener *l)
{
    VirtioBalloon *b = balloon_of_listener(l);
    g_mutex_lock(&b->hint_lock);
    bool was = b->hint_state != HINT_IDLE;
    b->hint_state = HINT_IDLE;
    g_mutex_unlock(&b->hint_lock);
    if (was) {
        virtio_notify_config(&b->parent);
    }
}

static uint32_t hint_config(VirtioBalloon *b)
{
    g_mutex_lock(&b->hint_lock);
    uint32_t id = b->hint_state == HINT_IDLE   ? HINT_ID_DONE
                  : b->hint_state == HINT_DONE ? HINT_ID_STOP
                                               : b->hint_id;
    g_mutex_unlock(&b->hint_lock);
    return id;
}

static void balloon_ioeventfd_start(VirtioDevice *vdev)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    VirtioBusClass *t = virtio_transport(vdev);
    if (b->hint && b->iothread && t->set_guest_notifiers &&
        t->set_guest_notifiers(virtio_proxy(vdev), vdev->queue_count, true, NULL)) {
        virtqueue_set_loop(b->hint, iothread_loop(iothread_cast(b->iothread)));
    }
}

static void balloon_ioeventfd_stop(VirtioDevice *vdev)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    if (vdev->use_guest_notifiers) {
        virtqueue_set_loop(b->hint, NULL);
        (void)virtio_transport(vdev)->set_guest_notifiers(virtio_proxy(vdev), vdev->queue_count,
                                                          false, NULL);
    }
}

/* --- configuration --- */

static bool sum_backend(Object *obj, void *opaque)
{
    MemoryBackend *m = (MemoryBackend *)object_dynamic_cast(obj, TYPE_MEMORY_BACKEND);
    if (m && m->mapped) {
        *(uint64_t *)opaque += m->size;
    }
    return true;
}

uint64_t virtio_balloon_ram_size(void)
{
    uint64_t size = 0;
    object_foreach_descendant(object_root(), sum_backend, &size);
    return size;
}

static uint64_t balloon_actual(const VirtioBalloon *b)
{
    uint64_t ram = virtio_balloon_ram_size();
    uint64_t given = (uint64_t)b->actual << PAGE_BITS;
    return given < ram ? ram - given : 0;
}

static void balloon_get_config(VirtioDevice *vdev, uint8_t *c)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    st32_le(c + CONFIG_NUM_PAGES, b->target);
    st32_le(c + CONFIG_ACTUAL, b->actual);
    st32_le(c + CONFIG_HINT_ID, hint_config(b));
    st32_le(c + CONFIG_POISON, b->poison);
}

static void balloon_set_config(VirtioDevice *vdev, const uint8_t *c)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    uint32_t old = b->actual;
    b->actual = ld32_le(c + CONFIG_ACTUAL);
    if (virtio_has_feature(vdev, VIRTIO_BALLOON_F_PAGE_POISON)) {
        b->poison = ld32_le(c + CONFIG_POISON);
    }
    if (b->actual != old) {
        qmp_event_balloon_change(balloon_actual(b));
    }
}

/* --- commands --- */

typedef struct BalloonSearch {
    VirtioBalloon *found, *except;
} BalloonSearch;

static bool balloon_search(Object *obj, void *opaque)
{
    BalloonSearch *s = opaque;
    if (obj != (Object *)s->except && object_dynamic_cast(obj, TYPE_VIRTIO_BALLOON) &&
        device_cast(obj)->realized) {
        s->found = virtio_balloon_cast(obj);
        return false;
    }
    return true;
}

/* The realized balloon other than `except` (NULL: none). It is found in the tree, so one that never
 * came to life leaves nothing behind. */
static VirtioBalloon *balloon_find(VirtioBalloon *except)
{
    BalloonSearch s = { .except = except };
    object_foreach_descendant(object_root(), balloon_search, &s);
    return s.found;
}

static VirtioBalloon *balloon_for_command(Error **errp)
{
    VirtioBalloon *b = balloon_find(NULL);
    if (!b) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE,
                        "No balloon device has been activated");
    }
    return b;
}

bool qmp_balloon(const BalloonArgs *args, Error **errp)
{
    VirtioBalloon *b = balloon_for_command(errp);
    if (!b) {
        return false;
    }
    if (args->value <= 0) {
        error_set(errp, "Parameter 'value' expects a size, got %" G_GINT64_FORMAT, args->value);
        return false;
    }
    uint64_t ram = virtio_balloon_ram_size();
    uint64_t want = MIN_OF((uint64_t)args->value, ram);
    b->target = (ram - want) >> PAGE_BITS;
    virtio_notify_config(&b->parent);
    return true;
}

bool qmp_query_balloon(BalloonInfo *ret, Error **errp)
{
    VirtioBalloon *b = balloon_for_command(errp);
    if (b) {
        ret->actual = balloon_actual(b);
    }
    return b;
}

/* --- life --- */

static void balloon_give_up_stats(VirtioBalloon *b)
{
    VirtqElement *e = g_steal_pointer(&b->stats_elem);
    if (e) {
        virtqueue_detach(b->stats, e);
        g_free(e);
    }
}

static void balloon_reset(VirtioDevice *vdev)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    balloon_give_up_stats(b);
    timer_cancel(b->stats_timer);
    stats_clear(b);
    partial_forget(b);
    b->poison = 0;
    b->actual = 0;
    g_mutex_lock(&b->hint_lock);
    b->hint_state = HINT_IDLE;
    b->hint_active = false;
    g_mutex_unlock(&b->hint_lock);
}

static void balloon_queue_reset(VirtioDevice *vdev, Virtqueue *vq)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    if (vq == b->stats) {
        balloon_give_up_stats(b);
    }
}

static void balloon_set_status(VirtioDevice *vdev, uint8_t status)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    if (virtio_is_running(vdev) && b->stats && virtqueue_is_ready(b->stats) && !b->stats_elem) {
        balloon_handle_stats(vdev, b->stats);
    }
}

static bool balloon_realize(VirtioDevice *vdev, Error **errp)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    if (balloon_find(b)) {
        error_set(errp, "there is a balloon already; a machine has at most one");
        return false;
    }
    if (b->iothread && !virtio_host_has_feature(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT)) {
        error_set(errp, "iothread is for free page hints; set free-page-hint=on too");
        return false;
    }
    virtio_init(vdev, "virtio-balloon", VIRTIO_ID_BALLOON, CONFIG_SIZE);
    g_mutex_init(&b->hint_lock);
    b->inflate = virtio_add_queue(vdev, QUEUE_SIZE, balloon_handle_pages);
    b->deflate = virtio_add_queue(vdev, QUEUE_SIZE, balloon_handle_pages);
    b->stats = virtio_add_queue(vdev, QUEUE_SIZE, balloon_handle_stats);
    b->hint = b->report = NULL;
    if (virtio_host_has_feature(vdev, VIRTIO_BALLOON_F_FREE_PAGE_HINT)) {
        b->hint = virtio_add_queue(vdev, QUEUE_SIZE, balloon_handle_hint);
    }
    if (virtio_host_has_feature(vdev, VIRTIO_BALLOON_F_REPORTING)) {
        b->report = virtio_add_queue(vdev, QUEUE_SIZE, balloon_handle_report);
    }
    stats_clear(b);
    b->stats_timer = timer_new(event_loop_main(), CLK_VIRTUAL, stats_request, b);
    b->hint_state = HINT_IDLE;
    b->hint_listener = (MemoryListener){
        .name = "virtio-balloon",
        .priority = 30,
        .log_global_start = hint_log_start,
        .log_global_stop = hint_log_stop,
        .log_sync = hint_log_sync,
    };
    memory_listener_add(&b->hint_listener, address_space_memory());
    return true;
}

static void balloon_unrealize(VirtioDevice *vdev)
{
    VirtioBalloon *b = virtio_balloon_cast(vdev);
    memory_listener_del(&b->hint_listener);
    balloon_give_up_stats(b);
    timer_free(g_steal_pointer(&b->stats_timer));
    partial_forget(b);
    virtio_finish(vdev);
    g_mutex_clear(&b->hint_lock);
}

static void balloon_instance_init(Object *obj)
{
    static const DynamicProperty stats = {
        .type_name = "guest statistics",
        .get = get_stats,
        .help = "the guest's last statistics",
    };
    static const DynamicProperty interval = {
        .type_name = "int",
        .get = get_interval,
        .set = set_interval,
        .help = "seconds between questions for statistics; 0: don't ask",
    };
    object_add_property(obj, "guest-stats", &stats);
    object_add_property(obj, "guest-stats-polling-interval", &interval);
}

static uint64_t balloon_get_features(VirtioDevice *vdev, uint64_t wanted, Error **errp)
{
    return wanted | BIT64(VIRTIO_BALLOON_F_STATS_VQ);
}

/* --- state --- */

static bool balloon_pre_load(void *opaque, Error **errp)
{
    balloon_give_up_stats(opaque);
    return true;
}

/* The driver's statistics buffer was with the device: it is taken again from the ring. */
static bool balloon_post_load(void *opaque, int version, Error **errp)
{
    VirtioBalloon *b = opaque;
    if (b->stats && b->stats_held) {
        virtqueue_rewind_one(b->stats);
    }
    return true;
}

static bool balloon_pre_save(void *opaque, Error **errp)
{
    VirtioBalloon *b = opaque;
    b->stats_held = b->stats_elem != NULL;
    return true;
}

static const VmStateField balloon_fields[] = { VMSTATE_VIRTIO(VirtioBalloon),
                                               VMSTATE_UINT32(target, VirtioBalloon),
                                               VMSTATE_UINT32(actual, VirtioBalloon),
                                               VMSTATE_UINT32(poison, VirtioBalloon),
                                               VMSTATE_UINT32(hint_id, VirtioBalloon),
                                               VMSTATE_UINT_ARRAY(stat, VirtioBalloon),
                                               VMSTATE_INT64(stats_time, VirtioBalloon),
                                               VMSTATE_BOOL(stats_held, VirtioBalloon),
                                               {} };

static const VmState balloon_vmstate = {
    .name = "virtio-balloon",
    .version = 1,
    .minimum_version = 1,
    .pre_save = balloon_pre_save,
    .pre_load = balloon_pre_load,
    .post_load = balloon_post_load,
    .fields = balloon_fields,
};

/* --- the type --- */

static const Field balloon_properties[] = {
    PROP_BIT("deflate-on-oom", VirtioBalloon, parent.host_features, VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
             false, .help = "the guest may take pages back rather than run out of memory"),
    PROP_BIT("free-page-hint", VirtioBalloon, parent.host_features, VIRTIO_BALLOON_F_FREE_PAGE_HINT,
             false, .help = "migration leaves out pages that the guest says are free"),
    PROP_BIT("page-poison", VirtioBalloon, parent.host_features, VIRTIO_BALLOON_F_PAGE_POISON, true,
             .help = "respect the pattern that the guest fills free pages with"),
    PROP_BIT("free-page-reporting", VirtioBalloon, parent.host_features, VIRTIO_BALLOON_F_REPORTING,
             false, .help = "free pages go back to the host at once"),
    PROP_LINK("iothread", VirtioBalloon, iothread, TYPE_IOTHREAD,
              .help = "thread that handles free page hints"),
    VIRTIO_COMMON_PROPERTIES(VirtioBalloon),
    {}
};

static void balloon_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    VirtioDeviceClass *k = virtio_device_class_cast(klass);
    dc->category = DEVICE_CATEGORY_MISC;
    dc->vmstate = &balloon_vmstate;
    k->realize = balloon_realize;
    k->unrealize = balloon_unrealize;
    k->get_features = balloon_get_features;
    k->get_config = balloon_get_config;
    k->set_config = balloon_set_config;
    k->set_status = balloon_set_status;
    k->reset = balloon_reset;
    k->queue_reset = balloon_queue_reset;
    k->ioeventfd_start = balloon_ioeventfd_start;
    k->ioeventfd_stop = balloon_ioeventfd_stop;
}

static const TypeInfo balloon_info = {
    .name = TYPE_VIRTIO_BALLOON,
    .parent = TYPE_VIRTIO_DEVICE,
    .help = "virtio memory balloon",
    .instance_size = sizeof(VirtioBalloon),
    .properties = balloon_properties,
    .class_init = balloon_class_init,
    .instance_init = balloon_instance_init,
};
OBJECT_TYPE(virtio_balloon, balloon_info)
