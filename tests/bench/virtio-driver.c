/*
 * A virtio driver outside the virtual machine, for measuring: it programs the devices through the
 * qtest protocol, works the rings in the machine's memory, which it shares, and polls them.
 *
 *     bench-virtio-driver QTEST-SOCKET MEMORY-FILE registers|blk|net SECONDS
 *
 * Devices lie in slots 4 (blk, or the net device that sends) and 5 (the one that receives). Prints
 * one number: register reads, requests, or packets a second. It knows only the specification, so
 * that it drives any program that speaks qtest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    SLOT_FIRST = 4,
    RING_SIZE = 256,
    DEPTH = 64,          /* disk requests in flight */
    BLOCK = 4096,        /* bytes of one */
    FRAME = 64,          /* bytes of a packet */
    HEADER = 12,         /* before each frame */
    RX_ROOM = 2048,      /* bytes of a receive buffer */
    PATIENCE = 20,       /* seconds without any progress */
    RINGS_AT = 0x100000, /* guest-physical; 64 KiB for each queue */
    DATA_AT = 0x200000,
    F_EVENT_IDX = 29,
    F_VERSION_1 = 32,
};
#define BAR4_AT 0xe0000000u

static int qtest_fd;
static uint8_t *memory;
static unsigned unanswered; /* kicks whose OK was not read yet */

