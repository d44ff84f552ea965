/* The PCI transport: the device, its properties and interrupts, and its virtio bus. */
#include "devices/virtio/transport/virtio-pci.h"

#include <string.h>

#include "base/report.h"
#include "bus/pci/pcie.h"
#include "devices/virtio/transport/virtio-pci-internal.h"

enum {
    VENDOR_ID = 0x1af4,        /* 4.1.2 */
    MODERN_ID_BASE = 0x1040,   /* 4.1.2.1 */
    MODERN_SUBSYSTEM = 0x1100, /* 4.1.2.2: 0x40 or higher */
    MODERN_REVISION = 1,
    AER_AT = 0x100,
};

static VirtioPciProxy *proxy_of(Device *dev)
{
    return virtio_pci_cast(dev);
}

bool virtio_pci_is_modern(const VirtioPciProxy *p)
{
    return p->modern && virtio_has_feature(p->vdev, VIRTIO_F_VERSION_1);
}

/* --- interrupts --- */

uint16_t virtio_pci_set_vector(VirtioPciProxy *p, uint16_t old, uint16_t vector)
{
    PciDevice *dev = &p->parent;
    if (!msix_present(dev)) {
        return VIRTIO_NO_VECTOR;
    }
    if (old != VIRTIO_NO_VECTOR) {
        msix_vector_unuse(dev, old);
    }
    if (vector == VIRTIO_NO_VECTOR) {
        return VIRTIO_NO_VECTOR;
    }
    /* 4.1.5.1.2.1: a vector that can't be had reads back as none. */
    return vector < msix_vectors(dev) && msix_vector_use(dev, vector, NULL) ? vector
                                                                            : VIRTIO_NO_VECTOR;
}

static void virtio_pci_notify(Device *proxy, uint16_t vector)
{
    VirtioPciProxy *p = proxy_of(proxy);
    if (msix_enabled(&p->parent)) {
        if (vector != VIRTIO_NO_VECTOR) {
            msix_notify(&p->parent, vector);
        }
    } else {
        pci_set_irq(&p->parent, p->vdev->isr != 0);
    }
}

/* --- doorbells --- */

static bool virtio_pci_ioeventfd_enabled(Device *proxy)
{
    return proxy_of(proxy)->ioeventfd;
}

static void assign(MemoryRegion *mr, hwaddr addr, unsigned size, bool match, uint64_t data,
                   EventNotifier *e, bool on)
{
    if (on) {
        memory_region_add_eventfd(mr, addr, size, match, data, e);
    } else {
        memory_region_del_eventfd(mr, addr, size, match, data, e);
    }
}

static void virtio_pci_ioeventfd_assign(Device *proxy, Virtqueue *vq, EventNotifier *e, bool on)
{
    VirtioPciProxy *p = proxy_of(proxy);
    unsigned q = virtqueue_index(vq);
    if (p->modern) {
        /* Any size and value: with NOTIFICATION_DATA it is not the index alone. */
        assign(&p->notify, (hwaddr)q * p->notify_step, 0, false, 0, e, on);
        if (p->modern_pio_notify) {
            assign(&p->notify_io, 0, 2, true, q, e, on);
        }
    }
    if (p->legacy) {
        assign(&p->legacy_bar, LEGACY_QUEUE_NOTIFY, 2, true, q, e, on);
    }
}

/* --- the bus --- */

static uint64_t virtio_pci_offered_features(Device *proxy, uint64_t wanted)
{
    VirtioPciProxy *p = proxy_of(proxy);
    if (p->modern) {
        return wanted | BIT64(VIRTIO_F_VERSION_1);
    }
    return wanted & UINT32_MAX;
}

static AddressSpace *virtio_pci_dma_space(Device *proxy)
{
    return pci_dma_space(&proxy_of(proxy)->parent);
}

static unsigned virtio_pci_vector_count(Device *proxy)
{
    return msix_present(&proxy_of(proxy)->parent) ? msix_vectors(&proxy_of(proxy)->parent) : 0;
}

