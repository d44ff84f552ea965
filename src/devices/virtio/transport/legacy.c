/* The legacy register layout in I/O space (VIRTIO 1.3 section 4.1.4.10). */
#include "base/log.h"
#include "devices/virtio/transport/virtio-pci-internal.h"

static unsigned config_start(const VirtioPciProxy *p)
{
    return msix_enabled(&p->parent) ? LEGACY_CONFIG_MSI : LEGACY_CONFIG;
}

static uint64_t legacy_read(void *opaque, hwaddr addr, unsigned size)
{
    VirtioPciProxy *p = opaque;
    VirtioDevice *vdev = p->vdev;
    unsigned q = vdev->queue_sel;
    bool has_queue = q < vdev->queue_count;
    unsigned start = config_start(p);
    if (addr >= start) {
        return virtio_config_read(vdev, addr - start, size);
    }
    switch (addr) {
    case LEGACY_HOST_FEATURES:
        return (uint32_t)(vdev->host_features &
                          ~virtio_device_class_of(vdev)->legacy_hidden_features);
    case LEGACY_GUEST_FEATURES:
        return (uint32_t)vdev->guest_features;
    case LEGACY_QUEUE_PFN:
        return has_queue ? virtio_queue_desc_address(vdev, q) / VIRTIO_LEGACY_QUEUE_ALIGN : 0;
    case LEGACY_QUEUE_NUM:
        return has_queue ? virtio_queue_max_size(vdev, q) : 0;
    case LEGACY_QUEUE_SEL:
        return q;
    case LEGACY_STATUS:
        return virtio_status(vdev);
    case LEGACY_ISR:
        return virtio_take_isr(vdev);
    case LEGACY_MSI_CONFIG_VECTOR:
        return vdev->config_vector;
    case LEGACY_MSI_QUEUE_VECTOR:
        return has_queue ? virtio_queue_vector(vdev, q) : VIRTIO_NO_VECTOR;
    default:
        return UINT64_MAX;
    }
}

static void legacy_set_pfn(VirtioPciProxy *p, uint32_t pfn)
{
    VirtioDevice *vdev = p->vdev;
    if (vdev->queue_sel < vdev->queue_count) {
        virtio_queue_set_legacy_address(vdev, vdev->queue_sel,
                                        (hwaddr)pfn * VIRTIO_LEGACY_QUEUE_ALIGN);
    }
}

static void legacy_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    VirtioPciProxy *p = opaque;
    VirtioDevice *vdev = p->vdev;
    unsigned q = vdev->queue_sel;
    unsigned start = config_start(p);
    if (addr >= start) {
        virtio_config_write(vdev, addr - start, value, size);
        return;
    }
    switch (addr) {
    case LEGACY_GUEST_FEATURES:
        /* 2.2.3: what was not offered is dropped, there is no way to refuse it. */
        (void)virtio_set_features(vdev, (uint32_t)value & vdev->host_features);
        break;
    case LEGACY_QUEUE_PFN:
        legacy_set_pfn(p, value);
        break;
    case LEGACY_QUEUE_SEL:
        if (value < VIRTIO_QUEUE_MAX) {
            vdev->queue_sel = value;
        }
        break;
    case LEGACY_QUEUE_NOTIFY:
        virtio_queue_kick(vdev, value & 0xffff, value);
        break;
    case LEGACY_STATUS:
        /* FEATURES_OK is not of this interface. */
        virtio_set_status(vdev, value & ~VIRTIO_STATUS_FEATURES_OK & 0xff);
        virtio_hold_until_reset(vdev);
        break;
    case LEGACY_MSI_CONFIG_VECTOR:
        vdev->config_vector = virtio_pci_set_vector(p, vdev->config_vector, value);
        break;
    case LEGACY_MSI_QUEUE_VECTOR:
        if (q < vdev->queue_count) {
            virtio_queue_set_vector(vdev, q,
                                    virtio_pci_set_vector(p, virtio_queue_vector(vdev, q), value));
        }
        break;
    default:
        log_guest_error("%s: legacy write of 0x%x at %u\n", vdev->name, (unsigned)value,
                        (unsigned)addr);
    }
}

static const MemoryRegionOps legacy_ops = {
    .read = legacy_read,
    .write = legacy_write,
    .valid = { .min = 1, .max = 4, .unaligned = true },
    .impl = { .min = 1, .max = 4, .unaligned = true },
};

void virtio_pci_legacy_init(VirtioPciProxy *p)
{
    uint64_t size =
        (msix_present(&p->parent) ? LEGACY_CONFIG_MSI : LEGACY_CONFIG) + p->vdev->config_len;
    memory_region_init_io(&p->legacy_bar, &p->parent.parent.parent, &legacy_ops, p, "virtio-pci",
                          round_up_power_of_two(size));
    pci_register_bar(&p->parent, LEGACY_BAR, PCI_BASE_ADDRESS_SPACE_IO, &p->legacy_bar);
}
