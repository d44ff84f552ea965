#include "object/user-creatable.h"

#include <string.h>

#include "base/text.h"

OBJECT_DECLARE_CLASS(UserCreatableClass, user_creatable, TYPE_USER_CREATABLE)

static const TypeInfo user_creatable_type = {
    .name = TYPE_USER_CREATABLE,
    .parent = TYPE_INTERFACE,
    .class_size = sizeof(UserCreatableClass),
    .abstract = true,
};
OBJECT_TYPE(user_creatable, user_creatable_type)

#define USER_CREATABLE_ROOT "/objects"

static bool user_creatable_complete(Object *obj, Error **errp)
{
    UserCreatableClass *klass = user_creatable_class_of(obj);
    if (klass->complete && !klass->complete(obj, errp)) {
        return false;
    }
    obj->sealed = true;
    return true;
}

Object *user_creatable_add(const char *type_name, const char *id, json_t *properties,
                           ValueMode mode, Error **errp)
{
    if (!id || !text_is_id(id)) {
        error_set(errp,
                  "Parameter 'id' expects an identifier (a letter, then letters, digits, '-', "
                  "'.', '_'), got '%s'",
                  id ?: "");
        return NULL;
    }
    Object *root = object_container(USER_CREATABLE_ROOT);
    if (object_child(root, id)) {
        error_set(errp, "Duplicate id '%s': it is taken by an object of type '%s'", id,
                  object_type_name(object_child(root, id)));
        return NULL;
    }
    Object *obj = object_try_new(type_name, TYPE_USER_CREATABLE, errp);
    if (!obj) {
        return NULL;
    }
    /* In the tree first: complete() may want its id or canonical path. */
    if (!object_set_all(obj, properties, mode, errp) || !object_add_child(root, id, obj, errp)) {
        object_unref(obj);
        return NULL;
    }
    object_unref(obj); /* the tree has it */
    if (!user_creatable_complete(obj, errp)) {
        object_unparent(obj);
        return NULL;
    }
    return obj;
}

bool user_creatable_del(const char *id, Error **errp)
{
    Object *obj = object_child(object_container(USER_CREATABLE_ROOT), id);
    if (!obj) {
        error_set(errp, "object '%s' not found", id);
        return false;
    }
    UserCreatableClass *klass = user_creatable_class_of(obj);
    if (klass->can_be_deleted && !klass->can_be_deleted(obj, errp)) {
        return false;
    }
    if (!klass->can_be_deleted && __atomic_load_n(&obj->refcount, __ATOMIC_RELAXED) > 1) {
        error_set(errp, "object '%s' is in use, can not be deleted", id);
        return false;
    }
    object_unparent(obj);
    return true;
}

Object *user_creatable_find(const char *id, const char *type_name)
{
    return object_dynamic_cast(object_child(object_container(USER_CREATABLE_ROOT), id), type_name);
}
