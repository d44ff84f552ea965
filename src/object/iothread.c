#include "object/iothread.h"

#include "object/user-creatable.h"
#include "schema/iothread.h"

struct IoThread {
    Object parent;
    EventLoop *loop; /* NULL until complete */
};

EventLoop *iothread_loop(IoThread *iothread)
{
    return iothread->loop;
}

static bool iothread_complete(Object *obj, Error **errp)
{
    IoThread *iothread = iothread_cast(obj);
    g_autofree char *name = g_strdup_printf("IO %s", obj->name);
    iothread->loop = event_loop_thread_create(name, errp);
    return iothread->loop;
}

static void iothread_finalize(Object *obj)
{
    event_loop_thread_destroy(iothread_cast(obj)->loop);
}

static bool iothread_describe(Object *obj, void *opaque)
{
    IOThreadInfoList *list = opaque;
    IoThread *iothread = (IoThread *)object_dynamic_cast(obj, TYPE_IOTHREAD);
    if (iothread) {
        list->items = g_renew(IOThreadInfo, list->items, list->len + 1);
        list->items[list->len++] = (IOThreadInfo){
            .id = g_strdup(obj->name),
            .thread_id = event_loop_thread_id(iothread->loop),
        };
    }
    return true;
}

bool qmp_query_iothreads(IOThreadInfoList *ret, Error **errp)
{
    object_foreach_child(object_container("/objects"), iothread_describe, ret);
    return true;
}

static void iothread_class_init(ObjectClass *klass, const void *data)
{
    ((UserCreatableClass *)class_cast(klass, TYPE_USER_CREATABLE))->complete = iothread_complete;
}

static const TypeInfo iothread_type = {
    .name = TYPE_IOTHREAD,
    .parent = TYPE_OBJECT,
    .help = "a thread for the I/O of devices",
    .instance_size = sizeof(IoThread),
    .class_init = iothread_class_init,
    .instance_finalize = iothread_finalize,
    .interfaces = (const char *const[]){ TYPE_USER_CREATABLE, NULL },
};
OBJECT_TYPE(iothread, iothread_type)
