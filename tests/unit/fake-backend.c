#include "fake-backend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"

static bool read_exact(FakeBackend *fake, int conn, void *buf, size_t len, int *fds, unsigned *nfds)
{
    size_t done = 0;
    while (done < len) {
        struct pollfd p = { .fd = conn, .events = POLLIN };
        if (__atomic_load_n(&fake->quit, __ATOMIC_SEQ_CST)) {
            return false;
        }
        if (poll(&p, 1, 20) <= 0) {
            continue;
        }
        struct iovec iov = { (char *)buf + done, len - done };
        unsigned room = VHOST_USER_MAX_FDS - *nfds;
        ssize_t n = fd_recvmsg(conn, &iov, 1, fds + *nfds, &room);
        if (n <= 0) {
            return false;
        }
        *nfds += room;
        done += n;
    }
    return true;
}

/* False when it is time to close. */
static bool send_bytes(FakeBackend *fake, int conn, const void *buf, size_t len, int *fds,
                       unsigned nfds)
{
    bool cut = fake->close_after_bytes >= 0 && fake->sent + (int)len > fake->close_after_bytes;
    size_t part = cut ? (size_t)(fake->close_after_bytes - fake->sent) : len;
    struct iovec iov = { (void *)buf, part };
    if (part && fd_sendmsg(conn, &iov, 1, fds, nfds) != (ssize_t)part) {
        return false;
    }
    fake->sent += part;
    return !cut;
}

typedef struct Reply {
    VhostUserHeader header;
    VhostUserPayload payload;
} __attribute__((packed)) Reply; /* as it is on the wire */

static bool send_reply(FakeBackend *fake, int conn, Reply *r, int *fds, unsigned nfds)
{
    bool hit = fake->fault && r->header.request == fake->fault_code;
    int extra = -1;
    bool ok;
    if (hit) {
        switch (fake->fault) {
        case FAKE_CLOSE:
            return false;
        case FAKE_SILENT:
            return true;
        case FAKE_SHORT:
            r->header.size -= 1;
            break;
        case FAKE_LONG:
            r->header.size += 1;
            break;
        case FAKE_HUGE:
            r->header.size = 0x7fffffff;
            break;
        case FAKE_WRONG_CODE:
            r->header.request += 1;
            break;
        case FAKE_NOT_A_REPLY:
            r->header.flags &= ~VHOST_USER_REPLY;
            break;
        case FAKE_VERSION:
            r->header.flags ^= VHOST_USER_VERSION_MASK;
            break;
        case FAKE_FD:
            extra = dup(0);
            fds = &extra;
            nfds = 1;
            break;
        case FAKE_HALF_HEADER:
            send_bytes(fake, conn, r, sizeof(r->header) / 2, NULL, 0);
            return false;
        default:
            break;
        }
    }
    size_t size = MIN(r->header.size, sizeof(r->payload));
    ok = send_bytes(fake, conn, r, sizeof(r->header) + size, fds, nfds);
    if (ok && hit && fake->fault == FAKE_TWICE) {
        ok = send_bytes(fake, conn, r, sizeof(r->header) + size, fds, nfds);
    }
    fd_close(extra);
    return ok;
}

static void note_memory(FakeBackend *fake, const VhostUserMessage *m)
{
    fake->region_count = m->payload.memory.count;
    memcpy(fake->regions, m->payload.memory.regions,
           m->payload.memory.count * sizeof(VhostUserRegion));
}

/* Take the request in; *r is prepared for its answer. Returns whether it has a payload to answer.
 */
static bool handle(FakeBackend *fake, VhostUserMessage *m, Reply *r, int **fds, unsigned *nfds)
{
    unsigned index = m->payload.state.index & 15;
    r->header.size = 8;
    switch (m->header.request) {
    case VHOST_USER_GET_FEATURES:
        r->payload.u64 = fake->features;
        return true;
    case VHOST_USER_GET_PROTOCOL_FEATURES:
        r->payload.u64 = fake->protocol_features;
        return true;
    case VHOST_USER_GET_QUEUE_NUM:
        r->payload.u64 = fake->queue_num;
        return true;
    case VHOST_USER_GET_MAX_MEM_SLOTS:
        r->payload.u64 = fake->mem_slots;
        return true;
    case VHOST_USER_GET_VRING_BASE:
        r->payload.state = (VhostUserVringState){ m->payload.state.index, fake->base[index] };
        fake->kicked[index] = false;
        return true;
    case VHOST_USER_GET_CONFIG:
        r->payload.config = m->payload.config;
        memset(r->payload.config.data, 0x5a, m->payload.config.size);
        r->header.size = VHOST_USER_CONFIG_HEADER + m->payload.config.size;
        return true;
    case VHOST_USER_GET_INFLIGHT_FD:
        r->payload.inflight = m->payload.inflight;
        r->payload.inflight.mmap_size = 4096;
        r->header.size = sizeof(VhostUserInflight);
        fake->inflight_fd = memfd_create("inflight", MFD_CLOEXEC);
        *fds = &fake->inflight_fd;
        *nfds = 1;
        return true;
    case VHOST_USER_SET_LOG_BASE:
        fd_close(fake->log_fd);
        fake->log_fd = m->fds[--m->nfds];
        fake->log_size = m->payload.log.mmap_size;
        r->header.size = 0;
        return true;
    case VHOST_USER_GET_SHARED_OBJECT:
        fake->inflight_fd = memfd_create("object", MFD_CLOEXEC);
        *fds = &fake->inflight_fd;
        *nfds = 1;
        r->header.size = 0;
        return true;
    case VHOST_USER_IOTLB_MSG:
        fake->iotlb = m->payload.iotlb;
        return false;
    case VHOST_USER_NET_SET_MTU:
        fake->mtu = m->payload.u64;
        return false;
    case VHOST_USER_SET_FEATURES:
        fake->acked_features = m->payload.u64;
        return false;
    case VHOST_USER_SET_PROTOCOL_FEATURES:
        fake->acked_protocol = m->payload.u64;
        return false;
    case VHOST_USER_SET_MEM_TABLE:
        note_memory(fake, m);
        return false;
    case VHOST_USER_ADD_MEM_REG:
        fake->regions[fake->region_count++ & 15] = m->payload.region.region;
        return false;
    case VHOST_USER_SET_VRING_NUM:
        fake->num[index] = m->payload.state.num;
        return false;
    case VHOST_USER_SET_VRING_BASE:
        fake->base[index] = m->payload.state.num;
        return false;
    case VHOST_USER_SET_VRING_ADDR:
        fake->addr[m->payload.addr.index & 15] = m->payload.addr;
        return false;
    case VHOST_USER_SET_VRING_KICK:
        fake->kicked[m->payload.u64 & 15] = true;
        return false;
    case VHOST_USER_SET_VRING_ENABLE:
        fake->enabled[index] = m->payload.state.num;
        return false;
    case VHOST_USER_SET_INFLIGHT_FD:
        fake->inflight_given_back++;
        return false;
    case VHOST_USER_SET_BACKEND_REQ_FD:
        fd_close(fake->backend_fd);
        fake->backend_fd = m->fds[--m->nfds];
        return false;
    default:
        return false;
    }
}

