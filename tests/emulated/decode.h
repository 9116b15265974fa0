// The kernels of decode_topk over numpy arrays.
#pragma once

#include "losses.h"

// Counters of a block are 32 bits wide.
inline unsigned atomicAdd(unsigned* address, unsigned value) {
  const unsigned old = *address;
  *address = old + value;
  return old;
}

#include "../../csrc/kernels/decode.cuh"

namespace decoding {

using namespace arrays;
using namespace pseudo_iou_ops;

template <class T>
void run(const DecodeParams& params, cuda_shim::Schedule schedule, unsigned seed) {
  const DecodeTiles tiles = decode_tiles<T>(params);
  const unsigned images = static_cast<unsigned>(params.logits.num_images);
  std::vector<Key> keys(tiles.keys_per_image * images);
  cuda_shim::launch(static_cast<unsigned>(tiles.tiles_per_image) * images, kFilterThreads, schedule, seed,
                    [&] { decode_filter_kernel<T>(params, tiles, keys.data()); });
  cuda_shim::launch(params.logits.num_levels * images, kSelectThreads, schedule, seed,
                    [&] { decode_select_kernel<T>(params, tiles, keys.data()); });
}

// Levels as in losses.h; `counts` come as zeros.
inline void decode_topk(const std::vector<py::tuple>& logits, int64_t classes, const std::string& dtype,
                        const std::vector<py::tuple>& ltrb, const std::vector<py::tuple>& centerness,
                        const Array<float>& points, double score_threshold, int64_t k, Array<float> boxes,
                        Array<float> scores, Array<int64_t> labels, Array<int64_t> counts,
                        const std::string& schedule, unsigned seed) {
  DecodeParams params{};
  params.logits = losses::describe_head(logits, counts.shape(0), classes);
  params.ltrb = losses::describe_head(ltrb, counts.shape(0), 4);
  params.centerness = losses::describe_head(centerness, counts.shape(0), 1);
  params.points = points.data();
  params.score_threshold = static_cast<float>(score_threshold);
  params.logit_bound = logit_bound(params.score_threshold);
  params.k = k;
  params.boxes = boxes.mutable_data();
  params.scores = scores.mutable_data();
  params.labels = labels.mutable_data();
  params.counts = counts.mutable_data();
  losses::dispatch(dtype, [&](auto zero) { run<decltype(zero)>(params, schedule_named(schedule), seed); });
}

}  // namespace decoding
