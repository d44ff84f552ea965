/*
 * A tap interface of the Linux host. Where the kernel can, frames carry virtio headers, so that
 * checksums and segmentation are left to whoever comes last.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/fdset.h"
#include "base/iov.h"
#include "base/report.h"
#include "event/loop.h"
#include "net/netdev.h"
#include "net/tap-vhost.h"

enum { FRAMES_A_TURN = 50, HEADER_SMALL = 10, TAP_IOV_MAX = 1024, HEADER_MAX = 20 };

#define TUN_DEVICE "/dev/net/tun"

typedef struct TapClient {
    NetClient client;
    int fd;
    FdWatch *watch;
    char *ifname;
    char *downscript; /* first queue only; NULL: none */
    bool vnet_header; /* the interface exchanges them */
    unsigned host_header_len;
    unsigned can; /* NET_OFFLOAD_ bits that the kernel knows */
    bool read_blocked, write_blocked, enabled;
    bool in_kernel; /* vhost reads and writes it */
    uint8_t in[NET_FRAME_MAX];
} TapClient;

static void tap_watch(TapClient *t)
{
    bool ours = t->enabled && !t->in_kernel;
    fd_watch_enable(t->watch, ours && !t->read_blocked, ours && t->write_blocked);
}

static void tap_sent(NetClient *nc, size_t len)
{
    TapClient *t = (TapClient *)nc;
    t->read_blocked = false;
    tap_watch(t);
}

static void tap_readable(void *opaque)
{
    TapClient *t = opaque;
    for (int i = 0; i < FRAMES_A_TURN; i++) {
        ssize_t n = read(t->fd, t->in, sizeof(t->in));
        if (n <= 0) {
            return;
        }
        /* The NIC doesn't use headers: take the kernel's away. */
        size_t skip = t->vnet_header && !t->client.vnet_header_len ? t->host_header_len : 0;
        if ((size_t)n <= skip) {
            continue;
        }
        if (!net_send_buf(&t->client, t->in + skip, n - skip, tap_sent)) {
            t->read_blocked = true;
            tap_watch(t);
            return;
        }
    }
}

static void tap_writable(void *opaque)
{
    TapClient *t = opaque;
    t->write_blocked = false;
    tap_watch(t);
    net_flush_queued(&t->client);
}

static size_t tap_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    TapClient *t = (TapClient *)nc;
    static const uint8_t no_offload[HEADER_MAX];
    struct iovec parts[TAP_IOV_MAX];
    size_t len = iov_size(iov, count);
    if (t->vnet_header && !nc->vnet_header_len) {
        if (count >= TAP_IOV_MAX) {
            return len;
        }
        parts[0] = (struct iovec){ (void *)no_offload, t->host_header_len };
        memcpy(parts + 1, iov, count * sizeof(*iov));
        iov = parts;
        count++;
    }
    ssize_t n;
    do {
        n = writev(t->fd, iov, count);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        t->write_blocked = true;
        tap_watch(t);
        return 0;
    }
    return len; /* an interface that is down loses frames, as a wire does */
}

/* --- scripts --- */

static bool run_script(const char *script, const char *ifname, Error **errp)
{
    char *argv[] = { (char *)script, (char *)ifname, NULL };
    int status;
    GError *gerr = NULL;
    if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL, NULL,
                      &status, &gerr)) {
        error_set(errp, "cannot run the network script '%s': %s; script=no does without", script,
                  gerr->message);
        g_error_free(gerr);
        return false;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        error_set(errp, "the network script '%s' failed with status %d; script=no does without",
                  script, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        return false;
    }
    return true;
}

static void tap_finish(NetClient *nc)
{
    TapClient *t = (TapClient *)nc;
    tap_vhost_detach(nc);
    fd_watch_free(t->watch);
    if (t->downscript) {
        ERROR_AUTO err = NULL;
        if (!run_script(t->downscript, t->ifname, &err)) {
            report_warning("netdev '%s': %s", nc->name, error_message(err));
        }
    }
    fd_close(t->fd);
    g_free(t->ifname);
    g_free(t->downscript);
}

/* --- offloads --- */

static bool tap_has_vnet_header(NetClient *nc)
{
    return ((TapClient *)nc)->vnet_header;
}

static bool tap_has_vnet_header_len(NetClient *nc, unsigned len)
{
    return tap_has_vnet_header(nc) && len >= HEADER_SMALL && len <= HEADER_MAX;
}

