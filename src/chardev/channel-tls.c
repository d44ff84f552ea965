/* TLS as a layer of a connection. */
#include <errno.h>
#include <glib.h>

#include "chardev/channel.h"
#include "crypto/tls-creds.h"

typedef struct TlsChannel {
    Channel base;
    const CryptoProvider *provider;
    TlsSession *session;
} TlsChannel;

static ssize_t transport_recv(void *opaque, void *buf, size_t len)
{
    return channel_recv_below(opaque, buf, len);
}

static ssize_t transport_send(void *opaque, const void *buf, size_t len)
{
    return channel_send_below(opaque, buf, len);
}

static ChannelProgress tls_handshake(Channel *base, bool *want_write, Error **errp)
{
    TlsChannel *ch = (TlsChannel *)base;
    switch (ch->provider->handshake(ch->session, want_write, errp)) {
    case TLS_READY:
        return CHANNEL_READY;
    case TLS_GOES_ON:
        return CHANNEL_GOES_ON;
    default:
        return CHANNEL_FAILED;
    }
}

static ssize_t tls_recv(Channel *base, void *buf, size_t len)
{
    TlsChannel *ch = (TlsChannel *)base;
    return ch->provider->recv(ch->session, buf, len);
}

static ssize_t tls_send(Channel *base, const void *buf, size_t len)
{
    TlsChannel *ch = (TlsChannel *)base;
    return ch->provider->send(ch->session, buf, len);
}

static bool tls_has_input(Channel *base)
{
    TlsChannel *ch = (TlsChannel *)base;
    return ch->provider->has_input(ch->session);
}

static bool tls_has_output(Channel *base)
{
    TlsChannel *ch = (TlsChannel *)base;
    return ch->provider->has_output(ch->session);
}

static int tls_flush(Channel *base)
{
    TlsChannel *ch = (TlsChannel *)base;
    return ch->provider->flush(ch->session);
}

static void tls_free(Channel *base)
{
    TlsChannel *ch = (TlsChannel *)base;
    ch->provider->free(ch->session);
    g_free(ch);
}

static const ChannelOps tls_ops = {
    .handshake = tls_handshake,
    .recv = tls_recv,
    .send = tls_send,
    .has_input = tls_has_input,
    .has_output = tls_has_output,
    .flush = tls_flush,
    .free = tls_free,
};

Channel *channel_tls_new(int fd, struct TlsCreds *creds, const char *hostname, Error **errp)
{
    const CryptoProvider *provider = crypto_provider(errp);
    if (!provider) {
        return NULL;
    }
    TlsChannel *ch = g_new0(TlsChannel, 1);
    ch->base = (Channel){ .ops = &tls_ops, .fd = fd };
    ch->provider = provider;
    TlsTransport transport = { transport_recv, transport_send, ch };
    ch->session = provider->session_new(creds, hostname, &transport, errp);
    if (!ch->session) {
        g_free(ch);
        return NULL;
    }
    return &ch->base;
}
