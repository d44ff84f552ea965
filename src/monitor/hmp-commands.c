/* The human monitor's commands, but for "info" (hmp-info.c). */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "bus/device.h"
#include "bus/pci/pcie.h"
#include "chardev/chardev-record.h"
#include "config/keyval.h"
#include "memory/memory.h"
#include "monitor/hmp-cpu.h"
#include "monitor/hmp.h"
#include "net/netdev.h"
#include "monitor/monitor-internal.h"
#include "object/user-creatable.h"

/* --- Completion --- */

static bool add_child_name(Object *child, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(child->name));
    return true;
}

static void complete_chardev(unsigned index, GPtrArray *candidates)
{
    if (index == 0) {
        object_foreach_child(object_container("/chardevs"), add_child_name, candidates);
    }
}

static void complete_object(unsigned index, GPtrArray *candidates)
{
    if (index == 0) {
        object_foreach_child(object_container("/objects"), add_child_name, candidates);
    }
}

static void complete_device_id(unsigned index, GPtrArray *candidates)
{
    Object *peripheral = object_resolve("/machine/peripheral", TYPE_OBJECT, NULL);
    if (index == 0 && peripheral) {
        object_foreach_child(peripheral, add_child_name, candidates);
    }
}

static void add_device_type(ObjectClass *klass, void *opaque)
{
    if (device_class_cast(klass)->user_creatable) {
        g_ptr_array_add(opaque, g_strdup(class_name(klass)));
    }
}

static void complete_device_type(unsigned index, GPtrArray *candidates)
{
    if (index == 0) {
        class_foreach(TYPE_DEVICE, false, add_device_type, candidates);
    }
}

static void add_object_type(ObjectClass *klass, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(class_name(klass)));
}

static void complete_object_type(unsigned index, GPtrArray *candidates)
{
    if (index == 0) {
        class_foreach(TYPE_USER_CREATABLE, false, add_object_type, candidates);
    }
}

static void complete_path(unsigned index, GPtrArray *candidates)
{
    if (index == 0) {
        object_foreach_child(object_root(), add_child_name, candidates);
        for (unsigned i = 0; i < candidates->len; i++) {
            char *name = candidates->pdata[i];
            candidates->pdata[i] = g_strdup_printf("/%s", name);
            g_free(name);
        }
    }
}

static void add_help_name(const HmpCommand *table, GPtrArray *candidates)
{
    for (const HmpCommand *row = table; row->name; row++) {
        if (hmp_row_available(row)) {
            g_ptr_array_add(candidates, g_strndup(row->name, strcspn(row->name, "|")));
        }
    }
}

static void complete_help(unsigned index, GPtrArray *candidates)
{
    if (index == 0) {
        add_help_name(hmp_commands, candidates);
    }
}

static void complete_log(unsigned index, GPtrArray *candidates)
{
    for (const LogItemInfo *item = log_items; index == 0 && item->name; item++) {
        g_ptr_array_add(candidates, g_strdup(item->name));
    }
}

/* --- Commands with something of their own to do --- */

static bool run_help(HmpCall *call, Error **errp)
{
    const char *name = hmp_str(call, "name");
    size_t before = call->out->len;
    if (name && strcmp(name, "log") == 0) {
        g_string_append(call->out, "Log items (comma separated):\n");
        for (const LogItemInfo *item = log_items; item->name; item++) {
            g_string_append_printf(call->out, "%-15s %s\n", item->name, item->help);
        }
        return true;
    }
    hmp_help(name, call->out);
    if (name && call->out->len == before) {
        error_set(errp, "unknown command: '%s'; 'help' lists them", name);
        return false;
    }
    return true;
}

/* "key=value,…" of an argument called "options"; new reference. */
static json_t *parse_options(HmpCall *call, const ValueType *type, bool *help, Error **errp)
{
    *help = false;
    return keyval_parse(hmp_str(call, "options"), type, help, errp);
}

/* Device properties have the types of the device, not of a schema: they are read as text. */
static bool run_device_add(HmpCall *call, Error **errp)
{
    bool help;
    json_t *options = parse_options(call, qmp_command_find("device_add")->args, &help, errp);
    if (!options) {
        return false;
    }
    const char *driver = json_string_value(json_object_get(options, "driver"));
    bool ok;
    if (help && !driver) {
        device_print_list(call->out);
        ok = true;
    } else if (help) {
        ok = device_print_help(driver, call->out, errp);
    } else {
        ok = device_add_by_user(options, VALUE_MODE_TEXT, errp);
    }
    json_decref(options);
    return ok;
}

