/*
 * Advanced error reporting (PCIe 5.0, 6.2 and 7.8.4): a device records an error, and a message
 * climbs to the root port, which records it too and interrupts.
 */
#include <string.h>

#include "bus/pci/pci-internal.h"
#include "bus/pci/pcie-internal.h"

struct PciAer {
    PcieError log[PCIE_AER_LOG_MAX]; /* errors whose headers wait for the register */
    unsigned count;
    bool root;      /* has the root's registers */
    bool irq_up;    /* root: the pin is asserted */
    uint8_t vector; /* root */
};

typedef enum ErrorKind { KIND_CORRECTABLE, KIND_NONFATAL, KIND_FATAL } ErrorKind;

static const struct {
    const char *name;
    uint32_t status;
    bool correctable;
} error_names[] = {
    { "DLP", PCI_AER_UNC_DLP, false },
    { "SDN", PCI_AER_UNC_SDN, false },
    { "POISON_TLP", PCI_AER_UNC_POISON_TLP, false },
    { "FCP", PCI_AER_UNC_FCP, false },
    { "COMP_TIME", PCI_AER_UNC_COMP_TIME, false },
    { "COMP_ABORT", PCI_AER_UNC_COMP_ABORT, false },
    { "UNX_COMP", PCI_AER_UNC_UNX_COMP, false },
    { "RX_OVER", PCI_AER_UNC_RX_OVER, false },
    { "MALF_TLP", PCI_AER_UNC_MALF_TLP, false },
    { "ECRC", PCI_AER_UNC_ECRC, false },
    { "UNSUP", PCI_AER_UNC_UNSUP, false },
    { "ACSV", PCI_AER_UNC_ACSV, false },
    { "INTN", PCI_AER_UNC_INTN, false },
    { "MCBTLP", PCI_AER_UNC_MCBTLP, false },
    { "ATOP_EBLOCKED", PCI_AER_UNC_ATOP_EBLOCKED, false },
    { "TLP_PRF_BLOCKED", PCI_AER_UNC_TLP_PRF_BLOCKED, false },
    { "RCVR", PCI_AER_COR_RCVR, true },
    { "BAD_TLP", PCI_AER_COR_BAD_TLP, true },
    { "BAD_DLLP", PCI_AER_COR_BAD_DLLP, true },
    { "REP_ROLL", PCI_AER_COR_REP_ROLL, true },
    { "REP_TIMER", PCI_AER_COR_REP_TIMER, true },
    { "ADV_NONFATAL", PCI_AER_COR_ADV_NONFATAL, true },
    { "INTERNAL", PCI_AER_COR_INTERNAL, true },
    { "HL_OVERFLOW", PCI_AER_COR_HL_OVERFLOW, true },
};

bool pcie_error_by_name(const char *name, uint32_t *status, bool *correctable)
{
    for (size_t i = 0; i < ARRAY_LEN(error_names); i++) {
        if (!g_ascii_strcasecmp(error_names[i].name, name)) {
            *status = error_names[i].status;
            *correctable = error_names[i].correctable;
            return true;
        }
    }
    return false;
}

/* 7.8.4.2 to 7.8.4.6: which bits there are, and their defaults. */
#define UNC_SUPPORTED                                                                              \
    (PCI_AER_UNC_DLP | PCI_AER_UNC_SDN | PCI_AER_UNC_POISON_TLP | PCI_AER_UNC_FCP |                \
     PCI_AER_UNC_COMP_TIME | PCI_AER_UNC_COMP_ABORT | PCI_AER_UNC_UNX_COMP | PCI_AER_UNC_RX_OVER | \
     PCI_AER_UNC_MALF_TLP | PCI_AER_UNC_ECRC | PCI_AER_UNC_UNSUP | PCI_AER_UNC_ACSV |              \
     PCI_AER_UNC_INTN | PCI_AER_UNC_MCBTLP | PCI_AER_UNC_ATOP_EBLOCKED |                           \
     PCI_AER_UNC_TLP_PRF_BLOCKED)
