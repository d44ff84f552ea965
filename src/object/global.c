/* Global and compat properties. */
#include <string.h>

#include "base/report.h"
#include "object/object.h"

/* The user's globals, in the order given (later ones win). Of this process's machine; emptied by
 * global_properties_reset(). */
static GPtrArray *global_user;
/* Machine versions' tables, weakest last. */
static GPtrArray *global_compat;

static void global_free(gpointer data)
{
    GlobalProperty *g = data;
    g_free((char *)g->driver);
    g_free((char *)g->property);
    g_free((char *)g->value);
    g_free(g);
}

void global_property_add(const GlobalProperty *global)
{
    if (!global_user) {
        global_user = g_ptr_array_new_with_free_func(global_free);
    }
    GlobalProperty *copy = g_memdup2(global, sizeof(*global));
    copy->driver = g_strdup(global->driver);
    copy->property = g_strdup(global->property);
    copy->value = g_strdup(global->value);
    g_ptr_array_add(global_user, copy);
}

void compat_properties_add(const GlobalProperty *rows)
{
    if (!global_compat) {
        global_compat = g_ptr_array_new();
    }
    g_ptr_array_add(global_compat, (gpointer)rows);
}

static bool global_apply(Object *obj, const GlobalProperty *g, Error **errp)
{
    if (g->optional && !object_has_property(obj, g->property)) {
        return true;
    }
    if (!object_set_text(obj, g->property, g->value, errp)) {
        error_prepend(errp, "can't apply global %s.%s=%s: ", g->driver, g->property, g->value);
        return false;
    }
    return true;
}

bool global_properties_apply(Object *obj, Error **errp)
{
    for (guint i = global_compat ? global_compat->len : 0; i-- > 0;) {
        for (const GlobalProperty *g = global_compat->pdata[i]; g->driver; g++) {
            if (object_dynamic_cast(obj, g->driver) && !global_apply(obj, g, errp)) {
                return false;
            }
        }
    }
    for (guint i = 0; global_user && i < global_user->len; i++) {
        GlobalProperty *g = global_user->pdata[i];
        if (!object_dynamic_cast(obj, g->driver)) {
            continue;
        }
        g->used = true;
        if (!global_apply(obj, g, errp)) {
            return false;
        }
    }
    return true;
}

int global_properties_check_unused(void)
{
    int unused = 0;
    for (guint i = 0; global_user && i < global_user->len; i++) {
        const GlobalProperty *g = global_user->pdata[i];
        if (g->used || !g->user_provided) {
            continue;
        }
        unused++;
        if (!type_find(g->driver)) {
            report_warning("global %s.%s has invalid class name", g->driver, g->property);
        } else {
            report_warning("global %s.%s=%s not used", g->driver, g->property, g->value);
        }
    }
    return unused;
}

void global_properties_reset(void)
{
    g_clear_pointer(&global_user, g_ptr_array_unref);
    g_clear_pointer(&global_compat, g_ptr_array_unref);
}
