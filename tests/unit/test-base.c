/* base: errors, modules, fault injection, iovecs, descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/iov.h"
#include "base/log.h"
#include "base/module.h"
#include "base/report.h"

static void test_error_chain(void)
{
    ERROR_AUTO err = NULL;
    error_set(&err, "no such file '%s'", "a");
    error_prepend(&err, "device '%s': ", "d0");
    error_add_hint(&err, "Make it.");
    g_assert_cmpstr(error_message(err), ==, "device 'd0': no such file 'a'");
    g_assert_cmpstr(error_hint(err), ==, "Make it.");
    g_assert_cmpint(error_class(err), ==, ERROR_CLASS_GENERIC);

    /* A receiver that doesn't care, and one that has an error already. */
    error_set(NULL, "ignored");
    error_prepend(NULL, "x");
    Error *second = NULL;
    error_set_class(&second, ERROR_CLASS_DEVICE_NOT_FOUND, "second");
    error_propagate(&err, second);
    g_assert_cmpstr(error_message(err), ==, "device 'd0': no such file 'a'");
}

static void test_error_errno(void)
{
    ERROR_AUTO err = NULL;
    errno = EAGAIN;
    error_set_errno(&err, ENOENT, "cannot open '%s'", "f");
    g_assert_cmpint(errno, ==, EAGAIN);
    g_assert_cmpint(error_errno(err), ==, ENOENT);
    g_assert_cmpstr(error_message(err), ==, "cannot open 'f': No such file or directory");
}

static void test_error_abort(void)
{
    if (g_test_subprocess()) {
        error_set(&error_abort, "boom");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*test-base.c:*boom*");
}

static void collect_line(const char *line, void *opaque)
{
    g_string_append(opaque, line);
    g_string_append_c(opaque, '|');
}

static void test_report_sink(void)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    report_set_sink(collect_line, lines);
    Error *err = NULL;
    error_set(&err, "bad");
    error_add_hint(&err, "Do good.");
    error_report_and_free(err);
    report_warning("careful %d", 1);
    report_set_sink(NULL, NULL);
    g_assert_cmpstr(lines->str, ==, "bad|Do good.|warning: careful 1|");
}

static void test_report_location(void)
{
    if (g_test_subprocess()) {
        Location outer, inner;
        report_set_program("rhea");
        location_push_option(&outer, "-device", "foo");
        report_error("no");
        location_push_file(&inner, "x.cfg", 12);
        report_error("bad key");
        location_pop(&inner);
        location_pop(&outer);
        report_error("plain");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("rhea: -device foo: no\nrhea: x.cfg:12: bad key\nrhea: plain\n");
}

static int module_runs;

static void test_module_row(void)
{
    module_runs++;
}
MODULE_INIT(MODULE_FUZZ, test_module_row)

static void test_module(void)
{
    g_assert_cmpint(module_runs, ==, 0);
    module_call(MODULE_FUZZ);
    module_call(MODULE_FUZZ);
    g_assert_cmpint(module_runs, ==, 1);
    ERROR_AUTO err = NULL;
    g_assert_false(module_open("no-such-module", &err));
    g_assert_nonnull(strstr(error_message(err), "'no-such-module' is not installed"));
}

static void test_fault(void)
{
    ERROR_AUTO err = NULL;
    g_assert_false(FAULT("off", &err));
    fault_inject(2);
    g_assert_false(FAULT("first", &err));
    g_assert_null(err);
    g_assert_true(FAULT("second", &err));
    g_assert_cmpstr(error_message(err), ==, "injected failure: second");
    g_assert_cmpint(fault_inject(0), ==, 0);
}

static void test_iov(void)
{
    char a[3], b[5], out[8];
    struct iovec iov[] = { { a, 3 }, { NULL, 0 }, { b, 5 } };
    g_assert_cmpuint(iov_size(iov, 3), ==, 8);
    g_assert_cmpuint(iov_from_buf(iov, 3, 0, "abcdefgh", 8), ==, 8);
    g_assert_cmpuint(iov_to_buf(iov, 3, 2, out, 100), ==, 6);
    g_assert_cmpmem(out, 6, "cdefgh", 6);
    struct iovec part[2];
    g_assert_cmpuint(iov_slice(part, 2, iov, 3, 2, 3), ==, 2);
    g_assert_cmpmem(part[0].iov_base, part[0].iov_len, "c", 1);
    g_assert_cmpmem(part[1].iov_base, part[1].iov_len, "de", 2);
    struct iovec *front = iov;
    unsigned count = 3;
    g_assert_cmpuint(iov_advance(&front, &count, 4), ==, 4);
    g_assert_cmpuint(count, ==, 1);
    g_assert_cmpmem(front->iov_base, front->iov_len, "efgh", 4);
    g_assert_cmpuint(iov_fill(iov, 3, 0, 'x', 100), ==, 7);
}

static bool fd_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_fd_passing(void)
{
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    int files[3] = { dup(0), dup(0), dup(0) };
    char byte = 'x';
    struct iovec iov = { &byte, 1 };
    g_assert_cmpint(fd_sendmsg(pair[0], &iov, 1, files, 3), ==, 1);
    int got[FD_PASS_MAX];
    unsigned n = FD_PASS_MAX;
    g_assert_cmpint(fd_recvmsg(pair[1], &iov, 1, got, &n), ==, 1);
    g_assert_cmpuint(n, ==, 3);
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmpint(fcntl(got[i], F_GETFD), ==, FD_CLOEXEC);
        fd_close(got[i]);
    }

    /* More than there is room for: an error, and none is leaked. */
    int probe = dup(0);
    close(probe);
    g_assert_cmpint(fd_sendmsg(pair[0], &iov, 1, files, 3), ==, 1);
    n = 2;
    g_assert_cmpint(fd_recvmsg(pair[1], &iov, 1, got, &n), ==, -1);
    g_assert_cmpint(errno, ==, EMSGSIZE);
    g_assert_cmpuint(n, ==, 0);
    g_assert_false(fd_is_open(probe));

    g_assert_cmpint(fd_sendmsg(pair[0], &iov, 1, files, 1), ==, 1);
    g_assert_cmpint(fd_recvmsg(pair[1], &iov, 1, NULL, NULL), ==, -1);
    g_assert_false(fd_is_open(probe));
    for (int i = 0; i < 3; i++) {
        fd_close(files[i]);
    }
    fd_close(pair[0]);
    g_assert_cmpint(fd_recvmsg(pair[1], &iov, 1, NULL, NULL), ==, 0);
    fd_close(pair[1]);
}

