/* Options that describe the board and what it starts with, handed to the machine. */
#ifndef MAIN_BOARD_OPTIONS_H
#define MAIN_BOARD_OPTIONS_H

#include "config/config.h"
#include "machine/machine.h"

/* -cpu, -boot, -L, -fw_cfg, -acpitable, -smbios, -vga; chardevs need not exist. */
MUST_CHECK bool board_options_apply(Machine *m, const Config *config, Error **errp);
/* -serial and -parallel, and the ports a machine has by itself; makes their chardevs. */
MUST_CHECK bool board_options_add_ports(Machine *m, const Config *config, Error **errp);
/* -nic and -net; makes their back ends. */
MUST_CHECK bool board_options_add_nics(Machine *m, const Config *config, Error **errp);
/* -qtest */
MUST_CHECK bool board_options_start_qtest(const Config *config, Error **errp);

#endif
