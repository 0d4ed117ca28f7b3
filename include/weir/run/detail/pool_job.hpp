// weir (BSL-1.0). pool_job: a call whose end somebody waits for, as an entry of a task pool's queue.
#ifndef WEIR_RUN_DETAIL_POOL_JOB_HPP
#define WEIR_RUN_DETAIL_POOL_JOB_HPP
#include <weir/base/outcome.hpp>
#include <weir/run/detail/pool_task.hpp>

#include <stop_token>
#include <utility>

// When:     futures, groups and maps, whose users are told why a call was not made.
// When not: nobody waits for the call; then any callable is a task.

namespace weir::inline v0 {
namespace detail {

/// A call that is either made or refused, once; after that it belongs to those who wait for it, or to nobody.
class job {
public:
    job(job const&) = delete;
    job& operator=(job const&) = delete;

    /// `failed`: it threw, and whoever waits has the exception.
    /// Throws: what the call threw, if nobody is left who waits for it.
    virtual pool_end run(std::stop_token const& stop) = 0;
    /// It will not be run.
    virtual void refuse(refusal why) noexcept = 0;

protected:
    job() = default;
    ~job() = default;
};

/// A job as a task. One that goes without having been run is refused.
/// Memory: a pointer.
class job_entry {
public:
    job_entry() noexcept = default;
    explicit job_entry(job& j) noexcept : job_(&j) {}
    job_entry(job_entry&& other) noexcept : job_(std::exchange(other.job_, nullptr)) {}
    job_entry& operator=(job_entry&& other) noexcept {
        job_entry taken{std::move(other)};
        std::swap(job_, taken.job_);
        return *this;
    }
    ~job_entry() { refuse(refusal::closed); }

    [[nodiscard]] explicit operator bool() const noexcept { return job_ != nullptr; }

    /// As job::run; the entry is empty afterwards. An empty one, refused already, was cancelled.
    pool_end operator()(std::stop_token const& stop) {
        return job_ == nullptr ? pool_end::cancelled : std::exchange(job_, nullptr)->run(stop);
    }
    /// Does nothing to an empty one; the entry is empty afterwards.
    void refuse(refusal why) noexcept {
        if (job_ != nullptr) {
            std::exchange(job_, nullptr)->refuse(why);
        }
    }
    /// For the pool, see abandonable.
    void abandoned(unsigned char why) noexcept { refuse(static_cast<refusal>(why)); }

private:
    job* job_ = nullptr;
};

/// The way from a pool to its engine, for maps and groups.
struct pool_access {
    template <class Pool>
    static auto& core(Pool& pool) noexcept {
        return pool.core();
    }
};

}  // namespace detail
}  // namespace weir::inline v0
#endif
