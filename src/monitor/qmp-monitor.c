/* Commands about the protocol itself: negotiation, version, lists, descriptors, monitors. */
#include <string.h>

#include "base/fd.h"
#include "base/fdset.h"
#include "monitor/monitor-internal.h"

/* The level of the protocol that is followed. */
#define QMP_LEVEL_MAJOR 7
#define QMP_LEVEL_MINOR 2
#define QMP_LEVEL_MICRO 0

bool qmp_qmp_capabilities(Monitor *mon, const QmpCapabilitiesArgs *args, Error **errp)
{
    bool oob = false;
    for (size_t i = 0; i < args->enable.len; i++) {
        oob |= args->enable.items[i] == QMP_CAPABILITY_OOB;
    }
    if (oob && !mon->oob_offered) {
        error_set(errp, "Capability oob not available");
        return false;
    }
    g_mutex_lock(&mon->lock);
    mon->negotiated = true;
    mon->oob = oob;
    g_mutex_unlock(&mon->lock);
    return true;
}

bool qmp_query_version(VersionInfo *ret, Error **errp)
{
    ret->qemu = (VersionTriple){ QMP_LEVEL_MAJOR, QMP_LEVEL_MINOR, QMP_LEVEL_MICRO };
    ret->package = g_strdup("Rhea " RHEA_VERSION);
    return true;
}

/* --- Lists --- */

static void add_command(const QmpCommand *command, void *opaque)
{
    CommandInfoList *list = opaque;
    list->items = g_renew(CommandInfo, list->items, list->len + 1);
    list->items[list->len++].name = g_strdup(command->name);
}

bool qmp_query_commands(CommandInfoList *ret, Error **errp)
{
    qmp_command_foreach(add_command, ret);
    return true;
}

static void add_event(const QmpEvent *event, void *opaque)
{
    EventInfoList *list = opaque;
    list->items = g_renew(EventInfo, list->items, list->len + 1);
    list->items[list->len++].name = g_strdup(event->name);
}

bool qmp_query_events(EventInfoList *ret, Error **errp)
{
    qmp_event_foreach(add_event, ret);
    return true;
}

static void add_monitor(Monitor *mon, void *opaque)
{
    MonitorInfoList *list = opaque;
    list->items = g_renew(MonitorInfo, list->items, list->len + 1);
    g_mutex_lock(&mon->lock);
    list->items[list->len++] = (MonitorInfo){
        .id = g_strdup(mon->id ? mon->id : ""),
        .mode = mon->mode,
        .chardev = g_strdup(chardev_id(mon->chardev) ? chardev_id(mon->chardev) : ""),
        .connected = mon->connected,
        .dropped_events = mon->dropped_events,
    };
    g_mutex_unlock(&mon->lock);
}

bool qmp_x_query_monitors(MonitorInfoList *ret, Error **errp)
{
    monitor_foreach(add_monitor, ret);
    return true;
}

/* --- Descriptors --- */

int monitor_take_fd(Monitor *mon, Error **errp)
{
    if (!mon || !mon->nfds) {
        error_set(errp, "No file descriptor supplied via SCM_RIGHTS");
        return -1;
    }
    int fd = mon->fds[0];
    memmove(mon->fds, mon->fds + 1, --mon->nfds * sizeof(*mon->fds));
    return fd;
}

bool qmp_getfd(Monitor *mon, const GetfdArgs *args, Error **errp)
{
    FD_AUTO fd = monitor_take_fd(mon, errp);
    if (fd < 0) {
        return false;
    }
    if (g_ascii_isdigit(args->fdname[0])) {
        error_set(errp, "Parameter 'fdname' expects a name not starting with a digit");
        return false;
    }
    fd_named_put(args->fdname, fd_steal(&fd));
    return true;
}

bool qmp_closefd(const ClosefdArgs *args, Error **errp)
{
    FD_AUTO fd = fd_named_take(args->fdname, errp);
    return fd >= 0;
}

bool qmp_add_fd(Monitor *mon, const AddFdArgs *args, AddfdInfo *ret, Error **errp)
{
    int fd = monitor_take_fd(mon, errp);
    if (fd < 0) {
        return false;
    }
    if (args->has_fdset_id && args->fdset_id < 0) {
        error_set(errp, "Parameter 'fdset-id' expects a non-negative value");
        fd_close(fd);
        return false;
    }
    int64_t set = fdset_add(args->has_fdset_id ? args->fdset_id : -1, fd, args->opaque, errp);
    ret->fdset_id = set;
    ret->fd = fd;
    return set >= 0;
}

bool qmp_remove_fd(const RemoveFdArgs *args, Error **errp)
{
    if (args->has_fd && (args->fd < 0 || args->fd > INT_MAX)) {
        error_set(errp, "Parameter 'fd' expects a file descriptor's number");
        return false;
    }
    return fdset_remove(args->fdset_id, args->has_fd ? (int)args->fd : -1, errp);
}

static void add_set_fd(int64_t set, int fd, const char *text, void *opaque)
{
    FdsetInfoList *list = opaque;
    FdsetInfo *info = list->len ? &list->items[list->len - 1] : NULL;
    if (!info || info->fdset_id != set) {
        list->items = g_renew(FdsetInfo, list->items, list->len + 1);
        info = &list->items[list->len++];
        *info = (FdsetInfo){ .fdset_id = set };
    }
    info->fds.items = g_renew(FdsetFdInfo, info->fds.items, info->fds.len + 1);
    info->fds.items[info->fds.len++] = (FdsetFdInfo){ .fd = fd, .opaque = g_strdup(text) };
}

bool qmp_query_fdsets(FdsetInfoList *ret, Error **errp)
{
    fdset_foreach(add_set_fd, ret);
    return true;
}

/* --- Cutting connections, out of band --- */

bool qmp_yank(const YankArgs *args, Error **errp)
{
    for (size_t i = 0; i < args->instances.len; i++) {
        const char *id = args->instances.items[i].u.chardev.id;
        if (!chardev_yank(id, false)) {
            error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                            "chardev '%s' has no connection to cut", id);
            return false;
        }
    }
    for (size_t i = 0; i < args->instances.len; i++) {
        chardev_yank(args->instances.items[i].u.chardev.id, true);
    }
    return true;
}

static void add_yank(const char *id, void *opaque)
{
    YankInstanceList *list = opaque;
    list->items = g_renew(YankInstance, list->items, list->len + 1);
    YankInstance *instance = &list->items[list->len++];
    *instance = (YankInstance){ .type = YANK_INSTANCE_TYPE_CHARDEV };
    instance->u.chardev.id = g_strdup(id);
}

bool qmp_query_yank(YankInstanceList *ret, Error **errp)
{
    chardev_yank_foreach(add_yank, ret);
    return true;
}
