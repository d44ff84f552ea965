#include "trace/simple.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "base/report.h"
#include "base/thread.h"
#include "trace/control.h"

/*
 * Threads that trace append to one buffer under a lock held for a copy of some bytes; a thread of
 * our own swaps it for an empty one and writes the full one out, so that nobody who traces waits
 * for the disk. What does not fit is counted and reported in the file.
 */
#define BUFFER_BYTES      (1u << 20)
#define WAKE_BYTES        (BUFFER_BYTES / 4)
#define FLUSH_INTERVAL_US 200000

typedef struct TraceFile {
    int fd;
    GThread *writer;
    GMutex lock;
    GCond work;    /* to the writer: wake up */
    GCond written; /* to trace_file_flush(): `flushed` grew */
    /* under lock */
    uint8_t *filling; /* BUFFER_BYTES */
    size_t filled;
    uint64_t lost;
    uint64_t wanted, flushed; /* flush requests made and served */
    bool quit;
    GByteArray *described; /* one byte an event id: its type record is in the file */
    /* the writer's alone */
    uint8_t *draining;
    bool failed;
} TraceFile;

/* The one trace file of the process: opened and closed by start-up and the monitor, found by any
 * thread under RCU-like rules of its own: `users` counts those inside trace_simple_emit(). */
static TraceFile *trace_file;
static unsigned users;
bool trace_simple_active;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* A record is built in a bounded space and appended whole or not at all. */
typedef struct Record {
    uint8_t bytes[64 + TRACE_MAX_ARGS * (TRACE_STRING_MAX + 8)];
    size_t len;
} Record;

static void put(Record *record, const void *data, size_t len)
{
    assert(record->len + len <= sizeof(record->bytes));
    memcpy(record->bytes + record->len, data, len);
    record->len += len;
}

static void put_u32(Record *record, uint32_t value)
{
    value = GUINT32_TO_LE(value);
    put(record, &value, sizeof(value));
}

static void put_u64(Record *record, uint64_t value)
{
    value = GUINT64_TO_LE(value);
    put(record, &value, sizeof(value));
}

static void put_string(Record *record, const char *text)
{
    size_t len = strnlen(text, TRACE_STRING_MAX);
    put_u32(record, (uint32_t)len);
    put(record, text, len);
}

static void record_begin(Record *record, uint32_t kind)
{
    record->len = 0;
    put_u32(record, 0);
    put_u32(record, kind);
}

static bool record_append_locked(TraceFile *file, Record *record)
{
    uint32_t len = GUINT32_TO_LE((uint32_t)record->len);
    memcpy(record->bytes, &len, sizeof(len));
    if (record->len > BUFFER_BYTES - file->filled) {
        return false;
    }
    memcpy(file->filling + file->filled, record->bytes, record->len);
    file->filled += record->len;
    return true;
}

static bool describe_locked(TraceFile *file, const TraceEvent *event, Record *record)
{
    if (event->id < file->described->len && file->described->data[event->id]) {
        return true;
    }
    record_begin(record, TRACE_RECORD_EVENT_TYPE);
    put_u32(record, event->id);
    put_string(record, event->name);
    put_string(record, event->format);
    put_u32(record, event->nargs);
    for (unsigned i = 0; i < event->nargs; i++) {
        uint8_t kind = event->args[i].kind;
        put(record, &kind, 1);
        put_string(record, event->args[i].name);
    }
    if (!record_append_locked(file, record)) {
        return false;
    }
    if (event->id >= file->described->len) {
        guint old = file->described->len;
        g_byte_array_set_size(file->described, event->id + 1);
        memset(file->described->data + old, 0, event->id + 1 - old);
    }
    file->described->data[event->id] = 1;
    return true;
}

static void emit_locked(TraceFile *file, const TraceEvent *event, const TraceValue *values,
                        uint64_t now)
{
    Record record;
    if (!describe_locked(file, event, &record)) {
        file->lost++;
        return;
    }
    record_begin(&record, TRACE_RECORD_EVENT);
    put_u32(&record, event->id);
    put_u32(&record, (uint32_t)gettid());
    put_u64(&record, now);
    for (unsigned i = 0; i < event->nargs; i++) {
        if (event->args[i].kind == TRACE_ARG_STRING) {
            put_string(&record, values[i].s ? values[i].s : "(null)");
        } else {
            put_u64(&record, values[i].u);
        }
    }
    if (!record_append_locked(file, &record)) {
        file->lost++;
        return;
    }
    if (file->filled >= WAKE_BYTES) {
        g_cond_signal(&file->work);
    }
}

void trace_simple_emit(const TraceEvent *event, const TraceValue *values)
{
    __atomic_add_fetch(&users, 1, __ATOMIC_SEQ_CST);
    TraceFile *file = __atomic_load_n(&trace_file, __ATOMIC_SEQ_CST);
    if (file) {
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        g_mutex_lock(&file->lock);
        emit_locked(file, event, values, now);
        g_mutex_unlock(&file->lock);
    }
    __atomic_sub_fetch(&users, 1, __ATOMIC_SEQ_CST);
}

static void write_out(TraceFile *file, const void *data, size_t len)
{
    ERROR_AUTO err = NULL;
    if (!file->failed && !fd_write_all(file->fd, data, len, &err)) {
        file->failed = true;
        report_warning("the trace file ends early: %s", error_message(err));
    }
}

