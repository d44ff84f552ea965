/*
 * PS/2 keyboard (scan code sets 1 to 3) and mouse (with the wheel and five-button extensions).
 *
 * IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller";
 * Microsoft "Keyboard Scan Code Specification" 1.3a; the wheel protocol is the IntelliMouse's.
 */
#include "devices/input/ps2.h"

#include <linux/input-event-codes.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"

/* Both devices. */
#define CMD_RESEND 0xfe
#define CMD_RESET  0xff
#define ANSWER_ACK 0xfa
#define ANSWER_BAT 0xaa /* basic assurance test passed */

/* Keyboard. */
#define KBD_SET_LEDS  0xed
#define KBD_ECHO      0xee
#define KBD_SCAN_SET  0xf0
#define KBD_GET_ID    0xf2
#define KBD_TYPEMATIC 0xf3
#define KBD_ENABLE    0xf4
#define KBD_DISABLE   0xf5
#define KBD_DEFAULTS  0xf6

/* Mouse. */
#define AUX_SCALE_1_1   0xe6
#define AUX_SCALE_2_1   0xe7
#define AUX_RESOLUTION  0xe8
#define AUX_STATUS      0xe9
#define AUX_STREAM      0xea
#define AUX_READ_DATA   0xeb
#define AUX_WRAP_OFF    0xec
#define AUX_WRAP_ON     0xee
#define AUX_REMOTE      0xf0
#define AUX_GET_ID      0xf2
#define AUX_SAMPLE_RATE 0xf3
#define AUX_ENABLE      0xf4
#define AUX_DISABLE     0xf5
#define AUX_DEFAULTS    0xf6

static const uint8_t led_bits[] = { INPUT_LED_SCROLL, INPUT_LED_NUM, INPUT_LED_CAPS };

/* --- The queue --- */

static void put(Ps2Port *p, uint8_t byte)
{
    if (p->count < PS2_QUEUE_SIZE) {
        p->data[(p->head + p->count++) % PS2_QUEUE_SIZE] = byte;
    }
}

static void put_all(Ps2Port *p, const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        put(p, bytes[i]);
    }
}

static bool room_for_event(const Ps2Port *p, unsigned n)
{
    return p->count + n <= PS2_QUEUE_EVENTS;
}

static void tell(Ps2Port *p)
{
    if (p->ready && p->count) {
        p->ready(p->opaque);
    }
}

uint8_t ps2_port_take(Ps2Port *p)
{
    if (p->count == 0) {
        return 0;
    }
    p->last = p->data[p->head];
    p->head = (p->head + 1) % PS2_QUEUE_SIZE;
    p->count--;
    return p->last;
}

static void port_reset(Ps2Port *p)
{
    p->head = p->count = 0;
    p->command = -1;
    p->last = 0;
}

/* --- Scan codes, indexed by Linux key code --- */

#define EXT 0x100u /* prefixed with E0 */

