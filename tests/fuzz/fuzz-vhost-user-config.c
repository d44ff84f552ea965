/*
 * What a vhost-user back end says of its device's configuration: answers to GET_CONFIG and
 * SET_CONFIG of any shape, its own requests at any moment, connections that end between; and a
 * driver that reads and writes configuration and resets meanwhile. The first byte chooses the
 * device, the rest is the course of events. The handshake itself is answered rightly, so that it is
 * got through.
 */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../unit/test-pci.h"

#include "base/fd.h"
#include "base/report.h"
#include "chardev/chardev-record.h"
#include "devices/virtio/transport.h"
#include "devices/virtio/transport/virtio-pci.h"
#include "fuzz.h"
#include "vhost/user/message.h"

typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

static uint64_t take(Input *in, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n && in->left; i++, in->left--) {
        v |= (uint64_t)*in->data++ << (8 * i);
    }
    return v;
}

/* --- The back end --- */

typedef struct BackEnd {
    int listener, conn, own; /* own: for its requests */
    Input *in;
} BackEnd;

static void hang_up(BackEnd *b)
{
    fd_close(b->conn);
    fd_close(b->own);
    b->conn = b->own = -1;
}

/* A message, or half of one; the header's size may be a lie. */
static void say(int fd, uint32_t code, uint32_t flags, const void *payload, size_t len,
                uint32_t claimed)
{
    uint8_t wire[sizeof(VhostUserHeader) + sizeof(VhostUserPayload)];
    VhostUserHeader header = { code, flags, claimed };
    memcpy(wire, &header, sizeof(header));
    memcpy(wire + sizeof(header), payload, len);
    if (fd >= 0) {
        (void)!send(fd, wire, sizeof(header) + len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

static void answer_u64(BackEnd *b, const VhostUserMessage *m, uint64_t value)
{
    say(b->conn, m->header.request, VHOST_USER_VERSION | VHOST_USER_REPLY, &value, sizeof(value),
        sizeof(value));
}

static void answer_config(BackEnd *b, const VhostUserMessage *m)
{
    VhostUserConfig c = m->payload.config;
    uint8_t how = take(b->in, 1);
    uint32_t size = VHOST_USER_CONFIG_HEADER + MIN(c.size, VHOST_USER_CONFIG_MAX);
    for (unsigned i = 0; i < MIN(c.size, VHOST_USER_CONFIG_MAX); i++) {
        c.data[i] = b->in->left ? take(b->in, 1) : i;
    }
    if ((how & 0xf0) == 0xf0) { /* mostly right: what follows is worth getting to */
        c.offset = how & 1 ? take(b->in, 4) : c.offset;
        c.size = how & 2 ? take(b->in, 4) : c.size;
        size = how & 4 ? take(b->in, 2) % sizeof(c) : size;
    }
    say(b->conn, m->header.request, VHOST_USER_VERSION | VHOST_USER_REPLY, &c, size,
        (how & 0xf8) == 0xf8 ? take(b->in, 4) : size);
}

static void answer(BackEnd *b, VhostUserMessage *m)
{
    switch (m->header.request) {
    case VHOST_USER_GET_FEATURES:
        answer_u64(b, m, BIT64(VHOST_USER_F_PROTOCOL_FEATURES) | BIT64(32) | 0xffff);
        break;
    case VHOST_USER_GET_PROTOCOL_FEATURES:
        answer_u64(b, m,
                   BIT64(VHOST_USER_PF_REPLY_ACK) | BIT64(VHOST_USER_PF_CONFIG) |
                       BIT64(VHOST_USER_PF_BACKEND_REQ) | BIT64(VHOST_USER_PF_MQ));
        break;
    case VHOST_USER_GET_QUEUE_NUM:
        answer_u64(b, m, 8);
        break;
    case VHOST_USER_GET_CONFIG:
        answer_config(b, m);
        break;
    case VHOST_USER_SET_BACKEND_REQ_FD:
        fd_close(b->own);
        b->own = m->nfds ? m->fds[--m->nfds] : -1;
        answer_u64(b, m, 0);
        break;
    default:
        if (m->header.flags & VHOST_USER_NEED_REPLY) {
            answer_u64(b, m, 0);
        }
    }
}

/* Whatever is there to be read; the front end's messages come whole. */
static void serve(BackEnd *b)
{
    if (b->conn < 0) {
        b->conn = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    }
    while (b->conn >= 0) {
        VhostUserMessage m = { 0 };
        struct iovec iov = { &m.header, sizeof(m.header) };
        m.nfds = VHOST_USER_MAX_FDS;
        ssize_t n = fd_recvmsg(b->conn, &iov, 1, m.fds, &m.nfds);
        if (n != sizeof(m.header)) {
            if (!n) {
                hang_up(b);
            }
            return;
        }
        if (m.header.size) {
            n = recv(b->conn, &m.payload, m.header.size, 0);
            g_assert_cmpint(n, ==, m.header.size);
        }
        answer(b, &m);
        vhost_user_message_close_fds(&m);
    }
}

static void own_request(BackEnd *b)
{
    uint8_t bytes[64];
    unsigned len = take(b->in, 1) % sizeof(bytes);
    for (unsigned i = 0; i < len; i++) {
        bytes[i] = take(b->in, 1);
    }
    say(b->own, 1 + take(b->in, 1) % 10, VHOST_USER_VERSION | (take(b->in, 1) & 8), bytes, len,
        len);
}

/* --- The driver and the course of events --- */

static void step(VirtioDevice *vdev, BackEnd *b)
{
    Input *in = b->in;
    unsigned size = 1u << take(in, 1) % 3;
    switch (take(in, 1) % 12) {
    case 0:
        hang_up(b);
        break;
    case 1:
        own_request(b);
        break;
    case 2:
    case 3:
        say(b->own, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
            VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, NULL, 0, 0);
        break;
    case 4:
        virtio_set_status(vdev, take(in, 1));
        break;
    case 5:
        (void)virtio_set_features(vdev, take(in, 8) & vdev->host_features);
        break;
    case 6:
    case 7:
        virtio_config_write(vdev, take(in, 1), take(in, 4), size);
        break;
    default:
        (void)virtio_config_read(vdev, take(in, 1), size);
        (void)virtio_status(vdev);
        break;
    }
    for (unsigned i = 0; i < 6; i++) {
        serve(b);
        event_loop_iterate(event_loop_main(), false);
    }
}

static int listen_at(const char *path)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 8), ==, 0);
    return fd;
}

