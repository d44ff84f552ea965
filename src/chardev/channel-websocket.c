/*
 * The server's side of a websocket as a layer of a connection (RFC 6455): binary frames each way;
 * fragments are data like any other, pings are answered, a close ends the connection.
 */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "base/bits.h"
#include "chardev/channel.h"

#define REQUEST_MAX  8192        /* bytes of the opening request */
#define FRAME_MAX    32768       /* bytes of data in a frame that is sent */
#define CONTROL_MAX  125         /* bytes; RFC 6455 section 5.5 */
#define INPUT_MAX    (64 * 1024) /* bytes that wait to be decoded */
#define ACCEPT_MAGIC "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* section 4.2.2 */

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

typedef struct WebsocketChannel {
    Channel base;
    GByteArray *in;  /* as received, not yet decoded */
    GByteArray *out; /* to be sent as it is */
    bool open;       /* the opening handshake is over, but for what out holds */
    bool closing;    /* a close was received or something was wrong: nothing more is read */
    uint64_t left;   /* data bytes of the present frame that are still to come */
    uint8_t mask[4];
    unsigned mask_at;
} WebsocketChannel;

static int flush_out(WebsocketChannel *ch)
{
    while (ch->out->len) {
        ssize_t n = channel_send_below(&ch->base, ch->out->data, ch->out->len);
        if (n < 0) {
            return -1;
        }
        g_byte_array_remove_range(ch->out, 0, n);
    }
    return 0;
}

/* Read what is there; false at the end or on an error (errno, 0 at the end). */
static bool fill_in(WebsocketChannel *ch, size_t max)
{
    uint8_t buf[4096];
    size_t room = max > ch->in->len ? max - ch->in->len : 0;
    ssize_t n = channel_recv_below(&ch->base, buf, MIN_OF(room, sizeof(buf)));
    if (n <= 0) {
        errno = n < 0 ? errno : 0;
        return false;
    }
    g_byte_array_append(ch->in, buf, n);
    return true;
}

/* --- Opening --- */

/* A header's value (g_free), or NULL. */
static char *header(char **lines, const char *name)
{
    size_t n = strlen(name);
    for (char **line = lines; *line; line++) {
        if (g_ascii_strncasecmp(*line, name, n) == 0 && (*line)[n] == ':') {
            return g_strstrip(g_strdup(*line + n + 1));
        }
    }
    return NULL;
}

/* Is the word one of a header's comma-separated list? */
static bool lists(const char *value, const char *word)
{
    g_auto(GStrv) items = g_strsplit(value ? value : "", ",", -1);
    for (char **item = items; *item; item++) {
        if (g_ascii_strcasecmp(g_strstrip(*item), word) == 0) {
            return true;
        }
    }
    return false;
}

static char *accept_value(const char *key)
{
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA1);
    uint8_t digest[20];
    gsize len = sizeof(digest);
    g_checksum_update(sum, (const guchar *)key, -1);
    g_checksum_update(sum, (const guchar *)ACCEPT_MAGIC, -1);
    g_checksum_get_digest(sum, digest, &len);
    return g_base64_encode(digest, len);
}

static bool answer_request(WebsocketChannel *ch, char *request, Error **errp)
{
    g_auto(GStrv) lines = g_strsplit(request, "\r\n", -1);
    g_autofree char *upgrade = header(lines, "Upgrade");
    g_autofree char *connection = header(lines, "Connection");
    g_autofree char *version = header(lines, "Sec-WebSocket-Version");
    g_autofree char *key = header(lines, "Sec-WebSocket-Key");
    g_autofree char *protocol = header(lines, "Sec-WebSocket-Protocol");
    if (!g_str_has_prefix(request, "GET ") || !lists(upgrade, "websocket") ||
        !lists(connection, "upgrade") || g_strcmp0(version, "13") != 0 || !key || !key[0]) {
        static const char refusal[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                                      "Sec-WebSocket-Version: 13\r\n\r\n";
        channel_send_below(&ch->base, refusal, sizeof(refusal) - 1);
        error_set(errp, "the client's request is not for a websocket");
        return false;
    }
    g_autofree char *accept = accept_value(key);
    g_autofree char *reply = g_strdup_printf(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
        accept, lists(protocol, "binary") ? "Sec-WebSocket-Protocol: binary\r\n" : "");
    g_byte_array_append(ch->out, (const uint8_t *)reply, strlen(reply));
    ch->open = true;
    return true;
}

static ChannelProgress read_request(WebsocketChannel *ch, Error **errp)
{
    for (;;) {
        const char *end = ch->in->len ? memmem(ch->in->data, ch->in->len, "\r\n\r\n", 4) : NULL;
        if (end) {
            size_t len = end - (const char *)ch->in->data;
            g_autofree char *request = g_strndup((const char *)ch->in->data, len);
            g_byte_array_remove_range(ch->in, 0, len + 4);
            return answer_request(ch, request, errp) ? CHANNEL_READY : CHANNEL_FAILED;
        }
        if (ch->in->len >= REQUEST_MAX) {
            error_set(errp, "the client's request is longer than %d bytes", REQUEST_MAX);
            return CHANNEL_FAILED;
        }
        if (!fill_in(ch, REQUEST_MAX)) {
            if (errno == EAGAIN) {
                return CHANNEL_GOES_ON;
            }
            error_set(errp, "the client went away during its request");
            return CHANNEL_FAILED;
        }
    }
}

static ChannelProgress websocket_handshake(Channel *base, bool *want_write, Error **errp)
{
    WebsocketChannel *ch = (WebsocketChannel *)base;
    if (!ch->open) {
        ChannelProgress progress = read_request(ch, errp);
        if (progress != CHANNEL_READY) {
            return progress;
        }
    }
    if (flush_out(ch) < 0) {
        if (errno != EAGAIN) {
            error_set_errno(errp, errno, "websocket");
            return CHANNEL_FAILED;
        }
        *want_write = true;
        return CHANNEL_GOES_ON;
    }
    return CHANNEL_READY;
}

/* --- Frames --- */

static void append_frame(WebsocketChannel *ch, unsigned op, const uint8_t *data, size_t len)
{
    uint8_t head[4] = { 0x80 | op, len < 126 ? len : 126, len >> 8, len };
    g_byte_array_append(ch->out, head, len < 126 ? 2 : 4);
    g_byte_array_append(ch->out, data, len);
}

static void unmask(WebsocketChannel *ch, uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        data[i] ^= ch->mask[ch->mask_at++ & 3];
    }
}

