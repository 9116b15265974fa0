// A box, a point, and the distances between them. Float32, in the order of the contract.
#pragma once

#include <limits>

#include "macros.h"

namespace pseudo_iou_ops {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Box {
  float x1, y1, x2, y2;
};

// From a point to the left, top, right and bottom side of a box, in pixels.
struct Distances {
  float l, t, r, b;
};

PIOU_HOST_DEVICE float minimum(float a, float b) { return a < b ? a : b; }
PIOU_HOST_DEVICE float maximum(float a, float b) { return a < b ? b : a; }
PIOU_HOST_DEVICE float magnitude(float a) { return a < 0.0f ? -a : a; }

PIOU_HOST_DEVICE Box load_box(const float* boxes, long long row) {
  const float* box = boxes + 4 * row;
  return {box[0], box[1], box[2], box[3]};
}

PIOU_HOST_DEVICE float width(const Box& box) { return box.x2 - box.x1; }
PIOU_HOST_DEVICE float height(const Box& box) { return box.y2 - box.y1; }

// The area depends on the box alone, so that it is the same at every point.
PIOU_HOST_DEVICE float area(const Box& box) { return width(box) * height(box); }

// The bounds are far from any real box; within them no metric overflows or divides by zero, so nothing below
// has to ask again.
constexpr float kLargestSide = 9223372036854775808.0f;  // 2^63
constexpr float kSmallestArea = 1.17549435e-38f;        // 2^-126

// Of a box with a point inside: one that is inverted both ways has an area too, but no point.
PIOU_HOST_DEVICE bool has_area(const Box& box) { return area(box) >= kSmallestArea; }

// False for zero-area, inverted, NaN and infinite boxes.
PIOU_HOST_DEVICE bool is_valid(const Box& box) {
  const float w = width(box), h = height(box);
  return w > 0.0f && w <= kLargestSide && h <= kLargestSide && has_area(box);  // so h > 0 too
}

PIOU_HOST_DEVICE Distances distances(const Box& box, float x, float y) {
  return {x - box.x1, y - box.y1, box.x2 - x, box.y2 - y};
}

// Of two numbers. The GPU has an instruction for each, which differs from the above for NaN alone.
#ifdef __CUDA_ARCH__
PIOU_HOST_DEVICE float smaller(float a, float b) { return fminf(a, b); }
PIOU_HOST_DEVICE float larger(float a, float b) { return fmaxf(a, b); }
#else
PIOU_HOST_DEVICE float smaller(float a, float b) { return minimum(a, b); }
PIOU_HOST_DEVICE float larger(float a, float b) { return maximum(a, b); }
#endif

// The distances of a valid box are numbers. Strictly inside: a point on the border is outside.
PIOU_HOST_DEVICE bool is_inside(const Distances& d) {
  return smaller(smaller(d.l, d.r), smaller(d.t, d.b)) > 0.0f;
}

// Its contrary without the distances: a difference is above 0 where the numbers differ so.
PIOU_HOST_DEVICE bool is_outside(const Box& box, float x, float y) {
  return (x <= box.x1) | (x >= box.x2) | (y <= box.y1) | (y >= box.y2);
}

// Whether each distance exceeds a margin in pixels.
PIOU_HOST_DEVICE bool is_deeper_inside(const Distances& d, float margin) {
  return d.l > margin && d.t > margin && d.r > margin && d.b > margin;
}

PIOU_HOST_DEVICE float longest(const Distances& d) { return larger(larger(d.l, d.r), larger(d.t, d.b)); }

// The overlap of two valid boxes.
PIOU_HOST_DEVICE float box_iou(const Box& a, const Box& b) {
  const float w = minimum(a.x2, b.x2) - maximum(a.x1, b.x1), h = minimum(a.y2, b.y2) - maximum(a.y1, b.y1);
  const float intersection = maximum(w, 0.0f) * maximum(h, 0.0f);
  return intersection / maximum((area(a) + area(b)) - intersection, 1e-6f);
}

}  // namespace pseudo_iou_ops
