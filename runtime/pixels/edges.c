/* One more channel: the difference of two Gaussian blurs (Marr & Hildreth, 1980). */

#include "prepare.h"

enum { REACH = 4 };

/* Weights of the pixels at a distance of 0, 1, ... in 256ths. */
static const int32_t narrow[REACH + 1] = {102, 62, 14, 1, 0}, wide[REACH + 1] = {64, 53, 29, 11, 3};

/* Blurs along one line; beyond its ends, the last pixel goes on. `step` is from pixel to pixel. */
static void blur(const int32_t *restrict from, int32_t *restrict to, int64_t size, int64_t step,
                 const int32_t *weights)
{
    for (int64_t i = 0; i < size; i++) {
        int32_t sum = weights[0] * from[i * step];
        for (int64_t k = 1; k <= REACH; k++) {
            const int64_t before = i < k ? 0 : i - k, after = i + k < size ? i + k : size - 1;
            sum += weights[k] * (from[before * step] + from[after * step]);
        }
        to[i * step] = sum;
    }
}

static void blur_plane(const int32_t *from, int32_t *between, int32_t *to, int64_t size,
                       const int32_t *weights)
{
    for (int64_t i = 0; i < size; i++)
        blur(from + i * size, between + i * size, size, 1, weights);
    for (int64_t i = 0; i < size; i++)
        blur(between + i, to + i, size, size, weights);
}

/* Writes `depth` channels and the edges of their gray, 128 where there are none. */
int add_edges(const byte *pixels, int depth, int64_t size, byte *out)
{
    const int64_t count = size * size;
    int32_t *gray = malloc((size_t)count * 4 * sizeof *gray);
    if (!gray)
        return NO_MEMORY;
    int32_t *between = gray + count, *near = between + count, *far = near + count;
    for (int64_t i = 0; i < count; i++) {
        const byte *pixel = pixels + i * depth;
        gray[i] = depth == 1
                      ? pixel[0]
                      : (9798 * pixel[0] + 19235 * pixel[1] + 3735 * pixel[2] + (1 << 14)) >> 15;
    }
    blur_plane(gray, between, near, size, narrow);
    blur_plane(gray, between, far, size, wide);
    for (int64_t i = 0; i < count; i++, out += depth + 1) {
        memcpy(out, pixels + i * depth, (size_t)depth);
        /* 4 * difference / 2^16, and half is rounded to even. */
        const int32_t raised = near[i] - far[i] + (1 << 13), level = raised >> 14;
        out[depth] = clipped(128 + level - (level & ((raised & 16383) == 0)));
    }
    free(gray);
    return OK;
}
