/* serial (also called tty): a serial line or other terminal device of the host. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/bits.h"
#include "chardev/chardev-internal.h"

typedef struct CharTty {
    CharFd parent;
    struct termios saved;
    bool changed; /* saved is valid */
} CharTty;

static const struct {
    unsigned baud;
    speed_t code;
} speeds[] = {
    { 50, B50 },         { 75, B75 },         { 110, B110 },       { 134, B134 },
    { 150, B150 },       { 200, B200 },       { 300, B300 },       { 600, B600 },
    { 1200, B1200 },     { 1800, B1800 },     { 2400, B2400 },     { 4800, B4800 },
    { 9600, B9600 },     { 19200, B19200 },   { 38400, B38400 },   { 57600, B57600 },
    { 115200, B115200 }, { 230400, B230400 }, { 460800, B460800 }, { 921600, B921600 },
};

/* The host's next speed that is at least as fast. */
static speed_t speed_code(unsigned baud)
{
    for (size_t i = 0; i < ARRAY_LEN(speeds); i++) {
        if (speeds[i].baud >= baud) {
            return speeds[i].code;
        }
    }
    return speeds[ARRAY_LEN(speeds) - 1].code;
}

static bool tty_set_params(Chardev *base, const CharSerialParams *params)
{
    CharTty *chr = (CharTty *)base;
    static const tcflag_t sizes[] = { CS5, CS6, CS7, CS8 };
    struct termios tty;
    if (tcgetattr(chr->parent.in_fd, &tty)) {
        return false;
    }
    speed_t code = speed_code(params->speed);
    cfsetispeed(&tty, code);
    cfsetospeed(&tty, code);
    cfmakeraw(&tty);
    tty.c_cflag &= ~(CSIZE | PARENB | PARODD | CRTSCTS | CSTOPB);
    tty.c_cflag |= CREAD | CLOCAL;
    tty.c_cflag |= sizes[MIN_OF(MAX_OF(params->data_bits, 5), 8) - 5];
    tty.c_cflag |= params->parity == 'N' ? 0 : PARENB;
    tty.c_cflag |= params->parity == 'O' ? PARODD : 0;
    tty.c_cflag |= params->stop_bits == 2 ? CSTOPB : 0;
    return tcsetattr(chr->parent.in_fd, TCSANOW, &tty) == 0;
}

static bool tty_set_break(Chardev *base, bool on)
{
    return ioctl(char_fd_cast(base)->in_fd, on ? TIOCSBRK : TIOCCBRK, 0) == 0;
}

static bool tty_get_modem(Chardev *base, int *lines)
{
    return ioctl(char_fd_cast(base)->in_fd, TIOCMGET, lines) == 0;
}

static bool tty_set_modem(Chardev *base, int lines)
{
    int fd = char_fd_cast(base)->in_fd;
    int now;
    if (ioctl(fd, TIOCMGET, &now)) {
        return false;
    }
    now = (now & ~(TIOCM_DTR | TIOCM_RTS)) | (lines & (TIOCM_DTR | TIOCM_RTS));
    return ioctl(fd, TIOCMSET, &now) == 0;
}

static bool tty_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharTty *chr = (CharTty *)base;
    const ChardevHostdev *options = &record->u.serial.data;
    FD_AUTO fd = chardev_open_path(options->device, O_RDWR | O_NONBLOCK | O_NOCTTY, errp);
    if (fd < 0) {
        return false;
    }
    if (tcgetattr(fd, &chr->saved)) {
        error_set_errno(errp, errno, "'%s' is not a serial line", options->device);
        return false;
    }
    chr->changed = true;
    int both = fd_steal(&fd);
    static const CharSerialParams initial = { 115200, 'N', 8, 1 };
    if (!char_fd_use(&chr->parent, both, both, errp)) {
        return false;
    }
    tty_set_params(base, &initial);
    chardev_set_filename(base, "serial");
    return chardev_open_log(base, (const ChardevCommon *)options, errp);
}

static void tty_close(Chardev *base)
{
    CharTty *chr = (CharTty *)base;
    if (chr->changed && chr->parent.in_fd >= 0) {
        tcsetattr(chr->parent.in_fd, TCSANOW, &chr->saved);
    }
    chardev_class_cast(class_by_name(TYPE_CHARDEV_FD))->close(base);
}

static void tty_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "serial";
    chardev->open = tty_open;
    chardev->close = tty_close;
    chardev->set_serial_params = tty_set_params;
    chardev->set_break = tty_set_break;
    chardev->get_modem = tty_get_modem;
    chardev->set_modem = tty_set_modem;
}

static const TypeInfo tty_type = {
    .name = "chardev-serial",
    .parent = TYPE_CHARDEV_FD,
    .help = "a serial line of the host",
    .instance_size = sizeof(CharTty),
    .class_init = tty_class_init,
};
OBJECT_TYPE(char_tty, tty_type)
