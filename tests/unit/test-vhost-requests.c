/* vhost-user: dirty logs, translations, doorbells, shared objects, and what back ends ask for,
 * rightly or wrongly. */
#include "vhost-user-fixture.h"

#include <sys/socket.h>

#include "memory/iommu.h"
#include "vhost/user/message.h"

#define PAGE 4096u

/* --- The dirty log --- */

static void start_logging_back_end(Fixture *f)
{
    f->fake.features |= BIT64(VHOST_F_LOG_ALL);
    f->fake.protocol_features |= BIT64(VHOST_USER_PF_LOG_SHMFD);
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_free(fake_backend_take_log(&f->fake));
}

/* The back end notes a page. */
static void note_page(Fixture *f, unsigned page)
{
    uint8_t *bits =
        mmap(NULL, f->fake.log_size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fake.log_fd, 0);
    g_assert_true(bits != MAP_FAILED);
    __atomic_or_fetch(&bits[page / 8], 1 << page % 8, __ATOMIC_SEQ_CST);
    munmap(bits, f->fake.log_size);
}

static bool page_is_dirty(Fixture *f, unsigned page)
{
    return memory_region_get_dirty(&f->ram, (hwaddr)page * PAGE, PAGE, DIRTY_MIGRATION);
}

static void clean_memory(Fixture *f)
{
    memory_region_test_and_clear_dirty(&f->ram, 0, MiB, DIRTY_MIGRATION);
}

static void test_log(Fixture *f, gconstpointer data)
{
    start_logging_back_end(f);
    for (int round = 0; round < 2; round++) { /* a second migration is like the first */
        bool ok = memory_global_log_start(&error_abort);
        g_assert_true(ok);
        clean_memory(f);
        WAIT_FOR(f->fake.acked_features >> VHOST_F_LOG_ALL & 1);
        WAIT_FOR(f->fake.addr[2].flags == VHOST_USER_VRING_LOG);
        run_for(20 * NS_PER_MS);
        g_autofree char *told = fake_backend_take_log(&f->fake);
        g_assert_cmpstr(told, ==,
                        "SET_LOG_BASE SET_FEATURES SET_VRING_ADDR SET_VRING_ADDR SET_VRING_ADDR ");
        g_assert_cmphex(f->fake.addr[1].log, ==, 0x5000 + 0x2000);
        g_assert_cmpuint(f->fake.log_size * 8, >=, MiB / PAGE);

        note_page(f, 7);
        note_page(f, 255);
        memory_global_log_sync();
        g_assert_true(page_is_dirty(f, 7) && page_is_dirty(f, 255));
        g_assert_false(page_is_dirty(f, 6) || page_is_dirty(f, 8));
        clean_memory(f);
        memory_global_log_sync();
        g_assert_false(page_is_dirty(f, 7)); /* taken once */

        memory_global_log_stop();
        WAIT_FOR(!(f->fake.acked_features >> VHOST_F_LOG_ALL & 1));
        WAIT_FOR(!f->fake.addr[2].flags);
        run_for(20 * NS_PER_MS);
        g_free(fake_backend_take_log(&f->fake));
    }
}

/* What was noted before the back end went isn't lost, and the next one goes on noting. */
static void test_log_restart(Fixture *f, gconstpointer data)
{
    start_logging_back_end(f);
    bool ok = memory_global_log_start(&error_abort);
    g_assert_true(ok);
    WAIT_FOR(f->fake.addr[2].flags);
    run_for(20 * NS_PER_MS);
    clean_memory(f);
    note_page(f, 3);
    g_free(fake_backend_take_log(&f->fake));
    fake_backend_kill(&f->fake);
    WAIT_FOR(!f->running);
    WAIT_FOR(f->running);
    g_autofree char *told = fake_backend_take_log(&f->fake);
    g_assert_nonnull(strstr(told, "SET_MEM_TABLE SET_LOG_BASE SET_VRING_NUM "));
    g_assert_cmpuint(f->fake.addr[0].flags, ==, VHOST_USER_VRING_LOG);
    note_page(f, 4);
    memory_global_log_sync();
    g_assert_true(page_is_dirty(f, 3) && page_is_dirty(f, 4));
    memory_global_log_stop();
}

