/* Receive-side scaling: Toeplitz hash over addresses and ports (VIRTIO 1.3 section 5.1.6.4.3). */
#include <string.h>

#include "devices/virtio/net/net-internal.h"

enum { ETH_LEN = 14, VLAN_LEN = 4, IPV6_LEN = 40, PROTO_TCP = 6, PROTO_UDP = 17 };

uint32_t net_toeplitz(const uint8_t *key, const uint8_t *data, size_t len)
{
    uint32_t hash = 0;
    uint32_t window = ld32_be(key);
    for (size_t i = 0; i < len; i++) {
        uint8_t next = i + 4 < NET_RSS_KEY_MAX ? key[i + 4] : 0;
        for (int bit = 7; bit >= 0; bit--) {
            if (data[i] >> bit & 1) {
                hash ^= window;
            }
            window = window << 1 | (next >> bit & 1);
        }
    }
    return hash;
}

typedef struct Flow {
    uint8_t data[36]; /* addresses and ports, as they are hashed */
    size_t addr_len;  /* bytes of both addresses */
    bool v6, has_ports;
    uint8_t proto;
} Flow;

static bool flow_find_ports(Flow *f, const uint8_t *transport, size_t len, uint8_t proto)
{
    if ((proto == PROTO_TCP || proto == PROTO_UDP) && len >= 4) {
        memcpy(f->data + f->addr_len, transport, 4);
        f->proto = proto;
        f->has_ports = true;
    }
    return true;
}

static bool flow_parse_v4(Flow *f, const uint8_t *ip, size_t len)
{
    size_t header = (ip[0] & 15) * 4;
    if (len < 20 || ip[0] >> 4 != 4 || header < 20 || header > len) {
        return false;
    }
    memcpy(f->data, ip + 12, 8);
    f->addr_len = 8;
    /* Only unfragmented datagrams have ports in every piece. */
    if (ld16_be(ip + 6) & 0x3fff) {
        return true;
    }
    return flow_find_ports(f, ip + header, len - header, ip[9]);
}

static bool flow_parse_v6(Flow *f, const uint8_t *ip, size_t len)
{
    if (len < IPV6_LEN || ip[0] >> 4 != 6) {
        return false;
    }
    memcpy(f->data, ip + 8, 32);
    f->addr_len = 32;
    f->v6 = true;
    return flow_find_ports(f, ip + IPV6_LEN, len - IPV6_LEN, ip[6]);
}

static bool flow_parse(Flow *f, const uint8_t *frame, size_t len)
{
    size_t at = ETH_LEN;
    if (len < ETH_LEN + VLAN_LEN) {
        return false;
    }
    uint16_t type = ld16_be(frame + 12);
    if (type == 0x8100 || type == 0x88a8) {
        type = ld16_be(frame + 16);
        at += VLAN_LEN;
    }
    if (type == 0x0800 && len > at) {
        return flow_parse_v4(f, frame + at, len - at);
    }
    if (type == 0x86dd && len > at) {
        return flow_parse_v6(f, frame + at, len - at);
    }
    return false;
}

uint32_t net_rss_hash(const NetRss *rss, const uint8_t *frame, size_t len, uint8_t *report)
{
    Flow f = { 0 };
    *report = NET_HASH_REPORT_NONE;
    if (!flow_parse(&f, frame, len)) {
        return 0;
    }
    size_t n = f.addr_len;
    unsigned tcp = f.v6 ? NET_HASH_TCPV6 : NET_HASH_TCPV4;
    unsigned udp = f.v6 ? NET_HASH_UDPV6 : NET_HASH_UDPV4;
    unsigned ip = f.v6 ? NET_HASH_IPV6 : NET_HASH_IPV4;
    if (f.has_ports && f.proto == PROTO_TCP && rss->hash_types & tcp) {
        *report = f.v6 ? NET_HASH_REPORT_TCPV6 : NET_HASH_REPORT_TCPV4;
        n += 4;
    } else if (f.has_ports && f.proto == PROTO_UDP && rss->hash_types & udp) {
        *report = f.v6 ? NET_HASH_REPORT_UDPV6 : NET_HASH_REPORT_UDPV4;
        n += 4;
    } else if (rss->hash_types & ip) {
        *report = f.v6 ? NET_HASH_REPORT_IPV6 : NET_HASH_REPORT_IPV4;
    } else {
        return 0;
    }
    return net_toeplitz(rss->key, f.data, n);
}

unsigned net_rss_pair(const NetRss *rss, uint32_t hash, uint8_t report)
{
    return report == NET_HASH_REPORT_NONE ? rss->unclassified : rss->table[hash & rss->mask];
}
