#include "devices/input/input.h"

#include <glib.h>

struct InputHandler {
    const InputHandlerOps *ops;
    void *opaque;
    bool dirty; /* got events since the last sync */
};

/* The line of handlers: one a process, like the machine; empty when its devices are gone. */
static GList *handlers;
static unsigned led_state;

InputHandler *input_handler_add(const InputHandlerOps *ops, void *opaque)
{
    InputHandler *h = g_new0(InputHandler, 1);

    h->ops = ops;
    h->opaque = opaque;
    handlers = g_list_append(handlers, h);
    return h;
}

void input_handler_del(InputHandler *handler)
{
    if (handler) {
        handlers = g_list_remove(handlers, handler);
        g_free(handler);
    }
}

void input_handler_activate(InputHandler *handler)
{
    handlers = g_list_remove(handlers, handler);
    handlers = g_list_prepend(handlers, handler);
}

static InputHandler *find(unsigned kinds)
{
    for (GList *l = handlers; l; l = l->next) {
        InputHandler *h = l->data;
        if (h->ops->kinds & kinds) {
            return h;
        }
    }
    return NULL;
}

bool input_send(const InputEvent *event)
{
    InputHandler *h = find(1u << event->kind);

    if (!h) {
        return false;
    }
    h->dirty = true;
    h->ops->event(h->opaque, event);
    return true;
}

void input_sync(void)
{
    for (GList *l = handlers; l; l = l->next) {
        InputHandler *h = l->data;
        if (h->dirty) {
            h->dirty = false;
            if (h->ops->sync) {
                h->ops->sync(h->opaque);
            }
        }
    }
}

bool input_pointer_is_absolute(void)
{
    InputHandler *h = find(1u << INPUT_REL | 1u << INPUT_ABS);

    return h && (h->ops->kinds & 1u << INPUT_ABS);
}

void input_foreach(void (*visit)(const InputHandlerOps *ops, bool active, void *opaque),
                   void *opaque)
{
    for (GList *l = handlers; l; l = l->next) {
        InputHandler *h = l->data;
        visit(h->ops, find(h->ops->kinds) == h, opaque);
    }
}

void input_set_leds(unsigned leds)
{
    led_state = leds;
}

unsigned input_leds(void)
{
    return led_state;
}
