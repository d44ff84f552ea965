/*
 * Telnet as a layer of a connection (RFC 854): a server asks for character mode and binary
 * transmission; commands of the other side are taken out of the stream, 0xFF bytes are doubled.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "chardev/channel.h"

enum {
    TELNET_SE = 240,
    TELNET_SB = 250,
    TELNET_WILL = 251,
    TELNET_DO = 253,
    TELNET_DONT = 254,
    TELNET_IAC = 255,
    TELNET_OPTION_BINARY = 0,
    TELNET_OPTION_ECHO = 1,
    TELNET_OPTION_SGA = 3,
};

static const uint8_t server_wishes[] = {
    TELNET_IAC, TELNET_WILL, TELNET_OPTION_ECHO,   TELNET_IAC, TELNET_WILL, TELNET_OPTION_SGA,
    TELNET_IAC, TELNET_WILL, TELNET_OPTION_BINARY, TELNET_IAC, TELNET_DO,   TELNET_OPTION_BINARY,
};

typedef struct TelnetChannel {
    Channel base;
    enum { DATA, COMMAND, OPTION, SUB, SUB_IAC } state;
    size_t wishes_sent; /* bytes of server_wishes */
    bool owes_iac;      /* the second half of a doubled 0xFF is still to go */
} TelnetChannel;

static ChannelProgress telnet_handshake(Channel *base, bool *want_write, Error **errp)
{
    TelnetChannel *ch = (TelnetChannel *)base;
    while (ch->wishes_sent < sizeof(server_wishes)) {
        ssize_t n = channel_send_below(base, server_wishes + ch->wishes_sent,
                                       sizeof(server_wishes) - ch->wishes_sent);
        if (n < 0 && errno == EAGAIN) {
            *want_write = true;
            return CHANNEL_GOES_ON;
        }
        if (n < 0) {
            error_set_errno(errp, errno, "telnet");
            return CHANNEL_FAILED;
        }
        ch->wishes_sent += n;
    }
    return CHANNEL_READY;
}

/* True: the byte is data. */
static bool filter(TelnetChannel *ch, uint8_t c)
{
    switch (ch->state) {
    case DATA:
        if (c == TELNET_IAC) {
            ch->state = COMMAND;
            return false;
        }
        return true;
    case COMMAND:
        ch->state = c == TELNET_SB ? SUB : c >= TELNET_WILL && c <= TELNET_DONT ? OPTION : DATA;
        return c == TELNET_IAC;
    case OPTION:
        ch->state = DATA;
        return false;
    case SUB:
        ch->state = c == TELNET_IAC ? SUB_IAC : SUB;
        return false;
    default:
        ch->state = c == TELNET_SE ? DATA : SUB;
        return false;
    }
}

static ssize_t telnet_recv(Channel *base, void *buf, size_t len)
{
    TelnetChannel *ch = (TelnetChannel *)base;
    uint8_t *bytes = buf;
    ssize_t n = channel_recv_below(base, buf, len);
    if (n <= 0) {
        return n;
    }
    size_t kept = 0;
    for (ssize_t i = 0; i < n; i++) {
        if (filter(ch, bytes[i])) {
            bytes[kept++] = bytes[i];
        }
    }
    if (!kept) {
        errno = EAGAIN;
        return -1;
    }
    return kept;
}

static int telnet_flush(Channel *base)
{
    TelnetChannel *ch = (TelnetChannel *)base;
    static const uint8_t iac = TELNET_IAC;
    if (ch->owes_iac) {
        if (channel_send_below(base, &iac, 1) < 0) {
            return -1;
        }
        ch->owes_iac = false;
    }
    return 0;
}

static ssize_t telnet_send(Channel *base, const void *buf, size_t len)
{
    TelnetChannel *ch = (TelnetChannel *)base;
    const uint8_t *bytes = buf;
    size_t done = 0;
    while (done < len) {
        if (telnet_flush(base) < 0) {
            break;
        }
        const uint8_t *iac = memchr(bytes + done, TELNET_IAC, len - done);
        size_t n = iac ? (size_t)(iac - bytes) - done + 1 : len - done;
        ssize_t sent = channel_send_below(base, bytes + done, n);
        if (sent < 0) {
            break;
        }
        done += sent;
        ch->owes_iac = iac && (size_t)sent == n;
        if ((size_t)sent < n) {
            break;
        }
    }
    return done ? (ssize_t)done : -1;
}

static bool telnet_has_output(Channel *base)
{
    return ((TelnetChannel *)base)->owes_iac;
}

static void telnet_free(Channel *base)
{
    g_free(base);
}

static const ChannelOps telnet_ops = {
    .handshake = telnet_handshake,
    .recv = telnet_recv,
    .send = telnet_send,
    .has_output = telnet_has_output,
    .flush = telnet_flush,
    .free = telnet_free,
};

Channel *channel_telnet_new(Channel *below, int fd, bool server)
{
    TelnetChannel *ch = g_new0(TelnetChannel, 1);
    ch->base = (Channel){ .ops = &telnet_ops, .below = below, .fd = fd };
    ch->wishes_sent = server ? 0 : sizeof(server_wishes);
    return &ch->base;
}
