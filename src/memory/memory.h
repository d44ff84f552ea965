/*
 * Guest memory: regions, address spaces, flat views, listeners.
 *
 * Regions form a tree (containers, aliases, priorities). An address space renders its root region
 * into a flat view: sorted, non-overlapping ranges. Changes are batched between memory_begin() and
 * memory_commit(); the commit renders new views, tells the listeners the differences, and publishes
 * the views by RCU. Tree and listeners are changed with the machine lock held; lookups and accesses
 * run in any thread.
 *
 * Guest memory is reached through (address, length) calls that copy, or through a bounded map.
 */
#ifndef MEMORY_MEMORY_H
#define MEMORY_MEMORY_H

#include "base/bits.h"
#include "base/compiler.h"
#include "event/notifier.h"
#include "memory/ram.h"
#include "object/object.h"

/* A guest-physical (or bus) address. */
typedef uint64_t hwaddr;

typedef struct MemoryRegion MemoryRegion;
typedef struct AddressSpace AddressSpace;
typedef struct FlatView FlatView;
typedef struct MemoryListener MemoryListener;

typedef struct MemTxAttrs {
    uint32_t unspecified : 1;
    uint32_t secure : 1;
    uint32_t user : 1;
    uint32_t requester_id : 16; /* PCI bus/device/function of a DMA */
} MemTxAttrs;

#define MEMTXATTRS_UNSPECIFIED ((MemTxAttrs){ .unspecified = 1 })

/* Bits; an access of several parts ORs them. */
typedef enum MemTxResult {
    MEMTX_OK = 0,
    MEMTX_ERROR = 1,        /* the device refused */
    MEMTX_DECODE_ERROR = 2, /* nothing there */
} MemTxResult;

typedef enum DeviceEndian { DEVICE_LITTLE_ENDIAN, DEVICE_BIG_ENDIAN } DeviceEndian;

/*
 * An I/O region's guest side. addr is relative to the region. Called with the machine lock held
 * unless the region was marked lockless. Values are host-endian integers.
 */
typedef struct MemoryRegionOps {
    uint64_t (*read)(void *opaque, hwaddr addr, unsigned size);
    void (*write)(void *opaque, hwaddr addr, uint64_t value, unsigned size);
    /* Instead of the two above where the result or the attributes matter. */
    MemTxResult (*read_attrs)(void *opaque, hwaddr addr, uint64_t *value, unsigned size,
                              MemTxAttrs attrs);
    MemTxResult (*write_attrs)(void *opaque, hwaddr addr, uint64_t value, unsigned size,
                               MemTxAttrs attrs);
    DeviceEndian endian;
    /*
     * What the guest may do; outside it the access fails with MEMTX_ERROR. 0 means 1 and 8. Bulk
     * transfers (address_space_read() and so on) are cut into pieces that fit min, max and
     * unaligned; a single access that doesn't fit fails.
     */
    struct {
        unsigned min, max; /* bytes */
        bool unaligned;
        bool (*accepts)(void *opaque, hwaddr addr, unsigned size, bool is_write, MemTxAttrs attrs);
    } valid;
    /*
     * What the functions implement; 0 means 1 and 4. Larger accesses are split, in order of
     * addresses. Smaller ones are widened to an aligned one of `min` bytes: a read drops the rest,
     * a write reads it first. Unaligned ones are split unless `unaligned`.
     */
    struct {
        unsigned min, max;
        bool unaligned;
    } impl;
} MemoryRegionOps;

/* --- Making regions. A region is embedded in its owner; `owner` is the object whose life it
 * shares, kept alive while guest memory is mapped. memory_region_finish() unmaps and releases. ---
 */

void memory_region_init(MemoryRegion *mr, Object *owner, const char *name, uint64_t size);
void memory_region_init_io(MemoryRegion *mr, Object *owner, const MemoryRegionOps *ops,
                           void *opaque, const char *name, uint64_t size);
/*
 * RAM of its own: memfd-backed and shared. Fails when the host has not enough. The block's id is
 * the name, with the owner's path before it (memory_set_owner_path()) if it has one. On failure
 * the region is left as if never initialised.
 */
