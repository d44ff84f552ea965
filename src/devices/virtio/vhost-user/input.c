/*
 * vhost-user-input: keyboards, pointers and the like in another process (VIRTIO 1.3 section 5.8).
 *
 * The driver selects a piece of the configuration and reads it at once, so every piece is fetched
 * from the back end when it connects; the device is ready when the last one is there.
 */
#include <string.h>

#include "devices/virtio/vhost-user/base.h"

/* 5.8.2 */
enum { INPUT_QUEUES = 2, INPUT_QUEUE_SIZE = 64 };

/* 5.8.4: offsets, and what can be selected */
enum {
    INPUT_CONFIG_SELECT = 0,
    INPUT_CONFIG_SUBSEL = 1,
    INPUT_CONFIG_LEN = 2,
    INPUT_CONFIG_DATA = 8,
    INPUT_CONFIG_DATA_SIZE = 128,
    INPUT_CONFIG_SIZE = 136,

    INPUT_SELECT_NAME = 0x01,
    INPUT_SELECT_SERIAL = 0x02,
    INPUT_SELECT_DEVIDS = 0x03,
    INPUT_SELECT_PROP_BITS = 0x10,
    INPUT_SELECT_EV_BITS = 0x11,
    INPUT_SELECT_ABS_INFO = 0x12,

    EVENT_TYPES = 32,
    EVENT_ABS = 3,
    ABS_AXES = 64,
};

typedef struct InputPiece {
    uint8_t select, subsel, len;
    uint8_t data[INPUT_CONFIG_DATA_SIZE];
} InputPiece;

typedef struct VhostUserInput {
    VhostUserBase parent;
    char *serial;
    uint8_t select, subsel; /* the driver's */
    GArray *pieces;         /* InputPiece, those with something in them */
    GArray *fresh;          /* the same, of the back end that just came; until it is complete */
    GArray *wanted;         /* InputPiece, to be fetched; select and subsel only */
    unsigned fetched;       /* of them */
} VhostUserInput;

static const InputPiece *input_find(const VhostUserInput *in, uint8_t select, uint8_t subsel)
{
    for (guint i = 0; in->pieces && i < in->pieces->len; i++) {
        const InputPiece *p = &g_array_index(in->pieces, InputPiece, i);
        if (p->select == select && p->subsel == subsel) {
            return p;
        }
    }
    return NULL;
}

/* --- Fetching --- */

static void input_want(VhostUserInput *in, uint8_t select, uint8_t subsel)
{
    InputPiece p = { .select = select, .subsel = subsel };
    g_array_append_val(in->wanted, p);
}

static void input_fetch_next(VhostUserInput *in);

/* Axes are described one by one, if there are any. */
static void input_want_axes(VhostUserInput *in, const InputPiece *bits)
{
    for (unsigned axis = 0; axis < ABS_AXES && axis / 8 < bits->len; axis++) {
        if (bits->data[axis / 8] >> axis % 8 & 1) {
            input_want(in, INPUT_SELECT_ABS_INFO, axis);
        }
    }
}

static void input_piece_fetched(void *opaque, const uint8_t *config, const Error *err)
{
    VhostUserInput *in = opaque;
    if (in->parent.finishing || err) {
        return; /* the connection ends; the next one begins anew */
    }
    InputPiece p = g_array_index(in->wanted, InputPiece, in->fetched++);
    p.len = MIN_OF(config[INPUT_CONFIG_LEN], INPUT_CONFIG_DATA_SIZE);
    memcpy(p.data, config + INPUT_CONFIG_DATA, p.len);
    if (p.len) {
        g_array_append_val(in->fresh, p);
        if (p.select == INPUT_SELECT_EV_BITS && p.subsel == EVENT_ABS) {
            input_want_axes(in, &p);
        }
    }
    input_fetch_next(in);
}

static void input_selected(void *opaque, const Error *err)
{
    VhostUserInput *in = opaque;
    if (in->parent.finishing || err) {
        return;
    }
    vhost_user_get_config(in->parent.vu, input_piece_fetched, in);
}

static void input_fetch_next(VhostUserInput *in)
{
    if (in->fetched == in->wanted->len) {
        g_clear_pointer(&in->pieces, g_array_unref);
        in->pieces = g_steal_pointer(&in->fresh);
        vhost_user_base_settled(&in->parent);
        return;
    }
    const InputPiece *p = &g_array_index(in->wanted, InputPiece, in->fetched);
    uint8_t config[INPUT_CONFIG_SIZE] = { p->select, p->subsel };
    vhost_user_set_config(in->parent.vu, 0, config, sizeof(config), input_selected, in);
}

