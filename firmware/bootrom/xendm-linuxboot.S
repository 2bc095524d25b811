# XenDM kernel loader: an option ROM that boots -kernel, -initrd and -append.
#
# The BIOS deploys it as a plug-and-play ROM and offers it as the boot entry "XenDM kernel loader" (boot execution vector). Started, it fetches
# the kernel, the initial RAM disk and the command line from fw_cfg, completes the kernel's header and jumps to the real-mode entry.
# A Multiboot kernel (item "kernel entry") comes with the information structure as setup part: the ROM completes the memory map and enters the
# kernel in protected mode.
#
# References: Plug and Play BIOS Specification 1.0A (ROM header, BEV), fw_cfg ports 0x510/0x511/0x514 (README.md beside this file), and the
# x86 boot protocol of Linux (Documentation/arch/x86/boot.rst), Multiboot Specification 0.6.96.
#
# The ROM may be write-protected, so everything that changes lives in low memory: see "Working memory".
#
# SPDX-License-Identifier: Apache-2.0

        .code16
        .arch   i686
        .text

        ROM_BYTES       = 2048                  # a multiple of 512

# fw_cfg: select an item through the first port (16 bits), read its bytes from the second; or hand over a control block.
        PORT_SELECT     = 0x510
        PORT_DATA       = 0x511
        PORT_DMA_HIGH   = 0x514                 # big endian; writing the low half starts the transfer
        PORT_DMA_LOW    = 0x518
        DMA_ERROR       = 1
        DMA_READ        = 2
        DMA_SELECT      = 8
        ID_HAS_DMA      = 2

        ITEM_SIGNATURE  = 0x00
        ITEM_ID         = 0x01
        ITEM_KERNEL_ADDR = 0x07
        ITEM_KERNEL_SIZE = 0x08
        ITEM_INITRD_ADDR = 0x0a                 # of Multiboot modules only
        ITEM_INITRD_SIZE = 0x0b
        ITEM_ENTRY      = 0x10
        ITEM_KERNEL     = 0x11
        ITEM_INITRD     = 0x12
        ITEM_CMDLINE_ADDR = 0x13
        ITEM_CMDLINE_SIZE = 0x14
        ITEM_CMDLINE    = 0x15
        ITEM_SETUP_ADDR = 0x16
        ITEM_SETUP_SIZE = 0x17
        ITEM_SETUP      = 0x18

# Fields of the kernel's header, from the start of the setup code.
        HDR_MAGIC       = 0x202                 # "HdrS"
        HDR_VERSION     = 0x206
        HDR_LOADER      = 0x210
        HDR_FLAGS       = 0x211                 # bit 0 loaded high, bit 7 heap may be used
        HDR_CODE32      = 0x214
        HDR_INITRD      = 0x218
        HDR_INITRD_SIZE = 0x21c
        HDR_HEAP_END    = 0x224
        HDR_CMDLINE     = 0x228
        HDR_INITRD_MAX  = 0x22c                 # from protocol 2.03
        HDR_PREFERRED   = 0x258                 # from protocol 2.10, 64 bits
        HDR_INIT_SIZE   = 0x260                 # from protocol 2.10
        HDR_END         = 0x264

# The information structure of Multiboot, which the board has filled in but for what the BIOS knows.
        MBI_MEM_LOWER   = 4                     # KiB from 0
        MBI_MEM_UPPER   = 8                     # KiB from 1 MiB
        MBI_MMAP_LENGTH = 44                    # the board leaves here the room that there is
        MBI_MMAP        = 48
        MBI_BYTES       = 52
        MMAP_ENTRY      = 24                    # the size of the rest (20), base, length, type
        MULTIBOOT_MAGIC = 0x2badb002            # in EAX, says who entered the kernel

# Where things go when fw_cfg names no address.
        DEFAULT_SETUP   = 0x10000
        DEFAULT_CMDLINE = 0x20000
        LOW_LIMIT       = 0x90000               # the BIOS data area begins somewhere above

