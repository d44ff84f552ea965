#include "vhost/user/channel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/report.h"
#include "event/clock.h"
#include "trace/vhost-events.h"

typedef struct PendingRequest {
    uint32_t code;
    bool acked;       /* sent with NEED_REPLY */
    int64_t deadline; /* ns, CLK_REALTIME */
    VhostUserReplyFn *fn;
    void *opaque;
    struct PendingRequest *next;
} PendingRequest;

struct VhostUserChannel {
    CharFrontend fe;
    char *name, *label; /* the label follows the chardev's address */
    const VhostUserChannelOps *ops;
    void *opaque;
    int64_t timeout; /* ns */
    bool open, reply_ack;
    Error *failure; /* why we ended the connection ourselves; until CLOSED */

    PendingRequest *first, **last; /* in the order in which replies come */
    Timer *timer;                  /* of the first one's deadline */

    VhostUserMessage in; /* the message being received */
    size_t in_done;      /* bytes of header and payload */

    FILE *log;
    int64_t log_start; /* ns, CLK_REALTIME */
    uint64_t sent[VHOST_USER_REQUEST_COUNT], received[VHOST_USER_REQUEST_COUNT];
    uint64_t requested[VHOST_USER_BACKEND_REQUEST_COUNT];
};

/* --- The protocol log --- */

static void channel_log_line(VhostUserChannel *ch, char direction, const char *text)
{
    int64_t us = (clock_now(CLK_REALTIME) - ch->log_start) / NS_PER_US;
    if (ch->log) {
        fprintf(ch->log, "%4" PRId64 ".%06" PRId64 " %c %s\n", us / 1000000, us % 1000000,
                direction, text);
    }
    log_item(LOG_VHOST_USER, "%s: %4" PRId64 ".%06" PRId64 " %c %s\n", ch->label, us / 1000000,
             us % 1000000, direction, text);
}

static bool channel_logs(const VhostUserChannel *ch)
{
    return ch->log || log_enabled(LOG_VHOST_USER);
}

/* direction: '>' and '<' of ours, ']' and '[' of the back end's channel. fields: what the payload
 * says. */
static void channel_log_message(VhostUserChannel *ch, char direction, const char *name,
                                const VhostUserMessage *msg, const char *fields)
{
    if (!channel_logs(ch)) {
        return;
    }
    g_autofree char *fds = msg->nfds ? g_strdup_printf(" fds=%u", msg->nfds) : NULL;
    g_autofree char *line =
        g_strdup_printf("%s%s%s%s%s%s", name, msg->header.flags & VHOST_USER_REPLY ? " reply" : "",
                        msg->header.flags & VHOST_USER_NEED_REPLY ? " need-reply" : "",
                        *fields ? " " : "", fields, fds ?: "");
    channel_log_line(ch, direction, line);
}

typedef void ChannelTraceFn(const char *device, const char *message, uint32_t size, uint32_t fds,
                            const char *fields);

/* Log and trace one message; the fields are made only where somebody reads them. */
static void channel_note(VhostUserChannel *ch, char direction, const char *name, VhostUserKind kind,
                         const VhostUserMessage *msg, bool traced, ChannelTraceFn *trace)
{
    if (!traced && !channel_logs(ch)) {
        return;
    }
    g_autoptr(GString) fields = g_string_new(NULL);
    vhost_user_format_payload(kind, msg, fields);
    if (traced) {
        trace(ch->label, name, msg->header.size, msg->nfds, fields->str);
    }
    channel_log_message(ch, direction, name, msg, fields->str);
}

static void channel_trace_sent(const char *device, const char *message, uint32_t size, uint32_t fds,
                               const char *fields)
{
    trace_vhost_user_sent(device, message, size, fds, fields);
}

static void channel_trace_received(const char *device, const char *message, uint32_t size,
                                   uint32_t fds, const char *fields)
{
    trace_vhost_user_received(device, message, size, fds, fields);
}

static void channel_trace_request(const char *device, const char *message, uint32_t size,
                                  uint32_t fds, const char *fields)
{
    trace_vhost_user_backend_request(device, message, size, fds, fields);
}

void vhost_user_channel_log_request(VhostUserChannel *ch, const VhostUserMessage *msg)
{
    const VhostUserMessageInfo *info = vhost_user_backend_request_info(msg->header.request);
    ch->requested[msg->header.request]++;
    channel_note(ch, ']', info->name, info->request, msg,
                 trace_vhost_user_backend_request_enabled(), channel_trace_request);
}