MUST_CHECK bool memory_region_init_ram(MemoryRegion *mr, Object *owner, const char *name,
                                       uint64_t size, Error **errp);
/* Read-only for the guest; filled through memory_region_ram_ptr(). */
MUST_CHECK bool memory_region_init_rom(MemoryRegion *mr, Object *owner, const char *name,
                                       uint64_t size, Error **errp);
/* Reads come from RAM while romd is on (it is at first), else from ops; writes always go to ops
 * (flash). */
MUST_CHECK bool memory_region_init_rom_device(MemoryRegion *mr, Object *owner,
                                              const MemoryRegionOps *ops, void *opaque,
                                              const char *name, uint64_t size, Error **errp);
/* As init_ram over a block that exists already; takes a reference of its own. */
MUST_CHECK bool memory_region_init_ram_block(MemoryRegion *mr, Object *owner, const char *name,
                                             RamBlock *block, Error **errp);
void memory_region_init_alias(MemoryRegion *mr, Object *owner, const char *name,
                              MemoryRegion *target, hwaddr offset, uint64_t size);
/*
 * Takes the region out of its container, its subregions out of it, and releases what it holds.
 *
 * Views keep `owner` alive while they contain the region. So a device takes its regions out of the
 * tree when it is unrealized (an owner that waits for its finalize to do so waits for ever), and
 * calls this from its finalize, when no reader is left. A region without owner must not be freed
 * while another thread may still use an old view.
 */
void memory_region_finish(MemoryRegion *mr);
/* Where an owner sits, for ids of its RAM that are stable over migration: "0000:00:02.0", g_free;
 * NULL if it has no such place. The buses install this. */
void memory_set_owner_path(char *(*path)(Object *owner));

/* --- Properties --- */

uint64_t memory_region_size(const MemoryRegion *mr);
const char *memory_region_name(const MemoryRegion *mr);
Object *memory_region_owner(const MemoryRegion *mr);
bool memory_region_is_ram(const MemoryRegion *mr); /* RAM, ROM or romd on */
bool memory_region_is_rom(const MemoryRegion *mr);
RamBlock *memory_region_ram_block(const MemoryRegion *mr); /* NULL for others */
uint8_t *memory_region_ram_ptr(const MemoryRegion *mr);    /* host address of RAM or ROM */
void memory_region_set_readonly(MemoryRegion *mr, bool readonly);
void memory_region_rom_device_set_romd(MemoryRegion *mr, bool romd);
/* ops run without the machine lock: the device has locking of its own */
void memory_region_set_lockless(MemoryRegion *mr);
void memory_region_set_enabled(MemoryRegion *mr, bool enabled);
void memory_region_set_size(MemoryRegion *mr, uint64_t size);
void memory_region_set_address(MemoryRegion *mr, hwaddr addr);
void memory_region_set_alias_offset(MemoryRegion *mr, hwaddr offset);
bool memory_region_is_mapped(const MemoryRegion *mr);
void memory_region_set_nonvolatile(MemoryRegion *mr, bool nonvolatile);
/* Writes may be queued by the accelerator and delivered late, in order, before the next other
 * access (memory_set_coalesced_flush()). Accelerators without a queue deliver them at once. */
void memory_region_set_coalescing(MemoryRegion *mr, bool on);
/* The accelerator's queue: deliver everything in it. Called before each device access; NULL: none.
 * Machine lock held. */
void memory_set_coalesced_flush(void (*flush)(void *opaque), void *opaque);

/* --- The tree. Machine lock held. --- */

void memory_region_add(MemoryRegion *container, hwaddr offset, MemoryRegion *sub);
/* The higher priority hides the lower; equal priorities must not overlap. */
void memory_region_add_overlap(MemoryRegion *container, hwaddr offset, MemoryRegion *sub,
                               int priority);
void memory_region_del(MemoryRegion *container, MemoryRegion *sub);
void memory_begin(void);
void memory_commit(void);

