/* Descriptors passed in by management programs. */
#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/fdset.h"

static void append(int64_t set, int fd, const char *text, void *opaque)
{
    g_string_append_printf(opaque, "%d:%s ", (int)set, text ? text : "-");
}

static char *list(void)
{
    GString *out = g_string_new(NULL);
    fdset_foreach(append, out);
    return g_string_free(out, FALSE);
}

static void test_sets(void)
{
    int a = open("/dev/null", O_RDONLY), b = open("/dev/null", O_WRONLY);
    g_assert_cmpint(fdset_add(-1, a, "rdonly", &error_abort), ==, 0);
    g_assert_cmpint(fdset_add(5, dup(a), NULL, &error_abort), ==, 5);
    g_assert_cmpint(fdset_add(0, b, "wronly", &error_abort), ==, 0);
    g_assert_cmpint(fdset_add(-1, dup(b), NULL, &error_abort), ==, 1);
    g_autofree char *all = list();
    g_assert_cmpstr(all, ==, "0:rdonly 0:wronly 1:- 5:- ");

    FD_AUTO reader = fdset_open("/dev/fdset/0", O_RDONLY, 0, &error_abort);
    FD_AUTO writer = fdset_open("/dev/fdset/0", O_WRONLY, 0, &error_abort);
    g_assert_cmpint(fcntl(reader, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
    g_assert_cmpint(fcntl(writer, F_GETFL) & O_ACCMODE, ==, O_WRONLY);
    g_assert_true(fcntl(reader, F_GETFD) & FD_CLOEXEC);

    ERROR_AUTO mode = NULL;
    ERROR_AUTO gone = NULL;
    ERROR_AUTO junk = NULL;
    g_assert_cmpint(fdset_open("/dev/fdset/0", O_RDWR, 0, &mode), ==, -1);
    g_assert_cmpint(fdset_open("/dev/fdset/7", O_RDWR, 0, &gone), ==, -1);
    g_assert_cmpint(fdset_open("/dev/fdset/x", O_RDWR, 0, &junk), ==, -1);
    g_assert_nonnull(mode);
    g_assert_nonnull(gone);
    g_assert_nonnull(junk);

    g_assert_true(fdset_remove(0, b, &error_abort));
    g_assert_cmpint(fcntl(b, F_GETFD), ==, -1);
    g_assert_true(fdset_remove(5, -1, &error_abort));
    g_autofree char *rest = list();
    g_assert_cmpstr(rest, ==, "0:rdonly 1:- ");
    ERROR_AUTO again = NULL;
    ERROR_AUTO other = NULL;
    g_assert_false(fdset_remove(5, -1, &again));
    g_assert_false(fdset_remove(0, 4711, &other));
    g_assert_cmpstr(error_message(other), ==,
                    "File descriptor named 'fdset-id:0, fd:4711' not found");
    fdset_finish();
    g_assert_cmpint(fcntl(a, F_GETFD), ==, -1);
}

static void test_bad_set_closes(void)
{
    int fd = open("/dev/null", O_RDONLY);
    ERROR_AUTO err = NULL;
    g_assert_cmpint(fdset_add(-2, fd, NULL, &err), ==, -1);
    g_assert_cmpint(fcntl(fd, F_GETFD), ==, -1);
}

static void test_named(void)
{
    int a = open("/dev/null", O_RDONLY), b = open("/dev/null", O_RDONLY);
    fd_named_put("x", a);
    fd_named_put("x", b);
    g_assert_cmpint(fcntl(a, F_GETFD), ==, -1);
    g_assert_cmpint(fd_from_text("x", &error_abort), ==, b);
    ERROR_AUTO err = NULL;
    g_assert_cmpint(fd_named_take("x", &err), ==, -1);
    g_assert_cmpstr(error_message(err), ==, "File descriptor named 'x' not found");

    g_autofree char *number = g_strdup_printf("%d", b);
    g_assert_cmpint(fd_from_text(number, &error_abort), ==, b);
    close(b);
    ERROR_AUTO closed = NULL;
    ERROR_AUTO junk = NULL;
    g_assert_cmpint(fd_from_text(number, &closed), ==, -1);
    g_assert_cmpint(fd_from_text("3x", &junk), ==, -1);
    g_assert_nonnull(closed);
    g_assert_nonnull(junk);
    fdset_finish();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fdset/sets", test_sets);
    g_test_add_func("/fdset/bad-set-closes", test_bad_set_closes);
    g_test_add_func("/fdset/named", test_named);
    return g_test_run();
}
