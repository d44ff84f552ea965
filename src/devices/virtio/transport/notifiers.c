/*
 * Interrupts from guest notifiers: whoever has the descriptor (an I/O thread, a vhost back end)
 * rings it, and the driver gets its interrupt.
 *
 * Where the accelerator can, the notifiers of an unmasked vector raise its message without us
 * (irqfds). While a vector is masked, without MSI-X, and with accelerators that can't, the main
 * loop watches them, so that interrupts go through the same masks and pending bits as every other
 * way.
 */
#include "accel/accel.h"
#include "base/report.h"
#include "devices/virtio/transport/virtio-pci-internal.h"

#define NO_GSI (-1)

static void queue_notifier_rang(EventNotifier *n)
{
    Virtqueue *vq = virtqueue_of_guest_notifier(n);
    if (event_notifier_test_and_clear(n)) {
        virtio_queue_interrupt(virtqueue_device(vq), virtqueue_index(vq));
    }
}

static void config_notifier_rang(EventNotifier *n)
{
    VirtioDevice *vdev = CONTAINER_OF(n, VirtioDevice, config_notifier);
    if (event_notifier_test_and_clear(n)) {
        virtio_config_interrupt(vdev);
    }
}

/* Notifier i of the proxy: those of the queues, then the configuration's. */
static EventNotifier *notifier_at(VirtioPciProxy *p, unsigned i, uint16_t *vector)
{
    if (i < p->guest_notifiers) {
        *vector = virtio_queue_vector(p->vdev, i);
        return virtio_queue_guest_notifier(p->vdev, i);
    }
    *vector = p->vdev->config_vector;
    return &p->vdev->config_notifier;
}

static void watch(VirtioPciProxy *p, unsigned i, bool on)
{
    uint16_t vector;
    event_notifier_watch(notifier_at(p, i, &vector), event_loop_main(),
                         !on                      ? NULL
                         : i < p->guest_notifiers ? queue_notifier_rang
                                                  : config_notifier_rang);
}

/* --- irqfds --- */

static void detach(VirtioPciProxy *p, unsigned i)
{
    uint16_t vector;
    EventNotifier *n = notifier_at(p, i, &vector);
    if (p->notifier_gsi[i] != NO_GSI) {
        accel_irq_ops()->notifier_del(accel_current(), p->notifier_gsi[i], n);
        p->notifier_gsi[i] = NO_GSI;
        watch(p, i, true);
    }
}

static void drop_vector(PciDevice *dev, unsigned v)
{
    VirtioPciProxy *p = virtio_pci_cast(dev);
    int gsi = p->vector_gsi[v];
    if (gsi == NO_GSI) {
        return;
    }
    for (unsigned i = 0; i <= p->guest_notifiers; i++) {
        if (p->notifier_gsi[i] == gsi) {
            detach(p, i);
        }
    }
    accel_irq_ops()->route_drop(accel_current(), gsi);
    p->vector_gsi[v] = NO_GSI;
}

static bool attach(VirtioPciProxy *p, unsigned i, int gsi, Error **errp)
{
    uint16_t vector;
    EventNotifier *n = notifier_at(p, i, &vector);
    /* First the watch: two readers would share the rings. */
    watch(p, i, false);
    if (!accel_irq_ops()->notifier_add(accel_current(), gsi, n, NULL, errp)) {
        watch(p, i, true);
        return false;
    }
    p->notifier_gsi[i] = gsi;
    return true;
}

/* An unmasked vector that nobody can raise for us is watched on; that is slower and no error. */
static bool use_vector(PciDevice *dev, unsigned v, MsiMessage msg, Error **errp)
{
    VirtioPciProxy *p = virtio_pci_cast(dev);
    ERROR_AUTO err = NULL;
    bool any = false;

    for (unsigned i = 0; i <= p->guest_notifiers; i++) {
        uint16_t vector;
        notifier_at(p, i, &vector);
        any |= vector == v;
    }
    if (!any) {
        return true;
    }
    int gsi = accel_irq_ops()->route_add(accel_current(), msg.address, msg.data, &err);
    if (gsi < 0) {
        goto watched;
    }
    p->vector_gsi[v] = gsi;
    for (unsigned i = 0; i <= p->guest_notifiers; i++) {
        uint16_t vector;
        notifier_at(p, i, &vector);
        if (vector == v && !attach(p, i, gsi, &err)) {
            drop_vector(dev, v);
            goto watched;
        }
    }
    return true;

watched:
    report_warning_once("%s: interrupts go through the main loop, which is slower: %s",
                        p->vdev->name, error_message(err));
    return true;
}

/* What rang while masked and the main loop hasn't come to. */
static void poll_vectors(PciDevice *dev, unsigned first, unsigned end)
{
    VirtioPciProxy *p = virtio_pci_cast(dev);
    for (unsigned i = 0; i <= p->guest_notifiers; i++) {
        uint16_t vector;
        EventNotifier *n = notifier_at(p, i, &vector);
        if (vector >= first && vector < end && msix_is_masked(dev, vector) &&
            event_notifier_test_and_clear(n)) {
            msix_set_pending(dev, vector);
        }
    }
}

static bool start_irqfds(VirtioPciProxy *p, Error **errp)
{
    static const MsixNotifiers notifiers = {
        .use = use_vector,
        .release = drop_vector,
        .poll = poll_vectors,
    };
    unsigned vectors = msix_vectors(&p->parent);

    p->notifier_gsi = g_new(int, p->guest_notifiers + 1);
    p->vector_gsi = g_new(int, vectors);
    for (unsigned i = 0; i <= p->guest_notifiers; i++) {
        p->notifier_gsi[i] = NO_GSI;
    }
    for (unsigned v = 0; v < vectors; v++) {
        p->vector_gsi[v] = NO_GSI;
    }
    return msix_set_notifiers(&p->parent, &notifiers, errp);
}

static void stop_irqfds(VirtioPciProxy *p)
{
    if (p->vector_gsi) {
        msix_unset_notifiers(&p->parent);
        g_clear_pointer(&p->vector_gsi, g_free);
        g_clear_pointer(&p->notifier_gsi, g_free);
    }
}

/* --- The transport's function --- */

static void stop(VirtioPciProxy *p)
{
    stop_irqfds(p);
    virtio_guest_notifiers_finish(p->vdev, p->guest_notifiers);
    p->guest_notifiers = 0;
}

bool virtio_pci_set_guest_notifiers(Device *proxy, unsigned n, bool on, Error **errp)
{
    VirtioPciProxy *p = virtio_pci_cast(proxy);
    if (!on) {
        stop(p);
        return true;
    }
    if (!virtio_guest_notifiers_init(p->vdev, n, errp)) {
        return false;
    }
    p->guest_notifiers = n;
    for (unsigned i = 0; i <= n; i++) {
        watch(p, i, true);
    }
    if (accel_irq_ops() && msix_present(&p->parent) && !start_irqfds(p, errp)) {
        stop(p);
        return false;
    }
    return true;
}
