/* Names of threads, as tools of the host show them: "CPU 0/JIT", "IO iothread0". */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

#include "base/compiler.h"

/* Off (-name debug-threads=off): all threads carry the name of the process. For threads named from
 * now on. */
void thread_names_set_enabled(bool enabled);

/* Names are cut to 15 bytes. */
void thread_set_name(pthread_t thread, const char *name);

#endif
