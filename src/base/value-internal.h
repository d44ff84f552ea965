/* What the halves of the value engine share. */
#ifndef BASE_VALUE_INTERNAL_H
#define BASE_VALUE_INTERNAL_H

#include <glib.h>

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

/* As value_release(), value_print() and value_copy(), with the field that holds the value: custom
 * types look at it. field may be NULL. */
void value_release_in(const ValueType *type, void *owner, const Field *field, void *slot);

/*
 * --- Parsing ---
 *
 * Every error names the path to the value, so the parser carries a chain of Steps on the stack; it
 * is rendered only when something is wrong.
 */

/* Where in the value we are: a member name or, without a name, a list index. */
typedef struct Step {
    const struct Step *outer;
    const char *name;
    size_t index;
} Step;

typedef struct Parser {
    ValueMode mode;
    Error **errp;
} Parser;

/* Who owns the value being parsed: what custom types and ranges look at. */
typedef struct Place {
    void *owner;
    const Field *field; /* NULL at the top */
    const Step *step;   /* NULL at the top */
} Place;

bool value_parse_scalar(Parser *p, const ValueType *type, void *slot, json_t *json, Place at);
bool value_parse_bool(Parser *p, const ValueType *type, bool *slot, json_t *json, Place at);

/* "backend.data.addr" */
void value_append_path(GString *path, const Step *step);
/* "Parameter 'backend.addr'", or the type's name at the top; g_free */
char *value_subject(const Step *step, const ValueType *type);
/* A text from outside, quoted, bounded and without control characters; g_free */
char *value_quote(const char *text);
/* "Parameter 'x' expects WHAT, got 'y'"; false */
bool value_fail_expected(Parser *p, const ValueType *type, const Place *at, json_t *json,
                         const char *what);

#endif
