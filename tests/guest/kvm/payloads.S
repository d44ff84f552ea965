/*
 * Small programs for test-kvm.c: 32-bit code without paging, loaded at 0x1000. Ports: 0x601 and 0x602
 * report, 0xf4 ends. Each is between NAME and NAME_end.
 */
#define LOAD 0x1000
#define AT(label, start) (label - start + LOAD)

        .section .rodata
        .code32
        .macro begin name
        .globl \name, \name\()_end
        .balign 16
\name\():
        .endm
        .macro finish name
\name\()_end:
        .endm

/* Stands still. */
begin payload_loop
1:      jmp 1b
finish payload_loop

/* Counts in memory. */
begin payload_count
1:      incl 0x3000
        jmp 1b
finish payload_count

/* Tells what lies at 8 MiB whenever it changes. */
begin payload_watch
        movl $0x601, %edx
        xorl %ebx, %ebx
1:      movl 0x800000, %eax
        cmpl %eax, %ebx
        je 1b
        movl %eax, %ebx
        outl %eax, %dx
        jmp 1b
finish payload_watch

/* Writes every third page of 192 from 4 MiB on, tells, and waits for the word at 0x3000 to change
 * before it does so again with every fifth. */
begin payload_dirty
        movl $0x601, %edx
        movl $0x400000, %edi
        movl $64, %ecx
1:      incl (%edi)
        addl $0x3000, %edi
        loop 1b
        outl %eax, %dx
2:      cmpl $0, 0x3000
        je 2b
        movl $0x400000, %edi
        movl $39, %ecx
3:      incl 8(%edi)
        addl $0x5000, %edi
        loop 3b
        outl %eax, %dx
4:      jmp 4b
finish payload_dirty

/* Doorbells: three that match, one that doesn't, two in memory of different sizes. */
begin payload_doorbell
        movl $0x610, %edx
        movb $5, %al
        outb %al, %dx
        outb %al, %dx
        outb %al, %dx
        movb $6, %al
        outb %al, %dx
        movl %eax, 0xd0000000
        movw %ax, 0xd0000000
        movl $0x601, %edx
        outl %eax, %dx
1:      jmp 1b
finish payload_doorbell

/* Ten writes that may be queued, then a read of another device. */
begin payload_coalesced
        movl $10, %ecx
1:      movl %ecx, 0xd0001000
        loop 1b
        movl $0x601, %edx
        xorl %eax, %eax
        inb %dx, %al
        outl %eax, %dx
2:      jmp 2b
finish payload_coalesced

/* Interrupts of vector 0x50 and 0x51 are told by port 0x601 with their vector. The second comes by
 * input 10 of the I/O APIC, level-triggered. */
begin payload_interrupts
        movl $0x2800, %esp
        lgdt AT(3f, payload_interrupts)
        lidt AT(4f, payload_interrupts)
        movb $0xff, %al                 /* the 8259s are out of it */
        outb %al, $0x21
        outb %al, $0xa1
        movl $0x1ff, 0xfee000f0         /* SVR: on; vector ff */
        movl $0x24, 0xfec00000          /* entry 10 */
        movl $0x8051, 0xfec00010        /* level, vector 51 */
        movl $0x25, 0xfec00000
        movl $0, 0xfec00010
        movl $0x602, %edx               /* ready */
        outl %eax, %dx
1:      sti
        hlt
        cli
        jmp 1b
        /* handlers */
5:      movl $0x50, %eax
        jmp 7f
6:      movl $0x51, %eax
7:      movl $0x601, %edx
        outl %eax, %dx
        movl $0, 0xfee000b0             /* EOI */
        popl %ebx                       /* IRET, by parts: not every host emulates it */
        addl $4, %esp
        popfl
        jmp *%ebx
        .balign 8
2:      .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
3:      .word 23
        .long AT(2b, payload_interrupts)
4:      .word 0x52 * 8 - 1
        .long 0x2000 - 0x50 * 8         /* the table's last two entries, at 0x2000 */
        .balign 16
        .globl payload_interrupts_idt
payload_interrupts_idt:                 /* copied to 0x2000 */
        .word AT(5b, payload_interrupts), 8, 0x8e00, 0
        .word AT(6b, payload_interrupts), 8, 0x8e00, 0
finish payload_interrupts

/* Starts CPU 1 in real mode at 0x2000, where it writes to 0x3000 and waits; then it tells. */
begin payload_smp
        movl $0x1ff, 0xfee000f0
        movl $0x01000000, 0xfee00310
        movl $0x4500, 0xfee00300        /* INIT */
        movl $20000, %ecx
1:      loop 1b
        movl $0x01000000, 0xfee00310
        movl $0x4602, 0xfee00300        /* SIPI, page 2 */
        movl $0x601, %edx
2:      cmpl $0x1234, 0x3000
        jne 2b
        movl 0x3004, %eax
        outl %eax, %dx
3:      jmp 3b
finish payload_smp

        .code16
begin payload_smp_other
        xorw %ax, %ax
        movw %ax, %ds
        movw $0x602, %dx
        outw %ax, %dx
        movl $0x5678, 0x3004
        movl $0x1234, 0x3000
1:      hlt
        jmp 1b
finish payload_smp_other

        .code32
/* No IDT: three faults, one after another. */
begin payload_triple
        lidt AT(1f, payload_triple)
        ud2
1:      .word 0
        .long 0
finish payload_triple

/* Code where there is no memory. */
begin payload_nowhere
        movl $0xc0000000, %eax
        jmp *%eax
finish payload_nowhere

        .section .note.GNU-stack, "", @progbits