static void add_chardev(const char *path)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:i}", "backend", "socket", "id", "c0", "path", path,
                             "reconnect-ms", 1);
    ChardevOptions options = { 0 };
    g_assert_true(
        value_parse(&value_type_chardev_options, &options, json, VALUE_MODE_TEXT, &error_abort));
    g_assert_nonnull(chardev_new_from_options(&options, &error_abort));
    value_release(&value_type_chardev_options, &options);
    json_decref(json);
}

static void silence(const char *line, void *opaque)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const devices[][2] = {
        { "vhost-user-blk-pci", "chardev=c0" },
        { "vhost-user-input-pci", "chardev=c0" },
        { "vhost-user-snd-pci", "chardev=c0" },
        { "vhost-user-device-pci", "chardev=c0,virtio-id=20,config_size=256" },
    };
    static bool started; /* types and the loop live as long as the process */
    if (!started) {
        started = true;
        module_call(MODULE_TYPES);
        module_call(MODULE_SUBSYSTEM);
        world_register_types();
        g_assert_true(event_loop_main_init(&error_abort));
        report_set_sink(silence, NULL);
    }
    if (!size) {
        return 0;
    }
    World w;
    Input in = { data + 1, size - 1 };
    g_autofree char *folder = g_dir_make_tmp("fuzz-vhost-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "s", NULL);
    BackEnd b = { .listener = listen_at(path), .conn = -1, .own = -1, .in = &in };
    world_up(&w, NULL);
    report_set_sink(silence, NULL);
    add_chardev(path);
    const char *const *device = devices[data[0] % ARRAY_LEN(devices)];
    PciDevice *dev = world_try(w.root, device[0], device[1], &error_abort);
    VirtioDevice *vdev = virtio_pci_cast(dev)->vdev;
    for (unsigned steps = 0; in.left && steps < 400; steps++) {
        step(vdev, &b);
    }
    device_destroy(&dev->parent);
    chardev_finish_all();
    hang_up(&b);
    fd_close(b.listener);
    unlink(path);
    rmdir(folder);
    world_down(&w, NULL);
    return 0;
}
