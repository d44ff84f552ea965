/*
 * The qtest line protocol. One command a line, one answer a line: "OK", "OK VALUE", "FAIL why", and
 * in between "IRQ raise N" and "IRQ lower N" for intercepted lines. The public description is that
 * of QEMU's "QTest Device Emulation Testing Framework".
 */
#include "accel/qtest/qtest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "accel/qtest/qtest-clock.h"
#include "base/bits.h"
#include "base/module.h"
#include "base/text.h"
#include "bus/device.h"
#include "event/clock.h"
#include "memory/memory.h"
#include "object/phase.h"

/* A line may carry a whole write: base64 or hexadecimal of this many bytes at most. */
#define DATA_MAX   (64u * 1024 * 1024)
#define LINE_MAX_  (2 * DATA_MAX + 256)
#define WORDS_MAX  6
#define UNNAMED_IN "unnamed-gpio-in"

/* A line that is being listened to. */
typedef struct Intercept {
    struct Qtest *server;
    Device *dev; /* reference */
    char *name;  /* of the array; NULL: unnamed */
    int count;
    bool out;
    Irq *lines;    /* out: our own lines that replace the targets */
    Irq *saved;    /* in: the handlers replaced */
    Irq **targets; /* out: where the lines went */
    struct Intercept *next;
} Intercept;

typedef struct Qtest {
    CharFrontend fe;
    GString *input;
    FILE *log;
    int64_t started; /* ns, CLK_REALTIME */
    bool skip_line;  /* an overlong line is being dropped */
    Device *intercepted;
    Intercept *intercepts;
    GHashTable *levels; /* line number → level + 1, of what was told */
} Qtest;

static Qtest *server; /* one -qtest a process */

/* --- Answers --- */

static void log_line(Qtest *q, char direction, const char *text)
{
    if (q->log) {
        double t = (clock_now(CLK_REALTIME) - q->started) / 1e9;
        fprintf(q->log, "[%c +%f] %s\n", direction, t, text);
        fflush(q->log);
    }
}

static void send_text(Qtest *q, GString *line)
{
    bool sent;

    log_line(q, 'S', line->str);
    g_string_append_c(line, '\n');
    sent = char_frontend_write_all(&q->fe, line->str, line->len, NULL);
    (void)sent; /* the test has hung up: nobody to tell */
}

