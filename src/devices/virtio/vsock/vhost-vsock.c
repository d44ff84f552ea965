/*
 * vhost-vsock: sockets between guest and host, carried by the host's kernel (VIRTIO 1.3 section
 * 5.10, /dev/vhost-vsock). The kernel works receive and transmit queue; the event queue is worked
 * here.
 */
#include "base/fd.h"
#include "base/fdset.h"
#include "devices/virtio/transport/virtio-pci.h"
#include "devices/virtio/virtio-vhost.h"
#include "devices/virtio/vsock/vsock-spec.h"
#include "vhost/kernel/vsock.h"
#include "vhost/vhost.h"

#define TYPE_VHOST_VSOCK "vhost-vsock-device"

typedef struct VhostVsock {
    VirtioDevice parent;

    /* properties */
    uint64_t guest_cid;
    char *vhostfd;
    OnOffAuto seqpacket;

    VhostKernel *kernel;
    VhostDevice *dev;
    bool connections_lost; /* state only: the driver is told after a load */
} VhostVsock;

static VhostVsock *vhost_vsock_cast(void *obj)
{
    return (VhostVsock *)object_cast((Object *)obj, TYPE_VHOST_VSOCK);
}

/* --- the kernel's side --- */

static const VhostDeviceOps vsock_ops = { 0 };

/* --- the driver's side --- */

static uint64_t vsock_get_features(VirtioDevice *vdev, uint64_t wanted, Error **errp)
{
    VhostVsock *v = vhost_vsock_cast(vdev);
    uint64_t seqpacket = BIT64(VIRTIO_VSOCK_F_SEQPACKET);
    uint64_t has = vhost_device_backend(v->dev)->ops->features(vhost_device_backend(v->dev));
    if (v->seqpacket == ON_OFF_AUTO_ON && !(has & seqpacket)) {
        error_set(errp, "seqpacket=on, but the kernel has no such sockets");
        return 0;
    }
    if (v->seqpacket != ON_OFF_AUTO_OFF) {
        wanted |= seqpacket;
    }
    return wanted & has & ~BIT64(VIRTIO_F_RING_RESET);
}

static void vsock_get_config(VirtioDevice *vdev, uint8_t *config)
{
    st64_le(config, vhost_vsock_cast(vdev)->guest_cid);
}

/* 5.10.6.6: on another host nothing is left of the connections there were. */
static void vsock_tell_loss(VhostVsock *v)
{
    if (v->connections_lost && virtio_is_running(&v->parent)) {
        v->connections_lost = false;
        vsock_send_transport_reset(&v->parent, virtio_queue(&v->parent, VSOCK_EVENT_QUEUE));
    }
}

static void vsock_handle(VirtioDevice *vdev, Virtqueue *vq)
{
    if (virtqueue_index(vq) == VSOCK_EVENT_QUEUE) {
        vsock_tell_loss(vhost_vsock_cast(vdev));
    }
}

static void vsock_set_status(VirtioDevice *vdev, uint8_t status)
{
    VhostVsock *v = vhost_vsock_cast(vdev);
    vhost_device_set_wanted(v->dev, virtio_is_running(vdev));
    vsock_tell_loss(v);
}

static void vsock_reset(VirtioDevice *vdev)
{
    VhostVsock *v = vhost_vsock_cast(vdev);
    v->connections_lost = false;
    vhost_device_reset(v->dev);
}

static void vsock_mask(VirtioDevice *vdev, int queue, bool mask)
{
    if (queue >= 0) {
        vhost_device_mask(vhost_vsock_cast(vdev)->dev, queue, mask);
    }
}

static bool vsock_pending(VirtioDevice *vdev, int queue)
{
    return queue >= 0 && vhost_device_pending(vhost_vsock_cast(vdev)->dev, queue);
}

/* --- life --- */

static bool vsock_check_properties(VhostVsock *v, Error **errp)
{
    if (!v->guest_cid) {
        error_set(errp, "property 'guest-cid' is needed: the guest's context id, %d or more",
                  VSOCK_CID_FIRST);
        return false;
    }
    if (!vsock_cid_is_valid(v->guest_cid)) {
        error_set(errp, "guest-cid must be between %d and 0x%x, got %" G_GUINT64_FORMAT,
                  VSOCK_CID_FIRST, VSOCK_CID_LAST, v->guest_cid);
        return false;
    }
    if (virtio_host_has_feature(&v->parent, VIRTIO_F_ACCESS_PLATFORM)) {
        error_set(errp, "iommu_platform=on is not possible with vhost-vsock");
        return false;
    }
    return true;
}

