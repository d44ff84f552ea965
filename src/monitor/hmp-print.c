/* Any QMP result, in a form for people. */
#include <string.h>

#include "monitor/hmp.h"

static void print_scalar(GString *out, json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        g_string_append(out, json_string_value(value));
        break;
    case JSON_INTEGER:
        g_string_append_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        g_string_append_printf(out, "%g", json_real_value(value));
        break;
    case JSON_TRUE:
        g_string_append(out, "on");
        break;
    case JSON_FALSE:
        g_string_append(out, "off");
        break;
    default:
        g_string_append(out, "-");
        break;
    }
}

static bool is_container(json_t *value)
{
    return (json_is_object(value) && json_object_size(value)) ||
           (json_is_array(value) && json_array_size(value));
}

static void print_member(GString *out, const char *name, json_t *value, int indent)
{
    g_string_append_printf(out, "%*s%s:", indent, "", name);
    if (is_container(value)) {
        g_string_append_c(out, '\n');
        hmp_print_json(out, value, indent + 2);
    } else {
        g_string_append_c(out, ' ');
        print_scalar(out, value);
        g_string_append_c(out, '\n');
    }
}

void hmp_print_json(GString *out, json_t *value, int indent)
{
    if (json_is_object(value)) {
        const char *text = json_string_value(json_object_get(value, "human-readable-text"));
        const char *key;
        json_t *member;
        if (text) {
            g_string_append(out, text);
            return;
        }
        json_object_foreach(value, key, member)
        {
            print_member(out, key, member, indent);
        }
    } else if (json_is_array(value)) {
        size_t i;
        json_t *item;
        json_array_foreach(value, i, item)
        {
            if (is_container(item)) {
                g_autofree char *name = g_strdup_printf("[%zu]", i);
                print_member(out, name, item, indent);
            } else {
                g_string_append_printf(out, "%*s", indent, "");
                print_scalar(out, item);
                g_string_append_c(out, '\n');
            }
        }
    } else {
        g_string_append_printf(out, "%*s", indent, "");
        print_scalar(out, value);
        g_string_append_c(out, '\n');
    }
}
