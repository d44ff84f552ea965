#include "contract/remains.h"

#include <dirent.h>

#include "accel/accel.h"
#include "base/rcu.h"
#include "block/block.h"
#include "bus/device.h"
#include "event/lock.h"
#include "event/loop.h"
#include "net/net.h"

/* What dispatches longer than this dispatches for ever. */
#define ROUNDS_MAX 1000
/* A thread that was joined may still be listed for a moment. */
#define PATIENCE_MS 2000

static bool count_object(Object *obj, void *opaque)
{
    (*(unsigned *)opaque)++;
    return true;
}

static bool count_client(NetClient *nc, void *opaque)
{
    (*(unsigned *)opaque)++;
    return true;
}

static bool count_node(BlockNode *node, void *opaque)
{
    (*(unsigned *)opaque)++;
    return true;
}

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

static void settle(void)
{
    /* What is freed late may free something else late. */
    for (int again = 0; again < 3; again++) {
        for (int i = 0; i < ROUNDS_MAX && event_loop_iterate(event_loop_main(), false); i++) {
        }
        machine_unlock();
        rcu_drain();
        machine_lock();
    }
}

static Remains count_now(void)
{
    Remains r = {
        .descriptors = count_entries("/proc/self/fd"),
        .threads = count_entries("/proc/self/task"),
        /* asking for the bus makes one below /machine */
        .devices = machine_current() ? bus_system()->devices->len : 0,
    };
    object_foreach_descendant(object_root(), count_object, &r.objects);
    net_client_foreach(count_client, &r.net_clients);
    block_node_foreach(count_node, &r.block_nodes);
    return r;
}

Remains remains_now(void)
{
    settle();
    return count_now();
}

static bool equal(const Remains *a, const Remains *b)
{
    return a->descriptors == b->descriptors && a->threads == b->threads &&
           a->objects == b->objects && a->devices == b->devices &&
           a->net_clients == b->net_clients && a->block_nodes == b->block_nodes;
}

void assert_nothing_left(const Remains *before, const char *what)
{
    Remains now = remains_now();
    for (int ms = 0; !equal(&now, before) && ms < PATIENCE_MS; ms += 10) {
        g_usleep(10 * 1000);
        now = remains_now();
    }
    if (!equal(&now, before)) {
        g_error("%s left something behind: descriptors %u → %u, threads %u → %u, objects %u → %u, "
                "devices %u → %u, net clients %u → %u, block nodes %u → %u",
                what, before->descriptors, now.descriptors, before->threads, now.threads,
                before->objects, now.objects, before->devices, now.devices, before->net_clients,
                now.net_clients, before->block_nodes, now.block_nodes);
    }
}

Machine *contract_machine_new(const char *type, Error **errp)
{
    MachineClass *mc = machine_class_find(type, errp);
    Machine *m = mc ? machine_create(mc, errp) : NULL;
    if (!m) {
        return NULL;
    }
    if (machine_set_memory(m, &(MachineMemoryConfig){ 0 }, errp) &&
        machine_set_smp(m, &(MachineSmpConfig){ 0 }, errp) &&
        accel_start("qtest-accel", NULL, &m->parent, errp) && machine_complete(m, errp) &&
        machine_init_board(m, errp)) {
        return m;
    }
    contract_machine_free(m);
    return NULL;
}

void contract_machine_free(Machine *m)
{
    machine_destroy(m);
    object_root_reset();
}
