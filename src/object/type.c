/* The type registry and classes. */
#include "object/object.h"

#include <string.h>

#include "base/text.h"
#include "object/type-internal.h"

/* name → Type; filled by start-up, then only read. */
static GHashTable *type_table;
/* Guards type_table and the making of classes. */
static GRecMutex type_lock;

static Type *type_lookup(const char *name)
{
    if (!name) {
        return NULL;
    }
    g_rec_mutex_lock(&type_lock);
    Type *type = type_table ? g_hash_table_lookup(type_table, name) : NULL;
    g_rec_mutex_unlock(&type_lock);
    return type;
}

void type_register(const TypeInfo *info)
{
    g_rec_mutex_lock(&type_lock);
    if (!type_table) {
        type_table = g_hash_table_new(g_str_hash, g_str_equal);
    }
    Type *type = g_new0(Type, 1);
    type->info = info;
    bool is_new = g_hash_table_insert(type_table, (gpointer)info->name, type);
    g_rec_mutex_unlock(&type_lock);
    if (!is_new) {
        g_error("type '%s' registered twice", info->name);
    }
}

static Type *type_parent(Type *type)
{
    if (!type->parent && type->info->parent) {
        type->parent = type_lookup(type->info->parent);
        if (!type->parent) {
            g_error("type '%s' has unknown parent '%s'", type->info->name, type->info->parent);
        }
    }
    return type->parent;
}

static bool type_has_ancestor(Type *type, Type *ancestor)
{
    for (; type; type = type_parent(type)) {
        if (type == ancestor) {
            return true;
        }
        for (unsigned i = 0; i < type->n_interfaces; i++) {
            if (type_has_ancestor(type->interfaces[i]->type, ancestor)) {
                return true;
            }
        }
    }
    return false;
}

/* --- Making a class: the parent's copied, own interfaces added, then class_init --- */

static size_t type_class_size(Type *type)
{
    for (; type; type = type_parent(type)) {
        if (type->info->class_size) {
            return type->info->class_size;
        }
    }
    return sizeof(ObjectClass);
}

size_t type_instance_size(Type *type)
{
    for (; type; type = type_parent(type)) {
        if (type->info->instance_size) {
            return type->info->instance_size;
        }
    }
    return sizeof(Object);
}

static ObjectClass *class_alloc_from(Type *type, const ObjectClass *base, size_t base_size)
{
    size_t size = type_class_size(type);
    ObjectClass *klass = g_malloc0(size);
    if (base) {
        assert(base_size <= size);
        memcpy(klass, base, base_size);
    }
    klass->type = type;
    return klass;
}

static void type_add_interface(Type *type, Type *iface, const ObjectClass *base)
{
    for (unsigned i = 0; i < type->n_interfaces; i++) {
        if (type->interfaces[i]->type == iface) {
            return;
        }
    }
    size_t size = type_class_size(iface);
    if (!base) {
        base = type_class(iface);
    }
    type->interfaces = g_renew(ObjectClass *, type->interfaces, type->n_interfaces + 1);
    type->interfaces[type->n_interfaces++] = class_alloc_from(iface, base, size);
}

static void type_inherit_interfaces(Type *type)
{
    Type *parent = type_parent(type);
    for (unsigned i = 0; parent && i < parent->n_interfaces; i++) {
        type_add_interface(type, parent->interfaces[i]->type, parent->interfaces[i]);
    }
    for (const char *const *name = type->info->interfaces; name && *name; name++) {
        Type *iface = type_lookup(*name);
        if (!iface) {
            g_error("type '%s' implements unknown interface '%s'", type->info->name, *name);
        }
        type_add_interface(type, iface, NULL);
    }
}

/* A row hides one of the same name further up; class_set_default() puts changed copies in. */
static void type_collect_properties(Type *type)
{
    Type *parent = type_parent(type);
    type->properties = g_hash_table_new(g_str_hash, g_str_equal);
    type->property_order = g_ptr_array_new();
    for (const Field *row = type->info->properties; row && row->name; row++) {
        if (!g_hash_table_insert(type->properties, (gpointer)row->name, (gpointer)row)) {
            g_error("type '%s' has property '%s' twice", type->info->name, row->name);
        }
        g_ptr_array_add(type->property_order, (gpointer)row);
    }
    for (guint i = 0; parent && i < parent->property_order->len; i++) {
        const Field *row = parent->property_order->pdata[i];
        if (!g_hash_table_contains(type->properties, row->name)) {
            g_hash_table_insert(type->properties, (gpointer)row->name, (gpointer)row);
            g_ptr_array_add(type->property_order, (gpointer)row);
        }
    }
}

