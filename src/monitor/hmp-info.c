/* "info": what can be shown about the machine. */
#include <string.h>

#include "block/backend.h"
#include "bus/device.h"
#include "bus/pci/pci.h"
#include "chardev/chardev.h"
#include "cpu/cpu.h"
#include "memory/memory.h"
#include "monitor/hmp-cpu.h"
#include "monitor/hmp-vhost-user.h"
#include "monitor/hmp.h"
#include "monitor/monitor-internal.h"
#include "monitor/readline.h"
#include "net/netdev.h"

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_version(HmpCall *call, json_t *ret)
{
    json_t *level = json_object_get(ret, "qemu");
    g_string_append_printf(call->out,
                           "%s (monitor protocol level %" JSON_INTEGER_FORMAT
                           ".%" JSON_INTEGER_FORMAT ".%" JSON_INTEGER_FORMAT ")\n",
                           text_of(ret, "package"),
                           json_integer_value(json_object_get(level, "major")),
                           json_integer_value(json_object_get(level, "minor")),
                           json_integer_value(json_object_get(level, "micro")));
}

static void print_status(HmpCall *call, json_t *ret)
{
    bool running = json_is_true(json_object_get(ret, "running"));
    const char *status = text_of(ret, "status");
    g_string_append_printf(call->out, "VM status: %s", running ? "running" : "paused");
    if (!running && strcmp(status, "paused") != 0) {
        g_string_append_printf(call->out, " (%s)", status);
    }
    g_string_append_c(call->out, '\n');
}

static void print_name(HmpCall *call, json_t *ret)
{
    if (json_object_get(ret, "name")) {
        g_string_append_printf(call->out, "%s\n", text_of(ret, "name"));
    }
}

/* The answer of commands that are for people only. */
static void print_text(HmpCall *call, json_t *ret)
{
    g_string_append(call->out, text_of(ret, "human-readable-text"));
}

static void print_uuid(HmpCall *call, json_t *ret)
{
    g_string_append_printf(call->out, "%s\n", text_of(ret, "UUID"));
}

static void print_kvm(HmpCall *call, json_t *ret)
{
    bool enabled = json_is_true(json_object_get(ret, "enabled"));
    bool present = json_is_true(json_object_get(ret, "present"));
    g_string_append_printf(call->out, "kvm support: %s\n",
                           enabled   ? "enabled"
                           : present ? "disabled"
                                     : "not compiled");
}

/* What each statistic is, by name: "cumulative, seconds * 10^-9". */
static char *stat_kind(json_t *schemas, const char *target, const char *name)
{
    size_t i, n;
    json_t *schema, *value;
    json_array_foreach(schemas, i, schema)
    {
        json_array_foreach(json_object_get(schema, "stats"), n, value)
        {
            if (strcmp(text_of(schema, "target"), target) || strcmp(text_of(value, "name"), name)) {
                continue;
            }
            GString *s = g_string_new(text_of(value, "type"));
            json_int_t exponent = json_integer_value(json_object_get(value, "exponent"));
            if (json_object_get(value, "unit")) {
                g_string_append_printf(s, ", %s", text_of(value, "unit"));
            }
            if (exponent) {
                g_string_append_printf(s, "%s%" JSON_INTEGER_FORMAT "^%" JSON_INTEGER_FORMAT,
                                       json_object_get(value, "unit") ? " * " : ", ",
                                       json_integer_value(json_object_get(value, "base")),
                                       exponent);
            }
            return g_string_free(s, FALSE);
        }
    }
    return g_strdup("");
}

static void print_stats(HmpCall *call, json_t *results, json_t *schemas, const char *target)
{
    size_t i, n, b;
    json_t *result, *stat, *bucket;
    json_array_foreach(results, i, result)
    {
        g_string_append_printf(call->out, "provider: %s\n", text_of(result, "provider"));
        json_array_foreach(json_object_get(result, "stats"), n, stat)
        {
            json_t *value = json_object_get(stat, "value");
            g_autofree char *kind = stat_kind(schemas, target, text_of(stat, "name"));
            g_string_append_printf(call->out, "    %s (%s): ", text_of(stat, "name"), kind);
            if (json_is_array(value)) {
                json_array_foreach(value, b, bucket)
                {
                    g_string_append_printf(call->out, "%s[%zu]=%" JSON_INTEGER_FORMAT, b ? " " : "",
                                           b, json_integer_value(bucket));
                }
                g_string_append_c(call->out, '\n');
            } else if (json_is_boolean(value)) {
                g_string_append(call->out, json_is_true(value) ? "yes\n" : "no\n");
            } else {
                g_string_append_printf(call->out, "%" JSON_INTEGER_FORMAT "\n",
                                       json_integer_value(value));
            }
        }
    }
}

