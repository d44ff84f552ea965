#include "vhost/kernel/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/report.h"
#include "event/loop.h"
#include "memory/iommu.h"

/* Regions that the kernel takes, unless the module was told otherwise (max_mem_regions). */
#define KERNEL_REGIONS 64

/* VHOST_F_LOG_ALL is a bit number of linux/vhost_types.h. */
#define F_LOG BIT64(VHOST_F_LOG_ALL)

/* VIRTIO 1.3 section 6 */
#define F_ACCESS_PLATFORM 33

/* Misses answered before others have their turn. */
#define MISSES_AT_ONCE 64

struct VhostKernel {
    VhostBackend backend;
    char *name;
    int *fds;
    FdWatch **watches; /* for translations that the kernel lacks; NULL without */
    unsigned units, rings;
    uint64_t offered; /* all units */
    uint64_t hidden, extra;
    uint64_t backend_features; /* acked: VHOST_BACKEND_F_* */
    bool (*set_running)(VhostKernel *k, unsigned unit, bool on, Error **errp);
    void *opaque;
    const VhostKernelSys *sys;
    const VhostPlan *plan; /* while it runs */
};

static int real_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

static const VhostKernelSys real_sys = { .ioctl = real_ioctl, .read = read, .write = write };

static VhostKernel *kernel_of(VhostBackend *b)
{
    return CONTAINER_OF(b, VhostKernel, backend);
}

bool vhost_kernel_call(VhostKernel *k, unsigned unit, unsigned long request, void *arg,
                       const char *what, Error **errp)
{
    if (FAULT("vhost ioctl", errp)) {
        return false;
    }
    if (k->sys->ioctl(k->fds[unit], request, arg) < 0) {
        error_set_errno(errp, errno, "%s: the kernel refuses %s", k->name, what);
        return false;
    }
    return true;
}

#define CALL(k, unit, request, arg, errp) vhost_kernel_call(k, unit, request, arg, #request, errp)

/* --- What it is told when it starts --- */

static unsigned kernel_units(const VhostKernel *k)
{
    return MIN_OF(k->units, (k->plan->count + k->rings - 1) / k->rings);
}

static uint64_t kernel_features(const VhostKernel *k)
{
    uint64_t f = k->plan->features & k->offered & ~k->hidden;
    return f | k->extra | (k->plan->log ? F_LOG : 0);
}

static bool kernel_set_memory(VhostKernel *k, Error **errp)
{
    unsigned count;
    const VhostRegion *regions = vhost_memory_map_regions(k->plan->memory, &count);
    size_t size = sizeof(struct vhost_memory) + count * sizeof(struct vhost_memory_region);
    g_autofree struct vhost_memory *table = g_malloc0(size);
    table->nregions = count;
    for (unsigned i = 0; i < count; i++) {
        table->regions[i] = (struct vhost_memory_region){
            .guest_phys_addr = regions[i].guest_addr,
            .memory_size = regions[i].size,
            .userspace_addr = (uintptr_t)regions[i].host,
        };
    }
    for (unsigned u = 0; u < kernel_units(k); u++) {
        if (!CALL(k, u, VHOST_SET_MEM_TABLE, table, errp)) {
            return false;
        }
    }
    return true;
}

/* The bitmap comes before the feature that makes use of it, and goes after it. */
static bool kernel_set_log(VhostKernel *k, unsigned unit, Error **errp)
{
    uint64_t base = k->plan->log ? (uintptr_t)k->plan->log->bits : 0;
    uint64_t features = kernel_features(k);
    return (!base || CALL(k, unit, VHOST_SET_LOG_BASE, &base, errp)) &&
           CALL(k, unit, VHOST_SET_FEATURES, &features, errp);
}

static bool kernel_set_addr(VhostKernel *k, unsigned unit, const VhostRing *ring, Error **errp)
{
    struct vhost_vring_addr addr = {
        .index = ring->index % k->rings,
        .flags = k->plan->log ? 1u << VHOST_VRING_F_LOG : 0,
        .log_guest_addr = ring->device_addr,
    };
    if (k->plan->iommu) {
        addr.desc_user_addr = ring->iova[0];
        addr.avail_user_addr = ring->iova[1];
        addr.used_user_addr = ring->iova[2];
    } else {
        addr.desc_user_addr = (uintptr_t)ring->desc;
        addr.avail_user_addr = (uintptr_t)ring->driver;
        addr.used_user_addr = (uintptr_t)ring->device;
    }
    return CALL(k, unit, VHOST_SET_VRING_ADDR, &addr, errp);
}

