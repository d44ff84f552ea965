/*
 * The configuration: command line and config files into records, with the options of sample.schema
 * and those of the program.
 */
#include <glib.h>
#include <glib/gstdio.h>

#include "base/bits.h"
#include "config/config.h"
#include "config/sugar.h"
#include "schema/config.h"
#include "schema/hardware.h"
#include "schema/run.h"
#include "schema/sample.h"

#include "sample-handlers.h"
#include "words.h"

static void assert_fails(const char *line, const char *message)
{
    ERROR_AUTO err = NULL;

    g_assert_null(parse_words(line, &err));
    g_assert_cmpstr(error_message(err), ==, message);
}

static void test_records(void)
{
    Config *c = parse_words("-shape label,text=hi,size=2,,5 --label big,bold=off -no-draw", NULL);
    g_assert_null(c); /* a size with a comma in it */

    c = parse_words("-shape label,text=hi,size=2 --label big,bold=off -no-draw -count 3",
                    &error_abort);
    const Shape *shape = config_get(c, shape);
    g_assert_cmpint(shape->kind, ==, SHAPE_KIND_LABEL);
    g_assert_cmpint(shape->u.label.size, ==, 2 * MiB);
    g_assert_true(shape->u.label.bold);
    g_assert_cmpstr(config_get(c, label)->text, ==, "big");
    g_assert_false(config_get(c, label)->bold);
    g_assert_nonnull(config_get(c, no_draw));
    g_assert_cmpint(*config_get(c, count), ==, 3);
    g_assert_null(config_get(c, machine));
    g_assert_null(config_get(c, S));
    config_free(c);
}

static void test_repeat(void)
{
    Config *c =
        parse_words("-shape dot,x=1 -shape dot,x=2 -label a -lbl size=3,bold=off -L b", NULL);
    g_assert_cmpint(config_count(c, shape), ==, 2);
    g_assert_cmpint(config_at(c, shape, 0)->u.dot.x, ==, 1);
    g_assert_cmpint(config_at(c, shape, 1)->u.dot.x, ==, 2);
    g_assert_cmpint(config_count(c, label), ==, 1);
    g_assert_cmpstr(config_get(c, label)->text, ==, "b");
    g_assert_cmpint(config_get(c, label)->size, ==, 3 * MiB);
    config_free(c);

    c = parse_words("-uuid first -uuid second", &error_abort);
    g_assert_cmpint(config_count(c, uuid), ==, 1);
    g_assert_cmpstr(*config_get(c, uuid), ==, "second");
    config_free(c);

    assert_fails("-count 1 -count 2", "-count 2: option -count is given a second time");
    assert_fails("-shape dot,x=1,id=a -shape dot,x=2,id=a",
                 "-shape dot,x=2,id=a: id 'a' is already taken by an earlier -shape");
}

static void test_json(void)
{
    Config *c = parse_words("-shape {\"kind\":\"dot\",\"x\":5} -machine q35 -M {\"usb\":false}",
                            &error_abort);
    g_assert_cmpint(config_get(c, shape)->u.dot.x, ==, 5);
    g_assert_cmpstr(config_get(c, machine)->type, ==, "q35");
    g_assert_true(json_is_false(json_object_get(config_get(c, machine)->rest, "usb")));
    g_assert_cmpint(config_item(c, machine, 0)->mode, ==, VALUE_MODE_TEXT);
    config_free(c);

    assert_fails(
        "-shape {\"kind\":\"dot\",\"x\":\"5\"}",
        "-shape {\"kind\":\"dot\",\"x\":\"5\"}: Parameter 'x' expects an integer, got '5'");
    assert_fails("-shape {\"kind\":\"dot\",\"kind\":\"dot\"}",
                 "-shape {\"kind\":\"dot\",\"kind\":\"dot\"}: invalid JSON at column 20: duplicate"
                 " object key near '\"kind\"'");
    assert_fails("-shape {",
                 "-shape {: invalid JSON at column 1: string or '}' expected near end of"
                 " file");
}

