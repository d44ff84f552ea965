/* The connection to a machine's front end: messages in, answers out. */
#include "machine.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/report.h"
#include "devices/virtio/net/net-spec.h"
#include "devices/virtio/spec.h"
#include "machine-internal.h"

const uint64_t machine_features =
    BIT64(VIRTIO_NET_F_MTU) | BIT64(VIRTIO_NET_F_MRG_RXBUF) | BIT64(VIRTIO_NET_F_STATUS) |
    BIT64(VIRTIO_NET_F_CTRL_VQ) | BIT64(VIRTIO_NET_F_CTRL_RX) | BIT64(VIRTIO_NET_F_GUEST_ANNOUNCE) |
    BIT64(VIRTIO_NET_F_MQ) | BIT64(VHOST_F_LOG_ALL) | BIT64(VIRTIO_F_ANY_LAYOUT) |
    BIT64(VIRTIO_F_INDIRECT_DESC) | BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_F_VERSION_1) |
    BIT64(VIRTIO_F_RING_PACKED) | BIT64(VHOST_USER_F_PROTOCOL_FEATURES);

const uint64_t machine_protocol_features =
    BIT64(VHOST_USER_PF_MQ) | BIT64(VHOST_USER_PF_LOG_SHMFD) | BIT64(VHOST_USER_PF_RARP) |
    BIT64(VHOST_USER_PF_REPLY_ACK) | BIT64(VHOST_USER_PF_NET_MTU) |
    BIT64(VHOST_USER_PF_BACKEND_REQ) | BIT64(VHOST_USER_PF_RESET_DEVICE) |
    BIT64(VHOST_USER_PF_CONFIGURE_MEM_SLOTS) | BIT64(VHOST_USER_PF_STATUS);

/* --- The end --- */

void machine_fail(Machine *m, Error *err)
{
    if (!m->why) {
        m->why = g_strdup(error_message(err));
    }
    error_free(err);
    bh_schedule(m->end);
}

static void end(void *opaque)
{
    Machine *m = opaque;
    if (m->why) {
        report_error("%s: %s; the connection is closed", m->name, m->why);
    } else {
        report_info("%s: the connection has ended", m->name);
    }
    m->gone(m, m->opaque);
}

/* Without a complaint: the front end has closed, or is to see that this end has. */
static void hang_up(Machine *m)
{
    fd_watch_enable(m->watch, false, false);
    bh_schedule(m->end);
}

/* --- What was said --- */

static void say(const Machine *m, char direction, const char *name, VhostUserKind kind,
                const VhostUserMessage *msg)
{
    if (m->settings->verbose) {
        g_autoptr(GString) fields = g_string_new(NULL);
        vhost_user_format_payload(kind, msg, fields);
        report_info("%s: %c %s %s%s", m->name, direction, name, fields->str,
                    msg->nfds ? " +fd" : "");
    }
}

/* --- The messages --- */

/* The descriptor that came along; the caller's. -1: none. */
static int take_fd(VhostUserMessage *msg)
{
    return msg->nfds ? msg->fds[--msg->nfds] : -1;
}

static MachineQueue *find_queue(Machine *m, uint64_t index, Error **errp)
{
    if (index >= 2 * m->settings->queue_pairs) {
        error_set(errp, "there is no queue %" PRIu64 "; there are %u", index,
                  2 * m->settings->queue_pairs);
        return NULL;
    }
    return &m->queues[index];
}

static bool remap_queues(Machine *m, Error **errp)
{
    for (unsigned i = 0; i < 2 * m->settings->queue_pairs; i++) {
        if (!machine_queue_remap(&m->queues[i], errp)) {
            return false;
        }
    }
    return true;
}

static void reset_queues(Machine *m)
{
    for (unsigned i = 0; i < 2 * m->settings->queue_pairs; i++) {
        machine_queue_reset(&m->queues[i]);
    }
}

/* A handler fills the reply where its message has one (r->header.size is set already where the size
 * is fixed). False: the message can't be obeyed; that is said and, where asked for, acknowledged
 * with failure. */
typedef bool Handler(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp);

static bool get_features(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    r->payload.u64 = m->settings->features;
    return true;
}

static bool set_features(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    uint64_t extra = msg->payload.u64 & ~m->settings->features;
    if (extra) {
        error_set(errp, "features 0x%" PRIx64 " were not offered", extra);
        return false;
    }
    m->features = msg->payload.u64;
    return true;
}

static bool get_protocol_features(Machine *m, VhostUserMessage *msg, VhostUserMessage *r,
                                  Error **errp)
{
    r->payload.u64 = m->settings->protocol_features;
    return true;
}

