/*
 * Property rows: initialisers for the Field tables of object types.
 *
 *   static const Field balloon_properties[] = {
 *       PROP_BOOL("deflate-on-oom", VirtioBalloon, deflate_on_oom, false, "give memory back …"),
 *       PROP_UINT16("port", RootPort, port, 0, .help = "…"),
 *       PROP_LINK("iothread", VirtioBalloon, iothread, TYPE_IOTHREAD, .help = "…"),
 *       {}
 *   };
 *
 * Further members of Field can be given at the end of each row. The default lies in the row; a
 * property is settable before realize only, unless .flags has FIELD_LATE.
 */
#ifndef OBJECT_PROPERTY_H
#define OBJECT_PROPERTY_H

#include "base/value.h"
#include "object/object.h"

/* Checks at compile time that the member has the row's C type. */
#define PROP_OFFSET(Struct, member, ctype)                                                   \
    (offsetof(Struct, member) +                                                              \
     0 * sizeof(                                                                             \
             char[__builtin_types_compatible_p(ctype, __typeof__(((Struct *)0)->member)) ? 1 \
                                                                                         : -1]))

#define PROP_SCALAR(pname, Struct, member, ctype, vtype, defmember, defvalue, ...)       \
    {                                                                                    \
        .name = (pname), .type = &(vtype), .offset = PROP_OFFSET(Struct, member, ctype), \
        .flags = FIELD_DEFAULT, .def.defmember = (defvalue), __VA_ARGS__                 \
    }

/* clang-format off */
#define PROP_BOOL(n, S, m, d, ...)   PROP_SCALAR(n, S, m, bool, value_type_bool, u, d, __VA_ARGS__)
#define PROP_UINT8(n, S, m, d, ...)  PROP_SCALAR(n, S, m, uint8_t, value_type_uint8, u, d, __VA_ARGS__)
#define PROP_UINT16(n, S, m, d, ...) PROP_SCALAR(n, S, m, uint16_t, value_type_uint16, u, d, __VA_ARGS__)
#define PROP_UINT32(n, S, m, d, ...) PROP_SCALAR(n, S, m, uint32_t, value_type_uint32, u, d, __VA_ARGS__)
#define PROP_UINT64(n, S, m, d, ...) PROP_SCALAR(n, S, m, uint64_t, value_type_uint64, u, d, __VA_ARGS__)
#define PROP_INT32(n, S, m, d, ...)  PROP_SCALAR(n, S, m, int32_t, value_type_int32, i, d, __VA_ARGS__)
#define PROP_INT64(n, S, m, d, ...)  PROP_SCALAR(n, S, m, int64_t, value_type_int64, i, d, __VA_ARGS__)
#define PROP_SIZE(n, S, m, d, ...)   PROP_SCALAR(n, S, m, uint64_t, value_type_size, u, d, __VA_ARGS__)
/* clang-format on */
/* char *; the default may be NULL */
#define PROP_STRING(n, S, m, d, ...) PROP_SCALAR(n, S, m, char *, value_type_str, s, d, __VA_ARGS__)
#define PROP_ON_OFF_AUTO(n, S, m, d, ...) \
    PROP_SCALAR(n, S, m, OnOffAuto, value_type_on_off_auto, i, d, __VA_ARGS__)
/* The member is an int or the enum itself; vtype is a VALUE_ENUM type. */
#define PROP_ENUM(pname, S, m, vtype, d, ...)                                                     \
    {                                                                                             \
        .name = (pname), .type = &(vtype),                                                        \
        .offset = offsetof(S, m) + 0 * sizeof(char[sizeof(((S *)0)->m) == sizeof(int) ? 1 : -1]), \
        .flags = FIELD_DEFAULT, .def.i = (d), __VA_ARGS__                                         \
    }
/* One bit of an unsigned member, seen as a bool. */
#define PROP_BIT(pname, S, m, bitnr, d, ...)                                                      \
    {                                                                                             \
        .name = (pname), .type = &value_type_bool, .offset = offsetof(S, m), .bit = (bitnr),      \
        .width = MEMBER_SIZE(S, m), .flags = FIELD_DEFAULT | FIELD_BIT, .def.u = (d), __VA_ARGS__ \
    }
/* Inclusive range, for the integer rows: PROP_UINT16("x", S, x, 1, PROP_RANGE(1, 8)). A row that
 * has it sets flags itself. */
#define PROP_RANGE(lo, hi) .flags = FIELD_DEFAULT | FIELD_RANGE, .min = (lo), .max = (hi)

/* A reference to another object by path or id; the member is an Object * (or derived) and owns a
 * reference. */
extern const ValueType value_type_link;
#define PROP_LINK(pname, S, m, target_type, ...)                                               \
    {                                                                                          \
        .name = (pname), .type = &value_type_link,                                             \
        .offset =                                                                              \
            offsetof(S, m) + 0 * sizeof(char[sizeof(((S *)0)->m) == sizeof(void *) ? 1 : -1]), \
        .flags = FIELD_OPTIONAL, .data = (target_type), __VA_ARGS__                            \
    }
/* A list: the member is a struct { size_t len; T *items; }; vtype is a VALUE_LIST type. */
#define PROP_LIST(pname, S, m, vtype, ...)                                                        \
    {                                                                                             \
        .name = (pname), .type = &(vtype),                                                        \
        .offset =                                                                                 \
            offsetof(S, m) + 0 * sizeof(char[sizeof(((S *)0)->m) == sizeof(ValueList) ? 1 : -1]), \
        .flags = FIELD_OPTIONAL, __VA_ARGS__                                                      \
    }
/* A type of its own (backends, addresses): vtype is VALUE_CUSTOM. */
#define PROP_CUSTOM(pname, S, m, vtype, ...)                                     \
    {                                                                            \
        .name = (pname), .type = &(vtype), .offset = offsetof(S, m), __VA_ARGS__ \
    }

/* As introspection shows it: "uint16", "link<iothread>"; owned by the caller. */
char *property_type_name(const Field *row);
/* New reference; NULL if the row has none. */
json_t *property_default(const Field *row);
/* "  port=<uint16>          - what it is (1..8) (default: 0)\n" */
void property_print_help(const Field *row, GString *out);

#endif
