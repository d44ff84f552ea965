/*
 * Making things fails cleanly: machines, devices, objects, character devices, network and block
 * back ends of every registered kind are made and taken away, with the first step failing, the
 * second, and so on until nothing fails, each twice in a row. Steps are what passes a FAULT() and
 * every system call that can fail for want of something. Afterwards nothing may be left.
 *
 * New kinds enrol by themselves; what a kind cannot be made without stands in `needs` below. The
 * argument is the type of the machine.
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/text.h"
#include "block/block.h"
#include "bus/device.h"
#include "bus/pci/pci.h"
#include "chardev/chardev-record.h"
#include "chardev/chardev.h"
#include "config/keyval.h"
#include "contract/failing-calls.h"
#include "contract/remains.h"
#include "devices/virtio/virtio.h"
#include "event/lock.h"
#include "event/loop.h"
#include "memory/memory.h"
#include "net/netdev.h"
#include "object/user-creatable.h"
#include "schema/block.h"

/* No kind takes more steps to make. */
#define STEPS_MAX 2000

typedef struct Making Making;

/* A kind of thing, and how it is made and taken away. */
typedef struct Way {
    bool (*make)(const Making *m, Error **errp);
    void (*unmake)(const Making *m);
} Way;

struct Making {
    const char *way_name, *kind;
    const Way *way;
    char *arguments;  /* key=value,... beyond the kind */
    const char *skip; /* why it can't be made here */
    bool no_place;    /* what is to be refused on this machine */
};

static char *folder;   /* for sockets and files */
static char *tty_path; /* a terminal, for serial lines */

/* --- Needs --- */

typedef struct Need {
    const char *way, *kind; /* a pattern */
    const char *arguments;  /* %s: the folder; %t: a terminal; NULL: can't be made in a test */
    const char *why;        /* for NULL */
} Need;

/* The first that matches. */
static const Need needs[] = {
    { "object", "memory-backend-file", "size=2M,mem-path=%s", NULL },
    { "object", "memory-backend-*", "size=2M", NULL },
    { "object", "secret", "data=x", NULL },
    { "object", "rng-random", "filename=/dev/urandom", NULL },
    { "object", "tls-creds-anon", "endpoint=server", NULL },
    { "object", "tls-creds-psk", NULL, "needs keys in files" },
    { "object", "tls-creds-x509", NULL, "needs certificates in files" },
    { "object", "filter-dump", "netdev=hub0,file=%s/dump", NULL },
    { "chardev", "file", "path=%s/out", NULL },
    { "chardev", "serial", "path=%t", NULL },
    { "chardev", "pipe", "path=%s/pipe", NULL },
    { "chardev", "socket", "path=%s/socket,server=on,wait=off", NULL },
    { "chardev", "udp", "host=127.0.0.1,port=9", NULL },
    { "chardev", "mux", "chardev=null0", NULL },
    { "netdev", "tap", NULL, "needs privileges on the host's network" },
    { "netdev", "socket", "listen=127.0.0.1:0", NULL },
    { "netdev", "stream", "server=on,addr.type=unix,addr.path=%s/stream", NULL },
    { "netdev", "dgram",
      "local.type=inet,local.host=127.0.0.1,local.port=0,remote.type=inet,remote.host=127.0.0.1,"
      "remote.port=9",
      NULL },
    { "netdev", "hubport", "hubid=1", NULL },
    { "netdev", "bridge", NULL, "needs a helper with privileges on the host's network" },
    { "netdev", "vhost-user", "chardev=socket0,wait=off", NULL },
    { "netdev", "vhost-vdpa", NULL, "needs a vDPA device" },
    { "blockdev", "file", "filename=%s/disk", NULL },
    { "blockdev", "host_device", NULL, "needs a block device" },
    { "blockdev", "raw", "file=node0", NULL },
    { "device", "vhost-user-fs-pci", "chardev=socket0,tag=t", NULL },
    { "device", "vhost-user-device-pci", "chardev=socket0,virtio-id=25,num_vqs=1", NULL },
    { "device", "vhost-user-*", "chardev=socket0", NULL },
    { "device", "pci-bridge", "chassis_nr=1", NULL },
    { "device", "virtio-blk-*", "drive=node0", NULL },
    { "device", "vhost-vsock-*", NULL, "needs the kernel's vhost" },
    { "device", "smbus-eeprom", "address=0x30", NULL },
    { "device", "xio3130-downstream", "bus=upstream,chassis=9", NULL },
};

