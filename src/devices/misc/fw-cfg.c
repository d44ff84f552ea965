/*
 * fw_cfg over I/O ports: selector (510h, 16 bit), data (511h, 8 bit), DMA address (514h, 64 bit
 * big-endian). The interface's public specification is "QEMU Firmware Configuration (fw_cfg)
 * Device"; the signature below is part of it.
 */
#include "devices/misc/fw-cfg.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "object/property.h"

#define SIGNATURE     "QEMU"
#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

#define ID_TRADITIONAL 0x1u
#define ID_DMA         0x2u

/* DMA control word; the upper half is a key for DMA_SELECT. */
#define DMA_ERROR  0x01u
#define DMA_READ   0x02u
#define DMA_SKIP   0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE  0x10u

#define KEY_NONE       0xffffu
#define FILE_SLOTS     0x20
#define FILE_SLOTS_MAX 0x1000

typedef struct FwCfgFile {
    char *name;
    GBytes *data;
} FwCfgFile;

/* What the guest reads from memory for one DMA transfer. */
typedef struct FwCfgDma {
    uint32_t control, length; /* big-endian */
    uint64_t address;         /* big-endian */
} FwCfgDma;

typedef struct FwCfg {
    Device parent;
    uint16_t key;
    uint32_t offset; /* in the selected item */
    uint64_t dma_address;

    GHashTable *items; /* key → GBytes */
    GPtrArray *files;  /* FwCfgFile, sorted; file i has key FW_CFG_FILE_FIRST + i */
    bool dma_enabled;
    uint16_t file_slots;
    MemoryRegion io, dma_io;
} FwCfg;

static FwCfg *fw_cfg_cast(void *obj)
{
    return (FwCfg *)object_cast((Object *)obj, TYPE_FW_CFG_IO);
}

Device *fw_cfg_find(void)
{
    return (Device *)object_resolve("/machine/fw_cfg", TYPE_FW_CFG_IO, NULL);
}

/* --- Items --- */

void fw_cfg_add_bytes(Device *dev, uint16_t key, const void *data, size_t len)
{
    g_hash_table_insert(fw_cfg_cast(dev)->items, GUINT_TO_POINTER(key), g_bytes_new(data, len));
}

void fw_cfg_add_string(Device *dev, uint16_t key, const char *text)
{
    fw_cfg_add_bytes(dev, key, text, strlen(text) + 1);
}

void fw_cfg_add_u16(Device *dev, uint16_t key, uint16_t value)
{
    uint8_t bytes[2];

    st16_le(bytes, value);
    fw_cfg_add_bytes(dev, key, bytes, sizeof(bytes));
}

void fw_cfg_add_u32(Device *dev, uint16_t key, uint32_t value)
{
    uint8_t bytes[4];

    st32_le(bytes, value);
    fw_cfg_add_bytes(dev, key, bytes, sizeof(bytes));
}

void fw_cfg_add_u64(Device *dev, uint16_t key, uint64_t value)
{
    uint8_t bytes[8];

    st64_le(bytes, value);
    fw_cfg_add_bytes(dev, key, bytes, sizeof(bytes));
}

/* --- Files --- */

static void file_free(gpointer data)
{
    FwCfgFile *f = data;

    g_free(f->name);
    g_bytes_unref(f->data);
    g_free(f);
}

static FwCfgFile *find_file(FwCfg *s, const char *name)
{
    for (guint i = 0; i < s->files->len; i++) {
        FwCfgFile *f = s->files->pdata[i];
        if (!strcmp(f->name, name)) {
            return f;
        }
    }
    return NULL;
}

static gint by_name(gconstpointer a, gconstpointer b)
{
    const FwCfgFile *x = *(FwCfgFile *const *)a, *y = *(FwCfgFile *const *)b;

    return strcmp(x->name, y->name);
}

/* The directory item: a big-endian count, then entries of 64 bytes. */
static void make_directory(FwCfg *s)
{
    GByteArray *dir = g_byte_array_new();
    uint32_t count = htobe32(s->files->len);

    g_byte_array_append(dir, (uint8_t *)&count, sizeof(count));
    for (guint i = 0; i < s->files->len; i++) {
        FwCfgFile *f = s->files->pdata[i];
        uint8_t entry[8 + FW_CFG_MAX_PATH] = { 0 };
        st32_be(entry, g_bytes_get_size(f->data));
        st16_be(entry + 4, FW_CFG_FILE_FIRST + i);
        strcpy((char *)entry + 8, f->name); /* length checked by fw_cfg_add_file() */
        g_byte_array_append(dir, entry, sizeof(entry));
    }
    fw_cfg_add_bytes(&s->parent, FW_CFG_FILE_DIR, dir->data, dir->len);
    g_byte_array_unref(dir);
}

