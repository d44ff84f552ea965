/*
 * i8042 keyboard controller of the PC/AT and PS/2.
 *
 * IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".
 * The output buffer holds one byte; the next one is fetched from a device when it has been read.
 */
#include "devices/input/i8042.h"

#include "base/log.h"
#include "bus/isa.h"
#include "devices/input/ps2.h"
#include "object/lifecycle.h"

#define DATA_PORT    0x60
#define COMMAND_PORT 0x64

#define STATUS_OBF  0x01u
#define STATUS_SYS  0x04u
#define STATUS_CMD  0x08u
#define STATUS_OPEN 0x10u /* keyboard lock is open */
#define STATUS_AUX  0x20u

/* The command byte. */
#define MODE_IRQ_KBD   0x01u
#define MODE_IRQ_AUX   0x02u
#define MODE_SYS       0x04u
#define MODE_NO_KBD    0x10u
#define MODE_NO_AUX    0x20u
#define MODE_TRANSLATE 0x40u

#define CMD_READ_MODE    0x20
#define CMD_WRITE_MODE   0x60
#define CMD_NO_AUX       0xa7
#define CMD_AUX          0xa8
#define CMD_TEST_AUX     0xa9
#define CMD_SELF_TEST    0xaa
#define CMD_TEST_KBD     0xab
#define CMD_NO_KBD       0xad
#define CMD_KBD          0xae
#define CMD_READ_INPUT   0xc0
#define CMD_READ_OUTPUT  0xd0
#define CMD_WRITE_OUTPUT 0xd1
#define CMD_FAKE_KBD     0xd2
#define CMD_FAKE_AUX     0xd3
#define CMD_WRITE_AUX    0xd4
#define CMD_NO_A20       0xdd
#define CMD_A20          0xdf
#define CMD_PULSE        0xf0 /* ... 0xff: low bits that are 0 are pulsed low */
#define PULSE_RESET      0x01u

/* The output port. */
#define OUTPUT_RESET   0x01u /* low: resets the processor */
#define OUTPUT_A20     0x02u
#define OUTPUT_KBD_IRQ 0x10u
#define OUTPUT_AUX_IRQ 0x20u

typedef struct I8042 {
    Device parent;
    uint8_t status, mode, obuf, output;
    int16_t command; /* waiting for its argument on the data port; -1 none */
    Ps2Keyboard keyboard;
    Ps2Mouse mouse;

    Irq *irq[2]; /* keyboard, mouse */
    Irq *a20;
    MemoryRegion data_io, command_io;
} I8042;

static I8042 *i8042_cast(void *obj)
{
    return (I8042 *)object_cast((Object *)obj, TYPE_I8042);
}

static void update_irqs(I8042 *s)
{
    bool full = s->status & STATUS_OBF, aux = s->status & STATUS_AUX;

    irq_set(s->irq[0], full && !aux && (s->mode & MODE_IRQ_KBD));
    irq_set(s->irq[1], full && aux && (s->mode & MODE_IRQ_AUX));
}

static void fill(I8042 *s, uint8_t byte, bool aux)
{
    s->obuf = byte;
    s->status |= STATUS_OBF;
    s->status = aux ? s->status | STATUS_AUX : s->status & ~STATUS_AUX;
    update_irqs(s);
}

/* Move the next byte of a device into the empty output buffer. */
static void fetch(I8042 *s)
{
    if (s->status & STATUS_OBF) {
        return;
    }
    if (ps2_port_has_data(&s->keyboard.port) && !(s->mode & MODE_NO_KBD)) {
        fill(s, ps2_port_take(&s->keyboard.port), false);
    } else if (ps2_port_has_data(&s->mouse.port) && !(s->mode & MODE_NO_AUX)) {
        fill(s, ps2_port_take(&s->mouse.port), true);
    } else {
        update_irqs(s);
    }
}

static void device_ready(void *opaque)
{
    fetch(opaque);
}

