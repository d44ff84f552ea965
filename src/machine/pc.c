/* The boards pc and q35. */
#include "machine/pc.h"

#include <inttypes.h>
#include <string.h>

#include "accel/accel.h"
#include "block/backend.h"
#include "cpu/cpu.h"
#include "devices/char/serial-isa.h"
#include "devices/i2c/smbus-host.h"
#include "devices/ide/ide.h"
#include "devices/input/i8042.h"
#include "devices/intc/i8259.h"
#include "devices/intc/ioapic.h"
#include "devices/misc/fw-cfg.h"
#include "devices/misc/port92.h"
#include "devices/timer/hpet.h"
#include "devices/timer/i8254.h"
#include "devices/timer/mc146818.h"
#include "object/property.h"

#define PC_CPUS_MAX    255
#define PC_RAM_DEFAULT (128 * MiB)
#define DEFAULT_NIC    "virtio-net-pci"
/* Interrupts that HPET comparators can be routed to. */
#define HPET_INTCAP 0xff0104u

/* --- Making devices: each becomes a child of the machine under a name of its own --- */

static Device *make(PcMachine *pc, const char *name, const char *type, Bus *bus, Error **errp)
{
    Device *dev = device_new(type);

    if (!object_add_child(&pc->parent.parent, name, &dev->parent, errp) ||
        !device_realize(dev, bus, errp)) {
        object_unparent(&dev->parent);
        object_unref(&dev->parent);
        return NULL;
    }
    object_unref(&dev->parent); /* the tree has it */
    return dev;
}

static bool make_host(PcMachine *pc, Error **errp)
{
    bool q35 = pc_machine_class_of(pc)->q35;
    Device *host = device_new(q35 ? TYPE_Q35_HOST : TYPE_I440FX_HOST);

    pc->nb = northbridge_of(host);
    pc->nb->ram = pc->parent.ram;
    pc_split_memory(pc, &pc->nb->lowmem, &pc->nb->highmem);
    if (!object_add_child(&pc->parent.parent, q35 ? "q35" : "i440fx", &host->parent, errp) ||
        !device_realize(host, bus_system(), errp)) {
        object_unparent(&host->parent);
        object_unref(&host->parent);
        pc->nb = NULL;
        return false;
    }
    object_unref(&host->parent);
    pc->host = host;
    pc->pci = northbridge_bus(host);
    return q35 || pci_device_create(pc->pci, PCI_DEVFN(0, 0), TYPE_I440FX, errp);
}

static bool make_bridge(PcMachine *pc, Error **errp)
{
    if (pc_machine_class_of(pc)->q35) {
        pc->bridge = pc->pm = ich9_lpc_new(pc->pci, pc->gsi);
        if (!pci_device_realize_and_unref(pc->bridge, pc->pci, errp)) {
            pc->bridge = pc->pm = NULL;
            return false;
        }
    } else {
        pc->bridge = piix3_new(pc->pci, pc->gsi);
        if (!pci_device_realize_and_unref(pc->bridge, pc->pci, errp)) {
            pc->bridge = NULL;
            return false;
        }
        pc->pm = pci_device_create(pc->pci, PCI_DEVFN(1, 3), TYPE_PIIX4_PM, errp);
        if (!pc->pm) {
            return false;
        }
    }
    pc->isa = southbridge_isa_bus(pc->bridge);
    return true;
}

static bool make_smbus(PcMachine *pc, Error **errp)
{
    PciDevice *dev = pc->pm;

    if (pc_machine_class_of(pc)->q35) {
        dev = pci_device_create(pc->pci, PCI_DEVFN(31, 3), TYPE_ICH9_SMBUS, errp);
    }
    return dev && smbus_add_memory_eeproms(pc_machine_class_of(pc)->q35 ? ich9_smbus_bus(dev)
                                                                        : piix4_smbus_bus(dev),
                                           pc->parent.ram_size, errp);
}

