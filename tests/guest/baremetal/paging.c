/* Paging in 64-bit mode: rights, error codes, accessed and dirty bits, what the TLB may keep. */
#include "kernel.h"

#define SPARE 0x800000ull /* 8 MiB: pages that only these tests use */
#define P     1ull
#define W     2ull
#define U     4ull
#define A     0x20ull
#define D     0x40ull
#define G     0x100ull
#define NX    (1ull << 63)

static void read_at(uint64_t address)
{
    (void)*(volatile uint64_t *)address;
}

static void write_at(uint64_t address)
{
    *(volatile uint64_t *)address = 0x1234;
}

static void call_at(uint64_t address)
{
    ((void (*)(void))address)();
}

static USER_TEXT void user_read(uint64_t address)
{
    (void)*(volatile uint64_t *)address;
    leave_user();
}

static USER_TEXT void user_write(uint64_t address)
{
    *(volatile uint64_t *)address = 1;
    leave_user();
}

static USER_TEXT void user_call(uint64_t address)
{
    ((void (*)(void))address)();
    leave_user();
}

static uint64_t value_at(uint64_t address)
{
    return *(volatile uint64_t *)address;
}

static void set_pte(uint64_t address, uint64_t value)
{
    *pte(address) = value;
    invlpg(address);
}

/* Each page of the spare area holds its number. */
static void fill_spare(void)
{
    for (unsigned i = 0; i < 64; i++) {
        *(volatile uint64_t *)(SPARE + i * 4096) = 0xc3; /* RET, for calls */
        *(volatile uint64_t *)(SPARE + i * 4096 + 8) = i;
    }
}

static void rights(void)
{
    uint64_t page = SPARE + 0x1000;

    set_pte(page, page | P);
    equal(attempt(write_at, page), 14, "write to a read-only page with WP is #PF");
    equal(trap.error, 3, "... error code 3");
    WRITE_CR(0, READ_CR(0) & ~0x10000ull);
    equal(attempt(write_at, page), NO_TRAP, "... without WP it isn't");
    WRITE_CR(0, READ_CR(0) | 0x10000);
    *(volatile uint64_t *)(SPARE + 0x2000) = 0xc3;
    equal(attempt(write_at, page), 14, "... and WP is back at once");
    set_pte(page, page | P | W | NX);
    equal(attempt(call_at, page), 14, "call to an NX page is #PF");
    equal(trap.error, 0x11, "... error code 11");
    equal(run_user(user_read, page, 0), 14, "ring 3 on a supervisor page is #PF");
    equal(trap.error, 5, "... error code 5");
    equal(run_user(user_write, page, 0), 14, "... a write");
    equal(trap.error, 7, "... error code 7");
    set_pte(page, page | P | U);
    equal(run_user(user_read, page, 0), 0x80, "ring 3 on a user page");
    equal(run_user(user_write, page, 0), 14, "ring 3 write to a read-only page is #PF");
    equal(trap.error, 7, "... error code 7");
    *(volatile uint8_t *)(SPARE + 0x3000) = 0xc3;
    uint64_t code = SPARE + 0x3000;
    set_pte(code, code | P | W | U);
    equal(run_user(user_call, code, 0), 0x80, "ring 3 call to a user page");
    set_pte(code, code | P | W | U | NX);
    equal(run_user(user_call, code, 0), 14, "ring 3 call to an NX page is #PF");
    equal(trap.error, 0x15, "... error code 15");
    set_pte(page, page | P | W);
}

static void smep_and_smap(void)
{
    uint64_t page = SPARE + 0x4000, cr4 = READ_CR(4);

    set_pte(page, page | P | W | U);
    equal(attempt(call_at, page), NO_TRAP, "ring 0 call to a user page without SMEP");
    WRITE_CR(4, cr4 | 1u << 20);
    equal(attempt(call_at, page), 14, "... with SMEP is #PF");
    equal(trap.error, 0x11, "... error code 11");
    WRITE_CR(4, cr4 | 1u << 21);
    equal(attempt(read_at, page), 14, "ring 0 read of a user page with SMAP is #PF");
    equal(trap.error, 1, "... error code 1");
    __asm__ volatile("stac");
    equal(value_at(page + 8), 4, "... with AC set it isn't");
    __asm__ volatile("clac");
    equal(attempt(write_at, page), 14, "... and clear again it is");
    equal(trap.error, 3, "... error code 3");
    WRITE_CR(4, cr4);
    equal(attempt(read_at, page), NO_TRAP, "SMAP off again");
}

