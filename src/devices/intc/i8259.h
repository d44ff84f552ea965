/* The PC's pair of 8259A interrupt controllers. Machine lock held. */
#ifndef DEVICES_INTC_I8259_H
#define DEVICES_INTC_I8259_H

#include "bus/device.h"

#define TYPE_I8259 "isa-i8259"
/* The same in the kernel, with the accelerator kvm. */
#define TYPE_KVM_I8259 "kvm-i8259"

/* Inputs: 16 unnamed lines (2 is the cascade and ignored). Output 0: INT, to the CPUs. */

/* The processor's interrupt-acknowledge cycle: the vector, with the request moved into service. */
int i8259_acknowledge(Device *pic);
/* Is INT asserted? */
bool i8259_output(Device *pic);
/* info pic */
void i8259_print(Device *pic, GString *out);

#endif
