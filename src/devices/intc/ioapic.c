/*
 * I/O APIC with 24 inputs.
 *
 * Intel 82093AA data sheet (order number 290566), with the EOI register of version 0x20 (ICH9
 * section 13.5). Messages are handed to the local APICs' bus; the EOI of a level-triggered vector
 * comes back from it.
 */
#include "devices/intc/ioapic.h"

#include <inttypes.h>

#include "base/log.h"
#include "cpu/x86/apic.h"
#include "devices/intc/ioapic-internal.h"
#include "event/lock.h"

/* Memory window. */
#define IOREGSEL    0x00
#define IOWIN       0x10
#define IOEOI       0x40
#define IOAPIC_SIZE 0x1000

/* Indexed registers. */
#define IOAPICID  0x00
#define IOAPICVER 0x01
#define IOAPICARB 0x02
#define IOREDTBL  0x10
#define ID_MASK   0x0f000000u
#define VERSION   0x20u

/* Redirection entry, data sheet section 3.2.4. */
#define REDIR_VECTOR     0xffu
#define REDIR_MODE_SHIFT 8
#define REDIR_LOGICAL    BIT64(11)
#define REDIR_STATUS     BIT64(12) /* read-only: never pending here */
#define REDIR_REMOTE_IRR BIT64(14) /* read-only */
#define REDIR_LEVEL      BIT64(15)
#define REDIR_POLARITY   BIT64(13)
#define REDIR_MASKED     BIT64(16)
#define REDIR_DEST_SHIFT 56
#define REDIR_READONLY   (REDIR_STATUS | REDIR_REMOTE_IRR)
#define REDIR_WRITABLE   (UINT64_C(0xff0000000001ffff) & ~REDIR_READONLY)

static IoApic *ioapic_cast(void *obj)
{
    return (IoApic *)object_cast((Object *)obj, TYPE_IOAPIC);
}

static void mark_in_service(IoApic *s, uint8_t vector)
{
    __atomic_or_fetch(&s->in_service[vector >> 6], BIT64(vector & 63), __ATOMIC_SEQ_CST);
}

static X86ApicMessage message_of(uint64_t e)
{
    return (X86ApicMessage){
        .destination = e >> REDIR_DEST_SHIFT,
        .vector = e & REDIR_VECTOR,
        .mode = e >> REDIR_MODE_SHIFT & 7,
        .logical = e & REDIR_LOGICAL,
        .level = e & REDIR_LEVEL,
    };
}

/* Local APICs elsewhere (KVM) must know whose EOIs to tell us. */
static void tell_route(IoApic *s, int pin)
{
    X86ApicMessage message = message_of(s->redir[pin]);
    if (s->bus) {
        x86_apic_bus_route_changed(s->bus, (unsigned)pin, s->redir[pin] & REDIR_MASKED, &message);
    }
}

static void send(IoApic *s, int pin)
{
    uint64_t e = s->redir[pin];
    X86ApicMessage message = message_of(e);

    if (e & REDIR_LEVEL) {
        s->redir[pin] |= REDIR_REMOTE_IRR;
        mark_in_service(s, message.vector);
    } else {
        s->irr &= ~(1u << pin);
    }
    x86_apic_send(s->bus, &message);
}

static void service(IoApic *s, int pin)
{
    uint64_t e = s->redir[pin];

    if (!(s->irr & (1u << pin)) || (e & REDIR_MASKED)) {
        return;
    }
    if ((e & REDIR_LEVEL) && (e & REDIR_REMOTE_IRR)) {
        return;
    }
    /* A pin in ExtINT mode passes the 8259's interrupt, which reaches the processors by LINT0. */
    if ((e >> REDIR_MODE_SHIFT & 7) == X86_APIC_EXTINT) {
        s->irr &= ~(1u << pin);
        return;
    }
    send(s, pin);
}

static void ioapic_set_line(void *opaque, int pin, int level)
{
    IoApic *s = opaque;

    if (ioapic_class_of(s)->set_line) {
        ioapic_class_of(s)->set_line(s, pin, level);
        return;
    }
    uint32_t bit = 1u << pin;
    bool was = s->lines & bit;

    s->lines = level ? s->lines | bit : s->lines & ~bit;
    if (s->redir[pin] & REDIR_LEVEL) {
        s->irr = level ? s->irr | bit : s->irr & ~bit;
    } else if (level && !was && !(s->redir[pin] & REDIR_MASKED)) {
        s->irr |= bit; /* edges on a masked input are lost, section 3.2.4 bit 16 */
    }
    service(s, pin);
}

