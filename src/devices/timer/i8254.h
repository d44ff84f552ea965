/* The PC's programmable interval timer with the speaker port. Machine lock held. */
#ifndef DEVICES_TIMER_I8254_H
#define DEVICES_TIMER_I8254_H

#include "bus/device.h"

#define TYPE_I8254 "isa-pit"
/* The same in the kernel, with the accelerator kvm. */
#define TYPE_KVM_PIT "kvm-pit"

#define PIT_HZ INT64_C(1193182)

/* Output 0: counter 0, to interrupt 0. Input 0: nonzero cuts that output off (HPET in legacy
 * replacement mode). */

#endif
