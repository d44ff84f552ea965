/*
 * The commands of ATA disks, and those that packet devices share with them.
 *
 * ATA/ATAPI-6 (INCITS 361), chapter 8.
 */
#include <string.h>

#include "base/log.h"
#include "devices/ide/ide-internal.h"

enum {
    CMD_NOP = 0x00,
    CMD_DEVICE_RESET = 0x08,
    CMD_RECALIBRATE = 0x10, /* to 1Fh */
    CMD_READ = 0x20,
    CMD_READ_ONCE = 0x21,
    CMD_READ_EXT = 0x24,
    CMD_READ_DMA_EXT = 0x25,
    CMD_READ_NATIVE_MAX_EXT = 0x27,
    CMD_READ_MULTIPLE_EXT = 0x29,
    CMD_WRITE = 0x30,
    CMD_WRITE_ONCE = 0x31,
    CMD_WRITE_EXT = 0x34,
    CMD_WRITE_DMA_EXT = 0x35,
    CMD_WRITE_MULTIPLE_EXT = 0x39,
    CMD_WRITE_DMA_FUA_EXT = 0x3d,
    CMD_VERIFY = 0x40,
    CMD_VERIFY_ONCE = 0x41,
    CMD_VERIFY_EXT = 0x42,
    CMD_SEEK = 0x70,
    CMD_DIAGNOSTIC = 0x90,
    CMD_INIT_PARAMETERS = 0x91,
    CMD_PACKET = 0xa0,
    CMD_IDENTIFY_PACKET = 0xa1,
    CMD_READ_MULTIPLE = 0xc4,
    CMD_WRITE_MULTIPLE = 0xc5,
    CMD_SET_MULTIPLE = 0xc6,
    CMD_READ_DMA = 0xc8,
    CMD_READ_DMA_ONCE = 0xc9,
    CMD_WRITE_DMA = 0xca,
    CMD_WRITE_DMA_ONCE = 0xcb,
    CMD_STANDBY_NOW = 0xe0,
    CMD_IDLE_NOW = 0xe1,
    CMD_STANDBY = 0xe2,
    CMD_IDLE = 0xe3,
    CMD_CHECK_POWER = 0xe5,
    CMD_SLEEP = 0xe6,
    CMD_FLUSH = 0xe7,
    CMD_FLUSH_EXT = 0xea,
    CMD_IDENTIFY = 0xec,
    CMD_SET_FEATURES = 0xef,
    CMD_READ_NATIVE_MAX = 0xf8,
};

/* SET FEATURES, 8.46 */
enum {
    FEATURE_WRITE_CACHE_ON = 0x02,
    FEATURE_TRANSFER_MODE = 0x03,
    FEATURE_LOOK_AHEAD_OFF = 0x55,
    FEATURE_NO_DEFAULTS = 0x66,
    FEATURE_WRITE_CACHE_OFF = 0x82,
    FEATURE_LOOK_AHEAD_ON = 0xaa,
    FEATURE_DEFAULTS = 0xcc,
};

/* The geometry of disks too big for one. */
#define CYLINDERS_MAX   16383u
#define HEADS           16u
#define SECTORS_A_TRACK 63u
#define LBA28_MAX       ((1u << 28) - 1)
#define POWER_ACTIVE    0xff

/* --- Addresses --- */

static uint64_t address_28(const IdeDrive *d)
{
    if (d->device & ATA_LBA) {
        return (uint64_t)(d->device & 0x0f) << 24 | d->lba_high.now << 16 | d->lba_mid.now << 8 |
               d->lba_low.now;
    }
    /* Cylinder, head and sector; sectors count from 1, 0 is none and lies past every end. */
    uint64_t cylinder = d->lba_high.now << 8 | d->lba_mid.now;
    return d->lba_low.now
               ? (cylinder * HEADS + (d->device & 0x0f)) * SECTORS_A_TRACK + d->lba_low.now - 1
               : UINT64_MAX;
}

static uint64_t address_48(const IdeDrive *d)
{
    return (uint64_t)d->lba_high.before << 40 | (uint64_t)d->lba_mid.before << 32 |
           (uint64_t)d->lba_low.before << 24 | d->lba_high.now << 16 | d->lba_mid.now << 8 |
           d->lba_low.now;
}