static bool kernel_set_file(VhostKernel *k, unsigned unit, unsigned index, unsigned long request,
                            int fd, const char *what, Error **errp)
{
    struct vhost_vring_file file = { .index = index % k->rings, .fd = fd };
    return vhost_kernel_call(k, unit, request, &file, what, errp);
}

static bool kernel_set_ring(VhostKernel *k, unsigned unit, const VhostRing *ring, Error **errp)
{
    struct vhost_vring_state num = { .index = ring->index % k->rings, .num = ring->size };
    struct vhost_vring_state base = { .index = ring->index % k->rings, .num = ring->base };
    return CALL(k, unit, VHOST_SET_VRING_NUM, &num, errp) &&
           CALL(k, unit, VHOST_SET_VRING_BASE, &base, errp) &&
           kernel_set_addr(k, unit, ring, errp) &&
           kernel_set_file(k, unit, ring->index, VHOST_SET_VRING_KICK, ring->kick_fd,
                           "VHOST_SET_VRING_KICK", errp) &&
           kernel_set_file(k, unit, ring->index, VHOST_SET_VRING_CALL, ring->call_fd,
                           "VHOST_SET_VRING_CALL", errp);
}

/* A unit works when its driver has set up and enabled all its rings. */
static bool unit_is_on(const VhostKernel *k, unsigned unit)
{
    for (unsigned i = unit * k->rings; i < (unit + 1) * k->rings; i++) {
        if (i >= k->plan->count || !k->plan->rings[i].size || !k->plan->rings[i].enabled) {
            return false;
        }
    }
    return true;
}

static bool kernel_start_unit(VhostKernel *k, unsigned unit, Error **errp)
{
    if (!kernel_set_log(k, unit, errp)) {
        return false;
    }
    for (unsigned i = unit * k->rings; i < MIN_OF((unit + 1) * k->rings, k->plan->count); i++) {
        if (k->plan->rings[i].size && !kernel_set_ring(k, unit, &k->plan->rings[i], errp)) {
            return false;
        }
    }
    return !unit_is_on(k, unit) || k->set_running(k, unit, true, errp);
}

/* --- Translations (plan.iommu) --- */

static void kernel_miss(VhostKernel *k, const struct vhost_msg_v2 *msg)
{
    if (msg->type == VHOST_IOTLB_MSG_V2 && msg->iotlb.type == VHOST_IOTLB_MISS) {
        k->backend.events->iotlb_miss(k->backend.events_opaque, msg->iotlb.iova,
                                      msg->iotlb.perm & VHOST_ACCESS_WO);
    }
}

static void kernel_readable(void *opaque)
{
    VhostKernel *k = opaque;
    for (unsigned u = 0; k->plan && u < kernel_units(k); u++) {
        struct vhost_msg_v2 msg;
        for (int i = 0; k->plan && i < MISSES_AT_ONCE; i++) {
            if (k->sys->read(k->fds[u], &msg, sizeof(msg)) != sizeof(msg)) {
                break;
            }
            kernel_miss(k, &msg);
        }
    }
}

static void kernel_watch(VhostKernel *k, bool on)
{
    for (unsigned u = 0; u < k->units; u++) {
        if (on) {
            k->watches[u] = fd_watch_new(event_loop_main(), k->fds[u], kernel_readable, NULL, k);
        } else {
            fd_watch_free(k->watches[u]);
            k->watches[u] = NULL;
        }
    }
}

static void kernel_iotlb_update(VhostBackend *b, uint64_t iova, uint64_t len, void *host,
                                unsigned access)
{
    VhostKernel *k = kernel_of(b);
    struct vhost_msg_v2 msg = {
        .type = VHOST_IOTLB_MSG_V2,
        .iotlb = { .iova = iova,
                   .size = len,
                   .uaddr = (uintptr_t)host,
                   .perm = (access & IOMMU_READ ? VHOST_ACCESS_RO : 0) |
                           (access & IOMMU_WRITE ? VHOST_ACCESS_WO : 0),
                   .type = host ? VHOST_IOTLB_UPDATE : VHOST_IOTLB_INVALIDATE },
    };
    for (unsigned u = 0; k->plan && u < kernel_units(k); u++) {
        if (k->sys->write(k->fds[u], &msg, sizeof(msg)) != sizeof(msg)) {
            report_warning("%s: the kernel does not take a translation of 0x%" PRIx64 ": %s",
                           k->name, iova, strerror(errno));
        }
    }
}

/* --- As a VhostBackend --- */

static bool kernel_is_ready(VhostBackend *b)
{
    return true;
}

