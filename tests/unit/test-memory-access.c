/* Accesses to regions: the contract of I/O regions, ROM, ROM devices, maps, IOMMU regions. */
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "event/lock.h"
#include "memory/iommu.h"
#include "memory/memory.h"

#define ATTRS MEMTXATTRS_UNSPECIFIED

/* A device that remembers its last calls and holds 64 bytes. */
typedef struct Probe {
    uint8_t bytes[64];
    GString *calls; /* "r4@8 w2@2=1234 …" */
} Probe;

static uint64_t probe_read(void *opaque, hwaddr addr, unsigned size)
{
    Probe *p = opaque;
    g_string_append_printf(p->calls, "r%u@%u ", size, (unsigned)addr);
    return ldn_le(p->bytes + addr, size);
}

static void probe_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Probe *p = opaque;
    g_string_append_printf(p->calls, "w%u@%u=%" G_GINT64_MODIFIER "x ", size, (unsigned)addr,
                           value);
    stn_le(p->bytes + addr, size, value);
}

typedef struct Fixture {
    Probe probe;
    MemoryRegionOps ops;
    MemoryRegion io;
} Fixture;

static void set_up(Fixture *f, gconstpointer data)
{
    machine_lock();
    memory_init();
    f->probe.calls = g_string_new(NULL);
    for (int i = 0; i < 64; i++) {
        f->probe.bytes[i] = (uint8_t)i;
    }
    f->ops = (MemoryRegionOps){ .read = probe_read, .write = probe_write };
    memory_region_init_io(&f->io, NULL, &f->ops, &f->probe, "probe", 64);
    memory_region_add(memory_root(), 0x1000, &f->io);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    memory_region_finish(&f->io);
    g_string_free(f->probe.calls, true);
    memory_finish();
    machine_unlock();
    rcu_drain();
}

static uint64_t load(hwaddr addr, unsigned size, MemTxResult expect)
{
    uint64_t value = 0;
    g_assert_cmpint(address_space_load(address_space_memory(), addr, size, ATTRS, &value), ==,
                    expect);
    return value;
}

static void store(hwaddr addr, unsigned size, uint64_t value, MemTxResult expect)
{
    g_assert_cmpint(address_space_store(address_space_memory(), addr, size, ATTRS, value), ==,
                    expect);
}

static void expect_calls(Fixture *f, const char *calls)
{
    g_assert_cmpstr(f->probe.calls->str, ==, calls);
    g_string_truncate(f->probe.calls, 0);
}

static void test_plain(Fixture *f, gconstpointer data)
{
    g_assert_cmphex(load(0x1004, 4, MEMTX_OK), ==, 0x07060504);
    expect_calls(f, "r4@4 ");
    store(0x1002, 2, 0xabcd, MEMTX_OK);
    expect_calls(f, "w2@2=abcd ");
}

static void test_split(Fixture *f, gconstpointer data)
{
    /* impl.max is 4 by default: eight bytes are two calls, lower address first. */
    g_assert_cmphex(load(0x1008, 8, MEMTX_OK), ==, 0x0f0e0d0c0b0a0908);
    expect_calls(f, "r4@8 r4@12 ");
    store(0x1008, 8, 0x1122334455667788, MEMTX_OK);
    expect_calls(f, "w4@8=55667788 w4@12=11223344 ");
    f->ops.impl.max = 1;
    g_assert_cmphex(load(0x1000, 2, MEMTX_OK), ==, 0x0100);
    expect_calls(f, "r1@0 r1@1 ");
}

static void test_widen(Fixture *f, gconstpointer data)
{
    f->ops.impl.min = 4;
    g_assert_cmphex(load(0x1006, 1, MEMTX_OK), ==, 0x06);
    expect_calls(f, "r4@4 ");
    /* A narrow write keeps its neighbours. */
    store(0x1006, 2, 0xaabb, MEMTX_OK);
    expect_calls(f, "r4@4 w4@4=aabb0504 ");
}

