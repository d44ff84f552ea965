/* announce-self: NICs tell the network where their addresses are, several times, ever slower. */
#include <string.h>

#include "event/clock.h"
#include "net/netdev.h"
#include "net/nic.h"

typedef struct Announcement {
    struct Announcement *next;
    AnnounceParameters params; /* owned copy */
    int64_t round;
    Timer *timer;
} Announcement;

/* Those under way; emptied by net_announce_finish(). */
static Announcement *announcements;

static void announcement_free(Announcement *a)
{
    Announcement **p = &announcements;
    while (*p != a) {
        p = &(*p)->next;
    }
    *p = a->next;
    timer_free(a->timer);
    value_release(&value_type_announce_parameters, &a->params);
    g_free(a);
}

void net_announce_finish(void)
{
    while (announcements) {
        announcement_free(announcements);
    }
}

static bool wanted(const AnnounceParameters *params, const char *name)
{
    for (size_t i = 0; i < params->interfaces.len; i++) {
        if (!strcmp(params->interfaces.items[i], name)) {
            return true;
        }
    }
    return !params->interfaces.len;
}

static bool announce_client(NetClient *nc, void *opaque)
{
    const Announcement *a = opaque;
    if (!net_is_nic(nc) || nc->queue_index || !wanted(&a->params, nc->name)) {
        return true;
    }
    uint8_t frame[NIC_ANNOUNCE_LEN];
    nic_announce_frame(frame, nic_of(nc)->mac->a);
    if (!nc->vnet_header_len) {
        net_send_buf(nc, frame, sizeof(frame), NULL);
    }
    /* A driver that can announce knows more addresses than the NIC's own. */
    if (nc->ops->announce) {
        nc->ops->announce(nc);
    }
    return true;
}

static void announce_round(void *opaque)
{
    Announcement *a = opaque;
    net_client_foreach(announce_client, a);
    if (++a->round >= a->params.rounds) {
        announcement_free(a);
        return;
    }
    int64_t wait = a->params.initial + (a->round - 1) * a->params.step;
    wait = wait > a->params.max ? a->params.max : wait;
    timer_set(a->timer, clock_now(CLK_REALTIME) + wait * NS_PER_MS);
}

bool qmp_announce_self(const AnnounceParameters *args, Error **errp)
{
    for (Announcement *a = announcements; a; a = a->next) {
        if (!g_strcmp0(a->params.id, args->id)) {
            announcement_free(a);
            break;
        }
    }
    Announcement *a = g_new0(Announcement, 1);
    value_copy(&value_type_announce_parameters, &a->params, args);
    a->timer = timer_new(event_loop_main(), CLK_REALTIME, announce_round, a);
    a->next = announcements;
    announcements = a;
    timer_set(a->timer, clock_now(CLK_REALTIME));
    return true;
}
