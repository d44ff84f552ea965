/* The modern registers: four structures in BAR 4, found through capabilities (4.1.4). */
#include <inttypes.h>
#include <sys/mman.h>

#include "base/log.h"
#include "devices/virtio/transport/virtio-pci-internal.h"

/* --- common configuration (4.1.4.3) --- */

static bool selected(const VirtioPciProxy *p, unsigned *q)
{
    *q = p->vdev->queue_sel;
    return *q < p->vdev->queue_count && virtio_queue_max_size(p->vdev, *q);
}

static uint32_t read_queue_field(VirtioPciProxy *p, hwaddr addr)
{
    VirtioDevice *vdev = p->vdev;
    unsigned q;
    if (!selected(p, &q)) {
        return addr == COMMON_Q_MSIX ? VIRTIO_NO_VECTOR : 0;
    }
    const VirtioPciQueue *pq = &p->queues[q];
    switch (addr) {
    case COMMON_Q_SIZE:
        return virtio_queue_size(vdev, q);
    case COMMON_Q_MSIX:
        return virtio_queue_vector(vdev, q);
    case COMMON_Q_ENABLE:
        return virtio_queue_is_enabled(vdev, q);
    case COMMON_Q_NOFF:
    case COMMON_Q_NDATA:
        return q;
    case COMMON_Q_DESCLO:
    case COMMON_Q_DESCHI:
        return pq->desc[addr == COMMON_Q_DESCHI];
    case COMMON_Q_DRIVERLO:
    case COMMON_Q_DRIVERHI:
        return pq->driver[addr == COMMON_Q_DRIVERHI];
    case COMMON_Q_DEVICELO:
    case COMMON_Q_DEVICEHI:
        return pq->device[addr == COMMON_Q_DEVICEHI];
    default:
        return 0; /* a reset is over as soon as it was asked for */
    }
}

static uint64_t common_read(void *opaque, hwaddr addr, unsigned size)
{
    VirtioPciProxy *p = opaque;
    VirtioDevice *vdev = p->vdev;
    switch (addr) {
    case COMMON_DFSELECT:
        return p->device_feature_select;
    case COMMON_DF:
        return p->device_feature_select > 1
                   ? 0
                   : (uint32_t)(vdev->host_features >> (32 * p->device_feature_select));
    case COMMON_GFSELECT:
        return p->driver_feature_select;
    case COMMON_GF:
        return p->driver_feature_select > 1 ? 0 : p->driver_features[p->driver_feature_select];
    case COMMON_MSIX:
        return vdev->config_vector;
    case COMMON_NUMQ:
        return vdev->queue_count;
    case COMMON_STATUS:
        return virtio_status(vdev);
    case COMMON_CFGGENERATION:
        return vdev->generation & 0xff;
    case COMMON_Q_SELECT:
        return vdev->queue_sel;
    default:
        return addr >= COMMON_Q_SIZE && addr <= COMMON_Q_RESET ? read_queue_field(p, addr) : 0;
    }
}

static void enable_queue(VirtioPciProxy *p, unsigned q, uint32_t value)
{
    const VirtioPciQueue *pq = &p->queues[q];
    if (value != 1) {
        log_guest_error("%s: queue_enable of queue %u set to %u\n", p->vdev->name, q, value);
        return;
    }
    virtio_queue_set_rings(p->vdev, q, pq->desc[0] | (uint64_t)pq->desc[1] << 32,
                           pq->driver[0] | (uint64_t)pq->driver[1] << 32,
                           pq->device[0] | (uint64_t)pq->device[1] << 32);
    virtio_queue_enable(p->vdev, q);
}

static void write_queue_field(VirtioPciProxy *p, hwaddr addr, uint32_t value)
{
    VirtioDevice *vdev = p->vdev;
    unsigned q;
    if (!selected(p, &q)) {
        log_guest_error("%s: register %u of queue %u, which does not exist\n", vdev->name,
                        (unsigned)addr, vdev->queue_sel);
        return;
    }
    VirtioPciQueue *pq = &p->queues[q];
    switch (addr) {
    case COMMON_Q_SIZE:
        virtio_queue_set_size(vdev, q, value);
        break;
    case COMMON_Q_MSIX:
        virtio_queue_set_vector(vdev, q,
                                virtio_pci_set_vector(p, virtio_queue_vector(vdev, q), value));
        break;
    case COMMON_Q_ENABLE:
        enable_queue(p, q, value);
        break;
    case COMMON_Q_DESCLO:
    case COMMON_Q_DESCHI:
        pq->desc[addr == COMMON_Q_DESCHI] = value;
        break;
    case COMMON_Q_DRIVERLO:
    case COMMON_Q_DRIVERHI:
        pq->driver[addr == COMMON_Q_DRIVERHI] = value;
        break;
    case COMMON_Q_DEVICELO:
    case COMMON_Q_DEVICEHI:
        pq->device[addr == COMMON_Q_DEVICEHI] = value;
        break;
    case COMMON_Q_RESET:
        if (value == 1 && virtio_has_feature(vdev, VIRTIO_F_RING_RESET)) {
            virtio_queue_reset(vdev, q);
        }
        break;
    default:
        log_guest_error("%s: write to the read-only register %u\n", vdev->name, (unsigned)addr);
    }
}

