#include "main/host-backends.h"

#include "block/backend.h"
#include "bus/device.h"
#include "net/netdev.h"

bool host_backends_add_disks(const Config *config, Error **errp)
{
    for (size_t i = 0; i < config_count(config, blockdev); i++) {
        if (!block_node_add(config_at(config, blockdev, i), errp)) {
            config_item_prepend(config_item(config, blockdev, i), errp);
            return false;
        }
    }
    for (size_t i = 0; i < config_count(config, drive); i++) {
        if (!block_drive_add(config_at(config, drive, i), errp)) {
            config_item_prepend(config_item(config, drive, i), errp);
            return false;
        }
    }
    return true;
}

bool host_backends_add_netdevs(const Config *config, Error **errp)
{
    for (size_t i = 0; i < config_count(config, netdev); i++) {
        if (!netdev_add(config_at(config, netdev, i), errp)) {
            config_item_prepend(config_item(config, netdev, i), errp);
            return false;
        }
    }
    return true;
}

typedef struct PlugDrives {
    Error **errp;
    bool ok;
} PlugDrives;

static bool plug_virtio(BlockDrive *drive, void *opaque)
{
    PlugDrives *p = opaque;
    if (drive->interface != DRIVE_INTERFACE_VIRTIO || drive->taken) {
        return true;
    }
    json_t *properties = json_pack("{s:s, s:s}", "driver", "virtio-blk-pci", "drive", drive->id);
    p->ok = device_add_by_user(properties, VALUE_MODE_TEXT, p->errp);
    json_decref(properties);
    if (!p->ok) {
        error_prepend(p->errp, "-drive id=%s,if=virtio: ", drive->id);
    }
    return p->ok;
}

bool host_backends_plug_drives(Error **errp)
{
    PlugDrives p = { .errp = errp, .ok = true };
    block_drive_foreach(plug_virtio, &p);
    return p.ok;
}

void host_backends_check_unused(void)
{
    block_drives_check_unused();
    net_check_peers();
}

void host_backends_finish(void)
{
    net_finish_all();
    block_finish_all();
}
