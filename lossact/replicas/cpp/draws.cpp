// Uniform numbers and masks of many replicas: the bits of numpy's Philox4x64-10.

#include <cstdint>
#include <cstring>

namespace {

using Word = std::uint64_t;

constexpr Word MULTIPLIERS[] = {0xD2E7470EE14C6C93, 0xCA5A826395121157};
constexpr Word INCREMENTS[] = {0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B};
constexpr int ROUNDS = 10, WORDS = 4;  // words of a counter
constexpr int COUNTERS = 64;           // whose words are computed before they become numbers

// A replica's words from a counter on.
struct Stream {
    Word key[2], second, third, replica;

    void words(Word first, Word* out) const {
        for (Word at = 0; at < COUNTERS; ++at) {
            Word w[WORDS] = {first + at, second, third, replica}, k[] = {key[0], key[1]};
            for (int round = 0; round < ROUNDS; ++round) {
                const auto a = static_cast<unsigned __int128>(MULTIPLIERS[0]) * w[0];
                const auto b = static_cast<unsigned __int128>(MULTIPLIERS[1]) * w[2];
                w[0] = static_cast<Word>(b >> 64) ^ w[1] ^ k[0];
                w[1] = static_cast<Word>(b);
                w[2] = static_cast<Word>(a >> 64) ^ w[3] ^ k[1];
                w[3] = static_cast<Word>(a);
                k[0] += INCREMENTS[0];
                k[1] += INCREMENTS[1];
            }
            for (int i = 0; i < WORDS; ++i) out[WORDS * at + i] = w[i];
        }
    }
};

// A number of one half of a word.
struct Uniform32 {
    using Part = std::uint32_t;
    float operator()(Part half) const { return static_cast<float>(static_cast<std::int32_t>(half >> 8)) * 0x1p-24f; }
};

struct Uniform64 {
    using Part = Word;
    double operator()(Part word) const { return static_cast<double>(static_cast<std::int64_t>(word >> 11)) * 0x1p-53; }
};

template <class Real>
struct Mask {
    using Part = std::uint32_t;
    float probability;
    Real kept;
    Real operator()(Part half) const { return Uniform32()(half) >= probability ? kept : Real(0); }
};

template <class Real, class Number>
void fill(const Number& number, Stream stream, const std::int64_t* replicas, std::int64_t n_replicas, std::int64_t n,
          Real* out) {
    using Part = typename Number::Part;
    constexpr std::int64_t EACH = sizeof(Word) / sizeof(Part), TOGETHER = COUNTERS * WORDS * EACH;
    Word words[COUNTERS * WORDS];
    Part parts[TOGETHER];
    for (std::int64_t r = 0; r < n_replicas; ++r, out += n) {
        stream.replica = static_cast<Word>(replicas[r]);
        for (std::int64_t at = 0; at < n; at += TOGETHER) {
            const std::int64_t end = n - at < TOGETHER ? n - at : TOGETHER;
            stream.words(1 + at / (WORDS * EACH), words);  // numpy's first counter is 1
            std::memcpy(parts, words, sizeof words);  // the lower half of a word is the first, as most CPUs have it
            for (std::int64_t i = 0; i < end; ++i) out[at + i] = number(parts[i]);
        }
    }
}

}  // namespace

extern "C" void draw(const std::int64_t* replicas, std::int64_t n_replicas, std::int64_t n, Word key0, Word key1,
                     Word second, Word third, bool is_mask, bool is_double, double probability, double kept,
                     void* out) {
    const Stream stream{{key0, key1}, second, third, 0};
    const float p = static_cast<float>(probability);
    auto* floats = static_cast<float*>(out);
    auto* doubles = static_cast<double*>(out);
    if (is_mask && is_double)
        fill(Mask<double>{p, kept}, stream, replicas, n_replicas, n, doubles);
    else if (is_mask)
        fill(Mask<float>{p, static_cast<float>(kept)}, stream, replicas, n_replicas, n, floats);
    else if (is_double)
        fill(Uniform64(), stream, replicas, n_replicas, n, doubles);
    else
        fill(Uniform32(), stream, replicas, n_replicas, n, floats);
}
