#include "vhost/vhost.h"

#include <inttypes.h>
#include <string.h>

#include "base/report.h"
#include "base/rcu.h"
#include "trace/vhost-events.h"
#include "vhost/iotlb.h"

struct VhostDevice {
    VhostBackend *backend;
    char *label;
    const VhostDeviceOps *ops;
    void *opaque;

    /* While a virtio device is attached. */
    VhostGuest guest;
    bool attached;
    unsigned room;  /* rings attached */
    unsigned count; /* of them, those the driver uses now */
    AddressSpace *as;
    VhostMemoryMap *map;
    MemoryListener log_listener; /* of `as` */
    bool logging;                /* somebody wants to know what is written */
    VhostLog *log;               /* while logging, once a back end was started; what it has */
    VhostLog *old_log;           /* until the back end has let go of it */
    VhostIotlb *iotlb;           /* while running behind an IOMMU */
    void **doorbells;            /* one a ring: the back end's memory at the queue's doorbell */
    VhostRing *rings;            /* count of them */
    bool *ring_off;              /* the driver switched it off */
    EventNotifier *masked;       /* one a ring: rings while the call is masked */
    bool *is_masked;

    bool connected, wanted;
    bool known; /* a back end was there */
    uint64_t known_features;
    VhostState state;
    bool taken; /* the queues are ours: from the first start until the driver goes */
    bool memory_changed, log_changed;
    bool lent;         /* the guest was told that its rings are in other hands */
    bool forget_bases; /* the driver has reset the queues: where the back end stops is of no use */
    bool refused;      /* this back end, as it is: don't try again until something changes */
    VhostPlan plan;
};

/* What waits for the end of all stops; of this process. Machine lock. */
static struct {
    unsigned stopping;
    bool held;
    GArray *waiters;    /* VhostIdleWaiter */
    GPtrArray *devices; /* all of this process; NULL: none */
} vhost_idle;

typedef struct VhostIdleWaiter {
    VhostIdleFn *fn;
    void *opaque;
} VhostIdleWaiter;

unsigned vhost_stopping_count(void)
{
    return vhost_idle.stopping;
}

void vhost_when_idle(VhostIdleFn *fn, void *opaque)
{
    if (!vhost_idle.stopping) {
        fn(opaque);
        return;
    }
    if (!vhost_idle.waiters) {
        vhost_idle.waiters = g_array_new(false, false, sizeof(VhostIdleWaiter));
    }
    VhostIdleWaiter w = { fn, opaque };
    g_array_append_val(vhost_idle.waiters, w);
}

void vhost_forget_idle(VhostIdleFn *fn, void *opaque)
{
    for (guint i = 0; vhost_idle.waiters && i < vhost_idle.waiters->len;) {
        const VhostIdleWaiter *w = &g_array_index(vhost_idle.waiters, VhostIdleWaiter, i);
        if (w->fn == fn && w->opaque == opaque) {
            g_array_remove_index(vhost_idle.waiters, i);
        } else {
            i++;
        }
    }
}

static void vhost_stop_ended(void)
{
    if (--vhost_idle.stopping || !vhost_idle.waiters) {
        return;
    }
    g_autoptr(GArray) waiters = g_steal_pointer(&vhost_idle.waiters);
    for (guint i = 0; i < waiters->len; i++) {
        const VhostIdleWaiter *w = &g_array_index(waiters, VhostIdleWaiter, i);
        w->fn(w->opaque);
    }
}

const char *vhost_state_name(VhostState state)
{
    static const char *const names[] = {
        [VHOST_IDLE] = "idle",
        [VHOST_STARTING] = "starting",
        [VHOST_RUNNING] = "running",
        [VHOST_STOPPING] = "stopping",
    };
    return names[state];
}

static void vhost_update(VhostDevice *d);

static void vhost_set_state(VhostDevice *d, VhostState state)
{
    d->state = state;
    trace_vhost_state(d->label, vhost_state_name(state));
}

static void vhost_update_all(void)
{
    for (guint i = 0; vhost_idle.devices && i < vhost_idle.devices->len; i++) {
        vhost_update(vhost_idle.devices->pdata[i]);
    }
}

