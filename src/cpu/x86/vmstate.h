/* What of a CPU is saved. */
#ifndef CPU_X86_VMSTATE_H
#define CPU_X86_VMSTATE_H

#include "object/vmstate.h"

extern const VmState x86_cpu_vmstate;

#endif
