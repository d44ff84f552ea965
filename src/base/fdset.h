/*
 * File descriptors that a management program passes in: fd sets (add-fd, -add-fd), which any path
 * option reaches as "/dev/fdset/N", and single named descriptors (getfd), which options take as
 * "fd=NAME".
 *
 * One store for the process: paths are opened all over the house, by code that knows no monitor.
 * Any thread.
 */
#ifndef BASE_FDSET_H
#define BASE_FDSET_H

#include <sys/types.h>

#include "base/compiler.h"
#include "base/error.h"

#define FDSET_PATH_PREFIX "/dev/fdset/"

/* Takes ownership of fd, also on failure. set -1: the lowest free number. Returns the set's number,
 * or -1. opaque may be NULL; copied. */
int64_t fdset_add(int64_t set, int fd, const char *opaque, Error **errp);
/* Close the set's descriptor fd, or all of them when fd is -1. */
MUST_CHECK bool fdset_remove(int64_t set, int fd, Error **errp);

typedef void FdsetVisitor(int64_t set, int fd, const char *opaque_text, void *opaque);
/* In order of set number, then of adding. A set without descriptors is not visited. */
void fdset_foreach(FdsetVisitor *visit, void *opaque);

/*
 * open(2) for paths that users give: close-on-exec, EINTR retried, and "/dev/fdset/N" yields a
 * duplicate of a descriptor in set N with fitting access mode. Returns the descriptor, or -1 with
 * an error that names the path.
 */
int fdset_open(const char *path, int flags, mode_t mode, Error **errp);

/* Keep fd (ownership taken) under a name; one of the same name is closed and replaced. */
void fd_named_put(const char *name, int fd);
/* Take it out: the caller owns it. -1 with an error if there is none. */
int fd_named_take(const char *name, Error **errp);
/* "7": that descriptor, which must be open; "name": as fd_named_take(). */
int fd_from_text(const char *text, Error **errp);

/* Close everything kept here (end of the process, tests). */
void fdset_finish(void);

#endif
