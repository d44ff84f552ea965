/*
 * The memory that a front end shares with its back end: regions of the guest's RAM mapped into this
 * process, and the log of pages written to them. vhost-user specification, "Memory regions
 * description" and "Migration".
 *
 * The front end is not trusted: an address reaches memory only through these lookups.
 */
#ifndef VHOST_NET_SHARED_MEMORY_H
#define VHOST_NET_SHARED_MEMORY_H

#include "base/error.h"
#include "vhost/user/wire.h"

/* Memory slots that GET_MAX_MEM_SLOTS tells. */
#define SHARED_MEMORY_SLOTS 509

typedef struct SharedMemory SharedMemory;

SharedMemory *shared_memory_new(void);
void shared_memory_free(SharedMemory *m); /* NULL allowed */

/* Map a region; the descriptor stays the caller's. */
MUST_CHECK bool shared_memory_add(SharedMemory *m, const VhostUserRegion *region, int fd,
                                  Error **errp);
/* Take away the region with this guest address, size and user address. */
MUST_CHECK bool shared_memory_remove(SharedMemory *m, const VhostUserRegion *region, Error **errp);
void shared_memory_clear(SharedMemory *m);

/* Guest address to memory here; *len, at least 1, is shortened to what lies in one region. NULL:
 * not shared. */
void *shared_memory_guest(const SharedMemory *m, uint64_t addr, uint64_t *len);
/* Front end's virtual address to memory here, all of len; NULL otherwise. */
void *shared_memory_user(const SharedMemory *m, uint64_t addr, uint64_t len);

/* The dirty log; the descriptor stays the caller's. */
MUST_CHECK bool shared_memory_set_log(SharedMemory *m, const VhostUserLog *log, int fd,
                                      Error **errp);
/* Note a write of len bytes, where there is a log. */
void shared_memory_log(SharedMemory *m, uint64_t addr, uint64_t len);

#endif
