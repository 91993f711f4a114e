"""What captions of windows cut around masks give away: stage 1 twice, with equal compute, and what each reads.

The rows are shown in nbs/3_training/04_pretrain.ipynb.

    python tools/captions.py --out nbs/3_training/captions.jsonl
"""
import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch

from rs_zeroseg.data.files import whole_files
from rs_zeroseg.evidence.evaluate import evaluate_pocket
from rs_zeroseg.model.pocket_text import PocketText
from rs_zeroseg.model.registry import pocket_streams
from rs_zeroseg.model.segmenter import ZeroShot
from rs_zeroseg.training.crops import WORDS, Crops, Pictures, area_shares, batches_of, pocket_crops
from rs_zeroseg.training.loop import fit
from rs_zeroseg.training.pretrain import PICTURE_PX, VLM_PLAN, CaptionedVLM, caption_loss

SEED0 = 700_000   # of the scenes that are measured; no table reads them


class Centred:
    "The old way: windows of 24 to 56 px that hold a pixel of a category, found in its mask, novel ones too."
    def __init__(self, crops:Crops):
        self.crops, self.table, self.share = crops, crops.table, crops.share

    def batch(self, n:int, px:int, generator:torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        "n windows (n,3,px,px), and the areas behind their captions (n,C)."
        image, mask = self.crops.batch(n, px, generator)
        return image, area_shares(mask, len(self.table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--steps", type=int, default=250, help="of each of the two trainings")
    parser.add_argument("--scenes", type=int, default=600, help="drawn scenes to train on")
    args = parser.parse_args()

    text, crops = PocketText(), pocket_crops(args.scenes)
    loss = caption_loss(text.encode(list(WORDS)))
    rows = []
    for name, source in {"drawn blindly": Pictures(crops), "cut around masks": Centred(crops)}.items():
        torch.manual_seed(0)
        captioned = CaptionedVLM(pocket_streams()[0])
        batches = batches_of([source], VLM_PLAN.batch_size, PICTURE_PX)
        fit(captioned, loss, batches, replace(VLM_PLAN, steps=args.steps), name=name)
        model = ZeroShot(captioned.vlm, text, captioned.log_scale.exp().item(), captioned.bias.item()).eval()
        result = evaluate_pocket(model, n=24, seed0=SEED0)
        told = {key: round(result[key], 1) for key in ("base", "novel", "unseen", "absent")}
        rows.append(dict(windows=name, steps=args.steps, scenes=args.scenes, seed=0, measured=24) | told)
        print(rows[-1])
    with whole_files(args.out) as (part,):
        part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
