/*
 * `info tlb` and `info mem`: what the page tables say, entry by entry or as ranges, in the layout
 * that people and tools of the field know. SDM volume 3 chapter 4.
 */
#include <inttypes.h>

#include "base/bits.h"
#include "cpu/x86/dump.h"
#include "memory/memory.h"

#define PTE_P  0x1u
#define PTE_W  0x2u
#define PTE_U  0x4u
#define PTE_PS 0x80u

#define FRAME_MASK UINT64_C(0x000ffffffffff000)

/* Nobody reads more; a guest that points its tables at themselves could make it endless. */
#define OUTPUT_MAX (8u << 20)

/* One page: value is the last entry's, rights those that all levels leave. */
typedef void PageFn(void *opaque, uint64_t linear, uint64_t phys, uint64_t size, uint64_t value,
                    unsigned rights);

typedef struct Tables {
    X86Cpu *cpu;
    unsigned bits; /* of an index: 9, or 10 with four-byte entries */
    GString *out;
    PageFn *fn;
    void *opaque;
} Tables;

static uint64_t sign_extend(const Tables *t, uint64_t linear)
{
    return t->cpu->state.mode & X86_MODE_LMA && linear >> 47 & 1
               ? linear | UINT64_C(0xffff000000000000)
               : linear;
}

static unsigned entry_bytes(const Tables *t)
{
    return t->bits == 10 ? 4 : 8;
}

/* Levels count from 1 (page tables). */
static unsigned level_shift(const Tables *t, unsigned level)
{
    return 12 + t->bits * (level - 1);
}

static bool is_page(const Tables *t, unsigned level, uint64_t value)
{
    bool large = entry_bytes(t) == 8 || (t->cpu->state.cr4 & X86_CR4_PSE);
    bool long_mode = t->cpu->state.mode & X86_MODE_LMA;
    return level == 1 || ((value & PTE_PS) && large && (level == 2 || (level == 3 && long_mode)));
}

static uint64_t frame_of(const Tables *t, unsigned level, uint64_t value)
{
    uint64_t mask = FRAME_MASK & ~((UINT64_C(1) << level_shift(t, level)) - 1);
    if (entry_bytes(t) == 4 && level == 2) {
        /* bits 39:32 of a 4 MiB page's address: SDM volume 3 table 4-4 */
        return (value & 0xffc00000u) | (value >> 13 & 0xff) << 32;
    }
    return value & mask;
}

static void walk(Tables *t, uint64_t table, unsigned level, uint64_t linear, unsigned rights)
{
    uint8_t entries[4096];
    if (address_space_read(t->cpu->parent.memory, table, MEMTXATTRS_UNSPECIFIED, entries,
                           sizeof(entries)) != MEMTX_OK) {
        return;
    }
    for (unsigned i = 0; i < 1u << t->bits && t->out->len < OUTPUT_MAX; i++) {
        uint64_t value = ldn_le(entries + i * entry_bytes(t), entry_bytes(t));
        uint64_t at = linear + ((uint64_t)i << level_shift(t, level));
        if (!(value & PTE_P)) {
            continue;
        }
        unsigned left = rights & (unsigned)value;
        if (is_page(t, level, value)) {
            t->fn(t->opaque, sign_extend(t, at), frame_of(t, level, value),
                  UINT64_C(1) << level_shift(t, level), value, left);
        } else {
            walk(t, value & FRAME_MASK, level - 1, at, left);
        }
    }
}

static bool walk_all(X86Cpu *cpu, GString *out, PageFn *fn, void *opaque)
{
    const X86State *s = &cpu->state;
    Tables t = { .cpu = cpu, .bits = 9, .out = out, .fn = fn, .opaque = opaque };
    if (!(s->mode & X86_MODE_PAGING)) {
        g_string_append(out, "PG disabled\n");
        return false;
    }
    if (s->mode & X86_MODE_LMA) {
        walk(&t, s->cr3 & FRAME_MASK, 4, 0, PTE_W | PTE_U);
    } else if (s->cr4 & X86_CR4_PAE) {
        /* the four entries that CR3 pointed to when it was loaded */
        for (unsigned i = 0; i < 4; i++) {
            if (s->pdpte[i] & PTE_P) {
                walk(&t, s->pdpte[i] & FRAME_MASK, 2, (uint64_t)i << 30, PTE_W | PTE_U);
            }
        }
    } else {
        t.bits = 10;
        walk(&t, s->cr3 & 0xfffff000u, 2, 0, PTE_W | PTE_U);
    }
    if (out->len >= OUTPUT_MAX) {
        g_string_append(out, "...\n");
    }
    return true;
}

static void print_page(void *opaque, uint64_t linear, uint64_t phys, uint64_t size, uint64_t value,
                       unsigned rights)
{
    /* bit numbers of XGPDACTUW */
    static const struct {
        char letter;
        uint8_t bit;
    } flags[] = { { 'X', 63 }, { 'G', 8 }, { 'P', 7 }, { 'D', 6 }, { 'A', 5 },
                  { 'C', 4 },  { 'T', 3 }, { 'U', 2 }, { 'W', 1 } };
    GString *out = opaque;
    g_string_append_printf(out, "%016" PRIx64 ": %016" PRIx64 " ", linear, phys);
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
        bool set = value >> flags[i].bit & 1;
        /* bit 7 of a 4 KiB page's entry is another thing */
        set = flags[i].letter == 'P' ? size > 4096 : set;
        g_string_append_c(out, set ? flags[i].letter : '-');
    }
    g_string_append_c(out, '\n');
}

void x86_dump_tlb(X86Cpu *cpu, GString *out)
{
    walk_all(cpu, out, print_page, out);
}

typedef struct Range {
    GString *out;
    uint64_t start, end;
    unsigned rights;
    bool any;
} Range;

static void print_range(const Range *r)
{
    if (r->any) {
        g_string_append_printf(r->out, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n",
                               r->start, r->end, r->end - r->start, r->rights & PTE_U ? 'u' : '-',
                               r->rights & PTE_W ? 'w' : '-');
    }
}

static void add_to_range(void *opaque, uint64_t linear, uint64_t phys, uint64_t size,
                         uint64_t value, unsigned rights)
{
    Range *r = opaque;
    if (r->any && r->end == linear && r->rights == rights) {
        r->end += size;
        return;
    }
    print_range(r);
    *r = (Range){
        .out = r->out, .start = linear, .end = linear + size, .rights = rights, .any = true
    };
}

void x86_dump_mem(X86Cpu *cpu, GString *out)
{
    Range r = { .out = out };
    if (walk_all(cpu, out, add_to_range, &r)) {
        print_range(&r);
    }
}
