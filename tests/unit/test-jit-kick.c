/*
 * Kicks: a vCPU in translated code notices each of them, and goes on afterwards, whatever the
 * stores of the kicker and of the kicked may have interleaved to.
 */
#define _GNU_SOURCE 1
#include <glib.h>
#include <sched.h>
#include <unistd.h>

#include "cpu/x86/exception.h"
#include "jit-harness.h"

#define PATIENCE_S  20 /* a loop that stands still is ended by SIGALRM */
#define LOOP_TURNS  1000
#define KICK_ROUNDS 2000
#define KICK_S      1 /* or as many as fit: each may cost turns of the host's scheduler */

/* 1: incq (DATA); dec %ecx; jnz 1b; ud2 */
static const uint8_t loop_code[] = { 0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x02,
                                     0x10, 0xff, 0xc9, 0x75, 0xf4, 0x0f, 0x0b };
/* The same with an indirect jump, to the address in RDX. */
static const uint8_t indirect_code[] = { 0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x02, 0x10,
                                         0xff, 0xc9, 0x74, 0x02, 0xff, 0xe2, 0x0f, 0x0b };

static uint64_t *turns(void)
{
    return (uint64_t *)DATA;
}

static void run(JitMachine *m, uint64_t code, uint64_t n)
{
    X86State *s = &m->cpu->state;
    s->gpr[X86_RCX] = n;
    s->gpr[X86_RDX] = code;
    s->rip = code;
    s->rflags = 2;
    s->exception_pending = s->exception_delivering = -1;
    jit_run(m->j);
    g_assert_cmpint(s->exception_pending, ==, X86_EXC_UD);
    g_assert_cmpuint(s->gpr[X86_RCX], ==, 0);
}

static JitMachine *start(void)
{
    JitMachine *m = jit_machine_new();
    memcpy((void *)CODE, loop_code, sizeof(loop_code));
    memcpy((void *)(CODE + 256), indirect_code, sizeof(indirect_code));
    alarm(PATIENCE_S);
    return m;
}

static void stop(JitMachine *m)
{
    alarm(0);
    jit_machine_free(m);
}

/* The kick is taken between the kicker's first store and its others: those come too late. */
static void test_taken_half_way(void)
{
    JitMachine *m = start();
    for (unsigned k = 0; k < 3; k++) {
        jit_kick(m->j);
        __atomic_store_n(&m->j->kick, 0, __ATOMIC_SEQ_CST);
        run(m, CODE + 256 * (k & 1), LOOP_TURNS);
        g_assert_cmpuint(*turns(), ==, (k + 1) * LOOP_TURNS);
    }
    stop(m);
}

typedef struct Kicker {
    JitMachine *m;
    bool stalled;
    bool done; /* atomic */
} Kicker;

/* Kick once, then see the loop go on before the next. */
static void *kicker_thread(void *opaque)
{
    Kicker *k = opaque;
    gint64 end = g_get_monotonic_time() + KICK_S * G_USEC_PER_SEC;
    for (unsigned n = 0; n < KICK_ROUNDS && !k->stalled && (n == 0 || g_get_monotonic_time() < end);
         n++) {
        uint64_t before = __atomic_load_n(turns(), __ATOMIC_RELAXED);
        gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        jit_kick(k->m->j);
        jit_kick(k->m->j);
        while (__atomic_load_n(turns(), __ATOMIC_RELAXED) < before + 2 * LOOP_TURNS &&
               !k->stalled) {
            k->stalled = g_get_monotonic_time() > deadline;
            sched_yield();
        }
    }
    __atomic_store_n(&k->done, true, __ATOMIC_SEQ_CST);
    return NULL;
}

static void test_from_another_thread(void)
{
    JitMachine *m = start();
    Kicker k = { .m = m };
    GThread *thread = g_thread_new("kicker", kicker_thread, &k);
    while (!__atomic_load_n(&k.done, __ATOMIC_SEQ_CST)) {
        run(m, CODE, LOOP_TURNS);
        run(m, CODE + 256, LOOP_TURNS);
    }
    g_thread_join(thread);
    g_assert_false(k.stalled);
    g_assert_cmpuint(m->j->counters.kicks, >, 0);
    stop(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/jit/kick/taken-half-way", test_taken_half_way);
    g_test_add_func("/jit/kick/from-another-thread", test_from_another_thread);
    return g_test_run();
}
