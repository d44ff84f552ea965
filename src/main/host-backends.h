/* Disks and network back ends of the command line. */
#ifndef MAIN_HOST_BACKENDS_H
#define MAIN_HOST_BACKENDS_H

#include "config/config.h"

/* -blockdev and -drive */
MUST_CHECK bool host_backends_add_disks(const Config *config, Error **errp);
/* -netdev */
MUST_CHECK bool host_backends_add_netdevs(const Config *config, Error **errp);
/* The devices of -drive if=virtio; the board is there. */
MUST_CHECK bool host_backends_plug_drives(Error **errp);
/* Everything is made: warn of what nothing uses. */
void host_backends_check_unused(void);
/* Devices are gone. */
void host_backends_finish(void);

#endif
