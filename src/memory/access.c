/*
 * Accesses: one lookup, then RAM directly or a device through its contract.
 *
 * Lookups run in an RCU read section. A device that needs the machine lock is not called from
 * there (readers must not wait for that lock): the lock is taken outside of the section and the
 * lookup done again, now with a view that can't change.
 */
#include "memory/memory.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "event/lock.h"
#include "memory/memory-internal.h"

#define ACCESS_MAX       8  /* bytes of one access */
#define IMPL_MAX_DEFAULT 4  /* bytes */
#define IOMMU_DEPTH_MAX  16 /* deeper is a loop */

/* Where an address leads. range NULL: nothing there, or the IOMMU refuses. */
typedef struct Target {
    const FlatRange *range;
    hwaddr offset;   /* in range->mr */
    uint64_t length; /* bytes for which this holds, at most what was asked for */
    bool refused;    /* by an IOMMU */
} Target;

static uint64_t clip_length(uint64_t len, hwaddr addr, hwaddr last)
{
    uint64_t room = last - addr; /* bytes less 1 */
    return len - 1 > room ? room + 1 : len;
}

/* In an RCU read section, or with the machine lock held. len > 0. */
static Target find_target(AddressSpace *as, hwaddr addr, uint64_t len, bool is_write,
                          MemTxAttrs attrs)
{
    for (int depth = 0; depth < IOMMU_DEPTH_MAX; depth++) {
        const FlatView *view = rcu_load(&as->view);
        hwaddr next;
        const FlatRange *r = flat_view_find(view, addr, &next);
        if (UNLIKELY(!r)) {
            len = clip_length(len, addr, next > addr ? next - 1 : UINT64_MAX);
            return (Target){ .length = len };
        }
        len = clip_length(len, addr, r->last);
        hwaddr offset = r->offset + (addr - r->start);
        if (LIKELY(r->mr->kind != REGION_IOMMU)) {
            return (Target){ .range = r, .offset = offset, .length = len };
        }
        IommuAccess access = is_write ? IOMMU_WRITE : IOMMU_READ;
        IommuEntry e = r->mr->iommu->ops->translate(r->mr->opaque, offset, access, attrs);
        len = clip_length(len, offset, offset | e.mask);
        if (!(e.access & access)) {
            return (Target){ .length = len, .refused = true };
        }
        addr = (e.translated & ~e.mask) | (offset & e.mask);
        as = e.target;
    }
    log_guest_error("address space '%s': IOMMU translations go round in a circle\n", as->name);
    return (Target){ .length = len, .refused = true };
}

/* The host address for a direct access, or NULL. */
static uint8_t *direct_host(const Target *t, bool is_write)
{
    const FlatRange *r = t->range;
    if (!r || !r->block) {
        return NULL;
    }
    if (r->mr->kind == REGION_RAM ? is_write && r->readonly : is_write || !r->romd) {
        return NULL;
    }
    return r->block->host + t->offset;
}

/* --- Devices --- */

static unsigned valid_min(const MemoryRegionOps *ops)
{
    return ops->valid.min ? ops->valid.min : 1;
}

static unsigned valid_max(const MemoryRegionOps *ops)
{
    return ops->valid.max ? ops->valid.max : ACCESS_MAX;
}

static bool access_valid(MemoryRegion *mr, hwaddr offset, unsigned size, bool is_write,
                         MemTxAttrs attrs)
{
    const MemoryRegionOps *ops = mr->ops;
    const char *why = NULL;

    if (size < valid_min(ops) || size > valid_max(ops)) {
        why = "size";
    } else if (!ops->valid.unaligned && (offset & (size - 1))) {
        why = "alignment";
    } else if (ops->valid.accepts &&
               !ops->valid.accepts(mr->opaque, offset, size, is_write, attrs)) {
        why = "device";
    }
    if (why) {
        log_guest_error("region '%s': %u-byte %s at 0x%" PRIx64 " refused (%s)\n", mr->name, size,
                        is_write ? "write" : "read", offset, why);
    }
    return !why;
}

static MemTxResult call_read(MemoryRegion *mr, hwaddr offset, uint64_t *value, unsigned size,
                             MemTxAttrs attrs)
{
    const MemoryRegionOps *ops = mr->ops;
    if (ops->read_attrs) {
        return ops->read_attrs(mr->opaque, offset, value, size, attrs);
    }
    if (!ops->read) {
        *value = UINT64_MAX;
        return MEMTX_ERROR;
    }
    *value = ops->read(mr->opaque, offset, size);
    return MEMTX_OK;
}

