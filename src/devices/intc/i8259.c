/*
 * 8259A programmable interrupt controller, master and slave as the PC wires them.
 *
 * Intel 8259A data sheet (order number 231468); the edge/level registers ELCR are those of the
 * PIIX and ICH bridges (82371AB section 4.2.5, ICH9 section 13.4). Not modelled: MCS-80 mode,
 * buffered mode (no visible effect in a PC).
 */
#include "devices/intc/i8259.h"

#include "base/log.h"
#include "bus/isa.h"
#include "devices/intc/i8259-internal.h"

/* Command words, by address bit and marker bits (data sheet figures 7 and 8). */
#define ICW1        0x10u
#define ICW1_LTIM   0x08u /* all inputs level-triggered */
#define ICW1_SNGL   0x02u /* no cascade, no ICW3 */
#define ICW1_IC4    0x01u
#define ICW4_SFNM   0x10u
#define ICW4_AEOI   0x02u
#define OCW3        0x08u
#define OCW3_ESMM   0x40u
#define OCW3_SMM    0x20u
#define OCW3_POLL   0x04u
#define OCW3_RR     0x02u
#define OCW3_RIS    0x01u
#define POLL_ACTIVE 0x80u

#define PIC_MASTER_PORT 0x20
#define PIC_SLAVE_PORT  0xa0
#define ELCR_PORT       0x4d0
/* IRQ 0, 1, 2, 8 and 13 can't be made level-triggered. */
#define ELCR_MASTER_MASK 0xf8u
#define ELCR_SLAVE_MASK  0xdeu
#define CASCADE_INPUT    2

static I8259 *i8259_cast(void *obj)
{
    return (I8259 *)object_cast((Object *)obj, TYPE_I8259);
}

static uint8_t level_inputs(const PicChip *c)
{
    return c->all_level ? 0xff : c->elcr;
}

/* The input of highest priority among `set`, or -1; *rank is its distance from the top. */
static int highest(const PicChip *c, uint8_t set, int *rank)
{
    for (int i = 0; i < 8; i++) {
        int input = (c->lowest + 1 + i) & 7;
        if (set & (1u << input)) {
            *rank = i;
            return input;
        }
    }
    *rank = 8;
    return -1;
}

/* The input that may interrupt now, or -1. */
static int pending_input(const PicChip *c)
{
    int rank, service_rank;
    int input = highest(c, c->irr & ~c->imr, &rank);
    uint8_t in_service = c->isr;

    if (input < 0) {
        return -1;
    }
    if (c->special_mask) {
        in_service &= ~c->imr;
    }
    /* Special fully nested mode: a request of the slave doesn't lock out its further requests. */
    if (c->special_nested && c->master && !c->single) {
        in_service &= ~(1u << CASCADE_INPUT);
    }
    highest(c, in_service, &service_rank);
    return rank < service_rank ? input : -1;
}

static void set_input(PicChip *c, int input, bool level)
{
    uint8_t bit = 1u << input;

    if (level_inputs(c) & bit) {
        c->irr = level ? c->irr | bit : c->irr & ~bit;
    } else if (level && !(c->lines & bit)) {
        /* The latch keeps the request when the line falls again before it is acknowledged: pulses
         * from other devices' models have no length. */
        c->irr |= bit;
    }
    c->lines = level ? c->lines | bit : c->lines & ~bit;
}

static void update(I8259 *pic)
{
    PicChip *master = &pic->chips[0];
    bool level;

    set_input(master, CASCADE_INPUT, pending_input(&pic->chips[1]) >= 0);
    if (pending_input(&pic->chips[1]) < 0) {
        master->irr &= ~(1u << CASCADE_INPUT);
    }
    level = pending_input(master) >= 0;
    pic->level = level;
    irq_set(pic->out, level);
}

static void i8259_set_line(void *opaque, int n, int level)
{
    I8259 *pic = opaque;

    if (i8259_class_of(pic)->set_line) {
        i8259_class_of(pic)->set_line(pic, n, level);
        return;
    }
    if (n == CASCADE_INPUT) {
        return;
    }
    set_input(&pic->chips[n >> 3], n & 7, level);
    update(pic);
}

static void move_into_service(PicChip *c, int input)
{
    if (!(level_inputs(c) & (1u << input))) {
        c->irr &= ~(1u << input);
    }
    if (c->auto_eoi) {
        if (c->rotate_on_auto_eoi) {
            c->lowest = input;
        }
    } else {
        c->isr |= 1u << input;
    }
}

int i8259_acknowledge(Device *dev)
{
    I8259 *pic = i8259_cast(dev);
    PicChip *master = &pic->chips[0], *slave = &pic->chips[1];
    int input = pending_input(master);
    int vector;

    if (input == CASCADE_INPUT) {
        int slave_input = pending_input(slave);
        move_into_service(master, CASCADE_INPUT);
        if (slave_input >= 0) {
            move_into_service(slave, slave_input);
        } else {
            slave_input = 7; /* the request vanished: spurious, no bit in service */
        }
        vector = slave->vector_base + slave_input;
    } else {
        if (input >= 0) {
            move_into_service(master, input);
        } else {
            input = 7;
        }
        vector = master->vector_base + input;
    }
    update(pic);
    return vector;
}

