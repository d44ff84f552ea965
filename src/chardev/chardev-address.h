/* From the typed records of chardevs' socket addresses to event/socket.h. */
#ifndef CHARDEV_CHARDEV_ADDRESS_H
#define CHARDEV_CHARDEV_ADDRESS_H

#include "event/socket.h"
#include "schema/chardev.h"

/* The nested form. Fill *dst (zeroed or garbage). */
MUST_CHECK bool socket_addr_from_legacy_record(SocketAddr *dst, const SocketAddressLegacy *record,
                                               Error **errp);

#endif