void vhost_user_channel_log_result(VhostUserChannel *ch, const VhostUserMessage *msg,
                                   uint64_t result)
{
    const char *name = vhost_user_backend_request_name(msg->header.request);
    trace_vhost_user_backend_reply(ch->label, name, result);
    if (channel_logs(ch)) {
        g_autofree char *text = g_strdup_printf("%s reply 0x%" PRIx64, name, result);
        channel_log_line(ch, '[', text);
    }
}

/* --- Pending requests --- */

static void channel_arm_timer(VhostUserChannel *ch)
{
    if (ch->first && !ch->failure) {
        timer_set(ch->timer, ch->first->deadline);
    } else {
        timer_cancel(ch->timer);
    }
}

static PendingRequest *channel_pop(VhostUserChannel *ch)
{
    PendingRequest *p = ch->first;
    ch->first = p->next;
    if (!ch->first) {
        ch->last = &ch->first;
    }
    return p;
}

static void channel_answer_all(VhostUserChannel *ch, const Error *why)
{
    while (ch->first) {
        PendingRequest *p = channel_pop(ch);
        if (p->fn) {
            p->fn(p->opaque, NULL, why);
        }
        g_free(p);
    }
    channel_arm_timer(ch);
}

static void channel_timeout(void *opaque)
{
    VhostUserChannel *ch = opaque;
    Error *err = NULL;
    error_set(&err, "%s: no reply from the back end within %" PRId64 " ms",
              vhost_user_request_name(ch->first->code), ch->timeout / NS_PER_MS);
    vhost_user_channel_fail(ch, err);
}

/* --- Out --- */

static bool channel_write(VhostUserChannel *ch, const VhostUserMessage *msg, Error **errp)
{
    size_t len = sizeof(msg->header) + msg->header.size;
    uint8_t bytes[sizeof(VhostUserHeader) + sizeof(VhostUserPayload)];
    memcpy(bytes, &msg->header, sizeof(msg->header));
    memcpy(bytes + sizeof(msg->header), &msg->payload, msg->header.size);
    if (msg->nfds) {
        return char_frontend_write_fds(&ch->fe, bytes, len, msg->fds, msg->nfds, errp);
    }
    return char_frontend_write_all(&ch->fe, bytes, len, errp);
}

/* The sizes that vary say their own length. */
static uint32_t request_size(VhostUserKind kind, const VhostUserMessage *msg)
{
    switch (kind) {
    case VU_MEMORY:
        return 8 + 32 * msg->payload.memory.count;
    case VU_CONFIG:
        return VHOST_USER_CONFIG_HEADER + msg->payload.config.size;
    default:
        return vhost_user_max_size(kind);
    }
}

void vhost_user_channel_request(VhostUserChannel *ch, VhostUserMessage *msg, VhostUserReplyFn *fn,
                                void *opaque)
{
    uint32_t code = msg->header.request;
    const VhostUserMessageInfo *info = vhost_user_request_info(code);
    bool ack = info->answer == VU_ANSWER_ACK && ch->reply_ack && fn;
    /* IOTLB messages are answered anyhow; some back ends want to hear it. */
    msg->header.flags =
        VHOST_USER_VERSION | (ack || code == VHOST_USER_IOTLB_MSG ? VHOST_USER_NEED_REPLY : 0);
    msg->header.size = request_size(info->request, msg);
    assert(msg->nfds <= info->fds_max);

    bool expects = ack || info->answer != VU_ANSWER_ACK;
    if (expects || !ch->open || ch->failure) {
        PendingRequest *p = g_new(PendingRequest, 1);
        *p = (PendingRequest){ .code = code,
                               .acked = ack,
                               .deadline = clock_now(CLK_REALTIME) + ch->timeout,
                               .fn = fn,
                               .opaque = opaque };
        *ch->last = p;
        ch->last = &p->next;
        channel_arm_timer(ch);
    }
    if (!ch->open || ch->failure) {
        return;
    }
    channel_note(ch, '>', info->name, info->request, msg, trace_vhost_user_sent_enabled(),
                 channel_trace_sent);
    ch->sent[code]++;
    Error *err = NULL;
    if (!channel_write(ch, msg, &err)) {
        error_prepend(&err, "%s: ", info->name);
        vhost_user_channel_fail(ch, err);
    }
    if (!expects && fn) {
        fn(opaque, NULL, NULL);
    }
}

/* --- In --- */

static size_t channel_wanted(const VhostUserChannel *ch)
{
    if (ch->in_done < sizeof(VhostUserHeader)) {
        return sizeof(VhostUserHeader) - ch->in_done;
    }
    return sizeof(VhostUserHeader) + ch->in.header.size - ch->in_done;
}

