/* Shapes of AMX's tiles, as the processor reads them. */
#ifndef TERN_KERNELS_TILE_CONFIG_H
#define TERN_KERNELS_TILE_CONFIG_H

#include <stdint.h>

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "as the processor reads it");

#endif
