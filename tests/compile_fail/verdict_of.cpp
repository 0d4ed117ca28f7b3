// weir (BSL-1.0). verdict_of: a judgement that says yes or no, where there are three answers.
#include <weir/base/outcome.hpp>

template <class T, weir::verdict_of<T> Judge>
class watcher {};

struct yes_or_no {
    bool operator()(weir::outcome<int> const& o) const noexcept { return o.has_value(); }
};

watcher<int, weir::default_verdict> right;
#ifdef WEIR_MUST_FAIL
watcher<int, yes_or_no> wrong;
#endif
