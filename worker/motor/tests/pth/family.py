"""The model family's networks in plain PyTorch, as far as their checkpoints and calls go.

make DIR                 writes the fixtures of this folder (README.md)
run FILE INPUTS OUT      loads a checkpoint as its users would, calls the network on INPUTS ({"inputs": [[[…]]]}, time
                         first) without noise, and writes {"actions": [[[…]]], "adam": {name: [step, mean of
                         exp_avg, mean of exp_avg_sq]}} to OUT
save FILE INPUTS OUT     trains a small network for two updates, saves it as FILE, and writes the same to OUT
"""

import json
import sys

import torch

ACTIONS = 6


class Rnn(torch.nn.Module):
    """One region, one input region; softplus; α = 0.5."""

    def __init__(self, hidden, inputs):
        super().__init__()
        self.mrnn = torch.nn.Module()
        fixed = {"weight_mask": torch.ones, "sign_matrix": torch.ones}
        self.mrnn.register_parameter("region_base_firing", torch.nn.Parameter(torch.zeros(hidden)))
        for source, columns in (("region", hidden), ("input", inputs)):
            weight = torch.randn(hidden, columns) * (2 / (hidden + columns)) ** 0.5
            self.mrnn.register_parameter(f"{source}_region", torch.nn.Parameter(weight))
            for name, value in fixed.items():
                parameter = torch.nn.Parameter(value(hidden, columns), requires_grad=False)
                self.mrnn.register_parameter(f"{source}_region_{name}", parameter)
        self.fc = torch.nn.Linear(hidden, ACTIONS)

    def forward(self, inputs):
        x = h = inputs.new_zeros(inputs.shape[1], self.fc.in_features)
        actions = []
        for u in inputs:
            drive = h @ self.mrnn.region_region.T + self.mrnn.region_base_firing + u @ self.mrnn.input_region.T
            x = x + 0.5 * (drive - x)
            h = torch.nn.functional.softplus(x)
            actions.append(torch.sigmoid(self.fc(h)))
        return torch.stack(actions)


class Gru(torch.nn.Module):
    def __init__(self, hidden, inputs):
        super().__init__()
        self.gru = torch.nn.GRU(inputs, hidden, batch_first=True)
        self.fc = torch.nn.Linear(hidden, ACTIONS)

    def forward(self, inputs):
        return torch.sigmoid(self.fc(self.gru(inputs.transpose(0, 1))[0])).transpose(0, 1)


def network_of(state):
    if "gru.weight_hh_l0" in state:
        return Gru(state["gru.weight_hh_l0"].shape[1], state["gru.weight_ih_l0"].shape[1])
    return Rnn(*state["mrnn.input_region"].shape)


def told(network, adam, inputs):
    with torch.no_grad():
        actions = network(inputs)
    states = {
        name: [float(adam.state[parameter]["step"]), *(float(adam.state[parameter][key].mean()) for key in ("exp_avg", "exp_avg_sq"))]
        for name, parameter in network.named_parameters()
        if parameter in adam.state
    }
    return {"actions": actions.tolist(), "adam": states}


def load(path):
    checkpoint = torch.load(path, weights_only=True)
    network = network_of(checkpoint["agent_state_dict"])
    network.load_state_dict(checkpoint["agent_state_dict"])
    adam = torch.optim.Adam(network.parameters(), lr=1.0)
    if "optimizer_state_dict" in checkpoint:
        adam.load_state_dict(checkpoint["optimizer_state_dict"])
    return network, adam


def trained(network, updates=2):
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    inputs = torch.randn(4, 3, 28)
    for _ in range(updates):
        adam.zero_grad()
        (network(inputs) ** 2).sum().backward()
        adam.step()
    return adam


def save(network, adam, path):
    torch.save({"agent_state_dict": network.state_dict(), "optimizer_state_dict": adam.state_dict()}, path)


def inputs_of(path):
    with open(path) as file:
        return torch.tensor(json.load(file)["inputs"], dtype=torch.float32)


def write(path, value):
    with open(path, "w") as file:
        json.dump(value, file)


class Hostile:
    def __reduce__(self):
        import os

        return os.system, ("touch motif-was-here",)


def make(folder):
    torch.manual_seed(7)
    inputs = torch.randn(5, 2, 28)
    write(f"{folder}/inputs.json", {"inputs": inputs.tolist()})
    for name, network in (("rnn", Rnn(6, 28)), ("gru", Gru(4, 28))):
        adam = trained(network)
        save(network, adam, f"{folder}/{name}.pth")
        write(f"{folder}/{name}.json", told(network, adam, inputs))
    base = torch.arange(24.0).reshape(4, 6)
    strided = {
        "transposed": base.T,
        "shared_block": base[1:3, 2:5],
        "expanded": torch.tensor([2.5]).expand(3, 2),
        "double": torch.tensor([0.1, -1e300], dtype=torch.float64),
        "integer": torch.tensor([[-3], [1 << 40]]),
        "mask": torch.tensor([True, False, True]),
        "scalar": torch.tensor(4.0),
        "parameter": torch.nn.Parameter(torch.tensor([1.0, 2.0])),
        "empty": torch.zeros(0, 3),
    }
    torch.save(strided, f"{folder}/strided.pth")
    torch.save({"agent_state_dict": {"fc.bias": Hostile()}}, f"{folder}/hostile.pth")
    torch.save({"weight": torch.zeros(2, dtype=torch.float16)}, f"{folder}/half.pth")
    torch.save({"weight": torch.zeros(2)}, f"{folder}/legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(1, 1), f"{folder}/module.pth")


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "make":
        make(*rest)
    elif command == "run":
        path, inputs, out = rest
        write(out, told(*load(path), inputs_of(inputs)))
    else:
        path, inputs, out = rest
        torch.manual_seed(11)
        network = Rnn(9, 28)
        adam = trained(network, 3)
        save(network, adam, path)
        write(out, told(network, adam, inputs_of(inputs)))
