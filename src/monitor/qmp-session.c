/*
 * One client of the machine protocol, from bytes to answers.
 *
 *   loop's thread:  bytes → framer → request ─┬─ out of band: run here, answer at once
 *                                             └─ queue ─→ dispatch (main loop): run, answer, next
 *
 * A request that can't be understood waits in the queue like the others, so that answers keep the
 * order of the questions. While the queue is full, or the client leaves too much output unread,
 * nothing more is read from it; what it sends stays in the kernel's buffers.
 */
#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/report.h"
#include "event/lock.h"
#include "monitor/monitor-internal.h"
#include "trace/monitor-events.h"

#define READ_CHUNK 4096 /* bytes taken at a time, which bounds what a full queue may exceed */

/* A deferred command's answer. */
typedef struct PendingReply {
    QmpReply reply;
    Monitor *mon; /* reference */
    unsigned generation;
    json_t *id;
} PendingReply;

static void request_free(QmpRequest *request)
{
    for (unsigned i = 0; i < request->nfds; i++) {
        fd_close(request->fds[i]);
    }
    g_free(request->fds);
    json_decref(request->object);
    error_free(request->err);
    g_free(request);
}

/* --- Output --- */

static char *dump(const Monitor *mon, json_t *object, size_t *len)
{
    size_t flags = mon->pretty ? JSON_INDENT(4) : 0;
    size_t n = json_dumpb(object, NULL, 0, flags | JSON_ENCODE_ANY);
    char *text = g_malloc(n + 3);
    json_dumpb(object, text, n, flags | JSON_ENCODE_ANY);
    memcpy(text + n, "\r\n", 3);
    *len = n + 2;
    return text;
}

static void send_object(Monitor *mon, unsigned generation, json_t *object)
{
    size_t len;
    g_autofree char *text = dump(mon, object, &len);
    trace_monitor_reply(monitor_name(mon), text);
    monitor_write(mon, generation, text, len);
}

/* Takes ownership of ret and err, one of which is NULL. id is borrowed, NULL for none. */
static void answer(Monitor *mon, unsigned generation, json_t *id, json_t *ret, Error *err)
{
    json_t *object = json_object();
    if (err) {
        json_object_set_new(object, "error",
                            json_pack("{s:s,s:s}", "class", error_class_name(error_class(err)),
                                      "desc", error_message(err)));
        error_free(err);
    } else {
        json_object_set_new(object, "return", ret);
    }
    if (id) {
        json_object_set(object, "id", id);
    }
    send_object(mon, generation, object);
    json_decref(object);
}

void qmp_session_send_event(Monitor *mon, json_t *object)
{
    bool warn = false;
    g_mutex_lock(&mon->lock);
    bool send = mon->negotiated;
    unsigned generation = mon->generation;
    if (send && __atomic_load_n(&mon->unsent, __ATOMIC_RELAXED) > MONITOR_OUT_MAX) {
        send = false;
        warn = mon->dropped_events++ == 0;
        trace_monitor_event_dropped(monitor_name(mon));
    }
    g_mutex_unlock(&mon->lock);
    if (send) {
        send_object(mon, generation, object);
    }
    if (warn) {
        report_warning("monitor '%s': its client does not read; events for it are dropped",
                       monitor_name(mon));
    }
}

/* --- Requests --- */

/* Is the object a well-formed request? */
static bool check_request(json_t *object, Error **errp)
{
    const char *key;
    json_t *value;
    bool execute = false, oob = false;
    if (!json_is_object(object)) {
        error_set(errp, "QMP input must be a JSON object");
        return false;
    }
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "execute") == 0 || strcmp(key, "exec-oob") == 0) {
            if (!json_is_string(value)) {
                error_set(errp, "QMP input member '%s' must be a string", key);
                return false;
            }
            execute |= key[4] == 'u';
            oob |= key[4] == '-';
        } else if (strcmp(key, "arguments") == 0) {
            if (!json_is_object(value)) {
                error_set(errp, "QMP input member 'arguments' must be an object");
                return false;
            }
        } else if (strcmp(key, "id") != 0) {
            error_set(errp, "QMP input member '%s' is unexpected", key);
            return false;
        }
    }
    if (execute == oob) {
        error_set(errp, execute ? "QMP input members 'execute' and 'exec-oob' exclude each other"
                                : "QMP input lacks member 'execute'");
        return false;
    }
    return true;
}

