/*
 * What a vhost-user back end sends, to a front end that negotiates, runs and has its own channel
 * open.
 *
 * The bytes are records: what to do, how many bytes go with it, the bytes. So that the fuzzer comes
 * far, a record can be a right answer to whatever was asked last, with a payload of its choice.
 */
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../unit/vhost-user-fixture.h"
#include "fuzz.h"

enum { RAW, ANSWER, ANSWER_WITH_FD, RAW_REQUEST, REQUEST, REQUEST_WITH_FD, HANG_UP, KINDS };

typedef struct Peer {
    int conn, channel;    /* -1: none */
    uint32_t pending[64]; /* requests not yet answered */
    unsigned head, tail;
} Peer;

static int listener = -1;
static char *path;

/* Read what the front end says: remember what wants an answer. */
static void peer_listen(Peer *p)
{
    VhostUserMessage m;
    for (;;) {
        int fds[VHOST_USER_MAX_FDS];
        unsigned nfds = VHOST_USER_MAX_FDS;
        struct iovec iov = { &m.header, sizeof(m.header) };
        if (p->conn < 0 || fd_recvmsg(p->conn, &iov, 1, fds, &nfds) != sizeof(m.header)) {
            return;
        }
        if (m.header.request == VHOST_USER_SET_BACKEND_REQ_FD && nfds) {
            fd_close(p->channel);
            p->channel = fds[--nfds];
        }
        while (nfds) {
            fd_close(fds[--nfds]);
        }
        if (m.header.size && recv(p->conn, &m.payload, m.header.size, MSG_WAITALL) < 0) {
            return;
        }
        const VhostUserMessageInfo *info = vhost_user_request_info(m.header.request);
        if ((info->answer != VU_ANSWER_ACK || (m.header.flags & VHOST_USER_NEED_REPLY)) &&
            p->tail - p->head < ARRAY_LEN(p->pending)) {
            p->pending[p->tail++ % ARRAY_LEN(p->pending)] = m.header.request;
        }
    }
}

static void peer_send(int to, uint32_t code, uint32_t flags, uint32_t size, const uint8_t *data,
                      size_t len, bool with_fd)
{
    uint8_t bytes[sizeof(VhostUserHeader) + 256] = { 0 };
    VhostUserHeader h = { code, flags, size };
    memcpy(bytes, &h, sizeof(h));
    memcpy(bytes + sizeof(h), data, MIN(len, 256));
    struct iovec iov = { bytes, sizeof(h) + MIN(size, 256u) };
    int fd = listener;
    (void)!fd_sendmsg(to, &iov, 1, &fd, with_fd);
}

/* The size that fits, so that contents are what is tried. */
static void peer_answer(Peer *p, const uint8_t *data, size_t len, bool with_fd)
{
    if (p->head == p->tail) {
        return;
    }
    uint32_t code = p->pending[p->head++ % ARRAY_LEN(p->pending)];
    const VhostUserMessageInfo *info = vhost_user_request_info(code);
    VhostUserKind kind = info->answer == VU_ANSWER_PAYLOAD ? info->reply : VU_U64;
    uint32_t size = MIN(vhost_user_max_size(kind), 256u);
    if (kind == VU_CONFIG) {
        size = VHOST_USER_CONFIG_HEADER + 60;
    }
    peer_send(p->conn, code, VHOST_USER_VERSION | VHOST_USER_REPLY, size, data, len, with_fd);
}

static void peer_request(Peer *p, const uint8_t *data, size_t len, bool with_fd)
{
    const VhostUserMessageInfo *info = len ? vhost_user_backend_request_info(data[0]) : NULL;
    if (info && p->channel >= 0) {
        peer_send(p->channel, data[0], VHOST_USER_VERSION | (len & 1 ? VHOST_USER_NEED_REPLY : 0),
                  vhost_user_max_size(info->request), data + 1, len - 1, with_fd);
    }
}

static void peer_act(Peer *p, unsigned kind, const uint8_t *data, size_t len)
{
    switch (kind) {
    case RAW:
        (void)!send(p->conn, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case ANSWER:
    case ANSWER_WITH_FD:
        peer_answer(p, data, len, kind == ANSWER_WITH_FD);
        break;
    case RAW_REQUEST:
        if (p->channel >= 0) {
            (void)!send(p->channel, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
        break;
    case REQUEST:
    case REQUEST_WITH_FD:
        peer_request(p, data, len, kind == REQUEST_WITH_FD);
        break;
    default:
        fd_close(p->channel);
        p->channel = -1;
        break;
    }
}

static void quiet(const char *line, void *opaque)
{
}

static void start_listening(void)
{
    char folder[] = "/tmp/fuzz-vhost-XXXXXX";
    g_assert_nonnull(mkdtemp(folder));
    path = g_build_filename(folder, "s", NULL);
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(listener, 16), ==, 0);
}

static void stop_listening(void)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_unlink(path);
    g_rmdir(folder);
}

static Fixture f;

static void prepare(void)
{
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
    module_call(MODULE_TYPES);
    module_call(MODULE_OPTIONS);
    report_set_sink(quiet, NULL);
    memory_init();
    start_listening();
    atexit(stop_listening);
    ok = memory_region_init_ram(&f.ram, NULL, "ram", MiB, &error_abort);
    g_assert_true(ok);
    memory_region_add(memory_root(), 0, &f.ram);
    for (int i = 0; i < RINGS; i++) {
        ok = event_notifier_init(&f.kick[i], false, &error_abort) &&
             event_notifier_init(&f.call[i], false, &error_abort);
        g_assert_true(ok);
    }
    f.guest_features = F_V1 | F_MRG;
    f.fake.path = path;
}

static void turn(Peer *p)
{
    for (int i = 0; i < 4; i++) {
        event_loop_iterate(event_loop_main(), false);
        peer_listen(p);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (listener < 0) {
        prepare();
    }
    Peer p = { .conn = -1, .channel = -1 };
    VhostUserSpec spec = { .protocol_features = UINT32_MAX & ~BIT64(VHOST_USER_PF_XEN_MMAP),
                           .config_size = 60,
                           .tolerate_lost_features = true };
    connect_with(&f, &spec);
    vhost_device_set_wanted(f.dev, true);
    for (int i = 0; i < 100 && p.conn < 0; i++) {
        event_loop_iterate(event_loop_main(), false);
        p.conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    turn(&p);
    while (size >= 2 && p.conn >= 0) {
        unsigned kind = data[0] % KINDS;
        size_t len = MIN((size_t)data[1], size - 2);
        peer_act(&p, kind, data + 2, len);
        data += 2 + len;
        size -= 2 + len;
        turn(&p);
    }
    fd_close(p.conn);
    fd_close(p.channel);
    vhost_device_free(g_steal_pointer(&f.dev));
    if (f.doorbell) {
        munmap(f.doorbell, 4096);
        f.doorbell = NULL;
    }
    chardev_finish_all();
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        fd_close(fd); /* it connected again meanwhile */
    }
    return 0;
}
