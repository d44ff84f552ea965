/*
 * A virtio device on a PCI bus, a fresh one for each input, and a guest that does what the bytes
 * say: registers of both layouts, ring memory, doorbells, resets, ring resets, stops of the
 * machine. The first byte chooses the device, the second the ring format and transport options; a
 * target is built for each device (FUZZ_DEVICE) and each format (FUZZ_MODE), which then is no
 * choice.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/virtio-driver.h"

#include "base/fdset.h"
#include "block/backend.h"
#include "fuzz.h"
#include "net/netdev.h"
#include "object/runstate.h"

#ifndef FUZZ_DEVICE
#define FUZZ_DEVICE -1
#endif
#ifndef FUZZ_MODE
#define FUZZ_MODE -1
#endif

static const VdMode modes[] = {
    { "split", "vectors=8", true, false, true, BIT64(VIRTIO_F_EVENT_IDX) },
    { "split-plain", "vectors=0,ioeventfd=off", true, false, false, 0 },
    { "packed", "vectors=8,packed=on", true, true, true, 0 },
    { "packed-order", "vectors=8,packed=on,in_order=on,ioeventfd=off", true, true, true,
      BIT64(VIRTIO_F_EVENT_IDX) | BIT64(VIRTIO_F_IN_ORDER) | BIT64(VIRTIO_F_INDIRECT_DESC) },
    { "legacy", "disable-modern=on,vectors=8", false, false, true, 0 },
    { "legacy-pin", "vectors=0,ioeventfd=off", false, false, false, 0 },
};

static unsigned choose(int fixed, uint8_t byte, unsigned count)
{
    return fixed >= 0 ? (unsigned)fixed : byte % count;
}

typedef struct Input {
    const uint8_t *data;
    size_t left;
} Input;

static uint64_t take(Input *in, unsigned n)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < n && in->left; i++, in->left--) {
        v |= (uint64_t)*in->data++ << (8 * i);
    }
    return v;
}

static void make_backends(int *frames)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair), ==, 0);
    fd_named_put("net", pair[0]);
    *frames = pair[1];
    SocketAddress local = { .type = SOCKET_ADDRESS_TYPE_FD, .u.fd.str = (char *)"net" };
    Netdev net = { .id = (char *)"n", .type = NETDEV_TYPE_DGRAM, .u.dgram.local = &local };
    g_assert_true(netdev_add(&net, &error_abort));
    BlockdevOptions disk = { .driver = BLOCKDEV_DRIVER_NULL_CO, .node_name = (char *)"d" };
    disk.u.null_co.has_size = true;
    disk.u.null_co.size = 1 << 20;
    g_assert_nonnull(block_node_add(&disk, &error_abort));
}

enum { DEVICE_SERIAL = 4 };

static void add_ports(void)
{
    static const char *const types[] = { "virtconsole", "virtserialport" };
    for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
        json_t *p = json_pack("{s:s, s:s, s:s}", "driver", types[i], "bus", "vs.0", "name", "p");
        g_assert_nonnull(device_add_from_user(p, VALUE_MODE_TEXT, &error_abort));
        json_decref(p);
    }
}

/* One step of the guest. */
static void step(Vd *d, Input *in, int frames)
{
    uint8_t bytes[64];
    switch (take(in, 1) % 14) {
    case 0: {
        unsigned at = take(in, 1) % 64, size = 1u << take(in, 1) % 3;
        memory_out(VD_BAR4 + ALIGN_DOWN(at, size), size, take(in, size));
        break;
    }
    case 1: {
        /* Ring memory and data, anywhere in the first queues' areas. */
        uint64_t at = VD_RAM + take(in, 2) * 8 % (3 * VD_QUEUE_BYTES);
        unsigned n = take(in, 1) % sizeof(bytes);
        for (unsigned i = 0; i < n; i++) {
            *vd_at(d, at + i) = take(in, 1);
        }
        break;
    }
    case 2:
        memory_out(VD_BAR4 + 0x3000 + 4 * (take(in, 1) % 8), 2, take(in, 1) % 8);
        break;
    case 3:
        memory_out(VD_BAR4 + 0x2000 + take(in, 1), 1u << take(in, 1) % 3, take(in, 4));
        break;
    case 4:
        vd_turn();
        break;
    case 5:
        memory_out(VD_BAR4 + 20, 1, take(in, 1));
        break;
    case 6:
        port_out(VD_BAR0 + take(in, 1) % 64, 1u << take(in, 1) % 3, take(in, 4));
        break;
    case 7:
        config_out(0, d->dev->devfn, take(in, 1) & ~3u, 4, take(in, 4));
        break;
    case 8: {
        /* A well-formed buffer with odd numbers in it. */
        VdQueue *q = &d->queues[take(in, 1) % 3];
        if (!q->size) {
            break;
        }
        VdSeg s[4];
        unsigned n = 1 + take(in, 1) % 4;
        for (unsigned i = 0; i < n; i++) {
            s[i] = (VdSeg){ VD_DATA + take(in, 2), take(in, 2), take(in, 1) & 1 };
        }
        vd_add(d, q, s, n);
        vd_kick(d, q);
        break;
    }
    case 9: {
        unsigned n = take(in, 1) % sizeof(bytes);
        for (unsigned i = 0; i < n; i++) {
            bytes[i] = take(in, 1);
        }
        (void)!send(frames, bytes, n, 0);
        break;
    }
    case 10:
        for (unsigned i = 0; i < 16; i++) {
            *vd_at(d, VD_DATA + i) = take(in, 1); /* headers of requests and commands */
        }
        break;
    case 11:
        /* Reset a queue (2.6.1), and give it back. */
        memory_out(VD_BAR4 + 22, 2, take(in, 1) % 4);
        memory_out(VD_BAR4 + 58, 2, 1);
        memory_out(VD_BAR4 + 28, 2, take(in, 1) & 1);
        break;
    case 12:
        vm_stop(RUN_STATE_PAUSED);
        vd_turn();
        vm_start();
        break;
    default:
        (void)memory_in(VD_BAR4 + take(in, 2) % 0x4000, 1u << take(in, 1) % 3);
        (void)port_in(VD_BAR0 + take(in, 1) % 64, 1u << take(in, 1) % 3);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const devices[][2] = {
        { "virtio-rng-pci", "" },
        { "virtio-blk-pci", "drive=d" },
        { "virtio-net-pci", "netdev=n" },
        { "virtio-balloon-pci", "free-page-reporting=on,free-page-hint=on" },
        { "virtio-serial-pci", "max_ports=4,id=vs" },
    };
    static bool started; /* types and the loop live as long as the process */
    if (!started) {
        started = true;
        module_call(MODULE_TYPES);
        module_call(MODULE_SUBSYSTEM);
        world_register_types();
        g_assert_true(event_loop_main_init(&error_abort));
    }
    if (size < 2) {
        return 0;
    }
    World w;
    Vd d;
    int frames;
    Input in = { data + 2, size - 2 };
    const VdMode *mode = &modes[choose(FUZZ_MODE, data[1], ARRAY_LEN(modes))];
    unsigned which = choose(FUZZ_DEVICE, data[0], ARRAY_LEN(devices));
    const char *const *device = devices[which];
    world_up(&w, NULL);
    vm_start();
    make_backends(&frames);
    vd_up(&d, &w, mode, device[0], device[1], 0);
    if (which == DEVICE_SERIAL) {
        add_ports();
    }
    static const unsigned queues[] = { 1, 1, 3, 5, 6 };
    for (unsigned i = 0; i < queues[which]; i++) {
        vd_queue(&d, i);
    }
    vd_ready(&d);
    for (unsigned steps = 0; in.left && steps < 2000; steps++) {
        step(&d, &in, frames);
    }
    for (unsigned i = 0; i < 4; i++) {
        vd_turn();
    }
    vm_stop(RUN_STATE_PAUSED);
    vd_down(&d);
    close(frames);
    net_finish_all();
    block_finish_all();
    run_state_reset();
    world_down(&w, NULL);
    return 0;
}
