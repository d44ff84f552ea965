/* The kernel as a vhost back end, with a kernel of our own behind the system calls. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/vhost.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/rcu.h"
#include "base/report.h"
#include "event/lock.h"
#include "event/loop.h"
#include "memory/memory.h"
#include "vhost/kernel/kernel.h"
#include "vhost/kernel/vsock.h"
#include "vhost/vhost.h"

enum { UNITS = 2, RINGS = 2, ALL_RINGS = UNITS * RINGS, RING_SIZE = 64 };

#define F_V1     BIT64(32)
#define F_HIDDEN BIT64(27)
#define F_LOG    BIT64(VHOST_F_LOG_ALL)

/* --- The kernel --- */

typedef struct FakeUnit {
    int fd;
    uint64_t features, backend_features, log;
    unsigned regions;
    uint32_t num[RINGS], base[RINGS], poll[RINGS];
    struct vhost_vring_addr addr[RINGS];
    int kick[RINGS], call[RINGS];
    bool owned;
} FakeUnit;

static struct {
    FakeUnit units[UNITS];
    bool running[UNITS];
    bool misused; /* something that the real one refuses */
    int calls, fail_at;
    struct vhost_msg_v2 told;
    unsigned told_count;
} kernel;

static FakeUnit *unit_of(int fd)
{
    for (unsigned u = 0; u < UNITS; u++) {
        if (kernel.units[u].fd == fd) {
            return &kernel.units[u];
        }
    }
    g_assert_not_reached();
}

static int take(FakeUnit *u, unsigned long request, void *arg)
{
    const struct vhost_vring_state *state = arg;
    const struct vhost_vring_file *file = arg;
    bool running = kernel.running[u - kernel.units];
    switch (request) {
    case VHOST_SET_OWNER:
        kernel.misused |= u->owned;
        u->owned = true;
        return 0;
    case VHOST_GET_FEATURES:
        *(uint64_t *)arg = F_V1 | F_HIDDEN | F_LOG;
        return 0;
    case VHOST_SET_FEATURES:
        kernel.misused |= (*(uint64_t *)arg & F_LOG) && !u->log;
        u->features = *(uint64_t *)arg;
        return 0;
    case VHOST_GET_BACKEND_FEATURES:
        *(uint64_t *)arg = 3;
        return 0;
    case VHOST_SET_BACKEND_FEATURES:
        u->backend_features = *(uint64_t *)arg;
        return 0;
    case VHOST_SET_VRING_BUSYLOOP_TIMEOUT:
        u->poll[state->index] = state->num;
        return 0;
    case VHOST_SET_MEM_TABLE:
        u->regions = ((struct vhost_memory *)arg)->nregions;
        return 0;
    case VHOST_SET_LOG_BASE:
        u->log = *(uint64_t *)arg;
        return 0;
    case VHOST_SET_VRING_NUM:
        kernel.misused |= running;
        u->num[state->index] = state->num;
        return 0;
    case VHOST_SET_VRING_BASE:
        kernel.misused |= running;
        u->base[state->index] = state->num;
        return 0;
    case VHOST_GET_VRING_BASE:
        kernel.misused |= running;
        ((struct vhost_vring_state *)arg)->num = u->base[state->index] + 5;
        return 0;
    case VHOST_SET_VRING_ADDR:
        u->addr[((struct vhost_vring_addr *)arg)->index] = *(struct vhost_vring_addr *)arg;
        return 0;
    case VHOST_SET_VRING_KICK:
        u->kick[file->index] = file->fd;
        return 0;
    case VHOST_SET_VRING_CALL:
        u->call[file->index] = file->fd;
        return 0;
    default:
        g_error("ioctl 0x%lx", request);
    }
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
    if (++kernel.calls == kernel.fail_at) {
        errno = EBUSY;
        return -1;
    }
    return take(unit_of(fd), request, arg);
}

static ssize_t fake_read(int fd, void *buf, size_t len)
{
    errno = EAGAIN;
    return -1;
}

