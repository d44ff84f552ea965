/*
 * The software TLB and everything that is not its inline check: filling, slow accesses, flushing,
 * address spaces, and the keys of the jump cache, which go stale together with it.
 *
 * Compiled for general registers only: the guest's vector state is live here. Ordinary code is
 * called after x86_park_fpu().
 */
#include "accel/jit/jit-internal.h"

#include "base/log.h"
#include "cpu/x86/exception.h"
#include "cpu/x86/segment.h"
#include "memory/ram.h"

/* --- Jump cache keys: 12 bits of generation, 4 of mode, above the 48 bits of an address --- */

#define GENERATION_FIRST 1u
#define GENERATION_LAST  0xffeu
#define GENERATION_SKIP  0xaaau /* JIT_KEY_POISON */

/* An empty entry's tag belongs to another entry, whatever the key. */
void jit_clear_jump(JitCpu *j, unsigned slot)
{
    __atomic_store_n(&j->jumps[slot].tag, slot == 0, __ATOMIC_SEQ_CST);
}

static void clear_jumps(JitCpu *j)
{
    for (unsigned i = 0; i < JIT_JUMP_SIZE; i++) {
        j->jumps[i].tag = i == 0;
    }
}

/* Supervisors run code from global pages: where it is doesn't depend on the address space. What
 * they run from others isn't entered into the jump cache (jit_may_remember). */
static bool key_is_global(const X86State *s)
{
    return (s->mode & X86_MODE_CPL) != 3 && (s->cr4 & X86_CR4_PGE);
}

static void new_generation(JitCpu *j, uint32_t *generation)
{
    if (j->next_generation == GENERATION_SKIP) {
        j->next_generation++;
    }
    if (j->next_generation > GENERATION_LAST) {
        clear_jumps(j);
        j->next_generation = GENERATION_FIRST;
        for (unsigned i = 0; i < JIT_SPACES; i++) {
            j->spaces[i].generation = 0;
        }
        j->kernel_generation = 0;
    }
    *generation = j->next_generation++;
}

static void forget_code(JitCpu *j)
{
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        j->spaces[i].generation = 0;
    }
    j->kernel_generation = 0;
}

static unsigned mode_number(JitCpu *j, uint32_t mode)
{
    for (unsigned i = 0; i < j->n_modes; i++) {
        if (j->modes[i] == mode) {
            return i;
        }
    }
    if (j->n_modes == ARRAY_LEN(j->modes)) {
        j->n_modes = 0;
        forget_code(j);
    }
    j->modes[j->n_modes] = mode;
    return j->n_modes++;
}

void jit_update_key(JitCpu *j)
{
    uint32_t mode = j->state->mode;
    uint64_t key = JIT_KEY_POISON;

    if (__atomic_load_n(&j->code_gone, __ATOMIC_RELAXED)) {
        __atomic_store_n(&j->code_gone, false, __ATOMIC_SEQ_CST);
        forget_code(j);
    }
    j->key_mode = mode;
    if (!(mode & (X86_MODE_TF | X86_MODE_DEBUG)) && jit_mode_flat_code(mode) &&
        LIKELY(!__atomic_load_n(&j->jit->unchained, __ATOMIC_RELAXED))) {
        unsigned n = mode_number(j, mode);
        uint32_t *generation =
            key_is_global(j->state) ? &j->kernel_generation : &j->space->generation;
        if (!*generation) {
            new_generation(j, generation);
        }
        key = (uint64_t)(*generation << 4 | n) << 48;
    }
    __atomic_store_n(&j->jump_key, key, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&j->kick, __ATOMIC_SEQ_CST) ||
        __atomic_load_n(&j->code_gone, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&j->jump_key, JIT_KEY_POISON, __ATOMIC_SEQ_CST);
    }
}

bool jit_may_remember(const JitCpu *j, uint64_t linear, uint64_t key)
{
    const JitFetch *f = &j->space->fetch[(linear >> 12) % JIT_FETCH_SIZE];
    return key != JIT_KEY_POISON && !j->code_gone &&
           (!key_is_global(j->state) || (f->global && (f->tag ^ linear) >> 12 == 0));
}

/* --- Spaces --- */

