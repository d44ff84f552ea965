#include "fault.h"

#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/fd.h"
#include "base/text.h"

static const struct {
    const char *name, *help;
} kinds[FAULT_KIND_COUNT] = {
    [FAULT_DIE] = { "die", "the process ends at once, as by kill -9" },
    [FAULT_CLOSE] = { "close", "close the connection instead of answering" },
    [FAULT_STALL] = { "stall", "the process sleeps for ever" },
    [FAULT_SILENT] = { "silent", "don't answer" },
    [FAULT_REFUSE] = { "refuse", "acknowledge with failure" },
    [FAULT_SHORT] = { "short", "one byte of payload less than right" },
    [FAULT_LONG] = { "long", "one byte of payload more" },
    [FAULT_HUGE] = { "huge", "a size that no message has" },
    [FAULT_WRONG_CODE] = { "wrong-code", "answer another request" },
    [FAULT_NOT_A_REPLY] = { "not-a-reply", "leave out the reply flag" },
    [FAULT_VERSION] = { "version", "a wrong protocol version" },
    [FAULT_DESCRIPTOR] = { "fd", "a file descriptor where none belongs" },
    [FAULT_TWICE] = { "twice", "answer twice" },
    [FAULT_HALF] = { "half", "half a header, then close" },
    [FAULT_GARBAGE] = { "garbage", "random bytes" },
};

const char *fault_name(FaultKind kind)
{
    return kinds[kind].name;
}

const char *fault_help(FaultKind kind)
{
    return kinds[kind].help;
}

static bool find_message(Fault *fault, const char *name)
{
    for (uint32_t code = 1; code < VHOST_USER_REQUEST_COUNT; code++) {
        const VhostUserMessageInfo *info = vhost_user_request_info(code);
        if (info && !strcmp(info->name, name)) {
            fault->code = code;
            return true;
        }
    }
    for (uint32_t code = 1; code < VHOST_USER_BACKEND_REQUEST_COUNT; code++) {
        const VhostUserMessageInfo *info = vhost_user_backend_request_info(code);
        if (info && !strcmp(info->name, name)) {
            fault->code = code;
            fault->backend = true;
            return true;
        }
    }
    return false;
}

bool fault_parse(Fault *fault, const char *text, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 3);
    uint64_t nth = 0;
    *fault = (Fault){ 0 };
    for (unsigned k = 1; parts[0] && k < FAULT_KIND_COUNT; k++) {
        if (!strcmp(kinds[k].name, parts[0])) {
            fault->kind = k;
        }
    }
    if (!fault->kind || !parts[1]) {
        error_set(errp, "fault '%s': the form is KIND:MESSAGE[:N]; '--fault help' lists the kinds",
                  text);
        return false;
    }
    if (!find_message(fault, parts[1])) {
        error_set(errp, "fault '%s': there is no message '%s', as in GET_FEATURES", text, parts[1]);
        return false;
    }
    if (parts[2] && (!text_to_u64(parts[2], &nth) || !nth || nth > UINT32_MAX)) {
        error_set(errp, "fault '%s': '%s' is no number from 1", text, parts[2]);
        return false;
    }
    fault->nth = nth;
    return true;
}

FaultKind fault_for(Fault *faults, unsigned count, bool backend, uint32_t code)
{
    FaultKind kind = FAULT_NONE;
    for (unsigned i = 0; i < count; i++) {
        Fault *f = &faults[i];
        if (f->backend == backend && f->code == code) {
            f->seen++;
            if (!kind && (!f->nth || f->nth == f->seen)) {
                kind = f->kind;
            }
        }
    }
    return kind;
}

static bool send_all(int sock, const void *data, size_t len, const int *fds, unsigned nfds)
{
    struct iovec iov = { (void *)data, len };
    return fd_sendmsg(sock, &iov, 1, fds, nfds) == (ssize_t)len;
}

bool fault_send(FaultKind kind, int sock, VhostUserMessage *msg)
{
    FD_AUTO extra = -1;
    struct {
        VhostUserHeader header;
        VhostUserPayload payload;
    } __attribute__((packed)) wire = { msg->header, msg->payload };
    const int *fds = msg->fds;
    unsigned nfds = msg->nfds;
    switch (kind) {
    case FAULT_DIE:
        _exit(9);
    case FAULT_CLOSE:
        return false;
    case FAULT_STALL:
        for (;;) {
            pause();
        }
    case FAULT_SILENT:
        return true;
    case FAULT_REFUSE:
        wire.payload.u64 = 1;
        break;
    case FAULT_SHORT:
        wire.header.size -= wire.header.size ? 1 : 0;
        break;
    case FAULT_LONG:
        wire.header.size++;
        break;
    case FAULT_HUGE:
        wire.header.size = 0x7fffffff;
        break;
    case FAULT_WRONG_CODE:
        wire.header.request++;
        break;
    case FAULT_NOT_A_REPLY:
        wire.header.flags ^= VHOST_USER_REPLY;
        break;
    case FAULT_VERSION:
        wire.header.flags ^= VHOST_USER_VERSION_MASK;
        break;
    case FAULT_DESCRIPTOR:
        extra = dup(sock);
        fds = &extra;
        nfds = 1;
        break;
    case FAULT_HALF:
        (void)!send_all(sock, &wire, sizeof(wire.header) / 2, NULL, 0);
        return false;
    case FAULT_GARBAGE:
        for (size_t i = 0; i < sizeof(wire); i++) {
            ((uint8_t *)&wire)[i] = g_random_int();
        }
        return send_all(sock, &wire, sizeof(wire), NULL, 0);
    case FAULT_TWICE:
        if (!send_all(sock, &wire, sizeof(wire.header) + wire.header.size, fds, nfds)) {
            return false;
        }
        break;
    default:
        break;
    }
    size_t payload = MIN_OF(wire.header.size, sizeof(wire.payload));
    return send_all(sock, &wire, sizeof(wire.header) + payload, fds, nfds);
}
