/*
 * pci-testdev: measures how accesses reach a device (docs of the field: "pci-testdev"). Each BAR
 * begins with a header that describes the selected test: where to write, how wide, what; and counts
 * the writes that came, through the device's function or through a notifier.
 */
#include <string.h>

#include "base/log.h"
#include "bus/pci/pci.h"
#include "event/notifier.h"
#include "object/property.h"

#define TYPE_PCI_TESTDEV "pci-testdev"

#define TEST_WIDTH  1    /* bytes */
#define DATA_MATCH  0xfa /* the value that the doorbell waits for */
#define DATA_OTHER  0xce
#define DOORBELL(i) (HEADER_SIZE + (unsigned)(i)*TEST_WIDTH)
#define HEADER_SIZE 128u
#define MEMORY_SIZE 4096u
#define PORT_SIZE   256u
#define TEST_COUNT  3
#define TEST_NONE   UINT8_MAX

/* The header's layout */
enum {
    HEADER_TEST = 0,
    HEADER_WIDTH = 1,
    HEADER_OFFSET = 4,
    HEADER_DATA = 8,
    HEADER_COUNT = 12,
    HEADER_NAME = 16,
};

typedef struct TestBar TestBar;

typedef struct TestDoorbell {
    EventNotifier notifier; /* fd -1: this test has none */
    TestBar *bar;
    int index;
    bool match;
} TestDoorbell;

struct TestBar {
    MemoryRegion region;
    uint8_t header[HEADER_SIZE];
    TestDoorbell doorbells[TEST_COUNT];
    const char *prefix; /* "mmio" or "portio" */
    uint8_t selected;
};

typedef struct PciTestdev {
    PciDevice parent;
    TestBar memory, port;
    MemoryRegion membar; /* a BAR of the wanted size, with nothing in it */
    uint64_t membar_size;
    bool membar_backed;
} PciTestdev;

static PciTestdev *testdev_cast(void *obj)
{
    return (PciTestdev *)object_cast((Object *)obj, TYPE_PCI_TESTDEV);
}

static const struct {
    const char *name;
    bool notifier, match;
} tests[TEST_COUNT] = {
    { "no-eventfd", false, false },
    { "wildcard-eventfd", true, false },
    { "datamatch-eventfd", true, true },
};

/* --- Tests --- */

static void count_hit(TestBar *bar)
{
    st32_le(bar->header + HEADER_COUNT, ld32_le(bar->header + HEADER_COUNT) + 1);
}

static void doorbell_rang(EventNotifier *n)
{
    TestDoorbell *bell = CONTAINER_OF(n, TestDoorbell, notifier);
    event_notifier_test_and_clear(n);
    count_hit(bell->bar);
}

static void stop_test(TestBar *bar)
{
    if (bar->selected != TEST_NONE) {
        TestDoorbell *bell = &bar->doorbells[bar->selected];
        if (bell->notifier.fd >= 0) {
            memory_region_del_eventfd(&bar->region, DOORBELL(bell->index), TEST_WIDTH, bell->match,
                                      DATA_MATCH, &bell->notifier);
        }
    }
    bar->selected = TEST_NONE;
    memset(bar->header, 0, sizeof(bar->header));
}

static void select_test(TestBar *bar, uint64_t test)
{
    stop_test(bar);
    if (test >= TEST_COUNT) {
        return; /* an empty name tells the guest that there is no such test */
    }
    TestDoorbell *bell = &bar->doorbells[test];
    bar->selected = (uint8_t)test;
    bar->header[HEADER_TEST] = (uint8_t)test;
    bar->header[HEADER_WIDTH] = TEST_WIDTH;
    st32_le(bar->header + HEADER_OFFSET, DOORBELL(test));
    bar->header[HEADER_DATA] = bell->match ? DATA_MATCH : DATA_OTHER;
    g_snprintf((char *)bar->header + HEADER_NAME, HEADER_SIZE - HEADER_NAME, "%s-%s", bar->prefix,
               tests[test].name);
    if (bell->notifier.fd >= 0) {
        memory_region_add_eventfd(&bar->region, DOORBELL(test), TEST_WIDTH, bell->match, DATA_MATCH,
                                  &bell->notifier);
    }
}

