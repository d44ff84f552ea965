#include "vhost/kernel/vsock.h"

#include <linux/vhost.h>

bool vhost_vsock_set_cid(VhostKernel *k, uint64_t cid, Error **errp)
{
    return vhost_kernel_call(k, 0, VHOST_VSOCK_SET_GUEST_CID, &cid, "VHOST_VSOCK_SET_GUEST_CID",
                             errp);
}

bool vhost_vsock_set_running(VhostKernel *k, unsigned unit, bool on, Error **errp)
{
    int value = on;
    return vhost_kernel_call(k, unit, VHOST_VSOCK_SET_RUNNING, &value, "VHOST_VSOCK_SET_RUNNING",
                             errp);
}
