#include "main/board-options.h"

#include <string.h>

#include "accel/qtest/qtest.h"
#include "base/report.h"
#include "chardev/chardev-record.h"
#include "cpu/x86/cpu.h"
#include "cpu/x86/models.h"
#include "monitor/monitor.h"
#include "net/netdev.h"
#include "schema/boot.h"
#include "schema/hardware.h"
#include "schema/run.h"

/* ACPI 6.4 section 5.2.6 */
#define ACPI_HEADER_SIZE     36
#define ACPI_HEADER_LENGTH   4
#define ACPI_HEADER_CHECKSUM 9
/* Names that firmware and devices don't use themselves. */
#define FW_CFG_USER_PREFIX "opt/"

static bool apply_cpu(Machine *m, const Config *config, Error **errp)
{
    const option_type_cpu *text = config_get(config, cpu);

    if (!text) {
        return true;
    }
    if (machine_class_of(m)->max_cpus == 0) {
        error_set(errp, "-cpu: machine '%s' has no CPU", machine_class_of(m)->name);
        return false;
    }
    return x86_cpu_parse_option(*text, &m->cpu_type, &m->cpu_properties, errp);
}

static bool apply_boot(Machine *m, const Config *config, Error **errp)
{
    const BootOptions *o = config_get(config, boot);
    MachineBootConfig boot = { .splash_time = -1, .reboot_timeout = -1 };

    if (!o) {
        return true;
    }
    boot.order = o->order;
    boot.once = o->once;
    boot.splash = o->splash;
    boot.has_menu = o->has_menu;
    boot.menu = o->menu;
    boot.has_strict = o->has_strict;
    boot.strict = o->strict;
    if (o->has_splash_time) {
        boot.splash_time = o->splash_time;
    }
    if (o->has_reboot_timeout) {
        boot.reboot_timeout = o->reboot_timeout;
    }
    return machine_set_boot(m, &boot, errp);
}

static bool read_file(const char *path, GBytes **bytes, Error **errp)
{
    GError *err = NULL;
    char *data;
    gsize len;

    if (!g_file_get_contents(path, &data, &len, &err)) {
        error_set(errp, "%s", err->message);
        g_error_free(err);
        return false;
    }
    *bytes = g_bytes_new_take(data, len);
    return true;
}

static bool add_fw_cfg(Machine *m, const FwCfgOptions *o, Error **errp)
{
    MachineFwCfgFile *file;
    GBytes *data = NULL;

    if (!o->file == !o->string) {
        error_set(errp, "fw_cfg file '%s' needs one of file= and string=", o->name);
        return false;
    }
    if (o->file && !read_file(o->file, &data, errp)) {
        return false;
    }
    if (o->string) {
        data = g_bytes_new(o->string, strlen(o->string));
    }
    if (strncmp(o->name, FW_CFG_USER_PREFIX, strlen(FW_CFG_USER_PREFIX))) {
        report_warning("externally provided fw_cfg item names should be prefixed with \"opt/\"");
    }
    file = g_new0(MachineFwCfgFile, 1);
    file->name = g_strdup(o->name);
    file->data = data;
    g_ptr_array_add(m->fw_cfg_files, file);
    return true;
}

static bool add_acpi_table(Machine *m, const AcpiTableOptions *o, Error **errp)
{
    GBytes *bytes = NULL;
    gsize len;
    uint8_t *data, sum = 0;

    if (!read_file(o->file, &bytes, errp)) {
        return false;
    }
    data = g_bytes_unref_to_data(bytes, &len);
    if (len < ACPI_HEADER_SIZE || ld32_le(data + ACPI_HEADER_LENGTH) != len) {
        error_set(errp, "'%s' is not an ACPI table: its header doesn't say its %zu bytes", o->file,
                  len);
        g_free(data);
        return false;
    }
    data[ACPI_HEADER_CHECKSUM] = 0;
    for (gsize i = 0; i < len; i++) {
        sum += data[i];
    }
    data[ACPI_HEADER_CHECKSUM] = -sum;
    g_ptr_array_add(m->acpi_tables, g_bytes_new_take(data, len));
    return true;
}

static void add_smbios(Machine *m, const SmbiosOptions *o, const ConfigItem *item)
{
    json_t *row = json_copy(item->json);

    json_object_set_new(row, "type", json_integer(o->type));
    if (!m->smbios) {
        m->smbios = json_array();
    }
    json_array_append_new(m->smbios, row);
}

/* The adapter of -vga; by default one, unless the user brings one. */
static bool wants_vga(const Config *config)
{
    const VgaOptions *vga = config_get(config, vga);

    if (vga) {
        return vga->model != VGA_MODEL_NONE;
    }
    for (size_t i = 0; i < config_count(config, device); i++) {
        const DeviceOptions *o = config_at(config, device, i);
        if (!strcmp(o->driver, "VGA")) {
            return false;
        }
    }
    return !config_get(config, nodefaults);
}

#define FOREACH_ITEM(config, name, i) for (size_t i = 0; i < config_count(config, name); i++)

