/* What the back end asks for on its own channel, once it has been checked. 0 is success. */
#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/report.h"
#include "vhost/user/session.h"
#include "vhost/user/shared-object.h"

#define REFUSED 1

static uint64_t ring_message(VhostUser *vu, const VhostUserMessage *msg)
{
    const VhostBackendEvents *events = vu->backend.events;
    unsigned index = msg->payload.state.index;
    if (!vu->plan || index >= vu->plan->count) {
        return REFUSED;
    }
    if (msg->header.request == VHOST_USER_BACKEND_VRING_CALL) {
        events->ring_call(vu->backend.events_opaque, index);
    } else {
        events->ring_error(vu->backend.events_opaque, index);
    }
    return 0;
}

static uint64_t iotlb_message(VhostUser *vu, const VhostUserIotlb *m)
{
    if (m->type != VHOST_USER_IOTLB_MISS || !vu->plan || !vu->plan->iommu) {
        return REFUSED;
    }
    vu->backend.events->iotlb_miss(vu->backend.events_opaque, m->iova,
                                   m->permission & VHOST_USER_IOTLB_WRITE);
    return 0;
}

static uint64_t refuse_notifier(VhostUser *vu, Error *err)
{
    report_warning("%s: BACKEND_VRING_HOST_NOTIFIER_MSG: %s", vhost_user_channel_label(vu->channel),
                   error_message(err));
    error_free(err);
    return REFUSED;
}

/* A page of the back end's that the driver rings directly. */
static uint64_t host_notifier(VhostUser *vu, const VhostUserMessage *msg)
{
    const VhostUserVringArea *area = &msg->payload.area;
    const VhostBackendEvents *events = vu->backend.events;
    unsigned index = area->u64 & VHOST_USER_VRING_INDEX_MASK;
    Error *err = NULL;
    if (area->u64 & VHOST_USER_VRING_NOFD) {
        return events->host_notifier(vu->backend.events_opaque, index, NULL, 0, NULL) ? 0 : REFUSED;
    }
    if (msg->nfds != 1 || area->size != (uint64_t)sysconf(_SC_PAGESIZE)) {
        error_set(&err, "expected one descriptor and one page, got %u and %" PRIu64 " bytes",
                  msg->nfds, area->size);
        return refuse_notifier(vu, err);
    }
    void *host = mmap(NULL, area->size, PROT_READ | PROT_WRITE, MAP_SHARED, msg->fds[0],
                      (off_t)area->offset);
    if (host == MAP_FAILED) {
        error_set_errno(&err, errno, "queue %u: cannot map the doorbell", index);
        return refuse_notifier(vu, err);
    }
    if (!events->host_notifier(vu->backend.events_opaque, index, host, area->size, &err)) {
        munmap(host, area->size);
        return refuse_notifier(vu, err);
    }
    return 0;
}

uint64_t session_backend_request(VhostUser *vu, VhostUserMessage *msg)
{
    switch (msg->header.request) {
    case VHOST_USER_BACKEND_IOTLB_MSG:
        return iotlb_message(vu, &msg->payload.iotlb);
    case VHOST_USER_BACKEND_VRING_CALL:
    case VHOST_USER_BACKEND_VRING_ERR:
        return ring_message(vu, msg);
    case VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG:
        return host_notifier(vu, msg);
    case VHOST_USER_BACKEND_SHARED_OBJECT_ADD:
        return shared_object_add(&msg->payload.shared, vu) ? 0 : REFUSED;
    case VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP:
        return shared_object_lookup(&msg->payload.shared, vu) ? VHOST_USER_ANSWER_LATER : REFUSED;
    case VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE:
        return shared_object_remove(&msg->payload.shared, vu) ? 0 : REFUSED;
    default:
        return REFUSED; /* allowed by what was negotiated, but nothing here has a use for it */
    }
}
