/* net: peers and flow control, and each back end with real frames through it. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fdset.h"
#include "base/iov.h"
#include "event/lock.h"
#include "event/loop.h"
#include "net/netdev.h"
#include "net/nic.h"
#include "object/user-creatable.h"

/* --- A peer that keeps what it gets, as long as it has room --- */

typedef struct Sink {
    NetClient client;
    unsigned room, frames, link_changes;
    uint8_t last[NET_FRAME_MAX];
    size_t last_len;
} Sink;

static size_t sink_receive(NetClient *nc, const struct iovec *iov, unsigned count)
{
    Sink *s = (Sink *)nc;
    if (!s->room) {
        return 0;
    }
    s->room--;
    s->frames++;
    s->last_len = iov_to_buf(iov, count, 0, s->last, sizeof(s->last));
    return s->last_len;
}

static void sink_link_changed(NetClient *nc)
{
    ((Sink *)nc)->link_changes++;
}

static const NetClientOps sink_ops = {
    .type = "sink",
    .size = sizeof(Sink),
    .receive = sink_receive,
    .link_changed = sink_link_changed,
};

static Sink *sink_new(const char *name, NetClient *peer)
{
    Sink *s = (Sink *)net_client_new(&sink_ops, NULL, name, peer);
    s->room = UINT_MAX;
    return s;
}

static unsigned sent_calls;
static size_t sent_len;

static void sent(NetClient *nc, size_t len)
{
    sent_calls++;
    sent_len = len;
}

