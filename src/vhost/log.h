/*
 * Where a back end notes which pages of guest memory it has written: one bit a page of 4096 bytes
 * by guest address, set with an atomic OR by the back end, taken out here. Shared memory behind a
 * descriptor. Machine lock held.
 */
#ifndef VHOST_LOG_H
#define VHOST_LOG_H

#include "memory/memory.h"

typedef struct VhostLog {
    int fd;
    uint64_t size; /* bytes of bitmap, a multiple of the page size */
    unsigned long *bits;
} VhostLog;

/* For guest addresses below `end`. */
VhostLog *vhost_log_new(hwaddr end, Error **errp);
void vhost_log_free(VhostLog *log); /* NULL allowed */
bool vhost_log_covers(const VhostLog *log, hwaddr end);

/* Take the bits of a section and mark its memory dirty. */
void vhost_log_sync(VhostLog *log, const MemorySection *section);

#endif
