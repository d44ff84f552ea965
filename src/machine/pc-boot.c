/*
 * What the PC runs first: firmware from a file, or a kernel without any. Without firmware a ROM of
 * 64 KiB stands in its place that holds only tables (RSDP, SMBIOS) and a halt at the reset vector.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/report.h"
#include "devices/char/serial-isa.h"
#include "block/backend.h"
#include "devices/flash/pflash.h"
#include "devices/ide/ide.h"
#include "devices/misc/fw-cfg.h"
#include "devices/timer/hpet.h"
#include "devices/timer/mc146818.h"
#include "machine/acpi-tables.h"
#include "machine/pc.h"
#include "machine/smbios.h"
#include "object/lifecycle.h"

#define DEFAULT_FIRMWARE "bios-256k.bin"
#define BIOS_ALIGN       (64 * KiB)
#define BIOS_MAX         (16 * MiB)
/* The part that shows below 1 MiB. */
#define BIOS_LOW_MAX (128 * KiB)

/* The stand-in ROM. */
#define TABLES_ROM_SIZE (64 * KiB)
#define TABLES_ROM_BASE (MiB - TABLES_ROM_SIZE)
#define TABLES_RSDP     0x0000
#define TABLES_ANCHOR   0x0040
#define TABLES_SMBIOS   0x0100
#define RESET_VECTOR    0xfff0

/* Room for the ACPI tables at the top of low memory is rounded to this. */
#define ACPI_ALIGN (64 * KiB)

/* --- ROM --- */

static bool map_rom(PcMachine *pc, uint64_t size, Error **errp)
{
    uint64_t low = MIN_OF(size, BIOS_LOW_MAX);

    if (!memory_region_init_rom(&pc->bios, &pc->parent.parent, "pc.bios", size, errp)) {
        return false;
    }
    pc->bios_size = size;
    memory_region_init_alias(&pc->bios_low, &pc->parent.parent, "isa-bios", &pc->bios, size - low,
                             low);
    memory_region_set_readonly(&pc->bios_low, true);
    memory_begin();
    memory_region_add(&pc->nb->pci_memory, 4 * GiB - size, &pc->bios);
    memory_region_add_overlap(&pc->nb->pci_memory, MiB - low, &pc->bios_low, 1);
    memory_commit();
    return true;
}

/* --- Flash: one chip below the other from 4 GiB down --- */

static bool make_flash(PcMachine *pc, unsigned n, uint64_t *end, Error **errp)
{
    BlockDrive *drive = block_drive_get(DRIVE_INTERFACE_PFLASH, 0, (int)n);
    const char *name = pc->pflash[n] ? pc->pflash[n] : drive ? drive->id : NULL;
    g_autofree char *memory = g_strdup_printf("system.flash%u", n);
    Device *dev;

    if (!name) {
        return true;
    }
    if (pc->pflash[n] && drive) {
        error_set(errp, "pflash%u=%s and -drive if=pflash,unit=%u exclude each other", n, name, n);
        return false;
    }
    dev = device_new(TYPE_PFLASH);
    if (!object_set_text(&dev->parent, "drive", name, errp) ||
        !object_set_text(&dev->parent, "name", memory, errp)) {
        object_unref(&dev->parent);
        return false;
    }
    if (!device_realize_and_unref(dev, bus_system(), errp)) {
        error_prepend(errp, "flash %u: ", n);
        return false;
    }
    *end -= memory_region_size(pflash_region(dev));
    if (4 * GiB - *end > BIOS_MAX) {
        error_set(errp, "the flash drives have more than %d MiB together", (int)(BIOS_MAX / MiB));
        return false;
    }
    pc->flash[n] = dev;
    pflash_map(dev, &pc->nb->pci_memory, *end);
    return true;
}

/* What of the firmware shows below 1 MiB, before it has memory to copy itself to. */
static bool map_flash_low(PcMachine *pc, Error **errp)
{
    MemoryRegion *flash = pflash_region(pc->flash[0]);
    uint64_t size = memory_region_size(flash), low = MIN_OF(size, BIOS_LOW_MAX);

    if (!memory_region_init_rom(&pc->bios, &pc->parent.parent, "isa-bios", low, errp)) {
        return false;
    }
    pc->bios_size = low;
    memcpy(memory_region_ram_ptr(&pc->bios), memory_region_ram_ptr(flash) + size - low, low);
    memory_region_add_overlap(&pc->nb->pci_memory, MiB - low, &pc->bios, 1);
    return true;
}