static void answer(Qtest *q, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void answer(Qtest *q, const char *fmt, ...)
{
    g_autoptr(GString) line = g_string_new(NULL);
    va_list ap;

    va_start(ap, fmt);
    g_string_vprintf(line, fmt, ap);
    va_end(ap);
    send_text(q, line);
}

/* --- Interrupt lines --- */

static void note_level(Qtest *q, int n, int level)
{
    int known = GPOINTER_TO_INT(g_hash_table_lookup(q->levels, GINT_TO_POINTER(n)));

    if (known == !!level + 1 || (!known && !level)) {
        return;
    }
    g_hash_table_insert(q->levels, GINT_TO_POINTER(n), GINT_TO_POINTER(!!level + 1));
    answer(q, "IRQ %s %d", level ? "raise" : "lower", n);
}

static void intercepted_in(void *opaque, int n, int level)
{
    Intercept *i = opaque;

    i->saved[n].handler(i->saved[n].opaque, i->saved[n].n, level);
    note_level(i->server, n, level);
}

static void intercepted_out(void *opaque, int n, int level)
{
    Intercept *i = opaque;

    irq_set(i->targets[n], level);
    note_level(i->server, n, level);
}

static DeviceLines *find_lines(Device *dev, const char *name)
{
    for (DeviceLines *l = dev->lines; l; l = l->next) {
        if (!g_strcmp0(l->name, name)) {
            return l;
        }
    }
    return NULL;
}

static void intercept(Qtest *q, Device *dev, DeviceLines *lines, bool out)
{
    Intercept *i = g_new0(Intercept, 1);

    i->server = q;
    i->dev = dev;
    object_ref(&dev->parent);
    i->name = g_strdup(lines->name);
    i->out = out;
    i->count = out ? lines->n_out : lines->n_in;
    if (out) {
        i->lines = irq_new_array(intercepted_out, i, i->count);
        i->targets = g_new0(Irq *, i->count);
        for (int n = 0; n < i->count; n++) {
            i->targets[n] = device_intercept_line_out(dev, i->name, n, &i->lines[n]);
        }
    } else {
        i->saved = g_memdup2(lines->in, i->count * sizeof(Irq));
        for (int n = 0; n < i->count; n++) {
            lines->in[n] = (Irq){ .handler = intercepted_in, .opaque = i, .n = n };
        }
    }
    i->next = q->intercepts;
    q->intercepts = i;
}

static void intercept_undo(Intercept *i)
{
    DeviceLines *lines = find_lines(i->dev, i->name);

    for (int n = 0; lines && n < i->count; n++) {
        if (i->out) {
            device_connect_line_out(i->dev, i->name, n, i->targets[n]);
        } else {
            lines->in[n] = i->saved[n];
        }
    }
    irq_free_array(i->lines);
    g_free(i->saved);
    g_free(i->targets);
    g_free(i->name);
    object_unref(&i->dev->parent);
    g_free(i);
}

static Device *find_device(Qtest *q, const char *path)
{
    Object *obj = object_resolve(path, TYPE_DEVICE, NULL);

    if (!obj) {
        answer(q, "FAIL Unknown device '%s'", path);
    }
    return (Device *)obj;
}

static void cmd_irq_intercept(Qtest *q, char **words, int n)
{
    bool out = !strcmp(words[0], "irq_intercept_out");
    const char *name = n > 2 ? words[2] : NULL;
    Device *dev = find_device(q, words[1]);
    bool any = false;

    if (!dev) {
        return;
    }
    if (q->intercepted) {
        if (q->intercepted == dev) {
            answer(q, "OK");
        } else {
            answer(q, "FAIL IRQ intercept already enabled");
        }
        return;
    }
    for (DeviceLines *l = dev->lines; l; l = l->next) {
        /* Inputs: all unnamed ones. Outputs: the named array, or the unnamed one. */
        if ((out ? l->n_out : l->n_in) && !g_strcmp0(l->name, name)) {
            intercept(q, dev, l, out);
            any = true;
        }
    }
    if (!any) {
        answer(q, "FAIL device '%s' has no such lines", words[1]);
        return;
    }
    q->intercepted = dev;
    answer(q, "OK");
}

static void cmd_set_irq_in(Qtest *q, char **words, int n)
{
    const char *name = strcmp(words[2], UNNAMED_IN) ? words[2] : NULL;
    Device *dev = find_device(q, words[1]);
    DeviceLines *lines;
    uint64_t number, level;

    if (!dev) {
        return;
    }
    lines = find_lines(dev, name);
    if (!text_to_u64(words[3], &number) || !text_to_u64(words[4], &level)) {
        answer(q, "FAIL '%s %s' is not a line and a level", words[3], words[4]);
    } else if (!lines || number >= (uint64_t)lines->n_in) {
        answer(q, "FAIL device '%s' has no input %s of '%s'", words[1], words[3], words[2]);
    } else {
        irq_set(&lines->in[number], level);
        answer(q, "OK");
    }
}

/* --- Accesses --- */

static bool parse_number(Qtest *q, const char *text, uint64_t *value)
{
    if (text_to_u64(text, value)) {
        return true;
    }
    answer(q, "FAIL '%s' is not a number", text);
    return false;
}

static unsigned suffix_size(const char *word)
{
    switch (word[strlen(word) - 1]) {
    case 'b':
        return 1;
    case 'w':
        return 2;
    case 'l':
        return 4;
    default:
        return 8;
    }
}

static void cmd_out(Qtest *q, char **words, int n)
{
    uint64_t addr, value;

    if (parse_number(q, words[1], &addr) && parse_number(q, words[2], &value)) {
        address_space_store(address_space_io(), addr, suffix_size(words[0]), MEMTXATTRS_UNSPECIFIED,
                            value);
        answer(q, "OK");
    }
}

static void cmd_in(Qtest *q, char **words, int n)
{
    uint64_t addr, value = 0;
    unsigned size = suffix_size(words[0]);

    if (parse_number(q, words[1], &addr)) {
        if (address_space_load(address_space_io(), addr, size, MEMTXATTRS_UNSPECIFIED, &value) &
            MEMTX_DECODE_ERROR) {
            value = UINT64_MAX; /* an empty bus reads as ones */
        }
        answer(q, "OK 0x%04" PRIx64, bits_extract(value, 0, size * 8));
    }
}

static void cmd_write_word(Qtest *q, char **words, int n)
{
    uint64_t addr, value;

    if (parse_number(q, words[1], &addr) && parse_number(q, words[2], &value)) {
        address_space_store(address_space_memory(), addr, suffix_size(words[0]),
                            MEMTXATTRS_UNSPECIFIED, value);
        answer(q, "OK");
    }
}

static void cmd_read_word(Qtest *q, char **words, int n)
{
    uint64_t addr, value = UINT64_MAX;
    unsigned size = suffix_size(words[0]);

    if (parse_number(q, words[1], &addr)) {
        if (address_space_load(address_space_memory(), addr, size, MEMTXATTRS_UNSPECIFIED, &value) &
            MEMTX_DECODE_ERROR) {
            value = UINT64_MAX;
        }
        answer(q, "OK 0x%016" PRIx64, bits_extract(value, 0, size * 8));
    }
}

static bool parse_range(Qtest *q, char **words, uint64_t *addr, uint64_t *len)
{
    if (!parse_number(q, words[1], addr) || !parse_number(q, words[2], len)) {
        return false;
    }
    if (*len > DATA_MAX) {
        answer(q, "FAIL size %s is more than %u bytes", words[2], DATA_MAX);
        return false;
    }
    return true;
}

static void write_memory(uint64_t addr, const void *data, size_t len)
{
    address_space_write(address_space_memory(), addr, MEMTXATTRS_UNSPECIFIED, data, len);
}

static void cmd_read(Qtest *q, char **words, int n)
{
    bool base64 = words[0][0] == 'b';
    uint64_t addr, len;
    g_autoptr(GString) line = NULL;
    g_autofree uint8_t *data = NULL;

    if (!parse_range(q, words, &addr, &len)) {
        return;
    }
    if (len == 0) {
        answer(q, "FAIL size must not be 0");
        return;
    }
    data = g_malloc(len);
    address_space_read(address_space_memory(), addr, MEMTXATTRS_UNSPECIFIED, data, len);
    line = g_string_sized_new(len * 2 + 8);
    g_string_append(line, "OK ");
    if (base64) {
        g_autofree char *text = g_base64_encode(data, len);
        g_string_append(line, text);
    } else {
        static const char digits[] = "0123456789abcdef";
        g_string_append(line, "0x");
        for (uint64_t i = 0; i < len; i++) {
            g_string_append_c(line, digits[data[i] >> 4]);
            g_string_append_c(line, digits[data[i] & 0xf]);
        }
    }
    send_text(q, line);
}

/* DATA shorter than SIZE is filled up with zeroes; more is ignored. */
static void cmd_write(Qtest *q, char **words, int n)
{
    uint64_t addr, len;
    const char *hex = words[3];
    g_autofree uint8_t *data = NULL;

    if (!parse_range(q, words, &addr, &len)) {
        return;
    }
    if (strncmp(hex, "0x", 2)) {
        answer(q, "FAIL data must begin with 0x");
        return;
    }
    hex += 2;
    data = g_malloc0(len + 1);
    for (uint64_t i = 0; i < len && hex[0] && hex[1]; i++, hex += 2) {
        int high = g_ascii_xdigit_value(hex[0]), low = g_ascii_xdigit_value(hex[1]);
        if (high < 0 || low < 0) {
            answer(q, "FAIL '%c%c' is not hexadecimal", hex[0], hex[1]);
            return;
        }
        data[i] = high << 4 | low;
    }
    write_memory(addr, data, len);
    answer(q, "OK");
}

static void cmd_b64write(Qtest *q, char **words, int n)
{
    uint64_t addr, len;
    g_autofree uint8_t *data = NULL;
    gsize got;

    if (!parse_range(q, words, &addr, &len)) {
        return;
    }
    data = g_base64_decode(words[3], &got);
    if (got != len) {
        answer(q, "FAIL data has %zu bytes, not %" PRIu64, got, len);
        return;
    }
    write_memory(addr, data, len);
    answer(q, "OK");
}

static void cmd_memset(Qtest *q, char **words, int n)
{
    uint64_t addr, len, byte;
    g_autofree uint8_t *data = NULL;

    if (parse_range(q, words, &addr, &len) && parse_number(q, words[3], &byte)) {
        data = g_malloc(len + 1);
        memset(data, byte, len);
        write_memory(addr, data, len);
        answer(q, "OK");
    }
}

/* --- Time --- */

static void cmd_clock(Qtest *q, char **words, int n)
{
    int64_t now = clock_now(CLK_VIRTUAL), target, deadline;
    uint64_t given = 0;
    bool set = !strcmp(words[0], "clock_set");

    if (!qtest_clock_taken()) {
        answer(q, "FAIL virtual time is not the test's; use -accel qtest");
        return;
    }
    if (n > 1) {
        if (!parse_number(q, words[1], &given)) {
            return;
        }
        if (given > INT64_MAX / 2) {
            answer(q, "FAIL '%s' ns is too far away", words[1]);
            return;
        }
        target = set ? (int64_t)given : now + (int64_t)given;
    } else {
        deadline = clock_deadline(CLK_VIRTUAL);
        target = deadline > now ? deadline : now;
    }
    answer(q, "OK %" PRId64, qtest_clock_advance(target));
}

/* --- The rest --- */

static void cmd_endianness(Qtest *q, char **words, int n)
{
    answer(q, "OK little");
}

static void cmd_module_load(Qtest *q, char **words, int n)
{
    g_autofree char *name = g_strdup_printf("%s%s", words[1], words[2]);
    Error *err = NULL;

    if (module_open(name, &err)) {
        answer(q, "OK");
    } else {
        answer(q, "FAIL %s", error_message(err));
        error_free(err);
    }
}

static const struct Command {
    const char *name;
    int min, max; /* words, the command's name included */
    void (*fn)(Qtest *q, char **words, int n);
} commands[] = {
    { "outb", 3, 3, cmd_out },
    { "outw", 3, 3, cmd_out },
    { "outl", 3, 3, cmd_out },
    { "inb", 2, 2, cmd_in },
    { "inw", 2, 2, cmd_in },
    { "inl", 2, 2, cmd_in },
    { "writeb", 3, 3, cmd_write_word },
    { "writew", 3, 3, cmd_write_word },
    { "writel", 3, 3, cmd_write_word },
    { "writeq", 3, 3, cmd_write_word },
    { "readb", 2, 2, cmd_read_word },
    { "readw", 2, 2, cmd_read_word },
    { "readl", 2, 2, cmd_read_word },
    { "readq", 2, 2, cmd_read_word },
    { "read", 3, 3, cmd_read },
    { "b64read", 3, 3, cmd_read },
    { "write", 4, 4, cmd_write },
    { "b64write", 4, 4, cmd_b64write },
    { "memset", 4, 4, cmd_memset },
    { "clock_step", 1, 2, cmd_clock },
    { "clock_set", 2, 2, cmd_clock },
    { "irq_intercept_in", 2, 2, cmd_irq_intercept },
    { "irq_intercept_out", 2, 3, cmd_irq_intercept },
    { "set_irq_in", 5, 5, cmd_set_irq_in },
    { "endianness", 1, 1, cmd_endianness },
    { "module_load", 3, 3, cmd_module_load },
};

/* Cut a line into words in place; returns how many, at most WORDS_MAX. */
static int split(char *line, char **words)
{
    int n = 0;
    char *save = NULL;

    for (char *w = strtok_r(line, " ", &save); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &save)) {
        words[n++] = w;
    }
    return n;
}