static void test_unaligned(Fixture *f, gconstpointer data)
{
    uint64_t value;

    /* A single access is refused, a copy is cut so that it fits. */
    g_assert_cmpint(memory_region_dispatch_read(&f->io, 1, &value, 4, ATTRS), ==, MEMTX_ERROR);
    expect_calls(f, "");
    g_assert_cmphex(load(0x1001, 4, MEMTX_OK), ==, 0x04030201);
    expect_calls(f, "r1@1 r2@2 r1@4 ");
    f->ops.valid.unaligned = true; /* the core splits */
    g_assert_cmpint(memory_region_dispatch_read(&f->io, 1, &value, 4, ATTRS), ==, MEMTX_OK);
    g_assert_cmphex(value, ==, 0x04030201);
    expect_calls(f, "r1@1 r2@2 r1@4 ");
    f->ops.impl.unaligned = true; /* the device does it */
    g_assert_cmpint(memory_region_dispatch_read(&f->io, 1, &value, 4, ATTRS), ==, MEMTX_OK);
    expect_calls(f, "r4@1 ");
}

static void test_unaligned_widened(Fixture *f, gconstpointer data)
{
    f->ops.valid.unaligned = true;
    f->ops.impl.min = 4;
    store(0x1003, 4, 0xd0c0b0a0, MEMTX_OK);
    expect_calls(f, "r4@0 w4@0=a0020100 r4@4 w4@4=7d0c0b0 ");
}

static bool accepts_low(void *opaque, hwaddr addr, unsigned size, bool is_write, MemTxAttrs attrs)
{
    return addr < 8 && !is_write;
}

static void test_valid(Fixture *f, gconstpointer data)
{
    uint64_t value;

    f->ops.valid.min = 2;
    f->ops.valid.max = 4;
    g_assert_cmpint(memory_region_dispatch_read(&f->io, 0, &value, 1, ATTRS), ==, MEMTX_ERROR);
    g_assert_cmphex(value, ==, 0xff);
    g_assert_cmpint(memory_region_dispatch_read(&f->io, 0, &value, 8, ATTRS), ==, MEMTX_ERROR);
    expect_calls(f, "");
    /* copies: eight bytes become two of four; a single byte can't be had */
    g_assert_cmphex(load(0x1000, 8, MEMTX_OK), ==, 0x0706050403020100);
    load(0x1000, 1, MEMTX_ERROR);
    g_string_truncate(f->probe.calls, 0);

    f->ops.valid.min = 0;
    f->ops.valid.accepts = accepts_low;
    load(0x1004, 4, MEMTX_OK);
    load(0x1008, 4, MEMTX_ERROR);
    store(0x1004, 4, 0, MEMTX_ERROR);
    expect_calls(f, "r4@4 ");
    g_assert_true(address_space_access_valid(address_space_memory(), 0x1000, 8, false, ATTRS));
    g_assert_false(address_space_access_valid(address_space_memory(), 0x1000, 12, false, ATTRS));
    g_assert_false(address_space_access_valid(address_space_memory(), 0x1000, 4, true, ATTRS));
}

static void test_big_endian(Fixture *f, gconstpointer data)
{
    f->ops.endian = DEVICE_BIG_ENDIAN;
    /* The device's integer 0x03020100 lies on the bus most significant byte first. */
    g_assert_cmphex(load(0x1000, 4, MEMTX_OK), ==, 0x00010203);
    store(0x1000, 2, 0x1234, MEMTX_OK);
    expect_calls(f, "r4@0 w2@0=3412 ");
    /* Split: each part is big-endian on its own, the lower address has the upper half. */
    g_assert_cmphex(load(0x1008, 8, MEMTX_OK), ==, 0x0c0d0e0f08090a0b);
    f->ops.impl.max = 8;
    g_assert_cmphex(load(0x1008, 8, MEMTX_OK), ==, 0x08090a0b0c0d0e0f);
}

static MemTxResult half_broken(void *opaque, hwaddr addr, uint64_t *value, unsigned size,
                               MemTxAttrs attrs)
{
    *value = attrs.requester_id;
    return addr >= 4 ? MEMTX_ERROR : MEMTX_OK;
}

