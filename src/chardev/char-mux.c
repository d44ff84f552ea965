/*
 * mux: several front ends behind one back end. One of them has the focus and gets the input; what
 * any of them writes goes out. An escape character (Ctrl-A unless -echr says otherwise) and a
 * second key switch the focus and do a few other things.
 */
#include <stdio.h>
#include <string.h>

#include "chardev/chardev-internal.h"
#include "object/lifecycle.h"

#define MUX_CLIENTS 4
#define MUX_INPUT   256 /* bytes kept for a front end that is not ready */

typedef struct MuxClient {
    CharFrontend *fe; /* borrowed; NULL: free slot */
    uint8_t input[MUX_INPUT];
    unsigned input_len;
    bool starved; /* had a short write */
} MuxClient;

typedef struct CharMux {
    Chardev parent;
    CharFrontend below; /* on the chardev that is shared */
    MuxClient clients[MUX_CLIENTS];
    int focus; /* index; -1: none */
    bool escape_seen;
    bool timestamps;
    bool at_line_start;
    int64_t start; /* ns, CLK_REALTIME: timestamps count from the first one */
} CharMux;

/* -echr: one escape character for the process, set before chardevs are made. 0: none. */
static int escape_char = 0x01;
/* Start-up holds back OPENED until every device is there. */
static bool opens_suspended;

void chardev_mux_set_escape(int character)
{
    escape_char = character;
}

static bool has_handlers(const MuxClient *client)
{
    return client->fe && client->fe->handlers;
}

static void send_event(const MuxClient *client, CharEvent event)
{
    CharFrontend *fe = client->fe;
    if (!has_handlers(client)) {
        return;
    }
    if (event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) {
        bool open = event == CHAR_EVENT_OPENED;
        if (fe->open == open || (open && opens_suspended)) {
            return;
        }
        fe->open = open;
    }
    if (fe->handlers->event) {
        fe->handlers->event(fe->opaque, event);
    }
}

static void set_focus(CharMux *mux, int index)
{
    if (index == mux->focus) {
        return;
    }
    if (mux->focus >= 0) {
        send_event(&mux->clients[mux->focus], CHAR_EVENT_MUX_OUT);
    }
    mux->focus = index;
    if (index >= 0) {
        send_event(&mux->clients[index], CHAR_EVENT_MUX_IN);
    }
}

/* --- Input --- */

static void deliver(MuxClient *client)
{
    while (client->input_len && has_handlers(client) && client->fe->handlers->can_receive) {
        CharFrontend *fe = client->fe;
        size_t room = fe->handlers->can_receive(fe->opaque);
        unsigned n = room < client->input_len ? room : client->input_len;
        if (!n) {
            return;
        }
        uint8_t chunk[MUX_INPUT];
        memcpy(chunk, client->input, n);
        client->input_len -= n;
        memmove(client->input, client->input + n, client->input_len);
        fe->handlers->receive(fe->opaque, chunk, n);
    }
}

static void next_focus(CharMux *mux)
{
    for (int i = 1; i <= MUX_CLIENTS; i++) {
        int index = (mux->focus + i) % MUX_CLIENTS;
        if (has_handlers(&mux->clients[index])) {
            set_focus(mux, index);
            return;
        }
    }
}

static void print(CharMux *mux, const char *text)
{
    char_frontend_write(&mux->below, text, strlen(text));
}

static void print_help(CharMux *mux)
{
    char name[16];
    if (escape_char >= 1 && escape_char <= 26) {
        snprintf(name, sizeof(name), "C-%c", 'a' + escape_char - 1);
    } else {
        snprintf(name, sizeof(name), "0x%02x", escape_char);
    }
    g_autofree char *text = g_strdup_printf("\r\n"
                                            "%s h    print this help\r\n"
                                            "%s x    exit\r\n"
                                            "%s b    send a serial break\r\n"
                                            "%s c    switch between console and monitor\r\n"
                                            "%s t    time stamps on or off\r\n"
                                            "%s %s  send %s\r\n",
                                            name, name, name, name, name, name, name, name);
    print(mux, text);
}

static void escape_command(CharMux *mux, uint8_t c)
{
    if (mux->focus >= 0) {
        /* What was typed before the command goes to the one that had the focus then. */
        deliver(&mux->clients[mux->focus]);
    }
    switch (c) {
    case 'h':
    case '?':
        print_help(mux);
        break;
    case 'x':
        print(mux, "\r\nrhea: terminated\r\n");
        lifecycle_request_exit(SHUTDOWN_CAUSE_HOST_UI, 0);
        break;
    case 'b':
        if (mux->focus >= 0) {
            send_event(&mux->clients[mux->focus], CHAR_EVENT_BREAK);
        }
        break;
    case 'c':
        next_focus(mux);
        break;
    case 't':
        mux->timestamps = !mux->timestamps;
        mux->at_line_start = false;
        mux->start = 0;
        break;
    default:
        break;
    }
}

