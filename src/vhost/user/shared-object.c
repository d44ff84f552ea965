#include "vhost/user/shared-object.h"

#include <string.h>

/* A back end that adds and never removes must not fill the memory. */
#define OBJECTS_AT_MOST 1024

typedef struct SharedObject {
    VhostUserShared id;
    VhostUser *owner;
} SharedObject;

typedef struct Lookup {
    VhostUser *asker; /* NULL: gone meanwhile */
} Lookup;

/* Devices share with one another, whoever made them: the lists are the process's. Machine lock. */
static GArray *objects;    /* SharedObject; NULL while empty */
static GPtrArray *lookups; /* Lookup, on their way; NULL while empty */

static int object_find(const VhostUserShared *id)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        if (!memcmp(&g_array_index(objects, SharedObject, i).id, id, sizeof(*id))) {
            return i;
        }
    }
    return -1;
}

static void object_delete(guint i)
{
    g_array_remove_index_fast(objects, i);
    if (!objects->len) {
        g_clear_pointer(&objects, g_array_unref);
    }
}

bool shared_object_add(const VhostUserShared *id, VhostUser *owner)
{
    unsigned own = 0;
    for (guint i = 0; objects && i < objects->len; i++) {
        own += g_array_index(objects, SharedObject, i).owner == owner;
    }
    if (object_find(id) >= 0 || own >= OBJECTS_AT_MOST) {
        return false;
    }
    if (!objects) {
        objects = g_array_new(false, false, sizeof(SharedObject));
    }
    SharedObject object = { *id, owner };
    g_array_append_val(objects, object);
    return true;
}

bool shared_object_remove(const VhostUserShared *id, VhostUser *owner)
{
    int i = object_find(id);
    if (i < 0 || g_array_index(objects, SharedObject, i).owner != owner) {
        return false;
    }
    object_delete(i);
    return true;
}

static void lookup_answered(void *opaque, VhostUserMessage *reply, const Error *err)
{
    Lookup *lookup = opaque;
    if (lookup->asker && lookup->asker->backend_channel) {
        vhost_user_backend_channel_answer(lookup->asker->backend_channel, reply ? 0 : 1,
                                          reply ? reply->fds[0] : -1);
    }
    g_ptr_array_remove_fast(lookups, lookup);
    if (!lookups->len) {
        g_clear_pointer(&lookups, g_ptr_array_unref);
    }
    g_free(lookup);
}

bool shared_object_lookup(const VhostUserShared *id, VhostUser *asker)
{
    int i = object_find(id);
    if (i < 0) {
        return false;
    }
    Lookup *lookup = g_new(Lookup, 1);
    lookup->asker = asker;
    if (!lookups) {
        lookups = g_ptr_array_new();
    }
    g_ptr_array_add(lookups, lookup);
    VhostUserMessage msg = { .header.request = VHOST_USER_GET_SHARED_OBJECT };
    msg.payload.shared = *id;
    vhost_user_channel_request(g_array_index(objects, SharedObject, i).owner->channel, &msg,
                               lookup_answered, lookup);
    return true;
}

void shared_object_forget(VhostUser *vu)
{
    for (guint i = 0; objects && i < objects->len;) {
        if (g_array_index(objects, SharedObject, i).owner == vu) {
            object_delete(i);
        } else {
            i++;
        }
    }
    for (guint i = 0; lookups && i < lookups->len; i++) {
        Lookup *lookup = lookups->pdata[i];
        lookup->asker = lookup->asker == vu ? NULL : lookup->asker;
    }
}