/* --- Disks --- */

static bool make_ide(PcMachine *pc, Error **errp)
{
    bool q35 = pc_machine_class_of(pc)->q35;
    PciDevice *dev = pci_device_create(pc->pci, q35 ? PCI_DEVFN(31, 2) : PCI_DEVFN(1, 1),
                                       q35 ? TYPE_ICH9_AHCI : TYPE_PIIX3_IDE, errp);

    pc->ide = dev ? &dev->parent : NULL;
    return dev != NULL;
}

/* node NULL: an empty CD-ROM drive. */
static bool plug_ide(PcMachine *pc, bool cd, const char *drive, unsigned bus_n, int unit,
                     Error **errp)
{
    Bus *bus = ide_controller_bus(pc->ide, bus_n);
    Device *dev;

    if (!bus) {
        error_set(errp, "the IDE controller of this machine has no bus %u", bus_n);
        return false;
    }
    dev = device_new(cd ? TYPE_IDE_CD : TYPE_IDE_HD);
    if ((drive && !object_set_text(&dev->parent, "drive", drive, errp)) ||
        !object_set_int(&dev->parent, "unit", unit, errp)) {
        object_unref(&dev->parent);
        return false;
    }
    return device_realize_and_unref(dev, bus, errp);
}

typedef struct PlugDrives {
    PcMachine *pc;
    Error **errp;
} PlugDrives;

static bool plug_drive(BlockDrive *drive, void *opaque)
{
    PlugDrives *p = opaque;
    /* SATA has one drive a port: what is counted through goes from port to port. */
    bool by_port = pc_machine_class_of(p->pc)->q35 && !drive->by_bus;

    if (drive->interface != DRIVE_INTERFACE_IDE || drive->taken) {
        return true;
    }
    if (!plug_ide(p->pc, drive->media == DRIVE_MEDIA_CDROM, drive->id,
                  (unsigned)(by_port ? drive->index : drive->bus), by_port ? 0 : drive->unit,
                  p->errp)) {
        error_prepend(p->errp, "-drive id=%s,if=ide: ", drive->id);
        return false;
    }
    return true;
}

#define DEFAULT_CD_INDEX 2

static bool make_drives(PcMachine *pc, Error **errp)
{
    PlugDrives p = { .pc = pc, .errp = errp };
    bool q35 = pc_machine_class_of(pc)->q35;
    Error *err = NULL;

    p.errp = &err;
    block_drive_foreach(plug_drive, &p);
    if (err) {
        error_propagate(errp, err);
        return false;
    }
    if (!pc->parent.defaults.cdrom || block_drive_by_index(DRIVE_INTERFACE_IDE, DEFAULT_CD_INDEX)) {
        return true;
    }
    return plug_ide(pc, true, NULL, q35 ? DEFAULT_CD_INDEX : DEFAULT_CD_INDEX / 2, 0, errp);
}

static bool make_hpet(PcMachine *pc, Error **errp)
{
    Device *hpet;

    if (!pc->hpet_enabled) {
        return true;
    }
    hpet = device_new(TYPE_HPET);
    if (!object_set_int(&hpet->parent, "hpet-intcap", HPET_INTCAP, errp) ||
        !object_add_child(&pc->parent.parent, "hpet", &hpet->parent, errp) ||
        !device_realize(hpet, bus_system(), errp)) {
        object_unparent(&hpet->parent);
        object_unref(&hpet->parent);
        return false;
    }
    object_unref(&hpet->parent);
    hpet_map(hpet, memory_root());
    pc->hpet = hpet;
    return true;
}

