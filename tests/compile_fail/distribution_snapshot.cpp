// weir (BSL-1.0). distribution_snapshot: a list of values is no distribution.
#include <weir/base/metrics.hpp>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

struct constant {
    using value_type = int;
    std::uint64_t count() const { return 1; }
    int sum() const { return 7; }
    int mean() const { return 7; }
    int min() const { return 7; }
    int max() const { return 7; }
    int quantile(double) const { return 7; }
    std::vector<std::uint64_t> cumulative(std::span<int const> bounds) const { return std::vector<std::uint64_t>(bounds.size()); }
};

template <weir::distribution_snapshot Snapshot>
class plot {};

plot<constant> right;
#ifdef WEIR_MUST_FAIL
plot<std::array<int, 3>> wrong;
#endif
