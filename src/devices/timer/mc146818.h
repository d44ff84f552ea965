/* The PC's real-time clock and its 128 bytes of battery-backed memory. Machine lock held. */
#ifndef DEVICES_TIMER_MC146818_H
#define DEVICES_TIMER_MC146818_H

#include "bus/device.h"

#define TYPE_MC146818 "mc146818rtc"

/* Battery-backed memory as PC firmware lays it out. */
#define CMOS_SHUTDOWN   0x0f
#define CMOS_FLOPPY     0x10
#define CMOS_DISK_TYPES 0x12
#define CMOS_EQUIPMENT  0x14
#define CMOS_BASE_KIB   0x15 /* 16 bit: 640 */
#define CMOS_EXT_KIB    0x17 /* 16 bit: KiB above 1 MiB, at most 65535 */
#define CMOS_DISK_C     0x19
#define CMOS_DISK_D     0x1a
#define CMOS_CHECKSUM   0x2e /* of 0x10..0x2d, high byte first */
#define CMOS_EXT_KIB_2  0x30
#define CMOS_CENTURY    0x32
#define CMOS_EXT_64KIB  0x34 /* 16 bit: 64 KiB units above 16 MiB */
#define CMOS_BOOT_THIRD 0x38 /* bits 7-4: third boot device; bit 0: don't check signatures */
#define CMOS_BOOT_ORDER 0x3d /* bits 3-0: first, 7-4: second boot device */
#define CMOS_HIGH_64KIB 0x5b /* 24 bit: 64 KiB units above 4 GiB */
#define CMOS_CPUS       0x5f /* processors besides the first */

/* Output 0: the interrupt (8). Ports 70h and 71h. */

void mc146818_set_nvram(Device *rtc, unsigned addr, uint8_t value);
uint8_t mc146818_get_nvram(Device *rtc, unsigned addr);
/* The clock a wake-up event comes from: told when an alarm fires. */
void mc146818_set_alarm_fn(Device *rtc, void (*fn)(void *opaque), void *opaque);
/* Forget ticks that are waiting to be made up for (rtc-reset-reinjection). */
void mc146818_reset_reinjection(Device *rtc);

#endif
