/*
 * Where the test kernels begin: loaded at 1 MiB by a multiboot loader, in 32-bit protected mode;
 * goes to 64-bit mode with the first 16 MiB mapped one to one in 4 KiB pages, sections .user* for
 * ring 3 too, and calls test_main().
 */
#define MAGIC 0x1badb002
#define FLAGS 0x10003

        .section .multiboot, "ax"
        .align 4
        .globl load_start
load_start:
header:
        .long MAGIC, FLAGS, -(MAGIC + FLAGS)
        .long header, load_start, load_end, bss_end, _start

        .code32
        .globl _start
_start:
        cli
        cld
        movl $stack_top, %esp

        /* page tables: PML4, PDPT, PD, 8 PTs of 512 pages */
        movl $(pdpt + 7), pml4
        movl $(pd + 7), pdpt
        movl $pt + 7, %eax
        movl $pd, %edi
        movl $8, %ecx
1:      movl %eax, (%edi)
        addl $4096, %eax
        addl $8, %edi
        loop 1b
        movl $3, %eax                   /* present, writable, supervisor */
        movl $pt, %edi
        movl $4096, %ecx
2:      movl %eax, %edx
        andl $0xfffff000, %edx
        cmpl $user_start, %edx
        jb 3f
        cmpl $user_end, %edx
        jae 3f
        orl $4, %eax
        jmp 4f
3:      andl $~4, %eax
4:      movl %eax, (%edi)
        addl $4096, %eax
        addl $8, %edi
        loop 2b

        movl %cr4, %eax
        orl $0x620, %eax                /* PAE, OSFXSR, OSXMMEXCPT */
        movl %eax, %cr4
        movl $pml4, %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx
        rdmsr
        orl $0x901, %eax                /* LME, NXE, SCE */
        wrmsr
        movl $0x80010033, %eax          /* PG, WP, NE, ET, MP, PE */
        movl %eax, %cr0
        lgdt gdt_pointer
        ljmp $0x08, $long_mode

        .code64
long_mode:
        movw $0x10, %ax
        movw %ax, %ss
        movw %ax, %ds
        movw %ax, %es
        xorl %eax, %eax
        movw %ax, %fs
        movw %ax, %gs
        movq $stack_top, %rsp
        /* TSS descriptor: base is below 4 GiB */
        movl $tss, %eax
        movw %ax, gdt + 0x38 + 2
        shrl $16, %eax
        movb %al, gdt + 0x38 + 4
        movb %ah, gdt + 0x38 + 7
        movq $ring0_top, tss + 4
        movq $ist1_top, tss + 0x24
        movw $0x38, %ax
        ltr %ax
        /* IDT: 256 interrupt gates; 0x80 from ring 3 */
        movq $stubs, %rsi
        movq $idt, %rdi
        movl $256, %ecx
5:      movl %esi, %eax
        movw %ax, (%rdi)
        movl $0x8e000008, %edx
        movl %edx, 2(%rdi)
        movb $0x00, 4(%rdi)
        movb $0x8e, 5(%rdi)
        shrl $16, %eax
        movw %ax, 6(%rdi)
        movl $0, 8(%rdi)
        movl $0, 12(%rdi)
        movw $0x08, 2(%rdi)
        addq $16, %rdi
        addq $16, %rsi
        decl %ecx
        jnz 5b
        movb $0xee, idt + 0x80 * 16 + 5
        movb $0xee, idt + 3 * 16 + 5
        movb $1, idt + 8 * 16 + 4       /* #DF on IST 1 */
        movb $1, idt + 2 * 16 + 4       /* NMI too */
        movb $1, idt + 12 * 16 + 4      /* and #SS, which comes with bad stacks */
        movw $0x68, tss + 0x66          /* no I/O bitmap */
        lidt idt_pointer
        call test_main
        xorl %edi, %edi
        call exit_guest

/* 256 entries of 16 bytes: push an error code where the CPU doesn't, and the vector */
        .align 16
stubs:
        .set vector, 0
        .rept 256
        .align 16
        .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
        pushq $0
        .endif
        pushq $vector
        jmp common
        .set vector, vector + 1
        .endr

common:
        pushq %rax
        pushq %rcx
        pushq %rdx
        pushq %rbx
        pushq %rbp
        pushq %rsi
        pushq %rdi
        pushq %r8
        pushq %r9
        pushq %r10
        pushq %r11
        pushq %r12
        pushq %r13
        pushq %r14
        pushq %r15
        movq %rsp, %rdi
        movq %rsp, %rbp
        andq $-16, %rsp
        cld
        call handle_event
        movq %rbp, %rsp
        popq %r15
        popq %r14
        popq %r13
        popq %r12
        popq %r11
        popq %r10
        popq %r9
        popq %r8
        popq %rdi
        popq %rsi
        popq %rbp
        popq %rbx
        popq %rdx
        popq %rcx
        popq %rax
        addq $16, %rsp
        iretq

/* void enter_user(uint64_t rip, uint64_t rsp, uint64_t arg, uint64_t flags): doesn't return */
        .globl enter_user
enter_user:
        pushq $0x23
        pushq %rsi
        pushq %rcx
        pushq $0x2b
        pushq %rdi
        movq %rdx, %rdi
        iretq

        .section .data
        .align 16
        .globl gdt
gdt:
        .quad 0
        .quad 0x00af9b000000ffff        /* 08: code, 64-bit */
        .quad 0x00cf93000000ffff        /* 10: data */
        .quad 0x00cffb000000ffff        /* 18: code of ring 3, 32-bit */
        .quad 0x00cff3000000ffff        /* 20: data of ring 3 */
        .quad 0x00affb000000ffff        /* 28: code of ring 3, 64-bit */
        .quad 0x00cf9b000000ffff        /* 30: code, 32-bit */
        .quad 0x0000890000000067        /* 38: TSS */
        .quad 0
        .quad 0x00009b000000ffff        /* 48: code, 16-bit */
        .quad 0x000093000000ffff        /* 50: data, 16-bit */
        .fill 8, 8, 0                   /* 58...: for tests */
gdt_end:
        .globl gdt_pointer
gdt_pointer:
        .word gdt_end - gdt - 1
        .quad gdt
        .globl idt_pointer
idt_pointer:
        .word 256 * 16 - 1
        .quad idt

        .section .bss
        .align 4096
        .globl pml4, pdpt, pd, pt, idt, tss
pml4:   .skip 4096
pdpt:   .skip 4096
pd:     .skip 4096
pt:     .skip 8 * 4096
idt:    .skip 4096
tss:    .skip 4096
        .skip 16384
stack_top:
        .globl ring0_top, ist1_top, stack_top
        .skip 16384
ring0_top:
        .skip 16384
ist1_top:
