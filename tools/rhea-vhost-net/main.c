/*
 * rhea-vhost-net: a vhost-user back end for network cards.
 *
 * The machines that are connected to it, by one socket or several, share an Ethernet switch; behind
 * the switch is an uplink, any network back end of rhea's (-netdev), by default user-mode
 * networking with DHCP and a way out. It serves every front end that speaks the vhost-user
 * protocol, and can be told to misbehave, for tests of front ends.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/module.h"
#include "base/report.h"
#include "base/text.h"
#include "config/keyval.h"
#include "devices/virtio/spec.h"
#include "event/clock.h"
#include "event/lock.h"
#include "event/socket.h"
#include "machine.h"
#include "net/netdev.h"
#include "vhost/features.h"

#define DEFAULT_UPLINK "user"
enum { BACKLOG = 16, RETRY_MS = 100 };

typedef struct Options {
    gchar **listen, **connect, **faults;
    gchar *uplink, *features, *protocol_features;
    gint queue_pairs, delay_ms, lose_after;
    gchar *lose;
    gboolean once, verbose, version;
} Options;

typedef struct Program Program;

/* A socket where machines come from. */
typedef struct Place {
    Program *program;
    SocketAddr addr;
    char *name; /* "unix:/run/v0.sock" */
    bool connects;
    int listener; /* -1 */
    FdWatch *watch;
    SocketConnect *attempt;
    Timer *retry;
    bool said_absent; /* that nobody listens; once until there was a connection */
} Place;

struct Program {
    Options options;
    BackEndSettings settings;
    uint64_t lose; /* features that are no longer offered after lose_after connections */
    unsigned connections;
    Switch *sw;
    NetClient *uplink; /* the switch's end; NULL: none */
    SwitchPort *uplink_port;
    GPtrArray *places;   /* Place */
    GPtrArray *machines; /* Machine */
    FdWatch *signals;
    int signal_fd;
};

/* --- The uplink --- */

typedef struct Uplink {
    NetClient client;
    Program *program;
} Uplink;

static size_t uplink_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    Uplink *u = (Uplink *)nc;
    size_t len = 0;
    for (unsigned i = 0; i < count; i++) {
        len += iov[i].iov_len;
    }
    return switch_forward(u->program->uplink_port, iov, count) ? len : 0;
}

static const NetClientOps uplink_ops = {
    .type = "switch",
    .size = sizeof(Uplink),
    .receive = uplink_receive,
};

static bool to_uplink(void *opaque, const struct iovec *iov, unsigned count)
{
    net_send(((Program *)opaque)->uplink, iov, count, NULL);
    return true;
}

static void uplink_has_room(void *opaque)
{
    net_flush_queued(((Program *)opaque)->uplink);
}

static bool add_uplink(Program *p, Error **errp)
{
    bool help = false, ok = false;
    json_t *json = keyval_parse(p->options.uplink ? p->options.uplink : DEFAULT_UPLINK,
                                &value_type_netdev, &help, errp);
    if (!json) {
        return false;
    }
    if (help) {
        error_set(errp, "rhea -netdev help lists what there is");
        json_decref(json);
        return false;
    }
    json_object_set_new(json, "id", json_string("uplink"));
    Netdev record = { 0 };
    if (value_parse(&value_type_netdev, &record, json, VALUE_MODE_TEXT, errp)) {
        ok = netdev_add(&record, errp);
        value_release(&value_type_netdev, &record);
    }
    json_decref(json);
    if (ok) {
        p->uplink = net_client_new(&uplink_ops, NULL, "switch", net_netdev_find("uplink"));
        ((Uplink *)p->uplink)->program = p;
        p->uplink_port = switch_add_port(p->sw, to_uplink, p);
        machine_set_room_notify(uplink_has_room, p);
    }
    return ok;
}

/* --- Machines come and go --- */

static void place_connect(void *opaque);

static void machine_gone(Machine *m, void *opaque)
{
    Place *place = opaque;
    Program *p = place->program;
    g_ptr_array_remove(p->machines, m);
    if (p->options.once && !p->machines->len) {
        event_loop_quit(event_loop_main());
    } else if (place->connects) {
        timer_set(place->retry, clock_now(CLK_REALTIME) + RETRY_MS * NS_PER_MS);
    }
}

static void machine_came(Place *place, int fd)
{
    Program *p = place->program;
    Error *err = NULL;
    if (!fd_set_nonblock(fd, true, &err)) {
        error_report_and_free(err);
        fd_close(fd);
        return;
    }
    if (p->lose && p->connections == (unsigned)p->options.lose_after) {
        p->settings.features &= ~p->lose;
        g_autofree char *names = vhost_feature_names(VIRTIO_ID_NET, p->lose);
        report_info("%s: from now on without %s", place->name, names);
    }
    p->connections++;
    g_ptr_array_add(p->machines,
                    machine_new(&p->settings, p->sw, fd, place->name, machine_gone, place));
}

