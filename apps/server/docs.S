/* The page of /docs, as docs.html has it. TERN_DOCS is its path. */
    .section .rodata.tern_docs, "a"
    .globl tern_docs_begin
    .hidden tern_docs_begin
    .globl tern_docs_end
    .hidden tern_docs_end
tern_docs_begin:
    .incbin TERN_DOCS
tern_docs_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
