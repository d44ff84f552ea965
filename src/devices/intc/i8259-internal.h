/* The state of the 8259s, for the two that have it: the model here and the one in the kernel. */
#ifndef DEVICES_INTC_I8259_INTERNAL_H
#define DEVICES_INTC_I8259_INTERNAL_H

#include "devices/intc/i8259.h"
#include "memory/memory.h"

typedef enum PicInit { PIC_READY, PIC_WANTS_ICW2, PIC_WANTS_ICW3, PIC_WANTS_ICW4 } PicInit;

typedef struct PicChip {
    uint8_t lines; /* levels on the inputs */
    uint8_t irr, imr, isr;
    uint8_t lowest;      /* input of lowest priority; 7 after ICW1 */
    uint8_t vector_base; /* ICW2 */
    uint8_t cascade;     /* ICW3 */
    uint8_t init;        /* PicInit */
    uint8_t elcr;
    bool want_icw4, single, all_level;
    bool auto_eoi, rotate_on_auto_eoi, special_nested, special_mask;
    bool read_isr, poll;

    /* not state */
    bool master;
    uint8_t elcr_mask;
    MemoryRegion io, elcr_io;
    struct I8259 *pair;
} PicChip;

typedef struct I8259 {
    Device parent;
    PicChip chips[2]; /* master, slave */
    Irq *out;
    bool level; /* of out */
} I8259;

typedef struct I8259Class {
    DeviceClass parent;
    /* Where the chips are in the kernel: copy their state to chips[], and back; a line changed.
     * NULL: chips[] is all there is. */
    void (*fetch)(I8259 *pic);
    void (*store)(I8259 *pic);
    void (*set_line)(I8259 *pic, int n, int level);
} I8259Class;

OBJECT_DECLARE_CLASS(I8259Class, i8259, TYPE_I8259)

#endif
