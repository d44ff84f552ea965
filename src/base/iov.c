#include "base/iov.h"

#include <string.h>

#include "base/bits.h"

size_t iov_size(const struct iovec *iov, unsigned count)
{
    size_t size = 0;
    for (unsigned i = 0; i < count; i++) {
        size += iov[i].iov_len;
    }
    return size;
}

/* Calls step for each contiguous part of [offset, offset+len); done counts bytes already handled.
 */
typedef void IovStep(uint8_t *part, size_t done, size_t len, void *opaque);

static size_t iov_walk(const struct iovec *iov, unsigned count, size_t offset, size_t len,
                       IovStep *step, void *opaque)
{
    size_t done = 0;
    for (unsigned i = 0; i < count && done < len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t part = MIN_OF(iov[i].iov_len - offset, len - done);
        step((uint8_t *)iov[i].iov_base + offset, done, part, opaque);
        done += part;
        offset = 0;
    }
    return done;
}

static void iov_step_read(uint8_t *part, size_t done, size_t len, void *opaque)
{
    memcpy((uint8_t *)opaque + done, part, len);
}

static void iov_step_write(uint8_t *part, size_t done, size_t len, void *opaque)
{
    memcpy(part, (const uint8_t *)opaque + done, len);
}

static void iov_step_fill(uint8_t *part, size_t done, size_t len, void *opaque)
{
    memset(part, *(int *)opaque, len);
}

size_t iov_to_buf(const struct iovec *iov, unsigned count, size_t offset, void *buf, size_t len)
{
    return iov_walk(iov, count, offset, len, iov_step_read, buf);
}

size_t iov_from_buf(const struct iovec *iov, unsigned count, size_t offset, const void *buf,
                    size_t len)
{
    return iov_walk(iov, count, offset, len, iov_step_write, (void *)buf);
}

size_t iov_fill(const struct iovec *iov, unsigned count, size_t offset, int byte, size_t len)
{
    return iov_walk(iov, count, offset, len, iov_step_fill, &byte);
}

unsigned iov_slice(struct iovec *dst, unsigned dst_count, const struct iovec *src, unsigned count,
                   size_t offset, size_t len)
{
    unsigned used = 0;
    for (unsigned i = 0; i < count && len && used < dst_count; i++) {
        if (offset >= src[i].iov_len) {
            offset -= src[i].iov_len;
            continue;
        }
        size_t part = MIN_OF(src[i].iov_len - offset, len);
        dst[used].iov_base = (uint8_t *)src[i].iov_base + offset;
        dst[used].iov_len = part;
        used++;
        len -= part;
        offset = 0;
    }
    return used;
}

size_t iov_advance(struct iovec **iov, unsigned *count, size_t len)
{
    size_t dropped = 0;
    while (*count && dropped < len) {
        size_t part = MIN_OF((*iov)->iov_len, len - dropped);
        dropped += part;
        if (part == (*iov)->iov_len) {
            (*iov)++;
            (*count)--;
        } else {
            (*iov)->iov_base = (uint8_t *)(*iov)->iov_base + part;
            (*iov)->iov_len -= part;
        }
    }
    return dropped;
}
