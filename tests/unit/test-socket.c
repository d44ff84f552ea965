/* Addresses, listening and connecting. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdset.h"
#include "event/loop.h"
#include "event/socket.h"

static char *test_dir;

static SocketAddr unix_addr(const char *name)
{
    return (SocketAddr){ .kind = SOCKET_UNIX, .path = g_build_filename(test_dir, name, NULL) };
}

typedef struct Result {
    bool done;
    int fd;
    Error *err;
} Result;

static void on_connected(void *opaque, int fd, Error *err)
{
    Result *result = opaque;
    result->done = true;
    result->fd = fd;
    result->err = err;
}

/* Connect and wait for the end. */
static Result connect_to(const SocketAddr *addr)
{
    Result result = { .fd = -1 };
    SocketConnect *attempt;
    result.fd =
        socket_connect(addr, event_loop_main(), &attempt, on_connected, &result, &result.err);
    while (attempt && !result.done) {
        event_loop_iterate(event_loop_main(), true);
    }
    return result;
}

static void test_parse(void)
{
    static const struct {
        const char *text, *described;
    } good[] = {
        { "unix:/tmp/a:b", "unix:/tmp/a:b" },
        { "tcp:127.0.0.1:80", "tcp:127.0.0.1:80" },
        { ":4444", "tcp::4444" },
        { "[::1]:22", "tcp:[::1]:22" },
        { "vsock:3:1024", "vsock:3:1024" },
        { "fd:mon0", "fd:mon0" },
    };
    static const char *const bad[] = {
        "unix:", "tcp:host", "host:", "[::1]", "vsock:3", "vsock:a:1", "vsock:1:4294967296",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        SocketAddr addr;
        g_assert_true(socket_addr_parse(&addr, good[i].text, &error_abort));
        g_autofree char *described = socket_addr_describe(&addr);
        g_assert_cmpstr(described, ==, good[i].described);
        socket_addr_release(&addr);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        SocketAddr addr;
        ERROR_AUTO err = NULL;
        g_assert_false(socket_addr_parse(&addr, bad[i], &err));
        g_assert_nonnull(err);
    }
}

