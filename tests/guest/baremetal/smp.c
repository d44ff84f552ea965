/* Several processors: start-up, IPIs, atomics, stores seen in order, TLB shoot-down, shared code.
 */
#include "kernel.h"

extern const uint8_t ap_blob[], ap_blob_end[];
extern volatile uint32_t ap_started;
void ap_main(unsigned id);

#define CPUS  4
#define SPARE 0x800000ull

/* What the others are to do; each answers when it has. */
typedef void Job(unsigned id);
static Job *volatile job;
static volatile uint32_t round, answers;
static volatile uint32_t apic_ids[CPUS + 1];

static void pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

/* False if it takes too long. */
static bool wait_until(volatile uint32_t *word, uint32_t value)
{
    uint64_t end = rdtsc() + 20000000000ull;
    while (*word < value) {
        if (rdtsc() > end) {
            return false;
        }
        pause();
    }
    return true;
}

void ap_main(unsigned id)
{
    apic_ids[id] = apic_read(0x20) >> 24;
    apic_write(0xf0, 0x1ff);
    __asm__ volatile("lock incl %0" : "+m"(answers)::"memory");
    for (uint32_t seen = 0;;) {
        while (round == seen) {
            pause();
        }
        seen = round;
        job(id);
        __asm__ volatile("lock incl %0" : "+m"(answers)::"memory");
    }
}

/* Have all run fn, this CPU (id 0) too. */
static bool all(Job *fn)
{
    job = fn;
    answers = 0;
    __asm__ volatile("" ::: "memory");
    round++;
    fn(0);
    return wait_until(&answers, CPUS - 1);
}

static bool start(void)
{
    volatile uint8_t *low = (volatile uint8_t *)0x8000;
    for (unsigned i = 0; i < (unsigned)(ap_blob_end - ap_blob); i++) {
        low[i] = ap_blob[i];
    }
    apic_write(0x300, 0xc4500);
    apic_write(0x300, 0xc4608);
    bool good = wait_until(&answers, CPUS - 1);
    equal(ap_started, CPUS - 1, "all others start");
    unsigned mask = 1;
    for (unsigned i = 1; i < CPUS; i++) {
        mask |= 1u << apic_ids[i];
    }
    equal(mask, (1u << CPUS) - 1, "... with ids of their own");
    apic_write(0x300, 0xc4608);
    for (unsigned i = 0; i < 1000; i++) {
        pause();
    }
    equal(ap_started, CPUS - 1, "a second SIPI does nothing");
    return good;
}

/* --- Atomics --- */

static volatile uint32_t counter, plain_lock, guarded;
static volatile uint64_t wide[2] __attribute__((aligned(16)));
#define TURNS 20000
/* Meetings take a turn of the host's scheduler each where CPUs are more than it has. */
#define FENCED 200

static void add(unsigned id)
{
    for (unsigned i = 0; i < TURNS; i++) {
        __asm__ volatile("lock incl %0" : "+m"(counter)::"memory");
    }
}

static void add_guarded(unsigned id)
{
    for (unsigned i = 0; i < TURNS / 10; i++) {
        uint32_t one = 1;
        do {
            one = 1;
            __asm__ volatile("xchgl %0, %1; pause" : "+r"(one), "+m"(plain_lock)::"memory");
        } while (one);
        guarded = guarded + 1;
        plain_lock = 0;
    }
}

static void add_wide(unsigned id)
{
    for (unsigned i = 0; i < TURNS / 10; i++) {
        uint64_t low = wide[0], high = wide[1];
        uint8_t done_;
        do {
            __asm__ volatile("lock cmpxchg16b %1; sete %0"
                             : "=q"(done_), "+m"(*(unsigned __int128 *)wide), "+a"(low), "+d"(high)
                             : "b"(low + 1), "c"(high + 2)
                             : "memory");
        } while (!done_);
    }
}

static void atomics(void)
{
    ok(all(add), "LOCK INC by all");
    equal(counter, CPUS * TURNS, "... loses nothing");
    ok(all(add_guarded), "a spin lock by XCHG");
    equal(guarded, CPUS * (TURNS / 10), "... guards");
    ok(all(add_wide), "CMPXCHG16B by all");
    equal(wide[0], CPUS * (TURNS / 10), "... low half");
    equal(wide[1], 2 * CPUS * (TURNS / 10), "... high half");
}

/* --- Memory order --- */

static volatile uint64_t x, y, box_x[TURNS], box_y[TURNS];
static volatile uint32_t turn_ready;

/* Message passing: who sees y sees x. */
static volatile uint32_t bad_order;

static void message(unsigned id)
{
    if (id == 0) {
        for (uint64_t i = 1; i <= TURNS; i++) {
            x = i;
            y = i;
        }
    } else {
        while (y < TURNS) {
            uint64_t b = y, a = x;
            if (a < b) {
                bad_order++;
            }
        }
    }
}