static void test_errors(void)
{
    assert_fails("-shapee dot", "-shapee: unknown option; did you mean '-shape'?");
    assert_fails("--frobnicate", "--frobnicate: unknown option; '-help' lists them");
    assert_fails("-shape=dot", "-shape=dot: write the argument as a word of its own: '-shape dot'");
    assert_fails("-shape", "-shape: needs an argument: KIND[,key=value...]");
    assert_fails("-shape dto,x=1",
                 "-shape dto,x=1: Parameter 'kind' expects one of dot, label, line, got 'dto'; did"
                 " you mean 'dot'?");
    assert_fails("-shape dot,xx=1", "-shape dot,xx=1: Unknown parameter 'xx' for kind"
                                    " 'dot'; did you mean 'x'?");
    assert_fails("-shape dot,x=1,x=2", "-shape dot,x=1,x=2: Parameter 'x' is given twice");
    assert_fails("-count 9",
                 "-count 9: Parameter 'count' expects an integer between 1 and 8, got '9'");
    assert_fails("-count 0",
                 "-count 0: Parameter 'count' expects an integer between 1 and 8, got '0'");
    assert_fails("-m size=0", "-m size=0: Parameter 'size' expects a size of at least 1 B,"
                              " got '0'");
}

/* a long argument is cut, a broken one shown all the same */
static void test_long_argument(void)
{
    g_autofree char *text = g_strnfill(500, 'x');
    g_autofree char *line = g_strconcat("-count ", text, NULL);
    ERROR_AUTO err = NULL;

    g_assert_null(parse_words(line, &err));
    g_assert_cmpint(strlen(error_message(err)), <, 300);
    ERROR_AUTO broken = NULL;
    g_assert_null(parse_words("-count \xff", &broken));
    g_assert_nonnull(strstr(error_message(broken), "not UTF-8"));
}

static void test_sugar(void)
{
    g_autofree char *plain = sugar_argument("kvm", NULL);
    g_assert_cmpstr(plain, ==, "kvm");
    g_autofree char *comma = sugar_argument("file=%s,x=1", "a,b");
    g_assert_cmpstr(comma, ==, "file=a,,b,x=1");
    g_assert_null(sugar_argument(NULL, NULL));

    Config *c = parse_words("-draw-file a,b -no-reboot -no-shutdown -enable-kvm", &error_abort);
    g_assert_cmpstr(config_get(c, label)->text, ==, "a,b");
    g_assert_nonnull(config_get(c, no_draw));
    g_assert_cmpint(config_get(c, action)->reboot, ==, REBOOT_ACTION_SHUTDOWN);
    g_assert_cmpint(config_get(c, action)->shutdown, ==, SHUTDOWN_ACTION_PAUSE);
    g_assert_false(config_get(c, action)->has_panic);
    g_assert_cmpstr(config_get(c, accel)->accel, ==, "kvm");
    config_free(c);

    c = parse_words("disk.img -count 1", &error_abort);
    g_assert_cmpstr(config_get(c, label)->text, ==, "disk.img");
    config_free(c);
}

static void test_passes(void)
{
    char *argv[] = { (char *)"rhea", (char *)"-uuid", (char *)"u", (char *)"-nouserconfig", NULL };
    Config *c = config_new();

    g_assert_true(config_parse_first(c, 4, argv, &error_abort));
    g_assert_nonnull(config_get(c, no_user_config));
    g_assert_null(config_get(c, uuid));
    g_assert_true(config_parse_second(c, 4, argv, &error_abort));
    g_assert_cmpstr(*config_get(c, uuid), ==, "u");
    g_assert_cmpint(config_count(c, no_user_config), ==, 1);
    config_free(c);
}

/* --- Help --- */

static char *help_of(const char *line)
{
    Config *c = parse_words(line, &error_abort);
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    bool asked = config_print_help(c, out, &(bool){ false });
    fclose(out);
    config_free(c);
    if (!asked) {
        g_clear_pointer(&text, free);
    }
    return text;
}