static void virtio_pci_set_ids(VirtioPciProxy *p)
{
    const VirtioPciTypes *t = virtio_pci_class_of(p)->types;
    uint8_t *config = p->parent.config;
    pci_set_word(config + PCI_VENDOR_ID, VENDOR_ID);
    pci_set_word(config + PCI_SUBSYSTEM_VENDOR_ID, VENDOR_ID);
    if (p->legacy) {
        /* 4.1.2.3 */
        pci_set_word(config + PCI_DEVICE_ID, t->legacy_device_id);
        pci_set_word(config + PCI_SUBSYSTEM_ID, p->vdev->device_id);
        config[PCI_REVISION_ID] = 0;
    } else {
        pci_set_word(config + PCI_DEVICE_ID, MODERN_ID_BASE + p->vdev->device_id);
        pci_set_word(config + PCI_SUBSYSTEM_ID, MODERN_SUBSYSTEM);
        config[PCI_REVISION_ID] = MODERN_REVISION;
    }
    config[PCI_INTERRUPT_PIN] = 1;
}

/* The backend is realized: its queues and configuration are known. */
static bool virtio_pci_device_plugged(Device *proxy, VirtioDevice *vdev, Error **errp)
{
    VirtioPciProxy *p = proxy_of(proxy);
    if (p->legacy && virtio_host_has_feature(vdev, VIRTIO_F_ACCESS_PLATFORM)) {
        error_set(errp, "iommu_platform=on is not possible with the legacy interface; set "
                        "disable-legacy=on");
        return false;
    }
    if (!p->legacy && !virtio_host_has_feature(vdev, VIRTIO_F_VERSION_1)) {
        error_set(errp, "the back end lacks VERSION_1, and this device has no legacy interface; set "
                        "disable-legacy=off");
        return false;
    }
    virtio_pci_set_ids(p);
    if (p->modern && !virtio_pci_modern_init(p, errp)) {
        return false;
    }
    if (p->vectors == VIRTIO_PCI_VECTORS_AUTO) {
        p->vectors = MIN_OF(vdev->queue_count + 1, PCI_MSIX_VECTORS_MAX);
    }
    if (p->vectors) {
        ERROR_AUTO err = NULL;
        if (!msix_init_exclusive(&p->parent, p->vectors, MSIX_BAR, &err)) {
            report_warning("%s: no MSI-X, the pin is used: %s", vdev->name, error_message(err));
            p->vectors = 0;
        }
    }
    if (p->legacy) {
        virtio_pci_legacy_init(p);
    }
    return true;
}

static void virtio_pci_device_unplugged(Device *proxy, VirtioDevice *vdev)
{
    msix_finish(&proxy_of(proxy)->parent);
}

/* The driver starts over: what the transport keeps for it goes too. */
static void virtio_pci_device_reset(Device *proxy)
{
    VirtioPciProxy *p = proxy_of(proxy);
    if (msix_present(&p->parent)) {
        msix_unuse_all_vectors(&p->parent);
    }
    p->device_feature_select = p->driver_feature_select = 0;
    memset(p->driver_features, 0, sizeof(p->driver_features));
    memset(p->queues, 0, p->vdev->queue_count * sizeof(p->queues[0]));
}

/* Loaded state names vectors: use them again. */
static void virtio_pci_device_loaded(Device *proxy, VirtioDevice *vdev)
{
    VirtioPciProxy *p = proxy_of(proxy);
    vdev->config_vector = virtio_pci_set_vector(p, VIRTIO_NO_VECTOR, vdev->config_vector);
    for (unsigned i = 0; i < vdev->queue_count; i++) {
        virtio_queue_set_vector(
            vdev, i, virtio_pci_set_vector(p, VIRTIO_NO_VECTOR, virtio_queue_vector(vdev, i)));
    }
}

static void virtio_pci_bus_class_init(ObjectClass *klass, const void *data)
{
    VirtioBusClass *k = virtio_bus_class_cast(klass);
    k->device_plugged = virtio_pci_device_plugged;
    k->device_unplugged = virtio_pci_device_unplugged;
    k->offered_features = virtio_pci_offered_features;
    k->notify = virtio_pci_notify;
    k->dma_space = virtio_pci_dma_space;
    k->ioeventfd_enabled = virtio_pci_ioeventfd_enabled;
    k->ioeventfd_assign = virtio_pci_ioeventfd_assign;
    k->set_guest_notifiers = virtio_pci_set_guest_notifiers;
    k->device_reset = virtio_pci_device_reset;
    k->device_loaded = virtio_pci_device_loaded;
    k->vector_count = virtio_pci_vector_count;
    k->set_doorbell = virtio_pci_set_doorbell;
}

