/*
 * Memory order between two CPUs: SDM volume 3 section 8.2.3. In each round both run their half from
 * a common start; forbidden outcomes are counted.
 */
#include "kernel.h"

extern const uint8_t ap_blob[], ap_blob_end[];
void ap_main(unsigned id);

#define ROUNDS 5000
#define LINE   64

/* On cache lines of their own. */
static struct {
    volatile uint64_t value;
    uint8_t rest[LINE - 8];
} x __attribute__((aligned(64))), y, start_line, done_line;
static uint8_t lines[4 * LINE] __attribute__((aligned(64)));

typedef uint64_t Half(void);
static Half *volatile other_half;
static volatile uint64_t other_result;
static volatile uint32_t ap_here;

static void pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

void ap_main(unsigned id)
{
    ap_here = 1;
    for (uint64_t seen = 0;;) {
        while (start_line.value == seen) {
            pause();
        }
        seen = start_line.value;
        other_result = other_half();
        done_line.value = seen;
    }
}

/* Both halves; this CPU's result from bit 0, the other's from bit 8. */
static uint64_t round(Half *mine, Half *other)
{
    uint64_t turn = start_line.value + 1, result;
    x.value = y.value = 0;
    other_half = other;
    __asm__ volatile("mfence" ::: "memory");
    start_line.value = turn;
    result = mine();
    while (done_line.value != turn) {
        pause();
    }
    return result | other_result << 8;
}

static void forbidden(Half *mine, Half *other, uint64_t outcome, const char *name)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        seen += round(mine, other) == outcome;
    }
    equal(seen, 0, name);
}

/* Store buffering: each stores, then loads what the other stores. */
#define STORE_BUFFER(name, here, there, fence)                     \
    static uint64_t name(void)                                     \
    {                                                              \
        uint64_t v;                                                \
        __asm__ volatile("movq $1, %1\n\t" fence "\n\tmovq %2, %0" \
                         : "=r"(v), "=m"(here.value)               \
                         : "m"(there.value)                        \
                         : "rax", "memory");                       \
        return v;                                                  \
    }
STORE_BUFFER(sb_x, x, y, "mfence")
STORE_BUFFER(sb_y, y, x, "mfence")
STORE_BUFFER(sb_lock_x, x, y, "lock orq $0, (%%rsp)")
STORE_BUFFER(sb_lock_y, y, x, "lock orq $0, (%%rsp)")

/* Message passing: the data is there when the flag is. 1 | 0 << 1: flag without data. */
static uint64_t mp_send(void)
{
    __asm__ volatile("movq $1, %0; movq $1, %1" : "=m"(x.value), "=m"(y.value)::"memory");
    return 0;
}

static uint64_t mp_receive(void)
{
    uint64_t flag, data;
    __asm__ volatile("movq %2, %0; movq %3, %1"
                     : "=&r"(flag), "=&r"(data)
                     : "m"(y.value), "m"(x.value)
                     : "memory");
    return flag | data << 1;
}

/* Load buffering: nobody reads what is only written later. */
#define LOAD_BUFFER(name, from, to)                 \
    static uint64_t name(void)                      \
    {                                               \
        uint64_t v;                                 \
        __asm__ volatile("movq %2, %0; movq $1, %1" \
                         : "=&r"(v), "=m"(to.value) \
                         : "m"(from.value)          \
                         : "memory");               \
        return v;                                   \
    }
LOAD_BUFFER(lb_x, x, y)
LOAD_BUFFER(lb_y, y, x)

/* Locked operations, on a word and across a cache line's end. */
#define ADDS 5000
static uint64_t add_word(void)
{
    for (unsigned i = 0; i < ADDS; i++) {
        __asm__ volatile("lock incq %0" : "+m"(x.value)::"memory");
    }
    return 0;
}

static uint64_t add_split(void)
{
    uint32_t *word = (uint32_t *)(lines + LINE - 2);
    for (unsigned i = 0; i < ADDS / 50; i++) {
        __asm__ volatile("lock addl $1, %0" : "+m"(*word)::"memory");
    }
    return 0;
}

static uint64_t exchange(void)
{
    uint64_t got = 0, v;
    for (unsigned i = 0; i < ADDS; i++) {
        v = 0;
        __asm__ volatile("xchgq %0, %1" : "+r"(v), "+m"(x.value)::"memory");
        got += v;
        v = 1;
        __asm__ volatile("lock xaddq %0, %1" : "+r"(v), "+m"(x.value)::"memory");
    }
    y.value += got; /* one after the other: see below */
    return 0;
}

void test_main(void)
{
    volatile uint8_t *low = (volatile uint8_t *)0x8000;
    uint32_t sum = 0;
    for (unsigned i = 0; i < (unsigned)(ap_blob_end - ap_blob); i++) {
        low[i] = ap_blob[i];
    }
    map_apic();
    apic_write(0xf0, 0x1ff);
    apic_write(0x300, 0xc4500);
    apic_write(0x300, 0xc4608);
    while (!ap_here) {
        pause();
    }
    forbidden(sb_x, sb_y, 0, "store buffering with MFENCE");
    forbidden(sb_lock_x, sb_lock_y, 0, "store buffering with a locked operation");
    forbidden(mp_send, mp_receive, 1 << 8, "message passing");
    forbidden(mp_receive, mp_send, 1, "message passing, the other way");
    forbidden(lb_x, lb_y, 1 | 1 << 8, "load buffering");
    round(add_word, add_word);
    equal(x.value, 2 * ADDS, "locked increments");
    round(add_split, add_split);
    for (unsigned i = 0; i < 4; i++) {
        sum |= (uint32_t)lines[LINE - 2 + i] << (8 * i);
    }
    equal(sum, 2 * (ADDS / 50), "locked increments across a cache line's end");
    round(exchange, mp_receive);
    equal(x.value + y.value, ADDS, "exchanges lose nothing");
    done();
}
