/* QMP and HMP sessions over a socket, with well-behaved and with hostile clients. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdset.h"
#include "base/module.h"
#include "chardev/chardev-record.h"
#include "event/clock.h"
#include "event/lock.h"
#include "event/loop.h"
#include "monitor/monitor.h"
#include "object/phase.h"

#define WAIT_NS (10 * NS_PER_SECOND)

static char *test_dir;

/* --- Commands and events of the test's own --- */

static QmpReply *deferred_reply;

static bool run_deferred(struct Monitor *mon, const void *args, void *ret, Error **errp)
{
    deferred_reply = ret;
    return true;
}

static bool run_fail(struct Monitor *mon, const void *args, void *ret, Error **errp)
{
    error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", "x");
    return false;
}

static bool run_large(struct Monitor *mon, const void *args, void *ret, Error **errp)
{
    *(char **)ret = g_strnfill(100000, 'x');
    return true;
}

static bool run_nothing(struct Monitor *mon, const void *args, void *ret, Error **errp)
{
    return true;
}

static const QmpCommand own_commands[] = {
    { .name = "test-deferred",
      .flags = QMP_COMMAND_DEFERRED | QMP_COMMAND_PRECONFIG,
      .run = run_deferred },
    { .name = "test-fail", .flags = QMP_COMMAND_PRECONFIG, .run = run_fail },
    { .name = "test-large",
      .flags = QMP_COMMAND_PRECONFIG,
      .ret = &value_type_str,
      .run = run_large },
    { .name = "test-machine", .run = run_nothing },
    {},
};
static const QmpEvent plain_event = { .name = "TEST_PLAIN" };
static const QmpEvent rare_event = { .name = "TEST_RARE",
                                     .rate_ns = 60 * NS_PER_MS,
                                     .rate_key = "key" };
static const QmpEvent *const own_events[] = { &plain_event, &rare_event, NULL };
static const ValueType *const own_types[] = { NULL };
static const OptionInfo *const own_options[] = { NULL };
static SchemaModule test_module = { .name = "test-monitor",
                                    .types = own_types,
                                    .commands = own_commands,
                                    .events = own_events,
                                    .options = own_options };

/* --- A client --- */

typedef struct Client {
    int fd;
    GString *in;
} Client;

static void step(void)
{
    if (!event_loop_iterate(event_loop_main(), false)) {
        g_usleep(100);
    }
}