static void test_unix(void)
{
    SocketAddr addr = unix_addr("a.sock");
    Result missing = connect_to(&addr);
    g_assert_cmpint(missing.fd, ==, -1);
    g_assert_cmpint(error_errno(missing.err), ==, ENOENT);
    error_free(missing.err);

    FD_AUTO listener = socket_listen(&addr, 8, &error_abort);
    g_assert_true(socket_is_listening(listener));
    g_assert_cmpint(socket_accept(listener), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
    Result client = connect_to(&addr);
    g_assert_cmpint(client.fd, >=, 0);
    FD_AUTO server = socket_accept(listener);
    g_assert_cmpint(server, >=, 0);
    g_assert_true(socket_is_unix(server));
    g_autofree char *name = socket_peer_name(client.fd);
    g_autofree char *expected = g_strdup_printf("unix:%s", addr.path);
    g_assert_cmpstr(name, ==, expected);
    fd_close(client.fd);

    /* taken */
    ERROR_AUTO taken = NULL;
    g_assert_cmpint(socket_listen(&addr, 8, &taken), ==, -1);
    g_assert_cmpint(error_errno(taken), ==, EADDRINUSE);

    /* left behind by a process that died: refused, then replaced */
    fd_close(fd_steal(&listener));
    Result refused = connect_to(&addr);
    g_assert_cmpint(error_errno(refused.err), ==, ECONNREFUSED);
    error_free(refused.err);
    listener = socket_listen(&addr, 8, &error_abort);
    g_assert_cmpint(listener, >=, 0);

    /* what is no socket is never removed */
    SocketAddr file = unix_addr("file");
    g_assert_true(g_file_set_contents(file.path, "x", 1, NULL));
    ERROR_AUTO not_ours = NULL;
    g_assert_cmpint(socket_listen(&file, 8, &not_ours), ==, -1);
    g_assert_true(g_file_test(file.path, G_FILE_TEST_EXISTS));
    g_unlink(file.path);
    socket_addr_release(&file);

    socket_unlink(&addr);
    g_assert_false(g_file_test(addr.path, G_FILE_TEST_EXISTS));
    socket_addr_release(&addr);
}

static void test_long_path(void)
{
    g_autofree char *name = g_strnfill(120, 'x');
    SocketAddr addr = unix_addr(name);
    ERROR_AUTO listen_err = NULL;
    g_assert_cmpint(socket_listen(&addr, 8, &listen_err), ==, -1);
    g_assert_nonnull(strstr(error_message(listen_err), "too long"));
    Result result = connect_to(&addr);
    g_assert_cmpint(result.fd, ==, -1);
    g_assert_nonnull(strstr(error_message(result.err), "too long"));
    error_free(result.err);
    socket_addr_release(&addr);
}

static void test_abstract(void)
{
    for (int loose = 0; loose < 2; loose++) {
        SocketAddr addr = { .kind = SOCKET_UNIX, .abstract = true, .loose = loose };
        addr.path = g_strdup_printf("rhea-test-%d", getpid());
        FD_AUTO listener = socket_listen(&addr, 8, &error_abort);
        Result client = connect_to(&addr);
        g_assert_cmpint(client.fd, >=, 0);
        fd_close(client.fd);
        addr.loose = !loose; /* another name */
        Result other = connect_to(&addr);
        g_assert_cmpint(other.fd, ==, -1);
        error_free(other.err);
        socket_addr_release(&addr);
    }
}

/* A full backlog is not an error: the attempt goes on until there is room. */
static void test_full_backlog(void)
{
    SocketAddr addr = unix_addr("full.sock");
    FD_AUTO listener = socket_listen(&addr, 0, &error_abort);
    Result first = connect_to(&addr);
    g_assert_cmpint(first.fd, >=, 0);
    Result second = { .fd = -1 };
    SocketConnect *attempt;
    ERROR_AUTO err = NULL;
    second.fd = socket_connect(&addr, event_loop_main(), &attempt, on_connected, &second, &err);
    g_assert_cmpint(second.fd, ==, -1);
    g_assert_null(err);
    g_assert_nonnull(attempt);
    FD_AUTO accepted = socket_accept(listener);
    g_assert_cmpint(accepted, >=, 0);
    while (!second.done) {
        event_loop_iterate(event_loop_main(), true);
    }
    g_assert_cmpint(second.fd, >=, 0);
    fd_close(second.fd);
    fd_close(first.fd);
    socket_unlink(&addr);
    socket_addr_release(&addr);
}

static void test_inet(void)
{
    SocketAddr any = { .kind = SOCKET_INET, .host = g_strdup("127.0.0.1"), .port = g_strdup("0") };
    FD_AUTO listener = socket_listen(&any, 8, &error_abort);
    g_autofree char *name = socket_local_name(listener);
    SocketAddr addr;
    g_assert_true(socket_addr_parse(&addr, name, &error_abort));

    /* a literal, and a name that has to be looked up */
    for (int i = 0; i < 2; i++) {
        Result client = connect_to(&addr);
        g_assert_cmpint(client.fd, >=, 0);
        socket_set_nodelay(client.fd, true);
        socket_set_keep_alive(client.fd, true);
        FD_AUTO server = socket_accept(listener);
        g_assert_cmpint(server, >=, 0);
        g_assert_false(socket_is_unix(server));
        fd_close(client.fd);
        g_free(addr.host);
        addr.host = g_strdup("localhost");
    }

    /* the range of ports that to= allows */
    SocketAddr range = { .kind = SOCKET_INET, .host = g_strdup("127.0.0.1") };
    range.port = g_strdup(addr.port);
    ERROR_AUTO taken = NULL;
    g_assert_cmpint(socket_listen(&range, 8, &taken), ==, -1);
    g_assert_cmpint(error_errno(taken), ==, EADDRINUSE);
    range.to = 65535;
    FD_AUTO next = socket_listen(&range, 8, &error_abort);
    g_assert_cmpint(next, >=, 0);

    fd_close(fd_steal(&listener));
    Result refused = connect_to(&addr);
    g_assert_cmpint(refused.fd, ==, -1);
    g_assert_cmpint(error_errno(refused.err), ==, ECONNREFUSED);
    error_free(refused.err);
    socket_addr_release(&any);
    socket_addr_release(&addr);
    socket_addr_release(&range);
}

static void test_bad_name(void)
{
    SocketAddr addr = { .kind = SOCKET_INET, .host = g_strdup("no-such-host.invalid") };
    addr.port = g_strdup("1");
    Result result = connect_to(&addr);
    g_assert_cmpint(result.fd, ==, -1);
    g_assert_nonnull(strstr(error_message(result.err), "no-such-host.invalid"));
    error_free(result.err);

    /* given up while the name is being looked up */
    SocketConnect *attempt;
    ERROR_AUTO err = NULL;
    socket_connect(&addr, event_loop_main(), &attempt, on_connected, NULL, &err);
    g_assert_nonnull(attempt);
    socket_connect_cancel(attempt);
    addr.numeric = true;
    Result numeric = connect_to(&addr);
    g_assert_cmpint(numeric.fd, ==, -1);
    error_free(numeric.err);
    socket_addr_release(&addr);
}

static void test_fd(void)
{
    SocketAddr addr = unix_addr("fd.sock");
    fd_named_put("l", socket_listen(&addr, 8, &error_abort));
    SocketAddr by_name = { .kind = SOCKET_FD, .fd = g_strdup("l") };
    FD_AUTO listener = socket_listen(&by_name, 8, &error_abort);
    g_assert_cmpint(listener, >=, 0);
    ERROR_AUTO gone = NULL;
    g_assert_cmpint(socket_listen(&by_name, 8, &gone), ==, -1);
    g_assert_nonnull(gone);

    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    fd_named_put("l", pair[0]);
    ERROR_AUTO not_listening = NULL;
    g_assert_cmpint(socket_listen(&by_name, 8, &not_listening), ==, -1);
    g_assert_nonnull(strstr(error_message(not_listening), "not a listening socket"));
    close(pair[1]);
    socket_unlink(&addr);
    socket_addr_release(&addr);
    socket_addr_release(&by_name);
    fdset_finish();
}

static void test_dgram(void)
{
    SocketAddr a = { .kind = SOCKET_INET, .host = g_strdup("127.0.0.1"), .port = g_strdup("0") };
    FD_AUTO receiver = socket_dgram(&a, NULL, &error_abort);
    g_autofree char *name = socket_local_name(receiver);
    SocketAddr to;
    g_assert_true(socket_addr_parse(&to, name, &error_abort));
    FD_AUTO sender = socket_dgram(NULL, &to, &error_abort);
    char byte = 0;
    g_assert_cmpint(write(sender, "x", 1), ==, 1);
    g_assert_cmpint(recv(receiver, &byte, 1, MSG_WAITALL), ==, 1);
    g_assert_cmpint(byte, ==, 'x');
    socket_addr_release(&a);
    socket_addr_release(&to);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_true(event_loop_main_init(&error_abort));
    test_dir = g_dir_make_tmp("rhea-socket-XXXXXX", NULL);
    g_test_add_func("/socket/parse", test_parse);
    g_test_add_func("/socket/unix", test_unix);
    g_test_add_func("/socket/long-path", test_long_path);
    g_test_add_func("/socket/abstract", test_abstract);
    g_test_add_func("/socket/full-backlog", test_full_backlog);
    g_test_add_func("/socket/inet", test_inet);
    g_test_add_func("/socket/bad-name", test_bad_name);
    g_test_add_func("/socket/fd", test_fd);
    g_test_add_func("/socket/dgram", test_dgram);
    int status = g_test_run();
    g_rmdir(test_dir);
    g_free(test_dir);
    event_loop_main_finish();
    return status;
}
