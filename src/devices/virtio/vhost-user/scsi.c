/*
 * vhost-user-scsi: a SCSI host adapter whose targets another process serves (VIRTIO 1.3 section
 * 5.6).
 */
#include "cpu/cpu.h"
#include "devices/virtio/vhost-user/base.h"

/* 5.6.2: control and event queue come before the request queues. */
enum { SCSI_FIXED_QUEUES = 2 };

/* 5.6.3 */
enum { VIRTIO_SCSI_F_INOUT = 0, VIRTIO_SCSI_F_HOTPLUG, VIRTIO_SCSI_F_CHANGE, VIRTIO_SCSI_F_T10_PI };

/* 5.6.4: offsets, and the values that say nothing about one target */
enum {
    SCSI_CONFIG_NUM_QUEUES = 0,
    SCSI_CONFIG_SEG_MAX = 4,
    SCSI_CONFIG_MAX_SECTORS = 8,
    SCSI_CONFIG_CMD_PER_LUN = 12,
    SCSI_CONFIG_EVENT_SIZE = 16,
    SCSI_CONFIG_SENSE_SIZE = 20,
    SCSI_CONFIG_CDB_SIZE = 24,
    SCSI_CONFIG_MAX_CHANNEL = 28,
    SCSI_CONFIG_MAX_TARGET = 30,
    SCSI_CONFIG_MAX_LUN = 32,
    SCSI_CONFIG_SIZE = 36,

    SCSI_EVENT_SIZE = 16,
    SCSI_SENSE_SIZE = 96,
    SCSI_CDB_SIZE = 32,
    SCSI_MAX_TARGET = 255,
    SCSI_MAX_LUN = 16383,
};

/* Entries that a request needs beside its data: the request, the response. */
#define SCSI_EXTRA_SEGMENTS 2
#define SCSI_QUEUES_AUTO    UINT32_MAX

typedef struct VhostUserScsi {
    VhostUserBase parent;
    uint32_t boot_tpgt;
    uint32_t num_queues;
    uint32_t queue_size;
    uint32_t max_sectors;
    uint32_t cmd_per_lun;
    int32_t bootindex; /* -1: none */
} VhostUserScsi;

static bool scsi_make_shape(VhostUserBase *b, VhostUserShape *s, Error **errp)
{
    VhostUserScsi *scsi = (VhostUserScsi *)b;
    uint32_t most = VIRTIO_QUEUE_MAX - SCSI_FIXED_QUEUES;
    if (scsi->num_queues == SCSI_QUEUES_AUTO) {
        s->queues = MAX_OF(1, MIN_OF(cpu_count(), most)) + SCSI_FIXED_QUEUES;
        s->least_queues = 1 + SCSI_FIXED_QUEUES;
    } else if (!scsi->num_queues || scsi->num_queues > most) {
        error_set(errp, "num_queues must be between 1 and %u, got %u", most, scsi->num_queues);
        return false;
    } else {
        s->queues = scsi->num_queues + SCSI_FIXED_QUEUES;
    }
    if (scsi->queue_size <= SCSI_EXTRA_SEGMENTS) {
        error_set(errp, "virtqueue_size must be at least %d, got %u", SCSI_EXTRA_SEGMENTS + 1,
                  scsi->queue_size);
        return false;
    }
    if (scsi->boot_tpgt) {
        error_set(errp, "boot_tpgt: firmware is not told which target to boot from; leave it out");
        return false;
    }
    s->queue_size = scsi->queue_size;
    return vhost_user_check_queue_size("virtqueue_size", scsi->queue_size, errp);
}

static void scsi_get_config(VhostUserBase *b, uint8_t *config)
{
    VhostUserScsi *scsi = (VhostUserScsi *)b;
    st32_le(config + SCSI_CONFIG_NUM_QUEUES, vhost_user_base_queues(b) - SCSI_FIXED_QUEUES);
    st32_le(config + SCSI_CONFIG_SEG_MAX, scsi->queue_size - SCSI_EXTRA_SEGMENTS);
    st32_le(config + SCSI_CONFIG_MAX_SECTORS, scsi->max_sectors);
    st32_le(config + SCSI_CONFIG_CMD_PER_LUN, scsi->cmd_per_lun);
    st32_le(config + SCSI_CONFIG_EVENT_SIZE, SCSI_EVENT_SIZE);
    st32_le(config + SCSI_CONFIG_SENSE_SIZE, SCSI_SENSE_SIZE);
    st32_le(config + SCSI_CONFIG_CDB_SIZE, SCSI_CDB_SIZE);
    st16_le(config + SCSI_CONFIG_MAX_TARGET, SCSI_MAX_TARGET);
    st32_le(config + SCSI_CONFIG_MAX_LUN, SCSI_MAX_LUN);
}

static const VmState scsi_vmstate = VHOST_USER_VMSTATE("vhost-user-scsi");

#define SCSI_BIT(name, bit, def, text) \
    PROP_BIT(name, VhostUserScsi, parent.parent.host_features, bit, def, .help = text)

static const Field scsi_properties[] = {
    PROP_UINT32("boot_tpgt", VhostUserScsi, boot_tpgt, 0,
                .help = "target portal group to boot from; only 0"),
    PROP_UINT32("num_queues", VhostUserScsi, num_queues, SCSI_QUEUES_AUTO,
                .help = "request queues; one for each CPU, as far as the back end has them"),
    PROP_UINT32("virtqueue_size", VhostUserScsi, queue_size, 128,
                .help = "entries; a power of two"),
    PROP_UINT32("max_sectors", VhostUserScsi, max_sectors, 0xffff,
                .help = "largest transfer, in sectors of 512 bytes"),
    PROP_UINT32("cmd_per_lun", VhostUserScsi, cmd_per_lun, 128,
                .help = "commands that a unit takes at a time"),
    PROP_INT32("bootindex", VhostUserScsi, bootindex, -1, PROP_RANGE(-1, INT32_MAX),
               .help = "place in the boot order; -1: none"),
    SCSI_BIT("hotplug", VIRTIO_SCSI_F_HOTPLUG, true, "targets may come and go"),
    SCSI_BIT("param_change", VIRTIO_SCSI_F_CHANGE, true, "units may change"),
    SCSI_BIT("t10_pi", VIRTIO_SCSI_F_T10_PI, false, "offer protection information"),
    {}
};

static const VhostUserModel scsi_model = {
    .type = "vhost-user-scsi",
    .instance_size = sizeof(VhostUserScsi),
    .properties = scsi_properties,
    .vmstate = &scsi_vmstate,
    .pci = { .name = "vhost-user-scsi",
             .backend_type = "vhost-user-scsi",
             .help = "SCSI host adapter served by another process over vhost-user",
             .virtio_id = VIRTIO_ID_SCSI,
             .legacy_device_id = 0x1004,
             .class_id = PCI_CLASS_STORAGE_SCSI,
             .category = DEVICE_CATEGORY_STORAGE,
             .vectors = VIRTIO_PCI_VECTORS_AUTO },
    .shape = { .config_size = SCSI_CONFIG_SIZE, .features = BIT64(VIRTIO_SCSI_F_INOUT) },
    .protocol_features = BIT64(VHOST_USER_PF_INFLIGHT_SHMFD),
    .make_shape = scsi_make_shape,
    .get_config = scsi_get_config,
};
VHOST_USER_MODEL(vhost_user_scsi, scsi_model)
