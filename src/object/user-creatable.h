/*
 * Objects that users make with -object and object-add. The type implements this interface;
 * complete() takes effect once all properties are set, after which only FIELD_LATE properties can
 * be changed.
 */
#ifndef OBJECT_USER_CREATABLE_H
#define OBJECT_USER_CREATABLE_H

#include "object/object.h"

#define TYPE_USER_CREATABLE "user-creatable"

typedef struct UserCreatableClass {
    ObjectClass parent;
    bool (*complete)(Object *obj, Error **errp); /* optional; undoes itself on failure */
    /* Optional; NULL: yes unless somebody holds a reference. (With it, references don't count: old
     * memory views may hold one a little longer.) */
    bool (*can_be_deleted)(Object *obj, Error **errp);
    /* Made before chardevs and netdevs unless this is set (objects that refer to those). */
    bool late;
} UserCreatableClass;

/* Make, set, complete and add at /objects/ID. properties has neither qom-type nor id. Borrowed. */
Object *user_creatable_add(const char *type_name, const char *id, json_t *properties,
                           ValueMode mode, Error **errp);
MUST_CHECK bool user_creatable_del(const char *id, Error **errp);
/* Borrowed; NULL if there is none of that type. */
Object *user_creatable_find(const char *id, const char *type_name);

#endif