static uint64_t kernel_offered(VhostBackend *b)
{
    VhostKernel *k = kernel_of(b);
    uint64_t f = k->offered & ~k->hidden & ~F_LOG;
    /* Translations come as messages of the second version, or not at all. */
    return k->backend_features & BIT64(VHOST_BACKEND_F_IOTLB_MSG_V2)
               ? f
               : f & ~BIT64(F_ACCESS_PLATFORM);
}

static unsigned kernel_max_rings(VhostBackend *b)
{
    VhostKernel *k = kernel_of(b);
    return k->units * k->rings;
}

static unsigned kernel_max_regions(VhostBackend *b)
{
    return KERNEL_REGIONS;
}

/* The rings stay in memory, and the kernel ends with this process. */
static bool kernel_records_in_flight(VhostBackend *b)
{
    return true;
}

static void kernel_stop_units(VhostKernel *k, unsigned count)
{
    while (count--) {
        ERROR_AUTO err = NULL;
        if (!k->set_running(k, count, false, &err)) {
            report_warning("%s", error_message(err));
        }
    }
    if (k->watches[0]) {
        kernel_watch(k, false);
    }
}

static void kernel_start(VhostBackend *b, const VhostPlan *plan, VhostDoneFn *done, void *opaque)
{
    VhostKernel *k = kernel_of(b);
    ERROR_AUTO err = NULL;
    k->plan = plan;
    unsigned started = 0;
    bool ok = kernel_set_memory(k, &err);
    if (ok && plan->iommu) {
        kernel_watch(k, true);
    }
    while (ok && started < kernel_units(k)) {
        ok = kernel_start_unit(k, started, &err);
        started++;
    }
    if (!ok) {
        kernel_stop_units(k, started);
        k->plan = NULL;
    }
    done(opaque, ok ? NULL : err);
}

static bool kernel_get_base(VhostKernel *k, VhostRing *ring, Error **errp)
{
    struct vhost_vring_state state = { .index = ring->index % k->rings };
    if (!CALL(k, ring->index / k->rings, VHOST_GET_VRING_BASE, &state, errp)) {
        return false;
    }
    ring->base = state.num;
    return true;
}

static void kernel_stop(VhostBackend *b, VhostDoneFn *done, void *opaque)
{
    VhostKernel *k = kernel_of(b);
    ERROR_AUTO err = NULL;
    bool ok = true;
    kernel_stop_units(k, kernel_units(k));
    for (unsigned i = 0; ok && i < k->plan->count; i++) {
        ok = !k->plan->rings[i].size || kernel_get_base(k, &k->plan->rings[i], &err);
    }
    k->plan = NULL;
    done(opaque, ok ? NULL : err);
}

static void kernel_set_enabled(VhostBackend *b, unsigned first, unsigned count, bool on,
                               VhostDoneFn *done, void *opaque)
{
    VhostKernel *k = kernel_of(b);
    ERROR_AUTO err = NULL;
    bool ok = true;
    for (unsigned u = 0; ok && u < kernel_units(k); u++) {
        bool before = unit_is_on(k, u);
        for (unsigned i = u * k->rings; i < (u + 1) * k->rings && i < k->plan->count; i++) {
            if (i >= first && i < first + count) {
                k->plan->rings[i].enabled = on;
            }
        }
        bool now = unit_is_on(k, u);
        ok = now == before || k->set_running(k, u, now, &err);
    }
    if (err) {
        report_warning("%s", error_message(err));
    }
    done(opaque, err);
}

static void kernel_update_memory(VhostBackend *b, VhostDoneFn *done, void *opaque)
{
    ERROR_AUTO err = NULL;
    if (!kernel_set_memory(kernel_of(b), &err)) {
        report_warning("%s", error_message(err));
    }
    done(opaque, err);
}

static void kernel_set_call(VhostBackend *b, unsigned index, int fd)
{
    VhostKernel *k = kernel_of(b);
    ERROR_AUTO err = NULL;
    if (!kernel_set_file(k, index / k->rings, index, VHOST_SET_VRING_CALL, fd,
                         "VHOST_SET_VRING_CALL", &err)) {
        report_warning("%s", error_message(err));
    }
}

static bool kernel_can_log(VhostBackend *b, Error **errp)
{
    VhostKernel *k = kernel_of(b);
    if (k->offered & F_LOG) {
        return true;
    }
    error_set(errp, "%s: this kernel does not note which memory it writes", k->name);
    return false;
}

