/*
 * Chardevs: life, front ends, output queue, log, and what start-up asks.
 *
 * Order of a write: char_frontend_write() → class->write(); what is refused is reported short, and
 * class->watch_writable() leads to chardev_writable() → CharHandlers.writable(). write_all() puts
 * the refused rest into segments, which chardev_writable() sends first.
 */
#include "chardev/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fdset.h"
#include "base/report.h"
#include "base/text.h"
#include "chardev/chardev-internal.h"
#include "event/call.h"
#include "trace/chardev-events.h"

/* Where chardevs with an id live. */
static Object *chardev_container(void)
{
    return object_container("/chardevs");
}

/* The one listener start-up has; there is one start-up in a process. */
static ChardevStateFn *state_fn;
static void *state_opaque;

/* --- Output --- */

static void segment_free(CharSegment *segment)
{
    for (unsigned i = 0; i < segment->nfds; i++) {
        fd_close(segment->fds[i]);
    }
    g_free(segment);
}

static void queue_drop(Chardev *chr)
{
    while (chr->out_first) {
        CharSegment *segment = chr->out_first;
        chr->out_first = segment->next;
        segment_free(segment);
    }
    chr->out_last = &chr->out_first;
    chr->out_pending = 0;
}

static void watch_writable(Chardev *chr)
{
    ChardevClass *klass = chardev_class_of(chr);
    if (klass->watch_writable && chr->attached) {
        klass->watch_writable(chr, chr->want_writable || chr->out_first);
    }
}

/* Bytes that are done with: written, or lost with their connection. */
static size_t write_now(Chardev *chr, const void *buf, size_t len, const int *fds, unsigned nfds)
{
    ssize_t n = chardev_class_of(chr)->write(chr, buf, len, fds, nfds);
    if (n < 0) {
        return errno == EAGAIN ? 0 : len;
    }
    chardev_log(chr, buf, n);
    return n;
}

void chardev_writable(Chardev *chr)
{
    while (chr->out_first) {
        CharSegment *segment = chr->out_first;
        size_t left = segment->len - segment->done;
        bool first = segment->done == 0;
        size_t n = write_now(chr, segment->data + segment->done, left, segment->fds,
                             first ? segment->nfds : 0);
        if (chr->out_first != segment) {
            return; /* the connection ended and took the queue with it */
        }
        if (n == 0) {
            break;
        }
        segment->done += n;
        chr->out_pending -= n;
        if (segment->done < segment->len) {
            break;
        }
        chr->out_first = segment->next;
        if (!chr->out_first) {
            chr->out_last = &chr->out_first;
        }
        segment_free(segment);
    }
    if (!chr->out_first && chr->want_writable) {
        chr->want_writable = false;
        watch_writable(chr);
        if (chr->fe && chr->fe->handlers && chr->fe->handlers->writable) {
            chr->fe->handlers->writable(chr->fe->opaque);
        }
        return;
    }
    watch_writable(chr);
}

size_t char_frontend_write(CharFrontend *fe, const void *buf, size_t len)
{
    Chardev *chr = fe->chardev;
    if (!chr || !len) {
        return len;
    }
    ChardevClass *klass = chardev_class_of(chr);
    if (klass->frontend_write) {
        return klass->frontend_write(chr, fe, buf, len);
    }
    if (!chardev_is_connected(chr)) {
        chardev_log(chr, buf, len);
        return len;
    }
    size_t n = chr->out_first ? 0 : write_now(chr, buf, len, NULL, 0);
    if (n < len) {
        chr->want_writable = true;
        watch_writable(chr);
    }
    return n;
}

