/* vhost-user-snd: a sound card in another process (VIRTIO 1.3 section 5.14). */
#include "devices/virtio/vhost-user/base.h"

enum { VIRTIO_SND_F_CTLS = 0 }; /* 5.14.3 */

/* 5.14.2: control, event, transmit, receive. 5.14.4: jacks, streams, channel maps; controls with
 * the feature. */
enum { SND_QUEUES = 4, SND_CONFIG_SIZE = 12, SND_CONFIG_SIZE_CONTROLS = 16 };

typedef struct VhostUserSnd {
    VhostUserBase parent;
    bool controls;
} VhostUserSnd;

static bool snd_make_shape(VhostUserBase *b, VhostUserShape *s, Error **errp)
{
    if (((VhostUserSnd *)b)->controls) {
        s->features |= BIT64(VIRTIO_SND_F_CTLS);
        s->needed |= BIT64(VIRTIO_SND_F_CTLS);
        s->config_size = s->backend_config = SND_CONFIG_SIZE_CONTROLS;
    }
    return true;
}

static const VmState snd_vmstate = VHOST_USER_VMSTATE("vhost-user-snd");

static const Field snd_properties[] = { PROP_BOOL("controls", VhostUserSnd, controls, false,
                                                  .help = "the back end has control elements"),
                                        {} };

static const VhostUserModel snd_model = {
    .type = "vhost-user-snd",
    .instance_size = sizeof(VhostUserSnd),
    .properties = snd_properties,
    .vmstate = &snd_vmstate,
    .pci = { .name = "vhost-user-snd",
             .backend_type = "vhost-user-snd",
             .help = "sound card in another process, over vhost-user",
             .virtio_id = VIRTIO_ID_SOUND,
             .class_id = PCI_CLASS_MULTIMEDIA_AUDIO,
             .category = DEVICE_CATEGORY_SOUND,
             .vectors = VIRTIO_PCI_VECTORS_AUTO,
             .single = true },
    .shape = { .queues = SND_QUEUES,
               .queue_size = 64,
               .config_size = SND_CONFIG_SIZE,
               .backend_config = SND_CONFIG_SIZE,
               .needed = BIT64(VIRTIO_F_VERSION_1) },
    .make_shape = snd_make_shape,
};
VHOST_USER_MODEL(vhost_user_snd, snd_model)
