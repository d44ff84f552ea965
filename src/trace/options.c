#include "trace/options.h"

#include "base/module.h"
#include "config/config.h"
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

static bool help_events(json_t *given, FILE *file)
{
    trace_print_names(file);
    return true;
}

static void register_help(void)
{
    static OptionHooks hooks = { .option = &option_trace, .help = help_events };
    option_hooks_append(&hooks);
}
MODULE_INIT(MODULE_OPTIONS, register_help)
