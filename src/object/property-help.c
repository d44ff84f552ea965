/* Property rows as text: one line of help each (`-device T,help`, `-object T,help`). */
#include <inttypes.h>
#include <stdlib.h>

#include "object/property.h"

json_t *property_default(const Field *row)
{
    if (!(row->flags & FIELD_DEFAULT)) {
        return NULL;
    }
    switch (row->type->kind) {
    case VALUE_BOOL:
        return json_boolean(row->def.u);
    case VALUE_INT:
        return json_integer(row->def.i);
    case VALUE_UINT:
    case VALUE_SIZE:
        return json_integer(row->def.u);
    case VALUE_NUMBER:
        return json_real(row->def.d);
    case VALUE_STR:
    case VALUE_CUSTOM:
        return row->def.s ? json_string(row->def.s) : NULL;
    case VALUE_ENUM:
        return json_string(enum_name(row->type->enumeration, row->def.i));
    default:
        return NULL;
    }
}

static void property_append_default(const Field *row, GString *out)
{
    json_t *value = property_default(row);
    if (json_is_boolean(value)) {
        g_string_append_printf(out, " (default: %s)", json_is_true(value) ? "on" : "off");
    } else if (value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        g_string_append_printf(out, " (default: %s)", text);
        free(text);
    }
    json_decref(value);
}

char *property_type_name(const Field *row)
{
    return row->type == &value_type_link ? g_strdup_printf("link<%s>", (const char *)row->data)
                                         : g_strdup(row->type->name);
}

void property_print_help(const Field *row, GString *out)
{
    g_autofree char *type = property_type_name(row);
    g_autofree char *key = g_strdup_printf("%s=<%s>", row->name, type);
    g_string_append_printf(out, "  %-22s - %s", key, row->help ?: "");
    if (row->type->kind == VALUE_ENUM) {
        const EnumDesc *e = row->type->enumeration;
        g_string_append(out, row->help ? " (" : "(");
        const char *separator = "";
        for (int i = 0; i < e->count; i++) {
            if (e->names[i]) {
                g_string_append_printf(out, "%s%s", separator, e->names[i]);
                separator = "/";
            }
        }
        g_string_append_c(out, ')');
    }
    if (row->flags & FIELD_RANGE) {
        g_string_append_printf(out, " (%" PRId64 "..%" PRId64 ")", row->min, row->max);
    }
    property_append_default(row, out);
    g_string_append_c(out, '\n');
}
