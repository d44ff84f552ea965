/*
 * Phase 2, when the driver is there: features, memory, rings; and what changes while it runs, and
 * the end of it.
 */
#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "vhost/user/session.h"

/* Virtio status bits, VIRTIO 1.3 section 2.1: what a driver that works has set. */
#define STATUS_RUNNING 0x0fu /* ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK */

/* --- Features --- */

static bool fill_features(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    vu->saved_features = vu->plan->features;
    vu->acked_features = vu->plan->features & vu->features & ~BIT64(VHOST_F_LOG_ALL);
    if (vu->plan->log) {
        vu->acked_features |= BIT64(VHOST_F_LOG_ALL);
    }
    if (vu->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1) {
        vu->acked_features |= BIT64(VHOST_USER_F_PROTOCOL_FEATURES);
    }
    msg->payload.u64 = vu->acked_features;
    return true;
}

/* --- In-flight area: made by the back end, kept here, given back after a reconnect --- */

void inflight_finish(VhostUserInflightArea *area)
{
    fd_close(area->fd);
    *area = (VhostUserInflightArea){ .fd = -1 };
}

static uint16_t largest_ring(const VhostPlan *plan)
{
    uint32_t size = 0;
    for (unsigned i = 0; i < plan->count; i++) {
        size = MAX_OF(size, plan->rings[i].size);
    }
    return size;
}

/* An area for other rings than those of now, or of before a reset, is worth nothing. */
void inflight_prepare(VhostUserInflightArea *area, const VhostPlan *plan)
{
    const VhostUserInflight *l = &area->layout;
    if (plan->fresh || l->queues != plan->count || l->queue_size != largest_ring(plan)) {
        inflight_finish(area);
    }
}

static unsigned if_inflight_needed(void *opaque)
{
    VhostUser *vu = opaque;
    return session_has(vu, VHOST_USER_PF_INFLIGHT_SHMFD) && vu->inflight.fd < 0;
}

static bool fill_inflight_get(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    msg->payload.inflight.queues = vu->plan->count;
    msg->payload.inflight.queue_size = largest_ring(vu->plan);
    return true;
}

static bool take_inflight(void *opaque, unsigned round, VhostUserMessage *reply, Error **errp)
{
    VhostUser *vu = opaque;
    const VhostUserInflight *l = &reply->payload.inflight;
    if (!l->mmap_size) {
        return true; /* it has nothing to keep */
    }
    if (!reply->nfds) {
        error_set(errp, "expected a file descriptor with an area of %" PRIu64 " bytes, got none",
                  l->mmap_size);
        return false;
    }
    vu->inflight.fd = reply->fds[--reply->nfds];
    vu->inflight.layout = *l;
    vu->inflight.layout.queues = vu->plan->count;
    vu->inflight.layout.queue_size = largest_ring(vu->plan);
    return true;
}

static unsigned if_inflight(void *opaque)
{
    VhostUser *vu = opaque;
    return session_has(vu, VHOST_USER_PF_INFLIGHT_SHMFD) && vu->inflight.fd >= 0;
}

static bool fill_inflight_set(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    msg->payload.inflight = vu->inflight.layout;
    msg->fds[msg->nfds++] = vu->inflight.fd;
    return true;
}

/* --- Memory: one table, or region by region --- */

static VhostUserRegion region_on_wire(const VhostRegion *r)
{
    return (VhostUserRegion){ .guest_addr = r->guest_addr,
                              .size = r->size,
                              .user_addr = (uintptr_t)r->host,
                              .mmap_offset = r->fd_offset };
}

static unsigned if_table(void *opaque)
{
    return !session_has(opaque, VHOST_USER_PF_CONFIGURE_MEM_SLOTS);
}

static bool fill_table(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    unsigned count;
    const VhostRegion *regions = vhost_memory_map_regions(vu->plan->memory, &count);
    if (!count || count > VHOST_USER_MAX_REGIONS) {
        error_set(errp, "the machine's memory has %u regions, the back end takes 1 to %d", count,
                  VHOST_USER_MAX_REGIONS);
        return false;
    }
    if (!vhost_memory_map_check_shared(vu->plan->memory, errp)) {
        return false;
    }
    msg->payload.memory.count = count;
    for (unsigned i = 0; i < count; i++) {
        msg->payload.memory.regions[i] = region_on_wire(&regions[i]);
        msg->fds[msg->nfds++] = regions[i].fd;
    }
    return true;
}

static bool same_region(const VhostUserRegion *a, const VhostUserRegion *b)
{
    return a->guest_addr == b->guest_addr && a->size == b->size && a->user_addr == b->user_addr &&
           a->mmap_offset == b->mmap_offset;
}

