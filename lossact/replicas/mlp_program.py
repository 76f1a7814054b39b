"""The program that trains one MLP on a GPU, from its start to the end of a launch, in Triton.

Importing this file imports triton, so only `mlp_triton` does, and late. The functions follow those of
lossact.functional line by line; a batch, a hidden layer or an image whose size is no power of two is filled up to one.
"""

import triton
import triton.language as tl


@triton.jit
def _sigmoid(z):
    small = tl.exp(-tl.abs(z))
    return tl.where(z < 0, small, 1.0) / (1.0 + small)


@triton.jit
def _sigmoid_derivative(z):
    small = tl.exp(-tl.abs(z))
    return small / ((1.0 + small) * (1.0 + small))


@triton.jit
def _softplus(z):
    small = tl.exp(-tl.abs(z))
    one_more = 1.0 + small
    # The logarithm is of the rounded sum; the quotient takes the rounding back.
    rest = tl.where(one_more == 1.0, small, tl.log(one_more) * small / tl.where(one_more == 1.0, 1.0, one_more - 1.0))
    return tl.where(z > 0, z, 0.0) + rest


@triton.jit
def _tanh(z):
    y = -2.0 * tl.abs(z)
    power = tl.exp(y)
    # exp(y) - 1, which cancels near 0: there the logarithm takes the rounding of the power back.
    is_near = (y > -0.5) & (power != 1.0)
    near = (power - 1.0) * (y / tl.where(is_near, tl.log(power), 1.0))
    less_one = tl.where(is_near, near, tl.where(power == 1.0, y, power - 1.0))
    size = -less_one / (power + 1.0)
    return tl.where(z < 0, -size, size)


@triton.jit
def _normal_distribution(z):
    return 0.5 * (1.0 + tl.erf(z * 0.7071067811865476))


@triton.jit
def _activation(z, NAME: tl.constexpr):  # noqa: N803
    if NAME == "sigmoid":
        a = _sigmoid(z)
    elif NAME == "relu":
        a = tl.where(z <= 0, 0.0, z)  # NaN stays NaN
    elif NAME == "tanh":
        a = _tanh(z)
    elif NAME == "leaky_relu":
        a = tl.where(z > 0, z, 0.01 * z)
    elif NAME == "softplus":
        a = _softplus(z)
    elif NAME == "gelu":
        a = z * _normal_distribution(z)
    else:
        tl.static_assert(NAME == "silu")
        a = z * _sigmoid(z)
    return a


@triton.jit
def _pullback(gradient, z, a, NAME: tl.constexpr):  # noqa: N803
    """Return d loss / dz from d loss / da."""
    if NAME == "sigmoid":
        product = gradient * (1.0 - a) * a
    elif NAME == "relu":
        product = tl.where(a <= 0, 0.0, gradient)
    elif NAME == "tanh":
        product = gradient * (4.0 * _sigmoid_derivative(2.0 * z))
    elif NAME == "leaky_relu":
        product = gradient * tl.where(z > 0, 1.0, tl.where(z <= 0, 0.01, z))
    elif NAME == "softplus":
        product = gradient * _sigmoid(z)
    elif NAME == "gelu":
        product = gradient * (_normal_distribution(z) + z * tl.exp(-z * z / 2.0) * 0.3989422804014327)
    else:
        tl.static_assert(NAME == "silu")
        product = gradient * (_sigmoid(z) * (1.0 + z * _sigmoid(-z)))
    return product


@triton.jit
def _loss(logit, target, NAME: tl.constexpr):  # noqa: N803
    error = (1.0 - target) * _sigmoid(logit) - target * _sigmoid(-logit)
    if NAME == "l2":
        loss = error * error
    elif NAME == "cross_entropy":
        loss = target * _softplus(-logit) + (1.0 - target) * _softplus(logit)
    elif NAME == "hinge":
        loss = _sigmoid(-logit) + 2.0 * (1.0 - target) * _sigmoid(logit)
    else:
        tl.static_assert(NAME == "huber")
        loss = tl.where(tl.abs(error) <= 1.0, 0.5 * error * error, tl.abs(error) - 0.5)
    return loss