bool char_frontend_write_fds(CharFrontend *fe, const void *buf, size_t len, const int *fds,
                             unsigned nfds, Error **errp)
{
    Chardev *chr = fe->chardev;
    if (!chr || !chardev_is_connected(chr)) {
        error_set_errno(errp, ENOTCONN, "%s", chr ? chardev_name(chr) : "chardev");
        return false;
    }
    if (nfds > FD_PASS_MAX || (nfds && (!len || !chardev_supports_fds(chr)))) {
        error_set(errp, "chardev '%s' can't pass %u file descriptors", chardev_name(chr), nfds);
        return false;
    }
    ChardevClass *klass = chardev_class_of(chr);
    if (klass->below) {
        chardev_log(chr, buf, len);
        return char_frontend_write_all(klass->below(chr), buf, len, errp);
    }
    if (chr->out_pending + len > CHARDEV_QUEUE_MAX) {
        error_set_errno(errp, ENOBUFS, "chardev '%s': the other side does not read",
                        chardev_name(chr));
        return false;
    }
    size_t n = chr->out_first ? 0 : write_now(chr, buf, len, fds, nfds);
    if (n == len || !chardev_is_connected(chr)) {
        return true;
    }
    CharSegment *segment = g_malloc(sizeof(*segment) + len - n);
    segment->next = NULL;
    segment->len = len - n;
    segment->done = 0;
    segment->nfds = 0;
    memcpy(segment->data, (const uint8_t *)buf + n, len - n);
    for (unsigned i = 0; n == 0 && i < nfds; i++) {
        int copy = FAULT("dup", errp) ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (copy < 0) {
            if (errp && !*errp) {
                error_set_errno(errp, errno, "duplicating a file descriptor to pass");
            }
            segment_free(segment);
            return false;
        }
        segment->fds[segment->nfds++] = copy;
    }
    *chr->out_last = segment;
    chr->out_last = &segment->next;
    chr->out_pending += segment->len;
    watch_writable(chr);
    return true;
}

bool char_frontend_write_all(CharFrontend *fe, const void *buf, size_t len, Error **errp)
{
    return char_frontend_write_fds(fe, buf, len, NULL, 0, errp);
}

size_t char_frontend_pending(const CharFrontend *fe)
{
    if (!fe->chardev) {
        return 0;
    }
    ChardevClass *klass = chardev_class_of(fe->chardev);
    return klass->below ? char_frontend_pending(klass->below(fe->chardev))
                        : fe->chardev->out_pending;
}

/* --- Input and events --- */

size_t chardev_input_room(Chardev *chr)
{
    const CharFrontend *fe = chr->fe;
    if (!fe || !fe->handlers || !fe->handlers->can_receive) {
        return 0;
    }
    return fe->handlers->can_receive(fe->opaque);
}

void chardev_input(Chardev *chr, const uint8_t *buf, size_t len)
{
    const CharFrontend *fe = chr->fe;
    if (fe && fe->handlers && fe->handlers->receive && len) {
        fe->handlers->receive(fe->opaque, buf, len);
    }
}

static void frontend_event(CharFrontend *fe, CharEvent event)
{
    if (event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) {
        bool open = event == CHAR_EVENT_OPENED;
        if (fe->open == open) {
            return;
        }
        fe->open = open;
    }
    if (fe->handlers && fe->handlers->event) {
        fe->handlers->event(fe->opaque, event);
    }
}

void chardev_event(Chardev *chr, CharEvent event)
{
    ChardevClass *klass = chardev_class_of(chr);
    if (klass->event) {
        klass->event(chr, event);
    } else if (chr->fe && chr->fe->handlers) {
        frontend_event(chr->fe, event);
    }
}

void chardev_set_connected(Chardev *chr, bool connected)
{
    if (chardev_is_connected(chr) == connected) {
        return;
    }
    __atomic_store_n(&chr->connected, connected, __ATOMIC_RELEASE);
    if (!connected) {
        queue_drop(chr);
    }
    if (connected && trace_chardev_connected_enabled()) {
        g_autofree char *name = chardev_filename(chr);
        trace_chardev_connected(chardev_name(chr), name);
    } else if (!connected) {
        trace_chardev_disconnected(chardev_name(chr));
    }
    chardev_state_changed();
    object_ref(&chr->parent);
    chardev_event(chr, connected ? CHAR_EVENT_OPENED : CHAR_EVENT_CLOSED);
    if (!connected && chr->want_writable) {
        /* What was refused before may be dropped now. */
        chardev_writable(chr);
    }
    object_unref(&chr->parent);
}

static void state_notify(void *unused)
{
    if (state_fn) {
        state_fn(state_opaque);
    }
}

void chardev_state_changed(void)
{
    if (state_fn) {
        bh_run_once(event_loop_main(), state_notify, NULL);
    }
}

void chardev_set_state_fn(ChardevStateFn *fn, void *opaque)
{
    state_fn = fn;
    state_opaque = opaque;
}

/* --- Front ends --- */

const char *chardev_name(const Chardev *chr)
{
    return chr->id ? chr->id : "";
}

static void attach_in_loop(void *opaque)
{
    Chardev *chr = opaque;
    ChardevClass *klass = chardev_class_of(chr);
    chr->attached = true;
    if (klass->attach) {
        klass->attach(chr);
    }
    watch_writable(chr);
}