static size_t channel_can_receive(void *opaque)
{
    VhostUserChannel *ch = opaque;
    return ch->failure ? 0 : channel_wanted(ch);
}

static void channel_reset_input(VhostUserChannel *ch)
{
    vhost_user_message_close_fds(&ch->in);
    memset(&ch->in, 0, sizeof(ch->in));
    ch->in_done = 0;
}

/* An acknowledgement that says no. */
static bool channel_ack_refused(const PendingRequest *p, const VhostUserMessage *reply,
                                Error **errp)
{
    if (p->acked && reply->payload.u64) {
        error_set(errp, "the back end refused %s (status %" PRIu64 ")",
                  vhost_user_request_name(p->code), reply->payload.u64);
        return true;
    }
    return false;
}

static void channel_take_reply(VhostUserChannel *ch)
{
    Error *err = NULL;
    VhostUserMessage *reply = &ch->in;
    reply->nfds = char_frontend_take_fds(&ch->fe, reply->fds, VHOST_USER_MAX_FDS);
    if (!ch->first) {
        error_set(&err, "expected nothing, got a message with code %u (%s), flags 0x%x",
                  reply->header.request, vhost_user_request_name(reply->header.request),
                  reply->header.flags);
        vhost_user_channel_fail(ch, err);
        return;
    }
    if (!vhost_user_check_reply(ch->first->code, ch->first->acked, reply, &err)) {
        vhost_user_channel_fail(ch, err);
        return;
    }
    PendingRequest *p = channel_pop(ch);
    const VhostUserMessageInfo *info = vhost_user_request_info(p->code);
    ch->received[p->code]++;
    channel_note(ch, '<', info->name,
                 info->answer == VU_ANSWER_PAYLOAD ? info->reply
                 : reply->header.size              ? VU_U64
                                                   : VU_NONE,
                 reply, trace_vhost_user_received_enabled(), channel_trace_received);
    channel_arm_timer(ch);
    bool refused = channel_ack_refused(p, reply, &err);
    if (p->fn) {
        p->fn(p->opaque, refused ? NULL : reply, err);
    }
    error_free(err);
    g_free(p);
}

/* The size is checked before room is used: the header is the back end's word. */
static bool channel_check_header(VhostUserChannel *ch)
{
    if (ch->in.header.size <= sizeof(VhostUserPayload)) {
        return true;
    }
    Error *err = NULL;
    const char *name = ch->first ? vhost_user_request_name(ch->first->code) : "no request";
    error_set(&err, "%s: the reply claims a payload of %u bytes; no message has more than %zu",
              name, ch->in.header.size, sizeof(VhostUserPayload));
    vhost_user_channel_fail(ch, err);
    return false;
}

static void channel_receive(void *opaque, const uint8_t *buf, size_t len)
{
    VhostUserChannel *ch = opaque;
    while (len && !ch->failure) {
        size_t part = MIN(len, channel_wanted(ch));
        uint8_t *to = ch->in_done < sizeof(VhostUserHeader)
                          ? (uint8_t *)&ch->in.header + ch->in_done
                          : (uint8_t *)&ch->in.payload + ch->in_done - sizeof(VhostUserHeader);
        memcpy(to, buf, part);
        buf += part;
        len -= part;
        ch->in_done += part;
        if (ch->in_done == sizeof(VhostUserHeader) && !channel_check_header(ch)) {
            return;
        }
        if (ch->in_done >= sizeof(VhostUserHeader) && !channel_wanted(ch)) {
            channel_take_reply(ch);
            channel_reset_input(ch);
        }
    }
}

/* --- Opening and closing --- */

void vhost_user_channel_fail(VhostUserChannel *ch, Error *err)
{
    if (ch->failure || !ch->open) {
        error_free(err);
        return;
    }
    ch->failure = err;
    timer_cancel(ch->timer);
    chardev_disconnect(ch->fe.chardev);
}

static void channel_update_label(VhostUserChannel *ch)
{
    static const char absent[] = "disconnected:";
    g_autofree char *filename = chardev_filename(ch->fe.chardev);
    const char *address = filename;
    if (g_str_has_prefix(address, absent)) {
        address += strlen(absent);
    }
    g_free(ch->label);
    ch->label = g_strdup_printf("%s (%s)", ch->name, address);
}

static void channel_closed(VhostUserChannel *ch);

static void channel_opened(VhostUserChannel *ch)
{
    channel_closed(ch); /* chardev-change puts one connection in place of another */
    ch->open = true;
    ch->reply_ack = false;
    channel_reset_input(ch);
    channel_log_line(ch, '-', "connected");
    ch->ops->opened(ch->opaque);
}

