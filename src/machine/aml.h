/*
 * AML, written in the order it is read: each call appends one term, blocks are opened and closed.
 *
 *     aml_device(a, "RTC_");
 *     aml_name(a, "_HID"), aml_eisa_id(a, "PNP0B00");
 *     aml_end(a);
 *
 * ACPI 6.4 chapter 20. Names are segments of four characters, with '.', '\' and '^' between and
 * before; shorter segments are filled with '_'.
 */
#ifndef MACHINE_AML_H
#define MACHINE_AML_H

#include <glib.h>

#include "base/compiler.h"

#define AML_DEPTH 16

typedef struct Aml {
    GByteArray *bytes; /* owned */
    struct {
        guint start; /* where the length belongs */
        guint count; /* packages: where the number of elements stands; 0: none */
        bool crs;    /* a resource template */
    } open[AML_DEPTH];
    unsigned depth;
} Aml;

void aml_init(Aml *a);
void aml_finish(Aml *a);

/* --- Blocks, closed by aml_end() --- */
void aml_scope(Aml *a, const char *name);
void aml_device(Aml *a, const char *name);
void aml_method(Aml *a, const char *name, unsigned args, bool serialized);
void aml_if(Aml *a); /* the condition follows */
void aml_else(Aml *a);
void aml_while(Aml *a); /* the condition follows */
void aml_package(Aml *a, unsigned elements);
/* Fields of a region: aml_named_field() and aml_reserved_field() follow; bits. */
typedef enum AmlAccess { AML_ANY_ACC, AML_BYTE_ACC, AML_WORD_ACC, AML_DWORD_ACC } AmlAccess;
void aml_field(Aml *a, const char *region, AmlAccess access);
void aml_end(Aml *a);

void aml_named_field(Aml *a, const char *name, unsigned bits);
void aml_reserved_field(Aml *a, unsigned bits);

/* --- Declarations --- */
void aml_name(Aml *a, const char *name); /* the value follows */
typedef enum AmlSpace { AML_SYSTEM_MEMORY, AML_SYSTEM_IO, AML_PCI_CONFIG } AmlSpace;
void aml_operation_region(Aml *a, const char *name, AmlSpace space, uint64_t offset, uint64_t len);
void aml_create_dword_field(Aml *a, const char *buffer, unsigned offset, const char *name);
void aml_mutex(Aml *a, const char *name, unsigned sync_level);

/* --- Values --- */
void aml_int(Aml *a, uint64_t value);
void aml_string(Aml *a, const char *text);
void aml_eisa_id(Aml *a, const char *id);
void aml_buffer(Aml *a, const void *data, unsigned len);
/* The 16 bytes of ToUUID("xxxxxxxx-xxxx-…"). */
void aml_uuid(Aml *a, const char *uuid);
void aml_path(Aml *a, const char *name); /* a reference, or a call: the arguments follow */
void aml_arg(Aml *a, unsigned n);
void aml_local(Aml *a, unsigned n);

/* --- Operators: operands follow, then (for the second group) a target --- */
typedef enum AmlOp {
    AML_STORE = 0x70,
    AML_RETURN = 0xa4,
    AML_NOTIFY = 0x86,
    AML_LNOT = 0x92,
    AML_LAND = 0x90,
    AML_LOR = 0x91,
    AML_LEQUAL = 0x93,
    AML_LGREATER = 0x94,
    AML_LLESS = 0x95,
    AML_INCREMENT = 0x75,
    AML_DEREF_OF = 0x83,
    AML_ADD = 0x72,
    AML_SUBTRACT = 0x74,
    AML_SHIFT_LEFT = 0x79,
    AML_SHIFT_RIGHT = 0x7a,
    AML_AND = 0x7b,
    AML_OR = 0x7d,
    AML_INDEX = 0x88,
} AmlOp;
void aml_op(Aml *a, AmlOp op);
void aml_no_target(Aml *a);
void aml_acquire(Aml *a, const char *mutex);
void aml_release(Aml *a, const char *mutex);

/* --- Resources, ACPI 6.4 section 6.4. Between aml_resources() and aml_end(). --- */
void aml_resources(Aml *a);
void aml_io(Aml *a, uint16_t base, uint8_t align, uint8_t len);
void aml_irq_no_flags(Aml *a, unsigned irq);
/* Level-triggered, active high, shared. */
void aml_interrupt(Aml *a, const uint32_t *irqs, unsigned count);
void aml_memory32_fixed(Aml *a, bool writable, uint32_t base, uint32_t len);
typedef enum AmlWindow { AML_WINDOW_MEMORY, AML_WINDOW_IO, AML_WINDOW_BUS } AmlWindow;
/* A producer's window [first, last], of the smallest kind that holds it. */
void aml_window(Aml *a, AmlWindow kind, bool cacheable, uint64_t first, uint64_t last);

#endif
