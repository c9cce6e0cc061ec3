/* Copying and filling memory: by a loop of ordinary instructions, and by the string instructions. */
#include "kernels.h"

static u32 source[1 << 15], target[1 << 15];

static void fill(void)
{
    u32 seed = 6;
    for (u32 i = 0; i < sizeof source / 4; i++)
        source[i] = next_random(&seed), target[i] = 0;
}

static u32 sum_target(void)
{
    u32 sum = 0;
    for (u32 i = 0; i < sizeof target / 4; i++)
        sum = sum * 31 + target[i];
    return sum;
}

static u32 copy_words(u32 units)
{
    fill();
    while (units--) {
        for (int pass = 0; pass < 8; pass++) {
            u32 *to = target, *from = source;
            for (u32 n = sizeof target / 16; n != 0; n--, to += 4, from += 4) {
                u32 a = from[0], b = from[1], c = from[2], d = from[3];
                to[0] = a, to[1] = b, to[2] = c, to[3] = d;
            }
        }
        source[units & 0x7FFF] += units;
    }
    return sum_target();
}

static void rep_movsd(void *to, const void *from, u32 count)
{
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void rep_movsb(void *to, const void *from, u32 count)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void rep_stosd(void *to, u32 value, u32 count)
{
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

static u32 string_copy(u32 units)
{
    fill();
    while (units--) {
        for (int pass = 0; pass < 32; pass++)
            rep_movsd(target, source, sizeof target / 4);
        source[units & 0x7FFF] += units;
    }
    return sum_target();
}

/* Copies as short as those of names and messages, at all alignments. */
static u32 string_copy_short(u32 units)
{
    fill();
    while (units--)
        for (u32 i = 0; i < 20000; i++)
            rep_movsb((u8 *)target + (i * 37 & 0xFFFF), (u8 *)source + (i * 53 & 0xFFFF), 1 + (i & 31));
    return sum_target();
}

static u32 string_fill(u32 units)
{
    while (units--)
        for (u32 pass = 0; pass < 32; pass++)
            rep_stosd(target, units * 32 + pass, sizeof target / 4);
    return sum_target();
}

const struct kernel memory_kernels[] = {
    {"copy-loop", copy_words},
    {"rep-movsd", string_copy},
    {"rep-movsb-short", string_copy_short},
    {"rep-stosd", string_fill},
    {0, 0},
};
