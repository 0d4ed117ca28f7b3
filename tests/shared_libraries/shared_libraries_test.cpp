// weir (BSL-1.0). shared_libraries_test: one process, several libraries built with weir, objects passed between them.
#include "shelf.hpp"

#include "support/scale.hpp"
#include "support/threads.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <string>
#include <thread>

#include <dlfcn.h>

// WEIR_TEST_SUITE: the suite's name, which says how the libraries were built.
// WEIR_TEST_ONE_DOMAIN: 1: all share one default domain, 0: each has its own, -1: the compiler and the linker decide.
// WEIR_TEST_OPENED: the libraries are opened with RTLD_LOCAL; WEIR_TEST_FIRST and WEIR_TEST_SECOND are their files.

#define WEIR_TEST_IN(suite, name) TEST(suite, name)
#define LIBRARY_TEST(name) WEIR_TEST_IN(WEIR_TEST_SUITE, name)

#if !defined(WEIR_TEST_OPENED)
extern "C" void weir_test_first(shelf_test::library* out);
extern "C" void weir_test_second(shelf_test::library* out);
#endif

namespace {

using shelf_test::book;
using shelf_test::library;
using shelf_test::reading;
using shelf_test::shelf;
using shelf_test::tally;
using weir_test::scaled;

#if defined(WEIR_TEST_OPENED)
library ask(const char* file, const char* function) {
    library found{};
    void* const opened = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    EXPECT_NE(opened, nullptr) << dlerror();
    if (opened != nullptr) {
        void* const address = dlsym(opened, function);
        EXPECT_NE(address, nullptr) << dlerror();
        reinterpret_cast<void (*)(library*)>(address)(&found);
    }
    return found;
}
library first() { return ask(WEIR_TEST_FIRST, "weir_test_first"); }
library second() { return ask(WEIR_TEST_SECOND, "weir_test_second"); }
#else
library ask(void (*function)(library*)) {
    library found{};
    function(&found);
    return found;
}
library first() { return ask(&weir_test_first); }
library second() { return ask(&weir_test_second); }
#endif

std::array<library, 3> everyone() { return {shelf_test::this_library(), first(), second()}; }

void end(shelf* s) {
    s->current.exchange(nullptr)->retire(*s->domain);
    s->domain->reclaim();
    EXPECT_EQ(s->domain->stats().pending, 0U);
    delete s;
}

LIBRARY_TEST(the_libraries_have_as_many_default_domains_as_is_documented) {
    auto all = everyone();
    const bool one = all[0].domain == all[1].domain && all[1].domain == all[2].domain;
    const bool each =
        all[0].domain != all[1].domain && all[1].domain != all[2].domain && all[0].domain != all[2].domain;
    if (WEIR_TEST_ONE_DOMAIN >= 0) {
        EXPECT_EQ(one, WEIR_TEST_ONE_DOMAIN == 1);
        EXPECT_EQ(each, WEIR_TEST_ONE_DOMAIN == 0);
    }
    EXPECT_EQ(all[0].domain, &weir::hazard_pointer_default_domain());
}

LIBRARY_TEST(what_one_library_protects_another_does_not_reclaim) {
    for (auto const& maker : everyone()) {
        for (auto const& reader : everyone()) {
            for (auto const& writer : everyone()) {
                shelf* const s = maker.make();
                EXPECT_EQ(s->domain, maker.domain);
                reading r;
                reader.begin(*s, r);
                writer.write(*s, 5000);  // several sweeps
                s->domain->reclaim();
                EXPECT_TRUE(r.seen->whole());
                EXPECT_EQ(r.seen->number, 0U);
                reader.end(r);
                end(s);
            }
        }
    }
}

LIBRARY_TEST(a_hazard_pointer_made_by_one_library_may_be_ended_by_another) {
    for (auto const& maker : everyone()) {
        for (auto const& begins : everyone()) {
            for (auto const& ends : everyone()) {
                shelf* const s = maker.make();
                const auto before = std::max<std::size_t>(s->domain->stats().hazard_pointers, 10);
                for (int i = 0; i < 50; ++i) {
                    begins.use_own_domain();
                    reading r;
                    begins.begin(*s, r);
                    ends.use_own_domain();
                    ends.end(r);
                }
                EXPECT_LE(s->domain->stats().hazard_pointers, before + 10) << "slots are lost";
                end(s);
            }
        }
    }
    for (auto const& each : everyone()) {
        each.domain->reclaim();
    }
}

LIBRARY_TEST(readers_and_writers_of_different_libraries_share_an_object_safely) {
    for (auto const& maker : everyone()) {
        shelf* const s = maker.make();
        std::atomic<std::size_t> wrong{0};
        const auto all = everyone();
        weir_test::run_together(6, [&](std::size_t me) {
            library const& mine = all[me % 3];
            for (std::size_t round = 0; round < 20; ++round) {
                mine.use_own_domain();
                if (me < 3) {
                    wrong.fetch_add(mine.read(*s, scaled(2000)));
                } else {
                    mine.write(*s, scaled(1000));
                }
            }
        });
        EXPECT_EQ(wrong, 0U);
        end(s);
    }
    for (auto const& each : everyone()) {
        each.domain->reclaim();
        EXPECT_EQ(each.domain->stats().pending, 0U);
    }
}

LIBRARY_TEST(threads_that_end_give_back_what_they_had_in_every_library) {
    const auto all = everyone();
    std::array<std::size_t, 3> before{};
    for (int round = 0; round < 50; ++round) {
        std::thread([&] {
            for (auto const& each : all) {
                each.use_own_domain();
            }
        }).join();
        for (std::size_t i = 0; i < all.size(); ++i) {
            const auto slots = all[i].domain->stats().hazard_pointers;
            EXPECT_TRUE(round == 0 || slots == before[i]);
            before[i] = slots;
        }
    }
    for (auto const& each : all) {
        each.domain->reclaim();
        EXPECT_EQ(each.domain->stats().pending, 0U);
    }
}

// A library with lanes of its own has none among those of the statistic's maker: it writes beside them.
LIBRARY_TEST(what_any_library_counts_in_a_statistic_of_another_is_in_it) {
    const auto all = everyone();
    for (auto const& maker : all) {
        for (auto const& ends : all) {
            tally* const t = maker.make_tally();
            EXPECT_EQ(t->calls.value(), 0U);
            EXPECT_EQ(t->requests.snapshot().requests, 0U);
            const std::size_t times = scaled(2000);
            weir_test::run_together(6, [&](std::size_t me) {
                for (std::size_t i = 0; i < times; ++i) {
                    all[me % 3].count(*t, 1 + i % 5);
                    if (i % 64 == 0) {
                        const auto seen = t->requests.snapshot();
                        EXPECT_DOUBLE_EQ(seen.bytes, 2e9 * seen.duration.count());
                    }
                }
            });
            const auto seen = t->requests.snapshot();
            EXPECT_EQ(seen.requests, 6 * times);
            EXPECT_EQ(seen.success.count(), 6 * times);
            EXPECT_EQ(seen.in_flight, 0U);
            EXPECT_EQ(seen.lost, 0U);
            EXPECT_DOUBLE_EQ(seen.bytes, static_cast<double>(2 * t->calls.value()));
            EXPECT_EQ(t->calls.take(), t->calls.value());
            ends.end_tally(t);
        }
    }
}

}  // namespace