static void spin_until(const unsigned *value, unsigned want)
{
    int64_t end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    while (*value < want) {
        event_loop_iterate(event_loop_main(), false);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* Through the record, as -netdev and netdev_add do. */
static bool add(const char *json, Error **errp)
{
    json_t *j = json_loads(json, 0, NULL);
    g_assert_nonnull(j);
    Netdev record = { 0 };
    bool ok = value_parse(&value_type_netdev, &record, j, VALUE_MODE_TEXT, errp);
    json_decref(j);
    if (ok) {
        ok = netdev_add(&record, errp);
        value_release(&value_type_netdev, &record);
    }
    return ok;
}

static void add_ok(const char *json)
{
    Error *err = NULL;
    if (!add(json, &err)) {
        g_error("%s: %s", json, error_message(err));
    }
}

static void add_fails(const char *json, const char *why)
{
    ERROR_AUTO err = NULL;
    g_assert_false(add(json, &err));
    if (!strstr(error_message(err), why)) {
        g_error("%s: '%s' lacks '%s'", json, error_message(err), why);
    }
}

static void test_flow_control(void)
{
    Sink *a = sink_new("a", NULL), *b = sink_new("b", &a->client);
    g_assert_cmpuint(net_send_buf(&a->client, "hello", 5, sent), ==, 5);
    g_assert_cmpmem(b->last, b->last_len, "hello", 5);
    b->room = 0;
    sent_calls = 0;
    g_assert_cmpuint(net_send_buf(&a->client, "one", 3, sent), ==, 0);
    g_assert_cmpuint(net_send_buf(&a->client, "second", 6, sent), ==, 0);
    g_assert_false(net_can_send(&a->client));
    b->room = 1;
    g_assert_cmpuint(sent_calls, ==, 0); /* not before it says so */
    g_assert_false(net_flush_queued(&b->client));
    g_assert_cmpuint(sent_calls, ==, 1);
    g_assert_cmpmem(b->last, b->last_len, "one", 3);
    net_purge_queued(&a->client);
    b->room = 5;
    g_assert_true(net_flush_queued(&b->client));
    g_assert_cmpuint(b->frames, ==, 2);
    /* A pulled cable swallows frames, and both ends know. */
    net_set_link(&a->client, false);
    g_assert_cmpuint(b->link_changes, ==, 1);
    g_assert_cmpuint(net_send_buf(&b->client, "x", 1, sent), ==, 1);
    g_assert_cmpuint(a->frames, ==, 0);
    net_set_link(&a->client, true);
    net_send_buf(&b->client, "x", 1, sent);
    g_assert_cmpuint(a->frames, ==, 1);
    net_client_free(&a->client);
    g_assert_null(b->client.peer);
    g_assert_cmpuint(net_send_buf(&b->client, "x", 1, sent), ==, 1);
    net_client_free(&b->client);
}

static void exchange(Sink *a, Sink *b)
{
    uint8_t frame[1514];
    for (unsigned i = 0; i < 50; i++) {
        unsigned want_a = a->frames + 1, want_b = b->frames + 1;
        memset(frame, i, sizeof(frame));
        size_t len = 60 + i * 29;
        net_send_buf(&a->client, frame, len, sent);
        net_send_buf(&b->client, frame, len, sent);
        spin_until(&b->frames, want_b);
        spin_until(&a->frames, want_a);
        g_assert_cmpmem(b->last, b->last_len, frame, len);
        g_assert_cmpmem(a->last, a->last_len, frame, len);
    }
}

static char *temp_dir(void)
{
    char *dir = g_dir_make_tmp("rhea-net-XXXXXX", NULL);
    g_assert_nonnull(dir);
    return dir;
}

static void test_stream(void)
{
    g_autofree char *dir = temp_dir();
    g_autofree char *server = g_strdup_printf("{\"type\":\"stream\",\"id\":\"s\",\"server\":true,"
                                              "\"addr\":{\"type\":\"unix\",\"path\":\"%s/x\"}}",
                                              dir);
    g_autofree char *client = g_strdup_printf(
        "{\"type\":\"stream\",\"id\":\"c\",\"addr\":{\"type\":\"unix\",\"path\":\"%s/x\"},"
        "\"reconnect-ms\":10}",
        dir);
    /* The client comes first and tries again until somebody listens. */
    add_ok(client);
    add_ok(server);
    Sink *a = sink_new("a", net_netdev_find("s")), *b = sink_new("b", net_netdev_find("c"));
    while (!b->frames) {
        net_send_buf(&a->client, "are you there", 13, NULL);
        event_loop_iterate(event_loop_main(), false);
    }
    exchange(a, b);
    /* The reader stops: the socket fills, the writer learns it, nothing is lost. */
    b->room = 0;
    unsigned start = b->frames, n = 0;
    uint8_t frame[60000] = { 1 };
    sent_calls = 0;
    for (; n < 1000 && net_send_buf(&a->client, frame, sizeof(frame), sent); n++) {
        event_loop_iterate(event_loop_main(), false);
    }
    g_assert_cmpuint(n, <, 1000);
    b->room = UINT_MAX;
    net_flush_queued(&b->client);
    spin_until(&sent_calls, 1);
    spin_until(&b->frames, start + n + 1);
    g_assert_cmpuint(b->last_len, ==, sizeof(frame));
    /* The server goes; the client comes back to the next one. */
    Error *err = NULL;
    g_assert_true(netdev_del("s", &err));
    add_ok(server);
    net_connect(&a->client, net_netdev_find("s"));
    a->client.link_down = false;
    unsigned had = b->frames;
    while (b->frames == had) {
        net_send_buf(&a->client, "back", 4, NULL);
        event_loop_iterate(event_loop_main(), false);
    }
    net_client_free(&a->client);
    net_client_free(&b->client);
    net_finish_all();
    g_assert_cmpint(g_rmdir(dir), ==, 0); /* the socket file is gone too */
}

/* A length that can't be: the connection is closed, the machine is not. */
static void test_stream_nonsense(void)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    fd_named_put("sock", pair[0]);
    add_ok("{\"type\":\"stream\",\"id\":\"s\",\"addr\":{\"type\":\"fd\",\"str\":\"sock\"}}");
    Sink *a = sink_new("a", net_netdev_find("s"));
    uint8_t bytes[] = { 0, 0, 0, 3, 'a', 'b', 'c', 0x7f, 0, 0, 0 };
    g_assert_cmpint(write(pair[1], bytes, sizeof(bytes)), ==, sizeof(bytes));
    spin_until(&a->frames, 1);
    g_assert_cmpmem(a->last, a->last_len, "abc", 3);
    int64_t end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    while (recv(pair[1], bytes, 1, MSG_DONTWAIT) != 0) {
        event_loop_iterate(event_loop_main(), false);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    close(pair[1]);
    net_client_free(&a->client);
    net_finish_all();
}

static void test_socket_tcp(void)
{
    Error *err = NULL;
    /* A port that is free: the first that can be bound. */
    char listen[128], connect[128];
    int port = 20000 + getpid() % 20000;
    for (;; port++) {
        g_snprintf(listen, sizeof(listen),
                   "{\"type\":\"socket\",\"id\":\"s\",\"listen\":\"127.0.0.1:%d\"}", port);
        if (add(listen, &err)) {
            break;
        }
        error_free(err);
        err = NULL;
    }
    g_snprintf(connect, sizeof(connect),
               "{\"type\":\"socket\",\"id\":\"c\",\"connect\":\"127.0.0.1:%d\"}", port);
    add_ok(connect);
    Sink *a = sink_new("a", net_netdev_find("s")), *b = sink_new("b", net_netdev_find("c"));
    while (!b->frames) {
        net_send_buf(&a->client, "are you there", 13, NULL);
        event_loop_iterate(event_loop_main(), false);
    }
    exchange(a, b);
    net_client_free(&a->client);
    net_client_free(&b->client);
    net_finish_all();
}

static void test_dgram(void)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), ==, 0);
    fd_named_put("one", pair[0]);
    fd_named_put("two", pair[1]);
    add_ok("{\"type\":\"dgram\",\"id\":\"x\",\"local\":{\"type\":\"fd\",\"str\":\"one\"}}");
    add_ok("{\"type\":\"dgram\",\"id\":\"y\",\"local\":{\"type\":\"fd\",\"str\":\"two\"}}");
    Sink *a = sink_new("a", net_netdev_find("x")), *b = sink_new("b", net_netdev_find("y"));
    exchange(a, b);
    /* A full socket holds the sender back. */
    unsigned n = 0;
    b->room = 0;
    sent_calls = 0;
    unsigned start = b->frames;
    for (; n < 10000 && net_send_buf(&a->client, "frame", 5, sent); n++) {
        event_loop_iterate(event_loop_main(), false);
    }
    g_assert_cmpuint(n, <, 10000);
    b->room = UINT_MAX;
    net_flush_queued(&b->client);
    spin_until(&sent_calls, 1);
    spin_until(&b->frames, start + n + 1);
    net_client_free(&a->client);
    net_client_free(&b->client);
    net_finish_all();
}

