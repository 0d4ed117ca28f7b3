// weir (BSL-1.0). hazard_pointer_test: what hazard pointers promise, in both modes.
#include <weir/base/hazard_pointer.hpp>

#include "support/scale.hpp"
#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_TEST_CANNOT_REPLACE_NEW  // clang links the thread sanitizer's own into the program
#endif
#endif

#if !defined(WEIR_TEST_CANNOT_REPLACE_NEW)
// Records are allocated by the aligned form that does not throw: here it can be told to fail.
namespace {
std::atomic<bool> out_of_memory{false};
}
void* operator new(std::size_t size, std::align_val_t alignment, std::nothrow_t const&) noexcept {
    const auto step = static_cast<std::size_t>(alignment);
    return out_of_memory ? nullptr : std::aligned_alloc(step, (size + step - 1) / step * step);
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    if (void* const p = operator new(size, alignment, std::nothrow)) {
        return p;
    }
    throw std::bad_alloc();
}
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
#endif

namespace {

using weir::hazard_link;
using weir::hazard_pointer;
using weir::hazard_pointer_default_domain;
using weir::hazard_pointer_domain;
using weir::hazard_pointer_mode;
using weir::make_hazard_pointer;
using weir_test::scaled;

constexpr std::size_t least_threshold = 1024;
constexpr std::size_t slots_per_record = 10;

// An object whose deletions are counted.
struct counted : weir::hazard_pointer_obj_base<counted> {
    explicit counted(std::atomic<int>& deletions, int n = 0) : deleted(&deletions), number(n) {}
    counted(counted const&) = default;
    counted& operator=(counted const&) = default;
    ~counted() {
        number = -1;
        deleted->fetch_add(1);
    }
    std::atomic<int>* deleted;
    int number;
};

class hazard_pointers : public testing::TestWithParam<hazard_pointer_mode> {
protected:
    void SetUp() override {
        if (!hazard_pointer_domain::supports(GetParam())) {
            GTEST_SKIP() << "this kernel has no membarrier";
        }
        the_default.reset(GetParam());
    }
    void TearDown() override {
        the_default.reset(hazard_pointer_domain::default_mode());
        EXPECT_EQ(the_default.stats().hazard_pointers, 0U) << "some thread kept a record";
    }

    hazard_pointer_domain& the_default = hazard_pointer_default_domain();
    std::atomic<int> deleted{0};
};

std::string name_of(testing::TestParamInfo<hazard_pointer_mode> const& info) {
    return info.param == hazard_pointer_mode::membarrier ? "membarrier" : "seq_cst";
}
INSTANTIATE_TEST_SUITE_P(modes, hazard_pointers,
                         testing::Values(hazard_pointer_mode::membarrier, hazard_pointer_mode::seq_cst), name_of);

// ---- what the header shows

TEST_P(hazard_pointers, a_reader_keeps_an_object_alive_that_a_writer_has_replaced) {
    std::atomic<counted*> current{new counted(deleted, 1)};
    {
        auto h = make_hazard_pointer();
        counted* const seen = h.protect(current);
        current.exchange(new counted(deleted, 2))->retire();
        EXPECT_EQ(the_default.reclaim(), 0U);
        EXPECT_EQ(seen->number, 1);
    }
    EXPECT_EQ(the_default.reclaim(), 1U);
    EXPECT_EQ(deleted, 1);
    current.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 1U);
}

// ---- hazard_pointer

static_assert(std::is_nothrow_default_constructible_v<hazard_pointer>);
static_assert(std::is_nothrow_move_constructible_v<hazard_pointer> &&
              std::is_nothrow_move_assignable_v<hazard_pointer>);
static_assert(!std::is_copy_constructible_v<hazard_pointer> && !std::is_copy_assignable_v<hazard_pointer>);
static_assert(std::is_nothrow_swappable_v<hazard_pointer>);
static_assert(sizeof(hazard_pointer) == sizeof(void*));

TEST_P(hazard_pointers, default_constructed_is_empty_and_made_is_not) {
    EXPECT_TRUE(hazard_pointer().empty());
    EXPECT_FALSE(make_hazard_pointer().empty());
    EXPECT_EQ(the_default.stats().hazard_pointers, slots_per_record);
}

TEST_P(hazard_pointers, moving_takes_the_protection_along) {
    std::atomic<counted*> src{new counted(deleted, 1)};
    auto a = make_hazard_pointer();
    counted* const seen = a.protect(src);
    hazard_pointer b(std::move(a));
    EXPECT_TRUE(a.empty());
    EXPECT_FALSE(b.empty());
    src.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    hazard_pointer c;
    c = std::move(b);
    EXPECT_TRUE(b.empty());
    EXPECT_EQ(the_default.reclaim(), 0U);
    EXPECT_EQ(seen->number, 1);
    c = hazard_pointer();
    EXPECT_TRUE(c.empty());
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, move_assignment_ends_the_protection_of_its_target) {
    std::atomic<counted*> first{new counted(deleted, 1)};
    std::atomic<counted*> second{new counted(deleted, 2)};
    auto a = make_hazard_pointer();
    auto b = make_hazard_pointer();
    a.protect(first);
    counted* const seen = b.protect(second);
    a = std::move(b);
    first.exchange(nullptr)->retire();
    second.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 1U);
    EXPECT_EQ(seen->number, 2);
}

TEST_P(hazard_pointers, assigned_to_itself_keeps_its_protection) {
    std::atomic<counted*> src{new counted(deleted, 1)};
    auto a = make_hazard_pointer();
    counted* const seen = a.protect(src);
    auto& same = a;
    a = std::move(same);
    EXPECT_FALSE(a.empty());
    src.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    EXPECT_EQ(seen->number, 1);
}

