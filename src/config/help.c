/* Help from the tables: -help, and "help" inside an argument. */
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#include "config/config-internal.h"
#include "object/object.h"

/* Help of keys begins in this column, where the key leaves room. */
#define HELP_COLUMN 26

/* "on", "64 MiB", "'text'": the default as people would write it; g_free */
static char *default_text(const Field *field)
{
    if (!(field->flags & FIELD_DEFAULT)) {
        return NULL;
    }
    switch (field->type->kind) {
    case VALUE_BOOL:
        return g_strdup(field->def.u ? "on" : "off");
    case VALUE_INT:
        return g_strdup_printf("%" PRId64, field->def.i);
    case VALUE_UINT:
        return g_strdup_printf("%" PRIu64, field->def.u);
    case VALUE_SIZE:
        return text_from_size(field->def.u);
    case VALUE_NUMBER:
        return g_strdup_printf("%g", field->def.d);
    case VALUE_ENUM:
        return g_strdup(enum_name(field->type->enumeration, (int)field->def.i));
    default:
        return field->def.s && *field->def.s ? g_strdup(field->def.s) : NULL;
    }
}

static void print_aligned(const char *head, const char *help, FILE *out)
{
    if (!help || !*help) {
        fprintf(out, "%s\n", head);
    } else {
        fprintf(out, "%-*s - %s\n", HELP_COLUMN, head, help);
    }
}

void config_print_field(const Field *field, FILE *out)
{
    g_autofree char *head = g_strdup_printf("  %s=<%s>", field->name, field->type->name);
    g_autofree char *def = default_text(field);
    GString *help = g_string_new(field->help);

    if (field->type->kind == VALUE_ENUM) {
        g_autofree char *names = NULL;
        GPtrArray *all = g_ptr_array_new();
        for (int i = 0; i < field->type->enumeration->count; i++) {
            if (field->type->enumeration->names[i]) {
                g_ptr_array_add(all, (void *)field->type->enumeration->names[i]);
            }
        }
        g_ptr_array_add(all, NULL);
        names = g_strjoinv("|", (char **)all->pdata);
        g_ptr_array_unref(all);
        g_free(head);
        head = g_strdup_printf("  %s=<%s>", field->name, names);
    }
    if (def) {
        g_string_append_printf(help, "%s(default: %s)", help->len ? " " : "", def);
    }
    print_aligned(head, help->str, out);
    g_string_free(help, true);
}

static void print_fields(const Field *fields, FILE *out)
{
    for (const Field *f = fields; f->name; f++) {
        config_print_field(f, out);
    }
}

/* The kinds a union's discriminator can name: a heading and a name a line, which tools parse. */
static void print_kinds(const OptionInfo *option, const EnumDesc *kinds, FILE *out)
{
    fprintf(out, "Available %s types:\n", option->name);
    for (int i = 0; i < kinds->count; i++) {
        if (kinds->names[i]) {
            fprintf(out, "%s\n", kinds->names[i]);
        }
    }
}

static void print_option_help(const ConfigHelp *help, FILE *out)
{
    const OptionInfo *option = help->option;
    const ValueType *type = option->value->type;

    if (!option_is_keyed(option)) {
        if (type->kind == VALUE_ENUM) {
            print_kinds(option, type->enumeration, out);
        } else {
            fprintf(out, "-%s %s\n  %s\n", option->name, option->metavar, option->help);
        }
        return;
    }
    if (type->kind == VALUE_UNION) {
        const Field *d = type->record.discriminator;
        const EnumDesc *kinds = d->type->enumeration;
        const char *kind = json_string_value(json_object_get(help->given, d->name));
        int i = kind ? enum_parse(kinds, kind) : -1;
        if (i < 0) {
            print_kinds(option, kinds, out);
            return;
        }
        fprintf(out, "-%s %s options:\n", option->name, kind);
        print_fields(type->record.fields, out);
        if (type->record.variants[i]) {
            print_fields(type->record.variants[i]->record.fields, out);
        }
        return;
    }
    const Field *implied =
        type->record.implied ? field_find(type->record.fields, type->record.implied) : NULL;
    if (implied && implied->type->kind == VALUE_ENUM && !json_object_size(help->given)) {
        print_kinds(option, implied->type->enumeration, out);
        return;
    }
    fprintf(out, "-%s options:\n", option->name);
    print_fields(type->record.fields, out);
}

