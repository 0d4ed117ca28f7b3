// weir (BSL-1.0). bench word_count: the words of every header under /usr/include, counted by each map and many threads.
#include "harness.hpp"
#include "map_peers.hpp"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>

// The files are read into memory first. What is measured is the same for every row: the text is cut into words, and
// each word is looked up as a string_view and counted in a map whose keys are std::strings. After the clock has
// stopped, the map is compared with the plain count, word by word.
//
// A large corpus is dealt into as many parts as there are rounds. Each round counts another part into fresh maps, so
// that every row has counted every file when the run ends, without measuring for an hour.

namespace bench {
namespace {

constexpr std::size_t chunk_bytes = 64U << 10U;  // what a worker takes at a time
constexpr std::size_t small_bytes = 32U << 20U;  // up to so much text, every round counts all of it

constexpr auto letters = [] {
    std::array<bool, 256> is{};
    for (unsigned c = 0; c != 256; ++c) {
        is[c] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    }
    return is;
}();
bool in_word(char c) { return letters[static_cast<unsigned char>(c)]; }

template <class F>
void each_word(std::string_view text, F f) {
    const char* at = text.data();
    const char* const end = at + text.size();
    for (;;) {
        while (at != end && !in_word(*at)) {
            ++at;
        }
        if (at == end) {
            return;
        }
        const char* const begin = at;
        while (at != end && in_word(*at)) {
            ++at;
        }
        f(std::string_view(begin, static_cast<std::size_t>(at - begin)));
    }
}

struct corpus {
    std::vector<std::string> texts;
    std::vector<std::vector<std::string_view>> parts;  // the chunks of each part
    std::size_t bytes = 0;
    std::size_t unreadable = 0;
    std::size_t binary = 0;
    std::size_t left_out = 0;
    std::size_t bytes_left_out = 0;
};

std::vector<std::filesystem::path> files_of(const std::vector<std::string>& roots, corpus& c) {
    namespace fs = std::filesystem;
    std::vector<fs::path> files;
    for (const std::string& root : roots) {
        std::error_code error;
        if (!fs::is_directory(root, error)) {
            files.emplace_back(root);
            continue;
        }
        constexpr auto skip = fs::directory_options::skip_permission_denied;
        for (fs::recursive_directory_iterator at(root, skip, error), end; !error && at != end; at.increment(error)) {
            std::error_code ignored;
            if (at->is_regular_file(ignored) && !at->is_symlink(ignored)) {
                files.push_back(at->path());
            }
        }
        c.unreadable += error ? 1U : 0U;
    }
    // In the order of a hash of their names: part and left-out files are then a fair sample of all.
    std::vector<std::pair<std::size_t, fs::path>> dealt;
    for (fs::path& f : files) {
        const std::size_t h = shared_hash{}(std::string_view(f.native()));
        dealt.emplace_back(h, std::move(f));
    }
    std::sort(dealt.begin(), dealt.end());
    dealt.erase(std::unique(dealt.begin(), dealt.end()), dealt.end());
    files.clear();
    for (auto& [h, f] : dealt) {
        files.push_back(std::move(f));
    }
    return files;
}

std::optional<std::string> text_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
        return std::nullopt;
    }
    std::string text(std::istreambuf_iterator<char>(in), {});
    return in.bad() ? std::nullopt : std::optional(std::move(text));
}

std::vector<std::string_view> chunks_of(std::string_view text) {
    std::vector<std::string_view> chunks;
    while (!text.empty()) {
        std::size_t n = std::min(chunk_bytes, text.size());
        while (n != text.size() && in_word(text[n])) {
            ++n;  // never through a word
        }
        chunks.push_back(text.substr(0, n));
        text.remove_prefix(n);
    }
    return chunks;
}

corpus read_corpus(const options& o, int rounds) {
    corpus c;
    const std::vector<std::string> roots = o.files.empty() ? std::vector<std::string>{"/usr/include"} : o.files;
    for (const auto& file : files_of(roots, c)) {
        std::error_code error;
        const std::uintmax_t size = std::filesystem::file_size(file, error);
        if (error) {
            ++c.unreadable;
        } else if (c.bytes + size > o.max_bytes) {
            ++c.left_out;
            c.bytes_left_out += size;
        } else if (auto text = text_of(file); !text) {
            ++c.unreadable;
        } else if (text->find('\0') != std::string::npos) {
            ++c.binary;
        } else {
            c.bytes += text->size();
            c.texts.push_back(std::move(*text));
        }
    }
    const std::size_t parts = c.bytes <= small_bytes ? 1 : static_cast<std::size_t>(rounds);
    c.parts.resize(parts);
    std::size_t dealt = 0;
    for (const std::string& text : c.texts) {
        for (const std::string_view chunk : chunks_of(text)) {
            c.parts[dealt++ % parts].push_back(chunk);
        }
    }
    return c;
}

