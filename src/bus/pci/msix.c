/*
 * MSI-X (PCI 3.0, 6.8.2): a table of messages and an array of pending bits, in BARs.
 *
 * Any thread may notify: entries and pending bits are read and written as atomic words; a mask bit
 * that is set at the same time as a message is sent lets that one through, as hardware would.
 */
#include "bus/pci/msi.h"

#include <string.h>

#include "base/log.h"
#include "base/report.h"
#include "event/lock.h"

struct PciMsix {
    struct rcu_head rcu;
    PciDevice *dev;
    unsigned vectors, table_words, pba_words;
    uint32_t *table; /* vectors * 4 words, little-endian; atomic */
    uint32_t *pba;   /* one bit a vector, little-endian words; atomic */
    unsigned *used;  /* how many users; 0: never delivered */
    bool *notified;  /* the notifiers' use was called, release not yet */
    bool masked;     /* the function is masked, or MSI-X is off */
    bool notifying;
    MsixNotifiers notifiers;
    MemoryRegion table_region, pba_region;
    MemoryRegion *table_bar, *pba_bar;
    MemoryRegion bar; /* of msix_init_exclusive() */
    bool exclusive;
};

static uint32_t load_word(const uint32_t *word)
{
    return le32toh(__atomic_load_n(word, __ATOMIC_ACQUIRE));
}

static uint32_t *entry_of(const PciMsix *x, unsigned vector)
{
    return x->table + vector * (PCI_MSIX_ENTRY_SIZE / 4);
}

MsiMessage msix_message(const PciDevice *dev, unsigned vector)
{
    const uint32_t *e = entry_of(dev->msix, vector);
    return (MsiMessage){
        .address = load_word(&e[0]) | (uint64_t)load_word(&e[1]) << 32,
        .data = load_word(&e[2]),
    };
}

static bool vector_masked(const PciMsix *x, unsigned vector)
{
    return load_word(&entry_of(x, vector)[3]) & PCI_MSIX_ENTRY_CTRL_MASK;
}

bool msix_is_masked(const PciDevice *dev, unsigned vector)
{
    const PciMsix *x = dev->msix;
    return __atomic_load_n(&x->masked, __ATOMIC_ACQUIRE) || vector_masked(x, vector);
}

bool msix_is_pending(const PciDevice *dev, unsigned vector)
{
    return load_word(&dev->msix->pba[vector / 32]) & 1u << (vector % 32);
}

void msix_set_pending(PciDevice *dev, unsigned vector)
{
    __atomic_fetch_or(&dev->msix->pba[vector / 32], htole32(1u << (vector % 32)), __ATOMIC_SEQ_CST);
}

void msix_clear_pending(PciDevice *dev, unsigned vector)
{
    __atomic_fetch_and(&dev->msix->pba[vector / 32], ~htole32(1u << (vector % 32)),
                       __ATOMIC_SEQ_CST);
}

bool msix_present(const PciDevice *dev)
{
    return dev->msix;
}

unsigned msix_vectors(const PciDevice *dev)
{
    return dev->msix ? dev->msix->vectors : 0;
}

static uint16_t flags_of(const PciDevice *dev)
{
    return pci_get_word(dev->config + dev->msix_cap + PCI_MSIX_FLAGS);
}

bool msix_enabled(const PciDevice *dev)
{
    return dev->msix && (flags_of(dev) & PCI_MSIX_FLAGS_ENABLE);
}

void msix_notify(PciDevice *dev, unsigned vector)
{
    PciMsix *x = dev->msix;

    if (!x || vector >= x->vectors || !__atomic_load_n(&x->used[vector], __ATOMIC_RELAXED)) {
        return;
    }
    if (msix_is_masked(dev, vector)) {
        msix_set_pending(dev, vector);
        /* Unmasked between the look and the bit: whoever unmasked may have missed it. */
        if (msix_is_masked(dev, vector) || !msix_is_pending(dev, vector)) {
            return;
        }
        msix_clear_pending(dev, vector);
    }
    pci_send_msi(dev, msix_message(dev, vector));
}

