/* The monitor's chardev commands. */
#include <string.h>

#include "base/text.h"
#include "chardev/chardev-internal.h"

static bool count_child(Object *child, void *opaque)
{
    ++*(size_t *)opaque;
    return true;
}

static bool add_info(Object *child, void *opaque)
{
    ChardevInfoList *list = opaque;
    Chardev *chr = chardev_cast(child);
    list->items[list->len++] = (ChardevInfo){
        .label = g_strdup(chr->id),
        .filename = chardev_filename(chr),
        .frontend_open = chardev_frontend_is_open(chr),
    };
    return true;
}

bool qmp_query_chardev(ChardevInfoList *ret, Error **errp)
{
    Object *chardevs = object_container("/chardevs");
    size_t count = 0;
    object_foreach_child(chardevs, count_child, &count);
    ret->items = g_new0(ChardevInfo, count);
    object_foreach_child(chardevs, add_info, ret);
    return true;
}

static void count_backend(ObjectClass *klass, void *opaque)
{
    *(size_t *)opaque += chardev_class_cast(klass)->backend != NULL;
}

static void add_backend(ObjectClass *klass, void *opaque)
{
    ChardevBackendInfoList *list = opaque;
    const char *backend = chardev_class_cast(klass)->backend;
    if (backend) {
        list->items[list->len++].name = g_strdup(backend);
    }
}

bool qmp_query_chardev_backends(ChardevBackendInfoList *ret, Error **errp)
{
    size_t count = 0;
    class_foreach(TYPE_CHARDEV, false, count_backend, &count);
    ret->items = g_new0(ChardevBackendInfo, count);
    class_foreach(TYPE_CHARDEV, false, add_backend, ret);
    return true;
}

static void tell_pty(Chardev *chr, ChardevReturn *ret)
{
    g_autofree char *name = chardev_filename(chr);
    if (g_str_has_prefix(name, "pty:")) {
        ret->pty = g_strdup(name + strlen("pty:"));
    }
}

bool qmp_chardev_add(const ChardevAddArgs *args, ChardevReturn *ret, Error **errp)
{
    Chardev *chr = chardev_new(args->id, &args->backend, errp);
    if (!chr) {
        return false;
    }
    tell_pty(chr, ret);
    return true;
}

bool qmp_chardev_change(const ChardevChangeArgs *args, ChardevReturn *ret, Error **errp)
{
    if (!chardev_change(args->id, &args->backend, errp)) {
        return false;
    }
    tell_pty(chardev_find(args->id), ret);
    return true;
}

bool qmp_chardev_remove(const ChardevRemoveArgs *args, Error **errp)
{
    return chardev_remove(args->id, errp);
}

bool qmp_chardev_send_break(const ChardevSendBreakArgs *args, Error **errp)
{
    Chardev *chr = chardev_find_or_error(args->id, errp);
    return chr && chardev_send_break(chr, errp);
}

bool qmp_ringbuf_write(const RingbufWriteArgs *args, Error **errp)
{
    Chardev *chr = chardev_find_or_error(args->device, errp);
    if (!chr) {
        return false;
    }
    if (!args->has_format || args->format == DATA_FORMAT_UTF8) {
        return chardev_ringbuf_write(chr, args->data, strlen(args->data), errp);
    }
    size_t len = strlen(args->data);
    g_autofree guchar *bytes = NULL;
    if (len % 4 == 0 && strspn(args->data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                           "0123456789+/=") == len) {
        bytes = g_base64_decode(args->data, &len);
    }
    if (!bytes) {
        error_set(errp, "Parameter 'data' expects base64");
        return false;
    }
    return chardev_ringbuf_write(chr, bytes, len, errp);
}

bool qmp_ringbuf_read(const RingbufReadArgs *args, char **ret, Error **errp)
{
    Chardev *chr = chardev_find_or_error(args->device, errp);
    if (!chr) {
        return false;
    }
    if (args->size <= 0) {
        error_set(errp, "Parameter 'size' expects a value greater than zero");
        return false;
    }
    size_t len;
    g_autofree uint8_t *bytes = chardev_ringbuf_read(chr, args->size, &len, errp);
    if (!bytes) {
        return false;
    }
    if (args->has_format && args->format == DATA_FORMAT_BASE64) {
        *ret = g_base64_encode(bytes, len);
    } else {
        /* JSON is UTF-8; what isn't becomes U+FFFD. */
        *ret = g_utf8_make_valid((const char *)bytes, len);
    }
    return true;
}
