/*
 * The option grammar: "key=value,key=value" into a JSON object whose scalars are strings.
 *
 *   a.b=x             nested: {"a": {"b": "x"}}
 *   l.0=x,l.1=y       lists, by index: {"l": ["x", "y"]}
 *   a=x,,y            a comma in a value is doubled: {"a": "x,y"}
 *   x,a=1             a first item without key belongs to the type's implied member
 *   flag / noflag     a known key without value is flag=on / flag=off
 *   help, ?           anywhere, or as the implied member's value: help is asked for
 *
 * The type, which may be NULL, is only asked for names: the implied member, the known keys, and
 * which of them are lists and may therefore be repeated.
 */
#ifndef CONFIG_KEYVAL_H
#define CONFIG_KEYVAL_H

#include "base/value.h"

/* *help is set when help is asked for; the rest of the text is parsed all the same. New reference;
 * NULL with an error. */
json_t *keyval_parse(const char *text, const ValueType *type, bool *help, Error **errp);

/* Add one dotted key to a tree of objects that keyval_finish() turns into lists where keys are
 * indices. */
MUST_CHECK bool keyval_add(json_t *tree, const char *key, const char *value, const ValueType *type,
                           Error **errp);
/* Takes ownership of tree; NULL with an error. */
json_t *keyval_finish(json_t *tree, Error **errp);

/* The other way: the object as "key=value,…"; g_free. NULL with an error where the grammar can't
 * say it (null, empty lists and objects). */
char *keyval_format(json_t *object, Error **errp);
/* Calls add for each scalar with its dotted key and its text; false stops. */
typedef bool KeyvalVisitor(const char *key, const char *value, void *opaque, Error **errp);
MUST_CHECK bool keyval_flatten(json_t *object, KeyvalVisitor *visit, void *opaque, Error **errp);

/* A value with its commas doubled; g_free. */
char *keyval_escape(const char *value);

#endif
