/* The part that back ends on plain descriptors share: stdio, file, pipe, pty, serial, parallel. */
#include <errno.h>
#include <unistd.h>

#include "chardev/chardev-internal.h"

#define READ_CHUNK 4096 /* bytes a dispatch */

static void hangup(CharFd *chr)
{
    CharFdClass *klass =
        (CharFdClass *)class_cast(object_class(&chr->parent.parent), TYPE_CHARDEV_FD);
    if (klass->hangup) {
        klass->hangup(&chr->parent);
        return;
    }
    fd_watch_free(chr->in_watch);
    chr->in_watch = NULL;
    if (chr->out_fd < 0 || chr->out_fd == chr->in_fd) {
        chardev_set_connected(&chr->parent, false);
    } else {
        /* The end of the input is not the end of the output: `rhea -serial stdio </dev/null`. */
        chardev_event(&chr->parent, CHAR_EVENT_CLOSED);
    }
}

static void char_fd_readable(void *opaque)
{
    CharFd *chr = opaque;
    uint8_t buf[READ_CHUNK];
    size_t room = chardev_input_room(&chr->parent);
    if (!room) {
        fd_watch_enable(chr->in_watch, false, false);
        return;
    }
    ssize_t n = read(chr->in_fd, buf, room < sizeof(buf) ? room : sizeof(buf));
    if (n > 0) {
        object_ref(&chr->parent.parent);
        chardev_input(&chr->parent, buf, n);
        object_unref(&chr->parent.parent);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        hangup(chr);
    }
}

static void char_fd_writable(void *opaque)
{
    chardev_writable(opaque);
}

static void char_fd_attach(Chardev *base)
{
    CharFd *chr = char_fd_cast(base);
    if (chr->in_fd >= 0) {
        chr->in_watch = fd_watch_new(base->loop, chr->in_fd, char_fd_readable, NULL, chr);
        fd_watch_enable(chr->in_watch, chardev_input_room(base) > 0, false);
    }
    if (chr->out_fd >= 0) {
        chr->out_watch = fd_watch_new(base->loop, chr->out_fd, NULL, char_fd_writable, chr);
        fd_watch_enable(chr->out_watch, false, false);
    }
}

static void char_fd_detach(Chardev *base)
{
    CharFd *chr = char_fd_cast(base);
    fd_watch_free(chr->in_watch);
    fd_watch_free(chr->out_watch);
    chr->in_watch = chr->out_watch = NULL;
}

static void char_fd_accept_input(Chardev *base)
{
    CharFd *chr = char_fd_cast(base);
    if (chr->in_watch) {
        fd_watch_enable(chr->in_watch, true, false);
    }
}

static void char_fd_watch_writable(Chardev *base, bool on)
{
    CharFd *chr = char_fd_cast(base);
    if (chr->out_watch) {
        fd_watch_enable(chr->out_watch, false, on);
    }
}

static ssize_t char_fd_write(Chardev *base, const void *buf, size_t len, const int *fds,
                             unsigned nfds)
{
    CharFd *chr = char_fd_cast(base);
    if (chr->out_fd < 0) {
        return len;
    }
    ssize_t n;
    do {
        n = write(chr->out_fd, buf, len);
    } while (n < 0 && errno == EINTR);
    return n;
}

bool char_fd_use(CharFd *chr, int in_fd, int out_fd, Error **errp)
{
    chr->in_fd = in_fd;
    chr->out_fd = out_fd;
    return (in_fd < 0 || fd_set_nonblock(in_fd, true, errp)) &&
           (out_fd < 0 || out_fd == in_fd || fd_set_nonblock(out_fd, true, errp));
}

static void char_fd_close(Chardev *base)
{
    CharFd *chr = char_fd_cast(base);
    fd_close(chr->in_fd);
    if (chr->out_fd != chr->in_fd) {
        fd_close(chr->out_fd);
    }
    chr->in_fd = chr->out_fd = -1;
}

static void char_fd_instance_init(Object *obj)
{
    CharFd *chr = (CharFd *)obj;
    chr->in_fd = chr->out_fd = -1;
}

static void char_fd_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->loops = true;
    chardev->always_open = true;
    chardev->close = char_fd_close;
    chardev->attach = char_fd_attach;
    chardev->detach = char_fd_detach;
    chardev->write = char_fd_write;
    chardev->watch_writable = char_fd_watch_writable;
    chardev->accept_input = char_fd_accept_input;
}

static const TypeInfo char_fd_type = {
    .name = TYPE_CHARDEV_FD,
    .parent = TYPE_CHARDEV,
    .instance_size = sizeof(CharFd),
    .class_size = sizeof(CharFdClass),
    .abstract = true,
    .instance_init = char_fd_instance_init,
    .class_init = char_fd_class_init,
};
OBJECT_TYPE(char_fd, char_fd_type)