static void set_gs(JitCpu *j)
{
    /* GS base: the host's C library leaves it alone */
    __asm__ volatile("wrgsbase %0" ::"r"(j->space));
}

static void clear_entry(JitTlbEntry *e, unsigned n)
{
    e->rtag = e->wtag = JIT_TAG_NONE(n);
}

static void clear_victims(JitSpace *s, unsigned table)
{
    for (unsigned v = 0; v < JIT_VICTIM_SIZE; v++) {
        s->victims[table][v].rtag = s->victims[table][v].wtag = UINT64_MAX;
    }
}

static void clear_table(JitSpace *s, unsigned table, bool keep_global)
{
    if (!s->used[table]) {
        return;
    }
    unsigned kept = 0;
    bool listed = s->used[table] <= JIT_TLB_FILLS;
    unsigned count = listed ? s->used[table] : JIT_TLB_SIZE;
    for (unsigned i = 0; i < count; i++) {
        unsigned n = listed ? s->filled[table][i] : i;
        JitTlbEntry *e = &s->tables[table][n];
        if (e->rtag == JIT_TAG_NONE(n) && e->wtag == JIT_TAG_NONE(n)) {
            continue;
        }
        if (keep_global && e->global) {
            if (kept < JIT_TLB_FILLS) {
                s->filled[table][kept] = (uint16_t)n;
            }
            kept++;
        } else {
            clear_entry(e, n);
        }
    }
    clear_victims(s, table);
    s->used[table] = kept;
}

static void flush_space(JitCpu *j, JitSpace *s, bool keep_global)
{
    for (unsigned table = 0; table < JIT_TLB_TABLES; table++) {
        clear_table(s, table, keep_global);
    }
    for (unsigned n = 0; n < JIT_FETCH_SIZE; n++) {
        if (!keep_global || !s->fetch[n].global) {
            s->fetch[n].tag = UINT64_MAX;
        }
    }
    if (!keep_global) {
        for (unsigned i = 0; i < 2; i++) {
            s->large[i].low = UINT64_MAX;
            s->large[i].high = 0;
        }
        s->stale_code = false;
    }
    memset(s->fetch_gone, 0, sizeof(s->fetch_gone));
    s->generation = 0;
}

void jit_space_flush(JitCpu *j, JitSpace *s)
{
    flush_space(j, s, false);
    if (s == j->space) {
        jit_update_key(j);
    }
}

void jit_tlb_flush_everything(JitCpu *j)
{
    j->kernel_generation = 0;
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        if (j->spaces[i].valid) {
            flush_space(j, &j->spaces[i], false);
        }
    }
    jit_update_key(j);
}

void jit_tlb_init(JitCpu *j)
{
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        JitSpace *s = &j->spaces[i];
        for (unsigned table = 0; table < JIT_TLB_TABLES; table++) {
            s->used[table] = UINT32_MAX; /* not listed: sweep */
            clear_victims(s, table);
        }
        flush_space(j, s, false);
    }
    j->next_generation = GENERATION_FIRST;
    clear_jumps(j);
    j->space = &j->spaces[0];
    j->space->valid = true;
}

static unsigned current_pcid(const X86State *s)
{
    return s->cr4 & X86_CR4_PCIDE ? (unsigned)(s->cr3 & 0xfff) : 0;
}

static void log_flush(JitCpu *j, const char *what, uint64_t which)
{
    if (log_enabled(LOG_MMU)) {
        x86_park_fpu(j->cpu);
        jit_log_flush(j, what, which);
    }
}

static void hook_switch_space(X86Cpu *cpu)
{
    JitCpu *j = cpu->parent.accel;
    unsigned pcid = current_pcid(&cpu->state);
    JitSpace *best = NULL;

    j->counters.space_switches++;
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        JitSpace *s = &j->spaces[i];
        if (s->valid && s->pcid == pcid) {
            best = s;
            break;
        }
        if (!best || (best->valid && (!s->valid || s->last_used < best->last_used))) {
            best = s;
        }
    }
    if (!best->valid || best->pcid != pcid) {
        j->counters.flush_reuse++;
        flush_space(j, best, false);
        best->valid = true;
        best->pcid = pcid;
    } else if (best->stale_code) {
        flush_space(j, best, false);
    }
    best->last_used = ++j->use_clock;
    if (j->space != best) {
        j->space = best;
        set_gs(j);
    }
    jit_update_key(j);
}

