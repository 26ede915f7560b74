/* The built-in model's bytes, as the file has them. TERN_BUILTIN is its path. */
    .section .rodata.tern_builtin, "a"
    .balign 64
    .globl tern_builtin_begin
    .hidden tern_builtin_begin
    .globl tern_builtin_end
    .hidden tern_builtin_end
tern_builtin_begin:
    .incbin TERN_BUILTIN
tern_builtin_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