@triton.jit
def _loss_derivative(logit, target, NAME: tl.constexpr):  # noqa: N803
    error = (1.0 - target) * _sigmoid(logit) - target * _sigmoid(-logit)
    if NAME == "l2":
        derivative = 2.0 * error * _sigmoid_derivative(logit)
    elif NAME == "cross_entropy":
        derivative = error
    elif NAME == "hinge":
        derivative = (1.0 - 2.0 * target) * _sigmoid_derivative(logit)
    else:
        tl.static_assert(NAME == "huber")
        cut = tl.where(error > 1.0, 1.0, tl.where(error < -1.0, -1.0, error))
        derivative = cut * _sigmoid_derivative(logit)
    return derivative


@triton.jit
def _moved(parameter, velocity, gradient, learning_rate, momentum, decay, rests, NESTEROV: tl.constexpr):  # noqa: N803
    """Return a parameter, which stays where its replica rests, and its velocity after one update."""
    if NESTEROV:
        decayed = gradient + decay * parameter
        velocity = momentum * velocity + decayed
        moved = parameter - learning_rate * (decayed + momentum * velocity)
    else:
        velocity = momentum * velocity + gradient + decay * parameter
        moved = parameter - learning_rate * velocity
    return tl.where(rests, parameter, moved), velocity


@triton.jit
def _share(count, BATCH: tl.constexpr):  # noqa: N803
    """Return a count's share of the batch, rounded as IEEE has it: a threshold may be just that share."""
    if count.dtype == tl.float32:  # noqa: SIM108
        share = tl.div_rn(count, tl.full((), BATCH, tl.float32))
    else:
        share = count / BATCH
    return share


