/* For tests of vhost-user: a machine with a megabyte of memory, a guest with four rings in it, and
 * a back end in a thread. */
#ifndef TESTS_UNIT_VHOST_USER_FIXTURE_H
#define TESTS_UNIT_VHOST_USER_FIXTURE_H

#include <dirent.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/report.h"
#include "chardev/chardev-record.h"
#include "event/clock.h"
#include "event/lock.h"
#include "fake-backend.h"
#include "memory/memory.h"
#include "vhost/user/vhost-user.h"
#include "vhost/vhost.h"

#define RINGS     4
#define RING_SIZE 256
#define F_MRG     BIT64(15)
#define F_V1      BIT64(32)

/* One machine with a megabyte of memory, a guest with four rings in it, and a back end. */
typedef struct Fixture {
    char *folder;
    FakeBackend fake;
    MemoryRegion ram, more;
    EventNotifier kick[RINGS], call[RINGS];
    uint32_t base[RINGS];
    unsigned restored, started_notifiers;
    uint64_t guest_features;
    AddressSpace *space; /* of ring addresses; NULL: plain memory */
    VhostUser *vu;
    VhostDevice *dev;
    bool connected, running, lent;
    void *doorbell;
    unsigned refused;
    GString *messages;
} Fixture;

/* --- The guest --- */

static const char *guest_name(void *guest)
{
    return "guest";
}
static G_GNUC_UNUSED uint64_t guest_features(void *guest)
{
    return ((Fixture *)guest)->guest_features;
}
static G_GNUC_UNUSED void guest_take(void *guest, unsigned first, unsigned count)
{
}
static G_GNUC_UNUSED bool guest_notifiers_start(void *guest, unsigned count, Error **errp)
{
    ((Fixture *)guest)->started_notifiers++;
    return true;
}
static G_GNUC_UNUSED void guest_notifiers_stop(void *guest, unsigned count)
{
    ((Fixture *)guest)->started_notifiers--;
}
static G_GNUC_UNUSED EventNotifier *guest_kick(void *guest, unsigned index)
{
    return &((Fixture *)guest)->kick[index];
}
static G_GNUC_UNUSED EventNotifier *guest_call(void *guest, int index)
{
    return &((Fixture *)guest)->call[index];
}
static G_GNUC_UNUSED void guest_ring(void *guest, unsigned index, VhostGuestRing *ring)
{
    hwaddr at = 0x1000 + index * 0x4000;
    *ring = (VhostGuestRing){ .enabled = index != 3, /* the driver leaves the last one alone */
                              .size = RING_SIZE,
                              .desc = at,
                              .driver = at + 0x1000,
                              .device = at + 0x2000,
                              .desc_bytes = 16 * RING_SIZE,
                              .driver_bytes = 6 + 2 * RING_SIZE,
                              .device_bytes = 6 + 8 * RING_SIZE,
                              .space = ((Fixture *)guest)->space ?: address_space_memory() };
}
static G_GNUC_UNUSED uint32_t guest_base(void *guest, unsigned index)
{
    return ((Fixture *)guest)->base[index];
}
static G_GNUC_UNUSED void guest_set_base(void *guest, unsigned index, uint32_t base)
{
    ((Fixture *)guest)->base[index] = base;
}
static G_GNUC_UNUSED bool guest_restore_base(void *guest, unsigned index, bool recorded)
{
    Fixture *f = guest;
    f->restored++;
    f->base[index] = 77; /* what the used ring would say */
    return true;
}
static G_GNUC_UNUSED void guest_nothing(void *guest)
{
}
static G_GNUC_UNUSED void guest_interrupt(void *guest, int index)
{
}
static G_GNUC_UNUSED void guest_lent(void *guest, bool lent)
{
    ((Fixture *)guest)->lent = lent;
}
static G_GNUC_UNUSED bool guest_host_notifier(void *guest, unsigned index, void *host, uint64_t len,
                                              Error **errp)
{
    Fixture *f = guest;
    if (f->doorbell) {
        munmap(f->doorbell, 4096);
    }
    f->doorbell = host;
    return true;
}
static G_GNUC_UNUSED void guest_broken(void *guest, const char *why)
{
}
static const VhostGuestOps guest_ops = {
    .name = guest_name,
    .features = guest_features,
    .take = guest_take,
    .release = guest_take,
    .notifiers_start = guest_notifiers_start,
    .notifiers_stop = guest_notifiers_stop,
    .kick = guest_kick,
    .call = guest_call,
    .ring = guest_ring,
    .base = guest_base,
    .set_base = guest_set_base,
    .restore_base = guest_restore_base,
    .lent = guest_lent,
    .host_notifier = guest_host_notifier,
    .interrupt = guest_interrupt,
    .config_changed = guest_nothing,
    .broken = guest_broken,
};

/* --- The device type --- */

static G_GNUC_UNUSED void dev_connected(void *opaque, bool up)
{
    ((Fixture *)opaque)->connected = up;
}
static G_GNUC_UNUSED void dev_running(void *opaque, bool on)
{
    ((Fixture *)opaque)->running = on;
}
static G_GNUC_UNUSED void dev_refused(void *opaque, const Error *why)
{
    ((Fixture *)opaque)->refused++;
}
static const VhostDeviceOps dev_ops = { .connected = dev_connected,
                                        .running = dev_running,
                                        .refused = dev_refused };

