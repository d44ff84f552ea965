/*
 * Page-table walks and linear memory. SDM volume 3 chapter 4.
 *
 * Page tables are read through a small cache of host pointers (X86WalkCache), so that a walk costs
 * a few loads; accessed and dirty bits are set with a compare-and-exchange on the entry, and a walk
 * that finds an entry changed under it starts again.
 *
 * Compiled for general registers only.
 */
#include "cpu/x86/mmu.h"

#include "cpu/x86/exception.h"
#include "cpu/x86/mmu-internal.h"

/* Paging-structure entries: bits common to all formats, SDM volume 3 section 4.5. */
#define PTE_P         0x1u
#define PTE_RW        0x2u
#define PTE_US        0x4u
#define PTE_PWT       0x8u
#define PTE_PCD       0x10u
#define PTE_A         0x20u
#define PTE_D         0x40u
#define PTE_PS        0x80u /* in directory entries */
#define PTE_PAT       0x80u /* in last-level entries */
#define PTE_G         0x100u
#define PTE_PAT_LARGE 0x1000u /* in directory entries that map a page */
#define PTE_NX        (UINT64_C(1) << 63)
#define PTE_PK_SHIFT  59

#define MAX_LEVELS 4

/* One entry that a walk has read. */
typedef struct WalkStep {
    uint64_t addr; /* physical */
    uint64_t value;
} WalkStep;

/* The result of walking, before any rights are checked. */
typedef struct Walk {
    WalkStep step[MAX_LEVELS];
    unsigned steps;
    unsigned entry_size; /* bytes */
    uint64_t frame;      /* physical address of the page */
    uint64_t page_size;
    bool user, writable, nx, global;
    uint8_t memory_type, protection_key;
} Walk;

static X86WalkCacheEntry *cached_page(X86Cpu *cpu, uint64_t phys)
{
    uint64_t page = phys >> X86_PAGE_SHIFT;
    X86WalkCacheEntry *e = &cpu->walk_cache->entry[page % X86_WALK_CACHE_ENTRIES];
    if (LIKELY(e->page == page) || x86_walk_cache_fill(cpu, e, page)) {
        return e;
    }
    return NULL;
}

static inline uint64_t host_load(const uint8_t *host, unsigned size)
{
    switch (size) {
    case 1:
        return *host;
    case 2:
        return __atomic_load_n((const uint16_t *)host, __ATOMIC_RELAXED);
    case 4:
        return __atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED);
    default:
        return __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED);
    }
}

static inline void host_store(uint8_t *host, uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        *host = (uint8_t)value;
        break;
    case 2:
        __atomic_store_n((uint16_t *)host, (uint16_t)value, __ATOMIC_RELAXED);
        break;
    case 4:
        __atomic_store_n((uint32_t *)host, (uint32_t)value, __ATOMIC_RELAXED);
        break;
    default:
        __atomic_store_n((uint64_t *)host, value, __ATOMIC_RELAXED);
        break;
    }
}

uint64_t x86_phys_load(X86Cpu *cpu, uint64_t phys, unsigned size)
{
    X86WalkCacheEntry *e = cached_page(cpu, phys);
    return LIKELY(e) ? host_load(e->host + (phys & X86_PAGE_MASK), size)
                     : x86_phys_load_slow(cpu, phys, size);
}

static unsigned long *dirty_word(const X86WalkCacheEntry *e, unsigned client, unsigned long *bit)
{
    unsigned bits = 8 * sizeof(unsigned long);
    *bit = 1ul << (e->block_page % bits);
    return &e->block->dirty[client][e->block_page / bits];
}

/* Has every client already heard that the page was written? Then a plain store is enough. */
static bool page_is_dirty(const X86WalkCacheEntry *e)
{
    for (unsigned client = 0; client < ARRAY_LEN(e->block->dirty); client++) {
        unsigned long bit;
        if (e->block->dirty[client] &&
            !(__atomic_load_n(dirty_word(e, client, &bit), __ATOMIC_RELAXED) & bit)) {
            return false;
        }
    }
    return true;
}

