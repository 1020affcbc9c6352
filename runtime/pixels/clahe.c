/* CLAHE: contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994). */

#include "prepare.h"

/* Turns a tile's histogram, whose pixels are `pixels` in number, into its table of 256 levels. */
static void table_of(int32_t *restrict histogram, int32_t pixels, double clip_limit,
                     byte *restrict table)
{
    const double height = clip_limit * (double)pixels / 256.0;
    int32_t limit = height < (double)pixels ? (int32_t)height : pixels, cut = 0;
    limit = limit < 1 ? 1 : limit;
    for (int i = 0; i < 256; i++) {
        const int32_t kept = histogram[i] < limit ? histogram[i] : limit;
        cut += histogram[i] - kept;
        histogram[i] = kept;
    }
    const int32_t share = cut / 256;
    for (int i = 0, rest = cut % 256, step = rest ? 256 / rest : 0; rest; i += step, rest--)
        histogram[i]++;
    for (int i = 1; i < 256; i++)
        histogram[i] += histogram[i - 1];
    const float scale = 255.0f / (float)pixels;
    for (int i = 0; i < 256; i++)
        table[i] = rounded((float)(histogram[i] + share * (i + 1)) * scale);
}

/* Position `i` of `length` and beyond, reflected at the last pixel: ... c b a b c | b a b c ... */
static int64_t reflected(int64_t i, int64_t length)
{
    if (length == 1)
        return 0;
    i %= 2 * length - 2;
    return i < length ? i : 2 * length - 2 - i;
}

/* A plane and its tiles, whose sides are rounded up. */
typedef struct {
    byte *levels;
    int64_t height, width;
    int64_t tiles; /* on each side of the plane */
    int64_t tile_height, tile_width;
} Plane;

static void find_tables(const Plane *plane, double clip_limit, byte *tables)
{
    const int64_t tiles = plane->tiles, high = plane->tile_height, wide = plane->tile_width;
    for (int64_t tile = 0; tile < tiles * tiles; tile++) {
        const int64_t top = tile / tiles * high, left = tile % tiles * wide;
        int32_t histogram[256] = {0};
        for (int64_t y = top; y < top + high; y++) {
            const byte *row = plane->levels + reflected(y, plane->height) * plane->width;
            const int64_t inside = left + wide < plane->width ? left + wide : plane->width;
            int64_t x = left;
            for (; x < inside; x++)
                histogram[row[x]]++;
            for (; x < left + wide; x++)
                histogram[row[reflected(x, plane->width)]]++;
        }
        table_of(histogram, (int32_t)(high * wide), clip_limit, tables + tile * 256);
    }
}

/* Which tables each column or row of pixels mixes, and of how many parts: `second_parts` of the
 * second. */
typedef struct {
    int32_t *first, *second; /* where the tiles' tables begin */
    int32_t *second_parts;
} Mixes;

/* A mix has 2 * side parts, for the middle of a tile may lie between two pixels. */
static void find_mixes(Mixes mixes, int64_t length, int64_t tiles, int64_t side)
{
    for (int64_t i = 0; i < length; i++) {
        const int64_t parts = 2 * i - side;
        const int64_t first = parts < 0 ? -1 : parts / (2 * side);
        mixes.second_parts[i] = (int32_t)(parts - first * 2 * side);
        mixes.first[i] = (int32_t)(first < 0 ? 0 : first) * 256;
        mixes.second[i] = (int32_t)(first + 1 < tiles ? first + 1 : tiles - 1) * 256;
    }
}

/* Equalises a row: mixes the tables of four tiles for each pixel, in whole numbers; half is rounded
 * to even. */
static void mix_row(const Plane *plane, byte *row, Mixes mixes, const byte *upper,
                    const byte *lower, uint64_t below)
{
    const uint64_t down = (uint64_t)plane->tile_height * 2;
    const uint64_t across = (uint64_t)plane->tile_width * 2;
    const uint64_t above = down - below, whole = down * across;
    const int64_t width = plane->width; /* which bytes that are written could be, for C */
    for (int64_t x = 0; x < width; x++) {
        const int64_t first = mixes.first[x] + row[x], second = mixes.second[x] + row[x];
        const uint64_t right = (uint64_t)mixes.second_parts[x], left = across - right;
        const uint64_t sum = (left * upper[first] + right * upper[second]) * above +
                             (left * lower[first] + right * lower[second]) * below + whole / 2;
        const uint64_t level = sum / whole;
        row[x] = (byte)(level - (level & (level * whole == sum)));
    }
}

