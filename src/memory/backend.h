/*
 * Memory backends: user-made objects that own guest RAM (-object memory-backend-…).
 *
 * complete() maps the memory; from then on the backend has a region that a machine, a NUMA node or
 * a memory device puts into its tree. A backend has one user at a time.
 */
#ifndef MEMORY_BACKEND_H
#define MEMORY_BACKEND_H

#include "memory/host-map.h"
#include "memory/memory.h"
#include "object/object.h"

#define TYPE_MEMORY_BACKEND       "memory-backend"
#define TYPE_MEMORY_BACKEND_RAM   "memory-backend-ram"
#define TYPE_MEMORY_BACKEND_FILE  "memory-backend-file"
#define TYPE_MEMORY_BACKEND_MEMFD "memory-backend-memfd"

typedef struct MemoryBackend {
    Object parent;

    /* properties */
    uint64_t size; /* bytes */
    bool share, merge, dump, prealloc, reserve;
    uint32_t prealloc_threads;
    struct {
        size_t len;
        uint16_t *items;
    } host_nodes;
    HostMemPolicy policy;
    bool use_canonical_path; /* the RAM block's id is the object's path, not its id */

    bool mapped;     /* has a user */
    RamBlock *block; /* reference; NULL until complete */
    MemoryRegion region;
} MemoryBackend;

/* What a kind of backend finds out before the memory is mapped. */
typedef struct BackendSource {
    int fd;                               /* -1: anonymous; ownership passes to the mapping */
    uint64_t fd_offset, page_size, align; /* bytes; align 0: any */
    bool readonly_map;                    /* the mapping is not writable */
    bool readonly_ram;                    /* nor is it for the guest */
    const char *created; /* path of a new file, removed again on failure; borrowed; NULL: none */
    bool discard;        /* free the file's room when the memory goes */
} BackendSource;

typedef struct MemoryBackendClass {
    ObjectClass parent;
    bool (*open)(MemoryBackend *backend, BackendSource *source, Error **errp);
} MemoryBackendClass;

OBJECT_DECLARE_CLASS(MemoryBackendClass, memory_backend, TYPE_MEMORY_BACKEND)
static inline UNUSED MemoryBackend *memory_backend_cast(void *obj)
{
    return (MemoryBackend *)object_cast((Object *)obj, TYPE_MEMORY_BACKEND);
}

/* Become the user: false if there is one already. The region stays valid until released. */
MUST_CHECK bool memory_backend_claim(MemoryBackend *backend, Error **errp);
void memory_backend_release(MemoryBackend *backend);
/* Whatever the backend's own properties are. */
MUST_CHECK bool memory_backend_no_dump(MemoryBackend *backend, Error **errp);
MUST_CHECK bool memory_backend_no_merge(MemoryBackend *backend, Error **errp);
/* Complete backends only. */
MemoryRegion *memory_backend_region(MemoryBackend *backend);

#endif
