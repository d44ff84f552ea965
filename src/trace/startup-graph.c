#include "trace/startup-graph.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/fd.h"
#include "trace/trace-events.h"

#define NO_PARENT     (-1)
#define STILL_OPEN    INT64_C(-1)
#define NOTABLE_SHARE 10 /* percent of the whole: nodes that take more are coloured */

typedef struct Entry {
    StartupKind kind;
    char *name;
    int parent;         /* index or NO_PARENT */
    int64_t start, end; /* ns since begin; end may be STILL_OPEN */
} Entry;

/* One recorder a process, since recording begins before there is any object to hang it off. Main
 * thread only: `owner` is the thread that began. */
static struct {
    GArray *entries; /* Entry; NULL while not recording */
    int innermost;   /* index of the entry entered last and not left, or NO_PARENT */
    int64_t origin;  /* CLOCK_MONOTONIC, ns */
    GThread *owner;
} recorder;

static int64_t monotonic_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static bool recording(void)
{
    return recorder.entries && recorder.owner == g_thread_self();
}

static Entry *entry_at(int index)
{
    return &g_array_index(recorder.entries, Entry, index);
}

static const char *kind_name(StartupKind kind)
{
    static const char *const names[] = {
        [STARTUP_PHASE] = "phase",
        [STARTUP_FUNCTION] = "function",
        [STARTUP_MODULE] = "module",
        [STARTUP_WAIT] = "wait",
    };
    return names[kind];
}

static void entry_clear(void *data)
{
    g_free(((Entry *)data)->name);
}

void startup_graph_begin(void)
{
    startup_graph_finish();
    recorder.entries = g_array_new(false, false, sizeof(Entry));
    g_array_set_clear_func(recorder.entries, entry_clear);
    recorder.innermost = NO_PARENT;
    recorder.owner = g_thread_self();
    recorder.origin = monotonic_ns();
}

void startup_graph_finish(void)
{
    if (recorder.entries) {
        g_array_free(recorder.entries, true);
        recorder.entries = NULL;
    }
}

void startup_graph_enter(StartupKind kind, const char *name)
{
    trace_startup_enter(kind_name(kind), name);
    if (!recording()) {
        return;
    }
    Entry entry = {
        .kind = kind,
        .name = g_strdup(name),
        .parent = recorder.innermost,
        .start = monotonic_ns() - recorder.origin,
        .end = STILL_OPEN,
    };
    recorder.innermost = (int)recorder.entries->len;
    g_array_append_val(recorder.entries, entry);
}

void startup_graph_leave(StartupKind kind, const char *name)
{
    if (!recording()) {
        return;
    }
    int found = recorder.innermost;
    while (found != NO_PARENT &&
           (entry_at(found)->kind != kind || strcmp(entry_at(found)->name, name) != 0)) {
        found = entry_at(found)->parent;
    }
    if (found == NO_PARENT) {
        return;
    }
    int64_t now = monotonic_ns() - recorder.origin;
    for (int i = recorder.innermost; i != entry_at(found)->parent; i = entry_at(i)->parent) {
        entry_at(i)->end = now;
    }
    recorder.innermost = entry_at(found)->parent;
    trace_startup_leave(kind_name(kind), name, now - entry_at(found)->start);
}

static char *milliseconds(int64_t ns)
{
    return g_strdup_printf("%.3f ms", (double)ns / 1e6);
}

/* As the inside of a DOT string. */
static char *quoted(const char *text)
{
    GString *out = g_string_new(NULL);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, (unsigned char)*c < ' ' ? ' ' : *c);
    }
    return g_string_free(out, false);
}

static const char *node_colour(const Entry *entry, int64_t total)
{
    if (entry->end == STILL_OPEN) {
        return "#f4b6b6";
    }
    if (entry->kind == STARTUP_WAIT) {
        return "#f7dc6f";
    }
    if ((entry->end - entry->start) * 100 >= total * NOTABLE_SHARE) {
        return "#f5cba7";
    }
    return entry->kind == STARTUP_MODULE ? "#d6eaf8" : "#ffffff";
}

static void draw_node(GString *dot, int index, int64_t total)
{
    const Entry *entry = entry_at(index);
    g_autofree char *name = quoted(entry->name);
    g_string_append_printf(dot, "    n%d [label=\"%s%s\", shape=%s, fillcolor=\"%s\"];\n", index,
                           name, entry->end == STILL_OPEN ? "\\n(not finished)" : "",
                           entry->kind == STARTUP_MODULE ? "component" : "box",
                           node_colour(entry, total));
}

static void draw_edge(GString *dot, int from, int to)
{
    const Entry *entry = entry_at(to);
    g_autofree char *start = milliseconds(entry->start);
    g_autofree char *length =
        entry->end == STILL_OPEN ? g_strdup("…") : milliseconds(entry->end - entry->start);
    g_string_append_printf(dot, "  n%d -> n%d [label=\"%s\", tooltip=\"at %s\"];\n", from, to,
                           length, start);
}

