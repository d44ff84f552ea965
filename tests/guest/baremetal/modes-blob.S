/*
 * A way through all modes and back: compatibility mode, 32-bit protected mode without paging,
 * virtual-8086 mode, 16-bit protected mode, real mode. The code is copied to 0x7000, so that real
 * mode reaches it; what it finds goes to 0x6000.
 */
#define BLOB    0x7000
#define RESULT  0x6000
#define IDT32   0x5000
#define TSS32   0x5800
#define LOW(x)  (x - modes_blob + BLOB)

        .text
        .code64
        .globl run_modes
run_modes:
        pushq %rbx
        pushq %rbp
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        movq %rsp, saved_rsp
        pushq $0x30
        pushq $LOW(compat)
        lretq

        .globl modes_blob, modes_blob_end
modes_blob:
        .code32
compat:
        movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $0x9000, %esp
        movl $5, %eax
        .byte 0x40                      /* INC EAX here, a REX prefix in 64-bit mode */
        movl %eax, RESULT + 0
        pushl $0x12345678
        popl RESULT + 4
        movl %esp, RESULT + 8

        /* out of long mode */
        movl %cr0, %eax
        andl $0x7fffffff, %eax
        movl %eax, %cr0
        movl $0xc0000080, %ecx
        rdmsr
        andl $~0x100, %eax
        wrmsr
        rdmsr
        andl $0x500, %eax
        movl %eax, RESULT + 12

        /* an IDT with #GP and INT 0x30, a TSS with a stack */
        movl $(0x00300000 + LOW(v86_fault)), IDT32 + 13 * 8
        movl $0x8e00, IDT32 + 13 * 8 + 4
        movl $(0x00300000 + LOW(int30)), IDT32 + 0x30 * 8
        movl $0x8e00, IDT32 + 0x30 * 8 + 4
        lidt LOW(idt32_pointer)
        movl $0x9800, TSS32 + 4
        movl $0x10, TSS32 + 8
        movl $0x68, TSS32 + 0x64
        movw $0x68, TSS32 + 0x66
        movw $0x58, %ax
        ltr %ax
        int $0x30
behind_int30:
        jmp 1f
int30:
        movl (%esp), %eax               /* where it came from */
        subl $LOW(behind_int30), %eax
        movl %eax, RESULT + 16
        iretl
1:
        /* to virtual-8086 mode: GS FS DS ES SS ESP EFLAGS CS EIP */
        pushl $0x0
        pushl $0x0
        pushl $0x600
        pushl $0x600
        pushl $0x800
        pushl $0x0ffe
        pushl $0x20202
        pushl $BLOB >> 4
        pushl $v86_code - modes_blob
        iretl

        .code16
v86_code:
        movw $0xbeef, 0x20              /* DS is 0x600: RESULT + 0x20 */
        pushw $0x4711
        popw 0x22
        movw %sp, 0x24
        movw %cs, 0x26
v86_int:
        int $0x21                       /* IOPL 0: #GP */

        .code32
v86_fault:
        movw %ds, %cx
        movw $0x10, %dx
        movw %dx, %ds
        movw %cx, RESULT + 0x34         /* null on the way in */
        movl (%esp), %eax               /* error code */
        movl %eax, RESULT + 0x28
        movl 4(%esp), %eax
        movl %eax, RESULT + 0x2c        /* EIP */
        movl 12(%esp), %eax
        andl $0x20000, %eax
        movl %eax, RESULT + 0x30        /* VM */
        movw %dx, %es
        movl $0x9000, %esp
        pushfl
        popl RESULT + 0x38
        ljmp $0x48, $LOW(protected16)

        .code16
protected16:
        movw $0x50, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $0x19000, %esp             /* only SP counts on this stack */
        pushw $0x1616
        popw RESULT + 0x40
        movl $0x10001, %ecx
        xorw %cx, %cx
        movw %cx, RESULT + 0x42
        movl %cr0, %eax
        andb $0xfe, %al
        movl %eax, %cr0
        ljmp $BLOB >> 4, $(real - modes_blob)

real:
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $0x9000, %sp
        lidt LOW(real_idt_pointer)
        movw $(real_int - modes_blob), 0x100
        movw $BLOB >> 4, 0x102
        movw %cs, RESULT + 0x44
        int $0x40
        movw %sp, RESULT + 0x48
        movw $RESULT + 0x50, %di
        movw $6, %cx
        movb $0xaa, %al
        cld
        rep stosb
        /* a near call and a far call */
        movw $0, %bx
        callw real_near
        lcallw $BLOB >> 4, $(real_far - modes_blob)
        movw %bx, RESULT + 0x58
        /* 32-bit operands and addresses in 16-bit code */
        movl $RESULT, %esi
        movl $0x89abcdef, 0x5c(%esi)
        /* segment arithmetic */
        movw $0x5ff, %ax
        movw %ax, %fs
        movw $0x7777, %fs:0x70          /* 0x5ff0 + 0x70 = RESULT + 0x60 */

        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmpl $0x30, $LOW(back32)

real_near:
        addw $1, %bx
        retw
real_far:
        addw $0x10, %bx
        lretw
real_int:
        movw $0x4040, RESULT + 0x46
        iretw

        .code32
back32:
        movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $0xc0000080, %ecx
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl %cr0, %eax
        orl $0x80000000, %eax
        movl %eax, %cr0
        ljmp $0x08, $back64

        .align 8
idt32_pointer:
        .word 0x7ff
        .long IDT32
real_idt_pointer:
        .word 0x3ff
        .long 0
modes_blob_end:

        .code64
back64:
        movq saved_rsp, %rsp
        lidt idt_pointer
        andb $~2, gdt + 0x38 + 5        /* not busy */
        movw $0x38, %ax
        ltr %ax
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %rbp
        popq %rbx
        ret

        .bss
        .align 8
saved_rsp: .skip 8
