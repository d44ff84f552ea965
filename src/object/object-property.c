/* Setting and getting properties: class rows, instance properties, children, links. */
#include "object/object.h"

#include <string.h>

#include "base/text.h"
#include "object/property.h"
#include "object/type-internal.h"

/* --- Instance properties --- */

typedef struct InstanceProperty {
    DynamicProperty ops;
    char *name;
} InstanceProperty;

static InstanceProperty *object_find_dynamic(Object *obj, const char *name)
{
    return obj->dynamic ? g_hash_table_lookup(obj->dynamic, name) : NULL;
}

void object_add_property(Object *obj, const char *name, const DynamicProperty *property)
{
    assert(!object_find_dynamic(obj, name) && !class_find_property(obj->klass, name));
    if (!obj->dynamic) {
        obj->dynamic = g_hash_table_new(g_str_hash, g_str_equal);
    }
    InstanceProperty *p = g_new0(InstanceProperty, 1);
    p->ops = *property;
    p->name = g_strdup(name);
    g_hash_table_insert(obj->dynamic, p->name, p);
}

void object_release_properties(Object *obj)
{
    if (!obj->dynamic) {
        return;
    }
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, obj->dynamic);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        InstanceProperty *p = value;
        if (p->ops.release) {
            p->ops.release(obj, p->name, p->ops.opaque);
        }
        g_hash_table_iter_remove(&iter);
        g_free(p->name);
        g_free(p);
    }
    g_hash_table_destroy(obj->dynamic);
    obj->dynamic = NULL;
}

typedef struct AliasProperty {
    Object *target; /* borrowed: an alias points at a part of its own object */
    char *name;
} AliasProperty;

static json_t *alias_get(Object *obj, const char *name, void *opaque, Error **errp)
{
    AliasProperty *alias = opaque;
    return object_get(alias->target, alias->name, errp);
}

static bool alias_set(Object *obj, const char *name, json_t *value, ValueMode mode, void *opaque,
                      Error **errp)
{
    AliasProperty *alias = opaque;
    return object_set(alias->target, alias->name, value, mode, errp);
}

static void alias_release(Object *obj, const char *name, void *opaque)
{
    AliasProperty *alias = opaque;
    g_free(alias->name);
    g_free(alias);
}

void object_add_alias(Object *obj, const char *name, Object *target, const char *target_name)
{
    AliasProperty *alias = g_new(AliasProperty, 1);
    *alias = (AliasProperty){ target, g_strdup(target_name) };
    const Field *row = class_find_property(target->klass, target_name);
    const DynamicProperty property = {
        .type_name = row ? row->type->name : "any",
        .get = alias_get,
        .set = alias_set,
        .release = alias_release,
        .opaque = alias,
        .help = row ? row->help : NULL,
    };
    object_add_property(obj, name, &property);
}

bool object_has_property(Object *obj, const char *name)
{
    return class_find_property(obj->klass, name) || object_find_dynamic(obj, name);
}

/* --- Set and get --- */

typedef struct PropertyNames {
    GPtrArray *rows;
    guint next;
} PropertyNames;

static const char *property_names_next(void *opaque)
{
    PropertyNames *cursor = opaque;
    if (cursor->next == cursor->rows->len) {
        return NULL;
    }
    return ((const Field *)cursor->rows->pdata[cursor->next++])->name;
}

static void object_no_property(Object *obj, const char *name, Error **errp)
{
    PropertyNames cursor = { obj->klass->type->property_order, 0 };
    const char *near = text_nearest(name, property_names_next, &cursor);
    error_set(errp,
              near ? "Property '%s.%s' not found; did you mean '%s'?"
                   : "Property '%s.%s' not found",
              object_type_name(obj), name, near);
}

static bool object_may_set(Object *obj, const Field *row, Error **errp)
{
    if (row->flags & FIELD_READONLY) {
        error_set(errp, "Property '%s.%s' is read-only", object_type_name(obj), row->name);
        return false;
    }
    if (obj->sealed && !(row->flags & FIELD_LATE)) {
        error_set(errp, "Property '%s.%s' can't be changed after the object was realized",
                  object_type_name(obj), row->name);
        return false;
    }
    return true;
}

