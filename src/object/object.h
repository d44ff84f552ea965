/*
 * Objects: named types with a parent, classes made lazily, instances in one composition tree.
 *
 * A type is described by a static TypeInfo, registered through OBJECT_TYPE(). class_init runs once,
 * at the first use of the type. instance_init is pure: it allocates and sets defaults, has no
 * effect outside the object, and can't fail. What has effects is a later, explicit step (realize
 * of a device, complete of a user-creatable object).
 *
 * Reference counts are atomic; everything else needs the machine lock (types and classes: any
 * thread once start-up has registered them).
 */
#ifndef OBJECT_OBJECT_H
#define OBJECT_OBJECT_H

#include <glib.h>
#include <jansson.h>

#include "base/compiler.h"
#include "base/error.h"
#include "base/module.h"
#include "base/value.h"

#define TYPE_OBJECT "object"
/* Parent of all interfaces: types without instances whose class struct others implement. */
#define TYPE_INTERFACE "interface"

typedef struct Object Object;
typedef struct ObjectClass ObjectClass;
typedef struct Type Type;
typedef struct Property Property;

/* Every instance struct begins with its parent's struct, in the end with this one. */
struct Object {
    ObjectClass *klass;
    unsigned refcount;   /* atomic */
    Object *parent;      /* in the composition tree; not a reference */
    char *name;          /* in the parent; NULL while not in the tree */
    GPtrArray *children; /* Object, references, in order of insertion; NULL while there are none */
    GHashTable *dynamic; /* properties added to this instance: name → DynamicProperty */
    /* Realized or complete: from now on only FIELD_LATE properties can be set. */
    bool sealed;
    bool embedded; /* lives in memory that somebody else frees */
};

/* Every class struct begins with its parent's class struct, in the end with this one. A class is
 * made by copying its parent's, then class_init. */
struct ObjectClass {
    Type *type;
    /* Called when obj leaves the tree, before the tree drops its reference; optional. */
    void (*unparent)(Object *obj);
    /* The type of a part that each instance makes, and whose properties are its own too
     * (object_add_alias()); NULL. */
    const char *part_type;
};

typedef struct TypeInfo {
    const char *name;
    const char *parent;
    const char *help;     /* one line, for `-device help` and the like; NULL: not shown to users */
    size_t instance_size; /* 0: the parent's */
    size_t class_size;    /* 0: the parent's */
    bool abstract;
    /* Data rows, ending with a NULL name; NULL allowed. */
    const Field *properties;
    void (*class_init)(ObjectClass *klass, const void *class_data);
    const void *class_data;
    void (*instance_init)(Object *obj);
    /* After all instance_inits and defaults; most derived first. */
    void (*instance_post_init)(Object *obj);
    void (*instance_finalize)(Object *obj);
    const char *const *interfaces; /* NULL-terminated names */
} TypeInfo;

/* Register a TypeInfo (static, lives for ever) with the MODULE_TYPES kind. `ident` is any C
 * identifier unique in the file. */
