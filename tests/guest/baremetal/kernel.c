/* See kernel.h. */
#include "kernel.h"

volatile Trap trap;
volatile unsigned irq_count[256];
bool apic_x2;
uint8_t user_stack[4096] USER_DATA __attribute__((aligned(4096))) = { 0 };

static Handler *handlers[256];
static unsigned tests, failures;
static bool catching;
static void *way_back[5];

/* --- Results --- */

void print(const char *text)
{
    while (*text) {
        outb(0xe9, (uint8_t)*text++);
    }
}

void print_hex(uint64_t value)
{
    char text[19] = "0x";
    for (unsigned i = 0; i < 16; i++) {
        text[2 + i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    }
    text[18] = 0;
    print(text);
}

static void print_number(unsigned n)
{
    char text[12];
    char *p = text + sizeof(text) - 1;
    *p = 0;
    do {
        *--p = (char)('0' + n % 10);
    } while (n /= 10);
    print(p);
}

void ok(bool good, const char *name)
{
    failures += !good;
    print(good ? "ok " : "not ok ");
    print_number(++tests);
    print(" - ");
    print(name);
    print("\n");
}

void equal(uint64_t got, uint64_t want, const char *name)
{
    ok(got == want, name);
    if (got != want) {
        print("# got ");
        print_hex(got);
        print(", wanted ");
        print_hex(want);
        print("\n");
    }
}

void done(void)
{
    print("1..");
    print_number(tests);
    print("\n");
    exit_guest(failures ? 1 : 0);
}

void exit_guest(int status)
{
    outb(0xf4, (uint8_t)status);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

/* --- Traps --- */

void handle_event(Frame *f); /* start.S */

static void eoi(void)
{
    if (apic_x2) {
        wrmsr(0x80b, 0);
    } else {
        apic_write(0xb0, 0);
    }
}

void handle_event(Frame *f)
{
    if (handlers[f->vector]) {
        handlers[f->vector](f);
        return;
    }
    if (f->vector >= 32 && f->vector != 0x80) {
        irq_count[f->vector]++;
        eoi();
        return;
    }
    trap = (Trap){ .vector = f->vector,
                   .error = f->error,
                   .rip = f->rip,
                   .cs = f->cs,
                   .rflags = f->rflags,
                   .rsp = f->rsp,
                   .cr2 = READ_CR(2) };
    if (catching) {
        catching = false;
        __builtin_longjmp(way_back, 1);
    }
    print("Bail out! trap ");
    print_number((unsigned)f->vector);
    print(" error ");
    print_hex(f->error);
    print(" at ");
    print_hex(f->rip);
    print(" cr2 ");
    print_hex(READ_CR(2));
    print("\n");
    exit_guest(2);
}

uint64_t __attribute__((noinline)) attempt(void (*fn)(uint64_t), uint64_t arg)
{
    trap.vector = NO_TRAP;
    if (!__builtin_setjmp(way_back)) {
        catching = true;
        fn(arg);
        catching = false;
    }
    return trap.vector;
}

void __attribute__((noreturn)) enter_user(uint64_t rip, uint64_t rsp, uint64_t arg, uint64_t flags);

static void (*user_fn)(uint64_t);
static uint64_t user_flags;

static void enter(uint64_t arg)
{
    enter_user((uint64_t)user_fn, (uint64_t)(user_stack + sizeof(user_stack) - 8), arg, user_flags);
}

uint64_t run_user(void (*fn)(uint64_t), uint64_t arg, uint64_t flags)
{
    user_fn = fn;
    user_flags = flags | 2;
    return attempt(enter, arg);
}

void set_handler(unsigned vector, Handler *handler)
{
    handlers[vector] = handler;
}

/* --- APIC --- */

static uint64_t apic_pd[512] __attribute__((aligned(4096)));

void map_apic(void)
{
    pdpt[3] = (uint64_t)apic_pd + 3;
    apic_pd[0xfee00000u >> 21 & 511] = 0xfee00000u + 0x80 + 0x10 + 3;
}
