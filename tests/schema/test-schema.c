/* What the generator makes of sample.schema: typed commands, events and option tables. */
#include <glib.h>

#include "schema/sample.h"

/* --- Handlers, as any part of the program writes them --- */

static QmpReply *waiting;
static struct Monitor *waiting_monitor;

bool qmp_draw(const DrawArgs *args, PointList *ret, Error **errp)
{
    if (args->tree.x < 0) {
        error_set(errp, "off the paper");
        return false;
    }
    /* as many points as copies; the last one tells what else arrived */
    ret->len = args->copies;
    ret->items = g_new0(Point, args->copies);
    for (size_t i = 0; i < ret->len; i++) {
        ret->items[i] = (Point){ .x = args->tree.x, .y = (int32_t)i };
    }
    if (args->tree.shape && args->tree.shape->kind == SHAPE_KIND_LABEL) {
        ret->items[0].y = (int32_t)strlen(args->tree.shape->u.label.text);
    }
    if (args->has_color) {
        ret->items[0].x = args->color;
    }
    return true;
}

bool qmp_noop(Error **errp)
{
    return true;
}

bool qmp_query_pen(Point *ret, Error **errp)
{
    *ret = (Point){ .x = 3, .y = 4 };
    return true;
}

bool qmp_query_pen_name(char **ret, Error **errp)
{
    *ret = g_strdup("left behind by a handler that fails");
    error_set(errp, "no pen, no name");
    return false;
}

bool qmp_any_object_add(const AnyObject *args, Error **errp)
{
    g_assert_cmpstr(args->qom_type, ==, "thing");
    g_assert_cmpint(json_integer_value(json_object_get(args->rest, "size")), ==, 5);
    return true;
}

bool qmp_wait_point(const WaitPointArgs *args, QmpReply *reply, Error **errp)
{
    if (args->has_limit && args->limit < 0) {
        error_set(errp, "no time");
        return false;
    }
    waiting = reply;
    return true;
}

bool qmp_wait_empty(struct Monitor *monitor, QmpReply *reply, Error **errp)
{
    waiting = reply;
    waiting_monitor = monitor;
    return true;
}

bool qmp_x_old(OldAndNew *ret, Error **errp)
{
    *ret = (OldAndNew){ .old = 2, .new = 1 };
    return true;
}

/* --- Commands --- */

static json_t *load(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    g_assert_nonnull(json);
    return json;
}

