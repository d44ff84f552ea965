/* The monitor's commands for trace events. */
#include <glib.h>
#include <string.h>

#include "schema/trace.h"
#include "trace/control.h"

static bool is_pattern(const char *name)
{
    return strpbrk(name, "*?") != NULL;
}

bool qmp_trace_event_get_state(const TraceEventGetStateArgs *args, TraceEventInfoList *ret,
                               Error **errp)
{
    g_autoptr(GArray) found = g_array_new(false, false, sizeof(TraceEventInfo));
    const TraceEvent *event;
    for (size_t i = 0; (event = trace_event_at(i)); i++) {
        if (trace_event_matches(event, args->name)) {
            TraceEventInfo info = {
                .name = g_strdup(event->name),
                .state = trace_event_enabled(event) ? TRACE_EVENT_STATE_ENABLED
                                                    : TRACE_EVENT_STATE_DISABLED,
            };
            g_array_append_val(found, info);
        }
    }
    if (!found->len && !is_pattern(args->name)) {
        error_set(errp, "unknown event \"%s\"", args->name);
        return false;
    }
    ret->len = found->len;
    ret->items = (TraceEventInfo *)g_array_steal(found, NULL);
    return true;
}

bool qmp_trace_event_set_state(const TraceEventSetStateArgs *args, Error **errp)
{
    bool found = false;
    const TraceEvent *event;
    for (size_t i = 0; (event = trace_event_at(i)); i++) {
        if (trace_event_matches(event, args->name)) {
            trace_event_set_enabled(event, args->enable);
            found = true;
        }
    }
    if (!found && !is_pattern(args->name) &&
        !(args->has_ignore_unavailable && args->ignore_unavailable)) {
        error_set(errp, "unknown event \"%s\"", args->name);
        return false;
    }
    return true;
}
