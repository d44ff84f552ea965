#include "net/queue.h"

#include "base/iov.h"

/* Senders without a completion function have no other limit than this. */
enum { QUEUE_FRAMES_MAX = 10000 };

typedef struct Frame {
    struct Frame *next;
    NetClient *sender;
    NetSentFn *sent;
    size_t len;
    uint8_t data[];
} Frame;

struct NetQueue {
    NetDeliverFn *deliver;
    void *opaque;
    Frame *first, **last;
    unsigned count;
    bool delivering; /* a delivery may come back to us by way of the peer */
};

NetQueue *net_queue_new(NetDeliverFn *deliver, void *opaque)
{
    NetQueue *q = g_new0(NetQueue, 1);
    q->deliver = deliver;
    q->opaque = opaque;
    q->last = &q->first;
    return q;
}

static Frame *queue_take(NetQueue *q)
{
    Frame *f = q->first;
    if (f) {
        q->first = f->next;
        if (!q->first) {
            q->last = &q->first;
        }
        q->count--;
    }
    return f;
}

void net_queue_free(NetQueue *q)
{
    if (!q) {
        return;
    }
    Frame *f;
    while ((f = queue_take(q))) {
        g_free(f);
    }
    g_free(q);
}

static size_t queue_keep(NetQueue *q, NetClient *sender, const struct iovec *iov, unsigned count,
                         NetSentFn *sent)
{
    size_t len = iov_size(iov, count);
    if (!sent && q->count >= QUEUE_FRAMES_MAX) {
        return len; /* dropped */
    }
    Frame *f = g_malloc(sizeof(*f) + len);
    *f = (Frame){ .sender = sender, .sent = sent, .len = len };
    iov_to_buf(iov, count, 0, f->data, len);
    *q->last = f;
    q->last = &f->next;
    q->count++;
    return 0;
}

static size_t queue_deliver(NetQueue *q, NetClient *sender, const struct iovec *iov, unsigned count)
{
    q->delivering = true;
    size_t n = q->deliver(sender, iov, count, q->opaque);
    q->delivering = false;
    return n;
}

size_t net_queue_send(NetQueue *q, NetClient *sender, bool may_deliver, const struct iovec *iov,
                      unsigned count, NetSentFn *sent)
{
    if (q->delivering || !may_deliver || q->first) {
        return queue_keep(q, sender, iov, count, sent);
    }
    size_t n = queue_deliver(q, sender, iov, count);
    if (!n) {
        return queue_keep(q, sender, iov, count, sent);
    }
    /* What the delivery itself caused to be sent here. */
    net_queue_flush(q);
    return n;
}

void net_queue_purge(NetQueue *q, NetClient *sender)
{
    for (Frame **p = &q->first; *p;) {
        Frame *f = *p;
        if (f->sender == sender) {
            *p = f->next;
            q->count--;
            g_free(f);
        } else {
            p = &f->next;
        }
    }
    q->last = &q->first;
    while (*q->last) {
        q->last = &(*q->last)->next;
    }
}

bool net_queue_flush(NetQueue *q)
{
    if (q->delivering) {
        return false;
    }
    while (q->first) {
        Frame *f = queue_take(q);
        struct iovec iov = { .iov_base = f->data, .iov_len = f->len };
        if (!queue_deliver(q, f->sender, &iov, 1)) {
            f->next = q->first;
            if (!q->first) {
                q->last = &f->next;
            }
            q->first = f;
            q->count++;
            return false;
        }
        if (f->sent) {
            f->sent(f->sender, f->len);
        }
        g_free(f);
    }
    return true;
}