/* --- Fixture --- */

static G_GNUC_UNUSED void collect(const char *line, void *opaque)
{
    g_string_append_printf(opaque, "%s\n", line);
}

static G_GNUC_UNUSED void setup(Fixture *f, gconstpointer data)
{
    memset(f, 0, sizeof(*f));
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
    memory_init();
    f->messages = g_string_new(NULL);
    report_set_sink(collect, f->messages);
    f->folder = g_dir_make_tmp("rhea-vhost-XXXXXX", NULL);
    fake_backend_start(&f->fake, f->folder);
    ok = memory_region_init_ram(&f->ram, NULL, "ram", MiB, &error_abort);
    g_assert_true(ok);
    memory_region_add(memory_root(), 0, &f->ram);
    for (int i = 0; i < RINGS; i++) {
        ok = event_notifier_init(&f->kick[i], false, &error_abort) &&
             event_notifier_init(&f->call[i], false, &error_abort);
        g_assert_true(ok);
    }
    f->guest_features = F_V1 | F_MRG;
    f->fake.features |= F_MRG;
}

static G_GNUC_UNUSED Chardev *add_chardev(Fixture *f)
{
    json_t *json = json_pack("{s:s, s:s, s:s, s:i}", "backend", "socket", "id", "c0", "path",
                             f->fake.path, "reconnect-ms", 2);
    ChardevOptions options = { 0 };
    bool ok =
        value_parse(&value_type_chardev_options, &options, json, VALUE_MODE_TEXT, &error_abort);
    g_assert_true(ok);
    Chardev *chr = chardev_new_from_options(&options, &error_abort);
    value_release(&value_type_chardev_options, &options);
    json_decref(json);
    return chr;
}

static G_GNUC_UNUSED void connect_with(Fixture *f, VhostUserSpec *spec)
{
    spec->chardev = add_chardev(f);
    spec->name = "device 'd'";
    spec->rings = RINGS;
    spec->virtio_id = 2;
    spec->timeout_ms = spec->timeout_ms ?: 300;
    spec->protocol_features |= BIT64(VHOST_USER_PF_MQ);
    f->vu = vhost_user_new(spec, &error_abort);
    f->dev = vhost_device_new(vhost_user_backend(f->vu), "device 'd'", &dev_ops, f);
    const VhostGuest guest = { &guest_ops, f };
    bool ok = vhost_device_attach(f->dev, &guest, RINGS, address_space_memory(), &error_abort);
    g_assert_true(ok);
    vhost_user_start(f->vu);
}

static G_GNUC_UNUSED void connect_plain(Fixture *f)
{
    VhostUserSpec spec = { 0 };
    connect_with(f, &spec);
}

static G_GNUC_UNUSED void teardown(Fixture *f, gconstpointer data)
{
    vhost_device_free(f->dev);
    chardev_finish_all();
    fake_backend_stop(&f->fake);
    for (int i = 0; i < RINGS; i++) {
        event_notifier_finish(&f->kick[i]);
        event_notifier_finish(&f->call[i]);
    }
    memory_region_del(memory_root(), &f->ram);
    memory_region_finish(&f->ram);
    object_root_reset();
    memory_finish();
    report_set_sink(NULL, NULL);
    g_string_free(f->messages, true);
    g_rmdir(f->folder);
    g_free(f->folder);
    machine_unlock();
    rcu_drain(); /* the RAM goes when no reader is left */
    event_loop_main_finish();
}

static G_GNUC_UNUSED void tick(void *opaque)
{
}

/* Run the main loop until the condition holds; at most five seconds. */
#define WAIT_FOR(condition)                                                                      \
    do {                                                                                         \
        Timer *t_ = timer_new(event_loop_main(), CLK_REALTIME, tick, NULL);                      \
        int64_t end_ = clock_now(CLK_REALTIME) + 5 * NS_PER_SECOND;                              \
        while (!(condition)) {                                                                   \
            if (clock_now(CLK_REALTIME) > end_) {                                                \
                g_error("gave up waiting for: %s\nmessages:\n%s", #condition, f->messages->str); \
            }                                                                                    \
            timer_set(t_, clock_now(CLK_REALTIME) + NS_PER_MS);                                  \
            event_loop_iterate(event_loop_main(), true);                                         \
        }                                                                                        \
        timer_free(t_);                                                                          \
    } while (0)

static G_GNUC_UNUSED void run_for(int64_t ns)
{
    Timer *t = timer_new(event_loop_main(), CLK_REALTIME, tick, NULL);
    int64_t end = clock_now(CLK_REALTIME) + ns;
    while (clock_now(CLK_REALTIME) < end) {
        timer_set(t, end);
        event_loop_iterate(event_loop_main(), true);
    }
    timer_free(t);
}

static G_GNUC_UNUSED VhostUserStatus status_of(Fixture *f)
{
    VhostUserStatus s;
    vhost_user_status(f->vu, &s);
    return s;
}

static G_GNUC_UNUSED unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

#define ADD(path, data, fn) g_test_add(path, Fixture, data, setup, fn, teardown)

#endif
