#include "base/module.h"

#include <dlfcn.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

/* Rows are appended before main() and while a shared module is opened. Guarded by module_lock after
 * main() began. */
static struct {
    ModuleRow *first, **last;
    bool called;
} module_kinds[MODULE_KIND_COUNT];
static GRecMutex module_lock;

/* Shared modules and the Debian package that a missing library comes from. */
static const struct {
    const char *name, *package;
} module_packages[] = {
    { "net-slirp", "libslirp0" },       { "ui-vnc", "libvncserver1" },
    { "ui-spice", "libspice-server1" }, { "crypto-gnutls", "libgnutls30" },
    { "migration-zstd", "libzstd1" },
};

void module_append(ModuleKind kind, ModuleRow *row)
{
    if (!module_kinds[kind].last) {
        module_kinds[kind].last = &module_kinds[kind].first;
    }
    row->next = NULL;
    *module_kinds[kind].last = row;
    module_kinds[kind].last = &row->next;
}

void module_call(ModuleKind kind)
{
    g_rec_mutex_lock(&module_lock);
    module_kinds[kind].called = true;
    for (ModuleRow *row = module_kinds[kind].first; row; row = row->next) {
        if (!row->called) {
            row->called = true;
            row->fn();
        }
    }
    g_rec_mutex_unlock(&module_lock);
}

const char *module_kind_name(ModuleKind kind)
{
    static const char *const names[MODULE_KIND_COUNT] = {
        [MODULE_TYPES] = "type",  [MODULE_OPTIONS] = "options",
        [MODULE_ARCH] = "arch",   [MODULE_SUBSYSTEM] = "subsystem",
        [MODULE_TRACE] = "trace", [MODULE_MIGRATION] = "migration",
        [MODULE_FUZZ] = "fuzz",
    };
    return names[kind];
}

void module_foreach(ModuleVisitor *visit, void *opaque)
{
    for (ModuleKind kind = 0; kind < MODULE_KIND_COUNT; kind++) {
        for (ModuleRow *row = module_kinds[kind].first; row; row = row->next) {
            visit(kind, row->name, opaque);
        }
    }
}

static void module_run_new_rows(void)
{
    for (ModuleKind kind = 0; kind < MODULE_KIND_COUNT; kind++) {
        if (module_kinds[kind].called) {
            module_call(kind);
        }
    }
}

static char *module_executable_dir(void)
{
    g_autofree char *exe = g_file_read_link("/proc/self/exe", NULL);
    return exe ? g_path_get_dirname(exe) : g_strdup(".");
}

static const char *module_package(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(module_packages); i++) {
        if (!strcmp(name, module_packages[i].name)) {
            return module_packages[i].package;
        }
    }
    return NULL;
}

/* The handle is kept for the life of the process: types registered by a module can't go away. */
static bool module_try_open(const char *path, const char *name, Error **errp)
{
    if (dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
        module_run_new_rows();
        return true;
    }
    const char *why = dlerror();
    error_set(errp, "cannot open module '%s': %s", name, why);
    if (module_package(name) && strstr(why, "cannot open shared object file")) {
        error_add_hint(errp, "Install the package %s.", module_package(name));
    }
    return false;
}

bool module_open(const char *name, Error **errp)
{
    g_autofree char *exe_dir = module_executable_dir();
    g_autofree char *beside = g_build_filename(exe_dir, "modules", NULL);
    g_autofree char *installed = g_build_filename(exe_dir, "..", "lib", "rhea", NULL);
    const char *dirs[] = { g_getenv("RHEA_MODULE_DIR"), beside, installed };
    g_autofree char *file = g_strdup_printf("%s.so", name);

    g_rec_mutex_lock(&module_lock);
    bool found = false, ok = false;
    for (size_t i = 0; i < ARRAY_LEN(dirs) && !found; i++) {
        if (!dirs[i]) {
            continue;
        }
        g_autofree char *path = g_build_filename(dirs[i], file, NULL);
        if (access(path, R_OK) == 0) {
            found = true;
            ok = module_try_open(path, name, errp);
        }
    }
    g_rec_mutex_unlock(&module_lock);
    if (!found) {
        error_set(errp,
                  "module '%s' is not installed (looked for %s in $RHEA_MODULE_DIR, %s and %s)",
                  name, file, beside, installed);
    }
    return ok;
}
