/* -pidfile: the process id in a locked file that goes away with the process. */
#ifndef MAIN_PIDFILE_H
#define MAIN_PIDFILE_H

#include "base/compiler.h"
#include "base/error.h"

typedef struct Pidfile Pidfile;

/* Create or take over the file, lock it, write the caller's process id. A file that a live process
 * holds is an error that names that process. After daemonizing. */
MUST_CHECK Pidfile *pidfile_create(const char *path, Error **errp);

/* Remove the file and free; NULL allowed. Works after chdir() and chroot() too. */
void pidfile_remove(Pidfile *pidfile);

#endif