static void tap_set_vnet_header_len(NetClient *nc, unsigned len)
{
    TapClient *t = (TapClient *)nc;
    nc->vnet_header_len = len;
    if (!t->vnet_header || !len) {
        return;
    }
    int size = len;
    if (ioctl(t->fd, TUNSETVNETHDRSZ, &size)) {
        report_warning("netdev '%s': the kernel refuses headers of %u bytes", nc->name, len);
        return;
    }
    t->host_header_len = len;
    int little = 1;
    ioctl(t->fd, TUNSETVNETLE, &little); /* older kernels: the host's order, which is the same */
}

static unsigned tap_offloads(NetClient *nc)
{
    return ((TapClient *)nc)->can;
}

/* The kernel's names, less than which older kernels may know: UDP segments are since 6.2. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
static const struct {
    unsigned offload, flag;
} tap_offload_flags[] = {
    { NET_OFFLOAD_CSUM, TUN_F_CSUM }, { NET_OFFLOAD_TSO4, TUN_F_TSO4 },
    { NET_OFFLOAD_TSO6, TUN_F_TSO6 }, { NET_OFFLOAD_ECN, TUN_F_TSO_ECN },
    { NET_OFFLOAD_UFO, TUN_F_UFO },   { NET_OFFLOAD_USO4, TUN_F_USO4 },
    { NET_OFFLOAD_USO6, TUN_F_USO6 },
};

/* What frames from the interface may leave to us. The kernel has rules of its own: nothing without
 * checksums, ECN with segments only, UDP segments of both families or of none. */
static bool tap_ask_offloads(TapClient *t, unsigned offloads)
{
    unsigned f = 0;
    if (!(offloads & NET_OFFLOAD_CSUM)) {
        offloads = 0;
    }
    if (!(offloads & (NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6))) {
        offloads &= ~NET_OFFLOAD_ECN;
    }
    if ((offloads & NET_OFFLOAD_USO) != NET_OFFLOAD_USO) {
        offloads &= ~NET_OFFLOAD_USO;
    }
    for (unsigned i = 0; i < ARRAY_LEN(tap_offload_flags); i++) {
        f |= offloads & tap_offload_flags[i].offload ? tap_offload_flags[i].flag : 0;
    }
    return ioctl(t->fd, TUNSETOFFLOAD, f) == 0;
}

static void tap_set_offloads(NetClient *nc, unsigned offloads)
{
    TapClient *t = (TapClient *)nc;
    if (!tap_ask_offloads(t, offloads & t->can)) {
        report_warning("netdev '%s': the kernel refuses the offloads 0x%x: %s", nc->name, offloads,
                       strerror(errno));
    }
}

/* What the kernel knows: the most it takes, tried from the newest. */
static void tap_find_offloads(TapClient *t)
{
    static const unsigned sets[] = {
        NET_OFFLOAD_USO | NET_OFFLOAD_UFO,
        NET_OFFLOAD_USO,
        NET_OFFLOAD_UFO,
        0,
    };
    for (unsigned i = 0; t->vnet_header && i < ARRAY_LEN(sets); i++) {
        unsigned all =
            sets[i] | NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
        if (tap_ask_offloads(t, all)) {
            t->can = all;
            break;
        }
    }
    tap_set_offloads(&t->client, 0);
}

static bool tap_set_enabled(NetClient *nc, bool on, Error **errp)
{
    TapClient *t = (TapClient *)nc;
    if (t->enabled == on) {
        return true;
    }
    if (nc->queue_count > 1) {
        struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };
        if (ioctl(t->fd, TUNSETQUEUE, &ifr)) {
            error_set_errno(errp, errno, "netdev '%s': cannot %s queue %u", nc->name,
                            on ? "attach" : "detach", nc->queue_index);
            return false;
        }
    }
    t->enabled = on;
    tap_watch(t);
    return true;
}

static void tap_describe(NetClient *nc, GString *out)
{
    TapClient *t = (TapClient *)nc;
    g_string_append_printf(out, "ifname=%s", t->ifname ? t->ifname : "?");
}