static void write_features(VirtioPciProxy *p, uint32_t value)
{
    if (p->driver_feature_select > 1) {
        return;
    }
    p->driver_features[p->driver_feature_select] = value;
    /* FEATURES_OK will not stick if these were too many. */
    (void)virtio_set_features(p->vdev,
                              p->driver_features[0] | (uint64_t)p->driver_features[1] << 32);
}

static void common_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    VirtioPciProxy *p = opaque;
    VirtioDevice *vdev = p->vdev;
    switch (addr) {
    case COMMON_DFSELECT:
        p->device_feature_select = value;
        break;
    case COMMON_GFSELECT:
        p->driver_feature_select = value;
        break;
    case COMMON_GF:
        write_features(p, value);
        break;
    case COMMON_MSIX:
        vdev->config_vector = virtio_pci_set_vector(p, vdev->config_vector, value);
        break;
    case COMMON_STATUS:
        virtio_set_status(vdev, value & 0xff);
        break;
    case COMMON_Q_SELECT:
        if (value < VIRTIO_QUEUE_MAX) {
            vdev->queue_sel = value;
        }
        break;
    default:
        if (addr >= COMMON_Q_SIZE && addr <= COMMON_Q_RESET) {
            write_queue_field(p, addr, value);
        } else {
            log_guest_error("%s: write to the read-only register %u\n", vdev->name, (unsigned)addr);
        }
    }
}

static const MemoryRegionOps common_ops = {
    .read = common_read,
    .write = common_write,
    .valid = { .min = 1, .max = 8 },
    .impl = { .min = 1, .max = 4 },
};

/* --- ISR, device configuration, doorbells --- */

static uint64_t isr_read(void *opaque, hwaddr addr, unsigned size)
{
    VirtioPciProxy *p = opaque;
    return addr ? 0 : virtio_take_isr(p->vdev);
}

static void isr_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
}

static const MemoryRegionOps isr_ops = {
    .read = isr_read,
    .write = isr_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 4 },
};

static uint64_t config_read(void *opaque, hwaddr addr, unsigned size)
{
    VirtioPciProxy *p = opaque;
    return virtio_config_read(p->vdev, addr, size);
}

static void config_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    VirtioPciProxy *p = opaque;
    virtio_config_write(p->vdev, addr, value, size);
}

static const MemoryRegionOps config_ops = {
    .read = config_read,
    .write = config_write,
    .valid = { .min = 1, .max = 8 },
    .impl = { .min = 1, .max = 4 },
};

static uint64_t notify_read(void *opaque, hwaddr addr, unsigned size)
{
    return 0;
}

static void notify_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    VirtioPciProxy *p = opaque;
    virtio_queue_kick(p->vdev, addr / p->notify_step, value);
}

static void notify_io_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    VirtioPciProxy *p = opaque;
    virtio_queue_kick(p->vdev, value & 0xffff, value);
}

static const MemoryRegionOps notify_ops = {
    .read = notify_read,
    .write = notify_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 4 },
};

static const MemoryRegionOps notify_io_ops = {
    .read = notify_read,
    .write = notify_io_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 4 },
};

/* --- configuration access through configuration space (4.1.4.9) --- */

/* The structure that a window of BAR 4 or 2 lies in. */
static MemoryRegion *window_target(VirtioPciProxy *p, uint32_t len, uint64_t *offset)
{
    const uint8_t *cap = p->parent.config + p->cfg_cap;
    uint32_t at = ld32_le(cap + CAP_OFFSET);
    if ((len != 1 && len != 2 && len != 4) || at % len) {
        return NULL;
    }
    if (cap[CAP_BAR] == MODERN_IO_BAR && p->modern_pio_notify &&
        at + (uint64_t)len <= NOTIFY_STEP) {
        *offset = at;
        return &p->notify_io;
    }
    if (cap[CAP_BAR] != MODERN_BAR) {
        return NULL;
    }
    const struct {
        MemoryRegion *mr;
        uint64_t at;
    } parts[] = {
        { &p->common, MODERN_COMMON_AT },
        { &p->isr, MODERN_ISR_AT },
        { &p->config, MODERN_CONFIG_AT },
        { &p->notify, MODERN_NOTIFY_AT },
    };
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        uint64_t size = memory_region_size(parts[i].mr);
        if (at >= parts[i].at && at - parts[i].at + (uint64_t)len <= size) {
            *offset = at - parts[i].at;
            return parts[i].mr;
        }
    }
    return NULL;
}

