/* The state of the 8254, for the two that have it: the model here and the one in the kernel. */
#ifndef DEVICES_TIMER_I8254_INTERNAL_H
#define DEVICES_TIMER_I8254_INTERNAL_H

#include "devices/timer/i8254.h"
#include "event/clock.h"
#include "memory/memory.h"

enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_WORD };

typedef struct PitCounter {
    uint32_t reload; /* 1..0x10000 */
    uint8_t mode;    /* 0..5 */
    uint8_t access;  /* ACCESS_* */
    bool bcd, gate;
    bool loaded;     /* a count was written since the control word */
    bool write_high; /* ACCESS_WORD: the low byte has come */
    bool read_high;
    bool status_latched;
    uint8_t write_low;
    uint8_t status;
    uint8_t count_latched; /* bytes still to be read from latch */
    uint16_t latch;
    int64_t start; /* ns of CLK_VIRTUAL when counting began; -1: it hasn't */
} PitCounter;

typedef struct I8254 {
    Device parent;
    PitCounter counters[3];
    bool irq_cut; /* HPET has taken counter 0's interrupt */
    bool speaker_data;
    int64_t next_edge; /* ns; -1 none */
    Timer *timer;

    Irq *out;
    MemoryRegion io, speaker_io;
} I8254;

typedef struct I8254Class {
    DeviceClass parent;
    /* Where it is in the kernel: copy its state here, and back; cut_only: irq_cut alone changed.
     * NULL: this is it. */
    void (*fetch)(I8254 *s);
    void (*store)(I8254 *s, bool cut_only);
} I8254Class;

OBJECT_DECLARE_CLASS(I8254Class, i8254, TYPE_I8254)

#endif