static size_t below_can_receive(void *opaque)
{
    CharMux *mux = opaque;
    if (mux->focus < 0) {
        return MUX_INPUT; /* only escapes count */
    }
    return MUX_INPUT - mux->clients[mux->focus].input_len;
}

static void below_receive(void *opaque, const uint8_t *buf, size_t len)
{
    CharMux *mux = opaque;
    for (size_t i = 0; i < len; i++) {
        if (mux->escape_seen) {
            mux->escape_seen = false;
            if (buf[i] != escape_char) {
                escape_command(mux, buf[i]);
                continue;
            }
        } else if (escape_char && buf[i] == escape_char) {
            mux->escape_seen = true;
            continue;
        }
        if (mux->focus < 0 || !has_handlers(&mux->clients[mux->focus])) {
            continue;
        }
        MuxClient *client = &mux->clients[mux->focus];
        if (client->input_len == MUX_INPUT) {
            deliver(client);
        }
        if (client->input_len < MUX_INPUT) {
            client->input[client->input_len++] = buf[i];
        }
    }
    if (mux->focus >= 0) {
        deliver(&mux->clients[mux->focus]);
    }
}

static void below_event(void *opaque, CharEvent event)
{
    CharMux *mux = opaque;
    switch (event) {
    case CHAR_EVENT_OPENED:
    case CHAR_EVENT_CLOSED:
        chardev_set_connected(&mux->parent, event == CHAR_EVENT_OPENED);
        break;
    case CHAR_EVENT_BREAK:
        chardev_event(&mux->parent, event);
        break;
    default:
        break;
    }
}

static void below_writable(void *opaque)
{
    CharMux *mux = opaque;
    for (int i = 0; i < MUX_CLIENTS; i++) {
        MuxClient *client = &mux->clients[i];
        if (client->starved) {
            client->starved = false;
            if (has_handlers(client) && client->fe->handlers->writable) {
                client->fe->handlers->writable(client->fe->opaque);
            }
        }
    }
}

static const CharHandlers below_handlers = {
    .can_receive = below_can_receive,
    .receive = below_receive,
    .event = below_event,
    .writable = below_writable,
};

/* --- What the core asks --- */

static void mux_event(Chardev *base, CharEvent event)
{
    CharMux *mux = (CharMux *)base;
    if (event == CHAR_EVENT_BREAK) {
        if (mux->focus >= 0) {
            send_event(&mux->clients[mux->focus], event);
        }
        return;
    }
    for (int i = 0; i < MUX_CLIENTS; i++) {
        send_event(&mux->clients[i], event);
    }
}

/* With time stamps, each line begins with "[seconds.milliseconds] ". */
static size_t write_stamped(CharMux *mux, const uint8_t *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        if (mux->at_line_start) {
            int64_t now = clock_now(CLK_REALTIME);
            mux->start = mux->start ? mux->start : now;
            int64_t ms = (now - mux->start) / NS_PER_MS;
            char stamp[40];
            int n = snprintf(stamp, sizeof(stamp), "[%" G_GINT64_FORMAT ".%03d] ", ms / 1000,
                             (int)(ms % 1000));
            if (char_frontend_write(&mux->below, stamp, n) == 0) {
                return done;
            }
            mux->at_line_start = false;
        }
        const uint8_t *end = memchr(buf + done, '\n', len - done);
        size_t n = (end ? (size_t)(end - buf) + 1 : len) - done;
        size_t written = char_frontend_write(&mux->below, buf + done, n);
        done += written;
        if (written < n) {
            return done;
        }
        mux->at_line_start = end != NULL;
    }
    return done;
}

static size_t mux_frontend_write(Chardev *base, CharFrontend *fe, const void *buf, size_t len)
{
    CharMux *mux = (CharMux *)base;
    size_t n =
        mux->timestamps ? write_stamped(mux, buf, len) : char_frontend_write(&mux->below, buf, len);
    chardev_log(base, buf, n);
    mux->clients[fe->tag].starved |= n < len;
    return n;
}

static bool mux_frontend_attach(Chardev *base, CharFrontend *fe, Error **errp)
{
    CharMux *mux = (CharMux *)base;
    for (int i = 0; i < MUX_CLIENTS; i++) {
        if (!mux->clients[i].fe) {
            mux->clients[i] = (MuxClient){ .fe = fe };
            fe->tag = i;
            return true;
        }
    }
    error_set(errp, "chardev '%s': a mux takes at most %d devices", chardev_name(base),
              MUX_CLIENTS);
    return false;
}

