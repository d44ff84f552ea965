#include "event/notifier.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"

bool event_notifier_init(EventNotifier *n, bool active, Error **errp)
{
    *n = (EventNotifier){ .fd = -1 };
    if (FAULT("eventfd", errp)) {
        return false;
    }
    n->fd = eventfd(active, EFD_NONBLOCK | EFD_CLOEXEC);
    if (n->fd < 0) {
        error_set_errno(errp, errno, "cannot create an eventfd");
        return false;
    }
    return true;
}

void event_notifier_finish(EventNotifier *n)
{
    fd_watch_free(n->watch);
    fd_close(n->fd);
    *n = (EventNotifier){ .fd = -1 };
}

void event_notifier_set(EventNotifier *n)
{
    uint64_t one = 1;
    ssize_t done;
    __atomic_fetch_add(&n->sent, 1, __ATOMIC_RELAXED);
    do {
        done = write(n->fd, &one, sizeof(one));
    } while (done < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, so it rings already. */
}

bool event_notifier_test_and_clear(EventNotifier *n)
{
    uint64_t count;
    ssize_t done;
    do {
        done = read(n->fd, &count, sizeof(count));
    } while (done < 0 && errno == EINTR);
    if (done != sizeof(count)) {
        return false;
    }
    __atomic_fetch_add(&n->heard, count, __ATOMIC_RELAXED);
    return true;
}

static void event_notifier_readable(void *opaque)
{
    EventNotifier *n = opaque;
    n->fn(n);
}

void event_notifier_watch(EventNotifier *n, EventLoop *loop, void (*fn)(EventNotifier *n))
{
    fd_watch_free(n->watch);
    n->watch = NULL;
    n->fn = fn;
    if (fn) {
        n->watch = fd_watch_new(loop, n->fd, event_notifier_readable, NULL, n);
    }
}
