/*
 * Slots of ports (PCIe 5.0, 6.7 and 7.5.3.9 to 7.5.3.11): native hot plug.
 *
 * A device that is plugged at run time is announced by the presence detect and data link bits, and
 * by the attention button. One that is to go is announced by the button; the guest blinks the
 * power indicator, stops its driver, and switches slot power and indicator off, which is when the
 * device leaves.
 */
#include <string.h>

#include "bus/pci/bridge.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci-internal.h"
#include "bus/pci/pcie-internal.h"

static uint8_t *slot_reg(PciDevice *port, unsigned reg)
{
    return port->config + port->exp_cap + reg;
}

static uint16_t slot_get(PciDevice *port, unsigned reg)
{
    return pci_get_word(slot_reg(port, reg));
}

static void slot_change(PciDevice *port, unsigned reg, uint16_t clear, uint16_t set)
{
    pci_set_word(slot_reg(port, reg), (uint16_t)((slot_get(port, reg) & ~clear) | set));
}

static PciBus *slot_bus(PciDevice *port)
{
    return &pci_bridge_cast(port)->secondary;
}

static bool slot_occupied(PciDevice *port)
{
    return slot_bus(port)->devices[0];
}

static bool has_power_controller(PciDevice *port)
{
    return pci_get_long(slot_reg(port, PCI_EXP_SLTCAP)) & PCI_EXP_SLTCAP_PCP;
}

void pcie_port_signal(PciDevice *port, unsigned vector, bool level)
{
    if (msix_enabled(port)) {
        if (level) {
            msix_notify(port, vector);
        }
    } else if (msi_enabled(port)) {
        if (level) {
            msi_notify(port, vector);
        }
    } else {
        pci_set_irq(port, level);
    }
}

/* 6.7.3.4: an interrupt while an enabled event is recorded. */
static bool slot_wants_irq(PciDevice *port)
{
    uint16_t control = slot_get(port, PCI_EXP_SLTCTL), status = slot_get(port, PCI_EXP_SLTSTA);
    /* The enables and the status bits of the first five events have the same places. */
    uint16_t events = PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PFD | PCI_EXP_SLTSTA_MRLSC |
                      PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_CC;
    bool any = (control & status & events) ||
               ((control & PCI_EXP_SLTCTL_DLLSCE) && (status & PCI_EXP_SLTSTA_DLLSC));
    return any && (control & PCI_EXP_SLTCTL_HPIE);
}

static void slot_update_irq(PciDevice *port, bool before)
{
    bool now = slot_wants_irq(port);
    unsigned vector = (slot_get(port, PCI_EXP_FLAGS) & PCI_EXP_FLAGS_IRQ) >> 9;

    if (now != before || (now && !msi_enabled(port) && !msix_enabled(port))) {
        pcie_port_signal(port, vector, now);
    }
}

static void slot_event(PciDevice *port, uint16_t events)
{
    bool before = slot_wants_irq(port);
    slot_change(port, PCI_EXP_SLTSTA, 0, events);
    slot_update_irq(port, before);
}

static void set_link(PciDevice *port, bool up)
{
    if (port->lnksta_dllla) {
        slot_change(port, PCI_EXP_LNKSTA, up ? 0 : PCI_EXP_LNKSTA_DLLLA,
                    up ? PCI_EXP_LNKSTA_DLLLA : 0);
    }
}

/* --- Power --- */

static bool power_device(PciDevice *dev, void *opaque)
{
    pci_set_power(dev, *(const bool *)opaque);
    return true;
}

/* Devices have power while the slot is occupied and its controller is on. */
static void update_power(PciDevice *port)
{
    bool on = !has_power_controller(port) || !(slot_get(port, PCI_EXP_SLTCTL) & PCI_EXP_SLTCTL_PCC);
    pci_bus_foreach(slot_bus(port), power_device, &on);
}

