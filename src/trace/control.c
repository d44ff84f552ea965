#include "trace/control.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "base/report.h"
#include "base/text.h"

/* This thread is inside an event: a signal handler that traces meanwhile must not wait for locks.
 */
static __thread bool inside;

/* Appended before main() and while a shared module is opened; afterwards only read. */
static TraceTable *tables;
static TraceTable **tables_end = &tables;
static uint32_t next_id = 1;

void trace_table_append(TraceTable *table)
{
    for (size_t i = 0; i < table->count; i++) {
        table->events[i].id = next_id++;
    }
    table->next = NULL;
    *tables_end = table;
    tables_end = &table->next;
}

bool trace_enter(void)
{
    if (inside) {
        return false;
    }
    inside = true;
    return true;
}

void trace_leave(void)
{
    inside = false;
}

const TraceEvent *trace_event_at(size_t index)
{
    for (const TraceTable *table = tables; table; table = table->next) {
        if (index < table->count) {
            return &table->events[index];
        }
        index -= table->count;
    }
    return NULL;
}

const TraceEvent *trace_event_find(const char *name)
{
    const TraceEvent *event;
    for (size_t i = 0; (event = trace_event_at(i)); i++) {
        if (!strcmp(event->name, name)) {
            return event;
        }
    }
    return NULL;
}

bool trace_event_enabled(const TraceEvent *event)
{
    return __atomic_load_n(&event->state->enabled, __ATOMIC_RELAXED);
}

void trace_event_set_enabled(const TraceEvent *event, bool enabled)
{
    __atomic_store_n(&event->state->enabled, enabled, __ATOMIC_RELAXED);
}

bool trace_event_matches(const TraceEvent *event, const char *pattern)
{
    return g_pattern_match_simple(pattern, event->name);
}

static const char *next_name(void *opaque)
{
    size_t *index = opaque;
    const TraceEvent *event = trace_event_at((*index)++);
    return event ? event->name : NULL;
}

static void warn_unknown(const char *pattern)
{
    size_t index = 0;
    const char *near = text_nearest(pattern, next_name, &index);
    if (near) {
        report_warning("trace event '%s' does not exist; did you mean '%s'?", pattern, near);
    } else {
        report_warning("trace event '%s' does not exist; '-trace help' lists the events", pattern);
    }
}

size_t trace_pattern_apply(const char *pattern)
{
    bool enable = pattern[0] != '-';
    if (!enable) {
        pattern++;
    }
    size_t matched = 0;
    const TraceEvent *event;
    for (size_t i = 0; (event = trace_event_at(i)); i++) {
        if (trace_event_matches(event, pattern)) {
            trace_event_set_enabled(event, enable);
            matched++;
        }
    }
    if (!matched) {
        warn_unknown(pattern);
    }
    return matched;
}

bool trace_patterns_load(const char *path, Error **errp)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        error_set_errno(errp, errno, "cannot open trace events file '%s'", path);
        return false;
    }
    char *line = NULL;
    size_t room = 0;
    bool ok = true;
    for (int number = 1; getline(&line, &room, file) >= 0; number++) {
        char *text = g_strstrip(line);
        if (!text[0] || text[0] == '#') {
            continue;
        }
        if (strpbrk(text, " \t")) {
            error_set(errp, "%s:%d: expected one pattern, got '%s'", path, number, text);
            ok = false;
            break;
        }
        Location where;
        location_push_file(&where, path, number);
        trace_pattern_apply(text);
        location_pop(&where);
    }
    if (ok && ferror(file)) {
        error_set_errno(errp, errno, "cannot read trace events file '%s'", path);
        ok = false;
    }
    free(line);
    fclose(file);
    return ok;
}

void trace_print_names(FILE *stream)
{
    const TraceEvent *event;
    for (size_t i = 0; (event = trace_event_at(i)); i++) {
        fprintf(stream, "%s\n", event->name);
    }
}

void trace_finish(void)
{
    const TraceEvent *event;
    for (size_t i = 0; (event = trace_event_at(i)); i++) {
        trace_event_set_enabled(event, false);
    }
    trace_file_close();
}
