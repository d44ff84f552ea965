/*
 * vhost-user-vsock: sockets between guest and host, carried by another process (VIRTIO 1.3 section
 * 5.10). The back end works receive and transmit queue; the event queue is worked here.
 */
#include "devices/virtio/vhost-user/base.h"
#include "devices/virtio/vsock/vsock-spec.h"

typedef struct VhostUserVsock {
    VhostUserBase parent;
    uint64_t guest_cid; /* 0: the back end's */
    OnOffAuto seqpacket;
} VhostUserVsock;

static bool vsock_make_shape(VhostUserBase *b, VhostUserShape *s, Error **errp)
{
    VhostUserVsock *v = (VhostUserVsock *)b;
    if (v->guest_cid && !vsock_cid_is_valid(v->guest_cid)) {
        error_set(errp, "guest-cid must be between %d and 0x%x, got %" G_GUINT64_FORMAT,
                  VSOCK_CID_FIRST, VSOCK_CID_LAST, v->guest_cid);
        return false;
    }
    if (v->guest_cid) {
        s->backend_config = 0;
    }
    if (v->seqpacket == ON_OFF_AUTO_OFF) {
        s->features &= ~BIT64(VIRTIO_VSOCK_F_SEQPACKET);
    } else if (v->seqpacket == ON_OFF_AUTO_ON) {
        s->needed |= BIT64(VIRTIO_VSOCK_F_SEQPACKET);
    }
    return true;
}

static void vsock_get_config(VhostUserBase *b, uint8_t *config)
{
    VhostUserVsock *v = (VhostUserVsock *)b;
    if (v->guest_cid) {
        st64_le(config, v->guest_cid);
    }
}

/* 5.10.6.6: a new back end knows nothing of the connections there were. */
static void vsock_connected(VhostUserBase *b, bool again)
{
    if (again && virtio_is_running(&b->parent)) {
        vsock_send_transport_reset(&b->parent, virtio_queue(&b->parent, VSOCK_EVENT_QUEUE));
    }
}

static const VmState vsock_vmstate = VHOST_USER_VMSTATE("vhost-user-vsock");

static const Field vsock_properties[] = {
    PROP_UINT64("guest-cid", VhostUserVsock, guest_cid, 0,
                .help = "the guest's context id; 0: the back end tells it"),
    PROP_ON_OFF_AUTO("seqpacket", VhostUserVsock, seqpacket, ON_OFF_AUTO_AUTO,
                     .help = "offer sockets that keep message boundaries; on: the back end must"),
    {}
};

static const VhostUserModel vsock_model = {
    .type = "vhost-user-vsock-device",
    .instance_size = sizeof(VhostUserVsock),
    .properties = vsock_properties,
    .vmstate = &vsock_vmstate,
    .pci = { .name = "vhost-user-vsock",
             .backend_type = "vhost-user-vsock-device",
             .help = "sockets between guest and host through another process, over vhost-user",
             .virtio_id = VIRTIO_ID_VSOCK,
             .class_id = PCI_CLASS_COMMUNICATION_OTHER,
             .category = DEVICE_CATEGORY_MISC,
             .vectors = 3 },
    .shape = { .queues = VSOCK_QUEUES,
               .backend_queues = VSOCK_EVENT_QUEUE,
               .queue_size = VSOCK_QUEUE_SIZE,
               .config_size = VSOCK_CONFIG_SIZE,
               .backend_config = VSOCK_CONFIG_SIZE,
               .features = BIT64(VIRTIO_VSOCK_F_STREAM) | BIT64(VIRTIO_VSOCK_F_SEQPACKET) |
                           BIT64(VIRTIO_VSOCK_F_NO_IMPLIED_STREAM),
               .needed = BIT64(VIRTIO_F_VERSION_1) },
    .make_shape = vsock_make_shape,
    .get_config = vsock_get_config,
    .connected = vsock_connected,
};
VHOST_USER_MODEL(vhost_user_vsock, vsock_model)
