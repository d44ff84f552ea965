/*
 * The page-table walk against a model written for this test: same tables, same access, and the
 * results must agree in everything: fault or not, error code, address, rights, and what happened to
 * the accessed and dirty bits.
 *
 * The model reads like the manual (SDM volume 3 chapter 4): one table of formats, one pass that
 * collects entries, one that judges.
 */
#include "x86-harness.h"

#define TABLE_PAGES 64 /* tables and the pages they map lie in the first pages of RAM */
#define TABLE_BYTES (TABLE_PAGES * 4096)

typedef enum Format { UNPAGED, BITS32, PAE, LONG } Format;

typedef struct Case {
    Format format;
    uint64_t linear;
    unsigned access;
    bool wp, smep, smap, ac, nxe, pse, pge, pke, gigabyte;
    uint32_t pkru;
    unsigned cpl;
} Case;

typedef struct Answer {
    bool ok;
    uint32_t error;
    uint64_t phys, page_size;
    bool read, write, exec, user, global;
} Answer;

static uint8_t model_mem[TABLE_BYTES];

static uint64_t model_get(uint64_t addr, unsigned size)
{
    if (addr + size > TABLE_BYTES) {
        /* RAM beyond the tables is zero; what isn't RAM reads as ones */
        return addr + size > HARNESS_RAM ? ~UINT64_C(0) >> (64 - 8 * size) : 0;
    }
    return ldn_le(model_mem + addr, size);
}

static void model_or(uint64_t addr, unsigned size, uint64_t bits)
{
    if (addr + size <= TABLE_BYTES) {
        stn_le(model_mem + addr, size, ldn_le(model_mem + addr, size) | bits);
    }
}

static Answer model(const Case *c, uint64_t cr3, const uint64_t *pdpte)
{
    static const unsigned first_level[] = { [BITS32] = 2, [PAE] = 2, [LONG] = 4 };
    unsigned size = c->format == BITS32 ? 4 : 8, index_bits = c->format == BITS32 ? 10 : 9;
    uint64_t where[4], value = 0, table;
    unsigned n = 0, level;
    bool fetch = c->access & X86_ACCESS_FETCH, store = c->access & X86_ACCESS_WRITE;
    bool user_access = c->access & X86_ACCESS_USER;
    bool u = true, w = true, x = true;
    Answer a = { 0 };

    if (c->format == UNPAGED) {
        return (Answer){ .ok = true,
                         .phys = (uint32_t)c->linear,
                         .page_size = UINT64_C(1) << 32,
                         .read = true,
                         .write = true,
                         .exec = true,
                         .user = true };
    }
    a.error = (store ? 2 : 0) | (user_access ? 4 : 0) |
              (fetch && (c->smep || (c->format != BITS32 && c->nxe)) ? 0x10 : 0);
    level = first_level[c->format];
    table = cr3 & (c->format == BITS32 ? 0xfffff000 : UINT64_C(0x000ffffffffff000));
    if (c->format == PAE) {
        uint64_t top = pdpte[c->linear >> 30 & 3];
        if (!(top & 1)) {
            return a;
        }
        table = top & UINT64_C(0x000ffffffffff000);
    }
    for (;; level--) {
        unsigned shift = 12 + index_bits * (level - 1);
        where[n] = table + (c->linear >> shift & ((1u << index_bits) - 1)) * size;
        value = model_get(where[n++], size);
        if (!(value & 1)) {
            return a;
        }
        bool large = level > 1 && (value & 0x80) && (c->format != BITS32 || c->pse);
        uint64_t bad = 0;
        if (c->format != BITS32) {
            bad |= UINT64_C(0x000fff0000000000); /* beyond 40 bits */
            bad |= c->nxe ? 0 : UINT64_C(1) << 63;
            bad |= c->format == PAE ? UINT64_C(0x7ff0000000000000) : 0;
            bad |= level == 4 ? 0x80 : 0;
            bad |= level == 3 && !c->gigabyte ? 0x80 : 0;
            bad |= large && level == 2 ? 0x1fe000 : 0;
            bad |= large && level == 3 ? 0x3fffe000 : 0;
        } else if (large) {
            bad |= 0x200000;
        }
        if (value & bad) {
            a.error |= 1 | 8;
            return a;
        }
        u = u && (value & 4);
        w = w && (value & 2);
        x = x && !(size == 8 && value >> 63);
        if (large || level == 1) {
            a.page_size = UINT64_C(1) << shift;
            break;
        }
        table = value & (size == 4 ? 0xfffff000 : UINT64_C(0x000ffffffffff000));
    }
    uint64_t frame = value & UINT64_C(0x000fffffffffffff) & ~(a.page_size - 1);
    if (size == 4 && a.page_size > 4096) {
        frame = (value & 0xffc00000) | (value >> 13 & 0xff) << 32;
    }
    a.phys = frame | (c->linear & (a.page_size - 1));
    a.user = u;
    a.global = (value & 0x100) && c->pge;

    bool smap =
        c->smap && !user_access && ((c->access & X86_ACCESS_IMPLICIT) || (c->cpl < 3 && !c->ac));
    a.read = user_access ? u : !(u && smap);
    a.write = a.read && (w || (!user_access && !c->wp));
    a.exec = x && (user_access ? u : !(u && c->smep));
    bool key_read = true, key_write = true;
    if (c->pke && c->format == LONG && u) {
        unsigned key = value >> 59 & 15;
        bool ad = c->pkru >> (2 * key) & 1, wd = c->pkru >> (2 * key + 1) & 1;
        key_read = !ad;
        key_write = !ad && !(wd && (user_access || c->wp));
    }
    bool by_table = fetch ? a.exec : store ? a.write : a.read;
    bool by_key = fetch ? true : store ? key_write : key_read;
    if (!by_table || !by_key) {
        a.error |= 1 | (by_key ? 0 : 0x20);
        return a;
    }
    a.ok = true;
    for (unsigned i = 0; i < n; i++) {
        model_or(where[i], size, 0x20);
    }
    if (store) {
        model_or(where[n - 1], size, 0x40);
    }
    a.read = a.read && key_read;
    a.write = a.write && key_write && (model_get(where[n - 1], size) & 0x40);
    return a;
}

