#include "chardev/chardev-record.h"

#include <string.h>

#include "base/text.h"
#include "chardev/chardev-address.h"
#include "chardev/chardev-internal.h"
#include "event/socket-record.h"

/* --- Kinds --- */

typedef struct KindSearch {
    const char *backend;
    const char *type;
} KindSearch;

static void match_kind(ObjectClass *klass, void *opaque)
{
    KindSearch *search = opaque;
    const char *backend = chardev_class_cast(klass)->backend;
    if (backend && strcmp(backend, search->backend) == 0) {
        search->type = class_name(klass);
    }
}

const char *chardev_record_type(const ChardevBackend *record, Error **errp)
{
    KindSearch search = { enum_name(&enum_chardev_backend_kind, record->type), NULL };
    class_foreach(TYPE_CHARDEV, false, match_kind, &search);
    if (!search.type) {
        error_set(errp, "character device kind '%s' is not available", search.backend);
    }
    return search.type;
}

/* --- Addresses --- */

bool socket_addr_from_legacy_record(SocketAddr *dst, const SocketAddressLegacy *record,
                                    Error **errp)
{
    /* The flat record borrows; nothing of it is released. */
    SocketAddress flat = { .type = record->type };
    switch (record->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        flat.u.inet = record->u.inet.data;
        break;
    case SOCKET_ADDRESS_TYPE_UNIX:
        flat.u.unix_ = record->u.unix_.data;
        break;
    case SOCKET_ADDRESS_TYPE_VSOCK:
        flat.u.vsock = record->u.vsock.data;
        break;
    default:
        flat.u.fd = record->u.fd.data;
        break;
    }
    return socket_addr_from_record(dst, &flat, errp);
}

/* --- -chardev --- */

/* The address inside `record` borrows from `o`. */
static bool socket_record(ChardevSocket *record, const ChardevSocketOptions *o, Error **errp)
{
    int kinds = (o->path != NULL) + (o->fd != NULL) + (o->host || o->port);
    if (kinds != 1) {
        error_set(errp, kinds ? "'path', 'fd', and 'host' with 'port' exclude each other"
                              : "a socket needs 'path', 'fd', or 'host' and 'port'");
        return false;
    }
    if (o->path) {
        record->addr.type = SOCKET_ADDRESS_TYPE_UNIX;
        record->addr.u.unix_.data = (UnixSocketAddress){
            .path = o->path,
            .has_abstract = o->has_abstract,
            .abstract = o->abstract,
            .has_tight = o->has_tight,
            .tight = o->tight,
        };
    } else if (o->fd) {
        record->addr.type = SOCKET_ADDRESS_TYPE_FD;
        record->addr.u.fd.data.str = o->fd;
    } else {
        if (!o->port) {
            error_set(errp, "a TCP socket needs 'port'");
            return false;
        }
        record->addr.type = SOCKET_ADDRESS_TYPE_INET;
        record->addr.u.inet.data = (InetSocketAddress){
            .host = o->host ? o->host : (char *)"",
            .port = o->port,
            .has_to = o->has_to,
            .to = o->to,
            .has_ipv4 = o->has_ipv4,
            .ipv4 = o->ipv4,
            .has_ipv6 = o->has_ipv6,
            .ipv6 = o->ipv6,
        };
    }
    if (!o->path && (o->has_abstract || o->has_tight)) {
        error_set(errp, "'abstract' and 'tight' are for unix sockets");
        return false;
    }
    record->has_server = true;
    record->server = o->server;
    /* Here, unlike in chardev-add, start-up waits unless told otherwise. */
    record->has_wait = o->has_wait || o->server;
    record->wait = o->has_wait ? o->wait : true;
    record->has_nodelay = o->has_nodelay;
    record->nodelay = o->nodelay;
    record->has_telnet = o->has_telnet;
    record->telnet = o->telnet;
    record->has_tn3270 = o->has_tn3270;
    record->tn3270 = o->tn3270;
    record->has_websocket = o->has_websocket;
    record->websocket = o->websocket;
    record->has_reconnect = o->has_reconnect;
    record->reconnect = o->reconnect;
    record->has_reconnect_ms = o->has_reconnect_ms;
    record->reconnect_ms = o->reconnect_ms;
    record->tls_creds = o->tls_creds;
    record->tls_authz = o->tls_authz;
    return true;
}

