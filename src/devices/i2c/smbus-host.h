/*
 * The host controller registers of PIIX4 and ICH9, which are the same but for what the ICH9 adds.
 * Embedded in the chipset's device. Machine lock held.
 */
#ifndef DEVICES_I2C_SMBUS_HOST_H
#define DEVICES_I2C_SMBUS_HOST_H

#include "bus/device.h"
#include "bus/i2c.h"
#include "memory/memory.h"

#define SMBUS_HOST_SIZE_PIIX4 16
#define SMBUS_HOST_SIZE_ICH9  32

typedef struct SmbusHost {
    uint8_t status, control, command, address, data0, data1;
    uint8_t block[SMBUS_BLOCK_MAX];
    uint8_t block_at; /* the byte that the guest reads or writes next */
    uint8_t aux_control;

    /* not state */
    Bus *bus; /* owned through the tree */
    bool ich9;
    void (*set_irq)(void *opaque, bool level);
    void *opaque;
    MemoryRegion io;
} SmbusHost;

extern const VmState smbus_host_vmstate;

void smbus_host_init(SmbusHost *h, Object *owner, bool ich9,
                     void (*set_irq)(void *opaque, bool level), void *opaque);
/* Makes the bus below owner. */
void smbus_host_realize(SmbusHost *h, Device *owner);
void smbus_host_reset(SmbusHost *h);
void smbus_host_finish(SmbusHost *h);

/* Memory modules' EEPROMs at 50h to 57h: the first describes ram_size bytes, the others are blank.
 */
MUST_CHECK bool smbus_add_memory_eeproms(Bus *bus, uint64_t ram_size, Error **errp);

#endif