static const TypeInfo virtio_pci_bus_info = {
    .name = TYPE_VIRTIO_PCI_BUS,
    .parent = TYPE_VIRTIO_BUS,
    .class_init = virtio_pci_bus_class_init,
};
OBJECT_TYPE(virtio_pci_bus, virtio_pci_bus_info)

/* --- the PCI device --- */

/* Behind a port, where Express features make sense; on a root bus it is an ordinary device. */
static bool behind_express_port(PciDevice *dev)
{
    PciBus *bus = pci_device_bus(dev);
    return bus && pci_bus_is_express(bus) && !pci_bus_is_root(bus);
}

static bool virtio_pci_is_express(PciDevice *dev)
{
    VirtioPciProxy *p = virtio_pci_cast(dev);
    return !p->disable_modern && !p->disable_pcie && behind_express_port(dev);
}

static bool virtio_pci_choose_interfaces(VirtioPciProxy *p, Error **errp)
{
    const VirtioPciTypes *t = virtio_pci_class_of(p)->types;
    p->modern = !p->disable_modern;
    p->legacy = p->disable_legacy == ON_OFF_AUTO_OFF ||
                (p->disable_legacy == ON_OFF_AUTO_AUTO && t->legacy_device_id &&
                 !behind_express_port(&p->parent));
    if (p->legacy && !t->legacy_device_id) {
        error_set(errp, "%s has no legacy interface; set disable-legacy=on", t->name);
        return false;
    }
    if (!p->legacy && !p->modern) {
        error_set(errp, "neither the legacy nor the modern interface is enabled; set "
                        "disable-modern=off or disable-legacy=off");
        return false;
    }
    return true;
}

static bool virtio_pci_express_init(VirtioPciProxy *p, Error **errp)
{
    PciDevice *dev = &p->parent;
    if (!pcie_add_endpoint_cap(dev, 0, errp) || (p->init_pm && !pci_add_pm(dev, 0, errp))) {
        return false;
    }
    if (p->aer && !pcie_add_aer(dev, AER_AT, true, errp)) {
        return false;
    }
    if (p->init_deverr) {
        pcie_cap_add_device_errors(dev);
    }
    if (p->init_lnkctl) {
        pcie_cap_add_link_control(dev);
    }
    if (p->init_flr) {
        pcie_cap_add_flr(dev);
    }
    return !p->ats || pcie_add_ats(dev, 0, p->ats_aligned, errp);
}

static void virtio_pci_make_bus(VirtioPciProxy *p)
{
    /* "ID.0" is for buses that users put devices on. */
    const char *id = p->parent.parent.id;
    g_autofree char *name = id ? g_strdup_printf("%s.virtio-bus", id) : NULL;
    bus_init(&p->bus.parent, TYPE_VIRTIO_PCI_BUS, &p->parent.parent, name);
}

static bool virtio_pci_realize(PciDevice *dev, Error **errp)
{
    VirtioPciProxy *p = virtio_pci_cast(dev);
    VirtioPciClass *k = virtio_pci_class_of(p);
    if (!virtio_pci_choose_interfaces(p, errp)) {
        return false;
    }
    p->notify_step = p->page_per_vq ? NOTIFY_STEP_PAGE : NOTIFY_STEP;
    pci_set_word(dev->config + PCI_CLASS_DEVICE, k->types->class_id);
    if (dev->is_express && !virtio_pci_express_init(p, errp)) {
        pcie_aer_finish(dev);
        return false;
    }
    if (k->types->prepare && !k->types->prepare(p, errp)) {
        goto fail;
    }
    virtio_pci_make_bus(p);
    if (!device_realize(&p->vdev->parent, &p->bus.parent, errp)) {
        goto fail_bus;
    }
    return true;

fail_bus:
    msix_finish(dev);
    bus_finish(&p->bus.parent);
fail:
    pcie_aer_finish(dev);
    return false;
}

static void virtio_pci_exit(PciDevice *dev)
{
    VirtioPciProxy *p = virtio_pci_cast(dev);
    bus_finish(&p->bus.parent);
    msix_finish(dev);
    pcie_aer_finish(dev);
}

static void virtio_pci_reset(Device *dev)
{
    VirtioPciProxy *p = proxy_of(dev);
    virtio_reset(p->vdev);
}

