"""A model of timm, with its own preprocessing and weights from a file."""

from pathlib import Path

from safetensors.torch import save_file

import unseen
from unseen.api.demo import write_digits
from unseen.optional import require

write_digits(Path(), seed=0)  # stands for your own folders

# Random weights of timm's smallest network, as nothing is downloaded here: they show the way and are worth nothing.
# With a real model, "timm:resnet50" alone takes timm's pretrained weights from its cache or downloads them.
timm = require("timm", "timm")  # like `import timm`, and names the extra that is missing
save_file(timm.create_model("test_resnet").state_dict(), "weights.safetensors")

encoder = "timm:test_resnet?weights=weights.safetensors&size=32"
guard = unseen.fit("known", encoder, "knn(k=5)", limit=280).classifier
guard.save("guard.unseen")  # the file holds the weights too

verdicts = unseen.score("guard.unseen", "new", limit=100)
print(guard.about["n_fit"], guard.encoder_id)
print(verdicts.summary()["labelled"])
