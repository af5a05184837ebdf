"""The transforms of nnU-Net's default training, by batchgeneratorsv2; runs in an environment that has it alone."""

from __future__ import annotations

import json
import math
import sys
import time

SIZE, SAMPLES = 64, 24


def transforms():  # type: ignore[no-untyped-def]
    """Give nnU-Net's default set for 3D patches, in its order and with its chances."""
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    angle = math.radians(30)
    apart, bent = {"synchronize_channels": False, "p_per_channel": 1}, BGContrast((0.7, 1.5))
    near = BGContrast((0.75, 1.25))
    return ComposeTransforms(
        [
            SpatialTransform(
                (SIZE,) * 3,
                patch_center_dist_from_border=0,
                random_crop=False,
                p_elastic_deform=0,
                p_rotation=0.2,
                rotation=(-angle, angle),
                p_scaling=0.2,
                scaling=(0.7, 1.4),
                p_synchronize_scaling_across_axes=1,
                bg_style_seg_sampling=False,
            ),
            RandomTransform(GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True), 0.1),
            RandomTransform(
                GaussianBlurTransform(
                    (0.5, 1.0), synchronize_channels=False, synchronize_axes=False, p_per_channel=0.5, benchmark=True
                ),
                0.2,
            ),
            RandomTransform(MultiplicativeBrightnessTransform(near, **apart), 0.15),
            RandomTransform(ContrastTransform(near, preserve_range=True, **apart), 0.15),
            RandomTransform(
                SimulateLowResolutionTransform(
                    (0.5, 1),
                    synchronize_channels=False,
                    synchronize_axes=True,
                    ignore_axes=None,
                    allowed_channels=None,
                    p_per_channel=0.5,
                ),
                0.25,
            ),
            RandomTransform(GammaTransform(bent, p_invert_image=1, p_retain_stats=1, **apart), 0.1),
            RandomTransform(GammaTransform(bent, p_invert_image=0, p_retain_stats=1, **apart), 0.3),
            MirrorTransform((0, 1, 2)),
        ]
    )


def main() -> None:
    """Change so many samples for every line that comes in, and write what it took."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    np.random.seed(0)  # noqa: NPY002  (batchgeneratorsv2 draws from here)
    torch.manual_seed(0)
    image, labels = torch.randn(1, SIZE, SIZE, SIZE), torch.randint(0, 3, (1, SIZE, SIZE, SIZE), dtype=torch.int16)
    change = transforms()
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(SAMPLES):
            change(image=image.clone(), segmentation=labels.clone())
        print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}), flush=True)


if __name__ == "__main__":
    main()