static void test_hub(void)
{
    Sink *s[3];
    for (int i = 0; i < 3; i++) {
        char json[80];
        g_snprintf(json, sizeof(json), "{\"type\":\"hubport\",\"id\":\"p%d\",\"hubid\":7}", i);
        add_ok(json);
        g_snprintf(json, sizeof(json), "p%d", i);
        s[i] = sink_new(NULL, net_netdev_find(json));
    }
    add_ok("{\"type\":\"hubport\",\"id\":\"other\",\"hubid\":8}");
    Sink *other = sink_new(NULL, net_netdev_find("other"));
    s[2]->room = 0; /* one that is stuck doesn't stop the others */
    for (int i = 0; i < 3; i++) {
        net_send_buf(&s[0]->client, "to all", 6, sent);
    }
    g_assert_cmpuint(s[0]->frames, ==, 0);
    g_assert_cmpuint(s[1]->frames, ==, 3);
    g_assert_cmpuint(s[2]->frames, ==, 0);
    g_assert_cmpuint(other->frames, ==, 0);
    s[2]->room = 9;
    net_flush_queued(&s[2]->client);
    g_assert_cmpuint(s[2]->frames, ==, 3);
    for (int i = 0; i < 3; i++) {
        net_client_free(&s[i]->client);
    }
    net_client_free(&other->client);
    net_finish_all();
}