static bool make_isa_devices(PcMachine *pc, Error **errp)
{
    Bus *isa = &pc->isa->parent;

    bool in_kernel = accel_irqchip() == ACCEL_IRQCHIP_ON;

    pc->kernel_lines = in_kernel;
    pc->pic = make(pc, "pic", in_kernel ? TYPE_KVM_I8259 : TYPE_I8259, isa, errp);
    if (!pc->pic) {
        return false;
    }
    pc->ioapic = make(pc, "ioapic", in_kernel ? TYPE_KVM_IOAPIC : TYPE_IOAPIC, bus_system(), errp);
    if (!pc->ioapic) {
        return false;
    }
    if (!in_kernel) {
        ioapic_map(pc->ioapic, memory_root(), IOAPIC_DEFAULT_BASE);
    }
    pc->rtc = make(pc, "rtc", TYPE_MC146818, isa, errp);
    pc->port92 = pc->rtc ? make(pc, "port92", TYPE_PORT92, isa, errp) : NULL;
    if (!pc->port92) {
        return false;
    }
    if (pc->pit_enabled) {
        pc->pit = make(pc, "pit", in_kernel ? TYPE_KVM_PIT : TYPE_I8254, isa, errp);
        if (!pc->pit) {
            return false;
        }
    }
    if (pc->i8042_enabled) {
        pc->i8042 = make(pc, "i8042", TYPE_I8042, isa, errp);
        if (!pc->i8042) {
            return false;
        }
    }
    return make_hpet(pc, errp);
}

static bool make_serial_ports(PcMachine *pc, Error **errp)
{
    for (int i = 0; i < MACHINE_SERIAL_PORTS; i++) {
        Device *dev;
        if (!pc->parent.serial[i]) {
            continue;
        }
        dev = device_new(TYPE_SERIAL_ISA);
        if (!object_set_text(&dev->parent, "chardev", pc->parent.serial[i], errp) ||
            !object_set_int(&dev->parent, "index", i, errp)) {
            object_unref(&dev->parent);
            return false;
        }
        if (!device_realize_and_unref(dev, &pc->isa->parent, errp)) {
            error_prepend(errp, "serial port %d: ", i);
            return false;
        }
    }
    if (pc->parent.debugcon) {
        Device *dev = device_new("isa-debugcon");
        if (!object_set_text(&dev->parent, "chardev", pc->parent.debugcon, errp)) {
            object_unref(&dev->parent);
            return false;
        }
        if (!device_realize_and_unref(dev, &pc->isa->parent, errp)) {
            return false;
        }
    }
    for (int i = 0; i < MACHINE_PARALLEL_PORTS; i++) {
        if (pc->parent.parallel[i]) {
            error_set(errp, "-parallel: the machine has no parallel port; use -serial");
            return false;
        }
    }
    return true;
}

static char *find_rom(const char *name)
{
    Machine *m = machine_current();

    return m ? machine_find_firmware(m, name, NULL) : NULL;
}

static bool make_vga(PcMachine *pc, Error **errp)
{
    return !pc->parent.defaults.vga || pci_device_create(pc->pci, -1, "VGA", errp);
}

static bool make_nics(PcMachine *pc, Error **errp)
{
    for (guint i = 0; i < pc->parent.nics->len; i++) {
        MachineNic *nic = pc->parent.nics->pdata[i];
        /* "virtio" is how -net and -nic have always called it. */
        const char *model = !nic->model || !strcmp(nic->model, "virtio") ? DEFAULT_NIC : nic->model;
        ObjectClass *klass = device_model_class(model, errp);
        Device *dev = klass ? device_try_new(class_name(klass), errp) : NULL;
        if (!dev) {
            return false;
        }
        nic->used = true;
        if ((nic->netdev && !object_set_text(&dev->parent, "netdev", nic->netdev, errp)) ||
            (nic->mac && !object_set_text(&dev->parent, "mac", nic->mac, errp))) {
            object_unref(&dev->parent);
            return false;
        }
        dev->id = g_strdup(nic->id);
        if (!device_realize_and_unref(dev, &pc->pci->parent, errp)) {
            return false;
        }
    }
    return true;
}