static bool set_protocol_features(Machine *m, VhostUserMessage *msg, VhostUserMessage *r,
                                  Error **errp)
{
    uint64_t extra = msg->payload.u64 & ~m->settings->protocol_features;
    if (extra) {
        error_set(errp, "protocol features 0x%" PRIx64 " were not offered", extra);
        return false;
    }
    m->protocol_features = msg->payload.u64;
    return true;
}

static bool nothing_to_do(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    return true;
}

static bool reset_device(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    reset_queues(m);
    m->status = 0;
    return true;
}

static bool set_mem_table(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    const VhostUserMemory *t = &msg->payload.memory;
    if (msg->nfds != t->count) {
        error_set(errp, "%u regions came with %u file descriptors", t->count, msg->nfds);
        return false;
    }
    shared_memory_clear(m->memory);
    for (uint32_t i = 0; i < t->count; i++) {
        if (!shared_memory_add(m->memory, &t->regions[i], msg->fds[i], errp)) {
            return false;
        }
    }
    return remap_queues(m, errp);
}

static bool get_max_mem_slots(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    r->payload.u64 = SHARED_MEMORY_SLOTS;
    return true;
}

static bool add_mem_reg(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    return shared_memory_add(m->memory, &msg->payload.region.region, msg->fds[0], errp) &&
           remap_queues(m, errp);
}

static bool rem_mem_reg(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    return shared_memory_remove(m->memory, &msg->payload.region.region, errp) &&
           remap_queues(m, errp);
}

static bool set_log_base(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    r->payload.u64 = 0;
    return shared_memory_set_log(m->memory, &msg->payload.log, msg->fds[0], errp);
}

static bool set_vring_num(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    MachineQueue *q = find_queue(m, msg->payload.state.index, errp);
    if (q) {
        q->ring.size = msg->payload.state.num;
    }
    return q;
}

static bool set_vring_addr(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    MachineQueue *q = find_queue(m, msg->payload.addr.index, errp);
    if (!q) {
        return false;
    }
    q->ring.addr = msg->payload.addr;
    q->ring.log_used = msg->payload.addr.flags & VHOST_USER_VRING_LOG;
    return machine_queue_remap(q, errp);
}

static bool set_vring_base(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    MachineQueue *q = find_queue(m, msg->payload.state.index, errp);
    if (q && q->started) {
        error_set(errp, "queue %u is at work", q->index);
        return false;
    }
    if (q) {
        q->base = msg->payload.state.num;
    }
    return q;
}

static bool get_vring_base(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    MachineQueue *q = find_queue(m, msg->payload.state.index, errp);
    if (q) {
        machine_queue_stop(q);
        r->payload.state = (VhostUserVringState){ q->index, q->base };
    }
    return q;
}

static MachineQueue *queue_with_fd(Machine *m, VhostUserMessage *msg, int *fd, Error **errp)
{
    MachineQueue *q = find_queue(m, msg->payload.u64 & VHOST_USER_VRING_INDEX_MASK, errp);
    bool none = msg->payload.u64 & VHOST_USER_VRING_NOFD;
    if (q && none == (msg->nfds > 0)) {
        error_set(errp, "queue %u: %s", q->index,
                  none ? "a file descriptor came with a message that has none"
                       : "the file descriptor is missing");
        return NULL;
    }
    *fd = q ? take_fd(msg) : -1;
    return q;
}

static bool set_vring_kick(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    int fd;
    MachineQueue *q = queue_with_fd(m, msg, &fd, errp);
    if (!q) {
        return false;
    }
    if (fd < 0) {
        error_set(errp, "queue %u: polling without a kick is not offered", q->index);
        return false;
    }
    machine_queue_set_kick(q, fd);
    return q->started || machine_queue_start(q, errp);
}

static bool set_vring_call(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    int fd;
    MachineQueue *q = queue_with_fd(m, msg, &fd, errp);
    if (q) {
        machine_queue_set_call(q, fd);
    }
    return q;
}

static bool set_vring_err(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    int fd;
    MachineQueue *q = queue_with_fd(m, msg, &fd, errp);
    if (q) {
        machine_queue_set_err(q, fd);
    }
    return q;
}

static bool set_vring_enable(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    MachineQueue *q = find_queue(m, msg->payload.state.index, errp);
    if (q) {
        machine_queue_enable(q, msg->payload.state.num);
    }
    return q;
}

static bool get_queue_num(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    r->payload.u64 = m->settings->queue_pairs;
    return true;
}

static bool send_rarp(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    machine_announce(m, (const uint8_t *)&msg->payload.u64);
    return true;
}

