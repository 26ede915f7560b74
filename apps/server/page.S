/* The page, as it is and compressed, and the licences of what it is made of. */
    .section .rodata.tern_page, "a"
    .globl tern_page_begin
    .hidden tern_page_begin
    .globl tern_page_end
    .hidden tern_page_end
tern_page_begin:
    .incbin TERN_PAGE
tern_page_end:
    .byte 0
    .globl tern_page_gzip_begin
    .hidden tern_page_gzip_begin
    .globl tern_page_gzip_end
    .hidden tern_page_gzip_end
tern_page_gzip_begin:
#ifdef TERN_PAGE_GZIP
    .incbin TERN_PAGE_GZIP
#endif
tern_page_gzip_end:
    .byte 0
    .globl tern_page_licenses_begin
    .hidden tern_page_licenses_begin
    .globl tern_page_licenses_end
    .hidden tern_page_licenses_end
tern_page_licenses_begin:
    .incbin TERN_PAGE_LICENSES
tern_page_licenses_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
