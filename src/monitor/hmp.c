/* Running, helping with, and completing human monitor commands. */
#include "monitor/hmp.h"

#include <string.h>

#include "base/report.h"
#include "base/text.h"
#include "config/keyval.h"
#include "monitor/hmp-args.h"
#include "monitor/monitor-internal.h"
#include "trace/monitor-events.h"

/* --- Rows --- */

bool hmp_row_is(const HmpCommand *row, const char *name, size_t len)
{
    for (const char *at = row->name; *at;) {
        size_t n = strcspn(at, "|");
        if (n == len && strncmp(at, name, len) == 0) {
            return true;
        }
        at += n + (at[n] == '|');
    }
    return false;
}

bool hmp_row_available(const HmpCommand *row)
{
    return !row->qmp || qmp_command_find(row->qmp);
}

static const HmpCommand *find_row(const HmpCommand *table, const char *name, size_t len)
{
    for (const HmpCommand *row = table; row->name; row++) {
        if (hmp_row_is(row, name, len) && hmp_row_available(row)) {
            return row;
        }
    }
    return NULL;
}

typedef struct NameWalk {
    GPtrArray *names;
    unsigned at;
} NameWalk;

static const char *walk_names(void *opaque)
{
    NameWalk *walk = opaque;
    return walk->at < walk->names->len ? walk->names->pdata[walk->at++] : NULL;
}

static void add_names(const HmpCommand *table, const char *prefix, GPtrArray *candidates)
{
    for (const HmpCommand *row = table; row->name; row++) {
        if (hmp_row_available(row) && g_str_has_prefix(row->name, prefix)) {
            g_ptr_array_add(candidates, g_strndup(row->name, strcspn(row->name, "|")));
        }
    }
}

static void set_unknown(const HmpCommand *table, const char *kind, const char *word, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    add_names(table, "", names);
    NameWalk walk = { names, 0 };
    const char *near = text_nearest(word, walk_names, &walk);
    if (near) {
        error_set(errp, "unknown %s: '%s'; did you mean '%s'?", kind, word, near);
    } else {
        error_set(errp, "unknown %s: '%s'; 'help' lists them", kind, word);
    }
}

/* --- QMP behind a command --- */

typedef struct LateReply {
    QmpReply reply;
    Monitor *mon; /* reference; NULL: nobody listens */
    unsigned generation;
    bool returned; /* the command is over for the caller */
    json_t *ret;
    Error *err;
} LateReply;

static void late_done(QmpReply *reply, json_t *ret, Error *err)
{
    LateReply *late = CONTAINER_OF(reply, LateReply, reply);
    if (!late->returned) {
        late->ret = ret;
        late->err = err;
        return;
    }
    if (err && late->mon) {
        g_autofree char *text = g_strdup_printf("\r\nError: %s\r\n", error_message(err));
        monitor_write(late->mon, late->generation, text, strlen(text));
    }
    json_decref(ret);
    error_free(err);
    if (late->mon) {
        monitor_unref(late->mon);
    }
    g_free(late);
}

static json_t *start_deferred(HmpCall *call, const QmpCommand *command, json_t *args, Error **errp)
{
    LateReply *late = g_new0(LateReply, 1);
    late->reply.done = late_done;
    if (call->mon && call->mon->mode == MONITOR_MODE_READLINE) {
        late->mon = monitor_ref(call->mon);
        late->generation = call->mon->generation;
    }
    bool ok = qmp_command_start(command, call->mon, args, &late->reply, errp);
    json_t *ret = late->ret;
    if (ok && !late->ret && !late->err) {
        late->returned = true;
        return json_object();
    }
    if (late->err) {
        error_propagate(errp, late->err);
    }
    if (late->mon) {
        monitor_unref(late->mon);
    }
    g_free(late);
    return ret;
}

json_t *hmp_qmp(HmpCall *call, const char *name, json_t *args, Error **errp)
{
    const QmpCommand *command = qmp_command_find(name);
    if (!command) {
        error_set(errp, "'%s' is not available", name);
        return NULL;
    }
    if (!monitor_command_allowed(command, errp)) {
        return NULL;
    }
    if (command->flags & QMP_COMMAND_DEFERRED) {
        return start_deferred(call, command, args, errp);
    }
    return qmp_command_run(command, call->mon, args, errp);
}

/* "key=value,…" into the typed arguments of the row's QMP command. */
static json_t *typed_options(const HmpCommand *row, json_t *args, Error **errp)
{
    const ValueType *type = qmp_command_find(row->qmp)->args;
    const char *text = json_string_value(json_object_iter_value(json_object_iter(args)));
    bool help = false;
    json_t *json = keyval_parse(text, type, &help, errp);
    if (!json) {
        return NULL;
    }
    void *room = g_malloc0(type->size);
    json_t *typed = NULL;
    if (value_parse(type, room, json, VALUE_MODE_TEXT, errp)) {
        typed = value_print(type, room);
        value_release(type, room);
    }
    g_free(room);
    json_decref(json);
    return typed;
}

static bool run_row(HmpCall *call, const HmpCommand *row, Error **errp)
{
    if (row->run) {
        return row->run(call, errp);
    }
    json_t *args =
        hmp_row_takes_options(row) ? typed_options(row, call->args, errp) : json_incref(call->args);
    json_t *ret = args ? hmp_qmp(call, row->qmp, args, errp) : NULL;
    json_decref(args);
    if (!ret) {
        return false;
    }
    if (row->print) {
        row->print(call, ret);
    } else {
        hmp_print_json(call->out, ret, 0);
    }
    json_decref(ret);
    return true;
}

