#include "event/socket-record.h"

#include <glib.h>

#include "base/text.h"

static OnOffAuto on_off_auto(bool given, bool on)
{
    return !given ? ON_OFF_AUTO_AUTO : on ? ON_OFF_AUTO_ON : ON_OFF_AUTO_OFF;
}

bool socket_addr_from_record(SocketAddr *addr, const SocketAddress *record, Error **errp)
{
    *addr = (SocketAddr){ 0 };
    switch (record->type) {
    case SOCKET_ADDRESS_TYPE_INET: {
        const InetSocketAddress *a = &record->u.inet;
        addr->kind = SOCKET_INET;
        addr->host = g_strdup(a->host);
        addr->port = g_strdup(a->port);
        addr->to = a->has_to ? a->to : 0;
        addr->ipv4 = on_off_auto(a->has_ipv4, a->ipv4);
        addr->ipv6 = on_off_auto(a->has_ipv6, a->ipv6);
        addr->numeric = a->has_numeric && a->numeric;
        addr->keep_alive = a->has_keep_alive && a->keep_alive;
        return true;
    }
    case SOCKET_ADDRESS_TYPE_UNIX: {
        const UnixSocketAddress *a = &record->u.unix_;
        addr->kind = SOCKET_UNIX;
        addr->path = g_strdup(a->path);
        addr->abstract = a->has_abstract && a->abstract;
        addr->loose = a->has_tight && !a->tight;
        return true;
    }
    case SOCKET_ADDRESS_TYPE_VSOCK: {
        const VsockSocketAddress *a = &record->u.vsock;
        uint64_t cid;
        if (!text_to_u64(a->cid, &cid) || cid > UINT32_MAX) {
            error_set(errp, "'cid' must be a number below 2^32, got '%s'", a->cid);
            return false;
        }
        addr->kind = SOCKET_VSOCK;
        addr->cid = cid;
        addr->port = g_strdup(a->port);
        return true;
    }
    default:
        addr->kind = SOCKET_FD;
        addr->fd = g_strdup(record->u.fd.str);
        return true;
    }
}
