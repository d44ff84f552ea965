/* Back ends by record: -netdev, -nic, -net, netdev_add, and what makes them. Machine lock held. */
#ifndef NET_NETDEV_H
#define NET_NETDEV_H

#include "net/net.h"
#include "schema/net.h"

/* Make the clients of a back end called id. options: the record of its type. On failure nothing is
 * left behind. */
typedef bool NetdevCreate(const char *id, const void *options, Error **errp);

/* For shared modules (MODULE_SUBSYSTEM rows). */
void netdev_set_creator(NetdevType type, NetdevCreate *create);

MUST_CHECK bool netdev_add(const Netdev *record, Error **errp);
MUST_CHECK bool netdev_del(const char *id, Error **errp);

/* A NIC that the board should make. Owned; NULL strings mean default. */
typedef struct NicRequest {
    char *model, *netdev, *mac;
} NicRequest;
void nic_request_free(NicRequest *request); /* NULL allowed */

/* Make what -nic or -net says. *request: the NIC to make, NULL where there is none. */
MUST_CHECK bool nic_option_apply(const NicOptions *options, NicRequest **request, Error **errp);
MUST_CHECK bool net_option_apply(const NetLegacyOptions *options, NicRequest **request,
                                 Error **errp);

/* info network */
void net_print_info(GString *out);
/* info usernet */
void net_print_connections(GString *out);
/* hostfwd_add, hostfwd_remove. id NULL: the only back end that has forwards. */
MUST_CHECK bool net_set_forward(const char *id, const char *text, bool add, Error **errp);
/* Free every back end (NICs are gone with their devices) and everything else kept here. */
void net_finish_all(void);
/* Back ends and NICs that have no peer, one warning each. */
void net_check_peers(void);

/* announce.c: forget announcements under way. */
void net_announce_finish(void);

/* --- creators of types that are built in --- */
NetdevCreate net_tap_create, net_socket_create, net_stream_create, net_dgram_create,
    net_hubport_create, net_vhost_user_create, net_bridge_create;
/* A further port of the hub, NULL if that fails; borrowed. peer may be NULL. */
NetClient *net_hub_add_port(int hub, const char *name, NetClient *peer);

#endif
