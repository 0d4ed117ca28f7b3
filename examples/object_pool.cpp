// weir (BSL-1.0). Example: copies of files with buffers that are used again; short reads and writes, errors, nothing lost.
#include <weir/data/object_pool.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

struct buffer {
    std::array<char, 32768> bytes;  // its size is its own: no reset can leave a buffer of length 0 behind
};
weir::object_pool<buffer> buffers{{.max_idle = 64}};

[[noreturn]] void fail(char const* what) { throw std::system_error{errno, std::generic_category(), what}; }

std::size_t copy(int from, int to) {
    auto const chunk = buffers.acquire();  // goes back however this function ends
    for (std::size_t copied = 0;;) {
        auto const got = ::read(from, chunk->bytes.data(), chunk->bytes.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) fail("read");
        if (got == 0) return copied;
        for (ssize_t done = 0; done < got;) {  // a write may take less than it was given
            auto const put = ::write(to, chunk->bytes.data() + done, static_cast<std::size_t>(got - done));
            if (put < 0 && errno != EINTR) fail("write");
            done += put < 0 ? 0 : put;
        }
        copied += static_cast<std::size_t>(got);
    }
}

int main() {
    std::vector<std::jthread> all;
    for (int i = 0; i < 4; ++i) {
        all.emplace_back([] {
            for (int round = 0; round < 25; ++round) {
                int ends[2];
                if (::pipe(ends) != 0) std::abort();
                std::string const text(60'000, 'x');  // a pipe gives it back in pieces
                std::jthread writer{[&] { if (::write(ends[1], text.data(), text.size()) < 0) std::abort(); ::close(ends[1]); }};
                int const sink = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
                if (copy(ends[0], sink) != text.size()) std::abort();
                ::close(sink), ::close(ends[0]);
            }
        });
    }
    all.clear();
    auto const s = buffers.stats();
    std::printf("%zu copies, at most %zu buffers, all back: %s\n", static_cast<std::size_t>(s.acquired), s.high_water, s.live == 0 ? "yes" : "no");
    try { copy(-1, 1); } catch (std::system_error const& e) { std::printf("%s; buffers out: %zu\n", e.what(), buffers.stats().live); }
}
