#include "devices/virtio/rng/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/fdset.h"
#include "base/report.h"
#include "event/loop.h"
#include "object/property.h"
#include "object/user-creatable.h"

enum { CHUNK = 4096 };

struct RngRequest {
    RngRequest *next;
    size_t len;
    RngReceiveFn *fn;
    void *opaque;
};

void rng_backend_request(RngBackend *b, size_t len, RngReceiveFn *fn, void *opaque)
{
    RngRequest *r = g_new(RngRequest, 1);
    *r = (RngRequest){ .len = len, .fn = fn, .opaque = opaque };
    *b->last = r;
    b->last = &r->next;
    rng_backend_class_of(b)->start(b);
}

void rng_backend_cancel(RngBackend *b, void *opaque)
{
    RngRequest **p = &b->first;
    while (*p) {
        RngRequest *r = *p;
        if (r->opaque == opaque) {
            *p = r->next;
            g_free(r);
        } else {
            p = &r->next;
        }
    }
    b->last = p;
}

/* Give the first request its bytes. */
static void rng_backend_serve(RngBackend *b, const uint8_t *buf, size_t len)
{
    RngRequest *r = b->first;
    b->first = r->next;
    if (!b->first) {
        b->last = &b->first;
    }
    r->fn(r->opaque, buf, len);
    g_free(r);
}

static void rng_backend_init(Object *obj)
{
    RngBackend *b = (RngBackend *)obj;
    b->last = &b->first;
}

static void rng_backend_finalize(Object *obj)
{
    RngBackend *b = (RngBackend *)obj;
    while (b->first) {
        RngRequest *r = b->first;
        b->first = r->next;
        g_free(r);
    }
}

static const char *const user_creatable[] = { TYPE_USER_CREATABLE, NULL };
static const TypeInfo rng_backend_info = {
    .name = TYPE_RNG_BACKEND,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(RngBackend),
    .class_size = sizeof(RngBackendClass),
    .abstract = true,
    .instance_init = rng_backend_init,
    .instance_finalize = rng_backend_finalize,
    .interfaces = user_creatable,
};
OBJECT_TYPE(rng_backend, rng_backend_info)

/* --- rng-random: a file, usually /dev/urandom --- */

typedef struct RngRandom {
    RngBackend parent;
    char *filename;
    int fd;
    FdWatch *watch;
} RngRandom;

static RngRandom *rng_random_of(void *obj)
{
    return (RngRandom *)object_cast((Object *)obj, TYPE_RNG_RANDOM);
}

static void rng_random_readable(void *opaque)
{
    RngRandom *r = opaque;
    uint8_t buf[CHUNK];
    if (!r->parent.first) {
        fd_watch_enable(r->watch, false, false);
        return;
    }
    ssize_t n = read(r->fd, buf, MIN_OF(r->parent.first->len, sizeof(buf)));
    if (n > 0) {
        rng_backend_serve(&r->parent, buf, n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        report_warning("rng-random '%s': '%s' gives no more bytes", r->parent.parent.name,
                       r->filename);
        fd_watch_enable(r->watch, false, false);
        return;
    }
    fd_watch_enable(r->watch, r->parent.first != NULL, false);
}

static void rng_random_start(RngBackend *b)
{
    RngRandom *r = (RngRandom *)b;
    if (r->watch) {
        fd_watch_enable(r->watch, true, false);
    }
}

static bool rng_random_complete(Object *obj, Error **errp)
{
    RngRandom *r = rng_random_of(obj);
    r->fd = fdset_open(r->filename, O_RDONLY | O_NONBLOCK, 0, errp);
    if (r->fd < 0) {
        return false;
    }
    r->watch = fd_watch_new(event_loop_main(), r->fd, rng_random_readable, NULL, r);
    fd_watch_enable(r->watch, r->parent.first != NULL, false);
    return true;
}

static void rng_random_init(Object *obj)
{
    ((RngRandom *)obj)->fd = -1;
}

static void rng_random_finalize(Object *obj)
{
    RngRandom *r = (RngRandom *)obj;
    fd_watch_free(r->watch);
    fd_close(r->fd);
}

static void rng_random_class_init(ObjectClass *klass, const void *data)
{
    ((RngBackendClass *)klass)->start = rng_random_start;
    ((UserCreatableClass *)class_dynamic_cast(klass, TYPE_USER_CREATABLE))->complete =
        rng_random_complete;
}

static const Field rng_random_properties[] = {
    PROP_STRING("filename", RngRandom, filename, "/dev/urandom", .help = "file to read from"), {}
};
static const TypeInfo rng_random_info = {
    .name = TYPE_RNG_RANDOM,
    .parent = TYPE_RNG_BACKEND,
    .help = "random bytes from a file",
    .instance_size = sizeof(RngRandom),
    .properties = rng_random_properties,
    .class_init = rng_random_class_init,
    .instance_init = rng_random_init,
    .instance_finalize = rng_random_finalize,
};
OBJECT_TYPE(rng_random, rng_random_info)

/* --- rng-builtin: the host kernel's generator --- */

typedef struct RngBuiltin {
    RngBackend parent;
    BottomHalf *bh;
} RngBuiltin;

static void rng_builtin_run(void *opaque)
{
    RngBuiltin *r = opaque;
    uint8_t buf[CHUNK];
    /* Only what waits now: a receiver may ask again at once. */
    unsigned n = 0;
    for (RngRequest *q = r->parent.first; q; q = q->next) {
        n++;
    }
    while (n-- && r->parent.first) {
        size_t len = MIN_OF(r->parent.first->len, sizeof(buf));
        ssize_t got = getrandom(buf, len, GRND_NONBLOCK);
        if (got <= 0) {
            break; /* the host is only just starting: the next request tries again */
        }
        rng_backend_serve(&r->parent, buf, got);
    }
}

static void rng_builtin_start(RngBackend *b)
{
    bh_schedule(((RngBuiltin *)b)->bh);
}

static void rng_builtin_init(Object *obj)
{
    RngBuiltin *r = (RngBuiltin *)obj;
    r->bh = bh_new(event_loop_main(), rng_builtin_run, r);
}

static void rng_builtin_finalize(Object *obj)
{
    bh_free(((RngBuiltin *)obj)->bh);
}

static void rng_builtin_class_init(ObjectClass *klass, const void *data)
{
    ((RngBackendClass *)klass)->start = rng_builtin_start;
}

static const TypeInfo rng_builtin_info = {
    .name = TYPE_RNG_BUILTIN,
    .parent = TYPE_RNG_BACKEND,
    .help = "random bytes from the host's kernel",
    .instance_size = sizeof(RngBuiltin),
    .class_init = rng_builtin_class_init,
    .instance_init = rng_builtin_init,
    .instance_finalize = rng_builtin_finalize,
};
OBJECT_TYPE(rng_builtin, rng_builtin_info)
