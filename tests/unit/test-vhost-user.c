/* vhost, vhost-user: negotiation, start, stop, restarts, and every way a back end can go wrong. */
#include "vhost-user-fixture.h"

/* --- Tests --- */

static void test_negotiate(Fixture *f, gconstpointer data)
{
    f->fake.protocol_features |= BIT64(VHOST_USER_PF_XEN_MMAP) | BIT64(VHOST_USER_PF_GPA_ADDRESSES);
    connect_plain(f);
    WAIT_FOR(f->connected);
    run_for(20 * NS_PER_MS);
    g_autofree char *log = fake_backend_take_log(&f->fake);
    g_assert_cmpstr(log, ==,
                    "GET_FEATURES GET_PROTOCOL_FEATURES SET_PROTOCOL_FEATURES GET_QUEUE_NUM "
                    "SET_OWNER SET_VRING_CALL SET_VRING_CALL SET_VRING_CALL SET_VRING_CALL ");
    /* only what is used is accepted */
    g_assert_cmphex(f->fake.acked_protocol, ==,
                    BIT64(VHOST_USER_PF_REPLY_ACK) | BIT64(VHOST_USER_PF_MQ));
    g_assert_cmpint(status_of(f).phase, ==, VHOST_USER_READY);
}

static void test_start_stop(Fixture *f, gconstpointer data)
{
    f->base[1] = 5;
    connect_plain(f);
    WAIT_FOR(f->connected);
    run_for(20 * NS_PER_MS);
    g_free(fake_backend_take_log(&f->fake));
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_autofree char *start = fake_backend_take_log(&f->fake);
    const char *ring = "SET_VRING_NUM SET_VRING_BASE SET_VRING_ADDR SET_VRING_KICK SET_VRING_CALL ";
    g_autofree char *expected = g_strdup_printf(
        "SET_FEATURES SET_MEM_TABLE %s%s%sSET_VRING_ENABLE SET_VRING_ENABLE SET_VRING_ENABLE ",
        ring, ring, ring);
    g_assert_cmpstr(start, ==, expected);
    g_assert_cmphex(f->fake.acked_features, ==,
                    F_V1 | F_MRG | BIT64(VHOST_USER_F_PROTOCOL_FEATURES));
    g_assert_cmpuint(f->fake.region_count, ==, 1);
    g_assert_cmphex(f->fake.regions[0].size, ==, MiB);
    g_assert_cmphex(f->fake.regions[0].user_addr, ==, (uintptr_t)memory_region_ram_ptr(&f->ram));
    g_assert_cmphex(f->fake.addr[1].used, ==,
                    (uintptr_t)memory_region_ram_ptr(&f->ram) + 0x5000 + 0x2000);
    g_assert_cmpuint(f->fake.base[1], ==, 5);
    g_assert_cmpuint(f->fake.num[2], ==, RING_SIZE);
    g_assert_true(f->fake.enabled[0] && f->fake.enabled[2] && !f->fake.enabled[3]);

    /* The back end says where it stopped. */
    f->fake.base[0] = 100;
    vhost_device_set_wanted(f->dev, false);
    g_assert_cmpint(vhost_device_state(f->dev), ==, VHOST_STOPPING);
    g_assert_cmpuint(vhost_stopping_count(), ==, 1);
    WAIT_FOR(vhost_device_is_idle(f->dev));
    g_assert_false(f->running);
    g_assert_cmpuint(f->base[0], ==, 100);
    g_assert_cmpuint(f->base[1], ==, 5);
    g_assert_cmpuint(f->restored, ==, 0);
    g_assert_cmpuint(f->started_notifiers, ==, 0);
    g_assert_cmpuint(vhost_stopping_count(), ==, 0);
}

