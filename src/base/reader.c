#include "base/reader.h"

#include <string.h>

void tern_reader_init(tern_reader *r, const void *data, size_t size)
{
    *r = (tern_reader){.data = data, .size = size};
}

size_t tern_reader_left(const tern_reader *r)
{
    return r->size - r->pos;
}

const uint8_t *tern_reader_take(tern_reader *r, size_t n)
{
    if (r->failed)
        return NULL;
    if (n > r->size - r->pos) {
        r->failed = true;
        r->fail_pos = r->pos;
        r->fail_need = n;
        return NULL;
    }
    const uint8_t *p = r->data + r->pos;
    r->pos += n;
    return p;
}

bool tern_reader_seek(tern_reader *r, size_t pos)
{
    if (r->failed)
        return false;
    if (pos > r->size) {
        r->failed = true;
        r->fail_pos = pos;
        return false;
    }
    r->pos = pos;
    return true;
}

uint8_t tern_read_u8(tern_reader *r)
{
    const uint8_t *p = tern_reader_take(r, 1);
    return p ? p[0] : 0;
}

uint16_t tern_read_u16(tern_reader *r)
{
    const uint8_t *p = tern_reader_take(r, 2);
    return p ? tern_le16(p) : 0;
}

uint32_t tern_read_u32(tern_reader *r)
{
    const uint8_t *p = tern_reader_take(r, 4);
    return p ? tern_le32(p) : 0;
}

uint64_t tern_read_u64(tern_reader *r)
{
    const uint8_t *p = tern_reader_take(r, 8);
    return p ? tern_le64(p) : 0;
}

uint16_t tern_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t tern_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t tern_le64(const uint8_t *p)
{
    return tern_le32(p) | (uint64_t)tern_le32(p + 4) << 32;
}

float tern_lef32(const uint8_t *p)
{
    uint32_t u = tern_le32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

double tern_lef64(const uint8_t *p)
{
    uint64_t u = tern_le64(p);
    double f;
    memcpy(&f, &u, sizeof f);
    return f;
}
