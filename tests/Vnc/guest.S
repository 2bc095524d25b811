# A guest for the VNC tests and figures: a boot sector that loads a small shell. It needs a BIOS, a VGA adapter with Bochs's registers and a PS/2
# keyboard and mouse. Commands, each a letter and Enter; a key ends what goes on:
#   p  a picture of 640 x 480 pixels of 32 bits; tests/Vnc/rfb.py knows it too
#   s  lines of text that scroll, 30 in a second
#   a  an animation of 1024 x 768 pixels of 32 bits, 30 pictures in a second; they are drawn beforehand and shown by moving the start of the screen,
#      so that the guest itself does next to nothing
#   m  waits for the mouse: says how far it moved when its left button goes down
# Other text is said again.
        .code16
        .set VBE_INDEX, 0x1ce
        .set VBE_BANK, 5
        .set VBE_Y_OFFSET, 9
        .set PIT_30_HZ, 39773

        .globl _start
_start: ljmp $0, $begin
begin:  cli
        xor %ax, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x7c00, %sp
        sti
        cld
        mov $0x020f, %ax                # the 15 sectors after this one
        mov $0x7e00, %bx
        mov $0x0002, %cx
        xor %dh, %dh
        int $0x13
        jc .
        jmp main
        .org 510
        .word 0xaa55

main:   mov $3, %ax
        int $0x10
        mov $hello, %si
        call say
prompt: mov $ready, %si
        call say
        mov $line, %di
1:      xor %ah, %ah
        int $0x16
        cmp $13, %al
        je 2f
        cmp $line + 60, %di
        jae 1b
        stosb
        call putc
        jmp 1b
2:      movb $0, (%di)
        call newline
        cmp $line, %di
        je prompt
        cmp $line + 1, %di
        jne 3f
        mov line, %al
        cmp $'p', %al
        je picture
        cmp $'s', %al
        je scroll
        cmp $'a', %al
        je animation
        cmp $'m', %al
        je mouse
3:      mov $said, %si
        call say
        mov $line, %si
        call say
        call newline
        jmp prompt

newline:
        mov $13, %al
        call putc
        mov $10, %al
putc:   push %bx
        mov $0x0e, %ah
        mov $7, %bx
        int $0x10
        pop %bx
        ret
say:    lodsb
        test %al, %al
        jz 1f
        call putc
        jmp say
1:      ret
# AX in decimal, with a sign
number: test %ax, %ax
        jns 1f
        push %ax
        mov $'-', %al
        call putc
        pop %ax
        neg %ax
1:      xor %cx, %cx
        mov $10, %bx
2:      xor %dx, %dx
        div %bx
        push %dx
        inc %cx
        test %ax, %ax
        jnz 2b
3:      pop %ax
        add $'0', %al
        call putc
        loop 3b
        ret
# zero flag: no key waits
key:    mov $1, %ah
        int $0x16
        ret
timer:  mov $0x36, %al
        out %al, $0x43
        mov $PIT_30_HZ & 0xff, %al
        out %al, $0x40
        mov $PIT_30_HZ >> 8, %al
        out %al, $0x40
        ret
# register AL of Bochs's VBE becomes BX
vbe:    push %dx
        mov $VBE_INDEX, %dx
        xor %ah, %ah
        out %ax, %dx
        inc %dx
        mov %bx, %ax
        out %ax, %dx
        pop %dx
        ret
back:   xor %ah, %ah
        int $0x16
        xor %ax, %ax
        mov %ax, %es
        mov $3, %ax
        int $0x10
        jmp prompt

picture:
        mov $0x4f02, %ax
        mov $0x142, %bx
        int $0x10
        mov $0xa000, %ax
        mov %ax, %es
        xor %di, %di
        movw $0, bank
        xor %dx, %dx                    # y
1:      xor %cx, %cx                    # x
2:      mov %dx, %bx
        shr $7, %bx
        jz solid
        dec %bx
        jz checks
        dec %bx
        jz shades
        mov %dx, %ax                    # noise: products
        push %dx
        imul %cx, %ax
        pop %dx
        mov %ax, %bx
        shr $3, %bx
        mov %bl, %ah
        mov %cx, %bx
        add %dx, %bx
        xor %bh, %bh
        jmp 3f
solid:  mov $0x4060, %ax
        mov $0x20, %bx
        jmp 3f
checks: mov %cx, %ax
        xor %dx, %ax
        and $8, %ax
        neg %ax
        sbb %ax, %ax
        mov %ax, %bx
        xor %bh, %bh
        jmp 3f
