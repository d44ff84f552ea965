/*
 * IDE drives: the task file, transfers to and from the medium, life and properties. What commands
 * mean is in ata.c and atapi.c.
 *
 * ATA/ATAPI-6 (INCITS 361), chapters 7 and 9.
 *
 * A command moves its data in blocks through one buffer, and is in one of the phases of AtaPhase.
 * The guest's addresses and lengths never lead past the buffer: the host side copies.
 */
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "block/backend.h"
#include "devices/ide/ide-internal.h"
#include "event/clock.h"
#include "object/property.h"

#define READY (ATA_DRDY | ATA_DSC)

#define SERIAL_MAX  20
#define MODEL_MAX   40
#define VERSION_MAX 8

static IdeBus *bus_of(IdeDrive *d)
{
    return ide_bus_cast(d->parent.parent_bus);
}

static void raise_irq(IdeDrive *d)
{
    if (!(d->control & ATA_NIEN)) {
        ide_bus_set_irq(bus_of(d), true);
    }
}

static bool is_dma(const IdeDrive *d)
{
    return d->transfer == ATA_TRANSFER_DMA_IN || d->transfer == ATA_TRANSFER_DMA_OUT;
}

uint64_t ata_sector_size(const IdeDrive *d)
{
    return d->is_cd ? ATAPI_SECTOR : ATA_SECTOR;
}

/* --- Ends of commands --- */

static void end_command(IdeDrive *d)
{
    IdeBus *bus = bus_of(d);
    bool dma = is_dma(d);

    d->phase = ATA_IDLE;
    d->transfer = ATA_TRANSFER_NONE;
    d->sectors = 0;
    d->reply_at = d->reply_len = 0;
    if (dma) {
        bus->ops->dma_end(bus->host_opaque);
    }
    if (bus->ops->command_end) {
        bus->ops->command_end(bus->host_opaque, d);
    }
    raise_irq(d);
}

void ata_finish(IdeDrive *d)
{
    d->status = READY;
    d->error = 0;
    end_command(d);
}

void ata_fail(IdeDrive *d, uint8_t error)
{
    d->status = READY | ATA_ERR;
    d->error = error;
    end_command(d);
}

void ata_medium_failed(IdeDrive *d)
{
    if (d->is_cd) {
        atapi_fail(d, SENSE_MEDIUM_ERROR, SENSE_CODE_READ_ERROR);
    } else {
        ata_fail(d, d->transfer == ATA_TRANSFER_DMA_OUT || d->transfer == ATA_TRANSFER_PIO_OUT
                        ? ATA_ABRT
                        : ATA_UNC);
    }
}

/* --- PIO: the guest, or the host for it, moves buffer[pio_at … pio_len) --- */

static void begin_pio(IdeDrive *d, uint32_t from, uint32_t to, bool interrupt)
{
    IdeBus *bus = bus_of(d);

    d->phase = ATA_PIO;
    d->pio_at = from;
    d->pio_len = to;
    d->status = READY | ATA_DRQ;
    if (interrupt) {
        raise_irq(d);
    }
    if (bus->ops->pio_ready) {
        bus->ops->pio_ready(bus->host_opaque, d);
    }
}

void ata_reply(IdeDrive *d, uint32_t len)
{
    d->transfer = ATA_TRANSFER_PIO_IN;
    d->sectors = 0;
    begin_pio(d, 0, len, true);
}

void atapi_begin_block(IdeDrive *d, uint32_t len)
{
    /* A packet is asked for without an interrupt (word 0 of IDENTIFY PACKET DEVICE). */
    begin_pio(d, d->reply_at, d->reply_at + len, d->transfer != ATA_TRANSFER_PACKET);
}

/* --- The medium --- */

static void next_block(IdeDrive *d);

