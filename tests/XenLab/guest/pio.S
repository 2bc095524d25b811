# pio PORT COUNT (decimal): reads the byte at an I/O port COUNT times. It asks for nothing but the port access, so that the time it takes is
# the way from the guest to the device model and back.
	.globl	_start
	.text
_start:
	mov	16(%rsp), %rsi
	call	decimal
	mov	%eax, %ebx
	mov	24(%rsp), %rsi
	call	decimal
	mov	%eax, %ebp
	mov	$172, %eax		# iopl
	mov	$3, %edi
	syscall
	test	%eax, %eax
	jnz	end
	mov	%ebx, %edx
1:	in	%dx, %al
	dec	%ebp
	jnz	1b
	xor	%eax, %eax
end:	mov	%eax, %edi
	and	$1, %edi
	mov	$60, %eax		# exit
	syscall

decimal:
	xor	%eax, %eax
2:	movzbl	(%rsi), %ecx
	sub	$'0', %ecx
	jb	3f
	imul	$10, %eax
	add	%ecx, %eax
	inc	%rsi
	jmp	2b
3:	ret
