#include "devices/chipset/southbridge.h"

#include "bus/pci/host.h"
#include "devices/chipset/northbridge.h"
#include "devices/chipset/southbridge-internal.h"
#include "object/lifecycle.h"

/* --- PIRQ routing: PIIX3 section 2.2.8, ICH9 section 13.1.12. Lines share an interrupt by OR. ---
 */

static void drive(PirqRouter *r, uint8_t route)
{
    int level = 0;

    if (route & PIRQ_ROUTE_OFF) {
        return;
    }
    for (unsigned i = 0; i < r->count; i++) {
        if (!(r->routes[i] & PIRQ_ROUTE_OFF) &&
            (r->routes[i] & PIRQ_ROUTE_IRQ) == (route & PIRQ_ROUTE_IRQ)) {
            level |= r->levels >> i & 1;
        }
    }
    irq_set(&r->gsi[route & PIRQ_ROUTE_IRQ], level);
}

void pirq_set_level(PirqRouter *r, unsigned n, int level)
{
    r->levels = level ? r->levels | 1u << n : r->levels & ~(1u << n);
    drive(r, r->routes[n]);
}

void pirq_set_route(PirqRouter *r, unsigned n, uint8_t route)
{
    uint8_t old = r->routes[n];

    r->routes[n] = route;
    drive(r, old);
    drive(r, route);
}

/* --- Reset control, ICH9 section 13.7.5 --- */

#define RST_OFFSET   1     /* port CF9h */
#define RST_CPU      0x04u /* a rising edge resets */
#define RST_WRITABLE 0x0eu

static void reset_control_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    ResetControl *rc = opaque;
    bool edge;

    if (size == 4) {
        memory_region_dispatch_write(rc->config_address, 0, value, 4, MEMTXATTRS_UNSPECIFIED);
        return;
    }
    if (size != 1 || addr != RST_OFFSET) {
        return;
    }
    edge = (value & RST_CPU) && !(rc->value & RST_CPU);
    rc->value = value & RST_WRITABLE;
    if (edge) {
        rc->value &= ~RST_CPU;
        lifecycle_request_reset(SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

static uint64_t reset_control_read(void *opaque, hwaddr addr, unsigned size)
{
    ResetControl *rc = opaque;
    uint64_t value = UINT64_MAX;

    if (size == 4) {
        memory_region_dispatch_read(rc->config_address, 0, &value, 4, MEMTXATTRS_UNSPECIFIED);
    } else if (size == 1 && addr == RST_OFFSET) {
        value = rc->value;
    }
    return value;
}

static const MemoryRegionOps reset_control_ops = {
    .read = reset_control_read,
    .write = reset_control_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 4 },
};

void reset_control_init(ResetControl *rc, Object *owner)
{
    memory_region_init_io(&rc->io, owner, &reset_control_ops, rc, "reset-control", 4);
}

void reset_control_map(ResetControl *rc, PciBus *bus)
{
    rc->config_address = &((PciHost *)bus->parent.owner)->config_address;
    memory_region_add_overlap(io_root(), PCI_CONFIG_ADDRESS_PORT, &rc->io, 1);
}

void reset_control_unmap(ResetControl *rc)
{
    memory_region_del(io_root(), &rc->io);
}

const VmState reset_control_vmstate = {
    .name = "reset-control",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(value, ResetControl), {} },
};

/* --- Both bridges --- */

IsaBus *southbridge_isa_bus(PciDevice *bridge)
{
    return (IsaBus *)bridge->parent.child_buses->pdata[0];
}

AcpiPm *southbridge_pm(PciDevice *dev)
{
    return object_dynamic_cast(&dev->parent.parent, TYPE_ICH9_LPC) ? ich9_lpc_pm(dev)
                                                                   : piix4_pm(dev);
}

void southbridge_setup(PciDevice *bridge, PciDevice *pm)
{
    if (bridge == pm) {
        ich9_lpc_setup(bridge);
    } else {
        piix3_setup(bridge);
        piix4_setup(pm);
    }
    acpi_pm_enable(southbridge_pm(pm));
}
