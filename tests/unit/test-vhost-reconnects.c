/* A back end that comes and goes ten thousand times: neither memory nor descriptors grow. */
#include "vhost-user-fixture.h"

#define ROUNDS      10000
#define WARM_UP     500 /* until allocators have what they keep */
#define KIB_AT_MOST 1024

static unsigned resident_kib(void)
{
    g_autofree char *text = NULL;
    unsigned long size, resident;
    gboolean ok = g_file_get_contents("/proc/self/statm", &text, NULL, NULL);
    g_assert_true(ok);
    g_assert_cmpint(sscanf(text, "%lu %lu", &size, &resident), ==, 2);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void test_reconnects(Fixture *f, gconstpointer data)
{
    f->fake.protocol_features |= BIT64(VHOST_USER_PF_BACKEND_REQ) | BIT64(VHOST_USER_PF_STATUS);
    connect_plain(f);
    vhost_device_set_wanted(f->dev, true);
    unsigned descriptors = 0, memory = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        WAIT_FOR(f->running);
        if (i == WARM_UP) {
            descriptors = count_descriptors();
            memory = resident_kib();
        }
        g_string_truncate(f->messages, 0);
        g_free(fake_backend_take_log(&f->fake));
        fake_backend_kill(&f->fake);
        WAIT_FOR(!f->running);
    }
    WAIT_FOR(f->running);
    g_assert_cmpuint(count_descriptors(), <=, descriptors + 1);
    g_assert_cmpuint(resident_kib(), <=, memory + KIB_AT_MOST);
    g_test_message("%u KiB before, %u after", memory, resident_kib());
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    module_call(MODULE_OPTIONS);
    module_call(MODULE_SUBSYSTEM);
    ADD("/vhost-user/reconnects", NULL, test_reconnects);
    return g_test_run();
}