static void test_log_impossible(Fixture *f, gconstpointer data)
{
    f->fake.features |= BIT64(VHOST_F_LOG_ALL);
    connect_plain(f);
    WAIT_FOR(f->connected);
    ERROR_AUTO err = NULL;
    g_assert_false(memory_global_log_start(&err));
    g_assert_cmpstr(error_message(err), ==,
                    "device 'd': the back end can't log what it writes: it lacks the protocol "
                    "feature LOG_SHMFD");
}

/* --- An IOMMU in front of the device --- */

#define F_PLATFORM BIT64(33)
#define IOVA_SHIFT 0x10000000 /* this IOMMU's address of physical 0 */

static IommuEntry translate(void *opaque, hwaddr addr, IommuAccess access, MemTxAttrs attrs)
{
    IommuEntry e = { .target = address_space_memory(), .iova = addr & ~(hwaddr)(PAGE - 1) };
    if (e.iova >= IOVA_SHIFT && e.iova - IOVA_SHIFT < MiB) {
        e.translated = e.iova - IOVA_SHIFT;
        e.mask = PAGE - 1;
        e.access = IOMMU_READ_WRITE;
    }
    return e;
}

static const IommuOps iommu_ops = { .translate = translate };

static void send_request(Fixture *f, uint32_t code, const void *payload, uint32_t size, int fd)
{
    uint8_t bytes[sizeof(VhostUserHeader) + 64];
    VhostUserHeader h = { code, VHOST_USER_VERSION, size };
    memcpy(bytes, &h, sizeof(h));
    if (size) {
        memcpy(bytes + sizeof(h), payload, size);
    }
    struct iovec iov = { bytes, sizeof(h) + size };
    WAIT_FOR(f->fake.backend_fd >= 0);
    g_assert_cmpint(fd_sendmsg(f->fake.backend_fd, &iov, 1, &fd, fd >= 0), ==, iov.iov_len);
}

static void test_iotlb(Fixture *f, gconstpointer data)
{
    MemoryRegion iommu;
    AddressSpace space;
    memory_region_init_iommu(&iommu, NULL, &iommu_ops, f, "iommu", UINT64_MAX);
    address_space_init(&space, &iommu, "iommu");
    f->space = &space;
    f->guest_features |= F_PLATFORM;
    f->fake.features |= F_PLATFORM;
    f->fake.protocol_features |= BIT64(VHOST_USER_PF_BACKEND_REQ);
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_assert_true(f->fake.acked_features & F_PLATFORM);
    g_assert_cmphex(f->fake.addr[1].desc, ==, 0x5000); /* as the driver gave it */

    VhostUserIotlb miss = { .iova = IOVA_SHIFT + 0x3010,
                            .permission = VHOST_USER_IOTLB_WRITE,
                            .type = VHOST_USER_IOTLB_MISS };
    send_request(f, VHOST_USER_BACKEND_IOTLB_MSG, &miss, sizeof(miss), -1);
    WAIT_FOR(f->fake.iotlb.type == VHOST_USER_IOTLB_UPDATE);
    g_assert_cmphex(f->fake.iotlb.iova, ==, IOVA_SHIFT + 0x3000);
    g_assert_cmphex(f->fake.iotlb.size, ==, PAGE);
    g_assert_cmphex(f->fake.iotlb.user_addr, ==,
                    (uintptr_t)memory_region_ram_ptr(&f->ram) + 0x3000);
    g_assert_cmpuint(f->fake.iotlb.permission, ==, IOMMU_READ_WRITE);

    const IommuEntry gone = { .iova = IOVA_SHIFT + 0x3000, .mask = PAGE - 1 };
    memory_region_notify_iommu(&iommu, 0, IOMMU_EVENT_UNMAP, &gone);
    WAIT_FOR(f->fake.iotlb.type == VHOST_USER_IOTLB_INVALIDATE);
    g_assert_cmphex(f->fake.iotlb.iova, ==, IOVA_SHIFT + 0x3000);

    /* What leads nowhere is not answered, and does no harm. */
    miss.iova = 0;
    send_request(f, VHOST_USER_BACKEND_IOTLB_MSG, &miss, sizeof(miss), -1);
    run_for(20 * NS_PER_MS);
    g_assert_cmpuint(f->fake.iotlb.type, ==, VHOST_USER_IOTLB_INVALIDATE);
    g_assert_true(f->running);

    vhost_device_free(g_steal_pointer(&f->dev));
    address_space_finish(&space);
    machine_unlock();
    rcu_drain();
    machine_lock();
    memory_region_finish(&iommu);
}