/* Wanted before the back end is there, and through its deaths. */
static void test_restart(Fixture *f, gconstpointer data)
{
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    for (unsigned i = 1; i <= 3; i++) {
        f->restored = 0;
        fake_backend_kill(&f->fake);
        WAIT_FOR(!f->running);
        g_assert_cmpuint(f->restored, ==, 3);
        WAIT_FOR(f->running);
        g_assert_cmpuint(f->fake.base[0], ==, 77);
        g_assert_cmpuint(f->fake.connections, ==, i + 1);
        g_assert_cmpuint(f->started_notifiers, ==, 1); /* kicks are kept meanwhile */
    }
    g_assert_nonnull(strstr(f->messages->str, "device 'd' (unix:"));
    g_assert_nonnull(strstr(f->messages->str, "the back end closed the connection"));
}

static void test_enable(Fixture *f, gconstpointer data)
{
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    vhost_device_set_enabled(f->dev, 2, 2, false);
    WAIT_FOR(f->running);
    g_assert_false(f->fake.enabled[2]);
    vhost_device_set_enabled(f->dev, 2, 2, true);
    WAIT_FOR(f->fake.enabled[2]);
    vhost_device_set_enabled(f->dev, 0, 1, false);
    WAIT_FOR(!f->fake.enabled[0]);
    vhost_device_set_wanted(f->dev, false);
    WAIT_FOR(vhost_device_is_idle(f->dev));
}

static void test_mask(Fixture *f, gconstpointer data)
{
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_free(fake_backend_take_log(&f->fake));
    vhost_device_mask(f->dev, 1, true);
    vhost_device_mask(f->dev, 1, true);
    g_assert_false(vhost_device_pending(f->dev, 1));
    vhost_device_mask(f->dev, 1, false);
    run_for(20 * NS_PER_MS);
    g_autofree char *log = fake_backend_take_log(&f->fake);
    g_assert_cmpstr(log, ==, "SET_VRING_CALL SET_VRING_CALL ");
}

static void test_mem_slots(Fixture *f, gconstpointer data)
{
    f->fake.protocol_features |= BIT64(VHOST_USER_PF_CONFIGURE_MEM_SLOTS);
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_autofree char *start = fake_backend_take_log(&f->fake);
    g_assert_nonnull(strstr(start, "GET_MAX_MEM_SLOTS "));
    g_assert_nonnull(strstr(start, "SET_FEATURES ADD_MEM_REG SET_VRING_NUM "));
    g_assert_null(strstr(start, "SET_MEM_TABLE"));

    /* Memory that comes and goes while it runs is told as differences. */
    MemoryRegion more;
    bool ok = memory_region_init_ram(&more, NULL, "more", MiB, &error_abort);
    g_assert_true(ok);
    memory_region_add(memory_root(), 16 * MiB, &more);
    WAIT_FOR(f->fake.region_count == 2);
    memory_region_del(memory_root(), &more);
    run_for(30 * NS_PER_MS);
    g_autofree char *changes = fake_backend_take_log(&f->fake);
    g_assert_cmpstr(changes, ==, "ADD_MEM_REG REM_MEM_REG ");
    memory_region_finish(&more);
}

static void test_inflight(Fixture *f, gconstpointer data)
{
    f->fake.protocol_features |= BIT64(VHOST_USER_PF_INFLIGHT_SHMFD);
    VhostUserSpec spec = { .protocol_features = BIT64(VHOST_USER_PF_INFLIGHT_SHMFD) };
    connect_with(f, &spec);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_autofree char *first = fake_backend_take_log(&f->fake);
    g_assert_nonnull(strstr(first, "SET_FEATURES GET_INFLIGHT_FD SET_INFLIGHT_FD SET_MEM_TABLE "));
    fake_backend_kill(&f->fake);
    WAIT_FOR(!f->running);
    WAIT_FOR(f->running);
    g_autofree char *second = fake_backend_take_log(&f->fake);
    g_assert_nonnull(strstr(second, "SET_FEATURES SET_INFLIGHT_FD SET_MEM_TABLE "));
    g_assert_null(strstr(second, "GET_INFLIGHT_FD"));
    g_assert_cmpuint(f->fake.inflight_given_back, ==, 2);
}

