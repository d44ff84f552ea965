/*
 * Interrupt lines: a wire from one device's output to another's input. Levels are integers (0 or
 * 1; analog uses are not). Machine lock held.
 */
#ifndef BUS_IRQ_H
#define BUS_IRQ_H

#include "base/compiler.h"

typedef void IrqHandler(void *opaque, int n, int level);

typedef struct Irq {
    IrqHandler *handler;
    void *opaque;
    int n;
} Irq;

/* An unconnected line (NULL) swallows everything. */
static inline void irq_set(Irq *irq, int level)
{
    if (irq) {
        irq->handler(irq->opaque, irq->n, level);
    }
}

static inline void irq_raise(Irq *irq)
{
    irq_set(irq, 1);
}

static inline void irq_lower(Irq *irq)
{
    irq_set(irq, 0);
}

static inline void irq_pulse(Irq *irq)
{
    irq_set(irq, 1);
    irq_set(irq, 0);
}

/* count lines to one handler, numbered from 0; one array, freed by irq_free_array(). */
Irq *irq_new_array(IrqHandler *handler, void *opaque, int count);
void irq_free_array(Irq *irqs);

#endif
