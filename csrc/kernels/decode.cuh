// decode_topk on a GPU, two launches. The filter reads the logits once, as they lie, and appends the keys of
// the candidates to a list per slice, in any order. Then one block a slice chooses the best: keys are unique,
// so that their order does not depend on how they came. A slice with more candidates than its list holds is
// chosen from the logits themselves, by the same code.
#pragma once

#include "cuda.h"
#include "decode.h"
#include "vector.cuh"

namespace pseudo_iou_ops {

using Key = unsigned long long;  // a uint64_t as atomics take it

constexpr int kFilterThreads = 256;
constexpr int kSelectThreads = 1024;
constexpr int kVectorsPerThread = 4;  // loads of 16 bytes in flight
constexpr int64_t kListCapacity = 1 << 14;
constexpr unsigned kSortedKeys = 2048;  // chosen and sorted at once
constexpr int kDigitBits = 11;
constexpr unsigned kDigits = 1u << kDigitBits;  // two a thread of the select kernel

// How an image's tiles and lists are shared out among its levels.
struct DecodeTiles {
  int64_t first_tile[kMaxLevels];
  int64_t first_key[kMaxLevels], capacity[kMaxLevels];
  int64_t tiles_per_image, keys_per_image;
};

template <class T>
DecodeTiles decode_tiles(const DecodeParams& params) {
  constexpr int64_t kTile = kFilterThreads * kVectorsPerThread * kVectorSize<T>;
  DecodeTiles tiles{};
  for (int level = 0; level < params.logits.num_levels; ++level) {
    const int64_t size = params.level_size(level);
    tiles.first_tile[level] = tiles.tiles_per_image;
    tiles.first_key[level] = tiles.keys_per_image;
    tiles.capacity[level] = size < kListCapacity ? size : kListCapacity;
    // The first vector of an image may begin before its logits, on the next lower 16 bytes.
    if (size > 0) tiles.tiles_per_image += (size + kVectorSize<T> - 2) / kTile + 1;
    tiles.keys_per_image += tiles.capacity[level];
  }
  return tiles;
}

// Logits side by side in memory, which need not begin on 16 bytes.
template <class T>
struct LogitRun {
  const T* logits;
  int64_t size;
  int skew;  // values from the 16 bytes the first logit lies in to the logit

  PIOU_DEVICE LogitRun(const T* values, int64_t count)
      : logits(values),
        size(count),
        skew(static_cast<int>(reinterpret_cast<uintptr_t>(values) % kVectorBytes / sizeof(T))) {}

  PIOU_DEVICE Vector<T> load(int64_t position) const {
    Vector<T> vector{};
    if (position >= 0 && position + kVectorSize<T> <= size) {
      const uint4 bytes = *reinterpret_cast<const uint4*>(logits + position);
      std::memcpy(&vector, &bytes, kVectorBytes);
      return vector;
    }
    PIOU_UNROLL
    for (int i = 0; i < kVectorSize<T>; ++i) {
      if (position + i >= 0 && position + i < size) vector.values[i] = logits[position + i];
    }
    return vector;
  }

