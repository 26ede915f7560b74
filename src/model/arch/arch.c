#include "model/arch/arch.h"

#include <string.h>

#define ARCH(name, table) extern const tern_arch table;
#include "model/arch/arch.def"
#undef ARCH

static const tern_arch *const all[] = {
#define ARCH(name, table) &table,
#include "model/arch/arch.def"
#undef ARCH
};

const tern_arch *tern_arch_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strlen(all[i]->name) == n && memcmp(all[i]->name, name, n) == 0)
            return all[i];
    return NULL;
}

const char *tern_arch_list(void)
{
    static const char list[] =
#define ARCH(name, table) " " name
#include "model/arch/arch.def"
#undef ARCH
        ;
    return list + 1;
}