static bool map_has(const VhostMemoryMap *map, const VhostUserRegion *region)
{
    unsigned count;
    const VhostRegion *regions = vhost_memory_map_regions(map, &count);
    for (unsigned i = 0; i < count; i++) {
        VhostUserRegion r = region_on_wire(&regions[i]);
        if (same_region(&r, region)) {
            return true;
        }
    }
    return false;
}

static int table_find(const VhostUser *vu, const VhostUserRegion *region)
{
    for (unsigned i = 0; i < vu->table_count; i++) {
        if (same_region(&vu->table[i], region)) {
            return i;
        }
    }
    return -1;
}

/* Regions that the machine no longer has go first, so that their slots are free for new ones. */
static unsigned rounds_remove(void *opaque)
{
    return if_table(opaque) ? 0 : VHOST_USER_SLOTS_MAX;
}

static bool fill_remove(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    for (unsigned i = 0; i < vu->table_count; i++) {
        if (!map_has(vu->plan->memory, &vu->table[i])) {
            msg->payload.region.region = vu->table[i];
            vu->table[i] = vu->table[--vu->table_count];
            return true;
        }
    }
    return false;
}

static unsigned rounds_add(void *opaque)
{
    unsigned count;
    vhost_memory_map_regions(((VhostUser *)opaque)->plan->memory, &count);
    return if_table(opaque) ? 0 : count;
}

static bool fill_add(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    unsigned count;
    const VhostRegion *region = &vhost_memory_map_regions(vu->plan->memory, &count)[round];
    VhostUserRegion wire = region_on_wire(region);
    if (table_find(vu, &wire) >= 0) {
        return false;
    }
    if (vu->table_count == vu->max_slots) {
        error_set(errp, "the machine's memory has %u regions, the back end takes %" PRIu64, count,
                  vu->max_slots);
        return false;
    }
    if (!vhost_memory_map_check_shared(vu->plan->memory, errp)) {
        return false;
    }
    vu->table[vu->table_count++] = wire;
    msg->payload.region.region = wire;
    msg->fds[msg->nfds++] = region->fd;
    return true;
}

/* --- Rings --- */

/* Each ring is told all of itself before the next one. */
static const uint32_t ring_messages[] = {
    VHOST_USER_SET_VRING_NUM,  VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR,
    VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL,
};

static unsigned rounds_ring_messages(void *opaque)
{
    return ((VhostUser *)opaque)->plan->count * ARRAY_LEN(ring_messages);
}

static void fill_ring_fd(VhostUserMessage *msg, const VhostRing *ring, int fd)
{
    msg->payload.u64 = ring->index;
    if (fd >= 0) {
        msg->fds[msg->nfds++] = fd;
    } else {
        msg->payload.u64 |= VHOST_USER_VRING_NOFD;
    }
}

static void fill_ring_addr(VhostUserMessage *msg, const VhostPlan *plan, const VhostRing *ring)
{
    VhostUserVringAddr *a = &msg->payload.addr;
    *a = (VhostUserVringAddr){ .index = ring->index,
                               .flags = plan->log ? VHOST_USER_VRING_LOG : 0,
                               .log = ring->device_addr };
    a->desc = plan->iommu ? ring->iova[0] : (uintptr_t)ring->desc;
    a->avail = plan->iommu ? ring->iova[1] : (uintptr_t)ring->driver;
    a->used = plan->iommu ? ring->iova[2] : (uintptr_t)ring->device;
}

static bool fill_ring_message(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    const VhostRing *ring = &vu->plan->rings[round / ARRAY_LEN(ring_messages)];
    if (!ring->size) {
        return false; /* the driver does not use it */
    }
    msg->header.request = ring_messages[round % ARRAY_LEN(ring_messages)];
    switch (msg->header.request) {
    case VHOST_USER_SET_VRING_NUM:
        msg->payload.state = (VhostUserVringState){ ring->index, ring->size };
        break;
    case VHOST_USER_SET_VRING_BASE:
        msg->payload.state = (VhostUserVringState){ ring->index, ring->base };
        break;
    case VHOST_USER_SET_VRING_ADDR:
        fill_ring_addr(msg, vu->plan, ring);
        break;
    case VHOST_USER_SET_VRING_KICK:
        fill_ring_fd(msg, ring, ring->kick_fd);
        break;
    default:
        fill_ring_fd(msg, ring, ring->call_fd);
        break;
    }
    return true;
}