/* Store buffering with fences: not both may read zero. */
static void fenced(unsigned id)
{
    for (unsigned i = 0; id < 2 && i < FENCED; i++) {
        /* meet */
        __asm__ volatile("lock incl %0" : "+m"(turn_ready)::"memory");
        while (turn_ready < 2 * (i + 1)) {
            pause();
        }
        if (id == 0) {
            box_x[i] = 1;
            __asm__ volatile("mfence" ::: "memory");
            wide[0] = box_y[i];
            box_x[i] = 1 | wide[0] << 8;
        } else {
            box_y[i] = 1;
            __asm__ volatile("mfence" ::: "memory");
            wide[1] = box_x[i] & 0xff;
            box_y[i] = 1 | wide[1] << 8;
        }
    }
}

static void memory_order(void)
{
    x = y = 0;
    ok(all(message), "message passing");
    equal(bad_order, 0, "... stores are seen in order");
    ok(all(fenced), "store buffering with fences");
    unsigned bad = 0;
    for (unsigned i = 0; i < FENCED; i++) {
        bad += !(box_x[i] >> 8 & 1) && !(box_y[i] >> 8 & 1);
    }
    equal(bad, 0, "... never both in the past");
}

/* --- IPIs and TLB --- */

static volatile uint32_t ipis, stop;
static volatile uint64_t shared_page = SPARE + 0x1000;

static void on_ipi(Frame *f)
{
    invlpg(shared_page);
    __asm__ volatile("lock incl %0" : "+m"(ipis)::"memory");
    apic_write(0xb0, 0);
}

static volatile uint64_t read_after[CPUS + 1];

/* Read the page all the time, interrupts open; say what was read last. */
static void reader(unsigned id)
{
    if (id == 0) {
        bool good = true;
        for (unsigned i = 0; i < 40; i++) {
            ipis = 0;
            *pte(shared_page) = (SPARE + 0x2000 + (i & 1) * 0x1000) | 3;
            invlpg(shared_page);
            apic_write(0x300, 0xc4070);
            good &= wait_until(&ipis, CPUS - 1);
        }
        stop = 1;
        ok(good, "40 shoot-downs are answered by all");
        return;
    }
    __asm__ volatile("sti");
    while (!stop) {
        read_after[id] = *(volatile uint64_t *)shared_page;
    }
    __asm__ volatile("cli");
    read_after[id] = *(volatile uint64_t *)shared_page;
}

static void shoot_down(void)
{
    set_handler(0x70, on_ipi);
    *(volatile uint64_t *)(SPARE + 0x2000) = 2;
    *(volatile uint64_t *)(SPARE + 0x3000) = 3;
    ok(all(reader), "shoot-down while others read");
    unsigned good = 0;
    for (unsigned i = 1; i < CPUS; i++) {
        good += read_after[i] == 3;
    }
    equal(good, CPUS - 1, "... all read the last frame");
}

/* Sleep in HLT until an IPI comes. */
static volatile uint32_t asleep, woken;

static void on_wake(Frame *f)
{
    apic_write(0xb0, 0);
}

static void sleeper(unsigned id)
{
    if (id == 0) {
        wait_until(&asleep, CPUS - 1);
        for (unsigned i = 0; i < 100000; i++) {
            pause();
        }
        apic_write(0x300, 0xc4071);
        return;
    }
    __asm__ volatile("lock incl %0" : "+m"(asleep)::"memory");
    __asm__ volatile("sti; hlt; cli");
    __asm__ volatile("lock incl %0" : "+m"(woken)::"memory");
}

static void halting(void)
{
    set_handler(0x71, on_wake);
    ok(all(sleeper), "an IPI wakes from HLT");
    equal(woken, CPUS - 1, "... all of them");
}

/* --- Code that another CPU writes, in a page with other code that stays --- */

#define VERSIONS 200

static void caller(unsigned id)
{
    uint64_t (*volatile fn)(void) = (uint64_t(*)(void))(SPARE + 0x5000);
    uint64_t (*volatile other)(void) = (uint64_t(*)(void))(SPARE + 0x5100);
    if (id == 0) {
        for (uint32_t i = 1; i <= VERSIONS; i++) {
            *(volatile uint32_t *)(SPARE + 0x5001) = i;
            for (unsigned j = 0; j < 50; j++) {
                pause();
            }
        }
        return;
    }
    /* values only grow, and in the end the last one is seen */
    uint64_t last = 0;
    uint64_t end = rdtsc() + 20000000000ull;
    while (last < VERSIONS && rdtsc() < end) {
        uint64_t v = fn();
        if (v < last || other() != 0) {
            bad_order++;
        }
        last = v;
    }
    read_after[id] = last;
}

static void cross_modified_code(void)
{
    static const uint8_t code[] = { 0xb8, 0, 0, 0, 0, 0xc3 };
    for (unsigned i = 0; i < sizeof(code); i++) {
        *(volatile uint8_t *)(SPARE + 0x5000 + i) = code[i];
        *(volatile uint8_t *)(SPARE + 0x5100 + i) = code[i];
    }
    bad_order = 0;
    ok(all(caller), "code that another CPU writes");
    equal(bad_order, 0, "... never goes back");
    unsigned good = 0;
    for (unsigned i = 1; i < CPUS; i++) {
        good += read_after[i] == VERSIONS;
    }
    equal(good, CPUS - 1, "... all see the last version");
}

void test_main(void)
{
    map_apic();
    apic_write(0xf0, 0x1ff);
    if (start()) {
        atomics();
        memory_order();
        shoot_down();
        halting();
        cross_modified_code();
    }
    done();
}
