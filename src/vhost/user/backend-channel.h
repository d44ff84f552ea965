/*
 * The channel on which the back end sends requests of its own (SET_BACKEND_REQ_FD). Main thread,
 * machine lock held.
 */
#ifndef VHOST_USER_BACKEND_CHANNEL_H
#define VHOST_USER_BACKEND_CHANNEL_H

#include "vhost/user/channel.h"

typedef struct VhostUserBackendChannel VhostUserBackendChannel;

/* The answer comes with vhost_user_backend_channel_answer(); no other request is read before it. */
#define VHOST_USER_ANSWER_LATER UINT64_MAX

typedef struct VhostUserBackendChannelOps {
    /* A checked request. The result goes back if the back end asked for one: 0 is success. The
     * descriptors are closed afterwards unless they were taken. */
    uint64_t (*request)(void *opaque, VhostUserMessage *msg);
    /* The back end broke the protocol; takes ownership of err. The channel is dead from here on. */
    void (*broken)(void *opaque, Error *err);
} VhostUserBackendChannelOps;

/* *backend_fd is the end for the back end; the caller closes it once it is sent. front: for the
 * protocol log. */
VhostUserBackendChannel *vhost_user_backend_channel_new(VhostUserChannel *front,
                                                        uint64_t protocol_features,
                                                        const VhostUserBackendChannelOps *ops,
                                                        void *opaque, int *backend_fd,
                                                        Error **errp);
/* The descriptor stays the caller's; -1: none. */
void vhost_user_backend_channel_answer(VhostUserBackendChannel *ch, uint64_t result, int fd);
void vhost_user_backend_channel_free(VhostUserBackendChannel *ch); /* NULL allowed */

#endif