static Client client_connect(const char *name)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_snprintf(un.sun_path, sizeof(un.sun_path), "%s/%s", test_dir, name);
    Client c = { socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), g_string_new(NULL) };
    g_assert_cmpint(connect(c.fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return c;
}

static void client_close(Client *c)
{
    close(c->fd);
    g_string_free(c->in, TRUE);
}

static void client_send(Client *c, const char *text)
{
    size_t len = strlen(text);
    for (size_t done = 0; done < len;) {
        ssize_t n = send(c->fd, text + done, len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        done += n > 0 ? n : 0;
        if (n <= 0) {
            step();
        }
    }
}

/* The next line; iterate: run the main loop while waiting. */
static char *client_line(Client *c, bool iterate)
{
    int64_t end = clock_now(CLK_REALTIME) + WAIT_NS;
    char *newline;
    while (!(newline = strchr(c->in->str, '\n'))) {
        char buf[4096];
        g_assert_cmpint(clock_now(CLK_REALTIME), <, end);
        ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0) {
            g_string_append_len(c->in, buf, n);
        } else if (iterate) {
            step();
        } else {
            g_usleep(100);
        }
    }
    char *line = g_strndup(c->in->str, newline - c->in->str);
    g_string_erase(c->in, 0, newline - c->in->str + 1);
    return line;
}

static json_t *client_read(Client *c)
{
    g_autofree char *line = client_line(c, true);
    json_t *json = json_loads(line, 0, NULL);
    g_assert_nonnull(json);
    return json;
}

/* The next message must contain this text. */
static void expect(Client *c, const char *text)
{
    g_autofree char *line = client_line(c, true);
    if (!strstr(line, text)) {
        g_test_message("expected %s in %s", text, line);
        g_assert_not_reached();
    }
}

static void check(Client *c, const char *command, const char *answer)
{
    client_send(c, command);
    expect(c, answer);
}

static void expect_nothing(Client *c)
{
    for (int i = 0; i < 50; i++) {
        step();
    }
    char byte;
    g_assert_cmpuint(c->in->len, ==, 0);
    g_assert_cmpint(recv(c->fd, &byte, 1, MSG_DONTWAIT), ==, -1);
}

static Client client_ready(const char *name)
{
    Client c = client_connect(name);
    expect(&c, "\"QMP\"");
    check(&c, "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}", "\"return\"");
    return c;
}

static void add_monitor(const char *id, MonitorMode mode, bool pretty)
{
    Chardev *chr;
    g_autofree char *form = g_strdup_printf("unix:%s/%s,server=on,wait=off", test_dir, id);
    g_assert_true(chardev_new_from_text(id, form, NULL, &chr, &error_abort));
    g_assert_nonnull(monitor_new(id, chr, mode, pretty, &error_abort));
}

static void setup(void)
{
    monitor_init();
    add_monitor("q", MONITOR_MODE_CONTROL, false);
}

static void teardown(void)
{
    monitor_finish_all();
    chardev_finish_all();
    fdset_finish();
    phase_advance(PHASE_NONE);
}

static int count_fds(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    int n = 0;
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

/* --- QMP --- */

static void test_negotiation(void)
{
    setup();
    Client c = client_connect("q");
    json_t *greeting = client_read(&c);
    const char *package = NULL;
    int major = 0;
    const char *oob = NULL;
    g_assert_cmpint(json_unpack(greeting, "{s:{s:{s:{s:i},s:s},s:[s]}}", "QMP", "version", "qemu",
                                "major", &major, "package", &package, "capabilities", &oob),
                    ==, 0);
    g_assert_cmpint(major, ==, 7);
    g_assert_true(g_str_has_prefix(package, "Rhea "));
    g_assert_cmpstr(oob, ==, "oob");
    json_decref(greeting);
    check(&c, "{'execute':'query-version','id':1}", "Expecting capabilities negotiation");
    check(&c, "{'execute':'qmp_capabilities','arguments':{'enable':['warp']}}", "GenericError");
    check(&c, "{'execute':'query-version'}", "CommandNotFound");
    check(&c, "{'execute':'qmp_capabilities'}", "{\"return\": {}}");
    check(&c, "{'execute':'qmp_capabilities'}", "already complete");
    check(&c, "{'exec-oob':'query-yank'}", "was not switched on");
    check(&c, "{'execute':'query-version'}", "\"micro\": 0");
    client_close(&c);

    /* the next client begins anew */
    Client next = client_connect("q");
    expect(&next, "\"QMP\"");
    check(&next, "{'execute':'query-version'}", "Expecting capabilities negotiation");
    client_close(&next);
    teardown();
}

static void test_errors(void)
{
    static const struct {
        const char *request, *answer;
    } cases[] = {
        { "{'execute':'test-fail','id':'x'}",
          "{\"error\": {\"class\": \"DeviceNotFound\", \"desc\": \"Device 'x' not found\"}, "
          "\"id\": \"x\"}" },
        { "{'execute':'no-such-command','id':[1,{'a':null}]}", "\"id\": [1, {\"a\": null}]" },
        { "{'execute':'no-such-command'}", "\"CommandNotFound\"" },
        { "[1]", "QMP input must be a JSON object" },
        { "12\n", "QMP input must be a JSON object" },
        { "{'execute':1}", "QMP input member 'execute' must be a string" },
        { "{'execute':'stop','x':1,'id':7}", "QMP input member 'x' is unexpected\"}, \"id\": 7" },
        { "{'execute':'stop','arguments':[]}", "'arguments' must be an object" },
        { "{'execute':'stop','exec-oob':'stop'}", "exclude each other" },
        { "{'id':1}", "QMP input lacks member 'execute'" },
        { "{}", "QMP input lacks member 'execute'" },
        { "{'execute':}", "JSON parse error" },
        { "{'a':1,'a':2}", "JSON parse error" },
        { "}", "JSON parse error" },
        { "{@\n", "JSON parse error" },
        { "{'execute':'test-fail','arguments':{'x':1}}", "\"error\"" },
        { "{'exec-oob':'query-version'}", "does not support OOB" },
        { "{'execute':'test-machine'}", "permitted only after machine initialization" },
        { "{'execute':'query-version'}", "\"return\"" },
    };
    setup();
    Client c = client_ready("q");
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        check(&c, cases[i].request, cases[i].answer);
    }
    phase_advance(PHASE_READY);
    check(&c, "{'execute':'test-machine'}", "\"return\"");
    client_close(&c);
    teardown();
}

/* A conversation cut at every byte gives the same answers. */
static void test_every_split(void)
{
    const char *text = "{\"execute\":\"qmp_capabilities\"}\r\n{ \"execute\" : \"test-fail\", "
                       "\"id\": \"}\\\"{\" }{\"execute\":\"query-fdsets\",\"id\":2}";
    setup();
    for (size_t split = 0; split <= strlen(text); split++) {
        Client c = client_connect("q");
        expect(&c, "\"QMP\"");
        g_autofree char *head = g_strndup(text, split);
        client_send(&c, head);
        for (int i = 0; i < 5; i++) {
            step();
        }
        client_send(&c, text + split);
        expect(&c, "{\"return\": {}}");
        expect(&c, "\"id\": \"}\\\"{\"");
        expect(&c, "{\"return\": [], \"id\": 2}");
        client_close(&c);
    }
    teardown();
}

static void test_pipelined(void)
{
    setup();
    Client c = client_ready("q");
    GString *all = g_string_new(NULL);
    for (int i = 0; i < 500; i++) {
        g_string_append_printf(all, "{\"execute\":\"%s\",\"id\":%d}",
                               i % 3 ? "query-fdsets" : "test-fail", i);
    }
    client_send(&c, all->str);
    for (int i = 0; i < 500; i++) {
        json_t *reply = client_read(&c);
        g_assert_cmpint(json_integer_value(json_object_get(reply, "id")), ==, i);
        json_decref(reply);
    }
    g_string_free(all, TRUE);
    client_close(&c);
    teardown();
}

static void test_hostile_json(void)
{
    setup();
    Client c = client_ready("q");
    GString *deep = g_string_new("{'execute':'query-version','arguments':");
    for (int i = 0; i < 100000; i++) {
        g_string_append_c(deep, '[');
    }
    g_string_append(deep, "\xff");
    check(&c, deep->str, "nesting");
    g_string_free(deep, TRUE);
    check(&c, "{'execute':'query-fdsets'}", "\"return\"");

    g_autofree char *chunk = g_strnfill(65536, 'a');
    client_send(&c, "{'execute':'");
    for (int i = 0; i < (20 << 20) / 65536; i++) {
        client_send(&c, chunk);
    }
    check(&c, "'}", "size limit");
    check(&c, "{'execute':'query-fdsets'}", "\"return\"");

    /* bytes that are not UTF-8, numbers that fit nowhere, zero bytes */
    check(&c, "{'execute':'\xc3('}", "JSON parse error");
    check(&c, "{'execute':'a','id':1e999}", "JSON parse error");
    check(&c, "{'execute':'a','id':99999999999999999999}", "JSON parse error");
    check(&c, "{'execute':'a\\u0000b'}", "JSON parse error");
    check(&c, "{'execute':'query-fdsets'}", "\"return\"");
    client_close(&c);
    teardown();
}

/* Out-of-band commands are answered though the main loop stands still. */
static void test_oob(void)
{
    setup();
    Client c = client_ready("q");
    Client other = client_connect("q"); /* waits in the backlog */
    client_send(&c, "{'execute':'query-fdsets','id':1}{'exec-oob':'query-yank','id':2}");
    g_autofree char *first = client_line(&c, false);
    g_assert_nonnull(strstr(first, "\"id\": 2"));
    g_assert_nonnull(strstr(first, "\"q\""));
    expect(&c, "\"id\": 1");
    check(&c, "{'exec-oob':'yank','arguments':{'instances':[{'type':'chardev','id':'none'}]}}",
          "DeviceNotFound");
    client_send(&c, "{'exec-oob':'yank','arguments':{'instances':[{'type':'chardev','id':'q'}]}}");
    /* it cut its own branch */
    char byte;
    while (recv(c.fd, &byte, 1, 0) > 0) {
    }
    expect(&other, "\"QMP\"");
    client_close(&c);
    client_close(&other);
    teardown();
}

static void test_deferred(void)
{
    setup();
    Client c = client_ready("q");
    client_send(&c, "{'execute':'test-deferred','id':1}{'execute':'query-fdsets','id':2}");
    while (!deferred_reply) {
        step();
    }
    expect_nothing(&c);
    qmp_reply_value(g_steal_pointer(&deferred_reply), NULL, NULL);
    expect(&c, "{\"return\": {}, \"id\": 1}");
    expect(&c, "\"id\": 2");

    client_send(&c, "{'execute':'test-deferred','id':3}");
    while (!deferred_reply) {
        step();
    }
    Error *err = NULL;
    error_set(&err, "came to nothing");
    qmp_reply_fail(g_steal_pointer(&deferred_reply), err);
    expect(&c, "came to nothing\"}, \"id\": 3");

    /* the asker goes before the answer comes: the next client gets none of it */
    client_send(&c, "{'execute':'test-deferred','id':4}");
    while (!deferred_reply) {
        step();
    }
    client_close(&c);
    Client next = client_ready("q");
    qmp_reply_value(g_steal_pointer(&deferred_reply), NULL, NULL);
    expect_nothing(&next);
    check(&next, "{'execute':'query-fdsets','id':5}", "\"id\": 5");

    /* even the monitor goes */
    client_send(&next, "{'execute':'test-deferred','id':6}");
    while (!deferred_reply) {
        step();
    }
    client_close(&next);
    teardown();
    qmp_reply_value(g_steal_pointer(&deferred_reply), NULL, NULL);
}

static void test_events(void)
{
    setup();
    add_monitor("p", MONITOR_MODE_CONTROL, true);
    Client a = client_ready("q");
    Client waiting = client_connect("p");
    monitor_send_event(&plain_event, NULL);
    json_t *event = client_read(&a);
    json_int_t seconds = 0;
    const char *name = NULL;
    g_assert_cmpint(
        json_unpack(event, "{s:{s:I},s:s}", "timestamp", "seconds", &seconds, "event", &name), ==,
        0);
    g_assert_cmpstr(name, ==, "TEST_PLAIN");
    g_assert_cmpint(llabs(seconds - g_get_real_time() / 1000000), <, 10);
    json_decref(event);

    /* before its negotiation a client gets its greeting only: "{", "QMP", … in pretty form */
    expect(&waiting, "{");
    expect(&waiting, "    \"QMP\": {");
    client_close(&waiting);

    /* the first at once, of the others the last, per key */
    int64_t start = clock_now(CLK_REALTIME);
    for (int i = 0; i < 10; i++) {
        json_t *data = json_pack("{s:i,s:i}", "key", i % 2, "n", i);
        monitor_send_event(&rare_event, data);
        json_decref(data);
    }
    static const int order[] = { 0, 1, 8, 9 };
    int seen = 0;
    for (int i = 0; i < 4; i++) {
        json_t *rare = client_read(&a);
        int n = -1;
        g_assert_cmpint(json_unpack(rare, "{s:{s:i}}", "data", "n", &n), ==, 0);
        for (int k = 0; k < 4; k++) {
            seen |= n == order[k] && (i < 2) == (k < 2) ? 1 << k : 0;
        }
        json_decref(rare);
    }
    g_assert_cmpint(seen, ==, 15);
    g_assert_cmpint(clock_now(CLK_REALTIME) - start, >=, rare_event.rate_ns * 9 / 10);
    expect_nothing(&a);
    client_close(&a);
    teardown();
    monitor_send_event(&plain_event, NULL);
}

static void *send_events(void *unused)
{
    for (int i = 0; i < 1000; i++) {
        monitor_send_event(&plain_event, NULL);
    }
    return NULL;
}

static void test_events_from_threads(void)
{
    setup();
    Client c = client_ready("q");
    GThread *threads[3];
    for (int i = 0; i < 3; i++) {
        threads[i] = g_thread_new("events", send_events, NULL);
    }
    for (int i = 0; i < 3000; i++) {
        expect(&c, "TEST_PLAIN");
    }
    for (int i = 0; i < 3; i++) {
        g_thread_join(threads[i]);
    }
    client_close(&c);
    teardown();
}

/* A client that asks and never reads: memory stays bounded, the rest works on. */
static void test_slow_reader(void)
{
    setup();
    add_monitor("p", MONITOR_MODE_CONTROL, false);
    Client slow = client_ready("q");
    int asked = 0;
    for (int i = 0; i < 20000; i++) {
        char text[64];
        int len = g_snprintf(text, sizeof(text), "{'execute':'test-large','id':%d}", asked);
        if (send(slow.fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL) == len) {
            asked++;
        }
        event_loop_iterate(event_loop_main(), false);
    }
    g_assert_cmpint(asked, >, 20);

    Client good = client_ready("p");
    for (int i = 0; i < 200000; i++) {
        monitor_send_event(&plain_event, NULL);
        if (i % 64 == 0) {
            expect(&good, "TEST_PLAIN");
            for (int k = 1; k < 64 && i; k++) {
                expect(&good, "TEST_PLAIN");
            }
        }
    }
    client_close(&good);
    good = client_ready("p");
    client_send(&good, "{'execute':'x-query-monitors'}");
    json_t *reply = client_read(&good);
    json_int_t dropped = 0;
    json_unpack(reply, "{s:[{s:I}]}", "return", "dropped-events", &dropped);
    g_assert_cmpint(dropped, >, 0);
    json_decref(reply);
    client_close(&good);

    /* reads at last: all answers, in order */
    int next = 0, events = 0;
    while (next < MIN(asked, 40)) {
        json_t *message = client_read(&slow);
        if (json_object_get(message, "event")) {
            events++;
        } else {
            g_assert_cmpint(json_integer_value(json_object_get(message, "id")), ==, next);
            next++;
        }
        json_decref(message);
    }
    g_assert_cmpint(events, <, 100000);
    client_close(&slow);
    teardown();
}

static void test_disconnects(void)
{
    static const char text[] = "{'execute':'qmp_capabilities'}{'execute':'test-large'}{'execute'";
    setup();
    Client c = client_ready("q");
    client_close(&c);
    for (int i = 0; i < 50; i++) {
        step(); /* until the other side has noticed */
    }
    int before = count_fds();
    for (int i = 0; i < 300; i++) {
        c = client_connect("q");
        g_autofree char *part = g_strndup(text, g_test_rand_int_range(0, sizeof(text)));
        client_send(&c, part);
        for (int k = g_test_rand_int_range(0, 6); k > 0; k--) {
            step();
        }
        client_close(&c);
    }
    c = client_ready("q");
    check(&c, "{'execute':'query-fdsets'}", "\"return\"");
    client_close(&c);
    for (int i = 0; i < 50; i++) {
        step();
    }
    g_assert_cmpint(count_fds(), ==, before);
    teardown();
}

static void client_send_fd(Client *c, const char *text, int fd)
{
    struct iovec iov = { (char *)text, strlen(text) };
    g_assert_cmpint(fd_sendmsg(c->fd, &iov, 1, &fd, 1), ==, iov.iov_len);
}

static void test_descriptors(void)
{
    setup();
    Client c = client_ready("q");
    FD_AUTO null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int before = count_fds();
    check(&c, "{'execute':'getfd','arguments':{'fdname':'x'}}", "No file descriptor supplied");
    client_send_fd(&c, "{'execute':'getfd','arguments':{'fdname':'x'}}", null);
    expect(&c, "{\"return\": {}}");
    client_send_fd(&c, "{'execute':'getfd','arguments':{'fdname':'1x'}}", null);
    expect(&c, "not starting with a digit");
    g_assert_cmpint(count_fds(), ==, before + 1);
    check(&c, "{'execute':'closefd','arguments':{'fdname':'x'}}", "{\"return\": {}}");
    check(&c, "{'execute':'closefd','arguments':{'fdname':'x'}}", "not found");
    g_assert_cmpint(count_fds(), ==, before);

    /* pipelined: each descriptor belongs to the message it came with */
    client_send_fd(&c, "{'execute':'add-fd','arguments':{'fdset-id':7,'opaque':'o'}}", null);
    client_send_fd(&c, "{'execute':'add-fd'}{'execute':'add-fd'}", null);
    expect(&c, "\"fdset-id\": 7");
    expect(&c, "\"fdset-id\": 0");
    expect(&c, "No file descriptor supplied");
    check(&c, "{'execute':'query-fdsets'}", "\"opaque\": \"o\"");
    FD_AUTO opened = fdset_open("/dev/fdset/7", O_RDWR, 0, &error_abort);
    g_assert_cmpint(opened, >=, 0);
    fd_close(fd_steal(&opened));
    check(&c, "{'execute':'remove-fd','arguments':{'fdset-id':7}}", "{\"return\": {}}");
    check(&c, "{'execute':'remove-fd','arguments':{'fdset-id':7,'fd':-3}}", "\"error\"");
    check(&c, "{'execute':'remove-fd','arguments':{'fdset-id':0}}", "{\"return\": {}}");
    g_assert_cmpint(count_fds(), ==, before);

    /* with a command that wants none, or with none at all: closed */
    client_send_fd(&c, "{'execute':'query-fdsets'}", null);
    expect(&c, "\"return\"");
    client_send_fd(&c, " ", null);
    check(&c, "{'execute':'query-fdsets'}", "\"return\"");
    g_assert_cmpint(count_fds(), ==, before);
    client_close(&c);
    teardown();
}

static void test_lists(void)
{
    setup();
    Client c = client_ready("q");
    client_send(&c, "{'execute':'query-commands'}{'execute':'query-events'}");
    json_t *commands = client_read(&c), *events = client_read(&c);
    g_assert_cmpuint(json_array_size(json_object_get(commands, "return")), >, 20);
    g_assert_nonnull(json_object_get(events, "return"));
    json_decref(commands);
    json_decref(events);
    client_close(&c);
    teardown();
}

static void test_options(void)
{
    monitor_init();
    g_autofree char *form = g_strdup_printf("unix:%s/o,server=on,wait=off", test_dir);
    g_assert_true(monitor_add_from_text(form, MONITOR_MODE_CONTROL, false, &error_abort));
    g_assert_true(monitor_add_from_text("none", MONITOR_MODE_CONTROL, false, &error_abort));
    g_assert_nonnull(chardev_find("compat_monitor0"));
    ERROR_AUTO err = NULL;
    g_assert_false(monitor_add_from_text("bogus", MONITOR_MODE_CONTROL, false, &err));
    g_assert_nonnull(err);
    g_assert_false(monitor_any_connected(MONITOR_MODE_CONTROL));
    Client c = client_ready("o");
    g_assert_true(monitor_any_connected(MONITOR_MODE_CONTROL));
    client_close(&c);
    teardown();
}

/* --- HMP --- */

static void hmp(const char *line, const char *expected)
{
    g_autofree char *out = monitor_run_hmp(line);
    if (!strstr(out, expected)) {
        g_test_message("'%s' gave: %s", line, out);
        g_assert_not_reached();
    }
}

static void test_hmp_commands(void)
{
    setup();
    phase_advance(PHASE_READY);
    hmp("", "");
    hmp("help", "info subcommand");
    hmp("help print", "expression");
    hmp("help nonsense", "unknown command");
    hmp("help log", "guest_errors");
    hmp("info", "info version");
    hmp("info version", "Rhea");
    hmp("info chardev", "q: filename=disconnected:unix:");
    hmp("info frobnicate", "unknown subcommand: 'frobnicate'");
    hmp("info versoin", "did you mean 'version'?");
    hmp("qiut", "did you mean 'quit'?");
    hmp("print 1+2*3", "7\n");
    hmp("print /x (1 << 4) | 0xf", "0x1f\n");
    hmp("p /d ~0", "-1\n");
    hmp("print 1/0", "division by zero");
    hmp("print 1 2", "extraneous characters");
    hmp("print (1", "')' is expected");
    hmp("print 0x1ffffffffffffffff", "too large");
    hmp("print", "'value' is missing");
    hmp("chardev-add ringbuf,id=r,size=64", "");
    hmp("ringbuf_write r \"two words\\n\"", "");
    hmp("ringbuf_read r 100", "two words\n");
    hmp("chardev-add ringbuf,id=r", "already exists");
    hmp("chardev-add ringbuf", "id");
    hmp("chardev-change r null", "");
    hmp("info chardev", "r: filename=null");
    hmp("chardev-remove r", "");
    hmp("chardev-remove r", "not found");
    hmp("log bogus", "bogus");
    hmp("log none", "");
    hmp("chardev-remove \"unterminated", "unterminated string");
    hmp("qom-list /chardevs", "q (child<chardev-socket>)");
    hmp("info qom-tree /chardevs", "/q (chardev-socket)");
    hmp("info history", "only a terminal");
    hmp("system_reset now", "extraneous characters");

    Client c = client_ready("q");
    check(&c, "{'execute':'human-monitor-command','arguments':{'command-line':'print 6*7'}}",
          "{\"return\": \"42\\r\\n\"}");
    client_close(&c);
    teardown();
}

static void expect_text(Client *c, const char *text)
{
    int64_t end = clock_now(CLK_REALTIME) + WAIT_NS;
    char *found;
    while (!(found = strstr(c->in->str, text))) {
        char buf[4096];
        if (clock_now(CLK_REALTIME) > end) {
            g_test_message("no '%s' in '%s'", text, c->in->str);
            g_assert_not_reached();
        }
        ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0) {
            g_string_append_len(c->in, buf, n);
        } else {
            step();
        }
    }
    g_string_erase(c->in, 0, found - c->in->str + strlen(text));
}

