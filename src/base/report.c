#include "base/report.h"

#include <glib.h>
#include <string.h>

/* Process-wide presentation of messages, set once by start-up (-msg, -name) and read by any thread.
 */
static const char *report_program;
static bool report_timestamp;
static char *report_guest_name;

static __thread Location *location_top;
static __thread ReportSink *report_sink;
static __thread void *report_sink_opaque;

void location_push_option(Location *loc, const char *option, const char *argument)
{
    *loc = (Location){
        .outer = location_top, .kind = LOCATION_OPTION, .option = option, .argument = argument
    };
    location_top = loc;
}

void location_push_file(Location *loc, const char *file, int line)
{
    *loc = (Location){ .outer = location_top, .kind = LOCATION_FILE, .file = file, .line = line };
    location_top = loc;
}

void location_pop(Location *loc)
{
    assert(location_top == loc);
    location_top = loc->outer;
}

void report_set_program(const char *name)
{
    report_program = name;
}

void report_set_timestamp(bool on)
{
    report_timestamp = on;
}

void report_set_guest_name(const char *name)
{
    g_free(report_guest_name);
    report_guest_name = g_strdup(name);
}

void report_set_sink(ReportSink *sink, void *opaque)
{
    report_sink = sink;
    report_sink_opaque = opaque;
}

static void report_append_prefix(GString *line)
{
    if (report_timestamp) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *text = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
        g_string_append_printf(line, "%s.%06dZ ", text, g_date_time_get_microsecond(now));
    }
    if (report_guest_name) {
        g_string_append_printf(line, "%s ", report_guest_name);
    }
    if (report_program) {
        g_string_append_printf(line, "%s: ", report_program);
    }
    const Location *loc = location_top;
    if (!loc) {
        return;
    }
    if (loc->kind == LOCATION_FILE) {
        g_string_append_printf(line, "%s:%d: ", loc->file, loc->line);
    } else if (loc->argument) {
        g_string_append_printf(line, "%s %s: ", loc->option, loc->argument);
    } else {
        g_string_append_printf(line, "%s: ", loc->option);
    }
}

static void report_line(const char *severity, const char *text)
{
    g_autoptr(GString) line = g_string_new(NULL);
    if (!report_sink) {
        report_append_prefix(line);
    }
    g_string_append(line, severity);
    g_string_append(line, text);
    if (report_sink) {
        report_sink(line->str, report_sink_opaque);
    } else {
        g_string_append_c(line, '\n');
        fputs(line->str, stderr);
        fflush(stderr);
    }
}

static void PRINTF_LIKE(2, 0) report_v(const char *severity, const char *fmt, va_list ap)
{
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    report_line(severity, text);
}

#define REPORT_FUNCTION(name, severity) \
    void name(const char *fmt, ...)     \
    {                                   \
        va_list ap;                     \
        va_start(ap, fmt);              \
        report_v(severity, fmt, ap);    \
        va_end(ap);                     \
    }
REPORT_FUNCTION(report_error, "")
REPORT_FUNCTION(report_warning, "warning: ")
REPORT_FUNCTION(report_info, "info: ")

static void report_and_free(const char *severity, Error *err)
{
    report_line(severity, error_message(err));
    const char *hint = error_hint(err);
    if (hint) {
        if (report_sink) {
            report_sink(hint, report_sink_opaque);
        } else {
            fprintf(stderr, "%s\n", hint);
        }
    }
    error_free(err);
}

void error_report_and_free(Error *err)
{
    report_and_free("", err);
}

void error_warn_and_free(Error *err)
{
    report_and_free("warning: ", err);
}
