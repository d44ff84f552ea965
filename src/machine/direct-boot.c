#include "machine/direct-boot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "cpu/x86/cpu.h"

/* Selectors of the Linux boot protocol (__BOOT_CS, __BOOT_DS); the others don't care. */
#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18
#define SELECTOR_TSS  0x20
/* Bits 40-47 and 52-55 of descriptors, as X86Segment.access has them. */
#define ACCESS_CODE32 (X86_SEG_P | X86_SEG_S | 0xbu | X86_SEG_DB | X86_SEG_G)
#define ACCESS_CODE64 (X86_SEG_P | X86_SEG_S | 0xbu | X86_SEG_L | X86_SEG_G)
#define ACCESS_DATA   (X86_SEG_P | X86_SEG_S | 0x3u | X86_SEG_DB | X86_SEG_G)
#define ACCESS_TSS    (X86_SEG_P | 0xbu)
#define TSS_LIMIT     0x67

#define PTE_PRESENT UINT64_C(0x01)
#define PTE_WRITE   UINT64_C(0x02)
#define PTE_LARGE   UINT64_C(0x80)
#define LARGE_PAGE  (2 * MiB)

/* --- Laying out --- */

static void segment_clear(gpointer data)
{
    BootSegment *s = data;

    if (s->data) {
        g_bytes_unref(s->data);
    }
}

static DirectBoot *boot_new(void)
{
    DirectBoot *boot = g_new0(DirectBoot, 1);

    boot->segments = g_array_new(false, true, sizeof(BootSegment));
    g_array_set_clear_func(boot->segments, segment_clear);
    boot->fds = g_array_new(false, false, sizeof(int));
    return boot;
}

void boot_free(DirectBoot *boot)
{
    if (!boot) {
        return;
    }
    for (guint i = 0; i < boot->fds->len; i++) {
        fd_close(g_array_index(boot->fds, int, i));
    }
    g_array_unref(boot->fds);
    g_array_unref(boot->segments);
    g_free(boot);
}

int boot_open(DirectBoot *boot, const char *path, const char *what, uint64_t *size, Error **errp)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0) {
        error_set_errno(errp, errno, "can't open %s '%s'", what, path);
        return -1;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        error_set(errp, "%s '%s' is not a regular file", what, path);
        fd_close(fd);
        return -1;
    }
    g_array_append_val(boot->fds, fd);
    *size = st.st_size;
    return fd;
}

bool boot_add_file(DirectBoot *boot, const BootLayout *layout, uint64_t addr, uint64_t size, int fd,
                   uint64_t offset, uint64_t file_size, const char *what, Error **errp)
{
    BootSegment s = {
        .addr = addr,
        .size = size,
        .fd = fd,
        .offset = offset,
        .file_size = file_size,
    };

    if (addr > layout->lowmem || size > layout->lowmem - addr) {
        error_set(errp,
                  "%s is too big: it needs 0x%" PRIx64 " bytes at 0x%" PRIx64
                  ", but memory ends at "
                  "0x%" PRIx64 "; give the machine more with -m",
                  what, size, addr, layout->lowmem);
        return false;
    }
    g_array_append_val(boot->segments, s);
    return true;
}

void boot_add_data(DirectBoot *boot, uint64_t addr, const void *data, size_t size)
{
    BootSegment s = { .addr = addr, .size = size, .fd = -1, .data = g_bytes_new(data, size) };

    g_array_append_val(boot->segments, s);
}

bool boot_add_cmdline(DirectBoot *boot, const char *cmdline, size_t max, Error **errp)
{
    size_t len = strlen(cmdline);

    max = MIN_OF(max, BOOT_CMDLINE_END - BOOT_CMDLINE - 1);
    if (len > max) {
        error_set(errp, "-append: the command line has %zu characters, but the kernel takes %zu",
                  len, max);
        return false;
    }
    boot_add_data(boot, BOOT_CMDLINE, cmdline, len + 1);
    return true;
}

uint64_t boot_end(const DirectBoot *boot)
{
    uint64_t end = MiB;

    for (guint i = 0; i < boot->segments->len; i++) {
        const BootSegment *s = &g_array_index(boot->segments, BootSegment, i);
        end = MAX_OF(end, s->addr + s->size);
    }
    return end;
}

bool boot_read_at(const BootImage *image, uint64_t offset, void *buf, size_t len, Error **errp)
{
    ssize_t got;

    if (offset > image->size || len > image->size - offset) {
        error_set(errp,
                  "kernel '%s' is truncated: it has 0x%" PRIx64 " bytes, but refers to 0x%" PRIx64,
                  image->path, image->size, offset + len);
        return false;
    }
    got = pread(image->fd, buf, len, offset);
    if (got < 0 || (size_t)got != len) {
        error_set_errno(errp, got < 0 ? errno : EIO, "can't read kernel '%s'", image->path);
        return false;
    }
    return true;
}

DirectBoot *boot_probe(const char *kernel, const BootLayout *layout, Error **errp)
{
    bool (*const kinds[])(DirectBoot *, const BootImage *, const BootLayout *, Error **) = {
        boot_multiboot_probe,
        boot_elf_probe,
        boot_linux_probe,
    };
    DirectBoot *boot = boot_new();
    BootImage image = { .path = kernel };
    Error *err = NULL;
    bool found = false;

    image.fd = boot_open(boot, kernel, "kernel", &image.size, errp);
    if (image.fd < 0) {
        boot_free(boot);
        return NULL;
    }
    image.head_len = MIN_OF(image.size, BOOT_HEAD_SIZE);
    image.head = g_malloc0(BOOT_HEAD_SIZE);
    if (boot_read_at(&image, 0, image.head, image.head_len, &err)) {
        for (unsigned i = 0; i < ARRAY_LEN(kinds) && !found && !err; i++) {
            found = kinds[i](boot, &image, layout, &err);
        }
    }
    if (!found && !err) {
        error_set(
            &err,
            "'%s' is not a kernel: neither a Linux bzImage, nor an ELF file with a PVH entry, "
            "nor a multiboot image",
            kernel);
    }
    g_free(image.head);
    if (err) {
        error_propagate(errp, err);
        boot_free(boot);
        return NULL;
    }
    return boot;
}

