"""``dpuflow targets``: the cores that can be named."""

from __future__ import annotations

import argparse

from dpuflow.target.table import named_targets


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """The command has no options."""
    return commands.add_parser("targets", help="list the cores that can be named")


def run(options: argparse.Namespace) -> None:
    """One row a core."""
    print(f"{'target':<30} {'arch':<6} {'fingerprint':<19} PP ICP/OCP  groups  depthwise  leaky  augmentation")
    for name, core in named_targets().items():
        print(f"{name:<30} {core.arch:<6} 0x{core.fingerprint:016x}  {core.pixel_parallel} "
              f"{core.input_channel_parallel:>3}/{core.output_channel_parallel:<4} {core.image_bank_groups:>5} "
              f"{'yes' if core.dwconv_pixel_parallel else 'no':>9} "
              f"{'yes' if 'leaky_relu' in core.conv_nonlinears else 'no':>7} "
              f"{core.channel_augmentation or 'no':>9}")
