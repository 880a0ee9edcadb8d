/* The functions of jemalloc that a Rust allocator calls, by those of the system. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_ALIGNMENT 16
#define ALIGNMENT(flags) ((size_t)1 << ((flags) & 63))
#define IS_ZEROED(flags) ((flags) & 64)

void *_rjem_mallocx(size_t size, int flags) {
    size_t alignment = ALIGNMENT(flags) < LEAST_ALIGNMENT ? LEAST_ALIGNMENT : ALIGNMENT(flags);
    void *block = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    return block && IS_ZEROED(flags) ? memset(block, 0, size) : block;
}

void *_rjem_rallocx(void *block, size_t size, int flags) {
    size_t before = malloc_usable_size(block);
    void *moved = _rjem_mallocx(size, flags);
    if (moved) {
        memcpy(moved, block, before < size ? before : size);
        free(block);
    }
    return moved;
}

void _rjem_sdallocx(void *block, size_t size, int flags) {
    (void)size, (void)flags;
    free(block);
}

void *_rjem_malloc(size_t size) { return malloc(size); }
void *_rjem_calloc(size_t count, size_t size) { return calloc(count, size); }
void *_rjem_realloc(void *block, size_t size) { return realloc(block, size); }