bool i8259_output(Device *dev)
{
    return i8259_cast(dev)->level;
}

static void start_init(PicChip *c, uint8_t icw1)
{
    c->irr = 0;
    c->imr = 0;
    c->isr = 0;
    c->lowest = 7;
    c->cascade = 0;
    c->all_level = icw1 & ICW1_LTIM;
    c->single = icw1 & ICW1_SNGL;
    c->want_icw4 = icw1 & ICW1_IC4;
    c->special_mask = c->read_isr = c->poll = false;
    c->auto_eoi = c->rotate_on_auto_eoi = c->special_nested = false;
    c->init = PIC_WANTS_ICW2;
    /* Lines that are level-triggered and high ask again at once; edges must come anew. */
    c->irr = c->lines & level_inputs(c);
}

/* OCW2: rotate, specific, EOI in bits 7-5. */
static void end_of_interrupt(PicChip *c, uint8_t ocw2)
{
    int rank, input;
    int specific = ocw2 & 7;

    switch (ocw2 >> 5) {
    case 0:
        c->rotate_on_auto_eoi = false;
        break;
    case 4:
        c->rotate_on_auto_eoi = true;
        break;
    case 1:
    case 5:
        input = highest(c, c->special_mask ? c->isr & ~c->imr : c->isr, &rank);
        if (input >= 0) {
            c->isr &= ~(1u << input);
            if (ocw2 & 0x80) {
                c->lowest = input;
            }
        }
        break;
    case 3:
        c->isr &= ~(1u << specific);
        break;
    case 7:
        c->isr &= ~(1u << specific);
        c->lowest = specific;
        break;
    case 6:
        c->lowest = specific;
        break;
    default: /* 2: no operation */
        break;
    }
}

static void write_command(PicChip *c, uint8_t value)
{
    if (value & ICW1) {
        start_init(c, value);
    } else if (value & OCW3) {
        if (value & OCW3_POLL) {
            c->poll = true;
        }
        if (value & OCW3_RR) {
            c->read_isr = value & OCW3_RIS;
        }
        if (value & OCW3_ESMM) {
            c->special_mask = value & OCW3_SMM;
        }
    } else {
        end_of_interrupt(c, value);
    }
}

static void write_data(PicChip *c, uint8_t value)
{
    switch (c->init) {
    case PIC_READY:
        c->imr = value;
        break;
    case PIC_WANTS_ICW2:
        c->vector_base = value & 0xf8;
        c->init = c->single ? (c->want_icw4 ? PIC_WANTS_ICW4 : PIC_READY) : PIC_WANTS_ICW3;
        break;
    case PIC_WANTS_ICW3:
        c->cascade = value;
        c->init = c->want_icw4 ? PIC_WANTS_ICW4 : PIC_READY;
        break;
    case PIC_WANTS_ICW4:
        c->special_nested = value & ICW4_SFNM;
        c->auto_eoi = value & ICW4_AEOI;
        c->init = PIC_READY;
        break;
    }
}

static void pic_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PicChip *c = opaque;

    if (addr == 0) {
        write_command(c, value);
    } else {
        write_data(c, value);
    }
    update(c->pair);
}

/* A poll is an acknowledge cycle by read. */
static uint8_t read_poll(PicChip *c)
{
    int input = pending_input(c);

    c->poll = false;
    if (input < 0) {
        return 0;
    }
    move_into_service(c, input);
    update(c->pair);
    return POLL_ACTIVE | input;
}

static uint64_t pic_read(void *opaque, hwaddr addr, unsigned size)
{
    PicChip *c = opaque;

    if (c->poll) {
        return read_poll(c);
    }
    if (addr == 0) {
        return c->read_isr ? c->isr : c->irr;
    }
    return c->imr;
}

static void elcr_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PicChip *c = opaque;
    c->elcr = value & c->elcr_mask;
}

static uint64_t elcr_read(void *opaque, hwaddr addr, unsigned size)
{
    PicChip *c = opaque;
    return c->elcr;
}

static const MemoryRegionOps pic_ops = {
    .read = pic_read,
    .write = pic_write,
    .impl = { .min = 1, .max = 1 },
};

static const MemoryRegionOps elcr_ops = {
    .read = elcr_read,
    .write = elcr_write,
    .impl = { .min = 1, .max = 1 },
};

static void i8259_refresh(I8259 *pic)
{
    const I8259Class *klass = i8259_class_of(pic);
    if (klass->fetch) {
        klass->fetch(pic);
    }
}

void i8259_print(Device *dev, GString *out)
{
    I8259 *pic = i8259_cast(dev);

    i8259_refresh(pic);
    for (int i = 0; i < 2; i++) {
        const PicChip *c = &pic->chips[i];
        g_string_append_printf(out,
                               "pic%d: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x rr_sel=%d "
                               "elcr=%02x fnm=%d\n",
                               i, c->irr, c->imr, c->isr, (c->lowest + 1) & 7, c->vector_base,
                               c->read_isr, c->elcr, c->special_nested);
    }
}

