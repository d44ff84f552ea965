/* What all memory backends share: properties, mapping, policy, preallocation. */
#include "memory/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/text.h"
#include "object/property.h"
#include "object/user-creatable.h"

#define PREALLOC_THREADS_MAX 1024

static const char *const policy_names[] = { "default", "preferred", "bind", "interleave" };
static const EnumDesc policy_desc = {
    .name = "HostMemPolicy",
    .names = policy_names,
    .count = ARRAY_LEN(policy_names),
};
static const ValueType policy_type = {
    .kind = VALUE_ENUM,
    .name = "HostMemPolicy",
    .size = sizeof(int),
    .enumeration = &policy_desc,
};
static const ValueType node_list_type = {
    .kind = VALUE_LIST,
    .name = "[uint16]",
    .size = sizeof(ValueList),
    .element = &value_type_uint16,
};

/* clang-format off */
static const Field backend_properties[] = {
    PROP_SIZE("size", MemoryBackend, size, 0, .help = "size of the memory"),
    PROP_BOOL("share", MemoryBackend, share, true,
              .help = "other processes that are given it see the same memory"),
    PROP_BOOL("merge", MemoryBackend, merge, true,
              .help = "let the kernel merge equal pages (private memory)"),
    PROP_BOOL("dump", MemoryBackend, dump, true, .help = "part of core dumps"),
    PROP_BOOL("prealloc", MemoryBackend, prealloc, false, .help = "make all pages present at start"),
    PROP_UINT32("prealloc-threads", MemoryBackend, prealloc_threads, 0,
                PROP_RANGE(0, PREALLOC_THREADS_MAX),
                .help = "threads that preallocate (0: by the host's CPUs)"),
    PROP_BOOL("reserve", MemoryBackend, reserve, true,
              .help = "set swap space or huge pages aside at start"),
    PROP_LIST("host-nodes", MemoryBackend, host_nodes, node_list_type,
              .help = "host NUMA nodes, as numbers or ranges"),
    PROP_ENUM("policy", MemoryBackend, policy, policy_type, HOST_MEM_POLICY_DEFAULT,
              .help = "host NUMA policy"),
    PROP_BOOL("x-use-canonical-path-for-ramblock-id", MemoryBackend, use_canonical_path, true,
              .help = "name the RAM block by the object's path instead of its id"),
    {}
};
/* clang-format on */

/* What the block's release needs; the backend may be gone by then. */
typedef struct BackendMapping {
    int fd;
    bool discard;
} BackendMapping;

static void mapping_release(void *opaque, RamBlock *block)
{
    BackendMapping *m = opaque;
    if (m->discard) {
        madvise(block->host, block->size, MADV_REMOVE); /* best effort: the file may not allow it */
    }
    munmap(block->host, block->size);
    fd_close(m->fd);
    g_free(m);
}

static bool check_numa(const MemoryBackend *b, Error **errp)
{
    if (b->host_nodes.len && b->policy == HOST_MEM_POLICY_DEFAULT) {
        error_set(errp, "host-nodes needs policy=bind, preferred or interleave");
        return false;
    }
    if (!b->host_nodes.len && b->policy != HOST_MEM_POLICY_DEFAULT) {
        error_set(errp, "policy=%s needs host-nodes=", policy_names[b->policy]);
        return false;
    }
    for (size_t i = 0; i < b->host_nodes.len; i++) {
        if (b->host_nodes.items[i] >= HOST_NODES_MAX) {
            error_set(errp, "host-nodes: there is no node %u, the highest number is %u",
                      b->host_nodes.items[i], HOST_NODES_MAX - 1);
            return false;
        }
    }
    return true;
}

static bool check_properties(const MemoryBackend *b, Error **errp)
{
    if (!b->size) {
        error_set(errp, "size is missing; give size=, as in size=1G");
        return false;
    }
    if (b->size > INT64_MAX) {
        error_set(errp, "size is %" PRIu64 " bytes; the most is %" PRId64, b->size, INT64_MAX);
        return false;
    }
    if (b->prealloc && !b->reserve) {
        error_set(errp, "prealloc=on and reserve=off contradict each other; leave one out");
        return false;
    }
    return check_numa(b, errp);
}

/* Everything about the mapping that comes after mmap. */
static bool prepare_mapping(MemoryBackend *b, const BackendSource *src, void *host, Error **errp)
{
    if (b->merge && !b->share) {
        madvise(host, b->size, MADV_MERGEABLE); /* kernels may lack it */
    }
    if (!b->dump && madvise(host, b->size, MADV_DONTDUMP) < 0) {
        error_set_errno(errp, errno, "dump=off: the kernel refuses");
        return false;
    }
    if (!host_map_set_policy(host, b->size, b->policy, b->host_nodes.items,
                             (unsigned)b->host_nodes.len, errp)) {
        return false;
    }
    if (!b->prealloc) {
        return true;
    }
    HostPrealloc prealloc = {
        .what = b->parent.name ? b->parent.name : object_type_name(&b->parent),
        .host = host,
        .size = b->size,
        .page_size = src->page_size,
        .threads = b->prealloc_threads,
        .readonly = src->readonly_map,
        .fd = src->fd,
        .fd_offset = src->fd_offset,
    };
    return host_prealloc(&prealloc, errp);
}

