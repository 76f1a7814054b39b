// CNNs of two convolutions with SIDE x SIDE windows and one output, on images of HEIGHT x WIDTH.
//
// Images are the lanes of a vector. A vector of images goes forward and back before the next, so that what lies between
// stays in the second cache; only the sums over images are kept.

#include "elementwise.h"

namespace {

constexpr int HEIGHT1 = HEIGHT - SIDE + 1, WIDTH1 = WIDTH - SIDE + 1;
constexpr int HEIGHT2 = HEIGHT1 - SIDE + 1, WIDTH2 = WIDTH1 - SIDE + 1;
constexpr int SIZE1 = FIRST * HEIGHT1 * WIDTH1, SIZE2 = SECOND * HEIGHT2 * WIDTH2;  // units of a layer
constexpr int CHUNKS = (BATCH + LANES - 1) / LANES;   // vectors of a batch
constexpr int GROUPS = WIDTH1 / GROUP, STRIP = SIDE * (GROUP + SIDE - 1) + 1;
constexpr int INPUTS = BATCH * HEIGHT1 * GROUPS * STRIP;
constexpr int WINDOW = SIDE * SIDE;
// Whose sums are taken together, in registers.
constexpr int CHANNELS = 4, PIXELS = 3, TAPS = 3, INPUT_CHANNELS = 8;
// Where a part of the parameters begins.
constexpr int BIAS1 = FIRST * WINDOW, WEIGHT2 = BIAS1 + FIRST, BIAS2 = WEIGHT2 + SECOND * FIRST * WINDOW;
constexpr int OUT = BIAS2 + SECOND, OUT_BIAS = OUT + SIZE2, SIZE = OUT_BIAS + 1;

struct Examples {
    Vector images[CHUNKS][HEIGHT][WIDTH], targets[CHUNKS];
    Mask there[CHUNKS];  // false where a lane holds no image

    // Strips, as StackedCNN lays them out, hold each pixel several times.
    void load(const Real* strips, const Real* given) {
        std::memset(static_cast<void*>(this), 0, sizeof *this);
        for (int b = 0; b < BATCH; ++b) {
            for (int y = 0; y < HEIGHT; ++y)
                for (int x = 0; x < WIDTH; ++x) {
                    const int row = y < HEIGHT1 ? y : HEIGHT1 - 1, group = x / GROUP < GROUPS ? x / GROUP : GROUPS - 1;
                    const Real* strip = strips + ((b * HEIGHT1 + row) * GROUPS + group) * STRIP;
                    images[b / LANES][y][x][b % LANES] = strip[(y - row) * (GROUP + SIDE - 1) + x - group * GROUP];
                }
            targets[b / LANES][b % LANES] = given[b];
            there[b / LANES][b % LANES] = -1;
        }
    }
};

// A convolution of IN channels to OUT, whose outputs are of ROWS x COLUMNS pixels.
template <int IN, int OUT, int ROWS, int COLUMNS>
struct Convolution {
    static constexpr int WIDTH_SEEN = COLUMNS + SIDE - 1, HEIGHT_SEEN = ROWS + SIDE - 1;
    using Inputs = Vector[IN][HEIGHT_SEEN][WIDTH_SEEN];
    using Outputs = Vector[OUT][ROWS][COLUMNS];

    static void forward(const Real* weight, const Real* bias, const Inputs& inputs, Outputs& outputs) {
        in_tiles<OUT, CHANNELS>([&](auto channels, int o) {
            for (int y = 0; y < ROWS; ++y)
                in_tiles<COLUMNS, PIXELS>([&](auto pixels, int x) {
                    constexpr int N = channels(), P = pixels();
                    Vector sums[N][P];
                    for (int n = 0; n < N; ++n)
                        for (int p = 0; p < P; ++p) sums[n][p] = all(bias[o + n]);
                    for (int i = 0; i < IN; ++i)
                        for (int u = 0; u < SIDE; ++u)
                            for (int v = 0; v < SIDE; ++v)
                                for (int n = 0; n < N; ++n)
                                    for (int p = 0; p < P; ++p)
                                        sums[n][p] += weight[(((o + n) * IN + i) * SIDE + u) * SIDE + v] *
                                                      inputs[i][y + u][x + p + v];
                    for (int n = 0; n < N; ++n)
                        for (int p = 0; p < P; ++p) outputs[o + n][y][x + p] = sums[n][p];
                });
        });
    }

