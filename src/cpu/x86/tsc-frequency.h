/* The frequency of the host's time-stamp counter. */
#ifndef CPU_X86_TSC_FREQUENCY_H
#define CPU_X86_TSC_FREQUENCY_H

#include <stdint.h>

/* Hz; found out once a process, in at most 5 ms. Any thread. */
uint64_t x86_host_tsc_hz(void);

#endif
