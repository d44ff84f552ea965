/* virtio-balloon-pci and its variants. */
#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/transport/virtio-pci.h"

/* What the backend's own properties can't reach through aliases: the dynamic ones. */
static bool balloon_pci_prepare(VirtioPciProxy *proxy, Error **errp)
{
    Object *backend = &proxy->vdev->parent.parent;
    object_add_alias(&proxy->parent.parent.parent, "guest-stats", backend, "guest-stats");
    object_add_alias(&proxy->parent.parent.parent, "guest-stats-polling-interval", backend,
                     "guest-stats-polling-interval");
    return true;
}

static const VirtioPciTypes balloon_pci_types = {
    .name = "virtio-balloon",
    .backend_type = TYPE_VIRTIO_BALLOON,
    .help = "virtio memory balloon",
    .virtio_id = VIRTIO_ID_BALLOON,
    .legacy_device_id = 0x1002,
    .class_id = PCI_CLASS_NOT_DEFINED | 0xff,
    .category = DEVICE_CATEGORY_MISC,
    .vectors = 0,
    .prepare = balloon_pci_prepare,
};
VIRTIO_PCI_TYPES(balloon_pci, balloon_pci_types)