bool board_options_apply(Machine *m, const Config *config, Error **errp)
{
    if (!apply_cpu(m, config, errp) || !apply_boot(m, config, errp)) {
        return false;
    }
    if (config_get(config, mem_path)) {
        m->mem_path = g_strdup(*config_get(config, mem_path));
    }
    m->mem_prealloc = config_get(config, mem_prealloc) != NULL;
    m->defaults.vga = wants_vga(config);
    m->defaults.cdrom = !config_get(config, nodefaults) && !machine_class_of(m)->no_cdrom;
    FOREACH_ITEM(config, L, i)
    {
        const option_type_L *path = config_at(config, L, i);
        g_ptr_array_add(m->firmware_paths, g_strdup(*path));
    }
    FOREACH_ITEM(config, fw_cfg, i)
    {
        if (!add_fw_cfg(m, config_at(config, fw_cfg, i), errp)) {
            config_item_prepend(config_item(config, fw_cfg, i), errp);
            return false;
        }
    }
    FOREACH_ITEM(config, acpitable, i)
    {
        if (!add_acpi_table(m, config_at(config, acpitable, i), errp)) {
            config_item_prepend(config_item(config, acpitable, i), errp);
            return false;
        }
    }
    FOREACH_ITEM(config, smbios, i)
    {
        add_smbios(m, config_at(config, smbios, i), config_item(config, smbios, i));
    }
    return true;
}

/* --- Ports --- */

/* Serial port i shows `text`; none is no port. */
static bool add_serial(Machine *m, unsigned i, const char *text, Error **errp)
{
    g_autofree char *id = g_strdup_printf("serial%u", i);
    bool with_monitor = false;
    Chardev *chr;

    if (i >= MACHINE_SERIAL_PORTS) {
        error_set(errp, "-serial: at most %d serial ports; add others with -device isa-serial",
                  MACHINE_SERIAL_PORTS);
        return false;
    }
    if (!chardev_new_from_text(id, text, &with_monitor, &chr, errp)) {
        return false;
    }
    m->serial[i] = chr ? g_strdup(chardev_id(chr)) : NULL;
    return !with_monitor || !chr ||
           monitor_new(NULL, chr, MONITOR_MODE_READLINE, false, errp) != NULL;
}

static bool add_debugcon(Machine *m, const Config *config, Error **errp)
{
    const option_type_debugcon *text = config_get(config, debugcon);
    Chardev *chr;

    if (!text) {
        return true;
    }
    if (!machine_class_of(m)->has_debugcon) {
        error_set(errp, "-debugcon: machine '%s' has no port for it", machine_class_of(m)->name);
        return false;
    }
    if (!chardev_new_from_text("debugcon", *text, NULL, &chr, errp)) {
        error_prepend(errp, "-debugcon %s: ", *text);
        return false;
    }
    m->debugcon = chr ? g_strdup(chardev_id(chr)) : NULL;
    return true;
}

bool board_options_add_ports(Machine *m, const Config *config, Error **errp)
{
    size_t serials = config_count(config, serial), parallels = config_count(config, parallel);

    FOREACH_ITEM(config, serial, i)
    {
        const option_type_serial *text = config_at(config, serial, i);
        if (!add_serial(m, i, *text, errp)) {
            config_item_prepend(config_item(config, serial, i), errp);
            return false;
        }
    }
    for (size_t i = 0; i < parallels; i++) {
        const option_type_parallel *text = config_at(config, parallel, i);
        if (strcmp(*text, "none")) {
            error_set(errp, "-parallel %s: no machine has a parallel port; use -serial", *text);
            return false;
        }
    }
    if (!add_debugcon(m, config, errp)) {
        return false;
    }
    if (serials || machine_class_of(m)->no_serial || config_get(config, nodefaults)) {
        return true;
    }
    return add_serial(m, 0, config_get(config, nographic) ? "mon:stdio" : "null", errp);
}

/* --- NICs --- */

static void take_request(Machine *m, NicRequest *request)
{
    MachineNic *nic;

    if (!request) {
        return;
    }
    nic = g_new0(MachineNic, 1);
    nic->model = g_strdup(request->model);
    nic->netdev = g_strdup(request->netdev);
    nic->mac = g_strdup(request->mac);
    nic_request_free(request);
    g_ptr_array_add(m->nics, nic);
}

bool board_options_add_nics(Machine *m, const Config *config, Error **errp)
{
    NicRequest *request = NULL;

    FOREACH_ITEM(config, nic, i)
    {
        if (!nic_option_apply(config_at(config, nic, i), &request, errp)) {
            config_item_prepend(config_item(config, nic, i), errp);
            return false;
        }
        take_request(m, request);
        request = NULL;
    }
    FOREACH_ITEM(config, net, i)
    {
        if (!net_option_apply(config_at(config, net, i), &request, errp)) {
            config_item_prepend(config_item(config, net, i), errp);
            return false;
        }
        take_request(m, request);
        request = NULL;
    }
    return true;
}

/* --- qtest --- */

bool board_options_start_qtest(const Config *config, Error **errp)
{
    const option_type_qtest *text = config_get(config, qtest);
    const option_type_qtest_log *log = config_get(config, qtest_log);
    Chardev *chr;

    if (!text) {
        return true;
    }
    if (!chardev_new_from_text("qtest", *text, NULL, &chr, errp)) {
        error_prepend(errp, "-qtest %s: ", *text);
        return false;
    }
    if (!chr) {
        error_set(errp, "-qtest %s: a test needs a character device", *text);
        return false;
    }
    return qtest_server_start(chr, log ? *log : NULL, errp);
}