/* Set 1. Key codes up to KEY_F10 (68) and some after are the set's own numbers. */
static uint16_t set1_code(uint16_t key)
{
    static const struct {
        uint16_t key, code;
    } others[] = {
        { KEY_NUMLOCK, 0x45 },
        { KEY_SCROLLLOCK, 0x46 },
        { KEY_KP7, 0x47 },
        { KEY_KP8, 0x48 },
        { KEY_KP9, 0x49 },
        { KEY_KPMINUS, 0x4a },
        { KEY_KP4, 0x4b },
        { KEY_KP5, 0x4c },
        { KEY_KP6, 0x4d },
        { KEY_KPPLUS, 0x4e },
        { KEY_KP1, 0x4f },
        { KEY_KP2, 0x50 },
        { KEY_KP3, 0x51 },
        { KEY_KP0, 0x52 },
        { KEY_KPDOT, 0x53 },
        { KEY_102ND, 0x56 },
        { KEY_F11, 0x57 },
        { KEY_F12, 0x58 },
        { KEY_RO, 0x73 },
        { KEY_KATAKANAHIRAGANA, 0x70 },
        { KEY_HENKAN, 0x79 },
        { KEY_MUHENKAN, 0x7b },
        { KEY_YEN, 0x7d },
        { KEY_KPCOMMA, 0x7e },
        { KEY_KPENTER, EXT | 0x1c },
        { KEY_RIGHTCTRL, EXT | 0x1d },
        { KEY_KPSLASH, EXT | 0x35 },
        { KEY_SYSRQ, EXT | 0x37 },
        { KEY_RIGHTALT, EXT | 0x38 },
        { KEY_HOME, EXT | 0x47 },
        { KEY_UP, EXT | 0x48 },
        { KEY_PAGEUP, EXT | 0x49 },
        { KEY_LEFT, EXT | 0x4b },
        { KEY_RIGHT, EXT | 0x4d },
        { KEY_END, EXT | 0x4f },
        { KEY_DOWN, EXT | 0x50 },
        { KEY_PAGEDOWN, EXT | 0x51 },
        { KEY_INSERT, EXT | 0x52 },
        { KEY_DELETE, EXT | 0x53 },
        { KEY_LEFTMETA, EXT | 0x5b },
        { KEY_RIGHTMETA, EXT | 0x5c },
        { KEY_COMPOSE, EXT | 0x5d },
        { KEY_POWER, EXT | 0x5e },
        { KEY_SLEEP, EXT | 0x5f },
        { KEY_WAKEUP, EXT | 0x63 },
        { KEY_MUTE, EXT | 0x20 },
        { KEY_VOLUMEDOWN, EXT | 0x2e },
        { KEY_VOLUMEUP, EXT | 0x30 },
    };

    if (key >= KEY_ESC && key <= KEY_F10) {
        return key;
    }
    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        if (others[i].key == key) {
            return others[i].code;
        }
    }
    return 0;
}

/* Set 2 by set 1 code: what an i8042 translates back. E0-prefixed keys have the same low bytes. */
static const uint8_t set2_from_set1[0x80] = {
    0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03,
    0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x84, 0x00, 0x61, 0x78, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
    0x47, 0x4f, 0x56, 0x5e, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x6f,
    0x13, 0x19, 0x39, 0x51, 0x53, 0x5c, 0x5f, 0x62, 0x63, 0x64, 0x65, 0x67, 0x68, 0x6a, 0x6d, 0x6e,
};

/* Bytes of a key's press or release; returns how many (at most 8). */
static unsigned key_bytes(const Ps2Keyboard *k, uint16_t key, bool down, uint8_t *out)
{
    static const uint8_t pause1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    static const uint8_t pause2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
    uint16_t code = set1_code(key);
    bool set1 = k->scancode_set == 1 || k->translated;
    unsigned n = 0;

    if (key == KEY_PAUSE) { /* sends all of it when pressed */
        const uint8_t *bytes = set1 ? pause1 : pause2;
        n = !down ? 0 : set1 ? sizeof(pause1) : sizeof(pause2);
        memcpy(out, bytes, n);
        return n;
    }
    if (!code) {
        return 0;
    }
    if (code & EXT) {
        out[n++] = 0xe0;
    }
    if (set1) {
        out[n++] = (code & 0x7f) | (down ? 0 : 0x80);
    } else {
        if (!down) {
            out[n++] = 0xf0;
        }
        out[n++] = set2_from_set1[code & 0x7f];
    }
    return n;
}

/* --- Keyboard --- */

static void keyboard_event(void *opaque, const InputEvent *event)
{
    Ps2Keyboard *k = opaque;
    uint8_t bytes[8];
    unsigned n;

    if (!k->scanning) {
        return;
    }
    n = key_bytes(k, event->code, event->value, bytes);
    if (room_for_event(&k->port, n)) {
        put_all(&k->port, bytes, n);
        tell(&k->port);
    }
}

static void keyboard_defaults(Ps2Keyboard *k)
{
    k->scanning = true;
    k->scancode_set = 2;
    k->typematic = 0x2b;
}

