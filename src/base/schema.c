#include "base/schema.h"

#include <string.h>

#include <glib.h>

#include "base/text.h"

/* File-scope state: the registry, filled before main() and constant from then on, and the sink,
 * because events come from layers that know no monitor. */
static SchemaModule *modules;
static QmpEventSink *event_sink;
static void *event_sink_opaque;

void schema_append(SchemaModule *module)
{
    module->next = modules;
    modules = module;
}

void schema_type_foreach(SchemaTypeVisitor *visit, void *opaque)
{
    for (const SchemaModule *m = modules; m; m = m->next) {
        for (const ValueType *const *t = m->types; *t; t++) {
            visit(*t, opaque);
        }
    }
}

/* --- Commands --- */

const QmpCommand *qmp_command_find(const char *name)
{
    for (const SchemaModule *m = modules; m; m = m->next) {
        for (const QmpCommand *c = m->commands; c->name; c++) {
            if (g_str_equal(c->name, name)) {
                return c;
            }
        }
    }
    return NULL;
}

static int compare_commands(const void *a, const void *b)
{
    return strcmp((*(const QmpCommand *const *)a)->name, (*(const QmpCommand *const *)b)->name);
}

static GPtrArray *sorted_commands(void)
{
    GPtrArray *all = g_ptr_array_new();

    for (const SchemaModule *m = modules; m; m = m->next) {
        for (const QmpCommand *c = m->commands; c->name; c++) {
            g_ptr_array_add(all, (void *)c);
        }
    }
    g_ptr_array_sort(all, compare_commands);
    return all;
}

void qmp_command_foreach(QmpCommandVisitor *visit, void *opaque)
{
    g_autoptr(GPtrArray) all = sorted_commands();

    for (guint i = 0; i < all->len; i++) {
        visit(all->pdata[i], opaque);
    }
}

/* Candidates for text_nearest() out of an array of things whose first member is their name. */
typedef struct NameCursor {
    GPtrArray *all;
    guint next;
} NameCursor;

static const char *next_name(void *opaque)
{
    NameCursor *c = opaque;

    return c->next < c->all->len ? *(const char **)c->all->pdata[c->next++] : NULL;
}

const char *qmp_command_nearest(const char *name)
{
    g_autoptr(GPtrArray) all = sorted_commands();
    NameCursor cursor = { .all = all };

    return text_nearest(name, next_name, &cursor);
}

/* The arguments as the command's record: zeroed memory that free_args() takes. */
static bool parse_args(const QmpCommand *command, json_t *arguments, void **args, Error **errp)
{
    static const Field none[] = { {} };
    static const ValueType empty = { .kind = VALUE_RECORD,
                                     .name = "command",
                                     .record.fields = none };
    const ValueType *type = command->args ? command->args : &empty;
    json_t *json = arguments ? json_incref(arguments) : json_object();
    void *room = g_malloc0(type->size + 1);
    bool ok = qmp_policy_check(command, json, errp) &&
              value_parse(type, room, json, VALUE_MODE_TYPED, errp);

    json_decref(json);
    if (!ok) {
        g_free(room);
        return false;
    }
    *args = room;
    return true;
}

static void free_args(const QmpCommand *command, void *args)
{
    if (command->args) {
        value_release(command->args, args);
    }
    g_free(args);
}

json_t *qmp_command_run(const QmpCommand *command, struct Monitor *monitor, json_t *arguments,
                        Error **errp)
{
    void *args;
    json_t *json = NULL;

    g_assert(!(command->flags & QMP_COMMAND_DEFERRED));
    if (!parse_args(command, arguments, &args, errp)) {
        return NULL;
    }
    void *ret = g_malloc0((command->ret ? command->ret->size : 0) + 1);
    if (command->run(monitor, args, ret, errp)) {
        json = command->ret ? qmp_policy_hide(command->ret, value_print(command->ret, ret))
                            : json_object();
    }
    if (command->ret) {
        value_release(command->ret, ret);
    }
    g_free(ret);
    free_args(command, args);
    return json;
}

