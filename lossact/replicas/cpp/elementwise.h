// Vectors of numbers, and the activations and losses of lossact.functional on them, line by line.
//
// Only what GCC and Clang both have is used: operators work lane by lane, a comparison gives lanes of 0 and -1, and
// `mask ? a : b` chooses by them. REAL is float or double, VECTOR_BYTES the size of this CPU's vectors.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

using Real = REAL;
using Integer = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;
typedef Real Vector __attribute__((vector_size(VECTOR_BYTES)));
typedef Integer Mask __attribute__((vector_size(VECTOR_BYTES)));
typedef std::make_unsigned_t<Integer> Bits __attribute__((vector_size(VECTOR_BYTES)));

constexpr bool IS_SINGLE = sizeof(Real) == 4;
constexpr int LANES = VECTOR_BYTES / sizeof(Real);

// As Python numbers them.
enum Activation { GELU, LEAKY_RELU, RELU, SIGMOID, SILU, SOFTPLUS, TANH };
enum Loss { CROSS_ENTROPY, HINGE, HUBER, L2 };

static inline Vector all(Real value) { return Vector{} + value; }

static inline Vector size_of(Vector z) { return z < 0 ? -z : z; }

static inline Real sum(Vector values) {
    Real parts[LANES];
    std::memcpy(parts, &values, sizeof values);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int k = 0; k < width; ++k) parts[k] += parts[k + width];
    return parts[0];
}

constexpr Real LEAST = IS_SINGLE ? -87 : -708;  // below, exp(x) is no normal number

// exp(x) = power + power x less_one.
struct Split {
    Vector power, less_one;
};

// For LEAST <= x <= 0, to the last bits: `power` is a power of 2, and |less_one| < 1.
static inline Split split_exp(Vector x) {
    // Adding 1.5 x 2^23, or 2^52, rounds to an integer, which is then in the low bits.
    const Real large = IS_SINGLE ? Real(12582912.0) : Real(6755399441055744.0);
    const Vector shifted = x * Real(1.4426950408889634) + large;
    const Vector n = shifted - large;
    // ln 2 in two parts, of which the first leaves room for the product with n.
    const Real high = IS_SINGLE ? Real(0.693359375) : Real(0.69314718036912382);
    const Real low = IS_SINGLE ? Real(-2.12194440054690583e-4) : Real(1.90821492927058770e-10);
    const Vector r = (x - n * high) - n * low;
    // Taylor's series about 0, for |r| <= ln(2) / 2.
    constexpr int terms = IS_SINGLE ? 7 : 13;
    Real factors[terms + 1], factorial = 1;
    for (int k = 1; k <= terms; ++k) factors[k] = 1 / (factorial *= k);
    Vector series = all(factors[terms]);
    for (int k = terms - 1; k >= 1; --k) series = series * r + factors[k];
    // 2^n by its bits.
    constexpr int mantissa = IS_SINGLE ? 23 : 52;
    constexpr std::make_unsigned_t<Integer> bias = IS_SINGLE ? 127 : 1023;
    return {(Vector)(((Bits)shifted + bias) << mantissa), series * r};
}

// exp(x) - 1 for x <= 0, to the last bits also near 0.
static inline Vector exp_less_one(Vector x) {
    const Split exp = split_exp(x);
    return x < LEAST ? all(-1) : exp.power * exp.less_one + (exp.power - 1);
}

// exp(-size) for size >= 0, to the last bits also far out.
static inline Vector exp_of_minus(Vector size) {
    const Split exp = split_exp(-size);
    return size > -LEAST ? all(0) : exp.power * exp.less_one + exp.power;
}

// ln(1 + s) for 0 <= s <= 1, as 2 artanh(s / (2 + s)).
static inline Vector log_one_more(Vector s) {
    const Vector t = s / (2 + s), square = t * t;
    constexpr int terms = IS_SINGLE ? 8 : 17;
    Vector series = all(Real(1) / (2 * terms - 1));
    for (int k = terms - 1; k >= 1; --k) series = series * square + Real(1) / (2 * k - 1);
    return 2 * t * series;
}

static inline Vector sigmoid(Vector z) {
    const Vector small = exp_of_minus(size_of(z));
    return (z < 0 ? small : all(1)) / (1 + small);
}

struct Sigmoids {
    Vector of_plus, of_minus;
};

// sigmoid(z) and sigmoid(-z), given exp(-|z|).
static inline Sigmoids sigmoids(Vector z, Vector small) {
    const Vector large = 1 / (1 + small), tail = small * large;
    return {z < 0 ? tail : large, z < 0 ? large : tail};
}

static inline Vector sigmoid_derivative(Vector z) {
    const Vector small = exp_of_minus(size_of(z));
    return small / ((1 + small) * (1 + small));
}

static inline Vector softplus(Vector z) { return (z > 0 ? z : all(0)) + log_one_more(exp_of_minus(size_of(z))); }

