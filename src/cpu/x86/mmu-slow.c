/* Physical memory by the memory core's own ways, for mmu.c where its cache can't help. */
#include "cpu/x86/mmu-internal.h"

#include "base/rcu.h"
#include "cpu/x86/mmu.h"

void x86_mmu_forget(X86Cpu *cpu)
{
    if (!cpu->walk_cache) {
        return;
    }
    for (unsigned i = 0; i < X86_WALK_CACHE_ENTRIES; i++) {
        cpu->walk_cache->entry[i].page = ~UINT64_C(0);
    }
}

bool x86_walk_cache_fill(X86Cpu *cpu, X86WalkCacheEntry *entry, uint64_t page)
{
    x86_park_fpu(cpu);
    RCU_SECTION();
    MemoryMapping m = address_space_translate(cpu->parent.memory, page << X86_PAGE_SHIFT,
                                              X86_PAGE_SIZE, false, MEMTXATTRS_UNSPECIFIED);
    /* ROM and pages that are not whole take the slow way: accessed bits must not be written to the
     * former. */
    if (!m.host || m.readonly || m.length < X86_PAGE_SIZE || (m.ram_offset & X86_PAGE_MASK)) {
        return false;
    }
    *entry = (X86WalkCacheEntry){
        .page = page, .host = m.host, .block = m.block, .block_page = m.ram_offset >> X86_PAGE_SHIFT
    };
    return true;
}

/* A read of what isn't there gives all ones, as an undriven bus does. */
uint64_t x86_phys_load_slow(X86Cpu *cpu, uint64_t phys, unsigned size)
{
    uint64_t value = 0;
    x86_park_fpu(cpu);
    if (address_space_load(cpu->parent.memory, phys, size, MEMTXATTRS_UNSPECIFIED, &value) !=
        MEMTX_OK) {
        return ~UINT64_C(0) >> (64 - 8 * size);
    }
    return value;
}

void x86_phys_store_slow(X86Cpu *cpu, uint64_t phys, uint64_t value, unsigned size)
{
    x86_park_fpu(cpu);
    /* Nobody hears of a bus error on a write. */
    (void)address_space_store(cpu->parent.memory, phys, size, MEMTXATTRS_UNSPECIFIED, value);
}
