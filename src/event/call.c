#include "event/call.h"

#include "event/loop-internal.h"

typedef struct LoopCall {
    EventFn *fn;
    void *opaque;
    GMutex lock; /* guards done */
    GCond cond;
    bool done;
} LoopCall;

static void loop_call_run(void *opaque)
{
    LoopCall *call = opaque;
    if (call->fn) {
        call->fn(call->opaque);
    }
    g_mutex_lock(&call->lock);
    call->done = true;
    g_cond_signal(&call->cond);
    g_mutex_unlock(&call->lock);
}

void event_loop_call(EventLoop *loop, EventFn *fn, void *opaque)
{
    if (event_loop_is_own(loop)) {
        if (fn) {
            fn(opaque);
        }
        return;
    }
    LoopCall call = { .fn = fn, .opaque = opaque };
    g_mutex_init(&call.lock);
    g_cond_init(&call.cond);
    bh_run_once(loop, loop_call_run, &call);
    g_mutex_lock(&call.lock);
    while (!call.done) {
        g_cond_wait(&call.cond, &call.lock);
    }
    g_mutex_unlock(&call.lock);
    g_cond_clear(&call.cond);
    g_mutex_clear(&call.lock);
}
