#include "vhost/user/await.h"

#include <string.h>

#include "event/clock.h"

struct VhostUserAwait {
    VhostUser *vu;
    char *what;
    bool over;        /* nobody waits for it */
    int64_t deadline; /* ns, CLK_REALTIME; 0: none */
    Timer *timer;
    Error *refusal;
};

/* Those that exist, and start-up's ear; of this process, since start-up is. Machine lock. */
static GPtrArray *awaits;
static void (*await_fn)(void *opaque);
static void *await_fn_opaque;

void vhost_user_set_await_fn(void (*fn)(void *opaque), void *opaque)
{
    await_fn = fn;
    await_fn_opaque = opaque;
}

static void await_changed(void)
{
    if (await_fn) {
        await_fn(await_fn_opaque);
    }
}

static void await_timeout(void *opaque)
{
    await_changed();
}

VhostUserAwait *vhost_user_await(VhostUser *vu, const char *what, unsigned timeout)
{
    VhostUserAwait *a = g_new0(VhostUserAwait, 1);
    a->vu = vu;
    a->what = g_strdup(what);
    if (timeout) {
        a->deadline = clock_now(CLK_REALTIME) + timeout * NS_PER_SECOND;
        a->timer = timer_new(event_loop_main(), CLK_REALTIME, await_timeout, a);
        timer_set(a->timer, a->deadline);
    }
    if (!awaits) {
        awaits = g_ptr_array_new();
    }
    g_ptr_array_add(awaits, a);
    return a;
}

static void await_clear_refusal(VhostUserAwait *a)
{
    error_free(a->refusal);
    a->refusal = NULL;
}

void vhost_user_await_met(VhostUserAwait *a)
{
    if (a && !a->over) {
        a->over = true;
        await_clear_refusal(a);
        await_changed();
    }
}

void vhost_user_await_refused(VhostUserAwait *a, const Error *why)
{
    if (a && !a->over) {
        await_clear_refusal(a);
        a->refusal = error_copy(why);
        await_changed();
    }
}

void vhost_user_await_free(VhostUserAwait *a)
{
    if (!a) {
        return;
    }
    g_ptr_array_remove(awaits, a);
    if (!awaits->len) {
        g_clear_pointer(&awaits, g_ptr_array_unref);
    }
    timer_free(a->timer);
    await_clear_refusal(a);
    g_free(a->what);
    g_free(a);
    await_changed();
}

static char *await_describe(const VhostUserAwait *a, Error **errp)
{
    VhostUserStatus s;
    vhost_user_status(a->vu, &s);
    g_autofree char *full = chardev_filename(s.chardev);
    const char *filename = g_str_has_prefix(full, "disconnected:") ? strchr(full, ':') + 1 : full;
    if (a->refusal) {
        error_set(errp, "%s (%s): %s", a->what, filename, error_message(a->refusal));
        return NULL;
    }
    if (a->deadline && clock_now(CLK_REALTIME) >= a->deadline) {
        error_set(errp, "%s: no back end at %s within its wait-timeout%s%s", a->what, filename,
                  s.last_error ? "; last error: " : "", s.last_error ?: "");
        return NULL;
    }
    return g_strdup_printf(
        "the back end of %s %s %s", a->what,
        chardev_is_server(s.chardev) ? "to connect to chardev" : "to answer on chardev", filename);
}

char *vhost_user_awaited(Error **errp)
{
    for (guint i = 0; awaits && i < awaits->len; i++) {
        const VhostUserAwait *a = g_ptr_array_index(awaits, i);
        if (!a->over) {
            return await_describe(a, errp);
        }
    }
    return NULL;
}