/* Sets sector and sectors; false: not on the disk, and the command has failed. */
static bool take_range(IdeDrive *d, bool ext)
{
    uint64_t count = ext ? d->count.before << 8 | d->count.now : d->count.now;

    d->sector = ext ? address_48(d) : address_28(d);
    d->sectors = count ?: (ext ? 65536 : 256);
    if (d->sector >= d->capacity || d->sectors > d->capacity - d->sector) {
        d->sectors = 0;
        ata_fail(d, ATA_IDNF | ATA_ABRT);
        return false;
    }
    return true;
}

static void run_transfer(IdeDrive *d, AtaTransfer transfer, bool ext)
{
    if (take_range(d, ext)) {
        d->transfer = transfer;
        ata_start_medium(d);
    }
}

static void run_multiple(IdeDrive *d, AtaTransfer transfer, bool ext)
{
    if (!d->multiple) {
        ata_fail(d, ATA_ABRT);
        return;
    }
    run_transfer(d, transfer, ext);
}

/* --- IDENTIFY DEVICE and IDENTIFY PACKET DEVICE, 8.16 and 8.17 --- */

static void put_word(IdeDrive *d, unsigned word, uint16_t value)
{
    st16_le(d->buffer + 2 * word, value);
}

/* Texts have the two characters of a word swapped, and spaces behind them. */
static void put_text(IdeDrive *d, unsigned word, unsigned words, const char *text)
{
    size_t len = strlen(text);

    for (unsigned i = 0; i < 2 * words; i++) {
        d->buffer[(2 * word + i) ^ 1] = i < len ? (uint8_t)text[i] : ' ';
    }
}

static void identify_disk(IdeDrive *d)
{
    uint32_t small = (uint32_t)MIN_OF(d->capacity, LBA28_MAX);
    uint64_t cylinders = d->capacity / (HEADS * SECTORS_A_TRACK);
    uint16_t shown = (uint16_t)MIN_OF(MAX_OF(cylinders, 1), CYLINDERS_MAX);

    put_word(d, 0, 0x0040);
    put_word(d, 1, shown);
    put_word(d, 3, HEADS);
    put_word(d, 6, SECTORS_A_TRACK);
    put_word(d, 47, 0x8000 | ATA_MULTIPLE);
    put_word(d, 54, shown);
    put_word(d, 55, HEADS);
    put_word(d, 56, SECTORS_A_TRACK);
    put_word(d, 57, (uint16_t)(shown * HEADS * SECTORS_A_TRACK));
    put_word(d, 58, (uint16_t)(shown * HEADS * SECTORS_A_TRACK >> 16));
    put_word(d, 59, d->multiple ? 0x100 | d->multiple : 0);
    put_word(d, 60, (uint16_t)small);
    put_word(d, 61, (uint16_t)(small >> 16));
    st64_le(d->buffer + 200, d->capacity); /* words 100 to 103 */
}

static unsigned log_of_ratio(const IdeDrive *d)
{
    unsigned n = 0;

    while (ATA_SECTOR << n < d->conf.physical_block_size && n < 15) {
        n++;
    }
    return n;
}

