/*
 * Guest memory: the kernel's memory slots follow the flat view. A transaction collects the ranges
 * that show RAM, joins neighbours, and at its end takes away the slots that are gone or different
 * and makes the new ones, while no vCPU runs guest code: it would see memory missing in between.
 *
 * A slot is made of whole 4 KiB pages. What of a range isn't, and what doesn't fit into the
 * kernel's number of slots, is reached by exits: slower, and no code can run there.
 *
 * Also here: coalesced writes, which the kernel queues, and ioeventfds.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "accel/kvm/kvm-internal.h"
#include "base/fault.h"
#include "base/report.h"
#include "event/lock.h"

/* --- The kernel's slots --- */

static int take_id(Kvm *kvm)
{
    for (int i = 0; i < kvm->caps.memory_slots; i++) {
        if (!kvm->slot_ids[i]) {
            kvm->slot_ids[i] = 1;
            kvm->slots_used++;
            return i;
        }
    }
    return -1;
}

static int set_slot(Kvm *kvm, const KvmSlot *s, bool log, uint64_t size)
{
    struct kvm_userspace_memory_region r = {
        .slot = (uint32_t)s->id,
        .flags = (log ? KVM_MEM_LOG_DIRTY_PAGES : 0) | (s->readonly ? KVM_MEM_READONLY : 0),
        .guest_phys_addr = s->gpa,
        .memory_size = size,
        .userspace_addr = (uintptr_t)s->host,
    };
    return FAULT("memory slot", NULL) ? -ENOMEM : kvm_vm_ioctl(kvm, KVM_SET_USER_MEMORY_REGION, &r);
}

static void remove_slot(Kvm *kvm, KvmSlot *s)
{
    if (s->id < 0) {
        return;
    }
    int r = set_slot(kvm, s, false, 0);
    if (r < 0) {
        report_warning_once("accelerator 'kvm': a memory slot can't be removed: %s", strerror(-r));
    }
    kvm->slot_ids[s->id] = 0;
    kvm->slots_used--;
    s->id = -1;
}

static void make_slot(Kvm *kvm, KvmSlot *s)
{
    s->id = take_id(kvm);
    if (s->id < 0) {
        if (!kvm->out_of_slots) {
            report_warning(
                "accelerator 'kvm': all %d memory slots of the kernel are in use; memory "
                "at 0x%" PRIx64 " is reached by exits, and code can't run there",
                kvm->caps.memory_slots, s->gpa);
        }
        kvm->out_of_slots = true;
        return;
    }
    int r = set_slot(kvm, s, s->log, s->size);
    if (r < 0) {
        report_error("accelerator 'kvm': the kernel refuses memory at 0x%" PRIx64
                     ", size 0x%" PRIx64 ": %s; it is reached by exits, and code can't run there",
                     s->gpa, s->size, strerror(-r));
        kvm->slot_ids[s->id] = 0;
        kvm->slots_used--;
        s->id = -1;
        return;
    }
    kvm->total_slots++;
    kvm_dirty_begin(kvm, s);
}

KvmSlot *kvm_slot_by_id(Kvm *kvm, unsigned id)
{
    for (unsigned i = 0; i < kvm->slots->len; i++) {
        KvmSlot *s = &g_array_index(kvm->slots, KvmSlot, i);
        if (s->id == (int)id) {
            return s;
        }
    }
    return NULL;
}

/* --- Collecting --- */

static Kvm *of_memory(MemoryListener *l)
{
    return CONTAINER_OF(l, Kvm, memory_listener);
}

static void clear_slots(GArray *slots)
{
    for (unsigned i = 0; i < slots->len; i++) {
        KvmSlot *s = &g_array_index(slots, KvmSlot, i);
        ram_block_unref(s->block);
        g_free(s->reported);
    }
    g_array_set_size(slots, 0);
}

static void memory_begin_listening(MemoryListener *l)
{
    clear_slots(of_memory(l)->next);
}

static bool must_log(const RamBlock *block)
{
    return __atomic_load_n(&block->log_mask, __ATOMIC_RELAXED) != 0;
}

/* Does b go on where a ends, in guest and host? */
static bool joins(const KvmSlot *a, const KvmSlot *b)
{
    return a->block == b->block && a->gpa + a->size == b->gpa &&
           a->ram_offset + a->size == b->ram_offset && a->readonly == b->readonly &&
           a->log == b->log;
}

