/* Option ROMs: a file in a ROM BAR (PCI 3.0, 6.3; the file's format is the firmware's matter). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "bus/pci/pci-internal.h"

#define ROM_SIZE_MIN 2048u /* the register's lowest address bit is 11 */
#define ROM_SIZE_MAX (1u << 31)

/* The machine's way to files by name; NULL: none. One for all devices, as they know no machine. */
static char *(*rom_finder)(const char *name);

void pci_set_rom_finder(char *(*find)(const char *name))
{
    rom_finder = find;
}

/* What a type brings along; NULL if the host hasn't got it: then the device has none. g_free. */
static char *find_class_rom(const PciDevice *dev)
{
    const char *name = pci_device_class_of(dev)->romfile;

    return name && rom_finder && dev->rombar ? rom_finder(name) : NULL;
}

/* The file's bytes, which the caller owns; its size. NULL with an error. */
static uint8_t *read_file(const char *path, uint32_t *size, Error **errp)
{
    struct stat st;

    if (FAULT("open", errp)) {
        return NULL;
    }
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        error_set_errno(errp, errno, "can't read romfile '%s'", path);
        return NULL;
    }
    if (st.st_size == 0) {
        error_set(errp, "romfile '%s' is empty", path);
        return NULL;
    }
    if (st.st_size > ROM_SIZE_MAX) {
        error_set(errp,
                  "romfile '%s' is too large: %" PRId64 " bytes, an option ROM has at most %u",
                  path, (int64_t)st.st_size, ROM_SIZE_MAX);
        return NULL;
    }
    *size = (uint32_t)st.st_size;
    uint8_t *data = g_malloc(*size);
    if (!fd_read_all(fd, data, *size, errp)) {
        error_prepend(errp, "romfile '%s': ", path);
        g_free(data);
        return NULL;
    }
    return data;
}

bool pci_rom_add(PciDevice *dev, Error **errp)
{
    g_autofree char *found = dev->romfile ? NULL : find_class_rom(dev);
    const char *path = dev->romfile ? dev->romfile : found;
    bool has_file = path && *path;
    g_autofree uint8_t *data = NULL;
    uint32_t file_size = 0;

    if (!has_file && (dev->romsize == UINT32_MAX || dev->rombar == 0)) {
        return true;
    }
    if (dev->rombar == 0) {
        if (dev->romfile) {
            error_set(errp, "romfile '%s' needs rombar=1: the guest reaches it through the ROM BAR",
                      path);
            return false;
        }
        return true;
    }
    if (has_file && !(data = read_file(path, &file_size, errp))) {
        return false;
    }
    uint64_t size = dev->romsize != UINT32_MAX ? dev->romsize : round_up_power_of_two(file_size);
    size = MAX_OF(size, ROM_SIZE_MIN);
    if (file_size > size) {
        error_set(errp, "romfile '%s' has %u bytes, that is too large for ROM size %" PRIu64, path,
                  file_size, size);
        return false;
    }
    g_autofree char *name = g_strdup_printf("%s.rom", object_type_name(&dev->parent.parent));
    memory_region_finish(&dev->rom); /* of an earlier realize */
    if (!memory_region_init_rom(&dev->rom, &dev->parent.parent, name, size, errp)) {
        return false;
    }
    if (data) {
        memcpy(memory_region_ram_ptr(&dev->rom), data, file_size);
    }
    pci_register_bar(dev, PCI_ROM_SLOT, PCI_BASE_ADDRESS_SPACE_MEMORY, &dev->rom);
    dev->has_rom = true;
    return true;
}
