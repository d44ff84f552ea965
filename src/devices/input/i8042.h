/* The keyboard controller with a PS/2 keyboard and mouse. */
#ifndef DEVICES_INPUT_I8042_H
#define DEVICES_INPUT_I8042_H

#include "bus/device.h"

#define TYPE_I8042 "i8042"

#define I8042_LINE_A20 "a20"

/* Outputs: unnamed 0, keyboard interrupt (1); 1, mouse interrupt (12); "a20" 0, the A20 gate. */

#endif
