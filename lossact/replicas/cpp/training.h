// Training of replicas from the start to the end of a launch, a whole replica at a time.
//
// A program defines SIZE, INPUTS (numbers of one data set), BATCH, Examples and Network, and ends with this file.

#pragma once

#include "elementwise.h"

namespace {

// What replicas are trained on and how; pointers as in Python's Launch.
struct Rule {
    Real rate, momentum, decay;
    bool nesterov;
};

void move(Real* parameters, Real* velocity, const Real* gradient, const Real* scale, const Rule& rule) {
    for (int k = 0; k < SIZE; ++k) {
        const Real decayed = gradient[k] * scale[k] + rule.decay * parameters[k];
        velocity[k] = rule.momentum * velocity[k] + decayed;
        parameters[k] -= rule.rate * (rule.nesterov ? decayed + rule.momentum * velocity[k] : velocity[k]);
    }
}

bool all_finite(const Real* parameters) {
    bool finite = true;
    for (int k = 0; k < SIZE; ++k) finite &= parameters[k] * 0 == 0;
    return finite;
}

}  // namespace

extern "C" void train(
    Real* parameters, Real* velocities,           // in and out: (replicas, SIZE)
    std::int8_t* reached, std::int8_t* diverged,  // in and out: (replicas,)
    const Real* inputs, const Real* targets,      // (sets, INPUTS), (sets, BATCH)
    const Real* gradient_scale,                   // (replicas, SIZE)
    const Real* values,                           // (replicas, 3) or (updates, replicas, 3): rate, momentum, decay
    Real* losses, Real* metrics,                  // out: (updates, replicas)
    std::int64_t first, std::int64_t last,        // the replicas to train
    std::int64_t replicas, std::int64_t n_updates, std::int64_t values_stride,
    int activation, int loss_name, bool nesterov, bool of_loss, bool at_most, bool shared, double lowest_score) {
    static thread_local Examples examples;
    static thread_local Network network;
    static thread_local Real gradient[SIZE];
    const Real threshold = Real(lowest_score);
    for (std::int64_t replica = first; replica < last; ++replica) {
        if (!shared || replica == first) {
            const std::int64_t set = shared ? 0 : replica;
            examples.load(inputs + set * INPUTS, targets + set * BATCH);
        }
        Real* own = parameters + replica * SIZE;
        Real loss = 0, metric = 0;
        std::int64_t k = 0;
        for (; k < n_updates; ++k) {
            network.learn(own, examples, activation, loss_name, gradient, loss, metric);
            losses[k * replicas + replica] = loss;
            metrics[k * replicas + replica] = metric;
            const bool finite = std::isfinite(loss) && all_finite(own);
            const Real score = (at_most ? -1 : 1) * (of_loss ? loss : metric);
            if (!finite && !reached[replica]) diverged[replica] = 1;
            if (finite && score >= threshold) reached[replica] = 1;
            if (reached[replica] || diverged[replica]) break;
            const Real* at = values + k * values_stride + replica * 3;
            move(own, velocities + replica * SIZE, gradient, gradient_scale + replica * SIZE,
                 {at[0], at[1], at[2], nesterov});
        }
        // One that rests stays as it is, and so does what is measured of it.
        for (++k; k < n_updates; ++k) {
            losses[k * replicas + replica] = loss;
            metrics[k * replicas + replica] = metric;
        }
    }
}
