// weir (BSL-1.0). zoo_test: known bugs, which the engine must find, and their corrected twins, which it must let pass.
#include "bounded_ring.hpp"
#include "engine/model.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <ostream>
#include <shared_mutex>
#include <sstream>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

// Of the thread sanitizer's interface.
extern "C" {
void AnnotateIgnoreReadsBegin(char const* file, int line);
void AnnotateIgnoreReadsEnd(char const* file, int line);
void AnnotateIgnoreWritesBegin(char const* file, int line);
void AnnotateIgnoreWritesEnd(char const* file, int line);
}

namespace {

using namespace weir_model;
using namespace std::chrono_literals;
using enum std::memory_order;
using word = std::atomic<int>;

// A bug and its correction are one program with a switch: `false` and `true`, or the wrong order and the right one.

// ---- memory orders

template <std::memory_order Store, std::memory_order Load, bool Fences = false>
void dekker() {
    word first{0};
    word second{0};
    int entered = 0;  // of the thread that saw no other
    const auto enter = [&entered](word& mine, word& other) {
        mine.store(1, Store);
        if constexpr (Fences) {
            std::atomic_thread_fence(seq_cst);
        }
        if (other.load(Load) == 0) {
            ++entered;
        }
    };
    together([&] { enter(first, second); }, [&] { enter(second, first); });
}

template <std::memory_order Store, std::memory_order Load>
void publish() {
    std::atomic<std::string*> published{nullptr};
    together([&] { published.store(new std::string("a text too long to be kept inside the string"), Store); },
             [&] {
                 if (std::string const* const s = published.load(Load)) {
                     WEIR_MODEL_REQUIRE(s->size() > 5);
                 }
             });
    delete published.load();
}

template <std::memory_order Publish, std::memory_order Take>
void ring() {
    weir_test::bounded_ring<2, Publish, Take> queue;
    std::optional<int> first;
    std::optional<int> second;
    together(
        [&] {
            queue.push(1);
            queue.push(2);
        },
        [&] { first = queue.pop(); }, [&] { second = queue.pop(); });
    WEIR_MODEL_REQUIRE(!first || first != second);
}

// One writer, one reader that tries once. The data is atomic, so that there is no race to be found, only a torn pair.
template <bool Fences>
void sequence_lock() {
    word version{0};
    word a{0};
    word b{0};
    together(
        [&] {
            version.store(1, relaxed);
            if constexpr (Fences) {
                std::atomic_thread_fence(release);
            }
            a.store(1, relaxed);
            b.store(1, relaxed);
            version.store(2, release);
        },
        [&] {
            const int before = version.load(acquire);
            const int x = a.load(relaxed);
            const int y = b.load(relaxed);
            if constexpr (Fences) {
                std::atomic_thread_fence(acquire);
            }
            if (before % 2 == 0 && version.load(relaxed) == before) {
                WEIR_MODEL_REQUIRE(x == y);
            }
        });
}

template <bool Atomic>
void double_checked_locking() {
    std::mutex m;
    std::atomic<bool> ready{false};
    bool plain_ready = false;
    int value = 0;
    const auto get = [&] {
        if (!(Atomic ? ready.load(acquire) : plain_ready)) {
            const std::lock_guard hold(m);
            if (!(Atomic ? ready.load(relaxed) : plain_ready)) {
                value = 7;
                if constexpr (Atomic) {
                    ready.store(true, release);
                } else {
                    plain_ready = true;
                }
            }
        }
        return value;
    };
    together([&] { WEIR_MODEL_REQUIRE(get() == 7); }, [&] { WEIR_MODEL_REQUIRE(get() == 7); });
}

template <std::memory_order Down>
void reference_count() {
    struct counted {
        word count{2};
        int seen[2] = {0, 0};
    };
    auto* const p = new counted;
    const auto use = [p](int mine) {
        p->seen[mine] = 1;
        if (p->count.fetch_sub(1, Down) == 1) {
            WEIR_MODEL_REQUIRE(p->seen[0] + p->seen[1] == 2);
            delete p;
        }
    };
    together([&] { use(0); }, [&] { use(1); });
}

// ---- races

template <bool Locked>
void plain_counter() {
    std::mutex m;
    int count = 0;
    const auto add = [&] {
        std::unique_lock hold(m, std::defer_lock);
        if constexpr (Locked) {
            hold.lock();
        }
        ++count;
    };
    together(add, add);
    WEIR_MODEL_REQUIRE(count == 2);
}

template <bool Atomic>
void plain_write_against_an_atomic_read() {
    int x = 0;
    together(
        [&] {
            if constexpr (Atomic) {
                std::atomic_ref(x).store(1, relaxed);
            } else {
                x = 1;
            }
        },
        [&] { (void)std::atomic_ref(x).load(relaxed); });
}

// The read always comes first, and yet nothing orders the write after it.
template <std::memory_order Store, std::memory_order Load>
void plain_read_before_an_atomic_write() {
    int x = 1;
    word flag{0};
    together(
        [&] {
            WEIR_MODEL_REQUIRE(x == 1);
            flag.store(1, Store);
        },
        [&] {
            if (flag.load(Load) == 1) {
                std::atomic_ref(x).store(2, relaxed);
            }
        });
}

void plain_read_beside_an_atomic_read() {
    int x = 1;
    together([&] { WEIR_MODEL_REQUIRE(x == 1); }, [&] { WEIR_MODEL_REQUIRE(std::atomic_ref(x).load(relaxed) == 1); });
}

template <bool Added>
void lost_update() {
    word count{0};
    const auto add = [&] {
        if constexpr (Added) {
            count.fetch_add(1, relaxed);
        } else {
            count.store(count.load(relaxed) + 1, relaxed);
        }
    };
    together(add, add);
    WEIR_MODEL_REQUIRE(count.load() == 2);
}

int* made_by_hand = nullptr;

void lazy_by_hand() {
    const auto get = [] {
        if (made_by_hand == nullptr) {
            made_by_hand = new int(7);
        }
        return *made_by_hand;
    };
    together([&] { (void)get(); }, [&] { (void)get(); });
    delete made_by_hand;
}

std::vector<int>& made_by_the_language() {
    static std::vector<int> numbers(3, 7);
    return numbers;
}

void lazy_by_the_language() {
    together([] { WEIR_MODEL_REQUIRE(made_by_the_language().at(2) == 7); },
             [] { WEIR_MODEL_REQUIRE(made_by_the_language().at(2) == 7); });
}

// ---- memory

// Keeps the compiler from leaving an allocation out.
[[gnu::noinline]] void look_at(int* p) { asm volatile("" ::"r"(p) : "memory"); }

struct node {
    std::atomic<node*> next{nullptr};
};

// Nodes are never freed, so that nothing but ABA is to be found. The tagged head counts its pops in its upper bits.
template <bool Tagged>
class treiber_stack {
public:
    void push(node* n) {
        std::uint64_t old = head_.load(relaxed);
        do {
            n->next.store(pointer(old), relaxed);
        } while (!head_.compare_exchange_weak(old, successor(n, old), release, relaxed));
    }
    node* pop() {
        std::uint64_t old = head_.load(acquire);
        while (node* const top = pointer(old)) {
            if (head_.compare_exchange_weak(old, successor(top->next.load(relaxed), old), acquire, acquire)) {
                return top;
            }
        }
        return nullptr;
    }

private:
    static constexpr int tag_shift = 48;
    static node* pointer(std::uint64_t head) {
        return reinterpret_cast<node*>(head & ((std::uint64_t{1} << tag_shift) - 1));
    }
    static std::uint64_t successor(node* n, std::uint64_t old) {
        const std::uint64_t tag = Tagged ? (old >> tag_shift) + 1 : 0;
        return reinterpret_cast<std::uint64_t>(n) | tag << tag_shift;
    }