bool qmp_command_start(const QmpCommand *command, struct Monitor *monitor, json_t *arguments,
                       QmpReply *reply, Error **errp)
{
    void *args;

    g_assert(command->flags & QMP_COMMAND_DEFERRED);
    if (!parse_args(command, arguments, &args, errp)) {
        return false;
    }
    bool ok = command->run(monitor, args, reply, errp);
    free_args(command, args);
    return ok;
}

void qmp_reply_fail(QmpReply *reply, Error *err)
{
    reply->done(reply, NULL, err);
}

void qmp_reply_value(QmpReply *reply, const ValueType *type, const void *ret)
{
    reply->done(reply, type ? qmp_policy_hide(type, value_print(type, ret)) : json_object(), NULL);
}

/* --- Events --- */

static int compare_events(const void *a, const void *b)
{
    return strcmp((*(const QmpEvent *const *)a)->name, (*(const QmpEvent *const *)b)->name);
}

void qmp_event_foreach(QmpEventVisitor *visit, void *opaque)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    for (const SchemaModule *m = modules; m; m = m->next) {
        for (const QmpEvent *const *e = m->events; *e; e++) {
            g_ptr_array_add(all, (void *)*e);
        }
    }
    g_ptr_array_sort(all, compare_events);
    for (guint i = 0; i < all->len; i++) {
        visit(all->pdata[i], opaque);
    }
}

void qmp_event_set_sink(QmpEventSink *sink, void *opaque)
{
    event_sink_opaque = opaque;
    __atomic_store_n(&event_sink, sink, __ATOMIC_RELEASE);
}

void qmp_event_emit(const QmpEvent *event, const void *data)
{
    QmpEventSink *sink = __atomic_load_n(&event_sink, __ATOMIC_ACQUIRE);

    if (sink && !qmp_policy_hides_event(event)) {
        json_t *json =
            event->data ? qmp_policy_hide(event->data, value_print(event->data, data)) : NULL;
        sink(event, json, event_sink_opaque);
        json_decref(json);
    }
}

/* --- Options --- */

static int compare_options(const void *a, const void *b)
{
    const OptionInfo *x = *(const OptionInfo *const *)a, *y = *(const OptionInfo *const *)b;

    if (x->section->order != y->section->order) {
        return x->section->order < y->section->order ? -1 : 1;
    }
    int titles = strcmp(x->section->title, y->section->title);
    return titles ? titles : strcmp(x->name, y->name);
}

static GPtrArray *sorted_options(void)
{
    GPtrArray *all = g_ptr_array_new();

    for (const SchemaModule *m = modules; m; m = m->next) {
        for (const OptionInfo *const *o = m->options; *o; o++) {
            g_ptr_array_add(all, (void *)*o);
        }
    }
    g_ptr_array_sort(all, compare_options);
    return all;
}

void option_foreach(OptionVisitor *visit, void *opaque)
{
    g_autoptr(GPtrArray) all = sorted_options();

    for (guint i = 0; i < all->len; i++) {
        visit(all->pdata[i], opaque);
    }
}

static const OptionInfo *find_option(const char *name, bool by_group)
{
    for (const SchemaModule *m = modules; m; m = m->next) {
        for (const OptionInfo *const *at = m->options; *at; at++) {
            const OptionInfo *o = *at;
            if (g_str_equal(by_group ? o->group : o->name, name) ||
                (!by_group && o->aliases && g_strv_contains(o->aliases, name))) {
                return o;
            }
        }
    }
    return NULL;
}

const OptionInfo *option_find(const char *name)
{
    return find_option(name, false);
}

const OptionInfo *option_find_group(const char *group)
{
    return find_option(group, true);
}

const char *option_nearest(const char *name)
{
    g_autoptr(GPtrArray) all = sorted_options();
    NameCursor cursor = { .all = all };

    return text_nearest(name, next_name, &cursor);
}

static const char *next_group(void *opaque)
{
    NameCursor *c = opaque;

    return c->next < c->all->len ? ((const OptionInfo *)c->all->pdata[c->next++])->group : NULL;
}

const char *option_nearest_group(const char *group)
{
    g_autoptr(GPtrArray) all = sorted_options();
    NameCursor cursor = { .all = all };

    return text_nearest(group, next_group, &cursor);
}
