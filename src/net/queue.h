/* Frames that wait for a client with no room. */
#ifndef NET_QUEUE_H
#define NET_QUEUE_H

#include "net/net.h"

/* deliver: hand a frame to the queue's owner; 0 when it has no room. */
typedef size_t NetDeliverFn(NetClient *sender, const struct iovec *iov, unsigned count,
                            void *opaque);

NetQueue *net_queue_new(NetDeliverFn *deliver, void *opaque);
void net_queue_free(NetQueue *q); /* NULL allowed; frames are dropped silently */
/* Deliver now or keep a copy; as net_send(). may_deliver false: keep. */
size_t net_queue_send(NetQueue *q, NetClient *sender, bool may_deliver, const struct iovec *iov,
                      unsigned count, NetSentFn *sent);
void net_queue_purge(NetQueue *q, NetClient *sender);
/* True if it is empty afterwards. */
bool net_queue_flush(NetQueue *q);

#endif
