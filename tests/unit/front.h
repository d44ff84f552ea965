/* For tests of character devices: a front end that writes down what happens to it. */
#ifndef TESTS_UNIT_FRONT_H
#define TESTS_UNIT_FRONT_H

#include <glib.h>
#include <unistd.h>

#include "chardev/chardev-record.h"
#include "chardev/chardev.h"
#include "config/keyval.h"
#include "event/clock.h"
#include "event/loop.h"

#define WAIT_NS (5 * NS_PER_SECOND)

typedef struct Front {
    CharFrontend fe;
    GString *log; /* received bytes; events as <opened> <closed> <break> <in> <out> <writable> */
    size_t room;
    int fds[FD_PASS_MAX];
    unsigned nfds;
    EventLoop *seen_in; /* loop of the last handler */
} Front;

static G_GNUC_UNUSED size_t front_can_receive(void *opaque)
{
    Front *f = opaque;
    return f->room;
}

static G_GNUC_UNUSED void front_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Front *f = opaque;
    g_assert_cmpuint(len, >, 0);
    g_assert_cmpuint(len, <=, f->room);
    f->room -= len;
    g_string_append_len(f->log, (const char *)buf, len);
    f->nfds += char_frontend_take_fds(&f->fe, f->fds + f->nfds, FD_PASS_MAX - f->nfds);
    f->seen_in = event_loop_current();
}

static G_GNUC_UNUSED void front_event(void *opaque, CharEvent event)
{
    static const char *const names[] = { "<opened>", "<closed>", "<break>", "<in>", "<out>" };
    Front *f = opaque;
    g_string_append(f->log, names[event]);
    f->seen_in = event_loop_current();
}

static G_GNUC_UNUSED void front_writable(void *opaque)
{
    Front *f = opaque;
    g_string_append(f->log, "<writable>");
}

static G_GNUC_UNUSED bool front_changed(void *opaque, Error **errp)
{
    Front *f = opaque;
    g_string_append(f->log, "<changed>");
    return true;
}

static const CharHandlers front_handlers = {
    .can_receive = front_can_receive,
    .receive = front_receive,
    .event = front_event,
    .writable = front_writable,
    .backend_changed = front_changed,
};

static G_GNUC_UNUSED void front_init(Front *f, Chardev *chr)
{
    *f = (Front){ .log = g_string_new(NULL), .room = SIZE_MAX / 2 };
    g_assert_true(char_frontend_init(&f->fe, chr, &error_abort));
    char_frontend_set_handlers(&f->fe, &front_handlers, f, NULL);
}

static G_GNUC_UNUSED void front_finish(Front *f)
{
    char_frontend_finish(&f->fe);
    g_string_free(f->log, TRUE);
    for (unsigned i = 0; i < f->nfds; i++) {
        close(f->fds[i]);
    }
}

#define WAIT_UNTIL(condition)                                    \
    do {                                                         \
        int64_t end_ = clock_now(CLK_REALTIME) + WAIT_NS;        \
        while (!(condition)) {                                   \
            g_assert_cmpint(clock_now(CLK_REALTIME), <, end_);   \
            if (!event_loop_iterate(event_loop_main(), false)) { \
                g_usleep(200);                                   \
            }                                                    \
        }                                                        \
    } while (0)

/* Wait for the log to be exactly this, and clear it. */
static G_GNUC_UNUSED void expect(Front *f, const char *text)
{
    size_t len = strlen(text);
    int64_t end = clock_now(CLK_REALTIME) + WAIT_NS;
    while (f->log->len < len && clock_now(CLK_REALTIME) < end) {
        if (!event_loop_iterate(event_loop_main(), false)) {
            g_usleep(200);
        }
    }
    g_assert_cmpstr(f->log->str, ==, text);
    g_string_truncate(f->log, 0);
}

/* What -chardev makes of the text; NULL with an error. */
static G_GNUC_UNUSED Chardev *try_chardev(const char *text, Error **errp)
{
    bool help = false;
    json_t *json = keyval_parse(text, &value_type_chardev_options, &help, errp);
    if (!json) {
        return NULL;
    }
    ChardevOptions options = { 0 };
    Chardev *chr = NULL;
    if (value_parse(&value_type_chardev_options, &options, json, VALUE_MODE_TEXT, errp)) {
        chr = chardev_new_from_options(&options, errp);
        value_release(&value_type_chardev_options, &options);
    }
    json_decref(json);
    return chr;
}

static G_GNUC_UNUSED Chardev *G_GNUC_PRINTF(1, 2) new_chardev(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    Chardev *chr = try_chardev(text, &error_abort);
    g_assert_nonnull(chr);
    return chr;
}

static G_GNUC_UNUSED void remove_chardev(const char *id)
{
    g_assert_true(chardev_remove(id, &error_abort));
}

#endif
