/* udp: each write is a datagram, each datagram is input. */
#include <errno.h>
#include <sys/socket.h>

#include "chardev/chardev-address.h"
#include "chardev/chardev-internal.h"
#include "event/socket.h"

#define UDP_MAX 65536 /* bytes of a datagram */

typedef struct CharUdp {
    Chardev parent;
    int fd;
    FdWatch *in_watch, *out_watch;
    uint8_t datagram[UDP_MAX];
    size_t len, done; /* of the datagram being handed to the front end */
} CharUdp;

static void udp_deliver(CharUdp *udp)
{
    size_t room;
    while (udp->done < udp->len && (room = chardev_input_room(&udp->parent)) > 0) {
        size_t left = udp->len - udp->done;
        size_t n = room < left ? room : left;
        const uint8_t *from = udp->datagram + udp->done;
        udp->done += n;
        chardev_input(&udp->parent, from, n);
    }
}

static void udp_readable(void *opaque)
{
    CharUdp *udp = opaque;
    object_ref(&udp->parent.parent);
    udp_deliver(udp);
    if (udp->done < udp->len || !chardev_input_room(&udp->parent)) {
        fd_watch_enable(udp->in_watch, false, false);
    } else {
        ssize_t n = recv(udp->fd, udp->datagram, sizeof(udp->datagram), 0);
        udp->done = 0;
        udp->len = n > 0 ? n : 0;
        udp_deliver(udp);
    }
    object_unref(&udp->parent.parent);
}

static void udp_writable(void *opaque)
{
    chardev_writable(opaque);
}

static ssize_t udp_write(Chardev *base, const void *buf, size_t len, const int *fds, unsigned nfds)
{
    CharUdp *udp = (CharUdp *)base;
    ssize_t n = send(udp->fd, buf, len, MSG_NOSIGNAL);
    /* Nobody there now (ECONNREFUSED) is a lost datagram, like any other. */
    return n < 0 && errno != EAGAIN ? (ssize_t)len : n;
}

static void udp_attach(Chardev *base)
{
    CharUdp *udp = (CharUdp *)base;
    udp->in_watch = fd_watch_new(base->loop, udp->fd, udp_readable, NULL, udp);
    udp->out_watch = fd_watch_new(base->loop, udp->fd, NULL, udp_writable, udp);
    fd_watch_enable(udp->out_watch, false, false);
}

static void udp_detach(Chardev *base)
{
    CharUdp *udp = (CharUdp *)base;
    fd_watch_free(udp->in_watch);
    fd_watch_free(udp->out_watch);
    udp->in_watch = udp->out_watch = NULL;
}

static void udp_accept_input(Chardev *base)
{
    CharUdp *udp = (CharUdp *)base;
    if (udp->in_watch) {
        udp_deliver(udp);
        fd_watch_enable(udp->in_watch, udp->done == udp->len, false);
    }
}

static void udp_watch_writable(Chardev *base, bool on)
{
    fd_watch_enable(((CharUdp *)base)->out_watch, false, on);
}

static bool udp_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharUdp *udp = (CharUdp *)base;
    const ChardevUdp *options = &record->u.udp.data;
    SocketAddr remote = { 0 };
    SocketAddr local = { 0 };
    if (!socket_addr_from_legacy_record(&remote, &options->remote, errp)) {
        return false;
    }
    if (options->local && !socket_addr_from_legacy_record(&local, options->local, errp)) {
        socket_addr_release(&remote);
        return false;
    }
    udp->fd = socket_dgram(options->local ? &local : NULL, &remote, errp);
    socket_addr_release(&remote);
    socket_addr_release(&local);
    chardev_set_filename(base, "udp");
    return udp->fd >= 0 && chardev_open_log(base, (const ChardevCommon *)options, errp);
}

static void udp_close(Chardev *base)
{
    CharUdp *udp = (CharUdp *)base;
    fd_close(udp->fd);
    udp->fd = -1;
}

static void udp_instance_init(Object *obj)
{
    ((CharUdp *)obj)->fd = -1;
}

static void udp_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "udp";
    chardev->loops = true;
    chardev->always_open = true;
    chardev->open = udp_open;
    chardev->close = udp_close;
    chardev->attach = udp_attach;
    chardev->detach = udp_detach;
    chardev->write = udp_write;
    chardev->watch_writable = udp_watch_writable;
    chardev->accept_input = udp_accept_input;
}

static const TypeInfo udp_type = {
    .name = "chardev-udp",
    .parent = TYPE_CHARDEV,
    .help = "datagrams",
    .instance_size = sizeof(CharUdp),
    .instance_init = udp_instance_init,
    .class_init = udp_class_init,
};
OBJECT_TYPE(char_udp, udp_type)