static bool vsock_connect(VhostVsock *v, Error **errp)
{
    int fd =
        v->vhostfd ? fd_from_text(v->vhostfd, errp) : vhost_kernel_open("/dev/vhost-vsock", errp);
    if (fd < 0) {
        return false;
    }
    g_autofree char *label = device_describe(virtio_proxy(&v->parent));
    const VhostKernelSpec spec = {
        .name = label,
        .fds = &fd,
        .units = 1,
        .rings = VSOCK_EVENT_QUEUE,
        .set_running = vhost_vsock_set_running,
        .opaque = v,
    };
    v->kernel = vhost_kernel_new(&spec, errp);
    if (!v->kernel) {
        return false;
    }
    v->dev = vhost_device_new(vhost_kernel_backend(v->kernel), label, &vsock_ops, v);
    VhostGuest guest = virtio_vhost_guest(&v->parent);
    if (!vhost_vsock_set_cid(v->kernel, v->guest_cid, errp) ||
        !vhost_device_attach(v->dev, &guest, VSOCK_EVENT_QUEUE, address_space_memory(), errp)) {
        vhost_device_free(v->dev);
        v->dev = NULL;
        return false;
    }
    return true;
}

static bool vsock_realize(VirtioDevice *vdev, Error **errp)
{
    VhostVsock *v = vhost_vsock_cast(vdev);
    if (!vsock_check_properties(v, errp)) {
        return false;
    }
    virtio_init(vdev, "vhost-vsock", VIRTIO_ID_VSOCK, VSOCK_CONFIG_SIZE);
    for (unsigned i = 0; i < VSOCK_QUEUES; i++) {
        virtio_add_queue(vdev, VSOCK_QUEUE_SIZE, vsock_handle);
    }
    if (!vsock_connect(v, errp)) {
        virtio_finish(vdev);
        return false;
    }
    return true;
}

static void vsock_unrealize(VirtioDevice *vdev)
{
    VhostVsock *v = vhost_vsock_cast(vdev);
    vhost_device_free(v->dev);
    v->dev = NULL;
    virtio_finish(vdev);
}

/* --- state --- */

static bool vsock_post_load(void *opaque, int version, Error **errp)
{
    ((VhostVsock *)opaque)->connections_lost = true;
    return true;
}

static const VmStateField vsock_fields[] = { VMSTATE_VIRTIO(VhostVsock), {} };
static const VmState vsock_vmstate = {
    .name = "vhost-vsock",
    .version = 1,
    .minimum_version = 1,
    .post_load = vsock_post_load,
    .fields = vsock_fields,
};

/* --- the types --- */

static const Field vsock_properties[] = {
    PROP_UINT64("guest-cid", VhostVsock, guest_cid, 0, .help = "the guest's context id"),
    PROP_STRING("vhostfd", VhostVsock, vhostfd, NULL,
                .help = "an open vhost-vsock descriptor, or a name given with getfd"),
    PROP_ON_OFF_AUTO("seqpacket", VhostVsock, seqpacket, ON_OFF_AUTO_AUTO,
                     .help = "offer sockets that keep message boundaries; on: the kernel must"),
    VIRTIO_COMMON_PROPERTIES(VhostVsock),
    {}
};

static void vsock_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    VirtioDeviceClass *k = virtio_device_class_cast(klass);
    dc->category = DEVICE_CATEGORY_MISC;
    dc->vmstate = &vsock_vmstate;
    k->realize = vsock_realize;
    k->unrealize = vsock_unrealize;
    k->get_features = vsock_get_features;
    k->get_config = vsock_get_config;
    k->set_status = vsock_set_status;
    k->reset = vsock_reset;
    k->guest_notifier_mask = vsock_mask;
    k->guest_notifier_pending = vsock_pending;
}

static const TypeInfo vsock_info = {
    .name = TYPE_VHOST_VSOCK,
    .parent = TYPE_VIRTIO_DEVICE,
    .help = "sockets between guest and host through the host's kernel",
    .instance_size = sizeof(VhostVsock),
    .properties = vsock_properties,
    .class_init = vsock_class_init,
};
OBJECT_TYPE(vhost_vsock, vsock_info)

static const VirtioPciTypes vsock_pci_types = {
    .name = "vhost-vsock",
    .backend_type = TYPE_VHOST_VSOCK,
    .help = "sockets between guest and host through the host's kernel",
    .virtio_id = VIRTIO_ID_VSOCK,
    .class_id = PCI_CLASS_COMMUNICATION_OTHER,
    .category = DEVICE_CATEGORY_MISC,
    .vectors = 3,
};
VIRTIO_PCI_TYPES(vhost_vsock_pci, vsock_pci_types)