using plain_count = plain_peer<std::string, std::uint64_t, shared_hash>;

/// All that the cases share.
struct job {
    corpus text;
    bool read = false;
    std::size_t files = 0;
    std::unique_ptr<plain_count> expected;  // of the part counted last
    std::size_t expected_part = 0;
    double words = 0;  // of that part
    std::map<std::size_t, double> part_words;
    std::map<std::size_t, std::size_t> part_distinct;

    /// Reads the files when the first case wants them.
    void need_text(const run& r) {
        if (!std::exchange(read, true)) {
            text = read_corpus(r.opt(), r.rounds());
            files = text.texts.size();
        }
        if (files == 0) {
            throw std::runtime_error("no readable text in the files named");
        }
    }
    /// Gives the memory back for the benches that follow. What the tables need stays.
    void drop_text() {
        expected.reset();
        text.texts = {};
        text.parts.assign(text.parts.size(), {});
        read = false;
    }

    const std::vector<std::string_view>& part(int round) const {
        return text.parts[static_cast<std::size_t>(round) % text.parts.size()];
    }

    double count_plain(const run& r, int round) {
        need_text(r);
        expected = std::make_unique<plain_count>(0);
        expected_part = static_cast<std::size_t>(round) % text.parts.size();
        double total = 0;
        const auto& chunks = part(round);
        const double seconds = parallel<no_scope>(1, [&](int) {
            std::uint64_t n = 0;
            for (const std::string_view chunk : chunks) {
                each_word(chunk, [&](std::string_view word) {
                    expected->add(word, 1);
                    ++n;
                });
            }
            total = static_cast<double>(n);
        });
        words = total;
        part_words[expected_part] = total;
        part_distinct[expected_part] = expected->size();
        return seconds;
    }

    void need_plain(const run& r, int round) {
        need_text(r);
        if (!expected || expected_part != static_cast<std::size_t>(round) % text.parts.size()) {
            count_plain(r, round);
        }
    }

    /// Compares a map with the plain count, word by word; the first difference in words, or nothing.
    template <class Peer>
    std::string difference(Peer& map) const {
        std::string first;
        std::size_t entries = 0;
        std::size_t wrong = 0;
        map.for_each([&](const std::string& word, std::uint64_t n) {
            ++entries;
            std::uint64_t right = 0;
            if (!expected->find(word, right) || right != n) {
                ++wrong;
                if (first.empty()) {
                    first = '"' + word + "\" " + std::to_string(n) + " times instead of " + std::to_string(right);
                }
            }
        });
        if (wrong == 0 && entries == expected->size()) {
            return {};
        }
        return std::to_string(wrong) + " words counted wrong, " + std::to_string(entries) + " distinct instead of " +
               std::to_string(expected->size()) + (first.empty() ? "" : "; first: " + first);
    }
};

template <class Peer>
sample count_words(run& r, job& j, int round, int threads) {
    j.need_plain(r, round);
    const auto map = std::make_unique<Peer>(j.expected->size());
    const auto& chunks = j.part(round);
    std::atomic<std::size_t> next{0};
    const double seconds = parallel<typename Peer::thread_scope>(threads, [&](int) {
        for (std::size_t i = next++; i < chunks.size(); i = next++) {
            each_word(chunks[i], [&](std::string_view word) { map->add(word, std::uint64_t{1}); });
        }
    });
    if (const std::string what = j.difference(*map); !what.empty()) {
        r.out().fail(std::string("word count by ") + Peer::id + " with " + std::to_string(threads) +
                     " threads: " + what);
        r.out().add("word_count_wrong", threads, Peer::id, round, 1);
    }
    return {seconds, j.words};
}

const load word_load{.id = "count",
                     .title = "Counting the words of real files",
                     .threads = {1, 2, 8},
                     .note = {},
                     .unit = "ns/word",
                     .compared = true};