#define UNC_SEVERITY_DEFAULT                                                     \
    (PCI_AER_UNC_DLP | PCI_AER_UNC_SDN | PCI_AER_UNC_FCP | PCI_AER_UNC_RX_OVER | \
     PCI_AER_UNC_MALF_TLP | PCI_AER_UNC_INTN)
#define COR_SUPPORTED                                                                       \
    (PCI_AER_COR_RCVR | PCI_AER_COR_BAD_TLP | PCI_AER_COR_BAD_DLLP | PCI_AER_COR_REP_ROLL | \
     PCI_AER_COR_REP_TIMER | PCI_AER_COR_ADV_NONFATAL | PCI_AER_COR_INTERNAL |              \
     PCI_AER_COR_HL_OVERFLOW)
#define COR_MASK_DEFAULT (PCI_AER_COR_ADV_NONFATAL | PCI_AER_COR_INTERNAL | PCI_AER_COR_HL_OVERFLOW)

static uint32_t aer_get(const PciDevice *dev, unsigned reg)
{
    return pci_get_long(dev->config + dev->aer_cap + reg);
}

static void aer_set(PciDevice *dev, unsigned reg, uint32_t value)
{
    pci_set_long(dev->config + dev->aer_cap + reg, value);
}

bool pcie_add_aer(PciDevice *dev, uint16_t offset, bool version_2, Error **errp)
{
    dev->aer_cap = pcie_add_ext_capability(dev, PCI_EXT_CAP_ID_AER, version_2 ? 2 : 1, offset,
                                           PCI_AER_SIZEOF, errp);
    if (!dev->aer_cap) {
        return false;
    }
    dev->aer = g_new0(PciAer, 1);
    uint8_t *mask = dev->config_mask + dev->aer_cap, *w1c = dev->config_w1c + dev->aer_cap;
    pci_set_long(w1c + PCI_AER_UNCOR_STATUS, UNC_SUPPORTED);
    pci_set_long(mask + PCI_AER_UNCOR_MASK, UNC_SUPPORTED);
    pci_set_long(mask + PCI_AER_UNCOR_SEVERITY, UNC_SUPPORTED);
    pci_set_long(w1c + PCI_AER_COR_STATUS, COR_SUPPORTED);
    pci_set_long(mask + PCI_AER_COR_MASK, COR_SUPPORTED);
    pci_set_long(mask + PCI_AER_CAP,
                 PCI_AER_CAP_ECRC_GENE | PCI_AER_CAP_ECRC_CHKE | PCI_AER_CAP_MHRE);
    aer_set(dev, PCI_AER_CAP, PCI_AER_CAP_ECRC_GENC | PCI_AER_CAP_ECRC_CHKC | PCI_AER_CAP_MHRC);
    /* What errors leave behind differs between two machines. */
    memset(dev->config_check + dev->aer_cap + PCI_AER_UNCOR_STATUS, 0,
           PCI_AER_SIZEOF - PCI_AER_UNCOR_STATUS);
    pcie_aer_reset(dev);
    return true;
}

void pcie_aer_add_root(PciDevice *dev)
{
    dev->aer->root = true;
    pci_set_long(dev->config_mask + dev->aer_cap + PCI_AER_ROOT_COMMAND,
                 PCI_AER_ROOT_CMD_COR_EN | PCI_AER_ROOT_CMD_NONFATAL_EN |
                     PCI_AER_ROOT_CMD_FATAL_EN);
    pci_set_long(dev->config_w1c + dev->aer_cap + PCI_AER_ROOT_STATUS, 0x7f);
    pci_set_word(dev->config_mask + dev->exp_cap + PCI_EXP_RTCTL,
                 PCI_EXP_RTCTL_SECEE | PCI_EXP_RTCTL_SENFEE | PCI_EXP_RTCTL_SEFEE);
}

