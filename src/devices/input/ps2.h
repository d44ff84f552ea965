/*
 * PS/2 keyboard and mouse: what hangs on the two ports of an i8042. Embedded in it. Machine lock
 * held.
 */
#ifndef DEVICES_INPUT_PS2_H
#define DEVICES_INPUT_PS2_H

#include "devices/input/input.h"
#include "object/vmstate.h"

/* Input events beyond this many waiting bytes are dropped; answers to commands always fit. */
#define PS2_QUEUE_EVENTS 16
#define PS2_QUEUE_SIZE   32

typedef struct Ps2Port {
    uint8_t data[PS2_QUEUE_SIZE];
    uint8_t head, count;
    int16_t command; /* waiting for its argument; -1 none */
    uint8_t last;    /* byte sent last, for "resend" */

    /* The device has bytes for the controller. */
    void (*ready)(void *opaque);
    void *opaque;
    InputHandler *handler;
} Ps2Port;

typedef struct Ps2Keyboard {
    Ps2Port port;
    bool scanning;
    uint8_t scancode_set; /* 1..3 */
    uint8_t leds;
    uint8_t typematic;
    bool translated; /* the controller turns set 2 into set 1 */
} Ps2Keyboard;

typedef struct Ps2Mouse {
    Ps2Port port;
    uint8_t id; /* 0: three buttons, 3: wheel, 4: five buttons */
    uint8_t sample_rate, resolution;
    bool reporting, remote, wrap, scaling_2_1;
    uint8_t magic; /* how far the sequence that unlocks the wheel has come */
    uint8_t buttons;
    int32_t dx, dy, dz; /* not yet reported */
    bool changed;       /* buttons since the last report */
} Ps2Mouse;

extern const VmState ps2_keyboard_vmstate, ps2_mouse_vmstate;

void ps2_keyboard_start(Ps2Keyboard *k, void (*ready)(void *opaque), void *opaque);
void ps2_keyboard_stop(Ps2Keyboard *k);
void ps2_keyboard_reset(Ps2Keyboard *k);
void ps2_keyboard_write(Ps2Keyboard *k, uint8_t byte);

void ps2_mouse_start(Ps2Mouse *m, void (*ready)(void *opaque), void *opaque);
void ps2_mouse_stop(Ps2Mouse *m);
void ps2_mouse_reset(Ps2Mouse *m);
void ps2_mouse_write(Ps2Mouse *m, uint8_t byte);

static inline bool ps2_port_has_data(const Ps2Port *p)
{
    return p->count != 0;
}
/* 0 when empty. */
uint8_t ps2_port_take(Ps2Port *p);

#endif