static const NetClientOps tap_ops = {
    .type = "tap",
    .size = sizeof(TapClient),
    .receive = tap_receive,
    .finish = tap_finish,
    .describe = tap_describe,
    .has_vnet_header = tap_has_vnet_header,
    .has_vnet_header_len = tap_has_vnet_header_len,
    .set_vnet_header_len = tap_set_vnet_header_len,
    .offloads = tap_offloads,
    .set_offloads = tap_set_offloads,
    .set_enabled = tap_set_enabled,
};

/* --- opening --- */

/* A tap descriptor, with the interface's name in ifname (IFNAMSIZ bytes, in and out). */
static int tap_open(char *ifname, OnOffAuto want_header, bool multiqueue, bool *vnet_header,
                    Error **errp)
{
    unsigned features = 0;
    if (FAULT("open tap", errp)) {
        return -1;
    }
    int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        error_set_errno(errp, errno,
                        "cannot open " TUN_DEVICE
                        "; give an open descriptor with 'fd', or the right to open it");
        return -1;
    }
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    if (ioctl(fd, TUNGETFEATURES, &features)) {
        features = 0;
    }
    *vnet_header = want_header != ON_OFF_AUTO_OFF && (features & IFF_VNET_HDR);
    if (want_header == ON_OFF_AUTO_ON && !*vnet_header) {
        error_set(errp, "vnet_hdr=on, but the kernel's tap driver has no such headers");
        fd_close(fd);
        return -1;
    }
    ifr.ifr_flags |= *vnet_header ? IFF_VNET_HDR : 0;
    if (multiqueue) {
        if (!(features & IFF_MULTI_QUEUE)) {
            error_set(errp, "the kernel's tap driver has no multiqueue; use queues=1");
            fd_close(fd);
            return -1;
        }
        ifr.ifr_flags |= IFF_MULTI_QUEUE;
    }
    g_strlcpy(ifr.ifr_name, ifname[0] ? ifname : "tap%d", IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &ifr)) {
        error_set_errno(errp, errno, "cannot set up the tap interface '%s'",
                        ifname[0] ? ifname : "(new)");
        fd_close(fd);
        return -1;
    }
    g_strlcpy(ifname, ifr.ifr_name, IFNAMSIZ);
    return fd;
}

/* Takes over fd. */
static TapClient *tap_client_new(const char *id, int fd, const char *ifname, bool vnet_header)
{
    TapClient *t = (TapClient *)net_client_new(&tap_ops, NULL, id, NULL);
    t->fd = fd;
    t->ifname = g_strdup(ifname);
    t->vnet_header = vnet_header;
    t->enabled = true;
    t->watch = fd_watch_new(event_loop_main(), fd, tap_readable, tap_writable, t);
    if (vnet_header) {
        int size = 0;
        t->host_header_len = ioctl(fd, TUNGETVNETHDRSZ, &size) == 0 ? size : HEADER_SMALL;
    }
    tap_find_offloads(t);
    tap_watch(t);
    return t;
}

static bool tap_set_sndbuf(const NetdevTapOptions *o, int fd, Error **errp)
{
    int sndbuf = !o->has_sndbuf || !o->sndbuf || o->sndbuf > INT_MAX ? INT_MAX : o->sndbuf;
    if (ioctl(fd, TUNSETSNDBUF, &sndbuf) && o->has_sndbuf) {
        error_set_errno(errp, errno, "cannot set sndbuf to %d bytes", sndbuf);
        return false;
    }
    return true;
}

/* A descriptor that somebody else set up: see what it is. Takes over fd; what: for messages. */
static bool tap_add_open(const char *id, const NetdevTapOptions *o, int given, const char *what,
                         Error **errp)
{
    FD_AUTO fd = given;
    struct ifreq ifr = { 0 };
    if (!fd_set_nonblock(fd, true, errp)) {
        return false;
    }
    if (ioctl(fd, TUNGETIFF, &ifr)) {
        error_set_errno(errp, errno, "descriptor '%s' is not a tap", what);
        return false;
    }
    bool header = ifr.ifr_flags & IFF_VNET_HDR;
    if (o->has_vnet_hdr && o->vnet_hdr != header) {
        error_set(errp, "descriptor '%s' was opened %s offload headers, vnet_hdr=%s contradicts",
                  what, header ? "with" : "without", o->vnet_hdr ? "on" : "off");
        return false;
    }
    if (!tap_set_sndbuf(o, fd, errp)) {
        return false;
    }
    tap_client_new(id, fd_steal(&fd), ifr.ifr_name, header);
    return true;
}