# Working memory, segment 0. Nothing of the BIOS lies between 0x500 and 0x7c00 once it boots.
        STACK_TOP       = 0x7a00
        V_DMA           = 0x7a00                # control, length, address (64 bits), all big endian
        V_GDT           = 0x7a10                # two descriptors
        V_GDTR          = 0x7a20
        V_VALUE         = 0x7a28
        V_HAS_DMA       = 0x7a2c
        V_SETUP_ADDR    = 0x7a30
        V_KERNEL_ADDR   = 0x7a34
        V_KERNEL_SIZE   = 0x7a38
        V_CMDLINE_ADDR  = 0x7a3c
        V_INITRD_SIZE   = 0x7a40
        V_FLOOR         = 0x7a44                # lowest address that the initrd may have
        V_LIMIT         = 0x7a48                # end of the space that it may have
        V_BEST          = 0x7a4c                # highest place found
        V_MAP_NEXT      = 0x7a50
        V_MAP           = 0x7a54                # base (64 bits), length (64 bits), type
        V_ENTRY         = 0x7a68
        V_GDT32         = 0x7a70                # null, code, data

        .globl  _start
_start:
        .byte   0x55, 0xaa
        .byte   ROM_BYTES / 512
        jmp     initialize
        .org    0x18
        .word   0                               # no PCI data
        .word   pnp_header

        .balign 16
pnp_header:
        .ascii  "$PnP"
        .byte   1                               # revision
        .byte   2                               # length, in units of 16
        .word   0                               # no further header
        .byte   0
        .byte   pnp_checksum                    # the header's bytes add up to 0 (see the end)
        .long   0                               # device identifier
        .word   manufacturer
        .word   product
        .byte   0, 0, 0                         # device type
        .byte   0                               # indicators
        .word   0                               # boot connection vector
        .word   0                               # disconnect vector
        .word   boot
        .word   0
        .word   0                               # static resource vector
pnp_end:

manufacturer:
        .asciz  "XenDM"
product:
        .asciz  "XenDM kernel loader"

# Called once by the BIOS, returns far: an initial program load device is there.
initialize:
        mov     $0x20, %ax
        lretw

# The boot execution vector.
boot:
        cli
        cld
        xor     %ax, %ax
        mov     %ax, %ss
        mov     $STACK_TOP, %sp
        mov     %ax, %ds
        mov     %ax, %es
        movb    %al, V_HAS_DMA

        # Is it fw_cfg, and can it copy by itself?
        mov     $ITEM_SIGNATURE, %ax
        call    read_value
        mov     $no_fw_cfg, %si
        cmp     $0x554d4551, %eax               # "QEMU"
        jne     fail
        mov     $ITEM_ID, %ax
        call    read_value
        and     $ID_HAS_DMA, %al
        mov     %al, V_HAS_DMA
        mov     $ITEM_ENTRY, %ax
        call    read_value
        test    %eax, %eax
        jnz     multiboot

        # The real-mode part.
        mov     $ITEM_SETUP_ADDR, %ax
        mov     $DEFAULT_SETUP, %ebx
        call    read_address
        mov     $bad_kernel, %si
        test    $0xf, %al
        jnz     fail
        cmp     $LOW_LIMIT, %eax
        ja      fail
        mov     %eax, V_SETUP_ADDR
        mov     %eax, %edi
        shr     $4, %eax
        mov     %ax, %fs                        # the header from now on
        mov     $ITEM_SETUP_SIZE, %ax
        call    read_value
        mov     $no_kernel, %si
        test    %eax, %eax
        jz      fail
        mov     $bad_kernel, %si
        cmp     $HDR_END, %eax
        jb      fail
        cmp     $0x8200, %eax                   # 64 sectors and the boot sector
        ja      fail
        mov     %eax, %ecx
        mov     $ITEM_SETUP, %ax
        call    read_item
        mov     $bad_kernel, %si
        cmpl    $0x53726448, %fs:HDR_MAGIC
        jne     fail
        cmpw    $0x202, %fs:HDR_VERSION         # before 2.02 the command line was passed in another way
        jb      fail

        # The protected-mode part.
        mov     $ITEM_KERNEL_ADDR, %ax
        mov     %fs:HDR_CODE32, %ebx
        call    read_address
        mov     %eax, V_KERNEL_ADDR
        mov     %eax, %edi
        testb   $1, %fs:HDR_FLAGS
        jz      1f
        mov     %eax, %fs:HDR_CODE32
