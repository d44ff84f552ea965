/*
 * virtio over PCI (VIRTIO 1.3 section 4.1): a PCI device that owns a virtio bus with one device on
 * it, its child "virtio-backend". Properties of the backend can be set on the PCI device.
 *
 * BAR 0 legacy registers (I/O), BAR 1 MSI-X, BAR 2 modern notifications by I/O, BAR 4 modern
 * registers (64-bit memory).
 */
#ifndef DEVICES_VIRTIO_TRANSPORT_VIRTIO_PCI_H
#define DEVICES_VIRTIO_TRANSPORT_VIRTIO_PCI_H

#include "base/rcu.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci.h"
#include "devices/virtio/transport.h"

#define TYPE_VIRTIO_PCI     "virtio-pci"
#define TYPE_VIRTIO_PCI_BUS "virtio-pci-bus"

#define VIRTIO_PCI_VECTORS_AUTO UINT32_MAX

/* What the driver wrote of a queue that isn't enabled yet. */
typedef struct VirtioPciQueue {
    uint32_t desc[2], driver[2], device[2]; /* low, high */
} VirtioPciQueue;

/* A queue's doorbell in a back end's memory. */
typedef struct VirtioPciDoorbell {
    MemoryRegion mr;
    struct rcu_head rcu;
} VirtioPciDoorbell;

typedef struct VirtioPciProxy {
    PciDevice parent;
    VirtioBus bus;
    VirtioDevice *vdev; /* reference; child "virtio-backend" */

    /* properties */
    OnOffAuto disable_legacy;
    bool disable_modern, modern_pio_notify, page_per_vq, ioeventfd;
    bool ats, ats_aligned, aer, disable_pcie;
    bool init_deverr, init_lnkctl, init_pm, init_flr;
    uint32_t vectors;

    bool legacy, modern;  /* what it is, decided at realize */
    uint32_t notify_step; /* bytes between two queues' doorbells */

    MemoryRegion legacy_bar, modern_bar, notify_io;
    MemoryRegion common, isr, config, notify;
    VirtioPciDoorbell *doorbells[VIRTIO_QUEUE_MAX]; /* NULL: the queue's is in notify */
    uint8_t cfg_cap; /* offset of the configuration access capability */

    /* registers */
    uint32_t device_feature_select, driver_feature_select;
    uint32_t driver_features[2];
    VirtioPciQueue queues[VIRTIO_QUEUE_MAX];

    unsigned guest_notifiers; /* queues whose notifiers become interrupts */
    /* Interrupts that the accelerator makes of notifiers; notifiers.c. NULL: all are watched. */
    int *notifier_gsi; /* one each, and the configuration's; -1: watched */
    int *vector_gsi;   /* route of an unmasked vector; -1: none */
} VirtioPciProxy;

typedef struct VirtioPciClass {
    PciDeviceClass parent;
    const struct VirtioPciTypes *types;
} VirtioPciClass;

static inline UNUSED VirtioPciProxy *virtio_pci_cast(void *obj)
{
    return (VirtioPciProxy *)object_cast((Object *)obj, TYPE_VIRTIO_PCI);
}
OBJECT_DECLARE_CLASS(VirtioPciClass, virtio_pci, TYPE_VIRTIO_PCI)

/*
 * The types of one kind of device: "virtio-X-pci" (legacy or not as its place and properties say),
 * "virtio-X-pci-transitional" (always both) and "virtio-X-pci-non-transitional" (modern only).
 */
typedef struct VirtioPciTypes {
    const char *name;         /* "virtio-net": "-pci" and so on are added */
    const char *backend_type; /* "virtio-net-device" */
    const char *help;
    uint16_t virtio_id;
    uint16_t legacy_device_id; /* 4.1.2.1; 0: modern only */
    uint16_t class_id;
    DeviceCategory category;
    uint32_t vectors; /* default; VIRTIO_PCI_VECTORS_AUTO: by prepare or by the queues */
    const char *romfile;
    bool single; /* "-pci" only, modern */
    /* Before the backend is realized: properties of it or the proxy that depend on others. */
    bool (*prepare)(VirtioPciProxy *proxy, Error **errp);
} VirtioPciTypes;

/* At file scope; types lives for ever. */
#define VIRTIO_PCI_TYPES(ident, types)       \
    static void ident##_register_pci_(void)  \
    {                                        \
        virtio_pci_register_types(&(types)); \
    }                                        \
    MODULE_INIT(MODULE_TYPES, ident##_register_pci_)
void virtio_pci_register_types(const VirtioPciTypes *types);

/* The driver uses the modern interface. */
bool virtio_pci_is_modern(const VirtioPciProxy *proxy);

#endif