static void detach_in_loop(void *opaque)
{
    Chardev *chr = opaque;
    ChardevClass *klass = chardev_class_of(chr);
    chr->attached = false;
    if (klass->detach) {
        klass->detach(chr);
    }
}

static void move_to_loop(Chardev *chr, EventLoop *loop)
{
    if (chr->loop == loop) {
        return;
    }
    event_loop_call(chr->loop, detach_in_loop, chr);
    chr->loop = loop;
    event_loop_call(chr->loop, attach_in_loop, chr);
}

bool char_frontend_init(CharFrontend *fe, Chardev *chardev, Error **errp)
{
    *fe = (CharFrontend){ 0 };
    if (!chardev) {
        return true;
    }
    ChardevClass *klass = chardev_class_of(chardev);
    if (klass->frontend_attach) {
        if (!klass->frontend_attach(chardev, fe, errp)) {
            return false;
        }
    } else if (chardev->fe) {
        error_set(errp, "chardev '%s' is already in use", chardev_name(chardev));
        error_add_hint(errp, "give mux=on to a chardev that several devices share");
        return false;
    } else {
        chardev->fe = fe;
    }
    object_ref(&chardev->parent);
    fe->chardev = chardev;
    return true;
}

typedef struct HandlersCall {
    CharFrontend *fe;
    const CharHandlers *handlers;
    void *opaque;
} HandlersCall;

static void set_handlers_in_loop(void *opaque)
{
    const HandlersCall *call = opaque;
    CharFrontend *fe = call->fe;
    Chardev *chr = fe->chardev;
    ChardevClass *klass = chardev_class_of(chr);

    fe->handlers = call->handlers;
    fe->opaque = call->opaque;
    fe->open = false;
    if (klass->frontend_changed) {
        klass->frontend_changed(chr, fe);
    } else if (fe->handlers && chardev_is_connected(chr)) {
        frontend_event(fe, CHAR_EVENT_OPENED);
    }
    if (fe->handlers && fe->chardev) {
        char_frontend_accept_input(fe);
    }
}

void char_frontend_set_handlers(CharFrontend *fe, const CharHandlers *handlers, void *opaque,
                                EventLoop *loop)
{
    Chardev *chr = fe->chardev;
    if (!chr) {
        fe->handlers = handlers;
        fe->opaque = opaque;
        return;
    }
    if (!loop || !handlers) {
        loop = event_loop_main();
    }
    assert(loop == event_loop_main() || chardev_supports_loops(chr));

    if (!handlers) {
        /* Silence first, so that nothing arrives while the chardev moves. */
        HandlersCall off = { fe, NULL, NULL };
        event_loop_call(chr->loop, set_handlers_in_loop, &off);
        move_to_loop(chr, loop);
        return;
    }
    move_to_loop(chr, loop);
    HandlersCall on = { fe, handlers, opaque };
    event_loop_call(chr->loop, set_handlers_in_loop, &on);
}

void char_frontend_finish(CharFrontend *fe)
{
    Chardev *chr = fe->chardev;
    if (!chr) {
        *fe = (CharFrontend){ 0 };
        return;
    }
    char_frontend_set_handlers(fe, NULL, NULL, NULL);
    ChardevClass *klass = chardev_class_of(chr);
    if (klass->frontend_detach) {
        klass->frontend_detach(chr, fe);
    } else {
        if (klass->frontend_open) {
            klass->frontend_open(chr, false);
        }
        chr->fe = NULL;
        chr->want_writable = false;
        watch_writable(chr);
    }
    *fe = (CharFrontend){ 0 };
    object_unref(&chr->parent);
}

void char_frontend_set_open(CharFrontend *fe, bool open)
{
    if (fe->chardev && chardev_class_of(fe->chardev)->frontend_open) {
        chardev_class_of(fe->chardev)->frontend_open(fe->chardev, open);
    }
}

void char_frontend_accept_input(CharFrontend *fe)
{
    if (!fe->chardev) {
        return;
    }
    ChardevClass *klass = chardev_class_of(fe->chardev);
    if (klass->frontend_accept) {
        klass->frontend_accept(fe->chardev, fe);
    } else if (klass->accept_input) {
        klass->accept_input(fe->chardev);
    }
}

void char_frontend_take_focus(CharFrontend *fe)
{
    if (fe->chardev && chardev_class_of(fe->chardev)->frontend_focus) {
        chardev_class_of(fe->chardev)->frontend_focus(fe->chardev, fe);
    }
}

