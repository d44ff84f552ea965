/* What the machine is made of, for monitor clients. */
#include <string.h>
#include <unistd.h>

#include "accel/accel.h"
#include "cpu/cpu.h"
#include "cpu/x86/models.h"
#include "machine/machine.h"
#include "memory/backend.h"
#include "schema/machine.h"

/* What clients switched on; there is one migration in a process. Machine lock. */
static bool migration_events;

#define UUID_NULL "00000000-0000-0000-0000-000000000000"

bool qmp_query_target(TargetInfo *ret, Error **errp)
{
    ret->arch = SYS_EMU_TARGET_X86_64;
    return true;
}

bool qmp_query_name(NameInfo *ret, Error **errp)
{
    const Machine *m = machine_current();
    ret->name = g_strdup(m ? m->guest_name : NULL);
    return true;
}

bool qmp_query_uuid(UuidInfo *ret, Error **errp)
{
    const Machine *m = machine_current();
    ret->UUID = g_strdup(m && m->uuid ? m->uuid : UUID_NULL);
    return true;
}

bool qmp_query_kvm(KvmInfo *ret, Error **errp)
{
    ret->enabled = accel_is("kvm");
    ret->present = accel_type_for_name("kvm") && access("/dev/kvm", R_OK | W_OK) == 0;
    return true;
}

/* --- Machines --- */

static void add_machine(ObjectClass *klass, void *opaque)
{
    MachineInfoList *list = opaque;
    const MachineClass *mc = machine_class_cast(klass);
    list->items = g_renew(MachineInfo, list->items, list->len + 1);
    list->items[list->len++] = (MachineInfo){
        .name = g_strdup(mc->name),
        .alias = g_strdup(mc->alias),
        .has_is_default = mc->is_default,
        .is_default = mc->is_default,
        /* Clients divide by it. */
        .cpu_max = mc->max_cpus ? mc->max_cpus : 1,
        .hotpluggable_cpus = mc->hotpluggable_cpus,
        .numa_mem_supported = false,
        .deprecated = mc->deprecated != NULL,
        .default_cpu_type = g_strdup(mc->default_cpu_type),
        .default_ram_id = g_strdup(mc->default_ram_id),
    };
}

bool qmp_query_machines(MachineInfoList *ret, Error **errp)
{
    class_foreach(TYPE_MACHINE, false, add_machine, ret);
    return true;
}

/* --- CPUs --- */

bool qmp_query_cpu_definitions(CpuDefinitionInfoList *ret, Error **errp)
{
    json_t *list = x86_cpu_definitions();
    bool ok = value_parse(&value_type_cpu_definition_info_list, ret, list, VALUE_MODE_TYPED, errp);
    json_decref(list);
    return ok;
}

bool qmp_query_cpu_model_expansion(const QueryCpuModelExpansionArgs *args,
                                   CpuModelExpansionInfo *ret, Error **errp)
{
    if (args->model.props && !json_is_object(args->model.props)) {
        error_set(errp, "Parameter 'model.props' expects an object");
        return false;
    }
    json_t *model = x86_cpu_expand_model(args->model.name, args->model.props,
                                         args->type == CPU_MODEL_EXPANSION_TYPE_FULL, errp);
    if (!model) {
        return false;
    }
    bool ok = value_parse(&value_type_cpu_model_info, &ret->model, model, VALUE_MODE_TYPED, errp);
    json_decref(model);
    return ok;
}

static void fill_place(CpuInstanceProperties *props, const MachineCpuSlot *slot)
{
    *props = (CpuInstanceProperties){
        .has_node_id = slot->node >= 0,
        .node_id = slot->node,
        .has_socket_id = true,
        .socket_id = slot->socket_id,
        .has_die_id = true,
        .die_id = slot->die_id,
        .has_core_id = true,
        .core_id = slot->core_id,
        .has_thread_id = true,
        .thread_id = slot->thread_id,
    };
}

static const MachineCpuSlot *slot_of(const Cpu *cpu)
{
    Machine *m = machine_current();
    unsigned count = 0;
    const MachineCpuSlot *slots = m ? machine_cpu_slots(m, &count) : NULL;
    for (unsigned i = 0; i < count; i++) {
        if (slots[i].cpu == &cpu->parent.parent) {
            return &slots[i];
        }
    }
    return NULL;
}