/* --- Notifiers --- */

static void vector_release(PciMsix *x, unsigned vector)
{
    if (x->notified[vector]) {
        x->notified[vector] = false;
        x->notifiers.release(x->dev, vector);
    }
}

static bool vector_take(PciMsix *x, unsigned vector, Error **errp)
{
    if (!x->notified[vector]) {
        if (!x->notifiers.use(x->dev, vector, msix_message(x->dev, vector), errp)) {
            return false;
        }
        x->notified[vector] = true;
    }
    return true;
}

/* A vector's mask, as seen from outside, may have changed. */
static void mask_changed(PciDevice *dev, unsigned vector, bool was_masked)
{
    PciMsix *x = dev->msix;
    bool masked = msix_is_masked(dev, vector);

    if (masked == was_masked) {
        return;
    }
    if (x->notifying) {
        if (masked) {
            vector_release(x, vector);
        } else {
            ERROR_AUTO err = NULL;
            if (!vector_take(x, vector, &err)) {
                report_warning("%s: vector %u: %s", object_type_name(&dev->parent.parent), vector,
                               error_message(err));
            }
        }
    }
    if (!masked && msix_is_pending(dev, vector)) {
        msix_clear_pending(dev, vector);
        msix_notify(dev, vector);
    }
}

void msix_unset_notifiers(PciDevice *dev)
{
    PciMsix *x = dev->msix;
    if (!x || !x->notifying) {
        return;
    }
    for (unsigned v = 0; v < x->vectors; v++) {
        vector_release(x, v);
    }
    x->notifying = false;
}

bool msix_set_notifiers(PciDevice *dev, const MsixNotifiers *notifiers, Error **errp)
{
    PciMsix *x = dev->msix;

    assert(x && !x->notifying);
    x->notifiers = *notifiers;
    x->notifying = true;
    for (unsigned v = 0; v < x->vectors; v++) {
        if (!msix_is_masked(dev, v) && !vector_take(x, v, errp)) {
            msix_unset_notifiers(dev);
            return false;
        }
    }
    if (x->notifiers.poll) {
        x->notifiers.poll(dev, 0, x->vectors);
    }
    return true;
}

/* --- Guest side --- */

static uint64_t table_read(void *opaque, hwaddr addr, unsigned size)
{
    PciMsix *x = opaque;
    return ldn_le((const uint8_t *)x->table + addr, size);
}

static void table_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    PciMsix *x = opaque;
    unsigned vector = (unsigned)(addr / PCI_MSIX_ENTRY_SIZE);
    bool was_masked = msix_is_masked(x->dev, vector);

    __atomic_store_n(&x->table[addr / 4], htole32((uint32_t)value), __ATOMIC_RELEASE);
    mask_changed(x->dev, vector, was_masked);
}

/* 6.8.2: aligned accesses of 4 or 8 bytes. */
static const MemoryRegionOps table_ops = {
    .read = table_read,
    .write = table_write,
    .valid = { .min = 4, .max = 8 },
    .impl = { .min = 4, .max = 4 },
};

static uint64_t pba_read(void *opaque, hwaddr addr, unsigned size)
{
    PciMsix *x = opaque;
    if (x->notifying && x->notifiers.poll) {
        unsigned first = (unsigned)addr * 8;
        x->notifiers.poll(x->dev, MIN_OF(first, x->vectors), MIN_OF(first + size * 8, x->vectors));
    }
    return load_word(&x->pba[addr / 4]);
}

static void pba_write(void *opaque, hwaddr addr, uint64_t value, unsigned size)
{
    log_guest_error("msix: write to the read-only pending bits\n");
}

static const MemoryRegionOps pba_ops = {
    .read = pba_read,
    .write = pba_write,
    .valid = { .min = 4, .max = 8 },
    .impl = { .min = 4, .max = 4 },
};

