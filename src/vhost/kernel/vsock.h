/* What /dev/vhost-vsock has beyond rings. */
#ifndef VHOST_KERNEL_VSOCK_H
#define VHOST_KERNEL_VSOCK_H

#include "vhost/kernel/kernel.h"

/* The guest's context id: unique on this host, before it runs. */
MUST_CHECK bool vhost_vsock_set_cid(VhostKernel *k, uint64_t cid, Error **errp);
/* VhostKernelSpec.set_running */
bool vhost_vsock_set_running(VhostKernel *k, unsigned unit, bool on, Error **errp);

#endif