static bool run_object_add(HmpCall *call, Error **errp)
{
    bool help;
    json_t *options = parse_options(call, qmp_command_find("object-add")->args, &help, errp);
    if (!options) {
        return false;
    }
    g_autofree char *type = g_strdup(json_string_value(json_object_get(options, "qom-type")));
    g_autofree char *id = g_strdup(json_string_value(json_object_get(options, "id")));
    bool ok = false;
    if (!type || !id) {
        error_set(errp, "Parameter '%s' is missing", type ? "id" : "qom-type");
    } else {
        json_object_del(options, "qom-type");
        json_object_del(options, "id");
        ok = user_creatable_add(type, id, options, VALUE_MODE_TEXT, errp) != NULL;
    }
    json_decref(options);
    return ok;
}

/* The options of a chardev as -chardev takes them; id is given apart where the form has none. */
static bool parse_chardev(HmpCall *call, const char *id, ChardevOptions *options, Error **errp)
{
    bool help;
    json_t *json = parse_options(call, &value_type_chardev_options, &help, errp);
    if (json && id) {
        json_object_set_new(json, "id", json_string(id));
    }
    bool ok =
        json && value_parse(&value_type_chardev_options, options, json, VALUE_MODE_TEXT, errp);
    json_decref(json);
    return ok;
}

static bool run_chardev_add(HmpCall *call, Error **errp)
{
    ChardevOptions options = { 0 };
    if (!parse_chardev(call, NULL, &options, errp)) {
        return false;
    }
    bool ok = chardev_new_from_options(&options, errp) != NULL;
    value_release(&value_type_chardev_options, &options);
    return ok;
}

static bool run_chardev_change(HmpCall *call, Error **errp)
{
    ChardevOptions options = { 0 };
    if (!parse_chardev(call, hmp_str(call, "id"), &options, errp)) {
        return false;
    }
    bool ok = chardev_change_from_options(&options, errp);
    value_release(&value_type_chardev_options, &options);
    return ok;
}

static bool run_qom_list(HmpCall *call, Error **errp)
{
    const char *path = hmp_str(call, "path");
    if (!path) {
        g_string_append(call->out, "/\n");
        return true;
    }
    json_t *ret = hmp_qmp(call, "qom-list", call->args, errp);
    size_t i;
    json_t *item;
    json_array_foreach(ret, i, item)
    {
        g_string_append_printf(call->out, "%s (%s)\n",
                               json_string_value(json_object_get(item, "name")),
                               json_string_value(json_object_get(item, "type")));
    }
    json_decref(ret);
    return ret != NULL;
}

static bool run_qom_get(HmpCall *call, Error **errp)
{
    json_t *ret = hmp_qmp(call, "qom-get", call->args, errp);
    if (!ret) {
        return false;
    }
    char *text = json_dumps(ret, JSON_ENCODE_ANY | JSON_INDENT(4));
    g_string_append_printf(call->out, "%s\n", text);
    free(text);
    json_decref(ret);
    return true;
}

/* The value is text, or JSON with -j. */
static bool run_qom_set(HmpCall *call, Error **errp)
{
    const char *path = hmp_str(call, "path"), *text = hmp_str(call, "value");
    bool ambiguous = false;
    Object *obj = object_resolve(path, TYPE_OBJECT, &ambiguous);
    if (!obj) {
        error_set_class(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                        ambiguous ? "Path '%s' is ambiguous" : "Device '%s' not found", path);
        return false;
    }
    if (!hmp_flag(call, "json")) {
        return object_set_text(obj, hmp_str(call, "property"), text, errp);
    }
    json_error_t why;
    json_t *value =
        json_load_text(text, strlen(text), JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &why);
    if (!value) {
        error_set(errp, "'%s' is no JSON: %s", text, why.text);
        return false;
    }
    bool ok = object_set(obj, hmp_str(call, "property"), value, VALUE_MODE_TYPED, errp);
    json_decref(value);
    return ok;
}

static bool run_log(HmpCall *call, Error **errp)
{
    const char *items = hmp_str(call, "items");
    unsigned mask = 0;
    if (strcmp(items, "none") != 0 && !log_parse_items(items, &mask, errp)) {
        return false;
    }
    log_set_mask(mask);
    return true;
}

