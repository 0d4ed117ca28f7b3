// weir (BSL-1.0). shared_queue_of: a ring for one producer is not for many.
#include <weir/base/queue.hpp>

#include <optional>

struct for_all {
    bool try_push(int) { return true; }
    std::optional<int> try_pop() { return std::nullopt; }
};
struct for_two : for_all {
    static constexpr bool one_producer_one_consumer = true;
};

template <weir::shared_queue_of<int> Queue>
struct workers {
    Queue queue;
};

using right = workers<for_all>;
static_assert(sizeof(right) != 0);
#ifdef WEIR_MUST_FAIL
using wrong = workers<for_two>;
static_assert(sizeof(wrong) != 0);
#endif
