/* -run-with: becoming somebody else, in a smaller world, after start-up. */
#ifndef MAIN_PRIVILEGES_H
#define MAIN_PRIVILEGES_H

#include <sys/types.h>

#include "base/compiler.h"
#include "base/error.h"

/*
 * Lock the process into a directory, then become a user: "NAME", "UID" or "UID:GID". Either may be
 * NULL. The user is looked up before the directory changes what can be looked up. Nothing is left
 * of the former privileges. Only at the very end of start-up.
 */
MUST_CHECK bool privileges_reduce(const char *user, const char *chroot_path, Error **errp);

/* Is the user one that privileges_reduce() can become? For the check of the options. */
MUST_CHECK bool privileges_check_user(const char *user, Error **errp);

/*
 * Give guest memory back after this process has gone: a helper that shares the address space and
 * nothing else lives on for the moment that takes, so that whoever waits for this process doesn't.
 * Main thread; before the sandbox, and after privileges_reduce(): the kernel passes on the news of
 * our end only to a process that we may signal.
 */
MUST_CHECK bool privileges_start_async_teardown(Error **errp);

#endif