static void reserved_bits(void)
{
    uint64_t page = SPARE + 0x5000;
    set_pte(page, page | P | W | 1ull << 51);
    equal(attempt(read_at, page), 14, "reserved bit is #PF");
    equal(trap.error, 9, "... error code 9");
    set_pte(page, page | P | W);
}

static void accessed_and_dirty(void)
{
    uint64_t page = SPARE + 0x6000;
    set_pte(page, page | P | W);
    read_at(page);
    equal(*pte(page) & (A | D), A, "a read sets A");
    write_at(page);
    equal(*pte(page) & (A | D), A | D, "a write after the read sets D");
    set_pte(page, page | P | W);
    write_at(page);
    equal(*pte(page) & (A | D), A | D, "a write sets both");
    set_pte(page, page | P);
    attempt(write_at, page);
    equal(*pte(page) & D, 0, "a write that faults does not set D");
    set_pte(page, page | P | W);
    equal(pml4[0] & A, A, "A in the tables above");
}

static void remapping(void)
{
    uint64_t page = SPARE + 0x7000;
    equal(value_at(page + 8), 7, "identity");
    set_pte(page, (SPARE + 0x8000) | P | W);
    equal(value_at(page + 8), 8, "another frame after INVLPG");
    *pte(page) = (SPARE + 0x9000) | P | W;
    WRITE_CR(3, READ_CR(3));
    equal(value_at(page + 8), 9, "another frame after a load of CR3");
    set_pte(page, 0);
    equal(attempt(read_at, page), 14, "unmapped by INVLPG");
    set_pte(page, page | P | W);
    equal(value_at(page + 8), 7, "mapped again");
    /* an access that crosses into a page that lies elsewhere */
    set_pte(page + 0x1000, (SPARE + 0x20000) | P | W);
    *(volatile uint64_t *)(page + 0xffc) = 0x1122334455667788;
    equal(*(volatile uint32_t *)(SPARE + 0x20000), 0x11223344, "a store across pages: upper half");
    equal(*(volatile uint32_t *)(SPARE + 0x7ffc), 0x55667788, "... lower half");
    equal(*(volatile uint64_t *)(page + 0xffc), 0x1122334455667788, "... and read back");
    set_pte(page + 0x1000, 0);
    *(volatile uint32_t *)(page + 0xffc) = 0;
    equal(attempt(write_at, page + 0xffc), 14, "a store across into nothing is #PF");
    equal(trap.cr2, page + 0x1000, "... at the second page");
    equal(*(volatile uint32_t *)(page + 0xffc), 0, "... and nothing is stored");
    set_pte(page + 0x1000, (page + 0x1000) | P | W);
}

static void global_pages(void)
{
    uint64_t page = SPARE + 0xa000, cr4 = READ_CR(4);
    WRITE_CR(4, cr4 | 0x80);
    set_pte(page, page | P | W | G);
    equal(value_at(page + 8), 10, "global page");
    *pte(page) = (SPARE + 0xb000) | P | W | G;
    WRITE_CR(3, READ_CR(3));
    uint64_t kept = value_at(page + 8);
    ok(kept == 10 || kept == 11, "a load of CR3 may keep it");
    WRITE_CR(4, cr4);
    equal(value_at(page + 8), 11, "CR4.PGE off drops it");
    set_pte(page, page | P | W);
}

static uint64_t other_pml4[512] __attribute__((aligned(4096)));
static uint64_t other_pdpt[512] __attribute__((aligned(4096)));
static uint64_t other_pd[512] __attribute__((aligned(4096)));
static uint64_t other_pt[512] __attribute__((aligned(4096)));

