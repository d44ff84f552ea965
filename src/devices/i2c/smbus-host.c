/*
 * Intel 82371AB (290562) section 7.3, ICH9 (316972) section 18.2; SMBus 2.0 section 5.5.
 *
 * A transaction takes no time: it is over when the register that starts it has been written.
 */
#include "devices/i2c/smbus-host.h"

#include <string.h>

#include "base/log.h"

enum {
    HST_STS = 0,
    HST_CNT = 2,
    HST_CMD = 3,
    HST_ADDR = 4,
    HST_D0 = 5,
    HST_D1 = 6,
    HST_BLOCK = 7,
    AUX_CTL = 0x0d,
};
enum {
    STS_INTR = 0x02, /* done */
    STS_DEV_ERR = 0x04,
    STS_BYTE_DONE = 0x80, /* ICH9: a byte of a block, where there is no buffer */
    STS_W1C = 0x1e | 0x80,
    CNT_INTREN = 0x01,
    CNT_KILL = 0x02,
    CNT_LAST = 0x20,
    CNT_START = 0x40,
    AUX_BUFFER = 0x02,
};
enum {
    PROTOCOL_QUICK,
    PROTOCOL_BYTE,
    PROTOCOL_BYTE_DATA,
    PROTOCOL_WORD_DATA,
    PROTOCOL_PROCESS_CALL,
    PROTOCOL_BLOCK,
};

static void update_irq(SmbusHost *h)
{
    h->set_irq(h->opaque,
               (h->control & CNT_INTREN) && (h->status & (STS_INTR | STS_DEV_ERR | STS_BYTE_DONE)));
}

static void write_to(SmbusDevice *dev, const uint8_t *data, size_t len)
{
    smbus_device_class_of(dev)->write(dev, data, len);
}

static uint8_t read_from(SmbusDevice *dev)
{
    return smbus_device_class_of(dev)->read(dev);
}

static bool transfer_block(SmbusHost *h, SmbusDevice *dev, bool read)
{
    uint8_t message[2 + SMBUS_BLOCK_MAX];

    if (read) {
        write_to(dev, &h->command, 1);
        h->data0 = read_from(dev);
        if (h->data0 == 0 || h->data0 > SMBUS_BLOCK_MAX) {
            return false;
        }
        for (unsigned i = 0; i < h->data0; i++) {
            h->block[i] = read_from(dev);
        }
    } else {
        if (h->data0 == 0 || h->data0 > SMBUS_BLOCK_MAX) {
            return false;
        }
        message[0] = h->command;
        message[1] = h->data0;
        memcpy(message + 2, h->block, h->data0);
        write_to(dev, message, 2u + h->data0);
    }
    h->block_at = 0;
    return true;
}

static bool transfer(SmbusHost *h, SmbusDevice *dev)
{
    bool read = h->address & 1;
    uint8_t message[3] = { h->command, h->data0, h->data1 };

    switch (h->control >> 2 & 7) {
    case PROTOCOL_QUICK:
        write_to(dev, NULL, 0);
        return true;
    case PROTOCOL_BYTE:
        if (read) {
            h->data0 = read_from(dev);
        } else {
            write_to(dev, message, 1);
        }
        return true;
    case PROTOCOL_BYTE_DATA:
        if (read) {
            write_to(dev, message, 1);
            h->data0 = read_from(dev);
        } else {
            write_to(dev, message, 2);
        }
        return true;
    case PROTOCOL_WORD_DATA:
    case PROTOCOL_PROCESS_CALL:
        if ((h->control >> 2 & 7) == PROTOCOL_PROCESS_CALL || !read) {
            write_to(dev, message, 3);
            read = (h->control >> 2 & 7) == PROTOCOL_PROCESS_CALL;
        } else {
            write_to(dev, message, 1);
        }
        if (read) {
            h->data0 = read_from(dev);
            h->data1 = read_from(dev);
        }
        return true;
    case PROTOCOL_BLOCK:
        return transfer_block(h, dev, read);
    default:
        log_guest_error("smbus: protocol %d is not known\n", h->control >> 2 & 7);
        return false;
    }
}

static void run(SmbusHost *h)
{
    SmbusDevice *dev = i2c_bus_device(h->bus, h->address >> 1);

    h->status |= dev && transfer(h, dev) ? STS_INTR : STS_DEV_ERR;
    /* Without the buffer each byte of a block is announced (18.2.1). */
    if (h->ich9 && (h->control >> 2 & 7) == PROTOCOL_BLOCK && !(h->aux_control & AUX_BUFFER) &&
        (h->status & STS_INTR)) {
        h->status |= STS_BYTE_DONE;
        if (h->address & 1) {
            h->status &= ~STS_INTR;
        }
    }
}

