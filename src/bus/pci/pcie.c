/* The PCI Express capability (PCIe 5.0, 7.5.3) and the smaller extended capabilities. */
#include "bus/pci/pcie.h"

#include <string.h>

#include "bus/pci/pci-internal.h"
#include "bus/pci/pcie-internal.h"

#define EXP_SIZE    PCI_EXP_SIZEOF_V2
#define EXT_FIRST   PCI_CONFIG_SIZE
#define EXP_VERSION 2

/* "x-speed" and "x-width" are written as the link capabilities count. */
static const char *const speed_names[] = { NULL, "2_5", "5", "8", "16", "32", "64" };
static const EnumDesc speed_desc = { "PCIELinkSpeed", speed_names, NULL, ARRAY_LEN(speed_names) };
const ValueType value_type_pcie_speed = {
    .kind = VALUE_ENUM,
    .name = "PCIELinkSpeed",
    .size = sizeof(int),
    .enumeration = &speed_desc,
};
static const char *const width_names[PCIE_WIDTH_32 + 1] = {
    [PCIE_WIDTH_1] = "1",   [PCIE_WIDTH_2] = "2",   [PCIE_WIDTH_4] = "4",   [PCIE_WIDTH_8] = "8",
    [PCIE_WIDTH_12] = "12", [PCIE_WIDTH_16] = "16", [PCIE_WIDTH_32] = "32",
};
static const EnumDesc width_desc = { "PCIELinkWidth", width_names, NULL, ARRAY_LEN(width_names) };
const ValueType value_type_pcie_width = {
    .kind = VALUE_ENUM,
    .name = "PCIELinkWidth",
    .size = sizeof(int),
    .enumeration = &width_desc,
};

