/*
 * From what users write to the typed record of a chardev: -chardev's flat keys, and the short forms
 * of -serial, -parallel, -monitor, -qmp and -gdb.
 */
#ifndef CHARDEV_CHARDEV_RECORD_H
#define CHARDEV_CHARDEV_RECORD_H

#include "chardev/chardev.h"
#include "schema/chardev.h"

/* -chardev: make it, with the mux that mux=on asks for. Borrowed result: the mux, or the chardev.
 */
Chardev *chardev_new_from_options(const ChardevOptions *options, Error **errp);

/* chardev-change with the same options; mux=on is refused. */
MUST_CHECK bool chardev_change_from_options(const ChardevOptions *options, Error **errp);

/*
 * The short forms, each of which makes the chardev `id`:
 *   null  stdio  pty  ringbuf  file:PATH  pipe:PATH  /dev/tty…
 *   unix:PATH[,server=on|off][,wait=on|off]…   tcp:HOST:PORT[,…]   telnet:…   websocket:…
 *   udp:[HOST]:PORT[@[LOCALHOST]:LOCALPORT]    fd:N
 *   mon:FORM     as FORM, and a monitor shares it: *with_monitor is set (NULL: not possible here)
 *   chardev:ID   the chardev that is already there
 *   none         *result is NULL
 * Borrowed result.
 */
MUST_CHECK bool chardev_new_from_text(const char *id, const char *text, bool *with_monitor,
                                      Chardev **result, Error **errp);

#endif
