/*
 * Accesses from several threads while the tree changes under them: regions appear, move, disappear
 * and die with their owners. No access may reach a dead owner. Made for the thread and address
 * sanitizers; without them it still sees torn views and lost owners.
 */
#include <glib.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "event/lock.h"
#include "memory/memory.h"
#include "object/object.h"

#define ATTRS     MEMTXATTRS_UNSPECIFIED
#define READERS   3
#define CHANGES   3000
#define ALIVE     0x600dd0d0
#define RAM_SIZE  0x4000
#define SLOT_SIZE 0x1000
#define SLOTS     8
#define BASE      0x100000

/* An owner of one I/O region; its magic goes when it dies. */
typedef struct Owner {
    Object parent;
    uint32_t magic;
    MemoryRegion io;
    EventNotifier notifier;
} Owner;

static int owners_alive; /* atomic */

static uint64_t owner_read(void *opaque, hwaddr addr, unsigned size)
{
    static int calls; /* atomic */
    Owner *o = opaque;
    if (o->io.lockless && __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED) % 64 == 0) {
        g_usleep(100); /* long enough to be taken away meanwhile */
    }
    return o->magic;
}

static void owner_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Owner *o = opaque;
    g_assert_cmphex(o->magic, ==, ALIVE);
}

static const MemoryRegionOps owner_ops = { .read = owner_read, .write = owner_write };

static void owner_init(Object *obj)
{
    Owner *o = (Owner *)obj;
    o->magic = ALIVE;
    memory_region_init_io(&o->io, obj, &owner_ops, o, "owner", SLOT_SIZE);
    if (__atomic_add_fetch(&owners_alive, 1, __ATOMIC_RELAXED) & 1) {
        memory_region_set_lockless(&o->io); /* every other one */
    }
}

static void owner_finalize(Object *obj)
{
    Owner *o = (Owner *)obj;
    ASSERT_MACHINE_LOCKED();
    memory_region_finish(&o->io);
    o->magic = 0;
    __atomic_fetch_sub(&owners_alive, 1, __ATOMIC_RELAXED);
}

static const TypeInfo owner_type = {
    .name = "test-owner",
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(Owner),
    .instance_init = owner_init,
    .instance_finalize = owner_finalize,
};

static bool stop; /* atomic */

static void *reader(void *opaque)
{
    AddressSpace *as = address_space_memory();
    unsigned seed = (unsigned)(uintptr_t)opaque;
    uint64_t seen = 0;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        hwaddr addr = BASE + (hwaddr)(rand_r(&seed) % SLOTS) * SLOT_SIZE;
        uint64_t value = 0;
        MemTxResult r = address_space_load(as, addr, 4, ATTRS, &value);
        if (r == MEMTX_OK) {
            g_assert_cmphex(value, ==, ALIVE);
            seen++;
        } else {
            g_assert_cmpint(r, ==, MEMTX_DECODE_ERROR);
            g_assert_cmphex(value, ==, 0xffffffff);
        }
        address_space_store(as, addr + 8, 4, ATTRS, 1);
        uint64_t len = 64;
        void *host = address_space_map(as, 0x40, &len, true, ATTRS);
        if (host) { /* RAM comes and goes too */
            __atomic_store_n((uint32_t *)host, 1, __ATOMIC_RELAXED);
            address_space_unmap(as, host, len, true, 4);
        }
    }
    return (void *)(uintptr_t)seen;
}

static void change(GRand *rand, Owner **slots, MemoryRegion *ram)
{
    int i = g_rand_int_range(rand, 0, SLOTS);
    Owner *o = slots[i];

    if (!o) {
        o = slots[i] = (Owner *)object_new("test-owner");
        memory_region_add_overlap(memory_root(), BASE + (hwaddr)i * SLOT_SIZE, &o->io, i);
        g_assert_true(event_notifier_init(&o->notifier, false, &error_abort));
        memory_region_add_eventfd(&o->io, 8, 4, true, 1, &o->notifier);
    } else if (g_rand_int_range(rand, 0, 2)) {
        memory_region_set_address(&o->io,
                                  BASE + (hwaddr)g_rand_int_range(rand, 0, SLOTS) * SLOT_SIZE);
    } else {
        slots[i] = NULL;
        memory_region_del_eventfd(&o->io, 8, 4, true, 1, &o->notifier);
        event_notifier_finish(&o->notifier);
        memory_region_del(memory_root(), &o->io);
        object_unref(&o->parent);
    }
    if (g_rand_int_range(rand, 0, 8) == 0) {
        memory_region_set_enabled(ram, !ram->enabled);
    }
    memory_region_test_and_clear_dirty(ram, 0, RAM_SIZE, DIRTY_DISPLAY);
}

static void test_threads(void)
{
    GRand *rand = g_rand_new_with_seed(7);
    pthread_t threads[READERS];
    Owner *slots[SLOTS] = { 0 };
    MemoryRegion ram;
    uint64_t seen = 0;

    machine_lock();
    memory_init();
    g_assert_true(memory_region_init_ram(&ram, NULL, "ram", RAM_SIZE, &error_abort));
    memory_region_add(memory_root(), 0, &ram);
    memory_region_set_log(&ram, DIRTY_DISPLAY, true);
    machine_unlock();

    for (uintptr_t i = 0; i < READERS; i++) {
        g_assert_cmpint(pthread_create(&threads[i], NULL, reader, (void *)(i + 1)), ==, 0);
    }
    for (int n = 0; n < CHANGES; n++) {
        machine_lock();
        change(rand, slots, &ram);
        machine_unlock();
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < READERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        seen += (uintptr_t)result;
    }
    g_assert_cmpuint(seen, >, 0);

    machine_lock();
    for (int i = 0; i < SLOTS; i++) {
        if (slots[i]) {
            memory_region_del_eventfd(&slots[i]->io, 8, 4, true, 1, &slots[i]->notifier);
            event_notifier_finish(&slots[i]->notifier);
            memory_region_del(memory_root(), &slots[i]->io);
            object_unref(&slots[i]->parent);
        }
    }
    memory_region_finish(&ram);
    memory_finish();
    machine_unlock();
    rcu_drain();
    g_assert_cmpint(__atomic_load_n(&owners_alive, __ATOMIC_RELAXED), ==, 0);
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    type_register(&owner_type);
    g_test_add_func("/memory/threads", test_threads);
    return g_test_run();
}