static void test_results(Fixture *f, gconstpointer data)
{
    uint64_t value;
    MemTxAttrs attrs = { .requester_id = 0x1234 };

    f->ops.read_attrs = half_broken;
    g_assert_cmpint(address_space_load(address_space_memory(), 0x1000, 4, attrs, &value), ==,
                    MEMTX_OK);
    g_assert_cmphex(value, ==, 0x1234);
    g_assert_cmpint(address_space_load(address_space_memory(), 0x1000, 8, attrs, &value), ==,
                    MEMTX_ERROR);
    /* Nothing there: all ones; results of parts are ORed. */
    g_assert_cmphex(load(0x1040, 4, MEMTX_DECODE_ERROR), ==, 0xffffffff);
    uint8_t buf[16];
    f->ops.read_attrs = NULL;
    g_assert_cmpint(address_space_read(address_space_memory(), 0x1038, ATTRS, buf, 16), ==,
                    MEMTX_DECODE_ERROR);
    g_assert_cmphex(buf[0], ==, 0x38);
    g_assert_cmphex(buf[7], ==, 0x3f);
    g_assert_cmphex(buf[8], ==, 0xff);
}

static void test_write_only(Fixture *f, gconstpointer data)
{
    f->ops.read = NULL;
    load(0x1000, 4, MEMTX_ERROR);
    store(0x1000, 1, 7, MEMTX_OK);
    expect_calls(f, "w1@0=7 ");
}

static void test_ram_and_rom(Fixture *f, gconstpointer data)
{
    MemoryRegion ram, rom;
    AddressSpace *as = address_space_memory();
    uint8_t buf[8192];

    g_assert_true(memory_region_init_ram(&ram, NULL, "ram", 8192, &error_abort));
    g_assert_true(memory_region_init_rom(&rom, NULL, "rom", 4096, &error_abort));
    memory_region_add(memory_root(), 0x10000, &ram);
    memory_region_add(memory_root(), 0x12000, &rom);
    g_assert_true(memory_region_is_ram(&ram) && !memory_region_is_rom(&ram));
    g_assert_true(memory_region_is_ram(&rom) && memory_region_is_rom(&rom));

    memset(buf, 0x5a, sizeof(buf));
    g_assert_cmpint(address_space_write(as, 0x10000, ATTRS, buf, 8192), ==, MEMTX_OK);
    g_assert_cmphex(memory_region_ram_ptr(&ram)[8191], ==, 0x5a);
    /* ROM refuses writes, but loaders get through. */
    g_assert_cmpint(address_space_write(as, 0x11fff, ATTRS, buf, 2), ==, MEMTX_ERROR);
    g_assert_cmphex(memory_region_ram_ptr(&rom)[0], ==, 0);
    g_assert_cmpint(address_space_write_rom(as, 0x11ffe, "abcd", 4), ==, MEMTX_OK);
    g_assert_cmpmem(memory_region_ram_ptr(&rom), 2, "cd", 2);
    g_assert_cmphex(load(0x11ffe, 4, MEMTX_OK), ==, 0x64636261);
    /* A loader does not reach devices. */
    address_space_write_rom(as, 0x1000, "abcd", 4);
    expect_calls(f, "");
    g_assert_cmphex(load(0x11fff, 2, MEMTX_OK), ==, 0x6362);

    memory_region_finish(&rom);
    memory_region_finish(&ram);
}

static void test_rom_device(Fixture *f, gconstpointer data)
{
    MemoryRegion flash;

    g_assert_true(memory_region_init_rom_device(&flash, NULL, &f->ops, &f->probe, "flash", 4096,
                                                &error_abort));
    memory_region_add(memory_root(), 0x20000, &flash);
    memcpy(memory_region_ram_ptr(&flash), "data", 4);
    g_assert_cmphex(load(0x20000, 4, MEMTX_OK), ==, 0x61746164);
    store(0x20004, 1, 0x90, MEMTX_OK);
    expect_calls(f, "w1@4=90 ");
    memory_region_rom_device_set_romd(&flash, false);
    g_assert_cmphex(load(0x20000, 4, MEMTX_OK), ==, 0x03020100);
    expect_calls(f, "r4@0 ");
    memory_region_rom_device_set_romd(&flash, true);
    g_assert_cmphex(load(0x20000, 1, MEMTX_OK), ==, 'd');
    expect_calls(f, "");
    memory_region_finish(&flash);
}

