// Runs a CUDA kernel on one CPU thread, to test it where there is no GPU.
//
// Blocks run one after another. Each CUDA thread of a block is a fiber with a stack of its own; it runs
// until it waits at a barrier or a warp collective, or ends. A schedule decides in which order fibers
// and blocks take their turn. Stricter than hardware on purpose: a thread that ends while others wait
// for it, or a warp that does not come to a collective whole, is an error here.
//
// What this can not show: races below the level of a statement, alignment faults, speed.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cuda_shim {

constexpr int kWarpSize = 32;
constexpr size_t kStackBytes = 64 * 1024;
constexpr unsigned char kPoison = 0xff;  // NaN as a float, -1 as an integer

enum class Schedule { kForward, kReverse, kShuffled };
enum class State { kReady, kAtBarrier, kAtBallot, kAtMatch, kAtShuffle, kDone };

struct Dim {
  Dim(unsigned x, unsigned y = 1) : x(x), y(y) {}
  unsigned x, y;
};

using WarpValues = std::array<uint64_t, kWarpSize>;

struct Fiber {
  ucontext_t entry;
  jmp_buf resume;
  std::unique_ptr<char[]> stack;
  State state;
  bool started;
  uint64_t brought;   // to a warp collective
  WarpValues values;  // of all lanes, taken from it
};

class Machine {
 public:
  Machine(Schedule schedule, unsigned seed) : schedule_(schedule), random_(seed) {}

  void run(Dim grid, unsigned threads, const std::function<void()>& kernel) {
    if (threads % kWarpSize != 0) throw std::logic_error("a block must be whole warps");
    kernel_ = &kernel;
    fibers_.resize(threads);
    for (Fiber& fiber : fibers_) {
      if (!fiber.stack) fiber.stack.reset(new char[kStackBytes]);
    }
    for (const unsigned block : turns(grid.x * grid.y)) run_block({block % grid.x, block / grid.x});
  }

  Dim thread_index() const { return {current_, 0}; }
  Dim block_index() const { return block_; }

  void wait(State state) {
    Fiber& fiber = fibers_[current_];
    fiber.state = state;
    if (_setjmp(fiber.resume) == 0) _longjmp(scheduler_, 1);
  }

  // What all lanes of the warp bring to the same kind of collective.
  const WarpValues& exchange(State collective, uint64_t value) {
    fibers_[current_].brought = value;
    wait(collective);
    return fibers_[current_].values;
  }

  // The array declared at `line`, the same for all threads of a block; poisoned when a block starts.
  void* shared_array(int line, size_t bytes) {
    for (SharedArray& array : shared_) {
      if (array.line == line) return array.bytes.get();
    }
    shared_.push_back({line, std::unique_ptr<char[]>(new char[bytes])});
    std::memset(shared_.back().bytes.get(), kPoison, bytes);
    return shared_.back().bytes.get();
  }

 private:
  struct SharedArray {
    int line;
    std::unique_ptr<char[]> bytes;
  };

  std::vector<unsigned> turns(unsigned count) {
    std::vector<unsigned> order(count);
    std::iota(order.begin(), order.end(), 0u);
    if (schedule_ == Schedule::kReverse) std::reverse(order.begin(), order.end());
    if (schedule_ == Schedule::kShuffled) std::shuffle(order.begin(), order.end(), random_);
    return order;
  }

  void run_block(Dim block) {
    block_ = block;
    shared_.clear();
    for (Fiber& fiber : fibers_) {
      fiber.state = State::kReady;
      fiber.started = false;
    }
    while (count(State::kDone) != fibers_.size()) {
      for (const unsigned index : turns(static_cast<unsigned>(fibers_.size()))) {
        if (fibers_[index].state == State::kReady) resume(index);
      }
      if (!release_warps() && !release_barrier()) throw std::logic_error(describe_deadlock());
    }
  }

  void resume(unsigned index) {
    current_ = index;
    if (_setjmp(scheduler_) != 0) {  // the fiber waits or has ended
      if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
      return;
    }
    Fiber& fiber = fibers_[index];
    if (fiber.started) _longjmp(fiber.resume, 1);
    fiber.started = true;
    getcontext(&fiber.entry);
    fiber.entry.uc_stack.ss_sp = fiber.stack.get();
    fiber.entry.uc_stack.ss_size = kStackBytes;
    fiber.entry.uc_link = nullptr;
    makecontext(&fiber.entry, &Machine::enter, 0);
    setcontext(&fiber.entry);
  }

  static void enter();

  size_t count(State state) const {
    return std::count_if(fibers_.begin(), fibers_.end(),
                         [&](const Fiber& fiber) { return fiber.state == state; });
  }

  bool release_warps() {
    bool released = false;
    for (size_t first = 0; first < fibers_.size(); first += kWarpSize) {
      const auto begin = fibers_.begin() + static_cast<std::ptrdiff_t>(first), end = begin + kWarpSize;
      const State state = begin->state;
      if (state != State::kAtBallot && state != State::kAtMatch && state != State::kAtShuffle) continue;
      if (!std::all_of(begin, end, [&](const Fiber& f) { return f.state == state; })) continue;
      WarpValues values;
      std::transform(begin, end, values.begin(), [](const Fiber& f) { return f.brought; });
      for (auto fiber = begin; fiber != end; ++fiber) {
        fiber->values = values;
        fiber->state = State::kReady;
      }
      released = true;
    }
    return released;
  }

