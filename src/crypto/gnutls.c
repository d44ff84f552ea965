/* The cryptographic provider on GnuTLS: a shared module. */
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "base/module.h"
#include "crypto/secret.h"
#include "crypto/tls-creds.h"

#define RECORD_MAX 16384 /* bytes; RFC 8446 section 5.1 */

struct TlsSession {
    gnutls_session_t session;
    TlsCreds *creds; /* reference */
    TlsTransport transport;
    char *hostname;
    bool ready;
    bool has_output; /* a record that was taken has not gone out */
};

/* --- Credentials --- */

typedef struct Loaded {
    union {
        gnutls_certificate_credentials_t x509;
        gnutls_psk_server_credentials_t psk_server;
        gnutls_psk_client_credentials_t psk_client;
        gnutls_anon_server_credentials_t anon_server;
        gnutls_anon_client_credentials_t anon_client;
    } u;
} Loaded;

static bool is_server(const TlsCreds *creds)
{
    return creds->endpoint == TLS_ENDPOINT_SERVER;
}

static bool check(int rc, const char *what, Error **errp)
{
    if (rc < 0) {
        error_set(errp, "%s: %s", what, gnutls_strerror(rc));
        return false;
    }
    return true;
}

static void creds_free(const TlsCreds *creds, void *opaque)
{
    Loaded *loaded = opaque;
    switch (creds->kind) {
    case TLS_KIND_X509:
        gnutls_certificate_free_credentials(loaded->u.x509);
        break;
    case TLS_KIND_PSK:
        if (is_server(creds)) {
            gnutls_psk_free_server_credentials(loaded->u.psk_server);
        } else {
            gnutls_psk_free_client_credentials(loaded->u.psk_client);
        }
        break;
    case TLS_KIND_ANON:
        if (is_server(creds)) {
            gnutls_anon_free_server_credentials(loaded->u.anon_server);
        } else {
            gnutls_anon_free_client_credentials(loaded->u.anon_client);
        }
        break;
    }
    g_free(loaded);
}

static bool load_key_pair(const TlsCreds *creds, gnutls_certificate_credentials_t x509,
                          Error **errp)
{
    const char *side = is_server(creds) ? "server" : "client";
    g_autofree char *cert = g_strdup_printf("%s/%s-cert.pem", creds->dir, side);
    g_autofree char *key = g_strdup_printf("%s/%s-key.pem", creds->dir, side);
    if (!is_server(creds) && access(cert, F_OK) && access(key, F_OK)) {
        return true; /* a client needs none */
    }
    char *password = NULL;
    if (creds->passwordid && !(password = secret_lookup_text(creds->passwordid, errp))) {
        return false;
    }
    int rc =
        gnutls_certificate_set_x509_key_file2(x509, cert, key, GNUTLS_X509_FMT_PEM, password, 0);
    secret_free(password, password ? strlen(password) : 0);
    g_autofree char *what = g_strdup_printf("certificate '%s' with key '%s'", cert, key);
    return check(rc, what, errp);
}

static bool load_x509(const TlsCreds *creds, Loaded *loaded, Error **errp)
{
    gnutls_certificate_allocate_credentials(&loaded->u.x509);
    gnutls_certificate_credentials_t x509 = loaded->u.x509;
    g_autofree char *ca = g_strdup_printf("%s/ca-cert.pem", creds->dir);
    g_autofree char *crl = g_strdup_printf("%s/ca-crl.pem", creds->dir);
    bool need_ca = creds->verify_peer || access(ca, F_OK) == 0;
    if (need_ca &&
        !check(gnutls_certificate_set_x509_trust_file(x509, ca, GNUTLS_X509_FMT_PEM), ca, errp)) {
        return false;
    }
    if (access(crl, F_OK) == 0 &&
        !check(gnutls_certificate_set_x509_crl_file(x509, crl, GNUTLS_X509_FMT_PEM), crl, errp)) {
        return false;
    }
    if (!load_key_pair(creds, x509, errp)) {
        return false;
    }
    return check(gnutls_certificate_set_known_dh_params(x509, GNUTLS_SEC_PARAM_MEDIUM),
                 "Diffie-Hellman parameters", errp);
}

