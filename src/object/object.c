/* Instances and the composition tree. */
#include "object/object.h"

#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "object/type-internal.h"

/* The tree of this process's machine; made on first use, dropped by object_root_reset(). */
static Object *object_root_instance;

#define TYPE_CONTAINER "container"

/* --- Instances --- */

static void object_call_init(Object *obj, ObjectClass *klass)
{
    ObjectClass *parent = class_parent(klass);
    if (parent) {
        object_call_init(obj, parent);
    }
    if (klass->type->info->instance_init) {
        klass->type->info->instance_init(obj);
    }
}

static void object_init_of_class(Object *obj, ObjectClass *klass)
{
    assert(!klass->type->info->abstract);
    obj->klass = klass;
    obj->refcount = 1;
    for (guint i = 0; i < klass->type->property_order->len; i++) {
        field_set_default(obj, klass->type->property_order->pdata[i]);
    }
    object_call_init(obj, klass);
    for (ObjectClass *k = klass; k; k = class_parent(k)) {
        if (k->type->info->instance_post_init) {
            k->type->info->instance_post_init(obj);
        }
    }
}

static Object *object_new_of_class(ObjectClass *klass)
{
    /* CPUs hold XSAVE areas, which must lie on cache lines. g_free() is free(). */
    size_t size = (type_instance_size(klass->type) + 63) & ~(size_t)63;
    Object *obj = aligned_alloc(64, size);
    if (!obj) {
        g_error("no memory for an object of %zu bytes", size);
    }
    memset(obj, 0, size);
    object_init_of_class(obj, klass);
    return obj;
}

static ObjectClass *object_known_class(const char *type_name)
{
    ObjectClass *klass = class_by_name(type_name);
    if (!klass) {
        g_error("no type '%s'", type_name);
    }
    return klass;
}

Object *object_new(const char *type_name)
{
    return object_new_of_class(object_known_class(type_name));
}

void object_init_in_place(void *memory, size_t size, const char *type_name)
{
    ObjectClass *klass = object_known_class(type_name);
    assert(size >= type_instance_size(klass->type));
    memset(memory, 0, type_instance_size(klass->type));
    object_init_of_class(memory, klass);
    ((Object *)memory)->embedded = true;
}

Object *object_try_new(const char *type_name, const char *ancestor, Error **errp)
{
    ObjectClass *klass = class_by_name(type_name);
    if (!klass || !class_dynamic_cast(klass, ancestor)) {
        const char *near = type_nearest(type_name, ancestor);
        if (near) {
            error_set(errp, "'%s' is not a valid %s type; did you mean '%s'?", type_name, ancestor,
                      near);
        } else {
            error_set(errp, "'%s' is not a valid %s type", type_name, ancestor);
        }
        return NULL;
    }
    if (klass->type->info->abstract) {
        error_set(errp, "type '%s' is abstract: use one of the types derived from it", type_name);
        return NULL;
    }
    if (FAULT("object", errp)) {
        return NULL;
    }
    return object_new_of_class(klass);
}

void object_ref(Object *obj)
{
    __atomic_add_fetch(&obj->refcount, 1, __ATOMIC_RELAXED);
}

static void object_drop_children(Object *obj)
{
    while (obj->children && obj->children->len) {
        object_unparent(obj->children->pdata[obj->children->len - 1]);
    }
    if (obj->children) {
        g_ptr_array_free(obj->children, true);
        obj->children = NULL;
    }
}

static void object_finalize(Object *obj)
{
    assert(!obj->parent);
    object_drop_children(obj);
    for (ObjectClass *k = obj->klass; k; k = class_parent(k)) {
        if (k->type->info->instance_finalize) {
            k->type->info->instance_finalize(obj);
        }
    }
    object_release_properties(obj);
    GPtrArray *rows = obj->klass->type->property_order;
    for (guint i = 0; i < rows->len; i++) {
        field_release(obj, rows->pdata[i]);
    }
    g_clear_pointer(&obj->name, g_free);
    if (!obj->embedded) {
        g_free(obj);
    }
}

void object_unref(Object *obj)
{
    if (!obj) {
        return;
    }
    assert(__atomic_load_n(&obj->refcount, __ATOMIC_RELAXED) > 0);
    if (__atomic_sub_fetch(&obj->refcount, 1, __ATOMIC_ACQ_REL) == 0) {
        object_finalize(obj);
    }
}

ObjectClass *object_class(const Object *obj)
{
    return obj->klass;
}

const char *object_type_name(const Object *obj)
{
    return obj->klass->type->info->name;
}

Object *object_dynamic_cast(Object *obj, const char *type_name)
{
    return obj && class_dynamic_cast(obj->klass, type_name) ? obj : NULL;
}

Object *object_cast(Object *obj, const char *type_name)
{
    if (obj) {
        class_cast(obj->klass, type_name);
    }
    return obj;
}

/* --- The tree --- */

static const TypeInfo container_type = { .name = TYPE_CONTAINER, .parent = TYPE_OBJECT };
OBJECT_TYPE(container, container_type)

Object *object_root(void)
{
    if (!object_root_instance) {
        object_root_instance = object_new(TYPE_CONTAINER);
    }
    return object_root_instance;
}

void object_root_reset(void)
{
    Object *root = object_root_instance;
    if (root) {
        object_drop_children(root);
        object_root_instance = NULL;
        object_unref(root);
    }
}

