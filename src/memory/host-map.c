#include "memory/host-map.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fault.h"
#include "base/report.h"
#include "base/text.h"

/* Linux 5.14; older C libraries don't name them. */
#define POPULATE_READ  22 /* MADV_POPULATE_READ */
#define POPULATE_WRITE 23 /* MADV_POPULATE_WRITE */

/* Transparent huge pages need an aligned start. */
#define TRANSPARENT_HUGE_PAGE (2 * MiB)

uint64_t host_page_size_of_fd(int fd)
{
    struct statfs fs;
    int r;
    do {
        r = fstatfs(fd, &fs);
    } while (r < 0 && errno == EINTR);
    if (r == 0 && fs.f_type == HUGETLBFS_MAGIC) {
        return (uint64_t)fs.f_bsize;
    }
    return (uint64_t)getpagesize();
}

int64_t host_huge_pages_free(uint64_t page_size)
{
    g_autofree char *path = g_strdup_printf(
        "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/free_hugepages", page_size / KiB);
    g_autofree char *text = NULL;
    uint64_t pages;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !text_to_u64(g_strstrip(text), &pages)) {
        return -1;
    }
    return (int64_t)pages;
}

static void map_failed(const HostMapSpec *spec, int errnum, Error **errp)
{
    g_autofree char *size = text_from_size(spec->size);
    g_autofree char *page = text_from_size(spec->page_size);

    if (spec->page_size > (uint64_t)getpagesize()) {
        int64_t have = host_huge_pages_free(spec->page_size);
        error_set_errno(
            errp, errnum,
            "%s: needs %" PRIu64 " huge pages of %s, %" PRId64
            " are free; raise /sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/nr_hugepages",
            spec->what, spec->size / spec->page_size, page, MAX_OF(have, 0), spec->page_size / KiB);
    } else {
        error_set_errno(errp, errnum, "%s: can't map %s of host memory", spec->what, size);
    }
}

void *host_map(const HostMapSpec *spec, Error **errp)
{
    uint64_t align = MAX_OF(spec->align, spec->page_size);
    int prot = PROT_READ | (spec->readonly ? 0 : PROT_WRITE);
    int flags = MAP_FIXED | (spec->shared ? MAP_SHARED : MAP_PRIVATE);

    if (!spec->align && spec->size >= TRANSPARENT_HUGE_PAGE) {
        align = MAX_OF(align, TRANSPARENT_HUGE_PAGE);
    }
    flags |= spec->fd < 0 ? MAP_ANONYMOUS : 0;
    flags |= spec->reserve ? 0 : MAP_NORESERVE;

    uint64_t room = spec->size + align;
    if (FAULT("mmap", errp)) {
        return NULL;
    }
    /* Addresses first, then the memory at an aligned one of them. */
    uint8_t *area = room < spec->size ? MAP_FAILED
                                      : mmap(NULL, room, PROT_NONE,
                                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        map_failed(spec, room < spec->size ? ENOMEM : errno, errp);
        return NULL;
    }
    uint8_t *at = (uint8_t *)ALIGN_UP((uintptr_t)area, align);
    void *host = mmap(at, spec->size, prot, flags, spec->fd, (off_t)spec->fd_offset);
    if (host == MAP_FAILED) {
        int errnum = errno;
        munmap(area, room);
        map_failed(spec, errnum, errp);
        return NULL;
    }
    if (at > area) {
        munmap(area, (size_t)(at - area));
    }
    munmap(at + spec->size, (size_t)(area + room - (at + spec->size)));
    if (spec->page_size == (uint64_t)getpagesize()) {
        madvise(host, spec->size, MADV_HUGEPAGE); /* a wish; kernels may lack it */
    }
    return host;
}

bool host_map_set_policy(void *host, uint64_t size, HostMemPolicy policy, const uint16_t *nodes,
                         unsigned count, Error **errp)
{
    static const int modes[] = { MPOL_DEFAULT, MPOL_PREFERRED, MPOL_BIND, MPOL_INTERLEAVE };
    unsigned long mask[HOST_NODES_MAX / 64] = { 0 };
    GString *list = g_string_new(NULL);

    for (unsigned i = 0; i < count; i++) {
        assert(nodes[i] < HOST_NODES_MAX);
        mask[nodes[i] / 64] |= 1ul << (nodes[i] % 64);
        g_string_append_printf(list, "%s%u", i ? "," : "", nodes[i]);
    }
    g_autofree char *text = g_string_free(list, false);
    if (policy == HOST_MEM_POLICY_DEFAULT) {
        return true;
    }
    if (FAULT("mbind", errp)) {
        return false;
    }
    /* The kernel takes the number of bits plus one. */
    if (syscall(SYS_mbind, host, size, modes[policy], mask, (unsigned long)HOST_NODES_MAX + 1,
                MPOL_MF_STRICT | MPOL_MF_MOVE) < 0) {
        error_set_errno(errp, errno,
                        "Can't place memory on host NUMA nodes %s; `ls /sys/devices/system/node` "
                        "shows which there are",
                        text);
        return false;
    }
    return true;
}

/* --- Preallocation: threads take chunks until none is left or one fails --- */