static bool touches_data(VirtioPciProxy *p, uint32_t addr, unsigned len)
{
    return p->cfg_cap && pci_ranges_overlap(addr, len, p->cfg_cap + CAP_PCI_DATA, 4);
}

uint32_t virtio_pci_config_read(PciDevice *dev, uint32_t addr, unsigned len)
{
    VirtioPciProxy *p = virtio_pci_cast(dev);
    if (touches_data(p, addr, len)) {
        uint8_t *cap = dev->config + p->cfg_cap;
        uint32_t width = ld32_le(cap + CAP_LENGTH);
        uint64_t offset, value;
        MemoryRegion *mr = window_target(p, width, &offset);
        if (mr && memory_region_dispatch_read(mr, offset, &value, width, MEMTXATTRS_UNSPECIFIED) ==
                      MEMTX_OK) {
            stn_le(cap + CAP_PCI_DATA, width, value);
        }
    }
    return pci_default_config_read(dev, addr, len);
}

void virtio_pci_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    VirtioPciProxy *p = virtio_pci_cast(dev);
    pci_default_config_write(dev, addr, value, len);
    /* Without bus mastering the device can't work: it stops as if the driver had gone. */
    if (pci_ranges_overlap(addr, len, PCI_COMMAND, 2) && p->vdev->started &&
        !(pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_MASTER)) {
        virtio_set_status(p->vdev, virtio_status(p->vdev) & ~VIRTIO_STATUS_DRIVER_OK);
    }
    if (touches_data(p, addr, len)) {
        const uint8_t *cap = dev->config + p->cfg_cap;
        uint32_t width = ld32_le(cap + CAP_LENGTH);
        uint64_t offset;
        MemoryRegion *mr = window_target(p, width, &offset);
        if (mr) {
            (void)memory_region_dispatch_write(mr, offset, ldn_le(cap + CAP_PCI_DATA, width), width,
                                               MEMTXATTRS_UNSPECIFIED);
        }
    }
}

/* --- Doorbells in a back end's memory --- */

static void doorbell_release(void *opaque, RamBlock *block)
{
    munmap(block->host, block->size);
}

static void doorbell_free(struct rcu_head *head)
{
    VirtioPciDoorbell *d = CONTAINER_OF(head, VirtioPciDoorbell, rcu);
    memory_region_finish(&d->mr);
    g_free(d);
}

static void drop_doorbell(VirtioPciProxy *p, unsigned index)
{
    VirtioPciDoorbell *d = p->doorbells[index];
    if (d) {
        p->doorbells[index] = NULL;
        memory_region_del(&p->modern_bar, &d->mr);
        rcu_defer(&d->rcu, doorbell_free); /* vCPUs may be on the way to it */
    }
}

bool virtio_pci_set_doorbell(Device *proxy, unsigned index, void *host, uint64_t len, Error **errp)
{
    VirtioPciProxy *p = virtio_pci_cast(proxy);
    drop_doorbell(p, index);
    if (!host) {
        return true;
    }
    if (!p->modern || p->notify_step != len) {
        error_set(errp,
                  "the doorbells of %s lie %u bytes apart, and the back end's memory has %" PRIu64
                  "; use page-per-vq=on",
                  p->vdev->name, p->notify_step, len);
        return false;
    }
    g_autofree char *name = g_strdup_printf("virtio-pci-doorbell-%u", index);
    const RamBlockSpec spec = { .id = name,
                                .host = host,
                                .size = len,
                                .page_size = NOTIFY_STEP_PAGE,
                                .fd = -1,
                                .release = doorbell_release };
    RamBlock *block = ram_block_wrap(&spec, errp);
    if (!block) {
        return false;
    }
    block->migratable = false;
    VirtioPciDoorbell *d = g_new0(VirtioPciDoorbell, 1);
    if (!memory_region_init_ram_block(&d->mr, &p->parent.parent.parent, name, block, errp)) {
        block->release = NULL; /* the memory stays the caller's */
        ram_block_unref(block);
        g_free(d);
        return false;
    }
    ram_block_unref(block); /* the region's now */
    memory_region_add_overlap(&p->modern_bar, MODERN_NOTIFY_AT + (hwaddr)index * p->notify_step,
                              &d->mr, 1);
    p->doorbells[index] = d;
    return true;
}

