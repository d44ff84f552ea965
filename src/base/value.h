/*
 * Typed values described as data.
 *
 * One description of a field (name, type, offset, default, range, help) serves command line, config
 * file, monitor, object properties, documentation and introspection. The schema generator emits
 * these tables for options and commands; object types write them by hand as property rows
 * (object/property.h).
 *
 * A value comes in as JSON (jansson), objects without duplicate keys. The mode says whether scalars
 * may be written as text: command-line keyval and config files give strings for everything, QMP
 * gives typed JSON.
 *
 * C representation of a record: a plain struct.
 *   scalar                T name;
 *   optional scalar       bool has_name; T name;          (Field.has_offset)
 *   string                char *name;                     NULL when absent; owned
 *   record, union, alternate   T name; optional: T *name; owned (FIELD_POINTER)
 *   list of T             struct { size_t len; T *items; } name;  owned; items is NULL when absent
 *   any                   json_t *name;                   NULL when absent; owned reference
 * A field with a default is always present. No has_offset, rest_offset or variant_offset is 0, so
 * the bool of an optional scalar lies behind its value. A zeroed struct is a valid empty value for
 * value_release().
 */
#ifndef BASE_VALUE_H
#define BASE_VALUE_H

#include <jansson.h>

#include "base/compiler.h"
#include "base/error.h"

typedef enum ValueKind {
    VALUE_BOOL,
    VALUE_INT,    /* signed, ValueType.size bytes */
    VALUE_UINT,   /* unsigned, ValueType.size bytes */
    VALUE_SIZE,   /* uint64_t bytes; text may carry a suffix */
    VALUE_NUMBER, /* double */
    VALUE_STR,
    VALUE_ENUM,      /* int, an index into EnumDesc.names */
    VALUE_RECORD,    /* struct */
    VALUE_UNION,     /* struct; one of its fields selects further fields */
    VALUE_ALTERNATE, /* struct { int kind; union {…} }: kind is an index into the branches */
    VALUE_LIST,      /* ValueList */
    VALUE_ANY,       /* json_t * */
    VALUE_NULL,      /* JSON null, in alternates; a bool that says nothing */
    VALUE_CUSTOM,    /* ValueType.custom parses and prints */
} ValueKind;

/* How scalars may be written. */
typedef enum ValueMode {
    VALUE_MODE_TYPED, /* JSON types must match (QMP) */
    /* Strings are parsed for any scalar (command line, config files); typed JSON is taken, too. A
     * scalar stands for a list of one, "4-7" for a list of integers. */
    VALUE_MODE_TEXT,
} ValueMode;

typedef struct ValueType ValueType;
typedef struct Field Field;

typedef struct ValueList {
    size_t len;
    void *items; /* len elements of element->size bytes */
} ValueList;

typedef struct EnumDesc {
    const char *name;
    const char *const *names; /* count entries; NULL entries are holes (never valid) */
    const char *const *help;  /* count entries or NULL */
    int count;
    const unsigned *flags; /* count entries, FIELD_UNSTABLE and FIELD_DEPRECATED; or NULL */
} EnumDesc;

/* One row of an alternate. The branches whose JSON type fits are tried in order, so one that takes
 * any string comes last. */
typedef struct AlternateBranch {
    const char *name;
    const ValueType *type;
} AlternateBranch;

typedef struct ValueCustom {
    /* Parse json into *slot, replacing (and releasing) the old value only on success. owner is the
     * struct or object that holds the slot. */
    bool (*parse)(void *owner, const Field *field, void *slot, json_t *json, ValueMode mode,
                  Error **errp);
    /* New reference; NULL with an error if it can't be shown. */
    json_t *(*print)(const void *owner, const Field *field, const void *slot, Error **errp);
    /* Free what the slot owns and leave it zeroed; may be NULL. */
    void (*release)(void *owner, const Field *field, void *slot);
} ValueCustom;

