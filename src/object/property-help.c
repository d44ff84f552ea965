/* One line of help per property row: `-device T,help`, `-object T,help`. */
#include <inttypes.h>
#include <string.h>

#include "object/property.h"

static void property_append_default(const Field *row, GString *out)
{
    if (!(row->flags & FIELD_DEFAULT)) {
        return;
    }
    switch (row->type->kind) {
    case VALUE_BOOL:
        g_string_append_printf(out, " (default: %s)", row->def.u ? "on" : "off");
        break;
    case VALUE_INT:
        g_string_append_printf(out, " (default: %" PRId64 ")", row->def.i);
        break;
    case VALUE_UINT:
    case VALUE_SIZE:
        g_string_append_printf(out, " (default: %" PRIu64 ")", row->def.u);
        break;
    case VALUE_NUMBER:
        g_string_append_printf(out, " (default: %g)", row->def.d);
        break;
    case VALUE_STR:
        if (row->def.s) {
            g_string_append_printf(out, " (default: \"%s\")", row->def.s);
        }
        break;
    case VALUE_ENUM:
        g_string_append_printf(out, " (default: \"%s\")",
                               enum_name(row->type->enumeration, row->def.i));
        break;
    default:
        break;
    }
}

void property_print_help(const Field *row, GString *out)
{
    g_autofree char *link = NULL;
    if (row->type == &value_type_link) {
        link = g_strdup_printf("link<%s>", (const char *)row->data);
    }
    g_autofree char *key = g_strdup_printf("%s=<%s>", row->name, link ?: row->type->name);
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
