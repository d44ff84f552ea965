/*
 * PCI and PCI Express devices and buses.
 *
 * A device has a configuration space (256 bytes, 4096 for Express), base address registers that map
 * memory regions while the command register says so, interrupt pins that lead through bridges to
 * the root bus's controller, messages (msi.h), and an address space of its own for DMA, which is
 * open while bus mastering is on. Machine lock held, except for DMA and message delivery (any
 * thread).
 */
#ifndef BUS_PCI_PCI_H
#define BUS_PCI_PCI_H

#include "bus/device.h"
#include "bus/pci/pci-regs.h"
#include "bus/reset.h"
#include "memory/memory.h"

#define TYPE_PCI_DEVICE "pci-device"
#define TYPE_PCI_BUS    "PCI"
#define TYPE_PCIE_BUS   "PCIE" /* is a PCI bus too */
/* What a type can be: one or both. With both, PciDeviceClass.is_express decides per device. */
#define TYPE_PCI_CONVENTIONAL "conventional-pci-device"
#define TYPE_PCI_EXPRESS      "pci-express-device"

#define PCI_CONFIG_SIZE    0x100
#define PCIE_CONFIG_SIZE   0x1000
#define PCI_SLOTS          32
#define PCI_FUNCTIONS      8
#define PCI_PINS           4
#define PCI_ROM_SLOT       6 /* the expansion ROM, as a BAR number */
#define PCI_BAR_COUNT      7
#define PCI_UNMAPPED       UINT64_MAX
#define PCI_ACPI_INDEX_MAX 16383

#define PCI_DEVFN(slot, function) (((slot) << 3) | (function))
#define PCI_SLOT(devfn)           ((devfn) >> 3 & 0x1f)
#define PCI_FUNC(devfn)           ((devfn)&7)
/* Requester id */
#define PCI_BDF(bus, devfn) ((uint16_t)((bus) << 8 | (devfn)))

typedef struct PciDevice PciDevice;
typedef struct PciDeviceClass PciDeviceClass;
typedef struct PciBus PciBus;
typedef struct PciBusClass PciBusClass;
typedef struct PciMsi PciMsi;   /* msi.c */
typedef struct PciMsix PciMsix; /* msix.c */
typedef struct PciAer PciAer;   /* aer.c */

typedef struct PciBar {
    MemoryRegion *region; /* NULL: not implemented */
    MemoryRegion *space;  /* the bus's memory or I/O region that it is mapped in */
    uint64_t size;        /* bytes, a power of two */
    uint64_t addr;        /* where it is mapped now, or PCI_UNMAPPED */
    uint8_t type;         /* PCI_BASE_ADDRESS_* */
} PciBar;

struct PciDevice {
    Device parent;

    /* Properties. */
    int32_t devfn; /* "addr"; -1: the first free slot */
    bool multifunction;
    char *romfile;       /* NULL: the class's; "" : none */
    uint32_t romsize;    /* bytes; UINT32_MAX: as the file needs */
    int32_t rombar;      /* 1: show a ROM, 0: don't, -1: if there is a file */
    uint32_t acpi_index; /* 0: none */
    char *failover_pair_id;
    bool lnksta_dllla; /* x-pcie-lnksta-dllla */
    bool extcap_init;  /* x-pcie-extcap-init */
    bool ari_nextfn_1; /* x-pcie-ari-nextfn-1 */
    bool err_unc_mask; /* x-pcie-err-unc-mask */

    /* Configuration space: made when the device is registered on its bus. */
    uint8_t *config;       /* config_size bytes, little-endian */
    uint8_t *config_mask;  /* bits the guest can write */
    uint8_t *config_w1c;   /* bits the guest clears by writing 1 */
    uint8_t *config_check; /* bits that must be equal in an incoming stream */
    uint8_t *config_used;  /* 1: belongs to a register or capability */
    uint32_t config_size;
    bool is_express;