bool char_frontend_is_attached(const CharFrontend *fe)
{
    return fe->chardev != NULL;
}

bool char_frontend_is_connected(const CharFrontend *fe)
{
    return fe->chardev && chardev_is_connected(fe->chardev);
}

unsigned char_frontend_take_fds(CharFrontend *fe, int *fds, unsigned max)
{
    Chardev *chr = fe->chardev;
    return chr && chardev_class_of(chr)->take_fds ? chardev_class_of(chr)->take_fds(chr, fds, max)
                                                  : 0;
}

#define FORWARD(name, member, args, ...)                                                   \
    bool name(CharFrontend *fe, __VA_ARGS__)                                               \
    {                                                                                      \
        Chardev *chr = fe->chardev;                                                        \
        return chr && chardev_class_of(chr)->member && chardev_class_of(chr)->member args; \
    }
FORWARD(char_frontend_set_serial_params, set_serial_params, (chr, params),
        const CharSerialParams *params)
FORWARD(char_frontend_set_break, set_break, (chr, on), bool on)
FORWARD(char_frontend_get_modem, get_modem, (chr, lines), int *lines)
FORWARD(char_frontend_set_modem, set_modem, (chr, lines), int lines)
#undef FORWARD

void char_frontend_set_echo(CharFrontend *fe, bool echo)
{
    if (fe->chardev && chardev_class_of(fe->chardev)->set_echo) {
        chardev_class_of(fe->chardev)->set_echo(fe->chardev, echo);
    }
}

/* --- Questions --- */

bool chardev_is_connected(const Chardev *chr)
{
    return __atomic_load_n(&chr->connected, __ATOMIC_ACQUIRE);
}

bool chardev_is_busy(const Chardev *chr)
{
    ChardevClass *klass = chardev_class_of(chr);
    return klass->is_busy ? klass->is_busy(chr) : chr->fe != NULL;
}

bool chardev_frontend_is_open(const Chardev *chr)
{
    return chr->fe && chr->fe->handlers;
}

bool chardev_supports_loops(const Chardev *chr)
{
    return chardev_class_of(chr)->loops;
}

bool chardev_supports_fds(const Chardev *chr)
{
    ChardevClass *klass = chardev_class_of(chr);
    return klass->passes_fds && klass->passes_fds((Chardev *)chr);
}

bool chardev_reconnects(const Chardev *chr)
{
    ChardevClass *klass = chardev_class_of(chr);
    return klass->reconnects && klass->reconnects((Chardev *)chr);
}

bool chardev_is_server(const Chardev *chr)
{
    ChardevClass *klass = chardev_class_of(chr);
    return klass->is_server && klass->is_server((Chardev *)chr);
}

int chardev_peer_pid(Chardev *chr)
{
    ChardevClass *klass = chardev_class_of(chr);
    return klass->peer_pid ? klass->peer_pid(chr) : -1;
}

const char *chardev_id(const Chardev *chr)
{
    return chr->id;
}

char *chardev_filename(Chardev *chr)
{
    g_mutex_lock(&chr->lock);
    char *name = g_strdup(chr->filename ? chr->filename : "");
    g_mutex_unlock(&chr->lock);
    return name;
}

void chardev_set_filename(Chardev *chr, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *name = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_mutex_lock(&chr->lock);
    g_free(chr->filename);
    chr->filename = name;
    g_mutex_unlock(&chr->lock);
}

void chardev_disconnect(Chardev *chr)
{
    if (chardev_class_of(chr)->disconnect) {
        chardev_class_of(chr)->disconnect(chr);
    }
}

bool chardev_send_break(Chardev *chr, Error **errp)
{
    if (!chr->fe && !chardev_class_of(chr)->event) {
        error_set(errp, "chardev '%s' has no device to send a break to", chardev_name(chr));
        return false;
    }
    chardev_event(chr, CHAR_EVENT_BREAK);
    return true;
}

/* --- Start-up --- */

typedef struct Search {
    Chardev *found;
    bool failed;
    Error **errp;
} Search;

static bool find_waiting(Object *child, void *opaque)
{
    Search *search = opaque;
    Chardev *chr = chardev_cast(child);
    ChardevClass *klass = chardev_class_of(chr);
    if (klass->is_waiting && klass->is_waiting(chr)) {
        search->found = chr;
        return false;
    }
    return true;
}

Chardev *chardev_waiting(void)
{
    Search search = { 0 };
    object_foreach_child(chardev_container(), find_waiting, &search);
    return search.found;
}

