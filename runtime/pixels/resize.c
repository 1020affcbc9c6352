/* The fitted image, gray or in colours, made smaller or larger. */

#include "prepare.h"

/* What a network sees of an image before it is resized: the fitted image, row by row. */
typedef struct {
    const byte *pixels; /* first pixel that is used */
    int64_t stride;     /* bytes from row to row */
    int channels;       /* of the image: 1 or 3 (blue, green, red) */
    int depth;          /* channels of a row as it is read: fewer where it becomes gray */
    int64_t height, width, top, left; /* the image in the fitted one */
    int64_t rows, columns;            /* the fitted image */
    byte *upper, *lower;              /* buffers of columns * depth, zeros outside the image */
    const byte *black;                /* a row of a bar */
} View;

/* --- Fit and colour ------------------------------------------------------------------------ */

static inline byte gray_of(const byte *bgr)
{
    return (byte)((3735u * bgr[0] + 19235u * bgr[1] + 9798u * bgr[2] + (1u << 14)) >> 15);
}

static void to_gray(const byte *restrict bgr, byte *restrict gray, int64_t pixels)
{
    for (int64_t x = 0; x < pixels; x++)
        gray[x] = gray_of(bgr + 3 * x);
}

/* Returns a row of the fitted image, which may be in `buffer`: zeros before its first use. */
static const byte *row_of(const View *view, int64_t y, byte *buffer)
{
    if (y < view->top || y >= view->top + view->height)
        return view->black;
    const byte *row = view->pixels + (y - view->top) * view->stride;
    byte *copy = buffer + view->left * view->depth;
    if (view->depth < view->channels)
        to_gray(row, copy, view->width);
    else if (view->columns == view->width)
        return row;
    else
        memcpy(copy, row, (size_t)(view->width * view->depth));
    return buffer;
}

static int64_t at_least_1(int64_t pixels)
{
    return pixels < 1 ? 1 : pixels;
}

/* The largest part, or the smallest frame, of the image that has the shape of the result. */
static View fitted(const byte *pixels, int64_t height, int64_t width, int64_t stride, int channels,
                   const Settings *settings)
{
    View view = {.pixels = pixels,
                 .stride = stride,
                 .channels = channels,
                 .depth = settings->gray ? 1 : channels,
                 .height = height,
                 .width = width,
                 .rows = height,
                 .columns = width};
    const int64_t rows = settings->height, columns = settings->width;
    const int is_taller = height * columns > width * rows; /* than the result, in its shape */
    if (settings->fit == CENTRE_CROP) {
        if (is_taller)
            view.height = view.rows = at_least_1(width * rows / columns);
        else
            view.width = view.columns = at_least_1(height * columns / rows);
        view.pixels += (height - view.height) / 2 * stride + (width - view.width) / 2 * channels;
    } else if (settings->fit == LETTERBOX) {
        if (is_taller)
            view.columns = (height * columns + rows - 1) / rows;
        else
            view.rows = (width * rows + columns - 1) / columns;
        view.top = (view.rows - height) / 2;
        view.left = (view.columns - width) / 2;
    }
    return view;
}

/* --- Shrinking by whole factors ------------------------------------------------------------ */

enum { MOST_ROWS = 257 }; /* of 255, whose sum fills 16 bits */

/* Adds up rows of the fitted image, pixel by pixel. */
static void sum_rows(const View *view, int64_t y, int64_t rows, int64_t left,
                     uint16_t *restrict sums, int64_t count)
{
    memset(sums, 0, (size_t)count * sizeof *sums);
    for (int64_t k = 0; k < rows; k++) {
        const byte *row = row_of(view, y + k, view->upper) + left;
        for (int64_t i = 0; i < count; i++)
            sums[i] = (uint16_t)(sums[i] + row[i]);
    }
}

/* The same where all rows are as the image has them: the sums of a block stay in registers. */
static void sum_plain_rows(const byte *restrict first, int64_t stride, int64_t rows,
                           uint16_t *restrict sums, int64_t count)
{
    enum { BLOCK = 48 };
    for (int64_t i = 0; i < count; i += BLOCK) {
        uint16_t block[BLOCK] = {0};
        if (count < BLOCK) {
            for (int64_t k = 0; k < rows; k++)
                for (int64_t j = 0; j < count; j++)
                    block[j] = (uint16_t)(block[j] + first[k * stride + j]);
            memcpy(sums, block, (size_t)count * sizeof *sums);
            return;
        }
        i = i + BLOCK <= count ? i : count - BLOCK; /* the last block overlaps the one before */
        for (int64_t k = 0; k < rows; k++)
            for (int j = 0; j < BLOCK; j++)
                block[j] = (uint16_t)(block[j] + first[k * stride + i + j]);
        memcpy(sums + i, block, sizeof block);
    }
}

