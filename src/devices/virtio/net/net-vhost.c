/* The network device over a vhost back end: queues are handed over, not worked here. */
#include "devices/virtio/net/net-internal.h"
#include "devices/virtio/virtio-vhost.h"
#include "net/vhost-net.h"
#include "vhost/features.h"

/* 5.1.3 and 6: these say what the frames and rings look like, which is the back end's business. The
 * control queue and all that it carries, MAC, MTU, status and announcements are the front end's. */
const uint64_t vhost_net_backend_features =
    BIT64(VIRTIO_NET_F_CSUM) | BIT64(VIRTIO_NET_F_GUEST_CSUM) | BIT64(VIRTIO_NET_F_GSO) |
    BIT64(VIRTIO_NET_F_GUEST_TSO4) | BIT64(VIRTIO_NET_F_GUEST_TSO6) |
    BIT64(VIRTIO_NET_F_GUEST_ECN) | BIT64(VIRTIO_NET_F_GUEST_UFO) | BIT64(VIRTIO_NET_F_HOST_TSO4) |
    BIT64(VIRTIO_NET_F_HOST_TSO6) | BIT64(VIRTIO_NET_F_HOST_ECN) | BIT64(VIRTIO_NET_F_HOST_UFO) |
    BIT64(VIRTIO_NET_F_GUEST_USO4) | BIT64(VIRTIO_NET_F_GUEST_USO6) | BIT64(VIRTIO_NET_F_HOST_USO) |
    BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_NET_F_RSS) | BIT64(VIRTIO_NET_F_HASH_REPORT) |
    BIT64(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT64(VIRTIO_F_ANY_LAYOUT) | BIT64(VIRTIO_F_INDIRECT_DESC) |
    BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_ACCESS_PLATFORM) |
    BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_IN_ORDER) | BIT64(VIRTIO_F_NOTIFICATION_DATA) |
    BIT64(VIRTIO_F_RING_RESET);

/* A tap makes and takes the frames, and the kernel only moves them: it has a say in their headers
 * and in the rings. */
const uint64_t vhost_net_kernel_features =
    BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_NET_F_RSS) | BIT64(VIRTIO_NET_F_HASH_REPORT) |
    BIT64(VIRTIO_F_NOTIFY_ON_EMPTY) | BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX) |
    BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_ACCESS_PLATFORM) | BIT64(VIRTIO_F_RING_PACKED) |
    BIT64(VIRTIO_F_IN_ORDER) | BIT64(VIRTIO_F_NOTIFICATION_DATA) | BIT64(VIRTIO_F_RING_RESET);

static VhostNet *net_vhost(const VirtioNet *n)
{
    return n->nic ? vhost_net_of(n->nic->queues[0]->peer) : NULL;
}

/* Every back end has these; the driver gets them where it comes before the first back end. */
#define ASSUMED_FEATURES \
    (BIT64(VIRTIO_F_VERSION_1) | BIT64(VIRTIO_F_ANY_LAYOUT) | BIT64(VIRTIO_NET_F_MRG_RXBUF))

/* Nobody gets these without asking: a back end that lacks one isn't what the user wants. */
#define ASKED_FEATURES                                                                            \
    (BIT64(VIRTIO_F_RING_PACKED) | BIT64(VIRTIO_F_IN_ORDER) | BIT64(VIRTIO_F_NOTIFICATION_DATA) | \
     BIT64(VIRTIO_NET_F_RSS) | BIT64(VIRTIO_NET_F_HASH_REPORT))

static uint64_t net_vhost_offered(VirtioNet *n, VhostNet *v)
{
    return vhost_device_filter_features(vhost_net_device(v), n->vhost_wanted, v->backend_features,
                                        ASSUMED_FEATURES);
}

uint64_t net_vhost_features(VirtioNet *n, uint64_t features, Error **errp)
{
    VhostNet *v = net_vhost(n);
    if (!v) {
        return features;
    }
    uint64_t asked = features & ASKED_FEATURES;
    /* An eventfd carries no data. Notification coalescing would need a word with the back end for
     * which there is no message. */
    features &= ~(BIT64(VIRTIO_NET_F_NOTF_COAL) | BIT64(VIRTIO_NET_F_VQ_NOTF_COAL) |
                  BIT64(VIRTIO_F_RING_RESET) | BIT64(VIRTIO_F_NOTIFICATION_DATA));
    if (!v->guest_offloads) {
        features &= ~BIT64(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
    }
    n->vhost_wanted = features;
    uint64_t offered = net_vhost_offered(n, v);
    uint64_t missing = asked & ~offered;
    if (missing && vhost_device_is_known(vhost_net_device(v))) {
        g_autofree char *names = vhost_feature_names(VIRTIO_ID_NET, missing);
        error_set(errp, "netdev '%s': the back end lacks what the device was told to have: %s",
                  n->nic->queues[0]->peer->name, names);
    }
    return offered;
}

bool net_vhost_attach(VirtioNet *n, Error **errp)
{
    VhostNet *v = net_vhost(n);
    if (!v) {
        return true;
    }
    if (n->host_mtu) {
        vhost_net_set_mtu(v, n->host_mtu);
    }
    VhostGuest guest = virtio_vhost_guest(&n->parent);
    return vhost_device_attach(vhost_net_device(v), &guest, 2 * n->max_pairs,
                               address_space_memory(), errp);
}

void net_vhost_detach(VirtioNet *n)
{
    VhostNet *v = net_vhost(n);
    if (v) {
        vhost_device_detach(vhost_net_device(v));
    }
}

/* Without MQ the control queue follows the first pair: the back end gets that pair only. */
bool net_vhost_set_status(VirtioNet *n)
{
    VhostNet *v = net_vhost(n);
    if (!v) {
        return false;
    }
    VhostDevice *dev = vhost_net_device(v);
    bool wanted = virtio_is_running(&n->parent);
    if (wanted && vhost_device_can_set_rings(dev)) {
        vhost_device_set_rings(dev, 2 * (n->multiqueue ? n->max_pairs : 1));
        vhost_device_set_enabled(dev, 0, 2 * n->max_pairs, false);
        vhost_device_set_enabled(dev, 0, 2 * n->curr_pairs, true);
    }
    vhost_device_set_wanted(dev, wanted);
    return true;
}

void net_vhost_reset(VirtioNet *n)
{
    VhostNet *v = net_vhost(n);
    if (v) {
        vhost_device_reset(vhost_net_device(v));
        /* By now there may be a back end that can do more, or less. */
        n->parent.host_features = net_vhost_offered(n, v);
    }
}

bool net_vhost_set_pairs(VirtioNet *n, unsigned pairs)
{
    VhostNet *v = net_vhost(n);
    if (!v) {
        return false;
    }
    vhost_device_set_enabled(vhost_net_device(v), 0, 2 * pairs, true);
    vhost_device_set_enabled(vhost_net_device(v), 2 * pairs, 2 * (n->max_pairs - pairs), false);
    return true;
}

void net_vhost_mask(VirtioDevice *vdev, int queue, bool mask)
{
    VhostNet *v = net_vhost(virtio_net_cast(vdev));
    if (v && queue >= 0) {
        vhost_device_mask(vhost_net_device(v), queue, mask);
    }
}

bool net_vhost_pending(VirtioDevice *vdev, int queue)
{
    VhostNet *v = net_vhost(virtio_net_cast(vdev));
    return v && queue >= 0 && vhost_device_pending(vhost_net_device(v), queue);
}

void net_vhost_announce(VirtioNet *n)
{
    VhostNet *v = net_vhost(n);
    if (v) {
        vhost_net_announce(v, n->mac.a);
    }
}
