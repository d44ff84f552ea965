/* Trace points: switching, the back ends, what they cost when off. */
#include <glib.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/report.h"
#include "trace/control.h"
#include "trace/options.h"
#include "unit-events.h"

typedef struct Fixture {
    char *dir;
    char *log;
    char *binary;
} Fixture;

static void set_up(Fixture *f, const void *data)
{
    f->dir = g_dir_make_tmp("rhea-trace-XXXXXX", NULL);
    f->log = g_build_filename(f->dir, "log", NULL);
    f->binary = g_build_filename(f->dir, "binary", NULL);
    Error *err = NULL;
    g_assert_true(log_set_file(f->log, &err));
}

static void tear_down(Fixture *f, const void *data)
{
    trace_finish();
    log_finish();
    g_unlink(f->log);
    g_unlink(f->binary);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->dir);
    g_free(f->log);
    g_free(f->binary);
}

static char *contents(const char *path)
{
    char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

/* What the reader tool makes of the binary file. */
static char *read_back(Fixture *f, const char *option)
{
    g_autofree char *tool =
        g_build_filename(g_getenv("RHEA_SOURCE"), "tools/rhea-trace-read", NULL);
    const char *argv[] = { tool, f->binary, option, NULL };
    char *out = NULL;
    int status = -1;
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, NULL,
                               &status, NULL));
    g_assert_cmpint(status, ==, 0);
    return out;
}

static void collect_line(const char *line, void *opaque)
{
    g_string_append_printf(opaque, "%s\n", line);
}

static void test_log(Fixture *f, const void *data)
{
    trace_unit_none();
    g_assert_cmpuint(trace_pattern_apply("unit_*"), ==, 4);
    trace_unit_none();
    trace_unit_all(true, -5, INT64_MIN, 0xab, 0x123456789abcdef, (void *)0x10, NULL);
    g_assert_cmpuint(trace_pattern_apply("-unit_n*"), ==, 1);
    trace_unit_none();
    g_autofree char *text = contents(f->log);
    g_assert_cmpstr(text, ==,
                    "unit_none nothing to say\n"
                    "unit_all true -5 -9223372036854775808 0x00ab 0x123456789abcdef 0x10 (null)\n");
}

static void test_state(Fixture *f, const void *data)
{
    const TraceEvent *event = trace_event_find("unit_some");
    g_assert_nonnull(event);
    g_assert_null(trace_event_find("unit_som"));
    g_assert_cmpstr(event->help, ==, "Two arguments.");
    g_assert_false(trace_event_enabled(event));
    g_assert_false(trace_unit_some_enabled());
    trace_event_set_enabled(event, true);
    g_assert_true(trace_event_enabled(event));
    g_assert_true(trace_unit_some_enabled());
    g_assert_true(trace_event_matches(event, "unit_s?me"));
    g_assert_false(trace_event_matches(event, "unit_?"));
    trace_finish();
    g_assert_false(trace_event_enabled(event));
}

static void test_unknown_pattern(Fixture *f, const void *data)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    report_set_sink(collect_line, lines);
    g_assert_cmpuint(trace_pattern_apply("unit_nonne"), ==, 0);
    g_assert_cmpuint(trace_pattern_apply("-zzzzzzzzzzzz"), ==, 0);
    report_set_sink(NULL, NULL);
    g_assert_nonnull(strstr(lines->str, "trace event 'unit_nonne' does not exist; did you mean "
                                        "'unit_none'?\n"));
    g_assert_nonnull(strstr(lines->str, "trace event 'zzzzzzzzzzzz' does not exist"));
}

static void test_events_file(Fixture *f, const void *data)
{
    g_autofree char *path = g_build_filename(f->dir, "events", NULL);
    g_autoptr(GString) lines = g_string_new(NULL);
    Error *err = NULL;
    g_assert_false(trace_patterns_load(path, &err));
    g_assert_nonnull(strstr(error_message(err), path));
    error_free(err);
    err = NULL;

    g_assert_true(
        g_file_set_contents(path, "# some\n\n  unit_* \n-unit_all\nnone_such\n", -1, NULL));
    report_set_sink(collect_line, lines);
    g_assert_true(trace_patterns_load(path, &err));
    report_set_sink(NULL, NULL);
    g_assert_true(trace_unit_none_enabled());
    g_assert_false(trace_unit_all_enabled());
    g_assert_nonnull(strstr(lines->str, "'none_such' does not exist"));

    g_assert_true(g_file_set_contents(path, "unit_all\nunit_none on\n", -1, NULL));
    g_assert_false(trace_patterns_load(path, &err));
    g_autofree char *place = g_strconcat(path, ":2: expected one pattern", NULL);
    g_assert_true(g_str_has_prefix(error_message(err), place));
    error_free(err);
    g_unlink(path);
}