static void test_config(Fixture *f, gconstpointer data)
{
    f->fake.protocol_features |= BIT64(VHOST_USER_PF_CONFIG) | BIT64(VHOST_USER_PF_BACKEND_REQ);
    VhostUserSpec spec = { .protocol_features =
                               BIT64(VHOST_USER_PF_CONFIG) | BIT64(VHOST_USER_PF_BACKEND_REQ),
                           .config_size = 60 };
    connect_with(f, &spec);
    WAIT_FOR(f->connected);
    g_assert_cmphex(vhost_user_config(f->vu)[59], ==, 0x5a);

    /* The back end says that it changed: it is read again. */
    g_free(fake_backend_take_log(&f->fake));
    WAIT_FOR(f->fake.backend_fd >= 0);
    VhostUserHeader h = { VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_VERSION, 0 };
    g_assert_cmpint(write(f->fake.backend_fd, &h, sizeof(h)), ==, sizeof(h));
    run_for(30 * NS_PER_MS);
    g_autofree char *log = fake_backend_take_log(&f->fake);
    g_assert_nonnull(strstr(log, "GET_CONFIG "));

    /* Anything that is no request of the table ends the connection. */
    h.request = 99;
    g_assert_cmpint(write(f->fake.backend_fd, &h, sizeof(h)), ==, sizeof(h));
    WAIT_FOR(!f->connected);
    WAIT_FOR(f->connected);
    g_assert_nonnull(strstr(f->messages->str, "unknown code 99"));
}

static void test_lost_features(Fixture *f, gconstpointer data)
{
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_mutex_lock(&f->fake.lock);
    f->fake.features &= ~F_V1;
    g_mutex_unlock(&f->fake.lock);
    fake_backend_kill(&f->fake);
    WAIT_FOR(f->refused);
    g_assert_nonnull(strstr(f->messages->str, "the driver uses features that the back end does not "
                                              "offer: VERSION_1"));
    /* Said once, and not tried again and again. */
    run_for(50 * NS_PER_MS);
    g_assert_cmpuint(f->refused, ==, 1);
    g_assert_cmpuint(f->fake.connections, ==, 2);
    /* It comes back as it was. */
    g_mutex_lock(&f->fake.lock);
    f->fake.features |= F_V1;
    g_mutex_unlock(&f->fake.lock);
    fake_backend_kill(&f->fake);
    WAIT_FOR(f->running);
}

static void test_required_features(Fixture *f, gconstpointer data)
{
    f->fake.features &= ~F_MRG;
    VhostUserSpec spec = { .required_features = BIT64(9) };
    connect_with(f, &spec);
    WAIT_FOR(strstr(f->messages->str, "lacks features that the device needs: FLUSH"));
    g_assert_false(f->connected);
}

static void test_too_few_queues(Fixture *f, gconstpointer data)
{
    f->fake.queue_num = 2;
    VhostUserSpec spec = { .least_rings = 3 };
    connect_with(f, &spec);
    WAIT_FOR(strstr(f->messages->str, "the device has 3 queues, the back end only 2"));
    g_assert_false(f->connected);
}

static void test_no_protocol_features(Fixture *f, gconstpointer data)
{
    f->fake.features = F_V1 | F_MRG;
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    run_for(20 * NS_PER_MS);
    g_autofree char *log = fake_backend_take_log(&f->fake);
    g_assert_null(strstr(log, "PROTOCOL"));
    g_assert_null(strstr(log, "SET_VRING_ENABLE")); /* rings start enabled */
    vhost_device_set_wanted(f->dev, false);
    WAIT_FOR(vhost_device_is_idle(f->dev));
}