1:      mov     $ITEM_KERNEL_SIZE, %ax
        call    read_value
        mov     %eax, V_KERNEL_SIZE
        mov     $no_kernel, %si
        mov     %eax, %ecx
        test    %eax, %eax
        jz      fail
        mov     $ITEM_KERNEL, %ax
        call    read_item

        # The command line; without one the kernel gets an empty one.
        mov     $ITEM_CMDLINE_ADDR, %ax
        mov     $DEFAULT_CMDLINE, %ebx
        call    read_address
        mov     %eax, V_CMDLINE_ADDR
        mov     %eax, %fs:HDR_CMDLINE
        mov     %eax, %edi
        mov     $ITEM_CMDLINE_SIZE, %ax
        call    read_value
        mov     %eax, %ecx
        mov     %eax, %ebx
        add     %edi, %ebx
        mov     $bad_cmdline, %si
        jc      fail
        cmp     $LOW_LIMIT, %ebx
        jae     fail
        # A zero byte first: it stays where there is no command line.
        mov     %edi, %ebx
        shr     $4, %ebx
        mov     %bx, %gs
        mov     %di, %bx
        and     $0xf, %bx
        movb    $0, %gs:(%bx)
        mov     $ITEM_CMDLINE, %ax
        call    read_item

        # The initial RAM disk.
        mov     $ITEM_INITRD_SIZE, %ax
        call    read_value
        mov     %eax, V_INITRD_SIZE
        xor     %edi, %edi
        test    %eax, %eax
        jz      2f
        call    place_initrd
        mov     $no_room, %si
        mov     V_BEST, %edi
        test    %edi, %edi
        jz      fail
        mov     V_INITRD_SIZE, %ecx
        mov     $ITEM_INITRD, %ax
        call    read_item
        mov     V_BEST, %edi
2:      mov     %edi, %fs:HDR_INITRD
        mov     V_INITRD_SIZE, %eax
        mov     %eax, %fs:HDR_INITRD_SIZE

        # Stack and heap of the setup code end with its segment, or where the command line begins.
        mov     $0x10000, %ecx
        mov     V_CMDLINE_ADDR, %eax
        sub     V_SETUP_ADDR, %eax
        jbe     3f
        cmp     %ecx, %eax
        jae     3f
        mov     %eax, %ecx
3:      and     $0xfffffff0, %ecx
        lea     -0x200(%ecx), %eax
        mov     %ax, %fs:HDR_HEAP_END
        orb     $0x80, %fs:HDR_FLAGS
        movb    $0xff, %fs:HDR_LOADER           # a loader without a number of its own

        # Enter at 512 bytes into the setup code, all segments at its start.
        sub     $16, %cx
        mov     %fs, %ax
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %gs
        mov     %ax, %ss
        mov     %cx, %sp
        add     $0x20, %ax
        push    %ax
        push    $0
        lretw

# EAX: the entry point.
multiboot:
        mov     %eax, V_ENTRY

        # The information structure with all that belongs to it, in low memory.
        mov     $ITEM_SETUP_ADDR, %ax
        mov     $DEFAULT_SETUP, %ebx
        call    read_address
        mov     $bad_info, %si
        test    $0xf, %al
        jnz     fail
        cmp     $LOW_LIMIT, %eax
        ja      fail
        mov     %eax, V_SETUP_ADDR
        mov     %eax, %edi
        shr     $4, %eax
        mov     %ax, %fs
        mov     $ITEM_SETUP_SIZE, %ax
        call    read_value
        cmp     $MBI_BYTES, %eax
        jb      fail
        mov     %eax, %ecx
        add     %edi, %eax
        jc      fail
        cmp     $LOW_LIMIT, %eax
        ja      fail
        mov     $ITEM_SETUP, %ax
        call    read_item

        # The kernel and its modules, each in one piece.
        mov     $ITEM_KERNEL_ADDR, %ax
        call    read_value
        mov     %eax, %edi
        mov     $ITEM_KERNEL_SIZE, %ax
        call    read_value
        mov     $no_kernel, %si
        mov     %eax, %ecx
        jecxz   2f
        mov     $ITEM_KERNEL, %ax
        call    read_item
        mov     $ITEM_INITRD_ADDR, %ax
        call    read_value
        mov     %eax, %edi
        mov     $ITEM_INITRD_SIZE, %ax
        call    read_value
        mov     %eax, %ecx
        mov     $ITEM_INITRD, %ax
        call    read_item

        # What the BIOS knows of memory. The map lies in the segment of the information structure.
        int     $0x12
        movzwl  %ax, %eax
        mov     %eax, %fs:MBI_MEM_LOWER
        mov     %fs:MBI_MMAP, %eax
        sub     V_SETUP_ADDR, %eax
        mov     $bad_info, %si
        cmp     $0xf000, %eax
