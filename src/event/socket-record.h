/* From the typed record of an address to SocketAddr. */
#ifndef EVENT_SOCKET_RECORD_H
#define EVENT_SOCKET_RECORD_H

#include "event/socket.h"
#include "schema/sockets.h"

/* addr: zeroed or garbage; released by the caller with socket_addr_release(), also on failure. */
MUST_CHECK bool socket_addr_from_record(SocketAddr *addr, const SocketAddress *record,
                                        Error **errp);

#endif
