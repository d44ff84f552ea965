/* file and pipe: named files, and pairs of named pipes. */
#include <errno.h>
#include <fcntl.h>

#include "chardev/chardev-internal.h"

static bool file_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharFd *chr = char_fd_cast(base);
    const ChardevFile *options = &record->u.file.data;
    bool append = options->has_append && options->append;
    FD_AUTO in = -1;
    FD_AUTO out =
        chardev_open_path(options->out, O_WRONLY | O_CREAT | (append ? O_APPEND : O_TRUNC), errp);
    if (out < 0) {
        return false;
    }
    if (options->in && (in = chardev_open_path(options->in, O_RDONLY, errp)) < 0) {
        return false;
    }
    chardev_set_filename(base, "file");
    return chardev_open_log(base, (const ChardevCommon *)options, errp) &&
           char_fd_use(chr, fd_steal(&in), fd_steal(&out), errp);
}

static void file_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "file";
    chardev->open = file_open;
}

static const TypeInfo file_type = {
    .name = "chardev-file",
    .parent = TYPE_CHARDEV_FD,
    .help = "output to a file, input from another",
    .class_init = file_class_init,
};
OBJECT_TYPE(char_file, file_type)

/* PATH.in and PATH.out where both are there, else PATH for both directions. Opened for reading and
 * writing, so that neither open waits for the other side. */
static bool pipe_open(Chardev *base, const ChardevBackend *record, Error **errp)
{
    CharFd *chr = char_fd_cast(base);
    const ChardevHostdev *options = &record->u.pipe.data;
    g_autofree char *in_path = g_strdup_printf("%s.in", options->device);
    g_autofree char *out_path = g_strdup_printf("%s.out", options->device);
    FD_AUTO in = chardev_open_path(in_path, O_RDWR, NULL);
    FD_AUTO out = in < 0 ? -1 : chardev_open_path(out_path, O_RDWR, NULL);
    if (out < 0) {
        fd_close(fd_steal(&in));
        in = chardev_open_path(options->device, O_RDWR, errp);
        if (in < 0) {
            error_add_hint(errp, "make named pipes '%s' and '%s', or one '%s'", in_path, out_path,
                           options->device);
            return false;
        }
        int both = fd_steal(&in);
        chardev_set_filename(base, "pipe");
        return char_fd_use(chr, both, both, errp) &&
               chardev_open_log(base, (const ChardevCommon *)options, errp);
    }
    chardev_set_filename(base, "pipe");
    return char_fd_use(chr, fd_steal(&in), fd_steal(&out), errp) &&
           chardev_open_log(base, (const ChardevCommon *)options, errp);
}

static void pipe_class_init(ObjectClass *klass, const void *data)
{
    ChardevClass *chardev = chardev_class_cast(klass);
    chardev->backend = "pipe";
    chardev->open = pipe_open;
}

static const TypeInfo pipe_type = {
    .name = "chardev-pipe",
    .parent = TYPE_CHARDEV_FD,
    .help = "a pair of named pipes PATH.in and PATH.out",
    .class_init = pipe_class_init,
};
OBJECT_TYPE(char_pipe, pipe_type)
