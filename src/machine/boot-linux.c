/*
 * Linux bzImage by the 64-bit boot protocol, or the 32-bit one for kernels that have no 64-bit
 * entry. The Linux/x86 Boot Protocol (Documentation/arch/x86/boot.rst) and zero page.
 */
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "machine/direct-boot.h"

/* Offsets in the setup header, which the zero page repeats. */
#define HDR_START           0x1f1
#define HDR_SETUP_SECTS     0x1f1
#define HDR_SYSSIZE         0x1f4 /* 16-byte units */
#define HDR_VID_MODE        0x1fa
#define HDR_BOOT_FLAG       0x1fe
#define HDR_JUMP_OFFSET     0x201 /* from 0x202: end of the header */
#define HDR_MAGIC           0x202
#define HDR_VERSION         0x206
#define HDR_LOADER_TYPE     0x210
#define HDR_LOADFLAGS       0x211
#define HDR_CODE32_START    0x214
#define HDR_RAMDISK_IMAGE   0x218
#define HDR_RAMDISK_SIZE    0x21c
#define HDR_CMDLINE_PTR     0x228
#define HDR_INITRD_ADDR_MAX 0x22c
#define HDR_ALIGNMENT       0x230
#define HDR_RELOCATABLE     0x234
#define HDR_XLOADFLAGS      0x236
#define HDR_CMDLINE_SIZE    0x238
#define HDR_PREF_ADDRESS    0x258
#define HDR_INIT_SIZE       0x260
#define HDR_MIN_SIZE        0x268

/* The rest of the zero page. */
#define ZP_SIZE       0x1000
#define ZP_RSDP       0x070
#define ZP_E820_COUNT 0x1e8
#define ZP_E820       0x2d0
#define ZP_E820_ENTRY 20

#define BOOT_FLAG            0xaa55
#define MAGIC                "HdrS"
#define LOADFLAG_HIGH        0x01
#define LOADER_UNDEFINED     0xff
#define XLF_KERNEL_64        0x01
#define VID_MODE_NORMAL      0xffff
#define VERSION_MIN          0x0202 /* cmd_line_ptr */
#define VERSION_INITRD_MAX   0x0203
#define VERSION_RELOCATABLE  0x0205
#define VERSION_CMDLINE_SIZE 0x0206
#define VERSION_PREF_ADDRESS 0x020a
#define VERSION_XLOADFLAGS   0x020c
#define ENTRY_64             0x200
#define SECTOR               512
#define CMDLINE_OLD_MAX      255
#define INITRD_OLD_MAX       0x37ffffffu
#define LOAD_LOW             0x100000u

typedef struct Setup {
    const uint8_t *h; /* the image's head */
    uint16_t version;
    uint64_t setup_size, code_size; /* bytes in the file */
    uint64_t load, init_size;
    bool entry64;
} Setup;

static bool is_bzimage(const BootImage *image)
{
    return image->head_len >= HDR_MIN_SIZE && ld16_le(image->head + HDR_BOOT_FLAG) == BOOT_FLAG &&
           !memcmp(image->head + HDR_MAGIC, MAGIC, 4);
}

static bool read_setup(Setup *s, const BootImage *image, Error **errp)
{
    const uint8_t *h = image->head;
    unsigned sectors = h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4;

    s->h = h;
    s->version = ld16_le(h + HDR_VERSION);
    if (s->version < VERSION_MIN || !(h[HDR_LOADFLAGS] & LOADFLAG_HIGH)) {
        error_set(errp,
                  "kernel '%s' has boot protocol %u.%02u; a bzImage of at least 2.02 is needed",
                  image->path, s->version >> 8, s->version & 0xff);
        return false;
    }
    s->setup_size = (uint64_t)(sectors + 1) * SECTOR;
    s->code_size = (uint64_t)ld32_le(h + HDR_SYSSIZE) * 16;
    if (s->code_size == 0 || s->setup_size >= image->size) {
        error_set(errp, "kernel '%s' is truncated: there is nothing behind its setup part",
                  image->path);
        return false;
    }
    /* The last 16-byte unit needn't be whole. */
    if (s->code_size - 15 > image->size - s->setup_size) {
        error_set(errp,
                  "kernel '%s' is truncated: it has 0x%" PRIx64
                  " bytes, but its header says 0x%" PRIx64,
                  image->path, image->size, s->setup_size + s->code_size);
        return false;
    }
    s->code_size = MIN_OF(s->code_size, image->size - s->setup_size);
    s->entry64 = s->version >= VERSION_XLOADFLAGS && (ld16_le(h + HDR_XLOADFLAGS) & XLF_KERNEL_64);
    return true;
}

