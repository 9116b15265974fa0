// Which boxes each image has, as a launch brings it: offsets on the host travel by value, so that a call
// needs no copy.
#pragma once

#include "../core/assign_params.h"
#include "cuda.h"

namespace pseudo_iou_ops {

// A launch costs by the size of its parameters, so the common batch has a small table of offsets.
constexpr int kFewImages = 64;

template <int kCapacity>
struct ImageOffsets {
  const int64_t* device;  // null: by value
  int values[kCapacity + 1];

  // In the type that the caller has the image in: a wider one would cost instructions.
  template <class Image>
  PIOU_DEVICE Rows rows(Image image, int64_t num_boxes) const {
    if (device != nullptr) return image_rows(device, image, num_boxes);
    const int* own = values + image;
    return {own[0], own[1] < own[0] ? own[0] : own[1]};
  }
};

template <int kCapacity>
struct OffsetsOfCall {
  static constexpr int kImages = kCapacity;
  ImageOffsets<kCapacity> boxes, regions;
};

template <int kCapacity>
ImageOffsets<kCapacity> image_offsets(const int64_t* offsets, bool on_host, int64_t num_images,
                                      int64_t num_boxes) {
  ImageOffsets<kCapacity> result{};
  result.device = on_host ? nullptr : offsets;
  for (int64_t entry = 0; on_host && entry <= num_images; ++entry) {
    result.values[entry] = static_cast<int>(clamp(offsets[entry], 0, num_boxes));
  }
  return result;
}

template <int kCapacity>
OffsetsOfCall<kCapacity> offsets_of_call(const CallParams& params) {
  return {
      image_offsets<kCapacity>(params.offsets, params.offsets_on_host, params.num_images, params.num_boxes),
      image_offsets<kCapacity>(params.ignore_offsets, params.ignore_offsets_on_host, params.num_images,
                               params.num_ignore_boxes)};
}

// Calls launch(offsets) with the smaller table that holds the offsets on the host.
template <class Launch>
void with_offsets(const CallParams& params, const Launch& launch) {
  const bool by_value = params.offsets_on_host || params.ignore_offsets_on_host;
  if (by_value && params.num_images > kFewImages) {
    launch(offsets_of_call<kMaxImagesByValue>(params));
  } else {
    launch(offsets_of_call<kFewImages>(params));
  }
}

}  // namespace pseudo_iou_ops