1:      ja      fail
        mov     %ax, %bp                        # the next entry
        mov     %fs:MBI_MMAP_LENGTH, %eax
        cmp     $0x1000, %eax
        ja      1b
        add     %bp, %ax
        push    %ax                             # the end of the room
        push    %bp
        xor     %ebx, %ebx
        jmp     3f
2:      jmp     fail

3:      mov     %sp, %si
        lea     MMAP_ENTRY(%bp), %ax
        cmp     %ss:2(%si), %ax
        ja      6f
        mov     $0xe820, %eax
        mov     $0x534d4150, %edx               # "SMAP"
        mov     $20, %ecx
        mov     %fs, %di
        mov     %di, %es
        lea     4(%bp), %di
        push    %fs
        push    %bp
        int     $0x15
        pop     %bp
        pop     %fs
        jc      6f
        movl    $20, %fs:(%bp)
        cmpl    $0x100000, %fs:4(%bp)           # RAM that begins at 1 MiB
        jne     5f
        cmpl    $0, %fs:8(%bp)
        jne     5f
        cmpl    $1, %fs:20(%bp)
        jne     5f
        mov     %fs:12(%bp), %eax
        shr     $10, %eax
        mov     %eax, %fs:MBI_MEM_UPPER
5:      add     $MMAP_ENTRY, %bp
        test    %ebx, %ebx
        jnz     3b
6:      pop     %ax
        sub     %ax, %bp
        movzwl  %bp, %eax
        mov     %eax, %fs:MBI_MMAP_LENGTH

        # Into protected mode: flat segments, no paging, interrupts off.
        cli
        xor     %eax, %eax
        mov     %ax, %ds
        mov     %eax, V_GDT32
        mov     %eax, V_GDT32 + 4
        movl    $0x0000ffff, V_GDT32 + 8
        movl    $0x00cf9a00, V_GDT32 + 12       # code, readable, base 0, limit 4 GiB
        movl    $0x0000ffff, V_GDT32 + 16
        movl    $0x00cf9200, V_GDT32 + 20       # data, writable
        movw    $23, V_GDTR
        movl    $V_GDT32, V_GDTR + 2
        lgdtl   V_GDTR
        mov     V_ENTRY, %ecx
        mov     V_SETUP_ADDR, %ebx
        xor     %esi, %esi
        mov     %cs, %si
        shl     $4, %esi
        add     $protected, %esi
        push    $8
        push    $0
        push    $0
        mov     %sp, %di
        mov     %esi, %ss:(%di)
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        lretl
        .code32
protected:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        mov     %eax, %ss
        mov     $MULTIBOOT_MAGIC, %eax
        jmp     *%ecx
        .code16

# Says why (text in CS:SI) on the screen and the debug port, and lets the BIOS try the next boot entry.
fail:
        mov     %si, %bp
        mov     $prefix, %si
        call    print
        mov     %bp, %si
        call    print
        sti
        int     $0x18
4:      hlt
        jmp     4b

print:
        mov     %cs:(%si), %al
        test    %al, %al
        jz      5f
        inc     %si
        out     %al, $0xe9
        mov     $0x0e, %ah
        mov     $7, %bx
        push    %si
        push    %bp
        int     $0x10
        pop     %bp
        pop     %si
        jmp     print
5:      ret

# AX item -> EAX its value, or EBX where that is 0. Keeps EDI.
read_address:
        call    read_value
        test    %eax, %eax
        jnz     6f
        mov     %ebx, %eax
6:      ret

# AX item -> EAX its 32-bit value. Keeps EBX, EDI.
read_value:
        push    %edi
        movl    $0, V_VALUE
        mov     $V_VALUE, %edi
        mov     $4, %ecx
        call    read_item
        mov     V_VALUE, %eax
        pop     %edi
        ret

# Reads ECX bytes of item AX to physical address EDI. Keeps EBX; fails by itself.
read_item:
        jecxz   9f
        cmpb    $0, V_HAS_DMA
        je      8f
        shl     $16, %eax
        mov     $DMA_SELECT | DMA_READ, %ax
        bswap   %eax
        mov     %eax, V_DMA
        mov     %ecx, %eax
        bswap   %eax
        mov     %eax, V_DMA + 4
        xor     %eax, %eax
        mov     %eax, V_DMA + 8
        mov     $PORT_DMA_HIGH, %dx
        out     %eax, %dx
        mov     %edi, %eax
        bswap   %eax
        mov     %eax, V_DMA + 12
        mov     $V_DMA, %eax
        bswap   %eax
        mov     $PORT_DMA_LOW, %dx
        out     %eax, %dx