static void test_map(Fixture *f, gconstpointer data)
{
    MemoryRegion ram;
    AddressSpace *as = address_space_memory();
    uint64_t len = 0x3000;

    g_assert_true(memory_region_init_ram(&ram, NULL, "ram", 0x2000, &error_abort));
    memory_region_add(memory_root(), 0x10000, &ram);
    uint8_t *host = address_space_map(as, 0x10800, &len, true, ATTRS);
    g_assert_true(host == memory_region_ram_ptr(&ram) + 0x800);
    g_assert_cmphex(len, ==, 0x1800); /* up to the end of RAM */

    uint64_t none = 16;
    g_assert_null(address_space_map(as, 0x1000, &none, false, ATTRS)); /* a device */
    none = 16;
    g_assert_null(address_space_map(as, 0x50000, &none, false, ATTRS)); /* nothing */

    /* The memory outlives its region while it is mapped. */
    RamBlock *block = memory_region_ram_block(&ram);
    memory_region_finish(&ram);
    machine_unlock();
    rcu_drain();
    machine_lock();
    memset(host, 0xee, len);
    g_assert_true(ram_block_find("ram") == block);
    address_space_unmap(as, host, len, true, len);
    g_assert_null(ram_block_find("ram"));
}

static void test_cache(Fixture *f, gconstpointer data)
{
    MemoryRegion ram;
    MemoryCache cache;
    AddressSpace *as = address_space_memory();

    g_assert_true(memory_region_init_ram(&ram, NULL, "ram", 0x2000, &error_abort));
    memory_region_add(memory_root(), 0x10000, &ram);
    g_assert_false(memory_cache_init(&cache, as, 0x11000, 0x1001, true, ATTRS));
    g_assert_true(memory_cache_init(&cache, as, 0x10010, 0x100, true, ATTRS));
    g_assert_true(memory_global_log_start(&error_abort));
    ram_block_clear_dirty(memory_region_ram_block(&ram), 0, 0x2000, DIRTY_MIGRATION);
    cache.host[0] = 1;
    memory_cache_written(&cache, 0, 1);
    g_assert_true(memory_region_get_dirty(&ram, 0, 0x1000, DIRTY_MIGRATION));
    g_assert_false(memory_region_get_dirty(&ram, 0x1000, 0x1000, DIRTY_MIGRATION));
    memory_global_log_stop();
    memory_cache_finish(&cache);
    memory_cache_finish(&cache);
    memory_region_finish(&ram);
}

/* --- ioeventfds --- */