/* The same for rows of blue, green and red that become gray. */
static void sum_gray_rows(const byte *restrict first, int64_t stride, int64_t rows,
                          uint16_t *restrict sums, int64_t count)
{
    memset(sums, 0, (size_t)count * sizeof *sums);
    for (int64_t k = 0; k < rows; k++, first += stride)
        for (int64_t i = 0; i < count; i++)
            sums[i] = (uint16_t)(sums[i] + gray_of(first + 3 * i));
}

/* Where one pass over a block's rows leaves its sums: added to `carry`, or with it as means. */
static inline void take_sums(const uint16_t *restrict sums, uint64_t *restrict carry,
                             byte *restrict means, int64_t columns, int64_t factor, int depth,
                             float scale)
{
    for (int64_t x = 0; x < columns; x++) {
        uint32_t sum[3] = {0};
        for (int64_t k = 0; k < factor; k++, sums += depth)
            for (int c = 0; c < depth; c++)
                sum[c] += sums[c];
        for (int c = 0; c < depth; c++, carry++) {
            *carry += sum[c];
            if (means) {
                *means++ = rounded((float)*carry * scale);
                *carry = 0;
            }
        }
    }
}

/* Blocks of 2 by 2, whose half OpenCV rounds up: of all neighbours, then every other of them. */
static void take_means_of_four(const uint16_t *restrict sums, byte *restrict all,
                               byte *restrict means, int64_t columns, int depth)
{
    for (int64_t i = 0; i < (2 * columns - 1) * depth; i++)
        all[i] = (byte)((sums[i] + sums[i + depth] + 2) >> 2);
    int64_t x = 0;
    for (; depth == 1 && x < columns; x++)
        means[x] = all[2 * x];
    for (; x < columns - 1; x++)
        memcpy(means + 3 * x, all + 6 * x, 4); /* one more, which the next one overwrites */
    for (; x < columns; x++)
        memcpy(means + 3 * x, all + 6 * x, 3);
}

static void take(const uint16_t *sums, uint64_t *carry, byte *means, int64_t columns, int64_t down,
                 int64_t across, int depth)
{
    const float scale = 1.0f / (float)(down * across);
    if (down == 2 && across == 2)
        take_means_of_four(sums, (byte *)carry, means, columns, depth);
    else if (depth == 1)
        take_sums(sums, carry, means, columns, across, 1, scale);
    else
        take_sums(sums, carry, means, columns, across, 3, scale);
}

/* Averages blocks of `down` by `across` pixels; what is left over is cut off on both sides. */
static int averaged(const View *view, int64_t down, int64_t across, byte *means)
{
    const int depth = view->depth;
    const int64_t rows = view->rows / down, columns = view->columns / across;
    const int64_t top = view->rows % down / 2, left = view->columns % across / 2;
    const int64_t count = columns * across * depth;
    const int bars = view->rows != view->height || view->columns != view->width;
    uint16_t *sums = malloc((size_t)count * sizeof *sums);
    uint64_t *carry = calloc((size_t)(columns * depth), sizeof *carry);
    const int status = sums && carry ? OK : NO_MEMORY;
    for (int64_t y = top, done = 0, end; status == OK && y < top + rows * down; y = end) {
        const int64_t left_over = down - done; /* of the rows of this block */
        end = y + (left_over < MOST_ROWS ? left_over : MOST_ROWS);
        const byte *first = view->pixels + y * view->stride + left * view->channels;
        if (bars)
            sum_rows(view, y, end - y, left * depth, sums, count);
        else if (view->channels == depth)
            sum_plain_rows(first, view->stride, end - y, sums, count);
        else
            sum_gray_rows(first, view->stride, end - y, sums, count);
        done += end - y;
        take(sums, carry, done == down ? means : NULL, columns, down, across, depth);
        if (done == down)
            done = 0, means += columns * depth;
    }
    free(sums), free(carry);
    return status;
}

/* --- Interpolation ------------------------------------------------------------------------- */

/* Where a pixel of the result lies between two of the image: 256ths of the second. */
typedef struct {
    int32_t first, second;
    uint32_t weight;
} Place;

static void places_linear(Place *places, int64_t from, int64_t to)
{
    const double scale = 1.0 / ((double)to / (double)from);
    for (int64_t i = 0; i < to; i++) {
        double position = scale * ((double)i + 0.5);
        position -= 0.5;
        const int32_t first = (int32_t)floor(position);
        if (first < 0 || from == 1)
            places[i] = (Place){0, 0, 0};
        else if (first >= from - 1)
            places[i] = (Place){(int32_t)from - 1, (int32_t)from - 1, 0};
        else
            places[i] =
                (Place){first, first + 1, (uint32_t)lrint((position - (double)first) * 256.0)};
    }
}

/* The pixel in which the middle of the result's pixel lies; on a border, the later one. */
static void places_nearest(Place *places, int64_t from, int64_t to)
{
    for (int64_t i = 0; i < to; i++) {
        const int32_t nearest = (int32_t)((2 * i + 1) * from / (2 * to));
        places[i] = (Place){nearest, nearest, 0};
    }
}

