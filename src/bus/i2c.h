/*
 * The SMBus: a controller and up to 112 devices at 7-bit addresses. System Management Bus
 * specification 2.0, section 5.5. Machine lock held.
 */
#ifndef BUS_I2C_H
#define BUS_I2C_H

#include "bus/device.h"

#define TYPE_I2C_BUS      "i2c-bus"
#define TYPE_SMBUS_DEVICE "smbus-device" /* abstract; has address= */

#define SMBUS_BLOCK_MAX 32 /* bytes */

typedef struct SmbusDevice {
    Device parent;
    uint8_t address; /* 7 bits */
} SmbusDevice;

typedef struct SmbusDeviceClass {
    DeviceClass parent;
    /* A message to the device, command first; len 0: quick command. */
    void (*write)(SmbusDevice *dev, const uint8_t *data, size_t len);
    /* The next byte that it sends. */
    uint8_t (*read)(SmbusDevice *dev);
} SmbusDeviceClass;

OBJECT_DECLARE_CLASS(SmbusDeviceClass, smbus_device, TYPE_SMBUS_DEVICE)

/* The device at an address; NULL: nobody answers. */
SmbusDevice *i2c_bus_device(Bus *bus, uint8_t address);

#endif