/* *made: there is one, and it is the firmware. */
static bool make_flashes(PcMachine *pc, bool *made, Error **errp)
{
    uint64_t end = 4 * GiB;

    for (unsigned n = 0; n < PC_FLASH_MAX; n++) {
        if (!make_flash(pc, n, &end, errp)) {
            return false;
        }
    }
    *made = pc->flash[0];
    if (pc->flash[1] && !pc->flash[0]) {
        error_set(errp, "the second flash needs a first one, with the firmware (pflash unit 0)");
        return false;
    }
    if (*made && (pc->parent.firmware || pc->parent.kernel)) {
        error_set(errp, "flash is the firmware; leave out %s",
                  pc->parent.firmware ? "-bios" : "-kernel");
        return false;
    }
    return !*made || map_flash_low(pc, errp);
}

static bool load_firmware(PcMachine *pc, const char *path, Error **errp)
{
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        error_set_errno(errp, errno, "can't open firmware '%s'", path);
        return false;
    }
    if (st.st_size == 0 || st.st_size % BIOS_ALIGN || (uint64_t)st.st_size > BIOS_MAX) {
        error_set(errp,
                  "firmware '%s' has %" PRId64 " bytes; a multiple of 64 KiB, at most 16 MiB, is "
                  "needed",
                  path, (int64_t)st.st_size);
        return false;
    }
    if (!map_rom(pc, st.st_size, errp)) {
        return false;
    }
    if (!fd_read_all(fd, memory_region_ram_ptr(&pc->bios), st.st_size, errp)) {
        error_prepend(errp, "firmware '%s': ", path);
        return false;
    }
    return true;
}

bool pc_make_firmware(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->parent;
    char *path;
    bool ok, flash = false;

    if (!make_flashes(pc, &flash, errp) || flash) {
        return flash && pc->bios_size;
    }
    if (m->kernel && m->firmware) {
        error_set(errp, "-kernel starts without firmware; leave out -bios");
        return false;
    }
    pc->boot_direct = m->kernel != NULL;
    if (pc->boot_direct) {
        return map_rom(pc, TABLES_ROM_SIZE, errp);
    }
    path = machine_find_firmware(m, m->firmware ? m->firmware : DEFAULT_FIRMWARE, errp);
    if (!path && !m->firmware && !pc->wants_firmware) {
        /* Nothing would run it: an empty ROM is as good. */
        error_free(*errp);
        *errp = NULL;
        return map_rom(pc, TABLES_ROM_SIZE, errp);
    }
    ok = path && load_firmware(pc, path, errp);
    g_free(path);
    return ok;
}

/* --- Tables --- */

static bool note_serial(Device *dev, void *opaque)
{
    AcpiBoard *board = opaque;
    uint32_t irq;

    if (object_dynamic_cast(&dev->parent, TYPE_SERIAL_ISA) && board->serials < ACPI_MAX_SERIAL) {
        board->serial[board->serials].port = serial_isa_port(dev, &irq);
        board->serial[board->serials++].irq = irq;
    }
    return true;
}