/* Entries that mostly lead somewhere, with everything else random. */
static void fill_tables(GRand *r, unsigned entry_size)
{
    for (unsigned at = 0; at < TABLE_BYTES; at += entry_size) {
        uint64_t e = g_rand_int_range(r, 0, TABLE_PAGES) << 12 | (g_rand_int(r) & 0xf7f);
        e |= g_rand_int_range(r, 0, 8) ? 1 : 0;
        e |= g_rand_int_range(r, 0, 4) ? 6 : 0;
        if (!g_rand_int_range(r, 0, 6)) {
            e |= 0x80; /* a large page, mostly aligned */
            e &= g_rand_int_range(r, 0, 8) ? ~UINT64_C(0x3fffe000) : ~UINT64_C(0);
        }
        if (entry_size == 8) {
            e |= g_rand_int_range(r, 0, 5) ? 0 : UINT64_C(1) << 63;
            e |= g_rand_int_range(r, 0, 30) ? 0 : UINT64_C(1) << g_rand_int_range(r, 36, 63);
            e |= g_rand_int_range(r, 0, 3) ? 0 : (uint64_t)g_rand_int_range(r, 0, 16) << 59;
        } else if (!g_rand_int_range(r, 0, 10)) {
            e |= 1u << g_rand_int_range(r, 13, 32);
        }
        stn_le(harness.mem + at, entry_size, e);
    }
}

static void apply_case(const Case *c, uint64_t cr3)
{
    X86State *s = harness.s;
    X86Cpu *cpu = harness.cpu;

    s->cr0 = X86_CR0_PE | (c->format == UNPAGED ? 0 : X86_CR0_PG) | (c->wp ? X86_CR0_WP : 0);
    s->cr4 = (c->format >= PAE ? X86_CR4_PAE : 0) | (c->smep ? X86_CR4_SMEP : 0) |
             (c->smap ? X86_CR4_SMAP : 0) | (c->pse ? X86_CR4_PSE : 0) |
             (c->pge ? X86_CR4_PGE : 0) | (c->pke ? X86_CR4_PKE : 0);
    s->efer = (c->format == LONG ? X86_EFER_LMA | X86_EFER_LME : 0) | (c->nxe ? X86_EFER_NXE : 0);
    s->rflags = 2 | (c->ac ? X86_AC : 0);
    s->seg[X86_SS].access = X86_SEG_P | X86_SEG_S | 3 | c->cpl << 5;
    s->cr3 = cr3;
    s->pkru = c->pkru;
    uint32_t *edx = &cpu->features[X86_CPUID_80000001_EDX];
    *edx = c->gigabyte ? *edx | 1u << 26 : *edx & ~(1u << 26);
    for (unsigned i = 0; i < 4; i++) {
        s->pdpte[i] = ldn_le(harness.mem + (cr3 & 0xffe0) + 8 * i, 8) & UINT64_C(0xffff003f001);
        s->pdpte[i] &= UINT64_C(0x3f001);
    }
    x86_update_mode(cpu);
}

