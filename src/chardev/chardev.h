/*
 * Character devices: a stream of bytes (and, over unix sockets, file descriptors) between a front
 * end inside the machine (a serial port, a monitor, a vhost-user client) and a back end on the host
 * (a socket, a terminal, a file).
 *
 * Front ends hold a CharFrontend. Nothing here blocks: what can't be written now is refused (short
 * write, then CharHandlers.writable) or waits in a bounded queue; what isn't connected yet is a
 * state.
 *
 * Threads: a chardev lives in one event loop, the main loop unless its front end asked for
 * another with char_frontend_set_handlers(). All functions are called in that loop's thread (main
 * loop: machine lock held), but for those marked "any thread"; creation, deletion and moving
 * between loops happen in the main thread.
 */
#ifndef CHARDEV_CHARDEV_H
#define CHARDEV_CHARDEV_H

#include "base/fd.h"
#include "event/clock.h"
#include "event/loop.h"
#include "object/object.h"

#define TYPE_CHARDEV         "chardev"
#define TYPE_CHARDEV_SOCKET  "chardev-socket"
#define TYPE_CHARDEV_MUX     "chardev-mux"
#define TYPE_CHARDEV_RINGBUF "chardev-ringbuf"

/* Bytes that char_frontend_write_all() may leave waiting for a slow back end. */
#define CHARDEV_QUEUE_MAX (1024 * 1024)

typedef struct Chardev Chardev;
typedef struct CharFrontend CharFrontend;
struct ChardevBackend; /* the typed record (schema/chardev.schema) */

typedef enum CharEvent {
    CHAR_EVENT_OPENED,  /* the other side is there */
    CHAR_EVENT_CLOSED,  /* it is gone; it may come back */
    CHAR_EVENT_BREAK,   /* serial break */
    CHAR_EVENT_MUX_IN,  /* this front end of a mux has the focus now */
    CHAR_EVENT_MUX_OUT, /* it has lost it */
} CharEvent;

/* Each member may be NULL. A front end without can_receive takes no input. */
typedef struct CharHandlers {
    /* Bytes that receive() would take now. After 0, input waits for char_frontend_accept_input().
     */
    size_t (*can_receive)(void *opaque);
    /* 1 <= len <= what can_receive() said. Descriptors that came along: char_frontend_take_fds().
     */
    void (*receive)(void *opaque, const uint8_t *buf, size_t len);
    void (*event)(void *opaque, CharEvent event);
    /* After a short write: there may be room again. */
    void (*writable)(void *opaque);
    /* chardev-change put another back end behind this front end. A front end without it can't be
     * changed. */
    bool (*backend_changed)(void *opaque, Error **errp);
} CharHandlers;

/* Embedded in the front end's struct; zeroed means not attached. */
struct CharFrontend {
    Chardev *chardev; /* a reference; NULL: bytes vanish */
    const CharHandlers *handlers;
    void *opaque;
    unsigned tag; /* which of a mux's front ends this is */
    bool open;    /* OPENED was the last of OPENED and CLOSED */
};

/* --- Front end --- */

/* Attach; an error if the chardev has a front end already (a mux takes several). chardev NULL makes
 * a front end that swallows what it is given. */
MUST_CHECK bool char_frontend_init(CharFrontend *fe, Chardev *chardev, Error **errp);
/* Handlers off, detach. Harmless for a zeroed one. Main thread. */
void char_frontend_finish(CharFrontend *fe);
/*
 * handlers NULL: take no input. loop NULL: the main loop; another loop is only possible where
 * chardev_supports_loops(). If the back end is open, OPENED is reported at once (in that loop's
 * thread). Main thread.
 */
void char_frontend_set_handlers(CharFrontend *fe, const CharHandlers *handlers, void *opaque,
                                EventLoop *loop);
/* Tell the back end that somebody here listens (a guest opened the port). */
void char_frontend_set_open(CharFrontend *fe, bool open);
/* can_receive() has become positive. */
void char_frontend_accept_input(CharFrontend *fe);
/* Make this the focused front end of a mux; nothing for others. */
void char_frontend_take_focus(CharFrontend *fe);
bool char_frontend_is_attached(const CharFrontend *fe);
/* The other side is there. */
bool char_frontend_is_connected(const CharFrontend *fe);

/*
 * Write what goes now; returns the bytes taken. After fewer than len, writable() will be called.
 * With nobody connected everything is taken and vanishes, as on a serial line.
 */
size_t char_frontend_write(CharFrontend *fe, const void *buf, size_t len);
/*
 * All or nothing: what doesn't go now waits in the back end's queue, in order. False, and nothing
 * is sent, if nobody is connected or the queue would exceed CHARDEV_QUEUE_MAX.
 */
MUST_CHECK bool char_frontend_write_all(CharFrontend *fe, const void *buf, size_t len,
                                        Error **errp);
/* As write_all, with descriptors attached to the first byte. They stay the caller's. Errors also
 * where the back end can't pass descriptors. */