    PciBar bars[PCI_BAR_COUNT];
    MemoryRegion rom;
    bool has_rom;

    /* DMA goes through this; empty while bus mastering is off. */
    AddressSpace dma;
    MemoryRegion dma_container, dma_alias;

    /* Offsets of capabilities; 0: none. */
    uint8_t pm_cap, msi_cap, msix_cap, exp_cap;
    uint16_t aer_cap, ari_cap, acs_cap, ats_cap, dsn_cap;
    PciMsi *msi;
    PciMsix *msix;
    PciAer *aer;

    uint8_t irq_state; /* bit n: pin n is asserted by the device */
    uint8_t lines_up;  /* bit n: and counted so at the root bus (pci-irq.c) */
    bool has_power;    /* off: the slot is switched off, nothing answers */
    bool flr_running;
    /* Instead of a write to memory: who takes messages (an irqchip in the kernel). */
    void (*msi_trigger)(PciDevice *dev, uint64_t address, uint32_t data);
    uint8_t *config_before; /* private: while a stream is loaded */
    Irq *irq;               /* private: pci_allocate_irq() */
};

struct PciDeviceClass {
    DeviceClass parent;
    bool (*realize)(PciDevice *dev, Error **errp);
    void (*exit)(PciDevice *dev); /* mirror of realize */
    /* Instead of the default functions, which they may call. addr is within config_size. */
    uint32_t (*config_read)(PciDevice *dev, uint32_t addr, unsigned len);
    void (*config_write)(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len);
    /* For types that can be both; NULL: Express iff the type isn't conventional. Asked before the
     * configuration space is made. */
    bool (*is_express)(PciDevice *dev);
    uint16_t vendor_id, device_id;
    uint8_t revision;
    uint16_t class_id; /* PCI_CLASS_* */
    uint8_t prog_if;
    uint16_t subsystem_vendor_id, subsystem_id; /* both 0: the defaults; not for bridges */
    const char *romfile; /* name of a file that pci_set_rom_finder() finds; NULL: none */
    bool is_bridge; /* type 1 header */
    /* A reset of the function alone (FLR, D3 to D0); NULL: device_reset(). */
    void (*reset_function)(PciDevice *dev);
};

typedef struct PciIntxRoute {
    enum { PCI_INTX_ENABLED, PCI_INTX_INVERTED, PCI_INTX_DISABLED } mode;
    int irq; /* global number at the interrupt controller */
} PciIntxRoute;

/* What a root bus needs from its chipset. */
typedef struct PciRootOps {
    /* Which of the chipset's lines a device's pin (0..3) leads to: always the same one. Where lines
     * lead (PIRQ routing) is set_irq's matter. */
    int (*map_irq)(void *opaque, PciDevice *dev, int pin);
    void (*set_irq)(void *opaque, int line, int level);
    int lines;
    PciIntxRoute (*route_irq)(void *opaque, int line); /* optional */
    /* The address space for a device's DMA; optional: system memory. Borrowed, lives as long as the
     * device. */
    AddressSpace *(*dma_space)(void *opaque, PciBus *bus, int devfn);
} PciRootOps;

struct PciBus {
    Bus parent;
    PciDevice *devices[PCI_SLOTS * PCI_FUNCTIONS]; /* borrowed */
    PciDevice *bridge;                             /* whose secondary bus this is; NULL: root bus */
    MemoryRegion *memory;                          /* where BARs are mapped; borrowed */
    MemoryRegion *io;
    uint8_t devfn_min;       /* first to be given automatically */
    uint32_t reserved_slots; /* bit n: slot n can't be used */
    uint8_t slots_max;       /* those that are given automatically; 0: all */
    bool is_root;
    uint8_t root_number;   /* bus number of a root bus */
    const PciRootOps *ops; /* root buses */
    void *ops_opaque;
    int *line_count; /* root buses: devices that assert each line */
};

struct PciBusClass {
    BusClass parent;
};

