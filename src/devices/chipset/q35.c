/*
 * Q35 memory controller hub: PCI Express root complex "pcie.0", PAM and SMRAM, ECAM.
 *
 * Intel 3 Series Express Chipset Family data sheet (316966), section 5.1.
 */
#include "base/log.h"
#include "devices/chipset/northbridge-internal.h"
#include "object/property.h"

#define MCH_PCIEXBAR  0x60 /* eight bytes */
#define MCH_PAM       0x90 /* seven registers */
#define MCH_SMRAM     0x9d
#define MCH_ESMRAMC   0x9e
#define SMRAM_RESET   0x02u
#define ESMRAMC_RESET 0x38u

#define PCIEXBAR_ENABLE       0x1u
#define PCIEXBAR_LENGTH       0x6u /* 256, 128, 64 MiB, reserved */
#define PCIEXBAR_LENGTH_SHIFT 1
#define PCIEXBAR_BASE         UINT64_C(0xffffff0000000)
#define PCIEXBAR_128          (UINT64_C(1) << 27)
#define PCIEXBAR_64           (UINT64_C(1) << 26)

typedef struct Mch {
    PciDevice parent;
    Northbridge *nb;
    PcieHost *host;
} Mch;

typedef struct Q35Host {
    PcieHost parent;
    Northbridge nb;
    Mch *mch; /* borrowed */
} Q35Host;

static Mch *mch_cast(void *obj)
{
    return (Mch *)object_cast((Object *)obj, TYPE_MCH);
}

static Q35Host *q35_host_cast(void *obj)
{
    return (Q35Host *)object_cast((Object *)obj, TYPE_Q35_HOST);
}

Northbridge *q35_northbridge(Device *host)
{
    return &q35_host_cast(host)->nb;
}

/* --- The function 00.0 --- */

static void update_ecam(Mch *s)
{
    uint64_t reg = ld64_le(&s->parent.config[MCH_PCIEXBAR]);
    uint64_t base = reg & PCIEXBAR_BASE, size;

    switch ((reg & PCIEXBAR_LENGTH) >> PCIEXBAR_LENGTH_SHIFT) {
    case 0:
        size = 256 * MiB;
        break;
    case 1:
        size = 128 * MiB;
        base |= reg & PCIEXBAR_128;
        break;
    case 2:
        size = 64 * MiB;
        base |= reg & (PCIEXBAR_128 | PCIEXBAR_64);
        break;
    default:
        log_guest_error("mch: reserved length in PCIEXBAR\n");
        reg = size = 0;
        break;
    }
    pcie_host_set_ecam(s->host, memory_root(), reg & PCIEXBAR_ENABLE, base, size);
}

static void mch_update(Mch *s)
{
    memory_begin();
    if (s->nb->mapped) {
        pam_update(&s->nb->pam, &s->parent.config[MCH_PAM], s->parent.config[MCH_SMRAM]);
    }
    update_ecam(s);
    memory_commit();
}

static void mch_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    pci_default_config_write(dev, addr, value, len);
    if (pci_ranges_overlap(addr, len, MCH_PAM, PAM_REGISTERS) ||
        pci_ranges_overlap(addr, len, MCH_PCIEXBAR, 8) ||
        pci_ranges_overlap(addr, len, MCH_SMRAM, 1)) {
        mch_update(mch_cast(dev));
    }
}

static bool mch_realize(PciDevice *dev, Error **errp)
{
    Mch *s = mch_cast(dev);
    Q35Host *host = q35_host_cast(pci_device_bus(dev)->parent.owner);

    s->nb = &host->nb;
    s->host = &host->parent;
    st64_le(&dev->config_mask[MCH_PCIEXBAR],
            PCIEXBAR_BASE | PCIEXBAR_128 | PCIEXBAR_64 | PCIEXBAR_LENGTH | PCIEXBAR_ENABLE);
    for (unsigned i = 0; i < PAM_REGISTERS; i++) {
        dev->config_mask[MCH_PAM + i] = i == 0 ? 0x30 : 0x33;
    }
    dev->config_mask[MCH_SMRAM] = 0x78;
    dev->config_mask[MCH_ESMRAMC] = 0xc7;
    return true;
}

static void mch_exit(PciDevice *dev)
{
    pcie_host_set_ecam(mch_cast(dev)->host, memory_root(), false, 0, 0);
}