static ssize_t fake_write(int fd, const void *buf, size_t len)
{
    g_assert_cmpuint(len, ==, sizeof(kernel.told));
    memcpy(&kernel.told, buf, len);
    kernel.told_count++;
    return len;
}

static const VhostKernelSys fake_sys = { fake_ioctl, fake_read, fake_write };

static bool fake_set_running(VhostKernel *k, unsigned unit, bool on, Error **errp)
{
    g_assert_true(vhost_kernel_opaque(k) == &kernel);
    kernel.running[unit] = on;
    return true;
}

/* --- The guest: four rings, in one megabyte --- */

typedef struct Fixture {
    MemoryRegion ram;
    EventNotifier kick[ALL_RINGS], call[ALL_RINGS];
    uint32_t base[ALL_RINGS];
    unsigned taken, restored;
    VhostKernel *k;
    VhostDevice *dev;
    unsigned runs, refused;
} Fixture;

static const char *guest_name(void *guest)
{
    return "guest";
}
static uint64_t guest_features(void *guest)
{
    return F_V1 | F_HIDDEN | BIT64(5);
}
static void guest_take(void *guest, unsigned first, unsigned count)
{
    ((Fixture *)guest)->taken += count;
}
static void guest_release(void *guest, unsigned first, unsigned count)
{
    ((Fixture *)guest)->taken -= count;
}
static bool guest_notifiers_start(void *guest, unsigned count, Error **errp)
{
    return true;
}
static void guest_notifiers_stop(void *guest, unsigned count)
{
}
static EventNotifier *guest_kick(void *guest, unsigned index)
{
    return &((Fixture *)guest)->kick[index];
}
static EventNotifier *guest_call(void *guest, int index)
{
    return &((Fixture *)guest)->call[index];
}
static void guest_ring(void *guest, unsigned index, VhostGuestRing *ring)
{
    hwaddr at = 0x10000 * (index + 1);
    *ring = (VhostGuestRing){ .enabled = true,
                              .size = RING_SIZE,
                              .desc = at,
                              .driver = at + 0x1000,
                              .device = at + 0x2000,
                              .desc_bytes = 16 * RING_SIZE,
                              .driver_bytes = 6 + 2 * RING_SIZE,
                              .device_bytes = 6 + 8 * RING_SIZE,
                              .space = address_space_memory() };
}
static uint32_t guest_base(void *guest, unsigned index)
{
    return ((Fixture *)guest)->base[index];
}
static void guest_set_base(void *guest, unsigned index, uint32_t base)
{
    ((Fixture *)guest)->base[index] = base;
}
static bool guest_restore_base(void *guest, unsigned index, bool recorded)
{
    ((Fixture *)guest)->restored++;
    return true;
}
static void guest_lent(void *guest, bool lent)
{
}
static const VhostGuestOps guest_ops = {
    .name = guest_name,
    .features = guest_features,
    .take = guest_take,
    .release = guest_release,
    .notifiers_start = guest_notifiers_start,
    .notifiers_stop = guest_notifiers_stop,
    .kick = guest_kick,
    .call = guest_call,
    .ring = guest_ring,
    .base = guest_base,
    .set_base = guest_set_base,
    .restore_base = guest_restore_base,
    .lent = guest_lent,
};

static void dev_running(void *opaque, bool on)
{
    ((Fixture *)opaque)->runs += on;
}
static void dev_refused(void *opaque, const Error *why)
{
    ((Fixture *)opaque)->refused++;
}
static const VhostDeviceOps dev_ops = { .running = dev_running, .refused = dev_refused };

/* --- Fixture --- */

static void silence(const char *line, void *opaque)
{
}

