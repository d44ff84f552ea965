/*
 * edu: a PCI device to learn driver writing with (docs of the field: "EDU device"). Registers in a
 * 1 MiB memory BAR: identification, liveness, a factorial that takes a while, interrupts by pin or
 * MSI, and DMA to and from a 4 KiB buffer.
 */
#include <inttypes.h>

#include "base/log.h"
#include "bus/pci/msi.h"
#include "bus/pci/pci.h"
#include "event/clock.h"
#include "object/property.h"

#define TYPE_EDU "edu"

#define EDU_BAR_SIZE   (1 * MiB)
#define EDU_IDENTITY   0x010000edu /* version 1.0 */
#define BUFFER_START   0x40000u    /* of the buffer in the device's own addresses */
#define BUFFER_SIZE    4096u
#define DMA_DURATION   (100 * NS_PER_MS)
#define FACTORIAL_ZERO 34 /* from here on n! is 0 modulo 2^32 */

enum {
    REG_ID = 0x00,
    REG_LIVENESS = 0x04,
    REG_FACTORIAL = 0x08,
    REG_STATUS = 0x20,
    REG_IRQ_STATUS = 0x24,
    REG_IRQ_RAISE = 0x60,
    REG_IRQ_ACK = 0x64,
    REG_DMA_SOURCE = 0x80,
    REG_DMA_TARGET = 0x88,
    REG_DMA_COUNT = 0x90,
    REG_DMA_COMMAND = 0x98,
};

#define STATUS_COMPUTING 0x01
#define STATUS_IRQ       0x80 /* interrupt when the factorial is done */
#define IRQ_FACTORIAL    0x001
#define IRQ_DMA          0x100
#define DMA_RUN          0x1
#define DMA_TO_RAM       0x2 /* direction: from the device's buffer */
#define DMA_IRQ          0x4

typedef struct Edu {
    PciDevice parent;
    MemoryRegion bar;
    BottomHalf *factorial_bh;
    Timer *dma_timer;
    uint64_t dma_mask; /* bits of addresses that the device drives */

    uint32_t liveness, factorial, status, irq_status;
    uint64_t dma_source, dma_target, dma_count, dma_command;
    uint8_t buffer[BUFFER_SIZE];
} Edu;

static Edu *edu_cast(void *obj)
{
    return (Edu *)object_cast((Object *)obj, TYPE_EDU);
}

/* --- Interrupts --- */

static void raise_irq(Edu *s, uint32_t bits)
{
    s->irq_status |= bits;
    if (!s->irq_status) {
        return;
    }
    if (msi_enabled(&s->parent)) {
        msi_notify(&s->parent, 0);
    } else {
        pci_set_irq(&s->parent, 1);
    }
}

static void ack_irq(Edu *s, uint32_t bits)
{
    s->irq_status &= ~bits;
    if (!s->irq_status && !msi_enabled(&s->parent)) {
        pci_set_irq(&s->parent, 0);
    }
}

/* --- What takes a while --- */

static void factorial_done(void *opaque)
{
    Edu *s = opaque;
    uint32_t n = s->factorial, result = n < FACTORIAL_ZERO ? 1 : 0;

    for (uint32_t i = 2; i <= n && n < FACTORIAL_ZERO; i++) {
        result *= i;
    }
    s->factorial = result;
    s->status &= ~STATUS_COMPUTING;
    if (s->status & STATUS_IRQ) {
        raise_irq(s, IRQ_FACTORIAL);
    }
}

static bool in_buffer(uint64_t addr, uint64_t count)
{
    return addr >= BUFFER_START && addr - BUFFER_START <= BUFFER_SIZE &&
           count <= BUFFER_SIZE - (addr - BUFFER_START);
}

static uint64_t bus_address(const Edu *s, uint64_t addr)
{
    if (addr & ~s->dma_mask) {
        log_guest_error("edu: address 0x%" PRIx64 " has more bits than dma_mask 0x%" PRIx64 "\n",
                        addr, s->dma_mask);
    }
    return addr & s->dma_mask;
}

static void dma_done(void *opaque)
{
    Edu *s = opaque;
    bool to_ram = s->dma_command & DMA_TO_RAM;
    uint64_t own = to_ram ? s->dma_source : s->dma_target;
    uint64_t bus = bus_address(s, to_ram ? s->dma_target : s->dma_source);

    if (!in_buffer(own, s->dma_count)) {
        log_guest_error("edu: DMA of %" PRIu64 " bytes at 0x%" PRIx64 " leaves the buffer\n",
                        s->dma_count, own);
    } else if (to_ram) {
        pci_dma_write(&s->parent, bus, s->buffer + (own - BUFFER_START), s->dma_count);
    } else {
        pci_dma_read(&s->parent, bus, s->buffer + (own - BUFFER_START), s->dma_count);
    }
    s->dma_command &= ~(uint64_t)DMA_RUN;
    if (s->dma_command & DMA_IRQ) {
        raise_irq(s, IRQ_DMA);
    }
}

/* --- Guest side --- */

static uint64_t edu_read(void *opaque, hwaddr addr, unsigned size)
{
    const Edu *s = opaque;

    switch (addr) {
    case REG_ID:
        return EDU_IDENTITY;
    case REG_LIVENESS:
        return s->liveness;
    case REG_FACTORIAL:
        return s->factorial;
    case REG_STATUS:
        return s->status;
    case REG_IRQ_STATUS:
        return s->irq_status;
    case REG_DMA_SOURCE:
        return s->dma_source;
    case REG_DMA_TARGET:
        return s->dma_target;
    case REG_DMA_COUNT:
        return s->dma_count;
    case REG_DMA_COMMAND:
        return s->dma_command;
    default:
        return UINT64_MAX;
    }
}