static bool in_large(const JitSpace *s, uint64_t linear)
{
    unsigned i = linear >= UINT64_C(0xffffffff80000000);
    return linear >= s->large[i].low && linear <= s->large[i].high;
}

static void flush_page_in(JitCpu *j, JitSpace *s, uint64_t page)
{
    if (in_large(s, page)) {
        j->kernel_generation = 0;
        flush_space(j, s, false);
        return;
    }
    unsigned n = (unsigned)(page >> 12) & (JIT_TLB_SIZE - 1);
    for (unsigned table = 0; table < JIT_TLB_TABLES; table++) {
        if (!s->used[table]) {
            continue;
        }
        JitTlbEntry *e = &s->tables[table][n];
        if (e->rtag == page || e->wtag == page) {
            clear_entry(e, n);
        }
        for (unsigned v = 0; v < JIT_VICTIM_SIZE; v++) {
            JitTlbEntry *w = &s->victims[table][v];
            if (w->rtag == page || w->wtag == page) {
                w->rtag = w->wtag = UINT64_MAX;
            }
        }
    }
    JitFetch *f = &s->fetch[(page >> 12) % JIT_FETCH_SIZE];
    uint64_t gone = (page >> 12) % JIT_FETCH_GONE_BITS;
    if ((f->tag & ~UINT64_C(4095)) == page || (s->fetch_gone[gone / 64] >> (gone % 64) & 1)) {
        f->tag = UINT64_MAX;
        s->generation = 0;
        j->kernel_generation = 0;
    }
}

static void hook_flush_page(X86Cpu *cpu, uint64_t linear)
{
    JitCpu *j = cpu->parent.accel;
    log_flush(j, "page", linear);
    j->counters.flush_pages++;
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        if (j->spaces[i].valid) {
            flush_page_in(j, &j->spaces[i], linear & ~UINT64_C(4095));
        }
    }
    if (!j->space->generation || !j->kernel_generation) {
        jit_update_key(j);
    }
}

static void hook_flush_page_pcid(X86Cpu *cpu, uint64_t linear, unsigned pcid)
{
    JitCpu *j = cpu->parent.accel;
    log_flush(j, "page of PCID", linear);
    j->counters.flush_pages++;
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        if (j->spaces[i].valid && j->spaces[i].pcid == pcid) {
            flush_page_in(j, &j->spaces[i], linear & ~UINT64_C(4095));
        }
    }
    if (!j->space->generation || !j->kernel_generation) {
        jit_update_key(j);
    }
}

static void hook_flush_pcid(X86Cpu *cpu, unsigned pcid)
{
    JitCpu *j = cpu->parent.accel;
    log_flush(j, "PCID", pcid);
    j->counters.flush_spaces++;
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        if (j->spaces[i].valid && j->spaces[i].pcid == pcid) {
            flush_space(j, &j->spaces[i], true);
        }
    }
    jit_update_key(j);
}

static void hook_flush_all(X86Cpu *cpu, bool global_too)
{
    JitCpu *j = cpu->parent.accel;
    log_flush(j, "all", global_too);
    j->counters.flush_all++;
    if (global_too) {
        j->kernel_generation = 0;
    }
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        if (j->spaces[i].valid) {
            flush_space(j, &j->spaces[i], !global_too);
        }
    }
    jit_update_key(j);
}

void jit_tlb_hooks(X86Cpu *cpu)
{
    cpu->tlb = (X86TlbHooks){ .flush_page = hook_flush_page,
                              .flush_page_pcid = hook_flush_page_pcid,
                              .flush_pcid = hook_flush_pcid,
                              .flush_all = hook_flush_all,
                              .switch_space = hook_switch_space };
    cpu->probe = jit_probe;
    cpu->park_fpu = jit_park_fpu;
    cpu->raise = jit_raise_hook;
}

