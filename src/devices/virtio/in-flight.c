#include "devices/virtio/in-flight.h"

#include <string.h>

#include "devices/virtio/virtqueue-internal.h"

/*
 * A head is made available, used, made available, used …: it is out if the available ring had it
 * once more often than the used ring since a moment when it was not. Both rings remember `size`
 * entries, so the count is exact as long as it is taken once in that many; when too much has passed
 * it begins anew as soon as nothing is out.
 */
struct InFlight {
    bool known;
    unsigned size;        /* entries */
    uint16_t avail, used; /* the rings are counted up to here */
    uint16_t *since;      /* by head: where in the available ring */
    int8_t *out;          /* by head: 0 or 1, if known */
};

void in_flight_free(InFlight *f)
{
    if (f) {
        g_free(f->since);
        g_free(f->out);
        g_free(f);
    }
}

static void in_flight_clear(InFlight *f, uint16_t at)
{
    memset(f->out, 0, f->size);
    f->avail = f->used = at;
    f->known = true;
}

void in_flight_begin(Virtqueue *vq, uint16_t base)
{
    if (!vq->in_flight || vq->in_flight->size != vq->size) {
        in_flight_free(vq->in_flight);
        vq->in_flight = g_new0(InFlight, 1);
        vq->in_flight->size = vq->size;
        vq->in_flight->since = g_new0(uint16_t, vq->size);
        vq->in_flight->out = g_new0(int8_t, vq->size);
    }
    in_flight_clear(vq->in_flight, base);
}

static bool count_entry(InFlight *f, uint16_t head, int change)
{
    if (head >= f->size) {
        return false;
    }
    f->out[head] += change;
    return true;
}

/* True if the entries were there to be counted, none overwritten. */
static bool count_rings(InFlight *f, const RingMap *map, uint16_t avail, uint16_t used)
{
    unsigned mask = f->size - 1;
    bool ok = (uint16_t)(avail - f->avail) <= f->size && (uint16_t)(used - f->used) <= f->size;
    for (uint16_t at = f->avail; ok && at != avail; at++) {
        uint32_t offset = VIRTQ_AVAIL_RING + sizeof(uint16_t) * (at & mask);
        uint16_t head = ring_area_load16(&map->driver, offset);
        ok = count_entry(f, head, 1);
        if (ok) {
            f->since[head] = at;
        }
    }
    for (uint16_t at = f->used; ok && at != used; at++) {
        uint32_t offset = VIRTQ_USED_RING + VIRTQ_USED_ELEM_SIZE * (at & mask);
        ok = count_entry(f, ring_area_load16(&map->device, offset), -1);
    }
    /* Both sides may have gone on meanwhile. */
    uint16_t avail_now = ring_area_load16_acquire(&map->driver, VIRTQ_AVAIL_IDX);
    uint16_t used_now = ring_area_load16_acquire(&map->device, VIRTQ_USED_IDX);
    return ok && (uint16_t)(avail_now - f->avail) <= f->size &&
           (uint16_t)(used_now - f->used) <= f->size;
}

static bool counts_are_possible(const InFlight *f)
{
    for (unsigned i = 0; i < f->size; i++) {
        if (f->out[i] != 0 && f->out[i] != 1) {
            return false;
        }
    }
    return true;
}

void in_flight_note(Virtqueue *vq)
{
    InFlight *f = vq->in_flight;
    RCU_SECTION();
    const RingMap *map = rcu_dereference(vq->map);
    if (!map || f->size != vq->size) {
        return;
    }
    /* In this order: what is used was available before. */
    uint16_t used = ring_area_load16_acquire(&map->device, VIRTQ_USED_IDX);
    uint16_t avail = ring_area_load16_acquire(&map->driver, VIRTQ_AVAIL_IDX);
    f->known = f->known && count_rings(f, map, avail, used) && counts_are_possible(f);
    if (!f->known && avail == used) {
        in_flight_clear(f, avail);
    }
    f->avail = avail;
    f->used = used;
}

static int compare_since(gconstpointer a, gconstpointer b, gpointer opaque)
{
    const InFlight *f = opaque;
    uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;
    return (int16_t)(f->since[x] - f->avail) - (int16_t)(f->since[y] - f->avail);
}

bool in_flight_restore(Virtqueue *vq)
{
    InFlight *f = vq->in_flight;
    RCU_SECTION();
    const RingMap *map = rcu_dereference(vq->map);
    if (!f || !map) {
        return !map;
    }
    in_flight_note(vq);
    uint16_t count = f->avail - f->used;
    if (!f->known) {
        return !count;
    }
    g_autofree uint16_t *heads = g_new(uint16_t, vq->size);
    unsigned n = 0;
    for (unsigned head = 0; head < f->size; head++) {
        if (f->out[head]) {
            heads[n++] = head;
        }
    }
    if (n != count) {
        return false;
    }
    g_qsort_with_data(heads, n, sizeof(heads[0]), compare_since, f);
    for (unsigned i = 0; i < n; i++) {
        uint16_t slot = (f->used + i) & (f->size - 1);
        ring_area_store16(&map->driver, VIRTQ_AVAIL_RING + sizeof(uint16_t) * slot, heads[i]);
    }
    return true;
}
