/*
 * -sandbox: system calls this program has no use for are refused by the kernel (seccomp), so that
 * whoever takes it over can't use them either.
 *
 * Calls that administer the host (mount, reboot, kernel modules, clocks, other processes) are
 * always forbidden, and end the process; so are those of the first two groups below. Of the last
 * two, a call fails with EPERM, since libraries try them and go on without.
 */
#ifndef MAIN_SANDBOX_H
#define MAIN_SANDBOX_H

#include "base/compiler.h"
#include "base/error.h"

typedef enum SandboxDeny {
    SANDBOX_DENY_OBSOLETE = 1 << 0,            /* calls that nothing uses any more */
    SANDBOX_DENY_PRIVILEGES = 1 << 1,          /* set*uid, set*gid, capset */
    SANDBOX_DENY_CHILDREN_PRIVILEGES = 1 << 2, /* set-user-id programs don't gain anything */
    SANDBOX_DENY_SPAWN = 1 << 3,     /* new processes, other programs; threads stay allowed */
    SANDBOX_DENY_RESOURCES = 1 << 4, /* priorities, affinity, limits */
} SandboxDeny;

/* For all threads of the process, those that run already included, and for good. deny: SandboxDeny
 * bits. The last step of start-up. */
MUST_CHECK bool sandbox_install(unsigned deny, Error **errp);

#endif
