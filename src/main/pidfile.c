#include "main/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"

struct Pidfile {
    int fd;     /* holds the lock */
    int folder; /* so that the name can be removed from elsewhere */
    char *name; /* last component of the path */
};

static void pidfile_free(Pidfile *pidfile)
{
    fd_close(pidfile->fd);
    fd_close(pidfile->folder);
    g_free(pidfile->name);
    g_free(pidfile);
}

static void set_locked_error(Error **errp, int fd, const char *path)
{
    char text[32] = "";
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
    text[len > 0 ? strcspn(text, "\n") : 0] = '\0';
    error_set(errp, "pidfile '%s' is held by another running process%s%s", path,
              text[0] ? ", " : "", text);
}

/* Does the name still stand for the file that was opened? The one who held the lock before may have
 * removed it meanwhile. */
static bool is_current(const Pidfile *pidfile)
{
    struct stat opened, named;
    return fstat(pidfile->fd, &opened) == 0 &&
           fstatat(pidfile->folder, pidfile->name, &named, 0) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

static bool open_and_lock(Pidfile *pidfile, const char *path, Error **errp)
{
    do {
        fd_close(pidfile->fd);
        pidfile->fd = openat(pidfile->folder, pidfile->name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (pidfile->fd < 0) {
            error_set_errno(errp, errno, "cannot open pidfile '%s'", path);
            return false;
        }
        /* Of the open file and not of the process, so that no other descriptor's close drops it. */
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        if (fcntl(pidfile->fd, F_OFD_SETLK, &lock) < 0) {
            if (errno == EAGAIN || errno == EACCES) {
                set_locked_error(errp, pidfile->fd, path);
            } else {
                error_set_errno(errp, errno, "cannot lock pidfile '%s'", path);
            }
            return false;
        }
    } while (!is_current(pidfile));
    return true;
}

Pidfile *pidfile_create(const char *path, Error **errp)
{
    Pidfile *pidfile = g_new0(Pidfile, 1);
    pidfile->fd = -1;
    pidfile->name = g_path_get_basename(path);
    g_autofree char *folder = g_path_get_dirname(path);
    pidfile->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (pidfile->folder < 0) {
        error_set_errno(errp, errno, "cannot open the folder of pidfile '%s'", path);
        pidfile_free(pidfile);
        return NULL;
    }
    if (FAULT("pidfile", errp) || !open_and_lock(pidfile, path, errp)) {
        pidfile_free(pidfile);
        return NULL;
    }
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    if (ftruncate(pidfile->fd, 0) < 0 || !fd_write_all(pidfile->fd, text, strlen(text), errp)) {
        if (errp && !*errp) {
            error_set_errno(errp, errno, "cannot write pidfile '%s'", path);
        }
        pidfile_remove(pidfile);
        return NULL;
    }
    return pidfile;
}

void pidfile_remove(Pidfile *pidfile)
{
    if (!pidfile) {
        return;
    }
    unlinkat(pidfile->folder, pidfile->name, 0);
    pidfile_free(pidfile);
}
