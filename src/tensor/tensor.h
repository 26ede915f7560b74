/* Typed views of weights as files hold them, and the one place that knows each format's bytes.
 *
 * dtype.def has one row per format; fmt/<format>.c has its bit picture, unpack and pack. A view never
 * owns its bytes. Nothing here checks outside numbers but tern_dtype_bytes: file/ validates a view
 * once, after which every function below stays inside data[0..bytes). */
#ifndef TERN_TENSOR_TENSOR_H
#define TERN_TENSOR_TENSOR_H

#include "tern.h"

/* Rows of dtype.def; the value is ours, not the file's (file ids collide between forks). */
typedef enum tern_dtype {
#define DTYPE(id, name, ...) TERN_DT_##id,
#include "tensor/dtype.def"
#undef DTYPE
    TERN_DT_COUNT
} tern_dtype;

/* How a format's bytes grow with the shape. */
typedef enum tern_dtype_unit {
    TERN_UNIT_BLOCK, /* ne0 / blk_elems blocks per row */
    TERN_UNIT_ROW,   /* a header per row, then blocks */
    TERN_UNIT_TENSOR /* codes of the whole tensor, then a tail of tail_bytes */
} tern_dtype_unit;

/* What the values are, which decides how the engine multiplies with them. */
typedef enum tern_dtype_class {
    TERN_CLASS_FLOAT,   /* F32 F16 BF16 */
    TERN_CLASS_BLOCK,   /* 2..8-bit integers with block scales (and minima) */
    TERN_CLASS_TERNARY, /* 2-bit codes u meaning u - 1 times a scale; see code_group */
    TERN_CLASS_OTHER    /* parsed and sized only */
} tern_dtype_class;

typedef struct tern_tensor {
    const char *name; /* borrowed from the file directory */
    tern_dtype dtype;
    int n_dim;
    size_t ne[4];        /* ne[0] is contiguous: a [out, in] matrix has ne = {in, out, 1, 1} */
    const uint8_t *data; /* borrowed from the file map */
    size_t bytes;
    size_t offset; /* of data in its file, for messages */
    size_t tail;   /* TERN_UNIT_TENSOR, some rows of a tensor: where in data its tail is; else 0 */
    size_t part;   /* some rows of a tensor: which such part of the model, from 1; else 0 */
    float scale;   /* HF_PACKED: of the codes, which the data lacks; *_MASTER: what elements are
                    multiplied by before they are rounded to codes */
} tern_tensor;

typedef struct tern_dtype_info {
    const char *name; /* as the file formats call it: "Q4_0" */
    uint32_t file_id; /* GGUF type id that this engine writes; UINT32_MAX: none */
    int blk_elems;    /* elements of a row in one block; ne0 is a multiple of it */
    int blk_rows;     /* rows in one block (1 but for I2_S_ROWS4); the row count is a multiple */
    int blk_bytes;
    int head_bytes; /* per row, TERN_UNIT_ROW */
    int tail_bytes; /* per tensor, TERN_UNIT_TENSOR */
    tern_dtype_unit unit;
    tern_dtype_class cls;
    int code_group; /* TERNARY: elements per scale; 0: one per row; -1: one per tensor */
    /* Row `row` (over ne[1..3]) as ne[0] floats. NULL for TERN_CLASS_OTHER. */
    void (*unpack_row)(const tern_tensor *t, size_t row, float *dst);
    /* TERNARY only: the row's ne[0] codes 0..3 (value = scale * (code - 1)) and its scales:
     * ne[0] / code_group of them, or one. Where one is for the whole tensor no code is 3. */
    void (*unpack_codes)(const tern_tensor *t, size_t row, uint8_t *codes, float *scales);
    /* Pack src [rows, cols] (row-major) into dst of tern_dtype_bytes({cols, rows}). NULL: this
     * engine does not write the format. Bytes equal the field's reference quantiser, with its
     * importance matrix too: importance [cols] is how much an error in the column weighs, the mean
     * square of what the matrix is multiplied with; NULL weighs by the values alone. Formats whose
     * codes leave no choice ignore it. Rows of TERN_UNIT_BLOCK formats do not depend on each other,
     * so threads may pack some each. */
    void (*pack)(const float *src, size_t rows, size_t cols, const float *importance, uint8_t *dst);
} tern_dtype_info;

/* NULL for a number that is no row of the table. */
const tern_dtype_info *tern_dtype_get(tern_dtype dt);
/* By name, any case ("q4_0"); false when unknown. */
bool tern_dtype_find(const char *name, tern_dtype *out);
/* Bytes of a tensor of this shape, unpadded; false when the shape does not fit the block, a
 * dimension is 0, a per-tensor format has more than two dimensions, or elements or bytes overflow. */
bool tern_dtype_bytes(tern_dtype dt, const size_t ne[4], size_t *out);
/* Rows [row0, row0 + n_row) of a matrix as one of their own, which reads t's bytes; false when a block
 * spans rows and one would be cut. */
bool tern_tensor_view(const tern_tensor *t, size_t row0, size_t n_row, tern_tensor *out);
/* Make a float matrix the master of a ternary one, whose scale is the mean magnitude, at least 1e-5.
 * False, and nothing changed: it is not float, or the mean is not finite. Reads all of it. */
bool tern_master_ternarise(tern_tensor *t);
/* ne[1] * ne[2] * ne[3]; the view is valid, so it cannot overflow. */
size_t tern_tensor_rows(const tern_tensor *t);

/* Scalar conversions, IEEE round to nearest even, subnormals, infinities and NaN kept. */
float tern_f16_to_f32(uint16_t h);
uint16_t tern_f32_to_f16(float f);
float tern_bf16_to_f32(uint16_t h);
uint16_t tern_f32_to_bf16(float f);

#endif
