/*
 * Message-signalled interrupts: MSI (PCI 3.0, 6.8.1) and MSI-X (6.8.2).
 *
 * init is called from a device's realize, finish from its exit (finish is harmless without init).
 * notify may be called from any thread; everything else needs the machine lock.
 */
#ifndef BUS_PCI_MSI_H
#define BUS_PCI_MSI_H

#include "bus/pci/pci.h"

#define PCI_MSI_VECTORS_MAX  32
#define PCI_MSIX_VECTORS_MAX 2048

typedef struct MsiMessage {
    uint64_t address;
    uint32_t data;
} MsiMessage;

/* Deliver a message as the device's memory write. Any thread. */
void pci_send_msi(PciDevice *dev, MsiMessage msg);

/* --- MSI --- */

/* offset 0: the first room. vectors: a power of two up to 32. */
MUST_CHECK bool msi_init(PciDevice *dev, uint8_t offset, unsigned vectors, bool is_64bit,
                         bool per_vector_mask, Error **errp);
void msi_finish(PciDevice *dev);
bool msi_present(const PciDevice *dev);
bool msi_enabled(const PciDevice *dev);
unsigned msi_vectors_allocated(const PciDevice *dev); /* by the driver */
void msi_notify(PciDevice *dev, unsigned vector);
MsiMessage msi_message(PciDevice *dev, unsigned vector);
bool msi_is_masked(const PciDevice *dev, unsigned vector);

/* --- MSI-X --- */

/* The table and the pending bits lie in BARs that the caller owns; offsets are multiples of 8. */
MUST_CHECK bool msix_init(PciDevice *dev, unsigned vectors, MemoryRegion *table_bar,
                          int table_bar_n, uint32_t table_offset, MemoryRegion *pba_bar,
                          int pba_bar_n, uint32_t pba_offset, uint8_t cap_offset, Error **errp);
/* With a BAR of its own, 4 KiB or more, table first, pending bits in its upper half. */
MUST_CHECK bool msix_init_exclusive(PciDevice *dev, unsigned vectors, int bar_n, Error **errp);
void msix_finish(PciDevice *dev);
bool msix_present(const PciDevice *dev);
bool msix_enabled(const PciDevice *dev);
unsigned msix_vectors(const PciDevice *dev);
/* Deliver, or set the pending bit where masked. A vector that is out of range or unused does
 * nothing. Any thread. */
void msix_notify(PciDevice *dev, unsigned vector);
MsiMessage msix_message(const PciDevice *dev, unsigned vector);
bool msix_is_masked(const PciDevice *dev, unsigned vector); /* by itself or by the function */
bool msix_is_pending(const PciDevice *dev, unsigned vector);
void msix_set_pending(PciDevice *dev, unsigned vector);
void msix_clear_pending(PciDevice *dev, unsigned vector);
/* The device counts who uses a vector; unused ones are never delivered. */
MUST_CHECK bool msix_vector_use(PciDevice *dev, unsigned vector, Error **errp);
void msix_vector_unuse(PciDevice *dev, unsigned vector);
void msix_unuse_all_vectors(PciDevice *dev);

/*
 * For whoever delivers without the device (irqfds): use is called when a vector becomes unmasked
 * (at once for those that are), release when it is masked, poll when the pending bits are read, to
 * make them current (msix_set_pending).
 */
typedef struct MsixNotifiers {
    bool (*use)(PciDevice *dev, unsigned vector, MsiMessage msg, Error **errp);
    void (*release)(PciDevice *dev, unsigned vector);
    void (*poll)(PciDevice *dev, unsigned first, unsigned end);
} MsixNotifiers;
MUST_CHECK bool msix_set_notifiers(PciDevice *dev, const MsixNotifiers *notifiers, Error **errp);
void msix_unset_notifiers(PciDevice *dev); /* releases those that are in use */

/* State: VMSTATE_MSIX(parent, MyDevice), after the device's own rows. */
extern const VmState msix_vmstate;
#define VMSTATE_MSIX(member, S)                                                     \
    {                                                                               \
        .name = "msix", .kind = VMSTATE_KIND_STRUCT, .offset = offsetof(S, member), \
        .size = sizeof(PciDevice), .state = &msix_vmstate,                          \
    }

/* Private to bus/pci: called by the core. */
void msi_config_written(PciDevice *dev, uint32_t addr, unsigned len);
void msi_reset(PciDevice *dev);
void msix_config_written(PciDevice *dev, uint32_t addr, unsigned len);
void msix_reset(PciDevice *dev);

#endif