static void test_help(void)
{
    char *text = help_of("-shape help");
    g_assert_cmpstr(text, ==, "Available shape types:\ndot\nlabel\nline\n");
    free(text);
    text = help_of("-shape label,?");
    g_assert_nonnull(strstr(text, "text=<str>"));
    g_assert_nonnull(strstr(text, "tint=<red|blue|dark-green> - color (default: dark-green)"));
    g_assert_nonnull(strstr(text, "in bold (default: on)"));
    free(text);
    g_assert_null(help_of("-shape label,text=help"));
    g_assert_null(help_of("-uuid help"));
}

static void test_options_list(void)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    config_print_options(out);
    fclose(out);
    g_assert_nonnull(strstr(text, "\nDrawing:\n"));
    g_assert_nonnull(strstr(text, "-label, -L, -lbl TEXT\n        The label\n"));
    free(text);

    json_t *all = config_query_options(NULL, &error_abort);
    g_assert_cmpint(json_array_size(all), >, 20);
    json_decref(all);
    json_t *one = config_query_options("labels", &error_abort);
    json_t *parameters = json_object_get(json_array_get(one, 0), "parameters");
    g_assert_cmpint(json_array_size(parameters), ==, 4);
    json_t *bold = json_array_get(parameters, 1);
    g_assert_cmpstr(json_string_value(json_object_get(bold, "type")), ==, "boolean");
    g_assert_cmpstr(json_string_value(json_object_get(bold, "default")), ==, "on");
    json_decref(one);
    ERROR_AUTO err = NULL;
    g_assert_null(config_query_options("label", &err));
}

/* --- Config files --- */