/* --- Guest side --- */

static uint64_t testdev_read(void *opaque, hwaddr addr, unsigned size)
{
    const TestBar *bar = opaque;
    return addr + size <= HEADER_SIZE ? ldn_le(bar->header + addr, size) : 0;
}

static void testdev_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    TestBar *bar = opaque;

    if (addr == HEADER_TEST) {
        select_test(bar, value);
    } else if (bar->selected != TEST_NONE && addr == DOORBELL(bar->selected) &&
               size == TEST_WIDTH) {
        const TestDoorbell *bell = &bar->doorbells[bar->selected];
        /* A doorbell with a notifier only gets here with other data. */
        if (bell->notifier.fd < 0 && (uint8_t)value == bar->header[HEADER_DATA]) {
            count_hit(bar);
        }
    }
}

static const MemoryRegionOps testdev_ops = {
    .read = testdev_read,
    .write = testdev_write,
    .impl = { .min = 1, .max = 1 },
};

/* --- Life --- */

static void bar_finish(TestBar *bar)
{
    stop_test(bar);
    for (int i = 0; i < TEST_COUNT; i++) {
        if (bar->doorbells[i].notifier.fd >= 0) {
            event_notifier_watch(&bar->doorbells[i].notifier, NULL, NULL);
            event_notifier_finish(&bar->doorbells[i].notifier);
            bar->doorbells[i].notifier.fd = -1;
        }
    }
}

static bool bar_start(TestBar *bar, Error **errp)
{
    for (int i = 0; i < TEST_COUNT; i++) {
        TestDoorbell *bell = &bar->doorbells[i];
        bell->bar = bar;
        bell->index = i;
        bell->match = tests[i].match;
        if (!tests[i].notifier) {
            continue;
        }
        if (!event_notifier_init(&bell->notifier, false, errp)) {
            bar_finish(bar);
            return false;
        }
        event_notifier_watch(&bell->notifier, event_loop_main(), doorbell_rang);
    }
    return true;
}

#define MEMBAR_MIN 16u

static bool membar_add(PciTestdev *s, Error **errp)
{
    Object *owner = (Object *)s;

    if (!s->membar_size) {
        return true;
    }
    if (!is_power_of_two(s->membar_size) || s->membar_size < MEMBAR_MIN) {
        error_set(errp, "pci-testdev: membar is %llu bytes; it must be a power of two, at least %u",
                  (unsigned long long)s->membar_size, MEMBAR_MIN);
        return false;
    }
    memory_region_finish(&s->membar); /* of an earlier realize */
    if (!s->membar_backed) {
        memory_region_init(&s->membar, owner, "pci-testdev-membar", s->membar_size);
    } else if (!memory_region_init_ram(&s->membar, owner, "pci-testdev-membar", s->membar_size,
                                       errp)) {
        return false;
    }
    pci_register_bar(&s->parent, 2, PCI_BASE_ADDRESS_MEM_PREFETCH | PCI_BASE_ADDRESS_MEM_TYPE_64,
                     &s->membar);
    return true;
}

static bool testdev_realize(PciDevice *dev, Error **errp)
{
    PciTestdev *s = testdev_cast(dev);

    dev->config[PCI_INTERRUPT_PIN] = 0;
    if (!bar_start(&s->memory, errp)) {
        return false;
    }
    if (!bar_start(&s->port, errp) || !membar_add(s, errp)) {
        bar_finish(&s->memory);
        bar_finish(&s->port);
        return false;
    }
    pci_register_bar(dev, 0, PCI_BASE_ADDRESS_SPACE_MEMORY, &s->memory.region);
    pci_register_bar(dev, 1, PCI_BASE_ADDRESS_SPACE_IO, &s->port.region);
    return true;
}

static void testdev_exit(PciDevice *dev)
{
    PciTestdev *s = testdev_cast(dev);
    bar_finish(&s->memory);
    bar_finish(&s->port);
}

