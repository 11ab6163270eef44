/* Preloaded: while the file $NO_LARGE_MEMORY exists, one in ten allocations of 64 KB and more fails, as they do where memory is scarce or in pieces. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned count;

static int scarce(size_t size)
{
    const char *name;
    if (size < 64 * 1024)
        return 0;
    name = getenv("NO_LARGE_MEMORY");
    if (!name || access(name, F_OK) || ++count % 10)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    static void *(*real)(size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "malloc");
    return scarce(size) ? NULL : real(size);
}

void *realloc(void *old, size_t size)
{
    static void *(*real)(void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "realloc");
    return scarce(size) ? NULL : real(old, size);
}