static void mch_reset(Device *device)
{
    PciDevice *dev = pci_device_cast(device);

    st64_le(&dev->config[MCH_PCIEXBAR], Q35_ECAM_BASE);
    for (unsigned i = 0; i < PAM_REGISTERS; i++) {
        dev->config[MCH_PAM + i] = 0;
    }
    dev->config[MCH_SMRAM] = SMRAM_RESET;
    dev->config[MCH_ESMRAMC] = ESMRAMC_RESET;
    mch_update(mch_cast(dev));
}

static bool mch_post_load(void *opaque, int version, Error **errp)
{
    mch_update(opaque);
    return true;
}

static const VmState mch_vmstate = {
    .name = "mch",
    .version = 1,
    .minimum_version = 1,
    .post_load = mch_post_load,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, Mch, pci_device_vmstate), {} },
};

static void mch_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    pc->realize = mch_realize;
    pc->exit = mch_exit;
    pc->config_write = mch_config_write;
    pc->vendor_id = PCI_VENDOR_ID_INTEL;
    pc->device_id = 0x29c0;
    pc->class_id = PCI_CLASS_BRIDGE_HOST;
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->reset = mch_reset;
    dc->vmstate = &mch_vmstate;
    dc->user_creatable = false;
    dc->hotpluggable = false;
}

static const TypeInfo mch_info = {
    .name = TYPE_MCH,
    .parent = TYPE_PCI_DEVICE,
    .help = "Q35 memory controller hub",
    .instance_size = sizeof(Mch),
    .class_init = mch_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(mch, mch_info)

/* --- The host bridge --- */

void q35_setup(Device *host)
{
    Q35Host *s = q35_host_cast(host);

    st64_le(&s->mch->parent.config[MCH_PCIEXBAR], Q35_ECAM_BASE | PCIEXBAR_ENABLE);
    mch_update(s->mch);
}

static bool q35_host_realize(Device *dev, Error **errp)
{
    Q35Host *s = q35_host_cast(dev);
    PciHost *pci = &s->parent.parent;
    PciDevice *mch;

    memory_region_add(io_root(), PCI_CONFIG_ADDRESS_PORT, &pci->config_address);
    memory_region_add(io_root(), PCI_CONFIG_DATA_PORT, &pci->config_data);
    northbridge_map(&s->nb, &dev->parent);
    pci->bus = pci_root_bus_new(dev, "pcie.0", TYPE_PCIE_BUS, &s->nb.pci_memory, io_root(), 0);
    mch = pci_device_create(pci->bus, PCI_DEVFN(0, 0), TYPE_MCH, errp);
    s->mch = mch ? mch_cast(mch) : NULL;
    if (!mch) {
        memory_region_del(io_root(), &pci->config_address);
        memory_region_del(io_root(), &pci->config_data);
    }
    return mch != NULL;
}

static void q35_host_unrealize(Device *dev)
{
    PciHost *pci = &q35_host_cast(dev)->parent.parent;

    memory_region_del(io_root(), &pci->config_address);
    memory_region_del(io_root(), &pci->config_data);
}

static void q35_host_init(Object *obj)
{
    northbridge_init(&q35_host_cast(obj)->nb, obj);
}

static void q35_host_finalize(Object *obj)
{
    northbridge_finish(&q35_host_cast(obj)->nb);
}

static const VmState q35_host_vmstate = {
    .name = "q35-pcihost",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){ VMSTATE_STRUCT(parent.parent, Q35Host, pci_host_vmstate), {} },
};

static void q35_host_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciHostClass *hc = pci_host_class_cast(klass);

    hc->fw_name = "0000:00";
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->bus_type = TYPE_SYSTEM_BUS;
    dc->realize = q35_host_realize;
    dc->unrealize = q35_host_unrealize;
    dc->vmstate = &q35_host_vmstate;
    dc->user_creatable = false;
}

static const TypeInfo q35_host_info = {
    .name = TYPE_Q35_HOST,
    .parent = TYPE_PCIE_HOST,
    .help = "Q35 PCI Express host bridge",
    .instance_size = sizeof(Q35Host),
    .instance_init = q35_host_init,
    .instance_finalize = q35_host_finalize,
    .class_init = q35_host_class_init,
};
OBJECT_TYPE(q35_host, q35_host_info)