void ata_identify(IdeDrive *d)
{
    memset(d->buffer, 0, ATA_SECTOR);
    if (d->is_cd) {
        put_word(d, 0, 0x85c0); /* packet device, CD-ROM, removable, 12-byte packets */
    } else {
        identify_disk(d);
    }
    put_text(d, 10, 10, d->serial ?: "RH00001");
    put_text(d, 23, 4, d->version ?: "1.0");
    put_text(d, 27, 20, d->model ?: d->is_cd ? "RHEA DVD-ROM" : "RHEA HARDDISK");
    put_word(d, 49, 0x0b00); /* DMA, LBA, IORDY */
    put_word(d, 53, 0x0007); /* words 54 to 58, 64 to 70 and 88 mean something */
    put_word(d, 63, 0x0007); /* multiword DMA 0 to 2 */
    put_word(d, 64, 0x0003); /* PIO 3 and 4 */
    for (unsigned word = 65; word <= 68; word++) {
        put_word(d, word, 120); /* ns a cycle */
    }
    put_word(d, 80, 0x007e);                     /* ATA-1 to 6 */
    put_word(d, 82, d->is_cd ? 0x0210 : 0x4020); /* packet and DEVICE RESET; NOP, write cache */
    /* Word 83: bit 14 is one; flushes, and 48-bit addresses. Word 84: FUA, world wide name. */
    put_word(d, 83, d->is_cd ? 0x4000 : 0x7400);
    put_word(d, 84, 0x4000 | (d->is_cd ? 0 : 0x0040) | (d->wwn ? 0x0100 : 0));
    put_word(d, 85, d->is_cd ? 0x0210 : 0x4000 | (d->write_cache ? 0x0020 : 0));
    put_word(d, 86, d->is_cd ? 0 : 0x3400);
    put_word(d, 87, 0x4000 | (d->is_cd ? 0 : 0x0040) | (d->wwn ? 0x0100 : 0));
    put_word(d, 88, 0x203f);     /* Ultra DMA 0 to 5, 5 is on */
    put_word(d, 93, 0x4000 | 1); /* reset found the drive */
    if (!d->is_cd && log_of_ratio(d)) {
        put_word(d, 106, 0x6000 | log_of_ratio(d));
    }
    for (unsigned i = 0; d->wwn && i < 4; i++) {
        put_word(d, 108 + i, (uint16_t)(d->wwn >> (48 - 16 * i)));
    }
}

/* --- Other commands --- */

static void run_set_features(IdeDrive *d)
{
    switch (d->feature.now) {
    case FEATURE_WRITE_CACHE_ON:
    case FEATURE_WRITE_CACHE_OFF:
        if (d->is_cd) {
            ata_fail(d, ATA_ABRT);
            return;
        }
        d->write_cache = d->feature.now == FEATURE_WRITE_CACHE_ON;
        if (!d->write_cache) {
            ata_flush(d);
            return;
        }
        break;
    case FEATURE_TRANSFER_MODE: /* all modes are as fast as the host */
    case FEATURE_LOOK_AHEAD_OFF:
    case FEATURE_LOOK_AHEAD_ON:
    case FEATURE_NO_DEFAULTS:
    case FEATURE_DEFAULTS:
        break;
    default:
        ata_fail(d, ATA_ABRT);
        return;
    }
    ata_finish(d);
}

static void run_set_multiple(IdeDrive *d)
{
    uint8_t n = d->count.now;

    if (n > ATA_MULTIPLE || (n & (n - 1))) {
        ata_fail(d, ATA_ABRT);
        return;
    }
    d->multiple = n;
    ata_finish(d);
}

static void tell_native_max(IdeDrive *d, bool ext)
{
    uint64_t last = d->capacity ? d->capacity - 1 : 0;

    if (!ext) {
        last = MIN_OF(last, LBA28_MAX - 1);
        d->device = (d->device & 0xf0) | (last >> 24 & 0x0f);
    }
    d->lba_low = (AtaRegister){ (uint8_t)last, (uint8_t)(last >> 24) };
    d->lba_mid = (AtaRegister){ (uint8_t)(last >> 8), (uint8_t)(last >> 32) };
    d->lba_high = (AtaRegister){ (uint8_t)(last >> 16), (uint8_t)(last >> 40) };
    ata_finish(d);
}