static inline Vector hyperbolic_tangent(Vector z) {
    const Vector less_one = exp_less_one(-2 * size_of(z));
    const Vector size = -less_one / (less_one + 2);
    return z < 0 ? -size : size;
}

static inline Vector normal_distribution(Vector z) {
    for (int k = 0; k < LANES; ++k) z[k] = Real(0.5) * std::erfc(-z[k] * Real(0.7071067811865476));
    return z;
}

static inline Vector normal_density(Vector z) {
    for (int k = 0; k < LANES; ++k) z[k] = std::exp(-z[k] * z[k] / 2) * Real(0.3989422804014327);
    return z;
}

template <Activation A>
static inline Vector activation(Vector z) {
    if constexpr (A == SIGMOID) return sigmoid(z);
    if constexpr (A == RELU) return z <= 0 ? all(0) : z;  // NaN stays NaN
    if constexpr (A == TANH) return hyperbolic_tangent(z);
    if constexpr (A == LEAKY_RELU) return z > 0 ? z : Real(0.01) * z;
    if constexpr (A == SOFTPLUS) return softplus(z);
    if constexpr (A == GELU) return z * normal_distribution(z);
    if constexpr (A == SILU) return z * sigmoid(z);
}

// d loss / dz from d loss / da.
template <Activation A>
static inline Vector pullback(Vector gradient, Vector z, Vector a) {
    if constexpr (A == SIGMOID) return gradient * (1 - a) * a;
    if constexpr (A == RELU) return a <= 0 ? all(0) : gradient;
    if constexpr (A == TANH) return gradient * (4 * sigmoid_derivative(2 * z));
    if constexpr (A == LEAKY_RELU) return gradient * (z > 0 ? all(1) : z <= 0 ? all(Real(0.01)) : z);
    if constexpr (A == SOFTPLUS) return gradient * sigmoid(z);
    if constexpr (A == GELU) return gradient * (normal_distribution(z) + z * normal_density(z));
    if constexpr (A == SILU) {
        const Sigmoids at = sigmoids(z, exp_of_minus(size_of(z)));
        return gradient * (at.of_plus * (1 + z * at.of_minus));
    }
}

struct Lost {
    Vector loss, derivative;  // by the logit
};

template <Loss L>
static inline Lost lost(Vector logit, Vector target) {
    const Vector small = exp_of_minus(size_of(logit));
    const auto [of_one, of_zero] = sigmoids(logit, small);
    const Vector error = (1 - target) * of_one - target * of_zero, slope = of_one * of_zero;
    if constexpr (L == L2) return {error * error, 2 * error * slope};
    if constexpr (L == CROSS_ENTROPY) {
        const Vector rest = log_one_more(small);
        const Vector of_minus = (logit < 0 ? -logit : all(0)) + rest, of_plus = (logit > 0 ? logit : all(0)) + rest;
        return {target * of_minus + (1 - target) * of_plus, error};
    }
    if constexpr (L == HINGE) return {of_zero + 2 * (1 - target) * of_one, (1 - 2 * target) * slope};
    if constexpr (L == HUBER) {
        const Vector size = size_of(error), cut = error > 1 ? all(1) : error < -1 ? all(-1) : error;
        return {size <= 1 ? Real(0.5) * error * error : size - Real(0.5), cut * slope};
    }
}

// Call f with the activation as a constant.
template <class F>
static inline void with_activation(int name, F f) {
    switch (name) {
        case GELU: return f(std::integral_constant<Activation, GELU>{});
        case LEAKY_RELU: return f(std::integral_constant<Activation, LEAKY_RELU>{});
        case RELU: return f(std::integral_constant<Activation, RELU>{});
        case SIGMOID: return f(std::integral_constant<Activation, SIGMOID>{});
        case SILU: return f(std::integral_constant<Activation, SILU>{});
        case SOFTPLUS: return f(std::integral_constant<Activation, SOFTPLUS>{});
        case TANH: return f(std::integral_constant<Activation, TANH>{});
    }
}

template <class F>
static inline void with_loss(int name, F f) {
    switch (name) {
        case CROSS_ENTROPY: return f(std::integral_constant<Loss, CROSS_ENTROPY>{});
        case HINGE: return f(std::integral_constant<Loss, HINGE>{});
        case HUBER: return f(std::integral_constant<Loss, HUBER>{});
        case L2: return f(std::integral_constant<Loss, L2>{});
    }
}

// Call f(size, at) for tiles of TILE of N things, and a smaller last one, sizes as constants.
template <int N, int TILE, class F>
static inline void in_tiles(F f) {
    if constexpr (N >= TILE)
        for (int at = 0; at + TILE <= N; at += TILE) f(std::integral_constant<int, TILE>{}, at);
    if constexpr (N % TILE != 0) f(std::integral_constant<int, N % TILE>{}, N - N % TILE);
}
