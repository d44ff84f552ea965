#include "net/vhost-net.h"

VhostNet *vhost_net_of(const NetClient *peer)
{
    return peer ? peer->vhost : NULL;
}

VhostDevice *vhost_net_device(VhostNet *net)
{
    return net->dev;
}

void vhost_net_announce(VhostNet *net, const uint8_t mac[6])
{
    if (net->announce) {
        net->announce(net, mac);
    }
}

void vhost_net_set_mtu(VhostNet *net, uint16_t mtu)
{
    if (net->set_mtu) {
        net->set_mtu(net, mtu);
    }
}