static bool run_logfile(HmpCall *call, Error **errp)
{
    return log_set_file(hmp_str(call, "filename"), errp);
}

static bool run_trace_event(HmpCall *call, Error **errp)
{
    json_t *args =
        json_pack("{s:s,s:b,s:b}", "name", hmp_str(call, "name"), "enable",
                  json_is_true(json_object_get(call->args, "option")), "ignore-unavailable", 0);
    json_t *ret = hmp_qmp(call, "trace-event-set-state", args, errp);
    json_decref(args);
    json_decref(ret);
    return ret != NULL;
}

static bool run_print(HmpCall *call, Error **errp)
{
    const char *format = hmp_str(call, "format"), *end;
    int64_t value;
    if (!hmp_expression(hmp_str(call, "value"), &end, &value, errp)) {
        return false;
    }
    if (*end) {
        error_set(errp, "extraneous characters at the end: '%s'", end);
        return false;
    }
    switch (format ? format[strlen(format) - 1] : 'd') {
    case 'o':
        g_string_append_printf(call->out, "%#" G_GINT64_MODIFIER "o\n", value);
        return true;
    case 'x':
        g_string_append_printf(call->out, "%#" G_GINT64_MODIFIER "x\n", value);
        return true;
    case 'u':
        g_string_append_printf(call->out, "%" G_GUINT64_FORMAT "\n", (uint64_t)value);
        return true;
    case 'c':
        g_string_append_printf(call->out, "'%c'\n", g_ascii_isprint(value) ? (char)value : '.');
        return true;
    case 'd':
        g_string_append_printf(call->out, "%" G_GINT64_FORMAT "\n", value);
        return true;
    default:
        error_set(errp, "format '%s' is not one of /d /x /u /o /c", format);
        return false;
    }
}

static bool run_ringbuf_read(HmpCall *call, Error **errp)
{
    json_t *ret = hmp_qmp(call, "ringbuf-read", call->args, errp);
    if (ret) {
        g_string_append_printf(call->out, "%s\n", json_string_value(ret));
    }
    json_decref(ret);
    return ret != NULL;
}

static bool run_port_in(HmpCall *call, Error **errp)
{
    int64_t addr = hmp_int(call, "addr", 0);
    const char *format = hmp_str(call, "format");
    char unit = format ? format[strlen(format) - 1] : 'b';
    unsigned size = unit == 'l' || unit == 'w' ? (unit == 'l' ? 4 : 2) : 1;
    uint32_t value = 0;
    if (addr < 0 || addr > 0xffff) {
        error_set(errp, "a port is a number from 0 to 0xffff");
        return false;
    }
    address_space_read(address_space_io(), addr, MEMTXATTRS_UNSPECIFIED, &value, size);
    g_string_append_printf(call->out, "port%c[0x%04x] = 0x%0*x\n", "?bw?l"[size], (unsigned)addr,
                           size * 2, value);
    return true;
}

static bool run_port_out(HmpCall *call, Error **errp)
{
    int64_t addr = hmp_int(call, "addr", 0);
    const char *format = hmp_str(call, "format");
    char unit = format ? format[strlen(format) - 1] : 'b';
    unsigned size = unit == 'l' || unit == 'w' ? (unit == 'l' ? 4 : 2) : 1;
    uint32_t value = (uint32_t)hmp_int(call, "value", 0);
    if (addr < 0 || addr > 0xffff) {
        error_set(errp, "a port is a number from 0 to 0xffff");
        return false;
    }
    address_space_write(address_space_io(), addr, MEMTXATTRS_UNSPECIFIED, &value, size);
    return true;
}

/* "hostfwd_add [netdev] forward": with one argument it is the forward. */
static bool set_forward(HmpCall *call, bool add, Error **errp)
{
    const char *forward = hmp_str(call, "forward");
    const char *first = hmp_str(call, "netdev");
    return net_set_forward(forward ? first : NULL, forward ? forward : first, add, errp);
}

