/*
 * Parallel NOR flash, 8 bits wide, that answers to the Intel command set.
 *
 * Intel StrataFlash (290737) sections on commands and status; Common Flash Interface: JEDEC JESD68.
 *
 * In array mode reads come from memory directly. What is programmed or erased is in memory at once,
 * and goes to the drive a little later, a sector of 512 bytes at least.
 */
#include "devices/flash/pflash.h"

#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/report.h"
#include "block/backend.h"
#include "object/property.h"
#include "object/runstate.h"

enum {
    CMD_READ_ARRAY = 0xff,
    CMD_READ_ARRAY_OLD = 0x00,
    CMD_PROGRAM = 0x10,
    CMD_PROGRAM_ALT = 0x40,
    CMD_ERASE = 0x20,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_QUERY = 0x98,
    CMD_CONFIRM = 0xd0,
    CMD_BUFFER = 0xe8,
};
enum { STATUS_READY = 0x80, STATUS_ERASE_ERR = 0x20, STATUS_PROGRAM_ERR = 0x10 };

#define SECTOR_DEFAULT (4 * KiB)
#define BUFFER_SIZE    1024 /* bytes of a buffered write */
#define QUERY_SIZE     0x40
#define MAKER          0x89
#define DEVICE_CODE    0x18

/* What the next write means. */
typedef enum PflashStep {
    STEP_COMMAND,
    STEP_DATA,    /* the byte to program */
    STEP_CONFIRM, /* of an erase, a lock or a buffer */
    STEP_COUNT,   /* of a buffer */
    STEP_BUFFER,  /* its bytes */
    STEP_END,
} PflashStep;

typedef struct Pflash {
    Device parent;
    BlockConf conf;
    uint64_t sector; /* bytes that are erased together */
    char *name;

    uint8_t command, status, step;
    uint32_t buffer_at, buffer_left; /* of a buffered write: where in it, bytes to come */
    uint64_t buffer_base;
    uint8_t buffer[BUFFER_SIZE];

    /* not state */
    MemoryRegion region, *container; /* container: borrowed, NULL: not mapped */
    uint8_t *mem;
    uint64_t size;
    uint8_t query[QUERY_SIZE];
    BlockEngine *engine;
    BlockRequest io;
    struct iovec iov;
    bool writing;
    uint64_t dirty_first, dirty_end; /* bytes that the drive hasn't got; end 0: none */
    VmStateHandler *vm_handler;
} Pflash;

static Pflash *pflash_cast(void *obj)
{
    return (Pflash *)object_cast((Object *)obj, TYPE_PFLASH);
}

MemoryRegion *pflash_region(Device *dev)
{
    return &pflash_cast(dev)->region;
}

void pflash_map(Device *dev, MemoryRegion *container, hwaddr addr)
{
    Pflash *s = pflash_cast(dev);

    s->container = container;
    memory_region_add(container, addr, &s->region);
}

/* --- The drive --- */

static void write_done(BlockRequest *req, int error);

static void write_back(Pflash *s)
{
    uint64_t first = ALIGN_DOWN(s->dirty_first, BLOCK_SECTOR);
    uint64_t end = MIN_OF(ALIGN_UP(s->dirty_end, BLOCK_SECTOR), s->size);

    if (s->writing || !s->dirty_end) {
        return;
    }
    s->dirty_end = 0;
    s->writing = true;
    s->iov = (struct iovec){ s->mem + first, end - first };
    s->io = (BlockRequest){
        .op = BLOCK_WRITE,
        .offset = first,
        .len = end - first,
        .iov = &s->iov,
        .iov_count = 1,
        .done = write_done,
    };
    block_submit(s->conf.backend.node, s->engine, &s->io);
}

static void write_done(BlockRequest *req, int error)
{
    Pflash *s = CONTAINER_OF(req, Pflash, io);

    s->writing = false;
    block_backend_count(&s->conf.backend, BLOCK_WRITE, req->len, 0, !error);
    if (error) {
        /* The guest was told that it is done: it can't be taken back. */
        report_error("flash '%s': writing to its drive: %s", s->name ? s->name : TYPE_PFLASH,
                     g_strerror(error));
    }
    write_back(s);
}