/* Memory that can't be shared is named when the device is made, not when packets get lost. */
static void test_unshared_memory(Fixture *f, gconstpointer data)
{
    MemoryRegion rom;
    void *host = g_malloc0(2 * MiB);
    const RamBlockSpec block_spec = { .id = "private",
                                      .host = (void *)ALIGN_UP((uintptr_t)host, MiB),
                                      .size = MiB,
                                      .page_size = 4096,
                                      .fd = -1 };
    RamBlock *block = ram_block_wrap(&block_spec, &error_abort);
    bool ok = memory_region_init_ram_block(&rom, NULL, "private", block, &error_abort);
    g_assert_true(ok);
    memory_region_add(memory_root(), 32 * MiB, &rom);

    VhostUserSpec spec = { .chardev = add_chardev(f), .name = "device 'd'", .rings = RINGS };
    f->vu = vhost_user_new(&spec, &error_abort);
    f->dev = vhost_device_new(vhost_user_backend(f->vu), "device 'd'", &dev_ops, f);
    const VhostGuest guest = { &guest_ops, f };
    ERROR_AUTO err = NULL;
    g_assert_false(vhost_device_attach(f->dev, &guest, RINGS, address_space_memory(), &err));
    g_assert_nonnull(
        strstr(error_message(err), "device 'd': guest memory 'private' is not shared"));
    memory_region_del(memory_root(), &rom);
    memory_region_finish(&rom);
    ram_block_unref(block);
    machine_unlock();
    rcu_drain();
    machine_lock();
    g_free(host);
}

/* Every fault at every message that has an answer: it is said, nothing hangs, and once the back end
 * is good again the device runs. */
static void test_faults(Fixture *f, gconstpointer data)
{
    static const uint32_t codes[] = { VHOST_USER_GET_FEATURES,  VHOST_USER_GET_PROTOCOL_FEATURES,
                                      VHOST_USER_GET_QUEUE_NUM, VHOST_USER_SET_FEATURES,
                                      VHOST_USER_SET_MEM_TABLE, VHOST_USER_SET_VRING_ENABLE };
    FakeFault fault = GPOINTER_TO_INT(data);
    VhostUserSpec spec = { .timeout_ms = 60 };
    connect_with(f, &spec);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    unsigned before = count_descriptors();
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        bool acked = vhost_user_request_info(codes[i])->answer == VU_ANSWER_ACK;
        if (fault == FAKE_REFUSE && !acked) {
            continue;
        }
        g_string_truncate(f->messages, 0);
        g_mutex_lock(&f->fake.lock);
        f->fake.fault = fault;
        f->fake.fault_code = codes[i];
        unsigned connections = f->fake.connections;
        g_mutex_unlock(&f->fake.lock);
        fake_backend_kill(&f->fake);
        WAIT_FOR(f->fake.connections >= connections + 2);
        g_assert_false(f->running);
        g_mutex_lock(&f->fake.lock);
        f->fake.fault = FAKE_NO_FAULT;
        g_mutex_unlock(&f->fake.lock);
        WAIT_FOR(f->running);
    }
    run_for(30 * NS_PER_MS);
    g_assert_cmpuint(count_descriptors(), <=, before + 1);
}

/* The connection is cut after each byte that the back end sends. */
static void test_cut_everywhere(Fixture *f, gconstpointer data)
{
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    int all = f->fake.sent;
    g_assert_cmpint(all, >, 100);
    for (int at = 0; at < all; at++) {
        g_mutex_lock(&f->fake.lock);
        f->fake.close_after_bytes = at;
        unsigned connections = f->fake.connections;
        g_mutex_unlock(&f->fake.lock);
        fake_backend_kill(&f->fake);
        WAIT_FOR(f->fake.connections >= connections + 2);
        g_assert_false(f->running);
    }
    g_mutex_lock(&f->fake.lock);
    f->fake.close_after_bytes = -1;
    g_mutex_unlock(&f->fake.lock);
    fake_backend_kill(&f->fake);
    WAIT_FOR(f->running);
}