/* Where it wants to be; where it must be, if it can't be moved; or as low as its alignment allows.
 */
static void choose_address(Setup *s, const BootLayout *layout)
{
    bool relocatable = s->version >= VERSION_RELOCATABLE && s->h[HDR_RELOCATABLE];
    uint64_t align;

    s->load = LOAD_LOW;
    s->init_size = s->code_size;
    if (s->version >= VERSION_PREF_ADDRESS) {
        s->load = ld64_le(s->h + HDR_PREF_ADDRESS);
        s->init_size = MAX_OF(s->code_size, ld32_le(s->h + HDR_INIT_SIZE));
    }
    if (relocatable && (s->load > layout->lowmem || s->init_size > layout->lowmem - s->load)) {
        align = ld32_le(s->h + HDR_ALIGNMENT);
        s->load = is_power_of_two(align) ? ALIGN_UP((uint64_t)LOAD_LOW, align) : LOAD_LOW;
    }
}

static bool add_initrd(DirectBoot *boot, const Setup *s, const BootLayout *layout, uint8_t *zp,
                       Error **errp)
{
    uint64_t max =
        s->version >= VERSION_INITRD_MAX ? ld32_le(s->h + HDR_INITRD_ADDR_MAX) : INITRD_OLD_MAX;
    uint64_t size, addr, end = MIN_OF(layout->lowmem, max + 1);
    int fd = boot_open(boot, layout->initrd, "initrd", &size, errp);

    if (fd < 0) {
        return false;
    }
    if (size == 0) {
        return true;
    }
    addr = ALIGN_DOWN(end - MIN_OF(size, end), 4096);
    if (size > end || addr < s->load + s->init_size) {
        error_set(errp,
                  "initrd '%s' is too big: 0x%" PRIx64
                  " bytes don't fit between the kernel's end at "
                  "0x%" PRIx64 " and 0x%" PRIx64 "; give the machine more memory with -m",
                  layout->initrd, size, s->load + s->init_size, end);
        return false;
    }
    st32_le(zp + HDR_RAMDISK_IMAGE, addr);
    st32_le(zp + HDR_RAMDISK_SIZE, size);
    return boot_add_file(boot, layout, addr, size, fd, 0, size, "initrd", errp);
}

static void add_e820(uint8_t *zp, const BootLayout *layout)
{
    unsigned n = MIN_OF(layout->e820->len, E820_MAX);

    zp[ZP_E820_COUNT] = n;
    for (unsigned i = 0; i < n; i++) {
        const E820Entry *e = &g_array_index(layout->e820, E820Entry, i);
        uint8_t *p = zp + ZP_E820 + i * ZP_E820_ENTRY;
        st64_le(p, e->addr);
        st64_le(p + 8, e->len);
        st32_le(p + 16, e->type);
    }
}

bool boot_linux_probe(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                      Error **errp)
{
    uint8_t zp[ZP_SIZE] = { 0 };
    Setup s = { 0 };
    size_t header_len, cmdline_max;

    if (!is_bzimage(image)) {
        return false;
    }
    if (!read_setup(&s, image, errp)) {
        return false;
    }
    choose_address(&s, layout);
    header_len = MIN_OF(HDR_MAGIC + s.h[HDR_JUMP_OFFSET], ZP_E820) - HDR_START;
    memcpy(zp + HDR_START, s.h + HDR_START, header_len);
    zp[HDR_LOADER_TYPE] = LOADER_UNDEFINED;
    st16_le(zp + HDR_VID_MODE, VID_MODE_NORMAL);
    st32_le(zp + HDR_CODE32_START, s.load);
    st32_le(zp + HDR_CMDLINE_PTR, BOOT_CMDLINE);
    st64_le(zp + ZP_RSDP, layout->rsdp);
    add_e820(zp, layout);

    cmdline_max =
        s.version >= VERSION_CMDLINE_SIZE ? ld32_le(s.h + HDR_CMDLINE_SIZE) : CMDLINE_OLD_MAX;
    if (!boot_add_cmdline(boot, layout->cmdline ? layout->cmdline : "", cmdline_max, errp) ||
        !boot_add_file(boot, layout, s.load, s.init_size, image->fd, s.setup_size, s.code_size,
                       "kernel", errp) ||
        (layout->initrd && !add_initrd(boot, &s, layout, zp, errp))) {
        return false;
    }
    boot_add_data(boot, BOOT_INFO, zp, sizeof(zp));
    boot->mode = s.entry64 ? BOOT_LONG_64 : BOOT_FLAT_32;
    boot->entry = s.entry64 ? s.load + ENTRY_64 : s.load;
    boot->rsi = BOOT_INFO;
    return true;
}
