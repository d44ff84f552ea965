/*
 * Events on their way to the clients: named, stamped, and not too often.
 *
 * An event with a rate is sent at once if the last one was long enough ago; otherwise it replaces
 * the one that waits, and goes out at the end of the time. With a key, each value of that member
 * has its own measure.
 */
#include <string.h>

#include "event/clock.h"
#include "monitor/monitor-internal.h"

typedef struct Limit {
    const QmpEvent *event;
    char *key;       /* "NAME" or "NAME:VALUE" */
    int64_t until;   /* ns, CLK_REALTIME */
    json_t *waiting; /* the whole object; NULL: none */
} Limit;

/* One set of limits for all clients: an event is rare or frequent for everybody. Any thread emits.
 */
static GMutex limit_lock;
static GHashTable *limits; /* limit_lock; key → Limit; NULL: events are dropped */
static Timer *limit_timer;

static void limit_free(void *data)
{
    Limit *limit = data;
    json_decref(limit->waiting);
    g_free(limit->key);
    g_free(limit);
}

json_t *qmp_event_object(const char *name, json_t *data)
{
    int64_t us = clock_now(CLK_HOST) / NS_PER_US;
    json_t *object =
        json_pack("{s:{s:I,s:I},s:s}", "timestamp", "seconds", (json_int_t)(us / 1000000),
                  "microseconds", (json_int_t)(us % 1000000), "event", name);
    if (data) {
        json_object_set(object, "data", data);
    }
    return object;
}

static void send_to(Monitor *mon, void *opaque)
{
    if (mon->mode == MONITOR_MODE_CONTROL) {
        qmp_session_send_event(mon, opaque);
    }
}

static char *limit_key(const QmpEvent *event, json_t *data)
{
    json_t *value = event->rate_key && data ? json_object_get(data, event->rate_key) : NULL;
    if (!value) {
        return g_strdup(event->name);
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    char *key = g_strdup_printf("%s:%s", event->name, text);
    free(text);
    return key;
}

/* True: send it now. Otherwise it is kept. limit_lock held. */
static bool limit_passes(const QmpEvent *event, json_t *data, json_t *object)
{
    int64_t now = clock_now(CLK_REALTIME);
    char *key = limit_key(event, data);
    Limit *limit = g_hash_table_lookup(limits, key);
    if (!limit) {
        limit = g_new0(Limit, 1);
        limit->event = event;
        limit->key = key;
        g_hash_table_insert(limits, limit->key, limit);
    } else {
        g_free(key);
        if (now < limit->until) {
            json_decref(limit->waiting);
            limit->waiting = json_incref(object);
            if (!timer_pending(limit_timer) || timer_deadline(limit_timer) > limit->until) {
                timer_set(limit_timer, limit->until);
            }
            return false;
        }
    }
    limit->until = now + event->rate_ns;
    if (!timer_pending(limit_timer) || timer_deadline(limit_timer) > limit->until) {
        timer_set(limit_timer, limit->until);
    }
    return true;
}

void monitor_send_event(const QmpEvent *event, json_t *data)
{
    json_t *object = qmp_event_object(event->name, data);
    g_mutex_lock(&limit_lock);
    bool send = limits && (!event->rate_ns || limit_passes(event, data, object));
    g_mutex_unlock(&limit_lock);
    if (send) {
        monitor_foreach(send_to, object);
    }
    json_decref(object);
}

/* Send what waited long enough; forget limits that are over. */
static void limits_due(void *unused)
{
    g_autoptr(GPtrArray) due = g_ptr_array_new();
    int64_t now = clock_now(CLK_REALTIME), next = INT64_MAX;
    GHashTableIter iter;
    void *value;

    g_mutex_lock(&limit_lock);
    g_hash_table_iter_init(&iter, limits);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Limit *limit = value;
        if (limit->until > now) {
            next = MIN(next, limit->until);
        } else if (limit->waiting) {
            g_ptr_array_add(due, g_steal_pointer(&limit->waiting));
            limit->until = now + limit->event->rate_ns;
            next = MIN(next, limit->until);
        } else {
            g_hash_table_iter_remove(&iter);
        }
    }
    if (next != INT64_MAX) {
        timer_set(limit_timer, next);
    }
    g_mutex_unlock(&limit_lock);

    for (unsigned i = 0; i < due->len; i++) {
        monitor_foreach(send_to, due->pdata[i]);
        json_decref(due->pdata[i]);
    }
}

static void typed_event(const QmpEvent *event, json_t *data, void *opaque)
{
    monitor_send_event(event, data);
}

void qmp_events_init(void)
{
    g_mutex_lock(&limit_lock);
    if (!limits) {
        limits = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, limit_free);
        limit_timer = timer_new(event_loop_main(), CLK_REALTIME, limits_due, NULL);
    }
    g_mutex_unlock(&limit_lock);
    qmp_event_set_sink(typed_event, NULL);
}

void qmp_events_finish(void)
{
    qmp_event_set_sink(NULL, NULL);
    g_mutex_lock(&limit_lock);
    timer_free(g_steal_pointer(&limit_timer));
    g_clear_pointer(&limits, g_hash_table_unref);
    g_mutex_unlock(&limit_lock);
}