void vhost_hold_all(VhostIdleFn *fn, void *opaque)
{
    vhost_idle.held = true;
    vhost_update_all();
    vhost_when_idle(fn, opaque);
}

void vhost_release_all(void)
{
    vhost_idle.held = false;
    vhost_update_all();
}

/* --- Queues --- */

static bool vhost_take_queues(VhostDevice *d, Error **errp)
{
    if (d->taken) {
        return true;
    }
    d->guest.ops->take(d->guest.opaque, 0, d->count);
    if (!d->guest.ops->notifiers_start(d->guest.opaque, d->count, errp)) {
        d->guest.ops->release(d->guest.opaque, 0, d->count);
        return false;
    }
    d->taken = true;
    return true;
}

static void vhost_release_queues(VhostDevice *d)
{
    if (d->taken) {
        d->taken = false;
        d->guest.ops->notifiers_stop(d->guest.opaque, d->count);
        d->guest.ops->release(d->guest.opaque, 0, d->count);
    }
}

/* --- Making the plan --- */

static bool vhost_locate(VhostDevice *d, const char *what, unsigned index, hwaddr addr,
                         uint32_t len, uint8_t **host, Error **errp)
{
    if (d->plan.iommu) {
        return true; /* the back end asks for translations as it goes */
    }
    *host = vhost_memory_map_host(d->map, addr, len);
    if (!*host) {
        error_set(errp, "queue %u: the driver put the %s at 0x%" PRIx64 ", where no memory is",
                  index, what, addr);
    }
    return *host;
}

/* A queue the driver has not set up is left out. */
static bool vhost_plan_ring(VhostDevice *d, unsigned index, Error **errp)
{
    VhostGuestRing g;
    d->guest.ops->ring(d->guest.opaque, index, &g);
    VhostRing *ring = &d->rings[index];
    *ring = (VhostRing){ .index = index, .kick_fd = -1, .call_fd = -1 };
    if (!g.enabled || !g.size) {
        return true;
    }
    if (!vhost_locate(d, "descriptor area", index, g.desc, g.desc_bytes, &ring->desc, errp) ||
        !vhost_locate(d, "driver area", index, g.driver, g.driver_bytes, &ring->driver, errp) ||
        !vhost_locate(d, "device area", index, g.device, g.device_bytes, &ring->device, errp)) {
        return false;
    }
    ring->size = g.size;
    ring->device_addr = g.device;
    ring->iova[0] = g.desc;
    ring->iova[1] = g.driver;
    ring->iova[2] = g.device;
    ring->enabled = !d->ring_off[index];
    ring->base = d->guest.ops->base(d->guest.opaque, index);
    ring->kick = d->guest.ops->kick(d->guest.opaque, index);
    ring->call = d->guest.ops->call(d->guest.opaque, index);
    ring->kick_fd = ring->kick->fd;
    ring->call_fd = d->is_masked[index] ? d->masked[index].fd : ring->call->fd;
    d->plan.packed |= g.packed;
    return true;
}

/* Without an IOMMU in front of the device the driver's addresses are physical, whatever it
 * accepted: the back end is not to ask for translations that would change nothing. */
static bool vhost_plan_iommu(VhostDevice *d, Error **errp)
{
    VhostGuestRing g;
    d->guest.ops->ring(d->guest.opaque, 0, &g);
    d->plan.iommu =
        (d->plan.features >> VHOST_F_ACCESS_PLATFORM & 1) && vhost_iotlb_is_translated(g.space);
    if (!d->plan.iommu) {
        d->plan.features &= ~BIT64(VHOST_F_ACCESS_PLATFORM);
        return true;
    }
    d->iotlb = vhost_iotlb_new(d->backend, g.space, d->map, errp);
    return d->iotlb;
}

/* The end of guest memory, as far as a log has to reach. */
static hwaddr vhost_memory_end(const VhostDevice *d)
{
    unsigned count;
    const VhostRegion *r = vhost_memory_map_regions(d->map, &count);
    return count ? r[count - 1].guest_addr + r[count - 1].size : 0;
}

