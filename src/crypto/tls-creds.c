#include "crypto/tls-creds.h"

#include "base/module.h"
#include "object/property.h"
#include "object/user-creatable.h"

#define MODULE_NAME "crypto-gnutls"

/* Set by the module when it is opened, for the life of the process. */
static const CryptoProvider *provider_opened;

void crypto_set_provider(const CryptoProvider *provider)
{
    provider_opened = provider;
}

const CryptoProvider *crypto_provider(Error **errp)
{
    if (!provider_opened && !module_open(MODULE_NAME, errp)) {
        return NULL;
    }
    if (!provider_opened) {
        error_set(errp, "module '%s' does not fit this program", MODULE_NAME);
    }
    return provider_opened;
}

TlsCreds *tls_creds_find(const char *id, TlsEndpoint endpoint, Error **errp)
{
    static const char *const sides[] = { "client", "server" };
    Object *obj = user_creatable_find(id, TYPE_TLS_CREDS);
    if (!obj) {
        error_set(errp, "No TLS credentials with id '%s'", id);
        return NULL;
    }
    TlsCreds *creds = tls_creds_cast(obj);
    if (creds->endpoint != endpoint) {
        error_set(errp, "TLS credentials '%s' are for a %s, and a %s is wanted; set 'endpoint=%s'",
                  id, sides[creds->endpoint], sides[endpoint], sides[endpoint]);
        return NULL;
    }
    return creds;
}

static bool creds_complete(Object *obj, Error **errp)
{
    TlsCreds *creds = tls_creds_cast(obj);
    const CryptoProvider *provider = crypto_provider(errp);
    if (!provider) {
        return false;
    }
    if (!creds->dir && creds->kind != TLS_KIND_ANON) {
        error_set(errp, "Parameter 'dir' is missing");
        return false;
    }
    creds->loaded = provider->creds_load(creds, errp);
    return creds->loaded != NULL;
}

static void creds_finalize(Object *obj)
{
    TlsCreds *creds = tls_creds_cast(obj);
    if (creds->loaded) {
        provider_opened->creds_free(creds, creds->loaded);
    }
}

static const char *const endpoint_names[] = { "client", "server" };
static const EnumDesc enum_tls_endpoint = { .name = "TlsEndpoint",
                                            .names = endpoint_names,
                                            .count = ARRAY_LEN(endpoint_names) };
static const ValueType value_type_tls_endpoint = { .kind = VALUE_ENUM,
                                                   .name = "TlsEndpoint",
                                                   .size = sizeof(int),
                                                   .enumeration = &enum_tls_endpoint };

static const Field creds_properties[] = {
    PROP_ENUM("endpoint", TlsCreds, endpoint, value_type_tls_endpoint, TLS_ENDPOINT_CLIENT,
              .help = "which side of connections they are for"),
    PROP_BOOL("verify-peer", TlsCreds, verify_peer, true,
              .help = "the other side must show credentials too"),
    PROP_STRING("dir", TlsCreds, dir, NULL, .help = "folder of the files"),
    PROP_STRING("priority", TlsCreds, priority, NULL, .help = "what the library may choose from"),
    {},
};

static void creds_class_init(ObjectClass *klass, const void *data)
{
    ((UserCreatableClass *)class_cast(klass, TYPE_USER_CREATABLE))->complete = creds_complete;
}

static const TypeInfo creds_type = {
    .name = TYPE_TLS_CREDS,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(TlsCreds),
    .abstract = true,
    .properties = creds_properties,
    .class_init = creds_class_init,
    .instance_finalize = creds_finalize,
    .interfaces = (const char *const[]){ TYPE_USER_CREATABLE, NULL },
};
OBJECT_TYPE(tls_creds, creds_type)

static const Field x509_properties[] = {
    PROP_STRING("passwordid", TlsCreds, passwordid, NULL, .help = "secret that decrypts the key"),
    {},
};

static void x509_init(Object *obj)
{
    ((TlsCreds *)obj)->kind = TLS_KIND_X509;
}

static const TypeInfo x509_type = {
    .name = TYPE_TLS_CREDS_X509,
    .parent = TYPE_TLS_CREDS,
    .help = "TLS with certificates: ca-cert.pem, server-cert.pem, client-key.pem …",
    .instance_size = sizeof(TlsCreds),
    .properties = x509_properties,
    .instance_init = x509_init,
};
OBJECT_TYPE(tls_creds_x509, x509_type)

static const Field psk_properties[] = {
    PROP_STRING("username", TlsCreds, username, NULL, .help = "client: whose key of keys.psk"),
    {},
};

static void psk_init(Object *obj)
{
    ((TlsCreds *)obj)->kind = TLS_KIND_PSK;
}

static const TypeInfo psk_type = {
    .name = TYPE_TLS_CREDS_PSK,
    .parent = TYPE_TLS_CREDS,
    .help = "TLS with a key that both sides know: keys.psk",
    .instance_size = sizeof(TlsCreds),
    .properties = psk_properties,
    .instance_init = psk_init,
};
OBJECT_TYPE(tls_creds_psk, psk_type)

static void anon_init(Object *obj)
{
    ((TlsCreds *)obj)->kind = TLS_KIND_ANON;
}

static const TypeInfo anon_type = {
    .name = TYPE_TLS_CREDS_ANON,
    .parent = TYPE_TLS_CREDS,
    .help = "TLS without knowing who is at the other side",
    .instance_size = sizeof(TlsCreds),
    .instance_init = anon_init,
};
OBJECT_TYPE(tls_creds_anon, anon_type)
