/*
 * TLS credentials as objects (-object tls-creds-x509, -psk, -anon). The names of files below dir
 * are those that other programs of the field use.
 */
#ifndef CRYPTO_TLS_CREDS_H
#define CRYPTO_TLS_CREDS_H

#include "crypto/provider.h"
#include "object/object.h"

#define TYPE_TLS_CREDS      "tls-creds"
#define TYPE_TLS_CREDS_X509 "tls-creds-x509"
#define TYPE_TLS_CREDS_PSK  "tls-creds-psk"
#define TYPE_TLS_CREDS_ANON "tls-creds-anon"

typedef enum TlsEndpoint { TLS_ENDPOINT_CLIENT, TLS_ENDPOINT_SERVER } TlsEndpoint;
typedef enum TlsKind { TLS_KIND_X509, TLS_KIND_PSK, TLS_KIND_ANON } TlsKind;

struct TlsCreds {
    Object parent;
    TlsKind kind;
    TlsEndpoint endpoint;
    bool verify_peer;
    char *dir, *priority;
    char *passwordid; /* x509: secret that decrypts the key */
    char *username;   /* psk */
    void *loaded;     /* the library's; NULL until complete */
};

static inline UNUSED TlsCreds *tls_creds_cast(void *obj)
{
    return (TlsCreds *)object_cast((Object *)obj, TYPE_TLS_CREDS);
}

/* Credentials for this side of a connection; borrowed. NULL with an error that names the id. */
TlsCreds *tls_creds_find(const char *id, TlsEndpoint endpoint, Error **errp);

#endif