static void changed(Pflash *s, uint64_t at, uint64_t len)
{
    s->dirty_first = s->dirty_end ? MIN_OF(s->dirty_first, at) : at;
    s->dirty_end = MAX_OF(s->dirty_end, at + len);
    memory_region_set_dirty(&s->region, at, len);
}

/* --- Commands --- */

static void array_mode(Pflash *s)
{
    s->step = STEP_COMMAND;
    s->command = CMD_READ_ARRAY;
    memory_region_rom_device_set_romd(&s->region, true);
}

static bool writable(const Pflash *s)
{
    return s->conf.backend.node && !s->conf.backend.read_only;
}

/* Programming only clears bits. */
static void program(Pflash *s, uint64_t at, const uint8_t *data, uint64_t len)
{
    s->status |= STATUS_READY;
    if (!writable(s)) {
        s->status |= STATUS_PROGRAM_ERR;
        return;
    }
    for (uint64_t i = 0; i < len && at + i < s->size; i++) {
        s->mem[at + i] &= data[i];
    }
    changed(s, at, MIN_OF(len, s->size - at));
}

static void erase(Pflash *s, uint64_t at)
{
    at = ALIGN_DOWN(at, s->sector);
    s->status |= STATUS_READY;
    if (!writable(s)) {
        s->status |= STATUS_ERASE_ERR;
        return;
    }
    memset(s->mem + at, 0xff, s->sector);
    changed(s, at, s->sector);
}

static void take_command(Pflash *s, uint64_t at, uint8_t value)
{
    s->command = value;
    switch (value) {
    case CMD_READ_ARRAY:
    case CMD_READ_ARRAY_OLD:
        array_mode(s);
        return;
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT:
        s->step = STEP_DATA;
        break;
    case CMD_ERASE:
    case CMD_LOCK:
        s->step = STEP_CONFIRM;
        break;
    case CMD_BUFFER:
        s->status |= STATUS_READY;
        s->step = STEP_COUNT;
        break;
    case CMD_CLEAR_STATUS:
        s->status = 0; /* ready again with the next operation: firmware looks for this */
        array_mode(s);
        return;
    case CMD_READ_STATUS:
    case CMD_READ_ID:
    case CMD_QUERY:
        break;
    default:
        log_guest_error("pflash: command 0x%02x is not known\n", value);
        array_mode(s);
        return;
    }
    memory_region_rom_device_set_romd(&s->region, false);
}

static void take_confirm(Pflash *s, uint64_t at, uint8_t value)
{
    s->step = STEP_COMMAND;
    if (s->command == CMD_ERASE && value == CMD_CONFIRM) {
        erase(s, at);
    } else if (s->command == CMD_BUFFER && value == CMD_CONFIRM) {
        program(s, s->buffer_base, s->buffer, s->buffer_at);
    } else if (s->command == CMD_ERASE) {
        s->status |= STATUS_ERASE_ERR | STATUS_PROGRAM_ERR; /* out of sequence */
    } else if (s->command == CMD_BUFFER) {
        s->status |= STATUS_PROGRAM_ERR;
    } /* locks: blocks are never locked, whatever was asked */
}

static void take_buffer_byte(Pflash *s, uint64_t at, uint8_t value)
{
    if (!s->buffer_at) {
        s->buffer_base = at;
    }
    s->buffer[s->buffer_at++] = value;
    if (!--s->buffer_left) {
        s->step = STEP_CONFIRM;
    }
}

static void pflash_write(void *opaque, hwaddr at, uint64_t value, unsigned size)
{
    Pflash *s = opaque;
    uint8_t byte = (uint8_t)value;

    switch (s->step) {
    case STEP_COMMAND:
        take_command(s, at, byte);
        break;
    case STEP_DATA:
        program(s, at, &byte, 1);
        s->step = STEP_COMMAND;
        break;
    case STEP_CONFIRM:
        take_confirm(s, at, byte);
        break;
    case STEP_COUNT:
        s->buffer_at = 0;
        s->buffer_left = byte + 1u;
        s->step = STEP_BUFFER;
        break;
    case STEP_BUFFER:
        take_buffer_byte(s, at, byte);
        break;
    }
    write_back(s);
}

