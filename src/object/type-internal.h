/* What type.c and object.c share. */
#ifndef OBJECT_TYPE_INTERNAL_H
#define OBJECT_TYPE_INTERNAL_H

#include "object/object.h"

/* Casts remembered per class: an instance is cast to its own type and a few ancestors. */
#define TYPE_CAST_CACHE 4

typedef struct TypeCastCache {
    const char *name; /* atomic; NULL: free */
    ObjectClass *result;
} TypeCastCache;

struct Type {
    const TypeInfo *info;
    Type *parent;             /* found on first use */
    ObjectClass *klass;       /* atomic; NULL until made */
    ObjectClass *making;      /* the class while its class_init runs */
    ObjectClass **interfaces; /* the class's own copies of interface class structs */
    unsigned n_interfaces;
    GHashTable *properties;    /* name → Field, with those inherited */
    GPtrArray *property_order; /* Field: own rows first, then the parent's */
    TypeCastCache casts[TYPE_CAST_CACHE];
};

ObjectClass *type_class(Type *type);
size_t type_instance_size(Type *type);

/* object-property.c: drop all dynamic properties of an object that goes away */
void object_release_properties(Object *obj);

#endif