static bool vhost_plan_log(VhostDevice *d, Error **errp)
{
    if (!d->logging) {
        return true;
    }
    if (!d->backend->ops->can_log(d->backend, errp)) {
        return false;
    }
    if (!d->log || !vhost_log_covers(d->log, vhost_memory_end(d))) {
        vhost_log_free(d->log);
        d->log = vhost_log_new(vhost_memory_end(d), errp);
    }
    d->plan.log = d->log;
    return d->log;
}

static bool vhost_make_plan(VhostDevice *d, Error **errp)
{
    unsigned regions;
    vhost_memory_map_regions(d->map, &regions);
    unsigned limit = d->backend->ops->max_regions(d->backend);
    if (regions > limit) {
        error_set(errp, "the machine's memory has %u regions, the back end takes %u", regions,
                  limit);
        return false;
    }
    d->plan = (VhostPlan){ .features = d->guest.ops->features(d->guest.opaque),
                           .memory = d->map,
                           .rings = d->rings,
                           .count = d->count,
                           .fresh = d->forget_bases };
    if (!vhost_plan_iommu(d, errp) || !vhost_plan_log(d, errp)) {
        return false;
    }
    for (unsigned i = 0; i < d->count; i++) {
        if (!vhost_plan_ring(d, i, errp)) {
            return false;
        }
    }
    return vhost_memory_map_check_shared(d->map, errp);
}

/* --- Starting and stopping --- */

static void vhost_log_collect(VhostDevice *d);

static void vhost_refuse(VhostDevice *d, Error *err)
{
    d->refused = true;
    error_prepend(&err, "%s: cannot start: ", d->label);
    if (d->ops->refused) {
        d->ops->refused(d->opaque, err);
    }
    error_report_and_free(err);
}

static void vhost_set_lent(VhostDevice *d, bool lent)
{
    if (d->lent != lent) {
        d->lent = lent;
        d->guest.ops->lent(d->guest.opaque, lent);
    }
}

static void vhost_ended(VhostDevice *d, bool bases_known);

static void vhost_enabled_set(void *opaque, const Error *err)
{
    /* A failure ends the connection; `gone` follows. */
}

static void vhost_set_call(VhostDevice *d, unsigned index)
{
    EventNotifier *call = d->rings[index].call;
    EventNotifier *to = d->is_masked[index] ? &d->masked[index] : call;
    d->rings[index].call_fd = to->fd;
    d->backend->ops->set_call(d->backend, index, to->fd);
    /* What rang while nobody was to hear it is heard now. */
    if (!d->is_masked[index] && event_notifier_test_and_clear(&d->masked[index])) {
        event_notifier_set(call);
    }
}

/* What the driver asked for while the plan of before was being told. */
static void vhost_catch_up(VhostDevice *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        const VhostRing *ring = &d->rings[i];
        if (!ring->size) {
            continue;
        }
        if (ring->enabled == d->ring_off[i]) {
            d->backend->ops->set_enabled(d->backend, i, 1, !d->ring_off[i], vhost_enabled_set, d);
        }
        if (d->is_masked[i] != (ring->call_fd == d->masked[i].fd)) {
            vhost_set_call(d, i);
        }
    }
}

static void vhost_started(void *opaque, const Error *err)
{
    VhostDevice *d = opaque;
    if (d->state != VHOST_STARTING) {
        return; /* it went away meanwhile: vhost_gone() has seen to it */
    }
    if (err) {
        /* What the back end refused: it stays connected, but must not be left half started. */
        d->refused = true;
        if (d->ops->refused) {
            d->ops->refused(d->opaque, err);
        }
        vhost_ended(d, false);
        vhost_update(d);
        return;
    }
    vhost_set_state(d, VHOST_RUNNING);
    vhost_catch_up(d);
    if (d->ops->running) {
        d->ops->running(d->opaque, true);
    }
    vhost_update(d);
}