static uint32_t block_sectors(const IdeDrive *d)
{
    IdeBus *bus = ide_bus_cast(d->parent.parent_bus);
    uint64_t most = ATA_BUFFER_SIZE / ata_sector_size(d);

    if (!d->is_cd && !is_dma(d) && !bus->ops->pio_ready) {
        bool by_blocks =
            d->command == 0xc4 || d->command == 0xc5 || d->command == 0x29 || d->command == 0x39;
        most = by_blocks ? MAX_OF(d->multiple, 1) : 1;
    }
    return (uint32_t)MIN_OF(most, d->sectors);
}

static void medium_done(BlockRequest *req, int error);

static void submit(IdeDrive *d)
{
    bool write = d->transfer == ATA_TRANSFER_DMA_OUT || d->transfer == ATA_TRANSFER_PIO_OUT;
    uint64_t unit = ata_sector_size(d);

    d->phase = ATA_MEDIUM;
    d->status = READY | ATA_BSY;
    d->iov = (struct iovec){ d->buffer, d->block * unit };
    d->io = (BlockRequest){
        .op = d->flushing ? BLOCK_FLUSH
              : write     ? BLOCK_WRITE
                          : BLOCK_READ,
        .flags = write && !d->flushing && (!d->write_cache || d->command == 0x3d) ? BLOCK_FUA : 0,
        .done = medium_done,
    };
    if (!d->flushing) {
        d->io.offset = d->sector * unit;
        d->io.len = d->block * unit;
        d->io.iov = &d->iov;
        d->io.iov_count = 1;
    }
    block_submit(d->conf.backend.node, d->engine, &d->io);
}

static void fetch_from_host(IdeDrive *d)
{
    IdeBus *bus = bus_of(d);
    size_t len = d->block * ata_sector_size(d);

    if (bus->ops->dma_copy(bus->host_opaque, d->buffer, len, false) < len) {
        ata_medium_failed(d);
    } else {
        submit(d);
    }
}

static void block_done(IdeDrive *d)
{
    IdeBus *bus = bus_of(d);
    uint32_t len = (uint32_t)(d->block * ata_sector_size(d));

    d->sector += d->block;
    d->sectors -= d->block;
    if (d->transfer == ATA_TRANSFER_PIO_IN) {
        d->reply_at = 0;
        d->reply_len = len;
        if (d->is_cd) {
            uint32_t part = MIN_OF(len, d->byte_limit);
            d->lba_mid.now = (uint8_t)part;
            d->lba_high.now = (uint8_t)(part >> 8);
            d->count.now = 2; /* data, to the host */
            begin_pio(d, 0, part, true);
        } else {
            begin_pio(d, 0, len, true);
        }
    } else if (d->transfer == ATA_TRANSFER_DMA_IN &&
               bus->ops->dma_copy(bus->host_opaque, d->buffer, len, true) < len) {
        ata_medium_failed(d);
    } else {
        next_block(d);
    }
}

static void medium_done(BlockRequest *req, int error)
{
    IdeDrive *d = CONTAINER_OF(req, IdeDrive, io);

    if (d->phase != ATA_MEDIUM) {
        return; /* given up meanwhile */
    }
    block_backend_count(&d->conf.backend, req->op, req->len, 0, !error);
    if (error) {
        switch (block_backend_error(&d->conf.backend, req->op == BLOCK_READ, error)) {
        case BLOCK_ERROR_STOP:
            d->phase = ATA_STOPPED;
            return;
        case BLOCK_ERROR_REPORT:
            ata_medium_failed(d);
            return;
        case BLOCK_ERROR_IGNORE:
            break;
        }
    }
    if (d->flushing) {
        d->flushing = false;
        ata_finish(d);
    } else {
        block_done(d);
    }
}

static void next_block(IdeDrive *d)
{
    if (!d->sectors) {
        if (d->is_cd) {
            atapi_finish(d);
        } else {
            ata_finish(d);
        }
        return;
    }
    d->block = block_sectors(d);
    switch (d->transfer) {
    case ATA_TRANSFER_PIO_OUT:
        begin_pio(d, 0, (uint32_t)(d->block * ata_sector_size(d)), true);
        break;
    case ATA_TRANSFER_DMA_OUT:
        fetch_from_host(d);
        break;
    default:
        submit(d);
    }
}

