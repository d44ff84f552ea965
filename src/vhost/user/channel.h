/*
 * The connection to a vhost-user back end: requests out, replies in, each checked against the table
 * of messages, none waited for by a thread.
 *
 * Requests are answered in order. A reply that does not come within the timeout, or is not what its
 * row says, ends the connection: the reason is kept, `closed` follows, and the character device
 * connects again as it was told to. Main thread, machine lock held.
 */
#ifndef VHOST_USER_CHANNEL_H
#define VHOST_USER_CHANNEL_H

#include "chardev/chardev.h"
#include "vhost/user/message.h"

typedef struct VhostUserChannel VhostUserChannel;

typedef struct VhostUserChannelOps {
    void (*opened)(void *opaque);
    /* After opened; all open requests have been answered with `why` before. */
    void (*closed)(void *opaque, const Error *why);
} VhostUserChannelOps;

/* Exactly once per request: the checked reply (its descriptors are the function's to take, the rest
 * is closed), or NULL with the reason. An acknowledgement that could not be asked for counts as
 * given: both are NULL. */
typedef void VhostUserReplyFn(void *opaque, VhostUserMessage *reply, const Error *err);

typedef struct VhostUserChannelSpec {
    Chardev *chardev;
    const char *name;    /* "netdev 'n0'": begins every message; copied */
    const char *log;     /* file for the decoded protocol; NULL: none */
    unsigned timeout_ms; /* for each reply */
    const VhostUserChannelOps *ops;
    void *opaque;
} VhostUserChannelSpec;

/* Attaches to the chardev. */
VhostUserChannel *vhost_user_channel_new(const VhostUserChannelSpec *spec, Error **errp);
/* Callbacks from now on; `opened` at once if the chardev is connected. */
void vhost_user_channel_start(VhostUserChannel *ch);
/* Open requests are answered with an error, then there are no further callbacks; the chardev stays.
 * NULL allowed. */
void vhost_user_channel_free(VhostUserChannel *ch);

/* Once REPLY_ACK is negotiated. */
void vhost_user_channel_set_reply_ack(VhostUserChannel *ch, bool on);

/*
 * Send. fn NULL: no acknowledgement is asked for (only for requests without a reply of their own).
 * The header's flags and size are filled from the row; descriptors stay the caller's. Without a
 * connection the request is dropped and fn is told from `closed`.
 */
void vhost_user_channel_request(VhostUserChannel *ch, VhostUserMessage *msg, VhostUserReplyFn *fn,
                                void *opaque);

/* The back end can't be worked with: say why, end the connection. Takes ownership of err. */
void vhost_user_channel_fail(VhostUserChannel *ch, Error *err);

bool vhost_user_channel_is_open(const VhostUserChannel *ch);
/* "netdev 'n0' (unix:/run/v0.sock)" */
const char *vhost_user_channel_label(const VhostUserChannel *ch);
Chardev *vhost_user_channel_chardev(const VhostUserChannel *ch);

/* For query-vhost-user. */
uint64_t vhost_user_channel_sent(const VhostUserChannel *ch, uint32_t code);
uint64_t vhost_user_channel_received(const VhostUserChannel *ch, uint32_t code);
uint64_t vhost_user_channel_requested(const VhostUserChannel *ch,
                                      uint32_t code); /* by the back end */
/* Protocol log and trace points for what goes over the back end's own channel. */
void vhost_user_channel_log_request(VhostUserChannel *ch, const VhostUserMessage *msg);
void vhost_user_channel_log_result(VhostUserChannel *ch, const VhostUserMessage *msg,
                                   uint64_t result);

#endif