static void test_fd_whole(void)
{
    int p[2];
    g_assert_cmpint(pipe2(p, O_CLOEXEC), ==, 0);
    ERROR_AUTO err = NULL;
    g_assert_true(fd_write_all(p[1], "abc", 3, &error_abort));
    fd_close(p[1]);
    char buf[5];
    g_assert_false(fd_read_all(p[0], buf, 5, &err));
    g_assert_cmpstr(error_message(err), ==, "unexpected end of file after 3 of 5 bytes");
    fd_close(p[0]);
}

static void test_log_items(void)
{
    unsigned mask = 0;
    ERROR_AUTO err = NULL;
    g_assert_true(log_parse_items("int,guest_errors", &mask, &err));
    g_assert_cmpuint(mask, ==, LOG_INT | LOG_GUEST_ERRORS);
    g_assert_false(log_parse_items("guest_error", &mask, &err));
    g_assert_nonnull(strstr(error_message(err), "'guest_error'"));
    g_assert_cmpuint(mask, ==, LOG_INT | LOG_GUEST_ERRORS);
}

static void test_bits(void)
{
    g_assert_cmpuint(round_up_power_of_two(0), ==, 1);
    g_assert_cmpuint(round_up_power_of_two(4096), ==, 4096);
    g_assert_cmpuint(round_up_power_of_two(4097), ==, 8192);
    g_assert_cmpuint(round_up_power_of_two(BIT64(63) + 1), ==, 0);
    g_assert_cmphex(bits_extract(UINT64_MAX, 0, 64), ==, UINT64_MAX);
    g_assert_cmphex(bits_deposit(0xffff, 4, 8, 0), ==, 0xf00f);
    uint8_t raw[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    g_assert_cmphex(ld32_le(raw + 1), ==, 0x05040302);
    g_assert_cmphex(ld16_be(raw), ==, 0x0102);
    g_assert_cmphex(ldn_le(raw, 3), ==, 0x030201);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/error/chain", test_error_chain);
    g_test_add_func("/base/error/errno", test_error_errno);
    g_test_add_func("/base/error/abort", test_error_abort);
    g_test_add_func("/base/report/sink", test_report_sink);
    g_test_add_func("/base/report/location", test_report_location);
    g_test_add_func("/base/module", test_module);
    g_test_add_func("/base/fault", test_fault);
    g_test_add_func("/base/iov", test_iov);
    g_test_add_func("/base/fd/passing", test_fd_passing);
    g_test_add_func("/base/fd/whole", test_fd_whole);
    g_test_add_func("/base/log/items", test_log_items);
    g_test_add_func("/base/bits", test_bits);
    return g_test_run();
}
