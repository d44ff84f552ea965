#include "bus/i2c.h"

#include "object/property.h"

/* Addresses outside are reserved (SMBus 2.0, 5.2 and appendix C). */
#define ADDRESS_MIN 0x08
#define ADDRESS_MAX 0x77

SmbusDevice *i2c_bus_device(Bus *bus, uint8_t address)
{
    for (guint i = 0; i < bus->devices->len; i++) {
        SmbusDevice *dev = bus->devices->pdata[i];
        if (dev->address == address) {
            return dev;
        }
    }
    return NULL;
}

static char *bus_device_path(Device *dev)
{
    return g_strdup_printf("%s/%02x", dev->parent_bus->name, ((SmbusDevice *)dev)->address);
}

static bool bus_check_address(Bus *bus, Device *dev, Error **errp)
{
    uint8_t address = ((SmbusDevice *)dev)->address;

    if (!address) {
        error_set(errp, "address is missing; give one between 0x%02x and 0x%02x", ADDRESS_MIN,
                  ADDRESS_MAX);
        return false;
    }
    if (i2c_bus_device(bus, address)) {
        error_set(errp, "address 0x%02x of bus '%s' is taken", address, bus->name);
        return false;
    }
    return true;
}

static void bus_class_init(ObjectClass *klass, const void *data)
{
    BusClass *bc = bus_class_cast(klass);

    bc->device_path = bus_device_path;
    bc->check_address = bus_check_address;
}

static const Field device_properties[] = { PROP_UINT8("address", SmbusDevice, address, 0,
                                                      .help =
                                                          "address on the bus, 7 bits; 0: not set"),
                                           {} };

static void device_class_init(ObjectClass *klass, const void *data)
{
    device_class_cast(klass)->bus_type = TYPE_I2C_BUS;
    device_class_cast(klass)->hotpluggable = false;
}

static const TypeInfo bus_info = {
    .name = TYPE_I2C_BUS,
    .parent = TYPE_BUS,
    .instance_size = sizeof(Bus),
    .class_init = bus_class_init,
};
static const TypeInfo device_info = {
    .name = TYPE_SMBUS_DEVICE,
    .parent = TYPE_DEVICE,
    .abstract = true,
    .instance_size = sizeof(SmbusDevice),
    .class_size = sizeof(SmbusDeviceClass),
    .properties = device_properties,
    .class_init = device_class_init,
};
OBJECT_TYPE(i2c_bus, bus_info)
OBJECT_TYPE(smbus_device, device_info)
