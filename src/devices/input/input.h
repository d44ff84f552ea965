/*
 * Input events on their way from displays and monitors to keyboards, mice and tablets.
 *
 * An event goes to the first handler in line that takes its kind; activating one moves it to the
 * front. Events are collected until input_sync(). Machine lock held throughout.
 */
#ifndef DEVICES_INPUT_INPUT_H
#define DEVICES_INPUT_INPUT_H

#include "base/compiler.h"

typedef enum InputKind {
    INPUT_KEY,    /* code: Linux KEY_* */
    INPUT_BUTTON, /* code: INPUT_BUTTON_* */
    INPUT_REL,    /* code: axis; value: steps */
    INPUT_ABS,    /* code: axis; value: 0 to INPUT_ABS_MAX */
} InputKind;

enum { INPUT_AXIS_X, INPUT_AXIS_Y };
enum {
    INPUT_BUTTON_LEFT,
    INPUT_BUTTON_MIDDLE,
    INPUT_BUTTON_RIGHT,
    INPUT_BUTTON_WHEEL_UP,
    INPUT_BUTTON_WHEEL_DOWN,
    INPUT_BUTTON_SIDE,
    INPUT_BUTTON_EXTRA,
    INPUT_BUTTON_WHEEL_LEFT,
    INPUT_BUTTON_WHEEL_RIGHT,
};
#define INPUT_ABS_MAX 0x7fff

typedef struct InputEvent {
    InputKind kind;
    uint16_t code;
    int32_t value; /* keys and buttons: 1 down, 0 up */
} InputEvent;

typedef struct InputHandlerOps {
    const char *name;
    unsigned kinds; /* mask of 1 << InputKind */
    void (*event)(void *opaque, const InputEvent *event);
    void (*sync)(void *opaque); /* NULL: not needed */
} InputHandlerOps;

typedef struct InputHandler InputHandler;

InputHandler *input_handler_add(const InputHandlerOps *ops, void *opaque); /* ops borrowed */
void input_handler_del(InputHandler *handler);                             /* NULL allowed */
void input_handler_activate(InputHandler *handler);

/* False where no handler takes it. */
bool input_send(const InputEvent *event);
void input_sync(void);
static inline bool input_send_key(uint16_t code, bool down)
{
    return input_send(&(InputEvent){ INPUT_KEY, code, down });
}
/* Does the pointer in line want absolute positions? */
bool input_pointer_is_absolute(void);
/* For listings: calls visit for each handler, in line order. */
void input_foreach(void (*visit)(const InputHandlerOps *ops, bool active, void *opaque),
                   void *opaque);

/* Keyboard lights, as the guest sets them. */
#define INPUT_LED_SCROLL 0x1u
#define INPUT_LED_NUM    0x2u
#define INPUT_LED_CAPS   0x4u
void input_set_leds(unsigned leds);
unsigned input_leds(void);

#endif
