/*
 * Dirty logs: which pages vCPUs wrote, from the kernel into the RAM blocks' bitmaps, which
 * migration and displays use.
 *
 * Three ways, all with the same rule: a page is write-protected again before its bit is set here,
 * or when a client clears the bit, so that a client which clears a bit and then reads the page sees
 * every write or finds the bit again.
 *
 *   bitmap           KVM_GET_DIRTY_LOG reads, clears and protects a whole slot
 *   manual protect   the same call only reads; pages stay writable until a client clears their bits
 *                    (KVM_CLEAR_DIRTY_LOG of exactly those): KvmSlot.reported remembers which
 *   ring             each vCPU notes pages in a ring of its own; reaping reads it, gives the
 * entries back (KVM_RESET_DIRTY_RINGS protects), then sets the bits
 *
 * log_lock guards the list of slots and the logs against migration's threads; it is taken with or
 * without the machine lock, and nothing is called with it held but ioctls.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/kvm/kvm-internal.h"
#include "base/report.h"
#include "event/lock.h"

#define WORD_BITS 64

static uint64_t pages_of(const KvmSlot *s)
{
    return s->size >> KVM_PAGE_BITS;
}

static size_t log_words(const KvmSlot *s)
{
    return (pages_of(s) + WORD_BITS - 1) / WORD_BITS;
}

static void mark(const KvmSlot *s, uint64_t page, uint64_t count)
{
    ram_block_mark_dirty(s->block, s->ram_offset + (page << KVM_PAGE_BITS), count << KVM_PAGE_BITS);
}

/* --- Bitmaps --- */

static void mark_words(const KvmSlot *s, const unsigned long *words)
{
    for (size_t i = 0; i < log_words(s); i++) {
        unsigned long word = words[i];
        while (word) {
            unsigned first = (unsigned)__builtin_ctzl(word);
            unsigned long rest = ~(word >> first);
            unsigned run = rest ? (unsigned)__builtin_ctzl(rest) : WORD_BITS;
            uint64_t page = i * WORD_BITS + first;
            run = (unsigned)MIN_OF((uint64_t)run, pages_of(s) - page);
            mark(s, page, run);
            word &= run + first >= WORD_BITS ? (1ul << first) - 1 : ~(((1ul << run) - 1) << first);
        }
    }
}

/* log_lock held. */
static void read_log(Kvm *kvm, KvmSlot *s)
{
    g_autofree unsigned long *words = g_new0(unsigned long, log_words(s));
    struct kvm_dirty_log log = { .slot = (uint32_t)s->id, .dirty_bitmap = words };
    int r = kvm_vm_ioctl(kvm, KVM_GET_DIRTY_LOG, &log);

    if (r < 0) {
        if (r != -ENOENT) {
            report_warning_once("accelerator 'kvm': KVM_GET_DIRTY_LOG: %s; all pages count as "
                                "written",
                                strerror(-r));
            mark(s, 0, pages_of(s));
        }
        return;
    }
    if (kvm->caps.manual_protect) {
        if (!s->reported) {
            s->reported = g_new0(unsigned long, log_words(s));
        }
        for (size_t i = 0; i < log_words(s); i++) {
            s->reported[i] |= words[i];
        }
    }
    mark_words(s, words);
}

/* Protect pages [first, last] again, those of them that were reported. log_lock held. */
static void protect(Kvm *kvm, KvmSlot *s, uint64_t first, uint64_t last)
{
    uint64_t word = first / WORD_BITS, end = last / WORD_BITS + 1;
    g_autofree unsigned long *clear = g_new0(unsigned long, end - word);
    bool any = false;

    for (uint64_t i = word; i < end; i++) {
        unsigned long mask = ~0ul;
        if (i == first / WORD_BITS) {
            mask &= ~0ul << (first % WORD_BITS);
        }
        if (i == last / WORD_BITS) {
            mask &= ~0ul >> (WORD_BITS - 1 - last % WORD_BITS);
        }
        clear[i - word] = s->reported[i] & mask;
        s->reported[i] &= ~mask;
        any |= clear[i - word] != 0;
    }
    if (!any) {
        return;
    }
    struct kvm_clear_dirty_log log = {
        .slot = (uint32_t)s->id,
        .first_page = word * WORD_BITS,
        .num_pages = (uint32_t)(MIN_OF(end * WORD_BITS, pages_of(s)) - word * WORD_BITS),
        .dirty_bitmap = clear,
    };
    int r = kvm_vm_ioctl(kvm, KVM_CLEAR_DIRTY_LOG, &log);
    if (r < 0) {
        report_warning_once("accelerator 'kvm': KVM_CLEAR_DIRTY_LOG: %s", strerror(-r));
    }
}

/* Does any client that logs still have the page as written? */
static bool is_marked(const KvmSlot *s, unsigned mask, uint64_t page)
{
    uint64_t offset = s->ram_offset + (page << KVM_PAGE_BITS);
    for (int c = 0; c < DIRTY_CLIENT_COUNT; c++) {
        if ((mask & 1u << c) && ram_block_is_dirty(s->block, offset, KVM_PAGE_SIZE, c)) {
            return true;
        }
    }
    return false;
}

/* With KVM_DIRTY_LOG_INITIALLY_SET a log begins with every page written. Those that our clients
 * know to be clean are protected, so that a slot made anew doesn't bring them all back. */