void pcie_aer_set_root_vector(PciDevice *dev, uint8_t vector)
{
    dev->aer->vector = vector;
    aer_set(dev, PCI_AER_ROOT_STATUS,
            (aer_get(dev, PCI_AER_ROOT_STATUS) & ~(0x1fu << PCI_AER_ROOT_IRQ_SHIFT)) |
                (uint32_t)vector << PCI_AER_ROOT_IRQ_SHIFT);
}

void pcie_aer_finish(PciDevice *dev)
{
    g_clear_pointer(&dev->aer, g_free);
    dev->aer_cap = 0;
}

void pcie_aer_reset(PciDevice *dev)
{
    if (!dev->aer) {
        return;
    }
    dev->aer->count = 0;
    aer_set(dev, PCI_AER_UNCOR_STATUS, 0);
    aer_set(dev, PCI_AER_UNCOR_MASK, dev->err_unc_mask ? PCI_AER_UNC_INTN : 0);
    aer_set(dev, PCI_AER_UNCOR_SEVERITY, UNC_SEVERITY_DEFAULT);
    aer_set(dev, PCI_AER_COR_STATUS, 0);
    aer_set(dev, PCI_AER_COR_MASK, COR_MASK_DEFAULT);
    aer_set(dev, PCI_AER_CAP, PCI_AER_CAP_ECRC_GENC | PCI_AER_CAP_ECRC_CHKC | PCI_AER_CAP_MHRC);
    memset(dev->config + dev->aer_cap + PCI_AER_HEADER_LOG, 0, 16);
    memset(dev->config + dev->aer_cap + PCI_AER_TLP_PREFIX_LOG, 0, 16);
    if (dev->aer->root) {
        aer_set(dev, PCI_AER_ROOT_COMMAND, 0);
        aer_set(dev, PCI_AER_ERROR_SOURCE, 0);
        aer_set(dev, PCI_AER_ROOT_STATUS, (uint32_t)dev->aer->vector << PCI_AER_ROOT_IRQ_SHIFT);
    }
}

/* --- Messages up the tree --- */

/* 6.2.4.1.2: an interrupt while an enabled kind of error is recorded. */
static bool root_wants_irq(const PciDevice *root)
{
    uint32_t command = aer_get(root, PCI_AER_ROOT_COMMAND);
    uint32_t status = aer_get(root, PCI_AER_ROOT_STATUS);

    return ((command & PCI_AER_ROOT_CMD_COR_EN) && (status & PCI_AER_ROOT_COR_RCV)) ||
           ((command & PCI_AER_ROOT_CMD_NONFATAL_EN) && (status & PCI_AER_ROOT_NONFATAL_RCV)) ||
           ((command & PCI_AER_ROOT_CMD_FATAL_EN) && (status & PCI_AER_ROOT_FATAL_RCV));
}

static void root_receive(PciDevice *root, ErrorKind kind, uint16_t source)
{
    uint32_t before = aer_get(root, PCI_AER_ROOT_STATUS), status = before;
    uint32_t command = aer_get(root, PCI_AER_ROOT_COMMAND);
    uint8_t *ids = root->config + root->aer_cap + PCI_AER_ERROR_SOURCE;

    if (kind == KIND_CORRECTABLE) {
        status |= before & PCI_AER_ROOT_COR_RCV ? PCI_AER_ROOT_MULTI_COR_RCV : 0;
        status |= PCI_AER_ROOT_COR_RCV;
        if (!(before & PCI_AER_ROOT_COR_RCV)) {
            pci_set_word(ids, source);
        }
    } else {
        if (before & PCI_AER_ROOT_UNCOR_RCV) {
            status |= PCI_AER_ROOT_MULTI_UNCOR_RCV;
        } else {
            pci_set_word(ids + 2, source);
            status |= kind == KIND_FATAL ? PCI_AER_ROOT_FIRST_FATAL : 0;
        }
        status |= PCI_AER_ROOT_UNCOR_RCV;
        status |= kind == KIND_FATAL ? PCI_AER_ROOT_FATAL_RCV : PCI_AER_ROOT_NONFATAL_RCV;
    }
    aer_set(root, PCI_AER_ROOT_STATUS, status);
    static const uint32_t enable[] = { PCI_AER_ROOT_CMD_COR_EN, PCI_AER_ROOT_CMD_NONFATAL_EN,
                                       PCI_AER_ROOT_CMD_FATAL_EN };
    if ((command & enable[kind]) && status != before) {
        root->aer->irq_up = true;
        pcie_port_signal(root, root->aer->vector, true);
    }
}