/* --- state --- */

static const VmStateField queue_fields[] = { VMSTATE_UINT_ARRAY(desc, VirtioPciQueue),
                                             VMSTATE_UINT_ARRAY(driver, VirtioPciQueue),
                                             VMSTATE_UINT_ARRAY(device, VirtioPciQueue),
                                             {} };
static const VmState queue_vmstate = {
    .name = "virtio-pci-queue",
    .version = 1,
    .minimum_version = 1,
    .fields = queue_fields,
};

static const VmStateField virtio_pci_fields[] = {
    VMSTATE_STRUCT(parent, VirtioPciProxy, pci_device_vmstate),
    VMSTATE_MSIX(parent, VirtioPciProxy),
    VMSTATE_UINT32(device_feature_select, VirtioPciProxy),
    VMSTATE_UINT32(driver_feature_select, VirtioPciProxy),
    VMSTATE_UINT_ARRAY(driver_features, VirtioPciProxy),
    VMSTATE_STRUCT_ARRAY(queues, VirtioPciProxy, queue_vmstate),
    {}
};
static const VmState virtio_pci_vmstate = {
    .name = "virtio-pci",
    .version = 1,
    .minimum_version = 1,
    .fields = virtio_pci_fields,
};

/* --- the types --- */

static const Field virtio_pci_properties[] = {
    PROP_BOOL("ioeventfd", VirtioPciProxy, ioeventfd, true,
              .help = "handle kicks in the event loop instead of the vCPU's thread"),
    PROP_ON_OFF_AUTO("disable-legacy", VirtioPciProxy, disable_legacy, ON_OFF_AUTO_AUTO,
                     .help = "no legacy interface; auto: behind a PCI Express port"),
    PROP_BOOL("disable-modern", VirtioPciProxy, disable_modern, false,
              .help = "no interface of version 1"),
    PROP_BOOL("modern-pio-notify", VirtioPciProxy, modern_pio_notify, false,
              .help = "offer doorbells in I/O space"),
    PROP_BOOL("page-per-vq", VirtioPciProxy, page_per_vq, false,
              .help = "a page for each queue's doorbell"),
    PROP_BOOL("ats", VirtioPciProxy, ats, false, .help = "address translation services"),
    PROP_BOOL("x-ats-page-aligned", VirtioPciProxy, ats_aligned, true,
              .help = "ATS requests are page-aligned"),
    PROP_BOOL("aer", VirtioPciProxy, aer, false, .help = "advanced error reporting"),
    PROP_BOOL("x-disable-pcie", VirtioPciProxy, disable_pcie, false,
              .help = "a conventional device even behind an Express port"),
    PROP_BOOL("x-pcie-deverr-init", VirtioPciProxy, init_deverr, true,
              .help = "Express device error bits"),
    PROP_BOOL("x-pcie-lnkctl-init", VirtioPciProxy, init_lnkctl, true,
              .help = "Express link control bits"),
    PROP_BOOL("x-pcie-pm-init", VirtioPciProxy, init_pm, true, .help = "Express power management"),
    PROP_BOOL("x-pcie-flr-init", VirtioPciProxy, init_flr, true,
              .help = "Express function level reset"),
    PROP_UINT32("vectors", VirtioPciProxy, vectors, VIRTIO_PCI_VECTORS_AUTO,
                .help = "MSI-X vectors; 0: none"),
    {}
};

static void virtio_pci_class_init(ObjectClass *klass, const void *data)
{
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);
    dc->reset = virtio_pci_reset;
    dc->vmstate = &virtio_pci_vmstate;
    pc->realize = virtio_pci_realize;
    pc->exit = virtio_pci_exit;
    pc->config_read = virtio_pci_config_read;
    pc->config_write = virtio_pci_config_write;
    pc->is_express = virtio_pci_is_express;
    pc->vendor_id = VENDOR_ID;
}

static const char *const both_interfaces[] = { TYPE_PCI_EXPRESS, TYPE_PCI_CONVENTIONAL, NULL };
static const char *const conventional_interface[] = { TYPE_PCI_CONVENTIONAL, NULL };