/* --- Installing --- */

static bool fill(uint8_t *host, const BootSegment *s, uint64_t at, uint64_t len, Error **errp)
{
    uint64_t from_file = at < s->file_size ? MIN_OF(len, s->file_size - at) : 0, done = 0;

    while (s->fd >= 0 && done < from_file) {
        ssize_t got = pread(s->fd, host + done, from_file - done, s->offset + at + done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            error_set_errno(errp, got < 0 ? errno : EIO,
                            "can't read a boot image (was it changed since the start?)");
            return false;
        }
        done += got;
    }
    if (s->data) {
        memcpy(host, (const uint8_t *)g_bytes_get_data(s->data, NULL) + at, len);
    } else {
        memset(host + done, 0, len - done);
    }
    return true;
}

static bool install_segment(const BootSegment *s, Error **errp)
{
    for (uint64_t at = 0; at < s->size;) {
        uint64_t len = s->size - at;
        uint8_t *host = address_space_map(address_space_memory(), s->addr + at, &len, true,
                                          MEMTXATTRS_UNSPECIFIED);
        bool ok;
        if (!host) {
            error_set(errp, "a boot image can't be put at 0x%" PRIx64 ": there is no memory",
                      s->addr + at);
            return false;
        }
        ok = fill(host, s, at, len, errp);
        address_space_unmap(address_space_memory(), host, len, true, len);
        if (!ok) {
            return false;
        }
        at += len;
    }
    return true;
}

static void write_gdt(BootMode mode)
{
    const uint64_t gdt[] = {
        0,
        0,
        mode == BOOT_LONG_64 ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff),
        UINT64_C(0x00cf93000000ffff),
        UINT64_C(0x00008b0000000067),
    };

    for (unsigned i = 0; i < ARRAY_LEN(gdt); i++) {
        address_space_store(address_space_memory(), BOOT_GDT + 8 * i, 8, MEMTXATTRS_UNSPECIFIED,
                            gdt[i]);
    }
}

/* PML4, PDPT, four page directories of 2 MiB pages. */
static void write_page_tables(void)
{
    const hwaddr pml4 = BOOT_PAGES, pdpt = pml4 + 0x1000, pd = pdpt + 0x1000;
    g_autofree uint64_t *tables = g_malloc0(6 * 0x1000);

    tables[0] = pdpt | PTE_PRESENT | PTE_WRITE;
    for (unsigned i = 0; i < 4; i++) {
        tables[512 + i] = (pd + i * 0x1000) | PTE_PRESENT | PTE_WRITE;
    }
    for (unsigned i = 0; i < 4 * 512; i++) {
        tables[1024 + i] = i * LARGE_PAGE | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
    }
    address_space_write(address_space_memory(), pml4, MEMTXATTRS_UNSPECIFIED, tables, 6 * 0x1000);
}

static void set_cpu(const DirectBoot *boot)
{
    X86Cpu *cpu = x86_cpu_cast(cpu_by_index(0));
    X86State *s = &cpu->state;
    bool wide = boot->mode == BOOT_LONG_64;
    X86Segment data = { .limit = UINT32_MAX, .access = ACCESS_DATA, .selector = SELECTOR_DATA };

    s->seg[X86_CS] = (X86Segment){
        .limit = UINT32_MAX,
        .access = wide ? ACCESS_CODE64 : ACCESS_CODE32,
        .selector = SELECTOR_CODE,
    };
    s->seg[X86_DS] = s->seg[X86_ES] = s->seg[X86_SS] = s->seg[X86_FS] = s->seg[X86_GS] = data;
    s->ldtr = (X86Segment){ .unusable = true };
    s->tr = (X86Segment){ .limit = TSS_LIMIT, .access = ACCESS_TSS, .selector = SELECTOR_TSS };
    s->gdtr = (X86TableRegister){ .base = BOOT_GDT, .limit = 5 * 8 - 1 };
    s->idtr = (X86TableRegister){ 0 };
    s->cr0 = X86_CR0_PE | X86_CR0_ET;
    s->cr4 = 0;
    s->efer = 0;
    if (wide) {
        s->cr3 = BOOT_PAGES;
        s->cr4 = X86_CR4_PAE;
        s->efer = X86_EFER_LME | X86_EFER_LMA;
        s->cr0 |= X86_CR0_PG;
    }
    s->rflags = 0x2;
    memset(s->gpr, 0, sizeof(s->gpr));
    s->gpr[X86_RAX] = boot->rax;
    s->gpr[X86_RBX] = boot->rbx;
    s->gpr[X86_RSI] = boot->rsi;
    s->rip = boot->entry;
    x86_update_mode(cpu);

    Cpu *each;
    CPU_FOREACH(each)
    {
        x86_set_firmware_mtrrs(x86_cpu_cast(each));
    }
}

bool boot_install(DirectBoot *boot, Error **errp)
{
    for (guint i = 0; i < boot->segments->len; i++) {
        if (!install_segment(&g_array_index(boot->segments, BootSegment, i), errp)) {
            return false;
        }
    }
    write_gdt(boot->mode);
    if (boot->mode == BOOT_LONG_64) {
        write_page_tables();
    }
    set_cpu(boot);
    return true;
}