static void test_several_backends(Fixture *f, const void *data)
{
    g_assert_nonnull(strstr(trace_backends, "log"));
    g_assert_nonnull(strstr(trace_backends, "simple"));
    Error *err = NULL;
    trace_pattern_apply("unit_*");
    g_assert_true(trace_file_open(f->binary, &err));
    g_assert_true(trace_file_is_open());
    trace_unit_some(7, "seven");
    trace_unit_all(false, -128, -1, 0xffff, UINT64_MAX, NULL, "end");
    trace_file_flush();
    g_autofree char *early = read_back(f, NULL);
    g_assert_nonnull(strstr(early, " unit_some number 7 and 'seven'\n"));
    g_assert_nonnull(strstr(early, " unit_all false -128 -1 0xffff 0xffffffffffffffff 0x0 end\n"));
    trace_file_close();
    g_assert_false(trace_file_is_open());
    trace_unit_some(8, "eight");

    g_autofree char *json = read_back(f, "--json");
    g_assert_nonnull(strstr(json, "\"args\": {\"number\": 7, \"text\": \"seven\"}"));
    g_assert_null(strstr(json, "eight"));
    g_autofree char *log = contents(f->log);
    g_assert_nonnull(strstr(log, "unit_some number 7 and 'seven'\n"));
    g_assert_nonnull(strstr(log, "unit_some number 8 and 'eight'\n"));
}

static void test_file_errors(Fixture *f, const void *data)
{
    Error *err = NULL;
    g_assert_false(trace_file_open("/nonexistent/trace", &err));
    g_assert_nonnull(strstr(error_message(err), "/nonexistent/trace"));
    error_free(err);
    err = NULL;
    g_assert_false(trace_file_is_open());
    trace_file_flush();
    trace_file_close();
    /* opened twice: the first one is complete */
    trace_pattern_apply("unit_some");
    g_assert_true(trace_file_open(f->binary, &err));
    trace_unit_some(1, "first");
    g_autofree char *second = g_build_filename(f->dir, "second-%d", NULL);
    g_assert_true(trace_file_open(second, &err));
    trace_file_close();
    g_autofree char *first = read_back(f, NULL);
    g_assert_nonnull(strstr(first, "first"));
    g_autofree char *expanded = g_strdup_printf("%s/second-%d", f->dir, (int)getpid());
    g_assert_cmpint(g_unlink(expanded), ==, 0);
}

/* What -trace says, and what a monitor client asks and sets. */
static void test_options_and_commands(Fixture *f, const void *data)
{
    g_autofree char *path = g_build_filename(f->dir, "events", NULL);
    g_assert_true(g_file_set_contents(path, "unit_some\n", -1, NULL));
    TraceOptions options = { .enable = (char *)"unit_n*", .events = path, .file = f->binary };
    Error *err = NULL;
    g_assert_true(trace_configure(&options, &err));
    g_assert_true(trace_unit_none_enabled());
    g_assert_true(trace_unit_some_enabled());
    g_assert_false(trace_unit_all_enabled());
    g_assert_true(trace_file_is_open());
    g_unlink(path);
    g_assert_false(trace_configure(&options, &err));
    g_assert_nonnull(strstr(error_message(err), path));
    error_free(err);
    err = NULL;

    TraceEventInfoList list = { 0 };
    TraceEventGetStateArgs get = { .name = (char *)"unit_*" };
    g_assert_true(qmp_trace_event_get_state(&get, &list, &err));
    g_assert_cmpuint(list.len, ==, 4);
    for (size_t i = 0; i < list.len; i++) {
        bool on =
            !strcmp(list.items[i].name, "unit_none") || !strcmp(list.items[i].name, "unit_some");
        g_assert_cmpint(list.items[i].state, ==,
                        on ? TRACE_EVENT_STATE_ENABLED : TRACE_EVENT_STATE_DISABLED);
    }
    value_release(&value_type_trace_event_info_list, &list);

    TraceEventSetStateArgs set = { .name = (char *)"unit_s*", .enable = false };
    g_assert_true(qmp_trace_event_set_state(&set, &err));
    g_assert_false(trace_unit_some_enabled());
    set.name = get.name = (char *)"unit_nope";
    g_assert_false(qmp_trace_event_set_state(&set, &err));
    g_assert_cmpstr(error_message(err), ==, "unknown event \"unit_nope\"");
    error_free(err);
    err = NULL;
    g_assert_false(qmp_trace_event_get_state(&get, &list, &err));
    error_free(err);
    err = NULL;
    set.has_ignore_unavailable = set.ignore_unavailable = true;
    g_assert_true(qmp_trace_event_set_state(&set, &err));
    get.name = (char *)"nope*";
    g_assert_true(qmp_trace_event_get_state(&get, &list, &err));
    g_assert_cmpuint(list.len, ==, 0);
    value_release(&value_type_trace_event_info_list, &list);
}