shades: mov %cx, %bx
        xor %bh, %bh
        mov %cl, %al
        xor %dl, %al
        mov %dl, %ah
3:      stosw
        mov %bx, %ax
        stosw
        test %di, %di
        jnz 4f
        incw bank
        mov bank, %bx
        mov $VBE_BANK, %al
        call vbe
4:      inc %cx
        cmp $640, %cx
        jb 2b
        inc %dx
        cmp $480, %dx
        jb 1b
        jmp back

scroll: call timer
        movw $0, count
1:      mov count, %ax
        call number
        mov count, %ax
        mov $60, %cx
        and $31, %ax
        sub %ax, %cx
        mov count, %dx
2:      imul $25173, %dx, %dx
        add $13849, %dx
        mov %dh, %al
        and $63, %al
        add $' ', %al
        push %cx
        push %dx
        call putc
        pop %dx
        pop %cx
        loop 2b
        call newline
        incw count
        hlt
        call key
        jz 1b
        jmp back

        .set FRAMES, 5
animation:
        mov $0x4f02, %ax
        mov $0x144, %bx
        int $0x10
        mov $0xa000, %ax
        mov %ax, %es
        xor %di, %di
        movw $0, bank
        movw $0, count
1:      xor %dx, %dx
2:      xor %cx, %cx
3:      mov count, %si
        shl $4, %si
        add %cx, %si                    # x, moved
        cmp $512, %dx
        jae 4f
        mov %si, %bx
        shr $2, %bx
        xor %bh, %bh
        mov %dx, %bp
        shr $1, %bp
        mov %bp, %ax
        mov %al, %ah
        mov %dx, %bp
        add %si, %bp
        shr $3, %bp
        push %bx
        mov %bp, %bx
        mov %bl, %al
        pop %bx
        jmp 5f
4:      mov %si, %ax
        xor %dx, %ax
        and $16, %ax
        neg %ax
        sbb %ax, %ax
        mov %ax, %bx
        xor %bh, %bh
        mov $0x80, %al
5:      stosw
        mov %bx, %ax
        stosw
        test %di, %di
        jnz 6f
        incw bank
        mov bank, %bx
        mov $VBE_BANK, %al
        call vbe
6:      inc %cx
        cmp $1024, %cx
        jb 3b
        inc %dx
        cmp $768, %dx
        jb 2b
        incw count
        cmpw $FRAMES, count
        jb 1b
        call timer
7:      movw $0, count
8:      mov count, %ax
        imul $768, %ax, %bx
        mov $VBE_Y_OFFSET, %al
        call vbe
        hlt
        call key
        jnz back
        incw count
        cmpw $FRAMES, count
        jb 8b
        jmp 7b

# The mouse's bytes are taken from the controller itself; the BIOS is kept away by having interrupts off.
mouse:  mov $waits, %si
        call say
        cli
        mov $0xa8, %al
        call command
        mov $0xd4, %al
        call command
        mov $0xf4, %al
        call data
        call read                       # the acknowledgement
        movw $0, xsum
        movw $0, ysum
1:      call read
        test $8, %al
        jz 1b
        mov %al, %bl
        call read
        movsx %al, %ax
        add %ax, xsum
        call read
        movsx %al, %ax
        add %ax, ysum
        test $1, %bl
        jz 1b
        mov $moved, %si
        call say
        mov xsum, %ax
        call number
        mov $' ', %al
        call putc
        mov ysum, %ax
        call number
        call newline
2:      call read                       # until the button is up again
        test $8, %al
        jz 2b
        mov %al, %bl
        call read
        call read
        test $1, %bl
        jnz 2b
        mov $0xd4, %al
        call command
        mov $0xf5, %al
        call data
        call read
        sti
        jmp prompt
command:
        push %ax
1:      in $0x64, %al
        test $2, %al
        jnz 1b
        pop %ax
        out %al, $0x64
        ret
data:   push %ax
1:      in $0x64, %al
        test $2, %al
        jnz 1b
        pop %ax
        out %al, $0x60
        ret
# a byte of the mouse; those of the keyboard are dropped
read:   in $0x64, %al
        test $1, %al
        jz read
        mov %al, %ah
        in $0x60, %al
        test $0x20, %ah
        jz read
        ret

hello:  .asciz "A guest for VNC\r\n"
ready:  .asciz "ready> "
said:   .asciz "said: "
waits:  .asciz "mouse waits\r\n"
moved:  .asciz "mouse moved "
        .balign 2
bank:   .word 0
count:  .word 0
xsum:   .word 0
ysum:   .word 0
line:   .skip 64
        .org 16 * 512 - 1
        .byte 0
