/* Character devices: back ends, front ends, back pressure, descriptors, start-up states. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdset.h"
#include "base/module.h"
#include "chardev/chardev-record.h"
#include "chardev/chardev.h"
#include "config/keyval.h"
#include "event/call.h"
#include "event/lock.h"
#include "event/loop.h"
#include "event/socket.h"
#include "front.h"

static char *test_dir;

/* --- Plain sockets as the other side --- */

static struct sockaddr_un socket_name(const char *name)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_snprintf(un.sun_path, sizeof(un.sun_path), "%s/%s", test_dir, name);
    return un;
}

static int peer_connect(const char *name)
{
    struct sockaddr_un un = socket_name(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

static int peer_listen(const char *name)
{
    struct sockaddr_un un = socket_name(name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(un.sun_path);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    g_assert_cmpint(listen(fd, 8), ==, 0);
    return fd;
}

static int peer_accept(int listener)
{
    int fd = -1;
    WAIT_UNTIL((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    return fd;
}

static void peer_send(int fd, const char *text)
{
    g_assert_cmpint(write(fd, text, strlen(text)), ==, strlen(text));
}

static void peer_expect(int fd, const char *text)
{
    char buf[256];
    size_t have = 0, len = strlen(text);
    int64_t end = clock_now(CLK_REALTIME) + WAIT_NS;
    while (have < len) {
        g_assert_cmpint(clock_now(CLK_REALTIME), <, end);
        ssize_t n = recv(fd, buf + have, len - have, MSG_DONTWAIT);
        have += n > 0 ? n : 0;
        if (n <= 0 && !event_loop_iterate(event_loop_main(), false)) {
            g_usleep(200);
        }
    }
    buf[len] = 0;
    g_assert_cmpstr(buf, ==, text);
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

static char *path_of(const char *name)
{
    return g_build_filename(test_dir, name, NULL);
}

/* --- Tests --- */

static void test_ringbuf(void)
{
    Chardev *chr = new_chardev("ringbuf,id=r,size=8");
    Front f;
    front_init(&f, chr);
    expect(&f, "<opened>");
    g_assert_cmpuint(char_frontend_write(&f.fe, "abcdef", 6), ==, 6);
    g_assert_cmpuint(char_frontend_write(&f.fe, "ghij", 4), ==, 4);
    size_t len;
    g_autofree uint8_t *first = chardev_ringbuf_read(chr, 3, &len, &error_abort);
    g_assert_cmpstr((char *)first, ==, "cde");
    g_autofree uint8_t *rest = chardev_ringbuf_read(chr, 100, &len, &error_abort);
    g_assert_cmpstr((char *)rest, ==, "fghij");
    g_assert_true(chardev_ringbuf_write(chr, "0123456789", 10, &error_abort));
    g_autofree uint8_t *last = chardev_ringbuf_read(chr, 100, &len, &error_abort);
    g_assert_cmpstr((char *)last, ==, "23456789");
    front_finish(&f);
    remove_chardev("r");
}

static void test_file(void)
{
    g_autofree char *out = path_of("out"), *in = path_of("in"), *log = path_of("log");
    g_assert_true(g_file_set_contents(in, "input", -1, NULL));
    for (int round = 0; round < 2; round++) {
        Front f;
        front_init(
            &f, new_chardev("file,id=f,path=%s,append=on,input-path=%s,logfile=%s", out, in, log));
        /* the end of the input file ends the connection, as on a pipe */
        expect(&f, "<opened>input<closed>");
        front_finish(&f);
        remove_chardev("f");
        front_init(&f,
                   new_chardev("file,id=f,path=%s,append=on,logfile=%s,logappend=on", out, log));
        char_frontend_write(&f.fe, "x", 1);
        front_finish(&f);
        remove_chardev("f");
    }
    g_autofree char *text = NULL, *logged = NULL;
    g_assert_true(g_file_get_contents(out, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "xx");
    g_assert_true(g_file_get_contents(log, &logged, NULL, NULL));
    g_assert_cmpstr(logged, ==, "x");
    g_unlink(out);
    g_unlink(in);
    g_unlink(log);
}

static void test_pipe(void)
{
    g_autofree char *base = path_of("p"), *in = path_of("p.in"), *out = path_of("p.out");
    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    Front f;
    front_init(&f, new_chardev("pipe,id=p,path=%s", base));
    FD_AUTO writer = open(in, O_WRONLY);
    FD_AUTO reader = open(out, O_RDONLY | O_NONBLOCK);
    expect(&f, "<opened>");
    peer_send(writer, "hello");
    expect(&f, "hello");
    char buf[8] = "";
    char_frontend_write(&f.fe, "back", 4);
    g_assert_cmpint(read(reader, buf, sizeof(buf)), ==, 4);
    g_assert_cmpstr(buf, ==, "back");
    /* The end of the input is not the end of the output. */
    fd_close(fd_steal(&writer));
    for (int i = 0; i < 10; i++) {
        event_loop_iterate(event_loop_main(), false);
    }
    char_frontend_write(&f.fe, "more", 4);
    g_assert_cmpint(read(reader, buf, sizeof(buf)), ==, 4);
    g_assert_cmpstr(buf, ==, "more");
    front_finish(&f);
    remove_chardev("p");
    g_unlink(in);
    g_unlink(out);
}

static void test_socket_server(void)
{
    Chardev *chr = new_chardev("socket,id=s,path=%s/s,server=on,wait=on", test_dir);
    Front f;
    front_init(&f, chr);
    g_assert_true(chardev_waiting() == chr);
    g_autofree char *waits = chardev_describe_wait(chr);
    g_autofree char *expected =
        g_strdup_printf("chardev 's' to be connected at unix:%s/s,server=on", test_dir);
    g_assert_cmpstr(waits, ==, expected);
    g_assert_true(chardev_check_started(&error_abort));
    /* bytes without anybody there vanish */
    g_assert_cmpuint(char_frontend_write(&f.fe, "lost", 4), ==, 4);
    ERROR_AUTO not_connected = NULL;
    g_assert_false(char_frontend_write_all(&f.fe, "x", 1, &not_connected));

    int peer = peer_connect("s");
    expect(&f, "<opened>");
    g_assert_null(chardev_waiting());
    g_assert_cmpint(chardev_peer_pid(chr), ==, getpid());
    peer_send(peer, "to machine");
    expect(&f, "to machine");
    g_assert_cmpuint(char_frontend_write(&f.fe, "to host", 7), ==, 7);
    peer_expect(peer, "to host");

    /* one at a time: the second client waits until the first has gone */
    FD_AUTO second = peer_connect("s");
    peer_send(second, "2");
    peer_send(peer, "1");
    expect(&f, "1");
    close(peer);
    expect(&f, "<closed><opened>2");

    /* dropping a connection from this side */
    chardev_disconnect(chr);
    expect(&f, "<closed>");
    char byte;
    g_assert_cmpint(read(second, &byte, 1), ==, 0);
    g_autofree char *name = chardev_filename(chr);
    g_assert_true(g_str_has_prefix(name, "disconnected:unix:"));
    g_assert_true(chardev_reconnects(chr));

    ERROR_AUTO busy = NULL;
    g_assert_false(chardev_remove("s", &busy));
    g_assert_cmpstr(error_message(busy), ==, "Chardev 's' is busy");
    front_finish(&f);
    remove_chardev("s");
    g_autofree char *path = path_of("s");
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static void test_receive_window(void)
{
    Front f;
    front_init(&f, new_chardev("socket,id=s,path=%s/s,server=on,wait=off", test_dir));
    FD_AUTO peer = peer_connect("s");
    expect(&f, "<opened>");
    f.room = 3;
    peer_send(peer, "abcdefgh");
    expect(&f, "abc");
    for (int i = 0; i < 20; i++) {
        event_loop_iterate(event_loop_main(), false);
    }
    g_assert_cmpuint(f.log->len, ==, 0);
    f.room = 2;
    char_frontend_accept_input(&f.fe);
    expect(&f, "de");
    f.room = 100;
    char_frontend_accept_input(&f.fe);
    expect(&f, "fgh");
    front_finish(&f);
    remove_chardev("s");
}

/* A reader that doesn't read costs at most the queue; what was accepted arrives in order. */
static void test_slow_reader(void)
{
    Front f;
    front_init(&f, new_chardev("socket,id=s,path=%s/s,server=on,wait=off", test_dir));
    FD_AUTO peer = peer_connect("s");
    expect(&f, "<opened>");
    uint32_t block[1024];
    uint32_t next = 0;
    for (;;) {
        for (size_t i = 0; i < G_N_ELEMENTS(block); i++) {
            block[i] = next + i;
        }
        ERROR_AUTO err = NULL;
        if (!char_frontend_write_all(&f.fe, block, sizeof(block), &err)) {
            g_assert_cmpint(error_errno(err), ==, ENOBUFS);
            break;
        }
        next += G_N_ELEMENTS(block);
        g_assert_cmpuint(char_frontend_pending(&f.fe), <=, CHARDEV_QUEUE_MAX);
    }
    g_assert_cmpuint(char_frontend_pending(&f.fe), >, CHARDEV_QUEUE_MAX - sizeof(block));
    g_assert_cmpuint(char_frontend_write(&f.fe, "x", 1), ==, 0);

    for (uint32_t seen = 0; seen < next;) {
        uint32_t got[1024];
        size_t have = 0;
        while (have < sizeof(got)) {
            ssize_t n = recv(peer, (char *)got + have, sizeof(got) - have, MSG_DONTWAIT);
            have += n > 0 ? n : 0;
            event_loop_iterate(event_loop_main(), false);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(got); i++, seen++) {
            g_assert_cmpuint(got[i], ==, seen);
        }
    }
    expect(&f, "<writable>");
    g_assert_cmpuint(char_frontend_pending(&f.fe), ==, 0);
    front_finish(&f);
    remove_chardev("s");
}

/* The other side goes away while output waits: nothing is left, nothing is stuck. */
static void test_disconnect_with_queue(void)
{
    Front f;
    front_init(&f, new_chardev("socket,id=s,path=%s/s,server=on,wait=off", test_dir));
    g_autofree char *block = g_malloc0(65536);
    int fds_before = count_fds();
    for (int round = 0; round < 3; round++) {
        int peer = peer_connect("s");
        expect(&f, "<opened>");
        while (char_frontend_write_fds(&f.fe, block, 65536, (int[]){ 0 }, 1, NULL)) {
        }
        g_assert_cmpuint(char_frontend_pending(&f.fe), >, 0);
        close(peer);
        expect(&f, "<closed>");
        g_assert_cmpuint(char_frontend_pending(&f.fe), ==, 0);
    }
    g_assert_cmpint(count_fds(), ==, fds_before);
    front_finish(&f);
    remove_chardev("s");
}

static void test_fd_passing(void)
{
    Front f;
    Chardev *chr = new_chardev("socket,id=s,path=%s/s,server=on,wait=off", test_dir);
    front_init(&f, chr);
    FD_AUTO peer = peer_connect("s");
    expect(&f, "<opened>");
    g_assert_true(chardev_supports_fds(chr));

    int pipe_fds[2];
    g_assert_cmpint(pipe(pipe_fds), ==, 0);
    struct iovec iov = { (char *)"two", 3 };
    g_assert_cmpint(fd_sendmsg(peer, &iov, 1, pipe_fds, 2), ==, 3);
    expect(&f, "two");
    g_assert_cmpuint(f.nfds, ==, 2);
    g_assert_cmpint(write(f.fds[1], "x", 1), ==, 1);
    char byte;
    g_assert_cmpint(read(pipe_fds[0], &byte, 1), ==, 1);

    /* the other way, directly and out of the queue */
    g_autofree char *block = g_malloc0(256 * 1024);
    g_assert_true(char_frontend_write_all(&f.fe, block, 256 * 1024, &error_abort));
    g_assert_cmpuint(char_frontend_pending(&f.fe), >, 0);
    g_assert_true(char_frontend_write_fds(&f.fe, "fd", 2, pipe_fds, 1, &error_abort));
    size_t have = 0;
    int got[FD_PASS_MAX];
    unsigned ngot = 0;
    char last[4096];
    while (have < 256 * 1024 + 2) {
        unsigned room = FD_PASS_MAX - ngot;
        struct iovec in = { last, sizeof(last) };
        ssize_t n = fd_recvmsg(peer, &in, 1, got + ngot, &room);
        g_assert_cmpint(n, >, 0);
        have += n;
        ngot += room;
        event_loop_iterate(event_loop_main(), false);
    }
    g_assert_cmpuint(ngot, ==, 1);
    close(got[0]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    front_finish(&f);
    remove_chardev("s");

    ERROR_AUTO err = NULL;
    front_init(&f, new_chardev("ringbuf,id=r"));
    g_assert_false(char_frontend_write_fds(&f.fe, "x", 1, (int[]){ 0 }, 1, &err));
    g_assert_nonnull(err);
    front_finish(&f);
    remove_chardev("r");
}

/* Descriptors that nobody takes are closed. */
static void test_unwanted_fds(void)
{
    Front f;
    front_init(&f, new_chardev("socket,id=s,path=%s/s,server=on,wait=off", test_dir));
    f.nfds = FD_PASS_MAX; /* the handler takes none */
    FD_AUTO peer = peer_connect("s");
    expect(&f, "<opened>");
    int before = count_fds();
    for (int i = 0; i < 100; i++) {
        struct iovec iov = { (char *)"x", 1 };
        g_assert_cmpint(fd_sendmsg(peer, &iov, 1, (int[]){ 0, 1, 2 }, 3), ==, 1);
        expect(&f, "x");
    }
    g_assert_cmpint(count_fds(), <=, before + 3);
    f.nfds = 0;
    front_finish(&f);
    remove_chardev("s");
}

static void test_client(void)
{
    ERROR_AUTO err = NULL;
    g_autofree char *text = g_strdup_printf("socket,id=c,path=%s/c", test_dir);
    g_assert_null(try_chardev(text, &err));
    g_assert_nonnull(strstr(error_message(err), "Failed to connect to"));
    g_assert_null(chardev_find("c"));

    FD_AUTO listener = peer_listen("c");
    Chardev *chr = new_chardev("socket,id=c,path=%s/c", test_dir);
    FD_AUTO peer = peer_accept(listener);
    Front f;
    front_init(&f, chr);
    expect(&f, "<opened>");
    g_assert_null(chardev_waiting());
    g_assert_false(chardev_reconnects(chr));
    peer_send(peer, "hi");
    close(fd_steal(&peer));
    expect(&f, "hi<closed>");
    front_finish(&f);
    remove_chardev("c");
}

/* A client that has to find out asynchronously: start-up learns of the failure. */
static void test_client_fails_later(void)
{
    SocketAddr any = { .kind = SOCKET_INET, .host = g_strdup("127.0.0.1"), .port = g_strdup("0") };
    int listener = socket_listen(&any, 8, &error_abort);
    g_autofree char *name = socket_local_name(listener);
    close(listener);
    socket_addr_release(&any);
    Error *err = NULL;
    g_autofree char *text =
        g_strdup_printf("socket,id=c,host=localhost,port=%s", strrchr(name, ':') + 1);
    Chardev *chr = try_chardev(text, &err);
    if (chr) {
        WAIT_UNTIL(!chardev_waiting());
        g_assert_false(chardev_check_started(&err));
        remove_chardev("c");
    }
    g_assert_true(g_str_has_prefix(error_message(err), "chardev 'c': Failed to connect to"));
    error_free(err);
}

static void test_reconnect(void)
{
    Chardev *chr = new_chardev("socket,id=c,path=%s/c,reconnect=30", test_dir);
    Front f;
    front_init(&f, chr);
    g_assert_null(chardev_waiting());
    g_assert_true(chardev_check_started(&error_abort));
    g_autofree char *path = path_of("c");
    int64_t worst = 0;
    for (int round = 0; round < 5; round++) {
        /* let the pauses grow, so that only the watched folder can be that quick */
        g_usleep(30000);
        for (int i = 0; i < 50; i++) {
            event_loop_iterate(event_loop_main(), false);
        }
        int64_t start = clock_now(CLK_REALTIME);
        int listener = peer_listen("c");
        int peer = peer_accept(listener);
        expect(&f, "<opened>");
        worst = MAX(worst, clock_now(CLK_REALTIME) - start);
        peer_send(peer, "data");
        expect(&f, "data");
        close(listener);
        unlink(path);
        close(peer);
        expect(&f, "<closed>");
    }
    g_test_message("worst reconnection: %d us", (int)(worst / NS_PER_US));
    g_assert_cmpint(worst, <, 50 * NS_PER_MS);
    front_finish(&f);
    remove_chardev("c");
}

/* Many connections: no descriptor and no memory is left behind. */
static void test_many_connections(void)
{
    Front f;
    front_init(&f, new_chardev("socket,id=s,path=%s/s,server=on,wait=off", test_dir));
    int before = count_fds();
    for (int i = 0; i < 1000; i++) {
        int peer = peer_connect("s");
        peer_send(peer, "x");
        close(peer);
        expect(&f, "<opened>x<closed>");
    }
    g_assert_cmpint(count_fds(), ==, before);
    front_finish(&f);
    remove_chardev("s");
}

static void test_tcp(void)
{
    Chardev *server =
        new_chardev("socket,id=s,host=127.0.0.1,port=0,server=on,wait=off,nodelay=on");
    g_autofree char *name = chardev_filename(server);
    g_assert_true(g_str_has_prefix(name, "disconnected:tcp:127.0.0.1:"));
    const char *port = name + strlen("disconnected:tcp:127.0.0.1:");
    Chardev *client =
        new_chardev("socket,id=c,host=127.0.0.1,port=%.*s", (int)strcspn(port, ","), port);
    Front s, c;
    front_init(&s, server);
    front_init(&c, client);
    expect(&c, "<opened>");
    expect(&s, "<opened>");
    char_frontend_write(&c.fe, "ping", 4);
    expect(&s, "ping");
    g_autofree char *connected = chardev_filename(server);
    g_assert_nonnull(strstr(connected, ",server=on <-> 127.0.0.1:"));
    g_assert_false(chardev_supports_fds(server));
    front_finish(&s);
    front_finish(&c);
    remove_chardev("c");
    remove_chardev("s");
}

static void test_fd_back_end(void)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    fd_named_put("mon", pair[0]);
    Front f;
    front_init(&f, new_chardev("socket,id=s,fd=mon"));
    peer_send(pair[1], "x");
    expect(&f, "<opened>x");
    close(pair[1]);
    expect(&f, "<closed>");
    front_finish(&f);
    remove_chardev("s");
    fdset_finish();
}

static void test_pty(void)
{
    Chardev *chr = new_chardev("pty,id=p");
    Front f;
    front_init(&f, chr);
    g_autofree char *name = chardev_filename(chr);
    g_assert_true(g_str_has_prefix(name, "pty:/dev/pts/"));
    g_assert_false(chardev_is_connected(chr));
    for (int round = 0; round < 3; round++) {
        int slave = open(name + 4, O_RDWR | O_NOCTTY | O_CLOEXEC);
        g_assert_cmpint(slave, >=, 0);
        expect(&f, "<opened>");
        peer_send(slave, "typed\n");
        expect(&f, "typed\n");
        g_assert_cmpuint(char_frontend_write(&f.fe, "shown", 5), ==, 5);
        char buf[8] = "";
        g_assert_cmpint(read(slave, buf, sizeof(buf)), ==, 5);
        g_assert_cmpstr(buf, ==, "shown");
        close(slave);
        expect(&f, "<closed>");
    }
    front_finish(&f);
    remove_chardev("p");
}

static void test_mux(void)
{
    Chardev *mux = new_chardev("socket,id=m,path=%s/m,server=on,wait=off,mux=on", test_dir);
    g_assert_nonnull(chardev_find("m-base"));
    Front a, b;
    front_init(&a, mux);
    front_init(&b, mux);
    expect(&a, "<in><out>");
    expect(&b, "<in>");
    FD_AUTO peer = peer_connect("m");
    expect(&a, "<opened>");
    expect(&b, "<opened>");
    peer_send(peer, "to b\x01"
                    "cto a\x01\x01!");
    expect(&a, "<in>to a\x01!");
    expect(&b, "to b<out>");
    char_frontend_write(&a.fe, "A", 1);
    char_frontend_write(&b.fe, "B", 1);
    peer_expect(peer, "AB");
    g_assert_true(char_frontend_write_all(&b.fe, "C", 1, &error_abort));
    peer_expect(peer, "C");
    peer_send(peer, "\x01"
                    "b");
    expect(&a, "<break>");
    peer_send(peer, "\x01h");
    peer_expect(peer, "\r\nC-a h    print this help\r\n");

    /* input waits for the one that has the focus */
    a.room = 2;
    peer_send(peer, "1234");
    expect(&a, "12");
    a.room = 10;
    char_frontend_accept_input(&a.fe);
    expect(&a, "34");

    /* when the focused one goes, the other gets the focus */
    front_finish(&a);
    expect(&b, "<in>");
    ERROR_AUTO busy = NULL;
    g_assert_false(chardev_remove("m", &busy));
    front_finish(&b);
    remove_chardev("m");
    remove_chardev("m-base");
}

static void test_mux_suspended_opens(void)
{
    chardev_mux_suspend_opens();
    Chardev *mux = new_chardev("ringbuf,id=m,mux=on");
    Front a;
    front_init(&a, mux);
    expect(&a, "<in>");
    chardev_mux_resume_opens();
    expect(&a, "<opened>");
    front_finish(&a);
    remove_chardev("m");
    remove_chardev("m-base");
}

/* A front end in an I/O thread: its handlers run there, and moving back is clean. */
static void test_io_thread(void)
{
    EventLoop *loop = event_loop_thread_create("test-io", &error_abort);
    for (int round = 0; round < 20; round++) {
        Front f = { .log = g_string_new(NULL), .room = SIZE_MAX / 2 };
        Chardev *chr = new_chardev("socket,id=s,path=%s/s,server=on,wait=off", test_dir);
        g_assert_true(char_frontend_init(&f.fe, chr, &error_abort));
        char_frontend_set_handlers(&f.fe, &front_handlers, &f, loop);
        FD_AUTO peer = peer_connect("s");
        peer_send(peer, "in thread");
        for (int i = 0; i < 5000 && !g_str_has_suffix(f.log->str, "thread"); i++) {
            g_usleep(1000);
            event_loop_call(loop, NULL, NULL);
        }
        g_assert_cmpstr(f.log->str, ==, "<opened>in thread");
        g_assert_true(f.seen_in == loop);
        if (round % 2) {
            /* back to the main loop with the connection open */
            g_string_truncate(f.log, 0);
            char_frontend_set_handlers(&f.fe, &front_handlers, &f, NULL);
            expect(&f, "<opened>");
            peer_send(peer, "in main");
            expect(&f, "in main");
            g_assert_true(f.seen_in == event_loop_main());
        }
        front_finish(&f);
        remove_chardev("s");
    }
    event_loop_thread_destroy(loop);
}

static void test_change(void)
{
    Front f;
    front_init(&f, new_chardev("ringbuf,id=x"));
    expect(&f, "<opened>");
    ChardevBackend record = { .type = CHARDEV_BACKEND_KIND_SOCKET };
    g_autofree char *path = path_of("x");
    record.u.socket.data.addr.type = SOCKET_ADDRESS_TYPE_UNIX;
    record.u.socket.data.addr.u.unix_.data.path = path;
    g_assert_true(chardev_change("x", &record, &error_abort));
    expect(&f, "<closed><changed>");
    FD_AUTO peer = peer_connect("x");
    peer_send(peer, "new");
    expect(&f, "<opened>new");

    /* a change that fails leaves everything as it was */
    ERROR_AUTO err = NULL;
    ChardevBackend bad = { .type = CHARDEV_BACKEND_KIND_FILE };
    bad.u.file.data.out = (char *)"/nonexistent/file";
    g_assert_false(chardev_change("x", &bad, &err));
    peer_send(peer, "still");
    expect(&f, "still");
    front_finish(&f);
    remove_chardev("x");
}

static void test_bad_options(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "socket,id=x", "needs 'path', 'fd', or 'host'" },
        { "socket,id=x,path=/a,port=1", "exclude each other" },
        { "socket,id=x,host=h", "needs 'port'" },
        { "socket,id=x,port=1,abstract=on", "for unix sockets" },
        { "socket,id=x,path=/a,server=on,reconnect=1", "'reconnect' is for clients" },
        { "socket,id=x,path=/a,wait=on", "'wait' is for servers" },
        { "socket,id=x,path=/nonexistent/a,server=on", "Failed to bind" },
        { "socket,id=x,path=/a,reconnect=1,reconnect-ms=1", "either" },
        { "socket,id=x,path=/a,reconnect=-1", "negative" },
        { "socket,id=x,fd=999", "not an open file descriptor" },
        { "socket,id=x,path=/a,tls-creds=t", "TLS" },
        { "ringbuf,id=x,size=3", "power of two" },
        { "ringbuf,id=x,size=0", "power of two" },
        { "file,id=x", "path" },
        { "file,id=x,path=/nonexistent/x", "/nonexistent/x" },
        { "file,id=x,path=/dev/null,logfile=/nonexistent/y", "/nonexistent/y" },
        { "mux,id=x,chardev=none", "not found" },
        { "null,id=1x", "identifier" },
        { "null", "id" },
        { "nul,id=x", "null" },
        { "serial,id=x,path=/dev/null", "not a serial line" },
        { "udp,id=x", "port" },
        { "stdio,id=x,foo=1", "foo" },
    };
    int before = count_fds();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        ERROR_AUTO err = NULL;
        Chardev *chr = try_chardev(cases[i].text, &err);
        if (chr || !strstr(error_message(err), cases[i].message)) {
            g_test_message("%s: %s", cases[i].text, chr ? "accepted" : error_message(err));
            g_assert_not_reached();
        }
        g_assert_null(chardev_find("x"));
    }
    g_assert_cmpint(count_fds(), ==, before);

    new_chardev("null,id=twice");
    ERROR_AUTO twice = NULL;
    g_assert_null(try_chardev("null,id=twice", &twice));
    g_assert_nonnull(twice);
    ERROR_AUTO near = NULL;
    g_assert_null(chardev_find_or_error("twise", &near));
    g_assert_nonnull(strstr(error_message(near), "did you mean 'twice'"));
    Front f = { 0 };
    ERROR_AUTO in_use = NULL;
    CharFrontend other;
    front_init(&f, chardev_find("twice"));
    g_assert_false(char_frontend_init(&other, chardev_find("twice"), &in_use));
    front_finish(&f);
    remove_chardev("twice");
}

static void test_short_forms(void)
{
    g_autofree char *path = path_of("f");
    g_autofree char *unix_form = g_strdup_printf("unix:%s,server=on,wait=off", path);
    g_autofree char *unix_old = g_strdup_printf("unix:%s,server,nowait", path);
    g_autofree char *file_form = g_strdup_printf("file:%s", path);
    g_autofree char *mon = g_strdup_printf("mon:unix:%s,server=on,wait=off", path);
    g_autofree char *unix_name = g_strdup_printf("disconnected:unix:%s,server=on", path);
    const struct {
        const char *text, *filename;
        bool monitor;
    } good[] = {
        { "null", "null", false },
        { "ringbuf", "ringbuf", false },
        { "ringbuf,size=16", "ringbuf", false },
        { unix_form, unix_name, false },
        { unix_old, unix_name, false },
        { file_form, "file", false },
        { "tcp:127.0.0.1:0,server=on,wait=off", "disconnected:tcp:127.0.0.1:", false },
        { "udp:127.0.0.1:9@127.0.0.1:0", "udp", false },
        { mon, "mux", true },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        Chardev *chr;
        bool monitor;
        g_assert_true(chardev_new_from_text("x", good[i].text, &monitor, &chr, &error_abort));
        g_autofree char *name = chardev_filename(chr);
        g_assert_true(g_str_has_prefix(name, good[i].filename));
        g_assert_cmpint(monitor, ==, good[i].monitor);
        chardev_finish_all();
        g_assert_null(chardev_find("x"));
        g_unlink(path);
    }

    Chardev *chr;
    g_assert_true(chardev_new_from_text("x", "none", NULL, &chr, &error_abort));
    g_assert_null(chr);
    Chardev *other = new_chardev("null,id=other");
    g_assert_true(chardev_new_from_text("x", "chardev:other", NULL, &chr, &error_abort));
    g_assert_true(chr == other);
    remove_chardev("other");

    static const char *const bad[] = { "vc",       "foo",       "unix:",
                                       "tcp:",     "tcp:host",  "udp:1",
                                       "mon:null", "chardev:x", "unix:/a,serve=on",
                                       "" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        ERROR_AUTO err = NULL;
        g_assert_false(chardev_new_from_text("x", bad[i], NULL, &chr, &err));
        g_assert_nonnull(err);
        g_assert_null(chardev_find("x"));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_true(event_loop_main_init(&error_abort));
    module_call(MODULE_TYPES);
    test_dir = g_dir_make_tmp("rhea-chardev-XXXXXX", NULL);
    g_test_add_func("/chardev/ringbuf", test_ringbuf);
    g_test_add_func("/chardev/file", test_file);
    g_test_add_func("/chardev/pipe", test_pipe);
    g_test_add_func("/chardev/socket-server", test_socket_server);
    g_test_add_func("/chardev/receive-window", test_receive_window);
    g_test_add_func("/chardev/slow-reader", test_slow_reader);
    g_test_add_func("/chardev/disconnect-with-queue", test_disconnect_with_queue);
    g_test_add_func("/chardev/fd-passing", test_fd_passing);
    g_test_add_func("/chardev/unwanted-fds", test_unwanted_fds);
    g_test_add_func("/chardev/client", test_client);
    g_test_add_func("/chardev/client-fails-later", test_client_fails_later);
    g_test_add_func("/chardev/reconnect", test_reconnect);
    g_test_add_func("/chardev/many-connections", test_many_connections);
    g_test_add_func("/chardev/tcp", test_tcp);
    g_test_add_func("/chardev/fd-back-end", test_fd_back_end);
    g_test_add_func("/chardev/pty", test_pty);
    g_test_add_func("/chardev/mux", test_mux);
    g_test_add_func("/chardev/mux-suspended-opens", test_mux_suspended_opens);
    g_test_add_func("/chardev/io-thread", test_io_thread);
    g_test_add_func("/chardev/change", test_change);
    g_test_add_func("/chardev/bad-options", test_bad_options);
    g_test_add_func("/chardev/short-forms", test_short_forms);
    int status = g_test_run();
    chardev_finish_all();
    object_root_reset();
    g_rmdir(test_dir);
    g_free(test_dir);
    event_loop_main_finish();
    return status;
}
