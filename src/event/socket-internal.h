/* What socket.c and socket-connect.c share. */
#ifndef EVENT_SOCKET_INTERNAL_H
#define EVENT_SOCKET_INTERNAL_H

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>

#include "event/socket.h"

bool socket_fill_unix(const SocketAddr *addr, struct sockaddr_un *un, socklen_t *len, Error **errp);
bool socket_fill_vsock(const SocketAddr *addr, struct sockaddr_vm *vm, Error **errp);
/* freeaddrinfo() the result; NULL on failure, with getaddrinfo()'s code in *failure. */
struct addrinfo *socket_resolve(const SocketAddr *addr, bool passive, int type, int flags,
                                int *failure, Error **errp);
int socket_open(int family, int type, Error **errp);

#endif
