/* Every mode there is, one after the other (modes-blob.S), and what 32-bit code finds in ring 3. */
#include "kernel.h"

#define RESULT 0x6000

extern const uint8_t modes_blob[], modes_blob_end[];
void run_modes(void);

static uint32_t result32(unsigned offset)
{
    return *(volatile uint32_t *)(uint64_t)(RESULT + offset);
}

static uint16_t result16(unsigned offset)
{
    return *(volatile uint16_t *)(uint64_t)(RESULT + offset);
}

static void tour(void)
{
    volatile uint8_t *low = (volatile uint8_t *)0x7000;
    for (unsigned i = 0; i < (unsigned)(modes_blob_end - modes_blob); i++) {
        low[i] = modes_blob[i];
    }
    for (unsigned i = 0; i < 0x100; i++) {
        *(volatile uint8_t *)(uint64_t)(RESULT + i) = 0;
    }
    gdt[11] = 0x0000890058000067; /* 58: a 32-bit TSS at 0x5800 */
    run_modes();
    equal(result32(0), 6, "compatibility mode: INC EAX");
    equal(result32(4), 0x12345678, "compatibility mode: PUSH and POP of 32 bits");
    equal(result32(8), 0x9000, "compatibility mode: the stack is even");
    equal(result32(12), 0, "out of long mode: LMA and LME clear");
    equal(result32(16), 0, "32-bit protected mode: an interrupt and back");
    equal(result16(0x20), 0xbeef, "virtual-8086 mode: a store through DS");
    equal(result16(0x22), 0x4711, "virtual-8086 mode: the stack");
    equal(result16(0x24), 0x0ffe, "virtual-8086 mode: SP");
    equal(result16(0x26), 0x700, "virtual-8086 mode: CS");
    equal(result32(0x28), 0, "INT n with IOPL 0: #GP(0)");
    equal(low[result32(0x2c)], 0xcd, "... at the instruction");
    equal(result32(0x30), 0x20000, "... VM in the frame");
    equal(result16(0x34), 0, "... DS is null");
    equal(result32(0x38) & 0x20000, 0, "... VM clear in the handler");
    equal(result16(0x40), 0x1616, "16-bit protected mode: the stack");
    equal(result16(0x42), 0, "16-bit protected mode: operands of 16 bits");
    equal(result16(0x44), 0x700, "real mode: CS");
    equal(result16(0x46), 0x4040, "real mode: an interrupt");
    equal(result16(0x48), 0x9000, "... and back");
    equal(result32(0x50), 0xaaaaaaaa, "real mode: REP STOSB");
    equal(result32(0x54), 0x0000aaaa, "... and its end");
    equal(result16(0x58), 0x11, "real mode: near and far calls");
    equal(result32(0x5c), 0x89abcdef, "real mode: 32-bit operands and addresses");
    equal(result16(0x60), 0x7777, "real mode: FS");
}

/* --- 32-bit code in ring 3, entered and left by each way --- */

/* mov $0x11223344, %eax; int $0x80 */
static const uint8_t code32[] = { 0xb8, 0x44, 0x33, 0x22, 0x11, 0xcd, 0x80 };
/* dec %eax (REX.W in 64-bit code); nop; int $0x80 */
static const uint8_t dec32[] = { 0x48, 0x90, 0xcd, 0x80 };
static uint8_t user_code[64] USER_DATA = { 0 };
static void enter_compat(uint64_t rip)
{
    __asm__ volatile(
        "pushq $0x23; pushq %1; pushq $0x2; pushq $0x1b; pushq %0; mov $7, %%eax; iretq" ::"r"(rip),
        "r"((uint64_t)(user_stack + 4096))
        : "rax");
}

static void sysret32(uint64_t rip)
{
    __asm__ volatile("mov %0, %%rcx; mov $2, %%r11d; mov $9, %%eax; sysretl" ::"r"(rip)
                     : "rax", "rcx", "r11");
}

static void copy_code(const uint8_t *code, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        user_code[i] = code[i];
    }
}

static uint64_t trap_cs_of(void (*how)(uint64_t))
{
    attempt(how, (uint64_t)user_code);
    return trap.vector == 0x80 ? trap.cs : 0;
}

static void compat_user(void)
{
    copy_code(code32, sizeof(code32));
    equal(trap_cs_of(enter_compat), 0x1b, "32-bit ring 3 by IRET, back by INT");
    copy_code(dec32, sizeof(dec32));
    equal(trap_cs_of(enter_compat), 0x1b, "32-bit decoding in ring 3");
    equal(trap.rip, (uint64_t)user_code + 4, "... of four bytes");
    wrmsr(0xc0000081, 0x0018000800000000ull); /* STAR: 08 for SYSCALL, 18 for SYSRET */
    equal(trap_cs_of(sysret32), 0x1b, "32-bit ring 3 by SYSRET");
}

/* --- SYSCALL and SYSRET in 64-bit mode --- */

static volatile uint64_t syscalls, syscall_rcx, syscall_r11;

void syscall_target(void);
__asm__(".text\n"
        ".globl syscall_target\n"
        "syscall_target:\n"
        "  incq syscalls\n"
        "  movq %rcx, syscall_rcx\n"
        "  movq %r11, syscall_r11\n"
        "  sysretq\n");

static USER_TEXT void user_syscall(uint64_t arg)
{
    __asm__ volatile("syscall; syscall" ::: "rcx", "r11", "memory");
    leave_user();
}

static void system_calls(void)
{
    wrmsr(0xc0000081, 0x001b000800000000ull);
    wrmsr(0xc0000082, (uint64_t)syscall_target);
    wrmsr(0xc0000084, 0x200);
    equal(run_user(user_syscall, 0, 0x202), 0x80, "SYSCALL and SYSRET");
    equal(syscalls, 2, "... twice");
    equal(trap.cs, 0x2b, "... back in 64-bit ring 3");
    equal(syscall_r11 & 0x200, 0x200, "... R11 has the flags");
    equal(syscall_rcx > 0x100000 && syscall_rcx < 0x800000, true, "... RCX the return address");
    wrmsr(0xc0000080, rdmsr(0xc0000080) & ~1ull);
    equal(run_user(user_syscall, 0, 2), 6, "SYSCALL without EFER.SCE is #UD");
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
}

static void segment_bases(void)
{
    static volatile uint64_t words[4] = { 1, 2, 3, 4 };
    uint64_t v;
    wrmsr(0xc0000100, (uint64_t)&words[1]);
    __asm__ volatile("mov %%fs:0, %0" : "=r"(v));
    equal(v, 2, "FS base by MSR");
    wrmsr(0xc0000101, (uint64_t)&words[2]);
    wrmsr(0xc0000102, (uint64_t)&words[3]);
    __asm__ volatile("mov %%gs:0, %0" : "=r"(v));
    equal(v, 3, "GS base by MSR");
    __asm__ volatile("swapgs; mov %%gs:0, %0; swapgs" : "=r"(v));
    equal(v, 4, "SWAPGS");
    WRITE_CR(4, READ_CR(4) | 0x10000);
    __asm__ volatile("wrfsbase %1; mov %%fs:8, %0" : "=r"(v) : "r"((uint64_t)&words[0]));
    equal(v, 2, "WRFSBASE");
    __asm__ volatile("rdgsbase %0" : "=r"(v));
    equal(v, (uint64_t)&words[2], "RDGSBASE");
}

void test_main(void)
{
    tour();
    compat_user();
    system_calls();
    segment_bases();
    done();
}
