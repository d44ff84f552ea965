/* A 16550A UART, to be put on a bus. Embedded in its owner. Machine lock held. */
#ifndef DEVICES_CHAR_SERIAL_H
#define DEVICES_CHAR_SERIAL_H

#include "bus/device.h"
#include "chardev/chardev.h"
#include "memory/memory.h"

#define SERIAL_PORTS     8 /* I/O addresses */
#define SERIAL_FIFO_SIZE 16

typedef struct SerialFifo {
    uint8_t data[SERIAL_FIFO_SIZE];
    uint8_t head, count;
} SerialFifo;

typedef struct Serial {
    uint8_t ier, iir, fcr, lcr, mcr, lsr, msr, scr;
    uint16_t divisor;
    uint8_t rbr; /* without FIFOs */
    SerialFifo rx, tx;
    bool thr_pending;     /* THRE interrupt not yet acknowledged */
    bool timeout_pending; /* characters lie in the FIFO for four character times */
    Timer *timeout_timer, *modem_timer;

    /* not state */
    uint32_t baudbase; /* of divisor 1 */
    bool has_modem;    /* the back end has modem lines */
    CharFrontend fe;
    Irq *irq;
    Device *owner;
    MemoryRegion io;
} Serial;

extern const VmState serial_vmstate;

/* fe is attached already, irq set. */
void serial_init(Serial *s, Device *owner, const char *name);
void serial_realize(Serial *s);
void serial_unrealize(Serial *s); /* detaches fe */
void serial_reset(Serial *s);
void serial_finish(Serial *s); /* mirror of serial_init() */

#endif