bool object_set(Object *obj, const char *name, json_t *value, ValueMode mode, Error **errp)
{
    const Field *row = class_find_property(obj->klass, name);
    if (row) {
        return object_may_set(obj, row, errp) && field_parse(obj, row, value, mode, errp);
    }
    InstanceProperty *p = object_find_dynamic(obj, name);
    if (!p) {
        object_no_property(obj, name, errp);
        return false;
    }
    if (!p->ops.set) {
        error_set(errp, "Property '%s.%s' is read-only", object_type_name(obj), name);
        return false;
    }
    return p->ops.set(obj, name, value, mode, p->ops.opaque, errp);
}

static bool object_set_new(Object *obj, const char *name, json_t *value, ValueMode mode,
                           Error **errp)
{
    bool ok = object_set(obj, name, value, mode, errp);
    json_decref(value);
    return ok;
}

bool object_set_text(Object *obj, const char *name, const char *value, Error **errp)
{
    return object_set_new(obj, name, json_string(value), VALUE_MODE_TEXT, errp);
}

bool object_set_bool(Object *obj, const char *name, bool value, Error **errp)
{
    return object_set_new(obj, name, json_boolean(value), VALUE_MODE_TYPED, errp);
}

bool object_set_int(Object *obj, const char *name, int64_t value, Error **errp)
{
    return object_set_new(obj, name, json_integer(value), VALUE_MODE_TYPED, errp);
}

bool object_set_all(Object *obj, json_t *properties, ValueMode mode, Error **errp)
{
    const char *key;
    json_t *value;
    json_object_foreach(properties, key, value)
    {
        if (!object_set(obj, key, value, mode, errp)) {
            return false;
        }
    }
    return true;
}

static json_t *object_path_json(Object *obj)
{
    g_autofree char *path = obj ? object_canonical_path(obj) : NULL;
    return json_string(path ?: "");
}

json_t *object_get(Object *obj, const char *name, Error **errp)
{
    const Field *row = class_find_property(obj->klass, name);
    if (row) {
        Error *err = NULL;
        json_t *value = field_print(obj, row, &err);
        if (!value && !err) {
            value = row->type->kind == VALUE_STR ? json_string("") : json_null();
        }
        error_propagate(errp, err);
        return value;
    }
    InstanceProperty *p = object_find_dynamic(obj, name);
    if (p) {
        if (!p->ops.get) {
            error_set(errp, "Property '%s.%s' is write-only", object_type_name(obj), name);
            return NULL;
        }
        return p->ops.get(obj, name, p->ops.opaque, errp);
    }
    Object *child = object_child(obj, name);
    if (child) {
        return object_path_json(child);
    }
    if (!strcmp(name, "type")) {
        return json_string(object_type_name(obj));
    }
    object_no_property(obj, name, errp);
    return NULL;
}

bool object_get_bool(Object *obj, const char *name, Error **errp)
{
    json_t *value = object_get(obj, name, errp);
    bool result = json_is_true(value);
    json_decref(value);
    return result;
}

int64_t object_get_int(Object *obj, const char *name, Error **errp)
{
    json_t *value = object_get(obj, name, errp);
    int64_t result = json_integer_value(value);
    json_decref(value);
    return result;
}

char *object_get_text(Object *obj, const char *name, Error **errp)
{
    json_t *value = object_get(obj, name, errp);
    char *result = json_is_string(value) ? g_strdup(json_string_value(value)) : NULL;
    json_decref(value);
    return result;
}

/* --- Links --- */

static void link_replace(Object **slot, Object *target)
{
    if (target) {
        object_ref(target);
    }
    Object *old = *slot;
    *slot = target;
    object_unref(old);
}

/* What a path or id leads to, of any type; NULL if to nothing. An id of -object or -device is the
 * common case and never ambiguous. */
static Object *link_find(const char *path, const char *type_name, bool *ambiguous)
{
    *ambiguous = false;
    if (path[0] == '/') {
        return object_resolve(path, TYPE_OBJECT, NULL);
    }
    static const char *const by_id[] = { "/objects/", "/machine/peripheral/" };
    for (size_t i = 0; i < ARRAY_LEN(by_id); i++) {
        g_autofree char *full = g_strconcat(by_id[i], path, NULL);
        Object *target = object_resolve(full, TYPE_OBJECT, NULL);
        if (target) {
            return target;
        }
    }
    return object_resolve(path, type_name, ambiguous);
}

