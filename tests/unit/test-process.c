/*
 * What changes the process as a whole: each case runs in a child of the test, which says by its
 * exit status what it saw.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "main/daemonize.h"
#include "main/pidfile.h"
#include "main/privileges.h"
#include "main/sandbox.h"

/* Exit statuses of a case's child */
enum { GOOD = 0, BAD = 1, CANNOT = 2 };

typedef int Case(const char *path);

typedef struct Outcome {
    int status;   /* as of waitpid() */
    char *errors; /* what it wrote to standard error */
} Outcome;

static Outcome run_case(Case *fn, const char *path)
{
    int ends[2];
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
    pid_t child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[1]);
        _exit(fn(path));
    }
    close(ends[1]);
    GString *text = g_string_new(NULL);
    char buffer[256];
    ssize_t got;
    while ((got = read(ends[0], buffer, sizeof(buffer))) > 0) {
        g_string_append_len(text, buffer, got);
    }
    close(ends[0]);
    Outcome outcome = { .errors = g_string_free(text, false) };
    g_assert_cmpint(waitpid(child, &outcome.status, 0), ==, child);
    return outcome;
}

static void expect_exit(Case *fn, const char *path, int status)
{
    Outcome outcome = run_case(fn, path);
    if (outcome.errors[0]) {
        g_test_message("%s", outcome.errors);
    }
    g_free(outcome.errors);
    g_assert_true(WIFEXITED(outcome.status));
    if (WEXITSTATUS(outcome.status) == CANNOT) {
        g_test_skip("not possible in this environment");
        return;
    }
    g_assert_cmpint(WEXITSTATUS(outcome.status), ==, status);
}

static void expect_signal(Case *fn, int sig)
{
    Outcome outcome = run_case(fn, NULL);
    g_free(outcome.errors);
    g_assert_true(WIFSIGNALED(outcome.status));
    g_assert_cmpint(WTERMSIG(outcome.status), ==, sig);
}

static void complain(Error *err)
{
    g_printerr("%s\n", err ? error_message(err) : "no message");
    error_free(err);
}

/* --- daemonize --- */

static int daemon_exit_status(DaemonizeSide side)
{
    return side == DAEMONIZE_STARTED ? GOOD : BAD;
}

static int good_daemon(const char *path)
{
    Daemonize d = DAEMONIZE_NONE;
    DaemonizeSide side = daemonize_fork(&d, NULL);
    if (side != DAEMONIZE_CHILD) {
        /* Only once the child was ready does the file exist. */
        return side == DAEMONIZE_STARTED && access(path, F_OK) == 0 ? GOOD : BAD;
    }
    g_usleep(50000);
    if (getsid(0) != getpid() || !g_file_set_contents(path, "x", 1, NULL) ||
        !daemonize_ready(&d, NULL)) {
        return BAD;
    }
    struct stat null_stat, err_stat;
    char cwd[16];
    bool detached = stat("/dev/null", &null_stat) == 0 && fstat(STDERR_FILENO, &err_stat) == 0 &&
                    err_stat.st_rdev == null_stat.st_rdev && getcwd(cwd, sizeof(cwd)) &&
                    !strcmp(cwd, "/");
    g_usleep(20000);
    g_file_set_contents(path, detached ? "detached" : "attached", -1, NULL);
    return GOOD;
}

static void test_daemon_ready(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-daemon-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "ready", NULL);
    expect_exit(good_daemon, path, GOOD);
    g_autofree char *text = NULL;
    for (int i = 0; i < 100; i++) {
        g_free(text);
        text = NULL;
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        if (strlen(text) > 1) {
            break;
        }
        g_usleep(20000);
    }
    g_assert_cmpstr(text, ==, "detached");
    g_unlink(path);
    g_rmdir(dir);
}

static int failing_daemon(const char *path)
{
    Daemonize d = DAEMONIZE_NONE;
    DaemonizeSide side = daemonize_fork(&d, NULL);
    if (side != DAEMONIZE_CHILD) {
        return daemon_exit_status(side);
    }
    g_printerr("the reason\n");
    daemonize_finish(&d);
    return BAD;
}