static void collect(MemoryListener *l, const MemorySection *section)
{
    Kvm *kvm = of_memory(l);
    RamBlock *block = memory_region_ram_block(section->mr);

    if (!block || !memory_region_is_ram(section->mr)) {
        return;
    }
    /* Without read-only slots ROM is read by exits, so that writes can be told apart. */
    bool readonly = section->readonly || memory_region_is_rom(section->mr);
    if (readonly && !kvm->caps.readonly_memory) {
        report_warning_once("accelerator 'kvm': the kernel has no read-only memory; ROM is reached "
                            "by exits, and firmware can't run");
        return;
    }
    uint64_t start = ALIGN_UP(section->addr, KVM_PAGE_SIZE), skip = start - section->addr;
    if (skip >= section->size) {
        return;
    }
    uint64_t size = (section->size - skip) & ~(KVM_PAGE_SIZE - 1);
    uint64_t ram_offset = section->offset_in_region + skip;
    size = ram_offset < block->size ? MIN_OF(size, block->size - ram_offset) : 0;
    size &= ~(KVM_PAGE_SIZE - 1);
    /* Guest and host pages must begin together. */
    if (!size || (uintptr_t)(block->host + ram_offset) % KVM_PAGE_SIZE) {
        return;
    }
    KvmSlot s = {
        .gpa = start,
        .size = size,
        .host = block->host + ram_offset,
        .block = block,
        .ram_offset = ram_offset,
        .readonly = readonly,
        .log = must_log(block),
        .id = -1,
    };
    ram_block_ref(block);
    g_array_append_val(kvm->next, s);
}

static int by_address(const void *va, const void *vb)
{
    const KvmSlot *a = va, *b = vb;
    return a->gpa < b->gpa ? -1 : a->gpa > b->gpa;
}

static void join_neighbours(GArray *slots)
{
    unsigned n = 0;
    g_array_sort(slots, by_address);
    for (unsigned i = 0; i < slots->len; i++) {
        KvmSlot *s = &g_array_index(slots, KvmSlot, i);
        KvmSlot *last = n ? &g_array_index(slots, KvmSlot, n - 1) : NULL;
        if (last && joins(last, s)) {
            last->size += s->size;
            ram_block_unref(s->block);
        } else {
            g_array_index(slots, KvmSlot, n++) = *s;
        }
    }
    g_array_set_size(slots, n);
}

static bool same_place(const KvmSlot *a, const KvmSlot *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
           a->readonly == b->readonly;
}

static KvmSlot *find_same(GArray *slots, const KvmSlot *s)
{
    for (unsigned i = 0; i < slots->len; i++) {
        KvmSlot *other = &g_array_index(slots, KvmSlot, i);
        if (same_place(other, s)) {
            return other;
        }
    }
    return NULL;
}

/* Old slots hand their numbers to the new ones that stay as they are. True: others changed. */
static bool inherit_ids(GArray *old, GArray *next)
{
    bool change = false;
    for (unsigned i = 0; i < next->len; i++) {
        KvmSlot *s = &g_array_index(next, KvmSlot, i);
        KvmSlot *same = find_same(old, s);
        if (same && same->id >= 0) {
            s->id = same->id;
            change |= s->log != same->log;
        } else {
            change = true;
        }
    }
    for (unsigned i = 0; i < old->len; i++) {
        const KvmSlot *o = &g_array_index(old, KvmSlot, i);
        change |= o->id >= 0 && !find_same(next, o);
    }
    return change;
}

static void change_log(Kvm *kvm, KvmSlot *old, KvmSlot *s)
{
    if (old->log && !s->log) {
        kvm_dirty_sync_slot(kvm, old);
    }
    int r = set_slot(kvm, s, s->log, s->size);
    if (r < 0) {
        report_error("accelerator 'kvm': dirty logging at 0x%" PRIx64 ": %s", s->gpa, strerror(-r));
        s->log = old->log;
        return;
    }
    kvm_dirty_begin(kvm, s);
}

