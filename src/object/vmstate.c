/* The list of what is to be saved. */
#include "object/vmstate.h"

#include <glib.h>
#include <string.h>

/* Of this process's machine; entries go with their objects. Machine lock. */
static GPtrArray *vmstate_entries;

static int vmstate_next_instance(const char *name)
{
    int next = 0;
    for (guint i = 0; i < vmstate_entries->len; i++) {
        const VmStateEntry *e = vmstate_entries->pdata[i];
        if (!strcmp(e->name, name) && e->instance >= next) {
            next = e->instance + 1;
        }
    }
    return next;
}

void vmstate_register(const char *name, int instance, const VmState *state, void *opaque)
{
    if (!vmstate_entries) {
        vmstate_entries = g_ptr_array_new();
    }
    VmStateEntry *entry = g_new(VmStateEntry, 1);
    *entry = (VmStateEntry){
        .name = g_strdup(name),
        .instance = instance < 0 ? vmstate_next_instance(name) : instance,
        .state = state,
        .opaque = opaque,
    };
    guint at = 0;
    while (at < vmstate_entries->len &&
           ((VmStateEntry *)vmstate_entries->pdata[at])->state->priority >= state->priority) {
        at++;
    }
    g_ptr_array_insert(vmstate_entries, at, entry);
}

void vmstate_unregister(const VmState *state, void *opaque)
{
    for (guint i = 0; vmstate_entries && i < vmstate_entries->len; i++) {
        VmStateEntry *e = vmstate_entries->pdata[i];
        if (e->state == state && e->opaque == opaque) {
            g_ptr_array_remove_index(vmstate_entries, i);
            g_free(e->name);
            g_free(e);
            break;
        }
    }
    if (vmstate_entries && !vmstate_entries->len) {
        g_clear_pointer(&vmstate_entries, g_ptr_array_unref);
    }
}

bool vmstate_foreach(VmStateVisitor *visit, void *opaque)
{
    for (guint i = 0; vmstate_entries && i < vmstate_entries->len; i++) {
        if (!visit(vmstate_entries->pdata[i], opaque)) {
            return false;
        }
    }
    return true;
}