static void set_mode(I8042 *s, uint8_t mode)
{
    s->mode = mode;
    s->status = mode & MODE_SYS ? s->status | STATUS_SYS : s->status & ~STATUS_SYS;
    s->keyboard.translated = mode & MODE_TRANSLATE;
    update_irqs(s);
    fetch(s);
}

static void set_a20(I8042 *s, bool on)
{
    s->output = on ? s->output | OUTPUT_A20 : s->output & ~OUTPUT_A20;
    irq_set(s->a20, on);
}

static uint8_t read_output(const I8042 *s)
{
    bool full = s->status & STATUS_OBF, aux = s->status & STATUS_AUX;

    return s->output | (full && !aux ? OUTPUT_KBD_IRQ : 0) | (full && aux ? OUTPUT_AUX_IRQ : 0);
}

static void write_output(I8042 *s, uint8_t value)
{
    s->output = value & ~(OUTPUT_KBD_IRQ | OUTPUT_AUX_IRQ);
    set_a20(s, value & OUTPUT_A20);
    if (!(value & OUTPUT_RESET)) {
        lifecycle_request_reset(SHUTDOWN_CAUSE_GUEST_RESET);
    }
}

static void command_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    I8042 *s = opaque;
    uint8_t command = value;

    s->status |= STATUS_CMD;
    s->command = -1;
    switch (command) {
    case CMD_READ_MODE:
        fill(s, s->mode, false);
        break;
    case CMD_WRITE_MODE:
    case CMD_WRITE_OUTPUT:
    case CMD_FAKE_KBD:
    case CMD_FAKE_AUX:
    case CMD_WRITE_AUX:
        s->command = command;
        break;
    case CMD_NO_AUX:
        set_mode(s, s->mode | MODE_NO_AUX);
        break;
    case CMD_AUX:
        set_mode(s, s->mode & ~MODE_NO_AUX);
        break;
    case CMD_SELF_TEST:
        s->status |= STATUS_SYS;
        fill(s, 0x55, false);
        break;
    case CMD_TEST_AUX:
    case CMD_TEST_KBD:
        fill(s, 0x00, false);
        break;
    case CMD_NO_KBD:
        set_mode(s, s->mode | MODE_NO_KBD);
        break;
    case CMD_KBD:
        set_mode(s, s->mode & ~MODE_NO_KBD);
        break;
    case CMD_READ_INPUT:
        fill(s, 0x80, false); /* keyboard not locked */
        break;
    case CMD_READ_OUTPUT:
        fill(s, read_output(s), false);
        break;
    case CMD_A20:
    case CMD_NO_A20:
        set_a20(s, command == CMD_A20);
        break;
    default:
        if (command >= CMD_PULSE) {
            if (!(command & PULSE_RESET)) {
                lifecycle_request_reset(SHUTDOWN_CAUSE_GUEST_RESET);
            }
        } else {
            log_guest_error("i8042: unknown command 0x%02x\n", command);
        }
        break;
    }
}

static void data_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    I8042 *s = opaque;
    int command = s->command;

    s->status &= ~STATUS_CMD;
    s->command = -1;
    switch (command) {
    case CMD_WRITE_MODE:
        set_mode(s, value);
        break;
    case CMD_WRITE_OUTPUT:
        write_output(s, value);
        break;
    case CMD_FAKE_KBD:
    case CMD_FAKE_AUX:
        fill(s, value, command == CMD_FAKE_AUX);
        break;
    case CMD_WRITE_AUX:
        ps2_mouse_write(&s->mouse, value);
        break;
    default:
        /* Writing to the keyboard switches its clock on again. */
        s->mode &= ~MODE_NO_KBD;
        ps2_keyboard_write(&s->keyboard, value);
        break;
    }
}