static char *fill_in(const char *arguments)
{
    g_auto(GStrv) parts = g_strsplit(arguments, "%s", -1);
    g_autofree char *with_folder = g_strjoinv(folder, parts);
    g_auto(GStrv) more = g_strsplit(with_folder, "%t", -1);
    return g_strjoinv(tty_path, more);
}

/* What others than the rows say refers to one of the surroundings by its usual name. */
static char *usual_needs(const Making *m)
{
    static const char *const usual[][2] = {
        { "drive", "node0" },
        { "chardev", "null0" },
        { "netdev", "hub0" },
    };
    GString *out = g_string_new(NULL);
    for (size_t i = 0; !strcmp(m->way_name, "device") && i < ARRAY_LEN(usual); i++) {
        if (class_find_property(class_by_name(m->kind), usual[i][0])) {
            g_string_append_printf(out, "%s%s=%s", out->len ? "," : "", usual[i][0], usual[i][1]);
        }
    }
    return g_string_free(out, !out->len);
}

static void find_needs(Making *m)
{
    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        const Need *n = &needs[i];
        if (!strcmp(n->way, m->way_name) && g_pattern_match_simple(n->kind, m->kind)) {
            m->arguments = n->arguments ? fill_in(n->arguments) : NULL;
            m->skip = n->why;
            return;
        }
    }
    m->arguments = usual_needs(m);
}

/* {KEY: kind, further: "made"} and the arguments; new reference */
static json_t *describe(const Making *m, const char *key, const char *further)
{
    bool help = false;
    json_t *json =
        m->arguments ? keyval_parse(m->arguments, NULL, &help, &error_abort) : json_object();
    json_object_set_new(json, key, json_string(m->kind));
    if (further) {
        json_object_set_new(json, further, json_string("made"));
    }
    return json;
}

/* --- Ways --- */

static bool make_machine(const Making *m, Error **errp)
{
    Machine *machine = contract_machine_new(m->kind, errp);
    if (machine && !machine_ready(machine, errp)) {
        contract_machine_free(machine);
        return false;
    }
    return machine;
}

static void unmake_machine(const Making *m)
{
    contract_machine_free(machine_current());
}

static bool make_device(const Making *m, Error **errp)
{
    json_t *json = describe(m, "driver", "id");
    Device *dev = device_add_from_user(json, VALUE_MODE_TEXT, errp);
    json_decref(json);
    return dev;
}

static void unmake_device(const Making *m)
{
    device_destroy(device_find("made"));
}

static bool make_object(const Making *m, Error **errp)
{
    json_t *json = describe(m, "qom-type", NULL);
    json_object_del(json, "qom-type");
    Object *obj = user_creatable_add(m->kind, "made", json, VALUE_MODE_TEXT, errp);
    json_decref(json);
    return obj;
}

static void unmake_object(const Making *m)
{
    bool ok = user_creatable_del("made", &error_abort);
    g_assert_true(ok);
}

static bool make_chardev(const Making *m, Error **errp)
{
    ChardevOptions options = { 0 };
    json_t *json = describe(m, "backend", "id");
    bool ok = value_parse(&value_type_chardev_options, &options, json, VALUE_MODE_TEXT, errp);
    ok = ok && chardev_new_from_options(&options, errp);
    value_release(&value_type_chardev_options, &options);
    json_decref(json);
    return ok;
}

static void unmake_chardev(const Making *m)
{
    bool ok = chardev_remove("made", &error_abort);
    g_assert_true(ok);
}

static bool make_netdev(const Making *m, Error **errp)
{
    Netdev options = { 0 };
    json_t *json = describe(m, "type", "id");
    bool ok = value_parse(&value_type_netdev, &options, json, VALUE_MODE_TEXT, errp);
    ok = ok && netdev_add(&options, errp);
    value_release(&value_type_netdev, &options);
    json_decref(json);
    return ok;
}

static void unmake_netdev(const Making *m)
{
    bool ok = netdev_del("made", &error_abort);
    g_assert_true(ok);
}

static bool make_blockdev(const Making *m, Error **errp)
{
    BlockdevOptions options = { 0 };
    json_t *json = describe(m, "driver", "node-name");
    bool ok = value_parse(&value_type_blockdev_options, &options, json, VALUE_MODE_TEXT, errp);
    ok = ok && block_node_add(&options, errp);
    value_release(&value_type_blockdev_options, &options);
    json_decref(json);
    return ok;
}