/* Find the command and see whether this client may run it now. */
static const QmpCommand *find_command(Monitor *mon, const char *name, bool oob, Error **errp)
{
    g_mutex_lock(&mon->lock);
    bool negotiated = mon->negotiated, oob_enabled = mon->oob;
    g_mutex_unlock(&mon->lock);
    bool negotiates = strcmp(name, "qmp_capabilities") == 0;

    if (negotiated && negotiates) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                        "Capabilities negotiation is already complete, command ignored");
        return NULL;
    }
    if (!negotiated && !negotiates) {
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                        "Expecting capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    if (oob && !oob_enabled) {
        error_set(errp, "QMP input member 'exec-oob' is unexpected: the capability 'oob' was not "
                        "switched on");
        return NULL;
    }
    const QmpCommand *command = qmp_command_find(name);
    if (!command) {
        const char *near = qmp_command_nearest(name);
        error_set_class(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "The command %s has not been found",
                        name);
        if (near) {
            error_add_hint(errp, "did you mean '%s'?", near);
        }
        return NULL;
    }
    if (oob && !(command->flags & QMP_COMMAND_OOB)) {
        error_set(errp, "The command %s does not support OOB", name);
        return NULL;
    }
    return monitor_command_allowed(command, errp) ? command : NULL;
}

static void run_oob(Monitor *mon, json_t *object)
{
    Error *err = NULL;
    json_t *ret = NULL;
    const char *name = json_string_value(json_object_get(object, "exec-oob"));
    trace_monitor_request(monitor_name(mon), name, true);
    const QmpCommand *command = find_command(mon, name, true, &err);
    if (command) {
        ret = qmp_command_run(command, mon, json_object_get(object, "arguments"), &err);
    }
    answer(mon, mon->generation, json_object_get(object, "id"), ret, err);
}

static void queue_request(Monitor *mon, json_t *object, Error *err)
{
    QmpRequest *request = g_new0(QmpRequest, 1);
    request->object = object;
    request->err = err;
    if (mon->arrived_fds) {
        request->nfds = mon->arrived_fds;
        request->fds = g_memdup2(mon->arrived, mon->arrived_fds * sizeof(int));
        mon->arrived_fds = 0;
    }
    g_mutex_lock(&mon->lock);
    g_queue_push_tail(&mon->requests, request);
    g_mutex_unlock(&mon->lock);
    bh_schedule(mon->dispatch_bh);
}

static void on_value(void *opaque, const char *text, size_t len)
{
    Monitor *mon = opaque;
    json_error_t why;
    Error *err = NULL;
    json_t *object = json_load_text(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!object) {
        error_set(&err, "JSON parse error, %s", why.text);
        queue_request(mon, NULL, err);
        return;
    }
    if (!check_request(object, &err)) {
        queue_request(mon, object, err);
        return;
    }
    if (json_object_get(object, "exec-oob")) {
        run_oob(mon, object);
        json_decref(object);
        return;
    }
    queue_request(mon, object, NULL);
}

static void on_error(void *opaque, const char *message)
{
    Error *err = NULL;
    error_set(&err, "%s", message);
    queue_request(opaque, NULL, err);
}

static bool may_read(Monitor *mon)
{
    if (__atomic_load_n(&mon->unsent, __ATOMIC_RELAXED) > MONITOR_OUT_PAUSE) {
        return false;
    }
    g_mutex_lock(&mon->lock);
    bool room = g_queue_get_length(&mon->requests) < MONITOR_MAX_REQUESTS;
    g_mutex_unlock(&mon->lock);
    return room;
}

/* --- Running, in the main loop --- */

static void pending_done(QmpReply *reply, json_t *ret, Error *err)
{
    PendingReply *pending = CONTAINER_OF(reply, PendingReply, reply);
    Monitor *mon = pending->mon;
    g_mutex_lock(&mon->lock);
    bool same = pending->generation == mon->generation;
    if (same) {
        mon->busy = false;
    }
    bool closing = mon->closing;
    g_mutex_unlock(&mon->lock);
    answer(mon, pending->generation, pending->id, ret, err);
    json_decref(pending->id);
    g_free(pending);
    if (same && !closing) {
        bh_schedule(mon->dispatch_bh);
    }
    monitor_unref(mon);
}

static void run_deferred(Monitor *mon, unsigned generation, const QmpCommand *command,
                         QmpRequest *request)
{
    Error *err = NULL;
    PendingReply *pending = g_new(PendingReply, 1);
    *pending = (PendingReply){
        .reply.done = pending_done,
        .mon = monitor_ref(mon),
        .generation = generation,
        .id = json_incref(json_object_get(request->object, "id")),
    };
    g_mutex_lock(&mon->lock);
    mon->busy = true;
    g_mutex_unlock(&mon->lock);
    if (!qmp_command_start(command, mon, json_object_get(request->object, "arguments"),
                           &pending->reply, &err)) {
        pending_done(&pending->reply, NULL, err);
    }
}

static void run_request(Monitor *mon, unsigned generation, QmpRequest *request)
{
    json_t *id = json_is_object(request->object) ? json_object_get(request->object, "id") : NULL;
    if (request->err) {
        trace_monitor_broken_request(monitor_name(mon), error_message(request->err));
        answer(mon, generation, id, NULL, g_steal_pointer(&request->err));
        return;
    }
    Error *err = NULL;
    json_t *ret = NULL;
    const char *name = json_string_value(json_object_get(request->object, "execute"));
    trace_monitor_request(monitor_name(mon), name, false);
    const QmpCommand *command = find_command(mon, name, false, &err);
    mon->fds = request->fds;
    mon->nfds = request->nfds;
    if (command && (command->flags & QMP_COMMAND_DEFERRED)) {
        run_deferred(mon, generation, command, request);
    } else {
        if (command) {
            ret =
                qmp_command_run(command, mon, json_object_get(request->object, "arguments"), &err);
        }
        answer(mon, generation, id, ret, err);
    }
    request->nfds = mon->nfds;
    mon->fds = NULL;
    mon->nfds = 0;
}