void pcie_slot_add(PciDevice *port, const PcieSlot *slot)
{
    uint8_t at = port->exp_cap;
    uint32_t cap = (uint32_t)slot->number << PCI_EXP_SLTCAP_PSN_SHIFT | PCI_EXP_SLTCAP_EIP |
                   PCI_EXP_SLTCAP_AIP | PCI_EXP_SLTCAP_PIP;
    uint16_t writable = PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PFDE | PCI_EXP_SLTCTL_MRLSCE |
                        PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_CCIE | PCI_EXP_SLTCTL_HPIE |
                        PCI_EXP_SLTCTL_AIC | PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_DLLSCE |
                        PCI_EXP_SLTCTL_EIC;

    if (slot->hotplug) {
        cap |= PCI_EXP_SLTCAP_HPS | PCI_EXP_SLTCAP_HPC | PCI_EXP_SLTCAP_ABP;
    }
    if (slot->power_control) {
        cap |= PCI_EXP_SLTCAP_PCP;
        writable |= PCI_EXP_SLTCTL_PCC;
    }
    slot_change(port, PCI_EXP_FLAGS, 0, PCI_EXP_FLAGS_SLOT);
    pci_set_long(port->config + at + PCI_EXP_SLTCAP, cap);
    pci_set_word(port->config_mask + at + PCI_EXP_SLTCTL, writable);
    pci_set_word(port->config_w1c + at + PCI_EXP_SLTSTA,
                 PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PFD | PCI_EXP_SLTSTA_MRLSC |
                     PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_CC | PCI_EXP_SLTSTA_DLLSC);
}

void pcie_slot_reset(PciDevice *port)
{
    bool occupied = slot_occupied(port);
    uint16_t control = PCI_EXP_SLTCTL_AIC_OFF;

    slot_change(port, PCI_EXP_SLTCTL, UINT16_MAX, control);
    if (occupied) {
        slot_change(port, PCI_EXP_SLTCTL, 0, PCI_EXP_SLTCTL_PIC_ON);
    } else {
        slot_change(port, PCI_EXP_SLTCTL, 0,
                    PCI_EXP_SLTCTL_PIC_OFF | (has_power_controller(port) ? PCI_EXP_SLTCTL_PCC : 0));
    }
    slot_change(port, PCI_EXP_SLTSTA, UINT16_MAX, occupied ? PCI_EXP_SLTSTA_PDS : 0);
    set_link(port, occupied);
    pcie_port_signal(port, 0, false);
    update_power(port);
}

/* --- Guest side --- */

static bool destroy_device(PciDevice *dev, void *opaque)
{
    g_ptr_array_add(opaque, dev);
    object_ref(&dev->parent.parent);
    return true;
}

