/* What the files of the user-mode network share. Main thread, machine lock held. */
#ifndef NET_USER_INTERNAL_H
#define NET_USER_INTERNAL_H

#include <slirp/libslirp.h>

#include "net/net.h"

typedef struct UserClient {
    NetClient client;
    Slirp *slirp;
    GSource *source;
    struct in_addr net, mask;
    GPtrArray *forwards; /* GuestForward, owned; NULL: none */

    /* state only */
    uint32_t state_version, state_len, state_done;
    uint8_t *state; /* owned */
    bool state_short;
} UserClient;

/* --- user-forward.c --- */

/* Listen for, or no longer, what "[tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT" says. To
 * remove one, the part before '-' is enough. */
MUST_CHECK bool user_host_forward(UserClient *u, const char *text, bool add, Error **errp);
/* "[tcp]:SERVER:PORT-WHERE": unix:PATH, cmd:COMMAND, or a character device. */
MUST_CHECK bool user_guest_forward(UserClient *u, const char *text, Error **errp);
/* The guest may have made room in its connections. */
void user_guest_forwards_poll(UserClient *u);
void user_guest_forwards_finish(UserClient *u);

#endif
