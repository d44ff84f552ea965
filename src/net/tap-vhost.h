/* -netdev tap,vhost=on: the kernel moves frames between the tap and the NIC's queues. */
#ifndef NET_TAP_VHOST_H
#define NET_TAP_VHOST_H

#include "net/vhost-net.h"
#include "schema/net.h"

/* One queue of a tap: its descriptor, and the switch for reading and writing it here. */
typedef struct TapVhostQueue {
    NetClient *nc;
    int fd; /* borrowed */
} TapVhostQueue;

/* Does the user want it? */
bool tap_vhost_wanted(const NetdevTapOptions *o);
/*
 * Hangs a VhostNet on all queues. False with an error only where the user insists; otherwise it is
 * reported that frames go through this process.
 *
 * running: the kernel has the taps, or gives them back.
 */
MUST_CHECK bool tap_vhost_attach(const char *id, const NetdevTapOptions *o,
                                 const TapVhostQueue *queues, unsigned count,
                                 void (*running)(NetClient *nc, bool on), Error **errp);
/* The client goes; the last one takes the VhostNet along. */
void tap_vhost_detach(NetClient *nc);

#endif