/* 6.2.5: does this function pass a message of its own on? */
static bool may_report(const PciDevice *dev, ErrorKind kind)
{
    static const uint16_t enable[] = { PCI_EXP_DEVCTL_CERE, PCI_EXP_DEVCTL_NFERE,
                                       PCI_EXP_DEVCTL_FERE };
    uint16_t devctl = pci_get_word(dev->config + dev->exp_cap + PCI_EXP_DEVCTL);
    bool serr =
        kind != KIND_CORRECTABLE && (pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_SERR);
    return (devctl & enable[kind]) || serr;
}

static void climb(PciDevice *dev, ErrorKind kind, uint16_t source)
{
    bool own = true;
    for (;;) {
        if (kind != KIND_CORRECTABLE &&
            (pci_get_word(dev->config + PCI_COMMAND) & PCI_COMMAND_SERR)) {
            uint8_t *status = dev->config + PCI_STATUS;
            pci_set_word(status, pci_get_word(status) | PCI_STATUS_SIG_SYSTEM_ERROR);
        }
        if (!own && kind != KIND_CORRECTABLE) {
            uint8_t *sec = dev->config + PCI_SEC_STATUS;
            pci_set_word(sec, pci_get_word(sec) | PCI_STATUS_SIG_SYSTEM_ERROR); /* received */
        }
        if (dev->aer && dev->aer->root) {
            root_receive(dev, kind, source);
            return;
        }
        PciDevice *bridge = pci_device_bus(dev)->bridge;
        if (!bridge || !bridge->exp_cap) {
            return;
        }
        /* A bridge passes on what its bridge control lets through. */
        uint16_t control = pci_get_word(bridge->config + PCI_BRIDGE_CONTROL);
        if (kind != KIND_CORRECTABLE && !(control & PCI_BRIDGE_CTL_SERR)) {
            return;
        }
        dev = bridge;
        own = false;
    }
}

/* --- Recording --- */

static void write_header(PciDevice *dev, const PcieError *e)
{
    uint32_t cap = aer_get(dev, PCI_AER_CAP) & ~(PCI_AER_CAP_FEP | PCI_AER_CAP_TLP);

    cap |= (uint32_t)__builtin_ctz(e->status);
    cap |= e->has_prefix ? PCI_AER_CAP_TLP : 0;
    aer_set(dev, PCI_AER_CAP, cap);
    for (int i = 0; i < 4; i++) { /* the TLP's bytes are big-endian in the log */
        aer_set(dev, PCI_AER_HEADER_LOG + 4 * (unsigned)i,
                e->has_header ? __builtin_bswap32(e->header[i]) : 0);
        aer_set(dev, PCI_AER_TLP_PREFIX_LOG + 4 * (unsigned)i,
                e->has_prefix ? __builtin_bswap32(e->prefix[i]) : 0);
    }
}

static bool first_error_pending(const PciDevice *dev)
{
    uint32_t first = 1u << (aer_get(dev, PCI_AER_CAP) & PCI_AER_CAP_FEP);
    return aer_get(dev, PCI_AER_UNCOR_STATUS) & first;
}

/* 6.2.4.2: the first error's header is kept; further ones wait where that is enabled. */
static bool record_uncorrectable(PciDevice *dev, const PcieError *e)
{
    PciAer *aer = dev->aer;
    bool log_more = aer_get(dev, PCI_AER_CAP) & PCI_AER_CAP_MHRE;

    if (!first_error_pending(dev)) {
        write_header(dev, e);
    } else if (log_more) {
        if (aer->count == PCIE_AER_LOG_MAX) {
            return false;
        }
        aer->log[aer->count++] = *e;
    }
    aer_set(dev, PCI_AER_UNCOR_STATUS, aer_get(dev, PCI_AER_UNCOR_STATUS) | e->status);
    return true;
}

