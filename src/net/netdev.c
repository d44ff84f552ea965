#include "net/netdev.h"

#include <string.h>

#include "base/module.h"
#include "base/report.h"
#include "base/text.h"
#include "event/clock.h"
#include "net/nic.h"

static NetdevCreate *const built_in[NETDEV_TYPE_COUNT] = {
    [NETDEV_TYPE_TAP] = net_tap_create,         [NETDEV_TYPE_SOCKET] = net_socket_create,
    [NETDEV_TYPE_STREAM] = net_stream_create,   [NETDEV_TYPE_DGRAM] = net_dgram_create,
    [NETDEV_TYPE_HUBPORT] = net_hubport_create, [NETDEV_TYPE_VHOST_USER] = net_vhost_user_create,
    [NETDEV_TYPE_BRIDGE] = net_bridge_create,
};

/* Shared modules that bring a type. */
static const char *const type_modules[NETDEV_TYPE_COUNT] = { [NETDEV_TYPE_USER] = "net-slirp" };

/* Filled by modules as they are opened; code, not machine state. */
static NetdevCreate *from_modules[NETDEV_TYPE_COUNT];

void netdev_set_creator(NetdevType type, NetdevCreate *create)
{
    from_modules[type] = create;
}

static NetdevCreate *netdev_creator(NetdevType type, Error **errp)
{
    if (built_in[type]) {
        return built_in[type];
    }
    if (!from_modules[type] && type_modules[type] && !module_open(type_modules[type], errp)) {
        return NULL;
    }
    if (!from_modules[type]) {
        error_set(errp, "network back end '%s' is not part of this build",
                  enum_name(&enum_netdev_type, type));
        return NULL;
    }
    return from_modules[type];
}

static bool netdev_create(const char *id, NetdevType type, const void *options, Error **errp)
{
    if (!text_is_id(id)) {
        error_set(errp,
                  "netdev id '%s' must begin with a letter and have only letters, digits, "
                  "'-', '.', '_'",
                  id);
        return false;
    }
    if (net_client_find(id)) {
        error_set(errp, "there is a network client '%s' already; choose another id", id);
        return false;
    }
    NetdevCreate *create = netdev_creator(type, errp);
    if (!create || !create(id, options, errp)) {
        error_prepend(errp, "netdev '%s': ", id);
        return false;
    }
    NetClient *queues[NET_QUEUES_MAX];
    unsigned n = net_client_queues(id, queues, NET_QUEUES_MAX);
    for (unsigned i = 0; i < n; i++) {
        queues[i]->is_netdev = true;
        queues[i]->queue_index = i;
        queues[i]->queue_count = n;
    }
    return true;
}

bool netdev_add(const Netdev *record, Error **errp)
{
    return netdev_create(record->id, record->type, &record->u, errp);
}

bool netdev_del(const char *id, Error **errp)
{
    NetClient *queues[NET_QUEUES_MAX];
    unsigned n = net_client_queues(id, queues, NET_QUEUES_MAX);
    if (!n) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", id);
        return false;
    }
    if (!queues[0]->is_netdev) {
        error_set(errp, "Device '%s' is not a netdev", id);
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        net_client_free(queues[i]);
    }
    return true;
}

/* --- -nic and -net --- */

void nic_request_free(NicRequest *request)
{
    if (request) {
        g_free(request->model);
        g_free(request->netdev);
        g_free(request->mac);
        g_free(request);
    }
}

static NicRequest *nic_request_new(const char *model, const char *netdev, const char *mac)
{
    NicRequest *r = g_new0(NicRequest, 1);
    r->model = g_strdup(model);
    r->netdev = g_strdup(netdev);
    r->mac = g_strdup(mac);
    return r;
}

static bool mac_text_check(const char *mac, Error **errp)
{
    MacAddress unused;
    if (mac && !mac_parse(mac, &unused)) {
        error_set(errp, "'%s' is not an Ethernet address like 52:54:00:12:34:56", mac);
        return false;
    }
    return true;
}

/* "__net0" and up: names that users can't give. */
static char *netdev_free_id(const char *prefix)
{
    for (unsigned i = 0;; i++) {
        char *id = g_strdup_printf("%s%u", prefix, i);
        if (!net_client_find(id)) {
            return id;
        }
        g_free(id);
    }
}

static const int nic_types[NIC_TYPE_COUNT] = {
    [NIC_TYPE_NONE] = -1,
    [NIC_TYPE_USER] = NETDEV_TYPE_USER,
    [NIC_TYPE_TAP] = NETDEV_TYPE_TAP,
    [NIC_TYPE_SOCKET] = NETDEV_TYPE_SOCKET,
    [NIC_TYPE_STREAM] = NETDEV_TYPE_STREAM,
    [NIC_TYPE_DGRAM] = NETDEV_TYPE_DGRAM,
    [NIC_TYPE_HUBPORT] = NETDEV_TYPE_HUBPORT,
    [NIC_TYPE_BRIDGE] = NETDEV_TYPE_BRIDGE,
};

bool nic_option_apply(const NicOptions *options, NicRequest **request, Error **errp)
{
    *request = NULL;
    int type = nic_types[options->type];
    if (type < 0) {
        return true;
    }
    if (!mac_text_check(options->mac, errp)) {
        return false;
    }
    g_autofree char *id = options->id ? g_strdup(options->id) : netdev_free_id("nic-net");
    if (!netdev_create(id, type, &options->u, errp)) {
        return false;
    }
    *request = nic_request_new(options->model, id, options->mac);
    return true;
}

