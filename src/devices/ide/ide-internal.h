/* Between drives, buses and controllers. */
#ifndef DEVICES_IDE_IDE_INTERNAL_H
#define DEVICES_IDE_IDE_INTERNAL_H

#include "block/backend.h"
#include "bus/device.h"
#include "devices/ide/ide.h"
#include "memory/memory.h"
#include "object/runstate.h"

#define IDE_UNITS_MAX 2

/* ATA/ATAPI-6, 7.15: status register */
enum {
    ATA_ERR = 0x01,
    ATA_DRQ = 0x08,
    ATA_DSC = 0x10, /* seek complete, in drives of old */
    ATA_DF = 0x20,
    ATA_DRDY = 0x40,
    ATA_BSY = 0x80,
};
/* 7.8: error register */
enum { ATA_ABRT = 0x04, ATA_IDNF = 0x10, ATA_UNC = 0x40 };
/* 7.7: device register */
enum { ATA_DEV = 0x10, ATA_LBA = 0x40 };
/* 7.9: device control register */
enum { ATA_NIEN = 0x02, ATA_SRST = 0x04, ATA_HOB = 0x80 };

/* Bytes moved between two looks at the host: a drive's buffer. */
#define ATA_SECTOR      512u
#define ATAPI_SECTOR    2048u
#define ATA_BUFFER_SIZE (128 * KiB)
#define ATA_MULTIPLE    16u /* sectors of a block of READ MULTIPLE */
#define ATAPI_PACKET    12u

typedef struct IdeBus IdeBus;
typedef struct IdeDrive IdeDrive;

/* A controller's side. opaque is IdeBus.host_opaque. */
typedef struct IdeHostOps {
    /* INTRQ of the bus has gone up or down. */
    void (*set_irq)(void *opaque, bool level);
    /* The drive has data, or wants some: pio_len bytes from buffer on. NULL: the guest reads and
     * writes the data register. */
    void (*pio_ready)(void *opaque, IdeDrive *d);
    /* The drive waits to be started: the host calls ide_drive_run_dma(), at once or later. */
    void (*dma_ready)(void *opaque, IdeDrive *d);
    /* The next bytes of the transfer from or to guest memory; how many of them there was room for.
     */
    size_t (*dma_copy)(void *opaque, void *data, size_t len, bool to_memory);
    /* The transfer is over. */
    void (*dma_end)(void *opaque);
    /* A command has ended, the task file says how. NULL allowed. */
    void (*command_end)(void *opaque, IdeDrive *d);
} IdeHostOps;

struct IdeBus {
    Bus parent;
    IdeDrive *drives[IDE_UNITS_MAX]; /* borrowed */
    unsigned units;
    const IdeHostOps *ops;
    void *host_opaque;
    bool irq; /* INTRQ is up */
};

/* What a register write leaves: the value, and the one before for 48-bit addresses. */
typedef struct AtaRegister {
    uint8_t now, before;
} AtaRegister;

/* How a command's data goes. */
typedef enum AtaTransfer {
    ATA_TRANSFER_NONE,
    ATA_TRANSFER_PIO_IN,  /* the drive's data, through the data register */
    ATA_TRANSFER_PIO_OUT, /* the guest's */
    ATA_TRANSFER_DMA_IN,
    ATA_TRANSFER_DMA_OUT,
    ATA_TRANSFER_PACKET, /* the guest's command packet */
    ATA_TRANSFER_COUNT,
} AtaTransfer;

/* Where a command stands. */
typedef enum AtaPhase {
    ATA_IDLE,
    ATA_PIO,      /* the guest moves pio_at to pio_len */
    ATA_DMA_WAIT, /* for the host to start */
    ATA_MEDIUM,   /* for the medium */
    ATA_STOPPED,  /* the medium failed: again when the machine goes on */
    ATA_PHASE_COUNT,
} AtaPhase;

struct IdeDrive {
    Device parent;
    bool is_cd;

    /* properties */
    BlockConf conf;
    int32_t unit; /* -1: the first free one */
    char *serial, *model, *version;
    uint64_t wwn;

    /* task file; machine lock, as everything here */
    AtaRegister feature, count, lba_low, lba_mid, lba_high;
    uint8_t device, status, error, control;
    uint8_t command;  /* that runs, or ran last */
    uint8_t multiple; /* sectors a block; 0: not set */
    bool write_cache;

