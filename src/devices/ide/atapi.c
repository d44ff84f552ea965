/*
 * Packet commands of CD-ROM drives.
 *
 * ATA/ATAPI-6 9.8 (packets), MMC-3 (INCITS 360) and SPC-2 (commands, sense data).
 */
#include <string.h>

#include "base/log.h"
#include "devices/ide/ide-internal.h"
#include "schema/block.h"

enum {
    MMC_TEST_UNIT_READY = 0x00,
    MMC_REQUEST_SENSE = 0x03,
    MMC_INQUIRY = 0x12,
    MMC_START_STOP = 0x1b,
    MMC_PREVENT_ALLOW = 0x1e,
    MMC_READ_CAPACITY = 0x25,
    MMC_READ_10 = 0x28,
    MMC_SEEK = 0x2b,
    MMC_READ_TOC = 0x43,
    MMC_GET_CONFIGURATION = 0x46,
    MMC_GET_EVENT = 0x4a,
    MMC_READ_DISC = 0x51,
    MMC_MODE_SENSE = 0x5a,
    MMC_READ_12 = 0xa8,
    MMC_MECHANISM = 0xbd,
};

enum {
    /* Interrupt reason, in the count register (ATA 9.8) */
    REASON_COMMAND = 0x01,
    REASON_TO_HOST = 0x02,
    REASON_END = 0x03,
};

#define SENSE_SIZE        18
#define INQUIRY_SIZE      36
#define LEAD_OUT          0xaa
#define PROFILE_CDROM     0x0008
#define PROFILE_DVDROM    0x0010
#define CD_SECTORS_MAX    (80 * 60 * 75) /* more is a DVD */
#define FRAMES_A_SECOND   75
#define PREGAP            150
#define PAGE_ERROR        0x01
#define PAGE_CAPABILITIES 0x2a
#define PAGE_ALL          0x3f

/* --- Ends --- */

void atapi_finish(IdeDrive *d)
{
    d->sense_key = d->sense_code = 0;
    d->count.now = REASON_END;
    ata_finish(d);
}

/* The error register has the sense key above the ABRT bit. */
void atapi_fail(IdeDrive *d, uint8_t key, uint8_t code)
{
    d->sense_key = key;
    d->sense_code = code;
    d->count.now = REASON_END;
    ata_fail(d, (uint8_t)(key << 4 | ATA_ABRT));
}

static uint32_t pio_limit(const IdeDrive *d)
{
    uint32_t limit = d->byte_limit & ~1u; /* odd: only the last block may be */

    return limit ?: 0xfffe;
}

/* Up to `room` of the len bytes in buffer. */
static void reply(IdeDrive *d, uint32_t len, uint32_t room)
{
    len = MIN_OF(len, room);
    d->byte_limit = pio_limit(d);
    d->sectors = 0;
    if (!len) {
        atapi_finish(d);
        return;
    }
    d->reply_at = 0;
    d->reply_len = len;
    if (d->feature.now & 1) {
        d->transfer = ATA_TRANSFER_DMA_IN;
        ata_start_medium(d);
        return;
    }
    uint32_t part = MIN_OF(len, d->byte_limit);
    d->transfer = ATA_TRANSFER_PIO_IN;
    d->count.now = REASON_TO_HOST;
    d->lba_mid.now = (uint8_t)part;
    d->lba_high.now = (uint8_t)(part >> 8);
    atapi_begin_block(d, part);
}

/* --- Commands --- */

static void read_sectors(IdeDrive *d, uint32_t sector, uint32_t count)
{
    if (sector > d->capacity || count > d->capacity - sector) {
        atapi_fail(d, SENSE_ILLEGAL, SENSE_CODE_RANGE);
        return;
    }
    d->sector = sector;
    d->sectors = count;
    d->reply_at = d->reply_len = 0;
    d->byte_limit = pio_limit(d);
    if (!count) {
        atapi_finish(d);
        return;
    }
    d->transfer = d->feature.now & 1 ? ATA_TRANSFER_DMA_IN : ATA_TRANSFER_PIO_IN;
    ata_start_medium(d);
}

static void request_sense(IdeDrive *d, uint32_t room)
{
    uint8_t *b = d->buffer;

    memset(b, 0, SENSE_SIZE);
    b[0] = 0x70; /* current errors, fixed format */
    b[2] = d->sense_key;
    b[7] = SENSE_SIZE - 8;
    b[12] = d->sense_code;
    reply(d, SENSE_SIZE, room);
}

