/* vhost-user-gpio: GPIO lines in another process (VIRTIO 1.3 section 5.18). */
#include "devices/virtio/vhost-user/base.h"

enum { VIRTIO_GPIO_F_IRQ = 0 }; /* 5.18.3 */
enum { GPIO_CONFIG_SIZE = 8 };  /* 5.18.4: lines, padding, bytes of their names */

static const VmState gpio_vmstate = VHOST_USER_VMSTATE("vhost-user-gpio");

/* Requests, and events where lines interrupt. */
static const VhostUserModel gpio_model = {
    .type = "vhost-user-gpio-device",
    .vmstate = &gpio_vmstate,
    .pci = { .name = "vhost-user-gpio",
             .backend_type = "vhost-user-gpio-device",
             .help = "GPIO lines in another process, over vhost-user",
             .virtio_id = VIRTIO_ID_GPIO,
             .class_id = PCI_CLASS_COMMUNICATION_OTHER,
             .category = DEVICE_CATEGORY_INPUT,
             .vectors = VIRTIO_PCI_VECTORS_AUTO,
             .single = true },
    .shape = { .queues = 2,
               .least_queues = 1,
               .queue_size = 256,
               .config_size = GPIO_CONFIG_SIZE,
               .backend_config = GPIO_CONFIG_SIZE,
               .features = BIT64(VIRTIO_GPIO_F_IRQ),
               .needed = BIT64(VIRTIO_F_VERSION_1) },
};
VHOST_USER_MODEL(vhost_user_gpio, gpio_model)