static void keyboard_argument(Ps2Keyboard *k, uint8_t byte)
{
    switch (k->port.command) {
    case KBD_SET_LEDS: {
        unsigned leds = 0;
        k->leds = byte & 7;
        for (unsigned i = 0; i < ARRAY_LEN(led_bits); i++) {
            leds |= byte >> i & 1 ? led_bits[i] : 0;
        }
        input_set_leds(leds);
        break;
    }
    case KBD_SCAN_SET:
        put(&k->port, ANSWER_ACK);
        if (byte == 0) {
            put(&k->port, k->scancode_set);
        } else if (byte <= 3) {
            k->scancode_set = byte;
        }
        return;
    case KBD_TYPEMATIC:
        k->typematic = byte;
        break;
    default:
        break;
    }
    put(&k->port, ANSWER_ACK);
}

static void keyboard_command(Ps2Keyboard *k, uint8_t byte)
{
    Ps2Port *p = &k->port;

    switch (byte) {
    case KBD_SET_LEDS:
    case KBD_SCAN_SET:
    case KBD_TYPEMATIC:
        p->command = byte;
        put(p, ANSWER_ACK);
        break;
    case KBD_ECHO:
        put(p, KBD_ECHO);
        break;
    case KBD_GET_ID:
        put(p, ANSWER_ACK);
        put(p, 0xab);
        put(p, k->translated ? 0x41 : 0x83); /* 83h as the controller translates it */
        break;
    case KBD_ENABLE:
        k->scanning = true;
        put(p, ANSWER_ACK);
        break;
    case KBD_DISABLE:
        keyboard_defaults(k);
        k->scanning = false;
        put(p, ANSWER_ACK);
        break;
    case KBD_DEFAULTS:
        keyboard_defaults(k);
        put(p, ANSWER_ACK);
        break;
    case CMD_RESEND:
        put(p, p->last);
        break;
    case CMD_RESET:
        ps2_keyboard_reset(k);
        put(p, ANSWER_ACK);
        put(p, ANSWER_BAT);
        break;
    default:
        log_guest_error("ps2-kbd: unknown command 0x%02x\n", byte);
        put(p, CMD_RESEND);
        break;
    }
}

void ps2_keyboard_write(Ps2Keyboard *k, uint8_t byte)
{
    if (k->port.command >= 0 && byte < 0xed) {
        keyboard_argument(k, byte);
        k->port.command = -1;
    } else {
        k->port.command = -1;
        keyboard_command(k, byte);
    }
    tell(&k->port);
}

void ps2_keyboard_reset(Ps2Keyboard *k)
{
    port_reset(&k->port);
    keyboard_defaults(k);
    k->leds = 0;
    input_set_leds(0);
}

void ps2_keyboard_start(Ps2Keyboard *k, void (*ready)(void *opaque), void *opaque)
{
    static const InputHandlerOps ops = {
        .name = "PS/2 Keyboard",
        .kinds = 1u << INPUT_KEY,
        .event = keyboard_event,
    };

    k->port.ready = ready;
    k->port.opaque = opaque;
    k->port.handler = input_handler_add(&ops, k);
    ps2_keyboard_reset(k);
}

void ps2_keyboard_stop(Ps2Keyboard *k)
{
    input_handler_del(k->port.handler);
    k->port.handler = NULL;
}

/* --- Mouse --- */

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

/* One movement packet. */
static void send_packet(Ps2Mouse *m)
{
    int dx = clamp(m->dx, -255, 255), dy = clamp(m->dy, -255, 255);
    uint8_t bytes[4];
    unsigned n = 3;

    m->dx -= dx;
    m->dy -= dy;
    bytes[0] = 0x08 | (m->buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0);
    bytes[1] = dx;
    bytes[2] = dy;
    if (m->id) {
        int dz = m->id == 3 ? clamp(m->dz, -127, 127) : clamp(m->dz, -7, 7);
        m->dz -= dz;
        bytes[n++] = m->id == 3 ? dz : (dz & 0x0f) | (m->buttons >> 3 & 3) << 4;
    } else {
        m->dz = 0;
    }
    m->changed = false;
    put_all(&m->port, bytes, n);
}

static void mouse_sync(void *opaque)
{
    Ps2Mouse *m = opaque;

    if (!m->reporting || m->remote || m->wrap) {
        return;
    }
    while ((m->dx || m->dy || m->dz || m->changed) && room_for_event(&m->port, 4)) {
        send_packet(m);
    }
    tell(&m->port);
}