static SocketAddressLegacy inet_record(char *host, char *port, const ChardevUdpOptions *o)
{
    SocketAddressLegacy addr = { .type = SOCKET_ADDRESS_TYPE_INET };
    addr.u.inet.data = (InetSocketAddress){
        .host = host,
        .port = port,
        .has_ipv4 = o->has_ipv4,
        .ipv4 = o->ipv4,
        .has_ipv6 = o->has_ipv6,
        .ipv6 = o->ipv6,
    };
    return addr;
}

/* Everything in *record borrows from options, and *local is the caller's. */
static bool backend_record(ChardevBackend *record, SocketAddressLegacy *local,
                           const ChardevOptions *options, Error **errp)
{
    *record = (ChardevBackend){ .type = options->backend };
    switch (options->backend) {
    case CHARDEV_BACKEND_KIND_FILE:
        record->u.file.data.out = options->u.file.path;
        record->u.file.data.in = options->u.file.input_path;
        record->u.file.data.has_append = options->u.file.has_append;
        record->u.file.data.append = options->u.file.append;
        break;
    case CHARDEV_BACKEND_KIND_SERIAL:
        record->u.serial.data.device = options->u.serial.path;
        break;
    case CHARDEV_BACKEND_KIND_PIPE:
        record->u.pipe.data.device = options->u.pipe.path;
        break;
    case CHARDEV_BACKEND_KIND_SOCKET:
        if (!socket_record(&record->u.socket.data, &options->u.socket, errp)) {
            return false;
        }
        break;
    case CHARDEV_BACKEND_KIND_UDP: {
        const ChardevUdpOptions *o = &options->u.udp;
        record->u.udp.data.remote =
            inet_record(o->host && o->host[0] ? o->host : (char *)"localhost", o->port, o);
        if (o->localaddr || o->localport) {
            *local = inet_record(o->localaddr ? o->localaddr : (char *)"",
                                 o->localport ? o->localport : (char *)"0", o);
            record->u.udp.data.local = local;
        }
        break;
    }
    case CHARDEV_BACKEND_KIND_MUX:
        record->u.mux.data.chardev = options->u.mux.chardev;
        break;
    case CHARDEV_BACKEND_KIND_STDIO:
        record->u.stdio.data.has_signal = options->u.stdio.has_signal;
        record->u.stdio.data.signal = options->u.stdio.signal;
        break;
    case CHARDEV_BACKEND_KIND_RINGBUF:
    case CHARDEV_BACKEND_KIND_MEMORY:
        record->u.ringbuf.data.has_size = options->u.ringbuf.has_size;
        record->u.ringbuf.data.size = options->u.ringbuf.size;
        break;
    default:
        break;
    }
    /* Every variant begins with ChardevCommon. */
    ChardevCommon *common = (ChardevCommon *)&record->u;
    common->logfile = options->logfile;
    common->has_logappend = options->has_logappend;
    common->logappend = options->logappend;
    return true;
}

Chardev *chardev_new_from_options(const ChardevOptions *options, Error **errp)
{
    ChardevBackend record;
    SocketAddressLegacy local;
    bool mux = options->has_mux && options->mux;
    if (mux && options->backend == CHARDEV_BACKEND_KIND_MUX) {
        error_set(errp, "chardev '%s': a mux can't have mux=on", options->id);
        return NULL;
    }
    if (!backend_record(&record, &local, options, errp)) {
        error_prepend(errp, "chardev '%s': ", options->id);
        return NULL;
    }
    if (!mux) {
        return chardev_new(options->id, &record, errp);
    }
    if (chardev_find(options->id)) {
        error_set(errp, "Chardev with id '%s' already exists", options->id);
        return NULL;
    }
    g_autofree char *base_id = g_strdup_printf("%s-base", options->id);
    if (!chardev_new(base_id, &record, errp)) {
        return NULL;
    }
    ChardevBackend mux_record = { .type = CHARDEV_BACKEND_KIND_MUX };
    mux_record.u.mux.data.chardev = base_id;
    Chardev *result = chardev_new(options->id, &mux_record, errp);
    if (!result) {
        bool removed = chardev_remove(base_id, NULL);
        assert(removed);
    }
    return result;
}

bool chardev_change_from_options(const ChardevOptions *options, Error **errp)
{
    ChardevBackend record;
    SocketAddressLegacy local;
    if (options->has_mux && options->mux) {
        error_set(errp, "Chardev '%s' can't be changed to a mux", options->id);
        return false;
    }
    return backend_record(&record, &local, options, errp) &&
           chardev_change(options->id, &record, errp);
}
