/*
 * The kernel as a vhost back end: character devices (/dev/vhost-net, /dev/vhost-vsock) that work
 * the rings of this process in a kernel thread (linux/vhost.h).
 *
 * It is there from the start and never goes; every call is an ioctl that returns at once, so done()
 * is called before the functions of VhostBackendOps return. Machine lock held.
 */
#ifndef VHOST_KERNEL_KERNEL_H
#define VHOST_KERNEL_KERNEL_H

#include "vhost/backend.h"

typedef struct VhostKernel VhostKernel;

/* The system calls, for tests; each as ioctl(2), read(2) and write(2). */
typedef struct VhostKernelSys {
    int (*ioctl)(int fd, unsigned long request, void *arg);
    ssize_t (*read)(int fd, void *buf, size_t len);
    ssize_t (*write)(int fd, const void *buf, size_t len);
} VhostKernelSys;

typedef struct VhostKernelSpec {
    const char *name; /* "netdev 'n0'"; copied */
    /* One a unit (a queue pair, or all rings); ownership passes, on failure too. */
    const int *fds;
    unsigned units;
    unsigned rings; /* of a unit */
    /* Virtio features that mean something else to this device of the kernel's. */
    uint64_t hidden_features;
    /* Bits for the kernel alone. */
    uint64_t extra_features;
    unsigned poll_us; /* polls each ring so long before it waits */
    /* Give the unit its work once its rings are set, or take it away: then the kernel touches them
     * no more. */
    bool (*set_running)(VhostKernel *k, unsigned unit, bool on, Error **errp);
    void *opaque;
    const VhostKernelSys *sys; /* NULL: the real ones */
} VhostKernelSpec;

VhostKernel *vhost_kernel_new(const VhostKernelSpec *spec, Error **errp);
VhostBackend *vhost_kernel_backend(VhostKernel *k);
void *vhost_kernel_opaque(VhostKernel *k);
/* One ioctl on a unit's descriptor; what: "VHOST_NET_SET_BACKEND", for the error. */
MUST_CHECK bool vhost_kernel_call(VhostKernel *k, unsigned unit, unsigned long request, void *arg,
                                  const char *what, Error **errp);

/* "/dev/vhost-net": the error says what to do without it. -1 on failure. */
int vhost_kernel_open(const char *device, Error **errp);

#endif