static void fail(const char *what)
{
    fprintf(stderr, "bench-virtio-driver: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* --- qtest --- */

static char input[4096];
static size_t input_len;

/* The next line, or NULL where there is none yet and wait is false. */
static const char *next_line(bool wait)
{
    static char line[4096];
    for (;;) {
        char *end = memchr(input, '\n', input_len);
        if (end) {
            size_t n = end - input;
            memcpy(line, input, n);
            line[n] = 0;
            input_len -= n + 1;
            memmove(input, end + 1, input_len);
            return line;
        }
        ssize_t n =
            recv(qtest_fd, input + input_len, sizeof(input) - input_len, wait ? 0 : MSG_DONTWAIT);
        if (n <= 0) {
            if (!wait && n < 0 && errno == EAGAIN) {
                return NULL;
            }
            fail("the machine hung up");
        }
        input_len += n;
    }
}

static void send_text(const char *text)
{
    if (send(qtest_fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
        fail("send");
    }
}

static uint64_t ask(const char *text)
{
    send_text(text);
    for (;;) {
        const char *line = next_line(true);
        if (!strncmp(line, "OK", 2)) {
            if (unanswered) {
                unanswered--;
                continue;
            }
            return strtoull(line + 2, NULL, 0);
        }
        if (!strncmp(line, "FAIL", 4) || !strncmp(line, "ERR", 3)) {
            errno = EPROTO;
            fail(line);
        }
    }
}

static void put(const char *how, uint64_t at, uint64_t value)
{
    char text[80];
    snprintf(text, sizeof(text), "%s 0x%llx 0x%llx\n", how, (unsigned long long)at,
             (unsigned long long)value);
    (void)ask(text);
}

static uint64_t get(const char *how, uint64_t at)
{
    char text[80];
    snprintf(text, sizeof(text), "%s 0x%llx\n", how, (unsigned long long)at);
    return ask(text);
}

static void take_answers(void)
{
    const char *line;
    while (unanswered && (line = next_line(false))) {
        unanswered -= !strncmp(line, "OK", 2);
    }
}

/* --- PCI --- */

static uint32_t config_read(unsigned slot, unsigned reg)
{
    put("outl", 0xcf8, 0x80000000u | slot << 11 | (reg & 0xfc));
    return get("inl", 0xcfc);
}

static void config_write(unsigned slot, unsigned reg, uint32_t value)
{
    put("outl", 0xcf8, 0x80000000u | slot << 11 | reg);
    put("outl", 0xcfc, value);
}

typedef struct Device {
    uint64_t common, notify;
    uint32_t notify_step;
} Device;

typedef struct Queue {
    Device *d;
    unsigned index;
    volatile uint8_t *desc, *avail, *used; /* in shared memory */
    uint16_t avail_idx, kicked, used_idx;
    uint64_t doorbell;
} Queue;

static void device_open(Device *d, unsigned slot, uint64_t bar)
{
    /* Machines are still being built while they wait for their back ends. */
    double start = now();
    while ((config_read(slot, 0) & 0xffff) != 0x1af4 && now() - start < PATIENCE) {
        usleep(1000);
    }
    config_write(slot, 0x20, bar);
    config_write(slot, 0x24, 0);
    config_write(slot, 4, 6);
    for (unsigned at = config_read(slot, 0x34) & 0xff; at;) {
        uint32_t head = config_read(slot, at);
        if ((head & 0xff) == 9 && (config_read(slot, at + 4) & 0xff) == 4) {
            uint64_t where = bar + config_read(slot, at + 8);
            if (head >> 24 == 1) {
                d->common = where;
            } else if (head >> 24 == 2) {
                d->notify = where;
                d->notify_step = config_read(slot, at + 16);
            }
        }
        at = head >> 8 & 0xff;
    }
    if (!d->common || !d->notify) {
        errno = ENODEV;
        fail("no virtio device");
    }
    put("writeb", d->common + 20, 0);
    put("writeb", d->common + 20, 3);
    put("writel", d->common + 8, 0);
    put("writel", d->common + 12, 1u << F_EVENT_IDX);
    put("writel", d->common + 8, 1);
    put("writel", d->common + 12, 1u << (F_VERSION_1 - 32));
    put("writeb", d->common + 20, 11);
}

static void store16(volatile uint8_t *at, uint16_t v)
{
    __atomic_store_n((volatile uint16_t *)at, v, __ATOMIC_RELEASE);
}

static uint16_t load16(volatile uint8_t *at)
{
    return __atomic_load_n((volatile uint16_t *)at, __ATOMIC_ACQUIRE);
}

static void queue_open(Queue *q, Device *d, unsigned index, unsigned place)
{
    uint64_t at = RINGS_AT + place * 0x10000ull;
    *q = (Queue){ .d = d, .index = index };
    q->desc = memory + at;
    q->avail = memory + at + 0x4000;
    q->used = memory + at + 0x8000;
    memset((void *)q->desc, 0, 0x10000);
    put("writew", d->common + 22, index);
    put("writew", d->common + 24, RING_SIZE);
    for (unsigned i = 0; i < 3; i++) {
        put("writel", d->common + 32 + 8 * i, at + 0x4000 * i);
        put("writel", d->common + 36 + 8 * i, 0);
    }
    q->doorbell = d->notify + get("readw", d->common + 30) * d->notify_step;
    put("writew", d->common + 28, 1);
}

static void desc_put(Queue *q, unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
                     uint16_t next)
{
    volatile uint8_t *d = q->desc + 16 * i;
    *(volatile uint64_t *)d = addr;
    *(volatile uint32_t *)(d + 8) = len;
    *(volatile uint16_t *)(d + 12) = flags;
    *(volatile uint16_t *)(d + 14) = next;
}

static void queue_offer(Queue *q, uint16_t head)
{
    *(volatile uint16_t *)(q->avail + 4 + 2 * (q->avail_idx % RING_SIZE)) = head;
    q->avail_idx++;
}

/* Show what was offered; kick where the device asks for it. The answer is read later. */
static void queue_show(Queue *q)
{
    if (q->avail_idx == q->kicked) {
        return;
    }
    store16(q->avail + 2, q->avail_idx);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint16_t event = load16(q->used + 4 + 8 * RING_SIZE);
    if ((uint16_t)(q->avail_idx - event - 1) < (uint16_t)(q->avail_idx - q->kicked)) {
        char text[80];
        snprintf(text, sizeof(text), "writew 0x%llx 0x%x\n", (unsigned long long)q->doorbell,
                 q->index);
        send_text(text);
        unanswered++;
    }
    q->kicked = q->avail_idx;
}

/* The head of the next used buffer; -1: none. */
static int queue_take(Queue *q)
{
    if (load16(q->used + 2) == q->used_idx) {
        return -1;
    }
    int head = *(volatile uint32_t *)(q->used + 4 + 8 * (q->used_idx % RING_SIZE));
    q->used_idx++;
    return head;
}

/* No interrupts: the driver polls. */
static void queue_hush(Queue *q)
{
    store16(q->avail + 4 + 2 * RING_SIZE, q->used_idx - 1);
}

static uint32_t random32(void)
{
    static uint64_t x = 0x9e3779b97f4a7c15;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x >> 32;
}

/* --- what is measured --- */

static void check_progress(double t, double *last, bool any)
{
    if (any) {
        *last = t;
    } else if (t - *last > PATIENCE) {
        errno = ETIMEDOUT;
        fail("nothing comes back");
    }
}

static double run_registers(double seconds)
{
    Device d = { 0 };
    device_open(&d, SLOT_FIRST, BAR4_AT);
    double start = now();
    uint64_t n = 0;
    for (; now() - start < seconds; n++) {
        (void)get("readb", d.common + 20);
    }
    return n / (now() - start);
}

static void blk_aim(unsigned slot, uint64_t blocks)
{
    uint64_t sector = random32() % blocks * (BLOCK / 512);
    memcpy(memory + DATA_AT + slot * 32 + 8, &sector, sizeof(sector));
}

static double run_blk(double seconds)
{
    Device d = { 0 };
    Queue q;
    device_open(&d, SLOT_FIRST, BAR4_AT);
    queue_open(&q, &d, 0, 0);
    put("writeb", d.common + 20, 15);
    /* The device configuration begins with the capacity; it lies where common does, 0x2000 on. */
    uint64_t blocks = get("readl", d.common + 0x2000) / (BLOCK / 512);
    for (unsigned i = 0; i < DEPTH; i++) {
        memset(memory + DATA_AT + i * 32, 0, 32);
        desc_put(&q, 3 * i, DATA_AT + i * 32, 16, 1, 3 * i + 1);
        desc_put(&q, 3 * i + 1, DATA_AT + 0x10000 + i * BLOCK, BLOCK, 3, 3 * i + 2);
        desc_put(&q, 3 * i + 2, DATA_AT + i * 32 + 16, 1, 2, 0);
        blk_aim(i, blocks);
        queue_offer(&q, 3 * i);
    }
    queue_hush(&q);
    queue_show(&q);
    uint64_t n = 0;
    double start = now(), last = start, t;
    while ((t = now()) - start < seconds) {
        int head;
        bool any = false;
        while ((head = queue_take(&q)) >= 0) {
            if (memory[DATA_AT + head / 3 * 32 + 16]) {
                errno = EIO;
                fail("a request failed");
            }
            blk_aim(head / 3, blocks);
            queue_offer(&q, head);
            any = true;
            n++;
        }
        queue_hush(&q);
        queue_show(&q);
        take_answers();
        check_progress(t, &last, any);
    }
    return n / (t - start);
}

static double run_net(double seconds)
{
    Device a = { 0 }, b = { 0 };
    Queue tx, rx, idle[2]; /* back ends begin when a pair is there */
    device_open(&a, SLOT_FIRST, BAR4_AT);
    device_open(&b, SLOT_FIRST + 1, BAR4_AT + 0x1000000);
    queue_open(&tx, &a, 1, 0);
    queue_open(&rx, &b, 0, 1);
    queue_open(&idle[0], &a, 0, 2);
    queue_open(&idle[1], &b, 1, 3);
    put("writeb", a.common + 20, 15);
    put("writeb", b.common + 20, 15);
    uint8_t *frame = memory + DATA_AT;
    memset(frame, 0, HEADER + FRAME);
    memset(frame + HEADER, 0xff, 6); /* to everybody */
    for (unsigned i = 0; i < RING_SIZE; i++) {
        desc_put(&rx, i, DATA_AT + 0x10000 + i * RX_ROOM, RX_ROOM, 2, 0);
        queue_offer(&rx, i);
        desc_put(&tx, i, DATA_AT, HEADER + FRAME, 0, 0);
    }
    queue_hush(&rx);
    queue_show(&rx);
    for (unsigned i = 0; i < RING_SIZE; i++) {
        queue_offer(&tx, i);
    }
    queue_hush(&tx);
    queue_show(&tx);
    uint64_t n = 0;
    double start = now(), last = start, t;
    while ((t = now()) - start < seconds) {
        int head;
        bool any = false;
        while ((head = queue_take(&rx)) >= 0) {
            queue_offer(&rx, head);
            any = true;
            n++;
        }
        queue_hush(&rx);
        queue_show(&rx);
        while ((head = queue_take(&tx)) >= 0) {
            queue_offer(&tx, head);
        }
        queue_hush(&tx);
        queue_show(&tx);
        take_answers();
        check_progress(t, &last, any);
    }
    return n / (t - start);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        double (*run)(double seconds);
    } modes[] = { { "registers", run_registers }, { "blk", run_blk }, { "net", run_net } };
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    if (argc != 5) {
        fprintf(stderr, "usage: bench-virtio-driver SOCKET MEMORY registers|blk|net SECONDS\n");
        return 2;
    }
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", argv[1]);
    qtest_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (qtest_fd < 0 || connect(qtest_fd, (struct sockaddr *)&un, sizeof(un))) {
        fail(argv[1]);
    }
    int fd = open(argv[2], O_RDWR | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        fail(argv[2]);
    }
    memory = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        fail("mmap");
    }
    for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        if (!strcmp(argv[3], modes[i].name)) {
            printf("%.1f\n", modes[i].run(atof(argv[4])));
            return 0;
        }
    }
    fprintf(stderr, "bench-virtio-driver: what is '%s'?\n", argv[3]);
    return 2;
}