/*
 * A write of `size` bytes (0: any size) at addr rings the notifier instead of calling ops; with
 * match_data only if the value is `data`. Listeners hear of it at the end of the transaction: the
 * notifier must live until then. (Rings by the core go through a duplicate of its descriptor, so
 * that one that is under way while the event is deleted goes nowhere else.) Machine lock held.
 */
void memory_region_add_eventfd(MemoryRegion *mr, hwaddr addr, unsigned size, bool match_data,
                               uint64_t data, EventNotifier *e);
void memory_region_del_eventfd(MemoryRegion *mr, hwaddr addr, unsigned size, bool match_data,
                               uint64_t data, EventNotifier *e);

/* --- Address spaces --- */

struct AddressSpace {
    char *name;
    MemoryRegion *root;
    FlatView *view; /* RCU; shared between address spaces that look the same */
    /* Private to the memory core, machine lock. */
    GArray *eventfds;  /* told to listeners */
    GArray *coalesced; /* told to listeners */
    unsigned listener_count;
    AddressSpace *next, **prev_link;
};

/* Machine lock held. root is borrowed and must outlive the address space. finish: its listeners
 * must be gone. */
void address_space_init(AddressSpace *as, MemoryRegion *root, const char *name);
void address_space_finish(AddressSpace *as);

/* The machine's memory and I/O ports; made by memory_init() in start-up, freed by
 * memory_finish(). */
void memory_init(void);
void memory_finish(void);
AddressSpace *address_space_memory(void);
AddressSpace *address_space_io(void);
MemoryRegion *memory_root(void);
MemoryRegion *io_root(void);

/*
 * Copies of any length, from any thread (the machine lock is taken for devices that need it). What
 * isn't there reads as all ones. Do not call these with an RCU read section open but the machine
 * lock not held, unless the range is known to be RAM.
 */
MemTxResult address_space_read(AddressSpace *as, hwaddr addr, MemTxAttrs attrs, void *buf,
                               uint64_t len);
MemTxResult address_space_write(AddressSpace *as, hwaddr addr, MemTxAttrs attrs, const void *buf,
                                uint64_t len);
/* One access of 1, 2, 4 or 8 bytes, little-endian on the bus; atomic if it is aligned RAM. */
MemTxResult address_space_load(AddressSpace *as, hwaddr addr, unsigned size, MemTxAttrs attrs,
                               uint64_t *value);
MemTxResult address_space_store(AddressSpace *as, hwaddr addr, unsigned size, MemTxAttrs attrs,
                                uint64_t value);
/* Write ROM too (loaders, debugger). */
MemTxResult address_space_write_rom(AddressSpace *as, hwaddr addr, const void *buf, uint64_t len);
/* Would every byte be RAM, or accepted by the device? */
bool address_space_access_valid(AddressSpace *as, hwaddr addr, uint64_t len, bool is_write,
                                MemTxAttrs attrs);

/*
 * Map guest RAM for a while: returns a host pointer good for *len bytes (reduced to what is
 * contiguous), or NULL if the address is not directly accessible RAM. The region stays alive until
 * the unmap, which marks what was written dirty. Any thread.
 */
void *address_space_map(AddressSpace *as, hwaddr addr, uint64_t *len, bool is_write,
                        MemTxAttrs attrs);
/* written: how many of the bytes were actually written (0 for reads) */
void address_space_unmap(AddressSpace *as, void *host, uint64_t len, bool is_write,
                         uint64_t written);

/*
 * One lookup, for accelerators' translation caches and for cached DMA. Inside an RCU section; the
 * result is good until the section ends, or for as long as the caller listens to changes.
 * host: NULL unless the range is directly accessible for the given access. IOMMU regions are
 * translated (attrs name the requester).
 */
typedef struct MemoryMapping {
    MemoryRegion *mr; /* NULL: nothing there */
    hwaddr offset;    /* in mr */
    uint64_t length;  /* bytes from addr that this mapping is good for */
    uint8_t *host;
    RamBlock *block;     /* of host */
    uint64_t ram_offset; /* of host in block */
    bool readonly;       /* writes go to ops or nowhere */
} MemoryMapping;
MemoryMapping address_space_translate(AddressSpace *as, hwaddr addr, uint64_t len, bool is_write,
                                      MemTxAttrs attrs);

