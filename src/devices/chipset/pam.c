/* 82441FX (i440FX) sections 3.2.18 and 3.2.25; Q35 MCH section 5.1.22 and 5.1.29. */
#include "devices/chipset/pam.h"

#define PAM_BASE      0xc0000
#define PAM_SIZE      0x4000
#define PAM_BIOS_BASE 0xf0000
#define PAM_BIOS_SIZE 0x10000
#define PAM_READ      0x1u
#define PAM_WRITE     0x2u
#define SMRAM_BASE    0xa0000
#define SMRAM_SIZE    0x20000
#define SMRAM_OPEN    0x40u
/* Above main memory (0), below what firmware and devices put on top. */
#define PAM_PRIORITY 1

static hwaddr range_base(unsigned n)
{
    return n == 0 ? PAM_BIOS_BASE : PAM_BASE + (n - 1) * PAM_SIZE;
}

static uint64_t range_size(unsigned n)
{
    return n == 0 ? PAM_BIOS_SIZE : PAM_SIZE;
}

void pam_init(Pam *pam, Object *owner, MemoryRegion *system, MemoryRegion *ram, MemoryRegion *pci)
{
    memory_begin();
    for (unsigned i = 0; i < PAM_RANGES; i++) {
        PamRange *r = &pam->ranges[i];
        hwaddr base = range_base(i);
        uint64_t size = range_size(i);
        memory_region_init_alias(&r->ram, owner, "pam-ram", ram, base, size);
        memory_region_init_alias(&r->rom, owner, "pam-rom", ram, base, size);
        memory_region_init_alias(&r->pci, owner, "pam-pci", pci, base, size);
        memory_region_set_readonly(&r->rom, true);
        memory_region_set_enabled(&r->ram, false);
        memory_region_set_enabled(&r->rom, false);
        memory_region_add_overlap(system, base, &r->ram, PAM_PRIORITY);
        memory_region_add_overlap(system, base, &r->rom, PAM_PRIORITY);
        memory_region_add_overlap(system, base, &r->pci, PAM_PRIORITY);
    }
    memory_region_init_alias(&pam->smram_pci, owner, "smram-region", pci, SMRAM_BASE, SMRAM_SIZE);
    memory_region_add_overlap(system, SMRAM_BASE, &pam->smram_pci, PAM_PRIORITY);
    memory_commit();
}

void pam_finish(Pam *pam)
{
    memory_begin();
    for (unsigned i = 0; i < PAM_RANGES; i++) {
        memory_region_finish(&pam->ranges[i].ram);
        memory_region_finish(&pam->ranges[i].rom);
        memory_region_finish(&pam->ranges[i].pci);
    }
    memory_region_finish(&pam->smram_pci);
    memory_commit();
}

/* Reads from PCI with writes to memory (the one asymmetric setting software could use to copy a
 * ROM onto itself) is treated as memory: firmware of today switches both together. */
static void set_range(PamRange *r, unsigned attributes)
{
    memory_region_set_enabled(&r->ram, attributes & PAM_WRITE);
    memory_region_set_enabled(&r->rom, attributes == PAM_READ);
    memory_region_set_enabled(&r->pci, attributes == 0);
}

void pam_update(Pam *pam, const uint8_t registers[PAM_REGISTERS], uint8_t smram)
{
    memory_begin();
    set_range(&pam->ranges[0], registers[0] >> 4 & 3);
    for (unsigned i = 1; i < PAM_RANGES; i++) {
        uint8_t value = registers[(i + 1) / 2];
        set_range(&pam->ranges[i], (i & 1 ? value : value >> 4) & 3);
    }
    memory_region_set_enabled(&pam->smram_pci, !(smram & SMRAM_OPEN));
    memory_commit();
}
