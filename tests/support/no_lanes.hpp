// weir (BSL-1.0). no_lanes: threads that can have no words of their own in a statistic, without thousands of them.
#ifndef WEIR_TESTS_SUPPORT_NO_LANES_HPP
#define WEIR_TESTS_SUPPORT_NO_LANES_HPP
#include <weir/base/detail/stripe.hpp>

#include <cstddef>
#include <functional>
#include <vector>

namespace weir_test {

/// Takes every slot that is free: threads that first ask while it lives get a shared number, for life.
class all_slots_taken {
    using registry = weir::detail::thread_slot_registry;

public:
    all_slots_taken() {
        static_cast<void>(weir::detail::this_thread_slot());
        for (auto slot = registry::take(); slot < weir::detail::unique_thread_slots; slot = registry::take()) {
            taken_.push_back(slot);
        }
    }
    all_slots_taken(all_slots_taken const&) = delete;
    all_slots_taken& operator=(all_slots_taken const&) = delete;
    ~all_slots_taken() {
        for (auto const slot : taken_) {
            registry::give_back(slot);
        }
    }

private:
    std::vector<std::size_t> taken_;
};

/// What the calling thread does when all that it has of slots and lanes is gone. To be named before it writes anywhere.
class last_act {
public:
    last_act() noexcept {}  // not constexpr: constructed when first named, destroyed in the reverse order
    last_act(last_act const&) = delete;
    last_act& operator=(last_act const&) = delete;
    ~last_act() {
        if (what) {
            what();
        }
    }
    std::function<void()> what;

    static last_act& of_this_thread() {
        static thread_local last_act object;
        return object;
    }
};

}  // namespace weir_test
#endif