/* The client's line "USER:HEXKEY" of keys.psk. */
static bool load_psk_client(const TlsCreds *creds, Loaded *loaded, const char *file, Error **errp)
{
    const char *user = creds->username ? creds->username : "qemu";
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    gnutls_psk_allocate_client_credentials(&loaded->u.psk_client);
    if (!g_file_get_contents(file, &text, NULL, &why)) {
        error_set(errp, "%s", why->message);
        return false;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    explicit_bzero(text, strlen(text));
    for (char **line = lines; *line; line++) {
        size_t n = strlen(user);
        if (strncmp(*line, user, n) == 0 && (*line)[n] == ':') {
            gnutls_datum_t key = { (unsigned char *)*line + n + 1, strcspn(*line + n + 1, "\r") };
            return check(gnutls_psk_set_client_credentials(loaded->u.psk_client, user, &key,
                                                           GNUTLS_PSK_KEY_HEX),
                         file, errp);
        }
    }
    error_set(errp, "'%s' has no key of user '%s'", file, user);
    return false;
}

static bool load_psk(const TlsCreds *creds, Loaded *loaded, Error **errp)
{
    g_autofree char *file = g_strdup_printf("%s/keys.psk", creds->dir);
    if (!is_server(creds)) {
        return load_psk_client(creds, loaded, file, errp);
    }
    gnutls_psk_allocate_server_credentials(&loaded->u.psk_server);
    if (access(file, R_OK)) {
        error_set_errno(errp, errno, "'%s'", file);
        return false;
    }
    return check(gnutls_psk_set_server_credentials_file(loaded->u.psk_server, file), file, errp) &&
           check(
               gnutls_psk_set_server_known_dh_params(loaded->u.psk_server, GNUTLS_SEC_PARAM_MEDIUM),
               "Diffie-Hellman parameters", errp);
}

static bool load_anon(const TlsCreds *creds, Loaded *loaded, Error **errp)
{
    if (!is_server(creds)) {
        return check(gnutls_anon_allocate_client_credentials(&loaded->u.anon_client),
                     "anonymous credentials", errp);
    }
    gnutls_anon_allocate_server_credentials(&loaded->u.anon_server);
    return check(
        gnutls_anon_set_server_known_dh_params(loaded->u.anon_server, GNUTLS_SEC_PARAM_MEDIUM),
        "Diffie-Hellman parameters", errp);
}

static void *creds_load(const TlsCreds *creds, Error **errp)
{
    Loaded *loaded = g_new0(Loaded, 1);
    bool ok = creds->kind == TLS_KIND_X509  ? load_x509(creds, loaded, errp)
              : creds->kind == TLS_KIND_PSK ? load_psk(creds, loaded, errp)
                                            : load_anon(creds, loaded, errp);
    if (!ok) {
        creds_free(creds, loaded);
        return NULL;
    }
    return loaded;
}

/* --- Sessions --- */

static ssize_t pull(gnutls_transport_ptr_t opaque, void *buf, size_t len)
{
    TlsSession *s = opaque;
    ssize_t n = s->transport.recv(s->transport.opaque, buf, len);
    if (n < 0) {
        gnutls_transport_set_errno(s->session, errno);
    }
    return n;
}

static ssize_t push(gnutls_transport_ptr_t opaque, const void *buf, size_t len)
{
    TlsSession *s = opaque;
    ssize_t n = s->transport.send(s->transport.opaque, buf, len);
    if (n < 0) {
        gnutls_transport_set_errno(s->session, errno);
    }
    return n;
}

static void session_free(TlsSession *s)
{
    if (s->ready && !s->has_output) {
        gnutls_bye(s->session, GNUTLS_SHUT_WR);
    }
    gnutls_deinit(s->session);
    object_unref(&s->creds->parent);
    g_free(s->hostname);
    g_free(s);
}

static bool set_credentials(TlsSession *s, Error **errp)
{
    static const gnutls_credentials_type_t types[] = { GNUTLS_CRD_CERTIFICATE, GNUTLS_CRD_PSK,
                                                       GNUTLS_CRD_ANON };
    static const char *const additions[] = { "", ":+ECDHE-PSK:+DHE-PSK:+PSK",
                                             ":+ANON-ECDH:+ANON-DH:-VERS-TLS1.3" };
    const TlsCreds *creds = s->creds;
    const Loaded *loaded = creds->loaded;
    g_autofree char *priority = g_strdup_printf(
        "%s%s", creds->priority ? creds->priority : "NORMAL", additions[creds->kind]);
    if (!check(gnutls_priority_set_direct(s->session, priority, NULL), priority, errp)) {
        return false;
    }
    /* All members of the union are pointers. */
    return check(gnutls_credentials_set(s->session, types[creds->kind], (void *)loaded->u.x509),
                 "TLS credentials", errp);
}

static TlsSession *session_new(TlsCreds *creds, const char *hostname, const TlsTransport *transport,
                               Error **errp)
{
    TlsSession *s = g_new0(TlsSession, 1);
    object_ref(&creds->parent);
    s->creds = creds;
    s->transport = *transport;
    s->hostname = g_strdup(hostname);
    gnutls_init(&s->session, (is_server(creds) ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
                                 GNUTLS_NO_SIGNAL);
    gnutls_transport_set_ptr(s->session, s);
    gnutls_transport_set_pull_function(s->session, pull);
    gnutls_transport_set_push_function(s->session, push);
    if (!set_credentials(s, errp)) {
        session_free(s);
        return NULL;
    }
    if (creds->kind == TLS_KIND_X509) {
        if (is_server(creds)) {
            gnutls_certificate_server_set_request(
                s->session, creds->verify_peer ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
        } else if (hostname) {
            gnutls_server_name_set(s->session, GNUTLS_NAME_DNS, hostname, strlen(hostname));
        }
        if (creds->verify_peer) {
            gnutls_session_set_verify_cert(s->session, s->hostname, 0);
        }
    }
    return s;
}

static char *verification_failure(TlsSession *s)
{
    unsigned status = gnutls_session_get_verify_cert_status(s->session);
    gnutls_datum_t text = { NULL, 0 };
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0) {
        return g_strdup("the certificate is not valid");
    }
    char *copy = g_strstrip(g_strndup((char *)text.data, text.size));
    gnutls_free(text.data);
    size_t len = strlen(copy);
    if (len && copy[len - 1] == '.') {
        copy[len - 1] = 0;
    }
    return copy;
}

static TlsProgress handshake(TlsSession *s, bool *want_write, Error **errp)
{
    int rc;
    while ((rc = gnutls_handshake(s->session)) < 0 && rc != GNUTLS_E_AGAIN &&
           !gnutls_error_is_fatal(rc)) {
        /* warnings of the other side */
    }
    *want_write = gnutls_record_get_direction(s->session) == 1;
    if (rc == GNUTLS_E_AGAIN) {
        return TLS_GOES_ON;
    }
    if (rc == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) {
        g_autofree char *why = verification_failure(s);
        error_set(errp, "TLS: %s", why);
        gnutls_alert_send_appropriate(s->session, rc);
        return TLS_FAILED;
    }
    if (rc < 0) {
        error_set(errp, "TLS: %s", gnutls_strerror(rc));
        return TLS_FAILED;
    }
    s->ready = true;
    return TLS_READY;
}

static ssize_t result(ssize_t rc)
{
    if (rc >= 0) {
        return rc;
    }
    if (rc == GNUTLS_E_PREMATURE_TERMINATION) {
        return 0;
    }
    errno = rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED || !gnutls_error_is_fatal(rc)
                ? EAGAIN
                : EIO;
    return -1;
}

static ssize_t session_recv(TlsSession *s, void *buf, size_t len)
{
    return result(gnutls_record_recv(s->session, buf, len));
}

static int session_flush(TlsSession *s)
{
    if (!s->has_output) {
        return 0;
    }
    ssize_t n = result(gnutls_record_send(s->session, NULL, 0));
    s->has_output = n < 0;
    return n < 0 ? -1 : 0;
}

static ssize_t session_send(TlsSession *s, const void *buf, size_t len)
{
    if (session_flush(s) < 0) {
        return -1;
    }
    size_t n = len < RECORD_MAX ? len : RECORD_MAX;
    ssize_t rc = gnutls_record_send(s->session, buf, n);
    if (rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED) {
        /* The record is made, and goes out with flush. */
        s->has_output = true;
        return n;
    }
    return result(rc);
}

static bool session_has_input(TlsSession *s)
{
    return gnutls_record_check_pending(s->session) > 0;
}

static bool session_has_output(TlsSession *s)
{
    return s->has_output;
}

/* --- Cipher --- */

static bool aes256_cbc_decrypt(const uint8_t key[32], const uint8_t iv[16], uint8_t *data,
                               size_t len, Error **errp)
{
    gnutls_cipher_hd_t handle;
    gnutls_datum_t k = { (unsigned char *)key, 32 }, v = { (unsigned char *)iv, 16 };
    if (!check(gnutls_cipher_init(&handle, GNUTLS_CIPHER_AES_256_CBC, &k, &v), "AES", errp)) {
        return false;
    }
    bool ok = check(gnutls_cipher_decrypt(handle, data, len), "AES", errp);
    gnutls_cipher_deinit(handle);
    return ok;
}

static const CryptoProvider provider = {
    .creds_load = creds_load,
    .creds_free = creds_free,
    .session_new = session_new,
    .handshake = handshake,
    .recv = session_recv,
    .send = session_send,
    .has_input = session_has_input,
    .has_output = session_has_output,
    .flush = session_flush,
    .free = session_free,
    .aes256_cbc_decrypt = aes256_cbc_decrypt,
};

static void gnutls_register(void)
{
    crypto_set_provider(&provider);
}
MODULE_INIT(MODULE_TYPES, gnutls_register)
