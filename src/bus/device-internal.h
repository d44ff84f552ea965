/* What device.c, device-user.c and bus.c share. */
#ifndef BUS_DEVICE_INTERNAL_H
#define BUS_DEVICE_INTERNAL_H

#include "bus/device.h"

/* Destroys the devices on it, then the bus's own unrealize. */
void bus_unrealize(Bus *bus);

#endif