/* Without the machine lock, on the vCPU's thread. */
static void ioapic_eoi(void *opaque, uint8_t vector)
{
    IoApic *s = opaque;

    if (!(__atomic_load_n(&s->in_service[vector >> 6], __ATOMIC_SEQ_CST) & BIT64(vector & 63))) {
        return;
    }
    MACHINE_LOCKED();
    __atomic_and_fetch(&s->in_service[vector >> 6], ~BIT64(vector & 63), __ATOMIC_SEQ_CST);
    for (int pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t e = s->redir[pin];
        if ((e & REDIR_VECTOR) == vector && (e & REDIR_LEVEL) && (e & REDIR_REMOTE_IRR)) {
            s->redir[pin] = e & ~REDIR_REMOTE_IRR;
            service(s, pin);
        }
    }
}

static uint64_t read_register(IoApic *s)
{
    switch (s->select) {
    case IOAPICID:
    case IOAPICARB:
        return (uint32_t)s->id << 24;
    case IOAPICVER:
        return VERSION | (IOAPIC_PINS - 1) << 16;
    default: {
        unsigned index = s->select - IOREDTBL;
        if (s->select < IOREDTBL || index / 2 >= IOAPIC_PINS) {
            return 0;
        }
        return (uint32_t)(s->redir[index / 2] >> (index & 1 ? 32 : 0));
    }
    }
}

static void write_redirection(IoApic *s, int pin, bool high, uint32_t value)
{
    uint64_t old = s->redir[pin];
    uint64_t e = bits_deposit(old, high ? 32 : 0, 32, value);

    e = (e & REDIR_WRITABLE) | (old & REDIR_READONLY);
    /* An entry made edge-triggered forgets the level message in service: software uses this to
     * recover a lost EOI. */
    if (!(e & REDIR_LEVEL)) {
        e &= ~REDIR_REMOTE_IRR;
        if (old & REDIR_LEVEL) {
            s->irr &= ~(1u << pin);
        }
    } else if (!(old & REDIR_LEVEL)) {
        s->irr = bits_deposit(s->irr, pin, 1, s->lines >> pin & 1);
    }
    s->redir[pin] = e;
    tell_route(s, pin);
    if (e & REDIR_REMOTE_IRR) {
        mark_in_service(s, e & REDIR_VECTOR);
    }
    service(s, pin);
}

static void write_register(IoApic *s, uint32_t value)
{
    if (s->select == IOAPICID) {
        s->id = (value & ID_MASK) >> 24;
    } else if (s->select >= IOREDTBL && s->select < IOREDTBL + 2 * IOAPIC_PINS) {
        unsigned index = s->select - IOREDTBL;
        write_redirection(s, index / 2, index & 1, value);
    } else {
        log_guest_error("ioapic: write of 0x%x to register 0x%x, which can't be written\n", value,
                        s->select);
    }
}

static uint64_t ioapic_read(void *opaque, hwaddr addr, unsigned size)
{
    IoApic *s = opaque;

    switch (addr & 0xff) {
    case IOREGSEL:
        return s->select;
    case IOWIN:
        return size == 4 ? read_register(s) : 0;
    default:
        return 0;
    }
}

static void ioapic_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    IoApic *s = opaque;

    switch (addr & 0xff) {
    case IOREGSEL:
        s->select = value;
        break;
    case IOWIN:
        if (size == 4) {
            write_register(s, value);
        }
        break;
    case IOEOI:
        ioapic_eoi(s, value);
        break;
    default:
        break;
    }
}

static const MemoryRegionOps ioapic_ops = {
    .read = ioapic_read,
    .write = ioapic_write,
    .valid = { .min = 1, .max = 4 },
    .impl = { .min = 1, .max = 4 },
};

static void refresh(IoApic *s)
{
    if (ioapic_class_of(s)->fetch) {
        ioapic_class_of(s)->fetch(s);
    }
}

