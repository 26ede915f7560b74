/* Bytes from outside, read in order: bounds-checked, little-endian, with a sticky error and the
 * offset kept for the message. After a failure every read gives zero and moves nothing, so a parser
 * may read a whole record and look once. */
#ifndef TERN_BASE_READER_H
#define TERN_BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tern_reader {
    const uint8_t *data; /* borrowed */
    size_t size, pos;
    bool failed;
    size_t fail_pos;  /* where the failed read began, or where the failed seek went */
    size_t fail_need; /* how many bytes it wanted; 0 after a seek */
} tern_reader;

void tern_reader_init(tern_reader *r, const void *data, size_t size);
size_t tern_reader_left(const tern_reader *r);
/* Pointer to the next n bytes, which are passed; NULL on failure. */
const uint8_t *tern_reader_take(tern_reader *r, size_t n);
bool tern_reader_seek(tern_reader *r, size_t pos);

uint8_t tern_read_u8(tern_reader *r);
uint16_t tern_read_u16(tern_reader *r);
uint32_t tern_read_u32(tern_reader *r);
uint64_t tern_read_u64(tern_reader *r);

/* Unaligned little-endian loads from memory already known to be there. */
uint16_t tern_le16(const uint8_t *p);
uint32_t tern_le32(const uint8_t *p);
uint64_t tern_le64(const uint8_t *p);
float tern_lef32(const uint8_t *p);
double tern_lef64(const uint8_t *p);

#endif
