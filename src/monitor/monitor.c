/* The life of monitors, their output, and the options that make them. */
#include "monitor/monitor.h"

#include <stdarg.h>
#include <string.h>

#include "base/report.h"
#include "chardev/chardev-record.h"
#include "event/call.h"
#include "event/lock.h"
#include "monitor/monitor-internal.h"
#include "object/phase.h"

/* The monitors of the process and what they share: events reach them from any thread, and options
 * number them. */
static GMutex list_lock;
static GPtrArray *monitors;   /* list_lock; Monitor, references; NULL before monitor_init() */
static EventLoop *io_thread;  /* main thread; NULL until a monitor wants it */
static unsigned legacy_count; /* main thread */

/* --- References --- */

const char *monitor_name(const Monitor *mon)
{
    return mon->name;
}

Monitor *monitor_ref(Monitor *mon)
{
    __atomic_add_fetch(&mon->refs, 1, __ATOMIC_RELAXED);
    return mon;
}

void monitor_unref(Monitor *mon)
{
    if (__atomic_sub_fetch(&mon->refs, 1, __ATOMIC_ACQ_REL)) {
        return;
    }
    g_string_free(mon->out, TRUE);
    g_mutex_clear(&mon->lock);
    g_free(mon->id);
    g_free(mon->name);
    g_free(mon);
}

void monitor_foreach(void (*fn)(Monitor *mon, void *opaque), void *opaque)
{
    g_mutex_lock(&list_lock);
    for (unsigned i = 0; monitors && i < monitors->len; i++) {
        fn(monitors->pdata[i], opaque);
    }
    g_mutex_unlock(&list_lock);
}

/* --- Output --- */

void monitor_write(Monitor *mon, unsigned generation, const char *text, size_t len)
{
    g_mutex_lock(&mon->lock);
    if (mon->connected && mon->generation == generation && !mon->closing) {
        g_string_append_len(mon->out, text, len);
        __atomic_add_fetch(&mon->unsent, len, __ATOMIC_RELAXED);
        bh_schedule(mon->flush_bh);
    }
    g_mutex_unlock(&mon->lock);
}

void monitor_printf(Monitor *mon, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    monitor_write(mon, mon->generation, text, strlen(text));
}

/* Hand output to the chardev; what it refuses waits for writable(). */
static void flush(void *opaque)
{
    Monitor *mon = opaque;
    for (;;) {
        if (mon->sent == mon->sending->len) {
            /* Keep no large buffer for a small answer. */
            if (mon->sending->allocated_len > MONITOR_OUT_PAUSE) {
                g_string_free(mon->sending, TRUE);
                mon->sending = g_string_new(NULL);
            } else {
                g_string_truncate(mon->sending, 0);
            }
            mon->sent = 0;
            g_mutex_lock(&mon->lock);
            GString *swap = mon->out;
            mon->out = mon->sending;
            mon->sending = swap;
            g_mutex_unlock(&mon->lock);
            if (!mon->sending->len) {
                break;
            }
        }
        size_t n = char_frontend_write(&mon->fe, mon->sending->str + mon->sent,
                                       mon->sending->len - mon->sent);
        mon->sent += n;
        __atomic_sub_fetch(&mon->unsent, n, __ATOMIC_RELAXED);
        if (mon->sent < mon->sending->len) {
            return;
        }
    }
    if (mon->mode == MONITOR_MODE_CONTROL) {
        qmp_session_output_drained(mon);
    } else {
        hmp_session_output_drained(mon);
    }
}

void monitor_writable(void *opaque)
{
    flush(opaque);
}

void monitor_connection_begins(Monitor *mon)
{
    g_mutex_lock(&mon->lock);
    mon->connected = true;
    mon->generation++;
    mon->negotiated = mon->oob = false;
    g_mutex_unlock(&mon->lock);
}

void monitor_connection_ends(Monitor *mon)
{
    g_mutex_lock(&mon->lock);
    mon->connected = mon->negotiated = mon->oob = false;
    mon->generation++;
    g_string_free(mon->out, TRUE);
    mon->out = g_string_new(NULL);
    g_mutex_unlock(&mon->lock);
    g_string_free(mon->sending, TRUE);
    mon->sending = g_string_new(NULL);
    mon->sent = 0;
    __atomic_store_n(&mon->unsent, 0, __ATOMIC_RELAXED);
}

/* --- Life --- */

void monitor_init(void)
{
    g_mutex_lock(&list_lock);
    if (!monitors) {
        monitors = g_ptr_array_new();
    }
    g_mutex_unlock(&list_lock);
    qmp_events_init();
}

static EventLoop *shared_io_thread(Error **errp)
{
    if (!io_thread) {
        io_thread = event_loop_thread_create("mon_iothread", errp);
    }
    return io_thread;
}

