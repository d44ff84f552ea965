/* virtio-serial-pci and its variants. */
#include "devices/virtio/console/serial.h"
#include "devices/virtio/transport/virtio-pci.h"

/* A vector for the configuration, one for all queues: the control queue tells which port. */
static const VirtioPciTypes serial_pci_types = {
    .name = "virtio-serial",
    .backend_type = TYPE_VIRTIO_SERIAL,
    .help = "virtio serial controller",
    .virtio_id = VIRTIO_ID_CONSOLE,
    .legacy_device_id = 0x1003,
    .class_id = PCI_CLASS_COMMUNICATION_OTHER,
    .category = DEVICE_CATEGORY_INPUT,
    .vectors = 2,
};
VIRTIO_PCI_TYPES(serial_pci, serial_pci_types)