void ata_start_medium(IdeDrive *d)
{
    IdeBus *bus = bus_of(d);

    if (is_dma(d)) {
        d->phase = ATA_DMA_WAIT;
        d->status = READY | ATA_DRQ;
        bus->ops->dma_ready(bus->host_opaque, d);
    } else if (d->transfer == ATA_TRANSFER_PIO_OUT) {
        /* The first block of a write is asked for without an interrupt (9.7). */
        d->block = block_sectors(d);
        begin_pio(d, 0, (uint32_t)(d->block * ata_sector_size(d)), false);
    } else {
        next_block(d);
    }
}

void ata_flush(IdeDrive *d)
{
    d->flushing = true;
    d->block = 0;
    d->transfer = ATA_TRANSFER_NONE;
    submit(d);
}

void ide_drive_run_dma(IdeDrive *d)
{
    IdeBus *bus = bus_of(d);

    if (d->phase != ATA_DMA_WAIT) {
        return;
    }
    if (d->reply_len) { /* a reply that isn't from the medium */
        bus->ops->dma_copy(bus->host_opaque, d->buffer, d->reply_len, true);
        atapi_finish(d);
    } else {
        next_block(d);
    }
}

static void reply_part_done(IdeDrive *d)
{
    d->reply_at = d->pio_len;
    if (d->reply_at < d->reply_len) {
        uint32_t part = MIN_OF(d->reply_len - d->reply_at, d->byte_limit);
        d->lba_mid.now = (uint8_t)part;
        d->lba_high.now = (uint8_t)(part >> 8);
        atapi_begin_block(d, part);
    } else {
        d->reply_at = d->reply_len = 0;
        next_block(d);
    }
}

void ide_drive_pio_done(IdeDrive *d)
{
    if (d->phase != ATA_PIO) {
        return;
    }
    switch (d->transfer) {
    case ATA_TRANSFER_PACKET:
        memcpy(d->packet, d->buffer, sizeof(d->packet));
        d->phase = ATA_IDLE;
        atapi_run_packet(d);
        break;
    case ATA_TRANSFER_PIO_OUT:
        submit(d);
        break;
    default:
        if (d->is_cd && d->command == 0xa0) {
            reply_part_done(d);
        } else if (d->sectors) {
            next_block(d);
        } else {
            /* The last block of a read has had its interrupt already (9.5). */
            IdeBus *bus = bus_of(d);
            d->phase = ATA_IDLE;
            d->transfer = ATA_TRANSFER_NONE;
            d->status = READY;
            d->error = 0;
            if (bus->ops->command_end) {
                bus->ops->command_end(bus->host_opaque, d);
            }
        }
    }
}

/* --- The task file --- */

static void put(AtaRegister *r, uint8_t value)
{
    r->before = r->now;
    r->now = value;
}

void ide_drive_write(IdeDrive *d, unsigned reg, uint8_t value)
{
    bool busy = d->status & (ATA_BSY | ATA_DRQ);

    d->control &= ~ATA_HOB; /* 7.9: any write ends looking at the previous values */
    switch (reg) {
    case 1:
        put(&d->feature, value);
        break;
    case 2:
        put(&d->count, value);
        break;
    case 3:
        put(&d->lba_low, value);
        break;
    case 4:
        put(&d->lba_mid, value);
        break;
    case 5:
        put(&d->lba_high, value);
        break;
    case 6:
        d->device = value;
        break;
    case 7:
        if (busy && value != 0x08) {
            log_guest_error("%s: command 0x%02x while 0x%02x runs\n",
                            object_type_name(&d->parent.parent), value, d->command);
            return;
        }
        d->command = value;
        d->error = 0;
        d->status = READY | ATA_BSY;
        ata_run_command(d, value);
        break;
    }
}