static void look_for_input(Monitor *mon)
{
    /* flush() ends in qmp_session_output_drained(), in the right thread. */
    bh_schedule(mon->flush_bh);
}

static void dispatch(void *opaque)
{
    Monitor *mon = opaque;
    ASSERT_MACHINE_LOCKED();
    g_mutex_lock(&mon->lock);
    unsigned generation = mon->generation;
    bool wait = mon->busy || mon->closing ||
                __atomic_load_n(&mon->unsent, __ATOMIC_RELAXED) > MONITOR_OUT_PAUSE;
    QmpRequest *request = wait ? NULL : g_queue_pop_head(&mon->requests);
    bool more = !g_queue_is_empty(&mon->requests);
    g_mutex_unlock(&mon->lock);
    if (!request) {
        return;
    }
    monitor_ref(mon);
    run_request(mon, generation, request);
    request_free(request);
    g_mutex_lock(&mon->lock);
    if (!mon->closing) {
        if (more) {
            bh_schedule(mon->dispatch_bh);
        }
        look_for_input(mon);
    }
    g_mutex_unlock(&mon->lock);
    monitor_unref(mon);
}

/* --- What the chardev calls, in the loop's thread --- */

void qmp_session_output_drained(Monitor *mon)
{
    g_mutex_lock(&mon->lock);
    bool requests = !g_queue_is_empty(&mon->requests) && !mon->busy && !mon->closing;
    if (requests) {
        bh_schedule(mon->dispatch_bh);
    }
    g_mutex_unlock(&mon->lock);
    if (may_read(mon)) {
        char_frontend_accept_input(&mon->fe);
    }
}

static size_t session_can_receive(void *opaque)
{
    return may_read(opaque) ? READ_CHUNK : 0;
}

static void drop_arrived_fds(Monitor *mon)
{
    for (unsigned i = 0; i < mon->arrived_fds; i++) {
        fd_close(mon->arrived[i]);
    }
    mon->arrived_fds = 0;
}

static void session_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Monitor *mon = opaque;
    int fds[FD_PASS_MAX];
    unsigned n = char_frontend_take_fds(&mon->fe, fds, FD_PASS_MAX);
    if (n) {
        drop_arrived_fds(mon);
        memcpy(mon->arrived, fds, n * sizeof(*fds));
        mon->arrived_fds = n;
    }
    json_framer_feed(&mon->framer, (const char *)buf, len);
}

static void drop_requests(Monitor *mon)
{
    g_mutex_lock(&mon->lock);
    GQueue old = mon->requests;
    g_queue_init(&mon->requests);
    mon->busy = false;
    g_mutex_unlock(&mon->lock);
    for (QmpRequest *request; (request = g_queue_pop_head(&old));) {
        request_free(request);
    }
}

static void send_greeting(Monitor *mon)
{
    json_t *ret = NULL;
    const QmpCommand *version = qmp_command_find("query-version");
    ret = qmp_command_run(version, mon, NULL, &error_abort);
    json_t *greeting = json_pack("{s:{s:o,s:[]}}", "QMP", "version", ret, "capabilities");
    if (mon->oob_offered) {
        json_t *capabilities = json_object_get(json_object_get(greeting, "QMP"), "capabilities");
        json_array_append_new(capabilities, json_string("oob"));
    }
    send_object(mon, mon->generation, greeting);
    json_decref(greeting);
}

static void session_event(void *opaque, CharEvent event)
{
    Monitor *mon = opaque;
    switch (event) {
    case CHAR_EVENT_OPENED:
        monitor_connection_begins(mon);
        json_framer_reset(&mon->framer);
        send_greeting(mon);
        break;
    case CHAR_EVENT_CLOSED:
        monitor_connection_ends(mon);
        json_framer_reset(&mon->framer);
        drop_arrived_fds(mon);
        drop_requests(mon);
        break;
    default:
        break;
    }
}

const CharHandlers qmp_session_handlers = {
    .can_receive = session_can_receive,
    .receive = session_receive,
    .event = session_event,
    .writable = monitor_writable,
};

void qmp_session_init(Monitor *mon)
{
    mon->framer = (JsonFramer){ .value = on_value, .error = on_error, .opaque = mon };
    json_framer_init(&mon->framer);
    g_queue_init(&mon->requests);
    mon->dispatch_bh = bh_new(event_loop_main(), dispatch, mon);
}

void qmp_session_finish(Monitor *mon)
{
    bh_free(g_steal_pointer(&mon->dispatch_bh));
    json_framer_finish(&mon->framer);
    drop_arrived_fds(mon);
    drop_requests(mon);
}