  bool release_barrier() {
    if (count(State::kDone) == fibers_.size()) return true;
    if (count(State::kAtBarrier) != fibers_.size()) return false;
    for (Fiber& fiber : fibers_) fiber.state = State::kReady;
    return true;
  }

  std::string describe_deadlock() const {
    return "deadlock in block " + std::to_string(block_.x) + ": " + std::to_string(count(State::kAtBarrier)) +
           " threads at a barrier, " + std::to_string(count(State::kAtBallot)) + " at a ballot, " +
           std::to_string(count(State::kAtMatch)) + " at a match, " +
           std::to_string(count(State::kAtShuffle)) + " at a shuffle, " +
           std::to_string(count(State::kDone)) + " ended";
  }

  Schedule schedule_;
  std::mt19937 random_;
  const std::function<void()>* kernel_ = nullptr;
  std::vector<Fiber> fibers_;
  std::vector<SharedArray> shared_;
  jmp_buf scheduler_;
  std::exception_ptr error_;  // thrown by a fiber, on its way to the caller
  unsigned current_ = 0;
  Dim block_{0, 0};
};

inline Machine*& machine() {
  static Machine* running = nullptr;
  return running;
}

inline void Machine::enter() {
  Machine& self = *machine();
  try {
    (*self.kernel_)();
  } catch (...) {
    self.error_ = std::current_exception();
  }
  self.fibers_[self.current_].state = State::kDone;
  _longjmp(self.scheduler_, 1);
}

inline void launch(Dim grid, unsigned threads, Schedule schedule, unsigned seed,
                   const std::function<void()>& kernel) {
  Machine running(schedule, seed);
  machine() = &running;
  running.run(grid, threads, kernel);
  machine() = nullptr;
}

}  // namespace cuda_shim

// The words of csrc/kernels/cuda.h.
#define PIOU_KERNEL inline
#define PIOU_DEVICE inline
#define PIOU_GRID_CONSTANT
#define PIOU_LAUNCH_BOUNDS(threads, blocks)
#define PIOU_LAUNCH_BOUNDS_WIDELY(threads, blocks)
#define PIOU_EXACT_LAUNCH_BOUNDS(threads, blocks)
#define PIOU_UNROLL
#define PIOU_UNROLL_BY_4
#define PIOU_SHARED_ARRAY(type, name, count) \
  type* const name = static_cast<type*>(cuda_shim::machine()->shared_array(__LINE__, sizeof(type) * (count)))

#define threadIdx (cuda_shim::machine()->thread_index())
#define blockIdx (cuda_shim::machine()->block_index())

inline void __syncthreads() { cuda_shim::machine()->wait(cuda_shim::State::kAtBarrier); }

namespace cuda_shim {

// The lanes whose value is the one looked for.
inline unsigned lanes_with(State collective, unsigned mask, unsigned value, unsigned wanted) {
  if (mask != 0xffffffffu) throw std::logic_error("a warp collective must name the full warp");
  const WarpValues& values = machine()->exchange(collective, value);
  unsigned lanes = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) lanes |= static_cast<unsigned>(values[lane] == wanted) << lane;
  return lanes;
}

}  // namespace cuda_shim

inline unsigned __ballot_sync(unsigned mask, bool vote) {
  return cuda_shim::lanes_with(cuda_shim::State::kAtBallot, mask, vote, 1);
}

inline unsigned __match_any_sync(unsigned mask, int value) {
  const unsigned bits = static_cast<unsigned>(value);
  return cuda_shim::lanes_with(cuda_shim::State::kAtMatch, mask, bits, bits);
}

namespace cuda_shim {

// The value of the lane that source(own lane) tells, the own one where there is none.
template <class T, class Source>
T shuffle(unsigned mask, T value, const Source& source) {
  static_assert(sizeof(T) <= sizeof(uint64_t), "a lane brings 64 bits");
  if (mask != 0xffffffffu) throw std::logic_error("a warp collective must name the full warp");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  const int from = source(static_cast<int>(machine()->thread_index().x) % kWarpSize);
  const WarpValues& values = machine()->exchange(State::kAtShuffle, bits);
  if (from >= 0 && from < kWarpSize) std::memcpy(&value, &values[from], sizeof(T));
  return value;
}

}  // namespace cuda_shim

template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  return cuda_shim::shuffle(mask, value, [=](int) { return source; });
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
  return cuda_shim::shuffle(mask, value, [=](int lane) { return lane + static_cast<int>(distance); });
}

template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance) {
  return cuda_shim::shuffle(mask, value, [=](int lane) { return lane - static_cast<int>(distance); });
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return cuda_shim::shuffle(mask, value, [=](int lane) { return lane ^ bits; });
}

inline void __syncwarp() { __ballot_sync(0xffffffffu, false); }

inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

inline unsigned long long atomicAdd(unsigned long long* address, unsigned long long value) {
  const unsigned long long old = *address;
  *address = old + value;
  return old;
}

inline long long atomicMax(long long* address, long long value) {
  const long long old = *address;
  *address = std::max(old, value);
  return old;
}

struct float4 {
  float x, y, z, w;
};

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

struct uint4 {
  unsigned x, y, z, w;
};

inline void __stwb(uint4* target, uint4 value) { *target = value; }