    std::atomic<std::uint64_t> head_{0};
};

template <bool Tagged>
void aba() {
    treiber_stack<Tagged> stack;
    node nodes[2];
    stack.push(&nodes[0]);
    stack.push(&nodes[1]);
    node* taken[5] = {};
    together([&] { taken[0] = stack.pop(); },
             [&] {
                 node* const again = stack.pop();
                 taken[1] = stack.pop();
                 if (again != nullptr) {
                     stack.push(again);
                 }
             });
    for (int i = 2; i < 5; ++i) {
        taken[i] = stack.pop();
    }
    for (node const& n : nodes) {
        WEIR_MODEL_REQUIRE(std::count(std::begin(taken), std::end(taken), &n) == 1);
    }
}

// Takes an equal address for an unchanged object.
template <bool Versions>
void aba_by_reuse() {
    struct versioned {
        int version;
    };
    std::mutex m;
    auto* current = new versioned{1};
    together(
        [&] {
            const std::lock_guard hold(m);
            delete current;
            current = new versioned{2};
        },
        [&] {
            versioned const* before = nullptr;
            int version = 0;
            {
                const std::lock_guard hold(m);
                before = current;
                version = current->version;
            }
            const std::lock_guard hold(m);
            const bool unchanged = Versions ? current->version == version : current == before;
            if (unchanged) {
                WEIR_MODEL_REQUIRE(current->version == version);
            }
        });
    delete current;
}

// A map of one bucket: a reader against an eraser.
template <bool Protected>
void node_map() {
    struct entry {
        int value = 42;
    };
    std::atomic<entry*> bucket{new entry};
    std::atomic<entry*> hazard{nullptr};
    entry* retired = nullptr;
    together(
        [&] {
            entry* found = bucket.load(acquire);
            if constexpr (Protected) {
                for (;;) {
                    hazard.store(found, seq_cst);
                    entry* const again = bucket.load(seq_cst);
                    if (again == found) {
                        break;
                    }
                    found = again;
                }
            }
            if (found != nullptr) {
                WEIR_MODEL_REQUIRE(found->value == 42);
            }
            hazard.store(nullptr, release);
        },
        [&] {
            entry* const erased = bucket.exchange(nullptr, seq_cst);
            if (!Protected || hazard.load(seq_cst) != erased) {
                delete erased;
            } else {
                retired = erased;
            }
        });
    delete retired;
}

template <bool Alive>
void read_of_a_freed_block() {
    int* volatile const p = new int(1);  // volatile: or the compilers warn
    int copy = 0;
    if constexpr (Alive) {
        copy = *p;
    }
    delete p;
    if constexpr (!Alive) {
        copy = *p;
    }
    WEIR_MODEL_REQUIRE(copy == 1);
}

template <std::size_t Index>
void read_of_an_element() {
    const auto numbers = std::make_unique<int[]>(4);
    look_at(numbers.get());
    WEIR_MODEL_REQUIRE(numbers[Index] == 0);
}

template <bool Joined>
void reader_of_freed_memory() {
    auto* const p = new int(1);
    std::thread reader([p] { WEIR_MODEL_REQUIRE(*p == 1); });
    if constexpr (Joined) {
        reader.join();
    }
    delete p;
    if constexpr (!Joined) {
        reader.join();
    }
}

template <bool Exchanged>
void double_free() {
    std::atomic<int*> p{new int(1)};
    const auto free_it = [&] {
        if constexpr (Exchanged) {
            delete p.exchange(nullptr);
        } else if (int* const mine = p.load()) {
            p.store(nullptr);
            delete mine;
        }
    };
    together(free_it, free_it);
}

template <bool Exchanged>
void leak() {
    std::atomic<int*> p{nullptr};
    const auto set = [&] {
        auto* const mine = new int(1);
        int* none = nullptr;
        if constexpr (Exchanged) {
            if (!p.compare_exchange_strong(none, mine)) {
                delete mine;
            }
        } else if (p.load() == none) {
            p.store(mine);
        } else {
            delete mine;
        }
    };
    together(set, set);
    delete p.load();
}

template <bool Owned>
void leak_when_an_allocation_fails() {
    try {
        if constexpr (Owned) {
            const auto first = std::make_unique<int>(1);
            look_at(first.get());
            const auto second = std::make_unique<int>(2);
            look_at(second.get());
        } else {
            auto* const first = new int(1);
            look_at(first);
            auto* const second = new int(2);
            look_at(second);
            delete second;
            delete first;
        }
    } catch (std::bad_alloc const&) {
    }
}

struct tally {
    int count = 0;
};
tally* current_tally = nullptr;
struct reporter {
    int used = 0;
    ~reporter() { ++current_tally->count; }
};
thread_local reporter at_exit;

template <bool Joined>
void thread_local_outlives_what_it_reports_to() {
    current_tally = new tally;
    std::thread t([] { at_exit.used = 1; });
    if constexpr (Joined) {
        t.join();
        WEIR_MODEL_REQUIRE(current_tally->count == 1);
    }
    delete current_tally;
    if constexpr (!Joined) {
        t.join();
    }
}

void shared_pointer() {
    struct pair {
        int a = 0;
        int b = 0;
        ~pair() { WEIR_MODEL_REQUIRE(a == 1 && b == 1); }
    };
    auto first = std::make_shared<pair>();
    auto second = first;
    std::weak_ptr<pair> const watched = first;
    together(
        [&] {
            first->a = 1;
            first.reset();
        },
        [&] {
            second->b = 1;
            second.reset();
        },
        [&] { (void)watched.expired(); });
    WEIR_MODEL_REQUIRE(watched.lock() == nullptr);
}

void exceptions_in_two_threads() {
    word x{0};
    const auto work = [&](int number) {
        int caught = 0;
        try {
            x.fetch_add(1);
            throw std::runtime_error("of thread " + std::to_string(number));
        } catch (std::runtime_error const& outer) {
            x.fetch_add(1);  // the other thread may go on here, and throw while this exception is in flight
            try {
                throw number;
            } catch (int inner) {
                x.fetch_add(1);
                caught += inner == number ? 1 : 0;
            }
            caught += outer.what() == "of thread " + std::to_string(number) ? 1 : 0;
            try {
                throw;
            } catch (std::exception const& again) {
                caught += &again == &outer ? 1 : 0;
            }
        }
        WEIR_MODEL_REQUIRE(caught == 3);
        WEIR_MODEL_REQUIRE(std::uncaught_exceptions() == 0);
    };
    together([&] { work(1); }, [&] { work(2); });
    WEIR_MODEL_REQUIRE(x.load() == 6);
}

// ---- waiting

enum class told { without_the_lock, under_the_lock };

// The waiter checks under the lock; a flag that is set without it may be set between the check and the wait.
template <told Flag>
void wake_up_lost_before_the_wait() {
    std::mutex m;
    std::condition_variable changed;
    std::atomic<bool> ready{false};
    together(
        [&] {
            std::unique_lock hold(m);
            while (!ready.load()) {
                changed.wait(hold);
            }
        },
        [&] {
            if constexpr (Flag == told::under_the_lock) {
                const std::lock_guard hold(m);
                ready.store(true);
            } else {
                ready.store(true);
            }
            changed.notify_one();
        });
}

template <bool Flag>
void naked_notify() {
    std::mutex m;
    std::condition_variable changed;
    bool ready = false;
    together(
        [&] {
            std::unique_lock hold(m);
            if constexpr (Flag) {
                changed.wait(hold, [&] { return ready; });
            } else {
                changed.wait(hold);
            }
        },
        [&] {
            {
                const std::lock_guard hold(m);
                ready = true;
            }
            changed.notify_one();
        });
}

template <bool Loop>
void wait_for_what_another_may_take() {
    std::mutex m;
    std::condition_variable filled;
    int items = 0;
    const auto take = [&] {
        std::unique_lock hold(m);
        if constexpr (Loop) {
            while (items == 0) {
                filled.wait(hold);
            }
        } else if (items == 0) {
            filled.wait(hold);
        }
        --items;
        WEIR_MODEL_REQUIRE(items >= 0);
    };
    together(take, take, [&] {
        for (int i = 0; i < 2; ++i) {
            {
                const std::lock_guard hold(m);
                ++items;
            }
            filled.notify_one();
        }
    });
}

template <bool WriterLocks>
void shared_mutex_lock() {
    std::shared_mutex m;
    int value = 0;
    const auto read = [&] {
        const std::shared_lock hold(m);
        WEIR_MODEL_REQUIRE(value == 0 || value == 1);
    };
    together(read, read, [&] {
        std::unique_lock hold(m, std::defer_lock);
        if constexpr (WriterLocks) {
            hold.lock();
        }
        value = 1;
    });
}

template <bool Notified>
void atomic_wait() {
    word flag{0};
    int data = 0;
    together(
        [&] {
            data = 1;
            flag.store(1, release);
            if constexpr (Notified) {
                flag.notify_one();
            }
        },
        [&] {
            flag.wait(0, acquire);
            WEIR_MODEL_REQUIRE(data == 1);
        });
}

long futex(word& at, int operation, int value) {
    return ::syscall(SYS_futex, &at, operation, value, nullptr, nullptr, 0);
}

// What the kernel compares with must be the value that was checked, not a newer one.
template <bool ValueChecked>
void futex_wait() {
    word flag{0};
    together(
        [&] {
            flag.store(1);
            futex(flag, FUTEX_WAKE_PRIVATE, 1);
        },
        [&] {
            while (flag.load() == 0) {
                futex(flag, FUTEX_WAIT_PRIVATE, ValueChecked ? 0 : flag.load());
            }
        });
}

// An event count: who sets the flag looks for waiters, who waits looks for the flag.
template <std::memory_order Order>
void waiters_counted() {
    word flag{0};
    word waiters{0};
    word event{0};
    together(
        [&] {
            flag.store(1, Order);
            if (waiters.load(Order) != 0) {
                event.fetch_add(1);
                futex(event, FUTEX_WAKE_PRIVATE, 1);
            }
        },
        [&] {
            const int seen = event.load();
            waiters.store(1, Order);
            if (flag.load(Order) == 0) {
                futex(event, FUTEX_WAIT_PRIVATE, seen);
            }
        });
}

template <bool SameOrder>
void lock_order() {
    std::mutex a;
    std::mutex b;
    together(
        [&] {
            const std::lock_guard first(a);
            const std::lock_guard second(b);
        },
        [&] {
            const std::lock_guard first(SameOrder ? a : b);
            const std::lock_guard second(SameOrder ? b : a);
        });
}

void lock_order_left_to_the_library() {
    std::mutex a;
    std::mutex b;
    together([&] { const std::scoped_lock both(a, b); }, [&] { const std::scoped_lock both(b, a); });
}

template <bool OneBegins>
void each_spins_for_the_other() {
    word a{0};
    word b{0};
    const auto hand_over = [](word& waited_for, word& set) {
        while (waited_for.load(acquire) == 0) {
            std::this_thread::yield();
        }
        set.store(1, release);
    };
    if constexpr (OneBegins) {
        a.store(1, relaxed);
    }
    together([&] { hand_over(a, b); }, [&] { hand_over(b, a); });
}

template <bool AnswerUsed>
void timed_wait() {
    std::mutex m;
    std::condition_variable changed;
    bool ready = false;
    int value = 0;
    together(
        [&] {
            {
                const std::lock_guard hold(m);
                value = 1;
                ready = true;
            }
            changed.notify_one();
        },
        [&] {
            std::unique_lock hold(m);
            const bool came = changed.wait_for(hold, 10ms, [&] { return ready; });
            if (came || !AnswerUsed) {
                WEIR_MODEL_REQUIRE(value == 1);
            }
        });
}

// The stop callback notifies without the lock, so between the check and the wait; condition_variable_any knows better.
void stop_requested_before_the_wait() {
    std::mutex m;
    std::condition_variable changed;
    std::jthread waiter([&](std::stop_token const& stop) {
        const std::stop_callback wake(stop, [&] { changed.notify_all(); });
        std::unique_lock hold(m);
        while (!stop.stop_requested()) {
            changed.wait(hold);
        }
    });
}

void stop_token_given_to_the_wait() {
    std::mutex m;
    std::condition_variable_any changed;
    bool never = false;
    std::jthread waiter([&](std::stop_token const& stop) {
        std::unique_lock hold(m);
        WEIR_MODEL_REQUIRE(!changed.wait(hold, stop, [&] { return never; }));
    });
}

// ---- progress

class spin_lock_stack {
public:
    void push(node* n) {
        lock();
        n->next.store(top_, relaxed);
        top_ = n;
        locked_.store(false, release);
    }
    node* pop() {
        lock();
        node* const n = top_;
        if (n != nullptr) {
            top_ = n->next.load(relaxed);
        }
        locked_.store(false, release);
        return n;
    }

private:
    void lock() {
        while (locked_.exchange(true, acquire)) {
            std::this_thread::yield();
        }
    }