static void i8259_reset(Device *dev)
{
    I8259 *pic = i8259_cast(dev);

    for (int i = 0; i < 2; i++) {
        PicChip *c = &pic->chips[i];
        c->elcr = 0;
        start_init(c, 0);
        c->vector_base = 0;
        c->init = PIC_READY;
    }
    if (i8259_class_of(pic)->store) {
        i8259_class_of(pic)->store(pic);
    } else {
        update(pic);
    }
}

static const VmState pic_chip_vmstate = {
    .name = "i8259-chip",
    .version = 1,
    .minimum_version = 1,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT8(lines, PicChip),
            VMSTATE_UINT8(irr, PicChip),
            VMSTATE_UINT8(imr, PicChip),
            VMSTATE_UINT8(isr, PicChip),
            VMSTATE_UINT8(lowest, PicChip),
            VMSTATE_UINT8(vector_base, PicChip),
            VMSTATE_UINT8(cascade, PicChip),
            VMSTATE_UINT8(init, PicChip),
            VMSTATE_UINT8(elcr, PicChip),
            VMSTATE_BOOL(want_icw4, PicChip),
            VMSTATE_BOOL(single, PicChip),
            VMSTATE_BOOL(all_level, PicChip),
            VMSTATE_BOOL(auto_eoi, PicChip),
            VMSTATE_BOOL(rotate_on_auto_eoi, PicChip),
            VMSTATE_BOOL(special_nested, PicChip),
            VMSTATE_BOOL(special_mask, PicChip),
            VMSTATE_BOOL(read_isr, PicChip),
            VMSTATE_BOOL(poll, PicChip),
            {},
        },
};

static bool i8259_pre_save(void *opaque, Error **errp)
{
    i8259_refresh(opaque);
    return true;
}

static bool i8259_post_load(void *opaque, int version, Error **errp)
{
    I8259 *pic = opaque;

    for (int i = 0; i < 2; i++) {
        PicChip *c = &pic->chips[i];
        if (c->lowest > 7 || c->init > PIC_WANTS_ICW4) {
            error_set(errp, "i8259: state of chip %d is out of range", i);
            return false;
        }
    }
    if (i8259_class_of(pic)->store) {
        i8259_class_of(pic)->store(pic);
        return true;
    }
    pic->level = pending_input(&pic->chips[0]) >= 0;
    return true;
}

static const VmState i8259_vmstate = {
    .name = "i8259",
    .version = 1,
    .minimum_version = 1,
    .pre_save = i8259_pre_save,
    .post_load = i8259_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_STRUCT_ARRAY(chips, I8259, pic_chip_vmstate),
            {},
        },
};

static bool i8259_realize(Device *dev, Error **errp)
{
    static const uint16_t ports[] = { PIC_MASTER_PORT, PIC_SLAVE_PORT };
    I8259 *pic = i8259_cast(dev);

    for (int i = 0; i < 2; i++) {
        isa_device_add_io(dev, &pic->chips[i].io, ports[i]);
        isa_device_add_io(dev, &pic->chips[i].elcr_io, ELCR_PORT + i);
    }
    return true;
}

static void i8259_unrealize(Device *dev)
{
    I8259 *pic = i8259_cast(dev);

    for (int i = 0; i < 2; i++) {
        isa_device_del_io(dev, &pic->chips[i].io);
        isa_device_del_io(dev, &pic->chips[i].elcr_io);
    }
}

static void i8259_init(Object *obj)
{
    I8259 *pic = i8259_cast(obj);

    device_init_lines_in(&pic->parent, NULL, i8259_set_line, ISA_IRQ_COUNT);
    device_init_lines_out(&pic->parent, NULL, &pic->out, 1);
    for (int i = 0; i < 2; i++) {
        PicChip *c = &pic->chips[i];
        c->pair = pic;
        c->master = i == 0;
        c->elcr_mask = i == 0 ? ELCR_MASTER_MASK : ELCR_SLAVE_MASK;
        memory_region_init_io(&c->io, obj, &pic_ops, c, "pic", 2);
        memory_region_init_io(&c->elcr_io, obj, &elcr_ops, c, "elcr", 1);
    }
}

static void i8259_finalize(Object *obj)
{
    I8259 *pic = i8259_cast(obj);

    for (int i = 0; i < 2; i++) {
        memory_region_finish(&pic->chips[i].io);
        memory_region_finish(&pic->chips[i].elcr_io);
    }
}

static void i8259_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = i8259_realize;
    dc->unrealize = i8259_unrealize;
    dc->reset = i8259_reset;
    dc->vmstate = &i8259_vmstate;
    dc->user_creatable = false;
}

static const TypeInfo i8259_info = {
    .name = TYPE_I8259,
    .parent = TYPE_ISA_DEVICE,
    .help = "8259A interrupt controllers, master and slave",
    .instance_size = sizeof(I8259),
    .class_size = sizeof(I8259Class),
    .instance_init = i8259_init,
    .instance_finalize = i8259_finalize,
    .class_init = i8259_class_init,
};
OBJECT_TYPE(i8259, i8259_info)
