/* QMP commands about objects and types. */
#include <string.h>

#include "base/schema.h"
#include "object/object.h"
#include "object/property.h"
#include "object/user-creatable.h"
#include "schema/qom.h"

static Object *qom_find(const char *path, Error **errp)
{
    bool ambiguous;
    Object *obj = object_resolve(path, TYPE_OBJECT, &ambiguous);
    if (!obj && ambiguous) {
        error_set(errp, "Path '%s' is ambiguous", path);
    } else if (!obj) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    }
    return obj;
}

static ObjectPropertyInfo *qom_append(ObjectPropertyInfoList *list, const char *name,
                                      const char *type, const char *help)
{
    list->items = g_renew(ObjectPropertyInfo, list->items, list->len + 1);
    ObjectPropertyInfo *info = &list->items[list->len++];
    *info = (ObjectPropertyInfo){ .name = g_strdup(name),
                                  .type = g_strdup(type),
                                  .description = g_strdup(help) };
    return info;
}

static void qom_list_visit(Object *obj, const char *name, const char *type_name, const char *help,
                           const Field *row, void *opaque)
{
    qom_append(opaque, name, type_name, NULL);
}

bool qmp_qom_list(const QomListArgs *args, ObjectPropertyInfoList *ret, Error **errp)
{
    Object *obj = qom_find(args->path, errp);
    if (!obj) {
        return false;
    }
    object_foreach_property(obj, qom_list_visit, ret);
    return true;
}

bool qmp_qom_get(const QomGetArgs *args, json_t **ret, Error **errp)
{
    Object *obj = qom_find(args->path, errp);
    if (!obj) {
        return false;
    }
    *ret = object_get(obj, args->property, errp);
    return *ret != NULL;
}

bool qmp_qom_set(const QomSetArgs *args, Error **errp)
{
    Object *obj = qom_find(args->path, errp);
    return obj && object_set(obj, args->property, args->value, VALUE_MODE_TYPED, errp);
}

static void qom_list_type(ObjectClass *klass, void *opaque)
{
    ObjectTypeInfoList *list = opaque;
    const char *name = class_name(klass);
    const TypeInfo *info = type_find(name);
    list->items = g_renew(ObjectTypeInfo, list->items, list->len + 1);
    list->items[list->len++] = (ObjectTypeInfo){
        .name = g_strdup(name),
        .has_abstract = type_is_abstract(name),
        .abstract = type_is_abstract(name),
        .parent = g_strdup(info->parent),
    };
}

bool qmp_qom_list_types(const QomListTypesArgs *args, ObjectTypeInfoList *ret, Error **errp)
{
    class_foreach(args->implements ?: TYPE_OBJECT, args->abstract, qom_list_type, ret);
    return true;
}

static void qom_list_row(const Field *row, const ObjectClass *definer, void *opaque)
{
    g_autofree char *type = property_type_name(row);
    ObjectPropertyInfo *info = qom_append(opaque, row->name, type, row->help);
    info->default_value = property_default(row);
}

/* Instance properties are only known from an instance; making one has no effects. */
static void qom_list_dynamic(Object *obj, const char *name, const char *type_name, const char *help,
                             const Field *row, void *opaque)
{
    if (!row) {
        qom_append(opaque, name, type_name, help);
    }
}

bool qmp_qom_list_properties(const QomListPropertiesArgs *args, ObjectPropertyInfoList *ret,
                             Error **errp)
{
    ObjectClass *klass = class_by_name(args->typename);
    if (!klass) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Class '%s' not found", args->typename);
        return false;
    }
    class_foreach_property(klass, qom_list_row, ret);
    if (!type_is_abstract(args->typename)) {
        Object *obj = object_new(args->typename);
        object_foreach_property(obj, qom_list_dynamic, ret);
        object_unref(obj);
    }
    return true;
}

bool qmp_object_add(const ObjectOptions *args, Error **errp)
{
    return user_creatable_add(args->qom_type, args->id, args->rest, VALUE_MODE_TYPED, errp);
}

bool qmp_object_del(const ObjectDelArgs *args, Error **errp)
{
    return user_creatable_del(args->id, errp);
}
