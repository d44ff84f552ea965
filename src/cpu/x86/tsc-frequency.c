/* How fast the host's time-stamp counter runs. SDM volume 2 (CPUID leaf 15H). */
#include "cpu/x86/tsc-frequency.h"

#include <cpuid.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/fd.h"

#define NS 1000000000ull

/* The vendor's word, where it includes the crystal's frequency. */
static uint64_t from_leaf_15(void)
{
    uint32_t a, b, c, d;
    if (__get_cpuid(0x15, &a, &b, &c, &d) && a && b && c) {
        return (uint64_t)c * b / a;
    }
    return 0;
}

/* Hypervisors that follow VMware's timing leaf give kHz. */
static uint64_t from_hypervisor(void)
{
    uint32_t a, b, c, d;
    __cpuid(1, a, b, c, d);
    if (!(c >> 31)) {
        return 0;
    }
    __cpuid(0x40000000, a, b, c, d);
    if (a < 0x40000010 || a > 0x400000ff) {
        return 0;
    }
    __cpuid(0x40000010, a, b, c, d);
    return (uint64_t)a * 1000;
}

/* The kernel's own calibration, which it offers to programs that read counters themselves:
 * perf_event_open(2), time_mult and time_shift. */
static uint64_t from_perf(void)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof(attr),
        .config = PERF_COUNT_SW_DUMMY,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    FD_AUTO fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    struct perf_event_mmap_page *page = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        return 0;
    }
    uint64_t hz = 0;
    if (page->cap_user_time && page->time_mult) {
        hz = (uint64_t)(((unsigned __int128)NS << page->time_shift) / page->time_mult);
    }
    munmap(page, size);
    return hz;
}

static uint64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

typedef struct BothClocks {
    uint64_t tsc, ns;
} BothClocks;

/* Two readings close together in both clocks; the nearest of a few tries. */
static BothClocks read_both(void)
{
    uint64_t best = UINT64_MAX;
    BothClocks c = { 0 };
    for (unsigned i = 0; i < 16; i++) {
        uint64_t before = __rdtsc(), now = monotonic_ns(), after = __rdtsc();
        if (after - before < best) {
            best = after - before;
            c = (BothClocks){ .tsc = before + best / 2, .ns = now };
        }
    }
    return c;
}

/* Good to some 20 ppm. */
#define MEASURE_NS 5000000

static uint64_t measured(void)
{
    BothClocks from = read_both();
    while (monotonic_ns() - from.ns < MEASURE_NS) {
    }
    BothClocks to = read_both();
    return (uint64_t)((unsigned __int128)(to.tsc - from.tsc) * NS / (to.ns - from.ns));
}

uint64_t x86_host_tsc_hz(void)
{
    /* The answer can't change while the process lives. */
    static uint64_t cached;
    uint64_t hz = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (!hz) {
        uint64_t (*const ways[])(void) = { from_leaf_15, from_hypervisor, from_perf, measured };
        for (unsigned i = 0; !hz; i++) {
            hz = ways[i]();
        }
        __atomic_store_n(&cached, hz, __ATOMIC_RELAXED);
    }
    return hz;
}
