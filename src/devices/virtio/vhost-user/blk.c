/*
 * vhost-user-blk: a disk that another process serves (VIRTIO 1.3 section 5.2).
 *
 * Capacity, block size and limits are the back end's; they may change while the guest runs. The
 * write cache is switched by the driver and told to each new back end.
 */
#include "cpu/cpu.h"
#include "devices/virtio/block/blk-spec.h"
#include "devices/virtio/vhost-user/base.h"

#define QUEUE_SIZE 128

/* Up to and with the fields of write zeroes: back ends refuse to be asked for more than they know,
 * and newer fields come with features that are not offered here. */
#define CONFIG_SIZE (BLK_CONFIG_ZEROES_UNMAP + 4)

typedef struct VhostUserBlk {
    VhostUserBase parent;
    uint16_t num_queues;
    uint32_t queue_size;
    int32_t bootindex; /* -1: none */
    bool wce_chosen;   /* by the driver */
    uint8_t wce;
} VhostUserBlk;

static bool blk_make_shape(VhostUserBase *b, VhostUserShape *s, Error **errp)
{
    VhostUserBlk *blk = (VhostUserBlk *)b;
    if (!blk->num_queues) {
        error_set(errp, "num-queues must be at least 1");
        return false;
    }
    if (blk->queue_size < 4) { /* a request is a header, data and a status */
        error_set(errp, "queue-size must be at least 4, got %u", blk->queue_size);
        return false;
    }
    if (blk->num_queues == VHOST_USER_QUEUES_AUTO) {
        s->queues = MAX_OF(1, MIN_OF(cpu_count(), VIRTIO_QUEUE_MAX));
        s->least_queues = 1;
    } else {
        s->queues = blk->num_queues;
    }
    s->queue_size = blk->queue_size;
    s->features |= s->queues > 1 ? BIT64(VIRTIO_BLK_F_MQ) : 0;
    return vhost_user_check_queue_size("queue-size", blk->queue_size, errp);
}

static void blk_get_config(VhostUserBase *b, uint8_t *config)
{
    unsigned offered = ld16_le(config + BLK_CONFIG_QUEUES);
    st16_le(config + BLK_CONFIG_QUEUES, MAX_OF(1, MIN_OF(offered, vhost_user_base_queues(b))));
}

static void blk_send_wce(VhostUserBlk *blk)
{
    /* A back end that can't switch says so, or ends the connection; there is nothing to add. */
    vhost_user_set_config(blk->parent.vu, BLK_CONFIG_WRITEBACK, &blk->wce, 1, NULL, NULL);
}

/* 5.2.6.2: the one field that drivers write. */
static void blk_set_config(VhostUserBase *b, const uint8_t *before, const uint8_t *config)
{
    VhostUserBlk *blk = (VhostUserBlk *)b;
    uint8_t wce = config[BLK_CONFIG_WRITEBACK];
    if (wce == before[BLK_CONFIG_WRITEBACK] ||
        !virtio_has_feature(&b->parent, VIRTIO_BLK_F_CONFIG_WCE)) {
        return;
    }
    blk->wce_chosen = true;
    blk->wce = wce & 1;
    blk_send_wce(blk);
}

static void blk_connected(VhostUserBase *b, bool again)
{
    VhostUserBlk *blk = (VhostUserBlk *)b;
    if (blk->wce_chosen && vhost_user_config(b->vu)[BLK_CONFIG_WRITEBACK] != blk->wce) {
        blk_send_wce(blk);
    }
}

static void blk_reset(VhostUserBase *b)
{
    ((VhostUserBlk *)b)->wce_chosen = false;
}

static const VmStateField blk_fields[] = { VMSTATE_STRUCT(parent, VhostUserBlk,
                                                          vhost_user_base_vmstate),
                                           VMSTATE_BOOL(wce_chosen, VhostUserBlk),
                                           VMSTATE_UINT8(wce, VhostUserBlk),
                                           {} };
static const VmState blk_vmstate = {
    .name = "vhost-user-blk",
    .version = 1,
    .minimum_version = 1,
    .fields = blk_fields,
};

#define BLK_BIT(name, bit, text) \
    PROP_BIT(name, VhostUserBlk, parent.parent.host_features, bit, true, .help = text)

static const Field blk_properties[] = {
    PROP_UINT16("num-queues", VhostUserBlk, num_queues, VHOST_USER_QUEUES_AUTO,
                .help = "request queues; one for each CPU, as far as the back end has them"),
    PROP_UINT32("queue-size", VhostUserBlk, queue_size, QUEUE_SIZE,
                .help = "entries; a power of two"),
    PROP_INT32("bootindex", VhostUserBlk, bootindex, -1, PROP_RANGE(-1, INT32_MAX),
               .help = "place in the boot order; -1: none"),
    BLK_BIT("config-wce", VIRTIO_BLK_F_CONFIG_WCE, "let the driver switch the write cache"),
    BLK_BIT("discard", VIRTIO_BLK_F_DISCARD, "offer discards"),
    BLK_BIT("write-zeroes", VIRTIO_BLK_F_WRITE_ZEROES, "offer writing zeros without data"),
    {}
};

/* Requests complete out of order, so only the in-flight area tells a new back end what is left. */
static const VhostUserModel blk_model = {
    .type = "vhost-user-blk",
    .instance_size = sizeof(VhostUserBlk),
    .properties = blk_properties,
    .vmstate = &blk_vmstate,
    .pci = { .name = "vhost-user-blk",
             .backend_type = "vhost-user-blk",
             .help = "disk served by another process over vhost-user",
             .virtio_id = VIRTIO_ID_BLOCK,
             .legacy_device_id = 0x1001,
             .class_id = PCI_CLASS_STORAGE_SCSI,
             .category = DEVICE_CATEGORY_STORAGE,
             .vectors = VIRTIO_PCI_VECTORS_AUTO },
    .shape = { .config_size = CONFIG_SIZE,
               .backend_config = CONFIG_SIZE,
               .features = BIT64(VIRTIO_BLK_F_SIZE_MAX) | BIT64(VIRTIO_BLK_F_SEG_MAX) |
                           BIT64(VIRTIO_BLK_F_GEOMETRY) | BIT64(VIRTIO_BLK_F_RO) |
                           BIT64(VIRTIO_BLK_F_BLK_SIZE) | BIT64(VIRTIO_BLK_F_FLUSH) |
                           BIT64(VIRTIO_BLK_F_TOPOLOGY),
               /* A driver that isn't told of flushes would not ask for them. */
               .assumed = BIT64(VIRTIO_BLK_F_FLUSH) },
    .protocol_features = BIT64(VHOST_USER_PF_INFLIGHT_SHMFD),
    .make_shape = blk_make_shape,
    .get_config = blk_get_config,
    .set_config = blk_set_config,
    .connected = blk_connected,
    .reset = blk_reset,
};
VHOST_USER_MODEL(vhost_user_blk, blk_model)