/* ARP for the host's address is answered with its MAC. */
static void test_user(void)
{
    add_ok(
        "{\"type\":\"user\",\"id\":\"u\",\"net\":\"192.168.76.0/24\",\"dnssearch\":[\"a.test\"]}");
    Sink *a = sink_new("a", net_netdev_find("u"));
    uint8_t arp[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,  0x12, 0x34,
                        0x56, 8,    6,    0,    1,    8,    0,    6,    4,  0,    1,
                        0x52, 0x54, 0,    0x12, 0x34, 0x56, 192,  168,  76, 15,   0,
                        0,    0,    0,    0,    0,    192,  168,  76,   2 };
    net_send_buf(&a->client, arp, sizeof(arp), sent);
    spin_until(&a->frames, 1);
    g_assert_cmpuint(ld16_be(a->last + 12), ==, 0x0806);
    g_assert_cmpuint(ld16_be(a->last + 20), ==, 2);
    g_assert_cmphex(ld32_be(a->last + 28), ==, 0xc0a84c02);
    GString *out = g_string_new(NULL);
    net_print_info(out);
    g_assert_nonnull(strstr(out->str, "type=user,net=192.168.76.0,mask=255.255.255.0"));
    g_string_free(out, true);
    net_client_free(&a->client);
    net_finish_all();
}

