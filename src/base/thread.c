#include "base/thread.h"

#include <glib.h>

/* TASK_COMM_LEN of prctl(2), the zero included */
#define NAME_SIZE 16

/* File-scope state: one choice for the process, made by start-up; atomic, because any thread makes
 * others. */
static int names_disabled;

void thread_names_set_enabled(bool enabled)
{
    g_atomic_int_set(&names_disabled, !enabled);
}

void thread_set_name(pthread_t thread, const char *name)
{
    char shown[NAME_SIZE];

    if (!g_atomic_int_get(&names_disabled)) {
        g_strlcpy(shown, name, sizeof(shown));
        pthread_setname_np(thread, shown);
    }
}