/* The pace that people don't want to think about. */
static bool run_announce_self(HmpCall *call, Error **errp)
{
    const char *names = hmp_str(call, "interfaces");
    json_t *args =
        json_pack("{s:i, s:i, s:i, s:i}", "initial", 50, "max", 550, "rounds", 5, "step", 100);
    if (names) {
        g_auto(GStrv) list = g_strsplit(names, ",", -1);
        json_t *interfaces = json_array();
        for (char **name = list; *name; name++) {
            json_array_append_new(interfaces, json_string(*name));
        }
        json_object_set_new(args, "interfaces", interfaces);
    }
    json_t *ret = hmp_qmp(call, "announce-self", args, errp);
    json_decref(args);
    json_decref(ret);
    return ret != NULL;
}

static bool run_hostfwd_add(HmpCall *call, Error **errp)
{
    return set_forward(call, true, errp);
}

static bool run_hostfwd_remove(HmpCall *call, Error **errp)
{
    return set_forward(call, false, errp);
}

/* The status as a name or a number, then the TLP's header and prefix, as many words as are given.
 */
static bool run_inject_error(HmpCall *call, Error **errp)
{
    static const char *const words[] = { "header0", "header1", "header2", "header3",
                                         "prefix0", "prefix1", "prefix2", "prefix3" };
    const char *id = hmp_str(call, "id"), *name = hmp_str(call, "error"), *end;
    Device *dev = device_find(id);
    PcieError e = { .correctable = hmp_flag(call, "correctable"), .source = 0xffff };
    int64_t number;

    if (!dev || !object_dynamic_cast(&dev->parent, TYPE_PCI_DEVICE)) {
        error_set(errp, dev ? "Device '%s' is not a PCI device" : "Device '%s' not found", id);
        return false;
    }
    if (!pcie_error_by_name(name, &e.status, &e.correctable)) {
        if (!g_ascii_isdigit(*name) || !hmp_expression(name, &end, &number, NULL) || *end ||
            number < 0 || number > UINT32_MAX) {
            error_set(errp, "'%s' is neither the name of an error nor a number", name);
            return false;
        }
        e.status = (uint32_t)number;
    }
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        (i < 4 ? e.header : e.prefix)[i % 4] = (uint32_t)hmp_int(call, words[i], 0);
    }
    e.has_header = json_object_get(call->args, words[0]);
    e.has_prefix = json_object_get(call->args, words[4]);
    if (!pcie_inject_error((PciDevice *)dev, &e, errp)) {
        return false;
    }
    g_autofree char *path = pci_device_path((PciDevice *)dev);
    g_string_append_printf(call->out, "OK id: %s path: %s, %s error 0x%x\n", id, path,
                           e.correctable ? "correctable" : "uncorrectable", e.status);
    return true;
}