static void set_device_status(PciDevice *dev, ErrorKind kind, uint32_t status)
{
    static const uint16_t bits[] = { PCI_EXP_DEVSTA_CED, PCI_EXP_DEVSTA_NFED, PCI_EXP_DEVSTA_FED };
    uint8_t *devsta = dev->config + dev->exp_cap + PCI_EXP_DEVSTA;
    uint16_t value = pci_get_word(devsta) | bits[kind];

    if (kind != KIND_CORRECTABLE && status == PCI_AER_UNC_UNSUP) {
        value |= PCI_EXP_DEVSTA_URD;
    }
    pci_set_word(devsta, value);
}

bool pcie_inject_error(PciDevice *dev, const PcieError *e, Error **errp)
{
    uint32_t supported = e->correctable ? COR_SUPPORTED : UNC_SUPPORTED;
    ErrorKind kind = KIND_CORRECTABLE;

    if (!dev->exp_cap) {
        g_autofree char *who = device_describe(&dev->parent);
        error_set(errp, "%s is not a PCI Express device", who);
        return false;
    }
    if (!is_power_of_two(e->status) || !(e->status & supported)) {
        error_set(errp, "error status 0x%x is not one %s error", e->status,
                  e->correctable ? "correctable" : "uncorrectable");
        return false;
    }
    uint16_t source = e->source == 0xffff ? pci_device_bdf(dev) : e->source;
    if (!e->correctable) {
        uint32_t severity = dev->aer ? aer_get(dev, PCI_AER_UNCOR_SEVERITY) : UNC_SEVERITY_DEFAULT;
        kind = e->status & severity ? KIND_FATAL : KIND_NONFATAL;
    }
    set_device_status(dev, kind, e->status);
    if (dev->aer) {
        unsigned mask_reg = e->correctable ? PCI_AER_COR_MASK : PCI_AER_UNCOR_MASK;
        if (e->correctable) {
            aer_set(dev, PCI_AER_COR_STATUS, aer_get(dev, PCI_AER_COR_STATUS) | e->status);
        }
        if (aer_get(dev, mask_reg) & e->status) {
            if (!e->correctable) {
                aer_set(dev, PCI_AER_UNCOR_STATUS, aer_get(dev, PCI_AER_UNCOR_STATUS) | e->status);
            }
            return true; /* recorded, not reported */
        }
        if (!e->correctable && !record_uncorrectable(dev, e)) {
            aer_set(dev, PCI_AER_COR_STATUS,
                    aer_get(dev, PCI_AER_COR_STATUS) | PCI_AER_COR_HL_OVERFLOW);
        }
    }
    if (may_report(dev, kind)) {
        climb(dev, kind, source);
    }
    return true;
}

/* The guest cleared the first error's bit: the next header moves up. */
static void next_header(PciDevice *dev)
{
    PciAer *aer = dev->aer;

    while (!first_error_pending(dev) && aer->count) {
        PcieError e = aer->log[0];
        memmove(&aer->log[0], &aer->log[1], --aer->count * sizeof(e));
        write_header(dev, &e);
        aer_set(dev, PCI_AER_UNCOR_STATUS, aer_get(dev, PCI_AER_UNCOR_STATUS) | e.status);
    }
}

void pcie_aer_written(PciDevice *dev, uint32_t addr, unsigned len)
{
    if (!dev->aer || !pci_ranges_overlap(addr, len, dev->aer_cap, PCI_AER_SIZEOF)) {
        return;
    }
    next_header(dev);
    if (dev->aer->root && dev->aer->irq_up && !root_wants_irq(dev)) {
        dev->aer->irq_up = false;
        pcie_port_signal(dev, dev->aer->vector, false);
    }
}
