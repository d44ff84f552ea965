/*
 * A standby for a primary NIC (VIRTIO_NET_F_STANDBY): the primary is a device of another kind that
 * names this one in failover_pair_id. Until the driver has accepted STANDBY, and so knows that both
 * are one NIC, the primary is kept away; then it is plugged in.
 */
#include <string.h>

#include "base/report.h"
#include "devices/virtio/net/net-internal.h"
#include "devices/virtio/transport.h"
#include "schema/net.h"

static const char *text_of(json_t *properties, const char *key)
{
    return json_string_value(json_object_get(properties, key));
}

static const char *standby_id(const VirtioNet *n)
{
    const Device *proxy = virtio_proxy(&n->parent);
    return proxy && proxy->id ? proxy->id : n->parent.parent.id;
}

static bool failover_hide(DeviceHider *h, json_t *properties, ValueMode mode, bool *hidden,
                          Error **errp)
{
    VirtioNet *n = CONTAINER_OF(h, VirtioNet, hider);
    const char *pair = text_of(properties, "failover_pair_id");
    const char *id = text_of(properties, "id");
    const char *own = standby_id(n);
    if (!pair || !own || strcmp(pair, own)) {
        return true;
    }
    if (!id) {
        error_set(errp, "a device with failover_pair_id needs an id");
        return false;
    }
    const char *other = n->primary ? text_of(n->primary, "id") : NULL;
    if (other && strcmp(other, id) && (n->primary_hidden || device_find(other))) {
        error_set(errp, "Cannot attach more than one primary device to '%s': '%s' and '%s'", own,
                  other, id);
        return false;
    }
    json_decref(n->primary);
    n->primary = json_deep_copy(properties);
    n->primary_mode = mode;
    n->primary_hidden = *hidden = !n->failover_told;
    return true;
}

static void failover_plug(void *opaque)
{
    VirtioNet *n = opaque;
    ERROR_AUTO err = NULL;
    if (!n->primary_hidden || !n->failover_told) {
        return;
    }
    n->primary_hidden = false;
    if (!device_add_from_user(n->primary, n->primary_mode, &err)) {
        report_warning("virtio-net '%s': the primary can't be plugged in: %s", standby_id(n),
                       error_message(err));
    }
}

void net_failover_negotiated(VirtioNet *n)
{
    if (!n->failover || n->failover_told || !virtio_has_feature(&n->parent, VIRTIO_NET_F_STANDBY)) {
        return;
    }
    n->failover_told = true;
    qmp_event_failover_negotiated(n->nic->queues[0]->name);
    /* Not in the middle of the driver's register write. */
    bh_schedule(n->failover_bh);
}

bool net_failover_realize(VirtioNet *n, Error **errp)
{
    if (!n->failover) {
        return true;
    }
    if (!standby_id(n)) {
        error_set(errp, "failover=on needs an id, by which the primary names this device");
        return false;
    }
    n->failover_bh = bh_new(event_loop_main(), failover_plug, n);
    n->hider.hide = failover_hide;
    device_hider_add(&n->hider);
    return true;
}

void net_failover_unrealize(VirtioNet *n)
{
    if (n->failover_bh) {
        device_hider_del(&n->hider);
        bh_free(g_steal_pointer(&n->failover_bh));
    }
    json_decref(n->primary);
    n->primary = NULL;
    n->primary_hidden = false;
}
