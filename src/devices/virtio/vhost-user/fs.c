/*
 * vhost-user-fs: a host folder through virtiofs (VIRTIO 1.3 section 5.11). The requests are FUSE
 * messages between the guest's kernel and the back end; here are the tag and the queues.
 */
#include <string.h>

#include "devices/virtio/vhost-user/base.h"

/* 5.11.2 and 5.11.4 */
enum {
    FS_HIPRIO_QUEUES = 1,
    FS_TAG_SIZE = 36, /* UTF-8, padded with zeros */
    FS_CONFIG_REQUEST_QUEUES = 36,
    FS_CONFIG_SIZE = 40,
    FS_QUEUE_SIZE = 128,
};

typedef struct VhostUserFs {
    VhostUserBase parent;
    char *tag;
    uint16_t num_request_queues;
    uint16_t queue_size;
    uint64_t cache_size;
    int32_t bootindex; /* -1: none */
} VhostUserFs;

static bool fs_make_shape(VhostUserBase *b, VhostUserShape *s, Error **errp)
{
    VhostUserFs *fs = (VhostUserFs *)b;
    if (!fs->tag || !fs->tag[0]) {
        error_set(errp, "property 'tag' is needed: the name that the guest mounts");
        return false;
    }
    if (strlen(fs->tag) > FS_TAG_SIZE) {
        error_set(errp, "tag '%s' is longer than %d bytes", fs->tag, FS_TAG_SIZE);
        return false;
    }
    if (!fs->num_request_queues || fs->num_request_queues > VIRTIO_QUEUE_MAX - FS_HIPRIO_QUEUES) {
        error_set(errp, "num-request-queues must be between 1 and %d, got %u",
                  VIRTIO_QUEUE_MAX - FS_HIPRIO_QUEUES, fs->num_request_queues);
        return false;
    }
    if (fs->cache_size) {
        error_set(errp, "cache-size: there is no DAX window in the guest's memory; leave it out");
        return false;
    }
    s->queues = FS_HIPRIO_QUEUES + fs->num_request_queues;
    s->queue_size = fs->queue_size;
    return vhost_user_check_queue_size("queue-size", fs->queue_size, errp);
}

static void fs_get_config(VhostUserBase *b, uint8_t *config)
{
    VhostUserFs *fs = (VhostUserFs *)b;
    memcpy(config, fs->tag, strlen(fs->tag));
    st32_le(config + FS_CONFIG_REQUEST_QUEUES, fs->num_request_queues);
}

static const VmState fs_vmstate = VHOST_USER_VMSTATE("vhost-user-fs");

static const Field fs_properties[] = {
    PROP_STRING("tag", VhostUserFs, tag, NULL, .help = "name that the guest mounts"),
    PROP_UINT16("num-request-queues", VhostUserFs, num_request_queues, 1,
                .help = "queues beside the one for urgent requests"),
    PROP_UINT16("queue-size", VhostUserFs, queue_size, FS_QUEUE_SIZE,
                .help = "entries; a power of two"),
    PROP_INT32("bootindex", VhostUserFs, bootindex, -1, PROP_RANGE(-1, INT32_MAX),
               .help = "place in the boot order; -1: none"),
    PROP_SIZE("cache-size", VhostUserFs, cache_size, 0,
              .help = "size of a window for direct access; only 0, there is none"),
    {}
};

static const VhostUserModel fs_model = {
    .type = "vhost-user-fs-device",
    .instance_size = sizeof(VhostUserFs),
    .properties = fs_properties,
    .vmstate = &fs_vmstate,
    .pci = { .name = "vhost-user-fs",
             .backend_type = "vhost-user-fs-device",
             .help = "host folder served by another process over vhost-user (virtiofs)",
             .virtio_id = VIRTIO_ID_FS,
             .class_id = PCI_CLASS_STORAGE_OTHER,
             .category = DEVICE_CATEGORY_STORAGE,
             .vectors = VIRTIO_PCI_VECTORS_AUTO,
             .single = true },
    .shape = { .config_size = FS_CONFIG_SIZE, .needed = BIT64(VIRTIO_F_VERSION_1) },
    .protocol_features = BIT64(VHOST_USER_PF_INFLIGHT_SHMFD),
    .make_shape = fs_make_shape,
    .get_config = fs_get_config,
};
VHOST_USER_MODEL(vhost_user_fs, fs_model)
