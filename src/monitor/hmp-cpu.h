/* Human monitor commands about CPUs and memory, for the tables. */
#ifndef MONITOR_HMP_CPU_H
#define MONITOR_HMP_CPU_H

#include "monitor/hmp.h"

bool hmp_cpu(HmpCall *call, Error **errp);
bool hmp_info_registers(HmpCall *call, Error **errp);
bool hmp_info_tlb(HmpCall *call, Error **errp);
bool hmp_info_mem(HmpCall *call, Error **errp);
bool hmp_info_lapic(HmpCall *call, Error **errp);
bool hmp_info_icount(HmpCall *call, Error **errp);
bool hmp_x(HmpCall *call, Error **errp);
bool hmp_xp(HmpCall *call, Error **errp);

#endif