static Object *link_resolve(const char *path, const char *type_name, const char *property,
                            Error **errp)
{
    bool ambiguous;
    Object *target = link_find(path, type_name, &ambiguous);
    if (ambiguous) {
        error_set(errp, "Parameter '%s': path '%s' does not name one object only", property, path);
        return NULL;
    }
    if (!target) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Parameter '%s': object '%s' not found",
                        property, path);
        return NULL;
    }
    if (!object_dynamic_cast(target, type_name)) {
        error_set(errp, "Parameter '%s' expects an object of type '%s', but '%s' is of type '%s'",
                  property, type_name, path, object_type_name(target));
        return NULL;
    }
    return target;
}

static bool link_parse(void *owner, const Field *field, void *slot, json_t *json, ValueMode mode,
                       Error **errp)
{
    if (json_is_null(json) || (json_is_string(json) && !*json_string_value(json))) {
        link_replace(slot, NULL);
        return true;
    }
    if (!json_is_string(json)) {
        error_set(errp, "Parameter '%s' expects the id or path of an object of type '%s'",
                  field->name, (const char *)field->data);
        return false;
    }
    Object *target = link_resolve(json_string_value(json), field->data, field->name, errp);
    if (!target) {
        return false;
    }
    link_replace(slot, target);
    return true;
}

static json_t *link_print(const void *owner, const Field *field, const void *slot, Error **errp)
{
    return object_path_json(*(Object *const *)slot);
}

static void link_release(void *owner, const Field *field, void *slot)
{
    link_replace(slot, NULL);
}

static const ValueCustom link_custom = {
    .parse = link_parse,
    .print = link_print,
    .release = link_release,
};

const ValueType value_type_link = {
    .kind = VALUE_CUSTOM,
    .name = "link",
    .size = sizeof(Object *),
    .custom = &link_custom,
};

static const Field *object_find_link(Object *obj, const char *name, Error **errp)
{
    const Field *row = class_find_property(obj->klass, name);
    if (!row || row->type != &value_type_link) {
        error_set(errp, "'%s.%s' is not a link", object_type_name(obj), name);
        return NULL;
    }
    return row;
}

bool object_set_link(Object *obj, const char *name, Object *target, Error **errp)
{
    const Field *row = object_find_link(obj, name, errp);
    if (!row || !object_may_set(obj, row, errp)) {
        return false;
    }
    if (target && !object_dynamic_cast(target, row->data)) {
        error_set(errp, "Property '%s.%s' expects an object of type '%s'", object_type_name(obj),
                  name, (const char *)row->data);
        return false;
    }
    link_replace((Object **)((char *)obj + row->offset), target);
    return true;
}

Object *object_get_link(Object *obj, const char *name, Error **errp)
{
    const Field *row = object_find_link(obj, name, errp);
    return row ? *(Object **)((char *)obj + row->offset) : NULL;
}

/* --- Enumerating --- */

static void object_visit_row(Object *obj, const Field *row, ObjectPropertyVisitor *visit,
                             void *opaque)
{
    g_autofree char *type_name = property_type_name(row);
    visit(obj, row->name, type_name, row->help, row, opaque);
}

void object_foreach_property(Object *obj, ObjectPropertyVisitor *visit, void *opaque)
{
    GPtrArray *rows = obj->klass->type->property_order;
    visit(obj, "type", "string", NULL, NULL, opaque);
    for (guint i = 0; i < rows->len; i++) {
        object_visit_row(obj, rows->pdata[i], visit, opaque);
    }
    if (obj->dynamic) {
        GHashTableIter iter;
        gpointer value;
        g_hash_table_iter_init(&iter, obj->dynamic);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
            InstanceProperty *p = value;
            visit(obj, p->name, p->ops.type_name, p->ops.help, NULL, opaque);
        }
    }
    for (guint i = 0; obj->children && i < obj->children->len; i++) {
        Object *child = obj->children->pdata[i];
        g_autofree char *type_name = g_strdup_printf("child<%s>", object_type_name(child));
        visit(obj, child->name, type_name, NULL, NULL, opaque);
    }
}
