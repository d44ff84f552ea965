/* The guest's side of the network: what NIC devices share. Machine lock held. */
#ifndef NET_NIC_H
#define NET_NIC_H

#include "net/net.h"
#include "object/property.h"

/* Ethernet address; all zeros means: choose one. */
typedef struct MacAddress {
    uint8_t a[6];
} MacAddress;

/* The back end that the property "netdev" names, and how many queues it has. */
typedef struct NicPeers {
    char *id; /* owned; NULL: none */
    unsigned count;
} NicPeers;

typedef struct NicConf {
    MacAddress mac;
    NicPeers peers;
    int32_t bootindex; /* -1: none */
} NicConf;

/* One NIC: a client for each queue pair, made together. */
typedef struct Nic {
    NetClient **queues;
    unsigned count;
    void *opaque; /* the device */
    const MacAddress *mac;
} Nic;

/* Rows of a device S with a NicConf member. */
#define NIC_PROPERTIES(S, conf)                                                             \
    PROP_CUSTOM("mac", S, conf.mac, value_type_mac, .flags = FIELD_OPTIONAL,                \
                .help = "Ethernet address"),                                                \
        PROP_CUSTOM("netdev", S, conf.peers, value_type_nic_peers, .flags = FIELD_OPTIONAL, \
                    .help = "id of the back end"),                                          \
        PROP_INT32("bootindex", S, conf.bootindex, -1, PROP_RANGE(-1, INT32_MAX),           \
                   .help = "place in the order that firmware boots from; -1: none")

extern const ValueType value_type_mac, value_type_nic_peers;

/* Clients for max(1, conf->peers.count) queues, at most `limit`, connected to the peers. An unset
 * address becomes the first free one of 52:54:00:12:34:56 and up. Errors: a peer that is in use. */
Nic *nic_new(const NetClientOps *ops, NicConf *conf, unsigned limit, const char *model,
             const char *id, void *opaque, Error **errp);
void nic_free(Nic *nic); /* NULL allowed */
/* The NIC of a client whose ops->type is "nic". */
Nic *nic_of(NetClient *nc);
void *nic_opaque(NetClient *nc);
/* A NIC's client, and its size for NetClientOps.size. */
typedef struct NicClient {
    NetClient client;
    Nic *nic;
} NicClient;
#define NIC_CLIENT_SIZE sizeof(NicClient)

/* "52:54:00:12:34:56": for info network; the caller frees. */
char *mac_format(const uint8_t mac[6]);
MUST_CHECK bool mac_parse(const char *text, MacAddress *mac);

/* An address for a NIC that was given none. */
void nic_default_mac(MacAddress *mac);

/* A frame that asks switches to learn the address (RARP), 60 bytes. */
#define NIC_ANNOUNCE_LEN 60
void nic_announce_frame(uint8_t frame[NIC_ANNOUNCE_LEN], const uint8_t mac[6]);

#endif
