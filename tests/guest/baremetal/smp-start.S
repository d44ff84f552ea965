/* Where application processors begin: copied to 0x8000, from real mode to ap_main(id). */
#define AT      0x8000
#define LOW(x)  (x - ap_blob + AT)

        .text
        .globl ap_blob, ap_blob_end
        .code16
ap_blob:
        cli
        xorw %ax, %ax
        movw %ax, %ds
        lgdtl LOW(ap_gdt)
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        ljmpl $0x30, $LOW(ap32)
        .code32
ap32:
        movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %ss
        movl $0x620, %eax
        movl %eax, %cr4
        movl $pml4, %eax
        movl %eax, %cr3
        movl $0xc0000080, %ecx
        movl $0x901, %eax
        xorl %edx, %edx
        wrmsr
        movl $0x80010033, %eax
        movl %eax, %cr0
        ljmp $0x08, $ap64
        .align 8
ap_gdt:
        .word 0x97
        .long gdt
ap_blob_end:

        .code64
ap64:
        movw $0x10, %ax
        movw %ax, %ds
        movw %ax, %es
        movw %ax, %ss
        lidt idt_pointer
        lgdt gdt_pointer
        movl $1, %edi
        lock xaddl %edi, ap_started
        incl %edi                       /* 1, 2, ... */
        movl %edi, %eax
        shll $14, %eax
        addq $ap_stacks, %rax
        movq %rax, %rsp
        call ap_main
1:      cli
        hlt
        jmp 1b

        .bss
        .align 16
        .globl ap_started
ap_stacks: .skip 16 << 14
ap_started: .skip 8
