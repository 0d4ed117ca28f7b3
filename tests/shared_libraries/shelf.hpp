// weir (BSL-1.0). shelf: what the test's program and libraries hand each other, and what each library can do.
#ifndef WEIR_TESTS_SHARED_LIBRARIES_SHELF_HPP
#define WEIR_TESTS_SHARED_LIBRARIES_SHELF_HPP
#include <weir/base/hazard_pointer.hpp>
#include <weir/data/stats.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

// Everything here is compiled into each library and into the program, each with its own idea of the default domain.

namespace shelf_test {

/// Spoils its words before the memory goes back.
struct book : weir::hazard_pointer_obj_base<book> {
    static constexpr std::uint64_t alive = 0x616c697665U;
    explicit book(std::uint64_t n) noexcept : number(n), check(n ^ alive) {}
    book(book const&) = delete;
    book& operator=(book const&) = delete;
    ~book() {
        const_cast<std::uint64_t volatile&>(check) = 0;
        const_cast<std::uint64_t volatile&>(number) = 1;
    }
    [[nodiscard]] bool whole() const noexcept {
        return (const_cast<std::uint64_t const volatile&>(number) ^ const_cast<std::uint64_t const volatile&>(check)) ==
               alive;
    }
    std::uint64_t number;
    std::uint64_t check;
};

/// A container of one, built as a container should be: it remembers the domain of whoever made it.
struct shelf {
    weir::hazard_pointer_domain* domain = &weir::hazard_pointer_default_domain();
    std::atomic<book*> current{new book(0)};
};

/// A hazard pointer on its way from one library to another.
struct reading {
    weir::hazard_pointer hazard;
    book* seen = nullptr;
};

/// Reads `times`; returns how often it saw a dead book.
inline std::size_t read(shelf& s, std::size_t times) {
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < times; ++i) {
        auto h = weir::make_hazard_pointer(*s.domain);
        wrong += h.protect(s.current)->whole() ? std::size_t{0} : std::size_t{1};
    }
    return wrong;
}

inline void write(shelf& s, std::size_t times) {
    for (std::size_t i = 1; i <= times; ++i) {
        s.current.exchange(new book(i))->retire(*s.domain);
    }
}

inline void begin(shelf& s, reading& r) {
    r.hazard = weir::make_hazard_pointer(*s.domain);
    r.seen = r.hazard.protect(s.current);
}

inline void end(reading& r) { r.hazard = weir::hazard_pointer(); }

/// Uses this library's own default domain, and so leaves slots with the calling thread.
inline void use_own_domain() {
    auto h = weir::make_hazard_pointer();
    (new book(1))->retire();
}

/// Statistics, in the lanes of the library that made them.
struct tally {
    weir::counter calls;
    weir::request_stats<4> requests;
};

inline void count(tally& t, std::uint64_t n) {
    t.calls.add(n);
    const auto guard = t.requests.in_flight();
    t.requests.record(std::chrono::nanoseconds{n}, 2 * n);
}

/// What a library can do, called through pointers: a direct call might be bound to another library's copy.
struct library {
    weir::hazard_pointer_domain* domain;  // its default domain
    shelf* (*make)();
    std::size_t (*read)(shelf&, std::size_t);
    void (*write)(shelf&, std::size_t);
    void (*begin)(shelf&, reading&);
    void (*end)(reading&);
    void (*use_own_domain)();
    tally* (*make_tally)();
    void (*count)(tally&, std::uint64_t);
    void (*end_tally)(tally*);
};

inline library this_library() noexcept {
    return {&weir::hazard_pointer_default_domain(),
            [] { return new shelf; },
            &read,
            &write,
            &begin,
            &end,
            &use_own_domain,
            [] { return new tally; },
            &count,
            [](tally* t) { delete t; }};
}

}  // namespace shelf_test
#endif
