#include "vhost/memory-map.h"

#include <string.h>

struct VhostMemoryMap {
    MemoryListener listener;
    GArray *building; /* VhostRegion, between begin and commit */
    GArray *regions;  /* VhostRegion, in force */
    VhostMemoryChangedFn *changed;
    void *opaque;
};

static void regions_free(GArray *regions)
{
    for (guint i = 0; regions && i < regions->len; i++) {
        ram_block_unref(g_array_index(regions, VhostRegion, i).block);
    }
    if (regions) {
        g_array_unref(regions);
    }
}

static bool regions_equal(const GArray *a, const GArray *b)
{
    if (a->len != b->len) {
        return false;
    }
    for (guint i = 0; i < a->len; i++) {
        const VhostRegion *x = &g_array_index(a, VhostRegion, i);
        const VhostRegion *y = &g_array_index(b, VhostRegion, i);
        if (x->guest_addr != y->guest_addr || x->size != y->size || x->host != y->host ||
            x->fd != y->fd || x->fd_offset != y->fd_offset) {
            return false;
        }
    }
    return true;
}

/* Device memory mapped into the guest (video RAM) is not for rings and buffers, and ROM is not
 * written: neither takes one of the back end's few slots. */
static bool section_counts(const MemorySection *s)
{
    return memory_region_is_ram(s->mr) && !memory_region_is_rom(s->mr) && !s->readonly &&
           memory_region_ram_block(s->mr)->migratable;
}

/* Below this a PC turns pieces of RAM into ROM and back while it boots, and has a hole for the display.
 * One region over it all doesn't change with them, so that a back end keeps the rings it has mapped:
 * some can't map a ring again while regions come and go one by one. */
#define PIECES_BELOW (1u << 20)

static bool region_merge(VhostRegion *last, const VhostRegion *next)
{
    hwaddr gap = next->guest_addr - (last->guest_addr + last->size);
    if (last->block != next->block || (gap && next->guest_addr > PIECES_BELOW) ||
        last->host + last->size + gap != next->host) {
        return false;
    }
    last->size += gap + next->size;
    return true;
}

/* Sections come in order of address. */
static void map_add(MemoryListener *l, const MemorySection *s)
{
    VhostMemoryMap *map = CONTAINER_OF(l, VhostMemoryMap, listener);
    if (!section_counts(s)) {
        return;
    }
    RamBlock *block = memory_region_ram_block(s->mr);
    uint8_t *host = memory_region_ram_ptr(s->mr) + s->offset_in_region;
    VhostRegion region = {
        .guest_addr = s->addr,
        .size = s->size,
        .host = host,
        .fd = block->shared ? block->fd : -1,
        .fd_offset = block->fd_offset + (host - block->host),
        .block = block,
    };
    GArray *to = map->building;
    if (to->len && region_merge(&g_array_index(to, VhostRegion, to->len - 1), &region)) {
        return;
    }
    ram_block_ref(block);
    g_array_append_val(to, region);
}

static void map_begin(MemoryListener *l)
{
    VhostMemoryMap *map = CONTAINER_OF(l, VhostMemoryMap, listener);
    regions_free(map->building);
    map->building = g_array_new(false, false, sizeof(VhostRegion));
}

static int region_compare(gconstpointer a, gconstpointer b)
{
    const VhostRegion *x = a, *y = b;
    return x->guest_addr < y->guest_addr ? -1 : x->guest_addr > y->guest_addr;
}

/* Unchanged and added sections are told in two rounds: sort, then merge what meets. */
static void regions_normalize(GArray *regions)
{
    g_array_sort(regions, region_compare);
    for (guint i = 1; i < regions->len;) {
        VhostRegion *here = &g_array_index(regions, VhostRegion, i);
        if (region_merge(&g_array_index(regions, VhostRegion, i - 1), here)) {
            ram_block_unref(here->block);
            g_array_remove_index(regions, i);
        } else {
            i++;
        }
    }
}

static void map_commit(MemoryListener *l)
{
    VhostMemoryMap *map = CONTAINER_OF(l, VhostMemoryMap, listener);
    GArray *fresh = map->building;
    if (!fresh) {
        return;
    }
    map->building = NULL;
    regions_normalize(fresh);
    if (regions_equal(fresh, map->regions)) {
        regions_free(fresh);
        return;
    }
    regions_free(map->regions);
    map->regions = fresh;
    if (map->changed) {
        map->changed(map->opaque);
    }
}

VhostMemoryMap *vhost_memory_map_new(AddressSpace *as, VhostMemoryChangedFn *changed, void *opaque)
{
    VhostMemoryMap *map = g_new0(VhostMemoryMap, 1);
    map->regions = g_array_new(false, false, sizeof(VhostRegion));
    map->listener = (MemoryListener){
        .name = "vhost",
        .priority = 10,
        .begin = map_begin,
        .commit = map_commit,
        .region_add = map_add,
        .region_nop = map_add,
    };
    memory_listener_add(&map->listener, as);
    map->changed = changed;
    map->opaque = opaque;
    return map;
}

void vhost_memory_map_free(VhostMemoryMap *map)
{
    if (!map) {
        return;
    }
    map->changed = NULL;
    memory_listener_del(&map->listener);
    regions_free(map->building);
    regions_free(map->regions);
    g_free(map);
}

const VhostRegion *vhost_memory_map_regions(const VhostMemoryMap *map, unsigned *count)
{
    *count = map->regions->len;
    return (const VhostRegion *)map->regions->data;
}

bool vhost_memory_check_block(const RamBlock *block, Error **errp)
{
    if (block->shared && block->fd >= 0) {
        return true;
    }
    error_set(
        errp,
        "guest memory '%s' is not shared with other processes, so a vhost-user back end can't "
        "see it; use memory-backend-memfd or memory-backend-file with share=on",
        block->id);
    return false;
}

bool vhost_memory_map_check_shared(const VhostMemoryMap *map, Error **errp)
{
    for (guint i = 0; i < map->regions->len; i++) {
        const VhostRegion *r = &g_array_index(map->regions, VhostRegion, i);
        if (!vhost_memory_check_block(r->block, errp)) {
            return false;
        }
    }
    return true;
}

uint8_t *vhost_memory_map_host(const VhostMemoryMap *map, hwaddr addr, uint64_t len)
{
    for (guint i = 0; i < map->regions->len; i++) {
        const VhostRegion *r = &g_array_index(map->regions, VhostRegion, i);
        if (addr >= r->guest_addr && addr - r->guest_addr < r->size) {
            uint64_t offset = addr - r->guest_addr;
            return len <= r->size - offset ? r->host + offset : NULL;
        }
    }
    return NULL;
}
