/*
 * What a vhost back end without a record of its own has in hand, for split rings whose buffers are
 * used out of order: noted from the two rings at each interrupt, so that a new back end can be
 * given the rest when the old one dies.
 *
 * Machine lock held.
 */
#ifndef DEVICES_VIRTIO_IN_FLIGHT_H
#define DEVICES_VIRTIO_IN_FLIGHT_H

#include "devices/virtio/virtio.h"

typedef struct InFlight InFlight;

/* The ring begins to be worked at `base`, with nothing in hand. Split rings only. */
void in_flight_begin(Virtqueue *vq, uint16_t base);
void in_flight_free(InFlight *f); /* NULL allowed */
/* Look at what came since. Cheap when it is little. */
void in_flight_note(Virtqueue *vq);

/*
 * The back end is gone. Drivers write the available ring and never read it (2.7.6), and the next
 * back end begins at the used index: the buffers that are out are put there, in the order they were
 * made available. False if it isn't known which they are; then nothing is changed.
 */
MUST_CHECK bool in_flight_restore(Virtqueue *vq);

#endif
