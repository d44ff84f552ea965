/* A virtio device as vhost sees it. */
#ifndef DEVICES_VIRTIO_VIRTIO_VHOST_H
#define DEVICES_VIRTIO_VIRTIO_VHOST_H

#include "devices/virtio/virtio.h"
#include "vhost/guest.h"

VhostGuest virtio_vhost_guest(VirtioDevice *vdev);

#endif