bool fw_cfg_add_file(Device *dev, const char *name, GBytes *data, Error **errp)
{
    FwCfg *s = fw_cfg_cast(dev);
    FwCfgFile *f;

    if (strlen(name) >= FW_CFG_MAX_PATH) {
        error_set(errp, "fw_cfg: file name '%s' is longer than %d characters", name,
                  FW_CFG_MAX_PATH - 1);
        return false;
    }
    if (find_file(s, name)) {
        error_set(errp, "fw_cfg: file '%s' exists already", name);
        return false;
    }
    if (s->files->len >= s->file_slots) {
        error_set(errp, "fw_cfg: no slot is left for file '%s'; raise fw_cfg.x-file-slots (%u)",
                  name, s->file_slots);
        return false;
    }
    f = g_new0(FwCfgFile, 1);
    f->name = g_strdup(name);
    f->data = g_bytes_ref(data);
    g_ptr_array_add(s->files, f);
    g_ptr_array_sort(s->files, by_name);
    make_directory(s);
    return true;
}

GBytes *fw_cfg_file(Device *dev, const char *name)
{
    FwCfgFile *f = find_file(fw_cfg_cast(dev), name);

    return f ? f->data : NULL;
}

void fw_cfg_replace_file(Device *dev, const char *name, GBytes *data)
{
    FwCfg *s = fw_cfg_cast(dev);
    FwCfgFile *f = find_file(s, name);

    assert(f);
    g_bytes_unref(f->data);
    f->data = g_bytes_ref(data);
    make_directory(s);
}

void fw_cfg_print(Device *dev, GString *out)
{
    FwCfg *s = fw_cfg_cast(dev);

    for (guint i = 0; i < s->files->len; i++) {
        FwCfgFile *f = s->files->pdata[i];
        g_string_append_printf(out, "%s %zu\n", f->name, g_bytes_get_size(f->data));
    }
}

/* --- Guest --- */

/* Bytes of the selected item; NULL with *len 0 if there is none. */
static const uint8_t *selected(FwCfg *s, size_t *len)
{
    GBytes *bytes;

    *len = 0;
    if (s->key >= FW_CFG_FILE_FIRST && s->key < FW_CFG_FILE_FIRST + s->files->len) {
        bytes = ((FwCfgFile *)s->files->pdata[s->key - FW_CFG_FILE_FIRST])->data;
    } else {
        bytes = g_hash_table_lookup(s->items, GUINT_TO_POINTER(s->key));
    }
    return bytes ? g_bytes_get_data(bytes, len) : NULL;
}

static bool select_item(FwCfg *s, uint16_t key)
{
    size_t len;

    s->key = key;
    s->offset = 0;
    return selected(s, &len) != NULL;
}

static uint64_t data_read(void *opaque, hwaddr addr, unsigned size)
{
    FwCfg *s = opaque;
    size_t len;
    const uint8_t *data = selected(s, &len);

    return data && s->offset < len ? data[s->offset++] : 0;
}

static uint64_t io_read(void *opaque, hwaddr addr, unsigned size)
{
    return addr == 1 && size == 1 ? data_read(opaque, addr, size) : 0;
}

static void io_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    if (addr == 0 && size == 2) {
        select_item(opaque, value);
    }
    /* The data port can't be written: items are read-only to the guest. */
}

/* Copy `len` bytes of the item to guest memory, zeroes behind its end. */
static bool dma_to_guest(FwCfg *s, hwaddr address, uint32_t len)
{
    static const uint8_t zeroes[4096];
    size_t size;
    const uint8_t *data = selected(s, &size);

    if (data && s->offset < size) {
        uint32_t part = MIN_OF(len, size - s->offset);
        if (address_space_write(address_space_memory(), address, MEMTXATTRS_UNSPECIFIED,
                                data + s->offset, part) != MEMTX_OK) {
            return false;
        }
        s->offset += part;
        address += part;
        len -= part;
    }
    while (len) {
        uint32_t part = MIN_OF(len, sizeof(zeroes));
        if (address_space_write(address_space_memory(), address, MEMTXATTRS_UNSPECIFIED, zeroes,
                                part) != MEMTX_OK) {
            return false;
        }
        address += part;
        len -= part;
    }
    return true;
}

static void dma_transfer(FwCfg *s)
{
    AddressSpace *as = address_space_memory();
    hwaddr where = s->dma_address;
    FwCfgDma request;
    uint32_t control, result = 0, length;
    size_t size;

    s->dma_address = 0;
    if (address_space_read(as, where, MEMTXATTRS_UNSPECIFIED, &request, sizeof(request))) {
        log_guest_error("fw_cfg: DMA descriptor at 0x%" PRIx64 " can't be read\n", where);
        return;
    }
    control = be32toh(request.control);
    length = be32toh(request.length);
    if (control & DMA_SELECT) {
        select_item(s, control >> 16);
    }
    if (control & DMA_READ) {
        result = dma_to_guest(s, be64toh(request.address), length) ? 0 : DMA_ERROR;
    } else if (control & DMA_WRITE) {
        result = DMA_ERROR; /* no item is writable */
    } else if (control & DMA_SKIP) {
        selected(s, &size);
        s->offset = MIN_OF((uint64_t)s->offset + length, size);
    }
    result = htobe32(result);
    if (address_space_write(as, where, MEMTXATTRS_UNSPECIFIED, &result, sizeof(result))) {
        log_guest_error("fw_cfg: DMA descriptor at 0x%" PRIx64 " can't be written\n", where);
    }
}