static inline UNUSED PciDevice *pci_device_cast(void *obj)
{
    return (PciDevice *)object_cast((Object *)obj, TYPE_PCI_DEVICE);
}
static inline UNUSED PciDeviceClass *pci_device_class_of(const void *obj)
{
    return (PciDeviceClass *)class_cast(object_class((const Object *)obj), TYPE_PCI_DEVICE);
}
static inline UNUSED PciDeviceClass *pci_device_class_cast(void *klass)
{
    return (PciDeviceClass *)class_cast((ObjectClass *)klass, TYPE_PCI_DEVICE);
}
static inline UNUSED PciBus *pci_bus_cast(void *obj)
{
    return (PciBus *)object_cast((Object *)obj, TYPE_PCI_BUS);
}

/* Where the option ROMs that types name are: the full path, g_free; NULL if there is none. */
void pci_set_rom_finder(char *(*find)(const char *name));

/* --- Buses --- */

/* A root bus, child of its host bridge. memory and io are borrowed. */
PciBus *pci_root_bus_new(Device *host, const char *name, const char *type_name,
                         MemoryRegion *memory, MemoryRegion *io, uint8_t devfn_min);
/* Before devices are added. ops is borrowed. */
void pci_bus_set_irqs(PciBus *bus, const PciRootOps *ops, void *opaque);
bool pci_bus_is_root(const PciBus *bus);
bool pci_bus_is_express(PciBus *bus);
/* The number that configuration accesses find it by: its own (root) or the bridge's register. */
int pci_bus_number(const PciBus *bus);
PciBus *pci_bus_root(PciBus *bus);
/* The bus with a number at or below a root bus; NULL if none. */
PciBus *pci_bus_find_number(PciBus *root, int number);
typedef bool PciVisitor(PciDevice *dev, void *opaque); /* false stops */
bool pci_bus_foreach(PciBus *bus, PciVisitor *visit, void *opaque);
bool pci_bus_foreach_recursive(PciBus *bus, PciVisitor *visit, void *opaque);
/* Every root bus of the machine. */
typedef bool PciBusVisitor(PciBus *bus, void *opaque);
bool pci_foreach_root_bus(PciBusVisitor *visit, void *opaque);

/* --- Making devices --- */

PciDevice *pci_device_new(int devfn, const char *type_name);
/* With the header's multifunction bit (part of a chipset). */
PciDevice *pci_device_new_multifunction(int devfn, const char *type_name);
/* Realize on bus and give up the reference. */
MUST_CHECK bool pci_device_realize_and_unref(PciDevice *dev, PciBus *bus, Error **errp);
/* new + realize; NULL with an error */
PciDevice *pci_device_create(PciBus *bus, int devfn, const char *type_name, Error **errp);

PciBus *pci_device_bus(const PciDevice *dev);
uint16_t pci_device_bdf(const PciDevice *dev); /* as the guest has numbered the buses */
/* "0000:00:02.0" with the slots of the bridges on the way; g_free */
char *pci_device_path(const PciDevice *dev);

/* --- For a device's realize --- */

static inline void pci_set_byte(uint8_t *p, uint8_t v)
{
    *p = v;
}
static inline uint8_t pci_get_byte(const uint8_t *p)
{
    return *p;
}
static inline void pci_set_word(uint8_t *p, uint16_t v)
{
    st16_le(p, v);
}
static inline uint16_t pci_get_word(const uint8_t *p)
{
    return ld16_le(p);
}
static inline void pci_set_long(uint8_t *p, uint32_t v)
{
    st32_le(p, v);
}
static inline uint32_t pci_get_long(const uint8_t *p)
{
    return ld32_le(p);
}
static inline void pci_set_quad(uint8_t *p, uint64_t v)
{
    st64_le(p, v);
}

/* BAR n (0..5; a 64-bit one takes n + 1 too). The region's size is a power of two, at least 16
 * bytes of memory or 4 of I/O. region is borrowed. */