static void vhost_start(VhostDevice *d)
{
    Error *err = NULL;
    if (!vhost_make_plan(d, &err)) {
        vhost_iotlb_free(g_steal_pointer(&d->iotlb));
        vhost_refuse(d, err);
        return;
    }
    vhost_set_state(d, VHOST_STARTING);
    vhost_set_lent(d, true);
    d->memory_changed = d->log_changed = d->forget_bases = false;
    d->backend->ops->start(d->backend, &d->plan, vhost_started, d);
}

/* Where the back end stopped, or, if it could not say, what the rings tell. worked: it may have
 * begun with the rings. */
static void vhost_store_bases(VhostDevice *d, bool known, bool worked)
{
    bool recorded = d->backend->ops->records_in_flight(d->backend);
    for (unsigned i = 0; i < d->count; i++) {
        if (!d->rings[i].size) {
            continue;
        }
        if (known) {
            d->guest.ops->set_base(d->guest.opaque, i, d->rings[i].base);
        } else if (!d->guest.ops->restore_base(d->guest.opaque, i, recorded) && worked) {
            report_warning("%s: queue %u: the back end went without a record of what it was at; "
                           "requests may be lost or done twice",
                           d->label, i);
        }
    }
}

/* --- Doorbells in the back end's memory --- */

static void vhost_drop_doorbell(VhostDevice *d, unsigned index)
{
    if (d->doorbells[index]) {
        d->guest.ops->host_notifier(d->guest.opaque, index, NULL, 0, NULL);
        d->doorbells[index] = NULL;
        d->rings[index].doorbell = false;
    }
}

static void vhost_drop_doorbells(VhostDevice *d)
{
    for (unsigned i = 0; i < d->room; i++) {
        vhost_drop_doorbell(d, i);
    }
}

static bool vhost_host_notifier(void *opaque, unsigned index, void *host, uint64_t len,
                                Error **errp)
{
    VhostDevice *d = opaque;
    if (!d->attached || index >= d->count || !d->lent) {
        error_set(errp, "queue %u is not with the back end", index);
        return false;
    }
    vhost_drop_doorbell(d, index);
    if (!host) {
        return true;
    }
    if (!d->guest.ops->host_notifier(d->guest.opaque, index, host, len, errp)) {
        return false;
    }
    d->doorbells[index] = host;
    d->rings[index].doorbell = true;
    return true;
}

static void vhost_ended(VhostDevice *d, bool bases_known)
{
    VhostState was = d->state;
    vhost_set_state(d, VHOST_IDLE);
    if (was == VHOST_IDLE) {
        return;
    }
    vhost_iotlb_free(g_steal_pointer(&d->iotlb));
    vhost_drop_doorbells(d);
    vhost_log_collect(d);
    if (!d->forget_bases) {
        vhost_store_bases(d, bases_known, was != VHOST_STARTING);
    } else if (bases_known && d->backend->ops->reset) {
        d->backend->ops->reset(d->backend);
    }
    vhost_set_lent(d, false);
    if (d->ops->running && (was == VHOST_RUNNING || was == VHOST_STOPPING)) {
        d->ops->running(d->opaque, false);
    }
    if (was == VHOST_STOPPING) {
        vhost_stop_ended();
    }
}

static void vhost_stopped(void *opaque, const Error *err)
{
    VhostDevice *d = opaque;
    if (d->state == VHOST_STOPPING) {
        vhost_ended(d, !err);
        vhost_update(d);
    }
}

static void vhost_stop(VhostDevice *d)
{
    vhost_set_state(d, VHOST_STOPPING);
    vhost_idle.stopping++;
    d->backend->ops->stop(d->backend, vhost_stopped, d);
}

static void vhost_memory_updated(void *opaque, const Error *err)
{
    /* A failure ends the connection; `gone` follows. */
}

/* --- The dirty log --- */

static bool vhost_log_visit(const MemorySection *s, void *opaque)
{
    vhost_log_sync(opaque, s);
    return true;
}

static void vhost_log_take(VhostDevice *d, VhostLog *log)
{
    if (log) {
        address_space_foreach_section(d->as, vhost_log_visit, log);
    }
}

