// weir (BSL-1.0). unwatched: a scope in which a thread sanitizer looks at atomics only.
#ifndef WEIR_BASE_DETAIL_UNWATCHED_HPP
#define WEIR_BASE_DETAIL_UNWATCHED_HPP

// When:     code that is not ours reads a word which another thread may be writing, and throws away what it read unless a
//           compare-exchange says that nobody did: Boost.Lockfree's free list and stack.
// When not: the code is ours: use atomics.
// What the calls are: functions of the sanitizer's runtime. Atomic operations go on to order what they order, so that what one
// thread pushes and another pops is watched before and after; only plain accesses within the scope are not.

#if defined(__SANITIZE_THREAD__)
#define WEIR_THREAD_IS_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WEIR_THREAD_IS_WATCHED 1
#endif
#endif
#ifndef WEIR_THREAD_IS_WATCHED
#define WEIR_THREAD_IS_WATCHED 0
#endif

#if WEIR_THREAD_IS_WATCHED
extern "C" {
void AnnotateIgnoreReadsBegin(char const* file, int line);
void AnnotateIgnoreReadsEnd(char const* file, int line);
void AnnotateIgnoreWritesBegin(char const* file, int line);
void AnnotateIgnoreWritesEnd(char const* file, int line);
}
#endif

namespace weir::inline v0 {
namespace detail {

class unwatched {
public:
    unwatched() noexcept {
#if WEIR_THREAD_IS_WATCHED
        AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
        AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
    }
    unwatched(unwatched const&) = delete;
    unwatched& operator=(unwatched const&) = delete;
    ~unwatched() {
#if WEIR_THREAD_IS_WATCHED
        AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
        AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
    }
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
