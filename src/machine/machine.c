/* The machine class and its instance's life. */
#include "machine/machine.h"

#include <inttypes.h>
#include <string.h>

#include "accel/accel.h"
#include "cpu/cpu.h"
#include "base/report.h"
#include "base/text.h"
#include "bus/device.h"
#include "config/absent.h"
#include "machine/machine-internal.h"
#include "memory/backend.h"
#include "object/user-creatable.h"

#define MACHINE_PATH "machine"

/* --- Classes --- */

typedef struct MachineSearch {
    const char *name;
    MachineClass *found;
    GPtrArray *names; /* const char *, for suggestions */
    guint next;
} MachineSearch;

static void machine_match(ObjectClass *klass, void *opaque)
{
    MachineSearch *search = opaque;
    MachineClass *mc = machine_class_cast(klass);
    if (!strcmp(mc->name, search->name) || !g_strcmp0(mc->alias, search->name) ||
        !strcmp(class_name(klass), search->name)) {
        search->found = mc;
    }
    g_ptr_array_add(search->names, (gpointer)mc->name);
    if (mc->alias) {
        g_ptr_array_add(search->names, (gpointer)mc->alias);
    }
}

static const char *machine_next_name(void *opaque)
{
    MachineSearch *search = opaque;
    return search->next < search->names->len ? search->names->pdata[search->next++] : NULL;
}

MachineClass *machine_class_find(const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    MachineSearch search = { .name = name, .names = names };
    class_foreach(TYPE_MACHINE, false, machine_match, &search);
    if (!search.found) {
        const char *near = text_nearest(name, machine_next_name, &search);
        const char *absent = absent_reason(ABSENT_MACHINE, name);
        error_set(errp,
                  absent ? "unsupported machine type '%s': %s"
                  : near ? "unsupported machine type '%s'; did you mean '%s'?"
                         : "unsupported machine type '%s'; '-machine help' lists them",
                  name, absent ? absent : near);
    }
    return search.found;
}

static void machine_match_default(ObjectClass *klass, void *opaque)
{
    MachineClass *mc = machine_class_cast(klass);
    if (mc->is_default) {
        *(MachineClass **)opaque = mc;
    }
}

MachineClass *machine_class_default(void)
{
    MachineClass *found = NULL;
    class_foreach(TYPE_MACHINE, false, machine_match_default, &found);
    return found;
}

static void machine_print_class(ObjectClass *klass, void *opaque)
{
    MachineClass *mc = machine_class_cast(klass);
    const char *desc = mc->desc ?: type_find(class_name(klass))->help;
    if (mc->alias) {
        g_string_append_printf(opaque, "%-20s %s (alias of %s)\n", mc->alias, desc, mc->name);
    }
    g_string_append_printf(opaque, "%-20s %s%s%s\n", mc->name, desc,
                           mc->is_default ? " (default)" : "",
                           mc->deprecated ? " (deprecated)" : "");
}

void machine_print_list(GString *out)
{
    g_string_append(out, "Supported machines are:\n");
    class_foreach(TYPE_MACHINE, false, machine_print_class, out);
}

/* --- Life --- */

Machine *machine_current(void)
{
    return (Machine *)object_dynamic_cast(object_child(object_root(), MACHINE_PATH), TYPE_MACHINE);
}

Machine *machine_create(MachineClass *mc, Error **errp)
{
    Object *obj = object_try_new(class_name(&mc->parent), TYPE_MACHINE, errp);
    if (!obj) {
        return NULL;
    }
    if (!object_add_child(object_root(), MACHINE_PATH, obj, errp)) {
        object_unref(obj);
        return NULL;
    }
    object_unref(obj); /* the tree has it */
    static const char *const containers[] = { "/machine/unattached", "/machine/peripheral",
                                              "/machine/peripheral-anon" };
    for (size_t i = 0; i < ARRAY_LEN(containers); i++) {
        object_container(containers[i]);
    }
    if (mc->deprecated) {
        report_warning("machine type '%s' is deprecated: %s", mc->name, mc->deprecated);
    }
    return machine_cast(obj);
}

