/* Where firmware images are looked for. */
#include <string.h>
#include <unistd.h>

#include "machine/machine.h"

/* The distribution's places, after the user's (-L). */
static const char *const system_paths[] = {
    "/usr/share/seabios",
    "/usr/share/qemu",
    "/usr/share/ovmf",
    "/usr/local/share/rhea",
};

char *machine_find_firmware(Machine *m, const char *name, Error **errp)
{
    g_autoptr(GString) tried = g_string_new(NULL);

    if (strchr(name, '/') || access(name, R_OK) == 0) {
        if (access(name, R_OK) == 0) {
            return g_strdup(name);
        }
        error_set(errp, "firmware '%s' can't be read", name);
        return NULL;
    }
    for (guint i = 0; i < m->firmware_paths->len + ARRAY_LEN(system_paths); i++) {
        const char *folder = i < m->firmware_paths->len ? m->firmware_paths->pdata[i]
                                                        : system_paths[i - m->firmware_paths->len];
        char *path = g_build_filename(folder, name, NULL);
        if (access(path, R_OK) == 0) {
            return path;
        }
        g_string_append_printf(tried, "%s%s", tried->len ? ", " : "", folder);
        g_free(path);
    }
    error_set(errp, "firmware '%s' is not in %s; name its folder with -L, or boot with -kernel",
              name, tried->str);
    return NULL;
}
