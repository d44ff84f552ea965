/* Secrets, TLS credentials, and connections with layers: TLS, websocket, telnet. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/module.h"
#include "crypto/secret.h"
#include "front.h"
#include "object/user-creatable.h"

static char *test_dir;

static Object *try_object(const char *text, Error **errp)
{
    bool help;
    json_t *json = keyval_parse(text, NULL, &help, errp);
    g_autofree char *type = g_strdup(json_string_value(json_object_get(json, "type")));
    g_autofree char *id = g_strdup(json_string_value(json_object_get(json, "id")));
    json_object_del(json, "type");
    json_object_del(json, "id");
    Object *obj = user_creatable_add(type, id, json, VALUE_MODE_TEXT, errp);
    json_decref(json);
    return obj;
}

static void G_GNUC_PRINTF(1, 2) add_object(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_assert_nonnull(try_object(text, &error_abort));
}

static void del_object(const char *id)
{
    g_assert_true(user_creatable_del(id, &error_abort));
}

static void write_file(const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(test_dir, name, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void remove_files(void)
{
    GDir *dir = g_dir_open(test_dir, 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename(test_dir, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
}

/* --- Secrets --- */

static void expect_secret(const char *id, const char *expected)
{
    char *text = secret_lookup_text(id, &error_abort);
    g_assert_cmpstr(text, ==, expected);
    secret_free(text, strlen(text));
}

static void test_secrets(void)
{
    write_file("key", "from a file");
    add_object("type=secret,id=a,data=letmein");
    add_object("type=secret,id=b,data=bGV0bWVpbg==,format=base64");
    add_object("type=secret,id=c,file=%s/key", test_dir);
    expect_secret("a", "letmein");
    expect_secret("b", "letmein");
    expect_secret("c", "from a file");
    /* "secret text" with the key 00 01 … 1f and the IV 00 01 … 0f, AES-256-CBC:
     * printf 'secret text' | openssl enc -aes-256-cbc -K 000102…1f -iv 000102…0f -a */
    add_object("type=secret,id=master,format=base64,"
               "data=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    add_object(
        "type=secret,id=e,keyid=master,iv=AAECAwQFBgcICQoLDA0ODw==,data=AN5jKuHeAlkPugUZVsKRIA==");
    expect_secret("e", "secret text");

    static const char *const bad[] = {
        "type=secret,id=x",
        "type=secret,id=x,data=a,file=b",
        "type=secret,id=x,file=/nonexistent",
        "type=secret,id=x,file=/dev/zero,format=base64",
        "type=secret,id=x,data=!!!!,format=base64",
        "type=secret,id=x,data=abc,format=base64",
        "type=secret,id=x,data=aaaa,keyid=master",
        "type=secret,id=x,data=aaaa,keyid=none,iv=AAECAwQFBgcICQoLDA0ODw==",
        "type=secret,id=x,data=aaaa,keyid=master,iv=AAECAwQFBgcICQoLDA0ODw==",
        "type=secret,id=x,data=aaaa,keyid=a,iv=AAECAwQFBgcICQoLDA0ODw==",
        "type=secret,id=x,data=a,format=rot13",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        ERROR_AUTO err = NULL;
        g_test_message("%s", bad[i]);
        g_assert_null(try_object(bad[i], &err));
        g_assert_nonnull(err);
    }
    ERROR_AUTO none = NULL;
    g_assert_null(secret_lookup_text("none", &none));
    add_object("type=secret,id=f,data=/w==,format=base64");
    ERROR_AUTO binary = NULL;
    g_assert_null(secret_lookup_text("f", &binary));
    static const char *const all[] = { "a", "b", "c", "e", "f", "master" };
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        del_object(all[i]);
    }
}

/* --- TLS --- */

/* A server and a client of these options on a free port. */
static void connect_pair(Front *s, Front *c, const char *server_options, const char *client_options)
{
    Chardev *server =
        new_chardev("socket,id=s,host=127.0.0.1,port=0,server=on,wait=off%s", server_options);
    g_autofree char *name = chardev_filename(server);
    const char *port = strstr(name, "127.0.0.1:") + strlen("127.0.0.1:");
    front_init(s, server);
    front_init(c, new_chardev("socket,id=c,host=127.0.0.1,port=%.*s,reconnect-ms=20%s",
                              (int)strcspn(port, ","), port, client_options));
}

