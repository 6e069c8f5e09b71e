"""Published networks as layer lists: what the performance points were measured on."""

from __future__ import annotations

from dpuflow.target.work import ConvWork, EltwiseWork, LayerWork, PoolWork

Map = tuple[int, int, int]


def same(size: int, stride: int) -> int:
    return -(-size // stride)


class Layers:
    """Collects works; every method appends one layer and returns its output map."""

    def __init__(self) -> None:
        self.works: list[LayerWork] = []

    def conv(self, x: Map, outputs: int, kernel: int, stride: int = 1) -> Map:
        size = (same(x[0], stride), same(x[1], stride), outputs)
        self.works.append(ConvWork(f"conv{len(self.works)}", x, size, (kernel, kernel), (stride, stride), shift_bias=0))
        return size

    def dense(self, inputs: int, outputs: int) -> Map:
        return self.conv((1, 1, inputs), outputs, 1)

    def depthwise(self, x: Map, stride: int, kernel: int = 3) -> Map:
        size = (same(x[0], stride), same(x[1], stride), x[2])
        self.works.append(ConvWork(f"dw{len(self.works)}", x, size, (kernel, kernel), (stride, stride), depthwise=True,
                                   groups=1, shift_bias=0))
        return size

    def pool(self, x: Map, kernel: int, stride: int, kind: str = "max") -> Map:
        size = (same(x[0], stride), same(x[1], stride), x[2]) if kernel < x[0] else (1, 1, x[2])
        self.works.append(PoolWork(f"pool{len(self.works)}", x, size, (kernel, kernel), (stride, stride), kind=kind))
        return size

    def add(self, x: Map) -> Map:
        self.works.append(EltwiseWork(f"add{len(self.works)}", x, x))
        return x


def resnet50() -> list[LayerWork]:
    """ResNet50 at 224, the stride in the first 1x1 of a block (7.716 GOP)."""
    net = Layers()
    x = net.conv((224, 224, 3), 64, 7, 2)
    x = net.pool(x, 3, 2)
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            step = stride if block == 0 else 1
            if block == 0:
                net.conv(x, 4 * width, 1, step)
            y = net.conv(x, width, 1, step)
            y = net.conv(y, width, 3)
            y = net.conv(y, 4 * width, 1)
            x = net.add(y)
    net.pool(x, 7, 7, "avg")
    net.dense(2048, 1000)
    return net.works


def vgg16() -> list[LayerWork]:
    """VGG16 at 224 with 4096-4096-1000 (30.94 GOP)."""
    net = Layers()
    x: Map = (224, 224, 3)
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            x = net.conv(x, width, 3)
        x = net.pool(x, 2, 2)
    net.dense(x[0] * x[1] * x[2], 4096)
    net.dense(4096, 4096)
    net.dense(4096, 1000)
    return net.works


def mobilenet_v1() -> list[LayerWork]:
    """MobileNetV1 1.0 at 224, 1001 classes (1.137 GOP)."""
    net = Layers()
    x = net.conv((224, 224, 3), 32, 3, 2)
    for outputs, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *([(512, 1)] * 5),
                            (1024, 2), (1024, 1)):
        x = net.depthwise(x, stride)
        x = net.conv(x, outputs, 1)
    net.pool(x, 7, 7, "avg")
    net.dense(1024, 1001)
    return net.works
