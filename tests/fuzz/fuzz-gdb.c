/* What a gdb client may send: packets as they come, and damaged ones. */
#include <glib.h>
#include <string.h>

#include "base/module.h"
#include "cpu/x86/cpu.h"
#include "event/lock.h"
#include "event/loop.h"
#include "fuzz.h"
#include "gdbstub/packet.h"
#include "gdbstub/session.h"
#include "object/lifecycle.h"

static size_t sent;

/* Two CPUs without an accelerator, over a little RAM. */
static void make_cpus(void)
{
    static MemoryRegion ram; /* lives as long as the process */
    memory_init();
    g_assert_true(memory_region_init_ram(&ram, NULL, "ram", 1 << 20, &error_abort));
    memory_region_add(memory_root(), 0, &ram);
    for (unsigned i = 0; i < 2; i++) {
        Device *dev = (Device *)object_new(X86_CPU_DEFAULT_MODEL X86_CPU_TYPE_SUFFIX);
        ((X86Cpu *)dev)->apic_id = i;
        g_assert_true(device_realize(dev, NULL, &error_abort));
    }
}

static void on_send(void *opaque, const char *data, size_t len)
{
    g_assert_true(data || !len);
    sent += len;
}

/* Each line is also sent as a whole packet, so that mutations get behind the checksum. */
static void send_framed(GdbSession *s, const uint8_t *data, size_t size)
{
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t len = end ? (size_t)(end - data) : size;
        g_autoptr(GString) packet = g_string_new(NULL);
        gdb_packet_frame(packet, (const char *)data, len);
        /* monitor commands may do anything the user could: fuzz-hmp is about them */
        if (!g_strstr_len((const char *)data, (gssize)len, "qRcmd")) {
            gdb_session_bytes(s, (const uint8_t *)packet->str, packet->len);
        }
        len += end != NULL;
        data += len;
        size -= len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static GdbSession *session; /* one a process */
    static bool ready;
    if (!ready) {
        ready = event_loop_main_init(&error_abort);
        machine_lock();
        module_call(MODULE_TYPES);
        make_cpus();
    }
    session = gdb_session_new(on_send, NULL);
    gdb_session_connected(session);
    if (!g_strstr_len((const char *)data, (gssize)size, "qRcmd")) {
        gdb_session_bytes(session, data, size);
    }
    send_framed(session, data, size);
    gdb_session_free(session);
    return 0;
}