static void test_tap(void)
{
    ERROR_AUTO err = NULL;
    if (!add("{\"type\":\"tap\",\"id\":\"t\",\"ifname\":\"rheatest0\",\"script\":\"no\"}", &err)) {
        g_test_skip(error_message(err));
        return;
    }
    NetClient *t = net_netdev_find("t");
    Sink *a = sink_new("a", t);
    /* The interface is down: frames vanish, as on a wire. */
    uint8_t frame[60] = { 0 };
    g_assert_cmpuint(net_send_buf(&a->client, frame, sizeof(frame), sent), ==, sizeof(frame));
    if (net_peer_has_vnet_header(&a->client)) {
        t->ops->set_vnet_header_len(t, 12);
        t->ops->set_offloads(t, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
        g_assert_cmpuint(t->vnet_header_len, ==, 12);
    }
    net_client_free(&a->client);
    net_finish_all();
    add_fails("{\"type\":\"tap\",\"id\":\"t\",\"ifname\":\"rheatest0\",\"script\":\"/bin/false\"}",
              "script=no");
    g_assert_null(net_netdev_find("t"));
}

static void test_dump(void)
{
    g_autofree char *dir = temp_dir();
    g_autofree char *file = g_build_filename(dir, "x.pcap", NULL);
    add_ok("{\"type\":\"hubport\",\"id\":\"h\",\"hubid\":1}");
    Sink *a = sink_new("a", net_netdev_find("h"));
    json_t *p = json_pack("{s:s, s:s, s:s}", "netdev", "h", "file", file, "maxlen", "64");
    Error *err = NULL;
    if (!user_creatable_add("filter-dump", "f0", p, VALUE_MODE_TEXT, &err)) {
        g_error("%s", error_message(err));
    }
    json_decref(p);
    uint8_t frame[100];
    memset(frame, 7, sizeof(frame));
    net_send_buf(&a->client, frame, sizeof(frame), NULL);
    net_send_buf(&a->client, frame, 60, NULL);
    g_autofree char *data = NULL;
    size_t len;
    g_assert_true(g_file_get_contents(file, &data, &len, NULL));
    g_assert_cmpuint(len, ==, 24 + 16 + 64 + 16 + 60);
    g_assert_cmphex(ld32_le(data), ==, 0xa1b2c3d4);
    g_assert_cmpuint(ld32_le(data + 24 + 8), ==, 64);
    g_assert_cmpuint(ld32_le(data + 24 + 12), ==, 100);
    g_assert_cmpint(data[24 + 16], ==, 7);
    net_client_free(&a->client);
    net_finish_all(); /* the client goes before its filter */
    g_assert_true(user_creatable_del("f0", &err));
    g_unlink(file);
    g_rmdir(dir);
}

static void test_errors(void)
{
    add_fails("{\"type\":\"hubport\",\"id\":\"9x\",\"hubid\":1}", "9x");
    add_fails("{\"type\":\"hubport\",\"id\":\"h\",\"hubid\":1,\"netdev\":\"nil\"}",
              "no netdev 'nil'");
    add_fails("{\"type\":\"socket\",\"id\":\"s\"}", "exactly one of");
    add_fails("{\"type\":\"socket\",\"id\":\"s\",\"listen\":\":1\",\"mcast\":\"230.0.0.1:1\"}",
              "exactly one of");
    add_fails("{\"type\":\"socket\",\"id\":\"s\",\"udp\":\"127.0.0.1:9\"}", "localaddr");
    add_fails("{\"type\":\"dgram\",\"id\":\"d\"}", "'local'");
    add_fails("{\"type\":\"user\",\"id\":\"u\",\"net\":\"10.0.0.0/33\"}", "4 to 29");
    add_fails("{\"type\":\"user\",\"id\":\"u\",\"host\":\"1.2.3.4\"}", "outside the network");
    add_fails("{\"type\":\"user\",\"id\":\"u\",\"ipv4\":\"off\",\"ipv6\":\"off\"}", "nothing");
    add_fails("{\"type\":\"user\",\"id\":\"u\",\"hostfwd\":[\"icmp::1-:2\"]}",
              "neither tcp nor udp");
    add_fails("{\"type\":\"user\",\"id\":\"u\",\"hostfwd\":[\"tcp::1\"]}", "'-'");
    add_fails("{\"type\":\"user\",\"id\":\"u\",\"guestfwd\":[\"tcp:10.0.2.9:80-nil\"]}",
              "unix:PATH");
    add_fails("{\"type\":\"tap\",\"id\":\"t\",\"fd\":\"nosuch\"}", "nosuch");
    add_fails("{\"type\":\"tap\",\"id\":\"t\",\"ifname\":\"0123456789abcdef\"}", "1 to 15");
    add_fails("{\"type\":\"stream\",\"id\":\"s\",\"server\":true,\"reconnect\":1,"
              "\"addr\":{\"type\":\"unix\",\"path\":\"/x\"}}",
              "for clients");
    add_fails("{\"type\":\"stream\",\"id\":\"s\",\"addr\":{\"type\":\"unix\",\"path\":\"/nil/x\"}}",
              "/nil/x");
    ERROR_AUTO err = NULL;
    g_assert_false(netdev_del("nil", &err));
    add_ok("{\"type\":\"hubport\",\"id\":\"h\",\"hubid\":1}");
    add_fails("{\"type\":\"hubport\",\"id\":\"h\",\"hubid\":2}", "already");
    net_finish_all();
    MacAddress mac;
    g_assert_true(mac_parse("52:54:00:aB:cd:ef", &mac));
    g_assert_cmphex(mac.a[3], ==, 0xab);
    g_assert_false(mac_parse("52:54:00:ab:cd", &mac));
    g_assert_false(mac_parse("52:54:00:ab:cd:ef:01", &mac));
    g_assert_false(mac_parse("52:54:00:ab:cd:fg", &mac));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    module_call(MODULE_TYPES);
    module_call(MODULE_SUBSYSTEM);
    if (!event_loop_main_init(NULL)) {
        return 1;
    }
    machine_lock();
    g_test_add_func("/net/flow-control", test_flow_control);
    g_test_add_func("/net/stream", test_stream);
    g_test_add_func("/net/stream-nonsense", test_stream_nonsense);
    g_test_add_func("/net/socket-tcp", test_socket_tcp);
    g_test_add_func("/net/dgram", test_dgram);
    g_test_add_func("/net/hub", test_hub);
    g_test_add_func("/net/user", test_user);
    g_test_add_func("/net/tap", test_tap);
    g_test_add_func("/net/filter-dump", test_dump);
    g_test_add_func("/net/errors", test_errors);
    int r = g_test_run();
    machine_unlock();
    return r;
}