bool machine_set_memory(Machine *m, const MachineMemoryConfig *config, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    uint64_t size = config->has_size ? config->size : mc->default_ram_size;
    uint64_t max_size = config->has_max_size ? config->max_size : size;
    if (config->has_slots && config->slots && !config->has_max_size) {
        error_set(errp, "-m: 'slots=%" PRIu64 "' needs 'maxmem' too", config->slots);
        return false;
    }
    if (max_size < size) {
        g_autofree char *want = text_from_size(size), *most = text_from_size(max_size);
        error_set(errp, "-m: 'maxmem' (%s) is less than 'size' (%s)", most, want);
        return false;
    }
    if (config->slots && max_size == size) {
        error_set(errp, "-m: 'slots' needs 'maxmem' above 'size'");
        return false;
    }
    /* Guest pages are 4 KiB; a rounded size is what the field gives. */
    m->ram_size = ALIGN_UP(size, 8 * KiB);
    m->max_ram_size = MAX_OF(max_size, m->ram_size);
    m->ram_slots = config->slots;
    m->ram_size_given = config->has_size;
    return true;
}

bool machine_set_boot(Machine *m, const MachineBootConfig *config, Error **errp)
{
    const char *orders[] = { config->order, config->once };
    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        unsigned seen = 0;
        for (const char *p = orders[i]; p && *p; p++) {
            if (*p < 'a' || *p > 'p') {
                error_set(errp, "-boot: invalid boot device '%c' in '%s': a to p are known", *p,
                          orders[i]);
                return false;
            }
            if (seen & (1u << (*p - 'a'))) {
                error_set(errp, "-boot: boot device '%c' was given twice in '%s'", *p, orders[i]);
                return false;
            }
            seen |= 1u << (*p - 'a');
        }
    }
    g_free(m->boot.order);
    g_free(m->boot.once);
    g_free(m->boot.splash);
    m->boot = *config;
    m->boot.order = g_strdup(config->order);
    m->boot.once = g_strdup(config->once);
    m->boot.splash = g_strdup(config->splash);
    return true;
}

bool machine_apply_compat(Machine *m, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    for (const GlobalProperty *const *rows = mc->compat; rows && *rows; rows++) {
        compat_properties_add(*rows);
    }
    return true;
}

/* --- Main memory --- */

/* What -machine says of all memory holds for a backend that becomes main memory. */
static bool machine_take_backend(Machine *m, MemoryBackend *backend, Error **errp)
{
    return memory_backend_claim(backend, errp) &&
           (m->mem_merge || memory_backend_no_merge(backend, errp)) &&
           (m->dump_guest_core || memory_backend_no_dump(backend, errp));
}

/* A backend of the machine's own, below the name that the machine has for it. */
static bool machine_make_backend(Machine *m, Error **errp)
{
    const char *type = m->mem_path ? TYPE_MEMORY_BACKEND_FILE : TYPE_MEMORY_BACKEND_MEMFD;
    json_t *properties =
        json_pack("{s:I, s:b}", "size", (json_int_t)m->ram_size, "prealloc", m->mem_prealloc);
    if (m->mem_path) {
        json_object_set_new(properties, "mem-path", json_string(m->mem_path));
        json_object_set_new(properties, "share", json_true()); /* as the other kind is */
    }
    Object *backend = user_creatable_add(type, machine_class_of(m)->default_ram_id, properties,
                                         VALUE_MODE_TYPED, errp);
    json_decref(properties);
    if (!backend || !object_set_link(&m->parent, "memory-backend", backend, errp)) {
        error_prepend(errp, "cannot make the machine's memory: ");
        return false;
    }
    return true;
}

/* Main memory is the nodes' memory, one behind the other. */
static bool machine_join_nodes(Machine *m, Error **errp)
{
    uint64_t at = 0;

    memory_region_init(&m->ram_container, &m->parent, machine_class_of(m)->default_ram_id,
                       m->ram_size);
    m->ram = &m->ram_container;
    for (unsigned id = 0; id < m->numa.count; id++) {
        MachineNumaNode *node = m->numa.nodes[id];
        MemoryBackend *backend = memory_backend_cast(node->memdev);
        if (!machine_take_backend(m, backend, errp)) {
            error_prepend(errp, "-numa node,nodeid=%u: ", id);
            return false;
        }
        node->claimed = true;
        memory_region_add(&m->ram_container, at, memory_backend_region(backend));
        at += node->size;
    }
    return true;
}

