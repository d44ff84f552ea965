/* stdio: the process's standard input and output; a terminal is put into raw mode meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "chardev/chardev-internal.h"

typedef struct CharStdio {
    CharFd parent;
    bool mine;        /* this one holds stdio_in_use */
    bool is_terminal; /* saved is valid */
    struct termios saved;
    int saved_flags[2]; /* of descriptors 0 and 1; -1: not saved */
    bool signals;       /* the terminal's interrupt keys send signals */
    bool echo;
} CharStdio;

/* There is one standard input in a process. */
static bool stdio_in_use;
/* Why this process has none; constant once options are read. */
static const char *stdio_forbidden;

void chardev_forbid_stdio(const char *why)
{
    stdio_forbidden = why;
}

static void apply_terminal(CharStdio *chr)
{
    if (!chr->is_terminal) {
        return;
    }
    struct termios tty = chr->saved;
    tty.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    tty.c_oflag |= OPOST;
    tty.c_lflag &= ~(ECHONL | ICANON | IEXTEN | ECHO | ISIG);
    tty.c_lflag |= (chr->echo ? ECHO : 0) | (chr->signals ? ISIG : 0);
    tty.c_cflag = (tty.c_cflag & ~(CSIZE | PARENB)) | CS8;
    tty.c_cc[VMIN] = 1;
    tty.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &tty);
}

static bool stdio_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharStdio *chr = (CharStdio *)base;
    const ChardevStdio *options = &record->u.stdio.data;
    if (stdio_forbidden) {
        error_set(errp, "chardev '%s': there is no standard input and output with %s",
                  chardev_name(base), stdio_forbidden);
        return false;
    }
    if (stdio_in_use) {
        error_set(errp,
                  "chardev '%s': standard input and output are already in use by another "
                  "chardev",
                  chardev_name(base));
        return false;
    }
    stdio_in_use = chr->mine = true;
    chr->signals = !options->has_signal || options->signal;
    for (int fd = 0; fd < 2; fd++) {
        chr->saved_flags[fd] = fcntl(fd, F_GETFL);
    }
    chr->is_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &chr->saved) == 0;
    apply_terminal(chr);
    chardev_set_filename(base, "stdio");
    return chardev_open_log(base, (const ChardevCommon *)options, errp) &&
           char_fd_use(&chr->parent, STDIN_FILENO, STDOUT_FILENO, errp);
}

static void stdio_close(Chardev *base)
{
    CharStdio *chr = (CharStdio *)base;
    if (!chr->mine) {
        return;
    }
    if (chr->is_terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &chr->saved);
    }
    for (int fd = 0; fd < 2; fd++) {
        if (chr->saved_flags[fd] >= 0) {
            fcntl(fd, F_SETFL, chr->saved_flags[fd]);
        }
    }
    /* 0 and 1 belong to the process */
    chr->parent.in_fd = chr->parent.out_fd = -1;
    stdio_in_use = false;
}

static void stdio_set_echo(Chardev *base, bool echo)
{
    CharStdio *chr = (CharStdio *)base;
    chr->echo = echo;
    apply_terminal(chr);
}

static void stdio_instance_init(Object *obj)
{
    CharStdio *chr = (CharStdio *)obj;
    chr->saved_flags[0] = chr->saved_flags[1] = -1;
}

static void stdio_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "stdio";
    chardev->open = stdio_open;
    chardev->close = stdio_close;
    chardev->set_echo = stdio_set_echo;
}

static const TypeInfo stdio_type = {
    .name = "chardev-stdio",
    .parent = TYPE_CHARDEV_FD,
    .help = "standard input and output",
    .instance_size = sizeof(CharStdio),
    .instance_init = stdio_instance_init,
    .class_init = stdio_class_init,
};
OBJECT_TYPE(char_stdio, stdio_type)
