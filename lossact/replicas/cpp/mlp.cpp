// MLPs, a hidden layer and one output, of the shape FEATURES, HIDDEN, BATCH.
//
// Images are the lanes of a vector, but features are where the weights' gradient is summed over images.

#include "elementwise.h"

namespace {

constexpr int CHUNKS = (BATCH + LANES - 1) / LANES;   // vectors of a batch
constexpr int ROWS = (FEATURES + LANES - 1) / LANES;  // vectors of an image
constexpr int SIZE = HIDDEN * (FEATURES + 2) + 1;     // parameters
constexpr int INPUTS = FEATURES * BATCH;
constexpr int UNITS = 4, VECTORS = 2;                 // whose sums are taken together, in registers

struct Examples {
    Vector by_feature[FEATURES][CHUNKS], by_image[BATCH][ROWS], targets[CHUNKS];
    Mask there[CHUNKS];  // false where a lane holds no image

    void load(const Real* inputs, const Real* given) {
        std::memset(static_cast<void*>(this), 0, sizeof *this);
        for (int f = 0; f < FEATURES; ++f)
            for (int b = 0; b < BATCH; ++b)
                by_feature[f][b / LANES][b % LANES] = by_image[b][f / LANES][f % LANES] = inputs[f * BATCH + b];
        for (int b = 0; b < BATCH; ++b) {
            targets[b / LANES][b % LANES] = given[b];
            there[b / LANES][b % LANES] = -1;
        }
    }
};

struct Network {
    Vector z[HIDDEN][CHUNKS], a[HIDDEN][CHUNKS], d_z[HIDDEN][CHUNKS], d_logit[CHUNKS];

    // Loss, accuracy and gradient at parameters (weight, bias, out, out's bias).
    void learn(const Real* parameters, const Examples& examples, int activation_name, int loss_name, Real* gradient,
               Real& loss, Real& metric) {
        const Real* bias = parameters + HIDDEN * FEATURES;
        const Real* out = bias + HIDDEN;
        in_tiles<HIDDEN, UNITS>([&](auto units, int h) {
            in_tiles<CHUNKS, VECTORS>([&](auto vectors, int c) {
                constexpr int N = units(), K = vectors();
                Vector sums[N][K];
                for (int n = 0; n < N; ++n)
                    for (int k = 0; k < K; ++k) sums[n][k] = all(bias[h + n]);
                for (int f = 0; f < FEATURES; ++f)
                    for (int n = 0; n < N; ++n)
                        for (int k = 0; k < K; ++k)
                            sums[n][k] += parameters[(h + n) * FEATURES + f] * examples.by_feature[f][c + k];
                for (int n = 0; n < N; ++n)
                    for (int k = 0; k < K; ++k) z[h + n][c + k] = sums[n][k];
            });
        });
        with_activation(activation_name, [&](auto name) {
            for (int h = 0; h < HIDDEN; ++h)
                for (int c = 0; c < CHUNKS; ++c) a[h][c] = activation<name()>(z[h][c]);
        });
        with_loss(loss_name, [&](auto name) { measure<name()>(examples, out, gradient, loss, metric); });
        with_activation(activation_name, [&](auto name) {
            for (int h = 0; h < HIDDEN; ++h) {
                Vector d_bias{}, d_out{};
                for (int c = 0; c < CHUNKS; ++c) {
                    d_z[h][c] = pullback<name()>(out[h] * d_logit[c], z[h][c], a[h][c]);
                    d_bias += d_z[h][c];
                    d_out += d_logit[c] * a[h][c];
                }
                gradient[HIDDEN * FEATURES + h] = sum(d_bias);
                gradient[HIDDEN * (FEATURES + 1) + h] = sum(d_out);
            }
        });
        in_tiles<HIDDEN, UNITS>([&](auto units, int h) {
            in_tiles<ROWS, VECTORS>([&](auto vectors, int r) {
                constexpr int N = units(), K = vectors();
                Vector sums[N][K] = {};
                for (int b = 0; b < BATCH; ++b)
                    for (int n = 0; n < N; ++n)
                        for (int k = 0; k < K; ++k)
                            sums[n][k] += reinterpret_cast<const Real*>(d_z[h + n])[b] * examples.by_image[b][r + k];
                for (int n = 0; n < N; ++n)
                    for (int f = r * LANES; f < (r + K) * LANES && f < FEATURES; ++f)
                        gradient[(h + n) * FEATURES + f] = sums[n][f / LANES - r][f % LANES];
            });
        });
    }

    template <Loss L>
    void measure(const Examples& examples, const Real* out, Real* gradient, Real& loss, Real& metric) {
        Vector losses{}, d_sum{};
        Mask correct{};
        for (int c = 0; c < CHUNKS; ++c) {
            Vector logit = all(out[HIDDEN]);
            for (int h = 0; h < HIDDEN; ++h) logit += out[h] * a[h][c];
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
        gradient[SIZE - 1] = sum(d_sum);
    }
};

}  // namespace

#include "training.h"
