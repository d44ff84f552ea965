/*
 * Block nodes: disks as the host has them. A node reads and writes bytes of a fixed range; nodes
 * stack (raw over file). Nodes have names and live until they are deleted; who uses one holds a
 * reference.
 *
 * Requests are asynchronous. They are submitted to a node through an engine, which belongs to one
 * event loop: submission and completion happen in its thread. Making and deleting nodes needs the
 * machine lock.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <sys/uio.h>

#include "base/compiler.h"
#include "base/error.h"
#include "event/loop.h"
#include "schema/block.h"

#define BLOCK_SECTOR 512 /* bytes */

typedef struct BlockNode BlockNode;
typedef struct BlockEngine BlockEngine;
typedef struct BlockRequest BlockRequest;
typedef struct BlockFileIo BlockFileIo;

typedef enum BlockOp {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_WRITE_ZEROES,
    BLOCK_SECURE_ERASE, /* discard, and no copy is left anywhere */
    BLOCK_OP_COUNT,
} BlockOp;

enum {
    BLOCK_FUA = 1 << 0,       /* writes: on stable storage when done */
    BLOCK_MAY_UNMAP = 1 << 1, /* zeroes: by giving space back */
};

/* Embedded in the caller's struct; not touched between submission and done. */
struct BlockRequest {
    BlockOp op;
    unsigned flags;
    uint64_t offset, len;    /* bytes */
    const struct iovec *iov; /* reads and writes: len bytes; borrowed until done */
    unsigned iov_count;
    /* Once, in the engine's thread; may be called before block_submit() returns. error: 0 or an
     * errno. The request may be freed in it. */
    void (*done)(BlockRequest *req, int error);

    /* private */
    BlockEngine *engine;
    const BlockFileIo *file_io; /* of the node; lives as long as it */
    BlockRequest *next;
    uint64_t moved;     /* bytes read or written so far */
    struct iovec *rest; /* owned: what is left after a short transfer, or the bounce buffer */
    unsigned rest_count;
    void *bounce; /* owned */
    int error;
};

typedef struct BlockDriver {
    const char *name;
    size_t size; /* of the struct that begins with BlockNode */
    /* options: the record of the driver. */
    bool (*open)(BlockNode *node, const BlockdevOptions *options, Error **errp);
    void (*close)(BlockNode *node);
    void (*submit)(BlockNode *node, BlockRequest *req);
    /* Grow or shrink; NULL: can't. */
    bool (*resize)(BlockNode *node, uint64_t size, Error **errp);
    /* Look again how long it is (a device that grew); NULL: never changes. */
    bool (*refresh)(BlockNode *node, Error **errp);
} BlockDriver;

struct BlockNode {
    const BlockDriver *driver;
    char *name;        /* node-name; made up where the user gave none */
    char *filename;    /* for people; NULL */
    unsigned refcount; /* machine lock */
    bool user_made;    /* by -blockdev or blockdev-add: blockdev-del may remove it */
    BlockNode *child;  /* reference; NULL: a leaf */
    void *user;        /* the device or node that uses it; NULL: free */
    char *user_name;

    uint64_t size;      /* bytes; atomic */
    uint32_t alignment; /* bytes: offsets and lengths must be multiples of this */
    bool secure_erase;  /* its host device may know how */
    bool read_only, no_flush, direct, discard, detect_zeroes, detect_zeroes_unmap;
    BlockNode *next; /* all nodes */
};

/* --- Nodes --- */

/* Borrowed; the reference that keeps it is the list's, dropped by block_node_del(). */
BlockNode *block_node_add(const BlockdevOptions *options, Error **errp);
/* As add, the caller gets the only reference; without a name one is made up. */
BlockNode *block_node_open(const BlockdevOptions *options, Error **errp);
MUST_CHECK bool block_node_del(const char *name, Error **errp);
BlockNode *block_node_find(const char *name);
void block_node_ref(BlockNode *node);
void block_node_unref(BlockNode *node);
typedef bool BlockNodeVisitor(BlockNode *node, void *opaque);
void block_node_foreach(BlockNodeVisitor *visit, void *opaque);
/* One user at a time. name: for messages. */
MUST_CHECK bool block_node_claim(BlockNode *node, void *user, const char *name, Error **errp);
void block_node_release(BlockNode *node, void *user);
/* For drivers with a child: the node named, or made from the definition, claimed for parent. */
BlockNode *block_node_open_child(BlockNode *parent, const BlockdevRef *ref, Error **errp);
uint64_t block_node_size(const BlockNode *node); /* any thread */
MUST_CHECK bool block_node_resize(BlockNode *node, uint64_t size, Error **errp);
/* All nodes and drives (end of the machine). Users must be gone. */
void block_finish_all(void);

/* --- Requests --- */

/* Checks range, alignment and permission; errors arrive through done too. */
void block_submit(BlockNode *node, BlockEngine *engine, BlockRequest *req);
/* For drivers: hand on to the node below. */
void block_node_submit(BlockNode *node, BlockRequest *req);
/* For drivers. */
void block_request_done(BlockRequest *req, int error);

/* --- Engines --- */

/* io_uring where the host has it, threads otherwise. NULL with an error when neither can be had. */
BlockEngine *block_engine_new(EventLoop *loop, Error **errp);
/* Nothing may be in flight. The loop's thread, or any while that is not running it. */
void block_engine_free(BlockEngine *engine); /* NULL allowed */
/* Collect submissions and hand them over at once; calls nest. */
void block_engine_plug(BlockEngine *engine);
void block_engine_unplug(BlockEngine *engine);
/* Wait until nothing is in flight, calling done functions. The engine's thread. */
void block_engine_drain(BlockEngine *engine);
unsigned block_engine_in_flight(const BlockEngine *engine);
bool block_engine_has_uring(const BlockEngine *engine);

/* For drivers over a descriptor: do req on fd. threads: not through io_uring. is_device: a block
 * device (discard and zeroes are ioctls). */
struct BlockFileIo {
    int fd;
    bool threads, is_device, no_flush;
    uint64_t sleep_ns;         /* fd -1: just take this long, in a thread */
    uint32_t memory_alignment; /* bytes that buffers must be aligned to (O_DIRECT); 1: any */
};
void block_engine_file_io(BlockEngine *engine, const BlockFileIo *io, BlockRequest *req);

/* --- Drivers --- */
extern const BlockDriver block_driver_file, block_driver_host_device, block_driver_raw,
    block_driver_null;

#endif