static void place_accept(void *opaque)
{
    Place *place = opaque;
    for (int fd; (fd = socket_accept(place->listener)) >= 0;) {
        machine_came(place, fd);
    }
}

static void place_connected(void *opaque, int fd, Error *err)
{
    Place *place = opaque;
    place->attempt = NULL;
    if (fd >= 0) {
        place->said_absent = false;
        machine_came(place, fd);
        return;
    }
    if (!place->said_absent) {
        place->said_absent = true;
        report_info("%s: %s; it is tried again until somebody listens", place->name,
                    error_message(err));
    }
    error_free(err);
    timer_set(place->retry, clock_now(CLK_REALTIME) + RETRY_MS * NS_PER_MS);
}

static void place_connect(void *opaque)
{
    Place *place = opaque;
    Error *err = NULL;
    int fd = socket_connect(&place->addr, event_loop_main(), &place->attempt, place_connected,
                            place, &err);
    if (fd >= 0 || err) {
        place_connected(place, fd, err);
    }
}

static bool place_add(Program *p, const char *path, bool connects, Error **errp)
{
    Place *place = g_new0(Place, 1);
    place->program = p;
    place->connects = connects;
    place->listener = -1;
    place->addr = (SocketAddr){ .kind = SOCKET_UNIX, .path = g_strdup(path) };
    place->name = socket_addr_describe(&place->addr);
    g_ptr_array_add(p->places, place);
    if (connects) {
        place->retry = timer_new(event_loop_main(), CLK_REALTIME, place_connect, place);
        place_connect(place);
        return true;
    }
    place->listener = socket_listen(&place->addr, BACKLOG, errp);
    if (place->listener < 0) {
        return false;
    }
    place->watch = fd_watch_new(event_loop_main(), place->listener, place_accept, NULL, place);
    return true;
}

static void place_free(void *opaque)
{
    Place *place = opaque;
    socket_connect_cancel(place->attempt);
    timer_free(place->retry);
    fd_watch_free(place->watch);
    if (place->listener >= 0) {
        socket_unlink(&place->addr);
        fd_close(place->listener);
    }
    socket_addr_release(&place->addr);
    g_free(place->name);
    g_free(place);
}

/* --- Signals --- */

static void signal_came(void *opaque)
{
    event_loop_quit(event_loop_main());
}

/* Before any thread is made: they inherit what is blocked. */
static bool catch_signals(Program *p, Error **errp)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) ||
        (p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
        error_set_errno(errp, errno, "cannot wait for signals");
        return false;
    }
    return true;
}

/* --- Options --- */

static bool parse_bits(const char *what, const char *text, uint64_t all, uint64_t *bits,
                       Error **errp)
{
    if (text && (!text_to_u64(text, bits) || *bits & ~all)) {
        error_set(errp, "--%s '%s': bits of 0x%" G_GINT64_MODIFIER "x, as a number, are expected",
                  what, text, all);
        return false;
    }
    return true;
}

static bool check_range(const char *what, int value, int least, int most, Error **errp)
{
    if (value < least || value > most) {
        error_set(errp, "--%s takes %d to %d, not %d", what, least, most, value);
        return false;
    }
    return true;
}

static bool make_settings(Program *p, Error **errp)
{
    const Options *o = &p->options;
    BackEndSettings *s = &p->settings;
    s->features = machine_features;
    s->protocol_features = machine_protocol_features;
    s->queue_pairs = o->queue_pairs;
    s->delay_ms = o->delay_ms;
    s->verbose = o->verbose;
    if (!check_range("queues", o->queue_pairs, 1, MACHINE_QUEUE_PAIRS_MAX, errp) ||
        !check_range("delay", o->delay_ms, 0, 3600000, errp) ||
        !check_range("lose-after", o->lose_after, 1, INT_MAX, errp) ||
        !parse_bits("features", o->features, machine_features, &s->features, errp) ||
        !parse_bits("protocol-features", o->protocol_features, machine_protocol_features,
                    &s->protocol_features, errp) ||
        !parse_bits("lose", o->lose, machine_features, &p->lose, errp)) {
        return false;
    }
    s->fault_count = o->faults ? g_strv_length(o->faults) : 0;
    s->faults = g_new0(Fault, s->fault_count + 1);
    for (unsigned i = 0; i < s->fault_count; i++) {
        if (!fault_parse(&s->faults[i], o->faults[i], errp)) {
            return false;
        }
    }
    return true;
}

static void print_faults(void)
{
    for (unsigned kind = 1; kind < FAULT_KIND_COUNT; kind++) {
        printf("%-12s %s\n", fault_name(kind), fault_help(kind));
    }
}

