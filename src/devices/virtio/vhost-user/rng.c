/* vhost-user-rng: entropy from another process (VIRTIO 1.3 section 5.4). */
#include "devices/virtio/vhost-user/base.h"

static const VmState rng_vmstate = VHOST_USER_VMSTATE("vhost-user-rng");

static const VhostUserModel rng_model = {
    .type = "vhost-user-rng",
    .vmstate = &rng_vmstate,
    .pci = { .name = "vhost-user-rng",
             .backend_type = "vhost-user-rng",
             .help = "entropy source in another process, over vhost-user",
             .virtio_id = VIRTIO_ID_RNG,
             .class_id = PCI_CLASS_OTHERS,
             .category = DEVICE_CATEGORY_MISC,
             .vectors = VIRTIO_PCI_VECTORS_AUTO,
             .single = true },
    .shape = { .queues = 1, .queue_size = 4, .needed = BIT64(VIRTIO_F_VERSION_1) },
};
VHOST_USER_MODEL(vhost_user_rng, rng_model)
