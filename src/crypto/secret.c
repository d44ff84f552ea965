#include "crypto/secret.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdset.h"
#include "crypto/provider.h"
#include "object/property.h"
#include "object/user-creatable.h"

#define SECRET_MAX_SIZE (1024 * 1024) /* bytes of a file */
#define AES_KEY_SIZE    32
#define AES_BLOCK_SIZE  16

typedef enum SecretFormat { SECRET_FORMAT_RAW, SECRET_FORMAT_BASE64 } SecretFormat;

static const char *const format_names[] = { "raw", "base64" };
static const EnumDesc enum_secret_format = { .name = "SecretFormat",
                                             .names = format_names,
                                             .count = ARRAY_LEN(format_names) };
static const ValueType value_type_secret_format = { .kind = VALUE_ENUM,
                                                    .name = "SecretFormat",
                                                    .size = sizeof(int),
                                                    .enumeration = &enum_secret_format };

typedef struct Secret {
    Object parent;
    char *data, *file, *keyid, *iv;
    SecretFormat format;
    uint8_t *bytes; /* NULL until complete */
    size_t len;
} Secret;

OBJECT_DECLARE(Secret, secret, TYPE_SECRET)

void secret_free(void *bytes, size_t len)
{
    if (bytes) {
        explicit_bzero(bytes, len);
        g_free(bytes);
    }
}

static uint8_t *read_file(const char *path, size_t *len, Error **errp)
{
    FD_AUTO fd = fdset_open(path, O_RDONLY, 0, errp);
    struct stat st;
    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > SECRET_MAX_SIZE) {
        error_set(errp, "'%s' is too large for a secret; at most 1 MiB is possible", path);
        return NULL;
    }
    uint8_t *bytes = g_malloc(SECRET_MAX_SIZE + 1);
    ssize_t n;
    for (*len = 0; (n = read(fd, bytes + *len, SECRET_MAX_SIZE - *len)) > 0;) {
        *len += n;
    }
    if (n < 0) {
        error_set_errno(errp, errno, "reading '%s'", path);
        secret_free(bytes, SECRET_MAX_SIZE);
        return NULL;
    }
    bytes[*len] = 0;
    return bytes;
}

static bool decode_base64(uint8_t **bytes, size_t *len, const char *what, Error **errp)
{
    /* files end in a newline */
    while (*len && g_ascii_isspace((*bytes)[*len - 1])) {
        (*bytes)[--*len] = 0;
    }
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    size_t decoded_len = 0;
    guchar *decoded = NULL;
    if (*len % 4 == 0 && strspn((char *)*bytes, alphabet) == *len) {
        decoded = g_base64_decode((char *)*bytes, &decoded_len);
    }
    if (!decoded) {
        error_set(errp, "%s is no base64", what);
        return false;
    }
    uint8_t *copy = g_malloc(decoded_len + 1);
    memcpy(copy, decoded, decoded_len);
    copy[decoded_len] = 0;
    secret_free(decoded, decoded_len);
    secret_free(*bytes, *len);
    *bytes = copy;
    *len = decoded_len;
    return true;
}

/* AES-256-CBC with the padding of PKCS #7. */
static bool decrypt(Secret *secret, Error **errp)
{
    size_t key_len, iv_len = strlen(secret->iv);
    uint8_t *key = secret_lookup(secret->keyid, &key_len, errp);
    uint8_t *iv = key ? (uint8_t *)g_strdup(secret->iv) : NULL;
    const CryptoProvider *provider = NULL;
    bool ok = false;
    if (!key || !decode_base64(&iv, &iv_len, "Parameter 'iv'", errp)) {
        goto out;
    }
    if (key_len != AES_KEY_SIZE || iv_len != AES_BLOCK_SIZE || !secret->len ||
        secret->len % AES_BLOCK_SIZE) {
        error_set(errp,
                  "key of %zu, 'iv' of %zu and data of %zu bytes: 32, 16, and a multiple of 16 are "
                  "expected",
                  key_len, iv_len, secret->len);
        goto out;
    }
    provider = crypto_provider(errp);
    if (!provider || !provider->aes256_cbc_decrypt(key, iv, secret->bytes, secret->len, errp)) {
        goto out;
    }
    uint8_t padding = secret->bytes[secret->len - 1];
    if (!padding || padding > AES_BLOCK_SIZE) {
        error_set(errp, "the key '%s' does not fit", secret->keyid);
        goto out;
    }
    secret->len -= padding;
    secret->bytes[secret->len] = 0;
    ok = true;
out:
    secret_free(key, key_len);
    g_free(iv);
    return ok;
}

