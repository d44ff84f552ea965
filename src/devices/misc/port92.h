/* System control port A at 92h: fast A20 gate and fast reset. */
#ifndef DEVICES_MISC_PORT92_H
#define DEVICES_MISC_PORT92_H

#include "bus/device.h"

#define TYPE_PORT92 "port92"

/* Output 0: the A20 gate (high: address line 20 passes). */

#endif