static void describe_board(PcMachine *pc, AcpiBoard *board)
{
    bool q35 = pc_machine_class_of(pc)->q35;
    AcpiPm *pm = southbridge_pm(pc->pm);
    uint64_t hole64 = northbridge_hole64_base(pc->nb);

    *board = (AcpiBoard){
        .q35 = q35,
        .pm_base = PM_IO_BASE,
        .gpe0_base = q35 ? PM_IO_BASE + ICH9_GPE_OFFSET : PIIX4_GPE_BASE,
        .gpe0_len = 2 * (q35 ? ICH9_GPE_BYTES : PIIX4_GPE_BYTES),
        .s3_type = pc->boot_direct || pm->disable_s3 ? 0xff : ACPI_SLP_S3,
        .s4_type = pm->disable_s4 ? 0xff : pm->s4_val,
        .s5_type = ACPI_SLP_S5,
        .hpet = pc->hpet != NULL,
        .hpet_id = pc->hpet ? hpet_block_id(pc->hpet) : 0,
        .rtc = true,
        .i8042 = pc->i8042 != NULL,
        .acpi_pci_hotplug = !q35,
        .ecam_base = q35 ? Q35_ECAM_BASE : 0,
        .ecam_buses = Q35_ECAM_BUSES,
        .window32 = { q35 ? Q35_ECAM_BASE + Q35_ECAM_BUSES * MiB : MAX_OF(pc->nb->lowmem, GiB),
                      PCI_HOLE32_END - 1 },
        .window64 = { hole64, hole64 + PCI_HOLE64_SIZE - 1 },
        .ioapic_base = 0xfec00000,
        .lapic_base = 0xfee00000,
        .lowmem = pc->nb->lowmem,
    };
    if (!pc->boot_direct) {
        board->smi_cmd = 0xb2;
        board->acpi_enable = pm->config.apm_enable;
        board->acpi_disable = pm->config.apm_disable;
    }
    bus_foreach_device(&pc->isa->parent, note_serial, board);
}

/* For direct boot: linked to their place, the RSDP in the ROM. */
static void place_tables(PcMachine *pc, AcpiBlob *blob)
{
    uint64_t room = ALIGN_UP((uint64_t)blob->tables->len, ACPI_ALIGN);

    pc->acpi_base = pc->nb->lowmem - room;
    acpi_blob_link(blob, pc->acpi_base);
    pc->acpi_tables = g_bytes_new(blob->tables->data, blob->tables->len);
    memcpy(memory_region_ram_ptr(&pc->bios) + TABLES_RSDP, blob->rsdp->data, blob->rsdp->len);
    pc_make_e820(pc, room);
}

static bool give_tables(PcMachine *pc, const AcpiBlob *blob, Error **errp)
{
    g_autoptr(GBytes) tables = g_bytes_new(blob->tables->data, blob->tables->len);
    g_autoptr(GBytes) rsdp = g_bytes_new(blob->rsdp->data, blob->rsdp->len);
    g_autoptr(GBytes) loader = acpi_blob_loader(blob);

    return fw_cfg_add_file(pc->fw_cfg, ACPI_FILE_TABLES, tables, errp) &&
           fw_cfg_add_file(pc->fw_cfg, ACPI_FILE_RSDP, rsdp, errp) &&
           fw_cfg_add_file(pc->fw_cfg, ACPI_FILE_LOADER, loader, errp);
}

static bool make_acpi(PcMachine *pc, Error **errp)
{
    AcpiBoard board;
    AcpiBlob blob;
    bool ok = true;

    if (pc->acpi == ON_OFF_AUTO_OFF) {
        return true;
    }
    describe_board(pc, &board);
    acpi_blob_init(&blob);
    acpi_build(&blob, &pc->parent, &board);
    if (!pc->boot_direct) {
        ok = give_tables(pc, &blob, errp);
    } else if (pc->nb->lowmem < 2 * MiB + ALIGN_UP((uint64_t)blob.tables->len, ACPI_ALIGN)) {
        error_set(errp,
                  "the ACPI tables don't fit into %" PRIu64 " KiB of memory; give more with -m",
                  pc->nb->lowmem / KiB);
        ok = false;
    } else {
        place_tables(pc, &blob);
    }
    acpi_blob_finish(&blob);
    return ok;
}

static bool make_smbios(PcMachine *pc, Error **errp)
{
    g_autoptr(GBytes) tables = smbios_build(&pc->parent, pc->nb->lowmem, pc->nb->highmem, errp);
    uint8_t anchor[SMBIOS_ANCHOR_SIZE];
    size_t size;
    const void *data;

    if (!tables) {
        return false;
    }
    data = g_bytes_get_data(tables, &size);
    if (!pc->boot_direct) {
        g_autoptr(GBytes) entry = NULL;
        smbios_make_anchor(anchor, 0, size); /* firmware fills in the address */
        entry = g_bytes_new(anchor, sizeof(anchor));
        return fw_cfg_add_file(pc->fw_cfg, "etc/smbios/smbios-tables", tables, errp) &&
               fw_cfg_add_file(pc->fw_cfg, "etc/smbios/smbios-anchor", entry, errp);
    }
    if (size > RESET_VECTOR - TABLES_SMBIOS) {
        error_set(errp, "the SMBIOS tables are too big (%zu bytes); use fewer sockets", size);
        return false;
    }
    smbios_make_anchor(anchor, TABLES_ROM_BASE + TABLES_SMBIOS, size);
    memcpy(memory_region_ram_ptr(&pc->bios) + TABLES_ANCHOR, anchor, sizeof(anchor));
    memcpy(memory_region_ram_ptr(&pc->bios) + TABLES_SMBIOS, data, size);
    return true;
}