#define OBJECT_TYPE(ident, info)        \
    static void ident##_register_(void) \
    {                                   \
        type_register(&(info));         \
    }                                   \
    MODULE_INIT(MODULE_TYPES, ident##_register_)

void type_register(const TypeInfo *info);

/* --- Types and classes --- */

/* NULL if there is no such type. */
const TypeInfo *type_find(const char *name);
bool type_is_abstract(const char *name);
/* Bytes of an instance; the type must exist. */
size_t type_instance_size_of(const char *name);
bool type_is_a(const char *name, const char *ancestor);
/* The nearest type name of those below ancestor, for suggestions; NULL if none is near. */
const char *type_nearest(const char *name, const char *ancestor);

/* NULL if there is no such type. */
ObjectClass *class_by_name(const char *type_name);
const char *class_name(const ObjectClass *klass);
ObjectClass *class_parent(ObjectClass *klass); /* NULL for "object" */
/* NULL unless klass is type_name, below it, or implements it. For an interface the result is the
 * interface's own class struct. */
ObjectClass *class_dynamic_cast(ObjectClass *klass, const char *type_name);
/* As above, but a mismatch is a programming error. */
ObjectClass *class_cast(ObjectClass *klass, const char *type_name);

typedef void ClassVisitor(ObjectClass *klass, void *opaque);
/* All classes that are, or implement, ancestor, sorted by name. */
void class_foreach(const char *ancestor, bool include_abstract, ClassVisitor *visit, void *opaque);

/* Walk a class's property rows, the most derived type first; a row hides one of the same name
 * further up. Those of the part's type come last. */
typedef void PropertyVisitor(const Field *field, const ObjectClass *definer, void *opaque);
void class_foreach_property(ObjectClass *klass, PropertyVisitor *visit, void *opaque);
const Field *class_find_property(ObjectClass *klass, const char *name);
/* In class_init: another default for a property defined further up, for this class and those below.
 * The value is parsed as text. */
void class_set_default(ObjectClass *klass, const char *property, const char *value);

/* --- Instances --- */

/* A new instance, one reference, owned by the caller. The type must exist and not be abstract. */
Object *object_new(const char *type_name);
/* In memory of at least the type's instance size that belongs to somebody else, who drops the
 * reference before the memory goes away. */
void object_init_in_place(void *memory, size_t size, const char *type_name);
/* As object_new() for names that users give; an error names the type and suggests one. */
Object *object_try_new(const char *type_name, const char *ancestor, Error **errp);
void object_ref(Object *obj);
void object_unref(Object *obj); /* NULL allowed */

const char *object_type_name(const Object *obj);
Object *object_dynamic_cast(Object *obj, const char *type_name); /* NULL if it isn't one */
Object *object_cast(Object *obj, const char *type_name);         /* asserts */
ObjectClass *object_class(const Object *obj);

/* --- The composition tree --- */

/* The root and well-known containers. object_root_reset() drops the whole tree (end of a machine,
 * tests). */
Object *object_root(void);
void object_root_reset(void);
/* A path of plain containers below the root, made as needed: "/objects". */
Object *object_container(const char *path);

/* obj becomes parent's child `name` (the tree takes a reference). A name that ends in "[*]" takes
 * the first free number. False if the name is taken. */
MUST_CHECK bool object_add_child(Object *parent, const char *name, Object *obj, Error **errp);
/* Take obj out of the tree: drops the tree's reference. Does nothing outside the tree. */
void object_unparent(Object *obj);
Object *object_child(Object *parent, const char *name);  /* borrowed; NULL if none */
typedef bool ObjectVisitor(Object *child, void *opaque); /* false stops */
bool object_foreach_child(Object *obj, ObjectVisitor *visit, void *opaque);
bool object_foreach_descendant(Object *obj, ObjectVisitor *visit, void *opaque);

/* "/machine/peripheral/net0"; owned by the caller (g_free). NULL outside the tree. */
char *object_canonical_path(const Object *obj);
/* Absolute, or a partial path that must match exactly one object (*ambiguous otherwise). Follows
 * links. Borrowed; NULL if there is none of that type. */
Object *object_resolve(const char *path, const char *type_name, bool *ambiguous);

/* --- Properties --- */

/*
 * A property of one instance only, for what can't be a class row. get returns a new reference; NULL
 * functions make it write-only or read-only. type_name as introspection shows it.
 */
typedef struct DynamicProperty {
    const char *type_name;
    json_t *(*get)(Object *obj, const char *name, void *opaque, Error **errp);
    bool (*set)(Object *obj, const char *name, json_t *value, ValueMode mode, void *opaque,
                Error **errp);
    void (*release)(Object *obj, const char *name, void *opaque);
    void *opaque;
    const char *help;
} DynamicProperty;
/* Copies *property and name. An alias of another object's property is one of these. */
void object_add_property(Object *obj, const char *name, const DynamicProperty *property);
void object_add_alias(Object *obj, const char *name, Object *target, const char *target_name);
bool object_has_property(Object *obj, const char *name);

/* Errors name the object, the property and the value. */
MUST_CHECK bool object_set(Object *obj, const char *name, json_t *value, ValueMode mode,
                           Error **errp);
MUST_CHECK bool object_set_text(Object *obj, const char *name, const char *value, Error **errp);
MUST_CHECK bool object_set_bool(Object *obj, const char *name, bool value, Error **errp);
MUST_CHECK bool object_set_int(Object *obj, const char *name, int64_t value, Error **errp);
MUST_CHECK bool object_set_link(Object *obj, const char *name, Object *target, Error **errp);
/* Every key of a JSON object, in order. */
MUST_CHECK bool object_set_all(Object *obj, json_t *properties, ValueMode mode, Error **errp);
json_t *object_get(Object *obj, const char *name, Error **errp); /* new reference */
bool object_get_bool(Object *obj, const char *name, Error **errp);
int64_t object_get_int(Object *obj, const char *name, Error **errp);
char *object_get_text(Object *obj, const char *name, Error **errp);   /* g_free */
Object *object_get_link(Object *obj, const char *name, Error **errp); /* borrowed */

/* All properties of an instance: class rows, instance properties, children. */
typedef void ObjectPropertyVisitor(Object *obj, const char *name, const char *type_name,
                                   const char *help, const Field *row, void *opaque);
void object_foreach_property(Object *obj, ObjectPropertyVisitor *visit, void *opaque);

/* --- Global and compat properties: values that users (-global) and machine versions put in place
 * of a type's default, applied by object_new() to every object that asks for it in its class
 * (devices and machines' objects do) --- */

typedef struct GlobalProperty {
    const char *driver; /* type, or any ancestor or interface of it */
    const char *property;
    const char *value;
    bool user_provided; /* warn at the end if it was never used */
    bool optional;      /* no error if the type has no such property */
    bool used;          /* written by the core */
} GlobalProperty;
void global_property_add(const GlobalProperty *global); /* strings copied */
/* A machine version's rows, weaker than the user's; borrowed, NULL driver ends. Later calls are
 * weaker than earlier ones. */
void compat_properties_add(const GlobalProperty *rows);
/* Apply to a new object; called in instance_post_init of those classes that take part. */
MUST_CHECK bool global_properties_apply(Object *obj, Error **errp);
/* Complain about user-given globals that no object used. Returns how many. */
int global_properties_check_unused(void);
void global_properties_reset(void);

/* --- Declaring types ---
 *
 *   OBJECT_DECLARE(VirtioBalloon, virtio_balloon, TYPE_VIRTIO_BALLOON)
 * gives  VirtioBalloon *virtio_balloon_cast(void *obj)
 *   OBJECT_DECLARE_CLASS(PciDeviceClass, pci_device, TYPE_PCI_DEVICE)
 * gives  PciDeviceClass *pci_device_class_of(const void *obj)      class of an instance
 *        PciDeviceClass *pci_device_class_cast(void *klass)
 */
#define OBJECT_DECLARE(Struct, prefix, TYPE)               \
    typedef struct Struct Struct;                          \
    static inline UNUSED Struct *prefix##_cast(void *obj)  \
    {                                                      \
        return (Struct *)object_cast((Object *)obj, TYPE); \
    }
#define OBJECT_DECLARE_CLASS(Class, prefix, TYPE)                            \
    typedef struct Class Class;                                              \
    static inline UNUSED Class *prefix##_class_of(const void *obj)           \
    {                                                                        \
        return (Class *)class_cast(object_class((const Object *)obj), TYPE); \
    }                                                                        \
    static inline UNUSED Class *prefix##_class_cast(void *klass)             \
    {                                                                        \
        return (Class *)class_cast((ObjectClass *)klass, TYPE);              \
    }

#endif