static void machine_drop_ram(Machine *m)
{
    if (m->ram == &m->ram_container) {
        for (unsigned id = 0; id < m->numa.count; id++) {
            MachineNumaNode *node = m->numa.nodes[id];
            if (node->claimed) {
                memory_region_del(&m->ram_container,
                                  memory_backend_region(memory_backend_cast(node->memdev)));
                memory_backend_release(memory_backend_cast(node->memdev));
            }
        }
        memory_region_finish(&m->ram_container);
    } else if (m->ram) {
        memory_backend_release(memory_backend_cast(m->memory_backend));
    }
    m->ram = NULL;
}

static bool machine_check_ram_options(Machine *m, bool by_nodes, Error **errp)
{
    const char *own = m->memory_backend ? "'-machine memory-backend='"
                      : by_nodes        ? "'-numa node,memdev='"
                                        : NULL;
    if (own && (m->mem_path || m->mem_prealloc)) {
        error_set(errp, "-mem-%s and %s exclude each other; set the properties of the backend",
                  m->mem_path ? "path" : "prealloc", own);
        return false;
    }
    if (m->memory_backend && by_nodes) {
        error_set(errp, "'-machine memory-backend=' and '-numa node,memdev=' exclude each other");
        return false;
    }
    return true;
}

static bool machine_make_ram(Machine *m, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    bool by_nodes = m->numa.count && m->numa.nodes[0]->memdev;
    if (!mc->default_ram_id || !m->ram_size) {
        if (m->memory_backend) {
            error_set(errp, "machine '%s' has no memory that 'memory-backend' could be", mc->name);
            return false;
        }
        if (m->mem_path || m->mem_prealloc) {
            error_set(errp, "-mem-%s: machine '%s' has no memory",
                      m->mem_path ? "path" : "prealloc", mc->name);
            return false;
        }
        return true;
    }
    if (!machine_check_ram_options(m, by_nodes, errp)) {
        return false;
    }
    if (by_nodes) {
        return machine_join_nodes(m, errp);
    }
    if (!m->memory_backend && !machine_make_backend(m, errp)) {
        return false;
    }
    MemoryBackend *backend = memory_backend_cast(m->memory_backend);
    if (backend->size != m->ram_size) {
        g_autofree char *have = text_from_size(backend->size), *want = text_from_size(m->ram_size);
        error_set(errp, "memory backend '%s' has %s, but -m asks for %s", m->memory_backend->name,
                  have, want);
        return false;
    }
    if (!machine_take_backend(m, backend, errp)) {
        return false;
    }
    m->ram = memory_backend_region(backend);
    return true;
}

/* Without -m the machine has what the user's backend has. */
static void machine_size_from_backend(Machine *m)
{
    if (m->memory_backend && !m->ram_size_given && m->ram_size) {
        m->ram_size = memory_backend_cast(m->memory_backend)->size;
        m->max_ram_size = MAX_OF(m->max_ram_size, m->ram_size);
    }
}

bool machine_complete(Machine *m, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    if (!m->smp_given && !machine_set_smp(m, &(MachineSmpConfig){ 0 }, errp)) {
        return false;
    }
    if (!m->cpu_type) {
        m->cpu_type = g_strdup(mc->default_cpu_type);
    }
    machine_size_from_backend(m);
    return machine_numa_complete(m, errp) && machine_make_ram(m, errp);
}

bool machine_init_board(Machine *m, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    if (mc->init && !mc->init(m, errp)) {
        return false;
    }
    m->board_ready = true;
    m->parent.sealed = true;
    return true;
}

bool machine_ready(Machine *m, Error **errp)
{
    MachineClass *mc = machine_class_of(m);
    if (mc->ready && !mc->ready(m, errp)) {
        return false;
    }
    m->ready = true;
    device_set_machine_ready(true);
    machine_reset(m, RESET_COLD);
    return true;
}

static bool machine_destroy_device(Device *dev, void *opaque)
{
    device_destroy(dev);
    return true;
}

void machine_destroy(Machine *m)
{
    if (!m) {
        return;
    }
    MachineClass *mc = machine_class_of(m);
    device_set_machine_ready(false);
    while (cpu_count()) {
        device_destroy(&cpu_by_index(cpu_count() - 1)->parent);
    }
    bus_foreach_device(bus_system(), machine_destroy_device, NULL);
    if (mc->finish) {
        mc->finish(m);
    }
    accel_stop();
    object_ref(&m->parent);
    /* Memory that it owns may keep the machine for a while: what is in it goes now. */
    while (m->parent.children && m->parent.children->len) {
        object_unparent(m->parent.children->pdata[m->parent.children->len - 1]);
    }
    object_unparent(&m->parent);
    object_unref(&m->parent);
}