static void disconnect_pair(Front *s, Front *c)
{
    front_finish(s);
    front_finish(c);
    remove_chardev("c");
    remove_chardev("s");
}

/* Much data both ways at once, in order. */
static void exchange(Front *s, Front *c)
{
    enum { TOTAL = 3 * 1024 * 1024, CHUNK = 50000 };
    Front *const fronts[] = { s, c };
    size_t sent[2] = { 0, 0 };
    g_autofree char *pattern = g_malloc(TOTAL);
    for (size_t i = 0; i < TOTAL; i++) {
        pattern[i] = (char)(i * 7 + i / 253);
    }
    int64_t end = clock_now(CLK_REALTIME) + 4 * WAIT_NS;
    while (s->log->len < TOTAL || c->log->len < TOTAL) {
        g_assert_cmpint(clock_now(CLK_REALTIME), <, end);
        for (int i = 0; i < 2; i++) {
            size_t n = MIN(CHUNK, TOTAL - sent[i]);
            sent[i] += char_frontend_write(&fronts[i]->fe, pattern + sent[i], n);
            /* <writable> is not data */
            char *mark;
            while ((mark = memmem(fronts[i]->log->str, fronts[i]->log->len, "<writable>", 10))) {
                g_string_erase(fronts[i]->log, mark - fronts[i]->log->str, 10);
            }
        }
        event_loop_iterate(event_loop_main(), false);
    }
    for (int i = 0; i < 2; i++) {
        g_assert_cmpmem(fronts[i]->log->str, fronts[i]->log->len, pattern, TOTAL);
        g_string_truncate(fronts[i]->log, 0);
    }
}

static void check_tls(const char *server_options, const char *client_options)
{
    Front s, c;
    connect_pair(&s, &c, server_options, client_options);
    expect(&s, "<opened>");
    expect(&c, "<opened>");
    g_autofree char *name = chardev_filename(chardev_find("s"));
    g_assert_true(g_str_has_prefix(name, "tls:127.0.0.1:"));
    g_assert_false(chardev_supports_fds(chardev_find("s")));
    g_assert_cmpuint(char_frontend_write(&c.fe, "ping", 4), ==, 4);
    expect(&s, "ping");
    exchange(&s, &c);

    /* a connection that ends is made again, as a whole */
    chardev_disconnect(chardev_find("s"));
    expect(&s, "<closed><opened>");
    expect(&c, "<closed><opened>");
    g_assert_cmpuint(char_frontend_write(&s.fe, "pong", 4), ==, 4);
    expect(&c, "pong");
    disconnect_pair(&s, &c);
}

static void test_tls_anon(void)
{
    add_object("type=tls-creds-anon,id=ts,endpoint=server");
    add_object("type=tls-creds-anon,id=tc,endpoint=client");
    check_tls(",tls-creds=ts", ",tls-creds=tc");
    del_object("ts");
    del_object("tc");
}

static void test_tls_psk(void)
{
    write_file("keys.psk",
               "other:0011\nqemu:000102030405060708090a0b0c0d0e0f\nann:a0a1a2a3a4a5a6a7\n");
    add_object("type=tls-creds-psk,id=ts,endpoint=server,dir=%s", test_dir);
    add_object("type=tls-creds-psk,id=tc,dir=%s", test_dir);
    add_object("type=tls-creds-psk,id=ta,username=ann,dir=%s", test_dir);
    check_tls(",tls-creds=ts", ",tls-creds=tc");
    check_tls(",tls-creds=ts", ",tls-creds=ta");
    ERROR_AUTO err = NULL;
    g_autofree char *nobody =
        g_strdup_printf("type=tls-creds-psk,id=x,username=nobody,dir=%s", test_dir);
    g_assert_null(try_object(nobody, &err));
    g_assert_nonnull(strstr(error_message(err), "no key of user 'nobody'"));
    del_object("ts");
    del_object("tc");
    del_object("ta");
}

static void run_certtool(const char *arguments)
{
    g_autofree char *line = g_strdup_printf("certtool %s", arguments);
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    int status = -1;
    g_autoptr(GError) err = NULL;
    g_spawn_sync(test_dir, argv, NULL,
                 G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                 NULL, NULL, NULL, NULL, &status, &err);
    g_assert_no_error(err);
    g_assert_cmpint(status, ==, 0);
}

