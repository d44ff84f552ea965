/*
 * The IDE bus: up to two drives that share a task file, and its registers as controllers show them
 * in I/O space (ATA/ATAPI-6, 7.2).
 */
#include "devices/ide/ide-internal.h"

/* --- Drives on the bus --- */

static unsigned selected_unit(const IdeBus *bus)
{
    for (unsigned i = 0; i < bus->units; i++) {
        if (bus->drives[i]) {
            return bus->drives[i]->device & ATA_DEV ? 1 : 0; /* they hear the same writes */
        }
    }
    return 0;
}

IdeDrive *ide_bus_selected(IdeBus *bus)
{
    unsigned unit = selected_unit(bus);

    return unit < bus->units ? bus->drives[unit] : NULL;
}

void ide_bus_set_irq(IdeBus *bus, bool level)
{
    bus->irq = level;
    bus->ops->set_irq(bus->host_opaque, level);
}

void ide_bus_reset_drives(IdeBus *bus)
{
    for (unsigned i = 0; i < bus->units; i++) {
        if (bus->drives[i]) {
            ide_drive_reset(bus->drives[i]);
        }
    }
    ide_bus_set_irq(bus, false);
}

/* --- Registers --- */

/* 7.16: where no drive answers, the one there is answers for it; without any the lines float. */
static IdeDrive *any_drive(IdeBus *bus)
{
    for (unsigned i = 0; i < bus->units; i++) {
        if (bus->drives[i]) {
            return bus->drives[i];
        }
    }
    return NULL;
}

static uint32_t read_data(IdeDrive *d, unsigned size)
{
    uint32_t value = 0;
    unsigned n;

    if (d->phase != ATA_PIO || d->transfer != ATA_TRANSFER_PIO_IN) {
        return 0;
    }
    n = MIN_OF(size, d->pio_len - d->pio_at);
    for (unsigned i = 0; i < n; i++) {
        value |= (uint32_t)d->buffer[d->pio_at++] << (8 * i);
    }
    if (d->pio_at == d->pio_len) {
        ide_drive_pio_done(d);
    }
    return value;
}

static void write_data(IdeDrive *d, uint32_t value, unsigned size)
{
    unsigned n;

    if (d->phase != ATA_PIO || d->transfer == ATA_TRANSFER_PIO_IN) {
        return;
    }
    n = MIN_OF(size, d->pio_len - d->pio_at);
    for (unsigned i = 0; i < n; i++) {
        d->buffer[d->pio_at++] = (uint8_t)(value >> (8 * i));
    }
    if (d->pio_at == d->pio_len) {
        ide_drive_pio_done(d);
    }
}

static uint8_t read_twice(const IdeDrive *d, const AtaRegister *r)
{
    return d->control & ATA_HOB ? r->before : r->now;
}

static uint64_t command_read(void *opaque, hwaddr addr, unsigned size)
{
    IdeBus *bus = opaque;
    IdeDrive *d = ide_bus_selected(bus), *any = any_drive(bus);

    if (!any) {
        return addr == 7 ? 0 : UINT32_MAX;
    }
    if (addr == 0) {
        return d ? read_data(d, size) : UINT32_MAX;
    }
    if (size != 1) {
        return UINT32_MAX;
    }
    if (!d) { /* the other drive answers: all but the status */
        return addr == 7 ? 0 : addr == 6 ? any->device : 0;
    }
    switch (addr) {
    case 1:
        return d->error;
    case 2:
        return read_twice(d, &d->count);
    case 3:
        return read_twice(d, &d->lba_low);
    case 4:
        return read_twice(d, &d->lba_mid);
    case 5:
        return read_twice(d, &d->lba_high);
    case 6:
        return d->device | 0xa0;
    default:
        ide_bus_set_irq(bus, false);
        return d->status;
    }
}

static void command_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    IdeBus *bus = opaque;
    IdeDrive *d = ide_bus_selected(bus);

    if (addr == 0) {
        if (d) {
            write_data(d, (uint32_t)value, size);
        }
        return;
    }
    if (size != 1) {
        return;
    }
    if (addr == 7) {
        if (value == 0x90) { /* 9.10: both drives look after themselves, the first answers */
            d = any_drive(bus);
        }
        if (d) {
            ide_bus_set_irq(bus, false);
            ide_drive_write(d, 7, (uint8_t)value);
        }
        return;
    }
    for (unsigned i = 0; i < bus->units; i++) {
        if (bus->drives[i]) {
            ide_drive_write(bus->drives[i], (unsigned)addr, (uint8_t)value);
        }
    }
}

