/*
 * PCI Express: the capability (PCIe 5.0, 7.5.3), extended capabilities, error reporting, and the
 * slots of ports with native hot plug (6.7).
 */
#ifndef BUS_PCI_PCIE_H
#define BUS_PCI_PCIE_H

#include "bus/pci/pci.h"

typedef enum PcieSpeed {
    PCIE_SPEED_2_5 = 1,
    PCIE_SPEED_5,
    PCIE_SPEED_8,
    PCIE_SPEED_16,
    PCIE_SPEED_32,
    PCIE_SPEED_64
} PcieSpeed;
typedef enum PcieWidth {
    PCIE_WIDTH_1 = 1,
    PCIE_WIDTH_2 = 2,
    PCIE_WIDTH_4 = 4,
    PCIE_WIDTH_8 = 8,
    PCIE_WIDTH_12 = 12,
    PCIE_WIDTH_16 = 16,
    PCIE_WIDTH_32 = 32
} PcieWidth;
extern const ValueType value_type_pcie_speed; /* "2_5", "5", "8", "16", "32", "64" */
extern const ValueType value_type_pcie_width; /* "1", "2", "4", "8", "12", "16", "32" */

/*
 * The capability, version 2. type: PCI_EXP_TYPE_*; endpoints become root complex endpoints on a
 * root bus. offset 0: the first room. 0 with an error.
 */
uint8_t pcie_add_cap(PciDevice *dev, uint8_t offset, uint8_t type, uint8_t port, Error **errp);
/* The endpoint's, as pcie_add_cap() with the right type. */
uint8_t pcie_add_endpoint_cap(PciDevice *dev, uint8_t offset, Error **errp);
/* Control and status registers of the capability, of ATS and ACS; done with every reset. */
void pcie_cap_reset(PciDevice *dev);
uint8_t pcie_cap_type(const PciDevice *dev);
/* Device errors: what the guest may enable in Device Control (with AER or without). */
void pcie_cap_add_device_errors(PciDevice *dev);
/* Link control bits are writable. */
void pcie_cap_add_link_control(PciDevice *dev);
/* Function level reset: a write of the bit resets the function. */
void pcie_cap_add_flr(PciDevice *dev);
void pcie_cap_set_link(PciDevice *dev, PcieSpeed speed, PcieWidth width);

/* --- Extended capabilities: offset 0 is the first room from 0x100 on; they are linked in order of
 * adding, which the first one, at 0x100, must begin. 0 with an error. --- */
uint16_t pcie_add_ext_capability(PciDevice *dev, uint16_t id, uint8_t version, uint16_t offset,
                                 uint16_t size, Error **errp);
uint16_t pcie_find_ext_capability(const PciDevice *dev, uint16_t id);
bool pcie_add_ari(PciDevice *dev, uint16_t offset, Error **errp);
bool pcie_add_dsn(PciDevice *dev, uint16_t offset, uint64_t serial, Error **errp);
bool pcie_add_ats(PciDevice *dev, uint16_t offset, bool aligned, Error **errp);
bool pcie_ats_enabled(const PciDevice *dev);
bool pcie_add_acs(PciDevice *dev, uint16_t offset, Error **errp); /* ports, or functions of one */

/* Behind a downstream or root port? */
bool pcie_has_upstream_port(const PciDevice *dev);
/* What follows a write; pci_default_config_write() calls it. */
void pcie_config_written(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len);

/* --- Advanced error reporting --- */

typedef struct PcieError {
    uint32_t status; /* one bit of PCI_AER_UNC_* or PCI_AER_COR_* */
    bool correctable;
    uint16_t source; /* requester id; 0xffff: the device itself */
    bool has_header, has_prefix;
    uint32_t header[4], prefix[4]; /* of the TLP */
} PcieError;

#define PCIE_AER_LOG_MAX 8 /* errors kept while the header log is taken */

bool pcie_add_aer(PciDevice *dev, uint16_t offset, bool version_2, Error **errp);
void pcie_aer_finish(PciDevice *dev);
/* The error is recorded, and reported up to the root port as the masks say. */
MUST_CHECK bool pcie_inject_error(PciDevice *dev, const PcieError *error, Error **errp);
/* "DLP" and so on, as the monitor's pcie_aer_inject_error names them; false if there is none. */
bool pcie_error_by_name(const char *name, uint32_t *status, bool *correctable);
void pcie_aer_reset(PciDevice *dev);
/* Root ports: which of the port's vectors errors are signalled with. */
void pcie_aer_set_root_vector(PciDevice *dev, uint8_t vector);
void pcie_aer_add_root(PciDevice *dev);

/* --- Slots --- */

typedef struct PcieSlot {
    uint16_t number; /* physical slot; unique within the chassis */
    uint8_t chassis;
    bool hotplug;         /* native hot plug is offered */
    bool power_control;   /* a power controller is there */
    bool indicators_seen; /* the guest has switched the power indicator: it runs a driver */
} PcieSlot;

void pcie_slot_add(PciDevice *port, const PcieSlot *slot);
void pcie_slot_reset(PciDevice *port);

#endif
