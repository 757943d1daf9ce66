"""From a guard to a graph that runs where there is neither torch nor unseen."""

import json

import numpy as np
import onnxruntime
from sklearn.datasets import load_digits

import unseen

data = load_digits()
images = (data.images * (255 / 16)).round().astype("uint8")
known = data.target < 7
guard = unseen.fit({"images": images[known], "labels": data.target[known]}, "pixels?size=8", "knn(k=5)").classifier

# Before the file gets its name, ONNX Runtime has said of 100 images what the guard says of them.
unseen.export(guard, {"images": images}, "guard.onnx")

session = onnxruntime.InferenceSession("guard.onnx")
about = json.loads(session.get_modelmeta().custom_metadata_map["description"])
pixels = np.repeat(images[~known][..., None], 3, axis=-1)  # (B, H, W, 3), uint8, at the size of the encoder
answers = dict(zip(about["outputs"], session.run(None, {"pixels": pixels}), strict=True))
print(f"{answers['unseen'].mean():.1%} of the digits 7, 8 and 9 were called unseen at alpha {about['alpha']}")
