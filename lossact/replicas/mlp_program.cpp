// The program that trains MLPs on a CPU, each from its start to the end of a launch.
//
// mlp_native compiles it for one shape: REAL (float or double), FEATURES, HIDDEN, BATCH and VECTOR_BYTES are set there.
// Images are the lanes of a vector, a whole replica is computed by one thread, and all that it reads and writes stays
// in the first cache from its first update to its last. The functions follow those of lossact.functional line by line.
//
// Only what GCC and Clang both have is used: vectors of numbers, on which operators work lane by lane. A comparison
// gives lanes of 0 and -1, and `mask ? a : b` chooses by them.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace {

using Real = REAL;
using Integer = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;
typedef Real Vector __attribute__((vector_size(VECTOR_BYTES)));
typedef Integer Mask __attribute__((vector_size(VECTOR_BYTES)));

constexpr bool is_single = sizeof(Real) == 4;
constexpr int LANES = VECTOR_BYTES / sizeof(Real);
constexpr int CHUNKS = (BATCH + LANES - 1) / LANES;      // vectors of a batch
constexpr int ROWS = (FEATURES + LANES - 1) / LANES;     // vectors of an image
constexpr int SIZE = HIDDEN * (FEATURES + 2) + 1;        // parameters of a network
constexpr int TILE = 4;                                  // hidden units whose sums are taken together

enum Activation { GELU, LEAKY_RELU, RELU, SIGMOID, SILU, SOFTPLUS, TANH };
enum Loss { CROSS_ENTROPY, HINGE, HUBER, L2 };

Vector all(Real value) { return Vector{} + value; }

Vector positive(Vector z) { return z < 0 ? -z : z; }

Real sum(Vector values) {
    Real parts[LANES];
    std::memcpy(parts, &values, sizeof values);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int k = 0; k < width; ++k) parts[k] += parts[k + width];
    return parts[0];
}

// exp(x) - 1 for x <= 0, to the last bits also near 0.
Vector exp_less_one(Vector x) {
    // Below, exp(x) is far less than the rounding of 1.
    x = x < (is_single ? -80 : -700) ? all(is_single ? -80 : -700) : x;
    const Real round = is_single ? Real(12582912.0) : Real(6755399441055744.0);  // 1.5 x 2^23, 1.5 x 2^52
    const Vector shifted = x * Real(1.4426950408889634) + round;
    const Vector n = shifted - round;
    // ln 2 in two parts, of which the first leaves room for the product with n.
    const Real high = is_single ? Real(0.693359375) : Real(0.69314718036912382);
    const Real low = is_single ? Real(-2.12194440054690583e-4) : Real(1.90821492927058770e-10);
    const Vector r = (x - n * high) - n * low;
    // Taylor's series about 0, for |r| <= ln(2) / 2.
    constexpr int terms = is_single ? 7 : 13;
    Real factorial = 1;
    Real factors[terms + 1];
    for (int k = 1; k <= terms; ++k) factors[k] = 1 / (factorial *= k);
    Vector series = all(factors[terms]);
    for (int k = terms - 1; k >= 1; --k) series = series * r + factors[k];
    series = series * r;
    // 2^n by its bits: the low bits of the shifted number are n.
    constexpr int mantissa = is_single ? 23 : 52;
    constexpr Integer bias = is_single ? 127 : 1023;
    Mask bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << mantissa) + (bias << mantissa);
    Vector power;
    std::memcpy(&power, &bits, sizeof power);
    return power * series + (power - 1);
}

// ln(1 + s) for 0 <= s <= 1, as 2 artanh(s / (2 + s)).
Vector log_one_more(Vector s) {
    const Vector t = s / (2 + s), square = t * t;
    constexpr int terms = is_single ? 8 : 17;
    Vector series = all(Real(1) / (2 * terms - 1));
    for (int k = terms - 1; k >= 1; --k) series = series * square + Real(1) / (2 * k - 1);
    return 2 * t * series;
}

Vector exp_of_minus(Vector size) { return exp_less_one(-size) + 1; }

Vector sigmoid(Vector z) {
    const Vector small = exp_of_minus(positive(z));
    return (z < 0 ? small : all(1)) / (1 + small);
}

Vector sigmoid_derivative(Vector z) {
    const Vector small = exp_of_minus(positive(z));
    return small / ((1 + small) * (1 + small));
}

Vector softplus(Vector z) { return (z > 0 ? z : all(0)) + log_one_more(exp_of_minus(positive(z))); }

Vector hyperbolic_tangent(Vector z) {
    const Vector less_one = exp_less_one(-2 * positive(z));
    const Vector size = -less_one / (less_one + 2);
    return z < 0 ? -size : size;
}

Vector normal_distribution(Vector z) {
    for (int k = 0; k < LANES; ++k) z[k] = Real(0.5) * std::erfc(-z[k] * Real(0.7071067811865476));
    return z;
}

