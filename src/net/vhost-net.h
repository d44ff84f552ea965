/*
 * Net clients whose frames never come through here: a vhost back end works the NIC's queues. The
 * NIC finds the VhostNet behind its peer and hands the queues over.
 *
 * Machine lock held.
 */
#ifndef NET_VHOST_NET_H
#define NET_VHOST_NET_H

#include "net/net.h"
#include "vhost/vhost.h"

typedef struct VhostNet VhostNet;

/* What a net client with a vhost back end begins its state with, and hangs on NetClient.vhost. */
struct VhostNet {
    VhostDevice *dev;
    /* Features that the driver gets only if the back end has them; the front end or the host's
     * interface does the others. */
    uint64_t backend_features;
    bool guest_offloads; /* the driver can switch offloads while it runs */
    /* Optional. */
    void (*announce)(VhostNet *net, const uint8_t mac[6]);
    void (*set_mtu)(VhostNet *net, uint16_t mtu);
};

/* Of a NIC's peer; NULL (also for NULL) if frames go through the net clients. */
VhostNet *vhost_net_of(const NetClient *peer);
VhostDevice *vhost_net_device(VhostNet *net);
/* Have the back end announce the address (after a migration, or on the user's word). */
void vhost_net_announce(VhostNet *net, const uint8_t mac[6]);
void vhost_net_set_mtu(VhostNet *net, uint16_t mtu);

/* For VhostNet.backend_features: all that says what frames and rings look like, and what of it is
 * left where the host's interface makes and takes the frames. */
extern const uint64_t vhost_net_backend_features, vhost_net_kernel_features;

#endif