enum { MOST_PARTS = 256, SOME = 64 };

/* The same with both tables of a column in one number, and some pixels at a time, so that the
 * compiler mixes several at once: for sums below 2^24, which a float holds. A product with
 * 1 / whole is at most one level off, and put right. */
static void mix_row_of_small_tiles(const Plane *plane, byte *restrict row, Mixes mixes,
                                   const uint32_t *restrict pairs, uint32_t below)
{
    const uint32_t down = (uint32_t)plane->tile_height * 2;
    const uint32_t across = (uint32_t)plane->tile_width * 2;
    const uint32_t above = down - below;
    const int32_t whole = (int32_t)(down * across);
    const float inverse = 1.0f / (float)whole;
    uint32_t first[SOME], second[SOME];
    for (int64_t start = 0; start < plane->width; start += SOME, row += SOME) {
        const int64_t left = plane->width - start;
        const int some = (int)(left < SOME ? left : SOME);
        const int32_t *restrict right = mixes.second_parts + start;
        for (int i = 0; i < some; i++) {
            first[i] = pairs[mixes.first[start + i] + row[i]];
            second[i] = pairs[mixes.second[start + i] + row[i]];
        }
        for (int i = 0; i < some; i++) {
            const uint32_t pair =
                (across - (uint32_t)right[i]) * first[i] + (uint32_t)right[i] * second[i];
            const int32_t sum =
                (int32_t)((pair & 0xffff) * above + (pair >> 16) * below) + whole / 2;
            int32_t level = (int32_t)((float)sum * inverse);
            level -= level * whole > sum;
            level += (level + 1) * whole <= sum;
            row[i] = (byte)(level - (level & (level * whole == sum)));
        }
    }
}

static void pair_tables(const byte *restrict upper, const byte *restrict lower,
                        uint32_t *restrict pairs, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        pairs[i] = upper[i] | (uint32_t)lower[i] << 16;
}

static void mix_plane(const Plane *plane, Mixes down, Mixes across, const byte *tables,
                      uint32_t *pairs)
{
    const int small = 2 * plane->tile_height <= MOST_PARTS && 2 * plane->tile_width <= MOST_PARTS;
    byte *row = plane->levels;
    for (int64_t y = 0; y < plane->height; y++, row += plane->width) {
        const byte *upper = tables + down.first[y] * plane->tiles;
        const byte *lower = tables + down.second[y] * plane->tiles;
        const uint32_t below = (uint32_t)down.second_parts[y];
        if (!small) {
            mix_row(plane, row, across, upper, lower, below);
            continue;
        }
        if (y == 0 || down.first[y] != down.first[y - 1] || down.second[y] != down.second[y - 1])
            pair_tables(upper, lower, pairs, plane->tiles * 256);
        mix_row_of_small_tiles(plane, row, across, pairs, below);
    }
}

int equalise_plane(byte *levels, const Settings *settings)
{
    const int64_t height = settings->height, width = settings->width, tiles = settings->tiles;
    const Plane plane = {.levels = levels,
                         .height = height,
                         .width = width,
                         .tiles = tiles,
                         .tile_height = (height + tiles - 1) / tiles,
                         .tile_width = (width + tiles - 1) / tiles};
    byte *tables = malloc((size_t)(tiles * tiles * 256));
    uint32_t *pairs = malloc((size_t)tiles * 256 * sizeof *pairs);
    int32_t *numbers = malloc((size_t)(height + width) * 3 * sizeof *numbers);
    const int status = tables && pairs && numbers ? OK : NO_MEMORY;
    if (status == OK) {
        int32_t *others = numbers + 3 * height;
        const Mixes down = {numbers, numbers + height, numbers + 2 * height};
        const Mixes across = {others, others + width, others + 2 * width};
        find_tables(&plane, settings->clip_limit, tables);
        find_mixes(down, height, tiles, plane.tile_height);
        find_mixes(across, width, tiles, plane.tile_width);
        mix_plane(&plane, down, across, tables, pairs);
    }
    free(tables), free(pairs), free(numbers);
    return status;
}