/* Highest function first: function 0 is what the guest looks at. */
static void eject(PciDevice *port)
{
    g_autoptr(GPtrArray) devices = g_ptr_array_new();
    pci_bus_foreach(slot_bus(port), destroy_device, devices);
    while (devices->len) {
        PciDevice *dev = devices->pdata[devices->len - 1];
        g_ptr_array_set_size(devices, (int)devices->len - 1);
        device_destroy(&dev->parent);
        object_unref(&dev->parent.parent);
    }
    set_link(port, false);
    slot_change(port, PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_PDS, 0);
    slot_event(port, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
}

static bool any_pending(PciDevice *dev, void *opaque)
{
    return !dev->parent.unplug_pending;
}

static bool is_off(uint16_t control)
{
    return (control & PCI_EXP_SLTCTL_PCC) &&
           (control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PIC_OFF;
}

void pcie_slot_written(PciDevice *port, uint32_t addr, unsigned len)
{
    unsigned at = port->exp_cap + PCI_EXP_SLTCTL;

    if (!(slot_get(port, PCI_EXP_FLAGS) & PCI_EXP_FLAGS_SLOT) ||
        !pci_ranges_overlap(addr, len, at, 4)) {
        return;
    }
    if (!pci_ranges_overlap(addr, len, at, 2)) { /* status alone: bits were cleared */
        slot_update_irq(port, true);
        return;
    }
    bool before = slot_wants_irq(port);
    uint16_t control = slot_get(port, PCI_EXP_SLTCTL);
    if (control & PCI_EXP_SLTCTL_EIC) { /* toggles the interlock, reads as 0 */
        slot_change(port, PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_EIC, 0);
        slot_change(port, PCI_EXP_SLTSTA, 0, 0);
        pci_set_word(slot_reg(port, PCI_EXP_SLTSTA),
                     slot_get(port, PCI_EXP_SLTSTA) ^ PCI_EXP_SLTSTA_EIS);
    }
    update_power(port);
    bool wanted = !pci_bus_foreach(slot_bus(port), any_pending, NULL);
    if (is_off(control) && slot_occupied(port) && wanted) {
        eject(port);
    }
    /* 6.7.3.2: commands complete at once; the guest is told. */
    slot_change(port, PCI_EXP_SLTSTA, 0, PCI_EXP_SLTSTA_CC);
    slot_update_irq(port, before);
}

/* --- Host side: the port is the hot-plug handler of its secondary bus --- */

static bool slot_hotplug_enabled(PciDevice *port)
{
    return pci_get_long(slot_reg(port, PCI_EXP_SLTCAP)) & PCI_EXP_SLTCAP_HPC;
}

static bool check_hotplug(PciDevice *port, Device *dev, Error **errp)
{
    if (!slot_hotplug_enabled(port)) {
        g_autofree char *who = device_describe(dev);
        error_set(errp, "%s: hot plug is off for slot '%s'; set hotplug=on for the port", who,
                  slot_bus(port)->parent.name);
        return false;
    }
    if (slot_get(port, PCI_EXP_SLTSTA) & PCI_EXP_SLTSTA_EIS) {
        error_set(errp,
                  "the slot of bus '%s' is locked: its electromechanical interlock is "
                  "engaged",
                  slot_bus(port)->parent.name);
        return false;
    }
    return true;
}

static bool slot_pre_plug(Object *handler, Device *dev, Error **errp)
{
    return !device_machine_is_ready() || check_hotplug(pci_device_cast(handler), dev, errp);
}

static bool slot_plug(Object *handler, Device *dev, Error **errp)
{
    PciDevice *port = pci_device_cast(handler), *pci = pci_device_cast(dev);

    if (!dev->hotplugged) {
        slot_change(port, PCI_EXP_SLTSTA, 0, PCI_EXP_SLTSTA_PDS);
        set_link(port, true);
        return true;
    }
    update_power(port);
    if (PCI_FUNC(pci->devfn) || PCI_SLOT(pci->devfn)) {
        return true; /* announced with function 0 */
    }
    slot_change(port, PCI_EXP_SLTSTA, 0, PCI_EXP_SLTSTA_PDS);
    set_link(port, true);
    slot_event(port, PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_DLLSC);
    return true;
}

static bool mark_pending(PciDevice *dev, void *opaque)
{
    dev->parent.unplug_pending = true;
    return true;
}

static bool slot_unplug_request(Object *handler, Device *dev, Error **errp)
{
    PciDevice *port = pci_device_cast(handler);
    uint16_t control = slot_get(port, PCI_EXP_SLTCTL);

    if (!check_hotplug(port, dev, errp)) {
        return false;
    }
    if ((control & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PIC_BLINK) {
        g_autofree char *who = device_describe(dev);
        error_set(errp,
                  "%s: the guest is busy with the slot, its power indicator blinks; try "
                  "again",
                  who);
        return false;
    }
    pci_bus_foreach(slot_bus(port), mark_pending, NULL);
    if (is_off(control)) { /* no guest driver uses it: nothing to wait for */
        eject(port);
        return true;
    }
    slot_event(port, PCI_EXP_SLTSTA_ABP);
    return true;
}

void pcie_slot_class_init(ObjectClass *klass)
{
    HotplugHandlerClass *hc = hotplug_handler_class_cast(klass);
    hc->pre_plug = slot_pre_plug;
    hc->plug = slot_plug;
    hc->unplug_request = slot_unplug_request;
}
