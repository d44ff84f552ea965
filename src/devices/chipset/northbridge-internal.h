/* Between northbridge.c and the two host bridges. */
#ifndef DEVICES_CHIPSET_NORTHBRIDGE_INTERNAL_H
#define DEVICES_CHIPSET_NORTHBRIDGE_INTERNAL_H

#include "devices/chipset/northbridge.h"

Northbridge *i440fx_northbridge(Device *host);
Northbridge *q35_northbridge(Device *host);
void q35_setup(Device *host);

#endif
