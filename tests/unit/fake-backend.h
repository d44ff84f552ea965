/*
 * A vhost-user back end for tests, in a thread of its own: it does what the protocol asks, notes
 * what it was told, and misbehaves in one way when it is told to.
 */
#ifndef TESTS_UNIT_FAKE_BACKEND_H
#define TESTS_UNIT_FAKE_BACKEND_H

#include <glib.h>

#include "vhost/user/message.h"

typedef enum FakeFault {
    FAKE_NO_FAULT,
    FAKE_CLOSE,       /* close instead of answering `fault_code` */
    FAKE_SILENT,      /* don't answer it */
    FAKE_SHORT,       /* one byte of payload less than right */
    FAKE_LONG,        /* one byte more */
    FAKE_HUGE,        /* a size no message has */
    FAKE_WRONG_CODE,  /* answer another request */
    FAKE_NOT_A_REPLY, /* without the reply flag */
    FAKE_VERSION,     /* wrong protocol version */
    FAKE_FD,          /* a descriptor where none belongs */
    FAKE_TWICE,       /* answer twice */
    FAKE_REFUSE,      /* acknowledge with failure */
    FAKE_HALF_HEADER, /* half a header, then close */
    FAKE_FAULT_COUNT,
} FakeFault;

typedef struct FakeBackend {
    char *path;
    int listener;
    GThread *thread;
    bool quit; /* atomic */

    /* What it is like; set before it is used, under lock. */
    GMutex lock;
    uint64_t features, protocol_features, queue_num, mem_slots;
    FakeFault fault;
    uint32_t fault_code;
    int close_after_bytes; /* of everything it sends; -1: never */

    /* What it was told; under lock. */
    unsigned connections;
    GString *log; /* "GET_FEATURES SET_OWNER …" */
    uint64_t acked_features, acked_protocol;
    uint32_t base[16], num[16];
    bool enabled[16], kicked[16];
    VhostUserVringAddr addr[16];
    VhostUserRegion regions[16];
    unsigned region_count;
    int backend_fd; /* its channel for own requests; -1 */
    int conn;       /* the present connection; -1 */
    int sent;       /* bytes, this connection */
    int inflight_fd;
    int log_fd; /* of SET_LOG_BASE; -1 */
    uint64_t log_size, mtu;
    VhostUserIotlb iotlb; /* the last one told */
    unsigned inflight_given_back;
} FakeBackend;

void fake_backend_start(FakeBackend *fake, const char *folder);
void fake_backend_stop(FakeBackend *fake);
/* Drop the present connection, as a process that dies does. */
void fake_backend_kill(FakeBackend *fake);
/* What it was told since the last call; g_free. */
char *fake_backend_take_log(FakeBackend *fake);

#endif
