/* info vhost-user */
#ifndef MONITOR_HMP_VHOST_USER_H
#define MONITOR_HMP_VHOST_USER_H

#include "monitor/hmp.h"

void hmp_print_vhost_user(HmpCall *call, json_t *ret);

#endif