static void mouse_button(Ps2Mouse *m, unsigned button, bool down)
{
    static const uint8_t bits[] = {
        [INPUT_BUTTON_LEFT] = 0x01, [INPUT_BUTTON_MIDDLE] = 0x04, [INPUT_BUTTON_RIGHT] = 0x02,
        [INPUT_BUTTON_SIDE] = 0x08, [INPUT_BUTTON_EXTRA] = 0x10,
    };

    if (button == INPUT_BUTTON_WHEEL_UP || button == INPUT_BUTTON_WHEEL_DOWN) {
        m->dz += !down ? 0 : button == INPUT_BUTTON_WHEEL_UP ? -1 : 1;
    } else if (button < ARRAY_LEN(bits) && bits[button]) {
        m->buttons = down ? m->buttons | bits[button] : m->buttons & ~bits[button];
        m->changed = true;
    }
}

static void mouse_event(void *opaque, const InputEvent *event)
{
    Ps2Mouse *m = opaque;

    if (event->kind == INPUT_BUTTON) {
        mouse_button(m, event->code, event->value);
    } else if (event->code == INPUT_AXIS_X) {
        m->dx = clamp(m->dx + event->value, -4096, 4096);
    } else {
        m->dy = clamp(m->dy - event->value, -4096, 4096); /* up is positive on the wire */
    }
}

static void mouse_defaults(Ps2Mouse *m)
{
    m->sample_rate = 100;
    m->resolution = 2;
    m->reporting = m->remote = m->wrap = m->scaling_2_1 = false;
    m->dx = m->dy = m->dz = 0;
    m->magic = 0;
}

/* Sample rates 200, 100, 80 unlock the wheel; 200, 200, 80 then two more buttons. */
static void mouse_sample_rate(Ps2Mouse *m, uint8_t rate)
{
    m->sample_rate = rate;
    if (rate == 200) {
        m->magic = m->magic == 1 ? 3 : 1;
    } else if (rate == 100 && m->magic == 1) {
        m->magic = 2;
    } else {
        if (rate == 80 && m->magic == 2) {
            m->id = 3;
        } else if (rate == 80 && m->magic == 3 && m->id == 3) {
            m->id = 4;
        }
        m->magic = 0;
    }
}

static void mouse_status(Ps2Mouse *m)
{
    put(&m->port, (m->remote ? 0x40 : 0) | (m->reporting ? 0x20 : 0) | (m->scaling_2_1 ? 0x10 : 0) |
                      (m->buttons & 1 ? 4 : 0) | (m->buttons & 4 ? 2 : 0) |
                      (m->buttons & 2 ? 1 : 0));
    put(&m->port, m->resolution);
    put(&m->port, m->sample_rate);
}

static void mouse_command(Ps2Mouse *m, uint8_t byte)
{
    Ps2Port *p = &m->port;

    switch (byte) {
    case AUX_RESOLUTION:
    case AUX_SAMPLE_RATE:
        p->command = byte;
        break;
    case AUX_SCALE_1_1:
    case AUX_SCALE_2_1:
        m->scaling_2_1 = byte == AUX_SCALE_2_1;
        break;
    case AUX_WRAP_ON:
    case AUX_WRAP_OFF:
        m->wrap = byte == AUX_WRAP_ON;
        break;
    case AUX_STREAM:
    case AUX_REMOTE:
        m->remote = byte == AUX_REMOTE;
        break;
    case AUX_ENABLE:
    case AUX_DISABLE:
        m->reporting = byte == AUX_ENABLE;
        break;
    case AUX_DEFAULTS:
        mouse_defaults(m);
        break;
    case AUX_STATUS:
    case AUX_READ_DATA:
    case AUX_GET_ID:
        break;
    case CMD_RESEND:
        put(p, p->last);
        return;
    case CMD_RESET:
        ps2_mouse_reset(m);
        break;
    default:
        log_guest_error("ps2-mouse: unknown command 0x%02x\n", byte);
        put(p, CMD_RESEND);
        return;
    }
    put(p, ANSWER_ACK);
    if (byte == AUX_STATUS) {
        mouse_status(m);
    } else if (byte == AUX_READ_DATA) {
        send_packet(m);
    } else if (byte == AUX_GET_ID) {
        put(p, m->id);
    } else if (byte == CMD_RESET) {
        put(p, ANSWER_BAT);
        put(p, m->id);
    }
}