static uint64_t pflash_read(void *opaque, hwaddr at, unsigned size)
{
    const Pflash *s = opaque;

    switch (s->command) {
    case CMD_READ_ARRAY:
    case CMD_READ_ARRAY_OLD:
        return s->mem[at];
    case CMD_READ_ID:
        return (at & 0xff) == 0 ? MAKER : (at & 0xff) == 1 ? DEVICE_CODE : 0;
    case CMD_QUERY:
        return (at & 0xff) < QUERY_SIZE ? s->query[at & 0xff] : 0;
    default:
        return s->status;
    }
}

static const MemoryRegionOps pflash_ops = {
    .read = pflash_read,
    .write = pflash_write,
    .valid = { .min = 1, .max = 8, .unaligned = true },
    .impl = { .min = 1, .max = 1 },
};

/* --- Life --- */

static unsigned log2_of(uint64_t n)
{
    return 63 - (unsigned)__builtin_clzll(n);
}

/* JESD68, tables 1 to 4: identification, system interface, geometry. */
static void make_query(Pflash *s)
{
    uint64_t blocks = s->size / s->sector - 1, unit = s->sector / 256;
    static const uint8_t head[] = { 'Q', 'R', 'Y', 0x01, 0x00, 0x31, 0x00 };

    memset(s->query, 0, sizeof(s->query));
    memcpy(s->query + 0x10, head, sizeof(head));
    s->query[0x1b] = 0x45; /* volts, tenths */
    s->query[0x1c] = 0x55;
    s->query[0x1f] = 0x07; /* times, powers of two */
    s->query[0x20] = 0x07;
    s->query[0x21] = 0x0a;
    s->query[0x23] = 0x04;
    s->query[0x24] = 0x04;
    s->query[0x25] = 0x04;
    s->query[0x27] = (uint8_t)log2_of(s->size);
    s->query[0x28] = 0x02; /* 8 bits wide */
    s->query[0x2a] = 0x08; /* 256 bytes a buffer */
    s->query[0x2c] = 1;    /* one region of equal blocks */
    st16_le(s->query + 0x2d, (uint16_t)blocks);
    st16_le(s->query + 0x2f, (uint16_t)unit);
    memcpy(s->query + 0x31, "PRI10", 5);
}

typedef struct ReadAll {
    BlockRequest req;
    int error;
} ReadAll;

static void read_done(BlockRequest *req, int error)
{
    CONTAINER_OF(req, ReadAll, req)->error = error;
}

static bool read_contents(Pflash *s, Error **errp)
{
    struct iovec iov = { s->mem, s->size };
    ReadAll all = {
        .req = { .op = BLOCK_READ, .len = s->size, .iov = &iov, .iov_count = 1, .done = read_done }
    };

    block_submit(s->conf.backend.node, s->engine, &all.req);
    block_engine_drain(s->engine); /* start-up: nothing else waits */
    if (all.error) {
        error_set_errno(errp, all.error, "can't read the drive of flash '%s'",
                        s->name ? s->name : TYPE_PFLASH);
    }
    return !all.error;
}

static bool check_size(Pflash *s, Error **errp)
{
    s->size = block_node_size(s->conf.backend.node);
    if (!is_power_of_two(s->sector) || s->sector < BLOCK_SECTOR || s->sector > 64 * KiB) {
        error_set(errp, "sector-length must be a power of two between 512 and 64 KiB, got %" PRIu64,
                  s->sector);
        return false;
    }
    if (!s->size || s->size % s->sector || s->size > 64 * MiB) {
        error_set(errp,
                  "flash drive of %" PRIu64 " bytes: a multiple of %" PRIu64
                  " bytes, at most 64 MiB, is needed",
                  s->size, s->sector);
        return false;
    }
    return true;
}

static void vm_changed(void *opaque, bool running, RunState state)
{
    if (!running) {
        block_engine_drain(((Pflash *)opaque)->engine);
    }
}

