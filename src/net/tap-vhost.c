#include "net/tap-vhost.h"

#include <linux/vhost.h>
#include <string.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/fdset.h"
#include "base/report.h"
#include "vhost/kernel/kernel.h"

enum { RINGS_OF_A_QUEUE = 2 };

/* To the kernel this bit is VHOST_NET_F_VIRTIO_NET_HDR (linux/vhost_types.h), to drivers
 * ANY_LAYOUT. */
#define F_HEADER BIT64(VHOST_NET_F_VIRTIO_NET_HDR)

typedef struct TapVhost {
    VhostNet parent;
    VhostKernel *kernel;
    TapVhostQueue *queues;
    unsigned count, clients; /* clients: queues that still exist */
    void (*running)(NetClient *nc, bool on);
} TapVhost;

bool tap_vhost_wanted(const NetdevTapOptions *o)
{
    return (o->has_vhost && o->vhost) || (o->has_vhostforce && o->vhostforce);
}

/* The tap is the kernel's for as long as it works the rings of its queue. */
static bool tap_vhost_set_running(VhostKernel *k, unsigned unit, bool on, Error **errp)
{
    TapVhost *t = vhost_kernel_opaque(k);
    for (unsigned ring = 0; ring < RINGS_OF_A_QUEUE; ring++) {
        struct vhost_vring_file file = { .index = ring, .fd = on ? t->queues[unit].fd : -1 };
        if (!vhost_kernel_call(k, unit, VHOST_NET_SET_BACKEND, &file, "VHOST_NET_SET_BACKEND",
                               errp)) {
            return false;
        }
    }
    return true;
}

static void tap_vhost_running(void *opaque, bool on)
{
    TapVhost *t = opaque;
    for (unsigned i = 0; i < t->count; i++) {
        if (t->queues[i].nc) {
            t->running(t->queues[i].nc, on);
        }
    }
}

static const VhostDeviceOps tap_vhost_ops = { .running = tap_vhost_running };

/* --- Descriptors --- */

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        fd_close(fds[i]);
    }
    g_free(fds);
}

/* One for each queue: given, or opened. NULL on failure. */
static int *tap_vhost_open(const NetdevTapOptions *o, unsigned count, Error **errp)
{
    g_auto(GStrv) given = o->vhostfds  ? g_strsplit(o->vhostfds, ":", NET_QUEUES_MAX + 1)
                          : o->vhostfd ? g_strsplit(o->vhostfd, ":", 1)
                                       : NULL;
    if (given && g_strv_length(given) != count) {
        error_set(errp, "the interface has %u queues, and %u vhost descriptors were given", count,
                  g_strv_length(given));
        return NULL;
    }
    int *fds = g_new(int, count);
    for (unsigned i = 0; i < count; i++) {
        fds[i] = given ? fd_from_text(given[i], errp) : vhost_kernel_open("/dev/vhost-net", errp);
        if (fds[i] < 0 || !fd_set_nonblock(fds[i], true, errp)) {
            close_all(fds, fds[i] < 0 ? i : i + 1);
            return NULL;
        }
    }
    return fds;
}

/* --- Life --- */

static TapVhost *tap_vhost_new(const char *id, const NetdevTapOptions *o,
                               const TapVhostQueue *queues, unsigned count, Error **errp)
{
    int *fds = tap_vhost_open(o, count, errp);
    if (!fds) {
        return NULL;
    }
    g_autofree char *label = g_strdup_printf("netdev '%s'", id);
    TapVhost *t = g_new0(TapVhost, 1);
    t->queues = g_memdup2(queues, count * sizeof(*queues));
    t->count = t->clients = count;
    const VhostKernelSpec spec = {
        .name = label,
        .fds = fds,
        .units = count,
        .rings = RINGS_OF_A_QUEUE,
        .hidden_features = F_HEADER,
        .poll_us = o->has_poll_us ? o->poll_us : 0,
        .set_running = tap_vhost_set_running,
        .opaque = t,
    };
    t->kernel = vhost_kernel_new(&spec, errp);
    g_free(fds);
    if (!t->kernel) {
        g_free(t->queues);
        g_free(t);
        return NULL;
    }
    t->parent = (VhostNet){
        .dev = vhost_device_new(vhost_kernel_backend(t->kernel), label, &tap_vhost_ops, t),
        .backend_features = vhost_net_kernel_features,
        .guest_offloads = true,
    };
    return t;
}

bool tap_vhost_attach(const char *id, const NetdevTapOptions *o, const TapVhostQueue *queues,
                      unsigned count, void (*running)(NetClient *nc, bool on), Error **errp)
{
    Error *err = NULL;
    TapVhost *t = tap_vhost_new(id, o, queues, count, &err);
    if (!t && ((o->has_vhostforce && o->vhostforce) || o->vhostfd || o->vhostfds)) {
        error_propagate(errp, err);
        return false;
    }
    if (!t) {
        report_warning("netdev '%s': %s; frames go through this process", id, error_message(err));
        error_free(err);
        return true;
    }
    t->running = running;
    for (unsigned i = 0; i < count; i++) {
        queues[i].nc->vhost = &t->parent;
    }
    return true;
}

void tap_vhost_detach(NetClient *nc)
{
    TapVhost *t = nc->vhost;
    if (!t) {
        return;
    }
    nc->vhost = NULL;
    for (unsigned i = 0; i < t->count; i++) {
        if (t->queues[i].nc == nc) {
            t->queues[i].nc = NULL;
        }
    }
    if (!--t->clients) {
        vhost_device_free(t->parent.dev);
        g_free(t->queues);
        g_free(t);
    }
}
