/* Config files. */
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/module.h"
#include "config/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (!ready) {
        module_call(MODULE_OPTIONS);
        ready = true;
    }
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_assert_cmpint(write(fd, data, size), ==, (ssize_t)size);
    Config *config = config_new();
    ERROR_AUTO err = NULL;
    if (config_read_file(config, path, &err)) {
        ERROR_AUTO invalid = NULL;
        if (!config_validate(config, &invalid)) {
            g_assert_nonnull(invalid);
        }
    }
    config_free(config);
    close(fd);
    return 0;
}