TEST_P(hazard_pointers, swap_exchanges_protections_also_with_an_empty_one) {
    std::atomic<counted*> first{new counted(deleted, 1)};
    auto a = make_hazard_pointer();
    hazard_pointer b;
    counted* const seen = a.protect(first);
    a.swap(b);
    EXPECT_TRUE(a.empty());
    EXPECT_FALSE(b.empty());
    first.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    swap(a, b);
    EXPECT_TRUE(b.empty());
    EXPECT_EQ(the_default.reclaim(), 0U);
    EXPECT_EQ(seen->number, 1);
    a.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, protect_returns_null_for_null_and_ends_the_former_protection) {
    std::atomic<counted*> src{new counted(deleted)};
    auto h = make_hazard_pointer();
    EXPECT_NE(h.protect(src), nullptr);
    src.exchange(nullptr)->retire();
    EXPECT_EQ(h.protect(src), nullptr);
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, try_protect_of_what_is_still_there_protects_it) {
    std::atomic<counted*> src{new counted(deleted, 1)};
    auto h = make_hazard_pointer();
    counted* p = src.load();
    EXPECT_TRUE(h.try_protect(p, src));
    EXPECT_EQ(p, src.load());
    src.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    EXPECT_EQ(p->number, 1);
}

TEST_P(hazard_pointers, try_protect_of_what_was_replaced_gives_the_new_pointer_and_protects_nothing) {
    std::atomic<counted*> src{new counted(deleted, 1)};
    auto h = make_hazard_pointer();
    counted* p = src.load();
    counted* const old = src.exchange(new counted(deleted, 2));
    EXPECT_FALSE(h.try_protect(p, src));
    EXPECT_EQ(p, src.load());
    old->retire();
    src.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 2U);
}

TEST_P(hazard_pointers, reset_protection_protects_what_is_retired_later) {
    auto* const object = new counted(deleted, 1);
    auto h = make_hazard_pointer();
    h.reset_protection(object);
    object->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    EXPECT_EQ(object->number, 1);
    h.reset_protection(nullptr);
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, a_new_protection_ends_the_old_one) {
    std::array<counted*, 3> objects{};
    auto h = make_hazard_pointer();
    for (auto& each : objects) {
        each = new counted(deleted);
        h.reset_protection(each);
    }
    for (auto* each : objects) {
        each->retire();
    }
    EXPECT_EQ(the_default.reclaim(), 2U);
    h.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, several_hazard_pointers_protect_one_object_until_the_last_lets_go) {
    std::atomic<counted*> src{new counted(deleted)};
    auto a = make_hazard_pointer();
    auto b = make_hazard_pointer();
    a.protect(src);
    b.protect(src);
    src.exchange(nullptr)->retire();
    a.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 0U);
    b.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, a_used_hazard_pointer_is_made_again_without_its_former_protection) {
    std::atomic<counted*> src{new counted(deleted)};
    { make_hazard_pointer().protect(src); }
    auto again = make_hazard_pointer();
    src.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, a_hundred_at_once_each_protect_their_own) {
    constexpr std::size_t count = 100;
    std::vector<hazard_pointer> all;
    std::vector<std::atomic<counted*>> src(count);
    for (std::size_t i = 0; i < count; ++i) {
        src[i] = new counted(deleted, static_cast<int>(i));
        all.push_back(make_hazard_pointer());
        all.back().protect(src[i]);
    }
    EXPECT_EQ(the_default.stats().hazard_pointers, count);
    std::vector<counted*> seen;
    for (auto& each : src) {
        seen.push_back(each.exchange(nullptr));
        seen.back()->retire();
    }
    EXPECT_EQ(the_default.reclaim(), 0U);
    for (std::size_t i = 0; i < count; ++i) {
        EXPECT_EQ(seen[i]->number, static_cast<int>(i));
        all[i].reset_protection();
        EXPECT_EQ(the_default.reclaim(), 1U);
    }
    all.clear();
    for (std::size_t i = 0; i < count; ++i) {
        all.push_back(make_hazard_pointer());
    }
    EXPECT_EQ(the_default.stats().hazard_pointers, count) << "slots that were given back are not used again";
}

// ---- hazard_pointer_obj_base

struct logging_deleter {
    std::vector<int>* log = nullptr;
    void operator()(struct logged* object) const;
};
struct logged : weir::hazard_pointer_obj_base<logged, logging_deleter> {
    explicit logged(int n) : number(n) {}
    int number;
};
void logging_deleter::operator()(logged* object) const {
    log->push_back(object->number);
    delete object;
}

TEST_P(hazard_pointers, the_deleter_given_to_retire_is_the_one_that_is_called) {
    std::vector<int> log;
    (new logged(7))->retire({&log});
    EXPECT_TRUE(log.empty());
    EXPECT_EQ(the_default.reclaim(), 1U);
    EXPECT_EQ(log, std::vector<int>{7});
}

// Its state dies with the object that holds it, unless it is moved out first.
struct owning_deleter {
    std::unique_ptr<std::string> name;
    std::string* last_words = nullptr;
    template <class T>
    void operator()(T* object) {
        delete object;
        *last_words = *name;
    }
};
struct owned : weir::hazard_pointer_obj_base<owned, owning_deleter> {};

TEST_P(hazard_pointers, a_move_only_deleter_keeps_its_state_while_it_deletes_its_own_object) {
    std::string last_words;
    (new owned)->retire(
        {std::make_unique<std::string>("a name too long to be kept inside of the string"), &last_words});
    the_default.reclaim();
    EXPECT_EQ(last_words, "a name too long to be kept inside of the string");
}

TEST_P(hazard_pointers, a_copy_of_a_retired_object_is_not_retired) {
    std::atomic<counted*> src{new counted(deleted, 5)};
    auto h = make_hazard_pointer();
    counted* const seen = h.protect(src);
    src.exchange(nullptr)->retire();
    auto* const copy = new counted(*seen);
    *copy = *seen;
    EXPECT_EQ(copy->number, 5);
    h.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 1U);
    EXPECT_EQ(copy->number, 5);
    copy->retire();
    EXPECT_EQ(the_default.reclaim(), 1U);
    EXPECT_EQ(deleted, 2);
}

struct first_base {
    virtual ~first_base() = default;
    std::uint64_t first = 1;
};
struct two_bases : first_base, weir::hazard_pointer_obj_base<two_bases> {
    explicit two_bases(std::atomic<int>& deletions) : deleted(&deletions) {}
    ~two_bases() override { deleted->fetch_add(1); }
    std::atomic<int>* deleted;
    std::uint64_t own = 2;
};
struct other_base {
    virtual ~other_base() = default;
};
struct derived_again : other_base, two_bases {
    using two_bases::two_bases;
};

