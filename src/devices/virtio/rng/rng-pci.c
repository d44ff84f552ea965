/* virtio-rng-pci and its variants. */
#include "devices/virtio/rng/rng.h"
#include "devices/virtio/transport/virtio-pci.h"

static const VirtioPciTypes rng_pci_types = {
    .name = "virtio-rng",
    .backend_type = TYPE_VIRTIO_RNG,
    .help = "virtio entropy source",
    .virtio_id = VIRTIO_ID_RNG,
    .legacy_device_id = 0x1005,
    .class_id = PCI_CLASS_NOT_DEFINED | 0xff,
    .category = DEVICE_CATEGORY_MISC,
    .vectors = 2,
};
VIRTIO_PCI_TYPES(rng_pci, rng_pci_types)
