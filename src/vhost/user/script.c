#include "vhost/user/script.h"

typedef struct ScriptAnswer {
    Script *script;
    unsigned generation;
} ScriptAnswer;

static void script_end(Script *s, Error *err)
{
    s->rows = NULL;
    s->generation++;
    s->done(s->opaque, err);
    error_free(err);
}

static void script_step(Script *s);

static void script_answered(void *opaque, VhostUserMessage *reply, const Error *err)
{
    ScriptAnswer answer = *(ScriptAnswer *)opaque;
    Script *s = answer.script;
    g_free(opaque);
    if (answer.generation != s->generation) {
        return;
    }
    const ScriptRow *row = &s->rows[s->row];
    Error *why = err ? error_copy(err) : NULL;
    if (!why && row->take && reply) {
        if (!row->take(s->opaque, s->round, reply, &why)) {
            error_prepend(&why, "%s: ", vhost_user_request_name(row->code));
        }
    }
    if (why) {
        script_end(s, why);
        return;
    }
    s->round++;
    if (!s->stepping) {
        script_step(s);
    }
}

/* Send one round. An answer that is already here (no acknowledgement asked for) has moved on before
 * this returns. */
static bool script_send(Script *s, const ScriptRow *row, Error **errp)
{
    VhostUserMessage msg = { .header.request = row->code };
    Error *err = NULL;
    if (row->fill && !row->fill(s->opaque, s->round, &msg, &err)) {
        if (err) {
            error_propagate(errp, err);
            return false;
        }
        s->round++;
        return true;
    }
    const VhostUserMessageInfo *info = vhost_user_request_info(msg.header.request);
    if (row->no_ack && info->answer == VU_ANSWER_ACK) {
        vhost_user_channel_request(s->channel, &msg, NULL, NULL);
        s->round++;
        return true;
    }
    ScriptAnswer *answer = g_new(ScriptAnswer, 1);
    *answer = (ScriptAnswer){ s, s->generation };
    vhost_user_channel_request(s->channel, &msg, script_answered, answer);
    return true;
}

/* Go on until an answer is awaited or the end is reached. */
static void script_step(Script *s)
{
    unsigned generation = s->generation;
    s->stepping = true;
    while (s->generation == generation) {
        const ScriptRow *row = &s->rows[s->row];
        if (!row->code) {
            s->stepping = false;
            script_end(s, NULL);
            return;
        }
        unsigned rounds = row->rounds ? row->rounds(s->opaque) : 1;
        if (s->round >= rounds) {
            s->row++;
            s->round = 0;
            continue;
        }
        unsigned before = s->round;
        Error *err = NULL;
        if (!script_send(s, row, &err)) {
            s->stepping = false;
            script_end(s, err);
            return;
        }
        if (s->generation == generation && s->round == before) {
            break; /* the answer goes on */
        }
    }
    s->stepping = false;
}

void script_run(Script *s, VhostUserChannel *channel, const ScriptRow *rows,
                void (*done)(void *opaque, const Error *err), void *opaque)
{
    assert(!s->rows);
    s->channel = channel;
    s->rows = rows;
    s->done = done;
    s->opaque = opaque;
    s->row = s->round = 0;
    s->generation++;
    script_step(s);
}

void script_abandon(Script *s)
{
    s->rows = NULL;
    s->generation++;
}

bool script_is_running(const Script *s)
{
    return s->rows;
}
