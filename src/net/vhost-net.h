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

/* Of a NIC's peer; NULL (also for NULL) if frames go through the net clients. */
VhostNet *vhost_net_of(const NetClient *peer);
VhostDevice *vhost_net_device(VhostNet *net);
/* Have the back end announce the address (after a migration, or on the user's word). */
void vhost_net_announce(VhostNet *net, const uint8_t mac[6]);
void vhost_net_set_mtu(VhostNet *net, uint16_t mtu);

/* Feature bits of a network device that the back end must have for the driver to get them; the
 * front end does the others by itself. */
extern const uint64_t vhost_net_backend_features;

#endif
