/* JSON text with numbers up to 2^64-1. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <jansson.h>

/*
 * As json_loadb(). Integers from 2^63 to 2^64-1, which the library refuses, become the negative
 * number of the same 64 bits; that is how the value engine takes the upper half of uint64.
 */
json_t *json_load_text(const char *text, size_t len, size_t flags, json_error_t *why);

#endif