7:      mov     V_DMA, %eax                     # all bits clear: done
        bswap   %eax
        mov     $dma_failed, %si
        test    $DMA_ERROR, %al
        jnz     fail
        test    %eax, %eax
        jnz     7b
        ret

        # Byte by byte, through an ES that reaches all 4 GiB: loaded in protected mode, it keeps its limit in real mode.
8:      mov     $PORT_SELECT, %dx
        out     %ax, %dx
        call    flatten_es
        mov     $PORT_DATA, %dx
        addr32 rep insb
9:      ret

flatten_es:
        xor     %eax, %eax
        mov     %eax, V_GDT
        mov     %eax, V_GDT + 4
        movl    $0x0000ffff, V_GDT + 8
        movl    $0x00cf9200, V_GDT + 12         # data, writable, base 0, limit 4 GiB
        movw    $15, V_GDTR
        movl    $V_GDT, V_GDTR + 2
        lgdtl   V_GDTR
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        mov     $8, %dx
        mov     %dx, %es
        and     $0xfe, %al
        mov     %eax, %cr0
        xor     %dx, %dx
        mov     %dx, %es
        ret

# Finds the highest place for the initrd: in RAM that the BIOS reports as free, page-aligned, below what the kernel accepts and above what the
# kernel needs to unpack itself. -> V_BEST, 0 for none.
place_initrd:
        xor     %eax, %eax
        mov     %eax, V_BEST
        mov     %eax, V_MAP_NEXT
        mov     V_KERNEL_ADDR, %ebx
        mov     V_KERNEL_SIZE, %eax
        add     %ebx, %eax
        mov     $0x37ffffff, %ecx               # before 2.03 the header did not say
        cmpw    $0x203, %fs:HDR_VERSION
        jb      2f
        mov     %fs:HDR_INITRD_MAX, %ecx
        cmpw    $0x20a, %fs:HDR_VERSION
        jb      2f
        mov     %fs:HDR_PREFERRED, %edx         # it moves itself there if it lies below
        cmp     %ebx, %edx
        jae     1f
        mov     %ebx, %edx
1:      add     %fs:HDR_INIT_SIZE, %edx
        jc      2f
        cmp     %eax, %edx
        jb      2f
        mov     %edx, %eax
2:      mov     %eax, V_FLOOR
        inc     %ecx
        jnz     3f
        mov     $0xfffff000, %ecx
3:      mov     %ecx, V_LIMIT

4:      mov     $0xe820, %eax
        mov     $0x534d4150, %edx               # "SMAP"
        mov     $20, %ecx
        mov     V_MAP_NEXT, %ebx
        mov     $V_MAP, %di
        push    %fs
        int     $0x15
        pop     %fs
        jc      9f
        mov     %ebx, V_MAP_NEXT

        cmpl    $1, V_MAP + 16                  # RAM
        jne     8f
        cmpl    $0, V_MAP + 4                   # that begins below 4 GiB
        jne     8f
        mov     V_MAP, %esi
        mov     %esi, %eax
        xor     %edx, %edx
        add     V_MAP + 8, %eax
        adc     V_MAP + 12, %edx
        jz      5f
        mov     $0xfffff000, %eax               # and reaches beyond
5:      cmp     V_LIMIT, %eax
        jbe     6f
        mov     V_LIMIT, %eax
6:      cmp     V_FLOOR, %esi
        jae     7f
        mov     V_FLOOR, %esi
7:      sub     V_INITRD_SIZE, %eax
        jb      8f
        and     $0xfffff000, %eax
        cmp     %esi, %eax
        jb      8f
        cmp     V_BEST, %eax
        jbe     8f
        mov     %eax, V_BEST
8:      cmpl    $0, V_MAP_NEXT
        jne     4b
9:      ret

prefix:
        .asciz  "\r\nXenDM kernel loader: "
no_fw_cfg:
        .asciz  "no fw_cfg at port 0x510"
no_kernel:
        .asciz  "no kernel was given"
bad_kernel:
        .asciz  "not a Linux kernel image"
bad_info:
        .asciz  "not a Multiboot information structure"
bad_cmdline:
        .asciz  "command line too long"
no_room:
        .asciz  "not enough memory for the initial RAM disk"
dma_failed:
        .asciz  "fw_cfg could not read"

        .org    ROM_BYTES - 1
        .byte   0                               # build.sh makes all bytes add up to 0
