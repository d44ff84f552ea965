/*
 * What a transport (PCI, MMIO) does with a virtio device: it owns a virtio bus on which the device
 * sits, turns the driver's register accesses into the calls below, and carries interrupts back.
 * Machine lock held throughout, except for notify_fd paths that say otherwise.
 */
#ifndef DEVICES_VIRTIO_TRANSPORT_H
#define DEVICES_VIRTIO_TRANSPORT_H

#include "devices/virtio/virtio.h"

struct VirtioBus {
    Bus parent;
};

typedef struct VirtioBusClass {
    BusClass parent;
    /* The device is realized: host_features are final after this; map registers. */
    bool (*device_plugged)(Device *proxy, VirtioDevice *vdev, Error **errp);
    void (*device_unplugged)(Device *proxy, VirtioDevice *vdev);
    /* Features the transport adds to the user's wish before the device has its say. */
    uint64_t (*offered_features)(Device *proxy, uint64_t wanted);
    /* Interrupt: vdev->isr is up to date; vector may be VIRTIO_NO_VECTOR. */
    void (*notify)(Device *proxy, uint16_t vector);
    AddressSpace *(*dma_space)(Device *proxy);
    bool (*ioeventfd_enabled)(Device *proxy);
    /* Let a write to the queue's doorbell ring the notifier, or no longer. */
    void (*ioeventfd_assign)(Device *proxy, Virtqueue *vq, EventNotifier *e, bool assign);
    /* Deliver the interrupts of the first n queues (and of the configuration) from their guest
     * notifiers. */
    bool (*set_guest_notifiers)(Device *proxy, unsigned n, bool assign, Error **errp);
    /* The device went back to its beginning by the driver's hand. */
    void (*device_reset)(Device *proxy);
    /* State was loaded: queues name vectors again. */
    void (*device_loaded)(Device *proxy, VirtioDevice *vdev);
    /* Optional: len bytes of host memory instead of the queue's doorbell; NULL: the doorbell again.
     */
    bool (*set_doorbell)(Device *proxy, unsigned index, void *host, uint64_t len, Error **errp);
    unsigned (*vector_count)(Device *proxy); /* message vectors there are; 0: a line */
} VirtioBusClass;

static inline UNUSED VirtioBus *virtio_bus_cast(void *obj)
{
    return (VirtioBus *)object_cast((Object *)obj, TYPE_VIRTIO_BUS);
}
OBJECT_DECLARE_CLASS(VirtioBusClass, virtio_bus, TYPE_VIRTIO_BUS)

/* The transport of a plugged device. */
Device *virtio_proxy(const VirtioDevice *vdev);
VirtioBusClass *virtio_transport(const VirtioDevice *vdev);
/* The device on a bus; NULL while it is empty. */
VirtioDevice *virtio_bus_device(const VirtioBus *bus);

/* --- Registers --- */

/* Status write: FEATURES_OK may not stick, 0 resets. */
void virtio_set_status(VirtioDevice *vdev, uint8_t status);
/* Not 0 before a reset is over: while a back end still has the queues, the driver must not take
 * their memory. */
uint8_t virtio_status(VirtioDevice *vdev);
/* For drivers that don't look (legacy): this thread's vCPU runs on once the reset is over. */
void virtio_hold_until_reset(VirtioDevice *vdev);
void virtio_reset(VirtioDevice *vdev);
/* False: refused (bits that weren't offered, or too late). */
bool virtio_set_features(VirtioDevice *vdev, uint64_t features);
/* Device configuration; sizes 1, 2, 4 (8 reads as ones). Reads past the end give all ones. */
uint32_t virtio_config_read(VirtioDevice *vdev, uint64_t offset, unsigned size);
void virtio_config_write(VirtioDevice *vdev, uint64_t offset, uint32_t value, unsigned size);
/* Read and clear. */
uint8_t virtio_take_isr(VirtioDevice *vdev);

/* --- Queue registers; index has been checked --- */

unsigned virtio_queue_max_size(const VirtioDevice *vdev, unsigned index);
unsigned virtio_queue_size(const VirtioDevice *vdev, unsigned index);
/* Refuses sizes that are too big or not a power of two (split), with a guest error. */
void virtio_queue_set_size(VirtioDevice *vdev, unsigned index, unsigned size);
/* Addresses of the three areas. Takes effect with enable. */
void virtio_queue_set_rings(VirtioDevice *vdev, unsigned index, hwaddr desc, hwaddr driver,
                            hwaddr device);
/* Legacy: one page-aligned address gives all three and enables; 0 disables. */
void virtio_queue_set_legacy_address(VirtioDevice *vdev, unsigned index, hwaddr addr);
hwaddr virtio_queue_desc_address(const VirtioDevice *vdev, unsigned index);
void virtio_queue_set_vector(VirtioDevice *vdev, unsigned index, uint16_t vector);
uint16_t virtio_queue_vector(const VirtioDevice *vdev, unsigned index);
void virtio_queue_enable(VirtioDevice *vdev, unsigned index);
bool virtio_queue_is_enabled(const VirtioDevice *vdev, unsigned index);
/* 2.6.1 */
void virtio_queue_reset(VirtioDevice *vdev, unsigned index);
/* The driver's doorbell. data: the 32 bits of VIRTIO_F_NOTIFICATION_DATA, or the queue index. */
void virtio_queue_kick(VirtioDevice *vdev, unsigned index, uint32_t data);

/* --- Notifiers --- */

/* Kicks through eventfds, where the transport wants it; without it kicks are handled in the access
 * itself. */
void virtio_start_ioeventfd(VirtioDevice *vdev);
void virtio_stop_ioeventfd(VirtioDevice *vdev);
/* The same whatever the user chose (vhost needs them), until unforce. */
MUST_CHECK bool virtio_force_ioeventfd(VirtioDevice *vdev, Error **errp);
void virtio_unforce_ioeventfd(VirtioDevice *vdev);
EventNotifier *virtio_queue_host_notifier(VirtioDevice *vdev, unsigned index);
EventNotifier *virtio_queue_guest_notifier(VirtioDevice *vdev, unsigned index);
Virtqueue *virtqueue_of_guest_notifier(EventNotifier *n);
/* Make or free the guest notifiers of queues 0 … n - 1 and of the configuration, and let interrupts
 * go through them (the transport watches them). */
MUST_CHECK bool virtio_guest_notifiers_init(VirtioDevice *vdev, unsigned n, Error **errp);
void virtio_guest_notifiers_finish(VirtioDevice *vdev, unsigned n);
/* Raise isr and the interrupt, whatever the driver's suppression says (a guest notifier rang). */
void virtio_queue_interrupt(VirtioDevice *vdev, unsigned index);
void virtio_config_interrupt(VirtioDevice *vdev);

#endif
