/* Integer work: hashing, sorting, searching, and the kinds of jumps that interpreters and
 * translators find hard (indirect jumps, calls through pointers, deep recursion). */
#include "kernels.h"

static u8 buffer[1 << 16];

static void fill_buffer(u32 seed)
{
    for (u32 i = 0; i < sizeof buffer; i++)
        buffer[i] = (u8)next_random(&seed);
}

/* --- crc32: table lookups, shifts, byte loads */

static u32 crc_table[256];

static u32 crc32(u32 units)
{
    u32 crc = ~0u;
    fill_buffer(1);
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        crc_table[i] = c;
    }
    while (units--) {
        for (int pass = 0; pass < 2; pass++)
            for (u32 i = 0; i < sizeof buffer; i++)
                crc = crc_table[(crc ^ buffer[i]) & 0xFF] ^ (crc >> 8);
    }
    return ~crc;
}

/* --- sieve: strided byte stores, tight loops */

static u32 sieve(u32 units)
{
    u32 sum = 0;
    while (units--) {
        u32 count = 0;
        for (u32 i = 0; i < sizeof buffer; i++)
            buffer[i] = 1;
        for (u32 i = 2; i < sizeof buffer; i++) {
            if (!buffer[i])
                continue;
            count += i;
            for (u32 j = i + i; j < sizeof buffer; j += i)
                buffer[j] = 0;
        }
        sum = sum * 31 + count + units;
    }
    return sum;
}

/* --- sha256: rotates, additions, much register pressure */