void ata_set_signature(IdeDrive *d)
{
    /* 9.12: sector count and LBA low are 1; LBA mid and high tell packet devices apart. */
    d->count = d->lba_low = (AtaRegister){ 1, 0 };
    d->lba_mid = (AtaRegister){ d->is_cd ? 0x14 : 0, 0 };
    d->lba_high = (AtaRegister){ d->is_cd ? 0xeb : 0, 0 };
    d->device &= ~(0x0f | ATA_LBA);
}

void ide_drive_abort(IdeDrive *d)
{
    d->phase = ATA_IDLE; /* what is in flight comes back to nothing */
    d->transfer = ATA_TRANSFER_NONE;
    d->flushing = false;
    d->sectors = 0;
    d->pio_at = d->pio_len = d->reply_at = d->reply_len = 0;
    if (d->engine) {
        block_engine_drain(d->engine);
    }
}

void ide_drive_reset(IdeDrive *d)
{
    ide_drive_abort(d);
    d->feature = (AtaRegister){ 0 };
    d->device = 0;
    ata_set_signature(d);
    d->error = 1; /* 9.10: diagnostics found nothing wrong */
    d->status = d->is_cd ? 0 : READY;
}

void ide_drive_set_control(IdeDrive *d, uint8_t value)
{
    bool was_reset = d->control & ATA_SRST;

    d->control = value;
    if (!was_reset && (value & ATA_SRST)) {
        ide_drive_abort(d);
        d->status = ATA_BSY;
    } else if (was_reset && !(value & ATA_SRST)) {
        ide_drive_reset(d);
    }
}

/* --- Life --- */

static void ide_drive_hard_reset(Device *dev)
{
    IdeDrive *d = ide_drive_cast(dev);

    d->control = 0;
    d->multiple = ATA_MULTIPLE;
    d->write_cache = !d->conf.backend.write_through;
    d->sense_key = d->sense_code = 0;
    d->tray_locked = false;
    d->medium_changed = false;
    ide_drive_reset(d);
}

static void vm_changed(void *opaque, bool running, RunState state)
{
    IdeDrive *d = opaque;

    if (!running) {
        block_engine_drain(d->engine);
    } else if (d->phase == ATA_STOPPED) {
        submit(d);
    }
}

static void read_capacity(IdeDrive *d)
{
    d->capacity =
        d->conf.backend.node ? block_node_size(d->conf.backend.node) / ata_sector_size(d) : 0;
}

static void resized(Object *device)
{
    read_capacity(ide_drive_cast(device));
}

static bool check_text(const char *what, const char *text, size_t most, Error **errp)
{
    if (text && strlen(text) > most) {
        error_set(errp, "%s '%s' is longer than %zu characters", what, text, most);
        return false;
    }
    return true;
}

static bool check_properties(IdeDrive *d, Error **errp)
{
    if (!d->is_cd && !d->conf.backend.node) {
        error_set(errp, "drive is missing: give the id of a drive or a node");
        return false;
    }
    if (!d->is_cd && d->conf.logical_block_size != ATA_SECTOR) {
        error_set(errp, "logical_block_size must be 512, got %u", d->conf.logical_block_size);
        return false;
    }
    return check_text("serial", d->serial, SERIAL_MAX, errp) &&
           check_text("model", d->model, MODEL_MAX, errp) &&
           check_text("ver", d->version, VERSION_MAX, errp);
}

static void set_place(IdeDrive *d, IdeDrive *who)
{
    IdeBus *bus = bus_of(d);

    bus->drives[d->unit] = who;
    bus->parent.full = true;
    for (unsigned i = 0; i < bus->units; i++) {
        bus->parent.full &= bus->drives[i] != NULL;
    }
}

static bool ide_drive_realize(Device *dev, Error **errp)
{
    IdeDrive *d = ide_drive_cast(dev);
    BlockNode *node = d->conf.backend.node;

    if (!check_properties(d, errp) ||
        !block_conf_attach(&d->conf, &dev->parent, d->is_cd || (node && node->read_only), errp)) {
        return false;
    }
    if (!d->is_cd && node->read_only) {
        error_set(errp, "node '%s' is read-only, and IDE disks are not; use ide-cd or virtio-blk",
                  node->name);
        block_conf_detach(&d->conf);
        return false;
    }
    d->engine = block_engine_new(event_loop_main(), errp);
    if (!d->engine) {
        block_conf_detach(&d->conf);
        return false;
    }
    d->conf.backend.resized = resized;
    d->buffer = g_malloc0(ATA_BUFFER_SIZE);
    d->vm_handler = vm_state_handler_add(vm_changed, 0, d);
    read_capacity(d);
    set_place(d, d);
    return true;
}

