#include "base/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/text.h"

typedef struct SetEntry {
    int64_t set;
    int fd;
    char *opaque;
} SetEntry;

static void entry_free(void *data)
{
    SetEntry *entry = data;
    fd_close(entry->fd);
    g_free(entry->opaque);
    g_free(entry);
}

static void named_free(void *fd)
{
    fd_close(GPOINTER_TO_INT(fd));
}

/* What was passed in, for the whole process (see the header); guarded by store_lock. */
static GMutex store_lock;
static GPtrArray *entries;      /* SetEntry, ordered by set; NULL while empty */
static GHashTable *fds_by_name; /* name → fd; NULL while empty */

int64_t fdset_add(int64_t set, int fd, const char *opaque, Error **errp)
{
    if (set < -1) {
        error_set(errp,
                  "Parameter 'fdset-id' expects a non-negative value, got '%" G_GINT64_FORMAT "'",
                  set);
        fd_close(fd);
        return -1;
    }
    g_mutex_lock(&store_lock);
    if (!entries) {
        entries = g_ptr_array_new_with_free_func(entry_free);
    }
    if (set == -1) {
        set = 0;
        for (unsigned i = 0; i < entries->len; i++) {
            const SetEntry *entry = entries->pdata[i];
            set = entry->set == set ? set + 1 : set;
        }
    }
    SetEntry *entry = g_new(SetEntry, 1);
    *entry = (SetEntry){ set, fd, g_strdup(opaque) };
    unsigned at = 0;
    while (at < entries->len && ((SetEntry *)entries->pdata[at])->set <= set) {
        at++;
    }
    g_ptr_array_insert(entries, at, entry);
    g_mutex_unlock(&store_lock);
    return set;
}

bool fdset_remove(int64_t set, int fd, Error **errp)
{
    bool found = false;
    g_mutex_lock(&store_lock);
    for (unsigned i = entries ? entries->len : 0; i > 0; i--) {
        const SetEntry *entry = entries->pdata[i - 1];
        if (entry->set == set && (fd == -1 || entry->fd == fd)) {
            g_ptr_array_remove_index(entries, i - 1);
            found = true;
        }
    }
    g_mutex_unlock(&store_lock);
    if (!found && fd == -1) {
        error_set(errp, "File descriptor named 'fdset-id:%" G_GINT64_FORMAT "' not found", set);
    } else if (!found) {
        error_set(errp, "File descriptor named 'fdset-id:%" G_GINT64_FORMAT ", fd:%d' not found",
                  set, fd);
    }
    return found;
}

void fdset_foreach(FdsetVisitor *visit, void *opaque)
{
    g_mutex_lock(&store_lock);
    for (unsigned i = 0; entries && i < entries->len; i++) {
        const SetEntry *entry = entries->pdata[i];
        visit(entry->set, entry->fd, entry->opaque, opaque);
    }
    g_mutex_unlock(&store_lock);
}

static int open_from_set(const char *path, int flags, Error **errp)
{
    int64_t set;
    if (!text_to_i64(path + strlen(FDSET_PATH_PREFIX), &set) || set < 0) {
        error_set(errp, "'%s': the number of an fd set is expected after '%s'", path,
                  FDSET_PATH_PREFIX);
        return -1;
    }
    bool known = false;
    int fd = -1;
    g_mutex_lock(&store_lock);
    for (unsigned i = 0; entries && i < entries->len && fd < 0; i++) {
        const SetEntry *entry = entries->pdata[i];
        if (entry->set == set) {
            known = true;
            int have = fcntl(entry->fd, F_GETFL);
            if (have >= 0 && (have & O_ACCMODE) == (flags & O_ACCMODE)) {
                fd = fcntl(entry->fd, F_DUPFD_CLOEXEC, 0);
            }
        }
    }
    g_mutex_unlock(&store_lock);
    if (fd < 0) {
        error_set(errp,
                  known ? "'%s': the set has no file descriptor with the access mode needed"
                        : "'%s': there is no such fd set; add one with add-fd",
                  path);
    }
    return fd;
}

int fdset_open(const char *path, int flags, mode_t mode, Error **errp)
{
    if (FAULT("open", errp)) {
        return -1;
    }
    if (g_str_has_prefix(path, FDSET_PATH_PREFIX)) {
        return open_from_set(path, flags, errp);
    }
    int fd;
    do {
        fd = open(path, flags | O_CLOEXEC, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        error_set_errno(errp, errno, "Could not open '%s'", path);
    }
    return fd;
}

void fd_named_put(const char *name, int fd)
{
    g_mutex_lock(&store_lock);
    if (!fds_by_name) {
        fds_by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, named_free);
    }
    g_hash_table_replace(fds_by_name, g_strdup(name), GINT_TO_POINTER(fd));
    g_mutex_unlock(&store_lock);
}

int fd_named_take(const char *name, Error **errp)
{
    int fd = -1;
    void *key, *value;
    g_mutex_lock(&store_lock);
    if (fds_by_name && g_hash_table_steal_extended(fds_by_name, name, &key, &value)) {
        fd = GPOINTER_TO_INT(value);
        g_free(key);
    }
    g_mutex_unlock(&store_lock);
    if (fd < 0) {
        error_set(errp, "File descriptor named '%s' not found", name);
    }
    return fd;
}

int fd_from_text(const char *text, Error **errp)
{
    if (!g_ascii_isdigit(text[0])) {
        return fd_named_take(text, errp);
    }
    int64_t number;
    if (!text_to_i64(text, &number) || number > INT_MAX || fcntl((int)number, F_GETFD) < 0) {
        error_set(errp, "'%s' is not an open file descriptor", text);
        return -1;
    }
    return (int)number;
}

void fdset_finish(void)
{
    g_mutex_lock(&store_lock);
    g_clear_pointer(&entries, g_ptr_array_unref);
    g_clear_pointer(&fds_by_name, g_hash_table_unref);
    g_mutex_unlock(&store_lock);
}
