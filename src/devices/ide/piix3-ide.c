/*
 * IDE function of the PIIX3: two channels at the traditional ports, bus mastering.
 *
 * Intel 82371SB (290550), section 2.3 and 2.7; Programming Interface for Bus Master IDE
 * Controller, revision 1.0.
 */
#include "bus/isa.h"
#include "bus/pci/pci.h"
#include "devices/ide/ide-internal.h"
#include "object/property.h"

#define CHANNELS    2
#define IDETIM      0x40 /* timing, one word a channel */
#define IDETIM_ON   0x8000u
#define PROG_IF     0x80 /* bus master; both channels at the traditional ports */
#define BM_BAR      4
#define BM_SIZE     16
#define BM_CHANNEL  8 /* bytes of a channel's registers */
#define BM_COMMAND  0
#define BM_STATUS   2
#define BM_TABLE    4
#define CMD_START   0x01
#define CMD_TO_MEM  0x08
#define STATUS_BUSY 0x01
#define STATUS_ERR  0x02
#define STATUS_IRQ  0x04
#define STATUS_CAPS 0x60 /* drives that can do DMA: kept for software */
/* Physical region descriptors */
#define PRD_SIZE 8
#define PRD_END  0x80000000u
/* A table may not cross 64 KiB, so it has no more than these. */
#define PRD_MAX (64 * KiB / PRD_SIZE)

static const uint16_t command_ports[CHANNELS] = { 0x1f0, 0x170 };
static const uint16_t control_ports[CHANNELS] = { 0x3f6, 0x376 };
static const uint8_t irqs[CHANNELS] = { 14, 15 };

typedef struct Piix3Ide Piix3Ide;

typedef struct Channel {
    Piix3Ide *ide;
    IdeBus *bus; /* owned through the tree */
    Irq *irq;    /* borrowed from the ISA bus */
    MemoryRegion command_io, control_io;
    uint8_t command, status;
    uint32_t table; /* guest-physical */
    /* where the transfer stands in the table */
    uint32_t next;       /* descriptors used */
    uint32_t addr, left; /* of the one that is under way */
    bool last;           /* it is the table's last */
} Channel;

struct Piix3Ide {
    PciDevice parent;
    Channel channels[CHANNELS];
    MemoryRegion bm;
};

static Piix3Ide *piix3_ide_cast(void *obj)
{
    return (Piix3Ide *)object_cast((Object *)obj, TYPE_PIIX3_IDE);
}

/* --- Host side of the drives --- */

static void channel_set_irq(void *opaque, bool level)
{
    Channel *c = opaque;

    if (level) {
        c->status |= STATUS_IRQ;
    }
    irq_set(c->irq, level);
}

static bool next_region(Channel *c)
{
    uint8_t prd[PRD_SIZE];

    if (c->last || c->next >= PRD_MAX ||
        pci_dma_read(&c->ide->parent, c->table + c->next * PRD_SIZE, prd, sizeof(prd)) !=
            MEMTX_OK) {
        return false;
    }
    c->next++;
    c->addr = ld32_le(prd) & ~1u;
    c->left = ld32_le(prd + 4) & 0xfffe;
    c->left = c->left ?: 64 * KiB;
    c->last = ld32_le(prd + 4) & PRD_END;
    return true;
}

static size_t channel_dma_copy(void *opaque, void *data, size_t len, bool to_memory)
{
    Channel *c = opaque;
    PciDevice *pci = &c->ide->parent;
    size_t done = 0;

    while (done < len && (c->left || next_region(c))) {
        uint32_t part = (uint32_t)MIN_OF(len - done, c->left);
        MemTxResult result = to_memory ? pci_dma_write(pci, c->addr, (uint8_t *)data + done, part)
                                       : pci_dma_read(pci, c->addr, (uint8_t *)data + done, part);
        if (result != MEMTX_OK) {
            c->status |= STATUS_ERR;
            break;
        }
        c->addr += part;
        c->left -= part;
        done += part;
    }
    return done;
}

static void channel_dma_ready(void *opaque, IdeDrive *d)
{
    Channel *c = opaque;

    if (c->command & CMD_START) {
        ide_drive_run_dma(d);
    }
}