#define CHUNK_SIZE      (64 * MiB)
#define THREADS_MAX     16
#define PROGRESS_PERIOD 2 /* seconds */

typedef struct PreallocState {
    const HostPrealloc *p;
    uint64_t next; /* atomic: offset of the next chunk */
    uint64_t done; /* atomic: bytes */
    int error;     /* atomic: first errno */
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    unsigned running; /* mutex */
} PreallocState;

/* For kernels without MADV_POPULATE_*: the file's room is taken first, so that no touch can fault.
 */
static int populate_by_touch(const HostPrealloc *p, uint64_t offset, uint64_t len)
{
    if (p->fd >= 0 && !p->readonly &&
        fallocate(p->fd, 0, (off_t)(p->fd_offset + offset), (off_t)len) < 0) {
        return errno;
    }
    for (uint64_t at = offset; at < offset + len; at += p->page_size) {
        volatile uint8_t *byte = p->host + at;
        uint8_t value = *byte;
        if (!p->readonly) {
            *byte = value;
        }
    }
    return 0;
}

static int populate(const HostPrealloc *p, uint64_t offset, uint64_t len)
{
    for (;;) {
        if (madvise(p->host + offset, len, p->readonly ? POPULATE_READ : POPULATE_WRITE) == 0) {
            return 0;
        }
        switch (errno) {
        case EINTR:
        case EAGAIN:
            continue;
        case EINVAL:
            return populate_by_touch(p, offset, len);
        case EFAULT: /* a page that can't be had, like the bus error a touch would give */
            return ENOMEM;
        default:
            return errno;
        }
    }
}

static void *prealloc_thread(void *opaque)
{
    PreallocState *s = opaque;
    uint64_t chunk = MAX_OF(CHUNK_SIZE, s->p->page_size);

    while (!__atomic_load_n(&s->error, __ATOMIC_RELAXED)) {
        uint64_t at = __atomic_fetch_add(&s->next, chunk, __ATOMIC_RELAXED);
        if (at >= s->p->size) {
            break;
        }
        uint64_t len = MIN_OF(chunk, s->p->size - at);
        int error = populate(s->p, at, len);
        if (error) {
            __atomic_store_n(&s->error, error, __ATOMIC_RELAXED);
            break;
        }
        __atomic_fetch_add(&s->done, len, __ATOMIC_RELAXED);
    }
    pthread_mutex_lock(&s->mutex);
    s->running--;
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->mutex);
    return NULL;
}

static void print_progress(const HostPrealloc *p, uint64_t done)
{
    if (p->progress) {
        p->progress(p->opaque, done);
        return;
    }
    g_autofree char *have = text_from_size(done);
    g_autofree char *all = text_from_size(p->size);
    report_info("%s: preallocated %s of %s", p->what, have, all);
}

static void wait_for_threads(PreallocState *s)
{
    struct timespec when;

    clock_gettime(CLOCK_MONOTONIC, &when);
    pthread_mutex_lock(&s->mutex);
    while (s->running) {
        when.tv_sec += PROGRESS_PERIOD;
        int r = 0;
        while (s->running && r != ETIMEDOUT) {
            r = pthread_cond_timedwait(&s->ended, &s->mutex, &when);
        }
        if (s->running) {
            print_progress(s->p, __atomic_load_n(&s->done, __ATOMIC_RELAXED));
        }
    }
    pthread_mutex_unlock(&s->mutex);
}

static unsigned thread_count(const HostPrealloc *p)
{
    uint64_t chunks = (p->size + CHUNK_SIZE - 1) / CHUNK_SIZE;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = p->threads ? p->threads : (unsigned)MIN_OF(MAX_OF(cpus, 1), THREADS_MAX);
    return (unsigned)MIN_OF((uint64_t)wanted, MAX_OF(chunks, 1));
}

bool host_prealloc(const HostPrealloc *p, Error **errp)
{
    PreallocState s = { .p = p, .mutex = PTHREAD_MUTEX_INITIALIZER };
    unsigned wanted = thread_count(p);
    g_autofree pthread_t *threads = g_new(pthread_t, wanted);
    pthread_condattr_t attr;
    unsigned started = 0;

    if (FAULT("prealloc", errp)) {
        return false;
    }
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s.ended, &attr);
    pthread_condattr_destroy(&attr);

    pthread_mutex_lock(&s.mutex);
    for (; started < wanted; started++) {
        if (pthread_create(&threads[started], NULL, prealloc_thread, &s)) {
            break; /* fewer do it too */
        }
        s.running++;
    }
    if (!started) { /* none: here, without progress */
        s.running = 1;
    }
    pthread_mutex_unlock(&s.mutex);
    if (!started) {
        prealloc_thread(&s);
    }
    wait_for_threads(&s);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_cond_destroy(&s.ended);
    pthread_mutex_destroy(&s.mutex);
    if (s.error) {
        g_autofree char *have = text_from_size(s.done);
        g_autofree char *all = text_from_size(p->size);
        error_set_errno(errp, s.error,
                        "%s: can't preallocate %s, got %s; lower the size or free "
                        "host memory",
                        p->what, all, have);
        return false;
    }
    return true;
}
