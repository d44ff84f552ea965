/*
 * What needs a cryptographic library, as a table that a shared module fills in when it is first
 * asked for: TLS sessions and a block cipher. Most runs never load it.
 */
#ifndef CRYPTO_PROVIDER_H
#define CRYPTO_PROVIDER_H

#include <sys/types.h>

#include "base/compiler.h"
#include "base/error.h"

typedef struct TlsCreds TlsCreds;
typedef struct TlsSession TlsSession;

/* What a session sends and receives through: as write(2) and read(2), non-blocking. */
typedef struct TlsTransport {
    ssize_t (*recv)(void *opaque, void *buf, size_t len);
    ssize_t (*send)(void *opaque, const void *buf, size_t len);
    void *opaque;
} TlsTransport;

typedef enum TlsProgress { TLS_READY, TLS_GOES_ON, TLS_FAILED } TlsProgress;

typedef struct CryptoProvider {
    /* What the library makes of the files that *creds names. */
    void *(*creds_load)(const TlsCreds *creds, Error **errp);
    void (*creds_free)(const TlsCreds *creds, void *loaded);

    /* hostname: what the server's certificate must be for; NULL: not checked. Copied, like
     * *transport. */
    TlsSession *(*session_new)(TlsCreds *creds, const char *hostname, const TlsTransport *transport,
                               Error **errp);
    TlsProgress (*handshake)(TlsSession *session, bool *want_write, Error **errp);
    ssize_t (*recv)(TlsSession *session, void *buf, size_t len);
    /* What was taken may still be here: see flush. */
    ssize_t (*send)(TlsSession *session, const void *buf, size_t len);
    bool (*has_input)(TlsSession *session);
    bool (*has_output)(TlsSession *session);
    int (*flush)(TlsSession *session); /* -1 with errno */
    void (*free)(TlsSession *session); /* says good-bye if it can do so at once */

    /* In place; len is a multiple of 16. */
    bool (*aes256_cbc_decrypt)(const uint8_t key[32], const uint8_t iv[16], uint8_t *data,
                               size_t len, Error **errp);
} CryptoProvider;

/* Loads the module if need be. NULL with an error that says what to install. Main thread. */
const CryptoProvider *crypto_provider(Error **errp);
/* For the module. */
void crypto_set_provider(const CryptoProvider *provider);

#endif