/* The driver accepts the feature, and nothing translates: the back end isn't to ask. */
static void test_platform_without_iommu(Fixture *f, gconstpointer data)
{
    f->guest_features |= F_PLATFORM;
    f->fake.features |= F_PLATFORM;
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_assert_false(f->fake.acked_features & F_PLATFORM);
}

/* --- Requests of the back end --- */

static void connect_with_channel(Fixture *f, uint64_t protocol_features)
{
    uint64_t all =
        protocol_features | BIT64(VHOST_USER_PF_BACKEND_REQ) | BIT64(VHOST_USER_PF_BACKEND_SEND_FD);
    VhostUserSpec spec = { .protocol_features = all };
    f->fake.protocol_features |= all;
    connect_with(f, &spec);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
}

/* The answer to a request; its descriptor in *fd, or -1. */
static uint64_t ask(Fixture *f, uint32_t code, const void *payload, uint32_t size, int fd,
                    int *answer_fd)
{
    uint8_t bytes[sizeof(VhostUserHeader) + 64];
    VhostUserHeader h = { code, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, size };
    memcpy(bytes, &h, sizeof(h));
    memcpy(bytes + sizeof(h), payload, size);
    struct iovec iov = { bytes, sizeof(h) + size };
    WAIT_FOR(f->fake.backend_fd >= 0);
    g_assert_cmpint(fd_sendmsg(f->fake.backend_fd, &iov, 1, &fd, fd >= 0), ==, iov.iov_len);
    struct {
        VhostUserHeader header;
        uint64_t value;
    } __attribute__((packed)) reply;
    int fds[1] = { -1 };
    unsigned nfds = 1;
    struct iovec in = { &reply, sizeof(reply) };
    ssize_t n;
    bool ok = fd_set_nonblock(f->fake.backend_fd, true, &error_abort);
    g_assert_true(ok);
    WAIT_FOR((nfds = 1, n = fd_recvmsg(f->fake.backend_fd, &in, 1, fds, &nfds)) > 0);
    g_assert_cmpint(n, ==, sizeof(reply));
    g_assert_cmpuint(reply.header.request, ==, code);
    g_assert_cmphex(reply.header.flags, ==, VHOST_USER_VERSION | VHOST_USER_REPLY);
    *answer_fd = nfds ? fds[0] : -1;
    return reply.value;
}

static void test_host_notifier(Fixture *f, gconstpointer data)
{
    connect_with_channel(f, BIT64(VHOST_USER_PF_HOST_NOTIFIER));
    int fd = memfd_create("doorbell", MFD_CLOEXEC), none;
    g_assert_cmpint(ftruncate(fd, 2 * PAGE), ==, 0);
    VhostUserVringArea area = { .u64 = 1, .size = PAGE, .offset = PAGE };
    g_assert_cmpuint(
        ask(f, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG, &area, sizeof(area), fd, &none), ==, 0);
    g_assert_nonnull(f->doorbell);
    *(uint32_t *)f->doorbell = 1; /* the driver rings */
    uint32_t seen = 0;
    g_assert_cmpint(pread(fd, &seen, sizeof(seen), PAGE), ==, sizeof(seen));
    g_assert_cmpuint(seen, ==, 1);
    /* a queue there isn't, and a size that can't be */
    area.u64 = 99;
    g_assert_cmpuint(
        ask(f, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG, &area, sizeof(area), fd, &none), !=, 0);
    area = (VhostUserVringArea){ .u64 = 0, .size = 100 };
    g_assert_cmpuint(
        ask(f, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG, &area, sizeof(area), fd, &none), !=, 0);
    /* taken back */
    area = (VhostUserVringArea){ .u64 = 1 | VHOST_USER_VRING_NOFD };
    g_assert_cmpuint(
        ask(f, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG, &area, sizeof(area), -1, &none), ==, 0);
    g_assert_null(f->doorbell);
    /* and gone with its owner */
    area = (VhostUserVringArea){ .u64 = 2, .size = PAGE };
    g_assert_cmpuint(
        ask(f, VHOST_USER_BACKEND_VRING_HOST_NOTIFIER_MSG, &area, sizeof(area), fd, &none), ==, 0);
    g_assert_nonnull(f->doorbell);
    fake_backend_kill(&f->fake);
    WAIT_FOR(!f->running);
    g_assert_null(f->doorbell);
    close(fd);
}