static void test_daemon_fails(void)
{
    Outcome outcome = run_case(failing_daemon, NULL);
    g_assert_true(WIFEXITED(outcome.status));
    g_assert_cmpint(WEXITSTATUS(outcome.status), ==, BAD);
    g_assert_cmpstr(outcome.errors, ==, "the reason\n");
    g_free(outcome.errors);
}

static int crashing_daemon(const char *path)
{
    Daemonize d = DAEMONIZE_NONE;
    DaemonizeSide side = daemonize_fork(&d, NULL);
    if (side != DAEMONIZE_CHILD) {
        return daemon_exit_status(side);
    }
    raise(SIGKILL);
    return GOOD;
}

static void test_daemon_crashes(void)
{
    Outcome outcome = run_case(crashing_daemon, NULL);
    g_assert_cmpint(WEXITSTATUS(outcome.status), ==, BAD);
    g_assert_nonnull(strstr(outcome.errors, "start-up ended by signal 9"));
    g_free(outcome.errors);
}

static int faulty_daemon(const char *path)
{
    for (int nth = 1; nth <= 2; nth++) {
        Daemonize d = DAEMONIZE_NONE;
        Error *err = NULL;
        fault_inject(nth);
        if (daemonize_fork(&d, &err) != DAEMONIZE_ERROR || !err || d.ready_fd != -1) {
            return BAD;
        }
        error_free(err);
    }
    fault_inject(0);
    Daemonize none = DAEMONIZE_NONE;
    return daemonize_ready(&none, NULL) ? GOOD : BAD;
}

static void test_daemon_faults(void)
{
    expect_exit(faulty_daemon, NULL, GOOD);
}

/* --- pidfile --- */

static int second_holder(const char *path)
{
    Error *err = NULL;
    Pidfile *pidfile = pidfile_create(path, &err);
    g_autofree char *owner = g_strdup_printf("process, %d", (int)getppid());
    bool good = !pidfile && strstr(error_message(err), owner) && strstr(error_message(err), path);
    complain(err);
    return good ? GOOD : BAD;
}

static void test_pidfile(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-pid-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "pid", NULL);
    g_autofree char *own = g_strdup_printf("%d\n", (int)getpid());
    Error *err = NULL;
    /* what a crashed process left behind is taken over */
    g_assert_true(g_file_set_contents(path, "123456789\nmore", -1, NULL));
    Pidfile *pidfile = pidfile_create(path, &err);
    g_assert_nonnull(pidfile);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, own);
    expect_exit(second_holder, path, GOOD);
    g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));

    g_autofree char *before = g_get_current_dir();
    g_assert_cmpint(chdir("/"), ==, 0);
    pidfile_remove(pidfile);
    g_assert_cmpint(chdir(before), ==, 0);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    pidfile_remove(NULL);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

static void test_pidfile_errors(void)
{
    Error *err = NULL;
    g_assert_null(pidfile_create("/nonexistent/pid", &err));
    g_assert_nonnull(strstr(error_message(err), "/nonexistent/pid"));
    error_free(err);
    err = NULL;
    g_assert_null(pidfile_create("/", &err));
    g_assert_nonnull(err);
    error_free(err);
    err = NULL;
    g_autofree char *dir = g_dir_make_tmp("rhea-pid-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "pid", NULL);
    fault_inject(1);
    g_assert_null(pidfile_create(path, &err));
    g_assert_nonnull(err);
    error_free(err);
    g_assert_cmpint(g_rmdir(dir), ==, 0);
}

/* --- privileges --- */

static int become_nobody(const char *path)
{
    Error *err = NULL;
    if (geteuid() != 0) {
        return CANNOT;
    }
    if (!privileges_reduce(path, NULL, &err)) {
        complain(err);
        return BAD;
    }
    uid_t r, e, s;
    gid_t groups[8];
    getresuid(&r, &e, &s);
    int n = getgroups(8, groups);
    return r == 65534 && e == 65534 && s == 65534 && n == 1 && groups[0] == getgid() &&
                   setuid(0) < 0
               ? GOOD
               : BAD;
}

static int enter_chroot(const char *path)
{
    Error *err = NULL;
    if (geteuid() != 0) {
        return CANNOT;
    }
    if (!privileges_reduce("nobody", path, &err)) {
        complain(err);
        return BAD;
    }
    return access("/inside", F_OK) == 0 && access("/etc/passwd", F_OK) < 0 && getuid() == 65534
               ? GOOD
               : BAD;
}

static void test_become_user(void)
{
    expect_exit(become_nobody, "nobody", GOOD);
    expect_exit(become_nobody, "65534:65534", GOOD);
    expect_exit(become_nobody, "65534", GOOD);
}

static void test_chroot(void)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-root-XXXXXX", NULL);
    g_autofree char *inside = g_build_filename(dir, "inside", NULL);
    g_assert_true(g_file_set_contents(inside, "", 0, NULL));
    g_assert_cmpint(g_chmod(dir, 0755), ==, 0);
    expect_exit(enter_chroot, dir, GOOD);
    g_unlink(inside);
    g_rmdir(dir);
}

