/*
 * What lies between a socket and the bytes a front end sees: TLS, websocket, telnet. A layer sits
 * on another one, or on the socket itself. Never blocks; one thread, that of the chardev's loop.
 */
#ifndef CHARDEV_CHANNEL_H
#define CHARDEV_CHANNEL_H

#include <sys/types.h>

#include "base/compiler.h"
#include "base/error.h"

typedef struct Channel Channel;

typedef enum ChannelProgress { CHANNEL_READY, CHANNEL_GOES_ON, CHANNEL_FAILED } ChannelProgress;

typedef struct ChannelOps {
    /* Called until it is ready, whenever the socket is readable, or writable while *want_write.
     * NULL: ready at once. */
    ChannelProgress (*handshake)(Channel *ch, bool *want_write, Error **errp);
    /* As read(2) and write(2) on a non-blocking descriptor. */
    ssize_t (*recv)(Channel *ch, void *buf, size_t len);
    ssize_t (*send)(Channel *ch, const void *buf, size_t len);
    /* recv() would give bytes that have left the socket already. */
    bool (*has_input)(Channel *ch);
    /* Bytes that send() has taken are still here: the socket's writability is of interest. NULL:
     * never. flush: -1 with errno as write(2). */
    bool (*has_output)(Channel *ch);
    int (*flush)(Channel *ch);
    void (*free)(Channel *ch); /* not what lies below */
} ChannelOps;

/* Every layer's struct begins with this. */
struct Channel {
    const ChannelOps *ops;
    Channel *below; /* owned; NULL: the socket */
    int fd;         /* borrowed */
};

ssize_t channel_recv_below(Channel *ch, void *buf, size_t len);
ssize_t channel_send_below(Channel *ch, const void *buf, size_t len);

/* For the user of the topmost layer; ch NULL: plain fd. */
ChannelProgress channel_handshake(Channel *ch, bool *want_write, Error **errp);
ssize_t channel_recv(Channel *ch, int fd, void *buf, size_t len);
ssize_t channel_send(Channel *ch, int fd, const void *buf, size_t len);
bool channel_has_input(Channel *ch);
bool channel_has_output(Channel *ch);
int channel_flush(Channel *ch);
void channel_free(Channel *ch); /* all layers; NULL allowed */

/* The layers there are; each takes over what lies below, NULL for the socket. */
struct TlsCreds;
/* hostname: what a client expects the server's certificate to be for; NULL: anything. */
Channel *channel_tls_new(int fd, struct TlsCreds *creds, const char *hostname, Error **errp);
Channel *channel_telnet_new(Channel *below, int fd, bool server);
Channel *channel_websocket_new(Channel *below, int fd);

#endif