static void make_certificate(const char *name, const char *template, const char *ca)
{
    g_autofree char *file = g_strdup_printf("%s.tmpl", name);
    g_autofree char *key =
        g_strdup_printf("--generate-privkey --key-type=ecdsa --outfile %s-key.pem", name);
    g_autofree char *cert =
        ca ? g_strdup_printf("--generate-certificate --load-ca-certificate %s-cert.pem "
                             "--load-ca-privkey %s-key.pem --load-privkey %s-key.pem --template "
                             "%s.tmpl --outfile %s-cert.pem",
                             ca, ca, name, name, name)
           : g_strdup_printf("--generate-self-signed --load-privkey %s-key.pem --template %s.tmpl "
                             "--outfile %s-cert.pem",
                             name, name, name);
    write_file(file, template);
    run_certtool(key);
    run_certtool(cert);
}

static void test_tls_x509(void)
{
    make_certificate("ca", "cn=Test CA\nca\ncert_signing_key\n", NULL);
    make_certificate("server", "cn=server\ntls_www_server\nsigning_key\nip_address=127.0.0.1\n",
                     "ca");
    make_certificate("client", "cn=client\ntls_www_client\nsigning_key\n", "ca");
    add_object("type=tls-creds-x509,id=ts,endpoint=server,dir=%s", test_dir);
    add_object("type=tls-creds-x509,id=tc,endpoint=client,dir=%s", test_dir);
    check_tls(",tls-creds=ts", ",tls-creds=tc");

    /* the wrong side of the credentials */
    ERROR_AUTO side = NULL;
    g_assert_null(try_chardev("socket,id=x,port=1,tls-creds=ts", &side));
    g_assert_nonnull(strstr(error_message(side), "endpoint=client"));

    /* a server for another name: the client tries again and again, and says why */
    del_object("ts");
    make_certificate("server", "cn=server\ntls_www_server\nsigning_key\ndns_name=elsewhere\n",
                     "ca");
    add_object("type=tls-creds-x509,id=ts,endpoint=server,dir=%s", test_dir);
    Front s, c;
    connect_pair(&s, &c, ",tls-creds=ts", ",tls-creds=tc");
    for (int i = 0; i < 300; i++) {
        event_loop_iterate(event_loop_main(), false);
        g_usleep(500);
    }
    g_assert_null(strstr(c.log->str, "<opened>"));
    disconnect_pair(&s, &c);
    del_object("ts");
    del_object("tc");

    static const char *const bad[] = {
        "type=tls-creds-x509,id=x",
        "type=tls-creds-x509,id=x,dir=/nonexistent",
        "type=tls-creds-psk,id=x,endpoint=server,dir=/nonexistent",
        "type=tls-creds-anon,id=x,endpoint=both",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        ERROR_AUTO err = NULL;
        g_assert_null(try_object(bad[i], &err));
        g_assert_nonnull(err);
    }
}

/* A plain client of a TLS server, and the other way round: no crash, no hang, service goes on. */
static void test_tls_garbage(void)
{
    add_object("type=tls-creds-anon,id=ts,endpoint=server");
    add_object("type=tls-creds-anon,id=tc,endpoint=client");
    Front s, c;
    connect_pair(&s, &c, ",tls-creds=ts", "");
    WAIT_UNTIL(strstr(c.log->str, "<opened>"));
    char_frontend_write(&c.fe, "GET / HTTP/1.0\r\n\r\n", 18);
    WAIT_UNTIL(strstr(c.log->str, "<closed>"));
    g_assert_cmpuint(s.log->len, ==, 0);
    disconnect_pair(&s, &c);
    connect_pair(&s, &c, ",tls-creds=ts", ",tls-creds=tc");
    expect(&s, "<opened>");
    disconnect_pair(&s, &c);
    del_object("ts");
    del_object("tc");
}

/* --- Telnet and websocket: a plain socket at the other side --- */

static int connect_plain(const char *options)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    g_snprintf(un.sun_path, sizeof(un.sun_path), "%s/l", test_dir);
    new_chardev("socket,id=l,path=%s,server=on,wait=off%s", un.sun_path, options);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&un, sizeof(un)), ==, 0);
    return fd;
}