static bool pflash_realize(Device *dev, Error **errp)
{
    Pflash *s = pflash_cast(dev);
    BlockNode *node = s->conf.backend.node;

    if (!node) {
        error_set(errp, "drive is missing: give the id of a drive or a node");
        return false;
    }
    if (!check_size(s, errp) || !block_conf_attach(&s->conf, &dev->parent, node->read_only, errp)) {
        return false;
    }
    s->engine = block_engine_new(event_loop_main(), errp);
    if (!s->engine) {
        goto detach;
    }
    memory_region_finish(&s->region); /* of an earlier realize */
    if (!memory_region_init_rom_device(&s->region, &dev->parent, &pflash_ops, s,
                                       s->name ? s->name : TYPE_PFLASH, s->size, errp)) {
        goto free_engine;
    }
    s->mem = memory_region_ram_ptr(&s->region);
    if (!read_contents(s, errp)) {
        goto free_engine;
    }
    make_query(s);
    s->vm_handler = vm_state_handler_add(vm_changed, 0, s);
    return true;

free_engine:
    block_engine_free(s->engine);
    s->engine = NULL;
detach:
    block_conf_detach(&s->conf);
    return false;
}

static void pflash_unrealize(Device *dev)
{
    Pflash *s = pflash_cast(dev);

    if (s->container) {
        memory_region_del(s->container, &s->region);
        s->container = NULL;
    }
    block_engine_drain(s->engine);
    vm_state_handler_del(s->vm_handler);
    block_engine_free(s->engine);
    s->engine = NULL;
    block_conf_detach(&s->conf);
}

static void pflash_reset(Device *dev)
{
    Pflash *s = pflash_cast(dev);

    s->status = 0;
    s->buffer_at = s->buffer_left = 0;
    s->buffer_base = 0;
    array_mode(s);
}

static void pflash_finalize(Object *obj)
{
    memory_region_finish(&pflash_cast(obj)->region);
}

static bool pflash_post_load(void *opaque, int version, Error **errp)
{
    Pflash *s = opaque;

    if (s->step >= STEP_END || s->buffer_at + (uint64_t)s->buffer_left > BUFFER_SIZE ||
        s->buffer_base >= s->size || (s->step == STEP_BUFFER && !s->buffer_left)) {
        s->step = STEP_COMMAND;
        error_set(errp, "flash: saved in the middle of an impossible command");
        return false;
    }
    memory_region_rom_device_set_romd(&s->region, s->command == CMD_READ_ARRAY ||
                                                      s->command == CMD_READ_ARRAY_OLD);
    return true;
}

static bool pflash_pre_save(void *opaque, Error **errp)
{
    block_engine_drain(((Pflash *)opaque)->engine);
    return true;
}

static const VmState pflash_vmstate = {
    .name = "pflash_cfi01",
    .version = 1,
    .minimum_version = 1,
    .pre_save = pflash_pre_save,
    .post_load = pflash_post_load,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(command, Pflash),
                                      VMSTATE_UINT8(status, Pflash),
                                      VMSTATE_UINT8(step, Pflash),
                                      VMSTATE_UINT32(buffer_at, Pflash),
                                      VMSTATE_UINT32(buffer_left, Pflash),
                                      VMSTATE_UINT64(buffer_base, Pflash),
                                      VMSTATE_BUFFER(buffer, Pflash),
                                      {} },
};

static const Field pflash_properties[] = {
    BLOCK_PROPERTIES(Pflash, conf),
    PROP_UINT64("sector-length", Pflash, sector, SECTOR_DEFAULT,
                .help = "bytes that are erased together"),
    PROP_STRING("name", Pflash, name, NULL, .help = "name of its memory"),
    {}
};

static void pflash_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_STORAGE;
    dc->realize = pflash_realize;
    dc->unrealize = pflash_unrealize;
    dc->reset = pflash_reset;
    dc->vmstate = &pflash_vmstate;
    dc->user_creatable = false; /* somebody has to map it */
    dc->hotpluggable = false;
    dc->bus_type = TYPE_SYSTEM_BUS;
}

static const TypeInfo pflash_info = {
    .name = TYPE_PFLASH,
    .parent = TYPE_DEVICE,
    .help = "parallel flash with the Intel command set",
    .instance_size = sizeof(Pflash),
    .properties = pflash_properties,
    .instance_finalize = pflash_finalize,
    .class_init = pflash_class_init,
};
OBJECT_TYPE(pflash, pflash_info)