static bool secret_complete(Object *obj, Error **errp)
{
    Secret *secret = secret_cast(obj);
    if (!secret->data == !secret->file) {
        error_set(errp, secret->data ? "'data' and 'file' exclude each other"
                                     : "a secret needs 'data' or 'file'");
        return false;
    }
    if (!secret->keyid != !secret->iv) {
        error_set(errp, "'keyid' and 'iv' belong together");
        return false;
    }
    if (secret->file) {
        secret->bytes = read_file(secret->file, &secret->len, errp);
    } else {
        secret->len = strlen(secret->data);
        secret->bytes = (uint8_t *)g_strdup(secret->data);
    }
    /* What is encrypted is always base64 when it is given as text. */
    bool base64 = secret->format == SECRET_FORMAT_BASE64 || (secret->keyid && secret->data);
    return secret->bytes &&
           (!base64 || decode_base64(&secret->bytes, &secret->len,
                                     secret->data ? "Parameter 'data'" : secret->file, errp)) &&
           (!secret->keyid || decrypt(secret, errp));
}

uint8_t *secret_lookup(const char *id, size_t *len, Error **errp)
{
    Object *obj = user_creatable_find(id, TYPE_SECRET);
    if (!obj) {
        error_set(errp, "No secret with id '%s'", id);
        return NULL;
    }
    const Secret *secret = secret_cast(obj);
    uint8_t *copy = g_malloc(secret->len + 1);
    memcpy(copy, secret->bytes, secret->len);
    copy[secret->len] = 0;
    *len = secret->len;
    return copy;
}

char *secret_lookup_text(const char *id, Error **errp)
{
    size_t len;
    uint8_t *bytes = secret_lookup(id, &len, errp);
    if (bytes && !g_utf8_validate((const char *)bytes, len, NULL)) {
        error_set(errp, "Data from secret '%s' is not valid UTF-8", id);
        secret_free(bytes, len);
        return NULL;
    }
    return (char *)bytes;
}

static void secret_finalize(Object *obj)
{
    Secret *secret = secret_cast(obj);
    secret_free(secret->bytes, secret->len);
}

static const Field secret_properties[] = {
    PROP_STRING("data", Secret, data, NULL, .help = "the secret itself"),
    PROP_STRING("file", Secret, file, NULL, .help = "file that holds it"),
    PROP_ENUM("format", Secret, format, value_type_secret_format, SECRET_FORMAT_RAW,
              .help = "how data or the file is written"),
    PROP_STRING("keyid", Secret, keyid, NULL, .help = "secret whose bytes decrypt this one"),
    PROP_STRING("iv", Secret, iv, NULL, .help = "initialization vector for that, in base64"),
    {},
};

static void secret_class_init(ObjectClass *klass, const void *data)
{
    ((UserCreatableClass *)class_cast(klass, TYPE_USER_CREATABLE))->complete = secret_complete;
}

static const TypeInfo secret_type = {
    .name = TYPE_SECRET,
    .parent = TYPE_OBJECT,
    .help = "a password or a key",
    .instance_size = sizeof(Secret),
    .properties = secret_properties,
    .class_init = secret_class_init,
    .instance_finalize = secret_finalize,
    .interfaces = (const char *const[]){ TYPE_USER_CREATABLE, NULL },
};
OBJECT_TYPE(secret, secret_type)
