/*
 * An EEPROM of 256 bytes, as memory modules have one to describe themselves (serial presence
 * detect; JEDEC standard 21-C, section 4.1.2.10: DDR2).
 */
#include <string.h>

#include "base/bits.h"
#include "bus/i2c.h"
#include "devices/i2c/smbus-host.h"
#include "object/property.h"

#define TYPE_SMBUS_EEPROM "smbus-eeprom"
#define EEPROM_SIZE       256
#define SPD_ADDRESS       0x50
#define SPD_MODULES       8
#define SPD_CHECKSUM      63
#define SPD_RANK_MAX      (1 * GiB) /* as far as byte 31 can say for one rank */

typedef struct SmbusEeprom {
    SmbusDevice parent;
    uint8_t data[EEPROM_SIZE];
    uint8_t initial[EEPROM_SIZE]; /* after a reset; not state */
    uint8_t offset;               /* of the byte that is read next */
} SmbusEeprom;

static SmbusEeprom *eeprom_cast(void *obj)
{
    return (SmbusEeprom *)object_cast((Object *)obj, TYPE_SMBUS_EEPROM);
}

static void eeprom_write(SmbusDevice *dev, const uint8_t *data, size_t len)
{
    SmbusEeprom *s = eeprom_cast(dev);

    if (!len) {
        return;
    }
    s->offset = data[0];
    for (size_t i = 1; i < len; i++) {
        s->data[s->offset++] = data[i]; /* the offset wraps, as in the chip */
    }
}

static uint8_t eeprom_read(SmbusDevice *dev)
{
    SmbusEeprom *s = eeprom_cast(dev);

    return s->data[s->offset++];
}

static void eeprom_reset(Device *dev)
{
    SmbusEeprom *s = eeprom_cast(dev);

    memcpy(s->data, s->initial, sizeof(s->data));
    s->offset = 0;
}

static bool eeprom_realize(Device *dev, Error **errp)
{
    return true; /* the bus has checked the address */
}

static const VmState eeprom_vmstate = {
    .name = "smbus-eeprom",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_BUFFER(data, SmbusEeprom),
                                      VMSTATE_UINT8(offset, SmbusEeprom),
                                      {} },
};

static void eeprom_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    SmbusDeviceClass *sc = smbus_device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_MISC;
    dc->realize = eeprom_realize;
    dc->reset = eeprom_reset;
    dc->vmstate = &eeprom_vmstate;
    sc->write = eeprom_write;
    sc->read = eeprom_read;
}

static const TypeInfo eeprom_info = {
    .name = TYPE_SMBUS_EEPROM,
    .parent = TYPE_SMBUS_DEVICE,
    .help = "EEPROM of 256 bytes on the SMBus",
    .instance_size = sizeof(SmbusEeprom),
    .class_init = eeprom_class_init,
};
OBJECT_TYPE(smbus_eeprom, eeprom_info)

/* --- Memory modules --- */

/* One module of the nearest size below that the bytes can say. */
static void describe_memory(uint8_t spd[EEPROM_SIZE], uint64_t ram_size)
{
    static const uint8_t head[] = {
        128,  8,    8,                      /* bytes that mean something; log2 of the size; DDR2 */
        13,   10,                           /* rows, columns */
        0x60, 64,                           /* one rank; data width */
        0,    5,                            /* SSTL 1.8 V */
        0x30, 0x45,                         /* 3 ns a cycle */
        0,    0x82, 8, 0, 0, 0x0c, 4, 0x38, /* banks; CAS latencies 3 to 5 */
    };
    uint64_t size = 128 * MiB;
    uint8_t sum = 0;

    while (size * 2 <= MIN_OF(ram_size, SPD_RANK_MAX)) {
        size *= 2;
    }
    memcpy(spd, head, sizeof(head));
    /* Byte 31, one bit a size: 128, 256, 512 MiB are bits 5 to 7, 1 GiB is bit 0. */
    spd[31] = size == GiB ? 0x01 : (uint8_t)(0x20 * (size / (128 * MiB)));
    spd[62] = 0x12;
    for (unsigned i = 0; i < SPD_CHECKSUM; i++) {
        sum += spd[i];
    }
    spd[SPD_CHECKSUM] = sum;
}

bool smbus_add_memory_eeproms(Bus *bus, uint64_t ram_size, Error **errp)
{
    for (unsigned i = 0; i < SPD_MODULES; i++) {
        Device *dev = device_new(TYPE_SMBUS_EEPROM);
        ((SmbusDevice *)dev)->address = (uint8_t)(SPD_ADDRESS + i);
        if (i == 0) {
            describe_memory(eeprom_cast(dev)->initial, ram_size);
        }
        if (!device_realize_and_unref(dev, bus, errp)) {
            return false;
        }
    }
    return true;
}