static uint64_t dma_read(void *opaque, hwaddr addr, unsigned size)
{
    return bits_extract(DMA_SIGNATURE, (8 - addr - size) * 8, size * 8);
}

static void dma_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    FwCfg *s = opaque;

    if (size == 8) {
        s->dma_address = value;
        dma_transfer(s);
    } else if (addr == 0) {
        s->dma_address = value << 32;
    } else if (addr == 4) {
        s->dma_address |= value;
        dma_transfer(s);
    }
}

static bool dma_accepts(void *opaque, hwaddr addr, unsigned size, bool is_write, MemTxAttrs attrs)
{
    return !is_write || (size == 4 && (addr == 0 || addr == 4)) || (size == 8 && addr == 0);
}

static const MemoryRegionOps io_ops = {
    .read = io_read,
    .write = io_write,
    .valid = { .min = 1, .max = 2 },
    .impl = { .min = 1, .max = 2 },
};

static const MemoryRegionOps dma_ops = {
    .read = dma_read,
    .write = dma_write,
    .endian = DEVICE_BIG_ENDIAN,
    .valid = { .min = 1, .max = 8, .accepts = dma_accepts },
    .impl = { .min = 1, .max = 8 },
};

/* --- Host --- */

static void fw_cfg_reset(Device *dev)
{
    FwCfg *s = fw_cfg_cast(dev);

    select_item(s, FW_CFG_SIGNATURE);
    s->dma_address = 0;
}

static const VmState fw_cfg_vmstate = {
    .name = "fw_cfg",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT16(key, FwCfg),
            VMSTATE_UINT32(offset, FwCfg),
            VMSTATE_UINT64(dma_address, FwCfg),
            {},
        },
};

static const Field fw_cfg_properties[] = {
    PROP_BOOL("dma_enabled", FwCfg, dma_enabled, true, .help = "offer transfers by DMA"),
    PROP_UINT16("x-file-slots", FwCfg, file_slots, FILE_SLOTS, PROP_RANGE(0x10, FILE_SLOTS_MAX),
                .help = "most files there can be"),
    {},
};

static bool fw_cfg_realize(Device *dev, Error **errp)
{
    FwCfg *s = fw_cfg_cast(dev);

    fw_cfg_add_bytes(dev, FW_CFG_SIGNATURE, SIGNATURE, strlen(SIGNATURE));
    fw_cfg_add_u32(dev, FW_CFG_ID, ID_TRADITIONAL | (s->dma_enabled ? ID_DMA : 0));
    make_directory(s);
    memory_region_add(io_root(), FW_CFG_PORT, &s->io);
    if (s->dma_enabled) {
        memory_region_add(io_root(), FW_CFG_PORT + 4, &s->dma_io);
    }
    return true;
}

static void fw_cfg_unrealize(Device *dev)
{
    FwCfg *s = fw_cfg_cast(dev);

    memory_region_del(io_root(), &s->io);
    if (s->dma_enabled) {
        memory_region_del(io_root(), &s->dma_io);
    }
}

static void fw_cfg_init(Object *obj)
{
    FwCfg *s = fw_cfg_cast(obj);

    s->items = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_bytes_unref);
    s->files = g_ptr_array_new_with_free_func(file_free);
    memory_region_init_io(&s->io, obj, &io_ops, s, "fwcfg", 2);
    memory_region_init_io(&s->dma_io, obj, &dma_ops, s, "fwcfg.dma", 8);
}

static void fw_cfg_finalize(Object *obj)
{
    FwCfg *s = fw_cfg_cast(obj);

    memory_region_finish(&s->io);
    memory_region_finish(&s->dma_io);
    g_hash_table_unref(s->items);
    g_ptr_array_unref(s->files);
}

static void fw_cfg_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->bus_type = TYPE_SYSTEM_BUS;
    dc->realize = fw_cfg_realize;
    dc->unrealize = fw_cfg_unrealize;
    dc->reset = fw_cfg_reset;
    dc->vmstate = &fw_cfg_vmstate;
    dc->user_creatable = false;
}

static const TypeInfo fw_cfg_info = {
    .name = TYPE_FW_CFG_IO,
    .parent = TYPE_DEVICE,
    .help = "Firmware configuration ports",
    .instance_size = sizeof(FwCfg),
    .properties = fw_cfg_properties,
    .instance_init = fw_cfg_init,
    .instance_finalize = fw_cfg_finalize,
    .class_init = fw_cfg_class_init,
};
OBJECT_TYPE(fw_cfg, fw_cfg_info)