static bool make(Fixture *f, Error **errp)
{
    int fds[UNITS];
    for (unsigned u = 0; u < UNITS; u++) {
        fds[u] = kernel.units[u].fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    }
    const VhostKernelSpec spec = { .name = "netdev 'n0'",
                                   .fds = fds,
                                   .units = UNITS,
                                   .rings = RINGS,
                                   .hidden_features = F_HIDDEN,
                                   .poll_us = 30,
                                   .set_running = fake_set_running,
                                   .opaque = &kernel,
                                   .sys = &fake_sys };
    f->k = vhost_kernel_new(&spec, errp);
    if (!f->k) {
        return false;
    }
    f->dev = vhost_device_new(vhost_kernel_backend(f->k), "netdev 'n0'", &dev_ops, f);
    const VhostGuest guest = { &guest_ops, f };
    return vhost_device_attach(f->dev, &guest, ALL_RINGS, address_space_memory(), errp);
}

static void setup(Fixture *f, gconstpointer data)
{
    memset(f, 0, sizeof(*f));
    memset(&kernel, 0, sizeof(kernel));
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
    memory_init();
    report_set_sink(silence, NULL);
    ok = memory_region_init_ram(&f->ram, NULL, "ram", MiB, &error_abort);
    g_assert_true(ok);
    memory_region_add(memory_root(), 0, &f->ram);
    for (int i = 0; i < ALL_RINGS; i++) {
        ok = event_notifier_init(&f->kick[i], false, &error_abort) &&
             event_notifier_init(&f->call[i], false, &error_abort);
        g_assert_true(ok);
    }
}

static void teardown(Fixture *f, gconstpointer data)
{
    vhost_device_free(f->dev);
    for (int i = 0; i < ALL_RINGS; i++) {
        event_notifier_finish(&f->kick[i]);
        event_notifier_finish(&f->call[i]);
    }
    memory_region_del(memory_root(), &f->ram);
    memory_region_finish(&f->ram);
    g_assert_false(kernel.misused);
    report_set_sink(NULL, NULL);
    memory_finish();
    machine_unlock();
    rcu_drain(); /* the RAM goes when no reader is left */
    event_loop_main_finish();
}

/* --- Tests --- */

static void test_start_and_stop(Fixture *f, gconstpointer data)
{
    g_assert_true(make(f, &error_abort));
    VhostBackend *b = vhost_kernel_backend(f->k);
    g_assert_cmpuint(b->ops->features(b), ==, F_V1);
    g_assert_cmpuint(b->ops->max_rings(b), ==, ALL_RINGS);
    for (unsigned i = 0; i < ALL_RINGS; i++) {
        f->base[i] = 100 + i;
    }
    vhost_device_set_wanted(f->dev, true);
    g_assert_cmpint(vhost_device_state(f->dev), ==, VHOST_RUNNING);
    g_assert_cmpuint(f->runs, ==, 1);
    for (unsigned u = 0; u < UNITS; u++) {
        FakeUnit *unit = &kernel.units[u];
        g_assert_true(kernel.running[u]);
        g_assert_true(unit->owned);
        g_assert_cmpuint(unit->features, ==, F_V1);
        g_assert_cmpuint(unit->backend_features, ==, 2);
        g_assert_cmpuint(unit->regions, ==, 1);
        for (unsigned r = 0; r < RINGS; r++) {
            unsigned i = u * RINGS + r;
            uint64_t host = (uintptr_t)memory_region_ram_ptr(&f->ram) + 0x10000 * (i + 1);
            g_assert_cmpuint(unit->num[r], ==, RING_SIZE);
            g_assert_cmpuint(unit->base[r], ==, 100 + i);
            g_assert_cmpuint(unit->poll[r], ==, 30);
            g_assert_cmphex(unit->addr[r].desc_user_addr, ==, host);
            g_assert_cmphex(unit->addr[r].avail_user_addr, ==, host + 0x1000);
            g_assert_cmphex(unit->addr[r].used_user_addr, ==, host + 0x2000);
            g_assert_cmpint(unit->kick[r], ==, f->kick[i].fd);
            g_assert_cmpint(unit->call[r], ==, f->call[i].fd);
        }
    }
    vhost_device_mask(f->dev, 3, true);
    g_assert_cmpint(kernel.units[1].call[1], !=, f->call[3].fd);
    vhost_device_mask(f->dev, 3, false);
    g_assert_cmpint(kernel.units[1].call[1], ==, f->call[3].fd);
    vhost_device_set_wanted(f->dev, false);
    g_assert_true(vhost_device_is_idle(f->dev));
    g_assert_false(kernel.running[0] || kernel.running[1]);
    g_assert_cmpuint(f->taken, ==, 0);
    for (unsigned i = 0; i < ALL_RINGS; i++) {
        g_assert_cmpuint(f->base[i], ==, 105 + i);
    }
}