char *chardev_describe_wait(Chardev *chr)
{
    g_autofree char *name = chardev_filename(chr);
    return g_strdup_printf("chardev '%s' to be connected at %s", chardev_name(chr),
                           g_str_has_prefix(name, "disconnected:") ? name + 13 : name);
}

static bool check_started(Object *child, void *opaque)
{
    Search *search = opaque;
    Chardev *chr = chardev_cast(child);
    ChardevClass *klass = chardev_class_of(chr);
    if (klass->check_started && !klass->check_started(chr, search->errp)) {
        search->failed = true;
        return false;
    }
    return true;
}

bool chardev_check_started(Error **errp)
{
    Search search = { .errp = errp };
    object_foreach_child(chardev_container(), check_started, &search);
    return !search.failed;
}

/* --- Log file --- */

int chardev_open_path(const char *path, int flags, Error **errp)
{
    if (FAULT("open", errp)) {
        return -1;
    }
    return fdset_open(path, flags, 0666, errp);
}

bool chardev_open_log(Chardev *chr, const ChardevCommon *options, Error **errp)
{
    if (!options->logfile) {
        return true;
    }
    bool append = options->has_logappend && options->logappend;
    chr->log_fd = chardev_open_path(options->logfile,
                                    O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), errp);
    if (chr->log_fd < 0) {
        error_prepend(errp, "log file of chardev '%s': ", chardev_name(chr));
        return false;
    }
    return true;
}

void chardev_log(Chardev *chr, const void *buf, size_t len)
{
    if (chr->log_fd < 0 || !len) {
        return;
    }
    ERROR_AUTO err = NULL;
    if (!fd_write_all(chr->log_fd, buf, len, &err)) {
        report_warning("log file of chardev '%s' ends here: %s", chardev_name(chr),
                       error_message(err));
        fd_close(fd_steal(&chr->log_fd));
    }
}

/* --- Life --- */

Chardev *chardev_find(const char *id)
{
    Object *obj = object_child(chardev_container(), id);
    return obj ? chardev_cast(obj) : NULL;
}

typedef struct IdCandidates {
    GPtrArray *names;
    unsigned next;
} IdCandidates;

static bool collect_id(Object *child, void *opaque)
{
    g_ptr_array_add(opaque, child->name);
    return true;
}

static const char *next_id(void *opaque)
{
    IdCandidates *ids = opaque;
    return ids->next < ids->names->len ? ids->names->pdata[ids->next++] : NULL;
}