  // Calls visit(position, logit) for what is at least `bound` in this thread's part of a tile. That is
  // little: it is read again, which keeps the code short and the vectors in registers.
  template <int kThreads, class Visit>
  PIOU_DEVICE void visit_tile(int64_t tile, float bound, const Visit& visit) const {
    constexpr int kStep = kThreads * kVectorSize<T>;
    const int64_t first = (tile * kVectorsPerThread * kThreads + threadIdx.x) * kVectorSize<T> - skew;
    Vector<T> vectors[kVectorsPerThread];
    PIOU_UNROLL
    for (int v = 0; v < kVectorsPerThread; ++v) vectors[v] = load(first + v * kStep);
    unsigned passing = 0;
    PIOU_UNROLL
    for (int v = 0; v < kVectorsPerThread; ++v) {
      bool any = false;
      PIOU_UNROLL
      for (int i = 0; i < kVectorSize<T>; ++i) any |= as_float(vectors[v].values[i]) >= bound;
      passing |= static_cast<unsigned>(any) << v;
    }
    for (; passing != 0; passing &= passing - 1) {
      const int64_t begin = first + (__ffs(static_cast<int>(passing)) - 1) * kStep,
                    end = begin + kVectorSize<T>;
      for (int64_t position = begin < 0 ? 0 : begin; position < end && position < size; ++position) {
        const float logit = as_float(logits[position]);
        if (logit >= bound) visit(position, logit);
      }
    }
  }
};

// Calls visit(key) for the candidates in this thread's part of a tile of a slice.
template <class T, int kThreads, class Visit>
PIOU_DEVICE void visit_candidates(const DecodeParams& params, DecodeSlice slice, int64_t tile,
                                  const Visit& visit) {
  const LogitRun<T> run(slice_logits<T>(params, slice), params.level_size(slice.level));
  run.template visit_tile<kThreads>(tile, params.logit_bound, [&](int64_t position, float logit) {
    const Key key = key_at<T>(params, slice, static_cast<uint32_t>(position), logit);
    if (key != 0) visit(key);
  });
}

// Grid: the tiles of the first image, of the second, and so on. The counts, cleared before, become the
// numbers of candidates, whether the lists hold them or not.
template <class T>
PIOU_KERNEL void PIOU_LAUNCH_BOUNDS(kFilterThreads, 5)
    decode_filter_kernel(const PIOU_GRID_CONSTANT DecodeParams params,
                         const PIOU_GRID_CONSTANT DecodeTiles tiles, Key* keys) {
  PIOU_SHARED_ARRAY(unsigned, block_count, 1);
  PIOU_SHARED_ARRAY(Key, block_first, 1);
  if (threadIdx.x == 0) *block_count = 0;
  __syncthreads();
  const int64_t image = blockIdx.x / tiles.tiles_per_image;
  const int64_t tile = blockIdx.x - image * tiles.tiles_per_image;
  int level = 0;
  while (level + 1 < params.logits.num_levels && tile >= tiles.first_tile[level + 1]) ++level;
  const DecodeSlice slice{image, level};
  const int64_t level_tile = tile - tiles.first_tile[level];
  unsigned own = 0;
  visit_candidates<T, kFilterThreads>(params, slice, level_tile, [&](Key) { ++own; });
  const unsigned first = own > 0 ? atomicAdd(block_count, own) : 0;
  __syncthreads();
  if (*block_count == 0) return;
  if (threadIdx.x == 0) {
    Key* const count = reinterpret_cast<Key*>(params.counts + image * params.logits.num_levels + level);
    *block_first = atomicAdd(count, static_cast<Key>(*block_count));
  }
  __syncthreads();
  const Key capacity = static_cast<Key>(tiles.capacity[level]);
  Key index = *block_first + first;
  if (own == 0 || index >= capacity) return;
  Key* const list = keys + image * tiles.keys_per_image + tiles.first_key[level];
  visit_candidates<T, kFilterThreads>(params, slice, level_tile, [&](Key key) {
    if (index < capacity) list[index++] = key;
  });
}

// The candidates of a slice, from the list or, if that was too short, from the logits.
template <class T>
struct Candidates {
  const DecodeParams& params;
  DecodeSlice slice;
  const Key* list;  // or null
  int64_t count;

  template <class Visit>
  PIOU_DEVICE void visit(const Visit& visit) const {
    if (list != nullptr) {
      for (int64_t i = threadIdx.x; i < count; i += kSelectThreads) visit(list[i]);
      return;
    }
    constexpr int64_t kTile = kSelectThreads * kVectorsPerThread * kVectorSize<T>;
    const int64_t tiles = (params.level_size(slice.level) + kVectorSize<T> - 2) / kTile + 1;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      visit_candidates<T, kSelectThreads>(params, slice, tile, visit);
    }
  }
};

// The sum of the values of this thread and of those before it; `sums` holds one a thread.
PIOU_DEVICE unsigned inclusive_sum(unsigned value, unsigned* sums) {
  sums[threadIdx.x] = value;
  __syncthreads();
  for (unsigned step = 1; step < kSelectThreads; step *= 2) {
    const unsigned before = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
    __syncthreads();
    sums[threadIdx.x] += before;
    __syncthreads();
  }
  return sums[threadIdx.x];
}

// A digit of keys: how many are larger in it, and how many have it.
struct Digit {
  unsigned value, above, count;
};

// The digit of the key of rank `wanted`, from 1, in a histogram. All threads get it.
PIOU_DEVICE Digit find_digit(const unsigned* histogram, unsigned wanted, unsigned* sums, Digit* found) {
  const unsigned upper = kDigits - 1 - 2 * threadIdx.x, lower = upper - 1;
  const unsigned upper_count = histogram[upper], lower_count = histogram[lower];
  const unsigned before = inclusive_sum(upper_count + lower_count, sums) - upper_count - lower_count;
  const unsigned between = before + upper_count;
  if (before < wanted && wanted <= between) *found = {upper, before, upper_count};
  if (between < wanted && wanted <= between + lower_count) *found = {lower, between, lower_count};
  __syncthreads();
  return *found;
}

struct SelectMemory {
  unsigned *histogram, *sums;  // kDigits, kSelectThreads
  Digit* digit;
  Key* sorted;  // kSortedKeys
  unsigned* count;
};