/*
 * One access to a device found by a lookup: checks the contract, splits, takes the machine lock
 * where needed, rings a matching notifier (without the lock). RAM and ROM-device regions are served
 * too. The caller keeps mr alive: by the machine lock, or by the RCU section of the lookup.
 */
MemTxResult memory_region_dispatch_read(MemoryRegion *mr, hwaddr offset, uint64_t *value,
                                        unsigned size, MemTxAttrs attrs);
MemTxResult memory_region_dispatch_write(MemoryRegion *mr, hwaddr offset, uint64_t value,
                                         unsigned size, MemTxAttrs attrs);

/*
 * A range mapped once for many small accesses (virtio rings). Good until the caller, who listens to
 * changes of the address space, finishes it. false: not one piece of directly accessible RAM.
 */
typedef struct MemoryCache {
    RamBlock *block; /* reference; NULL: empty */
    uint8_t *host;
    uint64_t ram_offset; /* of host in block */
    uint64_t len;        /* bytes */
    bool writable;
} MemoryCache;
bool memory_cache_init(MemoryCache *cache, AddressSpace *as, hwaddr addr, uint64_t len,
                       bool is_write, MemTxAttrs attrs);
void memory_cache_finish(MemoryCache *cache);
/* After writing [offset, offset + len) of cache->host directly. Any thread. */
void memory_cache_written(MemoryCache *cache, uint64_t offset, uint64_t len);

/* --- Flat views and listeners --- */

typedef struct MemorySection {
    MemoryRegion *mr;
    AddressSpace *as;
    hwaddr offset_in_region;
    hwaddr addr;   /* in the address space */
    uint64_t size; /* bytes; a view covers at most 2^64 - 1 of them */
    bool readonly;
    bool nonvolatile;
} MemorySection;

/*
 * Called with the machine lock held, in order of priority (deletions in reverse). A commit that
 * changes regions calls: begin; for each address space region_del of what went, by rising address,
 * then region_add, region_nop (unchanged), log_stop and log_start by rising address, eventfd_del,
 * eventfd_add, coalesced_del, coalesced_add; commit. Lookups see the new view before commit is
 * called. A commit that only changes notifiers or coalescing calls just those.
 *
 * log_start and log_stop: a section's dirty-log mask (bits 1 << DirtyClient) gained or lost
 * clients. Any member may be NULL.
 */
struct MemoryListener {
    const char *name;
    int priority; /* accelerators 0, devices (vhost) 10, below them others */
    void (*begin)(MemoryListener *l);
    void (*commit)(MemoryListener *l);
    void (*region_add)(MemoryListener *l, const MemorySection *s);
    void (*region_del)(MemoryListener *l, const MemorySection *s);
    void (*region_nop)(MemoryListener *l, const MemorySection *s);
    void (*log_start)(MemoryListener *l, const MemorySection *s, unsigned old_mask,
                      unsigned new_mask);
    void (*log_stop)(MemoryListener *l, const MemorySection *s, unsigned old_mask,
                     unsigned new_mask);
    void (*log_sync)(MemoryListener *l, const MemorySection *s);
    void (*log_clear)(MemoryListener *l, const MemorySection *s);
    bool (*log_global_start)(MemoryListener *l, Error **errp);
    void (*log_global_stop)(MemoryListener *l);
    void (*log_global_after_sync)(MemoryListener *l);
    void (*eventfd_add)(MemoryListener *l, const MemorySection *s, bool match_data, uint64_t data,
                        EventNotifier *e);
    void (*eventfd_del)(MemoryListener *l, const MemorySection *s, bool match_data, uint64_t data,
                        EventNotifier *e);
    void (*coalesced_add)(MemoryListener *l, const MemorySection *s, hwaddr addr, uint64_t len);
    void (*coalesced_del)(MemoryListener *l, const MemorySection *s, hwaddr addr, uint64_t len);
    /* Private to the memory core. */
    AddressSpace *as;
    MemoryListener *next, *prev;
};