static bool check_properties(PcMachine *pc, Error **errp)
{
    if (pc->smm == ON_OFF_AUTO_ON) {
        error_set(errp, "smm=on: system management mode is not available; use smm=off or auto");
        return false;
    }
    if (pc->vmport == ON_OFF_AUTO_ON) {
        error_set(errp, "vmport=on: the VMware port is not available; use vmport=off or auto");
        return false;
    }
    if (pc->max_ram_below_4g && (pc->max_ram_below_4g < MiB || pc->max_ram_below_4g > 4 * GiB ||
                                 pc->max_ram_below_4g % MiB)) {
        error_set(errp, "max-ram-below-4g=0x%" PRIx64 ": a multiple of 1 MiB up to 4 GiB is needed",
                  pc->max_ram_below_4g);
        return false;
    }
    if (pc->parent.ram_size < 2 * MiB) {
        error_set(errp, "-m: a PC needs at least 2 MiB of memory");
        return false;
    }
    if (pc->parent.boot.splash) {
        error_set(errp, "-boot splash=%s: boot pictures are not available", pc->parent.boot.splash);
        return false;
    }
    return true;
}

static bool build(PcMachine *pc, Error **errp)
{
    pci_set_rom_finder(find_rom);
    pc_make_lines(pc);
    if (!pc_make_cpus(pc, errp) || !make_host(pc, errp) || !make_bridge(pc, errp) ||
        !make_isa_devices(pc, errp) || !make_ide(pc, errp) || !make_smbus(pc, errp)) {
        return false;
    }
    pc_connect_lines(pc);
    pc->fw_cfg = make(pc, "fw_cfg", TYPE_FW_CFG_IO, bus_system(), errp);
    return pc->fw_cfg && pc_make_firmware(pc, errp) && make_serial_ports(pc, errp) &&
           make_vga(pc, errp) && make_drives(pc, errp) && make_nics(pc, errp);
}

static void take_apart(PcMachine *pc)
{
    pc_free_boot(pc);
    pc_free_lines(pc);
}

static bool pc_init(Machine *m, Error **errp)
{
    PcMachine *pc = pc_machine_cast(m);
    Accel *accel = accel_current();

    pc->wants_firmware = accel && accel_class_of(accel)->runs_guest_code;
    return check_properties(pc, errp) && build(pc, errp);
}

static bool pc_ready(Machine *m, Error **errp)
{
    return pc_prepare_boot(pc_machine_cast(m), errp);
}

static void pc_finish(Machine *m)
{
    take_apart(pc_machine_cast(m));
}

/* Devices, then processors; then what stands in for firmware. */
static void pc_reset(Machine *m, ResetType type)
{
    PcMachine *pc = pc_machine_cast(m);

    machine_reset_all(type);
    pc_reset_cpus(pc);
    pc_after_reset(pc);
}

static void pc_wakeup(Machine *m)
{
    acpi_pm_woke(southbridge_pm(pc_machine_cast(m)->pm));
}

/* --- Types --- */

static const Field pc_properties[] = {
    PROP_ON_OFF_AUTO("acpi", PcMachine, acpi, ON_OFF_AUTO_AUTO, .help = "ACPI tables"),
    PROP_ON_OFF_AUTO("smm", PcMachine, smm, ON_OFF_AUTO_AUTO,
                     .help = "system management mode (not available)"),
    PROP_ON_OFF_AUTO("vmport", PcMachine, vmport, ON_OFF_AUTO_AUTO,
                     .help = "VMware port (not available)"),
    PROP_STRING("pflash0", PcMachine, pflash[0], NULL,
                .help = "drive or node of the flash with the firmware"),
    PROP_STRING("pflash1", PcMachine, pflash[1], NULL,
                .help = "drive or node of the flash below it, for variables"),
    PROP_BOOL("hpet", PcMachine, hpet_enabled, true, .help = "high precision event timers"),
    PROP_BOOL("pit", PcMachine, pit_enabled, true, .help = "i8254 interval timer"),
    PROP_BOOL("i8042", PcMachine, i8042_enabled, true,
              .help = "keyboard controller with keyboard and mouse"),
    PROP_SIZE("max-ram-below-4g", PcMachine, max_ram_below_4g, 0,
              .help = "most memory below 4 GiB; 0: the board's choice"),
    {},
};

