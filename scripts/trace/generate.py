#!/usr/bin/env python3
"""Turn trace-events files into C: one header a file, and one table for all.

    generate.py --backends LIST --output DIR --table NAME.c FILE...

docs/tracing.md describes the format; src/trace/event.h what the generated code stands on.
"""

import argparse
import dataclasses
import os
import pathlib
import re
import sys

# The type as declared: C type, TraceArgKind, printf conversion for decimal and for hexadecimal.
TYPES = {
    "bool": ("bool", "BOOL", '"%s"', None),
    "i8": ("int8_t", "SIGNED", '"%" PRId8', None),
    "i16": ("int16_t", "SIGNED", '"%" PRId16', None),
    "i32": ("int32_t", "SIGNED", '"%" PRId32', None),
    "i64": ("int64_t", "SIGNED", '"%" PRId64', None),
    "u8": ("uint8_t", "UNSIGNED", '"%" PRIu8', "PRIx8"),
    "u16": ("uint16_t", "UNSIGNED", '"%" PRIu16', "PRIx16"),
    "u32": ("uint32_t", "UNSIGNED", '"%" PRIu32', "PRIx32"),
    "u64": ("uint64_t", "UNSIGNED", '"%" PRIu64', "PRIx64"),
    "ptr": ("const void *", "POINTER", '"%p"', None),
    "str": ("const char *", "STRING", '"%s"', None),
}
MAX_ARGS = 10  # TRACE_MAX_ARGS

EVENT = re.compile(r'([a-z][a-z0-9_]*)\(([^)]*)\)\s+"([^"]*)"$')
ARG = re.compile(r"(\w+) ([a-z][a-z0-9_]*)$")
HOLE = re.compile(r"\{([a-z][a-z0-9_]*)(?::(0?\d*x))?\}")


class Wrong(Exception):
    """What a declaration got wrong; the message has its file and line."""


@dataclasses.dataclass
class Event:
    """One declaration."""

    where: str
    name: str
    args: list  # of (type, name)
    format: str
    help: str = ""

    def parameters(self):
        return ", ".join(join_type(TYPES[kind][0], name) for kind, name in self.args) or "void"

    def values(self):
        return ", ".join(name for _, name in self.args)


def join_type(c_type, name):
    return c_type + name if c_type.endswith("*") else c_type + " " + name


def parse_args(text, where):
    args = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        found = ARG.match(part)
        if not found or found[1] not in TYPES:
            raise Wrong("%s: expected 'TYPE NAME' with a type of %s, got '%s'"
                        % (where, " ".join(TYPES), part))
        if found[2] in [name for _, name in args]:
            raise Wrong("%s: two arguments are called '%s'" % (where, found[2]))
        args.append((found[1], found[2]))
    if len(args) > MAX_ARGS:
        raise Wrong("%s: at most %d arguments, got %d" % (where, MAX_ARGS, len(args)))
    return args


def check_format(event):
    kinds = {name: kind for kind, name in event.args}
    used = set()
    for name, spec in HOLE.findall(event.format):
        if name not in kinds:
            raise Wrong("%s: the format names '%s', which is no argument" % (event.where, name))
        if spec and not TYPES[kinds[name]][3]:
            raise Wrong("%s: '%s' is no unsigned number and can't be hexadecimal"
                        % (event.where, name))
        used.add(name)
    if re.search(r"[{}%\\]", HOLE.sub("", event.format)):
        raise Wrong("%s: braces, '%%' and '\\' can't stand alone in a format" % event.where)
    unused = sorted(set(kinds) - used)
    if unused:
        raise Wrong("%s: the format leaves out %s" % (event.where, ", ".join(unused)))


def parse(path):
    events = []
    for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
        where = "%s:%d" % (path, number)
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if line[0].isspace():
            if not events:
                raise Wrong("%s: a description without an event before it" % where)
            events[-1].help = (events[-1].help + " " + text).strip()
            continue
        found = EVENT.match(text)
        if not found:
            raise Wrong("%s: expected 'name(TYPE NAME, ...) \"format\"', got '%s'" % (where, text))
        events.append(Event(where, found[1], parse_args(found[2], where), found[3]))
        check_format(events[-1])
    for event in events:
        if not event.help:
            raise Wrong("%s: '%s' has no description below it" % (event.where, event.name))
    return events


def c_string(text):
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


def printf_format(event):
    """C expression of the format, and the arguments in the order it names them."""
    kinds = {name: kind for kind, name in event.args}
    pieces = []
    values = []
    at = 0
    for hole in HOLE.finditer(event.format):
        pieces.append(c_string(event.format[at : hole.start()]))
        at = hole.end()
        name, spec = hole[1], hole[2]
        kind = kinds[name]
        if spec:
            pieces.append('"0x%%%s" %s' % (spec[:-1], TYPES[kind][3]))
        else:
            pieces.append(TYPES[kind][2])
        if kind == "bool":
            name += ' ? "true" : "false"'
        elif kind == "str":
            name = '%s ? %s : "(null)"' % (name, name)
        values.append(name)
    pieces.append(c_string(event.format[at:]))
    return " ".join(p for p in pieces if p != '""') or '""', values


def header(folder, events, backends):
    guard = "TRACE_%s_EVENTS_H" % re.sub(r"\W", "_", folder.upper())
    out = ["/* Generated from %s/trace-events. */" % folder]
    out += ["#ifndef %s" % guard, "#define %s" % guard, "", '#include "trace/event.h"', ""]
    for event in events:
        state = "rhea_%s_semaphore" % event.name
        out += [
            "/* %s */" % event.help,
            "extern TraceState %s;" % state,
            "void trace_emit_%s(%s);" % (event.name, event.parameters()),
            "static inline bool trace_%s_enabled(void)" % event.name,
            "{",
            "    return trace_state_on(&%s);" % state,
            "}",
            "static inline void trace_%s(%s)" % (event.name, event.parameters()),
            "{",
            "    if (trace_%s_enabled()) {" % event.name,
            "        trace_emit_%s(%s);" % (event.name, event.values()),
            "    }",
            "}",
            "",
        ]
    return out + ["#endif", ""]