/* --- Lines --- */

static void sink_to_output(const char *line, void *opaque)
{
    g_string_append_printf(opaque, "%s\n", line);
}

/* The row that a line names, and where its arguments begin. */
static const HmpCommand *resolve(const char *line, const char **rest, Error **errp)
{
    const HmpCommand *table = hmp_commands, *row = NULL;
    const char *kind = "command";
    while (table) {
        while (*line == ' ') {
            line++;
        }
        /* "x/4xw": the format belongs to the arguments */
        size_t n = strcspn(line, table == hmp_commands ? " /" : " ");
        if (!n) {
            if (row) {
                break; /* "info" alone */
            }
            n = strcspn(line, " ");
        }
        g_autofree char *word = g_strndup(line, n);
        row = find_row(table, line, n);
        if (!row) {
            set_unknown(table, kind, word, errp);
            return NULL;
        }
        line += n;
        table = row->sub;
        kind = "subcommand";
    }
    *rest = line;
    return row;
}

void hmp_run_line(Monitor *mon, int cpu_index, const char *line, GString *out)
{
    while (*line == ' ') {
        line++;
    }
    if (!*line || *line == '#') {
        return;
    }
    trace_monitor_line(line);
    Error *err = NULL;
    const char *rest = NULL;
    HmpCall call = { .mon = mon, .cpu_index = cpu_index, .out = out };
    report_set_sink(sink_to_output, out);
    const HmpCommand *row = resolve(line, &rest, &err);
    if (row && row->sub && !row->run) {
        hmp_help(row->name, out);
    } else if (row) {
        call.args = hmp_parse_args(row, rest, &err);
        if (!call.args) {
            error_add_hint(&err, "usage: %.*s %s", (int)strcspn(row->name, "|"), row->name,
                           row->params ? row->params : "");
        } else if (run_row(&call, row, &err)) {
            assert(!err);
        }
        json_decref(call.args);
    }
    report_set_sink(NULL, NULL);
    if (err) {
        g_string_append_printf(out, "Error: %s\n", error_message(err));
        if (error_hint(err)) {
            g_string_append_printf(out, "%s\n", error_hint(err));
        }
        error_free(err);
    }
}

char *monitor_run_hmp(const char *line)
{
    GString *out = g_string_new(NULL);
    hmp_run_line(NULL, 0, line, out);
    return g_string_free(out, FALSE);
}

bool qmp_human_monitor_command(Monitor *mon, const HumanMonitorCommandArgs *args, char **ret,
                               Error **errp)
{
    GString *out = g_string_new(NULL);
    hmp_run_line(mon, args->has_cpu_index ? (int)args->cpu_index : 0, args->command_line, out);
    /* Lines end as on a terminal: clients have always seen it so. */
    GString *text = g_string_new(NULL);
    for (const char *at = out->str; *at; at++) {
        g_string_append(text, *at == '\n' ? "\r\n" : (char[]){ *at, 0 });
    }
    *ret = g_utf8_make_valid(text->str, text->len);
    g_string_free(text, TRUE);
    g_string_free(out, TRUE);
    return true;
}

/* --- Help and completion --- */

static void help_row(const HmpCommand *row, const char *prefix, GString *out)
{
    g_string_append_printf(out, "%s%s%s%s -- %s\n", prefix, row->name, row->params ? " " : "",
                           row->params ? row->params : "", row->help);
}

void hmp_help(const char *name, GString *out)
{
    for (const HmpCommand *row = hmp_commands; row->name; row++) {
        if (!hmp_row_available(row) || (name && !hmp_row_is(row, name, strcspn(name, "|")))) {
            continue;
        }
        if (name && row->sub) {
            g_autofree char *prefix =
                g_strdup_printf("%.*s ", (int)strcspn(row->name, "|"), row->name);
            for (const HmpCommand *sub = row->sub; sub->name; sub++) {
                if (hmp_row_available(sub)) {
                    help_row(sub, prefix, out);
                }
            }
        } else {
            help_row(row, "", out);
        }
    }
}

void hmp_complete_line(const char *text, GPtrArray *candidates, size_t *word_start)
{
    const HmpCommand *table = hmp_commands;
    const char *at = text;
    while (*at == ' ') {
        at++;
    }
    for (;;) {
        size_t n = strcspn(at, " ");
        if (!at[n]) {
            *word_start = at - text;
            add_names(table, at, candidates);
            return;
        }
        const HmpCommand *row = find_row(table, at, n);
        if (!row) {
            return;
        }
        at += n;
        while (*at == ' ') {
            at++;
        }
        if (row->sub) {
            table = row->sub;
            continue;
        }
        unsigned index = 0;
        for (const char *space; (space = strchr(at, ' ')); index++) {
            at = space + 1;
        }
        if (row->complete) {
            g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);
            row->complete(index, all);
            for (unsigned i = 0; i < all->len; i++) {
                if (g_str_has_prefix(all->pdata[i], at)) {
                    g_ptr_array_add(candidates, g_strdup(all->pdata[i]));
                }
            }
            *word_start = at - text;
        }
        return;
    }
}

/* --- Arguments --- */

const char *hmp_str(const HmpCall *call, const char *name)
{
    return json_string_value(json_object_get(call->args, name));
}

int64_t hmp_int(const HmpCall *call, const char *name, int64_t absent)
{
    json_t *value = json_object_get(call->args, name);
    return value ? json_integer_value(value) : absent;
}

bool hmp_flag(const HmpCall *call, const char *name)
{
    return json_is_true(json_object_get(call->args, name));
}
