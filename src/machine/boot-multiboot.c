/*
 * Multiboot 1 images: ELF32, or flat with the addresses in the multiboot header. -initrd names the
 * modules, "FILE ARGUMENTS,FILE ARGUMENTS,…" (a comma in a name is doubled).
 *
 * Multiboot Specification 0.6.96.
 */
#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "machine/direct-boot.h"

#define HEADER_SEARCH    8192
#define HEADER_MAGIC     0x1badb002u
#define BOOTLOADER_MAGIC 0x2badb002u
#define HEADER_ADDRESSES BIT32(16)
/* Header flags we must understand: 0 pages, 1 memory, 2 video mode (which may go unfulfilled). */
#define HEADER_REQUIRED_KNOWN 0x7u
#define HEADER_REQUIRED       0xffffu

/* Information structure, section 3.3. */
#define INFO_SIZE    96
#define INFO_MEMORY  BIT32(0)
#define INFO_CMDLINE BIT32(2)
#define INFO_MODULES BIT32(3)
#define INFO_MEMMAP  BIT32(6)
#define INFO_NAME    BIT32(9)
#define MODULE_SIZE  16
#define MODULES_MAX  64
#define MEMMAP_ENTRY 24 /* with its own size field */

typedef struct Header {
    uint64_t offset; /* in the file */
    uint32_t flags;
    uint32_t header_addr, load_addr, load_end, bss_end, entry;
} Header;

static bool find_header(const BootImage *image, Header *header)
{
    size_t end = MIN_OF(image->head_len, HEADER_SEARCH);

    for (size_t at = 0; at + 12 <= end; at += 4) {
        const uint8_t *p = image->head + at;
        if (ld32_le(p) != HEADER_MAGIC || ld32_le(p) + ld32_le(p + 4) + ld32_le(p + 8) != 0) {
            continue;
        }
        *header = (Header){ .offset = at, .flags = ld32_le(p + 4) };
        if ((header->flags & HEADER_ADDRESSES) && at + 32 <= end) {
            header->header_addr = ld32_le(p + 12);
            header->load_addr = ld32_le(p + 16);
            header->load_end = ld32_le(p + 20);
            header->bss_end = ld32_le(p + 24);
            header->entry = ld32_le(p + 28);
        }
        return true;
    }
    return false;
}

static bool load_flat(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                      const Header *h, Error **errp)
{
    uint64_t delta = (uint64_t)h->header_addr - h->load_addr, offset, size, memory;

    if (h->header_addr < h->load_addr || delta > h->offset || h->load_addr < MiB) {
        error_set(errp, "kernel '%s': the addresses in its multiboot header make no sense",
                  image->path);
        return false;
    }
    offset = h->offset - delta;
    size = h->load_end ? (uint64_t)h->load_end - h->load_addr : image->size - offset;
    memory = h->bss_end ? (uint64_t)h->bss_end - h->load_addr : size;
    if ((h->load_end && h->load_end < h->load_addr) || (h->bss_end && memory < size) ||
        size > image->size - offset) {
        error_set(errp, "kernel '%s' is truncated: its multiboot header says 0x%" PRIx64 " bytes",
                  image->path, size);
        return false;
    }
    boot->entry = h->entry;
    return boot_add_file(boot, layout, h->load_addr, memory, image->fd, offset, size, "kernel",
                         errp);
}

/* --- Modules --- */

typedef struct Strings {
    uint64_t at; /* where the next goes */
} Strings;

/* Texts lie behind the command line's. 0 with an error when they don't fit. */
static uint32_t add_text(DirectBoot *boot, Strings *s, const char *text, Error **errp)
{
    size_t len = strlen(text) + 1;
    uint64_t at = s->at;

    if (len > BOOT_CMDLINE_END - at) {
        error_set(errp, "the command lines of kernel and modules are longer than %u bytes together",
                  BOOT_CMDLINE_END - BOOT_CMDLINE);
        return 0;
    }
    boot_add_data(boot, at, text, len);
    s->at += len;
    return at;
}

static bool add_module(DirectBoot *boot, const BootLayout *layout, const char *text, Strings *s,
                       uint8_t *entry, Error **errp)
{
    g_autofree char *path = g_strndup(text, strcspn(text, " "));
    uint64_t size, addr = ALIGN_UP(boot_end(boot), 4096);
    uint32_t name;
    int fd = boot_open(boot, path, "multiboot module", &size, errp);

    if (fd < 0) {
        return false;
    }
    name = add_text(boot, s, text, errp);
    if (!name ||
        !boot_add_file(boot, layout, addr, size, fd, 0, size, "a multiboot module", errp)) {
        return false;
    }
    st32_le(entry, addr);
    st32_le(entry + 4, addr + size);
    st32_le(entry + 8, name);
    return true;
}