struct ValueType {
    ValueKind kind;
    const char *name; /* as introspection shows it: "bool", "uint16", "size", "OnOffAuto", … */
    size_t size;      /* bytes of the C representation */
    /* What introspection says of the type beyond its members; ends with NULL, NULL allowed. */
    const char *const *features;
    union {
        uint64_t unit;               /* VALUE_SIZE: of text without suffix; 0: bytes */
        const EnumDesc *enumeration; /* VALUE_ENUM */
        struct {                     /* VALUE_RECORD, VALUE_UNION */
            const Field *fields;     /* ends with a NULL name; base fields of a union */
            /* Keys not listed are collected here instead of being an error: offset of a json_t *
             * object; 0 means closed. */
            size_t rest_offset;
            /* VALUE_MODE_TEXT: the member that a value without a key is ("-device DRIVER"); NULL:
             * none. */
            const char *implied;
            /* An open record whose further keys are the properties of the object type that the
             * member rest_by names, one below the type rest_of; NULL: not so. */
            const char *rest_by, *rest_of;
            bool rest_unlisted; /* too many for introspection to list */
            /* VALUE_UNION: the enum field that selects, and per enum value a record (or NULL) whose
             * struct lies at variant_offset. */
            const Field *discriminator;
            const ValueType *const *variants;
            size_t variant_offset;
        } record;
        struct { /* VALUE_ALTERNATE */
            const AlternateBranch *branches;
            int count;
            size_t value_offset;
        } alternate;
        const ValueType *element; /* VALUE_LIST */
        const ValueCustom *custom;
    };
};

typedef enum FieldFlags {
    FIELD_OPTIONAL = 1 << 0, /* may be absent and has no default */
    FIELD_DEFAULT = 1 << 1,  /* absent means Field.def */
    FIELD_POINTER = 1 << 2,  /* optional record held by pointer */
    FIELD_RANGE = 1 << 3,    /* min and max apply */
    FIELD_BIT = 1 << 4,      /* VALUE_BOOL kept as bit Field.bit of an unsigned of Field.width */
    FIELD_READONLY = 1 << 5, /* properties: can't be set from outside */
    FIELD_LATE = 1 << 6,     /* properties: may be set after realize */
    FIELD_UNSTABLE = 1 << 7, /* no compatibility promise ("x-…") */
    FIELD_DEPRECATED = 1 << 8,
    FIELD_REALIZED = 1 << 9, /* properties: setting needs realize to have happened */
} FieldFlags;

struct Field {
    const char *name;
    const ValueType *type;
    size_t offset;     /* of the slot in the struct */
    size_t has_offset; /* of the bool of an optional scalar; 0: none */
    unsigned flags;    /* FieldFlags */
    uint8_t bit;       /* FIELD_BIT */
    uint8_t width;     /* FIELD_BIT: bytes of the word the bit lies in */
    union {
        int64_t i;
        uint64_t u; /* bool: 0 or 1; enum: index */
        double d;
        const char *s; /* VALUE_STR; VALUE_CUSTOM: parsed as text */
    } def;
    /* FIELD_RANGE, inclusive: of a number, each number of a list, the bytes of a string. For
     * unsigned types min and max are compared as unsigned. */
    int64_t min;
    int64_t max;
    const char *help; /* one line */
    const void *data; /* what VALUE_CUSTOM needs (link: the target type's name) */
};

/* The scalar types everything shares. */
extern const ValueType value_type_bool, value_type_str, value_type_any, value_type_number,
    value_type_size, value_type_null;
/* A size of which a number without suffix means MiB in text (-m 512) */
extern const ValueType value_type_size_mib;
extern const ValueType value_type_int8, value_type_int16, value_type_int32, value_type_int64;
extern const ValueType value_type_uint8, value_type_uint16, value_type_uint32, value_type_uint64;
/* VALUE_INT of 8 bytes that introspection calls "int" */
extern const ValueType value_type_int;

