/* A model file as a directory: metadata by key and tensors by name. gguf.c fills it today; other
 * containers fill the same structure. The directory owns the map of its file(s); views point in. */
#ifndef TERN_FILE_DIR_H
#define TERN_FILE_DIR_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/os/map.h"
#include "tensor/tensor.h"

typedef enum tern_meta_type { /* the numbers are GGUF's */
                              TERN_META_U8,
                              TERN_META_I8,
                              TERN_META_U16,
                              TERN_META_I16,
                              TERN_META_U32,
                              TERN_META_I32,
                              TERN_META_F32,
                              TERN_META_BOOL,
                              TERN_META_STRING,
                              TERN_META_ARRAY,
                              TERN_META_U64,
                              TERN_META_I64,
                              TERN_META_F64,
                              TERN_META_COUNT
} tern_meta_type;

/* One string inside the file; not NUL-terminated. */
typedef struct tern_slice {
    const char *p; /* borrowed from the file map */
    size_t n;
} tern_slice;

typedef struct tern_meta {
    const char *key; /* NUL-terminated copy in the directory's arena */
    tern_meta_type type;
    union {
        uint64_t u; /* U8 U16 U32 U64 BOOL */
        int64_t i;  /* I8 I16 I32 I64 */
        double f;   /* F32 F64 */
        tern_slice s;
    } v;
    /* TERN_META_ARRAY: */
    tern_meta_type elem;
    size_t n_elem;
    const uint8_t
        *elems; /* packed numbers in the file map (unaligned, little-endian); NULL for strings */
    const tern_slice *strings; /* elem == STRING: n_elem slices in the arena */
    size_t offset;             /* of the value in the file, for messages */
} tern_meta;

typedef struct tern_dir {
    char *path; /* owned by arena; for messages */
    tern_arena arena;
    tern_map_file *maps; /* owned; one per shard */
    size_t n_map;
    tern_map_file given; /* pages of a file that are the caller's (tern_dir_opts.mapped); no fd */
    tern_meta *metas;    /* in arena */
    size_t n_meta;
    tern_tensor *tensors; /* in arena, in file order */
    size_t n_tensor;
    tern_map meta_by_key, tensor_by_name;
} tern_dir;

/* How to read type ids that no file marks (ternary-format forks). */
typedef enum tern_i2s_layout { TERN_I2S_X86, TERN_I2S_ARM, TERN_I2S_ROWS4 } tern_i2s_layout;

typedef struct tern_dir_opts {
    tern_i2s_layout i2s_layout;
    bool mapped; /* memory to read from is pages of a file, which may be dropped */
} tern_dir_opts;

/* Open a GGUF file (v2, v3) or the first shard of a split one ("-00001-of-0000N.gguf"); opts may be
 * NULL. Codes: TERN_E_NOT_FOUND, TERN_E_IO, TERN_E_FORMAT, TERN_E_UNSUPPORTED, TERN_E_NOMEM. Every
 * message names the file, the key or tensor, and the offset. */
TERN_CHECK tern_code tern_gguf_open(const char *path, const tern_dir_opts *opts, tern_dir **out,
                                    tern_err *err);
/* The same from memory that outlives the directory; name is for messages. */
TERN_CHECK tern_code tern_gguf_open_memory(const void *data, size_t size, const char *name,
                                           const tern_dir_opts *opts, tern_dir **out,
                                           tern_err *err);
void tern_dir_close(tern_dir *d);

const tern_tensor *tern_dir_tensor_find(const tern_dir *d, const char *name);
const tern_meta *tern_dir_meta_find(const tern_dir *d, const char *key);

/* Hints for tensors that are read once, as those that are repacked; neither changes what is read, and
 * for a directory from memory that is no file's both do nothing. want: this one is read next, and those that follow in
 * the file soon, which the system may fetch from disk meanwhile. drop: its pages need not stay. */
void tern_dir_tensor_want(const tern_dir *d, const tern_tensor *t);
void tern_dir_tensor_drop(const tern_dir *d, const tern_tensor *t);
/* The same of all that the directory was read from. */
void tern_dir_drop(const tern_dir *d);
/* Copy [offset, offset + size) of a tensor, for single rows of one whose pages are not to stay. False:
 * there is no file to read, or it failed; the tensor's data serve as ever. */
bool tern_dir_tensor_read(const tern_dir *d, const tern_tensor *t, size_t offset, void *to,
                          size_t size);

/* Codes: TERN_E_IO, when one of the files was cut since it was opened and that was seen (tern_map_guard). */
TERN_CHECK tern_code tern_dir_check_whole(const tern_dir *d, tern_err *err);

/* Typed look-ups. Absent key: *found = false, *out untouched, TERN_OK (found may be NULL). Wrong
 * type or a value that does not fit: TERN_E_FORMAT. Any integer type serves for an integer, f32 or
 * f64 for a number. Strings stay in the file map. */
TERN_CHECK tern_code tern_dir_get_u32(const tern_dir *d, const char *key, uint32_t *out,
                                      bool *found, tern_err *err);
TERN_CHECK tern_code tern_dir_get_f32(const tern_dir *d, const char *key, float *out, bool *found,
                                      tern_err *err);
TERN_CHECK tern_code tern_dir_get_bool(const tern_dir *d, const char *key, bool *out, bool *found,
                                       tern_err *err);
TERN_CHECK tern_code tern_dir_get_str(const tern_dir *d, const char *key, tern_slice *out,
                                      bool *found, tern_err *err);
/* A value of any number's type as f64; false when it is none. */
bool tern_meta_number(const tern_meta *m, double *out);
/* Bytes of one number; 0 for a string or an array. */
size_t tern_meta_number_bytes(tern_meta_type type);
/* Array element i as a number; the caller has checked i < n_elem and that elem is numeric. */
double tern_meta_elem_f64(const tern_meta *m, size_t i);
int64_t tern_meta_elem_i64(const tern_meta *m, size_t i);

#endif
