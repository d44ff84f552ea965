/* The stream part of -netdev socket. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "net/netdev.h"

MUST_CHECK bool net_socket_create_stream(const char *id, const NetdevSocketOptions *options,
                                         Error **errp);

#endif