const MemoryRegionOps ide_command_ops = {
    .read = command_read,
    .write = command_write,
    .valid = { .min = 1, .max = 4, .unaligned = true },
    .impl = { .min = 1, .max = 4, .unaligned = true },
};

/* Alternate status; device control. */
static uint64_t control_read(void *opaque, hwaddr addr, unsigned size)
{
    IdeBus *bus = opaque;
    IdeDrive *d = ide_bus_selected(bus);

    return d ? d->status : 0;
}

static void control_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    IdeBus *bus = opaque;

    for (unsigned i = 0; i < bus->units; i++) {
        if (bus->drives[i]) {
            ide_drive_set_control(bus->drives[i], (uint8_t)value);
        }
    }
    if (value & (ATA_SRST | ATA_NIEN)) {
        ide_bus_set_irq(bus, false);
    }
}

const MemoryRegionOps ide_control_ops = {
    .read = control_read,
    .write = control_write,
    .valid = { .min = 1, .max = 1 },
};

/* --- The bus --- */

static char *bus_device_path(Device *dev)
{
    Device *controller = dev->parent_bus->owner;
    BusClass *k = controller->parent_bus ? bus_class_of(controller->parent_bus) : NULL;
    g_autofree char *path = k && k->device_path ? k->device_path(controller) : NULL;
    unsigned n = 0;

    while (controller->child_buses->pdata[n] != dev->parent_bus) {
        n++;
    }
    return path ? g_strdup_printf("%s/%u.%d", path, n, ide_drive_cast(dev)->unit) : NULL;
}

static char *bus_device_fw_path(Device *dev)
{
    Device *controller = dev->parent_bus->owner;
    unsigned n = 0;

    while (controller->child_buses->pdata[n] != dev->parent_bus) {
        n++;
    }
    return g_strdup_printf("drive@%u/disk@%d", n, ide_drive_cast(dev)->unit);
}

static bool bus_check_address(Bus *bus, Device *dev, Error **errp)
{
    IdeBus *ide = ide_bus_cast(bus);
    IdeDrive *d = ide_drive_cast(dev);

    if (d->unit < 0) {
        for (unsigned i = 0; i < ide->units && d->unit < 0; i++) {
            d->unit = ide->drives[i] ? -1 : (int32_t)i;
        }
    }
    if (d->unit < 0) {
        error_set(errp, "bus '%s' has no unit left", bus->name);
        return false;
    }
    if ((unsigned)d->unit >= ide->units) {
        error_set(errp, "bus '%s' has %u unit%s, there is no unit %d", bus->name, ide->units,
                  ide->units > 1 ? "s" : "", d->unit);
        return false;
    }
    if (ide->drives[d->unit]) {
        error_set(errp, "unit %d of bus '%s' is taken", d->unit, bus->name);
        return false;
    }
    return true;
}

static void bus_class_init(ObjectClass *klass, const void *data)
{
    BusClass *bc = bus_class_cast(klass);

    bc->device_path = bus_device_path;
    bc->device_fw_path = bus_device_fw_path;
    bc->check_address = bus_check_address;
    bc->max_devices = IDE_UNITS_MAX;
}

IdeBus *ide_bus_new(Device *controller, unsigned units, const IdeHostOps *ops, void *opaque)
{
    g_autofree char *name = g_strdup_printf("ide.%u", controller->child_buses->len);
    IdeBus *bus =
        (IdeBus *)bus_new(TYPE_IDE_BUS, controller, controller->user_created ? NULL : name);

    bus->units = units;
    bus->ops = ops;
    bus->host_opaque = opaque;
    return bus;
}

Bus *ide_controller_bus(Device *controller, unsigned n)
{
    return n < controller->child_buses->len ? controller->child_buses->pdata[n] : NULL;
}

static const TypeInfo ide_bus_info = {
    .name = TYPE_IDE_BUS,
    .parent = TYPE_BUS,
    .instance_size = sizeof(IdeBus),
    .class_init = bus_class_init,
};
OBJECT_TYPE(ide_bus, ide_bus_info)