/* --- making it --- */

static uint8_t add_cap(VirtioPciProxy *p, uint8_t type, uint8_t bar, uint32_t at, uint32_t length,
                       uint8_t size, Error **errp)
{
    uint8_t cap = pci_add_capability(&p->parent, PCI_CAP_ID_VENDOR, 0, size, errp);
    if (cap) {
        uint8_t *c = p->parent.config + cap;
        c[CAP_LEN] = size;
        c[CAP_TYPE] = type;
        c[CAP_BAR] = bar;
        st32_le(c + CAP_OFFSET, at);
        st32_le(c + CAP_LENGTH, length);
    }
    return cap;
}

static bool add_caps(VirtioPciProxy *p, Error **errp)
{
    uint32_t notify_size = memory_region_size(&p->notify);
    uint8_t cap;
    if (!add_cap(p, CAP_COMMON_CFG, MODERN_BAR, MODERN_COMMON_AT, MODERN_PART_SIZE, CAP_SIZE,
                 errp) ||
        !add_cap(p, CAP_ISR_CFG, MODERN_BAR, MODERN_ISR_AT, MODERN_PART_SIZE, CAP_SIZE, errp) ||
        !add_cap(p, CAP_DEVICE_CFG, MODERN_BAR, MODERN_CONFIG_AT, MODERN_PART_SIZE, CAP_SIZE,
                 errp)) {
        return false;
    }
    cap = add_cap(p, CAP_NOTIFY_CFG, MODERN_BAR, MODERN_NOTIFY_AT, notify_size, CAP_NOTIFY_SIZE,
                  errp);
    if (!cap) {
        return false;
    }
    st32_le(p->parent.config + cap + CAP_NOTIFY_MULTIPLIER, p->notify_step);
    if (p->modern_pio_notify) {
        cap = add_cap(p, CAP_NOTIFY_CFG, MODERN_IO_BAR, 0, NOTIFY_STEP, CAP_NOTIFY_SIZE, errp);
        if (!cap) {
            return false;
        }
    }
    cap = add_cap(p, CAP_PCI_CFG, 0, 0, 0, CAP_PCI_SIZE, errp);
    if (!cap) {
        return false;
    }
    p->cfg_cap = cap;
    uint8_t *mask = p->parent.config_mask + cap;
    mask[CAP_BAR] = 0xff;
    st32_le(mask + CAP_OFFSET, UINT32_MAX);
    st32_le(mask + CAP_LENGTH, UINT32_MAX);
    st32_le(mask + CAP_PCI_DATA, UINT32_MAX);
    return true;
}

bool virtio_pci_modern_init(VirtioPciProxy *p, Error **errp)
{
    Object *owner = &p->parent.parent.parent;
    uint64_t notify_size = (uint64_t)p->notify_step * VIRTIO_QUEUE_MAX;
    memory_region_init_io(&p->common, owner, &common_ops, p, "virtio-pci-common", MODERN_PART_SIZE);
    memory_region_init_io(&p->isr, owner, &isr_ops, p, "virtio-pci-isr", MODERN_PART_SIZE);
    memory_region_init_io(&p->config, owner, &config_ops, p, "virtio-pci-device", MODERN_PART_SIZE);
    memory_region_init_io(&p->notify, owner, &notify_ops, p, "virtio-pci-notify", notify_size);
    memory_region_init_io(&p->notify_io, owner, &notify_io_ops, p, "virtio-pci-notify-pio",
                          NOTIFY_STEP);
    memory_region_init(&p->modern_bar, owner, "virtio-pci",
                       round_up_power_of_two(MODERN_NOTIFY_AT + notify_size));
    memory_region_add(&p->modern_bar, MODERN_COMMON_AT, &p->common);
    memory_region_add(&p->modern_bar, MODERN_ISR_AT, &p->isr);
    memory_region_add(&p->modern_bar, MODERN_CONFIG_AT, &p->config);
    memory_region_add(&p->modern_bar, MODERN_NOTIFY_AT, &p->notify);
    if (!add_caps(p, errp)) {
        return false;
    }
    if (p->modern_pio_notify) {
        pci_register_bar(&p->parent, MODERN_IO_BAR, PCI_BASE_ADDRESS_SPACE_IO, &p->notify_io);
    }
    pci_register_bar(&p->parent, MODERN_BAR,
                     PCI_BASE_ADDRESS_SPACE_MEMORY | PCI_BASE_ADDRESS_MEM_PREFETCH |
                         PCI_BASE_ADDRESS_MEM_TYPE_64,
                     &p->modern_bar);
    return true;
}
