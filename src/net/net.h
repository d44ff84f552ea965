/*
 * Network clients: pairs of peers that hand each other Ethernet frames.
 *
 * A client is one end: a NIC's queue on the guest's side, a back end (user, tap, socket, …) on the
 * other. net_send() hands a frame to the peer; a peer that has no room returns 0 and the frame
 * waits in the peer's queue until net_flush_queued() says there is room again. The sender of a
 * frame that had to wait is told when it went, and sends nothing more until then: that is the flow
 * control.
 *
 * Main thread, machine lock held, throughout.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <net/ethernet.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/error.h"
#include "object/object.h"

typedef struct NetClient NetClient;
typedef struct NetQueue NetQueue;
typedef struct NetFilter NetFilter;

/* The longest frame with all headers that a peer may hand over: a 64 KiB segment to be cut, its
 * Ethernet and VLAN headers, and a virtio header. */
#define NET_FRAME_MAX  (65536 + 14 + 8 + 20)
#define NET_QUEUES_MAX 1024 /* queue pairs of one netdev */

/* What a back end can do to frames of a NIC that can't or won't do it itself. Bits. */
enum {
    NET_OFFLOAD_CSUM = 1 << 0,
    NET_OFFLOAD_TSO4 = 1 << 1,
    NET_OFFLOAD_TSO6 = 1 << 2,
    NET_OFFLOAD_ECN = 1 << 3,
    NET_OFFLOAD_UFO = 1 << 4,
    NET_OFFLOAD_USO4 = 1 << 5,
    NET_OFFLOAD_USO6 = 1 << 6,
    NET_OFFLOAD_USO = NET_OFFLOAD_USO4 | NET_OFFLOAD_USO6,
};

/* A frame that had to wait was handed over, or dropped; len is its size. */
typedef void NetSentFn(NetClient *sender, size_t len);

typedef struct NetClientOps {
    const char *type; /* "user", "nic": as -netdev and info network say it */
    size_t size;      /* of the struct that begins with the NetClient */
    /* A frame from the peer, with the virtio header if vnet_header_len is set. Returns its size
     * when taken (or dropped), 0 when there is no room now. */
    size_t (*receive)(NetClient *nc, const struct iovec *iov, unsigned count);
    /* Optional: whether it makes sense to call receive() now. */
    bool (*can_receive)(NetClient *nc);
    /* The peer's or the own link went up or down. */
    void (*link_changed)(NetClient *nc);
    /* Free what the struct owns; the struct itself is freed by net_client_free(). */
    void (*finish)(NetClient *nc);
    /* One line for people, to the end of out. */
    void (*describe)(NetClient *nc, GString *out);

    /* Virtio headers before frames: */
    bool (*has_vnet_header)(NetClient *nc);
    bool (*has_vnet_header_len)(NetClient *nc, unsigned len);
    void (*set_vnet_header_len)(NetClient *nc, unsigned len); /* 0: none */
    /* Offloads it understands in frames that it receives, as NET_OFFLOAD_ bits. */
    unsigned (*offloads)(NetClient *nc);
    /* Which of them frames that it sends may carry. */
    void (*set_offloads)(NetClient *nc, unsigned offloads);
    /* A queue pair starts or stops being used. */
    bool (*set_enabled)(NetClient *nc, bool on, Error **errp);
    /* NICs: send announcements of their addresses. */
    void (*announce)(NetClient *nc);
    /* NICs: what query-rx-filter shows; new reference. */
    json_t *(*rx_filter)(NetClient *nc);
    /* Back ends that listen for the guest: add or remove a forward, as the option says it. */
    bool (*set_forward)(NetClient *nc, const char *text, bool add, Error **errp);
    /* Its connections, for people. */
    void (*print_connections)(NetClient *nc, GString *out);
    bool (*check_peer)(NetClient *nic, NetClient *peer, Error **errp);
} NetClientOps;

struct NetClient {
    const NetClientOps *ops;
    char *name;  /* unique, except that the queues of one netdev share it */
    char *model; /* NICs: "virtio-net-pci"; others: the type */
    NetClient *peer;
    NetQueue *incoming; /* frames on their way to this client */
    bool is_nic;
    bool link_down;
    bool receive_disabled; /* receive() returned 0 and net_flush_queued() was not yet called */
    bool is_netdev;        /* made by -netdev or netdev_add: netdev_del may remove it */
    unsigned queue_index, queue_count;
    unsigned vnet_header_len; /* bytes; of frames this client receives and sends */
    GPtrArray *filters;       /* NetFilter, borrowed; NULL: none */
    NetClient *next;          /* all clients, in order of creation */
    void *vhost;              /* of the vhost room */
};

/* --- Clients --- */

/* name NULL: "<type>.N". Connected to peer when that is not NULL. */
NetClient *net_client_new(const NetClientOps *ops, const char *model, const char *name,
                          NetClient *peer);
/* Disconnects, drops queued frames, frees. */
void net_client_free(NetClient *nc);
/* The first queue's client of that name; NULL. With type, only of that. */
NetClient *net_client_find(const char *name);
NetClient *net_netdev_find(const char *name);
/* All queues of a netdev, at most NET_QUEUES_MAX; returns how many. */
unsigned net_client_queues(const char *name, NetClient **out, unsigned room);
typedef bool NetClientVisitor(NetClient *nc, void *opaque); /* false stops */
bool net_client_foreach(NetClientVisitor *visit, void *opaque);
void net_connect(NetClient *a, NetClient *b);
void net_disconnect(NetClient *nc);
bool net_is_nic(const NetClient *nc);

/* --- Frames --- */

/* Returns the frame's size when it was taken or dropped; 0 when it waits, and then sent (if not
 * NULL) will be called. Without sent a frame that finds the queue full is dropped. */
size_t net_send(NetClient *nc, const struct iovec *iov, unsigned count, NetSentFn *sent);
size_t net_send_buf(NetClient *nc, const void *buf, size_t len, NetSentFn *sent);
/* Would net_send() hand over at once? */
bool net_can_send(NetClient *nc);
/* nc has room again: deliver what waits for it. True if all of it went. */
bool net_flush_queued(NetClient *nc);
/* Forget frames that `sender` has waiting (its own completion functions are not called). */
void net_purge_queued(NetClient *sender);

/* --- Links --- */

/* Both ends learn of it. */
void net_set_link(NetClient *nc, bool up);
bool net_link_is_up(const NetClient *nc); /* own and peer's */

/* --- What the back end can (through the peer) --- */

bool net_peer_has_vnet_header(const NetClient *nc);
bool net_peer_has_vnet_header_len(const NetClient *nc, unsigned len);
unsigned net_peer_offloads(const NetClient *nc);

/* One line about a client and its peer, as info network shows it. */
void net_client_describe(NetClient *nc, GString *out);

/* --- Filters: see frames on their way --- */

typedef enum NetDirection { NET_DIRECTION_ALL, NET_DIRECTION_RX, NET_DIRECTION_TX } NetDirection;

/* Sees each frame that `nc` (the netdev) sends (rx: towards the guest) or gets (tx). True takes the
 * frame off its way. */
struct NetFilter {
    NetClient *nc;
    NetDirection direction;
    bool on;
    bool (*frame)(NetFilter *f, NetClient *sender, const struct iovec *iov, unsigned count);
    void (*gone)(NetFilter *f); /* the client goes away; already detached */
};
void net_filter_attach(NetFilter *f, NetClient *nc);
void net_filter_detach(NetFilter *f);

#endif