static bool read_options(Options *o, int argc, char **argv, Error **errp)
{
    const GOptionEntry entries[] = {
        { "listen", 'l', 0, G_OPTION_ARG_FILENAME_ARRAY, &o->listen,
          "Wait for machines at this unix socket; may be given several times", "PATH" },
        { "connect", 'c', 0, G_OPTION_ARG_FILENAME_ARRAY, &o->connect,
          "Connect to a machine that listens, again whenever that ends", "PATH" },
        { "uplink", 'u', 0, G_OPTION_ARG_STRING, &o->uplink,
          "Network behind the switch, as rhea's -netdev takes it without id; none. Default: user",
          "NETDEV" },
        { "queues", 'q', 0, G_OPTION_ARG_INT, &o->queue_pairs,
          "Queue pairs that a machine may use. Default: 8", "N" },
        { "once", 0, 0, G_OPTION_ARG_NONE, &o->once, "End when the last machine has gone", NULL },
        { "verbose", 'v', 0, G_OPTION_ARG_NONE, &o->verbose, "One line for each message", NULL },
        { "features", 0, 0, G_OPTION_ARG_STRING, &o->features,
          "Virtio features to offer instead of all", "BITS" },
        { "protocol-features", 0, 0, G_OPTION_ARG_STRING, &o->protocol_features,
          "Protocol features to offer instead of all", "BITS" },
        { "lose", 0, 0, G_OPTION_ARG_STRING, &o->lose,
          "Virtio features that are not offered any more after some connections", "BITS" },
        { "lose-after", 0, 0, G_OPTION_ARG_INT, &o->lose_after,
          "How many connections that are. Default: 1", "N" },
        { "delay", 0, 0, G_OPTION_ARG_INT, &o->delay_ms, "Time before each answer", "MS" },
        { "fault", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o->faults,
          "Misbehave at a message, each time or the Nth: KIND:MESSAGE[:N]; help lists the kinds",
          "FAULT" },
        { "version", 0, 0, G_OPTION_ARG_NONE, &o->version, "Print the version", NULL },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- vhost-user network back end");
    g_autoptr(GError) gerr = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &gerr)) {
        error_set(errp, "%s", gerr->message);
        return false;
    }
    if (argc > 1) {
        error_set(errp, "'%s' is not expected; --help shows the options", argv[1]);
        return false;
    }
    return true;
}

static bool wants_only_help(const Options *o)
{
    if (o->version) {
        printf("rhea-vhost-net %s\n", RHEA_VERSION);
        return true;
    }
    if (o->faults && text_is_help(o->faults[0])) {
        print_faults();
        return true;
    }
    return false;
}

/* --- The program --- */

static bool add_places(Program *p, gchar **paths, bool connects, Error **errp)
{
    for (unsigned i = 0; paths && paths[i]; i++) {
        if (!place_add(p, paths[i], connects, errp)) {
            return false;
        }
    }
    return true;
}

static bool start(Program *p, Error **errp)
{
    if (!p->options.listen && !p->options.connect) {
        error_set(errp, "say where machines come from: --listen PATH or --connect PATH");
        return false;
    }
    if (!make_settings(p, errp) || !catch_signals(p, errp) || !event_loop_main_init(errp)) {
        return false;
    }
    machine_lock();
    module_call(MODULE_TYPES);
    module_call(MODULE_SUBSYSTEM);
    clock_virtual_set_running(true); /* what user-mode networking goes by */
    p->signals = fd_watch_new(event_loop_main(), p->signal_fd, signal_came, NULL, p);
    p->sw = switch_new();
    p->places = g_ptr_array_new_with_free_func(place_free);
    p->machines = g_ptr_array_new_with_free_func((GDestroyNotify)machine_free);
    return (!g_strcmp0(p->options.uplink, "none") || add_uplink(p, errp)) &&
           add_places(p, p->options.listen, false, errp) &&
           add_places(p, p->options.connect, true, errp);
}

static void finish(Program *p)
{
    if (p->sw) {
        g_ptr_array_free(p->machines, true);
        g_ptr_array_free(p->places, true);
        switch_remove_port(p->uplink_port);
        if (p->uplink) {
            net_client_free(p->uplink);
        }
        net_finish_all();
        switch_free(p->sw);
        fd_watch_free(p->signals);
        machine_unlock();
        event_loop_main_finish();
    }
    fd_close(p->signal_fd);
    g_free(p->settings.faults);
    g_strfreev(p->options.listen);
    g_strfreev(p->options.connect);
    g_strfreev(p->options.faults);
    g_free(p->options.uplink);
    g_free(p->options.features);
    g_free(p->options.protocol_features);
    g_free(p->options.lose);
}

int main(int argc, char **argv)
{
    Program p = { .signal_fd = -1, .options = { .queue_pairs = 8, .lose_after = 1 } };
    Error *err = NULL;
    int status = 0;
    report_set_program("rhea-vhost-net");
    if (read_options(&p.options, argc, argv, &err) && !wants_only_help(&p.options) &&
        start(&p, &err)) {
        event_loop_run(event_loop_main());
    }
    if (err) {
        error_report_and_free(err);
        status = 1;
    }
    finish(&p);
    return status;
}