    std::atomic<bool> locked_{false};
    node* top_ = nullptr;
};

class mutex_stack {
public:
    void push(node* n) {
        const std::lock_guard hold(m_);
        n->next.store(top_, relaxed);
        top_ = n;
    }
    node* pop() {
        const std::lock_guard hold(m_);
        node* const n = top_;
        if (n != nullptr) {
            top_ = n->next.load(relaxed);
        }
        return n;
    }

private:
    std::mutex m_;
    node* top_ = nullptr;
};

template <class Stack>
void push_and_pop_while_one_may_freeze() {
    struct shared {
        Stack stack;
        node nodes[3];
    };
    auto* const all = new shared;
    const auto work = [all](int mine) {
        all->stack.push(&all->nodes[mine]);
        (void)all->stack.pop();
    };
    if (together([&work] { work(0); }, [&work] { work(1); })) {
        delete all;
    }
}

// ---- annotations

struct reads_ignored {
    reads_ignored() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
    ~reads_ignored() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
    reads_ignored(reads_ignored const&) = delete;
    reads_ignored& operator=(reads_ignored const&) = delete;
};
struct writes_ignored {
    writes_ignored() { AnnotateIgnoreWritesBegin(__FILE__, __LINE__); }
    ~writes_ignored() { AnnotateIgnoreWritesEnd(__FILE__, __LINE__); }
    writes_ignored(writes_ignored const&) = delete;
    writes_ignored& operator=(writes_ignored const&) = delete;
};

enum class access { read, write };

// A plain access to what another thread writes.
template <access Access, class Annotation>
void racy_access() {
    int x = 0;
    int copy = 0;
    together([&] { x = 1; },
             [&] {
                 const Annotation ignored;
                 if constexpr (Access == access::read) {
                     copy = x;
                 } else {
                     x = 2;
                 }
             });
    WEIR_MODEL_REQUIRE(copy <= 1);
}

void racy_read_after_the_annotation() {
    int x = 0;
    int copy = 0;
    together([&] { x = 1; },
             [&] {
                 { const reads_ignored ignored; }
                 copy = x;
             });
    WEIR_MODEL_REQUIRE(copy <= 1);
}

// While the first thread ignores reads, the second one reads what the third one writes.
void racy_read_in_the_annotation_of_another() {
    int x = 0;
    word begun{0};
    word done{0};
    together(
        [&] {
            const reads_ignored ignored;
            begun.store(1, relaxed);
            while (done.load(relaxed) == 0) {
                std::this_thread::yield();
            }
        },
        [&] {
            while (begun.load(relaxed) == 0) {
                std::this_thread::yield();
            }
            WEIR_MODEL_REQUIRE(x <= 1);
            done.store(1, relaxed);
        },
        [&] { x = 1; });
}

void atomics_count_in_an_annotation() {
    int x = 0;
    word flag{0};
    together(
        [&] {
            x = 1;
            flag.store(1, release);
        },
        [&] {
            bool set = false;
            {
                const reads_ignored ignored;
                set = flag.load(acquire) == 1;
            }
            if (set) {
                WEIR_MODEL_REQUIRE(x == 1);
            }
        });
}

// ---- the lists

struct animal {
    char const* name;
    void (*body)();
    char const* found;  // in the message, one of these; nullptr: there is nothing to be found
    options with = {};
};

void PrintTo(animal const& a, std::ostream* out) { *out << a.name; }

constexpr char const* race = "data race";
constexpr char const* use_of_freed = "data race|use after free";  // which of them, depends on who comes first

animal const bugs[] = {
    {"dekker_relaxed", dekker<relaxed, relaxed>, race},
    {"dekker_release_acquire", dekker<release, acquire>, race},
    {"publish_by_relaxed_store", publish<relaxed, acquire>, race},
    {"publish_to_relaxed_load", publish<release, relaxed>, race},
    {"ring_published_relaxed", ring<relaxed, acquire>, race},
    {"ring_taken_relaxed", ring<release, relaxed>, race},
    {"sequence_lock_without_fences", sequence_lock<false>, "x == y"},
    {"double_checked_locking_with_a_plain_flag", double_checked_locking<false>, race},
    {"reference_count_relaxed", reference_count<relaxed>, race},
    {"reference_count_release_only", reference_count<release>, race},

    {"plain_counter", plain_counter<false>, race},
    {"plain_write_against_an_atomic_read", plain_write_against_an_atomic_read<false>, race},
    {"plain_read_before_an_atomic_write", plain_read_before_an_atomic_write<relaxed, relaxed>, race},
    {"lost_update", lost_update<false>, "count.load() == 2"},
    {"lazy_by_hand", lazy_by_hand, race},

    {"treiber_stack_aba", aba<false>, "== 1"},
    {"aba_by_reuse_of_freed_memory", aba_by_reuse<false>, "current->version == version"},
    {"node_map_without_reclamation", node_map<false>, use_of_freed},
    {"reader_of_freed_memory", reader_of_freed_memory<false>, use_of_freed},
    {"read_of_a_freed_block", read_of_a_freed_block<false>, "use after free"},
    {"read_past_the_end", read_of_an_element<4>, "outside of all blocks"},
    {"double_free", double_free<false>, "double free"},
    {"leak", leak<false>, "leak"},
    {"leak_when_an_allocation_fails", leak_when_an_allocation_fails<false>, "leak", {.allocation_failures = 1}},
    {"thread_local_outlives_what_it_reports_to", thread_local_outlives_what_it_reports_to<false>, use_of_freed},

    {"wake_up_lost_before_the_wait", wake_up_lost_before_the_wait<told::without_the_lock>, "deadlock"},
    {"naked_notify", naked_notify<false>, "deadlock"},
    {"wait_without_a_loop", wait_for_what_another_may_take<false>, "items >= 0"},
    {"futex_told_a_newer_value", futex_wait<false>, "deadlock"},
    {"waiters_counted_relaxed", waiters_counted<relaxed>, "deadlock"},
    {"lock_order", lock_order<false>, "deadlock"},
    {"shared_mutex_not_locked_by_the_writer", shared_mutex_lock<false>, race},
    {"each_spins_for_the_other", each_spins_for_the_other<false>, "livelock"},
    {"deadline_taken_for_the_event", timed_wait<false>, "value == 1"},
    {"stop_requested_before_the_wait", stop_requested_before_the_wait, "deadlock"},

    {"spin_lock_is_not_lock_free", push_and_pop_while_one_may_freeze<spin_lock_stack>, "not lock-free", {.freezes = 1}},
    {"mutex_is_not_lock_free", push_and_pop_while_one_may_freeze<mutex_stack>, "not lock-free", {.freezes = 1}},

    {"write_while_reads_are_ignored", racy_access<access::write, reads_ignored>, race},
    {"read_while_writes_are_ignored", racy_access<access::read, writes_ignored>, race},
    {"read_after_reads_were_ignored", racy_read_after_the_annotation, race},
    {"read_while_another_thread_ignores_reads", racy_read_in_the_annotation_of_another, race},
};

animal const twins[] = {
    {"dekker_seq_cst", dekker<seq_cst, seq_cst>, nullptr},
    {"dekker_seq_cst_fences", dekker<relaxed, relaxed, true>, nullptr},
    {"publish_release_acquire", publish<release, acquire>, nullptr},
    {"ring_release_acquire", ring<release, acquire>, nullptr},
    {"sequence_lock_with_fences", sequence_lock<true>, nullptr},
    {"double_checked_locking_with_an_atomic_flag", double_checked_locking<true>, nullptr},
    {"reference_count_acq_rel", reference_count<acq_rel>, nullptr},

    {"locked_counter", plain_counter<true>, nullptr},
    {"atomic_write_against_an_atomic_read", plain_write_against_an_atomic_read<true>, nullptr},
    {"plain_read_ordered_before_an_atomic_write", plain_read_before_an_atomic_write<release, acquire>, nullptr},
    {"plain_read_beside_an_atomic_read", plain_read_beside_an_atomic_read, nullptr},
    {"addition", lost_update<true>, nullptr},
    {"lazy_by_the_language", lazy_by_the_language, nullptr},

    {"treiber_stack_tagged", aba<true>, nullptr},
    {"versions_instead_of_addresses", aba_by_reuse<true>, nullptr},
    {"addresses_that_do_not_come_back", aba_by_reuse<false>, nullptr, {.reuse_memory = false}},
    {"node_map_with_hazard_pointer", node_map<true>, nullptr},
    {"reader_joined_before_the_free", reader_of_freed_memory<true>, nullptr},
    {"read_before_the_free", read_of_a_freed_block<true>, nullptr},
    {"read_of_the_last_element", read_of_an_element<3>, nullptr},
    {"free_by_exchange", double_free<true>, nullptr},
    {"free_of_the_exchanged", leak<true>, nullptr},
    {"owned_when_an_allocation_fails", leak_when_an_allocation_fails<true>, nullptr, {.allocation_failures = 1}},
    {"thread_local_joined_in_time", thread_local_outlives_what_it_reports_to<true>, nullptr},
    {"shared_pointer", shared_pointer, nullptr},
    {"exceptions_in_two_threads", exceptions_in_two_threads, nullptr},

    {"flag_set_under_the_lock", wake_up_lost_before_the_wait<told::under_the_lock>, nullptr},
    {"notify_with_a_flag", naked_notify<true>, nullptr},
    {"wait_in_a_loop", wait_for_what_another_may_take<true>, nullptr},
    {"atomic_wait_and_notify", atomic_wait<true>, nullptr},
    {"futex_told_the_checked_value", futex_wait<true>, nullptr},
    {"waiters_counted_seq_cst", waiters_counted<seq_cst>, nullptr},
    {"lock_order_kept", lock_order<true>, nullptr},
    {"shared_mutex_locked_by_all", shared_mutex_lock<true>, nullptr},
    {"lock_order_left_to_the_library", lock_order_left_to_the_library, nullptr},
    {"one_begins_the_hand_over", each_spins_for_the_other<true>, nullptr},
    {"deadline_seen", timed_wait<true>, nullptr},
    {"stop_token_given_to_the_wait", stop_token_given_to_the_wait, nullptr},

    {"treiber_stack_is_lock_free", push_and_pop_while_one_may_freeze<treiber_stack<true>>, nullptr, {.freezes = 1}},

    {"read_while_reads_are_ignored", racy_access<access::read, reads_ignored>, nullptr},
    {"write_while_writes_are_ignored", racy_access<access::write, writes_ignored>, nullptr},
    {"atomics_count_in_an_annotation", atomics_count_in_an_annotation, nullptr},
};

bool says_one_of(std::string const& message, std::string const& texts) {
    std::istringstream all(texts);
    for (std::string text; std::getline(all, text, '|');) {
        if (message.find(text) != std::string::npos) {
            return true;
        }
    }
    return false;
}

class bug : public testing::TestWithParam<animal> {
protected:
    static void must_be_found_by(strategy how, std::uint64_t max_executions, bool reduce = true) {
        options with = GetParam().with;
        with.how = how;
        with.max_executions = max_executions;
        with.reduce = reduce;
        const report r = explore(GetParam().body, with);
        RecordProperty("executions", std::to_string(r.executions));
        ASSERT_TRUE(r.failed) << to_string(r);
        EXPECT_TRUE(says_one_of(r.message, GetParam().found)) << GetParam().found << '\n' << to_string(r);

        with.replay = r.replay;
        const report again = explore(GetParam().body, with);
        EXPECT_TRUE(again.failed);
        EXPECT_EQ(again.message, r.message);
        EXPECT_EQ(again.executions, 1U);
    }
};
class twin : public testing::TestWithParam<animal> {};

std::string name_of(testing::TestParamInfo<animal> const& a) { return a.param.name; }
INSTANTIATE_TEST_SUITE_P(zoo, bug, testing::ValuesIn(bugs), name_of);
INSTANTIATE_TEST_SUITE_P(zoo, twin, testing::ValuesIn(twins), name_of);

TEST_P(bug, is_found_by_exhaustive_search) { must_be_found_by(strategy::exhaustive, options{}.max_executions); }

TEST_P(bug, is_found_by_exhaustive_search_without_reduction) {
    must_be_found_by(strategy::exhaustive, options{}.max_executions, false);
}

TEST_P(bug, is_found_by_random_search) { must_be_found_by(strategy::random, 100'000); }

TEST_P(bug, is_found_by_random_priorities) { must_be_found_by(strategy::pct, 100'000); }

// std::atomic::wait looks sixteen times and yields before it sleeps: chance hardly ever keeps the other thread away so long.
TEST(hidden_bug, is_found_by_exhaustive_search) {
    const report r = explore(atomic_wait<false>);
    EXPECT_TRUE(r.failed);
    EXPECT_NE(r.message.find("deadlock"), std::string::npos) << to_string(r);
}

TEST_P(twin, passes_to_the_end_of_the_search) {
    const report r = explore(GetParam().body, GetParam().with);
    RecordProperty("executions", std::to_string(r.executions));
    EXPECT_FALSE(r.failed) << to_string(r);
    EXPECT_TRUE(r.complete) << to_string(r);
}

TEST_P(twin, passes_at_random) {
    for (const strategy how : {strategy::random, strategy::pct}) {
        options with = GetParam().with;
        with.how = how;
        with.max_executions = 5'000;
        const report r = explore(GetParam().body, with);
        EXPECT_FALSE(r.failed) << to_string(r);
    }
}

}  // namespace
