/*
 * Bridges to conventional buses: pci-bridge (conventional above and below) and pcie-pci-bridge
 * (Express above).
 */
#include <string.h>

#include "bus/pci/bridge.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci-internal.h"
#include "object/property.h"

typedef struct PlainBridge {
    PciBridge parent;
    uint8_t chassis_nr;
    OnOffAuto msi;
    bool shpc;
} PlainBridge;

#define SLOTID_SIZEOF  4 /* PCI slot numbering (bridge 1.2, 13) */
#define PCI_CAP_SLOTID 0x04
#define SLOTID_ESR     2
#define SLOTID_CHASSIS 3
#define SLOTID_FIRST   0x20

static bool add_msi(PciDevice *dev, OnOffAuto wanted, Error **errp)
{
    return wanted == ON_OFF_AUTO_OFF || msi_init(dev, 0, 1, true, true, errp);
}

/* --- pci-bridge --- */

static bool plain_realize(PciDevice *dev, Error **errp)
{
    PlainBridge *b = (PlainBridge *)dev;

    if (!b->chassis_nr) {
        error_set(errp, "chassis_nr is missing: number the bridges from 1, as in chassis_nr=1");
        return false;
    }
    if (b->shpc) {
        error_set(errp, "shpc=on isn't supported: devices behind a pci-bridge can't be "
                        "hot-plugged by a standard hot-plug controller; use shpc=off");
        return false;
    }
    if (!pci_bridge_init(&b->parent, TYPE_PCI_BUS, errp)) {
        return false;
    }
    uint8_t at = pci_add_capability(dev, PCI_CAP_SLOTID, 0, SLOTID_SIZEOF, errp);
    if (!at || !add_msi(dev, b->msi, errp)) {
        pci_bridge_finish(&b->parent);
        return false;
    }
    dev->config[at + SLOTID_ESR] = SLOTID_FIRST;
    dev->config[at + SLOTID_CHASSIS] = b->chassis_nr;
    /* 66 MHz and fast back to back, on both sides. */
    uint16_t fast = PCI_STATUS_66MHZ | PCI_STATUS_FAST_BACK;
    pci_set_word(dev->config + PCI_STATUS, pci_get_word(dev->config + PCI_STATUS) | fast);
    pci_set_word(dev->config + PCI_SEC_STATUS, fast);
    return true;
}

/* clang-format off */
static const Field plain_properties[] = {
    PROP_UINT8("chassis_nr", PlainBridge, chassis_nr, 0, .help = "number of the chassis, from 1"),
    PROP_ON_OFF_AUTO("msi", PlainBridge, msi, ON_OFF_AUTO_AUTO, .help = "message-signalled interrupts"),
    PROP_BOOL("shpc", PlainBridge, shpc, false, .help = "standard hot-plug controller"),
    {}
};
/* clang-format on */

static void plain_class_init(ObjectClass *klass, const void *data)
{
    PciDeviceClass *pc = pci_device_class_cast(klass);
    pc->realize = plain_realize;
    pc->vendor_id = PCI_VENDOR_ID_REDHAT;
    pc->device_id = 0x0001;
    device_class_cast(klass)->desc = "Standard PCI Bridge";
}

static const TypeInfo plain_type = {
    .name = TYPE_PCI_BRIDGE,
    .parent = TYPE_PCI_BRIDGE_BASE,
    .help = "Standard PCI Bridge",
    .instance_size = sizeof(PlainBridge),
    .properties = plain_properties,
    .class_init = plain_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(pci_bridge, plain_type)

/* --- pcie-pci-bridge --- */

typedef struct ExpressBridge {
    PciBridge parent;
    OnOffAuto msi;
} ExpressBridge;

static bool express_realize(PciDevice *dev, Error **errp)
{
    ExpressBridge *b = (ExpressBridge *)dev;

    if (!pci_bridge_init(&b->parent, TYPE_PCI_BUS, errp)) {
        return false;
    }
    dev->config[PCI_INTERRUPT_PIN] = 1;
    if (!pcie_add_cap(dev, 0, PCI_EXP_TYPE_PCI_BRIDGE, 0, errp) || !pci_add_pm(dev, 0, errp) ||
        !pcie_add_aer(dev, PCI_CONFIG_SIZE, true, errp) || !add_msi(dev, b->msi, errp)) {
        pci_bridge_finish(&b->parent);
        return false;
    }
    pcie_cap_add_device_errors(dev);
    return true;
}

/* clang-format off */
static const Field express_properties[] = {
    PROP_ON_OFF_AUTO("msi", ExpressBridge, msi, ON_OFF_AUTO_AUTO, .help = "message-signalled interrupts"),
    {}
};
/* clang-format on */

static void express_class_init(ObjectClass *klass, const void *data)
{
    PciDeviceClass *pc = pci_device_class_cast(klass);
    pc->realize = express_realize;
    pc->vendor_id = PCI_VENDOR_ID_REDHAT;
    pc->device_id = 0x000e;
    device_class_cast(klass)->desc = "PCI Express to PCI bridge";
}

static const TypeInfo express_type = {
    .name = TYPE_PCIE_PCI_BRIDGE,
    .parent = TYPE_PCI_BRIDGE_BASE,
    .help = "PCI Express to PCI bridge",
    .instance_size = sizeof(ExpressBridge),
    .properties = express_properties,
    .class_init = express_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_EXPRESS, NULL },
};
OBJECT_TYPE(pcie_pci_bridge, express_type)
