// Runs a fuzz target on random inputs where the compiler has no libFuzzer: `random_inputs COUNT SEED`. No
// coverage steers it, so it finds less; it shows that the target builds, runs and notices faults.
#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int, char** arguments) {
  const int count = std::atoi(arguments[1]);
  std::mt19937 random(static_cast<unsigned>(std::atoi(arguments[2])));
  for (int index = 0; index < count; ++index) {
    std::vector<uint8_t> bytes(random() % 400);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  return 0;
}
