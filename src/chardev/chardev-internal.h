/* What back ends (char-*.c) share with the core. */
#ifndef CHARDEV_CHARDEV_INTERNAL_H
#define CHARDEV_CHARDEV_INTERNAL_H

#include "chardev/chardev.h"
#include "schema/chardev.h"

/* One piece of output that waits; descriptors go with its first byte. */
typedef struct CharSegment {
    struct CharSegment *next;
    size_t len, done; /* bytes */
    unsigned nfds;
    int fds[FD_PASS_MAX]; /* owned until sent */
    uint8_t data[];
} CharSegment;

struct Chardev {
    Object parent;
    char *id;         /* NULL: private */
    CharFrontend *fe; /* borrowed; NULL: none (muxes keep their own) */
    EventLoop
        *loop;     /* where watches and handlers live; changed by the main thread while detached */
    bool attached; /* watches exist */
    int connected; /* atomic */
    bool opened;   /* class->open succeeded, close is due; main thread */

    GMutex lock; /* filename: any thread */
    char *filename;

    CharSegment *out_first, **out_last; /* loop's thread */
    size_t out_pending;                 /* bytes in the queue; loop's thread */
    bool want_writable;                 /* a short write is to be answered; loop's thread */

    int log_fd; /* -1: none */
};

typedef struct ChardevClass ChardevClass;
struct ChardevClass {
    ObjectClass parent;
    const char *backend; /* what -chardev calls it; NULL: internal */
    bool loops;          /* may live in another loop than main */
    bool several_frontends;
    bool always_open; /* OPENED as soon as it is made */

    /* Main thread. A failed open leaves what close would have undone to finalize. */
    bool (*open)(Chardev *chr, const ChardevBackend *record, Error **errp);
    /* Give up host resources; also after a failed open, so it copes with half-made state. */
    void (*close)(Chardev *chr);
    /* Make and drop watches; called in the thread of chr->loop. Optional. */
    void (*attach)(Chardev *chr);
    void (*detach)(Chardev *chr);

    /* Write what goes at once; -1 with errno. Any error but EAGAIN: the bytes are lost, and the
     * back end itself reports the end of the connection. nfds is 0 without passes_fds. */
    ssize_t (*write)(Chardev *chr, const void *buf, size_t len, const int *fds, unsigned nfds);
    /* Call chardev_writable() once write() may succeed. NULL: it always takes everything. */
    void (*watch_writable)(Chardev *chr, bool on);
    void (*accept_input)(Chardev *chr);
    unsigned (*take_fds)(Chardev *chr, int *fds, unsigned max);
    bool (*passes_fds)(Chardev *chr);

    void (*disconnect)(Chardev *chr);
    bool (*reconnects)(Chardev *chr);
    bool (*is_server)(Chardev *chr);
    /* start-up: see chardev_waiting() and chardev_check_started() */
    bool (*is_waiting)(Chardev *chr);
    bool (*check_started)(Chardev *chr, Error **errp);
    int (*peer_pid)(Chardev *chr);

    bool (*set_serial_params)(Chardev *chr, const CharSerialParams *params);
    bool (*set_break)(Chardev *chr, bool on);
    bool (*get_modem)(Chardev *chr, int *lines);
    bool (*set_modem)(Chardev *chr, int lines);
    void (*set_echo)(Chardev *chr, bool echo);
    void (*frontend_open)(Chardev *chr, bool open);

    /* Muxes: attach (tag is theirs to give), detach, handlers changed, focus. */
    bool (*frontend_attach)(Chardev *chr, CharFrontend *fe, Error **errp);
    void (*frontend_detach)(Chardev *chr, CharFrontend *fe);
    void (*frontend_changed)(Chardev *chr, CharFrontend *fe);
    void (*frontend_focus)(Chardev *chr, CharFrontend *fe);
    void (*frontend_accept)(Chardev *chr, CharFrontend *fe);
    size_t (*frontend_write)(Chardev *chr, CharFrontend *fe, const void *buf, size_t len);
    void (*event)(Chardev *chr, CharEvent event); /* a mux hands events to all */
    bool (*is_busy)(const Chardev *chr);
    CharFrontend *(*below)(Chardev *chr);
};

static inline UNUSED ChardevClass *chardev_class_of(const void *chr)
{
    return (ChardevClass *)class_cast(object_class((const Object *)chr), TYPE_CHARDEV);
}

static inline UNUSED ChardevClass *chardev_class_cast(void *klass)
{
    return (ChardevClass *)class_cast((ObjectClass *)klass, TYPE_CHARDEV);
}

static inline UNUSED Chardev *chardev_cast(void *obj)
{
    return (Chardev *)object_cast((Object *)obj, TYPE_CHARDEV);
}

/* --- For back ends; loop's thread --- */

/* Bytes the front end takes now. */
size_t chardev_input_room(Chardev *chr);
void chardev_input(Chardev *chr, const uint8_t *buf, size_t len);
/* OPENED or CLOSED, when that is news. CLOSED drops the queue. */
void chardev_set_connected(Chardev *chr, bool connected);
void chardev_event(Chardev *chr, CharEvent event);
/* The descriptor is writable again: send the queue, then tell the front end. */
void chardev_writable(Chardev *chr);
void chardev_set_filename(Chardev *chr, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Something chardev_waiting() or chardev_check_started() says has changed. Any thread. */
void chardev_state_changed(void);
/* Everything a back end writes also goes there. */
MUST_CHECK bool chardev_open_log(Chardev *chr, const ChardevCommon *options, Error **errp);
void chardev_log(Chardev *chr, const void *buf, size_t len);
/* The id, "" for a private one: for messages. */
const char *chardev_name(const Chardev *chr);
/* The object type of a record's kind; an error names the kinds there are. */
const char *chardev_record_type(const ChardevBackend *record, Error **errp);

/* --- A back end on one or two descriptors (char-fd.c) --- */

#define TYPE_CHARDEV_FD "chardev-fd"

typedef struct CharFd {
    Chardev parent;
    int in_fd, out_fd; /* owned; may be equal; -1: that direction does not exist */
    FdWatch *in_watch, *out_watch;
} CharFd;

static inline UNUSED CharFd *char_fd_cast(void *obj)
{
    return (CharFd *)object_cast((Object *)obj, TYPE_CHARDEV_FD);
}

typedef struct CharFdClass {
    ChardevClass parent;
    /* The other side has gone (end of file, error). NULL: CLOSED, and no more is read. */
    void (*hangup)(Chardev *chr);
} CharFdClass;

/* Take over descriptors (made non-blocking). */
MUST_CHECK bool char_fd_use(CharFd *chr, int in_fd, int out_fd, Error **errp);

/* Open a path for a back end; "/dev/fdset/N" takes a descriptor of that set. -1 on failure. */
int chardev_open_path(const char *path, int flags, Error **errp);

#endif
