/* query-stats, query-stats-schemas: what the accelerator counts. */
#include <string.h>

#include "accel/accel.h"
#include "cpu/cpu.h"
#include "schema/stats.h"

/* --- Filters --- */

static bool in_list(const StrList *list, const char *text)
{
    for (size_t i = 0; i < list->len; i++) {
        if (!strcmp(list->items[i], text)) {
            return true;
        }
    }
    return list->len == 0;
}

/* The present accelerator, if it counts and its provider is wanted. *names: of its request. */
static Accel *wanted_accel(const StatsRequestList *requests, const StrList **names)
{
    static const StrList all;
    Accel *accel = accel_current();

    *names = &all;
    if (!accel || !accel_class_of(accel)->stats) {
        return NULL;
    }
    for (size_t i = 0; i < requests->len; i++) {
        if (requests->items[i].provider == accel_class_of(accel)->stats_provider) {
            *names = &requests->items[i].names;
            return accel;
        }
    }
    return requests->len ? NULL : accel;
}

/* --- Values --- */

typedef struct Collect {
    const StrList *names;
    GArray *stats; /* Stats */
} Collect;

static void collect(const StatsSchemaValue *what, const uint64_t *values, size_t count,
                    void *opaque)
{
    Collect *c = opaque;
    Stats s = { 0 };

    if (!in_list(c->names, what->name)) {
        return;
    }
    s.name = g_strdup(what->name);
    if (what->type == STATS_TYPE_LINEAR_HISTOGRAM || what->type == STATS_TYPE_LOG2_HISTOGRAM) {
        s.value.kind = STATS_VALUE_LIST;
        s.value.u.list.len = count;
        s.value.u.list.items = g_memdup2(values, count * sizeof(values[0]));
    } else if (what->has_unit && what->unit == STATS_UNIT_BOOLEAN) {
        s.value.kind = STATS_VALUE_FLAG;
        s.value.u.flag = values[0] != 0;
    } else {
        s.value.kind = STATS_VALUE_SCALAR;
        s.value.u.scalar = values[0];
    }
    g_array_append_val(c->stats, s);
}

static bool add_result(Accel *accel, Cpu *cpu, const StrList *names, GArray *results, Error **errp)
{
    Collect c = { names, g_array_new(false, false, sizeof(Stats)) };

    if (!accel_class_of(accel)->stats(accel, cpu, collect, &c, errp)) {
        g_array_free(c.stats, true);
        return false;
    }
    if (!c.stats->len) {
        g_array_free(c.stats, true);
        return true;
    }
    StatsResult r = {
        .provider = accel_class_of(accel)->stats_provider,
        .qom_path = cpu ? object_canonical_path(&cpu->parent.parent) : NULL,
        .stats = { .len = c.stats->len },
    };
    r.stats.items = (Stats *)g_array_free(c.stats, false);
    g_array_append_val(results, r);
    return true;
}

static bool add_vcpus(Accel *accel, const StrList *paths, const StrList *names, GArray *results,
                      Error **errp)
{
    Cpu *cpu;

    CPU_FOREACH(cpu)
    {
        g_autofree char *path = object_canonical_path(&cpu->parent.parent);
        if (in_list(paths, path) && !add_result(accel, cpu, names, results, errp)) {
            return false;
        }
    }
    return true;
}

bool qmp_query_stats(const StatsFilter *args, StatsResultList *ret, Error **errp)
{
    const StrList *names;
    Accel *accel = wanted_accel(&args->providers, &names);
    GArray *results = g_array_new(false, false, sizeof(StatsResult));
    bool ok = true;

    if (accel && args->target == STATS_TARGET_VM) {
        ok = add_result(accel, NULL, names, results, errp);
    } else if (accel) {
        ok = add_vcpus(accel, &args->u.vcpu.vcpus, names, results, errp);
    }
    ret->len = results->len;
    ret->items = (StatsResult *)g_array_free(results, false);
    return ok;
}

/* --- Schemas --- */

static void collect_schema(const StatsSchemaValue *what, const uint64_t *values, size_t count,
                           void *opaque)
{
    GArray *list = opaque;
    StatsSchemaValue v = *what;
    v.name = g_strdup(what->name);
    g_array_append_val(list, v);
}

static bool add_schema(Accel *accel, StatsTarget target, Cpu *cpu, GArray *schemas, Error **errp)
{
    GArray *list = g_array_new(false, false, sizeof(StatsSchemaValue));

    if (!accel_class_of(accel)->stats(accel, cpu, collect_schema, list, errp)) {
        g_array_free(list, true);
        return false;
    }
    StatsSchema s = {
        .provider = accel_class_of(accel)->stats_provider,
        .target = target,
        .stats = { .len = list->len },
    };
    s.stats.items = (StatsSchemaValue *)g_array_free(list, false);
    g_array_append_val(schemas, s);
    return true;
}

bool qmp_query_stats_schemas(const QueryStatsSchemasArgs *args, StatsSchemaList *ret, Error **errp)
{
    Accel *accel = accel_current();
    GArray *schemas = g_array_new(false, false, sizeof(StatsSchema));
    bool ok = true;

    if (accel && accel_class_of(accel)->stats &&
        (!args->has_provider || args->provider == accel_class_of(accel)->stats_provider)) {
        Cpu *cpu = cpu_by_index(0);
        ok = add_schema(accel, STATS_TARGET_VM, NULL, schemas, errp) &&
             (!cpu || add_schema(accel, STATS_TARGET_VCPU, cpu, schemas, errp));
    }
    ret->len = schemas->len;
    ret->items = (StatsSchema *)g_array_free(schemas, false);
    return ok;
}