/* The DMA registers keep their values while a transfer runs. */
static void write_dma(Edu *s, uint64_t *reg, uint64_t value)
{
    if (!(s->dma_command & DMA_RUN)) {
        *reg = value;
    }
}

static void edu_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    Edu *s = opaque;

    switch (addr) {
    case REG_LIVENESS:
        s->liveness = ~(uint32_t)value;
        break;
    case REG_FACTORIAL:
        if (!(s->status & STATUS_COMPUTING)) {
            s->factorial = (uint32_t)value;
            s->status |= STATUS_COMPUTING;
            bh_schedule(s->factorial_bh);
        }
        break;
    case REG_STATUS:
        s->status = (s->status & ~STATUS_IRQ) | ((uint32_t)value & STATUS_IRQ);
        break;
    case REG_IRQ_RAISE:
        raise_irq(s, (uint32_t)value);
        break;
    case REG_IRQ_ACK:
        ack_irq(s, (uint32_t)value);
        break;
    case REG_DMA_SOURCE:
        write_dma(s, &s->dma_source, value);
        break;
    case REG_DMA_TARGET:
        write_dma(s, &s->dma_target, value);
        break;
    case REG_DMA_COUNT:
        write_dma(s, &s->dma_count, value);
        break;
    case REG_DMA_COMMAND:
        if ((value & DMA_RUN) && !(s->dma_command & DMA_RUN)) {
            s->dma_command = value & (DMA_RUN | DMA_TO_RAM | DMA_IRQ);
            timer_set(s->dma_timer, clock_now(CLK_VIRTUAL) + DMA_DURATION);
        }
        break;
    default:
        log_guest_error("edu: write to 0x%" PRIx64 ", where nothing is\n", addr);
    }
}

/* Below 0x80 registers have 4 bytes; above, 8 that can be reached with 4 too. */
static bool edu_accepts(void *opaque, hwaddr addr, unsigned size, bool is_write, MemTxAttrs attrs)
{
    return size == 4 || addr >= REG_DMA_SOURCE;
}

static const MemoryRegionOps edu_ops = {
    .read = edu_read,
    .write = edu_write,
    .valid = { .min = 4, .max = 8, .accepts = edu_accepts },
    .impl = { .min = 4, .max = 8 },
};

/* --- Life --- */

static void edu_reset(Device *dev)
{
    Edu *s = edu_cast(dev);

    bh_cancel(s->factorial_bh);
    timer_cancel(s->dma_timer);
    s->liveness = s->factorial = s->status = s->irq_status = 0;
    s->dma_source = s->dma_target = s->dma_count = s->dma_command = 0;
}

static bool edu_realize(PciDevice *dev, Error **errp)
{
    Edu *s = edu_cast(dev);

    dev->config[PCI_INTERRUPT_PIN] = 1;
    if (!msi_init(dev, 0, 1, true, false, errp)) {
        return false;
    }
    s->factorial_bh = bh_new(event_loop_main(), factorial_done, s);
    s->dma_timer = timer_new(event_loop_main(), CLK_VIRTUAL, dma_done, s);
    pci_register_bar(dev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->bar);
    return true;
}

static void edu_exit(PciDevice *dev)
{
    Edu *s = edu_cast(dev);

    g_clear_pointer(&s->factorial_bh, bh_free);
    g_clear_pointer(&s->dma_timer, timer_free);
}

static void edu_init(Object *obj)
{
    Edu *s = edu_cast(obj);
    memory_region_init_io(&s->bar, obj, &edu_ops, s, "edu-mmio", EDU_BAR_SIZE);
}

static void edu_finalize(Object *obj)
{
    memory_region_finish(&edu_cast(obj)->bar);
}

static bool edu_post_load(void *opaque, int version, Error **errp)
{
    Edu *s = opaque;
    if (s->status & STATUS_COMPUTING) {
        bh_schedule(s->factorial_bh);
    }
    return true;
}

static const VmState edu_vmstate = {
    .name = "edu",
    .version = 1,
    .minimum_version = 1,
    .post_load = edu_post_load,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, Edu, pci_device_vmstate),
                                      VMSTATE_UINT32(liveness, Edu),
                                      VMSTATE_UINT32(factorial, Edu),
                                      VMSTATE_UINT32(status, Edu),
                                      VMSTATE_UINT32(irq_status, Edu),
                                      VMSTATE_UINT64(dma_source, Edu),
                                      VMSTATE_UINT64(dma_target, Edu),
                                      VMSTATE_UINT64(dma_count, Edu),
                                      VMSTATE_UINT64(dma_command, Edu),
                                      VMSTATE_TIMER(dma_timer, Edu),
                                      VMSTATE_BUFFER(buffer, Edu),
                                      {} },
};

/* clang-format off */
static const Field edu_properties[] = {
    PROP_UINT64("dma_mask", Edu, dma_mask, (1u << 28) - 1,
                .help = "address bits that the device drives in DMA"),
    {}
};
/* clang-format on */

static void edu_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_MISC;
    dc->reset = edu_reset;
    dc->vmstate = &edu_vmstate;
    pc->realize = edu_realize;
    pc->exit = edu_exit;
    pc->vendor_id = 0x1234;
    pc->device_id = 0x11e8;
    pc->revision = 0x10;
    pc->class_id = PCI_CLASS_OTHERS;
}

static const TypeInfo edu_info = {
    .name = TYPE_EDU,
    .parent = TYPE_PCI_DEVICE,
    .help = "device to learn driver writing with",
    .instance_size = sizeof(Edu),
    .properties = edu_properties,
    .instance_init = edu_init,
    .instance_finalize = edu_finalize,
    .class_init = edu_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(edu, edu_info)
