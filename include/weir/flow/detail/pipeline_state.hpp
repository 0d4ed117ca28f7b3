// weir (BSL-1.0). pipeline_state: a call and its layers, and how one layer reaches the next.
#ifndef WEIR_FLOW_DETAIL_PIPELINE_STATE_HPP
#define WEIR_FLOW_DETAIL_PIPELINE_STATE_HPP
#include <weir/base/outcome.hpp>

#include <concepts>
#include <cstddef>
#include <tuple>
#include <utility>

namespace weir::inline v0 {
namespace detail {

// A layer below which calls may outlive the pipeline's caller.
template <class P>
concept detaching = requires { typename P::detaches; };

// f(context, args...), or f(args...).
template <class F, class Context, class... Args>
auto call_in(F& f, Context& context, Args&... args) {
    if constexpr (std::invocable<F&, Context&, Args&...>) {
        return outcome_of(f, context, args...);
    } else {
        static_assert(std::invocable<F&, Args&...>, "the call must take (context, args...) or (args...)");
        return outcome_of(f, args...);
    }
}

// A call of the caller's, on the caller's stack.
template <class Layers, class F, class... Args>
class borrowed_call {
public:
    static constexpr std::size_t size = std::tuple_size_v<Layers>;
    borrowed_call(Layers const& layers, F& f, Args&... args) noexcept : layers_(layers), f_(f), args_(args...) {}
    [[nodiscard]] Layers const& layers() const noexcept { return layers_; }
    template <class Context>
    auto call(Context& context) const {
        return std::apply([&](Args&... args) { return call_in(f_, context, args...); }, args_);
    }

private:
    Layers const& layers_;
    F& f_;
    std::tuple<Args&...> args_;
};

// One that may have to outlive the caller.
template <class Layers, class F, class... Args>
class owned_call {
public:
    static constexpr std::size_t size = std::tuple_size_v<Layers>;
    template <class G, class... A>
    explicit owned_call(Layers const& layers, G&& f, A&&... args)
        : layers_(layers), f_(std::forward<G>(f)), args_(std::forward<A>(args)...) {}
    [[nodiscard]] Layers const& layers() const noexcept { return layers_; }
    template <class Context>
    auto call(Context& context) const {
        // As for a call on the stack, f and args may be changed by it; several branches at once are for them to agree upon.
        return std::apply([&](Args&... args) { return call_in(f_, context, args...); }, args_);
    }

private:
    Layers layers_;
    mutable F f_;
    mutable std::tuple<Args...> args_;
};

// What a layer calls: layer I of the call, or the call itself. Call: a pointer, which keeps an owned call alive.
template <std::size_t I, class Call>
class next_layer {
public:
    explicit next_layer(Call call) noexcept : call_(std::move(call)) {}
    template <class Context>
    auto operator()(Context& context) const {
        if constexpr (I == std::remove_cvref_t<decltype(*std::declval<Call const&>())>::size) {
            return call_->call(context);
        } else {
            return std::get<I>(call_->layers())(context, next_layer<I + 1, Call>{call_});
        }
    }

private:
    Call call_;
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
