// weir (BSL-1.0). stops: holds a thread at the n-th point where a call runs the user's code, while others go on.
#ifndef WEIR_TESTS_SUPPORT_STOPS_HPP
#define WEIR_TESTS_SUPPORT_STOPS_HPP
#include "threads.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

// The stops that every platform and every sanitizer can have; stopped_thread.hpp stops at any instruction where that is to be had.

namespace weir_test {

/// Stops the thread that armed it at its n-th pass, until `go_on` opens.
class stops {
public:
    static void arm(std::size_t nth, arrivals& stopped, gate& go_on) noexcept {
        left_ = nth;
        stopped_ = &stopped;
        go_on_ = &go_on;
    }
    /// Whether the stop was never reached.
    static bool disarm() noexcept { return std::exchange(left_, 0) != 0; }
    static void point() {
        if (left_ != 0 && --left_ == 0) {
            stopped_->arrive();
            if (!go_on_->wait()) {
                ADD_FAILURE() << "nobody ended the test";
            }
        }
    }

private:
    inline static thread_local std::size_t left_ = 0;
    inline static thread_local arrivals* stopped_ = nullptr;
    inline static thread_local gate* go_on_ = nullptr;
};

/// Runs `call` in a thread that stops at its n-th point, and `others` in another while it is stopped, or after it if it has fewer
/// points. True if it stopped. `others` not ending is a failure; it is then released with the stopped thread.
template <class Call, class Others>
bool stop_at_point(std::size_t nth, Call call, Others others) {
    arrivals stopped;
    arrivals done;
    gate go_on;
    bool never_stopped = false;
    crew sleeper;
    crew awake;
    sleeper.start([&] {
        stops::arm(nth, stopped, go_on);
        call();
        never_stopped = stops::disarm();
        if (never_stopped) {
            stopped.arrive();
        }
    });
    EXPECT_TRUE(stopped.wait_for(1)) << "the call came neither to its stop nor to its end";
    awake.start([&] {
        others();
        done.arrive();
    });
    EXPECT_TRUE(done.wait_for(1)) << "a thread that is stopped at point " << nth << " of its call stops another";
    go_on.open();
    awake.join();
    sleeper.join();
    return !never_stopped;
}

/// Key functions, a value and an allocator that stop. Three neighbouring keys share a hash, so that comparisons happen.
struct stopping_hash {
    std::size_t operator()(std::uint64_t key) const {
        stops::point();
        return key / 3;
    }
};
struct stopping_equal {
    bool operator()(std::uint64_t a, std::uint64_t b) const {
        stops::point();
        return a == b;
    }
};
class stopping_value {
public:
    explicit stopping_value(std::uint64_t n) : number_(n) { stops::point(); }
    stopping_value(stopping_value const& other) : number_(other.number_) { stops::point(); }
    stopping_value(stopping_value&& other) noexcept : number_(other.number_) { stops::point(); }
    stopping_value& operator=(stopping_value const&) = default;
    stopping_value& operator=(stopping_value&&) noexcept = default;
    ~stopping_value() { stops::point(); }

    [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
    friend bool operator==(stopping_value const& a, stopping_value const& b) {
        stops::point();
        return a.number_ == b.number_;
    }

private:
    std::uint64_t number_;
};
template <class T>
struct stopping_allocator {
    using value_type = T;
    stopping_allocator() = default;
    template <class U>
    stopping_allocator(stopping_allocator<U> const&) noexcept {}
    T* allocate(std::size_t n) {
        stops::point();
        return std::allocator<T>().allocate(n);
    }
    void deallocate(T* p, std::size_t n) noexcept {
        stops::point();
        std::allocator<T>().deallocate(p, n);
    }
    template <class U>
    friend bool operator==(stopping_allocator const&, stopping_allocator<U> const&) noexcept {
        return true;
    }
};

}  // namespace weir_test
#endif
