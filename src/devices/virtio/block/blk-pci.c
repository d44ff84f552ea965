/* virtio-blk-pci and its variants. */
#include "cpu/cpu.h"
#include "devices/virtio/block/blk.h"
#include "devices/virtio/transport/virtio-pci.h"

/* A queue for each CPU, so that each can complete what it submitted; a vector for each queue. */
static bool blk_pci_prepare(VirtioPciProxy *proxy, Error **errp)
{
    VirtioBlk *b = (VirtioBlk *)object_cast(&proxy->vdev->parent.parent, TYPE_VIRTIO_BLK);
    if (b->num_queues == VIRTIO_BLK_QUEUES_AUTO) {
        b->num_queues = MAX_OF(1, MIN_OF(cpu_count(), VIRTIO_QUEUE_MAX));
    }
    return true;
}

static const VirtioPciTypes blk_pci_types = {
    .name = "virtio-blk",
    .backend_type = TYPE_VIRTIO_BLK,
    .help = "virtio block device",
    .virtio_id = VIRTIO_ID_BLOCK,
    .legacy_device_id = 0x1001,
    .class_id = PCI_CLASS_STORAGE_SCSI,
    .category = DEVICE_CATEGORY_STORAGE,
    .vectors = VIRTIO_PCI_VECTORS_AUTO,
    .prepare = blk_pci_prepare,
};
VIRTIO_PCI_TYPES(blk_pci, blk_pci_types)