static uint64_t data_read(void *opaque, hwaddr addr, unsigned size)
{
    I8042 *s = opaque;
    uint8_t byte = s->obuf;

    if (s->status & STATUS_OBF) {
        s->status &= ~(STATUS_OBF | STATUS_AUX);
        update_irqs(s); /* falls between two bytes: each is an edge */
        fetch(s);
    }
    return byte;
}

static uint64_t command_read(void *opaque, hwaddr addr, unsigned size)
{
    return ((I8042 *)opaque)->status;
}

static const MemoryRegionOps data_ops = {
    .read = data_read,
    .write = data_write,
    .impl = { .min = 1, .max = 1 },
};

static const MemoryRegionOps command_ops = {
    .read = command_read,
    .write = command_write,
    .impl = { .min = 1, .max = 1 },
};

static void i8042_reset(Device *dev)
{
    I8042 *s = i8042_cast(dev);

    s->mode = MODE_IRQ_KBD | MODE_IRQ_AUX;
    s->status = STATUS_CMD | STATUS_OPEN;
    s->output = OUTPUT_RESET | OUTPUT_A20;
    s->command = -1;
    s->obuf = 0;
    ps2_keyboard_reset(&s->keyboard);
    ps2_mouse_reset(&s->mouse);
    s->keyboard.translated = false;
    irq_set(s->a20, 1);
    update_irqs(s);
}

static const VmState i8042_vmstate = {
    .name = "i8042",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT8(status, I8042),
            VMSTATE_UINT8(mode, I8042),
            VMSTATE_UINT8(obuf, I8042),
            VMSTATE_UINT8(output, I8042),
            { .name = "command",
              .kind = VMSTATE_KIND_INT,
              .offset = offsetof(I8042, command),
              .size = 2 },
            VMSTATE_STRUCT(keyboard, I8042, ps2_keyboard_vmstate),
            VMSTATE_STRUCT(mouse, I8042, ps2_mouse_vmstate),
            {},
        },
};

static bool i8042_realize(Device *dev, Error **errp)
{
    I8042 *s = i8042_cast(dev);

    isa_device_add_io(dev, &s->data_io, DATA_PORT);
    isa_device_add_io(dev, &s->command_io, COMMAND_PORT);
    ps2_keyboard_start(&s->keyboard, device_ready, s);
    ps2_mouse_start(&s->mouse, device_ready, s);
    return true;
}

static void i8042_unrealize(Device *dev)
{
    I8042 *s = i8042_cast(dev);

    ps2_mouse_stop(&s->mouse);
    ps2_keyboard_stop(&s->keyboard);
    isa_device_del_io(dev, &s->command_io);
    isa_device_del_io(dev, &s->data_io);
}

static void i8042_init(Object *obj)
{
    I8042 *s = i8042_cast(obj);

    memory_region_init_io(&s->data_io, obj, &data_ops, s, "i8042-data", 1);
    memory_region_init_io(&s->command_io, obj, &command_ops, s, "i8042-cmd", 1);
    device_init_lines_out(&s->parent, NULL, s->irq, 2);
    device_init_lines_out(&s->parent, I8042_LINE_A20, &s->a20, 1);
}

static void i8042_finalize(Object *obj)
{
    I8042 *s = i8042_cast(obj);

    memory_region_finish(&s->data_io);
    memory_region_finish(&s->command_io);
}

static void i8042_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_INPUT;
    dc->realize = i8042_realize;
    dc->unrealize = i8042_unrealize;
    dc->reset = i8042_reset;
    dc->vmstate = &i8042_vmstate;
    dc->user_creatable = false;
}

static const TypeInfo i8042_info = {
    .name = TYPE_I8042,
    .parent = TYPE_ISA_DEVICE,
    .help = "Keyboard controller with PS/2 keyboard and mouse",
    .instance_size = sizeof(I8042),
    .instance_init = i8042_init,
    .instance_finalize = i8042_finalize,
    .class_init = i8042_class_init,
};
OBJECT_TYPE(i8042, i8042_info)