Monitor *monitor_new(const char *id, Chardev *chr, MonitorMode mode, bool pretty, Error **errp)
{
    assert(monitors);
    bool threaded = mode == MONITOR_MODE_CONTROL && chardev_supports_loops(chr);
    EventLoop *loop = threaded ? shared_io_thread(errp) : event_loop_main();
    if (!loop) {
        return NULL;
    }
    Monitor *mon = g_new0(Monitor, 1);
    if (!char_frontend_init(&mon->fe, chr, errp)) {
        g_free(mon);
        return NULL;
    }
    mon->id = g_strdup(id);
    mon->name = g_strdup(id ? id : chardev_id(chr) ? chardev_id(chr) : "");
    mon->chardev = chr;
    mon->mode = mode;
    mon->pretty = pretty;
    mon->refs = 1;
    mon->loop = loop;
    mon->out = g_string_new(NULL);
    mon->sending = g_string_new(NULL);
    mon->oob_offered = threaded;
    g_mutex_init(&mon->lock);
    mon->flush_bh = bh_new(loop, flush, mon);
    const CharHandlers *handlers;
    if (mode == MONITOR_MODE_CONTROL) {
        qmp_session_init(mon);
        handlers = &qmp_session_handlers;
    } else {
        hmp_session_init(mon);
        handlers = &hmp_session_handlers;
    }
    g_mutex_lock(&list_lock);
    g_ptr_array_add(monitors, mon);
    g_mutex_unlock(&list_lock);
    char_frontend_set_handlers(&mon->fe, handlers, mon, loop);
    return mon;
}

static void finish_in_loop(void *opaque)
{
    Monitor *mon = opaque;
    /* A last attempt: the answer to quit is still to go out. */
    flush(mon);
    bh_free(mon->flush_bh);
}

static void monitor_finish(Monitor *mon)
{
    g_mutex_lock(&mon->lock);
    mon->closing = true;
    g_mutex_unlock(&mon->lock);
    event_loop_call(mon->loop, finish_in_loop, mon);
    char_frontend_finish(&mon->fe);
    if (mon->mode == MONITOR_MODE_CONTROL) {
        qmp_session_finish(mon);
    } else {
        hmp_session_finish(mon);
    }
    g_string_free(mon->sending, TRUE);
    monitor_unref(mon);
}

void monitor_finish_all(void)
{
    qmp_events_finish();
    g_mutex_lock(&list_lock);
    GPtrArray *all = monitors;
    monitors = NULL;
    g_mutex_unlock(&list_lock);
    for (unsigned i = 0; all && i < all->len; i++) {
        monitor_finish(all->pdata[i]);
    }
    if (all) {
        g_ptr_array_unref(all);
    }
    if (io_thread) {
        event_loop_thread_destroy(io_thread);
        io_thread = NULL;
    }
    legacy_count = 0;
}

/* --- Options --- */

bool monitor_add_from_text(const char *text, MonitorMode mode, bool pretty, Error **errp)
{
    g_autofree char *id = g_strdup_printf("compat_monitor%u", legacy_count);
    Chardev *chr;
    bool with_monitor; /* "mon:" asks for what is being made */
    if (!chardev_new_from_text(id, text, &with_monitor, &chr, errp)) {
        return false;
    }
    if (!chr) {
        return true;
    }
    legacy_count++;
    return monitor_new(id, chr, mode, pretty, errp) != NULL;
}

static bool add_texts(const Config *config, const OptionInfo *option, MonitorMode mode, bool pretty,
                      Error **errp)
{
    for (size_t i = 0; i < config_lookup_count(config, option); i++) {
        const ConfigItem *item = config_lookup_item(config, option, i);
        if (!monitor_add_from_text(*(char *const *)item->value, mode, pretty, errp)) {
            config_item_prepend(item, errp);
            return false;
        }
    }
    return true;
}

bool monitor_add_from_config(const Config *config, Error **errp)
{
    for (size_t i = 0; i < config_count(config, mon); i++) {
        const MonitorOptions *options = config_at(config, mon, i);
        Chardev *chr = chardev_find_or_error(options->chardev, errp);
        if (!chr || !monitor_new(options->id, chr, options->mode, options->pretty, errp)) {
            config_item_prepend(config_item(config, mon, i), errp);
            return false;
        }
    }
    return add_texts(config, &option_qmp, MONITOR_MODE_CONTROL, false, errp) &&
           add_texts(config, &option_qmp_pretty, MONITOR_MODE_CONTROL, true, errp) &&
           add_texts(config, &option_monitor, MONITOR_MODE_READLINE, false, errp);
}

bool monitor_config_has_any(const Config *config)
{
    return config_count(config, mon) || config_count(config, monitor) ||
           config_count(config, qmp) || config_count(config, qmp_pretty);
}

/* --- What may run --- */

bool monitor_command_allowed(const QmpCommand *command, Error **errp)
{
    if (!(command->flags & QMP_COMMAND_PRECONFIG) && !phase_reached(PHASE_READY)) {
        error_set(errp,
                  "The command '%s' is permitted only after machine initialization has completed",
                  command->name);
        return false;
    }
    return true;
}

typedef struct AnyConnected {
    MonitorMode mode;
    bool found;
} AnyConnected;

static void look_connected(Monitor *mon, void *opaque)
{
    AnyConnected *any = opaque;
    g_mutex_lock(&mon->lock);
    any->found |= mon->mode == any->mode && mon->connected;
    g_mutex_unlock(&mon->lock);
}

bool monitor_any_connected(MonitorMode mode)
{
    AnyConnected any = { mode, false };
    monitor_foreach(look_connected, &any);
    return any.found;
}