TEST_P(hazard_pointers, an_object_whose_base_is_not_at_its_start_is_protected_by_any_pointer_to_it) {
    std::atomic<two_bases*> src{new two_bases(deleted)};
    auto h = make_hazard_pointer();
    two_bases* const seen = h.protect(src);
    EXPECT_NE(static_cast<void*>(static_cast<weir::hazard_pointer_obj_base<two_bases>*>(seen)),
              static_cast<void*>(seen));
    src.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    EXPECT_EQ(seen->own, 2U);
    h.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 1U);

    std::atomic<derived_again*> derived{new derived_again(deleted)};
    derived_again* const seen_again = h.protect(derived);
    derived.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    EXPECT_EQ(seen_again->own, 2U);
    h.reset_protection(static_cast<two_bases const*>(seen_again));
    EXPECT_EQ(the_default.reclaim(), 0U);
    h.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 1U);
    EXPECT_EQ(deleted, 2);
}

struct alignas(512) over_aligned : weir::hazard_pointer_obj_base<over_aligned> {
    std::array<char, 512> body{};
};

TEST_P(hazard_pointers, over_aligned_objects_are_protected_and_deleted) {
    std::atomic<over_aligned*> src{new over_aligned};
    auto h = make_hazard_pointer();
    over_aligned* const seen = h.protect(src);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(seen) % 512, 0U);
    src.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    EXPECT_EQ(seen->body[511], 0);
    h.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, a_pointer_to_const_protects_as_well) {
    auto* const object = new counted(deleted, 3);
    std::atomic<counted const*> src{object};
    auto h = make_hazard_pointer();
    EXPECT_EQ(h.protect(src)->number, 3);
    src = nullptr;
    object->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    h.reset_protection();
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, each_retired_object_is_deleted_exactly_once) {
    constexpr int count = 20'000;
    for (int i = 0; i < count; ++i) {
        (new counted(deleted))->retire();
    }
    the_default.reclaim();
    EXPECT_EQ(deleted, count);
    EXPECT_EQ(the_default.reclaim(), 0U);
}

// ---- garbage is bounded, and within everyone's reach

TEST_P(hazard_pointers, garbage_stays_bounded_while_a_reader_is_stopped_for_good) {
    std::atomic<counted*> src{new counted(deleted, 1)};
    weir_test::gate done;
    weir_test::arrivals reading;
    weir_test::crew readers;
    readers.start([&] {
        auto h = make_hazard_pointer();
        counted* const seen = h.protect(src);
        reading.arrive();
        EXPECT_TRUE(done.wait());
        EXPECT_EQ(seen->number, 1);
    });
    ASSERT_TRUE(reading.wait_for(1));
    const std::size_t bound = the_default.sweep_threshold() + 64 * 3;  // this thread, the reader, the domain's own list
    EXPECT_EQ(the_default.sweep_threshold(), least_threshold);
    std::size_t most = 0;
    constexpr int count = 100'000;
    for (int i = 0; i < count; ++i) {
        src.exchange(new counted(deleted, 2))->retire();
        most = std::max(most, the_default.stats().pending);
    }
    EXPECT_LE(most, bound);
    the_default.reclaim();
    EXPECT_EQ(the_default.stats().pending, 1U);
    EXPECT_EQ(the_default.stats().reclaimed, static_cast<std::size_t>(count - 1));
    done.open();
    readers.join();
    EXPECT_EQ(the_default.reclaim(), 1U);
    src.exchange(nullptr)->retire();
}

