// The points of an image that no loss counts, on a CPU: those in regions to ignore and those in the padding.
#pragma once

#include "../core/cell_line.h"
#include "grid_axis.h"

namespace pseudo_iou_ops {

// So many rows and columns of a level come before the padding of an image.
struct ValidCells {
  int rows, columns;
};

inline ValidCells valid_cells(const CallParams& params, int64_t image, int level) {
  return {valid_line(params, image, level, true).count, valid_line(params, image, level, false).count};
}

// The cells of a grid, short of the padding, whose points a box holds at most `reach` from each of its sides;
// false if there are none.
inline bool cells_inside(const Grid& grid, const ValidCells& valid, const Box& box, float reach, Cells& rows,
                         Cells& columns) {
  rows = grid.y_axis.between(box.y1, box.y2, reach);
  rows = {std::max(rows.begin, grid.first_row), std::min({rows.end, grid.last_row, valid.rows})};
  if (rows.begin >= rows.end) return false;
  columns = grid.x_axis.between(box.x1, box.x2, reach);
  columns.end = std::min(columns.end, valid.columns);
  return columns.begin < columns.end;
}

inline void write_ignored(const CallParams& params, int64_t output) {
  params.matched[output] = kIgnored;
  params.matched_labels[output] = kIgnored;
}

// Writes the ignored points of a grid of an image; `first_output` is the place of the grid's first point in
// the outputs.
class IgnoredPoints {
 public:
  IgnoredPoints(const CallParams& params, int64_t image, const Grid& grid, const ValidCells& valid,
                int64_t first_output)
      : params_(params), image_(image), grid_(grid), valid_(valid), first_output_(first_output) {}

  void write() const {
    if (params_.ignore_boxes != nullptr) write_regions();
    if (params_.valid_sizes != nullptr) write_padding();
  }

 private:
  void write_regions() const {
    const Rows regions = image_rows(params_.ignore_offsets, image_, params_.num_ignore_boxes);
    for (int64_t region_row = regions.begin; region_row < regions.end; ++region_row) {
      const Box region = load_box(params_.ignore_boxes, region_row);
      Cells rows, columns;
      if (!is_valid(region) || !cells_inside(grid_, valid_, region, kInfinity, rows, columns)) continue;
      for (int row = rows.begin; row < rows.end; ++row) {
        for (int column = columns.begin; column < columns.end; ++column) {
          const int64_t output = first_output_ + grid_.row_start(row) + column;
          if (params_.matched[output] == kBackground) write_ignored(params_, output);
        }
      }
    }
  }

  void write_padding() const {
    for (int row = grid_.first_row; row < grid_.last_row; ++row) {
      for (int column = row < valid_.rows ? valid_.columns : 0; column < grid_.level.width; ++column) {
        write_ignored(params_, first_output_ + grid_.row_start(row) + column);
      }
    }
  }

  const CallParams& params_;
  const int64_t image_;
  const Grid& grid_;
  const ValidCells& valid_;
  const int64_t first_output_;
};

}  // namespace pseudo_iou_ops