static void test_users_that_are_not(void)
{
    static const char *const bad[] = { "no-such-user", "1:",    ":1", "1:x",
                                       "4294967295:0", "1:2:3", "",   "-1:0" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        Error *err = NULL;
        g_assert_false(privileges_check_user(bad[i], &err));
        g_assert_nonnull(strstr(error_message(err), bad[i]));
        error_free(err);
        err = NULL;
        g_assert_false(privileges_reduce(bad[i], NULL, &err));
        error_free(err);
    }
    g_assert_true(privileges_check_user("root", NULL));
    g_assert_true(privileges_check_user("12345:12345", NULL));
}

static int missing_root(const char *path)
{
    Error *err = NULL;
    bool good = !privileges_reduce(NULL, "/nonexistent", &err) &&
                strstr(error_message(err), "'/nonexistent'");
    error_free(err);
    return good ? GOOD : BAD;
}

static void test_missing_root(void)
{
    expect_exit(missing_root, NULL, GOOD);
}

static int with_helper(const char *path)
{
    return privileges_start_async_teardown(NULL) ? GOOD : BAD;
}

/* The helper holds no descriptor (else reading standard error would not end) and goes away. */
static void test_async_teardown(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    expect_exit(with_helper, NULL, GOOD);
    int status;
    pid_t helper = waitpid(-1, &status, __WALL);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    g_assert_cmpint(helper, >, 0);
    g_assert_true(WIFEXITED(status) || WTERMSIG(status) == SIGKILL);
}

/* --- sandbox --- */

static bool install(unsigned deny)
{
    Error *err = NULL;
    if (!sandbox_install(deny, &err)) {
        complain(err);
        return false;
    }
    return true;
}

#define EVERYTHING                                                                        \
    (SANDBOX_DENY_OBSOLETE | SANDBOX_DENY_PRIVILEGES | SANDBOX_DENY_CHILDREN_PRIVILEGES | \
     SANDBOX_DENY_SPAWN | SANDBOX_DENY_RESOURCES)

static void *nothing(void *opaque)
{
    return opaque;
}

static int sandbox_keeps_working(const char *path)
{
    if (!install(EVERYTHING)) {
        return CANNOT;
    }
    pthread_t thread;
    struct rlimit limit;
    void *result = NULL;
    bool good = pthread_create(&thread, NULL, nothing, (void *)1) == 0 &&
                pthread_join(thread, &result) == 0 && result &&
                getrlimit(RLIMIT_NOFILE, &limit) == 0 && open("/dev/null", O_RDONLY) >= 0;
    return good ? GOOD : BAD;
}

static int sandbox_refuses(const char *path)
{
    if (!install(EVERYTHING)) {
        return CANNOT;
    }
    const struct rlimit limit = { 0, 0 };
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(0, &cpus);
    char *const argv[] = { (char *)"true", NULL };
    errno = 0;
    bool good = fork() < 0 && errno == EPERM;
    errno = 0;
    good = good && execv("/bin/true", argv) < 0 && errno == EPERM;
    good = good && sched_setaffinity(0, sizeof(cpus), &cpus) < 0 && errno == EPERM;
    good = good && setrlimit(RLIMIT_CORE, &limit) < 0 && errno == EPERM;
    return good ? GOOD : BAD;
}