static int phase_of(int index)
{
    while (index != NO_PARENT && entry_at(index)->kind != STARTUP_PHASE) {
        index = entry_at(index)->parent;
    }
    return index;
}

/* The phase and everything directly or indirectly inside it, down to the next phase. */
static void draw_cluster(GString *dot, int phase, int64_t total)
{
    const Entry *entry = entry_at(phase);
    g_autofree char *name = quoted(entry->name);
    g_autofree char *start = milliseconds(entry->start);
    g_autofree char *length =
        milliseconds((entry->end == STILL_OPEN ? total : entry->end) - entry->start);
    g_string_append_printf(dot,
                           "  subgraph cluster_%d {\n"
                           "    label=\"%s\\nat %s, %s\";\n",
                           phase, name, start, length);
    for (int i = phase; i < (int)recorder.entries->len; i++) {
        if (phase_of(i) == phase) {
            draw_node(dot, i, total);
        }
    }
    g_string_append(dot, "  }\n");
}

static char *draw(const char *failure)
{
    int64_t total = monotonic_ns() - recorder.origin;
    total = MAX(total, 1);
    g_autofree char *length = milliseconds(total);
    GString *dot = g_string_new("digraph startup {\n"
                                "  rankdir=TB;\n"
                                "  fontname=\"sans-serif\";\n"
                                "  node [fontname=\"sans-serif\", fontsize=10, style=filled];\n"
                                "  edge [fontname=\"sans-serif\", fontsize=9];\n"
                                "  graph [style=rounded, color=\"#888888\", fontsize=11];\n");
    g_string_append_printf(dot, "  label=\"start-up: %s\";\n", length);

    int last_phase = NO_PARENT;
    for (int i = 0; i < (int)recorder.entries->len; i++) {
        const Entry *entry = entry_at(i);
        if (entry->kind == STARTUP_PHASE) {
            draw_cluster(dot, i, total);
            if (last_phase != NO_PARENT) {
                draw_edge(dot, last_phase, i);
            }
            last_phase = i;
        } else if (phase_of(i) == NO_PARENT) {
            draw_node(dot, i, total);
        }
        if (entry->parent != NO_PARENT && entry->kind != STARTUP_PHASE) {
            draw_edge(dot, entry->parent, i);
        }
    }
    if (failure) {
        g_autofree char *text = quoted(failure);
        g_string_append_printf(
            dot, "  failure [label=\"%s\", shape=octagon, fillcolor=\"#e74c3c\"];\n", text);
        if (recorder.innermost != NO_PARENT) {
            g_string_append_printf(dot, "  n%d -> failure [color=\"#e74c3c\"];\n",
                                   recorder.innermost);
        }
    }
    g_string_append(dot, "}\n");
    return g_string_free(dot, false);
}

static bool write_text(const char *path, const char *text, Error **errp)
{
    if (FAULT("start-up graph", errp)) {
        return false;
    }
    FD_AUTO fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        error_set_errno(errp, errno, "cannot open start-up graph '%s'", path);
        return false;
    }
    if (!fd_write_all(fd, text, strlen(text), errp)) {
        error_prepend(errp, "start-up graph '%s': ", path);
        return false;
    }
    return true;
}

/* dot reads the text from a memory file, so that nobody has to feed it. */
static bool start_dot(const char *path, const char *text, Error **errp)
{
    FD_AUTO input = memfd_create("startup-graph", MFD_CLOEXEC);
    if (input < 0) {
        error_set_errno(errp, errno, "cannot make a memory file");
        return false;
    }
    if (!fd_write_all(input, text, strlen(text), errp)) {
        return false;
    }
    lseek(input, 0, SEEK_SET);
    const char *argv[] = { "dot", "-Tsvg", "-o", path, NULL };
    GError *gerr = NULL;
    if (!g_spawn_async_with_fds(NULL, (char **)argv, NULL,
                                G_SPAWN_SEARCH_PATH | G_SPAWN_CLOEXEC_PIPES, NULL, NULL, NULL,
                                input, -1, -1, &gerr)) {
        error_set(errp, "cannot start Graphviz's dot (package graphviz): %s", gerr->message);
        g_error_free(gerr);
        return false;
    }
    return true;
}

bool startup_graph_write(const char *path, const char *failure, Error **errp)
{
    if (!recording()) {
        error_set(errp, "start-up graph '%s': nothing was recorded", path);
        return false;
    }
    g_autofree char *text = draw(failure);
    if (!g_str_has_suffix(path, ".svg")) {
        return write_text(path, text, errp);
    }
    /* The path must be good now; dot would tell nobody. */
    if (!write_text(path, "", errp)) {
        return false;
    }
    Error *err = NULL;
    if (start_dot(path, text, &err)) {
        return true;
    }
    unlink(path);
    g_autofree char *fallback = g_strconcat(path, ".dot", NULL);
    if (write_text(fallback, text, errp)) {
        error_set(errp, "%s; the graph is in '%s' as text", error_message(err), fallback);
    }
    error_free(err);
    return false;
}
