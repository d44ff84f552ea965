/* virtio-net-pci and its variants. */
#include "devices/virtio/net/net-internal.h"
#include "devices/virtio/transport/virtio-pci.h"

/* Room for MSI-X vectors: a pair of queues each, the control queue, the configuration. */
static bool net_pci_prepare(VirtioPciProxy *proxy, Error **errp)
{
    VirtioNet *n = virtio_net_cast(proxy->vdev);
    if (proxy->vectors == VIRTIO_PCI_VECTORS_AUTO) {
        proxy->vectors = 2 * MAX_OF(1, n->nic_conf.peers.count) + 2;
    }
    return true;
}

static const VirtioPciTypes net_pci_types = {
    .name = "virtio-net",
    .backend_type = TYPE_VIRTIO_NET,
    .help = "virtio network device",
    .virtio_id = VIRTIO_ID_NET,
    .legacy_device_id = 0x1000,
    .class_id = PCI_CLASS_NETWORK_ETHERNET,
    .category = DEVICE_CATEGORY_NETWORK,
    .vectors = VIRTIO_PCI_VECTORS_AUTO,
    .prepare = net_pci_prepare,
};
VIRTIO_PCI_TYPES(net_pci, net_pci_types)
