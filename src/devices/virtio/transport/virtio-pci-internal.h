/* What the files of the PCI transport share. */
#ifndef DEVICES_VIRTIO_TRANSPORT_VIRTIO_PCI_INTERNAL_H
#define DEVICES_VIRTIO_TRANSPORT_VIRTIO_PCI_INTERNAL_H

#include "devices/virtio/transport/virtio-pci.h"

/* 4.1.4.10 Legacy registers */
enum {
    LEGACY_HOST_FEATURES = 0,
    LEGACY_GUEST_FEATURES = 4,
    LEGACY_QUEUE_PFN = 8,
    LEGACY_QUEUE_NUM = 12,
    LEGACY_QUEUE_SEL = 14,
    LEGACY_QUEUE_NOTIFY = 16,
    LEGACY_STATUS = 18,
    LEGACY_ISR = 19,
    LEGACY_CONFIG = 20, /* without MSI-X */
    LEGACY_MSI_CONFIG_VECTOR = 20,
    LEGACY_MSI_QUEUE_VECTOR = 22,
    LEGACY_CONFIG_MSI = 24, /* with MSI-X on */
};

/* 4.1.4.3 Common configuration */
enum {
    COMMON_DFSELECT = 0,
    COMMON_DF = 4,
    COMMON_GFSELECT = 8,
    COMMON_GF = 12,
    COMMON_MSIX = 16,
    COMMON_NUMQ = 18,
    COMMON_STATUS = 20,
    COMMON_CFGGENERATION = 21,
    COMMON_Q_SELECT = 22,
    COMMON_Q_SIZE = 24,
    COMMON_Q_MSIX = 26,
    COMMON_Q_ENABLE = 28,
    COMMON_Q_NOFF = 30,
    COMMON_Q_DESCLO = 32,
    COMMON_Q_DESCHI = 36,
    COMMON_Q_DRIVERLO = 40,
    COMMON_Q_DRIVERHI = 44,
    COMMON_Q_DEVICELO = 48,
    COMMON_Q_DEVICEHI = 52,
    COMMON_Q_NDATA = 56,
    COMMON_Q_RESET = 58,
};

/* BAR 4: where each structure lies, as drivers and tools have come to know it. */
enum {
    MODERN_COMMON_AT = 0x0000,
    MODERN_ISR_AT = 0x1000,
    MODERN_CONFIG_AT = 0x2000,
    MODERN_NOTIFY_AT = 0x3000,
    MODERN_PART_SIZE = 0x1000,
    NOTIFY_STEP = 4,
    NOTIFY_STEP_PAGE = 4096,
};

enum { LEGACY_BAR = 0, MSIX_BAR = 1, MODERN_IO_BAR = 2, MODERN_BAR = 4 };

/* 4.1.4 Capability structure: cfg_type */
enum {
    CAP_COMMON_CFG = 1,
    CAP_NOTIFY_CFG = 2,
    CAP_ISR_CFG = 3,
    CAP_DEVICE_CFG = 4,
    CAP_PCI_CFG = 5,
};
enum {
    CAP_LEN = 2,
    CAP_TYPE = 3,
    CAP_BAR = 4,
    CAP_OFFSET = 8,
    CAP_LENGTH = 12,
    CAP_SIZE = 16,
    CAP_NOTIFY_MULTIPLIER = 16,
    CAP_NOTIFY_SIZE = 20,
    CAP_PCI_DATA = 16,
    CAP_PCI_SIZE = 20,
};

/* --- modern.c --- */

bool virtio_pci_modern_init(VirtioPciProxy *proxy, Error **errp);
/* Accesses of configuration space that touch the access capability (4.1.4.9). */
uint32_t virtio_pci_config_read(PciDevice *dev, uint32_t addr, unsigned len);
void virtio_pci_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len);

/* VirtioBusClass.set_doorbell */
bool virtio_pci_set_doorbell(Device *proxy, unsigned index, void *host, uint64_t len, Error **errp);

/* --- legacy.c --- */

void virtio_pci_legacy_init(VirtioPciProxy *proxy);

/* --- virtio-pci.c --- */

/* Take a vector, give up the old one; returns what the driver reads back. */
uint16_t virtio_pci_set_vector(VirtioPciProxy *proxy, uint16_t old, uint16_t vector);

/* notifiers.c: VirtioBusClass.set_guest_notifiers */
MUST_CHECK bool virtio_pci_set_guest_notifiers(Device *proxy, unsigned n, bool on, Error **errp);

#endif
