#include "switch.h"

#include <net/ethernet.h>
#include <string.h>

#include "base/iov.h"

enum { ADDRESSES_MAX = 4096 };              /* more are not learned; their frames go to all ports */
#define FORGET_AFTER (300 * G_USEC_PER_SEC) /* IEEE 802.1Q 8.8.3: the recommended ageing time */

struct SwitchPort {
    Switch *sw;
    SwitchDeliver *deliver;
    void *opaque;
};

typedef struct Learned {
    uint64_t address; /* the key */
    SwitchPort *port;
    gint64 seen; /* monotonic, µs */
} Learned;

struct Switch {
    GPtrArray *ports;    /* SwitchPort, owned */
    GHashTable *learned; /* Learned, by address */
};

Switch *switch_new(void)
{
    Switch *sw = g_new0(Switch, 1);
    sw->ports = g_ptr_array_new_with_free_func(g_free);
    sw->learned = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    return sw;
}

void switch_free(Switch *sw)
{
    if (sw) {
        g_hash_table_destroy(sw->learned);
        g_ptr_array_free(sw->ports, true);
        g_free(sw);
    }
}

SwitchPort *switch_add_port(Switch *sw, SwitchDeliver *deliver, void *opaque)
{
    SwitchPort *port = g_new0(SwitchPort, 1);
    *port = (SwitchPort){ .sw = sw, .deliver = deliver, .opaque = opaque };
    g_ptr_array_add(sw->ports, port);
    return port;
}

static gboolean is_behind(gpointer key, gpointer value, gpointer port)
{
    return ((Learned *)value)->port == port;
}

void switch_remove_port(SwitchPort *port)
{
    if (port) {
        g_hash_table_foreach_remove(port->sw->learned, is_behind, port);
        g_ptr_array_remove(port->sw->ports, port);
    }
}

static uint64_t address_key(const uint8_t *mac)
{
    uint64_t key = 0;
    memcpy(&key, mac, ETH_ALEN);
    return key;
}

static bool is_group(const uint8_t *mac)
{
    return mac[0] & 1;
}

static gboolean is_old(gpointer key, gpointer value, gpointer now)
{
    return *(gint64 *)now - ((Learned *)value)->seen > FORGET_AFTER;
}

static void learn(Switch *sw, const uint8_t *mac, SwitchPort *port)
{
    uint64_t key = address_key(mac);
    gint64 now = g_get_monotonic_time();
    Learned *l = g_hash_table_lookup(sw->learned, &key);
    if (!l) {
        if (g_hash_table_size(sw->learned) >= ADDRESSES_MAX &&
            !g_hash_table_foreach_remove(sw->learned, is_old, &now)) {
            return;
        }
        l = g_new0(Learned, 1);
        l->address = key;
        g_hash_table_insert(sw->learned, &l->address, l);
    }
    l->port = port;
    l->seen = now;
}

static SwitchPort *port_of(Switch *sw, const uint8_t *mac)
{
    uint64_t key = address_key(mac);
    const Learned *l = is_group(mac) ? NULL : g_hash_table_lookup(sw->learned, &key);
    return l && g_get_monotonic_time() - l->seen <= FORGET_AFTER ? l->port : NULL;
}

bool switch_forward(SwitchPort *from, const struct iovec *iov, unsigned count)
{
    Switch *sw = from->sw;
    struct ether_header eth;
    if (iov_to_buf(iov, count, 0, &eth, sizeof(eth)) < sizeof(eth)) {
        return true; /* no frame */
    }
    if (!is_group(eth.ether_shost)) {
        learn(sw, eth.ether_shost, from);
    }
    SwitchPort *to = port_of(sw, eth.ether_dhost);
    if (to) {
        return to == from || to->deliver(to->opaque, iov, count);
    }
    for (guint i = 0; i < sw->ports->len; i++) {
        to = g_ptr_array_index(sw->ports, i);
        if (to != from) {
            to->deliver(to->opaque, iov, count);
        }
    }
    return true;
}
