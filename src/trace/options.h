/* What one -trace asks for. */
#ifndef TRACE_OPTIONS_H
#define TRACE_OPTIONS_H

#include "base/error.h"
#include "schema/trace.h"

/* Switch events on and open the binary file. After daemonizing; errors name what can't be read or
 * written. */
MUST_CHECK bool trace_configure(const TraceOptions *options, Error **errp);

#endif