static void test_shared_objects(Fixture *f, gconstpointer data)
{
    connect_with_channel(f, BIT64(VHOST_USER_PF_SHARED_OBJECT));
    const VhostUserShared id = { { 1, 2, 3 } }, other = { { 9 } };
    int fd;
    g_assert_cmpuint(ask(f, VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP, &id, sizeof(id), -1, &fd), ==,
                     1);
    g_assert_cmpuint(ask(f, VHOST_USER_BACKEND_SHARED_OBJECT_ADD, &id, sizeof(id), -1, &fd), ==, 0);
    g_assert_cmpuint(ask(f, VHOST_USER_BACKEND_SHARED_OBJECT_ADD, &id, sizeof(id), -1, &fd), ==, 1);
    g_assert_cmpuint(ask(f, VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP, &id, sizeof(id), -1, &fd), ==,
                     0);
    g_assert_cmpint(fd, >=, 0); /* the owner's, by way of GET_SHARED_OBJECT */
    close(fd);
    g_assert_cmpuint(
        ask(f, VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE, &other, sizeof(other), -1, &fd), ==, 1);
    g_assert_cmpuint(ask(f, VHOST_USER_BACKEND_SHARED_OBJECT_REMOVE, &id, sizeof(id), -1, &fd), ==,
                     0);
    g_assert_cmpuint(ask(f, VHOST_USER_BACKEND_SHARED_OBJECT_LOOKUP, &id, sizeof(id), -1, &fd), ==,
                     1);
}

/* Each request too short, too long, with other descriptors, with other flags, and again and again:
 * the worst that happens is the end of the connection, and the next one works. */
static void test_wrong_requests(Fixture *f, gconstpointer data)
{
    static const int extra[] = { 0, -1, 1, 100000 };
    static const uint32_t flags[] = { VHOST_USER_VERSION, VHOST_USER_VERSION | VHOST_USER_REPLY,
                                      VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, UINT32_MAX };
    connect_with_channel(f,
                         BIT64(VHOST_USER_PF_SHARED_OBJECT) | BIT64(VHOST_USER_PF_HOST_NOTIFIER));
    unsigned before = count_descriptors();
    for (uint32_t code = 0; code <= VHOST_USER_BACKEND_REQUEST_COUNT; code++) {
        const VhostUserMessageInfo *info = vhost_user_backend_request_info(code);
        int size = info ? vhost_user_max_size(info->request) : 8;
        for (size_t e = 0; e < ARRAY_LEN(extra); e++) {
            for (size_t fl = 0; fl < ARRAY_LEN(flags); fl++) {
                for (unsigned nfds = 0; nfds <= 2; nfds += 2) {
                    WAIT_FOR(f->running && f->fake.backend_fd >= 0);
                    int told = MAX(size + extra[e], 0);
                    uint8_t bytes[sizeof(VhostUserHeader) + 128] = { 0 };
                    VhostUserHeader h = { code, flags[fl], told };
                    memcpy(bytes, &h, sizeof(h));
                    int fds[2] = { 0, 0 };
                    struct iovec iov = { bytes, sizeof(h) + MIN(told, 128) };
                    g_mutex_lock(&f->fake.lock);
                    if (f->fake.backend_fd >= 0) {
                        (void)fd_sendmsg(f->fake.backend_fd, &iov, 1, fds, nfds);
                        (void)fd_sendmsg(f->fake.backend_fd, &iov, 1, fds, nfds);
                    }
                    g_mutex_unlock(&f->fake.lock);
                    for (int i = 0; i < 3; i++) {
                        event_loop_iterate(event_loop_main(), false);
                    }
                }
            }
        }
        g_string_truncate(f->messages, 0);
    }
    fake_backend_kill(&f->fake);
    WAIT_FOR(!f->running);
    WAIT_FOR(f->running);
    run_for(30 * NS_PER_MS);
    g_assert_cmpuint(count_descriptors(), <=, before + 2);
}

