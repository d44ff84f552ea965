#include "vhost/vhost.h"

#include <inttypes.h>
#include <string.h>

#include "base/report.h"
#include "base/rcu.h"

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
    VhostMemoryMap *map;
    VhostRing *rings;      /* count of them */
    bool *ring_off;        /* the driver switched it off */
    EventNotifier *masked; /* one a ring: rings while the call is masked */
    bool *is_masked;

    bool connected, wanted;
    VhostState state;
    bool taken; /* the queues are ours: from the first start until the driver goes */
    bool memory_changed;
    bool forget_bases; /* the driver has reset the queues: where the back end stops is of no use */
    bool refused;      /* this back end, as it is: don't try again until something changes */
    VhostPlan plan;
};

/* What waits for the end of all stops; of this process. Machine lock. */
static struct {
    unsigned stopping;
    GArray *waiters; /* VhostIdleWaiter */
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
    if (!g.enabled || !g.size || !g.desc) {
        return true;
    }
    if (!vhost_locate(d, "descriptor area", index, g.desc, g.desc_bytes, &ring->desc, errp) ||
        !vhost_locate(d, "driver area", index, g.driver, g.driver_bytes, &ring->driver, errp) ||
        !vhost_locate(d, "device area", index, g.device, g.device_bytes, &ring->device, errp)) {
        return false;
    }
    ring->size = g.size;
    ring->device_addr = g.device;
    ring->enabled = !d->ring_off[index];
    ring->base = d->guest.ops->base(d->guest.opaque, index);
    ring->kick_fd = d->guest.ops->kick(d->guest.opaque, index)->fd;
    ring->call_fd =
        d->is_masked[index] ? d->masked[index].fd : d->guest.ops->call(d->guest.opaque, index)->fd;
    d->plan.packed |= g.packed;
    return true;
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
    uint64_t accepted = d->guest.ops->features(d->guest.opaque);
    d->plan =
        (VhostPlan){ .features = accepted, .memory = d->map, .rings = d->rings, .count = d->count };
    for (unsigned i = 0; i < d->count; i++) {
        if (!vhost_plan_ring(d, i, errp)) {
            return false;
        }
    }
    return vhost_memory_map_check_shared(d->map, errp);
}

/* --- Starting and stopping --- */

static void vhost_refuse(VhostDevice *d, Error *err)
{
    d->refused = true;
    error_prepend(&err, "%s: cannot start: ", d->label);
    if (d->ops->refused) {
        d->ops->refused(d->opaque, err);
    }
    error_report_and_free(err);
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
        d->state = VHOST_IDLE;
        vhost_update(d);
        return;
    }
    d->state = VHOST_RUNNING;
    if (d->ops->running) {
        d->ops->running(d->opaque, true);
    }
    vhost_update(d);
}

static void vhost_start(VhostDevice *d)
{
    Error *err = NULL;
    if (!vhost_take_queues(d, &err) || !vhost_make_plan(d, &err)) {
        vhost_refuse(d, err);
        return;
    }
    d->state = VHOST_STARTING;
    d->memory_changed = d->forget_bases = false;
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

static void vhost_ended(VhostDevice *d, bool bases_known)
{
    VhostState was = d->state;
    d->state = VHOST_IDLE;
    if (was == VHOST_IDLE) {
        return;
    }
    if (!d->forget_bases) {
        vhost_store_bases(d, bases_known, was != VHOST_STARTING);
    }
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
    d->state = VHOST_STOPPING;
    vhost_idle.stopping++;
    d->backend->ops->stop(d->backend, vhost_stopped, d);
}

static void vhost_memory_updated(void *opaque, const Error *err)
{
    /* A failure ends the connection; `gone` follows. */
}

/* Bring what is and what is wanted together. */
static void vhost_update(VhostDevice *d)
{
    bool can_run = d->attached && d->wanted && d->connected;
    switch (d->state) {
    case VHOST_IDLE:
        if (can_run && !d->refused) {
            vhost_start(d);
        } else if (!d->wanted) {
            vhost_release_queues(d);
        }
        break;
    case VHOST_RUNNING:
        if (!can_run) {
            vhost_stop(d);
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

static void vhost_ready(void *opaque)
{
    VhostDevice *d = opaque;
    d->connected = true;
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

static const VhostBackendEvents vhost_events = {
    .ready = vhost_ready,
    .gone = vhost_gone,
    .refused = vhost_backend_refused,
    .config_changed = vhost_config_changed,
    .ring_call = vhost_ring_call,
    .ring_error = vhost_ring_error,
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
    d->connected = backend->ops->is_ready(backend);
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
    d->attached = true;
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
    d->attached = false;
    for (unsigned i = 0; i < d->room; i++) {
        event_notifier_finish(&d->masked[i]);
    }
    g_clear_pointer(&d->masked, g_free);
    g_clear_pointer(&d->is_masked, g_free);
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

static void vhost_enabled_set(void *opaque, const Error *err)
{
    /* A failure ends the connection; `gone` follows. */
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
    EventNotifier *call = d->guest.ops->call(d->guest.opaque, index);
    EventNotifier *to = mask ? &d->masked[index] : call;
    d->rings[index].call_fd = to->fd;
    d->backend->ops->set_call(d->backend, index, to->fd);
    /* What rang while nobody was to hear it is heard now. */
    if (!mask && event_notifier_test_and_clear(&d->masked[index])) {
        event_notifier_set(call);
    }
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

uint64_t vhost_device_filter_features(VhostDevice *d, uint64_t wanted, uint64_t mask)
{
    return d->connected ? wanted & (d->backend->ops->features(d->backend) | ~mask) : wanted;
}
