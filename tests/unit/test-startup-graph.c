/* The start-up recorder: nesting, unfinished starts, text and rendered output. */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "trace/startup-graph.h"

typedef struct Fixture {
    char *dir, *dot, *svg;
} Fixture;

static void set_up(Fixture *f, const void *data)
{
    f->dir = g_dir_make_tmp("rhea-graph-XXXXXX", NULL);
    f->dot = g_build_filename(f->dir, "graph.dot", NULL);
    f->svg = g_build_filename(f->dir, "graph.svg", NULL);
    startup_graph_begin();
}

static void tear_down(Fixture *f, const void *data)
{
    startup_graph_finish();
    g_unlink(f->dot);
    g_unlink(f->svg);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->dir);
    g_free(f->dot);
    g_free(f->svg);
}

static char *written(Fixture *f, const char *failure)
{
    Error *err = NULL;
    char *text = NULL;
    g_assert_true(startup_graph_write(f->dot, failure, &err));
    g_assert_true(g_file_get_contents(f->dot, &text, NULL, NULL));
    return text;
}

static void inner_step(void)
{
    STARTUP_GRAPH_SCOPE();
}

static void record_some(void)
{
    startup_graph_enter(STARTUP_PHASE, "first");
    startup_graph_enter(STARTUP_FUNCTION, "outer");
    inner_step();
    startup_graph_leave(STARTUP_FUNCTION, "outer");
    startup_graph_leave(STARTUP_PHASE, "first");
    startup_graph_enter(STARTUP_PHASE, "second");
    startup_graph_enter(STARTUP_MODULE, "a \"quoted\" name\\");
}

static void test_nesting(Fixture *f, const void *data)
{
    record_some();
    startup_graph_leave(STARTUP_PHASE, "second");
    g_autofree char *text = written(f, NULL);
    g_assert_true(g_str_has_prefix(text, "digraph startup {"));
    g_assert_nonnull(strstr(text, "subgraph cluster_0 {\n    label=\"first\\nat "));
    g_assert_nonnull(strstr(text, "subgraph cluster_3 {\n    label=\"second\\nat "));
    g_assert_nonnull(strstr(text, "n1 -> n2 [label=\""));
    g_assert_nonnull(strstr(text, "n0 -> n3 [label=\""));
    g_assert_nonnull(strstr(text, "label=\"inner_step\""));
    g_assert_nonnull(strstr(text, "label=\"a \\\"quoted\\\" name\\\\\""));
    g_assert_null(strstr(text, "not finished"));
}

static void test_failing_start(Fixture *f, const void *data)
{
    record_some();
    g_autofree char *text = written(f, "no such device");
    g_assert_nonnull(strstr(text, "not finished"));
    g_assert_nonnull(strstr(text, "failure [label=\"no such device\""));
    g_assert_nonnull(strstr(text, "n4 -> failure"));
}

static void *from_elsewhere(void *opaque)
{
    startup_graph_enter(STARTUP_FUNCTION, "elsewhere");
    return NULL;
}

static void test_only_the_main_thread(Fixture *f, const void *data)
{
    startup_graph_enter(STARTUP_PHASE, "first");
    g_thread_join(g_thread_new(NULL, from_elsewhere, NULL));
    startup_graph_leave(STARTUP_PHASE, "never entered");
    g_autofree char *text = written(f, NULL);
    g_assert_null(strstr(text, "elsewhere"));
}

static void test_errors(Fixture *f, const void *data)
{
    Error *err = NULL;
    g_assert_false(startup_graph_write("/nonexistent/x.dot", NULL, &err));
    g_assert_nonnull(strstr(error_message(err), "/nonexistent/x.dot"));
    error_free(err);
    err = NULL;
    fault_inject(1);
    g_assert_false(startup_graph_write(f->dot, NULL, &err));
    g_assert_nonnull(err);
    error_free(err);
    err = NULL;
    startup_graph_finish();
    startup_graph_enter(STARTUP_PHASE, "late");
    startup_graph_leave(STARTUP_PHASE, "late");
    g_assert_false(startup_graph_write(f->dot, NULL, &err));
    g_assert_nonnull(strstr(error_message(err), "nothing was recorded"));
    error_free(err);
}

#define DOT_PATIENCE 200 /* times 50 ms */

static void test_svg(Fixture *f, const void *data)
{
    g_autofree char *program = g_find_program_in_path("dot");
    if (!program) {
        g_test_skip("Graphviz is not installed");
        return;
    }
    record_some();
    Error *err = NULL;
    g_assert_true(startup_graph_write(f->svg, NULL, &err));
    for (int i = 0; i < DOT_PATIENCE; i++) {
        g_autofree char *text = NULL;
        g_assert_true(g_file_get_contents(f->svg, &text, NULL, NULL));
        if (strstr(text, "</svg>")) {
            g_assert_nonnull(strstr(text, "inner_step"));
            return;
        }
        g_usleep(50000);
    }
    g_assert_not_reached();
}

static void test_svg_without_graphviz(Fixture *f, const void *data)
{
    g_autofree char *path = g_strdup(g_getenv("PATH"));
    g_setenv("PATH", "/nonexistent", true);
    record_some();
    Error *err = NULL;
    g_assert_false(startup_graph_write(f->svg, NULL, &err));
    g_setenv("PATH", path, true);
    g_autofree char *fallback = g_strconcat(f->svg, ".dot", NULL);
    g_assert_nonnull(strstr(error_message(err), fallback));
    error_free(err);
    g_assert_false(g_file_test(f->svg, G_FILE_TEST_EXISTS));
    g_assert_cmpint(g_unlink(fallback), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/startup-graph/" name, Fixture, NULL, set_up, fn, tear_down)
    ADD("nesting", test_nesting);
    ADD("failing-start", test_failing_start);
    ADD("only-the-main-thread", test_only_the_main_thread);
    ADD("errors", test_errors);
    ADD("svg", test_svg);
    ADD("svg-without-graphviz", test_svg_without_graphviz);
    return g_test_run();
}
