// weir (BSL-1.0). unique_function: a callable of any type, owned, that can be moved and not copied.
#ifndef WEIR_BASE_DETAIL_UNIQUE_FUNCTION_HPP
#define WEIR_BASE_DETAIL_UNIQUE_FUNCTION_HPP

#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

// When:     a queue holds work of different types, or an option is a function.
// When not: the type of the callable is known: take it as a template parameter.
// Why our own: std::move_only_function is C++23, std::function copies, and neither says how much it holds in line.

namespace weir::inline v0 {
namespace detail {

template <class Signature, std::size_t Size = 48>
class unique_function;

/// A callable that wants to know that it will never be called, and why. `why` means what its pool says it means.
template <class F>
concept abandonable = requires(F& f, unsigned char why) {
    { f.abandoned(why) } noexcept;
};

template <class F, class R, class... Args>
concept callable_as = std::is_invocable_r_v<R, F&, Args...> && std::is_nothrow_destructible_v<F>;

/// Holds a callable, or nothing.
/// Threads:  one at a time; what a const object of the standard library allows is allowed here.
/// Progress: wait-free, but for the callable's own members and the allocator.
/// Memory:   Size bytes and a pointer. A callable that fits in Size bytes, is aligned as a pointer and moves without throwing is
///           held in line; any other is allocated, once: moving moves the pointer.
template <class R, class... Args, std::size_t Size>
class unique_function<R(Args...), Size> {
    static_assert(Size >= sizeof(void*), "there must be room for a pointer");

    struct table {
        R (*call)(void*, Args...);
        void (*move)(void* from, void* to) noexcept;          // none: the bytes are all there is
        void (*destroy)(void*) noexcept;                      // none: nothing to do
        void (*abandon)(void*, unsigned char why) noexcept;   // none: it does not want to know
    };

    template <class F>
    static constexpr bool in_line =
        sizeof(F) <= Size && alignof(F) <= alignof(void*) && std::is_nothrow_move_constructible_v<F>;

    template <class F>
    static F& get(void* p) noexcept {
        if constexpr (in_line<F>) {
            return *std::launder(static_cast<F*>(p));
        } else {
            return **std::launder(static_cast<F**>(p));
        }
    }

    template <class F>
    static constexpr table make_table() noexcept {
        table t{[](void* p, Args... args) -> R { return static_cast<R>(get<F>(p)(std::forward<Args>(args)...)); }, nullptr,
                nullptr, nullptr};
        if constexpr (!in_line<F>) {
            t.destroy = [](void* p) noexcept { delete std::addressof(get<F>(p)); };
        } else {
            if constexpr (!std::is_trivially_copyable_v<F>) {
                t.move = [](void* from, void* to) noexcept {
                    ::new (to) F(std::move(get<F>(from)));
                    get<F>(from).~F();
                };
            }
            if constexpr (!std::is_trivially_destructible_v<F>) {
                t.destroy = [](void* p) noexcept { get<F>(p).~F(); };
            }
        }
        if constexpr (abandonable<F>) {
            t.abandon = [](void* p, unsigned char why) noexcept { get<F>(p).abandoned(why); };
        }
        return t;
    }

    template <class F>
    static constexpr table table_of = make_table<F>();

public:
    unique_function() noexcept : table_(nullptr) {}
    unique_function(std::nullptr_t) noexcept : table_(nullptr) {}  // NOLINT: as std::function

    /// Throws: what copying or moving f throws; std::bad_alloc if it is not held in line.
    template <class F>
        requires(!std::same_as<std::remove_cvref_t<F>, unique_function> && callable_as<std::decay_t<F>, R, Args...> &&
                 std::constructible_from<std::decay_t<F>, F>)
    unique_function(F&& f) : table_(&table_of<std::decay_t<F>>) {  // NOLINT: as std::function
        using type = std::decay_t<F>;
        if constexpr (in_line<type>) {
            if constexpr (sizeof(type) < sizeof(void*)) {  // it may be empty
                bytes_[0] = 0;  // moving copies the bytes, and compilers warn of copying what nobody has written
            }
            ::new (static_cast<void*>(bytes_)) type(std::forward<F>(f));
        } else {
            ::new (static_cast<void*>(bytes_)) type*(new type(std::forward<F>(f)));
        }
    }

    unique_function(unique_function&& other) noexcept : table_(other.table_) { take(other); }
    unique_function& operator=(unique_function&& other) noexcept {
        if (this != &other) {
            reset();
            table_ = other.table_;
            take(other);
        }
        return *this;
    }
    ~unique_function() { reset(); }

    [[nodiscard]] explicit operator bool() const noexcept { return table_ != nullptr; }

    /// It must not be empty. Throws: what the callable throws.
    R operator()(Args... args) {
        assert(table_ != nullptr);
        return table_->call(bytes_, std::forward<Args>(args)...);
    }

    /// Tells the callable, if it is abandonable, that it will not be called.
    void abandon(unsigned char why) noexcept {
        if (table_ != nullptr && table_->abandon != nullptr) {
            table_->abandon(bytes_, why);
        }
    }

    void reset() noexcept {
        if (auto const* const t = std::exchange(table_, nullptr); t != nullptr && t->destroy != nullptr) {
            t->destroy(bytes_);
        }
    }

private:
    // table_ is the other's table already.
    void take(unique_function& other) noexcept {
        if (table_ == nullptr) {
            return;
        }
        if (table_->move != nullptr) {
            table_->move(other.bytes_, bytes_);
        } else {
            std::memcpy(bytes_, other.bytes_, Size);
        }
        other.table_ = nullptr;
    }

    table const* table_;  // none: empty
    alignas(void*) unsigned char bytes_[Size];
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