/* Replays the present view as region_add calls. Machine lock held, no transaction open. */
void memory_listener_add(MemoryListener *l, AddressSpace *as);
/* Replays it as region_del calls. */
void memory_listener_del(MemoryListener *l);

/* The sections of the present view, by rising address; false stops. */
typedef bool MemorySectionVisitor(const MemorySection *s, void *opaque);
bool address_space_foreach_section(AddressSpace *as, MemorySectionVisitor *visit, void *opaque);

/*
 * --- Dirty logging: per page of RAM and client, lock-free ---
 *
 * A bit says "written since it was cleared". Display and migration bits are kept while somebody
 * logs; the code bit always (clear: the page holds translated code). Whoever writes guest RAM
 * without going through this header marks it afterwards: memory_region_set_dirty(), or with a block
 * at hand ram_block_mark_dirty(). See ram_block_write_is_plain() in ram.h for fast paths.
 */

void memory_region_set_log(MemoryRegion *mr, DirtyClient client, bool on);
/* Bytes [offset, offset+len) were written. Any thread. */
void memory_region_set_dirty(MemoryRegion *mr, hwaddr offset, uint64_t len);
/* Make the log current (asks listeners). Machine lock held. */
void memory_region_sync_log(MemoryRegion *mr);
/* Test, and reset, the pages of a range. Machine lock held (listeners and accelerator are told). */
bool memory_region_test_and_clear_dirty(MemoryRegion *mr, hwaddr offset, uint64_t len,
                                        DirtyClient client);
/* Test only. */
bool memory_region_get_dirty(MemoryRegion *mr, hwaddr offset, uint64_t len, DirtyClient client);
/* Migration: everything counts as dirty at the start. Calls nest not. Machine lock held. */
MUST_CHECK bool memory_global_log_start(Error **errp);
void memory_global_log_stop(void);
void memory_global_log_sync(void);
bool memory_global_log_active(void);

/*
 * The accelerator's word on RAM. Any thread; either function may be NULL.
 *
 * write_code(block, offset, len): memory with its DIRTY_CODE bit clear has just been written from
 * outside the guest's own translated code (DMA, debugger, another CPU's slow path); afterwards the
 * bit is set. It comes after the write, so that a translation made in between is caught too: clear
 * the bit first, then read the code.
 *
 * dirty_cleared(block, offset, len): dirty bits were cleared; after the return, writes by vCPUs to
 * the range set them again (fast write permissions are gone).
 */
typedef struct MemoryCodeHooks {
    void (*write_code)(void *opaque, RamBlock *block, uint64_t offset, uint64_t len);
    void (*dirty_cleared)(void *opaque, RamBlock *block, uint64_t offset, uint64_t len);
    void *opaque;
} MemoryCodeHooks;
/* Copied; NULL: none. Machine lock held, no vCPU running. */
void memory_set_code_hooks(const MemoryCodeHooks *hooks);

/* --- For people --- */

typedef struct MtreeOptions {
    bool flat;     /* the views instead of the trees */
    bool owner;    /* with who owns each region */
    bool disabled; /* with regions that are switched off */
} MtreeOptions;
/* info mtree. Machine lock held. */
void memory_print_tree(GString *out, const MtreeOptions *options);

/* --- The region struct, public for embedding only --- */

struct MemoryRegion {
    Object *owner;
    char *name;
    uint64_t size; /* bytes; UINT64_MAX stands for 2^64 */
    hwaddr addr;   /* in the container */
    MemoryRegion *container;
    int priority;
    const MemoryRegionOps *ops;
    void *opaque;
    RamBlock *ram;
    MemoryRegion *alias;
    hwaddr alias_offset;
    uint8_t kind; /* private to the memory core */
    bool enabled, readonly, romd, lockless, coalesced, nonvolatile, terminates;
    uint8_t log_mask;                             /* 1 << DirtyClient */
    unsigned mapped_via_alias;                    /* aliases that are in a container */
    unsigned root_of;                             /* address spaces */
    MemoryRegion *subregions, *next, **prev_link; /* by falling priority */
    struct MemoryEventfds *eventfds;              /* RCU */
    struct MemoryIommu *iommu;
};

#endif