static void mux_frontend_detach(Chardev *base, CharFrontend *fe)
{
    CharMux *mux = (CharMux *)base;
    mux->clients[fe->tag] = (MuxClient){ 0 };
    if (mux->focus == (int)fe->tag) {
        mux->focus = -1;
        next_focus(mux);
    }
}

static void mux_frontend_changed(Chardev *base, CharFrontend *fe)
{
    CharMux *mux = (CharMux *)base;
    MuxClient *client = &mux->clients[fe->tag];
    if (!fe->handlers) {
        client->input_len = 0;
        if (mux->focus == (int)fe->tag) {
            next_focus(mux);
        }
        return;
    }
    if (chardev_is_connected(base)) {
        send_event(client, CHAR_EVENT_OPENED);
    }
    if (mux->focus == (int)fe->tag) {
        send_event(client, CHAR_EVENT_MUX_IN);
    } else {
        /* The one that came last has the focus. */
        set_focus(mux, fe->tag);
    }
}

static void mux_frontend_focus(Chardev *base, CharFrontend *fe)
{
    set_focus((CharMux *)base, fe->tag);
}

static void mux_frontend_accept(Chardev *base, CharFrontend *fe)
{
    CharMux *mux = (CharMux *)base;
    deliver(&mux->clients[fe->tag]);
    char_frontend_accept_input(&mux->below);
}

static bool mux_is_busy(const Chardev *base)
{
    const CharMux *mux = (const CharMux *)base;
    for (int i = 0; i < MUX_CLIENTS; i++) {
        if (mux->clients[i].fe) {
            return true;
        }
    }
    return false;
}

static CharFrontend *mux_below(Chardev *base)
{
    return &((CharMux *)base)->below;
}

static void mux_set_echo(Chardev *base, bool echo)
{
    char_frontend_set_echo(&((CharMux *)base)->below, echo);
}

void chardev_mux_suspend_opens(void)
{
    opens_suspended = true;
}

static bool send_opens(Object *child, void *opaque)
{
    if (object_dynamic_cast(child, TYPE_CHARDEV_MUX) && chardev_is_connected((Chardev *)child)) {
        mux_event((Chardev *)child, CHAR_EVENT_OPENED);
    }
    return true;
}

void chardev_mux_resume_opens(void)
{
    if (opens_suspended) {
        opens_suspended = false;
        object_foreach_child(object_container("/chardevs"), send_opens, NULL);
    }
}

static bool mux_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharMux *mux = (CharMux *)base;
    const ChardevMux *options = &record->u.mux.data;
    Chardev *below = chardev_find_or_error(options->chardev, errp);
    if (!below || !char_frontend_init(&mux->below, below, errp)) {
        error_prepend(errp, "mux '%s': ", chardev_name(base));
        return false;
    }
    chardev_set_filename(base, "mux");
    return chardev_open_log(base, (const ChardevCommon *)options, errp);
}

static void mux_attach(Chardev *base)
{
    CharMux *mux = (CharMux *)base;
    if (!mux->below.handlers) {
        char_frontend_set_handlers(&mux->below, &below_handlers, mux, NULL);
    }
}

static void mux_close(Chardev *base)
{
    char_frontend_finish(&((CharMux *)base)->below);
}

static void mux_instance_init(Object *obj)
{
    ((CharMux *)obj)->focus = -1;
}

static void mux_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "mux";
    chardev->several_frontends = true;
    chardev->open = mux_open;
    chardev->close = mux_close;
    chardev->attach = mux_attach;
    chardev->set_echo = mux_set_echo;
    chardev->frontend_attach = mux_frontend_attach;
    chardev->frontend_detach = mux_frontend_detach;
    chardev->frontend_changed = mux_frontend_changed;
    chardev->frontend_focus = mux_frontend_focus;
    chardev->frontend_accept = mux_frontend_accept;
    chardev->frontend_write = mux_frontend_write;
    chardev->event = mux_event;
    chardev->is_busy = mux_is_busy;
    chardev->below = mux_below;
}

static const TypeInfo mux_type = {
    .name = TYPE_CHARDEV_MUX,
    .parent = TYPE_CHARDEV,
    .help = "several devices behind one chardev",
    .instance_size = sizeof(CharMux),
    .instance_init = mux_instance_init,
    .class_init = mux_class_init,
};
OBJECT_TYPE(char_mux, mux_type)