/* A queue pair that the driver switches off is the host's again. */
static void test_enable(Fixture *f, gconstpointer data)
{
    g_assert_true(make(f, &error_abort));
    vhost_device_set_enabled(f->dev, 2, 2, false);
    vhost_device_set_wanted(f->dev, true);
    g_assert_true(kernel.running[0] && !kernel.running[1]);
    vhost_device_set_enabled(f->dev, 2, 2, true);
    g_assert_true(kernel.running[0] && kernel.running[1]);
    vhost_device_set_enabled(f->dev, 0, 2, false);
    g_assert_true(!kernel.running[0] && kernel.running[1]);
}

static void test_memory(Fixture *f, gconstpointer data)
{
    MemoryRegion more;
    g_assert_true(make(f, &error_abort));
    vhost_device_set_wanted(f->dev, true);
    bool ok = memory_region_init_ram(&more, NULL, "more", MiB, &error_abort);
    g_assert_true(ok);
    memory_region_add(memory_root(), 16 * MiB, &more);
    g_assert_cmpuint(kernel.units[0].regions, ==, 2);
    g_assert_cmpuint(kernel.units[1].regions, ==, 2);
    memory_region_del(memory_root(), &more);
    g_assert_cmpuint(kernel.units[1].regions, ==, 1);
    memory_region_finish(&more);
}

static void told(void *opaque, const Error *err)
{
    g_assert_null(err);
    ++*(unsigned *)opaque;
}

/* The bitmap first, then the feature; and the other way round. */
static void test_log(Fixture *f, gconstpointer data)
{
    g_assert_true(make(f, &error_abort));
    vhost_device_set_wanted(f->dev, true);
    bool ok = memory_global_log_start(&error_abort);
    g_assert_true(ok);
    FakeUnit *unit = &kernel.units[1];
    g_assert_true(unit->log);
    g_assert_true(unit->features & F_LOG);
    g_assert_cmpuint(unit->addr[1].flags, ==, 1u << VHOST_VRING_F_LOG);
    g_assert_cmphex(unit->addr[1].log_guest_addr, ==, 0x42000);
    memory_global_log_stop();
    g_assert_false(unit->features & F_LOG);
    g_assert_cmpuint(unit->addr[1].flags, ==, 0);
}

static void test_translations(Fixture *f, gconstpointer data)
{
    unsigned done = 0;
    g_assert_true(make(f, &error_abort));
    VhostBackend *b = vhost_kernel_backend(f->k);
    VhostPlan plan = { .features = F_V1, .iommu = true };
    VhostRing rings[ALL_RINGS] = { 0 };
    VhostMemoryMap *map = vhost_memory_map_new(address_space_memory(), NULL, NULL);
    plan.memory = map;
    plan.rings = rings;
    plan.count = ALL_RINGS;
    for (unsigned i = 0; i < ALL_RINGS; i++) {
        rings[i] = (VhostRing){
            .index = i, .size = 8, .enabled = true, .iova = { 0x1000, 0x2000, 0x3000 }
        };
    }
    b->ops->start(b, &plan, told, &done);
    g_assert_cmpuint(done, ==, 1);
    g_assert_cmphex(kernel.units[0].addr[0].used_user_addr, ==, 0x3000);
    b->ops->iotlb_update(b, 0x5000, 0x1000, &plan, 2);
    g_assert_cmpuint(kernel.told_count, ==, UNITS);
    g_assert_cmpint(kernel.told.iotlb.type, ==, VHOST_IOTLB_UPDATE);
    g_assert_cmphex(kernel.told.iotlb.uaddr, ==, (uintptr_t)&plan);
    g_assert_cmpint(kernel.told.iotlb.perm, ==, VHOST_ACCESS_WO);
    b->ops->iotlb_update(b, 0x5000, 0x1000, NULL, 0);
    g_assert_cmpint(kernel.told.iotlb.type, ==, VHOST_IOTLB_INVALIDATE);
    b->ops->stop(b, told, &done);
    g_assert_cmpuint(done, ==, 2);
    g_assert_cmpuint(rings[2].base, ==, 5);
    vhost_memory_map_free(map);
}