static void ide_drive_unrealize(Device *dev)
{
    IdeDrive *d = ide_drive_cast(dev);

    ide_drive_abort(d);
    set_place(d, NULL);
    vm_state_handler_del(d->vm_handler);
    block_engine_free(d->engine);
    d->engine = NULL;
    block_conf_detach(&d->conf);
    g_clear_pointer(&d->buffer, g_free);
}

/* --- State --- */

static bool drive_pre_save(void *opaque, Error **errp)
{
    IdeDrive *d = opaque;

    block_engine_drain(d->engine); /* nothing is between two phases */
    return true;
}

static bool drive_pre_load(void *opaque, Error **errp)
{
    ide_drive_abort(opaque);
    return true;
}

/* What could lead past the buffer or the medium, or to a command that isn't one. */
static bool drive_post_load(void *opaque, int version, Error **errp)
{
    IdeDrive *d = opaque;
    uint64_t unit = ata_sector_size(d);
    bool moves = d->phase != ATA_IDLE && d->sectors;

    if (d->phase >= ATA_PHASE_COUNT || d->phase == ATA_MEDIUM ||
        d->transfer >= ATA_TRANSFER_COUNT || d->pio_len > ATA_BUFFER_SIZE ||
        d->pio_at > d->pio_len || d->reply_len > ATA_BUFFER_SIZE || d->reply_at > d->reply_len ||
        d->block > ATA_BUFFER_SIZE / unit || d->block > MAX_OF(d->sectors, d->block) ||
        d->multiple > ATA_MULTIPLE || d->byte_limit > UINT16_MAX ||
        (d->phase == ATA_PIO && d->pio_at == d->pio_len) ||
        (d->phase == ATA_PIO && d->transfer == ATA_TRANSFER_PACKET && d->pio_len != ATAPI_PACKET) ||
        (d->transfer == ATA_TRANSFER_PIO_IN && d->is_cd && d->reply_len &&
         (d->pio_len > d->reply_len || d->byte_limit < 2)) ||
        ((d->transfer == ATA_TRANSFER_PIO_OUT || d->transfer == ATA_TRANSFER_DMA_OUT) &&
         d->is_cd) ||
        (d->transfer == ATA_TRANSFER_PIO_OUT && d->phase == ATA_PIO && d->block > d->sectors) ||
        (d->phase == ATA_STOPPED && d->block > d->sectors && !d->flushing)) {
        error_set(errp, "the saved drive is in the middle of a command that is impossible");
        ide_drive_abort(d);
        return false;
    }
    if (moves && (d->sector > d->capacity || d->sectors > d->capacity - d->sector)) {
        error_set(errp,
                  "the saved drive was at sectors %" PRIu64 " to %" PRIu64
                  ", this one has %" PRIu64,
                  d->sector, d->sector + d->sectors, d->capacity);
        ide_drive_abort(d);
        return false;
    }
    return true;
}

static const VmState register_vmstate = {
    .name = "ide-register",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(now, AtaRegister),
                                      VMSTATE_UINT8(before, AtaRegister),
                                      {} },
};

