// weir (BSL-1.0). faults: makes the n-th thing that can fail in a thread fail: user code, an allocator, operator new.
#ifndef WEIR_TESTS_SUPPORT_FAULTS_HPP
#define WEIR_TESTS_SUPPORT_FAULTS_HPP
#include <cstddef>
#include <exception>
#include <utility>

// One counter for all kinds, so that a sweep can go through every point at which anything fails, in the order in which a call
// meets them. sweep.hpp drives it; types that pass the points are in values.hpp, counting_allocator.hpp and failing_new.hpp.

namespace weir_test {

/// What user code throws when its turn has come. What runs out of memory throws std::bad_alloc, as ever.
struct planned_fault : std::exception {
    [[nodiscard]] const char* what() const noexcept override { return "a fault that the test planned"; }
};

enum class fault : unsigned char {
    user_code = 1,      // each call of faults::point(), by values, hashes, comparisons and callbacks
    allocator = 2,      // each allocation through a counting_allocator
    operator_new = 4,   // each allocation by new, in a program that includes failing_new.hpp
    any = 1 | 2 | 4,
};
[[nodiscard]] constexpr fault operator|(fault a, fault b) noexcept {
    return static_cast<fault>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool includes(fault all, fault one) noexcept {
    return (static_cast<unsigned>(all) & static_cast<unsigned>(one)) != 0;
}

/// The plan of the calling thread. Other threads never notice it.
class faults {
public:
    /// The n-th point of these kinds fails, once. 0: none does.
    static void arm(std::size_t nth, fault kinds = fault::user_code) noexcept {
        left_ = nth;
        kinds_ = kinds;
    }
    static void disarm() noexcept { left_ = 0; }
    /// Whether the planned fault is still to come.
    [[nodiscard]] static bool armed() noexcept { return left_ != 0; }

    /// Passes a point of this kind: whether it is the one to fail.
    [[nodiscard]] static bool due(fault kind) noexcept { return left_ != 0 && includes(kinds_, kind) && --left_ == 0; }
    /// Passes a point of user code, which throws when its turn has come.
    static void point() {
        if (due(fault::user_code)) {
            throw planned_fault{};
        }
    }

private:
    inline static thread_local std::size_t left_ = 0;
    inline static thread_local fault kinds_ = fault::user_code;
};

/// A hash that may throw. Key has a number() unless Hash says how else to hash it.
template <class Key>
struct hash_by_number {
    std::size_t operator()(Key const& key) const noexcept { return static_cast<std::size_t>(key.number()); }
};
template <class Key, class Hash = hash_by_number<Key>>
struct throwing_hash {
    [[no_unique_address]] Hash inner{};

    std::size_t operator()(Key const& key) const {
        faults::point();
        return inner(key);
    }
};
/// A comparison that may throw.
template <class Key>
struct throwing_equal {
    bool operator()(Key const& a, Key const& b) const {
        faults::point();
        return a == b;
    }
};
/// A callback that may throw, before it does what `F` does.
template <class F>
class throwing_callback {
public:
    explicit throwing_callback(F f) : f_(std::move(f)) {}
    template <class... Args>
    decltype(auto) operator()(Args&&... args) {
        faults::point();
        return f_(std::forward<Args>(args)...);
    }

private:
    F f_;
};

}  // namespace weir_test
#endif