/* Lists of the scalars: value_type_str_list is a StrList, … */
#define VALUE_LIST_OF(Name, ctype) \
    typedef struct Name {          \
        size_t len;                \
        ctype *items;              \
    } Name
VALUE_LIST_OF(BoolList, bool);
VALUE_LIST_OF(StrList, char *);
VALUE_LIST_OF(AnyList, json_t *);
VALUE_LIST_OF(NumberList, double);
VALUE_LIST_OF(SizeList, uint64_t);
VALUE_LIST_OF(IntList, int64_t);
VALUE_LIST_OF(Int8List, int8_t);
VALUE_LIST_OF(Int16List, int16_t);
VALUE_LIST_OF(Int32List, int32_t);
VALUE_LIST_OF(Int64List, int64_t);
VALUE_LIST_OF(Uint8List, uint8_t);
VALUE_LIST_OF(Uint16List, uint16_t);
VALUE_LIST_OF(Uint32List, uint32_t);
VALUE_LIST_OF(Uint64List, uint64_t);
extern const ValueType value_type_bool_list, value_type_str_list, value_type_any_list,
    value_type_number_list, value_type_size_list, value_type_int_list;
extern const ValueType value_type_int8_list, value_type_int16_list, value_type_int32_list,
    value_type_int64_list;
extern const ValueType value_type_uint8_list, value_type_uint16_list, value_type_uint32_list,
    value_type_uint64_list;

/* "on", "off", "auto" is the order of the command line's help; auto is 0, so that zeroed means
 * auto. */
typedef enum OnOffAuto { ON_OFF_AUTO_AUTO, ON_OFF_AUTO_ON, ON_OFF_AUTO_OFF } OnOffAuto;
extern const EnumDesc enum_on_off_auto;
extern const ValueType value_type_on_off_auto;

/*
 * Parse json into the value at slot (zeroed by the caller). On failure the slot is released and
 * zeroed, and the error names the path ("backend.data.addr"), the value and what would be right:
 *   Parameter 'x' expects an integer between 1 and 8, got '9'
 *   Unknown parameter 'adrr' for type 'socket'; did you mean 'addr'?
 */
MUST_CHECK bool value_parse(const ValueType *type, void *slot, json_t *json, ValueMode mode,
                            Error **errp);

/* One field of a record or object: checks type and range, then replaces the old value. */
MUST_CHECK bool field_parse(void *owner, const Field *field, json_t *json, ValueMode mode,
                            Error **errp);
/* New reference; NULL with an error (VALUE_CUSTOM), or NULL without one for an absent value. */
json_t *field_print(const void *owner, const Field *field, Error **errp);
void field_release(void *owner, const Field *field);
/* Store the default; a field without one is left zeroed. */
void field_set_default(void *owner, const Field *field);

/* Give every field of a record its default. slot must be zeroed. */
void value_set_defaults(const ValueType *type, void *slot);

/* New reference; absent optional fields are left out. */
json_t *value_print(const ValueType *type, const void *slot);

/* Free everything the value owns and zero it. */
void value_release(const ValueType *type, void *slot);
/* value_release() and g_free(); NULL allowed. */
void value_free(const ValueType *type, void *value);
/* Deep copy into a zeroed slot. */
void value_copy(const ValueType *type, void *dst, const void *src);

/* Index of name, or -1. */
int enum_parse(const EnumDesc *desc, const char *name);
/* NULL when out of range. */
const char *enum_name(const EnumDesc *desc, int value);
/* Index of text, or -1 with "Parameter 'P' expects one of a, b, c, got 'x'…". */
int enum_parse_or_error(const EnumDesc *desc, const char *param, const char *text, Error **errp);

/* The field called name in a NULL-terminated table, or NULL. */
const Field *field_find(const Field *fields, const char *name);

/* An unsigned integer of 1, 2, 4 or 8 bytes; storing takes its low bytes. */
uint64_t value_load_uint(const void *slot, size_t size);
void value_store_int(void *slot, size_t size, uint64_t value);

#endif