static void inquiry(IdeDrive *d, uint32_t room)
{
    uint8_t *b = d->buffer;

    if (d->packet[1] & 1) { /* vital product data */
        atapi_fail(d, SENSE_ILLEGAL, SENSE_CODE_INVALID_FIELD);
        return;
    }
    memset(b, ' ', INQUIRY_SIZE);
    b[0] = 0x05; /* CD-ROM */
    b[1] = 0x80; /* removable */
    b[2] = 0x00;
    b[3] = 0x21; /* ATAPI, response format 1 */
    b[4] = INQUIRY_SIZE - 5;
    b[5] = b[6] = b[7] = 0;
    memcpy(b + 8, "RHEA", 4);
    memcpy(b + 16, "RHEA DVD-ROM", 12);
    memcpy(b + 32, "1.0", 3);
    reply(d, INQUIRY_SIZE, room);
}

static void start_stop(IdeDrive *d)
{
    bool load = d->packet[4] & 2, start = d->packet[4] & 1;

    if (load && !start && d->tray_locked) {
        atapi_fail(d, SENSE_ILLEGAL, 0x53); /* medium removal prevented */
        return;
    }
    if (load) {
        d->tray_open = !start;
    }
    atapi_finish(d);
}

static void read_capacity(IdeDrive *d)
{
    st32_be(d->buffer, (uint32_t)(d->capacity - 1));
    st32_be(d->buffer + 4, ATAPI_SECTOR);
    reply(d, 8, 8);
}

static void put_address(uint8_t *p, uint32_t sector, bool as_time)
{
    st32_be(p, sector);
    if (as_time) {
        sector += PREGAP;
        p[0] = 0;
        p[1] = (uint8_t)(sector / FRAMES_A_SECOND / 60);
        p[2] = (uint8_t)(sector / FRAMES_A_SECOND % 60);
        p[3] = (uint8_t)(sector % FRAMES_A_SECOND);
    }
}

/* One data track. */
static void read_toc(IdeDrive *d, uint32_t room)
{
    uint8_t *b = d->buffer;
    unsigned format = (d->packet[2] & 0x0f) ?: d->packet[9] >> 6, track = d->packet[6];
    bool as_time = d->packet[1] & 2;
    uint32_t len = 4;

    memset(b, 0, 64);
    b[2] = b[3] = 1; /* first and last track, or session */
    if (format == 0) {
        if (track > 1 && track != LEAD_OUT) {
            atapi_fail(d, SENSE_ILLEGAL, SENSE_CODE_INVALID_FIELD);
            return;
        }
        if (track <= 1) {
            b[len + 1] = 0x14; /* data, digital copy prohibited */
            b[len + 2] = 1;
            put_address(b + len + 4, 0, as_time);
            len += 8;
        }
        b[len + 1] = 0x16;
        b[len + 2] = LEAD_OUT;
        put_address(b + len + 4, (uint32_t)d->capacity, as_time);
        len += 8;
    } else if (format == 1) {
        b[len + 1] = 0x14;
        b[len + 2] = 1;
        put_address(b + len + 4, 0, as_time);
        len += 8;
    } else {
        atapi_fail(d, SENSE_ILLEGAL, SENSE_CODE_INVALID_FIELD);
        return;
    }
    st16_be(b, (uint16_t)(len - 2));
    reply(d, len, room);
}

static void get_configuration(IdeDrive *d, uint32_t room)
{
    uint8_t *b = d->buffer;
    bool dvd = d->capacity > CD_SECTORS_MAX;
    uint16_t current = !d->capacity ? 0 : dvd ? PROFILE_DVDROM : PROFILE_CDROM;

    memset(b, 0, 64);
    st16_be(b + 6, current);
    /* Feature 0: profiles; 1: core (ATAPI); 3: removable medium. */
    b[10] = 0x03;
    b[11] = 8;
    st16_be(b + 12, PROFILE_DVDROM);
    b[14] = current == PROFILE_DVDROM;
    st16_be(b + 16, PROFILE_CDROM);
    b[18] = current == PROFILE_CDROM;
    b[21] = 1;
    b[22] = 0x0b;
    b[23] = 8;
    b[27] = 2;
    b[28] = 1;
    b[33] = 3;
    b[34] = 0x03;
    b[35] = 4;
    b[36] = 0x39; /* tray, eject, lock */
    st32_be(b, 40 - 4);
    reply(d, 40, room);
}

static void get_event(IdeDrive *d, uint32_t room)
{
    uint8_t *b = d->buffer;

    if (!(d->packet[1] & 1)) { /* not polled */
        atapi_fail(d, SENSE_ILLEGAL, SENSE_CODE_INVALID_FIELD);
        return;
    }
    memset(b, 0, 8);
    b[3] = 0x10; /* media events are there */
    if (!(d->packet[4] & 0x10)) {
        b[1] = 2;
        b[2] = 0x80; /* none of those asked for */
        reply(d, 4, room);
        return;
    }
    b[1] = 6;
    b[2] = 4;
    b[4] = d->medium_changed ? 2 : 0; /* new medium */
    b[5] = (d->tray_open ? 1 : 0) | (d->capacity && !d->tray_open ? 2 : 0);
    d->medium_changed = false;
    reply(d, 8, room);
}

