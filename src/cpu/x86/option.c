/* What users say about CPUs: -cpu, and the models' features as monitors ask for them. */
#include <string.h>

#include "base/value.h"
#include "cpu/x86/features.h"
#include "cpu/x86/models.h"

/* The property a key means: features under their one name, '_' as '-'. Owned by the caller. */
static char *property_name(const char *key)
{
    const X86Feature *f = x86_feature_find(key);
    return f ? g_strdup(f->name) : g_strdelimit(g_strdup(key), "_", '-');
}

static bool check_property(const char *model, const char *name, const char *as_given, Error **errp)
{
    g_autofree char *type = g_strconcat(model, X86_CPU_TYPE_SUFFIX, NULL);
    if (class_find_property(class_by_name(type), name)) {
        return true;
    }
    const char *near = x86_feature_nearest(name);
    if (near) {
        error_set(errp, "CPU model '%s' has no feature or property '%s'; did you mean '%s'?", model,
                  as_given, near);
    } else {
        error_set(errp, "CPU model '%s' has no feature or property '%s'", model, as_given);
    }
    return false;
}

/* One part after the model. */
static bool parse_part(const char *model, const char *part, json_t *properties, Error **errp)
{
    bool sign = *part == '+' || *part == '-';
    const char *equals = strchr(part, '=');
    g_autofree char *key =
        equals ? g_strndup(part + sign, equals - part - sign) : g_strdup(part + sign);
    const char *value = *part == '-' ? "off" : equals ? equals + 1 : "on";

    if (!*key || (sign && equals)) {
        error_set(errp,
                  "-cpu: '%s' is neither +feature, -feature, feature=on|off nor property=value",
                  part);
        return false;
    }
    g_autofree char *name = property_name(key);
    if (!check_property(model, name, key, errp)) {
        return false;
    }
    json_object_set_new(properties, name, json_string(value));
    return true;
}

bool x86_cpu_parse_option(const char *text, char **type_name, json_t **properties, Error **errp)
{
    char **parts = g_strsplit(text, ",", -1);
    json_t *props = json_object();
    const char *name = parts[0] ? parts[0] : "";
    bool ok = false;

    if (!x86_model_find(name)) {
        const char *near = x86_model_nearest(name);
        error_set(errp, "unknown CPU model '%s'%s%s%s; -cpu help lists them", name,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        goto out;
    }
    for (char **part = parts + 1; *part; part++) {
        if (!parse_part(name, *part, props, errp)) {
            goto out;
        }
    }
    *type_name = g_strconcat(name, X86_CPU_TYPE_SUFFIX, NULL);
    *properties = json_incref(props);
    ok = true;
out:
    json_decref(props);
    g_strfreev(parts);
    return ok;
}

static int compare_models(const void *a, const void *b)
{
    return strcmp((*(const X86CpuModel *const *)a)->name, (*(const X86CpuModel *const *)b)->name);
}

void x86_cpu_print_models(GString *out)
{
    const X86CpuModel **sorted = g_new(const X86CpuModel *, x86_model_count);
    unsigned column = 0;

    for (unsigned i = 0; i < x86_model_count; i++) {
        sorted[i] = &x86_models[i];
    }
    qsort(sorted, x86_model_count, sizeof(sorted[0]), compare_models);
    g_string_append(out, "Available CPUs:\n");
    for (unsigned i = 0; i < x86_model_count; i++) {
        X86ModelValues v;
        char buffer[64];
        x86_model_values(sorted[i], &v, buffer);
        g_string_append_printf(out, "x86 %-26s %s\n", sorted[i]->name, v.model_id);
    }
    g_free(sorted);

    g_string_append(out, "\nRecognized CPUID flags:\n ");
    for (unsigned i = 0; i < x86_feature_count; i++) {
        unsigned len = (unsigned)strlen(x86_features[i].name) + 1;
        if (column + len > 76) {
            g_string_append(out, "\n ");
            column = 0;
        }
        g_string_append_printf(out, " %s", x86_features[i].name);
        column += len;
    }
    g_string_append_c(out, '\n');
}

json_t *x86_cpu_expand_model(const char *model, json_t *properties, bool full, Error **errp)
{
    const X86CpuModel *m = x86_model_find(model);
    if (!m) {
        const char *near = x86_model_nearest(model);
        error_set(errp, "The CPU model '%s' is unknown%s%s%s", model,
                  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        return NULL;
    }
    g_autofree char *type = g_strconcat(model, X86_CPU_TYPE_SUFFIX, NULL);
    Object *obj = object_new(type);
    if (properties && !object_set_all(obj, properties, VALUE_MODE_TYPED, errp)) {
        object_unref(obj);
        return NULL;
    }
    const X86Cpu *cpu = x86_cpu_cast(obj);
    uint32_t supported[X86_CPUID_WORDS];
    json_t *props = json_object();

    x86_features_supported(supported, true);
    for (unsigned i = 0; i < x86_feature_count; i++) {
        const X86Feature *f = &x86_features[i];
        uint32_t word = (cpu->features[f->word] | cpu->plus_features[f->word]) &
                        ~cpu->minus_features[f->word] & supported[f->word];
        bool on = word >> f->bit & 1;
        if (on || full) {
            json_object_set_new(props, f->name, json_boolean(on));
        }
    }
    json_object_set_new(props, "vendor", json_string(cpu->vendor));
    json_object_set_new(props, "model-id", json_string(cpu->model_id));
    json_object_set_new(props, "family", json_integer(cpu->family));
    json_object_set_new(props, "model", json_integer(cpu->cpu_model));
    json_object_set_new(props, "stepping", json_integer(cpu->stepping));
    json_object_set_new(props, "level", json_integer(cpu->cpuid_level));
    json_object_set_new(props, "xlevel", json_integer(cpu->cpuid_xlevel));
    object_unref(obj);
    return json_pack("{s:s, s:o}", "name", model, "props", props);
}