static void testdev_reset(Device *dev)
{
    PciTestdev *s = testdev_cast(dev);
    stop_test(&s->memory);
    stop_test(&s->port);
}

static void bar_init(TestBar *bar, Object *owner, const char *prefix, const char *name,
                     uint64_t size)
{
    bar->prefix = prefix;
    bar->selected = TEST_NONE;
    for (int i = 0; i < TEST_COUNT; i++) {
        bar->doorbells[i].notifier.fd = -1;
    }
    memory_region_init_io(&bar->region, owner, &testdev_ops, bar, name, size);
}

static void testdev_init(Object *obj)
{
    PciTestdev *s = testdev_cast(obj);
    bar_init(&s->memory, obj, "mmio", "pci-testdev-mmio", MEMORY_SIZE);
    bar_init(&s->port, obj, "portio", "pci-testdev-portio", PORT_SIZE);
}

static void testdev_finalize(Object *obj)
{
    PciTestdev *s = testdev_cast(obj);
    memory_region_finish(&s->memory.region);
    memory_region_finish(&s->port.region);
    memory_region_finish(&s->membar);
}

static bool bar_pre_load(void *opaque, Error **errp)
{
    stop_test(opaque);
    return true;
}

/* The test that ran is selected anew, with its hits so far. */
static bool bar_post_load(void *opaque, int version, Error **errp)
{
    TestBar *bar = opaque;
    uint8_t test = bar->selected;
    uint32_t count = ld32_le(bar->header + HEADER_COUNT);

    if (test != TEST_NONE && test >= TEST_COUNT) {
        error_set(errp, "pci-testdev: there is no test %u", test);
        bar->selected = TEST_NONE;
        return false;
    }
    bar->selected = TEST_NONE;
    select_test(bar, test);
    st32_le(bar->header + HEADER_COUNT, test == TEST_NONE ? 0 : count);
    return true;
}

static const VmState bar_vmstate = {
    .name = "pci-testdev/bar",
    .version = 1,
    .minimum_version = 1,
    .pre_load = bar_pre_load,
    .post_load = bar_post_load,
    .fields = (const VmStateField[]){ VMSTATE_UINT8(selected, TestBar),
                                      VMSTATE_BUFFER(header, TestBar),
                                      {} },
};

static const VmState testdev_vmstate = {
    .name = "pci-testdev",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ VMSTATE_STRUCT(parent, PciTestdev, pci_device_vmstate),
                                      VMSTATE_STRUCT(memory, PciTestdev, bar_vmstate),
                                      VMSTATE_STRUCT(port, PciTestdev, bar_vmstate),
                                      {} },
};

/* clang-format off */
static const Field testdev_properties[] = {
    PROP_SIZE("membar", PciTestdev, membar_size, 0, .help = "size of a further 64-bit memory BAR"),
    PROP_BOOL("membar-backed", PciTestdev, membar_backed, false, .help = "with memory behind it"),
    {}
};
/* clang-format on */

static void testdev_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);

    dc->category = DEVICE_CATEGORY_MISC;
    dc->desc = "PCI Test Device";
    dc->reset = testdev_reset;
    dc->vmstate = &testdev_vmstate;
    pc->realize = testdev_realize;
    pc->exit = testdev_exit;
    pc->vendor_id = PCI_VENDOR_ID_REDHAT;
    pc->device_id = 0x0005;
    pc->revision = 0x00;
    pc->class_id = PCI_CLASS_OTHERS;
}

static const TypeInfo testdev_info = {
    .name = TYPE_PCI_TESTDEV,
    .parent = TYPE_PCI_DEVICE,
    .help = "PCI Test Device",
    .instance_size = sizeof(PciTestdev),
    .properties = testdev_properties,
    .instance_init = testdev_init,
    .instance_finalize = testdev_finalize,
    .class_init = testdev_class_init,
    .interfaces = (const char *const[]){ TYPE_PCI_CONVENTIONAL, NULL },
};
OBJECT_TYPE(pci_testdev, testdev_info)