/* "a,b": the names as a request for a provider. */
static json_t *stats_request(const char *provider, const char *names)
{
    json_t *request = json_pack("{s:s}", "provider", provider);
    if (names && strcmp(names, "*")) {
        g_auto(GStrv) words = g_strsplit(names, ",", -1);
        json_t *list = json_array();
        for (char **word = words; *word; word++) {
            json_array_append_new(list, json_string(*word));
        }
        json_object_set_new(request, "names", list);
    }
    return request;
}

static bool run_stats(HmpCall *call, Error **errp)
{
    const char *target = hmp_str(call, "target"), *names = hmp_str(call, "names");
    const char *provider = hmp_str(call, "provider");
    json_t *args = json_pack("{s:s}", "target", target);
    Cpu *cpu = strcmp(target, "vcpu") ? NULL : cpu_by_index(call->cpu_index);

    if (cpu) {
        g_autofree char *path = object_canonical_path(&cpu->parent.parent);
        json_object_set_new(args, "vcpus", json_pack("[s]", path));
    }
    if (names || provider) {
        json_t *requests = json_array();
        static const char *const providers[] = { "kvm", "jit" };
        for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
            if (!provider || !strcmp(provider, providers[i])) {
                json_array_append_new(requests, stats_request(providers[i], names));
            }
        }
        if (!json_array_size(requests)) {
            json_array_append_new(requests,
                                  stats_request(provider, names)); /* QMP says what is wrong */
        }
        json_object_set_new(args, "providers", requests);
    }
    json_t *results = hmp_qmp(call, "query-stats", args, errp);
    json_t *schemas = results ? hmp_qmp(call, "query-stats-schemas", NULL, errp) : NULL;
    if (schemas) {
        print_stats(call, results, schemas, target);
    }
    bool ok = schemas != NULL;
    json_decref(args);
    json_decref(results);
    json_decref(schemas);
    return ok;
}

static void print_cpus(HmpCall *call, json_t *ret)
{
    size_t i;
    json_t *cpu;
    json_array_foreach(ret, i, cpu)
    {
        json_int_t index = json_integer_value(json_object_get(cpu, "cpu-index"));
        g_string_append_printf(
            call->out, "%c CPU #%" JSON_INTEGER_FORMAT ": thread_id=%" JSON_INTEGER_FORMAT "\n",
            index == call->cpu_index ? '*' : ' ', index,
            json_integer_value(json_object_get(cpu, "thread-id")));
    }
}

static void print_chardevs(HmpCall *call, json_t *ret)
{
    size_t i;
    json_t *chr;
    json_array_foreach(ret, i, chr)
    {
        g_string_append_printf(call->out, "%s: filename=%s\n", text_of(chr, "label"),
                               text_of(chr, "filename"));
    }
}

static void print_iothreads(HmpCall *call, json_t *ret)
{
    size_t i;
    json_t *thread;
    json_array_foreach(ret, i, thread)
    {
        g_string_append_printf(call->out, "%s:\n", text_of(thread, "id"));
        json_object_del(thread, "id");
        hmp_print_json(call->out, thread, 2);
    }
}

static void print_trace_events(HmpCall *call, json_t *ret)
{
    size_t i;
    json_t *event;
    json_array_foreach(ret, i, event)
    {
        g_string_append_printf(call->out, "%s : state %d\n", text_of(event, "name"),
                               strcmp(text_of(event, "state"), "enabled") == 0);
    }
}

static bool run_trace_events(HmpCall *call, Error **errp)
{
    const char *name = hmp_str(call, "name");
    json_t *args = json_pack("{s:s}", "name", name ? name : "*");
    json_t *ret = hmp_qmp(call, "trace-event-get-state", args, errp);
    json_decref(args);
    if (ret) {
        print_trace_events(call, ret);
    }
    json_decref(ret);
    return ret != NULL;
}

/* --- Trees --- */

typedef struct TreeWalk {
    GString *out;
    int indent;
} TreeWalk;

