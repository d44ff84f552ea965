/* Host bridges: configuration mechanism #1 (PCI 3.0, 3.2.2.3.2) and ECAM (PCIe 5.0, 7.2.2). */
#include "bus/pci/host.h"

#include <string.h>

/* CONFIG_ADDRESS */
#define CONFIG_ENABLE        0x80000000u
#define CONFIG_WRITABLE      0x80fffffcu
#define CONFIG_BUS(reg)      ((uint8_t)((reg) >> 16))
#define CONFIG_DEVFN(reg)    ((uint8_t)((reg) >> 8))
#define CONFIG_REGISTER(reg) ((reg)&0xfc)

static inline PciHost *pci_host_cast(void *obj)
{
    return (PciHost *)object_cast(obj, TYPE_PCI_HOST);
}

/* Narrower accesses to 0xcf8 don't reach the register (they may belong to other devices). */
static bool address_accepts(void *opaque, hwaddr addr, unsigned size, bool is_write,
                            MemTxAttrs attrs)
{
    return addr == 0 && size == 4;
}

static uint64_t address_read(void *opaque, hwaddr addr, unsigned size)
{
    PciHost *host = opaque;
    return host->config_reg;
}

static void address_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PciHost *host = opaque;
    host->config_reg = (uint32_t)value & CONFIG_WRITABLE;
}

static const MemoryRegionOps address_ops = {
    .read = address_read,
    .write = address_write,
    .valid = { .min = 1, .max = 4, .accepts = address_accepts },
};

static uint64_t data_read(void *opaque, hwaddr addr, unsigned size)
{
    PciHost *host = opaque;
    uint32_t reg = host->config_reg;
    if (!(reg & CONFIG_ENABLE)) {
        return UINT64_MAX;
    }
    return pci_host_config_read(host->bus, CONFIG_BUS(reg), CONFIG_DEVFN(reg),
                                CONFIG_REGISTER(reg) + ((uint32_t)addr & 3), size);
}

static void data_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PciHost *host = opaque;
    uint32_t reg = host->config_reg;
    if (reg & CONFIG_ENABLE) {
        pci_host_config_write(host->bus, CONFIG_BUS(reg), CONFIG_DEVFN(reg),
                              CONFIG_REGISTER(reg) + ((uint32_t)addr & 3), (uint32_t)value, size);
    }
}

static const MemoryRegionOps data_ops = {
    .read = data_read,
    .write = data_write,
    .valid = { .min = 1, .max = 4 },
};

/* --- ECAM --- */

#define ECAM_BUS(addr)      ((uint8_t)((addr) >> 20))
#define ECAM_DEVFN(addr)    ((uint8_t)((addr) >> 12))
#define ECAM_REGISTER(addr) ((uint32_t)(addr)&0xfff)

static uint64_t ecam_read(void *opaque, hwaddr addr, unsigned size)
{
    PcieHost *host = opaque;
    return pci_host_config_read(host->parent.bus, ECAM_BUS(addr), ECAM_DEVFN(addr),
                                ECAM_REGISTER(addr), size);
}

static void ecam_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PcieHost *host = opaque;
    pci_host_config_write(host->parent.bus, ECAM_BUS(addr), ECAM_DEVFN(addr), ECAM_REGISTER(addr),
                          (uint32_t)value, size);
}

static const MemoryRegionOps ecam_ops = {
    .read = ecam_read,
    .write = ecam_write,
    .valid = { .min = 1, .max = 8 },
    .impl = { .min = 1, .max = 4 },
};

void pcie_host_set_ecam(PcieHost *host, MemoryRegion *container, bool enable, uint64_t base,
                        uint64_t size)
{
    assert(!enable ||
           (is_power_of_two(size) && size >= PCIE_ECAM_SIZE_MIN && size <= PCIE_ECAM_SIZE_MAX));
    memory_begin();
    if (host->ecam.container) {
        memory_region_del(host->ecam.container, &host->ecam);
    }
    host->ecam_base = enable ? base : PCI_UNMAPPED;
    if (enable) {
        host->ecam_size = size;
        memory_region_set_size(&host->ecam, size);
        memory_region_add_overlap(container, base, &host->ecam, 0);
    }
    memory_commit();
}

/* --- Types --- */

const VmState pci_host_vmstate = {
    .name = "PCIHost",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT32(config_reg, PciHost), {} },
};

static void host_reset(Device *dev)
{
    pci_host_cast(dev)->config_reg = 0;
}

static void host_instance_init(Object *obj)
{
    PciHost *host = (PciHost *)obj;
    memory_region_init_io(&host->config_address, obj, &address_ops, host, "pci-conf-idx", 4);
    memory_region_init_io(&host->config_data, obj, &data_ops, host, "pci-conf-data", 4);
}

static void host_finalize(Object *obj)
{
    PciHost *host = (PciHost *)obj;
    memory_region_finish(&host->config_address);
    memory_region_finish(&host->config_data);
}

static void host_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    dc->category = DEVICE_CATEGORY_BRIDGE;
    dc->user_creatable = false;
    dc->bus_type = TYPE_SYSTEM_BUS;
    dc->reset = host_reset;
    ((PciHostClass *)klass)->fw_name = "pci";
}

static void pcie_host_instance_init(Object *obj)
{
    PcieHost *host = (PcieHost *)obj;
    host->ecam_base = PCI_UNMAPPED;
    memory_region_init_io(&host->ecam, obj, &ecam_ops, host, "pcie-mmcfg-mmio", PCIE_ECAM_SIZE_MAX);
}

static void pcie_host_finalize(Object *obj)
{
    memory_region_finish(&((PcieHost *)obj)->ecam);
}

static const TypeInfo host_type = {
    .name = TYPE_PCI_HOST,
    .parent = TYPE_DEVICE,
    .instance_size = sizeof(PciHost),
    .class_size = sizeof(PciHostClass),
    .abstract = true,
    .instance_init = host_instance_init,
    .instance_finalize = host_finalize,
    .class_init = host_class_init,
};
static const TypeInfo pcie_host_type = {
    .name = TYPE_PCIE_HOST,
    .parent = TYPE_PCI_HOST,
    .instance_size = sizeof(PcieHost),
    .abstract = true,
    .instance_init = pcie_host_instance_init,
    .instance_finalize = pcie_host_finalize,
};
OBJECT_TYPE(pci_host, host_type)
OBJECT_TYPE(pcie_host, pcie_host_type)