bool config_print_help(const Config *config, FILE *out, bool *ok)
{
    *ok = true;
    for (guint i = 0; i < config->help->len; i++) {
        const ConfigHelp *help = config->help->pdata[i];
        const OptionHooks *hooks = option_hooks_find(help->option);
        if (hooks && hooks->help) {
            *ok = hooks->help(help->given, out) && *ok;
        } else {
            print_option_help(help, out);
        }
    }
    return config->help->len;
}

typedef struct OptionPrinter {
    FILE *out;
    const char *title;
} OptionPrinter;

static void print_option(const OptionInfo *option, void *opaque)
{
    OptionPrinter *p = opaque;

    if (option->flags & OPTION_HIDDEN) {
        return;
    }
    if (!p->title || !g_str_equal(p->title, option->section->title)) {
        p->title = option->section->title;
        fprintf(p->out, "\n%s:\n", p->title);
    }
    fprintf(p->out, "-%s", option->name);
    for (const char *const *a = option->aliases; a && *a; a++) {
        fprintf(p->out, ", -%s", *a);
    }
    fprintf(p->out, "%s%s\n        %s%s\n", option->metavar ? " " : "",
            option->metavar ? option->metavar : "", option->help,
            option->flags & OPTION_DEPRECATED ? " (deprecated)" : "");
}

void config_print_options(FILE *out)
{
    OptionPrinter p = { .out = out };

    fprintf(out, "usage: rhea [options]\n");
    option_foreach(print_option, &p);
    fprintf(out, "\nKeyed arguments are written key=value,key=value (a comma in a value is doubled)"
                 " or as JSON;\n'help' in place of a value lists what is there.\n");
}

/* --- query-command-line-options --- */

static const char *query_type(const ValueType *type)
{
    switch (type->kind) {
    case VALUE_BOOL:
        return "boolean";
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_NUMBER:
        return "number";
    case VALUE_SIZE:
        return "size";
    default:
        return "string";
    }
}

static bool has_parameter(json_t *list, const char *name)
{
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row)
    {
        if (g_str_equal(json_string_value(json_object_get(row, "name")), name)) {
            return true;
        }
    }
    return false;
}

/* Kinds of a union, and types of machines, may have a key in common: the first one is shown. */
static void add_parameter(json_t *list, const Field *f)
{
    g_autofree char *def = default_text(f);
    json_t *row;

    if (has_parameter(list, f->name)) {
        return;
    }
    row = json_pack("{s:s, s:s}", "name", f->name, "type", query_type(f->type));
    if (f->help) {
        json_object_set_new(row, "help", json_string(f->help));
    }
    if (def) {
        json_object_set_new(row, "default", json_string(def));
    }
    json_array_append_new(list, row);
}

static void add_parameters(json_t *list, const Field *fields)
{
    for (const Field *f = fields; f->name; f++) {
        add_parameter(list, f);
    }
}

static void add_property(const Field *field, const ObjectClass *definer, void *opaque)
{
    if (!(field->flags & FIELD_READONLY)) {
        add_parameter(opaque, field);
    }
}

static void add_class(ObjectClass *klass, void *opaque)
{
    class_foreach_property(klass, add_property, opaque);
}

static json_t *query_option(const OptionInfo *option)
{
    json_t *parameters = json_array();

    if (option_is_keyed(option)) {
        const ValueType *type = option->value->type;
        add_parameters(parameters, type->record.fields);
        if (type->record.rest_of && option->repeat == OPTION_MERGE) {
            /* one object, of which the properties are those of any of its types */
            class_foreach(type->record.rest_of, true, add_class, parameters);
        }
        if (type->kind == VALUE_UNION) {
            const EnumDesc *kinds = type->record.discriminator->type->enumeration;
            for (int i = 0; i < kinds->count; i++) {
                if (type->record.variants[i]) {
                    add_parameters(parameters, type->record.variants[i]->record.fields);
                }
            }
        }
    }
    return json_pack("{s:s, s:o}", "option", option->group, "parameters", parameters);
}

static void append_option(const OptionInfo *option, void *opaque)
{
    json_array_append_new(opaque, query_option(option));
}

json_t *config_query_options(const char *name, Error **errp)
{
    json_t *list = json_array();

    if (!name) {
        option_foreach(append_option, list);
        return list;
    }
    const OptionInfo *option = option_find_group(name);
    if (!option) {
        error_set(errp, "there is no option group '%s'", name);
        json_decref(list);
        return NULL;
    }
    append_option(option, list);
    return list;
}
