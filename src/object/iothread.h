/*
 * I/O threads: event loops of their own that users make (-object iothread,id=io0) and give to
 * devices.
 */
#ifndef OBJECT_IOTHREAD_H
#define OBJECT_IOTHREAD_H

#include "event/loop.h"
#include "object/object.h"

#define TYPE_IOTHREAD "iothread"

OBJECT_DECLARE(IoThread, iothread, TYPE_IOTHREAD)

/* Lives as long as the object. */
EventLoop *iothread_loop(IoThread *iothread);

#endif
