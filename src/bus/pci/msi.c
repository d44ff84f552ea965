/* MSI (PCI 3.0, 6.8.1), and the way messages take. */
#include "bus/pci/msi.h"

#include <string.h>

#include "base/log.h"
#include "event/lock.h"

/* Offsets in the capability depend on its form. */
struct PciMsi {
    unsigned vectors;
    bool is_64bit, per_vector_mask;
};

void pci_send_msi(PciDevice *dev, MsiMessage msg)
{
    if (dev->msi_trigger) {
        dev->msi_trigger(dev, msg.address, msg.data);
        return;
    }
    if (address_space_store(&dev->dma, msg.address, 4, pci_dma_attrs(dev), msg.data) != MEMTX_OK) {
        log_guest_error("%s: message to 0x%llx went nowhere\n",
                        object_type_name(&dev->parent.parent), (unsigned long long)msg.address);
    }
}

static uint8_t flags_offset(const PciDevice *dev)
{
    return (uint8_t)(dev->msi_cap + PCI_MSI_FLAGS);
}

static uint8_t data_offset(const PciDevice *dev)
{
    return (uint8_t)(dev->msi_cap + (dev->msi->is_64bit ? 0x0c : 0x08));
}

static uint8_t mask_offset(const PciDevice *dev)
{
    return (uint8_t)(dev->msi_cap + (dev->msi->is_64bit ? 0x10 : 0x0c));
}

static uint8_t pending_offset(const PciDevice *dev)
{
    return (uint8_t)(mask_offset(dev) + 4);
}

static uint8_t cap_size(bool is_64bit, bool per_vector_mask)
{
    uint8_t size = is_64bit ? 0x0e : 0x0a;
    return per_vector_mask ? (uint8_t)(is_64bit ? 0x18 : 0x14) : size;
}

bool msi_init(PciDevice *dev, uint8_t offset, unsigned vectors, bool is_64bit, bool per_vector_mask,
              Error **errp)
{
    uint16_t flags = (uint16_t)(__builtin_ctz(vectors) << 1);

    assert(is_power_of_two(vectors) && vectors <= PCI_MSI_VECTORS_MAX && !dev->msi);
    offset =
        pci_add_capability(dev, PCI_CAP_ID_MSI, offset, cap_size(is_64bit, per_vector_mask), errp);
    if (!offset) {
        return false;
    }
    dev->msi = g_new0(PciMsi, 1);
    *dev->msi = (PciMsi){ vectors, is_64bit, per_vector_mask };
    dev->msi_cap = offset;
    flags |= is_64bit ? PCI_MSI_FLAGS_64BIT : 0;
    flags |= per_vector_mask ? PCI_MSI_FLAGS_MASKBIT : 0;
    pci_set_word(dev->config + flags_offset(dev), flags);
    pci_set_word(dev->config_mask + flags_offset(dev), PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE);
    pci_set_long(dev->config_mask + offset + PCI_MSI_ADDRESS_LO, 0xfffffffc);
    if (is_64bit) {
        pci_set_long(dev->config_mask + offset + PCI_MSI_ADDRESS_HI, 0xffffffff);
    }
    pci_set_word(dev->config_mask + data_offset(dev), 0xffff);
    if (per_vector_mask) {
        pci_set_long(dev->config_mask + mask_offset(dev), 0xffffffffu >> (32 - vectors));
        memset(dev->config_check + pending_offset(dev), 0, 4);
    }
    return true;
}

void msi_finish(PciDevice *dev)
{
    if (!dev->msi) {
        return;
    }
    pci_del_capability(dev, PCI_CAP_ID_MSI,
                       cap_size(dev->msi->is_64bit, dev->msi->per_vector_mask));
    g_clear_pointer(&dev->msi, g_free);
    dev->msi_cap = 0;
}

bool msi_present(const PciDevice *dev)
{
    return dev->msi;
}

bool msi_enabled(const PciDevice *dev)
{
    return dev->msi && (pci_get_word(dev->config + flags_offset(dev)) & PCI_MSI_FLAGS_ENABLE);
}

unsigned msi_vectors_allocated(const PciDevice *dev)
{
    uint16_t flags = pci_get_word(dev->config + flags_offset(dev));
    unsigned wanted = 1u << ((flags & PCI_MSI_FLAGS_QSIZE) >> 4);
    return MIN_OF(wanted, dev->msi->vectors); /* a driver may ask for more than there are */
}

MsiMessage msi_message(PciDevice *dev, unsigned vector)
{
    unsigned count = msi_vectors_allocated(dev);
    const uint8_t *cap = dev->config + dev->msi_cap;
    MsiMessage msg = {
        .address = pci_get_long(cap + PCI_MSI_ADDRESS_LO),
        .data = pci_get_word(dev->config + data_offset(dev)),
    };
    if (dev->msi->is_64bit) {
        msg.address |= (uint64_t)pci_get_long(cap + PCI_MSI_ADDRESS_HI) << 32;
    }
    /* The low bits number the vectors. */
    msg.data = (msg.data & ~(count - 1)) | (vector & (count - 1));
    return msg;
}

bool msi_is_masked(const PciDevice *dev, unsigned vector)
{
    return dev->msi->per_vector_mask &&
           (pci_get_long(dev->config + mask_offset(dev)) & 1u << vector);
}

void msi_notify(PciDevice *dev, unsigned vector)
{
    if (!msi_enabled(dev)) {
        return;
    }
    unsigned count = msi_vectors_allocated(dev);
    vector = vector < count ? vector : 0; /* shared when the driver took fewer */
    if (msi_is_masked(dev, vector)) {
        uint8_t *pending = dev->config + pending_offset(dev);
        __atomic_fetch_or((uint32_t *)pending, 1u << vector, __ATOMIC_SEQ_CST);
        return;
    }
    pci_send_msi(dev, msi_message(dev, vector));
}

void msi_config_written(PciDevice *dev, uint32_t addr, unsigned len)
{
    if (!dev->msi || !pci_ranges_overlap(addr, len, dev->msi_cap,
                                         cap_size(dev->msi->is_64bit, dev->msi->per_vector_mask))) {
        return;
    }
    if (!msi_enabled(dev)) {
        return;
    }
    pci_device_deassert_intx(dev); /* 6.8.1.3: with MSI on, pins aren't used */
    if (!dev->msi->per_vector_mask) {
        return;
    }
    uint8_t *pending = dev->config + pending_offset(dev);
    uint32_t deliver = pci_get_long(pending) & ~pci_get_long(dev->config + mask_offset(dev));
    for (unsigned v = 0; v < msi_vectors_allocated(dev); v++) {
        if (deliver & 1u << v) {
            __atomic_fetch_and((uint32_t *)pending, ~(1u << v), __ATOMIC_SEQ_CST);
            pci_send_msi(dev, msi_message(dev, v));
        }
    }
}

void msi_reset(PciDevice *dev)
{
    if (!dev->msi) {
        return;
    }
    uint8_t *flags = dev->config + flags_offset(dev);
    pci_set_word(flags, pci_get_word(flags) & ~(PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE));
    pci_set_long(dev->config + dev->msi_cap + PCI_MSI_ADDRESS_LO, 0);
    if (dev->msi->is_64bit) {
        pci_set_long(dev->config + dev->msi_cap + PCI_MSI_ADDRESS_HI, 0);
    }
    pci_set_word(dev->config + data_offset(dev), 0);
    if (dev->msi->per_vector_mask) {
        pci_set_long(dev->config + mask_offset(dev), 0);
        pci_set_long(dev->config + pending_offset(dev), 0);
    }
}