/* Nobody writes to them any more: what they say is kept, and they go. */
static void vhost_log_collect(VhostDevice *d)
{
    vhost_log_take(d, d->old_log);
    vhost_log_free(g_steal_pointer(&d->old_log));
    if (!d->logging) {
        vhost_log_take(d, d->log);
        vhost_log_free(g_steal_pointer(&d->log));
    }
}

static void vhost_log_updated(void *opaque, const Error *err)
{
    VhostDevice *d = opaque;
    if (!err) {
        vhost_log_take(d, d->old_log);
        vhost_log_free(g_steal_pointer(&d->old_log));
        vhost_update(d);
    }
}

/* The back end is to have another log, or none. */
static void vhost_change_log(VhostDevice *d)
{
    VhostLog *fresh = NULL;
    Error *err = NULL;
    if (d->logging) {
        fresh = vhost_log_new(vhost_memory_end(d), &err);
        if (!fresh) {
            /* Without it pages would be lost: rather work the queues no more. */
            d->backend->ops->abort(d->backend, error_message(err));
            error_free(err);
            return;
        }
    }
    d->old_log = d->log;
    d->log = fresh;
    d->plan.log = fresh;
    d->backend->ops->update_log(d->backend, vhost_log_updated, d);
}

static bool vhost_log_start(MemoryListener *l, Error **errp)
{
    VhostDevice *d = CONTAINER_OF(l, VhostDevice, log_listener);
    if (d->connected && !d->backend->ops->can_log(d->backend, errp)) {
        error_prepend(errp, "%s: ", d->label);
        return false;
    }
    d->logging = true;
    d->log_changed = true;
    vhost_update(d);
    return true;
}

static void vhost_log_stop(MemoryListener *l)
{
    VhostDevice *d = CONTAINER_OF(l, VhostDevice, log_listener);
    d->logging = false;
    d->log_changed = true;
    d->refused = false; /* perhaps for what it could not log */
    vhost_update(d);
}

static void vhost_log_asked(MemoryListener *l, const MemorySection *s)
{
    VhostDevice *d = CONTAINER_OF(l, VhostDevice, log_listener);
    if (d->old_log) {
        vhost_log_sync(d->old_log, s);
    }
    if (d->log) {
        vhost_log_sync(d->log, s);
    }
}

/* From the moment the driver is ready: frames and requests of the time before the back end's
 * arrival wait for it in the rings. */
static bool vhost_hold_queues(VhostDevice *d)
{
    Error *err = NULL;
    if (d->refused || vhost_take_queues(d, &err)) {
        return d->taken;
    }
    vhost_refuse(d, err);
    return false;
}

/* Bring what is and what is wanted together. */
static void vhost_update(VhostDevice *d)
{
    bool can_run = d->attached && d->wanted && d->connected && !vhost_idle.held;
    switch (d->state) {
    case VHOST_IDLE:
        vhost_log_collect(d);
        if (!d->wanted) {
            vhost_release_queues(d);
        } else if (vhost_hold_queues(d) && can_run && !d->refused) {
            vhost_start(d);
        }
        break;
    case VHOST_RUNNING:
        if (!can_run) {
            vhost_stop(d);
        } else if (d->old_log) {
            break; /* its end comes back here */
        } else if (d->log_changed || (d->log && !vhost_log_covers(d->log, vhost_memory_end(d)))) {
            d->log_changed = false;
            vhost_change_log(d);
        } else if (d->memory_changed) {
            d->memory_changed = false;
            d->backend->ops->update_memory(d->backend, vhost_memory_updated, d);
        }
        break;
    default:
        break; /* the end of what is under way comes back here */
    }
}

/* --- News from the back end --- */

static void vhost_learn(VhostDevice *d)
{
    d->connected = d->backend->ops->is_ready(d->backend);
    if (d->connected) {
        d->known = true;
        d->known_features = d->backend->ops->features(d->backend);
    }
}

static void vhost_ready(void *opaque)
{
    VhostDevice *d = opaque;
    vhost_learn(d);
    d->refused = false;
    if (d->ops->connected) {
        d->ops->connected(d->opaque, true);
    }
    vhost_update(d);
}

