#include "chardev/channel.h"

#include <errno.h>
#include <glib.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t socket_recv(int fd, void *buf, size_t len)
{
    ssize_t n;
    do {
        n = recv(fd, buf, len, 0);
    } while (n < 0 && errno == EINTR);
    return n;
}

static ssize_t socket_send(int fd, const void *buf, size_t len)
{
    ssize_t n;
    do {
        n = send(fd, buf, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n;
}

ssize_t channel_recv(Channel *ch, int fd, void *buf, size_t len)
{
    return ch ? ch->ops->recv(ch, buf, len) : socket_recv(fd, buf, len);
}

ssize_t channel_send(Channel *ch, int fd, const void *buf, size_t len)
{
    return ch ? ch->ops->send(ch, buf, len) : socket_send(fd, buf, len);
}

ssize_t channel_recv_below(Channel *ch, void *buf, size_t len)
{
    return channel_recv(ch->below, ch->fd, buf, len);
}

ssize_t channel_send_below(Channel *ch, const void *buf, size_t len)
{
    return channel_send(ch->below, ch->fd, buf, len);
}

ChannelProgress channel_handshake(Channel *ch, bool *want_write, Error **errp)
{
    *want_write = false;
    if (!ch) {
        return CHANNEL_READY;
    }
    ChannelProgress progress = channel_handshake(ch->below, want_write, errp);
    if (progress != CHANNEL_READY || !ch->ops->handshake) {
        return progress;
    }
    return ch->ops->handshake(ch, want_write, errp);
}

bool channel_has_input(Channel *ch)
{
    return ch && ((ch->ops->has_input && ch->ops->has_input(ch)) || channel_has_input(ch->below));
}

bool channel_has_output(Channel *ch)
{
    return ch &&
           ((ch->ops->has_output && ch->ops->has_output(ch)) || channel_has_output(ch->below));
}

int channel_flush(Channel *ch)
{
    if (!ch) {
        return 0;
    }
    if (ch->ops->flush && ch->ops->flush(ch) < 0) {
        return -1;
    }
    return channel_flush(ch->below);
}

void channel_free(Channel *ch)
{
    while (ch) {
        Channel *below = ch->below;
        ch->ops->free(ch);
        ch = below;
    }
}