Vector normal_density(Vector z) {
    for (int k = 0; k < LANES; ++k) z[k] = std::exp(-z[k] * z[k] / 2) * Real(0.3989422804014327);
    return z;
}

template <Activation A>
Vector activation(Vector z) {
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
Vector pullback(Vector gradient, Vector z, Vector a) {
    if constexpr (A == SIGMOID) return gradient * (1 - a) * a;
    if constexpr (A == RELU) return a <= 0 ? all(0) : gradient;
    if constexpr (A == TANH) return gradient * (4 * sigmoid_derivative(2 * z));
    if constexpr (A == LEAKY_RELU) return gradient * (z > 0 ? all(1) : z <= 0 ? all(Real(0.01)) : z);
    if constexpr (A == SOFTPLUS) return gradient * sigmoid(z);
    if constexpr (A == GELU) return gradient * (normal_distribution(z) + z * normal_density(z));
    if constexpr (A == SILU) return gradient * (sigmoid(z) * (1 + z * sigmoid(-z)));
}

struct Lost { Vector loss, derivative; };

template <Loss L>
Lost lost(Vector logit, Vector target) {
    const Vector small = exp_of_minus(positive(logit));
    const Vector large = 1 / (1 + small), tail = small * large;
    const Vector of_one = logit < 0 ? tail : large, of_zero = logit < 0 ? large : tail;  // sigmoid(logit), sigmoid(-logit)
    const Vector error = (1 - target) * of_one - target * of_zero, slope = of_one * of_zero;
    if constexpr (L == L2) return {error * error, 2 * error * slope};
    if constexpr (L == CROSS_ENTROPY) {
        const Vector rest = log_one_more(small);
        const Vector of_minus = (logit < 0 ? -logit : all(0)) + rest, of_plus = (logit > 0 ? logit : all(0)) + rest;
        return {target * of_minus + (1 - target) * of_plus, error};
    }
    if constexpr (L == HINGE) return {of_zero + 2 * (1 - target) * of_one, (1 - 2 * target) * slope};
    if constexpr (L == HUBER) {
        const Vector size = positive(error), cut = error > 1 ? all(1) : error < -1 ? all(-1) : error;
        return {size <= 1 ? Real(0.5) * error * error : size - Real(0.5), cut * slope};
    }
}

struct Examples {
    Vector by_feature[FEATURES][CHUNKS];        // for the forward pass: images are lanes
    Vector by_image[CHUNKS * LANES][ROWS];      // for the gradient: features are lanes
    Vector targets[CHUNKS];
    Mask there[CHUNKS];                         // false where a lane holds no image

    void load(const Real* inputs, const Real* given) {
        std::memset(static_cast<void*>(this), 0, sizeof *this);
        for (int f = 0; f < FEATURES; ++f)
            for (int b = 0; b < BATCH; ++b) {
                const Real value = inputs[f * BATCH + b];
                by_feature[f][b / LANES][b % LANES] = value;
                by_image[b][f / LANES][f % LANES] = value;
            }
        for (int b = 0; b < BATCH; ++b) {
            targets[b / LANES][b % LANES] = given[b];
            there[b / LANES][b % LANES] = -1;
        }
    }
};

// Parameters, or what goes with each of them; rows of weights are filled up to whole vectors.
struct Parameters {
    Vector weight[HIDDEN][ROWS];
    Real bias[HIDDEN], out[HIDDEN], out_bias;

    void load(const Real* flat) {
        std::memset(static_cast<void*>(this), 0, sizeof *this);
        for (int h = 0; h < HIDDEN; ++h) std::memcpy(&weight[h], flat + h * FEATURES, FEATURES * sizeof(Real));
        std::memcpy(bias, flat + HIDDEN * FEATURES, sizeof bias);
        std::memcpy(out, flat + HIDDEN * (FEATURES + 1), sizeof out);
        out_bias = flat[SIZE - 1];
    }

    void store(Real* flat) const {
        for (int h = 0; h < HIDDEN; ++h) std::memcpy(flat + h * FEATURES, &weight[h], FEATURES * sizeof(Real));
        std::memcpy(flat + HIDDEN * FEATURES, bias, sizeof bias);
        std::memcpy(flat + HIDDEN * (FEATURES + 1), out, sizeof out);
        flat[SIZE - 1] = out_bias;
    }

    // 0 x parameter is NaN where the parameter is not finite, and the sum cannot overflow.
    bool finite() const {
        Vector zeros{};
        Real zero = out_bias * 0;
        for (int h = 0; h < HIDDEN; ++h) {
            for (int r = 0; r < ROWS; ++r) zeros += weight[h][r] * 0;
            zero += bias[h] * 0 + out[h] * 0;
        }
        return zero + sum(zeros) == 0;
    }
};

struct Network {
    Parameters parameters;
    Vector z[HIDDEN][CHUNKS], a[HIDDEN][CHUNKS], d_logit[CHUNKS];
    alignas(VECTOR_BYTES) Vector d_z[HIDDEN][CHUNKS];
    Parameters gradient;

    // Sums of N hidden units, from h on, for two vectors of images or the last one alone.
    template <int N, int C>
    void sum_inputs(const Examples& examples, int h, int c) {
        Vector sums[N][C];
        for (int n = 0; n < N; ++n)
            for (int k = 0; k < C; ++k) sums[n][k] = all(parameters.bias[h + n]);
        for (int f = 0; f < FEATURES; ++f)
            for (int n = 0; n < N; ++n) {
                const Real weight = reinterpret_cast<const Real*>(&parameters.weight[h + n])[f];
                for (int k = 0; k < C; ++k) sums[n][k] += weight * examples.by_feature[f][c + k];
            }
        for (int n = 0; n < N; ++n)
            for (int k = 0; k < C; ++k) z[h + n][c + k] = sums[n][k];
    }

    template <int N>
    void sum_inputs(const Examples& examples, int h) {
        if constexpr (CHUNKS > 1)
            for (int c = 0; c + 1 < CHUNKS; c += 2) sum_inputs<N, 2>(examples, h, c);
        if constexpr (CHUNKS % 2 == 1) sum_inputs<N, 1>(examples, h, CHUNKS - 1);
    }

    // The gradient of N units' weights, for two vectors of features or the last one alone.
    template <int N, int R>
    void sum_images(const Examples& examples, int h, int r) {
        Vector sums[N][R] = {};
        for (int b = 0; b < BATCH; ++b)
            for (int n = 0; n < N; ++n) {
                const Real slope = reinterpret_cast<const Real*>(&d_z[h + n])[b];
                for (int k = 0; k < R; ++k) sums[n][k] += slope * examples.by_image[b][r + k];
            }
        for (int n = 0; n < N; ++n)
            for (int k = 0; k < R; ++k) gradient.weight[h + n][r + k] = sums[n][k];
    }

    template <int N>
    void sum_images(const Examples& examples, int h) {
        if constexpr (ROWS > 1)
            for (int r = 0; r + 1 < ROWS; r += 2) sum_images<N, 2>(examples, h, r);
        if constexpr (ROWS % 2 == 1) sum_images<N, 1>(examples, h, ROWS - 1);
    }

    template <Activation A>
    void activate() {
        for (int h = 0; h < HIDDEN; ++h)
            for (int c = 0; c < CHUNKS; ++c) a[h][c] = activation<A>(z[h][c]);
    }

    template <Activation A>
    void pull_back() {
        for (int h = 0; h < HIDDEN; ++h) {
            Vector d_bias{}, d_out{};
            for (int c = 0; c < CHUNKS; ++c) {
                d_z[h][c] = pullback<A>(parameters.out[h] * d_logit[c], z[h][c], a[h][c]);
                d_bias += d_z[h][c];
                d_out += d_logit[c] * a[h][c];
            }
            gradient.bias[h] = sum(d_bias);
            gradient.out[h] = sum(d_out);
        }
    }

    template <Loss L>
    void measure(const Examples& examples, Real& loss, Real& metric) {
        Vector losses{}, d_sum{};
        Mask correct{};
        for (int c = 0; c < CHUNKS; ++c) {
            Vector logit = all(parameters.out_bias);
            for (int h = 0; h < HIDDEN; ++h) logit += parameters.out[h] * a[h][c];
            const Vector target = examples.targets[c];
            const Lost at = lost<L>(logit, target);
            losses += examples.there[c] ? at.loss : all(0);
            d_logit[c] = examples.there[c] ? at.derivative / BATCH : all(0);
            d_sum += d_logit[c];
            correct -= examples.there[c] & ~((logit > 0) ^ (target > Real(0.5)));
        }
        Real n_correct = 0;
        for (int k = 0; k < LANES; ++k) n_correct += correct[k];
        loss = sum(losses) / BATCH;
        metric = n_correct / BATCH;
        gradient.out_bias = sum(d_sum);
    }
};

struct Rule { Real rate, momentum, decay; bool nesterov; };

template <class Number>
void move(Number& parameter, Number& velocity, Number gradient, const Rule& rule) {
    const Number decayed = gradient + rule.decay * parameter;
    velocity = rule.momentum * velocity + decayed;
    parameter = parameter - rule.rate * (rule.nesterov ? decayed + rule.momentum * velocity : velocity);
}

void move(Parameters& parameters, Parameters& velocity, const Parameters& gradient, const Parameters& scale,
          const Rule& rule) {
    for (int h = 0; h < HIDDEN; ++h) {
        for (int r = 0; r < ROWS; ++r)
            move(parameters.weight[h][r], velocity.weight[h][r], gradient.weight[h][r] * scale.weight[h][r], rule);
        move(parameters.bias[h], velocity.bias[h], gradient.bias[h] * scale.bias[h], rule);
        move(parameters.out[h], velocity.out[h], gradient.out[h] * scale.out[h], rule);
    }
    move(parameters.out_bias, velocity.out_bias, gradient.out_bias * scale.out_bias, rule);
}

}  // namespace