void machine_reset(Machine *m, ResetType type)
{
    MachineClass *mc = machine_class_of(m);
    if (mc->reset) {
        mc->reset(m, type);
    } else {
        machine_reset_all(type);
    }
}

/* --- Type --- */

static void machine_nic_free(gpointer data)
{
    MachineNic *nic = data;
    g_free(nic->model);
    g_free(nic->netdev);
    g_free(nic->mac);
    g_free(nic->id);
    g_free(nic);
}

static void machine_fw_cfg_file_free(gpointer data)
{
    MachineFwCfgFile *file = data;
    g_free(file->name);
    g_bytes_unref(file->data);
    g_free(file);
}

static void machine_instance_init(Object *obj)
{
    Machine *m = machine_cast(obj);
    m->boot.splash_time = m->boot.reboot_timeout = -1;
    m->nics = g_ptr_array_new_with_free_func(machine_nic_free);
    m->firmware_paths = g_ptr_array_new_with_free_func(g_free);
    m->fw_cfg_files = g_ptr_array_new_with_free_func(machine_fw_cfg_file_free);
    m->acpi_tables = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    m->ram_size = m->max_ram_size = machine_class_of(m)->default_ram_size;
}

static void machine_finalize(Object *obj)
{
    Machine *m = machine_cast(obj);
    machine_drop_ram(m);
    g_free(m->mem_path);
    g_free(m->debugcon);
    for (int i = 0; i < MACHINE_SERIAL_PORTS; i++) {
        g_free(m->serial[i]);
    }
    for (int i = 0; i < MACHINE_PARALLEL_PORTS; i++) {
        g_free(m->parallel[i]);
    }
    g_free(m->boot.order);
    g_free(m->boot.once);
    g_free(m->boot.splash);
    g_free(m->cpu_type);
    json_decref(m->cpu_properties);
    g_ptr_array_unref(m->nics);
    g_free(m->vga);
    g_ptr_array_unref(m->firmware_paths);
    g_free(m->uuid);
    g_free(m->guest_name);
    g_ptr_array_unref(m->fw_cfg_files);
    g_ptr_array_unref(m->acpi_tables);
    json_decref(m->smbios);
    machine_numa_free(m);
    g_free(m->slots);
}

static void machine_class_init(ObjectClass *klass, const void *data)
{
    MachineClass *mc = machine_class_cast(klass);
    mc->min_cpus = 1;
    mc->max_cpus = 1;
}

static const Field machine_properties[] = {
    PROP_STRING("kernel", Machine, kernel, NULL, .help = "kernel image to boot without firmware"),
    PROP_STRING("initrd", Machine, initrd, NULL, .help = "initial RAM disk of the kernel"),
    PROP_STRING("append", Machine, append, NULL, .help = "command line of the kernel"),
    PROP_STRING("firmware", Machine, firmware, NULL, .help = "firmware image"),
    PROP_LINK("memory-backend", Machine, memory_backend, TYPE_MEMORY_BACKEND,
              .help = "the backend that is the main memory"),
    PROP_ENUM("kernel-irqchip", Machine, kernel_irqchip, accel_value_type_irqchip,
              ACCEL_IRQCHIP_WISH_AUTO,
              .help = "with the accelerator kvm: interrupt controllers in the kernel"),
    PROP_BOOL("dump-guest-core", Machine, dump_guest_core, true,
              .help = "guest memory is part of core dumps"),
    PROP_BOOL("mem-merge", Machine, mem_merge, true,
              .help = "the host may merge equal pages of guest memory"),
    PROP_BOOL("usb", Machine, usb, false, .help = "a USB controller"),
    PROP_BOOL("graphics", Machine, graphics, true, .help = "a display adapter by default"),
    PROP_BOOL("suppress-vmdesc", Machine, suppress_vmdesc, false,
              .help = "leave the description out of migration streams"),
    {}
};

static const TypeInfo machine_type = {
    .name = TYPE_MACHINE,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(Machine),
    .class_size = sizeof(MachineClass),
    .abstract = true,
    .properties = machine_properties,
    .class_init = machine_class_init,
    .instance_init = machine_instance_init,
    .instance_finalize = machine_finalize,
};
OBJECT_TYPE(machine, machine_type)
