// A fuzz target for libFuzzer (see packed_boxes.py): any bytes as packed boxes, with offsets, labels and
// sizes that no host has checked. The CPU kernel and the CUDA kernel (emulated) must stay inside their
// arrays, agree in every bit, and count what they wrote.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "../../csrc/kernels/assign_cpu.h"
#include "../../csrc/ops/settings.h"
#include "../emulated/assign_run.h"

using namespace pseudo_iou_ops;

namespace {

void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "packed_boxes: %s\n", what);
  std::abort();
}

// Takes numbers from the input until it is used up, then zeros.
class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  int below(int bound) { return static_cast<int>(take<uint8_t>() % bound); }
  bool flag() { return below(2) == 1; }
  double unit() { return take<uint8_t>() / 256.0; }

  // Any bits, or a number near those of a small image: random bits alone would hardly ever hold a point.
  float coordinate() { return flag() ? take<float>() : static_cast<float>(take<int8_t>()) / 4.0f; }
  int64_t integer() { return flag() ? take<int64_t>() : take<int8_t>(); }

 private:
  template <class T>
  T take() {
    T value{};
    const size_t count = std::min(sizeof(T), size_);
    std::copy_n(data_, count, reinterpret_cast<uint8_t*>(&value));
    data_ += count;
    size_ -= count;
    return value;
  }

  const uint8_t* data_;
  size_t size_;
};

// On the heap and of its exact size, so that a sanitizer sees each step outside.
template <class T>
struct Array {
  Array(int64_t count, int byte) : size(count), values(new T[count]) {
    std::memset(static_cast<void*>(values.get()), byte, sizeof(T) * count);
  }
  bool operator==(const Array& other) const {
    return std::memcmp(values.get(), other.values.get(), sizeof(T) * size) == 0;
  }
  T& operator[](int64_t index) const { return values[index]; }
  T* data() const { return values.get(); }

  int64_t size;
  std::unique_ptr<T[]> values;
};

template <class T, class Make>
Array<T> filled(int64_t count, const Make& make) {
  Array<T> array(count, 0);
  for (int64_t index = 0; index < count; ++index) array[index] = make();
  return array;
}

// What every output must be written over; the counters begin at zero, as the launches see to.
constexpr int kUnwritten = 0x5a;

struct Outputs {
  Outputs(int64_t points, int64_t images, int64_t boxes)
      : matched(points, kUnwritten),
        matched_labels(points, kUnwritten),
        ltrb(4 * points, kUnwritten),
        pseudo_iou(points, kUnwritten),
        centerness(points, kUnwritten),
        num_pos(images, 0),
        pos_per_box(boxes, 0) {}

  bool operator==(const Outputs& other) const {
    return matched == other.matched && matched_labels == other.matched_labels && ltrb == other.ltrb &&
           pseudo_iou == other.pseudo_iou && centerness == other.centerness && num_pos == other.num_pos &&
           pos_per_box == other.pos_per_box;
  }

  void hand_to(AssignParams& params) const {
    params.matched = matched.data();
    params.matched_labels = matched_labels.data();
    params.ltrb = ltrb.data();
    params.pseudo_iou = pseudo_iou.data();
    params.centerness = centerness.data();
    params.num_pos = num_pos.data();
    params.pos_per_box = pos_per_box.data();
  }

  Array<int64_t> matched, matched_labels;
  Array<float> ltrb, pseudo_iou, centerness;
  Array<int64_t> num_pos, pos_per_box;
};

struct Inputs {
  explicit Inputs(Bytes& bytes)
      : images(bytes.below(4)),
        boxes(filled<float>(4 * bytes.below(12), [&] { return bytes.coordinate(); })),
        labels(filled<int64_t>(boxes.size / 4, [&] { return bytes.integer(); })),
        offsets(filled<int64_t>(images + 1, [&] { return bytes.integer(); })),
        has_ignore(bytes.flag()),
        ignore_boxes(filled<float>(has_ignore ? 4 * bytes.below(4) : 0, [&] { return bytes.coordinate(); })),
        ignore_offsets(filled<int64_t>(images + 1, [&] { return bytes.integer(); })),
        has_sizes(bytes.flag()),
        valid_sizes(filled<float>(2 * images, [&] { return bytes.coordinate(); })) {}

  void hand_to(AssignParams& params) const {
    params.num_images = images;
    params.num_boxes = boxes.size / 4;
    params.num_ignore_boxes = ignore_boxes.size / 4;
    params.boxes = boxes.data();
    params.labels = labels.data();
    params.offsets = offsets.data();
    params.ignore_boxes = has_ignore ? ignore_boxes.data() : nullptr;
    params.ignore_offsets = has_ignore ? ignore_offsets.data() : nullptr;
    params.valid_sizes = has_sizes ? valid_sizes.data() : nullptr;
  }