/* The nth call fails, for every n: an error at once, or a device that isn't started and can be
 * later. */
static void test_refusals(Fixture *f, gconstpointer data)
{
    for (int n = 1;; n++) {
        Error *err = NULL;
        memset(&kernel, 0, sizeof(kernel));
        kernel.fail_at = n;
        f->runs = f->refused = 0;
        if (!make(f, &err)) {
            g_assert_nonnull(strstr(error_message(err), "netdev 'n0': the kernel refuses VHOST_"));
            error_free(err);
            continue;
        }
        vhost_device_set_wanted(f->dev, true);
        bool hit = kernel.calls >= n;
        if (hit && kernel.calls == n) {
            g_assert_cmpuint(f->runs, ==, 0);
            g_assert_cmpuint(f->refused, ==, 1);
            g_assert_false(kernel.running[0] || kernel.running[1]);
            vhost_device_set_wanted(f->dev, false);
            vhost_device_set_wanted(f->dev, true);
        }
        g_assert_cmpuint(f->runs, ==, 1);
        vhost_device_free(f->dev);
        f->dev = NULL;
        g_assert_cmpuint(f->taken, ==, 0);
        if (!hit) {
            return;
        }
    }
}

static void test_absent(void)
{
    Error *err = NULL;
    g_assert_cmpint(vhost_kernel_open("/nonexistent/vhost-net", &err), ==, -1);
    g_assert_nonnull(strstr(error_message(err), "/nonexistent/vhost-net"));
    error_free(err);
}

/* With the real kernel, where it has the device. */
static void test_real(Fixture *f, gconstpointer data)
{
    Error *err = NULL;
    int fd =
        access("/dev/vhost-vsock", R_OK | W_OK) ? -1 : vhost_kernel_open("/dev/vhost-vsock", &err);
    if (fd < 0) {
        error_free(err);
        g_test_skip("no /dev/vhost-vsock on this host");
        return;
    }
    const VhostKernelSpec spec = {
        .name = "vsock", .fds = &fd, .units = 1, .rings = 2, .set_running = vhost_vsock_set_running
    };
    f->k = vhost_kernel_new(&spec, &error_abort);
    bool ok = vhost_vsock_set_cid(f->k, 0x7eadbeef, &error_abort);
    g_assert_true(ok);
    f->dev = vhost_device_new(vhost_kernel_backend(f->k), "vsock", &dev_ops, f);
    const VhostGuest guest = { &guest_ops, f };
    ok = vhost_device_attach(f->dev, &guest, 2, address_space_memory(), &error_abort);
    g_assert_true(ok);
    vhost_device_set_wanted(f->dev, true);
    g_assert_cmpuint(f->runs, ==, 1);
    vhost_device_set_wanted(f->dev, false);
    g_assert_true(vhost_device_is_idle(f->dev));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(path, fn) g_test_add("/vhost-kernel/" path, Fixture, NULL, setup, fn, teardown)
    T("start-and-stop", test_start_and_stop);
    T("enable", test_enable);
    T("memory", test_memory);
    T("log", test_log);
    T("translations", test_translations);
    T("refusals", test_refusals);
    T("real", test_real);
    g_test_add_func("/vhost-kernel/absent", test_absent);
    return g_test_run();
}
