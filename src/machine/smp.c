/* -smp: how many CPUs, and how they are arranged. */
#include <inttypes.h>

#include "machine/machine.h"

/* The product of the levels, or 0 when it does not fit. */
static uint64_t smp_product(const MachineSmp *smp)
{
    uint64_t product = 1;
    const unsigned levels[] = { smp->sockets, smp->dies, smp->clusters, smp->cores, smp->threads };
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (__builtin_mul_overflow(product, levels[i], &product)) {
            return 0;
        }
    }
    return product;
}

static bool smp_check_given(const MachineSmpConfig *c, const MachineClass *mc, Error **errp)
{
    const struct {
        const char *name;
        bool given;
        uint64_t value;
    } members[] = {
        { "cpus", c->has_cpus, c->cpus },          { "sockets", c->has_sockets, c->sockets },
        { "dies", c->has_dies, c->dies },          { "clusters", c->has_clusters, c->clusters },
        { "cores", c->has_cores, c->cores },       { "threads", c->has_threads, c->threads },
        { "maxcpus", c->has_maxcpus, c->maxcpus },
    };
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (members[i].given && (!members[i].value || members[i].value > UINT16_MAX)) {
            error_set(errp, "-smp: '%s' must be between 1 and %d, got %" PRIu64, members[i].name,
                      UINT16_MAX, members[i].value);
            return false;
        }
    }
    if (c->has_dies && c->dies > 1 && !mc->dies_supported) {
        error_set(errp, "-smp: machine '%s' has no dies", mc->name);
        return false;
    }
    if (c->has_clusters && c->clusters > 1 && !mc->clusters_supported) {
        error_set(errp, "-smp: machine '%s' has no clusters", mc->name);
        return false;
    }
    return true;
}

/* What was left out follows from what was given: cores first, then sockets, then threads. All
 * places are taken at the start unless maxcpus says that there are more. */
static void smp_fill(const MachineSmpConfig *c, MachineSmp *smp)
{
    uint64_t all = c->has_maxcpus ? c->maxcpus : c->cpus;
    smp->sockets = c->sockets;
    smp->dies = c->has_dies ? c->dies : 1;
    smp->clusters = c->has_clusters ? c->clusters : 1;
    smp->cores = c->cores;
    smp->threads = c->threads;
    if (!all) {
        smp->sockets = MAX_OF(smp->sockets, 1u);
        smp->cores = MAX_OF(smp->cores, 1u);
        smp->threads = MAX_OF(smp->threads, 1u);
    } else if (!c->has_cores) {
        smp->sockets = MAX_OF(smp->sockets, 1u);
        smp->threads = MAX_OF(smp->threads, 1u);
        smp->cores = all / ((uint64_t)smp->sockets * smp->dies * smp->clusters * smp->threads);
    } else if (!c->has_sockets) {
        smp->threads = MAX_OF(smp->threads, 1u);
        smp->sockets = all / ((uint64_t)smp->dies * smp->clusters * smp->cores * smp->threads);
    } else if (!c->has_threads) {
        smp->threads = all / ((uint64_t)smp->sockets * smp->dies * smp->clusters * smp->cores);
    }
    uint64_t product = smp_product(smp);
    smp->max_cpus = all ? all : MIN_OF(product, UINT32_MAX);
    smp->cpus = c->has_cpus ? c->cpus : smp->max_cpus;
}

static bool smp_check(const MachineSmp *smp, const MachineClass *mc, Error **errp)
{
    if (smp->cpus > smp->max_cpus) {
        error_set(errp, "-smp: cpus (%u) is more than maxcpus (%u)", smp->cpus, smp->max_cpus);
        return false;
    }
    if (smp_product(smp) != smp->max_cpus) {
        error_set(errp,
                  "-smp: %u CPUs can't be arranged so: sockets (%u) * dies (%u) * cores (%u) * "
                  "threads (%u) is %" PRIu64,
                  smp->max_cpus, smp->sockets, smp->dies, smp->cores, smp->threads,
                  smp_product(smp));
        return false;
    }
    if (smp->max_cpus > MAX_OF(mc->max_cpus, 1u)) {
        error_set(errp, "-smp: machine '%s' has at most %u CPUs, got %u", mc->name,
                  MAX_OF(mc->max_cpus, 1u), smp->max_cpus);
        return false;
    }
    if (smp->cpus < mc->min_cpus) {
        error_set(errp, "-smp: machine '%s' has at least %u CPUs, got %u", mc->name, mc->min_cpus,
                  smp->cpus);
        return false;
    }
    return true;
}

/* The APIC id has a field of bits per level, wide enough for its count. SDM volume 3 section
 * 9.9.1. */
static unsigned smp_bits(unsigned count)
{
    return count > 1 ? 32 - __builtin_clz(count - 1) : 0;
}

static void smp_make_slots(Machine *m)
{
    const MachineSmp *smp = &m->smp;
    unsigned core_shift = smp_bits(smp->threads);
    unsigned die_shift = core_shift + smp_bits(smp->cores * smp->clusters);
    unsigned socket_shift = die_shift + smp_bits(smp->dies);
    g_free(m->slots);
    m->n_slots = smp->max_cpus;
    m->slots = g_new0(MachineCpuSlot, m->n_slots);
    for (unsigned i = 0; i < m->n_slots; i++) {
        MachineCpuSlot *slot = &m->slots[i];
        unsigned cores = smp->cores * smp->clusters;
        slot->thread_id = i % smp->threads;
        slot->core_id = i / smp->threads % cores;
        slot->die_id = i / smp->threads / cores % smp->dies;
        slot->socket_id = i / smp->threads / cores / smp->dies;
        slot->arch_id = slot->thread_id | slot->core_id << core_shift | slot->die_id << die_shift |
                        slot->socket_id << socket_shift;
        slot->node = -1;
    }
}

bool machine_set_smp(Machine *m, const MachineSmpConfig *config, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    MachineSmp smp = { 0 };
    if (!smp_check_given(config, mc, errp)) {
        return false;
    }
    MachineSmpConfig c = *config;
    if (!c.has_cpus && !c.has_maxcpus && !c.has_sockets && !c.has_cores && !c.has_threads) {
        c.has_cpus = true;
        c.cpus = MAX_OF(mc->min_cpus, 1u);
    }
    smp_fill(&c, &smp);
    if (!smp_check(&smp, mc, errp)) {
        return false;
    }
    m->smp = smp;
    m->smp_given = true;
    if (mc->max_cpus) {
        smp_make_slots(m);
    }
    return true;
}

const MachineCpuSlot *machine_cpu_slots(Machine *m, unsigned *count)
{
    *count = m->n_slots;
    return m->slots;
}
