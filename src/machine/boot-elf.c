/*
 * ELF kernels with a PVH entry: a note says at which 32-bit address to start.
 *
 * The x86/HVM direct boot ABI (Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/
 * start_info.h); ELF: System V ABI chapters 4 and 5.
 */
#include <elf.h>
#include <inttypes.h>
#include <string.h>

#include "base/bits.h"
#include "machine/direct-boot.h"

#define PVH_NOTE_NAME  "Xen"
#define PVH_NOTE_ENTRY 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define PVH_MAGIC      0x336ec578u
#define PVH_VERSION    1
#define PVH_INFO_SIZE  56
#define PVH_MODULE     32
#define PVH_MEMMAP     24
#define PHDR_MAX       128
#define NOTES_MAX      (64 * 1024)

/* A program header of either class. */
typedef struct Segment {
    uint32_t type;
    uint64_t offset, paddr, file_size, mem_size;
} Segment;

bool boot_is_elf(const BootImage *image)
{
    return image->head_len >= sizeof(Elf32_Ehdr) && !memcmp(image->head, ELFMAG, SELFMAG);
}

static bool read_headers(const BootImage *image, Segment *out, unsigned *count, Error **errp)
{
    const uint8_t *h = image->head;
    bool wide = h[EI_CLASS] == ELFCLASS64;
    uint16_t machine = ld16_le(h + offsetof(Elf32_Ehdr, e_machine));
    uint64_t phoff;
    unsigned phnum, phentsize, want = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    uint8_t buf[sizeof(Elf64_Phdr)];

    if (h[EI_DATA] != ELFDATA2LSB || (machine != EM_386 && machine != EM_X86_64)) {
        error_set(errp, "kernel '%s' is an ELF file for another processor", image->path);
        return false;
    }
    if (wide && image->head_len < sizeof(Elf64_Ehdr)) {
        error_set(errp, "kernel '%s' is truncated: its ELF header isn't whole", image->path);
        return false;
    }
    phoff = wide ? ld64_le(h + offsetof(Elf64_Ehdr, e_phoff))
                 : ld32_le(h + offsetof(Elf32_Ehdr, e_phoff));
    phnum = ld16_le(h + (wide ? offsetof(Elf64_Ehdr, e_phnum) : offsetof(Elf32_Ehdr, e_phnum)));
    phentsize =
        ld16_le(h + (wide ? offsetof(Elf64_Ehdr, e_phentsize) : offsetof(Elf32_Ehdr, e_phentsize)));
    if (phnum == 0 || phnum > PHDR_MAX || phentsize != want) {
        error_set(errp,
                  "kernel '%s' has %u program headers of %u bytes; 1 to %d of %u are possible",
                  image->path, phnum, phentsize, PHDR_MAX, want);
        return false;
    }
    for (unsigned i = 0; i < phnum; i++) {
        Segment *s = &out[i];
        if (!boot_read_at(image, phoff + (uint64_t)i * want, buf, want, errp)) {
            return false;
        }
        if (wide) {
            s->type = ld32_le(buf + offsetof(Elf64_Phdr, p_type));
            s->offset = ld64_le(buf + offsetof(Elf64_Phdr, p_offset));
            s->paddr = ld64_le(buf + offsetof(Elf64_Phdr, p_paddr));
            s->file_size = ld64_le(buf + offsetof(Elf64_Phdr, p_filesz));
            s->mem_size = ld64_le(buf + offsetof(Elf64_Phdr, p_memsz));
        } else {
            s->type = ld32_le(buf + offsetof(Elf32_Phdr, p_type));
            s->offset = ld32_le(buf + offsetof(Elf32_Phdr, p_offset));
            s->paddr = ld32_le(buf + offsetof(Elf32_Phdr, p_paddr));
            s->file_size = ld32_le(buf + offsetof(Elf32_Phdr, p_filesz));
            s->mem_size = ld32_le(buf + offsetof(Elf32_Phdr, p_memsz));
        }
    }
    *count = phnum;
    return true;
}

static bool load_segments(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                          const Segment *segments, unsigned count, Error **errp)
{
    bool any = false;

    for (unsigned i = 0; i < count; i++) {
        const Segment *s = &segments[i];
        if (s->type != PT_LOAD || s->mem_size == 0) {
            continue;
        }
        if (s->file_size > s->mem_size || s->offset > image->size ||
            s->file_size > image->size - s->offset) {
            error_set(errp, "kernel '%s' is truncated: segment %u isn't whole", image->path, i);
            return false;
        }
        if (s->paddr < MiB) {
            error_set(errp, "kernel '%s' wants to be loaded at 0x%" PRIx64 ", below 1 MiB",
                      image->path, s->paddr);
            return false;
        }
        if (!boot_add_file(boot, layout, s->paddr, s->mem_size, image->fd, s->offset, s->file_size,
                           "kernel", errp)) {
            return false;
        }
        any = true;
    }
    if (!any) {
        error_set(errp, "kernel '%s' has nothing to load", image->path);
    }
    return any;
}