/*
 * A/D bits are about to be set in the page. The code client isn't told: the bits that change can't
 * be meant as instructions, and waiting for it would cost a table page its translations.
 */
static void mark_table_dirty(const X86WalkCacheEntry *e)
{
    for (unsigned client = 0; client < ARRAY_LEN(e->block->dirty); client++) {
        unsigned long bit;
        if (client == DIRTY_CODE || !e->block->dirty[client]) {
            continue;
        }
        unsigned long *word = dirty_word(e, client, &bit);
        if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & bit)) {
            __atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);
        }
    }
}

static void phys_store(X86Cpu *cpu, uint64_t phys, uint64_t value, unsigned size)
{
    X86WalkCacheEntry *e = cached_page(cpu, phys);
    if (LIKELY(e) && page_is_dirty(e)) {
        host_store(e->host + (phys & X86_PAGE_MASK), value, size);
    } else {
        x86_phys_store_slow(cpu, phys, value, size);
    }
}

/* old to new, unless somebody has changed the entry: then false. */
static bool entry_exchange(X86Cpu *cpu, const Walk *w, const WalkStep *step, uint64_t new)
{
    X86WalkCacheEntry *e = cached_page(cpu, step->addr);
    if (UNLIKELY(!e)) {
        x86_phys_store_slow(cpu, step->addr, new, w->entry_size);
        return true;
    }
    uint8_t *host = e->host + (step->addr & X86_PAGE_MASK);
    bool ok;
    if (w->entry_size == 8) {
        uint64_t old = step->value;
        ok = __atomic_compare_exchange_n((uint64_t *)host, &old, new, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_SEQ_CST);
    } else {
        uint32_t old = (uint32_t)step->value;
        ok = __atomic_compare_exchange_n((uint32_t *)host, &old, (uint32_t) new, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    mark_table_dirty(e);
    return ok;
}

/* --- The formats --- */

/* Physical address bits of an 8-byte entry that must be zero, and NX where it isn't enabled. */
static uint64_t reserved_bits(const X86Cpu *cpu)
{
    uint64_t address = ((UINT64_C(1) << 52) - 1) & ~((UINT64_C(1) << cpu->phys_bits) - 1);
    return address | (cpu->state.efer & X86_EFER_NXE ? 0 : PTE_NX);
}

static uint64_t frame_of(const X86Cpu *cpu, uint64_t entry, uint64_t page_size)
{
    return entry & ((UINT64_C(1) << 52) - 1) & ~(page_size - 1);
}

/* Read the entry at addr into the walk. False if it isn't present. */
static bool walk_read(X86Cpu *cpu, Walk *w, uint64_t addr)
{
    addr = x86_apply_a20(&cpu->state, addr);
    uint64_t value = x86_phys_load(cpu, addr, w->entry_size);
    w->step[w->steps++] = (WalkStep){ .addr = addr, .value = value };
    if (!(value & PTE_P)) {
        return false;
    }
    w->user &= !!(value & PTE_US);
    w->writable &= !!(value & PTE_RW);
    if (w->entry_size == 8) {
        w->nx |= !!(value & PTE_NX);
    }
    return true;
}

static void walk_finish(const X86Cpu *cpu, Walk *w, uint64_t page_size)
{
    uint64_t entry = w->step[w->steps - 1].value;
    uint64_t pat = page_size == X86_PAGE_SIZE ? PTE_PAT : PTE_PAT_LARGE;
    w->page_size = page_size;
    w->global = (entry & PTE_G) && (cpu->state.cr4 & X86_CR4_PGE);
    w->memory_type = (entry & pat ? 4 : 0) | (entry & PTE_PCD ? 2 : 0) | (entry & PTE_PWT ? 1 : 0);
    w->protection_key = entry >> PTE_PK_SHIFT & 0xf;
}

/* Walks return 0, or the error code's P and RSVD bits plus FAULT to tell "not present" from 0. */
#define FAULT_NOT_PRESENT 0x80000000u
#define FAULT_RESERVED    (0x80000000u | X86_PF_P | X86_PF_RSVD)

/* SDM volume 3 section 4.5; PAE shares the two lower levels. */
static uint32_t walk_long_or_pae(X86Cpu *cpu, uint64_t linear, Walk *w)
{
    const X86State *s = &cpu->state;
    uint64_t reserved = reserved_bits(cpu);
    uint64_t table;
    unsigned level;

    w->entry_size = 8;
    if (s->mode & X86_MODE_LMA) {
        table = frame_of(cpu, s->cr3, X86_PAGE_SIZE);
        level = 4;
    } else {
        uint64_t pdpte = s->pdpte[linear >> 30 & 3];
        if (!(pdpte & PTE_P)) {
            return FAULT_NOT_PRESENT;
        }
        table = frame_of(cpu, pdpte, X86_PAGE_SIZE);
        level = 2;
        /* In PAE paging bits 62:52 are reserved too, SDM volume 3 section 4.4.2. */
        reserved |= UINT64_C(0x7ff0000000000000);
    }
    for (;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        if (!walk_read(cpu, w, table + (linear >> shift & 0x1ff) * 8)) {
            return FAULT_NOT_PRESENT;
        }
        uint64_t entry = w->step[w->steps - 1].value;
        if (entry & reserved) {
            return FAULT_RESERVED;
        }
        bool leaf = level == 1 || (entry & PTE_PS);
        if (!leaf) {
            table = frame_of(cpu, entry, X86_PAGE_SIZE);
            continue;
        }
        if (level == 4 || (level == 3 && !(cpu->features[X86_CPUID_80000001_EDX] & (1u << 26)))) {
            return FAULT_RESERVED; /* no such pages */
        }
        uint64_t page_size = UINT64_C(1) << shift;
        if (level > 1 && (entry & (page_size - 1) & ~(uint64_t)0x1fff)) {
            return FAULT_RESERVED; /* address bits below the page size, above PAT */
        }
        w->frame = frame_of(cpu, entry, page_size);
        walk_finish(cpu, w, page_size);
        return 0;
    }
}

/* SDM volume 3 section 4.3. */
static uint32_t walk_32bit(X86Cpu *cpu, uint64_t linear, Walk *w)
{
    const X86State *s = &cpu->state;

    w->entry_size = 4;
    if (!walk_read(cpu, w, (s->cr3 & 0xfffff000u) + (linear >> 22 & 0x3ff) * 4)) {
        return FAULT_NOT_PRESENT;
    }
    uint64_t pde = w->step[0].value;
    if ((pde & PTE_PS) && (s->cr4 & X86_CR4_PSE)) {
        /* PSE-36: bits 20:13 are address bits 39:32, as many as the CPU has; bit 21 is zero. */
        unsigned high_bits = cpu->phys_bits > 40 ? 8 : cpu->phys_bits - 32;
        uint64_t reserved = 0x3fe000u & ~(((1u << high_bits) - 1) << 13);
        if (pde & reserved) {
            return FAULT_RESERVED;
        }
        w->frame = (pde & 0xffc00000u) | (pde >> 13 & 0xff) << 32;
        walk_finish(cpu, w, UINT64_C(1) << 22);
        return 0;
    }
    if (!walk_read(cpu, w, (pde & 0xfffff000u) + (linear >> 12 & 0x3ff) * 4)) {
        return FAULT_NOT_PRESENT;
    }
    w->frame = w->step[1].value & 0xfffff000u;
    walk_finish(cpu, w, X86_PAGE_SIZE);
    return 0;
}

static uint32_t walk_tables(X86Cpu *cpu, uint64_t linear, Walk *w)
{
    *w = (Walk){ .user = true, .writable = true };
    return cpu->state.cr4 & X86_CR4_PAE ? walk_long_or_pae(cpu, linear, w)
                                        : walk_32bit(cpu, linear, w);
}

/* --- Rights: SDM volume 3 section 4.6 --- */

/* For accesses of this kind; *key_fault if a protection key took away a right. */
static uint8_t rights_of(const X86State *s, const Walk *w, unsigned access)
{
    bool user = (access & X86_ACCESS_USER) != 0;
    bool smap = (access & X86_ACCESS_IMPLICIT) ? (s->cr4 & X86_CR4_SMAP) != 0
                                               : (s->mode & X86_MODE_SMAP) != 0;
    uint8_t rights = 0;

    if (user ? w->user : !(w->user && smap)) {
        rights |= X86_RIGHT_READ;
        if (w->writable || (!user && !(s->cr0 & X86_CR0_WP))) {
            rights |= X86_RIGHT_WRITE;
        }
    }
    if (!w->nx && (user ? w->user : !(w->user && (s->cr4 & X86_CR4_SMEP)))) {
        rights |= X86_RIGHT_EXEC;
    }
    return rights;
}

/* Protection keys for user pages, SDM volume 3 section 4.6.2. */
static uint8_t key_rights(const X86State *s, const Walk *w, unsigned access)
{
    uint8_t rights = X86_RIGHT_READ | X86_RIGHT_WRITE | X86_RIGHT_EXEC;
    if (LIKELY(!(s->cr4 & X86_CR4_PKE)) || !(s->mode & X86_MODE_LMA) || !w->user) {
        return rights;
    }
    uint32_t key = s->pkru >> (2 * w->protection_key) & 3;
    if (key & 1) {
        rights &= ~(X86_RIGHT_READ | X86_RIGHT_WRITE);
    }
    if ((key & 2) && ((access & X86_ACCESS_USER) || (s->cr0 & X86_CR0_WP))) {
        rights &= ~X86_RIGHT_WRITE;
    }
    return rights;
}

static uint8_t right_needed(unsigned access)
{
    return access & X86_ACCESS_FETCH   ? X86_RIGHT_EXEC
           : access & X86_ACCESS_WRITE ? X86_RIGHT_WRITE
                                       : X86_RIGHT_READ;
}

/* The error code's bits that say what the access was. */
static uint32_t error_of(const X86State *s, unsigned access)
{
    uint32_t error = 0;
    if (access & X86_ACCESS_WRITE) {
        error |= X86_PF_W;
    }
    if (access & X86_ACCESS_USER) {
        error |= X86_PF_U;
    }
    if ((access & X86_ACCESS_FETCH) &&
        ((s->cr4 & X86_CR4_SMEP) || ((s->cr4 & X86_CR4_PAE) && (s->efer & X86_EFER_NXE)))) {
        error |= X86_PF_I;
    }
    return error;
}

/* Set accessed bits on the way and the dirty bit; false if an entry changed meanwhile. */
static bool set_accessed(X86Cpu *cpu, Walk *w, bool dirty)
{
    for (unsigned i = 0; i < w->steps; i++) {
        WalkStep *step = &w->step[i];
        uint64_t want = step->value | PTE_A;
        if (dirty && i == w->steps - 1) {
            want |= PTE_D;
        }
        if (want != step->value) {
            if (!entry_exchange(cpu, w, step, want)) {
                return false;
            }
            step->value = want;
        }
    }
    return true;
}

static void translate_unpaged(X86Cpu *cpu, uint64_t linear, X86Translation *t)
{
    *t = (X86Translation){
        .phys = x86_apply_a20(&cpu->state, linear & 0xffffffffu),
        .page_size = UINT64_C(1) << 32,
        .rights = X86_RIGHT_READ | X86_RIGHT_WRITE | X86_RIGHT_EXEC,
        .user = true,
        .writable = true,
    };
}

static void fill_translation(const X86Cpu *cpu, const Walk *w, uint64_t linear, uint8_t rights,
                             X86Translation *t)
{
    *t = (X86Translation){
        .phys = x86_apply_a20(&cpu->state, w->frame | (linear & (w->page_size - 1))),
        .page_size = w->page_size,
        .rights = rights,
        .user = w->user,
        .writable = w->writable,
        .global = w->global,
        .memory_type = w->memory_type,
        .protection_key = w->protection_key,
    };
}

bool x86_translate(X86Cpu *cpu, uint64_t linear, unsigned access, X86Translation *t,
                   uint32_t *error)
{
    const X86State *s = &cpu->state;

    if (!(s->mode & X86_MODE_PAGING)) {
        translate_unpaged(cpu, linear, t);
        return true;
    }
    for (;;) {
        Walk w;
        uint32_t fault = walk_tables(cpu, linear, &w);
        if (fault) {
            *error = (fault & (X86_PF_P | X86_PF_RSVD)) | error_of(s, access);
            return false;
        }
        uint8_t needed = right_needed(access);
        uint8_t rights = rights_of(s, &w, access);
        uint8_t by_key = key_rights(s, &w, access);
        if (!(rights & by_key & needed)) {
            *error = X86_PF_P | error_of(s, access);
            if (!(by_key & needed)) {
                *error |= X86_PF_PK;
            }
            return false;
        }
        if (UNLIKELY(!set_accessed(cpu, &w, access & X86_ACCESS_WRITE))) {
            continue;
        }
        rights &= by_key;
        if (!(w.step[w.steps - 1].value & PTE_D)) {
            rights &= ~X86_RIGHT_WRITE; /* the first write must set it */
        }
        fill_translation(cpu, &w, linear, rights, t);
        return true;
    }
}

void x86_translate_or_raise(X86Cpu *cpu, uint64_t linear, unsigned access, X86Translation *t)
{
    uint32_t error;
    if (UNLIKELY(!x86_translate(cpu, linear, access, t, &error))) {
        x86_raise_page_fault(cpu, linear, error);
    }
}

bool x86_translate_debug(X86Cpu *cpu, uint64_t linear, X86Translation *t)
{
    const X86State *s = &cpu->state;
    Walk w;

    if (!(s->mode & X86_MODE_PAGING)) {
        translate_unpaged(cpu, linear, t);
        return true;
    }
    if (((s->mode & X86_MODE_LMA) && !x86_is_canonical(s, linear)) ||
        walk_tables(cpu, linear, &w)) {
        return false;
    }
    uint8_t rights =
        X86_RIGHT_READ | (w.writable ? X86_RIGHT_WRITE : 0) | (w.nx ? 0 : X86_RIGHT_EXEC);
    fill_translation(cpu, &w, linear, rights, t);
    return true;
}

bool x86_load_pdptes(X86Cpu *cpu, uint64_t cr3)
{
    /* SDM volume 3 section 4.4.1: bits 2:1, 8:5 and the address bits that don't exist. */
    uint64_t reserved = UINT64_C(0x1e6) | ~((UINT64_C(1) << cpu->phys_bits) - 1);
    uint64_t pdpte[4];

    for (unsigned i = 0; i < ARRAY_LEN(pdpte); i++) {
        uint64_t addr = x86_apply_a20(&cpu->state, (cr3 & 0xffffffe0u) + 8 * i);
        pdpte[i] = x86_phys_load(cpu, addr, 8);
        if ((pdpte[i] & PTE_P) && (pdpte[i] & reserved)) {
            return false;
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(pdpte); i++) {
        cpu->state.pdpte[i] = pdpte[i];
    }
    return true;
}

/* --- Linear memory --- */

static inline bool crosses_page(uint64_t linear, unsigned len)
{
    return (linear & X86_PAGE_MASK) + len > X86_PAGE_SIZE;
}

/* Outside long mode linear addresses wrap at 4 GiB. */
static inline uint64_t wrap(const X86State *s, uint64_t linear)
{
    return s->mode & X86_MODE_LMA ? linear : (uint32_t)linear;
}

static uint64_t translate(X86Cpu *cpu, uint64_t linear, unsigned access)
{
    X86Translation t;
    x86_translate_or_raise(cpu, linear, access, &t);
    return t.phys;
}

static inline uint8_t *probe(X86Cpu *cpu, uint64_t linear, unsigned access)
{
    return cpu->probe ? cpu->probe(cpu, linear, access) : NULL;
}

/* Pages with data breakpoints are never at hand, so that their accesses come by here. */
static void note_access(X86Cpu *cpu, uint64_t linear, unsigned size, unsigned access)
{
    if (x86_data_is_watched(cpu) && !(access & X86_ACCESS_IMPLICIT)) {
        x86_note_data_access(cpu, linear, size, access & X86_ACCESS_WRITE);
    }
}

void x86_linear_check(X86Cpu *cpu, uint64_t linear, unsigned len, unsigned access)
{
    for (uint64_t done = 0; done < len;) {
        uint64_t at = wrap(&cpu->state, linear + done);
        if (!probe(cpu, at, access)) {
            translate(cpu, at, access);
        }
        done += X86_PAGE_SIZE - (at & X86_PAGE_MASK);
    }
}

uint64_t x86_linear_load(X86Cpu *cpu, uint64_t linear, unsigned size, unsigned access)
{
    linear = wrap(&cpu->state, linear);
    if (UNLIKELY(crosses_page(linear, size))) {
        uint8_t bytes[8] = { 0 };
        x86_linear_read(cpu, linear, bytes, size, access);
        return ldn_le(bytes, sizeof(bytes));
    }
    uint8_t *host = probe(cpu, linear, access);
    if (host) {
        return host_load(host, size);
    }
    uint64_t phys = translate(cpu, linear, access);
    note_access(cpu, linear, size, access);
    return x86_phys_load(cpu, phys, size);
}

void x86_linear_store(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size, unsigned access)
{
    access |= X86_ACCESS_WRITE;
    linear = wrap(&cpu->state, linear);
    if (UNLIKELY(crosses_page(linear, size))) {
        x86_linear_write(cpu, linear, &value, size, access);
        return;
    }
    uint8_t *host = probe(cpu, linear, access);
    if (host) {
        host_store(host, value, size);
    } else {
        uint64_t phys = translate(cpu, linear, access);
        note_access(cpu, linear, size, access);
        phys_store(cpu, phys, value, size);
    }
}

/* The largest power of two that is at most 8, len, and natural at this address. */
static unsigned piece(uint64_t linear, unsigned len)
{
    unsigned size = 8;
    while (size > len || (linear & (size - 1))) {
        size /= 2;
    }
    return size;
}

void x86_linear_read(X86Cpu *cpu, uint64_t linear, void *buf, unsigned len, unsigned access)
{
    uint8_t *out = buf;
    x86_linear_check(cpu, linear, len, access);
    while (len) {
        unsigned size = piece(linear, len);
        uint64_t value = x86_linear_load(cpu, linear, size, access);
        for (unsigned i = 0; i < size; i++) {
            out[i] = (uint8_t)(value >> (8 * i));
        }
        linear += size;
        out += size;
        len -= size;
    }
}

void x86_linear_write(X86Cpu *cpu, uint64_t linear, const void *buf, unsigned len, unsigned access)
{
    const uint8_t *in = buf;
    access |= X86_ACCESS_WRITE;
    x86_linear_check(cpu, linear, len, access);
    while (len) {
        unsigned size = piece(linear, len);
        uint64_t value = 0;
        for (unsigned i = 0; i < size; i++) {
            value |= (uint64_t)in[i] << (8 * i);
        }
        x86_linear_store(cpu, linear, value, size, access);
        linear += size;
        in += size;
        len -= size;
    }
}

void x86_linear_set_bits(X86Cpu *cpu, uint64_t linear, uint8_t set, uint8_t clear)
{
    unsigned access = X86_ACCESS_WRITE | X86_ACCESS_IMPLICIT;
    linear = wrap(&cpu->state, linear);
    uint8_t *host = probe(cpu, linear, access);
    if (!host) {
        uint64_t phys = translate(cpu, linear, access);
        X86WalkCacheEntry *e = cached_page(cpu, phys);
        if (!e || !page_is_dirty(e)) {
            uint8_t value = (uint8_t)x86_phys_load(cpu, phys, 1);
            x86_phys_store_slow(cpu, phys, (value | set) & ~clear, 1);
            return;
        }
        host = e->host + (phys & X86_PAGE_MASK);
    }
    uint8_t old = __atomic_load_n(host, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(host, &old, (uint8_t)((old | set) & ~clear), false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
}