static void test_hmp_session(void)
{
    monitor_init();
    add_monitor("h", MONITOR_MODE_READLINE, false);
    Client c = client_connect("h");
    expect_text(&c, "type 'help' for more information\r\n(rhea) ");
    client_send(&c, "print 40+2\n");
    expect_text(&c, "42\r\n(rhea) ");
    client_send(&c, "print 1\r\nprint 2\r");
    expect_text(&c, "1\r\n(rhea) ");
    expect_text(&c, "2\r\n(rhea) ");
    client_send(&c, "inf\tvers\t\n");
    expect_text(&c, "info version \r\nRhea");
    client_send(&c, "\x1b[A\x1b[A\n");
    expect_text(&c, "print 2\x1b[K\r\n2\r\n");
    client_send(&c, "info history\n");
    expect_text(&c, "0: 'print 40+2'\r\n");
    client_close(&c);

    /* thousands of lines at once, unread */
    Client flood = client_connect("h");
    GString *lines = g_string_new(NULL);
    for (int i = 0; i < 2000; i++) {
        g_string_append(lines, "help\n");
    }
    for (size_t done = 0, tries = 0; done < lines->len && tries < 3000; tries++) {
        ssize_t n =
            send(flood.fd, lines->str + done, lines->len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        done += n > 0 ? n : 0;
        event_loop_iterate(event_loop_main(), false);
    }
    g_string_free(lines, TRUE);
    client_close(&flood);
    Client again = client_connect("h");
    expect_text(&again, "(rhea) ");
    client_close(&again);
    teardown();
}

static void test_hmp_mux(void)
{
    monitor_init();
    Chardev *chr;
    bool with_monitor;
    g_autofree char *form = g_strdup_printf("mon:unix:%s/m,server=on,wait=off", test_dir);
    g_assert_true(chardev_new_from_text("m", form, &with_monitor, &chr, &error_abort));
    g_assert_true(with_monitor);
    g_assert_nonnull(monitor_new("m", chr, MONITOR_MODE_READLINE, false, &error_abort));
    CharFrontend serial;
    static const CharHandlers serial_handlers = { 0 };
    g_assert_true(char_frontend_init(&serial, chr, &error_abort));
    char_frontend_set_handlers(&serial, &serial_handlers, NULL, NULL);
    Client c = client_connect("m");
    char_frontend_write(&serial, "", 0);
    client_send(&c, "\x01"
                    "c");
    expect_text(&c, "(rhea) ");
    client_send(&c, "print 5\n");
    expect_text(&c, "5\r\n(rhea) ");
    client_send(&c, "\x01"
                    "c");
    for (int i = 0; i < 20; i++) {
        step();
    }
    char_frontend_write(&serial, "login:", 6);
    expect_text(&c, "login:");
    char_frontend_finish(&serial);
    client_close(&c);
    teardown();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_true(event_loop_main_init(&error_abort));
    machine_lock();
    module_call(MODULE_TYPES);
    schema_append(&test_module);
    test_dir = g_dir_make_tmp("rhea-monitor-XXXXXX", NULL);
    g_test_add_func("/monitor/negotiation", test_negotiation);
    g_test_add_func("/monitor/errors", test_errors);
    g_test_add_func("/monitor/every-split", test_every_split);
    g_test_add_func("/monitor/pipelined", test_pipelined);
    g_test_add_func("/monitor/hostile-json", test_hostile_json);
    g_test_add_func("/monitor/oob", test_oob);
    g_test_add_func("/monitor/deferred", test_deferred);
    g_test_add_func("/monitor/events", test_events);
    g_test_add_func("/monitor/events-from-threads", test_events_from_threads);
    g_test_add_func("/monitor/slow-reader", test_slow_reader);
    g_test_add_func("/monitor/disconnects", test_disconnects);
    g_test_add_func("/monitor/descriptors", test_descriptors);
    g_test_add_func("/monitor/lists", test_lists);
    g_test_add_func("/monitor/options", test_options);
    g_test_add_func("/monitor/hmp-commands", test_hmp_commands);
    g_test_add_func("/monitor/hmp-session", test_hmp_session);
    g_test_add_func("/monitor/hmp-mux", test_hmp_mux);
    int status = g_test_run();
    object_root_reset();
    g_rmdir(test_dir);
    g_free(test_dir);
    machine_unlock();
    event_loop_main_finish();
    return status;
}