bool qmp_query_cpus_fast(CpuInfoFastList *ret, Error **errp)
{
    Cpu *cpu;
    ret->items = g_new0(CpuInfoFast, cpu_count());
    CPU_FOREACH(cpu)
    {
        const MachineCpuSlot *slot = slot_of(cpu);
        CpuInfoFast *info = &ret->items[ret->len++];
        *info = (CpuInfoFast){
            .cpu_index = cpu->index,
            .qom_path = object_canonical_path(&cpu->parent.parent),
            .thread_id = cpu->thread_id,
            .target = SYS_EMU_TARGET_X86_64,
        };
        if (slot) {
            info->props = g_new0(CpuInstanceProperties, 1);
            fill_place(info->props, slot);
        }
    }
    return true;
}

bool qmp_query_hotpluggable_cpus(HotpluggableCPUList *ret, Error **errp)
{
    Machine *m = machine_current();
    unsigned count = 0;
    const MachineCpuSlot *slots = m ? machine_cpu_slots(m, &count) : NULL;
    if (!count) {
        error_set(errp, "The machine has no places for CPUs");
        return false;
    }
    ret->items = g_new0(HotpluggableCPU, count);
    for (unsigned i = 0; i < count; i++) {
        HotpluggableCPU *info = &ret->items[ret->len++];
        info->type = g_strdup(m->cpu_type ? m->cpu_type : "");
        info->vcpus_count = 1;
        info->qom_path = slots[i].cpu ? object_canonical_path(slots[i].cpu) : NULL;
        fill_place(&info->props, &slots[i]);
    }
    return true;
}

bool qmp_inject_nmi(Error **errp)
{
    Cpu *cpu;
    if (!cpu_count()) {
        error_set(errp, "machine does not provide NMIs");
        return false;
    }
    CPU_FOREACH(cpu)
    {
        cpu_request(cpu, CPU_REQUEST_NMI);
    }
    return true;
}

/* --- Memory --- */

bool qmp_query_memory_size_summary(MemoryInfo *ret, Error **errp)
{
    const Machine *m = machine_current();
    ret->base_memory = m ? m->ram_size : 0;
    ret->has_plugged_memory = true;
    return true;
}

static bool add_memdev(Object *obj, void *opaque)
{
    MemdevList *list = opaque;
    if (!object_dynamic_cast(obj, TYPE_MEMORY_BACKEND)) {
        return true;
    }
    const MemoryBackend *backend = memory_backend_cast(obj);
    list->items = g_renew(Memdev, list->items, list->len + 1);
    Memdev *info = &list->items[list->len++];
    *info = (Memdev){
        .id = g_strdup(obj->name),
        .size = backend->size,
        .merge = backend->merge,
        .dump = backend->dump,
        .prealloc = backend->prealloc,
        .share = backend->share,
        .has_reserve = true,
        .reserve = backend->reserve,
        .policy = object_get_text(obj, "policy", &error_abort),
    };
    info->host_nodes.len = backend->host_nodes.len;
    info->host_nodes.items =
        g_memdup2(backend->host_nodes.items, backend->host_nodes.len * sizeof(uint16_t));
    return true;
}

bool qmp_query_memdev(MemdevList *ret, Error **errp)
{
    object_foreach_child(object_container("/objects"), add_memdev, ret);
    return true;
}

/* --- Migration --- */

bool qmp_migrate_set_capabilities(const MigrateSetCapabilitiesArgs *args, Error **errp)
{
    for (size_t i = 0; i < args->capabilities.len; i++) {
        migration_events = args->capabilities.items[i].state;
    }
    return true;
}

bool qmp_query_migrate_capabilities(MigrationCapabilityStatusList *ret, Error **errp)
{
    ret->items = g_new0(MigrationCapabilityStatus, 1);
    ret->len = 1;
    ret->items[0] = (MigrationCapabilityStatus){ MIGRATION_CAPABILITY_EVENTS, migration_events };
    return true;
}