static void kernel_update_log(VhostBackend *b, VhostDoneFn *done, void *opaque)
{
    VhostKernel *k = kernel_of(b);
    ERROR_AUTO err = NULL;
    bool ok = true;
    for (unsigned u = 0; ok && u < kernel_units(k); u++) {
        ok = kernel_set_log(k, u, &err);
        for (unsigned i = u * k->rings; ok && i < MIN_OF((u + 1) * k->rings, k->plan->count); i++) {
            ok = !k->plan->rings[i].size || kernel_set_addr(k, u, &k->plan->rings[i], &err);
        }
    }
    if (err) {
        report_warning("%s", error_message(err));
    }
    done(opaque, err);
}

/* There is no connection to cut: it stops at once, whatever it says. */
static void kernel_abort(VhostBackend *b, const char *why)
{
    VhostKernel *k = kernel_of(b);
    if (k->plan) {
        kernel_stop_units(k, kernel_units(k));
        k->plan = NULL;
    }
}

static void kernel_free(VhostBackend *b)
{
    VhostKernel *k = kernel_of(b);
    kernel_abort(b, "it is not needed any more");
    for (unsigned u = 0; u < k->units; u++) {
        fd_close(k->fds[u]);
    }
    g_free(k->watches);
    g_free(k->fds);
    g_free(k->name);
    g_free(k);
}

static const VhostBackendOps kernel_ops = {
    .kind = "kernel",
    .is_ready = kernel_is_ready,
    .features = kernel_offered,
    .max_rings = kernel_max_rings,
    .max_regions = kernel_max_regions,
    .records_in_flight = kernel_records_in_flight,
    .start = kernel_start,
    .stop = kernel_stop,
    .set_enabled = kernel_set_enabled,
    .update_memory = kernel_update_memory,
    .set_call = kernel_set_call,
    .can_log = kernel_can_log,
    .update_log = kernel_update_log,
    .iotlb_update = kernel_iotlb_update,
    .abort = kernel_abort,
    .free = kernel_free,
};

/* --- Life --- */

static bool kernel_own_unit(VhostKernel *k, unsigned unit, Error **errp)
{
    uint64_t features, wanted = BIT64(VHOST_BACKEND_F_IOTLB_MSG_V2), has;
    if (!CALL(k, unit, VHOST_SET_OWNER, NULL, errp) ||
        !CALL(k, unit, VHOST_GET_FEATURES, &features, errp)) {
        return false;
    }
    k->offered &= features;
    /* Kernels before 4.20 don't know this question. */
    if (k->sys->ioctl(k->fds[unit], VHOST_GET_BACKEND_FEATURES, &has) < 0) {
        k->backend_features = 0;
        return true;
    }
    k->backend_features &= has & wanted;
    return CALL(k, unit, VHOST_SET_BACKEND_FEATURES, &k->backend_features, errp);
}

static bool kernel_set_poll(VhostKernel *k, unsigned unit, unsigned us, Error **errp)
{
    for (unsigned r = 0; us && r < k->rings; r++) {
        struct vhost_vring_state poll = { .index = r, .num = us };
        if (!CALL(k, unit, VHOST_SET_VRING_BUSYLOOP_TIMEOUT, &poll, errp)) {
            return false;
        }
    }
    return true;
}

VhostKernel *vhost_kernel_new(const VhostKernelSpec *spec, Error **errp)
{
    VhostKernel *k = g_new0(VhostKernel, 1);
    k->backend.ops = &kernel_ops;
    k->name = g_strdup(spec->name);
    k->units = spec->units;
    k->rings = spec->rings;
    k->hidden = spec->hidden_features;
    k->extra = spec->extra_features;
    k->set_running = spec->set_running;
    k->opaque = spec->opaque;
    k->sys = spec->sys ?: &real_sys;
    k->offered = k->backend_features = UINT64_MAX;
    k->fds = g_memdup2(spec->fds, k->units * sizeof(int));
    k->watches = g_new0(FdWatch *, k->units);
    for (unsigned u = 0; u < k->units; u++) {
        if (!kernel_own_unit(k, u, errp) || !kernel_set_poll(k, u, spec->poll_us, errp)) {
            kernel_free(&k->backend);
            return NULL;
        }
    }
    return k;
}

VhostBackend *vhost_kernel_backend(VhostKernel *k)
{
    return &k->backend;
}

void *vhost_kernel_opaque(VhostKernel *k)
{
    return k->opaque;
}

int vhost_kernel_open(const char *device, Error **errp)
{
    if (FAULT("open vhost", errp)) {
        return -1;
    }
    int fd = open(device, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        error_set_errno(errp, errno,
                        "cannot open %s; load the kernel's module, or give an open descriptor with "
                        "vhostfd",
                        device);
    }
    return fd;
}
