#include "vhost/features.h"

#include <glib.h>
#include <stdio.h>

#include "base/compiler.h"

typedef struct FeatureName {
    uint16_t virtio_id; /* 0: of every device */
    uint8_t bit;
    const char *name;
} FeatureName;

static const FeatureName feature_names[] = {
    /* 6: reserved feature bits, and those of the legacy interface and of vhost */
    { 0, 24, "NOTIFY_ON_EMPTY" },
    { 0, 26, "LOG_ALL" },
    { 0, 27, "ANY_LAYOUT" },
    { 0, 28, "INDIRECT_DESC" },
    { 0, 29, "EVENT_IDX" },
    { 0, 30, "PROTOCOL_FEATURES" },
    { 0, 32, "VERSION_1" },
    { 0, 33, "ACCESS_PLATFORM" },
    { 0, 34, "RING_PACKED" },
    { 0, 35, "IN_ORDER" },
    { 0, 36, "ORDER_PLATFORM" },
    { 0, 37, "SR_IOV" },
    { 0, 38, "NOTIFICATION_DATA" },
    { 0, 39, "NOTIF_CONFIG_DATA" },
    { 0, 40, "RING_RESET" },
    { 0, 41, "ADMIN_VQ" },
    /* 5.1.3: network device */
    { 1, 0, "CSUM" },
    { 1, 1, "GUEST_CSUM" },
    { 1, 2, "CTRL_GUEST_OFFLOADS" },
    { 1, 3, "MTU" },
    { 1, 5, "MAC" },
    { 1, 6, "GSO" },
    { 1, 7, "GUEST_TSO4" },
    { 1, 8, "GUEST_TSO6" },
    { 1, 9, "GUEST_ECN" },
    { 1, 10, "GUEST_UFO" },
    { 1, 11, "HOST_TSO4" },
    { 1, 12, "HOST_TSO6" },
    { 1, 13, "HOST_ECN" },
    { 1, 14, "HOST_UFO" },
    { 1, 15, "MRG_RXBUF" },
    { 1, 16, "STATUS" },
    { 1, 17, "CTRL_VQ" },
    { 1, 18, "CTRL_RX" },
    { 1, 19, "CTRL_VLAN" },
    { 1, 20, "CTRL_RX_EXTRA" },
    { 1, 21, "GUEST_ANNOUNCE" },
    { 1, 22, "MQ" },
    { 1, 23, "CTRL_MAC_ADDR" },
    { 1, 52, "DEVICE_STATS" },
    { 1, 53, "NOTF_COAL" },
    { 1, 54, "GUEST_USO4" },
    { 1, 55, "GUEST_USO6" },
    { 1, 56, "HOST_USO" },
    { 1, 57, "HASH_REPORT" },
    { 1, 59, "GUEST_HDRLEN" },
    { 1, 60, "RSS" },
    { 1, 61, "RSC_EXT" },
    { 1, 62, "STANDBY" },
    { 1, 63, "SPEED_DUPLEX" },
    /* 5.2.3: block device */
    { 2, 0, "BARRIER" },
    { 2, 1, "SIZE_MAX" },
    { 2, 2, "SEG_MAX" },
    { 2, 4, "GEOMETRY" },
    { 2, 5, "RO" },
    { 2, 6, "BLK_SIZE" },
    { 2, 7, "SCSI" },
    { 2, 9, "FLUSH" },
    { 2, 10, "TOPOLOGY" },
    { 2, 11, "CONFIG_WCE" },
    { 2, 12, "MQ" },
    { 2, 13, "DISCARD" },
    { 2, 14, "WRITE_ZEROES" },
    { 2, 15, "LIFETIME" },
    { 2, 16, "SECURE_ERASE" },
    { 2, 17, "ZONED" },
    /* 5.6.3: SCSI host */
    { 8, 0, "INOUT" },
    { 8, 1, "HOTPLUG" },
    { 8, 2, "CHANGE" },
    { 8, 3, "T10_PI" },
    /* 5.11.3: file system device */
    { 26, 0, "NOTIFICATION" },
    /* 5.10.3: socket device */
    { 19, 0, "STREAM" },
    { 19, 1, "SEQPACKET" },
    { 19, 2, "NO_IMPLIED_STREAM" },
};

const char *vhost_feature_name(uint16_t virtio_id, unsigned bit)
{
    static __thread char unnamed[16];
    for (size_t i = 0; i < ARRAY_LEN(feature_names); i++) {
        const FeatureName *f = &feature_names[i];
        if (f->bit == bit && (!f->virtio_id || f->virtio_id == virtio_id)) {
            return f->name;
        }
    }
    snprintf(unnamed, sizeof(unnamed), "bit %u", bit);
    return unnamed;
}

char *vhost_feature_names(uint16_t virtio_id, uint64_t features)
{
    GString *names = g_string_new(NULL);
    for (unsigned bit = 0; bit < 64; bit++) {
        if (features >> bit & 1) {
            g_string_append_printf(names, "%s%s", names->len ? ", " : "",
                                   vhost_feature_name(virtio_id, bit));
        }
    }
    return g_string_free(names, false);
}