static MemTxResult call_write(MemoryRegion *mr, hwaddr offset, uint64_t value, unsigned size,
                              MemTxAttrs attrs)
{
    const MemoryRegionOps *ops = mr->ops;
    if (ops->write_attrs) {
        return ops->write_attrs(mr->opaque, offset, value, size, attrs);
    }
    if (!ops->write) {
        return MEMTX_ERROR;
    }
    ops->write(mr->opaque, offset, value, size);
    return MEMTX_OK;
}

static uint64_t swap_bytes(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

static uint64_t size_mask(unsigned size)
{
    return UINT64_MAX >> (64 - 8 * size);
}

/* The device's integer ↔ the bytes at rising addresses. */
static uint64_t from_device(const MemoryRegionOps *ops, uint64_t value, unsigned size)
{
    value &= size_mask(size);
    return ops->endian == DEVICE_BIG_ENDIAN ? swap_bytes(value, size) : value;
}

/* One call of the device's functions for `size` bytes, widened if that is less than it knows. */
static MemTxResult access_piece(MemoryRegion *mr, hwaddr offset, uint8_t *bytes, unsigned size,
                                bool is_write, MemTxAttrs attrs)
{
    const MemoryRegionOps *ops = mr->ops;
    unsigned min = ops->impl.min ? ops->impl.min : 1;
    uint8_t wide[ACCESS_MAX];
    uint8_t *data = bytes;
    MemTxResult result = MEMTX_OK;
    uint64_t value = 0;
    unsigned lane = 0;

    if (UNLIKELY(size < min)) {
        lane = offset & (min - 1);
        offset -= lane;
        data = wide;
    }
    unsigned width = MAX_OF(size, min);
    if (!is_write || data == wide) {
        result = call_read(mr, offset, &value, width, attrs);
        stn_le(data, width, from_device(ops, value, width));
    }
    if (data == wide) {
        memcpy(is_write ? wide + lane : bytes, is_write ? bytes : wide + lane, size);
    }
    if (is_write) {
        result |=
            call_write(mr, offset, from_device(ops, ldn_le(data, width), width), width, attrs);
    }
    return result;
}

/* Cut one access (1 to 8 bytes) into pieces that the device implements. */
static MemTxResult access_device(MemoryRegion *mr, hwaddr offset, uint64_t *value, unsigned size,
                                 bool is_write, MemTxAttrs attrs)
{
    const MemoryRegionOps *ops = mr->ops;
    unsigned min = ops->impl.min ? ops->impl.min : 1;
    unsigned max = ops->impl.max ? ops->impl.max : MAX_OF(min, IMPL_MAX_DEFAULT);
    uint8_t bytes[ACCESS_MAX];
    MemTxResult result = MEMTX_OK;

    if (is_write) {
        stn_le(bytes, size, *value);
    }
    for (unsigned at = 0; at < size;) {
        unsigned piece = MIN_OF(size - at, max);
        if (!ops->impl.unaligned && offset + at) {
            uint64_t align = (offset + at) & -(offset + at);
            piece = (unsigned)MIN_OF((uint64_t)piece, align);
        }
        piece = 1u << (31 - __builtin_clz(piece)); /* a power of two */
        if (UNLIKELY(piece < min)) {
            /* Widened ones stay in their lane. */
            piece = MIN_OF(size - at, min - (unsigned)((offset + at) & (min - 1)));
        }
        result |= access_piece(mr, offset + at, bytes + at, piece, is_write, attrs);
        at += piece;
    }
    if (!is_write) {
        *value = ldn_le(bytes, size);
    }
    return result;
}

static void flush_coalesced(void)
{
    if (memory_core.coalesced_flush && !memory_core.flushing) {
        memory_core.flushing = true;
        memory_core.coalesced_flush(memory_core.coalesced_opaque);
        memory_core.flushing = false;
    }
}

void memory_set_coalesced_flush(void (*flush)(void *opaque), void *opaque)
{
    ASSERT_MACHINE_LOCKED();
    memory_core.coalesced_flush = flush;
    memory_core.coalesced_opaque = opaque;
}

/* RAM behind a region pointer: a small copy, atomic when aligned. */
static uint64_t load_host(const uint8_t *host, unsigned size)
{
    if (IS_ALIGNED((uintptr_t)host, size)) {
        switch (size) {
        case 1:
            return __atomic_load_n(host, __ATOMIC_RELAXED);
        case 2:
            return le16toh(__atomic_load_n((const uint16_t *)host, __ATOMIC_RELAXED));
        case 4:
            return le32toh(__atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED));
        case 8:
            return le64toh(__atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED));
        }
    }
    return ldn_le(host, size);
}

