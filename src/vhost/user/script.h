/*
 * A conversation as rows: send a message, take its answer, go on. Rows may repeat (one round per
 * ring or region) and may be skipped. Nothing waits: the next row runs when the answer has come.
 */
#ifndef VHOST_USER_SCRIPT_H
#define VHOST_USER_SCRIPT_H

#include "vhost/user/channel.h"

typedef struct ScriptRow {
    uint32_t code;
    /* How often; NULL: once. 0 skips the row. */
    unsigned (*rounds)(void *opaque);
    /* Fill payload and descriptors (borrowed); NULL: there is nothing to fill. It may choose
     * another message: msg->header.request. False skips this round, or fails the script if *errp is
     * set. */
    bool (*fill)(void *opaque, unsigned round, VhostUserMessage *msg, Error **errp);
    /* Take the answer; NULL where an acknowledgement is all. False fails the script. */
    bool (*take)(void *opaque, unsigned round, VhostUserMessage *reply, Error **errp);
    bool no_ack; /* don't ask for one (messages that are many, and can't go wrong by themselves) */
} ScriptRow;

typedef struct Script {
    VhostUserChannel *channel;
    const ScriptRow *rows; /* ends with code 0; NULL while none runs */
    void *opaque;
    unsigned row, round;
    bool stepping;
    unsigned generation; /* answers to what was abandoned are told apart */
    void (*done)(void *opaque, const Error *err);
} Script;

/* done: once, unless the script is abandoned; err NULL: all rows ran. */
void script_run(Script *s, VhostUserChannel *channel, const ScriptRow *rows,
                void (*done)(void *opaque, const Error *err), void *opaque);
/* Forget it: done is not called, answers still to come are ignored. */
void script_abandon(Script *s);
bool script_is_running(const Script *s);

#endif