static const VmState drive_vmstate = {
    .name = "ide-drive",
    .version = 1,
    .minimum_version = 1,
    .pre_save = drive_pre_save,
    .pre_load = drive_pre_load,
    .post_load = drive_post_load,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(feature, IdeDrive, register_vmstate),
                                      VMSTATE_STRUCT(count, IdeDrive, register_vmstate),
                                      VMSTATE_STRUCT(lba_low, IdeDrive, register_vmstate),
                                      VMSTATE_STRUCT(lba_mid, IdeDrive, register_vmstate),
                                      VMSTATE_STRUCT(lba_high, IdeDrive, register_vmstate),
                                      VMSTATE_UINT8(device, IdeDrive),
                                      VMSTATE_UINT8(status, IdeDrive),
                                      VMSTATE_UINT8(error, IdeDrive),
                                      VMSTATE_UINT8(control, IdeDrive),
                                      VMSTATE_UINT8(command, IdeDrive),
                                      VMSTATE_UINT8(multiple, IdeDrive),
                                      VMSTATE_BOOL(write_cache, IdeDrive),
                                      VMSTATE_UINT8(phase, IdeDrive),
                                      VMSTATE_UINT8(transfer, IdeDrive),
                                      { .name = "buffer",
                                        .kind = VMSTATE_KIND_BUFFER,
                                        .offset = offsetof(IdeDrive, buffer),
                                        .size = ATA_BUFFER_SIZE,
                                        .pointer = true },
                                      VMSTATE_UINT32(pio_at, IdeDrive),
                                      VMSTATE_UINT32(pio_len, IdeDrive),
                                      VMSTATE_UINT64(sector, IdeDrive),
                                      VMSTATE_UINT64(sectors, IdeDrive),
                                      VMSTATE_UINT32(block, IdeDrive),
                                      VMSTATE_BOOL(flushing, IdeDrive),
                                      VMSTATE_BUFFER(packet, IdeDrive),
                                      VMSTATE_UINT8(sense_key, IdeDrive),
                                      VMSTATE_UINT8(sense_code, IdeDrive),
                                      VMSTATE_UINT32(byte_limit, IdeDrive),
                                      VMSTATE_UINT32(reply_at, IdeDrive),
                                      VMSTATE_UINT32(reply_len, IdeDrive),
                                      VMSTATE_BOOL(tray_open, IdeDrive),
                                      VMSTATE_BOOL(tray_locked, IdeDrive),
                                      VMSTATE_BOOL(medium_changed, IdeDrive),
                                      {} },
};

/* --- Types --- */

static const Field drive_properties[] = {
    BLOCK_PROPERTIES(IdeDrive, conf),
    PROP_INT32("unit", IdeDrive, unit, -1, .help = "0 master, 1 slave; -1: the first free one"),
    PROP_STRING("serial", IdeDrive, serial, NULL, .help = "serial number, at most 20 characters"),
    PROP_STRING("model", IdeDrive, model, NULL, .help = "model, at most 40 characters"),
    PROP_STRING("ver", IdeDrive, version, NULL, .help = "firmware version, at most 8 characters"),
    PROP_UINT64("wwn", IdeDrive, wwn, 0, .help = "world wide name; 0: none"),
    {}
};

static void drive_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_STORAGE;
    dc->bus_type = TYPE_IDE_BUS;
    dc->realize = ide_drive_realize;
    dc->unrealize = ide_drive_unrealize;
    dc->reset = ide_drive_hard_reset;
    dc->vmstate = &drive_vmstate;
    dc->hotpluggable = false;
}

static void cd_init(Object *obj)
{
    ide_drive_cast(obj)->is_cd = true;
}

static const TypeInfo drive_info = {
    .name = TYPE_IDE_DRIVE,
    .parent = TYPE_DEVICE,
    .abstract = true,
    .instance_size = sizeof(IdeDrive),
    .properties = drive_properties,
    .class_init = drive_class_init,
};
static const TypeInfo hd_info = {
    .name = TYPE_IDE_HD,
    .parent = TYPE_IDE_DRIVE,
    .help = "IDE or SATA disk",
};
static const TypeInfo cd_info = {
    .name = TYPE_IDE_CD,
    .parent = TYPE_IDE_DRIVE,
    .help = "IDE or SATA CD-ROM drive",
    .instance_init = cd_init,
};
OBJECT_TYPE(ide_drive, drive_info)
OBJECT_TYPE(ide_hd, hd_info)
OBJECT_TYPE(ide_cd, cd_info)