@triton.jit(do_not_specialize=["n_updates", "replicas", "values_stride"])
def train_one_replica(
    parameters, velocities, reached_flags, diverged_flags,  # in and out: (replicas, size) twice, (replicas,) twice
    inputs, targets,  # (sets, features, batch), (sets, batch)
    gradient_scale,  # (replicas, size)
    values,  # (replicas, 3) or (updates, replicas, 3): learning rate, momentum, weight decay
    lowest_score,  # one number
    losses, metrics,  # out: (updates, replicas)
    n_updates, replicas, values_stride,
    FEATURES: tl.constexpr, HIDDEN: tl.constexpr, BATCH: tl.constexpr,  # noqa: N803
    PADDED_FEATURES: tl.constexpr, PADDED_HIDDEN: tl.constexpr, PADDED_BATCH: tl.constexpr,  # noqa: N803
    ACTIVATION: tl.constexpr, LOSS: tl.constexpr, NESTEROV: tl.constexpr,  # noqa: N803
    OF_LOSS: tl.constexpr, AT_MOST: tl.constexpr, SHARED: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Train replica `program_id` over all updates of a launch."""
    replica = tl.program_id(0).to(tl.int64)
    f, h, b = tl.arange(0, PADDED_FEATURES), tl.arange(0, PADDED_HIDDEN), tl.arange(0, PADDED_BATCH)
    in_hidden, in_batch = h < HIDDEN, b < BATCH
    in_weight = in_hidden[:, None] & (f < FEATURES)[None, :]

    replicas, values_stride = replicas.to(tl.int64), values_stride.to(tl.int64)

    data_set = replica * 0 if SHARED else replica
    pixels = data_set * (FEATURES * BATCH) + f[:, None] * BATCH + b[None, :]
    x = tl.load(inputs + pixels, mask=(f < FEATURES)[:, None] & in_batch[None, :], other=0.0)
    y = tl.load(targets + data_set * BATCH + b, mask=in_batch, other=0.0)

    row = replica * (HIDDEN * (FEATURES + 2) + 1)
    at_weight = row + h[:, None] * FEATURES + f[None, :]
    at_bias = row + HIDDEN * FEATURES + h
    at_out = at_bias + HIDDEN
    at_out_bias = row + HIDDEN * (FEATURES + 2)
    weight = tl.load(parameters + at_weight, mask=in_weight, other=0.0)
    bias = tl.load(parameters + at_bias, mask=in_hidden, other=0.0)
    out = tl.load(parameters + at_out, mask=in_hidden, other=0.0)
    out_bias = tl.load(parameters + at_out_bias)
    weight_velocity = tl.load(velocities + at_weight, mask=in_weight, other=0.0)
    bias_velocity = tl.load(velocities + at_bias, mask=in_hidden, other=0.0)
    out_velocity = tl.load(velocities + at_out, mask=in_hidden, other=0.0)
    out_bias_velocity = tl.load(velocities + at_out_bias)
    weight_scale = tl.load(gradient_scale + at_weight, mask=in_weight, other=0.0)
    bias_scale = tl.load(gradient_scale + at_bias, mask=in_hidden, other=0.0)
    out_scale = tl.load(gradient_scale + at_out, mask=in_hidden, other=0.0)
    out_bias_scale = tl.load(gradient_scale + at_out_bias)
    reached = tl.load(reached_flags + replica) != 0
    diverged = tl.load(diverged_flags + replica) != 0
    threshold = tl.load(lowest_score)

    # One that rests stays as it is, and so does what is measured of it: once is enough.
    n_measured = tl.where(reached | diverged, 1, n_updates)
    loss, metric = threshold, threshold  # of the type that both will have
    for k in range(n_measured):
        z = tl.sum(weight[:, :, None] * x[None, :, :], axis=1) + bias[:, None]
        a = _activation(z, ACTIVATION)
        logit = tl.sum(out[:, None] * a, axis=0) + out_bias
        loss = tl.sum(tl.where(in_batch, _loss(logit, y, LOSS), 0.0), axis=0) / BATCH
        is_correct = in_batch & ((logit > 0) == (y > 0.5))
        metric = _share(tl.sum(is_correct.to(x.dtype), axis=0), BATCH)
        tl.store(losses + k * replicas + replica, loss)
        tl.store(metrics + k * replicas + replica, metric)

        # 0 x parameter is NaN where the parameter is not finite, and the sum cannot overflow.
        zero = tl.sum(tl.sum(weight * 0.0, axis=1) + bias * 0.0 + out * 0.0, axis=0) + out_bias * 0.0 + loss * 0.0
        finite = zero == 0.0
        diverged = diverged | ((zero != 0.0) & (reached == 0))
        score = loss if OF_LOSS else metric
        if AT_MOST:
            score = -score
        reached = reached | (finite & (score >= threshold))
        rests = reached | diverged

        d_logit = tl.where(in_batch, _loss_derivative(logit, y, LOSS) / BATCH, 0.0)
        d_z = _pullback(out[:, None] * d_logit[None, :], z, a, ACTIVATION)
        weight_gradient = tl.sum(d_z[:, None, :] * x[None, :, :], axis=2)
        bias_gradient = tl.sum(d_z, axis=1)
        out_gradient = tl.sum(d_logit[None, :] * a, axis=1)
        if HIDDEN != PADDED_HIDDEN or FEATURES != PADDED_FEATURES:
            weight_gradient = tl.where(in_weight, weight_gradient, 0.0)
            bias_gradient = tl.where(in_hidden, bias_gradient, 0.0)
            out_gradient = tl.where(in_hidden, out_gradient, 0.0)
        out_bias_gradient = tl.sum(d_logit, axis=0)

        at = values + k * values_stride + replica * 3
        rate, momentum, decay = tl.load(at), tl.load(at + 1), tl.load(at + 2)
        weight, weight_velocity = _moved(
            weight, weight_velocity, weight_gradient * weight_scale, rate, momentum, decay, rests, NESTEROV
        )
        bias, bias_velocity = _moved(
            bias, bias_velocity, bias_gradient * bias_scale, rate, momentum, decay, rests, NESTEROV
        )
        out, out_velocity = _moved(out, out_velocity, out_gradient * out_scale, rate, momentum, decay, rests, NESTEROV)
        out_bias, out_bias_velocity = _moved(
            out_bias, out_bias_velocity, out_bias_gradient * out_bias_scale, rate, momentum, decay, rests, NESTEROV
        )

    for k in range(n_measured, n_updates):
        tl.store(losses + k * replicas + replica, loss)
        tl.store(metrics + k * replicas + replica, metric)

    tl.store(parameters + at_weight, weight, mask=in_weight)
    tl.store(parameters + at_bias, bias, mask=in_hidden)
    tl.store(parameters + at_out, out, mask=in_hidden)
    tl.store(parameters + at_out_bias, out_bias)
    tl.store(velocities + at_weight, weight_velocity, mask=in_weight)
    tl.store(velocities + at_bias, bias_velocity, mask=in_hidden)
    tl.store(velocities + at_out, out_velocity, mask=in_hidden)
    tl.store(velocities + at_out_bias, out_bias_velocity)
    tl.store(reached_flags + replica, reached.to(tl.int8))
    tl.store(diverged_flags + replica, diverged.to(tl.int8))
