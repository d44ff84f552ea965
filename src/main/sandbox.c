#include "main/sandbox.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/fault.h"

#define KILL   SCMP_ACT_KILL_PROCESS
#define REFUSE SCMP_ACT_ERRNO(EPERM)

typedef struct Rule {
    unsigned group; /* SandboxDeny, or 0: always */
    uint32_t action;
    int call;
    const struct scmp_arg_cmp *when; /* NULL: whatever the arguments */
} Rule;

/* clone() without CLONE_THREAD makes a process. */
static const struct scmp_arg_cmp not_a_thread = SCMP_A0_64(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0);
/* prlimit64() with new limits; without, it only asks. */
static const struct scmp_arg_cmp sets_limits = SCMP_A2_64(SCMP_CMP_NE, 0);

static const Rule rules[] = {
    /* The host's kernel and file systems */
    { 0, KILL, SCMP_SYS(reboot) },
    { 0, KILL, SCMP_SYS(kexec_load) },
    { 0, KILL, SCMP_SYS(kexec_file_load) },
    { 0, KILL, SCMP_SYS(init_module) },
    { 0, KILL, SCMP_SYS(finit_module) },
    { 0, KILL, SCMP_SYS(delete_module) },
    { 0, KILL, SCMP_SYS(bpf) },
    { 0, KILL, SCMP_SYS(perf_event_open) },
    { 0, KILL, SCMP_SYS(swapon) },
    { 0, KILL, SCMP_SYS(swapoff) },
    { 0, KILL, SCMP_SYS(mount) },
    { 0, KILL, SCMP_SYS(umount2) },
    { 0, KILL, SCMP_SYS(pivot_root) },
    { 0, KILL, SCMP_SYS(fsopen) },
    { 0, KILL, SCMP_SYS(fsconfig) },
    { 0, KILL, SCMP_SYS(fsmount) },
    { 0, KILL, SCMP_SYS(fspick) },
    { 0, KILL, SCMP_SYS(move_mount) },
    { 0, KILL, SCMP_SYS(open_tree) },
    { 0, KILL, SCMP_SYS(mount_setattr) },
    { 0, KILL, SCMP_SYS(quotactl) },
    { 0, KILL, SCMP_SYS(acct) },
    { 0, KILL, SCMP_SYS(syslog) },
    /* The host's name, time and terminals */
    { 0, KILL, SCMP_SYS(sethostname) },
    { 0, KILL, SCMP_SYS(setdomainname) },
    { 0, KILL, SCMP_SYS(settimeofday) },
    { 0, KILL, SCMP_SYS(clock_settime) },
    { 0, KILL, SCMP_SYS(clock_adjtime) },
    { 0, KILL, SCMP_SYS(adjtimex) },
    { 0, KILL, SCMP_SYS(vhangup) },
    /* Name spaces, keys, ports, and other processes' memory */
    { 0, KILL, SCMP_SYS(unshare) },
    { 0, KILL, SCMP_SYS(setns) },
    { 0, KILL, SCMP_SYS(add_key) },
    { 0, KILL, SCMP_SYS(request_key) },
    { 0, KILL, SCMP_SYS(keyctl) },
    { 0, KILL, SCMP_SYS(iopl) },
    { 0, KILL, SCMP_SYS(ioperm) },
    { 0, KILL, SCMP_SYS(modify_ldt) },
    { 0, KILL, SCMP_SYS(ptrace) },
    { 0, KILL, SCMP_SYS(process_vm_readv) },
    { 0, KILL, SCMP_SYS(process_vm_writev) },
    { 0, KILL, SCMP_SYS(kcmp) },

    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(_sysctl) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(afs_syscall) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(create_module) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(epoll_ctl_old) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(epoll_wait_old) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(get_kernel_syms) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(getpmsg) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(lookup_dcookie) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(nfsservctl) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(putpmsg) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(query_module) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(remap_file_pages) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(security) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(sysfs) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(tuxcall) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(uselib) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(ustat) },
    { SANDBOX_DENY_OBSOLETE, KILL, SCMP_SYS(vserver) },

    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setuid) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setgid) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setreuid) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setregid) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setresuid) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setresgid) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setfsuid) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setfsgid) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(setgroups) },
    { SANDBOX_DENY_PRIVILEGES, KILL, SCMP_SYS(capset) },

    { SANDBOX_DENY_SPAWN, REFUSE, SCMP_SYS(fork) },
    { SANDBOX_DENY_SPAWN, REFUSE, SCMP_SYS(vfork) },
    { SANDBOX_DENY_SPAWN, REFUSE, SCMP_SYS(execve) },
    { SANDBOX_DENY_SPAWN, REFUSE, SCMP_SYS(execveat) },
    { SANDBOX_DENY_SPAWN, REFUSE, SCMP_SYS(clone), &not_a_thread },
    /* Its flags lie in memory, where no filter sees them; told that it doesn't exist, the C library
     * uses clone(). */
    { SANDBOX_DENY_SPAWN, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3) },

    { SANDBOX_DENY_RESOURCES, REFUSE, SCMP_SYS(setpriority) },
    { SANDBOX_DENY_RESOURCES, REFUSE, SCMP_SYS(ioprio_set) },
    { SANDBOX_DENY_RESOURCES, REFUSE, SCMP_SYS(sched_setparam) },
    { SANDBOX_DENY_RESOURCES, REFUSE, SCMP_SYS(sched_setscheduler) },
    { SANDBOX_DENY_RESOURCES, REFUSE, SCMP_SYS(sched_setattr) },
    { SANDBOX_DENY_RESOURCES, REFUSE, SCMP_SYS(sched_setaffinity) },
    { SANDBOX_DENY_RESOURCES, REFUSE, SCMP_SYS(setrlimit) },
    { SANDBOX_DENY_RESOURCES, REFUSE, SCMP_SYS(prlimit64), &sets_limits },
};

static int add_rules(scmp_filter_ctx filter, unsigned deny)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const Rule *rule = &rules[i];
        if (rule->group && !(rule->group & deny)) {
            continue;
        }
        int rc = seccomp_rule_add_array(filter, rule->action, rule->call, rule->when ? 1 : 0,
                                        rule->when);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int load(scmp_filter_ctx filter, bool no_new_privileges)
{
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, no_new_privileges);
    return rc < 0 ? rc : seccomp_load(filter);
}

static int build_and_load(scmp_filter_ctx filter, unsigned deny)
{
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc >= 0) {
        rc = add_rules(filter, deny);
    }
    if (rc < 0) {
        return rc;
    }
    bool no_new_privileges = deny & (SANDBOX_DENY_PRIVILEGES | SANDBOX_DENY_CHILDREN_PRIVILEGES);
    rc = load(filter, no_new_privileges);
    /* Without privileges of its own, a process may only filter what can't gain any. */
    if ((rc == -EACCES || rc == -EPERM) && !no_new_privileges) {
        rc = load(filter, true);
    }
    return rc;
}

bool sandbox_install(unsigned deny, Error **errp)
{
    if (FAULT("sandbox", errp)) {
        return false;
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (!filter) {
        error_set(errp, "-sandbox: cannot make a system call filter");
        return false;
    }
    int rc = build_and_load(filter, deny);
    seccomp_release(filter);
    if (rc < 0) {
        error_set_errno(errp, -rc,
                        "-sandbox: the kernel does not take the system call filter; leave out "
                        "-sandbox or use a kernel with CONFIG_SECCOMP_FILTER");
        return false;
    }
    return true;
}