    /* a command under way */
    uint8_t phase;    /* AtaPhase */
    uint8_t transfer; /* AtaTransfer */
    uint8_t *buffer;  /* ATA_BUFFER_SIZE bytes, owned */
    uint32_t pio_at, pio_len;
    uint64_t sector;  /* the next one on the medium */
    uint64_t sectors; /* left to move to or from the medium */
    uint32_t block;   /* sectors that buffer holds, on their way */
    bool flushing;    /* the medium's part is a flush */

    /* ATAPI */
    uint8_t packet[ATAPI_PACKET];
    uint8_t sense_key, sense_code; /* of the last command */
    uint32_t byte_limit;           /* of one PIO block */
    uint32_t reply_at, reply_len;  /* a reply that is not from the medium, in buffer */
    bool tray_open, tray_locked, medium_changed;

    uint64_t capacity; /* sectors of this kind of drive; 0: no medium */
    BlockEngine *engine;
    BlockRequest io;
    struct iovec iov;
    VmStateHandler *vm_handler;
};

static inline UNUSED IdeBus *ide_bus_cast(void *obj)
{
    return (IdeBus *)object_cast((Object *)obj, TYPE_IDE_BUS);
}
static inline UNUSED IdeDrive *ide_drive_cast(void *obj)
{
    return (IdeDrive *)object_cast((Object *)obj, TYPE_IDE_DRIVE);
}

/* --- ide-bus.c --- */

/* ops and opaque are borrowed. name as bus_new(). */
IdeBus *ide_bus_new(Device *controller, unsigned units, const IdeHostOps *ops, void *opaque);
/* The task file as old controllers show it: eight command registers, one control register. */
extern const MemoryRegionOps ide_command_ops, ide_control_ops;
/* NULL: there is none. */
IdeDrive *ide_bus_selected(IdeBus *bus);
void ide_bus_set_irq(IdeBus *bus, bool level);
void ide_bus_reset_drives(IdeBus *bus);

/* --- ide-drive.c: the task file and what runs a command --- */

/* A command register (7.x: 1 features to 7 command) was written. Not for the data register. */
void ide_drive_write(IdeDrive *d, unsigned reg, uint8_t value);
void ide_drive_set_control(IdeDrive *d, uint8_t value);
/* After power-on, software and hardware reset: signature and status. */
void ide_drive_reset(IdeDrive *d);
/* The host is ready for the DMA that the drive waits to do. */
void ide_drive_run_dma(IdeDrive *d);
/* The host has moved all of buffer's pio_len bytes. */
void ide_drive_pio_done(IdeDrive *d);
/* Give up what is under way. */
void ide_drive_abort(IdeDrive *d);

/* --- For the command sets --- */

void ata_finish(IdeDrive *d);              /* with success */
void ata_fail(IdeDrive *d, uint8_t error); /* with ERR and these bits */
void ata_reply(IdeDrive *d, uint32_t len); /* len bytes of buffer by PIO, then finish */
void ata_start_medium(IdeDrive *d);        /* move sector and sectors as transfer says */
void ata_flush(IdeDrive *d);
void ata_set_signature(IdeDrive *d);
uint64_t ata_sector_size(const IdeDrive *d);
/* The medium failed, or the host had no room. */
void ata_medium_failed(IdeDrive *d);

/* --- ata.c --- */
void ata_run_command(IdeDrive *d, uint8_t command);
void ata_identify(IdeDrive *d); /* into buffer */

/* --- atapi.c --- */
void atapi_run_packet(IdeDrive *d);
void atapi_fail(IdeDrive *d, uint8_t key, uint8_t code);
void atapi_finish(IdeDrive *d);
/* The next block of a transfer is in buffer: tell the guest how long it is. */
void atapi_begin_block(IdeDrive *d, uint32_t len);
enum { SENSE_NOT_READY = 2, SENSE_MEDIUM_ERROR = 3, SENSE_ILLEGAL = 5, SENSE_UNIT_ATTENTION = 6 };
enum {
    SENSE_CODE_NONE = 0,
    SENSE_CODE_READ_ERROR = 0x11,
    SENSE_CODE_INVALID_COMMAND = 0x20,
    SENSE_CODE_RANGE = 0x21,
    SENSE_CODE_INVALID_FIELD = 0x24,
    SENSE_CODE_CHANGED = 0x28,
    SENSE_CODE_NO_MEDIUM = 0x3a,
};

#endif