// A key such that at least `wanted` candidates below `limit` reach it, and at most kSortedKeys: the leading
// digits of the wanted one, as many as it takes.
template <class T>
PIOU_DEVICE Key find_floor(const Candidates<T>& candidates, Key limit, unsigned wanted,
                           const SelectMemory& memory) {
  Key leading = 0;
  int shift = kKeyBits;  // to the digits found so far
  unsigned above = 0, count;
  do {
    const int next = shift > kDigitBits ? shift - kDigitBits : 0;
    for (unsigned i = threadIdx.x; i < kDigits; i += kSelectThreads) memory.histogram[i] = 0;
    __syncthreads();
    candidates.visit([&](Key key) {
      if (key < limit && key >> shift == leading) {
        atomicAdd(memory.histogram + (key >> next & ((1u << (shift - next)) - 1)), 1u);
      }
    });
    __syncthreads();
    const Digit digit = find_digit(memory.histogram, wanted - above, memory.sums, memory.digit);
    leading = leading << (shift - next) | digit.value;
    above += digit.above;
    count = digit.count;
    shift = next;
  } while (shift > 0 && above + count > kSortedKeys);
  return leading << shift;
}

// Brings the candidates in [floor, limit) into shared memory and returns their number.
template <class T>
PIOU_DEVICE unsigned collect(const Candidates<T>& candidates, Key floor, Key limit,
                             const SelectMemory& memory) {
  if (threadIdx.x == 0) *memory.count = 0;
  __syncthreads();
  candidates.visit([&](Key key) {
    if (key < floor || key >= limit) return;
    const unsigned index = atomicAdd(memory.count, 1u);
    if (index < kSortedKeys) memory.sorted[index] = key;
  });
  __syncthreads();
  return *memory.count < kSortedKeys ? *memory.count
                                     : kSortedKeys;  // no more, unless the logits change meanwhile
}

// Sorts, the largest first, by a bitonic network over the next power of two.
PIOU_DEVICE void sort_descending(Key* keys, unsigned count) {
  unsigned size = 1;
  while (size < count) size *= 2;
  for (unsigned i = count + threadIdx.x; i < size; i += kSelectThreads) keys[i] = 0;
  __syncthreads();
  for (unsigned run = 2; run <= size; run *= 2) {
    for (unsigned distance = run / 2; distance > 0; distance /= 2) {
      for (unsigned pair = threadIdx.x; pair < size / 2; pair += kSelectThreads) {
        const unsigned low = 2 * pair - (pair & (distance - 1)), high = low + distance;
        const Key low_key = keys[low], high_key = keys[high];
        if ((low_key < high_key) == ((low & run) == 0)) {
          keys[low] = high_key;
          keys[high] = low_key;
        }
      }
      __syncthreads();
    }
  }
}

// Grid: a block a slice. It writes kSortedKeys ranks at a time, nearly always all of them at once.
template <class T>
PIOU_KERNEL void PIOU_LAUNCH_BOUNDS(kSelectThreads, 1)
    decode_select_kernel(const PIOU_GRID_CONSTANT DecodeParams params,
                         const PIOU_GRID_CONSTANT DecodeTiles tiles, const Key* keys) {
  PIOU_SHARED_ARRAY(unsigned, histogram, kDigits);
  PIOU_SHARED_ARRAY(unsigned, sums, kSelectThreads);
  PIOU_SHARED_ARRAY(Digit, digit, 1);
  PIOU_SHARED_ARRAY(Key, sorted, kSortedKeys);
  PIOU_SHARED_ARRAY(unsigned, count, 1);
  PIOU_SHARED_ARRAY(int64_t, found_and_kept, 2);
  if (threadIdx.x == 0) {
    found_and_kept[0] = params.counts[blockIdx.x];
    found_and_kept[1] = found_and_kept[0] < params.k ? found_and_kept[0] : params.k;
    params.counts[blockIdx.x] = found_and_kept[1];
  }
  __syncthreads();
  const SelectMemory memory{histogram, sums, digit, sorted, count};
  const DecodeSlice slice = slice_at(params, blockIdx.x);
  const int64_t found = found_and_kept[0], kept = found_and_kept[1];
  const Key* const list = keys + slice.image * tiles.keys_per_image + tiles.first_key[slice.level];
  const Candidates<T> candidates{params, slice, found <= tiles.capacity[slice.level] ? list : nullptr, found};
  Key limit = ~Key{0};
  for (int64_t first = 0; first < kept; first += kSortedKeys) {
    const unsigned wanted = kept - first < kSortedKeys ? static_cast<unsigned>(kept - first) : kSortedKeys;
    const Key floor = found - first <= kSortedKeys ? 0 : find_floor(candidates, limit, wanted, memory);
    sort_descending(sorted, collect(candidates, floor, limit, memory));
    for (unsigned i = threadIdx.x; i < wanted; i += kSelectThreads) {
      write_candidate(params, slice, first + i, sorted[i]);
    }
    limit = sorted[wanted - 1];
    __syncthreads();
  }
  for (int64_t rank = kept + threadIdx.x; rank < params.k; rank += kSelectThreads) {
    write_candidate(params, slice, rank, 0);
  }
}

}  // namespace pseudo_iou_ops