/* Cut at single commas. */
static GPtrArray *split_modules(const char *text)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    GString *one = g_string_new(NULL);

    for (const char *p = text;; p++) {
        if (p[0] == ',' && p[1] == ',') {
            g_string_append_c(one, ',');
            p++;
        } else if (*p == ',' || !*p) {
            const char *start = one->str;
            while (*start == ' ') {
                start++;
            }
            if (*start) {
                g_ptr_array_add(list, g_strdup(start));
            }
            g_string_truncate(one, 0);
            if (!*p) {
                break;
            }
        } else {
            g_string_append_c(one, *p);
        }
    }
    g_string_free(one, true);
    return list;
}

static bool add_modules(DirectBoot *boot, const BootLayout *layout, Strings *s, uint8_t *info,
                        uint64_t *at, Error **errp)
{
    g_autoptr(GPtrArray) list = split_modules(layout->initrd);
    uint8_t table[MODULES_MAX * MODULE_SIZE] = { 0 };

    if (list->len > MODULES_MAX) {
        error_set(errp, "-initrd: %u multiboot modules; %d are possible", list->len, MODULES_MAX);
        return false;
    }
    for (guint i = 0; i < list->len; i++) {
        if (!add_module(boot, layout, list->pdata[i], s, table + i * MODULE_SIZE, errp)) {
            return false;
        }
    }
    boot_add_data(boot, *at, table, list->len * MODULE_SIZE);
    st32_le(info + 20, list->len);
    st32_le(info + 24, *at);
    *at += list->len * MODULE_SIZE;
    return true;
}

/* --- Information --- */

static void add_memory(DirectBoot *boot, const BootLayout *layout, uint8_t *info, uint64_t at)
{
    uint64_t upper = 0;

    for (guint i = 0; i < layout->e820->len; i++) {
        const E820Entry *e = &g_array_index(layout->e820, E820Entry, i);
        uint8_t entry[MEMMAP_ENTRY];
        st32_le(entry, MEMMAP_ENTRY - 4);
        st64_le(entry + 4, e->addr);
        st64_le(entry + 12, e->len);
        st32_le(entry + 20, e->type);
        boot_add_data(boot, at + i * MEMMAP_ENTRY, entry, sizeof(entry));
        if (e->addr == MiB && e->type == E820_RAM) {
            upper = e->len;
        }
    }
    st32_le(info + 4, BOOT_EBDA / KiB);
    st32_le(info + 8, upper / KiB);
    st32_le(info + 44, layout->e820->len * MEMMAP_ENTRY);
    st32_le(info + 48, at);
}

static bool add_information(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                            Error **errp)
{
    uint8_t info[INFO_SIZE] = { 0 };
    uint32_t flags = INFO_MEMORY | INFO_CMDLINE | INFO_MEMMAP | INFO_NAME, text;
    uint64_t at = BOOT_EXTRA;
    Strings strings = { .at = BOOT_CMDLINE };
    g_autofree char *cmdline = g_strconcat(image->path, layout->cmdline ? " " : "",
                                           layout->cmdline ? layout->cmdline : "", NULL);

    text = add_text(boot, &strings, cmdline, errp);
    if (!text) {
        return false;
    }
    st32_le(info + 16, text);
    text = add_text(boot, &strings, "rhea", errp);
    if (!text) {
        return false;
    }
    st32_le(info + 64, text);
    if (layout->initrd) {
        flags |= INFO_MODULES;
        if (!add_modules(boot, layout, &strings, info, &at, errp)) {
            return false;
        }
    }
    add_memory(boot, layout, info, at);
    st32_le(info, flags);
    boot_add_data(boot, BOOT_INFO, info, sizeof(info));
    return true;
}

bool boot_multiboot_probe(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                          Error **errp)
{
    Header header;

    if (!find_header(image, &header)) {
        return false;
    }
    if (header.flags & HEADER_REQUIRED & ~HEADER_REQUIRED_KNOWN) {
        error_set(errp, "kernel '%s' asks for multiboot features 0x%x, which are unknown",
                  image->path, header.flags & HEADER_REQUIRED & ~HEADER_REQUIRED_KNOWN);
        return false;
    }
    if (header.flags & HEADER_ADDRESSES) {
        if (!load_flat(boot, image, layout, &header, errp)) {
            return false;
        }
    } else if (!boot_is_elf(image)) {
        error_set(errp, "multiboot kernel '%s' is neither ELF nor has load addresses", image->path);
        return false;
    } else if (image->head[EI_CLASS] != ELFCLASS32) {
        error_set(errp, "multiboot kernel '%s' is 64-bit; a 32-bit ELF file is needed",
                  image->path);
        return false;
    } else {
        if (!boot_load_elf(boot, image, layout, errp)) {
            return false;
        }
        boot->entry = ld32_le(image->head + offsetof(Elf32_Ehdr, e_entry));
    }
    if (!add_information(boot, image, layout, errp)) {
        return false;
    }
    boot->mode = BOOT_FLAT_32;
    boot->rax = BOOTLOADER_MAGIC;
    boot->rbx = BOOT_INFO;
    return true;
}