/* --- For firmware --- */

static bool add_e820_file(PcMachine *pc, Error **errp)
{
    GByteArray *bytes = g_byte_array_new();
    g_autoptr(GBytes) file = NULL;

    for (guint i = 0; i < pc->e820->len; i++) {
        const E820Entry *e = &g_array_index(pc->e820, E820Entry, i);
        uint8_t entry[20];
        st64_le(entry, e->addr);
        st64_le(entry + 8, e->len);
        st32_le(entry + 16, e->type);
        g_byte_array_append(bytes, entry, sizeof(entry));
    }
    file = g_byte_array_free_to_bytes(bytes);
    return fw_cfg_add_file(pc->fw_cfg, "etc/e820", file, errp);
}

static bool add_u32_file(PcMachine *pc, const char *name, uint32_t value, Error **errp)
{
    uint32_t le = htole32(value);
    g_autoptr(GBytes) file = g_bytes_new(&le, sizeof(le));

    return fw_cfg_add_file(pc->fw_cfg, name, file, errp);
}

/* --- Boot order: the devices with a boot index, as firmware finds them --- */

typedef struct BootEntry {
    int64_t index;
    Device *dev; /* borrowed */
} BootEntry;

static bool note_boot_device(Object *obj, void *opaque)
{
    BootEntry entry = { .index = -1 };

    /* A transport shows its device's property: the class tells who has it. */
    if (object_dynamic_cast(obj, TYPE_DEVICE) &&
        class_find_property(object_class(obj), "bootindex")) {
        entry = (BootEntry){ object_get_int(obj, "bootindex", &error_abort), (Device *)obj };
    }
    if (entry.index >= 0) {
        g_array_append_val((GArray *)opaque, entry);
    }
    return true;
}

static int compare_boot_entries(const void *a, const void *b)
{
    const BootEntry *x = a, *y = b;

    return x->index < y->index ? -1 : x->index > y->index;
}

static bool add_boot_order(PcMachine *pc, Error **errp)
{
    g_autoptr(GArray) entries = g_array_new(false, false, sizeof(BootEntry));
    g_autoptr(GString) order = g_string_new(NULL);
    g_autoptr(GBytes) file = NULL;

    object_foreach_descendant(&pc->parent.parent, note_boot_device, entries);
    g_array_sort(entries, compare_boot_entries);
    for (guint i = 0; i < entries->len; i++) {
        const BootEntry *e = &g_array_index(entries, BootEntry, i);
        g_autofree char *path = device_fw_path(e->dev);
        if (i && e[-1].index == e->index) {
            g_autofree char *a = device_describe(e[-1].dev), *b = device_describe(e->dev);
            error_set(errp, "bootindex %" PRId64 " is used twice, by %s and %s", e->index, a, b);
            return false;
        }
        if (path) {
            g_string_append_printf(order, "%s\n", path);
        }
    }
    if (pc->parent.boot.strict) {
        g_string_append(order, "HALT\n");
    }
    if (!order->len) {
        return true;
    }
    order->str[order->len - 1] = 0;
    file = g_bytes_new(order->str, order->len);
    return fw_cfg_add_file(pc->fw_cfg, "bootorder", file, errp);
}

static bool add_splash_time(PcMachine *pc, Error **errp)
{
    uint16_t ms = htole16((uint16_t)pc->parent.boot.splash_time);
    g_autoptr(GBytes) file = g_bytes_new(&ms, sizeof(ms));

    return pc->parent.boot.splash_time < 0 ||
           fw_cfg_add_file(pc->fw_cfg, "etc/boot-menu-wait", file, errp);
}