extern "C" void train_mlps(
    Real* parameters, Real* velocities,               // in and out: (replicas, SIZE)
    std::int8_t* reached, std::int8_t* diverged,      // in and out: (replicas,)
    const Real* inputs, const Real* targets,          // (sets, FEATURES, BATCH), (sets, BATCH)
    const Real* gradient_scale,                       // (replicas, SIZE)
    const Real* values,                               // (replicas, 3) or (updates, replicas, 3): rate, momentum, decay
    Real* losses, Real* metrics,                      // out: (updates, replicas)
    std::int64_t first, std::int64_t last,            // the replicas to train
    std::int64_t replicas, std::int64_t n_updates, std::int64_t values_stride,
    int activation, int loss_name, bool nesterov, bool of_loss, bool at_most, bool shared, double lowest_score) {
    static thread_local Examples examples;
    static thread_local Network network;
    static thread_local Parameters velocity, scale;
    const Real threshold = Real(lowest_score);
    for (std::int64_t replica = first; replica < last; ++replica) {
        if (!shared || replica == first) {
            const std::int64_t set = shared ? 0 : replica;
            examples.load(inputs + set * FEATURES * BATCH, targets + set * BATCH);
        }
        network.parameters.load(parameters + replica * SIZE);
        velocity.load(velocities + replica * SIZE);
        scale.load(gradient_scale + replica * SIZE);
        Real loss = 0, metric = 0;
        std::int64_t k = 0;
        for (; k < n_updates; ++k) {
            for (int h = 0; h + TILE <= HIDDEN; h += TILE) network.sum_inputs<TILE>(examples, h);
            if constexpr (HIDDEN % TILE != 0) network.sum_inputs<HIDDEN % TILE>(examples, HIDDEN - HIDDEN % TILE);
            switch (activation) {
                case GELU: network.activate<GELU>(); break;
                case LEAKY_RELU: network.activate<LEAKY_RELU>(); break;
                case RELU: network.activate<RELU>(); break;
                case SIGMOID: network.activate<SIGMOID>(); break;
                case SILU: network.activate<SILU>(); break;
                case SOFTPLUS: network.activate<SOFTPLUS>(); break;
                case TANH: network.activate<TANH>(); break;
            }
            switch (loss_name) {
                case CROSS_ENTROPY: network.measure<CROSS_ENTROPY>(examples, loss, metric); break;
                case HINGE: network.measure<HINGE>(examples, loss, metric); break;
                case HUBER: network.measure<HUBER>(examples, loss, metric); break;
                case L2: network.measure<L2>(examples, loss, metric); break;
            }
            losses[k * replicas + replica] = loss;
            metrics[k * replicas + replica] = metric;

            const bool finite = std::isfinite(loss) && network.parameters.finite();
            const Real score = (at_most ? -1 : 1) * (of_loss ? loss : metric);
            if (!finite && !reached[replica]) diverged[replica] = 1;
            if (finite && score >= threshold) reached[replica] = 1;
            if (reached[replica] || diverged[replica]) break;

            switch (activation) {
                case GELU: network.pull_back<GELU>(); break;
                case LEAKY_RELU: network.pull_back<LEAKY_RELU>(); break;
                case RELU: network.pull_back<RELU>(); break;
                case SIGMOID: network.pull_back<SIGMOID>(); break;
                case SILU: network.pull_back<SILU>(); break;
                case SOFTPLUS: network.pull_back<SOFTPLUS>(); break;
                case TANH: network.pull_back<TANH>(); break;
            }
            for (int h = 0; h + TILE <= HIDDEN; h += TILE) network.sum_images<TILE>(examples, h);
            if constexpr (HIDDEN % TILE != 0) network.sum_images<HIDDEN % TILE>(examples, HIDDEN - HIDDEN % TILE);
            const Real* at = values + k * values_stride + replica * 3;
            move(network.parameters, velocity, network.gradient, scale, {at[0], at[1], at[2], nesterov});
        }
        // One that rests stays as it is, and so does what is measured of it.
        for (++k; k < n_updates; ++k) {
            losses[k * replicas + replica] = loss;
            metrics[k * replicas + replica] = metric;
        }
        network.parameters.store(parameters + replica * SIZE);
        velocity.store(velocities + replica * SIZE);
    }
}