bool boot_load_elf(DirectBoot *boot, const BootImage *image, const BootLayout *layout, Error **errp)
{
    Segment segments[PHDR_MAX];
    unsigned count;

    return read_headers(image, segments, &count, errp) &&
           load_segments(boot, image, layout, segments, count, errp);
}

/* --- PVH --- */

/* Walk the notes of one segment for the entry. */
static bool find_in_notes(const uint8_t *notes, uint64_t len, uint64_t *entry)
{
    uint64_t at = 0;

    while (len - at >= sizeof(Elf32_Nhdr)) {
        uint64_t namesz = ld32_le(notes + at), descsz = ld32_le(notes + at + 4);
        uint32_t type = ld32_le(notes + at + 8);
        uint64_t name = at + sizeof(Elf32_Nhdr), desc = name + ALIGN_UP(namesz, 4);
        if (namesz > len || descsz > len || desc + descsz > len) {
            return false;
        }
        if (type == PVH_NOTE_ENTRY && namesz == sizeof(PVH_NOTE_NAME) &&
            !memcmp(notes + name, PVH_NOTE_NAME, namesz) && (descsz == 4 || descsz == 8)) {
            *entry = ldn_le(notes + desc, descsz);
            return true;
        }
        at = MIN_OF(desc + ALIGN_UP(descsz, 4), len);
    }
    return false;
}

static bool find_entry(const BootImage *image, const Segment *segments, unsigned count,
                       uint64_t *entry, Error **errp)
{
    for (unsigned i = 0; i < count; i++) {
        const Segment *s = &segments[i];
        if (s->type != PT_NOTE || s->file_size > NOTES_MAX) {
            continue;
        }
        g_autofree uint8_t *notes = g_malloc(s->file_size + 1);
        if (!boot_read_at(image, s->offset, notes, s->file_size, errp)) {
            return false;
        }
        if (find_in_notes(notes, s->file_size, entry)) {
            return true;
        }
    }
    error_set(errp,
              "kernel '%s' is an ELF file without a PVH entry (a Xen note of type %d); use the "
              "bzImage",
              image->path, PVH_NOTE_ENTRY);
    return false;
}

static bool add_start_info(DirectBoot *boot, const BootLayout *layout, Error **errp)
{
    uint8_t info[PVH_INFO_SIZE] = { 0 }, module[PVH_MODULE] = { 0 };
    uint64_t at = BOOT_EXTRA;

    st32_le(info, PVH_MAGIC);
    st32_le(info + 4, PVH_VERSION);
    st64_le(info + 32, layout->rsdp);
    if (layout->cmdline) {
        st64_le(info + 24, BOOT_CMDLINE);
        if (!boot_add_cmdline(boot, layout->cmdline, SIZE_MAX, errp)) {
            return false;
        }
    }
    st64_le(info + 40, at);
    st32_le(info + 48, layout->e820->len);
    for (guint i = 0; i < layout->e820->len; i++, at += PVH_MEMMAP) {
        const E820Entry *e = &g_array_index(layout->e820, E820Entry, i);
        uint8_t entry[PVH_MEMMAP] = { 0 };
        st64_le(entry, e->addr);
        st64_le(entry + 8, e->len);
        st32_le(entry + 16, e->type);
        boot_add_data(boot, at, entry, sizeof(entry));
    }
    if (layout->initrd) {
        uint64_t size, addr;
        int fd = boot_open(boot, layout->initrd, "initrd", &size, errp);
        if (fd < 0) {
            return false;
        }
        addr = size < layout->lowmem ? ALIGN_DOWN(layout->lowmem - size, 4096) : 0;
        if (addr < boot_end(boot)) {
            error_set(errp,
                      "initrd '%s' is too big: 0x%" PRIx64
                      " bytes don't fit behind the kernel; give "
                      "the machine more memory with -m",
                      layout->initrd, size);
            return false;
        }
        if (!boot_add_file(boot, layout, addr, size, fd, 0, size, "initrd", errp)) {
            return false;
        }
        st32_le(info + 12, 1);
        st64_le(info + 16, at);
        st64_le(module, addr);
        st64_le(module + 8, size);
        boot_add_data(boot, at, module, sizeof(module));
    }
    boot_add_data(boot, BOOT_INFO, info, sizeof(info));
    return true;
}

bool boot_elf_probe(DirectBoot *boot, const BootImage *image, const BootLayout *layout,
                    Error **errp)
{
    Segment segments[PHDR_MAX];
    unsigned count;

    if (!boot_is_elf(image)) {
        return false;
    }
    if (!read_headers(image, segments, &count, errp) ||
        !find_entry(image, segments, count, &boot->entry, errp) ||
        !load_segments(boot, image, layout, segments, count, errp) ||
        !add_start_info(boot, layout, errp)) {
        return false;
    }
    boot->mode = BOOT_FLAT_32;
    boot->rbx = BOOT_INFO;
    return true;
}
