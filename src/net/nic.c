#include "net/nic.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"

Nic *nic_of(NetClient *nc)
{
    assert(net_is_nic(nc));
    return ((NicClient *)nc)->nic;
}

void *nic_opaque(NetClient *nc)
{
    return nic_of(nc)->opaque;
}

char *mac_format(const uint8_t mac[6])
{
    return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                           mac[5]);
}

bool mac_parse(const char *text, MacAddress *mac)
{
    unsigned b[6];
    int end = 0;
    char sep[2];
    if (sscanf(text, "%2x%1[:-]%2x%1[:-]%2x%1[:-]%2x%1[:-]%2x%1[:-]%2x%n", &b[0], sep, &b[1], sep,
               &b[2], sep, &b[3], sep, &b[4], sep, &b[5], &end) != 11 ||
        !end || text[end]) {
        return false;
    }
    for (int i = 0; i < 6; i++) {
        mac->a[i] = b[i];
    }
    return true;
}

static bool mac_is_zero(const MacAddress *mac)
{
    static const MacAddress zero;
    return !memcmp(mac, &zero, sizeof(zero));
}

typedef struct MacSearch {
    const MacAddress *mac;
    bool taken;
} MacSearch;

static bool mac_compare(NetClient *nc, void *opaque)
{
    MacSearch *s = opaque;
    if (net_is_nic(nc) && !memcmp(nic_of(nc)->mac, s->mac, sizeof(*s->mac))) {
        s->taken = true;
    }
    return !s->taken;
}

void nic_default_mac(MacAddress *mac)
{
    for (unsigned i = 0; i < 0x10000; i++) {
        uint32_t low = 0x123456 + i;
        *mac = (MacAddress){ { 0x52, 0x54, 0x00, low >> 16, low >> 8, low } };
        MacSearch s = { .mac = mac };
        net_client_foreach(mac_compare, &s);
        if (!s.taken) {
            return;
        }
    }
}

Nic *nic_new(const NetClientOps *ops, NicConf *conf, unsigned limit, const char *model,
             const char *id, void *opaque, Error **errp)
{
    NetClient *peers[NET_QUEUES_MAX];
    unsigned peer_count = 0;
    if (conf->peers.id) {
        peer_count = net_client_queues(conf->peers.id, peers, NET_QUEUES_MAX);
        if (!peer_count) {
            error_set(errp, "netdev '%s' is gone", conf->peers.id);
            return NULL;
        }
        if (peers[0]->peer) {
            error_set(errp, "netdev '%s' is in use by '%s'; each NIC needs one of its own",
                      conf->peers.id, peers[0]->peer->name);
            return NULL;
        }
    }
    if (mac_is_zero(&conf->mac)) {
        nic_default_mac(&conf->mac);
    }
    Nic *nic = g_new0(Nic, 1);
    nic->count = MIN_OF(limit, MAX_OF(1, peer_count));
    nic->queues = g_new0(NetClient *, nic->count);
    nic->opaque = opaque;
    nic->mac = &conf->mac;
    g_autofree char *made = NULL;
    for (unsigned i = 0; i < nic->count; i++) {
        NetClient *peer = i < peer_count ? peers[i] : NULL;
        NetClient *nc = net_client_new(ops, model, id ? id : made, peer);
        ((NicClient *)nc)->nic = nic;
        nc->queue_index = i;
        nc->queue_count = nic->count;
        nic->queues[i] = nc;
        if (i == 0) {
            made = g_strdup(nc->name);
        }
    }
    return nic;
}

void nic_free(Nic *nic)
{
    if (!nic) {
        return;
    }
    for (unsigned i = 0; i < nic->count; i++) {
        net_client_free(nic->queues[i]);
    }
    g_free(nic->queues);
    g_free(nic);
}

void nic_announce_frame(uint8_t frame[NIC_ANNOUNCE_LEN], const uint8_t mac[6])
{
    memset(frame, 0, NIC_ANNOUNCE_LEN);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    st16_be(frame + 12, 0x8035); /* RARP (RFC 903) */
    st16_be(frame + 14, 1);      /* Ethernet */
    st16_be(frame + 16, 0x0800); /* IPv4 */
    frame[18] = 6;
    frame[19] = 4;
    st16_be(frame + 20, 3); /* request reverse */
    memcpy(frame + 22, mac, 6);
    memcpy(frame + 32, mac, 6);
}

/* --- properties --- */

static bool mac_value_parse(void *owner, const Field *field, void *slot, json_t *json,
                            ValueMode mode, Error **errp)
{
    MacAddress mac;
    if (!json_is_string(json) || !mac_parse(json_string_value(json), &mac)) {
        error_set(errp, "Parameter '%s' expects an Ethernet address like 52:54:00:12:34:56%s%s%s",
                  field->name, json_is_string(json) ? ", got '" : "",
                  json_is_string(json) ? json_string_value(json) : "",
                  json_is_string(json) ? "'" : "");
        return false;
    }
    memcpy(slot, &mac, sizeof(mac));
    return true;
}

static json_t *mac_value_print(const void *owner, const Field *field, const void *slot,
                               Error **errp)
{
    g_autofree char *text = mac_format(((const MacAddress *)slot)->a);
    return json_string(text);
}

static const ValueCustom mac_custom = { .parse = mac_value_parse, .print = mac_value_print };
const ValueType value_type_mac = {
    .kind = VALUE_CUSTOM,
    .name = "str",
    .size = sizeof(MacAddress),
    .custom = &mac_custom,
};

static bool netdev_value_parse(void *owner, const Field *field, void *slot, json_t *json,
                               ValueMode mode, Error **errp)
{
    NicPeers *peers = slot;
    if (!json_is_string(json)) {
        error_set(errp, "Parameter '%s' expects the id of a netdev", field->name);
        return false;
    }
    const char *id = json_string_value(json);
    NetClient *found[NET_QUEUES_MAX];
    unsigned n = net_client_queues(id, found, NET_QUEUES_MAX);
    if (!n) {
        error_set(errp, "Parameter '%s': there is no netdev '%s'; make it with -netdev",
                  field->name, id);
        return false;
    }
    if (found[0]->peer) {
        error_set(errp, "Parameter '%s': netdev '%s' is in use by '%s'", field->name, id,
                  found[0]->peer->name);
        return false;
    }
    g_free(peers->id);
    peers->id = g_strdup(id);
    peers->count = n;
    return true;
}

static json_t *netdev_value_print(const void *owner, const Field *field, const void *slot,
                                  Error **errp)
{
    const NicPeers *peers = slot;
    return json_string(peers->id ? peers->id : "");
}

static void netdev_value_release(void *owner, const Field *field, void *slot)
{
    NicPeers *peers = slot;
    g_free(peers->id);
    *peers = (NicPeers){ 0 };
}

static const ValueCustom netdev_custom = {
    .parse = netdev_value_parse,
    .print = netdev_value_print,
    .release = netdev_value_release,
};
const ValueType value_type_nic_peers = {
    .kind = VALUE_CUSTOM,
    .name = "str",
    .size = sizeof(NicPeers),
    .custom = &netdev_custom,
};