    // Add to the weights' gradient, a sum for each lane, and to the biases'.
    static void add_gradient(const Inputs& inputs, const Outputs& slopes, Vector* weight, Vector* bias) {
        in_tiles<OUT, CHANNELS>([&](auto channels, int o) {
            for (int i = 0; i < IN; ++i)
                for (int u = 0; u < SIDE; ++u)
                    in_tiles<SIDE, TAPS>([&](auto taps, int v) {
                        constexpr int N = channels(), T = taps();
                        Vector sums[N][T] = {};
                        for (int y = 0; y < ROWS; ++y)
                            for (int x = 0; x < COLUMNS; ++x)
                                for (int n = 0; n < N; ++n)
                                    for (int t = 0; t < T; ++t)
                                        sums[n][t] += slopes[o + n][y][x] * inputs[i][y + u][x + v + t];
                        for (int n = 0; n < N; ++n)
                            for (int t = 0; t < T; ++t)
                                weight[(((o + n) * IN + i) * SIDE + u) * SIDE + v + t] += sums[n][t];
                    });
        });
        for (int o = 0; o < OUT; ++o)
            for (int y = 0; y < ROWS; ++y)
                for (int x = 0; x < COLUMNS; ++x) bias[o] += slopes[o][y][x];
    }

    // The gradient of the inputs.
    static void backward(const Real* weight, const Outputs& slopes, Inputs& gradient) {
        in_tiles<IN, INPUT_CHANNELS>([&](auto channels, int i) {
            for (int y = 0; y < HEIGHT_SEEN; ++y)
                for (int x = 0; x < WIDTH_SEEN; ++x) {
                    constexpr int N = channels();
                    Vector sums[N] = {};
                    for (int o = 0; o < OUT; ++o)
                        for (int u = y < ROWS ? 0 : y - ROWS + 1; u <= y && u < SIDE; ++u)
                            for (int v = x < COLUMNS ? 0 : x - COLUMNS + 1; v <= x && v < SIDE; ++v)
                                for (int n = 0; n < N; ++n)
                                    sums[n] += weight[((o * IN + i + n) * SIDE + u) * SIDE + v] * slopes[o][y - u][x - v];
                    for (int n = 0; n < N; ++n) gradient[i + n][y][x] = sums[n];
                }
        });
    }
};

using Conv1 = Convolution<1, FIRST, HEIGHT1, WIDTH1>;
using Conv2 = Convolution<FIRST, SECOND, HEIGHT2, WIDTH2>;

struct Network {
    Conv1::Outputs z1, a1, d1;
    Conv2::Outputs z2, a2, d2;
    Vector sums[SIZE];  // of the gradient, lane by lane

    // Loss, accuracy and gradient at parameters.
    void learn(const Real* parameters, const Examples& examples, int activation_name, int loss_name, Real* gradient,
               Real& loss, Real& metric) {
        std::memset(static_cast<void*>(sums), 0, sizeof sums);
        Vector losses{};
        Mask correct{};
        for (int c = 0; c < CHUNKS; ++c) {
            const auto& images = reinterpret_cast<const Conv1::Inputs&>(examples.images[c]);
            Conv1::forward(parameters, parameters + BIAS1, images, z1);
            activate<SIZE1>(activation_name, **z1, **a1);
            Conv2::forward(parameters + WEIGHT2, parameters + BIAS2, a1, z2);
            activate<SIZE2>(activation_name, **z2, **a2);
            const Vector* seen = &a2[0][0][0];
            Vector *slopes = &d2[0][0][0], logit = all(parameters[OUT_BIAS]);
            for (int k = 0; k < SIZE2; ++k) logit += parameters[OUT + k] * seen[k];
            const Vector target = examples.targets[c];
            Lost at{};
            with_loss(loss_name, [&](auto name) { at = lost<name()>(logit, target); });
            losses += examples.there[c] ? at.loss : all(0);
            correct -= examples.there[c] & ~((logit > 0) ^ (target > Real(0.5)));
            const Vector d_logit = examples.there[c] ? at.derivative / BATCH : all(0);
            sums[OUT_BIAS] += d_logit;
            for (int k = 0; k < SIZE2; ++k) {
                sums[OUT + k] += d_logit * seen[k];
                slopes[k] = parameters[OUT + k] * d_logit;
            }
            pull_back<SIZE2>(activation_name, **z2, **a2, **d2);
            Conv2::add_gradient(a1, d2, sums + WEIGHT2, sums + BIAS2);
            Conv2::backward(parameters + WEIGHT2, d2, d1);
            pull_back<SIZE1>(activation_name, **z1, **a1, **d1);
            Conv1::add_gradient(images, d1, sums, sums + BIAS1);
        }
        for (int k = 0; k < SIZE; ++k) gradient[k] = sum(sums[k]);
        Real n_correct = 0;
        for (int k = 0; k < LANES; ++k) n_correct += correct[k];
        loss = sum(losses) / BATCH;
        metric = n_correct / BATCH;
    }

    template <int N>
    static void activate(int name, const Vector* z, Vector* a) {
        with_activation(name, [&](auto constant) {
            for (int k = 0; k < N; ++k) a[k] = activation<constant()>(z[k]);
        });
    }

    template <int N>
    static void pull_back(int name, const Vector* z, const Vector* a, Vector* slopes) {
        with_activation(name, [&](auto constant) {
            for (int k = 0; k < N; ++k) slopes[k] = pullback<constant()>(slopes[k], z[k], a[k]);
        });
    }
};

}  // namespace

#include "training.h"
