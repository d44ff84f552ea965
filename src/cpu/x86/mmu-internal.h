/* What mmu.c (general registers only) and mmu-slow.c share. */
#ifndef CPU_X86_MMU_INTERNAL_H
#define CPU_X86_MMU_INTERNAL_H

#include "cpu/x86/cpu.h"
#include "memory/ram.h"

/* Page tables of a busy guest: a Linux process switch touches some ten table pages. */
#define X86_WALK_CACHE_ENTRIES 256

#define X86_PAGE_SHIFT 12
#define X86_PAGE_SIZE  (UINT64_C(1) << X86_PAGE_SHIFT)
#define X86_PAGE_MASK  (X86_PAGE_SIZE - 1)

typedef struct X86WalkCacheEntry {
    uint64_t page; /* physical page number, ~0: empty */
    uint8_t *host; /* of the page */
    RamBlock *block;
    uint64_t block_page; /* page number in the block */
} X86WalkCacheEntry;

struct X86WalkCache {
    X86WalkCacheEntry entry[X86_WALK_CACHE_ENTRIES];
};

/* Ordinary code: parks the FPU state first. */

/* Fill *entry for the page; false if it isn't plain RAM or ROM. */
bool x86_walk_cache_fill(X86Cpu *cpu, X86WalkCacheEntry *entry, uint64_t page);
uint64_t x86_phys_load_slow(X86Cpu *cpu, uint64_t phys, unsigned size);
void x86_phys_store_slow(X86Cpu *cpu, uint64_t phys, uint64_t value, unsigned size);

#endif