static unsigned rounds_enable(void *opaque)
{
    VhostUser *vu = opaque;
    return vu->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1 ? vu->plan->count : 0;
}

static bool fill_enable(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    const VhostRing *ring = &((VhostUser *)opaque)->plan->rings[round];
    msg->payload.state = (VhostUserVringState){ ring->index, ring->enabled };
    return ring->size;
}

static unsigned rounds_rings(void *opaque)
{
    return ((VhostUser *)opaque)->plan->count;
}

static bool fill_get_base(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    const VhostRing *ring = &((VhostUser *)opaque)->plan->rings[round];
    msg->payload.state = (VhostUserVringState){ ring->index, 0 };
    return ring->size;
}

static bool take_base(void *opaque, unsigned round, VhostUserMessage *reply, Error **errp)
{
    VhostRing *ring = &((VhostUser *)opaque)->plan->rings[round];
    if (reply->payload.state.index != ring->index) {
        error_set(errp, "asked for queue %u, got queue %u", ring->index,
                  reply->payload.state.index);
        return false;
    }
    ring->base = reply->payload.state.num;
    return true;
}

/* --- MTU --- */

static unsigned if_mtu(void *opaque)
{
    return ((VhostUser *)opaque)->mtu && session_has(opaque, VHOST_USER_PF_NET_MTU);
}

static bool fill_mtu(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    msg->payload.u64 = ((VhostUser *)opaque)->mtu;
    return true;
}

/* --- Status --- */

static unsigned if_status(void *opaque)
{
    return session_has(opaque, VHOST_USER_PF_STATUS);
}

static bool fill_status_running(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    msg->payload.u64 = STATUS_RUNNING;
    return true;
}

/* --- The dirty log --- */

static unsigned if_log(void *opaque)
{
    return ((VhostUser *)opaque)->plan->log != NULL;
}

static bool fill_log(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    const VhostLog *log = ((VhostUser *)opaque)->plan->log;
    msg->payload.log = (VhostUserLog){ .mmap_size = log->size };
    msg->fds[msg->nfds++] = log->fd;
    return true;
}

/* The used rings are written too: each says so anew. */
static bool fill_addr(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp)
{
    VhostUser *vu = opaque;
    const VhostRing *ring = &vu->plan->rings[round];
    if (!ring->size) {
        return false;
    }
    fill_ring_addr(msg, vu->plan, ring);
    return true;
}

/* clang-format off */
const ScriptRow script_start[] = {
    { VHOST_USER_NET_SET_MTU, if_mtu, fill_mtu },
    { VHOST_USER_SET_FEATURES, .fill = fill_features },
    { VHOST_USER_GET_INFLIGHT_FD, if_inflight_needed, fill_inflight_get, take_inflight },
    { VHOST_USER_SET_INFLIGHT_FD, if_inflight, fill_inflight_set },
    { VHOST_USER_SET_MEM_TABLE, if_table, fill_table },
    { VHOST_USER_REM_MEM_REG, rounds_remove, fill_remove },
    { VHOST_USER_ADD_MEM_REG, rounds_add, fill_add },
    { VHOST_USER_SET_LOG_BASE, if_log, fill_log },
    { VHOST_USER_SET_VRING_NUM, rounds_ring_messages, fill_ring_message, .no_ack = true },
    { VHOST_USER_SET_VRING_ENABLE, rounds_enable, fill_enable },
    { VHOST_USER_SET_STATUS, if_status, fill_status_running },
    { 0 },
};

/* GET_VRING_BASE stops the ring: when it is answered the back end has let go of it. */
const ScriptRow script_stop[] = {
    { VHOST_USER_GET_VRING_BASE, rounds_rings, fill_get_base, take_base },
    { VHOST_USER_SET_STATUS, if_status },
    { 0 },
};

/* The acknowledgements of the last rows say that nobody writes to a former log any more. */
const ScriptRow script_log[] = {
    { VHOST_USER_SET_LOG_BASE, if_log, fill_log },
    { VHOST_USER_SET_FEATURES, .fill = fill_features },
    { VHOST_USER_SET_VRING_ADDR, rounds_rings, fill_addr },
    { 0 },
};

const ScriptRow script_enable[] = {
    { VHOST_USER_SET_VRING_ENABLE, rounds_enable, fill_enable },
    { 0 },
};

const ScriptRow script_memory[] = {
    { VHOST_USER_SET_MEM_TABLE, if_table, fill_table },
    { VHOST_USER_REM_MEM_REG, rounds_remove, fill_remove },
    { VHOST_USER_ADD_MEM_REG, rounds_add, fill_add },
    { 0 },
};
/* clang-format on */
