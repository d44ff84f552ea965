/*
 * Every magic size of the translator, with its reason.
 */
#ifndef ACCEL_JIT_SIZES_H
#define ACCEL_JIT_SIZES_H

/*
 * Software TLB: entries of one table. The index comes from address bits 12..21. 1024 pages cover
 * the 4 MiB that a kernel's or a program's inner loop touches; a table is 32 KiB.
 */
#define JIT_TLB_BITS       10
#define JIT_TLB_SIZE       (1u << JIT_TLB_BITS)
#define JIT_TLB_ENTRY_BITS 5 /* sizeof(JitTlbEntry) == 32: two a cache line, none straddles */

/* Fills of a table that are written down, so that flushing a little used table needn't sweep it. */
#define JIT_TLB_FILLS 128

/* Victim entries per table: what was last thrown out of a slot, searched before walking. */
#define JIT_VICTIM_SIZE 8

/* Tables of a space: user, kernel, kernel while SMAP is suspended by EFLAGS.AC. */
#define JIT_TLB_TABLES 3

/* Address spaces kept per CPU. Linux uses six PCIDs a CPU; one more for what it borrows. */
#define JIT_SPACES 8

/* Fetch translations a space (C only): a program's hot code pages. */
#define JIT_FETCH_SIZE 256

/* A bit per hashed page that was fetched from and lost its place: INVLPG of others needn't make the
 * jump cache stale. */
#define JIT_FETCH_GONE_BITS 4096

/* Jump cache: entries, 16 bytes each. The index is the top of the low half of rip times a constant
 * (the golden ratio): returns lie close together and functions are aligned, so plain bits of rip
 * collide. */
#define JIT_JUMP_HASH 0x9e3779b1u
#define JIT_JUMP_BITS 15
#define JIT_JUMP_SIZE (1u << JIT_JUMP_BITS)

/* Code cache: the hot part holds what runs, the cold part slow paths and exits, so that the hot
 * code is dense. Resident memory stays under the project's bound with both full. */
#define JIT_HOT_BYTES  (24u << 20)
#define JIT_COLD_BYTES (16u << 20)
/* One block can't be longer; room that must be free before a translation starts. */
#define JIT_BLOCK_BYTES_MAX (96u << 10)

/* Guest instructions of a block: long enough for unrolled crypto loops, short enough for the
 * 16-bit host offsets of the instruction map. */
#define JIT_BLOCK_INSNS 64

/* Instructions decoded beyond a block's end to see whether its flags are still wanted. */
#define JIT_LOOKAHEAD_INSNS 6

/* Groups of accesses that share a check: how many in a block, how far their bytes may lie apart
 * (the farther, the more often a page ends in between), the largest operand. */
#define JIT_GROUPS        8
#define JIT_GROUP_BYTES   512
#define JIT_GROUP_OPERAND 64
/* Checks of a group that failed before its place stops forming groups; a hashed byte a place. */
#define JIT_GROUP_MISSES    16
#define JIT_GROUP_MISS_BITS 12

/* Blocks and pages are found through hash tables of chained entries. */
#define JIT_BLOCK_HASH_BITS 16
#define JIT_PAGE_HASH_BITS  13

/* The stack that translated code's helpers run on, below JitCpu: device models run on it. */
#define JIT_STACK_BYTES (1u << 20)

/* Largest memory operand of one instruction (XSAVE areas), and room to keep its alignment. */
#define JIT_BOUNCE_BYTES (4096 + 64)

/* PAUSE instructions between two yields of the host CPU: some microseconds of spinning. */
#define JIT_PAUSES_PER_YIELD 64

/* RAM ranges of the physical memory map that a CPU caches. */
#define JIT_RAM_RANGES 64

#endif
