#include "accel/accel.h"

#include <string.h>

#include "base/text.h"
#include "object/property.h"

#define ACCEL_SUFFIX "-accel"
#define ACCEL_CHILD  "accel"

/* As AccelIrqchipWish counts. */
static const char *const irqchip_names[] = { "auto", "on", "off", "split" };
static const EnumDesc irqchip_desc = { "KernelIrqchip", irqchip_names, NULL,
                                       ARRAY_LEN(irqchip_names) };
const ValueType accel_value_type_irqchip = {
    .kind = VALUE_ENUM,
    .name = "KernelIrqchip",
    .size = sizeof(int),
    .enumeration = &irqchip_desc,
};

/* It hangs below the machine, so that two machines after each other have one each. */
Accel *accel_current(void)
{
    Object *machine = object_child(object_root(), "machine");
    Object *obj = machine ? object_child(machine, ACCEL_CHILD) : NULL;
    return (Accel *)object_dynamic_cast(obj, TYPE_ACCEL);
}

const char *accel_type_for_name(const char *name)
{
    g_autofree char *type = g_strconcat(name, ACCEL_SUFFIX, NULL);
    ObjectClass *klass = class_dynamic_cast(class_by_name(type), TYPE_ACCEL);
    return klass ? class_name(klass) : NULL;
}

static bool start(const char *type_name, json_t *properties, Object *machine, bool has_next,
                  Error **errp)
{
    Object *obj = object_try_new(type_name, TYPE_ACCEL, errp);
    if (!obj) {
        return false;
    }
    AccelClass *klass = accel_class_of(obj);
    ((Accel *)obj)->has_next = has_next;
    if (!object_set_all(obj, properties, VALUE_MODE_TEXT, errp) ||
        (klass->probe && !klass->probe((Accel *)obj, errp)) ||
        !object_add_child(machine, ACCEL_CHILD, obj, errp)) {
        object_unref(obj);
        return false;
    }
    object_unref(obj); /* the tree has it */
    if (klass->init_machine && !klass->init_machine((Accel *)obj, machine, errp)) {
        object_unparent(obj);
        return false;
    }
    obj->sealed = true;
    return true;
}

bool accel_start(const char *type_name, json_t *properties, Object *machine, Error **errp)
{
    return start(type_name, properties, machine, false, errp);
}

bool accel_start_or_next(const char *type_name, json_t *properties, Object *machine, Error **errp)
{
    return start(type_name, properties, machine, true, errp);
}

void accel_stop(void)
{
    Accel *accel = accel_current();
    if (!accel) {
        return;
    }
    AccelClass *klass = accel_class_of(accel);
    if (klass->finish_machine) {
        klass->finish_machine(accel);
    }
    object_unparent(&accel->parent);
}

AccelIrqchip accel_irqchip(void)
{
    Accel *accel = accel_current();
    AccelClass *klass = accel ? accel_class_of(accel) : NULL;
    return klass && klass->irqchip ? klass->irqchip(accel) : ACCEL_IRQCHIP_OFF;
}

const AccelIrqOps *accel_irq_ops(void)
{
    Accel *accel = accel_current();
    return accel && accel_irqchip() != ACCEL_IRQCHIP_OFF ? accel_class_of(accel)->irq : NULL;
}

bool accel_is(const char *name)
{
    Accel *accel = accel_current();
    const char *type = accel_type_for_name(name);
    return accel && type && object_dynamic_cast(&accel->parent, type);
}

static void accel_print_name(ObjectClass *klass, void *opaque)
{
    const char *name = class_name(klass);
    size_t len = strlen(name) - strlen(ACCEL_SUFFIX);
    g_autofree char *shown = g_strndup(name, len);
    g_string_append_printf(opaque, "%s\n", shown);
}

/* The header and a name a line: the shape that existing tools parse. */
void accel_print_list(GString *out)
{
    g_string_append(out, "Accelerators supported in this build:\n");
    class_foreach(TYPE_ACCEL, false, accel_print_name, out);
}

static const TypeInfo accel_type = {
    .name = TYPE_ACCEL,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(Accel),
    .class_size = sizeof(AccelClass),
    .abstract = true,
};
OBJECT_TYPE(accel, accel_type)