static bool tap_add_given(const char *id, const NetdevTapOptions *o, const char *text, Error **errp)
{
    int fd = fd_from_text(text, errp);
    return fd >= 0 && tap_add_open(id, o, fd, text, errp);
}

static void tap_remove_all(const char *id)
{
    NetClient *nc;
    while ((nc = net_netdev_find(id))) {
        net_client_free(nc);
    }
}

static bool tap_create_given(const char *id, const NetdevTapOptions *o, Error **errp)
{
    if (o->fd && o->fds) {
        error_set(errp, "'fd' and 'fds' exclude each other");
        return false;
    }
    if (o->ifname || o->script || o->downscript || o->has_queues || o->helper || o->br) {
        error_set(errp, "'ifname', 'script', 'downscript', 'queues', 'helper' and 'br' don't go "
                        "with a descriptor, which is set up already");
        return false;
    }
    if (o->fd) {
        return tap_add_given(id, o, o->fd, errp);
    }
    g_auto(GStrv) parts = g_strsplit(o->fds, ":", NET_QUEUES_MAX + 1);
    if (g_strv_length(parts) > NET_QUEUES_MAX) {
        error_set(errp, "'fds' has more than %d descriptors", NET_QUEUES_MAX);
        return false;
    }
    for (unsigned i = 0; parts[i]; i++) {
        if (!tap_add_given(id, o, parts[i], errp)) {
            tap_remove_all(id);
            return false;
        }
    }
    return true;
}

/* --- helper: a program with more rights makes the interface and passes its descriptor --- */

#define DEFAULT_BRIDGE "br0"
static const char *const helpers[] = {
    "/usr/lib/qemu/qemu-bridge-helper",
    "/usr/libexec/qemu-bridge-helper",
};

static const char *default_helper(void)
{
    for (unsigned i = 0; i < ARRAY_LEN(helpers); i++) {
        if (access(helpers[i], X_OK) == 0) {
            return helpers[i];
        }
    }
    return helpers[0];
}

/* Run it with our end of a socket as descriptor `to`. */
static bool helper_run(const char *helper, const char *bridge, int to, Error **errp)
{
    gint argc;
    g_auto(GStrv) words = NULL;
    g_autofree char *err_text = NULL;
    GError *gerr = NULL;
    int status = -1;
    if (!g_shell_parse_argv(helper, &argc, &words, &gerr)) {
        error_set(errp, "'helper' is not a command: %s", gerr->message);
        g_error_free(gerr);
        return false;
    }
    g_autofree char *fd_word = g_strdup_printf("--fd=%d", to);
    g_autofree char *br_word = g_strdup_printf("--br=%s", bridge);
    g_autofree char **argv = g_new0(char *, argc + 4);
    memcpy(argv, words, argc * sizeof(*argv));
    argv[argc] = (char *)"--use-vnet";
    argv[argc + 1] = fd_word;
    argv[argc + 2] = br_word;
    if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_LEAVE_DESCRIPTORS_OPEN | G_SPAWN_STDOUT_TO_DEV_NULL,
                      NULL, NULL, NULL, &err_text, &status, &gerr)) {
        error_set(errp, "cannot run the helper '%s': %s", words[0], gerr->message);
        g_error_free(gerr);
        return false;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        g_strchomp(err_text);
        char *end = strchr(err_text, '\n');
        if (end) {
            *end = 0;
        }
        error_set(errp, "the helper '%s' refuses bridge '%s': %s", words[0], bridge,
                  *err_text ? err_text : "it failed without a word");
        return false;
    }
    return true;
}

static int helper_open(const char *helper, const char *bridge, Error **errp)
{
    int pair[2], fd = -1;
    char byte;
    unsigned count = 1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        error_set_errno(errp, errno, "cannot make a socket for the helper");
        return -1;
    }
    FD_AUTO ours = pair[0], theirs = pair[1];
    struct iovec iov = { &byte, 1 };
    if (!fd_set_cloexec(theirs, false, errp) || !fd_set_nonblock(ours, true, errp) ||
        !helper_run(helper, bridge, theirs, errp)) {
        return -1;
    }
    if (fd_recvmsg(ours, &iov, 1, &fd, &count) != 1 || count != 1) {
        error_set(errp, "the helper '%s' gave no descriptor", helper);
        return -1;
    }
    return fd;
}