static void read_disc(IdeDrive *d, uint32_t room)
{
    uint8_t *b = d->buffer;

    memset(b, 0, 34);
    b[1] = 32;
    b[2] = 0x0e; /* complete, last session complete */
    b[3] = b[4] = b[5] = b[6] = 1;
    b[7] = 0x20; /* unrestricted use */
    reply(d, 34, room);
}

static void mode_sense(IdeDrive *d, uint32_t room)
{
    uint8_t *b = d->buffer;
    unsigned page = d->packet[2] & 0x3f;
    uint32_t len = 8;

    memset(b, 0, 64);
    b[2] = d->tray_open ? 0x71 : d->capacity ? 0x01 : 0x70; /* medium type */
    if (d->packet[2] >> 6 == 3) {
        atapi_fail(d, SENSE_ILLEGAL, 0x39); /* nothing is kept */
        return;
    }
    if (page == PAGE_ERROR || page == PAGE_ALL) {
        b[len] = PAGE_ERROR;
        b[len + 1] = 6;
        b[len + 3] = 5; /* retries */
        len += 8;
    }
    if (page == PAGE_CAPABILITIES || page == PAGE_ALL) {
        b[len] = PAGE_CAPABILITIES;
        b[len + 1] = 18;
        b[len + 2] = 0x3b; /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
        b[len + 4] = 0x70;
        b[len + 6] = (d->tray_locked ? 0x02 : 0) | 0x29; /* lock, eject, tray */
        st16_be(b + len + 8, 706);                       /* kB/s */
        st16_be(b + len + 10, 2);                        /* levels of volume */
        st16_be(b + len + 12, 512);                      /* KiB of buffer */
        st16_be(b + len + 14, 706);
        len += 20;
    }
    if (len == 8) {
        atapi_fail(d, SENSE_ILLEGAL, SENSE_CODE_INVALID_FIELD);
        return;
    }
    st16_be(b, (uint16_t)(len - 2));
    reply(d, len, room);
}

static void mechanism(IdeDrive *d, uint32_t room)
{
    memset(d->buffer, 0, 8);
    d->buffer[5] = 1; /* one slot */
    reply(d, 8, room);
}

static bool needs_medium(uint8_t command)
{
    switch (command) {
    case MMC_TEST_UNIT_READY:
    case MMC_READ_CAPACITY:
    case MMC_READ_10:
    case MMC_READ_12:
    case MMC_READ_TOC:
    case MMC_READ_DISC:
    case MMC_SEEK:
        return true;
    default:
        return false;
    }
}

void atapi_run_packet(IdeDrive *d)
{
    const uint8_t *p = d->packet;

    if (needs_medium(p[0]) && (d->tray_open || !d->capacity)) {
        atapi_fail(d, SENSE_NOT_READY, SENSE_CODE_NO_MEDIUM);
        return;
    }
    switch (p[0]) {
    case MMC_TEST_UNIT_READY:
    case MMC_SEEK:
        atapi_finish(d);
        break;
    case MMC_REQUEST_SENSE:
        request_sense(d, p[4]);
        break;
    case MMC_INQUIRY:
        inquiry(d, ld16_be(p + 3));
        break;
    case MMC_START_STOP:
        start_stop(d);
        break;
    case MMC_PREVENT_ALLOW:
        d->tray_locked = p[4] & 1;
        atapi_finish(d);
        break;
    case MMC_READ_CAPACITY:
        read_capacity(d);
        break;
    case MMC_READ_10:
        read_sectors(d, ld32_be(p + 2), ld16_be(p + 7));
        break;
    case MMC_READ_12:
        read_sectors(d, ld32_be(p + 2), ld32_be(p + 6));
        break;
    case MMC_READ_TOC:
        read_toc(d, ld16_be(p + 7));
        break;
    case MMC_GET_CONFIGURATION:
        get_configuration(d, ld16_be(p + 7));
        break;
    case MMC_GET_EVENT:
        get_event(d, ld16_be(p + 7));
        break;
    case MMC_READ_DISC:
        read_disc(d, ld16_be(p + 7));
        break;
    case MMC_MODE_SENSE:
        mode_sense(d, ld16_be(p + 7));
        break;
    case MMC_MECHANISM:
        mechanism(d, ld16_be(p + 8));
        break;
    default:
        log_guest_error("ide-cd: packet command 0x%02x is not known\n", p[0]);
        atapi_fail(d, SENSE_ILLEGAL, SENSE_CODE_INVALID_COMMAND);
    }
}