static char *write_temp(const char *text)
{
    char *path = NULL;
    int fd = g_file_open_tmp("rhea-config-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_close(fd, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    return path;
}

static Config *read_config(const char *text, Error **errp)
{
    g_autofree char *path = write_temp(text);
    Config *c = config_new();
    ERROR_AUTO err = NULL;
    bool ok = config_read_file(c, path, &err);

    g_unlink(path);
    if (ok) {
        return c;
    }
    /* the path is another each time */
    g_assert_true(g_str_has_prefix(error_message(err), path));
    error_set(errp, "%s", error_message(err) + strlen(path));
    config_free(c);
    return NULL;
}

static void test_file(void)
{
    Config *c = read_config("# sample\n\n[shape \"s1\"]\n  kind = \"dot\"\n\tx = \"5\"\r\n"
                            "[labels]\ntext=\"a, b\"\n[no-draw]\n[count]\nvalue = \"4\"\n"
                            "[action]\n reboot = \"shutdown\"\n[no-shutdown]",
                            &error_abort);
    g_assert_cmpstr(config_get(c, shape)->id, ==, "s1");
    g_assert_cmpint(config_get(c, shape)->u.dot.x, ==, 5);
    g_assert_cmpstr(config_get(c, label)->text, ==, "a, b");
    g_assert_nonnull(config_get(c, no_draw));
    g_assert_cmpint(*config_get(c, count), ==, 4);
    g_assert_cmpint(config_get(c, action)->reboot, ==, REBOOT_ACTION_SHUTDOWN);
    g_assert_cmpint(config_get(c, action)->shutdown, ==, SHUTDOWN_ACTION_PAUSE);
    config_free(c);
}

static void test_file_errors(void)
{
    static const struct {
        const char *text;
        const char *message;
    } rows[] = {
        { "x = \"1\"", ":1: expected a section: [group] or [group \"id\"]" },
        { "\n[shap]", ":2: there is no option group 'shap'; did you mean 'shape'?" },
        { "[shape", ":1: expected a section: [group] or [group \"id\"]" },
        { "[shape \"a]", ":1: the id in '[group \"id\"]' lacks its closing quote" },
        { "[shape \"0\"]", ":1: '0' is no id: a letter, then letters, digits, '-', '.' or '_'" },
        { "[shape]\nx = 5", ":2: expected key = \"value\" with the value in quotes" },
        { "[shape]\nx = \"5\" y", ":2: expected key = \"value\" with the value in quotes" },
        { "[shape]\nx", ":2: expected key = \"value\"" },
        { "[shape]\n= \"1\"", ":2: expected key = \"value\"" },
        { "[shape]\nx = \"1\"\nx = \"2\"", ":3: Parameter 'x' is given twice" },
        { "\n[shape]\nkind=\"dot\"\ny = \"1\"\n[labels]", ":2: Parameter 'x' is missing" },
        { "[shape]\nl.1=\"1\"", ":1: Parameter 'l.0' is missing: lists count from 0 without gaps" },
        { "[count]", ":1: section 'count' takes one key, 'value'" },
        { "[no-draw]\nvalue=\"1\"", ":1: section 'no-draw' takes no keys" },
        { "[readconfig]", ":1: 'readconfig' can only be given on the command line" },
        { "[no-user-config]", ":1: 'no-user-config' can only be given on the command line" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        ERROR_AUTO err = NULL;
        g_assert_null(read_config(rows[i].text, &err));
        g_assert_cmpstr(error_message(err), ==, rows[i].message);
    }
    ERROR_AUTO err = NULL;
    Config *c = config_new();
    g_assert_false(config_read_file(c, "/nonexistent/file", &err));
    g_assert_cmpstr(error_message(err), ==,
                    "can't read config file '/nonexistent/file': No such file or directory");
    config_free(c);
}

/* what is written reads back to the same, and -readconfig finds it */
static void test_write(void)
{
    Config *c =
        parse_words("-shape label,text=a,,b,id=s1 -shape {\"kind\":\"line\",\"points\":[{\"x\":1},"
                    "{\"x\":2}],\"names\":[\"n\"]} -label x,bold=off -no-draw -count 2",
                    &error_abort);
    g_autofree char *first = write_temp("");
    g_autofree char *second = write_temp("");
    g_autofree char *line = g_strconcat("-readconfig ", first, NULL);

    g_assert_true(config_write_file(c, first, &error_abort));
    config_free(c);
    c = parse_words(line, &error_abort);
    g_assert_cmpint(config_count(c, shape), ==, 2);
    g_assert_cmpstr(config_at(c, shape, 0)->u.label.text, ==, "a,b");
    g_assert_cmpint(config_at(c, shape, 1)->u.line.points.items[1].x, ==, 2);
    g_assert_true(config_write_file(c, second, &error_abort));
    config_free(c);

    g_autofree char *a = NULL, *b = NULL;
    g_assert_true(g_file_get_contents(first, &a, NULL, NULL));
    g_assert_true(g_file_get_contents(second, &b, NULL, NULL));
    g_assert_cmpstr(a, ==, b);
    g_assert_nonnull(strstr(a, "[shape \"s1\"]\n"));
    g_unlink(first);
    g_unlink(second);

    ERROR_AUTO err = NULL;
    c = parse_words("-label \"quoted\"", &error_abort);
    g_assert_false(config_write_file(c, first, &err));
    g_assert_cmpstr(error_message(err), ==,
                    "-label \"quoted\": the value of parameter 'text' has a quote or a line end,"
                    " which a config file can't hold");
    config_free(c);
}

/* A file that can't be written is an error that names it. */
static void test_write_errors(void)
{
    static const char *const paths[] = { "/nonexistent/file", "/dev/full" };
    Config *c = parse_words("-no-draw", &error_abort);

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        ERROR_AUTO err = NULL;
        g_assert_false(config_write_file(c, paths[i], &err));
        g_autofree char *start = g_strdup_printf("can't write config file '%s': ", paths[i]);
        g_assert_true(g_str_has_prefix(error_message(err), start));
    }
    config_free(c);
}

static void test_unreadable_files(void)
{
    static const struct {
        const char *path;
        const char *message;
    } rows[] = {
        { "/", "can't read config file '/': Is a directory" },
        { "/dev/zero", "can't read config file '/dev/zero': File too large" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Config *c = config_new();
        ERROR_AUTO err = NULL;
        g_assert_false(config_read_file(c, rows[i].path, &err));
        g_assert_cmpstr(error_message(err), ==, rows[i].message);
        config_free(c);
    }
}

static void test_default_file(void)
{
    g_autofree char *folder = g_dir_make_tmp("rhea-conf-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "rhea.conf", NULL);
    Config *c = config_new();

    g_setenv("RHEA_CONFDIR", folder, true);
    g_assert_true(config_read_default_file(c, &error_abort)); /* there is none */
    g_assert_true(g_file_set_contents(path, "[count]\nvalue=\"5\"\n", -1, NULL));
    g_assert_true(config_read_default_file(c, &error_abort));
    g_assert_cmpint(*config_get(c, count), ==, 5);
    g_assert_true(g_file_set_contents(path, "[count]\nvalue=\"9\"\n", -1, NULL));
    ERROR_AUTO err = NULL;
    g_assert_false(config_read_default_file(c, &err));
    g_unlink(path);
    g_mkdir(path, 0700); /* there, but no file */
    ERROR_AUTO folder_err = NULL;
    g_assert_false(config_read_default_file(c, &folder_err));
    g_assert_nonnull(strstr(error_message(folder_err), "Is a directory"));
    g_rmdir(path);
    g_rmdir(folder);
    g_unsetenv("RHEA_CONFDIR");
    config_free(c);
}

/* Messages about an item say where it came from; so does the warning about a deprecated one. */
static void test_locations(void)
{
    Config *c = parse_words("--lbl x", &error_abort);
    Location loc;
    ERROR_AUTO err = NULL;

    config_item_push_location(config_item(c, label, 0), &loc);
    g_assert_cmpstr(loc.option, ==, "--lbl");
    g_assert_cmpstr(loc.argument, ==, "x");
    location_pop(&loc);
    error_set(&err, "wrong");
    config_item_prepend(config_item(c, label, 0), &err);
    g_assert_cmpstr(error_message(err), ==, "--lbl x: wrong");
    config_remove(c, &option_label);
    g_assert_null(config_get(c, label));
    config_free(c);

    c = read_config("\n[no-draw]\n", &error_abort);
    config_item_push_location(config_item(c, no_draw, 0), &loc);
    g_assert_cmpint(loc.line, ==, 2);
    location_pop(&loc);
    config_free(c);
}

static void remember_line(const char *line, void *opaque)
{
    *(char **)opaque = g_strdup(line);
}

static void test_deprecated(void)
{
    g_autofree char *line = NULL;

    report_set_sink(remember_line, &line);
    Config *c = parse_words("-old-draw", &error_abort);
    report_set_sink(NULL, NULL);
    g_assert_nonnull(strstr(line, "this option is deprecated: Don't draw"));
    g_assert_nonnull(config_get(c, no_draw));
    config_free(c);

    g_clear_pointer(&line, g_free);
    report_set_sink(remember_line, &line);
    c = parse_words("-label x,tint=red", &error_abort);
    g_assert_null(line);
    config_free(c);
    c = parse_words("-label x,tint=blue", &error_abort);
    report_set_sink(NULL, NULL);
    g_assert_nonnull(strstr(line, "value 'blue' is deprecated"));
    config_free(c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/config/records", test_records);
    g_test_add_func("/config/repeat", test_repeat);
    g_test_add_func("/config/json", test_json);
    g_test_add_func("/config/errors", test_errors);
    g_test_add_func("/config/long-argument", test_long_argument);
    g_test_add_func("/config/sugar", test_sugar);
    g_test_add_func("/config/passes", test_passes);
    g_test_add_func("/config/help", test_help);
    g_test_add_func("/config/options-list", test_options_list);
    g_test_add_func("/config/file", test_file);
    g_test_add_func("/config/file-errors", test_file_errors);
    g_test_add_func("/config/write", test_write);
    g_test_add_func("/config/write-errors", test_write_errors);
    g_test_add_func("/config/unreadable-files", test_unreadable_files);
    g_test_add_func("/config/default-file", test_default_file);
    g_test_add_func("/config/locations", test_locations);
    g_test_add_func("/config/deprecated", test_deprecated);
    return g_test_run();
}
