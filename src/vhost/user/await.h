/*
 * Start-up's patience: connections that are to be made before the guest runs. Whoever makes a
 * vhost-user front end says that it is awaited; start-up asks what is still missing, and the user
 * hears of it. Nothing waits here.
 *
 * Main thread, machine lock held.
 */
#ifndef VHOST_USER_AWAIT_H
#define VHOST_USER_AWAIT_H

#include "vhost/user/vhost-user.h"

typedef struct VhostUserAwait VhostUserAwait;

/* what: "netdev 'n0'", copied. vu: borrowed. timeout: seconds until waiting is an error; 0: never.
 */
VhostUserAwait *vhost_user_await(VhostUser *vu, const char *what, unsigned timeout);
/* It is there; nobody waits any more, whatever happens later. NULL allowed, here and below. */
void vhost_user_await_met(VhostUserAwait *a);
/* It is there and won't do. Only the last word before the end of waiting counts. */
void vhost_user_await_refused(VhostUserAwait *a, const Error *why);
void vhost_user_await_free(VhostUserAwait *a);

/*
 * The first of those that are awaited, as text ("the back end of netdev 'n0' to answer on …"; the
 * caller frees), or NULL. An error if waiting has become pointless: the time is over, or the back
 * end is there and can't do what was asked of it.
 */
char *vhost_user_awaited(Error **errp);
/* Told whenever that may have changed; NULL stops. */
void vhost_user_set_await_fn(void (*fn)(void *opaque), void *opaque);

#endif