static bool net_set_mtu(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    if (msg->payload.u64 < 68 || msg->payload.u64 > UINT16_MAX) { /* RFC 791's least */
        error_set(errp, "an MTU of %" PRIu64 " is impossible", msg->payload.u64);
        return false;
    }
    m->mtu = msg->payload.u64;
    return true;
}

static bool set_status(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    m->status = msg->payload.u64;
    if (!m->status) {
        reset_queues(m);
    }
    return true;
}

static bool get_status(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    r->payload.u64 = m->status;
    return true;
}

/* Requests of its own are only sent for the sake of their faults. */
static bool set_backend_req_fd(Machine *m, VhostUserMessage *msg, VhostUserMessage *r, Error **errp)
{
    fd_close(m->request_fd);
    m->request_fd = take_fd(msg);
    for (uint32_t code = 1; code < VHOST_USER_BACKEND_REQUEST_COUNT; code++) {
        const VhostUserMessageInfo *info = vhost_user_backend_request_info(code);
        FaultKind kind = fault_for(m->settings->faults, m->settings->fault_count, true, code);
        VhostUserMessage request = { .header = { code, VHOST_USER_VERSION,
                                                 vhost_user_max_size(info->request) } };
        if (kind) {
            say(m, '!', info->name, VU_NONE, &request);
            if (!fault_send(kind, m->request_fd, &request)) {
                fd_close(m->request_fd);
                m->request_fd = -1;
                break;
            }
        }
    }
    return true;
}

static Handler *const handlers[VHOST_USER_REQUEST_COUNT] = {
    [VHOST_USER_GET_FEATURES] = get_features,
    [VHOST_USER_SET_FEATURES] = set_features,
    [VHOST_USER_SET_OWNER] = nothing_to_do,
    [VHOST_USER_RESET_OWNER] = reset_device,
    [VHOST_USER_SET_MEM_TABLE] = set_mem_table,
    [VHOST_USER_SET_LOG_BASE] = set_log_base,
    [VHOST_USER_SET_VRING_NUM] = set_vring_num,
    [VHOST_USER_SET_VRING_ADDR] = set_vring_addr,
    [VHOST_USER_SET_VRING_BASE] = set_vring_base,
    [VHOST_USER_GET_VRING_BASE] = get_vring_base,
    [VHOST_USER_SET_VRING_KICK] = set_vring_kick,
    [VHOST_USER_SET_VRING_CALL] = set_vring_call,
    [VHOST_USER_SET_VRING_ERR] = set_vring_err,
    [VHOST_USER_GET_PROTOCOL_FEATURES] = get_protocol_features,
    [VHOST_USER_SET_PROTOCOL_FEATURES] = set_protocol_features,
    [VHOST_USER_GET_QUEUE_NUM] = get_queue_num,
    [VHOST_USER_SET_VRING_ENABLE] = set_vring_enable,
    [VHOST_USER_SEND_RARP] = send_rarp,
    [VHOST_USER_NET_SET_MTU] = net_set_mtu,
    [VHOST_USER_SET_BACKEND_REQ_FD] = set_backend_req_fd,
    [VHOST_USER_RESET_DEVICE] = reset_device,
    [VHOST_USER_GET_MAX_MEM_SLOTS] = get_max_mem_slots,
    [VHOST_USER_ADD_MEM_REG] = add_mem_reg,
    [VHOST_USER_REM_MEM_REG] = rem_mem_reg,
    [VHOST_USER_SET_STATUS] = set_status,
    [VHOST_USER_GET_STATUS] = get_status,
};

static void answer(Machine *m, const VhostUserMessage *msg, VhostUserMessage *r, bool obeyed)
{
    const VhostUserMessageInfo *info = vhost_user_request_info(msg->header.request);
    VhostUserKind kind = info->answer == VU_ANSWER_PAYLOAD ? info->reply : VU_U64;
    FaultKind fault =
        fault_for(m->settings->faults, m->settings->fault_count, false, msg->header.request);
    bool due = info->answer != VU_ANSWER_ACK || ((msg->header.flags & VHOST_USER_NEED_REPLY) &&
                                                 machine_has_protocol(m, VHOST_USER_PF_REPLY_ACK));
    r->header = (VhostUserHeader){ msg->header.request, VHOST_USER_VERSION | VHOST_USER_REPLY,
                                   vhost_user_max_size(kind) };
    if (info->answer == VU_ANSWER_ACK) {
        r->payload.u64 = !obeyed;
    }
    if (due && m->settings->delay_ms) {
        g_usleep(m->settings->delay_ms * 1000);
    }
    if (fault) {
        report_info("%s: %s: fault '%s'", m->name, info->name, fault_name(fault));
    }
    if (due && !fault) {
        say(m, '<', info->name, kind, r);
    }
    if ((due || (fault && fault < FAULT_SILENT)) && !fault_send(fault, m->fd, r)) {
        hang_up(m);
    }
}