static void test_eventfd(Fixture *f, gconstpointer data)
{
    EventNotifier any = { .fd = -1 }, five = { .fd = -1 };

    g_assert_true(event_notifier_init(&any, false, &error_abort));
    g_assert_true(event_notifier_init(&five, false, &error_abort));
    memory_region_add_eventfd(&f->io, 8, 2, true, 5, &five);
    store(0x1008, 2, 5, MEMTX_OK);
    expect_calls(f, "");
    g_assert_true(event_notifier_test_and_clear(&five));
    store(0x1008, 2, 6, MEMTX_OK); /* other data */
    store(0x1008, 4, 5, MEMTX_OK); /* other size */
    store(0x100a, 2, 5, MEMTX_OK); /* other address */
    expect_calls(f, "w2@8=6 w4@8=5 w2@10=5 ");
    g_assert_false(event_notifier_test_and_clear(&five));

    memory_region_add_eventfd(&f->io, 16, 0, false, 0, &any);
    store(0x1010, 1, 1, MEMTX_OK);
    g_assert_true(event_notifier_test_and_clear(&any));
    store(0x1010, 4, 99, MEMTX_OK);
    g_assert_true(event_notifier_test_and_clear(&any));
    load(0x1010, 4, MEMTX_OK);
    expect_calls(f, "r4@16 ");
    g_assert_false(event_notifier_test_and_clear(&any));

    memory_region_del_eventfd(&f->io, 16, 0, false, 0, &any);
    store(0x1010, 1, 1, MEMTX_OK);
    expect_calls(f, "w1@16=1 ");
    /* one whose descriptor can't be duplicated still rings */
    fault_inject(1);
    memory_region_add_eventfd(&f->io, 16, 0, false, 0, &any);
    g_assert_cmpint(fault_inject(0), ==, 0);
    store(0x1010, 1, 1, MEMTX_OK);
    g_assert_true(event_notifier_test_and_clear(&any));
    /* finish removes what is left */
    event_notifier_finish(&any);
    event_notifier_finish(&five);
}

/* --- IOMMU --- */

typedef struct ToyIommu {
    AddressSpace *target;
    IommuAccess access[4]; /* per page */
} ToyIommu;

/* Page n (of four) leads to page 3 - n at 0x10000. */
static IommuEntry toy_translate(void *opaque, hwaddr addr, IommuAccess access, MemTxAttrs attrs)
{
    ToyIommu *toy = opaque;
    hwaddr page = addr >> 12 & 3;
    return (IommuEntry){
        .target = toy->target,
        .iova = addr & ~0xfffull,
        .translated = 0x10000 + ((3 - page) << 12),
        .mask = 0xfff,
        .access = toy->access[page],
    };
}

static void count_notify(IommuNotifier *n, IommuEvent event, const IommuEntry *entry)
{
    n->index += 256; /* the count, above the context's number */
}

static void test_iommu(Fixture *f, gconstpointer data)
{
    static const IommuOps ops = { .translate = toy_translate };
    MemoryRegion ram, iommu;
    AddressSpace dma;
    ToyIommu toy = {
        .target = address_space_memory(),
        .access = { IOMMU_READ_WRITE, IOMMU_READ_WRITE, IOMMU_READ, IOMMU_NONE },
    };
    uint64_t len = 0x2000;
    IommuEntry entry;

    g_assert_true(memory_region_init_ram(&ram, NULL, "ram", 0x4000, &error_abort));
    memory_region_add(memory_root(), 0x10000, &ram);
    memory_region_init_iommu(&iommu, NULL, &ops, &toy, "iommu", 0x4000);
    address_space_init(&dma, &iommu, "dma");

    uint8_t *host = memory_region_ram_ptr(&ram);
    host[0x3fff] = 0x11; /* what page 0 ends with */
    host[0x2000] = 0x22; /* what page 1 begins with */
    uint64_t value;
    g_assert_cmpint(address_space_load(&dma, 0xfff, 2, ATTRS, &value), ==, MEMTX_OK);
    g_assert_cmphex(value, ==, 0x2211);
    g_assert_cmpint(address_space_store(&dma, 0x2000, 4, ATTRS, 1), ==, MEMTX_ERROR);
    g_assert_cmpint(address_space_load(&dma, 0x2000, 4, ATTRS, &value), ==, MEMTX_OK);
    g_assert_cmpint(address_space_load(&dma, 0x3000, 4, ATTRS, &value), ==, MEMTX_ERROR);
    /* pages that are not contiguous end the mapping */
    void *p = address_space_map(&dma, 0x800, &len, true, ATTRS);
    g_assert_true(p == host + 0x3800);
    g_assert_cmphex(len, ==, 0x800);
    address_space_unmap(&dma, p, len, true, 0);

    g_assert_true(address_space_iommu_entry(&dma, 0x1008, false, ATTRS, &entry));
    g_assert_cmphex(entry.translated, ==, 0x12000);
    g_assert_false(address_space_iommu_entry(address_space_memory(), 0, false, ATTRS, &entry));

    IommuNotifier n = { .notify = count_notify,
                        .events = IOMMU_EVENT_MAP | IOMMU_EVENT_UNMAP,
                        .first = 0x1000,
                        .last = 0x3fff };
    g_assert_true(memory_region_add_iommu_notifier(&iommu, &n, &error_abort));
    memory_region_replay_iommu(&iommu, &n);
    g_assert_cmpuint(n.index, ==, 2 * 256); /* pages 1 and 2 are mapped */
    n.index = 0;
    entry = (IommuEntry){ .iova = 0, .mask = 0xfff };
    memory_region_notify_iommu(&iommu, 0, IOMMU_EVENT_UNMAP, &entry); /* out of its range */
    g_assert_cmpuint(n.index, ==, 0);
    entry.mask = 0x1fff;
    memory_region_notify_iommu(&iommu, 0, IOMMU_EVENT_UNMAP, &entry);
    g_assert_cmpuint(n.index, ==, 256);
    n.index = 0;
    memory_region_notify_iommu(&iommu, 0, IOMMU_EVENT_DEVIOTLB_UNMAP, &entry); /* not wanted */
    g_assert_cmpuint(n.index, ==, 0);
    memory_region_del_iommu_notifier(&iommu, &n);

    address_space_finish(&dma);
    memory_region_finish(&iommu);
    memory_region_finish(&ram);
}