static void store_host(uint8_t *host, unsigned size, uint64_t value)
{
    if (IS_ALIGNED((uintptr_t)host, size)) {
        switch (size) {
        case 1:
            __atomic_store_n(host, (uint8_t)value, __ATOMIC_RELAXED);
            return;
        case 2:
            __atomic_store_n((uint16_t *)host, htole16((uint16_t)value), __ATOMIC_RELAXED);
            return;
        case 4:
            __atomic_store_n((uint32_t *)host, htole32((uint32_t)value), __ATOMIC_RELAXED);
            return;
        case 8:
            __atomic_store_n((uint64_t *)host, htole64(value), __ATOMIC_RELAXED);
            return;
        }
    }
    stn_le(host, size, value);
}

MemTxResult memory_region_dispatch_read(MemoryRegion *mr, hwaddr offset, uint64_t *value,
                                        unsigned size, MemTxAttrs attrs)
{
    MemTxResult result;

    *value = size_mask(size);
    if (memory_region_is_ram(mr)) {
        if (offset > mr->ram->size - size) {
            return MEMTX_DECODE_ERROR;
        }
        *value = load_host(mr->ram->host + offset, size);
        return MEMTX_OK;
    }
    if (!mr->ops) {
        return MEMTX_DECODE_ERROR;
    }
    if (!access_valid(mr, offset, size, false, attrs)) {
        return MEMTX_ERROR;
    }
    if (mr->lockless) {
        return access_device(mr, offset, value, size, false, attrs);
    }
    MACHINE_LOCKED();
    flush_coalesced();
    result = access_device(mr, offset, value, size, false, attrs);
    return result;
}

MemTxResult memory_region_dispatch_write(MemoryRegion *mr, hwaddr offset, uint64_t value,
                                         unsigned size, MemTxAttrs attrs)
{
    value &= size_mask(size);
    if (mr->kind == REGION_RAM) {
        if (mr->readonly) {
            return MEMTX_ERROR;
        }
        if (offset > mr->ram->size - size) {
            return MEMTX_DECODE_ERROR;
        }
        store_host(mr->ram->host + offset, size, value);
        ram_block_mark_dirty(mr->ram, offset, size);
        return MEMTX_OK;
    }
    if (!mr->ops) {
        return MEMTX_DECODE_ERROR;
    }
    if (!access_valid(mr, offset, size, true, attrs)) {
        return MEMTX_ERROR;
    }
    if (rcu_load(&mr->eventfds) && memory_region_ring_eventfd(mr, offset, value, size)) {
        return MEMTX_OK;
    }
    if (mr->lockless) {
        return access_device(mr, offset, &value, size, true, attrs);
    }
    MACHINE_LOCKED();
    flush_coalesced();
    return access_device(mr, offset, &value, size, true, attrs);
}

/* How much of a bulk transfer one access can take. */
static unsigned device_piece(const MemoryRegion *mr, hwaddr offset, uint64_t len)
{
    unsigned max = mr->ops ? valid_max(mr->ops) : ACCESS_MAX;
    if ((!mr->ops || !mr->ops->valid.unaligned) && offset) {
        max = (unsigned)MIN_OF((uint64_t)max, offset & -offset);
    }
    max = (unsigned)MIN_OF((uint64_t)max, len);
    return 1u << (31 - __builtin_clz(max));
}

/* --- Address spaces --- */

enum { COPY_READ, COPY_WRITE, COPY_WRITE_ROM };

/* One step of a copy: at least one byte. need_lock: nothing was done, the machine lock is wanted.
 */
