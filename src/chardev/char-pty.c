/*
 * pty: a new pseudo terminal; whoever opens its slave side is the other side.
 *
 * While nobody has the slave open the master says POLLHUP all the time, so it is not watched then;
 * inotify tells when the slave is opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>

#include "base/fault.h"
#include "chardev/chardev-internal.h"

typedef struct CharPty {
    CharFd parent;
    int inotify; /* -1: none */
    FdWatch *inotify_watch;
} CharPty;

static bool slave_is_open(CharPty *chr)
{
    struct pollfd p = { .fd = chr->parent.in_fd, .events = POLLIN };
    return poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP);
}

static void pty_look(CharPty *chr)
{
    Chardev *base = &chr->parent.parent;
    if (chardev_is_connected(base) || !slave_is_open(chr)) {
        return;
    }
    chardev_set_connected(base, true);
    fd_watch_enable(chr->parent.in_watch, true, false);
}

static void pty_opened(void *opaque)
{
    CharPty *chr = opaque;
    char events[512];
    while (read(chr->inotify, events, sizeof(events)) > 0) {
        /* only that something happened counts */
    }
    pty_look(chr);
}

static void pty_hangup(Chardev *base)
{
    CharPty *chr = (CharPty *)base;
    fd_watch_enable(chr->parent.in_watch, false, false);
    chardev_set_connected(base, false);
    /* It may have been opened again before we noticed. */
    pty_look(chr);
}

static void pty_accept_input(Chardev *base)
{
    CharPty *chr = (CharPty *)base;
    if (chr->parent.in_watch && chardev_is_connected(base)) {
        fd_watch_enable(chr->parent.in_watch, true, false);
    }
}

static void pty_attach(Chardev *base)
{
    CharPty *chr = (CharPty *)base;
    chardev_class_cast(class_by_name(TYPE_CHARDEV_FD))->attach(base);
    fd_watch_enable(chr->parent.in_watch, chardev_is_connected(base), false);
    chr->inotify_watch = fd_watch_new(base->loop, chr->inotify, pty_opened, NULL, chr);
    pty_look(chr);
}

static void pty_detach(Chardev *base)
{
    CharPty *chr = (CharPty *)base;
    chardev_class_cast(class_by_name(TYPE_CHARDEV_FD))->detach(base);
    fd_watch_free(chr->inotify_watch);
    chr->inotify_watch = NULL;
}

static bool make_raw(const char *name, Error **errp)
{
    struct termios tty;
    FD_AUTO slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0 || tcgetattr(slave, &tty)) {
        error_set_errno(errp, errno, "Could not open '%s'", name);
        return false;
    }
    cfmakeraw(&tty);
    tcsetattr(slave, TCSAFLUSH, &tty);
    return true;
}

static bool pty_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharPty *chr = (CharPty *)base;
    const ChardevCommon *options = &record->u.pty.data;
    char name[64];
    if (FAULT("posix_openpt", errp)) {
        return false;
    }
    FD_AUTO master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || grantpt(master) || unlockpt(master) ||
        ptsname_r(master, name, sizeof(name))) {
        error_set_errno(errp, errno, "Failed to create a pseudo terminal");
        return false;
    }
    chr->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (chr->inotify < 0 || !make_raw(name, errp) ||
        inotify_add_watch(chr->inotify, name, IN_OPEN) < 0) {
        if (errp && !*errp) {
            error_set_errno(errp, errno, "Failed to watch '%s'", name);
        }
        return false;
    }
    if (!chardev_open_log(base, options, errp)) {
        return false;
    }
    int fd = fd_steal(&master);
    if (!char_fd_use(&chr->parent, fd, fd, errp)) {
        return false;
    }
    chardev_set_filename(base, "pty:%s", name);
    if (base->id) {
        printf("char device redirected to %s (label %s)\n", name, base->id);
        fflush(stdout);
    }
    return true;
}

static void pty_close(Chardev *base)
{
    CharPty *chr = (CharPty *)base;
    fd_close(chr->inotify);
    chr->inotify = -1;
    chardev_class_cast(class_by_name(TYPE_CHARDEV_FD))->close(base);
}

static void pty_instance_init(Object *obj)
{
    ((CharPty *)obj)->inotify = -1;
}

static void pty_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "pty";
    chardev->always_open = false;
    chardev->open = pty_open;
    chardev->close = pty_close;
    chardev->attach = pty_attach;
    chardev->detach = pty_detach;
    chardev->accept_input = pty_accept_input;
    ((CharFdClass *)klass)->hangup = pty_hangup;
}

static const TypeInfo pty_type = {
    .name = "chardev-pty",
    .parent = TYPE_CHARDEV_FD,
    .help = "a new pseudo terminal",
    .instance_size = sizeof(CharPty),
    .instance_init = pty_instance_init,
    .class_init = pty_class_init,
};
OBJECT_TYPE(char_pty, pty_type)
