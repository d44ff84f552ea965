/* Names of threads. */
#include <glib.h>

#include "base/thread.h"

static char *own_name(void)
{
    char *name = g_malloc0(16);

    g_assert_cmpint(pthread_getname_np(pthread_self(), name, 16), ==, 0);
    return name;
}

static void test_names(void)
{
    g_autofree char *before = own_name();

    thread_names_set_enabled(false);
    thread_set_name(pthread_self(), "other");
    g_autofree char *off = own_name();
    g_assert_cmpstr(off, ==, before);

    thread_names_set_enabled(true);
    thread_set_name(pthread_self(), "a name that is too long");
    g_autofree char *on = own_name();
    g_assert_cmpstr(on, ==, "a name that is ");
    thread_set_name(pthread_self(), before);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/thread/names", test_names);
    return g_test_run();
}