static bool function_masked(const PciDevice *dev)
{
    uint16_t flags = flags_of(dev);
    return !(flags & PCI_MSIX_FLAGS_ENABLE) || (flags & PCI_MSIX_FLAGS_MASKALL);
}

static void update_function_mask(PciDevice *dev)
{
    PciMsix *x = dev->msix;
    bool masked = function_masked(dev), before = x->masked;

    if (masked == before) {
        return;
    }
    __atomic_store_n(&x->masked, masked, __ATOMIC_SEQ_CST);
    for (unsigned v = 0; v < x->vectors; v++) {
        mask_changed(dev, v, before || vector_masked(x, v));
    }
}

void msix_config_written(PciDevice *dev, uint32_t addr, unsigned len)
{
    if (!dev->msix || !pci_ranges_overlap(addr, len, dev->msix_cap + PCI_MSIX_FLAGS, 2)) {
        return;
    }
    if (msix_enabled(dev)) {
        pci_device_deassert_intx(dev);
    }
    update_function_mask(dev);
}

/* --- Life --- */

static void mask_all(PciMsix *x)
{
    for (unsigned v = 0; v < x->vectors; v++) {
        uint32_t *e = entry_of(x, v);
        bool was_masked = msix_is_masked(x->dev, v);
        e[0] = e[1] = e[2] = 0;
        __atomic_store_n(&e[3], htole32(PCI_MSIX_ENTRY_CTRL_MASK), __ATOMIC_RELEASE);
        mask_changed(x->dev, v, was_masked);
    }
}

static void msix_free(struct rcu_head *head)
{
    RCU_AFTER_READERS();
    PciMsix *x = CONTAINER_OF(head, PciMsix, rcu);
    memory_region_finish(&x->table_region);
    memory_region_finish(&x->pba_region);
    memory_region_finish(&x->bar);
    g_free(x->table);
    g_free(x->pba);
    g_free(x->used);
    g_free(x->notified);
    g_free(x);
}

static PciMsix *msix_new(PciDevice *dev, unsigned vectors)
{
    PciMsix *x = g_new0(PciMsix, 1);
    x->dev = dev;
    x->vectors = vectors;
    x->table_words = vectors * (PCI_MSIX_ENTRY_SIZE / 4);
    x->pba_words = (vectors + 31) / 32;
    x->table = g_new0(uint32_t, vectors * (PCI_MSIX_ENTRY_SIZE / 4));
    x->pba = g_new0(uint32_t, ALIGN_UP(x->pba_words, 2));
    x->used = g_new0(unsigned, vectors);
    x->notified = g_new0(bool, vectors);
    x->masked = true;
    return x;
}

