/*
 * Host mappings for guest RAM: aligned mapping, NUMA policy, preallocation.
 */
#ifndef MEMORY_HOST_MAP_H
#define MEMORY_HOST_MAP_H

#include "base/compiler.h"
#include "base/error.h"

/* How to map. */
typedef struct HostMapSpec {
    const char *what;   /* for messages: "memory backend 'mem0'" */
    uint64_t size;      /* bytes, a multiple of page_size */
    uint64_t page_size; /* bytes, of the backing */
    uint64_t align;     /* bytes; 0: as the pages, or for transparent huge pages */
    int fd;             /* -1: anonymous */
    uint64_t fd_offset; /* bytes, a multiple of page_size */
    bool shared;
    bool readonly;
    bool reserve; /* false: don't set swap or huge pages aside now */
} HostMapSpec;

/* NULL with an error that says what is missing. Unmapped with munmap(host, size). */
void *host_map(const HostMapSpec *spec, Error **errp);

/* The page size of what fd lies on: the huge page size on hugetlbfs, else the base page. */
uint64_t host_page_size_of_fd(int fd);
/* As "nr_hugepages" and so on: pages of one size the host has free; -1 if that can't be told. */
int64_t host_huge_pages_free(uint64_t page_size);

/* The names are those of the property `policy`. */
typedef enum HostMemPolicy {
    HOST_MEM_POLICY_DEFAULT,
    HOST_MEM_POLICY_PREFERRED,
    HOST_MEM_POLICY_BIND,
    HOST_MEM_POLICY_INTERLEAVE,
} HostMemPolicy;

#define HOST_NODES_MAX 1024 /* as many as the kernel can be built for */

/* Before the pages are touched. */
MUST_CHECK bool host_map_set_policy(void *host, uint64_t size, HostMemPolicy policy,
                                    const uint16_t *nodes, unsigned count, Error **errp);

typedef struct HostPrealloc {
    const char *what; /* for messages */
    uint8_t *host;
    uint64_t size, page_size; /* bytes */
    unsigned threads;         /* 0: as many as the host has CPUs, up to 16 */
    bool readonly;
    int fd; /* -1: anonymous */
    uint64_t fd_offset;
    /* Called now and then by the waiting thread while it takes long; NULL: prints a line. */
    void (*progress)(void *opaque, uint64_t done);
    void *opaque;
} HostPrealloc;

/* Make all pages present; waits for it. */
MUST_CHECK bool host_prealloc(const HostPrealloc *prealloc, Error **errp);

#endif