static void random_case(GRand *r, Case *c, Format format)
{
    *c = (Case){
        .format = format,
        .linear = (uint64_t)g_rand_int(r) << 32 | g_rand_int(r),
        .wp = g_rand_boolean(r),
        .smep = g_rand_boolean(r),
        .smap = g_rand_boolean(r),
        .ac = g_rand_boolean(r),
        .nxe = g_rand_int_range(r, 0, 4) != 0,
        .pse = g_rand_int_range(r, 0, 4) != 0,
        .pge = g_rand_boolean(r),
        .pke = g_rand_boolean(r) && format == LONG,
        .gigabyte = g_rand_int_range(r, 0, 4) != 0,
        .pkru = g_rand_int(r) & g_rand_int(r),
        .cpl = g_rand_boolean(r) ? 3 : 0,
    };
    switch (g_rand_int_range(r, 0, 3)) {
    case 0:
        c->access = X86_ACCESS_WRITE;
        break;
    case 1:
        c->access = X86_ACCESS_FETCH;
        break;
    default:
        break;
    }
    if (c->cpl == 3) {
        c->access |= g_rand_int_range(r, 0, 4) ? X86_ACCESS_USER : X86_ACCESS_IMPLICIT;
    } else if (!g_rand_int_range(r, 0, 8)) {
        c->access |= X86_ACCESS_IMPLICIT;
    }
    c->linear = format == LONG ? (uint64_t)((int64_t)(c->linear << 16) >> 16) : (uint32_t)c->linear;
}

static void check_case(const Case *c, uint64_t cr3)
{
    X86Translation t = { 0 };
    uint32_t error = 0;

    apply_case(c, cr3);
    memcpy(model_mem, harness.mem, TABLE_BYTES);
    Answer want = model(c, cr3, harness.s->pdpte);
    bool ok = x86_translate(harness.cpu, c->linear, c->access, &t, &error);
    g_assert_cmpint(ok, ==, want.ok);
    if (ok) {
        g_assert_cmphex(t.phys, ==, want.phys);
        g_assert_cmphex(t.page_size, ==, want.page_size);
        g_assert_cmpint(!!(t.rights & X86_RIGHT_READ), ==, want.read);
        g_assert_cmpint(!!(t.rights & X86_RIGHT_WRITE), ==, want.write);
        g_assert_cmpint(!!(t.rights & X86_RIGHT_EXEC), ==, want.exec);
        g_assert_cmpint(t.user, ==, want.user);
        g_assert_cmpint(t.global, ==, want.global);
    } else {
        g_assert_cmphex(error, ==, want.error);
    }
    g_assert_cmpmem(harness.mem, TABLE_BYTES, model_mem, TABLE_BYTES);
}

static void test_against_model(gconstpointer data)
{
    Format format = GPOINTER_TO_INT(data);
    GRand *r = g_rand_new_with_seed(20 + format);
    unsigned ok = 0;
    const unsigned rounds = 60, accesses = 400;

    harness_start();
    for (unsigned i = 0; i < rounds; i++) {
        fill_tables(r, format == BITS32 ? 4 : 8);
        uint64_t cr3 = g_rand_int_range(r, 0, TABLE_PAGES) << 12;
        for (unsigned j = 0; j < accesses; j++) {
            Case c;
            random_case(r, &c, format);
            check_case(&c, cr3);
            X86Translation t;
            uint32_t error;
            ok += x86_translate(harness.cpu, c.linear, c.access, &t, &error);
        }
    }
    harness_stop();
    g_rand_free(r);
    /* The test is worth something only if both outcomes are common. */
    g_assert_cmpuint(ok, >, rounds * accesses / 50);
    if (format != UNPAGED) {
        g_assert_cmpuint(ok, <, rounds * accesses * 49 / 50);
    }
}

/* --- Linear memory --- */