ObjectClass *type_class(Type *type)
{
    ObjectClass *klass = __atomic_load_n(&type->klass, __ATOMIC_ACQUIRE);
    if (LIKELY(klass)) {
        return klass;
    }
    g_rec_mutex_lock(&type_lock);
    if (!type->klass && !type->making) {
        Type *parent = type_parent(type);
        ObjectClass *base = parent ? type_class(parent) : NULL;
        type->making = class_alloc_from(type, base, parent ? type_class_size(parent) : 0);
        type_inherit_interfaces(type);
        type_collect_properties(type);
        if (type->info->class_init) {
            type->info->class_init(type->making, type->info->class_data);
        }
        __atomic_store_n(&type->klass, type->making, __ATOMIC_RELEASE);
    }
    klass = type->klass ?: type->making; /* asked for by its own class_init */
    g_rec_mutex_unlock(&type_lock);
    return klass;
}

/* --- Questions about types --- */

const TypeInfo *type_find(const char *name)
{
    Type *type = type_lookup(name);
    return type ? type->info : NULL;
}

size_t type_instance_size_of(const char *name)
{
    return type_instance_size(type_lookup(name));
}

bool type_is_abstract(const char *name)
{
    Type *type = type_lookup(name);
    if (!type || type->info->abstract) {
        return true;
    }
    while (type_parent(type)) {
        type = type_parent(type);
    }
    return !strcmp(type->info->name, TYPE_INTERFACE);
}

/* From the registered rows alone: asking makes no class. */
static bool type_descends_from(Type *type, const Type *ancestor)
{
    for (; type; type = type_parent(type)) {
        if (type == ancestor) {
            return true;
        }
        for (const char *const *name = type->info->interfaces; name && *name; name++) {
            if (type_descends_from(type_lookup(*name), ancestor)) {
                return true;
            }
        }
    }
    return false;
}

bool type_is_a(const char *name, const char *ancestor)
{
    Type *a = type_lookup(ancestor);
    return a && type_descends_from(type_lookup(name), a);
}

static int type_compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp((*(ObjectClass *const *)a)->type->info->name,
                  (*(ObjectClass *const *)b)->type->info->name);
}

void class_foreach(const char *ancestor, bool include_abstract, ClassVisitor *visit, void *opaque)
{
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;
    g_rec_mutex_lock(&type_lock);
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    if (type_table) {
        g_hash_table_iter_init(&iter, type_table);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
            g_ptr_array_add(all, value);
        }
    }
    g_rec_mutex_unlock(&type_lock);
    for (guint i = 0; i < all->len; i++) {
        Type *type = all->pdata[i];
        const char *name = type->info->name;
        if ((include_abstract || !type_is_abstract(name)) && type_is_a(name, ancestor)) {
            g_ptr_array_add(found, type_class(type));
        }
    }
    g_ptr_array_sort(found, type_compare_names);
    for (guint i = 0; i < found->len; i++) {
        visit(found->pdata[i], opaque);
    }
}

typedef struct TypeNames {
    GPtrArray *names;
    guint next;
} TypeNames;

static void type_names_add(ObjectClass *klass, void *opaque)
{
    g_ptr_array_add(opaque, (gpointer)klass->type->info->name);
}

static const char *type_names_next(void *opaque)
{
    TypeNames *cursor = opaque;
    return cursor->next < cursor->names->len ? cursor->names->pdata[cursor->next++] : NULL;
}

const char *type_nearest(const char *name, const char *ancestor)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    class_foreach(ancestor, false, type_names_add, names);
    TypeNames cursor = { names, 0 };
    return text_nearest(name, type_names_next, &cursor);
}

ObjectClass *class_by_name(const char *type_name)
{
    Type *type = type_lookup(type_name);
    return type ? type_class(type) : NULL;
}

const char *class_name(const ObjectClass *klass)
{
    return klass->type->info->name;
}

ObjectClass *class_parent(ObjectClass *klass)
{
    Type *parent = type_parent(klass->type);
    return parent ? type_class(parent) : NULL;
}

static ObjectClass *class_find_interface(Type *type, Type *iface)
{
    for (unsigned i = 0; i < type->n_interfaces; i++) {
        if (type_has_ancestor(type->interfaces[i]->type, iface)) {
            return type->interfaces[i];
        }
    }
    return NULL;
}

ObjectClass *class_dynamic_cast(ObjectClass *klass, const char *type_name)
{
    if (!klass) {
        return NULL;
    }
    Type *target = type_lookup(type_name);
    if (!target) {
        return NULL;
    }
    for (Type *type = klass->type; type; type = type_parent(type)) {
        if (type == target) {
            return klass;
        }
    }
    return class_find_interface(klass->type, target);
}