void ioapic_print(Device *dev, GString *out)
{
    IoApic *s = ioapic_cast(dev);

    refresh(s);

    g_string_append_printf(out, "ioapic0: ver=0x%x id=0x%02x sel=0x%02x\n", VERSION, s->id,
                           s->select);
    for (int pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t e = s->redir[pin];
        g_string_append_printf(
            out, "  pin %-2d 0x%016" PRIx64 " dest=%" PRIx64 " vec=%-3u %s%s%s\n", pin, e,
            e >> REDIR_DEST_SHIFT, (unsigned)(e & REDIR_VECTOR), e & REDIR_LEVEL ? "level" : "edge",
            e & REDIR_MASKED ? " masked" : "", e & REDIR_REMOTE_IRR ? " in service" : "");
    }
    g_string_append_printf(out, "  IRR 0x%06x lines 0x%06x\n", s->irr, s->lines);
}

void ioapic_map(Device *dev, MemoryRegion *memory, hwaddr base)
{
    memory_region_add_overlap(memory, base, &ioapic_cast(dev)->mmio, 1);
}

static void ioapic_reset(Device *dev)
{
    IoApic *s = ioapic_cast(dev);

    s->id = 0;
    s->select = 0;
    s->irr = 0;
    for (int pin = 0; pin < IOAPIC_PINS; pin++) {
        s->redir[pin] = REDIR_MASKED;
    }
    for (unsigned i = 0; i < ARRAY_LEN(s->in_service); i++) {
        __atomic_store_n(&s->in_service[i], 0, __ATOMIC_SEQ_CST);
    }
    if (ioapic_class_of(s)->store) {
        ioapic_class_of(s)->store(s);
    }
}

static bool ioapic_pre_save(void *opaque, Error **errp)
{
    refresh(opaque);
    return true;
}

static bool ioapic_post_load(void *opaque, int version, Error **errp)
{
    IoApic *s = opaque;

    if (ioapic_class_of(s)->store) {
        ioapic_class_of(s)->store(s);
        return true;
    }
    for (int pin = 0; pin < IOAPIC_PINS; pin++) {
        if (s->redir[pin] & REDIR_REMOTE_IRR) {
            mark_in_service(s, s->redir[pin] & REDIR_VECTOR);
        }
        tell_route(s, pin);
    }
    return true;
}

static const VmState ioapic_vmstate = {
    .name = "ioapic",
    .version = 1,
    .minimum_version = 1,
    .pre_save = ioapic_pre_save,
    .post_load = ioapic_post_load,
    .fields =
        (const VmStateField[]){
            VMSTATE_UINT8(id, IoApic),
            VMSTATE_UINT8(select, IoApic),
            VMSTATE_UINT32(lines, IoApic),
            VMSTATE_UINT32(irr, IoApic),
            VMSTATE_UINT_ARRAY(redir, IoApic),
            {},
        },
};

static bool ioapic_realize(Device *dev, Error **errp)
{
    IoApic *s = ioapic_cast(dev);

    s->bus = x86_apic_bus();
    x86_apic_bus_add_eoi_hook(s->bus, ioapic_eoi, s);
    return true;
}

static void ioapic_unrealize(Device *dev)
{
    IoApic *s = ioapic_cast(dev);

    x86_apic_bus_del_eoi_hook(s->bus, ioapic_eoi, s);
    if (s->mmio.container) {
        memory_region_del(s->mmio.container, &s->mmio);
    }
}

static void ioapic_init(Object *obj)
{
    IoApic *s = ioapic_cast(obj);

    device_init_lines_in(&s->parent, NULL, ioapic_set_line, IOAPIC_PINS);
    memory_region_init_io(&s->mmio, obj, &ioapic_ops, s, "ioapic", IOAPIC_SIZE);
}

static void ioapic_finalize(Object *obj)
{
    memory_region_finish(&ioapic_cast(obj)->mmio);
}

static void ioapic_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);

    dc->realize = ioapic_realize;
    dc->unrealize = ioapic_unrealize;
    dc->reset = ioapic_reset;
    dc->vmstate = &ioapic_vmstate;
    dc->bus_type = TYPE_SYSTEM_BUS;
    dc->user_creatable = false;
}

static const TypeInfo ioapic_info = {
    .name = TYPE_IOAPIC,
    .parent = TYPE_DEVICE,
    .help = "I/O APIC with 24 inputs",
    .instance_size = sizeof(IoApic),
    .class_size = sizeof(IoApicClass),
    .instance_init = ioapic_init,
    .instance_finalize = ioapic_finalize,
    .class_init = ioapic_class_init,
};
OBJECT_TYPE(ioapic, ioapic_info)
