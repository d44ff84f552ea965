/* virtio balloon: the guest gives memory back to the host. Machine lock held. */
#ifndef DEVICES_VIRTIO_BALLOON_BALLOON_H
#define DEVICES_VIRTIO_BALLOON_BALLOON_H

#include "devices/virtio/virtio.h"
#include "event/clock.h"

#define TYPE_VIRTIO_BALLOON "virtio-balloon-device"

/* 5.5.6.3 Statistics, by tag */
enum { BALLOON_STATS = 16 };

/* Free page hinting (5.5.6.5). */
typedef enum HintState { HINT_IDLE, HINT_REQUESTED, HINT_RUNNING, HINT_DONE } HintState;

typedef struct VirtioBalloon {
    VirtioDevice parent;

    /* properties */
    Object *iothread; /* for free page hints; NULL: the main loop */

    Virtqueue *inflate, *deflate, *stats, *hint, *report; /* NULL: not offered */
    uint32_t target;                                      /* pages that the guest should give */
    uint32_t actual;                                      /* pages that it gives */
    uint32_t poison;

    /* The driver's buffer, kept until fresh statistics are wanted. */
    VirtqElement *stats_elem;
    uint64_t stat[BALLOON_STATS];
    int64_t stats_time;     /* seconds since 1970; 0: never */
    int64_t stats_interval; /* seconds; 0: no polling */
    Timer *stats_timer;
    bool stats_held; /* state only: stats_elem was there */

    GMutex hint_lock; /* guards the next three: the hint queue may be in an I/O thread */
    HintState hint_state;
    uint32_t hint_id;  /* what the device asks for */
    bool hint_stopped; /* the bitmap is being looked at: no hints */
    bool hint_active;  /* the driver sends hints of hint_id; the queue's thread */
    MemoryListener hint_listener;

    /* With huge pages: small pages given of one large page. */
    struct {
        RamBlock *block; /* reference; NULL: none */
        uint64_t base;
        unsigned long *pages;
    } partial;
} VirtioBalloon;

/* Bytes of memory that the machine has without the balloon. */
uint64_t virtio_balloon_ram_size(void);

#endif
