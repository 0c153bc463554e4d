"""The same work in PyTorch and motornet: one training batch, or the roll-outs of an evaluation without gradient.

Needs torch and motornet 0.2.0. Prints one JSON object with the keys of `motif-worker bench train`.

A batch is what the family's trainer does: half reaches, closed loop, a leaky network whose weight, mask and sign
matrices are joined from blocks at every call, five loss terms, back-propagation through the whole trial, clipping,
Adam. With --no-grad it is the roll-out alone.
"""

import argparse
import json
import math
import statistics
import time
import warnings

import torch

warnings.filterwarnings("ignore")
import motornet  # noqa: E402

BEFORE, WAIT, AFTER = 25, 50, 25


class Reaches(motornet.environment.Environment):
    """Reaches of a quarter of a metre, with the family's 28 observations."""

    def __init__(self, arm, steps):
        self.steps = steps
        super().__init__(effector=arm)

    def reset(self, *, seed=None, options=None):
        options = options or {}
        rows = options.get("batch_size", 1)
        middle = [(low + high) / 2 for low, high in zip(self.effector.pos_lower_bound, self.effector.pos_upper_bound)]
        joint = torch.tensor([[float(middle[0]) + 0.1, float(middle[1]) + 0.5, 0.0, 0.0]]).repeat(rows, 1)
        self.effector.reset(options={"batch_size": rows, "joint_state": joint})
        self.go_at, movement = BEFORE + WAIT, self.steps - BEFORE - WAIT - AFTER
        angle = torch.randint(0, 8, (rows,)) * (math.pi / 4)
        start = self.joint2cartesian(joint)[:, :2]
        end = start + 0.25 * torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
        along = torch.linspace(0, 1, movement)[None, :, None]
        self.path = start[:, None] + along * (end - start)[:, None]
        self.rule = torch.nn.functional.one_hot(torch.zeros(rows, dtype=torch.long), 10).float()
        self.speed = torch.zeros(rows, self.steps, 1)
        self.speed[:, BEFORE:] = 1 - movement / 150
        self.cue = torch.zeros(rows, self.steps, 1)
        self.cue[:, self.go_at :] = 1
        self.shown = torch.zeros(rows, self.steps, 2)
        self.shown[:, BEFORE:] = end[:, None]
        self.goal = self.path[:, 0]
        for name, value in (("proprioception", self.get_proprioception()), ("vision", self.get_vision())):
            self.obs_buffer[name] = [value] * len(self.obs_buffer[name])
        self.obs_buffer["action"] = [torch.zeros(rows, self.n_muscles)] * self.action_frame_stacking
        observation = self.get_obs(0, deterministic=options.get("deterministic", False))
        return observation, {"states": self.states, "goal": self.goal}

    def get_obs(self, time_index, action=None, deterministic=False):
        self.update_obs_buffer(action=action)
        seen = [self.rule, self.speed[:, time_index], self.cue[:, time_index], self.shown[:, time_index]]
        felt = [self.obs_buffer["vision"][0], self.obs_buffer["proprioception"][0]]
        observation = torch.cat(seen + felt, dim=-1)
        return observation if deterministic else self.apply_noise(observation, self.obs_noise)

    def step(self, time_index, action):
        self.effector.step(action)
        observation = self.get_obs(time_index, action=action)
        along = min(max(time_index - self.go_at, 0), self.path.shape[1] - 1)
        self.goal = self.path[:, along].clone()
        return observation, time_index + 1 >= self.steps, {"states": self.states, "goal": self.goal}


class Connection(torch.nn.Module):
    """A block of weights with its mask and signs."""

    def __init__(self, sources, destinations):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.nn.init.xavier_normal_(torch.empty(destinations, sources)))
        for name in ("mask", "sign"):
            fixed = torch.nn.Parameter(torch.ones(destinations, sources), requires_grad=False)
            setattr(self, name, fixed)