static void channel_closed(VhostUserChannel *ch)
{
    if (!ch->open) {
        return;
    }
    Error *why = g_steal_pointer(&ch->failure);
    if (!why && ch->first) {
        error_set(&why, "the back end closed the connection instead of answering %s",
                  vhost_user_request_name(ch->first->code));
    } else if (!why) {
        error_set(&why, "the back end closed the connection");
    }
    ch->open = false;
    channel_log_line(ch, '-', error_message(why));
    channel_answer_all(ch, why);
    channel_reset_input(ch);
    ch->ops->closed(ch->opaque, why);
    error_free(why);
}

static void channel_event(void *opaque, CharEvent event)
{
    VhostUserChannel *ch = opaque;
    if (event == CHAR_EVENT_OPENED) {
        channel_opened(ch);
    } else if (event == CHAR_EVENT_CLOSED) {
        channel_closed(ch);
    }
}

/* chardev-change: the conversation begins anew with whoever is there now. */
static bool channel_backend_changed(void *opaque, Error **errp)
{
    VhostUserChannel *ch = opaque;
    if (!chardev_supports_fds(ch->fe.chardev)) {
        error_set(errp,
                  "%s: chardev '%s' can't pass file descriptors; vhost-user needs a unix socket",
                  ch->name, chardev_id(ch->fe.chardev));
        return false;
    }
    channel_update_label(ch);
    return true;
}

static const CharHandlers channel_handlers = {
    .can_receive = channel_can_receive,
    .receive = channel_receive,
    .event = channel_event,
    .backend_changed = channel_backend_changed,
};

VhostUserChannel *vhost_user_channel_new(const VhostUserChannelSpec *spec, Error **errp)
{
    if (!chardev_supports_fds(spec->chardev)) {
        error_set(errp,
                  "chardev '%s' can't pass file descriptors; vhost-user needs a plain unix socket",
                  chardev_id(spec->chardev));
        return NULL;
    }
    VhostUserChannel *ch = g_new0(VhostUserChannel, 1);
    ch->last = &ch->first;
    if (spec->log) {
        ch->log = fopen(spec->log, "we");
        if (!ch->log) {
            error_set_errno(errp, errno, "cannot open '%s'", spec->log);
            g_free(ch);
            return NULL;
        }
        setvbuf(ch->log, NULL, _IOLBF, 0);
    }
    if (!char_frontend_init(&ch->fe, spec->chardev, errp)) {
        if (ch->log) {
            fclose(ch->log);
        }
        g_free(ch);
        return NULL;
    }
    ch->name = g_strdup(spec->name);
    channel_update_label(ch);
    ch->ops = spec->ops;
    ch->opaque = spec->opaque;
    ch->timeout = (int64_t)spec->timeout_ms * NS_PER_MS;
    ch->log_start = clock_now(CLK_REALTIME);
    ch->timer = timer_new(event_loop_main(), CLK_REALTIME, channel_timeout, ch);
    return ch;
}

void vhost_user_channel_start(VhostUserChannel *ch)
{
    char_frontend_set_handlers(&ch->fe, &channel_handlers, ch, NULL);
}

void vhost_user_channel_free(VhostUserChannel *ch)
{
    if (!ch) {
        return;
    }
    char_frontend_finish(&ch->fe);
    ch->open = false;
    Error *why = NULL;
    error_set(&why, "the connection was closed");
    channel_answer_all(ch, why);
    error_free(why);
    timer_free(ch->timer);
    vhost_user_message_close_fds(&ch->in);
    error_free(ch->failure);
    if (ch->log) {
        fclose(ch->log);
    }
    g_free(ch->name);
    g_free(ch->label);
    g_free(ch);
}

void vhost_user_channel_set_reply_ack(VhostUserChannel *ch, bool on)
{
    ch->reply_ack = on;
}

bool vhost_user_channel_is_open(const VhostUserChannel *ch)
{
    return ch->open && !ch->failure;
}

const char *vhost_user_channel_label(const VhostUserChannel *ch)
{
    return ch->label;
}

Chardev *vhost_user_channel_chardev(const VhostUserChannel *ch)
{
    return ch->fe.chardev;
}

uint64_t vhost_user_channel_sent(const VhostUserChannel *ch, uint32_t code)
{
    return ch->sent[code];
}

uint64_t vhost_user_channel_requested(const VhostUserChannel *ch, uint32_t code)
{
    return ch->requested[code];
}

uint64_t vhost_user_channel_received(const VhostUserChannel *ch, uint32_t code)
{
    return ch->received[code];
}