static void plain_send(int fd, const void *bytes, size_t len)
{
    g_assert_cmpint(send(fd, bytes, len, MSG_NOSIGNAL), ==, len);
}

static void plain_expect(int fd, const void *bytes, size_t len)
{
    uint8_t buf[1024];
    size_t have = 0;
    g_assert_cmpuint(len, <=, sizeof(buf));
    int64_t end = clock_now(CLK_REALTIME) + WAIT_NS;
    while (have < len && clock_now(CLK_REALTIME) < end) {
        ssize_t n = recv(fd, buf + have, len - have, MSG_DONTWAIT);
        have += n > 0 ? n : 0;
        event_loop_iterate(event_loop_main(), false);
    }
    g_assert_cmpmem(buf, have, bytes, len);
}

static void test_telnet(void)
{
    FD_AUTO fd = connect_plain(",telnet=on");
    Front f;
    front_init(&f, chardev_find("l"));
    plain_expect(fd, "\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00", 12);
    expect(&f, "<opened>");
    /* commands, options and subnegotiations are taken out wherever the stream is cut */
    static const char typed[] = "a\xff\xfd\x01"
                                "b\xff\xff"
                                "c\xff\xfa\x18\x01\xff\xff\xff\xf0"
                                "d\xff\xf1"
                                "e";
    for (size_t i = 0; i < sizeof(typed) - 1; i++) {
        plain_send(fd, typed + i, 1);
        event_loop_iterate(event_loop_main(), false);
    }
    expect(&f, "ab\xff"
               "cde");
    g_assert_cmpuint(char_frontend_write(&f.fe, "x\xffy\xff", 4), ==, 4);
    plain_expect(fd, "x\xff\xffy\xff\xff", 6);
    front_finish(&f);
    remove_chardev("l");
}

static const char ws_request[] = "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\n"
                                 "Connection: keep-alive, Upgrade\r\n"
                                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                 "Sec-WebSocket-Protocol: text, binary\r\n"
                                 "Sec-WebSocket-Version: 13\r\n\r\n";
/* The key and its answer are the example of RFC 6455 section 1.3. */
static const char ws_answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                "Connection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                "Sec-WebSocket-Protocol: binary\r\n\r\n";

static void test_websocket(void)
{
    /* "Hello" as one masked frame (section 5.7), in two fragments, a ping between */
    static const uint8_t hello[] = { 0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                     0x7f, 0x9f, 0x4d, 0x51, 0x58 };
    static const uint8_t fragments[] = { 0x02, 0x82, 0, 0, 0, 0,  'a',     'b',
                                         0x89, 0x81, 1, 1, 1, 1,  'p' ^ 1, 0x80,
                                         0x81, 0,    0, 0, 0, 'c' };
    static const uint8_t pong[] = { 0x8a, 0x01, 'p' };
    static const uint8_t close_frame[] = { 0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8 };
    FD_AUTO fd = connect_plain(",websocket=on");
    Front f;
    front_init(&f, chardev_find("l"));
    for (size_t i = 0; i < sizeof(ws_request) - 1; i++) {
        plain_send(fd, ws_request + i, 1);
        event_loop_iterate(event_loop_main(), false);
    }
    plain_expect(fd, ws_answer, sizeof(ws_answer) - 1);
    expect(&f, "<opened>");
    for (size_t i = 0; i < sizeof(hello); i++) {
        plain_send(fd, hello + i, 1);
        event_loop_iterate(event_loop_main(), false);
    }
    expect(&f, "Hello");
    plain_send(fd, fragments, sizeof(fragments));
    expect(&f, "abc");
    plain_expect(fd, pong, sizeof(pong));
    g_assert_cmpuint(char_frontend_write(&f.fe, "out", 3), ==, 3);
    plain_expect(fd, "\x82\x03out", 5);

    /* a window of one byte: what was decoded waits */
    f.room = 1;
    plain_send(fd, hello, sizeof(hello));
    expect(&f, "H");
    f.room = 100;
    char_frontend_accept_input(&f.fe);
    expect(&f, "ello");
    plain_send(fd, close_frame, sizeof(close_frame));
    expect(&f, "<closed>");
    plain_expect(fd, "\x88\x02\x03\xe8", 4);
    front_finish(&f);
    remove_chardev("l");
}