static void input_connected(VhostUserBase *b, bool again)
{
    VhostUserInput *in = (VhostUserInput *)b;
    g_clear_pointer(&in->fresh, g_array_unref);
    g_clear_pointer(&in->wanted, g_array_unref);
    in->fresh = g_array_new(false, true, sizeof(InputPiece));
    in->wanted = g_array_new(false, true, sizeof(InputPiece));
    in->fetched = 0;
    input_want(in, INPUT_SELECT_NAME, 0);
    input_want(in, INPUT_SELECT_SERIAL, 0);
    input_want(in, INPUT_SELECT_DEVIDS, 0);
    input_want(in, INPUT_SELECT_PROP_BITS, 0);
    for (unsigned type = 0; type < EVENT_TYPES; type++) {
        input_want(in, INPUT_SELECT_EV_BITS, type);
    }
    input_fetch_next(in);
}

/* --- The driver's side --- */

static void input_get_config(VhostUserBase *b, uint8_t *config)
{
    VhostUserInput *in = (VhostUserInput *)b;
    memset(config, 0, INPUT_CONFIG_SIZE);
    config[INPUT_CONFIG_SELECT] = in->select;
    config[INPUT_CONFIG_SUBSEL] = in->subsel;
    if (in->serial && in->select == INPUT_SELECT_SERIAL && !in->subsel) {
        config[INPUT_CONFIG_LEN] = strlen(in->serial);
        memcpy(config + INPUT_CONFIG_DATA, in->serial, config[INPUT_CONFIG_LEN]);
        return;
    }
    const InputPiece *p = input_find(in, in->select, in->subsel);
    if (p) {
        config[INPUT_CONFIG_LEN] = p->len;
        memcpy(config + INPUT_CONFIG_DATA, p->data, p->len);
    }
}

static void input_set_config(VhostUserBase *b, const uint8_t *before, const uint8_t *config)
{
    VhostUserInput *in = (VhostUserInput *)b;
    in->select = config[INPUT_CONFIG_SELECT];
    in->subsel = config[INPUT_CONFIG_SUBSEL];
}

static void input_reset(VhostUserBase *b)
{
    VhostUserInput *in = (VhostUserInput *)b;
    in->select = in->subsel = 0;
}

/* --- Life --- */

static bool input_make_shape(VhostUserBase *b, VhostUserShape *s, Error **errp)
{
    VhostUserInput *in = (VhostUserInput *)b;
    if (in->serial && strlen(in->serial) > INPUT_CONFIG_DATA_SIZE) {
        error_set(errp, "serial '%s' is longer than %d bytes", in->serial, INPUT_CONFIG_DATA_SIZE);
        return false;
    }
    b->settles_late = true;
    return true;
}

static void input_unrealize(VhostUserBase *b)
{
    VhostUserInput *in = (VhostUserInput *)b;
    g_clear_pointer(&in->pieces, g_array_unref);
    g_clear_pointer(&in->fresh, g_array_unref);
    g_clear_pointer(&in->wanted, g_array_unref);
}

static const VmStateField input_fields[] = { VMSTATE_STRUCT(parent, VhostUserInput,
                                                            vhost_user_base_vmstate),
                                             VMSTATE_UINT8(select, VhostUserInput),
                                             VMSTATE_UINT8(subsel, VhostUserInput),
                                             {} };
static const VmState input_vmstate = {
    .name = "vhost-user-input",
    .version = 1,
    .minimum_version = 1,
    .fields = input_fields,
};

static const Field input_properties[] = { PROP_STRING(
                                              "serial", VhostUserInput, serial, NULL,
                                              .help = "serial number; the back end's by default"),
                                          {} };

static const VhostUserModel input_model = {
    .type = "vhost-user-input",
    .instance_size = sizeof(VhostUserInput),
    .properties = input_properties,
    .vmstate = &input_vmstate,
    .pci = { .name = "vhost-user-input",
             .backend_type = "vhost-user-input",
             .help = "input device in another process, over vhost-user",
             .virtio_id = VIRTIO_ID_INPUT,
             .class_id = PCI_CLASS_INPUT_OTHER,
             .category = DEVICE_CATEGORY_INPUT,
             .vectors = 2,
             .single = true },
    .shape = { .queues = INPUT_QUEUES,
               .queue_size = INPUT_QUEUE_SIZE,
               .config_size = INPUT_CONFIG_SIZE,
               .backend_config = INPUT_CONFIG_SIZE,
               .needed = BIT64(VIRTIO_F_VERSION_1) },
    .make_shape = input_make_shape,
    .get_config = input_get_config,
    .set_config = input_set_config,
    .connected = input_connected,
    .reset = input_reset,
    .unrealize = input_unrealize,
};
VHOST_USER_MODEL(vhost_user_input, input_model)
