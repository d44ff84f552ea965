/* -numa: nodes, their memory, CPUs and distances. */
#include <inttypes.h>
#include <string.h>

#include "base/report.h"
#include "base/text.h"
#include "machine/machine-internal.h"
#include "memory/backend.h"
#include "object/user-creatable.h"

/* ACPI SLIT: the distance of a node to itself, and the usual one to others. */
#define NUMA_DISTANCE_LOCAL   10
#define NUMA_DISTANCE_DEFAULT 20

static bool numa_supported(Machine *m, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    if (!mc->numa_supported) {
        error_set(errp, "machine '%s' has no NUMA nodes", mc->name);
        return false;
    }
    return true;
}

static int numa_free_id(const Machine *m)
{
    for (int id = 0; id < MACHINE_MAX_NODES; id++) {
        if (!m->numa.nodes[id]) {
            return id;
        }
    }
    return -1;
}

static bool numa_take_cpus(Machine *m, int id, const uint64_t *cpus, size_t n, Error **errp)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (cpus[i] > cpus[i + 1] || cpus[i + 1] >= m->n_slots) {
            error_set(errp,
                      "node %d: CPUs %" PRIu64 "-%" PRIu64 " are not among the "
                      "%u of -smp",
                      id, cpus[i], cpus[i + 1], m->n_slots);
            return false;
        }
        for (uint64_t cpu = cpus[i]; cpu <= cpus[i + 1]; cpu++) {
            if (m->slots[cpu].node >= 0 && m->slots[cpu].node != id) {
                error_set(errp, "node %d: CPU %" PRIu64 " is in node %d already", id, cpu,
                          m->slots[cpu].node);
                return false;
            }
            m->slots[cpu].node = id;
        }
    }
    return true;
}

static int numa_node_of_memdev(const Machine *m, const Object *memdev)
{
    for (int id = 0; id < MACHINE_MAX_NODES; id++) {
        if (m->numa.nodes[id] && m->numa.nodes[id]->memdev == memdev) {
            return id;
        }
    }
    return -1;
}

bool machine_numa_add_node(Machine *m, const MachineNumaNodeConfig *config, Error **errp)
{
    if (!numa_supported(m, errp)) {
        return false;
    }
    int id = config->has_nodeid ? (int)MIN_OF(config->nodeid, MACHINE_MAX_NODES) : numa_free_id(m);
    if (id < 0 || id >= MACHINE_MAX_NODES) {
        error_set(errp, "at most %d nodes, numbered from 0", MACHINE_MAX_NODES);
        return false;
    }
    if (m->numa.nodes[id]) {
        error_set(errp, "Duplicate NUMA nodeid: %d", id);
        return false;
    }
    if (config->has_mem && config->memdev) {
        error_set(errp, "node %d: 'mem' and 'memdev' exclude each other", id);
        return false;
    }
    Object *memdev = NULL;
    if (config->memdev) {
        memdev = user_creatable_find(config->memdev, TYPE_MEMORY_BACKEND);
        if (!memdev) {
            error_set(errp, "node %d: memory backend '%s' not found", id, config->memdev);
            return false;
        }
        int other = numa_node_of_memdev(m, memdev);
        if (other >= 0) {
            error_set(errp, "node %d: memory backend '%s' is the memory of node %d already", id,
                      config->memdev, other);
            return false;
        }
    }
    if (!numa_take_cpus(m, id, config->cpus, config->n_cpus, errp)) {
        return false;
    }
    MachineNumaNode *node = g_new0(MachineNumaNode, 1);
    *node = (MachineNumaNode){
        .present = true,
        .has_size = config->has_mem || memdev,
        .size = memdev ? memory_backend_cast(memdev)->size : config->mem,
        .memdev = memdev,
        .initiator = config->has_initiator ? (int)config->initiator : -1,
    };
    if (memdev) {
        object_ref(memdev);
    }
    m->numa.nodes[id] = node;
    m->numa.count++;
    return true;
}

static MachineNumaNode *numa_node(Machine *m, uint64_t id, Error **errp)
{
    MachineNumaNode *node = id < MACHINE_MAX_NODES ? m->numa.nodes[id] : NULL;
    if (!node) {
        error_set(errp, "there is no node %" PRIu64 "; '-numa node' comes first", id);
    }
    return node;
}

bool machine_numa_add_distance(Machine *m, uint64_t src, uint64_t dst, uint64_t val, Error **errp)
{
    MachineNumaNode *node = numa_node(m, src, errp);
    if (!node || !numa_node(m, dst, errp)) {
        return false;
    }
    if (val < NUMA_DISTANCE_LOCAL || val > UINT8_MAX ||
        (src == dst && val != NUMA_DISTANCE_LOCAL)) {
        error_set(errp,
                  "distance %" PRIu64 " from node %" PRIu64 " to %" PRIu64 " is not "
                  "possible: a node is %d from itself, others are %d to 255 away",
                  val, src, dst, NUMA_DISTANCE_LOCAL, NUMA_DISTANCE_LOCAL);
        return false;
    }
    node->distance[dst] = val;
    m->numa.have_distances = true;
    return true;
}

