/* One more channel: the difference of two Gaussian blurs (Marr & Hildreth, 1980). */

#include "prepare.h"

enum { REACH = 4 };

/* Weights of the pixels at a distance of 0, 1, ... in 256ths. */
static const int32_t narrow[REACH + 1] = {102, 62, 14, 1, 0}, wide[REACH + 1] = {64, 53, 29, 11, 3};

/* Blurs a row of a picture, down and then across; beyond the borders, the last pixel goes on.
 * `between` has room for REACH more pixels on both sides. */
static void blur_row(const byte *restrict gray, int64_t height, int64_t width, int64_t y,
                     const int32_t *restrict weights, int32_t *restrict between,
                     int32_t *restrict out)
{
    for (int64_t x = 0; x < width; x++)
        between[x] = weights[0] * gray[y * width + x];
    for (int64_t k = 1; k <= REACH; k++) {
        const byte *above = gray + (y < k ? 0 : y - k) * width;
        const byte *under = gray + (y + k < height ? y + k : height - 1) * width;
        for (int64_t x = 0; x < width; x++)
            between[x] += weights[k] * (above[x] + under[x]);
    }
    for (int64_t k = 1; k <= REACH; k++)
        between[-k] = between[0], between[width - 1 + k] = between[width - 1];
    for (int64_t x = 0; x < width; x++) {
        out[x] = weights[0] * between[x];
        for (int64_t k = 1; k <= REACH; k++)
            out[x] += weights[k] * (between[x - k] + between[x + k]);
    }
}

static byte gray_of_rgb(const byte *rgb)
{
    return (byte)((9798u * rgb[0] + 19235u * rgb[1] + 3735u * rgb[2] + (1u << 14)) >> 15);
}

int add_edges(const byte *pixels, int depth, int64_t height, int64_t width, byte *out)
{
    const int64_t count = height * width;
    byte *gray = malloc((size_t)count);
    int32_t *rows = malloc((size_t)(3 * width + 2 * REACH) * sizeof *rows);
    const int status = gray && rows ? OK : NO_MEMORY;
    if (status == OK) {
        int32_t *near = rows, *far = rows + width, *between = rows + 2 * width + REACH;
        for (int64_t i = 0; i < count; i++)
            gray[i] = depth == 1 ? pixels[i] : gray_of_rgb(pixels + 3 * i);
        for (int64_t y = 0; y < height; y++) {
            blur_row(gray, height, width, y, narrow, between, near);
            blur_row(gray, height, width, y, wide, between, far);
            for (int64_t x = 0; x < width; x++) {
                /* 4 * difference / 2^16, and half is rounded to even. */
                const int32_t raised = near[x] - far[x] + (1 << 13), level = raised >> 14;
                near[x] = 128 + level - (level & ((raised & 16383) == 0));
            }
            for (int64_t x = 0; x < width; x++) {
                for (int c = 0; c < depth; c++)
                    *out++ = *pixels++;
                *out++ = clipped(near[x]);
            }
        }
    }
    free(gray), free(rows);
    return status;
}