static int sandbox_allows(const char *path)
{
    if (!install(0)) {
        return CANNOT;
    }
    pid_t child = fork();
    if (child == 0) {
        _exit(setuid(getuid()) == 0 ? GOOD : BAD);
    }
    int status;
    return waitpid(child, &status, 0) == child && status == 0 ? GOOD : BAD;
}

static int sandboxed_reboot(const char *path)
{
    if (!install(0)) {
        raise(SIGSYS);
    }
    syscall(SYS_sethostname, "x", (size_t)-1);
    return GOOD;
}

static int sandboxed_setuid(const char *path)
{
    if (!install(SANDBOX_DENY_PRIVILEGES)) {
        raise(SIGSYS);
    }
    syscall(SYS_setuid, getuid());
    return GOOD;
}

static int sandboxed_obsolete(const char *path)
{
    if (!install(SANDBOX_DENY_OBSOLETE)) {
        raise(SIGSYS);
    }
    syscall(SYS_uselib, "x");
    return GOOD;
}

static int obsolete_allowed(const char *path)
{
    if (!install(0)) {
        return CANNOT;
    }
    syscall(SYS_uselib, "x");
    return GOOD;
}

static int children_without_privileges(const char *path)
{
    if (!install(SANDBOX_DENY_CHILDREN_PRIVILEGES)) {
        return CANNOT;
    }
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && syscall(SYS_setuid, getuid()) == 0 ? GOOD
                                                                                             : BAD;
}

static void *waits_then_forks(void *opaque)
{
    int *go = opaque;
    char byte;
    if (read(go[0], &byte, 1) != 1) {
        return (void *)1;
    }
    return fork() < 0 ? NULL : (void *)1;
}

static int covers_running_threads(const char *path)
{
    int go[2];
    pthread_t thread;
    void *result = NULL;
    if (pipe(go) < 0 || pthread_create(&thread, NULL, waits_then_forks, go) != 0) {
        return BAD;
    }
    if (!install(SANDBOX_DENY_SPAWN)) {
        return CANNOT;
    }
    return write(go[1], "x", 1) == 1 && pthread_join(thread, &result) == 0 && !result ? GOOD : BAD;
}

static void test_sandbox_works(void)
{
    expect_exit(sandbox_keeps_working, NULL, GOOD);
}

static void test_sandbox_refuses(void)
{
    expect_exit(sandbox_refuses, NULL, GOOD);
    expect_signal(sandboxed_reboot, SIGSYS);
    expect_signal(sandboxed_setuid, SIGSYS);
    expect_signal(sandboxed_obsolete, SIGSYS);
}

static void test_sandbox_allows(void)
{
    expect_exit(sandbox_allows, NULL, GOOD);
    expect_exit(obsolete_allowed, NULL, GOOD);
    expect_exit(children_without_privileges, NULL, GOOD);
}

static void test_sandbox_threads(void)
{
    expect_exit(covers_running_threads, NULL, GOOD);
}

static void test_sandbox_fault(void)
{
    Error *err = NULL;
    fault_inject(1);
    g_assert_false(sandbox_install(0, &err));
    g_assert_nonnull(err);
    error_free(err);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/daemonize/ready", test_daemon_ready);
    g_test_add_func("/daemonize/fails", test_daemon_fails);
    g_test_add_func("/daemonize/crashes", test_daemon_crashes);
    g_test_add_func("/daemonize/faults", test_daemon_faults);
    g_test_add_func("/pidfile/lock", test_pidfile);
    g_test_add_func("/pidfile/errors", test_pidfile_errors);
    g_test_add_func("/privileges/user", test_become_user);
    g_test_add_func("/privileges/chroot", test_chroot);
    g_test_add_func("/privileges/bad-users", test_users_that_are_not);
    g_test_add_func("/privileges/missing-root", test_missing_root);
    g_test_add_func("/privileges/async-teardown", test_async_teardown);
    g_test_add_func("/sandbox/works", test_sandbox_works);
    g_test_add_func("/sandbox/refuses", test_sandbox_refuses);
    g_test_add_func("/sandbox/allows", test_sandbox_allows);
    g_test_add_func("/sandbox/threads", test_sandbox_threads);
    g_test_add_func("/sandbox/fault", test_sandbox_fault);
    return g_test_run();
}