static void run_line(Qtest *q, char *line)
{
    char *words[WORDS_MAX];
    int n;

    log_line(q, 'R', line);
    n = split(line, words);
    if (n == 0) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        const struct Command *c = &commands[i];
        if (!strcmp(c->name, words[0])) {
            if (n < c->min || n > c->max) {
                answer(q, "FAIL %s takes %d to %d arguments, got %d", c->name, c->min - 1,
                       c->max - 1, n - 1);
            } else {
                c->fn(q, words, n);
            }
            return;
        }
    }
    answer(q, "FAIL Unknown command '%s'", words[0]);
}

static size_t qtest_can_receive(void *opaque)
{
    /* A client that connects while start-up waits for a back end finds a whole machine, later. */
    return phase_reached(PHASE_READY) ? 64 * 1024 : 0;
}

static void qtest_receive(void *opaque, const uint8_t *buf, size_t len)
{
    Qtest *q = opaque;
    size_t start = 0;
    char *end;

    g_string_append_len(q->input, (const char *)buf, len);
    while ((end = memchr(q->input->str + start, '\n', q->input->len - start))) {
        *end = '\0';
        if (end > q->input->str + start && end[-1] == '\r') {
            end[-1] = '\0';
        }
        if (q->skip_line) {
            q->skip_line = false;
        } else {
            run_line(q, q->input->str + start);
        }
        start = end + 1 - q->input->str;
    }
    g_string_erase(q->input, 0, start);
    if (q->input->len > LINE_MAX_) {
        answer(q, "FAIL line is longer than %u bytes", LINE_MAX_);
        g_string_truncate(q->input, 0);
        q->skip_line = true;
    }
}