static void vhost_gone(void *opaque, const Error *why)
{
    VhostDevice *d = opaque;
    bool was = d->connected;
    d->connected = false;
    d->refused = false;
    vhost_ended(d, false);
    if (was && d->ops->connected) {
        d->ops->connected(d->opaque, false);
    }
    vhost_update(d);
}

static void vhost_backend_refused(void *opaque, const Error *why)
{
    VhostDevice *d = opaque;
    if (d->ops->refused) {
        d->ops->refused(d->opaque, why);
    }
}

static void vhost_config_changed(void *opaque)
{
    VhostDevice *d = opaque;
    if (d->ops->config_changed) {
        d->ops->config_changed(d->opaque);
    }
}

static void vhost_ring_call(void *opaque, unsigned index)
{
    VhostDevice *d = opaque;
    if (d->attached && index < d->count) {
        event_notifier_set(d->is_masked[index] ? &d->masked[index]
                                               : d->guest.ops->call(d->guest.opaque, index));
    }
}

static void vhost_ring_error(void *opaque, unsigned index)
{
    VhostDevice *d = opaque;
    if (d->attached) {
        g_autofree char *why = g_strdup_printf("the back end reports an error on queue %u", index);
        d->guest.ops->broken(d->guest.opaque, why);
    }
}

static void vhost_iotlb_missed(void *opaque, uint64_t iova, bool write)
{
    VhostDevice *d = opaque;
    if (d->iotlb) {
        vhost_iotlb_miss(d->iotlb, iova, write);
    }
}

static const VhostBackendEvents vhost_events = {
    .ready = vhost_ready,
    .gone = vhost_gone,
    .refused = vhost_backend_refused,
    .config_changed = vhost_config_changed,
    .ring_call = vhost_ring_call,
    .ring_error = vhost_ring_error,
    .iotlb_miss = vhost_iotlb_missed,
    .host_notifier = vhost_host_notifier,
};

/* --- Life --- */

VhostDevice *vhost_device_new(VhostBackend *backend, const char *label, const VhostDeviceOps *ops,
                              void *opaque)
{
    VhostDevice *d = g_new0(VhostDevice, 1);
    d->backend = backend;
    d->label = g_strdup(label);
    d->ops = ops;
    d->opaque = opaque;
    backend->events = &vhost_events;
    backend->events_opaque = d;
    vhost_learn(d);
    if (!vhost_idle.devices) {
        vhost_idle.devices = g_ptr_array_new();
    }
    g_ptr_array_add(vhost_idle.devices, d);
    return d;
}

static void vhost_memory_changed(void *opaque)
{
    VhostDevice *d = opaque;
    d->memory_changed = true;
    if (d->state == VHOST_RUNNING) {
        vhost_update(d);
    }
}

bool vhost_device_attach(VhostDevice *d, const VhostGuest *guest, unsigned count, AddressSpace *as,
                         Error **errp)
{
    assert(!d->attached);
    d->map = vhost_memory_map_new(as, vhost_memory_changed, d);
    if (!vhost_memory_map_check_shared(d->map, errp)) {
        error_prepend(errp, "%s: ", d->label);
        vhost_memory_map_free(d->map);
        d->map = NULL;
        return false;
    }
    d->masked = g_new0(EventNotifier, count);
    for (unsigned i = 0; i < count; i++) {
        if (!event_notifier_init(&d->masked[i], false, errp)) {
            while (i--) {
                event_notifier_finish(&d->masked[i]);
            }
            g_clear_pointer(&d->masked, g_free);
            vhost_memory_map_free(d->map);
            d->map = NULL;
            return false;
        }
    }
    d->guest = *guest;
    d->room = d->count = count;
    d->rings = g_new0(VhostRing, count);
    d->ring_off = g_new0(bool, count);
    d->is_masked = g_new0(bool, count);
    d->doorbells = g_new0(void *, count);
    d->attached = true;
    d->as = as;
    d->logging = memory_global_log_active();
    d->log_listener = (MemoryListener){ .name = "vhost-log",
                                        .priority = 10,
                                        .log_sync = vhost_log_asked,
                                        .log_global_start = vhost_log_start,
                                        .log_global_stop = vhost_log_stop };
    memory_listener_add(&d->log_listener, as);
    return true;
}

