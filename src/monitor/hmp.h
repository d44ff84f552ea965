/*
 * The human monitor's commands as data: a row says name, arguments, help, and what runs it. Most
 * rows only name the QMP command they stand for.
 */
#ifndef MONITOR_HMP_H
#define MONITOR_HMP_H

#include <glib.h>
#include <jansson.h>

#include "base/compiler.h"
#include "base/error.h"
#include "monitor/monitor.h"

/* One command being run. */
typedef struct HmpCall {
    Monitor *mon;  /* NULL: human-monitor-command */
    int cpu_index; /* the CPU it is about */
    GString *out;  /* what it prints */
    json_t *args;  /* by name; absent ones are missing */
} HmpCall;

typedef struct HmpCommand {
    const char *name; /* "quit|q": the name and its short forms */
    /*
     * Arguments: "name:type" separated by commas; a name that ends in '?' may be left out.
     *   s  word, or text in double quotes     S  the rest of the line
     *   i  integer expression                 o  size with suffix (bare: MiB)
     *   b  on or off                          -x a flag written "-x", true when given
     *   O  key=value,… as on the command line (alone; becomes all arguments)
     */
    const char *args;
    const char *params; /* for people: "[-f] device [name]" */
    const char *help;
    const char *qmp; /* the QMP command it stands for; hidden where there is none */
    /* Instead of, or (with qmp set and args of its own making) before, the QMP command. */
    bool (*run)(HmpCall *call, Error **errp);
    /* Print what the QMP command returned; NULL: in general form. */
    void (*print)(HmpCall *call, json_t *ret);
    /* Candidates for argument `index` (0: the first), all of them. */
    void (*complete)(unsigned index, GPtrArray *candidates);
    const struct HmpCommand
        *sub; /* rows of which the first word selects one; ends with NULL name */
} HmpCommand;

extern const HmpCommand hmp_commands[], hmp_info_commands[];

/* Run a line; what it prints, errors included, is appended to out. */
void hmp_run_line(Monitor *mon, int cpu_index, const char *line, GString *out);
/* Add what may come next, as readline.h describes. */
void hmp_complete_line(const char *text, GPtrArray *candidates, size_t *word_start);

/* The rows (name NULL: all), or the rows below one, with their help. */
void hmp_help(const char *name, GString *out);

/* Run a QMP command by name (args borrowed, NULL for none): new reference, or NULL with an error.
 * One that answers later gives an empty object; its failure is printed when it comes. */
json_t *hmp_qmp(HmpCall *call, const char *name, json_t *args, Error **errp);
bool hmp_row_available(const HmpCommand *row);
bool hmp_row_is(const HmpCommand *row, const char *name, size_t len);

/* Any JSON value, for people. */
void hmp_print_json(GString *out, json_t *value, int indent);

/* Arguments of a call. */
const char *hmp_str(const HmpCall *call, const char *name); /* NULL: absent */
int64_t hmp_int(const HmpCall *call, const char *name, int64_t absent);
bool hmp_flag(const HmpCall *call, const char *name);

/* An integer expression: numbers, + - * / % & | ^ ~ ( ) << >>. *end is set behind it. */
MUST_CHECK bool hmp_expression(const char *text, const char **end, int64_t *value, Error **errp);

#endif