uint8_t pcie_cap_type(const PciDevice *dev)
{
    return (
        uint8_t)((pci_get_word(dev->config + dev->exp_cap + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_TYPE) >>
                 4);
}

bool pcie_has_upstream_port(const PciDevice *dev)
{
    const PciDevice *port = pci_device_bus(dev)->bridge;
    if (!port || !port->exp_cap) {
        return false;
    }
    uint8_t type = pcie_cap_type(port);
    return type == PCI_EXP_TYPE_ROOT_PORT || type == PCI_EXP_TYPE_DOWNSTREAM ||
           type == PCI_EXP_TYPE_PCIE_BRIDGE;
}

void pcie_cap_set_link(PciDevice *dev, PcieSpeed speed, PcieWidth width)
{
    uint8_t *cap = dev->config + dev->exp_cap;
    uint32_t lnkcap = pci_get_long(cap + PCI_EXP_LNKCAP) & ~0x3ffu;
    uint16_t lnksta =
        pci_get_word(cap + PCI_EXP_LNKSTA) & (uint16_t) ~(PCI_EXP_LNKSTA_CLS | PCI_EXP_LNKSTA_NLW);

    pci_set_long(cap + PCI_EXP_LNKCAP, lnkcap | (uint32_t)width << 4 | (uint32_t)speed);
    pci_set_word(cap + PCI_EXP_LNKSTA, (uint16_t)(lnksta | width << 4 | speed));
    /* 7.5.3.18: supported speeds as bits, when there is more than the first. */
    pci_set_long(cap + PCI_EXP_LNKCAP2, speed > PCIE_SPEED_2_5 ? ((1u << speed) - 1) << 1 : 0);
    pci_set_word(cap + PCI_EXP_LNKCTL2, (uint16_t)speed);
}

uint8_t pcie_add_cap(PciDevice *dev, uint8_t offset, uint8_t type, uint8_t port, Error **errp)
{
    assert(dev->is_express);
    offset = pci_add_capability(dev, PCI_CAP_ID_EXPRESS, offset, EXP_SIZE, errp);
    if (!offset) {
        return 0;
    }
    dev->exp_cap = offset;
    uint8_t *cap = dev->config + offset;
    pci_set_word(cap + PCI_EXP_FLAGS, (uint16_t)(type << 4 | EXP_VERSION));
    pci_set_long(cap + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER);
    pci_set_long(cap + PCI_EXP_LNKCAP, (uint32_t)port << 24 | PCI_EXP_LNKCAP_ASPM_L0S);
    pcie_cap_set_link(dev, PCIE_SPEED_2_5, PCIE_WIDTH_1);
    if (dev->lnksta_dllla) {
        pci_set_word(cap + PCI_EXP_LNKSTA,
                     pci_get_word(cap + PCI_EXP_LNKSTA) | PCI_EXP_LNKSTA_DLLLA);
    }
    pci_set_long(cap + PCI_EXP_DEVCAP2, PCI_EXP_DEVCAP2_EFF | PCI_EXP_DEVCAP2_EETLPP);
    pci_set_word(dev->config_mask + offset + PCI_EXP_DEVCTL2, PCI_EXP_DEVCTL2_EETLPPB);
    /* Status changes while the machine runs. */
    pci_set_word(dev->config_check + offset + PCI_EXP_LNKSTA, 0);
    pci_set_word(dev->config_check + offset + PCI_EXP_SLTSTA, 0);
    pci_set_long(dev->config_check + offset + PCI_EXP_RTSTA, 0);
    if (dev->extcap_init) {
        /* 7.9.1: a list whose first entry is all zero is empty. */
        pci_set_long(dev->config + EXT_FIRST, 0);
    } else {
        pci_set_long(dev->config + EXT_FIRST, 0xffff);
    }
    return offset;
}

uint8_t pcie_add_endpoint_cap(PciDevice *dev, uint8_t offset, Error **errp)
{
    uint8_t type =
        pci_bus_is_root(pci_device_bus(dev)) ? PCI_EXP_TYPE_RC_ENDPOINT : PCI_EXP_TYPE_ENDPOINT;
    return pcie_add_cap(dev, offset, type, 0, errp);
}

void pcie_cap_add_device_errors(PciDevice *dev)
{
    pci_set_word(dev->config_mask + dev->exp_cap + PCI_EXP_DEVCTL,
                 pci_get_word(dev->config_mask + dev->exp_cap + PCI_EXP_DEVCTL) |
                     PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE | PCI_EXP_DEVCTL_FERE |
                     PCI_EXP_DEVCTL_URRE);
    pci_set_word(dev->config_w1c + dev->exp_cap + PCI_EXP_DEVSTA,
                 PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED | PCI_EXP_DEVSTA_FED |
                     PCI_EXP_DEVSTA_URD);
    pci_set_word(dev->config_check + dev->exp_cap + PCI_EXP_DEVSTA, 0);
}

void pcie_cap_add_link_control(PciDevice *dev)
{
    pci_set_word(dev->config_mask + dev->exp_cap + PCI_EXP_LNKCTL,
                 PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES);
}

void pcie_cap_add_flr(PciDevice *dev)
{
    uint8_t *devcap = dev->config + dev->exp_cap + PCI_EXP_DEVCAP;
    pci_set_long(devcap, pci_get_long(devcap) | PCI_EXP_DEVCAP_FLR);
}

static void clear_writable(PciDevice *dev, unsigned at)
{
    uint8_t *reg = dev->config + at;
    pci_set_word(reg, pci_get_word(reg) & ~(pci_get_word(dev->config_mask + at) |
                                            pci_get_word(dev->config_w1c + at)));
}

void pcie_cap_reset(PciDevice *dev)
{
    static const uint8_t registers[] = { PCI_EXP_DEVCTL, PCI_EXP_DEVSTA, PCI_EXP_LNKCTL,
                                         PCI_EXP_DEVCTL2, PCI_EXP_RTCTL };

    for (size_t i = 0; dev->exp_cap && i < ARRAY_LEN(registers); i++) {
        clear_writable(dev, dev->exp_cap + registers[i]);
    }
    if (dev->ats_cap) {
        clear_writable(dev, dev->ats_cap + PCI_ATS_CTRL);
    }
    if (dev->acs_cap) {
        clear_writable(dev, dev->acs_cap + PCI_ACS_CTRL);
    }
}

/* --- Extended capabilities --- */

static uint16_t ext_next(const PciDevice *dev, uint16_t at)
{
    return (uint16_t)(pci_get_long(dev->config + at) >> PCI_EXT_CAP_NEXT_SHIFT & ~3u);
}

uint16_t pcie_find_ext_capability(const PciDevice *dev, uint16_t id)
{
    if (dev->config_size < PCIE_CONFIG_SIZE) {
        return 0;
    }
    uint16_t at = EXT_FIRST;
    for (int i = 0; at >= EXT_FIRST && i < PCIE_CONFIG_SIZE / 4; i++) {
        uint32_t header = pci_get_long(dev->config + at);
        if ((header & 0xffff) == id && (header >> 16 & 0xf)) {
            return at;
        }
        at = ext_next(dev, at);
    }
    return 0;
}

static uint16_t ext_find_room(const PciDevice *dev, uint16_t size)
{
    unsigned run = 0;
    for (unsigned i = EXT_FIRST; i < PCIE_CONFIG_SIZE; i++) {
        run = dev->config_used[i] ? 0 : run + 1;
        if (run >= size && (i - size + 1) % 4 == 0) {
            return (uint16_t)(i - size + 1);
        }
    }
    return 0;
}

uint16_t pcie_add_ext_capability(PciDevice *dev, uint16_t id, uint8_t version, uint16_t offset,
                                 uint16_t size, Error **errp)
{
    const char *name = object_type_name(&dev->parent.parent);

    assert(dev->is_express && size >= 4);
    offset = offset ? offset : ext_find_room(dev, size);
    if (!offset) {
        error_set(errp, "PCI device '%s': no room for extended capability 0x%04x of %u bytes", name,
                  id, size);
        return 0;
    }
    assert(offset >= EXT_FIRST && offset % 4 == 0 && offset + size <= PCIE_CONFIG_SIZE);
    for (unsigned i = offset; i < (unsigned)offset + size; i++) {
        if (dev->config_used[i]) {
            error_set(errp,
                      "PCI device '%s': extended capability 0x%04x at 0x%03x overlaps another",
                      name, id, offset);
            return 0;
        }
    }
    memset(dev->config_used + offset, 1, size);
    memset(dev->config + offset, 0, size);
    memset(dev->config_mask + offset, 0, size);
    memset(dev->config_check + offset, 0xff, size);
    if (offset != EXT_FIRST) {
        /* The list begins at 0x100: a header of no capability stands there until one comes. */
        uint16_t last = EXT_FIRST;
        if (!dev->config_used[EXT_FIRST]) {
            memset(dev->config_used + EXT_FIRST, 1, 4);
            pci_set_long(dev->config + EXT_FIRST, 0);
        }
        while (ext_next(dev, last)) {
            last = ext_next(dev, last);
        }
        pci_set_long(dev->config + last,
                     pci_get_long(dev->config + last) | (uint32_t)offset << PCI_EXT_CAP_NEXT_SHIFT);
    }
    pci_set_long(dev->config + offset, (uint32_t)version << 16 | id);
    return offset;
}

bool pcie_add_ari(PciDevice *dev, uint16_t offset, Error **errp)
{
    dev->ari_cap =
        pcie_add_ext_capability(dev, PCI_EXT_CAP_ID_ARI, 1, offset, PCI_ARI_SIZEOF, errp);
    if (dev->ari_cap) {
        pci_set_long(dev->config + dev->ari_cap + PCI_ARI_CAP, dev->ari_nextfn_1 ? 1u << 8 : 0);
    }
    return dev->ari_cap;
}

bool pcie_add_dsn(PciDevice *dev, uint16_t offset, uint64_t serial, Error **errp)
{
    dev->dsn_cap =
        pcie_add_ext_capability(dev, PCI_EXT_CAP_ID_DSN, 1, offset, PCI_DSN_SIZEOF, errp);
    if (dev->dsn_cap) {
        pci_set_quad(dev->config + dev->dsn_cap + PCI_DSN_SERIAL, serial);
    }
    return dev->dsn_cap;
}

bool pcie_add_ats(PciDevice *dev, uint16_t offset, bool aligned, Error **errp)
{
    dev->ats_cap =
        pcie_add_ext_capability(dev, PCI_EXT_CAP_ID_ATS, 1, offset, PCI_ATS_SIZEOF, errp);
    if (dev->ats_cap) {
        pci_set_word(dev->config + dev->ats_cap + PCI_ATS_CAP, aligned ? PCI_ATS_CAP_ALIGNED : 0);
        pci_set_word(dev->config_mask + dev->ats_cap + PCI_ATS_CTRL, PCI_ATS_CTRL_ENABLE);
    }
    return dev->ats_cap;
}

bool pcie_ats_enabled(const PciDevice *dev)
{
    return dev->ats_cap &&
           (pci_get_word(dev->config + dev->ats_cap + PCI_ATS_CTRL) & PCI_ATS_CTRL_ENABLE);
}

/* 7.7.8: what a port without peer-to-peer of its own can promise. */
bool pcie_add_acs(PciDevice *dev, uint16_t offset, Error **errp)
{
    bool port = pci_device_class_of(dev)->is_bridge && dev->exp_cap &&
                pcie_cap_type(dev) != PCI_EXP_TYPE_UPSTREAM;
    uint16_t bits = port ? PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF : 0;

    dev->acs_cap =
        pcie_add_ext_capability(dev, PCI_EXT_CAP_ID_ACS, 1, offset, PCI_ACS_SIZEOF, errp);
    if (dev->acs_cap) {
        pci_set_word(dev->config + dev->acs_cap + PCI_ACS_CAP, bits);
        pci_set_word(dev->config_mask + dev->acs_cap + PCI_ACS_CTRL, bits);
    }
    return dev->acs_cap;
}

/* --- What follows a write --- */

static void flr_written(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    unsigned devctl = dev->exp_cap + PCI_EXP_DEVCTL;
    bool can = pci_get_long(dev->config + dev->exp_cap + PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR;

    if (!can || dev->flr_running || !pci_ranges_overlap(addr, len, devctl + 1, 1)) {
        return;
    }
    uint8_t high = (uint8_t)(value >> (8 * (devctl + 1 - addr)));
    if (high & PCI_EXP_DEVCTL_FLR >> 8) {
        dev->flr_running = true; /* the reset may write the register too */
        pci_reset_function(dev);
        dev->flr_running = false;
    }
}

void pcie_config_written(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    if (!dev->exp_cap) {
        return;
    }
    flr_written(dev, addr, value, len);
    pcie_slot_written(dev, addr, len);
    pcie_aer_written(dev, addr, len);
}