void pci_register_bar(PciDevice *dev, int n, uint8_t type, MemoryRegion *region);
uint64_t pci_bar_address(const PciDevice *dev, int n); /* PCI_UNMAPPED while it isn't mapped */

/*
 * Take `size` bytes for a capability; offset 0: the first room. Returns the offset, or 0 with an
 * error that names the capability it would overlap. The two header bytes are written, the rest is
 * zero and not writable.
 */
uint8_t pci_add_capability(PciDevice *dev, uint8_t id, uint8_t offset, uint8_t size, Error **errp);
void pci_del_capability(PciDevice *dev, uint8_t id, uint8_t size);
uint8_t pci_find_capability(const PciDevice *dev, uint8_t id); /* 0: none */
/* Power management 1.2 with D0 and D3hot; offset 0: the first room. 0 with an error. */
uint8_t pci_add_pm(PciDevice *dev, uint8_t offset, Error **errp);

/* --- Interrupt pins --- */

static inline int pci_intx_pin(const PciDevice *dev) /* 0..3; -1: has none */
{
    return (int)dev->config[PCI_INTERRUPT_PIN] - 1;
}
/* The device's own pin (PCI_INTERRUPT_PIN). */
void pci_set_irq(PciDevice *dev, int level);
/* As a line, for devices made of other models. Owned by dev. */
Irq *pci_allocate_irq(PciDevice *dev);
static inline void pci_irq_assert(PciDevice *dev)
{
    pci_set_irq(dev, 1);
}
static inline void pci_irq_deassert(PciDevice *dev)
{
    pci_set_irq(dev, 0);
}
void pci_device_deassert_intx(PciDevice *dev);
PciIntxRoute pci_device_route_intx(PciDevice *dev, int pin);
/* Pin of the parent bus for a pin of a device in a slot (bridge 1.2, 9.1). */
static inline int pci_swizzle(int slot, int pin)
{
    return (slot + pin) % PCI_PINS;
}

/* --- Configuration accesses --- */

uint32_t pci_default_config_read(PciDevice *dev, uint32_t addr, unsigned len);
void pci_default_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len);
/* As the host bridge does them: what isn't there reads as ones; accesses over the end are cut. */
uint32_t pci_host_config_read(PciBus *root, uint8_t bus, uint8_t devfn, uint32_t addr,
                              unsigned len);
void pci_host_config_write(PciBus *root, uint8_t bus, uint8_t devfn, uint32_t addr, uint32_t value,
                           unsigned len);
/* The registers changed other than by a write (migration, reset): follow them. */
void pci_update_mappings(PciDevice *dev);
/* Does [addr, addr + len) touch [start, start + size)? */
static inline bool pci_ranges_overlap(uint32_t addr, unsigned len, uint32_t start, unsigned size)
{
    return addr < start + size && start < addr + len;
}

/* --- DMA: any thread --- */

static inline AddressSpace *pci_dma_space(PciDevice *dev)
{
    return &dev->dma;
}
MemTxAttrs pci_dma_attrs(const PciDevice *dev);
MemTxResult pci_dma_read(PciDevice *dev, uint64_t addr, void *buf, uint64_t len);
MemTxResult pci_dma_write(PciDevice *dev, uint64_t addr, const void *buf, uint64_t len);

/* --- Reset and power --- */

/* What a bus reset does to the registers of the core: interrupts, command, status, BARs. */
void pci_device_reset_config(PciDevice *dev);
/* The slot's power: off, the device answers nothing and its regions are gone. */
void pci_set_power(PciDevice *dev, bool on);
/* May dev be shown to the guest now: has power, and function 0 is there. */
bool pci_device_is_visible(const PciDevice *dev);

/* --- State --- */

/* In a device's state description, first: VMSTATE_STRUCT(parent, MyDevice, pci_device_vmstate) for
 * a member of type PciDevice. */
extern const VmState pci_device_vmstate;

/* --- For people and monitors --- */

void pci_print_info(GString *out); /* info pci */

#endif