void jit_drop_write_tags(JitCpu *j, const uint8_t *host)
{
    for (unsigned i = 0; i < JIT_SPACES; i++) {
        JitSpace *s = &j->spaces[i];
        if (!s->valid) {
            continue;
        }
        if (s != j->space) {
            s->stale_code = true;
            continue;
        }
        for (unsigned table = 0; table < JIT_TLB_TABLES; table++) {
            if (!s->used[table]) {
                continue;
            }
            for (unsigned n = 0; n < JIT_TLB_SIZE; n++) {
                if (s->tables[table][n].host == host) {
                    __atomic_store_n(&s->tables[table][n].wtag, JIT_TAG_NONE(n), __ATOMIC_RELAXED);
                }
            }
            for (unsigned v = 0; v < JIT_VICTIM_SIZE; v++) {
                if (s->victims[table][v].host == host) {
                    s->victims[table][v].wtag = UINT64_MAX;
                }
            }
        }
    }
}

/* --- Physical memory --- */

const JitRam *jit_ram_find(const Jit *jit, uint64_t phys)
{
    const JitRamMap *map = __atomic_load_n(&jit->ram, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < map->count; i++) {
        const JitRam *r = &map->range[i];
        if (phys - r->phys < r->size) {
            return r;
        }
    }
    return NULL;
}

static bool holds_code(const JitRam *r, uint64_t phys)
{
    uint64_t n = (r->offset + (phys - r->phys)) >> DIRTY_PAGE_BITS;
    if (!r->block || !r->block->dirty[DIRTY_CODE]) {
        return false;
    }
    return !(__atomic_load_n(&r->block->dirty[DIRTY_CODE][n / 64], __ATOMIC_SEQ_CST) >> (n % 64) &
             1);
}

static void mark_dirty(const JitRam *r, uint64_t phys)
{
    uint64_t n = (r->offset + (phys - r->phys)) >> DIRTY_PAGE_BITS;
    unsigned long bit = 1ul << (n % 64);
    if (!r->block) {
        return;
    }
    for (unsigned c = 0; c < DIRTY_CLIENT_COUNT; c++) {
        unsigned long *words = r->block->dirty[c];
        if (c != DIRTY_CODE && words &&
            !(__atomic_load_n(&words[n / 64], __ATOMIC_RELAXED) & bit)) {
            __atomic_fetch_or(&words[n / 64], bit, __ATOMIC_SEQ_CST);
        }
    }
}

/* --- Filling --- */

static unsigned table_now(const X86State *s)
{
    return (s->mode & X86_MODE_CPL) == 3 ? JIT_TABLE_USER
           : s->mode & X86_MODE_SMAP     ? JIT_TABLE_KERNEL
                                         : JIT_TABLE_KERNEL_AC;
}

static NORETURN void raise_not_canonical(JitCpu *j, unsigned seg)
{
    x86_raise_error(j->cpu, seg == X86_SS ? X86_EXC_SS : X86_EXC_GP, 0);
}

typedef struct Plain {
    uint8_t *host; /* NULL: not plain memory */
    uint64_t phys;
} Plain;

static void note_large(JitSpace *s, uint64_t linear, uint64_t size)
{
    unsigned i = linear >= UINT64_C(0xffffffff80000000);
    uint64_t low = linear & ~(size - 1), high = low + size - 1;
    s->large[i].low = MIN_OF(s->large[i].low, low);
    s->large[i].high = MAX_OF(s->large[i].high, high);
}

static bool from_victim(JitCpu *j, JitSpace *s, unsigned table, JitTlbEntry *e, uint64_t page,
                        bool write)
{
    for (unsigned v = 0; v < JIT_VICTIM_SIZE; v++) {
        JitTlbEntry *w = &s->victims[table][v];
        if ((write ? w->wtag : w->rtag) == page) {
            JitTlbEntry old = *e;
            unsigned n = (unsigned)(page >> 12) & (JIT_TLB_SIZE - 1);
            *e = *w;
            e->rtag = e->rtag == UINT64_MAX ? JIT_TAG_NONE(n) : e->rtag;
            e->wtag = e->wtag == UINT64_MAX ? JIT_TAG_NONE(n) : e->wtag;
            old.rtag = old.rtag == JIT_TAG_NONE(n) ? UINT64_MAX : old.rtag;
            old.wtag = old.wtag == JIT_TAG_NONE(n) ? UINT64_MAX : old.wtag;
            *w = old;
            j->counters.tlb_victims++;
            return true;
        }
    }
    return false;
}