static void unmake_blockdev(const Making *m)
{
    bool ok = block_node_del("made", &error_abort);
    g_assert_true(ok);
}

static const Way way_machine = { make_machine, unmake_machine };
static const Way way_device = { make_device, unmake_device };
static const Way way_object = { make_object, unmake_object };
static const Way way_chardev = { make_chardev, unmake_chardev };
static const Way way_netdev = { make_netdev, unmake_netdev };
static const Way way_blockdev = { make_blockdev, unmake_blockdev };

/* --- Failing --- */

typedef enum StepKind { STEP_FAULT, STEP_CALL, STEP_KINDS } StepKind;

/* Make it with the nth step failing. False when nothing failed any more. */
static bool try_step(const Making *m, StepKind kind, int nth)
{
    const char *call = "FAULT";
    Error *err = NULL;
    if (kind == STEP_FAULT) {
        fault_inject(nth);
    } else {
        failing_calls_arm(nth);
    }
    bool ok = m->way->make(m, &err);
    bool fired = kind == STEP_FAULT ? fault_inject(0) <= 0 : failing_calls_disarm(&call);
    if (ok) {
        g_assert_null(err);
        m->way->unmake(m);
    } else if (!err) {
        g_error("%s %s: step %d (%s) fails without an error", m->way_name, m->kind, nth, call);
    } else if (!fired) {
        g_test_message("%s %s: %s", m->way_name, m->kind, error_message(err));
        g_test_fail();
    } else {
        g_test_message("step %d (%s): %s", nth, call, error_message(err));
        /* One line, without a full stop. */
        g_assert_null(strchr(error_message(err), '\n'));
    }
    error_free(err);
    return fired;
}

/* What has no place here is refused cleanly; unless the name is also another's short one. */
static bool test_refused(const Making *m)
{
    Remains before = remains_now();
    for (int again = 0; again < 2; again++) {
        Error *err = NULL;
        if (m->way->make(m, &err)) {
            m->way->unmake(m);
            return false;
        }
        g_assert_nonnull(err);
        error_free(err);
        assert_nothing_left(&before, m->kind);
    }
    return true;
}

static void test_failing(gconstpointer data)
{
    const Making *m = data;
    if (m->no_place && test_refused(m)) {
        return;
    }
    if (m->skip) {
        g_test_skip(m->skip);
        return;
    }
    /* What is made once and kept is made now. */
    try_step(m, STEP_FAULT, STEPS_MAX);
    Remains before = remains_now();
    for (StepKind kind = 0; kind < STEP_KINDS; kind++) {
        bool fired = true;
        for (int nth = 1; fired; nth++) {
            g_assert_cmpint(nth, <, STEPS_MAX);
            for (int again = 0; again < 2; again++) {
                g_autofree char *what =
                    g_strdup_printf("%s %s, %s %d", m->way_name, m->kind,
                                    kind == STEP_FAULT ? "fault" : "failing call", nth);
                fired = try_step(m, kind, nth);
                assert_nothing_left(&before, what);
            }
        }
    }
}

/* --- Enrolment --- */

static void free_making(gpointer p)
{
    Making *m = p;
    g_free(m->arguments);
    g_free(m);
}

static void enrol(const char *way_name, const Way *way, const char *kind, bool no_place)
{
    Making *m = g_new0(Making, 1);
    *m = (Making){ .way_name = way_name, .kind = kind, .way = way, .no_place = no_place };
    find_needs(m);
    g_autofree char *path = g_strdup_printf("/contract/making/%s/%s", way_name, kind);
    g_test_add_data_func_full(path, m, test_failing, free_making);
}

/* Users find no bus for it on this machine, or only one that is taken. */
static bool has_no_place(ObjectClass *klass)
{
    const char *type = device_class_cast(klass)->bus_type;
    Bus *bus = type ? bus_find_for_type(type) : NULL;
    if (type && (!bus || !strcmp(type, TYPE_VIRTIO_BUS))) {
        return true;
    }
    PciBus *pci = (PciBus *)object_dynamic_cast(&bus->parent, TYPE_PCI_BUS);
    return bus && pci && !pci_bus_is_express(pci) &&
           !class_dynamic_cast(klass, TYPE_PCI_CONVENTIONAL);
}