static bool serve_one(FakeBackend *fake, int conn)
{
    VhostUserMessage m = { 0 };
    if (!read_exact(fake, conn, &m.header, sizeof(m.header), m.fds, &m.nfds) ||
        !read_exact(fake, conn, &m.payload, m.header.size, m.fds, &m.nfds)) {
        vhost_user_message_close_fds(&m);
        return false;
    }
    g_mutex_lock(&fake->lock);
    Reply r = { .header = { m.header.request, VHOST_USER_VERSION | VHOST_USER_REPLY, 0 } };
    int *fds = NULL;
    unsigned nfds = 0;
    g_string_append_printf(fake->log, "%s ", vhost_user_request_name(m.header.request));
    bool answer = handle(fake, &m, &r, &fds, &nfds);
    bool ok = true;
    if (answer) {
        ok = send_reply(fake, conn, &r, fds, nfds);
    } else if (m.header.flags & VHOST_USER_NEED_REPLY) {
        r.header.size = 8;
        r.payload.u64 = fake->fault == FAKE_REFUSE && fake->fault_code == m.header.request ? 1 : 0;
        ok = send_reply(fake, conn, &r, NULL, 0);
    } else if (fake->fault == FAKE_CLOSE && fake->fault_code == m.header.request) {
        ok = false;
    }
    if (fake->inflight_fd >= 0) {
        fd_close(fake->inflight_fd);
        fake->inflight_fd = -1;
    }
    vhost_user_message_close_fds(&m);
    g_mutex_unlock(&fake->lock);
    return ok;
}

static gpointer serve(gpointer opaque)
{
    FakeBackend *fake = opaque;
    while (!__atomic_load_n(&fake->quit, __ATOMIC_SEQ_CST)) {
        struct pollfd p = { .fd = fake->listener, .events = POLLIN };
        if (poll(&p, 1, 20) <= 0) {
            continue;
        }
        int conn = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
        g_mutex_lock(&fake->lock);
        fake->conn = conn;
        fake->sent = 0;
        fake->connections++;
        fake->region_count = 0;
        g_mutex_unlock(&fake->lock);
        while (serve_one(fake, conn)) {
        }
        g_mutex_lock(&fake->lock);
        fake->conn = -1;
        fd_close(fake->backend_fd);
        fake->backend_fd = -1;
        fd_close(conn);
        g_mutex_unlock(&fake->lock);
    }
    return NULL;
}

void fake_backend_start(FakeBackend *fake, const char *folder)
{
    *fake = (FakeBackend){
        .path = g_build_filename(folder, "vhost.sock", NULL),
        .features = BIT64(VHOST_USER_F_PROTOCOL_FEATURES) | BIT64(32),
        .protocol_features = BIT64(VHOST_USER_PF_REPLY_ACK) | BIT64(VHOST_USER_PF_MQ),
        .queue_num = 4,
        .mem_slots = 32,
        .close_after_bytes = -1,
        .log = g_string_new(NULL),
        .backend_fd = -1,
        .conn = -1,
        .inflight_fd = -1,
        .log_fd = -1,
    };
    g_mutex_init(&fake->lock);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_strlcpy(addr.sun_path, fake->path, sizeof(addr.sun_path));
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fake->listener, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fake->listener, 8), ==, 0);
    fake->thread = g_thread_new("fake-backend", serve, fake);
}

void fake_backend_stop(FakeBackend *fake)
{
    __atomic_store_n(&fake->quit, true, __ATOMIC_SEQ_CST);
    g_thread_join(fake->thread);
    fd_close(fake->listener);
    fd_close(fake->log_fd);
    unlink(fake->path);
    g_free(fake->path);
    g_string_free(fake->log, true);
    g_mutex_clear(&fake->lock);
}

void fake_backend_kill(FakeBackend *fake)
{
    g_mutex_lock(&fake->lock);
    if (fake->conn >= 0) {
        shutdown(fake->conn, SHUT_RDWR);
    }
    g_mutex_unlock(&fake->lock);
}

char *fake_backend_take_log(FakeBackend *fake)
{
    g_mutex_lock(&fake->lock);
    char *log = g_strdup(fake->log->str);
    g_string_truncate(fake->log, 0);
    g_mutex_unlock(&fake->lock);
    return log;
}
