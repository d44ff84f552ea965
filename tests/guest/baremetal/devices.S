/*
 * Port and memory accesses in every mode: 32-bit protected, real, 64-bit, and user mode. A board logs
 * what its devices see; under any accelerator that must be the same, and so must what the guest
 * read, which it tells by writing it.
 *
 * Ports 0x500-0x53f and memory at 0xd0000000 are the board's: a read gives what the address says
 * (board.c). Port 0xe9 is the console, 0xf4 the end.
 */
#define MAGIC 0x1badb002
#define FLAGS 0x10003
#define PORT  0x500
#define MMIO  0xd0000000
#define REAL  0x7000            /* where the real mode part lies */

        .section .multiboot, "ax"
        .align 4
header:
        .long MAGIC, FLAGS, -(MAGIC + FLAGS)
        .long header, header, load_end, bss_end, _start

/* --- 32-bit protected mode, no paging --- */
        .code32
        .globl _start
_start:
        cli
        cld
        movl $stack, %esp
        lgdt gdt_pointer
        ljmp $0x08, $1f
1:      movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $message_32, %esi
        call say

        movw $PORT, %dx
        movl $0x11223344, %eax
        outb %al, %dx
        outw %ax, %dx
        outl %eax, %dx
        incw %dx
        inb %dx, %al
        outb %al, $0x80
        addw $3, %dx
        inw %dx, %ax
        inl %dx, %eax
        movw $(PORT + 8), %dx
        outl %eax, %dx                  /* what was read */
        movl $text, %esi                /* string forms */
        movl $5, %ecx
        rep outsb
        movl $buffer, %edi
        movl $3, %ecx
        movw $(PORT + 12), %dx
        rep insw
        movl buffer, %eax
        outl %eax, %dx

        movl $MMIO, %ebx
        movb $0x5a, (%ebx)
        movw $0x1234, 2(%ebx)
        movl $0xdeadbeef, 4(%ebx)
        movl 8(%ebx), %eax
        movzbl 13(%ebx), %ecx
        movzwl 14(%ebx), %edx
        movl %eax, 16(%ebx)
        movl %ecx, 20(%ebx)
        movl %edx, 24(%ebx)
        addl $7, 28(%ebx)               /* read, then write */
        movl $text, %esi
        leal 32(%ebx), %edi
        movl $2, %ecx
        rep movsl

/* --- real mode --- */
        movl $real_begin, %esi
        movl $REAL, %edi
        movl $(real_end - real_begin), %ecx
        rep movsb
        ljmp $0x18, $REAL               /* 16-bit protected first */
back_32:
        movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl $stack, %esp

/* --- 64-bit mode --- */
        movl $(pdpt + 7), pml4
        movl $(pd + 7), pdpt
        movl $(0x00000000 + 0x87), pd           /* 2 MiB pages, for users too */
        movl $(0x00200000 + 0x87), pd + 8
        movl $(pd_high + 7), pdpt + 24
        movl $(MMIO + 0x97), pd_high + ((MMIO >> 21 & 511) * 8)
        movl %cr4, %eax
        orl $0x220, %eax
        movl %eax, %cr4
        movl $pml4, %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx
        rdmsr
        orl $0x100, %eax
        wrmsr
        movl $0x80000031, %eax
        movl %eax, %cr0
        ljmp $0x28, $long_mode

        .code64
long_mode:
        movl $message_64, %esi
        call say
        movl $MMIO, %ebx
        movabsq $0x1122334455667788, %rax
        movq %rax, 64(%rbx)
        movq 72(%rbx), %rax
        movq %rax, 80(%rbx)
        movw $(PORT + 16), %dx
        inl %dx, %eax
        outl %eax, %dx

/* --- user mode: I/O privilege level 3, arithmetic that runs natively --- */
        pushq $0x3b
        pushq $user_stack
        pushq $0x3002
        pushq $0x33
        pushq $user_mode
        iretq
user_mode:
        movl $message_user, %esi
        call say
        xorl %eax, %eax
        movl $1000000, %ecx
        movl $12345, %edi
2:      imull $1103515245, %edi, %edi
        addl $12345, %edi
        xorl %edi, %eax
        decl %ecx
        jnz 2b
        movw $(PORT + 20), %dx
        outl %eax, %dx
        movl %eax, 88(%rbx)
        movq 96(%rbx), %rax
        movw %ax, 104(%rbx)
        movl $0x3f800000, %ecx          /* SSE: 1 + 1 */
        movd %ecx, %xmm0
        addss %xmm0, %xmm0
        movd %xmm0, %eax
        outl %eax, %dx
        xorl %eax, %eax
        outb %al, $0xf4
3:      jmp 3b

/* Encoded alike in 32-bit and 64-bit code. */
        .code32
say:
        movb (%esi), %al
        testb %al, %al
        jz 4f
        outb %al, $0xe9
        addl $1, %esi
        jmp say
4:      ret

/* --- the real mode part, at REAL --- */
        .code16
real_begin:
        movw $0x20, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movl %cr0, %eax
        andb $0xfe, %al
        movl %eax, %cr0
        ljmp $0, $(REAL + real_mode - real_begin)
real_mode:
        xorw %ax, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        movw $REAL, %sp
        movw $(PORT + 24), %dx
        movw $0xbeef, %ax
        outw %ax, %dx
        inb %dx, %al
        outb %al, %dx
        inl %dx, %eax
        pushl %eax
        popl %eax
        outl %eax, %dx
        movb $'R', %al
        outb %al, $0xe9
        movb $'\n', %al
        outb %al, $0xe9
        movw $0x500, %di                /* memory through a segment */
        movw $0x10, %ax
        movw %ax, %es
        movb $0x42, %es:(%di)
        movb 0x600, %al
        outb %al, %dx
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmpl $0x08, $back_32
real_end:

        .section .data
        .align 16
gdt:
        .quad 0
        .quad 0x00cf9b000000ffff        /* 08: code, 32-bit */
        .quad 0x00cf93000000ffff        /* 10: data */
        .quad 0x00009b000000ffff        /* 18: code, 16-bit */
        .quad 0x000093000000ffff        /* 20: data, 16-bit */
        .quad 0x00af9b000000ffff        /* 28: code, 64-bit */
        .quad 0x00affb000000ffff        /* 30: code of ring 3, 64-bit */
        .quad 0x00cff3000000ffff        /* 38: data of ring 3 */
gdt_end:
gdt_pointer:
        .word gdt_end - gdt - 1
        .quad gdt
text:   .ascii "hello, devices"
message_32:
        .asciz "protected mode\n"
message_64:
        .asciz "64-bit mode\n"
message_user:
        .asciz "user mode\n"
        .globl user_start
user_start:

        .section .bss
        .align 4096
pml4:   .skip 4096
pdpt:   .skip 4096
pd:     .skip 4096
pd_high: .skip 4096
buffer: .skip 64
        .skip 8192
stack:
        .skip 8192
user_stack:
