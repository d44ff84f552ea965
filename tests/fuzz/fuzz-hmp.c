/* A line of the human monitor, and its completion. */
#include <glib.h>
#include <string.h>

#include "base/fdset.h"
#include "base/module.h"
#include "chardev/chardev.h"
#include "event/lock.h"
#include "event/loop.h"
#include "fuzz.h"
#include "memory/memory.h"
#include "monitor/hmp.h"
#include "monitor/readline.h"

/* What could reach the host's files, or end the process, is not for fuzzing. */
static bool is_harmless(const char *line)
{
    static const char *const words[] = { "file", "path",  "chardev", "object", "device",
                                         "log",  "stdio", "netdev",  "dump" };
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strstr(line, words[i])) {
            return false;
        }
    }
    return true;
}

static void on_print(void *opaque, const char *text)
{
    g_assert_nonnull(text);
}

static void on_line(void *opaque, const char *line)
{
    if (is_harmless(line)) {
        g_free(monitor_run_hmp(line));
    }
}

static void on_complete(void *opaque, const char *text, GPtrArray *candidates, size_t *word_start)
{
    hmp_complete_line(text, candidates, word_start);
    g_assert_cmpuint(*word_start, <=, strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ReadlineHooks hooks = { on_print, on_line, on_complete };
    static bool done; /* once a process */
    if (!done) {
        done = event_loop_main_init(&error_abort);
        machine_lock();
        memory_init();
        module_call(MODULE_TYPES);
    }
    Readline *rl = readline_new(&hooks, NULL);
    readline_start(rl, "> ");
    for (size_t i = 0; i < size; i++) {
        readline_byte(rl, data[i]);
    }
    readline_byte(rl, '\n');
    readline_free(rl);
    chardev_finish_all();
    fdset_finish();
    return 0;
}