static uint64_t copy_step(AddressSpace *as, hwaddr addr, MemTxAttrs attrs, uint8_t *buf,
                          uint64_t len, int what, MemTxResult *result, bool *need_lock)
{
    bool is_write = what != COPY_READ;
    MemoryRegion *mr;
    Target t;
    bool locked = machine_locked();

    {
        RCU_SECTION();
        t = find_target(as, addr, len, is_write, attrs);
        uint8_t *host = direct_host(&t, is_write);
        if (!host && what == COPY_WRITE_ROM && t.range && t.range->block &&
            !t.range->block->readonly) {
            host = t.range->block->host + t.offset;
        }
        if (host && is_write) {
            memcpy(host, buf, t.length);
            ram_block_mark_dirty(t.range->block, t.offset, t.length);
            return t.length;
        }
        if (host) {
            memcpy(buf, host, t.length);
            return t.length;
        }
        if (!t.range || what == COPY_WRITE_ROM) {
            if (!is_write) {
                memset(buf, 0xff, t.length);
            }
            if (what != COPY_WRITE_ROM) {
                log_guest_error("Invalid %s at address 0x%" PRIx64 ", %" PRIu64 " bytes: %s\n",
                                is_write ? "write" : "read", addr, t.length,
                                t.refused ? "refused" : "nothing is there");
                *result |= t.refused ? MEMTX_ERROR : MEMTX_DECODE_ERROR;
            }
            return t.length;
        }
        mr = t.range->mr;
        if (is_write && mr->kind == REGION_RAM && t.range->readonly) {
            /* Read-only by an alias on the way: the region itself doesn't know. */
            *result |= MEMTX_ERROR;
            return t.length;
        }
        unsigned size = device_piece(mr, t.offset, t.length);
        uint64_t value = is_write ? ldn_le(buf, size) : 0;
        if (!locked && is_write && rcu_load(&mr->eventfds) && size >= valid_min(mr->ops) &&
            memory_region_ring_eventfd(mr, t.offset, value, size)) {
            return size;
        }
        if (mr->lockless || !mr->ops) {
            *result |= is_write ? memory_region_dispatch_write(mr, t.offset, value, size, attrs)
                                : memory_region_dispatch_read(mr, t.offset, &value, size, attrs);
            if (!is_write) {
                stn_le(buf, size, value);
            }
            return size;
        }
        t.length = size;
    }
    if (!locked) {
        *need_lock = true;
        return 0;
    }
    unsigned size = (unsigned)t.length;
    uint64_t value = is_write ? ldn_le(buf, size) : 0;
    *result |= is_write ? memory_region_dispatch_write(mr, t.offset, value, size, attrs)
                        : memory_region_dispatch_read(mr, t.offset, &value, size, attrs);
    if (!is_write) {
        stn_le(buf, size, value);
    }
    return size;
}

static MemTxResult copy(AddressSpace *as, hwaddr addr, MemTxAttrs attrs, uint8_t *buf, uint64_t len,
                        int what)
{
    MemTxResult result = MEMTX_OK;
    bool locked = false;

    while (len) {
        bool need_lock = false;
        uint64_t n = copy_step(as, addr, attrs, buf, len, what, &result, &need_lock);
        if (need_lock) {
            machine_lock();
            locked = true;
        }
        addr += n;
        buf += n;
        len -= n;
    }
    if (locked) {
        machine_unlock();
    }
    return result;
}

MemTxResult address_space_read(AddressSpace *as, hwaddr addr, MemTxAttrs attrs, void *buf,
                               uint64_t len)
{
    return copy(as, addr, attrs, buf, len, COPY_READ);
}

MemTxResult address_space_write(AddressSpace *as, hwaddr addr, MemTxAttrs attrs, const void *buf,
                                uint64_t len)
{
    return copy(as, addr, attrs, (uint8_t *)buf, len, COPY_WRITE);
}

MemTxResult address_space_write_rom(AddressSpace *as, hwaddr addr, const void *buf, uint64_t len)
{
    return copy(as, addr, MEMTXATTRS_UNSPECIFIED, (uint8_t *)buf, len, COPY_WRITE_ROM);
}

MemTxResult address_space_load(AddressSpace *as, hwaddr addr, unsigned size, MemTxAttrs attrs,
                               uint64_t *value)
{
    uint8_t bytes[ACCESS_MAX];

    assert(size <= ACCESS_MAX && is_power_of_two(size));
    {
        RCU_SECTION();
        Target t = find_target(as, addr, size, false, attrs);
        const uint8_t *host = direct_host(&t, false);
        if (host && t.length == size) {
            *value = load_host(host, size);
            return MEMTX_OK;
        }
    }
    MemTxResult result = address_space_read(as, addr, attrs, bytes, size);
    *value = ldn_le(bytes, size);
    return result;
}

MemTxResult address_space_store(AddressSpace *as, hwaddr addr, unsigned size, MemTxAttrs attrs,
                                uint64_t value)
{
    uint8_t bytes[ACCESS_MAX];

    assert(size <= ACCESS_MAX && is_power_of_two(size));
    {
        RCU_SECTION();
        Target t = find_target(as, addr, size, true, attrs);
        uint8_t *host = direct_host(&t, true);
        if (host && t.length == size) {
            store_host(host, size, value);
            ram_block_mark_dirty(t.range->block, t.offset, size);
            return MEMTX_OK;
        }
    }
    stn_le(bytes, size, value);
    return address_space_write(as, addr, attrs, bytes, size);
}