/* Names are string literals mostly, so that the address of one seen before is enough. */
ObjectClass *class_cast(ObjectClass *klass, const char *type_name)
{
    TypeCastCache *cache = klass->type->casts;
    for (int i = 0; i < TYPE_CAST_CACHE; i++) {
        if (__atomic_load_n(&cache[i].name, __ATOMIC_ACQUIRE) == type_name) {
            ObjectClass *hit = __atomic_load_n(&cache[i].result, __ATOMIC_RELAXED);
            return hit == klass->type->klass ? klass : hit;
        }
    }
    ObjectClass *result = class_dynamic_cast(klass, type_name);
    if (!result) {
        g_error("class '%s' is no '%s'", class_name(klass), type_name);
    }
    g_rec_mutex_lock(&type_lock);
    for (int i = 0; i < TYPE_CAST_CACHE && klass->type->klass; i++) {
        if (!cache[i].name) {
            cache[i].result = result;
            __atomic_store_n(&cache[i].name, type_name, __ATOMIC_RELEASE);
            break;
        }
    }
    g_rec_mutex_unlock(&type_lock);
    return result;
}

/* --- Property rows --- */

const Field *class_find_property(ObjectClass *klass, const char *name)
{
    return g_hash_table_lookup(klass->type->properties, name);
}

static const ObjectClass *class_definer(ObjectClass *klass, const Field *row)
{
    for (Type *type = klass->type; type; type = type_parent(type)) {
        for (const Field *own = type->info->properties; own && own->name; own++) {
            if (!strcmp(own->name, row->name)) {
                return type_class(type);
            }
        }
    }
    return klass;
}

void class_foreach_property(ObjectClass *klass, PropertyVisitor *visit, void *opaque)
{
    for (guint i = 0; i < klass->type->property_order->len; i++) {
        const Field *row = klass->type->property_order->pdata[i];
        visit(row, class_definer(klass, row), opaque);
    }
    ObjectClass *part = klass->part_type ? class_by_name(klass->part_type) : NULL;
    for (guint i = 0; part && i < part->type->property_order->len; i++) {
        const Field *row = part->type->property_order->pdata[i];
        if (!class_find_property(klass, row->name)) {
            visit(row, class_definer(part, row), opaque);
        }
    }
}

void class_set_default(ObjectClass *klass, const char *property, const char *value)
{
    const Field *old = class_find_property(klass, property);
    if (!old) {
        g_error("class '%s' has no property '%s' to set the default of", class_name(klass),
                property);
    }
    /* Parse into a scratch word laid out as the field, and take the result as the new default. */
    Field *row = g_memdup2(old, sizeof(*old));
    union {
        uint64_t u;
        int64_t i;
        int enumeration;
        double d;
        bool b;
        uint8_t raw[8];
    } word = { 0 };
    Field scratch = *old;
    scratch.offset = 0;
    scratch.has_offset = 0;
    if (scratch.flags & FIELD_BIT) {
        scratch.flags &= ~FIELD_BIT;
    }
    row->flags |= FIELD_DEFAULT;
    if (old->type->kind == VALUE_STR) {
        row->def.s = g_strdup(value);
    } else {
        json_t *text = json_string(value);
        bool ok = field_parse(&word, &scratch, text, VALUE_MODE_TEXT, &error_abort);
        (void)ok;
        json_decref(text);
        switch (old->type->kind) {
        case VALUE_BOOL:
            row->def.u = word.b;
            break;
        case VALUE_ENUM:
            row->def.i = word.enumeration;
            break;
        case VALUE_NUMBER:
            row->def.d = word.d;
            break;
        case VALUE_INT: {
            unsigned shift = 64 - 8 * old->type->size;
            row->def.i = (int64_t)(word.u << shift) >> shift;
            break;
        }
        default:
            row->def.u = word.u;
            break;
        }
    }
    g_hash_table_insert(klass->type->properties, (gpointer)row->name, row);
    for (guint i = 0; i < klass->type->property_order->len; i++) {
        if (klass->type->property_order->pdata[i] == old) {
            klass->type->property_order->pdata[i] = row;
        }
    }
}

static const TypeInfo object_type = { .name = TYPE_OBJECT,
                                      .instance_size = sizeof(Object),
                                      .class_size = sizeof(ObjectClass),
                                      .abstract = true };
static const TypeInfo interface_type = { .name = TYPE_INTERFACE,
                                         .class_size = sizeof(ObjectClass),
                                         .abstract = true };
OBJECT_TYPE(object, object_type)
OBJECT_TYPE(interface, interface_type)