TEST_P(hazard_pointers, a_sweep_is_worth_its_cost_however_many_slots_there_are) {
    std::vector<hazard_pointer> many;
    std::vector<counted*> kept;
    for (int i = 0; i < 2000; ++i) {
        many.push_back(make_hazard_pointer());
        kept.push_back(new counted(deleted));
        many.back().reset_protection(kept.back());
    }
    for (auto* each : kept) {
        each->retire();
    }
    EXPECT_EQ(the_default.sweep_threshold(), 2 * the_default.stats().hazard_pointers);
    std::size_t most = 0;
    int sweeps = 0;
    int before = 0;
    for (int i = 0; i < 20'000; ++i) {
        (new counted(deleted))->retire();
        most = std::max(most, the_default.stats().pending);
        sweeps += deleted != before ? 1 : 0;
        before = deleted;
    }
    EXPECT_LE(most, the_default.sweep_threshold() + 2 * 64);
    EXPECT_LE(sweeps, 20'000 / 2000 + 1);
    EXPECT_GE(sweeps, 5);
    EXPECT_EQ(the_default.reclaim() + static_cast<std::size_t>(before), 20'000U);
    many.clear();
    EXPECT_EQ(the_default.reclaim(), 2000U);
}

TEST_P(hazard_pointers, what_a_thread_retired_before_its_end_is_reclaimed_by_others) {
    std::thread([&] {
        for (int i = 0; i < 10; ++i) {
            (new counted(deleted))->retire();
        }
    }).join();
    EXPECT_EQ(deleted, 0);
    EXPECT_EQ(the_default.stats().pending, 10U);
    EXPECT_EQ(the_default.reclaim(), 10U);
    EXPECT_EQ(deleted, 10);
}

TEST_P(hazard_pointers, what_a_sleeping_thread_retired_is_reclaimed_by_others) {
    weir_test::gate done;
    weir_test::arrivals asleep;
    weir_test::crew sleepers;
    for (int t = 0; t < 3; ++t) {
        sleepers.start([&] {
            for (int i = 0; i < 10; ++i) {
                (new counted(deleted))->retire();
            }
            asleep.arrive();
            EXPECT_TRUE(done.wait());
        });
    }
    ASSERT_TRUE(asleep.wait_for(3));
    EXPECT_EQ(the_default.reclaim(), 30U);
    EXPECT_EQ(deleted, 30);
    done.open();
    sleepers.join();
}

TEST_P(hazard_pointers, the_garbage_of_many_short_threads_is_bounded_too) {
    std::size_t most = 0;
    for (int t = 0; t < 200; ++t) {
        std::thread([&] {
            for (int i = 0; i < 63; ++i) {  // one short of a batch
                (new counted(deleted))->retire();
            }
        }).join();
        most = std::max(most, the_default.stats().pending);
    }
    EXPECT_LE(most, least_threshold + 64 * 2);
    the_default.reclaim();
    EXPECT_EQ(deleted, 200 * 63);
}

TEST_P(hazard_pointers, slots_are_bounded_by_the_threads_alive_at_once) {
    constexpr std::size_t at_once = 4;
    for (std::size_t round = 0; round < scaled(250, 50); ++round) {
        weir_test::run_together(at_once, [&](std::size_t) {
            auto a = make_hazard_pointer();
            auto b = make_hazard_pointer();
            (new counted(deleted))->retire();
        });
        ASSERT_LE(the_default.stats().hazard_pointers, at_once * slots_per_record);
    }
    the_default.reclaim();
}

TEST_P(hazard_pointers, a_hazard_pointer_may_end_in_another_thread_than_it_began_in) {
    std::atomic<counted*> src{new counted(deleted, 1)};
    hazard_pointer h;
    std::thread([&] {
        h = make_hazard_pointer();
        h.protect(src);
    }).join();
    src.exchange(nullptr)->retire();
    EXPECT_EQ(the_default.reclaim(), 0U);
    h = hazard_pointer();
    EXPECT_EQ(the_default.reclaim(), 1U);
}

TEST_P(hazard_pointers, a_thread_that_collects_the_slots_of_others_gives_them_back) {
    for (int round = 0; round < 20; ++round) {
        std::vector<hazard_pointer> collected(40);
        std::thread([&] {
            for (auto& each : collected) {
                each = make_hazard_pointer();
            }
        }).join();
    }
    EXPECT_LE(the_default.stats().hazard_pointers, 40U + 2 * slots_per_record);
}

// ---- deleters that use the domain

struct chained : weir::hazard_pointer_obj_base<chained> {
    chained(std::atomic<int>& deletions, chained* rest) : deleted(&deletions), next(rest) {}
    ~chained() {
        deleted->fetch_add(1);
        if (next != nullptr) {
            next->retire(*domain);
        }
    }
    std::atomic<int>* deleted;
    chained* next;
    hazard_pointer_domain* domain = &hazard_pointer_default_domain();
};

TEST_P(hazard_pointers, a_chain_of_a_million_whose_links_retire_the_next_needs_no_stack) {
    const auto length = static_cast<int>(scaled(1'000'000));
    chained* first = nullptr;
    for (int i = 0; i < length; ++i) {
        first = new chained(deleted, first);
    }
    first->retire();
    EXPECT_EQ(the_default.reclaim(), static_cast<std::size_t>(length));
    EXPECT_EQ(deleted, length);
}

// A tree: each deletion retires two. Counts how deep deletions stand inside of each other.
struct branching : weir::hazard_pointer_obj_base<branching> {
    branching(std::atomic<int>& deletions, int h, hazard_pointer_domain& d)
        : deleted(&deletions), height(h), domain(&d) {}
    ~branching() {
        ++depth;
        deepest = std::max(deepest, depth);
        deleted->fetch_add(1);
        if (height > 0) {
            (new branching(*deleted, height - 1, *domain))->retire(*domain);
            (new branching(*deleted, height - 1, *domain))->retire(*domain);
        }
        --depth;
    }
    std::atomic<int>* deleted;
    int height;
    hazard_pointer_domain* domain;
    static inline thread_local int depth = 0;
    static inline thread_local int deepest = 0;
};

TEST_P(hazard_pointers, deleters_that_retire_do_not_nest_however_much_they_retire) {
    constexpr int height = 14;
    for (const bool swept_by_retiring : {false, true}) {
        branching::deepest = 0;
        deleted = 0;
        (new branching(deleted, height, the_default))->retire();
        std::atomic<int> others{0};
        for (int i = 0; i < 4000 && swept_by_retiring; ++i) {
            (new counted(others))->retire();
        }
        the_default.reclaim();
        EXPECT_EQ(deleted, (1 << (height + 1)) - 1);
        EXPECT_EQ(branching::deepest, 1);
        EXPECT_EQ(the_default.stats().pending, 0U);
    }
}

TEST_P(hazard_pointers, a_deleter_may_make_hazard_pointers_and_ask_for_a_reclaim) {
    struct curious : weir::hazard_pointer_obj_base<curious> {
        explicit curious(std::atomic<counted*>& s) : src(&s) {}
        ~curious() {
            auto h = make_hazard_pointer();
            EXPECT_EQ(h.protect(*src)->number, 9);
            EXPECT_EQ(hazard_pointer_default_domain().reclaim(), 0U);
        }
        std::atomic<counted*>* src;
    };
    std::atomic<counted*> src{new counted(deleted, 9)};
    (new curious(src))->retire();
    (new curious(src))->retire();
    EXPECT_EQ(the_default.reclaim(), 2U);
    src.exchange(nullptr)->retire();
}

// ---- domains

TEST_P(hazard_pointers, domains_do_not_see_each_other) {
    hazard_pointer_domain other(GetParam());
    EXPECT_EQ(other.mode(), GetParam());
    std::atomic<counted*> src{new counted(deleted, 1)};
    auto mine = make_hazard_pointer();
    auto theirs = make_hazard_pointer(other);
    mine.protect(src);
    theirs.protect(src);
    src.load()->retire(other);
    EXPECT_EQ(the_default.stats().pending, 0U);
    EXPECT_EQ(other.reclaim(), 0U);
    theirs.reset_protection();
    mine.reset_protection();
    EXPECT_EQ(other.reclaim(), 1U);
    src = nullptr;
    theirs = hazard_pointer();
}

TEST_P(hazard_pointers, a_domain_that_ends_reclaims_what_was_retired_to_it_chains_and_trees_included) {
    std::vector<int> log;
    {
        hazard_pointer_domain domain(GetParam());
        (new logged(1))->retire({&log}, domain);
        (new counted(deleted))->retire(domain);
        auto* const last = new chained(deleted, nullptr);
        auto* const first = new chained(deleted, last);
        first->domain = &domain;
        first->retire(domain);
        (new branching(deleted, 8, domain))->retire(domain);
        EXPECT_EQ(domain.stats().pending, 4U);
        EXPECT_EQ(deleted, 0);
    }
    EXPECT_EQ(log, std::vector<int>{1});
    EXPECT_EQ(deleted, 1 + 2 + 511);
}

TEST_P(hazard_pointers, garbage_of_any_domain_is_bounded) {
    hazard_pointer_domain domain(GetParam());
    std::size_t most = 0;
    for (int i = 0; i < 20'000; ++i) {
        (new counted(deleted))->retire(domain);
        most = std::max(most, domain.stats().pending);
    }
    EXPECT_LE(most, least_threshold + 64);
    EXPECT_GE(most, least_threshold - 64);
    (new branching(deleted, 14, domain))->retire(domain);
    domain.reclaim();
    EXPECT_EQ(deleted, 20'000 + 32'767);
}

TEST_P(hazard_pointers, retired_pending_and_reclaimed_add_up) {
    auto h = make_hazard_pointer();
    std::atomic<counted*> src{new counted(deleted)};
    h.protect(src);
    src.exchange(nullptr)->retire();
    for (std::size_t retired = 2; retired <= 3000; ++retired) {
        (new counted(deleted))->retire();
        const auto s = the_default.stats();
        ASSERT_EQ(s.pending + s.reclaimed, retired);
        ASSERT_EQ(s.reclaimed, static_cast<std::size_t>(deleted.load()));
    }
    const auto before = static_cast<std::size_t>(deleted.load());
    EXPECT_EQ(before + the_default.reclaim(), 2999U);
    EXPECT_EQ(the_default.stats().pending, 1U);
}

TEST_P(hazard_pointers, reset_starts_afresh_in_the_other_mode_also_for_threads_that_live_on) {
    const auto other = GetParam() == hazard_pointer_mode::membarrier ? hazard_pointer_mode::seq_cst : GetParam();
    std::atomic<counted*> src{new counted(deleted, 1)};
    weir_test::arrivals reached;
    std::array<weir_test::gate, 2> go;
    weir_test::crew threads;
    threads.start([&] {
        for (auto& each : go) {
            {
                auto h = make_hazard_pointer();
                EXPECT_EQ(h.protect(src)->number, 1);
            }
            (new counted(deleted))->retire();
            reached.arrive();
            ASSERT_TRUE(each.wait());
        }
    });
    ASSERT_TRUE(reached.wait_for(1));
    the_default.reset(other);
    EXPECT_EQ(the_default.mode(), other);
    EXPECT_EQ(deleted, 1);
    EXPECT_EQ(the_default.stats().pending, 0U);
    EXPECT_EQ(the_default.stats().reclaimed, 0U);
    EXPECT_EQ(the_default.stats().hazard_pointers, slots_per_record) << "the other thread still has its record";
    go[0].open();
    ASSERT_TRUE(reached.wait_for(2));
    EXPECT_EQ(the_default.stats().pending, 1U);
    EXPECT_EQ(the_default.reclaim(), 1U);
    go[1].open();
    threads.join();
    src.exchange(nullptr)->retire();
}

TEST_P(hazard_pointers, a_mode_that_is_not_one_is_refused) {
    const auto none = static_cast<hazard_pointer_mode>(7);
    EXPECT_FALSE(hazard_pointer_domain::supports(none));
    EXPECT_FALSE(hazard_pointer_domain::supports(hazard_pointer_mode{}));
    EXPECT_THROW(hazard_pointer_domain{none}, std::invalid_argument);
    EXPECT_THROW(the_default.reset(none), std::invalid_argument);
    EXPECT_EQ(the_default.mode(), GetParam());
    EXPECT_TRUE(hazard_pointer_domain::supports(hazard_pointer_mode::seq_cst));
    EXPECT_TRUE(hazard_pointer_domain::supports(hazard_pointer_domain::default_mode()));
    EXPECT_EQ(hazard_pointer_domain().mode(), hazard_pointer_domain::default_mode());
}

TEST(hazard_pointer_modes, thread_sanitizer_builds_use_the_mode_that_sanitizers_understand) {
    if (weir_test::under_thread_sanitizer) {
        EXPECT_EQ(hazard_pointer_domain::default_mode(), hazard_pointer_mode::seq_cst);
    } else {
        EXPECT_EQ(hazard_pointer_domain::default_mode() == hazard_pointer_mode::membarrier,
                  hazard_pointer_domain::supports(hazard_pointer_mode::membarrier));
    }
}

// ---- sweep: containers that keep their own garbage

struct node : hazard_link {
    explicit node(int n) : hazard_link{nullptr}, number(n) {}
    int number;
};

class garbage {
public:
    explicit garbage(int count) {
        for (int i = count - 1; i >= 0; --i) {
            auto* const n = new node(i);
            n->next_retired = list;
            list = n;
            all.insert(all.begin(), n);
        }
    }
    hazard_link* list = nullptr;
    std::vector<node*> all;
};
node* as_node(hazard_link* link) { return static_cast<node*>(link); }
std::size_t length(hazard_link const* list) {
    std::size_t count = 0;
    for (; list != nullptr; list = list->next_retired) {
        ++count;
    }
    return count;
}
std::vector<int> numbers(hazard_link const* list) {
    std::vector<int> all;
    for (; list != nullptr; list = list->next_retired) {
        all.push_back(static_cast<node const*>(list)->number);
    }
    return all;
}

TEST_P(hazard_pointers, sweep_reclaims_what_is_not_protected_and_returns_the_rest_both_in_order) {
    garbage g(10);
    auto a = make_hazard_pointer();
    auto b = make_hazard_pointer();
    a.reset_protection(g.all[7]);
    b.reset_protection(g.all[2]);
    std::vector<int> reclaimed;
    const auto reclaim = [&](hazard_link* link) {
        reclaimed.push_back(as_node(link)->number);
        delete as_node(link);
    };
    hazard_link* kept = the_default.sweep(g.list, reclaim);
    EXPECT_EQ(reclaimed, (std::vector<int>{0, 1, 3, 4, 5, 6, 8, 9}));
    EXPECT_EQ(numbers(kept), (std::vector<int>{2, 7}));
    a.reset_protection();
    kept = the_default.sweep(kept, reclaim);
    EXPECT_EQ(numbers(kept), std::vector<int>{2});
    b.reset_protection();
    EXPECT_EQ(the_default.sweep(kept, reclaim), nullptr);
    EXPECT_EQ(reclaimed.size(), 10U);
    EXPECT_EQ(the_default.stats().reclaimed, 0U);
}

TEST_P(hazard_pointers, sweep_of_nothing_does_nothing) {
    EXPECT_EQ(the_default.sweep(nullptr, [](hazard_link*) { FAIL(); }), nullptr);
}

// More protected addresses than a sweep can look up at once, at the borders of its set and across several of them.
TEST_P(hazard_pointers, sweep_finds_every_protected_object_among_any_number) {
    for (const std::size_t protections : {1U, 255U, 256U, 257U, 511U, 512U, 513U, 1300U}) {
        garbage g(2000);
        std::vector<hazard_pointer> all;
        for (std::size_t i = 0; i < protections; ++i) {
            all.push_back(make_hazard_pointer());
            all.back().reset_protection(g.all[(i * 7) % 2000]);
            if (i % 3 == 0) {  // some twice
                all.push_back(make_hazard_pointer());
                all.back().reset_protection(g.all[(i * 7) % 2000]);
            }
        }
        std::vector<bool> reclaimed(2000, false);
        hazard_link* kept = the_default.sweep(g.list, [&](hazard_link* link) {
            reclaimed[static_cast<std::size_t>(as_node(link)->number)] = true;
            delete as_node(link);
        });
        ASSERT_EQ(numbers(kept).size(), protections);
        for (std::size_t i = 0; i < protections; ++i) {
            ASSERT_FALSE(reclaimed[(i * 7) % 2000]) << i << " of " << protections;
        }
        int before = -1;
        for (const int number : numbers(kept)) {
            ASSERT_GT(protections > 256 ? number : number - before, protections > 256 ? -1 : 0);
            before = number;
        }
        all.clear();
        EXPECT_EQ(the_default.sweep(kept, [&](hazard_link* link) { delete as_node(link); }), nullptr);
    }
}

TEST_P(hazard_pointers, sweep_may_be_called_and_hazard_pointers_made_while_it_reclaims) {
    garbage outer(600);
    garbage inner(600);
    auto h = make_hazard_pointer();
    h.reset_protection(inner.all[300]);
    int reclaimed = 0;
    hazard_link* kept = inner.list;
    hazard_link* const none = the_default.sweep(outer.list, [&](hazard_link* link) {
        delete as_node(link);
        (new counted(deleted))->retire();
        auto mine = make_hazard_pointer();
        if (kept != nullptr) {
            mine.reset_protection(kept);
            kept = the_default.sweep(kept, [&](hazard_link* each) {
                ++reclaimed;
                delete as_node(each);
            });
        }
    });
    EXPECT_EQ(none, nullptr);
    EXPECT_EQ(reclaimed, 598);
    EXPECT_EQ(numbers(kept).back(), 300);
    h.reset_protection();
    EXPECT_EQ(the_default.sweep(kept, [](hazard_link* each) { delete as_node(each); }), nullptr);
    the_default.reclaim();
    EXPECT_EQ(deleted, 600);
}

TEST_P(hazard_pointers, an_object_without_a_link_is_protected_by_its_address) {
    garbage g(3);
    auto* const plain =
        reinterpret_cast<std::uint64_t*>(g.all[1]);  // as where a word holds what is one pointer among others
    auto h = make_hazard_pointer();
    h.reset_protection(plain);
    hazard_link* const kept = the_default.sweep(g.list, [](hazard_link* each) { delete as_node(each); });
    EXPECT_EQ(numbers(kept), std::vector<int>{1});
    delete g.all[1];
}

// ---- the end of threads and of the process

// Uses hazard pointers from the destructor of a thread_local. The two kinds differ in which of them is made first: the
// library's own hook runs before the one and after the other.
struct late_user {
    explicit late_user(std::atomic<int>& deletions) : deleted(&deletions) {}
    late_user(late_user const&) = delete;
    late_user& operator=(late_user const&) = delete;
    ~late_user() {
        std::atomic<counted*> src{new counted(*deleted, 4)};
        auto h = make_hazard_pointer();
        EXPECT_EQ(h.protect(src)->number, 4);
        src.exchange(nullptr)->retire();
        for (int i = 0; i < 2000; ++i) {  // enough for a sweep
            (new counted(*deleted))->retire();
        }
        held = hazard_pointer();
    }
    std::atomic<int>* deleted;
    hazard_pointer held;
};

TEST_P(hazard_pointers,
       destructors_of_thread_locals_may_use_them_before_and_after_the_thread_has_given_its_slots_back) {
    for (int round = 0; round < 20; ++round) {
        std::thread([&] {
            thread_local late_user after(deleted);
            { auto h = make_hazard_pointer(); }
            thread_local late_user before(deleted);
            after.held = make_hazard_pointer();
            before.held = make_hazard_pointer();
        }).join();
    }
    EXPECT_GT(deleted, 0);
    the_default.reclaim();
    EXPECT_EQ(deleted, 20 * 2 * 2001);
    EXPECT_LE(the_default.stats().hazard_pointers, 2 * slots_per_record);
}

struct at_exit_user {
    explicit at_exit_user(hazard_pointer_domain& d) : domain(&d) {}
    at_exit_user(at_exit_user const&) = delete;
    at_exit_user& operator=(at_exit_user const&) = delete;
    ~at_exit_user() {
        for (int i = 0; i < 3000; ++i) {
            auto h = make_hazard_pointer(*domain);
            (new counted(deletions))->retire(*domain);
        }
        domain->reclaim();
        std::_Exit(deletions == 3000 ? 0 : 1);
    }
    hazard_pointer_domain* domain;
    std::atomic<int> deletions{0};
};

TEST_P(hazard_pointers, static_destructors_may_use_the_default_domain) {
    EXPECT_EXIT(
        {
            static at_exit_user last(the_default);
            static_cast<void>(last);
            { auto h = make_hazard_pointer(); }
            std::exit(2);
        },
        testing::ExitedWithCode(0), "");
}

#if !defined(WEIR_TEST_CANNOT_REPLACE_NEW)
TEST_P(hazard_pointers, no_memory_for_slots_is_reported_and_retiring_needs_none) {
    out_of_memory = true;
    std::thread([&] {
        EXPECT_THROW(static_cast<void>(make_hazard_pointer()), std::bad_alloc);
        for (int i = 0; i < 5000; ++i) {
            (new counted(deleted))->retire();
        }
        EXPECT_GT(deleted, 0);
        EXPECT_LE(the_default.stats().pending, least_threshold + 64);
        hazard_pointer_domain domain(GetParam());
        EXPECT_THROW(static_cast<void>(make_hazard_pointer(domain)), std::bad_alloc);
        (new counted(deleted))->retire(domain);
    }).join();
    out_of_memory = false;
    the_default.reclaim();
    EXPECT_EQ(deleted, 5001);
    EXPECT_FALSE(make_hazard_pointer().empty());
}
#endif

#if defined(__linux__)

TEST_P(hazard_pointers, the_child_of_a_fork_goes_on_whatever_other_threads_were_doing) {
    std::atomic<counted*> src{new counted(deleted, 1)};
    std::atomic<bool> stop{false};
    weir_test::arrivals started;
    weir_test::crew busy;
    for (int t = 0; t < 2; ++t) {
        busy.start([&] {
            started.arrive();
            while (!stop) {
                auto h = make_hazard_pointer();
                EXPECT_EQ(h.protect(src)->number, 1);
                src.exchange(new counted(deleted, 1))->retire();
            }
        });
    }
    ASSERT_TRUE(started.wait_for(2));
    for (int round = 0; round < 10; ++round) {
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            // What the two threads had announced stays announced, and the child's objects may come to lie there.
            constexpr int lost = 2;
            std::atomic<int> here{0};
            std::atomic<counted*> mine{new counted(here, 1)};
            bool good = true;
            {
                auto h = make_hazard_pointer();
                counted* const seen = h.protect(mine);
                mine.exchange(nullptr)->retire();
                for (int i = 0; i < 5000; ++i) {
                    (new counted(here))->retire();
                }
                the_default.reclaim();
                good = seen->number == 1 && here >= 5000 - lost && here <= 5000;
            }
            the_default.reclaim();
            std::_Exit(good && here >= 5001 - lost ? 0 : 1);
        }
        int status = -1;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    }
    stop = true;
    busy.join();
    src.exchange(nullptr)->retire();
    the_default.reclaim();
}

#if defined(__x86_64__) || defined(__aarch64__)
// A sandbox that is closed after the start: no barrier, so nothing may be reclaimed, and nothing breaks.
TEST_P(hazard_pointers, where_the_kernel_comes_to_refuse_the_barrier_everything_is_kept_and_errno_too) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        for (int i = 0; i < 10; ++i) {
            (new counted(deleted))->retire();
        }
        const auto architecture = static_cast<std::uint32_t>(
#if defined(__x86_64__)
            AUDIT_ARCH_X86_64
#else
            AUDIT_ARCH_AARCH64
#endif
        );
        std::array<sock_filter, 6> rules{{
            {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, arch)},
            {BPF_JMP | BPF_JEQ | BPF_K, 0, 2, architecture},
            {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
            {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, static_cast<std::uint32_t>(SYS_membarrier)},
            {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
            {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(EPERM)},
        }};
        const sock_fprog program{static_cast<unsigned short>(rules.size()), rules.data()};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
            std::_Exit(77);
        }
        errno = 123;
        for (int i = 0; i < 5000; ++i) {
            (new counted(deleted))->retire();
        }
        const auto reclaimed = the_default.reclaim();
        if (errno != 123) {
            std::_Exit(2);
        }
        if (GetParam() == hazard_pointer_mode::membarrier) {
            std::_Exit(reclaimed == 0 && deleted == 0 && the_default.stats().pending == 5010 ? 0 : 1);
        }
        std::_Exit(deleted == 5010 ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << status;
    if (WEXITSTATUS(status) == 77) {
        GTEST_SKIP() << "no seccomp here";
    }
    EXPECT_EQ(WEXITSTATUS(status), 0);
}
#endif
#endif

// ---- many threads

// Says whether it is alive in a word that its destructor spoils before the memory goes back.
struct mortal : weir::hazard_pointer_obj_base<mortal> {
    static constexpr std::uint64_t alive = 0x616c697665U;
    explicit mortal(std::uint64_t n) : number(n), check(n ^ alive) {}
    mortal(mortal const&) = default;
    mortal& operator=(mortal const&) = delete;
    ~mortal() {
        const_cast<std::uint64_t volatile&>(check) = 0;
        const_cast<std::uint64_t volatile&>(number) = 1;
    }
    [[nodiscard]] bool whole() const {
        return (const_cast<std::uint64_t const volatile&>(number) ^ const_cast<std::uint64_t const volatile&>(check)) ==
               alive;
    }
    std::uint64_t number;
    std::uint64_t check;
};

TEST_P(hazard_pointers, readers_see_only_living_objects_while_writers_replace_them) {
    constexpr std::size_t cells = 3;
    std::array<std::atomic<mortal*>, cells> src{};
    for (auto& each : src) {
        each = new mortal(1);
    }
    weir_test::findings wrong;
    std::atomic<int> writers{2};
    std::atomic<mortal*> escape{nullptr};  // what is copied is not optimised away
    weir_test::run_together(4, [&](std::size_t me) {
        if (me % 2 == 0) {
            for (std::size_t i = 0; i < scaled(300'000); ++i) {
                src[i % cells].exchange(new mortal(i))->retire();
            }
            writers.fetch_sub(1);
            return;
        }
        auto kept = make_hazard_pointer();
        for (std::size_t i = 0; writers != 0; ++i) {
            hazard_pointer made;
            if (i % 2 == 0) {
                made = make_hazard_pointer();
            }
            hazard_pointer& h = i % 2 == 0 ? made : kept;
            mortal* seen = nullptr;
            if (i % 3 == 0) {
                seen = src[i % cells].load(std::memory_order_relaxed);
                while (!h.try_protect(seen, src[i % cells])) {
                }
            } else {
                seen = h.protect(src[i % cells]);
            }
            wrong.expect(seen->whole(), "a dead object");
            const auto copy = std::make_unique<mortal>(*seen);  // beside its being retired
            escape = copy.get();
            wrong.expect(copy->whole(), "a copy of a dead object");
            wrong.expect(seen->whole(), "an object that died under protection");
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    for (auto& each : src) {
        each.exchange(nullptr)->retire();
    }
    the_default.reclaim();
    EXPECT_EQ(the_default.stats().pending, 0U);
}

TEST_P(hazard_pointers, only_one_of_several_sweepers_reclaims_each_object) {
    weir_test::run_together(4, [&](std::size_t me) {
        for (std::size_t i = 0; i < scaled(40'000); ++i) {
            (new counted(deleted))->retire();
            if (i % 100 == me) {
                the_default.reclaim();
            }
        }
    });
    the_default.reclaim();
    EXPECT_EQ(static_cast<std::size_t>(deleted), 4 * scaled(40'000));
    EXPECT_EQ(the_default.stats().pending, 0U);
}

// Treiber's stack: its pop is right only if no node comes back while someone is about to compare with it.
TEST_P(hazard_pointers, a_stack_built_on_them_loses_and_doubles_nothing) {
    struct item : weir::hazard_pointer_obj_base<item> {
        explicit item(std::uint64_t n) : number(n) {}
        std::uint64_t number;
        item* next = nullptr;
    };
    std::atomic<item*> top{nullptr};
    const auto push = [&](item* n) {
        n->next = top.load();
        while (!top.compare_exchange_weak(n->next, n)) {
        }
    };
    const auto pop = [&](std::uint64_t& number) {
        auto h = make_hazard_pointer();
        for (;;) {
            item* first = h.protect(top);
            if (first == nullptr) {
                return false;
            }
            if (item* expected = first; top.compare_exchange_strong(expected, first->next)) {
                number = first->number;
                h.reset_protection();
                first->retire();
                return true;
            }
        }
    };
    const std::size_t each = scaled(50'000);
    std::atomic<std::uint64_t> popped{0};
    std::atomic<std::uint64_t> sum{0};
    weir_test::run_together(4, [&](std::size_t me) {
        std::uint64_t number = 0;
        for (std::size_t i = 0; i < each; ++i) {
            push(new item(me * each + i));
            if (i % 2 == 1) {
                for (int twice = 0; twice < 2; ++twice) {
                    if (pop(number)) {
                        popped.fetch_add(1);
                        sum.fetch_add(number);
                    }
                }
            }
        }
    });
    std::uint64_t number = 0;
    while (pop(number)) {
        popped.fetch_add(1);
        sum.fetch_add(number);
    }
    const std::uint64_t count = 4 * each;
    EXPECT_EQ(popped, count);
    EXPECT_EQ(sum, count * (count - 1) / 2);
    the_default.reclaim();
    EXPECT_EQ(the_default.stats().reclaimed, count);
}

TEST_P(hazard_pointers, threads_that_come_and_go_read_and_retire_safely) {
    std::array<std::atomic<mortal*>, 2> src{};
    for (auto& each : src) {
        each = new mortal(1);
    }
    weir_test::findings wrong;
    std::atomic<bool> stop{false};
    weir_test::crew writers;
    writers.start([&] {
        for (std::uint64_t i = 0; !stop; ++i) {
            src[i % 2].exchange(new mortal(i))->retire();
            if (i % 512 == 0) {
                the_default.reclaim();
            }
        }
    });
    for (std::size_t round = 0; round < scaled(300, 40); ++round) {
        weir_test::run_together(3, [&](std::size_t) {
            std::array<hazard_pointer, 12> all;
            for (std::size_t i = 0; i < 60; ++i) {
                auto& h = all[i % all.size()];
                h = make_hazard_pointer();
                wrong.expect(h.protect(src[i % 2])->whole(), "a dead object");
                src[i % 2].exchange(new mortal(i))->retire();
            }
        });
    }
    stop = true;
    writers.join();
    EXPECT_TRUE(wrong.none()) << wrong;
    EXPECT_LE(the_default.stats().hazard_pointers, (4 * 16 / slots_per_record + 5) * slots_per_record);
    for (auto& each : src) {
        each.exchange(nullptr)->retire();
    }
    the_default.reclaim();
    EXPECT_EQ(the_default.stats().pending, 0U);
}

TEST_P(hazard_pointers, readers_of_a_swept_list_see_only_living_objects) {
    struct cell : hazard_link {
        explicit cell(std::uint64_t n) : hazard_link{nullptr}, body(n) {}
        mortal body;
    };
    std::atomic<cell*> src{new cell(0)};
    weir_test::findings wrong;
    hazard_pointer_domain domain(GetParam());
    std::atomic<bool> done{false};
    weir_test::run_together(3, [&](std::size_t me) {
        if (me != 0) {
            auto h = make_hazard_pointer(domain);
            while (!done) {
                wrong.expect(h.protect(src)->body.whole(), "a dead object");
            }
            return;
        }
        hazard_link* list = nullptr;
        const auto reclaim = [](hazard_link* link) { delete static_cast<cell*>(link); };
        for (std::size_t i = 1; i < scaled(400'000); ++i) {
            cell* const old = src.exchange(new cell(i));
            old->next_retired = list;
            list = old;
            if (i % 64 == 0) {
                list = domain.sweep(list, reclaim);
                wrong.expect(length(list) <= 2, "more is kept than is protected");
            }
        }
        done = true;
        while (list != nullptr) {
            list = domain.sweep(list, reclaim);  // until the readers have let go
        }
    });
    EXPECT_TRUE(wrong.none()) << wrong;
    delete src.load();
}

}  // namespace
