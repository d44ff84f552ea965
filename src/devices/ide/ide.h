/*
 * IDE and SATA: buses, drives, and what boards need of the controllers. Machine lock held.
 *
 * A drive (ide-hd, ide-cd) knows commands and the task file; how registers, data and interrupts
 * reach it is its controller's matter (ide-internal.h).
 */
#ifndef DEVICES_IDE_IDE_H
#define DEVICES_IDE_IDE_H

#include "bus/device.h"

#define TYPE_IDE_BUS   "IDE"
#define TYPE_IDE_DRIVE "ide-device" /* abstract */
#define TYPE_IDE_HD    "ide-hd"
#define TYPE_IDE_CD    "ide-cd"
#define TYPE_PIIX3_IDE "piix3-ide"
#define TYPE_ICH9_AHCI "ich9-ahci"

/* Bus n of a controller (piix3-ide has 2 with 2 units each, ich9-ahci 6 with one); NULL: none. */
Bus *ide_controller_bus(Device *controller, unsigned n);
/* piix3-ide: both channels on, as firmware leaves them. For boots without firmware. */
void piix3_ide_setup(Device *controller);

#endif