const HmpCommand hmp_commands[] = {
    { "help|?", "name?:S", "[command]", "show this list, or the help of one command",
      .run = run_help, .complete = complete_help },
    { "info", NULL, "subcommand", "show something about the machine", .sub = hmp_info_commands },
    { "quit|q", NULL, NULL, "end the program", .qmp = "quit" },
    { "exit_preconfig", NULL, NULL, "build the machine (-preconfig)", .qmp = "x-exit-preconfig" },
    { "stop|s", NULL, NULL, "stop the machine", .qmp = "stop" },
    { "cont|c", NULL, NULL, "let the machine go on", .qmp = "cont" },
    { "system_reset", NULL, NULL, "reset the machine", .qmp = "system_reset" },
    { "system_powerdown", NULL, NULL, "press the power button", .qmp = "system_powerdown" },
    { "system_wakeup", NULL, NULL, "wake the machine from its suspend", .qmp = "system_wakeup" },
    { "nmi", NULL, NULL, "interrupt the guest with an NMI", .qmp = "inject-nmi" },
    { "device_add", "options:O", "driver[,key=value]...", "plug a device in", .qmp = "device_add",
      .run = run_device_add, .complete = complete_device_type },
    { "device_del", "id:s", "device", "unplug a device", .qmp = "device_del",
      .complete = complete_device_id },
    { "pcie_aer_inject_error",
      "correctable:-c,id:s,error:s,header0?:i,header1?:i,header2?:i,header3?:i,prefix0?:i,prefix1?:"
      "i,"
      "prefix2?:i,prefix3?:i",
      "[-c] id error [tlp-header (4 words) [tlp-prefix (4 words)]]",
      "let a PCI Express device report an error (-c: a correctable one, by number)",
      .run = run_inject_error, .complete = complete_device_id },
    { "object_add", "options:O", "qom-type,id=ID[,key=value]...", "make an object",
      .qmp = "object-add", .run = run_object_add, .complete = complete_object_type },
    { "object_del", "id:s", "id", "delete an object", .qmp = "object-del",
      .complete = complete_object },
    { "netdev_add", "options:O", "type,id=ID[,key=value]...", "add a network back end",
      .qmp = "netdev_add" },
    { "netdev_del", "id:s", "id", "remove a network back end", .qmp = "netdev_del" },
    { "announce_self", "interfaces?:s", "[interfaces]",
      "let NICs announce their addresses to the network", .qmp = "announce-self",
      .run = run_announce_self },
    { "block_resize", "device:s,size:o", "device size", "change the length of a disk",
      .qmp = "block_resize" },
    { "hostfwd_add", "netdev:s,forward?:s",
      "[netdev] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
      "forward a port of the host to the guest", .run = run_hostfwd_add },
    { "hostfwd_remove", "netdev:s,forward?:s", "[netdev] [tcp|udp]:[hostaddr]:hostport",
      "no longer forward a port of the host", .run = run_hostfwd_remove },
    { "set_link", "name:s,up:b", "name on|off", "connect or disconnect a network cable",
      .qmp = "set_link" },
    { "chardev-add", "options:O", "backend,id=ID[,key=value]...", "add a character device",
      .run = run_chardev_add },
    { "chardev-change", "id:s,options:S", "id backend[,key=value]...",
      "put another back end behind a character device", .run = run_chardev_change,
      .complete = complete_chardev },
    { "chardev-remove", "id:s", "id", "remove a character device", .qmp = "chardev-remove",
      .complete = complete_chardev },
    { "chardev-send-break", "id:s", "id", "send a serial break", .qmp = "chardev-send-break",
      .complete = complete_chardev },
    { "ringbuf_write", "device:s,data:s", "device data", "write to a ring buffer",
      .qmp = "ringbuf-write", .complete = complete_chardev },
    { "ringbuf_read", "device:s,size:i", "device size", "take bytes out of a ring buffer",
      .run = run_ringbuf_read, .complete = complete_chardev },
    { "qom-list", "path?:s", "path", "list an object's properties", .run = run_qom_list,
      .complete = complete_path },
    { "qom-get", "path:s,property:s", "path property", "show a property", .run = run_qom_get,
      .complete = complete_path },
    { "qom-set", "json:-j,path:s,property:s,value:S", "[-j] path property value", "set a property",
      .run = run_qom_set, .complete = complete_path },
    { "log", "items:s", "item[,...]|none", "choose what is logged ('help log' lists the items)",
      .run = run_log, .complete = complete_log },
    { "logfile", "filename:s", "file", "log to a file", .run = run_logfile },
    { "trace-event", "name:s,option:b", "name|pattern on|off", "switch trace events",
      .qmp = "trace-event-set-state", .run = run_trace_event },
    { "getfd", "fdname:s", "name", "keep a descriptor passed along", .qmp = "getfd" },
    { "closefd", "fdname:s", "name", "close a descriptor kept with getfd", .qmp = "closefd" },
    { "print|p", "format?:/,value:S", "[/format] expression", "compute; formats /d /x /u /o /c",
      .run = run_print },
    { "i", "format?:/,addr:i", "[/b|/w|/l] port", "read an I/O port", .run = run_port_in },
    { "o", "format?:/,addr:i,value:i", "[/b|/w|/l] port value", "write an I/O port",
      .run = run_port_out },
    { "gdbserver", "device?:s", "[device]|none", "wait for gdb on a device (tcp::1234)",
      .qmp = "gdbserver" },
    { "cpu", "index:i", "index", "choose the CPU that commands are about", .run = hmp_cpu },
    { "x", "format?:/,addr:i", "/format address", "show the CPU's virtual memory", .run = hmp_x },
    { "xp", "format?:/,addr:i", "/format address", "show physical memory", .run = hmp_xp },
    { "balloon", "value:o", "size", "ask the guest for memory", .qmp = "balloon" },
    { "migrate_set_capability", "capability:s,state:b", "capability on|off",
      "switch a capability of migration", .qmp = "migrate-set-capabilities" },
    { "screendump", "filename:s,device?:s,head?:i", "file [device [head]]", "save the screen",
      .qmp = "screendump" },
    {},
};
