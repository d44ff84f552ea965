/*
 * The disk of a device: a node, what happens when requests fail, and counters; and drives (-drive),
 * which are nodes with an id and a connection for the machine to make. Machine lock, except where
 * it says otherwise.
 */
#ifndef BLOCK_BACKEND_H
#define BLOCK_BACKEND_H

#include "block/block.h"
#include "object/property.h"

typedef struct BlockCounters {
    uint64_t bytes, operations, failed, invalid;
    uint64_t time_ns;
} BlockCounters;

/* In a device's struct; the property "drive" fills node. */
typedef struct BlockBackend {
    BlockNode *node;                 /* reference; NULL: no medium */
    struct BlockDrive *drive;        /* that the node came from; NULL */
    Object *device;                  /* that uses it, once attached; borrowed */
    void (*resized)(Object *device); /* the node has another size now; NULL */
    bool read_only;
    bool write_through; /* each write on the medium before it is done */
    BlockdevOnError rerror, werror;
    BlockDeviceIoStatus io_status;          /* since the machine last went on */
    BlockCounters counters[BLOCK_OP_COUNT]; /* relaxed atomics: any thread */
    uint64_t highest_write;
    struct BlockBackend *next; /* all attached */
} BlockBackend;

/* What devices of this kind have in common. */
typedef struct BlockConf {
    BlockBackend backend;
    int32_t bootindex;                                /* -1: none */
    uint32_t logical_block_size, physical_block_size; /* bytes */
    uint32_t min_io_size, opt_io_size;                /* bytes; 0: unknown */
    uint32_t discard_granularity;                     /* bytes; UINT32_MAX: logical block size */
    OnOffAuto write_cache;
    BlockdevOnError rerror, werror;
} BlockConf;

extern const ValueType value_type_block_drive;

#define BLOCK_PROPERTIES(S, conf)                                                                 \
    PROP_CUSTOM("drive", S, conf.backend, value_type_block_drive, .flags = FIELD_OPTIONAL,        \
                .help = "id of the drive, or node name"),                                         \
        PROP_INT32("bootindex", S, conf.bootindex, -1, PROP_RANGE(-1, INT32_MAX),                 \
                   .help = "place in the order that firmware boots from; -1: none"),              \
        PROP_UINT32("logical_block_size", S, conf.logical_block_size, 512,                        \
                    .help = "bytes of a block as the guest addresses it"),                        \
        PROP_UINT32("physical_block_size", S, conf.physical_block_size, 512,                      \
                    .help = "bytes of a block as the medium writes it"),                          \
        PROP_UINT32("min_io_size", S, conf.min_io_size, 0,                                        \
                    .help = "bytes; smallest efficient I/O"),                                     \
        PROP_UINT32("opt_io_size", S, conf.opt_io_size, 0, .help = "bytes; best I/O"),            \
        PROP_UINT32("discard_granularity", S, conf.discard_granularity, UINT32_MAX,               \
                    .help = "bytes that a discard should be a multiple of"),                      \
        PROP_ON_OFF_AUTO("write-cache", S, conf.write_cache, ON_OFF_AUTO_AUTO,                    \
                         .help = "writes are done before they are on the medium"),                \
        PROP_ENUM("rerror", S, conf.rerror, value_type_blockdev_on_error, BLOCKDEV_ON_ERROR_AUTO, \
                  .help = "when a read fails"),                                                   \
        PROP_ENUM("werror", S, conf.werror, value_type_blockdev_on_error, BLOCKDEV_ON_ERROR_AUTO, \
                  .help = "when a write fails")

/* Check the sizes and attach to the device: claims the node, settles the defaults. */
MUST_CHECK bool block_conf_attach(BlockConf *conf, Object *device, bool read_only, Error **errp);
void block_conf_detach(BlockConf *conf);

typedef enum BlockErrorChoice {
    BLOCK_ERROR_IGNORE,
    BLOCK_ERROR_REPORT,
    BLOCK_ERROR_STOP
} BlockErrorChoice;
/* What to do about a failed request; sends BLOCK_IO_ERROR, and stops the machine where that is the
 * choice. */
BlockErrorChoice block_backend_error(BlockBackend *b, bool is_read, int error);
/* Any thread. */
void block_backend_count(BlockBackend *b, BlockOp op, uint64_t bytes, int64_t ns, bool ok);

/* A write that ended there was done. Any thread. */
void block_backend_note_write(BlockBackend *b, uint64_t end);

/* --- Drives --- */

typedef struct BlockDrive {
    char *id;
    DriveInterface interface;
    bool has_interface;
    int index, bus, unit;
    bool by_bus; /* bus or unit were given, not index */
    DriveMedia media;
    BlockNode *node; /* reference; NULL: empty (CD-ROM, floppy) */
    bool write_through;
    BlockdevOnError rerror, werror;
    bool taken; /* a device, or the board, uses it */
    struct BlockDrive *next;
} BlockDrive;

/* Make what -drive says. Borrowed. */
BlockDrive *block_drive_add(const DriveOptions *options, Error **errp);
BlockDrive *block_drive_find(const char *id);
/* For boards: the drive of an interface at bus and unit, or the nth by index; NULL. */
BlockDrive *block_drive_get(DriveInterface interface, int bus, int unit);
BlockDrive *block_drive_by_index(DriveInterface interface, int index);
typedef bool BlockDriveVisitor(BlockDrive *drive, void *opaque);
void block_drive_foreach(BlockDriveVisitor *visit, void *opaque);
void block_drives_finish(void);
/* Drives that nothing took, one warning each. */
void block_drives_check_unused(void);
/* info block */
void block_print_info(GString *out);

typedef bool BlockBackendVisitor(BlockBackend *b, void *opaque);
void block_backend_foreach(BlockBackendVisitor *visit, void *opaque);

#endif
