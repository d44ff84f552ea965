/* A QMP client's bytes, through chardev, framer, session and commands. */
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdset.h"
#include "base/module.h"
#include "chardev/chardev-record.h"
#include "event/lock.h"
#include "event/loop.h"
#include "fuzz.h"
#include "monitor/monitor.h"

/* What could reach the host's files is not for fuzzing. */
static bool is_harmless(const uint8_t *data, size_t size)
{
    static const char *const words[] = { "file", "path", "device", "in", "addr", "log" };
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        g_autofree char *quoted = g_strdup_printf("\"%s\"", words[i]);
        if (memmem(data, size, quoted, strlen(quoted))) {
            return false;
        }
    }
    /* … however it may be spelled */
    return !memmem(data, size, "\\u", 2) && !memmem(data, size, "human-monitor", 13);
}

static void set_up(void)
{
    static bool done; /* once a process */
    if (!done) {
        done = event_loop_main_init(&error_abort);
        machine_lock();
        module_call(MODULE_TYPES);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int pair[2];
    set_up();
    if (!is_harmless(data, size) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        return 0;
    }
    fd_named_put("fuzz", pair[0]);
    ChardevBackend record = { .type = CHARDEV_BACKEND_KIND_SOCKET };
    ChardevSocket *options = &record.u.socket.data;
    options->has_server = true;
    options->addr.type = SOCKET_ADDRESS_TYPE_FD;
    options->addr.u.fd.data.str = (char *)"fuzz";
    Chardev *chr = chardev_new("fuzz", &record, &error_abort);
    monitor_init();
    monitor_new(NULL, chr, MONITOR_MODE_CONTROL, false, &error_abort);

    /* Half the inputs come in two pieces. */
    size_t cut = size && data[0] & 1 ? size / 2 : size;
    char drain[4096];
    for (size_t sent = 0, turn = 0; turn < 20; turn++) {
        size_t end = turn ? size : cut;
        ssize_t n = send(pair[1], data + sent, end - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? n : 0;
        while (recv(pair[1], drain, sizeof(drain), MSG_DONTWAIT) > 0) {
        }
        event_loop_iterate(event_loop_main(), false);
    }
    close(pair[1]);
    monitor_finish_all();
    chardev_finish_all();
    fdset_finish();
    return 0;
}