static bool print_qom_child(Object *child, void *opaque)
{
    TreeWalk *walk = opaque;
    g_string_append_printf(walk->out, "%*s/%s (%s)\n", walk->indent, "", child->name,
                           object_type_name(child));
    TreeWalk below = { walk->out, walk->indent + 2 };
    object_foreach_child(child, print_qom_child, &below);
    return true;
}

static bool run_qom_tree(HmpCall *call, Error **errp)
{
    const char *path = hmp_str(call, "path");
    bool ambiguous = false;
    Object *obj = path ? object_resolve(path, TYPE_OBJECT, &ambiguous)
                       : object_resolve("/machine", TYPE_OBJECT, NULL);
    if (!obj && path) {
        error_set(errp, ambiguous ? "Path '%s' is ambiguous" : "Path '%s' could not be resolved",
                  path);
        return false;
    }
    if (!obj) {
        return true;
    }
    g_autofree char *canonical = object_canonical_path(obj);
    g_string_append_printf(call->out, "%s (%s)\n", canonical ? canonical : "/",
                           object_type_name(obj));
    TreeWalk walk = { call->out, 2 };
    object_foreach_child(obj, print_qom_child, &walk);
    return true;
}

typedef struct PropertyPrint {
    GString *out;
    Object *obj;
    int indent;
} PropertyPrint;

static void print_device_property(const Field *field, const ObjectClass *definer, void *opaque)
{
    PropertyPrint *p = opaque;
    ERROR_AUTO err = NULL;
    if (!class_find_property(object_class(p->obj), field->name)) {
        return; /* a part's, which comes with the part */
    }
    json_t *value = object_get(p->obj, field->name, &err);
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    g_string_append_printf(p->out, "%*s%s = %s\n", p->indent, "", field->name,
                           text ? text : "<null>");
    free(text);
    json_decref(value);
}

static void print_bus(GString *out, Bus *bus, int indent);

typedef struct BusWalk {
    GString *out;
    Bus *bus;
    int indent;
} BusWalk;

static bool print_device(Device *dev, void *opaque)
{
    const BusWalk *walk = opaque;
    int indent = walk->indent;
    g_string_append_printf(walk->out, "%*sdev: %s, id \"%s\"\n", indent, "",
                           object_type_name(&dev->parent), dev->id ? dev->id : "");
    PropertyPrint p = { walk->out, &dev->parent, indent + 2 };
    class_foreach_property(object_class(&dev->parent), print_device_property, &p);
    BusClass *klass = bus_class_of(walk->bus);
    if (klass->print_device) {
        klass->print_device(dev, walk->out, indent + 2);
    }
    for (unsigned i = 0; dev->child_buses && i < dev->child_buses->len; i++) {
        print_bus(walk->out, dev->child_buses->pdata[i], indent + 2);
    }
    return true;
}

static void print_bus(GString *out, Bus *bus, int indent)
{
    g_string_append_printf(out, "%*sbus: %s\n%*stype %s\n", indent, "", bus->name, indent + 2, "",
                           object_type_name(&bus->parent));
    BusWalk walk = { out, bus, indent + 2 };
    bus_foreach_device(bus, print_device, &walk);
}

static bool run_qtree(HmpCall *call, Error **errp)
{
    Bus *bus = bus_system();
    if (bus) {
        print_bus(call->out, bus, 0);
    }
    return true;
}

static bool run_pci(HmpCall *call, Error **errp)
{
    pci_print_info(call->out);
    return true;
}

static bool run_mtree(HmpCall *call, Error **errp)
{
    MtreeOptions options = {
        .flat = hmp_flag(call, "flatview"),
        .owner = hmp_flag(call, "owner"),
        .disabled = hmp_flag(call, "disabled"),
    };
    memory_print_tree(call->out, &options);
    return true;
}

static bool run_network(HmpCall *call, Error **errp)
{
    net_print_info(call->out);
    return true;
}

static bool run_usernet(HmpCall *call, Error **errp)
{
    net_print_connections(call->out);
    return true;
}

static bool run_block(HmpCall *call, Error **errp)
{
    block_print_info(call->out);
    return true;
}

static bool run_qdm(HmpCall *call, Error **errp)
{
    device_print_list(call->out);
    return true;
}

static bool run_history(HmpCall *call, Error **errp)
{
    if (!call->mon || !call->mon->readline) {
        error_set(errp, "only a terminal has a history");
        return false;
    }
    readline_print_history(call->mon->readline, call->out);
    return true;
}