/* --- The rest --- */

static void test_mtu_and_reset(Fixture *f, gconstpointer data)
{
    VhostUserSpec spec = { .protocol_features = BIT64(VHOST_USER_PF_NET_MTU) };
    f->fake.protocol_features |= BIT64(VHOST_USER_PF_NET_MTU) | BIT64(VHOST_USER_PF_RESET_DEVICE);
    connect_with(f, &spec);
    vhost_user_set_mtu(f->vu, 9000);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_assert_cmpuint(f->fake.mtu, ==, 9000);
    f->fake.mtu = 0;
    fake_backend_kill(&f->fake);
    WAIT_FOR(!f->running);
    WAIT_FOR(f->running);
    g_assert_cmpuint(f->fake.mtu, ==, 9000); /* the next one too */

    g_free(fake_backend_take_log(&f->fake));
    g_assert_true(f->lent);
    vhost_device_reset(f->dev);
    g_assert_true(f->lent); /* not before the back end has let go */
    WAIT_FOR(!f->lent);
    run_for(20 * NS_PER_MS);
    g_autofree char *told = fake_backend_take_log(&f->fake);
    g_assert_cmpstr(told, ==, "GET_VRING_BASE GET_VRING_BASE GET_VRING_BASE RESET_DEVICE ");
}

/* Queues switched and interrupts masked while the start is on its way are not forgotten. */
static void test_asked_while_starting(Fixture *f, gconstpointer data)
{
    connect_plain(f);
    WAIT_FOR(f->connected);
    vhost_device_set_enabled(f->dev, 1, 2, false);
    vhost_device_set_wanted(f->dev, true);
    g_assert_cmpint(vhost_device_state(f->dev), ==, VHOST_STARTING);
    vhost_device_set_enabled(f->dev, 1, 2, true);
    vhost_device_set_enabled(f->dev, 0, 1, false);
    vhost_device_mask(f->dev, 1, true);
    WAIT_FOR(f->running);
    WAIT_FOR(f->fake.enabled[1] && f->fake.enabled[2] && !f->fake.enabled[0]);
    g_assert_false(status_of(f).plan->rings[1].call_fd == f->call[1].fd);
}

static void idle_reached(void *opaque)
{
    *(bool *)opaque = true;
}

/* A machine reset: everything stops, and starts again afterwards by itself. */
static void test_hold(Fixture *f, gconstpointer data)
{
    bool idle = false;
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    vhost_hold_all(idle_reached, &idle);
    g_assert_false(idle);
    WAIT_FOR(idle);
    g_assert_true(vhost_device_is_idle(f->dev));
    run_for(20 * NS_PER_MS);
    g_assert_false(f->running);
    vhost_release_all();
    WAIT_FOR(f->running);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    module_call(MODULE_OPTIONS);
    module_call(MODULE_SUBSYSTEM);
    ADD("/vhost-user/log", NULL, test_log);
    ADD("/vhost-user/log-restart", NULL, test_log_restart);
    ADD("/vhost-user/log-impossible", NULL, test_log_impossible);
    ADD("/vhost-user/iotlb", NULL, test_iotlb);
    ADD("/vhost-user/platform-without-iommu", NULL, test_platform_without_iommu);
    ADD("/vhost-user/host-notifier", NULL, test_host_notifier);
    ADD("/vhost-user/shared-objects", NULL, test_shared_objects);
    ADD("/vhost-user/wrong-requests", NULL, test_wrong_requests);
    ADD("/vhost-user/mtu-and-reset", NULL, test_mtu_and_reset);
    ADD("/vhost-user/asked-while-starting", NULL, test_asked_while_starting);
    ADD("/vhost-user/hold", NULL, test_hold);
    return g_test_run();
}