/* The guest has taken a byte of a block that it gets byte by byte. */
static void next_byte(SmbusHost *h)
{
    if (!(h->address & 1)) {
        return;
    }
    h->block_at++;
    if (h->block_at < h->data0 && !(h->control & CNT_LAST)) {
        h->status |= STS_BYTE_DONE;
    } else {
        h->status |= STS_INTR;
    }
}

static uint64_t host_read(void *opaque, hwaddr addr, unsigned size)
{
    SmbusHost *h = opaque;

    switch (addr) {
    case HST_STS:
        return h->status;
    case HST_CNT:
        h->block_at = h->aux_control & AUX_BUFFER || !h->ich9 ? 0 : h->block_at;
        return h->control & ~CNT_START;
    case HST_CMD:
        return h->command;
    case HST_ADDR:
        return h->address;
    case HST_D0:
        return h->data0;
    case HST_D1:
        return h->data1;
    case HST_BLOCK:
        if (h->ich9 && !(h->aux_control & AUX_BUFFER)) {
            return h->block[h->block_at % SMBUS_BLOCK_MAX];
        }
        return h->block[h->block_at++ % SMBUS_BLOCK_MAX];
    case AUX_CTL:
        return h->ich9 ? h->aux_control : 0;
    default:
        return 0;
    }
}

static void host_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    SmbusHost *h = opaque;

    switch (addr) {
    case HST_STS: {
        bool byte_done = h->status & value & STS_BYTE_DONE;
        h->status &= ~(value & STS_W1C);
        if (byte_done) {
            next_byte(h);
        }
        if (!h->ich9) {
            h->block_at = 0;
        }
        break;
    }
    case HST_CNT:
        h->control = (uint8_t)value & ~CNT_START;
        if (value & CNT_KILL) {
            h->status |= 0x10; /* failed: the transaction was killed */
        } else if (value & CNT_START) {
            run(h);
        }
        break;
    case HST_CMD:
        h->command = (uint8_t)value;
        break;
    case HST_ADDR:
        h->address = (uint8_t)value;
        break;
    case HST_D0:
        h->data0 = (uint8_t)value;
        break;
    case HST_D1:
        h->data1 = (uint8_t)value;
        break;
    case HST_BLOCK:
        h->block[h->block_at++ % SMBUS_BLOCK_MAX] = (uint8_t)value;
        break;
    case AUX_CTL:
        h->aux_control = h->ich9 ? value & 0x03 : 0;
        break;
    }
    update_irq(h);
}

static const MemoryRegionOps host_ops = {
    .read = host_read,
    .write = host_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 1 },
};

/* --- Life --- */

void smbus_host_reset(SmbusHost *h)
{
    h->status = h->control = h->command = h->address = h->data0 = h->data1 = 0;
    h->aux_control = h->block_at = 0;
    memset(h->block, 0, sizeof(h->block));
    update_irq(h);
}

void smbus_host_init(SmbusHost *h, Object *owner, bool ich9,
                     void (*set_irq)(void *opaque, bool level), void *opaque)
{
    h->ich9 = ich9;
    h->set_irq = set_irq;
    h->opaque = opaque;
    memory_region_init_io(&h->io, owner, &host_ops, h, "pm-smbus",
                          ich9 ? SMBUS_HOST_SIZE_ICH9 : SMBUS_HOST_SIZE_PIIX4);
}

void smbus_host_realize(SmbusHost *h, Device *owner)
{
    h->bus = bus_new(TYPE_I2C_BUS, owner, "i2c");
}

void smbus_host_finish(SmbusHost *h)
{
    memory_region_finish(&h->io);
}

const VmState smbus_host_vmstate = {
    .name = "pm-smbus",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(status, SmbusHost),
                                      VMSTATE_UINT8(control, SmbusHost),
                                      VMSTATE_UINT8(command, SmbusHost),
                                      VMSTATE_UINT8(address, SmbusHost),
                                      VMSTATE_UINT8(data0, SmbusHost),
                                      VMSTATE_UINT8(data1, SmbusHost),
                                      VMSTATE_BUFFER(block, SmbusHost),
                                      VMSTATE_UINT8(block_at, SmbusHost),
                                      VMSTATE_UINT8(aux_control, SmbusHost),
                                      {} },
};