/* Section 3.1: the active bit goes when the last region is used up. */
static void channel_dma_end(void *opaque)
{
    Channel *c = opaque;

    if (c->last && !c->left) {
        c->status &= ~STATUS_BUSY;
    }
}

static const IdeHostOps channel_ops = {
    .set_irq = channel_set_irq,
    .dma_ready = channel_dma_ready,
    .dma_copy = channel_dma_copy,
    .dma_end = channel_dma_end,
};

/* --- Bus master registers --- */

static uint64_t bm_read(void *opaque, hwaddr addr, unsigned size)
{
    Piix3Ide *s = opaque;
    const Channel *c = &s->channels[addr / BM_CHANNEL];

    switch (addr % BM_CHANNEL) {
    case BM_COMMAND:
        return c->command;
    case BM_STATUS:
        return c->status;
    case BM_TABLE:
    case BM_TABLE + 1:
    case BM_TABLE + 2:
    case BM_TABLE + 3:
        return c->table >> (8 * (addr % 4)) & 0xff;
    default:
        return 0;
    }
}

static void write_command(Channel *c, uint8_t value)
{
    bool was_started = c->command & CMD_START;

    c->command = value & (CMD_START | CMD_TO_MEM);
    if (!was_started && (value & CMD_START)) {
        IdeDrive *d = ide_bus_selected(c->bus);
        c->next = c->left = 0;
        c->last = false;
        c->status |= STATUS_BUSY;
        if (d) {
            ide_drive_run_dma(d);
        }
    } else if (was_started && !(value & CMD_START)) {
        c->status &= ~STATUS_BUSY;
    }
}

static void bm_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Piix3Ide *s = opaque;
    Channel *c = &s->channels[addr / BM_CHANNEL];
    unsigned shift = 8 * (addr % 4);

    switch (addr % BM_CHANNEL) {
    case BM_COMMAND:
        write_command(c, (uint8_t)value);
        break;
    case BM_STATUS:
        c->status = (c->status & ~STATUS_CAPS) | (value & STATUS_CAPS);
        c->status &= ~(value & (STATUS_ERR | STATUS_IRQ));
        break;
    case BM_TABLE:
    case BM_TABLE + 1:
    case BM_TABLE + 2:
    case BM_TABLE + 3:
        c->table = (c->table & ~(0xffu << shift)) | (uint32_t)(value & 0xff) << shift;
        c->table &= ~3u;
        break;
    }
}

static const MemoryRegionOps bm_ops = {
    .read = bm_read,
    .write = bm_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 1 },
};

/* --- Configuration: the channels answer while I/O decoding and they themselves are on --- */

static void update_channels(Piix3Ide *s)
{
    const uint8_t *config = s->parent.config;
    bool io = pci_get_word(config + PCI_COMMAND) & PCI_COMMAND_IO;

    memory_begin();
    for (unsigned i = 0; i < CHANNELS; i++) {
        bool on = io && (pci_get_word(config + IDETIM + 2 * i) & IDETIM_ON);
        memory_region_set_enabled(&s->channels[i].command_io, on);
        memory_region_set_enabled(&s->channels[i].control_io, on);
    }
    memory_commit();
}

static void ide_config_write(PciDevice *dev, uint32_t addr, uint32_t value, unsigned len)
{
    pci_default_config_write(dev, addr, value, len);
    if (pci_ranges_overlap(addr, len, PCI_COMMAND, 2) || pci_ranges_overlap(addr, len, IDETIM, 4)) {
        update_channels(piix3_ide_cast(dev));
    }
}

void piix3_ide_setup(Device *controller)
{
    ide_config_write(&piix3_ide_cast(controller)->parent, IDETIM, IDETIM_ON | IDETIM_ON << 16, 4);
}

/* --- Life --- */

static void ide_reset(Device *dev)
{
    Piix3Ide *s = piix3_ide_cast(dev);

    /* On from the start, unlike the chip's: firmware for this board doesn't always switch them on.
     */
    pci_set_long(s->parent.config + IDETIM, IDETIM_ON | IDETIM_ON << 16);
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &s->channels[i];
        c->command = c->status = 0;
        c->table = c->next = c->left = c->addr = 0;
        c->last = false;
        ide_bus_reset_drives(c->bus);
    }
    update_channels(s);
}

