/*
 * An Ethernet switch: learns which address lies behind which port, and forwards frames there.
 * Main thread.
 */
#ifndef VHOST_NET_SWITCH_H
#define VHOST_NET_SWITCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <glib.h>

typedef struct Switch Switch;
typedef struct SwitchPort SwitchPort;

/* A frame for whatever is at the port. False: no room now; the frame is lost unless its sender
 * keeps it. */
typedef bool SwitchDeliver(void *opaque, const struct iovec *iov, unsigned count);

Switch *switch_new(void);
void switch_free(Switch *sw); /* its ports are gone; NULL allowed */

SwitchPort *switch_add_port(Switch *sw, SwitchDeliver *deliver, void *opaque);
void switch_remove_port(SwitchPort *port); /* NULL allowed */

/* A frame that came in at a port. False: it is for one port, which has no room. */
bool switch_forward(SwitchPort *from, const struct iovec *iov, unsigned count);

#endif
