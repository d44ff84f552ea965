/* virtio-balloon-pci and its variants. */
#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/transport/virtio-pci.h"

static const VirtioPciTypes balloon_pci_types = {
    .name = "virtio-balloon",
    .backend_type = TYPE_VIRTIO_BALLOON,
    .help = "virtio memory balloon",
    .virtio_id = VIRTIO_ID_BALLOON,
    .legacy_device_id = 0x1002,
    .class_id = PCI_CLASS_NOT_DEFINED | 0xff,
    .category = DEVICE_CATEGORY_MISC,
    .vectors = 0,
};
VIRTIO_PCI_TYPES(balloon_pci, balloon_pci_types)