MUST_CHECK bool char_frontend_write_fds(CharFrontend *fe, const void *buf, size_t len,
                                        const int *fds, unsigned nfds, Error **errp);
/* Bytes of write_all() that wait. */
size_t char_frontend_pending(const CharFrontend *fe);
/* The descriptors that came with what was received until now; the caller owns them. Returns the
 * count (at most max; more are closed). */
unsigned char_frontend_take_fds(CharFrontend *fe, int *fds, unsigned max);

/* Serial lines. False where the back end has no such thing. */
typedef struct CharSerialParams {
    unsigned speed; /* baud */
    char parity;    /* 'N', 'E', 'O' */
    unsigned data_bits;
    unsigned stop_bits;
} CharSerialParams;
bool char_frontend_set_serial_params(CharFrontend *fe, const CharSerialParams *params);
bool char_frontend_set_break(CharFrontend *fe, bool on);
/* TIOCM_* bits */
bool char_frontend_get_modem(CharFrontend *fe, int *lines);
bool char_frontend_set_modem(CharFrontend *fe, int lines);
/* Echo typed characters (terminals). */
void char_frontend_set_echo(CharFrontend *fe, bool echo);

/* --- Chardevs --- */

/* Make and open a back end; id is that of -chardev and lands at /chardevs/ID; NULL makes a private
 * one, of which the caller owns the reference. With an id the result is borrowed. */
Chardev *chardev_new(const char *id, const struct ChardevBackend *record, Error **errp);
/* An error if there is none, if a front end uses it, or if the machine still needs it. */
MUST_CHECK bool chardev_remove(const char *id, Error **errp);
/* Put another back end behind the same id and front end. */
MUST_CHECK bool chardev_change(const char *id, const struct ChardevBackend *record, Error **errp);
/* Close all and empty /chardevs. Front ends must be gone. */
void chardev_finish_all(void);
/* From now on standard input and output are not for chardevs: the option that takes them away
 * (static), or NULL. */
void chardev_forbid_stdio(const char *why);

Chardev *chardev_find(const char *id); /* borrowed; NULL if there is none */
/* As above with an error that names the id and suggests one. */
Chardev *chardev_find_or_error(const char *id, Error **errp);
const char *chardev_id(const Chardev *chr); /* NULL: private */
/* "unix:/run/x.sock,server=on", "pty:/dev/pts/3"; the caller frees. Any thread. */
char *chardev_filename(Chardev *chr);
bool chardev_is_busy(const Chardev *chr);      /* no further front end can attach */
bool chardev_is_connected(const Chardev *chr); /* any thread */
bool chardev_frontend_is_open(const Chardev *chr);
bool chardev_supports_loops(const Chardev *chr);
/* Can pass descriptors; while not connected: may be able to. */
bool chardev_supports_fds(const Chardev *chr);
bool chardev_reconnects(const Chardev *chr); /* comes back by itself after CLOSED */
bool chardev_is_server(const Chardev *chr);
/* Drop the present connection: CLOSED follows from a bottom half; servers listen on, reconnecting
 * clients try again. Nothing where there is no connection. */
void chardev_disconnect(Chardev *chr);
MUST_CHECK bool chardev_send_break(Chardev *chr, Error **errp);
/* Process id at the other end of a unix socket; -1 if not known. Any thread. */
int chardev_peer_pid(Chardev *chr);

/*
 * Cutting a connection whatever the machine does at the moment (yank): for out-of-band commands,
 * any thread. False if the chardev has no connection; with cut false nothing is done.
 */
bool chardev_yank(const char *id, bool cut);
void chardev_yank_foreach(void (*visit)(const char *id, void *opaque), void *opaque);

/* Told whenever any chardev connects, disconnects, or its first connection fails; in the main
 * thread, from a bottom half. */
typedef void ChardevStateFn(void *opaque);
void chardev_set_state_fn(ChardevStateFn *fn, void *opaque);

/*
 * Start-up: the first chardev whose options ask the machine to wait for the other side
 * (server=on,wait=on, or a client that has not got its first answer), NULL when none is left.
 * chardev_describe_wait(): "chardev 'c0' to be connected at unix:/tmp/x,server=on"; caller frees.
 */
Chardev *chardev_waiting(void);
char *chardev_describe_wait(Chardev *chr);
/* False: a chardev's first connection failed for good, and start-up has to end. */
MUST_CHECK bool chardev_check_started(Error **errp);

/* The escape character of muxes (-echr); 0: none. Before muxes are made. */
void chardev_mux_set_escape(int character);
/* Muxes hold back OPENED for their front ends until start-up is over. */
void chardev_mux_suspend_opens(void);
void chardev_mux_resume_opens(void);

/* --- Ring buffers (ringbuf-read, ringbuf-write): an error where chr isn't one --- */

MUST_CHECK bool chardev_ringbuf_write(Chardev *chr, const void *buf, size_t len, Error **errp);
/* At most max bytes, taken out; the caller frees. */
uint8_t *chardev_ringbuf_read(Chardev *chr, size_t max, size_t *len, Error **errp);

#endif
