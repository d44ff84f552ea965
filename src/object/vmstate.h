/*
 * State descriptions: what of an object is saved, field by field, versioned. Data only; reading and
 * writing is in migration/.
 *
 *   static const VmState uart_vmstate = {
 *       .name = "serial", .version = 3, .minimum_version = 3,
 *       .fields = (const VmStateField[]){
 *           VMSTATE_UINT16(divider, Uart),
 *           VMSTATE_STRUCT(fifo, Uart, fifo_vmstate),
 *           {}
 *       },
 *   };
 */
#ifndef OBJECT_VMSTATE_H
#define OBJECT_VMSTATE_H

#include "base/compiler.h"
#include "base/error.h"

typedef struct VmState VmState;
typedef struct VmStateField VmStateField;

typedef enum VmStateKind {
    VMSTATE_KIND_UINT, /* size bytes, big-endian in the stream */
    VMSTATE_KIND_INT,
    VMSTATE_KIND_BOOL,
    VMSTATE_KIND_BUFFER, /* size bytes as they are */
    VMSTATE_KIND_STRUCT,
    VMSTATE_KIND_TIMER,  /* Timer *: the deadline, -1 when not armed */
    VMSTATE_KIND_UNUSED, /* size bytes of zeroes */
    VMSTATE_KIND_CUSTOM,
} VmStateKind;

typedef struct VmStateStream VmStateStream; /* migration/ */

/* For what no row can say (rings, lists): reads and writes by hand. */
typedef struct VmStateCustom {
    const char *name;
    bool (*save)(VmStateStream *s, void *slot, const VmStateField *field, Error **errp);
    bool (*load)(VmStateStream *s, void *slot, const VmStateField *field, Error **errp);
} VmStateCustom;

struct VmStateField {
    const char *name;
    VmStateKind kind;
    size_t offset;
    size_t size;  /* bytes of one element */
    size_t count; /* elements; 0 is 1 */
    /* The number of elements is the value of another unsigned field of count_size bytes at
     * count_offset, at most count (which is checked on load). 0: fixed. */
    size_t count_offset, count_size;
    bool pointer;                               /* the slot holds a pointer to the elements */
    int version;                                /* first version that has the field */
    bool (*present)(void *opaque, int version); /* NULL: always */
    const VmState *state;                       /* VMSTATE_KIND_STRUCT */
    const VmStateCustom *custom;
};

struct VmState {
    const char *name;
    int version;
    int minimum_version; /* oldest that can be loaded */
    bool unmigratable;
    int priority; /* higher is loaded earlier */
    bool (*pre_save)(void *opaque, Error **errp);
    void (*post_save)(void *opaque);
    bool (*pre_load)(void *opaque, Error **errp);
    bool (*post_load)(void *opaque, int version, Error **errp);
    bool (*needed)(void *opaque);      /* subsections: whether there is anything to say */
    const VmStateField *fields;        /* ends with a NULL name */
    const VmState *const *subsections; /* ends with NULL; "parent/name" */
};

/*
 * What is to be saved. name "0000:00:02.0/virtio-net" or "cpu" with instance makes an entry unique;
 * instance -1 takes the next free number. name is copied. Machine lock held.
 */
typedef struct VmStateEntry {
    char *name;
    int instance;
    const VmState *state;
    void *opaque;
} VmStateEntry;
void vmstate_register(const char *name, int instance, const VmState *state, void *opaque);
void vmstate_unregister(const VmState *state, void *opaque);
/* In order of registration, by falling priority. */
typedef bool VmStateVisitor(const VmStateEntry *entry, void *opaque);
bool vmstate_foreach(VmStateVisitor *visit, void *opaque);

/* clang-format off */
#define VMSTATE_ROW(f, S, k, ctype, ...) \
    { .name = #f, .kind = (k), .offset = offsetof(S, f) + \
      0 * sizeof(char[__builtin_types_compatible_p(ctype, __typeof__(((S *)0)->f)) ? 1 : -1]), \
      .size = sizeof(ctype), __VA_ARGS__ }
#define VMSTATE_BOOL(f, S, ...)   VMSTATE_ROW(f, S, VMSTATE_KIND_BOOL, bool, __VA_ARGS__)
#define VMSTATE_UINT8(f, S, ...)  VMSTATE_ROW(f, S, VMSTATE_KIND_UINT, uint8_t, __VA_ARGS__)
#define VMSTATE_UINT16(f, S, ...) VMSTATE_ROW(f, S, VMSTATE_KIND_UINT, uint16_t, __VA_ARGS__)
#define VMSTATE_UINT32(f, S, ...) VMSTATE_ROW(f, S, VMSTATE_KIND_UINT, uint32_t, __VA_ARGS__)
#define VMSTATE_UINT64(f, S, ...) VMSTATE_ROW(f, S, VMSTATE_KIND_UINT, uint64_t, __VA_ARGS__)
#define VMSTATE_INT8(f, S, ...)   VMSTATE_ROW(f, S, VMSTATE_KIND_INT, int8_t, __VA_ARGS__)
#define VMSTATE_INT32(f, S, ...)  VMSTATE_ROW(f, S, VMSTATE_KIND_INT, int32_t, __VA_ARGS__)
#define VMSTATE_INT64(f, S, ...)  VMSTATE_ROW(f, S, VMSTATE_KIND_INT, int64_t, __VA_ARGS__)
#define VMSTATE_TIMER(f, S, ...) \
    { .name = #f, .kind = VMSTATE_KIND_TIMER, .offset = offsetof(S, f), .size = 8, __VA_ARGS__ }
/* The member is an array of scalars. */
#define VMSTATE_UINT_ARRAY(f, S, ...) \
    { .name = #f, .kind = VMSTATE_KIND_UINT, .offset = offsetof(S, f), \
      .size = sizeof(((S *)0)->f[0]), .count = sizeof(((S *)0)->f) / sizeof(((S *)0)->f[0]), __VA_ARGS__ }
#define VMSTATE_BUFFER(f, S, ...) \
    { .name = #f, .kind = VMSTATE_KIND_BUFFER, .offset = offsetof(S, f), \
      .size = sizeof(((S *)0)->f), __VA_ARGS__ }
#define VMSTATE_STRUCT(f, S, vms, ...) \
    { .name = #f, .kind = VMSTATE_KIND_STRUCT, .offset = offsetof(S, f), \
      .size = sizeof(((S *)0)->f), .state = &(vms), __VA_ARGS__ }
#define VMSTATE_STRUCT_ARRAY(f, S, vms, ...) \
    { .name = #f, .kind = VMSTATE_KIND_STRUCT, .offset = offsetof(S, f), \
      .size = sizeof(((S *)0)->f[0]), .count = sizeof(((S *)0)->f) / sizeof(((S *)0)->f[0]), \
      .state = &(vms), __VA_ARGS__ }
/* clang-format on */

#endif