static bool check_request(const VhostUserMessage *msg, Error **errp)
{
    if (!vhost_user_check_request(msg, errp)) {
        return false;
    }
    if (!handlers[msg->header.request]) {
        error_set(errp, "%s is not offered", vhost_user_request_name(msg->header.request));
        return false;
    }
    return true;
}

static void obey(Machine *m)
{
    VhostUserMessage *msg = &m->in, reply = { 0 };
    const VhostUserMessageInfo *info = vhost_user_request_info(msg->header.request);
    Error *err = NULL;
    if (!check_request(msg, &err)) {
        machine_fail(m, err);
        return;
    }
    say(m, '>', info->name, info->request, msg);
    bool ok = handlers[msg->header.request](m, msg, &reply, &err);
    bool asked = (msg->header.flags & VHOST_USER_NEED_REPLY) &&
                 machine_has_protocol(m, VHOST_USER_PF_REPLY_ACK) && info->answer == VU_ANSWER_ACK;
    if (!ok) {
        error_prepend(&err, "%s: ", info->name);
        if (!asked) {
            machine_fail(m, err);
            return;
        }
        report_error("%s: %s", m->name, error_message(err));
        error_free(err);
    }
    answer(m, msg, &reply, ok);
}

/* --- The connection --- */

/* Read what is missing of [0, want) of the message. Returns 1 when it is whole, 0 to wait, -1 at
 * the end. */
static int read_to(Machine *m, size_t want)
{
    while (m->in_len < want) {
        size_t head = sizeof(m->in.header);
        struct iovec iov =
            m->in_len < head
                ? (struct iovec){ (char *)&m->in.header + m->in_len, want - m->in_len }
                : (struct iovec){ (char *)&m->in.payload + m->in_len - head, want - m->in_len };
        unsigned room = VHOST_USER_MAX_FDS - m->in.nfds;
        ssize_t n = fd_recvmsg(m->fd, &iov, 1, m->in.fds + m->in.nfds, &room);
        if (n <= 0) {
            return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
        }
        m->in.nfds += room;
        m->in_len += n;
    }
    return 1;
}

static void readable(void *opaque)
{
    Machine *m = opaque;
    Error *err = NULL;
    while (!m->why) {
        int r = read_to(m, sizeof(m->in.header));
        if (r > 0 && m->in.header.size > sizeof(m->in.payload)) {
            error_set(&err, "request %u with %u bytes of payload is no message",
                      m->in.header.request, m->in.header.size);
            machine_fail(m, err);
            return;
        }
        if (r > 0) {
            r = read_to(m, sizeof(m->in.header) + m->in.header.size);
        }
        if (r < 0) {
            hang_up(m);
        }
        if (r <= 0) {
            return;
        }
        obey(m);
        vhost_user_message_close_fds(&m->in);
        m->in_len = 0;
        memset(&m->in, 0, sizeof(m->in));
    }
}

Machine *machine_new(const BackEndSettings *settings, Switch *sw, int fd, const char *name,
                     void (*gone)(Machine *m, void *opaque), void *opaque)
{
    Machine *m = g_new0(Machine, 1);
    m->settings = settings;
    m->name = g_strdup(name);
    m->gone = gone;
    m->opaque = opaque;
    m->fd = fd;
    m->request_fd = -1;
    m->memory = shared_memory_new();
    m->end = bh_new(event_loop_main(), end, m);
    m->port = switch_add_port(sw, machine_deliver, m);
    for (unsigned i = 0; i < 2 * settings->queue_pairs; i++) {
        machine_queue_init(m, i);
    }
    m->watch = fd_watch_new(event_loop_main(), fd, readable, NULL, m);
    report_info("%s: a front end has connected", name);
    return m;
}

void machine_free(Machine *m)
{
    if (!m) {
        return;
    }
    report_info("%s: %" PRIu64 " frames from it, %" PRIu64 " to it, %" PRIu64 " dropped", m->name,
                m->frames.in, m->frames.out, m->frames.dropped);
    for (unsigned i = 0; i < 2 * m->settings->queue_pairs; i++) {
        machine_queue_finish(&m->queues[i]);
    }
    switch_remove_port(m->port);
    fd_watch_free(m->watch);
    bh_free(m->end);
    vhost_user_message_close_fds(&m->in);
    fd_close(m->fd);
    fd_close(m->request_fd);
    shared_memory_free(m->memory);
    g_free(m->why);
    g_free(m->name);
    g_free(m);
}