/* Run and compare; expected is the error's message when the command fails. */
static void assert_command(const char *name, const char *arguments, const char *expected)
{
    const QmpCommand *command = qmp_command_find(name);
    json_t *json = arguments ? load(arguments) : NULL;
    ERROR_AUTO err = NULL;

    g_assert_nonnull(command);
    json_t *ret = qmp_command_run(command, NULL, json, &err);
    g_assert_true(!ret == !!err);
    if (ret) {
        g_autofree char *text = json_dumps(ret, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
        g_assert_cmpstr(text, ==, expected);
    } else {
        g_assert_cmpstr(error_message(err), ==, expected);
    }
    json_decref(ret);
    json_decref(json);
}

static void test_commands(void)
{
    assert_command("noop", NULL, "{}");
    assert_command("noop", "{\"x\": 1}", "Unknown parameter 'x'");
    assert_command("query-pen", "{}", "{\"x\":3,\"y\":4}");
    assert_command("query-pen-name", NULL, "no pen, no name");
    assert_command("draw", "{\"tree\": {\"x\": 5, \"spot\": 1}}", "[{\"x\":5,\"y\":0}]");
    assert_command("draw", "{\"tree\": {\"x\": 5, \"spot\": 1}, \"color\": \"dark-green\"}",
                   "[{\"x\":2,\"y\":0}]");
    assert_command("draw",
                   "{\"tree\": {\"x\": 5, \"spot\": [\"a\"], \"shape\": {\"kind\": \"label\","
                   " \"text\": \"four\"}}, \"copies\": 2}",
                   "[{\"x\":5,\"y\":4},{\"x\":5,\"y\":1}]");
    assert_command("draw", "{\"tree\": {\"x\": -1, \"spot\": \"here\"}}", "off the paper");
    assert_command("draw", NULL, "Parameter 'tree' is missing");
    assert_command("draw", "{\"tree\": {\"x\": 5, \"spot\": 1}, \"copies\": 10}",
                   "Parameter 'copies' expects an integer between 1 and 9, got 10");
    assert_command("any-object-add", "{\"qom-type\": \"thing\", \"id\": \"t\", \"size\": 5}", "{}");
}

static void count_command(const QmpCommand *command, void *opaque)
{
    (*(int *)opaque)++;
}

static void test_command_table(void)
{
    const QmpCommand *draw = qmp_command_find("draw");
    int count = 0;

    g_assert_cmpuint(draw->flags, ==, QMP_COMMAND_PRECONFIG);
    g_assert_cmpstr(draw->features[1], ==, "thorough");
    g_assert_null(draw->features[2]);
    g_assert_null(qmp_command_find("drawn"));
    g_assert_cmpstr(qmp_command_nearest("drwa"), ==, "draw");
    g_assert_cmpuint(qmp_command_find("noop")->flags, ==, QMP_COMMAND_OOB);
    qmp_command_foreach(count_command, &count);
    g_assert_cmpint(count, >=, 7);
}

typedef struct TestReply {
    QmpReply reply;
    int answers;
    char *text;
} TestReply;

static void test_reply_done(QmpReply *reply, json_t *ret, Error *err)
{
    TestReply *t = CONTAINER_OF(reply, TestReply, reply);
    t->answers++;
    t->text = ret ? json_dumps(ret, JSON_COMPACT) : g_strdup(error_message(err));
    json_decref(ret);
    error_free(err);
}

static void test_deferred(void)
{
    TestReply t = { .reply.done = test_reply_done };
    json_t *early = load("{\"limit\": -1}");
    ERROR_AUTO err = NULL;
    int monitor;

    g_assert_false(qmp_command_start(qmp_command_find("wait-point"), NULL, early, &t.reply, &err));
    g_assert_cmpstr(error_message(err), ==, "no time");
    g_assert_cmpint(t.answers, ==, 0);
    json_decref(early);

    g_assert_true(
        qmp_command_start(qmp_command_find("wait-point"), NULL, NULL, &t.reply, &error_abort));
    g_assert_cmpint(t.answers, ==, 0);
    qmp_wait_point_reply(waiting, &(Point){ .x = 1, .y = 2 });
    g_assert_cmpint(t.answers, ==, 1);
    g_assert_cmpstr(t.text, ==, "{\"x\":1,\"y\":2}");
    g_clear_pointer(&t.text, g_free);

    g_assert_true(qmp_command_start(qmp_command_find("wait-empty"), (struct Monitor *)&monitor,
                                    NULL, &t.reply, &error_abort));
    g_assert_true(waiting_monitor == (struct Monitor *)&monitor);
    qmp_wait_empty_reply(waiting);
    g_assert_cmpstr(t.text, ==, "{}");
    g_clear_pointer(&t.text, g_free);

    Error *late = NULL;
    error_set(&late, "too late");
    qmp_reply_fail(&t.reply, late);
    g_assert_cmpstr(t.text, ==, "too late");
    g_free(t.text);
}

/* --- Events --- */

static void remember_event(const QmpEvent *event, json_t *data, void *opaque)
{
    char **text = opaque;
    char *shown = data ? json_dumps(data, JSON_COMPACT | JSON_SORT_KEYS) : g_strdup("-");
    g_free(*text);
    *text = g_strdup_printf("%s %s", event->name, shown);
    g_free(shown);
}

static const QmpEvent *found_event;

static void find_moved(const QmpEvent *event, void *opaque)
{
    if (g_str_equal(event->name, "MOVED")) {
        found_event = event;
    }
}

static void test_events(void)
{
    g_autofree char *text = NULL;
    Point to = { 1, 2 };
    PointList path = { 1, &to };

    qmp_event_stopped(); /* nobody listens: nothing happens */
    qmp_event_set_sink(remember_event, &text);
    qmp_event_stopped();
    g_assert_cmpstr(text, ==, "STOPPED -");
    qmp_event_moved("me", &to, NULL, NULL, false, 0, SHAPE_KIND_DOT);
    g_assert_cmpstr(text, ==, "MOVED {\"kind\":\"dot\",\"to\":{\"x\":1,\"y\":2},\"who\":\"me\"}");
    qmp_event_moved("me", &to, &to, &path, true, 9, SHAPE_KIND_LINE);
    g_assert_cmpstr(text, ==,
                    "MOVED {\"kind\":\"line\",\"path\":[{\"x\":1,\"y\":2}],\"speed\":9,"
                    "\"to\":{\"x\":1,\"y\":2},\"via\":{\"x\":1,\"y\":2},\"who\":\"me\"}");
    qmp_event_set_sink(NULL, NULL);

    qmp_event_foreach(find_moved, NULL);
    g_assert_cmpint(found_event->rate_ns, ==, 1000 * 1000000LL);
    g_assert_cmpstr(found_event->rate_key, ==, "who");
}

/* --- Policy --- */

static void test_policy(void)
{
    static const char old_color[] = "{\"tree\": {\"x\": 5, \"spot\": 1}, \"color\": \"blue\"}";
    static const char width[] =
        "{\"tree\": {\"x\": 5, \"spot\": 1, \"shape\": {\"kind\": \"line\", \"points\": [],"
        " \"x-width\": 1}}}";
    g_autofree char *text = NULL;

    assert_command("draw", old_color, "[{\"x\":1,\"y\":0}]");
    assert_command("draw", width, "[{\"x\":5,\"y\":0}]");
    assert_command("x-old", NULL, "{\"new\":1,\"old\":2}");

    qmp_policy_set(&(QmpPolicy){ .reject = FIELD_DEPRECATED });
    assert_command("draw", old_color,
                   "The value 'blue' is deprecated and refused by the policy (-compat)");
    assert_command("draw", width, "[{\"x\":5,\"y\":0}]");
    assert_command("x-old", NULL,
                   "The command 'x-old' is deprecated and refused by the policy (-compat)");
    qmp_policy_set(&(QmpPolicy){ .reject = FIELD_UNSTABLE });
    assert_command("draw", width,
                   "The parameter 'x-width' is unstable and refused by the policy (-compat)");
    assert_command("draw", old_color, "[{\"x\":1,\"y\":0}]");

    qmp_policy_set(&(QmpPolicy){ .hide = FIELD_DEPRECATED });
    assert_command("x-old", NULL, "{\"new\":1}");
    qmp_event_set_sink(remember_event, &text);
    qmp_event_stopped();
    g_assert_null(text);
    qmp_policy_set(&(QmpPolicy){});
    qmp_event_stopped();
    g_assert_cmpstr(text, ==, "STOPPED -");
    qmp_event_set_sink(NULL, NULL);
}

/* --- Options --- */

static void test_options(void)
{
    g_assert_true(option_find("L") == &option_label);
    g_assert_true(option_find("label") == &option_label);
    g_assert_null(option_find("labels"));
    g_assert_true(option_find_group("labels") == &option_label);
    g_assert_cmpint(option_label.repeat, ==, OPTION_MERGE);
    g_assert_null(option_no_draw.value);
    g_assert_cmpint(option_count.value->max, ==, 8);
    g_assert_cmpstr(option_draw_file.sugar[0].option, ==, "label");
    g_assert_null(option_draw_file.sugar[2].option);
    g_assert_cmpstr(option_nearest("lable"), ==, "label");
}

/* --- Values: the corners of the sample's defaults --- */

static void test_defaults(void)
{
    Tree tree = {};
    json_t *json = load("{\"x\": \"1\", \"spot\": \"0x10\", \"shape\": \"dot\"}");
    ERROR_AUTO err = NULL;

    /* "dot" alone names the kind; the point's x is missing then */
    g_assert_false(value_parse(&value_type_tree, &tree, json, VALUE_MODE_TEXT, &err));
    g_assert_cmpstr(error_message(err), ==, "Parameter 'shape.x' is missing");
    json_object_del(json, "shape");
    g_assert_true(value_parse(&value_type_tree, &tree, json, VALUE_MODE_TEXT, &error_abort));
    g_assert_cmpint(tree.y, ==, 7);
    g_assert_cmpuint(tree.mask, ==, UINT64_MAX);
    g_assert_cmpint(tree.lowest, ==, INT64_MIN);
    g_assert_cmpstr(tree.default_, ==, "a \"b\"");
    g_assert_cmpint(tree.spot.kind, ==, SPOT_NUMBER);
    g_assert_cmpint(tree.spot.u.number, ==, 16);
    value_release(&value_type_tree, &tree);
    json_decref(json);

    Label label = {};
    json = load("{\"text\": \"t\", \"size\": \"512\"}");
    g_assert_true(value_parse(&value_type_label, &label, json, VALUE_MODE_TEXT, &error_abort));
    g_assert_cmpuint(label.size, ==, 512u << 20);
    g_assert_true(label.bold);
    g_assert_cmpint(label.tint, ==, COLOR_DARK_GREEN);
    value_release(&value_type_label, &label);
    json_decref(json);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/schema/commands", test_commands);
    g_test_add_func("/schema/command-table", test_command_table);
    g_test_add_func("/schema/deferred", test_deferred);
    g_test_add_func("/schema/events", test_events);
    g_test_add_func("/schema/policy", test_policy);
    g_test_add_func("/schema/options", test_options);
    g_test_add_func("/schema/defaults", test_defaults);
    return g_test_run();
}
