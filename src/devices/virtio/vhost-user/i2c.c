/* vhost-user-i2c: an I2C adapter in another process (VIRTIO 1.3 section 5.21). */
#include "devices/virtio/vhost-user/base.h"

/* 5.21.3: without it no driver works. */
enum { VIRTIO_I2C_F_ZERO_LENGTH_REQUEST = 0 };

static const VmState i2c_vmstate = VHOST_USER_VMSTATE("vhost-user-i2c");

static const VhostUserModel i2c_model = {
    .type = "vhost-user-i2c-device",
    .vmstate = &i2c_vmstate,
    .pci = { .name = "vhost-user-i2c",
             .backend_type = "vhost-user-i2c-device",
             .help = "I2C adapter in another process, over vhost-user",
             .virtio_id = VIRTIO_ID_I2C,
             .class_id = PCI_CLASS_COMMUNICATION_OTHER,
             .category = DEVICE_CATEGORY_INPUT,
             .vectors = VIRTIO_PCI_VECTORS_AUTO,
             .single = true },
    .shape = { .queues = 1,
               .queue_size = 4,
               .features = BIT64(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST),
               .needed = BIT64(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST) | BIT64(VIRTIO_F_VERSION_1),
               .assumed = BIT64(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST) },
};
VHOST_USER_MODEL(vhost_user_i2c, i2c_model)