  int64_t images;
  Array<float> boxes;
  Array<int64_t> labels, offsets;
  bool has_ignore;
  Array<float> ignore_boxes;
  Array<int64_t> ignore_offsets;
  bool has_sizes;
  Array<float> valid_sizes;
};

// What the host does check: only settings that pass its checks are made here.
void choose_settings(Bytes& bytes, AssignParams& params) {
  std::vector<int64_t> shapes;
  std::vector<double> strides, ranges;
  for (int level = bytes.below(4); level > 0; --level) {
    shapes.insert(shapes.end(), {bytes.below(9), bytes.below(9)});
    strides.push_back(0.5 * (1 + bytes.below(32)));
    const double low = bytes.below(16) - 1.0;
    ranges.insert(ranges.end(), {low, low + bytes.below(64)});
  }
  if (bytes.flag()) ranges.clear();
  const auto metric = static_cast<Metric>(bytes.below(static_cast<int>(Metric::kCount)));
  const bool loosens_upwards = metric == Metric::kScaledBox || metric == Metric::kCenterRadius;
  const double threshold = loosens_upwards ? (1.0 - bytes.unit()) / 2.0 : bytes.unit();
  std::optional<double> ignore_threshold;
  if (bytes.flag() && metric != Metric::kNone && threshold > 0.0) {
    ignore_threshold = loosens_upwards ? 1.0 : threshold * bytes.unit();
  }
  const bool has_value = metric != Metric::kNone && metric != Metric::kCenterRadius;
  const double offset = bytes.flag() ? 0.5 : bytes.unit();
  const bool inclusive = bytes.flag(), open_ranges = bytes.flag(), normalizes = bytes.flag();
  const int order = bytes.below(2), resolve = has_value ? bytes.below(2) : 0;
  set_levels(shapes, strides, offset, params);
  set_ranges(ranges, open_ranges, params);
  params.rule = make_rule(static_cast<int64_t>(metric), threshold, ignore_threshold, inclusive, order,
                          resolve, normalizes);
}

template <class Board>
void run_tasks(const AssignParams& params) {
  AssignWorker<Board> worker(params);
  for (const PointTask& task : point_tasks(params)) worker.run(task);
}

void check_image(const AssignParams& params, const Outputs& outputs, int64_t image, Array<int64_t>& taken) {
  const Rows rows = image_rows(params.offsets, image, params.num_boxes);
  int64_t positives = 0;
  for (int64_t point = image * params.num_points; point < (image + 1) * params.num_points; ++point) {
    const int64_t row = outputs.matched[point];
    if (row == kBackground || row == kIgnored) {
      check(outputs.matched_labels[point] == row, "a point without a box has another label");
      continue;
    }
    check(rows.begin <= row && row < rows.end, "a point took a box of another image");
    check(outputs.matched_labels[point] == params.labels[row], "a point took the label of another box");
    for (int64_t side = 4 * point; side < 4 * point + 4; ++side) {
      check(outputs.ltrb[side] >= 0.0f, "a positive point lies outside its box");
    }
    ++positives;
    ++taken[row];
  }
  check(positives == outputs.num_pos[image], "num_pos is not the number of positive points");
}

void check_outputs(const AssignParams& params, const Outputs& outputs) {
  Array<int64_t> taken(params.num_boxes, 0);
  for (int64_t image = 0; image < params.num_images; ++image) check_image(params, outputs, image, taken);
  check(taken == outputs.pos_per_box, "pos_per_box is not the number of points that took each box");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  AssignParams params{};
  choose_settings(bytes, params);
  const bool offsets_on_host =
      bytes.below(8) == 0;  // rarely: each thread has a copy of the table, which is slow here
  const int64_t most_images = 1 + bytes.below(4);  // of a launch
  const Inputs inputs(bytes);
  inputs.hand_to(params);
  if (params.num_images == 0 || params.num_points == 0) return 0;

  const Outputs on_cpu(params.num_images * params.num_points, params.num_images, params.num_boxes);
  on_cpu.hand_to(params);
  params.rule.judges_every_candidate() ? run_tasks<JudgeBoard>(params) : run_tasks<PaintedBoard>(params);
  check_outputs(params, on_cpu);

  const Outputs on_cuda(params.num_images * params.num_points, params.num_images, params.num_boxes);
  on_cuda.hand_to(params);
  params.offsets_on_host = offsets_on_host;
  params.ignore_offsets_on_host = offsets_on_host && params.ignore_offsets != nullptr;
  assign_run::run(params, {cuda_shim::Schedule::kForward, 0, most_images});
  check(on_cpu == on_cuda, "the CPU and the CUDA kernel differ");
  return 0;
}