/* Both ways are exact until the last shift, which rounds half up: so first down, along whole rows.
 */
static void interpolate_down(const byte *restrict upper, const byte *restrict lower,
                             uint32_t weight, uint16_t *restrict between, int64_t length)
{
    for (int64_t i = 0; i < length; i++)
        between[i] = (uint16_t)((256 - weight) * upper[i] + weight * lower[i]);
}

static void interpolate_across(const uint16_t *restrict between, const Place *restrict places,
                               byte *restrict out, int64_t width)
{
    for (int64_t x = 0; x < width; x++)
        out[x] = (byte)(((256 - places[x].weight) * between[places[x].first] +
                         places[x].weight * between[places[x].second] + (1u << 15)) >>
                        16);
}

typedef byte Bytes __attribute__((vector_size(4)));
typedef uint16_t Halves __attribute__((vector_size(8)));
typedef uint32_t Words __attribute__((vector_size(16)));

/* The same for three channels, of which a fourth is read and written along and overwritten. */
static void interpolate_colours_across(const uint16_t *restrict between,
                                       const Place *restrict places, byte *restrict out,
                                       int64_t width)
{
    for (int64_t x = 0; x < width; x++, out += 3) {
        Halves first, second;
        memcpy(&first, between + 3 * places[x].first, sizeof first);
        memcpy(&second, between + 3 * places[x].second, sizeof second);
        const Words mixed = __builtin_convertvector(first, Words) * (256 - places[x].weight) +
                            __builtin_convertvector(second, Words) * places[x].weight;
        const Bytes pixel = __builtin_convertvector((mixed + (1u << 15)) >> 16, Bytes);
        memcpy(out, &pixel, sizeof pixel);
    }
}

/* Interpolates between pixels in 256ths. */
static int interpolated(const View *view, const Settings *settings, byte *out)
{
    const int64_t height = settings->height, width = settings->width, length = width * view->depth;
    Place *across = malloc((size_t)width * sizeof *across),
          *down = malloc((size_t)height * sizeof *down);
    uint16_t *between = calloc((size_t)(view->columns * view->depth + 1), sizeof *between);
    byte *row = malloc((size_t)(length + 1));
    const int status = across && down && between && row ? OK : NO_MEMORY;
    if (status == OK) {
        void (*find)(Place *, int64_t, int64_t) =
            settings->interpolation == NEAREST ? places_nearest : places_linear;
        find(across, view->columns, width);
        find(down, view->rows, height);
        for (int64_t y = 0; y < height; y++, out += length) {
            interpolate_down(row_of(view, down[y].first, view->upper),
                             row_of(view, down[y].second, view->lower), down[y].weight, between,
                             view->columns * view->depth);
            if (view->depth == 1)
                interpolate_across(between, across, row, width);
            else
                interpolate_colours_across(between, across, row, width);
            memcpy(out, row, (size_t)length);
        }
    }
    free(across), free(down), free(between), free(row);
    return status;
}

static int64_t factor_of(int64_t side, int64_t size)
{
    return side < size ? 1 : side / size;
}

/* Writes height * width * depth bytes. */
static int resized(View *view, const Settings *settings, byte *out)
{
    const int64_t down = factor_of(view->rows, settings->height);
    const int64_t across = factor_of(view->columns, settings->width);
    const int64_t length = view->columns * view->depth;
    byte *rows_of_zeros = calloc((size_t)length, 3);
    if (!rows_of_zeros)
        return NO_MEMORY;
    view->upper = rows_of_zeros, view->lower = view->upper + length;
    view->black = view->lower + length;
    int status = OK;
    if (view->rows == settings->height && view->columns == settings->width) {
        for (int64_t y = 0; y < view->rows; y++, out += length)
            memcpy(out, row_of(view, y, view->upper), (size_t)length);
    } else if (settings->interpolation != AREA || (down == 1 && across == 1)) {
        status = interpolated(view, settings, out);
    } else {
        const int64_t rows = view->rows / down, columns = view->columns / across;
        byte *shrunk = malloc((size_t)(rows * columns * view->depth));
        status = shrunk ? averaged(view, down, across, shrunk) : NO_MEMORY;
        if (status == OK) {
            View mean = {.pixels = shrunk,
                         .stride = columns * view->depth,
                         .channels = view->depth,
                         .depth = view->depth,
                         .height = rows,
                         .width = columns,
                         .rows = rows,
                         .columns = columns};
            if (rows == settings->height && columns == settings->width)
                memcpy(out, shrunk, (size_t)(rows * mean.stride));
            else
                status = interpolated(&mean, settings, out);
        }
        free(shrunk);
    }
    free(rows_of_zeros);
    return status;
}

int resize_image(const byte *image, int64_t height, int64_t width, int64_t stride, int channels,
                 const Settings *settings, byte *out, int *depth)
{
    View view = fitted(image, height, width, stride, channels, settings);
    *depth = view.depth;
    return resized(&view, settings, out);
}
