/*
 * vhost-user-device: a virtio device of any kind, described on the command line: for back ends that
 * nothing here knows. The driver gets every device feature that the back end offers.
 */
#include "devices/virtio/vhost-user/base.h"

/* 4.1.2.1: device ids of modern PCI devices end here. */
#define ID_MAX 63

typedef struct VhostUserGeneric {
    VhostUserBase parent;
    uint16_t virtio_id, num_vqs;
    uint32_t vq_size, config_size;
} VhostUserGeneric;

static bool generic_make_shape(VhostUserBase *b, VhostUserShape *s, Error **errp)
{
    VhostUserGeneric *g = (VhostUserGeneric *)b;
    if (!g->virtio_id || g->virtio_id > ID_MAX) {
        error_set(errp, "virtio-id must be between 1 and %d, got %u", ID_MAX, g->virtio_id);
        return false;
    }
    if (!g->num_vqs || g->num_vqs > VIRTIO_QUEUE_MAX) {
        error_set(errp, "num_vqs must be between 1 and %d, got %u", VIRTIO_QUEUE_MAX, g->num_vqs);
        return false;
    }
    if (g->config_size > VHOST_USER_CONFIG_MAX) {
        error_set(errp, "config_size must be at most %d, got %u", VHOST_USER_CONFIG_MAX,
                  g->config_size);
        return false;
    }
    s->virtio_id = g->virtio_id;
    s->queues = g->num_vqs;
    s->queue_size = g->vq_size;
    s->config_size = s->backend_config = g->config_size;
    return vhost_user_check_queue_size("vq_size", g->vq_size, errp);
}

static void generic_set_config(VhostUserBase *b, const uint8_t *before, const uint8_t *config)
{
    unsigned first = 0, end = b->shape.config_size;
    while (first < end && before[first] == config[first]) {
        first++;
    }
    while (end > first && before[end - 1] == config[end - 1]) {
        end--;
    }
    if (first < end) {
        vhost_user_set_config(b->vu, first, config + first, end - first, NULL, NULL);
    }
}

static const VmState generic_vmstate = VHOST_USER_VMSTATE("vhost-user-device");

static const Field generic_properties[] = {
    PROP_UINT16("virtio-id", VhostUserGeneric, virtio_id, 0, .help = "kind of device"),
    PROP_UINT16("num_vqs", VhostUserGeneric, num_vqs, 1, .help = "queues"),
    PROP_UINT32("vq_size", VhostUserGeneric, vq_size, 64,
                .help = "entries of each; a power of two"),
    PROP_UINT32("config_size", VhostUserGeneric, config_size, 0,
                .help = "bytes of configuration, which the back end gives"),
    {}
};

static const VhostUserModel generic_model = {
    .type = "vhost-user-device",
    .instance_size = sizeof(VhostUserGeneric),
    .properties = generic_properties,
    .vmstate = &generic_vmstate,
    .pci = { .name = "vhost-user-device",
             .backend_type = "vhost-user-device",
             .help = "virtio device of any kind in another process, over vhost-user",
             .class_id = PCI_CLASS_OTHERS,
             .category = DEVICE_CATEGORY_MISC,
             .vectors = VIRTIO_PCI_VECTORS_AUTO,
             .single = true },
    /* 2.2: bits 0 to 23 and from 50 are device types'. */
    .shape = { .features = (BIT64(24) - 1) | ~(BIT64(50) - 1),
               .needed = BIT64(VIRTIO_F_VERSION_1) },
    .protocol_features = BIT64(VHOST_USER_PF_INFLIGHT_SHMFD),
    .make_shape = generic_make_shape,
    .set_config = generic_set_config,
};
VHOST_USER_MODEL(vhost_user_generic, generic_model)
