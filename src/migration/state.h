/*
 * The state of devices, written to and read from memory as their descriptions say
 * (object/vmstate.h). Numbers are big-endian.
 *
 *   machine   entries, in the order of loading, each
 *             u16 length, name | u32 instance | u32 version | u32 length, body
 *   body      the fields of the description in order; then u8 number of subsections, each
 *             u8 length, name | u32 version | u32 length, body
 *   struct    u32 version, then a body for each element
 *
 * What is read is not trusted: lengths are bounded by what is there, a body must be used up to its
 * last byte, versions and counts must be in range. After a failed load the state of the objects is
 * undefined until they are reset. Machine lock held, machine stopped.
 */
#ifndef MIGRATION_STATE_H
#define MIGRATION_STATE_H

#include <glib.h>

#include "object/vmstate.h"

struct VmStateStream {
    GByteArray *out;   /* writing: borrowed */
    const uint8_t *in; /* reading: borrowed */
    size_t len, at;    /* bytes of in, and how many of them were read */
};

/* One object. */
MUST_CHECK bool state_save(const VmState *state, void *opaque, GByteArray *out, Error **errp);
/* version: as which the bytes were saved. */
MUST_CHECK bool state_load(const VmState *state, void *opaque, int version, const void *data,
                           size_t len, Error **errp);

/* Everything that is registered with vmstate_register(). */
MUST_CHECK bool state_save_machine(GByteArray *out, Error **errp);
/* Each entry of the bytes must be there, and each entry that is there must be in the bytes. */
MUST_CHECK bool state_load_machine(const void *data, size_t len, Error **errp);

/* For VmStateCustom. */
void state_put(VmStateStream *s, const void *data, size_t len);
void state_put_number(VmStateStream *s, uint64_t value, size_t size);
MUST_CHECK bool state_get(VmStateStream *s, void *data, size_t len, Error **errp);
MUST_CHECK bool state_get_number(VmStateStream *s, uint64_t *value, size_t size, Error **errp);

#endif
