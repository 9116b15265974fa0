// Points that several boxes chose, where more boxes than those compete: a block of points meets the boxes of
// its image, one box after another, so that points are compared side by side.
#pragma once

#include <algorithm>

#include "../core/box.h"
#include "../core/candidates.h"
#include "../core/top_k_params.h"

namespace pseudo_iou_ops {

constexpr int kContestSize = 128;

// The points of a block, and for each the best box so far. `rival` is what a box is compared with at a point:
// a prediction, or an anchor; it is a box of zeros, which has IoU 0 with any, where that is no valid box.
struct ContestBlock {
  int count = 0;
  float x1[kContestSize], y1[kContestSize], x2[kContestSize], y2[kContestSize];
  float x[kContestSize], y[kContestSize];
  float best[kContestSize];
  int64_t best_row[kContestSize];
  int64_t output[kContestSize];

  Box rival(int i) const { return {x1[i], y1[i], x2[i], y2[i]}; }
};

// The points that a box reaches lie inside `region` by more than `margin`, and what it has to offer there is
// at most its IoU with the rival, or `most` where that is larger.
struct Reach {
  Box region;
  float margin, most;
};

inline Reach everywhere(float most = 0.0f) {
  return {{-kInfinity, -kInfinity, kInfinity, kInfinity}, 0.0f, most};
}

// False only if no point of `bounds` lies inside a region by more than a margin; for boxes and a margin of 0,
// only if none overlaps it.
inline bool touches(const Box& region, const Box& bounds, float margin) {
  return bounds.x2 - region.x1 > margin && region.x2 - bounds.x1 > margin && bounds.y2 - region.y1 > margin &&
         region.y2 - bounds.y1 > margin;
}

// Writes the most that a box can offer to the points in reach, -1 for the others; returns whether one exceeds
// the best.
PIOU_MULTIVERSION inline bool most_offers(const ContestBlock& block, const Box& box, const Reach& reach,
                                          float* PIOU_RESTRICT offers) {
  const Box own = box, region = reach.region;
  const float margin = reach.margin, most = reach.most;
  int exceeds = 0;
  for (int i = 0; i < block.count; ++i) {
    const float iou = box_iou(block.rival(i), own);
    const Distances d = distances(region, block.x[i], block.y[i]);
    const bool is_in_reach = smaller(smaller(d.l, d.r), smaller(d.t, d.b)) > margin;
    offers[i] = is_in_reach ? larger(iou, most) : -1.0f;
    exceeds |= offers[i] > block.best[i];
  }
  return exceeds != 0;
}

// Gives points to the strongest of the boxes that compete for them. A Competition has
//   Reach reach(box)                 which points a box competes for
//   bool can_reach(bounds, box)      false only if it competes for none of a block, or at all of it in vain
//   float value(rival, box, x, y)    what the box has to offer there, at most what `reach` promises
template <class Competition>
class Contest {
 public:
  Contest(const TopKParams& params, const Competition& competition)
      : params_(params), competition_(competition) {}

  // A point whose choosers' strongest claim stands in `matched`. All points of a block are of one image.
  void add(int64_t image, int64_t output, const Box& rival, float x, float y) {
    const int i = block_.count++;
    const Box valid = is_valid(rival) ? rival : Box{0.0f, 0.0f, 0.0f, 0.0f};
    block_.x1[i] = valid.x1;
    block_.y1[i] = valid.y1;
    block_.x2[i] = valid.x2;
    block_.y2[i] = valid.y2;
    block_.x[i] = x;
    block_.y[i] = y;
    block_.output[i] = output;
    image_ = image;
    if (block_.count == kContestSize) settle();
  }

  // Leaves the strongest claims of the points added in `matched`.
  void settle() {
    if (block_.count == 0) return;
    begin();
    const Rows rows = image_rows(params_.offsets, image_, params_.num_boxes);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const Box box = load_box(params_.boxes, row);
      if (is_valid(box) && competition_.can_reach(bounds_, box)) meet(box, row);
    }
    for (int i = 0; i < block_.count; ++i) {
      if (block_.best_row[i] < 0) continue;
      int64_t& claim = params_.matched[block_.output[i]];
      claim = std::max(claim, claim_of(block_.best[i], block_.best_row[i]));
    }
    block_.count = 0;
  }

  // What holds for all points of a block.
  struct Bounds {
    Box points, rivals;  // the smallest boxes around them
    float weakest_claim;
  };

 private:
  // The first box at least as strong as the choosers' takes the lead: a lower row may be among them.
  void begin() {
    const Box nothing{kInfinity, kInfinity, -kInfinity, -kInfinity};
    bounds_ = {nothing, nothing, kInfinity};
    for (int i = 0; i < block_.count; ++i) {
      const float value = value_of_claim(params_.matched[block_.output[i]]);
      block_.best[i] = value > 0.0f ? float_of(bits_of(value) - 1) : -1.0f;
      block_.best_row[i] = -1;
      bounds_.weakest_claim = minimum(bounds_.weakest_claim, value);
      widen_bounds(bounds_.points, {block_.x[i], block_.y[i], block_.x[i], block_.y[i]});
      widen_bounds(bounds_.rivals, block_.rival(i));
    }
  }

  static void widen_bounds(Box& bounds, const Box& box) {
    bounds = {minimum(bounds.x1, box.x1), minimum(bounds.y1, box.y1), maximum(bounds.x2, box.x2),
              maximum(bounds.y2, box.y2)};
  }

  void meet(const Box& box, int64_t row) {
    if (!most_offers(block_, box, competition_.reach(box), offers_)) return;
    for (int i = 0; i < block_.count; ++i) {
      if (!(offers_[i] > block_.best[i])) continue;
      const float value = competition_.value(block_.rival(i), box, block_.x[i], block_.y[i]);
      if (!(value > block_.best[i])) continue;
      block_.best[i] = value;
      block_.best_row[i] = row;
    }
  }

  const TopKParams& params_;
  const Competition competition_;
  int64_t image_ = 0;
  Bounds bounds_{};
  ContestBlock block_;
  float offers_[kContestSize];
};

}  // namespace pseudo_iou_ops
