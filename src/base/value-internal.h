/* What the halves of the value engine share. */
#ifndef BASE_VALUE_INTERNAL_H
#define BASE_VALUE_INTERNAL_H

#include "base/value.h"

static inline void *field_slot(const void *owner, const Field *field)
{
    return (char *)owner + field->offset;
}

static inline void *value_at(const void *slot, size_t offset)
{
    return (char *)slot + offset;
}

static inline size_t value_alloc_size(const ValueType *type)
{
    return type->size ? type->size : 1;
}

/* Whether the field has a value that printing and copying see. */
bool field_present(const void *owner, const Field *field);

/* The record that the union's discriminator selects, or NULL. */
const ValueType *union_variant(const ValueType *type, const void *slot);

/* Integers of 1, 2, 4 or 8 bytes. */
int64_t value_load_int(const void *slot, size_t size);
uint64_t value_load_uint(const void *slot, size_t size);
void value_store_int(void *slot, size_t size, uint64_t value);

/* As value_release(), value_print() and value_copy(), with the field that holds the value: custom
 * types look at it. field may be NULL. */
void value_release_in(const ValueType *type, void *owner, const Field *field, void *slot);

#endif
