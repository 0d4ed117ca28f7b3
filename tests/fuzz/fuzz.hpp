// weir (BSL-1.0). fuzz: what a fuzz target is, the bytes that it reads, and how it says that something is wrong.
#ifndef WEIR_TESTS_FUZZ_FUZZ_HPP
#define WEIR_TESTS_FUZZ_FUZZ_HPP
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

/// A target: does what the bytes say, and throws weir_test::mismatch when it finds something wrong. Always returns 0.
/// Defined once in a program: fuzz_one.cpp hands it to libFuzzer, replay_test.cpp the files of its corpus.
int fuzz_one(std::uint8_t const* data, std::size_t size);

namespace weir_test {

struct mismatch : std::logic_error {
    using std::logic_error::logic_error;
};

/// The input, piece by piece. When it is used up, only zeros come.
class fuzz_bytes {
public:
    fuzz_bytes(std::uint8_t const* data, std::size_t size) noexcept : at_(data), end_(data + size) {}

    [[nodiscard]] bool empty() const noexcept { return at_ == end_; }
    std::uint8_t byte() noexcept { return empty() ? std::uint8_t{0} : *at_++; }
    /// A number of so many bytes, lowest first.
    std::uint64_t number(unsigned bytes) noexcept {
        std::uint64_t n = 0;
        for (unsigned i = 0; i < bytes; ++i) {
            n |= std::uint64_t{byte()} << (8 * i);
        }
        return n;
    }
    /// One of 0, 1, ..., count - 1; count <= 256.
    unsigned below(unsigned count) noexcept { return byte() % count; }
    bool flag() noexcept { return (byte() & 1) != 0; }

private:
    std::uint8_t const* at_;
    std::uint8_t const* end_;
};

/// Whether what came is what should have come.
template <class T, class U>
void expect_same(T const& came, U const& wanted, std::string const& what) {
    if (!(came == wanted)) {
        throw mismatch(what);
    }
}
inline void expect_that(bool good, std::string const& what) { expect_same(good, true, what); }

}  // namespace weir_test
#endif
