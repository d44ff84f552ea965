/*
 * What the back end does wrong when it is told to (--fault), so that front ends can be tested.
 */
#ifndef VHOST_NET_FAULT_H
#define VHOST_NET_FAULT_H

#include "vhost/user/message.h"

typedef enum FaultKind {
    FAULT_NONE,
    /* whatever the message */
    FAULT_DIE,
    FAULT_CLOSE,
    FAULT_STALL,
    /* where an answer is due */
    FAULT_SILENT,
    FAULT_REFUSE,
    FAULT_SHORT,
    FAULT_LONG,
    FAULT_HUGE,
    FAULT_WRONG_CODE,
    FAULT_NOT_A_REPLY,
    FAULT_VERSION,
    FAULT_DESCRIPTOR,
    FAULT_TWICE,
    FAULT_HALF,
    FAULT_GARBAGE,
    FAULT_KIND_COUNT,
} FaultKind;

typedef struct Fault {
    FaultKind kind;
    bool backend;  /* code is one of the back end's own requests, which it then sends */
    uint32_t code; /* VHOST_USER_*, VHOST_USER_BACKEND_* */
    unsigned nth;  /* only the nth such message, from 1; 0: each */
    unsigned seen;
} Fault;

/* "KIND:MESSAGE" or "KIND:MESSAGE:N" */
MUST_CHECK bool fault_parse(Fault *fault, const char *text, Error **errp);
const char *fault_name(FaultKind kind);
const char *fault_help(FaultKind kind);

/* Which fault this message meets; counts it. */
FaultKind fault_for(Fault *faults, unsigned count, bool backend, uint32_t code);

/* Send a message with the fault; the message is complete and right. False: the connection is to be
 * closed. */
MUST_CHECK bool fault_send(FaultKind kind, int sock, VhostUserMessage *msg);

#endif
