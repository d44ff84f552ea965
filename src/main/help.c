/* -machine help, -device help, -device T,help and the like. */
#include <stdio.h>
#include <string.h>

#include "accel/accel.h"
#include "base/module.h"
#include "base/report.h"
#include "base/text.h"
#include "config/config.h"
#include "cpu/x86/cpu.h"
#include "machine/machine.h"
#include "object/property.h"
#include "object/user-creatable.h"
#include "schema/hardware.h"

static const char *help_given(json_t *given, const char *key)
{
    return json_string_value(json_object_get(given, key));
}

static void help_row(const Field *row, const ObjectClass *definer, void *opaque)
{
    if (!(row->flags & FIELD_READONLY) && strcmp(class_name(definer), TYPE_DEVICE)) {
        property_print_help(row, opaque);
    }
}

static void help_class(ObjectClass *klass, GString *out)
{
    g_string_append_printf(out, "%s options:\n", class_name(klass));
    class_foreach_property(klass, help_row, out);
}

static bool help_fail(Error *err)
{
    error_report_and_free(err);
    return false;
}

static bool help_device(json_t *given, FILE *file)
{
    g_autoptr(GString) out = g_string_new(NULL);
    const char *driver = help_given(given, "driver");
    Error *err = NULL;
    if (!driver) {
        device_print_list(out);
    } else if (!device_print_help(driver, out, &err)) {
        return help_fail(err);
    }
    fputs(out->str, file);
    return true;
}

static void help_object_row(ObjectClass *klass, void *opaque)
{
    g_string_append_printf(opaque, "  %s\n", class_name(klass));
}

static bool help_object(json_t *given, FILE *file)
{
    g_autoptr(GString) out = g_string_new(NULL);
    const char *type = help_given(given, "qom-type");
    ObjectClass *klass = type ? class_by_name(type) : NULL;
    if (!type) {
        g_string_append(out, "List of user creatable objects:\n");
        class_foreach(TYPE_USER_CREATABLE, false, help_object_row, out);
    } else if (!class_dynamic_cast(klass, TYPE_USER_CREATABLE)) {
        const char *near = type_nearest(type, TYPE_USER_CREATABLE);
        report_error(near ? "'%s' is not a valid object type; did you mean '%s'?"
                          : "'%s' is not a valid object type",
                     type, near);
        return false;
    } else {
        help_class(klass, out);
    }
    fputs(out->str, file);
    return true;
}

static bool help_machine(json_t *given, FILE *file)
{
    g_autoptr(GString) out = g_string_new(NULL);
    const char *type = help_given(given, "type");
    Error *err = NULL;
    MachineClass *mc = type ? machine_class_find(type, &err) : NULL;
    if (!type) {
        machine_print_list(out);
    } else if (!mc) {
        return help_fail(err);
    } else {
        help_class(&mc->parent, out);
    }
    fputs(out->str, file);
    return true;
}

static bool help_accel(json_t *given, FILE *file)
{
    g_autoptr(GString) out = g_string_new(NULL);
    const char *name = help_given(given, "accel");
    const char *type = name ? accel_type_for_name(name) : NULL;
    if (!name) {
        accel_print_list(out);
    } else if (!type) {
        report_error("invalid accelerator %s", name);
        return false;
    } else {
        help_class(class_by_name(type), out);
    }
    fputs(out->str, file);
    return true;
}

/* "help", or "MODEL,feature=on,help" */
static bool help_cpu(json_t *given, FILE *file)
{
    g_autoptr(GString) out = g_string_new(NULL);
    const char *text = json_string_value(given);
    g_autofree char *model = g_strndup(text, strcspn(text, ","));
    g_autofree char *type = g_strconcat(model, X86_CPU_TYPE_SUFFIX, NULL);
    ObjectClass *klass = class_by_name(type);
    if (text_is_help(text)) {
        x86_cpu_print_models(out);
    } else if (!klass) {
        report_error("unknown CPU model '%s'; -cpu help lists them", model);
        return false;
    } else {
        help_class(klass, out);
    }
    fputs(out->str, file);
    return true;
}

static void help_register(void)
{
    static OptionHooks hooks[] = {
        { .option = &option_device, .help = help_device },
        { .option = &option_object, .help = help_object },
        { .option = &option_machine, .help = help_machine },
        { .option = &option_accel, .help = help_accel },
        { .option = &option_cpu, .help = help_cpu },
    };
    for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
        option_hooks_append(&hooks[i]);
    }
}
MODULE_INIT(MODULE_OPTIONS, help_register)