/* Two address spaces that differ in one page, under PCIDs. */
static void process_contexts(void)
{
    uint64_t page = SPARE + 0xc000, cr4 = READ_CR(4);
    uint64_t first = (uint64_t)pml4, second = (uint64_t)other_pml4;
    uint64_t one[2] = { 2, page }, all[2] = { 2, 0 };

    for (unsigned i = 0; i < 512; i++) {
        other_pml4[i] = pml4[i];
        other_pdpt[i] = pdpt[i];
        other_pd[i] = pd[i];
        other_pt[i] = pt[(SPARE >> 12) + i];
    }
    other_pml4[0] = (uint64_t)other_pdpt | 7;
    other_pdpt[0] = (uint64_t)other_pd | 7;
    other_pd[SPARE >> 21] = (uint64_t)other_pt | 7;
    other_pt[(page >> 12) & 511] = (SPARE + 0xd000) | P | W;

    WRITE_CR(4, cr4 | 1u << 17);
    WRITE_CR(3, first | 1);
    equal(value_at(page + 8), 12, "context 1");
    WRITE_CR(3, second | 2);
    equal(value_at(page + 8), 13, "context 2");
    WRITE_CR(3, first | 1 | 1ull << 63);
    equal(value_at(page + 8), 12, "back to context 1 without a flush");
    WRITE_CR(3, second | 2 | 1ull << 63);
    equal(value_at(page + 8), 13, "back to context 2 without a flush");
    /* change context 2's page from context 1 */
    WRITE_CR(3, first | 1 | 1ull << 63);
    other_pt[(page >> 12) & 511] = (SPARE + 0xe000) | P | W;
    __asm__ volatile("invpcid %0, %1" ::"m"(one), "r"(0ull) : "memory");
    WRITE_CR(3, second | 2 | 1ull << 63);
    equal(value_at(page + 8), 14, "INVPCID of one address");
    WRITE_CR(3, first | 1 | 1ull << 63);
    other_pt[(page >> 12) & 511] = (SPARE + 0xf000) | P | W;
    __asm__ volatile("invpcid %0, %1" ::"m"(all), "r"(1ull) : "memory");
    WRITE_CR(3, second | 2 | 1ull << 63);
    equal(value_at(page + 8), 15, "INVPCID of a context");
    other_pt[(page >> 12) & 511] = (SPARE + 0x10000) | P | W;
    __asm__ volatile("invpcid %0, %1" ::"m"(all), "r"(3ull) : "memory");
    equal(value_at(page + 8), 16, "INVPCID of all contexts");
    other_pt[(page >> 12) & 511] = (SPARE + 0x11000) | P | W;
    WRITE_CR(3, second | 2);
    equal(value_at(page + 8), 17, "a load of CR3 with a flush");
    WRITE_CR(3, first);
    WRITE_CR(4, cr4);
    equal(value_at(page + 8), 12, "contexts off again");
}

/* 16 MiB on, by large pages. */
static void large_pages(void)
{
    pd[8] = SPARE | P | W | 0x80;
    pdpt[1] = P | W | 0x80;
    invlpg(16ull << 20);
    equal(value_at((16ull << 20) + 0x12008), 18, "2 MiB page");
    equal(value_at((1ull << 30) + SPARE + 0x13008), 19, "1 GiB page");
    equal(attempt(write_at, (1ull << 30) + SPARE + 0x13000), NO_TRAP, "write to a 1 GiB page");
    equal(pdpt[1] & (A | D), A | D, "... sets A and D there");
    pd[8] = 0;
    pdpt[1] = 0;
    WRITE_CR(3, READ_CR(3));
    equal(attempt(read_at, (16ull << 20) + 0x12008), 14, "large pages gone");
}

/* Code that changes under its translation: another frame at the same address. */
static void remapped_code(void)
{
    uint64_t page = SPARE + 0x14000;
    uint8_t *a = (uint8_t *)(SPARE + 0x14000), *b = (uint8_t *)(SPARE + 0x15000);
    static const uint8_t one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, two[] = { 0xb8, 2, 0, 0, 0, 0xc3 };
    for (unsigned i = 0; i < sizeof(one); i++) {
        a[i] = one[i];
        b[i] = two[i];
    }
    uint64_t (*volatile fn)(void) = (uint64_t(*)(void))page;
    equal(fn(), 1, "code in one frame");
    set_pte(page, (SPARE + 0x15000) | P | W);
    equal(fn(), 2, "code in another frame at the same address");
    set_pte(page, page | P | W);
    equal(fn(), 1, "and the first again");
}

void test_main(void)
{
    fill_spare();
    rights();
    fill_spare();
    smep_and_smap();
    reserved_bits();
    accessed_and_dirty();
    fill_spare();
    remapping();
    fill_spare();
    global_pages();
    process_contexts();
    large_pages();
    remapped_code();
    done();
}
