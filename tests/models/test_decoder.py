from __future__ import annotations

import network_oracles as oracle
import pytest
import torch
from torch.nn import functional

from comix_models.decoder import AllMLPDecoder

CHANNELS = (4, 6, 6, 8)


def features(height: int, width: int) -> list[torch.Tensor]:
    sizes = [(height, width), *[(height // 2, width // 2)] * 3]
    return [
        torch.randn(2, *size, channel, dtype=torch.float64)
        for size, channel in zip(sizes, CHANNELS, strict=True)
    ]


def as_printed(decoder: AllMLPDecoder, stages: list[torch.Tensor]) -> torch.Tensor:
    """Embed, upsample, concatenate, fuse, classify: nothing exchanged, nothing merged."""
    size = list(stages[0].shape[1:3])
    embedded = [
        functional.interpolate(
            embedding(stage).permute(0, 3, 1, 2), size=size, mode="bilinear", align_corners=False
        ).permute(0, 2, 3, 1)
        for embedding, stage in zip(decoder.embeddings, stages, strict=True)
    ]
    fused = decoder.fusion(torch.cat(embedded, dim=3)).permute(0, 3, 1, 2)
    hidden = torch.relu(decoder.norm(fused)).permute(0, 2, 3, 1)
    logits: torch.Tensor = decoder.classes(hidden)
    return logits.permute(0, 3, 1, 2)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(8, 6), (2, 2), (2, 10)])
def test_fusing_before_upsampling_gives_what_is_printed(
    size: tuple[int, int], training: bool
) -> None:
    decoder = AllMLPDecoder(CHANNELS, width=5, classes=3)
    oracle.randomise(decoder)
    decoder.train(training)
    stages = features(*size)

    torch.testing.assert_close(decoder(stages), as_printed(decoder, stages))


def test_dropout_acts_while_training_only() -> None:
    decoder = AllMLPDecoder(CHANNELS, width=32, classes=3, dropout=0.5)
    oracle.randomise(decoder)
    stages = features(4, 4)

    assert not torch.equal(decoder(stages), decoder(stages))
    decoder.eval()
    assert torch.equal(decoder(stages), decoder(stages))
