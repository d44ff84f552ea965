#include "devices/chipset/northbridge.h"

#include "devices/chipset/northbridge-internal.h"

void northbridge_init(Northbridge *nb, Object *owner)
{
    memory_region_init(&nb->pci_memory, owner, "pci", UINT64_MAX);
}

void northbridge_map(Northbridge *nb, Object *owner)
{
    memory_begin();
    memory_region_add_overlap(memory_root(), 0, &nb->pci_memory, -1);
    if (nb->ram) {
        memory_region_init_alias(&nb->ram_low, owner, "ram-below-4g", nb->ram, 0, nb->lowmem);
        memory_region_add(memory_root(), 0, &nb->ram_low);
        if (nb->highmem) {
            memory_region_init_alias(&nb->ram_high, owner, "ram-above-4g", nb->ram, nb->lowmem,
                                     nb->highmem);
            memory_region_add(memory_root(), 4 * GiB, &nb->ram_high);
        }
        pam_init(&nb->pam, owner, memory_root(), nb->ram, &nb->pci_memory);
        nb->mapped = true;
    }
    memory_commit();
}

void northbridge_finish(Northbridge *nb)
{
    memory_begin();
    if (nb->mapped) {
        pam_finish(&nb->pam);
        memory_region_finish(&nb->ram_low);
        if (nb->highmem) {
            memory_region_finish(&nb->ram_high);
        }
    }
    memory_region_finish(&nb->pci_memory);
    memory_commit();
}

Northbridge *northbridge_of(Device *host)
{
    return object_dynamic_cast(&host->parent, TYPE_Q35_HOST) ? q35_northbridge(host)
                                                             : i440fx_northbridge(host);
}

PciBus *northbridge_bus(Device *host)
{
    return ((PciHost *)host)->bus;
}

uint64_t northbridge_hole64_base(const Northbridge *nb)
{
    return ALIGN_UP(4 * GiB + nb->highmem, GiB);
}

void northbridge_setup(Device *host)
{
    if (object_dynamic_cast(&host->parent, TYPE_Q35_HOST)) {
        q35_setup(host);
    }
}
