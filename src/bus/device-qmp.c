/* QMP commands about devices. */
#include <string.h>

#include "bus/device.h"
#include "object/property.h"
#include "schema/device.h"
#include "schema/qom.h"

/* Only what a user can set: the rows of TYPE_DEVICE itself are about its life. */
static void device_list_property(const Field *row, const ObjectClass *definer, void *opaque)
{
    ObjectPropertyInfoList *list = opaque;
    if (!strcmp(class_name(definer), TYPE_DEVICE) || (row->flags & FIELD_READONLY)) {
        return;
    }
    list->items = g_renew(ObjectPropertyInfo, list->items, list->len + 1);
    list->items[list->len++] = (ObjectPropertyInfo){
        .name = g_strdup(row->name),
        .type = property_type_name(row),
        .description = g_strdup(row->help),
        .default_value = property_default(row),
    };
}

bool qmp_device_list_properties(const DeviceListPropertiesArgs *args, ObjectPropertyInfoList *ret,
                                Error **errp)
{
    ObjectClass *klass = class_by_name(args->typename);
    if (!klass) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                        args->typename);
        return false;
    }
    if (!class_dynamic_cast(klass, TYPE_DEVICE) || type_is_abstract(args->typename)) {
        error_set(errp, "Parameter 'typename' expects a non-abstract device type, got '%s'",
                  args->typename);
        return false;
    }
    class_foreach_property(klass, device_list_property, ret);
    return true;
}

bool qmp_device_add(const DeviceOptions *args, Error **errp)
{
    json_t *properties = value_print(&value_type_device_options, args);
    /* clients write numbers and switches as strings too, as the command has always taken them */
    bool ok = device_add_by_user(properties, VALUE_MODE_TEXT, errp);
    json_decref(properties);
    return ok;
}

bool qmp_device_del(const DeviceDelArgs *args, Error **errp)
{
    return device_del_by_user(args->id, errp);
}
