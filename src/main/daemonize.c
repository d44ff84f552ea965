#include "main/daemonize.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/report.h"

#define READY_BYTE 'r'

/* The parent's part: true once the child says that it is ready, false when it can't any more. */
static bool wait_for_child(int fd, pid_t child)
{
    char byte = 0;
    ssize_t got;
    do {
        got = read(fd, &byte, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 1 && byte == READY_BYTE) {
        return true;
    }
    /* The pipe is closed: the child is gone, or about to go. */
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status)) {
        report_error("start-up ended by signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
    }
    return false;
}

DaemonizeSide daemonize_fork(Daemonize *d, Error **errp)
{
    FD_AUTO null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0) {
        error_set_errno(errp, errno, "-daemonize: cannot open '/dev/null'");
        return DAEMONIZE_ERROR;
    }
    int ends[2];
    if (FAULT("daemonize pipe", errp)) {
        return DAEMONIZE_ERROR;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        error_set_errno(errp, errno, "-daemonize: cannot make a pipe");
        return DAEMONIZE_ERROR;
    }
    if (FAULT("daemonize fork", errp)) {
        fd_close(ends[0]);
        fd_close(ends[1]);
        return DAEMONIZE_ERROR;
    }
    pid_t child = fork();
    if (child < 0) {
        error_set_errno(errp, errno, "-daemonize: cannot make a child process");
        fd_close(ends[0]);
        fd_close(ends[1]);
        return DAEMONIZE_ERROR;
    }
    if (child > 0) {
        fd_close(ends[1]);
        bool ready = wait_for_child(ends[0], child);
        fd_close(ends[0]);
        return ready ? DAEMONIZE_STARTED : DAEMONIZE_NOT_STARTED;
    }
    fd_close(ends[0]);
    d->ready_fd = ends[1];
    d->null_fd = fd_steal(&null_fd);
    /* A session of its own has no controlling terminal; files are private unless said otherwise. */
    setsid();
    umask(027);
    return DAEMONIZE_CHILD;
}

bool daemonize_ready(Daemonize *d, Error **errp)
{
    if (d->ready_fd < 0) {
        return true;
    }
    if (FAULT("daemonize ready", errp)) {
        return false;
    }
    if (chdir("/") < 0) {
        error_set_errno(errp, errno, "-daemonize: cannot change to '/'");
        return false;
    }
    char byte = READY_BYTE;
    int ready_fd = fd_steal(&d->ready_fd);
    /* Whether or not the parent is still there to hear it, this process is up. */
    ssize_t written UNUSED = write(ready_fd, &byte, 1);
    fd_close(ready_fd);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        dup2(d->null_fd, fd);
    }
    fd_close(d->null_fd);
    d->null_fd = -1;
    return true;
}

void daemonize_finish(Daemonize *d)
{
    fd_close(d->ready_fd);
    fd_close(d->null_fd);
    *d = DAEMONIZE_NONE;
}