bool address_space_access_valid(AddressSpace *as, hwaddr addr, uint64_t len, bool is_write,
                                MemTxAttrs attrs)
{
    RCU_SECTION();
    while (len) {
        Target t = find_target(as, addr, len, is_write, attrs);
        if (!direct_host(&t, is_write)) {
            if (!t.range || !t.range->mr->ops) {
                return false;
            }
            t.length = device_piece(t.range->mr, t.offset, t.length);
            if (!access_valid(t.range->mr, t.offset, (unsigned)t.length, is_write, attrs)) {
                return false;
            }
        }
        addr += t.length;
        len -= t.length;
    }
    return true;
}

MemoryMapping address_space_translate(AddressSpace *as, hwaddr addr, uint64_t len, bool is_write,
                                      MemTxAttrs attrs)
{
    Target t = find_target(as, addr, MAX_OF(len, 1), is_write, attrs);
    MemoryMapping m = { .length = t.length };
    const FlatRange *r = t.range;

    if (r) {
        m.mr = r->mr;
        m.offset = t.offset;
        m.readonly = r->readonly || r->mr->kind != REGION_RAM;
        m.host = direct_host(&t, is_write);
        m.block = m.host ? r->block : NULL;
        m.ram_offset = m.host ? t.offset : 0;
    }
    return m;
}

bool address_space_iommu_entry(AddressSpace *as, hwaddr addr, bool is_write, MemTxAttrs attrs,
                               IommuEntry *entry)
{
    RCU_SECTION();
    const FlatRange *r = flat_view_find(rcu_load(&as->view), addr, NULL);
    if (!r || r->mr->kind != REGION_IOMMU) {
        return false;
    }
    hwaddr offset = r->offset + (addr - r->start);
    *entry = r->mr->iommu->ops->translate(r->mr->opaque, offset,
                                          is_write ? IOMMU_WRITE : IOMMU_READ, attrs);
    return true;
}

/* --- Mappings --- */

void *address_space_map(AddressSpace *as, hwaddr addr, uint64_t *len, bool is_write,
                        MemTxAttrs attrs)
{
    if (!*len) {
        return NULL;
    }
    RCU_SECTION();
    Target t = find_target(as, addr, *len, is_write, attrs);
    uint8_t *host = direct_host(&t, is_write);
    uint64_t done = t.length;

    if (!host) {
        *len = 0;
        return NULL;
    }
    /* Further pieces (IOMMU pages, split ranges) as long as they follow in the same block. */
    while (done < *len) {
        Target n = find_target(as, addr + done, *len - done, is_write, attrs);
        if (direct_host(&n, is_write) != host + done || n.range->block != t.range->block) {
            break;
        }
        done += n.length;
    }
    *len = done;
    ram_block_ref(t.range->block);
    return host;
}

void address_space_unmap(AddressSpace *as, void *host, uint64_t len, bool is_write,
                         uint64_t written)
{
    uint64_t offset;
    RamBlock *block = ram_block_from_host(host, &offset);

    assert(block); /* the mapping keeps it alive */
    if (is_write && written) {
        ram_block_mark_dirty(block, offset, MIN_OF(written, len));
    }
    ram_block_unref(block);
}

bool memory_cache_init(MemoryCache *cache, AddressSpace *as, hwaddr addr, uint64_t len,
                       bool is_write, MemTxAttrs attrs)
{
    uint64_t got = len;
    uint8_t *host = address_space_map(as, addr, &got, is_write, attrs);

    *cache = (MemoryCache){ 0 };
    if (!host) {
        return false;
    }
    if (got < len) {
        address_space_unmap(as, host, got, is_write, 0);
        return false;
    }
    cache->host = host;
    cache->block = ram_block_from_host(host, &cache->ram_offset);
    cache->len = len;
    cache->writable = is_write;
    return true;
}

void memory_cache_finish(MemoryCache *cache)
{
    ram_block_unref(cache->block);
    *cache = (MemoryCache){ 0 };
}

void memory_cache_written(MemoryCache *cache, uint64_t offset, uint64_t len)
{
    assert(cache->writable && offset <= cache->len && len <= cache->len - offset);
    ram_block_mark_dirty(cache->block, cache->ram_offset + offset, len);
}