static bool msix_setup(PciDevice *dev, PciMsix *x, MemoryRegion *table_bar, int table_bar_n,
                       uint32_t table_offset, MemoryRegion *pba_bar, int pba_bar_n,
                       uint32_t pba_offset, uint8_t cap_offset, Error **errp)
{
    uint32_t table_size = x->vectors * PCI_MSIX_ENTRY_SIZE;
    uint32_t pba_size = (uint32_t)ALIGN_UP(x->pba_words * 4, 8);

    if (table_offset + table_size > memory_region_size(table_bar) ||
        pba_offset + pba_size > memory_region_size(pba_bar)) {
        error_set(errp, "PCI device '%s': %u MSI-X vectors don't fit into the BAR",
                  object_type_name(&dev->parent.parent), x->vectors);
        return false;
    }
    assert(table_offset % 8 == 0 && pba_offset % 8 == 0);
    uint8_t cap = pci_add_capability(dev, PCI_CAP_ID_MSIX, cap_offset, PCI_MSIX_SIZEOF, errp);
    if (!cap) {
        return false;
    }
    dev->msix_cap = cap;
    dev->msix = x;
    pci_set_word(dev->config + cap + PCI_MSIX_FLAGS, (uint16_t)(x->vectors - 1));
    pci_set_word(dev->config_mask + cap + PCI_MSIX_FLAGS,
                 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    pci_set_long(dev->config + cap + PCI_MSIX_TABLE, table_offset | (unsigned)table_bar_n);
    pci_set_long(dev->config + cap + PCI_MSIX_PBA, pba_offset | (unsigned)pba_bar_n);
    mask_all(x);

    Object *owner = &dev->parent.parent;
    memory_region_init_io(&x->table_region, owner, &table_ops, x, "msix-table", table_size);
    memory_region_init_io(&x->pba_region, owner, &pba_ops, x, "msix-pba", pba_size);
    x->table_bar = table_bar;
    x->pba_bar = pba_bar;
    memory_region_add_overlap(table_bar, table_offset, &x->table_region, 1);
    memory_region_add_overlap(pba_bar, pba_offset, &x->pba_region, 1);
    return true;
}

bool msix_init(PciDevice *dev, unsigned vectors, MemoryRegion *table_bar, int table_bar_n,
               uint32_t table_offset, MemoryRegion *pba_bar, int pba_bar_n, uint32_t pba_offset,
               uint8_t cap_offset, Error **errp)
{
    assert(vectors && !dev->msix);
    if (vectors > PCI_MSIX_VECTORS_MAX) {
        error_set(errp, "PCI device '%s': %u MSI-X vectors, the most is %u",
                  object_type_name(&dev->parent.parent), vectors, PCI_MSIX_VECTORS_MAX);
        return false;
    }
    PciMsix *x = msix_new(dev, vectors);
    if (!msix_setup(dev, x, table_bar, table_bar_n, table_offset, pba_bar, pba_bar_n, pba_offset,
                    cap_offset, errp)) {
        msix_free(&x->rcu);
        return false;
    }
    return true;
}

#define EXCLUSIVE_BAR_MIN 4096u

bool msix_init_exclusive(PciDevice *dev, unsigned vectors, int bar_n, Error **errp)
{
    assert(vectors && !dev->msix);
    if (vectors > PCI_MSIX_VECTORS_MAX) {
        error_set(errp, "PCI device '%s': %u MSI-X vectors, the most is %u",
                  object_type_name(&dev->parent.parent), vectors, PCI_MSIX_VECTORS_MAX);
        return false;
    }
    PciMsix *x = msix_new(dev, vectors);
    uint32_t pba_size = (uint32_t)ALIGN_UP(x->pba_words * 4, 8);
    uint32_t half = EXCLUSIVE_BAR_MIN / 2;
    if (vectors * PCI_MSIX_ENTRY_SIZE > half) {
        half = (uint32_t)round_up_power_of_two(vectors * PCI_MSIX_ENTRY_SIZE);
    }
    half = MAX_OF(half, (uint32_t)round_up_power_of_two(pba_size));
    g_autofree char *name = g_strdup_printf("%s-msix", object_type_name(&dev->parent.parent));

    memory_region_init(&x->bar, &dev->parent.parent, name, half * 2);
    x->exclusive = true;
    if (!msix_setup(dev, x, &x->bar, bar_n, 0, &x->bar, bar_n, half, 0, errp)) {
        msix_free(&x->rcu);
        return false;
    }
    pci_register_bar(dev, bar_n, PCI_BASE_ADDRESS_SPACE_MEMORY, &x->bar);
    return true;
}

static void drop_bar(PciDevice *dev, const MemoryRegion *region)
{
    for (int n = 0; n < PCI_BAR_COUNT; n++) {
        PciBar *bar = &dev->bars[n];
        if (bar->region == region) {
            if (bar->addr != PCI_UNMAPPED) {
                memory_region_del(bar->space, bar->region);
            }
            *bar = (PciBar){ .addr = PCI_UNMAPPED };
        }
    }
}

void msix_finish(PciDevice *dev)
{
    PciMsix *x = dev->msix;
    if (!x) {
        return;
    }
    msix_unset_notifiers(dev);
    memory_begin();
    memory_region_del(x->table_bar, &x->table_region);
    memory_region_del(x->pba_bar, &x->pba_region);
    if (x->exclusive) {
        drop_bar(dev, &x->bar);
    }
    memory_commit();
    pci_del_capability(dev, PCI_CAP_ID_MSIX, PCI_MSIX_SIZEOF);
    dev->msix_cap = 0;
    dev->msix = NULL;
    rcu_defer(&x->rcu, msix_free); /* a view that is still read may lead to the regions */
}

void msix_reset(PciDevice *dev)
{
    PciMsix *x = dev->msix;
    if (!x) {
        return;
    }
    uint8_t *flags = dev->config + dev->msix_cap + PCI_MSIX_FLAGS;
    pci_set_word(flags, pci_get_word(flags) & ~(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL));
    for (unsigned i = 0; i < x->pba_words; i++) {
        __atomic_store_n(&x->pba[i], 0, __ATOMIC_RELAXED);
    }
    mask_all(x);
    update_function_mask(dev);
}

bool msix_vector_use(PciDevice *dev, unsigned vector, Error **errp)
{
    if (!dev->msix || vector >= dev->msix->vectors) {
        error_set(errp, "PCI device '%s' has no MSI-X vector %u, there are %u",
                  object_type_name(&dev->parent.parent), vector, msix_vectors(dev));
        return false;
    }
    __atomic_fetch_add(&dev->msix->used[vector], 1, __ATOMIC_RELAXED);
    return true;
}

void msix_vector_unuse(PciDevice *dev, unsigned vector)
{
    PciMsix *x = dev->msix;
    if (!x || vector >= x->vectors || !x->used[vector]) {
        return;
    }
    if (__atomic_sub_fetch(&x->used[vector], 1, __ATOMIC_RELAXED) == 0) {
        msix_clear_pending(dev, vector);
    }
}

void msix_unuse_all_vectors(PciDevice *dev)
{
    for (unsigned v = 0; v < msix_vectors(dev); v++) {
        __atomic_store_n(&dev->msix->used[v], 0, __ATOMIC_RELAXED);
        msix_clear_pending(dev, v);
    }
}

/* --- State --- */

static bool msix_exists(void *opaque, int version)
{
    return msix_present(opaque);
}

static bool msix_post_load(void *opaque, int version, Error **errp)
{
    PciDevice *dev = opaque;

    if (dev->msix) {
        dev->msix->masked = true; /* nobody was told of vectors yet: as if all had been masked */
        update_function_mask(dev);
    }
    return true;
}

#define MSIX_ARRAY(member, elem, counter)                                                \
    {                                                                                    \
        .name = #member, .kind = VMSTATE_KIND_UINT, .offset = offsetof(PciMsix, member), \
        .size = sizeof(elem), .count = PCI_MSIX_VECTORS_MAX * 4,                         \
        .count_offset = offsetof(PciMsix, counter), .count_size = sizeof(unsigned),      \
        .pointer = true,                                                                 \
    }

static const VmState msix_table_vmstate = {
    .name = "msix/table",
    .version = 1,
    .minimum_version = 1,
    .fields = (const VmStateField[]){ MSIX_ARRAY(table, uint32_t, table_words),
                                      MSIX_ARRAY(pba, uint32_t, pba_words),
                                      MSIX_ARRAY(used, unsigned, vectors),
                                      {} },
};

const VmState msix_vmstate = {
    .name = "msix",
    .version = 1,
    .minimum_version = 1,
    .post_load = msix_post_load,
    .fields = (const VmStateField[]){ {
                                          .name = "msix",
                                          .kind = VMSTATE_KIND_STRUCT,
                                          .offset = offsetof(PciDevice, msix),
                                          .size = sizeof(PciMsix),
                                          .pointer = true,
                                          .present = msix_exists,
                                          .state = &msix_table_vmstate,
                                      },
                                      {} },
};