/* What the kernel said of pages of slots that stay. */
static void keep_reports(GArray *old, GArray *next)
{
    for (unsigned i = 0; i < next->len; i++) {
        KvmSlot *s = &g_array_index(next, KvmSlot, i);
        KvmSlot *same = find_same(old, s);
        if (same && same->id == s->id && s->log && !s->reported) {
            s->reported = g_steal_pointer(&same->reported);
        }
    }
}

static void memory_committed(MemoryListener *l)
{
    Kvm *kvm = of_memory(l);
    GArray *old = kvm->slots, *next = kvm->next;

    join_neighbours(next);
    bool change = inherit_ids(old, next);
    if (change) {
        kvm_inhibit(kvm);
    }
    pthread_mutex_lock(&kvm->log_lock);
    if (change) {
        for (unsigned i = 0; i < old->len; i++) {
            KvmSlot *o = &g_array_index(old, KvmSlot, i);
            if (o->id >= 0 && !find_same(next, o)) {
                if (o->log) {
                    kvm_dirty_sync_slot(kvm, o);
                }
                remove_slot(kvm, o);
            }
        }
        for (unsigned i = 0; i < next->len; i++) {
            KvmSlot *s = &g_array_index(next, KvmSlot, i);
            if (s->id < 0) {
                make_slot(kvm, s);
            } else {
                KvmSlot *o = find_same(old, s);
                if (o->log != s->log) {
                    change_log(kvm, o, s);
                }
            }
        }
    }
    keep_reports(old, next);
    kvm->slots = next;
    kvm->next = old;
    pthread_mutex_unlock(&kvm->log_lock);
    if (change) {
        kvm_allow(kvm);
    }
    clear_slots(old);
}

/* --- Coalesced writes --- */

void kvm_flush_coalesced(Kvm *kvm)
{
    ASSERT_MACHINE_LOCKED();
    KvmCpu *k = kvm->cpus->len ? g_ptr_array_index(kvm->cpus, 0) : NULL;
    struct kvm_coalesced_mmio_ring *ring = k ? k->coalesced : NULL; /* one for all vCPUs */

    if (!ring || kvm->flushing) {
        return;
    }
    const uint32_t max = (uint32_t)((4096 - sizeof(*ring)) / sizeof(ring->coalesced_mmio[0]));
    kvm->flushing = true;
    for (;;) {
        uint32_t first = ring->first % max;
        if (first == __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE) % max) {
            break;
        }
        const struct kvm_coalesced_mmio *e = &ring->coalesced_mmio[first];
        Cpu *cpu = &k->cpu->parent;
        address_space_write(e->pio ? cpu->io : cpu->memory, e->phys_addr, MEMTXATTRS_UNSPECIFIED,
                            e->data, MIN_OF(e->len, sizeof(e->data)));
        __atomic_store_n(&ring->first, (first + 1) % max, __ATOMIC_RELEASE);
    }
    kvm->flushing = false;
}

static void flush_hook(void *opaque)
{
    kvm_flush_coalesced(opaque);
}

static void set_zone(Kvm *kvm, hwaddr addr, uint64_t len, bool pio, bool add)
{
    struct kvm_coalesced_mmio_zone zone = { .addr = addr, .size = (uint32_t)len, .pio = pio };

    if (!kvm->caps.coalesced_page || (pio && !kvm->caps.coalesced_pio) || len > UINT32_MAX) {
        return; /* writes come one by one */
    }
    int r =
        kvm_vm_ioctl(kvm, add ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &zone);
    if (r < 0 && add) {
        report_warning_once("accelerator 'kvm': writes at 0x%" PRIx64 " can't be coalesced: %s",
                            addr, strerror(-r));
    }
}

static void memory_coalesced_add(MemoryListener *l, const MemorySection *s, hwaddr a, uint64_t len)
{
    set_zone(of_memory(l), a, len, false, true);
}

static void memory_coalesced_del(MemoryListener *l, const MemorySection *s, hwaddr a, uint64_t len)
{
    kvm_flush_coalesced(of_memory(l));
    set_zone(of_memory(l), a, len, false, false);
}

static Kvm *of_io(MemoryListener *l)
{
    return CONTAINER_OF(l, Kvm, io_listener);
}

static void io_coalesced_add(MemoryListener *l, const MemorySection *s, hwaddr a, uint64_t len)
{
    set_zone(of_io(l), a, len, true, true);
}