/* Nothing of the rings may be touched after this: a back end that is still at it loses its
 * connection. */
void vhost_device_detach(VhostDevice *d)
{
    if (!d->attached) {
        return;
    }
    d->wanted = false;
    vhost_update(d);
    if (d->state != VHOST_IDLE) {
        d->backend->ops->abort(d->backend, "the device was removed");
        vhost_ended(d, false);
    }
    vhost_release_queues(d);
    memory_listener_del(&d->log_listener);
    d->logging = false;
    vhost_log_collect(d);
    d->attached = false;
    for (unsigned i = 0; i < d->room; i++) {
        event_notifier_finish(&d->masked[i]);
    }
    g_clear_pointer(&d->masked, g_free);
    g_clear_pointer(&d->is_masked, g_free);
    g_clear_pointer(&d->doorbells, g_free);
    g_clear_pointer(&d->ring_off, g_free);
    g_clear_pointer(&d->rings, g_free);
    vhost_memory_map_free(d->map);
    d->map = NULL;
    d->room = d->count = 0;
}

void vhost_device_free(VhostDevice *d)
{
    if (!d) {
        return;
    }
    vhost_device_detach(d);
    g_ptr_array_remove(vhost_idle.devices, d);
    if (!vhost_idle.devices->len) {
        g_clear_pointer(&vhost_idle.devices, g_ptr_array_unref);
    }
    d->backend->ops->free(d->backend);
    g_free(d->label);
    g_free(d);
}

/* --- Wishes --- */

void vhost_device_set_wanted(VhostDevice *d, bool wanted)
{
    if (d->wanted != wanted) {
        d->wanted = wanted;
        d->refused = false;
        vhost_update(d);
    }
}

void vhost_device_set_rings(VhostDevice *d, unsigned count)
{
    assert(d->state == VHOST_IDLE && !d->taken && count <= d->room);
    d->count = count;
}

bool vhost_device_can_set_rings(const VhostDevice *d)
{
    return d->state == VHOST_IDLE && !d->taken;
}

void vhost_device_reset(VhostDevice *d)
{
    vhost_device_set_wanted(d, false);
    d->forget_bases = true;
}

void vhost_device_set_enabled(VhostDevice *d, unsigned first, unsigned count, bool on)
{
    for (unsigned i = first; i < first + count && i < d->count; i++) {
        d->ring_off[i] = !on;
    }
    if (d->state == VHOST_RUNNING) {
        d->backend->ops->set_enabled(d->backend, first, count, on, vhost_enabled_set, d);
    }
}

void vhost_device_mask(VhostDevice *d, unsigned index, bool mask)
{
    if (index >= d->count || d->is_masked[index] == mask) {
        return;
    }
    d->is_masked[index] = mask;
    if (d->state != VHOST_RUNNING || !d->rings[index].size) {
        return;
    }
    vhost_set_call(d, index);
}

bool vhost_device_pending(VhostDevice *d, unsigned index)
{
    return index < d->count && event_notifier_test_and_clear(&d->masked[index]);
}

/* --- Questions --- */

bool vhost_device_is_connected(const VhostDevice *d)
{
    return d->connected;
}

VhostState vhost_device_state(const VhostDevice *d)
{
    return d->state;
}

bool vhost_device_is_idle(const VhostDevice *d)
{
    return d->state == VHOST_IDLE;
}

VhostBackend *vhost_device_backend(VhostDevice *d)
{
    return d->backend;
}

bool vhost_device_is_known(const VhostDevice *d)
{
    return d->known;
}

uint64_t vhost_device_filter_features(VhostDevice *d, uint64_t wanted, uint64_t mask,
                                      uint64_t assumed)
{
    return wanted & ((d->known ? d->known_features : assumed) | ~mask);
}
