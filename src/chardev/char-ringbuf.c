/* ringbuf (also called memory): keeps the last bytes written, for ringbuf-read. */
#include <string.h>

#include "base/bits.h"
#include "chardev/chardev-internal.h"

#define RINGBUF_DEFAULT_SIZE 65536 /* bytes */
#define RINGBUF_MAX_SIZE     GiB

typedef struct CharRingbuf {
    Chardev parent;
    uint8_t *data;
    size_t size;       /* bytes; power of two */
    size_t head, tail; /* bytes ever written and read, modulo SIZE_MAX + 1 */
} CharRingbuf;

static ssize_t ringbuf_write(Chardev *base, const void *buf, size_t len, const int *fds,
                             unsigned nfds)
{
    CharRingbuf *ring = (CharRingbuf *)base;
    const uint8_t *from = buf;
    size_t skip = len > ring->size ? len - ring->size : 0;
    ring->head += skip;
    for (size_t left = len - skip; left;) {
        size_t at = ring->head & (ring->size - 1);
        size_t n = MIN_OF(left, ring->size - at);
        memcpy(ring->data + at, from + len - left, n);
        ring->head += n;
        left -= n;
    }
    if (ring->head - ring->tail > ring->size) {
        ring->tail = ring->head - ring->size;
    }
    return len;
}

bool chardev_ringbuf_write(Chardev *chr, const void *buf, size_t len, Error **errp)
{
    if (!object_dynamic_cast(&chr->parent, TYPE_CHARDEV_RINGBUF)) {
        error_set(errp, "%s is not a ringbuf device", chr->id);
        return false;
    }
    ringbuf_write(chr, buf, len, NULL, 0);
    return true;
}

uint8_t *chardev_ringbuf_read(Chardev *chr, size_t max, size_t *len, Error **errp)
{
    if (!object_dynamic_cast(&chr->parent, TYPE_CHARDEV_RINGBUF)) {
        error_set(errp, "%s is not a ringbuf device", chr->id);
        return NULL;
    }
    CharRingbuf *ring = (CharRingbuf *)chr;
    size_t have = MIN_OF(ring->head - ring->tail, max);
    uint8_t *out = g_malloc(have + 1);
    for (size_t i = 0; i < have; i++) {
        out[i] = ring->data[(ring->tail + i) & (ring->size - 1)];
    }
    out[have] = 0;
    ring->tail += have;
    *len = have;
    return out;
}

static bool ringbuf_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharRingbuf *ring = (CharRingbuf *)base;
    const ChardevRingbuf *options = &record->u.ringbuf.data;
    int64_t size = options->has_size ? options->size : RINGBUF_DEFAULT_SIZE;
    if (size <= 0 || !is_power_of_two(size) || (uint64_t)size > RINGBUF_MAX_SIZE) {
        error_set(errp,
                  "Parameter 'size' of chardev '%s' expects a power of two up to 1G, got "
                  "'%" G_GINT64_FORMAT "'",
                  chardev_name(base), size);
        return false;
    }
    ring->size = size;
    ring->data = g_malloc0(size);
    chardev_set_filename(base, "%s", chardev_class_of(base)->backend);
    return chardev_open_log(base, (const ChardevCommon *)options, errp);
}

static void ringbuf_close(Chardev *base)
{
    g_free(((CharRingbuf *)base)->data);
}

static void ringbuf_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "ringbuf";
    chardev->always_open = true;
    chardev->open = ringbuf_open;
    chardev->close = ringbuf_close;
    chardev->write = ringbuf_write;
}

static const TypeInfo ringbuf_type = {
    .name = TYPE_CHARDEV_RINGBUF,
    .parent = TYPE_CHARDEV,
    .help = "keeps the last bytes written, for ringbuf-read",
    .instance_size = sizeof(CharRingbuf),
    .class_init = ringbuf_class_init,
};
OBJECT_TYPE(char_ringbuf, ringbuf_type)

static void memory_class_init(ObjectClass *klass, const void *data)
{
    chardev_class_cast(klass)->backend = "memory";
}

static const TypeInfo memory_type = {
    .name = "chardev-memory",
    .parent = TYPE_CHARDEV_RINGBUF,
    .help = "the older name of ringbuf",
    .class_init = memory_class_init,
};
OBJECT_TYPE(char_memory, memory_type)