void ps2_mouse_write(Ps2Mouse *m, uint8_t byte)
{
    if (m->port.command >= 0) {
        if (m->port.command == AUX_SAMPLE_RATE) {
            mouse_sample_rate(m, byte);
        } else {
            m->resolution = byte & 3;
        }
        m->port.command = -1;
        put(&m->port, ANSWER_ACK);
    } else if (m->wrap && byte != AUX_WRAP_OFF && byte != CMD_RESET) {
        put(&m->port, byte);
    } else {
        mouse_command(m, byte);
    }
    tell(&m->port);
}

void ps2_mouse_reset(Ps2Mouse *m)
{
    port_reset(&m->port);
    mouse_defaults(m);
    m->id = 0;
    m->buttons = 0;
    m->changed = false;
}

void ps2_mouse_start(Ps2Mouse *m, void (*ready)(void *opaque), void *opaque)
{
    static const InputHandlerOps ops = {
        .name = "PS/2 Mouse",
        .kinds = 1u << INPUT_BUTTON | 1u << INPUT_REL,
        .event = mouse_event,
        .sync = mouse_sync,
    };

    m->port.ready = ready;
    m->port.opaque = opaque;
    m->port.handler = input_handler_add(&ops, m);
    ps2_mouse_reset(m);
}

void ps2_mouse_stop(Ps2Mouse *m)
{
    input_handler_del(m->port.handler);
    m->port.handler = NULL;
}

/* --- State --- */

static bool port_post_load(void *opaque, int version, Error **errp)
{
    Ps2Port *p = opaque;

    if (p->head >= PS2_QUEUE_SIZE || p->count > PS2_QUEUE_SIZE) {
        error_set(errp, "ps2: queue state is out of range");
        return false;
    }
    return true;
}

static const VmState ps2_port_vmstate = {
    .name = "ps2-port",
    .version = 1,
    .minimum_version = 1,
    .post_load = port_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_BUFFER(data, Ps2Port),
            VMSTATE_UINT8(head, Ps2Port),
            VMSTATE_UINT8(count, Ps2Port),
            { .name = "command",
              .kind = VMSTATE_KIND_INT,
              .offset = offsetof(Ps2Port, command),
              .size = 2 },
            VMSTATE_UINT8(last, Ps2Port),
            {},
        },
};

const VmState ps2_keyboard_vmstate = {
    .name = "ps2-kbd",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT(port, Ps2Keyboard, ps2_port_vmstate),
            VMSTATE_BOOL(scanning, Ps2Keyboard),
            VMSTATE_UINT8(scancode_set, Ps2Keyboard),
            VMSTATE_UINT8(leds, Ps2Keyboard),
            VMSTATE_UINT8(typematic, Ps2Keyboard),
            VMSTATE_BOOL(translated, Ps2Keyboard),
            {},
        },
};

const VmState ps2_mouse_vmstate = {
    .name = "ps2-mouse",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT(port, Ps2Mouse, ps2_port_vmstate),
            VMSTATE_UINT8(id, Ps2Mouse),
            VMSTATE_UINT8(sample_rate, Ps2Mouse),
            VMSTATE_UINT8(resolution, Ps2Mouse),
            VMSTATE_BOOL(reporting, Ps2Mouse),
            VMSTATE_BOOL(remote, Ps2Mouse),
            VMSTATE_BOOL(wrap, Ps2Mouse),
            VMSTATE_BOOL(scaling_2_1, Ps2Mouse),
            VMSTATE_UINT8(magic, Ps2Mouse),
            VMSTATE_UINT8(buttons, Ps2Mouse),
            VMSTATE_INT32(dx, Ps2Mouse),
            VMSTATE_INT32(dy, Ps2Mouse),
            VMSTATE_INT32(dz, Ps2Mouse),
            VMSTATE_BOOL(changed, Ps2Mouse),
            {},
        },
};
