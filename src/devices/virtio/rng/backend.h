/* Sources of random bytes: objects that users make (-object rng-random, rng-builtin). Main loop. */
#ifndef DEVICES_VIRTIO_RNG_BACKEND_H
#define DEVICES_VIRTIO_RNG_BACKEND_H

#include "object/object.h"

#define TYPE_RNG_BACKEND "rng-backend"
#define TYPE_RNG_RANDOM  "rng-random"
#define TYPE_RNG_BUILTIN "rng-builtin"

typedef struct RngRequest RngRequest;
/* len >= 1 random bytes, at most what was asked for. */
typedef void RngReceiveFn(void *opaque, const uint8_t *buf, size_t len);

typedef struct RngBackend {
    Object parent;
    RngRequest *first, **last; /* waiting, owned */
} RngBackend;

typedef struct RngBackendClass {
    ObjectClass parent;
    /* The first request of the queue is there: see to it. */
    void (*start)(RngBackend *b);
} RngBackendClass;

OBJECT_DECLARE_CLASS(RngBackendClass, rng_backend, TYPE_RNG_BACKEND)
static inline UNUSED RngBackend *rng_backend_cast(void *obj)
{
    return (RngBackend *)object_cast((Object *)obj, TYPE_RNG_BACKEND);
}

/* Ask for up to len bytes; fn comes later, from the event loop. */
void rng_backend_request(RngBackend *b, size_t len, RngReceiveFn *fn, void *opaque);
/* Forget requests of this receiver. */
void rng_backend_cancel(RngBackend *b, void *opaque);

#endif
