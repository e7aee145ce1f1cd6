"""MinkowskiEngine on what `sparse_network_benchmark --dump FILE` wrote: compares and times.

usage: minkowski_unet.py FILE MINKOWSKI_ENGINE_SOURCES
"""
import json
import os
import statistics
import sys
import time
import types
import urllib.request

import numpy as np
import torch

path, sources = sys.argv[1:]
sys.path.insert(0, sources)
# The examples load a point cloud and a viewer that the network does not need.
sys.modules["open3d"] = types.ModuleType("open3d")
urllib.request.urlretrieve = lambda *_: None
import MinkowskiEngine as ME  # noqa: E402
from examples.minkunet import MinkUNet34  # noqa: E402


class Network(MinkUNet34):
    PLANES = (32, 64, 128, 256, 256, 128, 64, 64)


def read_safetensors(name):
    data = open(name, "rb").read()
    size = int.from_bytes(data[:8], "little")
    types_ = {"F32": np.float32, "I32": np.int32}
    tensors = {}
    for key, entry in json.loads(data[8:8 + size]).items():
        if key != "__metadata__":
            begin, end = entry["data_offsets"]
            array = np.frombuffer(data[8 + size + begin:8 + size + end], types_[entry["dtype"]])
            tensors[key] = torch.from_numpy(array.reshape(entry["shape"]).copy())
    return tensors


def kernel(weights):
    """From x before y before z to MinkowskiEngine's x fastest."""
    volume, inputs, outputs = weights.shape
    side = round(volume ** (1 / 3))
    turned = weights.view(side, side, side, inputs, outputs).permute(2, 1, 0, 3, 4)
    turned = turned.reshape(volume, inputs, outputs).contiguous()
    return turned[0] if volume == 1 else turned


def load(network, tensors):
    # Both list their layers in the order of running, but for the shortcuts.
    names = [key[:-len(".weight")] for key in tensors
             if key.endswith(".weight") and ".norm." not in key and not key.startswith("gradient.")]
    plain = [name for name in names if "shortcut" not in name]
    modules = dict(network.named_modules())
    convolutions = [name for name, module in modules.items()
                    if isinstance(module, (ME.MinkowskiConvolution,
                                           ME.MinkowskiConvolutionTranspose))]
    theirs = [name for name in convolutions if "downsample" not in name]
    norms = [name for name, module in modules.items()
             if isinstance(module, torch.nn.BatchNorm1d)]
    pairs = list(zip(plain, theirs, [n for n in norms if "downsample" not in n] + [None]))
    pairs += zip([name for name in names if "shortcut" in name],
                 [name for name in convolutions if "downsample" in name],
                 [name for name in norms if "downsample" in name])
    kernels = {ours: modules[convolution].kernel for ours, convolution, _ in pairs}
    for ours, convolution, norm in pairs:
        modules[convolution].kernel.data = kernel(tensors[ours + ".weight"])
        if norm is None:
            modules[convolution].bias.data = tensors[ours + ".bias"][None]
            continue
        for field in ("weight", "bias", "running_mean", "running_var"):
            getattr(modules[norm], field).data = tensors[f"{ours}.norm.{field}"]
    return kernels


def measure(run, times=3):
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    seconds = seconds[1:]  # the first warms up
    return f"{1000 * statistics.median(seconds):.0f} ms ({1000 * min(seconds):.0f} to " \
           f"{1000 * max(seconds):.0f})"


torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
tensors = read_safetensors(path)
network = Network(3, 20).eval()
kernels = load(network, tensors)
cells = tensors["cells"].contiguous()
with torch.no_grad():
    def forward():
        return network(ME.SparseTensor(tensors["features"], coordinates=cells)).F

    output = forward()
    scale = output.abs().max()
    for name in ("output", "output_bfloat16"):
        error = (tensors[name] - output).abs()
        same = (tensors[name].argmax(1) == output.argmax(1)).float().mean()
        print(f"{name}: largest difference {error.max() / scale:.2e} of the largest value, "
              f"root mean square {error.square().mean().sqrt() / output.square().mean().sqrt():.2e}"
              f", same class {100 * same:.2f} %", flush=True)
    print("MinkUNet34A forward, MinkowskiEngine:", measure(forward), flush=True)
    convolution = ME.MinkowskiConvolution(64, 64, kernel_size=3, dimension=3)
    features = torch.rand(len(cells), 64)
    print("submanifold 3x3x3, 64 to 64, with its map:",
          measure(lambda: convolution(ME.SparseTensor(features, coordinates=cells))), flush=True)
    again = ME.SparseTensor(features, coordinates=cells)
    convolution(again)
    print("the same, map at hand:", measure(lambda: convolution(again)))


def train():
    network.zero_grad()
    out = network(ME.SparseTensor(tensors["features"], coordinates=cells)).F
    ((out * tensors["loss_weights"]).sum() / len(cells)).backward()


network.train()
train()
squares = difference = 0
for name, theirs in kernels.items():
    ours = kernel(tensors[f"gradient.{name}.weight"])
    squares += theirs.grad.square().sum().item()
    difference += (ours - theirs.grad).square().sum().item()
print(f"gradients of all kernels: difference {(difference / squares) ** 0.5:.2e} of their length")
print("MinkUNet34A forward and backward, MinkowskiEngine:", measure(train), flush=True)
