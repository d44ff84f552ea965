/* What the test kernels share: results as TAP on port 0xe9, traps that come back, user mode. */
#ifndef TESTS_GUEST_BAREMETAL_KERNEL_H
#define TESTS_GUEST_BAREMETAL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USER_TEXT __attribute__((section(".user_text"), noinline))
#define USER_DATA __attribute__((section(".user_data")))

/* --- Results --- */

void print(const char *text);
void print_hex(uint64_t value);
/* One TAP line. */
void ok(bool good, const char *name);
/* ok() that says what was found where it differs. */
void equal(uint64_t got, uint64_t want, const char *name);
void done(void); /* the plan */
void __attribute__((noreturn)) exit_guest(int status);
void test_main(void); /* each kernel's own */

/* --- Traps --- */

typedef struct Frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
} Frame;

#define NO_TRAP 0xffff

/* The last trap that attempt() or run_user() caught. */
typedef struct Trap {
    uint64_t vector, error, rip, cs, rflags, rsp, cr2;
} Trap;
extern volatile Trap trap;

/* Run fn; a trap ends it. Returns the vector, or NO_TRAP. */
uint64_t attempt(void (*fn)(uint64_t), uint64_t arg);
/* In ring 3, on the user stack; fn is USER_TEXT and ends with leave_user() or a trap. */
uint64_t run_user(void (*fn)(uint64_t), uint64_t arg, uint64_t flags);
#define leave_user() __asm__ volatile("int $0x80")
extern uint8_t user_stack[4096];

/* A handler that takes a vector instead; returns to where it came from. NULL: none. */
typedef void Handler(Frame *f);
void set_handler(unsigned vector, Handler *handler);
extern volatile unsigned irq_count[256]; /* of vectors from 32 without a handler */

/* --- The machine --- */

extern uint64_t pml4[512], pdpt[512], pd[512], pt[8 * 512];
extern uint64_t gdt[], idt[];
extern uint8_t tss[], stack_top[], ring0_top[], ist1_top[];

#define READ_CR(n)                                         \
    ({                                                     \
        uint64_t v_;                                       \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_)); \
        v_;                                                \
    })
#define WRITE_CR(n, v) __asm__ volatile("mov %0, %%cr" #n ::"r"((uint64_t)(v)) : "memory")
#define READ_DR(n)                                         \
    ({                                                     \
        uint64_t v_;                                       \
        __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v_)); \
        v_;                                                \
    })
#define WRITE_DR(n, v) __asm__ volatile("mov %0, %%dr" #n ::"r"((uint64_t)(v)) : "memory")

static inline uint64_t rdmsr(uint32_t index)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return low | (uint64_t)high << 32;
}

static inline void wrmsr(uint32_t index, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(index)
                     : "memory");
}

static inline void outb(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void invlpg(uint64_t address)
{
    __asm__ volatile("invlpg (%0)" ::"r"(address) : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return low | (uint64_t)high << 32;
}

static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
                     : "a"(leaf), "c"(sub));
}

/* The entry that maps an address in the first 16 MiB. */
static inline volatile uint64_t *pte(uint64_t address)
{
    return &pt[address >> 12];
}

/* --- Local APIC, as memory --- */

#define APIC_BASE 0xfee00000u
void map_apic(void); /* at its address */

static inline uint32_t apic_read(unsigned reg)
{
    return *(volatile uint32_t *)(uint64_t)(APIC_BASE + reg);
}

static inline void apic_write(unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(uint64_t)(APIC_BASE + reg) = value;
}

extern bool apic_x2; /* EOI by MSR */

#endif
