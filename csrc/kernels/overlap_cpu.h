// The IoU of a box with what a head predicts along a row of points, side by side.
#pragma once

#include "../core/box.h"
#include "../core/predictions.h"

namespace pseudo_iou_ops {

// Neighbouring points of a row of cells: where they lie, and where their predictions begin.
template <class T>
struct PointRun {
  const T* values;       // of the first point
  int64_t channel_step;  // from a channel of a point to its next, where channels do not come last
  int first_column, count;
  float offset, stride, y;
};

// Writes the IoU of each point, 0 where the prediction is no valid box; returns whether one exceeds `least`.
template <class T, bool kChannelsLast, bool kIsLtrb>
PIOU_MULTIVERSION bool overlaps_of_run(const PointRun<T>& run, const Box& box, float least,
                                       float* PIOU_RESTRICT overlaps) {
  const T* PIOU_RESTRICT values = run.values;
  const int64_t step = kChannelsLast ? 1 : run.channel_step;
  const Box own = box;
  const float offset = run.offset, stride = run.stride, y = run.y;
  const int first_column = run.first_column, count = run.count;
  int exceeds = 0;
  for (int i = 0; i < count; ++i) {
    const int64_t first = kChannelsLast ? 4 * i : i;
    Box p{static_cast<float>(widen(values[first])), static_cast<float>(widen(values[first + step])),
          static_cast<float>(widen(values[first + 2 * step])),
          static_cast<float>(widen(values[first + 3 * step]))};
    if (kIsLtrb) {
      const float x = point_coordinate(first_column + i, offset, stride);
      p = {x - p.x1, y - p.y1, x + p.x2, y + p.y2};
    }
    const float iou = box_iou(p, own);
    overlaps[i] = is_valid(p) ? iou : 0.0f;
    exceeds |= overlaps[i] > least;
  }
  return exceeds != 0;
}

template <class T>
using OverlapsOfRun = bool (*)(const PointRun<T>&, const Box&, float, float*);

template <class T>
OverlapsOfRun<T> overlaps_of_run_for(bool channels_last, bool is_ltrb) {
  if (channels_last) return is_ltrb ? overlaps_of_run<T, true, true> : overlaps_of_run<T, true, false>;
  return is_ltrb ? overlaps_of_run<T, false, true> : overlaps_of_run<T, false, false>;
}

}  // namespace pseudo_iou_ops
