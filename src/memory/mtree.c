/* info mtree: the trees as they are built, or the views as they are rendered. */
#include <inttypes.h>

#include "event/lock.h"
#include "memory/memory-internal.h"

typedef struct Printer {
    GString *out;
    const MtreeOptions *options;
    GPtrArray *further; /* MemoryRegion: targets of aliases to print after the trees */
} Printer;

static const char *region_kind(const MemoryRegion *mr)
{
    switch (mr->kind) {
    case REGION_RAM:
        return mr->readonly ? "rom" : "ram";
    case REGION_ROM_DEVICE:
        return mr->romd ? "romd" : "i/o";
    case REGION_IOMMU:
        return "iommu";
    case REGION_ALIAS: {
        const MemoryRegion *target = mr->alias;
        while (target->alias) {
            target = target->alias;
        }
        return target->kind == REGION_RAM && (mr->readonly || target->readonly)
                   ? "rom"
                   : region_kind(target);
    }
    default:
        return "i/o";
    }
}

static void print_owner(const Printer *p, Object *owner)
{
    if (!p->options->owner) {
        return;
    }
    g_autofree char *path = owner ? object_canonical_path(owner) : NULL;
    if (path) {
        g_string_append_printf(p->out, " owner:{obj path=%s}", path);
    } else if (owner) {
        g_string_append_printf(p->out, " owner:{obj type=%s}", object_type_name(owner));
    } else {
        g_string_append(p->out, " owner:none");
    }
}

/* Last address of a region; 2^64 bytes and overflow end at the top. */
static hwaddr last_of(hwaddr start, uint64_t size)
{
    hwaddr last = size ? start + (size == UINT64_MAX ? size : size - 1) : start;
    return last < start ? UINT64_MAX : last;
}

static void print_region(Printer *p, const MemoryRegion *mr, hwaddr base, int level)
{
    if (!mr->enabled && !p->options->disabled) {
        return;
    }
    hwaddr start = base + mr->addr;
    g_string_append_printf(p->out, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s%s): ", level * 2,
                           "", start, last_of(start, mr->size), mr->priority,
                           mr->nonvolatile ? "nv-" : "", region_kind(mr));
    if (mr->alias) {
        g_string_append_printf(p->out, "alias %s @%s %016" PRIx64 "-%016" PRIx64, mr->name,
                               mr->alias->name, mr->alias_offset,
                               last_of(mr->alias_offset, mr->size));
        if (!g_ptr_array_find(p->further, mr->alias, NULL)) {
            g_ptr_array_add(p->further, mr->alias);
        }
    } else {
        g_string_append(p->out, mr->name);
    }
    g_string_append(p->out, mr->enabled ? "" : " [disabled]");
    print_owner(p, mr->owner);
    g_string_append_c(p->out, '\n');
    for (const MemoryRegion *sub = mr->subregions; sub; sub = sub->next) {
        print_region(p, sub, start, level + 1);
    }
}

static bool in_a_space(const MemoryRegion *mr)
{
    for (; mr; mr = mr->container) {
        if (mr->root_of) {
            return true;
        }
    }
    return false;
}

/* Address spaces with the same root (view: the same view) are printed together, oldest first. */
static GPtrArray *spaces_in_order(void)
{
    GPtrArray *spaces = g_ptr_array_new();
    for (AddressSpace *as = memory_core.spaces; as; as = as->next) {
        g_ptr_array_insert(spaces, 0, as);
    }
    return spaces;
}

static void print_trees(Printer *p)
{
    g_autoptr(GPtrArray) spaces = spaces_in_order();
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);

    for (guint i = 0; i < spaces->len; i++) {
        const AddressSpace *as = spaces->pdata[i];
        if (!g_hash_table_add(seen, as->root)) {
            continue;
        }
        for (guint k = i; k < spaces->len; k++) {
            const AddressSpace *same = spaces->pdata[k];
            if (same->root == as->root) {
                g_string_append_printf(p->out, "address-space: %s\n", same->name);
            }
        }
        print_region(p, as->root, 0, 1);
        g_string_append_c(p->out, '\n');
    }
    /* The list grows while it is printed: aliases of aliases. */
    for (guint i = 0; i < p->further->len; i++) {
        const MemoryRegion *mr = p->further->pdata[i];
        if (!in_a_space(mr)) {
            g_string_append_printf(p->out, "memory-region: %s\n", mr->name);
            print_region(p, mr, -mr->addr, 1);
            g_string_append_c(p->out, '\n');
        }
    }
}

static void print_view(const Printer *p, const FlatView *view)
{
    for (unsigned i = 0; i < view->count; i++) {
        const FlatRange *r = &view->ranges[i];
        const char *kind = r->mr->kind == REGION_RAM && r->readonly ? "rom" : region_kind(r->mr);
        g_string_append_printf(p->out, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s%s): %s",
                               r->start, r->last, r->mr->priority, r->nonvolatile ? "nv-" : "",
                               kind, r->mr->name);
        if (r->offset) {
            g_string_append_printf(p->out, " @%016" PRIx64, r->offset);
        }
        print_owner(p, r->owner);
        g_string_append_c(p->out, '\n');
    }
    if (!view->count) {
        g_string_append(p->out, "  No rendered FlatView\n");
    }
}

static void print_views(const Printer *p)
{
    g_autoptr(GPtrArray) spaces = spaces_in_order();
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);
    int number = 0;

    for (guint i = 0; i < spaces->len; i++) {
        const AddressSpace *as = spaces->pdata[i];
        if (!g_hash_table_add(seen, as->view)) {
            continue;
        }
        g_string_append_printf(p->out, "FlatView #%d\n", number++);
        for (guint k = i; k < spaces->len; k++) {
            const AddressSpace *same = spaces->pdata[k];
            if (same->view == as->view) {
                g_string_append_printf(p->out, " AS \"%s\", root: %s\n", same->name,
                                       same->root->name);
            }
        }
        g_string_append_printf(p->out, " Root memory region: %s\n",
                               as->view->root ? as->view->root->name : "(none)");
        print_view(p, as->view);
        g_string_append_c(p->out, '\n');
    }
}

void memory_print_tree(GString *out, const MtreeOptions *options)
{
    Printer p = { out, options, g_ptr_array_new() };

    ASSERT_MACHINE_LOCKED();
    if (options->flat) {
        print_views(&p);
    } else {
        print_trees(&p);
    }
    g_ptr_array_unref(p.further);
}