/*
 * The discard of code before it is written. Leaves if the code that is running lies in the page.
 * Between here and the write nobody may make new code of the old bytes: code_write says so to
 * other CPUs, and only the careful variant says soon that it is done.
 */
static void write_to_code(JitCpu *j, const JitRam *r, uint64_t phys, uint64_t len, bool careful)
{
    Jit *jit = j->jit;
    uint8_t *host = r->host + (phys - r->phys);
    const uint8_t *page = (uint8_t *)((uintptr_t)host & ~UINT64_C(4095));
    bool shared = jit->cpus->len > 1;
    j->counters.code_writes++;
    if (!careful && shared) {
        jit_leave_careful(j);
    }
    if (!careful) {
        uint64_t rip = jit_linear_rip(j->state);
        const JitFetch *f = &j->space->fetch[(rip >> 12) % JIT_FETCH_SIZE];
        if (((f->tag ^ rip) >> 12) != 0 || f->host == page) {
            jit_leave_careful(j);
        }
    }
    if (log_enabled(LOG_PAGE)) {
        x86_park_fpu(j->cpu);
    }
    pthread_mutex_lock(&jit->lock);
    jit_invalidate_range(jit, host, len);
    j->block_gone = true;
    if (shared) {
        unsigned slot = j->code_write[0] && j->code_write[0] != page;
        __atomic_store_n(&j->code_write[slot], page, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&jit->lock);
}

/* One page: translate, fill the TLB if it is plain memory. len: bytes that will be accessed. */
static Plain fill(JitCpu *j, uint64_t linear, unsigned len, bool write, bool careful, unsigned seg)
{
    X86State *st = j->state;
    JitSpace *s = j->space;
    uint64_t page = linear & ~UINT64_C(4095);
    unsigned n = (unsigned)(page >> 12) & (JIT_TLB_SIZE - 1);
    unsigned table = table_now(st);
    JitTlbEntry *e = &s->tables[table][n];
    X86Translation t;

    if ((write ? e->wtag : e->rtag) == page || from_victim(j, s, table, e, page, write)) {
        return (Plain){ .host = e->host + (linear & 4095) };
    }
    if (!x86_is_canonical(st, linear)) {
        raise_not_canonical(j, seg);
    }
    x86_translate_or_raise(j->cpu, linear,
                           (write ? X86_ACCESS_WRITE : X86_ACCESS_READ) | x86_access_cpl(st), &t);
    if (log_enabled(LOG_MMU)) {
        x86_park_fpu(j->cpu);
        jit_log_fill(j, linear, &t, write);
    }
    const JitRam *r = jit_ram_find(j->jit, t.phys);
    if (!r) {
        return (Plain){ .phys = t.phys };
    }
    if (write && r->readonly) {
        return (Plain){ .phys = t.phys };
    }
    j->counters.tlb_fills++;
    uint8_t *host = r->host + (t.phys - r->phys);
    bool may_write = (t.rights & X86_RIGHT_WRITE) && !r->readonly && !r->logged;
    if (write) {
        mark_dirty(r, t.phys);
        if (holds_code(r, t.phys)) {
            write_to_code(j, r, t.phys, len, careful);
        }
    }
    if (may_write && holds_code(r, t.phys)) {
        may_write = false;
    }
    if (x86_data_is_watched(j->cpu) && x86_page_has_breakpoint(j->cpu, linear)) {
        return (Plain){ .host = host, .phys = t.phys };
    }
    if (e->rtag != JIT_TAG_NONE(n) && e->rtag != page) {
        unsigned v = s->victim_next[table]++ % JIT_VICTIM_SIZE;
        s->victims[table][v] = *e;
        if (e->wtag == JIT_TAG_NONE(n)) {
            s->victims[table][v].wtag = UINT64_MAX;
        }
    }
    if (t.page_size > 4096) {
        note_large(s, linear, t.page_size);
    }
    /* Write tags wait for the first write: its dirty marks are due then. */
    bool was_writable = e->wtag == page;
    e->host = host - (linear & 4095);
    e->global = t.global;
    e->rtag = t.rights & X86_RIGHT_READ ? page : JIT_TAG_NONE(n);
    e->wtag = may_write && (write || was_writable) ? page : JIT_TAG_NONE(n);
    if (s->used[table] < JIT_TLB_FILLS) {
        s->filled[table][s->used[table]] = (uint16_t)n;
    }
    s->used[table]++;
    return (Plain){ .host = host, .phys = t.phys };
}

/* --- Slow accesses --- */

/* The C library's memcpy() uses vector registers, which are the guest's. */
static void copy_bytes(void *to, const void *from, unsigned len)
{
    uint64_t n = len;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

static MemTxAttrs attrs_now(const JitCpu *j)
{
    return (MemTxAttrs){ .user = (j->state->mode & X86_MODE_CPL) == 3 };
}

static void device_read(JitCpu *j, uint64_t phys, uint8_t *to, unsigned size)
{
    x86_park_fpu(j->cpu);
    j->counters.mmio_loads++;
    while (size) {
        unsigned part = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
        uint64_t v = UINT64_MAX;
        if (address_space_load(j->cpu->parent.memory, phys, part, attrs_now(j), &v) != MEMTX_OK) {
            v = UINT64_MAX;
        }
        copy_bytes(to, &v, part);
        to += part;
        phys += part;
        size -= part;
    }
}

static void device_write(JitCpu *j, uint64_t phys, const uint8_t *from, unsigned size)
{
    x86_park_fpu(j->cpu);
    j->counters.mmio_stores++;
    while (size) {
        unsigned part = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
        uint64_t v = 0;
        copy_bytes(&v, from, part);
        (void)!address_space_store(j->cpu->parent.memory, phys, part, attrs_now(j), v);
        from += part;
        phys += part;
        size -= part;
    }
    /* The device may have changed the map (flash that leaves its array mode): what follows in this
     * block must see that, the rest comes with the kick. */
    if (__atomic_load_n(&j->ram_gone, __ATOMIC_SEQ_CST)) {
        jit_tlb_flush_everything(j);
    }
}

/* As aligned as the guest's address, for instructions that insist on alignment. */
static uint8_t *bounce_at(JitCpu *j, uint64_t linear)
{
    return j->bounce + (linear & 63);
}

/* Both pages of a crossing access, or one that isn't plain memory, by way of the bounce buffer. */
static uint8_t *bounce(JitCpu *j, uint64_t linear, unsigned size, bool read, bool write,
                       unsigned seg)
{
    uint64_t mask = j->state->mode & X86_MODE_LMA ? UINT64_MAX : UINT32_MAX;
    unsigned first = (unsigned)MIN_OF((uint64_t)size, 4096 - (linear & 4095));
    uint8_t *buffer = bounce_at(j, linear);
    if (write) {
        /* both must be writable before anything is */
        fill(j, linear, first, true, true, seg);
        if (first < size) {
            fill(j, (linear + first) & mask, size - first, true, true, seg);
        }
    }
    /* Also before a plain write: an instruction may in the end not write (x87 stores with an
     * unmasked exception). Devices are only read if the instruction reads. */
    if (read || write) {
        for (unsigned done = 0; done < size;) {
            uint64_t at = (linear + done) & mask;
            unsigned part = done ? size - done : first;
            Plain p = fill(j, at, part, !read, true, seg);
            if (p.host) {
                copy_bytes(buffer + done, p.host, part);
            } else if (read) {
                device_read(j, p.phys, buffer + done, part);
            }
            done += part;
        }
    }
    j->bounced.active = true;
    j->bounced.write = write;
    j->bounced.linear = linear;
    j->bounced.size = size;
    return buffer;
}

static void commit(JitCpu *j)
{
    uint64_t mask = j->state->mode & X86_MODE_LMA ? UINT64_MAX : UINT32_MAX;
    unsigned size = j->bounced.size;
    const uint8_t *buffer = bounce_at(j, j->bounced.linear);
    unsigned first = (unsigned)MIN_OF((uint64_t)size, 4096 - (j->bounced.linear & 4095));
    for (unsigned done = 0; done < size;) {
        unsigned part = done ? size - done : first;
        Plain p = fill(j, (j->bounced.linear + done) & mask, part, true, true, X86_DS);
        if (p.host) {
            copy_bytes(p.host, buffer + done, part);
        } else {
            device_write(j, p.phys, buffer + done, part);
        }
        done += part;
    }
    jit_unpark(j);
}

void jit_commit_entry(JitCpu *j, uint64_t flags)
{
    if (j->bounced.active) {
        j->bounced.active = false;
        if (j->bounced.write) {
            commit(j);
        }
    }
    jit_code_written(j);
}

/* Then the instruction runs alone, so that the stop comes right behind it. */
static bool touches_breakpoint(const JitCpu *j, uint64_t linear, unsigned size)
{
    return x86_page_has_breakpoint(j->cpu, linear) ||
           ((linear & 4095) + size > 4096 && x86_page_has_breakpoint(j->cpu, linear + size));
}

uint8_t *jit_resolve(JitCpu *j, uint64_t linear, uint32_t info)
{
    unsigned size = info >> JIT_INFO_SIZE_SHIFT & 0x1fff;
    bool write = (info & JIT_INFO_WRITE) != 0;
    bool careful = (info & JIT_INFO_CAREFUL) != 0;
    unsigned seg = X86_DS;

    j->counters.resolves++;
    j->bounced.active = false;
    if (!(j->state->mode & X86_MODE_LMA)) {
        linear = (uint32_t)linear;
    }
    if (x86_data_is_watched(j->cpu)) {
        if (!careful && touches_breakpoint(j, linear, size)) {
            jit_leave_careful(j);
        }
        x86_note_data_access(j->cpu, linear, size, write);
    }
    if ((linear & 4095) + size > 4096) {
        j->counters.crossings++;
        if (write && !careful) {
            jit_leave_careful(j);
        }
        return bounce(j, linear, size, !write || (info & JIT_INFO_READ), write, seg);
    }
    Plain p = fill(j, linear, size, write, careful, seg);
    if (p.host) {
        return p.host;
    }
    if (write && !careful) {
        jit_leave_careful(j);
    }
    return bounce(j, linear, size, !write || (info & JIT_INFO_READ), write, seg);
}

static void begin(JitCpu *j, uint64_t info, uint64_t flags)
{
    X86State *s = j->state;
    s->rip = j->rip_base + (info & JIT_INFO_OFFSET);
    if (!(s->mode & X86_MODE_CS64)) {
        s->rip = (uint32_t)s->rip;
    }
    jit_merge_flags(j, flags, info >> JIT_INFO_FORM_SHIFT & 3);
}

/* The check of a group that isn't in the TLB. What can't be had without asking more leaves, to run
 * the first instruction alone. */
static uint8_t *resolve_group(JitCpu *j, uint64_t linear, unsigned size, bool write)
{
    X86Translation t;
    uint32_t error;
    unsigned access = (write ? X86_ACCESS_WRITE : X86_ACCESS_READ) | x86_access_cpl(j->state);

    if ((linear & 4095) + size <= 4096 && x86_is_canonical(j->state, linear) &&
        !x86_data_is_watched(j->cpu) && x86_translate(j->cpu, linear, access, &t, &error)) {
        const JitRam *r = jit_ram_find(j->jit, t.phys);
        if (r && !(write && (r->readonly || r->logged || holds_code(r, t.phys)))) {
            return fill(j, linear, size, write, false, X86_DS).host;
        }
    }
    const uint8_t *insn = jit_fetch(j, jit_linear_rip(j->state));
    uint8_t *misses = &j->jit->group_misses[jit_group_slot(insn)];
    j->counters.group_misses++;
    if (*misses < JIT_GROUP_MISSES && ++*misses == JIT_GROUP_MISSES) {
        if (log_enabled(LOG_PAGE)) {
            x86_park_fpu(j->cpu);
        }
        pthread_mutex_lock(&j->jit->lock);
        jit_invalidate_range(j->jit, insn, 1);
        pthread_mutex_unlock(&j->jit->lock);
    }
    jit_leave_careful(j);
}

uint64_t jit_resolve_entry(JitCpu *j, uint64_t linear, uint64_t info, uint64_t flags)
{
    begin(j, info, flags);
    if (info & JIT_INFO_GROUP) {
        j->counters.resolves++;
        uint8_t *p = resolve_group(j, linear, info >> JIT_INFO_SIZE_SHIFT & 0x1fff,
                                   (info & JIT_INFO_WRITE) != 0);
        jit_unpark(j);
        return (uintptr_t)p;
    }
    if (UNLIKELY(!x86_is_canonical(j->state, linear)) && (j->state->mode & X86_MODE_LMA)) {
        raise_not_canonical(j, (info >> JIT_INFO_SEG_SHIFT & 7) ^ X86_DS);
    }
    uint8_t *host = jit_resolve(j, linear, (uint32_t)info);
    jit_unpark(j);
    return (uintptr_t)host;
}

uint64_t jit_resolve_seg_entry(JitCpu *j, uint64_t offset, uint64_t info, uint64_t flags)
{
    begin(j, info, flags);
    uint64_t linear = x86_linear_address(j->cpu, (info >> JIT_INFO_SEG_SHIFT & 7) ^ X86_DS, offset,
                                         info >> JIT_INFO_SIZE_SHIFT & 0x1fff,
                                         info & JIT_INFO_WRITE ? X86_ACCESS_WRITE : 0);
    uint8_t *host = jit_resolve(j, linear, (uint32_t)info);
    jit_unpark(j);
    return (uintptr_t)host;
}

uint8_t *jit_span(JitCpu *j, uint64_t linear, bool write, unsigned size)
{
    if (x86_data_is_watched(j->cpu) && x86_page_has_breakpoint(j->cpu, linear)) {
        return NULL;
    }
    return fill(j, linear, size, write, true, X86_DS).host;
}

uint8_t *jit_probe(X86Cpu *cpu, uint64_t linear, unsigned access)
{
    JitCpu *j = cpu->parent.accel;
    unsigned table = access & X86_ACCESS_USER        ? JIT_TABLE_USER
                     : cpu->state.cr4 & X86_CR4_SMAP ? JIT_TABLE_KERNEL
                                                     : JIT_TABLE_KERNEL_AC;
    if (access & X86_ACCESS_FETCH) {
        return NULL;
    }
    if (table == JIT_TABLE_KERNEL && !(access & X86_ACCESS_IMPLICIT) &&
        !(cpu->state.mode & X86_MODE_SMAP)) {
        table = JIT_TABLE_KERNEL_AC;
    }
    const JitTlbEntry *e = &j->space->tables[table][(linear >> 12) & (JIT_TLB_SIZE - 1)];
    uint64_t tag = access & X86_ACCESS_WRITE ? e->wtag : e->rtag;
    return tag == (linear & ~UINT64_C(4095)) ? e->host + (linear & 4095) : NULL;
}

/* --- Code --- */

const uint8_t *jit_fetch(JitCpu *j, uint64_t linear)
{
    X86State *st = j->state;
    uint64_t page = linear & ~UINT64_C(4095);
    uint64_t tag = page | ((st->mode & X86_MODE_CPL) == 3);
    JitFetch *f = &j->space->fetch[(page >> 12) % JIT_FETCH_SIZE];
    X86Translation t;

    if (f->tag == tag) {
        return f->host + (linear & 4095);
    }
    if (!x86_is_canonical(st, linear)) {
        x86_raise_error(j->cpu, X86_EXC_GP, 0);
    }
    x86_translate_or_raise(j->cpu, linear, X86_ACCESS_FETCH | x86_access_cpl(st), &t);
    const JitRam *r = jit_ram_find(j->jit, t.phys);
    if (!r) {
        x86_raise_error(j->cpu, X86_EXC_GP, 0); /* code in device memory isn't run */
    }
    if (f->tag != UINT64_MAX) {
        uint64_t gone = (f->tag >> 12) % JIT_FETCH_GONE_BITS;
        j->space->fetch_gone[gone / 64] |= BIT64(gone % 64);
    }
    if (t.page_size > 4096) {
        note_large(j->space, linear, t.page_size);
    }
    f->tag = tag;
    f->host = r->host + (t.phys - r->phys) - (linear & 4095);
    f->global = t.global;
    return f->host + (linear & 4095);
}