static bool ide_realize(PciDevice *dev, Error **errp)
{
    Piix3Ide *s = piix3_ide_cast(dev);
    IsaBus *isa = (IsaBus *)bus_find_for_type(TYPE_ISA_BUS);

    if (!isa) {
        error_set(errp, "%s: this machine has no ISA interrupts for it", TYPE_PIIX3_IDE);
        return false;
    }
    dev->config[PCI_CLASS_PROG] = PROG_IF;
    pci_set_long(dev->config_mask + IDETIM, 0xffffffff);
    pci_register_bar(dev, BM_BAR, PCI_BASE_ADDRESS_SPACE_IO, &s->bm);
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &s->channels[i];
        c->bus = ide_bus_new(&dev->parent, 2, &channel_ops, c);
        c->irq = &isa->irqs[irqs[i]];
        memory_region_init_io(&c->command_io, &dev->parent.parent, &ide_command_ops, c->bus,
                              "ide-command", 8);
        memory_region_init_io(&c->control_io, &dev->parent.parent, &ide_control_ops, c->bus,
                              "ide-control", 1);
        memory_region_set_enabled(&c->command_io, false);
        memory_region_set_enabled(&c->control_io, false);
        memory_region_add_overlap(io_root(), command_ports[i], &c->command_io, 1);
        memory_region_add_overlap(io_root(), control_ports[i], &c->control_io, 1);
    }
    return true;
}

static void ide_exit(PciDevice *dev)
{
    Piix3Ide *s = piix3_ide_cast(dev);

    for (unsigned i = 0; i < CHANNELS; i++) {
        memory_region_del(io_root(), &s->channels[i].command_io);
        memory_region_del(io_root(), &s->channels[i].control_io);
    }
}

static void ide_init(Object *obj)
{
    Piix3Ide *s = piix3_ide_cast(obj);

    for (unsigned i = 0; i < CHANNELS; i++) {
        s->channels[i].ide = s;
    }
    memory_region_init_io(&s->bm, obj, &bm_ops, s, "piix-bmdma", BM_SIZE);
}

static void ide_finalize(Object *obj)
{
    Piix3Ide *s = piix3_ide_cast(obj);

    for (unsigned i = 0; i < CHANNELS; i++) {
        memory_region_finish(&s->channels[i].command_io);
        memory_region_finish(&s->channels[i].control_io);
    }
    memory_region_finish(&s->bm);
}

static bool ide_post_load(void *opaque, int version, Error **errp)
{
    Piix3Ide *s = opaque;

    update_channels(s);
    return true;
}

static const VmState channel_vmstate = {
    .name = "piix3-ide/channel",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(command, Channel),
                                      VMSTATE_UINT8(status, Channel),
                                      VMSTATE_UINT32(table, Channel),
                                      VMSTATE_UINT32(next, Channel),
                                      VMSTATE_UINT32(addr, Channel),
                                      VMSTATE_UINT32(left, Channel),
                                      VMSTATE_BOOL(last, Channel),
                                      {} },
};

static const VmState ide_vmstate = {
    .name = "piix3-ide",
    .version = 1,
    .minimum_version = 1,
    .post_load = ide_post_load,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, Piix3Ide, pci_device_vmstate),
                                      VMSTATE_STRUCT_ARRAY(channels, Piix3Ide, channel_vmstate),
                                      {} },
};

static void ide_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_STORAGE;
    dc->reset = ide_reset;
    dc->vmstate = &ide_vmstate;
    dc->user_creatable = false;
    dc->hotpluggable = false;
    pc->realize = ide_realize;
    pc->exit = ide_exit;
    pc->config_write = ide_config_write;
    pc->vendor_id = PCI_VENDOR_ID_INTEL;
    pc->device_id = 0x7010;
    pc->class_id = 0x0101;
}

static const TypeInfo piix3_ide_info = {
    .name = TYPE_PIIX3_IDE,
    .parent = TYPE_PCI_DEVICE,
    .help = "82371SB IDE controller",
    .instance_size = sizeof(Piix3Ide),
    .instance_init = ide_init,
    .instance_finalize = ide_finalize,
    .class_init = ide_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(piix3_ide, piix3_ide_info)