static void pc_instance_init(Object *obj)
{
    pc_machine_cast(obj)->e820 = g_array_new(false, false, sizeof(E820Entry));
}

static void pc_instance_finalize(Object *obj)
{
    PcMachine *pc = pc_machine_cast(obj);

    take_apart(pc);
    g_array_unref(pc->e820);
}

static void pc_class_init(ObjectClass *klass, const void *data)
{
    MachineClass *mc = machine_class_cast(klass);

    mc->min_cpus = 1;
    mc->max_cpus = PC_CPUS_MAX;
    mc->default_ram_size = PC_RAM_DEFAULT;
    mc->default_ram_id = "pc.ram";
    mc->default_cpu_type = "rhea64-x86_64-cpu";
    mc->default_nic = DEFAULT_NIC;
    mc->default_boot_order = "cad";
    mc->dies_supported = true;
    mc->numa_supported = true;
    mc->has_debugcon = true;
    mc->no_floppy = true;
    mc->no_parallel = true;
    mc->init = pc_init;
    mc->ready = pc_ready;
    mc->finish = pc_finish;
    mc->reset = pc_reset;
    mc->wakeup = pc_wakeup;
}

static const TypeInfo pc_info = {
    .name = TYPE_PC_MACHINE,
    .parent = TYPE_MACHINE,
    .abstract = true,
    .instance_size = sizeof(PcMachine),
    .class_size = sizeof(PcMachineClass),
    .properties = pc_properties,
    .instance_init = pc_instance_init,
    .instance_finalize = pc_instance_finalize,
    .class_init = pc_class_init,
};
OBJECT_TYPE(pc, pc_info)

/*
 * Versions. What a guest sees of a version never changes once it is released: a row that alters a
 * default gets a compat table for the versions before it.
 */
typedef struct PcVersion {
    const char *name, *alias, *desc;
    bool q35, is_default;
    const GlobalProperty *const *compat;
} PcVersion;

static const PcVersion i440fx_7_2 = {
    .name = "pc-i440fx-7.2",
    .alias = "pc",
    .desc = "Standard PC (i440FX + PIIX, 1996)",
    .is_default = true,
};

static const PcVersion q35_7_2 = {
    .name = "pc-q35-7.2",
    .alias = "q35",
    .desc = "Standard PC (Q35 + ICH9, 2009)",
    .q35 = true,
};

static void version_class_init(ObjectClass *klass, const void *data)
{
    const PcVersion *v = data;
    MachineClass *mc = machine_class_cast(klass);

    mc->name = v->name;
    mc->alias = v->alias;
    mc->desc = v->desc;
    mc->is_default = v->is_default;
    mc->compat = v->compat;
    pc_machine_class_cast(klass)->q35 = v->q35;
}

static const TypeInfo i440fx_7_2_info = {
    .name = "pc-i440fx-7.2" MACHINE_TYPE_SUFFIX,
    .parent = TYPE_PC_MACHINE,
    .help = "Standard PC (i440FX + PIIX, 1996)",
    .class_init = version_class_init,
    .class_data = &i440fx_7_2,
};
OBJECT_TYPE(i440fx_7_2, i440fx_7_2_info)

static const TypeInfo q35_7_2_info = {
    .name = "pc-q35-7.2" MACHINE_TYPE_SUFFIX,
    .parent = TYPE_PC_MACHINE,
    .help = "Standard PC (Q35 + ICH9, 2009)",
    .class_init = version_class_init,
    .class_data = &q35_7_2,
};
OBJECT_TYPE(q35_7_2, q35_7_2_info)
