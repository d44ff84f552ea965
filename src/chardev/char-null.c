/* null: takes everything, gives nothing. */
#include "chardev/chardev-internal.h"

static bool null_open(Chardev *chr, const ChardevBackend *record, Error **errp)
{
    chardev_set_filename(chr, "null");
    return chardev_open_log(chr, &record->u.null.data, errp);
}

static ssize_t null_write(Chardev *chr, const void *buf, size_t len, const int *fds, unsigned nfds)
{
    return len;
}

static void null_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "null";
    chardev->loops = true;
    chardev->open = null_open;
    chardev->write = null_write;
}

static const TypeInfo null_type = {
    .name = "chardev-null",
    .parent = TYPE_CHARDEV,
    .help = "takes everything, gives nothing",
    .class_init = null_class_init,
};
OBJECT_TYPE(char_null, null_type)
