/* The machine's RAM as the TLB filler sees it: a small array of ranges, replaced as a whole when
 * the memory map changes. */
#include "accel/jit/jit-internal.h"

#include "memory/ram.h"

static void publish(Jit *jit)
{
    JitRamMap *old = jit->ram;
    __atomic_store_n(&jit->ram, jit->ram_next, __ATOMIC_RELEASE);
    jit->ram_next = NULL;
    g_ptr_array_add(jit->ram_old, old);
    pthread_mutex_lock(&jit->lock);
    for (unsigned i = 0; i < jit->cpus->len; i++) {
        JitCpu *j = g_ptr_array_index(jit->cpus, i);
        __atomic_store_n(&j->ram_gone, true, __ATOMIC_SEQ_CST);
        __atomic_store_n(&j->code_gone, true, __ATOMIC_SEQ_CST);
        jit_kick(j);
    }
    pthread_mutex_unlock(&jit->lock);
}

void jit_add_ram(Jit *jit, const JitRam *r)
{
    g_assert(jit->ram->count < JIT_RAM_RANGES);
    jit->ram->range[jit->ram->count++] = *r;
}

static void on_begin(MemoryListener *l)
{
    Jit *jit = CONTAINER_OF(l, Jit, listener);
    if (!jit->ram_next) {
        jit->ram_next = g_new(JitRamMap, 1);
    }
    *jit->ram_next = *jit->ram;
    jit->ram_changed = false;
}

static JitRamMap *building(Jit *jit)
{
    if (!jit->ram_next) {
        jit->ram_next = g_new(JitRamMap, 1);
        *jit->ram_next = *jit->ram;
    }
    jit->ram_changed = true;
    return jit->ram_next;
}

static void on_add(MemoryListener *l, const MemorySection *s)
{
    Jit *jit = CONTAINER_OF(l, Jit, listener);
    RamBlock *block = memory_region_ram_block(s->mr);
    if (!memory_region_is_ram(s->mr) || !block) {
        return;
    }
    /* parts of pages go the slow way */
    uint64_t skip = -s->addr & 4095;
    if (skip >= s->size || ((s->size - skip) & ~UINT64_C(4095)) == 0) {
        return;
    }
    uint8_t *host = memory_region_ram_ptr(s->mr) + s->offset_in_region + skip;
    JitRamMap *map = building(jit);
    if (map->count == JIT_RAM_RANGES) {
        return; /* slow, but right */
    }
    map->range[map->count++] = (JitRam){ .phys = s->addr + skip,
                                         .size = (s->size - skip) & ~UINT64_C(4095),
                                         .host = host,
                                         .block = block,
                                         .offset = (uint64_t)(host - block->host),
                                         .readonly = s->readonly,
                                         .logged = s->mr->log_mask != 0 };
}

static void on_del(MemoryListener *l, const MemorySection *s)
{
    Jit *jit = CONTAINER_OF(l, Jit, listener);
    uint64_t phys = s->addr + (-s->addr & 4095);
    JitRamMap *map = jit->ram_next ? jit->ram_next : jit->ram;
    for (unsigned i = 0; i < map->count; i++) {
        if (map->range[i].phys == phys && map->range[i].size <= s->size) {
            map = building(jit);
            memmove(&map->range[i], &map->range[i + 1],
                    (map->count - i - 1) * sizeof(map->range[0]));
            map->count--;
            return;
        }
    }
}

static void on_log(MemoryListener *l, const MemorySection *s, unsigned old_mask, unsigned new_mask)
{
    Jit *jit = CONTAINER_OF(l, Jit, listener);
    JitRamMap *map = building(jit);
    for (unsigned i = 0; i < map->count; i++) {
        if (map->range[i].phys >= s->addr && map->range[i].phys - s->addr < s->size) {
            map->range[i].logged = new_mask != 0;
        }
    }
}

static void on_commit(MemoryListener *l)
{
    Jit *jit = CONTAINER_OF(l, Jit, listener);
    if (jit->ram_changed) {
        jit->ram_changed = false;
        publish(jit);
    }
}

static bool log_all(Jit *jit, bool on)
{
    JitRamMap *map = building(jit);
    for (unsigned i = 0; i < map->count; i++) {
        map->range[i].logged = on;
    }
    jit->ram_changed = false;
    publish(jit);
    return true;
}

static bool on_global_start(MemoryListener *l, Error **errp)
{
    return log_all(CONTAINER_OF(l, Jit, listener), true);
}

static void on_global_stop(MemoryListener *l)
{
    log_all(CONTAINER_OF(l, Jit, listener), false);
}

/* Somebody else than translated code is about to write where code was made of. */
static void on_write_code(void *opaque, RamBlock *block, uint64_t offset, uint64_t len)
{
    Jit *jit = opaque;
    /* the whole pages: they count as free of code from now on */
    uint64_t start = ALIGN_DOWN(offset, 4096), end = ALIGN_UP(offset + len, 4096);
    pthread_mutex_lock(&jit->lock);
    jit_invalidate_range(jit, block->host + start, end - start);
    pthread_mutex_unlock(&jit->lock);
    if (jit_this_cpu) {
        jit_this_cpu->block_gone = true;
    }
}

void jit_unwatch_memory(Jit *jit)
{
    if (jit->listening) {
        memory_set_code_hooks(NULL);
        memory_listener_del(&jit->listener);
        jit->listening = false;
    }
}

void jit_watch_memory(Jit *jit, AddressSpace *as)
{
    jit->listener = (MemoryListener){ .name = "jit",
                                      .begin = on_begin,
                                      .commit = on_commit,
                                      .region_add = on_add,
                                      .region_del = on_del,
                                      .log_start = on_log,
                                      .log_stop = on_log,
                                      .log_global_start = on_global_start,
                                      .log_global_stop = on_global_stop };
    memory_listener_add(&jit->listener, as);
    jit->code_hooks = (MemoryCodeHooks){ .write_code = on_write_code, .opaque = jit };
    memory_set_code_hooks(&jit->code_hooks);
    jit->listening = true;
    if (jit->ram_changed) {
        jit->ram_changed = false;
        publish(jit);
    }
}