Chardev *chardev_find_or_error(const char *id, Error **errp)
{
    Chardev *chr = chardev_find(id);
    if (chr) {
        return chr;
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    object_foreach_child(chardev_container(), collect_id, names);
    IdCandidates ids = { names, 0 };
    const char *near = text_nearest(id, next_id, &ids);
    error_set(errp, near ? "Chardev '%s' not found; did you mean '%s'?" : "Chardev '%s' not found",
              id, near);
    return NULL;
}

/* Open a chardev of the record's type, not yet in the tree; the caller owns the reference. */
static Chardev *open_backend(const char *id, const ChardevBackend *record, Error **errp)
{
    const char *type = chardev_record_type(record, errp);
    Object *obj = type ? object_try_new(type, TYPE_CHARDEV, errp) : NULL;
    if (!obj) {
        return NULL;
    }
    Chardev *chr = chardev_cast(obj);
    ChardevClass *klass = chardev_class_of(chr);
    chr->id = g_strdup(id);
    if (!klass->open(chr, record, errp)) {
        object_unref(obj);
        return NULL;
    }
    chr->opened = true;
    attach_in_loop(chr);
    if (klass->always_open) {
        chardev_set_connected(chr, true);
    }
    if (klass->check_started && !klass->check_started(chr, errp)) {
        object_unref(obj);
        return NULL;
    }
    return chr;
}

Chardev *chardev_new(const char *id, const ChardevBackend *record, Error **errp)
{
    if (id && !text_is_id(id)) {
        error_set(errp, "Parameter 'id' expects an identifier, got '%s'", id);
        error_add_hint(errp, "identifiers are letters, digits, '-', '.' and '_', and begin with a "
                             "letter");
        return NULL;
    }
    if (id && chardev_find(id)) {
        error_set(errp, "Chardev with id '%s' already exists", id);
        return NULL;
    }
    Chardev *chr = open_backend(id, record, errp);
    if (!chr) {
        return NULL;
    }
    if (id) {
        bool added = object_add_child(chardev_container(), id, &chr->parent, errp);
        object_unref(&chr->parent);
        return added ? chr : NULL;
    }
    return chr;
}

bool chardev_remove(const char *id, Error **errp)
{
    Chardev *chr = chardev_find_or_error(id, errp);
    if (!chr) {
        return false;
    }
    if (chardev_is_busy(chr)) {
        error_set(errp, "Chardev '%s' is busy", id);
        return false;
    }
    object_unparent(&chr->parent);
    return true;
}

bool chardev_change(const char *id, const ChardevBackend *record, Error **errp)
{
    Chardev *old = chardev_find_or_error(id, errp);
    if (!old) {
        return false;
    }
    CharFrontend *fe = old->fe;
    if (chardev_class_of(old)->several_frontends) {
        error_set(errp, "Chardev '%s' is a mux, which can't be changed", id);
        return false;
    }
    if (fe && (!fe->handlers || !fe->handlers->backend_changed)) {
        error_set(errp, "The user of chardev '%s' does not support changing it", id);
        return false;
    }
    Chardev *fresh = open_backend(id, record, errp);
    if (!fresh) {
        return false;
    }
    if (chardev_class_of(fresh)->several_frontends) {
        error_set(errp, "Chardev '%s' can't be changed to a mux", id);
        object_unref(&fresh->parent);
        return false;
    }
    object_ref(&old->parent);
    if (fe) {
        const CharHandlers *handlers = fe->handlers;
        void *opaque = fe->opaque;
        EventLoop *loop = old->loop;
        Error *attach_error = NULL;
        CharFrontend moved;
        bool closed = fe->open;
        char_frontend_set_handlers(fe, NULL, NULL, NULL);
        old->fe = NULL;
        object_unref(&old->parent); /* the front end's */
        bool ok = char_frontend_init(&moved, fresh, &attach_error);
        assert(ok && !attach_error);
        fresh->fe = fe;
        fe->chardev = fresh;
        if (closed && !chardev_is_connected(fresh) && handlers->event) {
            handlers->event(opaque, CHAR_EVENT_CLOSED);
        }
        char_frontend_set_handlers(fe, handlers, opaque,
                                   chardev_supports_loops(fresh) ? loop : NULL);
        if (!handlers->backend_changed(opaque, errp)) {
            /* Back to the old one. */
            char_frontend_set_handlers(fe, NULL, NULL, NULL);
            fresh->fe = NULL;
            object_unref(&fresh->parent);
            object_ref(&old->parent);
            old->fe = fe;
            fe->chardev = old;
            char_frontend_set_handlers(fe, handlers, opaque, loop);
            object_unref(&fresh->parent);
            object_unref(&old->parent);
            return false;
        }
    }
    object_unparent(&old->parent);
    object_unref(&old->parent);
    bool added = object_add_child(chardev_container(), id, &fresh->parent, errp);
    object_unref(&fresh->parent);
    return added;
}

static bool collect_child(Object *child, void *opaque)
{
    g_ptr_array_add(opaque, child);
    return true;
}

void chardev_finish_all(void)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    object_foreach_child(chardev_container(), collect_child, all);
    /* Muxes were made after what they multiplex. */
    for (unsigned i = all->len; i > 0; i--) {
        object_unparent(all->pdata[i - 1]);
    }
}

static void chardev_instance_init(Object *obj)
{
    Chardev *chr = (Chardev *)obj;
    g_mutex_init(&chr->lock);
    chr->loop = event_loop_main();
    chr->log_fd = -1;
    chr->out_last = &chr->out_first;
}

static void chardev_finalize(Object *obj)
{
    Chardev *chr = (Chardev *)obj;
    ChardevClass *klass = chardev_class_of(chr);
    assert(chr->loop == event_loop_main());
    if (chr->attached) {
        detach_in_loop(chr);
    }
    if (klass->close) {
        klass->close(chr);
    }
    queue_drop(chr);
    fd_close(chr->log_fd);
    g_free(chr->filename);
    g_free(chr->id);
    g_mutex_clear(&chr->lock);
}

static const TypeInfo chardev_type = {
    .name = TYPE_CHARDEV,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(Chardev),
    .class_size = sizeof(ChardevClass),
    .abstract = true,
    .instance_init = chardev_instance_init,
    .instance_finalize = chardev_finalize,
};
OBJECT_TYPE(chardev, chardev_type)