static void release_lines(Qtest *q)
{
    while (q->intercepts) {
        Intercept *i = q->intercepts;
        q->intercepts = i->next;
        intercept_undo(i);
    }
    q->intercepted = NULL;
    g_hash_table_remove_all(q->levels);
}

static void qtest_event(void *opaque, CharEvent event)
{
    Qtest *q = opaque;

    if (event == CHAR_EVENT_OPENED || event == CHAR_EVENT_CLOSED) {
        release_lines(q);
        g_string_truncate(q->input, 0);
        q->skip_line = false;
    }
}

static const CharHandlers qtest_handlers = {
    .can_receive = qtest_can_receive,
    .receive = qtest_receive,
    .event = qtest_event,
};

static void server_free(Qtest *q)
{
    char_frontend_finish(&q->fe);
    release_lines(q);
    if (q->log && q->log != stderr) {
        fclose(q->log);
    }
    g_hash_table_unref(q->levels);
    g_string_free(q->input, true);
    g_free(q);
}

bool qtest_server_start(Chardev *chr, const char *log, Error **errp)
{
    Qtest *q;

    if (server) {
        error_set(errp, "-qtest: a qtest server runs already");
        return false;
    }
    q = g_new0(Qtest, 1);
    q->input = g_string_new(NULL);
    q->levels = g_hash_table_new(NULL, NULL);
    q->started = clock_now(CLK_REALTIME);
    if (!log) {
        q->log = stderr;
    } else if (strcmp(log, "none")) {
        q->log = fopen(log, "w");
        if (!q->log) {
            error_set_errno(errp, errno, "-qtest-log: can't write '%s'", log);
            goto fail;
        }
    }
    if (!char_frontend_init(&q->fe, chr, errp)) {
        goto fail;
    }
    server = q;
    char_frontend_set_handlers(&q->fe, &qtest_handlers, q, NULL);
    char_frontend_set_open(&q->fe, true);
    return true;

fail:
    server_free(q);
    return false;
}

void qtest_server_machine_ready(void)
{
    if (server) {
        char_frontend_accept_input(&server->fe);
    }
}

void qtest_server_stop(void)
{
    g_clear_pointer(&server, server_free);
}
