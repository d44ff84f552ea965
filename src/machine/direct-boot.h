/*
 * Boot without firmware: a kernel image is checked and laid out once, and put into guest memory,
 * with the first processor's state, at each reset.
 *
 *   boot_probe()    which kind of image is it? (boot-linux.c, boot-elf.c, boot-multiboot.c)
 *   boot_install()  after every reset of the machine
 */
#ifndef MACHINE_DIRECT_BOOT_H
#define MACHINE_DIRECT_BOOT_H

#include <glib.h>

#include "base/error.h"
#include "memory/memory.h"

/* Physical memory, as e820 (INT 15h) says it. ACPI 6.4 section 15. */
enum { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };

typedef struct E820Entry {
    uint64_t addr, len; /* bytes */
    uint32_t type;
} E820Entry;

#define E820_MAX 128 /* entries a Linux zero page has room for */

/* What the images are laid out in. */
typedef struct BootLayout {
    uint64_t lowmem; /* bytes of RAM from 0 that a kernel may use, less what is reserved on top */
    const GArray *e820;  /* E820Entry, sorted; borrowed, good as long as the boot */
    uint64_t rsdp;       /* physical; 0: no ACPI */
    const char *cmdline; /* NULL: none */
    const char *initrd;  /* path, or multiboot modules; NULL: none */
} BootLayout;

/* A piece of guest memory: from a file or from memory, zeroes behind. */
typedef struct BootSegment {
    uint64_t addr, size; /* bytes, of guest memory */
    int fd;              /* borrowed from the boot; -1: data */
    uint64_t offset, file_size;
    GBytes *data;
} BootSegment;

typedef enum BootMode {
    BOOT_FLAT_32, /* protected mode, no paging, flat 4 GiB segments */
    BOOT_LONG_64, /* 64-bit, first 4 GiB mapped to themselves */
} BootMode;

typedef struct DirectBoot {
    GArray *segments; /* BootSegment */
    GArray *fds;      /* int, owned */
    BootMode mode;
    uint64_t entry;
    uint64_t rax, rbx, rsi; /* registers that mean something to the kernel */
} DirectBoot;

/* A kernel image being looked at. */
typedef struct BootImage {
    const char *path;
    int fd;
    uint64_t size; /* bytes */
    uint8_t *head; /* the first bytes */
    size_t head_len;
} BootImage;

#define BOOT_HEAD_SIZE (64 * 1024)

/* Low memory that we use ourselves; all below the EBDA. */
#define BOOT_GDT         0x1000u
#define BOOT_INFO        0x7000u  /* zero page, start_info or multiboot information */
#define BOOT_PAGES       0x9000u  /* six pages of page tables */
#define BOOT_EXTRA       0x10000u /* tables that the information points to */
#define BOOT_EXTRA_END   0x20000u
#define BOOT_CMDLINE     0x20000u
#define BOOT_CMDLINE_END 0x30000u
#define BOOT_EBDA        0x9fc00u

/* Look at the image and lay it out; NULL with an error that says what is wrong with it. */
DirectBoot *boot_probe(const char *kernel, const BootLayout *layout, Error **errp);
void boot_free(DirectBoot *boot); /* NULL allowed */
/* Copy everything in and set the first CPU up. The CPUs have been reset and do not run. */
MUST_CHECK bool boot_install(DirectBoot *boot, Error **errp);

/* --- For the kinds --- */

/* Is it one, and if so lay it out: false without error means another kind should be tried. */
bool boot_linux_probe(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                      Error **errp);
bool boot_elf_probe(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                    Error **errp);
bool boot_multiboot_probe(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                          Error **errp);

/* [addr, addr + size) of RAM, filled from the file; checked against the memory there is. */
MUST_CHECK bool boot_add_file(DirectBoot *boot, const BootLayout *layout, uint64_t addr,
                              uint64_t size, int fd, uint64_t offset, uint64_t file_size,
                              const char *what, Error **errp);
void boot_add_data(DirectBoot *boot, uint64_t addr, const void *data, size_t size);
/* The command line at BOOT_CMDLINE, with its zero; max: bytes without it. */
MUST_CHECK bool boot_add_cmdline(DirectBoot *boot, const char *cmdline, size_t max, Error **errp);
/* Open a further file; its descriptor lives as long as the boot. -1 with an error. */
int boot_open(DirectBoot *boot, const char *path, const char *what, uint64_t *size, Error **errp);
/* End of the highest segment at or above 1 MiB. */
uint64_t boot_end(const DirectBoot *boot);
MUST_CHECK bool boot_read_at(const BootImage *image, uint64_t offset, void *buf, size_t len,
                             Error **errp);

/* boot-elf.c: the program headers' loadable parts. */
MUST_CHECK bool boot_load_elf(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                              Error **errp);
bool boot_is_elf(const BootImage *image);

#endif