const HmpCommand hmp_info_commands[] = {
    { "version", NULL, NULL, "version of the program", .qmp = "query-version",
      .print = print_version },
    { "status", NULL, NULL, "whether the machine runs", .qmp = "query-status",
      .print = print_status },
    { "name", NULL, NULL, "name of the guest", .qmp = "query-name", .print = print_name },
    { "uuid", NULL, NULL, "UUID of the guest", .qmp = "query-uuid", .print = print_uuid },
    { "kvm", NULL, NULL, "hardware virtualization", .qmp = "query-kvm", .print = print_kvm },
    { "cpus", NULL, NULL, "virtual CPUs", .qmp = "query-cpus-fast", .print = print_cpus },
    { "registers", "all:-a", "[-a]", "registers of the CPU, or of all of them",
      .run = hmp_info_registers },
    { "tlb", NULL, NULL, "what the page tables map, page by page", .run = hmp_info_tlb },
    { "mem", NULL, NULL, "what the page tables map, as ranges", .run = hmp_info_mem },
    { "icount", NULL, NULL, "instructions run and the clock they make", .run = hmp_info_icount },
    { "lapic", "apic-id?:i", "[apic-id]", "the local APIC", .run = hmp_info_lapic },
    { "hotpluggable-cpus", NULL, NULL, "CPUs that can be plugged in",
      .qmp = "query-hotpluggable-cpus" },
    { "chardev", NULL, NULL, "character devices", .qmp = "query-chardev", .print = print_chardevs },
    { "monitors", NULL, NULL, "monitors and their clients", .qmp = "x-query-monitors" },
    { "iothreads", NULL, NULL, "I/O threads", .qmp = "query-iothreads", .print = print_iothreads },
    { "qtree", NULL, NULL, "buses and devices with their properties", .run = run_qtree },
    { "qom-tree", "path?:s", "[path]", "the composition tree", .run = run_qom_tree },
    { "qdm", NULL, NULL, "device types", .run = run_qdm },
    { "mtree", "flatview:-f,owner:-o,disabled:-D", "[-f] [-o] [-D]",
      "memory map; -f flat views, -o owners, -D disabled regions too", .run = run_mtree },
    { "memory_size_summary", NULL, NULL, "amount of memory", .qmp = "query-memory-size-summary" },
    { "memdev", NULL, NULL, "memory back ends", .qmp = "query-memdev" },
    { "memory-devices", NULL, NULL, "memory devices", .qmp = "query-memory-devices" },
    { "pci", NULL, NULL, "PCI devices", .qmp = "query-pci", .run = run_pci },
    { "network", NULL, NULL, "network clients", .run = run_network },
    { "usernet", NULL, NULL, "connections of user-mode networks", .run = run_usernet },
    { "vhost-user", NULL, NULL, "vhost-user connections", .qmp = "query-vhost-user",
      .print = hmp_print_vhost_user },
    { "blockstats", NULL, NULL, "what disks did", .qmp = "query-blockstats" },
    { "block", NULL, NULL, "disks", .run = run_block },
    { "balloon", NULL, NULL, "memory the guest has", .qmp = "query-balloon" },
    { "migrate", NULL, NULL, "migration", .qmp = "query-migrate" },
    { "migrate_capabilities", NULL, NULL, "capabilities of migration",
      .qmp = "query-migrate-capabilities" },
    { "migrate_parameters", NULL, NULL, "parameters of migration",
      .qmp = "query-migrate-parameters" },
    { "numa", NULL, NULL, "NUMA nodes", .qmp = "x-query-numa" },
    { "irq", NULL, NULL, "interrupt counts", .qmp = "x-query-irq" },
    { "stats", "target:s,names?:s,provider?:s", "vm|vcpu [names] [provider]",
      "statistics of the machine or of the current CPU", .qmp = "query-stats", .run = run_stats },
    { "jit", NULL, NULL, "the translator", .qmp = "x-query-jit", .print = print_text },
    { "vnc", NULL, NULL, "VNC server", .qmp = "query-vnc" },
    { "spice", NULL, NULL, "SPICE server", .qmp = "query-spice" },
    { "mice", NULL, NULL, "pointing devices", .qmp = "query-mice" },
    { "usb", NULL, NULL, "USB devices", .qmp = "x-query-usb" },
    { "trace-events", "name?:s", "[pattern]", "trace events", .qmp = "trace-event-get-state",
      .run = run_trace_events },
    { "history", NULL, NULL, "lines typed here", .run = run_history },
    {},
};
