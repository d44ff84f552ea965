/*
 * fw_cfg: numbered items and named files that firmware reads through three I/O ports. Machine lock
 * held throughout.
 */
#ifndef DEVICES_MISC_FW_CFG_H
#define DEVICES_MISC_FW_CFG_H

#include <glib.h>

#include "bus/device.h"
#include "memory/memory.h"

#define TYPE_FW_CFG_IO "fw_cfg_io"

#define FW_CFG_PORT 0x510

/* Items with fixed numbers. */
enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ARCH_LOCAL = 0x8000,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,
    FW_CFG_HPET = 0x8004,
};

#define FW_CFG_MAX_PATH 56 /* with the terminating zero */

/* Items; the data is copied. A number has one item: adding again replaces it. */
void fw_cfg_add_bytes(Device *fw_cfg, uint16_t key, const void *data, size_t len);
void fw_cfg_add_string(Device *fw_cfg, uint16_t key, const char *text); /* with its zero */
void fw_cfg_add_u16(Device *fw_cfg, uint16_t key, uint16_t value);      /* little-endian */
void fw_cfg_add_u32(Device *fw_cfg, uint16_t key, uint32_t value);
void fw_cfg_add_u64(Device *fw_cfg, uint16_t key, uint64_t value);

/*
 * Files, listed sorted by name. False: the name is too long or taken, or no slot is free. They must
 * all be there before the guest runs; the data may be replaced later.
 */
MUST_CHECK bool fw_cfg_add_file(Device *fw_cfg, const char *name, GBytes *data, Error **errp);
/* NULL if there is none; borrowed. */
GBytes *fw_cfg_file(Device *fw_cfg, const char *name);
void fw_cfg_replace_file(Device *fw_cfg, const char *name, GBytes *data);
/* "NAME SIZE" a line, for the guest-visible ABI's golden text. */
void fw_cfg_print(Device *fw_cfg, GString *out);

/* Where the machine has one; NULL otherwise. */
Device *fw_cfg_find(void);

#endif