static char *block_id(MemoryBackend *b)
{
    char *path = b->use_canonical_path ? object_canonical_path(&b->parent) : NULL;
    if (path) {
        return path;
    }
    return g_strdup(b->parent.name ? b->parent.name : object_type_name(&b->parent));
}

static bool map_source(MemoryBackend *b, BackendSource *src, Error **errp)
{
    g_autofree char *id = block_id(b);
    HostMapSpec map = {
        .what = id,
        .size = b->size,
        .page_size = src->page_size,
        .align = src->align,
        .fd = src->fd,
        .fd_offset = src->fd_offset,
        .shared = b->share,
        .readonly = src->readonly_map,
        .reserve = b->reserve,
    };
    void *host = host_map(&map, errp);
    if (!host) {
        return false;
    }
    BackendMapping *mapping = g_new(BackendMapping, 1);
    *mapping = (BackendMapping){ .fd = src->fd, .discard = src->discard };
    RamBlockSpec spec = {
        .id = id,
        .host = host,
        .size = b->size,
        .page_size = src->page_size,
        .fd = src->fd,
        .fd_offset = src->fd_offset,
        .shared = b->share && src->fd >= 0,
        .readonly = src->readonly_ram,
        .release = mapping_release,
        .opaque = mapping,
    };
    if (!prepare_mapping(b, src, host, errp)) {
        goto unmap;
    }
    b->block = ram_block_wrap(&spec, errp);
    if (!b->block) {
        goto unmap;
    }
    src->fd = -1; /* the mapping has it */
    return memory_region_init_ram_block(&b->region, &b->parent, id, b->block, errp);

unmap:
    munmap(host, b->size);
    g_free(mapping);
    return false;
}

static bool backend_complete(Object *obj, Error **errp)
{
    MemoryBackend *b = memory_backend_cast(obj);
    BackendSource src = { .fd = -1, .page_size = (uint64_t)getpagesize() };
    bool ok = false;

    if (check_properties(b, errp) && memory_backend_class_of(b)->open(b, &src, errp)) {
        if (b->size % src.page_size) {
            g_autofree char *page = text_from_size(src.page_size);
            error_set(errp, "size is %" PRIu64 " bytes; it must be a multiple of the page size, %s",
                      b->size, page);
        } else {
            ok = map_source(b, &src, errp);
        }
    }
    fd_close(src.fd);
    if (!ok) {
        if (src.created) {
            unlink(src.created);
        }
        error_prepend(errp, "%s '%s': ", object_type_name(obj), obj->name ? obj->name : "");
    }
    return ok;
}

static bool backend_can_be_deleted(Object *obj, Error **errp)
{
    MemoryBackend *b = memory_backend_cast(obj);
    if (b->mapped) {
        error_set(errp, "memory backend '%s' is in use", obj->name);
        return false;
    }
    return true;
}

static void backend_finalize(Object *obj)
{
    MemoryBackend *b = (MemoryBackend *)obj;
    memory_region_finish(&b->region);
    ram_block_unref(b->block);
}

bool memory_backend_claim(MemoryBackend *b, Error **errp)
{
    if (b->mapped) {
        error_set(errp, "memory backend '%s' is used already; each user needs one of its own",
                  b->parent.name);
        return false;
    }
    assert(b->block);
    b->mapped = true;
    return true;
}

void memory_backend_release(MemoryBackend *b)
{
    b->mapped = false;
}

bool memory_backend_no_dump(MemoryBackend *b, Error **errp)
{
    if (madvise(b->block->host, b->size, MADV_DONTDUMP) < 0) {
        error_set_errno(errp, errno, "%s: dump=off: the kernel refuses", b->parent.name);
        return false;
    }
    b->dump = false;
    return true;
}

bool memory_backend_no_merge(MemoryBackend *b, Error **errp)
{
    /* Only private memory is ever merged, and a kernel without merging has nothing to refuse. */
    if (b->merge && !b->share && madvise(b->block->host, b->size, MADV_UNMERGEABLE) < 0 &&
        errno != EINVAL) {
        error_set_errno(errp, errno, "%s: merge=off: the kernel refuses", b->parent.name);
        return false;
    }
    b->merge = false;
    return true;
}

MemoryRegion *memory_backend_region(MemoryBackend *b)
{
    assert(b->block);
    return &b->region;
}

static void backend_class_init(ObjectClass *klass, const void *data)
{
    UserCreatableClass *uc = (UserCreatableClass *)class_cast(klass, TYPE_USER_CREATABLE);
    uc->complete = backend_complete;
    uc->can_be_deleted = backend_can_be_deleted;
}

static const char *const backend_interfaces[] = { TYPE_USER_CREATABLE, NULL };

static const TypeInfo backend_type = {
    .name = TYPE_MEMORY_BACKEND,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(MemoryBackend),
    .class_size = sizeof(MemoryBackendClass),
    .abstract = true,
    .properties = backend_properties,
    .class_init = backend_class_init,
    .instance_finalize = backend_finalize,
    .interfaces = backend_interfaces,
};
OBJECT_TYPE(memory_backend, backend_type)
