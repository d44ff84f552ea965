/*
 * What devices whose other half is in the kernel need of KVM (devices/intc/kvm-*.c,
 * devices/timer/kvm-i8254.c): its ioctls on the VM of the present machine.
 */
#ifndef ACCEL_KVM_KVM_H
#define ACCEL_KVM_KVM_H

#include "base/compiler.h"

/* 0 or more; -errno where it fails. Machine lock held; the accelerator is kvm. */
int kvm_machine_ioctl(unsigned long request, void *arg);
/* Level of a GSI of the interrupt controllers in the kernel. Machine lock held. */
void kvm_machine_set_irq(int gsi, int level);

#endif