/* NUMA: nodes, then the node of each CPU, then the bytes of each node. */
static void add_numa_item(PcMachine *pc)
{
    Machine *m = &pc->parent;
    unsigned n = 1 + m->n_slots + m->numa.count;
    g_autofree uint64_t *words = g_new0(uint64_t, n);

    words[0] = htole64(m->numa.count);
    for (unsigned i = 0; i < m->n_slots; i++) {
        words[1 + i] = htole64(m->numa.count ? m->slots[i].node : 0);
    }
    for (unsigned i = 0; i < m->numa.count; i++) {
        words[1 + m->n_slots + i] = htole64(m->numa.nodes[i]->size);
    }
    fw_cfg_add_bytes(pc->fw_cfg, FW_CFG_NUMA, words, n * sizeof(*words));
}

static bool make_fw_cfg(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->parent;
    AcpiPm *pm = southbridge_pm(pc->pm);
    const uint8_t states[6] = {
        0x80, 0, 0, pm->disable_s3 ? 0 : 0x80 | ACPI_SLP_S3, pm->disable_s4 ? 0 : 0x80 | pm->s4_val,
        0x80,
    };
    g_autoptr(GBytes) states_file = g_bytes_new(states, sizeof(states));

    fw_cfg_add_u16(pc->fw_cfg, FW_CFG_NB_CPUS, m->smp.cpus);
    fw_cfg_add_u16(pc->fw_cfg, FW_CFG_MAX_CPUS, m->slots[m->n_slots - 1].arch_id + 1);
    fw_cfg_add_u64(pc->fw_cfg, FW_CFG_RAM_SIZE, m->ram_size);
    fw_cfg_add_u16(pc->fw_cfg, FW_CFG_NOGRAPHIC, !m->graphics);
    fw_cfg_add_u16(pc->fw_cfg, FW_CFG_BOOT_MENU, m->boot.menu);
    fw_cfg_add_u32(pc->fw_cfg, FW_CFG_IRQ0_OVERRIDE, 1);
    add_numa_item(pc);
    for (guint i = 0; i < m->fw_cfg_files->len; i++) {
        MachineFwCfgFile *f = m->fw_cfg_files->pdata[i];
        if (!fw_cfg_add_file(pc->fw_cfg, f->name, f->data, errp)) {
            return false;
        }
    }
    return fw_cfg_add_file(pc->fw_cfg, "etc/system-states", states_file, errp) &&
           add_e820_file(pc, errp) && add_boot_order(pc, errp) && add_splash_time(pc, errp) &&
           (m->boot.reboot_timeout < 0 ||
            add_u32_file(pc, "etc/boot-fail-wait", m->boot.reboot_timeout, errp));
}

/* Letters to the codes of firmware: a floppy, c disk, d CD-ROM, n network. Outside the checksum. */
static void set_boot_order(PcMachine *pc, const char *order)
{
    uint8_t boot[3] = { 0 };

    for (unsigned i = 0, n = 0; order[i] && n < 3; i++) {
        uint8_t code = order[i] == 'a'   ? 1
                       : order[i] == 'c' ? 2
                       : order[i] == 'd' ? 3
                       : order[i] == 'n' ? 4
                                         : 0;
        if (code) {
            boot[n++] = code;
        }
    }
    mc146818_set_nvram(pc->rtc, CMOS_BOOT_ORDER, boot[1] << 4 | boot[0]);
    mc146818_set_nvram(pc->rtc, CMOS_BOOT_THIRD, boot[2] << 4);
}

static const char *usual_order(PcMachine *pc)
{
    Machine *m = &pc->parent;

    return m->boot.order ? m->boot.order : machine_class_of(m)->default_boot_order;
}