static void drain_locked(TraceFile *file)
{
    uint8_t *full = file->filling;
    size_t len = file->filled;
    uint64_t lost = file->lost;
    file->filling = file->draining;
    file->filled = 0;
    file->lost = 0;
    file->draining = full;
    g_mutex_unlock(&file->lock);
    write_out(file, full, len);
    if (lost) {
        Record record;
        record_begin(&record, TRACE_RECORD_LOST);
        put_u64(&record, lost);
        uint32_t record_len = GUINT32_TO_LE((uint32_t)record.len);
        memcpy(record.bytes, &record_len, sizeof(record_len));
        write_out(file, record.bytes, record.len);
    }
    g_mutex_lock(&file->lock);
}

static void *writer_thread(void *opaque)
{
    TraceFile *file = opaque;
    thread_set_name(pthread_self(), "trace");
    trace_enter(); /* what we call may trace */
    g_mutex_lock(&file->lock);
    for (;;) {
        gint64 end = g_get_monotonic_time() + FLUSH_INTERVAL_US;
        while (!file->quit && file->wanted == file->flushed && file->filled < WAKE_BYTES) {
            if (!g_cond_wait_until(&file->work, &file->lock, end)) {
                break;
            }
        }
        uint64_t wanted = file->wanted;
        bool quit = file->quit;
        if (file->filled || file->lost) {
            drain_locked(file);
        }
        if (file->flushed != wanted) {
            file->flushed = wanted;
            g_cond_broadcast(&file->written);
        }
        if (quit && !file->filled) {
            break;
        }
    }
    g_mutex_unlock(&file->lock);
    return NULL;
}

static void file_free(TraceFile *file)
{
    g_free(file->filling);
    g_free(file->draining);
    g_byte_array_unref(file->described);
    g_cond_clear(&file->work);
    g_cond_clear(&file->written);
    g_mutex_clear(&file->lock);
    fd_close(file->fd);
    g_free(file);
}

static bool file_start(TraceFile *file, Error **errp)
{
    Record header = { .len = 0 };
    put(&header, TRACE_FILE_MAGIC, strlen(TRACE_FILE_MAGIC));
    put_u64(&header, clock_ns(CLOCK_REALTIME));
    put_u64(&header, clock_ns(CLOCK_MONOTONIC));
    if (!fd_write_all(file->fd, header.bytes, header.len, errp)) {
        return false;
    }
    GError *gerr = NULL;
    if (FAULT("trace thread", errp)) {
        return false;
    }
    file->writer = g_thread_try_new(NULL, writer_thread, file, &gerr);
    if (!file->writer) {
        error_set(errp, "cannot start the trace thread: %s", gerr->message);
        g_error_free(gerr);
        return false;
    }
    return true;
}

bool trace_file_open(const char *path, Error **errp)
{
    trace_file_close();
    g_autofree char *pid = g_strdup_printf("%d", (int)getpid());
    g_auto(GStrv) parts = g_strsplit(path, "%d", -1);
    g_autofree char *expanded = g_strjoinv(pid, parts);
    if (FAULT("trace file", errp)) {
        return false;
    }
    int fd = open(expanded, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        error_set_errno(errp, errno, "cannot open trace file '%s'", expanded);
        return false;
    }
    TraceFile *file = g_new0(TraceFile, 1);
    file->fd = fd;
    file->filling = g_malloc(BUFFER_BYTES);
    file->draining = g_malloc(BUFFER_BYTES);
    file->described = g_byte_array_new();
    g_mutex_init(&file->lock);
    g_cond_init(&file->work);
    g_cond_init(&file->written);
    if (!file_start(file, errp)) {
        error_prepend(errp, "trace file '%s': ", expanded);
        file_free(file);
        return false;
    }
    __atomic_store_n(&trace_file, file, __ATOMIC_SEQ_CST);
    __atomic_store_n(&trace_simple_active, true, __ATOMIC_RELEASE);
    return true;
}

bool trace_file_is_open(void)
{
    return __atomic_load_n(&trace_simple_active, __ATOMIC_ACQUIRE);
}

void trace_file_flush(void)
{
    TraceFile *file = trace_file;
    if (!file) {
        return;
    }
    g_mutex_lock(&file->lock);
    uint64_t wanted = ++file->wanted;
    g_cond_signal(&file->work);
    while (file->flushed < wanted) {
        g_cond_wait(&file->written, &file->lock);
    }
    g_mutex_unlock(&file->lock);
}

void trace_file_close(void)
{
    TraceFile *file = trace_file;
    if (!file) {
        return;
    }
    __atomic_store_n(&trace_simple_active, false, __ATOMIC_RELEASE);
    __atomic_store_n(&trace_file, NULL, __ATOMIC_SEQ_CST);
    /* Those who found the file before are gone soon: they only copy. */
    while (__atomic_load_n(&users, __ATOMIC_SEQ_CST)) {
        g_usleep(50);
    }
    g_mutex_lock(&file->lock);
    file->quit = true;
    g_cond_signal(&file->work);
    g_mutex_unlock(&file->lock);
    g_thread_join(file->writer);
    file_free(file);
}