static void io_coalesced_del(MemoryListener *l, const MemorySection *s, hwaddr a, uint64_t len)
{
    kvm_flush_coalesced(of_io(l));
    set_zone(of_io(l), a, len, true, false);
}

/* --- ioeventfds: a refused one is rung by the memory core at the exit --- */

static void set_ioeventfd(Kvm *kvm, const MemorySection *s, bool match, uint64_t data,
                          EventNotifier *e, bool pio, bool add)
{
    struct kvm_ioeventfd io = {
        .addr = s->addr,
        .len = s->size > 8 ? 0 : (uint32_t)s->size, /* 0: any size */
        .datamatch = match ? data : 0,
        .fd = e->fd,
        .flags = (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) | (pio ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    if (!kvm->caps.ioeventfd || (!io.len && !kvm->caps.ioeventfd_any_length)) {
        return;
    }
    int r = kvm_vm_ioctl(kvm, KVM_IOEVENTFD, &io);
    if (r < 0 && add) {
        report_warning_once("accelerator 'kvm': an ioeventfd at 0x%" PRIx64
                            " is refused (%s); it is rung from here, which is slower",
                            s->addr, strerror(-r));
    }
}

static void memory_eventfd_add(MemoryListener *l, const MemorySection *s, bool match, uint64_t data,
                               EventNotifier *e)
{
    set_ioeventfd(of_memory(l), s, match, data, e, false, true);
}

static void memory_eventfd_del(MemoryListener *l, const MemorySection *s, bool match, uint64_t data,
                               EventNotifier *e)
{
    set_ioeventfd(of_memory(l), s, match, data, e, false, false);
}

static void io_eventfd_add(MemoryListener *l, const MemorySection *s, bool match, uint64_t data,
                           EventNotifier *e)
{
    set_ioeventfd(of_io(l), s, match, data, e, true, true);
}

static void io_eventfd_del(MemoryListener *l, const MemorySection *s, bool match, uint64_t data,
                           EventNotifier *e)
{
    set_ioeventfd(of_io(l), s, match, data, e, true, false);
}

/* --- Life --- */

void kvm_memory_init(Kvm *kvm)
{
    kvm->slots = g_array_new(false, false, sizeof(KvmSlot));
    kvm->next = g_array_new(false, false, sizeof(KvmSlot));
    kvm->slot_ids = g_malloc0((size_t)kvm->caps.memory_slots);
    kvm->memory_listener = (MemoryListener){
        .name = "kvm-memory",
        .begin = memory_begin_listening,
        .commit = memory_committed,
        .region_add = collect,
        .region_nop = collect,
        .eventfd_add = memory_eventfd_add,
        .eventfd_del = memory_eventfd_del,
        .coalesced_add = memory_coalesced_add,
        .coalesced_del = memory_coalesced_del,
    };
    kvm_dirty_hooks(kvm, &kvm->memory_listener);
    kvm->io_listener = (MemoryListener){
        .name = "kvm-io",
        .eventfd_add = io_eventfd_add,
        .eventfd_del = io_eventfd_del,
        .coalesced_add = io_coalesced_add,
        .coalesced_del = io_coalesced_del,
    };
}

void kvm_memory_listen(Kvm *kvm, Cpu *cpu)
{
    memory_set_coalesced_flush(flush_hook, kvm);
    kvm_dirty_listen(kvm, true);
    memory_listener_add(&kvm->memory_listener, cpu->memory);
    memory_listener_add(&kvm->io_listener, cpu->io);
    kvm->listening = true;
}

/* The slots go with the VM; the blocks can't wait for that. */
void kvm_memory_unlisten(Kvm *kvm)
{
    if (!kvm->listening) {
        return;
    }
    memory_set_coalesced_flush(NULL, NULL);
    kvm_dirty_listen(kvm, false);
    memory_listener_del(&kvm->io_listener);
    memory_listener_del(&kvm->memory_listener);
    kvm->listening = false;
}

void kvm_memory_finish(Kvm *kvm)
{
    kvm_memory_unlisten(kvm);
    if (kvm->slots) {
        g_array_free(kvm->slots, TRUE);
        g_array_free(kvm->next, TRUE);
        g_free(kvm->slot_ids);
    }
}