std::string corpus_note(const run& r, const job& j) {
    const corpus& c = j.text;
    double words = 0;
    for (const auto& [part, n] : j.part_words) {
        words += n;
    }
    std::string note = "Words of " + grouped(static_cast<double>(j.files)) + " files under ";
    if (r.opt().files.empty()) {
        note += "/usr/include";
    }
    for (std::size_t i = 0; i != r.opt().files.size(); ++i) {
        note += (i == 0 ? "" : ", ") + r.opt().files[i];
    }
    note += ": " + grouped(static_cast<double>(c.bytes) / (1U << 20U)) + " MiB, " + grouped(words) + " words";
    if (c.parts.size() > 1) {
        note += ", dealt into " + std::to_string(c.parts.size()) +
                " parts: every round counts another part into fresh maps";
        if (j.part_words.size() == c.parts.size()) {
            note += ", so that each row has counted every file";
        } else {
            note +=
                ", and there was time for " + std::to_string(j.part_words.size()) + " of them, whose words these are";
        }
    } else if (!j.part_distinct.empty()) {
        note += ", " + grouped(static_cast<double>(j.part_distinct.begin()->second)) +
                " distinct; every round counts all of them into fresh maps";
    }
    note += ". A word is a run of letters, digits and underscores. Skipped: " + std::to_string(c.unreadable) +
            " unreadable, " + std::to_string(c.binary) + " binary files";
    if (c.left_out != 0) {
        note += "; left out beyond the limit of " + grouped(static_cast<double>(r.opt().max_bytes) / (1U << 20U)) +
                " MiB (--max-mib): " + grouped(static_cast<double>(c.left_out)) + " files, " +
                grouped(static_cast<double>(c.bytes_left_out) / (1U << 20U)) + " MiB";
    }
    return note +
           ". Ratios are of time, to the row in the same round; median of the rounds. \"agrees\": the map was "
           "compared with the plain count word by word, in every round.";
}

std::vector<table> word_tables(const run& r, const job& j) {
    const results& out = r.out();
    table t{word_load.title, corpus_note(r, j), {}, {}, {}, rank::main_job};
    t.head = {"peer", "threads", "million words/s", "time / plain", "min .. max", "time / weir", "min .. max", "count"};
    // Stored are nanoseconds a word and core; so many words a second, in millions, is what the table shows.
    const auto speed_of = [](double stored, int threads) { return 1e3 * std::min(threads, cores()) / stored; };
    double widest = 0;
    for (const std::string& peer : out.peers(word_load.id)) {
        for (const int threads : word_load.threads) {
            const spread s = out.value(word_load.id, threads, peer);
            widest = std::max(widest, s ? speed_of(s.low, threads) : 0);
        }
    }
    for (const std::string& peer : out.peers(word_load.id)) {
        for (const int threads : word_load.threads) {
            const spread s = out.value(word_load.id, threads, peer);
            if (!s) {
                continue;
            }
            cell speed(number(speed_of(s.median, threads)));
            speed.low = speed_of(s.high, threads) / widest;
            speed.middle = speed_of(s.median, threads) / widest;
            speed.high = speed_of(s.low, threads) / widest;
            const double share = 1.0 / std::min(threads, cores());  // plain's time has one core's worth
            const spread plain = out.ratio(word_load.id, threads, peer, 1, "plain");
            const spread weir = out.ratio(word_load.id, threads, peer, ours);
            const auto range = [](const spread& x, double f) {
                return x ? number(x.low * f) + " .. " + number(x.high * f) : std::string{};
            };
            const bool wrong = out.has("word_count_wrong", threads, peer);
            if (peer == ours) {
                t.strong.push_back(t.rows.size());
            }
            t.rows.push_back(
                {peer, std::to_string(threads), speed, plain ? number(plain.median * share) : "-", range(plain, share),
                 weir ? number(weir.median) : "-", range(weir, 1),
                 wrong ? cell("WRONG", mood::bad) : cell(peer == "plain" ? "the measure" : "agrees", mood::good)});
        }
    }
    if (t.rows.empty()) {
        return {};
    }
    return {t};
}

}  // namespace

suite word_count_suite() {
    const auto j = std::make_shared<job>();
    const auto add = [j](run& r) {
        r.declare(word_load);
        r.stop_after(run::part_of("word_count", false), 0.4);
        const int rounds = r.opt().full ? r.rounds() : std::min(r.rounds(), 4);  // a third of a short run as it is
        for (int round = 0; round != rounds; ++round) {
            r.add("word_count", word_load, 1, "plain", round, [&r, j, round] {
                const double seconds = j->count_plain(r, round);
                return sample{seconds, j->words};
            });
            for (const int threads : word_load.threads) {
                turns rows;
                for_each_map_peer<std::string, std::uint64_t, shared_hash, true>([&]<class Peer>() {
                    if (Peer::concurrent || threads == 1) {
                        rows.add([&r, j, round, threads] {
                            r.add("word_count", word_load, threads, Peer::id, round,
                                  [&r, j, round, threads] { return count_words<Peer>(r, *j, round, threads); });
                        });
                    }
                });
                rows.take(round);
            }
        }
    };
    const auto tables = [j](const run& r) {
        auto t = word_tables(r, *j);
        j->drop_text();
        return t;
    };
    return {"word_count", add, tables};
}

}  // namespace bench