static void enrol_device(ObjectClass *klass, void *opaque)
{
    if (device_class_cast(klass)->user_creatable) {
        enrol("device", &way_device, class_name(klass), has_no_place(klass));
    }
}

static void enrol_object(ObjectClass *klass, void *opaque)
{
    enrol("object", &way_object, class_name(klass), false);
}

static void enrol_kinds(const char *way_name, const Way *way, const EnumDesc *kinds)
{
    for (int i = 0; i < kinds->count; i++) {
        if (kinds->names[i] && strcmp(kinds->names[i], "memory")) { /* an alias */
            enrol(way_name, way, kinds->names[i], false);
        }
    }
}

/* --- Surroundings --- */

static void surround(const ValueType *type, const char *text, bool (*add)(void *, Error **))
{
    g_autofree char *filled = fill_in(text);
    bool help = false;
    json_t *json = keyval_parse(filled, type, &help, &error_abort);
    void *record = g_malloc0(type->size);
    bool ok =
        value_parse(type, record, json, VALUE_MODE_TEXT, &error_abort) && add(record, &error_abort);
    g_assert_true(ok);
    value_free(type, record);
    json_decref(json);
}

static bool add_chardev(void *record, Error **errp)
{
    return chardev_new_from_options(record, errp);
}

static bool add_netdev(void *record, Error **errp)
{
    return netdev_add(record, errp);
}

static bool add_node(void *record, Error **errp)
{
    return block_node_add(record, errp);
}

static void add_device(const char *driver, const char *id)
{
    json_t *json = json_pack("{s:s, s:s}", "driver", driver, "id", id);
    Device *dev = device_add_from_user(json, VALUE_MODE_TEXT, &error_abort);
    g_assert_nonnull(dev);
    json_decref(json);
}

/* What the rows of `needs` refer to, and buses for what plugs into virtio-serial or a switch. */
static void make_surroundings(void)
{
    surround(&value_type_chardev_options, "null,id=null0", add_chardev);
    surround(&value_type_chardev_options, "socket,id=socket0,path=%s/back-end,server=on,wait=off",
             add_chardev);
    surround(&value_type_netdev, "hubport,id=hub0,hubid=0", add_netdev);
    surround(&value_type_blockdev_options, "null-co,node-name=node0,size=1M", add_node);
    PciBus *pci = (PciBus *)bus_find_for_type(TYPE_PCI_BUS);
    if (pci) {
        add_device("virtio-serial-pci", "serial-bus");
    }
    if (pci && pci_bus_is_express(pci)) {
        add_device("x3130-upstream", "upstream");
    }
}

static void make_files(void)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    g_autofree char *disk = g_build_filename(folder, "disk", NULL);
    g_autofree char *pipe = g_build_filename(folder, "pipe", NULL);
    bool ok = g_file_set_contents(disk, "disk", -1, NULL);
    g_assert_true(ok && truncate(disk, 1 << 20) == 0 && mkfifo(pipe, 0600) == 0);
    g_assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    tty_path = g_strdup(ptsname(master));
}

static void remove_files(void)
{
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    const char *type = argc > 1 ? argv[1] : "q35";
    folder = g_dir_make_tmp("rhea-contract-XXXXXX", NULL);
    make_files();
    module_call(MODULE_TYPES);
    module_call(MODULE_SUBSYSTEM);
    bool ok = event_loop_main_init(&error_abort);
    g_assert_true(ok);
    machine_lock();
    memory_init();

    Making machine_making = { .way_name = "machine", .kind = type, .way = &way_machine };
    test_failing(&machine_making);

    Machine *machine = contract_machine_new(type, &error_abort);
    make_surroundings();
    class_foreach(TYPE_DEVICE, false, enrol_device, NULL);
    class_foreach(TYPE_USER_CREATABLE, false, enrol_object, NULL);
    enrol_kinds("chardev", &way_chardev, &enum_chardev_backend_kind);
    enrol_kinds("netdev", &way_netdev, &enum_netdev_type);
    enrol_kinds("blockdev", &way_blockdev, &enum_blockdev_driver);
    int status = g_test_run();

    net_finish_all();
    contract_machine_free(machine);
    block_finish_all();
    chardev_finish_all();
    object_root_reset();
    memory_finish();
    machine_unlock();
    event_loop_main_finish();
    remove_files();
    g_free(folder);
    g_free(tty_path);
    return status;
}