static void run_control(WebsocketChannel *ch, unsigned op, uint8_t *data, size_t len)
{
    unmask(ch, data, len);
    if (op == OP_PING && ch->out->len < INPUT_MAX) {
        append_frame(ch, OP_PONG, data, len);
    } else if (op == OP_CLOSE) {
        append_frame(ch, OP_CLOSE, data, MIN_OF(len, 2));
        ch->closing = true;
    }
}

/* Take the next frame's head off the input. False: not all of it is there, or nothing follows. */
static bool next_frame(WebsocketChannel *ch)
{
    const uint8_t *p = ch->in->data;
    size_t have = ch->in->len;
    if (have < 2 || ch->closing) {
        return false;
    }
    unsigned op = p[0] & 15, short_len = p[1] & 127;
    size_t extended = short_len == 126 ? 2 : short_len == 127 ? 8 : 0, head = 2 + extended + 4;
    bool control = op & 8;
    /* No extension was agreed on; clients must mask (sections 5.1, 5.2). */
    if ((p[0] & 0x70) || !(p[1] & 0x80) || (op > OP_BINARY && (op < OP_CLOSE || op > OP_PONG)) ||
        (control && (short_len > CONTROL_MAX || !(p[0] & 0x80)))) {
        ch->closing = true;
        return false;
    }
    if (have < head) {
        return false;
    }
    uint64_t len = extended == 2 ? ld16_be(p + 2) : extended == 8 ? ld64_be(p + 2) : short_len;
    if (len >> 63 || (control && have < head + len)) {
        ch->closing |= len >> 63;
        return false;
    }
    memcpy(ch->mask, p + head - 4, 4);
    ch->mask_at = 0;
    if (control) {
        run_control(ch, op, ch->in->data + head, len);
        g_byte_array_remove_range(ch->in, 0, head + len);
        return !ch->closing;
    }
    g_byte_array_remove_range(ch->in, 0, head);
    ch->left = len;
    return true;
}

/* Decode what is there; returns the data bytes. */
static size_t decode(WebsocketChannel *ch, uint8_t *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        if (!ch->left) {
            if (!next_frame(ch)) {
                break;
            }
            continue;
        }
        size_t n = MIN_OF(MIN_OF(len - done, ch->left), ch->in->len);
        if (!n) {
            break;
        }
        memcpy(buf + done, ch->in->data, n);
        unmask(ch, buf + done, n);
        g_byte_array_remove_range(ch->in, 0, n);
        ch->left -= n;
        done += n;
    }
    return done;
}

static ssize_t websocket_recv(Channel *base, void *buf, size_t len)
{
    WebsocketChannel *ch = (WebsocketChannel *)base;
    for (;;) {
        size_t n = decode(ch, buf, len);
        flush_out(ch);
        if (n) {
            return n;
        }
        if (ch->closing) {
            return 0;
        }
        if (!fill_in(ch, INPUT_MAX)) {
            return errno ? -1 : 0;
        }
    }
}

static ssize_t websocket_send(Channel *base, const void *buf, size_t len)
{
    WebsocketChannel *ch = (WebsocketChannel *)base;
    if (flush_out(ch) < 0) {
        return -1;
    }
    size_t n = MIN_OF(len, FRAME_MAX);
    append_frame(ch, OP_BINARY, buf, n);
    if (flush_out(ch) < 0 && errno != EAGAIN) {
        return -1;
    }
    return n;
}

static bool websocket_has_input(Channel *base)
{
    WebsocketChannel *ch = (WebsocketChannel *)base;
    return ch->closing || (ch->left && ch->in->len) || (!ch->left && ch->in->len >= 6);
}

static bool websocket_has_output(Channel *base)
{
    return ((WebsocketChannel *)base)->out->len > 0;
}

static int websocket_flush(Channel *base)
{
    return flush_out((WebsocketChannel *)base);
}

static void websocket_free(Channel *base)
{
    WebsocketChannel *ch = (WebsocketChannel *)base;
    g_byte_array_unref(ch->in);
    g_byte_array_unref(ch->out);
    g_free(ch);
}

static const ChannelOps websocket_ops = {
    .handshake = websocket_handshake,
    .recv = websocket_recv,
    .send = websocket_send,
    .has_input = websocket_has_input,
    .has_output = websocket_has_output,
    .flush = websocket_flush,
    .free = websocket_free,
};

Channel *channel_websocket_new(Channel *below, int fd)
{
    WebsocketChannel *ch = g_new0(WebsocketChannel, 1);
    ch->base = (Channel){ .ops = &websocket_ops, .below = below, .fd = fd };
    ch->in = g_byte_array_new();
    ch->out = g_byte_array_new();
    return &ch->base;
}