def emit_function(event, backends):
    out = ["void trace_emit_%s(%s)" % (event.name, event.parameters()), "{"]
    if "usdt" in backends:
        call = ["rhea", event.name] + [name for _, name in event.args]
        probe = "DTRACE_PROBE%s(%s)" % (len(event.args) or "", ", ".join(call))
        out += ["    %s;" % probe]
    out += ["    if (!rhea_%s_semaphore.enabled || !trace_enter()) {" % event.name,
            "        return;", "    }", "    int saved_errno_ = errno;"]
    text, values = printf_format(event)
    comma = "".join(", " + value for value in values)
    if "log" in backends:
        out += ['    log_printf("%s " %s "\\n"%s);' % (event.name, text, comma)]
    if "syslog" in backends:
        out += ['    syslog(LOG_INFO, "%s " %s%s);' % (event.name, text, comma)]
    if "simple" in backends:
        out += ["    if (__atomic_load_n(&trace_simple_active, __ATOMIC_ACQUIRE)) {"]
        rows = []
        for kind, name in event.args:
            if kind == "str":
                rows.append("{ .s = %s }" % name)
            elif kind == "ptr":
                rows.append("{ .u = (uintptr_t)%s }" % name)
            elif TYPES[kind][1] == "SIGNED":
                rows.append("{ .u = (uint64_t)(int64_t)%s }" % name)
            else:
                rows.append("{ .u = %s }" % name)
        if rows:
            out += ["        const TraceValue values_[] = { %s };" % ", ".join(rows)]
        out += ["        trace_simple_emit(&events_[EVENT_%s], %s);"
                % (event.name, "values_" if rows else "NULL"), "    }"]
    return out + ["    errno = saved_errno_;", "    trace_leave();", "}", ""]


def table(headers, events, backends, main):
    out = ["/* Generated from the trace-events files. */"]
    if "usdt" in backends:
        out += ["#define _SDT_HAS_SEMAPHORES 1"]
    out += ["#include <errno.h>", "#include <inttypes.h>"]
    out += ["#include <sys/sdt.h>"] if "usdt" in backends else []
    out += ["#include <syslog.h>"] if "syslog" in backends else []
    out += ["", '#include "base/log.h"', '#include "trace/control.h"',
            '#include "trace/simple.h"']
    out += ['#include "%s"' % h for h in headers] + [""]
    # Tracers find the semaphores by their section.
    place = '__attribute__((section(".probes"))) ' if "usdt" in backends else ""
    for event in events:
        out += ["%sTraceState rhea_%s_semaphore;" % (place, event.name)]
    out += [""]
    for event in events:
        if event.args:
            rows = ["{ %s, TRACE_ARG_%s }" % (c_string(name), TYPES[kind][1])
                    for kind, name in event.args]
            out += ["static const TraceArg args_%s[] = { %s };" % (event.name, ", ".join(rows))]
    out += ["", "enum {"] + ["    EVENT_%s," % e.name for e in events] + ["};", ""]
    out += ["static TraceEvent events_[] = {"]
    for event in events:
        out += [
            "    [EVENT_%s] = { .name = %s, .format = %s, .help = %s,"
            % (event.name, c_string(event.name), c_string(event.format), c_string(event.help)),
            "        .state = &rhea_%s_semaphore, .args = %s, .nargs = %d },"
            % (event.name, "args_" + event.name if event.args else "NULL", len(event.args)),
        ]
    out += ["};", ""]
    if main:
        out += ["const char trace_backends[] = %s;" % c_string(",".join(backends)), ""]
    for event in events:
        out += emit_function(event, backends)
    return out + [
        "static TraceTable table_ = { .events = events_, .count = %d };" % len(events),
        "",
        "static void CONSTRUCTOR append_events(void)",
        "{",
        "    trace_table_append(&table_);",
        "}",
        "",
    ]


def write_if_changed(path, lines):
    """What didn't change keeps its time, so that nothing is rebuilt for it."""
    text = "\n".join(lines)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def folder_of(path):
    """ "devices/virtio" for ".../src/devices/virtio/trace-events". """
    parts = pathlib.Path(os.path.abspath(path)).parent.parts
    roots = [at for at, part in enumerate(parts) if part in ("src", "tests")]
    if roots:
        return "/".join(parts[roots[-1] + 1 :])
    return parts[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backends", default="log")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--main", action="store_true", help="define what a program has once")
    parser.add_argument("--prefix", default="trace/", help="of generated headers in includes")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    backends = args.backends.split(",")

    everything = []
    headers = []
    try:
        for path in args.files:
            events = parse(path)
            name = folder_of(path).replace("/", "-") + "-events.h"
            write_if_changed(args.output / name, header(folder_of(path), events, backends))
            headers.append(args.prefix + name)
            everything += events
        known = {}
        for event in everything:
            if event.name in known:
                raise Wrong("%s: '%s' is declared in %s already"
                            % (event.where, event.name, known[event.name]))
            known[event.name] = event.where
    except (Wrong, OSError) as error:
        sys.exit("%s" % error)
    write_if_changed(args.output / args.table, table(headers, everything, backends, args.main))


if __name__ == "__main__":
    main()
