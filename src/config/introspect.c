/*
 * query-qmp-schema: the tables of commands, events and types in the public introspection format.
 *
 * Types are emitted when something refers to them, once, under the names they have in the schema.
 * The members of object types that users make come from the type registry, so there is no second
 * description of them.
 */
#include <string.h>

#include <glib.h>

#include "config/config.h"
#include "object/object.h"
#include "schema/introspect.h"

#define EMPTY_TYPE "q_empty"

typedef struct Introspection {
    json_t *list;
    GHashTable *seen; /* names of types already emitted */
} Introspection;

static const char *reference(Introspection *in, const ValueType *type);

/* True the first time. */
static bool first_mention(Introspection *in, const char *name)
{
    return !g_hash_table_contains(in->seen, name) && g_hash_table_add(in->seen, g_strdup(name));
}

static void emit(Introspection *in, json_t *info)
{
    json_array_append_new(in->list, info);
}

/* --- Features --- */

static json_t *feature_list(const char *const *features, bool deprecated, bool unstable)
{
    json_t *list = json_array();

    for (const char *const *f = features; f && *f; f++) {
        json_array_append_new(list, json_string(*f));
    }
    if (deprecated) {
        json_array_append_new(list, json_string("deprecated"));
    }
    if (unstable) {
        json_array_append_new(list, json_string("unstable"));
    }
    if (!json_array_size(list)) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static void set_features(json_t *info, const char *const *features, bool deprecated, bool unstable)
{
    json_t *list = feature_list(features, deprecated, unstable);

    if (list) {
        json_object_set_new(info, "features", list);
    }
}

static void set_field_features(json_t *info, unsigned flags)
{
    set_features(info, NULL, flags & FIELD_DEPRECATED, flags & FIELD_UNSTABLE);
}

/* --- Types --- */

static const char *builtin(Introspection *in, const char *name, const char *json_type)
{
    if (first_mention(in, name)) {
        emit(in, json_pack("{s:s, s:s, s:s}", "name", name, "meta-type", "builtin", "json-type",
                           json_type));
    }
    return name;
}

static void emit_enum(Introspection *in, const EnumDesc *desc)
{
    json_t *members = json_array(), *values = json_array();

    for (int i = 0; i < desc->count; i++) {
        if (desc->names[i]) {
            json_t *member = json_pack("{s:s}", "name", desc->names[i]);
            set_field_features(member, desc->flags ? desc->flags[i] : 0);
            json_array_append_new(members, member);
            json_array_append_new(values, json_string(desc->names[i]));
        }
    }
    emit(in, json_pack("{s:s, s:s, s:o, s:o}", "name", desc->name, "meta-type", "enum", "members",
                       members, "values", values));
}

static json_t *member_of(Introspection *in, const Field *f)
{
    json_t *member = json_pack("{s:s, s:s}", "name", f->name, "type", reference(in, f->type));

    if (f->flags & (FIELD_OPTIONAL | FIELD_DEFAULT)) {
        json_object_set_new(member, "default", json_null());
    }
    set_field_features(member, f->flags);
    return member;
}

static json_t *members_of(Introspection *in, const Field *fields)
{
    json_t *members = json_array();

    for (const Field *f = fields; f && f->name; f++) {
        json_array_append_new(members, member_of(in, f));
    }
    return members;
}

static const char *empty_type(Introspection *in)
{
    if (first_mention(in, EMPTY_TYPE)) {
        emit(in,
             json_pack("{s:s, s:s, s:[]}", "name", EMPTY_TYPE, "meta-type", "object", "members"));
    }
    return EMPTY_TYPE;
}

static json_t *variants_of(Introspection *in, const ValueType *type)
{
    const EnumDesc *kinds = type->record.discriminator->type->enumeration;
    json_t *variants = json_array();

    for (int i = 0; i < kinds->count; i++) {
        if (kinds->names[i]) {
            const ValueType *v = type->record.variants[i];
            json_array_append_new(variants, json_pack("{s:s, s:s}", "case", kinds->names[i], "type",
                                                      v ? reference(in, v) : empty_type(in)));
        }
    }
    return variants;
}

/* --- Open records: the registry's types --- */

typedef struct Registry {
    Introspection *in;
    const char *tag_type; /* the enum of type names */
    json_t *members;      /* of the tag's enum */
    json_t *values;
    json_t *variants;
    json_t *properties; /* of the class being described */
    const Field *base;  /* members of the record, which are no properties */
} Registry;

static void add_property(const Field *field, const ObjectClass *definer, void *opaque)
{
    Registry *r = opaque;

    if (!(field->flags & FIELD_READONLY) && !field_find(r->base, field->name)) {
        json_t *member = member_of(r->in, field);
        json_object_set_new(member, "default", json_null()); /* all properties have one */
        json_array_append_new(r->properties, member);
    }
}

static void add_class(ObjectClass *klass, void *opaque)
{
    Registry *r = opaque;
    const char *name = class_name(klass);
    g_autofree char *type = g_strdup_printf("%sProperties", name);

    r->properties = json_array();
    class_foreach_property(klass, add_property, r);
    json_array_append_new(r->members, json_pack("{s:s}", "name", name));
    json_array_append_new(r->values, json_string(name));
    json_array_append_new(r->variants, json_pack("{s:s, s:s}", "case", name, "type", type));
    if (first_mention(r->in, type)) {
        emit(r->in, json_pack("{s:s, s:s, s:O}", "name", type, "meta-type", "object", "members",
                              r->properties));
    }
    json_decref(r->properties);
}

/* The tag becomes an enum of the types there are, each with its properties as members. */
static void emit_open(Introspection *in, const ValueType *type)
{
    g_autofree char *tag_type = g_strdup_printf("%sType", type->name);
    json_t *members = json_array();
    Registry r = { .in = in,
                   .members = json_array(),
                   .values = json_array(),
                   .variants = json_array(),
                   .base = type->record.fields };

    class_foreach(type->record.rest_of, false, add_class, &r);
    if (first_mention(in, tag_type)) {
        emit(in, json_pack("{s:s, s:s, s:O, s:O}", "name", tag_type, "meta-type", "enum", "members",
                           r.members, "values", r.values));
    }
    for (const Field *f = type->record.fields; f->name; f++) {
        json_t *member = g_str_equal(f->name, type->record.rest_by)
                             ? json_pack("{s:s, s:s}", "name", f->name, "type", tag_type)
                             : member_of(in, f);
        json_array_append_new(members, member);
    }
    json_t *info =
        json_pack("{s:s, s:s, s:o, s:s, s:O}", "name", type->name, "meta-type", "object", "members",
                  members, "tag", type->record.rest_by, "variants", r.variants);
    set_features(info, type->features, false, false);
    emit(in, info);
    json_decref(r.members);
    json_decref(r.values);
    json_decref(r.variants);
}

static void emit_record(Introspection *in, const ValueType *type)
{
    if (type->record.rest_by && !type->record.rest_unlisted) {
        emit_open(in, type);
        return;
    }
    json_t *info = json_pack("{s:s, s:s, s:o}", "name", type->name, "meta-type", "object",
                             "members", members_of(in, type->record.fields));
    if (type->kind == VALUE_UNION) {
        json_object_set_new(info, "tag", json_string(type->record.discriminator->name));
        json_object_set_new(info, "variants", variants_of(in, type));
    }
    set_features(info, type->features, false, false);
    emit(in, info);
}

static void emit_alternate(Introspection *in, const ValueType *type)
{
    json_t *members = json_array();

    for (int i = 0; i < type->alternate.count; i++) {
        const ValueType *branch = type->alternate.branches[i].type;
        json_array_append_new(members, json_pack("{s:s}", "type", reference(in, branch)));
    }
    emit(in, json_pack("{s:s, s:s, s:o}", "name", type->name, "meta-type", "alternate", "members",
                       members));
}

/* "[str]"; lives as long as the introspection */
static const char *array_type(Introspection *in, const ValueType *type)
{
    g_autofree char *name = g_strdup_printf("[%s]", reference(in, type->element));

    if (first_mention(in, name)) {
        emit(in, json_pack("{s:s, s:s, s:s}", "name", name, "meta-type", "array", "element-type",
                           reference(in, type->element)));
    }
    void *key = NULL;
    g_hash_table_lookup_extended(in->seen, name, &key, NULL);
    return key;
}

/* The name of a type, which is emitted if this is its first mention. */
static const char *reference(Introspection *in, const ValueType *type)
{
    if (!type) {
        return empty_type(in);
    }
    switch (type->kind) {
    case VALUE_BOOL:
        return builtin(in, "bool", "boolean");
    case VALUE_INT:
    case VALUE_UINT:
    case VALUE_SIZE:
        return builtin(in, "int", "int");
    case VALUE_NUMBER:
        return builtin(in, "number", "number");
    case VALUE_STR:
        return builtin(in, "str", "string");
    case VALUE_NULL:
        return builtin(in, "null", "null");
    case VALUE_ANY:
    case VALUE_CUSTOM:
        return builtin(in, "any", "value");
    case VALUE_LIST:
        return array_type(in, type);
    case VALUE_ENUM:
        if (first_mention(in, type->enumeration->name)) {
            emit_enum(in, type->enumeration);
        }
        return type->enumeration->name;
    case VALUE_RECORD:
    case VALUE_UNION:
        if (first_mention(in, type->name)) {
            emit_record(in, type);
        }
        return type->name;
    case VALUE_ALTERNATE:
        if (first_mention(in, type->name)) {
            emit_alternate(in, type);
        }
        return type->name;
    }
    g_assert_not_reached();
}

/* --- Commands and events --- */

static void emit_command(const QmpCommand *c, void *opaque)
{
    Introspection *in = opaque;
    json_t *info = json_pack("{s:s, s:s, s:s, s:s}", "name", c->name, "meta-type", "command",
                             "arg-type", reference(in, c->args), "ret-type", reference(in, c->ret));

    if (c->flags & QMP_COMMAND_OOB) {
        json_object_set_new(info, "allow-oob", json_true());
    }
    set_features(info, c->features, c->flags & QMP_COMMAND_DEPRECATED,
                 c->flags & QMP_COMMAND_UNSTABLE);
    emit(in, info);
}

static void emit_event(const QmpEvent *e, void *opaque)
{
    Introspection *in = opaque;
    json_t *info = json_pack("{s:s, s:s, s:s}", "name", e->name, "meta-type", "event", "arg-type",
                             reference(in, e->data));

    set_features(info, e->features, e->flags & QMP_COMMAND_DEPRECATED,
                 e->flags & QMP_COMMAND_UNSTABLE);
    emit(in, info);
}

bool qmp_query_qmp_schema(SchemaInfoList *ret, Error **errp)
{
    Introspection in = {
        .list = json_array(),
        .seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
    };

    qmp_command_foreach(emit_command, &in);
    qmp_event_foreach(emit_event, &in);
    bool ok = value_parse(&value_type_schema_info_list, ret, in.list, VALUE_MODE_TYPED, errp);
    json_decref(in.list);
    g_hash_table_unref(in.seen);
    return ok;
}

bool qmp_query_command_line_options(const QueryCommandLineOptionsArgs *args,
                                    CommandLineOptionInfoList *ret, Error **errp)
{
    json_t *list = config_query_options(args->option, errp);
    bool ok = list && value_parse(&value_type_command_line_option_info_list, ret, list,
                                  VALUE_MODE_TYPED, errp);

    json_decref(list);
    return ok;
}