/* Identity-mapped 4 KiB pages in long mode: PML4 at 0x1000, four tables. */
static void map_identity(void)
{
    X86State *s = harness.s;
    harness_put(0x1000, 0x2007, 8);
    harness_put(0x2000, 0x3007, 8);
    harness_put(0x3000, 0x4007, 8);
    for (unsigned i = 0; i < 512; i++) {
        harness_put(0x4000 + 8 * i, i << 12 | 7, 8);
    }
    s->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP;
    s->cr4 = X86_CR4_PAE;
    s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
    s->cr3 = 0x1000;
    x86_update_mode(harness.cpu);
}

static void test_linear_crossing(void)
{
    harness_start();
    map_identity();
    /* page 0x21 lies elsewhere, so that a crossing access must go two ways */
    harness_put(0x4000 + 8 * 0x21, 0x80000 | 7, 8);
    for (unsigned size = 2; size <= 8; size *= 2) {
        for (unsigned before = 1; before < size; before++) {
            uint64_t at = 0x21000 - before, value = UINT64_C(0x1122334455667788) >> (64 - 8 * size);
            ASSERT_RUNS(x86_linear_store(harness.cpu, at, value, size, 0));
            g_assert_cmphex(x86_linear_load(harness.cpu, at, size, 0), ==, value);
            uint64_t low = harness_get(at, before), high = harness_get(0x80000, size - before);
            g_assert_cmphex(low | high << (8 * before), ==, value);
        }
    }
    harness_stop();
}

static void test_crossing_fault_changes_nothing(void)
{
    harness_start();
    map_identity();
    harness_put(0x4000 + 8 * 0x21, 0, 8);
    harness_put(0x20ffc, 0xaabbccdd, 4);
    ASSERT_RAISES(X86_EXC_PF, X86_PF_W,
                  x86_linear_store(harness.cpu, 0x20ffc, UINT64_C(0x1234567890), 8, 0));
    g_assert_cmphex(harness.s->cr2, ==, 0x21000);
    g_assert_cmphex(harness_get(0x20ffc, 4), ==, 0xaabbccdd);
    harness_stop();
}

static void test_a20(void)
{
    harness_start();
    harness.s->a20_mask = ~(UINT64_C(1) << 20);
    harness_put(0x500, 0x1234, 2);
    g_assert_cmphex(x86_linear_load(harness.cpu, 0x100500, 2, 0), ==, 0x1234);
    harness.s->a20_mask = ~UINT64_C(0);
    g_assert_cmphex(x86_linear_load(harness.cpu, 0x100500, 2, 0), ==, 0);
    harness_stop();
}

static void test_pdptes(void)
{
    harness_start();
    harness_put(0x1000, 0x2001, 8);
    harness_put(0x1008, 0, 8);
    harness_put(0x1010, 0xffff0000, 8); /* not present: anything goes */
    harness_put(0x1018, 0x3001, 8);
    g_assert_true(x86_load_pdptes(harness.cpu, 0x1000));
    g_assert_cmphex(harness.s->pdpte[3], ==, 0x3001);
    harness_put(0x1018, 0x3003, 8); /* R/W is reserved here */
    g_assert_false(x86_load_pdptes(harness.cpu, 0x1000));
    harness_stop();
}

static void test_debug_translate(void)
{
    X86Translation t;
    harness_start();
    map_identity();
    g_assert_true(x86_translate_debug(harness.cpu, 0x12345, &t));
    g_assert_cmphex(t.phys, ==, 0x12345);
    g_assert_cmphex(harness_get(0x4000 + 8 * 0x12, 8), ==, 0x12007); /* no accessed bit */
    g_assert_false(x86_translate_debug(harness.cpu, UINT64_C(0x8000000000000000), &t));
    g_assert_false(x86_translate_debug(harness.cpu, 0x40000000, &t));
    harness_stop();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/x86/mmu/unpaged", GINT_TO_POINTER(UNPAGED), test_against_model);
    g_test_add_data_func("/x86/mmu/32-bit", GINT_TO_POINTER(BITS32), test_against_model);
    g_test_add_data_func("/x86/mmu/pae", GINT_TO_POINTER(PAE), test_against_model);
    g_test_add_data_func("/x86/mmu/long", GINT_TO_POINTER(LONG), test_against_model);
    g_test_add_func("/x86/mmu/crossing", test_linear_crossing);
    g_test_add_func("/x86/mmu/crossing-fault", test_crossing_fault_changes_nothing);
    g_test_add_func("/x86/mmu/a20", test_a20);
    g_test_add_func("/x86/mmu/pdptes", test_pdptes);
    g_test_add_func("/x86/mmu/debug", test_debug_translate);
    return harness_run();
}