Object *object_container(const char *path)
{
    assert(path[0] == '/');
    Object *obj = object_root();
    g_auto(GStrv) parts = g_strsplit(path + 1, "/", -1);
    for (char **part = parts; *part && **part; part++) {
        Object *child = object_child(obj, *part);
        if (!child) {
            child = object_new(TYPE_CONTAINER);
            if (!object_add_child(obj, *part, child, &error_abort)) {
                return NULL;
            }
            object_unref(child); /* the tree has it */
        }
        obj = child;
    }
    return obj;
}

static char *object_free_child_name(Object *parent, const char *name)
{
    if (!g_str_has_suffix(name, "[*]")) {
        return g_strdup(name);
    }
    int stem = strlen(name) - 3;
    for (unsigned i = 0;; i++) {
        char *candidate = g_strdup_printf("%.*s[%u]", stem, name, i);
        if (!object_child(parent, candidate)) {
            return candidate;
        }
        g_free(candidate);
    }
}

bool object_add_child(Object *parent, const char *name, Object *obj, Error **errp)
{
    assert(!obj->parent);
    g_autofree char *free_name = object_free_child_name(parent, name);
    if (object_child(parent, free_name)) {
        g_autofree char *path = object_canonical_path(parent);
        error_set(errp, "%s already has a child '%s'", path ?: object_type_name(parent), free_name);
        return false;
    }
    if (!parent->children) {
        parent->children = g_ptr_array_new();
    }
    object_ref(obj);
    g_free(obj->name);
    obj->name = g_steal_pointer(&free_name);
    obj->parent = parent;
    g_ptr_array_add(parent->children, obj);
    return true;
}

void object_unparent(Object *obj)
{
    Object *parent = obj->parent;
    if (!parent) {
        return;
    }
    object_ref(obj);
    if (obj->klass->unparent) {
        obj->klass->unparent(obj);
    }
    if (obj->parent) { /* the hook may have done it */
        g_ptr_array_remove(parent->children, obj);
        obj->parent = NULL;
        object_unref(obj);
    }
    object_unref(obj);
}

Object *object_child(Object *parent, const char *name)
{
    for (guint i = 0; parent->children && i < parent->children->len; i++) {
        Object *child = parent->children->pdata[i];
        if (!strcmp(child->name, name)) {
            return child;
        }
    }
    return NULL;
}

/* The visitor may take the child out of the tree: walk a copy that holds references. */
bool object_foreach_child(Object *obj, ObjectVisitor *visit, void *opaque)
{
    if (!obj->children) {
        return true;
    }
    g_autoptr(GPtrArray) copy = g_ptr_array_new_with_free_func((GDestroyNotify)object_unref);
    for (guint i = 0; i < obj->children->len; i++) {
        object_ref(obj->children->pdata[i]);
        g_ptr_array_add(copy, obj->children->pdata[i]);
    }
    for (guint i = 0; i < copy->len; i++) {
        Object *child = copy->pdata[i];
        if (child->parent == obj && !visit(child, opaque)) {
            return false;
        }
    }
    return true;
}

typedef struct DescendantVisit {
    ObjectVisitor *visit;
    void *opaque;
} DescendantVisit;

static bool object_visit_descendant(Object *child, void *opaque)
{
    DescendantVisit *v = opaque;
    return v->visit(child, v->opaque) &&
           object_foreach_child(child, object_visit_descendant, opaque);
}

bool object_foreach_descendant(Object *obj, ObjectVisitor *visit, void *opaque)
{
    DescendantVisit v = { visit, opaque };
    return object_foreach_child(obj, object_visit_descendant, &v);
}

char *object_canonical_path(const Object *obj)
{
    if (obj == object_root_instance) {
        return g_strdup("/");
    }
    char *path = g_strdup("");
    for (; obj != object_root_instance; obj = obj->parent) {
        if (!obj || !obj->parent) {
            g_free(path);
            return NULL;
        }
        char *longer = g_strconcat("/", obj->name, path, NULL);
        g_free(path);
        path = longer;
    }
    return path;
}

/* One step: a child, or what a link property points to. */
static Object *object_step(Object *obj, const char *name)
{
    Object *child = object_child(obj, name);
    return child ? child : object_get_link(obj, name, NULL);
}

static Object *object_walk(Object *obj, char **parts)
{
    for (; obj && *parts; parts++) {
        if (**parts) {
            obj = object_step(obj, *parts);
        }
    }
    return obj;
}

typedef struct PartialSearch {
    char **parts;
    const char *type_name;
    Object *found;
    bool ambiguous;
} PartialSearch;

static bool object_try_partial(Object *child, void *opaque)
{
    PartialSearch *search = opaque;
    if (strcmp(child->name, search->parts[0])) {
        return true;
    }
    Object *hit = object_dynamic_cast(object_walk(child, search->parts + 1), search->type_name);
    if (hit && search->found && search->found != hit) {
        search->ambiguous = true;
        return false;
    }
    search->found = hit ? hit : search->found;
    return true;
}

Object *object_resolve(const char *path, const char *type_name, bool *ambiguous)
{
    if (ambiguous) {
        *ambiguous = false;
    }
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    if (path[0] == '/') {
        return object_dynamic_cast(object_walk(object_root(), parts), type_name);
    }
    if (!path[0]) {
        return NULL;
    }
    PartialSearch search = { .parts = parts, .type_name = type_name };
    object_foreach_descendant(object_root(), object_try_partial, &search);
    if (ambiguous) {
        *ambiguous = search.ambiguous;
    }
    return search.ambiguous ? NULL : search.found;
}
