// What all emulated kernels need to take numpy arrays and the names of a schedule.
#pragma once

#include "cuda_shim.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace arrays {

namespace py = pybind11;

template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
T* data(const py::object& array) {
  return array.is_none() ? nullptr : static_cast<T*>(py::cast<Array<T>>(array).request().ptr);
}

inline cuda_shim::Schedule schedule_named(const std::string& name) {
  if (name == "forward") return cuda_shim::Schedule::kForward;
  if (name == "reverse") return cuda_shim::Schedule::kReverse;
  if (name == "shuffled") return cuda_shim::Schedule::kShuffled;
  throw std::invalid_argument("schedule: expected forward, reverse or shuffled, got " + name);
}

}  // namespace arrays
