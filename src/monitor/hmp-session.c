/* A terminal on the human monitor: lines in, text out, in the main loop. */
#include <string.h>

#include "event/lock.h"
#include "monitor/hmp.h"
#include "monitor/monitor-internal.h"
#include "monitor/readline.h"

#define PROMPT     "(rhea) "
#define READ_CHUNK 1024 /* bytes taken at a time */

/* Terminals want carriage returns too. */
static void print_text(Monitor *mon, const char *text)
{
    GString *out = g_string_sized_new(strlen(text) + 64);
    for (const char *at = text; *at; at++) {
        if (*at == '\n' && (at == text || at[-1] != '\r')) {
            g_string_append_c(out, '\r');
        }
        g_string_append_c(out, *at);
    }
    monitor_write(mon, mon->generation, out->str, out->len);
    g_string_free(out, TRUE);
}

static void on_print(void *opaque, const char *text)
{
    print_text(opaque, text);
}

static void on_line(void *opaque, const char *line)
{
    Monitor *mon = opaque;
    GString *out = g_string_new(NULL);
    ASSERT_MACHINE_LOCKED();
    monitor_ref(mon);
    hmp_run_line(mon, mon->cpu_index, line, out);
    print_text(mon, out->str);
    g_string_free(out, TRUE);
    if (!mon->closing && !mon->muxed_out) {
        readline_start(mon->readline, PROMPT);
    }
    monitor_unref(mon);
}

static void on_complete(void *opaque, const char *text, GPtrArray *candidates, size_t *word_start)
{
    hmp_complete_line(text, candidates, word_start);
}

static const ReadlineHooks readline_hooks = { on_print, on_line, on_complete };

static bool may_read(const Monitor *mon)
{
    return __atomic_load_n(&mon->unsent, __ATOMIC_RELAXED) <= MONITOR_OUT_PAUSE;
}

static size_t session_can_receive(void *opaque)
{
    /* One at a time while output is large: each byte may be a line that prints much. */
    return may_read(opaque) ? READ_CHUNK : 0;
}

static void take_input(Monitor *mon)
{
    while (mon->input->len && may_read(mon) && mon->connected) {
        uint8_t byte = mon->input->str[0];
        g_string_erase(mon->input, 0, 1);
        readline_byte(mon->readline, byte);
    }
}

static void session_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Monitor *mon = opaque;
    g_string_append_len(mon->input, (const char *)buf, len);
    take_input(mon);
}

void hmp_session_output_drained(Monitor *mon)
{
    take_input(mon);
    if (!mon->input->len) {
        char_frontend_accept_input(&mon->fe);
    }
}

static void greet(Monitor *mon)
{
    if (!mon->greeted) {
        print_text(mon, "Rhea " RHEA_VERSION " monitor - type 'help' for more information\n");
        mon->greeted = true;
    }
    readline_start(mon->readline, PROMPT);
}

static void session_event(void *opaque, CharEvent event)
{
    Monitor *mon = opaque;
    switch (event) {
    case CHAR_EVENT_OPENED:
        monitor_connection_begins(mon);
        mon->greeted = false;
        if (!mon->muxed_out) {
            greet(mon);
        }
        break;
    case CHAR_EVENT_CLOSED:
        monitor_connection_ends(mon);
        readline_reset(mon->readline);
        g_string_truncate(mon->input, 0);
        break;
    case CHAR_EVENT_MUX_IN:
        mon->muxed_out = false;
        if (mon->connected) {
            print_text(mon, mon->greeted ? "\n" : "");
            greet(mon);
        }
        break;
    case CHAR_EVENT_MUX_OUT:
        mon->muxed_out = true;
        readline_reset(mon->readline);
        break;
    default:
        break;
    }
}

const CharHandlers hmp_session_handlers = {
    .can_receive = session_can_receive,
    .receive = session_receive,
    .event = session_event,
    .writable = monitor_writable,
};

void hmp_session_init(Monitor *mon)
{
    mon->readline = readline_new(&readline_hooks, mon);
    mon->input = g_string_new(NULL);
}

void hmp_session_finish(Monitor *mon)
{
    readline_free(mon->readline);
    g_string_free(mon->input, TRUE);
}