static void run_disk_command(IdeDrive *d, uint8_t command)
{
    switch (command) {
    case CMD_READ:
    case CMD_READ_ONCE:
        run_transfer(d, ATA_TRANSFER_PIO_IN, false);
        break;
    case CMD_READ_EXT:
        run_transfer(d, ATA_TRANSFER_PIO_IN, true);
        break;
    case CMD_READ_MULTIPLE:
    case CMD_READ_MULTIPLE_EXT:
        run_multiple(d, ATA_TRANSFER_PIO_IN, command == CMD_READ_MULTIPLE_EXT);
        break;
    case CMD_WRITE:
    case CMD_WRITE_ONCE:
        run_transfer(d, ATA_TRANSFER_PIO_OUT, false);
        break;
    case CMD_WRITE_EXT:
        run_transfer(d, ATA_TRANSFER_PIO_OUT, true);
        break;
    case CMD_WRITE_MULTIPLE:
    case CMD_WRITE_MULTIPLE_EXT:
        run_multiple(d, ATA_TRANSFER_PIO_OUT, command == CMD_WRITE_MULTIPLE_EXT);
        break;
    case CMD_READ_DMA:
    case CMD_READ_DMA_ONCE:
        run_transfer(d, ATA_TRANSFER_DMA_IN, false);
        break;
    case CMD_READ_DMA_EXT:
        run_transfer(d, ATA_TRANSFER_DMA_IN, true);
        break;
    case CMD_WRITE_DMA:
    case CMD_WRITE_DMA_ONCE:
        run_transfer(d, ATA_TRANSFER_DMA_OUT, false);
        break;
    case CMD_WRITE_DMA_EXT:
    case CMD_WRITE_DMA_FUA_EXT:
        run_transfer(d, ATA_TRANSFER_DMA_OUT, true);
        break;
    case CMD_VERIFY:
    case CMD_VERIFY_ONCE:
    case CMD_VERIFY_EXT:
        if (take_range(d, command == CMD_VERIFY_EXT)) {
            ata_finish(d);
        }
        break;
    case CMD_READ_NATIVE_MAX:
    case CMD_READ_NATIVE_MAX_EXT:
        tell_native_max(d, command == CMD_READ_NATIVE_MAX_EXT);
        break;
    case CMD_SET_MULTIPLE:
        run_set_multiple(d);
        break;
    case CMD_FLUSH:
    case CMD_FLUSH_EXT:
        ata_flush(d);
        break;
    case CMD_SEEK:
    case CMD_INIT_PARAMETERS:
        ata_finish(d);
        break;
    case CMD_IDENTIFY:
        ata_identify(d);
        ata_reply(d, ATA_SECTOR);
        break;
    default:
        if (command >= CMD_RECALIBRATE && command < CMD_READ) {
            ata_finish(d);
        } else {
            ata_fail(d, ATA_ABRT);
        }
    }
}

static void run_cd_command(IdeDrive *d, uint8_t command)
{
    switch (command) {
    case CMD_DEVICE_RESET:
        ide_drive_reset(d);
        break;
    case CMD_IDENTIFY_PACKET:
        ata_identify(d);
        ata_reply(d, ATA_SECTOR);
        break;
    case CMD_PACKET:
        /* 8.23: asked for without an interrupt; bit 0 of features says how data will go. */
        if (d->feature.now & 0x02) {
            ata_fail(d, ATA_ABRT); /* overlapped */
            return;
        }
        d->count.now = 1; /* a command, from the host */
        d->byte_limit = d->lba_high.now << 8 | d->lba_mid.now;
        d->transfer = ATA_TRANSFER_PACKET;
        d->reply_at = d->reply_len = 0;
        d->phase = ATA_IDLE;
        atapi_begin_block(d, ATAPI_PACKET);
        break;
    case CMD_READ:
    case CMD_IDENTIFY:
        ata_set_signature(d); /* 9.12: here is a packet device */
        ata_fail(d, ATA_ABRT);
        break;
    default:
        ata_fail(d, ATA_ABRT);
    }
}

void ata_run_command(IdeDrive *d, uint8_t command)
{
    switch (command) {
    case CMD_DIAGNOSTIC:
        ata_set_signature(d);
        ata_finish(d);
        d->error = 1;
        break;
    case CMD_SET_FEATURES:
        run_set_features(d);
        break;
    case CMD_CHECK_POWER:
        d->count.now = POWER_ACTIVE;
        ata_finish(d);
        break;
    case CMD_STANDBY_NOW:
    case CMD_IDLE_NOW:
    case CMD_STANDBY:
    case CMD_IDLE:
    case CMD_SLEEP:
        ata_finish(d);
        break;
    case CMD_NOP:
        ata_fail(d, ATA_ABRT);
        break;
    default:
        if (d->is_cd) {
            run_cd_command(d, command);
        } else {
            run_disk_command(d, command);
        }
    }
}