bool machine_numa_add_cpu(Machine *m, const MachineNumaCpuConfig *c, Error **errp)
{
    if (!numa_node(m, c->node_id, errp)) {
        return false;
    }
    bool found = false;
    for (unsigned i = 0; i < m->n_slots; i++) {
        MachineCpuSlot *slot = &m->slots[i];
        if ((c->has_socket_id && slot->socket_id != c->socket_id) ||
            (c->has_die_id && slot->die_id != c->die_id) ||
            (c->has_core_id && slot->core_id != c->core_id) ||
            (c->has_thread_id && slot->thread_id != c->thread_id)) {
            continue;
        }
        found = true;
        if (slot->node >= 0 && slot->node != (int)c->node_id) {
            error_set(errp, "CPU %u is in node %d already", i, slot->node);
            return false;
        }
        slot->node = c->node_id;
    }
    if (!found) {
        error_set(errp, "no CPU has these ids");
    }
    return found;
}

/* --- Completing --- */

/* Nodes without a size share what is left, in whole megabytes; the last takes the rest. */
static bool numa_share_memory(Machine *m, Error **errp)
{
    for (unsigned id = 1; id < m->numa.count; id++) {
        if (!m->numa.nodes[id]->memdev != !m->numa.nodes[0]->memdev) {
            error_set(errp, "-numa: 'memdev' must be given for all nodes or for none");
            return false;
        }
    }
    uint64_t given = 0, open = 0;
    for (int id = 0; id < MACHINE_MAX_NODES; id++) {
        MachineNumaNode *node = m->numa.nodes[id];
        if (node) {
            given += node->has_size ? node->size : 0;
            open += !node->has_size;
        }
    }
    if (given > m->ram_size || (!open && given != m->ram_size)) {
        g_autofree char *sum = text_from_size(given), *ram = text_from_size(m->ram_size);
        error_set(errp, "-numa: total memory of the nodes (%s) is not the machine's (%s)", sum,
                  ram);
        return false;
    }
    uint64_t left = m->ram_size - given;
    for (int id = 0; id < MACHINE_MAX_NODES && open; id++) {
        MachineNumaNode *node = m->numa.nodes[id];
        if (node && !node->has_size) {
            node->size = open == 1 ? left : ALIGN_DOWN(left / open, MiB);
            left -= node->size;
            open--;
        }
    }
    return true;
}

static bool numa_complete_distances(Machine *m, Error **errp)
{
    for (int a = 0; a < MACHINE_MAX_NODES; a++) {
        for (int b = 0; b < MACHINE_MAX_NODES; b++) {
            MachineNumaNode *from = m->numa.nodes[a], *to = m->numa.nodes[b];
            if (!from || !to || from->distance[b]) {
                continue;
            }
            if (a == b) {
                from->distance[b] = NUMA_DISTANCE_LOCAL;
            } else if (!m->numa.have_distances) {
                from->distance[b] = NUMA_DISTANCE_DEFAULT;
            } else if (to->distance[a]) {
                from->distance[b] = to->distance[a];
            } else {
                error_set(errp,
                          "-numa: the distance between nodes %d and %d is missing; give all "
                          "or none",
                          a, b);
                return false;
            }
        }
    }
    return true;
}

/* CPUs that nobody placed go by socket. Having placed only some is hardly meant. */
static void numa_place_cpus(Machine *m)
{
    unsigned open = 0, first = 0;
    for (unsigned i = m->n_slots; i--;) {
        if (m->slots[i].node < 0) {
            m->slots[i].node = m->slots[i].socket_id % m->numa.count;
            first = i;
            open++;
        }
    }
    if (open && open < m->n_slots) {
        report_warning("-numa: %u of %u CPUs, maxcpus included, are in no node; the first, CPU %u, "
                       "is put into node %d",
                       open, m->n_slots, first, m->slots[first].node);
    }
}

bool machine_numa_complete(Machine *m, Error **errp)
{
    if (!m->numa.count) {
        return true;
    }
    for (int id = 0; id < (int)m->numa.count; id++) {
        if (!m->numa.nodes[id]) {
            error_set(errp, "-numa: node %d is missing; nodes are numbered without gaps", id);
            return false;
        }
    }
    numa_place_cpus(m);
    return numa_share_memory(m, errp) && numa_complete_distances(m, errp);
}

void machine_numa_free(Machine *m)
{
    for (int id = 0; id < MACHINE_MAX_NODES; id++) {
        if (m->numa.nodes[id]) {
            object_unref(m->numa.nodes[id]->memdev);
            g_clear_pointer(&m->numa.nodes[id], g_free);
        }
    }
}
