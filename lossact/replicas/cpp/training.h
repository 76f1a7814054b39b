// Training of replicas from the start to the end of a launch, a whole replica at a time.
//
// A program defines SIZE (parameters of a network), INPUTS (numbers of a data set), Examples and Network, and ends with
// this file.

#pragma once

#include "elementwise.h"

namespace {

// As Python numbers them.
enum Rule { SGD, NESTEROV, ADAM, ADAMW };

// The state is the velocity. `values` are learning rate, momentum and weight decay.
void move_by_sgd(Real* parameters, Real* velocity, const Real* gradient, const Real* scale, const Real* values,
                 bool nesterov) {
    const Real rate = values[0], momentum = values[1], decay = values[2];
    for (int k = 0; k < SIZE; ++k) {
        const Real decayed = gradient[k] * scale[k] + decay * parameters[k];
        velocity[k] = momentum * velocity[k] + decayed;
        parameters[k] -= rate * (nesterov ? decayed + momentum * velocity[k] : velocity[k]);
    }
}

// The state is both moments and how many updates there have been. `values` are learning rate, beta1, beta2, epsilon and
// weight decay.
void move_by_adam(Real* parameters, Real* state, const Real* gradient, const Real* scale, const Real* values,
                  bool decoupled) {
    const Real rate = values[0], beta1 = values[1], beta2 = values[2], epsilon = values[3], decay = values[4];
    Real *first = state, *second = state + SIZE;
    const Real count = state[2 * SIZE] += 1;
    const Real step = rate / (1 - std::pow(beta1, count)), correction = 1 - std::pow(beta2, count);
    for (int k = 0; k < SIZE; ++k) {
        Real slope = gradient[k] * scale[k];
        if (decoupled)
            parameters[k] *= 1 - rate * decay;
        else
            slope += decay * parameters[k];
        first[k] = beta1 * first[k] + (1 - beta1) * slope;
        second[k] = beta2 * second[k] + (1 - beta2) * (slope * slope);
        parameters[k] -= step * first[k] / (std::sqrt(second[k] / correction) + epsilon);
    }
}

bool all_finite(const Real* parameters) {
    bool finite = true;
    for (int k = 0; k < SIZE; ++k) finite &= parameters[k] * 0 == 0;
    return finite;
}

}  // namespace

extern "C" void train(
    Real* parameters, Real* states,               // in and out: (replicas, SIZE), (replicas, numbers of a state)
    std::int8_t* reached, std::int8_t* diverged,  // in and out: (replicas,)
    const Real* inputs, const Real* targets,      // (sets, INPUTS), (sets, BATCH)
    const Real* gradient_scale,                   // (replicas, SIZE)
    const Real* values,                           // (replicas, values of a rule), or so for each update
    Real* losses, Real* metrics,                  // out: (updates, replicas)
    std::int64_t first, std::int64_t last,        // the replicas to train
    std::int64_t replicas, std::int64_t n_updates, std::int64_t state_size, std::int64_t n_values,
    std::int64_t values_stride,                   // numbers from one update's values to the next's, or 0
    int activation, int loss_name, int rule, bool of_loss, bool at_most, bool shared, double lowest_score) {
    static thread_local Examples examples;
    static thread_local Network network;
    static thread_local Real gradient[SIZE];
    const Real threshold = Real(lowest_score);
    for (std::int64_t replica = first; replica < last; ++replica) {
        if (!shared || replica == first) {
            const std::int64_t set = shared ? 0 : replica;
            examples.load(inputs + set * INPUTS, targets + set * BATCH);
        }
        Real *own = parameters + replica * SIZE, *state = states + replica * state_size;
        const Real* scale = gradient_scale + replica * SIZE;
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
            const Real* now = values + k * values_stride + replica * n_values;
            if (rule == SGD || rule == NESTEROV)
                move_by_sgd(own, state, gradient, scale, now, rule == NESTEROV);
            else
                move_by_adam(own, state, gradient, scale, now, rule == ADAMW);
        }
        // One that rests stays as it is, and so does what is measured of it.
        for (++k; k < n_updates; ++k) {
            losses[k * replicas + replica] = loss;
            metrics[k * replicas + replica] = metric;
        }
    }
}
