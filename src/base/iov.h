/* Scattered buffers (struct iovec). Nothing here allocates; lengths are in bytes. */
#ifndef BASE_IOV_H
#define BASE_IOV_H

#include <sys/uio.h>

#include "base/compiler.h"

size_t iov_size(const struct iovec *iov, unsigned count);
/* Copy at most len bytes starting at offset; returns the bytes copied. */
size_t iov_to_buf(const struct iovec *iov, unsigned count, size_t offset, void *buf, size_t len);
size_t iov_from_buf(const struct iovec *iov, unsigned count, size_t offset, const void *buf,
                    size_t len);
size_t iov_fill(const struct iovec *iov, unsigned count, size_t offset, int byte, size_t len);
/* Describe [offset, offset+len) of src in dst; returns the entries used. Stops when dst is full. */
unsigned iov_slice(struct iovec *dst, unsigned dst_count, const struct iovec *src, unsigned count,
                   size_t offset, size_t len);
/* Drop bytes at the front: *iov and *count move forward, the first entry is shortened in place.
 * Returns the bytes dropped. */
size_t iov_advance(struct iovec **iov, unsigned *count, size_t len);

#endif
