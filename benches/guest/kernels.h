/* What a kernel is: a fixed piece of work whose result does not depend on the machine.
 *
 * The same sources are built twice: into a program for Linux that times each kernel, and into a
 * multiboot image that needs no operating system. Neither has a C library. */
#ifndef KERNELS_H
#define KERNELS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct kernel {
    const char *name;
    /* Does the work `units` times over and returns a checksum of the results. One unit is very
     * roughly a million instructions, or a hundred microseconds of system work. */
    u32 (*run)(u32 units);
};

/* Each table ends with an entry without a name. */
extern const struct kernel integer_kernels[];
extern const struct kernel memory_kernels[];
extern const struct kernel float_kernels[];
extern const struct kernel system_kernels[];

/* The same sequence of numbers everywhere (xorshift32); *state must not be 0. */
static inline u32 next_random(u32 *state)
{
    u32 x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

/* Keeps the compiler from seeing through a value. */
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))

#endif
