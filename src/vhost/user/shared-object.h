/*
 * Objects (buffers) that one back end offers to others by a UUID: BACKEND_SHARED_OBJECT_* and
 * GET_SHARED_OBJECT. Machine lock held.
 */
#ifndef VHOST_USER_SHARED_OBJECT_H
#define VHOST_USER_SHARED_OBJECT_H

#include "vhost/user/session.h"

/* False if the UUID is taken, or the owner has too many. */
bool shared_object_add(const VhostUserShared *object, VhostUser *owner);
/* False unless it is the owner's. */
bool shared_object_remove(const VhostUserShared *object, VhostUser *owner);
/* The owner is asked, and `asker` answered once it has said something. False: nobody owns it. */
bool shared_object_lookup(const VhostUserShared *object, VhostUser *asker);
/* Its connection is gone: what it owned and asked for goes too. */
void shared_object_forget(VhostUser *vu);

#endif
