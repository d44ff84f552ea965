/*
 * Virtio devices that a process behind a vhost-user socket works: what they have in common. A
 * device file is a VhostUserModel, a description with a function or two where the device has
 * something of its own; the rest is here.
 *
 * The back end may be away: at the start, and at any time later. The machine goes on, requests wait
 * in the queues. What the device offers the driver depends on the back end, so start-up waits for
 * it (wait=on); a device that the driver meets before its back end was ever there offers only what
 * its model assumes. While a handshake is under way, or a back end still has the queues, the
 * driver's reset isn't over: status doesn't read 0 (VIRTIO 1.3 section 2.4.2).
 *
 * Machine lock held throughout.
 */
#ifndef DEVICES_VIRTIO_VHOST_USER_BASE_H
#define DEVICES_VIRTIO_VHOST_USER_BASE_H

#include "devices/virtio/transport/virtio-pci.h"
#include "devices/virtio/virtio.h"
#include "vhost/user/await.h"
#include "vhost/vhost.h"

#define TYPE_VHOST_USER_BASE "vhost-user-base"

#define VHOST_USER_QUEUES_AUTO UINT16_MAX

typedef struct VhostUserBase VhostUserBase;

/* What one device is like, from its model and properties. */
typedef struct VhostUserShape {
    uint16_t virtio_id;      /* 0: the PCI types' */
    uint16_t queues;         /* all of them */
    uint16_t backend_queues; /* those that the back end works, from 0; 0: all */
    uint16_t least_queues;   /* a back end that takes fewer is refused; 0: backend_queues */
    uint16_t queue_size;     /* entries */
    uint16_t config_size;    /* bytes, to the driver */
    uint16_t backend_config; /* of them, those that the back end gives, from 0 */
    uint64_t features;       /* of the device type: offered if the back end has them */
    uint64_t own_features;   /* of these, those that don't need the back end */
    uint64_t needed;         /* a back end without is refused */
    uint64_t assumed;        /* offered before a back end was there */
} VhostUserShape;

typedef struct VhostUserModel {
    /* The backend's type; everything derives from VhostUserBase. */
    const char *type;     /* "vhost-user-blk" */
    size_t instance_size; /* 0: nothing beyond the base */
    const Field *properties;
    const VmState *vmstate;
    VirtioPciTypes pci; /* name, ids; backend_type is `type` */

    VhostUserShape shape;
    /* Protocol features that this kind of device has a use for, beyond the general ones. */
    uint64_t protocol_features;

    /* All optional. Properties into the shape. */
    bool (*make_shape)(VhostUserBase *b, VhostUserShape *shape, Error **errp);
    /* After the back end's bytes: the front end's own. */
    void (*get_config)(VhostUserBase *b, uint8_t *config);
    /* The driver wrote; before: what was there. Without it the configuration is read-only. */
    void (*set_config)(VhostUserBase *b, const uint8_t *before, const uint8_t *config);
    /* A back end was negotiated with; again: not the first one. */
    void (*connected)(VhostUserBase *b, bool again);
    void (*disconnected)(VhostUserBase *b);
    void (*reset)(VhostUserBase *b);
    void (*unrealize)(VhostUserBase *b);
} VhostUserModel;

struct VhostUserBase {
    VirtioDevice parent;

    /* properties */
    char *chardev;
    bool wait, lost_features;
    uint32_t wait_timeout; /* s; 0: none */
    uint32_t timeout;      /* ms for each answer */
    char *log;

    VhostUserShape shape;
    char *label;     /* "device 'd0'" */
    uint64_t wanted; /* features, with the transport's */
    VhostUser *vu;
    VhostDevice *dev;
    VhostUserAwait *await;     /* NULL: start-up does not wait for it */
    bool was_connected;        /* at some time */
    bool settled;              /* what the device is like is known: waiting is over */
    bool settles_late;         /* the model says when, not the handshake */
    bool finishing;            /* unrealize is under way: answers are of no use */
    uint64_t backend_features; /* of the last back end there was */
    int64_t hold_until; /* ns, CLK_REALTIME: a driver's reset waits for the first handshake */
    uint8_t known[VHOST_USER_CONFIG_MAX]; /* configuration, as the driver was last told */
};

typedef struct VhostUserBaseClass {
    VirtioDeviceClass parent;
    const VhostUserModel *model;
} VhostUserBaseClass;

static inline UNUSED VhostUserBase *vhost_user_base_cast(void *obj)
{
    return (VhostUserBase *)object_cast((Object *)obj, TYPE_VHOST_USER_BASE);
}
OBJECT_DECLARE_CLASS(VhostUserBaseClass, vhost_user_base, TYPE_VHOST_USER_BASE)

/* At file scope; the model lives for ever. Registers the backend's type and the PCI types. */
#define VHOST_USER_MODEL(ident, model)        \
    static void ident##_register_model_(void) \
    {                                         \
        vhost_user_model_register(&(model));  \
    }                                         \
    MODULE_INIT(MODULE_TYPES, ident##_register_model_)
void vhost_user_model_register(const VhostUserModel *model);

/* The state of a device that adds nothing to the base's. */
extern const VmStateField vhost_user_base_fields[];
/* First row of one that does. */
extern const VmState vhost_user_base_vmstate;
#define VHOST_USER_VMSTATE(state_name)                            \
    {                                                             \
        .name = (state_name), .version = 1, .minimum_version = 1, \
        .fields = vhost_user_base_fields,                         \
    }

/* For models. A power of two that a queue can have; the property's name is for the error. */
MUST_CHECK bool vhost_user_check_queue_size(const char *property, uint32_t size, Error **errp);
/* The driver shall read its configuration again. */
void vhost_user_base_config_changed(VhostUserBase *b);
/* A model that sets `settles_late` in make_shape: the device can be met now. */
void vhost_user_base_settled(VhostUserBase *b);
/* Rings that the driver can use, at most as many as the shape has. */
unsigned vhost_user_base_queues(const VhostUserBase *b);

#endif
