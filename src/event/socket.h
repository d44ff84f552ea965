/*
 * Stream and datagram sockets by address: listening, connecting without blocking, describing.
 *
 * Used by character devices, network back ends, migration and displays. Descriptors handed out are
 * non-blocking and close-on-exec, and the caller's.
 */
#ifndef EVENT_SOCKET_H
#define EVENT_SOCKET_H

#include "base/compiler.h"
#include "base/error.h"
#include "base/value.h"
#include "event/loop.h"

typedef enum SocketKind { SOCKET_INET, SOCKET_UNIX, SOCKET_VSOCK, SOCKET_FD } SocketKind;

/* Zeroed is empty; strings are owned. */
typedef struct SocketAddr {
    SocketKind kind;
    char *host;           /* inet: NULL or "" listens on all, connects to localhost */
    char *port;           /* inet: number or service name; vsock: number */
    uint16_t to;          /* inet, listening: the last port to try; 0: only `port` */
    OnOffAuto ipv4, ipv6; /* both auto, or the one that is on */
    bool numeric;         /* inet: host is an address, never looked up */
    bool keep_alive;
    char *path;    /* unix */
    char *file;    /* unix, while listening: the file made, wherever the process is; else NULL */
    bool abstract; /* unix: Linux's abstract name space */
    bool loose;    /* unix, abstract: the name is padded with zeros to the full sun_path */
    uint32_t cid;  /* vsock */
    char *fd;      /* a number, or a name given with getfd */
} SocketAddr;

void socket_addr_release(SocketAddr *addr);
void socket_addr_copy(SocketAddr *dst, const SocketAddr *src); /* dst: zeroed or garbage */
/* "unix:PATH", "tcp:HOST:PORT", "HOST:PORT", "[IPV6]:PORT", "vsock:CID:PORT", "fd:NAME". */
MUST_CHECK bool socket_addr_parse(SocketAddr *addr, const char *text, Error **errp);
/* "unix:/run/x", "tcp:127.0.0.1:80"; the caller frees. */
char *socket_addr_describe(const SocketAddr *addr);
/* The bound or connected address of a socket, as above; NULL where there is none. */
char *socket_local_name(int fd);
char *socket_peer_name(int fd);

/*
 * Bind and listen. An old socket file that nobody listens on is replaced. -1 with an error that
 * names the address. For SOCKET_FD the descriptor must be a listening socket.
 */
int socket_listen(SocketAddr *addr, int backlog, Error **errp);
/* -1 with errno: EAGAIN where nobody waits. */
int socket_accept(int listener);
/* Remove the file of a unix socket that socket_listen() made. */
void socket_unlink(SocketAddr *addr);

/* A datagram socket: bound to local (NULL: any) and connected to remote (NULL: not). Names are
 * looked up at once. */
int socket_dgram(const SocketAddr *local, const SocketAddr *remote, Error **errp);

/* Disable Nagle, where it is a TCP socket. */
void socket_set_nodelay(int fd, bool nodelay);
void socket_set_keep_alive(int fd, bool keep_alive);
bool socket_is_unix(int fd);
bool socket_is_listening(int fd);

/* An attempt to connect that has not ended. */
typedef struct SocketConnect SocketConnect;
/* Called once in the loop's thread: fd is the callee's, or -1 with err, which is the callee's. The
 * attempt is freed. */
typedef void SocketConnectFn(void *opaque, int fd, Error *err);

/*
 * Start connecting. Returns the descriptor when the connection is there at once; -1 with *errp set
 * when it failed at once; -1 with *attempt set while it goes on, after which fn tells the end.
 */
int socket_connect(const SocketAddr *addr, EventLoop *loop, SocketConnect **attempt,
                   SocketConnectFn *fn, void *opaque, Error **errp);
/* fn won't be called; loop's thread; NULL allowed. */
void socket_connect_cancel(SocketConnect *attempt);

#endif