static const u32 sha_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static u32 rotate_right(u32 x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha256_block(u32 h[8], const u8 *p)
{
    u32 w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (u32)p[4 * i] << 24 | (u32)p[4 * i + 1] << 16 | (u32)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        u32 a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotate_right(a, 7) ^ rotate_right(a, 18) ^ a >> 3) +
               (rotate_right(b, 17) ^ rotate_right(b, 19) ^ b >> 10);
    }
    for (int i = 0; i < 8; i++)
        s[i] = h[i];
    for (int i = 0; i < 64; i++) {
        u32 t1 = s[7] + (rotate_right(s[4], 6) ^ rotate_right(s[4], 11) ^ rotate_right(s[4], 25)) +
                 ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_k[i] + w[i];
        u32 t2 = (rotate_right(s[0], 2) ^ rotate_right(s[0], 13) ^ rotate_right(s[0], 22)) +
                 ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = s[4], s[4] = s[3] + t1;
        s[3] = s[2], s[2] = s[1], s[1] = s[0], s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

static u32 sha256(u32 units)
{
    u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    fill_buffer(2);
    while (units--)
        for (u32 i = 0; i < 1 << 15; i += 64)
            sha256_block(h, buffer + i);
    return h[0] ^ h[7];
}

/* --- quicksort: data-dependent branches, recursion */

static u32 numbers[1 << 13];

static void quicksort(u32 *low, u32 *high)
{
    while (low < high) {
        u32 pivot = low[(high - low) / 2], *i = low, *j = high;
        while (i <= j) {
            while (*i < pivot)
                i++;
            while (*j > pivot)
                j--;
            if (i <= j) {
                u32 t = *i;
                *i++ = *j;
                *j-- = t;
            }
        }
        if (j - low < high - i) {
            quicksort(low, j);
            low = i;
        } else {
            quicksort(i, high);
            high = j;
        }
    }
}

static u32 sort(u32 units)
{
    const u32 n = sizeof numbers / sizeof numbers[0];
    u32 seed = 3, sum = 0;
    while (units--) {
        for (u32 i = 0; i < n; i++)
            numbers[i] = next_random(&seed);
        quicksort(numbers, numbers + n - 1);
        for (u32 i = 0; i < n; i += 64)
            sum = sum * 33 + numbers[i];
        for (u32 i = 1; i < n; i++)
            sum += numbers[i - 1] > numbers[i];
    }
    return sum;
}

/* --- bytecode: an interpreter that jumps through a table after every operation */

enum { PUSH, ADD, XOR, SHIFT, LOAD, STORE, LESS, BRANCH, DROP, END };

/* i = 0; x = 1; do { x = (x + i) ^ (x << 3); i = i + 1; } while (i < 5000); */
static const u32 program[] = {
    PUSH, 0, STORE, 0, PUSH, 1, STORE, 1,
    LOAD, 1, LOAD, 0, ADD, LOAD, 1, SHIFT, 3, XOR, STORE, 1,
    LOAD, 0, PUSH, 1, ADD, STORE, 0,
    LOAD, 0, PUSH, 5000, LESS, BRANCH, 8,
    PUSH, 7, DROP, END,
};

__attribute__((noinline)) static u32 execute(u32 start)
{
    static const void *const labels[] = {
        &&push, &&add, &&xor, &&shift, &&load, &&store, &&less, &&branch, &&drop, &&end,
    };
    u32 stack[16], *sp = stack, variables[2] = {0, 0};
    const u32 *pc = program;
#define NEXT goto *labels[*pc++]
    NEXT;
push:
    *sp++ = *pc++;
    NEXT;
add:
    sp--;
    sp[-1] += *sp;
    NEXT;
xor:
    sp--;
    sp[-1] ^= *sp;
    NEXT;
shift:
    sp[-1] <<= *pc++;
    NEXT;
load:
    *sp++ = variables[*pc++];
    NEXT;
store:
    variables[*pc++] = *--sp;
    NEXT;
less:
    sp--;
    sp[-1] = sp[-1] < *sp;
    NEXT;
branch:
    pc = *--sp ? program + *pc : pc + 1;
    NEXT;
drop:
    sp--;
    NEXT;
end:
    return variables[1] + start;
#undef NEXT
}

static u32 bytecode(u32 units)
{
    u32 sum = 0;
    while (units--) {
        for (int pass = 0; pass < 3; pass++) {
            u32 start = sum;
            OPAQUE(start);
            sum = execute(start) * 5 + units;
        }
    }
    return sum;
}

/* --- chase: loads that each depend on the one before, over 512 KiB */

static u32 links[1 << 17];

static u32 chase(u32 units)
{
    const u32 n = sizeof links / sizeof links[0];
    u32 seed = 4, at = 0;
    for (u32 i = 0; i < n; i++)
        links[i] = i;
    /* Sattolo's shuffle: one cycle through all of them. */
    for (u32 i = n - 1; i > 0; i--) {
        u32 j = next_random(&seed) % i, t = links[i];
        links[i] = links[j];
        links[j] = t;
    }
    while (units--)
        for (u32 i = 0; i < 300000; i++)
            at = links[at];
    return at;
}

/* --- fib: calls and returns */

__attribute__((noinline, noclone)) static u32 fib(u32 n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static u32 recursion(u32 units)
{
    u32 sum = 0;
    while (units--) {
        u32 n = 24;
        OPAQUE(n);
        sum = sum * 3 + fib(n);
    }
    return sum;
}

/* --- calls: calls through pointers, whose targets change */

__attribute__((noinline)) static u32 step_add(u32 x) { return x + 0x9E3779B9; }
__attribute__((noinline)) static u32 step_multiply(u32 x) { return x * 2654435761u; }
__attribute__((noinline)) static u32 step_rotate(u32 x) { return x << 7 | x >> 25; }
__attribute__((noinline)) static u32 step_divide(u32 x) { return x / 7 ^ x % 7; }
__attribute__((noinline)) static u32 step_bits(u32 x) { return (x & 0x55555555) + (x >> 1 & 0x55555555) + (x ^ 0xA5); }
__attribute__((noinline)) static u32 step_swap(u32 x) { return x >> 24 | (x >> 8 & 0xFF00) | (x << 8 & 0xFF0000) | x << 24; }

static u32 (*volatile const steps[8])(u32) = {
    step_add, step_multiply, step_rotate, step_divide, step_bits, step_swap, step_multiply, step_add,
};

static u32 calls(u32 units)
{
    u32 x = 5;
    while (units--)
        for (u32 i = 0; i < 60000; i++)
            x = steps[(x ^ i) & 7](x) + i;
    return x;
}

const struct kernel integer_kernels[] = {
    {"crc32", crc32},       {"sieve", sieve}, {"sha256", sha256},  {"quicksort", sort}, {"bytecode", bytecode},
    {"chase", chase},       {"fib", recursion}, {"calls", calls},  {0, 0},
};