static const int legacy_types[NET_LEGACY_TYPE_COUNT] = {
    [NET_LEGACY_TYPE_NONE] = -1,
    [NET_LEGACY_TYPE_NIC] = -1,
    [NET_LEGACY_TYPE_USER] = NETDEV_TYPE_USER,
    [NET_LEGACY_TYPE_TAP] = NETDEV_TYPE_TAP,
    [NET_LEGACY_TYPE_SOCKET] = NETDEV_TYPE_SOCKET,
    [NET_LEGACY_TYPE_HUBPORT] = NETDEV_TYPE_HUBPORT,
    [NET_LEGACY_TYPE_BRIDGE] = NETDEV_TYPE_BRIDGE,
};

bool net_option_apply(const NetLegacyOptions *options, NicRequest **request, Error **errp)
{
    *request = NULL;
    if (options->type == NET_LEGACY_TYPE_NONE) {
        return true;
    }
    if (options->type == NET_LEGACY_TYPE_NIC) {
        const NetNicOptions *nic = &options->u.nic;
        if (!mac_text_check(nic->macaddr, errp)) {
            return false;
        }
        g_autofree char *port = NULL;
        if (!nic->netdev) {
            port = netdev_free_id("hub0port");
            net_hub_add_port(0, port, NULL);
        }
        *request = nic_request_new(nic->model, nic->netdev ? nic->netdev : port, nic->macaddr);
        return true;
    }
    g_autofree char *id = options->name ? g_strdup(options->name) : netdev_free_id("net");
    if (!netdev_create(id, legacy_types[options->type], &options->u, errp)) {
        return false;
    }
    g_autofree char *port = netdev_free_id("hub0port");
    net_hub_add_port(0, port, net_netdev_find(id));
    return true;
}

/* --- all clients --- */

static bool print_client(NetClient *nc, void *opaque)
{
    GString *out = opaque;
    /* A NIC comes with its peer below it; a netdev alone stands for itself. */
    if (!net_is_nic(nc) && nc->peer && net_is_nic(nc->peer)) {
        return true;
    }
    net_client_describe(nc, out);
    g_string_append_c(out, '\n');
    if (net_is_nic(nc) && nc->peer) {
        g_string_append(out, " \\ ");
        net_client_describe(nc->peer, out);
        g_string_append_c(out, '\n');
    }
    return true;
}

void net_print_info(GString *out)
{
    net_client_foreach(print_client, out);
}

static bool print_connections(NetClient *nc, void *opaque)
{
    if (nc->ops->print_connections) {
        nc->ops->print_connections(nc, opaque);
    }
    return true;
}

void net_print_connections(GString *out)
{
    net_client_foreach(print_connections, out);
}

static bool find_forwarder(NetClient *nc, void *opaque)
{
    if (!nc->ops->set_forward) {
        return true;
    }
    *(NetClient **)opaque = nc;
    return false;
}

bool net_set_forward(const char *id, const char *text, bool add, Error **errp)
{
    NetClient *nc = NULL;
    if (id) {
        nc = net_netdev_find(id);
    } else {
        net_client_foreach(find_forwarder, &nc);
    }
    if (!nc || !nc->ops->set_forward) {
        error_set(errp, id ? "there is no user-mode netdev '%s'" : "there is no user-mode netdev",
                  id);
        return false;
    }
    return nc->ops->set_forward(nc, text, add, errp);
}

static bool first_netdev(NetClient *nc, void *opaque)
{
    if (net_is_nic(nc)) {
        return true;
    }
    *(NetClient **)opaque = nc;
    return false;
}

void net_finish_all(void)
{
    for (;;) {
        NetClient *nc = NULL;
        net_client_foreach(first_netdev, &nc);
        if (!nc) {
            break;
        }
        net_client_free(nc);
    }
    net_announce_finish();
}

static bool check_peer(NetClient *nc, void *opaque)
{
    if (!nc->peer && !nc->queue_index) {
        report_warning("%s '%s' has no peer", net_is_nic(nc) ? "NIC" : "netdev", nc->name);
    }
    return true;
}

void net_check_peers(void)
{
    net_client_foreach(check_peer, NULL);
}

/* --- monitor commands --- */

bool qmp_netdev_add(const Netdev *args, Error **errp)
{
    return netdev_add(args, errp);
}

bool qmp_netdev_del(const NetdevDelArgs *args, Error **errp)
{
    return netdev_del(args->id, errp);
}

bool qmp_set_link(const SetLinkArgs *args, Error **errp)
{
    NetClient *nc = net_client_find(args->name);
    if (!nc) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", args->name);
        return false;
    }
    net_set_link(nc, args->up);
    return true;
}

typedef struct RxFilterQuery {
    const char *name; /* NULL: all */
    json_t *list;
    bool found, has_none;
} RxFilterQuery;

static bool rx_filter_visit(NetClient *nc, void *opaque)
{
    RxFilterQuery *q = opaque;
    if (nc->queue_index || (q->name && strcmp(nc->name, q->name))) {
        return true;
    }
    if (net_is_nic(nc) && nc->ops->rx_filter) {
        json_array_append_new(q->list, nc->ops->rx_filter(nc));
        q->found = true;
    } else {
        q->has_none = true;
    }
    return true;
}

bool qmp_query_rx_filter(const QueryRxFilterArgs *args, RxFilterInfoList *ret, Error **errp)
{
    RxFilterQuery q = { .name = args->name, .list = json_array() };
    net_client_foreach(rx_filter_visit, &q);
    bool ok = true;
    if (args->name && !q.found) {
        error_set(errp,
                  q.has_none ? "'%s' is not a NIC with receive filters"
                             : "there is no network client '%s'",
                  args->name);
        ok = false;
    } else {
        ok = value_parse(&value_type_rx_filter_info_list, ret, q.list, VALUE_MODE_TYPED, errp);
    }
    json_decref(q.list);
    return ok;
}
