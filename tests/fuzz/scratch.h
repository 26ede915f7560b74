/* A folder for targets whose parser opens files by path: in memory where the system has such a place, and
 * removed when the program ends. */
#ifndef TERN_TESTS_FUZZ_SCRATCH_H
#define TERN_TESTS_FUZZ_SCRATCH_H

#include <stddef.h>

/* Its path, the same each time. */
const char *scratch_folder(void);
/* Path of a file in it, valid until the next call. */
const char *scratch_path(const char *name);
/* Write a file of the folder anew; name may be "a/b" with a folder a, which is made. */
void scratch_write(const char *name, const void *bytes, size_t n);
/* A safetensors file of this head, with as many bytes behind it as its tensors' offsets reach, but at
 * most cap. They are small positive numbers in each type of float, or any bytes when noise is set. */
void scratch_container(const char *name, const char *head, size_t n_head, size_t cap, int noise);
/* Remove the files that were written since the last call. */
void scratch_clear(void);

#endif