void kvm_dirty_begin(Kvm *kvm, KvmSlot *s)
{
    unsigned mask = __atomic_load_n(&s->block->log_mask, __ATOMIC_RELAXED);
    uint64_t pages = pages_of(s);

    if (!s->log || !kvm->caps.initially_set || s->id < 0) {
        return;
    }
    g_free(s->reported);
    s->reported = g_new(unsigned long, log_words(s));
    memset(s->reported, 0xff, log_words(s) * sizeof(s->reported[0]));
    for (uint64_t first = 0; first < pages; first++) {
        uint64_t end = first;
        while (end < pages && !is_marked(s, mask, end)) {
            end++;
        }
        if (end > first) {
            protect(kvm, s, first, end - 1);
            first = end;
        }
    }
}

/* A client cleared bits of a block. Any thread. */
static void dirty_cleared(void *opaque, RamBlock *block, uint64_t offset, uint64_t len)
{
    Kvm *kvm = opaque;

    pthread_mutex_lock(&kvm->log_lock);
    for (unsigned i = 0; i < kvm->slots->len; i++) {
        KvmSlot *s = &g_array_index(kvm->slots, KvmSlot, i);
        if (s->block != block || !s->reported || s->id < 0 || offset >= s->ram_offset + s->size ||
            offset + len <= s->ram_offset) {
            continue;
        }
        uint64_t from = MAX_OF(offset, s->ram_offset) - s->ram_offset;
        uint64_t to = MIN_OF(offset + len, s->ram_offset + s->size) - s->ram_offset;
        protect(kvm, s, from >> KVM_PAGE_BITS, (to - 1) >> KVM_PAGE_BITS);
    }
    pthread_mutex_unlock(&kvm->log_lock);
}

/* --- Rings --- */

typedef struct Written {
    uint32_t slot;
    uint64_t page;
} Written;

/* log_lock held. */
static void read_ring(KvmCpu *k, GArray *found)
{
    uint32_t mask = k->kvm->ring_entries - 1;

    for (uint32_t n = 0; n <= mask; n++) {
        struct kvm_dirty_gfn *e = &k->ring[k->ring_next & mask];
        if (__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY) {
            break;
        }
        Written w = { e->slot, e->offset };
        g_array_append_val(found, w);
        __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        k->ring_next++;
    }
}

static void reap_locked(Kvm *kvm)
{
    g_autoptr(GArray) found = g_array_new(false, false, sizeof(Written));

    for (unsigned i = 0; i < kvm->cpus->len; i++) {
        KvmCpu *k = g_ptr_array_index(kvm->cpus, i);
        if (k->ring) {
            read_ring(k, found);
        }
    }
    if (!found->len) {
        return;
    }
    int r = kvm_vm_ioctl(kvm, KVM_RESET_DIRTY_RINGS, NULL);
    if (r < 0) {
        report_warning_once("accelerator 'kvm': KVM_RESET_DIRTY_RINGS: %s", strerror(-r));
    }
    for (unsigned i = 0; i < found->len; i++) {
        const Written *w = &g_array_index(found, Written, i);
        KvmSlot *s = kvm_slot_by_id(kvm, w->slot & 0xffff);
        if (s && w->page < pages_of(s)) {
            mark(s, w->page, 1);
        }
    }
    kvm->ring_reaped += found->len;
}

void kvm_dirty_reap(Kvm *kvm)
{
    pthread_mutex_lock(&kvm->log_lock);
    reap_locked(kvm);
    pthread_mutex_unlock(&kvm->log_lock);
}

bool kvm_dirty_ring_map(KvmCpu *k, Error **errp)
{
    size_t bytes = k->kvm->ring_entries * sizeof(struct kvm_dirty_gfn);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd,
                   (off_t)KVM_DIRTY_LOG_PAGE_OFFSET * getpagesize());
    if (p == MAP_FAILED) {
        error_set_errno(errp, errno, "can't map its dirty ring");
        return false;
    }
    k->ring = p;
    return true;
}

/* --- The listener's part --- */

static void sync_locked(Kvm *kvm, KvmSlot *s)
{
    if (s->id < 0 || !s->log) {
        return;
    }
    if (kvm->ring_entries) {
        reap_locked(kvm);
    } else {
        read_log(kvm, s);
    }
}

void kvm_dirty_sync_slot(Kvm *kvm, KvmSlot *s)
{
    sync_locked(kvm, s);
}

static void log_sync(MemoryListener *l, const MemorySection *section)
{
    Kvm *kvm = CONTAINER_OF(l, Kvm, memory_listener);

    kvm_flush_coalesced(kvm);
    pthread_mutex_lock(&kvm->log_lock);
    for (unsigned i = 0; i < kvm->slots->len; i++) {
        KvmSlot *s = &g_array_index(kvm->slots, KvmSlot, i);
        if (s->gpa < section->addr + section->size && section->addr < s->gpa + s->size) {
            sync_locked(kvm, s);
        }
    }
    pthread_mutex_unlock(&kvm->log_lock);
}

void kvm_dirty_hooks(Kvm *kvm, MemoryListener *l)
{
    l->log_sync = log_sync;
}

void kvm_dirty_listen(Kvm *kvm, bool on)
{
    const MemoryCodeHooks hooks = { .dirty_cleared = dirty_cleared, .opaque = kvm };
    memory_set_code_hooks(on ? &hooks : NULL);
}
