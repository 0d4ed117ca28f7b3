// weir (BSL-1.0). queue_of: a queue whose try_pop has nowhere to say that there is nothing.
#include <weir/base/queue.hpp>

#include <optional>

struct honest {
    bool try_push(int) { return true; }
    std::optional<int> try_pop() { return std::nullopt; }
};
struct hopeful {
    bool try_push(int) { return true; }
    int try_pop() { return 0; }
};

template <weir::queue_of<int> Queue>
struct worker {
    Queue queue;
};

using right = worker<honest>;
static_assert(sizeof(right) != 0);
#ifdef WEIR_MUST_FAIL
using wrong = worker<hopeful>;
static_assert(sizeof(wrong) != 0);
#endif