static const TypeInfo virtio_pci_info = {
    .name = TYPE_VIRTIO_PCI,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(VirtioPciProxy),
    .class_size = sizeof(VirtioPciClass),
    .abstract = true,
    .properties = virtio_pci_properties,
    .class_init = virtio_pci_class_init,
};
OBJECT_TYPE(virtio_pci, virtio_pci_info)

static void alias_property(Object *backend, const char *name, const char *type_name,
                           const char *help, const Field *row, void *opaque)
{
    Object *proxy = opaque;
    if (strcmp(name, "type") && !object_has_property(proxy, name)) {
        object_add_alias(proxy, name, backend, name);
    }
}

static void virtio_pci_backend_init(Object *obj)
{
    VirtioPciProxy *p = virtio_pci_cast(obj);
    Object *backend = object_new(virtio_pci_class_of(p)->types->backend_type);
    /* The name is free: the object is new. */
    bool added = object_add_child(obj, "virtio-backend", backend, NULL);
    assert(added);
    p->vdev = virtio_device_cast(backend); /* keeps the reference of object_new() */
    object_foreach_property(backend, alias_property, obj);
}

static void virtio_pci_backend_finalize(Object *obj)
{
    VirtioPciProxy *p = virtio_pci_cast(obj);
    object_unref(&p->vdev->parent.parent);
    if (p->modern_bar.name) {
        memory_region_finish(&p->modern_bar);
        memory_region_finish(&p->common);
        memory_region_finish(&p->isr);
        memory_region_finish(&p->config);
        memory_region_finish(&p->notify);
        memory_region_finish(&p->notify_io);
    }
    if (p->legacy_bar.name) {
        memory_region_finish(&p->legacy_bar);
    }
}

static void virtio_pci_types_class_init(ObjectClass *klass, const void *data)
{
    const VirtioPciTypes *t = data;
    DeviceClass *dc = device_class_cast(klass);
    PciDeviceClass *pc = pci_device_class_cast(klass);
    virtio_pci_class_cast(klass)->types = t;
    klass->part_type = t->backend_type;
    dc->category = t->category;
    pc->class_id = t->class_id;
    pc->device_id = t->legacy_device_id ? t->legacy_device_id : MODERN_ID_BASE + t->virtio_id;
    pc->romfile = t->romfile;
    if (t->vectors != VIRTIO_PCI_VECTORS_AUTO) {
        g_autofree char *n = g_strdup_printf("%u", t->vectors);
        class_set_default(klass, "vectors", n);
    }
}

static void transitional_class_init(ObjectClass *klass, const void *data)
{
    class_set_default(klass, "disable-legacy", "off");
    class_set_default(klass, "disable-modern", "off");
}

static void non_transitional_class_init(ObjectClass *klass, const void *data)
{
    class_set_default(klass, "disable-legacy", "on");
    class_set_default(klass, "disable-modern", "off");
}

/* The registry keeps the rows for ever, so these are never freed. */
static void register_type(const char *name, const char *suffix, TypeInfo info)
{
    TypeInfo *row = g_new(TypeInfo, 1);
    *row = info;
    g_autofree char *full = g_strconcat(name, suffix, NULL);
    row->name = g_intern_string(full);
    type_register(row);
}

void virtio_pci_register_types(const VirtioPciTypes *t)
{
    g_autofree char *base = g_strconcat(t->name, "-pci-base", NULL);
    const char *parent = g_intern_string(base);
    register_type(t->name, "-pci-base",
                  (TypeInfo){
                      .parent = TYPE_VIRTIO_PCI,
                      .abstract = true,
                      .class_init = virtio_pci_types_class_init,
                      .class_data = t,
                      .instance_init = virtio_pci_backend_init,
                      .instance_finalize = virtio_pci_backend_finalize,
                  });
    register_type(t->name, "-pci",
                  (TypeInfo){ .parent = parent, .help = t->help, .interfaces = both_interfaces });
    if (t->single) {
        return;
    }
    register_type(t->name, "-pci-non-transitional",
                  (TypeInfo){ .parent = parent,
                              .help = t->help,
                              .class_init = non_transitional_class_init,
                              .interfaces = both_interfaces });
    if (t->legacy_device_id) {
        register_type(t->name, "-pci-transitional",
                      (TypeInfo){ .parent = parent,
                                  .help = t->help,
                                  .class_init = transitional_class_init,
                                  .interfaces = conventional_interface });
    }
}
