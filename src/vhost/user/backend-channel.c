#include "vhost/user/backend-channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fault.h"
#include "base/fd.h"

/* Requests handled before others have their turn: a back end that floods must not starve the
 * machine. */
#define REQUESTS_AT_ONCE 16

struct VhostUserBackendChannel {
    VhostUserChannel *front;
    const VhostUserBackendChannelOps *ops;
    void *opaque;
    uint64_t protocol_features;
    int fd;
    FdWatch *watch;
    VhostUserMessage in;
    size_t done;   /* bytes of header and payload */
    bool deferred; /* the answer to `in` is still to come */
};

static void channel_reset(VhostUserBackendChannel *ch)
{
    vhost_user_message_close_fds(&ch->in);
    memset(&ch->in, 0, sizeof(ch->in));
    ch->done = 0;
}

static void channel_die(VhostUserBackendChannel *ch, Error *err)
{
    fd_watch_enable(ch->watch, false, false);
    if (err) {
        ch->ops->broken(ch->opaque, err);
    }
}

/* The reply is small and the socket's buffer is not: a back end that lets it fill up is broken. */
static bool channel_reply(VhostUserBackendChannel *ch, uint64_t result, int fd, Error **errp)
{
    struct {
        VhostUserHeader header;
        uint64_t value;
    } __attribute__((packed)) reply = {
        .header = { .request = ch->in.header.request,
                    .flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
                    .size = sizeof(uint64_t) },
        .value = result,
    };
    vhost_user_channel_log_result(ch->front, &ch->in, result);
    struct iovec iov = { &reply, sizeof(reply) };
    if (fd_sendmsg(ch->fd, &iov, 1, &fd, fd >= 0) != sizeof(reply)) {
        error_set(errp, "%s: the back end does not read its replies",
                  vhost_user_backend_request_name(ch->in.header.request));
        return false;
    }
    return true;
}

static bool channel_handle(VhostUserBackendChannel *ch, Error **errp)
{
    if (!vhost_user_check_backend_request(&ch->in, ch->protocol_features, errp)) {
        return false;
    }
    const VhostUserMessageInfo *info = vhost_user_backend_request_info(ch->in.header.request);
    vhost_user_channel_log_request(ch->front, &ch->in);
    uint64_t result = ch->ops->request(ch->opaque, &ch->in);
    if (result == VHOST_USER_ANSWER_LATER) {
        ch->deferred = true;
        fd_watch_enable(ch->watch, false, false);
        return true;
    }
    bool wants = (ch->in.header.flags & VHOST_USER_NEED_REPLY) || info->answer == VU_ANSWER_PAYLOAD;
    return !wants || channel_reply(ch, result, -1, errp);
}

void vhost_user_backend_channel_answer(VhostUserBackendChannel *ch, uint64_t result, int fd)
{
    Error *err = NULL;
    if (!ch->deferred) {
        return;
    }
    ch->deferred = false;
    if (channel_reply(ch, result, fd, &err)) {
        channel_reset(ch);
        fd_watch_enable(ch->watch, true, false);
    } else {
        channel_die(ch, err);
    }
}

static size_t channel_wanted(const VhostUserBackendChannel *ch)
{
    size_t header = sizeof(VhostUserHeader);
    return ch->done < header ? header - ch->done : header + ch->in.header.size - ch->done;
}

/* One read. False at the end of what is there, or with an error. */
static bool channel_read(VhostUserBackendChannel *ch, Error **errp)
{
    uint8_t *to = ch->done < sizeof(VhostUserHeader)
                      ? (uint8_t *)&ch->in.header + ch->done
                      : (uint8_t *)&ch->in.payload + ch->done - sizeof(VhostUserHeader);
    struct iovec iov = { to, channel_wanted(ch) };
    unsigned room = VHOST_USER_MAX_FDS - ch->in.nfds;
    ssize_t n = fd_recvmsg(ch->fd, &iov, 1, ch->in.fds + ch->in.nfds, &room);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return false;
    }
    if (n < 0) {
        error_set_errno(errp, errno, "cannot read the back end's request");
        return false;
    }
    if (n == 0) { /* closed: the connection itself says more */
        fd_watch_enable(ch->watch, false, false);
        return false;
    }
    ch->in.nfds += room;
    ch->done += n;
    if (ch->done == sizeof(VhostUserHeader) && ch->in.header.size > sizeof(VhostUserPayload)) {
        error_set(errp,
                  "%s: the request claims a payload of %u bytes; no message has more than %zu",
                  vhost_user_backend_request_name(ch->in.header.request), ch->in.header.size,
                  sizeof(VhostUserPayload));
        return false;
    }
    return true;
}

static void channel_readable(void *opaque)
{
    VhostUserBackendChannel *ch = opaque;
    Error *err = NULL;
    for (int handled = 0; handled < REQUESTS_AT_ONCE;) {
        if (!channel_read(ch, &err)) {
            break;
        }
        if (ch->done >= sizeof(VhostUserHeader) && !channel_wanted(ch)) {
            if (!channel_handle(ch, &err) || ch->deferred) {
                break;
            }
            channel_reset(ch);
            handled++;
        }
    }
    if (err) {
        channel_die(ch, err);
    }
}

VhostUserBackendChannel *vhost_user_backend_channel_new(VhostUserChannel *front,
                                                        uint64_t protocol_features,
                                                        const VhostUserBackendChannelOps *ops,
                                                        void *opaque, int *backend_fd, Error **errp)
{
    int pair[2];
    if (FAULT("socketpair", errp)) {
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        error_set_errno(errp, errno, "cannot make a socket pair for the back end's requests");
        return NULL;
    }
    if (!fd_set_nonblock(pair[0], true, errp)) {
        fd_close(pair[0]);
        fd_close(pair[1]);
        return NULL;
    }
    VhostUserBackendChannel *ch = g_new0(VhostUserBackendChannel, 1);
    ch->front = front;
    ch->ops = ops;
    ch->opaque = opaque;
    ch->protocol_features = protocol_features;
    ch->fd = pair[0];
    ch->watch = fd_watch_new(event_loop_main(), ch->fd, channel_readable, NULL, ch);
    *backend_fd = pair[1];
    return ch;
}

void vhost_user_backend_channel_free(VhostUserBackendChannel *ch)
{
    if (!ch) {
        return;
    }
    fd_watch_free(ch->watch);
    fd_close(ch->fd);
    vhost_user_message_close_fds(&ch->in);
    g_free(ch);
}
