#include "bus/irq.h"

#include <glib.h>

Irq *irq_new_array(IrqHandler *handler, void *opaque, int count)
{
    Irq *irqs = g_new(Irq, count);
    for (int n = 0; n < count; n++) {
        irqs[n] = (Irq){ .handler = handler, .opaque = opaque, .n = n };
    }
    return irqs;
}

void irq_free_array(Irq *irqs)
{
    g_free(irqs);
}