static void test_init_faults(Fixture *f, gconstpointer data)
{
    int n = 0;

    for (;;) {
        MemoryRegion ram;
        Error *err = NULL;
        fault_inject(++n);
        bool ok = memory_region_init_ram(&ram, NULL, "faulty", 4096, &err);
        int left = fault_inject(0);
        if (ok) {
            g_assert_cmpint(left, >, 0);
            memory_region_finish(&ram);
            break;
        }
        g_assert_nonnull(err);
        error_free(err);
        memory_region_finish(&ram); /* harmless */
        g_assert_null(ram_block_find("faulty"));
    }
    g_assert_cmpint(n, ==, 4); /* memfd, ftruncate, mmap can fail */
}

static void test_same_id(Fixture *f, gconstpointer data)
{
    MemoryRegion a, b;
    Error *err = NULL;

    g_assert_true(memory_region_init_ram(&a, NULL, "twin", 4096, &error_abort));
    g_assert_false(memory_region_init_ram(&b, NULL, "twin", 4096, &err));
    g_assert_nonnull(strstr(error_message(err), "RAM block 'twin' exists already"));
    error_free(err);
    uint64_t offset;
    RamBlock *block = memory_region_ram_block(&a);
    g_assert_true(ram_block_from_host(block->host + 4095, &offset) == block);
    g_assert_cmpuint(offset, ==, 4095);
    g_assert_null(ram_block_from_host(block->host + 4096, &offset));
    g_assert_null(ram_block_from_host(block->host - 1, &offset));
    RamSummary sum = ram_summary();
    g_assert_cmpuint(sum.bytes, ==, 4096);
    g_assert_cmpuint(sum.shared_bytes, ==, 4096);
    g_assert_cmpuint(sum.blocks, ==, 1);
    memory_region_finish(&a);
}

#define ADD(name, fn) g_test_add("/memory/access/" name, Fixture, NULL, set_up, fn, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("plain", test_plain);
    ADD("split", test_split);
    ADD("widen", test_widen);
    ADD("unaligned", test_unaligned);
    ADD("unaligned-widened", test_unaligned_widened);
    ADD("valid", test_valid);
    ADD("big-endian", test_big_endian);
    ADD("results", test_results);
    ADD("write-only", test_write_only);
    ADD("ram-rom", test_ram_and_rom);
    ADD("rom-device", test_rom_device);
    ADD("map", test_map);
    ADD("cache", test_cache);
    ADD("eventfd", test_eventfd);
    ADD("iommu", test_iommu);
    ADD("init-faults", test_init_faults);
    ADD("same-id", test_same_id);
    return g_test_run();
}