/* A back end that stops answering while it is asked to stop: bounded, and the machine goes on. */
static void test_silent_stop(Fixture *f, gconstpointer data)
{
    VhostUserSpec spec = { .timeout_ms = 60 };
    connect_with(f, &spec);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    g_mutex_lock(&f->fake.lock);
    f->fake.fault = FAKE_SILENT;
    f->fake.fault_code = VHOST_USER_GET_VRING_BASE;
    g_mutex_unlock(&f->fake.lock);
    vhost_device_set_wanted(f->dev, false);
    WAIT_FOR(vhost_device_is_idle(f->dev));
    g_assert_cmpuint(f->restored, ==, 3);
    g_assert_nonnull(
        strstr(f->messages->str, "GET_VRING_BASE: no reply from the back end within 60 ms"));
}

/* Asked for again before the stop is over. */
static void test_quick_turns(Fixture *f, gconstpointer data)
{
    connect_plain(f);
    for (int i = 0; i < 20; i++) {
        vhost_device_set_wanted(f->dev, true);
        if (i % 3) {
            WAIT_FOR(f->running);
        }
        vhost_device_set_wanted(f->dev, false);
        vhost_device_set_wanted(f->dev, true);
        vhost_device_set_wanted(f->dev, false);
    }
    WAIT_FOR(vhost_device_is_idle(f->dev));
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    /* Freed while it runs. */
}

static void test_query(Fixture *f, gconstpointer data)
{
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    WAIT_FOR(f->running);
    json_t *json = qmp_command_run(qmp_command_find("query-vhost-user"), NULL, NULL, &error_abort);
    json_t *info = json_array_get(json, 0);
    g_assert_cmpstr(json_string_value(json_object_get(info, "device")), ==, "device 'd'");
    g_assert_cmpstr(json_string_value(json_object_get(info, "state")), ==, "running");
    g_assert_cmpuint(json_array_size(json_object_get(info, "queues")), ==, 3);
    g_assert_cmpuint(json_array_size(json_object_get(info, "memory")), ==, 1);
    json_decref(json);
}

int main(int argc, char **argv)
{
    static const char *const fault_names[FAKE_FAULT_COUNT] = {
        NULL,          "close",   "silent", "short", "long",   "huge",        "wrong-code",
        "not-a-reply", "version", "fd",     "twice", "refuse", "half-header",
    };
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    module_call(MODULE_OPTIONS);
    module_call(MODULE_SUBSYSTEM);
    ADD("/vhost-user/negotiate", NULL, test_negotiate);
    ADD("/vhost-user/start-stop", NULL, test_start_stop);
    ADD("/vhost-user/restart", NULL, test_restart);
    ADD("/vhost-user/enable", NULL, test_enable);
    ADD("/vhost-user/mask", NULL, test_mask);
    ADD("/vhost-user/mem-slots", NULL, test_mem_slots);
    ADD("/vhost-user/inflight", NULL, test_inflight);
    ADD("/vhost-user/config", NULL, test_config);
    ADD("/vhost-user/lost-features", NULL, test_lost_features);
    ADD("/vhost-user/required-features", NULL, test_required_features);
    ADD("/vhost-user/too-few-queues", NULL, test_too_few_queues);
    ADD("/vhost-user/no-protocol-features", NULL, test_no_protocol_features);
    ADD("/vhost-user/unshared-memory", NULL, test_unshared_memory);
    for (int fault = 1; fault < FAKE_FAULT_COUNT; fault++) {
        g_autofree char *path = g_strdup_printf("/vhost-user/fault/%s", fault_names[fault]);
        ADD(path, GINT_TO_POINTER(fault), test_faults);
    }
    ADD("/vhost-user/cut-everywhere", NULL, test_cut_everywhere);
    ADD("/vhost-user/silent-stop", NULL, test_silent_stop);
    ADD("/vhost-user/quick-turns", NULL, test_quick_turns);
    ADD("/vhost-user/query", NULL, test_query);
    return g_test_run();
}
