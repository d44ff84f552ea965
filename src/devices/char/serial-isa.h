/* Serial port on the ISA bus. */
#ifndef DEVICES_CHAR_SERIAL_ISA_H
#define DEVICES_CHAR_SERIAL_ISA_H

#include "bus/device.h"

#define TYPE_SERIAL_ISA "isa-serial"

/* First I/O port and ISA interrupt of a realized port: for the ACPI tables. */
uint32_t serial_isa_port(Device *dev, uint32_t *irq);

#endif