static void test_websocket_refusals(void)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "\r\n\r\n",
        ("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
         "Sec-WebSocket-Version: 12\r\nSec-WebSocket-Key: x\r\n\r\n"),
    };
    static const struct {
        uint8_t bytes[16];
        size_t len;
    } frames[] = {
        { { 0x82, 0x01, 'x' }, 3 },                                    /* not masked */
        { { 0xc2, 0x81, 0, 0, 0, 0, 'x' }, 7 },                        /* reserved bit */
        { { 0x83, 0x81, 0, 0, 0, 0, 'x' }, 7 },                        /* reserved kind */
        { { 0x09, 0x81, 0, 0, 0, 0, 'x' }, 7 },                        /* fragmented ping */
        { { 0x89, 0xfe, 0, 200, 0, 0, 0, 0 }, 8 },                     /* long ping */
        { { 0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 14 }, /* 2^63 and more */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(requests); i++) {
        FD_AUTO fd = connect_plain(",websocket=on");
        Front f;
        front_init(&f, chardev_find("l"));
        plain_send(fd, requests[i], strlen(requests[i]));
        plain_expect(fd, "HTTP/1.1 400", 12);
        g_assert_cmpuint(f.log->len, ==, 0);
        front_finish(&f);
        remove_chardev("l");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(frames); i++) {
        FD_AUTO fd = connect_plain(",websocket=on");
        Front f;
        front_init(&f, chardev_find("l"));
        plain_send(fd, ws_request, sizeof(ws_request) - 1);
        expect(&f, "<opened>");
        plain_send(fd, frames[i].bytes, frames[i].len);
        expect(&f, "<closed>");
        front_finish(&f);
        remove_chardev("l");
    }
    /* an endless request */
    FD_AUTO fd = connect_plain(",websocket=on");
    Front f;
    front_init(&f, chardev_find("l"));
    g_autofree char *junk = g_strnfill(9000, 'x');
    plain_send(fd, junk, 9000);
    char byte;
    WAIT_UNTIL(recv(fd, &byte, 1, MSG_DONTWAIT) == 0);
    front_finish(&f);
    remove_chardev("l");
}

/* Random bytes into each layer. */
static void test_random(void)
{
    static const char *const layers[] = { ",telnet=on", ",websocket=on" };
    for (int round = 0; round < 60; round++) {
        FD_AUTO fd = connect_plain(layers[round % 2]);
        Front f;
        front_init(&f, chardev_find("l"));
        if (round % 4 != 1) {
            plain_send(fd, ws_request, sizeof(ws_request) - 1);
        }
        uint8_t bytes[400];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            static const uint8_t likely[] = { 0x82, 0x89, 0x88, 0xff, 0x80, 0xfe, 0 };
            bytes[i] = g_test_rand_bit() ? g_test_rand_int() : likely[g_test_rand_int_range(0, 7)];
        }
        send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL);
        for (int i = 0; i < 20; i++) {
            event_loop_iterate(event_loop_main(), false);
            char_frontend_write(&f.fe, bytes, 100);
        }
        front_finish(&f);
        remove_chardev("l");
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* Warnings about failed handshakes are part of these tests. */
    g_autofree char *modules = g_build_filename(g_getenv("RHEA_BUILD"), "modules", NULL);
    g_setenv("RHEA_MODULE_DIR", modules, TRUE);
    g_assert_true(event_loop_main_init(&error_abort));
    module_call(MODULE_TYPES);
    test_dir = g_dir_make_tmp("rhea-crypto-XXXXXX", NULL);
    g_test_add_func("/crypto/secrets", test_secrets);
    g_test_add_func("/crypto/tls-anon", test_tls_anon);
    g_test_add_func("/crypto/tls-psk", test_tls_psk);
    g_test_add_func("/crypto/tls-x509", test_tls_x509);
    g_test_add_func("/crypto/tls-garbage", test_tls_garbage);
    g_test_add_func("/crypto/telnet", test_telnet);
    g_test_add_func("/crypto/websocket", test_websocket);
    g_test_add_func("/crypto/websocket-refusals", test_websocket_refusals);
    g_test_add_func("/crypto/random", test_random);
    int status = g_test_run();
    chardev_finish_all();
    object_root_reset();
    remove_files();
    g_rmdir(test_dir);
    g_free(test_dir);
    event_loop_main_finish();
    return status;
}
