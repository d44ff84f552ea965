#include "trace/options.h"

#include "trace/control.h"

bool trace_configure(const TraceOptions *options, Error **errp)
{
    if (options->enable) {
        trace_pattern_apply(options->enable);
    }
    if (options->events && !trace_patterns_load(options->events, errp)) {
        return false;
    }
    return !options->file || trace_file_open(options->file, errp);
}