static bool tap_create_by_helper(const char *id, const NetdevTapOptions *o, Error **errp)
{
    if (o->ifname || o->script || o->downscript || o->has_queues || o->has_vnet_hdr) {
        error_set(errp, "'ifname', 'script', 'downscript', 'queues' and 'vnet_hdr' don't go with a "
                        "helper, which decides that");
        return false;
    }
    int fd =
        helper_open(o->helper ? o->helper : default_helper(), o->br ? o->br : DEFAULT_BRIDGE, errp);
    return fd >= 0 && tap_add_open(id, o, fd, "of the helper", errp);
}

bool net_bridge_create(const char *id, const void *options, Error **errp)
{
    const NetdevBridgeOptions *o = options;
    NetdevTapOptions tap = { .br = o->br, .helper = o->helper };
    return tap_create_by_helper(id, &tap, errp);
}

static const char *script_or_none(const char *script)
{
    return script && strcmp(script, "no") ? script : NULL;
}

static bool tap_create_named(const char *id, const NetdevTapOptions *o, Error **errp)
{
    char ifname[IFNAMSIZ] = "";
    if (o->ifname && (!o->ifname[0] || strlen(o->ifname) >= IFNAMSIZ)) {
        error_set(errp, "'ifname' expects 1 to %d characters, got '%s'", IFNAMSIZ - 1, o->ifname);
        return false;
    }
    g_strlcpy(ifname, o->ifname ? o->ifname : "", sizeof(ifname));
    unsigned queues = o->has_queues ? o->queues : 1;
    OnOffAuto want = !o->has_vnet_hdr ? ON_OFF_AUTO_AUTO
                     : o->vnet_hdr    ? ON_OFF_AUTO_ON
                                      : ON_OFF_AUTO_OFF;
    for (unsigned i = 0; i < queues; i++) {
        bool header;
        int fd = tap_open(ifname, want, queues > 1, &header, errp);
        if (fd < 0) {
            tap_remove_all(id);
            return false;
        }
        if (!tap_set_sndbuf(o, fd, errp)) {
            fd_close(fd);
            tap_remove_all(id);
            return false;
        }
        tap_client_new(id, fd, ifname, header);
    }
    const char *script = script_or_none(o->script);
    if (script && !run_script(script, ifname, errp)) {
        tap_remove_all(id);
        return false;
    }
    TapClient *first = (TapClient *)net_netdev_find(id);
    first->downscript = g_strdup(script_or_none(o->downscript));
    return true;
}

/* --- vhost --- */

static void tap_in_kernel(NetClient *nc, bool on)
{
    TapClient *t = (TapClient *)nc;
    t->in_kernel = on;
    tap_watch(t);
}

static bool tap_add_vhost(const char *id, const NetdevTapOptions *o, Error **errp)
{
    NetClient *clients[NET_QUEUES_MAX];
    TapVhostQueue queues[NET_QUEUES_MAX];
    unsigned count = net_client_queues(id, clients, NET_QUEUES_MAX);
    for (unsigned i = 0; i < count; i++) {
        queues[i] = (TapVhostQueue){ clients[i], ((TapClient *)clients[i])->fd };
    }
    return tap_vhost_attach(id, o, queues, count, tap_in_kernel, errp);
}

bool net_tap_create(const char *id, const void *options, Error **errp)
{
    const NetdevTapOptions *o = options;
    bool wanted = tap_vhost_wanted(o);
    if ((o->vhostfd || o->vhostfds) && !wanted) {
        error_set(errp, "'vhostfd' and 'vhostfds' have a meaning with vhost=on only");
        return false;
    }
    if (o->vhostfd && o->vhostfds) {
        error_set(errp, "'vhostfd' and 'vhostfds' exclude each other");
        return false;
    }
    if (o->has_poll_us && o->poll_us && !wanted) {
        error_set(errp, "'poll-us' has a meaning with vhost=on only");
        return false;
    }
    bool given = o->fd || o->fds;
    bool made = given                ? tap_create_given(id, o, errp)
                : o->helper || o->br ? tap_create_by_helper(id, o, errp)
                                     : tap_create_named(id, o, errp);
    if (!made) {
        return false;
    }
    if (wanted && !tap_add_vhost(id, o, errp)) {
        tap_remove_all(id);
        return false;
    }
    return true;
}