class Network(torch.nn.Module):
    """x += a (-x + W h + b + noise) + a U (u + noise), h = softplus(x), action = sigmoid(V h + c), a = 1/2."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden = hidden
        self.recurrent, self.input = Connection(hidden, hidden), Connection(28, hidden)
        self.base_firing = torch.nn.Parameter(torch.zeros(hidden))
        self.readout = torch.nn.Linear(hidden, 6)

    @staticmethod
    def joined(blocks):
        """Weights, masks and signs of a network of regions, put together from its (here single) blocks."""
        whole = []
        for part in ("weight", "mask", "sign"):
            columns = [torch.cat([getattr(block, part) for block in column], dim=0) for column in blocks]
            whole.append(torch.cat(columns, dim=1))
        return whole

    def forward(self, observation, x, h):
        recurrent, _, _ = self.joined([[self.recurrent]])
        entering, _, _ = self.joined([[self.input]])
        bias = torch.cat([self.base_firing])
        rows = observation.shape[0]
        unit_noise = 2 * 0.1 * torch.randn(rows, self.hidden)
        input_noise = 2 * 0.01 * torch.randn(rows, 28)
        x = x + 0.5 * (-x + (recurrent @ h.T).T + bias + unit_noise)
        x = x + 0.5 * (entering @ (observation + input_noise).T).T
        h = torch.nn.functional.softplus(x)
        # The family's library runs sequences of one step.
        x, h = torch.stack([x], dim=1).squeeze(1), torch.stack([h], dim=1).squeeze(1)
        return x, h, torch.sigmoid(self.readout(h)).squeeze(dim=1)


def roll_out(network, environment, rows):
    x = torch.zeros(rows, network.hidden)
    h = torch.zeros(rows, network.hidden)
    observation, info = environment.reset(options={"batch_size": rows})
    begin = time.perf_counter()
    tape = {"tip": [], "goal": [], "muscle": [], "hidden": []}

    def record(info, h):
        tape["tip"].append(info["states"]["fingertip"][:, None])
        tape["goal"].append(info["goal"][:, None])
        tape["muscle"].append(info["states"]["muscle"][:, 0].unsqueeze(1))
        tape["hidden"].append(h.unsqueeze(1))

    record(info, h)
    time_index, done = 0, False
    while not done:
        x, h, action = network(observation, x, h)
        observation, done, info = environment.step(time_index, action)
        record(info, h)
        time_index += 1
    return begin, {name: torch.cat(values, dim=1) for name, values in tape.items()}


def total_loss(network, tape):
    recurrent, _, _ = network.joined([[network.recurrent]])
    slope = torch.sigmoid(tape["hidden"]).mean(dim=(0, 1))
    return (
        (tape["tip"] - tape["goal"]).abs().sum(-1).mean()
        + 1e-3 * tape["hidden"].abs().mean()
        + 1e-3 * sum(parameter.abs().mean() for parameter in network.parameters())
        + 1e-2 * tape["muscle"].abs().sum(-1).mean()
        + 1e-3 * torch.norm(recurrent * slope**2)
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("hidden", 256), ("batch", 32), ("steps", 200), ("threads", 1), ("n", 3), ("warmup", 1)):
        arguments.add_argument(f"--{name}", type=int, default=default)
    arguments.add_argument("--no-grad", action="store_true", help="the roll-out alone, without gradient")
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    arm = motornet.effector.RigidTendonArm26(motornet.muscle.MujocoHillMuscle())
    network = Network(options.hidden)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    timings, last_loss = [], 0.0
    for repetition in range(options.warmup + options.n):
        start = time.perf_counter()
        environment = Reaches(arm, options.steps)
        with torch.set_grad_enabled(not options.no_grad):
            begin, tape = roll_out(network, environment, options.batch)
        played = time.perf_counter()
        if not options.no_grad:
            loss = total_loss(network, tape)
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), max_norm=1.0)
            adam.step()
            last_loss = loss.item()
        if repetition >= options.warmup:
            timings.append((begin - start, played - begin, time.perf_counter() - played))
    setup, forward, backward = ([1e3 * timing[part] for timing in timings] for part in range(3))
    totals = [there + back for there, back in zip(forward, backward)]
    total = statistics.median(totals)
    print(
        json.dumps(
            {
                "hidden": options.hidden,
                "batch": options.batch,
                "steps": options.steps,
                "threads": options.threads,
                "n": options.n,
                "forward_ms": statistics.median(forward),
                "backward_ms": statistics.median(backward),
                "total_ms": total,
                "setup_ms": statistics.median(setup),
                "wall_ms": statistics.median(a + b for a, b in zip(setup, totals)),
                "env_steps_per_s": 1e3 * options.batch * options.steps / total,
                "last_loss": last_loss,
                "torch": torch.__version__,
                "motornet": motornet.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
