#include "main/privileges.h"

#include <errno.h>
#include <glib.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/text.h"

typedef struct Identity {
    uid_t uid;
    gid_t gid;
    char *name; /* for the supplementary groups; NULL: none */
} Identity;

static bool parse_ids(const char *user, Identity *id, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(user, ":", 2);
    uint64_t uid, gid;
    /* (uid_t)-1 means "no change" to the system calls. */
    if (!text_to_u64(parts[0], &uid) || uid >= (uid_t)-1 || !text_to_u64(parts[1], &gid) ||
        gid >= (gid_t)-1) {
        error_set(errp, "user '%s' is not of the form UID:GID", user);
        return false;
    }
    id->uid = (uid_t)uid;
    id->gid = (gid_t)gid;
    return true;
}

static bool identity_find(const char *user, Identity *id, Error **errp)
{
    if (strchr(user, ':')) {
        return parse_ids(user, id, errp);
    }
    uint64_t uid;
    errno = 0;
    struct passwd *entry =
        text_to_u64(user, &uid) && uid < (uid_t)-1 ? getpwuid((uid_t)uid) : getpwnam(user);
    if (!entry) {
        error_set(errp, "user '%s' does not exist; give NAME, or UID:GID", user);
        return false;
    }
    id->uid = entry->pw_uid;
    id->gid = entry->pw_gid;
    id->name = g_strdup(entry->pw_name);
    return true;
}

bool privileges_check_user(const char *user, Error **errp)
{
    Identity id = { 0 };
    bool ok = identity_find(user, &id, errp);
    g_free(id.name);
    return ok;
}

static bool enter_directory(const char *path, Error **errp)
{
    if (FAULT("chroot", errp)) {
        return false;
    }
    if (chroot(path) < 0 || chdir("/") < 0) {
        error_set_errno(errp, errno, "cannot change the root directory to '%s'", path);
        return false;
    }
    return true;
}

static bool become(const Identity *id, const char *user, Error **errp)
{
    if (FAULT("setuid", errp)) {
        return false;
    }
    int groups = id->name ? initgroups(id->name, id->gid) : setgroups(1, &id->gid);
    if (groups < 0 || setresgid(id->gid, id->gid, id->gid) < 0 ||
        setresuid(id->uid, id->uid, id->uid) < 0) {
        error_set_errno(errp, errno, "cannot become user '%s'", user);
        return false;
    }
    if (id->uid != 0 && setuid(0) == 0) {
        error_set(errp, "became user '%s', but could become root again", user);
        return false;
    }
    return true;
}

bool privileges_reduce(const char *user, const char *chroot_path, Error **errp)
{
    Identity id = { 0 };
    if (user && !identity_find(user, &id, errp)) {
        return false;
    }
    bool ok =
        (!chroot_path || enter_directory(chroot_path, errp)) && (!user || become(&id, user, errp));
    g_free(id.name);
    return ok;
}

/* The helper shares our thread-local storage: not even errno may be written there. */
static inline long bare_syscall(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

#define HELPER_STACK (16 * 1024) /* bytes; it calls nothing */

__attribute__((no_sanitize("address", "undefined", "thread"))) static int
teardown_helper(void *opaque)
{
    pid_t parent = *(pid_t *)opaque;
    bare_syscall(SYS_close_range, 0, ~0u, 0);
    bare_syscall(SYS_prctl, PR_SET_NAME, (long)"rhea-teardown", 0);
    bare_syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
    /* Otherwise it was gone before the line above. */
    while (bare_syscall(SYS_getppid, 0, 0, 0) == parent) {
        bare_syscall(SYS_pause, 0, 0, 0);
    }
    bare_syscall(SYS_exit, 0, 0, 0);
    return 0;
}

bool privileges_start_async_teardown(Error **errp)
{
    if (FAULT("async teardown", errp)) {
        return false;
    }
    /* Lives as long as the address space does: it is never freed. */
    char *stack = mmap(NULL, HELPER_STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        error_set_errno(errp, errno, "async-teardown: cannot allocate a stack");
        return false;
    }
    pid_t *self = (pid_t *)stack; /* at the far end from where the stack begins */
    *self = getpid();
    /* It must not be ended by what is meant for us: only by our end. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int child = clone(teardown_helper, stack + HELPER_STACK, CLONE_VM, self);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (child < 0) {
        error_set_errno(errp, saved, "async-teardown: cannot make the helper process");
        munmap(stack, HELPER_STACK);
        return false;
    }
    return true;
}