/* Battery-backed memory, as firmware reads it. */
static void make_cmos(PcMachine *pc)
{
    Machine *m = &pc->parent;
    Device *rtc = pc->rtc;
    uint64_t ext = MIN_OF((pc->nb->lowmem - MiB) / KiB, 65535u);
    uint64_t ext16 =
        pc->nb->lowmem > 16 * MiB ? MIN_OF((pc->nb->lowmem - 16 * MiB) / (64 * KiB), 65535u) : 0;
    uint64_t high = pc->nb->highmem / (64 * KiB);
    uint16_t sum = 0;

    mc146818_set_nvram(rtc, CMOS_BASE_KIB, 640 & 0xff);
    mc146818_set_nvram(rtc, CMOS_BASE_KIB + 1, 640 >> 8);
    for (unsigned i = 0; i < 2; i++) {
        mc146818_set_nvram(rtc, CMOS_EXT_KIB + i, ext >> (8 * i));
        mc146818_set_nvram(rtc, CMOS_EXT_KIB_2 + i, ext >> (8 * i));
        mc146818_set_nvram(rtc, CMOS_EXT_64KIB + i, ext16 >> (8 * i));
    }
    for (unsigned i = 0; i < 3; i++) {
        mc146818_set_nvram(rtc, CMOS_HIGH_64KIB + i, high >> (8 * i));
    }
    mc146818_set_nvram(rtc, CMOS_CPUS, m->smp.cpus - 1);
    mc146818_set_nvram(rtc, CMOS_EQUIPMENT, 0x06); /* mouse, FPU; no floppy */
    for (unsigned i = CMOS_FLOPPY; i < CMOS_CHECKSUM; i++) {
        sum += mc146818_get_nvram(rtc, i);
    }
    mc146818_set_nvram(rtc, CMOS_CHECKSUM, sum >> 8);
    mc146818_set_nvram(rtc, CMOS_CHECKSUM + 1, sum);
}

/* --- Direct boot --- */

/* cli; 1: hlt; jmp 1b: nobody comes here unless the kernel resets the CPU by hand. */
static const uint8_t halt_code[] = { 0xfa, 0xf4, 0xeb, 0xfd };

static bool prepare_kernel(PcMachine *pc, Error **errp)
{
    Machine *m = &pc->parent;
    const BootLayout layout = {
        .lowmem = pc->acpi_base ? pc->acpi_base : pc->nb->lowmem,
        .e820 = pc->e820,
        .rsdp = pc->acpi_base ? TABLES_ROM_BASE + TABLES_RSDP : 0,
        .cmdline = m->append,
        .initrd = m->initrd,
    };

    memcpy(memory_region_ram_ptr(&pc->bios) + RESET_VECTOR, halt_code, sizeof(halt_code));
    pc->boot = boot_probe(m->kernel, &layout, errp);
    return pc->boot != NULL;
}

bool pc_prepare_boot(PcMachine *pc, Error **errp)
{
    make_cmos(pc);
    pc_make_e820(pc, 0);
    return make_acpi(pc, errp) && make_smbios(pc, errp) && make_fw_cfg(pc, errp) &&
           (!pc->boot_direct || prepare_kernel(pc, errp));
}

/* As firmware leaves the keyboard controller: interrupts on, scan codes translated to set 1. */
static void setup_keyboard(void)
{
    address_space_store(address_space_io(), 0x64, 1, MEMTXATTRS_UNSPECIFIED, 0x60);
    address_space_store(address_space_io(), 0x60, 1, MEMTXATTRS_UNSPECIFIED, 0x47);
}

void pc_after_reset(PcMachine *pc)
{
    Machine *m = &pc->parent;
    Error *err = NULL;

    set_boot_order(pc, m->boot.once && !pc->booted_once ? m->boot.once : usual_order(pc));
    pc->booted_once = true;
    if (!pc->boot) {
        return;
    }
    northbridge_setup(pc->host);
    if (pc->i8042) {
        setup_keyboard();
    }
    southbridge_setup(pc->bridge, pc->pm);
    if (!pc_machine_class_of(pc)->q35) {
        piix3_ide_setup(pc->ide);
    }
    if (pc->acpi_tables) {
        size_t size;
        const void *data = g_bytes_get_data(pc->acpi_tables, &size);
        address_space_write(address_space_memory(), pc->acpi_base, MEMTXATTRS_UNSPECIFIED, data,
                            size);
    }
    if (!boot_install(pc->boot, &err)) {
        error_report_and_free(err);
        lifecycle_request_shutdown(SHUTDOWN_CAUSE_HOST_ERROR);
    }
}

void pc_free_boot(PcMachine *pc)
{
    boot_free(pc->boot);
    pc->boot = NULL;
    g_clear_pointer(&pc->acpi_tables, g_bytes_unref);
    if (pc->bios_size) {
        memory_begin();
        memory_region_finish(&pc->bios_low);
        memory_region_finish(&pc->bios);
        memory_commit();
        pc->bios_size = 0;
    }
}