#define THREADS    4
#define PER_THREAD 20000

static void *trace_much(void *opaque)
{
    for (unsigned i = 0; i < PER_THREAD; i++) {
        trace_unit_some(i, opaque);
    }
    return NULL;
}

/* All threads at once, while files are opened and closed: every event is in the file or counted. */
static void test_threads(Fixture *f, const void *data)
{
    Error *err = NULL;
    g_assert_true(log_set_file("/dev/null", &err));
    trace_pattern_apply("unit_some");
    GThread *threads[THREADS];
    g_assert_true(trace_file_open(f->binary, &err));
    for (int i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new(NULL, trace_much, (void *)"text");
    }
    trace_file_flush();
    g_assert_true(trace_file_open(f->binary, &err));
    for (int i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
    }
    trace_unit_some(4711, "last");
    trace_file_close();
    g_autofree char *counts = read_back(f, "--counts");
    g_assert_nonnull(strstr(counts, " unit_some\n"));
    uint64_t seen = g_ascii_strtoull(g_strchug(counts), NULL, 10);
    g_assert_cmpuint(seen, <=, THREADS * PER_THREAD + 1);
    g_assert_cmpuint(seen, >=, 1);
}

static void trace_in_handler(int sig)
{
    trace_unit_none();
}

/* A signal handler that traces over and over does not lock up its own thread. */
static void test_signal_handler(Fixture *f, const void *data)
{
    Error *err = NULL;
    trace_pattern_apply("unit_*");
    g_assert_true(log_set_file("/dev/null", &err));
    g_assert_true(trace_file_open(f->binary, &err));
    signal(SIGALRM, trace_in_handler);
    ualarm(200, 200);
    for (unsigned i = 0; i < 200000; i++) {
        trace_unit_some(i, "text");
    }
    ualarm(0, 0);
    signal(SIGALRM, SIG_DFL);
    trace_file_close();
}

#define CALLS  20000000
#define ROUNDS 5
/* A load and a branch take a few hundred ps, on a crowded machine some times that; an event that is
 * on takes a hundred times that. */
#define LIMIT_PS 8000

static int64_t thread_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

/* One predictable branch when off. */
static void test_cost_when_off(Fixture *f, const void *data)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    g_test_skip("a sanitizer makes loads costly");
    return;
#endif
    int64_t best = INT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = thread_us();
        for (unsigned i = 0; i < CALLS; i++) {
            trace_unit_some(i, "text");
            __asm__ volatile("" ::: "memory");
        }
        best = MIN(best, thread_us() - start);
    }
    int64_t ps = best * 1000000 / CALLS;
    g_test_message("%" PRId64 " ps a call", ps);
    g_assert_cmpint(ps, <, LIMIT_PS);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/trace/" name, Fixture, NULL, set_up, fn, tear_down)
    ADD("log", test_log);
    ADD("state", test_state);
    ADD("unknown-pattern", test_unknown_pattern);
    ADD("events-file", test_events_file);
    ADD("several-backends", test_several_backends);
    ADD("file-errors", test_file_errors);
    ADD("options-and-commands", test_options_and_commands);
    ADD("threads", test_threads);
    ADD("signal-handler", test_signal_handler);
    ADD("cost-when-off", test_cost_when_off);
    return g_test_run();
}
