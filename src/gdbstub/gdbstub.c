#include "gdbstub/gdbstub.h"

#include <string.h>

#include "chardev/chardev-record.h"
#include "cpu/debug.h"
#include "event/loop.h"
#include "gdbstub/session.h"
#include "object/runstate.h"
#include "schema/gdbstub.h"

#define DEFAULT_DEVICE "tcp::1234"
#define CHARDEV_ID     "gdb"

/* The stub of this process's machine: -gdb and gdbserver know of one. Main thread. */
static struct {
    char *id; /* of the chardev, if it was made for the stub; NULL: of -chardev's */
    CharFrontend fe;
    GdbSession *session; /* NULL: not listening */
    VmStateHandler *handler;
    BottomHalf *stop_bh;
    Cpu *stopped; /* machine lock: the first that stopped for the debugger and wasn't told of */
} stub;

/* --- The character device --- */

static void on_send(void *opaque, const char *data, size_t len)
{
    Error *err = NULL;
    if (!char_frontend_write_all(&stub.fe, data, len, &err)) {
        error_free(err); /* it has gone: CLOSED follows */
    }
}

static size_t on_can_receive(void *opaque)
{
    return 4096; /* a packet in four turns at most */
}

static void on_receive(void *opaque, const uint8_t *buf, size_t len)
{
    gdb_session_bytes(stub.session, buf, len);
}

static void on_event(void *opaque, CharEvent event)
{
    if (event == CHAR_EVENT_OPENED) {
        gdb_session_connected(stub.session);
    } else if (event == CHAR_EVENT_CLOSED) {
        gdb_session_disconnected(stub.session);
    }
}

static const CharHandlers handlers = {
    .can_receive = on_can_receive,
    .receive = on_receive,
    .event = on_event,
};

/* --- Stops --- */

/* vCPU's thread, machine lock held. */
static void on_cpu_stop(Cpu *cpu, void *opaque)
{
    if (!stub.stopped) {
        stub.stopped = cpu;
    }
    bh_schedule(stub.stop_bh);
}

static void stop_machine(void *opaque)
{
    Cpu *cpu = stub.stopped;
    stub.stopped = NULL;
    if (cpu && vm_is_running()) {
        gdb_session_cpu_stopped(stub.session, cpu);
        vm_stop(RUN_STATE_DEBUG);
    }
}

static void on_machine_state(void *opaque, bool running, RunState state)
{
    if (!running) {
        gdb_session_machine_stopped(stub.session, state);
    }
}

/* --- Starting and ending --- */

static void stop_listening(void)
{
    if (!stub.session) {
        return;
    }
    cpu_set_debug_fn(NULL, NULL);
    vm_state_handler_del(stub.handler);
    char_frontend_finish(&stub.fe);
    gdb_session_free(stub.session);
    bh_free(stub.stop_bh);
    if (stub.id) {
        Error *err = NULL;
        if (!chardev_remove(stub.id, &err)) {
            error_free(err);
        }
        g_free(stub.id);
    }
    memset(&stub, 0, sizeof(stub));
}

/* A socket listens, and nobody waits for it, unless the user says otherwise. */
static char *complete_device(const char *device)
{
    bool tcp = g_str_has_prefix(device, "tcp:");
    if ((tcp || g_str_has_prefix(device, "unix:")) && !strstr(device, "server")) {
        const char *extra = tcp ? ",server=on,wait=off,nodelay=on" : ",server=on,wait=off";
        return g_strconcat(device, extra, NULL);
    }
    return g_strdup(device);
}

bool gdbstub_start(const char *device, Error **errp)
{
    Chardev *chr = NULL;
    bool none = !strcmp(device, "none");
    bool borrowed = g_str_has_prefix(device, "chardev:");
    stop_listening();
    if (none) {
        return true;
    }
    g_autofree char *text = complete_device(device);
    if (!chardev_new_from_text(CHARDEV_ID, text, NULL, &chr, errp)) {
        return false;
    }
    if (!chr || !char_frontend_init(&stub.fe, chr, errp)) {
        if (!borrowed && chr) {
            (void)!chardev_remove(CHARDEV_ID, NULL);
        }
        return chr == NULL;
    }
    stub.id = borrowed ? NULL : g_strdup(CHARDEV_ID);
    stub.session = gdb_session_new(on_send, NULL);
    stub.stop_bh = bh_new(event_loop_main(), stop_machine, NULL);
    stub.handler = vm_state_handler_add(on_machine_state, 0, NULL);
    cpu_set_debug_fn(on_cpu_stop, NULL);
    char_frontend_set_handlers(&stub.fe, &handlers, NULL, NULL);
    return true;
}

bool gdbstub_start_from_config(const Config *config, Error **errp)
{
    const option_type_gdb *gdb = config_get(config, gdb);
    if (gdb && !gdbstub_start(*gdb, errp)) {
        error_prepend(errp, "-gdb %s: ", *gdb);
        return false;
    }
    if (!gdb && config_get(config, s) && !gdbstub_start(DEFAULT_DEVICE, errp)) {
        error_prepend(errp, "-s: ");
        return false;
    }
    return true;
}

void gdbstub_finish(int exit_status)
{
    if (stub.session) {
        gdb_session_exiting(stub.session, exit_status);
    }
    stop_listening();
}

bool qmp_gdbserver(const GdbserverArgs *args, Error **errp)
{
    return gdbstub_start(args->device ? args->device : DEFAULT_DEVICE, errp);
}
